/* Eight threads decide, commit and report while a writer changes metrics, adds and removes endpoints and hears what
 * engines store, configurations are reloaded, and somebody reads metrics, explains, records and replays. Meant for
 * ThreadSanitizer (no suppressions); without it, still a test that nothing is dropped and that the counts come back to
 * zero. */
#define _XOPEN_SOURCE 700 /* nanosleep */
#include <llmd/llmd.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define THREADS 8u
#define ENDPOINTS 40u

#define HEAD "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n"
static const char *const policies[] = {
    "",
    HEAD "- type: token-load-scorer\n- type: active-request-scorer\n- type: prefix-cache-scorer\nschedulingProfiles:\n"
         "- name: default\n  plugins:\n  - pluginRef: token-load-scorer\n  - pluginRef: active-request-scorer\n"
         "  - pluginRef: prefix-cache-scorer\n",
    HEAD "- type: utilization-detector\n- type: no-hit-lru-scorer\n- type: lora-affinity-scorer\n"
         "- type: weighted-random-picker\nschedulingProfiles:\n- name: default\n  plugins:\n"
         "  - pluginRef: utilization-detector\n  - pluginRef: no-hit-lru-scorer\n  - pluginRef: lora-affinity-scorer\n"
         "  - pluginRef: weighted-random-picker\n",
    HEAD "- type: precise-prefix-cache-producer\n  parameters: {speculativeIndexing: true}\n- type: queue-scorer\n"
         "- type: prefix-cache-scorer\n  parameters: {prefixMatchInfoProducerName: precise-prefix-cache-producer}\n",
};
#define POLICIES (sizeof policies / sizeof policies[0])
#define IDS 96u

static llmd_pool *pool;
static pthread_mutex_t hand = PTHREAD_MUTEX_INITIALIZER; /* the host's: guards which scheduler is current */
static llmd_scheduler *current;
static atomic_uint version;
static atomic_int stop;
static atomic_ulong decided, dropped, watched, unlike;

static void take_current(llmd_lane *lane, unsigned *seen)
{
  unsigned now = atomic_load(&version);
  if (now == *seen)
    return;
  pthread_mutex_lock(&hand);
  if (llmd_lane_switch(lane, current))
    atomic_fetch_add(&dropped, 1);
  *seen = atomic_load(&version);
  pthread_mutex_unlock(&hand);
}

/* Half of the prompts are text, half are token ids. */
static int write_prompt(char *body, size_t room, unsigned who, uint64_t k)
{
  int n = snprintf(body, room, "{\"model\":\"m%u\",\"prompt\":%s%llu", who % 3, k % 2 ? "[" : "\"",
                   (unsigned long long)(k % 17));
  for (unsigned i = 1; k % 2 && i < IDS; i++)
    n += snprintf(body + n, room - (size_t)n, ",%u", i);
  for (; k % 2 == 0 && n < 600; n++)
    body[n] = (char)('a' + (n * 7) % 26);
  return n + snprintf(body + n, room - (size_t)n, k % 2 ? "]}" : "\"}");
}

/* Every fourth run of eight fails, so endpoints are ejected and tried while others decide. */
static uint32_t end_of(uint64_t k)
{
  return k / 8 % 4 == 3 ? LLMD_REPORT_ERROR : k % 5 ? LLMD_REPORT_END : LLMD_REPORT_CANCEL;
}

static int one(llmd_lane *lane, llmd_request *r, unsigned who, uint64_t k, llmd_decision *d)
{
  char body[700];
  llmd_now now = {k * 1000 + 10, 1};
  int n = write_prompt(body, sizeof body, who, k);
  llmd_request_reset(r);
  llmd_request_header(r, "x-llm-d-inference-objective", 27, "chat", 4);
  if (llmd_request_feed(r, body, (size_t)n, LLMD_FEED_KEEP | LLMD_FEED_FINAL))
    return 1;
  if (llmd_decide(lane, r, &now, k * 131 + who, d) || d->status != LLMD_ROUTED || !d->target[0].id)
    return 1;
  llmd_commit(lane, r, d, 0, &now);
  if (k % 3 && end_of(k) != LLMD_REPORT_ERROR)
    llmd_report(lane, d->ticket, LLMD_REPORT_FIRST, NULL, &now);
  if (k % 7 == 0)
    llmd_report_endpoint(lane, d->target[0].id, end_of(k), &now);
  return d->ticket && llmd_report(lane, d->ticket, end_of(k), NULL, &now) != 0;
}

static void *decider(void *ud)
{
  unsigned who = (unsigned)(uintptr_t)ud, seen;
  llmd_decision *d = calloc(1, sizeof *d);
  void *mem = malloc(llmd_request_size(NULL));
  llmd_request *r;
  llmd_lane *lane;
  d->size = sizeof *d;
  llmd_request_init(mem, llmd_request_size(NULL), NULL, &r);
  pthread_mutex_lock(&hand);
  if (llmd_lane_create(current, 0, &lane))
    abort();
  seen = atomic_load(&version);
  pthread_mutex_unlock(&hand);
  for (uint64_t k = 0; !atomic_load(&stop); k++) {
    take_current(lane, &seen);
    if (one(lane, r, who, k, d))
      atomic_fetch_add(&dropped, 1);
    atomic_fetch_add(&decided, 1);
  }
  llmd_lane_free(lane);
  free(mem);
  free(d);
  return NULL;
}

typedef struct bytes {
  size_t len;
  char data[1 << 18];
} bytes;

static int to_bytes(void *ud, const char *ptr, size_t len)
{
  bytes *b = ud;
  if (len > sizeof b->data - b->len)
    return 1;
  memcpy(b->data + b->len, ptr, len);
  b->len += len;
  return 0;
}

static int visit(void *ud, llmd_endpoint_id id, const llmd_endpoint *e)
{
  double *sum = ud;
  *sum += llmd_pool_value(pool, id, LLMD_ATTR_WAITING) + (double)e->port;
  return 0;
}

static void look_around(const llmd_scheduler *s, bytes *b)
{
  double sum = 0;
  b->len = 0;
  if (llmd_metrics_write(s, to_bytes, b) || !b->len || llmd_pool_each(pool, visit, &sum) || !llmd_pool_count(pool))
    atomic_fetch_add(&unlike, 1);
}

/* One decision explained, recorded, and made again while the pool goes on. */
static void explain_one(llmd_lane *lane, llmd_request *r, uint64_t k, llmd_decision *d, bytes *b)
{
  int same = 0;
  if (one(lane, r, THREADS, k, d))
    atomic_fetch_add(&unlike, 1);
  b->len = 0;
  if (llmd_explain_json(lane, to_bytes, b))
    atomic_fetch_add(&unlike, 1);
  b->len = 0;
  if (llmd_record_write(lane, to_bytes, b) || llmd_replay(lane, b->data, b->len, d, &same) != (int64_t)b->len || !same)
    atomic_fetch_add(&unlike, 1);
}

static void *watcher(void *ud)
{
  llmd_scheduler_options so = {.size = sizeof so, .explain = 1};
  llmd_decision *d = calloc(1, sizeof *d);
  void *mem = malloc(llmd_request_size(NULL));
  llmd_scheduler *s;
  llmd_request *r;
  llmd_lane *lane;
  d->size = sizeof *d;
  llmd_request_init(mem, llmd_request_size(NULL), NULL, &r);
  if (llmd_scheduler_create(&so, pool, NULL, 0, &s, NULL) || llmd_lane_create(s, 0, &lane))
    abort();
  for (uint64_t k = 0; !atomic_load(&stop); k++) {
    look_around(s, ud);
    explain_one(lane, r, k, d, ud);
    atomic_fetch_add(&watched, 1);
  }
  llmd_lane_free(lane);
  llmd_scheduler_free(s);
  free(mem);
  free(d);
  return NULL;
}

static llmd_endpoint_id add(unsigned i)
{
  char address[24];
  llmd_endpoint e = {.size = sizeof e, .port = 8000};
  llmd_endpoint_id id = 0;
  e.address.ptr = address;
  e.address.len = (size_t)snprintf(address, sizeof address, "10.0.%u.%u", i / 200, i % 200 + 1);
  return llmd_pool_add(pool, &e, &id) ? 0 : id;
}

static void metrics(llmd_endpoint_id *id, unsigned turn)
{
  llmd_str models[2] = {{"m0", 2}, {"m1", 2}};
  for (unsigned i = 0; i < ENDPOINTS; i++) {
    llmd_pool_set(pool, id[i], LLMD_ATTR_WAITING, (i + turn) % 9);
    llmd_pool_set(pool, id[i], LLMD_ATTR_KV_USAGE, (double)((i * turn) % 100) / 100);
    llmd_pool_set_models(pool, id[i], LLMD_ATTR_ACTIVE_MODELS, models, turn % 3);
    llmd_pool_touch(pool, id[i], turn);
  }
}

/* Objectives and rewrites change under deciding lanes: old copies go as soon as nobody can be reading them. */
static void tables(unsigned turn)
{
  int32_t priority = (int32_t)(turn % 7);
  llmd_rewrite_target to[2] = {{{"m1", 2}, turn % 3, 0}, {{"m2", 2}, 1, 0}};
  llmd_pool_objective(pool, "chat", 4, &priority);
  llmd_pool_rewrite(pool, "m0", 2, to, turn % 5 ? 2 : 0);
}

/* An engine stores the beginning of one of the prompts; now and then one forgets everything. */
static void hear(const llmd_endpoint_id *id, unsigned turn)
{
  uint32_t ids[IDS];
  llmd_chain_root root = {.size = sizeof root, .block_tokens = 16};
  llmd_index_row row = {.size = sizeof row, .flags = LLMD_INDEX_FED, .block_tokens = 16};
  llmd_key key[IDS / 16];
  llmd_index *index;
  llmd_chain chain;
  for (unsigned i = 0; i < IDS; i++)
    ids[i] = i ? i : turn % 17;
  if (llmd_pool_index(pool, &index) || llmd_chain_begin(&chain, llmd_index_secret(index), &root))
    abort();
  llmd_chain_extend(&chain, llmd_index_secret(index), ids, IDS, NULL, 0, key, IDS / 16);
  llmd_index_describe(index, id[turn % ENDPOINTS], &row);
  llmd_index_store(index, id[turn % ENDPOINTS], turn % 2, NULL, key, NULL, 1 + turn % (IDS / 16), NULL);
  if (turn % 30 == 0)
    llmd_index_clear(index, id[turn * 7 % ENDPOINTS]);
}

static void *writer(void *ud)
{
  llmd_endpoint_id *id = ud;
  struct timespec nap = {0, 500000};
  for (unsigned turn = 1; !atomic_load(&stop); turn++) {
    llmd_now now = {turn, 1};
    metrics(id, turn);
    tables(turn);
    hear(id, turn);
    if (turn % 20 == 0) { /* one leaves, another comes */
      unsigned k = turn / 20 % ENDPOINTS;
      llmd_pool_remove(pool, id[k]);
      id[k] = add(ENDPOINTS + turn);
    }
    llmd_pool_publish(pool, &now);
    llmd_pool_tick(pool, &now, NULL);
    nanosleep(&nap, NULL);
  }
  return NULL;
}

static unsigned reload(void)
{
  unsigned n = 0;
  struct timespec nap = {0, 10000000};
  llmd_err err = LLMD_ERR_INIT;
  for (; n < 60; n++) {
    const char *text = policies[n % POLICIES];
    llmd_scheduler *next, *old;
    if (llmd_scheduler_create(NULL, pool, text, strlen(text), &next, &err)) {
      printf("# reload: %s\n", err.text);
      return 0;
    }
    pthread_mutex_lock(&hand);
    old = current;
    current = next;
    atomic_fetch_add(&version, 1);
    pthread_mutex_unlock(&hand);
    llmd_scheduler_free(old);
    if (!llmd_scheduler_create(NULL, pool, "plugins: 1", 10, &next, &err)) /* a bad one changes nothing */
      return 0;
    nanosleep(&nap, NULL);
  }
  return n;
}

static int64_t left_in_flight(const llmd_endpoint_id *id)
{
  int64_t sum = 0;
  for (unsigned i = 0; i < ENDPOINTS; i++) {
    int64_t requests = 0, tokens = 0;
    if (!llmd_pool_inflight(pool, id[i], &requests, &tokens))
      sum += (requests < 0 ? -requests : requests) + (tokens < 0 ? -tokens : tokens);
  }
  return sum;
}

static void check(int n, int ok, const char *what)
{
  printf("%sok %d - %s\n", ok ? "" : "not ", n, what);
}

int main(void)
{
  llmd_region_options ro = {.size = sizeof ro, .max_endpoints = 256, .prefix_bytes = 4 << 20, .state_bytes = 24 << 20,
                            .index_bytes = 4 << 20};
  size_t len = llmd_region_size(&ro);
  void *mem = aligned_alloc(64, len);
  llmd_pool_options po = {.size = sizeof po, .flags = LLMD_POOL_WRITER, .mem = mem, .mem_len = len};
  llmd_err err = LLMD_ERR_INIT;
  llmd_endpoint_id id[ENDPOINTS];
  llmd_health_options ho = {.size = sizeof ho, .failures = 3, .first_ns = 1000000, .longest_ns = 4000000};
  llmd_region_stats stats = {.size = sizeof stats};
  static bytes room;
  pthread_t t[THREADS], w, other;
  unsigned reloads;
  llmd_now now = {1, 1};
  printf("1..6\n");
  if (!mem || llmd_region_format(mem, len, &ro) || llmd_pool_open(&po, &pool, &err) ||
      llmd_pool_set_health(pool, &ho))
    return 1;
  for (unsigned i = 0; i < ENDPOINTS; i++)
    id[i] = add(i);
  llmd_pool_publish(pool, &now);
  if (llmd_scheduler_create(NULL, pool, NULL, 0, &current, &err))
    return 1;
  for (unsigned i = 0; i < THREADS; i++)
    pthread_create(&t[i], NULL, decider, (void *)(uintptr_t)i);
  pthread_create(&w, NULL, writer, id);
  pthread_create(&other, NULL, watcher, &room);
  reloads = reload();
  atomic_store(&stop, 1);
  for (unsigned i = 0; i < THREADS; i++)
    pthread_join(t[i], NULL);
  pthread_join(w, NULL);
  pthread_join(other, NULL);
  now.mono = 1000000;
  llmd_pool_publish(pool, &now);
  printf("# %lu decisions, %u reloads\n", atomic_load(&decided), reloads);
  check(1, reloads == 60, "every reload took");
  check(2, atomic_load(&decided) > 1000, "decisions were made meanwhile");
  check(3, atomic_load(&dropped) == 0, "no decision was dropped");
  check(4, left_in_flight(id) == 0, "all charges came back");
  printf("# %lu explained, recorded and replayed\n", atomic_load(&watched));
  check(5, atomic_load(&watched) > 10 && atomic_load(&unlike) == 0, "metrics, explanations, records and replays hold");
  llmd_region_stats_get(mem, len, &stats, NULL);
  printf("# %llu ejections, %llu are out\n", (unsigned long long)stats.ejections, (unsigned long long)stats.ejected);
  check(6, stats.ejections > 0 && stats.ejected <= ENDPOINTS / 2, "endpoints are ejected, half of them at most");
  llmd_scheduler_free(current);
  llmd_pool_close(pool);
  free(mem);
  return 0;
}
