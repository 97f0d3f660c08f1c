/* sim_publisher.h: what an engine tells of its cache, byte for byte as vLLM sends it.
 *
 *   cache ──► changes of the step ──► batch: number, time ──► live message      [topic, seq, payload]
 *                                       │
 *                                       └─► the last N are kept ──► answers to a replay request
 *
 * A payload is [ts, [events], rank] in MessagePack; events are maps, hashes unsigned integers. As in vLLM every copy of
 * a block is told of, a removal has an event of its own, and blocks stored in CPU memory come without tokens. Batches
 * are kept as names of blocks and spelled when they are wanted: a name says all of a block's tokens, or whoever made the
 * names says what they mean. */
#ifndef SIM_PUBLISHER_H
#define SIM_PUBLISHER_H

#include <stddef.h>
#include <stdint.h>

struct sim_publisher;

struct sim_batch {
  double time;
  uint64_t seq;      /* on the wire: from 0 in each process */
  uint32_t events;
  uint32_t lost;     /* set by whoever carries it: it never arrives */
  uint32_t n_words;
  uint64_t *words;   /* the changes */
};

/* What a name means that is not the simulator's own. All of it is borrowed until the next question. */
struct sim_meaning {
  const uint32_t *tokens; /* block_size of them */
  const char *lora;       /* NULL = none */
  const char *salt;       /* of a prompt's first block; NULL = none */
};
/* 0, or not 0: the name means nothing any more, and its tokens are zeros. */
typedef int (*sim_meaning_fn)(void *ud, uint64_t name, struct sim_meaning *out);

/* Keeps the last `keep` batches. LLMD_E_NOMEM. */
int sim_publisher_create(struct sim_publisher **publisher, uint32_t block_size, uint32_t keep);
void sim_publisher_destroy(struct sim_publisher *publisher); /* NULL is allowed */
uint32_t sim_publisher_block_size(const struct sim_publisher *publisher);
/* From now on names are what blocks are called on the wire, and `meaning` is asked what they stand for; events have all
 * members that vLLM's have. */
void sim_publisher_mean(struct sim_publisher *publisher, sim_meaning_fn meaning, void *ud);

/* Changes, in order. They cannot fail; what memory did not suffice for is told by sim_publisher_send. parent NULL: the
 * block is the first of a prompt. */
void sim_publisher_stored(struct sim_publisher *publisher, const uint64_t *parent, uint64_t name);
void sim_publisher_offloaded(struct sim_publisher *publisher, uint64_t name); /* it is in CPU memory too */
void sim_publisher_removed(struct sim_publisher *publisher, uint64_t name, int cpu);
void sim_publisher_cleared(struct sim_publisher *publisher);

/* The changes since the last call become a batch: 1, or 0 when there were none. LLMD_E_NOMEM. */
int sim_publisher_send(struct sim_publisher *publisher, double now);
/* Another process from now on: numbers begin at 0, nothing is kept, changes not sent are gone. */
void sim_publisher_restart(struct sim_publisher *publisher);

/* Batches are counted from 0 over all processes: [first, end) are of this process. */
uint64_t sim_publisher_first(const struct sim_publisher *publisher);
uint64_t sim_publisher_end(const struct sim_publisher *publisher);
/* NULL: no longer kept. */
struct sim_batch *sim_publisher_batch(const struct sim_publisher *publisher, uint64_t number);
/* The payload; valid until the next call. LLMD_E_NOMEM. */
int sim_publisher_spell(struct sim_publisher *publisher, const struct sim_batch *batch, const uint8_t **bytes,
                        size_t *len);

#endif
