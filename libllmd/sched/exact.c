/* What producers may ask of the pool's exact index (prefix.h), and tell it.
 *
 *   real token ids ──► a chain of keys per block size that the pool's engines have ──► index ──► blocks per candidate
 *                                                                                         ▲
 *   commit ──► "it goes there" ──► ring, or at once ──────────────────────────────────────┘ until a while from now
 *
 * The extras of a block are those that its engine hashes: what stands at placeholders in it, then, in a prompt's first
 * block, the cache salt. An adapter's requests have a root of their own. Pseudo tokens never get here. */
#include <stdio.h>
#include <string.h>

#include "model/strings.h"
#include "sched/decision.h"

#define LOOK_NS 10000000u /* what is known of the rows is looked at again after this long */
#define BLOCK_EXTRAS 16u  /* of one block; a chain ends before a block with more */

void llmd__exact_begin(llmd_lane *l)
{
  l->n_prompts = l->tokens_kind = l->cached = l->n_features = 0;
  l->exact.n_chains = l->exact.used = 0;
}

/* ---- what is known of the rows ---------------------------------------------------------------------------------- */

static void note_size(llmd__exact *x, uint32_t *block)
{
  uint32_t i = 0;
  while (i < x->n_sizes && x->size[i] != *block)
    i++;
  if (i == LLMD__EXACT_SIZES - 1) {
    *block = 0; /* one size too many: this row is not matched */
    return;
  }
  if (i == x->n_sizes)
    x->size[x->n_sizes++] = *block;
}

static void look(llmd_lane *l)
{
  llmd__exact *x = &l->exact;
  if (x->shape == l->snap.shape + 1 && l->now->mono - x->looked < LOOK_NS)
    return;
  x->shape = l->snap.shape + 1;
  x->looked = l->now->mono;
  x->fed = x->n_sizes = 0;
  for (uint32_t i = 0; i < l->snap.n; i++) {
    llmd_index_row r = {.size = sizeof r};
    int known = !llmd_index_row_of(l->s->index, l->all_id[i], &r);
    x->block[i] = known ? r.block_tokens : 0;
    x->degraded[i] = known && (r.flags & LLMD_INDEX_DEGRADED);
    x->fed += known && (r.flags & LLMD_INDEX_FED);
    if (x->block[i])
      note_size(x, &x->block[i]);
  }
}

/* ---- chains ----------------------------------------------------------------------------------------------------- */

/* The extras of one prompt, block by block. */
typedef struct extras {
  const llmd_feature *feature; /* in order, none overlapping */
  size_t n, at;                /* at: the first that ends in or behind the block looked at last */
  llmd_str salt;
  uint32_t block;
} extras;

static void extras_of(const llmd_lane *l, uint32_t prompt, uint32_t block, extras *e)
{
  memset(e, 0, sizeof *e);
  e->feature = llmd__tokens_features(l, &e->n);
  if (prompt)
    e->n = 0;
  e->salt = l->info.cache_salt;
  e->block = block;
}

/* The first block from b on that has any; `whole` = none before that. */
static uint32_t next_marked(extras *e, uint32_t b, uint32_t whole)
{
  uint64_t begin = (uint64_t)b * e->block, first;
  if (!b && e->salt.len)
    return 0;
  while (e->at < e->n &&
         (!e->feature[e->at].length || e->feature[e->at].offset + e->feature[e->at].length <= begin))
    e->at++;
  if (e->at == e->n)
    return whole;
  first = e->feature[e->at].offset / e->block;
  first = first > b ? first : b;
  return first < whole ? (uint32_t)first : whole;
}

/* Those of block b, in the engine's order. 0 when there are too many. */
static uint32_t extras_at(const extras *e, uint32_t b, llmd_extra *out)
{
  uint64_t end = ((uint64_t)b + 1) * e->block;
  uint32_t n = 0;
  memset(out, 0, BLOCK_EXTRAS * sizeof *out);
  for (size_t i = e->at; i < e->n && e->feature[i].offset < end; i++) {
    if (!e->feature[i].length)
      continue;
    if (n == BLOCK_EXTRAS)
      return 0;
    out[n++].text = e->feature[i].hash;
  }
  if (!b && e->salt.len) {
    if (n == BLOCK_EXTRAS)
      return 0;
    out[n++].text = e->salt;
  }
  return n;
}

/* Blocks without extras go in one piece, each block with some alone. */
static int hash_prompt(const llmd_lane *l, llmd_chain chain, uint32_t prompt, llmd_key *out, uint32_t room)
{
  const uint8_t *secret = llmd_index_secret(l->s->index);
  uint32_t first = prompt ? l->prompt_end[prompt - 1] : 0, block = chain.block_tokens;
  uint32_t whole = (l->prompt_end[prompt] - first) / block, b = 0;
  const uint32_t *tokens = l->tokens + first;
  extras e;
  extras_of(l, prompt, block, &e);
  whole = whole < room ? whole : room;
  while (b < whole) {
    uint32_t to = next_marked(&e, b, whole), n = 0;
    llmd_extra marks[BLOCK_EXTRAS];
    int rc;
    if (to == b) {
      n = extras_at(&e, b, marks);
      if (!n)
        return (int)b;
      to = b + 1;
    }
    rc = llmd_chain_extend(&chain, secret, tokens + (size_t)b * block, (size_t)(to - b) * block, n ? marks : NULL, n,
                           out + b, to - b);
    if (rc < 0)
      return rc;
    b = to;
  }
  return (int)whole;
}

/* An adapter is known by its name: as the model, or, in SGLang's bodies, beside it. */
static void root_of(const llmd_lane *l, uint32_t block, llmd_chain_root *root)
{
  memset(root, 0, sizeof *root);
  root->size = sizeof *root;
  root->block_tokens = block;
  if (l->info.lora.len)
    root->lora = l->info.lora;
  else if (l->view.model.len && llmd_index_is_adapter(l->s->index, l->view.model.ptr, l->view.model.len) > 0)
    root->lora = l->view.model;
}

/* The current request's chain in blocks of that size, made at first need. Its number, or a code. */
static int chain_of(llmd_lane *l, uint32_t block)
{
  llmd__exact *x = &l->exact;
  llmd__exact_chain *k = &x->chain[x->n_chains];
  llmd_chain_root root;
  llmd_chain start;
  int rc;
  for (uint32_t i = 0; i < x->n_chains; i++)
    if (x->chain[i].block == block)
      return (int)i;
  if (x->n_chains == LLMD__EXACT_SIZES)
    return LLMD_E_LIMIT;
  root_of(l, block, &root);
  rc = llmd_chain_begin(&start, llmd_index_secret(l->s->index), &root);
  k->block = block;
  k->first = x->used;
  k->n = 0;
  for (uint32_t p = 0; p < l->n_prompts && rc >= 0; p++) {
    rc = hash_prompt(l, start, p, x->keys + k->first + k->n, x->room - k->first - k->n);
    k->n += rc > 0 ? (uint32_t)rc : 0;
    k->end[p] = k->n;
  }
  if (rc < 0)
    return rc;
  x->used += k->n;
  return (int)x->n_chains++;
}

/* ---- asking ----------------------------------------------------------------------------------------------------- */

/* One call of precise_match. */
typedef struct asking {
  llmd_lane *l;
  const llmd__candidates *cand;
  const llmd_precise *out;
} asking;

static uint32_t size_at(const asking *a, uint32_t i)
{
  uint32_t block = a->l->exact.block[a->cand->row[i]];
  return block ? block : a->out->block_tokens;
}

static double whole_blocks(const llmd_lane *l, uint32_t block)
{
  uint64_t n = 0;
  for (uint32_t p = 0; p < l->n_prompts; p++)
    n += (l->prompt_end[p] - (p ? l->prompt_end[p - 1] : 0)) / block;
  return (double)n;
}

/* The configuration gives a block size, and engines have others, which count: said once, counted by the metrics. */
static void tell_size(const asking *a, uint32_t row, uint32_t block)
{
  llmd_scheduler *s = a->l->s;
  llmd_str name = llmd__string_text(s->pool->g, a->l->snap.view.row[row].name);
  char line[320];
  int n;
  if (atomic_exchange(&s->told, 1) || !s->options.log)
    return;
  n = snprintf(line, sizeof line, "blockSizeTokens is %u, but the blocks of %.*s are of %u tokens, which counts",
               a->out->block_tokens, (int)name.len, name.ptr ? name.ptr : "", block);
  if (n > 0)
    s->options.log(s->options.log_ud, LLMD_LOG_WARN, "config", line,
                   (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

static void compare_sizes(const asking *a)
{
  const uint32_t *block = a->l->exact.block, configured = a->out->block_tokens;
  llmd_scheduler *s = a->l->s;
  if (!(a->out->flags & LLMD_PRECISE_CONFIGURED))
    return;
  if (atomic_load_explicit(&s->block_tokens, memory_order_relaxed) != configured)
    atomic_store_explicit(&s->block_tokens, configured, memory_order_relaxed);
  for (uint32_t i = 0; i < a->cand->n && !atomic_load_explicit(&s->told, memory_order_relaxed); i++)
    if (block[a->cand->row[i]] && block[a->cand->row[i]] != configured)
      tell_size(a, a->cand->row[i], block[a->cand->row[i]]);
}

/* Nothing held by anybody, so far. */
static void start(const asking *a)
{
  const llmd_precise *o = a->out;
  llmd__exact *x = &a->l->exact;
  uint32_t last = 0;
  double total = 0;
  for (uint32_t i = 0; i < a->cand->n; i++) {
    uint32_t row = a->cand->row[i], block = size_at(a, i);
    if (block != last)
      total = whole_blocks(a->l, block);
    last = block;
    o->blocks[i] = 0;
    o->total[i] = total;
    o->tokens[i] = block;
    o->lower[0][i] = o->lower[1][i] = o->lower[2][i] = 0;
    o->degraded[i] = x->degraded[row];
    x->place[row] = i;
  }
}

/* Candidate that the endpoint is, with blocks of that size; LLMD__NONE = none. */
static uint32_t candidate_of(const asking *a, llmd_endpoint_id id, uint32_t block)
{
  uint32_t row = llmd__lane_row(a->l, id), at;
  if (row == LLMD__NONE)
    return LLMD__NONE;
  at = a->l->exact.place[row];
  return at < a->cand->n && a->cand->row[at] == row && size_at(a, at) == block ? at : LLMD__NONE;
}

/* Blocks that everybody can read from a shared store. */
static void add_shared(const asking *a, uint32_t block, uint32_t shared)
{
  for (uint32_t i = 0; i < a->cand->n && shared; i++) {
    if (size_at(a, i) != block)
      continue;
    a->out->blocks[i] += shared;
    a->out->lower[2][i] += shared;
  }
}

/* What the endpoint has itself, over what the shared store gave it already. */
static void add_hit(const asking *a, uint32_t block, const llmd_hit *h, uint32_t shared)
{
  uint32_t i = candidate_of(a, h->endpoint, block);
  if (i == LLMD__NONE)
    return;
  a->out->blocks[i] += (double)h->blocks - shared;
  a->out->lower[0][i] += h->lower[0];
  a->out->lower[1][i] += h->lower[1];
  a->out->lower[2][i] += (double)h->lower[2] - shared;
}

static int match_size(const asking *a, uint32_t block)
{
  llmd_lane *l = a->l;
  llmd__exact *x = &l->exact;
  int chain = chain_of(l, block);
  uint32_t first = 0;
  if (chain < 0)
    return chain;
  for (uint32_t p = 0; p < l->n_prompts; p++) {
    const llmd__exact_chain *k = &x->chain[chain];
    uint32_t shared = 0;
    int n = llmd_index_query(l->s->index, x->scratch, x->keys + k->first + first, k->end[p] - first, x->hit, l->cap,
                             &shared);
    if (n < 0)
      return n;
    add_shared(a, block, shared);
    for (int i = 0; i < n; i++)
      add_hit(a, block, &x->hit[i], shared);
    first = k->end[p];
  }
  return 0;
}

/* The lane's own promises that the writer has not applied yet. */
static void add_pending(void *ud, uint32_t op, const void *head, const llmd_key *tail)
{
  const asking *a = ud;
  const llmd__exact *x = &a->l->exact;
  llmd__post_expect h;
  if (op != LLMD__POST_EXPECT)
    return;
  memcpy(&h, head, sizeof h);
  for (uint32_t c = 0; c < x->n_chains && h.until > a->l->now->mono; c++) {
    const llmd__exact_chain *k = &x->chain[c];
    uint32_t i = candidate_of(a, h.endpoint, k->block), same = 0;
    while (same < k->n && same < h.n && !memcmp(&tail[same], &x->keys[k->first + same], sizeof *tail))
      same++;
    if (i != LLMD__NONE && a->out->blocks[i] < same)
      a->out->blocks[i] = same;
  }
}

static int match_all(const asking *a)
{
  const llmd__exact *x = &a->l->exact;
  int rc = 0, unknown = 0;
  for (uint32_t i = 0; i < x->n_sizes && !rc; i++)
    rc = match_size(a, x->size[i]);
  for (uint32_t i = 0; i < a->cand->n && (a->out->flags & LLMD_PRECISE_EXPECTED); i++)
    unknown |= !x->block[a->cand->row[i]];
  for (uint32_t i = 0; i < x->n_sizes; i++)
    unknown &= x->size[i] != a->out->block_tokens;
  if (!rc && unknown)
    rc = match_size(a, a->out->block_tokens);
  if (!rc && a->l->n_prompts == 1 && !(a->l->flags & LLMD_LANE_WRITER))
    llmd__post_pending(a->l, 0, add_pending, (void *)(uintptr_t)a);
  return rc;
}

static void count_lookup(const asking *a)
{
  double most = 0;
  for (uint32_t i = 0; i < a->cand->n; i++)
    most = a->out->blocks[i] > most ? a->out->blocks[i] : most;
  llmd__count(a->l, LLMD__COUNT_LOOKUPS, 1);
  llmd__count(a->l, LLMD__COUNT_LOOKUP_HITS, (uint64_t)most);
}

/* Tokens of the current request that an engine would see. 0, LLMD_E_NONE, or what went wrong. */
static int real_tokens(llmd_lane *l)
{
  int rc;
  if (!l->exact.keys || !l->req)
    return LLMD_E_STATE;
  rc = llmd__lane_tokens(l);
  return rc ? rc : l->tokens_kind == LLMD__TOKENS_REAL ? 0 : LLMD_E_NONE;
}

int llmd__exact_match(void *ctx, const llmd_precise *out)
{
  llmd__service_ctx *c = ctx;
  llmd_lane *l = c->lane;
  asking a = {l, c->cand, out};
  int rc;
  if (!out || out->size < sizeof *out || !out->block_tokens)
    return LLMD_E_INVALID;
  if (!l->deciding)
    return LLMD_E_STATE;
  rc = real_tokens(l);
  if (!rc)
    look(l);
  if (!rc && !l->exact.fed && !(out->flags & LLMD_PRECISE_ALWAYS))
    rc = LLMD_E_NONE;
  if (!rc) {
    start(&a);
    compare_sizes(&a);
    rc = match_all(&a);
  }
  if (!rc)
    count_lookup(&a);
  else if (l->tokens_kind)
    l->ladder |= LLMD_LADDER_NO_INDEX;
  return rc;
}

/* ---- promising -------------------------------------------------------------------------------------------------- */

/* A frame takes at most a quarter of the ring: the first blocks of a long chain are worth telling, too. */
static int promise(llmd_lane *l, llmd_endpoint_id endpoint, const llmd_key *keys, uint32_t n, uint64_t until)
{
  uint32_t most = l->pool->g->caps.ring_bytes / 4 / sizeof *keys;
  llmd__post_expect head = {endpoint, until, n};
  if (!(l->flags & LLMD_LANE_WRITER))
    head.n = n < most ? n : most;
  if (!head.n)
    return 0;
  return llmd__post(l, LLMD__POST_EXPECT, 0, &head, sizeof head, keys, (size_t)head.n * sizeof *keys);
}

/* An attachment without a name would make two different prompts one. */
static int nameless(const llmd_lane *l)
{
  size_t n;
  llmd__tokens_features(l, &n);
  return (l->view.flags & LLMD_VIEW_MULTIMODAL) && !n;
}

int llmd__exact_expect(void *ctx, llmd_endpoint_id endpoint, uint32_t block_tokens, uint64_t ttl_ns)
{
  llmd__service_ctx *c = ctx;
  llmd_lane *l = c->lane;
  uint32_t row, first = 0;
  int rc = real_tokens(l), chain;
  if (rc)
    return rc;
  if (nameless(l))
    return LLMD_E_NONE;
  look(l);
  row = llmd__lane_row(l, endpoint);
  if (row != LLMD__NONE && l->exact.block[row])
    block_tokens = l->exact.block[row];
  chain = block_tokens ? chain_of(l, block_tokens) : LLMD_E_INVALID;
  if (chain < 0)
    return chain;
  for (uint32_t p = 0; p < l->n_prompts && !rc; p++) {
    const llmd__exact_chain *k = &l->exact.chain[chain];
    rc = promise(l, endpoint, l->exact.keys + k->first + first, k->end[p] - first, l->now->mono + ttl_ns);
    first = k->end[p];
  }
  return rc;
}
