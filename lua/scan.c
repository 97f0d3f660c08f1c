/* What a compiled function does that its text does not show easily. lua_dump writes the code out; this reads as much of
 * Lua 5.4's format as it takes to find instructions, every length checked.
 *
 * signature ∙ version ∙ sizes ∙ upvalues │ function: source, lines, code, constants, upvalues, functions inside, debug
 *
 * The numbers of the instructions are not promised by anybody: each time, a small function whose instructions are known
 * is looked through first. Where it comes out otherwise the Lua is another one: LLMD_E_UNSUPPORTED. */
#include "state.h"

#include <string.h>

#include <lauxlib.h>

#define OP_SETUPVAL 10u
#define OP_GETTABUP 11u
#define OP_SETTABUP 15u
#define OP_POWK 26u
#define OP_POW 38u
#define OPCODE 0x7fu
#define DEEPEST 250u   /* Lua's own limit on functions inside functions is below 200 */
#define NO_PLACE (-128) /* in the table of lines: look in the other one */

/* What was found. */
typedef struct findings {
  uint32_t pow, powk, setupval; /* how often; setupval: in inner functions */
  uint32_t line;                /* of the first ^ */
  llmd__lua_name_fn name;       /* NULL: nobody asks */
  void *ud;
} findings;

typedef struct reader {
  const unsigned char *at, *end;
  int failed;
} reader;

/* ---- bytes ------------------------------------------------------------------------------------------------------ */

static const unsigned char *skip(reader *r, size_t n)
{
  const unsigned char *p = r->at;
  if (r->failed || n > (size_t)(r->end - r->at)) {
    r->failed = 1;
    return NULL;
  }
  r->at += n;
  return p;
}

static unsigned byte(reader *r)
{
  const unsigned char *p = skip(r, 1);
  return p == NULL ? 0 : *p;
}

/* Seven bits at a time, the highest first; the last byte has its high bit set. */
static size_t number(reader *r)
{
  size_t n = 0;
  for (;;) {
    unsigned b = byte(r);
    if (r->failed || n >> (sizeof n * 8 - 8) != 0) {
      r->failed = 1;
      return 0;
    }
    n = n << 7 | (b & 0x7f);
    if (b & 0x80)
      return n;
  }
}

/* A count of things that take at least `each` bytes. */
static size_t counted(reader *r, size_t each)
{
  size_t n = number(r);
  if (r->failed || n > (size_t)(r->end - r->at) / each) {
    r->failed = 1;
    return 0;
  }
  return n;
}

/* *len bytes, no NUL behind them; NULL = none. */
static const char *read_text(reader *r, size_t *len)
{
  size_t n = number(r);
  *len = n > 1 ? n - 1 : 0;
  return n > 1 ? (const char *)skip(r, n - 1) : NULL;
}

static void skip_text(reader *r)
{
  size_t len;
  read_text(r, &len);
}

/* ---- one function ----------------------------------------------------------------------------------------------- */

typedef struct function {
  const unsigned char *code;
  size_t n; /* instructions */
  reader constants, lines; /* where they begin */
  size_t first;            /* line */
  uint8_t env[32];         /* bit per upvalue: it is _ENV, the globals */
} function;

static uint32_t instruction(const function *f, size_t pc)
{
  uint32_t i;
  memcpy(&i, f->code + pc * sizeof i, sizeof i);
  return i;
}

/* When it is a text: its bytes. */
static const char *read_constant(reader *r, size_t *len)
{
  switch (byte(r)) {
  case 0x00: case 0x01: case 0x11: break;                 /* nil, false, true */
  case 0x03: case 0x13: skip(r, sizeof(lua_Number)); break; /* integer, float */
  case 0x04: case 0x14: return read_text(r, len);
  default: r->failed = 1; break;
  }
  return NULL;
}

static void skip_constants(reader *r)
{
  size_t len;
  for (size_t n = counted(r, 1); n > 0 && !r->failed; n--)
    read_constant(r, &len);
}

static const char *constant_at(const function *f, size_t i, size_t *len)
{
  reader r = f->constants;
  const char *found = NULL;
  if (i >= counted(&r, 1))
    return NULL;
  for (size_t k = 0; k <= i && !r.failed; k++)
    found = read_constant(&r, len);
  return r.failed ? NULL : found;
}

/* Reads the two tables of lines; the line of instruction pc, 0 = the function has none. */
static uint32_t read_lines(reader *r, size_t first, size_t pc, int wanted)
{
  size_t n = counted(r, 1), line = first, anchor_pc = 0, anchor_line = first, any = 0;
  const unsigned char *steps = skip(r, n);
  for (size_t k = counted(r, 2); k > 0 && !r->failed; k--) {
    size_t at = number(r), is = number(r);
    if (at <= pc) {
      anchor_pc = at;
      anchor_line = is;
      any = 1;
    }
  }
  if (!wanted || r->failed || pc >= n)
    return 0;
  line = anchor_line;
  for (size_t i = any ? anchor_pc + 1 : 0; i <= pc; i++) {
    int step = steps[i] < 128 ? steps[i] : (int)steps[i] - 256;
    if (step != NO_PLACE)
      line += (size_t)step;
  }
  return (uint32_t)line;
}

static void read_names(reader *r, const findings *all)
{
  for (size_t n = counted(r, 3); n > 0 && !r->failed; n--) { /* local variables */
    size_t len;
    const char *name = read_text(r, &len);
    number(r);
    number(r);
    if (all->name && name && name[0] != '(') /* Lua's own: (for state) */
      all->name(all->ud, LLMD__LUA_NAME_LOCAL, name, len, 0);
  }
  for (size_t n = counted(r, 1); n > 0 && !r->failed; n--) /* upvalues */
    skip_text(r);
}

/* Which of them are _ENV: the first of the whole, and what functions inside have of it. outer NULL: the whole. */
static void read_upvalues(reader *r, const function *outer, function *f)
{
  memset(f->env, 0, sizeof f->env);
  size_t n = counted(r, 3);
  for (size_t i = 0; i < n && !r->failed; i++) {
    unsigned in_stack = byte(r), index = byte(r);
    byte(r);
    int is_env = outer ? !in_stack && outer->env[index / 8] >> index % 8 & 1 : i == 0;
    if (is_env && i / 8 < sizeof f->env)
      f->env[i / 8] |= (uint8_t)(1u << i % 8);
  }
}

/* A name whose constant is none of the first 256 is reached by other instructions, and passed over. */
static void tell_globals(const function *f, const findings *all)
{
  for (size_t pc = 0; pc < f->n; pc++) {
    uint32_t i = instruction(f, pc), op = i & OPCODE, a = i >> 7 & 0xff, b = i >> 16 & 0xff, c = i >> 24;
    uint32_t table = op == OP_GETTABUP ? b : a;
    reader lines = f->lines;
    size_t len = 0;
    if ((op != OP_GETTABUP && op != OP_SETTABUP) || !(f->env[table / 8] >> table % 8 & 1))
      continue;
    const char *name = constant_at(f, op == OP_GETTABUP ? c : b, &len);
    if (name)
      all->name(all->ud, op == OP_GETTABUP ? LLMD__LUA_NAME_READ : LLMD__LUA_NAME_SET, name, len,
                read_lines(&lines, f->first, pc, 1));
  }
}

/* The first ^, n = there is none. */
static size_t look_at_code(const function *f, unsigned depth, findings *all)
{
  size_t first = f->n;
  for (size_t pc = 0; pc < f->n; pc++) {
    uint32_t op = instruction(f, pc) & OPCODE;
    all->pow += op == OP_POW;
    all->powk += op == OP_POWK;
    all->setupval += depth > 0 && op == OP_SETUPVAL;
    if (first == f->n && (op == OP_POW || op == OP_POWK))
      first = pc;
  }
  return first;
}

static void read_function(reader *r, unsigned depth, const function *outer, findings *all)
{
  function f;
  if (depth > DEEPEST)
    r->failed = 1;
  skip_text(r);
  f.first = number(r);
  number(r); /* last line */
  skip(r, 3); /* parameters, varargs, registers */
  f.n = counted(r, sizeof(uint32_t));
  f.code = skip(r, f.n * sizeof(uint32_t));
  if (r->failed)
    return;
  size_t pow_at = look_at_code(&f, depth, all);
  f.constants = *r;
  skip_constants(r);
  read_upvalues(r, outer, &f);
  for (size_t k = counted(r, 8); k > 0 && !r->failed; k--)
    read_function(r, depth + 1, &f, all);
  f.lines = *r;
  uint32_t line = read_lines(r, f.first, pow_at, pow_at < f.n);
  if (line != 0 && (all->line == 0 || line < all->line))
    all->line = line;
  read_names(r, all);
  if (all->name && !r->failed)
    tell_globals(&f, all);
}

static int read_dump(const unsigned char *p, size_t len, findings *f)
{
  static const unsigned char head[] = {0x1b, 'L', 'u', 'a', 0x54, 0, 0x19, 0x93, '\r', '\n', 0x1a, '\n',
                                       sizeof(uint32_t), sizeof(lua_Integer), sizeof(lua_Number)};
  reader r = {p, p + len, 0};
  lua_Integer integer = 0;
  lua_Number real = 0;
  const unsigned char *h = skip(&r, sizeof head);
  const unsigned char *a = skip(&r, sizeof integer), *b = skip(&r, sizeof real);
  byte(&r); /* upvalues of the main function */
  if (r.failed || memcmp(h, head, sizeof head) != 0)
    return LLMD_E_UNSUPPORTED;
  memcpy(&integer, a, sizeof integer);
  memcpy(&real, b, sizeof real);
  if (integer != 0x5678 || real < 370.5 || real > 370.5)
    return LLMD_E_UNSUPPORTED;
  read_function(&r, 0, NULL, f);
  return r.failed || r.at != r.end ? LLMD_E_UNSUPPORTED : 0;
}

/* ---- the function at the top ------------------------------------------------------------------------------------ */

typedef struct dump {
  unsigned char *to; /* NULL: only counted */
  size_t len, cap;
} dump;

static int write_dump(lua_State *L, const void *p, size_t n, void *ud)
{
  dump *d = ud;
  (void)L;
  if (d->to != NULL) {
    if (n > d->cap - d->len)
      return 1;
    memcpy(d->to + d->len, p, n);
  }
  d->len += n;
  return 0;
}

static int look_through(lua_State *L, findings *f)
{
  dump d = {NULL, 0, 0};
  if (lua_dump(L, write_dump, &d, 0) != 0)
    return LLMD_E_UNSUPPORTED;
  d.cap = d.len;
  d.len = 0;
  d.to = lua_newuserdatauv(L, d.cap + 1, 0);
  lua_pushvalue(L, -2);
  int rc = lua_dump(L, write_dump, &d, 0) != 0 ? LLMD_E_UNSUPPORTED : read_dump(d.to, d.len, f);
  lua_pop(L, 2);
  return rc;
}

/* ud: how many names were the right ones, minus how many were not. */
static void check_name(void *ud, uint32_t what, const char *name, size_t len, uint32_t line)
{
  int *right = ud;
  if (what != LLMD__LUA_NAME_LOCAL)
    *right += len == 1 && line == 5 && *name == (what == LLMD__LUA_NAME_READ ? 'z' : 'y') ? 1 : -1;
}

/* A function that has each of them, at known places. */
static int check_version(lua_State *L)
{
  static const char known[] = "local a, b = ...\nlocal c = a * b - a / b + a // 2 % 3\n\nlocal function f(x)\n"
                              "  a = x y = z\n  return function() b = x ^ a end\nend\nreturn f, a ^ 3\n";
  int right = 0;
  findings f = {.name = check_name, .ud = &right};
  if (luaL_loadbufferx(L, known, sizeof known - 1, "=scan", "t") != LUA_OK)
    return lua_error(L);
  int rc = look_through(L, &f);
  lua_pop(L, 1);
  if (rc != 0)
    return rc;
  return f.pow == 1 && f.powk == 1 && f.setupval == 2 && f.line == 6 && right == 2 ? 0 : LLMD_E_UNSUPPORTED;
}

int llmd__lua_scan_names(lua_State *L, llmd__lua_name_fn fn, void *ud)
{
  findings f = {.name = fn, .ud = ud};
  llmd__lua_stack(L, 4);
  int rc = check_version(L);
  return rc == 0 ? look_through(L, &f) : rc;
}

int llmd__lua_scan(lua_State *L, uint32_t *found, uint32_t *line)
{
  findings f = {0};
  llmd__lua_stack(L, 4);
  int rc = check_version(L);
  if (rc == 0)
    rc = look_through(L, &f);
  if (rc != 0)
    return rc;
  *found = (f.pow + f.powk != 0 ? LLMD__LUA_HAS_POW : 0) | (f.setupval != 0 ? LLMD__LUA_HAS_SETUPVAL : 0);
  *line = f.line;
  return 0;
}

/* ---- text ------------------------------------------------------------------------------------------------------- */

/* A reader of a text that knows strings and comments, and nothing else. */
typedef struct cursor {
  const char *p;
  size_t n, i;
  uint32_t line;
} cursor;

static char peek(const cursor *c, size_t ahead)
{
  return c->i + ahead < c->n ? c->p[c->i + ahead] : '\0';
}

/* \n, \r, and both together are one line. */
static void advance(cursor *c)
{
  char now = peek(c, 0), next = peek(c, 1);
  if ((now == '\n' || now == '\r') && !((next == '\n' || next == '\r') && next != now))
    c->line++;
  else if (now == '\n' || now == '\r') {
    c->line++;
    c->i++;
  }
  c->i++;
}

/* At "[==[": its level + 1 and behind it; else 0 and nothing moves. */
static size_t open_bracket(cursor *c)
{
  size_t level = 0;
  if (peek(c, 0) != '[')
    return 0;
  while (peek(c, 1 + level) == '=')
    level++;
  if (peek(c, 1 + level) != '[')
    return 0;
  c->i += level + 2;
  return level + 1;
}

static void skip_brackets(cursor *c, size_t level)
{
  while (c->i < c->n) {
    if (peek(c, 0) == ']') {
      size_t k = 1;
      while (peek(c, k) == '=' && k < level)
        k++;
      if (k == level && peek(c, k) == ']') {
        c->i += level + 1;
        return;
      }
    }
    advance(c);
  }
}

static void skip_quoted(cursor *c, char quote)
{
  c->i++;
  while (c->i < c->n && peek(c, 0) != quote) {
    if (peek(c, 0) == '\\')
      c->i++;
    advance(c);
  }
  c->i++;
}

static void skip_comment(cursor *c)
{
  c->i += 2;
  size_t level = open_bracket(c);
  if (level != 0) {
    skip_brackets(c, level);
    return;
  }
  while (c->i < c->n && peek(c, 0) != '\n' && peek(c, 0) != '\r')
    c->i++;
}

uint32_t llmd__lua_scan_text(const char *text, size_t len)
{
  cursor c = {text, len, 0, 1};
  while (c.i < c.n) {
    char now = peek(&c, 0);
    size_t level;
    if (now == '^')
      return c.line;
    if (now == '-' && peek(&c, 1) == '-')
      skip_comment(&c);
    else if (now == '"' || now == '\'')
      skip_quoted(&c, now);
    else if ((level = open_bracket(&c)) != 0)
      skip_brackets(&c, level);
    else
      advance(&c);
  }
  return 0;
}
