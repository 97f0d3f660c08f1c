/* sim_histogram.h: a histogram of positive times, for samples too many to keep (every gap between two tokens,
 * every decision). Buckets are 64 to an octave, taken from the bits of the double: a quantile is within 0.8 %. */
#ifndef SIM_HISTOGRAM_H
#define SIM_HISTOGRAM_H

#include <stdint.h>

#define SIM_HISTOGRAM_OCTAVES 44 /* 2^-30 s (about 1 ns) up to 2^14 s */
#define SIM_HISTOGRAM_BUCKETS (SIM_HISTOGRAM_OCTAVES * 64)

struct sim_histogram {
  uint64_t count;
  double sum;
  double min;
  double max;
  uint64_t bucket[SIM_HISTOGRAM_BUCKETS];
};

/* A zeroed histogram is empty and ready. `times` samples of one value. */
void sim_histogram_add(struct sim_histogram *h, double seconds, uint64_t times);
void sim_histogram_merge(struct sim_histogram *into, const struct sim_histogram *from);
double sim_histogram_mean(const struct sim_histogram *h);               /* 0 when empty */
double sim_histogram_quantile(const struct sim_histogram *h, double q); /* q in [0, 1]; 0 when empty */

#endif
