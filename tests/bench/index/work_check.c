/* Is this the published workload, bit for bit? */
#include "work.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static int wrong;

static void same(const char *what, uint64_t got, uint64_t want)
{
  if (got == want)
    return;
  wrong++;
  fprintf(stderr, "# WRONG WORKLOAD: %s is %" PRIu64 ", must be %" PRIu64 "\n", what, got, want);
}

static void check_documents(void)
{
  static const work_pair first[3] = {{10465, 348}, {10846, 890}, {14050, 66}};
  work_depth *answer = work_need(malloc(WORK_WORKERS * sizeof *answer));
  work_chain c = {0};
  uint64_t sum = 0;
  work_fill f;
  work_fill_open(&f, WORK_HELD);
  same("documents", f.documents, 15789);
  same("pairs", f.pairs, 57579);
  same("held", f.held, 16000802);
  same("distinct", f.distinct, 4019944);
  for (int i = 0; i < 3; i++) {
    same("document of one of the first pairs", f.pair[i].document, first[i].document);
    same("worker of one of the first pairs", f.pair[i].worker, first[i].worker);
  }
  work_document_chain(0, &c);
  same("length of document 0", c.n, 366);
  same("first content of document 0", c.content[0], UINT64_C(7675147765451169530));
  same("name of block 31 of document 0", c.name[31], UINT64_C(7940015589219892810));
  same("last name of document 0", c.name[c.n - 1], UINT64_C(14174495895516946880));
  for (uint32_t d = 0; d < f.documents; d++)
    sum += work_digest(answer, work_document_answer(&f, d, answer));
  same("digest of the documents' answers", sum, UINT64_C(8694523713231311081));
  work_chain_free(&c);
  work_fill_close(&f);
  free(answer);
}

static void check_queries(void)
{
  static const uint64_t digest[4] = {UINT64_C(4291579587114478084), UINT64_C(16429368660679572710),
                                     UINT64_C(5337781908466566983), UINT64_C(438200064950972547)};
  static const uint64_t held[4] = {524288, 1085084, 1323308, 1323230};
  for (int s = 0; s < 4; s++) {
    uint64_t sum = 0, blocks = 0;
    uint32_t n = 0;
    work_query *q = work_queries(&work_sets[s], &n);
    for (uint32_t k = 0; k < n; k++) {
      sum += work_digest(q[k].answer, q[k].answers);
      for (uint32_t i = 0; i < q[k].holders; i++)
        blocks += q[k].stored[i].depth;
    }
    same("blocks held of a query set", blocks, held[s]);
    same("digest of a query set's answers", sum, digest[s]);
    work_queries_free(q, n);
  }
}

static void check_trace(const char *path)
{
  static const uint32_t workers[3] = {8, 64, 256};
  static const uint64_t digest[3] = {UINT64_C(14571742082199479648), UINT64_C(9937510774389988597),
                                     UINT64_C(12634907658851607058)};
  work_trace t;
  if (!work_trace_open(&t, path, UINT32_MAX)) {
    fprintf(stderr, "# skipped: no trace at %s\n", path);
    return;
  }
  for (int i = 0; i < 3; i++) {
    work_replay r;
    uint64_t sum = 0;
    work_replay_open(&r, &t, workers[i]);
    for (uint32_t k = 0; k < t.requests; k++)
      sum += r.digest[k];
    same("digest of the trace's answers", sum, digest[i]);
    work_replay_close(&r);
  }
  work_trace_close(&t);
}

int work_check(const char *trace)
{
  wrong = 0;
  check_documents();
  check_queries();
  if (trace)
    check_trace(trace);
  return wrong;
}
