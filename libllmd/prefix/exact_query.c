/* Asking: one walk down the runs of a chain.
 *
 * What is still unbroken is a bitmap of holders, `alive`. Each run is first read (its set, its entries) into scratch,
 * then looked at again - did anything change meanwhile? - and only then applied: who does not hold all of what the chain
 * has of this run drops out with what it has. The same set word as the run before changes nothing and costs nothing. */
#include "prefix/sets.h"

#include <string.h>

#define AHEAD 8u   /* windows whose slots are asked from memory ahead, */
#define PEEK 4u    /* and whose runs, */
#define RETRIES 16u

/* A holder that has entries in the run at hand. */
typedef struct odd_one {
  uint32_t holder;
  uint32_t mask[LLMD_TIERS];
} odd_one;

/* The scratch. Bitmaps have a word per 64 holders. */
typedef struct walk {
  uint64_t *alive, *set;
  uint16_t *word;      /* the alive words that are not empty, ascending */
  uint16_t *odd_of;    /* [holders] place in odd + 1; 0 = none */
  odd_one *odd;
  uint32_t (*lower)[3]; /* [holders] blocks by lower tier so far; kept zero between queries */
  uint32_t n_words, n_odd, lowered;
  uint64_t prev;       /* id of the set last applied */
  llmd_hit *out;
  uint32_t n, cap;
} walk;

/* What was read of one run. */
typedef struct seen {
  uint64_t word;
  uint32_t inc, m; /* m: blocks of the chain that are this run's */
  uint32_t odd, more;
} seen;

/* ---- scratch ----------------------------------------------------------------------------------------------------- */

static size_t up8(size_t n)
{
  return (n + 7u) & ~(size_t)7u;
}

size_t llmd_index_scratch(const llmd_index *x)
{
  size_t words = x->holders / 64u;
  return 2u * words * 8u + up8(words * 2u) + up8((size_t)x->holders * 2u) + up8((size_t)x->holders * sizeof(odd_one)) +
         up8((size_t)x->holders * 12u);
}

static void walk_begin(walk *w, const llmd_index *x, void *scratch, llmd_hit *out, uint32_t cap)
{
  size_t words = x->holders / 64u;
  char *p = scratch;
  w->alive = (uint64_t *)(void *)p;
  w->set = (uint64_t *)(void *)(p += words * 8u);
  w->word = (uint16_t *)(void *)(p += words * 8u);
  w->odd_of = (uint16_t *)(void *)(p += up8(words * 2u));
  w->odd = (odd_one *)(void *)(p += up8((size_t)x->holders * 2u));
  w->lower = (uint32_t(*)[3])(void *)(p + up8((size_t)x->holders * sizeof(odd_one)));
  w->n_words = w->n_odd = w->lowered = 0;
  w->prev = 0;
  w->out = out;
  w->n = 0;
  w->cap = cap;
}

/* ---- reading a run ----------------------------------------------------------------------------------------------- */

/* How many of keys[0..n) are the run's first blocks. */
static uint32_t matched(const llmd_index *x, const llmd__run *r, const llmd_key *keys, uint32_t n)
{
  uint32_t len = llmd__run_len(r), lo = 0, hi, body;
  if (len > LLMD__X_WINDOW)
    return 0;
  if (len <= n && LLMD__GET(&r->last[0]) == keys[len - 1].lo && LLMD__GET(&r->last[1]) == keys[len - 1].hi)
    return len;
  body = LLMD__GET(&r->body);
  if (!llmd__line_ok(x, body))
    return 0;
  for (hi = len < n ? len : n; lo < hi;) {
    uint32_t mid = (lo + hi + 1u) / 2u;
    if (llmd__key_equal(llmd__run_key(x, &llmd__line_at(x, body)->body, mid - 1u), keys[mid - 1u]))
      lo = mid;
    else
      hi = mid - 1u;
  }
  return lo;
}

static inline int is_alive(const walk *w, uint32_t holder)
{
  return (int)(w->alive[holder / 64] >> (holder % 64) & 1u);
}

static void take_entry(walk *w, const llmd_index *x, uint64_t e, int first)
{
  uint32_t holder = LLMD__E_HOLDER(e), tier = LLMD__E_TIER(e), at;
  if (e == 0 || holder >= x->holders || tier >= LLMD_TIERS || (!first && !is_alive(w, holder)))
    return;
  at = w->odd_of[holder];
  if (at == 0) {
    at = ++w->n_odd;
    w->odd_of[holder] = (uint16_t)at;
    w->odd[at - 1].holder = holder;
    memset(w->odd[at - 1].mask, 0, sizeof w->odd[at - 1].mask);
  }
  w->odd[at - 1].mask[tier] |= LLMD__E_MASK(e);
}

static void drop_odd(walk *w)
{
  for (uint32_t i = 0; i < w->n_odd; i++)
    w->odd_of[w->odd[i].holder] = 0;
  w->n_odd = 0;
}

static void take_entries(walk *w, const llmd_index *x, const llmd__run *r, int first)
{
  uint64_t odd = LLMD__GET(&r->odd);
  uint32_t line = LLMD__GET(&r->more);
  if (odd != 0)
    take_entry(w, x, odd, first);
  for (uint32_t most = x->holders; line != 0 && llmd__line_ok(x, line) && most-- != 0;) {
    const llmd__more *m = &llmd__line_at(x, line)->more;
    line = LLMD__GET(&m->next);
    if (llmd__line_ok(x, line))
      __builtin_prefetch((const void *)llmd__line_at(x, line));
    for (uint32_t i = 0; i < 7; i++)
      take_entry(w, x, LLMD__GET(&m->entry[i]), first);
  }
}

/* Reads a small or inline set's holders into w->set, one by one. */
static void take_list(walk *w, const llmd_index *x, uint64_t word)
{
  uint32_t n = LLMD__SET_KIND(word), h;
  const llmd__set *s = NULL;
  if (n == LLMD__SET_INTERNED) {
    s = llmd__set_at(x, word);
    n = LLMD__GET(&s->n);
    n = n > LLMD__SET_SMALL ? LLMD__SET_SMALL : n;
  }
  for (uint32_t i = 0; i < w->n_words; i++)
    w->set[w->word[i]] = 0;
  for (uint32_t i = 0; i < n; i++) {
    h = s ? LLMD__GET(&s->ref[i / 2]) >> (i % 2 * 16) & 0xffffu : llmd__set_inline(word, i);
    if (h < x->holders)
      w->set[h / 64] |= UINT64_C(1) << h % 64;
  }
}

/* The set's words for all that is alive, into w->set. */
static void take_set(walk *w, const llmd_index *x, uint64_t word)
{
  llmd__set_walk sw;
  const llmd__line64 *g = NULL;
  uint32_t group = 0, at;
  if (LLMD__SET_KIND(word) != LLMD__SET_INTERNED || LLMD__GET(&llmd__set_at(x, word)->groups) == 0) {
    take_list(w, x, word);
    return;
  }
  llmd__set_walk_begin(&sw, x, llmd__set_at(x, word));
  g = llmd__set_walk_next(&sw, x);
  group = g ? (uint32_t)LLMD__GET(&g->w[0]) : 0;
  for (uint32_t i = 0; i < w->n_words; i++) {
    at = w->word[i];
    while (g != NULL && group < at / 7u) {
      g = llmd__set_walk_next(&sw, x);
      group = g ? (uint32_t)LLMD__GET(&g->w[0]) : 0;
    }
    w->set[at] = g != NULL && group == at / 7u ? LLMD__GET(&g->w[1u + at % 7u]) : 0;
  }
}

/* A word of the bitmap comes alive. Words mostly come in order. */
static void add_word(walk *w, uint32_t at, uint64_t bits, uint64_t set)
{
  uint32_t i = w->n_words;
  if (bits == 0)
    return;
  if (w->alive[at] == 0) {
    for (; i != 0 && w->word[i - 1] > at; i--)
      w->word[i] = w->word[i - 1];
    w->word[i] = (uint16_t)at;
    w->n_words++;
    w->set[at] = 0;
  }
  w->alive[at] |= bits;
  w->set[at] |= set;
}

static void add_holder(walk *w, const llmd_index *x, uint32_t holder, int in_set)
{
  uint64_t bit = UINT64_C(1) << holder % 64;
  if (holder < x->holders && (LLMD__GET(&x->live[holder / 64]) & bit))
    add_word(w, holder / 64, bit, in_set ? bit : 0);
}

/* The holders of a prompt's first run: all of the set, all with entries, who live. */
static void take_first(walk *w, const llmd_index *x, uint64_t word)
{
  uint32_t words = x->holders / 64u, n = LLMD__SET_KIND(word);
  const llmd__set *s = n == LLMD__SET_INTERNED ? llmd__set_at(x, word) : NULL;
  if (s != NULL && LLMD__GET(&s->groups) != 0) {
    const llmd__line64 *g;
    llmd__set_walk sw;
    llmd__set_walk_begin(&sw, x, s);
    while ((g = llmd__set_walk_next(&sw, x)) != NULL) {
      uint64_t at = LLMD__GET(&g->w[0]) * 7u;
      for (uint32_t i = 0; i < 7 && at + i < words; i++) {
        uint64_t bits = LLMD__GET(&g->w[i + 1]) & LLMD__GET(&x->live[at + i]);
        add_word(w, (uint32_t)at + i, bits, bits);
      }
    }
  } else {
    n = s ? LLMD__GET(&s->n) : n;
    for (uint32_t i = 0; i < n && i < LLMD__SET_SMALL; i++)
      add_holder(w, x, s ? LLMD__GET(&s->ref[i / 2]) >> (i % 2 * 16) & 0xffffu : llmd__set_inline(word, i), 1);
  }
  for (uint32_t i = 0; i < w->n_odd; i++)
    add_holder(w, x, w->odd[i].holder, 0);
}

/* The bitmap is left as it was found: zero. */
static void forget_alive(walk *w)
{
  for (uint32_t i = 0; i < w->n_words; i++)
    w->alive[w->word[i]] = 0;
  w->n_words = 0;
}

/* ---- applying ---------------------------------------------------------------------------------------------------- */

static void emit(walk *w, const llmd_index *x, uint32_t holder, uint32_t blocks)
{
  uint64_t endpoint = LLMD__GET(&x->who[holder]);
  llmd_hit *hit;
  if (blocks == 0 || endpoint == 0 || w->n == w->cap)
    return;
  hit = &w->out[w->n++];
  hit->endpoint = endpoint;
  hit->blocks = blocks;
  hit->lower[0] = hit->lower[1] = hit->lower[2] = 0;
  if (w->lowered)
    memcpy(hit->lower, w->lower[holder], sizeof hit->lower);
}

static void emit_word(walk *w, const llmd_index *x, uint32_t word, uint64_t bits, uint32_t blocks)
{
  if (blocks == 0)
    return;
  for (; bits != 0; bits &= bits - 1u)
    emit(w, x, word * 64u + (uint32_t)__builtin_ctzll(bits), blocks);
}

static void count_lower(walk *w, uint32_t holder, const uint32_t mask[LLMD_TIERS], uint32_t gpu, uint32_t n)
{
  uint32_t left = llmd__low(n) & ~gpu;
  for (uint32_t t = LLMD_TIER_CPU; t <= LLMD_TIER_REMOTE; t++) {
    w->lower[holder][t - 1] += (uint32_t)__builtin_popcount(left & mask[t]);
    left &= ~mask[t];
  }
  w->lowered = 1;
}

/* Those with entries: who stays gets its bit in w->set, who does not loses it in alive too. */
static void apply_odd(walk *w, const llmd_index *x, uint64_t word, uint32_t m, uint32_t base)
{
  uint32_t low = word ? llmd__low(LLMD__SET_FLEN(word)) : 0;
  for (uint32_t i = 0; i < w->n_odd; i++) {
    const odd_one *o = &w->odd[i];
    uint64_t bit = UINT64_C(1) << o->holder % 64;
    uint32_t gpu = o->mask[LLMD_TIER_GPU] | o->mask[LLMD_TIER_SPECULATIVE], any, n;
    if (!is_alive(w, o->holder))
      continue;
    if (w->set[o->holder / 64] & bit)
      gpu |= low;
    any = gpu | o->mask[LLMD_TIER_CPU] | o->mask[LLMD_TIER_DISK] | o->mask[LLMD_TIER_REMOTE];
    n = any == 0xffffffffu ? 32u : (uint32_t)__builtin_ctz(~any);
    n = n < m ? n : m;
    if ((any ^ gpu) & llmd__low(n))
      count_lower(w, o->holder, o->mask, gpu, n);
    if (n == m)
      continue;
    emit(w, x, o->holder, base + n);
    w->alive[o->holder / 64] &= ~bit;
  }
}

/* m blocks of the chain lie in this run, after base. */
static void apply(walk *w, const llmd_index *x, uint64_t word, uint32_t m, uint32_t base)
{
  uint32_t flen = word ? LLMD__SET_FLEN(word) : 0, left = 0;
  if (w->n_odd != 0)
    apply_odd(w, x, word, m, base);
  if (flen >= m) { /* those with entries who are still alive stay, be they in the set or not */
    for (uint32_t i = 0; i < w->n_odd; i++)
      w->set[w->odd[i].holder / 64] |= UINT64_C(1) << w->odd[i].holder % 64;
  }
  for (uint32_t i = 0; i < w->n_words; i++) {
    uint32_t at = w->word[i];
    uint64_t alive = w->alive[at], stay = w->set[at], gone;
    if (flen < m) {
      uint64_t odd = 0;
      for (uint32_t k = 0; k < w->n_odd; k++)
        if (w->odd[k].holder / 64 == at)
          odd |= UINT64_C(1) << w->odd[k].holder % 64;
      emit_word(w, x, at, alive & stay & ~odd, base + flen);
      emit_word(w, x, at, alive & ~stay & ~odd, base);
      stay = odd;
    } else if ((gone = alive & ~stay) != 0) {
      emit_word(w, x, at, gone, base);
    }
    w->alive[at] = alive & stay;
    w->word[left] = (uint16_t)at;
    left += (alive & stay) != 0;
  }
  w->n_words = left;
  w->prev = w->n_odd == 0 && flen >= m ? LLMD__SET_ID(word) : 0;
  drop_odd(w);
}

/* ---- the walk ---------------------------------------------------------------------------------------------------- */

static void slots_ahead(const llmd_index *x, const llmd_key *keys, uint32_t n, uint32_t at)
{
  if (at < n)
    llmd__slots_prefetch(&x->heads, llmd__head_home(x, &keys[at]));
}

/* Asks for the run that a key's slot seems to name. */
static void run_ahead(const llmd_index *x, const llmd_key *keys, uint32_t n, uint32_t at)
{
  llmd__slots_at s;
  _Atomic uint64_t *where;
  uint64_t slot;
  if (at >= n)
    return;
  llmd__slots_begin(&s, llmd__head_home(x, &keys[at]));
  slot = llmd__slots_next(&x->heads, &s, 28, llmd__head_tag(&keys[at]), &where);
  if (slot != 0 && llmd__line_ok(x, LLMD__HEAD_RUN(slot)))
    __builtin_prefetch((const void *)llmd__line_at(x, LLMD__HEAD_RUN(slot)));
}

static int unchanged(const llmd__run *r, const seen *s, _Atomic uint64_t *where, uint64_t slot)
{
  return LLMD__GET(&r->set) == s->word && LLMD__GET(&r->inc) == s->inc && LLMD__GET(where) == slot;
}

/* Reads the run in this slot. 1 = read and applied, 0 = not the chain's, -1 = it changed meanwhile. */
static int step(walk *w, const llmd_index *x, uint64_t slot, _Atomic uint64_t *where, const llmd_key *keys, uint32_t n,
                uint32_t base, uint32_t *m)
{
  const llmd__run *r;
  seen s;
  uint32_t run = LLMD__HEAD_RUN(slot);
  if (!llmd__line_ok(x, run))
    return 0;
  r = llmd__run_at(x, run);
  s.inc = LLMD__GET(&r->inc);
  s.word = LLMD__GET(&r->set);
  s.m = matched(x, r, keys, n);
  if (s.m == 0)
    return LLMD__GET(where) == slot ? 0 : -1;
  if (LLMD__SET_KIND(s.word) == LLMD__SET_INTERNED && !llmd__line_ok(x, LLMD__SET_LINE(s.word)))
    return -1;
  if (LLMD__GET(&r->odd) != 0 || LLMD__GET(&r->more) != 0)
    take_entries(w, x, r, base == 0);
  if (base != 0 && w->n_odd == 0 && LLMD__SET_ID(s.word) == w->prev && s.word != 0 &&
      LLMD__SET_FLEN(s.word) >= s.m) {
    if (!unchanged(r, &s, where, slot))
      return -1;
    *m = s.m;
    return 1;
  }
  if (base == 0)
    take_first(w, x, s.word);
  else
    take_set(w, x, s.word);
  if (!unchanged(r, &s, where, slot)) {
    drop_odd(w);
    if (base == 0)
      forget_alive(w);
    return -1;
  }
  apply(w, x, s.word, s.m, base);
  *m = s.m;
  return 1;
}

/* Finds the run that goes on with keys[0..n) and applies it; *run = it. 0 = none, -1 = gave up. */
static int next_run(walk *w, const llmd_index *x, const llmd_key *keys, uint32_t n, uint32_t base, uint32_t *m,
                    uint32_t *run)
{
  for (uint32_t tries = 0; tries < RETRIES; tries++) {
    llmd__slots_at at;
    _Atomic uint64_t *where;
    uint64_t slot;
    int rc = 0;
    llmd__slots_begin(&at, llmd__head_home(x, keys));
    while (rc == 0 && (slot = llmd__slots_next(&x->heads, &at, 28, llmd__head_tag(keys), &where)) != 0) {
      rc = step(w, x, slot, where, keys, n, base, m);
      if (rc > 0)
        *run = LLMD__HEAD_RUN(slot);
    }
    if (rc >= 0)
      return rc;
  }
  return -1;
}

static int walk_chain(walk *w, const llmd_index *x, const llmd_key *keys, uint32_t n)
{
  uint32_t base = 0, m, run = 0;
  int rc = 0;
  for (uint32_t i = 1; i < AHEAD; i++)
    slots_ahead(x, keys, n, i * LLMD__X_WINDOW);
  do {
    slots_ahead(x, keys, n, base + AHEAD * LLMD__X_WINDOW);
    run_ahead(x, keys, n, base + PEEK * LLMD__X_WINDOW);
    rc = next_run(w, x, keys + base, n - base, base, &m, &run);
    if (rc <= 0)
      break;
    base += m;
  } while (base < n && w->n_words != 0);
  for (uint32_t i = 0; i < w->n_words; i++)
    emit_word(w, x, w->word[i], w->alive[w->word[i]], base);
  forget_alive(w);
  if (run != 0)
    llmd__touch(x, run);
  return rc;
}

static void clear_lower(walk *w, const llmd_index *x)
{
  if (w->lowered)
    memset(w->lower, 0, (size_t)x->holders * sizeof *w->lower);
}

int llmd_index_query(const llmd_index *x, void *scratch, const llmd_key *keys, uint32_t n, llmd_hit *out, uint32_t cap,
                     uint32_t *shared)
{
  walk w;
  uint32_t freed, tries = 0;
  int rc = 0;
  if (shared != NULL)
    *shared = 0;
  if (n == 0)
    return 0;
  do {
    freed = LLMD__GET(&x->head->freed);
    walk_begin(&w, x, scratch, out, cap);
    rc = walk_chain(&w, x, keys, n);
    clear_lower(&w, x);
  } while (LLMD__GET(&x->head->freed) != freed && tries++ < RETRIES);
  if (LLMD__GET(&x->head->freed) != freed)
    w.n = 0;
  if (rc < 0)
    atomic_fetch_add_explicit(&x->head->torn, 1, memory_order_relaxed);
  return (int)w.n;
}
