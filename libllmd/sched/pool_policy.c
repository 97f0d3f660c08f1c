/* Texts of policies in the region. Two buffers each: the writer fills the one that is not the current text's, then says
 * the new number by one store. A writer killed in the middle leaves the old text; a reader that is overtaken twice sees
 * that the buffer is not the one it meant, and reads again.
 *
 *   file, number ──odd──► text[1]     each text: number, length, sum, bytes
 *                 └─even─► text[0] */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "sched/policy.h"
#include "sched/record.h"
#include "sched/state.h"

#define TRIES 8
#define MOST_NAME 255u

typedef struct text {
  _Atomic uint64_t number;
  _Atomic uint64_t len, sum;
  _Atomic uint64_t word[LLMD_POLICY_BYTES / 8]; /* atomic, so that a reader who is overtaken reads no torn race */
} text;

typedef struct shelf {
  _Atomic uint64_t number; /* of the current text, 0 = none yet */
  text text[2];
  char file[MOST_NAME + 1]; /* its name, the rest 0; never changes */
} shelf;

static int set_up(void *mem, size_t bytes, void *ud)
{
  const llmd_str *file = ud;
  shelf *s = mem;
  if (!llmd__region_state_is_zero(mem))
    memset(mem, 0, bytes);
  memcpy(s->file, file->ptr, file->len);
  return 0;
}

/* Names in the region are of 63 bytes at most: the file's is hashed. Others may have the same hash. */
static void name_of(const char *file, size_t len, char out[40])
{
  snprintf(out, 40, "policy/%016llx", (unsigned long long)llmd__fnv(LLMD__FNV_BASIS, file, len));
}

static int is_of(const shelf *s, const char *file, size_t len)
{
  return len <= MOST_NAME && !memcmp(s->file, file, len) && !s->file[len];
}

static shelf *find(const llmd_pool *pool, const char *file, size_t len)
{
  const llmd__state *s;
  char name[40];
  name_of(file, len, name);
  for (uint32_t i = 0; (s = llmd__region_state_at(pool->g, i)) != NULL; i++)
    if (s->kind == LLMD__STATE_POLICY && !strcmp(s->name, name) && s->bytes >= sizeof(shelf))
      return is_of(llmd__at(pool->g, s->off), file, len) ? llmd__at(pool->g, s->off) : NULL;
  return NULL;
}

uint64_t llmd__pool_policy_number(const llmd_pool *pool, const char *file, size_t len)
{
  shelf *s = find(pool, file, len);
  return s ? atomic_load_explicit(&s->number, memory_order_acquire) : 0;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

static void load_bytes(const text *t, char *to, size_t len)
{
  for (size_t i = 0; i < len; i += 8) {
    uint64_t w = atomic_load_explicit(&t->word[i / 8], memory_order_acquire); /* before the number is looked at again */
    memcpy(to + i, &w, len - i < 8 ? len - i : 8);
  }
}

/* 1 = read whole, 0 = overtaken, or a code. */
static int read_once(const shelf *s, uint64_t number, char *buf, size_t cap, size_t *len)
{
  const text *t = &s->text[number & 1];
  uint64_t n = atomic_load_explicit(&t->len, memory_order_acquire), sum;
  if (atomic_load_explicit(&t->number, memory_order_acquire) != number || n > LLMD_POLICY_BYTES)
    return 0;
  if (n > cap) {
    *len = (size_t)n;
    return LLMD_E_LIMIT;
  }
  load_bytes(t, buf, (size_t)n);
  sum = atomic_load_explicit(&t->sum, memory_order_acquire);
  if (atomic_load_explicit(&t->number, memory_order_relaxed) != number ||
      llmd__fnv(LLMD__FNV_BASIS, buf, (size_t)n) != sum)
    return 0;
  *len = (size_t)n;
  return 1;
}

int llmd_pool_get_policy(const llmd_pool *pool, const char *file, size_t file_len, char *buf, size_t cap, size_t *len,
                         uint64_t *number)
{
  const shelf *s;
  if (!pool || !file || (!buf && cap) || !len)
    return LLMD_E_INVALID;
  s = find(pool, file, file_len);
  for (int i = 0; s && i < TRIES; i++) {
    uint64_t n = atomic_load_explicit(&s->number, memory_order_acquire);
    int rc = n ? read_once(s, n, buf, cap, len) : LLMD_E_NONE;
    if (rc < 0)
      return rc;
    if (rc && number)
      *number = n;
    if (rc)
      return 0;
  }
  return s ? LLMD_E_BUSY : LLMD_E_NONE;
}

/* Summed word by word, as it may be rewritten just now. */
static int is_whole(const shelf *s, uint64_t number)
{
  const text *t = &s->text[number & 1];
  uint64_t len, sum = LLMD__FNV_BASIS;
  len = atomic_load_explicit(&t->len, memory_order_relaxed);
  if (atomic_load_explicit(&t->number, memory_order_relaxed) != number || len > LLMD_POLICY_BYTES)
    return 0;
  for (size_t i = 0; i < len; i += 8) {
    uint64_t w = atomic_load_explicit(&t->word[i / 8], memory_order_relaxed);
    sum = llmd__fnv(sum, &w, len - i < 8 ? (size_t)(len - i) : 8);
  }
  return sum == atomic_load_explicit(&t->sum, memory_order_relaxed);
}

/* A text that is not whole is damaged when it is still the one after it was looked at. */
int llmd__pool_policy_sound(const void *mem, size_t bytes)
{
  const shelf *s = mem;
  if (bytes < sizeof *s || s->file[MOST_NAME])
    return 0;
  for (int i = 0; i < TRIES; i++) {
    uint64_t number = atomic_load_explicit(&s->number, memory_order_acquire);
    if (!number || is_whole(s, number))
      return 1;
    if (number == atomic_load_explicit(&s->number, memory_order_acquire))
      return 0;
  }
  return 1;
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

static int holds(const shelf *s, uint64_t number, const char *ptr, size_t len)
{
  const text *t = &s->text[number & 1];
  if (!number || atomic_load_explicit(&t->len, memory_order_relaxed) != len)
    return 0;
  for (size_t i = 0; i < len; i += 8) {
    uint64_t w = atomic_load_explicit(&t->word[i / 8], memory_order_relaxed);
    if (memcmp(ptr + i, &w, len - i < 8 ? len - i : 8))
      return 0;
  }
  return 1;
}

static void store(shelf *s, uint64_t number, const char *ptr, size_t len)
{
  text *t = &s->text[number & 1];
  atomic_store_explicit(&t->number, 0, memory_order_relaxed);
  atomic_store_explicit(&t->len, len, memory_order_release); /* all of these after the number has gone */
  atomic_store_explicit(&t->sum, llmd__fnv(LLMD__FNV_BASIS, ptr, len), memory_order_release);
  for (size_t i = 0; i < len; i += 8) {
    uint64_t w = 0;
    memcpy(&w, ptr + i, len - i < 8 ? len - i : 8);
    atomic_store_explicit(&t->word[i / 8], w, memory_order_release);
  }
  atomic_store_explicit(&t->number, number, memory_order_release);
  atomic_store_explicit(&s->number, number, memory_order_release);
}

int llmd_pool_put_policy(llmd_pool *pool, const char *file, size_t file_len, const char *ptr, size_t len,
                         uint64_t *number)
{
  llmd_str whose = {file, file_len};
  uint64_t off = 0, got = 0, now;
  char name[40];
  shelf *s;
  int rc;
  if (!pool || !file || !file_len || (!ptr && len))
    return LLMD_E_INVALID;
  if (!pool->writer)
    return LLMD_E_DENIED;
  if (len > LLMD_POLICY_BYTES || file_len > MOST_NAME)
    return LLMD_E_LIMIT;
  name_of(file, file_len, name);
  rc = llmd__region_state(pool->g, pool->owner, name, LLMD__STATE_POLICY, sizeof(shelf), set_up, &whose, &off, &got);
  if (rc)
    return rc;
  if (got < sizeof *s)
    return LLMD_E_MISMATCH;
  s = llmd__at(pool->g, off);
  if (!is_of(s, file, file_len))
    return LLMD_E_DUPLICATE;
  now = atomic_load_explicit(&s->number, memory_order_relaxed);
  if (!holds(s, now, ptr, len))
    store(s, ++now, ptr, len);
  if (number)
    *number = now;
  return 0;
}
