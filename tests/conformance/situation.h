/* One situation of the oracle (a configuration, a request, endpoints) built through the public headers: a pool of its own,
 * a scheduler under compat = strict, and a request that carries what the reference's producers would have said. */
#ifndef LLMD_CONFORMANCE_SITUATION_H
#define LLMD_CONFORMANCE_SITUATION_H

#include <llmd/llmd.h>

#include <cjson/cJSON.h>

#define SITUATION_ENDPOINTS 64
#define SITUATION_TOKENS 65536

typedef struct situation {
  const cJSON *json;
  uint32_t n;                             /* endpoints of the case, in its order */
  llmd_endpoint_id id[SITUATION_ENDPOINTS];
  llmd_endpoint_id peer;                  /* an endpoint beside them that is never a candidate; 0 = none */
  char *name[SITUATION_ENDPOINTS];        /* "namespace/name", as explain spells them */
  llmd_pool *pool;
  llmd_scheduler *scheduler;
  llmd_lane *lane;
  void *memory; /* of the request */
  llmd_request *request;
  llmd_now now;
} situation;

/* Builds everything up to the decision: earlier requests are decided and committed. Returns 0; 1 when the configuration is
 * refused (*err says why); a code when the situation cannot be built (*what says where). json outlives the situation. */
int situation_open(situation *s, const cJSON *json, llmd_err *err, const char **what);
void situation_close(situation *s);

/* Index of an endpoint in the case; -1 = none of them. */
int situation_index(const situation *s, llmd_endpoint_id id);
int situation_index_by_name(const situation *s, const char *name);

#endif
