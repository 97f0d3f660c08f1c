/* Plugins named in the parameters of other plugins. The names were resolved while the parameters were read; here is checked
 * what kind of plugin they are. So there is no circle either: a decider names nobody. */
#include <string.h>

#include "sched/config_load.h"

/* A profile handler names the deciders that it asks. */
static int check_ref(llmd__loader *l, const llmd__instance *from, uint32_t instance)
{
  const llmd__instance *to = &l->c->instance[instance];
  if (!(from->plugin->kind & LLMD_PROFILE_HANDLER) || (to->plugin->kind & LLMD_DECIDER))
    return 0;
  return llmd__fail(l->err, LLMD_E_TYPE, from->line, 0, from->name, "names \"%s\", which is not a decider", to->name);
}

static int check_table(llmd__loader *l, const llmd__instance *in, const llmd_param *rows, const char *base)
{
  int rc = 0;
  for (const llmd_param *p = rows; p && p->name && !rc; p++) {
    const char *at = base + p->offset;
    uint32_t instance = LLMD_NO_INDEX;
    if (p->type == LLMD_PARAM_PLUGIN)
      memcpy(&instance, at, sizeof instance);
    if (instance != LLMD_NO_INDEX)
      rc = check_ref(l, in, instance);
    else if (p->type == LLMD_PARAM_OBJECT)
      rc = check_table(l, in, p->sub, at);
  }
  return rc;
}

int llmd__config_check_refs(llmd__loader *l)
{
  int rc = 0;
  for (uint32_t i = 0; i < l->c->n_instances && !rc; i++)
    rc = check_table(l, &l->c->instance[i], l->c->instance[i].plugin->params, l->c->instance[i].self.self);
  return rc;
}
