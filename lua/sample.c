/* Reading an example:
 *
 *   {name = "...", params = {queue = 3}, request = {model = "m", headers = {["x-canary"] = "1"}},
 *    endpoints = {{waiting = 3, zone = "eu"}, {}}, store = {k = 7}, now = 10, seed = 1,
 *    scores = {0.2, 0.8}}
 *
 * Endpoints have the fields that the policy reads; what one lacks is unknown. A word that nobody knows is a mistake: an
 * example that says `waitng` would prove nothing. */
#include "input.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>

#include "api.h"

#define SECOND 1e9

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

static int store_number(llmd__lua_in *r, const llmd__lua_param *p)
{
  const llmd_param *row = row_of(r->s->p, p->name);
  double v = lua_tonumber(r->L, -1);
  if (v - v != 0 || ((row->min != 0 || row->max != 0) && (v < row->min || v > row->max)))
    return llmd__lua_in_wrong(r, "params.%s is out of its range", p->name);
  store_value(r->s->self, p, v, NULL);
  return 0;
}

static int store_choice(llmd__lua_in *r, const llmd__lua_param *p)
{
  llmd_str text;
  if (llmd__lua_text_at(r->L, -1, 63, &text))
    for (const llmd_enum *e = p->values; e->name; e++)
      if (!strcmp(e->name, text.ptr)) {
        store_value(r->s->self, p, e->value, NULL);
        return 0;
      }
  return llmd__lua_in_wrong(r, "params.%s is none of its values", p->name);
}

/* The value at the top. */
static int store_param(llmd__lua_in *r, const llmd__lua_param *p)
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
    return llmd__lua_in_wrong(r, "params.%s cannot be %s", p->name, llmd__lua_kind_at(r->L, -1));
  if (!llmd__lua_in_text(r, p->name, &text))
    store_value(r->s->self, p, 0, &text);
  return r->rc;
}

/* The operator's limits, and the defaults whatever the operator says: examples hold everywhere. */
static int take_params(llmd__lua_in *r)
{
  const llmd__lua_policy *p = r->s->p;
  const char *names[LLMD__LUA_PARAMS + 1] = {NULL};
  llmd__lua_self *self = llmd__lua_in_room(r, p->plugin.self_size);
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
  table = llmd__lua_in_table(r, r->at, "params");
  if (!table || llmd__lua_in_words(r, table, "params", names))
    return r->rc;
  for (uint32_t i = 0; i < p->n_params && !r->rc; i++) {
    if (llmd__lua_in_field(r, table, names[i]))
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

static int take_flag(llmd__lua_in *r, int table, const char *key, uint32_t flag)
{
  double v = 0;
  llmd__lua_in_number(r, table, key, &v);
  if (v != 0)
    r->s->view.flags |= flag;
  return r->rc;
}

static int take_view(llmd__lua_in *r, int table)
{
  llmd_request_view *v = &r->s->view;
  double bytes = 0, priority = 0;
  llmd__lua_in_text_of(r, table, "model", &v->model);
  llmd__lua_in_text_of(r, table, "tenant", &v->tenant);
  llmd__lua_in_text_of(r, table, "session", &v->session);
  llmd__lua_in_number(r, table, "tokens", &v->tokens);
  llmd__lua_in_number(r, table, "max_tokens", &v->max_tokens);
  llmd__lua_in_number(r, table, "slo_ttft_ms", &v->slo_ttft_ms);
  llmd__lua_in_number(r, table, "slo_tpot_ms", &v->slo_tpot_ms);
  llmd__lua_in_number(r, table, "bytes", &bytes);
  llmd__lua_in_number(r, table, "priority", &priority);
  take_flag(r, table, "stream", LLMD_VIEW_STREAM);
  take_flag(r, table, "multimodal", LLMD_VIEW_MULTIMODAL);
  take_flag(r, table, "truncated", LLMD_VIEW_TRUNCATED);
  take_flag(r, table, "real_tokens", LLMD_VIEW_REAL_TOKENS);
  if (!(bytes >= 0 && bytes < 1e15) || !(priority > -1e9 && priority < 1e9))
    return llmd__lua_in_wrong(r, "request: bytes or priority is out of range");
  v->bytes = (uint64_t)bytes;
  v->priority = (int32_t)priority;
  return r->rc;
}

static int take_headers(llmd__lua_in *r, int request)
{
  const llmd__lua_policy *p = r->s->p;
  const char *names[LLMD__LUA_READS + 1] = {NULL};
  uint32_t n = 0;
  int table = llmd__lua_in_table(r, request, "headers");
  for (uint32_t i = 0; i < p->n_reads; i++)
    if (p->read[i].shows == LLMD__LUA_SHOWS_HEADER)
      names[n++] = p->read[i].field;
  if (!table || llmd__lua_in_words(r, table, "request.headers", names))
    return r->rc;
  for (uint32_t i = 0; i < p->n_reads && !r->rc; i++)
    if (p->read[i].shows == LLMD__LUA_SHOWS_HEADER)
      llmd__lua_in_text_of(r, table, p->read[i].field, &r->s->value[i].str);
  lua_settop(r->L, table - 1);
  return r->rc;
}

static int take_request(llmd__lua_in *r)
{
  const llmd__lua_policy *p = r->s->p;
  int table = llmd__lua_in_table(r, r->at, "request");
  if (!table || llmd__lua_in_words(r, table, "request", request_words))
    return r->rc;
  if (take_view(r, table) || take_headers(r, table))
    return r->rc;
  for (uint32_t i = 0; i < p->n_reads && !r->rc; i++)
    if (p->read[i].shows == LLMD__LUA_SHOWS_PROMPT)
      llmd__lua_in_text_of(r, table, "prompt", &r->s->value[i].str);
  lua_settop(r->L, table - 1);
  return r->rc;
}

/* ---- endpoints -------------------------------------------------------------------------------------------------- */

/* An id for the text at the top, the same for the same text; 0 for "". */
static uint32_t id_of(llmd__lua_in *r, const char *what)
{
  llmd__lua_sample *s = r->s;
  llmd_str text = {"", 0};
  if (llmd__lua_in_text(r, what, &text) || !text.len)
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
static int take_endpoint_id(llmd__lua_in *r, int table, const char *key, llmd_endpoint_id *out)
{
  if (llmd__lua_in_field(r, table, key)) {
    if (lua_isinteger(r->L, -1))
      *out = (llmd_endpoint_id)lua_tointeger(r->L, -1);
    else
      llmd__lua_in_wrong(r, "%s must be an integer, not %s", key, llmd__lua_kind_at(r->L, -1));
  }
  lua_pop(r->L, 1);
  return r->rc;
}

static int take_cell(llmd__lua_in *r, int endpoint, uint32_t read, uint32_t row)
{
  const llmd__lua_read *what = &r->s->p->read[read];
  if (what->shows == LLMD__LUA_SHOWS_NUMBER) {
    r->s->f64[read][row] = preset_of(r->s->p->plugin.reads[read].kind);
    return llmd__lua_in_number(r, endpoint, what->field, &r->s->f64[read][row]);
  }
  if (what->shows == LLMD__LUA_SHOWS_ENDPOINT)
    return take_endpoint_id(r, endpoint, what->field, &r->s->endpoint[row]);
  if (llmd__lua_in_field(r, endpoint, what->field))
    r->s->id[read][row] = id_of(r, what->field);
  lua_pop(r->L, 1);
  return r->rc;
}

static int take_endpoint(llmd__lua_in *r, int list, uint32_t row, const char *const *names)
{
  int at;
  char what[32];
  snprintf(what, sizeof what, "endpoints[%u]", (unsigned)row + 1);
  lua_rawgeti(r->L, list, (lua_Integer)row + 1);
  at = lua_gettop(r->L);
  if (!lua_istable(r->L, at))
    return llmd__lua_in_wrong(r, "%s must be a table, not %s", what, llmd__lua_kind_at(r->L, at));
  llmd__lua_in_words(r, at, what, names);
  r->s->endpoint[row] = ((uint64_t)1 << 32) + row;
  for (uint32_t i = 0; i < r->s->p->n_reads && !r->rc; i++)
    if (llmd__lua_is_column(r->s->p->read[i].shows))
      take_cell(r, at, i, row);
  lua_settop(r->L, at - 1);
  return r->rc;
}

static int make_columns(llmd__lua_in *r)
{
  llmd__lua_sample *s = r->s;
  uint32_t n_reads = s->p->n_reads;
  s->f64 = llmd__lua_in_room(r, (n_reads + 1) * sizeof *s->f64);
  s->id = llmd__lua_in_room(r, (n_reads + 1) * sizeof *s->id);
  s->value = llmd__lua_in_room(r, (n_reads + 1) * sizeof *s->value);
  s->text = llmd__lua_in_room(r, (size_t)s->n * n_reads * sizeof *s->text);
  s->endpoint = llmd__lua_in_room(r, s->n * sizeof *s->endpoint);
  s->total = llmd__lua_in_room(r, s->n * sizeof *s->total);
  for (uint32_t i = 0; i < n_reads && !r->rc; i++) {
    s->value[i].num = (double)NAN;
    if (s->p->read[i].shows == LLMD__LUA_SHOWS_NUMBER)
      s->f64[i] = llmd__lua_in_room(r, s->n * sizeof **s->f64);
    else if (s->p->read[i].shows == LLMD__LUA_SHOWS_TEXT)
      s->id[i] = llmd__lua_in_room(r, s->n * sizeof **s->id);
  }
  return r->rc;
}

static int take_endpoints(llmd__lua_in *r)
{
  const llmd__lua_policy *p = r->s->p;
  const char *names[LLMD__LUA_READS + 1] = {NULL};
  uint32_t n = 0;
  int list = llmd__lua_in_table(r, r->at, "endpoints");
  if (r->rc)
    return r->rc;
  for (uint32_t i = 0; i < p->n_reads; i++)
    if (llmd__lua_is_column(p->read[i].shows))
      names[n++] = p->read[i].field;
  if (list && lua_rawlen(r->L, list) > LLMD__LUA_SAMPLE_ROWS)
    return llmd__lua_in_wrong(r, "there are more than %u endpoints", LLMD__LUA_SAMPLE_ROWS);
  r->s->n = list ? (uint32_t)lua_rawlen(r->L, list) : 0;
  make_columns(r);
  for (uint32_t i = 0; i < r->s->n && !r->rc; i++)
    take_endpoint(r, list, i, names);
  if (list)
    lua_settop(r->L, list - 1);
  return r->rc;
}

/* ---- the rest of the situation ---------------------------------------------------------------------------------- */

static int take_time(llmd__lua_in *r, const char *key, uint64_t *out)
{
  double v = 0;
  if (!llmd__lua_in_number(r, r->at, key, &v) && !(v >= 0 && v < 1e10))
    return llmd__lua_in_wrong(r, "%s is out of range", key);
  *out = (uint64_t)(v * SECOND + 0.5);
  return r->rc;
}

static int take_stored(llmd__lua_in *r, int table)
{
  llmd__lua_sample *s = r->s;
  uint32_t n = 0;
  lua_pushnil(r->L);
  while (lua_next(r->L, table)) {
    lua_pop(r->L, 1);
    n++;
  }
  s->stored = llmd__lua_in_room(r, n * sizeof *s->stored);
  lua_pushnil(r->L);
  while (!r->rc && lua_next(r->L, table)) {
    llmd__lua_stored *to = &s->stored[s->n_stored++];
    if (!llmd__lua_to_stored(r->L, -1, &to->value))
      return llmd__lua_in_wrong(r, "store holds integers and booleans, not %s", llmd__lua_kind_at(r->L, -1));
    lua_pop(r->L, 1);
    llmd__lua_in_text(r, "a name in store", &to->name);
  }
  return r->rc;
}

/* {name = "prefill", ran = true, ok = true, n = 2} at the top */
static int take_run(llmd__lua_in *r, uint32_t i)
{
  static const char *const words[] = {"name", "ran", "ok", "n", NULL};
  double ran = 0, ok = 0, n = 0;
  int at = lua_gettop(r->L);
  if (!lua_istable(r->L, at))
    return llmd__lua_in_wrong(r, "runs[%u] must be a table, not %s", (unsigned)i + 1, llmd__lua_kind_at(r->L, at));
  llmd__lua_in_words(r, at, "runs", words);
  llmd__lua_in_text_of(r, at, "name", &r->s->profile[i]);
  llmd__lua_in_number(r, at, "ran", &ran);
  llmd__lua_in_number(r, at, "ok", &ok);
  n = ok;
  llmd__lua_in_number(r, at, "n", &n);
  if (!r->rc && (!r->s->profile[i].len || !(n >= 0 && n < 1e6)))
    return llmd__lua_in_wrong(r, "runs[%u] needs a name, and n is a number of endpoints", (unsigned)i + 1);
  r->s->run[i].state = ok != 0 ? LLMD_RUN_OK : ran != 0 ? LLMD_RUN_FAILED : LLMD_RUN_NOT;
  r->s->run[i].n = r->rc ? 0 : (uint32_t)n;
  return r->rc;
}

static int take_runs(llmd__lua_in *r)
{
  double turn = 0;
  int list = llmd__lua_in_table(r, r->at, "runs");
  lua_Unsigned n = list ? lua_rawlen(r->L, list) : 0;
  if (n > LLMD__LUA_SAMPLE_RUNS)
    return llmd__lua_in_wrong(r, "runs has more than %u rows", LLMD__LUA_SAMPLE_RUNS);
  for (uint32_t i = 0; i < n && !r->rc; i++) {
    lua_rawgeti(r->L, list, (lua_Integer)i + 1);
    take_run(r, i);
    lua_settop(r->L, list);
  }
  r->s->n_runs = (uint32_t)n;
  if (list)
    lua_settop(r->L, list - 1);
  if (!llmd__lua_in_number(r, r->at, "turn", &turn) && !(turn >= 0 && turn < 1000))
    return llmd__lua_in_wrong(r, "turn is out of range");
  r->s->turn = r->rc ? 0 : (uint32_t)turn;
  return r->rc;
}

static int take_situation(llmd__lua_in *r)
{
  double seed = 0;
  int table;
  if (take_params(r) || take_endpoints(r) || take_request(r) || take_runs(r))
    return r->rc;
  if (take_time(r, "now", &r->s->now) || take_time(r, "wall", &r->s->wall) ||
      llmd__lua_in_number(r, r->at, "seed", &seed))
    return r->rc;
  if (!(seed >= 0 && seed < 9007199254740992.0))
    return llmd__lua_in_wrong(r, "seed is out of range");
  r->s->seed = (uint64_t)seed;
  table = llmd__lua_in_table(r, r->at, "store");
  if (table && !take_stored(r, table))
    lua_settop(r->L, table - 1);
  return r->rc;
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

static const char *const example_words[] = {
#define LLMD__LUA_WORD_EXAMPLE(name, type, doc) #name,
#include "words.def"
  NULL};

static int take_name(llmd__lua_in *r)
{
  llmd_str name = {NULL, 0};
  char *number = llmd__lua_in_room(r, 32);
  if (!number)
    return r->rc;
  snprintf(number, 32, "examples[%u]", (unsigned)r->number);
  r->s->name = number;
  if (!lua_istable(r->L, r->at))
    return llmd__lua_in_wrong(r, "an example must be a table, not %s", llmd__lua_kind_at(r->L, r->at));
  if (llmd__lua_in_text_of(r, r->at, "name", &name) || !name.len)
    return r->rc;
  r->s->name = name.ptr;
  r->s->line = llmd__lua_line_of(r->s->p, name.ptr);
  return 0;
}

static int read_it(lua_State *L)
{
  llmd__lua_in *r = lua_touserdata(L, 1);
  llmd__lua_stack(L, 40);
  r->L = L;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &llmd__lua_module_key);
  llmd__lua_get(L, -1, "examples");
  lua_rawgeti(L, -1, (lua_Integer)r->number);
  r->at = lua_gettop(L);
  if (!take_name(r) && !llmd__lua_in_words(r, r->at, "an example", example_words) && !take_situation(r))
    llmd__lua_in_expected(r);
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
  llmd__lua_in r = {.s = out, .operator = self, .number = i};
  int rc;
  empty(out, self->policy);
  rc = llmd__lua_call(s, NULL, read_it, &r);
  return rc ? rc : r.rc;
}

void llmd__lua_sample_free(llmd__lua_sample *s)
{
  llmd__lua_blocks_free(s->p->alloc, &s->blocks);
}
