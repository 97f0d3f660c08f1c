/* topology-affinity-filter: keeps endpoints that share at least a host (rack, zone, region) with the peer, the endpoint
 * that an earlier stage has picked.
 *
 * Fails open: all are kept when there is no peer or nobody is close enough. A name that is not known is never the
 * same. The finest name that two endpoints share says how close they are. Both modes agree. */
#include <llmd/plugin.h>

#include <string.h>

enum { HOST, RACK, ZONE, REGION, LEVELS };

typedef struct topology {
  llmd_str producer;
  uint32_t least; /* the coarsest level that is close enough */
} topology;

static int close_enough(const topology *p, const llmd_batch *b, uint32_t i)
{
  uint32_t level;
  for (level = HOST; level <= p->least; level++)
    if (b->value[level].id && b->id[level][i] == b->value[level].id)
      return 1;
  return 0;
}

static int filter(const void *self, const llmd_batch *b, uint8_t *keep, uint32_t *order)
{
  uint32_t i, kept = 0;
  (void)order;
  if (!b->has_peer)
    return 0;
  for (i = 0; i < b->n; i++) {
    keep[i] = (uint8_t)close_enough(self, b, i);
    kept += keep[i];
  }
  if (kept == 0)
    memset(keep, 1, b->n);
  return 0;
}

static const llmd_enum levels[] = {{"host", HOST}, {"rack", RACK}, {"zone", ZONE}, {"region", REGION}, {"", HOST}, {0}};

static const llmd_param params[] = {
  {.name = "minAffinity", .type = LLMD_PARAM_ENUM, .offset = offsetof(topology, least), .preset = "host",
   .values = levels, .doc = "what must be shared at least"},
  {.name = "topologyProducerName", .type = LLMD_PARAM_STRING, .offset = offsetof(topology, producer),
   .doc = "producer of the topology (topology-extractor)"},
  {0}};

#define PLACE(what)                                                                                             \
  {.kind = LLMD_READ_ID, .flags = LLMD_READ_OPTIONAL | LLMD_READ_FROM_PARAM, .name = "Topology." what,           \
   .from = "topology-extractor", .from_offset = offsetof(topology, producer)}
static const llmd_read reads[] = {
  [HOST] = PLACE("hostname"), [RACK] = PLACE("rack"), [ZONE] = PLACE("zone"), [REGION] = PLACE("region"), {0}};

const llmd_plugin llmd__topology_affinity_filter = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "topology-affinity-filter", .summary = "keeps endpoints close to the one an earlier stage picked",
  .kind = LLMD_FILTER, .stability = LLMD_ALPHA, .self_size = sizeof(topology), .params = params, .reads = reads,
  .filter = filter};
LLMD_MODULE(&llmd__topology_affinity_filter);
