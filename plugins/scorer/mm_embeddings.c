/* mm-embeddings-cache-scorer: prefers endpoints whose encoder cache has the request's images, audio and video.
 *
 *   score = size of the items cached there / size of all items
 *
 * No items, or nothing known: 0, in both modes. Outside compat = strict a cached size that is infinite, negative or
 * above the total counts as none. */
#include <llmd/plugin.h>

#include <float.h>
#include <math.h>

typedef struct mm_embeddings {
  llmd_str producer;
} mm_embeddings;

enum { MATCHED, TOTAL };

static int score(const void *self, const llmd_batch *b, double *out)
{
  const double *matched = b->f64[MATCHED], *total = b->f64[TOTAL];
  uint32_t i;
  (void)self;
  for (i = 0; i < b->n; i++) {
    double most = b->strict ? DBL_MAX : total[i];
    int usable = total[i] > 0 && total[i] <= DBL_MAX && matched[i] >= 0 && matched[i] <= most;
    out[i] = usable ? matched[i] / total[i] : 0;
  }
  return 0;
}

static const llmd_param params[] = {
  {.name = "producerName", .type = LLMD_PARAM_STRING, .offset = offsetof(mm_embeddings, producer),
   .doc = "producer of the match information (mm-embeddings-cache-producer)"},
  {0}};

static const llmd_read reads[] = {
  [MATCHED] = {.kind = LLMD_READ_F64, .flags = LLMD_READ_FROM_PARAM, .name = "EncoderCacheMatchInfo.matched",
               .from = "mm-embeddings-cache-producer", .from_offset = offsetof(mm_embeddings, producer),
               .if_unknown = NAN, .if_unknown_strict = NAN},
  [TOTAL] = {.kind = LLMD_READ_F64, .flags = LLMD_READ_FROM_PARAM, .name = "EncoderCacheMatchInfo.total",
             .from = "mm-embeddings-cache-producer", .from_offset = offsetof(mm_embeddings, producer),
             .if_unknown = NAN, .if_unknown_strict = NAN},
  {0}};

const llmd_plugin llmd__mm_embeddings_cache_scorer = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "mm-embeddings-cache-scorer", .summary = "prefers endpoints that have the request's images encoded",
  .kind = LLMD_SCORER, .stability = LLMD_BETA, .self_size = sizeof(mm_embeddings), .params = params, .reads = reads,
  .score = score};
LLMD_MODULE(&llmd__mm_embeddings_cache_scorer);
