/* llmd/types.h: the few types that every other header uses.
 *
 * Rules of the whole interface:
 *  - every struct that crosses begins with `uint32_t size` (set it to sizeof), and only ever grows at its end;
 *  - text is pointer + length, never NUL-terminated unless a comment says so;
 *  - nothing is passed or returned by value that is larger than eight bytes;
 *  - functions return 0, a negative LLMD_E_* code (error.h), or a positive count; outputs are written only on success. */
#ifndef LLMD_TYPES_H
#define LLMD_TYPES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define LLMD_BEGIN extern "C" {
#define LLMD_END }
#else
#define LLMD_BEGIN
#define LLMD_END
#endif

/* Marks what the shared library exports. Everything else is hidden. */
#ifndef LLMD_API
#if defined(__GNUC__)
#define LLMD_API __attribute__((visibility("default")))
#else
#define LLMD_API
#endif
#endif

LLMD_BEGIN

/* A borrowed run of bytes. Valid as long as the call that handed it out says. ptr may be NULL when len is 0. */
typedef struct llmd_str {
  const char *ptr;
  size_t len;
} llmd_str;

/* The two times, both given by the host. `mono` (nanoseconds, never goes back) drives all logic;
 * `wall` (nanoseconds since 1970) is written into logs and records, and is the time of day that policies see. */
typedef struct llmd_now {
  uint64_t mono;
  uint64_t wall;
} llmd_now;

/* Names one endpoint for as long as it lives: slot number in the low 32 bits, generation in the high 32.
 * 0 is never an endpoint. A removed endpoint's id stays invalid for ever, even when its slot is used again. */
typedef uint64_t llmd_endpoint_id;

/* Names one request in flight (ledger). 0 is never a ticket. */
typedef uint64_t llmd_ticket;

/* A 128-bit key: of a block, of a table. */
typedef struct llmd_key {
  uint64_t lo, hi;
} llmd_key;

/* Receives output in pieces. Return 0 to go on; any other value stops the writer, which then returns LLMD_E_STOPPED. */
typedef int (*llmd_write_fn)(void *ud, const char *ptr, size_t len);

LLMD_END
#endif
