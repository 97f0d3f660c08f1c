/* Calls of plugins in the cycle, numbered: a record names those that failed, and a replay takes its word for it. So a
 * verb that was cut short by time, or left out for a while, leads to the same decision again. */
#include <string.h>

#include "sched/decision.h"
#include "sched/names.h"

int llmd__call_told(llmd_lane *l, int *rc, llmd_str *trouble)
{
  uint32_t call = l->calls++;
  const llmd__kept *k = &l->kept;
  l->reads_before = l->reads;
  trouble->ptr = NULL;
  trouble->len = 0;
  for (uint32_t i = 0; l->replaying == LLMD__REPLAY_SAME && i < k->n_failed; i++) {
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

/* Failures of policies are counted by reason: these have a budget, and an author who wants to know. */
static void count_failure(const llmd_lane *l, uint32_t instance, int rc)
{
  if (l->s->config->instance[instance].plugin->open)
    llmd__count(l, LLMD__COUNT_POLICY + llmd__failure_of(rc), 1);
}

static void note_failed(llmd_lane *l, uint32_t call, int rc, llmd_str trouble)
{
  llmd__kept *k = &l->kept;
  llmd__failed *f;
  if (l->replaying == LLMD__REPLAY_SAME)
    return;
  if (k->n_failed == LLMD__FAILED) {
    k->lost = 1;
    return;
  }
  f = &k->failed[k->n_failed++];
  f->call = call;
  f->rc = rc;
  f->trouble = trouble;
}

/* A replay does not make the call again, so nobody asks for what the table answered to it. */
static void forget_answers(llmd_lane *l)
{
  l->reads = l->reads_before;
  if (l->replaying != LLMD__REPLAY_SAME)
    l->kept.n_answers = l->reads;
}

void llmd__call_ended(llmd_lane *l, uint32_t instance, int rc, llmd_str *trouble)
{
  forget_answers(l);
  count_failure(l, instance, rc);
  ask_trouble(l, instance, trouble);
  note_failed(l, l->calls - 1, rc, *trouble);
}

void llmd__produce_ended(llmd_lane *l, uint32_t instance, int rc)
{
  llmd_str trouble = {NULL, 0};
  llmd__count(l, LLMD__COUNT_PRODUCER_ERRORS, 1);
  count_failure(l, instance, rc);
  ask_trouble(l, instance, &trouble);
  note_failed(l, LLMD__FAILED_PRODUCE + instance, rc, trouble);
  llmd__why_failed(l, LLMD__WHY_PRODUCER, instance, rc, trouble);
}

void llmd__learn_ended(const llmd_lane *l, uint32_t instance, int rc)
{
  llmd__count(l, LLMD__COUNT_PRODUCER_ERRORS, 1);
  count_failure(l, instance, rc);
}
