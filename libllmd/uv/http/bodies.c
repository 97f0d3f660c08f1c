#include "uv/http/bodies.h"

#include <llmd/error.h>
#include <string.h>

#include "base/alloc.h"

#define SMALLEST 4096u
#define KEPT_MOST ((size_t)32 << 20) /* of all sizes: pages that the system would have to clear each time */

void llmd__http_bodies_init(llmd__http_bodies *b, const llmd_allocator *alloc, uint64_t max)
{
  memset(b, 0, sizeof *b);
  b->alloc = alloc;
  b->max = max;
}

static void *take_kept(llmd__http_bodies *b, uint32_t class)
{
  void *p = b->kept[class];
  if (p == NULL)
    return NULL;
  memcpy(&b->kept[class], p, sizeof(void *));
  b->kept_bytes -= (size_t)SMALLEST << class;
  if (b->kept_bytes < b->kept_least)
    b->kept_least = b->kept_bytes;
  return p;
}

/* Frees kept blocks, large ones first, until no more than `most` bytes are left. */
static void shrink(llmd__http_bodies *b, size_t most)
{
  for (uint32_t k = LLMD__HTTP_BODY_CLASSES; k-- > 0;) {
    size_t cap = (size_t)SMALLEST << k;
    while (b->kept_bytes >= most + cap && b->kept[k] != NULL)
      llmd__free(b->alloc, take_kept(b, k), cap);
  }
}

void llmd__http_bodies_free(llmd__http_bodies *b)
{
  shrink(b, 0);
}

void llmd__http_bodies_trim(llmd__http_bodies *b)
{
  shrink(b, b->kept_bytes - b->kept_least);
  b->kept_least = b->kept_bytes;
}

/* The power of two that holds size. *class: where such blocks are kept, beyond the table if they are too large. */
static size_t round_up(size_t size, uint32_t *class)
{
  size_t cap = SMALLEST;
  *class = 0;
  while (cap < size && cap <= SIZE_MAX / 4) {
    cap *= 2;
    ++*class;
  }
  return cap;
}

static char *take(llmd__http_bodies *b, uint32_t class, size_t cap)
{
  void *p = class < LLMD__HTTP_BODY_CLASSES ? take_kept(b, class) : NULL;
  return p != NULL ? p : llmd__realloc(b->alloc, NULL, 0, cap);
}

static void give(llmd__http_bodies *b, char *p, size_t cap)
{
  uint32_t class;
  (void)round_up(cap, &class);
  if (class >= LLMD__HTTP_BODY_CLASSES || cap > KEPT_MOST - b->kept_bytes) {
    llmd__free(b->alloc, p, cap);
    return;
  }
  memcpy(p, &b->kept[class], sizeof(void *));
  b->kept[class] = p;
  b->kept_bytes += cap;
}

int llmd__http_body_reserve(llmd__http_bodies *b, llmd__http_body *body, size_t need)
{
  uint32_t class;
  if (need <= body->cap)
    return 0;
  size_t cap = round_up(need, &class);
  if (cap < need || b->held - body->cap > b->max || cap > b->max - (b->held - body->cap))
    return LLMD_E_LIMIT;
  char *p = take(b, class, cap);
  if (p == NULL)
    return LLMD_E_NOMEM;
  if (body->ptr != NULL) {
    memcpy(p, body->ptr, body->len);
    give(b, body->ptr, body->cap);
  }
  b->held += cap - body->cap;
  body->ptr = p;
  body->cap = cap;
  return 0;
}

void llmd__http_body_drop(llmd__http_bodies *b, llmd__http_body *body)
{
  if (body->ptr != NULL)
    give(b, body->ptr, body->cap);
  b->held -= body->cap;
  *body = (llmd__http_body){ NULL, 0, 0 };
}
