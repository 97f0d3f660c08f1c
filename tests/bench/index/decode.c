/* From event bytes: vLLM's map-shaped batches of 32 blocks, read, hashed, applied. 250 chains of 64 blocks are stored
 * by 64 workers: 1,024,000 held blocks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <llmd/events.h>

#include "side.h"

#define WORKERS 64u
#define EVENT 32u
#define CHAIN 64u

struct payload {
  size_t at, len;
};
struct decoding {
  side side;
  uint32_t block_tokens, chains;
  uint32_t *token;      /* [chains][CHAIN * block_tokens] */
  uint8_t *bytes;
  size_t n, cap;
  struct payload *payload; /* of chain, worker, half: in this order */
  uint32_t payloads;
};

/* ---- writing msgpack --------------------------------------------------------------------------------------------- */

static void put(struct decoding *d, const void *p, size_t n)
{
  if (d->n + n > d->cap) {
    d->cap = 2 * d->cap + n + 65536;
    d->bytes = work_need(realloc(d->bytes, d->cap));
  }
  memcpy(d->bytes + d->n, p, n);
  d->n += n;
}

/* A tag and a big-endian number of `size` bytes. */
static void put_be(struct decoding *d, uint8_t tag, uint64_t v, uint32_t size)
{
  uint8_t out[9] = {tag};
  for (uint32_t i = 0; i < size; i++)
    out[1 + i] = (uint8_t)(v >> 8 * (size - 1 - i));
  put(d, out, 1 + size);
}

static void put_uint(struct decoding *d, uint64_t v)
{
  if (v < 128)
    put_be(d, (uint8_t)v, 0, 0);
  else if (v < 256)
    put_be(d, 0xcc, v, 1);
  else if (v < 65536)
    put_be(d, 0xcd, v, 2);
  else if (v <= UINT32_MAX)
    put_be(d, 0xce, v, 4);
  else
    put_be(d, 0xcf, v, 8);
}

static void put_text(struct decoding *d, const char *text)
{
  put_be(d, (uint8_t)(0xa0 | strlen(text)), 0, 0);
  put(d, text, strlen(text));
}

static void put_array(struct decoding *d, uint32_t n)
{
  if (n < 16)
    put_be(d, (uint8_t)(0x90 | n), 0, 0);
  else
    put_be(d, 0xdc, n, 2);
}

static void put_nil(struct decoding *d)
{
  put_be(d, 0xc0, 0, 0);
}

/* [1.0, [event], nil] */
static void put_batch(struct decoding *d, const uint64_t *parent, const uint64_t *name, const uint32_t *token)
{
  put_array(d, 3);
  put_be(d, 0xcb, UINT64_C(0x3ff0000000000000), 8);
  put_array(d, 1);
  put_be(d, 0x88, 0, 0);
  put_text(d, "type");
  put_text(d, "BlockStored");
  put_text(d, "block_hashes");
  put_array(d, EVENT);
  for (uint32_t i = 0; i < EVENT; i++)
    put_uint(d, name[i]);
  put_text(d, "parent_block_hash");
  if (parent)
    put_uint(d, *parent);
  else
    put_nil(d);
  put_text(d, "token_ids");
  put_array(d, EVENT * d->block_tokens);
  for (uint32_t i = 0; i < EVENT * d->block_tokens; i++)
    put_uint(d, token[i]);
  put_text(d, "block_size");
  put_uint(d, d->block_tokens);
  put_text(d, "lora_id");
  put_nil(d);
  put_text(d, "medium");
  put_text(d, "GPU");
  put_text(d, "lora_name");
  put_nil(d);
  put_nil(d);
}

/* One chain's two events, a copy for each worker. */
static void write_chain(struct decoding *d, const uint32_t *token, const uint64_t *name)
{
  for (uint32_t w = 0; w < WORKERS; w++)
    for (uint32_t half = 0; half < 2; half++) {
      struct payload *p = &d->payload[d->payloads++];
      p->at = d->n;
      put_batch(d, half ? &name[EVENT - 1] : NULL, name + half * EVENT, token + half * EVENT * d->block_tokens);
      p->len = d->n - p->at;
    }
}

static void write_all(struct decoding *d)
{
  const uint32_t per_chain = CHAIN * d->block_tokens;
  work_rng r = {99};
  work_chain c = {0};
  d->token = work_need(malloc((size_t)d->chains * per_chain * sizeof *d->token));
  d->payload = work_need(malloc((size_t)d->chains * WORKERS * 2 * sizeof *d->payload));
  work_chain_reset(&c, CHAIN);
  for (uint32_t k = 0; k < d->chains; k++) {
    uint32_t *token = d->token + (size_t)k * per_chain;
    for (uint32_t i = 0; i < per_chain; i++)
      token[i] = (uint32_t)work_below(&r, 150000);
    c.n = CHAIN;
    for (uint32_t i = 0; i < CHAIN; i++)
      c.content[i] = work_hash(token + i * d->block_tokens, d->block_tokens);
    work_chain_name(&c);
    write_chain(d, token, c.name);
  }
  work_chain_free(&c);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static int only_look(void *ud, const llmd_batch_head *head, const llmd_event *event)
{
  (void)head;
  *(uint64_t *)ud += event->n_names;
  return 0;
}

struct chaining {
  const uint8_t *secret;
  uint64_t blocks;
  llmd_chain chain; /* the second half of a chain goes on where the first ended */
};

static int derive_keys(void *ud, const llmd_batch_head *head, const llmd_event *event)
{
  struct chaining *c = ud;
  llmd_key key[EVENT];
  (void)head;
  if (!event->has_parent) {
    const llmd_chain_root root = {.size = sizeof root, .block_tokens = event->block_size};
    llmd_chain_begin(&c->chain, c->secret, &root);
  }
  c->blocks += (uint64_t)llmd_chain_extend(&c->chain, c->secret, event->token, event->n_tokens, NULL, 0, key, EVENT);
  return 0;
}

static void decode_rows(struct decoding *d)
{
  const double n = (double)d->payloads * EVENT;
  struct chaining c = {.secret = d->side.secret};
  void *buffer = work_need(malloc(llmd_events_buffer(NULL)));
  uint64_t blocks = 0, start = side_now();
  char row[64];
  for (uint32_t i = 0; i < d->payloads; i++)
    llmd_events_decode(d->bytes + d->payload[i].at, d->payload[i].len, NULL, buffer, only_look, &blocks, NULL);
  side_row("decode%u_msgpack_only_blocks_per_s", n / ((double)(side_now() - start) * 1e-9), d->block_tokens);
  snprintf(row, sizeof row, "decode%u_blocks_seen", d->block_tokens);
  side_must(row, (double)blocks, n);
  start = side_now();
  for (uint32_t i = 0; i < d->payloads; i++)
    llmd_events_decode(d->bytes + d->payload[i].at, d->payload[i].len, NULL, buffer, derive_keys, &c, NULL);
  side_row("decode%u_and_hash_blocks_per_s", n / ((double)(side_now() - start) * 1e-9), d->block_tokens);
  snprintf(row, sizeof row, "decode%u_blocks_hashed", d->block_tokens);
  side_must(row, (double)c.blocks, n);
  free(buffer);
}

/* ---- applying ---------------------------------------------------------------------------------------------------- */

static llmd_events *open_events(struct decoding *d, llmd_source_id *source)
{
  const llmd_events_options o = {.size = sizeof o, .index = d->side.index};
  llmd_events *events = NULL;
  llmd_err err = LLMD_ERR_INIT;
  int rc = llmd_events_open(&o, &events, &err);
  for (uint32_t w = 0; !rc && w < WORKERS; w++) {
    const llmd_source s = {.size = sizeof s, .endpoint = side_endpoint(w), .block_tokens = d->block_tokens};
    rc = llmd_events_source(events, &s, &source[w]);
  }
  if (rc) {
    fprintf(stderr, "bench_index: events: %s %s\n", llmd_errname(rc), err.text);
    exit(2);
  }
  return events;
}

static void feed_all(struct decoding *d, llmd_events *events, const llmd_source_id *source)
{
  const llmd_now now = {1000000, 0};
  uint64_t seq[WORKERS] = {0};
  for (uint32_t i = 0; i < d->payloads; i++) {
    const uint32_t w = i / 2 % WORKERS;
    const uint64_t s = seq[w]++;
    char be[8];
    const llmd_str frame[3] = {
      {"", 0}, {be, sizeof be}, {(const char *)d->bytes + d->payload[i].at, d->payload[i].len}};
    llmd_ask ask = {.size = sizeof ask};
    for (int k = 0; k < 8; k++)
      be[k] = (char)(s >> 8 * (7 - k));
    if (llmd_events_feed(events, source[w], LLMD_FRAMES_LIVE, frame, 3, &now, &ask) != 1 || ask.what)
      d->side.errors++;
  }
}

/* Every worker holds all of every chain. */
static uint32_t wrong_chains(struct decoding *d)
{
  const llmd_chain_root root = {.size = sizeof root, .block_tokens = d->block_tokens};
  const uint32_t per_chain = CHAIN * d->block_tokens;
  uint32_t bad = 0;
  for (uint32_t k = 0; k < d->chains; k++) {
    uint32_t whole = 0;
    llmd_key key[CHAIN];
    llmd_chain c;
    llmd_chain_begin(&c, d->side.secret, &root);
    llmd_chain_extend(&c, d->side.secret, d->token + (size_t)k * per_chain, per_chain, NULL, 0, key, CHAIN);
    side_ask(&d->side, key, CHAIN);
    for (uint32_t i = 0; i < d->side.hits; i++)
      whole += d->side.hit[i].blocks == CHAIN;
    bad += whole != WORKERS;
  }
  return bad;
}

static void apply_rows(struct decoding *d)
{
  const double n = (double)d->payloads * EVENT;
  llmd_source_id source[WORKERS];
  llmd_events *events = open_events(d, source);
  const uint64_t wall = side_now(), cpu = side_cpu();
  char row[64];
  feed_all(d, events, source);
  side_row("decode%u_and_apply_blocks_per_s", n / ((double)(side_now() - wall) * 1e-9), d->block_tokens);
  side_row("decode%u_and_apply_blocks_per_cpu_s", n / ((double)(side_cpu() - cpu) * 1e-9), d->block_tokens);
  snprintf(row, sizeof row, "decode%u_held", d->block_tokens);
  side_must(row, (double)side_stats(&d->side).held, n);
  snprintf(row, sizeof row, "decode%u_wrong_chains", d->block_tokens);
  side_must(row, wrong_chains(d), 0);
  llmd_events_close(events);
}

void part_decode(void)
{
  side_pin(0);
  for (uint32_t size = 16; size <= 64; size *= 4) {
    struct decoding d = {.block_tokens = size, .chains = side_set.quick ? 10 : 250};
    write_all(&d);
    side_row("decode%u_payload_bytes_per_block", (double)d.n / ((double)d.payloads * EVENT), size);
    side_open(&d.side, UINT64_C(128) << 20, WORK_SLOTS);
    decode_rows(&d);
    apply_rows(&d);
    side_close(&d.side);
    free(d.token);
    free(d.bytes);
    free(d.payload);
  }
}
