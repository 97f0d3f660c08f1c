/* What discovery has put into the pool, and how it becomes what is wanted: endpoints that stay keep their id.
 *
 *   wanted, not held   added
 *   held, not wanted   a file's: removed.  A name's: drained, removed when it has not come back for a while: what is
 *                      known about its cache outlives one bad answer
 *   adopted            found in the pool when we came (a former agent's): stays until every source has spoken */
#ifndef LLMD_UV_DISCOVER_TABLE_H
#define LLMD_UV_DISCOVER_TABLE_H

#include <llmd/log.h>

#include "uv/discover/entry.h"

enum { LLMD__FROM_FILE = 1, LLMD__FROM_DNS, LLMD__ADOPTED };

typedef struct llmd__table {
  llmd_pool *pool;
  llmd_log_fn log;
  void *log_ud;
  llmd__entries held;
  uint64_t retry;   /* mono ns: apply again, something did not fit; 0 = no */
  uint32_t refused; /* additions, of the last time */
} llmd__table;

/* What is published becomes held, unless it is. */
int llmd__table_adopt(llmd__table *t);
/* settled: 1 when every source has spoken. Returns how many changes were made. */
uint32_t llmd__table_apply(llmd__table *t, const llmd__entries *wanted, int settled, uint64_t now);
/* Those whose time is over go. Returns how many. */
uint32_t llmd__table_tick(llmd__table *t, uint64_t now);
void llmd__table_clear(llmd__table *t);

#endif
