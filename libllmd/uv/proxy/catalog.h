/* The models of the pool, for /v1/models: what its engines serve and which adapters they have loaded, each name once,
 * in OpenAI's shape of a list. Made anew at most once a second. */
#ifndef LLMD_UV_PROXY_CATALOG_H
#define LLMD_UV_PROXY_CATALOG_H

#include <llmd/alloc.h>
#include <llmd/pool.h>

#define LLMD__CATALOG_NAMES 4096u
#define LLMD__CATALOG_NAME 256u /* longer ones are left out */

typedef struct llmd__catalog {
  uint64_t made; /* mono ns, 0 = never */
  uint32_t n, max;
  size_t names_len, names_cap, text_len, text_cap;
  llmd_str *name; /* sorted by bytes; ptr is an offset into names while they are gathered */
  char *names;
  char *text;
} llmd__catalog;

/* The list as JSON, borrowed until the next call. LLMD_E_NONE: no engine has said what it serves. LLMD_E_NOMEM. */
int llmd__catalog_list(llmd__catalog *c, const llmd_pool *pool, const llmd_allocator *alloc, const llmd_now *now,
                       llmd_str *out);
/* 1: the name is in the list that was made last. */
int llmd__catalog_has(const llmd__catalog *c, llmd_str name);
/* One model as JSON. Returns its length, or LLMD_E_LIMIT. */
int64_t llmd__catalog_one(llmd_str name, uint64_t wall, char *out, size_t cap);
void llmd__catalog_free(llmd__catalog *c, const llmd_allocator *alloc);

#endif
