/* random-picker: k of n candidates, every choice and every order equally likely; scores do not matter. */
#include <llmd/plugin.h>

typedef struct random_picker {
  int64_t max; /* picks wanted */
} random_picker;

static int validate(void *self, llmd_err *err)
{
  random_picker *p = self;
  (void)err;
  if (p->max <= 0)
    p->max = 1;
  return 0;
}

/* 0..n-1. Uneven by at most n in 2^32. */
static uint32_t below(uint64_t *state, uint32_t n)
{
  return (uint32_t)((llmd_random(state) >> 32) * n >> 32);
}

/* The first k steps of a shuffle. */
static void draw(uint32_t *cards, uint32_t n, uint64_t state, uint32_t *out, uint32_t k)
{
  uint32_t i;
  for (i = 0; i < n; i++)
    cards[i] = i;
  for (i = 0; i < k; i++) {
    uint32_t at = i + below(&state, n - i);
    out[i] = cards[at];
    cards[at] = cards[i];
  }
}

static int pick(const void *self, const llmd_batch *b, const double *total, uint32_t *out, uint32_t cap)
{
  const random_picker *p = self;
  uint64_t state = b->seed;
  uint32_t k = b->n < cap ? b->n : cap;
  (void)total;
  if ((uint64_t)p->max < k)
    k = (uint32_t)p->max;
  if (k == 1)
    out[0] = below(&state, b->n);
  else if (k > 1)
    draw(b->scratch, b->n, state, out, k);
  return (int)k;
}

static const llmd_param params[] = {
  {.name = "maxNumOfEndpoints", .type = LLMD_PARAM_INT, .offset = offsetof(random_picker, max), .preset = "1",
   .doc = "how many endpoints to pick; 0 or less means 1"},
  {0}};

const llmd_plugin llmd__random_picker = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "random-picker", .summary = "any of the candidates, whatever their scores",
  .kind = LLMD_PICKER, .stability = LLMD_BETA,
  .self_size = sizeof(random_picker), .scratch_each = sizeof(uint32_t), .params = params,
  .validate = validate, .pick = pick};

LLMD_MODULE(&llmd__random_picker);
