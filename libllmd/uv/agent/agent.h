/* The agent's own struct. Only files of this room include it.
 *
 *   share ── pool ◄── tick, publish (10 ms) ◄── changed() ── parts: discovery, scraper, subscriber, tokens
 *     ▲                                                        │ each with the service that it was started with
 *     ├── reap (1 s)                     admin ── view ────────┘
 *     └── policies' texts ◄── files (100 ms)
 *
 * A reload starts only those parts anew whose settings differ: connections to engines and subscriptions stay. */
#ifndef LLMD_UV_AGENT_AGENT_H
#define LLMD_UV_AGENT_AGENT_H

#include <uv.h>

#include "uv/admin/admin.h"
#include "uv/agent/policies.h"

enum { LLMD__PART_DISCOVERY, LLMD__PART_SCRAPER, LLMD__PART_SUBSCRIBER, LLMD__PART_TOKENS, LLMD__PARTS };

typedef struct llmd__part {
  llmd_agent *agent;
  void *it;                    /* NULL = does not run */
  const llmd_service *service; /* that it looks at; NULL = none */
  uint32_t kind;               /* LLMD__PART_* */
  uint32_t leaving;            /* told to stop, and has not yet */
} llmd__part;

/* A service that was replaced, until no part looks at it. */
typedef struct llmd__former {
  struct llmd__former *next;
  const llmd_service *service;
} llmd__former;

struct llmd_agent {
  uv_loop_t *loop;
  const llmd_service *service;
  char *region; /* the file's name: the first service's */
  llmd_log_fn log;
  void *log_ud;
  void (*released)(void *ud, const llmd_service *service);
  void *released_ud;
  llmd_share *share;
  llmd_scheduler *scheduler;
  llmd__stats *stats;
  llmd__admin *admin;
  llmd__admin_view view;
  llmd__part part[LLMD__PARTS];
  llmd__policies policies;
  llmd__former *former;
  uv_timer_t tick, second;
  uint32_t precise;  /* the policy reads the exact index */
  uint32_t changed;  /* something waits to be published */
  uint32_t closing, open; /* open: handles and parts that have to close */
  uint32_t replaced; /* told that the region's file has gone */
  uint32_t told;     /* endpoints when last told of; + 1 */
  const char *told_why;
  llmd_done_fn done;
  void *done_ud;
};

/* Starts what is wanted and does not run. Returns the first failure; others are tried all the same. */
int llmd__parts_start(llmd_agent *a, llmd_err *err);
/* After agent->service was replaced: those that differ stop, and start again once they have. */
void llmd__parts_renew(llmd_agent *a);
/* Each counts itself out by llmd__agent_closed. */
void llmd__parts_stop(llmd_agent *a);
/* Does a part look at this service? */
int llmd__parts_hold(const llmd_agent *a, const llmd_service *service);

/* Decides nothing itself: what the pages show, and what the parts look at, is this scheduler's. The former one goes. */
void llmd__agent_adopt(llmd_agent *a, llmd_scheduler *s);

/* One of `open` has closed. ud is the agent. */
void llmd__agent_closed(void *ud);
/* A part has left its service. */
void llmd__agent_release(llmd_agent *a);

#endif
