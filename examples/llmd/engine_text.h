/* engine_text.h: text that grows. A failure to grow is remembered, so that it is asked once, at the end. */
#ifndef ENGINE_TEXT_H
#define ENGINE_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include <llmd/types.h>

struct engine_text { /* start with zeros; free ptr */
  char *ptr;
  size_t len, room;
  int failed; /* memory ran out: what is there is not whole */
};

void engine_text_reset(struct engine_text *t); /* empty, and whole again; memory is kept */
void engine_text_free(struct engine_text *t);
void engine_text_put(struct engine_text *t, const char *ptr, size_t len);
void engine_text_add(struct engine_text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* As the inside of a JSON string. */
void engine_text_quote(struct engine_text *t, const char *ptr, size_t len);

#endif
