/* published.h: the ladder as llm-d's guide published it, one row for each rate. */
#ifndef SIM_PUBLISHED_H
#define SIM_PUBLISHED_H

#include <stdint.h>

#define PUBLISHED_MOST 64

struct published_row {
  double rate;
  double baseline_tok_s; /* Kubernetes service: round robin */
  double routed_tok_s;   /* llm-d */
  double baseline_ttft;  /* mean, seconds */
  double routed_ttft;
};

struct published {
  struct published_row row[PUBLISHED_MOST];
  uint32_t n;
};

/* Reads rate,k8s_output_tok_s,llmd_output_tok_s,k8s_ttft_mean_s,llmd_ttft_mean_s,... with a head line.
 * 0, or LLMD_E_IO, LLMD_E_SYNTAX. */
int published_read(struct published *table, const char *path);
const struct published_row *published_at(const struct published *table, double rate); /* or NULL */

#endif
