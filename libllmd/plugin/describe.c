/* llmd_plugins_write: what the descriptors say, as JSON. Help texts and the reference page are made from it. */
#include <llmd/scheduler.h>

#include <string.h>

#include "base/json_write.h"
#include "plugin/registry.h"

static void key_text(llmd__json *w, const char *key, const char *text)
{
  llmd__json_key(w, key);
  llmd__json_text(w, text);
}

static void key_bool(llmd__json *w, const char *key, int v)
{
  llmd__json_key(w, key);
  llmd__json_bool(w, v);
}

static void key_double(llmd__json *w, const char *key, double v)
{
  llmd__json_key(w, key);
  llmd__json_double(w, v);
}

/* A word for each bit that is set. */
static void key_bits(llmd__json *w, const char *key, uint32_t bits, const char *const *names, uint32_t n)
{
  llmd__json_key(w, key);
  llmd__json_begin_list(w);
  for (uint32_t i = 0; i < n; i++)
    if (bits >> i & 1)
      llmd__json_text(w, names[i]);
  llmd__json_end(w);
}

/* ---- parameters ------------------------------------------------------------------------------------------------- */

static const char *type_name(uint32_t type)
{
  static const char *const names[] = {"none",   "bool", "int",     "float", "string", "enum",    "duration", "quantity",
                                      "object", "list", "strings", "map",   "plugin", "profile", "any"};
  return type < sizeof names / sizeof *names ? names[type] : "unknown";
}

static int is_number(uint32_t type)
{
  return type == LLMD_PARAM_INT || type == LLMD_PARAM_FLOAT || type == LLMD_PARAM_DURATION ||
         type == LLMD_PARAM_QUANTITY;
}

/* Durations are nanoseconds here. */
static void put_range(llmd__json *w, const llmd_param *p)
{
  if (!is_number(p->type) || (p->flags & LLMD_PARAM_NO_RANGE) || (p->min == 0 && p->max == 0))
    return;
  key_double(w, p->flags & LLMD_PARAM_ABOVE_MIN ? "above" : "min", p->min);
  key_double(w, "max", p->max);
}

static void put_values(llmd__json *w, const llmd_enum *e)
{
  llmd__json_key(w, "values");
  llmd__json_begin_list(w);
  for (; e && e->name; e++)
    if (*e->name)
      llmd__json_text(w, e->name);
  llmd__json_end(w);
}

static void put_params(llmd__json *w, const char *key, const llmd_param *p);

static void put_param(llmd__json *w, const llmd_param *p)
{
  static const char *const flags[] = {"required", "ignored", "deprecated"};
  llmd__json_begin_map(w);
  key_text(w, "name", p->name);
  key_text(w, "type", type_name(p->type));
  key_text(w, "default", p->preset);
  put_range(w, p);
  if (p->type == LLMD_PARAM_ENUM)
    put_values(w, p->values);
  for (uint32_t i = 0; i < 3; i++)
    if (p->flags >> i & 1)
      key_bool(w, flags[i], 1);
  key_text(w, "doc", p->doc);
  if (p->sub)
    put_params(w, "fields", p->sub);
  llmd__json_end(w);
}

static void put_params(llmd__json *w, const char *key, const llmd_param *p)
{
  llmd__json_key(w, key);
  llmd__json_begin_list(w);
  for (; p && p->name; p++)
    put_param(w, p);
  llmd__json_end(w);
}

/* ---- columns ---------------------------------------------------------------------------------------------------- */

static const char *read_kind(uint32_t kind)
{
  static const char *const names[] = {"none",      "f64",      "id",    "label",  "name",      "address",
                                      "derived",   "has-model", "set-size", "fresh", "header", "header-ids", "prompt"};
  return kind < sizeof names / sizeof *names ? names[kind] : "unknown";
}

/* The parameter stored at this place of self. */
static const char *param_at(const llmd_param *p, uint32_t offset)
{
  for (; p && p->name; p++)
    if (p->type == LLMD_PARAM_STRING && p->offset == offset)
      return p->name;
  return NULL;
}

static void put_read(llmd__json *w, const llmd_plugin *plugin, const llmd_read *r)
{
  int number = r->kind == LLMD_READ_F64 || r->kind == LLMD_READ_DERIVED;
  llmd__json_begin_map(w);
  key_text(w, "kind", read_kind(r->kind));
  key_text(w, "name", r->name);
  if (r->flags & LLMD_READ_NAME_PARAM)
    key_text(w, "name_parameter", param_at(plugin->params, r->name_offset));
  key_text(w, "from", r->from && *r->from ? r->from : NULL);
  if (r->flags & LLMD_READ_FROM_PARAM)
    key_text(w, "from_parameter", param_at(plugin->params, r->from_offset));
  key_bool(w, "optional", (r->flags & LLMD_READ_OPTIONAL) != 0);
  if (number) {
    key_double(w, "if_unknown", r->if_unknown);
    key_double(w, "if_unknown_strict", r->if_unknown_strict);
  }
  llmd__json_end(w);
}

static void put_reads(llmd__json *w, const llmd_plugin *plugin)
{
  llmd__json_key(w, "reads");
  llmd__json_begin_list(w);
  for (const llmd_read *r = plugin->reads; r && r->kind; r++)
    put_read(w, plugin, r);
  llmd__json_end(w);
}

static void put_writes(llmd__json *w, const llmd_plugin *plugin)
{
  llmd__json_key(w, "writes");
  llmd__json_begin_list(w);
  for (const llmd_write *x = plugin->writes; x && x->name; x++) {
    llmd__json_begin_map(w);
    key_text(w, "name", x->name);
    key_text(w, "unit", x->unit);
    key_bool(w, "created_by_itself", (x->flags & LLMD_WRITE_DEFAULT) != 0);
    key_bool(w, "charged", (x->flags & LLMD_WRITE_CHARGE) != 0);
    llmd__json_end(w);
  }
  llmd__json_end(w);
}

/* ---- one plugin ------------------------------------------------------------------------------------------------- */

static const char *stability_name(uint32_t stability)
{
  static const char *const names[] = {"stable", "beta", "alpha", "deprecated"};
  return stability < sizeof names / sizeof *names ? names[stability] : "unknown";
}

static void put_verbs(llmd__json *w, const llmd_plugin *p)
{
  const struct { const char *name; int there; } verbs[] = {
    {"filter", p->filter != NULL},   {"score", p->score != NULL},           {"pick", p->pick != NULL},
    {"next", p->next != NULL},       {"finish", p->finish != NULL},         {"decide", p->decide != NULL},
    {"produce", p->produce != NULL}, {"saturation", p->saturation != NULL}, {"commit", p->commit != NULL},
    {"report", p->report != NULL},   {"forget", p->forget != NULL},
    {"respond", p->respond != NULL},
  };
  llmd__json_key(w, "verbs");
  llmd__json_begin_list(w);
  for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
    if (verbs[i].there)
      llmd__json_text(w, verbs[i].name);
  llmd__json_end(w);
}

static void put_plugin(llmd__json *w, const llmd_plugin *p)
{
  static const char *const kinds[] = {"filter",  "scorer",   "picker",   "profile-handler",
                                      "decider", "producer", "detector", "inert"};
  llmd__json_begin_map(w);
  key_text(w, "type", p->type);
  llmd__json_key(w, "aliases");
  llmd__json_begin_list(w);
  for (const char *const *a = p->aliases; a && *a; a++)
    llmd__json_text(w, *a);
  llmd__json_end(w);
  key_bits(w, "kinds", p->kind, kinds, sizeof kinds / sizeof *kinds);
  key_bool(w, "inert", (p->kind & LLMD_INERT) != 0);
  key_bool(w, "supported", p->kind != 0);
  key_text(w, "stability", stability_name(p->stability));
  key_text(w, "summary", p->summary);
  put_verbs(w, p);
  if (p->table_entries) {
    llmd__json_key(w, "table_entries");
    llmd__json_uint(w, p->table_entries);
  }
  put_params(w, "parameters", p->params);
  put_reads(w, p);
  put_writes(w, p);
  llmd__json_end(w);
}

static int is_called(const llmd_plugin *p, const char *type)
{
  int hit = !strcmp(p->type, type);
  for (const char *const *a = p->aliases; a && *a && !hit; a++)
    hit = !strcmp(*a, type);
  return hit;
}

static const llmd_plugin *find(const char *type)
{
  const llmd_plugin *const *p = llmd__builtins();
  while (*p && !is_called(*p, type))
    p++;
  return *p;
}

int llmd__plugin_describe(const llmd_plugin *p, llmd_write_fn fn, void *ud)
{
  llmd__json w;
  llmd__json_init(&w, fn, ud);
  put_plugin(&w, p);
  return llmd__json_finish(&w);
}

int llmd_plugins_write(const char *type, llmd_write_fn fn, void *ud)
{
  const llmd_plugin *one = type ? find(type) : NULL;
  llmd__json w;
  if (!fn)
    return LLMD_E_INVALID;
  if (type && !one)
    return LLMD_E_UNKNOWN_TYPE;
  if (one)
    return llmd__plugin_describe(one, fn, ud);
  llmd__json_init(&w, fn, ud);
  llmd__json_begin_list(&w);
  for (const llmd_plugin *const *p = llmd__builtins(); *p; p++)
    put_plugin(&w, *p);
  llmd__json_end(&w);
  return llmd__json_finish(&w);
}
