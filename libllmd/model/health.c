#include "model/health.h"

#include <string.h>

#include "model/pool.h"

/* llmd__health.life: generation of the endpoint (16 bits) | kind (2) | how often it failed again (6) | until, ms (40). So
 * a report on an endpoint that left changes nothing of its successor's. */
#define WELL 0u
#define EJECTED 1u
#define TRIAL 2u
#define UNTIL_BITS 40u
#define UNTIL_MOST ((UINT64_C(1) << UNTIL_BITS) - 1)
#define LEVEL_MOST 63u

static uint64_t ms(uint64_t mono)
{
  return mono / 1000000u < UNTIL_MOST ? mono / 1000000u : UNTIL_MOST;
}

static uint32_t kind_of(uint64_t life)
{
  return (uint32_t)(life >> 46) & 3u;
}

static uint32_t level_of(uint64_t life)
{
  return (uint32_t)(life >> UNTIL_BITS) & LEVEL_MOST;
}

static uint64_t until_of(uint64_t life)
{
  return life & UNTIL_MOST;
}

static uint64_t life_of(uint64_t generation, uint32_t kind, uint32_t level, uint64_t until)
{
  uint64_t high = (generation & 0xffffu) << 48 | (uint64_t)kind << 46;
  return high | (uint64_t)(level < LEVEL_MOST ? level : LEVEL_MOST) << UNTIL_BITS |
         (until < UNTIL_MOST ? until : UNTIL_MOST);
}

/* Ejected or on trial. A word of another generation, or a kind that there is not, means well. */
static int unwell(uint64_t life, llmd_endpoint_id id)
{
  uint32_t kind = kind_of(life);
  return (kind == EJECTED || kind == TRIAL) && life >> 48 == (id >> 32 & 0xffffu);
}

static llmd__health *record_of(const llmd__region *g, llmd_endpoint_id id)
{
  uint32_t slot = (uint32_t)id;
  if (slot >= g->caps.endpoints ||
      atomic_load_explicit(&llmd__region_totals(g)[slot].generation, memory_order_relaxed) != (uint32_t)(id >> 32))
    return NULL;
  return &llmd__region_healths(g)[slot];
}

static uint64_t life_now(const llmd__health *h)
{
  return atomic_load_explicit(&h->life, memory_order_acquire);
}

static int change(llmd__health *h, uint64_t from, uint64_t to)
{
  return atomic_compare_exchange_strong_explicit(&h->life, &from, to, memory_order_acq_rel, memory_order_relaxed);
}

static uint32_t option(const _Atomic uint32_t *o)
{
  return atomic_load_explicit(o, memory_order_relaxed);
}

/* ---- the count -------------------------------------------------------------------------------------------------- */

uint32_t llmd__health_most(const llmd__region *g, uint32_t n)
{
  uint32_t percent = option(&g->health_percent);
  return (uint32_t)((uint64_t)n * (percent < 100 ? percent : 100) / 100);
}

/* One more, if there may be. */
static int count_up(llmd__region *g, uint32_t most)
{
  uint32_t n = atomic_load_explicit(&g->unwell, memory_order_relaxed);
  while (n < most)
    if (atomic_compare_exchange_weak_explicit(&g->unwell, &n, n + 1, memory_order_relaxed, memory_order_relaxed))
      return 1;
  return 0;
}

static void count_down(llmd__region *g)
{
  uint32_t n = atomic_load_explicit(&g->unwell, memory_order_relaxed);
  while (n && !atomic_compare_exchange_weak_explicit(&g->unwell, &n, n - 1, memory_order_relaxed, memory_order_relaxed))
    ;
}

/* ---- what a decision asks --------------------------------------------------------------------------------------- */

/* Its time is over: it has passed, or nobody is out for so long, so the clock went back, or the options did. */
static int is_over(const llmd__region *g, uint64_t life, uint64_t mono)
{
  uint64_t now = ms(mono), until = until_of(life);
  return now >= until || until - now > option(&g->health_longest_ms);
}

uint32_t llmd__health_look(const llmd__region *g, llmd_endpoint_id id, uint64_t mono)
{
  const llmd__health *h = record_of(g, id);
  uint64_t life = h ? life_now(h) : 0;
  if (!h || !unwell(life, id))
    return LLMD__HEALTH_IN;
  return is_over(g, life, mono) ? LLMD__HEALTH_DUE : LLMD__HEALTH_OUT;
}

/* For how long, after so many trials that failed. */
static uint64_t span_ms(const llmd__region *g, uint32_t level)
{
  uint64_t first = option(&g->health_first_ms), longest = option(&g->health_longest_ms);
  while (level-- && first < longest)
    first *= 2;
  return first < longest ? first : longest;
}

/* A trial nobody reports on is over when the longest ejection would be: who made it may be dead. */
int llmd__health_try(llmd__region *g, llmd_endpoint_id id, uint64_t mono)
{
  llmd__health *h = record_of(g, id);
  uint64_t life = h ? life_now(h) : 0;
  if (!h || !unwell(life, id) || !is_over(g, life, mono))
    return 0;
  return change(h, life, life_of(id >> 32, TRIAL, level_of(life), ms(mono) + option(&g->health_longest_ms)));
}

void llmd__health_tried(llmd__region *g, llmd_endpoint_id id, llmd_ticket t)
{
  llmd__health *h = record_of(g, id);
  if (h)
    atomic_store_explicit(&h->trial, t, memory_order_relaxed);
}

/* Is the endpoint on trial, by that ticket? t 0 = by whichever. */
static int tries(const llmd__health *h, llmd_endpoint_id id, uint64_t life, llmd_ticket t)
{
  return unwell(life, id) && kind_of(life) == TRIAL &&
         (!t || atomic_load_explicit(&h->trial, memory_order_relaxed) == t);
}

void llmd__health_untry(llmd__region *g, llmd_endpoint_id id, llmd_ticket t, uint64_t mono)
{
  llmd__health *h = record_of(g, id);
  uint64_t life = h ? life_now(h) : 0;
  if (!h || !tries(h, id, life, t))
    return;
  change(h, life, life_of(id >> 32, EJECTED, level_of(life), ms(mono)));
}

/* ---- what happened ---------------------------------------------------------------------------------------------- */

/* One more failure: is it the last of so many within the window? Times are ms in 32 bits, 0 = none; that of another
 * process may be a little later than ours. */
static int too_many(const llmd__region *g, llmd__health *h, uint32_t failures, uint64_t mono)
{
  uint32_t window = option(&g->health_window_ms);
  uint32_t now = (uint32_t)(mono / 1000000u) | 1u, most = failures < LLMD__FAILURES ? failures : LLMD__FAILURES;
  uint32_t at = atomic_fetch_add_explicit(&h->failed, 1, memory_order_relaxed);
  uint32_t oldest;
  atomic_store_explicit(&h->at[at % LLMD__FAILURES], now, memory_order_relaxed);
  oldest = atomic_load_explicit(&h->at[(at - (most - 1)) % LLMD__FAILURES], memory_order_relaxed);
  return oldest && (now - oldest <= window || oldest - now <= window);
}

static void forget_failures(llmd__health *h)
{
  for (uint32_t i = 0; i < LLMD__FAILURES; i++)
    atomic_store_explicit(&h->at[i], 0, memory_order_relaxed);
}

static void eject(llmd__region *g, llmd__health *h, llmd_endpoint_id id, uint64_t life, uint32_t n, uint64_t mono)
{
  if (!count_up(g, llmd__health_most(g, n)))
    return;
  if (!change(h, life, life_of(id >> 32, EJECTED, 0, ms(mono) + span_ms(g, 0)))) {
    count_down(g); /* somebody else did, or the endpoint is another */
    return;
  }
  atomic_fetch_add_explicit(&g->ejections, 1, memory_order_relaxed);
}

/* One that is ejected is not asked: its failure was under way. Unless its time is over, and everybody else is out, too:
 * then it is used, and its failure counts as a trial's. */
void llmd__health_failed(llmd__region *g, llmd_endpoint_id id, uint32_t n, uint64_t mono)
{
  uint32_t failures = option(&g->health_failures);
  llmd__health *h = record_of(g, id);
  uint64_t life;
  if (!h || !failures)
    return;
  life = life_now(h);
  if (unwell(life, id)) {
    if (kind_of(life) == TRIAL || is_over(g, life, mono))
      change(h, life, life_of(id >> 32, EJECTED, level_of(life) + 1, ms(mono) + span_ms(g, level_of(life) + 1)));
    return;
  }
  if (too_many(g, h, failures, mono))
    eject(g, h, id, life, n, mono);
}

/* Failures count when nothing worked between them. One that is counted just now may stay: it is the first of the next
 * ones. */
static void begin_again(llmd__health *h)
{
  uint32_t last = atomic_load_explicit(&h->failed, memory_order_relaxed) - 1;
  if (atomic_load_explicit(&h->at[last % LLMD__FAILURES], memory_order_relaxed))
    forget_failures(h);
}

void llmd__health_worked(llmd__region *g, llmd_endpoint_id id, uint64_t mono)
{
  llmd__health *h = record_of(g, id);
  uint64_t life = h ? life_now(h) : 0;
  if (!h)
    return;
  if (!unwell(life, id)) {
    begin_again(h);
    return;
  }
  if ((kind_of(life) == EJECTED && !is_over(g, life, mono)) || !change(h, life, life_of(id >> 32, WELL, 0, 0)))
    return;
  forget_failures(h);
  count_down(g);
}

void llmd__health_tried_well(llmd__region *g, llmd_endpoint_id id, llmd_ticket t, uint64_t mono)
{
  const llmd__health *h = record_of(g, id);
  if (h && tries(h, id, life_now(h), t))
    llmd__health_worked(g, id, mono);
}

/* ---- the writer ------------------------------------------------------------------------------------------------- */

void llmd__health_slot(llmd__region *g, uint32_t slot)
{
  llmd__health *h = &llmd__region_healths(g)[slot];
  uint32_t kind = kind_of(atomic_exchange_explicit(&h->life, 0, memory_order_acq_rel));
  forget_failures(h);
  if (kind == EJECTED || kind == TRIAL)
    count_down(g);
}

void llmd__health_recount(llmd__region *g, int64_t *drift)
{
  llmd__buffer_view v;
  int64_t n = 0, off;
  llmd__region_view(g, LLMD__BUFFERS, &v);
  for (uint32_t slot = 0; slot < g->caps.endpoints; slot++) {
    llmd__health *h = &llmd__region_healths(g)[slot];
    uint64_t life = life_now(h);
    if (kind_of(life) == WELL)
      continue;
    if (slot < v.head->n && v.row[slot].id && unwell(life, v.row[slot].id))
      n++;
    else
      change(h, life, 0); /* a report on an endpoint that was just leaving */
  }
  off = (int64_t)atomic_load_explicit(&g->unwell, memory_order_relaxed) - n;
  for (int64_t i = off; off == *drift && i > 0; i--)
    count_down(g);
  for (int64_t i = off; off == *drift && i < 0; i++)
    count_up(g, g->caps.endpoints);
  *drift = off;
}

/* ---- options ---------------------------------------------------------------------------------------------------- */

static void set(_Atomic uint32_t *to, uint64_t v)
{
  atomic_store_explicit(to, v < UINT32_MAX / 2 ? (uint32_t)v : UINT32_MAX / 2, memory_order_relaxed);
}

static uint64_t whole_ms(uint64_t ns, uint64_t preset)
{
  return !ns ? preset : ns < 1000000u ? 1 : ns / 1000000u;
}

static void store(llmd__region *g, const llmd_health_options *o)
{
  set(&g->health_failures, o->failures);
  set(&g->health_window_ms, whole_ms(o->window_ns, LLMD__HEALTH_WINDOW_MS));
  set(&g->health_first_ms, whole_ms(o->first_ns, LLMD__HEALTH_FIRST_MS));
  set(&g->health_longest_ms, whole_ms(o->longest_ns, LLMD__HEALTH_LONGEST_MS));
  set(&g->health_percent, o->most_percent ? o->most_percent : LLMD__HEALTH_PERCENT);
}

int llmd_pool_set_health(llmd_pool *pool, const llmd_health_options *options)
{
  llmd_health_options o;
  if (!pool || (options && options->size < sizeof o))
    return LLMD_E_INVALID;
  if (!pool->writer)
    return LLMD_E_DENIED;
  memset(&o, 0, sizeof o);
  o.failures = LLMD__HEALTH_FAILURES;
  if (options)
    o = *options;
  if (o.failures > LLMD__FAILURES || o.most_percent > 100)
    return LLMD_E_RANGE;
  store(pool->g, &o);
  for (uint32_t slot = 0; !o.failures && slot < pool->g->caps.endpoints; slot++)
    llmd__health_slot(pool->g, slot);
  return 0;
}

int llmd__health_unwell(const llmd__region *g, llmd_endpoint_id id)
{
  const llmd__health *h = record_of(g, id);
  return h && unwell(life_now(h), id);
}

int llmd_pool_health(const llmd_pool *pool, llmd_endpoint_id id, uint32_t *state, uint64_t *until)
{
  const llmd__health *h;
  uint64_t life;
  if (!pool || !state || !until)
    return LLMD_E_INVALID;
  h = id ? record_of(pool->g, id) : NULL;
  if (!h)
    return LLMD_E_STALE;
  life = life_now(h);
  *state = unwell(life, id) ? kind_of(life) : LLMD_HEALTH_WELL;
  *until = unwell(life, id) ? until_of(life) * 1000000u : 0;
  return 0;
}
