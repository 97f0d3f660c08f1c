/* The index under test as the bench uses it: opened in shared memory, fed with batches, asked, timed.
 *
 * Inside the time of a store: finding the parent by its name, deriving the keys from parent and contents, storing.
 * Inside the time of a query: the query; its keys are ready. */
#ifndef LLMD_TESTS_BENCH_INDEX_SIDE_H
#define LLMD_TESTS_BENCH_INDEX_SIDE_H

#include <llmd/llmd.h>
#include <llmd/prefix.h>

#include "work.h"

#define SIDE_BLOCK_TOKENS 2u /* a content is two tokens */

/* What the command line and the environment said. */
typedef struct side_setup {
  int quick;         /* small, and nothing is waited for: answers count, not times */
  uint64_t held;     /* PEER_HELD */
  uint32_t cold;     /* PEER_COLD: cold samples of a row */
  uint64_t bytes;    /* cap of the index of the part `index` */
  const char *trace;
} side_setup;
extern side_setup side_set;

typedef struct side_cost {
  double wall, cpu; /* seconds */
} side_cost;

typedef struct side {
  void *mem;
  size_t len;
  uint64_t bytes; /* asked for */
  llmd_index *index;
  const uint8_t *secret;
  void *scratch;
  llmd_hit *hit;
  uint32_t rows, hits;
  int full;        /* things are evicted: events may find their parent gone */
  uint64_t errors; /* calls that failed, */
  uint64_t lost;   /* or when full, events that could not be stored whole */
} side;

void side_open(side *s, uint64_t bytes, uint32_t rows);
void side_format(side *s); /* empty again */
void side_close(side *s);
llmd_endpoint_id side_endpoint(uint32_t worker);
void side_apply(side *s, const work_batch *b, side_cost *cost);
/* Ready keys of a chain. The caller frees them. */
llmd_key *side_keys(const side *s, const work_chain *c);
/* Asks; the answer is in s->hit[s->hits]. Returns nanoseconds. */
uint64_t side_ask(side *s, const llmd_key *keys, uint32_t n);
/* The last answer as workers and depths; out[s->rows]. */
uint32_t side_answer(const side *s, work_depth *out);
int side_right(const side *s, const work_depth *want, uint32_t n); /* is the last answer this one? */
uint32_t side_depth(const side *s, uint32_t worker);                /* in the last answer */
llmd_index_stats side_stats(const side *s);
/* Ticks until nothing is left to sweep. */
void side_settle(side *s);

/* ---- feeding ----------------------------------------------------------------------------------------------------- */

/* Collects events and applies them in batches of 128 Ki blocks; only that is timed. */
typedef struct side_feeder {
  side *side;
  work_batch batch;
  side_cost cost;
  uint64_t blocks;
} side_feeder;
void side_feed(side_feeder *f); /* applies when there is enough */
/* Applies the rest; prints NAME_blocks_per_s and NAME_blocks_per_cpu_s unless name is NULL; frees the batch. */
void side_fed(side_feeder *f, const char *name);

/* ---- clocks and rows --------------------------------------------------------------------------------------------- */

uint64_t side_now(void);       /* nanoseconds, monotonic */
uint64_t side_cpu(void);       /* of this thread */
void side_pin(int core);       /* -1 = any of the first two */
double side_rss(void);         /* bytes, after giving back what malloc can */
typedef struct side_samples {
  uint64_t *v;
  size_t n, cap;
} side_samples;
void side_sample(side_samples *s, uint64_t v);
double side_percentile(side_samples *s, double p); /* sorts */
void side_samples_free(side_samples *s);
/* Prints {"side":"llmd",...}. */
void side_row(const char *fmt, double value, ...) __attribute__((format(printf, 1, 3)));
/* A row that must have this value: else the program fails in the end. */
void side_must(const char *row, double value, double right);
extern int side_wrong; /* rows and digests that were not as they must be */

/* ---- parts ------------------------------------------------------------------------------------------------------- */

void part_index(void);  /* index.c: fill, queries, removes, clear */
void part_beside(side *s, const work_fill *f, const work_pair *pair, uint32_t pairs); /* beside.c: reader and writer */
void part_moon(void);   /* moon.c: the trace */
void part_probe(void);  /* probe.c: small questions of exactness and memory */
void part_hash(void);   /* hash.c */
void part_decode(void); /* decode.c: from event bytes */
void part_cap(void);    /* cap.c: at the cap */
void part_rows(void);   /* rows.c: many endpoints; after churn */

#endif
