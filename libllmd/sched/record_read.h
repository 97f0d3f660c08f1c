/* A record into a lane (record.h has the bytes). */
#ifndef LLMD_SCHED_RECORD_READ_H
#define LLMD_SCHED_RECORD_READ_H

#include "sched/record.h"

/* After the first error everything reads as zero, and rc says what it was. */
typedef struct llmd__record_reader {
  const unsigned char *p;
  size_t left;
  int rc;
} llmd__record_reader;

/* What stands before the request: needed before the lane can be touched. */
typedef struct llmd__prologue {
  uint64_t identity, seed;
  uint32_t compat, fail, ladder;
  llmd_now now;
  llmd__facts facts;
} llmd__prologue;

/* The record's word on what came out. */
typedef struct llmd__told {
  uint32_t status, reason, code, primary;
  uint32_t n; /* profiles */
  llmd__result profile[LLMD_MAX_PROFILES];
  uint64_t text; /* hash */
} llmd__told;

/* Head and checksum; leaves the reader at the prologue. *bytes = length of the record. */
int llmd__record_open(llmd__record_reader *r, const void *record, size_t len, uint64_t *bytes);
void llmd__record_prologue(llmd__record_reader *r, llmd__prologue *p);
/* Request, rows, candidates, sources, columns, texts; failed calls and answers of tables unless `other`: then the record
 * is of another configuration, and what it has is found by name. Returns r->rc. */
int llmd__record_inputs(llmd__record_reader *r, llmd_lane *l, int other);
/* The end of the record, and nothing after it. */
int llmd__record_result(llmd__record_reader *r, const llmd_lane *l, llmd__told *t);

#endif
