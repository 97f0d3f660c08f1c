#include "prefix/apply.h"

#include <math.h>
#include <string.h>

#include "base/msgpack.h"
#include "prefix/apply_group.h"
#include "prefix/apply_scheme.h"
#include "prefix/exact.h"

typedef struct batch {
  llmd_events *e;
  llmd__source *s;
  const llmd_batch_head *head;
  uint32_t rank; /* as llmd__source_endpoint takes it */
  llmd_endpoint_id endpoint;
  int applied, wrong_rank, failed;
  uint32_t tier; /* of the event at hand */
} batch;

static double number(llmd__msgpack *in)
{
  llmd__msgpack_value v;
  if (llmd__msgpack_next(in, &v) != 0)
    return NAN;
  if (v.kind == LLMD__MSGPACK_UINT)
    return (double)v.u;
  return v.kind == LLMD__MSGPACK_FLOAT ? v.f : NAN;
}

/* A batch is [time, ...] or a map with "ts". */
double llmd__apply_time(llmd_str payload)
{
  llmd__msgpack in;
  llmd__msgpack_value v;
  llmd__msgpack_init(&in, payload.ptr, payload.len);
  if (llmd__msgpack_next(&in, &v) != 0)
    return NAN;
  if (v.kind == LLMD__MSGPACK_ARRAY && v.n)
    return number(&in);
  for (uint32_t i = v.kind == LLMD__MSGPACK_MAP ? v.n : 0; i > 0; i--) {
    if (llmd__msgpack_next(&in, &v) != 0 || v.kind != LLMD__MSGPACK_STR)
      return NAN;
    if (v.text.len == 2 && memcmp(v.text.ptr, "ts", 2) == 0)
      return number(&in);
    if (llmd__msgpack_skip(&in) != 0)
      return NAN;
  }
  return NAN;
}

/* ---- stores ------------------------------------------------------------------------------------------------------ */

static void learn_block_size(batch *b, uint32_t size)
{
  llmd__source *s = b->s;
  if (s->block_tokens && s->block_tokens != size) {
    s->stats.mismatches++;
    if (!(s->warned & LLMD__WARNED_SIZE))
      llmd__events_say(b->e, LLMD_LOG_WARN, "endpoint %llx: its engine's blocks are of %u tokens, configured are %u",
                       (unsigned long long)b->endpoint, size, s->block_tokens);
    s->warned |= LLMD__WARNED_SIZE;
  }
  if (llmd__record_get32(&s->record->block_tokens) == size)
    return;
  llmd__record_set32(&s->record->block_tokens, size);
  llmd__source_describe(b->e, s);
}

/* An adapter that only its number is known of: no request has it, so that nothing is taken for the base model's. */
static llmd_str adapter_of(const llmd_event *v, char room[24])
{
  llmd_str lora = v->lora;
  int64_t id = v->lora_id;
  size_t at = 24;
  if (lora.len || id <= 0)
    return lora;
  for (; id; id /= 10)
    room[--at] = (char)('0' + id % 10);
  room[--at] = 0;
  lora.ptr = room + at;
  lora.len = 24 - at;
  return lora;
}

static int same(llmd_str a, llmd_str b)
{
  return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* The event's extras, and the salt that SGLang has beside them, in the first block of a prompt. */
static uint32_t extras_of(llmd_events *e, const llmd_event *v)
{
  int salt = v->salt.len && !v->has_parent, salted = !salt;
  uint32_t n = 0;
  for (uint32_t i = 0; i < v->n_extra && n < e->limits.extras; i++) {
    const llmd_event_extra *x = &v->extra[i];
    if (!salted && x->block > 0) {
      e->extra[n++] = (llmd_extra){0, 0, v->salt};
      salted = 1;
    }
    salted |= salt && x->block == 0 && same(x->text, v->salt);
    e->extra[n++] = (llmd_extra){x->block, 0, x->text};
  }
  if (!salted)
    e->extra[n++] = (llmd_extra){0, 0, v->salt};
  return n;
}

static int begin_chain(batch *b, const llmd_event *v, const llmd_block *parent, llmd_chain *chain)
{
  llmd_chain_root root = {sizeof root, v->block_size, b->s->model, {NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}};
  char room[24];
  if (parent) {
    chain->parent = parent->key;
    chain->block_tokens = v->block_size;
    chain->blocks = parent->depth + 1;
    return 0;
  }
  root.lora = adapter_of(v, room);
  if (v->lora.len)
    llmd_index_learn_adapter(b->e->index, v->lora.ptr, v->lora.len);
  return llmd_chain_begin(chain, b->e->secret, &root);
}

/* Stores blocks whose place is known: the last n of those that the tokens make, the others are only on the way. Returns
 * how many, or what is wrong. */
static int store_at(batch *b, const llmd_block *parent, llmd_chain *chain, uint32_t tier, const uint64_t *names,
                    uint32_t n, const uint32_t *token, size_t n_tokens, uint32_t n_extra)
{
  llmd_events *e = b->e;
  uint32_t before;
  int made = llmd_chain_extend(chain, e->secret, token, n_tokens, e->extra, n_extra, e->key, e->limits.names);
  if (made < 0)
    return made;
  before = (uint32_t)made > n ? (uint32_t)made - n : 0;
  made = llmd__index_store_tail(e->index, b->endpoint, tier, parent, e->key, before, names, (uint32_t)made - before,
                                NULL);
  if (made > 0)
    b->s->stats.blocks += (uint32_t)made;
  return made;
}

/* ---- parked events whose parent came ----------------------------------------------------------------------------- */

static int store_parked(batch *b, const llmd__parked_event *p)
{
  llmd_events *e = b->e;
  llmd_block parent;
  llmd_chain chain;
  uint32_t tiers;
  if (llmd_index_find(e->index, b->endpoint, p->parent, &parent) != 0)
    return LLMD_E_NONE;
  chain.parent = parent.key;
  chain.block_tokens = p->block_tokens;
  chain.blocks = parent.depth + 1;
  for (uint32_t i = 0; i < p->n_names; i++)
    llmd__parked_name(&e->parked, p, i, &e->name[i], &tiers);
  llmd__parked_extras(&e->parked, p, e->extra);
  return store_at(b, &parent, &chain, p->tier, e->name, p->n_names, p->token, p->n_tokens, p->n_extra);
}

/* What changed while it waited: blocks that came to other tiers, blocks that went. */
static void settle_parked(batch *b, const llmd__parked_event *p)
{
  llmd_events *e = b->e;
  for (uint32_t i = 0; i < p->n_names; i++) {
    uint64_t name;
    uint32_t tiers;
    llmd__parked_name(&e->parked, p, i, &name, &tiers);
    for (uint32_t t = 0; t < LLMD__X_TIERS; t++)
      if (t != p->tier && tiers >> t & 1u)
        llmd_index_hold(e->index, b->endpoint, t, &name, 1);
    if (!(tiers >> p->tier & 1u))
      llmd_index_drop(e->index, b->endpoint, p->tier, &name, 1);
  }
}

/* Blocks of it that are held stay so, whatever older events say of them. */
static void outlive_older(batch *b, const llmd__parked_event *p)
{
  llmd__parked *k = &b->e->parked;
  for (uint32_t i = 0; i < p->n_names; i++) {
    uint64_t name;
    uint32_t tiers;
    llmd__parked_name(k, p, i, &name, &tiers);
    if (tiers >> p->tier & 1u)
      llmd__parked_held(k, p->owner, p->rank, p->tier, &name, 1, p->order);
  }
}

/* These blocks are there now: so may be what waited for them, and what waited for that. Removals that came meanwhile
 * are done last, since a block's name goes with it, and a child finds its place by that name. */
static void stored(batch *b, uint32_t tier, const uint64_t *names, uint32_t n)
{
  llmd__parked *k = &b->e->parked;
  const uint32_t who = llmd__source_number(b->e, b->s);
  llmd__parked_event p;
  if (k->owner[who].events == 0)
    return;
  llmd__parked_held(k, who, b->rank, tier, names, n, UINT64_MAX);
  llmd__parked_wake(k, who, b->rank, names, n);
  while (llmd__parked_next(k, &p)) {
    const int made = store_parked(b, &p);
    if (made > 0) {
      llmd__parked_wake(k, who, b->rank, b->e->name, (uint32_t)made);
      outlive_older(b, &p);
      b->applied++;
      b->s->stats.events++;
    }
    llmd__parked_done(k, &p, made <= 0);
  }
  while (llmd__parked_take(k, &p)) {
    settle_parked(b, &p);
    llmd__parked_free(k, &p);
  }
}

/* A hash for each block; of a group with a sliding window only for the last ones, those that are still there. */
static int is_sound(const batch *b, const llmd_event *v)
{
  uint32_t blocks;
  if (!v->block_size || v->n_tokens % v->block_size)
    return 0;
  blocks = v->n_tokens / v->block_size;
  return blocks == v->n_names || (b->tier >= LLMD_TIER_WINDOW && blocks > v->n_names && blocks <= b->e->limits.names);
}

static void count_copies(batch *b, const llmd_event *v, uint32_t tier)
{
  const uint32_t who = llmd__source_who(b->e, b->s, b->rank);
  if (b->s->flags & LLMD_SOURCE_COUNTED)
    for (uint32_t i = 0; i < v->n_names; i++)
      llmd__block_copies_add(&b->e->copies, who, tier, v->has_group ? v->group + 1 : 0, v->name[i]);
}

static int store(batch *b, const llmd_event *v)
{
  const uint32_t tier = b->tier;
  llmd_block place;
  llmd_chain chain;
  uint32_t n_extra;
  int rc;
  if (!is_sound(b, v)) {
    b->s->stats.bad++;
    return 0;
  }
  count_copies(b, v, tier);
  if (tier < LLMD_TIER_WINDOW)
    learn_block_size(b, v->block_size);
  n_extra = extras_of(b->e, v);
  rc = v->has_parent ? llmd_index_find(b->e->index, b->endpoint, v->parent, &place) : 0;
  if (rc == LLMD_E_NONE)
    llmd__parked_add(&b->e->parked, llmd__source_number(b->e, b->s), b->rank, v, tier, b->e->extra, n_extra);
  if (rc)
    return rc == LLMD_E_NONE ? 0 : rc;
  if (!v->has_parent && tier < LLMD_TIER_WINDOW)
    llmd__apply_scheme(b->e, b->s, b->endpoint, v);
  rc = begin_chain(b, v, v->has_parent ? &place : NULL, &chain);
  if (rc == 0)
    rc = store_at(b, v->has_parent ? &place : NULL, &chain, tier, v->name, v->n_names, v->token, v->n_tokens, n_extra);
  if (rc > 0)
    stored(b, tier, v->name, (uint32_t)rc);
  return rc < 0 ? rc : 1;
}

/* ---- by name ----------------------------------------------------------------------------------------------------- */

static int hold(batch *b, const llmd_event *v)
{
  const uint32_t tier = b->tier;
  int rc;
  count_copies(b, v, tier);
  rc = llmd_index_hold(b->e->index, b->endpoint, tier, v->name, v->n_names);
  llmd__parked_held(&b->e->parked, llmd__source_number(b->e, b->s), b->rank, tier, v->name, v->n_names, UINT64_MAX);
  return rc < 0 ? rc : 1;
}

/* Those of the event's names that were the last copy. */
static uint32_t last_copies(batch *b, const llmd_event *v, uint32_t tier)
{
  const uint32_t who = llmd__source_who(b->e, b->s, b->rank);
  const uint32_t group = v->has_group ? v->group + 1 : 0;
  uint32_t n = 0;
  for (uint32_t i = 0; i < v->n_names; i++)
    if (llmd__block_copies_take(&b->e->copies, who, tier, group, v->name[i]))
      b->e->name[n++] = v->name[i];
  return n;
}

static int drop(batch *b, const llmd_event *v)
{
  const uint32_t tier = b->tier;
  const uint64_t *names = v->name;
  uint32_t n = v->n_names;
  int rc;
  if (b->s->flags & LLMD_SOURCE_COUNTED) {
    n = last_copies(b, v, tier);
    names = b->e->name;
  }
  rc = llmd_index_drop(b->e->index, b->endpoint, tier, names, n);
  llmd__parked_removed(&b->e->parked, llmd__source_number(b->e, b->s), b->rank, tier, names, n);
  return rc < 0 ? rc : 1;
}

static int clear(batch *b)
{
  const int rc = llmd_index_clear(b->e->index, b->endpoint);
  llmd__parked_forget_events(&b->e->parked, llmd__source_number(b->e, b->s), b->rank);
  llmd__block_copies_forget(&b->e->copies, llmd__source_who(b->e, b->s, b->rank));
  return rc < 0 ? rc : 1;
}

/* ---- one batch --------------------------------------------------------------------------------------------------- */

/* Which endpoint the batch speaks for: the rank chooses among those of the connection. */
static int choose_endpoint(batch *b)
{
  const int64_t rank = b->head->rank;
  const llmd__source *s = b->s;
  if (s->n_ranks == 0 || rank < 0)
    b->rank = s->n_ranks;
  else if (rank < s->n_ranks)
    b->rank = (uint32_t)rank;
  else
    return 0;
  b->endpoint = llmd__source_endpoint(s, b->rank);
  return b->endpoint != 0;
}

static int apply_event(batch *b, const llmd_event *v)
{
  llmd_source_stats *stats = &b->s->stats;
  if (v->kind == LLMD_EVENT_BAD || v->kind == LLMD_EVENT_UNKNOWN) {
    *(v->kind == LLMD_EVENT_BAD ? &stats->bad : &stats->unknown) += 1;
    return 0;
  }
  if (v->kind == LLMD_EVENT_CLEARED)
    return clear(b);
  if (!llmd__apply_group(b->e, b->s, v, &b->tier)) {
    stats->other_groups++;
    return 0;
  }
  if (v->n_names > b->e->limits.names || v->n_extra > b->e->limits.extras) {
    stats->bad++;
    return 0;
  }
  if (v->kind == LLMD_EVENT_REMOVED)
    return drop(b, v);
  return v->n_tokens ? store(b, v) : hold(b, v);
}

static int on_event(void *ud, const llmd_batch_head *head, const llmd_event *event)
{
  batch *b = ud;
  int rc;
  b->head = head;
  if (b->wrong_rank || !choose_endpoint(b)) {
    b->wrong_rank = 1;
    return 0;
  }
  rc = apply_event(b, event);
  if (rc < 0) {
    b->failed = rc;
    return 0;
  }
  b->applied += rc;
  b->s->stats.events += (uint32_t)rc;
  return 0;
}

int llmd__apply_batch(llmd_events *e, llmd__source *s, llmd_str payload, int *failed)
{
  batch b = {.e = e, .s = s};
  int rc = llmd_events_decode(payload.ptr, payload.len, &e->limits, e->buffer, on_event, &b, NULL);
  *failed = b.failed;
  if (rc < 0)
    return rc;
  s->stats.batches++;
  s->stats.wrong_rank += (uint32_t)b.wrong_rank;
  return b.applied;
}
