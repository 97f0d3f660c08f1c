/* Writes: blocks come, blocks go. */
#include "prefix/sets.h"

/* Where a chain being stored stands. */
typedef struct tip {
  uint32_t run, offset; /* of the last block; run 0 = before the first */
  uint32_t depth;       /* of the next */
} tip;

/* ---- holders ----------------------------------------------------------------------------------------------------- */

static uint32_t holder_free(llmd_index *x)
{
  llmd__x_head *h = x->head;
  if (h->fresh_holder < x->holders)
    return h->fresh_holder++;
  for (uint32_t round = 0; round < 3; round++) {
    for (uint32_t i = 1; i < x->holders; i++)
      if (LLMD__GET(&x->state[i]) == LLMD__HOLDER_FREE)
        return i;
    llmd__sweep(x, UINT32_MAX);
  }
  return 0;
}

static void holder_die(llmd_index *x, uint32_t holder)
{
  LLMD__PUT(&x->live[holder / 64], LLMD__GET(&x->live[holder / 64]) & ~(UINT64_C(1) << holder % 64));
  LLMD__PUT(&x->who[holder], 0);
  LLMD__PUT(&x->state[holder], (uint8_t)LLMD__HOLDER_DEAD);
  x->head->n_dead++;
}

static int holder_make(llmd_index *x, llmd__x_row *row, llmd_endpoint_id endpoint, uint32_t *out)
{
  uint32_t holder = holder_free(x);
  if (holder == 0)
    return LLMD_E_FULL;
  LLMD__PUT(&x->state[holder], (uint8_t)LLMD__HOLDER_LIVE);
  LLMD__PUT(&x->who[holder], endpoint);
  LLMD__PUT(&x->live[holder / 64], LLMD__GET(&x->live[holder / 64]) | UINT64_C(1) << holder % 64);
  LLMD__PUT(&row->holder, holder);
  *out = holder;
  return 0;
}

/* The holder that stands for all is in nobody's row, and not live: readers add what it has to everybody's. */
static int shared_get(llmd_index *x, int make, uint32_t *out)
{
  uint32_t holder = LLMD__GET(&x->head->shared);
  if (holder == LLMD__HOLDER_NONE && !make)
    return LLMD_E_NONE;
  if (holder == LLMD__HOLDER_NONE && (holder = holder_free(x)) == LLMD__HOLDER_NONE)
    return LLMD_E_FULL;
  LLMD__PUT(&x->state[holder], (uint8_t)LLMD__HOLDER_LIVE);
  LLMD__PUT(&x->head->shared, holder);
  *out = holder;
  return 0;
}

int llmd__holder_get(llmd_index *x, llmd_endpoint_id endpoint, int make, uint32_t *out)
{
  uint32_t slot = (uint32_t)endpoint;
  llmd__x_row *row;
  uint64_t have;
  if (endpoint == LLMD_INDEX_SHARED)
    return shared_get(x, make, out);
  if (endpoint == 0 || slot >= x->head->rows)
    return LLMD_E_RANGE;
  row = &x->row[slot];
  have = LLMD__GET(&row->endpoint);
  if (have != endpoint) {
    if (have >> 32 > endpoint >> 32)
      return LLMD_E_STALE;
    if (!make)
      return LLMD_E_NONE;
    llmd__row_reset(x, row, endpoint);
  }
  *out = LLMD__GET(&row->holder);
  if (*out != 0)
    return 0;
  return make ? holder_make(x, row, endpoint, out) : LLMD_E_NONE;
}

void llmd__row_reset(llmd_index *x, llmd__x_row *row, llmd_endpoint_id endpoint)
{
  uint32_t holder = LLMD__GET(&row->holder);
  LLMD__PUT(&row->holder, 0u);
  if (holder != 0)
    holder_die(x, holder);
  if (LLMD__GET(&row->endpoint) == endpoint)
    return;
  LLMD__PUT(&row->flags, 0u);
  LLMD__PUT(&row->block_tokens, 0u);
  LLMD__PUT(&row->scheme, 0u);
  llmd__row_windows(x, row, (const uint32_t[2]){0, 0});
  LLMD__PUT(&row->endpoint, endpoint);
}

/* ---- storing ----------------------------------------------------------------------------------------------------- */

static int key_is(const llmd_index *x, const llmd__run *r, uint32_t i, const llmd_key *key)
{
  return llmd__key_equal(llmd__run_key(x, llmd__body_of(x, r), i), *key);
}

/* May the run take one more block at its end, for the block with this key? Not when a run that hangs there has it. */
static int may_grow(const llmd_index *x, const llmd__run *r, const llmd_key *key)
{
  return llmd__run_start(r) + llmd__run_len(r) < LLMD__X_WINDOW &&
         (LLMD__GET(&r->child) == 0 || llmd__heads_find(x, key, 1) == 0);
}

/* The run that goes on with keys[0..n): mostly the newest child, else the heads table knows. */
static uint32_t next_run(const llmd_index *x, const llmd__run *r, const llmd_key *keys, uint32_t n)
{
  const uint32_t child = r ? LLMD__GET(&r->child) : 0;
  if (child != 0) {
    const llmd__run *c = llmd__run_at(x, child);
    const uint32_t len = llmd__run_len(c);
    if (len <= n ? LLMD__GET(&c->last[0]) == keys[len - 1].lo && LLMD__GET(&c->last[1]) == keys[len - 1].hi
                 : key_is(x, c, 0, keys))
      return child;
  }
  return llmd__heads_find(x, keys, n);
}

/* Moves the tip to the block with keys[0], which is made when it is not there: *made = 1. 0 = no room for it. */
static int advance(llmd_index *x, tip *t, const llmd_key *keys, uint32_t n, int *made)
{
  llmd__run *r = t->run ? llmd__run_at(x, t->run) : NULL;
  uint32_t len = r ? llmd__run_len(r) : 0, next;
  *made = 0;
  if (r != NULL && t->offset + 1 < len && key_is(x, r, t->offset + 1, keys)) {
    t->offset++;
  } else if (r != NULL && t->offset + 1 == len && may_grow(x, r, keys)) {
    llmd__run_grow(x, t->run, keys);
    t->offset++;
    *made = 1;
  } else {
    next = next_run(x, r, keys, n);
    *made = next == 0;
    if (next == 0)
      next = llmd__run_new(x, t->run, t->depth % LLMD__X_WINDOW, keys);
    if (next == 0)
      return 0;
    t->run = next;
    t->offset = 0;
  }
  t->depth++;
  return 1;
}

/* How many of keys[0..n) are known to follow the tip in its run: chained keys are equal when the last ones are. */
static uint32_t follow(const llmd_index *x, const tip *t, const llmd_key *keys, uint32_t n)
{
  const llmd__run *r = llmd__run_at(x, t->run);
  uint32_t left = llmd__run_len(r) - t->offset - 1u;
  left = left < n ? left : n;
  return left != 0 && key_is(x, r, t->offset + left, &keys[left - 1]) ? left : 0;
}

/* New blocks are about to be named: ask for the places of all their names at once. */
static void ask_names(const llmd_index *x, const tip *t, const uint64_t *names, uint32_t n)
{
  uint32_t place = llmd__run_start(llmd__run_at(x, t->run)) + t->offset;
  for (uint32_t i = 0; names != NULL && i < n && place + i < LLMD__X_WINDOW; i++)
    llmd__name_prefetch(x, llmd__name_fix(names[i]));
}

/* The part of a store that lies in one run. */
typedef struct stretch {
  const llmd_key *keys;
  const uint64_t *names;
  uint32_t n, done, known, run, from;
  int asked;
} stretch;

/* One block more of the stretch; 0 = the stretch ends before it. */
static int stretch_on(llmd_index *x, stretch *s, tip *t, uint32_t holder)
{
  tip before = *t;
  int made = 0;
  if (s->known != 0) {
    s->known--;
    t->offset++;
    t->depth++;
  } else if (!advance(x, t, &s->keys[s->done], s->n - s->done, &made)) {
    return 0;
  }
  if (s->done == 0) {
    x->storing = s->run = t->run;
    x->lost = 0;
    s->from = t->offset;
    s->known = follow(x, t, s->keys + 1, s->n - 1u);
  } else if (t->run != s->run) {
    llmd__run_stale(x, t->run); /* may be new, and what follows may not come to it */
    *t = before;
    return 0;
  }
  if (made && !s->asked) {
    ask_names(x, t, s->names ? s->names + s->done : NULL, s->n - s->done);
    s->asked = 1;
  }
  if (s->names != NULL && llmd__name_set(x, holder, s->run, t->offset, llmd__name_fix(s->names[s->done])) < 0) {
    llmd__run_stale(x, s->run);
    *t = before;
    return 0;
  }
  x->lost &= ~(1u << t->offset);
  s->done++;
  return 1;
}

/* Stores as many blocks as lie in one run: at least one, or 0 = no room. */
static uint32_t store_run(llmd_index *x, tip *t, uint32_t holder, uint32_t tier, uint32_t promise, const llmd_key *keys,
                          const uint64_t *names, uint32_t n)
{
  stretch s = {keys, names, n, 0, 0, 0, 0, 0};
  if (llmd__reserve(x, llmd__need(x), LLMD__X_WINDOW, t->run) < 0)
    return 0;
  while (s.done < n && (s.done == 0 || llmd__run_start(llmd__run_at(x, s.run)) + t->offset + 1u < LLMD__X_WINDOW))
    if (!stretch_on(x, &s, t, holder))
      break;
  if (s.done == 0)
    return 0;
  llmd__run_cover(x, s.run, holder, tier, (llmd__low(s.done) << s.from) & ~x->lost, promise);
  llmd__touch(x, s.run);
  return s.done;
}

static void promise_add(llmd_index *x, uint32_t run, uint32_t holder, uint32_t number, uint64_t until);

/* Where the last store of these blocks ended: the next event of a prompt begins there. */
static uint32_t lately_at(uint64_t name)
{
  return (uint32_t)(name >> 7 ^ name) % 64u;
}

static void note_last(llmd_index *x, uint32_t holder, uint64_t name, const tip *t)
{
  uint32_t i = lately_at(name);
  x->lately[i].name = name;
  x->lately[i].holder = holder;
  x->lately[i].run = t->run;
  x->lately[i].offset = t->offset;
  x->lately[i].inc = LLMD__GET(&llmd__run_at(x, t->run)->inc);
}

static int find_lately(const llmd_index *x, uint32_t holder, uint64_t name, llmd__place *p)
{
  uint32_t i = lately_at(name);
  const llmd__run *r;
  if (x->lately[i].name != name || x->lately[i].holder != holder || x->lately[i].run == 0 || x->owned[holder] != 0)
    return 0;
  r = llmd__run_at(x, x->lately[i].run);
  if (LLMD__GET(&r->inc) != x->lately[i].inc || x->lately[i].offset >= llmd__run_len(r) ||
      llmd__name_of(x, r, x->lately[i].offset) != name)
    return 0;
  p->run = x->lately[i].run;
  p->offset = x->lately[i].offset;
  return 1;
}

static int store(llmd_index *x, uint32_t holder, uint32_t tier, tip *t, const llmd_key *keys, const uint64_t *names,
                 uint32_t n, uint64_t until)
{
  uint32_t done = 0, promise = 0, part;
  if (tier == LLMD_TIER_SPECULATIVE) {
    promise = ++x->head->promise_number & 0x3fffu;
    promise += promise == 0;
  }
  while (done < n) {
    part = store_run(x, t, holder, tier, promise, keys + done, names ? names + done : NULL, n - done);
    if (part == 0)
      break;
    done += part;
    if (promise)
      promise_add(x, t->run, holder, promise, until);
    if (x->n_stale > LLMD__X_STALE - LLMD__X_WINDOW - 2u) /* a stretch may make so many */
      llmd__trim_stale(x);
  }
  if (done != 0 && names != NULL)
    note_last(x, holder, llmd__name_fix(names[done - 1]), t);
  llmd__trim_stale(x);
  LLMD__ADD(&x->head->dropped, n - done);
  return (int)done;
}

/* Blocks on the way to others: they are there, whoever holds them. 0 = no room. */
static int pass(llmd_index *x, tip *t, const llmd_key *keys, uint32_t n)
{
  uint32_t known = 0;
  int made, room = 1;
  for (uint32_t i = 0; i < n && room; i++) {
    if (known != 0) {
      known--;
      t->offset++;
      t->depth++;
      continue;
    }
    room = llmd__reserve(x, llmd__need(x), 0, t->run) == 0 && advance(x, t, keys + i, n - i, &made);
    if (room)
      known = follow(x, t, keys + i + 1, n - i - 1u);
  }
  if (n != 0 && t->run != 0)
    llmd__run_stale(x, t->run); /* nobody may come to hold what follows */
  return room;
}

/* The endpoint's holder. Where numbers have run out that takes a sweep, which may take the tip: LLMD_E_FULL. */
static int holder_beside(llmd_index *x, llmd_endpoint_id endpoint, const tip *t, uint32_t *out)
{
  llmd_key first = {0, 0};
  uint32_t freed = LLMD__GET(&x->head->freed);
  int rc;
  if (t->run != 0)
    first = llmd__run_key(x, llmd__body_of(x, llmd__run_at(x, t->run)), 0);
  rc = llmd__holder_get(x, endpoint, 1, out);
  if (rc < 0 || t->run == 0 || LLMD__GET(&x->head->freed) == freed)
    return rc;
  if (llmd__heads_find(x, &first, 1) != t->run || t->offset >= llmd__run_len(llmd__run_at(x, t->run)))
    return LLMD_E_FULL;
  return 0;
}

int llmd__index_store_tail(llmd_index *x, llmd_endpoint_id endpoint, uint32_t tier, const llmd_block *parent,
                           const llmd_key *keys, uint32_t before, const uint64_t *names, uint32_t n, llmd_block *last)
{
  tip t = {0, 0, 0};
  uint32_t holder;
  int rc;
  if (tier >= LLMD__X_TIERS || n > INT32_MAX || (n != 0 && keys == NULL) ||
      (endpoint == LLMD_INDEX_SHARED && tier != LLMD_TIER_REMOTE))
    return LLMD_E_RANGE;
  if (parent != NULL) {
    t.run = parent->run;
    t.offset = parent->offset;
    t.depth = parent->depth + 1u;
  }
  llmd__write_begin(x);
  rc = holder_beside(x, endpoint, &t, &holder);
  if (rc == 0 && !pass(x, &t, keys, before)) {
    LLMD__ADD(&x->head->dropped, n);
    n = 0;
  }
  if (rc == 0)
    rc = store(x, holder, tier, &t, before ? keys + before : keys, names, n, 0);
  if (rc > 0 && last != NULL) {
    last->key = keys[before + (uint32_t)rc - 1u];
    last->run = t.run;
    last->offset = t.offset;
    last->depth = t.depth - 1u;
  }
  llmd__write_end(x);
  return rc;
}

int llmd_index_store(llmd_index *x, llmd_endpoint_id endpoint, uint32_t tier, const llmd_block *parent,
                     const llmd_key *keys, const uint64_t *names, uint32_t n, llmd_block *last)
{
  return llmd__index_store_tail(x, endpoint, tier, parent, keys, 0, names, n, last);
}

/* ---- by name ----------------------------------------------------------------------------------------------------- */

int llmd_index_find(llmd_index *x, llmd_endpoint_id endpoint, uint64_t name, llmd_block *out)
{
  llmd__place p;
  uint32_t holder;
  int rc = llmd__holder_get(x, endpoint, 0, &holder);
  if (rc == LLMD_E_NONE)
    holder = LLMD__HOLDER_NONE; /* only names that everybody has */
  else if (rc < 0)
    return rc;
  name = llmd__name_fix(name);
  if (!find_lately(x, holder, name, &p) && !llmd__name_find(x, holder, name, &p))
    return LLMD_E_NONE;
  out->key = llmd__run_key(x, llmd__body_of(x, llmd__run_at(x, p.run)), p.offset);
  out->run = p.run;
  out->offset = p.offset;
  out->depth = LLMD__GET(&llmd__run_at(x, p.run)->depth) + p.offset;
  return 0;
}

/* Blocks of one run that were named one after the other. */
typedef struct batch {
  uint32_t run, mask, last;
} batch;

/* The block after or before the last one has this name: no need to search. */
static int neighbour(const llmd_index *x, const batch *b, uint32_t holder, uint64_t name, uint32_t *offset)
{
  const llmd__run *r;
  if (b->run == 0 || x->owned[holder] != 0)
    return 0;
  r = llmd__run_at(x, b->run);
  if (b->last != 0 && llmd__name_of(x, r, b->last - 1u) == name) {
    *offset = b->last - 1u;
    return 1;
  }
  if (b->last + 1u < llmd__run_len(r) && llmd__name_of(x, r, b->last + 1u) == name) {
    *offset = b->last + 1u;
    return 1;
  }
  return 0;
}

static uint32_t flush_drop(llmd_index *x, const batch *b, uint32_t holder, uint32_t tier)
{
  const llmd__run *r = llmd__run_at(x, b->run);
  uint32_t gone = 0;
  if (llmd__reserve(x, llmd__need(x), 0, b->run) < 0) {
    llmd__run_forget(x, b->run);
    llmd__run_trim(x, b->run);
    return (uint32_t)__builtin_popcount(b->mask);
  }
  for (uint32_t t = tier == LLMD_TIER_ANY ? 0 : tier; t < LLMD__X_TIERS && (tier == LLMD_TIER_ANY || t == tier); t++)
    gone |= llmd__run_uncover(x, b->run, holder, t, b->mask);
  if (x->owned[holder] != 0)
    llmd__own_drop(x, b->run, holder, b->mask & ~llmd__run_mask_any(x, r, holder));
  llmd__run_trim(x, b->run);
  return (uint32_t)__builtin_popcount(gone);
}

/* A name that a holder holds nothing by is somebody else's. */
static uint32_t flush_hold(llmd_index *x, const batch *all, uint32_t holder, uint32_t tier)
{
  batch own = *all, *b = &own;
  b->mask &= llmd__run_mask_any(x, llmd__run_at(x, b->run), holder);
  if (b->mask == 0 || llmd__reserve(x, llmd__need(x), 0, b->run) < 0)
    return 0;
  llmd__run_cover(x, b->run, holder, tier, b->mask, 0);
  llmd__touch(x, b->run);
  return (uint32_t)__builtin_popcount(b->mask);
}

static uint32_t by_name(llmd_index *x, uint32_t holder, uint32_t tier, const uint64_t *names, uint32_t n,
                        uint32_t (*flush)(llmd_index *x, const batch *b, uint32_t holder, uint32_t tier))
{
  batch b = {0, 0, 0};
  llmd__place p;
  uint32_t count = 0;
  for (uint32_t i = 0; i < n; i++) {
    uint64_t name = llmd__name_fix(names[i]);
    if (neighbour(x, &b, holder, name, &p.offset)) {
      p.run = b.run;
    } else if (llmd__name_find(x, holder, name, &p) < LLMD__NAME_SHARED) {
      continue;
    }
    if (p.run != b.run && b.run != 0) {
      llmd_key next = llmd__run_key(x, llmd__body_of(x, llmd__run_at(x, p.run)), 0);
      count += flush(x, &b, holder, tier);
      b.mask = 0;
      b.run = 0;
      if (llmd__heads_find(x, &next, 1) != p.run || p.offset >= llmd__run_len(llmd__run_at(x, p.run)))
        continue; /* went with the others */
    }
    b.run = p.run;
    b.mask |= 1u << p.offset;
    b.last = p.offset;
  }
  return b.run ? count + flush(x, &b, holder, tier) : count;
}

int llmd_index_hold(llmd_index *x, llmd_endpoint_id endpoint, uint32_t tier, const uint64_t *names, uint32_t n)
{
  uint32_t holder;
  int rc;
  if (tier == LLMD_TIER_SPECULATIVE || tier >= LLMD__X_TIERS || (endpoint == LLMD_INDEX_SHARED && tier != LLMD_TIER_REMOTE))
    return LLMD_E_RANGE;
  llmd__write_begin(x);
  rc = llmd__holder_get(x, endpoint, 1, &holder);
  if (rc == 0)
    rc = (int)by_name(x, holder, tier, names, n, flush_hold);
  llmd__write_end(x);
  return rc;
}

int llmd_index_drop(llmd_index *x, llmd_endpoint_id endpoint, uint32_t tier, const uint64_t *names, uint32_t n)
{
  uint32_t holder;
  int rc;
  if (tier >= LLMD__X_TIERS && tier != LLMD_TIER_ANY)
    return LLMD_E_RANGE;
  llmd__write_begin(x);
  rc = llmd__holder_get(x, endpoint, 0, &holder);
  if (rc == 0)
    rc = (int)by_name(x, holder, tier, names, n, flush_drop);
  llmd__write_end(x);
  return rc == LLMD_E_NONE ? 0 : rc;
}

static void clear_shared(llmd_index *x)
{
  uint32_t holder = LLMD__GET(&x->head->shared);
  if (holder == LLMD__HOLDER_NONE)
    return;
  llmd__write_begin(x);
  LLMD__PUT(&x->head->shared, LLMD__HOLDER_NONE);
  holder_die(x, holder);
  llmd__write_end(x);
}

int llmd_index_clear(llmd_index *x, llmd_endpoint_id endpoint)
{
  uint32_t slot = (uint32_t)endpoint;
  uint64_t have;
  if (endpoint == LLMD_INDEX_SHARED) {
    clear_shared(x);
    return 0;
  }
  if (endpoint == 0 || slot >= x->head->rows)
    return LLMD_E_RANGE;
  have = LLMD__GET(&x->row[slot].endpoint);
  if (have >> 32 > endpoint >> 32)
    return LLMD_E_STALE;
  llmd__write_begin(x);
  llmd__row_reset(x, &x->row[slot], endpoint);
  llmd__write_end(x);
  return 0;
}

/* ---- promises ---------------------------------------------------------------------------------------------------- */

static void promise_end(llmd_index *x)
{
  llmd__x_head *h = x->head;
  const llmd__promise p = x->promise[h->promise_first];
  uint32_t run = llmd__heads_find(x, &p.key, 1);
  h->promise_first = (h->promise_first + 1u) % h->promises;
  h->n_promises--;
  if (run != 0 && llmd__run_unpromise(x, run, p.holder, p.number))
    llmd__run_trim(x, run);
}

static void promise_add(llmd_index *x, uint32_t run, uint32_t holder, uint32_t number, uint64_t until)
{
  llmd__x_head *h = x->head;
  llmd__promise *p;
  if (h->n_promises == h->promises)
    promise_end(x);
  p = &x->promise[(h->promise_first + h->n_promises) % h->promises];
  p->until = until;
  p->key = llmd__run_key(x, llmd__body_of(x, llmd__run_at(x, run)), 0);
  p->holder = holder;
  p->number = number;
  h->n_promises++;
}

int llmd_index_expect(llmd_index *x, llmd_endpoint_id endpoint, const llmd_key *keys, uint32_t n, uint64_t until)
{
  tip t = {0, 0, 0};
  uint32_t holder;
  int rc;
  if (endpoint == LLMD_INDEX_SHARED || n > INT32_MAX)
    return LLMD_E_RANGE;
  llmd__write_begin(x);
  rc = llmd__holder_get(x, endpoint, 1, &holder);
  if (rc == 0)
    rc = store(x, holder, LLMD_TIER_SPECULATIVE, &t, keys, NULL, n, until);
  llmd__write_end(x);
  return rc;
}

static void promises_tick(llmd_index *x, uint64_t mono)
{
  while (x->head->n_promises != 0 && x->promise[x->head->promise_first].until <= mono)
    promise_end(x);
}

/* ---- sweeping ---------------------------------------------------------------------------------------------------- */

static void move_state(llmd_index *x, uint32_t from, uint32_t to)
{
  for (uint32_t i = 1; i < x->holders; i++)
    if (LLMD__GET(&x->state[i]) == from)
      LLMD__PUT(&x->state[i], (uint8_t)to);
}

static void sweep_end(llmd_index *x)
{
  llmd__x_head *h = x->head;
  h->sweeping = 0;
  h->n_swept = 0;
  LLMD__PUT(&h->freed, LLMD__GET(&h->freed) + 1u);
  move_state(x, LLMD__HOLDER_SWEPT, LLMD__HOLDER_FREE);
}

/* The holders to sweep by name, when they are so few that asking for each is quicker than listing sets. */
static void note_few(llmd_index *x)
{
  x->n_few = 0;
  if (x->head->n_swept > sizeof x->few / sizeof x->few[0])
    return;
  for (uint32_t i = 1; i < x->holders && x->n_few < x->head->n_swept; i++)
    if (LLMD__GET(&x->state[i]) == LLMD__HOLDER_SWEPT)
      x->few[x->n_few++] = (uint16_t)i;
}

/* What the sweep of one run may take: a set for each that it has, before the old ones go, and lines of entries. */
static uint32_t sweep_need(const llmd_index *x)
{
  return (1u + LLMD__COHORTS) * x->set_most + 4u;
}

/* Returns what it cost, in tenths of a microsecond or so. */
static uint32_t sweep_line(llmd_index *x, uint32_t line)
{
  uint32_t seen = 2;
  for (uint32_t i = 0; i < LLMD__SLOTS; i++) {
    uint64_t s = LLMD__GET(&x->heads.word[(uint64_t)line * 8 + i]), had = LLMD__GET(&x->head->n_blocks);
    uint32_t run = LLMD__HEAD_RUN(s);
    if (s == 0)
      continue;
    seen += 3u + (x->n_few ? 0 : llmd__set_count(x, LLMD__GET(&llmd__run_at(x, run)->set)) / 64u);
    if (llmd__run_sweep(x, run, llmd__reserve(x, sweep_need(x), 0, run) < 0)) {
      seen += 8u + llmd__set_count(x, LLMD__GET(&llmd__run_at(x, run)->set)) / 8u;
      llmd__run_trim(x, run);
      seen += (uint32_t)(had - LLMD__GET(&x->head->n_blocks));
    }
  }
  return seen;
}

int llmd__sweep(llmd_index *x, uint32_t budget)
{
  llmd__x_head *h = x->head;
  if (!h->sweeping) {
    if (h->n_dead == 0)
      return 0;
    move_state(x, LLMD__HOLDER_DEAD, LLMD__HOLDER_SWEPT);
    h->n_swept = h->n_dead;
    h->n_dead = 0;
    h->sweep_line = 0;
    h->sweeping = 1;
    note_few(x);
  }
  while (h->sweep_line < h->head_lines && budget != 0) {
    uint32_t cost = sweep_line(x, h->sweep_line++);
    budget -= cost < budget ? cost : budget;
  }
  if (h->sweep_line == h->head_lines)
    sweep_end(x);
  return h->sweeping || h->n_dead != 0;
}

#define SLICE 300u /* about 30 µs */

int llmd_index_tick(llmd_index *x, uint64_t mono, uint32_t budget)
{
  int more;
  llmd__write_begin(x);
  promises_tick(x, mono);
  more = llmd__sweep(x, budget ? budget : SLICE);
  llmd__write_end(x);
  return more;
}
