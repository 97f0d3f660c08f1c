/* single-profile-handler: the one scheduling profile runs once, and its pick is the destination. */
#include <llmd/plugin.h>

static int next(const void *self, const llmd_stages *s, llmd_next *out)
{
  (void)self;
  if (s->n == 1 && s->run[0].state == LLMD_RUN_NOT)
    out->run = 1;
  return 0;
}

static int finish(const void *self, const llmd_stages *s, llmd_outcome *out)
{
  (void)self;
  if (s->n != 1 || s->run[0].state != LLMD_RUN_OK)
    return LLMD_E_NONE;
  out->primary = 0;
  return 0;
}

const llmd_plugin llmd__single_profile_handler = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "single-profile-handler", .summary = "runs the only scheduling profile",
  .kind = LLMD_PROFILE_HANDLER, .stability = LLMD_BETA,
  .self_size = 1, .next = next, .finish = finish};

LLMD_MODULE(&llmd__single_profile_handler);
