#include "sim_rng.h"

#include <math.h>

uint64_t sim_mix(uint64_t x)
{
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

void sim_rng_init(struct sim_rng *rng, uint64_t seed, uint64_t stream)
{
  uint64_t x = sim_mix(seed) ^ sim_mix(~stream);
  for (int i = 0; i < 4; i++) {
    x = sim_mix(x);
    rng->s[i] = x;
  }
  rng->s[0] |= 1; /* the all-zero state is a fixed point */
}

static uint64_t rotate(uint64_t x, int k)
{
  return (x << k) | (x >> (64 - k));
}

uint64_t sim_rng_next(struct sim_rng *rng)
{
  uint64_t *s = rng->s;
  uint64_t result = rotate(s[1] * 5, 7) * 9;
  uint64_t t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rotate(s[3], 45);
  return result;
}

double sim_rng_unit(struct sim_rng *rng)
{
  return (double)((sim_rng_next(rng) >> 11) + 1) * 0x1p-53;
}

uint32_t sim_rng_below(struct sim_rng *rng, uint32_t n)
{
  uint32_t reject = (uint32_t)(-n) % n; /* 2^32 mod n values would make the first ones likelier */
  for (;;) {
    uint64_t product = (sim_rng_next(rng) >> 32) * (uint64_t)n;
    if ((uint32_t)product >= reject)
      return (uint32_t)(product >> 32);
  }
}

double sim_rng_exponential(struct sim_rng *rng)
{
  return -log(sim_rng_unit(rng));
}

uint32_t sim_rng_poisson(struct sim_rng *rng, double mean)
{
  uint32_t count = 0;
  for (double sum = sim_rng_exponential(rng); sum <= mean; sum += sim_rng_exponential(rng))
    count++;
  return count;
}
