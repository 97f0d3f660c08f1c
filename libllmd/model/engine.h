/* Engines: which series of a metrics page means what, for the engines known by name and for those that a configuration
 * describes. */
#ifndef LLMD_MODEL_ENGINE_H
#define LLMD_MODEL_ENGINE_H

#include <llmd/types.h>

#include "base/exposition.h"

#define LLMD__SPEC_LABELS_MAX 8
#define LLMD__CUSTOM_MAX 32

/* One series of a page: name{label=value,...}. name.len == 0: not set, matches nothing. */
typedef struct llmd__metric_spec {
  llmd_str name;
  uint32_t n_labels;
  llmd__label labels[LLMD__SPEC_LABELS_MAX];
} llmd__metric_spec;

/* Reads a specification; *out points into text, which must outlive it. Values may stand in double quotes (with the
 * escapes \\ \" \n); blanks are free; an empty text gives a specification that is not set; of a label named twice the
 * last counts; labels that begin with __ are left out. The last three are the reference's rules. LLMD_E_SYNTAX;
 * LLMD_E_LIMIT: too many labels; LLMD_E_UNSUPPORTED: a matcher other than =, which the reference ignores. */
int llmd__metric_spec_parse(const char *text, size_t len, llmd__metric_spec *out);

/* 1 if the series has the name and every label of the specification. */
int llmd__metric_spec_match(const llmd__metric_spec *spec, const llmd__sample *s);

/* What an engine calls things. The strings are borrowed. */
typedef struct llmd__engine_spec {
  llmd_str name;
  llmd__metric_spec waiting, running, kv_usage;
  llmd__metric_spec lora;                      /* an info series whose value says when: the largest is the newest */
  llmd__metric_spec cache_info;                /* an info series with these two as labels; */
  llmd_str block_size_label, num_blocks_label; /* len 0: block_size and num_gpu_blocks */
  llmd_str hash_algo_label;                    /* how blocks are named; len 0: it does not say */
  llmd__metric_spec block_size, num_blocks;    /* for pages that have them as numbers, which win over the labels */
  const llmd__metric_spec *custom;             /* n_custom of them; the first LLMD__CUSTOM_MAX are read */
  uint32_t n_custom;
} llmd__engine_spec;

/* The engines that need no configuration: vllm, sglang, trtllm-serve, triton-tensorrt-llm, triton.
 * By name, NULL if unknown; the i-th, NULL past the end. */
const llmd__engine_spec *llmd__engine_find(const char *name, size_t len);
const llmd__engine_spec *llmd__engine_at(uint32_t i);

#endif
