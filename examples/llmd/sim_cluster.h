/* sim_cluster.h: one run: a workload sent through a router to a row of engines, event by event. */
#ifndef SIM_CLUSTER_H
#define SIM_CLUSTER_H

#include <stdint.h>

#include "sim_histogram.h"
#include "sim_model.h"
#include "sim_router.h"
#include "sim_workload.h"

struct sim_config {
  const struct sim_model *model;
  const struct sim_workload *workload;
  uint32_t n_engines;
  uint64_t seed; /* of the decisions; arrivals have the workload's */
  /* A scrape of all engines every `period` seconds, delivered `lag` later. Period 0: the router sees every engine as
   * it is at each decision (lag must be 0 then). */
  double metrics_period;
  double metrics_lag;
  /* Where the router listens: what an engine tells when a step ends arrives `event_lag` later, or, with probability
   * event_loss, never; an engine can repeat its last event_keep messages (0: SIM_EVENT_KEEP). */
  double event_lag;
  double event_loss;
  uint32_t event_keep;
  /* Every so many seconds one engine forgets all it has cached: the first time as a new process, the next time because
   * somebody told it to, and so on; its requests wait in its queue again. 0: never. */
  double restart_period;
  uint64_t (*clock_ns)(void); /* times the decisions; NULL: not timed */
};

#define SIM_EVENT_KEEP 10000u

#define SIM_DONE 0
#define SIM_REFUSED 1   /* by the router */
#define SIM_TOO_LONG 2  /* for the engine's cache */

struct sim_record { /* one request, in the order of the workload; seconds from the start of the run */
  double sent;
  double first; /* first token, at the client */
  double done;
  uint32_t engine;
  uint32_t cached_tokens;
  uint32_t status;
};

struct sim_span { /* one stage */
  double start;
  double end;
  uint64_t preemptions;
  uint64_t evictions;
  uint64_t steps;
  double *busy;  /* seconds, per engine */
  uint64_t *work; /* tokens computed, per engine */
  struct sim_histogram *gaps;      /* between tokens */
  struct sim_histogram *decisions; /* duration of a decision, in seconds */
};

struct sim_result {
  struct sim_config config; /* its pointers must outlive the result */
  char router[64];
  struct sim_record *records;
  struct sim_span *spans;
  int listened; /* heard is set */
  struct sim_heard heard;
};

/* fraction of the requests done, in [0, 1], rising; called at most 1,000 times. Not 0 stops the run. */
typedef int (*sim_progress_fn)(void *ud, double fraction);

/* LLMD_E_INVALID (configuration, or an engine number out of range from the router), LLMD_E_NOMEM, LLMD_E_STOPPED, or
 * what the router returned. *result is written only on success. progress may be NULL. */
int sim_run(const struct sim_config *config, struct sim_router *router, struct sim_result *result,
            sim_progress_fn progress, void *ud);
void sim_result_free(struct sim_result *result); /* a zeroed one may be freed */

/* For sim_run: LLMD_E_INVALID; room for a run's result, which is freed whatever comes back: LLMD_E_NOMEM. */
int sim_config_check(const struct sim_config *config);
int sim_result_make(struct sim_result *result, const struct sim_config *config, const char *name);

#endif
