/* YAML into the tree: the only file that knows libyaml. Its events are taken one by one and what our subset
 * (base/tree.h) does not have is refused as it appears, so that no bomb is ever built: aliases, deep nesting, further
 * documents.
 *
 * libyaml takes its memory from malloc, and gives it back before llmd__yaml_read returns, on every path. */
#include "base/tree_build.h"

#include <string.h>
#include <yaml.h>

/* libyaml counts characters; we count lines by '\n' and columns in bytes. Marks come in rising order but for those of
 * errors, so one pass over the text translates them all. */
struct cursor {
  const char *text;
  size_t len, byte, index, line_start;
  uint32_t line;
};

struct input {
  llmd__builder *b;
  struct cursor at;
  uint32_t documents;
};

static void step(struct cursor *c)
{
  int newline = c->text[c->byte] == '\n';
  c->byte++;
  while (c->byte < c->len && ((unsigned char)c->text[c->byte] & 0xc0) == 0x80)
    c->byte++;
  c->index++;
  if (newline) {
    c->line++;
    c->line_start = c->byte;
  }
}

static void rewind_cursor(struct cursor *c)
{
  c->byte = c->index = c->line_start = 0;
  c->line = 1;
}

static llmd__place place_now(const struct cursor *c)
{
  llmd__place p = {c->line, (uint32_t)(c->byte - c->line_start) + 1};
  return p;
}

static llmd__place place(struct input *in, const yaml_mark_t *mark)
{
  if (mark->index < in->at.index)
    rewind_cursor(&in->at);
  while (in->at.index < mark->index && in->at.byte < in->at.len)
    step(&in->at);
  return place_now(&in->at);
}

/* Of a byte, as the reader's errors give it. */
static llmd__place place_of_byte(struct input *in, size_t byte)
{
  rewind_cursor(&in->at);
  while (in->at.byte < byte && in->at.byte < in->at.len)
    step(&in->at);
  return place_now(&in->at);
}

/* ==== errors ==== */

static int syntax_error(struct input *in, const yaml_parser_t *p)
{
  const char *problem = p->problem ? p->problem : "malformed";
  llmd__place at = place(in, &p->problem_mark);
  if (!p->context)
    return llmd__build_fail(in->b, LLMD_E_SYNTAX, at, "%s", problem);
  llmd__place from = place(in, &p->context_mark);
  return llmd__build_fail(in->b, LLMD_E_SYNTAX, at, "%s, %s that began at line %u, column %u", problem, p->context,
                          (unsigned)from.line, (unsigned)from.column);
}

static int parser_error(struct input *in, const yaml_parser_t *p)
{
  switch (p->error) {
  case YAML_MEMORY_ERROR:
    return llmd__build_fail(in->b, LLMD_E_NOMEM, place_now(&in->at), "%s", llmd_strerror(LLMD_E_NOMEM));
  case YAML_READER_ERROR:
    return llmd__build_fail(in->b, LLMD_E_SYNTAX, place_of_byte(in, p->problem_offset), "%s (character 0x%02x)",
                            p->problem ? p->problem : "unreadable", (unsigned)p->problem_value);
  default:
    return syntax_error(in, p);
  }
}

static int refuse(struct input *in, const yaml_event_t *e, const char *what)
{
  return llmd__build_fail(in->b, LLMD_E_UNSUPPORTED, place(in, &e->start_mark), "%s", what);
}

static const char no_anchors[] = "anchors (&) and aliases (*) are not accepted: write the value out";
static const char no_tags[] = "tags (!) are not accepted";

/* ==== events ==== */

static int on_document(struct input *in, const yaml_event_t *e)
{
  if (in->documents++)
    return refuse(in, e, "a second document: there must be only one");
  if (e->data.document_start.version_directive ||
      e->data.document_start.tag_directives.start != e->data.document_start.tag_directives.end)
    return refuse(in, e, "directives (%) are not accepted");
  return LLMD_OK;
}

static int on_key(struct input *in, const yaml_event_t *e, llmd__place at, int plain)
{
  const char *p = (const char *)e->data.scalar.value;
  size_t n = e->data.scalar.length;
  if (plain && n == 0)
    return llmd__build_fail(in->b, LLMD_E_SYNTAX, at, "a key is missing");
  if (plain && n == 2 && memcmp(p, "<<", 2) == 0)
    return llmd__build_fail(in->b, LLMD_E_UNSUPPORTED, at, "merge keys (<<) are not accepted: write the fields out");
  return llmd__build_key(in->b, p, n, at);
}

static int on_scalar(struct input *in, const yaml_event_t *e)
{
  llmd__place at = place(in, &e->start_mark);
  int plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
  if (e->data.scalar.anchor)
    return refuse(in, e, no_anchors);
  /* The tag "!" leaves no trace in the event, but no word begins with it. */
  if (e->data.scalar.tag || (in->at.byte < in->at.len && in->at.text[in->at.byte] == '!'))
    return refuse(in, e, no_tags);
  if (llmd__build_wants_key(in->b))
    return on_key(in, e, at, plain);
  return llmd__build_scalar(in->b, (const char *)e->data.scalar.value, e->data.scalar.length, plain, at);
}

static int on_open(struct input *in, const yaml_event_t *e, uint32_t kind, const yaml_char_t *anchor,
                   const yaml_char_t *tag)
{
  llmd__place at = place(in, &e->start_mark);
  if (anchor)
    return refuse(in, e, no_anchors);
  if (tag)
    return refuse(in, e, no_tags);
  if (llmd__build_wants_key(in->b))
    return llmd__build_fail(in->b, LLMD_E_TYPE, at, "a key must be text, not %s", llmd__kind_text(kind));
  return llmd__build_open(in->b, kind, at);
}

static int on_event(struct input *in, const yaml_event_t *e)
{
  switch (e->type) {
  case YAML_DOCUMENT_START_EVENT:
    return on_document(in, e);
  case YAML_ALIAS_EVENT:
    return refuse(in, e, no_anchors);
  case YAML_SCALAR_EVENT:
    return on_scalar(in, e);
  case YAML_SEQUENCE_START_EVENT:
    return on_open(in, e, LLMD__LIST, e->data.sequence_start.anchor, e->data.sequence_start.tag);
  case YAML_MAPPING_START_EVENT:
    return on_open(in, e, LLMD__MAP, e->data.mapping_start.anchor, e->data.mapping_start.tag);
  case YAML_SEQUENCE_END_EVENT:
  case YAML_MAPPING_END_EVENT:
    llmd__build_close(in->b);
    return LLMD_OK;
  default:
    return LLMD_OK;
  }
}

int llmd__yaml_read(llmd__builder *b, const char *text, size_t len)
{
  struct input in = {b, {text, len, 0, 0, 0, 1}, 0};
  yaml_parser_t parser;
  yaml_event_t event;
  int rc = LLMD_OK, done = 0;
  if (!yaml_parser_initialize(&parser))
    return llmd__build_fail(b, LLMD_E_NOMEM, place_now(&in.at), "%s", llmd_strerror(LLMD_E_NOMEM));
  yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
  yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
  while (rc == LLMD_OK && !done) {
    if (!yaml_parser_parse(&parser, &event)) {
      rc = parser_error(&in, &parser);
      break;
    }
    rc = on_event(&in, &event);
    done = event.type == YAML_STREAM_END_EVENT;
    yaml_event_delete(&event);
  }
  yaml_parser_delete(&parser);
  return rc;
}
