/* llmd/scheduler.h: the decision.
 *
 *   scheduler = one configuration on one pool; shared by any number of threads, never changed.
 *   lane      = one thread's scratch memory for deciding; made after fork().
 *
 *   decide ──► ROUTED: the decision names endpoint, fallbacks, peers, headers; the ledger is charged
 *          ──► NEED_BODY / NEED_TOKENS: feed more, call again      ──► REJECTED: a typed reason
 *   commit ──► "it really went there": stateful plugins learn      ──► report: first token, tokens, done, failed
 *
 * A decision never blocks, makes no system call and, after a lane's first, allocates nothing. */
#ifndef LLMD_SCHEDULER_H
#define LLMD_SCHEDULER_H

#include <llmd/alloc.h>
#include <llmd/error.h>
#include <llmd/log.h>
#include <llmd/pool.h>
#include <llmd/request.h>
#include <llmd/types.h>

LLMD_BEGIN

typedef struct llmd_scheduler llmd_scheduler;
typedef struct llmd_lane llmd_lane;

/* where the reference is wrong or random, do the sensible thing (docs/compatibility.md) */
#define LLMD_COMPAT_SENSIBLE 0u
#define LLMD_COMPAT_STRICT 1u   /* reproduce the reference */
#define LLMD_FAIL_CLOSED 0u     /* no candidate left: reject with a reason */
#define LLMD_FAIL_OPEN 1u       /* ... any endpoint not draining, round robin */

/* What the reference's file does not hold; 0 = the default in brackets. */
typedef struct llmd_scheduler_options {
  uint32_t size;
  uint32_t compat;
  uint32_t fail;
  uint32_t explain;      /* 1: lanes keep the why of their last decision */
  uint32_t refuse_alpha; /* 1: alpha plugin types are refused, as the reference does without its flag */
  uint32_t max_tokens;   /* [131072] tokens of a prompt that are looked at */
  uint32_t reserved;
  const llmd_allocator *alloc; /* NULL = malloc */
  llmd_log_fn log;             /* warnings about the configuration, one of them by a decision; NULL = silent */
  void *log_ud;
  const char *module_dir;  /* directory of loadable plugins, NUL-terminated; NULL = built-ins only */
  uint64_t budget_ns;      /* [1 ms] for one decision; used only with clock */
  uint64_t (*clock)(void *ud); /* monotonic ns, for the budget only; NULL = no budget */
  void *clock_ud;
  /* Policies in another language (loader.h). All of these are used by llmd_scheduler_create alone. */
  const char *loader_dir; /* absolute folder of llmd-TYPE.so; NULL = module_dir, else where the library was installed to */
  const char *policy_dir; /* absolute folder that relative names of policy files are in; NULL = these are refused */
  /* Asked first for the text of a policy file (name as in the configuration): 1 = *text, borrowed until the scheduler is
   * made; 0 = not known here, so the region's text counts (llmd_pool_put_policy), else the file; negative: create fails
   * with it. NULL = never asked. */
  int (*policy)(void *ud, const llmd_str *file, llmd_str *text);
  void *policy_ud;
} llmd_scheduler_options;

/* Reads an EndpointPickerConfig (YAML or JSON; len 0 = the reference's default policy) and binds it to the pool. text
 * is not kept. On failure err has line, column and path. LLMD_E_BUSY: another process makes state in the region at this
 * moment and there is no room for both (try again). On a pool that writes this is a (writer) function. The pool must
 * outlive the scheduler. */
LLMD_API int llmd_scheduler_create(const llmd_scheduler_options *options, llmd_pool *pool, const char *text, size_t len,
                                   llmd_scheduler **out, llmd_err *err);
/* Drops the owner's reference; memory goes when the last lane has left. NULL allowed. */
LLMD_API void llmd_scheduler_free(llmd_scheduler *s);
/* The effective configuration after defaulting, as YAML (inert plugins marked), in pieces. */
LLMD_API int llmd_scheduler_write_config(const llmd_scheduler *s, llmd_write_fn fn, void *ud);

#define LLMD_LANE_WRITER 1u /* runs in the pool's writer thread: what plugins learn is applied at once, not posted */
/* A lane for the calling thread, made after fork(). LLMD_E_FULL: all lane slots of the region are taken. LLMD_E_DENIED:
 * LLMD_LANE_WRITER on a pool that does not write. */
LLMD_API int llmd_lane_create(llmd_scheduler *s, uint32_t flags, llmd_lane **out);
/* NULL allowed. A request in flight stays charged: report it on another lane. */
LLMD_API void llmd_lane_free(llmd_lane *lane);
/* From now on the lane decides by s (reload, canary). On failure the lane keeps the scheduler it had. Lane's thread. */
LLMD_API int llmd_lane_switch(llmd_lane *lane, llmd_scheduler *s);

/* The same in two steps, so that the deciding thread waits for nothing:
 *
 *    some other thread                                   the lane's thread, between two decisions
 *    llmd_lane_prepare(lane, s, &spare)  ── spare ──►    llmd_lane_take(lane, &spare)     (pointers are exchanged)
 *    llmd_spare_free(spare)              ◄─ spare ───    the spare now holds what the lane had
 *
 * A spare is everything that a lane needs to decide by s, the objects of its policies included. */
typedef struct llmd_spare llmd_spare;
/* Any thread, also while the lane decides; the lane must not be freed or switched meanwhile. LLMD_E_INVALID: s is on
 * another pool, or has another allocator. */
LLMD_API int llmd_lane_prepare(const llmd_lane *lane, llmd_scheduler *s, llmd_spare **out);
/* Lane's thread. Allocates nothing, cannot fail; made for another lane of the same pool, it serves as well. */
LLMD_API void llmd_lane_take(llmd_lane *lane, llmd_spare *spare);
/* NULL allowed. Any thread. */
LLMD_API void llmd_spare_free(llmd_spare *spare);

/* ---- deciding --------------------------------------------------------------------------------------------------- */
#define LLMD_ROUTED 1u
#define LLMD_NEED_BODY 2u   /* the body is not complete */
/* Token ids are wanted from whoever does I/O for the host: the configuration has a token-producer with a real tokenizer
 * (vllm), and the prompt is text that the region's cache does not know. llmd_request_set_tokens, or
 * llmd_request_no_tokens, and decide again. */
#define LLMD_NEED_TOKENS 3u
#define LLMD_QUEUED 4u      /* flow control holds it: tick and call again */
#define LLMD_REJECTED 5u

/* Reasons of REJECTED; llmd_reason_text gives the reference's spelling ("rejected-no-endpoints"), "" where it has
 * none. */
#define LLMD_REASON_NONE 0u
#define LLMD_REASON_NO_ENDPOINTS 1u  /* 503: nothing to choose from */
#define LLMD_REASON_SATURATED 2u     /* 429: filters left nothing */
#define LLMD_REASON_SHEDDABLE 3u     /* 429: priority < 0 while saturated */
#define LLMD_REASON_NO_TARGET 4u     /* 429: the profiles found no usable endpoint */
#define LLMD_REASON_BAD_REQUEST 5u   /* 400: the body cannot be used */
#define LLMD_REASON_PRECONDITION 6u  /* 412: Prefer: if-available, and nothing is cached */
#define LLMD_REASON_INTERNAL 7u      /* 500 */
LLMD_API const char *llmd_reason_text(uint32_t reason);

/* Steps of the ladder that were taken, as bits. */
#define LLMD_LADDER_PLUGIN 1u    /* a failing plugin was left out */
#define LLMD_LADDER_NO_INDEX 2u  /* decided without a prefix index */
#define LLMD_LADDER_STALE 4u     /* own counts of requests in flight in place of stale metrics */
#define LLMD_LADDER_ROBIN 8u     /* round robin over endpoints not known dead */
#define LLMD_LADDER_BUDGET 16u   /* the budget ran out */
#define LLMD_LADDER_OPEN 32u     /* failed open */
#define LLMD_LADDER_EJECTED 64u  /* everybody who was left is ejected: all of them were candidates */

/* Text inside a decision or response: text + off, len bytes. */
typedef struct llmd_span {
  uint32_t off, len;
} llmd_span;

typedef struct llmd_target {
  llmd_endpoint_id id;
  uint32_t profile; /* index in llmd_decision.profile */
  uint32_t port;
  uint32_t rank;
  uint32_t reserved;
  llmd_span address; /* host or address, without port */
  double score;      /* weighted total */
} llmd_target;

typedef struct llmd_profile_pick {
  llmd_span name;
  uint32_t state; /* 0 not run, 1 ran, 2 failed */
  uint32_t first, n; /* its targets: target[first .. first+n) */
  uint32_t reserved;
} llmd_profile_pick;

typedef struct llmd_header {
  llmd_span name, value;
} llmd_header;

#define LLMD_MAX_TARGETS 32
#define LLMD_MAX_PROFILES 16
#define LLMD_MAX_HEADERS 16

#define LLMD_DECISION_TRUNCATED 1u /* made on a prefix of the body (LLMD_FEED_TRUNCATED): never prefill apart from decode */

/* The result. Owned by the caller, self-contained: no pointer leaves it. `size` is set by the caller. */
typedef struct llmd_decision {
  uint32_t size;
  uint32_t status;
  uint32_t reason;
  uint32_t code;   /* HTTP status that fits: 200, 400, 412, 429, 500, 503 */
  uint32_t ladder; /* LLMD_LADDER_* bits */
  uint32_t primary;   /* profile whose first target is the destination, 0xffffffff when not ROUTED */
  uint32_t n_targets; /* of all profiles; the primary's come first: [0] destination, then fallbacks in order */
  uint32_t n_profiles;
  uint32_t n_headers; /* to set on the forwarded request; of a REJECTED one: on the answer to the client */
  uint32_t flags;  /* LLMD_DECISION_* bits */
  llmd_ticket ticket; /* 0 when the ledger is full */
  uint64_t seed;      /* as given: enough, with the record, to replay */
  double tokens;      /* of the prompt, 0 = unknown */
  llmd_target target[LLMD_MAX_TARGETS];
  llmd_profile_pick profile[LLMD_MAX_PROFILES];
  llmd_header header[LLMD_MAX_HEADERS];
  uint32_t text_len;
  char text[4092];
} llmd_decision;

/* Decides. Returns 0 and sets out->status, or a code on misuse. The same request may be decided again (its former
 * charge is given back first). Lane's thread; re-entrant on other lanes. */
LLMD_API int llmd_decide(llmd_lane *lane, llmd_request *r, const llmd_now *now, uint64_t seed, llmd_decision *out);

/* ---- what happened ---------------------------------------------------------------------------------------------- */
/* The request was sent to `used` (0 = the destination decided). Moves the charge, teaches the stateful plugins. From here
 * on the ticket is the host's: it stays charged, also past llmd_request_reset, until a report ends it or its lease does.
 * LLMD_E_STALE: there is no such endpoint any more; nothing has changed. */
LLMD_API int llmd_commit(llmd_lane *lane, llmd_request *r, const llmd_decision *d, llmd_endpoint_id used,
                         const llmd_now *now);

/* Somebody else routed this request, and it was sent to `used`: it is charged there, and the stateful plugins learn, as
 * after a decision; nothing is decided, counted as decided, or explained. *ticket (may be NULL) is for reports, 0 when
 * the ledger is full. LLMD_E_STATE: the body is not complete. LLMD_E_STALE: there is no such endpoint; nothing has
 * changed, but what an earlier decision on this request was charged is given back. */
LLMD_API int llmd_commit_routed(llmd_lane *lane, llmd_request *r, llmd_endpoint_id used, const llmd_now *now,
                                llmd_ticket *ticket);

#define LLMD_REPORT_FIRST 1u     /* first token seen */
#define LLMD_REPORT_PROGRESS 2u  /* n tokens so far */
#define LLMD_REPORT_END 3u       /* done: everything is given back */
#define LLMD_REPORT_ERROR 4u     /* the endpoint failed: given back, counted against its health */
#define LLMD_REPORT_CANCEL 5u    /* the client left: given back */

/* Headers to add to the response. Owned by the caller, self-contained. `size` is set by the caller. */
typedef struct llmd_response {
  uint32_t size;
  uint32_t n_headers;
  llmd_header header[LLMD_MAX_HEADERS]; /* spans of text */
  uint32_t text_len;
  char text[2044];
} llmd_response;

/* The response's headers have come from `served` (0 = the ticket's endpoint): stateful plugins are told, and *out says
 * what to add for the client (a session token, ...). LLMD_E_STALE: neither ticket nor endpoint is known any more. */
LLMD_API int llmd_respond(llmd_lane *lane, llmd_ticket ticket, llmd_endpoint_id served, const llmd_now *now,
                          llmd_response *out);

/* What the response said; NaN = not said. */
typedef struct llmd_usage {
  uint32_t size;
  uint32_t reserved;
  double prompt_tokens, output_tokens, cached_tokens;
} llmd_usage;

/* Any lane of the pool may report on any ticket. Idempotent: LLMD_E_STALE when the ticket is no longer in flight. */
LLMD_API int llmd_report(llmd_lane *lane, llmd_ticket ticket, uint32_t kind, const llmd_usage *usage,
                         const llmd_now *now);
/* How an endpoint did (pool.h: health), when no ticket says it: of a request whose ticket is 0 (the ledger was full), or
 * of another profile's endpoint than the destination (a prefill that failed). kind as above; nothing is given back or
 * counted. LLMD_E_STALE: there is no such endpoint. */
LLMD_API int llmd_report_endpoint(llmd_lane *lane, llmd_endpoint_id endpoint, uint32_t kind, const llmd_now *now);

/* ---- the why ---------------------------------------------------------------------------------------------------- */
/* Of the lane's last decision (scheduler_options.explain = 1), until its next. LLMD_E_NONE without one. */
LLMD_API int llmd_explain_json(const llmd_lane *lane, llmd_write_fn fn, void *ud);
LLMD_API int llmd_explain_table(const llmd_lane *lane, llmd_write_fn fn, void *ud);

/* The lane's last decision as one self-contained record: columns as they were after produce, request features, seed,
 * result (docs/records.md). Needs explain = 1. */
LLMD_API int llmd_record_write(const llmd_lane *lane, llmd_write_fn fn, void *ud);
/* Decides a record again, by the lane's scheduler (explain = 1), without pool state. *same = 1 when every pick, every
 * total's bits and all text are equal (NULL = not wanted). Returns the bytes the record took (several may follow each
 * other), or a code: LLMD_E_MISMATCH when the scheduler's configuration is not the record's, LLMD_E_TRUNCATED when the
 * record is not all there, LLMD_E_SYNTAX when it is none. Nothing is charged or counted; the replayed decision can be
 * explained. */
LLMD_API int64_t llmd_replay(llmd_lane *lane, const void *record, size_t len, llmd_decision *out, int *same);

/* Decides a record by another configuration than the one that made it: what would have happened? Columns are matched
 * by name; what the record does not hold is unknown, and *missing (NULL = not wanted) says how many columns that are. The
 * rest as llmd_replay, but there is nothing to be equal to: compare with *was (NULL = not wanted), what the record
 * says came out: status, reason, primary and targets (id, profile, score; no text) are filled. */
LLMD_API int64_t llmd_replay_other(llmd_lane *lane, const void *record, size_t len, llmd_decision *out,
                                   llmd_decision *was, uint32_t *missing);

/* ---- policies --------------------------------------------------------------------------------------------------- */
/* A policy (loader.h) that the scheduler was made with. Text lives as long as the scheduler. */
typedef struct llmd_policy_info {
  uint32_t size;
  uint32_t kind;     /* LLMD_FILTER, ... of plugin.h */
  uint64_t number;   /* of its text in the region; 0 = it came from elsewhere */
  llmd_str instance, type;
  llmd_str file;     /* as in the configuration; ptr NULL = the text stands there itself */
  llmd_str path;     /* the file, NUL-terminated; ptr NULL = there is none */
  llmd_str text;
} llmd_policy_info;
/* The i-th; LLMD_E_NONE past the last. Any thread. */
LLMD_API int llmd_scheduler_policy(const llmd_scheduler *s, uint32_t i, llmd_policy_info *out);
/* What it is: JSON in the shape of llmd_plugins_write. LLMD_E_NONE past the last. */
LLMD_API int llmd_scheduler_policy_write(const llmd_scheduler *s, uint32_t i, llmd_write_fn fn, void *ud);
/* 1: the region has another text of one of its policies by now (or has one at last): make a new scheduler of the same
 * configuration, llmd_lane_prepare, llmd_lane_take. To a scheduler with a text of options.policy every text of the region
 * is another one. Some loads of memory per policy. Any thread. */
LLMD_API int llmd_scheduler_outdated(const llmd_scheduler *s);
/* Runs the examples that the policies hold; a line about each goes to fn. Returns how many there were; LLMD_E_PLUGIN when
 * one came out differently (err says which). */
LLMD_API int llmd_scheduler_examples(const llmd_scheduler *s, llmd_write_fn fn, void *ud, llmd_err *err);
/* For tools: runs text in the policy called `instance` as if it stood in its file, on this lane, under its limits, and
 * writes the values that it returns. Nothing of it lasts. Lane's thread. */
LLMD_API int llmd_lane_eval(llmd_lane *lane, const char *instance, const char *text, size_t len, llmd_write_fn fn,
                            void *ud, llmd_err *err);
/* The configuration that one policy file stands for: that policy in one profile, with the reference's defaults. Writes
 * at most cap bytes, NUL included, and returns the length; LLMD_E_LIMIT when it does not fit. type: "lua". */
LLMD_API int llmd_policy_config(const char *type, const char *file, char *buf, size_t cap);

/* ---- plugins, as data ------------------------------------------------------------------------------------------- */
/* JSON of every plugin type (name NULL) or of one: kind, summary, parameters with defaults, ranges and docs, reads,
 * writes. */
LLMD_API int llmd_plugins_write(const char *type, llmd_write_fn fn, void *ud);

LLMD_END
#endif
