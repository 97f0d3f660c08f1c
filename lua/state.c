/* A state's life: its memory, the calls into it and what ends them.
 *
 *   llmd__lua_call ─► lua_pcall ─► fn ─► scripts ──every 100 instructions──► look: budget, clock
 *                                           │                                  │ stop is set: raise, and again at each
 *                                           └─► allocate: cap, bytes / 64      │ look, in each charge and each pcall
 *                                                 │ third refusal: stop is set ◄┘
 *
 * Nothing that may raise an error runs outside of a protected call, so Lua's panic is never reached: llmd__lua_open
 * does the same, and what stands around lua_pcall neither allocates nor converts. */
#define _POSIX_C_SOURCE 200809L
#include "state.h"

#include <locale.h>
#include <stdarg.h>
#include <string.h>

#include <lauxlib.h>

#define STEP 100u      /* instructions between two looks; a larger number is not faster */
/* ... in a state that has ever had a string longer than this: comparing two such strings is one instruction, and takes
 * the C library 0.3 ms when both are full of NUL. */
#define LONG_STRING 2048u
#define LONG_STEP 4u
#define PAID_BYTES 64u /* bytes per instruction of the budget */
#define PIECE 128u      /* bytes of a text that are compiled between two looks */
#define REFUSALS 3u    /* in one call: each costs a whole collection */
#define STRING_HEAD 64u /* what Lua adds to a string's bytes, at most */

/* Garbage: a cycle begins when memory has grown by half, and goes in steps of a kilobyte allocated: memory stays at one
 * and a half times what lives, far from the cap, and what a call allocates pays for itself (5 % of a script that makes
 * ten tables and strings). Even a whole collection takes 20 us for the tables of a thousand endpoints, so nothing is
 * gained by stopping it in a call, where garbage would then reach the cap. */
#define GC_PAUSE 150
#define GC_SPEED 100
#define GC_STEP 10 /* 2^10 bytes */

const char llmd__lua_module_key = 0;

/* ---- memory ----------------------------------------------------------------------------------------------------- */

/* What cannot be had makes Lua collect everything and ask once more. A script that catches the error could go on like
 * that for long. */
static void *refuse_memory(llmd__lua *s)
{
  if (++s->refused >= REFUSALS && s->stop == 0)
    s->stop = LLMD_E_NOMEM;
  return NULL;
}

/* From here on its instructions may be slow ones. */
static void note_long_string(llmd__lua *s)
{
  lua_Hook hook = s->L == NULL ? NULL : lua_gethook(s->L);
  s->slow = 1;
  if (hook == NULL || s->step <= LONG_STEP)
    return;
  s->step = LONG_STEP;
  lua_sethook(s->L, hook, LUA_MASKCOUNT, (int)LONG_STEP); /* fields of the state, allowed at any instruction */
}

static void *allocate(void *ud, void *ptr, size_t osize, size_t nsize)
{
  llmd__lua *s = ud;
  size_t had = ptr == NULL ? 0 : osize;
  if (nsize <= had)
    return llmd__lua_arena_realloc(s->arena, ptr, osize, nsize);
  if (s->stop != 0)
    return refuse_memory(s);
  if (ptr == NULL && osize == LUA_TSTRING && nsize > LLMD__LUA_STRING + STRING_HEAD) {
    s->long_string = 1;
    return refuse_memory(s);
  }
  if (s->fail_at != 0 && --s->fail_at == 0) {
    s->fail_at = s->fail_on;
    return refuse_memory(s);
  }
  if (ptr == NULL && osize == LUA_TSTRING && nsize > LONG_STRING + STRING_HEAD)
    note_long_string(s);
  s->unpaid += nsize - had;
  s->left -= (int64_t)(s->unpaid / PAID_BYTES);
  s->unpaid %= PAID_BYTES;
  void *got = llmd__lua_arena_realloc(s->arena, ptr, osize, nsize);
  return got == NULL ? refuse_memory(s) : got;
}

size_t llmd__lua_used(const llmd__lua *s)
{
  return s->arena == NULL ? 0 : llmd__lua_arena_used(s->arena);
}

size_t llmd__lua_peak(const llmd__lua *s)
{
  return s->arena == NULL ? 0 : llmd__lua_arena_peak(s->arena);
}

/* ---- calls ------------------------------------------------------------------------------------------------------ */

/* The value raised is no text: making one would need memory, which is refused from now on. */
static void raise_stop(lua_State *L, llmd__lua *s)
{
  lua_pushlightuserdata(L, s);
  lua_error(L);
}

static void stop(lua_State *L, llmd__lua *s, int32_t why)
{
  if (s->stop == 0) {
    s->stop = why;
    llmd__lua_trouble_stop(s, L);
  }
  raise_stop(L, s);
}

void llmd__lua_look(lua_State *L)
{
  llmd__lua *s = llmd__lua_state(L);
  if (s->stop != 0)
    raise_stop(L, s);
  if (s->left < 0)
    stop(L, s, LLMD_E_LIMIT);
  if (s->deadline != 0 && s->host->clock(s->host->ctx) > s->deadline)
    stop(L, s, LLMD_E_TIMEOUT);
}

void llmd__lua_stack(lua_State *L, int n)
{
  if (!lua_checkstack(L, n))
    stop(L, llmd__lua_state(L), LLMD_E_NOMEM);
}

static void count(lua_State *L, lua_Debug *ar)
{
  llmd__lua *s = llmd__lua_state(L);
  (void)ar;
  s->left -= s->step;
  llmd__lua_look(L);
}

static int raise_code(lua_State *L, int code, const char *fmt, va_list args)
{
  luaL_where(L, 1);
  lua_pushvfstring(L, fmt, args);
  lua_concat(L, 2);
  llmd__lua_state(L)->code = code;
  return lua_error(L);
}

int llmd__lua_refuse(lua_State *L, const char *fmt, ...)
{
  va_list args;
  va_start(args, fmt);
  raise_code(L, LLMD_E_TYPE, fmt, args);
  va_end(args);
  return 0;
}

static int raise(lua_State *L, int code, const char *fmt, ...)
{
  va_list args;
  va_start(args, fmt);
  raise_code(L, code, fmt, args);
  va_end(args);
  return 0;
}

static void begin(llmd__lua *s, const llmd__lua_limits *limits)
{
  s->stop = 0;
  s->refused = 0;
  s->code = 0;
  s->long_string = 0;
  s->unpaid = 0;
  s->left = INT64_MAX;
  s->deadline = s->until;
  if (limits == NULL)
    return;
  s->given_instructions = limits->instructions < INT64_MAX ? limits->instructions : INT64_MAX;
  s->given_ns = limits->time_ns;
  s->left = (int64_t)s->given_instructions;
  s->step = s->slow ? LONG_STEP : STEP;
  if (s->given_instructions < s->step)
    s->step = (uint32_t)s->given_instructions + 1;
  if (s->until == 0 && limits->time_ns != 0 && s->host != NULL && s->host->clock != NULL)
    s->deadline = s->host->clock(s->host->ctx) + limits->time_ns;
  lua_sethook(s->L, count, LUA_MASKCOUNT, (int)s->step);
}

static int no_memory(llmd__lua *s)
{
  s->stop = LLMD_E_NOMEM;
  llmd__lua_trouble_stop(s, NULL);
  return LLMD_E_NOMEM;
}

/* The code of what lua_pcall says, trouble filled. The error's value is on the top when status is not LUA_OK. */
static int outcome(llmd__lua *s, int status)
{
  if (s->stop == 0 && status == LUA_OK)
    return 0;
  if (s->stop == 0 && status != LUA_ERRMEM) {
    llmd__lua_trouble_error(s, s->L);
    return status == LUA_ERRERR || s->code == 0 ? LLMD_E_PLUGIN : s->code;
  }
  return s->stop == 0 || s->stop == LLMD_E_NOMEM ? no_memory(s) : s->stop;
}

static int guarded(llmd__lua *s, int code)
{
  const char *name;
  int rc = llmd__lua_restore(s, &name);
  if (rc == 0 || code != 0)
    return code;
  llmd__lua_trouble_variable(s, name);
  return rc;
}

int llmd__lua_call(llmd__lua *s, const llmd__lua_limits *limits, lua_CFunction fn, void *ud)
{
  lua_State *L = s->L;
  if (L == NULL || !lua_checkstack(L, LUA_MINSTACK))
    return no_memory(s);
  locale_t before = s->locale == NULL ? (locale_t)0 : uselocale((locale_t)s->locale);
  int top = lua_gettop(L);
  begin(s, limits);
  lua_pushcfunction(L, fn);
  lua_pushlightuserdata(L, ud);
  int code = outcome(s, lua_pcall(L, 1, 0, 0));
  lua_sethook(L, NULL, 0, 0);
  lua_settop(L, top);
  if (s->guard != NULL)
    code = guarded(s, code);
  if (before != (locale_t)0)
    uselocale(before);
  return code;
}

/* ---- open, close ------------------------------------------------------------------------------------------------ */

static int open_sandbox(lua_State *L)
{
  lua_pushglobaltable(L);
  llmd__lua_open_base(L);
  llmd__lua_open_api(L);
  lua_gc(L, LUA_GCCOLLECT);
  return 0;
}

static int start(llmd__lua *s)
{
  s->stop = 0;
  s->refused = 0;
  s->left = INT64_MAX;
  s->guard = NULL;
  s->scan = 0;
  s->L = lua_newstate(allocate, s);
  if (s->L == NULL)
    return no_memory(s);
  *(llmd__lua **)lua_getextraspace(s->L) = s;
  lua_gc(s->L, LUA_GCINC, GC_PAUSE, GC_SPEED, GC_STEP);
  int rc = llmd__lua_call(s, NULL, open_sandbox, NULL);
  if (rc != 0)
    s->L = NULL;
  return rc;
}

int llmd__lua_open(llmd__lua *s, const llmd_allocator *alloc, size_t memory)
{
  memset(s, 0, sizeof *s);
  int rc = llmd__lua_arena_create(&s->arena, alloc, memory);
  if (rc != 0)
    return rc;
  s->alloc = alloc;
  s->memory = memory;
  s->locale = (void *)newlocale(LC_ALL_MASK, "C", (locale_t)0);
  rc = start(s);
  if (rc != 0)
    llmd__lua_close(s);
  return rc;
}

int llmd__lua_reopen(llmd__lua *s)
{
  if (s->arena == NULL)
    return LLMD_E_STATE;
  s->L = NULL;
  llmd__lua_arena_reset(s->arena);
  return start(s);
}

/* The arena goes as a whole: nothing in it has a finalizer, and nothing outside of it belongs to it. */
void llmd__lua_close(llmd__lua *s)
{
  if (s->locale != NULL)
    freelocale((locale_t)s->locale);
  llmd__lua_arena_free(s->arena, s->alloc);
  s->locale = NULL;
  s->arena = NULL;
  s->L = NULL;
  s->guard = NULL;
}

/* ---- load ------------------------------------------------------------------------------------------------------- */

typedef struct program {
  const char *text, *chunk;
  size_t len, read;
  uint32_t scan; /* out */
} program;

static const char power[] = "the operator ^ is not available, its result depends on the machine: multiply, or use "
                            "math.sqrt, llmd.exp, llmd.log";

/* The text in small pieces, with a look at the clock before each: there are texts of 64 KiB that Lua takes a fifth of a
 * second to compile, and a state may be made anew in the middle of a decision. */
static const char *read_piece(lua_State *L, void *ud, size_t *size)
{
  program *p = ud;
  const char *piece = p->text + p->read;
  llmd__lua_look(L);
  *size = p->len - p->read < PIECE ? p->len - p->read : PIECE;
  p->read += *size;
  return piece;
}

/* Leaves the compiled function on the stack, or raises. */
static void compile(lua_State *L, program *p)
{
  llmd__lua *s = llmd__lua_state(L);
  uint32_t line = llmd__lua_scan_text(p->text, p->len);
  const char *name = lua_pushfstring(L, "=%s", p->chunk);
  p->read = 0;
  int status = lua_load(L, read_piece, p, name, "t");
  lua_remove(L, -2);
  if (status != LUA_OK) {
    s->code = LLMD_E_SYNTAX;
    lua_error(L);
  }
  uint32_t scan = 0, at = 0;
  int rc = llmd__lua_scan(L, &scan, &at);
  if (rc != 0)
    raise(L, rc, "%s: this version of Lua is not known", p->chunk);
  if (line == 0 && (scan & LLMD__LUA_HAS_POW))
    line = at;
  if (line != 0 || (scan & LLMD__LUA_HAS_POW))
    raise(L, LLMD_E_UNSUPPORTED, "%s:%d: %s", p->chunk, (int)line, power);
  p->scan = scan;
}

static int run_program(lua_State *L)
{
  program *p = lua_touserdata(L, 1);
  compile(L, p);
  lua_call(L, 0, 1);
  if (!lua_istable(L, -1))
    raise(L, LLMD_E_TYPE, "a policy ends with `return {...}`, this one gives %s%s", lua_isnil(L, -1) ? "" : "a ",
          lua_isnil(L, -1) ? "nothing" : luaL_typename(L, -1));
  lua_rawsetp(L, LUA_REGISTRYINDEX, &llmd__lua_module_key);
  return 0;
}

static const char compiled_key = 0;

static int keep_compiled(lua_State *L)
{
  compile(L, lua_touserdata(L, 1));
  lua_rawsetp(L, LUA_REGISTRYINDEX, &compiled_key);
  return 0;
}

static int unfit(llmd__lua *s, int code, const char *text, const char *chunk, llmd_err *err)
{
  llmd__lua_trouble(s, text, strlen(text));
  return llmd__lua_fail(s, code, chunk, err);
}

size_t llmd__lua_mark(const char *text, size_t len)
{
  return len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

static int check_text(llmd__lua *s, program *p, llmd_err *err)
{
  if (p->len > LLMD_POLICY_BYTES)
    return unfit(s, LLMD_E_LIMIT, "the text is longer than 65536 bytes", p->chunk, err);
  if (p->len != 0 && memchr(p->text, 0, p->len) != NULL)
    return unfit(s, LLMD_E_SYNTAX, "the text has a NUL in it", p->chunk, err);
  size_t mark = llmd__lua_mark(p->text, p->len);
  p->text += mark;
  p->len -= mark;
  if (p->len != 0 && p->text[0] == LUA_SIGNATURE[0])
    return unfit(s, LLMD_E_SYNTAX, "this is compiled code, only text is loaded", p->chunk, err);
  return 0;
}

int llmd__lua_load(llmd__lua *s, const char *text, size_t len, const char *chunk, const llmd__lua_limits *limits,
                   llmd_err *err)
{
  program p = {text, chunk, len, 0, 0};
  int rc = check_text(s, &p, err);
  if (rc != 0)
    return rc;
  rc = llmd__lua_call(s, limits, run_program, &p);
  if (rc != 0)
    return llmd__lua_fail(s, rc, chunk, err);
  s->scan = p.scan;
  return 0;
}

int llmd__lua_compile(llmd__lua *s, const char *text, size_t len, const char *chunk, llmd_err *err)
{
  program p = {text, chunk, len, 0, 0};
  int rc = check_text(s, &p, err);
  if (rc != 0)
    return rc;
  rc = llmd__lua_call(s, NULL, keep_compiled, &p);
  if (rc != 0)
    return llmd__lua_fail(s, rc, chunk, err);
  lua_rawgetp(s->L, LUA_REGISTRYINDEX, &compiled_key);
  return 0;
}
