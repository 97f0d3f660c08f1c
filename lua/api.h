/* What the functions that scripts call have in common. They get arguments from people: whatever is wrong with one is said
 * in one line that names the function and the argument, "llmd.clamp: number expected for lo, got nil", and Lua puts the
 * script's line before it.
 *
 * Three rules (see state.h): work is charged before it is done, tables are read raw once they are unwrapped, and tables
 * are written only after llmd__lua_check_writable. Nothing here coerces: "10" is no number and 10 no text. */
#ifndef LLMD_LUA_API_H
#define LLMD_LUA_API_H

#include "state.h"

#define LLMD__LUA_LIST 65536 /* most elements that a function looks at */

#define LLMD__LUA_FUNCTION(table, name, function, signature, doc) int function(lua_State *L);
#include "api.def"

/* Raises "FUNCTION: WHAT expected for ARGUMENT, got TYPE". */
int llmd__lua_expected(lua_State *L, int arg, const char *what);
/* Raises "FUNCTION: " and the text: %s %d %I as lua_pushfstring has them. */
int llmd__lua_misused(lua_State *L, const char *fmt, ...);

double llmd__lua_arg_number(lua_State *L, int arg);
/* The first without a value when there is none. */
double llmd__lua_arg_number_or(lua_State *L, int arg, double otherwise);
lua_Integer llmd__lua_arg_integer(lua_State *L, int arg);
lua_Integer llmd__lua_arg_integer_or(lua_State *L, int arg, lua_Integer otherwise);
const char *llmd__lua_arg_text(lua_State *L, int arg, size_t *len);
void llmd__lua_arg_function(lua_State *L, int arg);

/* A list to read: the table at arg, unwrapped; returns its length, or the argument at n_arg when that is given (0: no
 * such argument). cost: quarters of an instruction per element, charged. */
uint32_t llmd__lua_arg_list(lua_State *L, int arg, int n_arg, uint32_t cost);
/* The number list[i]; NaN when it is unknown. */
double llmd__lua_at(lua_State *L, int arg, uint32_t i);
/* A table to write. The one at arg; when there is none, a new one for n elements is put there. */
void llmd__lua_arg_target(lua_State *L, int arg, uint32_t n);
/* list[i] = the value on top, which is popped. Tables of ours (out, keep) take nothing new. */
void llmd__lua_put(lua_State *L, int arg, lua_Integer i);

/* api_math.c */
double llmd__lua_exp(double x);
double llmd__lua_log(double x);
/* api_chance.c: FNV-1a over bytes from a state on, and what makes a hash of the state. */
#define LLMD__LUA_HASH_BEGIN 0xcbf29ce484222325u
uint64_t llmd__lua_hash_add(uint64_t state, const char *p, size_t len);
uint64_t llmd__lua_hash_end(uint64_t state);

/* api_store.c: 64 bits that stand for the boolean or integer at index. 1, or 0 when it is neither (or one of the two smallest
 * integers, which stand for the booleans). And back. */
int llmd__lua_to_stored(lua_State *L, int index, uint64_t *out);
void llmd__lua_push_stored(lua_State *L, uint64_t value);

#endif
