/* How the readers (json_read.c, yaml.c) fill a tree: events in, limits and duplicate keys checked in one place. */
#ifndef LLMD_BASE_TREE_BUILD_H
#define LLMD_BASE_TREE_BUILD_H

#include "base/tree.h"

typedef struct llmd__place {
  uint32_t line, column;
} llmd__place;

typedef struct llmd__builder {
  llmd__tree *tree;
  llmd_err *err;
  llmd__tree_limits limits; /* no zeros left */
  llmd__node *open;         /* the innermost list or map that is not closed */
  llmd__node *pending;      /* the entry of `open` whose key was read and whose value was not */
  uint32_t depth, nodes;
} llmd__builder;

/* All return LLMD_OK or an error with err filled; after an error the builder is only good for being thrown away.
 * Texts are copied. A reader calls key and value in turns inside a map, and keeps to one value at the root. */
int llmd__build_key(llmd__builder *b, const char *p, size_t n, llmd__place at);
int llmd__build_open(llmd__builder *b, uint32_t kind, llmd__place at);
void llmd__build_close(llmd__builder *b);
/* plain: neither quoted nor a block, so that the word may be a number, boolean or null. */
int llmd__build_scalar(llmd__builder *b, const char *p, size_t n, int plain, llmd__place at);

/* 1 when the next event inside `open` must be a key. */
int llmd__build_wants_key(const llmd__builder *b);

/* Fills err with the place given and the path of what is being built. */
int llmd__build_fail(const llmd__builder *b, int code, llmd__place at, const char *fmt, ...) LLMD__PRINTF(4, 5);

/* n bytes that live as long as the tree, or NULL. */
char *llmd__build_scratch(llmd__builder *b, size_t n);

/* The two readers. text is valid UTF-8 without byte order mark. JSON answers LLMD_E_SYNTAX, with err untouched, when
 * the text is no JSON at all: it may still be YAML. */
int llmd__json_read(llmd__builder *b, const char *text, size_t len);
int llmd__yaml_read(llmd__builder *b, const char *text, size_t len);

#endif
