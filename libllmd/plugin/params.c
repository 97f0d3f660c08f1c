#include "plugin/params.h"

#include <stdio.h>
#include <string.h>

#include "base/number.h"
#include "base/quantity.h"

/* One piece of memory that a self's strings and lists live in. */
typedef struct block {
  struct block *next;
  size_t bytes;
  uint64_t align;
} block;

typedef struct loader {
  const llmd_allocator *a;
  const llmd__names *names;
  llmd__self *self;
  llmd_err *err;
} loader;

static void *room(loader *l, size_t bytes)
{
  block *b = llmd__calloc(l->a, 1, sizeof *b + bytes);
  if (!b) {
    llmd__fail(l->err, LLMD_E_NOMEM, 0, 0, NULL, "out of memory");
    return NULL;
  }
  b->bytes = sizeof *b + bytes;
  b->next = l->self->blocks;
  l->self->blocks = b;
  return b + 1;
}

static int copy_text(loader *l, const llmd_str *from, llmd_str *out)
{
  char *p = room(l, from->len + 1);
  if (!p)
    return LLMD_E_NOMEM;
  if (from->len)
    memcpy(p, from->ptr, from->len);
  out->ptr = p;
  out->len = from->len;
  return 0;
}

static int load_table(loader *l, const llmd_param *rows, const llmd__node *map, char *base);

/* ---- presets: defaults, written as in the file ------------------------------------------------------------------ */

static uint32_t enum_value(const llmd_param *p, const char *text, size_t len)
{
  for (const llmd_enum *e = p->values; e && e->name; e++)
    if (strlen(e->name) == len && !memcmp(e->name, text, len))
      return e->value;
  return LLMD_NO_INDEX;
}

static int preset(loader *l, const llmd_param *p, char *at)
{
  llmd_str s = {p->preset, p->preset ? strlen(p->preset) : 0};
  uint32_t index = LLMD_NO_INDEX;
  if (p->type == LLMD_PARAM_PLUGIN || p->type == LLMD_PARAM_PROFILE) {
    if (s.ptr)
      index = p->type == LLMD_PARAM_PLUGIN ? l->names->plugin(l->names->ud, s.ptr, s.len)
                                           : l->names->profile(l->names->ud, s.ptr, s.len);
    memcpy(at, &index, sizeof index);
    return 0;
  }
  if (p->type == LLMD_PARAM_OBJECT)
    return load_table(l, p->sub, NULL, at);
  if (!s.ptr)
    return 0;
  switch (p->type) {
  case LLMD_PARAM_BOOL:
    index = !strcmp(s.ptr, "true");
    memcpy(at, &index, sizeof index);
    return 0;
  case LLMD_PARAM_ENUM:
    index = enum_value(p, s.ptr, s.len);
    memcpy(at, &index, sizeof index);
    return 0;
  case LLMD_PARAM_INT:
    return llmd__parse_i64(s.ptr, s.len, (int64_t *)(void *)at);
  case LLMD_PARAM_FLOAT:
    return llmd__parse_double(s.ptr, s.len, (double *)(void *)at);
  case LLMD_PARAM_DURATION:
    return llmd__parse_duration(s.ptr, s.len, (int64_t *)(void *)at);
  case LLMD_PARAM_QUANTITY:
    return llmd__parse_quantity(s.ptr, s.len, (int64_t *)(void *)at);
  case LLMD_PARAM_STRING:
    return copy_text(l, &s, (llmd_str *)(void *)at);
  default:
    return 0;
  }
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

static int check_range(loader *l, const llmd_param *p, const llmd__node *n, double v)
{
  char least[LLMD__NUMBER_ROOM], other[LLMD__NUMBER_ROOM];
  int low = p->flags & LLMD_PARAM_ABOVE_MIN ? !(v > p->min) : v < p->min;
  if ((p->flags & LLMD_PARAM_NO_RANGE) || (p->min == 0 && p->max == 0 && !(p->flags & LLMD_PARAM_ABOVE_MIN)))
    return 0;
  if (!low && !(p->max > p->min && v > p->max))
    return 0;
  llmd__format_double(p->min, least);
  llmd__format_double(p->max > p->min ? p->max : v, other);
  return llmd__node_fail(n, l->err, LLMD_E_RANGE, "%s must be %s %s%s%s", p->name,
                         p->flags & LLMD_PARAM_ABOVE_MIN ? "above" : "at least", least,
                         p->max > p->min ? " and at most " : ", not ", other);
}

static int load_number(loader *l, const llmd_param *p, const llmd__node *n, char *at)
{
  int64_t i = 0;
  double d = 0;
  int rc;
  switch (p->type) {
  case LLMD_PARAM_INT:
    rc = llmd__node_int(n, INT64_MIN, INT64_MAX, &i, l->err);
    d = (double)i;
    break;
  case LLMD_PARAM_DURATION:
    rc = llmd__node_duration(n, &i, l->err);
    d = (double)i;
    break;
  case LLMD_PARAM_QUANTITY:
    rc = llmd__node_quantity(n, &i, l->err);
    d = (double)i;
    break;
  default:
    rc = llmd__node_double(n, &d, l->err);
    break;
  }
  if (!rc)
    rc = check_range(l, p, n, d);
  if (rc)
    return rc;
  if (p->type == LLMD_PARAM_FLOAT)
    memcpy(at, &d, sizeof d);
  else
    memcpy(at, &i, sizeof i);
  return 0;
}

static int load_enum(loader *l, const llmd_param *p, const llmd__node *n, char *at)
{
  llmd_str s;
  uint32_t v;
  int rc = llmd__node_str(n, &s, l->err);
  if (rc)
    return rc;
  v = enum_value(p, s.ptr, s.len);
  if (v == LLMD_NO_INDEX)
    return llmd__node_fail(n, l->err, LLMD_E_RANGE, "%s cannot be \"%.*s\"", p->name, (int)s.len, s.ptr);
  memcpy(at, &v, sizeof v);
  return 0;
}

/* The kinds of plugins by name, for messages. */
static const char *kind_name(uint32_t mask)
{
  static const char *const names[] = {"a filter",  "a scorer",   "a picker",   "a profile handler",
                                      "a decider", "a producer", "a detector", "a plugin of the host"};
  uint32_t bit = 0;
  while (bit < 7 && !(mask >> bit & 1))
    bit++;
  return names[bit];
}

static int load_plugin(loader *l, const llmd_param *p, const llmd__node *n, const llmd_str *s, uint32_t *out)
{
  *out = l->names->plugin(l->names->ud, s->ptr, s->len);
  if (*out == LLMD_NO_INDEX)
    return llmd__node_fail(n, l->err, LLMD_E_UNKNOWN_REF, "%s names the plugin \"%.*s\", which is not configured",
                           p->name, (int)s->len, s->ptr);
  if (p->sub_size && !(l->names->kind(l->names->ud, *out) & p->sub_size))
    return llmd__node_fail(n, l->err, LLMD_E_TYPE, "%s names the plugin \"%.*s\", which is not %s", p->name,
                           (int)s->len, s->ptr, kind_name(p->sub_size));
  return 0;
}

static int load_reference(loader *l, const llmd_param *p, const llmd__node *n, char *at)
{
  llmd_str s;
  uint32_t v;
  int rc = llmd__node_str(n, &s, l->err);
  if (rc)
    return rc;
  if (p->type == LLMD_PARAM_PROFILE)
    v = l->names->profile(l->names->ud, s.ptr, s.len);
  else
    rc = load_plugin(l, p, n, &s, &v);
  if (!rc)
    memcpy(at, &v, sizeof v);
  return rc;
}

static int load_item(loader *l, const llmd_param *p, const llmd__node *n, char *at)
{
  llmd_str s;
  int rc;
  if (p->type == LLMD_PARAM_LIST)
    return load_table(l, p->sub, n, at);
  rc = llmd__node_str(n, &s, l->err);
  if (rc)
    return rc;
  if (p->type == LLMD_PARAM_STRINGS)
    return copy_text(l, &s, (llmd_str *)(void *)at);
  rc = copy_text(l, &n->key, &((llmd_pair *)(void *)at)->key);
  return rc ? rc : copy_text(l, &s, &((llmd_pair *)(void *)at)->value);
}

static int load_list(loader *l, const llmd_param *p, const llmd__node *n, char *at)
{
  llmd_list list = {0, p->sub_size, NULL};
  int rc = llmd__node_expect(n, p->type == LLMD_PARAM_MAP ? LLMD__MAP : LLMD__LIST, l->err);
  if (rc)
    return rc;
  if (p->type == LLMD_PARAM_STRINGS)
    list.item_size = sizeof(llmd_str);
  if (p->type == LLMD_PARAM_MAP)
    list.item_size = sizeof(llmd_pair);
  list.items = room(l, (size_t)n->count * list.item_size);
  if (!list.items)
    return LLMD_E_NOMEM;
  for (const llmd__node *c = n->first; c && !rc; c = c->next)
    rc = load_item(l, p, c, (char *)list.items + (size_t)list.n++ * list.item_size);
  memcpy(at, &list, sizeof list);
  return rc;
}

static int load_value(loader *l, const llmd_param *p, const llmd__node *n, char *at)
{
  llmd_str s;
  uint8_t flag;
  uint32_t v;
  int rc;
  switch (p->type) {
  case LLMD_PARAM_BOOL:
    rc = llmd__node_bool(n, &flag, l->err);
    v = flag;
    if (!rc)
      memcpy(at, &v, sizeof v);
    return rc;
  case LLMD_PARAM_STRING:
    rc = llmd__node_str(n, &s, l->err);
    return rc ? rc : copy_text(l, &s, (llmd_str *)(void *)at);
  case LLMD_PARAM_ENUM:
    return load_enum(l, p, n, at);
  case LLMD_PARAM_PLUGIN:
  case LLMD_PARAM_PROFILE:
    return load_reference(l, p, n, at);
  case LLMD_PARAM_OBJECT:
    return load_table(l, p->sub, n, at);
  case LLMD_PARAM_LIST:
  case LLMD_PARAM_STRINGS:
  case LLMD_PARAM_MAP:
    return load_list(l, p, n, at);
  case LLMD_PARAM_ANY:
    return 0;
  default:
    return load_number(l, p, n, at);
  }
}

/* ---- tables ----------------------------------------------------------------------------------------------------- */

static const llmd_param *find_row(const llmd_param *rows, const llmd__node *entry)
{
  for (; rows && rows->name; rows++)
    if (strlen(rows->name) == entry->key.len && !memcmp(rows->name, entry->key.ptr, entry->key.len))
      return rows;
  return NULL;
}

static int is_null(const llmd__node *n)
{
  return !n || n->kind == LLMD__NULL;
}

/* Not there, or the empty name of a plugin or profile. */
static int is_absent(const llmd_param *p, const llmd__node *n)
{
  int reference = p->type == LLMD_PARAM_PLUGIN || p->type == LLMD_PARAM_PROFILE;
  return is_null(n) || (reference && n->kind == LLMD__STR && !n->text.len);
}

static int check_names(loader *l, const llmd_param *rows, const llmd__node *map)
{
  int rc = llmd__node_expect(map, LLMD__MAP, l->err);
  for (const llmd__node *c = rc ? NULL : map->first; c; c = c->next)
    if (!find_row(rows, c))
      return llmd__key_fail(c, l->err, LLMD_E_UNKNOWN_FIELD, "unknown field \"%.*s\"", (int)c->key.len, c->key.ptr);
  return rc;
}

static int load_row(loader *l, const llmd_param *p, const llmd__node *map, char *base)
{
  const llmd__node *n = is_null(map) ? NULL : llmd__map_get(map, p->name);
  uint32_t one = 1;
  int rc = preset(l, p, base + p->offset);
  if (rc)
    return rc;
  if (is_absent(p, n)) {
    if ((p->flags & LLMD_PARAM_REQUIRED) && map)
      return llmd__node_fail(map, l->err, LLMD_E_MISSING, "%s is required", p->name);
    return 0;
  }
  if ((p->flags & LLMD_PARAM_OLD) && l->names->old)
    l->names->old(l->names->ud, n);
  rc = load_value(l, p, n, base + p->offset);
  if (!rc && p->given)
    memcpy(base + p->given, &one, sizeof one);
  return rc;
}

static int load_table(loader *l, const llmd_param *rows, const llmd__node *map, char *base)
{
  int rc = is_null(map) ? 0 : check_names(l, rows, map);
  for (const llmd_param *p = rows; !rc && p && p->name; p++)
    rc = load_row(l, p, map, base);
  return rc;
}

/* Parameters that are absent altogether: the table's required ones still are. */
static int check_absent(loader *l, const llmd_plugin *plugin, const llmd__node *node, const char *base)
{
  for (const llmd_param *p = plugin->params; is_null(node) && p && p->name; p++)
    if (p->flags & LLMD_PARAM_REQUIRED)
      return llmd__fail(l->err, LLMD_E_MISSING, node ? node->line : 0, node ? node->column : 0, base,
                        "%s is required by %s", p->name, plugin->type);
  return 0;
}

static int validate(loader *l, const llmd_plugin *plugin, const llmd__node *node, const char *base)
{
  llmd_err e = LLMD_ERR_INIT;
  int rc;
  if (!plugin->validate)
    return 0;
  rc = plugin->validate(l->self->self, &e);
  if (rc >= 0)
    return 0;
  e.text[sizeof e.text - 1] = e.path[sizeof e.path - 1] = 0;
  {
    char path[128];
    snprintf(path, sizeof path, "%.63s%s%.63s", base, e.path[0] && e.path[0] != '[' ? "." : "", e.path);
    return llmd__fail(l->err, rc, node ? node->line : 0, node ? node->column : 0, path, "%s",
                      e.text[0] ? e.text : llmd_strerror(rc));
  }
}

int llmd__params_load(const llmd_allocator *a, const llmd_plugin *plugin, const llmd__node *node, const char *base,
                      const llmd__names *names, llmd__self *out, llmd_err *err)
{
  llmd__self self;
  loader l = {a, names, &self, err};
  int rc;
  memset(&self, 0, sizeof self);
  self.bytes = plugin->self_size ? plugin->self_size : 1;
  self.self = llmd__calloc(a, 1, self.bytes);
  if (!self.self)
    return llmd__fail(err, LLMD_E_NOMEM, 0, 0, NULL, "out of memory");
  rc = check_absent(&l, plugin, node, base);
  if (!rc)
    rc = load_table(&l, plugin->params, node, self.self);
  if (!rc)
    rc = validate(&l, plugin, node, base);
  if (rc) {
    llmd__params_free(a, &self);
    return rc;
  }
  *out = self;
  return 0;
}

void llmd__params_free(const llmd_allocator *a, llmd__self *s)
{
  block *b = s->blocks;
  while (b) {
    block *next = b->next;
    llmd__free(a, b, b->bytes);
    b = next;
  }
  llmd__free(a, s->self, s->bytes);
  memset(s, 0, sizeof *s);
}
