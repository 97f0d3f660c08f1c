/* Asking: one walk down the runs of a chain.
 *
 * What is still unbroken is a bitmap of holders, `alive`, in groups of 448 as sets have them. Each run is first read (its
 * set, its entries) into scratch, then looked at again - did anything change meanwhile? - and only then applied: who does
 * not hold all of what the chain has of this run drops out with what it has. The same set word as the run before changes
 * nothing and costs nothing.
 *
 * From a run to the next: its first child, when that one's last key is the chain's; else the heads table. */
#include "prefix/exact_walk.h"

#define RETRIES 16u
#define AHEAD 8u /* runs asked from memory ahead, and half as far their sets */

/* What was read of one run. */
typedef struct seen {
  uint64_t word;
  uint32_t inc, m; /* m: blocks of the chain that are this run's */
} seen;

/* ---- scratch ----------------------------------------------------------------------------------------------------- */

static size_t up8(size_t n)
{
  return (n + 7u) & ~(size_t)7u;
}

static size_t groups_of(const llmd_index *x)
{
  return x->holders / LLMD__GROUP + 1u;
}

size_t llmd_index_scratch(const llmd_index *x)
{
  size_t words = groups_of(x) * WORDS;
  return (4u + LLMD__COHORTS) * words * 8u + 2u * up8(groups_of(x) * 2u) + up8((size_t)x->holders * 2u) +
         up8((size_t)x->holders * sizeof(odd_one)) + up8((size_t)x->holders * 12u) +
         8u + (size_t)x->holders * sizeof(reach);
}

/* Where somebody has sliding windows. What is known of holders is of this query, the turn says. */
static void reach_begin(walk *w, char *p)
{
  uint32_t *turn = (uint32_t *)(void *)p;
  w->reach = LLMD__GET(&w->x->head->windows) ? (reach *)(void *)(p + 8) : NULL;
  w->tiers = w->reach ? LLMD__X_TIERS : LLMD_TIERS;
  w->lowered = w->reach ? LOWERED_REACH : 0;
  if (w->reach != NULL && ++*turn == 0) {
    memset(w->reach, 0, (size_t)w->x->holders * sizeof *w->reach);
    *turn = 1;
  }
  w->turn = w->reach ? *turn : 0;
}

static void walk_begin(walk *w, const llmd_index *x, void *scratch, llmd_hit *out, uint32_t cap)
{
  size_t words = groups_of(x) * WORDS;
  char *p = scratch;
  w->x = x;
  w->alive = (uint64_t *)(void *)p;
  w->set = w->alive + words;
  w->keep = w->set + words;
  w->sets = w->keep + words;
  w->words = words;
  w->group = (uint16_t *)(void *)(p += (4u + LLMD__COHORTS) * words * 8u);
  w->dirty = (uint16_t *)(void *)(p += up8(groups_of(x) * 2u));
  w->odd_of = (uint16_t *)(void *)(p += up8(groups_of(x) * 2u));
  w->odd = (odd_one *)(void *)(p += up8((size_t)x->holders * 2u));
  w->lower = (uint32_t(*)[3])(void *)(p += up8((size_t)x->holders * sizeof(odd_one)));
  w->n_groups = w->n_dirty = w->n_odd = w->n_some = 0;
  reach_begin(w, p + up8((size_t)x->holders * 12u));
  w->shared = LLMD__GET(&x->head->shared);
  w->rest = 0;
  w->rest_alive = w->shared != 0;
  w->prev = 0;
  w->out = out;
  w->n = w->n_late = 0;
  w->cap = cap;
}

/* ---- reading a run ----------------------------------------------------------------------------------------------- */

/* How many of keys[0..n) are the run's first blocks. */
static uint32_t matched(const llmd_index *x, const llmd__run *r, const llmd_key *keys, uint32_t n)
{
  uint32_t len = llmd__run_len(r), lo = 0, hi, body;
  if (len > LLMD__X_WINDOW)
    return 0;
  if (len != 0 && len <= n && LLMD__GET(&r->last[0]) == keys[len - 1].lo && LLMD__GET(&r->last[1]) == keys[len - 1].hi)
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

void llmd__walk_odd(walk *w, uint32_t holder, uint32_t tier, uint32_t mask)
{
  uint32_t at = w->odd_of[holder];
  if (at == 0) {
    at = ++w->n_odd;
    w->odd_of[holder] = (uint16_t)at;
    w->odd[at - 1].holder = holder;
    memset(w->odd[at - 1].mask, 0, sizeof w->odd[at - 1].mask);
  }
  w->odd[at - 1].mask[tier] |= mask;
}

static void take_cohort(walk *w, uint64_t e)
{
  if (w->n_some == LLMD__COHORTS || !llmd__line_ok(w->x, LLMD__E_SET(e)))
    return;
  w->some[w->n_some].word = llmd__set_id(w->x, LLMD__E_SET(e));
  w->some[w->n_some].n = (uint32_t)__builtin_popcount(LLMD__E_MASK(e));
  w->n_some++;
}

static inline void take_entry(walk *w, uint64_t e, int all)
{
  uint32_t holder = LLMD__E_HOLDER(e), tier = LLMD__E_TIER(e);
  if (e == 0)
    return;
  if (tier == LLMD__COHORT)
    take_cohort(w, e);
  else if (tier < w->tiers && holder < w->x->holders && (all || is_alive(w, holder)))
    llmd__walk_odd(w, holder, tier, LLMD__E_MASK(e));
}

static void drop_odd(walk *w)
{
  for (uint32_t i = 0; i < w->n_odd; i++)
    w->odd_of[w->odd[i].holder] = 0;
  w->n_odd = 0;
  w->n_some = 0;
}

static void take_entries(walk *w, const llmd__run *r, uint32_t line, int all)
{
  const llmd_index *x = w->x;
  uint64_t odd = LLMD__GET(&r->odd);
  if (odd != 0)
    take_entry(w, odd, all);
  for (uint32_t most = x->holders; line != 0 && llmd__line_ok(x, line) && most-- != 0;) {
    const llmd__more *m = &llmd__line_at(x, line)->more;
    line = LLMD__GET(&m->next);
    if (llmd__line_ok(x, line))
      __builtin_prefetch((const void *)llmd__line_at(x, line));
    for (uint32_t i = 0; i < 7; i++)
      take_entry(w, LLMD__GET(&m->entry[i]), all);
  }
}

/* Most entries are of holders whose chain ends in this run: GPU, one each. Into w->end; 0 = there are others, or many. */
static int take_ends(walk *w, const llmd__run *r, uint32_t line)
{
  uint64_t e = LLMD__GET(&r->odd);
  uint32_t n = e != 0, tiers = LLMD__E_TIER(e), left = ENDS; /* lines: those used again may lead round in a ring */
  w->end[0] = e;
  for (; line != 0 && tiers == LLMD_TIER_GPU; line = LLMD__GET(&llmd__line_at(w->x, line)->more.next)) {
    if (!llmd__line_ok(w->x, line) || n + 7u > ENDS || left-- == 0)
      return 0;
    for (uint32_t i = 0; i < 7; i++) {
      e = LLMD__GET(&llmd__line_at(w->x, line)->more.entry[i]);
      w->end[n] = e;
      n += e != 0;
      tiers |= LLMD__E_TIER(e);
    }
  }
  if (tiers != LLMD_TIER_GPU)
    return 0;
  w->n_ends = n;
  return 1;
}

/* Makes group g one of which somebody may drop out: its words in w->set are who. */
static uint64_t *dirty_group(walk *w, uint32_t g)
{
  for (uint32_t i = 0; i < w->n_dirty; i++)
    if (w->dirty[i] == g)
      return &w->set[g * WORDS];
  w->dirty[w->n_dirty++] = (uint16_t)g;
  return memset(&w->set[g * WORDS], 0, WORDS * sizeof *w->set);
}

static void add_gone(walk *w, uint32_t holder)
{
  if (holder < w->x->holders && is_alive(w, holder))
    dirty_group(w, holder / LLMD__GROUP)[holder % LLMD__GROUP / 64] |= UINT64_C(1) << holder % 64;
}

/* The set may say that it is the one before without one to four. */
static int take_related(walk *w, uint64_t word)
{
  const llmd__set *s = llmd__set_at(w->x, word);
  uint32_t but, others;
  uint64_t of;
  if (LLMD__SET_KIND(word) != LLMD__SET_INTERNED || LLMD__GET(&s->groups) == 0)
    return 0;
  but = LLMD__GET(&s->ref[8]);
  others = LLMD__GET(&s->ref[5]);
  of = (uint64_t)LLMD__SET_INTERNED << 60 | (uint64_t)LLMD__GET(&s->ref[7]) << 28 | LLMD__GET(&s->ref[6]);
  if (but == LLMD__SET_BUT_NONE || of != w->prev || LLMD__GET(&s->ref[8]) != but)
    return 0;
  add_gone(w, but & 0xffffu);
  add_gone(w, but >> 16);
  add_gone(w, others & 0xffffu);
  add_gone(w, others >> 16);
  return 1;
}

/* The same for a set that is a list. */
static void take_gone_listed(walk *w, const beside *b)
{
  const uint32_t n = listed_count(b);
  for (uint32_t i = 0; i < w->n_groups; i++)
    memcpy(&w->set[w->group[i] * WORDS], &w->alive[w->group[i] * WORDS], WORDS * sizeof *w->set);
  for (uint32_t i = 0; i < n; i++) {
    const uint32_t h = listed_at(b, i);
    if (h < w->x->holders)
      w->set[h / 64] &= ~(UINT64_C(1) << h % 64);
  }
  for (uint32_t i = 0; i < w->n_groups; i++) {
    uint64_t any = 0;
    for (uint32_t k = 0; k < WORDS; k++)
      any |= w->set[w->group[i] * WORDS + k];
    if (any != 0)
      w->dirty[w->n_dirty++] = w->group[i];
  }
}

/* Who of the alive is not in the set: into w->set, group by group, for the groups that have such. */
static void take_gone(walk *w, uint64_t word)
{
  beside b;
  if (LLMD__SET_ID(word) == w->prev || take_related(w, word))
    return;
  beside_begin(&b, w->x, word);
  if (b.line == NULL) {
    take_gone_listed(w, &b);
    return;
  }
  for (uint32_t i = 0; i < w->n_groups; i++) {
    uint32_t g = w->group[i];
    const _Atomic uint64_t *s = beside_group(&b, w->x, g);
    const uint64_t *alive = &w->alive[g * WORDS];
    uint64_t *gone = &w->set[g * WORDS], any = 0;
    if (s != NULL) {
      for (uint32_t k = 0; k < WORDS; k++)
        any |= alive[k] & ~LLMD__GET(&s[k]);
      if (any == 0)
        continue;
    }
    for (uint32_t k = 0; k < WORDS; k++)
      gone[k] = s ? alive[k] & ~LLMD__GET(&s[k]) : alive[k];
    w->dirty[w->n_dirty++] = (uint16_t)g;
  }
}

/* A group comes alive, if it was not. They mostly come in order. */
static void add_group(walk *w, uint32_t g)
{
  uint32_t at = w->n_groups;
  while (at != 0 && w->group[at - 1] > g)
    at--;
  if (at != 0 && w->group[at - 1] == g)
    return;
  memmove(w->group + at + 1, w->group + at, (w->n_groups - at) * sizeof *w->group);
  w->group[at] = (uint16_t)g;
  w->n_groups++;
}

void llmd__walk_add(walk *w, uint32_t holder)
{
  uint64_t bit = UINT64_C(1) << holder % 64;
  if (holder >= w->x->holders || !(LLMD__GET(&w->x->live[holder / 64]) & bit))
    return;
  add_group(w, holder / LLMD__GROUP);
  w->alive[holder / 64] |= bit;
}

static void take_group(walk *w, uint64_t g, const _Atomic uint64_t *bits)
{
  const llmd_index *x = w->x;
  uint64_t any = 0, *alive;
  if (g >= groups_of(x))
    return;
  alive = &w->alive[g * WORDS];
  add_group(w, (uint32_t)g);
  for (uint32_t k = 0; k < WORDS && g * WORDS + k < x->holders / 64u; k++)
    any |= alive[k] |= LLMD__GET(&bits[k]) & LLMD__GET(&x->live[g * WORDS + k]);
  if (any == 0)
    llmd__walk_shrink(w);
}

static void take_all_of(walk *w, uint64_t word)
{
  beside b;
  uint32_t n;
  beside_begin(&b, w->x, word);
  n = listed_count(&b);
  for (uint32_t i = 0; i < n; i++)
    llmd__walk_add(w, listed_at(&b, i));
  for (; b.line != NULL; beside_next(&b, w->x))
    take_group(w, b.group, &b.line->w[1]);
}

/* The holders of a prompt's first run: all of its sets, all with entries, who live. */
static void take_first(walk *w, uint64_t word)
{
  take_all_of(w, word);
  for (uint32_t i = 0; i < w->n_some; i++)
    take_all_of(w, w->some[i].word);
  for (uint32_t i = 0; i < w->n_odd; i++)
    llmd__walk_add(w, w->odd[i].holder);
}

/* The bitmap is left as it was found: zero. */
static void forget_alive(walk *w)
{
  for (uint32_t i = 0; i < w->n_groups; i++)
    memset(&w->alive[w->group[i] * WORDS], 0, WORDS * sizeof *w->alive);
  w->n_groups = 0;
}

/* ---- applying ---------------------------------------------------------------------------------------------------- */

void llmd__walk_emit(walk *w, uint32_t holder, uint32_t blocks)
{
  const _Atomic uint64_t *who = &w->x->who[holder];
  const uint32_t *lower = w->lower[holder];
  uint64_t endpoint = holder;
  llmd_hit *hit;
  if (w->reach != NULL)
    blocks = llmd__reach_of(w, holder, blocks, &lower);
  if (blocks == 0 || w->n == w->cap)
    return;
  if (w->shared != 0 && blocks == w->rest && lower[LLMD_TIER_REMOTE - 1] == blocks)
    return; /* has what everybody has */
  if (w->n_late < LATE) { /* who that is comes from memory while the walk goes on */
    __builtin_prefetch((const void *)who);
    w->late[w->n_late++] = w->n;
  } else if ((endpoint = LLMD__GET(who)) == 0) {
    return;
  }
  hit = &w->out[w->n++];
  hit->endpoint = endpoint;
  hit->blocks = blocks;
  hit->lower[0] = hit->lower[1] = hit->lower[2] = 0;
  if (w->lowered)
    memcpy(hit->lower, lower, sizeof hit->lower);
}

void llmd__walk_emit_word(walk *w, uint32_t word, uint64_t bits, uint32_t blocks)
{
  const _Atomic uint64_t *who = &w->x->who[word * 64u];
  llmd_hit *hit = w->out + w->n;
  if (blocks == 0 || bits == 0)
    return;
  if (w->lowered || w->cap - w->n < 64u || (bits & (bits - 1u)) == 0) {
    for (; bits != 0; bits &= bits - 1u)
      llmd__walk_emit(w, word * 64u + (uint32_t)__builtin_ctzll(bits), blocks);
    return;
  }
  for (; bits != 0; bits &= bits - 1u) {
    uint64_t endpoint = LLMD__GET(&who[__builtin_ctzll(bits)]);
    hit->endpoint = endpoint;
    hit->blocks = blocks;
    hit->lower[0] = hit->lower[1] = hit->lower[2] = 0;
    hit += endpoint != 0;
  }
  w->n = (uint32_t)(hit - w->out);
}

/* Puts endpoints for the holders that were noted. A holder that died meanwhile is nobody. */
static void resolve(walk *w)
{
  uint32_t dead = 0, left = 0;
  for (uint32_t i = 0; i < w->n_late; i++) {
    llmd_hit *hit = &w->out[w->late[i]];
    hit->endpoint = LLMD__GET(&w->x->who[hit->endpoint]);
    dead += hit->endpoint == 0;
  }
  for (uint32_t i = 0; dead != 0 && i < w->n; i++)
    if (w->out[i].endpoint != 0)
      w->out[left++] = w->out[i];
  w->n = dead != 0 ? left : w->n;
  w->n_late = 0;
}

static int group_empty(const walk *w, uint32_t g)
{
  uint64_t any = 0;
  for (uint32_t k = 0; k < WORDS; k++)
    any |= w->alive[g * WORDS + k];
  return any == 0;
}

/* Takes groups that died out of the list. */
void llmd__walk_shrink(walk *w)
{
  uint32_t left = 0;
  for (uint32_t i = 0; i < w->n_groups; i++)
    if (!group_empty(w, w->group[i]))
      w->group[left++] = w->group[i];
  w->n_groups = left;
}

/* take_gone's findings. */
static void apply_gone(walk *w, uint32_t base)
{
  int died = 0;
  for (uint32_t i = 0; i < w->n_dirty; i++) {
    uint32_t at = w->dirty[i] * WORDS;
    uint64_t any = 0;
    for (uint32_t k = at; k < at + WORDS; k++) {
      uint64_t gone = w->set[k];
      any |= w->alive[k] &= ~gone;
      if (gone != 0)
        llmd__walk_emit_word(w, k, gone, base);
    }
    died |= any == 0;
  }
  if (died)
    llmd__walk_shrink(w);
}

static void count_lower(walk *w, uint32_t holder, const uint32_t mask[LLMD_TIERS], uint32_t gpu, uint32_t n)
{
  uint32_t left = llmd__low(n) & ~gpu;
  for (uint32_t t = LLMD_TIER_CPU; t <= LLMD_TIER_REMOTE; t++) {
    w->lower[holder][t - 1] += (uint32_t)__builtin_popcount(left & mask[t]);
    left &= ~mask[t];
  }
  w->lowered |= LOWERED_COUNTED;
}

uint32_t llmd__walk_judge(walk *w, const odd_one *o, uint32_t in_set, uint32_t m)
{
  uint32_t gpu = o->mask[LLMD_TIER_GPU] | o->mask[LLMD_TIER_SPECULATIVE] | in_set, n;
  uint32_t any = gpu | o->mask[LLMD_TIER_CPU] | o->mask[LLMD_TIER_DISK] | o->mask[LLMD_TIER_REMOTE];
  n = any == 0xffffffffu ? 32u : (uint32_t)__builtin_ctz(~any);
  n = n < m ? n : m;
  if ((any ^ gpu) & llmd__low(n))
    count_lower(w, o->holder, o->mask, gpu, n);
  return n;
}

/* Those with entries, where the set speaks of all m blocks: whoever has all stays, the others drop out here. Returns how
 * many stay who are not in the set. */
static uint32_t apply_odd(walk *w, uint32_t m, uint32_t base)
{
  uint32_t extra = 0;
  for (uint32_t i = 0; i < w->n_odd; i++) {
    const odd_one *o = &w->odd[i];
    uint64_t bit = UINT64_C(1) << o->holder % 64, *gone;
    uint32_t n;
    if (!is_alive(w, o->holder))
      continue;
    gone = &dirty_group(w, o->holder / LLMD__GROUP)[o->holder % LLMD__GROUP / 64];
    n = llmd__walk_judge(w, o, *gone & bit ? 0 : llmd__low(m), m);
    if (w->reach != NULL)
      llmd__reach_judge(w, o, *gone & bit ? 0 : llmd__low(m), 0, n, base);
    extra += n == m && (*gone & bit) != 0;
    *gone &= ~bit;
    if (n == m)
      continue;
    llmd__walk_emit(w, o->holder, base + n);
    w->alive[o->holder / 64] &= ~bit;
  }
  return extra;
}

/* The same for plain entries; whoever is in the set stays anyhow. */
static uint32_t apply_ends(walk *w, uint32_t m, uint32_t base)
{
  uint32_t extra = 0;
  for (uint32_t i = 0; i < w->n_ends; i++) {
    const uint32_t holder = LLMD__E_HOLDER(w->end[i]), miss = ~LLMD__E_MASK(w->end[i]) & llmd__low(m);
    const uint64_t bit = UINT64_C(1) << holder % 64;
    uint32_t k = 0;
    if (holder >= w->x->holders || !is_alive(w, holder))
      continue;
    while (k < w->n_dirty && w->dirty[k] != holder / LLMD__GROUP)
      k++;
    if (k == w->n_dirty || !(w->set[holder / 64] & bit))
      continue;
    w->set[holder / 64] &= ~bit;
    if (miss == 0) {
      extra++;
      continue;
    }
    w->alive[holder / 64] &= ~bit;
    llmd__walk_emit(w, holder, base + (uint32_t)__builtin_ctz(miss));
  }
  return extra;
}

/* ---- the walk ---------------------------------------------------------------------------------------------------- */

/* How the walk came to a run: what must still be so when it has been read. */
typedef struct door {
  const _Atomic uint64_t *slot; /* of the heads table, or */
  const _Atomic uint32_t *child; /* of the run before */
  uint64_t value;
} door;

static int unchanged(const llmd__run *r, const seen *s, const door *d)
{
  return LLMD__GET(&r->set) == s->word && LLMD__GET(&r->inc) == s->inc &&
         (d->slot ? LLMD__GET(d->slot) : LLMD__GET(d->child)) == d->value;
}

/* Everything of the run into scratch. how: 0 = only who is not in its set, 1 = all, 2 = all, with a store for all. */
static void gather(walk *w, uint64_t word, uint32_t how, uint32_t base)
{
  w->n_dirty = 0;
  if (how != 0 && word != 0) {
    w->some[w->n_some].word = word;
    w->some[w->n_some++].n = LLMD__SET_FLEN(word);
  }
  if (how == 2)
    llmd__walk_read_shared(w);
  else if (how == 1)
    llmd__walk_read_all(w);
  else if (base != 0 || w->n_odd != 0)
    take_gone(w, word);
}

/* The set speaks of all m blocks. Returns its id when all who are alive are in it. */
static uint64_t apply_plain(walk *w, uint64_t word, uint32_t m, uint32_t base)
{
  uint32_t extra = w->n_odd ? apply_odd(w, m, base) : apply_ends(w, m, base);
  if (w->n_dirty != 0)
    apply_gone(w, base);
  return extra == 0 ? LLMD__SET_ID(word) : 0;
}

/* Reads the run behind the door. 1 = read and applied, -1 = it changed meanwhile. s->m is known. */
static int read_run(walk *w, const llmd__run *r, seen *s, const door *d, uint32_t base)
{
  uint32_t line = LLMD__GET(&r->more), how;
  uint64_t word = s->word;
  const int one_set = base != 0 && w->shared == 0 && word != 0 && LLMD__SET_FLEN(word) >= s->m;
  if (LLMD__SET_KIND(word) == LLMD__SET_INTERNED && !llmd__line_ok(w->x, LLMD__SET_LINE(word)))
    return -1;
  w->n_ends = 0;
  if ((line != 0 || LLMD__GET(&r->odd) != 0) && !(one_set && take_ends(w, r, line)))
    take_entries(w, r, line, base == 0 || w->shared != 0);
  if (base == 0 && w->shared == 0)
    take_first(w, word);
  how = w->shared != 0 ? 2 : w->n_some != 0 || word == 0 || LLMD__SET_FLEN(word) < s->m;
  gather(w, word, how, base);
  if (!unchanged(r, s, d)) {
    drop_odd(w);
    if (base == 0)
      forget_alive(w);
    return -1;
  }
  w->prev = 0;
  if (how == 2)
    llmd__walk_apply_shared(w, s->m, base);
  else if (how == 1)
    llmd__walk_apply_all(w, s->m, base);
  else
    w->prev = apply_plain(w, word, s->m, base);
  if (w->n_odd + w->n_some != 0)
    drop_odd(w);
  return 1;
}

static inline void ask(const llmd_index *x, uint32_t line)
{
  if (llmd__line_ok(x, line))
    __builtin_prefetch((const void *)llmd__line_at(x, line));
}

/* Where many runs hang on one, the heads table will be asked for the next: its slot is asked from memory before the run
 * itself is looked into. */
static inline void ask_next(const llmd_index *x, const llmd__run *r, const llmd_key *keys, uint32_t m, uint32_t n)
{
  if (m < n && (LLMD__GET(&r->shape) & LLMD__MANY))
    llmd__slots_prefetch(&x->heads, llmd__head_home(x, &keys[m]));
}

/* By the heads table. 0 = no run goes on with these keys. */
static int by_head(walk *w, const llmd_key *keys, uint32_t n, uint32_t base, uint32_t *m, uint32_t *run)
{
  const llmd_index *x = w->x;
  llmd__slots_at at;
  _Atomic uint64_t *where;
  uint64_t slot;
  llmd__slots_begin(&at, llmd__head_home(x, keys));
  while ((slot = llmd__slots_next(&x->heads, &at, 28, llmd__head_tag(keys), &where)) != 0) {
    door d = {where, NULL, slot};
    const llmd__run *r;
    seen s;
    if (!llmd__line_ok(x, LLMD__HEAD_RUN(slot)))
      return -1;
    r = llmd__run_at(x, LLMD__HEAD_RUN(slot));
    s.inc = LLMD__GET(&r->inc);
    s.word = LLMD__GET(&r->set);
    if (LLMD__SET_KIND(s.word) == LLMD__SET_INTERNED)
      for (uint32_t i = 0; i < 4; i++) /* a set's lines mostly lie in a row too */
        ask(x, LLMD__SET_LINE(s.word) + i);
    s.m = matched(x, r, keys, n);
    if (s.m == 0) {
      if (LLMD__GET(where) != slot)
        return -1;
      continue;
    }
    ask_next(x, r, keys, s.m, n);
    if (read_run(w, r, &s, &d, base) < 0)
      return -1;
    *run = LLMD__HEAD_RUN(slot);
    *m = s.m;
    return 1;
  }
  return 0;
}

/* By the first child of the run at hand, when all of it is the chain's. */
static int by_child(walk *w, const llmd_key *keys, uint32_t n, uint32_t base, uint32_t *m, uint32_t *run)
{
  const llmd_index *x = w->x;
  const _Atomic uint32_t *from = &llmd__run_at(x, *run)->child;
  uint32_t child = LLMD__GET(from);
  door d = {NULL, from, child};
  const llmd__run *r;
  seen s;
  if (!llmd__line_ok(x, child))
    return 0;
  r = llmd__run_at(x, child);
  s.inc = LLMD__GET(&r->inc);
  s.word = LLMD__GET(&r->set);
  s.m = llmd__run_len(r);
  if (s.m == 0 || s.m > n || LLMD__GET(&r->last[0]) != keys[s.m - 1].lo || LLMD__GET(&r->last[1]) != keys[s.m - 1].hi)
    return 0;
  ask_next(x, r, keys, s.m, n);
  if (read_run(w, r, &s, &d, base) < 0)
    return 0; /* the heads table knows */
  *run = child;
  *m = s.m;
  return 1;
}

/* Applies the run that goes on with keys[0..n); *run = the one before, then it. 0 = none, -1 = gave up. */
static int next_run(walk *w, const llmd_key *keys, uint32_t n, uint32_t base, uint32_t *m, uint32_t *run)
{
  int rc = -1;
  if (base != 0) {
    const llmd__run *before = llmd__run_at(w->x, *run);
    if (LLMD__GET(&before->child) == 0 && LLMD__GET(&w->x->head->mending) == 0)
      return 0;
    if (!(LLMD__GET(&before->shape) & LLMD__MANY) && by_child(w, keys, n, base, m, run))
      return 1;
  }
  for (uint32_t tries = 0; rc < 0 && tries < RETRIES; tries++)
    rc = by_head(w, keys, n, base, m, run);
  return rc;
}

static inline void ask_set(const llmd_index *x, uint32_t run)
{
  uint64_t word;
  if (!llmd__line_ok(x, run))
    return;
  word = LLMD__GET(&llmd__run_at(x, run)->set);
  for (uint32_t i = 0; LLMD__SET_KIND(word) == LLMD__SET_INTERNED && i < 4; i++)
    ask(x, LLMD__SET_LINE(word) + i);
  ask(x, LLMD__GET(&llmd__run_at(x, run)->more));
}

/* What comes is asked from memory ahead. A chain's runs mostly lie in a row (exact_line.c), so guess by their distance;
 * a wrong guess costs nothing but the asking. */
static void look_ahead(const llmd_index *x, uint32_t run)
{
  uint32_t child = LLMD__GET(&llmd__run_at(x, run)->child), far = child - run;
  if (far + 2u > 4u) {
    ask(x, child);
    return;
  }
  ask(x, run + far * AHEAD);
  ask_set(x, run + far * (AHEAD / 2u));
}

static int walk_chain(walk *w, const llmd_key *keys, uint32_t n)
{
  const llmd_index *x = w->x;
  uint32_t base = 0, m, run = 0;
  int rc;
  do {
    rc = next_run(w, keys + base, n - base, base, &m, &run);
    if (rc <= 0)
      break;
    base += m;
    if (base < n)
      look_ahead(x, run);
  } while (base < n && (w->n_groups != 0 || w->rest_alive));
  if (w->rest_alive)
    w->rest = base;
  for (uint32_t i = 0; i < w->n_groups; i++)
    for (uint32_t k = w->group[i] * WORDS; k < w->group[i] * WORDS + WORDS; k++)
      llmd__walk_emit_word(w, k, w->alive[k], base);
  forget_alive(w);
  resolve(w);
  if (run != 0)
    llmd__touch(x, run);
  return rc;
}

static void clear_lower(walk *w)
{
  if (w->lowered & LOWERED_COUNTED)
    memset(w->lower, 0, (size_t)w->x->holders * sizeof *w->lower);
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
    rc = walk_chain(&w, keys, n);
    clear_lower(&w);
    if (shared != NULL)
      *shared = w.rest;
  } while (LLMD__GET(&x->head->freed) != freed && tries++ < RETRIES);
  if (LLMD__GET(&x->head->freed) != freed)
    w.n = 0;
  if (rc < 0)
    atomic_fetch_add_explicit(&x->head->torn, 1, memory_order_relaxed);
  return (int)w.n;
}
