/* A whole head, cut into its parts and held against the rules (reader.h lists them). */
#ifndef LLMD_UV_HTTP_HEAD_H
#define LLMD_UV_HTTP_HEAD_H

#include "uv/http/reader.h"

/* What a byte may be part of. */
enum {
  LLMD__HTTP_TOKEN = 1,  /* methods, header names */
  LLMD__HTTP_TARGET = 2, /* path and query (RFC 3986) */
  LLMD__HTTP_HOST = 4,   /* a host name or IPv4 address */
  LLMD__HTTP_VALUE = 8   /* a header's value */
};
extern const uint8_t llmd__http_bytes[256];

/* Ends r with a failure: status for requests; answers always get 502. Returns code. */
int llmd__http_fail(llmd__http_reader *r, uint32_t status, int code, const char *text);

/* r->block holds head_len bytes that end with an empty line, every LF after a CR; room for `max` headers at `array`.
 * Fills r->head. */
int llmd__http_head_read(llmd__http_reader *r, llmd_http_header *array, uint32_t max);

#endif
