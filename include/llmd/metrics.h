/* llmd/metrics.h: counters and gauges out, through a callback; with the reference's names where it has them
 * (llm_d_epp_*). */
#ifndef LLMD_METRICS_H
#define LLMD_METRICS_H

#include <llmd/pool.h>
#include <llmd/scheduler.h>

LLMD_BEGIN

#define LLMD_METRIC_COUNTER 1u
#define LLMD_METRIC_GAUGE 2u

/* One sample. All text is NUL-terminated and borrowed for the call; labels: n pairs key, value. */
typedef int (*llmd_metric_fn)(void *ud, const char *name, uint32_t type, const char *help, const char *const *labels,
                              uint32_t n, double value);

/* Visits every metric of the scheduler (its lanes summed) and of its pool, in a stable order, until fn returns
 * non-zero. Any thread. */
LLMD_API int llmd_metrics_visit(const llmd_scheduler *s, llmd_metric_fn fn, void *ud);
/* The same as Prometheus text 0.0.4. */
LLMD_API int llmd_metrics_write(const llmd_scheduler *s, llmd_write_fn fn, void *ud);

LLMD_END
#endif
