#include "uv/stats/explain.h"

#include "uv/share/share.h"

_Static_assert(LLMD__EXPLAIN_MOST == LLMD__RING_MOST(LLMD__EXPLAIN_SLOT_BYTES), "the longest text fits");

static llmd__ring ring_of(const void *area, size_t bytes)
{
  return (llmd__ring){(void *)(uintptr_t)area, bytes, LLMD__EXPLAIN_SLOT_BYTES};
}

int llmd__explain_put(void *area, size_t bytes, uint64_t wall, const char *text, size_t len)
{
  const llmd__ring r = ring_of(area, bytes);
  return llmd__ring_put(&r, wall, text, len);
}

int llmd__explain_visit(const void *area, size_t bytes, llmd__ring_fn fn, void *ud)
{
  const llmd__ring r = ring_of(area, bytes);
  uint64_t room[LLMD__EXPLAIN_SLOT_BYTES / 8];
  return llmd__ring_visit(&r, room, fn, ud);
}
