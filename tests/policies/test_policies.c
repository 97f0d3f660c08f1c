/* Every policy of lua/policies: it loads without a remark, its examples come out, and over a pool it does what it is
 * for.
 *
 *   test_policies FOLDER ENGINE */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "rig.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define HEAD "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"
#define SECOND 1000000000u
#define UNKNOWN ((double)NAN)

/* Where so many requests went. */
typedef struct tally {
  uint32_t to[RIG_ENDPOINTS];
  uint32_t rejected;
} tally;

static tally decide_many(rig *r, uint32_t n)
{
  tally t = {0};
  for (uint32_t i = 0; i < n; i++) {
    uint32_t to = rig_decide(r);
    *(to == RIG_NOBODY ? &t.rejected : &t.to[to]) += 1;
  }
  return t;
}

/* ---- all of them ------------------------------------------------------------------------------------------------ */

static uint32_t remarks;

static void count_remark(void *ud, int level, const char *component, const char *text, size_t len)
{
  (void)ud;
  (void)component;
  if (level > LLMD_LOG_WARN)
    return;
  remarks++;
  fprintf(stderr, "%.*s\n", (int)len, text);
}

static int to_stderr(void *ud, const char *ptr, size_t len)
{
  (void)ud;
  return fwrite(ptr, 1, len, stderr) != len;
}

static void check_file(const char *file)
{
  char config[1024];
  llmd_scheduler_options so;
  llmd_scheduler *s;
  llmd_err err = LLMD_ERR_INIT;
  rig r;
  int n = llmd_policy_config("lua", file, config, sizeof config);
  assert_true(n > 0);
  rig_open(&r, 3);
  rig_options(&so);
  so.log = count_remark;
  remarks = 0;
  if (llmd_scheduler_create(&so, r.pool, config, (size_t)n, &s, &err))
    fail_msg("%s:%u: %s", err.path, err.line, err.text);
  n = llmd_scheduler_examples(s, to_stderr, NULL, &err);
  if (n < 1)
    fail_msg("%s: %s", file, n ? err.text : "no examples");
  assert_int_equal(remarks, 0);
  llmd_scheduler_free(s);
  rig_close(&r);
}

static void every_policy_proves_itself(void **state)
{
  DIR *d = opendir(rig_folder());
  uint32_t n = 0;
  (void)state;
  assert_non_null(d);
  for (const struct dirent *e = readdir(d); e; e = readdir(d)) {
    size_t len = strlen(e->d_name);
    if (len < 4 || strcmp(e->d_name + len - 4, ".lua"))
      continue;
    check_file(e->d_name);
    n++;
  }
  closedir(d);
  assert_true(n >= 10);
}

/* ---- queue-and-kv ----------------------------------------------------------------------------------------------- */

static void blend_weighs_queue_and_cache(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 3);
  rig_set(&r, 0, LLMD_ATTR_WAITING, 4); /* a queue, but an empty cache */
  rig_set(&r, 1, LLMD_ATTR_KV_USAGE, 0.9);
  rig_set(&r, 2, LLMD_ATTR_WAITING, UNKNOWN); /* would be best if unknown were 0 */
  rig_publish(&r);
  rig_policy(&r, "queue-and-kv.lua", "queue: 0.9");
  assert_int_equal(rig_decide(&r), 1);
  rig_policy(&r, "queue-and-kv.lua", "queue: 0.1");
  assert_int_equal(rig_decide(&r), 0);
  rig_close(&r);
}

static void parameters_out_of_range_are_refused(void **state)
{
  static const char config[] =
      HEAD "plugins:\n- type: lua\n  parameters: {file: queue-and-kv.lua, params: {queue: 1.5}}\n";
  llmd_err err = LLMD_ERR_INIT;
  rig r;
  (void)state;
  rig_open(&r, 1);
  assert_int_equal(rig_try(&r, config, &err), LLMD_E_RANGE);
  assert_int_equal(err.line, 5);
  rig_close(&r);
}

/* ---- canary-by-header ------------------------------------------------------------------------------------------- */

static void canaries_get_who_asks_for_them(void **state)
{
  rig r;
  tally t;
  (void)state;
  rig_open(&r, 4);
  rig_label(&r, 2, "track", "canary");
  rig_publish(&r);
  rig_policy(&r, "canary-by-header.lua", "");
  t = decide_many(&r, 60);
  assert_int_equal(t.to[2], 0);
  assert_true(t.to[0] && t.to[1] && t.to[3]);
  rig_header(&r, "X-Canary", "1");
  t = decide_many(&r, 20);
  assert_int_equal(t.to[2], 20);
  rig_label(&r, 2, "track", "stable");
  rig_publish(&r);
  t = decide_many(&r, 20); /* none is left */
  assert_int_equal(t.rejected, 0);
  rig_close(&r);
}

/* ---- tenant-isolation ------------------------------------------------------------------------------------------- */

static const char *numbered(const char *what, uint32_t i)
{
  static char text[32];
  snprintf(text, sizeof text, "%s-%u", what, i);
  return text;
}

static uint64_t endpoints_of_tenant(rig *r, uint32_t tenant, uint32_t lane)
{
  uint64_t set = 0;
  rig_header(r, "x-llm-d-inference-fairness-id", numbered("tenant", tenant));
  for (uint32_t i = 0; i < 40; i++)
    set |= (uint64_t)1 << rig_decide_on(r, lane);
  return set;
}

static uint32_t bits(uint64_t set)
{
  uint32_t n = 0;
  for (; set; set &= set - 1)
    n++;
  return n;
}

static void tenants_keep_to_their_share(void **state)
{
  enum { TENANTS = 60 };
  uint64_t was[TENANTS], all = 0;
  uint32_t same = 0;
  rig r;
  (void)state;
  rig_open(&r, 10);
  rig_policy(&r, "tenant-isolation.lua", "share: 3");
  for (uint32_t i = 0; i < TENANTS; i++) {
    was[i] = endpoints_of_tenant(&r, i, 0);
    assert_int_equal(bits(was[i]), 3);
    assert_int_equal(endpoints_of_tenant(&r, i, 1), was[i]); /* another lane agrees */
    all |= was[i];
    same += i && was[i] == was[0];
  }
  assert_int_equal(bits(all), 10);
  assert_true(same < TENANTS / 10);
  assert_int_equal(llmd_pool_remove(r.pool, r.id[4]), 0);
  rig_publish(&r);
  for (uint32_t i = 0; i < TENANTS; i++) {
    uint64_t now = endpoints_of_tenant(&r, i, 0);
    if (was[i] & 1u << 4)
      assert_int_equal(bits(now & was[i]), 2); /* the other two are still its own */
    else
      assert_int_equal(now, was[i]);
  }
  rig_header(&r, "x-llm-d-inference-fairness-id", NULL);
  rig_close(&r);
}

/* ---- session-affinity-overflow ---------------------------------------------------------------------------------- */

static uint32_t home_of(rig *r, uint32_t session, uint32_t lane)
{
  uint32_t home;
  rig_header(r, "x-session-id", numbered("session", session));
  home = rig_decide_on(r, lane);
  assert_true(home != RIG_NOBODY);
  for (uint32_t i = 0; i < 3; i++)
    assert_int_equal(rig_decide_on(r, lane), home); /* whatever the seed is */
  return home;
}

static void only_the_lost_endpoints_sessions_move(void **state)
{
  enum { SESSIONS = 200 };
  uint32_t was[SESSIONS], moved = 0, to[8] = {0};
  rig r;
  (void)state;
  rig_open(&r, 8);
  rig_policy(&r, "session-affinity-overflow.lua", "");
  for (uint32_t i = 0; i < SESSIONS; i++) {
    was[i] = home_of(&r, i, 0);
    to[was[i]]++;
    assert_int_equal(home_of(&r, i, 1), was[i]);
  }
  for (uint32_t i = 0; i < 8; i++)
    assert_true(to[i] > SESSIONS / 8 / 3);
  assert_int_equal(llmd_pool_remove(r.pool, r.id[5]), 0);
  rig_publish(&r);
  for (uint32_t i = 0; i < SESSIONS; i++) {
    uint32_t now = home_of(&r, i, 0);
    assert_true(now != 5);
    moved += now != was[i];
    if (was[i] != 5)
      assert_int_equal(now, was[i]);
  }
  assert_int_equal(moved, to[5]);
  rig_close(&r);
}

static void a_busy_home_overflows_and_takes_back(void **state)
{
  uint32_t home, spread = 0, second[8] = {0}, n = 0;
  rig r;
  (void)state;
  rig_open(&r, 8);
  rig_policy(&r, "session-affinity-overflow.lua", "waiting: 2");
  for (uint32_t i = 0; i < 100; i++) {
    rig_set(&r, 3, LLMD_ATTR_WAITING, 2);
    rig_publish(&r);
    home = home_of(&r, i, 0);
    if (home != 3)
      continue;
    n++;
    rig_set(&r, 3, LLMD_ATTR_WAITING, 3);
    rig_publish(&r);
    home = home_of(&r, i, 0);
    assert_true(home != 3);
    second[home]++;
  }
  for (uint32_t i = 0; i < 8; i++)
    spread += second[i] > 0;
  assert_true(n > 4 && spread > 2); /* to more than one neighbour */
  rig_close(&r);
}

static void long_names_harm_nobody(void **state)
{
  static const char *const files[] = {"session-affinity-overflow.lua", "tenant-isolation.lua",
                                      "sticky-until-saturated.lua"};
  char name[3001];
  rig r;
  (void)state;
  memset(name, 'x', sizeof name);
  name[sizeof name - 1] = 0;
  rig_open(&r, RIG_ENDPOINTS);
  rig_header(&r, "x-session-id", name);
  rig_header(&r, "x-llm-d-inference-fairness-id", name);
  for (uint32_t i = 0; i < sizeof files / sizeof *files; i++) {
    rig_policy(&r, files[i], "");
    assert_int_equal(decide_many(&r, 5).rejected, 0);
    rig_commit(&r);
    assert_true(rig_decide(&r) != RIG_NOBODY); /* and no policy fails, rig_decide_on looks */
  }
  rig_close(&r);
}

/* ---- sticky-until-saturated ------------------------------------------------------------------------------------- */

static const char sticky[] = HEAD
    "plugins:\n- {type: lua, name: sticky, parameters: {file: sticky-until-saturated.lua, params: {forget: 60}}}\n"
    "- type: queue-scorer\n- type: max-score-picker\nschedulingProfiles:\n- name: default\n  plugins:\n"
    "  - {pluginRef: sticky, weight: 3}\n  - {pluginRef: queue-scorer, weight: 1}\n  - pluginRef: max-score-picker\n";

static void sessions_stick_until_saturation(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 3);
  rig_set(&r, 0, LLMD_ATTR_WAITING, 5);
  rig_set(&r, 2, LLMD_ATTR_WAITING, 5);
  rig_publish(&r);
  rig_configure(&r, sticky);
  rig_header(&r, "x-session-id", "alice");
  assert_int_equal(rig_decide(&r), 1); /* the queue chooses */
  rig_commit(&r);
  rig_set(&r, 1, LLMD_ATTR_WAITING, 8);
  rig_publish(&r);
  assert_int_equal(rig_decide(&r), 1);
  assert_int_equal(rig_decide_on(&r, 1), 1); /* other lanes know it */
  rig_header(&r, "x-session-id", "bob");
  assert_true(rig_decide(&r) != 1); /* who is new goes by the queue */
  rig_header(&r, "x-session-id", "alice");
  rig_set(&r, 1, LLMD_ATTR_WAITING, 9);
  rig_set(&r, 2, LLMD_ATTR_WAITING, 0);
  rig_publish(&r);
  assert_int_equal(rig_decide(&r), 2);
  rig_commit(&r);
  rig_set(&r, 1, LLMD_ATTR_WAITING, 0);
  rig_set(&r, 2, LLMD_ATTR_WAITING, 3);
  rig_publish(&r);
  assert_int_equal(rig_decide(&r), 2); /* it has moved, and stays there */
  r.now.mono += (uint64_t)61 * SECOND;
  rig_publish(&r);
  assert_int_equal(rig_decide(&r), 1); /* idle for too long: forgotten */
  rig_close(&r);
}

static void what_was_not_sent_is_not_remembered(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 2);
  rig_set(&r, 0, LLMD_ATTR_WAITING, 1);
  rig_publish(&r);
  rig_configure(&r, sticky);
  rig_header(&r, "x-session-id", "alice");
  assert_int_equal(rig_decide(&r), 1);
  rig_set(&r, 1, LLMD_ATTR_WAITING, 2);
  rig_publish(&r);
  assert_int_equal(rig_decide(&r), 0);
  rig_close(&r);
}

/* ---- cost-aware ------------------------------------------------------------------------------------------------- */

static void cheap_cards_are_taken_while_they_are_in_time(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 3);
  rig_label(&r, 0, "accelerator", "nvidia-h200");
  rig_label(&r, 1, "accelerator", "nvidia-l4");
  rig_label(&r, 2, "accelerator", "nvidia-a100");
  rig_publish(&r);
  rig_policy(&r, "cost-aware.lua", "");
  r.tokens = 1000;
  assert_int_equal(rig_decide(&r), 1);
  r.tokens = 12000;
  assert_int_equal(rig_decide(&r), 2);
  r.tokens = 30000;
  assert_int_equal(rig_decide(&r), 0);
  rig_header(&r, "x-llm-d-slo-ttft-ms", "60000");
  assert_int_equal(rig_decide(&r), 1);
  rig_header(&r, "x-llm-d-slo-ttft-ms", NULL);
  r.tokens = 1000;
  rig_set(&r, 1, LLMD_ATTR_WAITING, 20);
  rig_publish(&r);
  assert_int_equal(rig_decide(&r), 2);
  rig_close(&r);
}

/* ---- time-of-day-drain ------------------------------------------------------------------------------------------ */

static void set_hour(rig *r, double hour)
{
  r->now.wall = 1750032000000000000u + (uint64_t)(hour * 3600) * SECOND; /* a midnight, and so many hours */
}

static void shifts_begin_and_drain(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 2);
  rig_label(&r, 0, "shift", "day");
  rig_label(&r, 1, "shift", "night");
  rig_publish(&r);
  rig_policy(&r, "time-of-day-drain.lua", "lead: 0");
  for (double hour = 0.25; hour < 48; hour += 0.5) {
    double h = fmod(hour, 24);
    set_hour(&r, hour);
    assert_int_equal(rig_decide(&r), h >= 7 && h < 19 ? 0 : 1);
  }
  rig_policy(&r, "time-of-day-drain.lua", "");
  set_hour(&r, 6.8);
  assert_int_equal(rig_decide(&r), RIG_NOBODY); /* both drain, and nobody works round the clock */
  set_hour(&r, 7.0);
  assert_int_equal(rig_decide(&r), 0);
  rig_close(&r);
}

/* ---- lora-packing ----------------------------------------------------------------------------------------------- */

static void adapters_gather(void **state)
{
  static const char *const loaded[] = {"one", "two", "three"};
  rig r;
  (void)state;
  rig_open(&r, 4);
  for (uint32_t i = 0; i < 4; i++)
    rig_set(&r, i, LLMD_ATTR_MAX_MODELS, 3);
  rig_adapters(&r, 0, loaded, 0);
  rig_adapters(&r, 1, loaded, 3);
  rig_adapters(&r, 2, loaded + 1, 2);
  rig_adapters(&r, 3, loaded, 1);
  rig_publish(&r);
  rig_policy(&r, "lora-packing.lua", "base: llama");
  r.model = "four";
  assert_int_equal(rig_decide(&r), 2); /* the fullest one with room */
  r.model = "llama";
  assert_int_equal(rig_decide(&r), 0); /* the emptiest */
  r.model = "two";
  for (uint32_t i = 0; i < 10; i++) {
    uint32_t to = rig_decide(&r);
    assert_true(to == 1 || to == 2); /* who has it */
  }
  rig_close(&r);
}

/* ---- long-context-pool ------------------------------------------------------------------------------------------ */

static void long_contexts_go_to_their_own(void **state)
{
  rig r;
  tally t;
  (void)state;
  rig_open(&r, 3);
  rig_label(&r, 1, "context", "long");
  rig_publish(&r);
  rig_policy(&r, "long-context-pool.lua", "tokens: 1000");
  r.tokens = 2000;
  t = decide_many(&r, 10);
  assert_int_equal(t.to[1], 10);
  r.tokens = 500;
  t = decide_many(&r, 30);
  assert_int_equal(t.to[1], 0);
  assert_true(t.to[0] && t.to[2]);
  assert_int_equal(llmd_pool_remove(r.pool, r.id[1]), 0);
  rig_publish(&r);
  r.tokens = 2000;
  t = decide_many(&r, 10);
  assert_int_equal(t.rejected, 0);
  rig_close(&r);
}

/* ---- power-of-two ----------------------------------------------------------------------------------------------- */

static const char two_choices[] = HEAD
    "plugins:\n- type: queue-scorer\n- {type: lua, name: two, parameters: {file: power-of-two.lua}}\n"
    "schedulingProfiles:\n- {name: default, plugins: [{pluginRef: queue-scorer}, {pluginRef: two}]}\n";

static void of_two_the_better_one_is_taken(void **state)
{
  rig r;
  tally t;
  (void)state;
  rig_open(&r, 5);
  for (uint32_t i = 0; i < 5; i++)
    rig_set(&r, i, LLMD_ATTR_WAITING, i);
  rig_publish(&r);
  rig_configure(&r, two_choices);
  t = decide_many(&r, 2000); /* of ten pairs, four have the best, three the next, ... */
  assert_int_equal(t.to[4], 0);
  for (uint32_t i = 0; i < 4; i++)
    assert_in_range(t.to[i], (4 - i) * 200 - 80, (4 - i) * 200 + 80);
  assert_int_equal(r.decision.n_targets, 2);
  assert_true(r.decision.target[0].id != r.decision.target[1].id);
  rig_close(&r);
}

/* ---- spillover -------------------------------------------------------------------------------------------------- */

static const char spillover[] = HEAD
    "plugins:\n- {type: lua, name: handler, parameters: {file: spillover.lua}}\n- type: utilization-filter\n"
    "  parameters: {conditions: [{metric: kv-cache-utilization, maxValue: 0.9}]}\n"
    "- {type: by-label, name: ours, parameters: {label: owner, validValues: [us]}}\n- type: queue-scorer\n"
    "- type: max-score-picker\nschedulingProfiles:\n- name: own\n"
    "  plugins: [{pluginRef: ours}, {pluginRef: utilization-filter}, {pluginRef: queue-scorer},\n"
    "            {pluginRef: max-score-picker}]\n"
    "- name: spill\n  plugins: [{pluginRef: queue-scorer}, {pluginRef: max-score-picker}]\n";

static void full_pools_spill_over(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 3);
  rig_label(&r, 0, "owner", "us");
  rig_label(&r, 1, "owner", "us");
  rig_set(&r, 1, LLMD_ATTR_KV_USAGE, 0.95);
  rig_set(&r, 0, LLMD_ATTR_WAITING, 3);
  rig_publish(&r);
  rig_configure(&r, spillover);
  assert_int_equal(rig_decide(&r), 0);
  assert_int_equal(r.decision.profile[1].state, 0);
  rig_set(&r, 0, LLMD_ATTR_KV_USAGE, 0.95);
  rig_set(&r, 1, LLMD_ATTR_WAITING, 3);
  rig_publish(&r);
  assert_int_equal(rig_decide(&r), 2);
  assert_int_equal(r.decision.profile[0].state, 2);
  assert_int_equal(r.decision.primary, 1);
  rig_close(&r);
}

/* ---- prefill-apart ---------------------------------------------------------------------------------------------- */

static const char apart[] = HEAD
    "plugins:\n- {type: lua, name: apart, parameters: {file: prefill-apart.lua, params: {tokens: 500}}}\n"
    "- type: prefill-filter\n- type: decode-filter\n- type: queue-scorer\n- type: max-score-picker\n"
    "- {type: disagg-profile-handler, parameters: {deciders: {prefill: apart}}}\nschedulingProfiles:\n- name: prefill\n"
    "  plugins: [{pluginRef: prefill-filter}, {pluginRef: queue-scorer}, {pluginRef: max-score-picker}]\n"
    "- name: decode\n"
    "  plugins: [{pluginRef: decode-filter}, {pluginRef: queue-scorer}, {pluginRef: max-score-picker}]\n";

static void long_prompts_are_prefilled_apart_when_it_pays(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 2);
  rig_label(&r, 0, LLMD_LABEL_ROLE, "prefill");
  rig_label(&r, 1, LLMD_LABEL_ROLE, "decode");
  rig_set(&r, 1, LLMD_ATTR_RUNNING, 4);
  rig_publish(&r);
  rig_configure(&r, apart);
  r.tokens = 100;
  assert_int_equal(rig_decide(&r), 1);
  assert_int_equal(r.decision.n_targets, 1);
  r.tokens = 4000;
  assert_int_equal(rig_decide(&r), 1);
  assert_int_equal(r.decision.n_targets, 2);
  assert_int_equal(rig_number(&r, r.decision.target[1].id), 0);
  rig_commit(&r); /* from now on the decode endpoint has the prompt */
  assert_int_equal(rig_decide(&r), 1);
  assert_int_equal(r.decision.n_targets, 1);
  rig_set(&r, 1, LLMD_ATTR_RUNNING, 0);
  rig_publish(&r);
  r.model = "another"; /* whose prompts nobody has */
  assert_int_equal(rig_decide(&r), 1);
  assert_int_equal(r.decision.n_targets, 1);
  rig_close(&r);
}

/* ---- room-for-context ------------------------------------------------------------------------------------------- */

static const char room[] = HEAD
    "plugins:\n- {type: lua, name: room, parameters: {file: room-for-context.lua}}\n"
    "- type: endpoint-attribute-scorer\n  parameters:\n    attributeKey: Room\n    producer: room\n"
    "    algorithm: {type: linear_higher_is_better, normalization: {adaptiveRange: {}}}\n- type: max-score-picker\n"
    "schedulingProfiles:\n- name: default\n"
    "  plugins: [{pluginRef: endpoint-attribute-scorer}, {pluginRef: max-score-picker}]\n";

static void rooms_are_compared_in_tokens(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 3);
  for (uint32_t i = 0; i < 3; i++)
    rig_set(&r, i, LLMD_ATTR_BLOCK_SIZE, 16);
  rig_set(&r, 0, LLMD_ATTR_NUM_BLOCKS, 1000);
  rig_set(&r, 1, LLMD_ATTR_NUM_BLOCKS, 10000);
  rig_set(&r, 1, LLMD_ATTR_KV_USAGE, 0.5);
  rig_set(&r, 2, LLMD_ATTR_NUM_BLOCKS, UNKNOWN);
  rig_publish(&r);
  rig_configure(&r, room);
  assert_int_equal(rig_decide(&r), 1);
  rig_set(&r, 1, LLMD_ATTR_KV_USAGE, 0.95);
  rig_publish(&r);
  assert_int_equal(rig_decide(&r), 0);
  rig_close(&r);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_policy_proves_itself),
      cmocka_unit_test(blend_weighs_queue_and_cache),
      cmocka_unit_test(parameters_out_of_range_are_refused),
      cmocka_unit_test(canaries_get_who_asks_for_them),
      cmocka_unit_test(tenants_keep_to_their_share),
      cmocka_unit_test(only_the_lost_endpoints_sessions_move),
      cmocka_unit_test(a_busy_home_overflows_and_takes_back),
      cmocka_unit_test(long_names_harm_nobody),
      cmocka_unit_test(sessions_stick_until_saturation),
      cmocka_unit_test(what_was_not_sent_is_not_remembered),
      cmocka_unit_test(cheap_cards_are_taken_while_they_are_in_time),
      cmocka_unit_test(shifts_begin_and_drain),
      cmocka_unit_test(adapters_gather),
      cmocka_unit_test(long_contexts_go_to_their_own),
      cmocka_unit_test(of_two_the_better_one_is_taken),
      cmocka_unit_test(full_pools_spill_over),
      cmocka_unit_test(long_prompts_are_prefilled_apart_when_it_pays),
      cmocka_unit_test(rooms_are_compared_in_tokens),
  };
  int rc;
  rig_start(argc, argv);
  rc = cmocka_run_group_tests(tests, NULL, NULL);
  rig_end();
  return rc;
}
