/* A page that grows while it is written. */
#ifndef LLMD_UV_ADMIN_PAGE_H
#define LLMD_UV_ADMIN_PAGE_H

#include <llmd/types.h>

#include "base/error.h"

/* Bytes of a page; more is LLMD_E_LIMIT. Twice what the statistics come to when clients do their worst. */
#define LLMD__PAGE_MOST ((size_t)128 << 20)

typedef struct llmd__page {
  char *text; /* malloc'ed, not NUL-terminated */
  size_t len, room;
  int rc; /* the first thing that went wrong; then nothing is added any more */
} llmd__page;

/* llmd_write_fn; ud is the page. */
int llmd__page_write(void *ud, const char *ptr, size_t len);
void llmd__page_print(llmd__page *page, const char *fmt, ...) LLMD__PRINTF(2, 3);
void llmd__page_free(llmd__page *page);

#endif
