/* Reading an example:
 *
 *   {name = "...", params = {queue = 3}, request = {model = "m", headers = {["x-canary"] = "1"}},
 *    endpoints = {{waiting = 3, zone = "eu"}, {}}, store = {k = 7}, now = 10, seed = 1,
 *    scores = {0.2, 0.8}}
 *
 * Endpoints have the fields that the policy reads; what one lacks is unknown. A word that nobody knows is a mistake: an
 * example that says `waitng` would prove nothing. */
#include "sample.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>

#include "api.h"

#define TEXT_LEN 4096u
#define SECOND 1e9

typedef struct reader {
  lua_State *L;
  llmd__lua_sample *s;
  const llmd__lua_self *operator;
  uint32_t number;
  int at; /* the example's table */
  int rc;
} reader;

/* ---- mistakes --------------------------------------------------------------------------------------------------- */

static int wrong(reader *r, const char *fmt, ...) LLMD__LUA_PRINTF(2, 3);
static int wrong(reader *r, const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(r->s->why, sizeof r->s->why, fmt, ap);
  va_end(ap);
  return r->rc = LLMD_E_PLUGIN;
}

static void *room(reader *r, size_t bytes)
{
  void *p = llmd__lua_block(r->s->p->alloc, &r->s->blocks, bytes ? bytes : 1);
  if (!p)
    r->rc = LLMD_E_NOMEM;
  return p;
}

static int unknown(reader *r, const char *what, const char *word, const llmd__lua_near *near)
{
  char hint[80];
  return wrong(r, "%s has no \"%s\"%s", what, word, llmd__lua_near_text(near, hint));
}

/* ---- plain values ----------------------------------------------------------------------------------------------- */

/* Pushes the field. 1 when it is there. */
static int field(reader *r, int table, const char *key)
{
  llmd__lua_get(r->L, table, key);
  return !lua_isnil(r->L, -1);
}

/* A number, or a boolean as 0 or 1; absent: *out stays. */
static int take_number(reader *r, int table, const char *key, double *out)
{
  if (field(r, table, key)) {
    if (lua_type(r->L, -1) == LUA_TNUMBER)
      *out = lua_tonumber(r->L, -1);
    else if (lua_isboolean(r->L, -1))
      *out = lua_toboolean(r->L, -1);
    else
      wrong(r, "%s must be a number, not %s", key, llmd__lua_kind_at(r->L, -1));
  }
  lua_pop(r->L, 1);
  return r->rc;
}

/* A copy of the string at the top. */
static int take_text(reader *r, const char *what, llmd_str *out)
{
  llmd_str text;
  char *copy;
  if (!llmd__lua_text_at(r->L, -1, TEXT_LEN, &text))
    return wrong(r, "%s must be a string of at most %u bytes, not %s", what, TEXT_LEN, llmd__lua_kind_at(r->L, -1));
  copy = room(r, text.len + 1);
  if (!copy)
    return r->rc;
  memcpy(copy, text.ptr, text.len);
  out->ptr = copy;
  out->len = text.len;
  return 0;
}

static int take_text_field(reader *r, int table, const char *key, llmd_str *out)
{
  if (field(r, table, key))
    take_text(r, key, out);
  lua_pop(r->L, 1);
  return r->rc;
}

/* Pushes the table called key; 0 when there is none, its place otherwise. */
static int open_table(reader *r, int table, const char *key)
{
  if (field(r, table, key)) {
    if (lua_istable(r->L, -1))
      return lua_gettop(r->L);
    wrong(r, "%s must be a table, not %s", key, llmd__lua_kind_at(r->L, -1));
  }
  lua_pop(r->L, 1);
  return 0;
}

/* Every name in the table must be one of words. */
static int check_words(reader *r, int table, const char *what, const char *const *words)
{
  lua_pushnil(r->L);
  while (!r->rc && lua_next(r->L, table)) {
    llmd_str key = {"", 0};
    const char *const *w = words;
    lua_pop(r->L, 1);
    if (!llmd__lua_text_at(r->L, -1, 63, &key))
      return wrong(r, "%s has %s as a name", what, llmd__lua_kind_at(r->L, -1));
    llmd__lua_near near = {key.ptr, NULL, 0};
    while (*w && strcmp(*w, key.ptr))
      llmd__lua_near_try(&near, *w++);
    if (!*w)
      return unknown(r, what, key.ptr, &near);
  }
  return r->rc;
}

/* ---- parameters ------------------------------------------------------------------------------------------------- */

static const llmd_param *row_of(const llmd__lua_policy *p, const char *name)
{
  const llmd_param *row = p->plugin.params;
  while (strcmp(row->name, "params"))
    row++;
  for (row = row->sub; strcmp(row->name, name);)
    row++;
  return row;
}

static void store_value(llmd__lua_self *self, const llmd__lua_param *p, double number, const llmd_str *text)
{
  char *at = (char *)self + p->offset;
  uint32_t v = number > 0 ? (uint32_t)number : 0;
  if (p->type == LLMD_PARAM_FLOAT)
    memcpy(at, &number, sizeof number);
  else if (p->type == LLMD_PARAM_STRING)
    memcpy(at, text, sizeof *text);
  else
    memcpy(at, &v, sizeof v);
}

static int store_number(reader *r, const llmd__lua_param *p)
{
  const llmd_param *row = row_of(r->s->p, p->name);
  double v = lua_tonumber(r->L, -1);
  if (v - v != 0 || ((row->min != 0 || row->max != 0) && (v < row->min || v > row->max)))
    return wrong(r, "params.%s is out of its range", p->name);
  store_value(r->s->self, p, v, NULL);
  return 0;
}

static int store_choice(reader *r, const llmd__lua_param *p)
{
  llmd_str text;
  if (llmd__lua_text_at(r->L, -1, 63, &text))
    for (const llmd_enum *e = p->values; e->name; e++)
      if (!strcmp(e->name, text.ptr)) {
        store_value(r->s->self, p, e->value, NULL);
        return 0;
      }
  return wrong(r, "params.%s is none of its values", p->name);
}

/* The value at the top. */
static int store_param(reader *r, const llmd__lua_param *p)
{
  llmd_str text;
  if (p->type == LLMD_PARAM_FLOAT && lua_type(r->L, -1) == LUA_TNUMBER)
    return store_number(r, p);
  if (p->type == LLMD_PARAM_ENUM)
    return store_choice(r, p);
  if (p->type == LLMD_PARAM_BOOL && lua_isboolean(r->L, -1)) {
    store_value(r->s->self, p, lua_toboolean(r->L, -1), NULL);
    return 0;
  }
  if (p->type != LLMD_PARAM_STRING)
    return wrong(r, "params.%s cannot be %s", p->name, llmd__lua_kind_at(r->L, -1));
  if (!take_text(r, p->name, &text))
    store_value(r->s->self, p, 0, &text);
  return r->rc;
}

/* The operator's limits, and the defaults whatever the operator says: examples hold everywhere. */
static int take_params(reader *r)
{
  const llmd__lua_policy *p = r->s->p;
  const char *names[LLMD__LUA_PARAMS + 1] = {NULL};
  llmd__lua_self *self = room(r, p->plugin.self_size);
  int table;
  if (!self)
    return r->rc;
  *self = *r->operator;
  self->prompt = 1;
  r->s->self = self;
  for (uint32_t i = 0; i < p->n_params; i++) {
    names[i] = p->param[i].name;
    store_value(self, &p->param[i], p->param[i].number, &p->param[i].text);
  }
  table = open_table(r, r->at, "params");
  if (!table || check_words(r, table, "params", names))
    return r->rc;
  for (uint32_t i = 0; i < p->n_params && !r->rc; i++) {
    if (field(r, table, names[i]))
      store_param(r, &p->param[i]);
    lua_pop(r->L, 1);
  }
  lua_settop(r->L, table - 1);
  return r->rc;
}

/* ---- the request ------------------------------------------------------------------------------------------------ */

static const char *const request_words[] = {
#define LLMD__LUA_WORD_REQ(name, type, doc) #name,
#include "words.def"
  NULL};

static int take_flag(reader *r, int table, const char *key, uint32_t flag)
{
  double v = 0;
  take_number(r, table, key, &v);
  if (v != 0)
    r->s->view.flags |= flag;
  return r->rc;
}

static int take_view(reader *r, int table)
{
  llmd_request_view *v = &r->s->view;
  double bytes = 0, priority = 0;
  take_text_field(r, table, "model", &v->model);
  take_text_field(r, table, "tenant", &v->tenant);
  take_text_field(r, table, "session", &v->session);
  take_number(r, table, "tokens", &v->tokens);
  take_number(r, table, "max_tokens", &v->max_tokens);
  take_number(r, table, "slo_ttft_ms", &v->slo_ttft_ms);
  take_number(r, table, "slo_tpot_ms", &v->slo_tpot_ms);
  take_number(r, table, "bytes", &bytes);
  take_number(r, table, "priority", &priority);
  take_flag(r, table, "stream", LLMD_VIEW_STREAM);
  take_flag(r, table, "multimodal", LLMD_VIEW_MULTIMODAL);
  take_flag(r, table, "truncated", LLMD_VIEW_TRUNCATED);
  take_flag(r, table, "real_tokens", LLMD_VIEW_REAL_TOKENS);
  if (!(bytes >= 0 && bytes < 1e15) || !(priority > -1e9 && priority < 1e9))
    return wrong(r, "request: bytes or priority is out of range");
  v->bytes = (uint64_t)bytes;
  v->priority = (int32_t)priority;
  return r->rc;
}

static int take_headers(reader *r, int request)
{
  const llmd__lua_policy *p = r->s->p;
  const char *names[LLMD__LUA_READS + 1] = {NULL};
  uint32_t n = 0;
  int table = open_table(r, request, "headers");
  for (uint32_t i = 0; i < p->n_reads; i++)
    if (p->read[i].shows == LLMD__LUA_SHOWS_HEADER)
      names[n++] = p->read[i].field;
  if (!table || check_words(r, table, "request.headers", names))
    return r->rc;
  for (uint32_t i = 0; i < p->n_reads && !r->rc; i++)
    if (p->read[i].shows == LLMD__LUA_SHOWS_HEADER)
      take_text_field(r, table, p->read[i].field, &r->s->value[i].str);
  lua_settop(r->L, table - 1);
  return r->rc;
}

static int take_request(reader *r)
{
  const llmd__lua_policy *p = r->s->p;
  int table = open_table(r, r->at, "request");
  if (!table || check_words(r, table, "request", request_words))
    return r->rc;
  if (take_view(r, table) || take_headers(r, table))
    return r->rc;
  for (uint32_t i = 0; i < p->n_reads && !r->rc; i++)
    if (p->read[i].shows == LLMD__LUA_SHOWS_PROMPT)
      take_text_field(r, table, "prompt", &r->s->value[i].str);
  lua_settop(r->L, table - 1);
  return r->rc;
}

/* ---- endpoints -------------------------------------------------------------------------------------------------- */

/* An id for the text at the top, the same for the same text; 0 for "". */
static uint32_t id_of(reader *r, const char *what)
{
  llmd__lua_sample *s = r->s;
  llmd_str text = {"", 0};
  if (take_text(r, what, &text) || !text.len)
    return 0;
  for (uint32_t i = 0; i < s->n_texts; i++)
    if (s->text[i].len == text.len && !memcmp(s->text[i].ptr, text.ptr, text.len))
      return i + 1;
  s->text[s->n_texts++] = text;
  return s->n_texts;
}

/* The pool never says that it does not know these. */
static double preset_of(uint32_t kind)
{
  if (kind == LLMD_READ_HAS_MODEL || kind == LLMD_READ_SET_SIZE)
    return 0;
  return kind == LLMD_READ_FRESH ? 1 : (double)NAN;
}

/* An integer; absent: *out stays. */
static int take_endpoint_id(reader *r, int table, const char *key, llmd_endpoint_id *out)
{
  if (field(r, table, key)) {
    if (lua_isinteger(r->L, -1))
      *out = (llmd_endpoint_id)lua_tointeger(r->L, -1);
    else
      wrong(r, "%s must be an integer, not %s", key, llmd__lua_kind_at(r->L, -1));
  }
  lua_pop(r->L, 1);
  return r->rc;
}

static int take_cell(reader *r, int endpoint, uint32_t read, uint32_t row)
{
  const llmd__lua_read *what = &r->s->p->read[read];
  if (what->shows == LLMD__LUA_SHOWS_NUMBER) {
    r->s->f64[read][row] = preset_of(r->s->p->plugin.reads[read].kind);
    return take_number(r, endpoint, what->field, &r->s->f64[read][row]);
  }
  if (what->shows == LLMD__LUA_SHOWS_ENDPOINT)
    return take_endpoint_id(r, endpoint, what->field, &r->s->endpoint[row]);
  if (field(r, endpoint, what->field))
    r->s->id[read][row] = id_of(r, what->field);
  lua_pop(r->L, 1);
  return r->rc;
}

static int take_endpoint(reader *r, int list, uint32_t row, const char *const *names)
{
  int at;
  char what[32];
  snprintf(what, sizeof what, "endpoints[%u]", (unsigned)row + 1);
  lua_rawgeti(r->L, list, (lua_Integer)row + 1);
  at = lua_gettop(r->L);
  if (!lua_istable(r->L, at))
    return wrong(r, "%s must be a table, not %s", what, llmd__lua_kind_at(r->L, at));
  check_words(r, at, what, names);
  r->s->endpoint[row] = ((uint64_t)1 << 32) + row;
  for (uint32_t i = 0; i < r->s->p->n_reads && !r->rc; i++)
    if (llmd__lua_is_column(r->s->p->read[i].shows))
      take_cell(r, at, i, row);
  lua_settop(r->L, at - 1);
  return r->rc;
}

static int make_columns(reader *r)
{
  llmd__lua_sample *s = r->s;
  uint32_t n_reads = s->p->n_reads;
  s->f64 = room(r, (n_reads + 1) * sizeof *s->f64);
  s->id = room(r, (n_reads + 1) * sizeof *s->id);
  s->value = room(r, (n_reads + 1) * sizeof *s->value);
  s->text = room(r, (size_t)s->n * n_reads * sizeof *s->text);
  s->endpoint = room(r, s->n * sizeof *s->endpoint);
  s->total = room(r, s->n * sizeof *s->total);
  for (uint32_t i = 0; i < n_reads && !r->rc; i++) {
    s->value[i].num = (double)NAN;
    if (s->p->read[i].shows == LLMD__LUA_SHOWS_NUMBER)
      s->f64[i] = room(r, s->n * sizeof **s->f64);
    else if (s->p->read[i].shows == LLMD__LUA_SHOWS_TEXT)
      s->id[i] = room(r, s->n * sizeof **s->id);
  }
  return r->rc;
}

static int take_endpoints(reader *r)
{
  const llmd__lua_policy *p = r->s->p;
  const char *names[LLMD__LUA_READS + 1] = {NULL};
  uint32_t n = 0;
  int list = open_table(r, r->at, "endpoints");
  if (r->rc)
    return r->rc;
  for (uint32_t i = 0; i < p->n_reads; i++)
    if (llmd__lua_is_column(p->read[i].shows))
      names[n++] = p->read[i].field;
  if (list && lua_rawlen(r->L, list) > LLMD__LUA_SAMPLE_ROWS)
    return wrong(r, "there are more than %u endpoints", LLMD__LUA_SAMPLE_ROWS);
  r->s->n = list ? (uint32_t)lua_rawlen(r->L, list) : 0;
  make_columns(r);
  for (uint32_t i = 0; i < r->s->n && !r->rc; i++)
    take_endpoint(r, list, i, names);
  if (list)
    lua_settop(r->L, list - 1);
  return r->rc;
}

/* ---- the rest of the situation ---------------------------------------------------------------------------------- */

static int take_time(reader *r, const char *key, uint64_t *out)
{
  double v = 0;
  if (!take_number(r, r->at, key, &v) && !(v >= 0 && v < 1e10))
    return wrong(r, "%s is out of range", key);
  *out = (uint64_t)(v * SECOND + 0.5);
  return r->rc;
}

static int take_stored(reader *r, int table)
{
  llmd__lua_sample *s = r->s;
  uint32_t n = 0;
  lua_pushnil(r->L);
  while (lua_next(r->L, table)) {
    lua_pop(r->L, 1);
    n++;
  }
  s->stored = room(r, n * sizeof *s->stored);
  lua_pushnil(r->L);
  while (!r->rc && lua_next(r->L, table)) {
    llmd__lua_stored *to = &s->stored[s->n_stored++];
    if (!llmd__lua_to_stored(r->L, -1, &to->value))
      return wrong(r, "store holds integers and booleans, not %s", llmd__lua_kind_at(r->L, -1));
    lua_pop(r->L, 1);
    take_text(r, "a name in store", &to->name);
  }
  return r->rc;
}

/* {name = "prefill", ran = true, ok = true, n = 2} at the top */
static int take_run(reader *r, uint32_t i)
{
  static const char *const words[] = {"name", "ran", "ok", "n", NULL};
  double ran = 0, ok = 0, n = 0;
  int at = lua_gettop(r->L);
  if (!lua_istable(r->L, at))
    return wrong(r, "runs[%u] must be a table, not %s", (unsigned)i + 1, llmd__lua_kind_at(r->L, at));
  check_words(r, at, "runs", words);
  take_text_field(r, at, "name", &r->s->profile[i]);
  take_number(r, at, "ran", &ran);
  take_number(r, at, "ok", &ok);
  n = ok;
  take_number(r, at, "n", &n);
  if (!r->rc && (!r->s->profile[i].len || !(n >= 0 && n < 1e6)))
    return wrong(r, "runs[%u] needs a name, and n is a number of endpoints", (unsigned)i + 1);
  r->s->run[i].state = ok != 0 ? LLMD_RUN_OK : ran != 0 ? LLMD_RUN_FAILED : LLMD_RUN_NOT;
  r->s->run[i].n = r->rc ? 0 : (uint32_t)n;
  return r->rc;
}

static int take_runs(reader *r)
{
  double turn = 0;
  int list = open_table(r, r->at, "runs");
  lua_Unsigned n = list ? lua_rawlen(r->L, list) : 0;
  if (n > LLMD__LUA_SAMPLE_RUNS)
    return wrong(r, "runs has more than %u rows", LLMD__LUA_SAMPLE_RUNS);
  for (uint32_t i = 0; i < n && !r->rc; i++) {
    lua_rawgeti(r->L, list, (lua_Integer)i + 1);
    take_run(r, i);
    lua_settop(r->L, list);
  }
  r->s->n_runs = (uint32_t)n;
  if (list)
    lua_settop(r->L, list - 1);
  if (!take_number(r, r->at, "turn", &turn) && !(turn >= 0 && turn < 1000))
    return wrong(r, "turn is out of range");
  r->s->turn = r->rc ? 0 : (uint32_t)turn;
  return r->rc;
}

static int take_situation(reader *r)
{
  double seed = 0;
  int table;
  if (take_params(r) || take_endpoints(r) || take_request(r) || take_runs(r))
    return r->rc;
  if (take_time(r, "now", &r->s->now) || take_time(r, "wall", &r->s->wall) || take_number(r, r->at, "seed", &seed))
    return r->rc;
  if (!(seed >= 0 && seed < 9007199254740992.0))
    return wrong(r, "seed is out of range");
  r->s->seed = (uint64_t)seed;
  table = open_table(r, r->at, "store");
  if (table && !take_stored(r, table))
    lua_settop(r->L, table - 1);
  return r->rc;
}

/* ---- what must come out ----------------------------------------------------------------------------------------- */

/* A number per endpoint, from the table at the top. */
static double *numbers_at(reader *r, const char *what)
{
  int list = lua_gettop(r->L);
  double *out = NULL;
  if (!lua_istable(r->L, list) || lua_rawlen(r->L, list) != r->s->n)
    wrong(r, "%s must be a list with a number for each of %u endpoints", what, (unsigned)r->s->n);
  else
    out = room(r, r->s->n * sizeof *out);
  for (uint32_t i = 0; i < r->s->n && !r->rc; i++) {
    lua_rawgeti(r->L, list, (lua_Integer)i + 1);
    if (lua_isboolean(r->L, -1))
      out[i] = lua_toboolean(r->L, -1);
    else if (lua_type(r->L, -1) == LUA_TNUMBER)
      out[i] = lua_tonumber(r->L, -1);
    else
      wrong(r, "%s[%u] must be a number, not %s", what, (unsigned)i + 1, llmd__lua_kind_at(r->L, -1));
    lua_pop(r->L, 1);
  }
  return r->rc ? NULL : out;
}

static double *take_numbers(reader *r, const char *key)
{
  double *out = NULL;
  if (!r->rc && field(r, r->at, key))
    out = numbers_at(r, key);
  lua_settop(r->L, r->at);
  return out;
}

static void take_keep(reader *r)
{
  double *numbers = take_numbers(r, "keep");
  r->s->keep = numbers ? room(r, r->s->n) : NULL;
  for (uint32_t i = 0; r->s->keep && i < r->s->n; i++)
    r->s->keep[i] = numbers[i] != 0;
}

/* The index at the top. */
static void take_index(reader *r, const char *what)
{
  lua_Integer i = lua_isinteger(r->L, -1) ? lua_tointeger(r->L, -1) : 0;
  if (i < 1 || i > (lua_Integer)r->s->n)
    wrong(r, "%s is no index of an endpoint, 1 to %u", what, (unsigned)r->s->n);
  else
    r->s->picks[r->s->n_picks++] = (uint32_t)i - 1;
}

static void take_picks(reader *r)
{
  int list;
  r->s->n_picks = -1;
  r->s->picks = room(r, r->s->n * sizeof *r->s->picks);
  if (!r->rc && field(r, r->at, "pick")) {
    r->s->n_picks = 0;
    r->s->first_only = 1;
    take_index(r, "pick");
  }
  lua_settop(r->L, r->at);
  list = r->rc ? 0 : open_table(r, r->at, "picks");
  if (!list)
    return;
  r->s->first_only = 0;
  r->s->n_picks = 0;
  if (lua_rawlen(r->L, list) > r->s->n)
    wrong(r, "picks has more indexes than there are endpoints");
  for (lua_Integer i = 1; !r->rc && i <= (lua_Integer)lua_rawlen(r->L, list); i++) {
    lua_rawgeti(r->L, list, i);
    take_index(r, "an entry of picks");
    lua_pop(r->L, 1);
  }
  lua_settop(r->L, r->at);
}

static void take_writes(reader *r)
{
  const llmd__lua_policy *p = r->s->p;
  const char *names[LLMD__LUA_WRITES + 1] = {NULL};
  int table = r->rc ? 0 : open_table(r, r->at, "writes");
  for (uint32_t i = 0; i < p->n_writes; i++)
    names[i] = p->plugin.writes[i].name;
  if (!table || check_words(r, table, "writes", names))
    return;
  r->s->writes = room(r, (p->n_writes + 1) * sizeof *r->s->writes);
  for (uint32_t i = 0; i < p->n_writes && !r->rc; i++) {
    if (field(r, table, names[i]))
      r->s->writes[i] = numbers_at(r, names[i]);
    lua_settop(r->L, table);
  }
  lua_settop(r->L, r->at);
}

static void take_profiles(reader *r)
{
  int list = r->rc ? 0 : open_table(r, r->at, "profiles");
  lua_Unsigned n = list ? lua_rawlen(r->L, list) : 0;
  r->s->n_profiles = -1;
  if (n > LLMD__LUA_SAMPLE_RUNS)
    wrong(r, "profiles has more than %u names", LLMD__LUA_SAMPLE_RUNS);
  if (!list || r->rc)
    return;
  r->s->n_profiles = (int)n;
  r->s->profiles = room(r, n * sizeof *r->s->profiles);
  for (lua_Unsigned i = 0; i < n && !r->rc; i++) {
    lua_rawgeti(r->L, list, (lua_Integer)i + 1);
    take_text(r, "an entry of profiles", &r->s->profiles[i]);
    lua_pop(r->L, 1);
  }
  lua_settop(r->L, r->at);
}

static int says_nothing(const llmd__lua_sample *s)
{
  return !s->scores && !s->keep && s->n_picks < 0 && s->decide < 0 && !s->writes && s->n_profiles < 0 && !s->primary.ptr;
}

static int take_expected(reader *r)
{
  double *total = take_numbers(r, "total"), decide = -1;
  if (total)
    r->s->total = total;
  r->s->scores = take_numbers(r, "scores");
  take_keep(r);
  take_picks(r);
  take_writes(r);
  take_profiles(r);
  if (r->rc)
    return r->rc;
  take_number(r, r->at, "decide", &decide);
  r->s->decide = decide < 0 ? -1 : decide != 0;
  take_text_field(r, r->at, "primary", &r->s->primary);
  if (!r->rc && says_nothing(r->s))
    return wrong(r, "it does not say what must come out: scores, keep, pick, ...");
  return r->rc;
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

static const char *const example_words[] = {
#define LLMD__LUA_WORD_EXAMPLE(name, type, doc) #name,
#include "words.def"
  NULL};

static int take_name(reader *r)
{
  llmd_str name = {NULL, 0};
  char *number = room(r, 32);
  if (!number)
    return r->rc;
  snprintf(number, 32, "examples[%u]", (unsigned)r->number);
  r->s->name = number;
  if (!lua_istable(r->L, r->at))
    return wrong(r, "an example must be a table, not %s", llmd__lua_kind_at(r->L, r->at));
  if (take_text_field(r, r->at, "name", &name) || !name.len)
    return r->rc;
  r->s->name = name.ptr;
  r->s->line = llmd__lua_line_of(r->s->p, name.ptr);
  return 0;
}

static int read_it(lua_State *L)
{
  reader *r = lua_touserdata(L, 1);
  luaL_checkstack(L, 40, NULL);
  r->L = L;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &llmd__lua_module_key);
  llmd__lua_get(L, -1, "examples");
  lua_rawgeti(L, -1, (lua_Integer)r->number);
  r->at = lua_gettop(L);
  if (!take_name(r) && !check_words(r, r->at, "an example", example_words) && !take_situation(r))
    take_expected(r);
  return 0;
}

static void empty(llmd__lua_sample *s, const llmd__lua_policy *p)
{
  memset(s, 0, sizeof *s);
  s->p = p;
  s->name = "?";
  s->line = llmd__lua_line_of(p, "examples");
  s->view.size = sizeof s->view;
  s->view.max_tokens = s->view.slo_ttft_ms = s->view.slo_tpot_ms = (double)NAN;
  s->view.model.ptr = s->view.tenant.ptr = s->view.session.ptr = "";
  s->decide = s->n_profiles = s->n_picks = -1;
}

int llmd__lua_sample_read(llmd__lua *s, const llmd__lua_self *self, uint32_t i, llmd__lua_sample *out)
{
  reader r = {.s = out, .operator = self, .number = i};
  int rc;
  empty(out, self->policy);
  rc = llmd__lua_call(s, NULL, read_it, &r);
  return rc ? rc : r.rc;
}

void llmd__lua_sample_free(llmd__lua_sample *s)
{
  llmd__lua_blocks_free(s->p->alloc, &s->blocks);
}
