/* engine_ask.h: what a request asks for: its body read, checked as vLLM does, and turned into tokens. */
#ifndef ENGINE_ASK_H
#define ENGINE_ASK_H

#include "engine_text.h"
#include "engine_tokens.h"
#include "json.h"

/* What the engine serves. */
struct engine_models {
  const char *name;
  const char *const *lora; /* names of adapters */
  uint32_t n_lora;
  uint32_t most_tokens;  /* of prompt and answer together */
  uint32_t answer_tokens; /* that an answer has when nobody says how many */
};

#define ENGINE_BASE (-1) /* not an adapter */

enum engine_finish { ENGINE_LENGTH, ENGINE_STOP, ENGINE_TOOL };

struct engine_ask {
  int chat;         /* else a completion */
  int stream, usage, continuous; /* usage in a last event, in every event */
  int return_ids;
  int lora;         /* number of the adapter, or ENGINE_BASE */
  uint32_t n_prompt;
  uint32_t n_answer; /* tokens */
  enum engine_finish finish;
  char *salt;       /* NULL = none */
  char *tool;       /* the function that is called, NULL = none */
  struct engine_text answer;  /* text, or the function's arguments */
  struct engine_ids ids;      /* prompt, then answer */
};

/* As vLLM puts it. */
struct engine_refusal {
  uint32_t status;
  const char *type;
  const char *param; /* NULL = null */
  char message[400];
};

/* What the request is for decides how much of it is looked at. */
enum engine_purpose { ENGINE_ANSWER, ENGINE_RENDER, ENGINE_TOKENIZE };

/* 0 and *ask, to be freed; or refusal says why not, and nothing is to be freed. */
int engine_ask_read(const struct engine_models *models, int chat, enum engine_purpose purpose, llmd_str body,
                    struct engine_ask *ask, struct engine_refusal *refusal);
/* The same of as much as decides what an answer looks like, without looking at the prompt: for answers at once. The
 * prompt counts a token for four bytes of the body. */
int engine_ask_skim(const struct engine_models *models, int chat, llmd_str body, struct engine_ask *ask,
                    struct engine_refusal *refusal);
void engine_ask_free(struct engine_ask *ask); /* a zeroed one, too */

/* {"error": {...}} */
void engine_refusal_text(const struct engine_refusal *refusal, struct engine_text *out);
int engine_refuse(struct engine_refusal *refusal, uint32_t status, const char *type, const char *param,
                  const char *format, ...) __attribute__((format(printf, 5, 6))); /* -1 */

#endif
