/* Objects that plugins have per lane, and what these may ask of the core (llmd_host). */
#include <string.h>

#include "model/strings.h"
#include "sched/decision.h"

static uint64_t host_clock(void *ctx)
{
  const llmd__own *o = ctx;
  const llmd_scheduler_options *so = &o->lane->s->options;
  return so->clock(so->clock_ud);
}

static int host_text(void *ctx, uint32_t id, llmd_str *out)
{
  const llmd__own *o = ctx;
  const llmd_lane *l = o->lane;
  const llmd__id_text *t;
  if (o->sv || !l->kept.replayed) {
    *out = llmd__string_text(l->pool->g, id);
    return 0;
  }
  t = llmd__texts_find(&l->kept, id);
  out->ptr = t && t->text.ptr ? t->text.ptr : "";
  out->len = t && t->text.ptr ? t->text.len : 0;
  return 0;
}

/* ---- the table -------------------------------------------------------------------------------------------------- */

static int look_up(const llmd__own *o, const char *name, size_t len, uint64_t *value)
{
  llmd__candidates none = {0, 0, 0, NULL, NULL};
  llmd__service_ctx ctx = {o->lane, o->instance, &none, 0};
  llmd_services sv;
  llmd_key key;
  llmd__services_init(&sv, &ctx);
  sv.hash(sv.ctx, name, len, &key);
  return sv.get(sv.ctx, &key, value);
}

/* Number l->reads of the decision: what the record says, or what the table says, for the record. Another configuration
 * than the record's asks its tables other things: of these nothing is known. */
static llmd__answer answer(const llmd__own *o, const char *name, size_t len)
{
  llmd_lane *l = o->lane;
  llmd__kept *k = &l->kept;
  llmd__answer a = {0, 0, 0};
  if (l->replaying == LLMD__REPLAY_SAME)
    return l->reads < k->n_answers ? k->answer[l->reads] : a;
  if (!l->replaying)
    a.found = look_up(o, name, len, &a.value) > 0;
  a.value = a.found ? a.value : 0;
  k->answer[l->reads] = a;
  k->n_answers = l->reads + 1;
  return a;
}

static int host_get(void *ctx, const char *name, size_t len, uint64_t *value)
{
  const llmd__own *o = ctx;
  llmd_lane *l = o->lane;
  llmd__answer a;
  if (!l->s->binding[o->instance].table_off)
    return LLMD_E_NONE;
  if (!l->cycling) /* commit, report; a producer, whose columns are in the record; a tool */
    return look_up(o, name, len, value);
  if (l->reads == LLMD_HOST_READS)
    return LLMD_E_LIMIT;
  a = answer(o, name, len);
  l->reads++;
  if (a.found)
    *value = a.value;
  return a.found;
}

static int host_put(void *ctx, const char *name, size_t len, uint64_t value, uint64_t ttl_ns)
{
  const llmd__own *o = ctx;
  llmd_key key;
  if (!o->sv)
    return LLMD_E_STATE;
  o->sv->hash(o->sv->ctx, name, len, &key);
  return o->sv->put(o->sv->ctx, &key, value, ttl_ns);
}

static int host_del(void *ctx, const char *name, size_t len)
{
  const llmd__own *o = ctx;
  llmd_key key;
  if (!o->sv)
    return LLMD_E_STATE;
  o->sv->hash(o->sv->ctx, name, len, &key);
  return o->sv->del(o->sv->ctx, &key);
}

static void host_log(void *ctx, int level, const char *text, size_t len)
{
  const llmd__own *o = ctx;
  const llmd_scheduler_options *so = &o->lane->s->options;
  so->log(so->log_ud, level, o->lane->s->config->instance[o->instance].name, text, len);
}

/* ---- open, close ------------------------------------------------------------------------------------------------ */

static void fill_host(llmd_lane *l, llmd__own *o)
{
  llmd_host *h = &o->host;
  h->size = sizeof *h;
  h->rows = l->cap;
  h->alloc = &l->s->alloc;
  h->ctx = o;
  h->clock = l->s->options.clock ? host_clock : NULL;
  h->text = host_text;
  h->get = host_get;
  h->put = host_put;
  h->del = host_del;
  h->log = l->s->options.log ? host_log : NULL;
}

int llmd__own_open(llmd_lane *l)
{
  const llmd__config *c = l->s->config;
  for (uint32_t i = 0; i < c->n_instances; i++) {
    const llmd__instance *in = &c->instance[i];
    llmd__own *o = &l->own[i];
    int rc;
    o->lane = l;
    o->instance = i;
    fill_host(l, o);
    rc = in->plugin->open ? in->plugin->open(in->self.self, &o->host, &o->own) : 0;
    if (rc) {
      o->own = NULL;
      llmd__own_close(l);
      return rc;
    }
  }
  return 0;
}

void llmd__own_close(llmd_lane *l)
{
  const llmd__config *c = l->s->config;
  for (uint32_t i = 0; i < c->n_instances; i++) {
    if (l->own[i].own)
      c->instance[i].plugin->close(c->instance[i].self.self, l->own[i].own);
    l->own[i].own = NULL;
  }
}

void llmd__own_moved(llmd_lane *l)
{
  for (uint32_t i = 0; l->s && i < l->s->config->n_instances; i++)
    l->own[i].lane = l;
}
