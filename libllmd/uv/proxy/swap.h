/* A worker's policies change while it decides; and its records, on which the agent tries them.
 *
 *    the loop                                                  a thread of libuv's pool
 *    IDLE ──outdated──► MAKING ─────────────────────────────► scheduler, spare
 *                       llmd_lane_take ◄────────────────────── done
 *                       SWEEPING ────────────────────────────► what the lane had goes
 *    IDLE ◄─────────────────────────────────────────────────── done */
#ifndef LLMD_UV_PROXY_SWAP_H
#define LLMD_UV_PROXY_SWAP_H

#include <llmd/loader.h>
#include <llmd/uv.h>
#include <uv.h>

enum { LLMD__SWAP_IDLE, LLMD__SWAP_MAKING, LLMD__SWAP_STALE, LLMD__SWAP_SWEEPING };

typedef struct llmd__swap {
  uv_work_t work;
  uv_sem_t made;          /* the other thread does not look at the proxy any more */
  uint32_t ready;         /* the semaphore is there */
  uint32_t state;         /* LLMD__SWAP_*; STALE: what is being made is not wanted */
  llmd_scheduler *scheduler; /* made; SWEEPING: the former one */
  llmd_spare *spare;
  int rc;
  llmd_err err;
  uint64_t wanted, failed; /* sums of the texts' numbers: that are being made, that could not be */
  uint32_t again;          /* ticks until those are tried once more; 0 = only others are */
  char text[LLMD_POLICY_BYTES];
} llmd__swap;

typedef struct llmd__recorder {
  char *room;     /* NULL = nothing is recorded */
  size_t len;
  uint32_t armed; /* the next decision is */
} llmd__recorder;

#endif
