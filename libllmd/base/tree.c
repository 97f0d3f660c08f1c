/* The tree itself: its memory, how it is filled, how it is searched. Getters with messages are in tree_get.c. */
#include "base/tree.h"

#include "base/scalar.h"
#include "base/tree_build.h"
#include "base/utf8.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ==== memory: a list of chunks, each as large as all before it, freed together ==== */

#define FIRST_CHUNK 4096
#define LARGEST_CHUNK (256 * 1024)

typedef struct chunk chunk;
struct chunk {
  chunk *next;
  size_t size, used; /* of the whole block, this header included */
};

struct llmd__tree {
  llmd_allocator alloc;
  chunk *chunks;
  size_t bytes;
  llmd__node *root;
};

static chunk *add_chunk(llmd__tree *t, size_t need)
{
  size_t size = t->bytes < FIRST_CHUNK ? FIRST_CHUNK : t->bytes < LARGEST_CHUNK ? t->bytes : LARGEST_CHUNK;
  if (size < sizeof(chunk) + need)
    size = sizeof(chunk) + need;
  chunk *c = llmd__realloc(&t->alloc, NULL, 0, size);
  if (!c)
    return NULL;
  c->next = t->chunks;
  c->size = size;
  c->used = sizeof(chunk);
  t->chunks = c;
  t->bytes += size;
  return c;
}

/* need <= 1 GiB + 1 by the limit on the text. align is a power of two. */
static void *take(llmd__tree *t, size_t need, size_t align)
{
  chunk *c = t->chunks;
  size_t at = c ? (c->used + align - 1) & ~(align - 1) : 0;
  if (!c || at > c->size || need > c->size - at) {
    c = add_chunk(t, need + align);
    if (!c)
      return NULL;
    at = (c->used + align - 1) & ~(align - 1);
  }
  c->used = at + need;
  return (char *)c + at;
}

static llmd__tree *new_tree(const llmd_allocator *a)
{
  llmd_allocator alloc;
  llmd__alloc_init(&alloc, a);
  llmd__tree *t = llmd__calloc(&alloc, 1, sizeof *t);
  if (!t)
    return NULL;
  t->alloc = alloc;
  t->bytes = sizeof *t;
  return t;
}

void llmd__tree_free(llmd__tree *t)
{
  if (!t)
    return;
  llmd_allocator alloc = t->alloc;
  for (chunk *c = t->chunks, *next; c; c = next) {
    next = c->next;
    llmd__free(&alloc, c, c->size);
  }
  llmd__free(&alloc, t, sizeof *t);
}

const llmd__node *llmd__tree_root(const llmd__tree *t)
{
  return t->root;
}

size_t llmd__tree_bytes(const llmd__tree *t)
{
  return t->bytes;
}

/* ==== a map's entries, found by name ==== */

static uint32_t hash_of(const char *p, size_t n)
{
  uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
  for (size_t i = 0; i < n; i++)
    h = (h ^ (unsigned char)p[i]) * UINT64_C(0x100000001b3);
  return (uint32_t)(h >> 32 ^ h);
}

/* Negative, 0, positive: where (hash, key) stands relative to the entry. */
static int order(uint32_t hash, const char *key, size_t n, const llmd__node *entry)
{
  if (hash != entry->key_hash)
    return hash < entry->key_hash ? -1 : 1;
  if (n != entry->key.len)
    return n < entry->key.len ? -1 : 1;
  return memcmp(key, entry->key.ptr, n);
}

/* The link that holds the entry of that name, or the empty one where it belongs. */
static llmd__node **find_link(llmd__node **link, uint32_t hash, const char *key, size_t n)
{
  while (*link) {
    int o = order(hash, key, n, *link);
    if (o == 0)
      break;
    link = o < 0 ? &(*link)->less : &(*link)->more;
  }
  return link;
}

const llmd__node *llmd__map_find(const llmd__node *map, const char *key, size_t n)
{
  if (!map || map->kind != LLMD__MAP)
    return NULL;
  llmd__node *top = map->top;
  return *find_link(&top, hash_of(key, n), key, n);
}

const llmd__node *llmd__map_get(const llmd__node *map, const char *key)
{
  return llmd__map_find(map, key, strlen(key));
}

/* ==== paths ==== */

/* Text that is cut at the end of the buffer but counted in full. */
struct text {
  char *buf;
  size_t cap, len;
};

static void put(struct text *t, const char *p, size_t n)
{
  if (t->len < t->cap)
    memcpy(t->buf + t->len, p, n < t->cap - t->len ? n : t->cap - t->len);
  t->len += n;
}

static int simple_key(llmd_str key)
{
  for (size_t i = 0; i < key.len; i++) {
    char c = key.ptr[i];
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-'))
      return 0;
  }
  return key.len > 0;
}

static void put_step(struct text *t, const llmd__node *node)
{
  char number[16];
  if (!node->key.ptr) {
    int n = snprintf(number, sizeof number, "[%u]", (unsigned)node->index);
    put(t, number, (size_t)n);
  } else if (simple_key(node->key)) {
    put(t, ".", node->parent->parent ? 1 : 0);
    put(t, node->key.ptr, node->key.len);
  } else {
    put(t, "[\"", 2);
    put(t, node->key.ptr, node->key.len);
    put(t, "\"]", 2);
  }
}

size_t llmd__node_path(const llmd__node *node, char *buf, size_t n)
{
  const llmd__node *steps[LLMD__TREE_MAX_DEPTH + 1];
  struct text t = {buf, n ? n - 1 : 0, 0};
  size_t depth = 0;
  for (; node && node->parent; node = node->parent)
    steps[depth++] = node;
  while (depth)
    put_step(&t, steps[--depth]);
  if (n)
    buf[t.len < t.cap ? t.len : t.cap] = 0;
  return t.len;
}

/* ==== building ==== */

int llmd__build_wants_key(const llmd__builder *b)
{
  return b->open && b->open->kind == LLMD__MAP && !b->pending;
}

int llmd__build_fail(const llmd__builder *b, int code, llmd__place at, const char *fmt, ...)
{
  char path[sizeof b->err->path], text[sizeof b->err->text];
  va_list ap;
  llmd__node_path(b->pending ? b->pending : b->open, path, sizeof path);
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  return llmd__fail(b->err, code, at.line, at.column, path, "%s", text);
}

static int no_memory(const llmd__builder *b, llmd__place at)
{
  return llmd__build_fail(b, LLMD_E_NOMEM, at, "%s", llmd_strerror(LLMD_E_NOMEM));
}

char *llmd__build_scratch(llmd__builder *b, size_t n)
{
  return take(b->tree, n, 1);
}

static int copy_text(llmd__builder *b, const char *p, size_t n, llmd__place at, llmd_str *out)
{
  if (memchr(p, 0, n))
    return llmd__build_fail(b, LLMD_E_INVALID, at, "text contains the character U+0000");
  char *copy = take(b->tree, n + 1, 1);
  if (!copy)
    return no_memory(b, at);
  memcpy(copy, p, n);
  copy[n] = 0;
  out->ptr = copy;
  out->len = n;
  return LLMD_OK;
}

/* A new last child of the open list or map, or the root. */
static int add_node(llmd__builder *b, llmd__place at, llmd__node **out)
{
  if (b->nodes >= b->limits.nodes)
    return llmd__build_fail(b, LLMD_E_LIMIT, at, "more than %u values", (unsigned)b->limits.nodes);
  llmd__node *node = take(b->tree, sizeof *node, alignof(llmd__node));
  if (!node)
    return no_memory(b, at);
  memset(node, 0, sizeof *node);
  node->parent = b->open;
  if (!b->open) {
    b->tree->root = node;
  } else {
    node->index = b->open->count++;
    *(b->open->last ? &b->open->last->next : &b->open->first) = node;
    b->open->last = node;
  }
  b->nodes++;
  *out = node;
  return LLMD_OK;
}

int llmd__build_key(llmd__builder *b, const char *p, size_t n, llmd__place at)
{
  llmd__node *node;
  uint32_t hash = hash_of(p, n);
  llmd__node **link = find_link(&b->open->top, hash, p, n);
  if (*link)
    return llmd__build_fail(b, LLMD_E_DUPLICATE, at, "key \"%.*s\" appears twice; the first is at line %u, column %u",
                            n < 64 ? (int)n : 64, p, (unsigned)(*link)->key_line, (unsigned)(*link)->key_column);
  int rc = add_node(b, at, &node);
  if (rc == LLMD_OK)
    rc = copy_text(b, p, n, at, &node->key);
  if (rc)
    return rc;
  node->key_hash = hash;
  node->key_line = at.line;
  node->key_column = at.column;
  *link = node;
  b->pending = node;
  return LLMD_OK;
}

/* The node that the next value fills: the entry whose key was read, or a new one. */
static int value_node(llmd__builder *b, llmd__place at, llmd__node **out)
{
  int rc = LLMD_OK;
  if (b->pending)
    *out = b->pending;
  else
    rc = add_node(b, at, out);
  if (rc)
    return rc;
  (*out)->line = at.line;
  (*out)->column = at.column;
  return LLMD_OK;
}

int llmd__build_open(llmd__builder *b, uint32_t kind, llmd__place at)
{
  llmd__node *node;
  if (b->depth >= b->limits.depth)
    return llmd__build_fail(b, LLMD_E_DEPTH, at, "nested deeper than %u", (unsigned)b->limits.depth);
  int rc = value_node(b, at, &node);
  if (rc)
    return rc;
  node->kind = (uint8_t)kind;
  b->open = node;
  b->pending = NULL;
  b->depth++;
  return LLMD_OK;
}

void llmd__build_close(llmd__builder *b)
{
  b->open = b->open->parent;
  b->depth--;
}

int llmd__build_scalar(llmd__builder *b, const char *p, size_t n, int plain, llmd__place at)
{
  llmd__node *node;
  llmd__scalar scalar = {LLMD__STR, LLMD__NODE_QUOTED, 0, 0};
  int rc = value_node(b, at, &node);
  if (rc == LLMD_OK)
    rc = copy_text(b, p, n, at, &node->text);
  if (rc)
    return rc;
  if (plain)
    llmd__scalar_read(p, n, &scalar);
  node->kind = scalar.kind;
  node->flags = scalar.flags;
  node->integer = scalar.integer;
  node->real = scalar.real;
  b->pending = NULL;
  return LLMD_OK;
}

/* ==== parsing: what JSON and YAML have in common ==== */

static const llmd__place start = {1, 1};

static llmd__tree_limits effective(const llmd__tree_limits *given)
{
  llmd__tree_limits l = {1 << 20, 100000, 16};
  if (given && given->bytes)
    l.bytes = given->bytes < (1u << 30) ? given->bytes : 1u << 30;
  if (given && given->nodes)
    l.nodes = given->nodes;
  if (given && given->depth)
    l.depth = given->depth < LLMD__TREE_MAX_DEPTH ? given->depth : LLMD__TREE_MAX_DEPTH;
  return l;
}

static llmd__place place_of(const char *text, size_t at)
{
  llmd__place p = start;
  for (size_t i = 0; i < at; i++) {
    p.column++;
    if (text[i] == '\n') {
      p.line++;
      p.column = 1;
    }
  }
  return p;
}

static int check_text(const llmd__builder *b, const char *text, size_t len)
{
  size_t valid;
  if (len > b->limits.bytes)
    return llmd__build_fail(b, LLMD_E_LIMIT, start, "longer than %zu bytes", b->limits.bytes);
  valid = llmd__utf8_valid(text, len);
  if (valid < len)
    return llmd__build_fail(b, LLMD_E_UTF8, place_of(text, valid), "byte 0x%02x is not UTF-8 here",
                            (unsigned)(unsigned char)text[valid]);
  return LLMD_OK;
}

typedef int reader(llmd__builder *b, const char *text, size_t len);

/* Reads into a fresh tree, which b->tree then is; NULL on failure. */
static int read_with(reader *read, llmd__builder *b, const llmd_allocator *a, const char *text, size_t len)
{
  b->open = b->pending = NULL;
  b->depth = b->nodes = 0;
  b->tree = new_tree(a);
  if (!b->tree)
    return no_memory(b, start);
  int rc = read(b, text, len);
  if (rc == LLMD_OK && !b->tree->root)
    rc = llmd__build_scalar(b, "", 0, 1, start);
  if (rc) {
    llmd__tree_free(b->tree);
    b->tree = NULL;
  }
  return rc;
}

/* Lists, maps and strings are worth trying as JSON: any other JSON text means the same as YAML. */
static int may_be_json(const char *text, size_t len)
{
  size_t i = 0;
  while (i < len && (text[i] == ' ' || text[i] == '\t' || text[i] == '\n' || text[i] == '\r'))
    i++;
  return i < len && (text[i] == '{' || text[i] == '[' || text[i] == '"');
}

int llmd__tree_parse(const llmd_allocator *a, const char *text, size_t len, const llmd__tree_limits *limits,
                     llmd__tree **out, llmd_err *err)
{
  llmd__builder b = {NULL, err, effective(limits), NULL, NULL, 0, 0};
  int rc = LLMD_E_SYNTAX;
  if (len == 0)
    text = "";
  if ((rc = check_text(&b, text, len)) != LLMD_OK)
    return rc;
  if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
    text += 3;
    len -= 3;
  }
  rc = may_be_json(text, len) ? read_with(llmd__json_read, &b, a, text, len) : LLMD_E_SYNTAX;
  if (rc == LLMD_E_SYNTAX)
    rc = read_with(llmd__yaml_read, &b, a, text, len);
  if (rc == LLMD_OK)
    *out = b.tree;
  return rc;
}
