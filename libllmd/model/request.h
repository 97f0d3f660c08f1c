/* The request as the rooms above see it. Its layout is private to the files that include model/layout.h. */
#ifndef LLMD_MODEL_REQUEST_H
#define LLMD_MODEL_REQUEST_H

#include <llmd/request.h>

/* Tokens of the prompts, written into out (capacity cap tokens), prompt after prompt; end[i] = tokens up to and
 * including prompt i (at most max_prompts prompts, *n_prompts written). Source, in this order: ids set by the host;
 * ids in the body; else the reference's estimate: the raw (unescaped) bytes of the prompt, four bytes one
 * little-endian pseudo token, zero padded at each prompt's end; chat: tools JSON, then role + text in order; an image
 * stands for as many tokens as the reference gives it (model/media.h), each made from the hash of its bytes. Returns
 * LLMD__TOKENS_REAL or LLMD__TOKENS_PSEUDO; LLMD_E_NONE when there is no prompt. Stops quietly at cap (or at
 * max_prompts) with *cut = 1. */
#define LLMD__TOKENS_REAL 1
#define LLMD__TOKENS_PSEUDO 2
int llmd__request_tokens(const llmd_request *r, uint32_t *out, size_t cap, uint32_t *end, uint32_t max_prompts,
                         uint32_t *n_prompts, int *cut);

/* What stands at placeholders among the host's ids; n = 0 when it said nothing. */
const llmd_feature *llmd__request_features(const llmd_request *r, size_t *n);

/* Are they in order, none overlapping, and do their places go into 32 bits? */
int llmd__features_sound(const llmd_feature *features, size_t n);

/* Are there real ids, of the host or in the body? */
int llmd__request_has_ids(const llmd_request *r);
/* The host has said that there are none to be had. */
int llmd__request_gave_up_tokens(const llmd_request *r);
/* rendered.c: the bytes of a complete body that a renderer of prompts sees, in pieces. */
typedef void (*llmd__bytes_fn)(void *ud, const char *ptr, size_t len);
void llmd__request_rendered(const llmd_request *r, llmd__bytes_fn fn, void *ud);

/* The same count without writing them (cheap: from byte counts where possible). */
uint64_t llmd__request_token_count(const llmd_request *r);

/* The beginning of the prompt's text, unescaped: contents of messages (of prompts) one after another, each on a new line.
 * At most cap bytes, cut between characters. Returns how many; LLMD_E_NONE when there is no text. */
int64_t llmd__request_prompt_text(const llmd_request *r, char *buf, size_t cap);

/* Body bytes [offset, offset + len) as one run: a pointer into the piece that holds it all, or a copy into buf. */
int llmd__request_bytes(const llmd_request *r, uint64_t offset, uint64_t len, char *buf, size_t cap, const char **out);

/* What the host set. */
int llmd__request_priority(const llmd_request *r);
llmd_endpoint_id llmd__request_peer(const llmd_request *r); /* 0 = none */
int llmd__request_model(const llmd_request *r, llmd_str *out); /* rewritten one if any, else the body's; LLMD_E_NONE */
const llmd_endpoint_id *llmd__request_subset(const llmd_request *r, size_t *n); /* NULL = no subset given */
const llmd_endpoint_id *llmd__request_exclude(const llmd_request *r, size_t *n);

/* Columns that the host set: count, then column i. */
typedef struct llmd__host_column {
  uint32_t attribute;
  uint32_t n;
  const llmd_endpoint_id *ids;
  const double *values;
} llmd__host_column;
uint32_t llmd__request_columns(const llmd_request *r);
void llmd__request_column(const llmd_request *r, uint32_t i, llmd__host_column *out);

/* A room of `max_blocks` 16-byte keys kept from decide to commit, and a small state word pair for the scheduler
 * (its own ticket and attempt state). Owned by the request, cleared by reset. */
void *llmd__request_keys(llmd_request *r, uint32_t *max_blocks);
#define LLMD__REQUEST_CHAINS 8u
#define LLMD__REQUEST_VALUES 128u
typedef struct llmd__request_chain {
  uint32_t instance; /* whose: a plugin of the scheduler */
  uint32_t chain;    /* the lane's number for it, while the lane is at this decision */
  uint32_t first, n; /* its keys in the room */
} llmd__request_chain;
typedef struct llmd__request_sched {
  uint64_t ticket;
  const void *region; /* where the ticket is from: one region's tickets say nothing in another */
  uint64_t scheduler; /* identity of the scheduler that decided */
  uint32_t n_chains;
  uint32_t rewritten; /* a model has been drawn for it: once for all attempts */
  double tokens;
  llmd__request_chain chain[LLMD__REQUEST_CHAINS];
  uint32_t n_columns, n_targets; /* of value: what producers said about the targets */
  double value[LLMD__REQUEST_VALUES];
  llmd_key token_key; /* names the prompt's tokens in the region's cache */
  uint32_t token_keyed, reserved;
  llmd_endpoint_id picked[8]; /* first pick of each profile run, in profile order */
} llmd__request_sched;
llmd__request_sched *llmd__request_sched_state(llmd_request *r);

#endif
