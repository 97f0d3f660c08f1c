/* Formats and checks regions; finds their parts. */
#include "base/region.h"

#include <string.h>

#include "base/error.h"

#define ALIGN 64u

static uint64_t up(uint64_t n)
{
  return (n + ALIGN - 1) & ~(uint64_t)(ALIGN - 1);
}

static uint32_t pick32(uint32_t v, uint32_t preset)
{
  return v ? v : preset;
}

static uint64_t pick64(uint64_t v, uint64_t preset)
{
  return v ? v : preset;
}

/* The options that the caller knows, the others 0. */
static llmd_region_options known(const llmd_region_options *o)
{
  llmd_region_options all;
  memset(&all, 0, sizeof all);
  if (o)
    memcpy(&all, o, o->size && o->size < sizeof all ? o->size : sizeof all);
  return all;
}

static void at_most(uint32_t *v, uint32_t most)
{
  *v = *v < most ? *v : most;
}

static void at_most64(uint64_t *v, uint64_t most)
{
  *v = *v < most ? *v : most;
}

/* What no region exceeds. So no sum of sizes overflows, and the number of a string fits in 32 bits. */
static void limit(llmd__caps *c)
{
  at_most(&c->endpoints, 16384);
  at_most(&c->attributes, 4096);
  at_most(&c->labels, 64);
  at_most(&c->models, 4096);
  at_most(&c->lanes, 65536 + LLMD__SPARE_LANES);
  at_most(&c->tickets, 1u << 24);
  at_most(&c->ring_bytes, 1u << 30);
  at_most64(&c->string_bytes, UINT64_C(1) << 34);
  at_most64(&c->state_bytes, UINT64_C(1) << 44);
  at_most64(&c->prefix_bytes, UINT64_C(1) << 44);
  at_most64(&c->index_bytes, UINT64_C(1) << 44);
  at_most64(&c->token_bytes, UINT64_C(1) << 44);
}

/* Chains of strings: on average one or none in each, however short they are. */
static uint32_t slots_for(uint64_t string_bytes)
{
  uint32_t n = 1024;
  while (n < string_bytes / 16 && n < 1u << 24)
    n *= 2;
  return n;
}

static void read_caps(llmd__caps *c, const llmd_region_options *o)
{
  llmd_region_options zero = known(o);
  c->endpoints = pick32(zero.max_endpoints, 1024);
  c->attributes = pick32(zero.max_attributes, 64);
  c->attributes = c->attributes < 16 ? 16 : c->attributes;
  c->labels = pick32(zero.max_labels, 16);
  c->models = pick32(zero.max_models, 32);
  c->lanes = pick32(zero.max_lanes, 64);
  c->lanes = (c->lanes < 65536 ? c->lanes : 65536) + LLMD__SPARE_LANES;
  c->tickets = pick32(zero.max_tickets, 16384);
  c->ring_bytes = pick32(zero.ring_bytes, 65536);
  c->string_bytes = pick64(zero.string_bytes, 8u << 20);
  c->state_bytes = pick64(zero.state_bytes, 160u << 20);
  c->prefix_bytes = pick64(zero.prefix_bytes, 64u << 20);
  c->index_bytes = pick64(zero.index_bytes, 64u << 20);
  c->token_bytes = pick64(zero.token_bytes, 16u << 20);
  limit(c);
  c->ring_bytes = (c->ring_bytes + 63u) & ~63u;
  c->string_bytes = up(c->string_bytes);
  c->state_bytes = up(c->state_bytes);
  c->prefix_bytes = up(c->prefix_bytes);
  c->index_bytes = up(c->index_bytes);
  c->token_bytes = up(c->token_bytes);
  c->string_slots = slots_for(c->string_bytes);
}

static uint64_t buffer_bytes(const llmd__caps *c)
{
  uint64_t n = c->endpoints;
  return up(sizeof(llmd__buffer)) + up(n * sizeof(llmd__row)) + up(n * 4) + up(n * c->labels * 8) +
         up(n * c->attributes * 8) + up((uint64_t)LLMD__SETS * n * (1 + c->models) * 4);
}

/* Places every part; returns the total size. */
static uint64_t lay_out(llmd__region *g)
{
  const llmd__caps *c = &g->caps;
  uint64_t at = up(sizeof *g);
  g->buffer_bytes = buffer_bytes(c);
  g->attr_off = at;
  at += up(c->attributes * sizeof(llmd__attribute));
  g->table_off = at;
  at += up((uint64_t)c->string_slots * 4);
  g->string_off = at;
  at += c->string_bytes;
  g->buffer_off = at; /* buffers, then staging: the same layout */
  g->staging_off = at + LLMD__BUFFERS * g->buffer_bytes;
  at += (LLMD__BUFFERS + 1) * g->buffer_bytes;
  g->total_off = at;
  at += up(c->endpoints * sizeof(llmd__total));
  g->health_off = at;
  at += up(c->endpoints * sizeof(llmd__health));
  g->ticket_off = at;
  at += up((uint64_t)c->tickets * sizeof(llmd__ticket));
  g->lane_off = at;
  at += up(c->lanes * sizeof(llmd__lane_slot));
  g->ring_off = at;
  at += (uint64_t)c->lanes * c->ring_bytes;
  g->state_off = at;
  at += up(LLMD__STATES * sizeof(uint64_t)) + up(LLMD__CLAIMS * sizeof(llmd__claim)) + c->state_bytes;
  g->bytes = at;
  return at;
}

size_t llmd_region_size(const llmd_region_options *options)
{
  llmd__region g;
  memset(&g.caps, 0, sizeof g.caps);
  read_caps(&g.caps, options);
  return (size_t)lay_out(&g);
}

static uint64_t head_sum(const llmd__region *g)
{
  const unsigned char *p = (const unsigned char *)g;
  uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
  for (size_t i = offsetof(llmd__region, bytes); i < offsetof(llmd__region, sum); i++)
    h = (h ^ p[i]) * 0x100000001b3u;
  return h;
}

static void expand_secret(uint8_t *out, const llmd_region_options *options)
{
  llmd_region_options o = known(options);
  uint64_t x = o.seed;
  if (o.secret) {
    memcpy(out, o.secret, LLMD_SECRET_BYTES);
    return;
  }
  for (uint32_t i = 0; i < LLMD_SECRET_BYTES; i += 8) { /* splitmix64 */
    uint64_t z = (x += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    memcpy(out + i, &z, 8);
  }
}

int llmd_region_format(void *mem, size_t len, const llmd_region_options *options)
{
  llmd__region g;
  uint64_t need;
  if (!mem || ((uintptr_t)mem & (ALIGN - 1)))
    return LLMD_E_INVALID;
  memset(&g, 0, sizeof g);
  read_caps(&g.caps, options);
  need = lay_out(&g);
  if (len < need)
    return LLMD_E_LIMIT;
  /* Only what must be zero: state and string bytes are cleared when they are handed out. */
  memset((char *)mem, 0, (size_t)g.string_off);
  memset((char *)mem + g.buffer_off, 0, (size_t)(g.ring_off - g.buffer_off));
  memset((char *)mem + g.state_off, 0, (size_t)(llmd__region_state_room(&g) - g.state_off));
  g.magic = 0;
  g.layout = LLMD__LAYOUT;
  g.endian = LLMD__ENDIAN;
  g.sum = head_sum(&g);
  g.health_failures = LLMD__HEALTH_FAILURES;
  g.health_window_ms = LLMD__HEALTH_WINDOW_MS;
  g.health_first_ms = LLMD__HEALTH_FIRST_MS;
  g.health_longest_ms = LLMD__HEALTH_LONGEST_MS;
  g.health_percent = LLMD__HEALTH_PERCENT;
  g.state_touched = known(options).zeroed ? 0 : UINT64_MAX;
  expand_secret(g.secret, options);
  memcpy(mem, &g, sizeof g);
  atomic_thread_fence(memory_order_release);
  ((llmd__region *)mem)->magic = LLMD__MAGIC; /* last: a half-formatted region has no magic */
  return 0;
}

/* Caps that read_caps can have made. */
static int are_caps(const llmd__caps *c)
{
  llmd__caps most = *c;
  uint64_t odd = c->string_bytes | c->state_bytes | c->prefix_bytes | c->index_bytes | c->token_bytes | c->ring_bytes;
  limit(&most);
  return !memcmp(&most, c, sizeof *c) && c->endpoints && c->attributes >= 16 && c->lanes > LLMD__SPARE_LANES &&
         c->tickets && c->ring_bytes && c->string_bytes && !(odd & (ALIGN - 1)) &&
         c->string_slots == slots_for(c->string_bytes);
}

/* Would the caps of the header give the header's own places? Everything is found through these. */
static int is_whole(const llmd__region *g, size_t len)
{
  llmd__region again;
  if (g->sum != head_sum(g) || !are_caps(&g->caps))
    return 0;
  memset(&again, 0, sizeof again);
  again.caps = g->caps;
  return lay_out(&again) == g->bytes && g->bytes <= len && again.attr_off == g->attr_off &&
         again.table_off == g->table_off && again.string_off == g->string_off &&
         again.staging_off == g->staging_off && again.buffer_off == g->buffer_off &&
         again.buffer_bytes == g->buffer_bytes && again.total_off == g->total_off &&
         again.health_off == g->health_off &&
         again.ticket_off == g->ticket_off && again.lane_off == g->lane_off && again.ring_off == g->ring_off &&
         again.state_off == g->state_off;
}

int llmd_region_check(const void *mem, size_t len, llmd_err *err)
{
  const llmd__region *g = mem;
  if (!mem || len < sizeof *g || ((uintptr_t)mem & (ALIGN - 1)))
    return llmd__fail(err, LLMD_E_INVALID, 0, 0, NULL, "not a region: too small or not aligned to 64 bytes");
  if (g->magic != LLMD__MAGIC)
    return llmd__fail(err, LLMD_E_MISMATCH, 0, 0, NULL, "not a region: no magic");
  if (g->layout != LLMD__LAYOUT)
    return llmd__fail(err, LLMD_E_MISMATCH, 0, 0, NULL, "region has layout %u, this library has layout %u", g->layout,
                      LLMD__LAYOUT);
  if (g->endian != LLMD__ENDIAN)
    return llmd__fail(err, LLMD_E_MISMATCH, 0, 0, NULL, "region was made on a machine of the other byte order");
  if (!is_whole(g, len))
    return llmd__fail(err, LLMD_E_MISMATCH, 0, 0, NULL, "region header is damaged or the mapping is too short");
  return 0;
}

void llmd__region_view(llmd__region *g, uint32_t buffer, llmd__buffer_view *out)
{
  const llmd__caps *c = &g->caps;
  char *p = (char *)g + g->buffer_off + buffer * g->buffer_bytes;
  uint64_t n = c->endpoints;
  out->head = (llmd__buffer *)(void *)p;
  p += up(sizeof(llmd__buffer));
  out->row = (llmd__row *)(void *)p;
  p += up(n * sizeof(llmd__row));
  out->row_of = (uint32_t *)(void *)p;
  p += up(n * 4);
  out->label = (uint32_t *)(void *)p;
  p += up(n * c->labels * 8);
  out->column = (uint64_t *)(void *)p;
  p += up(n * c->attributes * 8);
  out->set = (uint32_t *)(void *)p;
}
