/* For tests: a tree as JSON, so that one line tells what was read. Infinities are ±1e999, NaN is null. */
#ifndef LLMD_TESTS_TREE_JSON_H
#define LLMD_TESTS_TREE_JSON_H

#include "base/json_write.h"
#include "base/tree.h"

#include <math.h>
#include <string.h>

static inline void tree_json_put(llmd__json *w, const llmd__node *node)
{
  if (node->kind == LLMD__NULL)
    llmd__json_null(w);
  else if (node->kind == LLMD__BOOL)
    llmd__json_bool(w, (int)node->integer);
  else if (node->kind == LLMD__INT)
    llmd__json_int(w, node->integer);
  else if (node->kind == LLMD__FLOAT && isinf(node->real))
    llmd__json_raw(w, node->real > 0 ? "1e999" : "-1e999", node->real > 0 ? 5 : 6);
  else if (node->kind == LLMD__FLOAT)
    llmd__json_double(w, node->real);
  else if (node->kind == LLMD__STR)
    llmd__json_str(w, node->text.ptr, node->text.len);
  if (node->kind < LLMD__LIST)
    return;
  if (node->kind == LLMD__LIST)
    llmd__json_begin_list(w);
  else
    llmd__json_begin_map(w);
  for (const llmd__node *child = node->first; child; child = child->next) {
    if (node->kind == LLMD__MAP)
      llmd__json_key_n(w, child->key.ptr, child->key.len);
    tree_json_put(w, child);
  }
  llmd__json_end(w);
}

/* What a writer wrote, kept with a NUL; cut at the end of buf, but counted. */
typedef struct tree_json_text {
  char *buf;
  size_t cap, len;
} tree_json_text;

static inline int tree_json_take(void *ud, const char *p, size_t n)
{
  tree_json_text *t = ud;
  for (size_t i = 0; i < n; i++, t->len++)
    if (t->len + 1 < t->cap)
      t->buf[t->len] = p[i];
  t->buf[t->len < t->cap ? t->len : t->cap - 1] = 0;
  return 0;
}

/* The length, or a negative code of the writer. */
static inline long tree_json(const llmd__node *node, char *buf, size_t cap)
{
  tree_json_text t = {buf, cap, 0};
  llmd__json w;
  llmd__json_init(&w, tree_json_take, &t);
  tree_json_put(&w, node);
  int rc = llmd__json_finish(&w);
  return rc ? rc : (long)t.len;
}

#endif
