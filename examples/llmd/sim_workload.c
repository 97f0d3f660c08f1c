#include "sim_workload.h"

#include <stdlib.h>
#include <string.h>

#include "sim_rng.h"
#include "sim_text.h"

void sim_workload_free(struct sim_workload *w)
{
  free(w->requests);
  free(w->stages);
  free(w->blocks);
  memset(w, 0, sizeof *w);
}

void sim_spell(uint64_t block, uint32_t *tokens, uint32_t n)
{
  uint64_t seed = sim_mix(block);
  for (uint32_t i = 0; i < n; i++)
    tokens[i] = (uint32_t)(sim_mix(seed + i) >> 47);
}

int sim_workload_counts(const struct sim_workload *w, uint32_t i)
{
  if (!w->stages[i].warmup)
    return 1;
  for (uint32_t j = 0; j < w->n_stages; j++)
    if (!w->stages[j].warmup)
      return 0;
  return 1;
}

/* A set of ids by open addressing; 0 marks an empty place, so id 0 is kept beside it. */
struct id_set {
  uint64_t *place;
  uint64_t mask;
  int has_zero;
};

/* Returns 1 when the id was there already. */
static int add_id(struct id_set *set, uint64_t id)
{
  uint64_t i = sim_mix(id) & set->mask;
  if (id == 0) {
    int had = set->has_zero;
    set->has_zero = 1;
    return had;
  }
  for (; set->place[i]; i = (i + 1) & set->mask)
    if (set->place[i] == id)
      return 1;
  set->place[i] = id;
  return 0;
}

int sim_workload_seal(struct sim_workload *w)
{
  struct id_set set = {0};
  uint64_t places = 64;
  while (places < w->n_blocks * 2) /* no more distinct ids than blocks are kept */
    places *= 2;
  set.place = calloc(places, sizeof *set.place);
  if (!set.place)
    return LLMD_E_NOMEM;
  set.mask = places - 1;
  for (uint32_t r = 0; r < w->n_requests; r++) {
    struct sim_request *q = &w->requests[r];
    uint32_t most = q->prompt_tokens ? (q->prompt_tokens - 1) / w->block_size : 0; /* the last token is computed */
    uint32_t had = 0, in_row = 1;
    for (uint32_t i = 0; i < q->n_blocks; i++) {
      in_row &= (uint32_t)add_id(&set, q->blocks[i]);
      had += in_row;
    }
    q->ideal_tokens = (had < most ? had : most) * w->block_size;
  }
  free(set.place);
  return 0;
}

/* ---- the ladder ---- */

static const struct sim_rate guide_rates[] = {
  {15, 50, 1}, {3, 20, 0},  {10, 20, 0}, {15, 20, 0}, {20, 38, 0}, {22, 34, 0}, {25, 30, 0}, {30, 25, 0}, {35, 21, 0},
  {40, 38, 0}, {43, 36, 0}, {46, 33, 0}, {49, 30, 0}, {52, 29, 0}, {55, 27, 0}, {57, 26, 0}, {60, 25, 0},
};
static const struct sim_rate quick_rates[] = {
  {15, 50, 1}, {10, 20, 0}, {20, 38, 0}, {30, 25, 0}, {40, 38, 0}, {60, 25, 0},
};

void sim_ladder_default(struct sim_ladder *l)
{
  static const struct sim_ladder guide = {
    .groups = 150, .prompts_per_group = 5, .system_tokens = 6000, .question_tokens = 1200, .output_tokens = 1000,
    .block_size = 16, .pause = 30, .seed = 1,
    .rates = guide_rates, .n_rates = sizeof guide_rates / sizeof guide_rates[0],
  };
  *l = guide;
}

void sim_ladder_quick(struct sim_ladder *l)
{
  sim_ladder_default(l);
  l->rates = quick_rates;
  l->n_rates = sizeof quick_rates / sizeof quick_rates[0];
}

void sim_ladder_tiered(struct sim_ladder *l)
{
  static const struct sim_rate rates[] = {{5, 60, 0}, {10, 60, 0}, {20, 60, 0}, {40, 60, 0}};
  sim_ladder_default(l);
  l->groups = 250;
  l->system_tokens = 16000;
  l->question_tokens = l->output_tokens = 256;
  l->rates = rates;
  l->n_rates = sizeof rates / sizeof rates[0];
}

static uint64_t requests_of(const struct sim_rate *rate)
{
  return (uint64_t)(rate->rate * rate->duration + 1e-9); /* 0.1 * 30 is 3 */
}

static int check_ladder(const struct sim_ladder *l, uint64_t *n_requests, llmd_err *err)
{
  *n_requests = 0;
  if (l->groups == 0 || l->prompts_per_group == 0 || l->block_size == 0 || l->n_rates == 0)
    return sim_fail(err, LLMD_E_INVALID, NULL, 0, "a ladder needs groups, prompts, a block size and rungs");
  if ((uint64_t)l->system_tokens + l->question_tokens == 0 || l->output_tokens == 0)
    return sim_fail(err, LLMD_E_INVALID, NULL, 0, "a prompt and an answer have at least one token");
  if ((uint64_t)l->system_tokens + l->question_tokens > 1u << 24 || l->output_tokens > 1u << 24 ||
      (uint64_t)l->groups * l->prompts_per_group > 1u << 20)
    return sim_fail(err, LLMD_E_LIMIT, NULL, 0, "at most 2^24 tokens in a prompt or answer and 2^20 prompts");
  if (!(l->pause >= 0 && l->pause <= 1e6))
    return sim_fail(err, LLMD_E_INVALID, NULL, 0, "the pause between stages is not a time");
  for (uint32_t i = 0; i < l->n_rates; i++) {
    if (!(l->rates[i].rate > 0 && l->rates[i].rate <= 1e5 && l->rates[i].duration > 0 && l->rates[i].duration <= 1e6))
      return sim_fail(err, LLMD_E_INVALID, NULL, 0, "rung %u: rate or duration out of range", i + 1);
    *n_requests += requests_of(&l->rates[i]);
  }
  if (*n_requests == 0 || *n_requests > 1u << 24)
    return sim_fail(err, LLMD_E_LIMIT, NULL, 0, "a workload has between 1 and 2^24 requests");
  return 0;
}

/* Chain of one prompt: blocks that lie wholly in the system prompt belong to the group, later ones to the prompt. */
static void fill_chain(const struct sim_ladder *l, uint32_t prompt, uint64_t *blocks, uint32_t n)
{
  uint32_t shared = l->system_tokens / l->block_size;
  for (uint32_t i = 0; i < n; i++) {
    uint64_t owner = i < shared ? (uint64_t)1 << 32 | prompt / l->prompts_per_group : (uint64_t)2 << 32 | prompt;
    blocks[i] = sim_mix(sim_mix(owner) + i);
  }
}

static void shuffle(uint32_t *order, uint32_t n, uint64_t seed)
{
  struct sim_rng rng;
  sim_rng_init(&rng, seed, 1);
  for (uint32_t i = 0; i < n; i++)
    order[i] = i;
  for (uint32_t i = n; i > 1; i--) {
    uint32_t j = sim_rng_below(&rng, i);
    uint32_t other = order[i - 1];
    order[i - 1] = order[j];
    order[j] = other;
  }
}

/* Arrival times of a stage as inference-perf's Poisson timer makes them: for each second a Poisson count, and that
 * many exponential gaps scaled so that they fill the second. The stage is over at its count, not at its duration. */
static void set_arrivals(struct sim_request *requests, uint32_t n, double rate, struct sim_rng *rng)
{
  uint32_t done = 0;
  for (double second = 0; done < n; second++) {
    uint32_t count = sim_rng_poisson(rng, rate);
    uint32_t kept = count < n - done ? count : n - done;
    double sum = 0;
    for (uint32_t i = 0; i < count; i++) {
      sum += sim_rng_exponential(rng);
      if (i < kept)
        requests[done + i].offset = sum;
    }
    for (uint32_t i = 0; i < kept; i++)
      requests[done + i].offset = second + requests[done + i].offset / sum;
    done += kept;
  }
}

static void lay_out_stages(struct sim_workload *w, const struct sim_ladder *l, const uint32_t *order,
                           uint32_t n_prompts)
{
  uint32_t chain = (l->system_tokens + l->question_tokens) / l->block_size;
  uint32_t first = 0;
  struct sim_rng rng;
  sim_rng_init(&rng, l->seed, 2);
  for (uint32_t s = 0; s < l->n_rates; s++) {
    struct sim_stage *stage = &w->stages[s];
    stage->rate = l->rates[s].rate;
    stage->duration = l->rates[s].duration;
    stage->warmup = l->rates[s].warmup;
    stage->pause = l->pause;
    stage->first = first;
    stage->count = (uint32_t)requests_of(&l->rates[s]);
    for (uint32_t i = 0; i < stage->count; i++) {
      struct sim_request *q = &w->requests[first + i];
      q->id = first + i;
      q->stage = s;
      q->prompt = order[i % n_prompts];
      q->group = q->prompt / l->prompts_per_group;
      q->prompt_tokens = l->system_tokens + l->question_tokens;
      q->output_tokens = l->output_tokens;
      q->n_blocks = chain;
      q->blocks = w->blocks + (size_t)q->prompt * chain;
    }
    set_arrivals(w->requests + first, stage->count, stage->rate, &rng);
    first += stage->count;
  }
}

int sim_workload_ladder(struct sim_workload *out, const struct sim_ladder *l, llmd_err *err)
{
  struct sim_workload w = {.name = "shared-prefix ladder", .model = "Qwen/Qwen3-32B"};
  uint64_t n_requests;
  uint32_t n_prompts, chain, *order;
  int code = check_ladder(l, &n_requests, err);
  if (code)
    return code;
  n_prompts = l->groups * l->prompts_per_group;
  chain = (l->system_tokens + l->question_tokens) / l->block_size;
  w.block_size = l->block_size;
  w.n_requests = (uint32_t)n_requests;
  w.n_stages = l->n_rates;
  w.n_blocks = (size_t)n_prompts * chain;
  w.requests = calloc(w.n_requests, sizeof *w.requests);
  w.stages = calloc(w.n_stages, sizeof *w.stages);
  w.blocks = malloc((w.n_blocks ? w.n_blocks : 1) * sizeof *w.blocks);
  order = malloc(n_prompts * sizeof *order);
  code = w.requests && w.stages && w.blocks && order ? 0 : LLMD_E_NOMEM;
  if (code == 0) {
    shuffle(order, n_prompts, l->seed);
    for (uint32_t p = 0; p < n_prompts; p++)
      fill_chain(l, p, w.blocks + (size_t)p * chain, chain);
    lay_out_stages(&w, l, order, n_prompts);
    code = sim_workload_seal(&w);
  }
  free(order);
  if (code) {
    sim_workload_free(&w);
    return sim_fail(err, code, NULL, 0, "out of memory");
  }
  *out = w;
  return 0;
}
