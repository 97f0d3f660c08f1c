/* A part of a service's file that is a document of its own (policy, endpoints), as text for its own reader. */
#ifndef LLMD_UV_SERVICE_INLINE_H
#define LLMD_UV_SERVICE_INLINE_H

#include "base/tree.h"

/* JSON in which everything stands in the line of the file that it came from (and in its column where there is room), so
 * that what the part's reader finds wrong has the file's lines. *out is malloc'ed and NUL-terminated. LLMD_E_NOMEM. */
int llmd__inline_map(const llmd__node *map, llmd_str *out, llmd_err *err);
/* The same of a list of endpoints, some of which may be "address:port". */
int llmd__inline_endpoints(const llmd__node *list, llmd_str *out, llmd_err *err);
/* A text that was written as a block: its lines, moved down to where they stand in the file. */
int llmd__inline_block(const llmd__node *text, llmd_str *out, llmd_err *err);

/* "address:port", "[address]:port": 0 and the two parts, or LLMD_E_SYNTAX. */
int llmd__split_address(const char *p, size_t n, llmd_str *host, uint32_t *port);

#endif
