/* Plugin state in the region: found by name, made once, by any process.
 *
 *   directory [STATES] offsets of heads, append-only   │ claims [CLAIMS] room in the making, or free │ room
 *
 * A maker takes a claim, and room for it; makes the state there; and puts its offset into the first free place of the
 * directory, where one of the same name that got there first wins. What then stays with the claim is free room. A maker
 * that dies leaves its claim behind, under its name: the writer takes that off when the host says so. Killed between
 * taking room and noting it, it leaves room that neither directory nor claims know; that is found as a gap. */
#include "base/region.h"

#include <string.h>

#define ALIGN 64u
#define PATIENCE (1u << 25) /* looks at the directory: some tenths of a second */

static uint64_t up(uint64_t n)
{
  return (n + ALIGN - 1) & ~(uint64_t)(ALIGN - 1);
}

uint64_t llmd__region_state_head(void)
{
  return up(sizeof(llmd__state));
}

uint64_t llmd__region_state_room(const llmd__region *g)
{
  return g->state_off + up(LLMD__STATES * sizeof(uint64_t)) + up(LLMD__CLAIMS * sizeof(llmd__claim));
}

static _Atomic uint64_t *directory(const llmd__region *g)
{
  return (_Atomic uint64_t *)llmd__at(g, g->state_off);
}

llmd__claim *llmd__region_claims(const llmd__region *g)
{
  return (llmd__claim *)llmd__at(g, g->state_off + up(LLMD__STATES * sizeof(uint64_t)));
}

/* ---- the directory ---------------------------------------------------------------------------------------------- */

const llmd__state *llmd__region_state_at(const llmd__region *g, uint32_t i)
{
  uint64_t at = i < LLMD__STATES ? atomic_load_explicit(&directory(g)[i], memory_order_acquire) : 0;
  return at ? (const llmd__state *)llmd__at(g, at) : NULL;
}

static const llmd__state *find_state(const llmd__region *g, const char *name)
{
  const llmd__state *s;
  for (uint32_t i = 0; (s = llmd__region_state_at(g, i)) != NULL; i++)
    if (!strcmp(s->name, name))
      return s;
  return NULL;
}

/* Puts a ready head into the first free place. Somebody else's of the same name that got there first wins. */
static const llmd__state *enter_state(const llmd__region *g, uint64_t at)
{
  const llmd__state *mine = (const llmd__state *)llmd__at(g, at);
  for (uint32_t i = 0; i < LLMD__STATES; i++) {
    uint64_t none = 0;
    const llmd__state *there;
    if (atomic_compare_exchange_strong(&directory(g)[i], &none, at))
      return mine;
    there = llmd__region_state_at(g, i);
    if (!strcmp(there->name, mine->name))
      return there;
  }
  return NULL;
}

/* ---- claims ----------------------------------------------------------------------------------------------------- */

static int hold(llmd__claim *c, uint64_t owner)
{
  uint64_t nobody = 0;
  return atomic_compare_exchange_strong(&c->owner, &nobody, owner);
}

static void let_go(llmd__claim *c)
{
  atomic_store(&c->owner, 0);
}

static int fits(const llmd__claim *c, uint64_t least, uint64_t most)
{
  uint64_t have = atomic_load(&c->bytes);
  return atomic_load(&c->off) && have >= least && have <= most;
}

/* Free room of a size between the two. */
static llmd__claim *reuse_room(llmd__region *g, uint64_t owner, uint64_t least, uint64_t most)
{
  llmd__claim *c = llmd__region_claims(g);
  for (uint32_t i = 0; i < LLMD__CLAIMS; i++) {
    if (!fits(&c[i], least, most) || !hold(&c[i], owner))
      continue;
    if (fits(&c[i], least, most))
      return &c[i];
    let_go(&c[i]);
  }
  return NULL;
}

/* Takes room that was never taken; 0 = there is not so much. */
static uint64_t take_room(llmd__region *g, uint64_t bytes)
{
  uint64_t at = atomic_load(&g->state_used);
  do {
    if (bytes > g->caps.state_bytes || at > g->caps.state_bytes - bytes)
      return 0;
  } while (!atomic_compare_exchange_weak(&g->state_used, &at, at + bytes));
  return llmd__region_state_room(g) + at;
}

static llmd__claim *new_room(llmd__region *g, uint64_t owner, uint64_t bytes)
{
  llmd__claim *c = llmd__region_claims(g);
  for (uint32_t i = 0; i < LLMD__CLAIMS; i++) {
    uint64_t at;
    if (atomic_load(&c[i].off) || !hold(&c[i], owner))
      continue;
    at = atomic_load(&c[i].off) ? 0 : take_room(g, bytes);
    if (at) {
      atomic_store(&c[i].bytes, bytes);
      atomic_store(&c[i].off, at);
      return &c[i];
    }
    let_go(&c[i]);
  }
  return NULL;
}

/* Was nobody ever given room there? From now on somebody was. */
static int touch(llmd__region *g, uint64_t off, uint64_t bytes)
{
  uint64_t from = off - llmd__region_state_room(g), had = atomic_load(&g->state_touched);
  while (had < from + bytes)
    if (atomic_compare_exchange_weak(&g->state_touched, &had, from + bytes))
      return had <= from;
  return 0;
}

int llmd__region_state_is_zero(const void *mem)
{
  return ((const llmd__state *)(const void *)((const char *)mem - llmd__region_state_head()))->zero != 0;
}

/* The last room taken goes back where it came from; other room stays with its claim, free. */
static void leave_room(llmd__region *g, llmd__claim *c)
{
  uint64_t off = atomic_load(&c->off), start = llmd__region_state_room(g);
  uint64_t end = off + atomic_load(&c->bytes) - start;
  atomic_store(&c->off, 0);
  if (!atomic_compare_exchange_strong(&g->state_used, &end, off - start))
    atomic_store(&c->off, off);
  let_go(c);
}

/* Free room that has become the last one taken goes back, too: in pieces it would serve only small state. */
static void settle(llmd__region *g, uint64_t owner)
{
  llmd__claim *c = llmd__region_claims(g);
  for (uint32_t i = 0; i < LLMD__CLAIMS; i++) {
    uint64_t end = llmd__region_state_room(g) + atomic_load(&g->state_used), off = atomic_load(&c[i].off);
    if (!off || off + atomic_load(&c[i].bytes) != end || !hold(&c[i], owner))
      continue;
    if (atomic_load(&c[i].off) != off) {
      let_go(&c[i]);
      continue;
    }
    leave_room(g, &c[i]);
    i = UINT32_MAX; /* another one may be the last now */
  }
}

static llmd__claim *claim_room(llmd__region *g, uint64_t owner, uint64_t bytes)
{
  llmd__claim *c = reuse_room(g, owner, bytes, bytes);
  if (!c) {
    settle(g, owner);
    c = new_room(g, owner, bytes);
  }
  return c ? c : reuse_room(g, owner, bytes, UINT64_MAX);
}

/* ---- making ----------------------------------------------------------------------------------------------------- */

static int make_state(llmd__region *g, uint64_t owner, const char *name, uint32_t kind, uint64_t bytes,
                      int (*init)(void *mem, size_t bytes, void *ud), void *ud, const llmd__state **out)
{
  uint64_t head = llmd__region_state_head(), at;
  llmd__claim *c;
  llmd__state *s;
  int rc, zero;
  if (strlen(name) >= sizeof s->name)
    return LLMD_E_LIMIT;
  if (bytes > g->caps.state_bytes)
    return LLMD_E_FULL;
  c = claim_room(g, owner, head + up(bytes));
  if (!c)
    return LLMD_E_FULL;
  at = atomic_load(&c->off);
  s = llmd__at(g, at);
  zero = touch(g, at, atomic_load(&c->bytes));
  memset(s, 0, (size_t)head); /* init clears what it needs: most of an index is never touched */
  s->kind = kind;
  s->zero = (uint32_t)zero;
  s->off = at + head;
  s->bytes = atomic_load(&c->bytes) - head;
  memcpy(s->name, name, strlen(name) + 1);
  rc = init ? init(llmd__at(g, s->off), (size_t)s->bytes, ud) : 0;
  *out = rc ? NULL : enter_state(g, at);
  if (*out == s) {
    atomic_store(&c->off, 0); /* the directory has it now */
    let_go(c);
  } else {
    leave_room(g, c);
  }
  return rc ? rc : *out ? 0 : LLMD_E_FULL;
}

static int being_made(const llmd__region *g)
{
  llmd__claim *c = llmd__region_claims(g);
  for (uint32_t i = 0; i < LLMD__CLAIMS; i++)
    if (atomic_load(&c[i].owner))
      return 1;
  return 0;
}

/* Workers start together and want the same state. One makes it, the others look on for a while instead of taking room
 * of their own for what they would give back. A maker that died stops nobody whose state still fits. */
int llmd__region_state(llmd__region *g, uint64_t owner, const char *name, uint32_t kind, uint64_t bytes,
                       int (*init)(void *mem, size_t bytes, void *ud), void *ud, uint64_t *off, uint64_t *got)
{
  const llmd__state *s;
  uint32_t patience = PATIENCE;
  while ((s = find_state(g, name)) == NULL) {
    int rc;
    if (patience && being_made(g)) {
      patience--;
      continue;
    }
    rc = make_state(g, owner, name, kind, bytes, init, ud, &s);
    if (!rc)
      break;
    if (rc != LLMD_E_FULL || (!being_made(g) && !find_state(g, name)))
      return rc;
    if (!patience)
      return LLMD_E_BUSY;
  }
  if (s->kind != kind)
    return LLMD_E_TYPE;
  *off = s->off;
  *got = s->bytes;
  return 0;
}

/* ---- after a death ---------------------------------------------------------------------------------------------- */

typedef struct span {
  uint64_t off, bytes;
} span;

/* Adds a span, in order of place. */
static void insert(span *all, uint32_t *n, uint64_t off, uint64_t bytes)
{
  uint32_t i = (*n)++;
  for (; i && all[i - 1].off > off; i--)
    all[i] = all[i - 1];
  all[i].off = off;
  all[i].bytes = bytes;
}

static int in_directory(const llmd__region *g, uint64_t off)
{
  const llmd__state *s;
  for (uint32_t i = 0; (s = llmd__region_state_at(g, i)) != NULL; i++)
    if (s->off == off + llmd__region_state_head())
      return 1;
  return 0;
}

/* All room that somebody has, or that lies free in a claim. 0 = somebody is at it: no word on what is left over. */
static int list_spans(const llmd__region *g, span *all, uint32_t *n)
{
  llmd__claim *c = llmd__region_claims(g);
  const llmd__state *s;
  *n = 0;
  for (uint32_t i = 0; i < LLMD__CLAIMS; i++) {
    if (atomic_load(&c[i].owner))
      return 0;
    if (atomic_load(&c[i].off))
      insert(all, n, atomic_load(&c[i].off), atomic_load(&c[i].bytes));
  }
  for (uint32_t i = 0; (s = llmd__region_state_at(g, i)) != NULL; i++)
    insert(all, n, s->off - llmd__region_state_head(), s->bytes + llmd__region_state_head());
  return 1;
}

static void keep_gap(llmd__region *g, uint64_t self, uint64_t off, uint64_t bytes)
{
  llmd__claim *c = llmd__region_claims(g);
  for (uint32_t i = 0; i < LLMD__CLAIMS; i++) {
    if (atomic_load(&c[i].off) || !hold(&c[i], self))
      continue;
    if (!atomic_load(&c[i].off)) {
      atomic_store(&c[i].bytes, bytes);
      atomic_store(&c[i].off, off);
      let_go(&c[i]);
      return;
    }
    let_go(&c[i]);
  }
}

/* Room below `used` that nobody knows of: its taker died before it said so. Everything below was taken before the
 * claims were seen to be nobody's, so whoever took it has noted it, or is dead. */
static void find_gaps(llmd__region *g, uint64_t self)
{
  uint64_t used = atomic_load(&g->state_used), at = llmd__region_state_room(g), end = at + used;
  span all[LLMD__STATES + LLMD__CLAIMS];
  uint32_t n;
  if (!list_spans(g, all, &n))
    return;
  for (uint32_t i = 0; i < n && all[i].off < end; i++) {
    if (all[i].off > at)
      keep_gap(g, self, at, all[i].off - at);
    at = all[i].off + all[i].bytes;
  }
  if (at < end)
    atomic_compare_exchange_strong(&g->state_used, &used, at - llmd__region_state_room(g));
}

void llmd__region_state_reclaim(llmd__region *g, uint64_t dead, uint64_t self)
{
  llmd__claim *c = llmd__region_claims(g);
  for (uint32_t i = 0; i < LLMD__CLAIMS; i++) {
    if (!dead || atomic_load(&c[i].owner) != dead)
      continue;
    if (in_directory(g, atomic_load(&c[i].off)))
      atomic_store(&c[i].off, 0);
    let_go(&c[i]);
  }
  find_gaps(g, self);
}
