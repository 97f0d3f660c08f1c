/* Policies with files of their own (llmd/loader.h): watched, and when one changes, tried and put into the region, from
 * where every process takes it. Lives in the agent; only files of this room include it.
 *
 *   file ─► changed ─► compiled ─► its examples ─► recorded requests ─► llmd_pool_put_policy ─► workers swap
 *                         └────────────┴───────────────┴──► wrong: file:line is told, the former text stays */
#ifndef LLMD_UV_AGENT_POLICIES_H
#define LLMD_UV_AGENT_POLICIES_H

#include "uv/admin/admin.h"
#include "uv/discover/file.h"

typedef struct llmd__policy_file {
  struct llmd__policy_file *next;
  llmd_agent *agent;
  llmd__file *watch;
  char *name; /* as in the configuration */
  char *path;
  char *text; /* as read last, while it waits to be tried; NULL = nothing waits */
  size_t len;
  char *bad;  /* a text that was refused: it is not tried again until somebody asks for it; NULL = none */
  size_t bad_len;
  char refused[512]; /* what is wrong with the file as it is now; "" = nothing */
} llmd__policy_file;

typedef struct llmd__policies {
  llmd__policy_file *first;
  uint32_t open; /* watches that have not closed yet */
  uint32_t stopping;
  uint32_t turns;
} llmd__policies;

/* Makes the service's scheduler. Texts that the region does not have yet are tried by their examples and put there. */
int llmd__policies_make(llmd_agent *a, const llmd_service *s, llmd_scheduler **out, llmd_err *err);
/* After the agent took another scheduler: its files, and no others, are watched. What they hold is tried at once. */
void llmd__policies_watch(llmd_agent *a);
/* A hundred times a second. */
void llmd__policies_tick(llmd_agent *a, uint64_t now);
/* Counts itself out by llmd__agent_closed when there was something to close. */
void llmd__policies_stop(llmd_agent *a);

/* For the pages: what is wrong with what a file holds now; NULL = nothing. */
const char *llmd__policies_refused(const void *agent, const llmd_str *file);

#endif
