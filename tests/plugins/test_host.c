/* The types that belong to the host, or that are only known by name: what their parameters may be. */
#include "self.h"

#include <math.h>

extern const llmd_plugin llmd__global_strict_fairness_policy, llmd__round_robin_fairness_policy,
  llmd__program_aware_fairness, llmd__fcfs_ordering_policy, llmd__edf_ordering_policy,
  llmd__slo_deadline_ordering_policy,
  llmd__static_usage_limit_policy, llmd__priority_holdback_policy, llmd__soft_reflective_ceiling_policy,
  llmd__sheddable_eviction_filter, llmd__priority_then_time_eviction_order_policy, llmd__metrics_data_source,
  llmd__multicluster_metrics_data_source, llmd__models_data_source, llmd__dcgm_data_source,
  llmd__k8s_notification_source, llmd__endpoint_notification_source, llmd__file_discovery,
  llmd__multicluster_file_discovery, llmd__core_metrics_extractor, llmd__multicluster_metrics_extractor,
  llmd__topology_extractor, llmd__models_data_extractor, llmd__dcgm_extractor, llmd__openai_parser,
  llmd__anthropic_parser, llmd__vllmhttp_parser, llmd__sglanghttp_parser, llmd__vllmgrpc_parser, llmd__vertexai_parser,
  llmd__passthrough_parser, llmd__latency_slo_admitter, llmd__probabilistic_admitter, llmd__agent_identity,
  llmd__disaggregatedset_rollout_screener, llmd__request_attribute_reporter,
  llmd__destination_endpoint_served_verifier, llmd__disagg_headers_handler;
extern const llmd_plugin llmd__predicted_latency_producer, llmd__mm_embeddings_cache_producer;
extern const llmd_plugin llmd__burst_prefix_cache_producer, llmd__p2p_source_producer, llmd__pd_profile_handler;

static const llmd_plugin *const inert[] = {
  &llmd__global_strict_fairness_policy, &llmd__round_robin_fairness_policy, &llmd__program_aware_fairness,
  &llmd__fcfs_ordering_policy, &llmd__edf_ordering_policy, &llmd__slo_deadline_ordering_policy,
  &llmd__static_usage_limit_policy, &llmd__priority_holdback_policy, &llmd__soft_reflective_ceiling_policy,
  &llmd__sheddable_eviction_filter, &llmd__priority_then_time_eviction_order_policy, &llmd__metrics_data_source,
  &llmd__multicluster_metrics_data_source, &llmd__models_data_source, &llmd__dcgm_data_source,
  &llmd__k8s_notification_source, &llmd__endpoint_notification_source, &llmd__file_discovery,
  &llmd__multicluster_file_discovery, &llmd__core_metrics_extractor, &llmd__multicluster_metrics_extractor,
  &llmd__topology_extractor, &llmd__models_data_extractor, &llmd__dcgm_extractor, &llmd__openai_parser,
  &llmd__anthropic_parser, &llmd__vllmhttp_parser, &llmd__sglanghttp_parser, &llmd__vllmgrpc_parser,
  &llmd__vertexai_parser, &llmd__passthrough_parser, &llmd__latency_slo_admitter, &llmd__probabilistic_admitter,
  &llmd__agent_identity, &llmd__disaggregatedset_rollout_screener, &llmd__request_attribute_reporter,
  &llmd__destination_endpoint_served_verifier, &llmd__disagg_headers_handler};

/* ---- descriptors ------------------------------------------------------------------------------------------------- */

/* Every value a table stores lies inside self, and no two of them overlap. */
static void check_table(const llmd_param *p, uint32_t size, char *used)
{
  static const uint32_t width[] = {[LLMD_PARAM_BOOL] = 4,     [LLMD_PARAM_INT] = 8,     [LLMD_PARAM_FLOAT] = 8,
                                   [LLMD_PARAM_STRING] = sizeof(llmd_str), [LLMD_PARAM_ENUM] = 4,
                                   [LLMD_PARAM_DURATION] = 8, [LLMD_PARAM_QUANTITY] = 8,
                                   [LLMD_PARAM_LIST] = sizeof(llmd_list), [LLMD_PARAM_STRINGS] = sizeof(llmd_list),
                                   [LLMD_PARAM_MAP] = sizeof(llmd_list), [LLMD_PARAM_PLUGIN] = 4,
                                   [LLMD_PARAM_PROFILE] = 4};
  for (; p && p->name; p++) {
    uint32_t n = p->type == LLMD_PARAM_OBJECT ? p->sub_size : width[p->type], i;
    char inner[1024] = {0};
    assert_true(p->doc && p->doc[0]);
    assert_true(n > 0 && p->offset + n <= size && p->given + 4 <= size);
    for (i = 0; i < n; i++)
      assert_int_equal(used[p->offset + i]++, 0);
    if (p->given)
      assert_int_equal(used[p->given]++, 0);
    if (p->sub) {
      assert_true(p->sub_size <= sizeof inner);
      check_table(p->sub, p->sub_size, inner);
    }
    if (p->type == LLMD_PARAM_ENUM)
      assert_true(p->values && p->values[0].name);
  }
}

static void descriptors(void **state)
{
  size_t i, j;
  (void)state;
  for (i = 0; i < sizeof inert / sizeof inert[0]; i++) {
    char used[4096] = {0};
    test_self self;
    check_descriptor(inert[i]);
    assert_int_equal(inert[i]->kind, LLMD_INERT);
    self_init(&self, inert[i]);
    check_table(inert[i]->params, inert[i]->self_size, used);
    for (j = 0; j < i; j++)
      assert_string_not_equal(inert[i]->type, inert[j]->type);
  }
}

static void set_by_the_host(void **state)
{
  static const llmd_plugin *const all[] = {&llmd__predicted_latency_producer, &llmd__mm_embeddings_cache_producer};
  size_t i;
  (void)state;
  for (i = 0; i < 2; i++) {
    char used[4096] = {0};
    const llmd_write *w;
    check_descriptor(all[i]);
    check_table(all[i]->params, all[i]->self_size, used);
    assert_int_equal(all[i]->kind, LLMD_PRODUCER);
    assert_null(all[i]->produce);
    assert_non_null(all[i]->writes[0].name);
    for (w = all[i]->writes; w->name; w++)
      assert_int_equal(w->flags, LLMD_WRITE_DEFAULT);
  }
}

static void only_known(void **state)
{
  static const llmd_plugin *const all[] = {&llmd__burst_prefix_cache_producer, &llmd__p2p_source_producer,
                                           &llmd__pd_profile_handler};
  size_t i;
  (void)state;
  for (i = 0; i < sizeof all / sizeof all[0]; i++) {
    check_descriptor(all[i]);
    assert_int_equal(all[i]->kind, 0);
  }
}

/* ---- parameters -------------------------------------------------------------------------------------------------- */

/* One parameter set, then the check; the first refusal is the answer. */
static int try(const llmd_plugin *p, const char *path, const char *text, const char *path2, const char *text2)
{
  test_self self;
  int rc = 0;
  self_init(&self, p);
  if (path)
    rc = self_set(&self, p, path, text);
  if (!rc && path2)
    rc = self_set(&self, p, path2, text2);
  return rc ? rc : self_check(&self, p);
}

static int is_required(const llmd_plugin *p, const char *name)
{
  const llmd_param *q = p->params;
  while (q->name && strcmp(q->name, name) != 0)
    q++;
  assert_non_null(q->name);
  return (q->flags & LLMD_PARAM_REQUIRED) != 0;
}

static void holdback(void **state)
{
  const llmd_plugin *p = &llmd__priority_holdback_policy;
  (void)state;
  assert_true(is_required(p, "minCeiling"));
  assert_int_equal(try(p, "minCeiling", "0.5", NULL, NULL), 0);
  assert_int_equal(try(p, "minCeiling", "0.0", NULL, NULL), 0);
  assert_int_equal(try(p, "minCeiling", "0.3", "maxCeiling", "0.9"), 0);
  assert_int_equal(try(p, "minCeiling", "-0.1", NULL, NULL), LLMD_E_RANGE);
  assert_int_equal(try(p, "minCeiling", "1.0", NULL, NULL), LLMD_E_RANGE);
  assert_int_equal(try(p, "minCeiling", "0.5", "maxCeiling", "0.0"), LLMD_E_RANGE);
  assert_int_equal(try(p, "minCeiling", "0.5", "maxCeiling", "1.1"), LLMD_E_RANGE);
  assert_int_equal(try(p, "minCeiling", "0.5", "maxCeiling", "0.5"), LLMD_E_RANGE);
  assert_int_equal(try(p, "minCeiling", "0.8", "maxCeiling", "0.5"), LLMD_E_RANGE);
}

static void ranges(void **state)
{
  (void)state;
  assert_int_equal(try(&llmd__program_aware_fairness, "evictionSweepSeconds", "0", NULL, NULL), LLMD_E_RANGE);
  assert_int_equal(try(&llmd__program_aware_fairness, "evictionTtlSeconds", "0", NULL, NULL), 0);
  assert_int_equal(try(&llmd__program_aware_fairness, "lasWeightService", "-1", NULL, NULL), LLMD_E_RANGE);
  assert_int_equal(try(&llmd__probabilistic_admitter, "k", "0", NULL, NULL), LLMD_E_RANGE);
  assert_int_equal(try(&llmd__probabilistic_admitter, "queueDepthThreshold", "0", NULL, NULL), LLMD_E_RANGE);
  assert_int_equal(try(&llmd__probabilistic_admitter, "queueDepthThreshold", "1", NULL, NULL), 0);
  assert_int_equal(try(&llmd__predicted_latency_producer, "sloBufferFactor", "0", NULL, NULL), LLMD_E_RANGE);
  assert_int_equal(try(&llmd__static_usage_limit_policy, "threshold", "7", NULL, NULL), 0);
  assert_int_equal(try(&llmd__static_usage_limit_policy, "treshold", "7", NULL, NULL), LLMD_E_UNKNOWN_FIELD);
}

static void sources(void **state)
{
  const llmd_plugin *metrics = &llmd__metrics_data_source, *peers = &llmd__multicluster_metrics_data_source;
  (void)state;
  assert_int_equal(try(metrics, NULL, NULL, NULL, NULL), 0);
  assert_int_equal(try(metrics, "port", "0", NULL, NULL), LLMD_E_RANGE);
  assert_int_equal(try(metrics, "port", "65535", NULL, NULL), 0);
  assert_int_equal(try(metrics, "interval", "-1", NULL, NULL), LLMD_E_RANGE);
  assert_int_equal(try(metrics, "clientCertPath", "c", NULL, NULL), 0); /* http: without effect */
  assert_int_equal(try(peers, "clientCertPath", "c", NULL, NULL), LLMD_E_MISSING);
  assert_int_equal(try(peers, "clientCertPath", "c", "clientKeyPath", "k"), 0);
  assert_int_equal(try(&llmd__dcgm_data_source, "useNodeAddress", "true", NULL, NULL), 0);
  assert_int_equal(try(&llmd__dcgm_data_source, "useNodeAddress", "true", "port", "0"), LLMD_E_MISSING);
  assert_int_equal(try(&llmd__file_discovery, "path", "", NULL, NULL), LLMD_E_MISSING);
  assert_int_equal(try(&llmd__file_discovery, "path", "/etc/endpoints.yaml", NULL, NULL), 0);
  assert_true(is_required(&llmd__file_discovery, "path"));
  assert_int_equal(try(&llmd__k8s_notification_source, "version", "v1", "kind", "Pod"), 0);
  assert_int_equal(try(&llmd__k8s_notification_source, "version", "v1", "kind", ""), LLMD_E_MISSING);
}

static void metric_specifications(void **state)
{
  static const struct {
    const char *text;
    int rc;
  } rows[] = {{"", 0}, {"my_metric", 0}, {"my_metric{label1=value1}", 0}, {"my_metric{label1=\"value1\"}", 0},
              {"my_metric{label1=value1,label2=value2}", 0}, {"  my_metric  ", 0}, {"vllm:num_requests_waiting", 0},
              {"  my_metric  {  label1  =  value1  ,  label2  =  value2  }  ", 0}, {"m{}", 0}, {"m{a=\"x y\"}", 0},
              {"m{a=\"\"}", 0}, {"my_metric{label1=value1", LLMD_E_INVALID}, {"my_metric{label1}", LLMD_E_INVALID},
              {"my_metric{label1=}", LLMD_E_INVALID}, {"my_metric{  =  }", LLMD_E_INVALID},
              {"my_metric{label=val}extra", LLMD_E_INVALID}, {"{label=val}", LLMD_E_INVALID}, {"   ", LLMD_E_INVALID},
              {"9m", LLMD_E_INVALID}, {"m{a=b,}", LLMD_E_INVALID}, {"m{a:b=c}", LLMD_E_INVALID},
              {"m n", LLMD_E_INVALID}, {"m{a=\"x}", LLMD_E_INVALID}, {"m{a=x y}", LLMD_E_INVALID}};
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof rows[0]; i++)
    if (try(&llmd__multicluster_metrics_extractor, "queueSizeMetric", rows[i].text, NULL, NULL) != rows[i].rc)
      fail_msg("\"%s\"", rows[i].text);
}

/* A list parameter, as the core would store it. */
static void set_list(test_self *self, const llmd_param *p, const char *name, void *items, uint32_t n)
{
  llmd_list list;
  while (p->name && strcmp(p->name, name) != 0)
    p++;
  assert_non_null(p->name);
  list.n = n;
  list.item_size = p->sub_size;
  list.items = items;
  memcpy(self->at.bytes + p->offset, &list, sizeof list);
}

static const llmd_param *row_of(const llmd_param *p, const char *name)
{
  while (p->name && strcmp(p->name, name) != 0)
    p++;
  assert_non_null(p->name);
  return p;
}

static void put_text(void *item, const llmd_param *table, const char *name, const char *text)
{
  llmd_str s = {text, strlen(text)};
  memcpy((char *)item + row_of(table, name)->offset, &s, sizeof s);
}

static int engines(const char *first, const char *second, const char *preset, const char *spec, const char *attribute)
{
  const llmd_plugin *p = &llmd__core_metrics_extractor;
  const llmd_param *engine = row_of(p->params, "engineConfigs")->sub, *custom = row_of(engine, "customMetrics")->sub;
  union {
    max_align_t align;
    char bytes[1024];
  } list = {0}, customs = {0};
  uint32_t size = row_of(p->params, "engineConfigs")->sub_size;
  llmd_list inner = {1, row_of(engine, "customMetrics")->sub_size, customs.bytes};
  test_self self;
  self_init(&self, p);
  assert_true(2 * size <= sizeof list);
  put_text(list.bytes, engine, "name", first);
  put_text(list.bytes + size, engine, "name", second);
  put_text(list.bytes, engine, "kvUsageSpec", spec);
  put_text(customs.bytes, custom, "attributeKey", attribute);
  put_text(customs.bytes, custom, "metricSpec", "m{a=b}");
  memcpy(list.bytes + row_of(engine, "customMetrics")->offset, &inner, sizeof inner);
  set_list(&self, p->params, "engineConfigs", list.bytes, 2);
  assert_int_equal(self_set(&self, p, "defaultEngine", preset), 0);
  return self_check(&self, p);
}

static void core_metrics(void **state)
{
  (void)state;
  assert_int_equal(try(&llmd__core_metrics_extractor, NULL, NULL, NULL, NULL), 0);
  assert_int_equal(try(&llmd__core_metrics_extractor, "defaultEngine", "triton", NULL, NULL), 0);
  assert_int_equal(try(&llmd__core_metrics_extractor, "defaultEngine", "mine", NULL, NULL), LLMD_E_INVALID);
  assert_int_equal(engines("mine", "vllm", "mine", "m", "key"), 0);
  assert_int_equal(engines("mine", "mine", "mine", "m", "key"), LLMD_E_INVALID);
  assert_int_equal(engines("default", "x", "x", "m", "key"), LLMD_E_INVALID);
  assert_int_equal(engines("", "x", "x", "m", "key"), LLMD_E_INVALID);
  assert_int_equal(engines("mine", "x", "y", "m", "key"), LLMD_E_INVALID);
  assert_int_equal(engines("mine", "x", "x", "m{", "key"), LLMD_E_INVALID);
  assert_int_equal(engines("mine", "x", "x", "m", ""), LLMD_E_INVALID);
}

static int reporter(uint32_t n, const char *name, const char *expression)
{
  const llmd_plugin *p = &llmd__request_attribute_reporter;
  const llmd_param *item = row_of(p->params, "attributes")->sub, *key = row_of(item, "key");
  union {
    max_align_t align;
    char bytes[1024];
  } list = {0};
  test_self self;
  self_init(&self, p);
  put_text(list.bytes + key->offset, key->sub, "name", name);
  put_text(list.bytes, item, "expression", expression);
  set_list(&self, p->params, "attributes", list.bytes, n);
  return self_check(&self, p);
}

static void reporters(void **state)
{
  (void)state;
  assert_int_equal(reporter(1, "tokens", "usage.total"), 0);
  assert_int_equal(reporter(0, "tokens", "usage.total"), LLMD_E_RANGE);
  assert_int_equal(reporter(2, "tokens", "usage.total"), LLMD_E_RANGE);
  assert_int_equal(reporter(1, "", "usage.total"), LLMD_E_MISSING);
  assert_int_equal(reporter(1, "tokens", ""), LLMD_E_MISSING);
}

/* The screener: selectors a and b, roles c and d (NULL ends either list). */
static int rollout(const char *labels, const char *mode, const char *const *selectors, const char *const *roles)
{
  const llmd_plugin *p = &llmd__disaggregatedset_rollout_screener;
  const llmd_param *list = row_of(p->params, "headerSelectors"), *gate = row_of(p->params, "revisionGating");
  const llmd_param *required = row_of(gate->sub, "requireRoles");
  union {
    max_align_t align;
    char bytes[1024];
  } items = {0};
  llmd_str role[2] = {{0}};
  llmd_list values = {0, sizeof(llmd_str), role};
  uint32_t n = 0, one = 1;
  test_self self;
  self_init(&self, p);
  assert_int_equal(self_set(&self, p, "scope.labelSelector", labels), 0);
  assert_int_equal(self_set(&self, p, "revisionGating.mode", mode), 0);
  for (; selectors[n]; n++) {
    put_text(items.bytes + n * list->sub_size, list->sub, "name", selectors[n]);
    put_text(items.bytes + n * list->sub_size, list->sub, "headerName", n ? "x-b" : "x-a");
    put_text(items.bytes + n * list->sub_size, list->sub, "labelKey", "k");
  }
  set_list(&self, p->params, "headerSelectors", items.bytes, n);
  for (; roles && roles[values.n]; values.n++) {
    role[values.n].ptr = roles[values.n];
    role[values.n].len = strlen(roles[values.n]);
  }
  memcpy(self.at.bytes + gate->offset + required->offset + required->sub->offset, &values, sizeof values);
  if (roles)
    memcpy(self.at.bytes + gate->offset + required->given, &one, sizeof one);
  return self_check(&self, p);
}

static void screener(void **state)
{
  static const char *const none[] = {NULL}, *const two[] = {"a", "b", NULL}, *const same[] = {"a", "a", NULL},
                           *const unnamed[] = {"", NULL};
  (void)state;
  assert_int_equal(rollout("app=x", "sum", two, two), 0);
  assert_int_equal(rollout("app=x", "disabled", none, NULL), 0);
  assert_int_equal(rollout("", "sum", two, two), LLMD_E_MISSING);
  assert_int_equal(rollout("app=x", "sum", same, two), LLMD_E_DUPLICATE);
  assert_int_equal(rollout("app=x", "sum", unnamed, two), LLMD_E_MISSING);
  assert_int_equal(rollout("app=x", "max-role", two, NULL), LLMD_E_MISSING);
  assert_int_equal(rollout("app=x", "max-role", two, none), LLMD_E_MISSING);
  assert_int_equal(rollout("app=x", "sum", two, same), LLMD_E_DUPLICATE);
  assert_int_equal(rollout("app=x", "sum", two, unnamed), LLMD_E_INVALID);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(descriptors), cmocka_unit_test(set_by_the_host), cmocka_unit_test(only_known),
    cmocka_unit_test(holdback),    cmocka_unit_test(ranges),          cmocka_unit_test(sources),
    cmocka_unit_test(metric_specifications), cmocka_unit_test(core_metrics), cmocka_unit_test(reporters),
    cmocka_unit_test(screener),
  };
  return cmocka_run_group_tests_name("host", tests, NULL, NULL);
}
