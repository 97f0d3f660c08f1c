#include "harness_inner.h"

#include <stdlib.h>
#include <string.h>

static void *own(bench *b, size_t bytes)
{
  void *p = calloc(1, bytes ? bytes : 1);
  if (!p || b->n_owned == sizeof b->owned / sizeof b->owned[0])
    bench_die("no room for parameters");
  b->owned[b->n_owned++] = p;
  return p;
}

static llmd_str text_of(bench *b, const char *text)
{
  llmd_str s = {NULL, strlen(text)};
  char *copy = own(b, s.len + 1);
  memcpy(copy, text, s.len);
  s.ptr = copy;
  return s;
}

static int is_number(uint32_t type)
{
  return type == LLMD_PARAM_BOOL || type == LLMD_PARAM_INT || type == LLMD_PARAM_FLOAT || type == LLMD_PARAM_DURATION;
}

static int out_of_range(const llmd_param *p, double v)
{
  if ((p->flags & LLMD_PARAM_NO_RANGE) || (p->min == 0 && p->max == 0))
    return 0;
  return !(v >= p->min && v <= p->max) || ((p->flags & LLMD_PARAM_ABOVE_MIN) && v == p->min);
}

static void store_number(const llmd_param *p, char *at, double v)
{
  uint32_t flag = v != 0;
  int64_t whole = (int64_t)v;
  if (p->type == LLMD_PARAM_BOOL)
    memcpy(at, &flag, sizeof flag);
  else if (p->type == LLMD_PARAM_FLOAT)
    memcpy(at, &v, sizeof v);
  else
    memcpy(at, &whole, sizeof whole);
}

static int store_text(bench *b, const llmd_param *p, char *at, const char *text)
{
  const llmd_enum *e = p->values;
  llmd_str s;
  if (p->type == LLMD_PARAM_STRING) {
    s = text_of(b, text);
    memcpy(at, &s, sizeof s);
    return 0;
  }
  for (; e && e->name; e++)
    if (strcmp(e->name, text) == 0) {
      memcpy(at, &e->value, sizeof e->value);
      return 0;
    }
  return LLMD_E_RANGE;
}

static double preset_number(const llmd_param *p)
{
  char *end;
  double v;
  if (p->type == LLMD_PARAM_BOOL)
    return strcmp(p->preset, "true") == 0;
  v = strtod(p->preset, &end);
  if (end == p->preset || (*end && p->type != LLMD_PARAM_DURATION))
    bench_die("preset of %s is no number", p->name);
  return strcmp(end, "ms") == 0 ? v * 1e6 : *end ? v * 1e9 : v;
}

void bench_presets(bench *b, const llmd_param *table, char *base)
{
  const llmd_param *p;
  for (p = table; p && p->name; p++) {
    if (p->type == LLMD_PARAM_OBJECT)
      bench_presets(b, p->sub, base + p->offset);
    else if (p->preset && is_number(p->type))
      store_number(p, base + p->offset, preset_number(p));
    else if (p->preset && store_text(b, p, base + p->offset, p->preset) < 0)
      bench_die("preset of %s is not one of its values", p->name);
  }
}

const llmd_param *bench_row(const llmd_param *table, const char *name, size_t len)
{
  for (; table && table->name; table++)
    if (strlen(table->name) == len && memcmp(table->name, name, len) == 0)
      return table;
  return NULL;
}

/* Walks the path, marks what lies on it as given; *at = where the last step is stored. */
static const llmd_param *walk(bench *b, const char *path, char **at)
{
  const llmd_param *table = b->plugin->params, *p;
  char *base = b->self;
  for (;;) {
    size_t len = strcspn(path, ".[");
    const uint32_t one = 1;
    p = bench_row(table, path, len);
    if (!p)
      bench_die("%s has no parameter %s", b->plugin->type, path);
    if (p->given)
      memcpy(base + p->given, &one, sizeof one);
    base += p->offset;
    path += len;
    if (*path == '[') {
      llmd_list list;
      char *end;
      unsigned long i = strtoul(path + 1, &end, 10);
      memcpy(&list, base, sizeof list);
      if (i >= list.n || *end != ']')
        bench_die("no item %s in %s", path, p->name);
      base = (char *)list.items + i * list.item_size;
      path = end + 1;
    }
    if (!*path) {
      *at = base;
      return p;
    }
    path++;
    table = p->sub;
  }
}

int bench_number(bench *b, const char *path, double value)
{
  char *at;
  const llmd_param *p = walk(b, path, &at);
  if (!is_number(p->type))
    bench_die("%s is no number", path);
  if (out_of_range(p, value))
    return LLMD_E_RANGE;
  store_number(p, at, value);
  return 0;
}

int bench_text(bench *b, const char *path, const char *text)
{
  char *at;
  const llmd_param *p = walk(b, path, &at);
  if (p->type != LLMD_PARAM_STRING && p->type != LLMD_PARAM_ENUM)
    bench_die("%s is no text", path);
  return store_text(b, p, at, text);
}

void bench_object(bench *b, const char *path)
{
  char *at;
  if (walk(b, path, &at)->type != LLMD_PARAM_OBJECT)
    bench_die("%s is no object", path);
}

static void *list_at(bench *b, const char *path, uint32_t type, uint32_t n, size_t item)
{
  char *at;
  const llmd_param *p = walk(b, path, &at);
  llmd_list list = {n, (uint32_t)(item ? item : p->sub_size), NULL};
  uint32_t i;
  if (p->type != type)
    bench_die("%s is another kind of list", path);
  list.items = own(b, (size_t)n * list.item_size);
  for (i = 0; i < n && p->sub; i++)
    bench_presets(b, p->sub, (char *)list.items + (size_t)i * list.item_size);
  memcpy(at, &list, sizeof list);
  return list.items;
}

void bench_items(bench *b, const char *path, uint32_t n)
{
  list_at(b, path, LLMD_PARAM_LIST, n, 0);
}

void bench_strings(bench *b, const char *path, uint32_t n, const char *const *text)
{
  llmd_str *s = list_at(b, path, LLMD_PARAM_STRINGS, n, sizeof *s);
  uint32_t i;
  for (i = 0; i < n; i++)
    s[i] = text_of(b, text[i]);
}

void bench_map(bench *b, const char *path, uint32_t n, const char *const *keys_and_values)
{
  llmd_pair *s = list_at(b, path, LLMD_PARAM_MAP, n, sizeof *s);
  uint32_t i;
  for (i = 0; i < n; i++) {
    s[i].key = text_of(b, keys_and_values[2 * i]);
    s[i].value = text_of(b, keys_and_values[2 * i + 1]);
  }
}

int bench_validate(bench *b)
{
  llmd_err clean = LLMD_ERR_INIT;
  b->err = clean;
  return b->plugin->validate ? b->plugin->validate(b->self, &b->err) : 0;
}
