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

#define LLMD__FAILED 32u /* failed calls of one decision that a record holds */
#define LLMD__FAILED_PRODUCE 0x80000000u

/* A call that failed. */
typedef struct llmd__failed {
  uint32_t call; /* number in the cycle, from 0; LLMD__FAILED_PRODUCE + instance: a producer */
  int32_t rc;
  llmd_str trouble;
} llmd__failed;

/* What a table answered to a policy. */
typedef struct llmd__answer {
  int32_t found; /* 0 or 1 */
  uint32_t reserved;
  uint64_t value;
} llmd__answer;

/* An id of a source that is read with its texts. */
typedef struct llmd__id_text {
  uint32_t id, reserved;
  llmd_str text; /* ptr NULL = nobody knows it */
} llmd__id_text;

/* One source as the decision saw it. */
typedef struct llmd__kept_source {
  uint32_t filled; /* 0 = no plugin read it */
  uint32_t n_ids;  /* HEADER_IDS: entries of cells */
  void *cells;     /* [rows] doubles or ids; NULL for a HEADER, a PROMPT */
  llmd_str text;   /* HEADER, HEADER_IDS, PROMPT: the value; ptr NULL = absent */
  uint32_t match;  /* replay of another configuration's record: how well its source fits, 0 = it has none */
  uint32_t reserved;
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
  llmd__id_text *id_text;    /* in the order in which the ids come in the sources */
  uint32_t *id_place;        /* [n_places] an id's place -> number of its entry + 1 */
  uint32_t n_id_texts, n_places;
  char *text;
  size_t text_len, text_used;
} llmd__kept;

#endif
