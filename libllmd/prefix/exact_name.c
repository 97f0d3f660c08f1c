/* Engine names of blocks: slot = run │ offset << 28 │ tag << 33. The names themselves stand in lines of the run, so a
 * slot found is always checked. A block has one name that everybody may use, the first it got; a holder whose engine has
 * another name for it keeps that among its own names, in lines that hang on the run too. */
#include "prefix/exact.h"

#define RUN(slot) ((uint32_t)(slot) & (LLMD__X_MAX_LINES - 1u))
#define OFFSET(slot) ((uint32_t)((slot) >> 28) & 31u)
#define TAG_SHIFT 33u

static uint64_t spread(const llmd_index *x, uint64_t name)
{
  uint64_t z = name ^ x->name_salt;
  z = (z ^ (z >> 32)) * UINT64_C(0xd6e8feb86659fd93);
  z = (z ^ (z >> 32)) * UINT64_C(0xd6e8feb86659fd93);
  return z ^ (z >> 32);
}

static uint64_t slot_of(uint64_t hash, uint32_t run, uint32_t offset)
{
  return (hash >> TAG_SHIFT) << TAG_SHIFT | (uint64_t)offset << 28 | run;
}

void llmd__name_prefetch(const llmd_index *x, uint64_t name)
{
  llmd__slots_prefetch(&x->names, llmd__slots_home(&x->names, spread(x, name)));
}

static uint64_t line_name(const llmd_index *x, uint32_t line, uint32_t i)
{
  return line ? LLMD__GET(&llmd__line_at(x, line)->w[i % 8]) : 0;
}

uint64_t llmd__name_of(const llmd_index *x, const llmd__run *r, uint32_t i)
{
  return line_name(x, LLMD__GET(&llmd__body_of(x, r)->name[i / 8]), i);
}

static llmd__own_names *own_find(const llmd_index *x, const llmd__run *r, uint32_t holder)
{
  for (uint32_t n = LLMD__GET(&llmd__body_of(x, r)->own); n != 0; n = LLMD__GET(&llmd__line_at(x, n)->own.next))
    for (uint32_t i = 0; i < 3; i++)
      if (LLMD__GET(&llmd__line_at(x, n)->own.of[i].holder) == holder + 1)
        return &llmd__line_at(x, n)->own.of[i];
  return NULL;
}

/* The holder's own name for the block; 0 = it has none, and uses the one that everybody may use. */
static uint64_t own_name(const llmd_index *x, const llmd__run *r, uint32_t holder, uint32_t offset)
{
  const llmd__own_names *o = x->owned[holder] ? own_find(x, r, holder) : NULL;
  return o != NULL ? line_name(x, LLMD__GET(&o->line[offset / 8]), offset) : 0;
}

int llmd__name_find(const llmd_index *x, uint32_t holder, uint64_t name, llmd__place *out)
{
  uint64_t hash = spread(x, name), s;
  llmd__slots_at at;
  _Atomic uint64_t *where;
  int found = 0;
  llmd__slots_begin(&at, llmd__slots_home(&x->names, hash));
  out->taken = 0;
  while ((s = llmd__slots_next(&x->names, &at, TAG_SHIFT, hash >> TAG_SHIFT, &where)) != 0) {
    const llmd__run *r = llmd__run_at(x, RUN(s));
    uint64_t own = own_name(x, r, holder, OFFSET(s));
    int shared = llmd__name_of(x, r, OFFSET(s)) == name;
    int how = own == name ? LLMD__NAME_OWN : !shared ? 0 : own == 0 ? LLMD__NAME_SHARED : LLMD__NAME_OTHERS;
    out->taken |= (uint32_t)shared;
    if (how <= found)
      continue;
    found = how;
    out->run = RUN(s);
    out->offset = OFFSET(s);
  }
  return found;
}

static int slot_add(llmd_index *x, uint64_t name, uint32_t run, uint32_t offset)
{
  uint64_t hash = spread(x, name);
  _Atomic uint64_t *slot = llmd__slots_take(&x->names, llmd__slots_home(&x->names, hash));
  if (slot == NULL)
    return LLMD_E_FULL;
  LLMD__PUT(slot, slot_of(hash, run, offset));
  x->head->n_names++;
  return 0;
}

/* One slot of the name for that block goes: all are alike. */
static void slot_drop(llmd_index *x, uint64_t name, uint32_t run, uint32_t offset)
{
  uint64_t hash = spread(x, name), s, want = slot_of(hash, run, offset);
  uint32_t home = llmd__slots_home(&x->names, hash);
  llmd__slots_at at;
  _Atomic uint64_t *where;
  llmd__slots_begin(&at, home);
  while ((s = llmd__slots_next(&x->names, &at, TAG_SHIFT, hash >> TAG_SHIFT, &where)) != 0)
    if (s == want) {
      llmd__slots_drop(&x->names, where, home);
      x->head->n_names--;
      return;
    }
}

void llmd__name_drop(llmd_index *x, uint32_t run, uint32_t i)
{
  llmd__run *r = llmd__run_at(x, run);
  uint32_t line = LLMD__GET(&llmd__body_of(x, r)->name[i / 8]);
  uint64_t name = line_name(x, line, i);
  if (name == 0)
    return;
  LLMD__PUT(&llmd__line_at(x, line)->w[i % 8], 0);
  slot_drop(x, name, run, i);
}

/* ---- own names --------------------------------------------------------------------------------------------------- */

static llmd__own_names *own_make(llmd_index *x, llmd__run *r, uint32_t holder)
{
  llmd__body *b = llmd__body_of(x, r);
  llmd__own_names *free = NULL;
  for (uint32_t n = LLMD__GET(&b->own); n != 0 && free == NULL; n = LLMD__GET(&llmd__line_at(x, n)->own.next))
    for (uint32_t i = 0; i < 3 && free == NULL; i++)
      if (LLMD__GET(&llmd__line_at(x, n)->own.of[i].holder) == 0)
        free = &llmd__line_at(x, n)->own.of[i];
  if (free == NULL) {
    uint32_t line = llmd__line_take(x);
    LLMD__PUT(&llmd__line_at(x, line)->own.next, LLMD__GET(&b->own));
    LLMD__PUT(&b->own, line);
    free = &llmd__line_at(x, line)->own.of[0];
  }
  for (uint32_t i = 0; i < 4; i++)
    LLMD__PUT(&free->line[i], 0u);
  LLMD__PUT(&free->holder, holder + 1);
  return free;
}

static int own_set(llmd_index *x, uint32_t holder, uint32_t run, uint32_t offset, uint64_t name)
{
  llmd__run *r = llmd__run_at(x, run);
  llmd__own_names *o = own_find(x, r, holder);
  uint64_t old;
  int rc;
  if (o == NULL)
    o = own_make(x, r, holder);
  if (LLMD__GET(&o->line[offset / 8]) == 0)
    LLMD__PUT(&o->line[offset / 8], llmd__line_take(x));
  old = line_name(x, LLMD__GET(&o->line[offset / 8]), offset);
  if (old == name)
    return 0;
  if ((rc = slot_add(x, name, run, offset)) < 0)
    return rc;
  LLMD__PUT(&llmd__line_at(x, LLMD__GET(&o->line[offset / 8]))->w[offset % 8], name);
  if (old != 0)
    slot_drop(x, old, run, offset);
  else
    x->owned[holder]++;
  return 0;
}

static int line_empty(const llmd_index *x, uint32_t line)
{
  uint64_t any = 0;
  for (uint32_t i = 0; i < 8; i++)
    any |= LLMD__GET(&llmd__line_at(x, line)->w[i]);
  return any == 0;
}

/* Takes one holder's names of the blocks in mask out; 1 = it has none left here. */
static int own_take(llmd_index *x, uint32_t run, llmd__own_names *o, uint32_t mask)
{
  uint32_t holder = LLMD__GET(&o->holder) - 1, left = 0;
  for (uint32_t i = 0; i < 32; i++) {
    uint32_t line = LLMD__GET(&o->line[i / 8]);
    uint64_t name = line_name(x, line, i);
    if (name == 0 || !(mask >> i & 1u))
      continue;
    LLMD__PUT(&llmd__line_at(x, line)->w[i % 8], 0);
    slot_drop(x, name, run, i);
    x->owned[holder]--;
  }
  for (uint32_t i = 0; i < 4; i++) {
    uint32_t line = LLMD__GET(&o->line[i]);
    if (line != 0 && line_empty(x, line)) {
      LLMD__PUT(&o->line[i], 0u);
      llmd__line_give(x, line);
    } else if (line != 0)
      left = 1;
  }
  if (left == 0)
    LLMD__PUT(&o->holder, 0u);
  return left == 0;
}

static int own_unused(const llmd__own *o)
{
  return (LLMD__GET(&o->of[0].holder) | LLMD__GET(&o->of[1].holder) | LLMD__GET(&o->of[2].holder)) == 0;
}

static void own_lines_sweep(llmd_index *x, llmd__run *r)
{
  _Atomic uint32_t *from = &llmd__body_of(x, r)->own;
  uint32_t n;
  while ((n = LLMD__GET(from)) != 0) {
    llmd__own *o = &llmd__line_at(x, n)->own;
    if (!own_unused(o)) {
      from = &o->next;
      continue;
    }
    LLMD__PUT(from, LLMD__GET(&o->next));
    llmd__line_give(x, n);
  }
}

void llmd__own_drop(llmd_index *x, uint32_t run, uint32_t holder, uint32_t mask)
{
  llmd__run *r = llmd__run_at(x, run);
  llmd__own_names *o = x->owned[holder] && mask ? own_find(x, r, holder) : NULL;
  if (o != NULL && own_take(x, run, o, mask))
    own_lines_sweep(x, r);
}

static void own_all(llmd_index *x, uint32_t run, uint32_t mask, int only_swept)
{
  llmd__run *r = llmd__run_at(x, run);
  int empty = 0;
  for (uint32_t n = LLMD__GET(&llmd__body_of(x, r)->own); n != 0; n = LLMD__GET(&llmd__line_at(x, n)->own.next))
    for (uint32_t i = 0; i < 3; i++) {
      llmd__own_names *o = &llmd__line_at(x, n)->own.of[i];
      uint32_t holder = LLMD__GET(&o->holder);
      if (holder != 0 && (!only_swept || LLMD__GET(&x->state[holder - 1]) == LLMD__HOLDER_SWEPT))
        empty |= own_take(x, run, o, mask);
    }
  if (empty)
    own_lines_sweep(x, r);
}

void llmd__own_cut(llmd_index *x, uint32_t run, uint32_t from)
{
  own_all(x, run, ~llmd__low(from), 0);
}

void llmd__own_sweep(llmd_index *x, uint32_t run)
{
  own_all(x, run, 0xffffffffu, 1);
}

/* ---- naming ------------------------------------------------------------------------------------------------------ */

/* The holder's engine gave a name away that it had for another block: it cannot hold that one any more. */
static void rename_away(llmd_index *x, uint32_t holder, const llmd__place *old)
{
  uint32_t had = 0;
  if (old->run == x->storing)
    x->lost |= 1u << old->offset; /* may be about to be covered */
  for (uint32_t t = 0; t < LLMD__X_TIERS; t++)
    if (t != LLMD_TIER_SPECULATIVE)
      had |= llmd__run_uncover(x, old->run, holder, t, 1u << old->offset);
  llmd__own_drop(x, old->run, holder, 1u << old->offset);
  if (had == 0)
    return;
  LLMD__ADD(&x->head->renamed, 1u);
  llmd__run_stale(x, old->run);
}

int llmd__name_set(llmd_index *x, uint32_t holder, uint32_t run, uint32_t offset, uint64_t name)
{
  llmd__run *r = llmd__run_at(x, run);
  uint32_t line = LLMD__GET(&llmd__body_of(x, r)->name[offset / 8]);
  uint64_t shared = line_name(x, line, offset);
  llmd__place old;
  int rc;
  if (shared == name && x->owned[holder] == 0)
    return 0;
  rc = llmd__name_find(x, holder, name, &old);
  if (rc >= LLMD__NAME_SHARED && old.run == run && old.offset == offset)
    return 0;
  if (rc >= LLMD__NAME_SHARED) {
    if (llmd__reserve(x, llmd__need(x), 1, run) < 0)
      return LLMD_E_FULL;
    if (llmd__name_find(x, holder, name, &old) < LLMD__NAME_SHARED)
      return llmd__name_set(x, holder, run, offset, name); /* went for want of room */
    rename_away(x, holder, &old);
  }
  if (shared == name) {
    llmd__own_drop(x, run, holder, 1u << offset);
    return 0;
  }
  if (shared != 0 || old.taken)
    return own_set(x, holder, run, offset, name);
  if ((rc = slot_add(x, name, run, offset)) < 0)
    return rc;
  LLMD__PUT(&llmd__line_at(x, line)->w[offset % 8], name);
  llmd__own_drop(x, run, holder, 1u << offset);
  return 0;
}

static void adopt_own(llmd_index *x, uint32_t run, uint32_t len, llmd__own_names *o)
{
  uint32_t holder = LLMD__GET(&o->holder);
  for (uint32_t i = 0; i < 4; i++) {
    uint32_t line = LLMD__GET(&o->line[i]);
    if (holder == 0 || holder > x->holders || !llmd__line_ok(x, line) || llmd__marked(x, line))
      LLMD__PUT(&o->line[i], 0u);
    else
      llmd__mark(x, line);
  }
  for (uint32_t i = 0; holder != 0 && holder <= x->holders && i < LLMD__X_WINDOW; i++) {
    uint32_t line = LLMD__GET(&o->line[i / 8]);
    uint64_t name = line_name(x, line, i);
    if (name != 0 && i >= len)
      LLMD__PUT(&llmd__line_at(x, line)->w[i % 8], 0);
    else if (name != 0 && slot_add(x, name, run, i) == 0)
      x->owned[holder - 1]++;
  }
}

void llmd__names_adopt(llmd_index *x, uint32_t run)
{
  llmd__run *r = llmd__run_at(x, run);
  _Atomic uint32_t *from = &llmd__body_of(x, r)->own;
  uint32_t len = llmd__run_len(r), n;
  for (uint32_t i = 0; i < len; i++) {
    uint64_t name = llmd__name_of(x, r, i);
    if (name != 0)
      slot_add(x, name, run, i);
  }
  while ((n = LLMD__GET(from)) != 0) {
    llmd__own *o = &llmd__line_at(x, n)->own;
    if (!llmd__line_ok(x, n) || llmd__marked(x, n)) {
      LLMD__PUT(from, 0u);
      break;
    }
    for (uint32_t i = 0; i < 3; i++)
      adopt_own(x, run, len, &o->of[i]);
    if (own_unused(o)) { /* the writer died before it wrote whose it is */
      LLMD__PUT(from, LLMD__GET(&o->next));
      continue;
    }
    llmd__mark(x, n);
    from = &o->next;
  }
}
