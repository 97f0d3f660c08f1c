/* Limits of a call, what happens after too many failures, and what a replay is spared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "verb_rig.h"

#define SECOND 1000000000u

static rig r;

/* Priority: 1 fails, 2 loops, 3 uses up memory, 4 gives nonsense, 1000 + k works for k thousand turns. */
static const char moody[] =
  "return { score = function(req, out, n)\n"
  "  if req.priority == 1 then error('failed') end\n"
  "  while req.priority == 2 do end\n"
  "  if req.priority == 3 then local t = {} for i = 1, 1e9 do t[i] = {i} end end\n"
  "  local x = 0 if req.priority > 1000 then for i = 1, (req.priority - 1000) * 1000 do x = x + i end end\n"
  "  for i = 1, n do out[i] = i end if req.priority == 4 then out[1] = 'x' end end }";

static int at(int32_t mood, uint64_t second)
{
  r.view.priority = mood;
  r.b.now = second * SECOND;
  return rig_score(&r, 4);
}

static void each_failure_has_its_code(void **state)
{
  (void)state;
  rig_make(&r, moody);
  rig_ill(&r, at(1, 0), LLMD_E_PLUGIN, "failed");
  rig_ill(&r, at(2, 100), LLMD_E_LIMIT, "more than 101200 instructions");
  rig_ill(&r, at(4, 200), LLMD_E_TYPE, "endpoint 1");
  rig_ill(&r, at(3, 300), LLMD_E_NOMEM, "memory");
  assert_int_equal(at(0, 400), 0);
  assert_true(r.out[3] == 4);
  rig_free(&r);
}

static void time_is_looked_at(void **state)
{
  (void)state;
  rig_make(&r, moody);
  r.self->time = 2000000;
  r.self->instructions = 1000000000;
  r.tick = 50000;
  rig_ill(&r, at(2, 0), LLMD_E_TIMEOUT, "2000 us");
  r.tick = 1;
  assert_int_equal(at(1050, 1), 0);
  r.self->time = 0; /* no limit */
  r.self->instructions = 200000;
  r.tick = 1000000000;
  assert_int_equal(at(1020, 2), 0);
  rig_free(&r);
}

static void three_failures_in_a_minute(void **state)
{
  (void)state;
  rig_make(&r, moody);
  assert_int_equal(at(1, 100), LLMD_E_PLUGIN);
  assert_int_equal(at(0, 120), 0); /* in between it does well */
  assert_int_equal(at(2, 130), LLMD_E_LIMIT);
  assert_int_equal(r.logs, 0);
  assert_int_equal(at(1, 160), LLMD_E_PLUGIN);
  assert_int_equal(r.logs, 1);
  assert_string_equal(r.log, "left out for 30 s after failing three times, last: rig:2: failed");
  rig_ill(&r, at(0, 160), LLMD_E_BYPASSED, "failed");
  assert_int_equal(at(0, 189), LLMD_E_BYPASSED);
  assert_int_equal(r.logs, 1);
  assert_int_equal(at(0, 190), 0);
  assert_int_equal(at(1, 191), LLMD_E_PLUGIN); /* counted from the start again */
  assert_int_equal(at(1, 192), LLMD_E_PLUGIN);
  assert_int_equal(at(0, 193), 0);
  assert_int_equal(at(1, 194), LLMD_E_PLUGIN);
  assert_int_equal(at(0, 195), LLMD_E_BYPASSED);
  assert_int_equal(at(0, 100), 0); /* a record from before all that */
  assert_int_equal(r.logs, 2);
  rig_free(&r);
}

/* The clock goes on by a second from one look to the next: somebody else has the machine. */
static void a_busy_machine_is_no_failure(void **state)
{
  (void)state;
  rig_make(&r, moody);
  r.self->time = 2000000;
  r.tick = SECOND;
  for (uint64_t s = 0; s < 9; s++)
    assert_int_equal(at(1001, s), LLMD_E_TIMEOUT);
  assert_int_equal(((llmd__lua_own *)r.own)->strikes[0].n, 0);
  r.tick = 5000; /* two milliseconds are 40,000 instructions */
  assert_int_equal(at(2, 10), LLMD_E_TIMEOUT);
  assert_int_equal(((llmd__lua_own *)r.own)->strikes[0].n, 1);
  rig_free(&r);
}

static void failures_far_apart(void **state)
{
  (void)state;
  rig_make(&r, moody);
  for (uint64_t s = 100; s < 1000; s += 31)
    assert_int_equal(at(1, s), LLMD_E_PLUGIN);
  assert_int_equal(at(0, 1000), 0);
  assert_int_equal(r.logs, 0);
  rig_free(&r);
}

static void no_bypass_when_it_is_zero(void **state)
{
  (void)state;
  rig_make(&r, moody);
  r.self->bypass = 0;
  for (uint64_t s = 0; s < 9; s++)
    assert_int_equal(at(1, s), LLMD_E_PLUGIN);
  assert_int_equal(at(0, 9), 0);
  assert_int_equal(r.logs, 0);
  rig_free(&r);
}

static void all_verbs_are_left_out(void **state)
{
  llmd_report_info told = {.size = sizeof told, .kind = LLMD_REPORT_DONE, .now = 4 * (uint64_t)SECOND};
  (void)state;
  rig_make(&r, "return { score = function(out) error('no') end, filter = function(keep) end,\n"
               "  report = function(kind) llmd.store.put('k', 1) end, store = 1 }");
  told.own = r.own;
  for (uint64_t s = 1; s < 4; s++)
    assert_int_equal(at(0, s), LLMD_E_PLUGIN);
  r.b.now = 4 * (uint64_t)SECOND;
  assert_int_equal(rig_filter(&r, 3), LLMD_E_BYPASSED);
  rig_well(&r, r.d->report(r.self, NULL, &told)); /* that is counted apart */
  r.b.now = 33 * (uint64_t)SECOND;
  assert_int_equal(rig_filter(&r, 3), 0);
  rig_free(&r);
}

/* A report that fails is left out, and the policy goes on deciding. */
static void reports_are_left_out_alone(void **state)
{
  llmd_report_info told = {.size = sizeof told, .kind = LLMD_REPORT_DONE};
  (void)state;
  rig_make(&r, "return { score = function(out) end, report = function(kind) error('no') end }");
  told.own = r.own;
  for (uint64_t s = 1; s < 4; s++) {
    told.now = s * (uint64_t)SECOND;
    assert_int_equal(r.d->report(r.self, NULL, &told), LLMD_E_PLUGIN);
  }
  assert_int_equal(r.d->report(r.self, NULL, &told), LLMD_E_BYPASSED);
  assert_non_null(strstr(r.log, "commit and report left out for 30 s after failing three times"));
  assert_int_equal(at(0, 4), 0);
  rig_free(&r);
}

/* A replay is neither left out nor does it count, has ten times the instructions, and all the time it wants. */
static void a_replay_is_spared(void **state)
{
  (void)state;
  rig_make(&r, moody);
  r.self->time = 1000000;
  for (uint64_t s = 0; s < 3; s++)
    assert_int_equal(at(1, s), LLMD_E_PLUGIN);
  assert_int_equal(at(0, 3), LLMD_E_BYPASSED);
  r.b.flags = LLMD_BATCH_REPLAY;
  assert_int_equal(at(0, 3), 0);
  r.tick = 1000000000;
  assert_int_equal(at(1100, 3), 0); /* 400,000 instructions and hundreds of seconds */
  rig_ill(&r, at(2, 3), LLMD_E_LIMIT, "more than 1012000 instructions");
  r.b.flags = LLMD_BATCH_REPLAY | LLMD_BATCH_OTHER; /* nobody has seen it end well yet */
  assert_int_equal(at(0, 3), 0);
  rig_ill(&r, at(1100, 3), LLMD_E_LIMIT, "more than 101200 instructions");
  for (uint64_t s = 100; s < 110; s++)
    assert_int_equal(at(1, s), LLMD_E_PLUGIN);
  r.b.flags = 0;
  r.tick = 0;
  assert_int_equal(at(0, 110), 0);
  assert_int_equal(at(1100, 111), LLMD_E_LIMIT);
  rig_free(&r);
}

static void limits_grow_with_the_endpoints(void **state)
{
  (void)state;
  rig_make(&r, "return { score = function(waiting) while true do end end }");
  rig_ill(&r, rig_score(&r, 10), LLMD_E_LIMIT, "more than 103000 instructions");
  rig_ill(&r, rig_score(&r, 40), LLMD_E_LIMIT, "more than 112000 instructions");
  r.self->instructions = 5000;
  rig_ill(&r, rig_score(&r, 40), LLMD_E_LIMIT, "more than 5000 instructions");
  rig_free(&r);
}

/* Out of memory: the state is made anew in the memory that it has, and the next decision is as good as ever. */
static void made_anew_after_it_ran_out_of_memory(void **state)
{
  uint64_t before;
  (void)state;
  rig_make(&r, moody);
  r.self->instructions = 10000000;
  before = r.allocations;
  for (uint64_t s = 0; s < 5; s++) {
    assert_int_equal(at(3, s * 100), LLMD_E_NOMEM);
    assert_int_equal(((llmd__lua_own *)r.own)->rebuild, 1);
    assert_int_equal(at(0, s * 100 + 1), 0);
    assert_true(r.out[0] == 1 && r.out[3] == 4);
    assert_int_equal(((llmd__lua_own *)r.own)->rebuild, 0);
  }
  assert_int_equal(r.allocations, before);
  rig_free(&r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(each_failure_has_its_code),
    cmocka_unit_test(time_is_looked_at),
    cmocka_unit_test(three_failures_in_a_minute),
    cmocka_unit_test(a_busy_machine_is_no_failure),
    cmocka_unit_test(failures_far_apart),
    cmocka_unit_test(no_bypass_when_it_is_zero),
    cmocka_unit_test(all_verbs_are_left_out), cmocka_unit_test(reports_are_left_out_alone),
    cmocka_unit_test(a_replay_is_spared),
    cmocka_unit_test(limits_grow_with_the_endpoints),
    cmocka_unit_test(made_anew_after_it_ran_out_of_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
