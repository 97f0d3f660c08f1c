/* How the shared statistics lie, and the table of histograms. Only files of this room include it. */
#ifndef LLMD_UV_STATS_AREA_H
#define LLMD_UV_STATS_AREA_H

#include <stdatomic.h>

#include "uv/stats/stats.h"

#define LLMD__STATS_LAYOUT 2u
#define LLMD__STATS_SERIES 1024u /* number 0 is "other" */
#define LLMD__STATS_INDEX 4096u  /* a power of two */
#define LLMD__STATS_SEATS 256u
#define LLMD__STATS_CLEARING (UINT64_C(1) << 63) /* a seat whose cells are being cleared */

/* Histograms of a series. Values are integers: ns, bytes, tokens. */
enum {
  LLMD__HIST_DURATION,
  LLMD__HIST_REQUEST_BYTES,
  LLMD__HIST_RESPONSE_BYTES,
  LLMD__HIST_INPUT,
  LLMD__HIST_OUTPUT,
  LLMD__HIST_CACHED,
  LLMD__HIST_NTPOT,
  LLMD__HIST_TTFT_WHOLE, /* the two of one family, one after the other */
  LLMD__HIST_TTFT_STREAM,
  LLMD__HIST_TPOT,
  LLMD__HIST_ITL,
  LLMD__HISTS
};

typedef struct llmd__hist {
  const char *family, *help;
  const char *label; /* one more pair, `name="value"`, or NULL */
  const uint64_t *bound;
  uint32_t n;     /* bounds; one more bucket holds what is above all */
  uint32_t scale; /* a value of 1 in the text */
} llmd__hist;

extern const llmd__hist llmd__hists[LLMD__HISTS];
extern const llmd__hist llmd__hist_decided; /* of all requests together */

#define LLMD__HIST_CELLS 272u /* of all histograms of a series; checked when an area is opened */
#define LLMD__DECIDED_CELLS 16u

typedef struct llmd__series {
  char label[3][LLMD__STATS_LABEL];
  uint32_t len[3];
  int32_t priority;
  _Atomic uint64_t total;
  _Atomic uint64_t error[LLMD__ERRORS];
  _Atomic uint64_t cell[LLMD__HIST_CELLS]; /* histogram after histogram: buckets, then the sum */
} llmd__series;

typedef struct llmd__seat {
  _Atomic uint64_t owner; /* 0 = free */
  _Atomic uint64_t gauge[LLMD__STATS_GAUGES];
  _Atomic uint32_t running[LLMD__STATS_SERIES];
} llmd__seat;

typedef struct llmd__stats_area {
  _Atomic uint32_t layout; /* 0 = nobody was here yet */
  _Atomic uint32_t used;   /* series given out, but for "other"; some to processes that died before using them */
  _Atomic uint64_t count[LLMD__STATS_COUNTS];
  _Atomic uint64_t decided[LLMD__DECIDED_CELLS];
  _Atomic uint32_t index[LLMD__STATS_INDEX]; /* numbers of series by their hash; written once, from 0 */
  llmd__series series[LLMD__STATS_SERIES];
  llmd__seat seat[LLMD__STATS_SEATS];
} llmd__stats_area;

struct llmd__stats {
  llmd__stats_area *area;
  llmd_share *share;
  uint64_t owner;
  int (*attached)(const void *ud, uint64_t owner);
  const void *ud;
  llmd__seat *seat;   /* NULL = none yet, or all taken */
  uint32_t seat_asked;
  uint32_t spare;     /* a series that was made ready and not needed; 0 = none */
  uint32_t at[LLMD__HISTS]; /* first cell of each histogram */
};

/* Puts v into the histogram whose cells these are. */
void llmd__hist_observe(const llmd__hist *h, _Atomic uint64_t *cell, uint64_t v);

#endif
