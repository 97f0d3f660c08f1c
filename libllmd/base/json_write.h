/* Writes JSON (RFC 8259) piece by piece into a llmd_write_fn. No allocation: a small buffer inside the writer.
 *
 *   llmd__json w;
 *   llmd__json_init(&w, fn, ud);
 *   llmd__json_begin_map(&w);
 *   llmd__json_key(&w, "endpoint");
 *   llmd__json_str(&w, "10.0.0.7:8000", 13);
 *   llmd__json_end(&w);
 *   return llmd__json_finish(&w);
 *
 * The first error sticks: everything after it does nothing, and llmd__json_finish returns it, so nothing in between
 * needs a check. Errors: LLMD_E_STOPPED (fn asked to stop), LLMD_E_DEPTH, LLMD_E_STATE (a value where a key belongs,
 * two values at the root, something left open). Commas and colons are the writer's; there are no blanks, no newline. */
#ifndef LLMD_BASE_JSON_WRITE_H
#define LLMD_BASE_JSON_WRITE_H

#include <llmd/types.h>

#define LLMD__JSON_MAX_DEPTH 64

/* Lives on the caller's stack; nothing to free. */
typedef struct llmd__json {
  llmd_write_fn fn;
  void *ud;
  int rc;
  uint32_t depth;
  uint64_t maps;  /* bit d: level d is a map */
  uint64_t begun; /* bit d: level d has an element already */
  uint32_t after_key, root_done;
  size_t used;
  char buf[512];
} llmd__json;

void llmd__json_init(llmd__json *w, llmd_write_fn fn, void *ud);
/* Hands over what is left. LLMD_OK or the first error. */
int llmd__json_finish(llmd__json *w);

void llmd__json_begin_map(llmd__json *w);
void llmd__json_begin_list(llmd__json *w);
/* Ends the innermost map or list. */
void llmd__json_end(llmd__json *w);
void llmd__json_key(llmd__json *w, const char *key);
void llmd__json_key_n(llmd__json *w, const char *key, size_t n);

/* Bytes that are not UTF-8 come out as U+FFFD. */
void llmd__json_str(llmd__json *w, const char *p, size_t n);
/* NUL-terminated; NULL gives null. */
void llmd__json_text(llmd__json *w, const char *text);
void llmd__json_int(llmd__json *w, int64_t v);
void llmd__json_uint(llmd__json *w, uint64_t v);
/* The shortest text that reads back as v. NaN and infinities, which JSON does not have, give null. */
void llmd__json_double(llmd__json *w, double v);
void llmd__json_bool(llmd__json *w, int v);
void llmd__json_null(llmd__json *w);
/* n bytes that are one whole JSON value already, such as a number kept as text. Not checked. */
void llmd__json_raw(llmd__json *w, const char *p, size_t n);

#endif
