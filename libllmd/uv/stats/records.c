#include "uv/stats/records.h"

#include "uv/share/share.h"

llmd__ring llmd__records_of(llmd_share *share)
{
  llmd__ring r = {NULL, 0, LLMD__RECORD_SLOT_BYTES};
  r.area = llmd__share_area(share, LLMD__AREA_RECORDS, &r.bytes);
  return r;
}
