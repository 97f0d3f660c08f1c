/* Inside a worker of the proxy.
 *
 *   on_request ─► exchange + work ─► decide ─► commit, send ─► answer begins ─► pieces ─► end
 *                              │        ├ REJECTED: refusal        │ work goes back   └ usage, report, log line
 *                              │        └ NEED_TOKENS: asked, decided again
 *                              └ request's memory, decision: needed until the engine has all and begins to answer
 *
 * An exchange lives as long as its call. Whatever ends it (engine, client, time, the proxy's own end) goes through
 * llmd__exchange_end exactly once: the ticket is reported, the line is logged, the memory goes to the free list. */
#ifndef LLMD_UV_PROXY_INNER_H
#define LLMD_UV_PROXY_INNER_H

#include <math.h>

#include <llmd/http.h>
#include <llmd/uv.h>
#include <uv.h>

#include "uv/http/client.h"
#include "uv/proxy/access.h"
#include "uv/proxy/catalog.h"
#include "uv/proxy/forward.h"
#include "uv/proxy/sse.h"
#include "uv/proxy/swap.h"
#include "uv/proxy/usage.h"
#include "uv/stats/stats.h"

#define LLMD__PROXY_HEADERS 288u  /* of an answer */
#define LLMD__PROXY_TRIED 16u     /* endpoints that one request was sent to */
#define LLMD__PROXY_RANDOM 4096u  /* bytes fetched at a time */
#define LLMD__PROXY_TICK_MS 250u
#define LLMD__PROXY_GATHER 65536u /* at least what one read brings */
#define LLMD__PROXY_NAME 96u      /* of an endpoint, of a model, as logged */

/* What a request needs until its answer begins. */
typedef struct llmd__work {
  struct llmd__work *next;
  llmd_request *request;
  llmd_decision decision;
  uint32_t at; /* the target in use, in decision.target */
  uint32_t n_tried;
  llmd_endpoint_id tried[LLMD__PROXY_TRIED];
  void *tokens; /* ids and features that the request borrows */
  size_t tokens_len;
} llmd__work;

/* Where an exchange stands. */
enum { LLMD__X_NEW, LLMD__X_TOKENS, LLMD__X_SENT, LLMD__X_PASSING, LLMD__X_OVER };

typedef struct llmd__exchange {
  struct llmd__exchange *prev, *next; /* all that live, oldest first */
  llmd_proxy *proxy;
  llmd_http_call *call; /* NULL: the client has gone */
  llmd__work *work;     /* NULL once the answer has begun */
  llmd__leg *leg;
  llmd_ticket ticket;   /* 0: nothing to give back */
  llmd_endpoint_id target; /* that it was sent to; 0: nothing to report */
  uint64_t question;    /* to the token client */
  uint64_t begun, first, last, reported; /* mono ns: request's first byte, first token, last flush, last report */
  uint64_t bytes_in, bytes_out;
  uint64_t decided_ns;  /* the decisions took */
  llmd_usage usage;
  llmd__sse sse;
  llmd__tail tail;
  uint32_t series, dialect, status, attempts, ladder, reason;
  uint32_t why;         /* LLMD__LEG_* of the last failure */
  uint8_t state;
  uint8_t counted;      /* llmd__stats_begin was called */
  uint8_t stream;       /* the answer is one of events */
  uint8_t looks;        /* its end is looked at for usage */
  uint8_t own;          /* the proxy answers by itself */
  uint8_t asked;        /* we asked for the usage chunk */
  uint8_t flushed;      /* the answer came in more than one read */
  uint8_t repeatable;   /* sending it twice does no harm */
  uint8_t fresh;        /* a kept connection was closed: a new one, once an endpoint */
  uint8_t anthropic;
  uint8_t asked_tokens; /* once is enough */
  uint8_t id_given;     /* the request's id is the client's */
  uint8_t id_len, id_client_len, endpoint_len, model_len;
  double score;
  double prompt; /* tokens, as decided */
  char id[LLMD__REQUEST_ID];
  char id_client[LLMD__REQUEST_ID]; /* as given, where the request was sent on under another */
  char endpoint[LLMD__PROXY_NAME];
  char model[LLMD__PROXY_NAME];
} llmd__exchange;

struct llmd_proxy {
  uv_loop_t *loop;
  llmd_share *share; /* NULL in tests that bring a pool */
  llmd_pool *pool;
  const llmd_service *service;
  llmd_log_fn log;
  void *log_ud;
  uv_thread_t thread; /* the loop's */
  llmd_allocator alloc;
  llmd_scheduler *scheduler;
  llmd_lane *lane;
  llmd__swap swap;
  llmd__recorder recorder;
  llmd_http_server *server;
  llmd__client *client;
  llmd_token_client *tokens; /* NULL: nobody to ask */
  llmd__stats *stats;        /* NULL: nothing is counted */
  llmd__access *access;      /* NULL: nothing is logged */
  llmd__catalog catalog;
  uv_timer_t timer;
  llmd__exchange *oldest, *newest;
  llmd__exchange *spare;
  llmd__work *spare_work;
  uint32_t n_exchanges, n_spare, n_spare_work;
  uint32_t least_spare_work; /* since the last trim */
  size_t work_bytes; /* of one llmd__work with its request */
  llmd_request_options request_options;
  uint32_t explain_left; /* this second */
  uint32_t ticks;
  uint32_t draining, closing, timer_open, parts; /* parts: what is still to close */
  uint64_t drain_until;  /* ms of the loop */
  uint64_t bytes_in, bytes_out, connected; /* as counted last */
  llmd_done_fn done;
  void *done_ud;
  uint32_t random_left;
  unsigned char random[LLMD__PROXY_RANDOM];
  llmd_str piece[64]; /* of the answer that is passing now */
  uint32_t n_pieces;
  size_t gathered;    /* bytes of events in gather: what one read brought, without its framing */
  char gather[LLMD__PROXY_GATHER];
  llmd_http_header header[LLMD__PROXY_HEADERS];
  char *head;         /* of the request that is being sent */
  size_t head_cap;
  char text[8192];
};

/* ---- proxy.c ---- */
/* The proxy on a pool; share may be NULL (nothing is counted or explained then). */
int llmd__proxy_start(const llmd_proxy_options *options, llmd_pool *pool, llmd_proxy **out, llmd_err *err);
/* What the service says of decisions. Another thread may use it to make a scheduler. */
void llmd__proxy_scheduler_options(llmd_proxy *p, const llmd_service *s, llmd_scheduler_options *out);
/* A part has closed, when the proxy ends. */
void llmd__proxy_left(llmd_proxy *p);
/* n <= 16 bytes of the system's randomness. */
void llmd__proxy_random(llmd_proxy *p, void *out, size_t n);

/* ---- exchange.c ---- */
/* The memory of one; NULL: there is none. It is among the proxy's from then on. */
llmd__exchange *llmd__exchange_take(llmd_proxy *p);
llmd__work *llmd__exchange_take_work(llmd_proxy *p);
/* Work that is not needed any more. */
void llmd__exchange_drop_work(llmd__exchange *x);
void llmd__exchange_free_spare(llmd_proxy *p);
/* Spare work that nobody has needed since the last call goes: it is large, and a crowd leaves much of it behind. */
void llmd__exchange_trim(llmd_proxy *p);
/* Reports: on the ticket, or, where the ledger had no room for one, of the engine. END, ERROR and CANCEL are the last. */
void llmd__exchange_report(llmd__exchange *x, uint32_t kind, const llmd_now *now);
/* Everything is over: counted, logged, and, when `piece` is given, the answer's end is sent. The exchange is gone. */
void llmd__exchange_end(llmd__exchange *x, const llmd_now *now, const llmd_str *piece, uint32_t n);
/* A whole answer of our own, JSON, and the end. header: room for one more behind n; all may lie in the work. */
void llmd__exchange_answer(llmd__exchange *x, uint32_t status, llmd_http_header *header, uint32_t n, llmd_str body);
/* Answers with an error and ends. code: a word; n headers. */
void llmd__exchange_refuse(llmd__exchange *x, uint32_t status, const char *code, const char *message,
                           const llmd_http_header *header, uint32_t n);
/* The client has gone; the call is not valid any more after this. */
void llmd__exchange_gone(llmd__exchange *x);
/* Time is up. */
void llmd__exchange_expire(llmd__exchange *x);

/* ---- intake.c ---- */
void llmd__exchange_begin(llmd_proxy *p, llmd_http_call *call);
/* Another request id. */
void llmd__exchange_new_id(llmd__exchange *x);

/* ---- route.c ---- */
/* Decides and sends; again when the tokens that a decision wanted have come, or will not. */
void llmd__exchange_decide(llmd__exchange *x);
/* The engine has failed before the client has got a byte: another one, or an error. */
void llmd__exchange_retry(llmd__exchange *x, int why);
/* The body with its edits, as pieces of what is there, added to *n; room for LLMD__LEG_PIECES with the head. */
int llmd__route_body(const llmd__exchange *x, llmd_str *piece, uint32_t *n, uint64_t *bytes);

/* ---- answer.c ---- */
extern const llmd__leg_handler llmd__answer_handler;
/* The client takes bytes again. */
void llmd__answer_drained(llmd__exchange *x);

/* ---- guard.c: bodies that nobody parses ---- */
/* A body on a path that the core does not parse: 0 it may pass as it is, 1 it is JSON that has to be searched for
 * fields that a client must not set, -1 it is JSON in an encoding that cannot be searched. */
int llmd__guard_looks(llmd_str body);

/* ---- counts.c: the one file that talks to uv/stats ---- */
void llmd__counts_begin(llmd__exchange *x, const llmd_request_info *info);
void llmd__counts_decided(llmd_proxy *p, uint64_t ns);
void llmd__counts_retry(llmd_proxy *p);
void llmd__counts_tokens(llmd_proxy *p, int rc);
void llmd__counts_leg(llmd_proxy *p, const llmd__leg *leg, int why, int begun);
void llmd__counts_flush(llmd__exchange *x, uint64_t ns);
void llmd__counts_end(llmd__exchange *x, const llmd_now *now);
void llmd__counts_refused(llmd_proxy *p, uint32_t status);
void llmd__counts_expired(llmd_proxy *p);
void llmd__counts_tick(llmd_proxy *p);
void llmd__counts_swap(llmd_proxy *p, int taken);
void llmd__counts_outdated(llmd_proxy *p, int outdated);

/* ---- line.c ---- */
/* The exchange's line in the access log. */
void llmd__line_put(llmd__exchange *x, const llmd_now *now);
/* What the line says of the decision, while there is one. */
void llmd__line_note(llmd__exchange *x);

/* ---- explain.c ---- */
/* Puts the last decision's why where /explain finds it, a few times a second. */
void llmd__proxy_explain(llmd_proxy *p, const llmd__exchange *x, const llmd_now *now);

/* ---- swap.c ---- */
/* Looks whether the region has other texts of the policies; if so, what they come to is made in another thread, and taken
 * between two decisions. Each tick. */
void llmd__swap_tick(llmd_proxy *p);
/* Nothing that was begun counts any more, and no other thread looks at the service. May wait for a compiler. */
void llmd__swap_forget(llmd_proxy *p);
/* 1: something is to end still; llmd__proxy_left comes. */
int llmd__swap_busy(const llmd_proxy *p);
void llmd__swap_free(llmd_proxy *p);

/* ---- recorder.c ---- */
/* Once a second: the next decision may be recorded, if there are policies that a record may be wanted for. */
void llmd__recorder_tick(llmd_proxy *p);
/* Puts the last decision's record where the agent finds it. */
void llmd__recorder_put(llmd_proxy *p, const llmd_now *now);
void llmd__recorder_free(llmd_proxy *p);

/* ---- tokens.c ---- */
/* Opens the client if there is none and the service wants one. */
int llmd__proxy_open_tokens(llmd_proxy *p, const llmd_service *s);
/* Asks for the tokens that a decision wants. 1: asked, llmd__exchange_decide follows; 0: nobody to ask. */
int llmd__proxy_ask_tokens(llmd__exchange *x);
void llmd__proxy_forget_tokens(llmd__exchange *x);

#endif
