#include "sim_histogram.h"

#include <string.h>

#define FIRST_EXPONENT (1023 - 30)

static uint32_t bucket_of(double seconds)
{
  uint64_t bits;
  int64_t bucket;
  memcpy(&bits, &seconds, sizeof bits);
  bucket = (int64_t)(bits >> 46) - (int64_t)FIRST_EXPONENT * 64; /* exponent and the six top bits of the fraction */
  if (bucket < 0)
    return 0;
  return bucket < SIM_HISTOGRAM_BUCKETS ? (uint32_t)bucket : SIM_HISTOGRAM_BUCKETS - 1;
}

/* The middle of a bucket. */
static double value_of(uint32_t bucket)
{
  uint64_t bits = ((uint64_t)bucket + (uint64_t)FIRST_EXPONENT * 64) << 46 | (uint64_t)1 << 45;
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

void sim_histogram_add(struct sim_histogram *h, double seconds, uint64_t times)
{
  if (times == 0)
    return;
  if (!(seconds > 0))
    seconds = 0;
  if (h->count == 0 || seconds < h->min)
    h->min = seconds;
  if (h->count == 0 || seconds > h->max)
    h->max = seconds;
  h->count += times;
  h->sum += seconds * (double)times;
  h->bucket[bucket_of(seconds)] += times;
}

void sim_histogram_merge(struct sim_histogram *into, const struct sim_histogram *from)
{
  if (from->count == 0)
    return;
  if (into->count == 0 || from->min < into->min)
    into->min = from->min;
  if (into->count == 0 || from->max > into->max)
    into->max = from->max;
  into->count += from->count;
  into->sum += from->sum;
  for (uint32_t i = 0; i < SIM_HISTOGRAM_BUCKETS; i++)
    into->bucket[i] += from->bucket[i];
}

double sim_histogram_mean(const struct sim_histogram *h)
{
  return h->count ? h->sum / (double)h->count : 0;
}

double sim_histogram_quantile(const struct sim_histogram *h, double q)
{
  double rank = q * (double)(h->count ? h->count - 1 : 0);
  uint64_t seen = 0;
  if (h->count == 0)
    return 0;
  for (uint32_t i = 0; i < SIM_HISTOGRAM_BUCKETS; i++) {
    seen += h->bucket[i];
    if ((double)seen > rank) {
      double value = value_of(i);
      return value < h->min ? h->min : value > h->max ? h->max : value;
    }
  }
  return h->max;
}
