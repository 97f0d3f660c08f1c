/* One event of a batch, being read (event.c reads batches, event_fields.c the fields). */
#ifndef LLMD_PREFIX_EVENT_H
#define LLMD_PREFIX_EVENT_H

#include <string.h>

#include <llmd/events.h>

#include "base/msgpack.h"

typedef struct llmd__event_reader {
  llmd__msgpack in;
  llmd_event_limits limit; /* no zeros */
  /* the caller's buffer, cut up */
  uint64_t *name;
  llmd_str *digest;
  llmd_event_extra *extra;
  llmd__msgpack_runs token; /* read while the structure was checked */
  llmd_event event; /* what is known so far */
  const uint8_t *fault;
} llmd__event_reader;

/* Reads one field's value into r->event. When it is refused r->fault says where. */
typedef int (*llmd__event_read)(llmd__event_reader *r);

typedef struct llmd__event_field {
  const char *name;
  llmd__event_read read;
} llmd__event_field;

/* A type of event: its fields in the order of the positional form; those from `positions` on have names only. */
typedef struct llmd__event_form {
  const char *type;
  uint32_t kind;
  uint32_t n;
  uint32_t positions;
  const llmd__event_field *field;
} llmd__event_form;

static inline int llmd__event_is(llmd_str text, const char *name)
{
  return text.len == strlen(name) && memcmp(text.ptr, name, text.len) == 0;
}

/* What holds when these are asked for (NULL = defaults): no zeros. */
llmd_event_limits llmd__event_limits(const llmd_event_limits *given);
/* NULL: no type that is known here. */
const llmd__event_form *llmd__event_form_of(llmd_str type);
/* Which field of the form a key names, form->n for none; looks at `hint` first. */
uint32_t llmd__event_field_of(const llmd__event_form *form, llmd_str key, uint32_t hint);
/* What only the whole event tells: what is missing, where its blocks lie. fields: a bit for each one that was there. */
int llmd__event_finish(llmd__event_reader *r, const llmd__event_form *form, uint32_t fields);

#endif
