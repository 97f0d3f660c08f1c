/* Processes make plugin state in one region, all the same pieces in another order, some of them in vain; one is killed
 * with -9 in the midst of it, and the writer is told. In the end every piece is there once, whole, and all room is known:
 * it belongs to a piece, or is free to be taken.
 *
 *   makers [ROUNDS]    default 150; LLMD_LONG=1: 5,000 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/region.h"
#include "step.h"

#define MAKERS 3u
#define PIECES 24u
#define KIND 9u /* of no kind that is looked into */

static llmd__region *g;
static uint64_t dice = 88172645463325252u, failures, killed;

static uint32_t roll(uint32_t n)
{
  dice ^= dice << 13;
  dice ^= dice >> 7;
  dice ^= dice << 17;
  return (uint32_t)((dice >> 32) % n);
}

static void must(int ok)
{
  if (!ok)
    abort();
}

static uint64_t bytes_of(uint32_t piece)
{
  return 64 * (1 + piece * 7 % 11);
}

/* The number of the piece all over it; every fifth time it goes wrong. */
static int fill(void *mem, size_t bytes, void *ud)
{
  uint32_t piece = *(const uint32_t *)ud;
  memset(mem, (int)piece + 1, bytes);
  return roll(5) ? 0 : LLMD_E_RANGE;
}

static void make_all(uint32_t number)
{
  uint64_t off, got;
  dice += (uint64_t)number * 7919;
  for (uint32_t i = 0; i < PIECES; i++) {
    uint32_t piece = (i + number * 5) % PIECES;
    char name[32];
    int rc;
    snprintf(name, sizeof name, "piece/%u", piece);
    do
      rc = llmd__region_state(g, 10 + number, name, KIND, bytes_of(piece), fill, &piece, &off, &got);
    while (rc == LLMD_E_RANGE || rc == LLMD_E_BUSY);
    must(rc == 0);
  }
}

static pid_t start(uint32_t number)
{
  pid_t child = fork();
  must(child >= 0);
  if (child == 0) {
    make_all(number);
    _exit(0);
  }
  return child;
}

static void fail(uint32_t round, const char *what)
{
  printf("# round %u: %s\n", round, what);
  failures++;
}

static int is_whole(const llmd__state *s)
{
  uint32_t piece = (uint32_t)strtoul(s->name + 6, NULL, 10);
  const unsigned char *p = llmd__at(g, s->off);
  if (s->bytes < bytes_of(piece))
    return 0;
  for (uint64_t i = 0; i < bytes_of(piece); i++)
    if (p[i] != piece + 1)
      return 0;
  return 1;
}

static void look(uint32_t round)
{
  const llmd__claim *c = llmd__region_claims(g);
  const llmd__state *s;
  uint64_t known = 0;
  uint32_t n = 0, seen = 0;
  for (; (s = llmd__region_state_at(g, n)) != NULL; n++) {
    seen |= 1u << (strtoul(s->name + 6, NULL, 10) % 32);
    known += s->bytes + llmd__region_state_head();
    if (!is_whole(s))
      fail(round, "a piece that is not whole");
  }
  if (n != PIECES || seen != (1u << PIECES) - 1)
    fail(round, "a piece is missing, or there twice");
  for (uint32_t i = 0; i < LLMD__CLAIMS; i++) {
    if (atomic_load(&c[i].owner))
      fail(round, "somebody still makes something");
    known += atomic_load(&c[i].off) ? atomic_load(&c[i].bytes) : 0;
  }
  if (known != atomic_load(&g->state_used))
    fail(round, "room is lost");
}

static void one_round(uint32_t round, const llmd_region_options *o, size_t len)
{
  pid_t child[MAKERS];
  uint32_t victim = roll(MAKERS), when = roll(PIECES);
  int status;
  must(!llmd_region_format(g, len, o));
  for (uint32_t i = 0; i < MAKERS; i++)
    child[i] = start(i);
  while (when && !llmd__region_state_at(g, when - 1))
    ;
  kill(child[victim], SIGKILL);
  must(waitpid(child[victim], &status, 0) == child[victim]);
  killed += WIFSIGNALED(status);
  llmd__region_state_reclaim(g, 10 + victim, 1);
  for (uint32_t i = 0; i < MAKERS; i++)
    if (i != victim) {
      must(waitpid(child[i], &status, 0) == child[i]);
      if (status)
        fail(round, "a maker that lives did not succeed");
    }
  llmd__region_state_reclaim(g, 10 + victim, 1); /* gaps are looked for when nobody is at it */
  look(round);
}

int main(int argc, char **argv)
{
  llmd_region_options o = {.size = sizeof o, .max_endpoints = 1, .max_lanes = 1, .max_tickets = 1, .ring_bytes = 64,
                           .string_bytes = 1024, .state_bytes = 64 << 10, .prefix_bytes = 64};
  uint32_t rounds = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : getenv("LLMD_LONG") ? 5000 : 150;
  size_t len = llmd_region_size(&o);
  g = step_map(len);
  for (uint32_t i = 0; i < rounds && failures < 10; i++)
    one_round(i, &o, len);
  printf("1..1\n# %u rounds, %llu killed in time\n", rounds, (unsigned long long)killed);
  printf("%sok 1 - state is made once, and a dead maker's room comes back\n", failures ? "not " : "");
  return failures != 0;
}
