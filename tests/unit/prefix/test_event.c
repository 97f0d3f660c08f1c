/* Batches of events in both encodings, right and wrong, in blocks of exactly their size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <llmd/error.h>
#include <llmd/events.h>

#include "../msgpack_pack.h"

/* What was handed out, deep enough for the tests. */
#define EVENTS_MOST 8
#define MOST 64
struct seen {
  llmd_batch_head head;
  llmd_event event[EVENTS_MOST];
  uint64_t name[EVENTS_MOST][MOST];
  uint32_t token[EVENTS_MOST][MOST];
  char digest[EVENTS_MOST][MOST], type[EVENTS_MOST][MOST], text[EVENTS_MOST][6][MOST];
  char extra[EVENTS_MOST][256]; /* "0:a 0:b 1:c " */
  uint32_t n, stop_after;
};

static void keep(char *out, llmd_str s)
{
  assert_true(s.len < MOST);
  memcpy(out, s.ptr ? s.ptr : "", s.len);
  out[s.len] = 0;
}

static int take(void *ud, const llmd_batch_head *head, const llmd_event *e)
{
  struct seen *seen = ud;
  const uint32_t i = seen->n++;
  assert_true(i < EVENTS_MOST && e->n_names <= MOST && e->n_tokens <= MOST);
  assert_int_equal(e->size, sizeof *e);
  assert_int_equal(head->size, sizeof *head);
  seen->head = *head;
  seen->event[i] = *e;
  for (uint32_t k = 0; k < e->n_names; k++)
    seen->name[i][k] = e->name[k];
  for (uint32_t k = 0; k < e->n_tokens; k++)
    seen->token[i][k] = e->token[k];
  if (e->digest && e->n_names)
    keep(seen->digest[i], e->digest[0]);
  keep(seen->type[i], e->type);
  keep(seen->text[i][0], e->lora);
  keep(seen->text[i][1], e->medium);
  keep(seen->text[i][2], e->locality);
  keep(seen->text[i][3], e->ownership);
  keep(seen->text[i][4], e->session);
  keep(seen->text[i][5], e->salt);
  for (uint32_t k = 0; k < e->n_extra; k++)
    sprintf(seen->extra[i] + strlen(seen->extra[i]), "%u:%.*s ", e->extra[k].block, (int)e->extra[k].text.len,
            e->extra[k].text.ptr);
  return seen->n == seen->stop_after;
}

static int decode_bytes(struct seen *seen, const void *bytes, size_t len, const llmd_event_limits *limits,
                        uint32_t *offset)
{
  void *payload = malloc(len ? len : 1), *buffer = malloc(llmd_events_buffer(limits));
  const uint32_t stop_after = seen->stop_after;
  int rc;
  assert_non_null(payload);
  assert_non_null(buffer);
  memcpy(payload, bytes, len);
  memset(seen, 0, sizeof *seen);
  seen->stop_after = stop_after;
  rc = llmd_events_decode(payload, len, limits, buffer, take, seen, offset);
  free(payload);
  free(buffer);
  return rc;
}

static struct packed packed;
static struct seen got; /* large */

static int decode(const char *text)
{
  uint32_t offset;
  pack(&packed, text);
  return decode_bytes(&got, packed.bytes, packed.len, NULL, &offset);
}

/* One event in a batch. */
static const llmd_event *event(const char *text)
{
  char batch[4096];
  snprintf(batch, sizeof batch, "[1.5, [%s], 0]", text);
  assert_int_equal(decode(batch), 1);
  return &got.event[0];
}

/* ---- right ------------------------------------------------------------------------------------------------------- */

static const char array_form[] =
  "[BlockStored, [7, 18446744073709551615], 6, [1, 2, 70000, 300], 2, 3, CPU, adapter, [[salt], null], 1,"
  " sliding_window, 128, LOCAL, kvcr, s1]";
static const char map_form[] =
  "{session_id: s1, ownership: kvcr, locality: LOCAL, kv_cache_spec_sliding_window: 128, group_idx: 1,"
  " kv_cache_spec_kind: sliding_window, extra_keys: [[salt], null], lora_name: adapter, medium: CPU, lora_id: 3,"
  " block_size: 2, token_ids: [1, 2, 70000, 300], parent_block_hash: 6, 'some new key': [{a: [1]}, x00],"
  " block_hashes: [7, 18446744073709551615], type: BlockStored}";

static void assert_full(const llmd_event *e)
{
  assert_int_equal(e->kind, LLMD_EVENT_STORED);
  assert_string_equal(got.type[0], "BlockStored");
  assert_int_equal(e->n_names, 2);
  assert_int_equal(e->name_form, LLMD_NAME_INT);
  assert_null(e->digest);
  assert_true(got.name[0][0] == 7 && got.name[0][1] == UINT64_MAX);
  assert_true(e->has_parent == 1 && e->parent == 6 && e->parent_digest.ptr == NULL);
  assert_int_equal(e->n_tokens, 4);
  assert_memory_equal(got.token[0], ((const uint32_t[]){1, 2, 70000, 300}), 16);
  assert_true(e->block_size == 2 && e->lora_id == 3 && e->tier == LLMD_TIER_CPU);
  assert_true(e->has_group == 1 && e->group == 1 && e->attention == LLMD_ATTENTION_SLIDING && e->window == 128);
  assert_string_equal(got.text[0][0], "adapter");
  assert_string_equal(got.text[0][1], "CPU");
  assert_string_equal(got.text[0][2], "LOCAL");
  assert_string_equal(got.text[0][3], "kvcr");
  assert_string_equal(got.text[0][4], "s1");
  assert_string_equal(got.extra[0], "0:salt ");
}

static void both_encodings_say_the_same(void **state)
{
  (void)state;
  assert_full(event(array_form));
  assert_full(event(map_form));
}

static void a_batch_is_an_array_or_a_map(void **state)
{
  (void)state;
  assert_int_equal(decode("[1.5, [[AllBlocksCleared], {type: AllBlocksCleared, x: 1}], 3]"), 2);
  assert_true(got.head.n == 2 && got.head.ts == 1.5 && got.head.rank == 3);
  assert_int_equal(got.event[1].kind, LLMD_EVENT_CLEARED);
  assert_int_equal(decode("{data_parallel_rank: 4, v: [{}], events: [[AllBlocksCleared]], ts: 12}"), 1);
  assert_true(got.head.n == 1 && got.head.ts == 12 && got.head.rank == 4);
  assert_int_equal(decode("{attn_dp_rank: 5, events: [[AllBlocksCleared]]}"), 1);
  assert_true(isnan(got.head.ts) && got.head.rank == 5);
  assert_int_equal(decode("[-3, [[AllBlocksCleared]], null, {more: 1}]"), 1);
  assert_true(got.head.ts == -3 && got.head.rank == -1);
  assert_int_equal(decode("[null, [[AllBlocksCleared]]]"), 1);
  assert_true(isnan(got.head.ts) && got.head.rank == -1);
  assert_int_equal(decode("[1.5, [], 0]"), 0);
  assert_int_equal(got.n, 0);
}

static void hashes_come_in_all_forms(void **state)
{
  const llmd_event *e = event("{type: BlockRemoved, block_hashes: [-1, -9223372036854775808, 0, 5]}");
  (void)state;
  assert_true(e->n_names == 4 && e->name_form == LLMD_NAME_INT && got.name[0][0] == UINT64_MAX);
  assert_true(got.name[0][1] == (uint64_t)INT64_MIN && got.name[0][2] == 0 && got.name[0][3] == 5);
  e = event("[BlockStored, [x0102030405060708], x09, [], 0]");
  assert_true(e->name_form == LLMD_NAME_DIGEST && got.name[0][0] == 0x0102030405060708u && e->parent_digest.len == 1);
  assert_memory_equal(got.digest[0], "\1\2\3\4\5\6\7\10", 8);
  e = event("[BlockRemoved, [x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f, x00]]");
  assert_true(got.name[0][0] == 0x3523581fe96e4c05u && got.name[0][0] != got.name[0][1]);
  e = event("[BlockRemoved, []]");
  assert_true(e->kind == LLMD_EVENT_REMOVED && e->n_names == 0 && e->name_form == 0);
}

static void older_and_stranger_shapes(void **state)
{
  const llmd_event *e = event("[BlockStored, [1, 2], null, [1, 2, 3, 4], 2, null]"); /* 2025 */
  (void)state;
  assert_true(e->n_tokens == 4 && e->has_parent == 0 && e->lora_id == -1 && e->tier == LLMD_TIER_GPU);
  e = event("[BlockStored, [1], null, [1, 2], 2, null, DISK, [full, swa]]"); /* SGLang, on the way to maps */
  assert_true(e->kind == LLMD_EVENT_STORED && e->tier == LLMD_TIER_DISK && e->lora.ptr == NULL);
  e = event("[BlockStored, [1], null, [1, 2], 2, null, GPU, {page: {kind: x}}]");
  assert_true(e->kind == LLMD_EVENT_STORED && e->n_extra == 0);
  e = event("{type: BlockStored, block_hashes: [5], parent_block_hash: null, token_ids: [[1, 2], [2, 3], [3, 70000]],"
            " block_size: 3, lora_id: null, medium: CPU_PINNED, cache_salt: tenant-a}"); /* SGLang with EAGLE */
  assert_true(e->n_tokens == 3 && e->tier == LLMD_TIER_CPU);
  assert_memory_equal(got.token[0], ((const uint32_t[]){1, 2, 3}), 12);
  assert_string_equal(got.text[0][5], "tenant-a");
  e = event("[BlockStored, [5], 4, [], 0, null, CPU]"); /* offloaded: no tokens */
  assert_true(e->kind == LLMD_EVENT_STORED && e->n_tokens == 0 && e->block_size == 0);
  e = event("[BlockStored, [5], 4, null, null, adapter-uuid, null]");
  assert_true(e->kind == LLMD_EVENT_STORED && e->lora_id == -1);
  assert_string_equal(got.text[0][0], "adapter-uuid");
  e = event("[BlockStored, [5], 4, [1, 2, 3, 4, 5], 2]"); /* what does not fit is for others to judge */
  assert_true(e->kind == LLMD_EVENT_STORED && e->n_tokens == 5);
}

static void tiers_and_attention(void **state)
{
  static const struct { const char *where; uint32_t tier; } tiers[] = {
    {"medium: GPU", LLMD_TIER_GPU}, {"medium: null", LLMD_TIER_GPU}, {"medium: CPU", LLMD_TIER_CPU},
    {"medium: STORAGE", LLMD_TIER_DISK}, {"medium: DISK", LLMD_TIER_DISK}, {"medium: EXTERNAL", LLMD_TIER_REMOTE},
    {"medium: STORAGE, locality: REMOTE", LLMD_TIER_REMOTE}, {"medium: STORAGE, locality: LOCAL", LLMD_TIER_DISK},
    {"locality: LOCAL", LLMD_TIER_GPU}, {"medium: PAPER", LLMD_TIER_REMOTE},
  };
  static const struct { const char *kind; uint32_t attention; } kinds[] = {
    {"full_attention", LLMD_ATTENTION_FULL}, {"mla_attention", LLMD_ATTENTION_FULL},
    {"sink_full_attention", LLMD_ATTENTION_FULL}, {"sliding_window", LLMD_ATTENTION_SLIDING},
    {"sliding_window_mla", LLMD_ATTENTION_SLIDING}, {"mamba", LLMD_ATTENTION_OTHER},
    {"chunked_local_attention", LLMD_ATTENTION_OTHER}, {"encoder_only_attention", LLMD_ATTENTION_OTHER},
    {"cross_attention", LLMD_ATTENTION_OTHER}, {"unknown", LLMD_ATTENTION_UNKNOWN}, {"null", LLMD_ATTENTION_UNKNOWN},
    {"next_years_attention", LLMD_ATTENTION_OTHER},
  };
  char text[256];
  (void)state;
  for (size_t i = 0; i < sizeof tiers / sizeof tiers[0]; i++) {
    snprintf(text, sizeof text, "{type: BlockRemoved, block_hashes: [1], %s}", tiers[i].where);
    assert_int_equal(event(text)->tier, tiers[i].tier);
  }
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    snprintf(text, sizeof text, "{type: BlockStored, block_hashes: [1], kv_cache_spec_kind: %s}", kinds[i].kind);
    assert_int_equal(event(text)->attention, kinds[i].attention);
  }
}

static const char *extras(const char *keys)
{
  char text[512];
  snprintf(text, sizeof text, "{type: BlockStored, block_hashes: [1], lora_name: ad, extra_keys: %s}", keys);
  assert_int_equal(event(text)->kind, LLMD_EVENT_STORED);
  return got.extra[0];
}

static void extra_keys_are_texts_by_block(void **state)
{
  (void)state;
  assert_string_equal(extras("null"), "");
  assert_string_equal(extras("[null, null]"), "");
  assert_string_equal(extras("[null, [a, b], null, [c]]"), "1:a 1:b 3:c ");
  assert_string_equal(extras("[[[img, 4]], [[img, -12], salt]]"), "0:img 1:img 1:salt ");
  assert_string_equal(extras("[[ad, salt], [ad], [salt, ad]]"), "0:salt 2:salt 2:ad ");
  assert_string_equal(extras("[[3, null, x6162, 1.5], loose]"), "0:ab 1:loose ");
  assert_string_equal(extras("[[{type: lora, name: ad, path: p}, {type: cache_salt, value: s}]]"), "0:s ");
  assert_string_equal(extras("[[{type: mm, identifier: img, offset: 3}], {type: legacy, v: [1]}]"), "0:img ");
  assert_string_equal(extras("[[[cache_salt, s], [lora, n, p], [mm, img, 3], [mm]]]"), "0:s 0:img 0:mm ");
}

static void unknown_types_are_handed_out_by_name(void **state)
{
  (void)state;
  assert_int_equal(decode("[1.5, [{type: Foo, block_hashes: text, token_ids: -1, d: [[[[[[[[[[[[1]]]]]]]]]]]]},"
                          " [Bar, [1]], [AllBlocksCleared]], 0]"), 3);
  assert_int_equal(got.event[0].kind, LLMD_EVENT_UNKNOWN);
  assert_string_equal(got.type[0], "Foo");
  assert_int_equal(got.event[1].kind, LLMD_EVENT_UNKNOWN);
  assert_string_equal(got.type[1], "Bar");
  assert_true(got.event[1].n_names == 0 && got.event[1].code == 0);
  assert_int_equal(got.event[2].kind, LLMD_EVENT_CLEARED);
}

/* ---- wrong ------------------------------------------------------------------------------------------------------- */

/* `@` marks the fault: the offset that must come back. */
static const struct { const char *event; int code; } bad[] = {
  {"@5", LLMD_E_TYPE}, {"@null", LLMD_E_TYPE}, {"@BlockStored", LLMD_E_TYPE}, {"@[]", LLMD_E_MISSING},
  {"@{}", LLMD_E_MISSING}, {"@{block_hashes: [1]}", LLMD_E_MISSING}, {"@[5, [1]]", LLMD_E_TYPE},
  {"@{type: 5}", LLMD_E_TYPE}, {"@{type: BlockStored, token_ids: []}", LLMD_E_MISSING},
  {"@[BlockRemoved]", LLMD_E_MISSING}, {"[BlockRemoved, @5]", LLMD_E_TYPE}, {"[BlockRemoved, @null]", LLMD_E_TYPE},
  {"[BlockRemoved, [1, @null]]", LLMD_E_TYPE}, {"[BlockRemoved, [1, @x0102]]", LLMD_E_TYPE},
  {"[BlockRemoved, [x01, @1]]", LLMD_E_TYPE}, {"[BlockRemoved, [@x]]", LLMD_E_RANGE},
  {"[BlockRemoved, [1, @1.5]]", LLMD_E_TYPE}, {"[BlockRemoved, [@[1]]]", LLMD_E_TYPE},
  {"[BlockRemoved, [1], @5]", LLMD_E_TYPE}, {"[BlockRemoved, [1], null, @-1]", LLMD_E_RANGE},
  {"[BlockRemoved, [1], null, @4294967296]", LLMD_E_RANGE}, {"[BlockRemoved, [1], null, @text]", LLMD_E_TYPE},
  {"[BlockStored, [1], @1.5, [], 0]", LLMD_E_TYPE}, {"@[BlockStored, [1], x01, [], 0]", LLMD_E_TYPE},
  {"[BlockStored, [1], null, @5, 1]", LLMD_E_TYPE}, {"[BlockStored, [1], null, [1, @-1], 1]", LLMD_E_RANGE},
  {"[BlockStored, [1], null, [1, @2147483648], 1]", LLMD_E_RANGE},
  {"[BlockStored, [1], null, [1, 2, @4294967295, 3, 4294967295], 1]", LLMD_E_RANGE},
  {"[BlockStored, [1], null, [1, @4294967296], 1]", LLMD_E_RANGE},
  {"[BlockStored, [1], null, [@18446744073709551615], 1]", LLMD_E_RANGE},
  {"[BlockStored, [1], null, [1, @1.0], 1]", LLMD_E_TYPE}, {"[BlockStored, [1], null, [@a], 1]", LLMD_E_TYPE},
  {"[BlockStored, [1], null, [@[1]], 1]", LLMD_E_TYPE}, {"[BlockStored, [1], null, [@[1, 2, 3]], 1]", LLMD_E_TYPE},
  {"[BlockStored, [1], null, [[1, @-2]], 1]", LLMD_E_RANGE}, {"[BlockStored, [1], null, [[@a, 2]], 1]", LLMD_E_TYPE},
  {"@[BlockStored, [1], null, [1, 2], 0]", LLMD_E_RANGE}, {"@[BlockStored, [1], null, [1, 2]]", LLMD_E_RANGE},
  {"[BlockStored, [1], null, [1], @-1]", LLMD_E_RANGE}, {"[BlockStored, [1], null, [1], @4294967296]", LLMD_E_RANGE},
  {"[BlockStored, [1], null, [1], @1.0]", LLMD_E_TYPE}, {"[BlockStored, [1], null, [1], @true]", LLMD_E_TYPE},
  {"[BlockStored, [1], null, [1], 1, @-1]", LLMD_E_RANGE}, {"[BlockStored, [1], null, [1], 1, @1.5]", LLMD_E_TYPE},
  {"[BlockStored, [1], null, [1], 1, null, null, @5]", LLMD_E_TYPE},
  {"[BlockStored, [1], null, [1], 1, null, null, null, @5]", LLMD_E_TYPE},
  {"[BlockStored, [1], null, [1], 1, null, null, null, [null, @5]]", LLMD_E_TYPE},
  {"{type: BlockStored, block_hashes: [1], cache_salt: @5}", LLMD_E_TYPE},
  {"{type: BlockStored, block_hashes: [1], session_id: @[]}", LLMD_E_TYPE},
  {"{type: BlockStored, block_hashes: [1], kv_cache_spec_kind: @7}", LLMD_E_TYPE},
  {"{type: BlockStored, block_hashes: [1], block_hashes: @[2]}", LLMD_E_DUPLICATE},
  {"{type: BlockStored, block_hashes: [1], @type: BlockRemoved}", LLMD_E_DUPLICATE},
  {"{type: BlockStored, block_hashes: [1], new: [[[[[[[[@[1]]]]]]]]]}", LLMD_E_DEPTH},
  {"{type: BlockStored, block_hashes: [1], @[[[[[[[[[1]]]]]]]]]: 1}", 0}, /* a key of any depth is passed over */
  {"{type: BlockStored, block_hashes: [1], extra_keys: [[[a, [[[[[[[[@[1]]]]]]]]]]]]}", LLMD_E_DEPTH},
};

static void a_bad_event_costs_only_itself(void **state)
{
  static const char before[] = "[1.5, [[BlockRemoved, [11]], ", after[] = ", [BlockRemoved, [22]]], 0]";
  char text[1024];
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    const llmd_event *e = &got.event[1];
    uint32_t offset = 0;
    snprintf(text, sizeof text, "%s%s%s", before, bad[i].event, after);
    pack(&packed, text);
    assert_int_equal(decode_bytes(&got, packed.bytes, packed.len, NULL, &offset), 3);
    if (e->code != bad[i].code || (e->code && (e->kind != LLMD_EVENT_BAD || e->offset != packed.mark)))
      fail_msg("%s: code %d at %u instead of %d at %zu", bad[i].event, e->code, e->offset, bad[i].code, packed.mark);
    if (e->code)
      assert_true(e->n_names == 0 && e->n_tokens == 0 && e->n_extra == 0 && e->name == NULL && e->lora.ptr == NULL);
    assert_true(got.event[0].kind == LLMD_EVENT_REMOVED && got.name[0][0] == 11);
    assert_true(got.event[2].kind == LLMD_EVENT_REMOVED && got.name[2][0] == 22);
  }
}

static void limits_are_kept(void **state)
{
  static const struct { const char *event; int code; } rows[] = {
    {"[BlockRemoved, [1, 2, 3]]", 0}, {"[BlockRemoved, [1, 2, 3, 4]]", LLMD_E_LIMIT},
    {"[BlockStored, [1], null, [1, 2, 3, 4], 1]", 0}, {"[BlockStored, [1], null, [1, 2, 3, 4, 5], 1]", LLMD_E_LIMIT},
    {"[BlockStored, [1], null, [], 0, null, null, null, [[a, b]]]", 0},
    {"[BlockStored, [1], null, [], 0, null, null, null, [[a, b], [c]]]", LLMD_E_LIMIT},
    {"{type: BlockRemoved, block_hashes: [1], x: [[1]]}", 0},
    {"{type: BlockRemoved, block_hashes: [1], x: [[[1]]]}", LLMD_E_DEPTH},
  };
  llmd_event_limits l = {.size = sizeof l, .payload = 200, .names = 3, .tokens = 4, .extras = 2, .depth = 2};
  char text[512];
  uint32_t offset;
  (void)state;
  assert_int_equal(llmd_events_buffer(&l), 3 * 8 + 3 * sizeof(llmd_str) + 2 * sizeof(llmd_event_extra) + 16);
  assert_true(llmd_events_buffer(NULL) >= 262144 * 4 + 4096 * 8);
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    snprintf(text, sizeof text, "[1.5, [%s], 0]", rows[i].event);
    pack(&packed, text);
    assert_int_equal(decode_bytes(&got, packed.bytes, packed.len, &l, &offset), 1);
    assert_int_equal(got.event[0].code, rows[i].code);
  }
  memset(packed.bytes, 0x01, 201);
  assert_int_equal(decode_bytes(&got, packed.bytes, 201, &l, &offset), LLMD_E_LIMIT);
}

/* Token k of event i, in every width. */
static uint32_t token_of(uint32_t i, uint32_t k)
{
  return (i * 7919 + k * 104729) % (k % 2 ? 100 : k % 3 ? 60000 : 1u << 31);
}

static int check_tokens(void *ud, const llmd_batch_head *head, const llmd_event *e)
{
  uint32_t *i = ud;
  (void)head;
  assert_int_equal(e->kind, LLMD_EVENT_STORED);
  assert_int_equal(e->n_tokens, 20);
  for (uint32_t k = 0; k < e->n_tokens; k++)
    assert_int_equal(e->token[k], token_of(*i, k));
  ++*i;
  return 0;
}

static void put_tokens(struct packed *p, uint32_t i)
{
  pack_head(p, 0xdc, 20, 2);
  for (uint32_t k = 0; k < 20; k++) {
    if (i % 5 == 4) /* pairs */
      pack_big(p, 0x92, 1);
    pack_uint(p, token_of(i, k));
    if (i % 5 == 4)
      pack_uint(p, k);
  }
}

/* Tokens are kept from the check of the structure as long as there is room: what is handed out is the same. */
static void many_events_share_the_room(void **state)
{
  static const uint32_t rooms[] = {20, 39, 50, 333, 262144};
  (void)state;
  packed.len = 0;
  pack_head(&packed, 0x92, 0, 0);
  pack_head(&packed, 0xc0, 0, 0);
  pack_head(&packed, 0xdc, 100, 2);
  for (uint32_t i = 0; i < 100; i++) {
    pack_head(&packed, 0x95, 0, 0);
    pack_text(&packed, 0xd9, "BlockStored", 11);
    pack_head(&packed, 0x91, 1, 1);
    pack_head(&packed, 0xc0, 0, 0);
    put_tokens(&packed, i);
    pack_uint(&packed, 4);
  }
  for (size_t i = 0; i < sizeof rooms / sizeof rooms[0]; i++) {
    const llmd_event_limits l = {.size = sizeof l, .names = 4, .tokens = rooms[i], .extras = 1};
    void *buffer = malloc(llmd_events_buffer(&l));
    uint32_t seen = 0;
    assert_non_null(buffer);
    assert_int_equal(llmd_events_decode(packed.bytes, packed.len, &l, buffer, check_tokens, &seen, NULL), 100);
    assert_int_equal(seen, 100);
    free(buffer);
  }
}

static void a_broken_batch_does_nothing(void **state)
{
  static const struct { const char *batch; int code; } rows[] = {
    {"@5", LLMD_E_TYPE}, {"@text", LLMD_E_TYPE}, {"[@text, [], 0]", LLMD_E_TYPE}, {"[1.5, @5, 0]", LLMD_E_TYPE},
    {"[1.5, @null, 0]", LLMD_E_TYPE}, {"[1.5, [[AllBlocksCleared]], @text]", LLMD_E_TYPE},
    {"[1.5, [[AllBlocksCleared]], @-1]", LLMD_E_RANGE}, {"[1.5, [[AllBlocksCleared], @\\c1]]", LLMD_E_SYNTAX},
    {"[1.5, [[AllBlocksCleared]], @18446744073709551615]", LLMD_E_RANGE}, {"[1.5]", LLMD_E_MISSING},
    {"[]", LLMD_E_MISSING}, {"{ts: 1}", LLMD_E_MISSING}, {"{events: [], @events: []}", LLMD_E_DUPLICATE},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    uint32_t offset = 0;
    int rc;
    pack(&packed, rows[i].batch);
    rc = decode_bytes(&got, packed.bytes, packed.len, NULL, &offset);
    if (rc != rows[i].code || got.n || (strchr(rows[i].batch, '@') && offset != packed.mark))
      fail_msg("%s: %d at %u, %u events", rows[i].batch, rc, offset, got.n);
  }
  pack(&packed, "[1.5, [[AllBlocksCleared]], 0]");
  packed.bytes[packed.len] = 0;
  assert_int_equal(decode_bytes(&got, packed.bytes, packed.len + 1, NULL, &(uint32_t){0}), LLMD_E_SYNTAX);
  assert_int_equal(got.n, 0);
}

static void a_payload_cut_anywhere_does_nothing(void **state)
{
  char text[2048];
  (void)state;
  snprintf(text, sizeof text, "[1.5, [[AllBlocksCleared], %s, %s], 300]", array_form, map_form);
  assert_int_equal(decode(text), 3);
  for (size_t len = 0; len < packed.len; len++) {
    uint32_t offset = UINT32_MAX;
    assert_int_equal(decode_bytes(&got, packed.bytes, len, NULL, &offset), LLMD_E_TRUNCATED);
    assert_int_equal(got.n, 0);
    assert_true(offset <= len);
  }
}

static void the_caller_may_stop(void **state)
{
  (void)state;
  got.stop_after = 2;
  assert_int_equal(decode("[1.5, [[AllBlocksCleared], [AllBlocksCleared], [AllBlocksCleared]], 0]"), LLMD_E_STOPPED);
  assert_int_equal(got.n, 2);
  got.stop_after = 0;
}

static void wrong_calls_are_refused(void **state)
{
  uint64_t buffer[1];
  uint32_t offset;
  (void)state;
  assert_int_equal(llmd_events_decode(NULL, 1, NULL, buffer, take, NULL, &offset), LLMD_E_INVALID);
  assert_int_equal(llmd_events_decode("a", 1, NULL, NULL, take, NULL, &offset), LLMD_E_INVALID);
  assert_int_equal(llmd_events_decode("a", 1, NULL, buffer, NULL, NULL, &offset), LLMD_E_INVALID);
  assert_int_equal(llmd_events_decode(NULL, 0, NULL, buffer, take, NULL, NULL), LLMD_E_TRUNCATED);
}

/* ---- frames ------------------------------------------------------------------------------------------------------ */

static const struct {
  uint32_t what, n;
  const char *frame[6];
  int code;
  uint32_t end, has_topic;
  const char *topic;
} shapes[] = {
  {LLMD_FRAMES_LIVE, 3, {"topic", "=5", "p"}, 0, 0, 1, "topic"},
  {LLMD_FRAMES_LIVE, 3, {"", "=5", "p"}, 0, 0, 1, ""},
  {LLMD_FRAMES_LIVE, 2, {"=5", "p"}, LLMD_E_SYNTAX, 0, 0, NULL},
  {LLMD_FRAMES_LIVE, 4, {"", "topic", "=5", "p"}, LLMD_E_SYNTAX, 0, 0, NULL},
  {LLMD_FRAMES_LIVE, 3, {"topic", "short", "p"}, LLMD_E_SYNTAX, 0, 0, NULL},
  {LLMD_FRAMES_LIVE, 3, {"topic", "=last", ""}, LLMD_E_SYNTAX, 0, 0, NULL},
  {LLMD_FRAMES_REPLAY, 4, {"", "topic", "=5", "p"}, 0, 0, 1, "topic"},
  {LLMD_FRAMES_REPLAY, 4, {"", "", "=5", "p"}, 0, 0, 1, ""},
  {LLMD_FRAMES_REPLAY, 4, {"", "", "=last", ""}, 0, 1, 1, ""},
  {LLMD_FRAMES_REPLAY, 3, {"", "=5", "p"}, 0, 0, 0, ""},
  {LLMD_FRAMES_REPLAY, 3, {"", "=last", ""}, 0, 1, 0, ""},
  {LLMD_FRAMES_REPLAY, 5, {"id", "", "topic", "=5", "p"}, 0, 0, 1, "topic"},
  {LLMD_FRAMES_REPLAY, 5, {"id", "", "", "=last", ""}, 0, 1, 1, ""},
  {LLMD_FRAMES_REPLAY, 4, {"id", "", "=5", "p"}, 0, 0, 0, ""},
  {LLMD_FRAMES_REPLAY, 4, {"id", "", "=last", ""}, 0, 1, 0, ""},
  {LLMD_FRAMES_REPLAY, 3, {"topic", "=5", "p"}, LLMD_E_SYNTAX, 0, 0, NULL},
  {LLMD_FRAMES_REPLAY, 2, {"", "=5"}, LLMD_E_SYNTAX, 0, 0, NULL},
  {LLMD_FRAMES_REPLAY, 5, {"", "", "topic", "=5", "p"}, LLMD_E_SYNTAX, 0, 0, NULL},
  {LLMD_FRAMES_REPLAY, 6, {"id", "", "topic", "=5", "p", "q"}, LLMD_E_SYNTAX, 0, 0, NULL},
  {LLMD_FRAMES_REPLAY, 4, {"id", "x", "=5", "p"}, LLMD_E_SYNTAX, 0, 0, NULL},
  {LLMD_FRAMES_REPLAY, 1, {"id"}, LLMD_E_SYNTAX, 0, 0, NULL},
  {LLMD_FRAMES_REPLAY, 0, {NULL}, LLMD_E_SYNTAX, 0, 0, NULL},
};

/* =5, =last: sequence numbers. */
static llmd_str frame_of(const char *text)
{
  if (strcmp(text, "=5") == 0)
    return (llmd_str){"\0\0\0\0\0\0\0\5", 8};
  if (strcmp(text, "=last") == 0)
    return (llmd_str){"\xff\xff\xff\xff\xff\xff\xff\xff", 8};
  return (llmd_str){text, strlen(text)};
}

static void frames_come_in_known_shapes(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
    llmd_str frame[6];
    llmd_frames f = {.size = sizeof f, .seq = 77};
    const uint32_t last = shapes[i].end;
    for (uint32_t k = 0; k < shapes[i].n; k++)
      frame[k] = frame_of(shapes[i].frame[k]);
    if (llmd_frames_read(shapes[i].what, frame, shapes[i].n, &f) != shapes[i].code)
      fail_msg("shape %zu", i);
    if (shapes[i].code) {
      assert_int_equal(f.seq, 77);
      continue;
    }
    assert_int_equal(f.seq, last ? UINT64_MAX : 5);
    assert_true(f.end == shapes[i].end && f.has_topic == shapes[i].has_topic);
    assert_int_equal(f.topic.len, strlen(shapes[i].topic));
    assert_true(f.payload.len == (last ? 0u : 1u) && (last || *f.payload.ptr == 'p'));
  }
  assert_int_equal(llmd_frames_read(7, NULL, 0, &(llmd_frames){.size = sizeof(llmd_frames)}), LLMD_E_INVALID);
  assert_int_equal(llmd_frames_read(LLMD_FRAMES_LIVE, NULL, 0, NULL), LLMD_E_INVALID);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(both_encodings_say_the_same), cmocka_unit_test(a_batch_is_an_array_or_a_map),
    cmocka_unit_test(hashes_come_in_all_forms), cmocka_unit_test(older_and_stranger_shapes),
    cmocka_unit_test(tiers_and_attention), cmocka_unit_test(extra_keys_are_texts_by_block),
    cmocka_unit_test(unknown_types_are_handed_out_by_name), cmocka_unit_test(a_bad_event_costs_only_itself),
    cmocka_unit_test(limits_are_kept), cmocka_unit_test(many_events_share_the_room),
    cmocka_unit_test(a_broken_batch_does_nothing),
    cmocka_unit_test(a_payload_cut_anywhere_does_nothing), cmocka_unit_test(the_caller_may_stop),
    cmocka_unit_test(wrong_calls_are_refused), cmocka_unit_test(frames_come_in_known_shapes)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
