#include "uv/service/inline.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_write.h"
#include "base/number.h"

/* The text as it grows, and where its next byte will stand. */
typedef struct page {
  char *p;
  size_t len, room;
  uint32_t line, column;
  int rc;
} page;

static void put(page *t, const char *p, size_t n)
{
  if (!t->rc && t->len + n + 1 > t->room) {
    size_t room = 2 * (t->len + n + 1) + 1024;
    char *larger = realloc(t->p, room);
    if (!larger)
      t->rc = LLMD_E_NOMEM;
    else {
      t->p = larger;
      t->room = room;
    }
  }
  if (t->rc)
    return;
  memcpy(t->p + t->len, p, n);
  t->len += n;
  t->p[t->len] = 0;
  t->column += (uint32_t)n;
}

static int collect(void *ud, const char *p, size_t n)
{
  put(ud, p, n);
  return 0;
}

static void go_to(page *t, uint32_t line, uint32_t column)
{
  while (!t->rc && t->line < line) {
    put(t, "\n", 1);
    t->line++;
    t->column = 1;
  }
  while (!t->rc && t->line == line && t->column < column)
    put(t, " ", 1);
}

static void put_text(page *t, llmd_str s)
{
  llmd__json w;
  llmd__json_init(&w, collect, t);
  llmd__json_str(&w, s.ptr, s.len);
  (void)llmd__json_finish(&w);
}

static void put_number(page *t, const llmd__node *n)
{
  llmd__json w;
  if (n->kind == LLMD__FLOAT && !isfinite(n->real)) {
    put_text(t, n->text); /* JSON has no word for it, and no reader of ours wants it */
    return;
  }
  llmd__json_init(&w, collect, t);
  if (n->kind == LLMD__INT)
    llmd__json_int(&w, n->integer);
  else
    llmd__json_double(&w, n->real);
  (void)llmd__json_finish(&w);
}

static void put_node(page *t, const llmd__node *n)
{
  int map = n->kind == LLMD__MAP;
  int block = map && n->first && n->first->key_line == n->line && n->first->key_column == n->column;
  go_to(t, n->line, n->column - (block && n->column > 1)); /* a block has no brace of its own */
  switch (n->kind) {
  case LLMD__NULL: put(t, "null", 4); return;
  case LLMD__BOOL: put(t, n->integer ? "true" : "false", n->integer ? 4 : 5); return;
  case LLMD__STR: put_text(t, n->text); return;
  case LLMD__INT:
  case LLMD__FLOAT: put_number(t, n); return;
  default: break;
  }
  put(t, map ? "{" : "[", 1);
  for (const llmd__node *c = n->first; c; c = c->next) {
    if (map) {
      go_to(t, c->key_line, c->key_column);
      put_text(t, c->key);
      put(t, ":", 1);
    }
    put_node(t, c);
    if (c->next)
      put(t, ",", 1);
  }
  put(t, map ? "}" : "]", 1);
}

static int finish(page *t, llmd_str *out, llmd_err *err)
{
  if (t->rc) {
    free(t->p);
    return llmd__fail(err, t->rc, 0, 0, NULL, "out of memory");
  }
  *out = (llmd_str){t->p, t->len};
  return LLMD_OK;
}

int llmd__inline_map(const llmd__node *map, llmd_str *out, llmd_err *err)
{
  page t = {.line = 1, .column = 1};
  put_node(&t, map);
  return finish(&t, out, err);
}

int llmd__inline_block(const llmd__node *text, llmd_str *out, llmd_err *err)
{
  page t = {.line = 1, .column = 1};
  go_to(&t, text->line + 1, 1);
  put(&t, text->text.ptr, text->text.len);
  return finish(&t, out, err);
}

int llmd__split_address(const char *p, size_t n, llmd_str *host, uint32_t *port)
{
  const char *colon = n ? memrchr(p, ':', n) : NULL;
  uint64_t number = 0;
  llmd_str h;
  if (!colon || llmd__parse_u64(colon + 1, (size_t)(p + n - colon - 1), &number) || number > 65535)
    return LLMD_E_SYNTAX;
  h = (llmd_str){p, (size_t)(colon - p)};
  if (h.len > 2 && h.ptr[0] == '[' && h.ptr[h.len - 1] == ']')
    h = (llmd_str){h.ptr + 1, h.len - 2};
  else if (memchr(h.ptr, ':', h.len))
    return LLMD_E_SYNTAX;
  if (!h.len)
    return LLMD_E_SYNTAX;
  *host = h;
  *port = (uint32_t)number;
  return LLMD_OK;
}

static int put_address(page *t, const llmd__node *n, llmd_err *err)
{
  char digits[LLMD__NUMBER_ROOM];
  llmd_str host;
  uint32_t port;
  if (llmd__split_address(n->text.ptr, n->text.len, &host, &port) || port == 0)
    return llmd__node_fail(n, err, LLMD_E_SYNTAX, "expected \"address:port\" or \"[address]:port\"");
  go_to(t, n->line, n->column);
  put(t, "{\"address\":", 11);
  put_text(t, host);
  put(t, ",\"port\":", 8);
  put(t, digits, llmd__format_double(port, digits));
  put(t, "}", 1);
  return LLMD_OK;
}

int llmd__inline_endpoints(const llmd__node *list, llmd_str *out, llmd_err *err)
{
  page t = {.line = 1, .column = 1};
  int rc = LLMD_OK;
  put(&t, "{\"endpoints\":[", 14);
  for (const llmd__node *c = list->first; c && !rc; c = c->next) {
    if (c->kind == LLMD__STR)
      rc = put_address(&t, c, err);
    else
      put_node(&t, c);
    if (c->next)
      put(&t, ",", 1);
  }
  put(&t, "]}", 2);
  if (rc) {
    free(t.p);
    return rc;
  }
  return finish(&t, out, err);
}
