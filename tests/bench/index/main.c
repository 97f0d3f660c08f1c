/* bench_index: rows about the index, to stand beside those of other indexes that measure the same workload.
 *
 *   bench_index [--quick] PART...
 *
 *   check    is the workload the published one? (digests)
 *   index    16 M held blocks: stores, queries hot and cold, removes, a reader beside a writer, a worker that goes
 *   moon     a conversation trace at 8, 64 and 256 workers
 *   probe    small questions of exactness and memory
 *   hash     native keys
 *   decode   from event bytes
 *   cap      bytes of the cap for each block held; answers at the cap
 *   rows     16,384 endpoints; memory and time after churn
 *   all      all of them
 *
 * Prints {"side":"llmd","row":...,"value":...} a line. Nothing fails on time; exit 1 when an answer or the workload was
 * wrong. --quick: small, for answers only. PEER_HELD (16000000), PEER_COLD (400) as the other programs have them;
 * LLMD_BENCH_BYTES (32 * PEER_HELD): cap of the big index; TRACE, or LLMD_SHARED/data/traces. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "side.h"

static void part_check(void)
{
  side_wrong += work_check(side_set.quick ? NULL : side_set.trace);
}

static const struct part {
  const char *name;
  void (*run)(void);
} parts[] = {
  {"check", part_check}, {"index", part_index},   {"moon", part_moon}, {"probe", part_probe},
  {"hash", part_hash},   {"decode", part_decode}, {"cap", part_cap},   {"rows", part_rows},
};
#define PARTS (sizeof parts / sizeof parts[0])

static uint64_t number(const char *variable, uint64_t otherwise)
{
  const char *v = getenv(variable);
  const unsigned long long n = v ? strtoull(v, NULL, 10) : 0;
  return n ? n : otherwise;
}

static void set_up(int quick)
{
  static char path[4096];
  const char *shared = getenv("LLMD_SHARED"), *trace = getenv("TRACE");
  snprintf(path, sizeof path, "%s/data/traces/mooncake_conversation.jsonl", shared ? shared : LLMD_SHARED_DEFAULT);
  side_set.quick = quick;
  side_set.held = number("PEER_HELD", quick ? 200000 : WORK_HELD);
  side_set.cold = (uint32_t)number("PEER_COLD", quick ? 10 : 400);
  side_set.bytes = number("LLMD_BENCH_BYTES", quick ? UINT64_C(64) << 20 : 32 * side_set.held);
  side_set.trace = trace ? trace : path;
}

static int run(const char *name)
{
  int known = 0;
  for (size_t i = 0; i < PARTS; i++)
    if (strcmp(name, parts[i].name) == 0 || strcmp(name, "all") == 0) {
      const uint64_t start = side_now();
      parts[i].run();
      fprintf(stderr, "# llmd: %s: %.1f s\n", parts[i].name, (double)(side_now() - start) * 1e-9);
      known = 1;
    }
  return known;
}

static int usage(void)
{
  fputs("usage: bench_index [--quick] check|index|moon|probe|hash|decode|cap|rows|all ...\n", stderr);
  return 2;
}

int main(int argc, char **argv)
{
  const int quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
  if (argc < 2 + quick)
    return usage();
  set_up(quick);
  for (int i = 1 + quick; i < argc; i++)
    if (!run(argv[i]))
      return usage();
  return side_wrong != 0;
}
