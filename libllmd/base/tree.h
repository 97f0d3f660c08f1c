/* What a person wrote (configuration, pool file) as one tree that remembers where everything stood.
 *
 *   text ──► llmd__tree_parse ──► llmd__tree ──► getters ──► values, or llmd_err with line, column and path
 *            (JSON: json_read.c, YAML: yaml.c)
 *
 * YAML and JSON give the same tree. What is accepted is a plain subset, so that a file means one thing only:
 *  - one document of UTF-8, with or without byte order mark; anchors, aliases, tags, directives, merge keys, keys
 *    that are not text, duplicate keys and the character U+0000 are refused; so is what exceeds the limits;
 *  - unquoted words are read by YAML 1.2's core schema: null (also ~ and nothing at all), true, false (also True,
 *    TRUE), integers (decimal, 0x, 0o), numbers (also .inf and .nan); every other word, and all in quotes, is text;
 *  - where YAML 1.1, which Kubernetes' own reader follows, reads a word differently, we never guess: yes, no, on and
 *    off are text, and a getter that wants a boolean refuses them and says so; the same for 0123 (octal there), 0b1
 *    and 1_000, which are text here and refused by the getters of numbers;
 *  - a null stands for "not given": the getters by key treat it as an absent key, as Go's decoder does;
 *  - a document that is valid JSON (RFC 8259) is read as JSON, surrogate pairs included; anything else is YAML. */
#ifndef LLMD_BASE_TREE_H
#define LLMD_BASE_TREE_H

#include <llmd/error.h>

#include "base/alloc.h"
#include "base/error.h"

enum { LLMD__NULL, LLMD__BOOL, LLMD__INT, LLMD__FLOAT, LLMD__STR, LLMD__LIST, LLMD__MAP };

/* Node flags. */
#define LLMD__NODE_QUOTED 1u /* a text that stood in quotes or in a block (| or >) */
#define LLMD__NODE_BIG 2u    /* a FLOAT written as an integer beyond int64: real is nearest, text is exact */

/* Read by anybody, written by the readers only. Lives and dies with its tree. */
typedef struct llmd__node llmd__node;
struct llmd__node {
  uint8_t kind; /* LLMD__NULL ... LLMD__MAP */
  uint8_t flags;
  uint16_t reserved;
  uint32_t line, column; /* where the value begins; from 1; columns count bytes */
  uint32_t key_line, key_column;
  uint32_t index;          /* position among the parent's children, from 0 */
  uint32_t count;          /* children of a list or map */
  uint32_t key_hash;       /* of an entry of a map */
  llmd_str key;            /* of an entry of a map, NUL-terminated; else {NULL, 0} */
  llmd_str text;           /* a scalar as written (quotes and escapes resolved), NUL-terminated */
  int64_t integer;         /* INT; BOOL: 0 or 1 */
  double real;             /* INT and FLOAT; may be infinite or NaN: llmd__node_double refuses those */
  llmd__node *parent;      /* NULL at the root */
  llmd__node *first, *last; /* children, in the order written */
  llmd__node *next;        /* next sibling */
  llmd__node *top;         /* a map's entries as a search tree ordered by key_hash, then key */
  llmd__node *less, *more;
};

typedef struct llmd__tree llmd__tree;

/* 0 = the default. */
typedef struct llmd__tree_limits {
  size_t bytes;   /* of the text: 1 MiB, at most 1 GiB */
  uint32_t nodes; /* 100,000 */
  uint32_t depth; /* lists and maps inside each other: 16, at most LLMD__TREE_MAX_DEPTH */
} llmd__tree_limits;

#define LLMD__TREE_MAX_DEPTH 64

/* Reads the whole text. a, limits and err may be NULL. On success *out owns everything (the text is copied); on
 * failure *out is untouched and err says what and where. Empty text gives a tree whose root is a NULL node. */
int llmd__tree_parse(const llmd_allocator *a, const char *text, size_t len, const llmd__tree_limits *limits,
                     llmd__tree **out, llmd_err *err);

/* Frees the tree with all its nodes and texts. NULL is fine. */
void llmd__tree_free(llmd__tree *tree);

/* Never NULL. */
const llmd__node *llmd__tree_root(const llmd__tree *tree);

/* Bytes held. */
size_t llmd__tree_bytes(const llmd__tree *tree);

/* ==== looking around: children by first and next, or by name ==== */

/* The entry of that name, or NULL when there is none (or map is NULL or no map). Exact, case counts. */
const llmd__node *llmd__map_get(const llmd__node *map, const char *key);
const llmd__node *llmd__map_find(const llmd__node *map, const char *key, size_t len);

/* "schedulingProfiles[0].plugins[2].weight"; keys with other than letters, digits, _ and - as ["llm-d.ai/role"];
 * "" at the root. Always NUL-terminated when n > 0, cut to fit. Returns the length without the cut. */
size_t llmd__node_path(const llmd__node *node, char *buf, size_t n);

/* "a map", "text", ... for messages. */
const char *llmd__kind_text(uint32_t kind);

/* 1 when the node's text is this. */
int llmd__node_is(const llmd__node *node, const char *text);

/* ==== errors with a place ==== */

/* Fill err with the place and path of the node's value, or of its key, and return code. node and err may be NULL. */
int llmd__node_fail(const llmd__node *node, llmd_err *err, int code, const char *fmt, ...) LLMD__PRINTF(4, 5);
int llmd__key_fail(const llmd__node *node, llmd_err *err, int code, const char *fmt, ...) LLMD__PRINTF(4, 5);

/* ==== values: LLMD_OK, or the error with its place; *out untouched on failure ==== */

int llmd__node_str(const llmd__node *node, llmd_str *out, llmd_err *err);
int llmd__node_bool(const llmd__node *node, uint8_t *out, llmd_err *err);
/* An INT, or a FLOAT that is a whole number up to 2^53 (2.0, 1e3), within lo..hi. */
int llmd__node_int(const llmd__node *node, int64_t lo, int64_t hi, int64_t *out, llmd_err *err);
/* Finite. */
int llmd__node_double(const llmd__node *node, double *out, llmd_err *err);
/* "1m30s" as nanoseconds (quantity.h). A bare number is refused: nobody knows its unit. */
int llmd__node_duration(const llmd__node *node, int64_t *out, llmd_err *err);
/* "1G", "5000" or 5000 (quantity.h). */
int llmd__node_quantity(const llmd__node *node, int64_t *out, llmd_err *err);
/* LLMD_E_TYPE unless the node is of that kind. */
int llmd__node_expect(const llmd__node *node, uint32_t kind, llmd_err *err);

/* ==== values by key: 1 when given, 0 when absent or null (*out stays, so it can hold the default), or an error ====
 * map may be NULL or a NULL node (everything is absent); any other kind than MAP is an error. */

int llmd__get_str(const llmd__node *map, const char *key, llmd_str *out, llmd_err *err);
int llmd__get_bool(const llmd__node *map, const char *key, uint8_t *out, llmd_err *err);
int llmd__get_int(const llmd__node *map, const char *key, int64_t lo, int64_t hi, int64_t *out, llmd_err *err);
int llmd__get_double(const llmd__node *map, const char *key, double *out, llmd_err *err);
int llmd__get_duration(const llmd__node *map, const char *key, int64_t *out, llmd_err *err);
int llmd__get_quantity(const llmd__node *map, const char *key, int64_t *out, llmd_err *err);
int llmd__get_list(const llmd__node *map, const char *key, const llmd__node **out, llmd_err *err);
int llmd__get_map(const llmd__node *map, const char *key, const llmd__node **out, llmd_err *err);
/* Of any kind but NULL. */
int llmd__get_any(const llmd__node *map, const char *key, const llmd__node **out, llmd_err *err);

/* LLMD_E_MISSING, at the map's place and naming the key, when the key is absent or null; else LLMD_OK. */
int llmd__require(const llmd__node *map, const char *key, llmd_err *err);

/* LLMD_E_UNKNOWN_FIELD, at the key's place and naming it, for the first entry whose key is not among the n names.
 * NULL and NULL nodes pass; other kinds than MAP are LLMD_E_TYPE. */
int llmd__reject_unknown(const llmd__node *map, const char *const *names, size_t n, llmd_err *err);

#endif
