/* Questions to name servers, on the loop: A, AAAA, SRV. The system's servers and hosts file, or servers that are named.
 * Belongs to the loop's thread. */
#ifndef LLMD_UV_DISCOVER_DNS_H
#define LLMD_UV_DISCOVER_DNS_H

#include <llmd/types.h>

struct uv_loop_s;

typedef struct llmd__dns llmd__dns;

#define LLMD__DNS_ADDRESS 46u /* bytes of a numeric address as text, NUL included */
#define LLMD__DNS_MOST 1024u  /* records that are read of one answer */

typedef struct llmd__dns_answer {
  int rc;       /* 0; LLMD_E_NONE: there is no such name, or nothing of this kind; LLMD_E_IO, _SYNTAX, _TIMEOUT, _NOMEM */
  uint32_t n;   /* with rc 0: at least 1 */
  uint32_t ttl; /* seconds, the least of all */
  const char *text; /* of rc; static */
  char (*address)[LLMD__DNS_ADDRESS]; /* A and AAAA: n of them, numeric; none that names nobody or many */
  const struct llmd__dns_target *target; /* SRV: n of them */
} llmd__dns_answer;

typedef struct llmd__dns_target {
  const char *host;
  uint32_t port;
} llmd__dns_target;

/* Borrowed for the call. May come from within the question. */
typedef void (*llmd__dns_fn)(void *ud, const llmd__dns_answer *answer);

/* servers: "address:port,..."; "" or NULL = the system's. LLMD_E_INVALID: bad servers. */
int llmd__dns_open(struct uv_loop_s *loop, const char *servers, llmd__dns **out);
/* family: 4 or 6. */
void llmd__dns_ask(llmd__dns *d, const char *name, int family, llmd__dns_fn fn, void *ud);
void llmd__dns_ask_srv(llmd__dns *d, const char *name, llmd__dns_fn fn, void *ud);
/* Now and then (ten times a second): what is too late is asked again or given up. */
void llmd__dns_tick(llmd__dns *d);
/* Open questions are forgotten: no fn comes any more. done(ud) from the loop, or from within
 * when nothing is open. */
void llmd__dns_close(llmd__dns *d, void (*done)(void *ud), void *ud);

#endif
