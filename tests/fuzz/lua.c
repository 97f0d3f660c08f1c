/* Fuzz target: the text of a Lua policy, loaded and run.
 *
 * Whatever the bytes: a refusal has a code and words; what is accepted scores eight endpoints within its limits, gives
 * finite numbers or nothing, fails only with codes that say why, leaves nothing behind for the next decision to trip
 * over, and every byte comes back. The first byte picks a memory cap, so that allocations are refused in odd places. */
#include "../unit/lua/hostile.h"

#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int true_, const char *what)
{
  if (true_)
    return;
  fprintf(stderr, "lua fuzz target: %s\n", what);
  abort();
}

static int known_failure(int rc)
{
  return rc == LLMD_E_PLUGIN || rc == LLMD_E_TYPE || rc == LLMD_E_LIMIT || rc == LLMD_E_NOMEM || rc == LLMD_E_BYPASSED;
}

static void run(victim *v)
{
  double out[VICTIM_ROWS];
  for (int i = 0; i < 3; i++) {
    int rc = victim_score(v, i % 2, out);
    require(rc >= 0 || known_failure(rc), "a failure without a reason");
    for (uint32_t k = 0; k < VICTIM_ROWS && rc >= 0; k++)
      require(!isinf(out[k]), "a score that is infinite");
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  victim v = {0};
  int rc;
  if (size < 2)
    return 0;
  rc = victim_load(&v, (const char *)data + 1, size - 1, data[0] ? 0 : 49152);
  if (rc)
    require(rc < 0 && v.err.text[0], "a refusal without words");
  else if (v.plugin->score && !victim_open(&v))
    run(&v);
  victim_free(&v);
  require(v.tally.blocks == 0 && v.tally.bytes == 0, "memory was lost");
  return 0;
}
