#include "sim_engine.h"

#include <stdlib.h>
#include <string.h>

#include "sim_cache.h"
#include "sim_publisher.h"
#include "sim_rng.h"
#include "sim_tier.h"

#define NO_ROW UINT32_MAX

struct row {
  const struct sim_request *request;
  uint32_t *blocks;
  uint32_t n_blocks;
  uint32_t max_blocks; /* for the whole answer */
  uint32_t n_named;
  uint32_t n_offered; /* to the tier in CPU memory */
  uint32_t total;     /* tokens known: prompt and answer so far */
  uint32_t computed;  /* of them, with keys and values in the cache */
  uint32_t chunk;     /* being computed by the step under way */
  uint32_t generated;
  uint32_t cached; /* prompt tokens found at first admission */
  uint32_t admitted; /* at least once */
  uint32_t decoding; /* counted as a reader of its blocks */
  uint32_t tag;
  uint32_t next; /* waiting queue or list of unused rows */
  double last_token;
};

/* What decoding rows read in a step is kept up to date, not added up: over the rows, sum of block tokens *
 * (beta + (1 - beta) / readers) is beta * (their contexts) + (1 - beta) * (distinct tokens among them). */
struct sim_engine {
  const struct sim_model *model;
  uint32_t block_size;
  struct sim_cache cache;
  struct sim_cache cpu; /* without blocks: there is no such tier. All of its blocks are always on its list */
  struct sim_publisher *publisher; /* or NULL */
  int tells_all; /* of every token */

  struct row *row; /* pool; the arrays below hold numbers into it and have the same capacity */
  uint32_t n_rows;
  uint32_t unused;
  uint32_t *running; /* in order of admission */
  uint32_t n_running;
  uint32_t front; /* waiting queue */
  uint32_t back;
  uint32_t n_waiting;

  uint32_t n_decoding;
  uint64_t context_tokens;  /* over decoding rows */
  uint64_t distinct_tokens; /* the same, each block once */

  double duration; /* of the step under way */
  struct sim_token *token; /* 2 per row */
  struct sim_counters counters;
};

/* ---- life ---- */

int sim_engine_create(struct sim_engine **out, const struct sim_model *model, uint32_t block_size)
{
  struct sim_engine *e;
  int code;
  if (block_size == 0 || sim_model_check(model, NULL))
    return LLMD_E_INVALID;
  e = calloc(1, sizeof *e);
  if (!e)
    return LLMD_E_NOMEM;
  code = sim_cache_init(&e->cache, model->kv_tokens / block_size);
  if (code == 0 && model->cpu_tokens / block_size)
    code = sim_cache_init(&e->cpu, model->cpu_tokens / block_size);
  if (code) {
    sim_cache_free(&e->cache);
    free(e);
    return code;
  }
  e->model = model;
  e->block_size = block_size;
  e->unused = e->front = e->back = NO_ROW;
  *out = e;
  return 0;
}

void sim_engine_destroy(struct sim_engine *e)
{
  if (!e)
    return;
  for (uint32_t i = 0; i < e->n_rows; i++)
    free(e->row[i].blocks);
  sim_cache_free(&e->cache);
  sim_cache_free(&e->cpu);
  free(e->row);
  free(e->running);
  free(e->token);
  free(e);
}

void sim_engine_publish(struct sim_engine *e, struct sim_publisher *publisher)
{
  e->publisher = publisher;
}

void sim_engine_tell_all(struct sim_engine *e)
{
  e->tells_all = 1;
}

/* Doubles the pool. The arrays grow one by one; n_rows only when all have. */
static int add_rows(struct sim_engine *e)
{
  uint32_t n = e->n_rows ? e->n_rows * 2 : 64;
  struct row *row = realloc(e->row, n * sizeof *row);
  uint32_t *running;
  struct sim_token *token;
  if (!row)
    return LLMD_E_NOMEM;
  e->row = row;
  running = realloc(e->running, n * sizeof *running);
  if (!running)
    return LLMD_E_NOMEM;
  e->running = running;
  token = realloc(e->token, 2 * (size_t)n * sizeof *token);
  if (!token)
    return LLMD_E_NOMEM;
  e->token = token;
  memset(row + e->n_rows, 0, (n - e->n_rows) * sizeof *row);
  for (uint32_t i = n; i-- > e->n_rows;) {
    row[i].next = e->unused;
    e->unused = i;
  }
  e->n_rows = n;
  return 0;
}

int sim_engine_submit(struct sim_engine *e, const struct sim_request *request, uint32_t tag)
{
  uint64_t tokens = (uint64_t)request->prompt_tokens + request->output_tokens - 1; /* the last one is never read */
  uint64_t max_blocks = (tokens + e->block_size - 1) / e->block_size;
  uint32_t *blocks, number;
  struct row *row;
  if (request->prompt_tokens == 0 || request->output_tokens == 0)
    return LLMD_E_INVALID;
  if (max_blocks > e->cache.n_blocks)
    return LLMD_E_LIMIT;
  if (e->unused == NO_ROW && add_rows(e))
    return LLMD_E_NOMEM;
  blocks = malloc(max_blocks * sizeof *blocks);
  if (!blocks)
    return LLMD_E_NOMEM;
  number = e->unused;
  row = &e->row[number];
  e->unused = row->next;
  memset(row, 0, sizeof *row);
  row->request = request;
  row->blocks = blocks;
  row->max_blocks = (uint32_t)max_blocks;
  row->total = request->prompt_tokens;
  row->tag = tag;
  row->next = NO_ROW;
  if (e->back == NO_ROW)
    e->front = number;
  else
    e->row[e->back].next = number;
  e->back = number;
  e->n_waiting++;
  return 0;
}

/* ---- blocks of a row ---- */

static uint32_t blocks_for(const struct sim_engine *e, uint32_t tokens)
{
  return tokens / e->block_size + (tokens % e->block_size != 0);
}

/* The prompt's ids, then ids of its own for what the answer fills: those only the row itself finds again. */
static uint64_t name_of(const struct row *row, uint32_t i)
{
  if (i < row->request->n_blocks)
    return row->request->blocks[i];
  return sim_mix(row->request->id ^ 0xa75e7000000000u) ^ sim_mix(i);
}

/* Tokens of the row that lie in its i-th block. */
static uint32_t fill_of(const struct sim_engine *e, const struct row *row, uint32_t i)
{
  uint32_t rest = row->computed - i * e->block_size;
  return rest < e->block_size ? rest : e->block_size;
}

static void start_reading(struct sim_engine *e, struct row *row)
{
  row->decoding = 1;
  e->n_decoding++;
  e->context_tokens += row->computed;
  for (uint32_t i = 0; i < row->n_blocks; i++)
    if (e->cache.block[row->blocks[i]].readers++ == 0)
      e->distinct_tokens += fill_of(e, row, i);
}

static void stop_reading(struct sim_engine *e, struct row *row)
{
  row->decoding = 0;
  e->n_decoding--;
  e->context_tokens -= row->computed;
  for (uint32_t i = 0; i < row->n_blocks; i++)
    if (--e->cache.block[row->blocks[i]].readers == 0)
      e->distinct_tokens -= fill_of(e, row, i);
}

static void name_next(struct sim_engine *e, struct row *row)
{
  uint32_t i = row->n_named++;
  uint64_t name = name_of(row, i);
  sim_cache_name(&e->cache, row->blocks[i], name);
  if (e->publisher) {
    uint64_t parent = i ? name_of(row, i - 1) : 0;
    sim_publisher_stored(e->publisher, i ? &parent : NULL, name);
  }
}

/* Appends blocks until the row holds `tokens` tokens and names those that will be full. The blocks are there: the
 * caller has looked. A block that a decoding row takes is empty and its own, so it is a reader from now on. */
static void append_blocks(struct sim_engine *e, struct row *row, uint32_t tokens)
{
  uint32_t want = blocks_for(e, tokens);
  while (row->n_blocks < want) {
    uint32_t block = sim_tier_take(&e->cache, e->publisher, 0);
    e->cache.block[block].readers = row->decoding;
    row->blocks[row->n_blocks++] = block;
  }
  for (uint32_t full = tokens / e->block_size; row->n_named < full;)
    name_next(e, row);
}

/* Lets go of everything, last block first, so that the start of the prompt stays longest. */
static void drop_blocks(struct sim_engine *e, struct row *row)
{
  if (row->decoding)
    stop_reading(e, row);
  while (row->n_blocks)
    sim_cache_drop(&e->cache, row->blocks[--row->n_blocks]);
  row->n_named = row->n_offered = 0;
}

/* ---- the tier in CPU memory ---- */

/* Blocks that became full go down, last one first, so that the start of the prompt stays longest. */
static void offload(struct sim_engine *e, struct row *row)
{
  uint32_t full = row->computed / e->block_size;
  for (uint32_t i = full; i-- > row->n_offered;)
    sim_tier_keep(&e->cpu, e->publisher, name_of(row, i));
  row->n_offered = full;
}

/* ---- scheduling ---- */

static void preempt_last(struct sim_engine *e)
{
  uint32_t number = e->running[--e->n_running];
  struct row *row = &e->row[number];
  drop_blocks(e, row);
  row->computed = 0;
  row->chunk = 0;
  row->next = e->front;
  e->front = number;
  if (e->back == NO_ROW)
    e->back = number;
  e->n_waiting++;
  e->counters.preemptions++;
}

struct step {
  uint32_t budget;
  uint32_t preempted;
  uint32_t loaded; /* tokens from CPU memory */
  struct sim_load load;
};

static void add_chunk(struct step *step, struct row *row, uint32_t chunk)
{
  row->chunk = chunk;
  step->budget -= chunk;
  step->load.new_tokens += chunk;
  step->load.rows++;
  if (!row->decoding)
    step->load.attention += chunk * (row->computed + chunk / 2.0);
}

static void schedule_running(struct sim_engine *e, struct step *step)
{
  for (uint32_t i = 0; i < e->n_running && step->budget > 0; i++) {
    struct row *row = &e->row[e->running[i]];
    uint32_t chunk = row->total - row->computed;
    uint32_t want;
    if (chunk > step->budget)
      chunk = step->budget;
    want = blocks_for(e, row->computed + chunk);
    while (want > row->n_blocks && want - row->n_blocks > e->cache.n_free && i < e->n_running) {
      preempt_last(e);
      step->preempted++;
    }
    if (i >= e->n_running) /* it was the last one itself */
      return;
    append_blocks(e, row, row->computed + chunk);
    add_chunk(step, row, chunk);
  }
}

/* Cached blocks from the start of the row on, leaving its last token to be computed; *idle: those nobody uses. */
static uint32_t find_cached(const struct sim_engine *e, struct row *row, uint32_t *idle)
{
  uint32_t most = (row->total - 1) / e->block_size;
  uint32_t n = 0;
  *idle = 0;
  while (n < most) {
    uint32_t block = sim_cache_find(&e->cache, name_of(row, n));
    if (block == SIM_NO_BLOCK)
      break;
    *idle += e->cache.block[block].refs == 0;
    row->blocks[n++] = block;
  }
  return n;
}

/* How many blocks from the i-th on can be loaded. */
static uint32_t find_offloaded(const struct sim_engine *e, const struct row *row, uint32_t i)
{
  uint32_t most = (row->total - 1) / e->block_size;
  uint32_t n = 0;
  while (e->cpu.n_blocks && i + n < most && sim_cache_find(&e->cpu, name_of(row, i + n)) != SIM_NO_BLOCK)
    n++;
  return n;
}

static void count_admission(struct sim_engine *e, struct row *row)
{
  if (row->admitted)
    return;
  row->admitted = 1;
  row->cached = row->computed;
  e->counters.prompt_tokens += row->request->prompt_tokens;
  e->counters.cached_tokens += row->cached;
}

/* Moves the front of the queue to the running rows: 1, or 0 when it does not fit now. */
static int admit(struct sim_engine *e, struct step *step)
{
  uint32_t number = e->front, idle;
  struct row *row = &e->row[number];
  uint32_t cached = find_cached(e, row, &idle);
  uint32_t loaded = find_offloaded(e, row, cached);
  uint32_t start = (cached + loaded) * e->block_size;
  uint32_t chunk = row->total - start;
  if (chunk > step->budget)
    chunk = step->budget;
  if (blocks_for(e, start + chunk) - cached + idle > e->cache.n_free)
    return 0;
  for (uint32_t i = 0; i < cached; i++)
    sim_cache_hold(&e->cache, row->blocks[i]);
  row->n_blocks = row->n_named = cached;
  row->computed = start;
  append_blocks(e, row, start + chunk);
  add_chunk(step, row, chunk);
  step->loaded += loaded * e->block_size;
  count_admission(e, row);
  e->front = row->next;
  if (e->front == NO_ROW)
    e->back = NO_ROW;
  e->n_waiting--;
  e->running[e->n_running++] = number;
  return 1;
}

int sim_engine_begin(struct sim_engine *e, double *duration)
{
  struct step step = {.budget = e->model->max_batched_tokens};
  schedule_running(e, &step);
  while (e->n_waiting && step.budget > 0 && !step.preempted && e->n_running < e->model->max_seqs)
    if (!admit(e, &step))
      break;
  if (step.load.rows == 0)
    return 0;
  step.load.kv_read = e->model->beta * (double)(e->context_tokens + e->n_decoding) +
                      (1 - e->model->beta) * (double)(e->distinct_tokens + e->n_decoding);
  e->duration = sim_model_step(e->model, &step.load);
  if (e->duration < step.loaded * e->model->t_load)
    e->duration = step.loaded * e->model->t_load;
  *duration = e->duration;
  e->counters.loaded_tokens += step.loaded;
  e->counters.steps++;
  e->counters.busy += e->duration;
  e->counters.computed_tokens += step.load.new_tokens;
  return 1;
}

/* ---- the end of a step ---- */

static void retire(struct sim_engine *e, uint32_t number)
{
  struct row *row = &e->row[number];
  drop_blocks(e, row);
  free(row->blocks);
  row->blocks = NULL;
  row->next = e->unused;
  e->unused = number;
}

/* The row has computed all it knows: it has a token more. Returns 1 when that was its last. */
static int produce(struct sim_engine *e, struct row *row, double now, uint32_t *n_tokens)
{
  struct sim_token token = {.tag = row->tag, .cached_tokens = row->cached};
  e->counters.output_tokens++;
  row->last_token = now;
  if (row->generated++ == 0) {
    token.what = SIM_FIRST_TOKEN;
    e->token[(*n_tokens)++] = token;
  }
  if (row->generated == row->request->output_tokens) {
    token.what = SIM_LAST_TOKEN;
    e->token[(*n_tokens)++] = token;
    return 1;
  }
  if (e->tells_all && row->generated > 1) {
    token.what = SIM_NEXT_TOKEN;
    e->token[(*n_tokens)++] = token;
  }
  row->total++;
  if (!row->decoding)
    start_reading(e, row);
  return 0;
}

uint32_t sim_engine_end(struct sim_engine *e, double now, const struct sim_token **tokens, struct sim_histogram *gaps)
{
  uint32_t n_tokens = 0, kept = 0;
  uint64_t same_gap = 0; /* nearly all rows had their last token at the end of the step before */
  double gap = 0;
  for (uint32_t i = 0; i < e->n_running; i++) {
    uint32_t number = e->running[i];
    struct row *row = &e->row[number];
    row->computed += row->chunk;
    if (e->cpu.n_blocks)
      offload(e, row);
    if (row->decoding) {
      e->context_tokens += row->chunk;
      e->distinct_tokens += row->chunk; /* its newest block is never shared */
    }
    if (gaps && row->generated && row->computed == row->total) {
      if (now - row->last_token != gap) {
        sim_histogram_add(gaps, gap, same_gap);
        gap = now - row->last_token;
        same_gap = 0;
      }
      same_gap++;
    }
    row->chunk = 0;
    if (row->computed == row->total && produce(e, row, now, &n_tokens))
      retire(e, number);
    else
      e->running[kept++] = number;
  }
  if (gaps)
    sim_histogram_add(gaps, gap, same_gap);
  e->n_running = kept;
  *tokens = e->token;
  return n_tokens;
}

/* ---- requests that are given up ---- */

/* Takes the row with that tag out of the queue: its number, or NO_ROW. */
static uint32_t leave_queue(struct sim_engine *e, uint32_t tag)
{
  uint32_t before = NO_ROW, number = e->front;
  while (number != NO_ROW && e->row[number].tag != tag) {
    before = number;
    number = e->row[number].next;
  }
  if (number == NO_ROW)
    return NO_ROW;
  if (before == NO_ROW)
    e->front = e->row[number].next;
  else
    e->row[before].next = e->row[number].next;
  if (e->back == number)
    e->back = before;
  e->n_waiting--;
  return number;
}

static uint32_t leave_running(struct sim_engine *e, uint32_t tag)
{
  for (uint32_t i = 0; i < e->n_running; i++) {
    uint32_t number = e->running[i];
    if (e->row[number].tag != tag)
      continue;
    memmove(e->running + i, e->running + i + 1, (--e->n_running - i) * sizeof *e->running);
    return number;
  }
  return NO_ROW;
}

int sim_engine_cancel(struct sim_engine *e, uint32_t tag)
{
  uint32_t number = leave_running(e, tag);
  if (number == NO_ROW)
    number = leave_queue(e, tag);
  if (number == NO_ROW)
    return 0;
  retire(e, number);
  return 1;
}

/* ---- from the beginning ---- */

void sim_engine_reset(struct sim_engine *e)
{
  uint64_t preemptions = e->counters.preemptions;
  while (e->n_running)
    preempt_last(e);
  e->counters.preemptions = preemptions;
  sim_cache_clear(&e->cache);
  if (e->cpu.n_blocks)
    sim_cache_clear(&e->cpu);
}

/* ---- seen from outside ---- */

void sim_engine_metrics(const struct sim_engine *e, struct sim_metrics *metrics)
{
  metrics->waiting = e->n_waiting;
  metrics->running = e->n_running;
  metrics->kv_usage = 1 - (double)e->cache.n_free / e->cache.n_blocks;
}

uint32_t sim_engine_waiting(const struct sim_engine *e, uint32_t *tag, uint32_t cap)
{
  uint32_t n = 0;
  for (uint32_t i = e->front; i != NO_ROW && n < cap; i = e->row[i].next)
    tag[n++] = e->row[i].tag;
  return e->n_waiting;
}

void sim_engine_counters(const struct sim_engine *e, struct sim_counters *counters)
{
  *counters = e->counters;
  counters->evictions = e->cache.evictions;
}

uint32_t sim_engine_match(const struct sim_engine *e, const struct sim_request *request)
{
  uint32_t n = 0;
  while (n < request->n_blocks && (sim_cache_find(&e->cache, request->blocks[n]) != SIM_NO_BLOCK ||
         (e->cpu.n_blocks && sim_cache_find(&e->cpu, request->blocks[n]) != SIM_NO_BLOCK)))
    n++;
  return n;
}

uint64_t sim_engine_held(const struct sim_engine *e)
{
  return (uint64_t)sim_cache_distinct(&e->cache) + (e->cpu.n_blocks ? sim_cache_distinct(&e->cpu) : 0);
}

const struct sim_cache *sim_engine_cache(const struct sim_engine *e)
{
  return &e->cache;
}
