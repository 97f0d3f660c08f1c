/* Asks engines over HTTP: the control plane's client, on the loop. GET and POST of bounded answers that are held whole.
 *
 *   llmd__fetch_go ─► a connection kept from before, or a new one ─► head, body (both bounded) ─► fn, once, from the loop
 *
 * It connects to the numeric address that it is given and to nothing else: no names are resolved, no redirects followed,
 * no proxies, cookies, credentials or environment. Plain HTTP/1.x. An answer that is compressed, too large, cut short,
 * or slower than the limit is an error, never half an answer. Belongs to the thread that runs the loop. */
#ifndef LLMD_UV_FETCH_FETCH_H
#define LLMD_UV_FETCH_FETCH_H

#include <llmd/types.h>

struct uv_loop_s;

typedef struct llmd__fetch llmd__fetch;

/* 0 = the default in brackets. Of each request that says nothing else. */
typedef struct llmd__fetch_options {
  uint32_t connect_ms; /* [250] */
  uint32_t total_ms;   /* [1000] from go to the end of the answer */
  uint32_t max_head;   /* [16 KiB] */
  uint32_t max_bytes;  /* [1 MiB] of a body */
  uint32_t max_kept;   /* [4096] unused connections */
} llmd__fetch_options;

typedef struct llmd__fetch_answer {
  /* 0: there is an answer, whatever its status. LLMD_E_TIMEOUT, LLMD_E_CLOSED (no connection, or broken off: also a body
   * shorter than announced), LLMD_E_LIMIT (head or body too large), LLMD_E_UNSUPPORTED (compressed), LLMD_E_SYNTAX (not
   * HTTP), LLMD_E_NOMEM, LLMD_E_IO (anything else). */
  int rc;
  uint32_t status; /* with rc 0 */
  const char *body; /* with rc 0: never NULL, NUL-terminated, borrowed for the call */
  size_t len;
  const char *text; /* with rc < 0: what a person should read; static */
} llmd__fetch_answer;

/* Called once for each request that llmd__fetch_go took, unless it is cancelled. It may go, cancel and close. */
typedef void (*llmd__fetch_fn)(void *ud, const llmd__fetch_answer *answer);

typedef struct llmd__fetch_request {
  const char *address; /* numeric; IPv6 without brackets */
  uint32_t port;
  const char *path;    /* with its query; begins with / and has no blanks or control bytes */
  const char *body;    /* NULL = GET; else POST. Copied */
  size_t len;
  const char *type;    /* of the body; NULL = application/json */
  uint32_t connect_ms, total_ms, max_bytes; /* 0 = as the options say */
  llmd__fetch_fn fn;
  void *ud;
} llmd__fetch_request;

/* options NULL = the defaults. */
int llmd__fetch_open(struct uv_loop_s *loop, const llmd__fetch_options *options, llmd__fetch **out);
/* fn is never called from within. *number (may be NULL): for cancel; never 0. LLMD_E_INVALID: no numeric address, bad
 * port or path. On failure fn is not called. */
int llmd__fetch_go(llmd__fetch *f, const llmd__fetch_request *request, uint64_t *number);
/* fn will not be called; its connection is closed. A number that has ended is fine. */
void llmd__fetch_cancel(llmd__fetch *f, uint64_t number);
/* Requests under way. */
uint32_t llmd__fetch_count(const llmd__fetch *f);
/* Cancels everything; done(ud) (NULL allowed), from the loop, when the memory is about to go. NULL f: done at once. */
void llmd__fetch_close(llmd__fetch *f, void (*done)(void *ud), void *ud);

#endif
