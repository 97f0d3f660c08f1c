#include "prefix/sets.h"

/* ---- the tree ---------------------------------------------------------------------------------------------------- */

static void hang(llmd_index *x, uint32_t run, uint32_t parent)
{
  llmd__run *r = llmd__run_at(x, run), *p;
  uint32_t first;
  if (parent == 0)
    return;
  p = llmd__run_at(x, parent);
  first = LLMD__GET(&p->child);
  LLMD__PUT(&r->next, first);
  if (first != 0)
    LLMD__PUT(&llmd__body_of(x, llmd__run_at(x, first))->prev, run);
  if (first != 0)
    LLMD__PUT(&p->shape, LLMD__GET(&p->shape) | LLMD__MANY);
  LLMD__PUT(&p->child, run);
}

static void unhang(llmd_index *x, uint32_t run)
{
  llmd__run *r = llmd__run_at(x, run);
  uint32_t parent = LLMD__GET(&r->parent), next = LLMD__GET(&r->next), prev = LLMD__GET(&llmd__body_of(x, r)->prev);
  llmd__run *p;
  if (parent == 0)
    return;
  p = llmd__run_at(x, parent);
  if (prev != 0)
    LLMD__PUT(&llmd__run_at(x, prev)->next, next);
  else
    LLMD__PUT(&p->child, next);
  if (next != 0)
    LLMD__PUT(&llmd__body_of(x, llmd__run_at(x, next))->prev, prev);
  if (LLMD__GET(&p->child) == 0 || LLMD__GET(&llmd__run_at(x, LLMD__GET(&p->child))->next) == 0)
    LLMD__PUT(&p->shape, LLMD__GET(&p->shape) & ~LLMD__MANY);
}

/* How many of its first blocks its children need. */
static uint32_t needed(const llmd_index *x, const llmd__run *r)
{
  uint32_t most = 0, start = llmd__run_start(r);
  for (uint32_t c = LLMD__GET(&r->child); c != 0; c = LLMD__GET(&llmd__run_at(x, c)->next)) {
    uint32_t at = llmd__run_start(llmd__run_at(x, c));
    if (at == 0)
      return llmd__run_len(r);
    if (at - start > most)
      most = at - start;
  }
  return most;
}

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

uint32_t llmd__heads_find(const llmd_index *x, const llmd_key *keys, uint32_t n)
{
  llmd__slots_at at;
  _Atomic uint64_t *where;
  uint64_t s;
  llmd__slots_begin(&at, llmd__head_home(x, keys));
  while ((s = llmd__slots_next(&x->heads, &at, 28, llmd__head_tag(keys), &where)) != 0) {
    const llmd__run *r = llmd__run_at(x, LLMD__HEAD_RUN(s));
    uint32_t len = llmd__run_len(r);
    if (len <= n && LLMD__GET(&r->last[0]) == keys[len - 1].lo && LLMD__GET(&r->last[1]) == keys[len - 1].hi)
      return LLMD__HEAD_RUN(s);
    if (llmd__key_equal(llmd__run_key(x, llmd__body_of(x, r), 0), *keys))
      return LLMD__HEAD_RUN(s);
  }
  return 0;
}

static void put_key(llmd_index *x, llmd__run *r, uint32_t i, const llmd_key *key)
{
  llmd__body *b = llmd__body_of(x, r);
  llmd__line64 *l;
  if (i % 4 == 0)
    LLMD__PUT(&b->key[i / 4], llmd__line_take(x));
  if (i % 8 == 0)
    LLMD__PUT(&b->name[i / 8], llmd__line_take(x));
  l = llmd__line_at(x, LLMD__GET(&b->key[i / 4]));
  LLMD__PUT(&l->w[i % 4 * 2], key->lo);
  LLMD__PUT(&l->w[i % 4 * 2 + 1], key->hi);
  l = llmd__line_at(x, LLMD__GET(&b->name[i / 8]));
  LLMD__PUT(&l->w[i % 8], 0);
}

static void put_last(llmd__run *r, const llmd_key *key)
{
  LLMD__PUT(&r->last[0], key->lo);
  LLMD__PUT(&r->last[1], key->hi);
}

/* The depth of a run that begins at this place of a window, after the parent. */
static uint32_t depth_after(const llmd_index *x, uint32_t parent, uint32_t place)
{
  const llmd__run *p;
  if (parent == 0)
    return place;
  p = llmd__run_at(x, parent);
  return LLMD__GET(&p->depth) - llmd__run_start(p) + (place == 0 ? LLMD__X_WINDOW : place);
}

uint32_t llmd__run_new(llmd_index *x, uint32_t parent, uint32_t place, const llmd_key *key)
{
  uint32_t run, home = llmd__head_home(x, key);
  _Atomic uint64_t *slot = llmd__slots_take(&x->heads, home);
  llmd__run *r;
  if (slot == NULL)
    return 0;
  run = llmd__line_take_run(x);
  r = llmd__run_at(x, run);
  LLMD__PUT(&r->body, llmd__line_take(x));
  LLMD__PUT(&r->inc, ++x->head->inc);
  put_key(x, r, 0, key);
  put_last(r, key);
  LLMD__PUT(&r->parent, parent);
  LLMD__PUT(&r->depth, depth_after(x, parent, place));
  LLMD__PUT(&r->shape, 1u | place << 8);
  hang(x, run, parent);
  llmd__recency_add(x, run);
  llmd__touch(x, run);
  LLMD__ADD(&x->head->n_runs, 1u);
  LLMD__ADD(&x->head->n_blocks, 1u);
  LLMD__PUT(slot, llmd__head_tag(key) << 28 | run);
  return run;
}

void llmd__run_grow(llmd_index *x, uint32_t run, const llmd_key *key)
{
  llmd__run *r = llmd__run_at(x, run);
  uint32_t shape = LLMD__GET(&r->shape);
  put_key(x, r, shape & 0xffu, key);
  LLMD__PUT(&r->shape, shape + 1u);
  put_last(r, key);
  LLMD__ADD(&x->head->n_blocks, 1u);
}

/* The names of blocks from..to are about to go: ask for their places at once. */
static void ask_names(const llmd_index *x, const llmd__run *r, uint32_t from, uint32_t to)
{
  for (uint32_t i = from; i < to; i++)
    llmd__name_prefetch(x, llmd__name_of(x, r, i));
}

/* Blocks from `len` on are no longer part of the run. Nobody holds them. */
static void cut(llmd_index *x, uint32_t run, uint32_t len)
{
  llmd__run *r = llmd__run_at(x, run);
  llmd__body *b = llmd__body_of(x, r);
  uint32_t shape = LLMD__GET(&r->shape), had = shape & 0xffu;
  llmd_key last = llmd__run_key(x, b, len - 1);
  ask_names(x, r, len, had);
  for (uint32_t i = len; i < had; i++)
    llmd__name_drop(x, run, i);
  llmd__own_cut(x, run, len);
  LLMD__PUT(&r->shape, (shape & ~0xffu) | len);
  put_last(r, &last);
  LLMD__PUT(&r->inc, ++x->head->inc);
  for (uint32_t i = (len + 3) / 4; i < (had + 3) / 4; i++)
    llmd__line_give(x, LLMD__GET(&b->key[i]));
  for (uint32_t i = (len + 7) / 8; i < (had + 7) / 8; i++)
    llmd__line_give(x, LLMD__GET(&b->name[i]));
  LLMD__ADD(&x->head->n_blocks, (uint64_t)len - had);
}

static void free_only(llmd_index *x, uint32_t run)
{
  llmd__run *r = llmd__run_at(x, run);
  llmd__body *b = llmd__body_of(x, r);
  uint32_t len = llmd__run_len(r);
  llmd_key key = llmd__run_key(x, b, 0);
  llmd__slots_at at;
  _Atomic uint64_t *where;
  uint64_t s;
  unhang(x, run); /* both doors are shut before anything else happens */
  llmd__slots_begin(&at, llmd__head_home(x, &key));
  while ((s = llmd__slots_next(&x->heads, &at, 28, llmd__head_tag(&key), &where)) != 0 && LLMD__HEAD_RUN(s) != run)
    ;
  if (s != 0)
    llmd__slots_drop(&x->heads, where, llmd__head_home(x, &key));
  LLMD__PUT(&r->inc, ++x->head->inc);
  ask_names(x, r, 0, len);
  for (uint32_t i = 0; i < len; i++)
    llmd__name_drop(x, run, i);
  llmd__own_cut(x, run, 0);
  llmd__run_forget(x, run);
  for (uint32_t i = 0; i < (len + 3) / 4; i++)
    llmd__line_give(x, LLMD__GET(&b->key[i]));
  for (uint32_t i = 0; i < (len + 7) / 8; i++)
    llmd__line_give(x, LLMD__GET(&b->name[i]));
  llmd__recency_remove(x, run);
  LLMD__ADD(&x->head->n_runs, (uint64_t)-1);
  LLMD__ADD(&x->head->n_blocks, 0u - (uint64_t)len);
  llmd__line_give(x, LLMD__GET(&r->body));
  llmd__line_give_run(x, run);
}

/* The parent was in use as long as its child was. */
static void hand_on(llmd_index *x, uint32_t run, uint32_t parent)
{
  uint8_t now = (uint8_t)LLMD__GET(&x->head->epoch), hit = LLMD__GET(&x->hit[run - LLMD__X_RINGS]);
  _Atomic uint8_t *up = &x->hit[parent - LLMD__X_RINGS];
  if ((uint8_t)(now - hit) < (uint8_t)(now - LLMD__GET(up)))
    LLMD__PUT(up, hit);
}

void llmd__run_free(llmd_index *x, uint32_t run)
{
  uint32_t parent = LLMD__GET(&llmd__run_at(x, run)->parent);
  if (parent != 0)
    hand_on(x, run, parent);
  free_only(x, run);
  if (parent != 0)
    llmd__run_trim(x, parent);
}

/* One more than the last block that anybody holds. */
static uint32_t top_of(const llmd_index *x, const llmd__run *r)
{
  uint64_t word = LLMD__GET(&r->set);
  uint32_t bits = LLMD__E_MASK(LLMD__GET(&r->odd));
  if (word != 0)
    bits |= llmd__low(LLMD__SET_FLEN(word));
  for (uint32_t n = LLMD__GET(&r->more); n != 0; n = LLMD__GET(&llmd__line_at(x, n)->more.next))
    for (uint32_t i = 0; i < 7; i++)
      bits |= LLMD__E_MASK(LLMD__GET(&llmd__line_at(x, n)->more.entry[i]));
  return bits == 0 ? 0 : 32u - (uint32_t)__builtin_clz(bits);
}

void llmd__run_trim(llmd_index *x, uint32_t run)
{
  while (run != 0 && run != x->keep) {
    llmd__run *r = llmd__run_at(x, run);
    uint32_t parent = LLMD__GET(&r->parent), len = llmd__run_len(r), top = top_of(x, r), need;
    if (top >= len)
      return;
    need = needed(x, r);
    if (need > top)
      top = need;
    if (top != 0) {
      if (top < len)
        cut(x, run, top);
      return;
    }
    if (parent != 0)
      hand_on(x, run, parent);
    free_only(x, run);
    run = parent;
  }
}

void llmd__run_stale(llmd_index *x, uint32_t run)
{
  if (x->n_stale < sizeof x->stale / sizeof x->stale[0])
    x->stale[x->n_stale++] = llmd__run_key(x, llmd__body_of(x, llmd__run_at(x, run)), 0);
}

void llmd__trim_stale(llmd_index *x)
{
  while (x->n_stale != 0) {
    uint32_t run = llmd__heads_find(x, &x->stale[--x->n_stale], 1);
    if (run != 0)
      llmd__run_trim(x, run);
  }
}

void llmd__run_adopt(llmd_index *x, uint32_t run)
{
  llmd__run *r = llmd__run_at(x, run);
  llmd_key last = llmd__run_key(x, llmd__body_of(x, r), llmd__run_len(r) - 1u);
  put_last(r, &last); /* may have been between two lengths */
  hang(x, run, LLMD__GET(&r->parent));
  llmd__recency_adopt(x, run);
  LLMD__ADD(&x->head->n_runs, 1u);
  LLMD__ADD(&x->head->n_blocks, llmd__run_len(r));
}
