/* Modules for tests that must not be loaded, or not together: compiled once for each BROKEN_* and for TWIN. */
#include <llmd/plugin.h>

#if defined BROKEN_LIST /* made for another ABI */
LLMD_API const llmd_plugin *const *llmd_module(uint32_t abi);
const llmd_plugin *const *llmd_module(uint32_t abi)
{
  (void)abi;
  return NULL;
}
#elif defined BROKEN_NONE
LLMD_API int something_else(void);
int something_else(void)
{
  return 0;
}
#else

static int score(const void *self, const llmd_batch *b, double *out)
{
  (void)self;
  for (uint32_t i = 0; i < b->n; i++)
    out[i] = 1;
  return 0;
}

static const llmd_plugin plugin = {
#if defined BROKEN_SHORT
    .size = 8,
#else
    .size = sizeof(llmd_plugin),
#endif
#if defined BROKEN_ABI
    .abi = LLMD_PLUGIN_ABI + 1,
#else
    .abi = LLMD_PLUGIN_ABI,
#endif
#if defined BROKEN_NAME
    .type = "",
#elif defined TWIN /* of a built-in type */
    .type = "queue-scorer",
#else
    .type = "broken-scorer",
#endif
#if defined BROKEN_VERB
    .decide = NULL,
    .kind = LLMD_SCORER | LLMD_DECIDER,
#else
    .kind = LLMD_SCORER,
#endif
    .summary = "for tests", .self_size = 1, .score = score};
LLMD_MODULE(&plugin);
#endif
