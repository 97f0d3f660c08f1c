#include "sim_feed.h"

#include <stdlib.h>
#include <string.h>

#include <llmd/error.h>

#include "sim_publisher.h"
#include "sim_rng.h"

#define TOPIC "kv@sim"

struct wire {
  struct sim_publisher *publisher;
  uint64_t arriving;        /* batches that came, or were lost */
  uint64_t from;            /* the replay asked for last: from this number on */
  uint64_t answer, answer_end; /* the batches it gets */
  uint32_t replays;         /* under way; only the last one counts */
};

struct sim_feed {
  const struct sim_config *config;
  const struct sim_router *router;
  struct sim_rng rng;
  uint64_t lost;
  uint32_t n;
  struct wire wire[];
};

int sim_feed_create(struct sim_feed **out, const struct sim_config *config, const struct sim_router *router)
{
  struct sim_feed *f = calloc(1, sizeof *f + config->n_engines * sizeof f->wire[0]);
  if (!f)
    return LLMD_E_NOMEM;
  f->config = config;
  f->router = router;
  f->n = config->n_engines;
  sim_rng_init(&f->rng, config->seed, 6);
  for (uint32_t i = 0; i < f->n; i++) {
    int code = sim_publisher_create(&f->wire[i].publisher, config->workload->block_size,
                                    config->event_keep ? config->event_keep : SIM_EVENT_KEEP);
    if (code) {
      sim_feed_destroy(f);
      return code;
    }
  }
  *out = f;
  return 0;
}

void sim_feed_destroy(struct sim_feed *f)
{
  for (uint32_t i = 0; f && i < f->n; i++)
    sim_publisher_destroy(f->wire[i].publisher);
  free(f);
}

struct sim_publisher *sim_feed_publisher(const struct sim_feed *f, uint32_t engine)
{
  return f->wire[engine].publisher;
}

uint64_t sim_feed_lost(const struct sim_feed *f)
{
  return f->lost;
}

int sim_feed_send(struct sim_feed *f, uint32_t engine, double now)
{
  struct sim_publisher *p = f->wire[engine].publisher;
  int sent = sim_publisher_send(p, now);
  if (sent == 1 && f->config->event_loss > 0 && sim_rng_unit(&f->rng) <= f->config->event_loss) {
    sim_publisher_batch(p, sim_publisher_end(p) - 1)->lost = 1;
    f->lost++;
  }
  return sent;
}

/* One message as the router's side has it. A replay's has a frame without content in front. */
static int hand_over(struct sim_feed *f, uint32_t engine, double now, uint32_t what, const struct sim_batch *batch)
{
  static const uint8_t end_mark[8] = {255, 255, 255, 255, 255, 255, 255, 255};
  struct wire *w = &f->wire[engine];
  uint8_t seq[8];
  const uint8_t *payload = NULL;
  size_t len = 0;
  int code = batch ? sim_publisher_spell(w->publisher, batch, &payload, &len) : 0;
  if (code)
    return code;
  for (uint32_t i = 0; batch && i < 8; i++)
    seq[i] = (uint8_t)(batch->seq >> (56 - 8 * i));
  const llmd_str frame[] = {
    {"", 0}, {batch ? TOPIC : "", batch ? sizeof TOPIC - 1 : 0}, {(const char *)(batch ? seq : end_mark), 8},
    {(const char *)payload, len},
  };
  uint32_t skip = what == SIM_REPLAY ? 0 : 1;
  code = f->router->on_message(f->router->self, now, engine, what, frame + skip, 4 - skip, &w->from);
  w->replays += code == 1;
  return code;
}

int sim_feed_arrive(struct sim_feed *f, uint32_t engine, double now)
{
  struct wire *w = &f->wire[engine];
  const struct sim_batch *batch = sim_publisher_batch(w->publisher, w->arriving++);
  return batch && !batch->lost ? hand_over(f, engine, now, SIM_LIVE, batch) : 0;
}

void sim_feed_answer(struct sim_feed *f, uint32_t engine)
{
  struct wire *w = &f->wire[engine];
  w->answer_end = sim_publisher_end(w->publisher);
  w->answer = sim_publisher_first(w->publisher) + w->from;
}

int sim_feed_replay(struct sim_feed *f, uint32_t engine, double now)
{
  struct wire *w = &f->wire[engine];
  int asked = 0;
  if (--w->replays) /* another one was asked for meanwhile */
    return 0;
  for (uint64_t i = w->answer; i < w->answer_end && !asked; i++) {
    const struct sim_batch *batch = sim_publisher_batch(w->publisher, i);
    asked = batch ? hand_over(f, engine, now, SIM_REPLAY, batch) : 0;
  }
  return asked ? asked : hand_over(f, engine, now, SIM_REPLAY, NULL);
}

int sim_feed_tick(struct sim_feed *f, double now, uint32_t *engine)
{
  uint64_t from;
  int code = f->router->on_tick(f->router->self, now, engine, &from);
  if (code == 1) {
    f->wire[*engine].from = from;
    f->wire[*engine].replays++;
  }
  return code;
}
