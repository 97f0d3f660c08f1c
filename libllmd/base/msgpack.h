/* A bounded pull reader of MessagePack. No allocation, no recursion, no copies: text points into the payload.
 *
 *   init ─► next ─► next ─► ...     one value or one head (of an array, a map) a call
 *             └───► skip            or one value with all that is in it
 *
 * Nothing that is announced is believed: a length goes no further than the bytes that are left, and as every value
 * takes one byte or more, neither does a count. On an error `at` stands at the fault. Any thread. */
#ifndef LLMD_BASE_MSGPACK_H
#define LLMD_BASE_MSGPACK_H

#include <llmd/types.h>

#define LLMD__MSGPACK_NIL 1u
#define LLMD__MSGPACK_BOOL 2u  /* u: 0, 1 */
#define LLMD__MSGPACK_UINT 3u  /* u */
#define LLMD__MSGPACK_INT 4u   /* below zero; u: two's complement */
#define LLMD__MSGPACK_FLOAT 5u /* f */
#define LLMD__MSGPACK_STR 6u   /* text; not checked for UTF-8 */
#define LLMD__MSGPACK_BIN 7u   /* text */
#define LLMD__MSGPACK_EXT 8u   /* text; u: its type's byte */
#define LLMD__MSGPACK_ARRAY 9u /* n values follow */
#define LLMD__MSGPACK_MAP 10u  /* n keys and n values follow, in turn */

#define LLMD__MSGPACK_DEPTH_MAX 64u

typedef struct llmd__msgpack {
  const uint8_t *begin, *at, *end;
} llmd__msgpack;

typedef struct llmd__msgpack_value {
  uint32_t kind; /* LLMD__MSGPACK_* */
  uint32_t n;
  uint64_t u;
  double f;
  llmd_str text;
} llmd__msgpack_value;

void llmd__msgpack_init(llmd__msgpack *r, const void *ptr, size_t len);

/* The next value or head. LLMD_E_TRUNCATED: it is not all there. LLMD_E_SYNTAX: the one byte that means nothing. */
int llmd__msgpack_next(llmd__msgpack *r, llmd__msgpack_value *out);

/* Passes over one value, whatever is in it. Time goes with its bytes; depth needs no memory. */
int llmd__msgpack_skip(llmd__msgpack *r);
/* Runs of integers that were met on the way, so that nobody has to read them twice. The caller sets value and room. */
#define LLMD__MSGPACK_RUNS 64u
typedef struct llmd__msgpack_runs {
  uint32_t *value; /* [room] all runs, one behind the other */
  uint32_t room, used;
  uint32_t n;
  struct {
    const uint8_t *at, *end;
    uint32_t first, n;
  } run[LLMD__MSGPACK_RUNS];
} llmd__msgpack_runs;

/* The same; keeps the runs of integers in arrays as long as there is room for them. */
int llmd__msgpack_skip_keeping(llmd__msgpack *r, llmd__msgpack_runs *keep);
/* The n integers in front of the reader, when they were kept: it moves behind them. Else NULL. */
const uint32_t *llmd__msgpack_kept(llmd__msgpack *r, const llmd__msgpack_runs *keep, uint32_t n);

/* The same as skip, but LLMD_E_DEPTH when arrays and maps lie more than `depth` deep in each other (at most
 * LLMD__MSGPACK_DEPTH_MAX; 0: the value may be no array and no map). */
int llmd__msgpack_skip_within(llmd__msgpack *r, uint32_t depth);

/* Reads integers in 0..2^32-1 in their short forms (up to five bytes), at most n of them, into out[] (NULL = passes
 * over them). Stops in front of anything else; returns how many there were. This is what token ids are: fast. */
uint32_t llmd__msgpack_run(llmd__msgpack *r, uint32_t *out, uint32_t n);

/* Where the reader stands, in bytes from the start. */
static inline size_t llmd__msgpack_offset(const llmd__msgpack *r)
{
  return (size_t)(r->at - r->begin);
}

#endif
