/* A situation that was decided, and its explanation as a tree. Include after cmocka.h. */
#ifndef LLMD_TESTS_EXPLAINED_H
#define LLMD_TESTS_EXPLAINED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../golden/situation.h"
#include "base/tree.h"

typedef struct bytes {
  size_t len, stop_at; /* stop_at: refuse what would pass it; 0 = never */
  char data[1 << 20];
} bytes;

static inline int to_bytes(void *ud, const char *ptr, size_t len)
{
  bytes *b = ud;
  assert_true(len <= sizeof b->data - 1 - b->len);
  if (b->stop_at && b->len + len > b->stop_at)
    return 1;
  memcpy(b->data + b->len, ptr, len);
  b->len += len;
  b->data[b->len] = 0;
  return 0;
}

static inline const situation *situation_named(const char *name)
{
  for (unsigned i = 0; i < n_situations; i++)
    if (!strcmp(situations[i].name, name))
      return &situations[i];
  fail_msg("no situation %s", name);
  return NULL;
}

static inline void rig_make(rig *r, const char *name)
{
  const situation *s = situation_named(name);
  assert_int_equal(rig_open(r, s, LLMD_GOLDEN), 0);
  assert_int_equal(rig_decide(r, s), 0);
}

static inline llmd__tree *explain_tree(const llmd_lane *lane)
{
  static bytes text;
  llmd__tree_limits limits = {sizeof text.data, 1000000, 32};
  llmd_err err = LLMD_ERR_INIT;
  llmd__tree *tree = NULL;
  text.len = text.stop_at = 0;
  assert_int_equal(llmd_explain_json(lane, to_bytes, &text), 0);
  if (llmd__tree_parse(NULL, text.data, text.len, &limits, &tree, &err))
    fail_msg("explain is not JSON: %s at column %u", err.text, err.column);
  return tree;
}

/* "profiles.0.picked.0": a key, or the number of an element. */
static inline const llmd__node *at(const llmd__node *n, const char *path)
{
  char key[128];
  while (n && *path) {
    size_t len = strcspn(path, ".");
    snprintf(key, sizeof key, "%.*s", (int)len, path);
    path += len + (path[len] == '.');
    if (n->kind == LLMD__LIST) {
      unsigned index = 0;
      assert_int_equal(sscanf(key, "%u", &index), 1);
      n = n->first;
      while (n && index--)
        n = n->next;
    } else {
      n = llmd__map_get(n, key);
    }
  }
  return n;
}

static inline const char *text_at(const llmd__node *n, const char *path)
{
  n = at(n, path);
  return n && n->kind == LLMD__STR ? n->text.ptr : "(no text there)";
}

static inline double number_at(const llmd__node *n, const char *path)
{
  n = at(n, path);
  return n && (n->kind == LLMD__INT || n->kind == LLMD__FLOAT) ? n->real : -1e300;
}

static inline uint32_t count_at(const llmd__node *n, const char *path)
{
  n = at(n, path);
  assert_non_null(n);
  return n->count;
}

#endif
