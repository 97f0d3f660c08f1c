/* The two times of this machine. */
#include <llmd/uv.h>

#include <time.h>

static uint64_t read_clock(clockid_t which)
{
  struct timespec t;
  (void)clock_gettime(which, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void llmd_clock(llmd_now *out)
{
  out->mono = read_clock(CLOCK_MONOTONIC);
  out->wall = read_clock(CLOCK_REALTIME);
}
