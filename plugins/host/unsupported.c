/* Types of the reference that would change a decision and are not here. Their names are known, so that the answer is
 * "not implemented" with the reason (the summary), not "unknown". A descriptor of kind 0 is nothing else than that. */
#include <llmd/plugin.h>

#define UNSUPPORTED(name_, state, reason)                                                           \
  {.size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI, .type = name_, .summary = reason, .kind = 0, \
   .stability = (state), .self_size = 1}

const llmd_plugin llmd__burst_prefix_cache_producer = UNSUPPORTED(
  "burst-prefix-cache-producer", LLMD_ALPHA, "holds requests back to place them together, which a decision cannot do");
const llmd_plugin llmd__p2p_source_producer = UNSUPPORTED(
  "p2p-source-producer", LLMD_ALPHA, "needs to know which cache tier of another endpoint holds the prefix");
const llmd_plugin llmd__pd_profile_handler = UNSUPPORTED(
  "pd-profile-handler", LLMD_DEPRECATED, "deprecated since 0.7; use disagg-profile-handler");

LLMD_MODULE(&llmd__burst_prefix_cache_producer, &llmd__p2p_source_producer, &llmd__pd_profile_handler);
