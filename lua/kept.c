/* Making the tables that scripts get (kept.h), once per state. All cells that they can ever have are made here: what
 * does not fit into the state's memory is refused when a lane is made, not in the middle of a decision. */
#include <string.h>

#include <lauxlib.h>

#include "kept.h"

static const char kept_key;

const char *const llmd__lua_req_names[LLMD__LUA_REQ_FIELDS] = {
#define LLMD__LUA_WORD_REQ(name, type, doc) #name,
#include "words.def"
};

/* ---- cells ------------------------------------------------------------------------------------------------------ */

void llmd__lua_cut(lua_State *L, int table, uint32_t n, uint32_t *shown)
{
  for (; *shown > n; --*shown) {
    lua_pushnil(L);
    lua_rawseti(L, table, (lua_Integer)*shown);
  }
}

int llmd__lua_is_text(lua_State *L, int index, const llmd_str *text)
{
  size_t len;
  const char *is;
  if (lua_type(L, index) != LUA_TSTRING)
    return 0;
  is = lua_tolstring(L, index, &len);
  return len == text->len && (!len || !memcmp(is, text->ptr, len));
}

/* ---- the metatables --------------------------------------------------------------------------------------------- */

/* Upvalue: what the table is. */
static int refuse_new(lua_State *L)
{
  const char *what = lua_tostring(L, lua_upvalueindex(1));
  if (lua_type(L, 2) == LUA_TSTRING)
    return luaL_error(L, "%s is read-only and has no '%s'", what, lua_tostring(L, 2));
  return luaL_error(L, "%s is read-only", what);
}

/* A cell that the script has set to nil may be set again; others are not there. */
static int refuse_beyond(lua_State *L)
{
  const char *what = lua_tostring(L, lua_upvalueindex(1));
  const llmd__lua_own *o = llmd__lua_state(L)->user;
  const llmd__lua_kept *k = o->kept;
  lua_Integer i = lua_isinteger(L, 2) ? lua_tointeger(L, 2) : 0;
  if (i < 1 || i > (lua_Integer)k->places)
    return llmd__lua_refuse(L, "%s has the places 1 to %d and no others", what, (int)k->places);
  lua_rawset(L, 1);
  return 0;
}

/* Gives the table on top a metatable that takes no new keys. */
static void guard(lua_State *L, const char *what, lua_CFunction refuse)
{
  lua_createtable(L, 0, 1);
  lua_pushstring(L, what);
  lua_pushcclosure(L, refuse, 1);
  lua_setfield(L, -2, "__newindex");
  lua_setmetatable(L, -2);
}

/* ---- the tables ------------------------------------------------------------------------------------------------- */

/* `#` of a list with holes hangs on what it found before, where Lua may note that in the table: in those whose room is
 * a power of two. So none has such a room. */
static int room_for(uint32_t cells)
{
  int room = (int)cells;
  while (room != 0 && (room & (room - 1)) == 0)
    room++;
  return room;
}

static void keep_table(lua_State *L, int at, uint32_t cells, uint32_t fields, const char *what, lua_CFunction refuse)
{
  lua_createtable(L, room_for(cells), (int)fields);
  guard(L, what, refuse);
  lua_rawseti(L, LLMD__LUA_KEPT, at);
}

static void keep_name(lua_State *L, int at, const char *name)
{
  lua_pushstring(L, name);
  lua_rawseti(L, LLMD__LUA_KEPT, at);
}

static uint32_t wants_of(const llmd__lua_verb *v)
{
  static const uint32_t wants[] = {
    [LLMD__LUA_ARG_READ] = LLMD__LUA_WANTS_ARGS, [LLMD__LUA_ARG_REQ] = LLMD__LUA_WANTS_REQ,
    [LLMD__LUA_ARG_COLS] = LLMD__LUA_WANTS_COLS, [LLMD__LUA_ARG_EPS] = LLMD__LUA_WANTS_EPS,
    [LLMD__LUA_ARG_EP] = LLMD__LUA_WANTS_EPS,    [LLMD__LUA_ARG_OUT] = LLMD__LUA_WANTS_OUT,
    [LLMD__LUA_ARG_KEEP] = LLMD__LUA_WANTS_KEEP, [LLMD__LUA_ARG_TOTAL] = LLMD__LUA_WANTS_TOTAL,
    [LLMD__LUA_ARG_USAGE] = 0};
  uint32_t all = 0;
  for (uint32_t a = 0; v->present && a < v->n_args; a++)
    all |= wants[v->arg[a].what];
  return all;
}

static void keep_columns(lua_State *L, const llmd__lua_policy *p, uint32_t rows)
{
  for (uint32_t r = 0; r < p->n_reads; r++) {
    const llmd__lua_read *read = &p->read[r];
    keep_name(L, LLMD__LUA_AT_FIELD + (int)r, read->field);
    uint32_t needed = read->shows == LLMD__LUA_SHOWS_NUMBER ? read->used & LLMD__LUA_WANTS_COLS : read->used;
    if (llmd__lua_is_column(read->shows) && needed)
      keep_table(L, LLMD__LUA_AT_COLUMN + (int)r, rows, 0, read->field, refuse_new);
  }
  keep_name(L, LLMD__LUA_AT_N, "n");
  keep_table(L, LLMD__LUA_AT_COLS, 0, p->n_reads + 1, "cols", refuse_new);
  lua_rawgeti(L, LLMD__LUA_KEPT, LLMD__LUA_AT_COLS);
  llmd__lua_absent_column(L, "cols");
  lua_pop(L, 1);
}

static void keep_endpoints(lua_State *L, const llmd__lua_policy *p, uint32_t rows)
{
  uint32_t fields = 0;
  int list;
  for (uint32_t r = 0; r < p->n_reads; r++)
    fields += (p->read[r].used & LLMD__LUA_WANTS_EPS) != 0;
  keep_table(L, LLMD__LUA_AT_EPS, rows, 0, "eps", refuse_new);
  lua_createtable(L, (int)rows, 0);
  list = lua_gettop(L);
  lua_createtable(L, 0, 0);
  guard(L, "an endpoint's table", refuse_new);
  llmd__lua_absent_column(L, "ep");
  lua_getmetatable(L, -1); /* one for all */
  for (uint32_t i = 0; i < rows; i++) {
    lua_createtable(L, 0, (int)fields);
    lua_pushvalue(L, -2);
    lua_setmetatable(L, -2);
    lua_rawseti(L, list, (lua_Integer)i + 1);
  }
  lua_settop(L, list);
  lua_rawseti(L, LLMD__LUA_KEPT, LLMD__LUA_AT_EP_LIST);
}

static void keep_writes(lua_State *L, const llmd__lua_policy *p, uint32_t rows)
{
  for (uint32_t i = 0; i < p->n_writes; i++) {
    keep_name(L, LLMD__LUA_AT_NAME + (int)i, p->plugin.writes[i].name);
    keep_table(L, LLMD__LUA_AT_CELLS + (int)i, rows, 0, p->plugin.writes[i].name, refuse_beyond);
  }
  keep_table(L, LLMD__LUA_AT_WROTE, 0, p->n_writes, "out", refuse_new);
}

static void keep_request(lua_State *L, const llmd__lua_policy *p)
{
  uint32_t headers = 0;
  for (uint32_t r = 0; r < p->n_reads; r++)
    headers += p->read[r].shows == LLMD__LUA_SHOWS_HEADER;
  for (int i = 0; i < LLMD__LUA_REQ_FIELDS; i++)
    keep_name(L, LLMD__LUA_AT_REQ_FIELD + i, llmd__lua_req_names[i]);
  lua_createtable(L, 0, LLMD__LUA_REQ_FIELDS);
  llmd__lua_absent_field(L);
  lua_pushvalue(L, -1);
  lua_rawseti(L, LLMD__LUA_KEPT, LLMD__LUA_AT_REQ_REAL);
  lua_createtable(L, 0, (int)headers);
  llmd__lua_absent_header(L);
  lua_pushvalue(L, -1);
  lua_rawseti(L, LLMD__LUA_KEPT, LLMD__LUA_AT_HEADERS_REAL);
  llmd__lua_protect(L);
  lua_setfield(L, -2, llmd__lua_req_names[LLMD__LUA_REQ_headers]);
  llmd__lua_protect(L);
  lua_rawseti(L, LLMD__LUA_KEPT, LLMD__LUA_AT_REQ);
}

static int make(lua_State *L)
{
  llmd__lua_own *o = lua_touserdata(L, 1);
  const llmd__lua_policy *p = o->policy;
  uint32_t rows = o->host.rows, all = 0;
  llmd__lua_kept *k;
  lua_createtable(L, LLMD__LUA_AT_REQ_FIELD + LLMD__LUA_REQ_FIELDS, 0); /* LLMD__LUA_KEPT */
  k = lua_newuserdatauv(L, sizeof *k + rows, 0);
  memset(k, 0, sizeof *k);
  lua_rawseti(L, LLMD__LUA_KEPT, LLMD__LUA_AT_STATE);
  for (uint32_t v = 0; v < LLMD__LUA_VERBS; v++)
    all |= k->wants[v] = wants_of(&p->verb[v]);
  keep_columns(L, p, rows);
  keep_request(L, p);
  if (all & LLMD__LUA_WANTS_EPS)
    keep_endpoints(L, p, rows);
  if (k->wants[LLMD__LUA_SCORE] & LLMD__LUA_WANTS_OUT)
    keep_table(L, LLMD__LUA_AT_OUT, rows, 0, "out", refuse_beyond);
  if (k->wants[LLMD__LUA_PRODUCE] & LLMD__LUA_WANTS_OUT)
    keep_writes(L, p, rows);
  if (all & LLMD__LUA_WANTS_KEEP)
    keep_table(L, LLMD__LUA_AT_KEEP, rows, 0, "keep", refuse_beyond);
  if (all & LLMD__LUA_WANTS_TOTAL)
    keep_table(L, LLMD__LUA_AT_TOTAL, rows, 0, "total", refuse_new);
  lua_pushvalue(L, LLMD__LUA_KEPT);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &kept_key);
  o->kept = k;
  return 0;
}

int llmd__lua_kept_open(llmd__lua_own *o)
{
  return llmd__lua_call(&o->lua, NULL, make, o);
}

/* All of it lies in the state. */
void llmd__lua_kept_close(llmd__lua_own *o)
{
  o->kept = NULL;
}

void llmd__lua_kept_push(lua_State *L)
{
  lua_rawgetp(L, LUA_REGISTRYINDEX, &kept_key);
}
