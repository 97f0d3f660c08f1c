#include "model/token_cache.h"

#include <stdatomic.h>
#include <string.h>

#include <llmd/error.h>

#define MAGIC UINT64_C(0x31484341434b4f54) /* "TOKCACH1" */
#define WAYS 4u
#define ENTRY_BYTES 1024u /* of the ring for each slot */
#define HEAD_WORDS 8u     /* of an entry */
#define PLACE_MOST (UINT64_C(1) << 62)

struct llmd__token_cache {
  uint64_t magic;
  _Atomic uint64_t head, tail; /* places; everything before tail is dead, everything from head on not there yet */
  uint64_t reserved[5];
  _Atomic uint64_t slot[];     /* place + 1 of an entry; 0 = none. Then the ring */
};

/* An entry's first words. Ids follow, two in a word; then the features' offsets, lengths and lengths of names; then
 * their names. */
enum { PLACE, KEY_LO, KEY_HI, IDS, FEATURES, WORDS, CONTENT, SUM };

typedef struct shape {
  uint64_t slots, ring; /* ring: bytes, a multiple of 8 */
  size_t ring_off;
} shape;

static int shape_of(size_t bytes, shape *s)
{
  uint64_t slots = 64;
  while (slots * 2 * ENTRY_BYTES <= bytes && slots < (UINT64_C(1) << 40))
    slots *= 2;
  s->slots = slots;
  s->ring_off = sizeof(llmd__token_cache) + (size_t)slots * sizeof(uint64_t);
  if (bytes < s->ring_off + 512)
    return LLMD_E_RANGE;
  s->ring = (bytes - s->ring_off) & ~(size_t)7;
  return 0;
}

int llmd__token_cache_init(void *mem, size_t bytes, void *ud)
{
  llmd__token_cache *c = mem;
  shape s;
  int rc = shape_of(bytes, &s);
  (void)ud;
  if (rc)
    return rc;
  memset(mem, 0, s.ring_off); /* no place leads into the ring */
  c->magic = MAGIC;
  return 0;
}

int llmd__token_cache_sound(const void *mem, size_t bytes)
{
  const llmd__token_cache *c = mem;
  shape s;
  return !shape_of(bytes, &s) && c->magic == MAGIC;
}

/* ---- words ------------------------------------------------------------------------------------------------------- */

/* In order: an entry's words are written after the tail that makes their place dead, and that tail is looked at after
 * they were read. */
static uint64_t load(const _Atomic uint64_t *w)
{
  return atomic_load_explicit(w, memory_order_acquire);
}

static void store(_Atomic uint64_t *w, uint64_t v)
{
  atomic_store_explicit(w, v, memory_order_release);
}

static _Atomic uint64_t *ring_at(const llmd__token_cache *c, const shape *s, uint64_t place)
{
  return (_Atomic uint64_t *)(void *)((char *)(uintptr_t)c + s->ring_off + (size_t)(place % s->ring));
}

/* Against torn entries, not against people: who may write here may do worse. */
static uint64_t mix(uint64_t h, uint64_t w)
{
  h = (h ^ w) * UINT64_C(0x9e3779b97f4a7c15);
  return h ^ h >> 29;
}

static uint64_t sum_of(const uint64_t *w)
{
  uint64_t h = MAGIC;
  for (uint32_t i = 0; i < SUM; i++)
    h = mix(h, w[i]);
  return h;
}

/* ---- finding ----------------------------------------------------------------------------------------------------- */

static int alive(const llmd__token_cache *c, uint64_t place)
{
  uint64_t head = load(&c->head), tail = load(&c->tail);
  return place >= tail && place < head && place % 8 == 0;
}

/* The first words of the entry at that place, if it is one of the key. 0: not. */
static int read_head(const llmd__token_cache *c, const shape *s, uint64_t place, const llmd_key *key, uint64_t *w)
{
  uint64_t room = (s->ring - place % s->ring) / 8, payload;
  const _Atomic uint64_t *from = ring_at(c, s, place);
  if (!alive(c, place) || room < HEAD_WORDS)
    return 0;
  for (uint32_t i = 0; i < HEAD_WORDS; i++)
    w[i] = load(&from[i]);
  if (w[PLACE] != place || w[KEY_LO] != key->lo || w[KEY_HI] != key->hi || w[SUM] != sum_of(w))
    return 0;
  payload = w[WORDS];
  return payload <= room - HEAD_WORDS && w[IDS] / 2 <= payload && w[FEATURES] <= LLMD__TOKENS_FEATURES;
}

/* Reads the payload word by word, so that its sum is known at the end. */
typedef struct reader {
  const _Atomic uint64_t *from;
  uint64_t left, sum;
  int short_of; /* the payload ended too early */
} reader;

static uint64_t next(reader *r)
{
  uint64_t w;
  if (!r->left) {
    r->short_of = 1;
    return 0;
  }
  r->left--;
  w = load(r->from++);
  r->sum = mix(r->sum, w);
  return w;
}

static void read_ids(reader *r, llmd__cached_tokens *out)
{
  for (uint64_t i = 0; i < out->n && !r->short_of; i += 2) {
    uint64_t w = next(r);
    if (i < out->cap)
      out->ids[i] = (uint32_t)w;
    if (i + 1 < out->n && i + 1 < out->cap)
      out->ids[i + 1] = (uint32_t)(w >> 32);
  }
}

/* Names go one behind the other. */
static void read_features(reader *r, llmd__cached_tokens *out)
{
  size_t used = 0;
  for (uint32_t i = 0; i < out->n_features; i++) {
    out->feature[i].offset = next(r);
    out->feature[i].length = next(r);
    out->feature[i].hash.len = (size_t)next(r);
  }
  for (uint32_t i = 0; i < out->n_features && !r->short_of; i++) {
    size_t len = out->feature[i].hash.len;
    if (len > LLMD__TOKENS_TEXT - used) {
      r->short_of = 1;
      return;
    }
    out->feature[i].hash.ptr = out->text + used;
    for (size_t k = 0; k < len; k += 8) {
      uint64_t w = next(r);
      memcpy(out->text + used + k, &w, len - k < 8 ? len - k : 8);
    }
    used += len;
  }
}

static int read_entry(const llmd__token_cache *c, const shape *s, uint64_t place, const llmd_key *key,
                      llmd__cached_tokens *out)
{
  uint64_t w[HEAD_WORDS];
  reader r;
  if (!read_head(c, s, place, key, w))
    return 0;
  r.from = ring_at(c, s, place) + HEAD_WORDS;
  r.left = w[WORDS];
  r.sum = MAGIC;
  r.short_of = 0;
  out->n = w[IDS];
  out->n_features = (uint32_t)w[FEATURES];
  read_ids(&r, out);
  read_features(&r, out);
  return !r.short_of && !r.left && r.sum == w[CONTENT] && alive(c, place);
}

static uint64_t payload_sum(const llmd__token_cache *c, const shape *s, uint64_t place, uint64_t words)
{
  reader r = {ring_at(c, s, place) + HEAD_WORDS, words, MAGIC, 0};
  while (r.left)
    next(&r);
  return r.sum;
}

static _Atomic uint64_t *bucket_of(const llmd__token_cache *c, const shape *s, const llmd_key *key)
{
  return (_Atomic uint64_t *)(uintptr_t)&c->slot[(key->lo ^ key->hi) & (s->slots - 1) & ~(uint64_t)(WAYS - 1)];
}

int llmd__token_cache_find(const llmd__token_cache *c, size_t bytes, const llmd_key *key, llmd__cached_tokens *out)
{
  const _Atomic uint64_t *bucket;
  shape s;
  if (shape_of(bytes, &s))
    return 0;
  bucket = bucket_of(c, &s, key);
  for (uint32_t i = 0; i < WAYS; i++) {
    uint64_t place = load(&bucket[i]);
    if (place && read_entry(c, &s, place - 1, key, out))
      return 1;
  }
  return 0;
}

/* ---- storing ----------------------------------------------------------------------------------------------------- */

/* One entry on its way: counted and summed first (to NULL), then written. */
typedef struct writer {
  _Atomic uint64_t *to;
  uint64_t words, sum;
} writer;

static void put(writer *w, uint64_t v)
{
  if (w->to)
    store(&w->to[w->words], v);
  w->words++;
  w->sum = mix(w->sum, v);
}

static void put_payload(writer *w, const uint32_t *ids, size_t n, const llmd_feature *f, size_t n_features)
{
  for (size_t i = 0; i < n; i += 2)
    put(w, ids[i] | (i + 1 < n ? (uint64_t)ids[i + 1] << 32 : 0));
  for (size_t i = 0; i < n_features; i++) {
    put(w, f[i].offset);
    put(w, f[i].length);
    put(w, f[i].hash.len);
  }
  for (size_t i = 0; i < n_features; i++)
    for (size_t k = 0; k < f[i].hash.len; k += 8) {
      uint64_t v = 0;
      memcpy(&v, f[i].hash.ptr + k, f[i].hash.len - k < 8 ? f[i].hash.len - k : 8);
      put(w, v);
    }
}

/* Places that cannot be: the cache starts over. */
static uint64_t head_of(llmd__token_cache *c, const shape *s)
{
  uint64_t head = load(&c->head), tail = load(&c->tail);
  if (head % 8 == 0 && head < PLACE_MOST && tail <= head && head - tail <= s->ring)
    return head;
  for (uint64_t i = 0; i < s->slots; i++)
    store(&c->slot[i], 0);
  store(&c->tail, 0);
  store(&c->head, 0);
  return 0;
}

/* The entry is dead before its room is used again, and there before anybody is led to it. */
static uint64_t append(llmd__token_cache *c, const shape *s, uint64_t head, uint64_t *w, const uint32_t *ids,
                       const llmd_feature *f)
{
  uint64_t need = (HEAD_WORDS + w[WORDS]) * 8, room = s->ring - head % s->ring;
  _Atomic uint64_t *to;
  writer payload;
  if (room < need)
    head += room; /* an entry is in one piece */
  if (head + need > s->ring && load(&c->tail) < head + need - s->ring)
    store(&c->tail, head + need - s->ring);
  w[PLACE] = head;
  w[SUM] = sum_of(w);
  to = ring_at(c, s, head);
  for (uint32_t i = 0; i < HEAD_WORDS; i++)
    store(&to[i], w[i]);
  payload = (writer){to + HEAD_WORDS, 0, MAGIC};
  put_payload(&payload, ids, (size_t)w[IDS], f, (size_t)w[FEATURES]);
  store(&c->head, head + need);
  return head;
}

/* The key's own slot, else a free one, else the one whose entry was stored longest ago. *same: its entry is what is to
 * be stored, and young. */
static _Atomic uint64_t *slot_for(llmd__token_cache *c, const shape *s, const llmd_key *key, const uint64_t *w,
                                  int *same)
{
  _Atomic uint64_t *bucket = bucket_of(c, s, key), *best = bucket;
  uint64_t oldest = UINT64_MAX;
  for (uint32_t i = 0; i < WAYS; i++) {
    uint64_t at = load(&bucket[i]), have[HEAD_WORDS];
    uint64_t age = at && alive(c, at - 1) ? at : 0;
    if (age && read_head(c, s, at - 1, key, have)) {
      *same = have[CONTENT] == w[CONTENT] && have[IDS] == w[IDS] && have[FEATURES] == w[FEATURES] &&
              load(&c->head) - (at - 1) <= s->ring / 2 && payload_sum(c, s, at - 1, have[WORDS]) == w[CONTENT];
      return &bucket[i];
    }
    if (age < oldest) {
      oldest = age;
      best = &bucket[i];
    }
  }
  return best;
}

static int too_much(const llmd_feature *f, size_t n)
{
  size_t text = 0;
  for (size_t i = 0; i < n && n <= LLMD__TOKENS_FEATURES && text <= LLMD__TOKENS_TEXT; i++)
    text += f[i].hash.len <= LLMD__TOKENS_TEXT ? f[i].hash.len : LLMD__TOKENS_TEXT + 1;
  return n > LLMD__TOKENS_FEATURES || text > LLMD__TOKENS_TEXT;
}

int llmd__token_cache_put(llmd__token_cache *c, size_t bytes, const llmd_key *key, const uint32_t *ids, size_t n,
                          const llmd_feature *feature, size_t n_features)
{
  uint64_t w[HEAD_WORDS] = {0, key->lo, key->hi, n, n_features, 0, 0, 0}, head;
  writer counted = {NULL, 0, MAGIC};
  _Atomic uint64_t *slot;
  int same = 0;
  shape s;
  if (shape_of(bytes, &s))
    return LLMD_E_RANGE;
  if (n > s.ring / 8 || too_much(feature, n_features))
    return LLMD_E_LIMIT;
  put_payload(&counted, ids, n, feature, n_features);
  w[WORDS] = counted.words;
  w[CONTENT] = counted.sum;
  if ((HEAD_WORDS + w[WORDS]) * 8 > s.ring / 2)
    return LLMD_E_LIMIT;
  head = head_of(c, &s);
  slot = slot_for(c, &s, key, w, &same);
  if (same)
    return 0;
  head = append(c, &s, head, w, ids, feature);
  store(slot, head + 1);
  return 0;
}

/* ---- figures ----------------------------------------------------------------------------------------------------- */

void llmd__token_cache_stats_get(const llmd__token_cache *c, size_t bytes, llmd__token_cache_stats *out)
{
  uint64_t head = load(&c->head), tail = load(&c->tail);
  shape s;
  memset(out, 0, sizeof *out);
  if (shape_of(bytes, &s))
    return;
  out->bytes = s.ring;
  out->used = head > tail && head - tail <= s.ring ? head - tail : 0;
  for (uint64_t i = 0; i < s.slots; i++) {
    uint64_t at = load(&c->slot[i]);
    out->entries += at && alive(c, at - 1);
  }
}
