/* The effective configuration, as YAML that reads back the same. */
#include <stdio.h>
#include <string.h>

#include "base/number.h"
#include "base/quantity.h"
#include "sched/config.h"

typedef struct out {
  llmd_write_fn fn;
  void *ud;
  int rc;
} out;

static void put_n(out *o, const char *p, size_t n)
{
  if (!o->rc && n && o->fn(o->ud, p, n))
    o->rc = LLMD_E_STOPPED;
}

static void put(out *o, const char *text)
{
  put_n(o, text, strlen(text));
}

static void indent(out *o, uint32_t n)
{
  put_n(o, "                                ", n < 32 ? n : 32);
}

/* In double quotes, escaped as JSON does: valid YAML whatever is inside. */
static void put_quoted(out *o, const char *p, size_t n)
{
  char hex[8];
  put(o, "\"");
  for (size_t i = 0; i < n; i++) {
    unsigned char c = (unsigned char)p[i];
    if (c == '"' || c == '\\')
      put(o, "\\");
    if (c < 0x20) {
      snprintf(hex, sizeof hex, "\\u%04x", c);
      put(o, hex);
    } else
      put_n(o, p + i, 1);
  }
  put(o, "\"");
}

static void put_double(out *o, double v)
{
  char buf[32];
  llmd__format_double(v, buf);
  put(o, buf);
}

static void put_table(out *o, const llmd__config *c, const llmd_param *rows, const char *base, uint32_t depth);

static const char *enum_name(const llmd_param *p, uint32_t v)
{
  for (const llmd_enum *e = p->values; e && e->name; e++)
    if (e->value == v)
      return e->name;
  return "";
}

static int64_t integer_at(const char *at)
{
  int64_t v;
  memcpy(&v, at, sizeof v);
  return v;
}

static uint32_t word_at(const char *at)
{
  uint32_t v;
  memcpy(&v, at, sizeof v);
  return v;
}

static void put_list(out *o, const llmd__config *c, const llmd_param *p, const llmd_list *list, uint32_t depth)
{
  put(o, list->n ? "\n" : p->type == LLMD_PARAM_MAP ? " {}\n" : " []\n");
  for (uint32_t i = 0; i < list->n; i++) {
    const char *item = (const char *)list->items + (size_t)i * list->item_size;
    indent(o, depth);
    if (p->type == LLMD_PARAM_MAP) {
      const llmd_pair *pair = (const llmd_pair *)(const void *)item;
      put_quoted(o, pair->key.ptr, pair->key.len);
      put(o, ": ");
      put_quoted(o, pair->value.ptr, pair->value.len);
      put(o, "\n");
    } else if (p->type == LLMD_PARAM_STRINGS) {
      const llmd_str *s = (const llmd_str *)(const void *)item;
      put(o, "- ");
      put_quoted(o, s->ptr, s->len);
      put(o, "\n");
    } else {
      put(o, "-\n");
      put_table(o, c, p->sub, item, depth + 2);
    }
  }
}

static void put_scalar(out *o, const llmd__config *c, const llmd_param *p, const char *at)
{
  const llmd_str *s = (const llmd_str *)(const void *)at;
  char buf[LLMD__DURATION_LEN];
  double d;
  switch (p->type) {
  case LLMD_PARAM_BOOL:
    put(o, word_at(at) ? "true" : "false");
    break;
  case LLMD_PARAM_FLOAT:
    memcpy(&d, at, sizeof d);
    put_double(o, d);
    break;
  case LLMD_PARAM_STRING:
    put_quoted(o, s->ptr, s->len);
    break;
  case LLMD_PARAM_ENUM:
    put(o, enum_name(p, word_at(at)));
    break;
  case LLMD_PARAM_DURATION:
    llmd__format_duration(integer_at(at), buf);
    put(o, buf);
    break;
  case LLMD_PARAM_PLUGIN:
    put(o, c->instance[word_at(at)].name);
    break;
  case LLMD_PARAM_PROFILE:
    put(o, c->profile[word_at(at)].name);
    break;
  default:
    snprintf(buf, sizeof buf, "%lld", (long long)integer_at(at));
    put(o, buf);
    break;
  }
}

/* Absent and without default: not written. */
static int absent(const llmd_param *p, const char *at)
{
  if (p->type == LLMD_PARAM_ANY || (p->flags & (LLMD_PARAM_OLD | LLMD_PARAM_IGNORED)))
    return 1;
  if (p->type == LLMD_PARAM_STRING)
    return !((const llmd_str *)(const void *)at)->ptr;
  if (p->type == LLMD_PARAM_PLUGIN || p->type == LLMD_PARAM_PROFILE)
    return word_at(at) == LLMD_NO_INDEX;
  if (p->type == LLMD_PARAM_LIST || p->type == LLMD_PARAM_STRINGS || p->type == LLMD_PARAM_MAP)
    return !((const llmd_list *)(const void *)at)->n;
  return p->type == LLMD_PARAM_ENUM && word_at(at) == LLMD_NO_INDEX;
}

static void put_table(out *o, const llmd__config *c, const llmd_param *rows, const char *base, uint32_t depth)
{
  for (const llmd_param *p = rows; p && p->name; p++) {
    const char *at = base + p->offset;
    if (absent(p, at) || (p->given && p->type == LLMD_PARAM_OBJECT && !word_at(base + p->given)))
      continue;
    indent(o, depth);
    put(o, p->name);
    put(o, ":");
    if (p->type == LLMD_PARAM_OBJECT) {
      put(o, "\n");
      put_table(o, c, p->sub, at, depth + 2);
    } else if (p->type == LLMD_PARAM_LIST || p->type == LLMD_PARAM_STRINGS || p->type == LLMD_PARAM_MAP) {
      put_list(o, c, p, (const llmd_list *)(const void *)at, depth + 2);
    } else {
      put(o, " ");
      put_scalar(o, c, p, at);
      put(o, "\n");
    }
  }
}

static int has_params(const llmd__instance *in)
{
  for (const llmd_param *p = in->plugin->params; p && p->name; p++)
    if (!absent(p, (const char *)in->self.self + p->offset))
      return 1;
  return 0;
}

static void put_instance(out *o, const llmd__config *c, const llmd__instance *in)
{
  put(o, "- type: ");
  put(o, in->plugin->type);
  if (in->plugin->kind & LLMD_INERT)
    put(o, " # inert: belongs to the host");
  else if (in->flags & LLMD__INSTANCE_IMPLICIT)
    put(o, " # added by default");
  put(o, "\n  name: ");
  put_quoted(o, in->name, strlen(in->name));
  put(o, "\n");
  if (!has_params(in))
    return;
  put(o, "  parameters:\n");
  put_table(o, c, in->plugin->params, in->self.self, 4);
}

static void put_use(out *o, const llmd__config *c, uint32_t instance, const double *weight)
{
  put(o, "  - pluginRef: ");
  put_quoted(o, c->instance[instance].name, strlen(c->instance[instance].name));
  put(o, "\n");
  if (!weight)
    return;
  put(o, "    weight: ");
  put_double(o, *weight);
  put(o, "\n");
}

static void put_profile(out *o, const llmd__config *c, const llmd__profile *p)
{
  put(o, "- name: ");
  put_quoted(o, p->name, strlen(p->name));
  put(o, "\n  plugins:\n");
  for (uint32_t i = 0; i < p->n_filters; i++)
    if (!(c->instance[p->filter[i].instance].plugin->kind & LLMD_SCORER))
      put_use(o, c, p->filter[i].instance, NULL);
  for (uint32_t i = 0; i < p->n_scorers; i++)
    put_use(o, c, p->scorer[i].instance, &p->scorer[i].weight);
  if (!(c->instance[p->picker].plugin->kind & (LLMD_SCORER | LLMD_FILTER)))
    put_use(o, c, p->picker, NULL);
}

int llmd__config_write(const llmd__config *c, llmd_write_fn fn, void *ud)
{
  out o = {fn, ud, 0};
  put(&o, "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n");
  if (c->flow)
    put(&o, "featureGates:\n- flowControl\n");
  put(&o, "plugins:\n");
  for (uint32_t i = 0; i < c->n_instances; i++)
    put_instance(&o, c, &c->instance[i]);
  put(&o, "schedulingProfiles:\n");
  for (uint32_t i = 0; i < c->n_profiles; i++)
    put_profile(&o, c, &c->profile[i]);
  put(&o, "saturationDetector:\n  pluginRef: ");
  put_quoted(&o, c->instance[c->detector].name, strlen(c->instance[c->detector].name));
  put(&o, "\n");
  return o.rc;
}
