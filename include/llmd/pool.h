/* llmd/pool.h: the endpoints, what is known about them, and who may be told.
 *
 * A pool is a process's handle on a region. One process at a time is the *writer*: it adds endpoints, sets columns,
 * publishes, and ticks. Any number of others attach and only decide. Writers change a staging copy; llmd_pool_publish
 * makes it visible to all lanes at once, by one atomic store. Functions marked (writer) must not run in two threads at
 * a time; they never block a lane that is deciding. */
#ifndef LLMD_POOL_H
#define LLMD_POOL_H

#include <llmd/alloc.h>
#include <llmd/error.h>
#include <llmd/log.h>
#include <llmd/region.h>
#include <llmd/request.h>
#include <llmd/types.h>

LLMD_BEGIN

typedef struct llmd_pool llmd_pool;

#define LLMD_POOL_WRITER 1u   /* this process writes */
#define LLMD_POOL_TAKEOVER 2u /* with WRITER: the host knows that the former writer is dead */

typedef struct llmd_pool_options {
  uint32_t size;
  uint32_t flags;
  const llmd_allocator *alloc; /* NULL = malloc */
  llmd_log_fn log;             /* NULL = silent */
  void *log_ud;
  void *mem; /* a formatted region, kept mapped by the caller until close; NULL = allocate and format one */
  size_t mem_len;
  const llmd_region_options *region; /* with mem == NULL */
  uint64_t stale_ns;           /* [2 s] metrics older than this are stale */
  uint64_t lease_ns;           /* [5 min] a ticket nobody reports on is given back after this */
  uint64_t owner;              /* [a number of the handle] who this process is, for llmd_pool_reclaim: its pid, ... */
} llmd_pool_options;

/* options NULL = a pool of this process alone, on the heap, as writer. LLMD_E_BUSY: another writer holds the region. */
LLMD_API int llmd_pool_open(const llmd_pool_options *options, llmd_pool **out, llmd_err *err);
/* NULL allowed. All schedulers on it must be freed before. The region's content stays. */
LLMD_API void llmd_pool_close(llmd_pool *pool);
/* In a child after fork(), before it makes lanes: from now on its copy of the handle is `owner`'s (not 0). Without
 * LLMD_POOL_WRITER in flags it only reads: the parent, or one of the other children, goes on writing. */
LLMD_API int llmd_pool_forked(llmd_pool *pool, uint64_t owner, uint32_t flags);
/* (writer) The host knows that the process `owner` is dead: its lanes and what they pinned are free again, and so is
 * room of plugin state that it was making; its requests in flight are given back, unless another process has reported on
 * them since it decided. Returns the number of lanes. Until then a dead reader's pin keeps one buffer from being published
 * into, and its lanes count against max_lanes. */
LLMD_API int llmd_pool_reclaim(llmd_pool *pool, uint64_t owner);

/* ---- endpoints (writer) ----------------------------------------------------------------------------------------- */
typedef struct llmd_label {
  llmd_str key, value;
} llmd_label;

/* Label keys the reference gives a meaning (all others are the user's). */
#define LLMD_LABEL_ROLE "llm-d.ai/role"
#define LLMD_LABEL_ENGINE "llm-d.ai/engine-type"

typedef struct llmd_endpoint {
  uint32_t size;
  uint32_t rank;    /* data-parallel rank */
  llmd_str name;    /* unique with space; "" = address:port */
  llmd_str space;   /* namespace; "" = "default" */
  llmd_str address; /* numeric address (IPv6 without brackets) or host name */
  uint32_t port;
  uint32_t n_labels;
  const llmd_label *labels;
} llmd_endpoint;

/* A new endpoint. LLMD_E_DUPLICATE when (address, port, rank) or (space, name) is there. */
LLMD_API int llmd_pool_add(llmd_pool *pool, const llmd_endpoint *e, llmd_endpoint_id *out);
/* Gone: its id is invalid from now on, its columns, charges and index entries are dropped. */
LLMD_API int llmd_pool_remove(llmd_pool *pool, llmd_endpoint_id id);
/* on = 1: no new requests go there; those in flight stay. */
LLMD_API int llmd_pool_drain(llmd_pool *pool, llmd_endpoint_id id, int on);
LLMD_API int llmd_pool_set_labels(llmd_pool *pool, llmd_endpoint_id id, const llmd_label *labels, uint32_t n);
/* By "space/name" or by "address:port" (rank 0) or "address:port/rank". 0 = none. Also for readers (the published
 * state). */
LLMD_API llmd_endpoint_id llmd_pool_find(const llmd_pool *pool, const char *text, size_t len);
/* Reads the reference's file-discovery format (YAML or JSON, at most 1 MiB) and makes the staging copy equal to it:
 * new ones added, missing ones removed, labels updated, unchanged ones keep their id. Nothing changes on error.
 * Returns the number of endpoints. */
LLMD_API int llmd_pool_load(llmd_pool *pool, const char *text, size_t len, llmd_err *err);

/* ---- columns (writer) ------------------------------------------------------------------------------------------- */
#define LLMD_TYPE_F64 1u
#define LLMD_TYPE_ID 2u  /* a string, interned */
#define LLMD_TYPE_SET 3u /* a set of strings */
#define LLMD_SCOPE_ENDPOINT 1u         /* one value per endpoint, set here */
#define LLMD_SCOPE_ENDPOINT_REQUEST 2u /* one value per endpoint and request, produced or set on the request */

/* The number of attribute name/producer (producer NULL = the pool's own metrics), registered when new. Same name with
 * another type or scope: LLMD_E_TYPE. Non-writers find only what is registered (LLMD_E_NONE). LLMD_E_FULL: no room;
 * besides the pool's own sets there is room for one. Returns it or a code. */
LLMD_API int llmd_pool_attribute(llmd_pool *pool, const char *name, const char *producer, uint32_t type,
                                 uint32_t scope);

/* The pool's own attributes: their numbers are fixed. */
#define LLMD_ATTR_WAITING 0u      /* WaitingQueueSize */
#define LLMD_ATTR_RUNNING 1u      /* RunningRequestsSize */
#define LLMD_ATTR_KV_USAGE 2u     /* KVCacheUsagePercent, 0..1 */
#define LLMD_ATTR_MAX_MODELS 3u   /* MaxActiveModels */
#define LLMD_ATTR_BLOCK_SIZE 4u   /* CacheBlockSize, tokens */
#define LLMD_ATTR_NUM_BLOCKS 5u   /* CacheNumBlocks */
#define LLMD_ATTR_ACTIVE_MODELS 6u  /* set */
#define LLMD_ATTR_WAITING_MODELS 7u /* set */
#define LLMD_ATTR_HASH_ALGO 8u      /* text: how the engine names blocks (CacheHashAlgorithm: sha256, sha256_cbor, ...) */

/* One value; NaN = unknown. Infinite, negative or absurd values of the pool's own attributes are refused (LLMD_E_RANGE)
 * and leave the value unknown: a bad sample never improves an endpoint. */
LLMD_API int llmd_pool_set(llmd_pool *pool, llmd_endpoint_id id, uint32_t attribute, double value);
LLMD_API int llmd_pool_set_text(llmd_pool *pool, llmd_endpoint_id id, uint32_t attribute, const char *ptr, size_t len);
/* The members of a set. LLMD_E_FULL: the pool's strings are full, the names that were new are left out. */
LLMD_API int llmd_pool_set_models(llmd_pool *pool, llmd_endpoint_id id, uint32_t attribute, const llmd_str *names,
                                  uint32_t n);
/* The endpoint's metrics are as of `mono` (needed after set; scrape does it). */
LLMD_API int llmd_pool_touch(llmd_pool *pool, llmd_endpoint_id id, uint64_t mono);
/* A metrics page in Prometheus text as the engine serves it; the engine is told by the label LLMD_LABEL_ENGINE (vllm,
 * sglang; default vllm). Returns the number of columns set; a page without any leaves the endpoint as it was. */
LLMD_API int llmd_pool_scrape(llmd_pool *pool, llmd_endpoint_id id, const char *page, size_t len, uint64_t mono);

/* Makes the staging copy visible. LLMD_E_BUSY: every spare buffer is pinned by a deciding lane (try again). */
LLMD_API int llmd_pool_publish(llmd_pool *pool, const llmd_now *now);
/* Applies what lanes posted, gives back expired tickets, sweeps in slices. Writes the next time (mono) it wants to
 * run. */
LLMD_API int llmd_pool_tick(llmd_pool *pool, const llmd_now *now, uint64_t *next);

/* ---- health (shared by all processes on the region) ------------------------------------------------------------- */
/* An endpoint on which requests fail one after another (LLMD_REPORT_ERROR, scheduler.h; one that works between them,
 * LLMD_REPORT_END, begins the count again) is ejected: no candidate, until its time is over. Then it is half-open: one
 * request at a time is let through. When it works (LLMD_REPORT_FIRST, _END) the endpoint is well again; when it fails, it
 * is out for twice as long. Where ejections leave a request nobody to go to, it may go to all (LLMD_LADDER_EJECTED). New
 * endpoints are well, and what is said of one that left is forgotten. */
typedef struct llmd_health_options {
  uint32_t size;
  uint32_t failures;     /* as many in a row within window_ns eject, at most 8; 0 = never. Without options: 3 */
  uint64_t window_ns;    /* [10 s] */
  uint64_t first_ns;     /* [1 s] how long, the first time */
  uint64_t longest_ns;   /* [30 s] and at most; a trial nobody reports on is over after this, too */
  uint32_t most_percent; /* [50] of the published endpoints that may be out at a time */
  uint32_t reserved;
} llmd_health_options;
/* (writer) For all processes, from now on; stays with the region. NULL = the defaults. LLMD_E_RANGE: more than 8
 * failures or 100 percent. Spans count in milliseconds. */
LLMD_API int llmd_pool_set_health(llmd_pool *pool, const llmd_health_options *options);

#define LLMD_HEALTH_WELL 0u
#define LLMD_HEALTH_EJECTED 1u   /* until then; after it the next request that wants to may try it */
#define LLMD_HEALTH_HALF_OPEN 2u /* a request tries it; after then another may */
/* How an endpoint is: *until is mono ns, 0 when it is well. Any process. LLMD_E_STALE: no such endpoint. */
LLMD_API int llmd_pool_health(const llmd_pool *pool, llmd_endpoint_id id, uint32_t *state, uint64_t *until);

/* ---- tokens ------------------------------------------------------------------------------------------------------ */
/* A cache in the region of what renderers made of prompts (llmd_region_options.token_bytes of its state_bytes, made at
 * first need): llmd_decide finds it there before it asks (LLMD_NEED_TOKENS). What was stored longest ago goes first. */

/* The name of a prompt's tokens: made with the region's secret of all that a renderer sees of the request (dialect,
 * model as rewritten, the body but for how to sample and send), so the same before and after its edits. For whoever
 * renders what others ask for; a request that was decided has it (llmd_request_token_key). LLMD_E_STATE: the body is
 * not complete, or was cut. LLMD_E_NONE: not the text prompt of an OpenAI chat or completion. */
LLMD_API int llmd_pool_token_key(const llmd_pool *pool, const llmd_request *r, llmd_key *out);
/* (writer) Files the tokens of a prompt, and what stands at placeholders among them (request.h), all copied.
 * LLMD_E_INVALID: features out of order or overlapping.
 * LLMD_E_LIMIT: larger than half the cache, or more than 64 features or 8 KiB of their names: not kept. LLMD_E_FULL: the
 * region has no room for the cache. */
LLMD_API int llmd_pool_tokens_put(llmd_pool *pool, const llmd_key *key, const uint32_t *ids, size_t n,
                                  const llmd_feature *features, size_t n_features);

/* ---- policies' texts --------------------------------------------------------------------------------------------- */
/* A policy file that changes while traffic flows is read by one process, tried, and put here; the others see that their
 * schedulers are outdated (scheduler.h), compile the new text off the deciding path and exchange pointers.
 *
 * (writer) Files the text of the policy file `file` (name as in the configuration, at most 255 bytes), copied, in place
 * of the one before. The name is all that counts: files of one name in two folders are one to the region. *number (NULL =
 * not wanted) counts its texts from 1; the same text again keeps its number. LLMD_E_LIMIT: longer than 64 KiB.
 * LLMD_E_FULL: no room in the region, 128 KiB for each name. LLMD_E_DUPLICATE: a name was put before that has the same
 * hash: call the file something else. */
LLMD_API int llmd_pool_put_policy(llmd_pool *pool, const char *file, size_t file_len, const char *text, size_t len,
                                  uint64_t *number);
/* The text now, copied into buf (cap bytes; 65536 hold any). LLMD_E_NONE: there is none. LLMD_E_LIMIT: larger than cap
 * (*len says how large). LLMD_E_BUSY: replaced each time it was looked at. Any thread, any process. */
LLMD_API int llmd_pool_get_policy(const llmd_pool *pool, const char *file, size_t file_len, char *buf, size_t cap,
                                  size_t *len, uint64_t *number);

/* ---- tables of the host (writer of this process; schedulers see them at once) ----------------------------------- */
/* InferenceObjective: name -> priority. remove: priority NULL. */
LLMD_API int llmd_pool_objective(llmd_pool *pool, const char *name, size_t len, const int32_t *priority);
/* InferenceModelRewrite: requests for `model` ("" = every model) go to one of the targets, drawn by weight. n = 0
 * removes. Sum of weights 0 = uniform; when some have weight, weightless ones are never drawn. */
typedef struct llmd_rewrite_target {
  llmd_str model;
  uint32_t weight;
  uint32_t reserved;
} llmd_rewrite_target;
LLMD_API int llmd_pool_rewrite(llmd_pool *pool, const char *model, size_t len, const llmd_rewrite_target *targets,
                               uint32_t n);

/* ---- reading the published state (any process) ------------------------------------------------------------------ */
/* How many endpoints are published. */
LLMD_API uint32_t llmd_pool_count(const llmd_pool *pool);
/* Value of an F64 attribute; NaN unknown or no such endpoint. */
LLMD_API double llmd_pool_value(const llmd_pool *pool, llmd_endpoint_id id, uint32_t attribute);
/* Value of an ID attribute, NUL-terminated, borrowed as long as it is published that some endpoint has it (copy what is
 * to stay). LLMD_E_NONE: unknown. LLMD_E_STALE: no such endpoint. LLMD_E_TYPE: no such attribute. */
LLMD_API int llmd_pool_text(const llmd_pool *pool, llmd_endpoint_id id, uint32_t attribute, llmd_str *out);
/* Members of a set attribute (loaded adapters): at most cap into out, NUL-terminated, borrowed as long as it is
 * published that some endpoint has them (copy what is to stay). Returns how many there are. LLMD_E_STALE: no such
 * endpoint. LLMD_E_TYPE: not a set. */
LLMD_API int llmd_pool_models(const llmd_pool *pool, llmd_endpoint_id id, uint32_t attribute, llmd_str *out, uint32_t cap);
/* Requests and tokens in flight by the ledger. */
LLMD_API int llmd_pool_inflight(const llmd_pool *pool, llmd_endpoint_id id, int64_t *requests, int64_t *tokens);
/* Calls fn for each published endpoint, in row order, until it returns non-zero. Strings are borrowed for the call. */
typedef int (*llmd_endpoint_fn)(void *ud, llmd_endpoint_id id, const llmd_endpoint *e);
LLMD_API int llmd_pool_each(const llmd_pool *pool, llmd_endpoint_fn fn, void *ud);

LLMD_END
#endif
