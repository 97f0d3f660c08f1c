/* max-score-picker: the candidates with the highest totals, best first.
 *
 * Equal totals are put in random order by the seed. The reference shuffles everything and then sorts stably; the same
 * distribution comes without a shuffle: candidate i has the tie number llmd_random(seed, i), all of them different, and
 * of two equal totals the lower number goes first. It is computed only where totals are in fact equal.
 *
 * One pick, the usual case, is two linear passes without a branch in their bodies: the highest total, then how often it
 * occurs. Only a real tie costs a third pass, to the one that was drawn. */
#include <llmd/plugin.h>

typedef struct max_score {
  int64_t max; /* picks wanted */
} max_score;

static int validate(void *self, llmd_err *err)
{
  max_score *p = self;
  (void)err;
  if (p->max <= 0)
    p->max = 1;
  return 0;
}

static uint64_t tie_number(uint64_t seed, uint32_t i)
{
  uint64_t state = seed + i * 0x9e3779b97f4a7c15u;
  return llmd_random(&state);
}

/* Four running maxima, because one would wait for the comparison before it. */
static double highest(const double *total, uint32_t n)
{
  double a = total[0], b = a, c = a, d = a;
  uint32_t i = 0;
  for (; i + 4 <= n; i += 4) {
    a = total[i] > a ? total[i] : a;
    b = total[i + 1] > b ? total[i + 1] : b;
    c = total[i + 2] > c ? total[i + 2] : c;
    d = total[i + 3] > d ? total[i + 3] : d;
  }
  for (; i < n; i++)
    a = total[i] > a ? total[i] : a;
  a = a > b ? a : b;
  c = c > d ? c : d;
  return a > c ? a : c;
}

static uint32_t pick_one(const double *total, uint32_t n, uint64_t seed)
{
  double best = highest(total, n);
  uint32_t ties = 0, last = 0, drawn, i;
  for (i = 0; i < n; i++) {
    uint32_t hit = total[i] == best;
    ties += hit;
    last = hit ? i : last;
  }
  if (ties == 1)
    return last;
  drawn = (uint32_t)((llmd_random(&seed) >> 32) * ties >> 32);
  for (i = 0; i < n; i++) {
    uint32_t hit = total[i] == best;
    if (hit & (drawn == 0))
      break;
    drawn -= hit;
  }
  return i;
}

static int before(const double *total, uint64_t seed, uint32_t a, uint32_t b)
{
  if (total[a] != total[b])
    return total[a] > total[b];
  return tie_number(seed, a) < tie_number(seed, b);
}

/* Keeps the best k so far in order. k is small; most candidates fail the first comparison, with the worst kept. */
static void pick_many(const double *total, uint32_t n, uint64_t seed, uint32_t *out, uint32_t k)
{
  uint32_t kept = 0, i, at;
  for (i = 0; i < n; i++) {
    if (kept == k && !before(total, seed, i, out[k - 1]))
      continue;
    at = kept < k ? kept++ : k - 1;
    for (; at > 0 && before(total, seed, i, out[at - 1]); at--)
      out[at] = out[at - 1];
    out[at] = i;
  }
}

static int pick(const void *self, const llmd_batch *b, const double *total, uint32_t *out, uint32_t cap)
{
  const max_score *p = self;
  uint32_t k = b->n < cap ? b->n : cap;
  if ((uint64_t)p->max < k)
    k = (uint32_t)p->max;
  if (k == 1)
    out[0] = pick_one(total, b->n, b->seed);
  else if (k > 1)
    pick_many(total, b->n, b->seed, out, k);
  return (int)k;
}

static const llmd_param params[] = {
  {.name = "maxNumOfEndpoints", .type = LLMD_PARAM_INT, .offset = offsetof(max_score, max), .preset = "1",
   .doc = "how many endpoints to pick; 0 or less means 1"},
  {0}};

const llmd_plugin llmd__max_score_picker = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "max-score-picker", .summary = "the candidates with the highest scores; ties are drawn by the seed",
  .kind = LLMD_PICKER, .stability = LLMD_BETA,
  .self_size = sizeof(max_score), .params = params, .validate = validate, .pick = pick};

LLMD_MODULE(&llmd__max_score_picker);
