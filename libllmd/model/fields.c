/* What the reader does with keys and values: the meaning of each is looked up (dialect.c) and acted upon here. */
#include <string.h>

#include "model/integral.h"
#include "model/reader.h"

enum { ITEMS_NONE, ITEMS_STRINGS, ITEMS_LISTS };

/* What stands before a message's content. A role that comes again takes the place of the one before it; a stale one,
 * whose successor was no string, goes when the message ends. So a message costs one move of its segments, however
 * often. */
enum { ROLE_NONE, ROLE_SET, ROLE_STALE };

static uint8_t *frame(llmd__reader *r)
{
  return &r->frame[r->body.depth];
}

static llmd__block *block(llmd__reader *r)
{
  return &r->block[r->inner];
}

static int is_slot(uint8_t meaning)
{
  return meaning >= MEAN_TEXT && meaning <= MEAN_SOURCE;
}

static int is_carrier(uint8_t meaning)
{
  return meaning == MEAN_ROOT || meaning == MEAN_SAMPLING || meaning == MEAN_CARRIER;
}

/* ---- keys ---- */

/* A key that comes again replaces all that it stood for, whatever its new value is. */
static void forget(llmd__reader *r, uint8_t meaning)
{
  switch (meaning) {
  case MEAN_MODEL:
  case MEAN_SALT:
  case MEAN_LORA:
    llmd__copies_drop(&r->copies, (unsigned)(meaning - MEAN_MODEL + LLMD__BODY_MODEL));
    break;
  case MEAN_STREAM:
    r->stream = 0;
    break;
  case MEAN_STREAMING:
    memset(&r->usage, 0, sizeof r->usage);
    r->usage.kind = LLMD__USAGE_OTHER;
    break;
  case MEAN_USAGE:
    r->usage.stays = 0;
    break;
  case MEAN_PRIORITY:
    r->priority = 0;
    r->saturated &= (uint8_t)~4u;
    break;
  case MEAN_LIMIT:
  case MEAN_LIMIT_OLD:
    r->limit[meaning - MEAN_LIMIT] = -1;
    r->saturated &= (uint8_t)~(1u << (meaning - MEAN_LIMIT));
    break;
  case MEAN_ROLE:
    r->role = r->role == ROLE_NONE ? ROLE_NONE : ROLE_STALE;
    break;
  case MEAN_CONTENT:
    if (*frame(r) == MEAN_MESSAGE)
      llmd__prompt_cut(&r->prompt, r->message + (r->role != ROLE_NONE));
    break;
  case MEAN_INNER:
    llmd__prompt_cut(&r->prompt, block(r)->first);
    break;
  case MEAN_TYPE:
    llmd__block_type(block(r), NULL, 0);
    break;
  default:
    if (is_slot(meaning))
      llmd__block_forget(block(r), meaning);
  }
}

/* The key's text, or its beginning when it is longer than any name we know. */
static const char *key_text(const llmd__reader *r, const llmd__span *key, char *buf, size_t cap)
{
  size_t avail;
  const char *run = key->bytes ? llmd__pieces_run(&r->pieces, key->offset, &avail) : "";
  if (!key->escaped && (key->bytes == 0 || avail >= key->bytes))
    return run;
  llmd__sink out = {(unsigned char *)buf, (unsigned char *)buf + cap, 0};
  llmd__text_unescape(&r->pieces, key, &out);
  return buf;
}

static void note_member(llmd__reader *r, uint64_t at)
{
  if (r->members < LLMD__MEMBERS)
    r->member[r->members++] = at;
  else
    r->more_members = 1;
}

int llmd__field_key(llmd__reader *r, const llmd__span *key)
{
  char buf[64];
  uint8_t in = *frame(r), section;
  r->next = MEAN_SKIP;
  if (in == MEAN_SKIP)
    return 0;
  const char *text = key_text(r, key, buf, sizeof buf);
  if (in == MEAN_ROOT)
    note_member(r, key->offset - 1);
  if (is_carrier(in)) {
    int forbidden = llmd__edits_forbids(text, key->decoded < sizeof buf ? (size_t)key->decoded : sizeof buf);
    if (llmd__edits_member(&r->edits, key->offset - 1, forbidden))
      return llmd__reader_fail(r, LLMD_E_LIMIT, key->offset - 1);
    if (forbidden) {
      r->next = MEAN_FORBIDDEN;
      return 0;
    }
  }
  r->next = llmd__dialect_key(r->dialect, in, text, (size_t)key->decoded, &section);
  if (section != LLMD__NO_SECTION)
    llmd__prompt_begin(&r->prompt, section);
  forget(r, r->next);
  return 0;
}

/* ---- values ---- */

static int append(llmd__reader *r, uint8_t kind, const llmd__span *span)
{
  int rc = llmd__prompt_append(&r->prompt, kind, LLMD__MEDIA_NONE, span);
  return rc ? llmd__reader_fail(r, rc, span->offset) : 0;
}

static int append_text(llmd__reader *r, const llmd__span *span)
{
  return span->bytes ? append(r, LLMD_SEGMENT_TEXT, span) : 0;
}

/* Prompts of a list are counted, empty ones too. */
static int append_prompt(llmd__reader *r, uint8_t kind, const llmd__span *span)
{
  int rc = append(r, kind, span);
  r->prompt.prompts++;
  return rc;
}

static int set_role(llmd__reader *r, const llmd__span *span)
{
  llmd__segment s = {span->offset, span->bytes, span->decoded, 0, LLMD_SEGMENT_ROLE, LLMD__MEDIA_NONE, span->escaped};
  if (span->bytes == 0)
    return 0;
  if (r->role != ROLE_NONE)
    llmd__prompt_replace(&r->prompt, r->message, &s);
  else if (llmd__prompt_insert(&r->prompt, r->message, &s))
    return llmd__reader_fail(r, LLMD_E_LIMIT, span->offset);
  r->role = ROLE_SET;
  return 0;
}

static int set_copy(llmd__reader *r, unsigned which, const llmd__span *span)
{
  char *place = span->decoded <= r->copies.cap ? llmd__copies_place(&r->copies, which, (size_t)span->decoded) : NULL;
  if (!place)
    return llmd__reader_fail(r, LLMD_E_LIMIT, span->offset);
  llmd__text_copy(&r->pieces, span, place, (size_t)span->decoded);
  return 0;
}

static void set_type(llmd__reader *r, const llmd__span *span)
{
  char buf[16];
  size_t len = span->decoded <= sizeof buf ? (size_t)span->decoded : 0;
  if (len)
    llmd__text_copy(&r->pieces, span, buf, sizeof buf);
  llmd__block_type(block(r), buf, len);
}

/* A value that stays raw, quotes included. */
static llmd__span raw_span(uint64_t start, uint64_t end)
{
  llmd__span span = {start, end - start, end - start, 0};
  return span;
}

/* What every value of these meanings does, whatever its type. */
static int any_value(llmd__reader *r, uint8_t meaning, uint64_t start, uint64_t end)
{
  llmd__span raw = raw_span(start, end);
  switch (meaning) {
  case MEAN_MODEL:
    return llmd__edits_model(&r->edits, start, end - start) ? llmd__reader_fail(r, LLMD_E_LIMIT, start) : 0;
  case MEAN_FORBIDDEN:
    llmd__edits_removed(&r->edits, end);
    return 0;
  case MEAN_USAGE:
    r->usage.start = start;
    r->usage.end = end;
    r->usage.stays = 1;
    return 0;
  case MEAN_CALL:
    llmd__block_set(block(r), MEAN_CALL, &raw);
    return 0;
  case MEAN_TOKEN:
    return llmd__reader_fail(r, LLMD_E_TYPE, start);
  default:
    return 0;
  }
}

static int prompt_item(llmd__reader *r, const llmd__span *v, int cut)
{
  if (r->items == ITEMS_LISTS || r->prompt.current == LLMD__SECTION_IDS)
    return cut ? 0 : llmd__reader_fail(r, LLMD_E_TYPE, v->offset - 1);
  r->items = ITEMS_STRINGS;
  return append_prompt(r, LLMD_SEGMENT_TEXT, v);
}

/* A string that is part of a prompt; counts when it is cut off, too. */
static int text_value(llmd__reader *r, uint8_t meaning, const llmd__span *v, int cut)
{
  switch (meaning) {
  case MEAN_MESSAGES: /* the input of a response may be one string; messages may not */
    return r->dialect == LLMD_DIALECT_OPENAI_RESPONSES ? append_text(r, v) : 0;
  case MEAN_CONTENT:
  case MEAN_BLOCK:
  case MEAN_INNER:
  case MEAN_INNER_BLOCK:
    return append_text(r, v);
  case MEAN_TEXT:
  case MEAN_THINKING:
    llmd__block_set(block(r), meaning, v);
    return 0;
  case MEAN_PROMPT:
    return r->prompt.current == LLMD__SECTION_IDS ? 0 : append_prompt(r, LLMD_SEGMENT_TEXT, v);
  case MEAN_PROMPT_ITEM:
    return prompt_item(r, v, cut);
  default:
    return 0;
  }
}

static int whole_value(llmd__reader *r, uint8_t meaning, const llmd__span *v)
{
  switch (meaning) {
  case MEAN_MODEL:
  case MEAN_SALT:
  case MEAN_LORA: {
    int rc = any_value(r, meaning, v->offset - 1, v->offset + v->bytes + 1);
    return rc ? rc : set_copy(r, (unsigned)(meaning - MEAN_MODEL + LLMD__BODY_MODEL), v);
  }
  case MEAN_ROLE:
    return set_role(r, v);
  case MEAN_TYPE:
    set_type(r, v);
    return 0;
  case MEAN_MEDIA:
    llmd__block_set(block(r), r->media, v);
    return 0;
  case MEAN_ATTACHED:
    r->attached |= v->bytes != 0;
    return 0;
  case MEAN_CALL:
  case MEAN_FORBIDDEN:
  case MEAN_USAGE:
  case MEAN_TOKEN:
    return any_value(r, meaning, v->offset - 1, v->offset + v->bytes + 1);
  default:
    if (is_slot(meaning))
      llmd__block_set(block(r), meaning, v);
    return 0;
  }
}

int llmd__field_string(llmd__reader *r, const llmd__span *v, int cut)
{
  uint8_t meaning = r->next;
  if (meaning == MEAN_SKIP)
    return 0;
  if (cut && (meaning == MEAN_MEDIA || (meaning >= MEAN_IMAGE && meaning <= MEAN_SOURCE)))
    r->attached = 1;
  int rc = text_value(r, meaning, v, cut);
  return rc || cut ? rc : whole_value(r, meaning, v);
}

static int64_t signed_number(const llmd__reader *r, int *saturated)
{
  uint64_t most = (uint64_t)INT64_MAX + r->body.negative;
  *saturated = r->body.number > most;
  if (*saturated)
    return r->body.negative ? INT64_MIN : INT64_MAX;
  return r->body.negative ? (int64_t)(0 - r->body.number) : (int64_t)r->body.number;
}

/* 1: the number is whole, also when it is written 1e3 or 100.0 (in at most 64 bytes). */
static int whole_number(const llmd__reader *r, uint64_t start, uint64_t end, int is_integer, int64_t *out,
                        int *saturated)
{
  char buf[64];
  const char *text;
  if (is_integer) {
    *out = signed_number(r, saturated);
    return 1;
  }
  return end - start <= sizeof buf && llmd__pieces_bytes(&r->pieces, start, end - start, buf, sizeof buf, &text) == 0 &&
         llmd__integral(text, (size_t)(end - start), out, saturated);
}

static int token(llmd__reader *r, uint64_t start, uint64_t end, int is_integer)
{
  if (!is_integer)
    return llmd__reader_fail(r, LLMD_E_TYPE, start);
  if (r->body.number > (r->body.negative ? 0 : UINT32_MAX))
    return llmd__reader_fail(r, LLMD_E_RANGE, start);
  if (r->all_ids == r->max_tokens)
    return llmd__reader_fail(r, LLMD_E_LIMIT, start);
  llmd__field_ids(r, 1, end);
  return 0;
}

void llmd__field_ids(llmd__reader *r, uint32_t n, uint64_t end)
{
  r->list_ids += n;
  r->all_ids += n;
  r->list_end = end;
}

int llmd__field_number(llmd__reader *r, uint64_t start, uint64_t end, int is_integer)
{
  int64_t v;
  int saturated;
  switch (r->next) {
  case MEAN_SKIP:
    return 0;
  case MEAN_PROMPT_ITEM: /* the first id makes the list a list of ids */
    if (r->items != ITEMS_NONE)
      return llmd__reader_fail(r, LLMD_E_TYPE, start);
    *frame(r) = MEAN_IDS;
    return token(r, start, end, is_integer);
  case MEAN_TOKEN:
    return token(r, start, end, is_integer);
  case MEAN_PRIORITY:
    if (whole_number(r, start, end, is_integer, &v, &saturated)) {
      r->priority = v;
      r->saturated |= (uint8_t)(saturated << 2);
    }
    return 0;
  case MEAN_LIMIT:
  case MEAN_LIMIT_OLD:
    if (whole_number(r, start, end, is_integer, &v, &saturated) && v >= 0) {
      r->limit[r->next - MEAN_LIMIT] = v;
      r->saturated |= (uint8_t)(saturated << (r->next - MEAN_LIMIT));
    }
    return 0;
  default:
    return any_value(r, r->next, start, end);
  }
}

int llmd__field_word(llmd__reader *r, uint64_t start, uint64_t end, char first)
{
  uint8_t meaning = r->next;
  int rc = any_value(r, meaning, start, end);
  if (meaning == MEAN_STREAM)
    r->stream = first == 't';
  if (meaning == MEAN_USAGE)
    r->usage.stays = first == 't';
  return rc;
}

/* ---- containers ---- */

static int open_list(llmd__reader *r, uint8_t meaning, uint64_t offset)
{
  if (meaning == MEAN_PROMPT)
    r->items = ITEMS_NONE;
  if (meaning == MEAN_PROMPT_ITEM) {
    if (r->items == ITEMS_STRINGS)
      return llmd__reader_fail(r, LLMD_E_TYPE, offset);
    r->items = ITEMS_LISTS;
    *frame(r) = MEAN_IDS;
  }
  r->list = offset;
  r->list_ids = 0;
  return 0;
}

static void open_object(llmd__reader *r, uint8_t meaning, uint64_t offset)
{
  if (meaning == MEAN_MESSAGE) {
    r->message = llmd__prompt_here(&r->prompt);
    r->role = ROLE_NONE;
  } else if (meaning == MEAN_BLOCK || meaning == MEAN_INNER_BLOCK) {
    r->inner = meaning == MEAN_INNER_BLOCK;
    llmd__block_begin(block(r), llmd__prompt_here(&r->prompt));
  } else if (is_slot(meaning)) {
    r->media = meaning;
  } else if (meaning == MEAN_ATTACHED) {
    r->attached = 1;
  } else if (meaning == MEAN_STREAMING) {
    r->usage.kind = LLMD__USAGE_OBJECT;
    r->usage.brace = offset + 1;
  } else if (is_carrier(meaning) && !llmd__edits_open(&r->edits, offset)) {
    *frame(r) = MEAN_SKIP;
  }
}

int llmd__field_open(llmd__reader *r, uint64_t offset, int is_object)
{
  uint8_t meaning = llmd__dialect_container(r->next, is_object);
  if (r->next == MEAN_TOKEN)
    return llmd__reader_fail(r, LLMD_E_TYPE, offset);
  *frame(r) = meaning;
  r->next = llmd__shapes[meaning].element;
  if (meaning == MEAN_TOOLS || meaning == MEAN_CALL || meaning == MEAN_MODEL || meaning == MEAN_USAGE)
    r->raw = offset;
  else if (meaning == MEAN_PROMPT || meaning == MEAN_PROMPT_ITEM)
    return open_list(r, meaning, offset);
  else if (meaning != MEAN_SKIP && is_object)
    open_object(r, meaning, offset);
  return 0;
}

static int end_block(llmd__reader *r, uint64_t end)
{
  int rc = llmd__block_end(block(r), &r->pieces, &r->prompt);
  r->inner = 0;
  return rc ? llmd__reader_fail(r, rc, end) : 0;
}

static int end_message(llmd__reader *r)
{
  if (r->role == ROLE_STALE)
    llmd__prompt_remove(&r->prompt, r->message);
  r->role = ROLE_NONE;
  return 0;
}

static int end_ids(llmd__reader *r, uint64_t end)
{
  llmd__span span = {r->list, end - r->list, r->list_ids, 0};
  return append_prompt(r, LLMD_SEGMENT_IDS, &span);
}

static int end_tools(llmd__reader *r, uint64_t end)
{
  llmd__span span = raw_span(r->raw, end);
  return append(r, LLMD_SEGMENT_TOOLS, &span);
}

int llmd__field_close(llmd__reader *r, uint64_t end, int empty)
{
  switch (*frame(r)) {
  case MEAN_MESSAGE:
    return end_message(r);
  case MEAN_BLOCK:
  case MEAN_INNER_BLOCK:
    return end_block(r, end - 1);
  case MEAN_IDS:
    return end_ids(r, end);
  case MEAN_TOOLS:
    return empty ? 0 : end_tools(r, end);
  case MEAN_ROOT:
  case MEAN_SAMPLING:
  case MEAN_CARRIER:
    if (r->body.kinds >> (r->body.depth - 1) & 1)
      llmd__edits_close(&r->edits);
    return 0;
  case MEAN_STREAMING:
    r->usage.empty = empty != 0;
    return 0;
  case MEAN_MODEL:
  case MEAN_CALL:
  case MEAN_FORBIDDEN:
  case MEAN_USAGE:
    return any_value(r, *frame(r), r->raw, end);
  default:
    return 0;
  }
}

int llmd__field_cut(llmd__reader *r, uint64_t end)
{
  switch (*frame(r)) {
  case MEAN_MESSAGE:
    return end_message(r);
  case MEAN_BLOCK:
  case MEAN_INNER_BLOCK:
    return end_block(r, end);
  case MEAN_IDS:
    return r->list_ids ? end_ids(r, r->list_end) : 0;
  case MEAN_TOOLS:
    return end_tools(r, end);
  case MEAN_CALL:
    return any_value(r, MEAN_CALL, r->raw, end);
  default:
    return 0;
  }
}

void llmd__field_comma(llmd__reader *r, uint64_t offset, int in_object)
{
  if (!in_object)
    r->next = llmd__shapes[*frame(r)].element;
  else if (is_carrier(*frame(r)))
    llmd__edits_comma(&r->edits, offset);
}
