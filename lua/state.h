/* One Lua 5.4 state: its memory, its budget, its sandbox. Nothing outside lua/ includes this, and nothing here knows what
 * a policy is.
 *
 *   host's allocator ─► arena (one block, capped) ─► lua_State ─► sandbox: allow-list, frozen after load
 *                                                        ▲
 *                          budget: instructions (count hook), time, refused allocations; latched until the call ends
 *
 * A state belongs to one thread. All functions are hidden in llmd-lua.so. */
#ifndef LLMD_LUA_STATE_H
#define LLMD_LUA_STATE_H

#include <lua.h>

#include <llmd/alloc.h>
#include <llmd/error.h>
#include <llmd/plugin.h>

#define LLMD__LUA_TROUBLE 200u /* bytes of an error's text that are kept */

typedef struct llmd__lua_arena llmd__lua_arena;

typedef struct llmd__lua_limits {
  uint64_t instructions; /* of the VM, and what C functions charge for their work */
  uint64_t time_ns;      /* 0 = none; needs a clock */
} llmd__lua_limits;

typedef struct llmd__lua {
  lua_State *L;
  llmd__lua_arena *arena;
  const llmd_allocator *alloc;
  const llmd_host *host; /* NULL while a policy is only looked at */
  /* the budget of the call that runs */
  int64_t left;      /* instructions; the hook and llmd__lua_charge take from it, and so does the arena */
  uint64_t deadline; /* 0 = none */
  int32_t stop;      /* why it must end: 0, LLMD_E_LIMIT, LLMD_E_TIMEOUT, LLMD_E_NOMEM. No script can clear it */
  uint32_t refused;  /* allocations refused in this call */
  /* what a call may do */
  uint32_t writing;  /* commit or report runs: the table may be written */
  uint64_t random;   /* state of the decision's random stream */
  uint64_t now, wall;
  /* the last failure, cleaned: one line, no control characters, no addresses */
  uint32_t trouble_len, trouble_line;
  char trouble[LLMD__LUA_TROUBLE + 1];
  void *user;        /* whoever opened it */
  void *guard;       /* freeze.c: upvalues that functions could write, and their values */
} llmd__lua;

/* state.c. memory: bytes of the arena, everything the state ever uses. LLMD_E_NOMEM: too few for an empty state, or the
 * allocator refused. The sandbox is open, nothing is loaded. */
int llmd__lua_open(llmd__lua *s, const llmd_allocator *alloc, size_t memory);
void llmd__lua_close(llmd__lua *s);
/* The state of a running function. */
llmd__lua *llmd__lua_state(lua_State *L);
/* Bytes in use, and the most that were. */
size_t llmd__lua_used(const llmd__lua *s);
size_t llmd__lua_peak(const llmd__lua *s);

/* Runs fn (a C function that gets ud as light userdata 1, and may raise) within the limits. 0, or why it failed:
 * LLMD_E_PLUGIN (an error of the script), LLMD_E_TYPE (raised by llmd__lua_refuse), LLMD_E_LIMIT, LLMD_E_TIMEOUT,
 * LLMD_E_NOMEM; trouble says more. The stack is as before in any case, and upvalues that the script has changed have
 * their values again (then it failed: LLMD_E_PLUGIN). */
int llmd__lua_call(llmd__lua *s, const llmd__lua_limits *limits, lua_CFunction fn, void *ud);
/* Takes n instructions off the budget of the running call, and raises when there are none left. Every C function whose
 * work grows with its arguments charges for it before it starts: about one per 16 bytes or per 4 elements. */
void llmd__lua_charge(lua_State *L, uint64_t n);
/* Raises LLMD_E_TYPE: what the script gave back cannot be used. printf-like: %s %d %f as lua_pushfstring has them. */
int llmd__lua_refuse(lua_State *L, const char *fmt, ...);
/* Does err (line, path = chunk, text) from s->trouble; returns code. */
int llmd__lua_fail(const llmd__lua *s, int code, const char *chunk, llmd_err *err);

/* Compiles text (never bytecode; no NUL; at most LLMD_POLICY_BYTES) as chunk ("sticky.lua"), refuses what cannot be
 * replayed (scan.c: the operator ^, whose result depends on the machine), runs it within the limits, and keeps what it
 * returned in the registry under &llmd__lua_module_key. err: file:line. */
int llmd__lua_load(llmd__lua *s, const char *text, size_t len, const char *chunk, const llmd__lua_limits *limits,
                   llmd_err *err);
/* After load: globals, library tables and every table that the module's functions can reach are read-only from here on
 * (proxies), and upvalues are guarded (llmd__lua_call). The module's own table is left out: it is walked, not changed. */
int llmd__lua_freeze(llmd__lua *s, llmd_err *err);
/* For tools, on a frozen state: compiles text with the sandbox's globals and leaves it on the stack. 0 or a code. */
int llmd__lua_compile(llmd__lua *s, const char *text, size_t len, const char *chunk, llmd_err *err);
extern const char llmd__lua_module_key;

/* arena.c: an allocator in one block: size classes, neighbours joined, nothing else touched. Shape of lua_Alloc. */
int llmd__lua_arena_create(llmd__lua_arena **out, const llmd_allocator *alloc, size_t bytes);
void llmd__lua_arena_free(llmd__lua_arena *a, const llmd_allocator *alloc);
void *llmd__lua_arena_realloc(llmd__lua_arena *a, void *ptr, size_t osize, size_t nsize);
size_t llmd__lua_arena_used(const llmd__lua_arena *a);
size_t llmd__lua_arena_peak(const llmd__lua_arena *a);

/* scan.c: looks through a compiled function (top of the stack) and all inside it. */
#define LLMD__LUA_HAS_POW 1u    /* ^ */
#define LLMD__LUA_HAS_SETUPVAL 2u /* a function inside another writes a variable of an outer one */
/* *line: of the first ^, 0 = not known. LLMD_E_UNSUPPORTED: a Lua whose code this cannot read. */
int llmd__lua_scan(lua_State *L, uint32_t *found, uint32_t *line);

/* base.c: type, tostring, pcall (latched), pairs (sorted), ipairs, ...: into the table at the top of the stack. */
void llmd__lua_open_base(lua_State *L);
/* api.c: the libraries math, string, table and llmd, as api.def lists them: into the table at the top of the stack. */
void llmd__lua_open_api(lua_State *L);

#endif
