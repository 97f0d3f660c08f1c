/* free-blocks-scorer: prefers endpoints with many free KV-cache blocks, so that large engines get more than small ones.
 *
 *   free = blocks * (1 - usage)      score = free / the most free of all candidates */
#include <llmd/plugin.h>

enum { BLOCKS, USAGE };

static int score(const void *self, const llmd_batch *b, double *out)
{
  double most = 0;
  (void)self;
  for (uint32_t i = 0; i < b->n; i++) {
    out[i] = b->f64[BLOCKS][i] * (1 - b->f64[USAGE][i]);
    most = out[i] > most ? out[i] : most;
  }
  for (uint32_t i = 0; i < b->n; i++)
    out[i] = most > 0 ? out[i] / most : 0;
  return 0;
}

static const llmd_read reads[] = { /* nothing known: nothing free */
  [BLOCKS] = {.kind = LLMD_READ_F64, .name = "CacheNumBlocks", .if_unknown = 0, .if_unknown_strict = 0},
  [USAGE] = {.kind = LLMD_READ_F64, .name = "KVCacheUsagePercent", .if_unknown = 1, .if_unknown_strict = 1},
  {0}};

static const llmd_plugin free_blocks = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "free-blocks-scorer", .summary = "prefers endpoints with many free KV-cache blocks",
  .kind = LLMD_SCORER, .stability = LLMD_ALPHA, .self_size = 1, .reads = reads, .score = score};
LLMD_MODULE(&free_blocks);
