/* llmd/request.h: one request, from the host's bytes to what a decision needs.
 *
 * A request is memory the caller owns (llmd_request_size bytes, no hidden allocation, nothing to free). Life:
 *
 *    init ──► line, header*, feed* ──► llmd_decide (scheduler.h) ──► commit, reports ──► reset ──► ...
 *
 * It belongs to one thread at a time and to no lane; thousands may stand half-fed side by side. The bytes fed are read
 * once, as they come, in pieces of any size; nothing is copied out of them except the model, salts and other short
 * strings, and (LLMD_FEED_COPY) the pieces themselves. */
#ifndef LLMD_REQUEST_H
#define LLMD_REQUEST_H

#include <llmd/error.h>
#include <llmd/types.h>

LLMD_BEGIN

typedef struct llmd_request llmd_request;

/* Sizes and caps; 0 = the default in brackets. A cap that is reached gives LLMD_E_LIMIT, never a cut value. */
typedef struct llmd_request_options {
  uint32_t size;
  uint32_t max_headers;  /* [64] headers kept */
  uint64_t max_body;     /* [16 MiB] bytes of body accepted in all */
  uint32_t text_bytes;   /* [8 KiB] for copies of model, salt, headers, ... */
  uint32_t copy_bytes;   /* [0] for bodies fed with LLMD_FEED_COPY */
  uint32_t max_pieces;   /* [64] pieces fed with LLMD_FEED_KEEP that do not adjoin */
  uint32_t max_segments; /* [1024] runs of prompt text, ids or attachments */
  uint32_t max_keys;     /* [65536] object keys in a body */
  uint32_t max_tokens;   /* [1048576] token ids in a body */
  uint32_t max_edits;    /* [32] splices */
  uint32_t max_blocks;   /* [2048] block keys kept from decide to commit */
  uint32_t max_values;   /* [0] values of columns that the host sets (llmd_request_set_column), all columns together */
  uint32_t max_endpoints; /* [64] endpoint ids in a subset or exclude list */
  uint32_t reserved;
} llmd_request_options;

/* Bytes needed for these options (NULL = defaults). Never fails. */
LLMD_API size_t llmd_request_size(const llmd_request_options *options);

/* Makes a request in mem (aligned for any type, len >= llmd_request_size). *out == mem on success. */
LLMD_API int llmd_request_init(void *mem, size_t len, const llmd_request_options *options, llmd_request **out);

/* Forgets everything but the options. Bytes fed with KEEP may be freed after this call. */
LLMD_API void llmd_request_reset(llmd_request *r);

/* The request line: path with or without query; copied. Decides the dialect (see llmd_dialect). Optional: without it
 * the path is /v1/completions, as in the reference. Call it before the first feed. */
LLMD_API int llmd_request_line(llmd_request *r, const char *method, size_t method_len, const char *path,
                               size_t path_len);

/* One header; name in any case; both are copied. Of a repeated header the last counts. Headers may come before or
 * after the body. Routing headers that only the library may set are dropped here (facts: llm-d-router.md §5). */
LLMD_API int llmd_request_header(llmd_request *r, const char *name, size_t name_len, const char *value,
                                 size_t value_len);
/* 1: a routing header that only the library may set, in any case (the ones that llmd_request_header drops): a proxy
 * passes none of a client's on, neither to the engine nor in an answer. 0: any other. */
LLMD_API int llmd_header_owned(const char *name, size_t len);

#define LLMD_FEED_KEEP 0u      /* the host keeps ptr[0..len) unchanged until reset */
#define LLMD_FEED_COPY 1u      /* the request copies it (options.copy_bytes) */
#define LLMD_FEED_FINAL 2u     /* the body ends here; ptr may be NULL and len 0 */
/* with FINAL: the host can show no more, the real body is longer. Decided all the same */
#define LLMD_FEED_TRUNCATED 4u

/* The next piece of the body. Returns 0, or the first error that the body contains (also from later calls until reset);
 * llmd_request_info.error_offset says where. Byte ranges are checked as they come: strict RFC 8259, UTF-8, depth 64. */
LLMD_API int llmd_request_feed(llmd_request *r, const char *ptr, size_t len, uint32_t flags);

/* What kind of body the path claims. */
#define LLMD_DIALECT_OPENAI_CHAT 1u
#define LLMD_DIALECT_OPENAI_COMPLETIONS 2u
#define LLMD_DIALECT_OPENAI_RESPONSES 3u
#define LLMD_DIALECT_OPENAI_EMBEDDINGS 4u
#define LLMD_DIALECT_ANTHROPIC_MESSAGES 5u
#define LLMD_DIALECT_VLLM_GENERATE 6u
#define LLMD_DIALECT_SGLANG_GENERATE 7u
/* claimed by the openai parser, no prompt of its own (conversations, images, render) */
#define LLMD_DIALECT_OPENAI_OTHER 8u
#define LLMD_DIALECT_PASSTHROUGH 9u  /* anything else: not parsed */

#define LLMD_REQUEST_FINAL 1u      /* the body is complete */
#define LLMD_REQUEST_TRUNCATED 2u  /* only a prefix was shown */
#define LLMD_REQUEST_STREAM 4u     /* "stream": true */
#define LLMD_REQUEST_MULTIMODAL 8u /* has images, audio, video or files */
#define LLMD_REQUEST_TOKEN_IDS 16u /* the prompt came as token ids */
#define LLMD_REQUEST_NO_BODY 32u   /* FINAL without a byte */
#define LLMD_REQUEST_SATURATED 64u /* max_tokens or priority is beyond int64 and was cut to its limit */

/* What was found. Strings are borrowed until reset (those of the body: until the next feed); a missing one has ptr
 * NULL. */
typedef struct llmd_request_info {
  uint32_t size;
  uint32_t dialect;
  uint32_t flags;
  int32_t error;          /* 0 or the error that feed returned */
  uint64_t error_offset;  /* byte of the body where it was found */
  uint64_t body_bytes;    /* bytes fed so far */
  llmd_str path;
  llmd_str model;         /* of the body, unescaped */
  llmd_str cache_salt;    /* cache_salt, or SGLang's extra_key */
  llmd_str lora;          /* SGLang's lora_path (vLLM names the adapter as the model) */
  llmd_str request_id;    /* x-request-id */
  llmd_str fairness_id;   /* x-llm-d-inference-fairness-id or its old alias */
  llmd_str objective;     /* x-llm-d-inference-objective or its old alias */
  llmd_str model_rewrite; /* x-llm-d-model-name-rewrite or its old alias */
  llmd_str session;       /* x-session-id */
  llmd_str session_token; /* x-session-token */
  double slo_ttft_ms;     /* x-llm-d-slo-ttft-ms or its old alias; NaN when absent or not a number */
  double slo_tpot_ms;
  int64_t max_tokens;     /* max_completion_tokens, max_tokens, max_output_tokens, max_new_tokens, ...; -1 = absent */
  int64_t priority;       /* the body's "priority" (vLLM); 0 = absent */
  uint32_t prompts;       /* number of prompts (a list of strings or of id lists counts each) */
  uint32_t segments;      /* number of segments (llmd_request_segment) */
  uint64_t prompt_bytes;  /* bytes of prompt text, still escaped */
  uint64_t token_ids;     /* ids in the body's prompt */
} llmd_request_info;

/* Fills *out (out->size set by the caller). Any time after init. */
LLMD_API int llmd_request_get(const llmd_request *r, llmd_request_info *out);

/* A run of prompt, in the order in which the engine's template sees it: tools, then system, then messages. A body that
 * has two kinds of prompt counts as ids, else as text, else as messages. */
#define LLMD_SEGMENT_TEXT 1u   /* a JSON string's inside, still escaped when `escaped` */
#define LLMD_SEGMENT_ROLE 2u   /* a message's role */
#define LLMD_SEGMENT_TOOLS 3u  /* raw JSON: the tools, or the arguments of an earlier tool call */
#define LLMD_SEGMENT_IDS 4u    /* a JSON array of token ids, brackets included */
#define LLMD_SEGMENT_MEDIA 5u  /* image, audio, video or file: an opaque value, named by its bytes */

typedef struct llmd_segment {
  uint32_t size;
  uint32_t kind;
  uint32_t prompt;  /* 0-based prompt it belongs to */
  uint32_t escaped; /* 1: the bytes contain JSON escapes */
  uint64_t offset;  /* place in the body */
  uint64_t bytes;
} llmd_segment;

/* Segment i (0-based). LLMD_E_NONE past the last. */
LLMD_API int llmd_request_segment(const llmd_request *r, uint32_t i, llmd_segment *out);

/* The value of a header that was given (name in lower case), or LLMD_E_NONE. Borrowed until reset. */
LLMD_API int llmd_request_find_header(const llmd_request *r, const char *name, size_t len, llmd_str *out);

/* What the host knows better than the body. All of it is forgotten by reset. */

/* Real token ids of the prompt (from a tokenizer). Borrowed until reset. Suppresses the token producers. */
LLMD_API int llmd_request_set_tokens(llmd_request *r, const uint32_t *ids, size_t n);
/* There are none to be had: decide without them (llmd_decide says LLMD_NEED_TOKENS no more). */
LLMD_API int llmd_request_no_tokens(llmd_request *r);
/* The name of the prompt's tokens in the region's cache (llmd_pool_tokens_put, pool.h), once llmd_decide has looked for
 * them; stays until reset. LLMD_E_NONE: it has not, since nothing wants them, or the prompt is no text. */
LLMD_API int llmd_request_token_key(const llmd_request *r, llmd_key *out);
/* What stands at placeholder tokens among them: an image, a video, ... as the renderer names it (vLLM: the item's hash).
 * The exact prefix index tells two images apart by it; without it a prompt with attachments is unknown there from the
 * first of them on. */
typedef struct llmd_feature {
  uint64_t offset, length; /* of its placeholder, in tokens */
  llmd_str hash;
} llmd_feature;
/* In the order of the prompt, none overlapping (else LLMD_E_INVALID). Borrowed until reset. */
LLMD_API int llmd_request_set_features(llmd_request *r, const llmd_feature *features, size_t n);
/* Scheduling priority (the InferenceObjective's); negative = sheddable. Default 0. */
LLMD_API int llmd_request_set_priority(llmd_request *r, int32_t priority);
/* The model to route and to write into the body instead of its own (copied; len 0 takes it back). Adds the splices. */
LLMD_API int llmd_request_set_model(llmd_request *r, const char *ptr, size_t len);
/* Asks the engine to say at the end of a stream what it used: llmd_request_edits gets the splice that makes
 * stream_options.include_usage true. Returns 1 when it does; 0 when nothing is to be asked for: the body is not a whole
 * and sound one of OpenAI chat/completions or completions with "stream": true, or it says something itself that is for
 * the engine to take or to refuse: a stream_options that is no object (null, ...), an include_usage that is neither false
 * nor null (true, "yes", 1, ...). 1 means that the client did not ask: the chunk that carries nothing but the usage is
 * not for it. */
LLMD_API int llmd_request_ask_usage(llmd_request *r);
/* Candidates: only these (an empty list, n == 0 with ids != NULL, means none) / never these. Copied. */
LLMD_API int llmd_request_set_subset(llmd_request *r, const llmd_endpoint_id *ids, size_t n);
LLMD_API int llmd_request_set_exclude(llmd_request *r, const llmd_endpoint_id *ids, size_t n);
/* The endpoint that an earlier stage has picked, when that stage was decided elsewhere: what topology plugins compare
 * the candidates with until the profile handler names another. It need not be a candidate. 0 takes it back. */
LLMD_API int llmd_request_set_peer(llmd_request *r, llmd_endpoint_id id);
/* Values of the endpoint x request column `attribute` (llmd_pool_attribute, pool.h) for some endpoints; the others are
 * unknown. Copied (options.max_values). Suppresses the attribute's producer for this request. */
LLMD_API int llmd_request_set_column(llmd_request *r, uint32_t attribute, const llmd_endpoint_id *ids,
                                     const double *values, size_t n);

/* One splice: replace body[offset .. offset+removed) by text (may be empty). Sorted, never overlapping. text is
 * borrowed until reset. Everything outside the splices is to be sent byte for byte. */
typedef struct llmd_edit {
  uint64_t offset;
  uint64_t removed;
  llmd_str text;
} llmd_edit;

/* The edits to apply: the model rewrite (every top-level "model"; a new member where a complete body has none), and the
 * removal of fields that a client must not set: kv_transfer_params, ec_transfer_params, disaggregated_params,
 * bootstrap_*, data_parallel_rank, routed_dp_rank, disagg_prefill_dp_rank, and mm_* but for mm_processor_kwargs, from
 * the top level and from sampling_params, vllm_xargs, extra_args and extra_body; and what
 * llmd_request_ask_usage asked for. What they leave is valid JSON. Two that insert may have one place: in this order. Of
 * a truncated body only the prefix is edited. Writes at most cap; returns the count (may exceed cap), or the body's error:
 * a body that was refused could not be searched, so do not send it on. */
LLMD_API int llmd_request_edits(const llmd_request *r, llmd_edit *out, size_t cap);

LLMD_END
#endif
