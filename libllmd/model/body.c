/* The automaton: grammar, UTF-8, depth and caps of a body, byte by byte in principle and in bulk where the next bytes
 * of a piece allow it. Its state is llmd__body; between two pieces nothing else is remembered.
 *
 *   VALUE ─► STRING │ NUMBER │ WORD │ open ... ─► AFTER ─► ',' KEY or VALUE │ close ─► AFTER
 *   KEY   ─► STRING ─► COLON ─► VALUE */
#include <string.h>

#include <llmd/error.h>

#include "model/digits.h"
#include "model/reader.h"
#include "model/scan.h"

enum { VALUE, VALUE_OR_END, KEY, KEY_OR_END, COLON, AFTER, STRING, NUMBER, WORD };

/* The place in the piece. */
typedef struct cursor {
  llmd__reader *r;
  llmd__body *b;
  const char *begin, *p, *end;
} cursor;

static uint64_t offset_of(const cursor *c, const char *p)
{
  return c->b->at + (uint64_t)(p - c->begin);
}

static uint64_t here(const cursor *c)
{
  return offset_of(c, c->p);
}

static int fail(cursor *c, int code)
{
  return llmd__reader_fail(c->r, code, here(c));
}

/* 0 when the piece ends. */
static int skip_blanks(cursor *c)
{
  const char *p = c->p;
  while (p < c->end && (unsigned char)*p <= ' ' && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
    p++;
  c->p = p;
  return p < c->end;
}

static int in_object(const llmd__body *b)
{
  return b->depth && (b->kinds >> (b->depth - 1) & 1);
}

/* ---- strings ---- */

static void begin_string(cursor *c, uint8_t is_key)
{
  llmd__body *b = c->b;
  c->p++;
  b->start = here(c);
  b->overhead = 0;
  b->high_end = LLMD__NOWHERE;
  b->escaped = 0;
  b->escape = b->follow = 0;
  b->is_key = is_key;
  b->state = STRING;
}

static int end_string(cursor *c)
{
  llmd__body *b = c->b;
  uint64_t bytes = here(c) - b->start;
  llmd__span span = {b->start, bytes, bytes - b->overhead, b->escaped};
  c->p++;
  if (!b->is_key) {
    b->state = AFTER;
    return llmd__field_string(c->r, &span, 0);
  }
  if (++b->keys > c->r->max_keys)
    return llmd__reader_fail(c->r, LLMD_E_LIMIT, b->start - 1);
  b->state = COLON;
  return llmd__field_key(c->r, &span);
}

/* A \uXXXX has been read whole; it began at b->mark. Notes how many bytes fewer its text has. */
static void end_unit(llmd__body *b, uint32_t unit)
{
  int is_low = unit >= 0xdc00 && unit < 0xe000;
  if (is_low && b->high_end == b->mark) {
    b->overhead += 5; /* the pair: 12 bytes become 4, of which 3 were counted for the first half */
    b->high_end = LLMD__NOWHERE;
    return;
  }
  b->overhead += unit < 0x80 ? 5 : unit < 0x800 ? 4 : 3;
  b->high_end = unit >= 0xd800 && unit < 0xdc00 ? b->mark + 6 : LLMD__NOWHERE;
}

/* One byte of an escape that may be spread over pieces. */
static int escape_byte(cursor *c)
{
  llmd__body *b = c->b;
  if (b->escape == 1) {
    if (*c->p == 'u') {
      b->escape = 2;
      b->hex = 0;
    } else if (llmd__scan_is_escape(*c->p)) {
      b->overhead++;
      b->escape = 0;
    } else {
      return fail(c, LLMD_E_SYNTAX);
    }
  } else {
    int digit = llmd__text_hex(*c->p);
    if (digit < 0)
      return fail(c, LLMD_E_SYNTAX);
    b->hex = (uint16_t)(b->hex << 4 | digit);
    if (++b->escape == 6) {
      b->escape = 0;
      end_unit(b, b->hex);
    }
  }
  c->p++;
  return 0;
}

/* At a backslash that begins no short escape: takes the run of whole, valid \uXXXX that begins here; the rest goes
 * byte by byte. */
static void escapes(cursor *c)
{
  llmd__body *b = c->b;
  int unit;
  b->escaped = 1;
  while (c->end - c->p >= 6 && c->p[0] == '\\' && c->p[1] == 'u' && (unit = llmd__text_hex4(c->p + 2)) >= 0) {
    b->mark = here(c);
    end_unit(b, (uint32_t)unit);
    c->p += 6;
  }
  if (c->p < c->end && *c->p == '\\') {
    b->mark = here(c);
    b->escape = 1;
    c->p++;
  }
}

/* The lead of a character that is malformed or goes on in the next piece. */
static int lead_byte(cursor *c)
{
  llmd__body *b = c->b;
  unsigned lead = (unsigned char)*c->p;
  if (lead < 0xc2 || lead > 0xf4)
    return fail(c, LLMD_E_UTF8);
  b->mark = here(c);
  b->follow = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
  b->low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  b->high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  c->p++;
  return 0;
}

static int follow_byte(cursor *c)
{
  llmd__body *b = c->b;
  unsigned char byte = (unsigned char)*c->p;
  if (byte < b->low || byte > b->high)
    return fail(c, LLMD_E_UTF8);
  b->low = 0x80;
  b->high = 0xbf;
  b->follow--;
  c->p++;
  return 0;
}

static int string(cursor *c)
{
  llmd__body *b = c->b;
  int rc = 0;
  while (rc == 0 && c->p < c->end) {
    if (b->follow) {
      rc = follow_byte(c);
    } else if (b->escape) {
      rc = escape_byte(c);
    } else {
      uint64_t before = b->overhead;
      c->p = llmd__scan_text(c->begin, c->p, c->end, &b->overhead);
      b->escaped |= b->overhead != before;
      if (c->p == c->end)
        break;
      if (*c->p == '"')
        return end_string(c);
      if (*c->p == '\\')
        escapes(c);
      else
        rc = (unsigned char)*c->p < 0x20 ? fail(c, LLMD_E_SYNTAX) : lead_byte(c);
    }
  }
  return rc;
}

/* ---- numbers and words ---- */

enum { N_MINUS, N_ZERO, N_DIGITS, N_POINT, N_FRACTION, N_E, N_SIGN, N_EXPONENT, N_END, N_BAD };
enum { C_ZERO, C_DIGIT, C_POINT, C_E, C_PLUS, C_MINUS, C_OTHER };

static const uint8_t number_next[][7] = {
    /*               0           1..9        .        e      +       -       other */
    [N_MINUS] = {N_ZERO, N_DIGITS, N_BAD, N_BAD, N_BAD, N_BAD, N_BAD},
    [N_ZERO] = {N_BAD, N_BAD, N_POINT, N_E, N_END, N_END, N_END},
    [N_DIGITS] = {N_DIGITS, N_DIGITS, N_POINT, N_E, N_END, N_END, N_END},
    [N_POINT] = {N_FRACTION, N_FRACTION, N_BAD, N_BAD, N_BAD, N_BAD, N_BAD},
    [N_FRACTION] = {N_FRACTION, N_FRACTION, N_END, N_E, N_END, N_END, N_END},
    [N_E] = {N_EXPONENT, N_EXPONENT, N_BAD, N_BAD, N_SIGN, N_SIGN, N_BAD},
    [N_SIGN] = {N_EXPONENT, N_EXPONENT, N_BAD, N_BAD, N_BAD, N_BAD, N_BAD},
    [N_EXPONENT] = {N_EXPONENT, N_EXPONENT, N_END, N_END, N_END, N_END, N_END},
};

static unsigned number_class(char ch)
{
  switch (ch) {
  case '0': return C_ZERO;
  case '.': return C_POINT;
  case 'e':
  case 'E': return C_E;
  case '+': return C_PLUS;
  case '-': return C_MINUS;
  default: return ch >= '1' && ch <= '9' ? C_DIGIT : C_OTHER;
  }
}

static void begin_number(cursor *c)
{
  llmd__body *b = c->b;
  b->start = here(c);
  b->negative = *c->p == '-';
  b->number = b->negative ? 0 : (uint64_t)(*c->p - '0');
  b->number_state = b->negative ? N_MINUS : *c->p == '0' ? N_ZERO : N_DIGITS;
  b->state = NUMBER;
  c->p++;
}

static void add_digit(llmd__body *b, char ch)
{
  uint64_t digit = (uint64_t)(ch - '0');
  b->number = b->number > (UINT64_MAX - digit) / 10 ? UINT64_MAX : b->number * 10 + digit;
}

static int number(cursor *c)
{
  llmd__body *b = c->b;
  for (; c->p < c->end; c->p++) {
    unsigned next = number_next[b->number_state][number_class(*c->p)];
    if (next == N_BAD)
      return fail(c, LLMD_E_SYNTAX);
    if (next == N_END) {
      b->state = AFTER;
      return llmd__field_number(c->r, b->start, here(c), b->number_state <= N_DIGITS);
    }
    if (next == N_DIGITS || next == N_ZERO)
      add_digit(b, *c->p);
    b->number_state = (uint8_t)next;
  }
  return 0;
}

static const char words[][6] = {"true", "false", "null"};

static int begin_word(cursor *c)
{
  c->b->word = *c->p == 't' ? 0 : *c->p == 'f' ? 1 : 2;
  c->b->word_at = 1;
  c->b->start = here(c);
  c->b->state = WORD;
  c->p++;
  return 0;
}

static int word(cursor *c)
{
  llmd__body *b = c->b;
  const char *text = words[b->word];
  for (; c->p < c->end && text[b->word_at]; c->p++, b->word_at++)
    if (*c->p != text[b->word_at])
      return fail(c, LLMD_E_SYNTAX);
  if (text[b->word_at])
    return 0;
  b->state = AFTER;
  return llmd__field_word(c->r, b->start, here(c), text[0]);
}

/* ---- lists of ids ---- */

/* Takes ids of one to seven digits that are followed by a comma, which is how nearly all come; whatever is otherwise
 * (the last one, a cap, an error) is left to the automaton. */
static void ids(cursor *c)
{
  uint64_t room = c->r->max_tokens - c->r->all_ids;
  const char *p = c->p + (c->p < c->end && *c->p == ' '), *last = p;
  uint32_t n = 0;
  while (c->end - p >= 16 && n < room) {
    unsigned digits = llmd__digits(p);
    if (digits == 0 || digits == 8 || (*p == '0' && digits > 1) || p[digits] != ',')
      break;
    last = p + digits;
    p = last + 1;
    if (*p == ' ')
      p++;
    n++;
  }
  if (n) {
    c->p = p;
    c->b->state = VALUE;
    llmd__field_ids(c->r, n, offset_of(c, last));
  }
}

/* ---- structure ---- */

static int open_container(cursor *c)
{
  llmd__body *b = c->b;
  int is_object = *c->p == '{';
  if (b->depth == LLMD__DEPTH)
    return fail(c, LLMD_E_DEPTH);
  b->kinds &= ~(UINT64_C(1) << b->depth);
  b->kinds |= (uint64_t)is_object << b->depth;
  b->depth++;
  b->state = is_object ? KEY_OR_END : VALUE_OR_END;
  c->p++;
  return llmd__field_open(c->r, here(c) - 1, is_object);
}

static int close_container(cursor *c, int empty)
{
  c->p++;
  int rc = llmd__field_close(c->r, here(c), empty);
  c->b->depth--;
  c->b->state = AFTER;
  return rc;
}

static int begins_value(char ch)
{
  return ch == '"' || ch == '[' || ch == '-' || ch == 't' || ch == 'f' || ch == 'n' || (ch >= '0' && ch <= '9');
}

static int value(cursor *c)
{
  llmd__body *b = c->b;
  if (b->depth && c->r->frame[b->depth] == MEAN_IDS)
    ids(c);
  if (!skip_blanks(c))
    return 0;
  if (b->depth == 0 && begins_value(*c->p))
    return fail(c, LLMD_E_TYPE);
  switch (*c->p) {
  case '"':
    begin_string(c, 0);
    return string(c);
  case '{':
  case '[':
    return open_container(c);
  case 't':
  case 'f':
  case 'n':
    return begin_word(c);
  case ']':
    return b->state == VALUE_OR_END ? close_container(c, 1) : fail(c, LLMD_E_SYNTAX);
  default:
    if (*c->p != '-' && (*c->p < '0' || *c->p > '9'))
      return fail(c, LLMD_E_SYNTAX);
    begin_number(c);
    return number(c);
  }
}

static int key(cursor *c)
{
  if (!skip_blanks(c))
    return 0;
  if (*c->p == '"') {
    begin_string(c, 1);
    return string(c);
  }
  return *c->p == '}' && c->b->state == KEY_OR_END ? close_container(c, 1) : fail(c, LLMD_E_SYNTAX);
}

static int colon(cursor *c)
{
  if (!skip_blanks(c))
    return 0;
  if (*c->p != ':')
    return fail(c, LLMD_E_SYNTAX);
  c->p++;
  c->b->state = VALUE;
  return value(c);
}

static int after(cursor *c)
{
  llmd__body *b = c->b;
  int object = in_object(b);
  if (!skip_blanks(c))
    return 0;
  if (b->depth == 0)
    return fail(c, LLMD_E_SYNTAX);
  if (*c->p == ',') {
    llmd__field_comma(c->r, here(c), object);
    b->state = object ? KEY : VALUE;
    c->p++;
    return object ? key(c) : value(c);
  }
  return *c->p == (object ? '}' : ']') ? close_container(c, 0) : fail(c, LLMD_E_SYNTAX);
}

static int step(cursor *c)
{
  switch (c->b->state) {
  case VALUE:
  case VALUE_OR_END:
    return value(c);
  case KEY:
  case KEY_OR_END:
    return key(c);
  case COLON:
    return colon(c);
  case STRING:
    return string(c);
  case NUMBER:
    return number(c);
  case WORD:
    return word(c);
  default:
    return after(c);
  }
}

int llmd__body_feed(llmd__reader *r, const char *p, size_t n)
{
  cursor c = {r, &r->body, p, p, p + n};
  while (c.p < c.end && r->error == 0)
    step(&c);
  if (r->error == 0)
    r->body.at += n;
  return r->error;
}

int llmd__body_end(llmd__reader *r)
{
  llmd__body *b = &r->body;
  if (b->depth == 0 && b->state == AFTER)
    return 0;
  return llmd__reader_fail(r, LLMD_E_TRUNCATED, b->at);
}

/* The string that is cut off, up to its last whole character. */
static int cut_string(llmd__reader *r, uint64_t *end)
{
  llmd__body *b = &r->body;
  if (b->follow || b->escape)
    *end = b->mark;
  if (b->high_end == *end) { /* half of a pair */
    *end -= 6;
    b->overhead -= 3;
  }
  uint64_t bytes = *end - b->start;
  llmd__span span = {b->start, bytes, bytes - b->overhead, b->escaped};
  return b->is_key ? 0 : llmd__field_string(r, &span, 1);
}

int llmd__body_cut(llmd__reader *r)
{
  uint64_t end = r->body.at;
  int rc = r->body.state == STRING ? cut_string(r, &end) : 0;
  while (rc == 0 && r->body.depth) {
    rc = llmd__field_cut(r, end);
    r->body.depth--;
  }
  return rc;
}

int llmd__reader_fail(llmd__reader *r, int code, uint64_t offset)
{
  if (r->error == 0) {
    r->error = code;
    r->error_offset = offset;
  }
  return r->error;
}

void llmd__reader_reset(llmd__reader *r)
{
  r->error = 0;
  r->error_offset = 0;
  r->pieces.n = 0;
  r->pieces.total = 0;
  llmd__prompt_reset(&r->prompt);
  llmd__edits_reset(&r->edits);
  memset(&r->body, 0, sizeof r->body);
  r->next = MEAN_ROOT;
  r->inner = r->role = r->items = 0;
  r->all_ids = r->list_ids = 0;
  r->limit[0] = r->limit[1] = -1;
  r->priority = 0;
  r->stream = r->attached = r->saturated = 0;
  memset(&r->usage, 0, sizeof r->usage);
  r->members = r->more_members = 0;
}
