/* Policies' new texts, taken up while requests flow. What takes time (compiling, a new lane's memory, freeing the former)
 * is another thread's; the loop exchanges pointers. */
#include <string.h>

#include "uv/log.h"
#include "uv/proxy/inner.h"

#define AGAIN 40u /* ticks until what may have passed is tried again */

/* ---- which texts ------------------------------------------------------------------------------------------------- */

/* A sum of the numbers of the region's texts: other texts, another sum. */
static uint64_t sum_numbers(llmd_proxy *p)
{
  llmd_policy_info info = {.size = sizeof info};
  uint64_t sum = 0, number;
  size_t len;
  for (uint32_t i = 0; !llmd_scheduler_policy(p->scheduler, i, &info); i++)
    if (info.file.ptr && !llmd_pool_get_policy(p->pool, info.file.ptr, info.file.len, p->swap.text,
                                               sizeof p->swap.text, &len, &number))
      sum += number;
  return sum;
}

/* The number of that file's text, as the first `most` policies have it; 0 = none does. */
static uint64_t number_of(const llmd_scheduler *s, llmd_str file, uint32_t most)
{
  llmd_policy_info info = {.size = sizeof info};
  for (uint32_t i = 0; i < most && !llmd_scheduler_policy(s, i, &info); i++)
    if (info.file.len == file.len && file.len && !memcmp(info.file.ptr, file.ptr, file.len))
      return info.number;
  return 0;
}

/* A line for each file that has another text now. */
static void tell_taken(llmd_proxy *p, const llmd_scheduler *former)
{
  llmd_policy_info info = {.size = sizeof info};
  for (uint32_t i = 0; !llmd_scheduler_policy(p->scheduler, i, &info); i++)
    if (info.number && !number_of(p->scheduler, info.file, i) &&
        number_of(former, info.file, UINT32_MAX) != info.number)
      llmd__log(p->log, p->log_ud, LLMD_LOG_INFO, "proxy", "policy %.*s: decides by text %llu", (int)info.file.len,
                info.file.ptr, (unsigned long long)info.number);
}

/* ---- the other thread -------------------------------------------------------------------------------------------- */

static void make(uv_work_t *work)
{
  llmd_proxy *p = work->data;
  llmd__swap *w = &p->swap;
  llmd_scheduler_options o;
  llmd__proxy_scheduler_options(p, p->service, &o);
  w->err = (llmd_err)LLMD_ERR_INIT;
  w->rc = llmd_scheduler_create(&o, p->pool, p->service->policy.ptr, p->service->policy.len, &w->scheduler, &w->err);
  if (!w->rc)
    w->rc = llmd_lane_prepare(p->lane, w->scheduler, &w->spare);
  uv_sem_post(&w->made);
}

static void sweep(uv_work_t *work)
{
  llmd__swap *w = &((llmd_proxy *)work->data)->swap;
  llmd_spare_free(w->spare);
  llmd_scheduler_free(w->scheduler);
}

/* ---- the loop ---------------------------------------------------------------------------------------------------- */

static void rest(llmd_proxy *p)
{
  p->swap.state = LLMD__SWAP_IDLE;
  p->swap.spare = NULL;
  p->swap.scheduler = NULL;
  if (p->parts)
    llmd__proxy_left(p);
}

static void on_swept(uv_work_t *work, int status)
{
  llmd_proxy *p = work->data;
  if (status)
    sweep(work);
  rest(p);
}

static void begin_sweep(llmd_proxy *p)
{
  p->swap.state = LLMD__SWAP_SWEEPING;
  if (!uv_queue_work(p->loop, &p->swap.work, sweep, on_swept))
    return;
  sweep(&p->swap.work);
  rest(p);
}

static void take(llmd_proxy *p)
{
  llmd_scheduler *former = p->scheduler;
  llmd_lane_take(p->lane, p->swap.spare);
  p->scheduler = p->swap.scheduler;
  p->swap.scheduler = former;
  p->swap.failed = 0;
  llmd__counts_swap(p, 1);
  tell_taken(p, former);
}

/* No memory, no descriptor: no fault of the text, whose number may never change. */
static int may_pass(int rc)
{
  return rc == LLMD_E_NOMEM || rc == LLMD_E_IO;
}

static void refuse(llmd_proxy *p)
{
  const llmd_err *err = &p->swap.err;
  if (p->swap.rc == LLMD_E_BUSY)
    return; /* the next tick tries again */
  p->swap.failed = p->swap.wanted;
  p->swap.again = may_pass(p->swap.rc) ? AGAIN : 0;
  llmd__counts_swap(p, 0);
  llmd__log(p->log, p->log_ud, LLMD_LOG_ERROR, "proxy", "policies stay as they were: %s:%u:%u: %s", err->path,
            err->line, err->column, err->text[0] ? err->text : llmd_strerror(p->swap.rc));
}

static void on_made(uv_work_t *work, int status)
{
  llmd_proxy *p = work->data;
  llmd__swap *w = &p->swap;
  if (w->state == LLMD__SWAP_MAKING && !status)
    uv_sem_wait(&w->made); /* it was posted: this only counts it */
  if (status) {
    rest(p);
    return;
  }
  if (w->state == LLMD__SWAP_MAKING && !p->closing && w->rc)
    refuse(p);
  else if (w->state == LLMD__SWAP_MAKING && !p->closing)
    take(p);
  begin_sweep(p);
}

static void begin(llmd_proxy *p, uint64_t wanted)
{
  llmd__swap *w = &p->swap;
  if (!w->ready && uv_sem_init(&w->made, 0))
    return;
  w->ready = 1;
  w->wanted = wanted;
  w->scheduler = NULL;
  w->spare = NULL;
  w->work.data = p;
  w->state = LLMD__SWAP_MAKING;
  if (uv_queue_work(p->loop, &w->work, make, on_made))
    w->state = LLMD__SWAP_IDLE;
}

void llmd__swap_tick(llmd_proxy *p)
{
  uint64_t wanted;
  int outdated = llmd_scheduler_outdated(p->scheduler) == 1;
  llmd__counts_outdated(p, outdated);
  if (!outdated || p->closing || p->swap.state != LLMD__SWAP_IDLE)
    return;
  if (p->swap.again && !--p->swap.again)
    p->swap.failed = 0;
  wanted = sum_numbers(p);
  if (wanted != p->swap.failed)
    begin(p, wanted);
}

void llmd__swap_forget(llmd_proxy *p)
{
  llmd__swap *w = &p->swap;
  w->failed = w->again = 0;
  if (w->state != LLMD__SWAP_MAKING)
    return;
  w->state = LLMD__SWAP_STALE;
  if (uv_cancel((uv_req_t *)&w->work))
    uv_sem_wait(&w->made);
}

int llmd__swap_busy(const llmd_proxy *p)
{
  return p->swap.state != LLMD__SWAP_IDLE;
}

void llmd__swap_free(llmd_proxy *p)
{
  if (p->swap.ready)
    uv_sem_destroy(&p->swap.made);
}
