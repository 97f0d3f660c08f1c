/* The effective configuration, as YAML that reads back the same. */
#include <stdio.h>
#include <string.h>

#include "base/number.h"
#include "base/quantity.h"
#include "sched/policy.h"

typedef struct out {
  llmd_write_fn fn;
  void *ud;
  int rc;
  int marks; /* comments too */
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

/* Bytes of the character at p when no plain YAML text can hold it: controls, also beyond ASCII's, and three that mean
 * nothing. */
static uint32_t unprintable(const unsigned char *p, size_t n, uint32_t *code)
{
  *code = p[0];
  if (p[0] < 0x20 || p[0] == 0x7f)
    return 1;
  if (n >= 2 && p[0] == 0xc2 && p[1] < 0xa0) {
    *code = p[1];
    return 2;
  }
  if (n < 3 || p[0] != 0xef || !((p[1] == 0xbb && p[2] == 0xbf) || (p[1] == 0xbf && p[2] >= 0xbe)))
    return 0;
  *code = 0xf000u | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
  return 3;
}

/* In double quotes, escaped as JSON does: valid YAML whatever is inside. */
static void put_quoted(out *o, const char *text, size_t n)
{
  const unsigned char *p = (const unsigned char *)text;
  put(o, "\"");
  for (size_t i = 0; i < n; i++) {
    char hex[16];
    uint32_t code, bytes = unprintable(p + i, n - i, &code);
    if (p[i] == '"' || p[i] == '\\')
      put(o, "\\");
    if (bytes) {
      snprintf(hex, sizeof hex, "\\u%04x", code);
      put(o, hex);
      i += bytes - 1;
    } else
      put_n(o, text + i, 1);
  }
  put(o, "\"");
}

static void put_name(out *o, const char *name)
{
  put_quoted(o, name, strlen(name));
}

static void put_double(out *o, double v)
{
  char buf[32];
  llmd__format_double(v, buf);
  put(o, buf);
}

/* A section that the host reads, if anybody: that it was checked is all there is to say. */
static void put_inert(out *o, const llmd_param *p, uint32_t depth)
{
  if (!o->marks || p->type != LLMD_PARAM_OBJECT || !(p->flags & LLMD_PARAM_IGNORED))
    return;
  indent(o, depth);
  put(o, "# ");
  put(o, p->name);
  put(o, ": inert, belongs to the host\n");
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
    put_name(o, c->instance[word_at(at)].name);
    break;
  case LLMD_PARAM_PROFILE:
    put_name(o, c->profile[word_at(at)].name);
    break;
  default:
    snprintf(buf, sizeof buf, "%lld", (long long)integer_at(at));
    put(o, buf);
    break;
  }
}

typedef struct buffer {
  char text[64];
  size_t len;
} buffer;

static int fill_buffer(void *ud, const char *ptr, size_t len)
{
  buffer *b = ud;
  if (len >= sizeof b->text - b->len)
    return 1;
  memcpy(b->text + b->len, ptr, len);
  b->len += len;
  b->text[b->len] = 0;
  return 0;
}

/* An old name counts for something only when it differs from its default: validate has taken it for the new one, or
 * it still has a meaning of its own. */
static int old_without_meaning(const llmd__config *c, const llmd_param *p, const char *at)
{
  buffer b = {"", 0};
  out o = {fill_buffer, &b, 0, 0};
  if (p->type >= LLMD_PARAM_OBJECT && p->type <= LLMD_PARAM_MAP)
    return 1;
  put_scalar(&o, c, p, at);
  return !o.rc && !strcmp(b.text, p->preset ? p->preset : "0");
}

/* Nothing to say: absent and without default, or of no effect. What tells apart whether the file had it is written only
 * if it had, so that it reads back the same. */
static int absent(const llmd__config *c, const llmd_param *p, const char *base)
{
  const char *at = base + p->offset;
  if (p->type == LLMD_PARAM_ANY || (p->flags & LLMD_PARAM_IGNORED) || (p->given && !word_at(base + p->given)))
    return 1;
  if (p->type == LLMD_PARAM_STRING && !((const llmd_str *)(const void *)at)->ptr)
    return 1;
  if ((p->type == LLMD_PARAM_PLUGIN || p->type == LLMD_PARAM_PROFILE || p->type == LLMD_PARAM_ENUM) &&
      word_at(at) == LLMD_NO_INDEX)
    return 1;
  if (p->type >= LLMD_PARAM_LIST && p->type <= LLMD_PARAM_MAP && !((const llmd_list *)(const void *)at)->n)
    return 1;
  return (p->flags & LLMD_PARAM_OLD) && old_without_meaning(c, p, at);
}

static void put_table(out *o, const llmd__config *c, const llmd_param *rows, const char *base, uint32_t depth)
{
  for (const llmd_param *p = rows; p && p->name; p++) {
    const char *at = base + p->offset;
    put_inert(o, p, depth);
    if (absent(c, p, base))
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

static int has_params(const llmd__config *c, const llmd__instance *in)
{
  for (const llmd_param *p = in->plugin->params; p && p->name; p++)
    if (!absent(c, p, in->self.self))
      return 1;
  return 0;
}

static void put_instance(out *o, const llmd__config *c, const llmd__instance *in)
{
  put(o, "- type: ");
  put(o, in->plugin->type);
  if (o->marks && (in->plugin->kind & LLMD_INERT))
    put(o, " # inert: belongs to the host");
  else if (o->marks && (in->flags & LLMD__INSTANCE_IMPLICIT))
    put(o, " # added by default");
  put(o, "\n  name: ");
  put_name(o, in->name);
  put(o, "\n");
  if (!has_params(c, in))
    return;
  put(o, "  parameters:\n");
  put_table(o, c, in->plugin->params, in->self.self, 4);
}

static uint32_t kind_of(const llmd__config *c, uint32_t instance)
{
  return c->instance[instance].plugin->kind;
}

static void put_use(out *o, const llmd__config *c, uint32_t instance, const double *weight)
{
  put(o, "  - pluginRef: ");
  put_name(o, c->instance[instance].name);
  put(o, "\n");
  if (!weight)
    return;
  put(o, "    weight: ");
  put_double(o, *weight);
  put(o, "\n");
}

static void put_scorers(out *o, const llmd__config *c, const llmd__profile *p, uint32_t *from, uint32_t to)
{
  for (; *from < to; ++*from)
    put_use(o, c, p->scorer[*from].instance, &p->scorer[*from].weight);
}

/* One list again, in which the filters stand in their order and so do the scorers: one that is both ties the two. */
static void put_uses(out *o, const llmd__config *c, const llmd__profile *p)
{
  uint32_t s = 0;
  for (uint32_t f = 0; f < p->n_filters; f++) {
    uint32_t instance = p->filter[f].instance, k = s;
    if (!(kind_of(c, instance) & LLMD_SCORER)) {
      put_use(o, c, instance, NULL);
      continue;
    }
    while (k < p->n_scorers && p->scorer[k].instance != instance)
      k++;
    put_scorers(o, c, p, &s, k < p->n_scorers ? k + 1 : k);
  }
  put_scorers(o, c, p, &s, p->n_scorers);
}

static void put_profile(out *o, const llmd__config *c, const llmd__profile *p)
{
  put(o, "- name: ");
  put_name(o, p->name);
  put(o, "\n  plugins:\n");
  put_uses(o, c, p);
  if (!(kind_of(c, p->picker) & (LLMD_SCORER | LLMD_FILTER)))
    put_use(o, c, p->picker, NULL);
}

static int write_all(const llmd__config *c, int marks, llmd_write_fn fn, void *ud)
{
  out o = {fn, ud, 0, marks};
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
  put_name(&o, c->instance[c->detector].name);
  put(&o, "\n");
  return o.rc;
}

int llmd__config_write(const llmd__config *c, llmd_write_fn fn, void *ud)
{
  return write_all(c, 1, fn, ud);
}

static int hash_piece(void *ud, const char *ptr, size_t len)
{
  uint64_t *h = ud;
  for (size_t i = 0; i < len; i++)
    *h = (*h ^ (unsigned char)ptr[i]) * 0x100000001b3u;
  return 0;
}

uint64_t llmd__config_identity(const llmd__config *c)
{
  uint64_t h = 0xcbf29ce484222325u;
  write_all(c, 0, hash_piece, &h);
  for (uint32_t i = 0; i < c->n_instances; i++)
    h = c->instance[i].policy ? h * 31 + llmd__policy_hash(c->instance[i].policy) : h;
  return h;
}
