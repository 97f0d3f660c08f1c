/* From text to policy: what a text may say, what becomes of it, and what is said of one that is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>

#include "../failing_alloc.h"
#include "module.h"
#include "policy_rig.h"

static const llmd_read *read_of(const made *m, const char *field)
{
  uint32_t i = llmd__lua_read_find(m->p, field);
  assert_true(i != LLMD_NO_INDEX);
  return &m->p->plugin.reads[i];
}

static const llmd__lua_read *shown(const made *m, const char *field)
{
  return &m->p->read[llmd__lua_read_find(m->p, field)];
}

static const llmd_param *param_of(const made *m, const char *name)
{
  const llmd_param *row = m->p->plugin.params;
  while (strcmp(row->name, "params"))
    row++;
  for (row = row->sub; row->name; row++)
    if (!strcmp(row->name, name))
      return row;
  fail_msg("no parameter %s", name);
  return NULL;
}

/* ---- what becomes of a text ------------------------------------------------------------------------------------- */

static void kinds_are_those_of_the_verbs(void **state)
{
  static const struct {
    const char *text;
    uint32_t kind;
  } all[] = {
    {"return {filter = function(req, keep) end}", LLMD_FILTER},
    {"return {score = function(waiting) return 1 end}", LLMD_SCORER},
    {"return {pick = function(total) return 1 end}", LLMD_PICKER},
    {"return {decide = function(req) return true end}", LLMD_DECIDER},
    {"return {writes = {'A'}, produce = function(out) end}", LLMD_PRODUCER},
    {"return {commit = function(req, target) end}", LLMD_PRODUCER},
    {"return {report = function(kind, target, usage) end}", LLMD_PRODUCER},
    {"return {profiles = function(runs, turn) end}", LLMD_PROFILE_HANDLER},
    {"return {primary = function(req, runs) end}", LLMD_PROFILE_HANDLER},
    {"return {score = function(n) return 1 end, filter = function(waiting) return true end,\n"
     "commit = function(target) end}",
     LLMD_SCORER | LLMD_FILTER | LLMD_PRODUCER}};
  (void)state;
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    made m;
    taken(&m, all[i].text);
    assert_int_equal(m.p->plugin.kind, all[i].kind);
    assert_string_equal(m.p->plugin.type, "lua");
    assert_true(m.p->plugin.open && m.p->plugin.close && m.p->plugin.abi == LLMD_PLUGIN_ABI);
    made_drop(&m);
  }
}

static void a_whole_policy(void **state)
{
  made m;
  llmd_str text;
  (void)state;
  taken(&m, "return {\n"
            "  name = 'blend', summary = 'short queues and free cache', store = 100,\n"
            "  reads = {'waiting', zone = 'label:zone'},\n"
            "  score = function(req, cols, out, p) end,\n"
            "  examples = {{endpoints = {}, scores = {}}}}\n");
  assert_string_equal(m.p->name, "blend");
  assert_string_equal(m.p->plugin.summary, "short queues and free cache");
  assert_string_equal(m.p->plugin.aliases[0], "blend");
  assert_null(m.p->plugin.aliases[1]);
  assert_int_equal(m.p->plugin.table_entries, 100);
  assert_int_equal(m.p->n_examples, 1);
  assert_int_equal(m.p->n_reads, 2);
  assert_int_equal(m.p->verb[LLMD__LUA_SCORE].n_args, 4);
  assert_false(m.p->verb[LLMD__LUA_SCORE].each);
  assert_int_equal(m.p->verb[LLMD__LUA_SCORE].arg[1].what, LLMD__LUA_ARG_COLS);
  assert_int_equal(m.p->verb[LLMD__LUA_SCORE].arg[3].what, LLMD__LUA_ARG_P);
  assert_int_equal(shown(&m, "zone")->used, 2);
  llmd_loader_module(LLMD_LOADER_ABI)->text(m.p, &text);
  assert_true(text.len == m.p->len && !memcmp(text.ptr, "return {", 8));
  made_drop(&m);
}

static void a_policy_without_a_name_is_called_by_its_file(void **state)
{
  made m;
  (void)state;
  taken(&m, "return {score = function() return 1 end}");
  assert_string_equal(m.p->name, "mine.lua");
  assert_non_null(m.p->plugin.summary);
  assert_null(m.p->plugin.aliases[0]);
  made_drop(&m);
}

/* ---- reads ------------------------------------------------------------------------------------------------------ */

static void reads_of_all_forms(void **state)
{
  made m;
  (void)state;
  taken(&m, "return {reads = {'waiting', 'label:zone', 'header:x-canary', 'attr:Heat', 'prompt', 'fresh', 'name',\n"
            "  tier = 'label:example.org/tier', hit = 'attr:PrefixCacheMatchInfo.match/mine', id = 'id:CacheHashAlgorithm',\n"
            "  has = 'has:ActiveModels', size = 'size:WaitingModels/other', cluster = 'attr:example.org/load/'},\n"
            "  score = function(req, cols, out) end}");
  assert_int_equal(m.p->n_reads, 13);
  assert_int_equal(read_of(&m, "waiting")->kind, LLMD_READ_F64);
  assert_string_equal(read_of(&m, "waiting")->name, "WaitingQueueSize");
  assert_true(isnan(read_of(&m, "waiting")->if_unknown));
  assert_true(read_of(&m, "waiting")->if_unknown_strict == 0);
  assert_int_equal(read_of(&m, "zone")->kind, LLMD_READ_LABEL);
  assert_int_equal(read_of(&m, "zone")->flags, LLMD_READ_TEXT);
  assert_string_equal(read_of(&m, "tier")->name, "example.org/tier");
  assert_int_equal(shown(&m, "tier")->shows, LLMD__LUA_SHOWS_TEXT);
  assert_int_equal(read_of(&m, "x-canary")->kind, LLMD_READ_HEADER);
  assert_int_equal(shown(&m, "x-canary")->shows, LLMD__LUA_SHOWS_HEADER);
  assert_int_equal(read_of(&m, "prompt")->kind, LLMD_READ_PROMPT);
  assert_string_equal(read_of(&m, "hit")->name, "PrefixCacheMatchInfo.match");
  assert_string_equal(read_of(&m, "hit")->from, "mine");
  assert_true(isnan(read_of(&m, "hit")->if_unknown_strict));
  assert_string_equal(read_of(&m, "Heat")->name, "Heat");
  assert_null(read_of(&m, "Heat")->from);
  assert_int_equal(read_of(&m, "id")->kind, LLMD_READ_ID);
  assert_int_equal(read_of(&m, "has")->kind, LLMD_READ_HAS_MODEL);
  assert_string_equal(read_of(&m, "size")->from, "other");
  assert_string_equal(read_of(&m, "cluster")->name, "example.org/load");
  assert_null(read_of(&m, "cluster")->from);
  assert_int_equal(read_of(&m, "name")->kind, LLMD_READ_NAME);
  assert_int_equal(m.p->plugin.reads[13].kind, 0);
  made_drop(&m);
}

static void functions_called_per_endpoint_declare_what_they_use(void **state)
{
  const llmd__lua_verb *v;
  made m;
  (void)state;
  taken(&m, "return {reads = {heat = 'attr:Heat'}, score = function(p, kv_usage, heat, ep) return 1 end}");
  v = &m.p->verb[LLMD__LUA_SCORE];
  assert_true(v->each && v->n_args == 4);
  assert_int_equal(v->arg[1].what, LLMD__LUA_ARG_READ);
  assert_int_equal(v->arg[1].read, llmd__lua_read_find(m.p, "kv_usage"));
  assert_int_equal(v->arg[2].read, 0);
  assert_string_equal(read_of(&m, "kv_usage")->name, "KVCacheUsagePercent");
  assert_int_equal(shown(&m, "kv_usage")->used, 1 | 4);
  assert_int_equal(shown(&m, "heat")->used, 1 | 4);
  made_drop(&m);
}

static void every_short_name_can_be_read(void **state)
{
  char text[200];
  const llmd__lua_known *k;
  uint32_t n = 0;
  (void)state;
  for (; (k = llmd__lua_known_at(n)) != NULL; n++) {
    made m;
    snprintf(text, sizeof text, "return {score = function(%s) return 1 end}", k->field);
    taken(&m, text);
    assert_int_equal(m.p->plugin.reads[0].kind, k->kind);
    made_drop(&m);
  }
  assert_true(n > 30);
}

static void wrong_reads(void **state)
{
  (void)state;
#define SCORE ", score = function(req, cols, out) end}"
  refused("return {reads = 3" SCORE, LLMD_E_TYPE, 1, "reads must be a table, not a number");
  refused("return {\n reads = {3}" SCORE, LLMD_E_TYPE, 2, "an entry must be a string");
  refused("return {\n\n reads = {'waitng'}" SCORE, LLMD_E_UNKNOWN_REF, 3, "did you mean waiting?");
  refused("return {reads = {'lable:zone'}" SCORE, LLMD_E_UNKNOWN_REF, 1, "label:");
  refused("return {reads = {'label:'}" SCORE, LLMD_E_SYNTAX, 1, "names nothing");
  refused("return {reads = {'attr:/x'}" SCORE, LLMD_E_SYNTAX, 1, "names no attribute");
  refused("return {reads = {'attr:A.b/c'}" SCORE, LLMD_E_SYNTAX, 1, "needs a name");
  refused("return {reads = {['a-b'] = 'attr:A'}" SCORE, LLMD_E_SYNTAX, 1, "needs a name");
  refused("return {reads = {['end'] = 'attr:A'}" SCORE, LLMD_E_SYNTAX, 1, "needs a name");
  refused("return {reads = {n = 'attr:A'}" SCORE, LLMD_E_INVALID, 1, "take another name");
  refused("return {reads = {'header:X-Canary'}" SCORE, LLMD_E_SYNTAX, 1, "lower case");
  refused("return {reads = {text = 'prompt'}" SCORE, LLMD_E_INVALID, 1, "req.prompt");
  refused("return {reads = {\n'attr:A',\nA = 'attr:B'}" SCORE, LLMD_E_DUPLICATE, 3, "two things called A");
  refused("return {reads = {'waiting', [5] = 'running'}" SCORE, LLMD_E_TYPE, 1, "no gaps");
  refused("return {reads = {[true] = 'running'}" SCORE, LLMD_E_TYPE, 1, "a boolean as a name");
}

static void remarks(void **state)
{
  made m;
  (void)state;
  make(&m, "return {\nreads = {'waiting', 'waiting', q = 'waiting', 'running', 'header:x-a'},\n"
           "score = function(q) return 1 end}");
  assert_int_equal(m.rc, 0);
  assert_int_equal(m.n_remarks, 5);
  assert_string_equal(m.remark[0], "mine.lua:2: reads: \"waiting\" stands there twice");
  assert_string_equal(m.remark[1], "mine.lua:2: reads: \"waiting\" is read twice, as waiting and as q");
  assert_string_equal(m.remark[2], "mine.lua:2: reads: no function asks for waiting, cols or eps");
  assert_string_equal(m.remark[3], "mine.lua:2: reads: no function asks for running, cols or eps");
  assert_string_equal(m.remark[4], "mine.lua:1: reads: x-a shows in req, and no function asks for req");
  made_drop(&m);
}

/* One remark of one global, or none (""). */
static void remarked(const char *text, const char *remark)
{
  made m;
  make(&m, text);
  if (m.rc)
    fail_msg("%s: %s", text, m.err.text);
  if (m.n_remarks != (*remark != 0) || (m.n_remarks && strcmp(m.remark[0], remark)))
    fail_msg("%s\ngave %u: %s\nexpected %s", text, m.n_remarks, m.n_remarks ? m.remark[0] : "", remark);
  made_drop(&m);
}

static void globals_that_nobody_defines(void **state)
{
  made m;
  (void)state;
  remarked("return {\nscore = function(waiting)\nreturn 1 / wating end}",
           "mine.lua:3: global 'wating' is not known: did you mean waiting?");
  remarked("return {score = function(running)\nlocal most, mots = 1\nlocal function f() return mosd + mosd end\n"
           "return f() end}", "mine.lua:3: global 'mosd' is not known: did you mean most?");
  remarked("\xef\xbb\xbfreturn {\nscore = function(waiting)\nreturn 1 / wating end}",
           "mine.lua:3: global 'wating' is not known: did you mean waiting?");
  remarked("return {score = function(cols, out) out[1] = waiting end}",
           "mine.lua:1: global 'waiting' is not known: it is no local variable and no parameter here");
  remarked("return {score = function(p)\nreturn maht.pi end}",
           "mine.lua:2: global 'maht' is not known: did you mean math?");
  remarked("return {score = function(p) print(p) return 1 end}",
           "mine.lua:1: global 'print' is not there: policies have no such thing");
  remarked("return {score = function(p)\n\nmost = 1 return most end}",
           "mine.lua:3: global 'most' cannot be set after load: write local most = ...");
  remarked("local a = nothing or 1 return {score = function(p) return a end}",
           "mine.lua:1: global 'nothing' is not known");
  remarked("half = 0.5 function twice(x) return 2 * x end _ENV.third = 1 / 3\n"
           "return {score = function(p) return twice(half) + third + _ENV.faraway end}",
           "mine.lua:2: global 'faraway' is not known");
  remarked("local _ENV = {llmd = llmd, zone = 1} return {score = function(p) return zone end}", "");
  remarked("return {score = function(p) local t = {wating = 1} return t.wating + llmd.clamp(1, 0, 1) end}", "");
  remarked("return {score = function(p) local _ENV = p return q end, params = {q = 1}}", "");
  make(&m, "return {score = function(p)\n\nlocal x = second\nreturn third end, filter = function(p) return first end,\n"
           "decide = function(p) return y + forth end}");
  assert_int_equal(m.n_remarks, 5);
  assert_string_equal(m.remark[0], "mine.lua:3: global 'second' is not known");
  assert_string_equal(m.remark[1], "mine.lua:4: global 'third' is not known");
  made_drop(&m);
}

static void writes(void **state)
{
  made m;
  (void)state;
  taken(&m, "return {writes = {'Heat', 'Cold'}, produce = function(cols, out) end}");
  assert_int_equal(m.p->n_writes, 2);
  assert_string_equal(m.p->plugin.writes[1].name, "Cold");
  assert_null(m.p->plugin.writes[2].name);
  made_drop(&m);
  refused("return {writes = {'A'}, score = function(n) end}", LLMD_E_MISSING, 1, "no produce");
  refused("return {\nproduce = function(out) end}", LLMD_E_MISSING, 2, "produce needs writes");
  refused("return {writes = {}, produce = function(out) end}", LLMD_E_TYPE, 1, "a list of 1 to 16");
  refused("return {writes = {'A', 'A'}, produce = function(out) end}", LLMD_E_DUPLICATE, 1, "twice");
  refused("return {writes = {'a-b'}, produce = function(out) end}", LLMD_E_TYPE, 1, "out.NAME");
  refused("return {writes = {A = 'A'}, produce = function(out) end}", LLMD_E_TYPE, 1, "a list of 1 to 16");
  refused("return {writes = {'A', B = 'B'}, produce = function(out) end}", LLMD_E_LIMIT, 1, "more than 0");
}

/* ---- parameters ------------------------------------------------------------------------------------------------- */

static void parameters_of_all_types(void **state)
{
  made m;
  (void)state;
  taken(&m, "return {params = {\n"
            "  queue = {default = 2, min = 0, max = 10, doc = 'weight of the queue'}, low = {default = 0.1, max = 0.5},\n"
            "  mode = {default = 'slow', values = {'fast', 'slow'}}, dry = true, label = 'zone', third = 1/3},\n"
            "  score = function(p) return 1 end}");
  assert_int_equal(m.p->n_params, 6);
  assert_int_equal(param_of(&m, "queue")->type, LLMD_PARAM_FLOAT);
  assert_string_equal(param_of(&m, "queue")->preset, "2");
  assert_true(param_of(&m, "queue")->min == 0 && param_of(&m, "queue")->max == 10);
  assert_string_equal(param_of(&m, "queue")->doc, "weight of the queue");
  assert_string_equal(param_of(&m, "low")->preset, "0.1");
  assert_true(param_of(&m, "low")->min == -DBL_MAX && param_of(&m, "low")->max == 0.5);
  assert_int_equal(param_of(&m, "mode")->type, LLMD_PARAM_ENUM);
  assert_string_equal(param_of(&m, "mode")->preset, "slow");
  assert_string_equal(param_of(&m, "mode")->values[0].name, "fast");
  assert_null(param_of(&m, "mode")->values[2].name);
  assert_int_equal(param_of(&m, "dry")->type, LLMD_PARAM_BOOL);
  assert_string_equal(param_of(&m, "dry")->preset, "true");
  assert_int_equal(param_of(&m, "label")->type, LLMD_PARAM_STRING);
  assert_string_equal(param_of(&m, "third")->preset, "0.3333333333333333");
  for (uint32_t i = 0; i < 6; i++)
    assert_int_equal(m.p->param[i].offset % (m.p->param[i].type == LLMD_PARAM_BOOL || m.p->param[i].type == LLMD_PARAM_ENUM
                                               ? 4
                                               : 8),
                     0);
  made_drop(&m);
}

static void wrong_parameters(void **state)
{
  (void)state;
#define P(row) "return {\nparams = {\n" row "}, score = function(p) return 1 end}"
  refused("return {params = 1, score = function(p) return 1 end}", LLMD_E_TYPE, 1, "params must be a table");
  refused(P("x = {min = 1}"), LLMD_E_MISSING, 3, "params.x needs a default");
  refused(P("x = {default = {}}"), LLMD_E_TYPE, 3, "not a table");
  refused(P("x = function() end"), LLMD_E_TYPE, 3, "not a function");
  refused(P("x = {default = 1, mni = 2}"), LLMD_E_UNKNOWN_FIELD, 3, "did you mean min?");
  refused(P("x = {default = 1, min = 'a'}"), LLMD_E_TYPE, 3, "min must be a number, not a string");
  refused(P("x = {default = 1, min = 2}"), LLMD_E_RANGE, 3, "its default is out of its range");
  refused(P("x = {default = 1, min = 2, max = 1}"), LLMD_E_RANGE, 3, "min must be less than max");
  refused(P("x = {default = 1, max = 1/0}"), LLMD_E_RANGE, 3, "must be finite");
  refused(P("x = 0/0"), LLMD_E_RANGE, 3, "finite");
  refused(P("x = {default = 'a', max = 1}"), LLMD_E_TYPE, 3, "is no number");
  refused(P("x = {default = 1, values = {'a'}}"), LLMD_E_TYPE, 3, "is no string");
  refused(P("x = {default = 'a', values = {}}"), LLMD_E_TYPE, 3, "a list of 1 to 32");
  refused(P("x = {default = 'a', values = {1}}"), LLMD_E_TYPE, 3, "values are strings");
  refused(P("x = {default = 'c', values = {'a', 'b'}}"), LLMD_E_RANGE, 3, "none of its values");
  refused(P("x = {default = 1, doc = 2}"), LLMD_E_TYPE, 3, "doc must be a string");
  refused(P("['x-y'] = 1"), LLMD_E_SYNTAX, 3, "p.NAME");
  refused(P("3"), LLMD_E_TYPE, 2, "a number as a name");
  refused(P("x = 'a\\0b'"), LLMD_E_LIMIT, 3, "no NUL");
}

/* ---- verbs ------------------------------------------------------------------------------------------------------ */

static void wrong_functions(void **state)
{
  (void)state;
  refused("return {\nscore = 3}", LLMD_E_TYPE, 2, "score must be a function, not a number");
  refused("return {score = 1, filter = true}", LLMD_E_TYPE, 1, "filter must be a function");
  refused("return {\nscore = function(...) end}", LLMD_E_INVALID, 2, "must name its parameters");
  refused("return {score = math.abs}", LLMD_E_INVALID, 1, "must name its parameters");
  refused("return {score = function(req, cols) end}", LLMD_E_MISSING, 1, "must ask for out");
  refused("return {\n\nscore = function(p, waitng) end}", LLMD_E_UNKNOWN_REF, 3, "did you mean waiting?");
  refused("return {score = function(reqq, cols) end}", LLMD_E_UNKNOWN_REF, 1, "did you mean req?");
  refused("return {score = function(cols, waiting) end}", LLMD_E_INVALID, 1, "write cols.waiting[i]");
  refused("return {score = function(cols, ep) end}", LLMD_E_INVALID, 1, "write eps[i]");
  refused("return {score = function(keep) end}", LLMD_E_INVALID, 1, "score cannot ask for keep");
  refused("return {filter = function(out) end}", LLMD_E_INVALID, 1, "filter cannot ask for out");
  refused("return {pick = function(ep) end}", LLMD_E_INVALID, 1, "pick cannot ask for ep");
  refused("return {pick = function(total, waiting) end}", LLMD_E_INVALID, 1, "write cols.waiting[i]");
  refused("return {commit = function(waiting) end}", LLMD_E_INVALID, 1, "columns of endpoints");
  refused("return {commit = function(cols) end}", LLMD_E_INVALID, 1, "commit cannot ask for cols");
  refused("return {report = function(req) end}", LLMD_E_INVALID, 1, "report cannot ask for req");
  refused("return {primary = function(turn) end}", LLMD_E_INVALID, 1, "primary cannot ask for turn");
  refused("return {reads = {a = 'header:a'}, score = function(a) end}", LLMD_E_INVALID, 1, "belongs to the request");
  refused("return {score = function(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q) end}", LLMD_E_LIMIT, 1,
          "more than 16 parameters");
}

static void words_of_every_verb(void **state)
{
  static const char *const good[] = {
    "filter = function(req, cols, eps, keep, n, p)", "filter = function(req, ep, n, p, waiting)",
    "score = function(req, cols, eps, out, n, p)", "score = function(req, ep, n, p, waiting)",
    "pick = function(req, cols, eps, total, n, p)", "decide = function(req, cols, eps, n, p)",
    "decide = function(req, ep, n, p, waiting)", "commit = function(req, target, p)",
    "report = function(kind, target, usage, p)", "profiles = function(req, runs, turn, p)",
    "primary = function(req, runs, p)", "writes = {'A'}, produce = function(req, cols, eps, out, n, p)",
    "writes = {'A'}, produce = function(req, ep, n, p, waiting)"};
  char text[200];
  (void)state;
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    made m;
    snprintf(text, sizeof text, "return {%s end}", good[i]);
    taken(&m, text);
    made_drop(&m);
  }
}

/* ---- the whole text --------------------------------------------------------------------------------------------- */

static void wrong_texts(void **state)
{
  (void)state;
  refused("", LLMD_E_TYPE, 0, "return {...}");
  refused("return 3", LLMD_E_TYPE, 0, "return {...}");
  refused("return {}", LLMD_E_MISSING, 1, "does nothing");
  refused("return {\n\nscores = function(n) end}", LLMD_E_UNKNOWN_FIELD, 3, "did you mean score?");
  refused("return {name = '', score = function(n) end}", LLMD_E_TYPE, 1, "name must be a string of 1 to 63");
  refused("return {name = 7, score = function(n) end}", LLMD_E_TYPE, 1, "not a number");
  refused("return {summary = {}, score = function(n) end}", LLMD_E_TYPE, 1, "summary must be");
  refused("return {\nstore = -1, score = function(n) end}", LLMD_E_RANGE, 2, "1 to 16777216");
  refused("return {store = 1.5, score = function(n) end}", LLMD_E_RANGE, 1, "store is the number");
  refused("return {examples = 1, score = function(n) end}", LLMD_E_TYPE, 1, "examples must be a list");
  refused("return {[1] = 2, score = function(n) end}", LLMD_E_TYPE, 1, "a number as a name");
  refused("return {\nscore = function(n) return 1 +", LLMD_E_SYNTAX, 2, "");
  refused("local x = nil\nlocal y = x.z\nreturn {}", LLMD_E_PLUGIN, 2, "");
}

static void endless_text(void **state)
{
  made m;
  (void)state;
  make(&m, "while true do end");
  assert_int_equal(m.rc, LLMD_E_LIMIT);
  assert_int_equal(m.err.line, 1);
  made_drop(&m);
}

static void texts_that_are_none(void **state)
{
  static char big[LLMD_POLICY_BYTES + 1];
  made m;
  (void)state;
  memset(big, ' ', sizeof big);
  make_of(&m, big, sizeof big);
  assert_int_equal(m.rc, LLMD_E_LIMIT);
  made_drop(&m);
  make_of(&m, "return\0{}", 9);
  assert_int_equal(m.rc, LLMD_E_SYNTAX);
  made_drop(&m);
  make_of(&m, "\x1bLua", 4);
  assert_int_equal(m.rc, LLMD_E_SYNTAX);
  made_drop(&m);
}

static int make_with(const llmd_allocator *a, void *ctx)
{
  const char *text = ctx;
  llmd_program in = {.size = sizeof in, .alloc = a, .name = {"mine", 4}, .text = {text, strlen(text)}};
  llmd_err err = LLMD_ERR_INIT;
  void *policy = NULL;
  int rc = llmd_loader_module(LLMD_LOADER_ABI)->load(&in, &policy, &err);
  if (!rc)
    llmd_loader_module(LLMD_LOADER_ABI)->unload(policy);
  else
    assert_null(policy);
  return rc;
}

static void refused_memory(void **state)
{
  static const char text[] =
    "return {name = 'a', summary = 'b', params = {x = {default = 'a', values = {'a', 'b'}, doc = 'c'}, y = 1, z = 'd'},\n"
    "reads = {'waiting', zone = 'label:zone'}, writes = {'W'}, produce = function(req, cols, out, p) end}";
  (void)state;
  assert_true(fail_each_allocation(make_with, (void *)text) > 15);
}

static void the_door(void **state)
{
  (void)state;
  assert_null(llmd_loader_module(LLMD_LOADER_ABI + 1));
  assert_string_equal(llmd_loader_module(LLMD_LOADER_ABI)->type, "lua");
}

static void plain_numbers(void **state)
{
  static const struct {
    double v;
    const char *text;
  } all[] = {{0, "0"}, {1, "1"}, {-2.5, "-2.5"}, {0.1, "0.1"},
             {1e15, "1e+15"}, {1e14 - 1, "99999999999999"}, {100, "100"},
             {0.05, "0.05"},
             {123456.789, "123456.789"}, {1e300, "1e+300"}, {1e-7, "1e-07"},
             {NAN, "nan"}, {-NAN, "nan"}, {-INFINITY, "-inf"}, {0.1 + 0.2, "0.30000000000000004"},
             {-1.7976931348623157e308, "-1.7976931348623157e+308"}, {-4.9406564584124654e-324, "-4.9406564584125e-324"}};
  char buf[LLMD__LUA_NUMBER_ROOM];
  (void)state;
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    assert_int_equal(llmd__lua_real_text(all[i].v, buf), strlen(all[i].text));
    assert_string_equal(buf, all[i].text);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(kinds_are_those_of_the_verbs),
    cmocka_unit_test(a_whole_policy),
    cmocka_unit_test(a_policy_without_a_name_is_called_by_its_file),
    cmocka_unit_test(reads_of_all_forms),
    cmocka_unit_test(functions_called_per_endpoint_declare_what_they_use),
    cmocka_unit_test(every_short_name_can_be_read),
    cmocka_unit_test(wrong_reads),
    cmocka_unit_test(remarks),
    cmocka_unit_test(globals_that_nobody_defines),
    cmocka_unit_test(writes),
    cmocka_unit_test(parameters_of_all_types),
    cmocka_unit_test(wrong_parameters),
    cmocka_unit_test(wrong_functions),
    cmocka_unit_test(words_of_every_verb),
    cmocka_unit_test(wrong_texts),
    cmocka_unit_test(endless_text),
    cmocka_unit_test(texts_that_are_none),
    cmocka_unit_test(refused_memory),
    cmocka_unit_test(the_door),
    cmocka_unit_test(plain_numbers),
  };
  return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
