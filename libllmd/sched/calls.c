/* Calls of plugins in the cycle, numbered: a record names those that failed, and a replay takes its word for it. So a
 * verb that was cut short by time, or left out for a while, leads to the same decision again. */
#include <string.h>

#include "sched/decision.h"

int llmd__call_told(llmd_lane *l, int *rc, llmd_str *trouble)
{
  uint32_t call = l->calls++;
  const llmd__kept *k = &l->kept;
  trouble->ptr = NULL;
  trouble->len = 0;
  for (uint32_t i = 0; l->replaying && i < k->n_failed; i++) {
    if (k->failed[i].call != call)
      continue;
    *rc = k->failed[i].rc;
    *trouble = k->failed[i].trouble;
    return 1;
  }
  return 0;
}

/* The plugin's word, in the lane's memory. */
static void ask_trouble(llmd_lane *l, uint32_t instance, llmd_str *trouble)
{
  const llmd__instance *in = &l->s->config->instance[instance];
  char text[256];
  int n;
  if (!in->plugin->trouble || !l->s->options.explain)
    return;
  n = in->plugin->trouble(in->self.self, l->own[instance].own, text, sizeof text);
  if (n <= 0)
    return;
  trouble->len = (size_t)n < sizeof text ? (size_t)n : sizeof text;
  trouble->ptr = llmd__kept_text(l, text, trouble->len);
  if (!trouble->ptr)
    trouble->len = 0;
}

void llmd__call_ended(llmd_lane *l, uint32_t instance, int rc, llmd_str *trouble)
{
  llmd__kept *k = &l->kept;
  llmd__failed *f;
  ask_trouble(l, instance, trouble);
  if (l->replaying)
    return;
  if (k->n_failed == LLMD__FAILED) {
    k->lost = 1;
    return;
  }
  f = &k->failed[k->n_failed++];
  f->call = l->calls - 1;
  f->rc = rc;
  f->trouble = *trouble;
}
