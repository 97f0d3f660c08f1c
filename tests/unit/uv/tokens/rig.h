/* Renderers, the agent's side and a decider's side of tokens on one loop, in one process; and a lane that decides on
 * the same region, to see what has been filed there. */
#ifndef LLMD_TESTS_TOKENS_RIG_H
#define LLMD_TESTS_TOKENS_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <llmd/llmd.h>
#include <llmd/uv.h>

#include "engine.h"

#define RENDERERS 3
#define ASKED 64

/* What became of a question. */
typedef struct asked {
  uint64_t number;
  int rc, told; /* told: how often */
  size_t n, nf;
  uint32_t ids[16];
  llmd_feature feature[4];
  char name[4][16];
} asked;

typedef struct rig {
  uv_loop_t loop;
  char folder[64], path[100], url[64];
  llmd_service service;
  llmd_pool *pool;
  llmd_scheduler *scheduler;
  llmd_lane *lane;
  llmd_request *request;
  llmd_tokens *tokens;
  llmd_token_client *client;
  engine e[RENDERERS];
  llmd_endpoint_id id[RENDERERS];
  unsigned n;
  asked a[ASKED];
  unsigned n_asked;
  int stopped, closed;
  char said[2048]; /* warnings */
  caller *held[ASKED]; /* requests that a test answers later */
  unsigned n_held;
} rig;

#define OK "HTTP/1.1 200 OK\r\n"
#define CHAT "/v1/chat/completions"
#define COMPLETIONS "/v1/completions"

/* n renderers, each with what it does; the agent's side and a client that is connected to it. */
void rig_open(rig *r, unsigned n, engine_fn fn);
void rig_close(rig *r);
void rig_start(rig *r);  /* the agent's side */
void rig_stop(rig *r);
void rig_connect(rig *r); /* waits until a question is taken */
/* Asks; returns the question, to be looked at when it has been told. */
asked *rig_ask(rig *r, const char *path, const char *body, uint32_t timeout_ms);
void rig_wait(rig *r, asked *a);
/* Both: what became of it. */
int rig_get(rig *r, const char *path, const char *body);
/* "{\"model\":\"m\",\"prompt\":TEXT}" in a ring of buffers. */
const char *rig_prompt(const char *text);
/* What a decision about this completion says: LLMD_NEED_TOKENS or, when its tokens are filed, LLMD_ROUTED. */
uint32_t rig_decides(rig *r, const char *path, const char *body);
llmd_tokens_stats rig_stats(const rig *r);
unsigned rig_requests(const rig *r); /* that all renderers got */

/* Renderers. */
void render_well(caller *c, const char *request, size_t len); /* ids are 1, 2, ... the length of the request's body */
void render_later(caller *c, const char *request, size_t len); /* held */

#endif
