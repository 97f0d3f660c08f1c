/* Nothing that a function does to what it is given lasts: after each evil call the next one sees what a fresh state
 * would show, to the bit, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "verb_rig.h"

static rig r;

/* With priority 1 it is evil; else it looks at everything there is. */
static const char before[] =
  "local function fields(t) local n = 0 for k, v in pairs(t) do n = n + 1 end return n end\n"
  "local function look(req, cols, eps, out, n)\n"
  "  assert(fields(cols) == 4 and cols.n == n and fields(cols.waiting) == n and #cols.waiting == n, 'cols')\n"
  "  assert(fields(cols.running) == n and fields(cols.zone) == n and fields(eps) == n and #eps == n, 'columns')\n"
  "  assert(fields(out) == n and fields(req) == 14 and fields(req.headers) == 1, 'out, req')\n"
  "  assert(req.model == 'm' and req.tokens == 5 and req.headers['x-a'] == 'a' and req.now == 5, 'req')\n"
  "  for i = 1, n do local e = eps[i]\n"
  "    assert(cols.waiting[i] == i and cols.running[i] == i / 2 and cols.zone[i] == 'eu', 'cells')\n"
  "    assert(fields(e) == 3 and e.waiting == i and e.running == i / 2 and e.zone == 'eu', 'ep')\n"
  "    assert(out[i] ~= out[i], 'out') end\n"
  "end\n"
  "return { reads = {'waiting', 'running', 'header:x-a', zone = 'label:zone'},\n"
  "  score = function(req, cols, eps, out, n, p)\n"
  "  if req.priority == 1 then\n";
static const char after[] = "\nelse look(req, cols, eps, out, n) end end }";

static void make(const char *evil)
{
  static char text[8192];
  snprintf(text, sizeof text, "%s%s%s", before, evil, after);
  rig_make(&r, text);
  r.text[1] = "eu";
  for (uint32_t i = 0; i < RIG_ROWS; i++) {
    rig_set(&r, "waiting", i, i + 1);
    rig_set(&r, "running", i, (i + 1) / 2.0);
    rig_set_id(&r, "zone", i, 1);
  }
  rig_header(&r, "x-a", "a");
  r.view.model.ptr = "m";
  r.view.model.len = 1;
  r.view.tokens = 5;
}

static int evil(uint32_t n)
{
  r.view.priority = 1;
  return rig_score(&r, n);
}

static void good(const char *script, uint32_t n)
{
  int rc;
  r.view.priority = 0;
  rc = rig_score(&r, n);
  if (rc)
    fail_msg("after %s: %s", script, rig_trouble(&r));
  for (uint32_t i = 0; i < n; i++)
    assert_true(isnan(r.out[i]));
}

/* More endpoints, fewer, none, and again. */
static void torment(const char *script, int rc, const char *trouble)
{
  static const uint32_t next[] = {6, 12, 3, 0, RIG_ROWS, 6};
  make(script);
  good("nothing", 6);
  for (size_t i = 0; i < sizeof next / sizeof *next; i++) {
    ((llmd__lua_own *)r.own)->strikes[0].n = 0;
    if (rc)
      rig_ill(&r, evil(6), rc, trouble);
    else
      rig_well(&r, evil(6));
    good(script, next[i]);
    good(script, 6);
  }
  rig_free(&r);
}

static void what_is_there_may_be_scribbled_on(void **state)
{
  static const char *const scripts[] = {
    "cols.waiting[3] = 99 cols.waiting[1] = 'x' cols.waiting[2] = {} cols.waiting[6] = nil",
    "for i = 1, n do cols.waiting[i] = nil cols.zone[i] = nil end",
    "cols.zone[1] = 'us' cols.zone[2] = 5 cols.zone[3] = false",
    "cols.waiting = cols.running cols.running = nil cols.zone = {'x'}",
    "cols.n = 1e9",
    "cols.n = nil cols.waiting = nil",
    "eps[1] = eps[2] eps[3] = nil eps[4] = 5 eps[6] = {waiting = 1}",
    "for i = 1, n do eps[i] = nil end",
    "eps[1].waiting = 99 eps[2].running = 'x' eps[3].zone = nil eps[4].waiting = {} eps[5].zone = eps",
    "for i = 1, n do eps[i].waiting = nil eps[i].running = nil eps[i].zone = nil end",
    "table.sort(eps, function(a, b) return a.waiting > b.waiting end) assert(eps[1].waiting == 6)",
    "table.sort(cols.waiting, function(a, b) return a > b end) assert(cols.waiting[1] == 6)",
    "table.remove(cols.waiting) table.remove(eps, 1) table.remove(cols.zone, 2)",
    "for k, v in pairs(cols) do cols[k] = nil end",
    "for i = 1, n do out[i] = i out[i] = nil end",
    "cols.waiting[1] = cols eps[1].waiting = eps[1]",
    "table.move(cols.waiting, 1, 3, 2) table.move(eps, 2, 4, 1)"};
  (void)state;
  for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++)
    torment(scripts[i], 0, NULL);
}

static void what_is_not_there_cannot_be_added(void **state)
{
  static const char *const scripts[][2] = {
    {"cols.secret = 1", "cols is read-only and has no 'secret'"},
    {"cols[1] = 1", "cols is read-only"},
    {"cols.waiting[n + 1] = 1", "waiting is read-only"},
    {"cols.waiting[0] = 1", "waiting is read-only"},
    {"cols.waiting.secret = {}", "waiting is read-only and has no 'secret'"},
    {"cols.zone[n + 1] = 'x'", "zone is read-only"},
    {"eps[n + 1] = {}", "eps is read-only"},
    {"eps.secret = 1", "eps is read-only and has no 'secret'"},
    {"eps[1].secret = 1", "an endpoint's table is read-only and has no 'secret'"},
    {"eps[2][1] = 1", "an endpoint's table is read-only"},
    {"req.secret = 1", "'secret' cannot be set: this table is read-only"},
    {"req.model = 'evil'", "'model' cannot be set"},
    {"req.now = nil", "'now' cannot be set"},
    {"req.max_tokens = 5", "'max_tokens' cannot be set"},
    {"req.headers = {}", "'headers' cannot be set"},
    {"req.headers.secret = 'x'", "'secret' cannot be set"},
    {"req.headers['x-a'] = 'b'", "'x-a' cannot be set"},
    {"for k, v in pairs(req) do if k == 'headers' then v.x = 1 end end", "'x' cannot be set"},
    {"table.insert(req, 1)", "read-only"},
    {"table.sort(req.headers)  req.headers[1] = 2", "read-only"},
    {"table.insert(cols.waiting, 7)", "read-only"},
    {"table.insert(eps, {})", "read-only"},
    {"table.move(cols.waiting, 1, 6, 3)", "read-only"}};
  (void)state;
  for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++)
    torment(scripts[i][0], LLMD_E_PLUGIN, scripts[i][1]);
}

static void what_is_not_there_cannot_be_read(void **state)
{
  static const char *const scripts[][2] = {
    {"\nlocal x = cols.waitng", ":16: cols.waitng is not declared in reads: did you mean waiting?"},
    {"return cols.kv_usage[1]", ": cols.kv_usage is not declared in reads"},
    {"return eps[2].zoen", ": ep.zoen is not declared in reads: did you mean zone?"},
    {"for i, ep in ipairs(eps) do local x = ep.name end", ": ep.name is not declared in reads"},
    {"return req.tokns", ": req has no 'tokns': did you mean tokens?"},
    {"return req.x_unlike_any", ": req has no 'x_unlike_any'"},
    {"return req.prompt", ": req.prompt is not declared in reads"},
    {"return req.headers['x-b']", ": req.headers[\"x-b\"] is not declared in reads"},
    {"return p.waiting", ": p.waiting is not declared in params"},
    {"cols.waiting = nil return cols.waiting", ": cols.waiting is not declared in reads"}};
  static const char *const fine[] = {
    "assert(req.slo_ttft_ms == nil and req.slo_tpot_ms == nil and cols[1] == nil and req[1] == nil and p[1] == nil)",
    "assert(eps[n + 1] == nil and cols.waiting[n + 1] == nil and out[n + 1] == nil)",
    "local ok, text = pcall(function() return cols.waitng end) assert(not ok and type(text) == 'string')"};
  (void)state;
  for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++)
    torment(scripts[i][0], LLMD_E_PLUGIN, scripts[i][1]);
  for (size_t i = 0; i < sizeof fine / sizeof *fine; i++)
    torment(fine[i], 0, NULL);
}

/* A header that is declared and not sent is nil, a prompt that is declared, too. */
static void what_may_be_there_is_nil(void **state)
{
  (void)state;
  rig_make(&r, "return { reads = {'header:x-a', 'prompt'}, params = {queue = 1}, score = function(req, out, p)\n"
               "  assert(req.headers['x-a'] == nil and req.prompt == nil and type(p.queue) == 'number')\n"
               "  local ok, text = pcall(function() return p.quue end)\n"
               "  assert(not ok and llmd.find(text, 'p.quue is not declared in params: did you mean queue?')) end }");
  rig_well(&r, rig_score(&r, 3));
  rig_free(&r);
}

static void failures_leave_nothing_behind(void **state)
{
  static const char *const scripts[][2] = {
    {"for i = 1, n do out[i] = i end error('late')", "late"},
    {"for i = 1, n do out[i] = {} end local x = nil + 1", "nil"},
    {"pcall(function() cols.secret = 1 end) pcall(function() eps[1].secret = {} end) out[1] = 1 error('x')", "x"}};
  (void)state;
  for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++)
    torment(scripts[i][0], LLMD_E_PLUGIN, scripts[i][1]);
  torment("for i = 1, n do out[i] = i end out[3] = 'x'", LLMD_E_TYPE, "endpoint 3");
  torment("for i = 1, n do out[i] = i end out[n + 1] = {}", LLMD_E_TYPE, "places");
  torment("for i = 1, n do out[i] = i end table.insert(out, 1)", LLMD_E_TYPE, "places");
  torment("for i = 1, n do out[i] = i end while true do end", LLMD_E_LIMIT, "instructions");
}

/* Stains of one verb are not another's. */
static void each_verb_has_its_own_out(void **state)
{
  (void)state;
  rig_make(&r, "return { writes = {'X'}, score = function(req, out, n)\n"
               "  for i = 1, n do assert(out[i] ~= out[i]) out[i] = 1 end assert(req.priority ~= 1) end,\n"
               "  produce = function(req, out, n) for i = 1, n do assert(out.X[i] ~= out.X[i]) out.X[i] = 2 end\n"
               "    assert(req.priority ~= 1) end,\n"
               "  filter = function(req, keep, n) for i = 1, n do assert(keep[i] == true) keep[i] = false end\n"
               "    assert(req.priority ~= 1) end }");
  for (uint32_t turn = 0; turn < 4; turn++) {
    ((llmd__lua_own *)r.own)->strikes[0].n = 0;
    r.view.priority = 1;
    assert_int_equal(turn & 1 ? rig_score(&r, 5) : rig_produce(&r, 5), LLMD_E_PLUGIN);
    assert_int_equal(rig_filter(&r, 4), LLMD_E_PLUGIN);
    r.view.priority = 0;
    rig_well(&r, turn & 1 ? rig_produce(&r, 7) : rig_score(&r, 7));
    rig_well(&r, turn & 1 ? rig_score(&r, 7) : rig_produce(&r, 7));
    rig_well(&r, rig_filter(&r, 7));
    assert_memory_equal(r.keep, "\0\0\0\0\0\0\0\1", 8);
  }
  rig_free(&r);
}

static void totals_and_keep_do_not_last(void **state)
{
  (void)state;
  rig_make(&r, "return { pick = function(total, n, req)\n"
               "  for i = 1, n do assert(total[i] == i) end assert(#total == n and total[n + 1] == nil)\n"
               "  for i = 1, n do total[i] = nil end if req.priority == 1 then total.x = 1 end return 1 end,\n"
               "  filter = function(keep, n, req) for i = 1, n do assert(keep[i] == true) end assert(#keep == n)\n"
               "    for i = 1, n do keep[i] = i % 2 == 0 end if req.priority == 1 then keep[1] = nil end end }");
  for (uint32_t i = 0; i < RIG_ROWS; i++)
    r.total[i] = i + 1;
  for (uint32_t n = 1; n < 20; n += 3) {
    rig_well(&r, rig_pick(&r, n, 4));
    assert_int_equal(rig_filter(&r, 20 - n), 0);
    assert_int_equal(r.keep[0], 0);
  }
  r.view.priority = 1;
  rig_ill(&r, rig_pick(&r, 4, 4), LLMD_E_PLUGIN, "total is read-only and has no 'x'");
  rig_ill(&r, rig_filter(&r, 4), LLMD_E_TYPE, "endpoint 1 is nil");
  r.view.priority = 0;
  rig_well(&r, rig_pick(&r, 6, 4));
  assert_int_equal(rig_filter(&r, 6), 0);
  rig_free(&r);
}

/* A decision allocates nothing from the host, whatever number of endpoints it has. */
static void deciding_allocates_nothing(void **state)
{
  uint64_t before_it;
  (void)state;
  make("out[1] = 1");
  before_it = r.allocations;
  for (uint32_t n = 0; n <= RIG_ROWS; n++) {
    good("nothing", n);
    rig_well(&r, evil(n ? n : 1));
  }
  assert_int_equal(r.allocations, before_it);
  rig_free(&r);
}

/* Garbage goes: ten thousand decisions do not need more memory than the first hundred. */
static void memory_does_not_grow(void **state)
{
  llmd__lua *s;
  size_t peak;
  (void)state;
  make("local t = {} for i = 1, n do t[i] = {w = cols.waiting[i]} end out[1] = #t");
  s = &((llmd__lua_own *)r.own)->lua;
  for (uint32_t i = 0; i < 1000; i++)
    rig_well(&r, evil(1 + i % RIG_ROWS));
  peak = llmd__lua_peak(s);
  for (uint32_t i = 0; i < 10000; i++)
    rig_well(&r, evil(1 + i % RIG_ROWS));
  assert_true(llmd__lua_peak(s) <= peak + 4096);
  rig_free(&r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_is_there_may_be_scribbled_on),
    cmocka_unit_test(what_is_not_there_cannot_be_added),
    cmocka_unit_test(what_is_not_there_cannot_be_read),
    cmocka_unit_test(what_may_be_there_is_nil),
    cmocka_unit_test(failures_leave_nothing_behind),
    cmocka_unit_test(each_verb_has_its_own_out),
    cmocka_unit_test(totals_and_keep_do_not_last),
    cmocka_unit_test(deciding_allocates_nothing),
    cmocka_unit_test(memory_does_not_grow),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
