/* Fixed situations, each made from nothing but the public API: a pool of eight endpoints, a configuration, some traffic
 * before, and one request that is decided with its why kept. Golden records are made from them, tests use them too. */
#ifndef SITUATION_H
#define SITUATION_H

#include <llmd/llmd.h>

#define SITUATION_ENDPOINTS 8u
#define SITUATION_IDS 176u

typedef struct situation {
  const char *name;
  const char *config; /* file beside the records, without .yaml; NULL = the default policy */
  const char *path, *body;
  const char *warm_body; /* of the requests before; each has its own digit in the place of '@'. NULL = body */
  const char *header[6]; /* name, value, ... */
  uint64_t seed;
  uint32_t compat, fail;
  int32_t priority;
  uint32_t warm;      /* requests that were carried out before */
  uint32_t stale;     /* all metrics are old */
  uint32_t busy;      /* all endpoints are beyond every threshold */
  uint32_t narrowed;  /* a subset, an exclusion and a drained endpoint */
  uint32_t predicted; /* the host sets latency predictions on the request */
  uint32_t tokens;    /* not 0: the host has so many real ids of the prompt, and engines tell of their caches */
} situation;

typedef struct rig {
  llmd_pool *pool;
  llmd_scheduler *scheduler;
  llmd_lane *lane;
  llmd_request *request;
  void *memory;
  char *config;
  char warm[512];
  llmd_endpoint_id id[SITUATION_ENDPOINTS];
  llmd_decision decision;
  llmd_now now;
} rig;

extern const situation situations[];
extern const unsigned n_situations;
/* Those that need the engine of policies in Lua; it is in this folder (NULL: they cannot be made). */
extern const situation lua_situations[];
extern const unsigned n_lua_situations;
extern const char *situation_loaders;

/* Each returns 0 or a code. folder: where the configurations are. The rig is to be closed either way. */
int rig_open(rig *r, const situation *s, const char *folder);
int rig_decide(rig *r, const situation *s);
void rig_close(rig *r);

#endif
