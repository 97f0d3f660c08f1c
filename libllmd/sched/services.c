/* What producers may call: chain, prefix index, ledger, table. */
#include <string.h>

#include "model/ledger.h"
#include "model/table.h"
#include "prefix/block.h"
#include "sched/state.h"

static llmd__binding *binding(const llmd__service_ctx *c)
{
  return &c->lane->s->binding[c->instance];
}

/* ---- chain
 * -------------------------------------------------------------------------------------------------------------------
 */

int llmd__lane_tokens(llmd_lane *l)
{
  int cut = 0, rc;
  if (l->tokens_kind || llmd__tokens_cached(l))
    return 0;
  rc = llmd__request_tokens(l->req, l->tokens, l->s->options.max_tokens, l->prompt_end, LLMD__PROMPTS, &l->n_prompts,
                            &cut);
  if (rc < 0)
    return rc;
  l->tokens_kind = (uint32_t)rc;
  if (rc == LLMD__TOKENS_REAL)
    l->view.flags |= LLMD_VIEW_REAL_TOKENS;
  return 0;
}

static void make_root(const llmd_lane *l, uint32_t block_tokens, llmd_chain_root *root)
{
  memset(root, 0, sizeof *root);
  root->size = sizeof *root;
  root->block_tokens = block_tokens;
  root->model = l->view.model;
  root->lora = l->info.lora;
  root->salt = l->info.cache_salt;
}

/* Keys that are taken in the request's room. */
static uint32_t keys_used(const llmd_lane *l)
{
  uint32_t used = 0;
  for (uint32_t i = 0; i < l->n_chains; i++)
    used += l->chain[i].n;
  return used;
}

/* Keys of one prompt; with LLMD_PREFIX_PARTIAL what is left behind its whole blocks makes a last one. */
static int hash_prompt(const llmd_lane *l, llmd_chain chain, uint32_t flags, const uint32_t *tokens, uint32_t n,
                       llmd_key *out, uint32_t cap)
{
  const uint8_t *secret = l->pool->g->secret;
  const uint32_t rest = n % chain.block_tokens;
  const int whole = llmd_chain_extend(&chain, secret, tokens, n, NULL, 0, out, cap);
  if (whole < 0 || !(flags & LLMD_PREFIX_PARTIAL) || rest == 0 || (uint32_t)whole == cap)
    return whole;
  chain.block_tokens = rest;
  return whole + llmd_chain_extend(&chain, secret, tokens + (n - rest), rest, NULL, 0, out + whole, 1);
}

static int hash_prompts(llmd_lane *l, llmd__chain_kept *k)
{
  uint32_t first = 0, cap = 0;
  llmd_chain_root root;
  llmd_chain start;
  int rc;
  l->keys = llmd__request_keys(l->req, &cap);
  k->first = keys_used(l);
  make_root(l, k->block, &root);
  rc = llmd_chain_begin(&start, l->pool->g->secret, &root);
  if (rc)
    return rc;
  for (uint32_t p = 0; p < l->n_prompts; p++) {
    uint32_t room = cap - k->first - k->n, most = k->max_blocks && k->max_blocks < room ? k->max_blocks : room;
    rc = hash_prompt(l, start, k->flags, l->tokens + first, l->prompt_end[p] - first, l->keys + k->first + k->n, most);
    if (rc < 0)
      return rc;
    k->n += (uint32_t)rc;
    k->end[p] = k->n;
    first = l->prompt_end[p];
  }
  return 0;
}

/* The lane's chain of that kind, made when it is new. Its number, or a code. */
static int find_chain(llmd_lane *l, uint32_t block, uint32_t max_blocks, uint32_t flags)
{
  llmd__chain_kept *k;
  int rc;
  for (uint32_t i = 0; i < l->n_chains; i++)
    if (l->chain[i].block == block && l->chain[i].max_blocks == max_blocks && l->chain[i].flags == flags)
      return (int)i;
  if (l->n_chains == LLMD__CHAINS)
    return LLMD_E_LIMIT;
  rc = llmd__lane_tokens(l);
  if (rc)
    return rc;
  k = &l->chain[l->n_chains];
  memset(k, 0, offsetof(llmd__chain_kept, end));
  k->block = block;
  k->max_blocks = max_blocks;
  k->flags = flags;
  rc = hash_prompts(l, k);
  return rc ? rc : (int)l->n_chains++;
}

/* Which chain the instance asked for when the request was decided; NULL = none. */
static llmd__request_chain *chain_of(const llmd_lane *l, uint32_t instance)
{
  llmd__request_sched *st = l->req ? llmd__request_sched_state(l->req) : NULL;
  for (uint32_t i = 0; st && i < st->n_chains; i++)
    if (st->chain[i].instance == instance)
      return &st->chain[i];
  return NULL;
}

/* The request remembers it until commit. */
static int keep_chain(llmd_lane *l, uint32_t instance, uint32_t chain)
{
  llmd__request_sched *st = llmd__request_sched_state(l->req);
  llmd__request_chain *c = chain_of(l, instance);
  if (!c && st->n_chains == LLMD__REQUEST_CHAINS)
    return LLMD_E_LIMIT;
  if (!c)
    c = &st->chain[st->n_chains++];
  c->instance = instance;
  c->chain = chain;
  c->first = l->chain[chain].first;
  c->n = l->chain[chain].n;
  return 0;
}

uint32_t llmd__chain_keys(const llmd_lane *l, uint32_t instance)
{
  const llmd__request_chain *c = chain_of(l, instance);
  return c ? c->n : 0;
}

static int sv_chain(void *ctx, uint32_t block_tokens, uint32_t max_blocks, uint32_t flags, uint32_t *total)
{
  llmd__service_ctx *c = ctx;
  llmd_lane *l = c->lane;
  int chain, rc;
  if (!l->tokens || !block_tokens || !l->req || !l->deciding)
    return LLMD_E_STATE;
  chain = find_chain(l, block_tokens, max_blocks, flags);
  if (chain < 0)
    return chain;
  rc = keep_chain(l, c->instance, (uint32_t)chain);
  if (rc)
    return rc;
  if (!l->chain[chain].n)
    return LLMD_E_NONE;
  *total = l->chain[chain].n;
  return 0;
}

/* ---- prefix index ----------------------------------------------------------------------------------------------- */

/* Adds one prompt's sparse answer to the dense column. */
static void add_matches(llmd_lane *l, const llmd__service_ctx *c, uint32_t n, double *blocks)
{
  for (uint32_t k = 0; k < n; k++) {
    uint32_t slot = llmd__slot_of(l->match_id[k]), row;
    if (slot >= l->cap)
      continue;
    row = l->snap.view.row_of[slot];
    if (row >= l->snap.n || l->all_id[row] != l->match_id[k])
      continue;
    if (c->cand->identity) {
      blocks[row] += l->match_blocks[k];
      continue;
    }
    for (uint32_t i = 0; i < c->cand->n; i++)
      if (c->cand->row[i] == row)
        blocks[i] += l->match_blocks[k];
  }
}

/* What the lane has posted and the writer has not applied yet, on top of the index's answer. */
typedef struct pending {
  const llmd__service_ctx *c;
  const llmd_key *keys; /* of the one prompt */
  uint32_t n;
  double *blocks;
} pending;

static void add_pending(void *ud, uint32_t op, const void *head, const llmd_key *tail)
{
  const pending *p = ud;
  llmd__post_store h;
  uint32_t same = 0;
  memcpy(&h, head, sizeof h);
  while (op == LLMD__POST_STORE && same < p->n && same < h.n && !memcmp(&tail[same], &p->keys[same], sizeof *tail))
    same++;
  if (op == LLMD__POST_STORE && !same) /* most posts are of other prompts */
    return;
  for (uint32_t i = 0; i < p->c->cand->n; i++)
    if (p->c->cand->id[i] == h.endpoint && (op == LLMD__POST_FORGET || p->blocks[i] < same))
      p->blocks[i] = same;
}

static int sv_match(void *ctx, uint32_t flags, double *blocks)
{
  llmd__service_ctx *c = ctx;
  llmd_lane *l = c->lane;
  llmd__index ix;
  const llmd__request_chain *mine = chain_of(l, c->instance);
  const llmd__chain_kept *k;
  uint32_t first = 0;
  int rc = llmd__state_prefix(l->s, c->instance, &ix);
  for (uint32_t i = 0; i < c->cand->n; i++)
    blocks[i] = 0;
  if (rc) {
    l->ladder |= LLMD_LADDER_NO_INDEX;
    return rc;
  }
  if (!mine || !l->deciding)
    return LLMD_E_STATE;
  k = &l->chain[mine->chain];
  for (uint32_t p = 0; p < l->n_prompts; p++) {
    uint32_t n = llmd__index_match(&ix, l->match_scratch, l->keys + k->first + first, k->end[p] - first, flags,
                                   l->match_id, l->match_blocks, l->cap);
    add_matches(l, c, n, blocks);
    first = k->end[p];
  }
  if (l->n_prompts == 1 && !(l->flags & LLMD_LANE_WRITER)) {
    pending own = {c, l->keys + k->first, first, blocks};
    llmd__post_pending(l, binding(c)->prefix_off, add_pending, &own);
  }
  return 0;
}

static int sv_store(void *ctx, llmd_endpoint_id endpoint, uint32_t capacity)
{
  llmd__service_ctx *c = ctx;
  llmd_lane *l = c->lane;
  const llmd__request_chain *mine = chain_of(l, c->instance);
  uint32_t room;
  const llmd_key *keys = l->req ? llmd__request_keys(l->req, &room) : NULL;
  llmd__post_store head = {endpoint, capacity, mine ? mine->n : 0, binding(c)->prefix_bytes};
  if (!binding(c)->prefix_off || !mine || !mine->n)
    return LLMD_E_NONE;
  return llmd__post(l, LLMD__POST_STORE, binding(c)->prefix_off, &head, sizeof head, keys + mine->first,
                    mine->n * sizeof *keys);
}

static int sv_prefix_forget(void *ctx, llmd_endpoint_id endpoint)
{
  llmd__service_ctx *c = ctx;
  llmd__post_store head = {endpoint, 0, 0, binding(c)->prefix_bytes};
  if (!binding(c)->prefix_off)
    return LLMD_E_NONE;
  return llmd__post(c->lane, LLMD__POST_FORGET, binding(c)->prefix_off, &head, sizeof head, NULL, 0);
}

/* ---- ledger
 * -------------------------------------------------------------------------------------------------------------------
 */

static int sv_inflight(void *ctx, double *requests, double *tokens)
{
  llmd__service_ctx *c = ctx;
  const llmd__total *total = llmd__region_totals(c->lane->pool->g);
  for (uint32_t i = 0; i < c->cand->n; i++) {
    const llmd__total *t = &total[llmd__slot_of(c->cand->id[i])];
    int64_t r = atomic_load_explicit(&t->requests, memory_order_relaxed);
    int64_t k = atomic_load_explicit(&t->tokens, memory_order_relaxed);
    requests[i] = r > 0 ? (double)r : 0;
    tokens[i] = k > 0 ? (double)k : 0;
  }
  return 0;
}

static int sv_release_tokens(void *ctx)
{
  llmd__service_ctx *c = ctx;
  return c->ticket ? llmd__ledger_release_tokens(c->lane->pool->g, c->ticket) : LLMD_E_STATE;
}

/* ---- table
 * ----------------------------------------------------------------------------------------------------------------------
 */

/* The last own post about a key decides over what the table says. */
typedef struct pending_key {
  llmd_key key;
  uint64_t value;
  int found; /* 0 not posted, 1 put, 2 deleted */
} pending_key;

static void look_pending(void *ud, uint32_t op, const void *head, const llmd_key *tail)
{
  pending_key *p = ud;
  llmd__post_put h;
  (void)tail;
  memcpy(&h, head, sizeof h);
  if (h.key.lo != p->key.lo || h.key.hi != p->key.hi)
    return;
  p->found = op == LLMD__POST_PUT ? 1 : 2;
  p->value = h.value;
}

static int sv_get(void *ctx, const llmd_key *key, uint64_t *value)
{
  llmd__service_ctx *c = ctx;
  pending_key own = {*key, 0, 0};
  if (!binding(c)->table_off)
    return LLMD_E_NONE;
  if (!(c->lane->flags & LLMD_LANE_WRITER))
    llmd__post_pending(c->lane, binding(c)->table_off, look_pending, &own);
  if (own.found == 1)
    *value = own.value;
  if (own.found)
    return own.found == 1;
  return llmd__table_get(llmd__at(c->lane->pool->g, binding(c)->table_off), key->lo, key->hi, c->lane->now->mono,
                         value);
}

static int sv_put(void *ctx, const llmd_key *key, uint64_t value, uint64_t ttl_ns)
{
  llmd__service_ctx *c = ctx;
  llmd__post_put head = {*key, value, ttl_ns};
  if (!binding(c)->table_off)
    return LLMD_E_NONE;
  return llmd__post(c->lane, LLMD__POST_PUT, binding(c)->table_off, &head, sizeof head, NULL, 0);
}

static int sv_del(void *ctx, const llmd_key *key)
{
  llmd__service_ctx *c = ctx;
  llmd__post_put head = {*key, 0, 0};
  if (!binding(c)->table_off)
    return LLMD_E_NONE;
  return llmd__post(c->lane, LLMD__POST_DEL, binding(c)->table_off, &head, sizeof head, NULL, 0);
}

static void sv_hash(void *ctx, const char *ptr, size_t len, llmd_key *out)
{
  llmd__service_ctx *c = ctx;
  llmd__hash_bytes(c->lane->pool->g->secret, ptr, len, out);
}

void llmd__services_init(llmd_services *sv, llmd__service_ctx *ctx)
{
  memset(sv, 0, sizeof *sv);
  sv->size = sizeof *sv;
  sv->ctx = ctx;
  sv->chain = sv_chain;
  sv->prefix_match = sv_match;
  sv->prefix_store = sv_store;
  sv->prefix_forget = sv_prefix_forget;
  sv->inflight = sv_inflight;
  sv->release_tokens = sv_release_tokens;
  sv->get = sv_get;
  sv->put = sv_put;
  sv->del = sv_del;
  sv->hash = sv_hash;
  sv->precise_match = llmd__exact_match;
  sv->precise_expect = llmd__exact_expect;
}
