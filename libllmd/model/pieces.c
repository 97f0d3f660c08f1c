#include "model/pieces.h"

#include <string.h>

#include <llmd/error.h>

int llmd__pieces_add(llmd__pieces *ps, const char *ptr, size_t len)
{
  llmd__piece *last = ps->n ? &ps->at[ps->n - 1] : NULL;
  if (len == 0)
    return 0;
  if (last && (uintptr_t)last->ptr + last->len == (uintptr_t)ptr) {
    last->len += len;
  } else {
    if (ps->n == ps->max)
      return LLMD_E_LIMIT;
    ps->at[ps->n].offset = ps->total;
    ps->at[ps->n].len = len;
    ps->at[ps->n].ptr = ptr;
    ps->n++;
  }
  ps->total += len;
  return 0;
}

/* The last piece with offset <= the one wanted. Most questions are about the piece that has just come. */
static const llmd__piece *holder(const llmd__pieces *ps, uint64_t offset)
{
  uint32_t low = 0, high = ps->n;
  if (offset >= ps->at[ps->n - 1].offset)
    return &ps->at[ps->n - 1];
  while (high - low > 1) {
    uint32_t mid = low + (high - low) / 2;
    if (ps->at[mid].offset <= offset)
      low = mid;
    else
      high = mid;
  }
  return &ps->at[low];
}

const char *llmd__pieces_run(const llmd__pieces *ps, uint64_t offset, size_t *avail)
{
  const llmd__piece *p = holder(ps, offset);
  uint64_t skip = offset - p->offset;
  *avail = (size_t)(p->len - skip);
  return p->ptr + skip;
}

int llmd__pieces_bytes(const llmd__pieces *ps, uint64_t offset, uint64_t len, char *buf, size_t cap, const char **out)
{
  size_t avail;
  if (offset > ps->total || len > ps->total - offset)
    return LLMD_E_RANGE;
  if (len == 0) {
    *out = "";
    return 0;
  }
  const char *run = llmd__pieces_run(ps, offset, &avail);
  if (avail >= len) {
    *out = run;
    return 0;
  }
  if (len > cap)
    return LLMD_E_LIMIT;
  for (size_t done = 0; done < len;) {
    run = llmd__pieces_run(ps, offset + done, &avail);
    size_t take = avail < len - done ? avail : (size_t)(len - done);
    memcpy(buf + done, run, take);
    done += take;
  }
  *out = buf;
  return 0;
}
