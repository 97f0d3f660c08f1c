#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

static void *default_alloc(void *ud, void *ptr, size_t osize, size_t nsize)
{
  (void)ud;
  (void)osize;
  if (nsize == 0) {
    free(ptr);
    return NULL;
  }
  return realloc(ptr, nsize);
}

void llmd__alloc_init(llmd_allocator *out, const llmd_allocator *a)
{
  memset(out, 0, sizeof *out);
  out->size = sizeof *out;
  out->fn = a && a->fn ? a->fn : default_alloc;
  out->ud = a && a->fn ? a->ud : NULL;
}

void *llmd__calloc(const llmd_allocator *a, size_t n, size_t size)
{
  void *p;
  if (size && n > SIZE_MAX / size)
    return NULL;
  n *= size;
  if (n == 0)
    n = 1;
  p = a->fn(a->ud, NULL, 0, n);
  if (p)
    memset(p, 0, n);
  return p;
}

void *llmd__realloc(const llmd_allocator *a, void *p, size_t osize, size_t nsize)
{
  return a->fn(a->ud, p, osize, nsize);
}

void llmd__free(const llmd_allocator *a, void *p, size_t size)
{
  if (p)
    a->fn(a->ud, p, size ? size : 1, 0);
}

char *llmd__strdup(const llmd_allocator *a, const char *p, size_t len)
{
  char *s = a->fn(a->ud, NULL, 0, len + 1);
  if (!s)
    return NULL;
  if (len)
    memcpy(s, p, len);
  s[len] = 0;
  return s;
}
