/* The headers of one request: names in lower case, the last of a repeated one counts. */
#ifndef LLMD_MODEL_HEADERS_H
#define LLMD_MODEL_HEADERS_H

#include "model/copies.h"

/* The headers that the library itself reads, each with the names it goes by. */
#define LLMD__HEADER_REQUEST_ID 0u
#define LLMD__HEADER_FAIRNESS 1u
#define LLMD__HEADER_OBJECTIVE 2u
#define LLMD__HEADER_MODEL_REWRITE 3u
#define LLMD__HEADER_SESSION 4u
#define LLMD__HEADER_SESSION_TOKEN 5u
#define LLMD__HEADER_SLO_TTFT 6u
#define LLMD__HEADER_SLO_TPOT 7u
#define LLMD__HEADER_VIDEO_SECONDS 8u
#define LLMD__HEADER_VIDEO_RESOLUTION 9u
#define LLMD__HEADER_KNOWN 10u

typedef struct llmd__header {
  uint32_t name, name_len; /* offsets into copies.text */
  uint32_t value, value_len;
} llmd__header;

typedef struct llmd__headers {
  llmd__header *at;
  uint32_t n, max;
  uint32_t known[LLMD__HEADER_KNOWN][2]; /* number + 1 of the header under its own and its old name; 0 = not given */
} llmd__headers;

void llmd__headers_reset(llmd__headers *hs);

/* Only the library may set it (name in any case). */
int llmd__headers_owned(const char *name, size_t len);

/* Keeps one header, or drops it (and returns 0) when only the library may set it. LLMD_E_LIMIT leaves all as it was. */
int llmd__headers_add(llmd__headers *hs, llmd__copies *text, const char *name, size_t name_len, const char *value,
                      size_t value_len);

/* Value by name in lower case; ptr NULL when it was not given. */
llmd_str llmd__headers_find(const llmd__headers *hs, const llmd__copies *text, const char *name, size_t len);

/* Value of one of LLMD__HEADER_*: under its own name, else under its old one. */
llmd_str llmd__headers_known(const llmd__headers *hs, const llmd__copies *text, unsigned which);

/* The same as a number; NaN when absent, not a number, or out of range. */
double llmd__headers_number(const llmd__headers *hs, const llmd__copies *text, unsigned which);

#endif
