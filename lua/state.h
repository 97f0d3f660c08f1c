/* One Lua 5.4 state: its memory, its budget, its sandbox. Nothing outside lua/ includes this, and nothing here knows
 * what a policy is.
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
#include <llmd/loader.h>
#include <llmd/plugin.h>

#define LLMD__LUA_TROUBLE 200u  /* bytes of an error's text that are kept */
#define LLMD__LUA_STRING 16384u /* bytes of a string: one instruction may compare two of them, at no other charge */

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
  uint64_t until;    /* a deadline that calls have together, whatever their limits say; 0 = none. Needs host->clock */
  int32_t stop;      /* why it must end: 0, LLMD_E_LIMIT, LLMD_E_TIMEOUT, LLMD_E_NOMEM. No script can clear it */
  uint32_t refused;  /* allocations refused in this call */
  int32_t code;      /* of the error that is on its way up (llmd__lua_refuse, ...); caught: 0 again */
  uint32_t step;     /* instructions between two looks at the budget */
  uint64_t unseen;   /* what has been charged since the last look */
  size_t memory;     /* bytes of the arena */
  size_t unpaid;     /* bytes allocated and not charged yet: less than 64 */
  uint64_t given_instructions, given_ns; /* what the running call was given, for its error's text */
  uint64_t fail_at;  /* tests: which allocation from now on is refused, and with fail_on all after it; 0 = none */
  uint32_t fail_on;
  uint32_t slow;        /* it has had a long string: the budget is looked at more often */
  uint32_t long_string; /* a string was refused because it was longer than LLMD__LUA_STRING */
  uint32_t scan;        /* LLMD__LUA_HAS_* of what llmd__lua_load loaded */
  /* what a call may do */
  uint32_t writing;  /* commit or report runs: the table may be written */
  uint64_t random;   /* state of the decision's random stream */
  uint64_t now, wall;
  /* the last failure, cleaned: one line, no control characters, no addresses */
  uint32_t trouble_len, trouble_line;
  char trouble[LLMD__LUA_TROUBLE + 1];
  void *user;        /* whoever opened it */
  void *guard;       /* freeze.c: upvalues that functions could write, and their values; in the arena */
  void *locale;      /* the C locale: scripts run in it, whatever the host's is */
} llmd__lua;

/* state.c. memory: bytes of the arena, everything the state ever uses. LLMD_E_NOMEM: too few for an empty state, or the
 * allocator refused. The sandbox is open, nothing is loaded. *s is overwritten (set host and user afterwards) and must
 * not move until it is closed. After a failure there is nothing to close, but it may be. */
int llmd__lua_open(llmd__lua *s, const llmd_allocator *alloc, size_t memory);
/* The same state as if just opened, in the same arena: no call of the allocator, no system call. host and user stay.
 * LLMD_E_NOMEM leaves it without L: every call answers LLMD_E_NOMEM then. */
int llmd__lua_reopen(llmd__lua *s);
void llmd__lua_close(llmd__lua *s);
/* The state of a running function. */
static inline llmd__lua *llmd__lua_state(lua_State *L)
{
  return *(llmd__lua **)lua_getextraspace(L);
}
/* Bytes in use, and the most that were. */
size_t llmd__lua_used(const llmd__lua *s);
size_t llmd__lua_peak(const llmd__lua *s);

/* Runs fn (a C function that gets ud as light userdata 1, and may raise) within the limits (NULL: our own code, only
 * memory counts). Everything that may raise an error, thus everything that may allocate in the state, happens in such a
 * function: outside of one there is nothing to catch it. Calls do not nest. 0, or why it failed:
 * LLMD_E_PLUGIN (an error of the script), LLMD_E_TYPE (raised by llmd__lua_refuse), LLMD_E_LIMIT, LLMD_E_TIMEOUT,
 * LLMD_E_NOMEM; trouble says more. The stack is as before in any case, and upvalues that the script has changed have
 * their values again (then it failed: LLMD_E_PLUGIN). */
int llmd__lua_call(llmd__lua *s, const llmd__lua_limits *limits, lua_CFunction fn, void *ud);
#define LLMD__LUA_MUCH 512u /* what is charged between two looks at the clock */
/* Takes n instructions off the budget of the running call, and raises when there are none left. Every C function whose
 * work grows with its arguments charges for it before it starts: about one per 16 bytes or per 4 elements. */
void llmd__lua_look(lua_State *L);
static inline void llmd__lua_charge(lua_State *L, uint64_t n)
{
  llmd__lua *s = llmd__lua_state(L);
  s->left -= n < INT64_MAX / 4 ? (int64_t)n : INT64_MAX / 4;
  s->unseen += n < LLMD__LUA_MUCH ? n : LLMD__LUA_MUCH;
  if (s->left < 0 || s->stop != 0 || s->unseen >= LLMD__LUA_MUCH) {
    s->unseen = 0;
    llmd__lua_look(L);
  }
}
/* In loops of C over many elements whose price was charged before: looks at the clock now and then (i counts by one).
 * A thousand elements take some 50 us, whatever is done to them. */
static inline void llmd__lua_long(lua_State *L, uint64_t i)
{
  if (i % 1024 == 1023)
    llmd__lua_look(L);
}
/* Room for n more values on the stack. When memory does not suffice the call ends, as wherever memory runs out: whether
 * it does depends on garbage of earlier calls, so that no script may go on after it (base_pcall). */
void llmd__lua_stack(lua_State *L, int n);
/* Raises LLMD_E_TYPE: what the script gave back cannot be used. printf-like: %s %d %f as lua_pushfstring has them. */
int llmd__lua_refuse(lua_State *L, const char *fmt, ...);
/* Does err (line, path = chunk, text) from s->trouble; returns code. */
int llmd__lua_fail(const llmd__lua *s, int code, const char *chunk, llmd_err *err);

/* trouble.c: fills s->trouble. L: where a budget ended, NULL = not known; its place is looked up. error: the value on
 * the top, which is text or is not shown. */
void llmd__lua_trouble(llmd__lua *s, const char *text, size_t len);
void llmd__lua_trouble_stop(llmd__lua *s, lua_State *L);
void llmd__lua_trouble_error(llmd__lua *s, lua_State *L);
void llmd__lua_trouble_variable(llmd__lua *s, const char *name);

/* Bytes of a byte order mark that text begins with, 0 or 3: some editors write one, and it is passed over, as Lua's own
 * loader of files does. */
size_t llmd__lua_mark(const char *text, size_t len);
/* Compiles text (never bytecode; no NUL; at most LLMD_POLICY_BYTES) as chunk ("sticky.lua"), refuses what cannot be
 * replayed (scan.c: the operator ^, whose result depends on the machine), runs it within the limits, and keeps what it
 * returned in the registry under &llmd__lua_module_key. err: file:line. */
int llmd__lua_load(llmd__lua *s, const char *text, size_t len, const char *chunk, const llmd__lua_limits *limits,
                   llmd_err *err);
/* After load: globals, library tables and every table that the module's functions can reach are read-only from here on
 * (proxies), and upvalues are guarded (llmd__lua_call). The module's own table is walked, not changed. */
int llmd__lua_freeze(llmd__lua *s, llmd_err *err);
/* For tools, on a frozen state: compiles text with the sandbox's globals and leaves it on the stack. 0 or a code. */
int llmd__lua_compile(llmd__lua *s, const char *text, size_t len, const char *chunk, llmd_err *err);
extern const char llmd__lua_module_key;

/* freeze.c. A read-only table is a proxy: empty, its metatable leads to the real one. Scripts have no way to that, and
 * none may be made for them: a C function that reads a table unwraps its argument, and one that writes a table checks
 * that it may; neither ever returns what it unwrapped. C functions that scripts can get at have no upvalues, and
 * scripts cannot keep userdata (llmd__lua_freeze refuses both). */
/* The value at idx, when it is a proxy, becomes the real table. 1 if it was one. Neither raises nor allocates; wants
 * two free slots of the stack. */
int llmd__lua_unwrap(lua_State *L, int idx);
/* Raises unless the value at arg is a table that may be written. */
void llmd__lua_check_writable(lua_State *L, int arg);
/* Replaces the table on the top by a proxy of it. Tables inside it are not looked at: protect them first. */
void llmd__lua_protect(lua_State *L);
/* After each call, when there is a guard: gives upvalues their values again. 0, or LLMD_E_PLUGIN and *name. */
int llmd__lua_restore(llmd__lua *s, const char **name);

/* arena.c: an allocator in one block: size classes, neighbours joined, nothing else touched. Shape of lua_Alloc. */
int llmd__lua_arena_create(llmd__lua_arena **out, const llmd_allocator *alloc, size_t bytes);
void llmd__lua_arena_free(llmd__lua_arena *a, const llmd_allocator *alloc);
/* Everything that was allocated is gone at once. */
void llmd__lua_arena_reset(llmd__lua_arena *a);
void *llmd__lua_arena_realloc(llmd__lua_arena *a, void *ptr, size_t osize, size_t nsize);
size_t llmd__lua_arena_used(const llmd__lua_arena *a);
size_t llmd__lua_arena_peak(const llmd__lua_arena *a);

/* scan.c: looks through a compiled function (top of the stack) and all inside it. */
#define LLMD__LUA_HAS_POW 1u    /* ^ */
#define LLMD__LUA_HAS_SETUPVAL 2u /* a function inside another writes a variable of an outer one */
/* *line: of the first ^, 0 = not known. LLMD_E_UNSUPPORTED: a Lua whose code this cannot read. */
int llmd__lua_scan(lua_State *L, uint32_t *found, uint32_t *line);
/* What globals the function at the top and those inside it read and set by name, and what local variables are called
 * (line 0), the same name again each time. name has no NUL behind it, and goes when fn returns; fn may use the state,
 * and raise. */
#define LLMD__LUA_NAME_READ 1u
#define LLMD__LUA_NAME_SET 2u
#define LLMD__LUA_NAME_LOCAL 3u
typedef void (*llmd__lua_name_fn)(void *ud, uint32_t what, const char *name, size_t len, uint32_t line);
int llmd__lua_scan_names(lua_State *L, llmd__lua_name_fn fn, void *ud);
/* The line of the first ^ in a text (outside of strings and comments), 0 = none. The compiler computes 2^0.5 itself,
 * and no instruction is left of it. */
uint32_t llmd__lua_scan_text(const char *text, size_t len);

/* base.c: type, tostring, pcall (latched), pairs (sorted), ipairs, ...: into the table at the top of the stack. */
void llmd__lua_open_base(lua_State *L);
/* numbers.c: as few digits as read back as the same number, in every locale: 0.1, 1e+300, nan, -inf. NUL at the end; how
 * many bytes. */
#define LLMD__LUA_NUMBER_ROOM 48u
size_t llmd__lua_real_text(double v, char out[LLMD__LUA_NUMBER_ROOM]);
/* A number as scripts see it: 3 for an integer, 3.0 for a float. */
size_t llmd__lua_number_text(lua_State *L, int idx, char out[LLMD__LUA_NUMBER_ROOM]);
/* api.c: the libraries math, string, table and llmd, as api.def lists them: into the table at the top of the stack. */
void llmd__lua_open_api(lua_State *L);

#endif
