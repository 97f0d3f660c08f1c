/* engine_fault.h: what an engine does wrong, on request.
 *
 * A fault stands on a path and strikes the next `count` requests there (or each with a probability); what strikes is
 * copied to the request. Faults of events are not on this list: they strike at once. */
#ifndef ENGINE_FAULT_H
#define ENGINE_FAULT_H

#include "engine_text.h"
#include "json.h"
#include "sim_rng.h"

enum engine_fault_kind {
  ENGINE_FAULT_NONE,
  ENGINE_SLOW,    /* first_ms before the answer, token_ms before each token */
  ENGINE_HANG,    /* never an answer */
  ENGINE_RESET,   /* after `bytes` of the answer's body */
  ENGINE_HALF,    /* after half of it */
  ENGINE_ERROR,   /* `status` */
  ENGINE_JUNK,    /* 200, and bytes that mean nothing */
  ENGINE_CLOSE,   /* on a connection that was used before: gone without an answer */
  ENGINE_NAN,     /* of metrics: numbers nobody can mean */
  ENGINE_LIE,     /* of metrics: numbers that cannot be */
  ENGINE_HUGE,    /* `bytes` of comments behind the page */
  ENGINE_BINARY,
  ENGINE_ENDLESS, /* the page again and again */
  ENGINE_DRIP,    /* a byte each token_ms */
  ENGINE_EMPTY,
  ENGINE_FAULT_KINDS
};

struct engine_fault {
  enum engine_fault_kind kind;
  uint32_t status;
  char path[64];      /* its beginning; "" = wherever the kind makes sense */
  uint64_t count;     /* requests left; UINT64_MAX = no end */
  double probability;
  uint32_t first_ms, token_ms;
  uint64_t bytes;
};

#define ENGINE_MOST_FAULTS 16

struct engine_faults {
  struct engine_fault fault[ENGINE_MOST_FAULTS];
  uint32_t n;
  struct sim_rng rng;
};

/* "KIND" or "KIND:name=value,...", as the option has it. 0, or -1 with a text in why. */
int engine_fault_parse(const char *text, struct engine_fault *out, char *why, size_t room);
/* {"kind": ..., ...}. */
int engine_fault_read(const cJSON *o, struct engine_fault *out, char *why, size_t room);
/* LLMD_E_FULL. */
int engine_fault_add(struct engine_faults *faults, const struct engine_fault *fault);
void engine_fault_print(const struct engine_faults *faults, struct engine_text *out); /* {"faults": [...]} */
/* What strikes a request for this path; kind ENGINE_FAULT_NONE = nothing. again: its connection was used before. */
struct engine_fault engine_fault_strike(struct engine_faults *faults, const char *path, size_t len, int again);

#endif
