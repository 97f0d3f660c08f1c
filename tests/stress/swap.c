/* Eight threads decide by a Lua policy while its text is changed a hundred times a second: put into the region, compiled
 * off the deciding threads, taken by each lane between two decisions. No decision fails, none goes by a text that never
 * was, and after the last swap all go by the last. Meant for ThreadSanitizer as well.
 *
 *   swap LOADER_DIR */
#define _XOPEN_SOURCE 700 /* nanosleep */
#include <llmd/llmd.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define THREADS 8u
#define ENDPOINTS 4u
#define FILE_NAME "swap.lua"

static const char config[] = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n"
                             "- type: lua\n  name: swapped\n  parameters: {file: " FILE_NAME "}\n"
                             "- type: queue-scorer\nschedulingProfiles:\n- name: default\n  plugins:\n"
                             "  - pluginRef: swapped\n    weight: 10\n  - pluginRef: queue-scorer\n";

typedef struct worker {
  pthread_t thread;
  llmd_lane *lane;
  _Atomic(llmd_spare *) ready, used; /* to the thread, and back */
  atomic_ulong decided, wrong, swaps;
  atomic_uint last; /* endpoint of the last decision, from 1 */
} worker;

static worker workers[THREADS];
static atomic_int stop;
static llmd_endpoint_id endpoint[ENDPOINTS];

static void must(int rc, const char *what, const llmd_err *err)
{
  if (rc >= 0)
    return;
  printf("Bail out! %s: %s %s\n", what, llmd_strerror(rc), err ? err->text : "");
  exit(1);
}

/* Text k prefers endpoint k modulo 4; every other one does it once per endpoint, and some keep helpers and tables. */
static int write_text(char *buf, size_t cap, unsigned k)
{
  unsigned want = k % ENDPOINTS;
  if (k % 2)
    return snprintf(buf, cap, "-- text %u\nreturn { score = function(name) return name == 'default/e%u' and 1 or 0 end }\n",
                    k, want);
  return snprintf(buf, cap,
                  "-- text %u\nlocal names = {'default/e%u', extra = {1, 2, 3}}\n"
                  "local function likes(n) return n == names[1] end\n"
                  "return { reads = {'name', 'waiting'}, score = function(req, cols, out)\n"
                  "  for i = 1, cols.n do out[i] = likes(cols.name[i]) and 1 or 0 end end }\n",
                  k, want);
}

static void take(worker *w)
{
  llmd_spare *s = atomic_exchange(&w->ready, NULL);
  if (!s)
    return;
  llmd_lane_take(w->lane, s);
  llmd_spare_free(atomic_exchange(&w->used, s));
  atomic_fetch_add(&w->swaps, 1);
}

static int which(llmd_endpoint_id id)
{
  for (unsigned i = 0; i < ENDPOINTS; i++)
    if (endpoint[i] == id)
      return (int)i + 1;
  return 0;
}

static void *work(void *arg)
{
  static const char body[] = "{\"model\":\"m\",\"prompt\":\"hello there\"}";
  const struct timespec breath = {0, 1000000};
  worker *w = arg;
  void *memory = malloc(llmd_request_size(NULL));
  llmd_request *r;
  llmd_decision *d = calloc(1, sizeof *d);
  must(memory && d ? llmd_request_init(memory, llmd_request_size(NULL), NULL, &r) : LLMD_E_NOMEM, "request", NULL);
  for (uint64_t k = 1; !atomic_load(&stop) || atomic_load(&w->ready); k++) {
    llmd_now now = {k * 1000, 1};
    int at;
    take(w);
    llmd_request_reset(r);
    d->size = sizeof *d;
    must(llmd_request_feed(r, body, sizeof body - 1, LLMD_FEED_KEEP | LLMD_FEED_FINAL), "feed", NULL);
    must(llmd_decide(w->lane, r, &now, k, d), "decide", NULL);
    at = d->status == LLMD_ROUTED && !(d->ladder & LLMD_LADDER_PLUGIN) ? which(d->target[0].id) : 0;
    if (!at || d->target[0].score < 10) /* the policy's word, with its weight */
      atomic_fetch_add(&w->wrong, 1);
    atomic_store(&w->last, (unsigned)at);
    atomic_fetch_add(&w->decided, 1);
    must(llmd_report(w->lane, d->ticket, LLMD_REPORT_END, NULL, &now), "report", NULL);
    if (k % 64 == 0)
      nanosleep(&breath, NULL); /* else eight of them leave nobody else a core to compile on */
  }
  free(d);
  free(memory);
  return NULL;
}

static llmd_scheduler *compile(llmd_pool *pool, const char *dir)
{
  llmd_scheduler_options o = {.size = sizeof o, .loader_dir = dir};
  llmd_scheduler *s = NULL;
  llmd_err err = LLMD_ERR_INIT;
  must(llmd_scheduler_create(&o, pool, config, sizeof config - 1, &s, &err), "scheduler", &err);
  return s;
}

static void hand_out(llmd_scheduler *s)
{
  for (unsigned i = 0; i < THREADS; i++) {
    llmd_spare *spare;
    must(llmd_lane_prepare(workers[i].lane, s, &spare), "prepare", NULL);
    llmd_spare_free(atomic_exchange(&workers[i].ready, spare)); /* one that nobody has taken */
    llmd_spare_free(atomic_exchange(&workers[i].used, NULL));
  }
}

static void fill(llmd_pool *pool)
{
  llmd_now now = {1, 1};
  for (unsigned i = 0; i < ENDPOINTS; i++) {
    char name[16], address[16];
    llmd_endpoint e = {.size = sizeof e};
    double waiting = i;
    snprintf(name, sizeof name, "e%u", i);
    snprintf(address, sizeof address, "10.0.0.%u", i + 1);
    e.name.ptr = name;
    e.name.len = strlen(name);
    e.address.ptr = address;
    e.address.len = strlen(address);
    e.port = 8000;
    must(llmd_pool_add(pool, &e, &endpoint[i]), "add", NULL);
    must(llmd_pool_set(pool, endpoint[i], LLMD_ATTR_WAITING, waiting), "set", NULL);
  }
  must(llmd_pool_publish(pool, &now), "publish", NULL);
}

static int check(const char *what, int ok)
{
  static int n;
  printf("%s %d - %s\n", ok ? "ok" : "not ok", ++n, what);
  return !ok;
}

int main(int argc, char **argv)
{
  const char *wide = getenv("LLMD_LONG");
  const unsigned rounds = wide && *wide ? 6000 : 400;
  const struct timespec pause = {0, 5000000};
  const time_t began = time(NULL);
  llmd_scheduler *s = NULL;
  llmd_pool *pool;
  unsigned long wrong = 0, decided = 0, swaps = 0, followed = 0;
  unsigned bad = 0, k = 0;
  char text[512];
  if (argc != 2)
    return 2;
  printf("1..4\n");
  must(llmd_pool_open(NULL, &pool, NULL), "pool", NULL);
  fill(pool);
  for (; k < rounds; k++) {
    llmd_scheduler *next;
    int n = write_text(text, sizeof text, k);
    must(llmd_pool_put_policy(pool, FILE_NAME, sizeof FILE_NAME - 1, text, (size_t)n, NULL), "put", NULL);
    if (s && llmd_scheduler_outdated(s) != 1)
      return check("a new text is seen", 0);
    next = compile(pool, argv[1]);
    for (unsigned i = 0; i < THREADS && !s; i++) {
      must(llmd_lane_create(next, 0, &workers[i].lane), "lane", NULL);
      must(pthread_create(&workers[i].thread, NULL, work, &workers[i]) ? LLMD_E_IO : 0, "thread", NULL);
    }
    if (s)
      hand_out(next);
    llmd_scheduler_free(s);
    s = next;
    nanosleep(&pause, NULL);
  }
  atomic_store(&stop, 1);
  for (unsigned i = 0; i < THREADS; i++) {
    worker *w = &workers[i];
    pthread_join(w->thread, NULL);
    wrong += atomic_load(&w->wrong);
    decided += atomic_load(&w->decided);
    swaps += atomic_load(&w->swaps);
    followed += atomic_load(&w->last) == (k - 1) % ENDPOINTS + 1;
    llmd_spare_free(atomic_load(&w->used));
    llmd_lane_free(w->lane);
  }
  printf("# %lu decisions, %lu swaps of lanes, %u texts in about %ld s\n", decided, swaps, rounds,
         (long)(time(NULL) - began));
  bad += (unsigned)check("every decision went by a policy", wrong == 0 && decided > 0);
  bad += (unsigned)check("after the last swap all go by the last text", followed == THREADS);
  bad += (unsigned)check("the region has the last number", llmd_scheduler_outdated(s) == 0);
  bad += (unsigned)check("lanes were swapped", swaps > rounds);
  llmd_scheduler_free(s);
  llmd_pool_close(pool);
  return bad != 0;
}
