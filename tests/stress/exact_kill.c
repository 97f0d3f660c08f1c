/* A writer that may die at any instruction. A child does a script of writes on a small index, one instruction at a time
 * (ptrace). Whenever the memory has changed, the parent takes a copy, as if the writer had died there, and
 *  - asks it as readers would: no crash, no hang, nothing above what held before or after the step in progress;
 *  - takes it over and asks again: every answer lies between before and after;
 *  - goes on writing, and clears all: nothing is left over, no line is lost.
 * What holds before and after each step comes from doing the script once undisturbed, beside the model.
 *
 *   exact_kill [K [SEED]]   every K-th change is looked at (default 1); SEED: a script by chance
 *                           LLMD_LONG=1: ten scripts by chance more */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "script.h"

/* named: the last block of an answer can be found by its name. */
typedef struct answers {
  uint8_t named[SCRIPT_DOCUMENTS][SCRIPT_ROWS];
  model_answer of[SCRIPT_DOCUMENTS][SCRIPT_ROWS];
  uint32_t shared[SCRIPT_DOCUMENTS];
} answers;

static const llmd_index_options options = {.size = sizeof options, .rows = SCRIPT_ROWS, .bytes = 80 << 10, .seed = 5};
static size_t len;
static script day;
static answers *after; /* [day.n + 1]: [i] holds before step i */
static answers *bare;  /* the same when all promises have ended: a takeover forgets them */
static uint64_t empty_used;
static int point_now = 1;
static int random_names; /* any store may give a name a new meaning */
static uint32_t now_step; /* of the writer that is looked at */
static uint64_t looked, instructions, failures, below;
static void *scratch;
static uint32_t generation_at[SCRIPT_ROWS]; /* before step now_step */

static void fail(const char *what, int64_t got, int64_t low, int64_t high)
{
  const step *a = &day.step[now_step < day.n ? now_step : 0];
  if (++failures > 20)
    return;
  printf("# step %u (%s, slot %u, document %u from %u, %u blocks), instruction %llu: %s: %lld, not %lld..%lld\n",
         now_step, step_name(a->kind), a->slot, a->document, a->from, a->n, (unsigned long long)instructions, what,
         (long long)got, (long long)low, (long long)high);
}

static void on_alarm(int number)
{
  static const char text[] = "# stuck or crashed while a copy was looked at\n";
  (void)number;
  fail("a call that does not end, or a crash", 0, 0, 0);
  if (write(1, text, sizeof text - 1) < 0)
    _exit(2);
  printf("not ok %d - ended here\n", point_now);
  fflush(stdout);
  _exit(1);
}

static void *map(size_t bytes)
{
  void *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (mem == MAP_FAILED)
    abort();
  return mem;
}

static llmd_index *opened(void *mem)
{
  llmd_index *ix;
  llmd_err err = LLMD_ERR_INIT;
  if (llmd_index_open(mem, len, NULL, &ix, &err)) {
    fail("open", 0, 0, 0);
    abort();
  }
  return ix;
}

/* ---- what the index answers -------------------------------------------------------------------------------------- */

/* A slot's endpoint is that before the step in progress, or, when it restarts, its next one. */
static int known(llmd_endpoint_id e)
{
  uint32_t slot = (uint32_t)e, generation = (uint32_t)(e >> 32);
  const step *a = &day.step[now_step];
  if (slot >= SCRIPT_ROWS)
    return 0;
  return generation == generation_at[slot] + 1 ||
         (now_step < day.n && a->kind == STEP_RESTART && a->slot == slot && generation == generation_at[slot] + 2);
}

static void ask(const llmd_index *ix, answers *out)
{
  static llmd_hit hit[SCRIPT_ROWS + 1];
  for (uint32_t d = 0; d < SCRIPT_DOCUMENTS; d++) {
    uint32_t shared = 0, listed = 0;
    int n = llmd_index_query(ix, scratch, day.document[d].key, day.document[d].n, hit, SCRIPT_ROWS, &shared);
    if (n < 0 || (uint32_t)n > SCRIPT_ROWS)
      fail("hits", n, 0, SCRIPT_ROWS);
    out->shared[d] = shared;
    for (uint32_t slot = 0; slot < SCRIPT_ROWS; slot++)
      out->of[d][slot] = (model_answer){shared, {0, 0, shared}};
    for (int i = 0; i < n; i++) {
      uint32_t slot = (uint32_t)hit[i].endpoint;
      if (!known(hit[i].endpoint) || listed >> slot & 1) {
        fail("an endpoint that is not, or is listed twice", (int64_t)hit[i].endpoint, 0, 0);
        continue;
      }
      listed |= 1u << slot;
      out->of[d][slot].blocks = hit[i].blocks;
      memcpy(out->of[d][slot].lower, hit[i].lower, sizeof hit[i].lower);
    }
  }
}

static llmd_endpoint_id endpoint_now(uint32_t slot)
{
  return (uint64_t)(generation_at[slot] + 1) << 32 | slot;
}

static int by_name(llmd_index *ix, uint32_t d, uint32_t slot, uint32_t block)
{
  llmd_block at;
  return !llmd_index_find(ix, endpoint_now(slot), day.name[slot][d][block], &at) &&
         at.key.lo == day.document[d].key[block].lo && at.key.hi == day.document[d].key[block].hi && at.depth == block;
}

static void ask_names(llmd_index *ix, answers *out)
{
  for (uint32_t d = 0; d < SCRIPT_DOCUMENTS; d++)
    for (uint32_t slot = 0; slot < SCRIPT_ROWS; slot++)
      out->named[d][slot] = out->of[d][slot].blocks && by_name(ix, d, slot, out->of[d][slot].blocks - 1);
}

/* What had a name before and after the step has it still. */
static void check_names(llmd_index *ix, uint32_t i)
{
  const answers *a = &bare[i], *b = &bare[i < day.n ? i + 1 : i];
  if (i < day.n && day.step[i].kind == STEP_RESTART)
    return;
  for (uint32_t d = 0; d < SCRIPT_DOCUMENTS; d++)
    for (uint32_t slot = 0; slot < SCRIPT_ROWS; slot++)
      if (a->named[d][slot] && b->named[d][slot] && a->of[d][slot].blocks == b->of[d][slot].blocks &&
          !by_name(ix, d, slot, a->of[d][slot].blocks - 1))
        fail("a name that is lost, of document", d, d, d);
}

typedef struct range {
  uint32_t low, high;
} range;

static range spread(uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
  range r = {a, a};
  const uint32_t more[3] = {b, c, d};
  for (int i = 0; i < 3; i++) {
    r.low = more[i] < r.low ? more[i] : r.low;
    r.high = more[i] > r.high ? more[i] : r.high;
  }
  return r;
}

static void check_range(uint32_t got, range r, const char *what, uint32_t d, uint32_t slot, int reader)
{
  char text[96];
  if (now_step < day.n && day.step[now_step].kind == STEP_RESTART && day.step[now_step].slot == slot)
    r.low = 0; /* empty in between */
  below += reader && got < r.low;
  if (got <= r.high && (got >= r.low || reader))
    return;
  snprintf(text, sizeof text, "%sdocument %u, slot %u, %s", reader ? "reader: " : "", d, slot, what);
  fail(text, got, r.low, r.high);
}

/* Between what held before step i and after it. A reader may see less while a writer works. */
static void hold_against(const answers *got, uint32_t i, int reader)
{
  static const char *const tier[3] = {"in CPU tier", "on disk", "remote"};
  uint32_t k = i < day.n ? i + 1 : i;
  /* what goes, by name or by a name's new meaning, leaves one tier after the other */
  int tiers = !reader && i < day.n && day.step[i].tier != LLMD_TIER_ANY && day.step[i].kind != STEP_RENAME &&
              !random_names;
  const answers *a = &after[i], *b = &after[k], *c = &bare[i], *e = &bare[k];
  for (uint32_t d = 0; d < SCRIPT_DOCUMENTS; d++) {
    check_range(got->shared[d], spread(a->shared[d], b->shared[d], c->shared[d], e->shared[d]), "shared", d, 0, reader);
    for (uint32_t slot = 0; slot < SCRIPT_ROWS; slot++) {
      const model_answer *w = &a->of[d][slot], *x = &b->of[d][slot], *y = &c->of[d][slot], *z = &e->of[d][slot];
      const model_answer *g = &got->of[d][slot];
      check_range(g->blocks, spread(w->blocks, x->blocks, y->blocks, z->blocks), "blocks", d, slot, reader);
      for (int t = 0; t < 3 && tiers; t++)
        check_range(g->lower[t], spread(w->lower[t], x->lower[t], y->lower[t], z->lower[t]), tier[t], d, slot, 0);
    }
  }
}

/* ---- undisturbed ------------------------------------------------------------------------------------------------- */

static void hold_against_model(const model *m, const answers *got, int capped)
{
  for (uint32_t d = 0; d < SCRIPT_DOCUMENTS; d++) {
    model_answer want[SCRIPT_ROWS];
    uint32_t shared = model_query(m, day.document[d].key, day.document[d].n, want);
    if (capped ? got->shared[d] > shared : got->shared[d] != shared)
      fail("shared blocks, beside the model", got->shared[d], shared, shared);
    for (uint32_t slot = 0; slot < SCRIPT_ROWS; slot++) {
      const model_answer *g = &got->of[d][slot];
      char what[80];
      snprintf(what, sizeof what, "document %u slot %u, beside the model", d, slot);
      if (g->blocks > want[slot].blocks || (!capped && memcmp(g, &want[slot], sizeof *g)))
        fail(what, g->blocks, want[slot].blocks, want[slot].blocks);
    }
  }
}

/* Asking marks what was hit, so the copy is asked. */
static void rehearse(void *mem, void *copy, int loose)
{
  uint32_t generation[SCRIPT_ROWS] = {0};
  llmd_index *ix = opened(mem);
  llmd_index_stats s = {.size = sizeof s};
  model *m = model_make(SCRIPT_ROWS);
  llmd_index_stats_get(ix, &s);
  empty_used = s.used;
  for (now_step = 0; now_step <= day.n; now_step++) {
    llmd_index *other;
    if (now_step) {
      script_play(&day, &day.step[now_step - 1], generation, ix, m);
      memcpy(generation_at, generation, sizeof generation);
    }
    memcpy(copy, mem, len);
    other = opened(copy);
    ask(other, &after[now_step]);
    llmd_index_tick(other, UINT64_MAX, 1);
    ask(other, &bare[now_step]);
    ask_names(other, &bare[now_step]);
    llmd_index_close(other);
    llmd_index_stats_get(ix, &s);
    hold_against_model(m, &after[now_step], loose || s.evicted || s.dropped);
  }
  printf("# %u steps; at the end %llu of %llu bytes used, %llu held, %llu evicted, %llu sets\n", day.n,
         (unsigned long long)s.used, (unsigned long long)s.bytes, (unsigned long long)s.held,
         (unsigned long long)s.evicted, (unsigned long long)s.sets);
  if (!loose && !s.evicted)
    fail("nothing was evicted", 0, 1, 1);
  now_step = 0;
  memset(generation_at, 0, sizeof generation_at);
  llmd_index_close(ix);
  model_free(m);
}

/* ---- after a death ----------------------------------------------------------------------------------------------- */

static void goes_on(llmd_index *ix)
{
  static const uint64_t name[3] = {1001, 1002, 1003};
  static const llmd_key key[3] = {{77, 1}, {77, 2}, {77, 3}};
  llmd_endpoint_id e = (uint64_t)0x1000 << 32 | 1;
  llmd_hit hit[SCRIPT_ROWS];
  llmd_block parent;
  if (llmd_index_store(ix, e, LLMD_TIER_GPU, NULL, key, name, 2, NULL) != 2 ||
      llmd_index_find(ix, e, 1002, &parent) ||
      llmd_index_store(ix, e, LLMD_TIER_GPU, &parent, key + 2, name + 2, 1, NULL) != 1)
    fail("further stores", 0, 1, 1);
  else if (llmd_index_query(ix, scratch, key, 3, hit, SCRIPT_ROWS, NULL) != 1 || hit[0].blocks != 3)
    fail("what was stored after", 0, 3, 3);
  if (llmd_index_drop(ix, e, LLMD_TIER_ANY, name + 1, 2) != 2 ||
      llmd_index_query(ix, scratch, key, 3, hit, SCRIPT_ROWS, NULL) != 1 || hit[0].blocks != 1)
    fail("further removals", 0, 1, 1);
}

static void leaves_nothing(llmd_index *ix)
{
  llmd_index_stats s = {.size = sizeof s};
  int turns = 0;
  for (uint32_t slot = 0; slot < SCRIPT_ROWS; slot++)
    llmd_index_clear(ix, (uint64_t)0x2000 << 32 | slot);
  llmd_index_clear(ix, LLMD_INDEX_SHARED);
  while (llmd_index_tick(ix, 1u << 30, 1u << 20) == 1 && ++turns < 1000)
    ;
  llmd_index_stats_get(ix, &s);
  if (s.used != empty_used)
    fail("bytes used when all is cleared", (int64_t)s.used, (int64_t)empty_used, (int64_t)empty_used);
  if (s.blocks || s.runs || s.held || s.names || s.sets || s.dead)
    fail("blocks + runs + held + names + sets + dead when all is cleared",
         (int64_t)(s.blocks + s.runs + s.held + s.names + s.sets + s.dead), 0, 0);
}

/* The writer of `copy` died in step now_step, or before it. Returns 1 when it died at work. */
static int look(void *copy)
{
  static answers got;
  llmd_index *ix = opened(copy);
  int rc;
  alarm(20);
  ask(ix, &got);
  hold_against(&got, now_step, 1);
  rc = llmd_index_takeover(ix);
  if (rc != 0 && rc != 1)
    fail("takeover", rc, 0, 1);
  ask(ix, &got);
  hold_against(&got, now_step, 0);
  check_names(ix, now_step);
  goes_on(ix);
  leaves_nothing(ix);
  alarm(0);
  llmd_index_close(ix);
  looked++;
  return rc;
}

/* ---- instruction by instruction ---------------------------------------------------------------------------------- */

/* The writer: stops itself where it is to be looked at. */
static void live(void *mem, volatile uint32_t *at)
{
  uint32_t generation[SCRIPT_ROWS] = {0};
  llmd_index *ix = opened(mem);
  if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
    _exit(3);
  raise(SIGSTOP);
  for (uint32_t i = 0; i < day.n; i++) {
    *at = i;
    if (!day.step[i].fast && (i == 0 || day.step[i - 1].fast))
      raise(SIGSTOP);
    script_play(&day, &day.step[i], generation, ix, NULL);
  }
  *at = day.n;
  _exit(0);
}

static void move_on(uint32_t to)
{
  while (now_step < to) {
    if (day.step[now_step].kind == STEP_RESTART)
      generation_at[day.step[now_step].slot]++;
    now_step++;
  }
}

/* The writer that dies at this change of the memory is succeeded instruction by instruction, too. */
#define CORPSE 1500u
static struct {
  void *mem;
  size_t len;
  uint32_t step, generation[SCRIPT_ROWS];
} corpse;

/* The next writer, on what a dead one left. */
static void succeed(void *mem)
{
  llmd_index *ix = opened(mem);
  if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
    _exit(3);
  raise(SIGSTOP);
  llmd_index_takeover(ix);
  _exit(0);
}

/* It dies, too, at any instruction. */
static void step_takeover(void *mem, void *last, void *copy)
{
  int status;
  pid_t child = fork();
  if (child < 0)
    abort();
  if (child == 0)
    succeed(mem);
  memcpy(last, mem, len);
  while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
    if (WSTOPSIG(status) != SIGTRAP && WSTOPSIG(status) != SIGSTOP) {
      fail("whoever took over got signal", WSTOPSIG(status), 0, 0);
      kill(child, SIGKILL);
    }
    instructions++;
    if (memcmp(last, mem, len)) {
      memcpy(last, mem, len);
      memcpy(copy, mem, len);
      look(copy);
    }
    ptrace(PTRACE_SINGLESTEP, child, NULL, NULL);
  }
  if (!WIFEXITED(status))
    fail("whoever took over ended with", status, 0, 0);
}

/* Returns 0, or why it cannot be done here. */
static const char *step_through(void *mem, void *last, void *copy, volatile uint32_t *at, uint32_t every)
{
  int status, walking = 0;
  uint64_t changes = 0;
  pid_t child = fork();
  if (child < 0)
    return "fork";
  if (child == 0)
    live(mem, at);
  memcpy(last, mem, len);
  now_step = 0;
  memset(generation_at, 0, sizeof generation_at);
  while (waitpid(child, &status, 0) == child) {
    if (WIFEXITED(status))
      return WEXITSTATUS(status) == 3 ? "ptrace" : NULL;
    if (WIFSIGNALED(status)) {
      fail("the writer was killed by signal", WTERMSIG(status), 0, 0);
      return NULL;
    }
    if (WSTOPSIG(status) != SIGTRAP && WSTOPSIG(status) != SIGSTOP) {
      fail("the writer got signal", WSTOPSIG(status), 0, 0);
      kill(child, SIGKILL);
      continue;
    }
    instructions += (uint64_t)walking;
    walking = *at < day.n && !day.step[*at].fast && (walking || WSTOPSIG(status) == SIGSTOP);
    if (*at != now_step || memcmp(last, mem, len)) {
      int at_work = 0;
      move_on(*at);
      memcpy(last, mem, len);
      if (walking && changes++ % every == 0) {
        memcpy(copy, mem, len);
        at_work = look(copy);
      }
      if (looked >= CORPSE && at_work == 1 && !corpse.len) {
        corpse.len = len;
        corpse.step = now_step;
        memcpy(corpse.generation, generation_at, sizeof generation_at);
        memcpy(corpse.mem, last, len);
      }
    }
    if (ptrace(walking ? PTRACE_SINGLESTEP : PTRACE_CONT, child, NULL, NULL)) {
      kill(child, SIGKILL);
      waitpid(child, &status, 0);
      return "ptrace";
    }
  }
  return NULL;
}

/* Returns 1 when the point failed. */
static int succession(int point, void *const mem[3])
{
  static const char what[] = "whoever takes over dies at any instruction, too";
  failures = instructions = looked = 0;
  point_now = point;
  if (!corpse.len) {
    printf("ok %d - %s # SKIP skipped: needs a death to begin with\n", point, what);
    return 0;
  }
  now_step = corpse.step;
  memcpy(generation_at, corpse.generation, sizeof generation_at);
  memcpy(mem[0], corpse.mem, len);
  step_takeover(mem[0], mem[1], mem[2]);
  printf("# %llu instructions, %llu deaths\n%sok %d - %s\n", (unsigned long long)instructions,
         (unsigned long long)looked, failures || !looked ? "not " : "", point, what);
  return failures || !looked;
}

/* One script. Returns the number of points that failed. */
static int one_day(int first, uint64_t chance, uint32_t every, void *const mem[3], volatile uint32_t *at)
{
  const char *without;
  int bad;
  if (chance)
    script_random(&day, chance, 150, 60);
  else
    script_make(&day);
  after = calloc(day.n + 1, sizeof *after);
  bare = calloc(day.n + 1, sizeof *bare);
  if (!after || !bare || llmd_index_format(mem[0], len, &options))
    abort();
  failures = instructions = looked = 0;
  point_now = first;
  corpse.len = 0;
  random_names = chance != 0;
  rehearse(mem[0], mem[2], chance != 0);
  printf("%sok %d - undisturbed, it answers as the model does\n", failures ? "not " : "", first);
  bad = failures != 0;
  failures = 0;
  point_now = first + 1;
  if (llmd_index_format(mem[0], len, &options))
    abort();
  without = step_through(mem[0], mem[1], mem[2], at, every ? every : 1);
  if (without)
    printf("ok %d - a writer that dies at any instruction # SKIP skipped: needs %s\n", first + 1, without);
  else
    printf("# %llu instructions, %llu deaths, %llu answers of readers below before and after\n%sok %d - a writer that "
           "dies at any instruction\n", (unsigned long long)instructions, (unsigned long long)looked,
           (unsigned long long)below, failures || !looked ? "not " : "", first + 1);
  bad += !without && (failures != 0 || !looked);
  bad += succession(first + 2, mem);
  script_free(&day);
  free(after);
  free(bare);
  return bad;
}

int main(int argc, char **argv)
{
  uint32_t every = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1;
  uint64_t chance = argc > 2 ? strtoul(argv[2], NULL, 10) : 0, more = getenv("LLMD_LONG") ? 10 : 0;
  void *mem[3];
  volatile uint32_t *at = map(64);
  llmd_index *ix;
  int bad = 0;
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  printf("1..0 # SKIP skipped: needs a build without sanitizers\n");
  return 0;
#endif
  setvbuf(stdout, NULL, _IOLBF, 0);
  signal(SIGALRM, on_alarm);
  signal(SIGSEGV, on_alarm);
  signal(SIGBUS, on_alarm);
  len = llmd_index_size(&options);
  for (int i = 0; i < 3; i++)
    mem[i] = map(len);
  corpse.mem = map(len);
  if (llmd_index_format(mem[0], len, &options))
    return 1;
  ix = opened(mem[0]);
  scratch = calloc(1, llmd_index_scratch(ix));
  llmd_index_close(ix);
  if (!scratch)
    return 1;
  printf("1..%d\n", 3 + 3 * (int)more);
  for (uint64_t i = 0; i <= more; i++)
    bad += one_day(1 + 3 * (int)i, chance + i, every, mem, at);
  return bad != 0;
}
