/* What the reference adds to a file: profile handler, detector, data producers; and the producers' order. */
#include <string.h>

#include "sched/config_load.h"

uint32_t llmd__config_add(llmd__loader *l, const char *type)
{
  llmd__config *c = l->c;
  int old;
  uint32_t taken;
  const llmd_plugin *p = llmd__registry_find(l->registry, type, &old);
  llmd__instance *in = &c->instance[c->n_instances];
  if (!p || !p->kind || c->n_instances == l->cap) {
    l->rc = llmd__fail(l->err, LLMD_E_UNKNOWN_TYPE, 0, 0, NULL,
                       "plugin type \"%s\", needed by default, cannot be used", type);
    return LLMD_NO_INDEX;
  }
  taken = llmd__config_find(l, p->type, strlen(p->type));
  if (taken != LLMD_NO_INDEX) {
    l->rc = llmd__node_fail(taken < l->n_file ? l->node[taken] : NULL, l->err, LLMD_E_DUPLICATE,
                            "\"%s\" is the name of a plugin that is needed by default", p->type);
    return LLMD_NO_INDEX;
  }
  in->plugin = p;
  in->name = llmd__config_text(l, p->type, strlen(p->type));
  in->flags = LLMD__INSTANCE_IMPLICIT;
  l->rc = LLMD_E_NOMEM;
  return in->name ? c->n_instances++ : LLMD_NO_INDEX;
}

/* ---- profile handler, detector ---------------------------------------------------------------------------------- */

static int add_handler(llmd__loader *l)
{
  llmd__config *c = l->c;
  uint32_t found = LLMD_NO_INDEX;
  for (uint32_t i = 0; i < l->n_file; i++) {
    if (!(c->instance[i].plugin->kind & LLMD_PROFILE_HANDLER))
      continue;
    if (found != LLMD_NO_INDEX)
      return llmd__node_fail(l->node[i], l->err, LLMD_E_DUPLICATE,
                             "two profile handlers, \"%s\" and \"%s\": only one is allowed", c->instance[found].name,
                             c->instance[i].name);
    found = i;
  }
  if (found == LLMD_NO_INDEX && c->n_profiles > 1)
    return llmd__node_fail(l->profiles, l->err, LLMD_E_MISSING,
                           "no profile handler is configured, and there are %u scheduling profiles", c->n_profiles);
  if (found == LLMD_NO_INDEX)
    found = llmd__config_add(l, "single-profile-handler");
  if (found == LLMD_NO_INDEX)
    return l->rc;
  if (!strcmp(c->instance[found].plugin->type, "single-profile-handler") && c->n_profiles > 1)
    return llmd__node_fail(l->node[found], l->err, LLMD_E_INVALID,
                           "single-profile-handler cannot handle %u scheduling profiles", c->n_profiles);
  c->handler = found;
  return 0;
}

static int add_detector(llmd__loader *l)
{
  uint32_t i = l->detector.len ? llmd__config_find(l, l->detector.ptr, l->detector.len) : LLMD_NO_INDEX;
  const char *type = l->detector.len ? l->detector.ptr : "utilization-detector";
  if (i == LLMD_NO_INDEX)
    i = llmd__config_find(l, type, strlen(type));
  if (i == LLMD_NO_INDEX)
    i = llmd__config_add(l, type);
  if (i == LLMD_NO_INDEX)
    return l->rc;
  if (!(l->c->instance[i].plugin->kind & LLMD_DETECTOR))
    return llmd__node_fail(l->detector_at || i >= l->n_file ? l->detector_at : l->node[i], l->err, LLMD_E_TYPE,
                           "\"%s\" is not a saturation detector", l->c->instance[i].name);
  l->c->detector = i;
  return 0;
}

int llmd__config_add_defaults(llmd__loader *l)
{
  int rc = add_handler(l);
  return rc ? rc : add_detector(l);
}

/* ---- producers -------------------------------------------------------------------------------------------------- */

static int writes(const llmd_plugin *p, const char *name, uint32_t flags)
{
  for (const llmd_write *w = p->writes; w && w->name; w++)
    if (!strcmp(w->name, name) && (w->flags & flags) == flags)
      return 1;
  return 0;
}

/* Creates the default producer of one read when nobody has that name. */
static int provide(llmd__loader *l, const llmd__instance *in, const llmd_read *r)
{
  const char *from = llmd__read_producer(in, r), *name = llmd__read_name(in, r);
  const llmd_plugin *p;
  uint32_t added;
  int old;
  if (r->kind != LLMD_READ_F64 || (r->flags & LLMD_READ_OPTIONAL) || !*from ||
      llmd__config_find(l, from, strlen(from)) != LLMD_NO_INDEX)
    return 0;
  p = llmd__registry_find(l->registry, from, &old);
  if (!p || old || !(p->kind & LLMD_PRODUCER) || !writes(p, name, LLMD_WRITE_DEFAULT))
    return 0; /* the host fills it, or it stays unknown */
  added = llmd__config_add(l, from);
  return added == LLMD_NO_INDEX ? l->rc : llmd__config_load_self(l, added);
}

static int provide_all(llmd__loader *l)
{
  int rc = 0;
  for (uint32_t i = 0; i < l->c->n_instances && !rc; i++)
    for (const llmd_read *r = l->c->instance[i].plugin->reads; r && r->kind && !rc; r++)
      rc = provide(l, &l->c->instance[i], r);
  return rc;
}

/* Does instance i read something that instance k writes? Its own columns do not count. */
static int reads_from(const llmd__config *c, uint32_t i, uint32_t k)
{
  const llmd__instance *in = &c->instance[i];
  for (const llmd_read *r = in->plugin->reads; i != k && r && r->kind; r++)
    if (r->kind == LLMD_READ_F64 && !strcmp(llmd__read_producer(in, r), c->instance[k].name) &&
        writes(c->instance[k].plugin, llmd__read_name(in, r), 0))
      return 1;
  return 0;
}

static int ready(const llmd__config *c, uint32_t i, const uint8_t *done)
{
  for (uint32_t k = 0; k < c->n_instances; k++)
    if ((c->instance[k].plugin->kind & LLMD_PRODUCER) && !done[k] && reads_from(c, i, k))
      return 0;
  return 1;
}

static int circle(const llmd__loader *l, const uint8_t *done)
{
  uint32_t i = 0;
  while (i < l->n_file && (done[i] || !(l->c->instance[i].plugin->kind & LLMD_PRODUCER)))
    i++;
  return llmd__node_fail(i < l->n_file ? l->node[i] : NULL, l->err, LLMD_E_INVALID,
                         "data producers depend on each other in a circle");
}

int llmd__config_order_producers(llmd__loader *l)
{
  llmd__config *c = l->c;
  uint8_t *done;
  uint32_t total = 0, before;
  int rc = provide_all(l);
  if (rc)
    return rc;
  done = llmd__config_room(l, c->n_instances);
  c->producer = llmd__config_room(l, c->n_instances * sizeof *c->producer);
  if (!done || !c->producer)
    return LLMD_E_NOMEM;
  for (uint32_t i = 0; i < c->n_instances; i++)
    total += (c->instance[i].plugin->kind & LLMD_PRODUCER) != 0;
  do {
    before = c->n_producers;
    for (uint32_t i = 0; i < c->n_instances; i++)
      if ((c->instance[i].plugin->kind & LLMD_PRODUCER) && !done[i] && ready(c, i, done)) {
        c->producer[c->n_producers++] = i;
        done[i] = 1;
      }
  } while (c->n_producers != before);
  if (c->n_producers < total)
    return circle(l, done);
  return 0;
}
