/* data-parallel-profile-handler: for servers whose ranks listen on ports of their own behind one primary port.
 *
 * The one profile picks a rank. The request goes to that rank's machine but to the primary port, where a sidecar reads
 * from x-data-parallel-host-port which rank was meant. */
#include <llmd/plugin.h>

#include <stdio.h>

typedef struct data_parallel {
  int64_t port;
} data_parallel;

/* 0 passes in the reference, which then sends to port 0; here it leaves the port alone. */
static int validate(void *self, llmd_err *err)
{
  const data_parallel *p = self;
  if (p->port >= 0 && p->port <= 65535)
    return 0;
  snprintf(err->path, sizeof err->path, "primaryPort");
  snprintf(err->text, sizeof err->text, "must be between 1 and 65535, got %lld", (long long)p->port);
  return LLMD_E_RANGE;
}

static int next(const void *self, const llmd_stages *s, llmd_next *out)
{
  (void)self;
  if (s->n == 1 && s->run[0].state == LLMD_RUN_NOT)
    out->run = 1;
  return 0;
}

static int finish(const void *self, const llmd_stages *s, llmd_outcome *out)
{
  const data_parallel *p = self;
  if (s->n != 1 || s->run[0].state != LLMD_RUN_OK || s->run[0].n == 0)
    return LLMD_E_NONE;
  out->primary = 0;
  out->port = (uint32_t)p->port;
  out->n_headers = 1;
  out->header[0].name = "x-data-parallel-host-port";
  out->header[0].profile = 0;
  out->header[0].what = LLMD_HEADER_FIRST;
  return 0;
}

static const llmd_param params[] = {
  {.name = "primaryPort", .type = LLMD_PARAM_INT, .flags = LLMD_PARAM_NO_RANGE, .offset = offsetof(data_parallel, port),
   .preset = "8000", .min = 1, .max = 65535, .doc = "port that requests are sent to, whichever rank was picked"},
  {0}};

const llmd_plugin llmd__data_parallel_profile_handler = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "data-parallel-profile-handler",
  .summary = "names the picked rank in a header and sends to the primary port",
  .kind = LLMD_PROFILE_HANDLER, .stability = LLMD_BETA,
  .self_size = sizeof(data_parallel), .params = params,
  .validate = validate, .next = next, .finish = finish};

LLMD_MODULE(&llmd__data_parallel_profile_handler);
