/* Policies: plugin instances whose descriptor a loader made of a text (loader.h). The core treats them as it does all
 * instances; here is what is theirs alone. */
#ifndef LLMD_SCHED_POLICY_H
#define LLMD_SCHED_POLICY_H

#include <llmd/loader.h>
#include <llmd/scheduler.h>

#include "sched/config_load.h"

/* Where loaders and texts come from: the scheduler's options, and its pool. */
typedef struct llmd__policy_source {
  const llmd_scheduler_options *options;
  const llmd_pool *pool; /* NULL = none */
} llmd__policy_source;

/* What an instance has when a loader made it. Lives in the configuration's blocks. */
struct llmd__policy {
  llmd_loader loader;
  llmd_plugin plugin; /* a full-size copy */
  void *policy;       /* NULL = not loaded, or unloaded */
  uint64_t number;    /* of the text, when it came from the region */
  const char *file, *path; /* NULL = none */
};

/* Makes the policy of the instance in->name of this type, whose parameters are params (may be NULL). LLMD_E_UNKNOWN_TYPE:
 * there is no loader for it either. */
int llmd__policy_load(llmd__loader *l, const llmd__node *at, const char *type, const llmd__node *params,
                      llmd__instance *in);
/* Its parameters are stored: self is the policy's. */
int llmd__policy_bind(llmd__loader *l, llmd__instance *in);
void llmd__policy_unload(llmd__policy *p);
/* A hash of the text. */
uint64_t llmd__policy_hash(const llmd__policy *p);

/* pool_policy.c: the number of the text that the region has; 0 = none. */
uint64_t llmd__pool_policy_number(const llmd_pool *pool, const char *file, size_t len);
/* Does the piece of state hold what it says? */
int llmd__pool_policy_sound(const void *mem, size_t bytes);

#endif
