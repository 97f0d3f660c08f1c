/* The ledger: charged once, given back once, whoever does it and however often; what dead processes left comes back. */
#include "small_pool.h"

#include "model/ledger.h"
#include "model/pool.h"

#define TICKETS 16u

typedef struct rig {
  llmd_pool *pool;
  llmd__region *g;
  llmd_endpoint_id a, b;
  llmd__charger who;
  uint32_t cursor;
} rig;

static rig open_rig(void)
{
  rig r;
  memset(&r, 0, sizeof r);
  r.pool = small_pool(4);
  r.g = r.pool->g;
  r.a = add(r.pool, "a", 1);
  r.b = add(r.pool, "b", 1);
  publish(r.pool);
  return r;
}

static void expect(const rig *r, llmd_endpoint_id id, int64_t requests, int64_t tokens)
{
  int64_t q = -99, t = -99;
  assert_int_equal(llmd_pool_inflight(r->pool, id, &q, &t), 0);
  assert_int_equal(q, requests);
  assert_int_equal(t, tokens);
}

/* Decode on a with 100 tokens, prefill on b with 40. */
static llmd_ticket reserve(rig *r, uint64_t lease)
{
  llmd__charge_in in[2] = {{r->a, 100, 0}, {r->b, 40, 1}};
  return llmd__ledger_reserve(r->g, &r->who, in, 2, lease);
}

static void charges_and_gives_back_once(void **state)
{
  rig r = open_rig();
  llmd_ticket t = reserve(&r, 10), u = reserve(&r, 10);
  (void)state;
  assert_true(t && u && t != u);
  assert_true(llmd__ledger_endpoint(r.g, t) == r.a);
  expect(&r, r.a, 2, 200);
  expect(&r, r.b, 2, 80);
  assert_int_equal(llmd__ledger_release(r.g, t), 0);
  assert_int_equal(llmd__ledger_release(r.g, t), LLMD_E_STALE);
  expect(&r, r.a, 1, 100);
  assert_int_equal(llmd__ledger_first(r.g, t), LLMD_E_STALE);
  assert_int_equal(llmd__ledger_renew(r.g, t, 1, 99), LLMD_E_STALE);
  assert_int_equal(llmd__ledger_move(r.g, t, r.b), LLMD_E_STALE);
  assert_int_equal(llmd__ledger_release_tokens(r.g, t), LLMD_E_STALE);
  assert_true(llmd__ledger_endpoint(r.g, t) == 0);
  assert_int_equal(llmd__ledger_release(r.g, 0), LLMD_E_STALE);
  assert_int_equal(llmd__ledger_release(r.g, UINT64_MAX), LLMD_E_STALE);
  assert_int_equal(llmd__ledger_release(r.g, u), 0);
  expect(&r, r.a, 0, 0);
  expect(&r, r.b, 0, 0);
  llmd_pool_close(r.pool);
}

static void the_first_token_ends_the_early_stages(void **state)
{
  rig r = open_rig();
  llmd_ticket t = reserve(&r, 10);
  (void)state;
  assert_int_equal(llmd__ledger_first(r.g, t), 0);
  assert_int_equal(llmd__ledger_first(r.g, t), 0);
  expect(&r, r.a, 1, 100);
  expect(&r, r.b, 0, 0);
  assert_int_equal(llmd__ledger_release_tokens(r.g, t), 0);
  assert_int_equal(llmd__ledger_release_tokens(r.g, t), 0);
  expect(&r, r.a, 1, 0);
  assert_int_equal(llmd__ledger_release(r.g, t), 0);
  expect(&r, r.a, 0, 0);
  expect(&r, r.b, 0, 0);
  llmd_pool_close(r.pool);
}

static void the_charge_moves(void **state)
{
  rig r = open_rig();
  llmd_ticket t = reserve(&r, 10);
  (void)state;
  assert_int_equal(llmd__ledger_move(r.g, t, r.b), 0);
  expect(&r, r.a, 0, 0);
  expect(&r, r.b, 2, 140);
  assert_int_equal(llmd__ledger_move(r.g, t, r.b), 0);
  expect(&r, r.b, 2, 140);
  assert_int_equal(llmd__ledger_release(r.g, t), 0);
  expect(&r, r.b, 0, 0);
  llmd_pool_close(r.pool);
}

static void a_full_ledger_says_so_and_recovers(void **state)
{
  rig r = open_rig();
  llmd_ticket t[TICKETS], u;
  (void)state;
  for (uint32_t i = 0; i < TICKETS; i++)
    assert_true((t[i] = reserve(&r, 10)) != 0);
  assert_true(reserve(&r, 10) == 0);
  assert_int_equal(atomic_load(&r.g->tickets_full), 1);
  expect(&r, r.a, TICKETS, 100 * TICKETS);
  assert_int_equal(llmd__ledger_release(r.g, t[3]), 0);
  u = reserve(&r, 10);
  assert_true(u && u != t[3]); /* the record again, another ticket */
  assert_int_equal((uint32_t)u, (uint32_t)t[3]);
  assert_int_equal(llmd__ledger_release(r.g, t[3]), LLMD_E_STALE);
  expect(&r, r.a, TICKETS, 100 * TICKETS);
  llmd_pool_close(r.pool);
}

/* Sixteen profiles may have a target each: more than one record holds. */
static void every_charge_counts(void **state)
{
  rig r = open_rig();
  llmd__charge_in in[16];
  llmd_ticket t;
  (void)state;
  for (uint32_t i = 0; i < 16; i++) {
    in[i].endpoint = i % 2 ? r.b : r.a;
    in[i].tokens = 1 << i;
    in[i].early = i >= 14;
  }
  t = llmd__ledger_reserve(r.g, &r.who, in, 16, 10);
  assert_true(t != 0);
  expect(&r, r.a, 8, 0x5555);
  expect(&r, r.b, 8, 0xaaaa);
  assert_int_equal(llmd__ledger_move(r.g, t, r.b), 0);
  expect(&r, r.a, 7, 0x5554);
  expect(&r, r.b, 9, 0xaaab);
  assert_int_equal(llmd__ledger_first(r.g, t), 0); /* in the last record */
  expect(&r, r.a, 6, 0x1554);
  expect(&r, r.b, 8, 0x2aab);
  assert_int_equal(llmd__ledger_renew(r.g, t, 1, 1000), 0);
  assert_int_equal(llmd__ledger_sweep(r.g, &r.cursor, TICKETS, 999), 0); /* all records live on */
  assert_int_equal(llmd__ledger_release_tokens(r.g, t), 0);
  expect(&r, r.a, 6, 0);
  assert_int_equal(llmd__ledger_release(r.g, t), 0);
  expect(&r, r.a, 0, 0);
  expect(&r, r.b, 0, 0);
  for (uint32_t i = 0; i < TICKETS; i++)
    assert_true(reserve(&r, 10) != 0); /* no record was kept */
  llmd_pool_close(r.pool);
}

static void charges_that_find_no_room_go_back(void **state)
{
  rig r = open_rig();
  llmd__charge_in in[16];
  (void)state;
  for (uint32_t i = 0; i < TICKETS - 2; i++)
    assert_true(reserve(&r, 10) != 0);
  for (uint32_t i = 0; i < 16; i++)
    in[i] = (llmd__charge_in){r.a, 7, 0};
  assert_true(llmd__ledger_reserve(r.g, &r.who, in, 16, 10) == 0); /* three records, two are free */
  expect(&r, r.a, TICKETS - 2, 100 * (TICKETS - 2));
  assert_true(reserve(&r, 10) && reserve(&r, 10));
  llmd_pool_close(r.pool);
}

/* A ledger without a free record costs a bounded look, and the look goes on where the last one ended. */
static void a_full_ledger_is_looked_at_in_stretches(void **state)
{
  llmd_region_options ro = small_region(4);
  llmd_pool_options po = {.size = sizeof po, .region = &ro};
  llmd__charge_in in = {0, 1, 0};
  uint32_t n = 4096, tries = 0;
  llmd__charger who = {1, 0, 0};
  llmd_ticket *t = calloc(n, sizeof *t), found = 0;
  llmd_pool *p;
  (void)state;
  ro.max_tickets = n;
  assert_int_equal(llmd_pool_open(&po, &p, NULL), 0);
  for (uint32_t i = 0; i < n; i++)
    assert_true((t[i] = llmd__ledger_reserve(p->g, &who, &in, 1, 10)) != 0);
  assert_int_equal(llmd__ledger_release(p->g, t[2000]), 0);
  who.hint = 2001;
  while (!found && tries++ < n)
    found = llmd__ledger_reserve(p->g, &who, &in, 1, 10);
  assert_true(found != 0);
  assert_true(tries > 4 && tries <= 16);
  free(t);
  llmd_pool_close(p);
}

static void leases_end(void **state)
{
  rig r = open_rig();
  llmd_ticket t = reserve(&r, 1000), u = reserve(&r, 1000);
  (void)state;
  assert_int_equal(llmd__ledger_sweep(r.g, &r.cursor, 1000, 1000), 0);
  assert_int_equal(llmd__ledger_renew(r.g, u, 1, 5000), 0);
  assert_int_equal(llmd__ledger_sweep(r.g, &r.cursor, TICKETS, 1001), 1);
  assert_int_equal(atomic_load(&r.g->tickets_expired), 1);
  assert_int_equal(llmd__ledger_release(r.g, t), LLMD_E_STALE);
  expect(&r, r.a, 1, 100);
  for (uint32_t i = 0, n = 0; i < TICKETS; i++) { /* slice by slice it comes round */
    n += llmd__ledger_sweep(r.g, &r.cursor, 1, 6000);
    assert_true(n <= 1 && (i + 1 < TICKETS || n == 1));
  }
  expect(&r, r.a, 0, 0);
  expect(&r, r.b, 0, 0);
  llmd_pool_close(r.pool);
}

static llmd__ticket *record(rig *r, llmd_ticket t)
{
  return &llmd__region_tickets(r->g)[(uint32_t)t - 1];
}

/* What a dead process has in flight goes at once; what others charged stays, and what they took over. */
static void the_dead_hold_nothing(void **state)
{
  rig r = open_rig();
  llmd__charge_in in[16];
  llmd_ticket mine, long_one, taken, gone;
  (void)state;
  for (uint32_t i = 0; i < 16; i++)
    in[i] = (llmd__charge_in){r.a, 1, 0};
  r.who.owner = 7;
  gone = reserve(&r, 1000);
  assert_int_equal(llmd__ledger_release(r.g, gone), 0);
  assert_true(reserve(&r, 1000) != 0);
  taken = reserve(&r, 1000);
  long_one = llmd__ledger_reserve(r.g, &r.who, in, 16, 1000);
  r.who.owner = 8; /* the same lane, now of a living process */
  mine = reserve(&r, 1000);
  assert_true(taken && long_one && mine);
  assert_int_equal(llmd__ledger_renew(r.g, taken, 8, 1000), 0);
  assert_int_equal(llmd__ledger_reclaim(r.g, 9), 0);
  expect(&r, r.a, 19, 316);
  assert_int_equal(llmd__ledger_reclaim(r.g, 7), 4);
  assert_int_equal(atomic_load(&r.g->tickets_reclaimed), 4);
  assert_int_equal(llmd__ledger_reclaim(r.g, 7), 0);
  expect(&r, r.a, 2, 200);
  expect(&r, r.b, 2, 80);
  assert_int_equal(llmd__ledger_release(r.g, long_one), LLMD_E_STALE);
  assert_int_equal(llmd__ledger_release(r.g, mine), 0);
  assert_int_equal(llmd__ledger_release(r.g, taken), 0);
  expect(&r, r.a, 0, 0);
  for (uint32_t i = 0; i < TICKETS; i++)
    assert_true(reserve(&r, 10) != 0); /* no record was kept */
  llmd_pool_close(r.pool);
}

/* A process died between its record and the totals, on either side. */
static void totals_are_recounted(void **state)
{
  int64_t drift[8] = {0}, scratch[8];
  rig r = open_rig();
  llmd_ticket t = reserve(&r, 10);
  (void)state;
  atomic_fetch_add(&llmd__region_totals(r.g)[(uint32_t)r.a].requests, 3);
  atomic_fetch_add(&llmd__region_totals(r.g)[(uint32_t)r.a].tokens, -7);
  expect(&r, r.a, 4, 93);
  llmd__ledger_recount(r.g, drift, scratch);
  expect(&r, r.a, 4, 93); /* once may be a decision that is just being made */
  llmd__ledger_recount(r.g, drift, scratch);
  expect(&r, r.a, 1, 100);
  expect(&r, r.b, 1, 40);
  llmd__ledger_recount(r.g, drift, scratch);
  llmd__ledger_recount(r.g, drift, scratch);
  expect(&r, r.a, 1, 100);
  assert_int_equal(llmd__ledger_release(r.g, t), 0);
  expect(&r, r.a, 0, 0);
  llmd_pool_close(r.pool);
}

/* A difference that changes from one look to the next is somebody at work. */
static void a_moving_difference_is_left_alone(void **state)
{
  int64_t drift[8] = {0}, scratch[8];
  rig r = open_rig();
  (void)state;
  for (uint32_t i = 1; i < 5; i++) {
    atomic_fetch_add(&llmd__region_totals(r.g)[(uint32_t)r.a].requests, 1);
    llmd__ledger_recount(r.g, drift, scratch);
    expect(&r, r.a, i, 0);
  }
  llmd_pool_close(r.pool);
}

/* Killed between claiming a record and filling it, and in the middle of giving one back. */
static void half_way_records_come_back(void **state)
{
  static const uint32_t half[] = {LLMD__TICKET_CLAIMED, LLMD__TICKET_LEAVING};
  const uint64_t grace = 60000000000u;
  (void)state;
  for (uint32_t i = 0; i < 2; i++) {
    int64_t drift[8] = {0}, scratch[8];
    rig r = open_rig();
    llmd_ticket t = reserve(&r, 1000), all[TICKETS];
    llmd__ticket *dead = record(&r, t);
    uint64_t s = atomic_load(&dead->state);
    atomic_store(&dead->state, (s & ~(uint64_t)0xff) | half[i]);
    assert_int_equal(llmd__ledger_sweep(r.g, &r.cursor, TICKETS, 900), 0); /* its lease lasts */
    assert_int_equal(atomic_load(&dead->state) & 0xff, half[i]);
    assert_int_equal(llmd__ledger_sweep(r.g, &r.cursor, TICKETS, 2000), 0); /* doubted from here on */
    assert_int_equal(llmd__ledger_sweep(r.g, &r.cursor, TICKETS, 1000 + grace), 0);
    assert_int_equal(atomic_load(&dead->state) & 0xff, half[i]);
    assert_int_equal(llmd__ledger_sweep(r.g, &r.cursor, TICKETS, 2000 + grace), 0);
    assert_int_equal(atomic_load(&dead->state) & 0xff, LLMD__TICKET_FREE);
    assert_int_equal(llmd__ledger_release(r.g, t), LLMD_E_STALE);
    llmd__ledger_recount(r.g, drift, scratch);
    llmd__ledger_recount(r.g, drift, scratch);
    expect(&r, r.a, 0, 0);
    expect(&r, r.b, 0, 0);
    for (uint32_t k = 0; k < TICKETS; k++)
      assert_true((all[k] = reserve(&r, 1)) != 0 && all[k] != t);
    llmd_pool_close(r.pool);
  }
}

/* A new endpoint in an old one's slot owes nothing, whatever is still given back for the old one. */
static void the_next_in_a_slot_starts_at_zero(void **state)
{
  rig r = open_rig();
  llmd_ticket t = reserve(&r, UINT64_MAX);
  llmd_endpoint_id c;
  int64_t drift[8] = {0}, scratch[8];
  (void)state;
  assert_int_equal(llmd_pool_remove(r.pool, r.a), 0);
  tick(r.pool);
  c = add(r.pool, "c", 1);
  publish(r.pool);
  assert_int_equal((uint32_t)c, (uint32_t)r.a);
  expect(&r, c, 0, 0);
  llmd__ledger_recount(r.g, drift, scratch);
  llmd__ledger_recount(r.g, drift, scratch);
  expect(&r, c, 0, 0);
  assert_int_equal(llmd__ledger_move(r.g, t, c), 0); /* it was sent there after all */
  expect(&r, c, 1, 100);
  assert_int_equal(llmd__ledger_release(r.g, t), 0);
  expect(&r, c, 0, 0);
  expect(&r, r.b, 0, 0);
  llmd_pool_close(r.pool);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(charges_and_gives_back_once),
      cmocka_unit_test(the_first_token_ends_the_early_stages),
      cmocka_unit_test(the_charge_moves),
      cmocka_unit_test(a_full_ledger_says_so_and_recovers),
      cmocka_unit_test(every_charge_counts), cmocka_unit_test(charges_that_find_no_room_go_back),
      cmocka_unit_test(a_full_ledger_is_looked_at_in_stretches), cmocka_unit_test(leases_end),
      cmocka_unit_test(the_dead_hold_nothing), cmocka_unit_test(totals_are_recounted),
      cmocka_unit_test(a_moving_difference_is_left_alone),
      cmocka_unit_test(half_way_records_come_back),
      cmocka_unit_test(the_next_in_a_slot_starts_at_zero),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
