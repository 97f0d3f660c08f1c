/* The share's own struct. Only files of this room include it. */
#ifndef LLMD_UV_SHARE_INNER_H
#define LLMD_UV_SHARE_INNER_H

#include "uv/share/host.h"

struct llmd_share {
  llmd_allocator alloc;
  llmd_log_fn log;
  void *log_ud;
  int fd;
  uint32_t slot;
  uint32_t writer; /* it has the writer's lock */
  uint64_t owner;  /* 0 = no slot yet */
  size_t len;
  char *mem; /* the whole file */
  llmd__host *host;
  llmd_pool *pool;
};

#endif
