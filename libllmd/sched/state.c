#include "sched/state.h"

#include <stdio.h>
#include <string.h>

#include "model/table.h"

/* Does it write from the pool's exact index? */
static int wants_exact(const llmd_plugin *p)
{
  for (uint32_t w = 0; p->produce && p->writes && p->writes[w].name; w++)
    if (p->writes[w].flags & LLMD_WRITE_EXACT)
      return 1;
  return 0;
}

/* A producer of PrefixCacheMatchInfo.* that can learn keeps a prefix index, unless it reads the exact one. */
static int wants_prefix(const llmd_plugin *p)
{
  for (uint32_t w = 0; p->produce && p->commit && p->writes && p->writes[w].name; w++)
    if (!strcmp(p->writes[w].name, "PrefixCacheMatchInfo.match"))
      return !wants_exact(p);
  return 0;
}

static void index_options(const llmd__region *g, llmd__index_options *o)
{
  memset(o, 0, sizeof *o);
  o->bytes = g->caps.prefix_bytes;
  o->rows = g->caps.endpoints;
}

static int format_prefix(void *mem, size_t bytes, void *ud)
{
  llmd__index_options o = *(const llmd__index_options *)ud;
  o.zero = (uint32_t)llmd__region_state_is_zero(mem);
  return llmd__index_format(mem, bytes, &o);
}

static int bind_prefix(llmd_scheduler *s, uint32_t instance, const char *name)
{
  llmd__binding *b = &s->binding[instance];
  llmd__index_options o;
  llmd__index ix;
  size_t bytes;
  int rc;
  index_options(s->pool->g, &o);
  bytes = llmd__index_size(&o);
  if (!bytes)
    return LLMD_E_RANGE;
  rc = llmd__region_state(s->pool->g, s->pool->owner, name, LLMD__STATE_PREFIX, bytes, format_prefix, &o,
                          &b->prefix_off, &b->prefix_bytes);
  return rc ? rc : llmd__state_prefix(s, instance, &ix);
}

static int bind_table(llmd_scheduler *s, uint32_t instance, const char *name, uint32_t entries)
{
  uint64_t got;
  return llmd__region_state(s->pool->g, s->pool->owner, name, LLMD__STATE_TABLE, llmd__table_bytes(entries),
                            llmd__table_init, NULL, &s->binding[instance].table_off, &got);
}

int llmd__state_bind(llmd_scheduler *s, uint32_t instance)
{
  const llmd__instance *in = &s->config->instance[instance];
  char name[160];
  int rc = 0;
  if (!(in->plugin->kind & LLMD_PRODUCER) && !in->plugin->open)
    return 0;
  if (in->plugin->table_entries) {
    snprintf(name, sizeof name, "%.64s/%.64s/table", in->plugin->type, in->name);
    rc = bind_table(s, instance, name, in->plugin->table_entries);
  }
  if (!rc && wants_prefix(in->plugin)) {
    snprintf(name, sizeof name, "%.64s/%.64s/prefix", in->plugin->type, in->name);
    rc = bind_prefix(s, instance, name);
  }
  if (!rc && !s->index && wants_exact(in->plugin))
    rc = llmd_pool_index(s->pool, &s->index);
  return rc;
}

int llmd__state_prefix(const llmd_scheduler *s, uint32_t instance, llmd__index *out)
{
  const llmd__binding *b = &s->binding[instance];
  if (!b->prefix_off)
    return LLMD_E_NONE;
  return llmd__index_attach(out, llmd__at(s->pool->g, b->prefix_off), (size_t)b->prefix_bytes);
}

void llmd__state_each_index(llmd__region *g, void (*fn)(const llmd__index *ix, llmd_endpoint_id id),
                            llmd_endpoint_id id)
{
  const llmd__state *s;
  for (uint32_t i = 0; (s = llmd__region_state_at(g, i)) != NULL; i++) {
    llmd__index ix;
    if (s->kind == LLMD__STATE_PREFIX && !llmd__index_attach(&ix, llmd__at(g, s->off), (size_t)s->bytes))
      fn(&ix, id);
  }
}

static void take_over_one(const llmd__index *ix, llmd_endpoint_id id)
{
  (void)id;
  llmd__index_takeover(ix);
}

void llmd__state_take_over(llmd_pool *p)
{
  if (!p->writer || p->taken_over)
    return;
  llmd__state_each_index(p->g, take_over_one, 0);
  p->taken_over = 1;
}
