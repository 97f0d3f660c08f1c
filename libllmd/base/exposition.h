/* A pull reader over one page of metrics text (Prometheus 0.0.4; OpenMetrics as far as samples go) that lies in
 * memory.
 *
 *   vllm:num_requests_waiting{engine="0",model_name="m"} 4.0 1700000000000
 *   └────────── name ───────┘ └──────── labels ────────┘ value └ timestamp ┘
 *
 * Each call of `next` yields one sample; comments, blanks and names that nobody asked for are passed over without
 * being looked at any closer. Nothing is copied or allocated: names and labels point into the page.
 *
 * A page never fails. A line that is malformed, longer than 16 KiB or has more than 64 labels is passed over and
 * counted. So is an unfinished last line: "…waiting 1" may be the beginning of "…waiting 12", and a number cut short
 * must not make an endpoint look idle. How long a page may be is for whoever fetches it to say. */
#ifndef LLMD_BASE_EXPOSITION_H
#define LLMD_BASE_EXPOSITION_H

#include <llmd/types.h>

#define LLMD__EXPOSITION_LINE_MAX 16384
#define LLMD__EXPOSITION_LABELS_MAX 64

typedef struct llmd__exposition {
  const char *page;
  size_t len, at;
  const llmd_str *only; /* names wanted; the caller's, must outlive the reader. n_only == 0: all */
  uint32_t n_only;
  uint32_t samples;     /* yielded so far */
  uint32_t refused;     /* lines passed over with reason (among unwanted names: only those that are too long) */
  size_t first_refused; /* offset in the page of the first of them */
} llmd__exposition;

typedef struct llmd__sample {
  llmd_str name;
  llmd_str labels; /* what stands between the braces; its grammar has been checked: read it with llmd__label_next */
  double value;    /* may be NaN or infinite */
  int64_t timestamp; /* milliseconds; 0 without one */
  int has_timestamp;
  size_t offset; /* of the line in the page */
} llmd__sample;

/* The page and the names are borrowed. page may be NULL when len is 0. */
void llmd__exposition_init(llmd__exposition *x, const char *page, size_t len, const llmd_str *only, uint32_t n_only);

/* 1: *out is the next sample. 0: end of the page. */
int llmd__exposition_next(llmd__exposition *x, llmd__sample *out);

/* One label. `raw` is the value as it is written, without quotes; when `escaped` it holds \\, \" or \n. */
typedef struct llmd__label {
  llmd_str name, raw;
  int escaped;
} llmd__label;

/* Takes the first label off *labels, a copy of sample.labels. 1: *out is a label; 0: no more. */
int llmd__label_next(llmd_str *labels, llmd__label *out);
/* The first label called `name`. 1 or 0. */
int llmd__label_find(llmd_str labels, const char *name, size_t len, llmd__label *out);

/* The value without escapes: raw itself, or written into buf (LLMD_E_LIMIT when it does not fit; raw.len always
 * suffices). */
int llmd__label_value(const llmd__label *label, char *buf, size_t cap, llmd_str *out);
/* Whether two values are the same once their escapes are resolved. 1 or 0. */
int llmd__label_same(const llmd__label *a, const llmd__label *b);

/* Pieces of the grammar, which specifications of metrics share: the length of what stands at p, 0 if it does not.
 * A quoted value (quotes included) also fills raw and escaped. */
size_t llmd__metric_name_len(const char *p, size_t n);
size_t llmd__label_name_len(const char *p, size_t n);
size_t llmd__quoted_len(const char *p, size_t n, llmd__label *out);

#endif
