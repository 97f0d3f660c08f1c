/* What is counted (uv/stats). A proxy without stats counts nothing. */
#include <string.h>

#include "uv/proxy/inner.h"

void llmd__counts_begin(llmd__exchange *x, const llmd_request_info *info)
{
  llmd__stats_key key = {info->model, info->model, info->fairness_id, 0};
  if (!x->proxy->stats)
    return;
  if (info->model_rewrite.len)
    key.target = info->model_rewrite;
  key.priority = info->priority > INT32_MAX   ? INT32_MAX
                 : info->priority < INT32_MIN ? INT32_MIN
                                              : (int32_t)info->priority;
  x->series = llmd__stats_series(x->proxy->stats, &key);
  x->counted = 1;
  llmd__stats_begin(x->proxy->stats, x->series);
}

void llmd__counts_decided(llmd_proxy *p, uint64_t ns)
{
  if (p->stats)
    llmd__stats_decided(p->stats, ns);
}

void llmd__counts_retry(llmd_proxy *p)
{
  if (p->stats)
    llmd__stats_count(p->stats, LLMD__STAT_RETRIES, 1);
}

void llmd__counts_tokens(llmd_proxy *p, int rc)
{
  uint32_t which = rc == 0                ? LLMD__STAT_TOKENS_OK
                   : rc == LLMD_E_TIMEOUT ? LLMD__STAT_TOKENS_TIMEOUT
                                          : LLMD__STAT_TOKENS_NONE;
  if (p->stats)
    llmd__stats_count(p->stats, which, 1);
}

/* A leg was sent on (why 0), or failed. */
void llmd__counts_leg(llmd_proxy *p, const llmd__leg *leg, int why, int begun)
{
  static const uint32_t which[] = {
    [LLMD__LEG_REFUSED] = LLMD__STAT_CONNECT_REFUSED, [LLMD__LEG_NO_CONNECT] = LLMD__STAT_CONNECT_TIMEOUT,
    [LLMD__LEG_STALE] = LLMD__STAT_RECONNECTS,        [LLMD__LEG_RESET] = LLMD__STAT_BROKEN_EARLY,
    [LLMD__LEG_SILENT] = LLMD__STAT_TIMEOUT_FIRST,    [LLMD__LEG_BROKEN] = LLMD__STAT_BROKEN_LATE,
    [LLMD__LEG_STALLED] = LLMD__STAT_TIMEOUT_IDLE,    [LLMD__LEG_MALFORMED] = LLMD__STAT_BROKEN_EARLY,
  };
  uint32_t what = LLMD__STAT_REUSED;
  if (!p->stats)
    return;
  if (why)
    what = begun && why == LLMD__LEG_MALFORMED ? LLMD__STAT_BROKEN_LATE : which[why];
  else if (!llmd__leg_reused(leg))
    return; /* a new one counts when it stands */
  llmd__stats_count(p->stats, what, 1);
}

void llmd__counts_flush(llmd__exchange *x, uint64_t ns)
{
  if (x->counted)
    llmd__stats_between_tokens(x->proxy->stats, x->series, ns);
}

void llmd__counts_expired(llmd_proxy *p)
{
  if (p->stats)
    llmd__stats_count(p->stats, LLMD__STAT_TIMEOUT_TOTAL, 1);
}

void llmd__counts_refused(llmd_proxy *p, uint32_t status)
{
  if (p->stats)
    llmd__stats_refused(p->stats, status);
}

static uint64_t whole(double v)
{
  return v > 0 && v < 9e15 ? (uint64_t)v : 0;
}

static uint32_t error_of(const llmd__exchange *x)
{
  if (x->status == 499)
    return LLMD__ERROR_CLIENT_GONE;
  if (x->state == LLMD__X_PASSING && x->why)
    return LLMD__ERROR_MODEL_SERVER_ERROR;
  return llmd__stats_error_of(x->status, x->own);
}

void llmd__counts_end(llmd__exchange *x, const llmd_now *now)
{
  llmd__stats *st = x->proxy->stats;
  llmd__stats_end end;
  if (!st)
    return;
  if (x->status == 499)
    llmd__stats_count(st, LLMD__STAT_CLIENT_GONE, 1);
  else
    llmd__stats_answered(st, x->status);
  if (x->sse.raw && x->stream)
    llmd__stats_count(st, LLMD__STAT_EVENTS_LONG, 1);
  if (!x->counted)
    return;
  memset(&end, 0, sizeof end);
  end.duration = now->mono - x->begun;
  end.ttft = x->first ? x->first - x->begun : 0;
  end.request_bytes = x->bytes_in;
  end.response_bytes = x->bytes_out;
  end.input_tokens = whole(x->usage.prompt_tokens);
  end.output_tokens = whole(x->usage.output_tokens);
  end.cached_tokens = whole(x->usage.cached_tokens);
  end.streaming = x->stream;
  end.error = error_of(x);
  llmd__stats_end_request(st, x->series, &end);
}

void llmd__counts_tick(llmd_proxy *p)
{
  llmd_http_stats http = {.size = sizeof http};
  llmd__client_stats client;
  if (!p->stats || llmd_http_stats_get(p->server, &http))
    return;
  llmd__client_stats_get(p->client, &client);
  llmd__stats_gauge(p->stats, LLMD__GAUGE_CONNECTIONS, http.connections);
  llmd__stats_gauge(p->stats, LLMD__GAUGE_BODY_BYTES, http.body_bytes);
  llmd__stats_gauge(p->stats, LLMD__GAUGE_UPSTREAM, client.legs + client.kept);
  llmd__stats_gauge(p->stats, LLMD__GAUGE_UPSTREAM_IDLE, client.kept);
  llmd__stats_gauge(p->stats, LLMD__GAUGE_WORKERS, p->draining ? 0 : 1);
  llmd__stats_count(p->stats, LLMD__STAT_BYTES_IN, http.bytes_in - p->bytes_in);
  llmd__stats_count(p->stats, LLMD__STAT_BYTES_OUT, http.bytes_out - p->bytes_out);
  llmd__stats_count(p->stats, LLMD__STAT_CONNECT_OK, client.connected - p->connected);
  p->connected = client.connected;
  p->bytes_in = http.bytes_in;
  p->bytes_out = http.bytes_out;
  if (p->access)
    llmd__stats_count(p->stats, LLMD__STAT_LOG_LOST, llmd__access_lost(p->access));
}

void llmd__counts_swap(llmd_proxy *p, int taken)
{
  if (p->stats)
    llmd__stats_count(p->stats, taken ? LLMD__STAT_SWAPS_OK : LLMD__STAT_SWAPS_REFUSED, 1);
}

void llmd__counts_outdated(llmd_proxy *p, int outdated)
{
  if (p->stats)
    llmd__stats_gauge(p->stats, LLMD__GAUGE_OUTDATED, outdated ? 1 : 0);
}
