/* Messages of hostile engines, in any order, between what a host may do: ticks, failures, sources that come and go, a
 * host that dies in the middle of a batch. The input is a row of steps: one byte that says which, and for a message
 * two bytes of length and its payload.
 *
 *   0-63 live   64-127 replayed   128 end of a replay   129 it failed   130 time and ticks   131 source   132 gone
 *   133 another host   134 a message of any frames                     the low bits: source, number, framing */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <llmd/events.h>

#include "prefix/exact.h"
#include "prefix/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SOURCES 2u
#define SECOND UINT64_C(1000000000)

typedef struct host {
  llmd_index *index;
  llmd_events *events;
  llmd_source_id source[SOURCES];
  uint32_t there[SOURCES], flags[SOURCES], asked[SOURCES]; /* asked: as add_source was */
  uint64_t live[SOURCES], back[SOURCES]; /* next number of a live message, of a replayed one */
  llmd_now now;
  const uint8_t *at, *end;
} host;

static _Alignas(64) uint8_t memory[512 << 10];
static size_t memory_len;

static void must(int holds)
{
  if (!holds)
    abort();
}

static void quiet(void *ud, int level, const char *component, const char *text, size_t len)
{
  must(ud == memory && level >= LLMD_LOG_ERROR && strcmp(component, "events") == 0 && memchr(text, 0, len) == NULL);
}

static void open_host(host *h)
{
  llmd_events_options o;
  memset(&o, 0, sizeof o);
  o.size = sizeof o;
  o.index = h->index;
  o.max_sources = SOURCES;
  o.parked_bytes = 4096;
  o.copies_bytes = 4096;
  o.limits.names = 64;
  o.limits.tokens = 1024;
  o.limits.extras = 64;
  o.log = quiet;
  o.log_ud = memory;
  must(llmd_events_open(&o, &h->events, NULL) == 0);
}

static void begin(host *h, const uint8_t *data, size_t size)
{
  llmd_index_options o;
  memset(&o, 0, sizeof o);
  memset(h, 0, sizeof *h);
  o.size = sizeof o;
  o.rows = 4;
  o.bytes = sizeof memory;
  memory_len = llmd_index_size(&o);
  must(memory_len > 0 && memory_len <= sizeof memory);
  must(llmd_index_format(memory, memory_len, &o) == 0);
  must(llmd_index_open(memory, memory_len, NULL, &h->index, NULL) == 0);
  h->at = data;
  h->end = data + size;
  h->now.mono = SECOND;
  open_host(h);
}

static void add_source(host *h, uint32_t i, uint32_t flags)
{
  static const llmd_endpoint_id ranks[2] = {UINT64_C(1) << 32 | 2, UINT64_C(1) << 32 | 3};
  llmd_source s;
  memset(&s, 0, sizeof s);
  s.size = sizeof s;
  s.engine = flags & 1;
  s.flags = i ? flags >> 1 & LLMD_SOURCE_COUNTED : flags >> 1 & (LLMD_SOURCE_NO_REPLAY | LLMD_SOURCE_SHARED);
  s.endpoint = UINT64_C(1) << 32 | (i + 1);
  if (i == 1 && flags & 16) {
    s.ranks = ranks;
    s.n_ranks = 2;
  }
  s.block_tokens = flags & 32 ? 4 : 0;
  if (h->there[i] && (h->flags[i] ^ s.flags) & LLMD_SOURCE_SHARED) /* it would be another one */
    must(llmd_events_source_gone(h->events, h->source[i]) == 0);
  h->flags[i] = s.flags;
  h->asked[i] = flags;
  h->there[i] = llmd_events_source(h->events, &s, &h->source[i]) == 0;
}

static llmd_str payload(host *h)
{
  llmd_str out = {(const char *)h->at, 0};
  size_t n = h->end - h->at >= 2 ? (size_t)(h->at[0] | h->at[1] << 8) : 0;
  h->at += h->end - h->at >= 2 ? 2 : h->end - h->at;
  if (n > (size_t)(h->end - h->at))
    n = (size_t)(h->end - h->at);
  out.ptr = (const char *)h->at;
  out.len = n;
  h->at += n;
  return out;
}

static llmd_str number(uint8_t room[8], uint64_t v)
{
  for (int i = 0; i < 8; i++)
    room[i] = (uint8_t)(v >> 8 * (7 - i));
  return (llmd_str){(const char *)room, 8};
}

static void after(host *h, uint32_t i, int rc, const llmd_ask *ask)
{
  llmd_source_stats s;
  must(rc >= 0 || (rc > LLMD_E_LAST && llmd_errname(rc) != NULL));
  must(ask->what == LLMD_ASK_NOTHING || ask->what == LLMD_ASK_REPLAY);
  if (ask->what == LLMD_ASK_REPLAY)
    h->back[i] = ask->from;
  s.size = sizeof s;
  must(llmd_events_stats(h->events, h->source[i], &s) == 0);
  must(s.parked_now + s.parked_lost <= s.parked && s.degraded <= 1);
  must(s.replays_failed <= s.replays + s.bad_messages + 1);
}

static void feed(host *h, uint32_t i, uint32_t what, const llmd_str *frame, uint32_t n)
{
  llmd_ask ask = {sizeof ask, 77, 77};
  int rc = llmd_events_feed(h->events, h->source[i], what, frame, n, &h->now, &ask);
  after(h, i, rc, &ask);
}

static void message(host *h, uint8_t op)
{
  const uint32_t i = op & 1u, what = op & 64 ? LLMD_FRAMES_REPLAY : LLMD_FRAMES_LIVE;
  uint64_t *next = op & 64 ? &h->back[i] : &h->live[i];
  const uint64_t jump[8] = {0, 0, 0, 1, 2, 5, UINT64_MAX, UINT64_MAX - 1};
  const uint64_t seq = *next + jump[op >> 1 & 7];
  uint8_t room[8];
  const llmd_str live[3] = {{"kv@a@b", 6}, number(room, op & 32 && !(op & 64) ? 0 : seq), payload(h)};
  const llmd_str newer[4] = {{"", 0}, live[0], live[1], live[2]}, older[3] = {{"", 0}, live[1], live[2]};
  *next = seq + 1;
  if (what == LLMD_FRAMES_LIVE)
    feed(h, i, what, live, 3);
  else
    feed(h, i, what, op & 32 ? older : newer, op & 32 ? 3 : 4);
}

static void any_frames(host *h, uint32_t i)
{
  llmd_str frame[5];
  uint32_t n = 0;
  while (n < 5 && h->at < h->end && (n == 0 || *h->at & 1))
    frame[n++] = payload(h);
  feed(h, i, n & 1 ? LLMD_FRAMES_REPLAY : LLMD_FRAMES_LIVE, frame, n);
}

static void tick(host *h)
{
  llmd_ask ask = {sizeof ask, 0, 0};
  llmd_source_id which;
  uint32_t rounds = 0;
  while (llmd_events_tick(h->events, &h->now, &which, &ask) == 1) {
    must(which < SOURCES && ++rounds <= SOURCES);
    for (uint32_t i = 0; i < SOURCES; i++)
      if (h->there[i] && h->source[i] == which)
        after(h, i, 0, &ask);
  }
  must(llmd_index_tick(h->index, h->now.mono, 0) >= 0);
}

/* It dies while it applies something for a source: its successor takes over what is there. */
static void another_host(host *h, uint32_t i)
{
  size_t bytes;
  llmd__source_record *book = llmd__exact_book(h->index, &bytes);
  book[i + 1].applying = 1;
  llmd_events_close(h->events);
  must(llmd_index_takeover(h->index) >= 0);
  open_host(h);
  for (uint32_t k = 0; k < SOURCES; k++) {
    h->there[k] = 0;
    add_source(h, k, h->asked[k]);
  }
}

static void step(host *h, uint8_t op)
{
  const uint32_t i = op < 128 ? op & 1u : h->at < h->end ? *h->at++ : 0;
  const uint32_t which = i & 1u;
  const llmd_str end[4] = {{"", 0}, {"", 0}, {"\xff\xff\xff\xff\xff\xff\xff\xff", 8}, {"", 0}};
  if (op == 131)
    add_source(h, which, i >> 1);
  else if (op == 133)
    another_host(h, which);
  else if (op == 130)
    h->now.mono += i * SECOND;
  if (op == 130)
    tick(h);
  if (!h->there[which])
    return;
  if (op < 128)
    message(h, op);
  else if (op == 128)
    feed(h, which, LLMD_FRAMES_REPLAY, end + (i >> 1 & 1), 4 - (i >> 1 & 1));
  else if (op == 129)
    must(llmd_events_replay_failed(h->events, h->source[which], &h->now) == 0);
  else if (op == 134)
    any_frames(h, which);
  else if (op == 132)
    h->there[which] = llmd_events_source_gone(h->events, h->source[which]) != 0;
}

/* Whatever came, all that the index holds goes away when its sources go. */
static void end(host *h)
{
  llmd_index_stats s;
  for (uint32_t i = 0; i < SOURCES; i++)
    if (h->there[i])
      must(llmd_events_source_gone(h->events, h->source[i]) == 0);
  while (llmd_index_tick(h->index, h->now.mono, 1000) == 1)
    continue;
  s.size = sizeof s;
  must(llmd_index_stats_get(h->index, &s) == 0);
  must(s.held == 0 && s.dead == 0);
  llmd_events_close(h->events);
  llmd_index_close(h->index);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  host h;
  begin(&h, data, size);
  for (uint32_t i = 0; i < SOURCES; i++)
    add_source(&h, i, 0);
  while (h.at < h.end)
    step(&h, *h.at++);
  end(&h);
  return 0;
}
