/* What explain, record and replay need of a lane's last decision, in the lane's own memory: no buffer stays pinned, the
 * request may be reset, and commits on the same lane change nothing here.
 *
 *   decide ──► llmd__why_keep ──► kept ──► explain, record
 *   record ──► llmd_replay ─────► kept ──► the same cycle ──► explain */
#ifndef LLMD_SCHED_KEPT_H
#define LLMD_SCHED_KEPT_H

#include <llmd/plugin.h>

#include "base/region.h"

#define LLMD__KEPT_TEXT_EACH 128u    /* bytes of text per row of the region: names and addresses of a replayed record */
#define LLMD__KEPT_TEXT_FIXED 16384u /* and for model and headers */

#define LLMD__FAILED 16u /* failed calls of one decision that a record holds */

/* A call of the cycle that failed. */
typedef struct llmd__failed {
  uint32_t call; /* number in the decision, from 0 */
  int32_t rc;
  llmd_str trouble;
} llmd__failed;

/* What a table answered to a policy. */
typedef struct llmd__answer {
  int32_t found;
  uint32_t reserved;
  uint64_t value;
} llmd__answer;

/* One source as the decision saw it. */
typedef struct llmd__kept_source {
  uint32_t filled; /* 0 = no plugin read it */
  uint32_t n_ids;  /* HEADER_IDS: entries of cells */
  void *cells;     /* [rows] doubles or ids; NULL for a HEADER */
  llmd_str text;   /* HEADER, HEADER_IDS: the value; ptr NULL = absent */
} llmd__kept_source;

typedef struct llmd__kept {
  uint32_t n;        /* rows */
  uint32_t replayed; /* row.name and row.address are places in text, not strings of the region */
  uint32_t lost;     /* text did not fit: there is no record of this decision */
  uint64_t freed;    /* region.strings_freed then: as long as it stands, every id means what it meant */
  llmd_now now;
  llmd_request_view view;
  llmd__row *row;
  uint8_t *ejected;          /* [rows] 1 = left out for that */
  llmd_endpoint_id *id;      /* of a replayed record's rows */
  llmd__kept_source *source; /* [sources] */
  double **column;           /* [columns] */
  uint8_t *column_set;       /* [columns] */
  uint32_t n_failed, n_answers;
  llmd__failed failed[LLMD__FAILED];
  llmd__answer answer[LLMD_HOST_READS];
  char *text;
  size_t text_len, text_used;
} llmd__kept;

#endif
