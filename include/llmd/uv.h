/* llmd/uv.h: everything that does I/O, on a libuv loop that the host owns. In libllmd-uv.
 *
 *    pool file, DNS ─► discovery ─┐
 *    engines' /metrics ► scraper ─┼─► the writer's pool ══ shared region ══► deciders in any process
 *    engines' KV events ► events ─┤        ▲ rings: charges, first tokens, ends        │
 *    /render ─────────► tokens ───┘        └───────────────────────────────────────────┘
 *
 * An *agent* does all of it for a machine; a *proxy* is one decider with clients and engines at its two ends. Each part
 * can be had alone. Objects belong to the thread that runs their loop. Stopping is asynchronous where handles must be
 * closed: `done` comes from the loop, and only then may the loop go. Nothing here is thread-safe but what says so. The
 * host ignores SIGPIPE: libuv writes to sockets that the other side may have closed.
 *
 * Third-party hosts that only want to decide need llmd_share_open and the headers of libllmd, no loop. */
#ifndef LLMD_UV_H
#define LLMD_UV_H

#include <llmd/alloc.h>
#include <llmd/error.h>
#include <llmd/log.h>
#include <llmd/pool.h>
#include <llmd/region.h>
#include <llmd/request.h>
#include <llmd/scheduler.h>
#include <llmd/types.h>

LLMD_BEGIN

struct uv_loop_s; /* libuv's uv_loop_t */

/* The two times, of this machine: CLOCK_MONOTONIC and CLOCK_REALTIME. Any thread. */
LLMD_API void llmd_clock(llmd_now *out);

/* Called when something has ended. */
typedef void (*llmd_done_fn)(void *ud);

/* ---- the shared region ------------------------------------------------------------------------------------------- */
/* A file (on /dev/shm) that holds one region and, behind it, who is attached. Each attached process holds a lock on a
 * byte of its own, the writer one more: the kernel gives them back when a process dies, however it dies, so a lock that
 * can be had is the kernel's word that its holder is dead. */
typedef struct llmd_share llmd_share;

#define LLMD_SHARE_WRITER 1u /* be the writer. LLMD_E_BUSY: another one lives. A dead one's work is taken over. */
#define LLMD_SHARE_CREATE 2u /* make the file when there is none; one with another layout is refused, never replaced */
#define LLMD_SHARE_GROUP 4u  /* its group may attach, too (mode 0660, else 0600) */

typedef struct llmd_share_options {
  uint32_t size;
  uint32_t flags;
  const char *path;                  /* absolute */
  const llmd_region_options *region; /* caps, with CREATE; NULL = defaults; without a secret a random one is made */
  const llmd_allocator *alloc;       /* NULL = malloc */
  llmd_log_fn log;                   /* NULL = silent */
  void *log_ud;
  uint64_t stale_ns;                 /* as llmd_pool_options */
  uint64_t lease_ns;
} llmd_share_options;

/* Maps the file, takes a lock, opens the pool. Refused: a link, not a plain file, another owner than this process's user
 * or root, more rights than said (LLMD_E_DENIED); another layout (LLMD_E_MISMATCH, err names both versions). Call it
 * after fork(). Any thread. */
LLMD_API int llmd_share_open(const llmd_share_options *options, llmd_share **out, llmd_err *err);
/* NULL allowed. Schedulers and lanes on its pool must be gone. The file stays. */
LLMD_API void llmd_share_close(llmd_share *share);
/* Lives as long as the share. */
LLMD_API llmd_pool *llmd_share_pool(llmd_share *share);
/* (writer) Gives back what dead processes held: lanes, pins, room in the making, requests in flight. Returns the number
 * of processes. Call it about once a second. */
LLMD_API int llmd_share_reap(llmd_share *share);
/* 1: a process with the writer's lock lives. Any process. */
LLMD_API int llmd_share_has_writer(const llmd_share *share);
/* The mapped region, for inspection (region.h). */
LLMD_API void *llmd_share_memory(llmd_share *share, size_t *len);

/* ---- what a service is told -------------------------------------------------------------------------------------- */
/* One file for `llmd agent` and `llmd serve` (docs/service.md). Strings are NUL-terminated; durations in ms. Fields may
 * be read, never set: make one with llmd_service_read. */

typedef struct llmd_service_dns {
  const char *name;
  uint32_t srv;        /* 1: SRV records say host and port; 0: A and AAAA */
  uint32_t port;       /* of A and AAAA */
  uint32_t refresh_ms; /* [30000] at most; a shorter time to live counts */
  uint32_t n_labels;
  const llmd_label *labels;
} llmd_service_dns;

typedef struct llmd_service {
  uint32_t size;
  uint32_t workers;          /* [1] */
  const char *listen;        /* ["127.0.0.1:8080"] */
  const char *admin;         /* ["127.0.0.1:9090"] "" = none */
  const char *region;        /* ["/dev/shm/llmd-UID"] */
  uint32_t region_group;     /* [0] */
  uint32_t external_agent;   /* [0] serve: 1 = an agent runs already, start none */
  llmd_region_options caps;  /* of the region, when it is made */
  llmd_str policy;           /* EndpointPickerConfig as text; empty = the reference's default */
  const char *policy_file;   /* where it came from, "" = inline or default; a .lua file: policy was made around it */
  llmd_str endpoints;        /* pool file as text, when inline */
  const char *endpoints_file; /* watched; "" = none */
  uint32_t n_dns;
  uint32_t fail_open, compat; /* [0] as llmd_scheduler_options */
  uint32_t max_tokens_seen;  /* [131072] as llmd_scheduler_options.max_tokens */
  const llmd_service_dns *dns;
  const char *dns_servers;   /* ["" = the system's] "address:port,..." */
  const char *module_dir;    /* ["" = none] */
  struct llmd_service_metrics {
    uint32_t enabled;     /* [1] */
    uint32_t period_ms;   /* [50] */
    uint32_t timeout_ms;  /* [1000] */
    uint32_t connect_ms;  /* [250] */
    uint32_t max_bytes;   /* [1 MiB] */
    uint32_t stale_ms;    /* [2000] */
    uint32_t unknown_ms;  /* [10000] then the columns are unknown */
    uint32_t models_ms;   /* [10000] period of /v1/models; 0 = never */
    uint32_t parallel;    /* [64] requests under way at a time */
    const char *path;     /* ["/metrics"] */
    const char *models_path; /* ["/v1/models"] */
  } metrics;
  struct llmd_service_events {
    uint32_t enabled;     /* [2] 0 = no, 1 = yes, 2 = when the policy has a precise-prefix-cache-producer */
    uint32_t port;        /* [5557] + rank, of engines that have no /kv_event_sources; 0 = only those that have */
    uint32_t replay_port; /* [5558] + rank; 0 = no replay */
    uint32_t retry_ms;    /* [5000] */
    const char *bind;     /* ["" = none] address on which engines that connect find us: "tcp://0.0.0.0:5600" */
    const char *topic;    /* ["kv@"] prefix subscribed */
    uint32_t counted;     /* [0] LLMD_SOURCE_COUNTED */
    uint32_t discover_ms; /* [10000] period of /kv_event_sources until it answers */
  } events;
  struct llmd_service_tokens {
    const char *socket;   /* ["" = none] of the agent; "auto" with tokens wanted: REGION.sock */
    const char *url;      /* ["" = the endpoints themselves] of a renderer */
    uint32_t timeout_ms;  /* [5000] */
    uint32_t wait_ms;     /* [200] that a proxy holds a request for them */
  } tokens;
  struct llmd_service_limits {
    uint64_t body;        /* [16 MiB] */
    uint64_t bodies;      /* [1 GiB] */
    uint32_t head;        /* [32 KiB] */
    uint32_t headers;     /* [128] */
    uint32_t connections; /* [20000] of each worker */
    uint32_t pending;     /* [256 KiB] bytes of an answer waiting for a slow client; reading from the engine pauses */
    uint32_t event;       /* [1 MiB] one server-sent event that is held to be looked at */
    uint32_t head_ms, body_ms, body_rate, idle_ms, write_ms; /* as llmd_http_options */
    uint32_t total_ms;    /* [0 = none] of a request */
    uint32_t drain_ms;    /* [30000] after SIGTERM */
  } limits;
  struct llmd_service_upstream {
    uint32_t connect_ms;     /* [2000] */
    uint32_t first_byte_ms;  /* [0 = none] */
    uint32_t idle_ms;        /* [300000] without a byte of an answer that has begun */
    uint32_t keep_ms;        /* [4000] an unused connection; less than engines keep it (vLLM: 5 s) */
    uint32_t keep;           /* [256] unused connections an endpoint */
    uint32_t retries;        /* [2] on fallbacks, before the first byte */
    uint32_t max_head;       /* [64 KiB] of an answer */
    uint32_t inject_usage;   /* [1] stream_options.include_usage, and its chunk taken out again */
  } upstream;
  struct llmd_service_health {
    uint32_t failures;    /* [3] in a row, in window_ms, eject; 0 = never */
    uint32_t window_ms;   /* [10000] */
    uint32_t eject_ms;    /* [1000] doubling */
    uint32_t eject_max_ms; /* [30000] */
    uint32_t most_percent; /* [50] of a pool ejected at a time */
  } health;
  struct llmd_service_log {
    const char *access;   /* ["-" = standard output] "" = none; else a file, opened again on SIGHUP */
    uint32_t buffer;      /* [64 KiB] 0 = a line at a time */
    uint32_t flush_ms;    /* [1000] */
    uint32_t level;       /* [LLMD_LOG_INFO] of what goes to standard error */
    uint32_t explain;     /* [20] decisions a second whose explanation /explain can show, of each worker; 0 = none */
  } log;
  uint32_t region_is_default; /* nobody named one: `llmd serve` then takes a name of its own */
  uint32_t reserved;
  const char *loader_dir;    /* ["" = the library's own] of loaders (loader.h), absolute */
  const char *policy_dir;    /* [the folder of the file with the policy] of what it names, absolute */
  uint32_t policy_is_text;   /* [0] policy_file is a policy itself (.lua), which the agent watches; not to be read as YAML */
  uint32_t reserved2;
} llmd_service;

/* Reads the file's text. folder: of relative paths, NULL = the current one; files that it names are read, too. Unknown
 * keys, bad values: LLMD_E_* and err with line, column and path. */
LLMD_API int llmd_service_read(const char *text, size_t len, const char *folder, llmd_service **out, llmd_err *err);
/* One key over what the file says, as an option of a program does: "workers", "limits.body"; the value as it would stand
 * in the file, texts without quotes; "endpoints" also as "address:port,address:port"; files are relative to the current
 * folder. */
LLMD_API int llmd_service_set(llmd_service *service, const char *key, const char *value, llmd_err *err);
/* NULL allowed. */
LLMD_API void llmd_service_free(llmd_service *service);

/* ---- feeding a pool: each for a pool that writes ------------------------------------------------------------------ */
/* What the parts below share. changed(ud): the staging copy has changed, publish soon. */
typedef struct llmd_feeder {
  uint32_t size;
  uint32_t reserved;
  struct uv_loop_s *loop;
  llmd_pool *pool;
  const llmd_service *service; /* kept until stopped */
  llmd_log_fn log;             /* NULL = silent */
  void *log_ud;
  void (*changed)(void *ud);
  void *changed_ud;
} llmd_feeder;

/* Endpoints from the service's pool file (watched, read again when it changes; a bad one is logged and changes nothing)
 * and DNS names (asked again when they age; one that fails keeps what it had). */
typedef struct llmd_discovery llmd_discovery;
LLMD_API int llmd_discovery_start(const llmd_feeder *feeder, llmd_discovery **out, llmd_err *err);
/* Reads and asks everything again now. */
LLMD_API void llmd_discovery_refresh(llmd_discovery *d);
LLMD_API void llmd_discovery_stop(llmd_discovery *d, llmd_done_fn done, void *ud);

/* Engines' metrics, and their models. Never more than one request under way to an endpoint; connects only to addresses of
 * the table; follows nothing. */
typedef struct llmd_scraper llmd_scraper;
typedef struct llmd_scraper_stats {
  uint32_t size;
  uint32_t endpoints, fresh, unknown; /* now */
  uint64_t pages, bytes, failed, refused; /* refused: too large, not 200, nothing in it */
} llmd_scraper_stats;
LLMD_API int llmd_scraper_start(const llmd_feeder *feeder, llmd_scraper **out, llmd_err *err);
LLMD_API int llmd_scraper_stats_get(const llmd_scraper *s, llmd_scraper_stats *out);
LLMD_API void llmd_scraper_stop(llmd_scraper *s, llmd_done_fn done, void *ud);

/* Engines' KV events into the pool's exact index (llmd_pool_index). */
typedef struct llmd_subscriber llmd_subscriber;
typedef struct llmd_subscriber_stats {
  uint32_t size;
  uint32_t sources, connected, degraded; /* now */
  uint64_t messages, bytes, events, blocks, gaps, replays, restarts, bad;
} llmd_subscriber_stats;
LLMD_API int llmd_subscriber_start(const llmd_feeder *feeder, llmd_subscriber **out, llmd_err *err);
LLMD_API int llmd_subscriber_stats_get(const llmd_subscriber *s, llmd_subscriber_stats *out);
LLMD_API void llmd_subscriber_stop(llmd_subscriber *s, llmd_done_fn done, void *ud);

/* ---- tokens ------------------------------------------------------------------------------------------------------ */
/* The agent's side: answers on a unix socket, renders by the engines' /render or /tokenize, fills the region's cache. */
typedef struct llmd_tokens llmd_tokens;
typedef struct llmd_tokens_stats {
  uint32_t size;
  uint32_t connections, waiting, under_way; /* now: deciders; questions; prompts that are being rendered */
  uint32_t reserved;
  uint64_t questions, joined, rendered, failed; /* joined: the same prompt was under way; failed: nobody could */
  uint64_t refused, strangers; /* too many at a time; what is no question */
  uint64_t bytes;              /* of renderers' answers */
} llmd_tokens_stats;
LLMD_API int llmd_tokens_start(const llmd_feeder *feeder, llmd_tokens **out, llmd_err *err);
LLMD_API int llmd_tokens_stats_get(const llmd_tokens *t, llmd_tokens_stats *out);
LLMD_API void llmd_tokens_stop(llmd_tokens *t, llmd_done_fn done, void *ud);

/* A decider's side: asks the agent. Reconnects by itself; while there is no agent every question is refused at once. */
typedef struct llmd_token_client llmd_token_client;
LLMD_API int llmd_token_client_open(struct uv_loop_s *loop, const char *path, llmd_token_client **out);
LLMD_API void llmd_token_client_close(llmd_token_client *c, llmd_done_fn done, void *ud);
/* rc 0: ids (and features) are borrowed for the call. LLMD_E_TIMEOUT, LLMD_E_NONE (nobody could), LLMD_E_CLOSED. */
typedef void (*llmd_tokens_fn)(void *ud, int rc, const uint32_t *ids, size_t n, const llmd_feature *features, size_t nf);
/* Asks for the tokens of a request whose decision said NEED_TOKENS. path: its route; body: as the engine is to get it.
 * Both are copied. fn is called once, never from within; not at all when this fails: LLMD_E_CLOSED (no agent),
 * LLMD_E_FULL (too many questions at a time), LLMD_E_LIMIT (more than 16 MiB). *question (may be NULL) is for cancel. */
LLMD_API int llmd_token_client_ask(llmd_token_client *c, const char *path, size_t path_len, const char *body, size_t len,
                                   uint32_t timeout_ms, llmd_tokens_fn fn, void *ud, uint64_t *question);
/* fn will not be called. */
LLMD_API void llmd_token_client_cancel(llmd_token_client *c, uint64_t question);

/* ---- the agent ---------------------------------------------------------------------------------------------------- */
/* Discovery, scraper, subscriber and tokens on one share, with the writer's ticks and publishing, reaping of the dead, and
 * an admin port: /metrics, /healthz, /readyz, /explain, /records, /endpoints, /policies. Files of policies (loader.h) are
 * watched: a text that is right, does what its examples say and fails on none of the requests that proxies recorded, nor
 * refuses all of them, is put into the region (llmd_pool_put_policy); else it is told of with file and line, and the
 * former one stays. */
typedef struct llmd_agent llmd_agent;
typedef struct llmd_agent_options {
  uint32_t size;
  uint32_t reserved;
  struct uv_loop_s *loop;
  const llmd_service *service; /* kept until released */
  llmd_log_fn log;
  void *log_ud;
  void (*released)(void *ud, const llmd_service *service); /* nobody here looks at it any more; NULL allowed */
  void *released_ud;
} llmd_agent_options;
/* LLMD_E_BUSY: another agent writes this region. After a failure let the loop run until it is empty, then free the
 * service: what had been begun still closes its handles. `released` is not called. */
LLMD_API int llmd_agent_start(const llmd_agent_options *options, llmd_agent **out, llmd_err *err);
/* Goes on with another file; the former one is released when the last part has left it. What cannot change while it runs
 * (admin, region, caps, the tokens' socket) is logged and stays. On failure everything stays as it was, and the new one
 * is not kept. */
LLMD_API int llmd_agent_reload(llmd_agent *agent, const llmd_service *service, llmd_err *err);
LLMD_API uint32_t llmd_agent_admin_port(const llmd_agent *agent);
LLMD_API void llmd_agent_stop(llmd_agent *agent, llmd_done_fn done, void *ud);

/* ---- the proxy ---------------------------------------------------------------------------------------------------- */
/* One worker of a reverse proxy for OpenAI-compatible engines: decides at the end of the body, sends, passes the answer
 * on as it comes, and reports. Policies whose text the agent has changed are compiled in a thread of libuv's pool, and
 * taken up between two decisions. */
typedef struct llmd_proxy llmd_proxy;
typedef struct llmd_proxy_options {
  uint32_t size;
  int32_t fd;                  /* bound and listening, taken over; -1 = listen on service->listen */
  struct uv_loop_s *loop;
  llmd_share *share;           /* must outlive the proxy */
  const llmd_service *service; /* kept until closed or replaced */
  llmd_log_fn log;
  void *log_ud;
} llmd_proxy_options;
LLMD_API int llmd_proxy_start(const llmd_proxy_options *options, llmd_proxy **out, llmd_err *err);
/* Requests that are under way end by the old policy. On failure everything stays as it was. */
LLMD_API int llmd_proxy_reload(llmd_proxy *proxy, const llmd_service *service, llmd_err *err);
LLMD_API uint32_t llmd_proxy_port(const llmd_proxy *proxy);
/* No new connections; done when the last request has ended or the service's drain_ms are over; the proxy is then closed
 * and freed. */
LLMD_API void llmd_proxy_drain(llmd_proxy *proxy, llmd_done_fn done, void *ud);
/* At once: everything is reset, reported as cancelled, and freed. */
LLMD_API void llmd_proxy_close(llmd_proxy *proxy, llmd_done_fn done, void *ud);

LLMD_END
#endif
