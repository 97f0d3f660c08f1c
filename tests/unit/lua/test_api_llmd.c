/* llmd: lists of numbers, chance, hashes, time, the store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "api.h"
#include "api_rig.h"

#define HASHES "-780787492076525413 198367012849983736 -8098234624645773435"
#define PLACES "2 1 1 3 2"

/* ---- numbers ---------------------------------------------------------------------------------------------------- */

static void one_number(void **state)
{
  (void)state;
  api_gives("llmd.known(1), llmd.known(nan), llmd.known(nil), llmd.known(), llmd.known(''), llmd.known('x')",
            "true false false false false true");
  api_gives("llmd.known(false), llmd.known(inf), llmd.known(kinds), llmd.known(llmd.unknown)", "true true true false");
  api_gives("llmd.clamp(5, 0, 10), llmd.clamp(-1, 0, 10), llmd.clamp(11.5, 0, 10), llmd.clamp(0.5, 0, 1)", "5 0 10 0.5");
  api_gives("llmd.clamp(nan, 0, 1), llmd.clamp(inf, 0, 1), llmd.clamp(-inf, 0, 1), llmd.clamp(3, 2, 2)", "nan 1 0 2");
  api_gives("llmd.unknown ~= llmd.unknown, llmd.version", "true 1");
}

static void of_a_list(void **state)
{
  (void)state;
  api_gives("llmd.max({1, 3, 2}), llmd.min({4, 2.5}), llmd.sum({1, 2, 3.5}), llmd.mean({1, 2})", "3.0 2.5 6.5 1.5");
  api_gives("llmd.max({}), llmd.min({}), llmd.sum({}), llmd.mean({})", "nan nan 0.0 nan");
  api_gives("llmd.argmax({1, 3, 3}), llmd.argmin({2, 1, 1}), llmd.argmax({}), llmd.argmin({nan})", "2 2 nil nil");
  api_gives("llmd.max({1, 2, 9}, 2), llmd.argmax({1, 2, 9}, 2), llmd.sum({1, 2, 9}, 0), llmd.argmin({1}, 0)",
            "2.0 2 0.0 nil");
  api_gives("llmd.max(frozen), llmd.argmin(frozen), llmd.sum(frozen, 2), llmd.mean(frozen)", "3.0 2 4.0 2.0");
  api_gives("llmd.max({-inf, -5}), llmd.argmax({-inf}), llmd.max({inf, 1}), llmd.min({-0.5, -inf})", "-5.0 1 inf -inf");
}

/* Who does not tell gains nothing by it. */
static void the_unknown(void **state)
{
  (void)state;
  api_gives("llmd.max({nan, 1, nan}), llmd.min({nan, 1}), llmd.sum({nan, 2}), llmd.mean({nan, 2, 4})", "1.0 1.0 2.0 3.0");
  api_gives("llmd.argmax({nan, 1}), llmd.argmin({nan, 1}), llmd.argmax({nan, nan}), llmd.max({nan})", "2 2 nil nan");
  api_gives("llmd.argmax({nil, 5}, 2), llmd.max({nil, 5}, 3), llmd.mean({nil, 5}, 9)", "2 5.0 5.0");
  api_gives("llmd.normalise({nan, 1, 3}), llmd.lower_is_better({nan, 1, 3})", "{nan 0.0 1.0} {nan 1.0 0.0}");
  api_gives("llmd.softmax({nan, 1, 1})", "{0.0 0.5 0.5}");
  api_gives("llmd.draw({nan, 1, nan}), llmd.draw({nan}), llmd.draw({})", "2 nil nil");
}

static void from_list_to_list(void **state)
{
  (void)state;
  api_gives("llmd.normalise({1, 2, 3}), llmd.normalise({5, 5}), llmd.normalise({7}), llmd.normalise({})",
            "{0.0 0.5 1.0} {1.0 1.0} {1.0} {}");
  api_gives("llmd.lower_is_better({1, 2, 3}), llmd.lower_is_better({5, 5}), llmd.lower_is_better(frozen)",
            "{1.0 0.5 0.0} {1.0 1.0} {0.0 1.0 0.5}");
  api_gives("llmd.normalise({inf, 1, 2, -inf}), llmd.lower_is_better({inf, 1, 2, -inf})",
            "{1.0 0.0 1.0 0.0} {0.0 1.0 0.0 1.0}");
  api_gives("llmd.normalise({inf, inf}), llmd.normalise({-1e308, 1e308, 0.0}), llmd.normalise({nan})",
            "{1.0 1.0} {0.0 1.0 0.5} {nan}");
  api_gives_body("local out = {9, 9, 9, 9} local same = llmd.normalise({1, 2, 3}, out) return show(same == out, out)",
                 "true {0.0 0.5 1.0 9}");
  api_gives_body("local t = {2, 4} llmd.normalise(t, t) llmd.lower_is_better(t, t, 1) return show(t)", "{1.0 1.0}");
  api_gives("llmd.normalise({1, 3, 100}, nil, 2), llmd.lower_is_better({1, 3, 100}, {}, 2)", "{0.0 1.0} {1.0 0.0}");
  api_gives("llmd.softmax({0, 0}), llmd.softmax({1000, 0}), llmd.softmax({-1000, -1000}), llmd.softmax({})",
            "{0.5 0.5} {1.0 0.0} {0.5 0.5} {}");
  api_gives("llmd.softmax({nan, -inf}), llmd.softmax({-inf, 3})", "{0.0 0.0} {0.0 1.0}");
  api_gives_body("local out = {} local w = llmd.softmax({1, 2, 9}, 0.5, out, 2) "
                 "local sum = w[1] + w[2] "
                 "return show(w == out, #w, llmd.clamp(sum, 1 - 1e-15, 1 + 1e-15) == sum, "
                 "w[2] / w[1] - llmd.exp(2) < 1e-12)", "true 2 true true");
  api_gives_body("local s = '' llmd.each({{v = 1}, {v = 2}, {v = 3}}, function(ep, i) s = s .. i .. ep.v .. ' ' end, 2) "
                 "llmd.each(frozen, function(v) s = s .. v end) return s", "11 22 312");
}

/* ---- chance ----------------------------------------------------------------------------------------------------- */

static void chance_comes_from_the_seed(void **state)
{
  rig r;
  char first[256];
  (void)state;
  assert_int_equal(api_run(&r, "return show(llmd.random(), llmd.random(6), llmd.random(1 << 62), llmd.draw({1, 2, 3}), "
                               "llmd.shuffle({1, 2, 3, 4, 5}))"), 0);
  strcpy(first, r.text);
  r.lua.random = 42;
  assert_int_equal(rig_call(&r, "f"), 0);
  assert_string_equal(r.text, first);
  assert_int_equal(rig_call(&r, "f"), 0);
  assert_string_not_equal(r.text, first);
  rig_close(&r);
}

/* Counted over 6,000 draws: each is within what chance does once in a million times. */
static void chances_are_fair(void **state)
{
  (void)state;
  api_gives_body("local c, bad = {0, 0, 0, 0, 0, 0}, 0 for i = 1, 6000 do local k = llmd.random(6) c[k] = c[k] + 1 end "
                 "for i = 1, 6 do if c[i] < 850 or c[i] > 1150 then bad = bad + 1 end end return show(bad)", "0");
  api_gives_body("local c, w = {0, 0, 0, 0}, {1, 0, 3, -1} for i = 1, 4000 do local k = llmd.draw(w) c[k] = c[k] + 1 end "
                 "return show(c[1] > 860 and c[1] < 1140, c[1] + c[3])", "true 4000");
  api_gives_body("local c = 0 for i = 1, 4000 do local u = llmd.random() if u < 0 or u >= 1 then return 'out' end "
                 "c = c + u end return show(c > 1900 and c < 2100)", "true");
  api_gives_body("local c = {0, 0, 0} for i = 1, 3000 do local k = llmd.shuffle({1, 2, 3})[3] c[k] = c[k] + 1 end "
                 "return show(c[1] > 850 and c[2] > 850 and c[3] > 850)", "true");
  api_gives("llmd.random(1), llmd.draw({0, 1e-300, 0}), llmd.draw({1, 1, 1}, 1), #llmd.shuffle({}), llmd.shuffle({7})",
            "1 2 1 0 {7}");
}

/* Three eighths of what 64 bits hold: without rejection the lower half would come up in 9 of 16 draws. */
static void large_ranges_are_fair(void **state)
{
  (void)state;
  api_gives_body("local c, n = 0, (3 << 61) for i = 1, 3000 do if llmd.random(n) <= n // 2 then c = c + 1 end end "
                 "return show(c > 1350 and c < 1650)", "true");
}

/* ---- hashes ----------------------------------------------------------------------------------------------------- */

/* These numbers are in people's splits and in the placement of their sessions. */
static void hashes_are_fixed(void **state)
{
  (void)state;
  api_gives("llmd.hash(''), llmd.hash('a'), llmd.hash('session-1')", HASHES);
  assert_true(llmd__lua_hash_add(LLMD__LUA_HASH_BEGIN, "foobar", 6) == 0x85944171f73967e8u);
  api_gives("llmd.rendezvous('s1', names), llmd.rendezvous('s3', names), llmd.rendezvous('s4', names), "
            "llmd.rendezvous('s5', names), llmd.rendezvous('', names)", PLACES);
}

static void rendezvous_moves_little(void **state)
{
  (void)state;
  api_gives_body("local a, c, moved, to = {}, {0, 0, 0, 0}, 0, 0 for i = 1, 4 do a[i] = 'pod-' .. i end "
                 "for i = 1, 800 do local k = 'session-' .. i local four, three = llmd.rendezvous(k, a), "
                 "llmd.rendezvous(k, a, 3) c[four] = c[four] + 1 if four ~= three then moved = moved + 1 end "
                 "if four == 4 then to = to + 1 end end local even = true "
                 "for i = 1, 4 do even = even and c[i] > 130 and c[i] < 270 end return show(even, moved == to)",
                 "true true");
  api_gives_body("local same = true for i = 1, 100 do local k = 'k' .. i "
                 "local x, y = llmd.rendezvous(k, {'a', 'b', 'c'}), llmd.rendezvous(k, {'c', 'a', 'b'}) "
                 "same = same and ({'a', 'b', 'c'})[x] == ({'c', 'a', 'b'})[y] end return show(same)", "true");
  api_gives("llmd.rendezvous('k', {'', 'b', ''}), llmd.rendezvous('k', {}), llmd.rendezvous('k', {''}), "
            "llmd.rendezvous('k', {nil, 'b'}, 2)", "2 nil nil 2");
}

/* ---- time ------------------------------------------------------------------------------------------------------- */

static void time_on_the_wall(void **state)
{
  (void)state;
  api_gives("llmd.time_of_day(0), llmd.time_of_day(86399.9), llmd.time_of_day(86400), llmd.time_of_day(-1)",
            "0 86399 0 86399");
  api_gives("llmd.time_of_day(3600.5, 90), llmd.time_of_day(0, -60), llmd.time_of_day(1e9)", "9000 82800 6400");
  api_gives("llmd.weekday(0), llmd.weekday(-1), llmd.weekday(4 * 86400), llmd.weekday(3 * 86400 + 86399)", "4 3 1 7");
  api_gives("llmd.weekday(1e9), llmd.weekday(0, -1), llmd.weekday(-86400 * 1000)", "7 3 5");
}

/* ---- the store -------------------------------------------------------------------------------------------------- */

typedef struct fake_store {
  rig_clock clock; /* first: the rig's clock has the same ctx */
  uint64_t value, ttl;
  char key[64];
  int rc, found;
} fake_store;

static void remember(fake_store *f, const char *name, size_t len)
{
  snprintf(f->key, sizeof f->key, "%.*s", (int)len, name);
}

static int fake_get(void *ctx, const char *name, size_t len, uint64_t *value)
{
  fake_store *f = ctx;
  remember(f, name, len);
  if (!f->rc && f->found)
    *value = f->value;
  return f->rc ? f->rc : f->found;
}

static int fake_put(void *ctx, const char *name, size_t len, uint64_t value, uint64_t ttl)
{
  fake_store *f = ctx;
  remember(f, name, len);
  f->value = value;
  f->ttl = ttl;
  f->found = 1;
  return f->rc;
}

static int fake_del(void *ctx, const char *name, size_t len)
{
  fake_store *f = ctx;
  remember(f, name, len);
  f->found = 0;
  return f->rc;
}

/* Runs an expression with that store; the text it gives, or what went wrong. */
static const char *with_store(fake_store *f, uint32_t writing, const char *expression)
{
  static char text[512];
  char body[512];
  rig r;
  snprintf(body, sizeof body, "return {f = function() local v = %s return tostring(v) end}", expression);
  rig_start(&r, body);
  r.host.ctx = f;
  r.host.get = fake_get;
  r.host.put = fake_put;
  r.host.del = fake_del;
  r.lua.writing = writing;
  int rc = rig_call(&r, "f");
  snprintf(text, sizeof text, "%s", rc ? r.lua.trouble : r.text);
  assert_true(rc == 0 || rc == LLMD_E_PLUGIN);
  rig_close(&r);
  return text;
}

static void what_is_stored_comes_back(void **state)
{
  static const char *const values[] = {"0", "-1", "7", "math.maxinteger", "math.mininteger + 2", "true", "false"};
  (void)state;
  for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
    fake_store f = {0};
    char put[128], equal[128];
    snprintf(put, sizeof put, "llmd.store.put('key', %s, 1.5)", values[i]);
    snprintf(equal, sizeof equal, "llmd.store.get('key') == (%s)", values[i]);
    assert_string_equal(with_store(&f, 1, put), "true");
    assert_string_equal(f.key, "key");
    assert_true(f.ttl == 1500000000u);
    assert_string_equal(with_store(&f, 0, equal), "true");
    assert_string_equal(with_store(&f, 1, "llmd.store.del('key')"), "true");
    assert_string_equal(with_store(&f, 0, "llmd.store.get('key')"), "nil");
  }
}

static void times_to_live(void **state)
{
  fake_store f = {0};
  (void)state;
  with_store(&f, 1, "llmd.store.put('k', 1)");
  assert_true(f.ttl == 0);
  with_store(&f, 1, "llmd.store.put('k', 1, 1e-300)");
  assert_true(f.ttl == 1);
  with_store(&f, 1, "llmd.store.put('k', 1, 1/0)");
  assert_true(f.ttl == (uint64_t)9e18);
  assert_non_null(strstr(with_store(&f, 1, "llmd.store.put('k', 1, -1)"), "llmd.store.put: ttl_seconds is below 0"));
  assert_non_null(strstr(with_store(&f, 1, "llmd.store.put('k', 1, 0/0)"), "ttl_seconds is below 0"));
  assert_non_null(strstr(with_store(&f, 1, "llmd.store.put('k', 1, '1')"), "number expected for ttl_seconds, got string"));
}

static void who_may_write(void **state)
{
  fake_store f = {0};
  (void)state;
  assert_non_null(strstr(with_store(&f, 0, "llmd.store.put('k', 1)"), "llmd.store.put: only commit and report may write"));
  assert_non_null(strstr(with_store(&f, 0, "llmd.store.del('k')"), "llmd.store.del: only commit and report may write"));
  assert_int_equal(f.found, 0);
  api_refuses("llmd.store.get('k')", "llmd.store.get: there is no store while a policy is loaded");
  f.rc = LLMD_E_FULL;
  assert_string_equal(with_store(&f, 1, "llmd.store.put('k', 1)"), "false");
  f.rc = LLMD_E_NONE;
  assert_non_null(strstr(with_store(&f, 1, "llmd.store.put('k', 1)"), "llmd.store.put: the policy has no `store = N`"));
  assert_non_null(strstr(with_store(&f, 1, "llmd.store.get('k')"), "llmd.store.get: the policy has no `store = N`"));
  f.rc = LLMD_E_LIMIT;
  assert_non_null(strstr(with_store(&f, 0, "llmd.store.get('k')"), "more than 64 times in one decision"));
  f.rc = LLMD_E_STALE;
  assert_non_null(strstr(with_store(&f, 0, "llmd.store.get('k')"), "llmd.store.get: failed (-17)"));
}

static void what_cannot_be_stored(void **state)
{
  fake_store f = {0};
  (void)state;
  assert_non_null(strstr(with_store(&f, 1, "llmd.store.put('k', 1.5)"), "a float cannot be stored: only integers"));
  assert_non_null(strstr(with_store(&f, 1, "llmd.store.put('k', 2.0)"), "a float cannot be stored"));
  assert_non_null(strstr(with_store(&f, 1, "llmd.store.put('k', math.mininteger)"), "value is too small"));
  assert_non_null(strstr(with_store(&f, 1, "llmd.store.put('k', 'x')"), "boolean or integer expected for value, got string"));
  assert_non_null(strstr(with_store(&f, 1, "llmd.store.put('k')"), "boolean or integer expected for value, got no value"));
  assert_non_null(strstr(with_store(&f, 1, "llmd.store.put('', 1)"), "a key has 1 to 256 bytes"));
  assert_non_null(strstr(with_store(&f, 1, "llmd.store.get(1)"), "llmd.store.get: string expected for key, got number"));
  assert_int_equal(f.found, 0);
}

/* ---- all of them ------------------------------------------------------------------------------------------------ */

static void wrong_arguments(void **state)
{
  static const char of_lists[][16] = {"max", "min", "sum", "mean", "argmax", "argmin", "normalise", "lower_is_better",
                                      "draw", "softmax", "shuffle"};
  char expression[320], trouble[320];
  (void)state;
  for (size_t i = 0; i < sizeof of_lists / sizeof of_lists[0]; i++) {
    const char *list = strcmp(of_lists[i], "draw") ? "list" : "weights";
    snprintf(expression, sizeof expression, "llmd.%s(nil)", of_lists[i]);
    snprintf(trouble, sizeof trouble, "llmd.%s: table expected for %s, got nil", of_lists[i], list);
    api_refuses(expression, trouble);
    if (!strcmp(of_lists[i], "shuffle"))
      continue;
    snprintf(expression, sizeof expression, "llmd.%s({1, '2'})", of_lists[i]);
    snprintf(trouble, sizeof trouble, "llmd.%s: element 2: number expected, got string", of_lists[i]);
    api_refuses(expression, trouble);
  }
  api_refuses("llmd.max({1}, 1.5)", "llmd.max: integer expected for n, got number");
  api_refuses("llmd.max({1}, -1)", "llmd.max: n is negative");
  api_refuses("llmd.max({1}, math.maxinteger)", "llmd.max: a list of more than 65536 elements");
  api_refuses("llmd.softmax({1}, 1, {}, 1 << 50)", "llmd.softmax: a list of more than");
  api_refuses("llmd.clamp(1, 0)", "llmd.clamp: number expected for hi, got no value");
  api_refuses("llmd.clamp('1', 0, 1)", "llmd.clamp: number expected for x, got string");
  api_refuses("llmd.clamp(1, 2, 1)", "llmd.clamp: lo is not below hi");
  api_refuses("llmd.clamp(1, nan, 1)", "llmd.clamp: lo is not below hi");
  api_refuses("llmd.normalise({1}, 1)", "llmd.normalise: table expected for out, got number");
  api_refuses("llmd.softmax({1}, 0)", "llmd.softmax: the temperature is not above 0");
  api_refuses("llmd.softmax({1}, nan)", "llmd.softmax: the temperature is not above 0");
  api_refuses("llmd.softmax({1, inf})", "llmd.softmax: a number is infinite");
  api_refuses("llmd.softmax({1}, 'x')", "llmd.softmax: number expected for temperature, got string");
  api_refuses("llmd.draw({1, inf})", "llmd.draw: element 2 is infinite");
  api_refuses("llmd.draw({1e308, 1e308})", "llmd.draw: the sum is infinite");
  api_refuses("llmd.random(0)", "llmd.random: n is less than 1");
  api_refuses("llmd.random(1.5)", "llmd.random: integer expected for n, got number");
  api_refuses("llmd.random(nil)", "llmd.random: integer expected for n, got nil");
  api_refuses("llmd.each(frozen, 1)", "llmd.each: function expected for visit, got number");
  api_refuses("llmd.hash(1)", "llmd.hash: string expected for text, got number");
  api_refuses("llmd.rendezvous(1, names)", "llmd.rendezvous: string expected for key, got number");
  api_refuses("llmd.rendezvous('k', {'a', 1})", "llmd.rendezvous: name 2: string expected, got number");
  api_refuses("llmd.rendezvous('k')", "llmd.rendezvous: table expected for names, got no value");
  api_refuses("llmd.time_of_day(nan)", "llmd.time_of_day: wall is no time");
  api_refuses("llmd.weekday(1e300)", "llmd.weekday: wall is no time");
  api_refuses("llmd.weekday(0, 2000)", "llmd.weekday: offset_minutes is more than a day");
  api_refuses("llmd.time_of_day('0')", "llmd.time_of_day: number expected for wall, got string");
}

static void huge_n_spends_the_budget(void **state)
{
  rig r;
  (void)state;
  assert_int_equal(api_run(&r, "local n = 0 while true do n = n + llmd.max({1}, 60000) end"), LLMD_E_LIMIT);
  rig_close(&r);
}

static void work_is_charged(void **state)
{
  static const char *const of_long[] = {
    "v = llmd.max(t)", "v = llmd.min(t)", "v = llmd.sum(t)", "v = llmd.mean(t)", "v = llmd.argmax(t)", "v = llmd.argmin(t)",
    "v = llmd.normalise(t, u)", "v = llmd.lower_is_better(t, u)", "v = llmd.softmax(t, 1, u)", "v = llmd.draw(t)",
    "v = llmd.shuffle(t)", "llmd.each(t, math.abs)", "v = llmd.rendezvous('k', w)"};
  (void)state;
  for (size_t i = 0; i < sizeof of_long / sizeof of_long[0]; i++)
    api_costs("local t, u, w = {}, {}, {} for i = 1, 1000 do t[i] = 1 w[i] = 'n' end", of_long[i]);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_number), cmocka_unit_test(of_a_list), cmocka_unit_test(the_unknown),
      cmocka_unit_test(from_list_to_list), cmocka_unit_test(chance_comes_from_the_seed),
      cmocka_unit_test(chances_are_fair), cmocka_unit_test(large_ranges_are_fair), cmocka_unit_test(hashes_are_fixed),
      cmocka_unit_test(rendezvous_moves_little), cmocka_unit_test(time_on_the_wall),
      cmocka_unit_test(what_is_stored_comes_back), cmocka_unit_test(times_to_live), cmocka_unit_test(who_may_write),
      cmocka_unit_test(what_cannot_be_stored), cmocka_unit_test(wrong_arguments),
      cmocka_unit_test(huge_n_spends_the_budget), cmocka_unit_test(work_is_charged)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
