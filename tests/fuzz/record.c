/* Records from a stranger. The input is one record, whose byte 12 (always 0 in a real one) chooses the configuration that
 * replays it. Length, checksum and identity are made right before, or nothing else would be looked at. LLMD_TOYS is the
 * folder of the loader of the toy language (tests/unit/sched/toy_loader.c). */
#include <llmd/llmd.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HEAD 32u
#define IDENTITY 32u
#define CHOICE 12u

#define BEGIN "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n"
/* All types whose reads a record can fill, so that every plugin sees hostile columns. */
static const char *const configs[] = {
    "",
    BEGIN "- type: decode-filter\n"
          "- type: utilization-filter\n  parameters: {conditions: [{metric: waiting-queue, maxValue: 5}]}\n"
          "- type: context-length-aware\n"
          "- type: concurrency-detector\n"
          "- type: utilization-detector\n"
          "- type: queue-scorer\n"
          "- type: running-requests-size-scorer\n"
          "- type: kv-cache-utilization-scorer\n"
          "- type: load-aware-scorer\n"
          "- type: active-request-scorer\n"
          "- type: token-load-scorer\n"
          "- type: lora-affinity-scorer\n"
          "- type: header-label-affinity-scorer\n  parameters: {headerName: x-zone, labelKey: zone}\n"
          "- type: max-score-picker\n  parameters: {maxNumOfEndpoints: 3}\n",
    BEGIN "- type: slo-headroom-tier-filter\n"
          "- type: prefix-cache-affinity-filter\n  parameters: {explorationProbability: 0.5}\n"
          "- type: latency-scorer\n"
          "- type: session-affinity-scorer\n"
          "- type: no-hit-lru-scorer\n"
          "- type: prefix-cache-scorer\n"
          "- type: mm-embeddings-cache-scorer\n"
          "- type: multicluster-queue-scorer\n"
          "- type: multicluster-kv-cache-utilization-scorer\n"
          "- type: topology-affinity-scorer\n"
          "- type: weighted-random-picker\n  parameters: {maxNumOfEndpoints: 3}\n",
    BEGIN "- type: prefill-filter\n- type: decode-filter\n- type: encode-filter\n- type: prefix-cache-scorer\n"
          "- type: topology-affinity-filter\n- type: max-score-picker\n- type: prefix-based-pd-decider\n"
          "  parameters: {nonCachedTokens: 16}\n- type: always-disagg-multimodal-decider\n"
          "- type: disagg-profile-handler\n"
          "  parameters: {deciders: {prefill: prefix-based-pd-decider, encode: always-disagg-multimodal-decider}}\n"
          "schedulingProfiles:\n"
          "- name: prefill\n  plugins: [{pluginRef: prefill-filter}, {pluginRef: topology-affinity-filter},"
          " {pluginRef: prefix-cache-scorer}, {pluginRef: max-score-picker}]\n"
          "- name: decode\n  plugins: [{pluginRef: decode-filter}, {pluginRef: prefix-cache-scorer},"
          " {pluginRef: max-score-picker}]\n"
          "- name: encode\n  plugins: [{pluginRef: encode-filter}, {pluginRef: max-score-picker}]\n",
    BEGIN "- type: header-based-testing-filter\n- type: random-picker\n",
    /* what only policies have: texts of ids, the prompt, answers of tables, calls that fail */
    BEGIN "- type: toy\n  parameters: {source: \"read label zone\\nread name\\nread prompt\\nread header x-zone\\n"
          "score text 0 eu-2\\nscore text 1 b\\nscore prompt 2 p\\nscore store home\\nkeep home\\nput home 1\"}\n"
          "- type: toy\n  name: failing\n  parameters: {source: \"read name\\nfail score -24 no score today\"}\n"
          "- type: toy\n  name: maker\n  parameters: {source: \"produce 3\\nfail produce -26 it took too long\"}\n"
          "- type: max-score-picker\n  parameters: {maxNumOfEndpoints: 3}\n"
          "schedulingProfiles:\n- name: default\n  plugins: [{pluginRef: toy}, {pluginRef: failing},"
          " {pluginRef: max-score-picker}]\n",
};
#define N_CONFIGS (sizeof configs / sizeof *configs)

typedef struct engine {
  llmd_scheduler *scheduler;
  llmd_lane *lane;
  uint64_t identity;
} engine;

static void must(int holds)
{
  if (!holds)
    abort();
}

/* The identity is in every record: the 8 bytes after the head. */
static int take_identity(void *ud, const char *ptr, size_t len)
{
  char *at = ud;
  size_t have = (unsigned char)at[IDENTITY + 8];
  for (size_t i = 0; i < len && have < IDENTITY + 8; i++)
    at[have++] = ptr[i];
  at[IDENTITY + 8] = (char)have;
  return 0;
}

static void make_engine(engine *e, llmd_pool *pool, const char *config, llmd_request *r, const llmd_now *now)
{
  llmd_scheduler_options so = {.size = sizeof so, .explain = 1, .loader_dir = LLMD_TOYS};
  llmd_decision d = {.size = sizeof d};
  char head[IDENTITY + 9] = {0};
  must(llmd_scheduler_create(&so, pool, config, strlen(config), &e->scheduler, NULL) == 0);
  must(llmd_lane_create(e->scheduler, 0, &e->lane) == 0);
  must(llmd_decide(e->lane, r, now, 1, &d) == 0);
  must(llmd_record_write(e->lane, take_identity, head) == 0);
  memcpy(&e->identity, head + IDENTITY, sizeof e->identity);
}

/* Made once: a scheduler is read only, a lane is this thread's. */
static const engine *engines(void)
{
  static engine all[N_CONFIGS];
  static llmd_pool *pool;
  llmd_region_options ro = {.size = sizeof ro, .max_endpoints = 16, .prefix_bytes = 1 << 20, .state_bytes = 16 << 20};
  llmd_pool_options po = {.size = sizeof po, .region = &ro};
  size_t size = llmd_request_size(NULL);
  llmd_now now = {1, 1};
  llmd_request *r = NULL;
  void *memory;
  if (pool)
    return all;
  memory = malloc(size);
  must(memory && llmd_request_init(memory, size, NULL, &r) == 0);
  must(llmd_request_feed(r, "{\"model\":\"m\",\"prompt\":\"p\"}", 26, LLMD_FEED_FINAL) == 0);
  must(llmd_pool_open(&po, &pool, NULL) == 0);
  for (size_t i = 0; i < N_CONFIGS; i++)
    make_engine(&all[i], pool, configs[i], r, &now);
  free(memory);
  return all;
}

static void put_u64(uint8_t *at, uint64_t v)
{
  for (int i = 0; i < 8; i++)
    at[i] = (uint8_t)(v >> 8 * i);
}

/* Magic, version, length and checksum as they should be; identity as the scheduler wants it. */
static void seal(uint8_t *at, size_t size, uint64_t identity)
{
  uint64_t h = 0xcbf29ce484222325u;
  static const uint8_t begin[16] = {'L', 'L', 'M', 'D', 'R', 'E', 'C', '1', 2, 0, 0, 0, 0, 0, 0, 0};
  memcpy(at, begin, sizeof begin);
  put_u64(at + 16, size);
  memcpy(at + IDENTITY, &identity, sizeof identity);
  for (size_t i = HEAD; i < size; i++)
    h = (h ^ at[i]) * 0x100000001b3u;
  put_u64(at + 24, h);
}

static int swallow(void *ud, const char *ptr, size_t len)
{
  uint64_t *sum = ud;
  for (size_t i = 0; i < len; i++)
    *sum += (unsigned char)ptr[i];
  return 0;
}

/* By another configuration than its own: nothing need fit. */
static void replay_other(const engine *e, const uint8_t *data, size_t size)
{
  llmd_decision d = {.size = sizeof d}, was = {.size = sizeof was};
  uint64_t sum = 0;
  uint32_t missing = 0;
  int64_t rc = llmd_replay_other(e->lane, data, size, &d, &was, &missing);
  must(rc < 0 || (size_t)rc <= size);
  must(rc < 0 || (was.n_targets <= LLMD_MAX_TARGETS && was.n_profiles <= LLMD_MAX_PROFILES && d.status != 0));
  if (rc < 0)
    return;
  must(llmd_explain_json(e->lane, swallow, &sum) == 0);
  must(llmd_record_write(e->lane, swallow, &sum) == 0);
}

static void replay(const engine *e, const uint8_t *data, size_t size)
{
  llmd_decision d = {.size = sizeof d};
  uint64_t sum = 0;
  int same = 0;
  int64_t rc = llmd_replay(e->lane, data, size, &d, &same);
  must(rc < 0 || (size_t)rc <= size);
  must(rc < 0 || (d.n_targets <= LLMD_MAX_TARGETS && d.text_len <= sizeof d.text && d.status != 0));
  if (rc < 0)
    return;
  must(llmd_explain_json(e->lane, swallow, &sum) == 0);
  must(llmd_explain_table(e->lane, swallow, &sum) == 0);
  must(llmd_record_write(e->lane, swallow, &sum) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  const engine *e = &engines()[size > CHOICE ? data[CHOICE] % N_CONFIGS : 0];
  uint8_t *copy;
  replay(e, data, size);
  if (size < IDENTITY + 8)
    return 0;
  copy = malloc(size);
  if (!copy)
    return 0;
  memcpy(copy, data, size);
  seal(copy, size, e->identity);
  replay(e, copy, size);
  replay_other(&engines()[(data[CHOICE] + 1u) % N_CONFIGS], copy, size);
  free(copy);
  return 0;
}
