/* Passive health: who is ejected, for how long, who may try, how many at most; and words that nobody wrote. */
#include "small_pool.h"

#include "model/health.h"
#include "model/pool.h"

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)
#define START (100 * SECOND)
#define MOST 16u

typedef struct rig {
  llmd_pool *pool;
  llmd__region *g;
  llmd_endpoint_id id[MOST];
  uint32_t n;
} rig;

static rig open_rig(uint32_t n)
{
  rig r = {0};
  r.pool = small_pool(MOST);
  r.g = r.pool->g;
  r.n = n;
  for (uint32_t i = 0; i < n; i++)
    r.id[i] = add(r.pool, "a", 1 + i);
  publish(r.pool);
  return r;
}

static void fails(rig *r, uint32_t i, uint64_t mono)
{
  llmd__health_failed(r->g, r->id[i], r->n, mono);
}

static void eject(rig *r, uint32_t i, uint64_t mono)
{
  for (int k = 0; k < 3; k++)
    fails(r, i, mono);
}

static void expect(const rig *r, uint32_t i, uint32_t state, uint64_t until)
{
  uint32_t s = 9;
  uint64_t u = 9;
  assert_int_equal(llmd_pool_health(r->pool, r->id[i], &s, &u), 0);
  assert_int_equal(s, state);
  assert_int_equal(u, until);
}

static void three_failures_in_ten_seconds_eject(void **state)
{
  static const struct {
    uint32_t n, ejected;
    uint64_t at[5]; /* ms after the start */
  } cases[] = {
      {3, 1, {0, 0, 0}},
      {2, 0, {0, 0}},
      {3, 1, {0, 5000, 10000}},
      {3, 0, {0, 5000, 10002}},
      {4, 1, {0, 9000, 10500, 11000}},
      {5, 0, {0, 6000, 12000, 18000, 24000}},
      {5, 1, {0, 11000, 22000, 22001, 22002}},
  };
  (void)state;
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    rig r = open_rig(4);
    uint64_t last = 0;
    for (uint32_t k = 0; k < cases[c].n; k++) {
      last = START + cases[c].at[k] * MS;
      expect(&r, 1, LLMD_HEALTH_WELL, 0);
      fails(&r, 1, last);
    }
    if (cases[c].ejected)
      expect(&r, 1, LLMD_HEALTH_EJECTED, last + SECOND);
    else
      expect(&r, 1, LLMD_HEALTH_WELL, 0);
    assert_int_equal(llmd__health_any(r.g), cases[c].ejected);
    assert_int_equal(atomic_load(&r.g->ejections), cases[c].ejected);
    expect(&r, 0, LLMD_HEALTH_WELL, 0);
    llmd_pool_close(r.pool);
  }
}

/* A busy endpoint that fails now and then is well: only failures in a row count. */
static void what_works_in_between_begins_the_count_again(void **state)
{
  rig r = open_rig(4);
  (void)state;
  for (int turn = 0; turn < 20; turn++) {
    fails(&r, 1, START + (uint64_t)turn * MS);
    fails(&r, 1, START + (uint64_t)turn * MS);
    llmd__health_worked(r.g, r.id[1], START + (uint64_t)turn * MS);
    expect(&r, 1, LLMD_HEALTH_WELL, 0);
  }
  llmd__health_worked(r.g, r.id[2], START);
  fails(&r, 1, START);
  llmd__health_worked(r.g, r.id[0], START); /* another one's */
  fails(&r, 1, START);
  fails(&r, 1, START);
  expect(&r, 1, LLMD_HEALTH_EJECTED, START + SECOND);
  assert_int_equal(atomic_load(&r.g->ejections), 1);
  llmd_pool_close(r.pool);
}

/* Times are kept in 32 bits of ms: what was half their range ago is long ago, too. */
static void failures_of_long_ago_do_not_count(void **state)
{
  static const uint64_t days[] = {1, 24, 25, 30, 40, 49};
  (void)state;
  for (size_t i = 0; i < sizeof days / sizeof *days; i++) {
    rig r = open_rig(4);
    fails(&r, 1, START);
    fails(&r, 1, START);
    fails(&r, 1, START + days[i] * 86400 * SECOND);
    expect(&r, 1, LLMD_HEALTH_WELL, 0);
    llmd_pool_close(r.pool);
  }
}

/* The clock goes back (a region that outlived a boot): nobody is out for longer than the longest. A little back is
 * another process that looked at it before. */
static void a_clock_that_goes_back(void **state)
{
  rig r = open_rig(4);
  (void)state;
  fails(&r, 1, START + 40 * MS);
  fails(&r, 1, START + 20 * MS);
  fails(&r, 1, START);
  expect(&r, 1, LLMD_HEALTH_EJECTED, START + SECOND);
  eject(&r, 2, START + 9000 * SECOND);
  assert_int_equal(llmd__health_look(r.g, r.id[2], START + 8990 * SECOND), LLMD__HEALTH_OUT);
  assert_int_equal(llmd__health_try(r.g, r.id[2], START + 8990 * SECOND), 0);
  assert_int_equal(llmd__health_look(r.g, r.id[2], START), LLMD__HEALTH_DUE);
  assert_int_equal(llmd__health_try(r.g, r.id[2], START), 1);
  expect(&r, 2, LLMD_HEALTH_HALF_OPEN, START + 30 * SECOND);
  llmd__health_worked(r.g, r.id[2], START);
  expect(&r, 2, LLMD_HEALTH_WELL, 0);
  llmd_pool_close(r.pool);
}

static void ids_that_are_nobodys(void **state)
{
  const llmd_endpoint_id odd[] = {UINT64_MAX, UINT64_C(1) << 32 | MOST, UINT64_C(7) << 32 | 1, 1};
  rig r = open_rig(4);
  (void)state;
  eject(&r, 1, START);
  for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
    assert_int_equal(llmd__health_look(r.g, odd[i], START), LLMD__HEALTH_IN);
    assert_int_equal(llmd__health_try(r.g, odd[i], START + SECOND), 0);
    llmd__health_tried(r.g, odd[i], 3);
    llmd__health_untry(r.g, odd[i], 0, START);
    llmd__health_failed(r.g, odd[i], 4, START);
    llmd__health_worked(r.g, odd[i], START + SECOND);
    llmd__health_tried_well(r.g, odd[i], 0, START + SECOND);
    assert_int_equal(llmd__health_unwell(r.g, odd[i]), 0);
  }
  expect(&r, 1, LLMD_HEALTH_EJECTED, START + SECOND);
  llmd_pool_close(r.pool);
}

static void only_its_own_ticket_ends_a_trial_well(void **state)
{
  rig r = open_rig(4);
  (void)state;
  llmd__health_tried_well(r.g, r.id[1], 5, START); /* there is none */
  eject(&r, 1, START);
  llmd__health_tried_well(r.g, r.id[1], 5, START + SECOND);
  expect(&r, 1, LLMD_HEALTH_EJECTED, START + SECOND);
  assert_int_equal(llmd__health_try(r.g, r.id[1], START + SECOND), 1);
  llmd__health_tried(r.g, r.id[1], 5);
  llmd__health_tried_well(r.g, r.id[1], 6, START + SECOND);
  expect(&r, 1, LLMD_HEALTH_HALF_OPEN, START + 31 * SECOND);
  llmd__health_tried_well(r.g, r.id[1], 5, START + SECOND);
  expect(&r, 1, LLMD_HEALTH_WELL, 0);
  llmd_pool_close(r.pool);
}

static void one_request_tries_then_it_is_well_or_out_for_longer(void **state)
{
  rig r = open_rig(4);
  uint64_t t = START, span = SECOND;
  (void)state;
  eject(&r, 2, t);
  for (int turn = 0; turn < 8; turn++) {
    fails(&r, 2, t); /* was under way */
    llmd__health_worked(r.g, r.id[2], t);
    expect(&r, 2, LLMD_HEALTH_EJECTED, t + span);
    assert_int_equal(llmd__health_look(r.g, r.id[2], t + span - MS), LLMD__HEALTH_OUT);
    assert_int_equal(llmd__health_try(r.g, r.id[2], t + span - MS), 0);
    t += span;
    assert_int_equal(llmd__health_look(r.g, r.id[2], t), LLMD__HEALTH_DUE);
    assert_int_equal(llmd__health_try(r.g, r.id[2], t), 1);
    assert_int_equal(llmd__health_try(r.g, r.id[2], t), 0);
    expect(&r, 2, LLMD_HEALTH_HALF_OPEN, t + 30 * SECOND);
    assert_int_equal(llmd__health_look(r.g, r.id[2], t), LLMD__HEALTH_OUT);
    fails(&r, 2, t + 5 * MS);
    t += 5 * MS;
    span = 2 * span < 30 * SECOND ? 2 * span : 30 * SECOND;
    expect(&r, 2, LLMD_HEALTH_EJECTED, t + span);
    assert_int_equal(llmd__health_any(r.g), 1);
  }
  t += span;
  assert_int_equal(llmd__health_try(r.g, r.id[2], t), 1);
  llmd__health_worked(r.g, r.id[2], t);
  expect(&r, 2, LLMD_HEALTH_WELL, 0);
  assert_int_equal(llmd__health_any(r.g), 0);
  assert_int_equal(atomic_load(&r.g->ejections), 1);
  fails(&r, 2, t);
  fails(&r, 2, t);
  expect(&r, 2, LLMD_HEALTH_WELL, 0); /* what was before is forgotten */
  fails(&r, 2, t);
  expect(&r, 2, LLMD_HEALTH_EJECTED, t + SECOND); /* and so is how long it was out */
  llmd_pool_close(r.pool);
}

static void a_trial_ends_in_more_ways(void **state)
{
  rig r = open_rig(4);
  uint64_t t = START + SECOND;
  (void)state;
  eject(&r, 0, START);
  assert_int_equal(llmd__health_try(r.g, r.id[0], t), 1);
  llmd__health_tried(r.g, r.id[0], 77);
  llmd__health_untry(r.g, r.id[0], 78, t); /* another request */
  expect(&r, 0, LLMD_HEALTH_HALF_OPEN, t + 30 * SECOND);
  llmd__health_untry(r.g, r.id[0], 77, t);
  expect(&r, 0, LLMD_HEALTH_EJECTED, t);
  assert_int_equal(llmd__health_try(r.g, r.id[0], t), 1);
  llmd__health_untry(r.g, r.id[0], 0, t);
  assert_int_equal(llmd__health_try(r.g, r.id[0], t), 1);
  assert_int_equal(llmd__health_look(r.g, r.id[0], t + 30 * SECOND - MS), LLMD__HEALTH_OUT);
  assert_int_equal(llmd__health_try(r.g, r.id[0], t + 30 * SECOND), 1); /* the other has died, or hangs */
  assert_int_equal(llmd__health_any(r.g), 1);
  llmd__health_untry(r.g, r.id[0], 0, t + 30 * SECOND);
  llmd__health_worked(r.g, r.id[0], t + 30 * SECOND); /* it was used all the same: nobody else was left */
  expect(&r, 0, LLMD_HEALTH_WELL, 0);
  eject(&r, 0, START);
  fails(&r, 0, START + SECOND); /* it was used all the same, and failed */
  expect(&r, 0, LLMD_HEALTH_EJECTED, START + 3 * SECOND);
  llmd_pool_close(r.pool);
}

static void half_of_a_pool_at_most(void **state)
{
  (void)state;
  for (uint32_t n = 1; n <= 9; n++) {
    rig r = open_rig(n);
    uint32_t out = 0;
    for (uint32_t i = 0; i < n; i++)
      eject(&r, i, START);
    for (uint32_t i = 0; i < n; i++)
      out += llmd__health_look(r.g, r.id[i], START) == LLMD__HEALTH_OUT;
    assert_int_equal(out, n / 2);
    assert_int_equal(llmd__health_any(r.g), n / 2);
    if (n > 1) { /* as soon as one is back, the next may go */
      assert_int_equal(llmd__health_try(r.g, r.id[0], START + SECOND), 1);
      llmd__health_worked(r.g, r.id[0], START + SECOND);
      fails(&r, n - 1, START + SECOND);
      expect(&r, n - 1, LLMD_HEALTH_EJECTED, START + 2 * SECOND);
    }
    llmd_pool_close(r.pool);
  }
}

static void options_hold_for_all(void **state)
{
  llmd_health_options o = {.size = sizeof o, .failures = 1, .window_ns = 1, .first_ns = 50 * MS,
                           .longest_ns = 120 * MS, .most_percent = 100};
  rig r = open_rig(2);
  (void)state;
  assert_int_equal(llmd_pool_set_health(r.pool, &o), 0);
  fails(&r, 0, START);
  fails(&r, 1, START);
  expect(&r, 0, LLMD_HEALTH_EJECTED, START + 50 * MS);
  expect(&r, 1, LLMD_HEALTH_EJECTED, START + 50 * MS);
  assert_int_equal(llmd__health_try(r.g, r.id[0], START + 50 * MS), 1);
  fails(&r, 0, START + 50 * MS);
  expect(&r, 0, LLMD_HEALTH_EJECTED, START + 150 * MS);
  assert_int_equal(llmd__health_try(r.g, r.id[0], START + 150 * MS), 1);
  fails(&r, 0, START + 150 * MS);
  expect(&r, 0, LLMD_HEALTH_EJECTED, START + 270 * MS);
  o.failures = 0; /* never: all are well */
  assert_int_equal(llmd_pool_set_health(r.pool, &o), 0);
  expect(&r, 0, LLMD_HEALTH_WELL, 0);
  eject(&r, 0, START);
  expect(&r, 0, LLMD_HEALTH_WELL, 0);
  assert_int_equal(llmd__health_any(r.g), 0);
  o.failures = 9;
  assert_int_equal(llmd_pool_set_health(r.pool, &o), LLMD_E_RANGE);
  o.failures = 8;
  o.most_percent = 101;
  assert_int_equal(llmd_pool_set_health(r.pool, &o), LLMD_E_RANGE);
  o.size = 8;
  assert_int_equal(llmd_pool_set_health(r.pool, &o), LLMD_E_INVALID);
  assert_int_equal(llmd_pool_set_health(r.pool, NULL), 0);
  eject(&r, 0, START);
  eject(&r, 1, START);
  expect(&r, 0, LLMD_HEALTH_EJECTED, START + SECOND);
  expect(&r, 1, LLMD_HEALTH_WELL, 0);
  llmd_pool_close(r.pool);
}

static void eight_failures(void **state)
{
  llmd_health_options o = {.size = sizeof o, .failures = 8};
  rig r = open_rig(4);
  (void)state;
  assert_int_equal(llmd_pool_set_health(r.pool, &o), 0);
  for (uint32_t i = 0; i < 40; i++) /* seven within any ten seconds */
    fails(&r, 0, START + i * 1500 * MS);
  expect(&r, 0, LLMD_HEALTH_WELL, 0);
  for (uint32_t i = 0; i < 8; i++)
    fails(&r, 1, START + i * 1400 * MS);
  expect(&r, 1, LLMD_HEALTH_EJECTED, START + 7 * 1400 * MS + SECOND);
  llmd_pool_close(r.pool);
}

static void an_endpoint_that_leaves_takes_it_along(void **state)
{
  rig r = open_rig(4);
  llmd_endpoint_id old = r.id[1];
  uint32_t s;
  uint64_t u;
  (void)state;
  eject(&r, 1, START);
  fails(&r, 0, START);
  fails(&r, 0, START);
  assert_int_equal(llmd_pool_remove(r.pool, old), 0);
  assert_int_equal(llmd__health_any(r.g), 0);
  publish(r.pool);
  tick(r.pool);
  r.id[1] = add(r.pool, "b", 1);
  assert_int_equal((uint32_t)r.id[1], (uint32_t)old);
  publish(r.pool);
  expect(&r, 1, LLMD_HEALTH_WELL, 0);
  assert_int_equal(llmd_pool_health(r.pool, old, &s, &u), LLMD_E_STALE);
  assert_int_equal(llmd_pool_health(r.pool, 0, &s, &u), LLMD_E_STALE);
  assert_int_equal(llmd_pool_health(r.pool, UINT64_MAX, &s, &u), LLMD_E_STALE);
  for (int i = 0; i < 9; i++)
    llmd__health_failed(r.g, old, r.n, START);
  expect(&r, 1, LLMD_HEALTH_WELL, 0);
  eject(&r, 1, START);
  llmd__health_worked(r.g, old, START + SECOND);
  llmd__health_untry(r.g, old, 0, START + SECOND);
  expect(&r, 1, LLMD_HEALTH_EJECTED, START + SECOND);
  fails(&r, 0, START);
  expect(&r, 0, LLMD_HEALTH_EJECTED, START + SECOND);
  llmd_pool_close(r.pool);
}

/* A process died between the count and the word, on either side; or a report came for one that was just leaving. */
static void the_count_is_put_right(void **state)
{
  rig r = open_rig(8);
  int64_t drift = 0;
  (void)state;
  eject(&r, 0, START);
  atomic_fetch_add(&r.g->unwell, 3);
  llmd__health_recount(r.g, &drift);
  assert_int_equal(llmd__health_any(r.g), 4); /* once may be somebody at work */
  llmd__health_recount(r.g, &drift);
  assert_int_equal(llmd__health_any(r.g), 1);
  atomic_store(&r.g->unwell, 0);
  llmd__health_recount(r.g, &drift);
  llmd__health_recount(r.g, &drift);
  assert_int_equal(llmd__health_any(r.g), 1);
  atomic_store(&r.g->unwell, UINT32_MAX);
  llmd__health_recount(r.g, &drift);
  eject(&r, 1, START);
  expect(&r, 1, LLMD_HEALTH_WELL, 0); /* too many already, as it seems */
  atomic_store(&r.g->unwell, 1 + 4);
  llmd__health_recount(r.g, &drift);
  llmd__health_recount(r.g, &drift);
  llmd__health_recount(r.g, &drift);
  assert_int_equal(llmd__health_any(r.g), 1);
  atomic_store(&llmd__region_healths(r.g)[9].life, atomic_load(&llmd__region_healths(r.g)[0].life)); /* nobody's */
  atomic_fetch_add(&r.g->unwell, 1);
  for (int i = 0; i < 3; i++)
    llmd__health_recount(r.g, &drift);
  assert_int_equal(llmd__health_any(r.g), 1);
  assert_int_equal(atomic_load(&llmd__region_healths(r.g)[9].life), 0);
  llmd_pool_close(r.pool);
}

static uint64_t splitmix(uint64_t *x)
{
  uint64_t z = (*x += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/* Whatever stands in the words: every call ends, and afterwards the count is right and nobody is out for ever. */
static void any_words_are_sane(void **state)
{
  rig r = open_rig(8);
  uint64_t dice = 11;
  (void)state;
  for (int round = 0; round < 3000; round++) {
    int64_t drift = 0;
    uint32_t out = 0;
    uint64_t t = START;
    for (uint32_t i = 0; i < r.n; i++) {
      llmd__health *h = &llmd__region_healths(r.g)[i];
      uint64_t life = splitmix(&dice);
      if (round % 2)
        life = (life & ~(UINT64_C(0xffff) << 48)) | (r.id[i] >> 32 & 0xffff) << 48;
      atomic_store(&h->life, life);
      atomic_store(&h->trial, splitmix(&dice) % 3);
      atomic_store(&h->failed, (uint32_t)splitmix(&dice));
      for (uint32_t k = 0; k < LLMD__FAILURES; k++)
        atomic_store(&h->at[k], (uint32_t)splitmix(&dice));
    }
    atomic_store(&r.g->unwell, (uint32_t)splitmix(&dice) % 20);
    for (uint32_t i = 0; i < r.n; i++) {
      fails(&r, i, t);
      llmd__health_look(r.g, r.id[i], t);
      llmd__health_untry(r.g, r.id[i], splitmix(&dice) % 3, t);
      if (llmd__health_try(r.g, r.id[i], t))
        llmd__health_tried(r.g, r.id[i], 5);
    }
    t = UINT64_MAX / 2; /* the longest that a word can say has passed */
    for (uint32_t i = 0; i < r.n; i++) {
      llmd__health_try(r.g, r.id[i], t);
      if (round % 3)
        llmd__health_worked(r.g, r.id[i], t);
    }
    llmd__health_recount(r.g, &drift);
    llmd__health_recount(r.g, &drift);
    for (uint32_t i = 0; i < r.n; i++)
      out += llmd__health_unwell(r.g, r.id[i]) != 0;
    assert_int_equal(llmd__health_any(r.g), out);
    if (round % 3)
      assert_int_equal(out, 0);
  }
  llmd_pool_close(r.pool);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(three_failures_in_ten_seconds_eject),
      cmocka_unit_test(what_works_in_between_begins_the_count_again),
      cmocka_unit_test(failures_of_long_ago_do_not_count),
      cmocka_unit_test(a_clock_that_goes_back),
      cmocka_unit_test(ids_that_are_nobodys),
      cmocka_unit_test(only_its_own_ticket_ends_a_trial_well),
      cmocka_unit_test(one_request_tries_then_it_is_well_or_out_for_longer),
      cmocka_unit_test(a_trial_ends_in_more_ways),
      cmocka_unit_test(half_of_a_pool_at_most),
      cmocka_unit_test(options_hold_for_all),
      cmocka_unit_test(eight_failures),
      cmocka_unit_test(an_endpoint_that_leaves_takes_it_along),
      cmocka_unit_test(the_count_is_put_right),
      cmocka_unit_test(any_words_are_sane),
  };
  cmocka_set_message_output(CM_OUTPUT_TAP);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
