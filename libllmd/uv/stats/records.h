/* Decisions that workers recorded lately (llmd_record_write), one a second of each at most: what an agent tries a policy
 * on before it lets it decide. A ring on the share's LLMD__AREA_RECORDS. */
#ifndef LLMD_UV_STATS_RECORDS_H
#define LLMD_UV_STATS_RECORDS_H

#include "uv/stats/ring.h"

/* The share's ring. */
llmd__ring llmd__records_of(llmd_share *share);

#endif
