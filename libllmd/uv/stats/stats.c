#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "uv/share/share.h"
#include "uv/stats/area.h"

/* Series up to which new fairness ids, which clients make up and engines answer, get one of their own. */
#define FAIRNESS_ROOM (LLMD__STATS_SERIES / 4u)

static void add(_Atomic uint64_t *cell, uint64_t n)
{
  atomic_fetch_add_explicit(cell, n, memory_order_relaxed);
}

/* ---- a handle ---------------------------------------------------------------------------------------------------- */

size_t llmd__stats_bytes(void)
{
  return sizeof(llmd__stats_area);
}

/* 0 when the histograms are as large as the layout says. */
static int place_cells(llmd__stats *st)
{
  uint32_t at = 0;
  for (uint32_t i = 0; i < LLMD__HISTS; i++) {
    st->at[i] = at;
    at += llmd__hists[i].n + 2;
  }
  return at > LLMD__HIST_CELLS || llmd__hist_decided.n + 2 > LLMD__DECIDED_CELLS;
}

int llmd__stats_open_on(void *area, size_t bytes, uint64_t owner, int (*attached)(const void *ud, uint64_t owner),
                        const void *ud, llmd__stats **out)
{
  llmd__stats *st;
  uint32_t nobody = 0;
  if (!area || bytes < sizeof(llmd__stats_area) || !owner || !attached)
    return LLMD_E_INVALID;
  st = calloc(1, sizeof *st);
  if (!st)
    return LLMD_E_NOMEM;
  st->area = area;
  st->owner = owner;
  st->attached = attached;
  st->ud = ud;
  if (place_cells(st) || (!atomic_compare_exchange_strong(&st->area->layout, &nobody, LLMD__STATS_LAYOUT) &&
                          nobody != LLMD__STATS_LAYOUT)) {
    free(st);
    return LLMD_E_MISMATCH;
  }
  *out = st;
  return LLMD_OK;
}

static int share_attached(const void *ud, uint64_t owner)
{
  return llmd__share_attached(ud, owner);
}

int llmd__stats_open(llmd_share *share, llmd__stats **out)
{
  size_t bytes = 0;
  void *area = llmd__share_area(share, LLMD__AREA_STATS, &bytes);
  return llmd__stats_open_on(area, bytes, llmd__share_owner(share), share_attached, share, out);
}

void llmd__stats_close(llmd__stats *st)
{
  if (st && st->seat)
    atomic_store(&st->seat->owner, 0);
  free(st);
}

/* ---- seats ------------------------------------------------------------------------------------------------------- */

static void clear_seat(llmd__seat *seat)
{
  for (uint32_t i = 0; i < LLMD__STATS_GAUGES; i++)
    atomic_store_explicit(&seat->gauge[i], 0, memory_order_relaxed);
  for (uint32_t i = 0; i < LLMD__STATS_SERIES; i++)
    if (atomic_load_explicit(&seat->running[i], memory_order_relaxed))
      atomic_store_explicit(&seat->running[i], 0, memory_order_relaxed);
}

/* A free seat, or one of a process that is gone. A process that dies while it clears leaves one of the latter. */
static int take_seat(llmd__stats *st, llmd__seat *seat)
{
  uint64_t owner = atomic_load(&seat->owner);
  uint64_t bare = owner & ~LLMD__STATS_CLEARING;
  if (bare && bare != st->owner && st->attached(st->ud, bare))
    return 0;
  if (!atomic_compare_exchange_strong(&seat->owner, &owner, st->owner | LLMD__STATS_CLEARING))
    return 0;
  clear_seat(seat);
  atomic_store(&seat->owner, st->owner);
  return 1;
}

static llmd__seat *seat_of(llmd__stats *st)
{
  for (uint32_t i = 0; i < LLMD__STATS_SEATS && !st->seat && !st->seat_asked; i++)
    if (take_seat(st, &st->area->seat[(st->owner + i) % LLMD__STATS_SEATS]))
      st->seat = &st->area->seat[(st->owner + i) % LLMD__STATS_SEATS];
  st->seat_asked = 1;
  return st->seat;
}

void llmd__stats_gauge(llmd__stats *st, uint32_t which, uint64_t value)
{
  llmd__seat *seat = seat_of(st);
  if (seat && which < LLMD__STATS_GAUGES)
    atomic_store_explicit(&seat->gauge[which], value, memory_order_relaxed);
}

/* ---- series ------------------------------------------------------------------------------------------------------ */

/* A key as it is kept: cut, and without what may not stand in the text. */
typedef struct name {
  char label[3][LLMD__STATS_LABEL];
  uint32_t len[3];
  int32_t priority;
} name;

static uint32_t clean(const llmd_str *from, char *out)
{
  size_t room = from->len < LLMD__STATS_LABEL ? from->len : LLMD__STATS_LABEL;
  size_t i = 0;
  while (i < room) {
    uint32_t cp = (unsigned char)from->ptr[i];
    size_t n = cp < 0x80 ? 1 : llmd__utf8_read(from->ptr + i, from->len - i, &cp);
    if (n > room - i)
      break;
    out[i] = n == 0 || cp < ' ' || cp == 0x7f ? '?' : from->ptr[i];
    if (n > 1)
      memcpy(out + i, from->ptr + i, n);
    i += n ? n : 1;
  }
  return (uint32_t)i;
}

static void name_of(const llmd__stats_key *key, name *out)
{
  out->len[0] = clean(&key->model, out->label[0]);
  out->len[1] = clean(&key->target, out->label[1]);
  out->len[2] = clean(&key->fairness, out->label[2]);
  out->priority = key->priority;
}

static uint64_t hash_of(const name *n)
{
  uint64_t h = UINT64_C(0x9e3779b97f4a7c15) ^ (uint32_t)n->priority;
  for (uint32_t k = 0; k < 3; k++)
    for (uint32_t i = 0; i <= n->len[k]; i += 8) { /* at least once: where a text ends counts */
      uint64_t word = n->len[k];
      uint32_t left = n->len[k] - i;
      memcpy(&word, n->label[k] + i, left < 8 ? left : 8);
      h = (h ^ word) * UINT64_C(0xff51afd7ed558ccd);
      h ^= h >> 32;
    }
  return h;
}

static int is_named(const llmd__series *s, const name *n)
{
  for (uint32_t k = 0; k < 3; k++)
    if (s->len[k] != n->len[k] || memcmp(s->label[k], n->label[k], n->len[k]) != 0)
      return 0;
  return s->priority == n->priority;
}

/* A series that nobody else has, with this name; 0: all are taken. */
static uint32_t make_series(llmd__stats *st, const name *n)
{
  llmd__series *s;
  if (!st->spare && atomic_load(&st->area->used) < LLMD__STATS_SERIES - 1) {
    uint32_t number = atomic_fetch_add(&st->area->used, 1) + 1;
    st->spare = number < LLMD__STATS_SERIES ? number : 0;
  }
  if (!st->spare)
    return 0;
  s = &st->area->series[st->spare];
  memcpy(s->label, n->label, sizeof s->label);
  memcpy(s->len, n->len, sizeof s->len);
  s->priority = n->priority;
  return st->spare;
}

/* The series is whole before its number stands in the index, so that there is nothing in between to die in; one that
 * somebody else was faster with stays for the next name. */
static uint32_t find_series(llmd__stats *st, const name *n, uint32_t most)
{
  uint64_t hash = hash_of(n);
  for (uint32_t i = 0; i < LLMD__STATS_INDEX; i++) {
    _Atomic uint32_t *slot = &st->area->index[(hash + i) & (LLMD__STATS_INDEX - 1)];
    uint32_t there = atomic_load_explicit(slot, memory_order_acquire);
    if (!there) {
      uint32_t made = atomic_load(&st->area->used) < most ? make_series(st, n) : 0;
      if (!made)
        return 0;
      if (atomic_compare_exchange_strong(slot, &there, made)) {
        st->spare = 0;
        return made;
      }
    }
    if (there < LLMD__STATS_SERIES && is_named(&st->area->series[there], n))
      return there;
  }
  return 0;
}

uint32_t llmd__stats_series(llmd__stats *st, const llmd__stats_key *key)
{
  static const llmd_str other = {"other", 5};
  name n;
  uint32_t found;
  name_of(key, &n);
  found = find_series(st, &n, FAIRNESS_ROOM);
  if (found || !n.len[2])
    return found ? found : find_series(st, &n, LLMD__STATS_SERIES);
  n.len[2] = clean(&other, n.label[2]);
  return find_series(st, &n, LLMD__STATS_SERIES);
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static llmd__series *series_at(llmd__stats *st, uint32_t series)
{
  return &st->area->series[series < LLMD__STATS_SERIES ? series : 0];
}

void llmd__stats_begin(llmd__stats *st, uint32_t series)
{
  llmd__seat *seat = seat_of(st);
  add(&series_at(st, series)->total, 1);
  if (seat && series < LLMD__STATS_SERIES)
    atomic_fetch_add_explicit(&seat->running[series], 1, memory_order_relaxed);
}

static void observe(llmd__stats *st, llmd__series *s, uint32_t which, uint64_t v)
{
  llmd__hist_observe(&llmd__hists[which], &s->cell[st->at[which]], v);
}

static void observe_tokens(llmd__stats *st, llmd__series *s, const llmd__stats_end *e)
{
  if (e->input_tokens) {
    observe(st, s, LLMD__HIST_INPUT, e->input_tokens);
    observe(st, s, LLMD__HIST_CACHED, e->cached_tokens);
  }
  if (!e->output_tokens)
    return;
  observe(st, s, LLMD__HIST_OUTPUT, e->output_tokens);
  if (e->duration)
    observe(st, s, LLMD__HIST_NTPOT, e->duration / e->output_tokens);
  if (e->streaming && e->ttft && e->duration >= e->ttft && e->output_tokens > 1)
    observe(st, s, LLMD__HIST_TPOT, (e->duration - e->ttft) / (e->output_tokens - 1));
}

void llmd__stats_end_request(llmd__stats *st, uint32_t series, const llmd__stats_end *e)
{
  llmd__series *s = series_at(st, series);
  if (st->seat && series < LLMD__STATS_SERIES)
    atomic_fetch_sub_explicit(&st->seat->running[series], 1, memory_order_relaxed);
  if (e->request_bytes)
    observe(st, s, LLMD__HIST_REQUEST_BYTES, e->request_bytes);
  if (e->error) {
    add(&s->error[e->error < LLMD__ERRORS ? e->error : LLMD__ERROR_UNKNOWN], 1);
    return;
  }
  if (e->response_bytes)
    observe(st, s, LLMD__HIST_RESPONSE_BYTES, e->response_bytes);
  if (e->duration)
    observe(st, s, LLMD__HIST_DURATION, e->duration);
  if (e->ttft)
    observe(st, s, e->streaming ? LLMD__HIST_TTFT_STREAM : LLMD__HIST_TTFT_WHOLE, e->ttft);
  observe_tokens(st, s, e);
}

void llmd__stats_between_tokens(llmd__stats *st, uint32_t series, uint64_t ns)
{
  observe(st, series_at(st, series), LLMD__HIST_ITL, ns);
}

uint32_t llmd__stats_error_of(uint32_t status, int own)
{
  switch (status) {
  case 401: return LLMD__ERROR_UNAUTHORIZED;
  case 403: return LLMD__ERROR_FORBIDDEN;
  case 404: return LLMD__ERROR_NOT_FOUND;
  case 412: return LLMD__ERROR_PRECONDITION_FAILED;
  case 429: return LLMD__ERROR_RESOURCE_EXHAUSTED;
  default: break;
  }
  if (status < 400)
    return LLMD__ERROR_NONE;
  if (status < 500)
    return LLMD__ERROR_BAD_REQUEST;
  if (!own)
    return LLMD__ERROR_MODEL_SERVER_ERROR;
  return status == 502 || status == 503 || status == 504 ? LLMD__ERROR_SERVICE_UNAVAILABLE : LLMD__ERROR_INTERNAL;
}

/* ---- the rest ---------------------------------------------------------------------------------------------------- */

void llmd__stats_decided(llmd__stats *st, uint64_t ns)
{
  llmd__hist_observe(&llmd__hist_decided, st->area->decided, ns);
}

void llmd__stats_count(llmd__stats *st, uint32_t which, uint64_t n)
{
  if (which < LLMD__STATS_COUNTS)
    add(&st->area->count[which], n);
}

void llmd__stats_refused(llmd__stats *st, uint32_t status)
{
  static const struct {
    uint32_t status, count;
  } rows[] = {{0, LLMD__STAT_REFUSED_0},     {400, LLMD__STAT_REFUSED_400}, {408, LLMD__STAT_REFUSED_408},
              {413, LLMD__STAT_REFUSED_413}, {414, LLMD__STAT_REFUSED_414}, {417, LLMD__STAT_REFUSED_417},
              {431, LLMD__STAT_REFUSED_431}, {501, LLMD__STAT_REFUSED_501}, {503, LLMD__STAT_REFUSED_503},
              {505, LLMD__STAT_REFUSED_505}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (rows[i].status == status) {
      add(&st->area->count[rows[i].count], 1);
      return;
    }
  add(&st->area->count[LLMD__STAT_REFUSED_OTHER], 1);
}

void llmd__stats_answered(llmd__stats *st, uint32_t status)
{
  uint32_t class = status / 100;
  if (class >= 2 && class <= 5)
    add(&st->area->count[LLMD__STAT_ANSWER_2XX + class - 2], 1);
}
