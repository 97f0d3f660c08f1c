/* The smallest core there can be, to test a plugin through its descriptor alone: parameters by name, columns by hand,
 * verbs called as the core would.
 *
 *    bench *b = bench_new(&llmd__queue_scorer);
 *    bench_fill(b, LLMD_READ_F64, "WaitingQueueSize", 3, (double[]){10, 5, NAN});
 *    bench_score(b, STRICT, out);
 *    bench_free(b);
 *
 * Misuse of the bench itself (a parameter or a read that is not in the tables, ...) ends the program with a message. */
#ifndef TESTS_PLUGINS_HARNESS_H
#define TESTS_PLUGINS_HARNESS_H

#include <llmd/plugin.h>

enum { SAFE, STRICT };
enum { BENCH_MOST = 16, BENCH_READS = 24, BENCH_WRITES = 4, BENCH_LABELS = 4, BENCH_ENTRIES = 64, BENCH_STRINGS = 64 };

typedef struct bench_host {
  llmd_pair label[BENCH_LABELS];
  uint32_t n_labels;
  const char *name; /* "namespace/name" */
  const char *address;
  uint32_t port;
} bench_host;

typedef struct bench_entry {
  llmd_key key;
  uint64_t value, ttl;
} bench_entry;

typedef struct bench {
  const llmd_plugin *plugin;
  void *self;
  llmd_err err;
  uint32_t n; /* endpoints */
  bench_host host[BENCH_MOST];
  double column[BENCH_READS][BENCH_MOST]; /* as set; unknown values are replaced when a verb is called */
  uint32_t ids[BENCH_READS][BENCH_MOST];
  llmd_read_value value[BENCH_READS];
  double wrote[BENCH_WRITES][BENCH_MOST];
  llmd_request_view request;
  uint32_t has_peer;
  uint64_t seed;

  const char *string[BENCH_STRINGS]; /* interned: id - 1 */
  uint32_t n_strings;
  bench_entry entry[BENCH_ENTRIES]; /* the plugin's table, least recently written first */
  uint32_t n_entries;
  void *owned[64]; /* memory of parameters */
  uint32_t n_owned;
} bench;

/* Defaults are stored; nothing is validated yet. 16 endpoints "default/pod-I" at 10.0.0.I:8000 are there. */
bench *bench_new(const llmd_plugin *plugin);
void bench_free(bench *b);

/* Parameters, by path: "threshold", "algorithm.threshold.value", "conditions[1].metric" (after bench_items made the
 * list). Return 0, or the code with which the core would refuse the value: LLMD_E_RANGE. */
int bench_number(bench *b, const char *path, double value); /* INT, FLOAT, BOOL, DURATION */
int bench_text(bench *b, const char *path, const char *text); /* STRING, ENUM */
void bench_object(bench *b, const char *path);                 /* marks an OBJECT as given */
void bench_items(bench *b, const char *path, uint32_t n);      /* LIST of n items with defaults */
void bench_strings(bench *b, const char *path, uint32_t n, const char *const *text);
void bench_map(bench *b, const char *path, uint32_t n, const char *const *keys_and_values);
/* The validate verb: 0 or a negative code, b->err filled. */
int bench_validate(bench *b);

/* Endpoints and columns. The number of endpoints is that of the column filled last. */
void bench_fill(bench *b, uint32_t kind, const char *name, uint32_t n, const double *values);
/* The same for ids, given as text; NULL = unknown. */
void bench_fill_ids(bench *b, uint32_t kind, const char *name, uint32_t n, const char *const *values);
void bench_peer(bench *b, uint32_t kind, const char *name, const char *value);
void bench_label(bench *b, uint32_t endpoint, const char *key, const char *value);
void bench_header(bench *b, const char *name, const char *value); /* NULL = absent */
uint32_t bench_intern(bench *b, const char *text, size_t len);

/* Verbs. filter: kept positions in their order, returns how many. */
void bench_score(bench *b, uint32_t mode, double *out);
uint32_t bench_filter(bench *b, uint32_t mode, uint32_t *kept);
double bench_saturation(bench *b, uint32_t mode);
void bench_produce(bench *b, uint32_t mode);
/* The request went to target[0] (primary profile) and target[1], ...; produce must have been called for it. */
void bench_commit(bench *b, uint32_t n, const uint32_t *target, const char *const *profile);

void bench_forget(bench *b, uint32_t endpoint);

/* Everything that can be said of a descriptor without running it; NULL or what is wrong. */
const char *bench_table_fault(const llmd_plugin *p);

#endif
