/* For tests of sources: writes batches of events as engines do, and keeps an index with one host's sources on it. */
#ifndef LLMD_TESTS_SPEAKER_H
#define LLMD_TESTS_SPEAKER_H

#include <llmd/events.h>

/* ---- writing a batch --------------------------------------------------------------------------------------------- */

typedef struct batch_text {
  uint8_t bytes[65536];
  size_t len;
  size_t count_at; /* where the number of events is written */
  uint32_t events;
  int64_t rank;
} batch_text;

/* What a store says. Texts NULL = not there. */
typedef struct stored_text {
  const uint64_t *name;
  uint32_t n;
  const uint64_t *parent; /* NULL = the prompt's beginning */
  const uint32_t *token;
  uint32_t n_tokens, block_size;
  const char *medium, *lora, *kind;
  int64_t lora_id; /* 0 = none */
  int group;       /* -1 = none */
  uint32_t window; /* of a sliding window, in tokens; 0 = not said */
  const char *const *extra; /* [n] one text for each block, NULL = none */
} stored_text;

/* rank -1 = nil. */
void batch_begin(batch_text *b, double time, int64_t rank);
void batch_stored(batch_text *b, const stored_text *s);
void batch_removed(batch_text *b, const uint64_t *name, uint32_t n, const char *medium, int group);
void batch_cleared(batch_text *b);
/* A type that nobody knows; an event without what it needs. */
void batch_unknown(batch_text *b);
void batch_bad(batch_text *b);
llmd_str batch_end(batch_text *b);

/* ---- an index and its host --------------------------------------------------------------------------------------- */

#define RIG_BLOCK 4u /* tokens of a block in these tests */

typedef struct rig {
  void *mem, *scratch;
  size_t len;
  llmd_index *index;
  llmd_events *events;
  llmd_now now;
  llmd_ask ask;
  uint32_t rows;
  char log[512];  /* the last line */
  uint32_t lines; /* warnings */
} rig;

/* options NULL = defaults; its index, log and limits are set here. */
void rig_open(rig *r, uint32_t rows, const llmd_events_options *options);
/* The host goes, the index stays; the next one comes. */
void rig_reopen(rig *r, const llmd_events_options *options);
void rig_close(rig *r);
llmd_endpoint_id rig_endpoint(uint32_t slot);
/* A source for the endpoint with this slot. */
llmd_source_id rig_source(rig *r, uint32_t slot, uint32_t flags);
/* As it comes from the socket. older: a replay without topics. The result is feed's, what is asked for is in r->ask. */
int rig_live(rig *r, llmd_source_id s, uint64_t seq, llmd_str payload);
int rig_replayed(rig *r, llmd_source_id s, uint64_t seq, llmd_str payload, int older);
int rig_end(rig *r, llmd_source_id s, int older);
llmd_source_stats rig_stats(const rig *r, llmd_source_id s);
/* How many leading blocks of the prompt the endpoint has; *lower (may be NULL) = of them in lower tiers, all. */
uint32_t rig_blocks(rig *r, uint32_t slot, const llmd_key *keys, uint32_t n, uint32_t *lower);
/* Keys of a prompt as a request has them. */
uint32_t rig_keys(const rig *r, const char *lora, const uint32_t *tokens, uint32_t n_tokens, const llmd_extra *extra,
                  uint32_t n_extra, llmd_key *out);

#endif
