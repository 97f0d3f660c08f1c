/* Scripts that mean harm, or are merely wrong (hostile/scripts.txt): each ends as it must, and the next decision of the
 * same state is right. Then memory caps from 4 KiB up, and every allocation refused once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "hostile.h"

typedef struct script {
  int run; /* 1 run, 0 load */
  char name[64], outcomes[64];
  char *text;
  size_t len;
} script;

static script *scripts;
static size_t n_scripts;
static uint64_t ticks;

/* ---- reading the list ------------------------------------------------------------------------------------------- */

typedef struct text {
  char *ptr;
  size_t len, cap;
} text;

static void add(text *t, const char *ptr, size_t len)
{
  if (t->len + len + 1 > t->cap) {
    t->cap = (t->len + len + 1) * 2;
    t->ptr = realloc(t->ptr, t->cap);
    assert_non_null(t->ptr);
  }
  memcpy(t->ptr + t->len, ptr, len);
  t->len += len;
  t->ptr[t->len] = 0;
}

/* %%N|TEXT%% at p: adds it N times. Returns what follows, or NULL when there is no such thing at p. */
static const char *add_repeated(text *t, const char *p)
{
  char *end;
  unsigned long n;
  const char *what, *stop;
  size_t len;
  if (p[0] != '%' || p[1] != '%')
    return NULL;
  n = strtoul(p + 2, &end, 10);
  stop = *end == '|' ? strstr(end, "%%") : NULL;
  if (!stop)
    return NULL;
  what = end + 1;
  len = (size_t)(stop - what);
  if (len == 3 && (!memcmp(what, "ESC", 3) || !memcmp(what, "NUL", 3))) {
    what = what[0] == 'E' ? "\x1b" : "\0";
    len = 1;
  }
  while (n--)
    add(t, what, len);
  return stop + 2;
}

static void expand(text *t, const char *p, const char *end)
{
  while (p < end) {
    const char *next = add_repeated(t, p);
    if (!next) {
      add(t, p, 1);
      next = p + 1;
    }
    p = next;
  }
}

/* The body of a run script is called when the request's priority is 1. */
static void take_script(const char *head, const char *body, const char *end)
{
  static const char before[] = "return { reads = {\"waiting\"}, score = function(req, cols, out, p)\n"
                               "if req.priority == 1 then\n";
  static const char after[] = "\nelse for i = 1, cols.n do out[i] = cols.waiting[i] / 10 end end end }\n";
  text t = {NULL, 0, 0};
  script *s;
  char kind[8];
  scripts = realloc(scripts, (n_scripts + 1) * sizeof *scripts);
  assert_non_null(scripts);
  s = &scripts[n_scripts++];
  assert_int_equal(sscanf(head, "@@ %7s %63s %63s", kind, s->name, s->outcomes), 3);
  s->run = !strcmp(kind, "run");
  if (s->run)
    add(&t, before, sizeof before - 1);
  expand(&t, body, end);
  if (s->run)
    add(&t, after, sizeof after - 1);
  s->text = t.ptr;
  s->len = t.len;
}

static int read_scripts(void **state)
{
  FILE *f = fopen(HOSTILE_SCRIPTS, "rb");
  text all = {NULL, 0, 0};
  char buf[4096];
  size_t n;
  const char *p;
  (void)state;
  assert_non_null(f);
  while ((n = fread(buf, 1, sizeof buf, f)) > 0)
    add(&all, buf, n);
  fclose(f);
  p = strstr(all.ptr, "\n@@ ");
  while (p) {
    const char *head = p + 1, *body = strchr(head, '\n') + 1;
    p = strstr(body - 1, "\n@@ ");
    take_script(head, body, p ? p : all.ptr + all.len);
  }
  free(all.ptr);
  assert_true(n_scripts >= 200);
  return 0;
}

static int drop_scripts(void **state)
{
  (void)state;
  for (size_t i = 0; i < n_scripts; i++)
    free(scripts[i].text);
  free(scripts);
  return 0;
}

/* ---- outcomes --------------------------------------------------------------------------------------------------- */

static const char *code_name(int rc)
{
#define CODE(name, value, text) case value: return #name;
  switch (rc) {
    LLMD_ERROR_MAP(CODE)
  default:
    return rc ? "?" : "OK";
  }
#undef CODE
}

static int allowed(const script *s, int rc)
{
  const char *name = code_name(rc);
  const char *p = s->outcomes;
  size_t n = strlen(name);
  if (!strcmp(p, "*"))
    return rc < 0;
  while (p) {
    if (!strncmp(p, name, n) && (p[n] == '|' || !p[n]))
      return 1;
    p = strchr(p, '|');
    p = p ? p + 1 : NULL;
  }
  return 0;
}

static void check_outcome(const script *s, int rc, const char *trouble)
{
  if (!allowed(s, rc))
    fail_msg("%s: %s (%s), must be %s", s->name, code_name(rc), trouble, s->outcomes);
}

/* The state is well: a decision on it is right to the bit. */
static void check_next(const script *s, victim *v)
{
  double out[VICTIM_ROWS];
  int rc = victim_score(v, 0, out);
  if (rc)
    fail_msg("%s: the next decision failed: %s", s->name, ((llmd__lua_own *)v->own)->lua.trouble);
  for (uint32_t i = 0; i < VICTIM_ROWS; i++)
    if (out[i] != v->cells[i] / 10)
      fail_msg("%s: the next decision's score of %u is %g", s->name, i + 1, out[i]);
}

static void run_evil(const script *s, victim *v)
{
  double out[VICTIM_ROWS];
  uint64_t calls = v->tally.calls;
  char line[256];
  int rc = victim_score(v, 1, out), n;
  n = v->plugin->trouble(v->self, v->own, line, sizeof line - 1);
  line[rc && n > 0 ? n : 0] = 0;
  check_outcome(s, rc, line);
  for (const char *p = line; *p; p++)
    if ((unsigned char)*p < 0x20)
      fail_msg("%s: a control character in its error", s->name);
  check_next(s, v);
  check_next(s, v);
  assert_int_equal(v->tally.calls, calls); /* deciding allocates nothing */
}

static void each_ends_as_it_must(void **state)
{
  (void)state;
  for (size_t i = 0; i < n_scripts; i++) {
    victim v = {0};
    int rc = victim_load(&v, scripts[i].text, scripts[i].len, 0);
    if (!scripts[i].run) {
      check_outcome(&scripts[i], rc, v.err.text);
      assert_true(v.err.text[0] != 0);
    } else {
      if (rc)
        fail_msg("%s does not load: %u: %s", scripts[i].name, v.err.line, v.err.text);
      assert_int_equal(victim_open(&v), 0);
      check_next(&scripts[i], &v);
      run_evil(&scripts[i], &v);
    }
    victim_free(&v);
    assert_int_equal(v.tally.blocks, 0);
    assert_int_equal(v.tally.bytes, 0);
  }
}

/* ---- with a clock and no end of instructions: time stops them ---------------------------------------------------- */

/* A clock that passes 10 us whenever it is looked at: the same on every machine. */
static uint64_t clock_of_looks(void *ctx)
{
  (void)ctx;
  return ticks += 10000;
}

static void time_stops_them(void **state)
{
  static const char *const names[] = {"while-true", "loop-in-pcall", "loop-of-pcalls", "tail-calls-forever",
                                      "sort-again-and-again", "hash-forever", "pairs-again-and-again"};
  (void)state;
  for (size_t i = 0; i < n_scripts; i++) {
    victim v = {0};
    double out[VICTIM_ROWS];
    size_t k = 0;
    while (k < sizeof names / sizeof *names && strcmp(names[k], scripts[i].name))
      k++;
    if (k == sizeof names / sizeof *names)
      continue;
    v.host.clock = clock_of_looks;
    assert_int_equal(victim_load(&v, scripts[i].text, scripts[i].len, 0), 0);
    v.self->instructions = INT64_MAX / 4;
    assert_int_equal(victim_open(&v), 0);
    assert_int_equal(victim_score(&v, 1, out), LLMD_E_TIMEOUT);
    check_next(&scripts[i], &v);
    victim_free(&v);
    assert_int_equal(v.tally.blocks, 0);
  }
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static int is_memory_script(size_t i)
{
  static const char *const names[] = {
    "string-doubling", "string-growth", "table-growth", "table-of-tables", "table-hash-growth", "closures-kept",
    "pcall-around-refusals", "pcall-keeps-on", "allocation-storm", "recursion", "recursion-in-pcall", "unpack-bomb",
    "sort-in-sort", "concat-separator-bomb", "split-bomb", "error-table", "error-long", "number-formatting-loop",
    "table-churn", "score-nothing", "fill-out-with-strings", "request-scribbled"};
  for (size_t k = 0; k < sizeof names / sizeof *names; k++)
    if (scripts[i].run && !strcmp(scripts[i].name, names[k]))
      return 1;
  return 0;
}

/* Any code will do; nothing crashes, leaks, or lasts. */
static void sweep_one(const script *s, int64_t memory)
{
  victim v = {0};
  double out[VICTIM_ROWS];
  if (!victim_load(&v, s->text, s->len, memory) && !victim_open(&v)) {
    victim_score(&v, 1, out);
    victim_score(&v, 0, out);
    victim_score(&v, 1, out);
  }
  victim_free(&v);
  assert_int_equal(v.tally.blocks, 0);
  assert_int_equal(v.tally.bytes, 0);
}

static void any_cap_will_do(void **state)
{
  size_t n = 0;
  (void)state;
  for (size_t i = 0; i < n_scripts; i++) {
    if (!is_memory_script(i))
      continue;
    n++;
    for (int64_t memory = 4096; memory <= 262144; memory += 512)
      sweep_one(&scripts[i], memory);
  }
  assert_true(n >= 20);
}

/* The host's allocator refuses the n-th time. */
static void every_allocation_of_the_host(void **state)
{
  (void)state;
  for (uint64_t n = 1;; n++) {
    victim v = {0};
    int rc;
    v.tally.fail = n;
    rc = victim_load(&v, scripts[0].text, scripts[0].len, 0);
    rc = rc ? rc : victim_open(&v);
    victim_free(&v);
    assert_int_equal(v.tally.blocks, 0);
    if (!rc)
      break;
    assert_int_equal(rc, LLMD_E_NOMEM);
    assert_true(n < 1000);
  }
}

/* The state's own memory refuses once, at each allocation of a decision in turn, and for good after it. */
static void every_allocation_of_a_script(void **state)
{
  static const char body[] =
    "return { reads = {\"waiting\"}, score = function(req, cols, out, p)\n"
    "  if req.priority == 1 then\n"
    "    local t = {} for i = 1, 40 do t[i] = {name = \"e\" .. i, f = function() return i end} end\n"
    "    table.sort(t, function(a, b) return a.name < b.name end)\n"
    "    pcall(function() local s = string.upper(table.concat({\"a\", \"b\"}, \",\")) t.x = s .. tostring(1.5) end)\n"
    "    for k, v in pairs(t) do t.last = k end\n"
    "  end\n"
    "  for i = 1, cols.n do out[i] = cols.waiting[i] / 10 end\n"
    "end }\n";
  static const script s = {1, "allocating", "OK", NULL, 0};
  (void)state;
  for (int for_good = 0; for_good < 2; for_good++)
    for (uint64_t n = 1;; n++) {
      victim v = {0};
      double out[VICTIM_ROWS];
      llmd__lua *lua;
      int rc;
      assert_int_equal(victim_load(&v, body, sizeof body - 1, 0), 0);
      assert_int_equal(victim_open(&v), 0);
      lua = &((llmd__lua_own *)v.own)->lua;
      lua->fail_at = n;
      lua->fail_on = (uint32_t)for_good;
      rc = victim_score(&v, 1, out);
      assert_true(rc == 0 || rc == LLMD_E_NOMEM);
      n = lua->fail_at ? UINT64_MAX : n; /* it was never reached: all have failed once */
      lua->fail_at = 0;
      lua->fail_on = 0;
      check_next(&s, &v);
      victim_free(&v);
      assert_int_equal(v.tally.blocks, 0);
      if (n == UINT64_MAX)
        break;
      assert_true(n < 5000);
    }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(each_ends_as_it_must),         cmocka_unit_test(time_stops_them),
    cmocka_unit_test(any_cap_will_do),              cmocka_unit_test(every_allocation_of_the_host),
    cmocka_unit_test(every_allocation_of_a_script),
  };
  return cmocka_run_group_tests(tests, read_scripts, drop_scripts);
}
