/* Who holds what of a run. */
#include "prefix/sets.h"

/* Calls for each entry of a run: at = where it is. */
#define EACH_ENTRY(x, r, at)                                                                                         \
  for (uint32_t line_ = 0, i_ = 0; entry_at(x, r, &line_, &i_, &(at)); i_++)

static int entry_at(llmd_index *x, llmd__run *r, uint32_t *line, uint32_t *i, _Atomic uint64_t **at)
{
  if (*line == 0) {
    if (*i == 0) {
      *at = &r->odd;
      return 1;
    }
    *line = LLMD__GET(&r->more);
    *i = 0;
  } else if (*i == 7) {
    *line = LLMD__GET(&llmd__line_at(x, *line)->more.next);
    *i = 0;
  }
  if (*line == 0)
    return 0;
  *at = &llmd__line_at(x, *line)->more.entry[*i];
  return 1;
}

/* Where a holder's entry of a tier is; NULL = none. *empty: a place for one, NULL = none. */
static _Atomic uint64_t *entry_find(llmd_index *x, llmd__run *r, uint32_t holder, uint32_t tier,
                                    _Atomic uint64_t **empty)
{
  _Atomic uint64_t *at;
  *empty = NULL;
  EACH_ENTRY(x, r, at) {
    uint64_t e = LLMD__GET(at);
    if (e == 0)
      *empty = *empty ? *empty : at;
    else if (LLMD__E_TIER(e) == tier && LLMD__E_HOLDER(e) == holder)
      return at;
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

/* ---- cohorts ----------------------------------------------------------------------------------------------------- */

/* The cohort that the holder is in; NULL = none. */
static _Atomic uint64_t *cohort_of(llmd_index *x, llmd__run *r, uint32_t holder)
{
  _Atomic uint64_t *at;
  EACH_ENTRY(x, r, at) {
    uint64_t e = LLMD__GET(at);
    if (e != 0 && LLMD__E_TIER(e) == LLMD__COHORT && llmd__set_has(x, llmd__set_id(x, LLMD__E_SET(e)), holder))
      return at;
  }
  return NULL;
}

/* The cohort with this mask; *n = how many cohorts there are. */
static _Atomic uint64_t *cohort_find(llmd_index *x, llmd__run *r, uint32_t mask, uint32_t *n)
{
  _Atomic uint64_t *at, *found = NULL;
  *n = 0;
  EACH_ENTRY(x, r, at) {
    uint64_t e = LLMD__GET(at);
    if (e == 0 || LLMD__E_TIER(e) != LLMD__COHORT)
      continue;
    ++*n;
    if (LLMD__E_MASK(e) == mask)
      found = at;
  }
  return found;
}

/* The cohort is this set from now on, whose reference it takes; fewer than a set needs become entries of their own. */
static void cohort_put(llmd_index *x, llmd__run *r, _Atomic uint64_t *at, uint64_t id)
{
  uint64_t old = LLMD__GET(at);
  uint32_t mask = LLMD__E_MASK(old);
  if (LLMD__SET_KIND(id) == LLMD__SET_INTERNED) {
    LLMD__PUT(&r->inc, ++x->head->inc); /* whoever leaves has an entry by now, maybe where somebody has read already */
    LLMD__PUT(at, llmd__cohort(LLMD__SET_LINE(id), mask));
  } else {
    for (uint32_t i = 0; i < LLMD__SET_KIND(id); i++) {
      uint32_t holder = llmd__set_inline(id, i);
      _Atomic uint64_t *empty, *own = entry_find(x, r, holder, LLMD_TIER_GPU, &empty);
      if (own == NULL)
        entry_put(x, r, NULL, empty, llmd__entry(holder, LLMD_TIER_GPU, 0, mask));
    }
    LLMD__PUT(&r->inc, ++x->head->inc);
    LLMD__PUT(at, 0);
  }
  LLMD__PUT(&r->inc, ++x->head->inc);
  llmd__set_release(x, llmd__set_id(x, LLMD__E_SET(old)));
}

static void cohort_leave(llmd_index *x, llmd__run *r, _Atomic uint64_t *at, uint32_t holder)
{
  cohort_put(x, r, at, llmd__set_remove(x, llmd__set_id(x, LLMD__E_SET(LLMD__GET(at))), holder));
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

static void set_swap(llmd_index *x, llmd__run *r, uint64_t id, uint32_t flen);

/* In no set any more: that of the run, or a cohort. */
static void leave_sets(llmd_index *x, llmd__run *r, uint32_t holder)
{
  uint64_t word = LLMD__GET(&r->set);
  _Atomic uint64_t *at;
  if (word != 0 && llmd__set_has(x, word, holder))
    set_swap(x, r, llmd__set_remove(x, word, holder), LLMD__SET_FLEN(word));
  else if ((at = cohort_of(x, r, holder)) != NULL)
    cohort_leave(x, r, at, holder);
}

/* Enough single entries with the same first blocks become a cohort. */
static void gather(llmd_index *x, llmd__run *r, uint32_t mask)
{
  uint16_t who[LLMD__COHORT_MIN];
  uint32_t n = 0, cohorts;
  _Atomic uint64_t *at, *first = NULL;
  if (cohort_find(x, r, mask, &cohorts) != NULL || cohorts >= LLMD__COHORTS)
    return;
  EACH_ENTRY(x, r, at) {
    uint64_t e = LLMD__GET(at);
    if (e == 0 || LLMD__E_TIER(e) != LLMD_TIER_GPU || LLMD__E_MASK(e) != mask || n == LLMD__COHORT_MIN)
      continue;
    first = first ? first : at;
    who[n++] = (uint16_t)LLMD__E_HOLDER(e);
  }
  if (n < LLMD__COHORT_MIN)
    return;
  for (uint32_t i = 0; i < n; i++)
    leave_sets(x, r, who[i]); /* their entries say more */
  sort_holders(who, n);
  entry_find(x, r, UINT32_MAX, LLMD_TIER_GPU, &at);
  entry_put(x, r, NULL, at, llmd__cohort(LLMD__SET_LINE(llmd__set_of(x, who, n)), mask));
  LLMD__PUT(&r->inc, ++x->head->inc); /* who has read past the cohort's place must not miss the entries, too */
  for (uint32_t i = 0; i < n; i++) {
    _Atomic uint64_t *empty, *own = entry_find(x, r, who[i], LLMD_TIER_GPU, &empty);
    if (own != NULL)
      LLMD__PUT(own, 0);
  }
  more_sweep(x, r);
}

/* What the sets of a run say of the holder. */
static uint32_t in_sets(const llmd_index *x, const llmd__run *r, uint32_t holder)
{
  uint64_t word = LLMD__GET(&r->set);
  _Atomic uint64_t *at;
  if (word != 0 && llmd__set_has(x, word, holder))
    return llmd__low(LLMD__SET_FLEN(word));
  at = cohort_of((llmd_index *)(uintptr_t)x, (llmd__run *)(uintptr_t)r, holder);
  return at ? LLMD__E_MASK(LLMD__GET(at)) : 0;
}

/* ---- masks ------------------------------------------------------------------------------------------------------- */

uint32_t llmd__run_mask(const llmd_index *x, const llmd__run *r, uint32_t holder, uint32_t tier)
{
  llmd_index *any = (llmd_index *)(uintptr_t)x; /* only looks */
  _Atomic uint64_t *empty, *at = entry_find(any, (llmd__run *)(uintptr_t)r, holder, tier, &empty);
  uint32_t mask = at ? LLMD__E_MASK(LLMD__GET(at)) : 0;
  return tier == LLMD_TIER_GPU ? mask | in_sets(x, r, holder) : mask;
}

uint32_t llmd__run_mask_any(const llmd_index *x, const llmd__run *r, uint32_t holder)
{
  uint32_t mask = in_sets(x, r, holder);
  _Atomic uint64_t *at;
  EACH_ENTRY((llmd_index *)(uintptr_t)x, (llmd__run *)(uintptr_t)r, at) {
    uint64_t e = LLMD__GET(at);
    if (LLMD__E_TIER(e) != LLMD__COHORT && LLMD__E_TIER(e) != LLMD_TIER_SPECULATIVE && LLMD__E_HOLDER(e) == holder)
      mask |= LLMD__E_MASK(e);
  }
  return mask;
}

uint32_t llmd__entry_held(const llmd_index *x, const llmd__run *r, uint64_t e)
{
  uint32_t mask = LLMD__E_MASK(e), n = 1;
  if (e != 0 && LLMD__E_TIER(e) == LLMD_TIER_GPU)
    mask &= ~in_sets(x, r, LLMD__E_HOLDER(e));
  else if (e != 0 && LLMD__E_TIER(e) == LLMD__COHORT)
    n = llmd__set_count(x, llmd__set_id(x, LLMD__E_SET(e)));
  return n * (uint32_t)__builtin_popcount(mask);
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

/* From the first block on, without a gap. */
static int is_low(uint32_t mask)
{
  return (mask & (mask + 1u)) == 0;
}

static uint32_t bits_in(uint32_t mask)
{
  return (uint32_t)__builtin_popcount(mask);
}

/* A run whose set died takes a cohort for it. */
static void promote(llmd_index *x, llmd__run *r)
{
  _Atomic uint64_t *at;
  if (LLMD__GET(&r->set) != 0)
    return;
  EACH_ENTRY(x, r, at) {
    uint64_t e = LLMD__GET(at);
    if (e == 0 || LLMD__E_TIER(e) != LLMD__COHORT)
      continue;
    LLMD__PUT(&r->set, llmd__set_word(llmd__set_id(x, LLMD__E_SET(e)), bits_in(LLMD__E_MASK(e))));
    entry_clear(x, r, at);
    return;
  }
}

/* The holder joins the set, or the cohort, that speaks of just these first blocks. 0 = there is none. */
static int join(llmd_index *x, llmd__run *r, uint32_t holder, uint32_t mask)
{
  uint64_t word = LLMD__GET(&r->set), id;
  uint32_t flen = LLMD__SET_FLEN(word), n;
  _Atomic uint64_t *at;
  if (word != 0 && mask == llmd__low(flen)) {
    set_swap(x, r, llmd__set_add(x, word, holder), flen);
    return 1;
  }
  if ((at = cohort_find(x, r, mask, &n)) == NULL)
    return 0;
  id = llmd__set_id(x, LLMD__E_SET(LLMD__GET(at)));
  cohort_put(x, r, at, llmd__set_add(x, id, holder));
  return 1;
}

/* From now on the holder has just `mask`, which is not 0; it had `had`, of which its sets say `member`. */
static void settle(llmd_index *x, llmd__run *r, uint32_t holder, uint32_t mask, uint32_t member)
{
  _Atomic uint64_t *empty, *at;
  uint64_t word = LLMD__GET(&r->set);
  if (is_low(mask) && (word == 0 || (llmd__set_has(x, word, holder) && llmd__set_count(x, word) == 1))) {
    set_swap(x, r, (uint64_t)1 << 60 | holder, bits_in(mask));
    member = mask;
  } else if (is_low(mask) && mask != member) {
    _Atomic uint64_t *cohort = member ? cohort_of(x, r, holder) : NULL;
    uint64_t before = cohort ? LLMD__GET(cohort) : 0;
    int in_set = member != 0 && cohort == NULL;
    if (join(x, r, holder, mask)) {
      if (in_set)
        set_swap(x, r, llmd__set_remove(x, LLMD__GET(&r->set), holder), LLMD__SET_FLEN(LLMD__GET(&r->set)));
      else if (before != 0)
        cohort_leave(x, r, cohort, holder);
      member = mask;
    }
  }
  at = entry_find(x, r, holder, LLMD_TIER_GPU, &empty);
  if (mask == member) {
    if (at != NULL)
      entry_clear(x, r, at);
  } else {
    entry_put(x, r, at, empty, llmd__entry(holder, LLMD_TIER_GPU, 0, mask));
    if ((mask & member) != member) /* the sets say too much */
      leave_sets(x, r, holder);
    if (is_low(mask))
      gather(x, r, mask);
  }
  promote(x, r);
}

static void cover_gpu(llmd_index *x, llmd__run *r, uint32_t holder, uint32_t bits)
{
  _Atomic uint64_t *empty, *at = entry_find(x, r, holder, LLMD_TIER_GPU, &empty);
  uint32_t member = in_sets(x, r, holder), had = (at ? LLMD__E_MASK(LLMD__GET(at)) : 0) | member, mask = had | bits;
  if (mask == had)
    return;
  LLMD__ADD(&x->head->n_held, bits_in(mask) - bits_in(had));
  settle(x, r, holder, mask, member);
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
  uint32_t member = in_sets(x, r, holder), had = (at ? LLMD__E_MASK(LLMD__GET(at)) : 0) | member, mask = had & ~bits;
  if (mask == had)
    return 0;
  LLMD__ADD(&x->head->n_held, bits_in(mask) - (uint64_t)bits_in(had));
  if (mask != 0) {
    settle(x, r, holder, mask, member);
    return had & bits;
  }
  if (member)
    leave_sets(x, r, holder);
  if (at != NULL)
    entry_clear(x, r, at);
  promote(x, r);
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

/* The set without those that are swept, with a reference; poor: there is no line for it, so nobody. 0 = unchanged. */
static int sweep_ids(llmd_index *x, uint64_t id, int poor, uint32_t *left, uint64_t *out)
{
  uint32_t n, any = x->n_few == 0;
  for (uint32_t i = 0; i < x->n_few; i++)
    any |= (uint32_t)llmd__set_has(x, id, x->few[i]);
  if (!any)
    return 0;
  n = llmd__set_list(x, id, x->list);
  *left = 0;
  for (uint32_t i = 0; i < n; i++)
    if (!swept(x, x->list[i]))
      x->list[(*left)++] = x->list[i];
  if (*left == n)
    return 0;
  *left = poor ? 0 : *left;
  *out = *left ? llmd__set_of(x, x->list, *left) : 0;
  return 1;
}

static int sweep_cohort(llmd_index *x, llmd__run *r, _Atomic uint64_t *at, int poor)
{
  uint64_t e = LLMD__GET(at), id = llmd__set_id(x, LLMD__E_SET(e)), to;
  uint32_t n = llmd__set_count(x, id), left;
  if (!sweep_ids(x, id, poor, &left, &to))
    return 0;
  LLMD__ADD(&x->head->n_held, 0u - (uint64_t)(n - left) * bits_in(LLMD__E_MASK(e)));
  cohort_put(x, r, at, to);
  return 1;
}

static int sweep_entry(llmd_index *x, llmd__run *r, _Atomic uint64_t *at)
{
  uint64_t e = LLMD__GET(at);
  if (e == 0 || LLMD__E_TIER(e) == LLMD__COHORT || !swept(x, LLMD__E_HOLDER(e)))
    return 0;
  LLMD__ADD(&x->head->n_held, 0u - (uint64_t)llmd__entry_held(x, r, e));
  LLMD__PUT(at, 0);
  return 1;
}

static int sweep_set(llmd_index *x, llmd__run *r, int poor)
{
  uint64_t word = LLMD__GET(&r->set), to;
  uint32_t n = llmd__set_count(x, word), left;
  if (word == 0 || !sweep_ids(x, word, poor, &left, &to))
    return 0;
  LLMD__ADD(&x->head->n_held, 0u - (uint64_t)(n - left) * LLMD__SET_FLEN(word));
  set_swap(x, r, to, LLMD__SET_FLEN(word));
  return 1;
}

int llmd__run_sweep(llmd_index *x, uint32_t run, int poor)
{
  llmd__run *r = llmd__run_at(x, run);
  _Atomic uint64_t *at;
  int changed = 0;
  EACH_ENTRY(x, r, at)
    changed |= sweep_entry(x, r, at);
  EACH_ENTRY(x, r, at)
    if (LLMD__E_TIER(LLMD__GET(at)) == LLMD__COHORT)
      changed |= sweep_cohort(x, r, at, poor);
  changed |= sweep_set(x, r, poor);
  if (changed) {
    more_sweep(x, r);
    promote(x, r);
  }
  llmd__own_sweep(x, run);
  return changed;
}

/* ---- leaving, mending -------------------------------------------------------------------------------------------- */

/* Takes a run's holders away: gives back sets and lines. The fields stay for the caller. */
static void take_holders(llmd_index *x, uint64_t word, uint64_t odd, uint32_t more)
{
  uint32_t next;
  if (LLMD__E_TIER(odd) == LLMD__COHORT)
    llmd__set_release(x, llmd__set_id(x, LLMD__E_SET(odd)));
  for (; more != 0; more = next) {
    llmd__more *m = &llmd__line_at(x, more)->more;
    for (uint32_t i = 0; i < 7; i++) {
      uint64_t e = LLMD__GET(&m->entry[i]);
      if (LLMD__E_TIER(e) == LLMD__COHORT)
        llmd__set_release(x, llmd__set_id(x, LLMD__E_SET(e)));
    }
    next = LLMD__GET(&m->next);
    llmd__line_give(x, more);
  }
  llmd__set_release(x, word);
}

static uint64_t held_here(llmd_index *x, llmd__run *r)
{
  uint64_t word = LLMD__GET(&r->set), held = (uint64_t)llmd__set_count(x, word) * (word ? LLMD__SET_FLEN(word) : 0);
  _Atomic uint64_t *at;
  EACH_ENTRY(x, r, at)
    held += llmd__entry_held(x, r, LLMD__GET(at));
  return held;
}

void llmd__run_forget(llmd_index *x, uint32_t run)
{
  llmd__run *r = llmd__run_at(x, run);
  uint64_t word = LLMD__GET(&r->set), odd = LLMD__GET(&r->odd);
  uint32_t more = LLMD__GET(&r->more);
  LLMD__ADD(&x->head->n_held, 0u - held_here(x, r));
  LLMD__PUT(&r->set, 0);
  LLMD__PUT(&r->odd, 0);
  LLMD__PUT(&r->more, 0u);
  LLMD__PUT(&r->inc, ++x->head->inc);
  take_holders(x, word, odd, more);
}

static void mend_entry(llmd_index *x, _Atomic uint64_t *at)
{
  uint64_t e = LLMD__GET(at);
  if (e == 0)
    return;
  if (LLMD__E_TIER(e) == LLMD__COHORT && llmd__line_ok(x, LLMD__E_SET(e)))
    llmd__set_adopt(x, llmd__set_id(x, LLMD__E_SET(e)));
  else if (LLMD__E_TIER(e) == LLMD_TIER_SPECULATIVE || LLMD__E_TIER(e) == LLMD__COHORT ||
           LLMD__E_HOLDER(e) >= x->holders)
    LLMD__PUT(at, 0);
}

void llmd__holders_adopt(llmd_index *x, uint32_t run)
{
  llmd__run *r = llmd__run_at(x, run);
  uint64_t word = LLMD__GET(&r->set);
  _Atomic uint32_t *from = &r->more;
  _Atomic uint64_t *at;
  uint32_t n;
  llmd__set_adopt(x, word);
  while ((n = LLMD__GET(from)) != 0) {
    if (!llmd__line_ok(x, n) || llmd__marked(x, n)) {
      LLMD__PUT(from, 0u);
      break;
    }
    llmd__mark(x, n);
    from = &llmd__line_at(x, n)->more.next;
  }
  EACH_ENTRY(x, r, at)
    mend_entry(x, at);
  LLMD__ADD(&x->head->n_held, held_here(x, r));
}

/* Another cohort that the holder is in; NULL = none. */
static _Atomic uint64_t *other_cohort(llmd_index *x, llmd__run *r, const _Atomic uint64_t *but, uint32_t holder)
{
  _Atomic uint64_t *at;
  EACH_ENTRY(x, r, at) {
    uint64_t e = LLMD__GET(at);
    if (at != but && e != 0 && LLMD__E_TIER(e) == LLMD__COHORT &&
        llmd__set_has(x, llmd__set_id(x, LLMD__E_SET(e)), holder))
      return at;
  }
  return NULL;
}

/* The holder leaves what says less of it: its run's set, its cohort, or the other one. */
static void part_holder(llmd_index *x, llmd__run *r, _Atomic uint64_t *at, _Atomic uint64_t *other, uint32_t holder)
{
  uint64_t word = LLMD__GET(&r->set);
  uint32_t bits = bits_in(LLMD__E_MASK(LLMD__GET(at)));
  if (other == NULL && LLMD__SET_FLEN(word) < bits)
    set_swap(x, r, llmd__set_remove(x, word, holder), LLMD__SET_FLEN(word));
  else
    cohort_leave(x, r, other != NULL && bits_in(LLMD__E_MASK(LLMD__GET(other))) < bits ? other : at, holder);
}

/* One holder of the cohort that is elsewhere, too. 0 = there is none. */
static int part_one(llmd_index *x, uint32_t run, _Atomic uint64_t *at)
{
  llmd__run *r = llmd__run_at(x, run);
  uint64_t word = LLMD__GET(&r->set), id = llmd__set_id(x, LLMD__E_SET(LLMD__GET(at)));
  uint32_t n = llmd__set_list(x, id, x->list);
  if (LLMD__SET_ID(word) == id) { /* it was just made the run's set */
    cohort_put(x, r, at, 0);
    return 1;
  }
  for (uint32_t i = 0; i < n; i++) {
    uint32_t holder = x->list[i];
    int in_set = word != 0 && llmd__set_has(x, word, holder);
    _Atomic uint64_t *other = in_set ? NULL : other_cohort(x, r, at, holder);
    if (!in_set && other == NULL)
      continue;
    if (llmd__reserve(x, llmd__need(x), 0, run) < 0)
      cohort_put(x, r, at, 0);
    else
      part_holder(x, r, at, other, holder);
    return 1;
  }
  return 0;
}

static int part_any(llmd_index *x, uint32_t run)
{
  _Atomic uint64_t *at;
  EACH_ENTRY(x, llmd__run_at(x, run), at)
    if (LLMD__E_TIER(LLMD__GET(at)) == LLMD__COHORT && part_one(x, run, at))
      return 1;
  return 0;
}

void llmd__holders_part(llmd_index *x, uint32_t run)
{
  llmd__run *r = llmd__run_at(x, run);
  uint64_t held = held_here(x, r);
  if (!part_any(x, run))
    return;
  while (part_any(x, run))
    ;
  more_sweep(x, r);
  promote(x, r);
  LLMD__ADD(&x->head->n_held, held_here(x, r) - held);
}
