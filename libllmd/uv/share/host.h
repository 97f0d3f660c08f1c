/* What lies behind the region in its file: who is attached, and the areas of other rooms.
 *
 *   file:   region ┬ padding ┬ host: head, owners, pids ┬ stats ┬ explanations ┬ records ┐ · ·  locks (no bytes there)
 *           0                4096 * n                                                 end    2^62: writer, slot 0, 1, ...
 *
 * A process has a slot: the lock on its byte, and an owner number in its entry. The number is written while the lock is
 * held and never given again, so an owner is dead as soon as its slot's lock can be had, or its slot has another owner.
 *
 *   entry 0 ──lock, take──► owner ──close──► owner | LEFT ──reap──► 0
 *                             └─ killed: the lock is free ──reap────┘
 *
 * A slot whose entry is not 0 is taken again only when there is no other, so that the dead stay in the table until a
 * writer has given back what they held. */
#ifndef LLMD_UV_SHARE_HOST_H
#define LLMD_UV_SHARE_HOST_H

#include <stdatomic.h>
#include <stddef.h>

#include "uv/share/share.h"

#define LLMD__HOST_MAGIC 0x31534f48444d4c4cu /* "LLMDHOS1" */
#define LLMD__HOST_LAYOUT 2u
#define LLMD__HOST_ENDIAN 0x01020304u
#define LLMD__HOST_SLOTS 1024u
#define LLMD__HOST_ALIGN 4096u

#define LLMD__OWNER_LEFT (UINT64_C(1) << 63) /* it closed in order; what it has in flight is to be given back */

typedef struct llmd__host {
  uint64_t magic;
  uint32_t layout, endian;
  uint64_t at, bytes; /* of this head in the file, and of everything from here on */
  uint64_t area_at[LLMD__AREAS], area_bytes[LLMD__AREAS]; /* in the file */
  _Atomic uint64_t given;      /* owner numbers: slot + LLMD__HOST_SLOTS * (this, counted up before) */
  _Atomic uint32_t writer_pid; /* for people */
  uint32_t reserved;
  _Atomic uint64_t owner[LLMD__HOST_SLOTS];
  _Atomic uint32_t pid[LLMD__HOST_SLOTS]; /* for people */
} llmd__host;

/* The layout behind a region of this many bytes; everything but magic, layout and endian is set. */
void llmd__host_lay_out(llmd__host *out, uint64_t region_bytes);
/* Is this (the whole file) a region with a host area of ours? */
int llmd__host_check(const void *mem, size_t len, const char *path, llmd__host **host, llmd_err *err);

/* Opens the file; makes it when flags say so. Never leaves a file under that name that is not whole. */
int llmd__share_file(const llmd_share_options *o, int *fd, size_t *len, llmd_err *err);

/* Locks of the open file description: they go with its last descriptor, whatever closes that. */
#define LLMD__LOCK_WRITER 0u
#define LLMD__LOCK_SLOT 1u /* + slot */
/* 1 taken (or had already), 0 somebody else has it, LLMD_E_IO. */
int llmd__lock_take(int fd, uint32_t lock);
void llmd__lock_drop(int fd, uint32_t lock);
/* 1: another open file has it. When the kernel does not say, it is taken as held: nobody alive is buried. */
int llmd__lock_held(int fd, uint32_t lock);

#endif
