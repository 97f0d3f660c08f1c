/* The one list of what is built in. A type that is not here, nor in a loaded module, does not exist. */
#include "plugin/registry.h"

/* One row per descriptor; the files are in plugins/. */
#define LLMD__BUILTINS(X) \
  /* scorer */                                        \
  X(llmd__active_request_scorer)                      \
  X(llmd__context_length_aware)                       \
  X(llmd__endpoint_attribute_scorer)                  \
  X(llmd__header_label_affinity_scorer)               \
  X(llmd__kv_cache_utilization_scorer)                \
  X(llmd__latency_scorer)                             \
  X(llmd__load_aware_scorer)                          \
  X(llmd__lora_affinity_scorer)                       \
  X(llmd__mm_embeddings_cache_scorer)                 \
  X(llmd__multicluster_kv_cache_utilization_scorer)   \
  X(llmd__multicluster_queue_scorer)                  \
  X(llmd__no_hit_lru_scorer)                          \
  X(llmd__prefix_cache_scorer)                        \
  X(llmd__multicluster_prefix_cache_scorer)           \
  X(llmd__queue_scorer)                               \
  X(llmd__running_requests_size_scorer)               \
  X(llmd__session_affinity_scorer)                    \
  X(llmd__session_affinity_filter)                    \
  X(llmd__multicluster_session_affinity_filter)       \
  X(llmd__token_load_scorer)                          \
  X(llmd__topology_affinity_scorer)                   \
  /* filter */                                        \
  X(llmd__endpoint_attribute_filter)                  \
  X(llmd__header_based_testing_filter)                \
  X(llmd__label_selector_filter)                      \
  X(llmd__by_label_selector)                          \
  X(llmd__by_label)                                   \
  X(llmd__prefix_cache_affinity_filter)               \
  X(llmd__decode_filter)                              \
  X(llmd__prefill_filter)                             \
  X(llmd__encode_filter)                              \
  X(llmd__slo_headroom_tier_filter)                   \
  X(llmd__topology_affinity_filter)                   \
  X(llmd__utilization_filter)                         \
  /* picker */                                        \
  X(llmd__max_score_picker)                           \
  X(llmd__random_picker)                              \
  X(llmd__weighted_random_picker)                     \
  /* profile */                                       \
  X(llmd__data_parallel_profile_handler)              \
  X(llmd__prefix_based_pd_decider)                    \
  X(llmd__always_disagg_pd_decider)                   \
  X(llmd__always_disagg_multimodal_decider)           \
  X(llmd__disagg_profile_handler)                     \
  X(llmd__header_profile_handler)                     \
  X(llmd__single_profile_handler)                     \
  /* producer */                                      \
  X(llmd__approx_prefix_cache_producer)               \
  X(llmd__multicluster_approx_prefix_cache_producer)  \
  X(llmd__inflight_load_producer)                     \
  X(llmd__precise_prefix_cache_producer)              \
  X(llmd__precise_prefix_cache_scorer)                \
  X(llmd__session_id_producer)                        \
  X(llmd__token_producer)                             \
  /* flow */                                          \
  X(llmd__concurrency_detector)                       \
  X(llmd__utilization_detector)                       \
  /* host */                                          \
  X(llmd__latency_slo_admitter)                       \
  X(llmd__probabilistic_admitter)                     \
  X(llmd__agent_identity)                             \
  X(llmd__disaggregatedset_rollout_screener)          \
  X(llmd__request_attribute_reporter)                 \
  X(llmd__destination_endpoint_served_verifier)       \
  X(llmd__disagg_headers_handler)                     \
  X(llmd__predicted_latency_producer)                 \
  X(llmd__mm_embeddings_cache_producer)               \
  X(llmd__core_metrics_extractor)                     \
  X(llmd__multicluster_metrics_extractor)             \
  X(llmd__topology_extractor)                         \
  X(llmd__models_data_extractor)                      \
  X(llmd__dcgm_extractor)                             \
  X(llmd__global_strict_fairness_policy)              \
  X(llmd__round_robin_fairness_policy)                \
  X(llmd__program_aware_fairness)                     \
  X(llmd__fcfs_ordering_policy)                       \
  X(llmd__edf_ordering_policy)                        \
  X(llmd__slo_deadline_ordering_policy)               \
  X(llmd__static_usage_limit_policy)                  \
  X(llmd__priority_holdback_policy)                   \
  X(llmd__soft_reflective_ceiling_policy)             \
  X(llmd__sheddable_eviction_filter)                  \
  X(llmd__priority_then_time_eviction_order_policy)   \
  X(llmd__openai_parser)                              \
  X(llmd__anthropic_parser)                           \
  X(llmd__vllmhttp_parser)                            \
  X(llmd__sglanghttp_parser)                          \
  X(llmd__vllmgrpc_parser)                            \
  X(llmd__vertexai_parser)                            \
  X(llmd__passthrough_parser)                         \
  X(llmd__metrics_data_source)                        \
  X(llmd__multicluster_metrics_data_source)           \
  X(llmd__models_data_source)                         \
  X(llmd__dcgm_data_source)                           \
  X(llmd__k8s_notification_source)                    \
  X(llmd__endpoint_notification_source)               \
  X(llmd__file_discovery)                             \
  X(llmd__multicluster_file_discovery)                \
  X(llmd__burst_prefix_cache_producer)                \
  X(llmd__p2p_source_producer)                        \
  X(llmd__pd_profile_handler)

#define DECLARE(name) extern const llmd_plugin name;
#define ROW(name) &name,
LLMD__BUILTINS(DECLARE)

static const llmd_plugin *const list[] = {LLMD__BUILTINS(ROW) NULL};

const llmd_plugin *const *llmd__builtins(void)
{
  return list;
}
