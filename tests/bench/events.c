/* Reading engines' KV events: maps as vLLM writes them, an event of 32 blocks a batch, token ids below 150,000 (half of
 * them three bytes long and half five, in no order). */
#define _POSIX_C_SOURCE 200809L
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <llmd/events.h>

#include "base/msgpack.h"
#include "bench.h"

#define BATCHES 500u /* too many to be known by heart */
#define BLOCKS 32u
#define PER_TOKEN 5u

struct batches {
  uint32_t block_size;
  uint8_t *payload[BATCHES];
  size_t len[BATCHES];
  void *buffer;
  uint32_t at;
  uint64_t sum;
};

static uint64_t seed = 99;
static uint64_t roll(void)
{
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return seed ^ seed >> 29;
}

static uint8_t *put_big(uint8_t *p, unsigned head, uint64_t v, int bytes)
{
  *p++ = (uint8_t)head;
  for (int i = bytes - 1; i >= 0; i--)
    *p++ = (uint8_t)(v >> 8 * i);
  return p;
}

static uint8_t *put_int(uint8_t *p, uint64_t v)
{
  if (v < 128)
    return put_big(p, (unsigned)v, 0, 0);
  if (v < 256)
    return put_big(p, 0xcc, v, 1);
  if (v < 65536)
    return put_big(p, 0xcd, v, 2);
  return v <= UINT32_MAX ? put_big(p, 0xce, v, 4) : put_big(p, 0xcf, v, 8);
}

static uint8_t *put_text(uint8_t *p, const char *text)
{
  const size_t n = strlen(text);
  *p++ = (uint8_t)(0xa0 | n);
  memcpy(p, text, n);
  return p + n;
}

static uint8_t *put_event(uint8_t *p, uint32_t block_size)
{
  p = put_text(put_big(p, 0x88, 0, 0), "type");
  p = put_text(put_text(p, "BlockStored"), "block_hashes");
  p = put_big(p, 0xdc, BLOCKS, 2);
  for (uint32_t i = 0; i < BLOCKS; i++)
    p = put_int(p, roll());
  p = put_int(put_text(p, "parent_block_hash"), roll());
  p = put_big(put_text(p, "token_ids"), 0xdc, BLOCKS * block_size, 2);
  for (uint32_t i = 0; i < BLOCKS * block_size; i++)
    p = put_int(p, (roll() >> 20) % 150000);
  p = put_int(put_text(p, "block_size"), block_size);
  p = put_big(put_text(p, "lora_id"), 0xc0, 0, 0);
  p = put_text(put_text(p, "medium"), "GPU");
  return put_big(put_text(p, "lora_name"), 0xc0, 0, 0);
}

static void make(struct batches *b, uint32_t i)
{
  uint8_t *p = malloc(PER_TOKEN * BLOCKS * b->block_size + 1024), *start = p;
  if (!p)
    exit(1);
  p = put_big(p, 0x93, 0, 0);
  p = put_big(p, 0xcb, 0x41da305498100000u, 8);
  p = put_event(put_big(p, 0x91, 0, 0), b->block_size);
  p = put_int(p, 0);
  b->payload[i] = start;
  b->len[i] = (size_t)(p - start);
}

static int take(void *ud, const llmd_batch_head *head, const llmd_event *event)
{
  struct batches *b = ud;
  (void)head;
  b->sum += event->n_tokens + event->token[event->n_tokens - 1] + event->name[0];
  return event->kind != LLMD_EVENT_STORED;
}

static void decode(void *ud)
{
  struct batches *b = ud;
  b->at = (b->at + 1) % BATCHES;
  if (llmd_events_decode(b->payload[b->at], b->len[b->at], NULL, b->buffer, take, b, NULL) != 1)
    exit(1);
}

static void check(void *ud)
{
  struct batches *b = ud;
  llmd__msgpack in;
  b->at = (b->at + 1) % BATCHES;
  llmd__msgpack_init(&in, b->payload[b->at], b->len[b->at]);
  if (llmd__msgpack_skip(&in))
    exit(1);
}

static void rows(uint32_t block_size)
{
  struct batches *b = calloc(1, sizeof *b);
  const double tokens = BLOCKS * block_size;
  char name[80];
  double ns;
  if (!b || !(b->buffer = malloc(llmd_events_buffer(NULL))))
    exit(1);
  b->block_size = block_size;
  for (uint32_t i = 0; i < BATCHES; i++)
    make(b, i);
  ns = bench_time(decode, b, BATCHES);
  snprintf(name, sizeof name, "read events, blocks of %u", block_size);
  bench_row(name, ns / tokens, "ns/token");
  snprintf(name, sizeof name, "read events, blocks of %u, blocks a second", block_size);
  bench_row(name, BLOCKS * 1e3 / ns, "M/s");
  snprintf(name, sizeof name, "of it the check of the structure, blocks of %u", block_size);
  bench_row(name, bench_time(check, b, BATCHES) / tokens, "ns/token");
  for (uint32_t i = 0; i < BATCHES; i++)
    free(b->payload[i]);
  free(b->buffer);
  free(b);
}

int main(int argc, char **argv)
{
  bench_start(argc, argv);
  rows(16);
  rows(64);
  return 0;
}
