/* Runs of small unsigned integers: a prompt's token ids, the bulk of what engines publish.
 *
 * Ids of one, two, three and five bytes come in no order: a branch on the form is a coin toss. So the lengths are found
 * for a whole window at once (a loop that compilers make vectors of), as if a value began at every byte, and then the
 * walk goes from value to value without a branch on what they are.
 *
 *   bytes    ce 00 01 f4 00 cd 23 a5 07 ...
 *   length    5  1  1  .  1  3  1  .  1        . = nothing that begins so belongs to a run
 *             ^              ^        ^ */
#include "base/msgpack.h"

#include <string.h>

#define WINDOW 128
#define BEHIND 4 /* bytes behind a window that its last value may have */
#define BEFORE 3 /* values are loaded as the four bytes that they end with */

static uint32_t load_big(const uint8_t *p)
{
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Length of the value that begins with this byte; 0: none of a run. */
static uint8_t length_of(uint8_t head)
{
  uint8_t n = head < 0x80 ? 1 : 0;
  n = head == 0xcc ? 2 : n;
  n = head == 0xcd ? 3 : n;
  return head == 0xce ? 5 : n;
}

/* Where a walk ended: how far its values reach, and how long the last one is. */
typedef struct step {
  size_t bytes, last;
} step;

/* The values that begin in the window at p, at most n. It ends before WINDOW when something else stands there (or there
 * were n). */
static uint32_t walk(const uint8_t *p, uint32_t *out, uint32_t n, step *end)
{
  static const uint32_t mask[6] = {0, 0xff, 0xff, 0xffff, 0, 0xffffffff}; /* by length: what of the four bytes counts */
  uint8_t length[WINDOW];
  uint32_t got = 0;
  size_t at = 0, len = 0, last = 0;
  for (int i = 0; i < WINDOW; i++)
    length[i] = length_of(p[i]);
  if (out)
    for (; at < WINDOW && got < n && (len = length[at]) > 0; at += len, last = len)
      out[got++] = load_big(p + at + len - 4) & mask[len];
  else
    for (; at < WINDOW && got < n && (len = length[at]) > 0; at += len, last = len)
      got++;
  end->bytes = at;
  end->last = last;
  return got;
}

/* A window that does not fit into the payload is walked in a copy. */
static uint32_t walk_rest(const llmd__msgpack *r, uint32_t *out, uint32_t n, step *end)
{
  uint8_t copy[BEFORE + WINDOW + BEHIND];
  const size_t left = (size_t)(r->end - r->at), here = left < WINDOW + BEHIND ? left : WINDOW + BEHIND;
  uint32_t got;
  memset(copy, 0xc1, sizeof copy); /* begins nothing */
  memcpy(copy + BEFORE, r->at, here);
  got = walk(copy + BEFORE, out, n, end);
  if (end->bytes > left) { /* the last one is cut off */
    end->bytes -= end->last;
    got--;
  }
  return got;
}

uint32_t llmd__msgpack_run(llmd__msgpack *r, uint32_t *out, uint32_t n)
{
  step end = {WINDOW, 0};
  uint32_t got = 0;
  if (r->at == r->end || length_of(*r->at) == 0)
    return 0;
  while (got < n && end.bytes >= WINDOW) {
    const int fits = r->at - r->begin >= BEFORE && r->end - r->at >= WINDOW + BEHIND;
    got += (fits ? walk(r->at, out ? out + got : NULL, n - got, &end)
                 : walk_rest(r, out ? out + got : NULL, n - got, &end));
    r->at += end.bytes;
  }
  return got;
}
