/* engine.h: one engine that speaks vLLM over HTTP, as far as a router or a client sees it.
 *
 *   llmd_http ─► routes ─► ask (body read, tokens) ─► model: sim_engine in real time ─► tokens ─► answer ─► llmd_http
 *                  │                                        │
 *                  └─► pages: metrics, models, render...    └─► events
 *
 * Everything happens on the loop's thread. While nothing runs there is no timer. */
#ifndef ENGINE_H
#define ENGINE_H

#include <uv.h>

#include <llmd/http.h>
#include <llmd/uv.h>

#include "engine_ask.h"
#include "engine_events.h"
#include "engine_fault.h"
#include "sim_engine.h"

struct engine_options {
  uv_loop_t *loop;
  const char *host;     /* to listen on; "[::1]" for IPv6 */
  uint32_t port;        /* 0 = any */
  struct engine_models models;
  struct sim_model model;
  uint32_t block_size;
  double speed;
  int instant;          /* no model, no tokens, no cache */
  int events;
  uint32_t events_port, replay_port, events_keep;
  const char *events_connect; /* as engine_events_options.connect */
  uint32_t scheme;      /* LLMD_HASH_VLLM_* */
  const char *algorithm; /* what vLLM calls it */
  const char *seed;     /* PYTHONHASHSEED; NULL = not set */
  size_t page_bytes;    /* least size of the metrics page */
  uint32_t idle_ms, most_calls; /* of a connection, as llmd_http_options */
  const struct engine_faults *faults;
  int record;           /* keeps the last request, for GET /received */
};

struct engine_bucket_counts { /* a histogram of vLLM's */
  uint64_t bucket[32]; /* not cumulated; the last one in use is +Inf */
  uint64_t count;
  double sum;
};

struct engine_figures { /* since it started */
  uint64_t finished[3]; /* by enum engine_finish */
  uint64_t aborted;
  uint64_t prompt_tokens, cached_tokens, generated_tokens; /* generated: as they come */
  struct engine_bucket_counts first, gap, whole, prompt, answer;
};

/* Who wants to hear of a call that is under way: llmd_http_data. Stands first in what it is part of. */
struct engine_listener {
  void (*gone)(struct engine_listener *l);
  void (*drained)(struct engine_listener *l);
};

/* A completion on its way. */
struct engine_call {
  struct engine_listener listener;
  struct engine *engine;
  struct engine_call *next, **back; /* among the engine's */
  llmd_http_call *http;             /* NULL = answered, or its client has gone */
  struct engine_ask ask;
  struct sim_request request;
  struct engine_blocks blocks;
  struct engine_fault fault;
  uv_timer_t *timer;  /* of a fault; NULL = none */
  uint32_t tag;       /* place in the engine's table */
  int computing;      /* the model has it */
  int begun;          /* the answer's head has gone */
  int blocked;        /* the client does not keep up: until on_drain */
  int role_sent;
  uint32_t produced;  /* tokens that the model made */
  uint32_t allowed;   /* tokens that a slow engine lets out */
  uint32_t written;
  uint64_t sent;      /* bytes of the body */
  uint32_t cached;    /* prompt tokens */
  uint64_t arrived, last; /* mono ns; of its last token */
  int64_t created;
  uint64_t number;    /* its id */
};

struct engine {
  struct engine_options options;
  char address[300];  /* host:port */
  llmd_http_server *server;
  struct sim_engine *sim; /* NULL = instant */
  struct engine_events *events; /* NULL = none */
  struct engine_faults faults;
  struct engine_figures figures;
  struct engine_call *calls;
  struct engine_call **table; /* by tag */
  uint32_t n_table, n_calls;
  uint32_t gone;          /* calls whose client left while the model had them */
  uv_timer_t timer;       /* the end of the step under way */
  int step, delivering;   /* one is under way; its tokens are being handed out */
  uint64_t due;           /* mono ns */
  struct sim_token *token; /* of the step that ended */
  uint32_t token_room;
  struct engine_text body;     /* of the answer in the making */
  struct engine_text filling;  /* of the metrics page */
  struct engine_text received;
  uint64_t numbers;
  uint64_t seen[1024];    /* hashes of connections that carried a request */
  int64_t started;        /* s */
  int handles, closing;
  void (*done)(void *ud);
  void *done_ud;
};

/* engine.c: life and routes. err: LLMD_E_* with its text. */
int engine_open(const struct engine_options *options, struct engine **out, llmd_err *err);
void engine_close(struct engine *e, void (*done)(void *ud), void *ud); /* NULL: nothing is called */
uint64_t engine_mono(void);
/* Answers with what is in `body`: 500 when memory ran out while it was made. */
void engine_reply(struct engine *e, llmd_http_call *http, uint32_t status, const char *type,
                  const struct engine_text *body);
void engine_reply_refusal(struct engine *e, llmd_http_call *http, const struct engine_refusal *refusal);
/* Another process from now on: everybody is reset, the cache is empty, numbers of events begin at 0. */
void engine_restart(struct engine *e);

/* engine_model.c: time. */
int engine_model_open(struct engine *e);
void engine_model_close(struct engine *e);
/* LLMD_E_NOMEM, LLMD_E_LIMIT. */
int engine_model_submit(struct engine *e, struct engine_call *call);
/* The call's client has gone: its request, too, now or at the end of the step. */
void engine_model_abandon(struct engine *e);
/* Everybody is reset, the cache is empty. */
void engine_model_restart(struct engine *e);

/* engine_call.c: completions. */
void engine_call_start(struct engine *e, llmd_http_call *http, int chat, const struct engine_fault *fault);
/* The model has made tokens up to produced, at `now`. May free the call. */
void engine_call_token(struct engine_call *call, uint32_t cached, int last, uint64_t now);
/* Hangs up on all clients. The model must have none of the calls any more. */
void engine_calls_drop(struct engine *e);
/* Frees it when nobody needs it any more. */
void engine_call_release(struct engine_call *call);

/* engine_answer.c: how answers are spelled. All append. */
void engine_answer_whole(const struct engine_call *call, struct engine_text *out);
/* The next event of a stream: number `written`, and all that goes with it. */
void engine_answer_role(const struct engine_call *call, struct engine_text *out);
void engine_answer_token(const struct engine_call *call, struct engine_text *out);
void engine_answer_end(const struct engine_call *call, struct engine_text *out);

/* engine_pages.c: everything that is no completion. 0, or -1: there is no such page. */
int engine_page(struct engine *e, llmd_http_call *http, const llmd_http_request *request, llmd_str path,
                const struct engine_fault *fault);
int engine_is_local(const llmd_http_request *request);

/* engine_metrics.c */
void engine_metrics_page(struct engine *e, struct engine_text *out);
void engine_count(struct engine_bucket_counts *h, const double *bounds, double value);
extern const double engine_first_bounds[], engine_gap_bounds[], engine_whole_bounds[], engine_token_bounds[];

#endif
