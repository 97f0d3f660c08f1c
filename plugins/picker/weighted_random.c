/* weighted-random-picker: a candidate is drawn with probability proportional to its score, without replacement.
 *
 * A-Res (Efraimidis, Spirakis 2006): with U uniform in (0, 1), the k largest keys U^(1/score) are the sample. Keys are
 * compared by their logarithm, log(U) / score, which keeps tiny scores apart where the power would vanish.
 *
 * Most candidates never need their logarithm: log(U) <= U - 1, so whoever has U - 1 <= worst kept key * score is out.
 *
 * Scores of zero or less have the lowest key of all: they come last, in random order, and only fill up. When nothing
 * is above zero, that makes the choice uniform. */
#include <llmd/plugin.h>

#include <float.h>
#include <string.h>

typedef struct weighted_random {
  int64_t max; /* picks wanted */
} weighted_random;

typedef struct entry {
  double key;
  uint64_t tie; /* orders equal keys */
} entry;

static int validate(void *self, llmd_err *err)
{
  weighted_random *p = self;
  (void)err;
  if (p->max <= 0)
    p->max = 1;
  return 0;
}

/* The natural logarithm of a normal positive number, to about 1e-16 of itself; the same bits on every machine, which
 * libm does not promise. x = 2^e * m with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh(s), s = (m - 1) / (m + 1), and
 * |s| < 0.172, whose series is cut where its terms no longer count. ln 2 is split so that e times its upper part (40
 * bits) is exact. */
static double natural_log(double x)
{
  static const double part[] = {1.0 / 23, 1.0 / 21, 1.0 / 19, 1.0 / 17, 1.0 / 15, 1.0 / 13,
                                1.0 / 11, 1.0 / 9,  1.0 / 7,  1.0 / 5,  1.0 / 3};
  static const double ln2_upper = 0x1.62e42fefa2000p-1, ln2_lower = 0x1.9ef35793c7673p-41;
  double m, s, z, sum = 0;
  uint64_t bits;
  size_t i;
  int e;
  memcpy(&bits, &x, sizeof bits);
  e = (int)(bits >> 52) - 1023;
  bits = (bits & 0xfffffffffffffu) | 0x3ff0000000000000u;
  memcpy(&m, &bits, sizeof m);
  if (m > 1.41421356237309504880) {
    m *= 0.5;
    e++;
  }
  s = (m - 1) / (m + 1);
  z = s * s;
  for (i = 0; i < sizeof part / sizeof part[0]; i++)
    sum = sum * z + part[i];
  return e * ln2_upper + (2 * s + (2 * s * z * sum + e * ln2_lower));
}

static int before(const entry *a, const entry *b)
{
  return a->key != b->key ? a->key > b->key : a->tie < b->tie;
}

/* Puts e among the n entries kept in order; the last one falls out when there are k already. */
static uint32_t keep(entry *kept, uint32_t *out, uint32_t n, uint32_t k, const entry *e, uint32_t candidate)
{
  uint32_t at = n < k ? n : k - 1;
  for (; at > 0 && before(e, &kept[at - 1]); at--) {
    kept[at] = kept[at - 1];
    out[at] = out[at - 1];
  }
  kept[at] = *e;
  out[at] = candidate;
  return n < k ? n + 1 : k;
}

static void sample(const double *total, uint32_t n, uint64_t state, entry *kept, uint32_t *out, uint32_t k)
{
  uint32_t i, have = 0;
  for (i = 0; i < n; i++) {
    double u;
    entry e;
    e.tie = llmd_random(&state);
    u = ((double)(e.tie >> 12) + 0.5) * (1.0 / 4503599627370496.0);
    if (have == k && total[i] > 0 && u - 1 <= kept[k - 1].key * total[i])
      continue;
    e.key = total[i] > 0 ? natural_log(u) / total[i] : -DBL_MAX;
    if (e.key < -DBL_MAX)
      e.key = -DBL_MAX;
    if (have < k || before(&e, &kept[k - 1]))
      have = keep(kept, out, have, k, &e, i);
  }
}

static int pick(const void *self, const llmd_batch *b, const double *total, uint32_t *out, uint32_t cap)
{
  const weighted_random *p = self;
  uint32_t k = b->n < cap ? b->n : cap;
  if ((uint64_t)p->max < k)
    k = (uint32_t)p->max;
  if (k > 0)
    sample(total, b->n, b->seed, b->scratch, out, k);
  return (int)k;
}

static const llmd_param params[] = {
  {.name = "maxNumOfEndpoints", .type = LLMD_PARAM_INT, .offset = offsetof(weighted_random, max), .preset = "1",
   .doc = "how many endpoints to pick; 0 or less means 1"},
  {0}};

const llmd_plugin llmd__weighted_random_picker = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "weighted-random-picker", .summary = "candidates drawn with probability proportional to their score",
  .kind = LLMD_PICKER, .stability = LLMD_BETA,
  .self_size = sizeof(weighted_random), .scratch_each = sizeof(entry), .params = params,
  .validate = validate, .pick = pick};

LLMD_MODULE(&llmd__weighted_random_picker);
