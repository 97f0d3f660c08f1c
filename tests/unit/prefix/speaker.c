#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "speaker.h"

/* ---- msgpack ----------------------------------------------------------------------------------------------------- */

static void put(batch_text *b, const void *ptr, size_t len)
{
  assert_true(b->len + len <= sizeof b->bytes);
  memcpy(b->bytes + b->len, ptr, len);
  b->len += len;
}

static void put_number(batch_text *b, uint8_t head, uint64_t v, int bytes)
{
  uint8_t t[9] = {head};
  for (int i = 0; i < bytes; i++)
    t[1 + i] = (uint8_t)(v >> 8 * (bytes - 1 - i));
  put(b, t, 1 + (size_t)bytes);
}

static void put_uint(batch_text *b, uint64_t v)
{
  if (v < 128)
    put_number(b, (uint8_t)v, 0, 0);
  else if (v <= UINT16_MAX)
    put_number(b, 0xcd, v, 2);
  else if (v <= UINT32_MAX)
    put_number(b, 0xce, v, 4);
  else
    put_number(b, 0xcf, v, 8);
}

static void put_nil(batch_text *b)
{
  put(b, "\xc0", 1);
}

static void put_array(batch_text *b, uint32_t n)
{
  put_number(b, 0xdc, n, 2);
}

static void put_text(batch_text *b, const char *s)
{
  if (!s) {
    put_nil(b);
    return;
  }
  put_number(b, 0xd9, strlen(s), 1);
  put(b, s, strlen(s));
}

static void put_names(batch_text *b, const uint64_t *name, uint32_t n)
{
  put_array(b, n);
  for (uint32_t i = 0; i < n; i++)
    put_uint(b, name[i]);
}

/* ---- batches ----------------------------------------------------------------------------------------------------- */

void batch_begin(batch_text *b, double time, int64_t rank)
{
  uint64_t bits;
  memcpy(&bits, &time, sizeof bits);
  b->len = 0;
  b->events = 0;
  b->rank = rank;
  put(b, "\x93", 1);
  if (time > 0)
    put_number(b, 0xcb, bits, 8);
  else
    put_nil(b);
  b->count_at = b->len;
  put_array(b, 0);
}

void batch_stored(batch_text *b, const stored_text *s)
{
  b->events++;
  put_number(b, (uint8_t)(0x80 + 8 + (s->group >= 0) + (s->kind != NULL) + (s->extra != NULL) + (s->window != 0)),
             0, 0);
  put_text(b, "type");
  put_text(b, "BlockStored");
  put_text(b, "block_hashes");
  put_names(b, s->name, s->n);
  put_text(b, "parent_block_hash");
  if (s->parent)
    put_uint(b, *s->parent);
  else
    put_nil(b);
  put_text(b, "token_ids");
  put_array(b, s->n_tokens);
  for (uint32_t i = 0; i < s->n_tokens; i++)
    put_uint(b, s->token[i]);
  put_text(b, "block_size");
  put_uint(b, s->block_size);
  put_text(b, "lora_id");
  if (s->lora_id)
    put_uint(b, (uint64_t)s->lora_id);
  else
    put_nil(b);
  put_text(b, "medium");
  put_text(b, s->medium);
  put_text(b, "lora_name");
  put_text(b, s->lora);
  if (s->extra) {
    put_text(b, "extra_keys");
    put_array(b, s->n);
    for (uint32_t i = 0; i < s->n; i++) {
      if (!s->extra[i]) {
        put_nil(b);
        continue;
      }
      put_array(b, s->lora ? 2 : 1);
      if (s->lora)
        put_text(b, s->lora);
      put_text(b, s->extra[i]);
    }
  }
  if (s->group >= 0) {
    put_text(b, "group_idx");
    put_uint(b, (uint64_t)s->group);
  }
  if (s->kind) {
    put_text(b, "kv_cache_spec_kind");
    put_text(b, s->kind);
  }
  if (s->window) {
    put_text(b, "kv_cache_spec_sliding_window");
    put_uint(b, s->window);
  }
}

void batch_removed(batch_text *b, const uint64_t *name, uint32_t n, const char *medium, int group)
{
  b->events++;
  put_number(b, (uint8_t)(0x80 + 3 + (group >= 0)), 0, 0);
  put_text(b, "type");
  put_text(b, "BlockRemoved");
  put_text(b, "block_hashes");
  put_names(b, name, n);
  put_text(b, "medium");
  put_text(b, medium);
  if (group >= 0) {
    put_text(b, "group_idx");
    put_uint(b, (uint64_t)group);
  }
}

static void put_bare(batch_text *b, const char *type)
{
  b->events++;
  put(b, "\x81", 1);
  put_text(b, "type");
  put_text(b, type);
}

void batch_cleared(batch_text *b)
{
  put_bare(b, "AllBlocksCleared");
}

void batch_unknown(batch_text *b)
{
  put_bare(b, "BlockPainted");
}

void batch_bad(batch_text *b)
{
  put_bare(b, "BlockRemoved");
}

llmd_str batch_end(batch_text *b)
{
  if (b->rank < 0)
    put_nil(b);
  else
    put_uint(b, (uint64_t)b->rank);
  b->bytes[b->count_at + 1] = (uint8_t)(b->events >> 8);
  b->bytes[b->count_at + 2] = (uint8_t)b->events;
  return (llmd_str){(const char *)b->bytes, b->len};
}

/* ---- a host ------------------------------------------------------------------------------------------------------ */

static void keep_line(void *ud, int level, const char *component, const char *text, size_t len)
{
  rig *r = ud;
  assert_string_equal(component, "events");
  len = len < sizeof r->log - 1 ? len : sizeof r->log - 1;
  memcpy(r->log, text, len);
  r->log[len] = 0;
  r->lines += level <= LLMD_LOG_WARN;
}

static void open_events(rig *r, const llmd_events_options *options)
{
  llmd_events_options o;
  llmd_err err = LLMD_ERR_INIT;
  memset(&o, 0, sizeof o);
  if (options)
    o = *options;
  o.size = sizeof o;
  o.index = r->index;
  o.log = keep_line;
  o.log_ud = r;
  o.limits.names = 512;
  o.limits.tokens = 8192;
  o.limits.extras = 512;
  assert_int_equal(llmd_events_open(&o, &r->events, &err), 0);
}

void rig_open(rig *r, uint32_t rows, const llmd_events_options *options)
{
  llmd_index_options o;
  memset(r, 0, sizeof *r);
  memset(&o, 0, sizeof o);
  o.size = sizeof o;
  o.rows = r->rows = rows;
  o.bytes = 4 << 20;
  o.seed = 5;
  r->len = llmd_index_size(&o);
  assert_true(r->len > 0);
  r->mem = aligned_alloc(64, (r->len + 63) / 64 * 64);
  assert_non_null(r->mem);
  assert_int_equal(llmd_index_format(r->mem, r->len, &o), 0);
  assert_int_equal(llmd_index_open(r->mem, r->len, NULL, &r->index, NULL), 0);
  r->scratch = calloc(1, llmd_index_scratch(r->index));
  assert_non_null(r->scratch);
  r->now.mono = 1000000000;
  open_events(r, options);
}

void rig_reopen(rig *r, const llmd_events_options *options)
{
  llmd_events_close(r->events);
  llmd_index_close(r->index);
  assert_int_equal(llmd_index_open(r->mem, r->len, NULL, &r->index, NULL), 0);
  assert_true(llmd_index_takeover(r->index) >= 0);
  open_events(r, options);
}

void rig_close(rig *r)
{
  llmd_events_close(r->events);
  llmd_index_close(r->index);
  free(r->scratch);
  free(r->mem);
}

llmd_endpoint_id rig_endpoint(uint32_t slot)
{
  return UINT64_C(1) << 32 | slot;
}

llmd_source_id rig_source(rig *r, uint32_t slot, uint32_t flags)
{
  llmd_source s;
  llmd_source_id id;
  memset(&s, 0, sizeof s);
  s.size = sizeof s;
  s.flags = flags;
  s.endpoint = rig_endpoint(slot);
  assert_int_equal(llmd_events_source(r->events, &s, &id), 0);
  return id;
}

static llmd_str number_frame(uint8_t room[8], uint64_t v)
{
  for (int i = 0; i < 8; i++)
    room[i] = (uint8_t)(v >> 8 * (7 - i));
  return (llmd_str){(const char *)room, 8};
}

int rig_live(rig *r, llmd_source_id s, uint64_t seq, llmd_str payload)
{
  uint8_t room[8];
  const llmd_str frame[3] = {{"kv@pod@model", 12}, number_frame(room, seq), payload};
  return llmd_events_feed(r->events, s, LLMD_FRAMES_LIVE, frame, 3, &r->now, &r->ask);
}

int rig_replayed(rig *r, llmd_source_id s, uint64_t seq, llmd_str payload, int older)
{
  uint8_t room[8];
  const llmd_str newer[4] = {{"", 0}, {"kv@pod@model", 12}, number_frame(room, seq), payload};
  const llmd_str old[3] = {{"", 0}, newer[2], payload};
  return llmd_events_feed(r->events, s, LLMD_FRAMES_REPLAY, older ? old : newer, older ? 3 : 4, &r->now, &r->ask);
}

int rig_end(rig *r, llmd_source_id s, int older)
{
  uint8_t room[8];
  const llmd_str newer[4] = {{"", 0}, {"", 0}, number_frame(room, UINT64_MAX), {"", 0}};
  return llmd_events_feed(r->events, s, LLMD_FRAMES_REPLAY, newer + older, older ? 3 : 4, &r->now, &r->ask);
}

llmd_source_stats rig_stats(const rig *r, llmd_source_id s)
{
  llmd_source_stats stats;
  memset(&stats, 0, sizeof stats);
  stats.size = sizeof stats;
  assert_int_equal(llmd_events_stats(r->events, s, &stats), 0);
  return stats;
}

uint32_t rig_blocks(rig *r, uint32_t slot, const llmd_key *keys, uint32_t n, uint32_t *lower)
{
  llmd_hit hit[64];
  uint32_t found = 0;
  int hits = llmd_index_query(r->index, r->scratch, keys, n, hit, 64, NULL);
  assert_in_range(hits, 0, 64);
  if (lower)
    *lower = 0;
  for (int i = 0; i < hits; i++)
    if ((uint32_t)hit[i].endpoint == slot) {
      found = hit[i].blocks;
      if (lower)
        *lower = hit[i].lower[0] + hit[i].lower[1] + hit[i].lower[2];
    }
  return found;
}

uint32_t rig_keys(const rig *r, const char *lora, const uint32_t *tokens, uint32_t n_tokens, const llmd_extra *extra,
                  uint32_t n_extra, llmd_key *out)
{
  llmd_chain chain;
  llmd_chain_root root;
  int n;
  memset(&root, 0, sizeof root);
  root.size = sizeof root;
  root.block_tokens = RIG_BLOCK;
  root.lora = (llmd_str){lora, lora ? strlen(lora) : 0};
  assert_int_equal(llmd_chain_begin(&chain, llmd_index_secret(r->index), &root), 0);
  n = llmd_chain_extend(&chain, llmd_index_secret(r->index), tokens, n_tokens, extra, n_extra, out, n_tokens);
  assert_true(n >= 0);
  return (uint32_t)n;
}
