/* The agent's pages over HTTP, for people, probes and Prometheus:
 *
 *   /metrics     Prometheus text: the library's, the agent's, what workers counted
 *   /healthz     200: this process turns its loop
 *   /readyz      200: requests can be decided; 503 and why, as JSON
 *   /endpoints   JSON: each endpoint, what is known of it, what is in flight
 *   /policies    JSON: policies with files of their own, which text is in use
 *   /explain     JSON: decisions explained lately
 *   /records     bytes: decisions recorded lately, for llmd_replay_other
 *
 * Only GET; nothing can be changed here. */
#ifndef LLMD_UV_ADMIN_ADMIN_H
#define LLMD_UV_ADMIN_ADMIN_H

#include <llmd/http.h>
#include <llmd/uv.h>

#include "uv/admin/page.h"
#include "uv/stats/stats.h"

/* What the pages are about. It belongs to the agent, which keeps it up to date; it is read at each request, in the
 * loop's thread. */
typedef struct llmd__admin_view {
  llmd_share *share;
  const llmd_service *service;
  const llmd_scheduler *scheduler;
  llmd__stats *stats;                /* what workers counted */
  const llmd_scraper *scraper;       /* NULL = none */
  const llmd_subscriber *subscriber; /* NULL = none */
  const llmd_tokens *tokens;         /* NULL = none */
  uint64_t begun;                    /* mono ns */
  uint64_t ticks, published, held_up, reaped, reloads, reloads_failed; /* ever; held_up: no buffer was free */
  uint64_t policies_taken, policies_refused; /* changed texts of policies, ever */
  /* What is wrong with what a policy's file holds now; NULL = nothing. May be NULL. */
  const char *(*refused)(const void *ud, const llmd_str *file);
  const void *refused_ud;
} llmd__admin_view;

typedef struct llmd__admin llmd__admin;
int llmd__admin_start(struct uv_loop_s *loop, const char *address, const llmd__admin_view *view, llmd__admin **out,
                      llmd_err *err);
uint32_t llmd__admin_port(const llmd__admin *admin);
/* done comes from the loop. */
void llmd__admin_stop(llmd__admin *admin, llmd_done_fn done, void *ud);

/* Can requests be decided on what is published? */
typedef struct llmd__admin_state {
  uint32_t endpoints, fresh;
  const char *why; /* NULL = yes; else why not, static */
} llmd__admin_state;
void llmd__admin_look(const llmd__admin_view *view, llmd__admin_state *out);

/* The pages; what goes wrong stands in page->rc. */
void llmd__admin_metrics(const llmd__admin_view *view, const llmd_http_stats *http, llmd__page *page);
void llmd__admin_endpoints(const llmd__admin_view *view, llmd__page *page);
void llmd__admin_policies(const llmd__admin_view *view, llmd__page *page);
void llmd__admin_explain(const llmd__admin_view *view, llmd__page *page);
void llmd__admin_records(const llmd__admin_view *view, llmd__page *page);
/* Returns the HTTP status. */
uint32_t llmd__admin_ready(const llmd__admin_view *view, llmd__page *page);

#endif
