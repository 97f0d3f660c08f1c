/* Schedulers whose policies have files (llmd/loader.h): whose text counts.
 *
 *   the region's ─► else the file's                what was tried and put there by the agent
 *      └─ it does not fit (another configuration, another engine) ─► all of them by their files */
#ifndef LLMD_UV_POLICY_MAKE_H
#define LLMD_UV_POLICY_MAKE_H

#include <llmd/uv.h>

/* Reads files for llmd_scheduler_options.policy. Zero at first. */
typedef struct llmd__disk {
  const char *folder; /* of relative names; "" = they are left to others */
  struct llmd__disk_text *read; /* texts, as long as the scheduler is being made */
  uint32_t asked;     /* names that were asked for */
  uint32_t silent;    /* nothing is read */
} llmd__disk;

/* Is a policy's file to be trusted, and what is in it? As loaders do it: no link, of root or this user, writable by nobody
 * else but this user's effective group, LLMD_POLICY_BYTES at most. malloc'ed; or NULL and why. */
char *llmd__policy_read(const char *path, size_t *len, const char **why);

/* What a service says, but clock, log and explain. */
void llmd__policy_options(const llmd_service *s, llmd_scheduler_options *out);

/* llmd_scheduler_create of the service's policy; o->policy is set here. LLMD_E_BUSY: again, after a while. */
int llmd__policy_make(const llmd_scheduler_options *o, const llmd_service *s, llmd_pool *pool, llmd_scheduler **out,
                      llmd_err *err);

#endif
