/* The access log: one line of JSON a request, with the decision's why (docs/serve.md lists the fields). Lines are
 * gathered and written together. A reader that does not read (a full pipe) stops no worker: lines are lost, and
 * counted. */
#ifndef LLMD_UV_PROXY_ACCESS_H
#define LLMD_UV_PROXY_ACCESS_H

#include <llmd/alloc.h>
#include <llmd/error.h>
#include <llmd/types.h>

typedef struct llmd__access llmd__access;

/* path: "-" standard output, else a file that is appended to. buffer: bytes gathered, 0 = every line by itself. */
int llmd__access_open(const char *path, uint32_t buffer, const llmd_allocator *alloc, llmd__access **out,
                      llmd_err *err);
/* NULL allowed. Writes what is left, as far as it goes without waiting. */
void llmd__access_close(llmd__access *a);
/* One line, with its newline. */
void llmd__access_put(llmd__access *a, const char *line, size_t len);
void llmd__access_flush(llmd__access *a);
/* Lines lost since the last call. */
uint64_t llmd__access_lost(llmd__access *a);

/* RFC 3339 with milliseconds: 24 bytes and a NUL. */
void llmd__access_time(uint64_t wall, char out[25]);

#endif
