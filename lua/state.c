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
#define PAID_BYTES 64u /* bytes per instruction of the budget */
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

/* ---- what went wrong -------------------------------------------------------------------------------------------- */

/* Bytes of the UTF-8 character at p, 0 = it is none, or a control character. */
static size_t character(const unsigned char *p, size_t n)
{
  if (p[0] < 0x80)
    return p[0] >= 0x20 && p[0] != 0x7f;
  size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
  if (p[0] < 0xc2 || p[0] > 0xf4 || len > n)
    return 0;
  for (size_t i = 1; i < len; i++)
    if ((p[i] & 0xc0) != 0x80)
      return 0;
  if ((p[0] == 0xc2 && p[1] < 0xa0) || (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
      (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
    return 0;
  return len;
}

static int is_hex(unsigned char c)
{
  return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

/* Bytes of an address ("0x7f..."): two programs never agree on one, and nobody is to learn it. */
static size_t address(const unsigned char *p, size_t n)
{
  if (n < 3 || p[0] != '0' || (p[1] | 0x20) != 'x' || !is_hex(p[2]))
    return 0;
  size_t len = 3;
  while (len < n && is_hex(p[len]))
    len++;
  return len;
}

/* "sticky.lua:12: message": the number between the first two colons that enclose one. */
static uint32_t line_of(const char *text, size_t len)
{
  for (size_t i = 0; i < len; i++) {
    if (text[i] != ':')
      continue;
    uint32_t line = 0;
    size_t digit = i + 1;
    while (digit < len && text[digit] >= '0' && text[digit] <= '9' && line < 100000000u)
      line = line * 10 + (uint32_t)(text[digit++] - '0');
    if (digit > i + 1 && digit < len && text[digit] == ':')
      return line;
  }
  return 0;
}

static void keep_trouble(llmd__lua *s, const char *text, size_t len)
{
  const unsigned char *p = (const unsigned char *)text;
  size_t to = 0;
  for (size_t i = 0; i < len && to < LLMD__LUA_TROUBLE;) {
    size_t skip = address(p + i, len - i);
    if (skip != 0) {
      i += skip;
      continue;
    }
    size_t bytes = character(p + i, len - i);
    if (to + bytes > LLMD__LUA_TROUBLE)
      break;
    if (bytes == 0)
      s->trouble[to++] = p[i] < 0x20 ? ' ' : '?';
    for (size_t k = 0; k < bytes; k++)
      s->trouble[to++] = (char)p[i + k];
    i += bytes == 0 ? 1 : bytes;
  }
  s->trouble[to] = '\0';
  s->trouble_len = (uint32_t)to;
  s->trouble_line = line_of(s->trouble, to);
}

static size_t put_text(char *out, size_t at, size_t cap, const char *text)
{
  size_t n = strlen(text);
  if (n > cap - at)
    n = cap - at;
  memcpy(out + at, text, n);
  return at + n;
}

static size_t put_number(char *out, size_t at, size_t cap, uint64_t n)
{
  char digits[24];
  size_t i = sizeof digits - 1;
  digits[i] = '\0';
  do {
    digits[--i] = (char)('0' + n % 10);
  } while ((n /= 10) != 0);
  return put_text(out, at, cap, digits + i);
}

/* Why the budget ended the call, and where. Allocates nothing. */
static void keep_stop(llmd__lua *s, lua_State *L)
{
  char text[LLMD__LUA_TROUBLE];
  size_t at = 0, cap = sizeof text;
  lua_Debug ar;
  for (int level = 0; L != NULL && level < 4 && lua_getstack(L, level, &ar); level++) {
    if (!lua_getinfo(L, "Sl", &ar) || ar.currentline <= 0)
      continue;
    at = put_text(text, at, cap, ar.short_src);
    at = put_text(text, at, cap, ":");
    at = put_number(text, at, cap, (uint64_t)ar.currentline);
    at = put_text(text, at, cap, ": ");
    break;
  }
  if (s->stop == LLMD_E_LIMIT) {
    at = put_text(text, at, cap, "more than ");
    at = put_number(text, at, cap, s->given_instructions);
    at = put_text(text, at, cap, " instructions");
  } else if (s->stop == LLMD_E_TIMEOUT) {
    at = put_text(text, at, cap, "took longer than ");
    at = put_number(text, at, cap, s->given_ns / 1000);
    at = put_text(text, at, cap, " us");
  } else if (s->long_string) {
    at = put_text(text, at, cap, "a string longer than ");
    at = put_number(text, at, cap, LLMD__LUA_STRING);
    at = put_text(text, at, cap, " bytes");
  } else {
    at = put_number(text, at, cap, s->memory);
    at = put_text(text, at, cap, " bytes of memory are not enough");
  }
  keep_trouble(s, text, at);
}

/* An error's value is never asked to describe itself. */
static void keep_error(llmd__lua *s, lua_State *L)
{
  size_t len = 0;
  const char *text = NULL;
  if (lua_type(L, -1) == LUA_TSTRING)
    text = lua_tolstring(L, -1, &len);
  if (text == NULL) {
    text = "an error without a text";
    len = strlen(text);
  }
  keep_trouble(s, text, len);
}

int llmd__lua_fail(const llmd__lua *s, int code, const char *chunk, llmd_err *err)
{
  if (err == NULL)
    return code;
  /* the place has fields of its own: the text is what follows it */
  size_t from = 0, n = strlen(chunk);
  if (s->trouble_line != 0 && s->trouble_len > n && memcmp(s->trouble, chunk, n) == 0 && s->trouble[n] == ':') {
    from = n + 1;
    while (s->trouble[from] >= '0' && s->trouble[from] <= '9')
      from++;
    from += s->trouble[from] == ':';
    from += s->trouble[from] == ' ';
  }
  err->code = code;
  err->line = s->trouble_line;
  err->column = 0;
  err->path[put_text(err->path, 0, sizeof err->path - 1, chunk)] = '\0';
  err->text[put_text(err->text, 0, sizeof err->text - 1, s->trouble + from)] = '\0';
  return code;
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
    keep_stop(s, L);
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
  s->deadline = 0;
  s->left = INT64_MAX;
  if (limits == NULL)
    return;
  s->given_instructions = limits->instructions < INT64_MAX ? limits->instructions : INT64_MAX;
  s->given_ns = limits->time_ns;
  s->left = (int64_t)s->given_instructions;
  s->step = s->given_instructions < STEP ? (uint32_t)s->given_instructions + 1 : STEP;
  if (limits->time_ns != 0 && s->host != NULL && s->host->clock != NULL)
    s->deadline = s->host->clock(s->host->ctx) + limits->time_ns;
  lua_sethook(s->L, count, LUA_MASKCOUNT, (int)s->step);
}

/* The code of what lua_pcall says, trouble filled. The error's value is on the top when status is not LUA_OK. */
static int outcome(llmd__lua *s, int status)
{
  if (s->stop == 0 && status == LUA_OK)
    return 0;
  if (s->stop == 0 && status != LUA_ERRMEM) {
    keep_error(s, s->L);
    return status == LUA_ERRERR || s->code == 0 ? LLMD_E_PLUGIN : s->code;
  }
  if (s->stop == 0 || s->stop == LLMD_E_NOMEM) {
    s->stop = LLMD_E_NOMEM;
    keep_stop(s, NULL);
  }
  return s->stop;
}

static int guarded(llmd__lua *s, int code)
{
  const char *name;
  int rc = llmd__lua_restore(s, &name);
  if (rc == 0 || code != 0)
    return code;
  static const char why[] = "' was changed: variables of the policy are read-only after load, use llmd.store";
  char text[LLMD__LUA_TROUBLE];
  size_t at = put_text(text, 0, sizeof text, "'");
  at = put_text(text, at, sizeof text - sizeof why, name);
  keep_trouble(s, text, put_text(text, at, sizeof text, why));
  return rc;
}

int llmd__lua_call(llmd__lua *s, const llmd__lua_limits *limits, lua_CFunction fn, void *ud)
{
  lua_State *L = s->L;
  if (L == NULL || !lua_checkstack(L, LUA_MINSTACK))
    return LLMD_E_NOMEM;
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
    return LLMD_E_NOMEM;
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
  size_t len;
  uint32_t scan; /* out */
} program;

static const char power[] = "the operator ^ is not available, its result depends on the machine: multiply, or use "
                            "llmd.sqrt, llmd.exp, llmd.log";

/* Leaves the compiled function on the stack, or raises. */
static void compile(lua_State *L, program *p)
{
  llmd__lua *s = llmd__lua_state(L);
  uint32_t line = llmd__lua_scan_text(p->text, p->len);
  const char *name = lua_pushfstring(L, "=%s", p->chunk);
  int status = luaL_loadbufferx(L, p->text, p->len, name, "t");
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
    raise(L, LLMD_E_TYPE, "%s: a policy ends with `return {...}`", p->chunk);
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
  keep_trouble(s, text, strlen(text));
  return llmd__lua_fail(s, code, chunk, err);
}

static int check_text(llmd__lua *s, const char *text, size_t len, const char *chunk, llmd_err *err)
{
  if (len > LLMD_POLICY_BYTES)
    return unfit(s, LLMD_E_LIMIT, "the text is longer than 65536 bytes", chunk, err);
  if (len != 0 && memchr(text, 0, len) != NULL)
    return unfit(s, LLMD_E_SYNTAX, "the text has a NUL in it", chunk, err);
  if (len != 0 && text[0] == LUA_SIGNATURE[0])
    return unfit(s, LLMD_E_SYNTAX, "this is compiled code, only text is loaded", chunk, err);
  return 0;
}

int llmd__lua_load(llmd__lua *s, const char *text, size_t len, const char *chunk, const llmd__lua_limits *limits,
                   llmd_err *err)
{
  program p = {text, chunk, len, 0};
  int rc = check_text(s, text, len, chunk, err);
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
  program p = {text, chunk, len, 0};
  int rc = check_text(s, text, len, chunk, err);
  if (rc != 0)
    return rc;
  rc = llmd__lua_call(s, NULL, keep_compiled, &p);
  if (rc != 0)
    return llmd__lua_fail(s, rc, chunk, err);
  lua_rawgetp(s->L, LUA_REGISTRYINDEX, &compiled_key);
  return 0;
}
