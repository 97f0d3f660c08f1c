#include "sim_compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int sim_compare_init(struct sim_compare *c, uint32_t n_policies, uint32_t n_seeds, uint32_t n_stages)
{
  struct sim_summary *cell = calloc((size_t)n_policies * n_seeds * (n_stages + 1), sizeof *cell);
  if (!cell)
    return LLMD_E_NOMEM;
  *c = (struct sim_compare){.n_policies = n_policies, .n_seeds = n_seeds, .n_stages = n_stages, .cell = cell};
  return 0;
}

void sim_compare_free(struct sim_compare *c)
{
  free(c->cell);
  memset(c, 0, sizeof *c);
}

static struct sim_summary *cell_at(const struct sim_compare *c, uint32_t policy, uint32_t seed, uint32_t stage)
{
  return &c->cell[((size_t)policy * c->n_seeds + seed) * (c->n_stages + 1) + stage];
}

int sim_compare_add(struct sim_compare *c, uint32_t policy, uint32_t seed, const struct sim_result *run)
{
  for (uint32_t i = 0; i <= c->n_stages; i++) {
    int code = sim_summarize(run, i < c->n_stages ? i : SIM_TOTAL, cell_at(c, policy, seed, i));
    if (code)
      return code;
  }
  return 0;
}

/* ---- over the seeds ---- */

typedef double (*figure_fn)(const struct sim_summary *s);

static double figure_tok_s(const struct sim_summary *s) { return s->output_tok_s; }
static double figure_ttft(const struct sim_summary *s) { return s->ttft.mean; }
static double figure_ttft_p99(const struct sim_summary *s) { return s->ttft.p99; }
static double figure_tpot_ms(const struct sim_summary *s) { return s->tpot.mean * 1e3; }
static double figure_hit(const struct sim_summary *s) { return s->hit * 100; }
static double figure_floor(const struct sim_summary *s) { return s->ttft_floor; }
static double figure_decision(const struct sim_summary *s) { return s->decision_us; }

static int ascending(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The q-quantile over the seeds: 0 the least, 0.5 the median, 1 the most. */
static double over_seeds(const struct sim_compare *c, uint32_t policy, uint32_t stage, figure_fn figure, double q)
{
  double *v = malloc(c->n_seeds * sizeof *v), place, value;
  uint32_t low;
  if (!v)
    return NAN;
  for (uint32_t s = 0; s < c->n_seeds; s++)
    v[s] = figure(cell_at(c, policy, s, stage));
  qsort(v, c->n_seeds, sizeof *v, ascending);
  place = q * (c->n_seeds - 1);
  low = (uint32_t)place;
  value = v[low] + (low + 1 < c->n_seeds ? (v[low + 1] - v[low]) * (place - low) : 0);
  free(v);
  return value;
}

static double median(const struct sim_compare *c, uint32_t policy, uint32_t stage, figure_fn figure)
{
  return over_seeds(c, policy, stage, figure, 0.5);
}

/* ---- the table of several seeds ---- */

static void print_rung(FILE *out, const struct sim_compare *c, uint32_t stage, const char *label)
{
  for (uint32_t p = 0; p < c->n_policies; p++)
    fprintf(out, "%-8s %-20.20s %7.0f %8.3f %8.3f %8.3f %7.1f %6.1f %7.2f %7.2f\n", p ? "" : label, c->policy[p],
            median(c, p, stage, figure_tok_s), median(c, p, stage, figure_ttft),
            over_seeds(c, p, stage, figure_ttft, 1), median(c, p, stage, figure_ttft_p99),
            median(c, p, stage, figure_tpot_ms), median(c, p, stage, figure_hit), median(c, p, stage, figure_floor),
            median(c, p, stage, figure_decision));
}

void sim_compare_table(FILE *out, const struct sim_compare *c, const struct sim_workload *w)
{
  char label[32];
  static const char row[] = "%-8s %-20s %7s %8s %8s %8s %7s %6s %7s %7s\n";
  fprintf(out, row, "req/s", "policy", "tok/s", "TTFT", "worst", "p99", "TPOT", "hit", "/floor", "decide");
  fprintf(out, row, "", "", "", "s", "seed s", "s", "ms", "%", "", "us");
  for (uint32_t i = 0; i < w->n_stages; i++) {
    if (!sim_workload_counts(w, i) || w->stages[i].count == 0)
      continue;
    (void)snprintf(label, sizeof label, w->stages[i].rate > 0 ? "%g" : "trace", w->stages[i].rate);
    print_rung(out, c, i, label);
  }
  if (w->n_stages > 1)
    print_rung(out, c, c->n_stages, "all");
}

void sim_compare_knees(FILE *out, const struct sim_compare *c, const struct sim_workload *w)
{
  fprintf(out, "Mean time to the first token above %g s from", SIM_COLLAPSED);
  fputs(c->n_seeds > 1 ? " (req/s, seed by seed)\n" : " (req/s)\n", out);
  for (uint32_t p = 0; p < c->n_policies; p++) {
    fprintf(out, "  %-20.20s", c->policy[p]);
    for (uint32_t s = 0; s < c->n_seeds; s++) {
      double knee = INFINITY;
      for (uint32_t i = 0; i < w->n_stages; i++)
        if (sim_workload_counts(w, i) && cell_at(c, p, s, i)->ttft.mean > SIM_COLLAPSED)
          knee = fmin(knee, w->stages[i].rate);
      if (isfinite(knee))
        fprintf(out, " %g", knee);
      else
        fputs(" never", out);
    }
    fputc('\n', out);
  }
}

/* ---- in words ---- */

/* 16364 as "16,364". */
static const char *thousands(double value, char *text, size_t size)
{
  char digits[32];
  size_t n = 0, len;
  int count = snprintf(digits, sizeof digits, "%.0f", value);
  len = count > 0 ? (size_t)count : 0;
  for (size_t i = 0; i < len && n + 2 < size; i++) {
    if (i && (len - i) % 3 == 0)
      text[n++] = ',';
    text[n++] = digits[i];
  }
  text[n] = 0;
  return text;
}

/* Seconds with two figures that mean something. */
static const char *seconds(double value, char *text, size_t size)
{
  (void)snprintf(text, size, value < 0.095 ? "%.3f s" : value < 9.95 ? "%.2f s" : "%.0f s", value);
  return text;
}

/* The busiest rung that counts; a trace has one stage. */
static uint32_t busiest(const struct sim_workload *w)
{
  uint32_t best = UINT32_MAX;
  for (uint32_t i = 0; i < w->n_stages; i++)
    if (sim_workload_counts(w, i) && w->stages[i].count &&
        (best == UINT32_MAX || w->stages[i].rate > w->stages[best].rate))
      best = i;
  return best;
}

/* The policy whose first token comes soonest. */
static uint32_t best_at(const struct sim_compare *c, uint32_t stage)
{
  uint32_t best = 0;
  for (uint32_t p = 1; p < c->n_policies; p++)
    if (median(c, p, stage, figure_ttft) < median(c, best, stage, figure_ttft))
      best = p;
  return best;
}

/* The best one beside the one named first. */
static void compare_two(FILE *out, const struct sim_compare *c, uint32_t stage, uint32_t best)
{
  double more = median(c, best, stage, figure_tok_s) / median(c, 0, stage, figure_tok_s);
  double sooner = median(c, 0, stage, figure_ttft) / median(c, best, stage, figure_ttft);
  if (best == 0 || !isfinite(more) || !isfinite(sooner) || (more < 1.05 && sooner < 1.2))
    return;
  fprintf(out, "Against %s, %s ", c->words[0], c->words[best]);
  if (more >= 1.05)
    fprintf(out, "serves %.1f times the tokens, and the first one comes ", more);
  else
    fputs("brings the first token ", out);
  fprintf(out, sooner < 10 ? "%.1f times sooner.\n" : "%.0f times sooner.\n", sooner);
}

void sim_compare_words(FILE *out, const struct sim_compare *c, const struct sim_workload *w)
{
  uint32_t stage = busiest(w), best;
  char tok[32], ttft[32];
  if (stage == UINT32_MAX)
    return;
  best = best_at(c, stage);
  if (w->stages[stage].rate > 0)
    fprintf(out, "At %g requests a second:\n", w->stages[stage].rate);
  else
    fputs("Over the whole trace:\n", out);
  for (uint32_t p = 0; p < c->n_policies; p++)
    fprintf(out, "  %-24s %7s tokens/s, first token after %s\n", c->words[p],
            thousands(median(c, p, stage, figure_tok_s), tok, sizeof tok),
            seconds(median(c, p, stage, figure_ttft), ttft, sizeof ttft));
  compare_two(out, c, stage, best);
  if (median(c, best, c->n_stages, figure_decision) > 0)
    fprintf(out, "One decision of %s took libllmd %.1f us on average.\n", c->words[best],
            median(c, best, c->n_stages, figure_decision));
}
