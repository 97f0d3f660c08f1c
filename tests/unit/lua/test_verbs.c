/* The verbs of a Lua policy through its descriptor: each form of each verb, what functions are given, what may come
 * back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "verb_rig.h"

static rig r;

/* ---- score ------------------------------------------------------------------------------------------------------ */

static const char *const blends[] = {
  "return { reads = {'waiting', 'kv_usage'}, score = function(req, cols, out, p)\n"
  "  for i = 1, cols.n do out[i] = (1 - cols.kv_usage[i]) / (1 + cols.waiting[i]) end end }",
  "return { reads = {'waiting', 'kv_usage'}, score = function(out, eps)\n"
  "  for i = 1, #eps do local e = eps[i] out[i] = (1 - e.kv_usage) / (1 + e.waiting) end end }",
  "return { score = function(kv_usage, waiting) return (1 - kv_usage) / (1 + waiting) end }",
  "return { reads = {'waiting', 'kv_usage'}, score = function(ep) return (1 - ep.kv_usage) / (1 + ep.waiting) end }"};

static void every_form_scores_alike(void **state)
{
  (void)state;
  for (size_t f = 0; f < sizeof blends / sizeof *blends; f++) {
    rig_make(&r, blends[f]);
    for (uint32_t turn = 0; turn < 3; turn++) {
      for (uint32_t i = 0; i < RIG_ROWS; i++) {
        rig_set(&r, "waiting", i, (i + turn) % 5);
        rig_set(&r, "kv_usage", i, (i * turn) / 100.0);
      }
      rig_well(&r, rig_score(&r, 9 + turn));
      for (uint32_t i = 0; i < 9 + turn; i++)
        assert_true(r.out[i] == (1 - (i * turn) / 100.0) / (1 + (i + turn) % 5));
      assert_true(r.out[9 + turn] == -77);
    }
    rig_free(&r);
  }
}

static void no_endpoints_and_all_of_them(void **state)
{
  (void)state;
  for (size_t f = 0; f < sizeof blends / sizeof *blends; f++) {
    rig_make(&r, blends[f]);
    rig_well(&r, rig_score(&r, 0));
    rig_well(&r, rig_score(&r, RIG_ROWS));
    assert_true(r.out[RIG_ROWS - 1] == 1);
    rig_well(&r, rig_score(&r, 0));
    rig_well(&r, rig_score(&r, 1));
    rig_free(&r);
  }
}

static void a_score_may_be_missing(void **state)
{
  (void)state;
  rig_make(&r, "return { reads = {'waiting'}, score = function(cols, out)\n"
               "  out[2] = 1 out[3] = cols.waiting[3] out[4] = 0.5 out[4] = nil out[5] = nil out[5] = 0.25 end }");
  rig_set(&r, "waiting", 2, UNKNOWN);
  rig_well(&r, rig_score(&r, 5));
  assert_true(isnan(r.out[0]) && r.out[1] == 1 && isnan(r.out[2]) && isnan(r.out[3]) && r.out[4] == 0.25);
  rig_free(&r);
}

static void out_begins_unknown_each_time(void **state)
{
  (void)state;
  rig_make(&r, "return { score = function(req, out, n)\n"
               "  for i = 1, n do assert(out[i] ~= out[i], 'stale') end\n"
               "  assert(#out == n and out[n + 1] == nil and out[0] == nil)\n"
               "  for i = 1, n do out[i] = i end if req.priority == 1 then error('stop') end end }");
  rig_well(&r, rig_score(&r, 5));
  rig_well(&r, rig_score(&r, 3));
  r.view.priority = 1;
  rig_ill(&r, rig_score(&r, 9), LLMD_E_PLUGIN, "stop");
  r.view.priority = 0;
  rig_well(&r, rig_score(&r, 20));
  rig_well(&r, rig_score(&r, 2));
  rig_free(&r);
}

static void scores_that_cannot_be(void **state)
{
  static const char *const bad[][2] = {{"'0.5'", "score of endpoint 2 is string"}, {"true", "boolean"},
                                       {"{}", "table"}, {"1 / 0", "score of endpoint 2 is infinite"},
                                       {"-1 / 0", "infinite"}, {"assert", "function"}};
  char text[300];
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    snprintf(text, sizeof text, "return { score = function(out, n) out[1] = 1 out[2] = %s end }", bad[i][0]);
    rig_make(&r, text);
    rig_ill(&r, rig_score(&r, 3), LLMD_E_TYPE, bad[i][1]);
    rig_free(&r);
    snprintf(text, sizeof text, "return { score = function(waiting) if waiting == 1 then return %s end return 1 end }",
             bad[i][0]);
    rig_make(&r, text);
    rig_set(&r, "waiting", 1, 1);
    rig_ill(&r, rig_score(&r, 3), LLMD_E_TYPE, bad[i][1]);
    rig_free(&r);
  }
  rig_make(&r, "return { score = function(waiting) end }");
  rig_ill(&r, rig_score(&r, 1), LLMD_E_TYPE, "score of endpoint 1 is nil, not a number");
  rig_free(&r);
}

static void integers_and_unknown_are_scores(void **state)
{
  (void)state;
  rig_make(&r, "return { score = function(waiting) if waiting == 1 then return 0 / 0 end return 1 end }");
  rig_set(&r, "waiting", 1, 1);
  rig_well(&r, rig_score(&r, 2));
  assert_true(r.out[0] == 1 && isnan(r.out[1]));
  rig_free(&r);
}

static void out_has_n_places(void **state)
{
  static const char *const bad[] = {"out[0] = 1", "out[4] = 1", "out.x = 1", "out['1'] = 1", "out[1.5] = 1"};
  char text[200];
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    snprintf(text, sizeof text, "return { score = function(out, n) out[n] = 1 %s end }", bad[i]);
    rig_make(&r, text);
    rig_ill(&r, rig_score(&r, 3), LLMD_E_TYPE, "out has the places 1 to 3");
    rig_free(&r);
  }
}

/* ---- what functions are given ----------------------------------------------------------------------------------- */

static void cells_beyond_n_are_gone(void **state)
{
  (void)state;
  rig_make(&r, "return { reads = {'waiting', zone = 'label:zone'}, score = function(req, cols, eps, out, n)\n"
               "  assert(cols.n == n and #eps == n and #cols.waiting == n and #cols.zone == n and req.n == n)\n"
               "  assert(eps[n + 1] == nil and cols.waiting[n + 1] == nil and cols.zone[n + 1] == nil)\n"
               "  for i = 1, n do out[i] = eps[i].waiting assert(eps[i].waiting == cols.waiting[i]) end end }");
  for (uint32_t i = 0; i < RIG_ROWS; i++)
    rig_set(&r, "waiting", i, i);
  for (uint32_t n = RIG_ROWS; n; n--)
    rig_well(&r, rig_score(&r, n * 17 % (RIG_ROWS + 1)));
  rig_free(&r);
}

static void texts_follow_their_ids(void **state)
{
  static const char text[] =
    "return { reads = {'name', zone = 'label:zone'}, score = function(cols, eps, out)\n"
    "  for i = 1, cols.n do local same = eps[i].zone == cols.zone[i] and eps[i].name == cols.name[i]\n"
    "    local zone = cols.zone[i]\n"
    "    out[i] = same and (zone == '' and 0 or zone == 'eu' and 1 or zone == 'us' and 2) or 9 end end }";
  (void)state;
  rig_make(&r, text);
  r.text[1] = "eu";
  r.text[2] = "us";
  rig_set_id(&r, "zone", 0, 1);
  rig_set_id(&r, "zone", 1, 2);
  rig_set_id(&r, "zone", 3, 2);
  rig_well(&r, rig_score(&r, 4));
  assert_true(r.out[0] == 1 && r.out[1] == 2 && r.out[2] == 0 && r.out[3] == 2);
  rig_set_id(&r, "zone", 0, 2);
  rig_well(&r, rig_score(&r, 4));
  assert_true(r.out[0] == 2);
  r.text[2] = "eu"; /* the text was dropped, and its id names another one */
  rig_well(&r, rig_score(&r, 4));
  assert_true(r.out[0] == 1 && r.out[1] == 1 && r.out[2] == 0 && r.out[3] == 1);
  rig_free(&r);
}

static void texts_as_arguments(void **state)
{
  (void)state;
  rig_make(&r, "return { reads = {'header:x-zone', zone = 'label:zone'}, score = function(p, zone, req, waiting, n)\n"
               "  return zone == req.headers['x-zone'] and waiting / n or 0 end }");
  r.text[1] = "eu";
  r.text[2] = "us";
  for (uint32_t i = 0; i < 4; i++) {
    rig_set(&r, "waiting", i, i + 1);
    rig_set_id(&r, "zone", i, i % 3);
  }
  rig_header(&r, "x-zone", "eu");
  rig_well(&r, rig_score(&r, 4));
  assert_true(r.out[0] == 0 && r.out[1] == 0.5 && r.out[2] == 0 && r.out[3] == 0);
  rig_header(&r, "x-zone", "");
  rig_well(&r, rig_score(&r, 4));
  assert_true(r.out[0] == 0.25 && r.out[1] == 0 && r.out[2] == 0 && r.out[3] == 1);
  rig_free(&r);
}

static void the_request(void **state)
{
  (void)state;
  rig_make(&r, "return { reads = {'header:x-canary', 'header:x-other', 'prompt'}, decide = function(req, cols)\n"
               "  assert(req.model == 'qwen' and req.tenant == 'blue' and req.session == '' and req.n == 1)\n"
               "  assert(req.tokens == 100 and req.bytes == 400 and req.priority == -3)\n"
               "  assert(req.max_tokens == nil and req.slo_ttft_ms == 250 and req.slo_tpot_ms == nil)\n"
               "  assert(req.stream == true and req.multimodal == false and req.truncated == true)\n"
               "  assert(req.real_tokens == false and req.now == 5.0 and req.wall == 1600000000.5)\n"
               "  assert(req.headers['x-canary'] == '1' and req.headers['x-other'] == nil)\n"
               "  return req.prompt == 'Once' end }");
  r.view.model.ptr = "qwen";
  r.view.model.len = 4;
  r.view.tenant.ptr = "blue";
  r.view.tenant.len = 4;
  r.view.tokens = 100;
  r.view.bytes = 400;
  r.view.priority = -3;
  r.view.slo_ttft_ms = 250;
  r.view.flags = LLMD_VIEW_STREAM | LLMD_VIEW_TRUNCATED;
  rig_header(&r, "x-canary", "1");
  rig_header(&r, "prompt", "Once");
  r.b.n = 1;
  rig_well(&r, r.d->decide(r.self, &r.b));
  assert_int_equal(r.d->decide(r.self, &r.b), 1);
  rig_header(&r, "prompt", NULL);
  assert_int_equal(r.d->decide(r.self, &r.b), 0);
  r.view.slo_ttft_ms = UNKNOWN;
  rig_ill(&r, r.d->decide(r.self, &r.b), LLMD_E_PLUGIN, "assertion");
  rig_free(&r);
}

/* Fields change one by one, and back, and to nothing: what is shown is always the last word. */
static void the_request_follows_every_change(void **state)
{
  static const char *const name[] = {"a", "", "bb", "b", NULL};
  static const double count[] = {0, 1, UNKNOWN, 1.5, 4096};
  static char text[] =
    "local function s(x) return x == nil and 'nil' or tostring(x) end\n"
    "return { reads = {'header:x-a', 'prompt'}, store = 1, commit = function(req)\n"
    "  llmd.store.put(table.concat({s(req.model), s(req.tenant), s(req.headers['x-a']), s(req.prompt), s(req.tokens),\n"
    "    s(req.max_tokens), s(req.bytes), s(req.stream), s(req.now), s(req.n)}, '|'), 1) end }";
  static const char *const tokens[] = {"0", "1", "nil", "1.5", "4096"};
  (void)state;
  rig_make(&r, text);
  for (uint32_t turn = 0; turn < 500; turn++) {
    llmd_commit_info commit = {.size = sizeof commit, .batch = &r.b};
    uint32_t m = turn * 7 % 5, t = turn / 5 % 5, h = turn / 3 % 5, k = turn / 2 % 5;
    char must[128];
    r.view.model.ptr = name[m];
    r.view.model.len = name[m] ? strlen(name[m]) : 0;
    r.view.tenant.ptr = name[t];
    r.view.tenant.len = name[t] ? strlen(name[t]) : 0;
    rig_header(&r, "x-a", name[h]);
    rig_header(&r, "prompt", name[k]);
    r.view.tokens = count[k];
    r.view.max_tokens = count[h];
    r.view.bytes = turn % 3;
    r.view.flags = turn % 2 ? LLMD_VIEW_STREAM : 0;
    r.b.now = (uint64_t)(turn / 4) * 1000000000;
    r.b.n = 1 + turn % 4;
    rig_well(&r, r.d->commit(r.self, NULL, &commit));
    snprintf(must, sizeof must, "%s|%s|%s|%s|%s|%s|%u|%s|%u.0|%u", name[m] ? name[m] : "", name[t] ? name[t] : "",
             name[h] ? name[h] : "nil", name[k] ? name[k] : "nil", tokens[k], tokens[h], turn % 3,
             turn % 2 ? "true" : "false", turn / 4, 1 + turn % 4);
    assert_string_equal(r.put_name, must);
  }
  rig_free(&r);
}

static void headers_come_and_go(void **state)
{
  (void)state;
  rig_make(&r, "return { reads = {'header:x-a', 'header:x-b'}, score = function(req, out)\n"
               "  local a, b = req.headers['x-a'], req.headers['x-b']\n"
               "  out[1] = a and #a or 0 out[2] = b and 1 or 0 end }");
  rig_well(&r, rig_score(&r, 2));
  assert_true(r.out[0] == 0 && r.out[1] == 0);
  rig_header(&r, "x-a", "abc");
  rig_well(&r, rig_score(&r, 2));
  assert_true(r.out[0] == 3 && r.out[1] == 0);
  rig_header(&r, "x-a", NULL);
  rig_header(&r, "x-b", "");
  rig_well(&r, rig_score(&r, 2));
  assert_true(r.out[0] == 0 && r.out[1] == 1);
  rig_free(&r);
}

static void chance_comes_from_the_seed(void **state)
{
  double first;
  (void)state;
  rig_make(&r, "return { score = function(out) out[1] = llmd.random() out[2] = llmd.random() end }");
  rig_well(&r, rig_score(&r, 2));
  first = r.out[0];
  assert_true(r.out[0] != r.out[1]);
  rig_well(&r, rig_score(&r, 2));
  assert_true(r.out[0] == first);
  r.b.seed++;
  rig_well(&r, rig_score(&r, 2));
  assert_true(r.out[0] != first);
  rig_free(&r);
}

/* ---- filter ----------------------------------------------------------------------------------------------------- */

static void filters(void **state)
{
  (void)state;
  rig_make(&r, "return { reads = {'waiting'}, filter = function(cols, keep)\n"
               "  for i = 1, cols.n do assert(keep[i] == true) keep[i] = cols.waiting[i] < 2 end end }");
  for (uint32_t i = 0; i < RIG_ROWS; i++)
    rig_set(&r, "waiting", i, i);
  for (int turn = 0; turn < 3; turn++) {
    assert_int_equal(rig_filter(&r, 4), 0);
    assert_memory_equal(r.keep, "\1\1\0\0\1", 5);
  }
  assert_int_equal(rig_filter(&r, 0), 0);
  rig_free(&r);
  rig_make(&r, "return { filter = function(waiting) return waiting < 2 end }");
  rig_set(&r, "waiting", 1, 2);
  assert_int_equal(rig_filter(&r, 3), 0);
  assert_memory_equal(r.keep, "\1\0\1", 3);
  rig_free(&r);
}

static void filters_may_order(void **state)
{
  (void)state;
  rig_make(&r, "return { filter = function(n) return n > 0 end }");
  assert_int_equal(rig_filter(&r, 2), 0);
  rig_free(&r);
  rig_make(&r, "return { filter = function(eps) if #eps == 2 then return {2, 1} end end }");
  assert_int_equal(rig_filter(&r, 2), 2);
  assert_int_equal(r.order[0], 1);
  assert_int_equal(rig_filter(&r, 3), 0);
  assert_memory_equal(r.keep, "\1\1\1", 3);
  rig_free(&r);
  rig_make(&r, "return { filter = function(keep, req) if req.priority == 1 then keep[2] = false return {3, 1} end\n"
               "  if req.priority == 2 then return {2} end if req.priority == 3 then return {} end return nil end }");
  r.view.priority = 1;
  assert_int_equal(rig_filter(&r, 3), 2);
  assert_memory_equal(r.keep, "\1\0\1", 3);
  assert_true(r.order[0] == 2 && r.order[1] == 0);
  r.view.priority = 2;
  assert_int_equal(rig_filter(&r, 3), 1);
  assert_memory_equal(r.keep, "\0\1\0", 3);
  r.view.priority = 3;
  assert_int_equal(rig_filter(&r, 3), 0);
  assert_memory_equal(r.keep, "\0\0\0", 3);
  r.view.priority = 0;
  assert_int_equal(rig_filter(&r, 3), 0);
  assert_memory_equal(r.keep, "\1\1\1", 3);
  rig_free(&r);
}

static void filters_that_cannot_be(void **state)
{
  static const char *const bad[][2] = {
    {"keep[2] = 0", "filter of endpoint 2 is number, not true or false"}, {"keep[1] = nil", "endpoint 1 is nil"},
    {"keep[4] = true", "keep has the places 1 to 3"}, {"return 1", "number"}, {"return {1, 1}", "endpoint 1 twice"},
    {"return {0}", "index of 1 to 3"}, {"return {4}", "index of 1 to 3"}, {"return {1, 'x'}", "string"},
    {"keep[2] = false return {2}", "endpoint 2, which it has dropped"}, {"return {1, 2, 3, 1}", "more endpoints"}};
  char text[200];
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    snprintf(text, sizeof text, "return { filter = function(keep) %s end }", bad[i][0]);
    rig_make(&r, text);
    rig_ill(&r, rig_filter(&r, 3), LLMD_E_TYPE, bad[i][1]);
    rig_free(&r);
  }
  rig_make(&r, "return { filter = function(waiting) end }");
  rig_ill(&r, rig_filter(&r, 3), LLMD_E_TYPE, "filter of endpoint 1 is nil");
  rig_free(&r);
}

/* ---- pick, decide ----------------------------------------------------------------------------------------------- */

static void picks(void **state)
{
  (void)state;
  rig_make(&r, "return { pick = function(total, req, n) if req.priority == 1 then return {3.0, 1, 2} end\n"
               "  if req.priority == 2 then return {} end assert(#total == n) return llmd.argmax(total) end }");
  r.total[1] = 0.5;
  assert_int_equal(rig_pick(&r, 3, 8), 1);
  assert_int_equal(r.pick[0], 1);
  r.view.priority = 1;
  assert_int_equal(rig_pick(&r, 3, 8), 3);
  assert_true(r.pick[0] == 2 && r.pick[1] == 0 && r.pick[2] == 1);
  r.pick[2] = 99;
  assert_int_equal(rig_pick(&r, 3, 2), 2);
  assert_int_equal(r.pick[2], 99);
  r.view.priority = 2;
  assert_int_equal(rig_pick(&r, 3, 2), 0);
  rig_free(&r);
}

static void picks_that_cannot_be(void **state)
{
  static const char *const bad[][2] = {{"nil", "pick gave nil"}, {"0", "not an index of 1 to 3"}, {"4", "1 to 3"},
                                       {"1.5", "index"}, {"'1'", "string"}, {"{2, 2}", "pick gave endpoint 2 twice"},
                                       {"{1, {}}", "table"}, {"{1, 2, 3, 1}", "more endpoints"}, {"-1", "index"},
                                       {"true", "boolean"}};
  char text[200];
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    snprintf(text, sizeof text, "return { pick = function(total) return %s end }", bad[i][0]);
    rig_make(&r, text);
    rig_ill(&r, rig_pick(&r, 3, 8), LLMD_E_TYPE, bad[i][1]);
    rig_free(&r);
  }
}

static void decides(void **state)
{
  (void)state;
  rig_make(&r, "return { decide = function(waiting) return waiting > 2 end }");
  r.b.n = 1;
  assert_int_equal(r.d->decide(r.self, &r.b), 0);
  rig_set(&r, "waiting", 0, 3);
  assert_int_equal(r.d->decide(r.self, &r.b), 1);
  r.b.n = 0; /* nobody to be asked about */
  assert_int_equal(r.d->decide(r.self, &r.b), 0);
  rig_free(&r);
  rig_make(&r, "return { decide = function(cols) if cols.n == 0 then return true end return 1 end }");
  r.b.n = 0;
  assert_int_equal(r.d->decide(r.self, &r.b), 1);
  r.b.n = 1;
  rig_ill(&r, r.d->decide(r.self, &r.b), LLMD_E_TYPE, "decide gave a number");
  rig_free(&r);
}

/* ---- producers -------------------------------------------------------------------------------------------------- */

static void produces(void **state)
{
  (void)state;
  rig_make(&r, "return { reads = {'waiting'}, writes = {'Half', 'Twice'}, produce = function(cols, out)\n"
               "  for i = 1, cols.n do assert(out.Half[i] ~= out.Half[i]) out.Half[i] = cols.waiting[i] / 2\n"
               "    if i > 1 then out.Twice[i] = cols.waiting[i] * 2 end end end }");
  for (uint32_t i = 0; i < RIG_ROWS; i++)
    rig_set(&r, "waiting", i, i);
  for (uint32_t n = 0; n < 5; n += 2) {
    rig_well(&r, rig_produce(&r, n));
    for (uint32_t i = 0; i < n; i++) {
      assert_true(r.wrote[0][i] == i / 2.0);
      assert_true(i ? r.wrote[1][i] == i * 2.0 : isnan(r.wrote[1][0]));
    }
  }
  rig_free(&r);
  rig_make(&r, "return { writes = {'Half', 'Twice'}, produce = function(waiting) return waiting / 2,\n"
               "  waiting > 0 and waiting * 2 or nil end }");
  rig_set(&r, "waiting", 1, 3);
  rig_well(&r, rig_produce(&r, 2));
  assert_true(r.wrote[0][1] == 1.5 && r.wrote[1][1] == 6 && r.wrote[0][0] == 0 && isnan(r.wrote[1][0]));
  rig_free(&r);
}

static void produces_that_cannot_be(void **state)
{
  static const char *const bad[][2] = {{"out.X[1] = 'x'", "of endpoint 1 is string"}, {"out.X[9] = 1", "places"},
                                       {"out.X[1] = 1 / 0", "infinite"}};
  char text[200];
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    snprintf(text, sizeof text, "return { writes = {'X'}, produce = function(out) %s end }", bad[i][0]);
    rig_make(&r, text);
    rig_ill(&r, rig_produce(&r, 2), LLMD_E_TYPE, bad[i][1]);
    rig_free(&r);
  }
  rig_make(&r, "return { writes = {'X'}, produce = function(out) out.Y = {} end }");
  rig_ill(&r, rig_produce(&r, 2), LLMD_E_PLUGIN, "out is read-only and has no 'Y'");
  rig_free(&r);
}

static void learns_from_what_happened(void **state)
{
  const llmd_report_info report = {.size = sizeof report, .kind = LLMD_REPORT_DONE, .ticket = 5, .endpoint = 9,
                                   .now = 6000000000, .prompt_tokens = UNKNOWN, .output_tokens = 12,
                                   .cached_tokens = UNKNOWN};
  llmd_report_info told;
  llmd_commit_info commit = {.size = sizeof commit, .primary = 1, .batch = &r.b};
  (void)state;
  rig_make(&r, "return { store = 10, commit = function(req, target) llmd.store.put(req.tenant, target) end,\n"
               "  report = function(kind, target, usage) assert(usage.prompt_tokens == nil and kind == 'done')\n"
               "    llmd.store.put('last', target + usage.output_tokens) end,\n"
               "  score = function(out) out[1] = llmd.store.get('last') or 0 if out[1] == 0 then\n"
               "    llmd.store.put('x', 1) end end }");
  r.view.tenant.ptr = "blue";
  r.view.tenant.len = 4;
  r.b.n = 2;
  rig_well(&r, r.d->commit(r.self, NULL, &commit));
  assert_string_equal(r.put_name, "blue");
  told = report;
  told.own = r.own;
  assert_int_equal(rig_score(&r, 1), LLMD_E_PLUGIN); /* only commit and report may write */
  rig_well(&r, r.d->report(r.self, NULL, &told));
  assert_string_equal(r.put_name, "last");
  assert_int_equal(r.puts, 2);
  rig_well(&r, rig_score(&r, 1));
  assert_true(r.out[0] == 21);
  rig_free(&r);
}

/* No explanation of a decision shows it: the log says it each time. */
static void learning_that_fails_is_told(void **state)
{
  llmd_report_info report = {.size = sizeof report, .kind = LLMD_REPORT_DONE};
  llmd_commit_info commit = {.size = sizeof commit, .primary = 1, .batch = &r.b};
  (void)state;
  rig_make(&r, "return { store = 10,\ncommit = function(req) llmd.store.put(req.sesion, 1) end,\n"
               "report = function() llmd.store.putt('a', 1) end,\nscore = function() error('seen') end }");
  r.b.n = 1;
  assert_int_equal(rig_score(&r, 1), LLMD_E_PLUGIN);
  assert_int_equal(r.logs, 0);
  assert_int_equal(r.d->commit(r.self, NULL, &commit), LLMD_E_PLUGIN);
  assert_int_equal(r.logs, 1);
  assert_string_equal(r.log, "commit failed: rig:2: req has no 'sesion': did you mean session?");
  report.own = r.own;
  r.logs = 0;
  assert_int_equal(r.d->report(r.self, NULL, &report), LLMD_E_PLUGIN);
  assert_int_equal(r.logs, 1);
  assert_string_equal(r.log, "report failed: rig:3: attempt to call a nil value (field 'putt')");
  rig_free(&r);
}

/* ---- profile handlers ------------------------------------------------------------------------------------------- */

static llmd_str profile[3] = {{"prefill", 7}, {"decode", 6}, {"third", 5}};
static llmd_run run[3];

static llmd_stages stages_of(uint32_t turn)
{
  llmd_stages s = {.size = sizeof s, .n = 3, .name = profile, .run = run, .value = r.value, .request = &r.view,
                   .turn = turn, .own = r.own, .seed = 3, .now = 5000000000};
  return s;
}

static int next_at(uint32_t turn, uint64_t *bits)
{
  llmd_stages s = stages_of(turn);
  llmd_next next = {sizeof next, LLMD_NO_INDEX, LLMD_NO_INDEX, LLMD_NO_INDEX, 0};
  int rc = r.d->next(r.self, &s, &next);
  *bits = next.run;
  assert_int_equal(next.ask, LLMD_NO_INDEX);
  return rc;
}

static int finish(uint32_t *primary)
{
  llmd_stages s = stages_of(2);
  llmd_outcome o = {.size = sizeof o, .primary = LLMD_NO_INDEX};
  int rc = r.d->finish(r.self, &s, &o);
  *primary = o.primary;
  return rc;
}

static void handles_profiles(void **state)
{
  uint64_t bits;
  uint32_t primary;
  (void)state;
  memset(run, 0, sizeof run);
  rig_make(&r, "return { profiles = function(req, runs, turn)\n"
               "    if turn == 0 then return 'decode' end if turn == 1 and runs.decode.ok then\n"
               "    assert(runs.decode.n == 2 and not runs.prefill.ran) return {'prefill', 'third'} end end,\n"
               "  primary = function(runs) if runs.decode.ok then return 'decode' end end }");
  rig_well(&r, next_at(0, &bits));
  assert_int_equal(bits, 2);
  run[1].state = LLMD_RUN_OK;
  run[1].n = 2;
  rig_well(&r, next_at(1, &bits));
  assert_int_equal(bits, 5);
  rig_well(&r, next_at(2, &bits));
  assert_int_equal(bits, 0);
  assert_int_equal(finish(&primary), 0);
  assert_int_equal(primary, 1);
  run[1].state = LLMD_RUN_FAILED;
  assert_int_equal(finish(&primary), LLMD_E_NONE);
  assert_int_equal(((llmd__lua_own *)r.own)->strikes[0].n, 0); /* that is an answer */
  rig_free(&r);
}

static void halves_of_a_handler(void **state)
{
  uint64_t bits;
  uint32_t primary;
  (void)state;
  memset(run, 0, sizeof run);
  rig_make(&r, "return { primary = function(runs) return 'third' end }");
  rig_well(&r, next_at(0, &bits));
  assert_int_equal(bits, 7);
  rig_well(&r, next_at(1, &bits));
  assert_int_equal(bits, 0);
  assert_int_equal(finish(&primary), 0);
  assert_int_equal(primary, 2);
  rig_free(&r);
  rig_make(&r, "return { profiles = function(turn) if turn == 0 then return {} end return 5 end }");
  rig_well(&r, next_at(0, &bits));
  assert_int_equal(bits, 0);
  assert_int_equal(finish(&primary), LLMD_E_NONE);
  run[0].state = run[1].state = LLMD_RUN_OK;
  assert_int_equal(finish(&primary), 0);
  assert_int_equal(primary, 1);
  rig_ill(&r, next_at(1, &bits), LLMD_E_TYPE, "profiles gave a number");
  rig_free(&r);
}

static void profiles_that_are_not_there(void **state)
{
  uint64_t bits;
  uint32_t primary;
  (void)state;
  rig_make(&r, "return { profiles = function(turn) if turn == 0 then return 'decoder' end return {'third', 'x'} end,\n"
               "  primary = function(runs) return 'nobody' end }");
  rig_ill(&r, next_at(0, &bits), LLMD_E_TYPE, "\"decoder\": there is no such profile");
  rig_ill(&r, next_at(1, &bits), LLMD_E_TYPE, "\"x\"");
  assert_int_equal(bits, 0);
  rig_ill(&r, finish(&primary), LLMD_E_TYPE, "nobody");
  assert_int_equal(primary, LLMD_NO_INDEX);
  rig_free(&r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_form_scores_alike),
    cmocka_unit_test(no_endpoints_and_all_of_them),
    cmocka_unit_test(a_score_may_be_missing),
    cmocka_unit_test(out_begins_unknown_each_time),
    cmocka_unit_test(scores_that_cannot_be),
    cmocka_unit_test(integers_and_unknown_are_scores),
    cmocka_unit_test(out_has_n_places),
    cmocka_unit_test(cells_beyond_n_are_gone),
    cmocka_unit_test(texts_follow_their_ids),
    cmocka_unit_test(texts_as_arguments),
    cmocka_unit_test(the_request),
    cmocka_unit_test(the_request_follows_every_change),
    cmocka_unit_test(headers_come_and_go),
    cmocka_unit_test(chance_comes_from_the_seed),
    cmocka_unit_test(filters),
    cmocka_unit_test(filters_may_order),
    cmocka_unit_test(filters_that_cannot_be),
    cmocka_unit_test(picks),
    cmocka_unit_test(picks_that_cannot_be),
    cmocka_unit_test(decides),
    cmocka_unit_test(produces),
    cmocka_unit_test(produces_that_cannot_be),
    cmocka_unit_test(learns_from_what_happened),
    cmocka_unit_test(learning_that_fails_is_told),
    cmocka_unit_test(handles_profiles),
    cmocka_unit_test(halves_of_a_handler),
    cmocka_unit_test(profiles_that_are_not_there),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
