/* Examples that stand in a policy, and lines run in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "../failing_alloc.h"
#include "policy_rig.h"

/* Stands in for the core: stores every parameter's default in self. */
static llmd__lua_self *self_of(const llmd__lua_policy *p)
{
  llmd__lua_self *self = calloc(1, p->plugin.self_size);
  assert_non_null(self);
  for (uint32_t i = 0; i < p->n_params; i++) {
    const llmd__lua_param *q = &p->param[i];
    char *at = (char *)self + q->offset;
    uint32_t v = q->number > 0 ? (uint32_t)q->number : 0;
    if (q->type == LLMD_PARAM_FLOAT)
      memcpy(at, &q->number, sizeof q->number);
    else if (q->type == LLMD_PARAM_STRING)
      memcpy(at, &q->text, sizeof q->text);
    else
      memcpy(at, &v, sizeof v);
  }
  return self;
}

typedef struct output {
  char text[4096];
  size_t len;
} output;

static int to_output(void *ud, const char *ptr, size_t len)
{
  output *o = ud;
  assert_true(o->len + len < sizeof o->text);
  memcpy(o->text + o->len, ptr, len);
  o->len += len;
  return 0;
}

typedef struct bound {
  made m;
  llmd__lua_self *self;
} bound;

static void bind(bound *b, const char *text)
{
  make(&b->m, text);
  if (b->m.rc)
    fail_msg("%s\nline %u: %s", text, b->m.err.line, b->m.err.text);
  b->self = self_of(b->m.p);
  b->self->prompt = 1;
  if (llmd_loader_module(LLMD_LOADER_ABI)->bind(b->m.p, b->self, &b->m.err))
    fail_msg("%s", b->m.err.text);
}

static void unbind(bound *b)
{
  made_drop(&b->m);
  free(b->self);
}

/* The examples of text give rc, these lines, and (when one is wrong) an error at that line. */
static void examples_give(const char *text, int rc, const char *lines, uint32_t line)
{
  llmd_err err = LLMD_ERR_INIT;
  output out = {.len = 0};
  bound b;
  int got;
  bind(&b, text);
  got = llmd_loader_module(LLMD_LOADER_ABI)->examples(b.self, to_output, &out, &err);
  out.text[out.len] = 0;
  if (got != rc || strcmp(out.text, lines))
    fail_msg("%s\ngave %d %s\n%s\nexpected %d\n%s", text, got, err.text, out.text, rc, lines);
  if (rc < 0)
    assert_int_equal(err.line, line);
  unbind(&b);
}

/* ---- each verb -------------------------------------------------------------------------------------------------- */

static void scores(void **state)
{
  (void)state;
  examples_give("return {score = function(kv_usage) return 1 - kv_usage end, examples = {\n"
                "{name = 'half', endpoints = {{kv_usage = 0.5}, {kv_usage = 1}}, scores = {0.5, 0}},\n"
                "{endpoints = {{kv_usage = 0.3}}, scores = {0.7}}, {name = 'not known', endpoints = {{}}, scores = {0/0}}}}",
                3, "ok 1 half\nok 2 examples[2]\nok 3 not known\n", 0);
  examples_give("return {score = function(kv_usage) return 1 - kv_usage end, examples = {\n"
                "{name = 'fine', endpoints = {{kv_usage = 0}}, scores = {1}},\n"
                "{name = 'off', endpoints = {{kv_usage = 0.5}}, scores = {0.25}}}}",
                LLMD_E_PLUGIN, "ok 1 fine\nnot ok 2 off: scores[1] is 0.5, expected 0.25\n", 3);
}

static void parameters_of_an_example(void **state)
{
  (void)state;
  examples_give("return {params = {w = {default = 2, min = 0, max = 10}, mode = {default = 'a', values = {'a', 'b'}},\n"
                "  dry = false, tag = 'x'},\n"
                "score = function(p) return p.dry and 0 or p.w / 10 + (p.mode == 'b' and 0.5 or 0) +\n"
                "  (p.tag == 'y' and 0.1 or 0) end,\n"
                "examples = {{endpoints = {{}}, scores = {0.2}}, {params = {w = 3}, endpoints = {{}}, scores = {0.3}},\n"
                "{params = {mode = 'b', tag = 'y'}, endpoints = {{}}, scores = {0.8}},\n"
                "{params = {dry = true}, endpoints = {{}}, scores = {0}},\n"
                "{params = {ww = 3}, endpoints = {{}}, scores = {0.3}},\n"
                "{params = {w = 11}, endpoints = {{}}, scores = {0.3}},\n"
                "{params = {mode = 'c'}, endpoints = {{}}, scores = {0.3}},\n"
                "{params = {dry = 1}, endpoints = {{}}, scores = {0}}}}",
                LLMD_E_PLUGIN,
                "ok 1 examples[1]\nok 2 examples[2]\nok 3 examples[3]\nok 4 examples[4]\n"
                "not ok 5 examples[5]: params has no \"ww\": did you mean w?\n"
                "not ok 6 examples[6]: params.w is out of its range\n"
                "not ok 7 examples[7]: params.mode is none of its values\n"
                "not ok 8 examples[8]: params.dry cannot be a number\n",
                5);
}

/* Whatever the operator has set, examples are about the defaults. */
static void the_operators_values_do_not_count(void **state)
{
  double five = 5;
  llmd_err err = LLMD_ERR_INIT;
  output out = {.len = 0};
  bound b;
  (void)state;
  bind(&b, "return {params = {w = 2}, score = function(p) return p.w / 10 end,\n"
           "examples = {{endpoints = {{}}, scores = {0.2}}}}");
  memcpy((char *)b.self + b.m.p->param[0].offset, &five, sizeof five);
  assert_int_equal(llmd__lua_examples(b.self, to_output, &out, &err), 1);
  unbind(&b);
}

static void the_request_of_an_example(void **state)
{
  (void)state;
  examples_give("return {reads = {'header:x-canary', 'prompt'}, decide = function(req)\n"
                "  return req.model == 'm' and req.tokens == 100 and req.headers['x-canary'] == '1' and req.tenant == 't' and\n"
                "  req.session == 's' and req.priority == -2 and req.stream and not req.truncated and\n"
                "  req.max_tokens == nil and\n"
                "  req.slo_ttft_ms == 250 and req.now == 1.5 and req.wall == 86400 and req.prompt == 'hello' end,\n"
                "examples = {{name = 'all', request = {model = 'm', tokens = 100, headers = {['x-canary'] = '1'},\n"
                "  tenant = 't', session = 's', priority = -2, stream = true, slo_ttft_ms = 250, prompt = 'hello'},\n"
                "  now = 1.5, wall = 86400, decide = true}, {name = 'none', decide = false},\n"
                "  {request = {modle = 'm'}, decide = false}, {request = {headers = {['x-canari'] = '1'}}, decide = false}}}",
                LLMD_E_PLUGIN,
                "ok 1 all\nok 2 none\nnot ok 3 examples[3]: request has no \"modle\": did you mean model?\n"
                "not ok 4 examples[4]: request.headers has no \"x-canari\": did you mean x-canary?\n",
                6);
}

static void filters_and_texts(void **state)
{
  (void)state;
  examples_give("return {reads = {zone = 'label:zone'}, filter = function(cols, keep)\n"
                "  for i = 1, cols.n do keep[i] = cols.zone[i] == 'eu' end end,\n"
                "examples = {{endpoints = {{zone = 'eu'}, {zone = 'us'}, {}, {zone = 'eu'}},\n"
                "  keep = {true, false, false, true}},\n"
                "{endpoints = {{zone = 'eu'}}, keep = {false}}, {endpoints = {{zon = 'eu'}}, keep = {false}},\n"
                "{endpoints = {{zone = 7}}, keep = {false}}, {endpoints = {{}}, keep = {false, true}}}}",
                LLMD_E_PLUGIN,
                "ok 1 examples[1]\nnot ok 2 examples[2]: keep[1] is true, expected false\n"
                "not ok 3 examples[3]: endpoints[1] has no \"zon\": did you mean zone?\n"
                "not ok 4 examples[4]: zone must be a string of at most 4096 bytes, not a number\n"
                "not ok 5 examples[5]: keep must be a list with a number for each of 1 endpoints\n",
                3);
}

static void pickers(void **state)
{
  (void)state;
  examples_give("return {pick = function(total, n) local best = llmd.argmax(total)\n"
                "  return {best, best % n + 1} end,\n"
                "examples = {{endpoints = {{}, {}, {}}, total = {0.1, 0.3, 0.2}, pick = 2},\n"
                "{endpoints = {{}, {}, {}}, total = {0.1, 0.3, 0.2}, picks = {2, 3}},\n"
                "{endpoints = {{}, {}}, total = {1, 0}, pick = 2}, {endpoints = {{}, {}}, total = {1, 0}, picks = {1}},\n"
                "{endpoints = {{}}, pick = 2}}}",
                LLMD_E_PLUGIN,
                "ok 1 examples[1]\nok 2 examples[2]\nnot ok 3 examples[3]: pick 1 is 1, expected 2\n"
                "not ok 4 examples[4]: there are 2 picks, expected 1\n"
                "not ok 5 examples[5]: pick is no index of an endpoint, 1 to 1\n",
                3);
}

static void producers_and_the_store(void **state)
{
  (void)state;
  examples_give("return {store = 10, writes = {'Heat', 'Cold'}, produce = function(name)\n"
                "  local v = llmd.store.get(name) return v or 0, v and 1 or 0/0 end,\n"
                "examples = {{endpoints = {{name = 'a'}, {name = 'b'}}, store = {b = 7},\n"
                "  writes = {Heat = {0, 7}, Cold = {0/0, 1}}},\n"
                "{endpoints = {{name = 'a'}}, writes = {Heat = {1}}}, {endpoints = {}, writes = {Hot = {}}},\n"
                "{endpoints = {}, store = {a = 'x'}, writes = {}}}}",
                LLMD_E_PLUGIN,
                "ok 1 examples[1]\nnot ok 2 examples[2]: Heat[1] is 0, expected 1\n"
                "not ok 3 examples[3]: writes has no \"Hot\": did you mean Heat?\n"
                "not ok 4 examples[4]: store holds integers and booleans, not a string\n",
                3);
  examples_give("return {score = function(name) return llmd.store.get(name) or 1 end,\n" /* as in a decision */
                "examples = {{endpoints = {{name = 'a'}}, scores = {1}}, {endpoints = {{}}, score = {1}}}}",
                LLMD_E_PLUGIN,
                "not ok 1 examples[1]: score failed: mine.lua:1: llmd.store.get: the policy has no `store = N`\n"
                "not ok 2 examples[2]: an example has no \"score\": did you mean scores?\n",
                2);
}

static void handlers(void **state)
{
  (void)state;
  examples_give("return {profiles = function(runs, turn) if turn == 0 then return 'prefill' end\n"
                "  if turn == 1 and runs.prefill.ok then return {'decode'} end end,\n"
                "primary = function(runs) return runs.decode.ok and 'decode' or 'prefill' end,\n"
                "examples = {{runs = {{name = 'prefill'}, {name = 'decode'}}, profiles = {'prefill'}},\n"
                "{turn = 1, runs = {{name = 'prefill', ran = true, ok = true}, {name = 'decode'}}, profiles = {'decode'}},\n"
                "{turn = 1, runs = {{name = 'prefill', ran = true}, {name = 'decode'}}, profiles = {}, primary = 'prefill'},\n"
                "{runs = {{name = 'prefill'}, {name = 'decode'}}, profiles = {'decode'}},\n"
                "{runs = {{name = 'prefill'}, {name = 'decode', ok = true}}, primary = 'prefill'}}}",
                LLMD_E_PLUGIN,
                "ok 1 examples[1]\nok 2 examples[2]\nok 3 examples[3]\n"
                "not ok 4 examples[4]: profiles names \"prefill\"\n"
                "not ok 5 examples[5]: primary is \"decode\", expected \"prefill\"\n",
                4);
}

/* ---- what is wrong with an example ------------------------------------------------------------------------------ */

static void wrong_examples(void **state)
{
  (void)state;
  examples_give("return {score = function(n) if n > 1 then error('no') end return 1 end, examples = {\n"
                "{endpoints = {{}}}, {scores = {}, endpoint = {}}, {keep = {}}, 3,\n"
                "{endpoints = {{}, {}}, scores = {1, 1}}, {name = 'bad \\n name', endpoints = 1, scores = {}},\n"
                "{now = -1, scores = {}}, {endpoints = {1}, scores = {1}}, {endpoints = {{waiting = 1}}, scores = {1}}}}",
                LLMD_E_PLUGIN,
                "not ok 1 examples[1]: it does not say what must come out: scores, keep, pick, ...\n"
                "not ok 2 examples[2]: an example has no \"endpoint\": did you mean endpoints?\n"
                "not ok 3 examples[3]: it speaks of filter, which the policy does not have\n"
                "not ok 4 examples[4]: an example must be a table, not a number\n"
                "not ok 5 examples[5]: score failed: mine.lua:1: no\n"
                "not ok 6 bad ? name: endpoints must be a table, not a number\n"
                "not ok 7 examples[7]: now is out of range\n"
                "not ok 8 examples[8]: endpoints[1] must be a table, not a number\n"
                "not ok 9 examples[9]: endpoints[1] has no \"waiting\"\n",
                1);
}

static void none_at_all(void **state)
{
  (void)state;
  examples_give("return {score = function(n) return 1 end}", 0, "", 0);
  examples_give("return {score = function(n) return 1 end, examples = {}}", 0, "", 0);
}

/* ---- lines ------------------------------------------------------------------------------------------------------ */

static void line_gives(bound *b, llmd__lua_own *own, const char *text, int rc, const char *expected)
{
  llmd_err err = LLMD_ERR_INIT;
  output out = {.len = 0};
  int got = llmd_loader_module(LLMD_LOADER_ABI)->eval(b->self, own, text, strlen(text), to_output, &out, &err);
  out.text[out.len] = 0;
  if (got != rc || !strstr(rc ? err.text : out.text, expected) || (!rc && strcmp(out.text, expected)))
    fail_msg("%s\ngave %d %s%s\nexpected %d %s", text, got, out.text, err.text, rc, expected);
}

static void lines(void **state)
{
  llmd_host host = {.size = sizeof host, .rows = 4};
  llmd__lua_own *own;
  bound b;
  (void)state;
  bind(&b, "local base = {a = 1, b = 'x'}\n"
           "return {params = {w = 2}, score = function(p, waiting) return base.a / p.w + waiting end}");
  host.alloc = &b.m.memory.a;
  b.self->instructions = 20000;
  assert_int_equal(llmd__lua_own_open(b.self, &host, &own), 0);
  line_gives(&b, own, "1 + 1", 0, "2\n");
  line_gives(&b, own, "p.w, 'a\\n\"b\\0', nil, true", 0, "2.0\t\"a\\n\\\"b\\x00\"\tnil\ttrue\n");
  line_gives(&b, own, "policy.score(p, 3)", 0, "3.5\n");
  line_gives(&b, own, "{3, 4, z = {1}, a = 0.5, [10] = false}", 0, "{3, 4, [10] = false, a = 0.5, z = {...}}\n");
  line_gives(&b, own, "p", 0, "{w = 2.0}\n");
  line_gives(&b, own, "policy", 0, "{score = function}\n");
  line_gives(&b, own, "local x = p.w * 2 return x", 0, "4.0\n");
  line_gives(&b, own, "local x = 1", 0, "");
  line_gives(&b, own, "", 0, "");
  line_gives(&b, own, "1 +", LLMD_E_SYNTAX, "");
  line_gives(&b, own, "x = 3", LLMD_E_PLUGIN, "");
  line_gives(&b, own, "p.w = 3", LLMD_E_PLUGIN, "");
  line_gives(&b, own, "error('no')", LLMD_E_PLUGIN, "no");
  line_gives(&b, own, "while true do end", LLMD_E_LIMIT, "instructions");
  line_gives(&b, own, "llmd.max({1, 5, 2})", 0, "5.0\n");
  llmd__lua_own_close(own);
  unbind(&b);
}

static void a_line_that_takes_all_memory(void **state)
{
  llmd_host host = {.size = sizeof host, .rows = 4};
  llmd__lua_own *own;
  size_t calls;
  bound b;
  (void)state;
  bind(&b, "return {score = function(waiting) return waiting end}");
  host.alloc = &b.m.memory.a;
  b.self->instructions = 100000000;
  assert_int_equal(llmd__lua_own_open(b.self, &host, &own), 0);
  line_gives(&b, own, "local t = {} while true do t[#t + 1] = {} end", LLMD_E_NOMEM, "");
  assert_true(own->rebuild);
  line_gives(&b, own, "policy.score(7)", 0, "7\n");
  assert_false(own->rebuild);
  calls = b.m.memory.calls;
  assert_int_equal(llmd__lua_own_rebuild(own, 0), 0);
  assert_int_equal(b.m.memory.calls, calls); /* of the host nothing */
  line_gives(&b, own, "policy.score(8)", 0, "8\n");
  llmd__lua_own_close(own);
  unbind(&b);
}

static int run_with(const llmd_allocator *a, void *ctx)
{
  const llmd_loader *l = llmd_loader_module(LLMD_LOADER_ABI);
  const char *text = ctx;
  llmd_program in = {.size = sizeof in, .alloc = a, .name = {"mine", 4}, .text = {text, strlen(text)}};
  llmd_err err = LLMD_ERR_INIT;
  output out = {.len = 0};
  void *policy = NULL;
  int rc = l->load(&in, &policy, &err);
  llmd__lua_self *self = rc ? NULL : self_of(policy);
  if (!rc)
    rc = l->bind(policy, self, &err);
  if (!rc)
    rc = l->examples(self, to_output, &out, &err);
  if (policy)
    l->unload(policy);
  free(self);
  return rc > 0 ? 0 : rc;
}

static void refused_memory(void **state)
{
  static const char text[] = "return {params = {tag = 'x'}, reads = {zone = 'label:zone'}, score = function(p, zone)\n"
                             "return zone == p.tag and 1 or 0 end, examples = {{name = 'a', params = {tag = 'y'},\n"
                             "endpoints = {{zone = 'y'}, {}}, store = {a = 1}, request = {model = 'm'}, scores = {1, 0}}}}";
  (void)state;
  assert_true(fail_each_allocation(run_with, (void *)text) > 30);
}

static void prompts_must_be_allowed(void **state)
{
  llmd_err err = LLMD_ERR_INIT;
  llmd__lua_self *self;
  made m;
  (void)state;
  taken(&m, "return {\nreads = {'prompt'}, score = function(req) return 1 end}");
  self = self_of(m.p);
  assert_int_equal(llmd_loader_module(LLMD_LOADER_ABI)->bind(m.p, self, &err), LLMD_E_DENIED);
  assert_int_equal(err.line, 2);
  assert_non_null(strstr(err.text, "prompt: true"));
  self->prompt = 1;
  assert_int_equal(llmd_loader_module(LLMD_LOADER_ABI)->bind(m.p, self, &err), 0);
  made_drop(&m);
  free(self);
}

static void too_little_memory_is_said_at_once(void **state)
{
  llmd_err err = LLMD_ERR_INIT;
  llmd__lua_self *self;
  made m;
  (void)state;
  taken(&m, "return {score = function(req) return 1 end}");
  self = self_of(m.p);
  self->memory = 8192;
  assert_int_equal(llmd_loader_module(LLMD_LOADER_ABI)->bind(m.p, self, &err), LLMD_E_NOMEM);
  assert_non_null(strstr(err.text, "8192 bytes are too few"));
  made_drop(&m);
  free(self);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(scores),
    cmocka_unit_test(parameters_of_an_example),
    cmocka_unit_test(the_operators_values_do_not_count),
    cmocka_unit_test(the_request_of_an_example),
    cmocka_unit_test(filters_and_texts),
    cmocka_unit_test(pickers),
    cmocka_unit_test(producers_and_the_store),
    cmocka_unit_test(handlers),
    cmocka_unit_test(wrong_examples),
    cmocka_unit_test(none_at_all),
    cmocka_unit_test(lines),
    cmocka_unit_test(a_line_that_takes_all_memory),
    cmocka_unit_test(refused_memory),
    cmocka_unit_test(prompts_must_be_allowed),
    cmocka_unit_test(too_little_memory_is_said_at_once),
  };
  return cmocka_run_group_tests_name("examples", tests, NULL, NULL);
}
