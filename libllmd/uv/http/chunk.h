/* The lines of a chunked body: sizes, ends of data, trailers. Byte by byte, as they are few. */
#ifndef LLMD_UV_HTTP_CHUNK_H
#define LLMD_UV_HTTP_CHUNK_H

#include "uv/http/reader.h"

/* Where a reader stands. States of a chunked body's lines lie from SIZE_FIRST to TRAILER_LAST_LF. */
enum {
  LLMD__HTTP_FAILED = 0,
  LLMD__HTTP_IN_HEAD,
  LLMD__HTTP_IN_LENGTH,
  LLMD__HTTP_IN_CHUNK,
  LLMD__HTTP_UNTIL_CLOSE,
  LLMD__HTTP_AT_END, /* whole, not said yet */
  LLMD__HTTP_IS_OVER, /* said */
  LLMD__HTTP_SIZE_FIRST,
  LLMD__HTTP_SIZE,
  LLMD__HTTP_SIZE_LF,
  LLMD__HTTP_DATA_CR,
  LLMD__HTTP_DATA_LF,
  LLMD__HTTP_TRAILER_FIRST,
  LLMD__HTTP_TRAILER_NAME,
  LLMD__HTTP_TRAILER_VALUE,
  LLMD__HTTP_TRAILER_LF,
  LLMD__HTTP_TRAILER_LAST_LF
};

/* Takes bytes of such lines until data begins (IN_CHUNK), the body ends (AT_END) or there are no more. Returns their
 * number or LLMD_E_*. */
int llmd__http_chunk_lines(llmd__http_reader *r, const char *data, size_t len);

#endif
