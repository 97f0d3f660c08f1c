#include "uv/http/bodies.h"

#include <llmd/error.h>
#include <string.h>

#include "base/alloc.h"

#define SMALLEST 4096u
#define KEPT_MOST 4u /* of each size: 4 MiB together */

void llmd__http_bodies_init(llmd__http_bodies *b, const llmd_allocator *alloc, uint64_t max)
{
  memset(b, 0, sizeof *b);
  b->alloc = alloc;
  b->max = max;
}

void llmd__http_bodies_free(llmd__http_bodies *b)
{
  for (uint32_t k = 0; k < LLMD__HTTP_BODY_CLASSES; k++) {
    while (b->kept[k] != NULL) {
      void *p = b->kept[k];
      memcpy(&b->kept[k], p, sizeof(void *));
      llmd__free(b->alloc, p, (size_t)SMALLEST << k);
    }
    b->n_kept[k] = 0;
  }
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
  if (class >= LLMD__HTTP_BODY_CLASSES || b->kept[class] == NULL)
    return llmd__realloc(b->alloc, NULL, 0, cap);
  void *p = b->kept[class];
  memcpy(&b->kept[class], p, sizeof(void *));
  b->n_kept[class]--;
  return p;
}

static void give(llmd__http_bodies *b, char *p, size_t cap)
{
  uint32_t class;
  (void)round_up(cap, &class);
  if (class >= LLMD__HTTP_BODY_CLASSES || b->n_kept[class] == KEPT_MOST) {
    llmd__free(b->alloc, p, cap);
    return;
  }
  memcpy(p, &b->kept[class], sizeof(void *));
  b->kept[class] = p;
  b->n_kept[class]++;
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
