#include "prefix/slots.h"

#include <stddef.h>

static uint32_t distance(const llmd__slots *t, uint32_t home, uint32_t line)
{
  return line >= home ? line - home : line + t->lines - home;
}

_Atomic uint64_t *llmd__slots_take(const llmd__slots *t, uint32_t home)
{
  uint32_t line = home;
  uint32_t most = t->lines - 1 < LLMD__SLOTS_FAR ? t->lines - 1 : LLMD__SLOTS_FAR;
  for (uint32_t hop = 0; hop <= most; hop++) {
    _Atomic uint64_t *w = &t->word[(uint64_t)line * 8];
    for (uint32_t i = 0; i < LLMD__SLOTS; i++) {
      if (atomic_load_explicit(&w[i], memory_order_relaxed) != 0)
        continue;
      if (hop != 0) {
        _Atomic uint64_t *away = &t->word[(uint64_t)home * 8 + LLMD__SLOTS];
        uint64_t a = atomic_load_explicit(away, memory_order_relaxed);
        uint64_t far = a >> 32 > hop ? a >> 32 : hop;
        atomic_store_explicit(away, far << 32 | (uint32_t)((uint32_t)a + 1u), memory_order_release);
      }
      return &w[i];
    }
    line = line + 1 == t->lines ? 0 : line + 1;
  }
  return NULL;
}

void llmd__slots_drop(const llmd__slots *t, _Atomic uint64_t *where, uint32_t home)
{
  uint32_t line = (uint32_t)((uint64_t)(where - t->word) / 8);
  atomic_store_explicit(where, 0, memory_order_release);
  if (distance(t, home, line) != 0) {
    _Atomic uint64_t *away = &t->word[(uint64_t)home * 8 + LLMD__SLOTS];
    uint64_t a = atomic_load_explicit(away, memory_order_relaxed);
    uint32_t n = (uint32_t)a - 1u;
    atomic_store_explicit(away, n == 0 ? 0 : (a & UINT64_C(0xffffffff00000000)) | n, memory_order_release);
  }
}
