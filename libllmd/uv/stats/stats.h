/* Counters and histograms of requests, shared by all processes on one region and written as Prometheus text.
 *
 *   worker ─┐                    ┌ series {model, target, fairness, priority}: counts, histograms ┐
 *   worker ─┼─ atomic adds ─► the share's area ─────────────────────────────────────────────────────┼─► text
 *   worker ─┘                    └ seats, one for each process: what is under way now             ┘
 *
 * What has been counted stays when its worker dies, and nothing needs repair: every number stands by itself, a
 * histogram's count is the sum of its buckets. What is *now* (requests running, connections) lies in the process's seat
 * and counts only while the process is attached to the share. A handle belongs to one thread at a time.
 *
 * What decisions come to (llmd_metrics_visit) is not here: the core keeps it in the region, for all processes. */
#ifndef LLMD_UV_STATS_STATS_H
#define LLMD_UV_STATS_STATS_H

#include <llmd/uv.h>

typedef struct llmd__stats llmd__stats;

/* On the share's area. Free the handle with llmd__stats_close before the share. LLMD_E_MISMATCH: another layout.
 * A process that only writes the text out opens it, too; its seat is taken with its first gauge or request. */
int llmd__stats_open(llmd_share *share, llmd__stats **out);
/* NULL allowed. The process's seat is given back. */
void llmd__stats_close(llmd__stats *st);

/* ---- requests ---------------------------------------------------------------------------------------------------- */

/* Texts are cut to LLMD__STATS_LABEL bytes. */
#define LLMD__STATS_LABEL 120u
typedef struct llmd__stats_key {
  llmd_str model, target; /* as asked for, as sent on */
  llmd_str fairness;
  int32_t priority;
} llmd__stats_key;

/* The number of a series; never fails. As many as fit (about 1000, fairness ids in a quarter of them); what comes after
 * them is counted under "other": first the fairness id, then all of it. */
uint32_t llmd__stats_series(llmd__stats *st, const llmd__stats_key *key);

/* A request has begun: request_total, request_running. Each begin has one end. */
void llmd__stats_begin(llmd__stats *st, uint32_t series);

/* What is known when a request is over. 0 = unknown or none, and then not observed; durations in ns. */
typedef struct llmd__stats_end {
  uint64_t duration;      /* from the request's first byte to the answer's last */
  uint64_t ttft;          /* to the first token (a stream's first event, or the first byte of a body) */
  uint64_t request_bytes, response_bytes; /* of the bodies */
  uint64_t input_tokens, output_tokens;
  uint64_t cached_tokens; /* observed when input_tokens are known, also 0 */
  uint32_t streaming;
  uint32_t error;         /* LLMD__ERROR_*, 0 = it went well: durations and tokens count only then */
} llmd__stats_end;
void llmd__stats_end_request(llmd__stats *st, uint32_t series, const llmd__stats_end *end);

/* Time between two events of a stream (request_streaming_itl_seconds), ns. */
void llmd__stats_between_tokens(llmd__stats *st, uint32_t series, uint64_t ns);

/* error_code of request_error_total, as the reference names them. */
#define LLMD__STATS_ERROR_MAP(X) \
  X(BAD_REQUEST, "BadRequest")                        /* 400 and what we refuse like it */ \
  X(UNAUTHORIZED, "Unauthorized")                     /* 401 from the engine */ \
  X(FORBIDDEN, "Forbidden")                           /* 403 from the engine */ \
  X(NOT_FOUND, "NotFound")                            /* 404 */ \
  X(PRECONDITION_FAILED, "PreconditionFailed")        /* 412 */ \
  X(RESOURCE_EXHAUSTED, "ResourceExhausted")          /* 429 */ \
  X(INTERNAL, "Internal")                             /* 500 of our own */ \
  X(SERVICE_UNAVAILABLE, "ServiceUnavailable")        /* 503, 502, 504 of our own */ \
  X(MODEL_SERVER_ERROR, "ModelServerError")           /* 5xx from the engine, or it broke off */ \
  X(CLIENT_GONE, "ContextCancelled")                  /* the client left */ \
  X(UNKNOWN, "Unknown")
#define LLMD__STATS_ERROR_ROW(name, text) LLMD__ERROR_##name,
enum { LLMD__ERROR_NONE, LLMD__STATS_ERROR_MAP(LLMD__STATS_ERROR_ROW) LLMD__ERRORS };
#undef LLMD__STATS_ERROR_ROW
/* What an answer's status comes to; own: the proxy itself answers, not an engine. */
uint32_t llmd__stats_error_of(uint32_t status, int own);

/* ---- the rest ---------------------------------------------------------------------------------------------------- */

/* A decision took this long (scheduler_e2e_duration_seconds), ns. */
void llmd__stats_decided(llmd__stats *st, uint64_t ns);

/* Counters: family, label, value, help (once a family). */
#define LLMD__STATS_COUNT_MAP(X) \
  X(RETRIES, "llmd_proxy_retries_total", NULL, NULL, "Requests sent again to a fallback.") \
  X(RECONNECTS, "llmd_proxy_reconnects_total", NULL, NULL, \
    "Requests sent again to the same engine because a kept connection turned out closed.") \
  X(CONNECT_OK, "llmd_proxy_upstream_connects_total", "result", "ok", "Connections made to engines, by result.") \
  X(CONNECT_REFUSED, "llmd_proxy_upstream_connects_total", "result", "refused", NULL) \
  X(CONNECT_TIMEOUT, "llmd_proxy_upstream_connects_total", "result", "timeout", NULL) \
  X(CONNECT_ERROR, "llmd_proxy_upstream_connects_total", "result", "error", NULL) \
  X(REUSED, "llmd_proxy_upstream_reused_total", NULL, NULL, "Requests sent on a kept connection.") \
  X(BROKEN_EARLY, "llmd_proxy_upstream_broken_total", "when", "before-first-byte", \
    "Answers that an engine broke off.") \
  X(BROKEN_LATE, "llmd_proxy_upstream_broken_total", "when", "after-first-byte", NULL) \
  X(TIMEOUT_FIRST, "llmd_proxy_timeouts_total", "what", "first-byte", "Time limits that ended a request.") \
  X(TIMEOUT_IDLE, "llmd_proxy_timeouts_total", "what", "idle", NULL) \
  X(TIMEOUT_TOTAL, "llmd_proxy_timeouts_total", "what", "total", NULL) \
  X(CLIENT_GONE, "llmd_proxy_client_gone_total", NULL, NULL, "Clients that left before their answer was whole.") \
  X(REFUSED_0, "llmd_proxy_refused_total", "status", "none", "Requests refused by the HTTP server, by status.") \
  X(REFUSED_400, "llmd_proxy_refused_total", "status", "400", NULL) \
  X(REFUSED_408, "llmd_proxy_refused_total", "status", "408", NULL) \
  X(REFUSED_413, "llmd_proxy_refused_total", "status", "413", NULL) \
  X(REFUSED_414, "llmd_proxy_refused_total", "status", "414", NULL) \
  X(REFUSED_417, "llmd_proxy_refused_total", "status", "417", NULL) \
  X(REFUSED_431, "llmd_proxy_refused_total", "status", "431", NULL) \
  X(REFUSED_501, "llmd_proxy_refused_total", "status", "501", NULL) \
  X(REFUSED_503, "llmd_proxy_refused_total", "status", "503", NULL) \
  X(REFUSED_505, "llmd_proxy_refused_total", "status", "505", NULL) \
  X(REFUSED_OTHER, "llmd_proxy_refused_total", "status", "other", NULL) \
  X(ANSWER_2XX, "llmd_proxy_responses_total", "code", "2xx", "Answers given to clients, by class of status.") \
  X(ANSWER_3XX, "llmd_proxy_responses_total", "code", "3xx", NULL) \
  X(ANSWER_4XX, "llmd_proxy_responses_total", "code", "4xx", NULL) \
  X(ANSWER_5XX, "llmd_proxy_responses_total", "code", "5xx", NULL) \
  X(TOKENS_OK, "llmd_proxy_token_requests_total", "result", "ok", "Times the agent was asked for tokens.") \
  X(TOKENS_TIMEOUT, "llmd_proxy_token_requests_total", "result", "timeout", NULL) \
  X(TOKENS_NONE, "llmd_proxy_token_requests_total", "result", "none", NULL) \
  X(EVENTS_LONG, "llmd_proxy_events_unseen_total", NULL, NULL, \
    "Server-sent events passed on without being looked at because they were too long.") \
  X(LOG_LOST, "llmd_proxy_log_lines_lost_total", NULL, NULL, "Lines of the access log that could not be written.") \
  X(BYTES_IN, "llmd_proxy_client_bytes_total", "direction", "in", "Bytes from and to clients.") \
  X(BYTES_OUT, "llmd_proxy_client_bytes_total", "direction", "out", NULL) \
  X(SWAPS_OK, "llmd_proxy_policy_swaps_total", "result", "ok", "Times that a worker turned to policies' new texts.") \
  X(SWAPS_REFUSED, "llmd_proxy_policy_swaps_total", "result", "refused", NULL)
#define LLMD__STATS_COUNT_ROW(name, family, label, value, help) LLMD__STAT_##name,
enum { LLMD__STATS_COUNT_MAP(LLMD__STATS_COUNT_ROW) LLMD__STATS_COUNTS };
#undef LLMD__STATS_COUNT_ROW
void llmd__stats_count(llmd__stats *st, uint32_t which, uint64_t n);
/* llmd_proxy_refused_total, llmd_proxy_responses_total. */
void llmd__stats_refused(llmd__stats *st, uint32_t status);
void llmd__stats_answered(llmd__stats *st, uint32_t status);

/* Gauges, of this process; the text has their sums over those that are attached. */
#define LLMD__STATS_GAUGE_MAP(X) \
  X(CONNECTIONS, "llmd_proxy_connections", "Connections of clients.") \
  X(UPSTREAM, "llmd_proxy_upstream_connections", "Connections to engines, kept ones among them.") \
  X(UPSTREAM_IDLE, "llmd_proxy_upstream_idle_connections", "Connections to engines that wait for a request.") \
  X(BODY_BYTES, "llmd_proxy_body_bytes", "Bytes of requests' bodies held.") \
  X(WORKERS, "llmd_proxy_workers", "Workers that take requests.") \
  X(OUTDATED, "llmd_proxy_policies_outdated", "Workers that decide by an older text of a policy than there is.")
#define LLMD__STATS_GAUGE_ROW(name, family, help) LLMD__GAUGE_##name,
enum { LLMD__STATS_GAUGE_MAP(LLMD__STATS_GAUGE_ROW) LLMD__STATS_GAUGES };
#undef LLMD__STATS_GAUGE_ROW
void llmd__stats_gauge(llmd__stats *st, uint32_t which, uint64_t value);

/* ---- out --------------------------------------------------------------------------------------------------------- */

/* All of it as Prometheus text 0.0.4. A family that nothing was counted in is left out, but for our own counters.
 * LLMD_E_STOPPED. Any process. */
int llmd__stats_write(llmd__stats *st, llmd_write_fn fn, void *ud);

/* For tests, and for hosts without a share: on memory of their own, all zero at first, aligned to 64 bytes.
 * attached(ud, owner): whether a process lives. */
size_t llmd__stats_bytes(void);
int llmd__stats_open_on(void *area, size_t bytes, uint64_t owner, int (*attached)(const void *ud, uint64_t owner),
                        const void *ud, llmd__stats **out);

#endif
