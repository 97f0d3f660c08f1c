/* From an engine's metrics page to the numbers that columns hold: one pass, nothing allocated, no page fails as a
 * whole.
 *
 * Numbers never help an endpoint. NaN, infinities, negatives and absurd values are refused: the field stays NaN
 * (unknown) and the refusal is counted. Counts of requests are cut to whole numbers and saturate at 2^31 - 1; a cache
 * usage a little above 1 is 1. A label that says None, or nothing, is not known, and that is no offence. */
#ifndef LLMD_MODEL_SCRAPE_H
#define LLMD_MODEL_SCRAPE_H

#include "model/engine.h"

#define LLMD__LORA_MAX 64
#define LLMD__LORA_TEXT_MAX 2048
#define LLMD__HASH_ALGO_MAX 64

/* Adapter names, each once, in the order of the page. Those beyond the first LLMD__LORA_MAX are only counted. */
typedef struct llmd__lora_names {
  uint32_t n, dropped;
  llmd_str name[LLMD__LORA_MAX];
} llmd__lora_names;

typedef struct llmd__scrape_result {
  double waiting, running, kv_usage, max_lora, block_size, num_blocks; /* NaN: not found, or refused */
  double custom[LLMD__CUSTOM_MAX];                                     /* by the engine's list; NaN past its end too */
  llmd_str hash_algo; /* len 0: not found */
  int lora_found; /* the page speaks of adapters, and the next two are what it says; none is an answer too */
  llmd__lora_names running_lora, waiting_lora;
  int bad_sample;          /* values_refused > 0 */
  uint32_t samples;        /* lines read that have a wanted name */
  uint32_t lines_refused;  /* malformed, too long or unfinished (base/exposition.h) */
  uint32_t values_refused; /* fields left at NaN for their value's sake, and adapter series whose time is absurd */
  size_t first_refused;    /* offset of the first refused line, when there is one */
  char hash_algo_text[LLMD__HASH_ALGO_MAX];
  char lora_text[LLMD__LORA_TEXT_MAX]; /* adapter names that the page writes with escapes */
} llmd__scrape_result;

/* Reads a page. Of several series that match a specification the one with the newest timestamp counts, the first among
 * equals. Returns how many fields have a value, adapters counting as one: 0 means that the page has nothing to say.
 * *out borrows from the page and, where names had escapes, from itself: do not copy it and let go of the original. */
int llmd__scrape(const llmd__engine_spec *e, const char *page, size_t len, llmd__scrape_result *out);

#endif
