#include "sim_publisher.h"

#include <stdlib.h>
#include <string.h>

#include <llmd/error.h>

#include "sim_rng.h"
#include "sim_workload.h"

/* A change is a head word, kind | names << 32, the parent's name with STORED_AFTER, and the names. */
enum { STORED = 1, STORED_AFTER, OFFLOADED, REMOVED, REMOVED_CPU, CLEARED };

#define MOST_NAMES 512u /* in one event */
#define TEXT_MOST 256u   /* bytes of a name or salt; the rest is cut off */
#define EVENT_BYTES 192u /* of an event without names, tokens and texts, at most */
#define MEANT_BYTES (64u + 2 * (3 + TEXT_MOST)) /* what meanings add to that */

struct sim_publisher {
  uint32_t block_size;
  uint32_t keep;
  struct sim_batch *ring; /* [keep] */
  uint64_t first, end;
  uint64_t *open; /* changes of the batch in the making */
  size_t n_open, room, last; /* last: its last head word */
  uint32_t events;
  int failed;
  uint32_t *tokens; /* of one block */
  sim_meaning_fn meaning; /* NULL: the simulator's own names */
  void *meaning_ud;
  uint8_t *bytes;
  size_t len, bytes_room;
};

int sim_publisher_create(struct sim_publisher **out, uint32_t block_size, uint32_t keep)
{
  struct sim_publisher *p = calloc(1, sizeof *p);
  if (!p)
    return LLMD_E_NOMEM;
  p->block_size = block_size;
  p->keep = keep;
  p->ring = calloc(keep, sizeof *p->ring);
  p->tokens = malloc(block_size * sizeof *p->tokens);
  if (!p->ring || !p->tokens) {
    sim_publisher_destroy(p);
    return LLMD_E_NOMEM;
  }
  *out = p;
  return 0;
}

void sim_publisher_destroy(struct sim_publisher *p)
{
  if (!p)
    return;
  for (uint32_t i = 0; p->ring && i < p->keep; i++)
    free(p->ring[i].words);
  free(p->ring);
  free(p->open);
  free(p->tokens);
  free(p->bytes);
  free(p);
}

uint32_t sim_publisher_block_size(const struct sim_publisher *p)
{
  return p->block_size;
}

void sim_publisher_mean(struct sim_publisher *p, sim_meaning_fn meaning, void *ud)
{
  p->meaning = meaning;
  p->meaning_ud = ud;
}

/* ---- changes ---- */

static int make_room(struct sim_publisher *p, size_t n)
{
  size_t room = p->room ? p->room : 256;
  uint64_t *more;
  while (room < p->n_open + n)
    room *= 2;
  if (room == p->room)
    return 1;
  more = realloc(p->open, room * sizeof *more);
  if (!more) {
    p->failed = 1;
    return 0;
  }
  p->open = more;
  p->room = room;
  return 1;
}

static void begin(struct sim_publisher *p, uint32_t kind)
{
  p->last = p->n_open;
  p->open[p->n_open++] = kind;
}

static uint32_t kind_of(uint64_t head)
{
  return (uint32_t)head;
}

static uint32_t names_of(uint64_t head)
{
  return (uint32_t)(head >> 32);
}

static void add_name(struct sim_publisher *p, uint64_t name)
{
  p->open[p->last] += (uint64_t)1 << 32;
  p->open[p->n_open++] = name;
}

/* The last change is of that kind and has room for a name more. */
static int goes_on(const struct sim_publisher *p, uint32_t kind)
{
  return p->n_open && kind_of(p->open[p->last]) == kind && names_of(p->open[p->last]) < MOST_NAMES;
}

void sim_publisher_stored(struct sim_publisher *p, const uint64_t *parent, uint64_t name)
{
  int after = goes_on(p, STORED) || goes_on(p, STORED_AFTER);
  if (!make_room(p, 3))
    return;
  if (!after || !parent || p->open[p->n_open - 1] != *parent) {
    begin(p, parent ? STORED_AFTER : STORED);
    if (parent)
      p->open[p->n_open++] = *parent;
    p->events++;
  }
  add_name(p, name);
}

void sim_publisher_offloaded(struct sim_publisher *p, uint64_t name)
{
  if (!make_room(p, 2))
    return;
  if (!goes_on(p, OFFLOADED)) {
    begin(p, OFFLOADED);
    p->events++;
  }
  add_name(p, name);
}

void sim_publisher_removed(struct sim_publisher *p, uint64_t name, int cpu)
{
  if (!make_room(p, 2))
    return;
  if (!goes_on(p, cpu ? REMOVED_CPU : REMOVED))
    begin(p, cpu ? REMOVED_CPU : REMOVED);
  p->events++;
  add_name(p, name);
}

void sim_publisher_cleared(struct sim_publisher *p)
{
  if (!make_room(p, 1))
    return;
  begin(p, CLEARED);
  p->events++;
}

int sim_publisher_send(struct sim_publisher *p, double now)
{
  struct sim_batch *b = &p->ring[p->end % p->keep];
  uint64_t *words;
  if (p->failed)
    return LLMD_E_NOMEM;
  if (p->n_open == 0)
    return 0;
  words = malloc(p->n_open * sizeof *words);
  if (!words)
    return LLMD_E_NOMEM;
  memcpy(words, p->open, p->n_open * sizeof *words);
  free(b->words);
  *b = (struct sim_batch){.time = now, .seq = p->end - p->first, .events = p->events, .n_words = (uint32_t)p->n_open,
                          .words = words};
  p->end++;
  p->n_open = 0;
  p->events = 0;
  return 1;
}

void sim_publisher_restart(struct sim_publisher *p)
{
  p->first = p->end;
  p->n_open = 0;
  p->events = 0;
}

uint64_t sim_publisher_first(const struct sim_publisher *p)
{
  return p->first;
}

uint64_t sim_publisher_end(const struct sim_publisher *p)
{
  return p->end;
}

struct sim_batch *sim_publisher_batch(const struct sim_publisher *p, uint64_t number)
{
  return number < p->end && p->end - number <= p->keep ? &p->ring[number % p->keep] : NULL;
}

/* ---- spelling: MessagePack; there is room, see room_for ---- */

static void put_number(struct sim_publisher *p, uint8_t head, uint64_t value, uint32_t n)
{
  uint8_t *out = p->bytes + p->len;
  *out = head;
  for (uint32_t i = 0; i < n; i++)
    out[1 + i] = (uint8_t)(value >> 8 * (n - 1 - i));
  p->len += 1 + n;
}

static void put_uint(struct sim_publisher *p, uint64_t v)
{
  if (v < 128)
    put_number(p, (uint8_t)v, 0, 0);
  else if (v < 256)
    put_number(p, 0xcc, v, 1);
  else if (v <= UINT16_MAX)
    put_number(p, 0xcd, v, 2);
  else if (v <= UINT32_MAX)
    put_number(p, 0xce, v, 4);
  else
    put_number(p, 0xcf, v, 8);
}

static void put_array(struct sim_publisher *p, uint32_t n)
{
  if (n < 16)
    put_number(p, (uint8_t)(0x90 | n), 0, 0);
  else if (n <= UINT16_MAX)
    put_number(p, 0xdc, n, 2);
  else
    put_number(p, 0xdd, n, 4);
}

static void put_nil(struct sim_publisher *p)
{
  put_number(p, 0xc0, 0, 0);
}

static void put_text(struct sim_publisher *p, const char *text) /* of at most TEXT_MOST bytes */
{
  size_t len = strlen(text);
  if (len > TEXT_MOST)
    len = TEXT_MOST;
  if (len < 32)
    put_number(p, (uint8_t)(0xa0 | len), 0, 0);
  else
    put_number(p, 0xda, len, 2);
  memcpy(p->bytes + p->len, text, len);
  p->len += len;
}

static void put_text_or_nil(struct sim_publisher *p, const char *text)
{
  if (text)
    put_text(p, text);
  else
    put_nil(p);
}

static void put_type(struct sim_publisher *p, uint8_t members, const char *type)
{
  put_number(p, 0x80 | members, 0, 0);
  put_text(p, "type");
  put_text(p, type);
}

/* ---- what names stand for ---- */

static struct sim_meaning meaning_of(struct sim_publisher *p, uint64_t name)
{
  struct sim_meaning m = {.tokens = p->tokens};
  if (!p->meaning)
    sim_spell(name, p->tokens, p->block_size);
  else if (p->meaning(p->meaning_ud, name, &m)) {
    memset(p->tokens, 0, p->block_size * sizeof *p->tokens);
    m = (struct sim_meaning){.tokens = p->tokens};
  }
  return m;
}

/* What the engine calls a block. The simulator's ids may be small numbers, hashes are not. */
static uint64_t hash_of(const struct sim_publisher *p, uint64_t name)
{
  return p->meaning ? name : sim_mix(name);
}

/* ---- events ---- */

static void put_hashes(struct sim_publisher *p, const uint64_t *name, uint32_t n)
{
  put_text(p, "block_hashes");
  put_array(p, n);
  for (uint32_t i = 0; i < n; i++)
    put_uint(p, hash_of(p, name[i]));
}

static void put_tokens(struct sim_publisher *p, const uint64_t *name, uint32_t n)
{
  put_text(p, "token_ids");
  put_array(p, n * p->block_size);
  for (uint32_t i = 0; i < n; i++) {
    const struct sim_meaning m = meaning_of(p, name[i]);
    for (uint32_t k = 0; k < p->block_size; k++)
      put_uint(p, m.tokens[k]);
  }
}

/* Only a prompt's first block has the salt. */
static void put_extra_keys(struct sim_publisher *p, const char *salt, uint32_t n)
{
  put_text(p, "extra_keys");
  put_array(p, n);
  for (uint32_t i = 0; i < n; i++)
    if (i == 0 && salt) {
      put_array(p, 1);
      put_text(p, salt);
    } else
      put_nil(p);
}

static void put_group(struct sim_publisher *p)
{
  put_text(p, "group_idx");
  put_uint(p, 0);
  put_text(p, "kv_cache_spec_kind");
  put_text(p, "full_attention");
}

static void put_stored(struct sim_publisher *p, const uint64_t *parent, const uint64_t *name, uint32_t n, int cpu)
{
  const int full = p->meaning && !cpu;
  const struct sim_meaning m = full ? meaning_of(p, *name) : (struct sim_meaning){0};
  put_type(p, full ? 11 : 8, "BlockStored");
  put_hashes(p, name, n);
  put_text(p, "parent_block_hash");
  if (parent)
    put_uint(p, hash_of(p, *parent));
  else
    put_nil(p);
  put_tokens(p, name, cpu ? 0 : n);
  put_text(p, "block_size");
  put_uint(p, cpu ? 0 : p->block_size);
  put_text(p, "lora_id");
  put_nil(p);
  put_text(p, "medium");
  put_text(p, cpu ? "CPU" : "GPU");
  put_text(p, "lora_name");
  put_text_or_nil(p, m.lora);
  if (!full)
    return;
  put_extra_keys(p, parent ? NULL : m.salt, n);
  put_group(p);
}

static void put_removed(struct sim_publisher *p, const uint64_t *name, uint32_t n, int cpu)
{
  for (uint32_t i = 0; i < n; i++) {
    put_type(p, p->meaning ? 4 : 3, "BlockRemoved");
    put_hashes(p, name + i, 1);
    put_text(p, "medium");
    put_text(p, cpu ? "CPU" : "GPU");
    if (p->meaning) {
      put_text(p, "group_idx");
      put_uint(p, 0);
    }
  }
}

static void put_change(struct sim_publisher *p, const uint64_t *word)
{
  uint32_t n = names_of(word[0]);
  switch (kind_of(word[0])) {
  case STORED:
    put_stored(p, NULL, word + 1, n, 0);
    break;
  case STORED_AFTER:
    put_stored(p, word + 1, word + 2, n, 0);
    break;
  case OFFLOADED:
    put_stored(p, NULL, word + 1, n, 1);
    break;
  case REMOVED:
  case REMOVED_CPU:
    put_removed(p, word + 1, n, kind_of(word[0]) == REMOVED_CPU);
    break;
  default:
    put_type(p, 1, "AllBlocksCleared");
  }
}

static int room_for(struct sim_publisher *p, const struct sim_batch *b)
{
  size_t event = EVENT_BYTES + (p->meaning ? MEANT_BYTES : 0);
  size_t need = 64 + b->events * event + (size_t)b->n_words * (10 + 5 * (size_t)p->block_size);
  uint8_t *more;
  if (need <= p->bytes_room)
    return 0;
  more = realloc(p->bytes, need);
  if (!more)
    return LLMD_E_NOMEM;
  p->bytes = more;
  p->bytes_room = need;
  return 0;
}

int sim_publisher_spell(struct sim_publisher *p, const struct sim_batch *b, const uint8_t **bytes, size_t *len)
{
  uint64_t time;
  if (room_for(p, b))
    return LLMD_E_NOMEM;
  memcpy(&time, &b->time, sizeof time);
  p->len = 0;
  put_array(p, 3);
  put_number(p, 0xcb, time, 8);
  put_array(p, b->events);
  for (uint32_t i = 0; i < b->n_words;) {
    put_change(p, b->words + i);
    i += 1 + names_of(b->words[i]) + (kind_of(b->words[i]) == STORED_AFTER);
  }
  put_uint(p, 0); /* the rank */
  *bytes = p->bytes;
  *len = p->len;
  return 0;
}
