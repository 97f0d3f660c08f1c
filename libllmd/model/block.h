/* One part of a message's content: {"type": ..., ...}. The type may come after what it is about, so the values are
 * noted as they come, and the segments are made when the block ends. */
#ifndef LLMD_MODEL_BLOCK_H
#define LLMD_MODEL_BLOCK_H

#include "model/dialect.h"
#include "model/prompt.h"

#define LLMD__BLOCK_SLOTS (MEAN_SOURCE - MEAN_TEXT + 1)

typedef struct llmd__block {
  uint32_t first; /* place of the first segment made inside it */
  uint32_t set;   /* bit per slot that has a value */
  uint8_t type;
  llmd__span slot[LLMD__BLOCK_SLOTS]; /* by meaning - MEAN_TEXT */
} llmd__block;

void llmd__block_begin(llmd__block *b, uint32_t first);
/* "type": NULL = not a string. */
void llmd__block_type(llmd__block *b, const char *type, size_t len);
void llmd__block_set(llmd__block *b, uint8_t meaning, const llmd__span *span);
void llmd__block_forget(llmd__block *b, uint8_t meaning);

/* Appends the block's segments to the current section; those made inside it stay only when it is a tool's result.
 * LLMD_E_LIMIT. */
int llmd__block_end(const llmd__block *b, const llmd__pieces *ps, llmd__prompt *p);

#endif
