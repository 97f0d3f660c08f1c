/* What an unquoted word of YAML or JSON is: null, boolean, number or text (the rules stand in base/tree.h). */
#ifndef LLMD_BASE_SCALAR_H
#define LLMD_BASE_SCALAR_H

#include <stddef.h>
#include <stdint.h>

typedef struct llmd__scalar {
  uint8_t kind;  /* LLMD__NULL ... LLMD__STR of base/tree.h */
  uint8_t flags; /* LLMD__NODE_BIG or 0 */
  int64_t integer;
  double real;
} llmd__scalar;

/* Any n bytes are something: what is nothing else is text. */
void llmd__scalar_read(const char *p, size_t n, llmd__scalar *out);

#endif
