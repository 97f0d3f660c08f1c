/* sim_test.h: what the simulator's tests share: cmocka, small requests, files of the shared folder. */
#ifndef SIM_TEST_H
#define SIM_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "sim_workload.h"

/* A request over the chain 100, 101, 102, ...; family separates chains. The ids live in `room`. */
static inline struct sim_request chain_request(uint64_t id, uint64_t family, uint32_t prompt, uint32_t output,
                                               uint32_t block_size, uint64_t *room)
{
  struct sim_request q = {.id = id, .prompt_tokens = prompt, .output_tokens = output,
                          .n_blocks = prompt / block_size, .blocks = room};
  for (uint32_t i = 0; i < q.n_blocks; i++)
    room[i] = family * 1000 + i;
  return q;
}

#ifdef LLMD_SHARED_DEFAULT
/* Path of a file in the shared folder, or the test is skipped. */
static inline const char *shared_file(const char *name)
{
  static char path[4096];
  const char *root = getenv("LLMD_SHARED");
  FILE *file;
  (void)snprintf(path, sizeof path, "%s/%s", root ? root : LLMD_SHARED_DEFAULT, name);
  file = fopen(path, "rb");
  if (!file) {
    print_message("# skipped: needs %s of the shared folder\n", name);
    skip();
  }
  fclose(file);
  return path;
}
#endif

#ifdef SIM_TEST_TEMPORARY
/* Writes text to the test program's temporary file and returns its name; remove(SIM_TEST_TEMPORARY) when done. */
static inline const char *temporary_file(const char *text, size_t len)
{
  FILE *file = fopen(SIM_TEST_TEMPORARY, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(text, 1, len, file), len);
  assert_int_equal(fclose(file), 0);
  return SIM_TEST_TEMPORARY;
}
#endif

#endif
