/* topology-affinity-scorer: prefers endpoints close to the peer, the endpoint that an earlier stage has picked.
 *
 *   same host 1, rack 0.2, zone 0.05, region 0.02, else 0      (a name that is not known is never the same)
 *
 * No peer: 0 for all. Both modes agree. */
#include <llmd/plugin.h>

typedef struct topology {
  llmd_str producer;
} topology;

enum { HOST, RACK, ZONE, REGION, LEVELS };

static const double worth[LEVELS] = {1.0, 0.2, 0.05, 0.02};

static double closeness(const llmd_batch *b, uint32_t i)
{
  uint32_t level;
  for (level = HOST; level < LEVELS; level++)
    if (b->value[level].id && b->id[level][i] == b->value[level].id)
      return worth[level];
  return 0;
}

static int score(const void *self, const llmd_batch *b, double *out)
{
  uint32_t i;
  (void)self;
  for (i = 0; i < b->n; i++)
    out[i] = b->has_peer ? closeness(b, i) : 0;
  return 0;
}

static const llmd_param params[] = {
  {.name = "topologyProducerName", .type = LLMD_PARAM_STRING, .offset = offsetof(topology, producer),
   .doc = "producer of the topology (topology-extractor)"},
  {0}};

#define PLACE(what)                                                                                             \
  {.kind = LLMD_READ_ID, .flags = LLMD_READ_OPTIONAL | LLMD_READ_FROM_PARAM, .name = "Topology." what,           \
   .from = "topology-extractor", .from_offset = offsetof(topology, producer)}
static const llmd_read reads[] = {
  [HOST] = PLACE("hostname"), [RACK] = PLACE("rack"), [ZONE] = PLACE("zone"), [REGION] = PLACE("region"), {0}};

const llmd_plugin llmd__topology_affinity_scorer = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "topology-affinity-scorer", .summary = "prefers endpoints close to the one an earlier stage picked",
  .kind = LLMD_SCORER, .stability = LLMD_ALPHA, .self_size = sizeof(topology), .params = params, .reads = reads,
  .score = score};
LLMD_MODULE(&llmd__topology_affinity_scorer);
