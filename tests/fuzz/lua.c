/* Fuzz target: the text of a Lua policy, loaded and run.
 *
 * Whatever the bytes: a refusal has a code and words; what is accepted scores eight endpoints within its limits, gives
 * finite numbers or nothing, fails only with codes that say why, leaves nothing behind for the next decision: the same
 * decision again comes out the same to the bit. And every byte comes back.
 *
 * With LLMD_FUZZ_STATES=1 so it must in another state, too. That is not asked for each time, because of one thing that
 * Lua does not promise: `#` of a list with holes, in a table out of which texts were taken, hangs on how texts hash,
 * which is another way in each state.
 *
 * The first byte picks a memory cap, so that allocations are refused in odd places, and what the others are: a text, or
 * what a text is made by (each byte a choice): bytes that only by chance make a text seldom get far. */
#include "../unit/lua/hostile.h"

#include <math.h>

#define TEXT_MAX 8192u
#define DEEPEST 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int true_, const char *what)
{
  if (true_)
    return;
  fprintf(stderr, "lua fuzz target: %s\n", what);
  abort();
}

/* ---- a text out of choices -------------------------------------------------------------------------------------- */

typedef struct maker {
  const uint8_t *data;
  size_t size, at;
  char text[TEXT_MAX + 64];
  size_t len;
} maker;

static uint32_t choose(maker *m, uint32_t n)
{
  return m->at < m->size ? m->data[m->at++] % n : 0;
}

static void put(maker *m, const char *text)
{
  size_t n = strlen(text);
  if (m->len + n > TEXT_MAX)
    return;
  memcpy(m->text + m->len, text, n);
  m->len += n;
}

#define PICK(m, list) put(m, (list)[choose(m, (uint32_t)(sizeof(list) / sizeof *(list)))])

static void expression(maker *m, int depth);

static void plain(maker *m)
{
  static const char *const words[] = {
    "0", "a", "t", "b", "s", "1", "2", "0.5", "-1", "1e308", "0/0", "math.huge", "math.maxinteger", "math.mininteger",
    "\"\"", "\"x\"", "\"10\"", "\"a\\0b\"", "nil", "true", "false", "{}", "{3, 1, 2}",
    "{1, nil, 3}", "{k = 1, 2, j = 3}",
    "cols", "cols.waiting", "cols.n", "req", "req.model", "req.headers", "out", "p", "string", "math", "table", "llmd",
    "llmd.store", "_ENV", "_G", "up", "list", "f", "type", "pcall", "error", "tostring", "pairs", "ipairs", "select",
    "llmd.max", "string.upper", "table.concat", "llmd.random()", "\"k\" .. a", "\"n\" .. #s"};
  PICK(m, words);
}

static void call(maker *m, int depth)
{
  static const char *const functions[] = {
    "pcall", "f", "tostring", "tonumber", "type", "error", "select", "pairs", "ipairs", "rawequal", "rawlen", "assert",
    "string.sub", "string.byte", "string.char", "string.find", "string.split", "string.reverse", "string.upper",
    "string.trim", "string.starts_with", "s:sub", "s:bump", "table.insert", "table.remove", "table.move",
    "table.unpack", "table.concat", "table.sort", "llmd.max", "llmd.argmin", "llmd.sum", "llmd.mean", "llmd.normalise",
    "llmd.lower_is_better", "llmd.softmax", "llmd.each", "llmd.draw", "llmd.shuffle", "llmd.hash", "llmd.rendezvous",
    "llmd.clamp", "llmd.random", "llmd.known", "llmd.exp", "llmd.log", "llmd.store.get", "llmd.store.put",
    "llmd.time_of_day", "math.floor", "math.fmod", "math.max", "math.tointeger"};
  uint32_t n = choose(m, 5);
  PICK(m, functions);
  put(m, "(");
  for (uint32_t i = 0; i < n; i++) {
    put(m, i ? ", " : "");
    expression(m, depth + 1);
  }
  put(m, ")");
}

static void expression(maker *m, int depth)
{
  static const char *const operators[] = {" + ", " - ", " * ", " / ", " // ", " % ", " & ", " | ", " ~ ", " << ",
                                          " >> ", " .. ", " == ", " ~= ", " < ", " <= ", " and ", " or "};
  static const char *const before[] = {"#", "-", "~", "not "};
  uint32_t kind = depth < DEEPEST ? choose(m, 8) : 0;
  switch (kind) {
  case 3: call(m, depth); break;
  case 4:
    put(m, "(");
    expression(m, depth + 1);
    PICK(m, operators);
    expression(m, depth + 1);
    put(m, ")");
    break;
  case 5:
    PICK(m, before);
    put(m, "(");
    expression(m, depth + 1);
    put(m, ")");
    break;
  case 6:
    put(m, "(");
    plain(m);
    put(m, ")[");
    expression(m, depth + 1);
    put(m, "]");
    break;
  case 7:
    put(m, "function(a, b) ");
    call(m, depth + 1);
    put(m, " return ");
    expression(m, depth + 1);
    put(m, " end");
    break;
  default: plain(m); break;
  }
}

static void block(maker *m, int depth);

static void statement(maker *m, int depth)
{
  static const char *const targets[] = {
    "a", "b", "t", "s", "out[1]", "out[2]", "out[a]", "t[a]", "t[b]", "t.k", "t[#t + 1]", "cols.waiting[1]",
    "cols.waiting[a]", "cols.n", "up", "list[1]", "G", "req.model", "out", "cols.waiting", "string.sub", "t[s]"};
  static const char *const heads[] = {
    "for i = 1, 5 do a = i ", "for a, b in pairs(t) do ", "for a, b in ipairs(list) do ", "if a then ",
    "while a ~= b do ", "do local t <const> = {a, b} ", "for a, b in pairs(cols) do ", "repeat local b = a ",
    "for i = a, b do "};
  switch (choose(m, depth < DEEPEST ? 8 : 5)) {
  case 1:
  case 2:
    call(m, 1);
    break;
  case 3:
    put(m, "out[1 + ");
    plain(m);
    put(m, " % 8] = ");
    expression(m, 1);
    break;
  case 4:
    put(m, "pcall(function() ");
    call(m, 1);
    put(m, " end)");
    break;
  case 5:
  case 6: {
    uint32_t head = choose(m, sizeof heads / sizeof *heads);
    put(m, heads[head]);
    block(m, depth + 1);
    put(m, heads[head][0] == 'r' ? "until b" : "end");
    break;
  }
  case 7:
    put(m, "f = function(a, b) ");
    block(m, depth + 1);
    put(m, "return ");
    expression(m, 1);
    put(m, " end");
    break;
  default:
    PICK(m, targets);
    put(m, " = ");
    expression(m, 0);
    break;
  }
  put(m, "; ");
}

static void block(maker *m, int depth)
{
  for (uint32_t n = 1 + choose(m, 6); n && m->at < m->size; n--)
    statement(m, depth);
}

/* A little at load, the rest in a function of one call per decision. */
static void make(maker *m)
{
  put(m, "local up, list, f, G = 0, {5, 3, 4}, function(a, b) return a end\n"
         "local a, b, s, t = 1, 2, 'text', {1, 2, 3, k = 4}\n"
         "do local cols, out, req, p = {waiting = {}}, {}, {}, {}\n");
  if (choose(m, 2))
    block(m, 2);
  put(m, "end\nreturn { reads = {\"waiting\", zone = \"label:zone\"}, score = function(req, cols, out, p)\n"
         "local a, b, s, t = 1, 2, 'text', {1, 2, 3, k = 4}\n");
  while (m->at < m->size)
    statement(m, 0);
  m->len = m->len > TEXT_MAX - 8 ? TEXT_MAX - 8 : m->len;
  put(m, "\nend }");
}

/* ---- running it ------------------------------------------------------------------------------------------------- */

static int known_failure(int rc)
{
  return rc == LLMD_E_PLUGIN || rc == LLMD_E_TYPE || rc == LLMD_E_LIMIT || rc == LLMD_E_NOMEM || rc == LLMD_E_BYPASSED;
}

/* When a budget ends hangs on garbage, too. */
static int comparable(int rc)
{
  return rc >= 0 || rc == LLMD_E_PLUGIN || rc == LLMD_E_TYPE;
}

static void same(int rc, const double *out, int first, const double *as, const char *what)
{
  if (!comparable(rc) || !comparable(first))
    return;
  require(rc == first, what);
  for (uint32_t k = 0; k < VICTIM_ROWS && rc >= 0; k++)
    require(out[k] == as[k] || (isnan(out[k]) && isnan(as[k])), what);
}

/* Always at the same time: the decision is the same, too. */
static int decide(victim *v, double *out)
{
  int rc;
  v->batch.now = 1000000000;
  rc = victim_score(v, 1, out);
  require(rc >= 0 || known_failure(rc), "a failure without a reason");
  for (uint32_t k = 0; k < VICTIM_ROWS && rc >= 0; k++)
    require(!isinf(out[k]), "a score that is infinite");
  return rc;
}

static void run(victim *v, victim *other)
{
  double first[VICTIM_ROWS], out[VICTIM_ROWS];
  int rc = decide(v, first), again = decide(v, out);
  same(again, out, rc, first, "a decision that the one before has changed");
  if (other->own)
    same(decide(other, out), out, rc, first, "a decision that comes out otherwise in another state");
  victim_score(v, 0, out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static maker m;
  victim v = {0}, other = {0};
  const char *text = (const char *)data + 1;
  size_t len = size - 1;
  int64_t memory;
  int rc;
  if (size < 2)
    return 0;
  memory = data[0] & 0x7f ? 0 : 49152;
  if (data[0] & 0x80) {
    m.data = data;
    m.size = size;
    m.at = 1;
    m.len = 0;
    make(&m);
    text = m.text;
    len = m.len;
  }
  rc = victim_load(&v, text, len, memory);
  if (rc)
    require(rc < 0 && v.err.text[0], "a refusal without words");
  else if (v.plugin->score && !victim_open(&v)) {
    if (getenv("LLMD_FUZZ_STATES") && !victim_load(&other, text, len, 0))
      victim_open(&other);
    run(&v, &other);
  }
  victim_free(&v);
  victim_free(&other);
  require(v.tally.blocks == 0 && v.tally.bytes == 0, "memory was lost");
  require(other.tally.blocks == 0 && other.tally.bytes == 0, "memory was lost in the other");
  return 0;
}
