/* The splices that a body needs before it is sent on: where its model stands, and the members that a client must not
 * set.
 *
 * Members are removed from the top-level object and from the objects whose members vLLM and SGLang hand to the same
 * place (sampling_params, vllm_xargs, extra_args, extra_body), at most LLMD__EDIT_LEVELS deep. A splice must leave
 * valid JSON:
 *
 *    {"a": 1, "kv": 2, "b": 3}      after a member that stays: from the comma before it to the end of its value
 *           └───────┘
 *    {"kv": 2, "ec": 3, "b": 4}     before the first one that stays: from its key to the comma after it
 *     └────────────────┘
 *    {"kv": 2, "ec": 3 }            none stays: all of them
 *     └──────────────┘
 * Removed members that follow each other share one splice. */
#ifndef LLMD_MODEL_EDITS_H
#define LLMD_MODEL_EDITS_H

#include <stddef.h>
#include <stdint.h>

#define LLMD__EDIT_LEVELS 4u

typedef struct llmd__splice {
  uint64_t offset, removed;
  uint8_t is_model; /* a value of "model"; otherwise members to remove */
  uint8_t done;     /* its end is known */
} llmd__splice;

typedef struct llmd__level {
  uint64_t comma; /* the last one in this object */
  uint64_t end;   /* of the last removed value */
  uint32_t open;  /* splice + 1 over the removed members at the start of the object */
  uint32_t last;  /* splice + 1 that the member just before belongs to */
  uint8_t kept;   /* some member stays */
} llmd__level;

typedef struct llmd__edits {
  llmd__splice *at;
  uint32_t n, max;
  uint32_t levels;
  uint64_t brace;    /* of the top-level object, + 1; 0 = none yet */
  uint8_t root_kept; /* the complete top-level object has members that stay */
  llmd__level level[LLMD__EDIT_LEVELS];
} llmd__edits;

void llmd__edits_reset(llmd__edits *e);

/* Is this the name of a member that a client must not set? `text` may hold only the beginning of a long name. */
int llmd__edits_forbids(const char *text, size_t len);

/* An object with such members opens at `offset`; 0 when it is nested too deeply to be looked at. */
int llmd__edits_open(llmd__edits *e, uint64_t offset);
void llmd__edits_close(llmd__edits *e);

/* In the innermost such object: a key (place of its quote), the end of a removed value, a comma. LLMD_E_LIMIT. */
int llmd__edits_member(llmd__edits *e, uint64_t key, int remove);
void llmd__edits_removed(llmd__edits *e, uint64_t end);
void llmd__edits_comma(llmd__edits *e, uint64_t offset);

/* A value of the top-level "model". LLMD_E_LIMIT. */
int llmd__edits_model(llmd__edits *e, uint64_t offset, uint64_t len);

#endif
