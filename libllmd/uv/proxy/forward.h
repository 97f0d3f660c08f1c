/* What of a request's head goes on to the engine, and of an answer's head to the client. A head is always written anew:
 * nothing of one passes but headers that are end-to-end and nobody else's to set.
 *
 * A client names no target: its routing headers go (llmd_header_owned, with '-' also written '_', which some servers
 * take for the same), and so do X-Data-Parallel-Rank, request ids that could be read as addresses, and all that its
 * Connection header names. */
#ifndef LLMD_UV_PROXY_FORWARD_H
#define LLMD_UV_PROXY_FORWARD_H

#include <llmd/http.h>
#include <llmd/scheduler.h>

#define LLMD__REQUEST_ID 64u

typedef struct llmd__forward {
  const llmd_http_request *request;
  const llmd_decision *decision;
  const llmd_target *target; /* of the decision */
  llmd_str request_id;
  uint64_t body_bytes; /* as sent */
} llmd__forward;

/* Writes the head. Returns its length, or LLMD_E_LIMIT. */
int64_t llmd__forward_head(const llmd__forward *f, char *out, size_t cap);

/* 1: may go to an engine as it is: short, and nothing that looks like an address (some KV connectors read addresses
 * out of request ids). */
int llmd__forward_id_is_sane(llmd_str id);

/* "address:port", "[address]:port" for IPv6. Returns the length, or LLMD_E_LIMIT. */
int64_t llmd__forward_host(llmd_str address, uint32_t port, char *out, size_t cap);

/* The headers of an answer that go to the client, at most cap. Borrowed as those given. Returns how many, or
 * LLMD_E_LIMIT. */
int llmd__forward_answer(const llmd_http_header *header, uint32_t n, llmd_http_header *out, uint32_t cap);

/* The path of a target as an engine reads it: without query, percent-escapes resolved once. Returns the length, or
 * LLMD_E_LIMIT. */
int64_t llmd__forward_path(llmd_str target, char *out, size_t cap);

#endif
