#define _POSIX_C_SOURCE 200809L
#include "sim_listener.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sim_rng.h"

#define LEAST_COPIES ((uint64_t)1 << 20)
#define COPY_BYTES 24u /* of a place in the table of copies, which is never quite full */
#define MOST_PROMPTS 2000u /* that are looked at after the end */

struct on_way { /* a request that has not answered yet */
  const struct sim_request *request;
  uint32_t engine;
};

struct sim_listener {
  struct sim_listener_options options;
  llmd_events *events;
  llmd_index *index;
  llmd_source_id *source; /* per engine */
  uint32_t *engine_of;    /* by the endpoint's slot number */
  llmd_chain root;
  llmd_key *keys;
  llmd_hit *hits;
  void *scratch;
  uint32_t *answer; /* blocks, per engine */
  uint32_t *tokens; /* of a prompt looked at after the end */
  struct on_way *way;
  uint32_t n_way, way_room;
  struct sim_heard heard;
};

static uint64_t clock_ns(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- life ---- */

void sim_listener_close(struct sim_listener *l)
{
  if (!l)
    return;
  llmd_events_close(l->events);
  free(l->source);
  free(l->engine_of);
  free(l->keys);
  free(l->hits);
  free(l->scratch);
  free(l->answer);
  free(l->tokens);
  free(l->way);
  free(l);
}

static int make_room(struct sim_listener *l)
{
  const struct sim_workload *w = l->options.workload;
  size_t scratch = llmd_index_scratch(l->index);
  uint32_t longest = 1;
  for (uint32_t i = 0; i < w->n_requests; i++)
    longest = w->requests[i].prompt_tokens > longest ? w->requests[i].prompt_tokens : longest;
  l->source = calloc(l->options.n_engines, sizeof *l->source);
  l->answer = calloc(l->options.n_engines, sizeof *l->answer);
  l->engine_of = calloc(l->options.slots, sizeof *l->engine_of);
  l->hits = calloc(l->options.slots, sizeof *l->hits);
  l->keys = calloc(longest / w->block_size + 1, sizeof *l->keys);
  l->tokens = calloc(longest, sizeof *l->tokens);
  l->scratch = calloc(1, scratch ? scratch : 1);
  return l->source && l->answer && l->engine_of && l->hits && l->keys && l->tokens && l->scratch ? 0 : LLMD_E_NOMEM;
}

static int add_sources(struct sim_listener *l)
{
  int rc = 0;
  for (uint32_t i = 0; rc == 0 && i < l->options.n_engines; i++) {
    /* The engine tells of every copy that it has of a block. */
    llmd_source s = {.size = sizeof s, .engine = LLMD_SOURCE_VLLM, .flags = LLMD_SOURCE_COUNTED,
                     .endpoint = l->options.endpoint[i]};
    l->engine_of[(uint32_t)s.endpoint] = i;
    rc = llmd_events_source(l->events, &s, &l->source[i]);
  }
  return rc;
}

static int open_events(struct sim_listener *l, llmd_err *err)
{
  llmd_chain_root root = {.size = sizeof root, .block_tokens = l->options.workload->block_size};
  llmd_events_options o = {.size = sizeof o, .max_sources = l->options.n_engines, .index = l->index,
                           .parked_bytes = (uint64_t)64 << 20,
                           .copies_bytes = LEAST_COPIES + l->options.held * COPY_BYTES,
                           .limits = {.size = sizeof o.limits, .payload = (uint32_t)64 << 20},
                           .log = l->options.log, .log_ud = l->options.log_ud};
  int rc = llmd_events_open(&o, &l->events, err);
  return rc ? rc : llmd_chain_begin(&l->root, llmd_index_secret(l->index), &root);
}

int sim_listener_open(struct sim_listener **out, const struct sim_listener_options *options, llmd_err *err)
{
  struct sim_listener *l = calloc(1, sizeof *l);
  int rc;
  if (!l)
    return LLMD_E_NOMEM;
  l->options = *options;
  rc = llmd_pool_index(options->pool, &l->index);
  if (rc == 0)
    rc = make_room(l);
  if (rc == 0)
    rc = open_events(l, err);
  if (rc == 0)
    rc = add_sources(l);
  if (rc) {
    sim_listener_close(l);
    return rc;
  }
  *out = l;
  return 0;
}

/* ---- messages ---- */

int sim_listener_message(struct sim_listener *l, const llmd_now *now, uint32_t engine, uint32_t what,
                         const llmd_str *frame, uint32_t n, uint64_t *from)
{
  llmd_ask ask = {.size = sizeof ask};
  uint64_t start = clock_ns();
  int rc = llmd_events_feed(l->events, l->source[engine], what == SIM_REPLAY ? LLMD_FRAMES_REPLAY : LLMD_FRAMES_LIVE,
                            frame, n, now, &ask);
  l->heard.seconds += (double)(clock_ns() - start) * 1e-9;
  l->heard.messages++;
  l->heard.bytes += frame[n - 1].len;
  if (rc < 0)
    return rc;
  if (ask.what != LLMD_ASK_REPLAY)
    return 0;
  *from = ask.from;
  return 1;
}

int sim_listener_tick(struct sim_listener *l, const llmd_now *now, uint32_t *engine, uint64_t *from)
{
  llmd_ask ask = {.size = sizeof ask};
  llmd_source_id source;
  int rc = llmd_events_tick(l->events, now, &source, &ask);
  if (rc != 1)
    return rc;
  for (uint32_t i = 0; i < l->options.n_engines; i++)
    if (l->source[i] == source)
      *engine = i;
  *from = ask.from;
  return 1;
}

int sim_listener_connect(struct sim_listener *l, const llmd_now *now, uint32_t engine)
{
  return llmd_events_replay_failed(l->events, l->source[engine], now);
}

/* ---- is it true? ---- */

void sim_listener_spell(const struct sim_request *q, uint32_t block_size, uint32_t *tokens)
{
  for (uint32_t i = 0; i < q->n_blocks; i++)
    sim_spell(q->blocks[i], tokens + (size_t)i * block_size, block_size);
  sim_spell(~sim_mix(q->id), tokens + (size_t)q->n_blocks * block_size, q->prompt_tokens - q->n_blocks * block_size);
}

/* Fills answer[] with the index's blocks for this prompt, per engine. */
static int ask_index(struct sim_listener *l, const struct sim_request *q, const uint32_t *tokens)
{
  llmd_chain chain = l->root;
  int n = llmd_chain_extend(&chain, llmd_index_secret(l->index), tokens, q->prompt_tokens, NULL, 0, l->keys,
                            q->n_blocks);
  memset(l->answer, 0, l->options.n_engines * sizeof *l->answer);
  if (n > 0)
    n = llmd_index_query(l->index, l->scratch, l->keys, (uint32_t)n, l->hits, l->options.slots, NULL);
  for (int i = 0; i < n; i++)
    l->answer[l->engine_of[(uint32_t)l->hits[i].endpoint]] = l->hits[i].blocks;
  return n < 0 ? n : 0;
}

/* Does a request on its way to that engine begin with the first n blocks of this one? */
static int is_promised(const struct sim_listener *l, const struct sim_request *q, uint32_t engine, uint32_t n)
{
  for (uint32_t i = l->n_way; i-- > 0;) {
    const struct on_way *w = &l->way[i];
    if (w->engine == engine && w->request->n_blocks >= n &&
        memcmp(w->request->blocks, q->blocks, n * sizeof *q->blocks) == 0)
      return 1;
  }
  return 0;
}

int sim_listener_check(struct sim_listener *l, const struct sim_cluster *cluster, const struct sim_request *q,
                       const uint32_t *tokens)
{
  struct sim_heard *h = &l->heard;
  int rc = ask_index(l, q, tokens);
  int agreed = 1;
  if (rc)
    return rc;
  for (uint32_t i = 0; i < l->options.n_engines; i++) {
    uint32_t held = sim_cluster_match(cluster, i, q), said = l->answer[i];
    h->held += held;
    h->known += said < held ? said : held;
    agreed &= said >= held;
    if (said <= held)
      continue;
    if (is_promised(l, q, i, said)) {
      h->promised += said - held;
    } else {
      h->wrong += said - held;
      agreed = 0;
    }
  }
  h->decisions++;
  h->agreed += (uint64_t)agreed;
  return 0;
}

int sim_listener_sent(struct sim_listener *l, const struct sim_request *q, uint32_t engine)
{
  if (l->n_way == l->way_room) {
    uint32_t room = l->way_room ? l->way_room * 2 : 256;
    struct on_way *more = realloc(l->way, room * sizeof *more);
    if (!more)
      return LLMD_E_NOMEM;
    l->way = more;
    l->way_room = room;
  }
  l->way[l->n_way++] = (struct on_way){q, engine};
  return 0;
}

void sim_listener_answered(struct sim_listener *l, const struct sim_request *q)
{
  for (uint32_t i = 0; i < l->n_way; i++)
    if (l->way[i].request == q) {
      l->way[i] = l->way[--l->n_way];
      return;
    }
}

/* Everything has arrived: index and engines must say the same of any prompt, and hold equally many blocks. */
int sim_listener_settled(struct sim_listener *l, const llmd_now *now, const struct sim_cluster *cluster)
{
  const struct sim_workload *w = l->options.workload;
  struct sim_heard *h = &l->heard;
  llmd_index_stats stats = {.size = sizeof stats};
  int rc;
  do /* what was cleared is counted until it is swept */
    rc = llmd_index_tick(l->index, now->mono, 0);
  while (rc == 1);
  for (uint32_t r = 0; rc == 0 && r < w->n_requests; r += w->n_requests / MOST_PROMPTS + 1) {
    const struct sim_request *q = &w->requests[r];
    sim_listener_spell(q, w->block_size, l->tokens);
    rc = ask_index(l, q, l->tokens);
    for (uint32_t i = 0; rc == 0 && i < l->options.n_engines; i++) {
      uint32_t held = sim_cluster_match(cluster, i, q), said = l->answer[i];
      h->end_held += held;
      h->end_known += said < held ? said : held;
      h->end_wrong += said > held ? said - held : 0;
    }
    h->prompts++;
  }
  if (rc == 0)
    rc = llmd_index_stats_get(l->index, &stats);
  h->engine_blocks = sim_cluster_held(cluster);
  h->index_blocks = stats.held;
  h->index_bytes = stats.used;
  return rc;
}

void sim_listener_heard(struct sim_listener *l, struct sim_heard *heard)
{
  for (uint32_t i = 0; i < l->options.n_engines; i++) {
    llmd_source_stats s = {.size = sizeof s};
    if (llmd_events_stats(l->events, l->source[i], &s))
      continue;
    l->heard.events += s.events;
    l->heard.blocks += s.blocks;
    l->heard.gaps += s.gaps;
    l->heard.restarts += s.restarts;
    l->heard.replays += s.replays;
  }
  *heard = l->heard;
}
