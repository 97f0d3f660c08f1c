/* The writing side of a prefix index: recency, eviction, forgetting. One writer, see index.h. */
#include "prefix/layout.h"

#define AHEAD 12u        /* blocks whose memory is asked for in advance */
#define SCOUT 4u         /* half as far as evictions look ahead */
#define MAKE_ROOM_TRIES 64u

static llmd__node *node_at(const llmd__index *ix, uint32_t number)
{
  return &ix->node[number - 1];
}

static void count(_Atomic uint64_t *what, int64_t by)
{
  uint64_t now = atomic_load_explicit(what, memory_order_relaxed);
  atomic_store_explicit(what, now + (uint64_t)by, memory_order_relaxed);
}

/* A writer that dies between these two leaves the mark. It matters to its successor alone, which starts after the
 * writer's last instruction; so the compiler's order is all that has to be kept. */
static void begin_write(const llmd__index *ix)
{
  atomic_store_explicit(&ix->head->dirty, 1, memory_order_relaxed);
  atomic_signal_fence(memory_order_seq_cst);
}

static void end_write(const llmd__index *ix)
{
  atomic_signal_fence(memory_order_seq_cst);
  atomic_store_explicit(&ix->head->n_sets, ix->head->sets.n_sets, memory_order_relaxed);
  atomic_store_explicit(&ix->head->dirty, 0, memory_order_release);
}

/* ---- recency lists ----------------------------------------------------------------------------------------------- */

static void cut(const llmd__index *ix, llmd__list *list, uint32_t which, const llmd__node *x)
{
  uint32_t newer = x->by[which].newer, older = x->by[which].older;
  if (newer)
    node_at(ix, newer)->by[which].older = older;
  else
    list->newest = older;
  if (older)
    node_at(ix, older)->by[which].newer = newer;
  else
    list->oldest = newer;
}

static void push(const llmd__index *ix, llmd__list *list, uint32_t which, uint32_t number)
{
  llmd__node *x = node_at(ix, number);
  x->by[which].newer = 0;
  x->by[which].older = list->newest;
  if (list->newest)
    node_at(ix, list->newest)->by[which].newer = number;
  else
    list->oldest = number;
  list->newest = number;
}

static void refresh(const llmd__index *ix, llmd__list *list, uint32_t which, uint32_t number)
{
  if (list->newest == number)
    return;
  cut(ix, list, which, node_at(ix, number));
  push(ix, list, which, number);
}

/* ---- nodes by key and slot --------------------------------------------------------------------------------------- */

static uint32_t hash_of(const llmd_key *key, uint32_t slot)
{
  return (uint32_t)(key->lo >> 32) ^ (slot + 1) * 0x9e3779b1u;
}

static uint32_t *bucket_of(const llmd__index *ix, uint32_t hash)
{
  return &ix->bucket[llmd__spread(hash, ix->n_buckets)];
}

static uint32_t find_node(const llmd__index *ix, uint32_t hash, uint32_t cell, uint32_t holder)
{
  uint32_t number = *bucket_of(ix, hash);
  while (number && (node_at(ix, number)->cell != cell || node_at(ix, number)->holder != holder))
    number = node_at(ix, number)->chain;
  return number;
}

static void unchain(const llmd__index *ix, uint32_t number)
{
  uint32_t *at = bucket_of(ix, node_at(ix, number)->hash);
  while (*at != number)
    at = &node_at(ix, *at)->chain;
  *at = node_at(ix, number)->chain;
}

static int node_to_spare(const llmd__index *ix)
{
  return ix->head->free || ix->head->fresh < ix->n_nodes;
}

static uint32_t take_node(const llmd__index *ix)
{
  llmd__index_head *h = ix->head;
  uint32_t number = h->free;
  if (number == 0)
    return ++h->fresh;
  h->free = node_at(ix, number)->chain;
  return number;
}

/* Out of the bucket and of both lists; `own` is the slot's list or the dead's. */
static void free_node(const llmd__index *ix, llmd__list *own, uint32_t number)
{
  llmd__node *x = node_at(ix, number);
  unchain(ix, number);
  cut(ix, own, LLMD__OWN, x);
  cut(ix, &ix->head->all, LLMD__ALL, x);
  x->chain = ix->head->free;
  ix->head->free = number;
}

static void free_live_node(const llmd__index *ix, uint32_t number)
{
  llmd__index_slot *s = &ix->slot[node_at(ix, number)->holder >> LLMD__EPOCH_BITS];
  free_node(ix, &s->list, number);
  s->n--;
  count(&ix->head->holders, -1);
}

/* ---- taking a holder off a block --------------------------------------------------------------------------------- */

static void drop_cell(const llmd__index *ix, uint32_t cell)
{
  llmd__cells_drop(&ix->cells, cell);
  count(&ix->head->blocks, -1);
}

/* Frees the nodes of all live holders of a cell, when there is no memory for a set without one of them. */
static void free_all_nodes(const llmd__index *ix, uint32_t cell, uint32_t word)
{
  const llmd__line *l = &ix->cells.line[cell / 4];
  llmd_key key = {atomic_load_explicit(&l->lo[cell % 4], memory_order_relaxed), 0};
  uint32_t *holder = ix->holders.work;
  uint32_t n = llmd__holders_copy(&ix->holders, word, holder);
  for (uint32_t i = 0; i < n; i++) {
    uint32_t number = find_node(ix, hash_of(&key, holder[i] >> LLMD__EPOCH_BITS), cell, holder[i]);
    if (number == 0)
      continue;
    free_live_node(ix, number);
    count(&ix->head->dropped, 1);
  }
}

/* Takes the holder off the cell; its node is gone already. A dead holder may have gone before, and the cell with it. */
static void leave(const llmd__index *ix, uint32_t cell, uint32_t holder)
{
  uint32_t word = llmd__cells_get(&ix->cells, cell), rest = 0;
  int err = llmd__holders_remove(&ix->holders, word, holder, &rest);
  if (err == LLMD_E_NONE)
    return;
  if (err)
    free_all_nodes(ix, cell, word);
  if (rest)
    llmd__cells_put(&ix->cells, cell, rest);
  else
    drop_cell(ix, cell);
  llmd__holders_release(&ix->holders, word);
}

/* The node that goes now. It will be followed by the next in its list: asks for the memory that their going will touch,
 * first what their nodes name, some steps later what that names in turn. (Not a function of its own: one that does
 * nothing but ask ahead may be left out by a compiler that sees no effect in it.) */
static llmd__node last_look(const llmd__index *ix, uint32_t number, uint32_t which)
{
  const llmd__node *x = node_at(ix, number);
  const llmd__node going = *x;
  for (uint32_t steps = 0; steps < 2 * SCOUT; steps++) {
    if (x->by[which].newer == 0)
      return going;
    x = node_at(ix, x->by[which].newer);
    if (steps + 1 == SCOUT) {
      uint32_t first = *bucket_of(ix, x->hash), neighbour = x->by[!which].newer;
      LLMD__PREFETCH(node_at(ix, first ? first : number));
      LLMD__PREFETCH(node_at(ix, neighbour ? neighbour : number));
    }
  }
  LLMD__PREFETCH(bucket_of(ix, x->hash));
  LLMD__PREFETCH(&ix->cells.line[x->cell / 4]);
  LLMD__PREFETCH(node_at(ix, x->by[which].newer ? x->by[which].newer : number));
  return going;
}

/* which: the list whose least recent node this is. */
static void evict(const llmd__index *ix, uint32_t number, uint32_t which)
{
  const llmd__node x = last_look(ix, number, which);
  free_live_node(ix, number);
  leave(ix, x.cell, x.holder);
  count(which == LLMD__OWN ? &ix->head->evicted_own : &ix->head->evicted_all, 1);
}

static void sweep_one(const llmd__index *ix)
{
  uint32_t number = ix->head->dead.oldest;
  const llmd__node x = last_look(ix, number, LLMD__OWN);
  free_node(ix, &ix->head->dead, number);
  leave(ix, x.cell, x.holder);
  count(&ix->head->dead_holders, -1);
}

/* One pair less: a dead one, else the least recent of all. 0 = there is none. */
static int make_room(const llmd__index *ix)
{
  if (ix->head->dead.oldest)
    sweep_one(ix);
  else if (ix->head->all.oldest)
    evict(ix, ix->head->all.oldest, LLMD__ALL);
  else
    return 0;
  return 1;
}

/* ---- store ------------------------------------------------------------------------------------------------------- */

/* Puts the holder on the cell (LLMD__NO_CELL = the key has none yet). Without memory for the set the block keeps this
 * holder alone. Returns the cell, or LLMD__NO_CELL when there is no place for the key. */
static uint32_t join(const llmd__index *ix, const llmd_key *key, uint32_t cell, uint32_t word, uint32_t holder)
{
  uint32_t with;
  if (cell == LLMD__NO_CELL) {
    cell = llmd__cells_take(&ix->cells, key, LLMD__ONE | holder);
    count(cell == LLMD__NO_CELL ? &ix->head->dropped : &ix->head->blocks, 1);
    return cell;
  }
  if (llmd__holders_add(&ix->holders, word, holder, &with)) {
    free_all_nodes(ix, cell, word);
    with = LLMD__ONE | holder;
  }
  llmd__cells_put(&ix->cells, cell, with);
  llmd__holders_release(&ix->holders, word);
  return cell;
}

/* A node and, most likely, the chunks for one holder more on this block. Things may have moved when it returns. */
static void reserve(const llmd__index *ix, llmd__index_slot *s, uint32_t capacity, uint32_t word)
{
  uint32_t need = llmd__holders_need(&ix->holders, word);
  if (s->n >= capacity)
    evict(ix, s->list.oldest, LLMD__OWN);
  while (!node_to_spare(ix) && make_room(ix))
    ;
  for (uint32_t i = 0; i < MAKE_ROOM_TRIES && ix->head->sets.n_free < need; i++)
    if (!make_room(ix))
      return;
}

static void add_pair(const llmd__index *ix, llmd__index_slot *s, uint32_t holder, uint32_t hash, uint32_t cell)
{
  uint32_t number = take_node(ix), *bucket = bucket_of(ix, hash);
  llmd__node *x = node_at(ix, number);
  x->cell = cell;
  x->holder = holder;
  x->hash = hash;
  x->chain = *bucket;
  *bucket = number;
  push(ix, &s->list, LLMD__OWN, number);
  push(ix, &ix->head->all, LLMD__ALL, number);
  s->n++;
  count(&ix->head->holders, 1);
}

static void store_block(const llmd__index *ix, uint32_t slot, uint32_t holder, uint32_t capacity, const llmd_key *key)
{
  llmd__index_slot *s = &ix->slot[slot];
  uint32_t hash = hash_of(key, slot), word = 0;
  uint32_t cell = llmd__cells_find(&ix->cells, key, &word);
  uint32_t number = cell == LLMD__NO_CELL ? 0 : find_node(ix, hash, cell, holder);
  if (number) {
    refresh(ix, &s->list, LLMD__OWN, number);
    refresh(ix, &ix->head->all, LLMD__ALL, number);
    return;
  }
  reserve(ix, s, capacity, word);
  word = 0;
  cell = llmd__cells_find(&ix->cells, key, &word);
  cell = join(ix, key, cell, word, holder);
  if (cell != LLMD__NO_CELL)
    add_pair(ix, s, holder, hash, cell);
}

/* ---- forget ------------------------------------------------------------------------------------------------------ */

/* Hangs the slot's list behind the dead's. */
static void bury(const llmd__index *ix, llmd__index_slot *s)
{
  llmd__list *dead = &ix->head->dead;
  if (s->list.newest == 0)
    return;
  node_at(ix, s->list.newest)->by[LLMD__OWN].newer = dead->oldest;
  if (dead->oldest)
    node_at(ix, dead->oldest)->by[LLMD__OWN].older = s->list.newest;
  else
    dead->newest = s->list.newest;
  dead->oldest = s->list.oldest;
  count(&ix->head->dead_holders, s->n);
  count(&ix->head->holders, -(int64_t)s->n);
  s->list = (llmd__list){0, 0};
  s->n = 0;
}

/* From the new epoch on nobody counts the old holders. Once in 2^17 times epochs begin anew: nothing dead may be
 * left. */
static void empty_slot(const llmd__index *ix, uint32_t slot)
{
  llmd__tag *tag = &ix->holders.tag[slot];
  uint32_t epoch = (atomic_load_explicit(&tag->epoch, memory_order_relaxed) + 1) & LLMD__EPOCH_MASK;
  bury(ix, &ix->slot[slot]);
  if (epoch == 0)
    while (ix->head->dead.oldest)
      sweep_one(ix);
  atomic_store_explicit(&tag->epoch, epoch, memory_order_release);
}

/* Does the id name the endpoint that the slot now stands for? A newer generation moves in. */
static int enter(const llmd__index *ix, llmd_endpoint_id endpoint)
{
  uint32_t slot = (uint32_t)endpoint, generation = (uint32_t)(endpoint >> 32), present;
  if (slot >= ix->rows)
    return LLMD_E_RANGE;
  present = atomic_load_explicit(&ix->holders.tag[slot].generation, memory_order_relaxed);
  if (present == generation)
    return 0;
  if (present && (int32_t)(generation - present) < 0)
    return LLMD_E_STALE;
  begin_write(ix);
  empty_slot(ix, slot);
  ix->slot[slot].capacity = 0;
  atomic_store_explicit(&ix->holders.tag[slot].generation, generation, memory_order_release);
  end_write(ix);
  return 0;
}

/* ---- the calls --------------------------------------------------------------------------------------------------- */

int llmd__index_store(const llmd__index *ix, llmd_endpoint_id endpoint, const llmd_key *chain, uint32_t n)
{
  uint32_t slot = (uint32_t)endpoint, capacity, holder;
  int err = enter(ix, endpoint);
  if (err)
    return err;
  capacity = ix->slot[slot].capacity ? ix->slot[slot].capacity : ix->head->capacity;
  holder = llmd__holder_of(&ix->holders, slot);
  n = n < capacity ? n : capacity;
  begin_write(ix);
  while (ix->slot[slot].n > capacity)
    evict(ix, ix->slot[slot].list.oldest, LLMD__OWN);
  while (n--) {
    if (n >= AHEAD) {
      llmd__cells_prefetch(&ix->cells, &chain[n - AHEAD]);
      LLMD__PREFETCH(bucket_of(ix, hash_of(&chain[n - AHEAD], slot)));
    }
    store_block(ix, slot, holder, capacity, &chain[n]);
  }
  end_write(ix);
  return 0;
}

int llmd__index_set_capacity(const llmd__index *ix, llmd_endpoint_id endpoint, uint32_t capacity)
{
  int err = enter(ix, endpoint);
  if (!err)
    ix->slot[(uint32_t)endpoint].capacity = capacity;
  return err;
}

int llmd__index_forget(const llmd__index *ix, llmd_endpoint_id endpoint)
{
  int err = enter(ix, endpoint);
  if (err)
    return err;
  begin_write(ix);
  empty_slot(ix, (uint32_t)endpoint);
  end_write(ix);
  return 0;
}

uint32_t llmd__index_tick(const llmd__index *ix, uint32_t budget)
{
  begin_write(ix);
  for (; budget && ix->head->dead.oldest; budget--)
    sweep_one(ix);
  end_write(ix);
  return (uint32_t)atomic_load_explicit(&ix->head->dead_holders, memory_order_relaxed);
}
