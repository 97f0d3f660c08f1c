/* Memory for request bodies: bounded in all, sizes in powers of two, blocks kept for the next requests. What no request
 * has needed for a while goes back. */
#ifndef LLMD_UV_HTTP_BODIES_H
#define LLMD_UV_HTTP_BODIES_H

#include <llmd/alloc.h>

#define LLMD__HTTP_BODY_CLASSES 8 /* 4 KiB to 512 KiB are kept */

typedef struct llmd__http_bodies {
  const llmd_allocator *alloc;
  uint64_t held, max; /* bytes handed out, and how many may be */
  void *kept[LLMD__HTTP_BODY_CLASSES];
  size_t kept_bytes, kept_least; /* now, and the least of it since the last trim */
} llmd__http_bodies;

typedef struct llmd__http_body {
  char *ptr;
  size_t len, cap;
} llmd__http_body;

void llmd__http_bodies_init(llmd__http_bodies *b, const llmd_allocator *alloc, uint64_t max);
void llmd__http_bodies_free(llmd__http_bodies *b);
/* Room for `need` bytes in all, those there stay. LLMD_E_LIMIT: too much is held; LLMD_E_NOMEM. */
int llmd__http_body_reserve(llmd__http_bodies *b, llmd__http_body *body, size_t need);
/* What was kept all the time since the last call is not needed: it goes. */
void llmd__http_bodies_trim(llmd__http_bodies *b);
/* Gives the memory back. */
void llmd__http_body_drop(llmd__http_bodies *b, llmd__http_body *body);

#endif
