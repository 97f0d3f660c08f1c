/* engine_tokens.h: a stand-in for a tokenizer, and filler for answers.
 *
 * Four bytes of text are a token, whatever they say; the last of a piece may be shorter. A token's number is a hash of
 * its bytes in a vocabulary of 131,072. A chat is a row of pieces between marks:
 *
 *   [BEGIN] ([TOOLS] json [END])? ([role] text ([TOOLS] json)? [END])* [assistant]
 *
 * Each piece is cut for itself, so a conversation that goes on begins with the tokens it had, answers included: their
 * words have three letters and a blank. */
#ifndef ENGINE_TOKENS_H
#define ENGINE_TOKENS_H

#include <stddef.h>
#include <stdint.h>

#include "engine_text.h"
#include "json.h"

#define ENGINE_VOCABULARY 131072u
#define ENGINE_TOKEN_BYTES 4u

struct engine_ids { /* start with zeros; free id */
  uint32_t *id;
  size_t n, room;
  int failed;
};

void engine_ids_add(struct engine_ids *ids, uint32_t id);
void engine_ids_free(struct engine_ids *ids);
/* Tokens of a piece of text. */
void engine_ids_text(struct engine_ids *ids, const char *text, size_t len);
/* The mark in front of a prompt that is plain text. */
void engine_ids_begin(struct engine_ids *ids);
/* Tokens of a chat. tools: NULL = none; open: it ends with the assistant's mark. 0, or LLMD_E_TYPE: a message that is
 * none. */
int engine_ids_chat(struct engine_ids *ids, const cJSON *messages, const cJSON *tools, int open);
/* Text of a message's content, which is a string or a list of parts; others add nothing. */
void engine_content_text(struct engine_text *out, const cJSON *content);

/* n words of filler, the same for the same seed. */
void engine_filler(struct engine_text *out, uint64_t seed, uint32_t n);
/* Where the i-th token of an answer begins, at the latest at its end; never inside a character of UTF-8. */
size_t engine_token_start(const char *text, size_t len, uint64_t i);

#endif
