/* sim_rng.h: the simulator's own random numbers (xoshiro256**, seeded through splitmix64), the same on every machine.
 * A stream separates users of one seed: arrivals never change because a router drew a number more. */
#ifndef SIM_RNG_H
#define SIM_RNG_H

#include <stdint.h>

struct sim_rng {
  uint64_t s[4];
};

/* One step of splitmix64 over x: a bijection that spreads every bit. Also used to make content ids. */
uint64_t sim_mix(uint64_t x);

void sim_rng_init(struct sim_rng *rng, uint64_t seed, uint64_t stream);
uint64_t sim_rng_next(struct sim_rng *rng);
double sim_rng_unit(struct sim_rng *rng);                 /* in (0, 1] */
uint32_t sim_rng_below(struct sim_rng *rng, uint32_t n);  /* in [0, n), unbiased; n > 0 */
double sim_rng_exponential(struct sim_rng *rng);          /* mean 1 */
uint32_t sim_rng_poisson(struct sim_rng *rng, double mean); /* by counting exponential gaps: O(mean), exact */

#endif
