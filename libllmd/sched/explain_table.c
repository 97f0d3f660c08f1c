/* llmd_explain_table: the why of the lane's last decision, for people. At most 100 columns wide.
 *
 *   routed to default/pod-2 at 10.0.0.2:8000 (profile default, seed 7)
 *   model Qwen/Qwen3-32B, 1024 tokens, 3 endpoints
 *
 *   profile default: ran
 *     decode-filter  3 → 2  dropped default/pod-3
 *     a = queue-scorer, weight 2
 *     b = prefix-cache-scorer, weight 3
 *     endpoint                                 a      x 2       b      x 3     total
 *   > default/pod-2                        1.000    2.000   0.500    1.500     3.500
 *   ~ default/pod-1                        0.000    0.000   0.500    1.500     1.500
 *     > picked by max-score-picker, ~ runner-up; margin 2.000
 *
 * Several picks are numbered in their order. */
#include <string.h>

#include "base/number.h"
#include "sched/explain.h"
#include "sched/names.h"
#include "sched/out.h"

#define SHOWN 20u /* endpoints with the best totals */
#define ACROSS 3u /* scorers beside each other */
#define WIDTH 100u
#define MARK 4u
#define NAME 34u
#define RAW 8u
#define WEIGHTED 9u
#define TOTAL 10u

/* ---- cells ------------------------------------------------------------------------------------------------------ */

/* Three digits after the point, without a locale. */
static size_t fixed(double v, char *buf)
{
  char digits[24];
  size_t n = 0, d = sizeof digits;
  uint64_t t;
  if (v != v) {
    buf[0] = '-';
    return 1;
  }
  if (v > 1e9 || v < -1e9)
    return llmd__format_double(v, buf);
  t = (uint64_t)((v < 0 ? -v : v) * 1000 + 0.5);
  for (uint32_t i = 0; t || i < 4; i++, t /= 10) {
    if (i == 3)
      digits[--d] = '.';
    digits[--d] = (char)('0' + t % 10);
  }
  if (v < 0)
    buf[n++] = '-';
  memcpy(buf + n, digits + d, sizeof digits - d);
  return n + sizeof digits - d;
}

static void put_number(llmd__out *o, double v, size_t width)
{
  char buf[LLMD__NUMBER_ROOM];
  size_t n = fixed(v, buf);
  llmd__out_blank(o, n < width ? width - n : 0);
  llmd__out_n(o, buf, n);
}

/* Bytes of s that make at most `width` characters; *shown = how many. */
static size_t cut(llmd_str s, size_t width, size_t *shown)
{
  size_t i = 0, chars = 0;
  for (; i < s.len; i++) {
    int begins = (s.ptr[i] & 0xc0) != 0x80;
    if (begins && chars == width)
      break;
    chars += (size_t)begins;
  }
  *shown = chars;
  return i;
}

/* Bytes below 0x20 would move the cursor. */
static void put_plain(llmd__out *o, llmd_str s)
{
  for (size_t i = 0; i < s.len; i++) {
    unsigned char c = (unsigned char)s.ptr[i];
    llmd__out_n(o, c < 0x20 || c == 0x7f ? "?" : s.ptr + i, 1);
  }
}

static void put_left(llmd__out *o, llmd_str s, size_t width)
{
  size_t shown;
  s.len = cut(s, width, &shown);
  put_plain(o, s);
  llmd__out_blank(o, width - shown);
}

static void put_text_left(llmd__out *o, const char *text, size_t width)
{
  llmd_str s = {text, strlen(text)};
  put_left(o, s, width);
}

static llmd_str span(const llmd_decision *d, llmd_span s)
{
  llmd_str str = {d->text + s.off, s.len};
  return str;
}

/* ---- head ------------------------------------------------------------------------------------------------------- */

static void put_destination(llmd__out *o, const llmd_lane *l, const llmd_decision *d)
{
  const llmd_profile_pick *p = &d->profile[d->primary];
  const llmd_target *t = &d->target[p->first];
  llmd__out_text(o, "routed to ");
  put_plain(o, llmd__why_name(l, l->result[d->primary].row[0]));
  llmd__out_text(o, " at ");
  put_plain(o, span(d, t->address));
  llmd__out_text(o, ":");
  llmd__out_uint(o, t->port);
  llmd__out_text(o, " (profile ");
  put_plain(o, span(d, p->name));
  llmd__out_text(o, ", seed ");
  llmd__out_uint(o, d->seed);
  llmd__out_text(o, ")\n");
}

static void put_ladder(llmd__out *o, const llmd_decision *d)
{
  if (!d->ladder)
    return;
  llmd__out_text(o, "ladder:");
  for (uint32_t bit = 0; bit < LLMD__LADDER_BITS; bit++)
    if (d->ladder >> bit & 1) {
      llmd__out_text(o, " ");
      llmd__out_text(o, llmd__ladder_name(bit));
    }
  llmd__out_text(o, "\n");
}

/* Columns of 0 and 1 that are there to be shown: of how many endpoints they are true. */
static void put_notes(llmd__out *o, const llmd_lane *l)
{
  for (uint32_t c = 0; c < l->s->n_columns; c++) {
    uint32_t n = 0;
    if (!llmd__why_note(l, c))
      continue;
    for (uint32_t i = 0; i < l->kept.n; i++)
      n += l->kept.column[c][i] > 0;
    llmd__out_text(o, "  ");
    llmd__out_text(o, l->s->column[c].name);
    llmd__out_text(o, " of ");
    llmd__out_text(o, l->s->column[c].producer);
    llmd__out_text(o, ": ");
    llmd__out_uint(o, n);
    llmd__out_text(o, " of ");
    llmd__out_uint(o, l->kept.n);
    llmd__out_text(o, "\n");
  }
}

static void put_head(llmd__out *o, const llmd_lane *l)
{
  const llmd_decision *d = &l->last;
  if (d->status == LLMD_ROUTED) {
    put_destination(o, l, d);
  } else {
    llmd__out_text(o, llmd__status_name(d->status));
    llmd__out_text(o, ": ");
    llmd__out_text(o, llmd__reason_name(d->reason));
    llmd__out_text(o, " (HTTP ");
    llmd__out_uint(o, d->code);
    llmd__out_text(o, ")\n");
  }
  llmd__out_text(o, l->kept.view.model.len ? "model " : "no model");
  put_plain(o, l->kept.view.model);
  llmd__out_text(o, ", ");
  llmd__out_double(o, d->tokens);
  llmd__out_text(o, " tokens, ");
  llmd__out_uint(o, l->kept.n);
  llmd__out_text(o, " endpoints\n");
  put_ladder(o, d);
  put_notes(o, l);
}

/* ---- filters ---------------------------------------------------------------------------------------------------- */

static size_t digits(uint64_t v)
{
  size_t n = 1;
  while (v /= 10)
    n++;
  return n;
}

/* As many names as the line holds, behind a word for them. */
static void put_listed(llmd__out *o, const llmd_lane *l, const char *word, const uint32_t *row, uint32_t n, size_t at)
{
  if (!n)
    return;
  llmd__out_text(o, word);
  at += strlen(word);
  for (uint32_t i = 0; i < n; i++) {
    llmd_str name = llmd__why_name(l, row[i]);
    size_t shown, more = i + 1 < n ? 8 + digits(n - i - 1) : 0;
    cut(name, WIDTH, &shown);
    if (at + 2 + shown + more > WIDTH) {
      llmd__out_text(o, i ? ", +" : " ");
      llmd__out_uint(o, n - i);
      llmd__out_text(o, i ? " more" : "");
      return;
    }
    llmd__out_text(o, i ? ", " : " ");
    put_plain(o, name);
    at += shown + (i ? 2 : 1);
  }
}

static void put_error(llmd__out *o, const llmd__why *w)
{
  if (w->rc >= 0)
    return;
  llmd__out_text(o, "  left out: ");
  llmd__out_text(o, llmd_strerror(w->rc));
}

/* What the plugin says of it, on a line of its own. */
static void put_trouble(llmd__out *o, const llmd__why *w)
{
  size_t shown;
  llmd_str s = w->trouble;
  if (w->rc >= 0 || !s.len)
    return;
  s.len = cut(s, WIDTH - 2 * MARK, &shown);
  llmd__out_blank(o, 2 * MARK);
  put_plain(o, s);
  llmd__out_text(o, "\n");
}

static void put_filter(llmd__out *o, const llmd_lane *l, const llmd__why *w)
{
  const char *name = llmd__why_plugin(l, w);
  const uint32_t *dropped;
  uint32_t n = llmd__why_dropped(l, w, &dropped);
  llmd__out_blank(o, MARK);
  llmd__out_text(o, name);
  llmd__out_text(o, "  ");
  llmd__out_uint(o, w->n_before);
  llmd__out_text(o, " \xe2\x86\x92 ");
  llmd__out_uint(o, w->n);
  put_listed(o, l, "  dropped", dropped, n, MARK + strlen(name) + 5 + digits(w->n_before) + digits(w->n));
  put_error(o, w);
  llmd__out_text(o, "\n");
  put_trouble(o, w);
}

static void put_ejected(llmd__out *o, const llmd_lane *l)
{
  uint32_t n = 0;
  for (uint32_t i = 0; i < l->kept.n; i++)
    if (l->kept.row[i].flags & LLMD__ROW_EJECTED)
      l->order[n++] = i;
  put_listed(o, l, "ejected:", l->order, n, 0);
  llmd__out_text(o, n ? "\n" : "");
}

static void put_decider(llmd__out *o, const llmd_lane *l, const llmd__why *w)
{
  llmd__out_text(o, "  asked ");
  llmd__out_text(o, llmd__why_plugin(l, w));
  llmd__out_text(o, w->rc > 0 ? ": yes" : ": no");
  put_error(o, w);
  llmd__out_text(o, "\n");
  put_trouble(o, w);
}

/* What failed outside the profiles. */
static void put_failed(llmd__out *o, const llmd_lane *l, const llmd__why *w)
{
  llmd__out_text(o, w->kind == LLMD__WHY_PRODUCER ? "  producer " : "  handler ");
  llmd__out_text(o, llmd__why_plugin(l, w));
  put_error(o, w);
  llmd__out_text(o, "\n");
  put_trouble(o, w);
}

/* ---- scores ----------------------------------------------------------------------------------------------------- */

/* The lines of a table: positions in the picker's entry, best total first; then what was picked without a good total.
 */
static uint32_t choose(const llmd_lane *l, const llmd__why *w, uint32_t *line)
{
  uint32_t n = 0;
  memset(l->keep, 0, w->n);
  for (uint32_t k = 0; k < SHOWN && k < w->n; k++) {
    uint32_t best = w->n;
    for (uint32_t i = 0; i < w->n; i++)
      if (!l->keep[i] && (best == w->n || w->value[i] > w->value[best]))
        best = i;
    l->keep[best] = 1;
    line[n++] = best;
  }
  for (uint32_t i = 0; i < w->n; i++)
    if (!l->keep[i] && llmd__why_picked(l, w->profile, w->row[i]) && n < SHOWN + LLMD_MAX_TARGETS)
      line[n++] = i;
  return n;
}

static void put_right(llmd__out *o, const char *text, size_t n, size_t width)
{
  llmd__out_blank(o, n < width ? width - n : 0);
  llmd__out_n(o, text, n);
}

/* Scorer number k of the profile; NULL past the last. */
static const llmd__why *scorer_at(const llmd_lane *l, uint32_t profile, uint32_t k)
{
  const llmd__why *w;
  uint32_t at = 0;
  while ((w = llmd__why_next(l, &at, LLMD__WHY_SCORER, profile)) && k--)
    ;
  return w;
}

static char letter_of(uint32_t k)
{
  return (char)(k < 26 ? 'a' + k : k < 52 ? 'A' + (k - 26) : '#');
}

static void put_legend(llmd__out *o, const llmd_lane *l, uint32_t profile)
{
  const llmd__why *w;
  for (uint32_t k = 0; (w = scorer_at(l, profile, k)); k++) {
    const char letter = letter_of(k);
    llmd__out_blank(o, MARK);
    llmd__out_n(o, &letter, 1);
    llmd__out_text(o, " = ");
    llmd__out_text(o, llmd__why_plugin(l, w));
    llmd__out_text(o, ", weight ");
    llmd__out_double(o, w->weight);
    put_error(o, w);
    llmd__out_text(o, "\n");
    put_trouble(o, w);
  }
}

static void put_titles(llmd__out *o, const llmd_lane *l, uint32_t profile, uint32_t first, int last)
{
  const llmd__why *w;
  llmd__out_blank(o, MARK);
  put_text_left(o, "endpoint", NAME);
  for (uint32_t k = first; k < first + ACROSS && (w = scorer_at(l, profile, k)); k++) {
    char title[LLMD__NUMBER_ROOM + 2] = "x ";
    const char letter = letter_of(k);
    size_t n = llmd__format_double(w->weight, title + 2);
    put_right(o, &letter, 1, RAW);
    put_right(o, title, n < WEIGHTED - 3 ? n + 2 : 1, WEIGHTED);
  }
  if (last)
    put_right(o, "total", 5, TOTAL);
  llmd__out_text(o, "\n");
}

/* The score of a row; an error or no opinion has none. */
static void put_score(llmd__out *o, const llmd__why *w, uint32_t row)
{
  double weighted;
  uint32_t i = 0;
  while (i < w->n && w->row[i] != row)
    i++;
  if (i == w->n || !llmd__why_scored(w, i, &weighted)) {
    put_right(o, "-", 1, RAW);
    put_right(o, "-", 1, WEIGHTED);
    return;
  }
  put_number(o, w->value[i], RAW);
  put_number(o, weighted, WEIGHTED);
}

/* Which pick it is, when there are several. */
static void put_mark(llmd__out *o, const llmd_lane *l, const llmd__why *picker, uint32_t i)
{
  const llmd__result *r = &l->result[picker->profile];
  uint32_t place = llmd__why_picked(l, picker->profile, picker->row[i]);
  if (place && r->n > 1) {
    llmd__out_blank(o, place < 10 ? 1 : 0);
    llmd__out_uint(o, place);
  } else
    llmd__out_blank(o, 2);
  llmd__out_text(o, place ? "> " : llmd__why_runner_up(l, picker) == i ? "~ " : "  ");
}

static void put_line(llmd__out *o, const llmd_lane *l, const llmd__why *picker, uint32_t i, uint32_t first, int last)
{
  const llmd__why *w;
  uint32_t row = picker->row[i];
  put_mark(o, l, picker, i);
  put_left(o, llmd__why_name(l, row), NAME);
  for (uint32_t k = first; k < first + ACROSS && (w = scorer_at(l, picker->profile, k)); k++)
    put_score(o, w, row);
  if (last)
    put_number(o, picker->value[i], TOTAL);
  llmd__out_text(o, "\n");
}

static void put_margin(llmd__out *o, const llmd_lane *l, const llmd__why *picker)
{
  int64_t second = llmd__why_runner_up(l, picker);
  const llmd__result *r = &l->result[picker->profile];
  llmd__out_blank(o, MARK);
  llmd__out_text(o, "> picked by ");
  llmd__out_text(o, llmd__why_plugin(l, picker));
  put_error(o, picker);
  if (second >= 0 && r->n) {
    llmd__out_text(o, ", ~ runner-up; margin ");
    put_number(o, r->total[0] - picker->value[second], 0);
  }
  llmd__out_text(o, "\n");
  put_trouble(o, picker);
}

/* Scorers beside each other, ACROSS at a time; the last block has the totals. */
static void put_scores(llmd__out *o, const llmd_lane *l, const llmd__why *picker)
{
  uint32_t line[SHOWN + LLMD_MAX_TARGETS], n = choose(l, picker, line), first = 0;
  int last;
  put_legend(o, l, picker->profile);
  do {
    last = !scorer_at(l, picker->profile, first + ACROSS);
    put_titles(o, l, picker->profile, first, last);
    for (uint32_t i = 0; i < n; i++)
      put_line(o, l, picker, line[i], first, last);
    first += ACROSS;
  } while (!last);
  if (n < picker->n) {
    llmd__out_blank(o, MARK);
    llmd__out_uint(o, picker->n - n);
    llmd__out_text(o, " more with lower totals\n");
  }
  put_margin(o, l, picker);
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

/* Picked without a cycle: at random, or by the last steps of the ladder. */
static void put_unscored(llmd__out *o, const llmd_lane *l, uint32_t profile)
{
  const llmd__result *r = &l->result[profile];
  for (uint32_t i = 0; i < r->n; i++) {
    llmd__out_text(o, "  > ");
    put_plain(o, llmd__why_name(l, r->row[i]));
    llmd__out_text(o, ", without scores\n");
  }
}

static void put_profile(llmd__out *o, const llmd_lane *l, uint32_t profile)
{
  const llmd__why *picker = llmd__why_picker(l, profile), *w;
  uint32_t at = 0;
  llmd__out_text(o, "\nprofile ");
  llmd__out_text(o, l->s->config->profile[profile].name);
  llmd__out_text(o, ": ");
  llmd__out_text(o, llmd__run_name(l->result[profile].state));
  llmd__out_text(o, "\n");
  while ((w = llmd__why_next(l, &at, LLMD__WHY_FILTER, profile)))
    put_filter(o, l, w);
  if (picker)
    put_scores(o, l, picker);
  else
    put_unscored(o, l, profile);
}

int llmd_explain_table(const llmd_lane *lane, llmd_write_fn fn, void *ud)
{
  llmd__out o;
  if (!lane || !fn)
    return LLMD_E_INVALID;
  if (!lane->last_valid)
    return LLMD_E_NONE;
  llmd__out_init(&o, fn, ud);
  put_head(&o, lane);
  put_ejected(&o, lane);
  for (uint32_t i = 0; i < lane->n_why; i++)
    if (lane->why[i].kind == LLMD__WHY_DECIDER)
      put_decider(&o, lane, &lane->why[i]);
    else if (lane->why[i].kind == LLMD__WHY_PRODUCER || lane->why[i].kind == LLMD__WHY_HANDLER)
      put_failed(&o, lane, &lane->why[i]);
  for (uint32_t p = 0; p < lane->s->config->n_profiles; p++)
    put_profile(&o, lane, p);
  return llmd__out_finish(&o);
}
