/* EndpointPickerConfig: what is completed, what is refused and where, and that what is written reads back the same.
 * The cases are those of the reference's loader, and more. */
#include "small_rig.h"

#include "../module_dir.h"
#include "sched/scheduler.h"

#define API "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"
#define Q "- type: queue-scorer\n"

typedef struct text {
  size_t len;
  char s[1 << 16];
} text;

static text one, two;

static int to_text(void *ud, const char *ptr, size_t len)
{
  text *t = ud;
  assert_true(len < sizeof t->s - t->len);
  memcpy(t->s + t->len, ptr, len);
  t->len += len;
  t->s[t->len] = 0;
  return 0;
}

static const char *written(const llmd_scheduler *s, text *t)
{
  t->len = 0;
  assert_int_equal(llmd_scheduler_write_config(s, to_text, t), 0);
  return t->s;
}

static rig shared;

static int open_pool(void **state)
{
  (void)state;
  memset(&shared, 0, sizeof shared);
  shared.pool = rig_pool();
  return 0;
}

static int close_pool(void **state)
{
  (void)state;
  llmd_pool_close(shared.pool);
  return 0;
}

static llmd_scheduler *load(const char *config)
{
  shared.said[0] = 0;
  return rig_schedule(&shared, config, NULL);
}

static const llmd__instance *named(const llmd_scheduler *s, const char *name)
{
  for (uint32_t i = 0; i < s->config->n_instances; i++)
    if (!strcmp(s->config->instance[i].name, name))
      return &s->config->instance[i];
  return NULL;
}

static const char *name_of(const llmd_scheduler *s, uint32_t instance)
{
  return s->config->instance[instance].name;
}

static double weight_of(const llmd_scheduler *s, uint32_t profile, const char *name)
{
  const llmd__profile *p = &s->config->profile[profile];
  for (uint32_t i = 0; i < p->n_scorers; i++)
    if (!strcmp(name_of(s, p->scorer[i].instance), name))
      return p->scorer[i].weight;
  return NAN;
}

/* ---- completed -------------------------------------------------------------------------------------------------- */

static void no_file_is_the_default_policy(void **state)
{
  llmd_scheduler *s = load(NULL);
  (void)state;
  assert_int_equal(s->config->n_profiles, 1);
  assert_string_equal(s->config->profile[0].name, "default");
  assert_true(weight_of(s, 0, "queue-scorer") == 2 && weight_of(s, 0, "kv-cache-utilization-scorer") == 2);
  assert_true(weight_of(s, 0, "prefix-cache-scorer") == 3);
  assert_string_equal(name_of(s, s->config->profile[0].picker), "max-score-picker");
  assert_string_equal(name_of(s, s->config->handler), "single-profile-handler");
  assert_string_equal(name_of(s, s->config->detector), "utilization-detector");
  assert_int_equal(s->config->n_producers, 1);
  assert_string_equal(name_of(s, s->config->producer[0]), "approx-prefix-cache-producer");
  assert_string_equal(shared.said, "");
  llmd_scheduler_free(s);
}

static void a_scorer_without_weight_has_weight_one(void **state)
{
  llmd_scheduler *s = load(HEAD Q "schedulingProfiles:\n- name: a\n  plugins:\n  - pluginRef: queue-scorer\n");
  (void)state;
  assert_true(weight_of(s, 0, "queue-scorer") == 1);
  assert_string_equal(name_of(s, s->config->handler), "single-profile-handler");
  assert_string_equal(name_of(s, s->config->profile[0].picker), "max-score-picker");
  llmd_scheduler_free(s);
}

static void no_profiles_is_one_with_everything(void **state)
{
  llmd_scheduler *s = load(HEAD Q "- type: decode-filter\n- {type: random-picker, name: r}\n- type: max-score-picker\n"
                                  "- type: context-length-aware\n- type: openai-parser\n");
  const llmd__profile *p = &s->config->profile[0];
  (void)state;
  assert_int_equal(s->config->n_profiles, 1);
  assert_string_equal(p->name, "default");
  assert_int_equal(p->n_filters, 2);
  assert_int_equal(p->n_scorers, 2);
  assert_string_equal(name_of(s, p->filter[0].instance), "decode-filter");
  assert_string_equal(name_of(s, p->filter[1].instance), "context-length-aware");
  assert_string_equal(name_of(s, p->picker), "r"); /* the first */
  assert_true(weight_of(s, 0, "context-length-aware") == 1);
  llmd_scheduler_free(s);
}

static void a_profile_without_picker_takes_the_file_s(void **state)
{
  llmd_scheduler *s = load(HEAD Q "- {type: random-picker, name: r}\nschedulingProfiles:\n- name: a\n  plugins: []\n");
  (void)state;
  assert_string_equal(name_of(s, s->config->profile[0].picker), "r");
  assert_null(named(s, "max-score-picker"));
  llmd_scheduler_free(s);
}

static void odd_weights_are_taken_as_they_are(void **state)
{
  llmd_scheduler *s = load(HEAD Q "- {type: queue-scorer, name: b}\n- {type: queue-scorer, name: c}\n"
                                  "schedulingProfiles:\n- name: a\n  plugins:\n"
                                  "  - {pluginRef: queue-scorer, weight: 0}\n"
                                  "  - {pluginRef: b, weight: -2.5}\n  - {pluginRef: c, weight: 1e3}\n");
  (void)state;
  assert_true(weight_of(s, 0, "queue-scorer") == 0 && weight_of(s, 0, "b") == -2.5 && weight_of(s, 0, "c") == 1000);
  llmd_scheduler_free(s);
}

static void flow_control_is_ignored_but_for_the_detector(void **state)
{
  static const char config[] = HEAD Q "- {type: concurrency-detector, name: cd}\n"
                                      "flowControl:\n  maxBytes: 1G\n  defaultRequestTTL: 30s\n"
                                      "  saturationDetector: {pluginRef: cd}\n"
                                      "  priorityBands: [{priority: 10, maxRequests: \"1000\"}, {priority: -1}]\n";
  llmd_scheduler *s = load(config);
  (void)state;
  assert_string_equal(name_of(s, s->config->detector), "cd");
  assert_non_null(strstr(shared.said, "flowControl is ignored"));
  llmd_scheduler_free(s);
  s = load(HEAD Q "featureGates: [flowControl]\nflowControl: {enableEviction: true}\n");
  assert_string_equal(shared.said, "");
  assert_int_equal(s->config->flow, 1);
  llmd_scheduler_free(s);
  s = load(API "featureGates: [\"flowControl=false\", haPopulateNonLeaderDatastore]\n");
  assert_int_equal(s->config->flow, 0);
  llmd_scheduler_free(s);
}

static void the_old_places_of_detector_and_parser(void **state)
{
  llmd_scheduler *s = load(HEAD Q "- {type: concurrency-detector, name: cd}\nparser: {pluginRef: openai-parser}\n"
                                  "saturationDetector: {pluginRef: cd}\n");
  (void)state;
  assert_string_equal(name_of(s, s->config->detector), "cd");
  llmd_scheduler_free(s);
  s = load(HEAD Q "saturationDetector: {pluginRef: concurrency-detector}\n"); /* by its type, not configured */
  assert_string_equal(s->config->instance[s->config->detector].plugin->type, "concurrency-detector");
  llmd_scheduler_free(s);
}

static void the_host_s_sections_are_read_and_leave_no_trace(void **state)
{
  llmd_scheduler *s = load(HEAD Q "- {type: metrics-data-source, parameters: {interval: 1s}}\n"
                                  "- type: core-metrics-extractor\ndataLayer:\n  injectDefaults: false\n"
                                  "  sources:\n  - pluginRef: metrics-data-source\n"
                                  "    extractors: [{pluginRef: core-metrics-extractor}]\n"
                                  "  crossReplicaSyncInterval: 200ms\nrequestHandler:\n  parsers:\n"
                                  "  - pluginRef: openai-parser\n");
  (void)state;
  assert_int_equal(s->config->profile[0].n_scorers, 1);
  assert_non_null(strstr(written(s, &one), "- type: metrics-data-source # inert: belongs to the host"));
  llmd_scheduler_free(s);
}

static void old_names_are_warned_of(void **state)
{
  llmd_scheduler *s = load("apiVersion: inference.networking.x-k8s.io/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n"
                           "- type: tokenizer\n- type: approx-prefix-cache-producer\n  parameters: {blockSize: 32}\n");
  (void)state;
  assert_non_null(strstr(shared.said, "line 1: apiVersion inference.networking.x-k8s.io/v1alpha1 is deprecated"));
  assert_non_null(strstr(shared.said, "line 4: plugin type tokenizer is deprecated, use token-producer"));
  assert_non_null(strstr(shared.said, "line 6: parameter blockSize is deprecated"));
  assert_string_equal(named(s, "tokenizer")->plugin->type, "token-producer");
  llmd_scheduler_free(s);
}

static void json_and_yaml_say_the_same(void **state)
{
  llmd_scheduler *y = load(HEAD "- {type: prefix-cache-scorer, parameters: {matchLengthWeight: 0.2}}\n"
                                "- {type: label-selector-filter, name: \"\xf0\x9f\x98\x80\",\n"
                                "   parameters: {matchLabels: {a: b}}}\n"
                                "schedulingProfiles:\n- name: default\n  plugins:\n"
                                "  - {pluginRef: \"\xf0\x9f\x98\x80\"}\n"
                                "  - {pluginRef: prefix-cache-scorer, weight: 3}\n");
  llmd_scheduler *j =
      load("{\"apiVersion\":\"llm-d.ai/v1alpha1\",\"kind\":\"EndpointPickerConfig\",\"plugins\":[{\"type\":"
           "\"prefix-cache-scorer\",\"parameters\":{\"matchLengthWeight\":0.2}},{\"type\":\"label-selector-filter\","
           "\"name\":\"\\ud83d\\ude00\",\"parameters\":{\"matchLabels\":{\"a\":\"b\"}}}],"
           "\"schedulingProfiles\":[{\"name\":\"default\","
           "\"plugins\":[{\"pluginRef\":\"\\ud83d\\ude00\"},{\"pluginRef\":\"prefix-cache-scorer\",\"weight\":3}]}]}");
  (void)state;
  assert_string_equal(written(y, &one), written(j, &two));
  assert_true(y->identity == j->identity);
  llmd_scheduler_free(y);
  llmd_scheduler_free(j);
}

/* A default producer for what somebody reads; the one that is named when somebody names one. */
static void producers_come_by_themselves(void **state)
{
  llmd_scheduler *s = load(HEAD "- type: token-load-scorer\n");
  (void)state;
  assert_int_equal(s->config->n_producers, 1);
  assert_non_null(named(s, "inflight-load-producer"));
  assert_int_equal(named(s, "inflight-load-producer")->flags, LLMD__INSTANCE_IMPLICIT);
  llmd_scheduler_free(s);
  s = load(HEAD "- {type: prefix-cache-scorer, parameters: {prefixMatchInfoProducerName: mine}}\n"
                "- {type: inflight-load-producer, parameters: {prefixMatchInfoProducerName: mine}}\n"
                "- {type: approx-prefix-cache-producer, name: mine}\n");
  assert_null(named(s, "approx-prefix-cache-producer"));
  assert_int_equal(s->config->n_producers, 2);
  assert_string_equal(name_of(s, s->config->producer[0]), "mine"); /* before the one that reads from it */
  assert_string_equal(name_of(s, s->config->producer[1]), "inflight-load-producer");
  llmd_scheduler_free(s);
}

/* A name that is a producer's, but not of what is read: nobody comes, the host may fill it. */
static void producers_of_other_things_do_not_come(void **state)
{
  llmd_scheduler *s = load(HEAD "- type: prefix-cache-scorer\n"
                                "  parameters: {prefixMatchInfoProducerName: inflight-load-producer}\n");
  (void)state;
  assert_int_equal(s->config->n_producers, 0);
  llmd_scheduler_free(s);
}

/* ---- refused ---------------------------------------------------------------------------------------------------- */

typedef struct bad {
  const char *what, *config;
  int code;
  uint32_t line, column;
  const char *path, *says;
} bad;

static void refuse(const bad *b, uint32_t refuse_alpha)
{
  llmd_scheduler_options so = {.size = sizeof so, .refuse_alpha = refuse_alpha};
  llmd_scheduler *s = NULL;
  llmd_err err = LLMD_ERR_INIT;
  int rc = llmd_scheduler_create(&so, shared.pool, b->config, strlen(b->config), &s, &err);
  if (rc != b->code || err.code != rc || err.line != b->line || err.column != b->column || strcmp(err.path, b->path) ||
      !strstr(err.text, b->says))
    fail_msg("%s: %s %u:%u %s: %s", b->what, llmd_errname(rc), err.line, err.column, err.path, err.text);
  assert_null(s);
}

#define PROFILE "schedulingProfiles:\n- name: default\n  plugins:\n"
#define TWO "schedulingProfiles:\n- {name: a, plugins: []}\n- {name: b, plugins: []}\n"

/* The reference's own list, in its order. */
static const bad reference[] = {
    {"invalid YAML", HEAD "- type: [queue\n", LLMD_E_SYNTAX, 5, 1, "plugins[0].type", "flow sequence"},
    {"unknown feature gate", API "featureGates: [flowControl, warpDrive]\n", LLMD_E_UNKNOWN_FIELD, 3, 29,
     "featureGates[1]", "warpDrive"},
    {"malformed feature gate", API "featureGates: [\"flowControl=maybe\"]\n", LLMD_E_RANGE, 3, 16, "featureGates[0]",
     "flowControl=maybe"},
    {"plugin without type", HEAD Q "- name: x\n", LLMD_E_MISSING, 5, 3, "plugins[1]", "type"},
    {"unknown plugin type", HEAD "- type: queue-scorrer\n", LLMD_E_UNKNOWN_TYPE, 4, 9, "plugins[0].type",
     "queue-scorrer"},
    {"invalid plugin parameters", HEAD "- type: prefix-cache-scorer\n  parameters: {matchLengthWeight: heavy}\n",
     LLMD_E_TYPE, 5, 35, "plugins[0].parameters.matchLengthWeight", "number"},
    {"duplicate plugin name", HEAD Q "- {type: kv-cache-utilization-scorer, name: queue-scorer}\n", LLMD_E_DUPLICATE, 5,
     3, "plugins[1]", "queue-scorer"},
    {"profile without name", HEAD Q "schedulingProfiles:\n- plugins: [{pluginRef: queue-scorer}]\n", LLMD_E_MISSING, 6,
     3, "schedulingProfiles[0]", "name"},
    {"empty pluginRef", HEAD Q PROFILE "  - pluginRef: \"\"\n", LLMD_E_MISSING, 8, 5,
     "schedulingProfiles[0].plugins[0]", "pluginRef"},
    {"undefined pluginRef", HEAD Q PROFILE "  - pluginRef: kv\n", LLMD_E_UNKNOWN_REF, 8, 16,
     "schedulingProfiles[0].plugins[0].pluginRef", "\"kv\""},
    {"duplicate profile name", HEAD Q "schedulingProfiles:\n- {name: a, plugins: []}\n- {name: a, plugins: []}\n",
     LLMD_E_DUPLICATE, 7, 3, "schedulingProfiles[1]", "\"a\""},
    {"two pickers in a profile",
     HEAD "- type: max-score-picker\n- type: random-picker\n" PROFILE
          "  - pluginRef: max-score-picker\n  - pluginRef: random-picker\n",
     LLMD_E_DUPLICATE, 10, 5, "schedulingProfiles[0].plugins[1]", "two pickers"},
    {"two profile handlers", HEAD "- type: single-profile-handler\n- type: data-parallel-profile-handler\n",
     LLMD_E_DUPLICATE, 5, 3, "plugins[1]", "two profile handlers"},
    {"several profiles without handler", HEAD Q TWO, LLMD_E_MISSING, 6, 1, "schedulingProfiles", "2 scheduling"},
    {"several profiles with the single handler", HEAD Q "- type: single-profile-handler\n" TWO, LLMD_E_INVALID, 5, 3,
     "plugins[1]", "2 scheduling profiles"},
    {"bad data source", HEAD Q "dataLayer:\n  sources:\n  - pluginRef: nowhere\n", LLMD_E_UNKNOWN_REF, 7, 16,
     "dataLayer.sources[0].pluginRef", "nowhere"},
    {"bad extractor",
     HEAD "- type: metrics-data-source\ndataLayer:\n  sources:\n  - pluginRef: metrics-data-source\n"
          "    extractors: [{pluginRef: nowhere}]\n",
     LLMD_E_UNKNOWN_REF, 8, 30, "dataLayer.sources[0].extractors[0].pluginRef", "nowhere"},
    {"missing policy", HEAD Q "flowControl:\n  usageLimitPolicyPluginRef: nowhere\n", LLMD_E_UNKNOWN_REF, 6, 30,
     "flowControl.usageLimitPolicyPluginRef", "nowhere"},
    {"policy of the wrong kind", HEAD Q "flowControl:\n  usageLimitPolicyPluginRef: queue-scorer\n", LLMD_E_TYPE, 6, 30,
     "flowControl.usageLimitPolicyPluginRef", "policy is needed"},
    {"parser of the wrong kind", HEAD Q "requestHandler:\n  parsers:\n  - pluginRef: queue-scorer\n", LLMD_E_TYPE, 7,
     16, "requestHandler.parsers[0].pluginRef", "parser is needed"},
    {"parser undefined", HEAD Q "requestHandler:\n  parsers:\n  - pluginRef: nowhere\n", LLMD_E_UNKNOWN_REF, 7, 16,
     "requestHandler.parsers[0].pluginRef", "nowhere"},
    {"a plugin that depends on itself",
     HEAD "- {type: disagg-profile-handler, parameters: {deciders: {prefill: disagg-profile-handler}}}\n", LLMD_E_TYPE,
     4, 67, "plugins[0].parameters.deciders.prefill", "not a decider"},
};

static void what_the_reference_refuses(void **state)
{
  static const bad alpha = {"alpha plugin", HEAD Q "- type: topology-affinity-scorer\n", LLMD_E_DENIED, 5, 9,
                            "plugins[1].type", "alpha"};
  (void)state;
  for (size_t i = 0; i < sizeof reference / sizeof *reference; i++)
    refuse(&reference[i], 0);
  refuse(&alpha, 1);
  llmd_scheduler_free(load(alpha.config));
}

static const bad ours[] = {
    {"no apiVersion", "kind: EndpointPickerConfig\n", LLMD_E_MISSING, 1, 1, "", "apiVersion"},
    {"no kind", "apiVersion: llm-d.ai/v1alpha1\n", LLMD_E_MISSING, 1, 1, "", "kind"},
    {"another apiVersion", "apiVersion: v1\nkind: EndpointPickerConfig\n", LLMD_E_MISMATCH, 1, 13, "apiVersion",
     "llm-d.ai/v1alpha1"},
    {"another kind", "apiVersion: llm-d.ai/v1alpha1\nkind: Pod\n", LLMD_E_MISMATCH, 2, 7, "kind", "Pod"},
    {"a list", "- a\n", LLMD_E_TYPE, 1, 1, "", "map"},
    {"an unknown section", HEAD Q "plugin: []\n", LLMD_E_UNKNOWN_FIELD, 5, 1, "plugin", "plugin"},
    {"an unknown key of a plugin", HEAD "- {type: queue-scorer, params: {}}\n", LLMD_E_UNKNOWN_FIELD, 4, 24,
     "plugins[0].params", "params"},
    {"an unknown key of a use", HEAD Q PROFILE "  - {pluginRef: queue-scorer, wieght: 1}\n", LLMD_E_UNKNOWN_FIELD, 8,
     31, "schedulingProfiles[0].plugins[0].wieght", "wieght"},
    {"a weight of letters", HEAD Q PROFILE "  - {pluginRef: queue-scorer, weight: heavy}\n", LLMD_E_TYPE, 8, 39,
     "schedulingProfiles[0].plugins[0].weight", "number"},
    {"an anchor", HEAD "- &a {type: queue-scorer}\n", LLMD_E_UNSUPPORTED, 4, 3, "plugins", "anchors"},
    {"an alias", HEAD "- *a\n", LLMD_E_UNSUPPORTED, 4, 3, "plugins", "aliases"},
    {"a tag", HEAD "- !!map {type: queue-scorer}\n", LLMD_E_UNSUPPORTED, 4, 3, "plugins", "tags"},
    {"two documents", HEAD Q "---\nfoo: 1\n", LLMD_E_UNSUPPORTED, 5, 1, "", "second document"},
    {"a key twice", HEAD "- {type: queue-scorer, type: x}\n", LLMD_E_DUPLICATE, 4, 24, "plugins[0]", "twice"},
    {"detector of the wrong kind", HEAD Q "saturationDetector: {pluginRef: queue-scorer}\n", LLMD_E_TYPE, 5, 33,
     "saturationDetector.pluginRef", "detector is needed"},
    {"another plugin with the detector's name", HEAD "- {type: queue-scorer, name: utilization-detector}\n",
     LLMD_E_TYPE, 4, 3, "plugins[0]", "not a saturation detector"},
    {"another plugin with the handler's name", HEAD "- {type: queue-scorer, name: single-profile-handler}\n",
     LLMD_E_DUPLICATE, 4, 3, "plugins[0]", "needed by default"},
    {"a band without priority", HEAD Q "flowControl: {priorityBands: [{maxRequests: 5}]}\n", LLMD_E_MISSING, 5, 31,
     "flowControl.priorityBands[0]", "priority"},
    {"a size of letters", HEAD Q "flowControl: {maxBytes: lots}\n", LLMD_E_TYPE, 5, 25, "flowControl.maxBytes", "1G"},
    {"a decider that is none",
     HEAD Q "- type: disagg-profile-handler\n  parameters:\n    deciders:\n      prefill: queue-scorer\n", LLMD_E_TYPE,
     8, 16, "plugins[1].parameters.deciders.prefill", "\"queue-scorer\", which is not a decider"},
    {"a decider that is not there",
     HEAD "- type: disagg-profile-handler\n  parameters: {prefillDeciderPluginName: pd}\n", LLMD_E_UNKNOWN_REF, 5, 42,
     "plugins[0].parameters.prefillDeciderPluginName", "\"pd\", which is not configured"},
    {"JSON with a wrong key",
     "{\"apiVersion\": \"llm-d.ai/v1alpha1\", \"kind\": \"EndpointPickerConfig\", \"plugins\": [\n"
     " {\"type\": \"queue-scorer\", \"nam\": 1}]}",
     LLMD_E_UNKNOWN_FIELD, 2, 27, "plugins[0].nam", "nam"},
};

static void what_else_is_refused(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
    refuse(&ours[i], 0);
}

static void names_and_numbers_of_profiles_have_limits(void **state)
{
  char config[4096];
  size_t n = (size_t)snprintf(config, sizeof config, HEAD "- type: header-profile-handler\nschedulingProfiles:\n");
  const bad many = {"17 profiles", config, LLMD_E_LIMIT, 6, 1, "schedulingProfiles", "16"};
  const bad name = {"long name", config, LLMD_E_LIMIT, 6, 10, "schedulingProfiles[0].name", "128"};
  (void)state;
  for (int i = 0; i < 17; i++)
    n += (size_t)snprintf(config + n, sizeof config - n, "- {name: p%d, plugins: []}\n", i);
  refuse(&many, 0);
  snprintf(config, sizeof config, HEAD Q "schedulingProfiles:\n- {name: %0129d, plugins: []}\n", 0);
  memset(strstr(config, "000"), 'x', 129);
  refuse(&name, 0);
}

static void producers_in_a_circle(void **state)
{
  static const char config[] = HEAD Q "- {type: strangers-producer, name: a, parameters: {from: b}}\n"
                                      "- {type: strangers-producer, name: b, parameters: {from: a}}\n";
  module_dir dir;
  llmd_scheduler_options so = {.size = sizeof so, .module_dir = dir.path};
  llmd_scheduler *s = NULL;
  llmd_err err = LLMD_ERR_INIT;
  (void)state;
  module_dir_make(&dir);
  module_dir_copy(&dir, "stranger", "stranger.so", 0600);
  assert_int_equal(llmd_scheduler_create(&so, shared.pool, config, sizeof config - 1, &s, &err), LLMD_E_INVALID);
  module_dir_remove(&dir);
  assert_non_null(strstr(err.text, "circle"));
  assert_string_equal(err.path, "plugins[1]");
  assert_true(err.line == 5 && err.column == 3);
}

static void handles_that_are_not_there(void **state)
{
  llmd_scheduler *s;
  llmd_lane *lane;
  llmd_err err = LLMD_ERR_INIT;
  (void)state;
  assert_int_equal(llmd_scheduler_create(NULL, NULL, NULL, 0, &s, &err), LLMD_E_INVALID);
  assert_int_equal(llmd_scheduler_create(NULL, shared.pool, NULL, 5, &s, &err), LLMD_E_INVALID);
  assert_int_equal(llmd_scheduler_create(NULL, shared.pool, NULL, 0, NULL, &err), LLMD_E_INVALID);
  assert_int_equal(llmd_lane_create(NULL, 0, &lane), LLMD_E_INVALID);
  assert_int_equal(llmd_lane_switch(NULL, NULL), LLMD_E_INVALID);
  llmd_scheduler_free(NULL);
  llmd_lane_free(NULL);
}

/* ---- there and back --------------------------------------------------------------------------------------------- */

static void assert_same_uses(const llmd_scheduler *a, const llmd_scheduler *b, uint32_t profile)
{
  const llmd__profile *p = &a->config->profile[profile], *q = &b->config->profile[profile];
  assert_string_equal(p->name, q->name);
  assert_int_equal(p->n_filters, q->n_filters);
  assert_int_equal(p->n_scorers, q->n_scorers);
  for (uint32_t i = 0; i < p->n_filters; i++)
    assert_string_equal(name_of(a, p->filter[i].instance), name_of(b, q->filter[i].instance));
  for (uint32_t i = 0; i < p->n_scorers; i++) {
    assert_string_equal(name_of(a, p->scorer[i].instance), name_of(b, q->scorer[i].instance));
    assert_true(p->scorer[i].weight == q->scorer[i].weight);
  }
  assert_string_equal(name_of(a, p->picker), name_of(b, q->picker));
}

static uint64_t there_and_back(const char *config)
{
  llmd_scheduler *a = load(config), *b, *c;
  uint64_t identity = a->identity;
  written(a, &one);
  b = load(one.s);
  assert_true(a->identity == b->identity);
  assert_int_equal(a->config->n_profiles, b->config->n_profiles);
  for (uint32_t i = 0; i < a->config->n_profiles; i++)
    assert_same_uses(a, b, i);
  assert_string_equal(name_of(a, a->config->handler), name_of(b, b->config->handler));
  assert_string_equal(name_of(a, a->config->detector), name_of(b, b->config->detector));
  assert_int_equal(a->config->n_producers, b->config->n_producers);
  for (uint32_t i = 0; i < a->config->n_producers; i++)
    assert_string_equal(name_of(a, a->config->producer[i]), name_of(b, b->config->producer[i]));
  written(b, &two);
  c = load(two.s);
  assert_string_equal(two.s, written(c, &one));
  llmd_scheduler_free(c);
  llmd_scheduler_free(b);
  llmd_scheduler_free(a);
  return identity;
}

static const char *const configs[] = {
    NULL,
    HEAD Q,
    HEAD "- {type: queue-scorer, name: \"a: \\\"b\\\"\\n\\u0085\\uFEFF\"}\n- {type: decode-filter, name: \"7\"}\n",
    HEAD "- type: prefill-filter\n- type: decode-filter\n- type: prefix-cache-scorer\n- type: active-request-scorer\n"
         "- {type: prefix-based-pd-decider, name: \"true\", parameters: {nonCachedTokens: 512}}\n"
         "- type: disagg-profile-handler\n  parameters: {deciders: {prefill: \"true\"}}\n"
         "- {type: concurrency-detector, parameters: {maxConcurrency: 64, concurrencyMode: hybrid}}\n"
         "featureGates: [flowControl]\n"
         "schedulingProfiles:\n- name: prefill\n"
         "  plugins: [{pluginRef: prefill-filter}, {pluginRef: prefix-cache-scorer, weight: 2}]\n- name: decode\n"
         "  plugins: [{pluginRef: decode-filter}, {pluginRef: active-request-scorer, weight: 1}]\n"
         "flowControl: {saturationDetector: {pluginRef: concurrency-detector}}\n",
    HEAD "- type: disagg-profile-handler\n  parameters: {prefillProfile: p, decodeProfile: d,\n"
         "    stageOrder: DecodeFirst, deciderPluginName: always-disagg-pd-decider}\n"
         "- type: always-disagg-pd-decider\n- type: queue-scorer\n"
         "schedulingProfiles:\n- {name: d, plugins: [{pluginRef: queue-scorer}]}\n- {name: p, plugins: []}\n",
    HEAD "- {type: context-length-aware, parameters: {enableFiltering: true}}\n- type: decode-filter\n"
         "- type: queue-scorer\n- {type: random-picker, parameters: {maxNumOfEndpoints: 3}}\n"
         "schedulingProfiles:\n- name: default\n  plugins:\n  - {pluginRef: context-length-aware, weight: 0.1}\n"
         "  - {pluginRef: decode-filter}\n  - {pluginRef: queue-scorer, weight: -3}\n"
         "  - {pluginRef: context-length-aware, weight: 1e-9}\n",
    HEAD "- type: queue-scorer\n- type: decode-filter\n- {type: context-length-aware}\n"
         "schedulingProfiles:\n- name: default\n  plugins:\n  - {pluginRef: queue-scorer, weight: 2}\n"
         "  - {pluginRef: decode-filter}\n  - {pluginRef: context-length-aware, weight: 3}\n",
    HEAD "- type: inflight-load-producer\n  parameters: {addEstimatedOutputTokens: true}\n- type: token-load-scorer\n",
    HEAD "- type: inflight-load-producer\n  parameters: {maxEstimatedOutputTokens: 0}\n- type: token-load-scorer\n",
    HEAD "- type: metrics-data-source\n- {type: dcgm-data-source, parameters: {interval: 250ms}}\n"
         "- type: core-metrics-extractor\n  parameters:\n    engineConfigs:\n"
         "    - {name: own, queuedRequestsSpec: \"my_queue{a=b}\",\n"
         "       customMetrics: [{attributeKey: X, metricSpec: x}]}\n",
    HEAD "- type: approx-prefix-cache-producer\n"
         "  parameters: {maxPrefixTokensToMatch: 0, maxPrefixBlocksToMatch: 10, blockSize: 128}\n"
         "- type: prefix-cache-scorer\n",
    HEAD "- type: label-selector-filter\n  parameters:\n    matchLabels: {b: \"2\", a: \"1\"}\n"
         "    matchExpressions: [{key: z, operator: In, values: [x, \"1\"]}, {key: w, operator: Exists}]\n",
    HEAD "- type: session-affinity-scorer\n  parameters: {strategy: session_id,\n"
         "    sessionIdConfig: {sources: [{header: X}]}}\n"
         "- type: endpoint-attribute-scorer\n"
         "  parameters: {attributeKey: W, algorithm: {type: linear_lower_is_better,\n"
         "    normalization: {fixedRange: {min: 0, max: 10}}}}\n",
    HEAD "- {type: data-parallel-profile-handler, parameters: {primaryPort: 9000}}\n- type: weighted-random-picker\n"
         "- type: session-id-producer\n  parameters: {cookieName: sid}\n- type: openai-parser\n"
         "- type: fcfs-ordering-policy\n",
};

static void what_is_written_reads_back_the_same(void **state)
{
  uint64_t identity[sizeof configs / sizeof *configs];
  (void)state;
  for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
    identity[i] = there_and_back(configs[i]);
    for (size_t k = 0; k < i; k++)
      assert_true(identity[i] != identity[k]); /* and tells configurations apart */
  }
}

static int stop(void *ud, const char *ptr, size_t len)
{
  (void)ptr;
  (void)len;
  return ++*(int *)ud == 3;
}

static void a_writer_that_stops_is_heard(void **state)
{
  llmd_scheduler *s = load(NULL);
  int calls = 0;
  (void)state;
  assert_int_equal(llmd_scheduler_write_config(s, stop, &calls), LLMD_E_STOPPED);
  assert_int_equal(calls, 3);
  llmd_scheduler_free(s);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, open_pool, close_pool)

int main(void)
{
  const struct CMUnitTest tests[] = {
      CASE(no_file_is_the_default_policy),
      CASE(a_scorer_without_weight_has_weight_one),
      CASE(no_profiles_is_one_with_everything),
      CASE(a_profile_without_picker_takes_the_file_s),
      CASE(odd_weights_are_taken_as_they_are),
      CASE(flow_control_is_ignored_but_for_the_detector),
      CASE(the_old_places_of_detector_and_parser),
      CASE(the_host_s_sections_are_read_and_leave_no_trace),
      CASE(old_names_are_warned_of),
      CASE(json_and_yaml_say_the_same),
      CASE(producers_come_by_themselves),
      CASE(producers_of_other_things_do_not_come),
      CASE(what_the_reference_refuses),
      CASE(what_else_is_refused),
      CASE(names_and_numbers_of_profiles_have_limits),
      CASE(producers_in_a_circle),
      CASE(handles_that_are_not_there),
      CASE(what_is_written_reads_back_the_same),
      CASE(a_writer_that_stops_is_heard),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
