/* llmd.store: the instance's table behind the host's door (llmd_host). Reads go into the record; writes are for those
 * verbs that a replay does not run. */
#include "api.h"

#include <lauxlib.h>

#define KEY_BYTES 256u
#define COST 20u /* instructions that an access is worth: a hash with a key, a look into shared memory, a line of a record */
#define LONGEST 9e9 /* seconds of a ttl */

/* ---- values ----------------------------------------------------------------------------------------------------- */

#define STORED_FALSE ((uint64_t)1 << 63)
#define STORED_TRUE (STORED_FALSE + 1)

int llmd__lua_to_stored(lua_State *L, int index, uint64_t *out)
{
  if (lua_isboolean(L, index)) {
    *out = lua_toboolean(L, index) ? STORED_TRUE : STORED_FALSE;
    return 1;
  }
  if (!lua_isinteger(L, index) || lua_tointeger(L, index) <= LUA_MININTEGER + 1)
    return 0;
  *out = (uint64_t)lua_tointeger(L, index);
  return 1;
}

void llmd__lua_push_stored(lua_State *L, uint64_t value)
{
  if (value == STORED_FALSE || value == STORED_TRUE)
    lua_pushboolean(L, value == STORED_TRUE);
  else
    lua_pushinteger(L, (lua_Integer)value);
}

/* ---- access ----------------------------------------------------------------------------------------------------- */

static const llmd_host *host_of(lua_State *L)
{
  const llmd_host *host = llmd__lua_state(L)->host;
  if (!host || !host->get || !host->put || !host->del)
    llmd__lua_misused(L, "there is no store while a policy is loaded");
  return host;
}

static const char *key_of(lua_State *L, size_t *len)
{
  const char *key = llmd__lua_arg_text(L, 1, len);
  if (!*len || *len > KEY_BYTES)
    llmd__lua_misused(L, "a key has 1 to %d bytes", (int)KEY_BYTES);
  llmd__lua_charge(L, COST + *len / 16);
  return key;
}

static void check_writing(lua_State *L)
{
  if (!llmd__lua_state(L)->writing)
    llmd__lua_misused(L, "only commit and report may write");
}

static int refused(lua_State *L, int rc)
{
  if (rc == LLMD_E_NONE)
    return llmd__lua_misused(L, "the policy has no `store = N`");
  if (rc == LLMD_E_LIMIT)
    return llmd__lua_misused(L, "more than %d times in one decision", (int)LLMD_HOST_READS);
  return llmd__lua_misused(L, "failed (%d)", rc);
}

/* 1 done, 0 not passed on. */
static int written(lua_State *L, int rc)
{
  if (rc < 0 && rc != LLMD_E_FULL)
    return refused(L, rc);
  lua_pushboolean(L, rc >= 0);
  return 1;
}

int llmd__lua_store_get(lua_State *L)
{
  size_t len;
  uint64_t value = 0;
  const char *key = key_of(L, &len);
  const llmd_host *host = host_of(L);
  int rc = host->get(host->ctx, key, len, &value);
  if (rc < 0)
    return refused(L, rc);
  if (rc)
    llmd__lua_push_stored(L, value);
  else
    lua_pushnil(L);
  return 1;
}

/* Nanoseconds; 0 = for good. What is not quite nothing lasts one. */
static uint64_t ttl_of(lua_State *L, int arg)
{
  double seconds = llmd__lua_arg_number_or(L, arg, 0);
  uint64_t ns;
  if (!(seconds >= 0))
    llmd__lua_misused(L, "ttl_seconds is below 0");
  ns = (uint64_t)((seconds < LONGEST ? seconds : LONGEST) * 1e9);
  return seconds > 0 && !ns ? 1 : ns;
}

int llmd__lua_store_put(lua_State *L)
{
  size_t len;
  uint64_t value, ttl;
  const char *key = key_of(L, &len);
  const llmd_host *host;
  if (!llmd__lua_to_stored(L, 2, &value)) {
    if (lua_type(L, 2) == LUA_TNUMBER)
      return llmd__lua_misused(L, lua_isinteger(L, 2) ? "value is too small" : "a float cannot be stored: only integers");
    return llmd__lua_expected(L, 2, "boolean or integer");
  }
  ttl = ttl_of(L, 3);
  host = host_of(L);
  check_writing(L);
  return written(L, host->put(host->ctx, key, len, value, ttl));
}

int llmd__lua_store_del(lua_State *L)
{
  size_t len;
  const char *key = key_of(L, &len);
  const llmd_host *host = host_of(L);
  check_writing(L);
  return written(L, host->del(host->ctx, key, len));
}
