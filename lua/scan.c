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
#define OP_POWK 26u
#define OP_POW 38u
#define OPCODE 0x7fu
#define DEEPEST 250u   /* Lua's own limit on functions inside functions is below 200 */
#define NO_PLACE (-128) /* in the table of lines: look in the other one */

/* What was found. */
typedef struct findings {
  uint32_t pow, powk, setupval; /* how often; setupval: in inner functions */
  uint32_t line;                /* of the first ^ */
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

static void skip_text(reader *r)
{
  size_t n = number(r);
  if (n > 1)
    skip(r, n - 1);
}

/* ---- one function ----------------------------------------------------------------------------------------------- */

static uint32_t instruction(const unsigned char *code, size_t pc)
{
  uint32_t i;
  memcpy(&i, code + pc * sizeof i, sizeof i);
  return i & OPCODE;
}

static void skip_constants(reader *r)
{
  for (size_t n = counted(r, 1); n > 0 && !r->failed; n--) {
    switch (byte(r)) {
    case 0x00: case 0x01: case 0x11: break;                 /* nil, false, true */
    case 0x03: case 0x13: skip(r, sizeof(lua_Number)); break; /* integer, float */
    case 0x04: case 0x14: skip_text(r); break;
    default: r->failed = 1; break;
    }
  }
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

static void skip_names(reader *r)
{
  for (size_t n = counted(r, 3); n > 0 && !r->failed; n--) { /* local variables */
    skip_text(r);
    number(r);
    number(r);
  }
  for (size_t n = counted(r, 1); n > 0 && !r->failed; n--) /* upvalues */
    skip_text(r);
}

static void read_function(reader *r, unsigned depth, findings *f)
{
  if (depth > DEEPEST)
    r->failed = 1;
  skip_text(r);
  size_t first = number(r), pow_at = 0;
  number(r); /* last line */
  skip(r, 3); /* parameters, varargs, registers */
  size_t n = counted(r, sizeof(uint32_t));
  const unsigned char *code = skip(r, n * sizeof(uint32_t));
  int pow = 0;
  for (size_t pc = 0; pc < n && !r->failed; pc++) {
    uint32_t op = instruction(code, pc);
    f->pow += op == OP_POW;
    f->powk += op == OP_POWK;
    f->setupval += depth > 0 && op == OP_SETUPVAL;
    if (!pow && (op == OP_POW || op == OP_POWK)) {
      pow = 1;
      pow_at = pc;
    }
  }
  skip_constants(r);
  skip(r, counted(r, 3) * 3); /* upvalues */
  for (size_t k = counted(r, 8); k > 0 && !r->failed; k--)
    read_function(r, depth + 1, f);
  uint32_t line = read_lines(r, first, pow_at, pow);
  if (line != 0 && (f->line == 0 || line < f->line))
    f->line = line;
  skip_names(r);
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
  read_function(&r, 0, f);
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
  memset(f, 0, sizeof *f);
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

/* A function that has each of them, at known places. */
static int check_version(lua_State *L)
{
  static const char known[] = "local a, b = ...\nlocal c = a * b - a / b + a // 2 % 3\n\nlocal function f(x)\n"
                              "  a = x\n  return function() b = x ^ a end\nend\nreturn f, a ^ 3\n";
  findings f;
  if (luaL_loadbufferx(L, known, sizeof known - 1, "=scan", "t") != LUA_OK)
    return lua_error(L);
  int rc = look_through(L, &f);
  lua_pop(L, 1);
  if (rc != 0)
    return rc;
  return f.pow == 1 && f.powk == 1 && f.setupval == 2 && f.line == 6 ? 0 : LLMD_E_UNSUPPORTED;
}

int llmd__lua_scan(lua_State *L, uint32_t *found, uint32_t *line)
{
  findings f;
  luaL_checkstack(L, 4, NULL);
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
