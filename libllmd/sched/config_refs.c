/* References between plugins in their parameters: whom they may name, and that nobody waits for itself. */
#include <string.h>

#include "sched/config_load.h"

/* Calls fn for each instance that the parameters at base refer to, until it returns non-zero. */
typedef int (*ref_fn)(void *ud, uint32_t instance);

static int each_ref(const llmd_param *rows, const char *base, ref_fn fn, void *ud)
{
  int rc = 0;
  for (const llmd_param *p = rows; p && p->name && !rc; p++) {
    const char *at = base + p->offset;
    uint32_t instance;
    if (p->type == LLMD_PARAM_PLUGIN) {
      memcpy(&instance, at, sizeof instance);
      rc = instance != LLMD_NO_INDEX ? fn(ud, instance) : 0;
    } else if (p->type == LLMD_PARAM_OBJECT) {
      rc = each_ref(p->sub, at, fn, ud);
    } else if (p->type == LLMD_PARAM_LIST) {
      const llmd_list *list = (const llmd_list *)(const void *)at;
      for (uint32_t i = 0; i < list->n && !rc; i++)
        rc = each_ref(p->sub, (const char *)list->items + (size_t)i * list->item_size, fn, ud);
    }
  }
  return rc;
}

typedef struct check {
  llmd__loader *l;
  uint32_t from;
  const uint8_t *done;
} check;

/* A profile handler names the deciders that it asks. */
static int must_decide(void *ud, uint32_t instance)
{
  const check *k = ud;
  const llmd__instance *from = &k->l->c->instance[k->from], *to = &k->l->c->instance[instance];
  if (!(from->plugin->kind & LLMD_PROFILE_HANDLER) || (to->plugin->kind & LLMD_DECIDER))
    return 0;
  return llmd__fail(k->l->err, LLMD_E_TYPE, from->line, 0, from->name, "names \"%s\", which is not a decider", to->name);
}

static int is_waiting(void *ud, uint32_t instance)
{
  const check *k = ud;
  return !k->done[instance];
}

static int each_of(check *k, uint32_t from, ref_fn fn)
{
  const llmd__instance *in = &k->l->c->instance[from];
  k->from = from;
  return each_ref(in->plugin->params, in->self.self, fn, k);
}

/* Takes out whoever waits for nobody, until that changes nothing. Who is left is part of a circle, or waits for one. */
static int find_circle(check *k, uint8_t *done)
{
  uint32_t n = k->l->c->n_instances, left = n, before;
  k->done = done;
  do {
    before = left;
    for (uint32_t i = 0; i < n; i++)
      if (!done[i] && !each_of(k, i, is_waiting)) {
        done[i] = 1;
        left--;
      }
  } while (left && left != before);
  for (uint32_t i = 0; i < n; i++)
    if (!done[i])
      return llmd__fail(k->l->err, LLMD_E_INVALID, k->l->c->instance[i].line, 0, k->l->c->instance[i].name,
                        "plugins refer to each other in a circle");
  return 0;
}

int llmd__config_check_refs(llmd__loader *l)
{
  check k = {l, 0, NULL};
  uint8_t *done = llmd__config_room(l, l->c->n_instances);
  if (!done)
    return LLMD_E_NOMEM;
  for (uint32_t i = 0; i < l->c->n_instances; i++) {
    int rc = each_of(&k, i, must_decide);
    if (rc)
      return rc;
  }
  return find_circle(&k, done);
}
