/* The statistics as Prometheus text 0.0.4. Others count on meanwhile: every number is right by itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "uv/stats/area.h"

#define LABELS_ROOM 1024u

typedef struct out {
  llmd_write_fn fn;
  void *ud;
  int rc;
  size_t used;
  char buf[8192];
} out;

typedef struct walk {
  out o;
  const llmd__stats *st;
  uint32_t n;                              /* series that have a name */
  uint32_t number[LLMD__STATS_SERIES];     /* of these, rising */
  uint32_t running[LLMD__STATS_SERIES];    /* by number */
  uint64_t gauge[LLMD__STATS_GAUGES];
} walk;

static void flush(out *o)
{
  if (!o->rc && o->used && o->fn(o->ud, o->buf, o->used))
    o->rc = LLMD_E_STOPPED;
  o->used = 0;
}

static void put(out *o, const char *p, size_t n)
{
  if (n > sizeof o->buf - o->used)
    flush(o);
  memcpy(o->buf + o->used, p, n); /* no piece is longer than the buffer */
  o->used += n;
}

static void put_text(out *o, const char *text)
{
  put(o, text, strlen(text));
}

static void put_double(out *o, double v)
{
  char digits[LLMD__NUMBER_ROOM];
  put(o, digits, llmd__format_double(v, digits));
}

static void put_u64(out *o, uint64_t v)
{
  char digits[24];
  put(o, digits, (size_t)snprintf(digits, sizeof digits, "%llu", (unsigned long long)v));
}

static void put_head(out *o, const char *family, const char *type, const char *help)
{
  const char *const part[] = {"# HELP ", family, " ", help, "\n# TYPE ", family, " ", type, "\n"};
  for (size_t i = 0; i < sizeof part / sizeof *part; i++)
    put_text(o, part[i]);
}

/* `family suffix{labels} ` before its number. */
static void put_name(out *o, const char *family, const char *suffix, const char *labels)
{
  put_text(o, family);
  put_text(o, suffix);
  if (labels[0]) {
    put(o, "{", 1);
    put_text(o, labels);
    put(o, "}", 1);
  }
  put(o, " ", 1);
}

static void put_sample(out *o, const char *family, const char *labels, uint64_t v)
{
  put_name(o, family, "", labels);
  put_u64(o, v);
  put(o, "\n", 1);
}

/* ---- labels ------------------------------------------------------------------------------------------------------ */

static size_t escape(const char *p, size_t n, char *to)
{
  size_t len = 0;
  for (size_t i = 0; i < n; i++) {
    if (p[i] == '"' || p[i] == '\\')
      to[len++] = '\\';
    to[len++] = p[i];
  }
  return len;
}

static void labels_of(const walk *w, uint32_t number, char text[LABELS_ROOM])
{
  static const char *const key[] = {"model_name", "target_model_name", "fairness_id"};
  const llmd__series *s = &w->st->area->series[number];
  size_t len = 0;
  for (uint32_t k = 0; k < 3; k++) {
    len += (size_t)snprintf(text + len, LABELS_ROOM - len, "%s=\"", key[k]);
    len += number ? escape(s->label[k], s->len[k], text + len) : escape("other", 5, text + len);
    text[len++] = '"';
    text[len++] = ',';
  }
  if (number)
    (void)snprintf(text + len, LABELS_ROOM - len, "priority=\"%d\"", (int)s->priority);
  else
    (void)snprintf(text + len, LABELS_ROOM - len, "priority=\"other\"");
}

/* ---- histograms -------------------------------------------------------------------------------------------------- */

static uint64_t load(const _Atomic uint64_t *cell)
{
  return atomic_load_explicit(cell, memory_order_relaxed);
}

static int is_empty(const llmd__hist *h, const _Atomic uint64_t *cell)
{
  uint64_t any = 0;
  for (uint32_t i = 0; i <= h->n; i++)
    any |= load(&cell[i]);
  return any == 0;
}

static void put_bucket(out *o, const llmd__hist *h, const char *labels, uint32_t i, uint64_t sum)
{
  put_text(o, h->family);
  put_text(o, "_bucket{");
  put_text(o, labels);
  put_text(o, labels[0] ? ",le=\"" : "le=\"");
  if (i < h->n)
    put_double(o, (double)h->bound[i] / (double)h->scale);
  else
    put_text(o, "+Inf");
  put_text(o, "\"} ");
  put_u64(o, sum);
  put(o, "\n", 1);
}

static void put_hist(out *o, const llmd__hist *h, const char *labels, const _Atomic uint64_t *cell)
{
  uint64_t sum = 0;
  for (uint32_t i = 0; i <= h->n; i++) {
    sum += load(&cell[i]);
    put_bucket(o, h, labels, i, sum);
  }
  put_name(o, h->family, "_sum", labels);
  put_double(o, (double)load(&cell[h->n + 1]) / (double)h->scale);
  put(o, "\n", 1);
  put_name(o, h->family, "_count", labels);
  put_u64(o, sum);
  put(o, "\n", 1);
}

/* One histogram of all series; `headed`: the family's head is out already. Returns that. */
static int put_histogram(walk *w, uint32_t which, int headed)
{
  const llmd__hist *h = &llmd__hists[which];
  char labels[LABELS_ROOM + 32];
  for (uint32_t i = 0; i < w->n; i++) {
    const _Atomic uint64_t *cell = &w->st->area->series[w->number[i]].cell[w->st->at[which]];
    if (is_empty(h, cell))
      continue;
    if (!headed)
      put_head(&w->o, h->family, "histogram", h->help ? h->help : llmd__hists[which - 1].help);
    headed = 1;
    labels_of(w, w->number[i], labels);
    if (h->label)
      (void)snprintf(labels + strlen(labels), 32, ",%s", h->label);
    put_hist(&w->o, h, labels, cell);
  }
  return headed;
}

static void put_histograms(walk *w)
{
  int headed = 0;
  for (uint32_t i = 0; i < LLMD__HISTS; i++)
    headed = put_histogram(w, i, i && !strcmp(llmd__hists[i].family, llmd__hists[i - 1].family) ? headed : 0);
  if (is_empty(&llmd__hist_decided, w->st->area->decided))
    return;
  put_head(&w->o, llmd__hist_decided.family, "histogram", llmd__hist_decided.help);
  put_hist(&w->o, &llmd__hist_decided, "", w->st->area->decided);
}

/* ---- counters and gauges ----------------------------------------------------------------------------------------- */

static void put_totals(walk *w)
{
  static const char total[] = "llm_d_epp_request_total", running[] = "llm_d_epp_request_running";
  char labels[LABELS_ROOM];
  for (uint32_t gauge = 0; gauge < 2 && w->n; gauge++) {
    put_head(&w->o, gauge ? running : total, gauge ? "gauge" : "counter",
             gauge ? "Requests under way." : "Requests that began.");
    for (uint32_t i = 0; i < w->n; i++) {
      uint32_t k = w->number[i];
      labels_of(w, k, labels);
      put_sample(&w->o, gauge ? running : total, labels, gauge ? w->running[k] : load(&w->st->area->series[k].total));
    }
  }
}

static void put_errors(walk *w)
{
#define ROW(name, text) text,
  static const char *const code[] = {"", LLMD__STATS_ERROR_MAP(ROW)};
#undef ROW
  static const char family[] = "llm_d_epp_request_error_total";
  char labels[LABELS_ROOM + 64];
  int headed = 0;
  for (uint32_t i = 0; i < w->n; i++)
    for (uint32_t e = 1; e < LLMD__ERRORS; e++) {
      uint64_t v = load(&w->st->area->series[w->number[i]].error[e]);
      if (!v)
        continue;
      if (!headed)
        put_head(&w->o, family, "counter", "Requests that went wrong, by what.");
      headed = 1;
      labels_of(w, w->number[i], labels);
      (void)snprintf(labels + strlen(labels), 64, ",error_code=\"%s\"", code[e]);
      put_sample(&w->o, family, labels, v);
    }
}

static void put_counts(walk *w)
{
  static const struct {
    const char *family, *label, *value, *help;
  } row[] = {
#define ROW(name, family, label, value, help) {family, label, value, help},
    LLMD__STATS_COUNT_MAP(ROW)
#undef ROW
  };
  for (uint32_t i = 0; i < LLMD__STATS_COUNTS; i++) {
    char labels[64] = "";
    if (row[i].help)
      put_head(&w->o, row[i].family, "counter", row[i].help);
    if (row[i].label)
      (void)snprintf(labels, sizeof labels, "%s=\"%s\"", row[i].label, row[i].value);
    put_sample(&w->o, row[i].family, labels, load(&w->st->area->count[i]));
  }
}

static void put_gauges(walk *w)
{
  static const struct {
    const char *family, *help;
  } row[] = {
#define ROW(name, family, help) {family, help},
    LLMD__STATS_GAUGE_MAP(ROW)
#undef ROW
  };
  for (uint32_t i = 0; i < LLMD__STATS_GAUGES; i++) {
    put_head(&w->o, row[i].family, "gauge", row[i].help);
    put_sample(&w->o, row[i].family, "", w->gauge[i]);
  }
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
  uint32_t x, y;
  memcpy(&x, a, sizeof x);
  memcpy(&y, b, sizeof y);
  return (x > y) - (x < y);
}

static void find_series(walk *w)
{
  const llmd__stats_area *a = w->st->area;
  if (load(&a->series[0].total))
    w->number[w->n++] = 0;
  for (uint32_t i = 0; i < LLMD__STATS_INDEX && w->n < LLMD__STATS_SERIES; i++) {
    uint32_t k = atomic_load_explicit(&a->index[i], memory_order_acquire);
    if (k && k < LLMD__STATS_SERIES)
      w->number[w->n++] = k;
  }
  qsort(w->number, w->n, sizeof *w->number, by_number);
}

/* What is now: the sum over the seats of those that live. */
static void sum_seats(walk *w)
{
  for (uint32_t i = 0; i < LLMD__STATS_SEATS; i++) {
    const llmd__seat *seat = &w->st->area->seat[i];
    uint64_t owner = atomic_load(&seat->owner);
    if (!owner || (owner & LLMD__STATS_CLEARING) || !w->st->attached(w->st->ud, owner))
      continue;
    for (uint32_t g = 0; g < LLMD__STATS_GAUGES; g++)
      w->gauge[g] += load(&seat->gauge[g]);
    for (uint32_t k = 0; k < w->n; k++)
      w->running[w->number[k]] += atomic_load_explicit(&seat->running[w->number[k]], memory_order_relaxed);
  }
}

int llmd__stats_write(llmd__stats *st, llmd_write_fn fn, void *ud)
{
  walk *w = calloc(1, sizeof *w);
  int rc;
  if (!w)
    return LLMD_E_NOMEM;
  w->st = st;
  w->o.fn = fn;
  w->o.ud = ud;
  find_series(w);
  sum_seats(w);
  put_totals(w);
  put_errors(w);
  put_histograms(w);
  put_counts(w);
  put_gauges(w);
  flush(&w->o);
  rc = w->o.rc;
  free(w);
  return rc;
}
