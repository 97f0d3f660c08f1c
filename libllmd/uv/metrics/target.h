/* Whom the scraper asks: one target for each published endpoint.
 *
 *   llmd_pool_each ──(every REFRESH_NS)──► added, changed, gone ──► targets, in the pool's order */
#ifndef LLMD_UV_METRICS_TARGET_H
#define LLMD_UV_METRICS_TARGET_H

#include <llmd/pool.h>

#define LLMD__TARGET_ADDRESS 256u

/* Where an endpoint's metrics are, if not where its requests go. */
#define LLMD__LABEL_METRICS_ADDRESS "metricsAddress"
#define LLMD__LABEL_METRICS_PORT "metricsPort"

typedef struct llmd__target {
  llmd_endpoint_id id;
  void *owner;
  char address[LLMD__TARGET_ADDRESS];
  uint32_t port;
  uint32_t place;      /* hash of the two and of the place of its models, to see a change */
  char api[LLMD__TARGET_ADDRESS]; /* where its models are asked for */
  uint32_t api_port;
  uint32_t round;      /* the last refresh that saw it */
  uint64_t due;        /* mono ns: when its page is asked for next */
  uint64_t models_due; /* UINT64_MAX = never */
  uint64_t answered;   /* mono ns: its last good page; in the beginning, when it was first seen */
  uint64_t request;    /* under way; 0 = none */
  uint32_t failures;   /* pages in a row */
  uint32_t model_failures;
  uint32_t state;      /* LLMD__TARGET_* */
} llmd__target;

enum { LLMD__TARGET_NEW, LLMD__TARGET_FRESH, LLMD__TARGET_STALE, LLMD__TARGET_UNKNOWN };

typedef struct llmd__targets {
  llmd__target **at;
  uint32_t n, room, round;
  uint32_t short_of_memory;
  void *ud;
  void (*added)(void *ud, llmd__target *t);
  void (*gone)(void *ud, llmd__target *t); /* it is freed after this */
} llmd__targets;

/* Makes the list equal to what is published. LLMD_E_NOMEM: some are missing until next time. */
int llmd__targets_refresh(llmd__targets *l, const llmd_pool *pool);
/* gone for each. */
void llmd__targets_clear(llmd__targets *l);

#endif
