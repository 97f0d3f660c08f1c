/* What may be asked for, and which answers are refused by their heads. No package, no I/O. */
#ifndef LLMD_UV_FETCH_RULES_H
#define LLMD_UV_FETCH_RULES_H

#include "uv/fetch/fetch.h"

#define LLMD__FETCH_PATH_MOST 2048u
#define LLMD__FETCH_URL (LLMD__FETCH_PATH_MOST + 96u)

/* LLMD_E_INVALID: not a numeric address, a port or a path. */
int llmd__fetch_url(const llmd__fetch_request *r, char out[LLMD__FETCH_URL]);
/* One line of an answer's head, with its line end. 0, or why the answer is refused: compressed although nobody asked for
 * it (LLMD_E_UNSUPPORTED), a body of more than `most` bytes (LLMD_E_LIMIT), a length that is none (LLMD_E_SYNTAX). */
int llmd__fetch_judge(const char *line, size_t len, size_t most);
/* Of a code in an answer; static. */
const char *llmd__fetch_text(int rc);

#endif
