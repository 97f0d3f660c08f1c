#include "prefix/exact.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "prefix/block.h"

#define MOST_ROWS 16384u
#define MOST_HOLDERS 32768u

/* ---- layout ------------------------------------------------------------------------------------------------------ */

static uint64_t up64(uint64_t n)
{
  return (n + 63u) & ~UINT64_C(63);
}

static uint32_t between(uint64_t n, uint32_t least, uint32_t most)
{
  return n < least ? least : n > most ? most : (uint32_t)n;
}

/* Where everything is, with so many lines; returns the bytes of all. Six tenths of a line of names per line: enough for
 * engines with names of their own; one line of heads for sixteen: a run takes four lines at least. */
static uint64_t lay_out(llmd__x_head *h, uint64_t lines)
{
  uint64_t at = up64(sizeof *h);
  uint32_t holders = 2u * h->rows + 64u;
  h->lines = (uint32_t)lines;
  h->holders = holders > MOST_HOLDERS ? MOST_HOLDERS : (holders + 63u) & ~63u;
  h->head_lines = (uint32_t)(lines / 16u + 2u);
  h->name_lines = (uint32_t)(lines * 3u / 5u + 2u);
  h->buckets = (uint32_t)(lines / 16u + 1u);
  h->promises = between(lines / 32u, 16, 32768);
  h->adapters = between(lines / 16u, 16, 8192);
  h->row_off = at;
  h->who_off = at = up64(at + (uint64_t)h->rows * sizeof(llmd__x_row));
  h->state_off = at = up64(at + (uint64_t)h->holders * 8u);
  h->live_off = at = up64(at + h->holders);
  h->owned_off = at = up64(at + h->holders / 8u);
  h->book_off = at = up64(at + (uint64_t)h->holders * 4u);
  h->adapter_off = at = up64(at + (uint64_t)h->rows * LLMD__X_BOOK);
  h->promise_off = at = up64(at + (uint64_t)h->adapters * sizeof(llmd_key));
  h->bucket_off = at = up64(at + (uint64_t)h->promises * sizeof(llmd__promise));
  h->mark_off = at = up64(at + (uint64_t)h->buckets * 4u);
  h->hit_off = at = up64(at + (lines + 63u) / 64u * 8u);
  h->head_off = at = up64(at + lines);
  h->name_off = at = up64(at + (uint64_t)h->head_lines * 64u);
  h->line_off = at = up64(at + (uint64_t)h->name_lines * 64u);
  return at + lines * 64u;
}

/* As many lines as the bytes allow; 0 = too few. */
static uint64_t plan(llmd__x_head *h, const llmd_index_options *options)
{
  llmd_index_options o;
  uint64_t bytes, lines;
  memset(&o, 0, sizeof o);
  if (options != NULL)
    memcpy(&o, options, options->size < sizeof o ? options->size : sizeof o);
  h->rows = o.rows ? o.rows : 1024u;
  bytes = o.bytes ? o.bytes : 64u << 20;
  if (h->rows > MOST_ROWS)
    return 0;
  lines = bytes / 64u < LLMD__X_MAX_LINES - LLMD__X_RINGS ? bytes / 64u : LLMD__X_MAX_LINES - LLMD__X_RINGS - 1u;
  while (lines >= 256 && lay_out(h, lines) > bytes)
    lines -= lines / 64u + 1u;
  while (lines >= 256 && lay_out(h, lines + lines / 512u) <= bytes && lines / 512u != 0)
    lines += lines / 512u;
  return lines < 256 ? 0 : lay_out(h, lines);
}

size_t llmd_index_size(const llmd_index_options *options)
{
  llmd__x_head h;
  return (size_t)plan(&h, options);
}

static uint64_t sum_of(const llmd__x_head *h)
{
  static const uint8_t zero[LLMD_SECRET_BYTES];
  llmd_key k;
  llmd__hash_bytes(zero, &h->bytes, offsetof(llmd__x_head, sum) - offsetof(llmd__x_head, bytes), &k);
  return k.lo;
}

/* Zero, but what is zero already is not written: a fresh mapping stays untouched. */
static void clear(void *mem, uint64_t from, uint64_t to)
{
  static const uint8_t zero[4096];
  char *p = mem;
  for (uint64_t at = from, n; at < to; at += n) {
    n = to - at < sizeof zero ? to - at : sizeof zero;
    if (memcmp(p + at, zero, (size_t)n) != 0)
      memset(p + at, 0, (size_t)n);
  }
}

static void make_secret(uint8_t *secret, const llmd_index_options *o)
{
  uint64_t state = o ? o->seed : 0;
  if (o != NULL && o->size > offsetof(llmd_index_options, secret) && o->secret != NULL) {
    memcpy(secret, o->secret, LLMD_SECRET_BYTES);
    return;
  }
  for (uint32_t i = 0; i < LLMD_SECRET_BYTES; i += 8) {
    uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    memcpy(secret + i, &z, 8);
  }
}

int llmd_index_format(void *mem, size_t len, const llmd_index_options *options)
{
  llmd__x_head plan_head, *h = mem;
  uint64_t bytes;
  memset(&plan_head, 0, sizeof plan_head);
  bytes = plan(&plan_head, options);
  if (bytes == 0 || mem == NULL || len < bytes || (uintptr_t)mem % 64u != 0)
    return LLMD_E_INVALID;
  clear(mem, 0, plan_head.line_off);
  *h = plan_head;
  h->magic = LLMD__X_MAGIC;
  h->layout = LLMD__X_LAYOUT;
  h->endian = 0x01020304u;
  h->bytes = bytes;
  h->sum = sum_of(h);
  make_secret(h->secret, options);
  memcpy(&h->name_salt, h->secret + 64, sizeof h->name_salt);
  h->fresh_holder = 1;
  h->epoch_left = h->lines / 48u + 1u;
  for (uint32_t i = 0; i < LLMD__X_RINGS; i++)
    h->ring[i].older = h->ring[i].newer = i;
  LLMD__PUT(&h->epoch, 1u);
  return 0;
}

/* ---- handles ----------------------------------------------------------------------------------------------------- */

/* Is every count and every place in the head what so many rows and lines come to? */
static int adds_up(const llmd__x_head *h)
{
  llmd__x_head again;
  const size_t from = offsetof(llmd__x_head, rows), to = offsetof(llmd__x_head, sum);
  memset(&again, 0, sizeof again);
  again.rows = h->rows;
  return lay_out(&again, h->lines) == h->bytes && memcmp((char *)&again + from, (const char *)h + from, to - from) == 0;
}

static int check(const llmd__x_head *h, size_t len, llmd_err *err)
{
  if (len < sizeof *h || h->magic != LLMD__X_MAGIC)
    return llmd__fail(err, LLMD_E_MISMATCH, 0, 0, NULL, "not a prefix index");
  if (h->layout != LLMD__X_LAYOUT || h->endian != 0x01020304u)
    return llmd__fail(err, LLMD_E_MISMATCH, 0, 0, NULL, "prefix index of layout %u, this library has %u", h->layout,
                     LLMD__X_LAYOUT);
  if (h->sum != sum_of(h) || h->bytes > len || h->rows == 0 || h->rows > MOST_ROWS || h->lines < 256 ||
      h->lines >= LLMD__X_MAX_LINES - LLMD__X_RINGS)
    return llmd__fail(err, LLMD_E_MISMATCH, 0, 0, NULL, "damaged or cut prefix index");
  if (!adds_up(h))
    return llmd__fail(err, LLMD_E_MISMATCH, 0, 0, NULL, "prefix index whose parts do not add up");
  return 0;
}

static void view(llmd_index *x, void *mem)
{
  char *p = mem;
  llmd__x_head *h = mem;
  x->head = h;
  x->row = (llmd__x_row *)(void *)(p + h->row_off);
  x->who = (_Atomic uint64_t *)(void *)(p + h->who_off);
  x->state = (_Atomic uint8_t *)(void *)(p + h->state_off);
  x->live = (_Atomic uint64_t *)(void *)(p + h->live_off);
  x->owned = (uint32_t *)(void *)(p + h->owned_off);
  x->book = (uint8_t *)(p + h->book_off);
  x->adapter = (llmd_key *)(void *)(p + h->adapter_off);
  x->promise = (llmd__promise *)(void *)(p + h->promise_off);
  x->bucket = (uint32_t *)(void *)(p + h->bucket_off);
  x->mark = (uint64_t *)(void *)(p + h->mark_off);
  x->hit = (_Atomic uint8_t *)(void *)(p + h->hit_off);
  x->heads.word = (_Atomic uint64_t *)(void *)(p + h->head_off);
  x->heads.lines = h->head_lines;
  x->names.word = (_Atomic uint64_t *)(void *)(p + h->name_off);
  x->names.lines = h->name_lines;
  x->line = (llmd__line64 *)(void *)(p + h->line_off);
  x->lines = h->lines;
  x->holders = h->holders;
  x->set_most = llmd__set_need(x, h->holders);
  x->name_salt = h->name_salt;
}

int llmd_index_open(void *mem, size_t len, const llmd_allocator *alloc, llmd_index **out, llmd_err *err)
{
  llmd_allocator a;
  llmd_index *x;
  int rc;
  llmd__alloc_init(&a, alloc);
  if (mem == NULL || (uintptr_t)mem % 64u != 0)
    return llmd__fail(err, LLMD_E_INVALID, 0, 0, NULL, "a prefix index lies at a multiple of 64");
  if ((rc = check(mem, len, err)) < 0)
    return rc;
  if ((x = llmd__calloc(&a, 1, sizeof *x)) == NULL)
    return llmd__fail(err, LLMD_E_NOMEM, 0, 0, NULL, "out of memory");
  x->alloc = a;
  view(x, mem);
  x->list = llmd__calloc(&a, 2u * ((size_t)x->holders + 2u), sizeof *x->list);
  if (x->list == NULL) {
    llmd__free(&a, x, sizeof *x);
    return llmd__fail(err, LLMD_E_NOMEM, 0, 0, NULL, "out of memory");
  }
  x->have = x->list + x->holders + 2u;
  *out = x;
  return 0;
}

void llmd_index_close(llmd_index *x)
{
  llmd_allocator a;
  if (x == NULL)
    return;
  a = x->alloc;
  llmd__free(&a, x->list, 2u * ((size_t)x->holders + 2u) * sizeof *x->list);
  llmd__free(&a, x, sizeof *x);
}

const uint8_t *llmd_index_secret(const llmd_index *x)
{
  return x->head->secret;
}

void *llmd__exact_book(llmd_index *x, size_t *bytes)
{
  *bytes = (size_t)x->head->rows * LLMD__X_BOOK;
  return x->book;
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

static void learn_size(llmd_index *x, uint32_t tokens)
{
  uint32_t i = 0;
  if (tokens == 0)
    return;
  for (; i < 4; i++) {
    uint32_t have = LLMD__GET(&x->head->sizes[i]);
    if (have == tokens)
      return;
    if (have == 0)
      break;
  }
  if (i < 4)
    LLMD__PUT(&x->head->sizes[i], tokens);
}

/* Counted before it is there, and after it has gone: who finds the count zero need not look at rows. */
void llmd__row_windows(llmd_index *x, llmd__x_row *row, const uint32_t blocks[2])
{
  uint32_t had = LLMD__GET(&row->window[0]) | LLMD__GET(&row->window[1]), has = blocks[0] | blocks[1];
  if (!had && has)
    LLMD__PUT(&x->head->windows, LLMD__GET(&x->head->windows) + 1u);
  for (uint32_t g = 0; g < 2; g++)
    LLMD__PUT(&row->window[g], blocks[g]);
  if (had && !has)
    LLMD__PUT(&x->head->windows, LLMD__GET(&x->head->windows) - 1u);
}

int llmd_index_describe(llmd_index *x, llmd_endpoint_id endpoint, const llmd_index_row *row)
{
  static const uint32_t none[2] = {0, 0};
  uint32_t slot = (uint32_t)endpoint;
  llmd__x_row *r;
  if (endpoint == 0 || slot >= x->head->rows)
    return LLMD_E_RANGE;
  r = &x->row[slot];
  if (LLMD__GET(&r->endpoint) >> 32 > endpoint >> 32)
    return LLMD_E_STALE;
  llmd__write_begin(x);
  if (LLMD__GET(&r->endpoint) != endpoint)
    llmd__row_reset(x, r, endpoint);
  LLMD__PUT(&r->flags, row->flags);
  LLMD__PUT(&r->block_tokens, row->block_tokens);
  LLMD__PUT(&r->scheme, row->scheme);
  llmd__row_windows(x, r, row->size < sizeof *row ? none : row->window_blocks);
  learn_size(x, row->block_tokens);
  llmd__write_end(x);
  return 0;
}

int llmd_index_row_of(const llmd_index *x, llmd_endpoint_id endpoint, llmd_index_row *out)
{
  uint32_t slot = (uint32_t)endpoint;
  const llmd__x_row *r;
  if (endpoint == 0 || slot >= x->head->rows || LLMD__GET(&x->row[slot].endpoint) != endpoint)
    return LLMD_E_NONE;
  r = &x->row[slot];
  out->flags = LLMD__GET(&r->flags);
  out->block_tokens = LLMD__GET(&r->block_tokens);
  out->scheme = LLMD__GET(&r->scheme);
  if (out->size < sizeof *out)
    return 0;
  for (uint32_t g = 0; g < 2; g++)
    out->window_blocks[g] = LLMD__GET(&r->window[g]);
  return 0;
}

int llmd_index_block_sizes(const llmd_index *x, uint32_t out[4])
{
  int n = 0;
  for (uint32_t i = 0; i < 4; i++) {
    uint32_t size = LLMD__GET(&x->head->sizes[i]);
    int j = n;
    if (size == 0)
      break;
    for (; j > 0 && out[j - 1] > size; j--)
      out[j] = out[j - 1];
    out[j] = size;
    n++;
  }
  return n;
}

/* ---- adapters ---------------------------------------------------------------------------------------------------- */

static _Atomic uint64_t *adapter_at(const llmd_index *x, uint32_t i)
{
  return (_Atomic uint64_t *)(void *)&x->adapter[i].lo;
}

/* The place of the key or the free one where it would be; UINT32_MAX = none. */
static uint32_t adapter_find(const llmd_index *x, const llmd_key *key)
{
  uint32_t n = x->head->adapters, at = (uint32_t)(key->hi % n);
  for (uint32_t i = 0; i < n; i++, at = at + 1 == n ? 0 : at + 1) {
    uint64_t have = LLMD__GET(adapter_at(x, at));
    if (have == 0 || have == key->lo)
      return at;
  }
  return UINT32_MAX;
}

static llmd_key adapter_key(const llmd_index *x, const char *name, size_t len)
{
  llmd_key k;
  llmd__hash_bytes(x->head->secret, name, len, &k);
  k.lo |= 1u; /* 0 is a free place */
  return k;
}

int llmd__adapter_put(llmd_index *x, const llmd_key *key)
{
  uint32_t at = adapter_find(x, key), n = 0;
  if (at != UINT32_MAX && LLMD__GET(adapter_at(x, at)) == key->lo)
    return 0;
  for (uint32_t i = 0; i < x->head->adapters; i++)
    n += LLMD__GET(adapter_at(x, i)) != 0;
  if (at == UINT32_MAX || n >= x->head->adapters / 2u)
    return LLMD_E_FULL;
  x->adapter[at].hi = key->hi;
  LLMD__PUT(adapter_at(x, at), key->lo);
  return 0;
}

int llmd_index_learn_adapter(llmd_index *x, const char *name, size_t len)
{
  llmd_key key = adapter_key(x, name, len);
  return llmd__adapter_put(x, &key);
}

int llmd_index_is_adapter(const llmd_index *x, const char *name, size_t len)
{
  llmd_key key = adapter_key(x, name, len);
  uint32_t at = adapter_find(x, &key);
  return at != UINT32_MAX && LLMD__GET(adapter_at(x, at)) == key.lo;
}

/* ---- figures ----------------------------------------------------------------------------------------------------- */

int llmd_index_stats_get(const llmd_index *x, llmd_index_stats *out)
{
  const llmd__x_head *h = x->head;
  llmd_index_stats s;
  uint32_t size = out->size < sizeof s ? out->size : (uint32_t)sizeof s;
  memset(&s, 0, sizeof s);
  s.size = size;
  for (uint32_t i = 0; i < h->rows; i++)
    s.rows += LLMD__GET(&x->row[i].holder) != 0;
  s.bytes = h->bytes;
  s.used = LLMD__GET(&h->n_used) * 64u;
  s.runs = LLMD__GET(&h->n_runs);
  s.blocks = LLMD__GET(&h->n_blocks);
  s.held = LLMD__GET(&h->n_held);
  s.names = LLMD__GET(&h->n_named);
  s.sets = LLMD__GET(&h->n_sets);
  s.dead = LLMD__GET(&h->n_cleared);
  s.evicted = LLMD__GET(&h->evicted);
  s.dropped = LLMD__GET(&h->dropped);
  s.renamed = LLMD__GET(&h->renamed);
  s.torn = LLMD__GET(&h->torn);
  s.repaired = LLMD__GET(&h->repaired);
  memcpy(out, &s, size);
  return 0;
}
