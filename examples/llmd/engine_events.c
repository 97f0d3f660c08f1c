#define _GNU_SOURCE
#include "engine_events.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <llmd/error.h>
#include <llmd/uv.h>

#include "event_socket.h"
#include "sim_rng.h"

#define MOST_KEPT ((size_t)256 << 20) /* bytes */

struct message {
  uint64_t seq;
  uint8_t *bytes;
  size_t len;
};

struct engine_events {
  struct sim_publisher *publisher;
  struct event_socket *socket;
  struct engine_block **bucket;
  uint32_t mask;
  char *host, *topic, *connect; /* connect: NULL = it listens */
  uint32_t skip;
  int lost; /* those skipped are not kept, either */

  struct message *ring; /* [keep]; [first, end) are there */
  uint32_t keep;
  uint64_t first, end;
  size_t kept;
};

/* ---- names ---- */

static struct engine_block **bucket_of(const struct engine_events *ev, uint64_t name)
{
  return &ev->bucket[(uint32_t)sim_mix(name) & ev->mask];
}

void engine_events_know(struct engine_events *ev, struct engine_blocks *blocks)
{
  for (uint32_t i = 0; i < blocks->n; i++) {
    struct engine_block *b = &blocks->block[i], **head = bucket_of(ev, blocks->name[i]);
    b->owner = blocks;
    b->next = *head;
    b->back = head;
    if (b->next)
      b->next->back = &b->next;
    *head = b;
  }
}

void engine_events_forget(struct engine_blocks *blocks)
{
  for (uint32_t i = 0; blocks->block && i < blocks->n; i++) {
    struct engine_block *b = &blocks->block[i];
    if (!b->back)
      continue;
    *b->back = b->next;
    if (b->next)
      b->next->back = b->back;
    b->back = NULL;
  }
}

static int meaning(void *ud, uint64_t name, struct sim_meaning *out)
{
  const struct engine_events *ev = ud;
  for (const struct engine_block *b = *bucket_of(ev, name); b; b = b->next) {
    const struct engine_blocks *owner = b->owner;
    const size_t i = (size_t)(b - owner->block);
    if (owner->name[i] != name)
      continue;
    out->tokens = owner->tokens + i * sim_publisher_block_size(ev->publisher);
    out->lora = owner->lora;
    out->salt = owner->salt;
    return 0;
  }
  return LLMD_E_NONE;
}

/* ---- messages ---- */

static void drop_oldest(struct engine_events *ev)
{
  struct message *m = &ev->ring[ev->first++ % ev->keep];
  ev->kept -= m->len;
  free(m->bytes);
  memset(m, 0, sizeof *m);
}

static void keep(struct engine_events *ev, uint64_t seq, const uint8_t *bytes, size_t len)
{
  uint8_t *copy = ev->keep ? malloc(len) : NULL;
  if (!copy)
    return;
  memcpy(copy, bytes, len);
  while (ev->end > ev->first && (ev->end - ev->first == ev->keep || ev->kept + len > MOST_KEPT))
    drop_oldest(ev);
  ev->ring[ev->end++ % ev->keep] = (struct message){seq, copy, len};
  ev->kept += len;
}

static int answer(void *ud, uint64_t from, struct event_message *out)
{
  const struct engine_events *ev = ud;
  uint64_t low = ev->first, high = ev->end;
  while (low < high) {
    const uint64_t middle = low + (high - low) / 2;
    if (ev->ring[middle % ev->keep].seq < from)
      low = middle + 1;
    else
      high = middle;
  }
  if (low == ev->end)
    return 0;
  *out = (struct event_message){.seq = ev->ring[low % ev->keep].seq, .topic = ev->topic, .topic_len = strlen(ev->topic),
                                .payload = ev->ring[low % ev->keep].bytes, .len = ev->ring[low % ev->keep].len};
  return 1;
}

void engine_events_send(struct engine_events *ev)
{
  const struct sim_batch *batch;
  const uint8_t *bytes;
  size_t len;
  llmd_now now;
  llmd_clock(&now);
  if (sim_publisher_send(ev->publisher, (double)now.wall / 1e9) != 1)
    return;
  batch = sim_publisher_batch(ev->publisher, sim_publisher_end(ev->publisher) - 1);
  if (sim_publisher_spell(ev->publisher, batch, &bytes, &len))
    return;
  if (!ev->skip || !ev->lost)
    keep(ev, batch->seq, bytes, len);
  if (ev->skip)
    ev->skip--;
  else
    (void)event_socket_publish(ev->socket, ev->topic, strlen(ev->topic), batch->seq, bytes, len);
}

void engine_events_skip(struct engine_events *ev, uint32_t n, int lost)
{
  ev->skip = n;
  ev->lost = lost;
}

void engine_events_restart(struct engine_events *ev)
{
  while (ev->first < ev->end)
    drop_oldest(ev);
  ev->skip = 0;
  sim_publisher_restart(ev->publisher);
}

/* ---- life ---- */

static void free_all(struct engine_events *ev)
{
  while (ev->first < ev->end)
    drop_oldest(ev);
  sim_publisher_destroy(ev->publisher);
  free(ev->bucket);
  free(ev->ring);
  free(ev->host);
  free(ev->topic);
  free(ev->connect);
  free(ev);
}

static char *copy_text(const char *text)
{
  size_t len = strlen(text) + 1;
  char *copy = malloc(len);
  if (copy)
    memcpy(copy, text, len);
  return copy;
}

static int make(const struct engine_events_options *o, struct engine_events *ev)
{
  uint32_t buckets = 1024;
  while (buckets < o->n_blocks * 2)
    buckets *= 2;
  ev->mask = buckets - 1;
  ev->keep = o->keep;
  ev->bucket = calloc(buckets, sizeof *ev->bucket);
  ev->ring = calloc(o->keep ? o->keep : 1, sizeof *ev->ring);
  ev->host = copy_text(o->host);
  ev->topic = copy_text(o->topic);
  ev->connect = o->connect ? copy_text(o->connect) : NULL;
  if (!ev->bucket || !ev->ring || !ev->host || !ev->topic || (o->connect && !ev->connect))
    return LLMD_E_NOMEM;
  return sim_publisher_create(&ev->publisher, o->block_size, 1);
}

int engine_events_open(const struct engine_events_options *o, struct engine_events **out)
{
  char live[300], replay[300];
  struct engine_events *ev = calloc(1, sizeof *ev);
  int rc = ev ? make(o, ev) : LLMD_E_NOMEM;
  if (rc == 0) {
    if (o->connect)
      (void)snprintf(live, sizeof live, ">%s", o->connect);
    else
      (void)snprintf(live, sizeof live, "tcp://%s:%" PRIu32, o->host, o->port);
    (void)snprintf(replay, sizeof replay, "tcp://%s:%" PRIu32, o->host, o->replay_port);
    rc = event_socket_open(o->loop, live, replay, answer, ev, &ev->socket);
  }
  if (rc) {
    if (ev)
      free_all(ev);
    return rc;
  }
  sim_publisher_mean(ev->publisher, meaning, ev);
  *out = ev;
  return 0;
}

void engine_events_close(struct engine_events *ev, void (*done)(void *ud), void *ud)
{
  if (!ev)
    return;
  event_socket_close(ev->socket, done, ud);
  ev->socket = NULL;
  free_all(ev);
}

struct sim_publisher *engine_events_publisher(struct engine_events *ev)
{
  return ev->publisher;
}

/* ---- where they are ---- */

void engine_events_address(const struct engine_events *ev, int replay, char *out, size_t room)
{
  const uint32_t port = replay ? event_socket_replay_port(ev->socket) : event_socket_port(ev->socket);
  if (ev->connect && !replay)
    (void)snprintf(out, room, "%s", ev->connect);
  else
    (void)snprintf(out, room, "tcp://%s:%" PRIu32, ev->host, port);
}

void engine_events_sources(const struct engine_events *ev, struct engine_text *out)
{
  if (!ev) {
    engine_text_add(out, "{}");
    return;
  }
  /* As vLLM's: with an address instead of the star it means that the engine connects there. */
  engine_text_add(out, "{\"0\":{\"enable_kv_cache_events\":true,\"publisher\":\"zmq\",\"endpoint\":\"");
  if (ev->connect)
    engine_text_quote(out, ev->connect, strlen(ev->connect));
  else
    engine_text_add(out, "tcp://*:%" PRIu32, event_socket_port(ev->socket));
  engine_text_add(out, "\",\"replay_endpoint\":\"tcp://*:%" PRIu32 "\",\"buffer_steps\":%" PRIu32 ",\"hwm\":100000,"
                  "\"max_queue_size\":100000,\"topic\":\"", event_socket_replay_port(ev->socket), ev->keep);
  engine_text_quote(out, ev->topic, strlen(ev->topic));
  engine_text_add(out, "\"}}");
}
