/* What the paths claim and what the keys of a body mean. Only tables: the reader (fields.c) acts on them. */
#ifndef LLMD_MODEL_DIALECT_H
#define LLMD_MODEL_DIALECT_H

#include <stddef.h>
#include <stdint.h>

#include <llmd/request.h>

/* The meaning of a value, found by its key (in an object) or by its list. A container keeps its value's meaning while
 * it is open; one that may not have that shape means MEAN_SKIP, as does all inside it: checked, counted, otherwise
 * ignored. */
enum {
  MEAN_SKIP,
  MEAN_ROOT,
  MEAN_MODEL,
  MEAN_SALT,
  MEAN_LORA,
  MEAN_STREAM,
  MEAN_PRIORITY,
  MEAN_LIMIT,       /* most output tokens: the key that counts first */
  MEAN_LIMIT_OLD,   /* its older name */
  MEAN_STREAMING,   /* stream_options */
  MEAN_USAGE,       /* its include_usage */
  MEAN_ATTACHED,    /* images and the like that stand beside the prompt */
  MEAN_TOOLS,
  MEAN_MESSAGES,
  MEAN_MESSAGE,
  MEAN_ROLE,
  MEAN_CONTENT,     /* of a message, or the system prompt: a string or a list of blocks */
  MEAN_BLOCK,
  MEAN_INNER,       /* the content of a tool result: as MEAN_CONTENT, one level further in */
  MEAN_INNER_BLOCK,
  MEAN_TYPE,
  MEAN_TEXT,        /* from here to MEAN_SOURCE: the slots of a block */
  MEAN_THINKING,
  MEAN_CALL_ID,
  MEAN_CALL_NAME,
  MEAN_CALL,        /* raw JSON: the arguments of a tool call */
  MEAN_IMAGE,       /* a string, or an object with MEAN_MEDIA in it */
  MEAN_VIDEO,
  MEAN_AUDIO,
  MEAN_FILE,
  MEAN_SOURCE,
  MEAN_MEDIA,
  MEAN_PROMPT,      /* a string, a list of strings, ids, or a list of lists of ids */
  MEAN_PROMPT_ITEM,
  MEAN_IDS,
  MEAN_TOKEN,
  MEAN_SAMPLING,
  MEAN_CARRIER,     /* an object in which members may have to be removed */
  MEAN_FORBIDDEN,
  MEAN_COUNT
};

#define LLMD__NO_SECTION 0xffu

/* What a path claims: LLMD_DIALECT_*. `path` with or without a query. */
uint32_t llmd__dialect_of_path(const char *path, size_t len);

/* The meaning of a key in an object that means `frame`; *section = the section of the prompt that it fills. */
uint8_t llmd__dialect_key(uint32_t dialect, uint8_t frame, const char *key, size_t len, uint8_t *section);

/* By meaning: what a value may be, and what the elements of its list mean. */
typedef struct llmd__shape {
  uint8_t object, list; /* may it be one? */
  uint8_t element;
} llmd__shape;

extern const llmd__shape llmd__shapes[MEAN_COUNT];

/* The meaning that a container has whose value means `meaning`. */
static inline uint8_t llmd__dialect_container(uint8_t meaning, int is_object)
{
  return (is_object ? llmd__shapes[meaning].object : llmd__shapes[meaning].list) ? meaning : (uint8_t)MEAN_SKIP;
}

/* Does the path's body have a "model" that may be set where it is missing? */
int llmd__dialect_has_model(uint32_t dialect);

#endif
