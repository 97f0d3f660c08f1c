/* Allocation through the caller's function, with overflow checks. Every struct that owns memory keeps its llmd_allocator. */
#ifndef LLMD_BASE_ALLOC_H
#define LLMD_BASE_ALLOC_H

#include <llmd/alloc.h>

/* Copies *a (or the malloc default when NULL or without fn) into *out. */
void llmd__alloc_init(llmd_allocator *out, const llmd_allocator *a);

/* Zeroed memory of n * size bytes, or NULL. */
void *llmd__calloc(const llmd_allocator *a, size_t n, size_t size);
/* Resize; on refusal NULL and the old block stays. */
void *llmd__realloc(const llmd_allocator *a, void *p, size_t osize, size_t nsize);
/* p may be NULL. size is what was asked for. */
void llmd__free(const llmd_allocator *a, void *p, size_t size);
/* A copy of len bytes plus a NUL (allocated size len + 1), or NULL. */
char *llmd__strdup(const llmd_allocator *a, const char *p, size_t len);

#endif
