/* llmd/alloc.h: the one allocator function (Lua's shape: lua_Alloc, Lua 5.4 manual §4.6). */
#ifndef LLMD_ALLOC_H
#define LLMD_ALLOC_H

#include <llmd/types.h>

LLMD_BEGIN

/* ptr == NULL: allocate nsize bytes. nsize == 0: free ptr (osize = its size), return NULL.
 * Else: resize from osize to nsize. Returns NULL when refused; ptr then stays valid.
 * Memory is aligned for any type. Called only from the thread that calls the function that needs memory. */
typedef void *(*llmd_alloc_fn)(void *ud, void *ptr, size_t osize, size_t nsize);

/* Given once per top object and copied. NULL where one is asked for means malloc/realloc/free. */
typedef struct llmd_allocator {
  uint32_t size;
  uint32_t reserved;
  llmd_alloc_fn fn;
  void *ud;
} llmd_allocator;

LLMD_END
#endif
