/* Text out, piece by piece, into a llmd_write_fn: a small buffer, no allocation. The first error sticks, so nothing in
 * between needs a check; finish returns it (LLMD_E_STOPPED: fn asked to stop). */
#ifndef LLMD_SCHED_OUT_H
#define LLMD_SCHED_OUT_H

#include <llmd/types.h>

typedef struct llmd__out {
  llmd_write_fn fn;
  void *ud;
  int rc;
  uint32_t reserved;
  uint64_t bytes; /* given so far */
  size_t used;
  char buf[512];
} llmd__out;

void llmd__out_init(llmd__out *o, llmd_write_fn fn, void *ud);
void llmd__out_n(llmd__out *o, const char *p, size_t n);
void llmd__out_text(llmd__out *o, const char *text);
void llmd__out_uint(llmd__out *o, uint64_t v);
/* The shortest text that reads back as v; NaN, +Inf, -Inf as Prometheus spells them. */
void llmd__out_double(llmd__out *o, double v);
/* n blanks. */
void llmd__out_blank(llmd__out *o, size_t n);
int llmd__out_finish(llmd__out *o);

#endif
