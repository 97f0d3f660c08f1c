/* A pool, a configuration and one request at a time, all of it through the public API: what the tests of the
 * policies in lua/policies stand on. Include after cmocka.h.
 *
 *   rig_start(argc, argv)      FOLDER of the policies, the ENGINE (llmd-lua.so)
 *   rig_open                   n endpoints pod-1 .. pod-n, idle
 *   rig_label, rig_load, ...   what is known of them, rig_publish
 *   rig_configure, rig_profile which policies decide
 *   rig_header, rig_decide     a request; the chosen endpoint's number, from 0 */
#ifndef POLICIES_RIG_H
#define POLICIES_RIG_H

#include <llmd/llmd.h>

#define RIG_ENDPOINTS 64u
#define RIG_LANES 2u
#define RIG_NOBODY 0xffffffffu

typedef struct rig {
  uint32_t n;
  uint32_t tokens; /* of the next request's prompt, about */
  llmd_pool *pool;
  llmd_scheduler *scheduler;
  llmd_lane *lane[RIG_LANES];
  llmd_request *request;
  void *memory;
  llmd_now now;
  uint64_t seed; /* of the next decision; each takes one */
  const char *model, *prompt;
  const char *header[8];
  llmd_endpoint_id id[RIG_ENDPOINTS];
  llmd_decision decision;
} rig;

/* Copies policies and engine to a folder of our own, so that who may write to the tree does not matter. */
void rig_start(int argc, char **argv);
void rig_end(void);
const char *rig_folder(void);

void rig_open(rig *r, uint32_t n);
void rig_close(rig *r);

/* One label of an endpoint, in the place of those it had. */
void rig_label(rig *r, uint32_t i, const char *key, const char *value);
/* An attribute of the pool (LLMD_ATTR_WAITING, ...) at one endpoint; seen after rig_publish, which also says that all
 * metrics are fresh. */
void rig_set(rig *r, uint32_t i, uint32_t attribute, double value);
void rig_adapters(rig *r, uint32_t i, const char *const *names, uint32_t n);
void rig_publish(rig *r);

/* The scheduler of a whole configuration. 0 or a code; err may be NULL. */
int rig_try(rig *r, const char *config, llmd_err *err);
void rig_configure(rig *r, const char *config);
/* The policy in one profile, followed by max-score-picker. params: "share: 2", or "". */
void rig_policy(rig *r, const char *file, const char *parameters);
void rig_options(llmd_scheduler_options *out);

/* Sets a header of the following requests; value NULL removes it. */
void rig_header(rig *r, const char *name, const char *value);
/* A request with tokens, model, prompt and headers of the rig. */
void rig_request(rig *r);
/* Makes a request and decides it on that lane; the index of the destination, RIG_NOBODY when there is none. */
uint32_t rig_decide_on(rig *r, uint32_t lane);
uint32_t rig_decide(rig *r);
/* It went where it was to go. */
void rig_commit(rig *r);
uint32_t rig_number(const rig *r, llmd_endpoint_id id);

#endif
