/* bench_index: the workload of the index bench.
 *
 *   bench_index check [TRACE]    is the workload the published one? */
#include <stdio.h>
#include <string.h>

#include "work.h"

static int usage(void)
{
  fputs("usage: bench_index check [TRACE]\n", stderr);
  return 2;
}

int main(int argc, char **argv)
{
  if (argc < 2 || strcmp(argv[1], "check") != 0)
    return usage();
  return work_check(argc > 2 ? argv[2] : NULL) != 0;
}
