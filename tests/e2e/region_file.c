/* Writes a region with something in every part to a file: what `llmd region` is shown. */
#include "../unit/sched/busy_region.h"

int main(int argc, char **argv)
{
  size_t len;
  void *mem = busy_region(&len);
  FILE *f = argc == 2 ? fopen(argv[1], "wb") : NULL;
  int ok = f && fwrite(mem, 1, len, f) == len;
  if (f && fclose(f))
    ok = 0;
  free(mem);
  return !ok;
}
