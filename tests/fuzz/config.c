/* Fuzz target: the positioned tree, which is what every configuration passes through.
 *
 * Whatever the bytes: no crash, no leak, and
 *  - a refusal has a code, a text and a place within the document, and leaves the output alone;
 *  - every node's place lies within the document, parents and children agree, every entry is found by its key;
 *  - the tree written as JSON is read back as the same tree (by the JSON reader). */
#include "base/tree.h"

#include "../unit/tree_json.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int true_, const char *what)
{
  if (true_)
    return;
  fprintf(stderr, "config fuzz target: %s\n", what);
  abort();
}

static uint32_t count_lines(const uint8_t *data, size_t size)
{
  uint32_t lines = 1;
  for (size_t i = 0; i < size; i++)
    lines += data[i] == '\n';
  return lines;
}

static void check_values(const llmd__node *node)
{
  llmd_err err = LLMD_ERR_INIT;
  llmd_str text;
  uint8_t flag;
  int64_t n = 5;
  double d = 0;
  require(llmd__node_str(node, &text, &err) == LLMD_OK || err.text[0], "a refusal without words");
  require(llmd__node_bool(node, &flag, &err) != LLMD_OK || flag <= 1, "a boolean beyond 1");
  require(llmd__node_int(node, 5, 10, &n, &err) != LLMD_OK || (n >= 5 && n <= 10), "an integer out of range");
  require(llmd__node_double(node, &d, &err) != LLMD_OK || isfinite(d), "a number that is none");
  llmd__node_duration(node, &n, &err);
  llmd__node_quantity(node, &n, &err);
}

static void check_node(const llmd__node *node, uint32_t lines, size_t size)
{
  char path[40];
  uint32_t index = 0;
  require(node->line >= 1 && node->line <= lines, "a line outside of the document");
  require(node->column >= 1 && node->column <= size + 1, "a column outside of the document");
  require(strlen(node->text.ptr ? node->text.ptr : "") == node->text.len, "a text with a NUL inside");
  llmd__node_path(node, path, sizeof path);
  check_values(node);
  for (const llmd__node *child = node->first; child; child = child->next) {
    require(child->parent == node && child->index == index++, "family ties");
    require((child->next == NULL) == (child == node->last), "the last child");
    if (node->kind == LLMD__MAP)
      require(llmd__map_find(node, child->key.ptr, child->key.len) == child, "an entry not found by its key");
    check_node(child, lines, size);
  }
  require(index == node->count, "the number of children");
}

static int same_value(const llmd__node *a, const llmd__node *b)
{
  if (a->kind == LLMD__FLOAT && isnan(a->real))
    return b->kind == LLMD__NULL;
  if (a->kind == LLMD__FLOAT && b->kind == LLMD__INT) /* 2.0 is written as 2 */
    return a->real == b->real;
  if (a->kind != b->kind)
    return 0;
  if (a->kind == LLMD__STR)
    return a->text.len == b->text.len && memcmp(a->text.ptr, b->text.ptr, a->text.len) == 0;
  if (a->kind == LLMD__FLOAT)
    return a->real == b->real;
  return a->integer == b->integer;
}

static void check_same(const llmd__node *a, const llmd__node *b)
{
  require(same_value(a, b) && a->count == b->count, "JSON reads back as another value");
  require(a->key.len == b->key.len && (a->key.len == 0 || memcmp(a->key.ptr, b->key.ptr, a->key.len) == 0),
          "JSON reads back as another key");
  for (a = a->first, b = b->first; a && b; a = a->next, b = b->next)
    check_same(a, b);
}

static void check_round_trip(const llmd__node *root)
{
  llmd__tree_limits limits = {.bytes = 1 << 30};
  llmd__tree *again = NULL;
  char small[1];
  long n = tree_json(root, small, sizeof small);
  require(n > 0, "the writer refused a tree");
  char *json = malloc((size_t)n + 1);
  require(json != NULL, "no memory");
  tree_json(root, json, (size_t)n + 1);
  require(llmd__tree_parse(NULL, json, (size_t)n, &limits, &again, NULL) == LLMD_OK, "our JSON is not read");
  check_same(root, llmd__tree_root(again));
  llmd__tree_free(again);
  free(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  llmd__tree *tree = NULL;
  llmd_err err = LLMD_ERR_INIT;
  uint32_t lines = count_lines(data, size);
  int rc = llmd__tree_parse(NULL, (const char *)data, size, NULL, &tree, &err);
  if (rc != LLMD_OK) {
    require(rc < 0 && err.code == rc && err.text[0] && !tree, "a refusal without code and words");
    require(err.line >= 1 && err.line <= lines && err.column >= 1 && err.column <= size + 1, "a place outside");
    return 0;
  }
  require(err.code == 0, "an error left behind by a success");
  check_node(llmd__tree_root(tree), lines, size);
  check_round_trip(llmd__tree_root(tree));
  llmd__tree_free(tree);
  return 0;
}
