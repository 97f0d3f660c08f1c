/* Who holds what of a run. */
#include "prefix/sets.h"

/* Where a holder's entry of a tier is; NULL = none. *empty: a place for one, NULL = none. */
static _Atomic uint64_t *entry_find(llmd_index *x, llmd__run *r, uint32_t holder, uint32_t tier,
                                    _Atomic uint64_t **empty)
{
  uint64_t want = llmd__entry(holder, tier, 0, 0) >> 32, e = LLMD__GET(&r->odd);
  *empty = e == 0 ? &r->odd : NULL;
  if (e != 0 && (e >> 32 & 0x3ffffu) == want)
    return &r->odd;
  for (uint32_t n = LLMD__GET(&r->more); n != 0; n = LLMD__GET(&llmd__line_at(x, n)->more.next)) {
    llmd__more *m = &llmd__line_at(x, n)->more;
    for (uint32_t i = 0; i < 7; i++) {
      e = LLMD__GET(&m->entry[i]);
      if (e != 0 && (e >> 32 & 0x3ffffu) == want)
        return &m->entry[i];
      if (e == 0 && *empty == NULL)
        *empty = &m->entry[i];
    }
  }
  return NULL;
}

static void entry_put(llmd_index *x, llmd__run *r, _Atomic uint64_t *at, _Atomic uint64_t *empty, uint64_t e)
{
  if (at == NULL)
    at = empty;
  if (at == NULL) {
    uint32_t line = llmd__line_take(x);
    llmd__more *m = &llmd__line_at(x, line)->more;
    LLMD__PUT(&m->entry[0], e);
    LLMD__PUT(&m->next, LLMD__GET(&r->more));
    LLMD__PUT(&r->more, line);
    return;
  }
  LLMD__PUT(at, e);
}

static int more_empty(const llmd__more *m)
{
  uint64_t any = 0;
  for (uint32_t i = 0; i < 7; i++)
    any |= LLMD__GET(&m->entry[i]);
  return any == 0;
}

/* Takes empty lines of entries out. */
static void more_sweep(llmd_index *x, llmd__run *r)
{
  _Atomic uint32_t *from = &r->more;
  uint32_t n;
  while ((n = LLMD__GET(from)) != 0) {
    llmd__more *m = &llmd__line_at(x, n)->more;
    if (!more_empty(m)) {
      from = &m->next;
      continue;
    }
    LLMD__PUT(from, LLMD__GET(&m->next));
    LLMD__PUT(&r->inc, ++x->head->inc);
    llmd__line_give(x, n);
  }
}

static void entry_clear(llmd_index *x, llmd__run *r, _Atomic uint64_t *at)
{
  LLMD__PUT(at, 0);
  if (at != &r->odd)
    more_sweep(x, r);
}

static uint32_t in_set(const llmd_index *x, const llmd__run *r, uint32_t holder)
{
  uint64_t word = LLMD__GET(&r->set);
  return word != 0 && llmd__set_has(x, word, holder) ? llmd__low(LLMD__SET_FLEN(word)) : 0;
}

uint32_t llmd__run_mask(const llmd_index *x, const llmd__run *r, uint32_t holder, uint32_t tier)
{
  _Atomic uint64_t *empty, *at = entry_find((llmd_index *)(uintptr_t)x, (llmd__run *)(uintptr_t)r, holder, tier, &empty);
  uint32_t mask = at ? LLMD__E_MASK(LLMD__GET(at)) : 0;
  return tier == LLMD_TIER_GPU ? mask | in_set(x, r, holder) : mask;
}

uint32_t llmd__run_mask_any(const llmd_index *x, const llmd__run *r, uint32_t holder)
{
  uint32_t mask = 0;
  for (uint32_t t = 0; t < LLMD_TIER_SPECULATIVE; t++)
    mask |= llmd__run_mask(x, r, holder, t);
  return mask;
}

uint32_t llmd__entry_held(const llmd_index *x, const llmd__run *r, uint64_t e)
{
  uint32_t mask = LLMD__E_MASK(e);
  if (e != 0 && LLMD__E_TIER(e) == LLMD_TIER_GPU)
    mask &= ~in_set(x, r, LLMD__E_HOLDER(e));
  return (uint32_t)__builtin_popcount(mask);
}

static void set_swap(llmd_index *x, llmd__run *r, uint64_t id, uint32_t flen)
{
  uint64_t old = LLMD__GET(&r->set);
  uint32_t parent = LLMD__GET(&r->parent);
  if (parent != 0 && LLMD__SET_KIND(id) == LLMD__SET_INTERNED)
    llmd__set_relate(x, id, LLMD__GET(&llmd__run_at(x, parent)->set));
  LLMD__PUT(&r->set, llmd__set_word(id, flen));
  llmd__set_release(x, old);
}

static int is_low(uint32_t mask)
{
  return (mask & (mask + 1u)) == 0;
}

static uint32_t bits_in(uint32_t mask)
{
  return (uint32_t)__builtin_popcount(mask);
}

/* Adds a holder to the set; its entry goes when the set says all there is to say. */
static void join(llmd_index *x, llmd__run *r, uint32_t holder, uint32_t mask, _Atomic uint64_t *at,
                 _Atomic uint64_t *empty)
{
  uint64_t word = LLMD__GET(&r->set);
  uint32_t flen = LLMD__SET_FLEN(word);
  if (mask != llmd__low(flen))
    entry_put(x, r, at, empty, llmd__entry(holder, LLMD_TIER_GPU, 0, mask));
  set_swap(x, r, llmd__set_add(x, word, holder), flen);
  if (mask == llmd__low(flen) && at != NULL)
    entry_clear(x, r, at);
}

/* How many GPU entries say "all there is", into list. */
static uint32_t whole_entries(const llmd_index *x, const llmd__run *r, uint32_t whole, uint16_t *list)
{
  uint32_t n = 0;
  uint64_t e = LLMD__GET(&r->odd);
  if (e != 0 && LLMD__E_TIER(e) == LLMD_TIER_GPU && LLMD__E_MASK(e) == whole)
    list[n++] = (uint16_t)LLMD__E_HOLDER(e);
  for (uint32_t l = LLMD__GET(&r->more); l != 0; l = LLMD__GET(&llmd__line_at(x, l)->more.next))
    for (uint32_t i = 0; i < 7; i++) {
      e = LLMD__GET(&llmd__line_at(x, l)->more.entry[i]);
      if (e != 0 && LLMD__E_TIER(e) == LLMD_TIER_GPU && LLMD__E_MASK(e) == whole)
        list[n++] = (uint16_t)LLMD__E_HOLDER(e);
    }
  return n;
}

static void sort_holders(uint16_t *h, uint32_t n)
{
  for (uint32_t i = 1; i < n; i++) {
    uint16_t v = h[i];
    uint32_t j = i;
    for (; j > 0 && h[j - 1] > v; j--)
      h[j] = h[j - 1];
    h[j] = v;
  }
}

/* When at least as many holders have the whole run as have only its first flen blocks, the set is better about the
 * whole: the others get entries. At most LLMD__X_FLIP holders move, so that one step stays short. */
static void flip(llmd_index *x, llmd__run *r)
{
  uint64_t word = LLMD__GET(&r->set);
  uint32_t flen = LLMD__SET_FLEN(word), len = llmd__run_len(r), whole = llmd__low(len), n_whole, n_set;
  uint16_t w[LLMD__X_FLIP], s[LLMD__X_FLIP];
  if (flen == len || (n_set = llmd__set_count(x, word)) > LLMD__X_FLIP)
    return;
  if ((n_whole = whole_entries(x, r, whole, x->list)) > LLMD__X_FLIP || n_whole * 2u < n_set || n_whole == 0)
    return;
  for (uint32_t i = 0; i < n_whole; i++)
    w[i] = x->list[i];
  sort_holders(w, n_whole);
  n_set = llmd__set_list(x, word, s);
  for (uint32_t i = 0; i < n_set; i++) {
    _Atomic uint64_t *empty, *at = entry_find(x, r, s[i], LLMD_TIER_GPU, &empty);
    if (at != NULL)
      continue; /* has more than the set says, or the whole */
    entry_put(x, r, at, empty, llmd__entry(s[i], LLMD_TIER_GPU, 0, llmd__low(flen)));
  }
  set_swap(x, r, llmd__set_of(x, w, n_whole), len);
  for (uint32_t i = 0; i < n_whole; i++) {
    _Atomic uint64_t *empty, *at = entry_find(x, r, w[i], LLMD_TIER_GPU, &empty);
    if (at != NULL)
      entry_clear(x, r, at);
  }
}

static void cover_gpu(llmd_index *x, llmd__run *r, uint32_t holder, uint32_t bits)
{
  uint64_t word = LLMD__GET(&r->set);
  _Atomic uint64_t *empty, *at = entry_find(x, r, holder, LLMD_TIER_GPU, &empty);
  uint32_t member = in_set(x, r, holder), had = (at ? LLMD__E_MASK(LLMD__GET(at)) : 0) | member, mask = had | bits;
  uint32_t flen = LLMD__SET_FLEN(word);
  if (mask == had)
    return;
  LLMD__ADD(&x->head->n_held, bits_in(mask) - bits_in(had));
  if (is_low(mask) && (word == 0 || (member && llmd__set_count(x, word) == 1))) {
    set_swap(x, r, (uint64_t)1 << 60 | holder, bits_in(mask));
    if (at != NULL)
      entry_clear(x, r, at);
    return;
  }
  if (!member && word != 0 && (mask & llmd__low(flen)) == llmd__low(flen))
    join(x, r, holder, mask, at, empty);
  else
    entry_put(x, r, at, empty, llmd__entry(holder, LLMD_TIER_GPU, 0, mask));
  if (word != 0 && mask == llmd__low(llmd__run_len(r)) && flen != llmd__run_len(r))
    flip(x, r);
}

void llmd__run_cover(llmd_index *x, uint32_t run, uint32_t holder, uint32_t tier, uint32_t bits, uint32_t promise)
{
  llmd__run *r = llmd__run_at(x, run);
  _Atomic uint64_t *at, *empty;
  uint32_t had;
  if (tier == LLMD_TIER_GPU) {
    cover_gpu(x, r, holder, bits);
    return;
  }
  at = entry_find(x, r, holder, tier, &empty);
  had = at ? LLMD__E_MASK(LLMD__GET(at)) : 0;
  if ((had | bits) == had && promise == 0)
    return;
  LLMD__ADD(&x->head->n_held, bits_in(had | bits) - bits_in(had));
  entry_put(x, r, at, empty, llmd__entry(holder, tier, promise, had | bits));
}

static uint32_t uncover_gpu(llmd_index *x, llmd__run *r, uint32_t holder, uint32_t bits)
{
  _Atomic uint64_t *empty, *at = entry_find(x, r, holder, LLMD_TIER_GPU, &empty);
  uint64_t word = LLMD__GET(&r->set);
  uint32_t member = in_set(x, r, holder), had = (at ? LLMD__E_MASK(LLMD__GET(at)) : 0) | member;
  uint32_t mask = had & ~bits;
  if (mask == had)
    return 0;
  LLMD__ADD(&x->head->n_held, bits_in(mask) - (uint64_t)bits_in(had));
  if (member && mask != 0 && is_low(mask) && llmd__set_count(x, word) == 1) {
    set_swap(x, r, word, bits_in(mask));
    if (at != NULL)
      entry_clear(x, r, at);
  } else if (member && (mask & member) == member) { /* loses only what is beyond the set */
    if (mask == member)
      entry_clear(x, r, at);
    else
      LLMD__PUT(at, llmd__entry(holder, LLMD_TIER_GPU, 0, mask));
  } else {
    if (mask != 0)
      entry_put(x, r, at, empty, llmd__entry(holder, LLMD_TIER_GPU, 0, mask));
    if (member)
      set_swap(x, r, llmd__set_remove(x, word, holder), LLMD__SET_FLEN(word));
    if (mask == 0 && at != NULL)
      entry_clear(x, r, at);
  }
  return had & bits;
}

uint32_t llmd__run_uncover(llmd_index *x, uint32_t run, uint32_t holder, uint32_t tier, uint32_t bits)
{
  llmd__run *r = llmd__run_at(x, run);
  _Atomic uint64_t *at, *empty;
  uint32_t had;
  if (tier == LLMD_TIER_GPU)
    return uncover_gpu(x, r, holder, bits);
  at = entry_find(x, r, holder, tier, &empty);
  had = at ? LLMD__E_MASK(LLMD__GET(at)) : 0;
  if ((had & bits) == 0)
    return 0;
  LLMD__ADD(&x->head->n_held, 0u - (uint64_t)bits_in(had & bits));
  if ((had & ~bits) == 0)
    entry_clear(x, r, at);
  else
    LLMD__PUT(at, LLMD__GET(at) & ~(uint64_t)bits);
  return had & bits;
}

int llmd__run_unpromise(llmd_index *x, uint32_t run, uint32_t holder, uint32_t promise)
{
  llmd__run *r = llmd__run_at(x, run);
  _Atomic uint64_t *empty, *at = entry_find(x, r, holder, LLMD_TIER_SPECULATIVE, &empty);
  if (at == NULL || LLMD__E_PROMISE(LLMD__GET(at)) != promise)
    return 0;
  return llmd__run_uncover(x, run, holder, LLMD_TIER_SPECULATIVE, 0xffffffffu) != 0;
}

/* ---- sweeping ---------------------------------------------------------------------------------------------------- */

static int swept(const llmd_index *x, uint32_t holder)
{
  return LLMD__GET(&x->state[holder]) == LLMD__HOLDER_SWEPT;
}

static int sweep_entry(llmd_index *x, const llmd__run *r, _Atomic uint64_t *at)
{
  uint64_t e = LLMD__GET(at);
  if (e == 0 || !swept(x, LLMD__E_HOLDER(e)))
    return 0;
  LLMD__ADD(&x->head->n_held, 0u - (uint64_t)llmd__entry_held(x, r, e));
  LLMD__PUT(at, 0);
  return 1;
}

static int sweep_set(llmd_index *x, llmd__run *r, int poor)
{
  uint64_t word = LLMD__GET(&r->set);
  uint32_t n = llmd__set_list(x, word, x->list), left = 0;
  for (uint32_t i = 0; i < n; i++)
    if (!swept(x, x->list[i]))
      x->list[left++] = x->list[i];
  if (left == n)
    return 0;
  if (poor) /* no line for the set without them: better nobody than the dead */
    left = 0;
  LLMD__ADD(&x->head->n_held, 0u - (uint64_t)(n - left) * LLMD__SET_FLEN(word));
  set_swap(x, r, left ? llmd__set_of(x, x->list, left) : 0, LLMD__SET_FLEN(word));
  return 1;
}

int llmd__run_sweep(llmd_index *x, uint32_t run, int poor)
{
  llmd__run *r = llmd__run_at(x, run);
  int changed = sweep_entry(x, r, &r->odd), more = 0;
  for (uint32_t n = LLMD__GET(&r->more); n != 0; n = LLMD__GET(&llmd__line_at(x, n)->more.next))
    for (uint32_t i = 0; i < 7; i++)
      more |= sweep_entry(x, r, &llmd__line_at(x, n)->more.entry[i]);
  if (more)
    more_sweep(x, r);
  llmd__own_sweep(x, run);
  return changed | more | sweep_set(x, r, poor);
}
