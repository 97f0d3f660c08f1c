/* A record of a decision now and then, for the agent. */
#include <string.h>

#include "base/alloc.h"
#include "uv/proxy/inner.h"
#include "uv/share/share.h"
#include "uv/stats/records.h"

#define MOST LLMD__RING_MOST(LLMD__RECORD_SLOT_BYTES)

void llmd__recorder_tick(llmd_proxy *p)
{
  llmd_policy_info info = {.size = sizeof info};
  llmd__recorder *r = &p->recorder;
  r->armed = 0;
  if (!p->share || !p->service->log.explain || llmd_scheduler_policy(p->scheduler, 0, &info))
    return;
  if (!r->room)
    r->room = llmd__realloc(&p->alloc, NULL, 0, MOST);
  r->armed = r->room != NULL;
}

static int put(void *ud, const char *ptr, size_t len)
{
  llmd__recorder *r = ud;
  if (len > MOST - r->len)
    return LLMD_E_LIMIT;
  memcpy(r->room + r->len, ptr, len);
  r->len += len;
  return 0;
}

void llmd__recorder_put(llmd_proxy *p, const llmd_now *now)
{
  llmd__recorder *r = &p->recorder;
  llmd__ring ring;
  if (!r->armed)
    return;
  r->armed = 0;
  r->len = 0;
  ring = llmd__records_of(p->share);
  if (ring.area && !llmd_record_write(p->lane, put, r))
    (void)llmd__ring_put(&ring, now->wall, r->room, r->len);
}

void llmd__recorder_free(llmd_proxy *p)
{
  llmd__free(&p->alloc, p->recorder.room, p->recorder.room ? MOST : 0);
}
