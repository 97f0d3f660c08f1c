/* Runs a policy's examples: each in a state of its own, through the descriptor's verbs, as the core would.
 *
 *   text ─► reader's state ─► example ─► sample (C) ─► self with its parameters ─► own ─► verbs ─► compared
 *
 * One line for each: "ok 1 NAME", "not ok 2 NAME: scores[1] is 0.5, expected 0.25". */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sample.h"

#define READER_MEMORY ((size_t)2 << 20)
#define TOLERANCE 1e-9

typedef struct runner {
  const llmd__lua_self *self;
  const llmd__lua_policy *p;
  llmd_write_fn fn;
  void *ud;
  llmd_err *err;
  uint32_t failed;
} runner;

/* ---- the host of an example ------------------------------------------------------------------------------------- */

static int host_text(void *ctx, uint32_t id, llmd_str *out)
{
  const llmd__lua_sample *s = ctx;
  out->ptr = id && id <= s->n_texts ? s->text[id - 1].ptr : "";
  out->len = id && id <= s->n_texts ? s->text[id - 1].len : 0;
  return 0;
}

static int host_get(void *ctx, const char *name, size_t len, uint64_t *value)
{
  const llmd__lua_sample *s = ctx;
  if (!s->p->plugin.table_entries)
    return LLMD_E_NONE;
  for (uint32_t i = 0; i < s->n_stored; i++)
    if (s->stored[i].name.len == len && !memcmp(s->stored[i].name.ptr, name, len)) {
      *value = s->stored[i].value;
      return 1;
    }
  return 0;
}

static int host_put(void *ctx, const char *name, size_t len, uint64_t value, uint64_t ttl_ns)
{
  (void)ctx;
  (void)name;
  (void)len;
  (void)value;
  (void)ttl_ns;
  return LLMD_E_STATE;
}

static int host_del(void *ctx, const char *name, size_t len)
{
  return host_put(ctx, name, len, 0, 0);
}

/* ---- comparing -------------------------------------------------------------------------------------------------- */

static int differs(llmd__lua_sample *s, const char *fmt, ...) LLMD__LUA_PRINTF(2, 3);
static int differs(llmd__lua_sample *s, const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(s->why, sizeof s->why, fmt, ap);
  va_end(ap);
  return LLMD_E_PLUGIN;
}

static int failed(llmd__lua_sample *s, uint32_t verb, llmd__lua_own *o, int rc)
{
  char text[LLMD__LUA_TROUBLE + 1];
  int n = s->p->plugin.trouble ? s->p->plugin.trouble(s->self, o, text, sizeof text - 1) : 0;
  text[n > 0 ? n : 0] = 0;
  if (n <= 0)
    snprintf(text, sizeof text, "code %d", rc);
  return differs(s, "%s failed: %s", llmd__lua_verb_names[verb], text);
}

/* NaN is equal to NaN: no opinion. */
static int same(double is, double expected)
{
  double d = is - expected;
  if (is != is || expected != expected)
    return is != is && expected != expected;
  return is == expected || (d <= TOLERANCE && d >= -TOLERANCE);
}

static int compare(llmd__lua_sample *s, const char *what, const double *is, const double *expected)
{
  char a[LLMD__LUA_NUMBER_ROOM], b[LLMD__LUA_NUMBER_ROOM];
  for (uint32_t i = 0; i < s->n; i++) {
    if (same(is[i], expected[i]))
      continue;
    llmd__lua_real_text(is[i], a);
    llmd__lua_real_text(expected[i], b);
    return differs(s, "%s[%u] is %s, expected %s", what, (unsigned)i + 1, a, b);
  }
  return 0;
}

/* ---- the verbs -------------------------------------------------------------------------------------------------- */

static int run_score(llmd__lua_sample *s, const llmd_batch *b)
{
  double out[LLMD__LUA_SAMPLE_ROWS];
  int rc;
  for (uint32_t i = 0; i < LLMD__LUA_SAMPLE_ROWS; i++)
    out[i] = (double)NAN;
  rc = s->p->plugin.score(s->self, b, out);
  return rc < 0 ? failed(s, LLMD__LUA_SCORE, b->own, rc) : compare(s, "scores", out, s->scores);
}

static int run_filter(llmd__lua_sample *s, const llmd_batch *b)
{
  uint8_t keep[LLMD__LUA_SAMPLE_ROWS];
  uint32_t order[LLMD__LUA_SAMPLE_ROWS];
  int rc;
  memset(keep, 1, sizeof keep);
  rc = s->p->plugin.filter(s->self, b, keep, order);
  if (rc < 0)
    return failed(s, LLMD__LUA_FILTER, b->own, rc);
  for (uint32_t i = 0; i < s->n; i++)
    if (!keep[i] != !s->keep[i])
      return differs(s, "keep[%u] is %s, expected %s", (unsigned)i + 1, keep[i] ? "true" : "false",
                     s->keep[i] ? "true" : "false");
  return 0;
}

static int run_pick(llmd__lua_sample *s, const llmd_batch *b)
{
  uint32_t out[LLMD__LUA_SAMPLE_ROWS];
  int n = s->p->plugin.pick(s->self, b, s->total, out, s->n);
  if (n < 0)
    return failed(s, LLMD__LUA_PICK, b->own, n);
  for (int i = 0; i < s->n_picks; i++)
    if (i >= n || out[i] != s->picks[i])
      return differs(s, "pick %d is %u, expected %u", i + 1, i < n ? (unsigned)out[i] + 1 : 0,
                     (unsigned)s->picks[i] + 1);
  if (!s->first_only && n != s->n_picks)
    return differs(s, "there are %d picks, expected %d", n, s->n_picks);
  return 0;
}

static int run_decide(llmd__lua_sample *s, const llmd_batch *b)
{
  int rc = s->p->plugin.decide(s->self, b);
  if (rc < 0)
    return failed(s, LLMD__LUA_DECIDE, b->own, rc);
  return !rc == !s->decide ? 0 : differs(s, "decide is %s, expected %s", rc ? "true" : "false", rc ? "false" : "true");
}

static int run_produce(llmd__lua_sample *s, const llmd_batch *b)
{
  double *out[LLMD__LUA_WRITES] = {NULL};
  llmd_services none = {.size = sizeof none};
  int rc = 0;
  for (uint32_t w = 0; w < s->p->n_writes; w++) {
    out[w] = llmd__lua_block(s->p->alloc, &s->blocks, (s->n + 1) * sizeof **out);
    if (!out[w])
      return LLMD_E_NOMEM;
    for (uint32_t i = 0; i < s->n; i++)
      out[w][i] = (double)NAN;
  }
  rc = s->p->plugin.produce(s->self, &none, b, out);
  if (rc < 0)
    return failed(s, LLMD__LUA_PRODUCE, b->own, rc);
  for (uint32_t w = 0; w < s->p->n_writes && !rc; w++)
    rc = s->writes[w] ? compare(s, s->p->plugin.writes[w].name, out[w], s->writes[w]) : 0;
  return rc;
}

static uint64_t expected_mask(llmd__lua_sample *s, int *rc)
{
  uint64_t mask = 0;
  for (int i = 0; i < s->n_profiles; i++) {
    uint32_t k = 0;
    while (k < s->n_runs && (s->profile[k].len != s->profiles[i].len ||
                             memcmp(s->profile[k].ptr, s->profiles[i].ptr, s->profile[k].len)))
      k++;
    if (k == s->n_runs)
      *rc = differs(s, "profiles has \"%s\", which is not in runs", s->profiles[i].ptr);
    mask |= (uint64_t)1 << k;
  }
  return mask;
}

static int run_profiles(llmd__lua_sample *s, const llmd_stages *stages)
{
  llmd_next next = {.size = sizeof next, .ask = LLMD_NO_INDEX, .ask_at = LLMD_NO_INDEX, .peer = LLMD_NO_INDEX};
  int wrong = 0, rc = s->p->plugin.next(s->self, stages, &next);
  uint64_t expected = expected_mask(s, &wrong);
  if (rc < 0)
    return failed(s, LLMD__LUA_PROFILES, stages->own, rc);
  if (wrong)
    return wrong;
  for (uint32_t i = 0; i < s->n_runs; i++)
    if ((next.run ^ expected) >> i & 1)
      return differs(s, "profiles %s \"%s\"", next.run >> i & 1 ? "names" : "does not name", s->profile[i].ptr);
  return 0;
}

static int run_primary(llmd__lua_sample *s, const llmd_stages *stages)
{
  llmd_outcome out = {.size = sizeof out, .primary = LLMD_NO_INDEX};
  int rc = s->p->plugin.finish(s->self, stages, &out);
  const char *is = rc || out.primary >= s->n_runs ? "none" : s->profile[out.primary].ptr;
  if (rc < 0 && rc != LLMD_E_NONE)
    return failed(s, LLMD__LUA_PRIMARY, stages->own, rc);
  return strcmp(is, s->primary.ptr) ? differs(s, "primary is \"%s\", expected \"%s\"", is, s->primary.ptr) : 0;
}

static int run_stages(llmd__lua_sample *s, llmd__lua_own *o)
{
  llmd_stages st = {.size = sizeof st, .n = s->n_runs, .name = s->profile, .run = s->run, .value = s->value,
                    .request = &s->view, .turn = s->turn, .own = o, .seed = s->seed, .now = s->now, .wall = s->wall};
  int rc = s->n_profiles >= 0 ? run_profiles(s, &st) : 0;
  return !rc && s->primary.ptr ? run_primary(s, &st) : rc;
}

/* A verb that the example speaks of, and the policy does not have. */
static const char *missing_verb(const llmd__lua_sample *s)
{
  const llmd_plugin *d = &s->p->plugin;
  if (s->scores && !s->p->verb[LLMD__LUA_SCORE].present)
    return "score";
  if (s->keep && !s->p->verb[LLMD__LUA_FILTER].present)
    return "filter";
  if (s->n_picks >= 0 && !s->p->verb[LLMD__LUA_PICK].present)
    return "pick";
  if (s->decide >= 0 && !s->p->verb[LLMD__LUA_DECIDE].present)
    return "decide";
  if (s->writes && !s->p->verb[LLMD__LUA_PRODUCE].present)
    return "produce";
  return (s->n_profiles >= 0 || s->primary.ptr) && !(d->kind & LLMD_PROFILE_HANDLER) ? "profiles or primary" : NULL;
}

static int run_batch(llmd__lua_sample *s, llmd__lua_own *o)
{
  llmd_batch b = {.size = sizeof b, .n = s->n, .f64 = (const double *const *)s->f64,
                  .id = (const uint32_t *const *)s->id, .value = s->value, .endpoint = s->endpoint, .request = &s->view,
                  .seed = s->seed, .now = s->now, .own = o, .wall = s->wall};
  const llmd_plugin *d = &s->p->plugin;
  int rc = 0;
  b.scratch = llmd__lua_block(s->p->alloc, &s->blocks, d->scratch_fixed + (size_t)s->n * d->scratch_each + 1);
  if (!b.scratch)
    return LLMD_E_NOMEM;
  if (s->writes)
    rc = run_produce(s, &b);
  if (!rc && s->keep)
    rc = run_filter(s, &b);
  if (!rc && s->scores)
    rc = run_score(s, &b);
  if (!rc && s->n_picks >= 0)
    rc = run_pick(s, &b);
  return !rc && s->decide >= 0 ? run_decide(s, &b) : rc;
}

/* ---- one example ------------------------------------------------------------------------------------------------ */

static int run_sample(llmd__lua_sample *s, llmd_err *err)
{
  llmd_host host = {.size = sizeof host, .rows = s->n ? s->n : 1, .alloc = s->p->alloc, .ctx = s, .text = host_text,
                    .get = host_get, .put = host_put, .del = host_del};
  const char *missing = missing_verb(s);
  llmd__lua_own *o = NULL;
  int rc;
  if (missing)
    return differs(s, "it speaks of %s, which the policy does not have", missing);
  rc = llmd__lua_own_try(s->self, &host, &o, err);
  if (rc)
    return rc;
  rc = run_batch(s, o);
  if (!rc)
    rc = run_stages(s, o);
  llmd__lua_own_close(o);
  return rc;
}

static int write_line(const runner *r, uint32_t number, const llmd__lua_sample *s, int ok)
{
  char line[600];
  int n = snprintf(line, sizeof line, "%sok %u %.200s%s%s", ok ? "" : "not ", (unsigned)number, s->name, ok ? "" : ": ",
                   ok ? "" : s->why);
  for (int i = 0; i < n; i++)
    if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
      line[i] = '?';
  line[n++] = '\n';
  return r->fn(r->ud, line, (size_t)n) ? LLMD_E_STOPPED : 0;
}

/* 0 also when it came out differently: r->failed counts. */
static int run_one(runner *r, llmd__lua *reader, uint32_t number)
{
  llmd__lua_sample s;
  int stopped, rc = llmd__lua_sample_read(reader, r->self, number, &s);
  if (!rc)
    rc = run_sample(&s, r->err);
  if (rc && rc != LLMD_E_PLUGIN) {
    llmd__lua_sample_free(&s);
    return llmd__lua_say(r->err, rc, s.line, r->p->chunk, "example %u could not be run", (unsigned)number);
  }
  stopped = write_line(r, number, &s, !rc);
  if (rc && !r->failed++)
    llmd__lua_say(r->err, LLMD_E_PLUGIN, s.line, r->p->chunk, "example %u, %.100s: %s", (unsigned)number, s.name,
                  s.why);
  llmd__lua_sample_free(&s);
  return stopped;
}

static int run_all(runner *r, llmd__lua *reader)
{
  static const llmd__lua_limits limits = {LLMD__LUA_LOAD_INSTRUCTIONS, 0};
  int rc = llmd__lua_load(reader, r->p->text, r->p->len, r->p->chunk, &limits, r->err);
  for (uint32_t i = 1; !rc && i <= r->p->n_examples; i++)
    rc = run_one(r, reader, i);
  if (rc)
    return rc;
  return r->failed ? LLMD_E_PLUGIN : (int)r->p->n_examples;
}

int llmd__lua_examples(const void *self, llmd_write_fn fn, void *ud, llmd_err *err)
{
  const llmd__lua_self *s = self;
  runner r = {s, s->policy, fn, ud, err, 0};
  llmd__lua reader;
  int rc;
  if (!r.p->n_examples)
    return 0;
  rc = llmd__lua_open(&reader, r.p->alloc, READER_MEMORY);
  if (rc)
    return llmd__lua_say(err, rc, 0, r.p->chunk, "out of memory");
  rc = run_all(&r, &reader);
  llmd__lua_close(&reader);
  return rc;
}
