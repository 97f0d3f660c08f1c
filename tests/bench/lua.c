/* What a policy in Lua costs: its verbs beside the same in C, whole decisions, making and swapping it, and how soon it
 * is stopped when it runs wild.
 *
 * Verbs are called through the loader's door (llmd/loader.h) with columns of which two of three change each time;
 * decisions through llmd_decide with the engine as a module (LLMD_LUA_DIR). */
#include <llmd/loader.h>

#include "cluster.h"
#include "state.h"

#define ROWS 1000u
#define LINE 100u

const llmd_loader *llmd_loader_module(uint32_t abi);

/* ---- policies --------------------------------------------------------------------------------------------------- */

#define PARAMS "return { params = {queue = 2, busy = 1, cache = 3}, reads = {'waiting', 'running', 'kv_usage'},\n"

static const char by_columns[] =
  PARAMS "score = function(req, cols, out, p)\n"
  "  local waiting, running, kv, q, b, c = cols.waiting, cols.running, cols.kv_usage, p.queue, p.busy, p.cache\n"
  "  for i = 1, cols.n do out[i] = q / (1 + waiting[i]) + b / (1 + running[i]) + c * (1 - kv[i]) end\nend }\n";
static const char by_columns_plainly[] =
  PARAMS "score = function(req, cols, out, p)\n  for i = 1, cols.n do\n"
  "    out[i] = p.queue / (1 + cols.waiting[i]) + p.busy / (1 + cols.running[i]) + p.cache * (1 - cols.kv_usage[i])\n"
  "  end\nend }\n";
static const char by_endpoints[] =
  PARAMS "score = function(req, eps, out, p)\n  local q, b, c = p.queue, p.busy, p.cache\n"
  "  for i = 1, #eps do local ep = eps[i]\n"
  "    out[i] = q / (1 + ep.waiting) + b / (1 + ep.running) + c * (1 - ep.kv_usage) end\nend }\n";
static const char each_endpoint[] =
  PARAMS "score = function(p, waiting, running, kv_usage)\n"
  "  return p.queue / (1 + waiting) + p.busy / (1 + running) + p.cache * (1 - kv_usage)\nend }\n";

/* ---- one policy, one state, a batch ----------------------------------------------------------------------------- */

typedef struct bench_rig {
  const llmd_loader *loader;
  const llmd_plugin *d;
  void *policy, *own;
  char *self;
  double cell[2][3][ROWS];
  const double *f64[3];
  llmd_endpoint_id endpoint[ROWS];
  llmd_read_value value[3];
  llmd_request_view view;
  llmd_batch b;
  double out[ROWS];
  uint32_t turn;
} bench_rig;

static void *reallocate(void *ud, void *ptr, size_t osize, size_t nsize)
{
  (void)ud;
  (void)osize;
  if (nsize)
    return realloc(ptr, nsize);
  free(ptr);
  return NULL;
}

static const llmd_allocator allocator = {sizeof allocator, 0, reallocate, NULL};

static uint64_t monotonic(void *ud)
{
  struct timespec t;
  (void)ud;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int text_of(void *ctx, uint32_t id, llmd_str *out)
{
  (void)ctx;
  (void)id;
  out->ptr = "";
  out->len = 0;
  return 0;
}

static void rig_compile(bench_rig *r, const char *text)
{
  llmd_program in = {.size = sizeof in, .alloc = &allocator, .name = {"bench", 5}, .text = {text, strlen(text)}};
  llmd_err err = LLMD_ERR_INIT;
  int rc = r->loader->load(&in, &r->policy, &err);
  if (rc)
    cluster_die("load", rc, &err);
  r->d = r->loader->plugin(r->policy);
}

/* What the core stores when the configuration says nothing. */
static void rig_bind(bench_rig *r)
{
  llmd_err err = LLMD_ERR_INIT;
  int rc;
  r->self = calloc(1, r->d->self_size);
  for (const llmd_param *p = r->d->params; p->name; p++) {
    double d = p->preset ? atof(p->preset) : 0;
    if (p->type == LLMD_PARAM_FLOAT)
      memcpy(r->self + p->offset, &d, sizeof d);
  }
  rc = r->d->validate ? r->d->validate(r->self, &err) : 0;
  rc = rc ? rc : r->loader->bind(r->policy, r->self, &err);
  if (rc)
    cluster_die("bind", rc, &err);
}

static void set_limits(bench_rig *r, int64_t instructions, int64_t time_ns)
{
  for (const llmd_param *p = r->d->params; p->name; p++) {
    if (!strcmp(p->name, "instructions"))
      memcpy(r->self + p->offset, &instructions, sizeof instructions);
    else if (!strcmp(p->name, "time"))
      memcpy(r->self + p->offset, &time_ns, sizeof time_ns);
  }
}

static void rig_state(bench_rig *r)
{
  const llmd_host host = {.size = sizeof host, .rows = ROWS, .alloc = &allocator, .clock = monotonic, .text = text_of};
  static llmd_host kept;
  int rc;
  kept = host;
  rc = r->d->open(r->self, &kept, &r->own);
  if (rc)
    cluster_die("open", rc, NULL);
}

static void rig_fill(bench_rig *r)
{
  for (uint32_t i = 0; i < ROWS; i++) {
    for (uint32_t k = 0; k < 2; k++) {
      r->cell[k][0][i] = (i * 7 + k) % 8;
      r->cell[k][1][i] = (i * 5 + k) % 13;
      r->cell[k][2][i] = (double)(i * 3 % 100) / 100;
    }
    r->endpoint[i] = 1 + i;
  }
  r->view.size = sizeof r->view;
  r->view.model.ptr = "qwen";
  r->view.model.len = 4;
  r->b.size = sizeof r->b;
  r->b.f64 = r->f64;
  r->b.value = r->value;
  r->b.endpoint = r->endpoint;
  r->b.request = &r->view;
  r->b.own = r->own;
}

static void rig_open(bench_rig *r, const char *text)
{
  memset(r, 0, sizeof *r);
  r->loader = llmd_loader_module(LLMD_LOADER_ABI);
  rig_compile(r, text);
  rig_bind(r);
  set_limits(r, 0, 1000000000); /* the clock is looked at, but a busy machine stops nothing */
  rig_state(r);
  rig_fill(r);
}

static void rig_close(bench_rig *r)
{
  r->d->close(r->self, r->own);
  r->loader->unload(r->policy);
  free(r->self);
}

/* Two columns are others than the time before. */
static int rig_score(bench_rig *r)
{
  uint32_t k = ++r->turn & 1;
  r->f64[0] = r->cell[k][0];
  r->f64[1] = r->cell[k][1];
  r->f64[2] = r->cell[0][2];
  r->b.seed = r->turn;
  r->b.now += 1000;
  return r->d->score(r->self, &r->b, r->out);
}

/* ---- verbs ------------------------------------------------------------------------------------------------------ */

static void in_lua(void *ud)
{
  bench_rig *r = ud;
  int rc = rig_score(r);
  if (rc) {
    llmd_err err = LLMD_ERR_INIT;
    (void)r->d->trouble(r->self, r->own, err.text, sizeof err.text - 1);
    cluster_die("score", rc, &err);
  }
}

static void in_c(void *ud)
{
  bench_rig *r = ud;
  uint32_t k = ++r->turn & 1;
  const double *waiting = r->cell[k][0], *running = r->cell[k][1], *kv = r->cell[0][2];
  for (uint32_t i = 0; i < r->b.n; i++)
    r->out[i] = 2 / (1 + waiting[i]) + 1 / (1 + running[i]) + 3 * (1 - kv[i]);
}

/* So many calls that a round is shorter than a time slice. */
static unsigned rounds(uint32_t n)
{
  return 2000 / n;
}

static void verbs(void)
{
  static const struct {
    const char *what, *text;
  } forms[] = {{"cols", by_columns}, {"cols, without locals", by_columns_plainly}, {"eps", by_endpoints},
               {"once per endpoint", each_endpoint}};
  static bench_rig r;
  char row[LINE];
  for (uint32_t n = 10; n <= ROWS; n *= 10) {
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
      rig_open(&r, forms[f].text);
      r.b.n = n;
      snprintf(row, sizeof row, "three-term scorer in Lua, %u endpoints, %s", n, forms[f].what);
      bench_row(row, bench_time(in_lua, &r, rounds(n)) / 1e3, "us");
      rig_close(&r);
    }
    r.b.n = n;
    snprintf(row, sizeof row, "  the same in C, %u endpoints", n);
    bench_row(row, bench_time(in_c, &r, 10 * rounds(n)) / 1e3, "us");
  }
}

/* ---- decisions -------------------------------------------------------------------------------------------------- */

static int policy_text(void *ud, const llmd_str *file, llmd_str *text)
{
  (void)file;
  text->ptr = ud;
  text->len = strlen(ud);
  return 1;
}

static llmd_scheduler *schedule(cluster *c, const char *text)
{
  llmd_scheduler_options o = {.size = sizeof o, .clock = monotonic, .loader_dir = LLMD_LUA_DIR,
                              .policy_dir = "/nowhere", .policy = policy_text};
  llmd_scheduler *s = NULL;
  llmd_err err = LLMD_ERR_INIT;
  char config[1024];
  int rc = llmd_policy_config("lua", "bench.lua", config, sizeof config);
  char *copy = strdup(text);
  o.policy_ud = copy;
  if (rc > 0)
    rc = llmd_scheduler_create(&o, c->pool, config, (size_t)rc, &s, &err);
  free(copy);
  if (rc)
    cluster_die("scheduler", rc, &err);
  return s;
}

static const char in_c_policy[] =
  "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- type: queue-scorer\n"
  "- type: running-requests-size-scorer\n- type: kv-cache-utilization-scorer\n- type: max-score-picker\n";

/* Median of decisions, each on new metrics. */
static double decisions(cluster *c)
{
  static double took[2000];
  size_t n = c->n < 1000 ? 2000 : 400;
  for (size_t i = 0; i < n; i++) {
    double start;
    for (uint32_t e = 0; e < c->n; e++)
      cluster_metrics(c, e, (uint32_t)i);
    c->now.mono += 1000000;
    llmd_pool_publish(c->pool, &c->now);
    start = bench_now();
    cluster_decide(c);
    took[i] = bench_now() - start;
  }
  return bench_median(took, n) / 1e3;
}

static void whole_decisions(void)
{
  for (uint32_t n = 10; n <= ROWS; n *= 10) {
    char row[LINE];
    cluster c;
    llmd_scheduler *s;
    cluster_open(&c, n, in_c_policy, 0);
    cluster_body(&c, 1200, 1);
    cluster_feed(&c);
    snprintf(row, sizeof row, "decision by three C scorers, %u endpoints", n);
    bench_row(row, decisions(&c), "us");
    s = schedule(&c, by_columns);
    if (llmd_lane_switch(c.lane, s))
      cluster_die("switch", LLMD_E_STATE, NULL);
    snprintf(row, sizeof row, "decision by the scorer in Lua, %u endpoints", n);
    bench_row(row, decisions(&c), "us");
    llmd_scheduler_free(s);
    cluster_close(&c);
  }
}

/* ---- making and swapping ---------------------------------------------------------------------------------------- */

static void compile(void *ud)
{
  bench_rig *r = ud;
  rig_compile(r, by_columns);
  rig_bind(r);
  r->loader->unload(r->policy);
  free(r->self);
}

static void swaps(void)
{
  double prepared[51], taken[51], freed[51];
  llmd_scheduler *s[2];
  cluster c;
  cluster_open(&c, 100, in_c_policy, 0);
  cluster_body(&c, 1200, 1);
  cluster_feed(&c);
  s[0] = schedule(&c, by_columns);
  s[1] = schedule(&c, by_endpoints);
  for (size_t i = 0; i < 51; i++) {
    llmd_spare *spare;
    double t[4];
    t[0] = bench_now();
    if (llmd_lane_prepare(c.lane, s[i & 1], &spare))
      cluster_die("prepare", LLMD_E_STATE, NULL);
    t[1] = bench_now();
    llmd_lane_take(c.lane, spare);
    t[2] = bench_now();
    llmd_spare_free(spare);
    t[3] = bench_now();
    prepared[i] = t[1] - t[0];
    taken[i] = t[2] - t[1];
    freed[i] = t[3] - t[2];
    cluster_decide(&c);
  }
  bench_row("swap: llmd_lane_prepare, off the deciding path", bench_median(prepared, 51) / 1e3, "us");
  bench_row("swap: llmd_lane_take, between two decisions", bench_median(taken, 51) / 1e3, "us");
  bench_row("swap: llmd_spare_free, off the deciding path", bench_median(freed, 51) / 1e3, "us");
  cluster_close(&c);
  llmd_scheduler_free(s[0]);
  llmd_scheduler_free(s[1]);
}

/* The smallest arena in which an empty state can be opened. */
static void state_size(void)
{
  llmd__lua s;
  size_t least = 1024;
  while (llmd__lua_open(&s, &allocator, least))
    least += 256;
  bench_row("empty state: bytes in use", (double)llmd__lua_used(&s), "B");
  llmd__lua_close(&s);
  bench_row("empty state: least memory that it opens in", (double)least, "B");
}

static void making(void)
{
  static bench_rig r;
  r.loader = llmd_loader_module(LLMD_LOADER_ABI);
  bench_row("compile: text to policy, ready for lanes", bench_time(compile, &r, 1) / 1e3, "us");
  swaps();
  state_size();
}

/* ---- running wild ----------------------------------------------------------------------------------------------- */

static const struct {
  const char *what, *script;
} wild[] = {
  {"endless loop", "while true do end"},
  {"string bomb", "local s = 'x' while true do s = s .. s end"},
  {"deep recursion", "local function f(a) return 1 + f(a) end f(1)"},
  {"pcall storm", "while true do pcall(error, 'x') end"},
  {"error in an error's handler", "while true do pcall(function() pcall(error) error({}) end) end"},
  {"allocation storm", "local t = {} while true do t[#t % 500 + 1] = {1, 2, 3} end"},
  {"table bomb", "local t = {} for i = 1, 1e9 do t[i] = {i} end"},
};

/* Time of a call, and how much of it the machine gave to somebody else. */
typedef struct span {
  double wall, cpu;
} span;

static span now(void)
{
  struct timespec t;
  span s;
  (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  s.cpu = (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
  s.wall = bench_now();
  return s;
}

/* Takes the longer one, unless somebody else had the machine meanwhile. */
static void lengthen(double *longest, span from, span to, unsigned *samples)
{
  double wall = to.wall - from.wall;
  if (wall - (to.cpu - from.cpu) > 20e3)
    return;
  ++*samples;
  *longest = wall > *longest ? wall : *longest;
}

/* The longest of some calls that are stopped, and of the calls after them, over 100 endpoints. */
static void run_wild(size_t which, const char *limit, int64_t instructions, int64_t time_ns)
{
  static bench_rig r;
  char text[1024], row[LINE];
  double worst = 0, next = 0;
  unsigned stopped = 0, after = 0;
  snprintf(text, sizeof text,
           "return { reads = {'waiting', 'running', 'kv_usage'}, score = function(req, cols, out)\n"
           "  if req.priority == 1 then %s end for i = 1, cols.n do out[i] = cols.waiting[i] end end }",
           wild[which].script);
  rig_open(&r, text);
  set_limits(&r, instructions, time_ns);
  r.b.n = 100;
  for (int i = 0; i < 400 && (stopped < 40 || after < 40); i++) {
    span t[3];
    r.view.priority = 1;
    t[0] = now();
    if (!rig_score(&r))
      cluster_die(wild[which].what, LLMD_E_STATE, NULL);
    t[1] = now();
    r.view.priority = 0;
    (void)rig_score(&r);
    t[2] = now();
    lengthen(&worst, t[0], t[1], &stopped);
    lengthen(&next, t[1], t[2], &after);
  }
  snprintf(row, sizeof row, "%s; %s", wild[which].what, limit);
  bench_row(row, worst / 1e3, "us");
  bench_row("  the next decision", next / 1e3, "us");
  rig_close(&r);
}

int main(int argc, char **argv)
{
  bench_start(argc, argv);
  verbs();
  whole_decisions();
  making();
  for (size_t i = 0; i < sizeof wild / sizeof *wild; i++)
    run_wild(i, "130,000 instructions, 2 ms", 0, 2000000);
  for (size_t i = 0; i < sizeof wild / sizeof *wild; i++)
    run_wild(i, "2 ms, all instructions it wants", INT64_MAX / 4, 2000000);
  return 0;
}
