/* Prompts for tests of the exact index: a tree of documents with shared beginnings, branching at any block. */
#ifndef LLMD_TESTS_DOCUMENTS_H
#define LLMD_TESTS_DOCUMENTS_H

#include <llmd/plugin.h>

#define DOCUMENT_BLOCKS 300u

typedef struct document {
  uint32_t n;         /* blocks */
  uint32_t depth;     /* blocks it shares with the document it branched from */
  llmd_key key[DOCUMENT_BLOCKS];
  uint64_t name[DOCUMENT_BLOCKS]; /* what engines call them that share names */
} document;

/* n documents of 1..max blocks; one in `roots` starts afresh, the others branch off an earlier one. */
document *documents_make(uint32_t n, uint32_t max, uint32_t roots, uint64_t seed);
/* The name of an engine that keeps its own: another for each slot. */
uint64_t document_private_name(uint64_t name, uint64_t slot);
/* 0..n-1; n is not 0. */
uint32_t roll(uint64_t *seed, uint32_t n);

#endif
