/* Every key of a service's file in one table: where it goes, what it is, its default and its meaning. The reader, the
 * defaults and docs/service.md (compared by a test) all come from it. */
#ifndef LLMD_UV_SERVICE_TABLE_H
#define LLMD_UV_SERVICE_TABLE_H

#include <llmd/uv.h>

enum llmd__setting_kind {
  LLMD__SET_COUNT,    /* uint32_t: a whole number */
  LLMD__SET_FLAG,     /* uint32_t: true or false */
  LLMD__SET_DURATION, /* uint32_t: milliseconds */
  LLMD__SET_SIZE,     /* uint32_t: bytes */
  LLMD__SET_SIZE64,   /* uint64_t: bytes */
  LLMD__SET_CHOICE,   /* uint32_t: the place of the word in `words` */
  LLMD__SET_TEXT,     /* const char * */
  LLMD__SET_ADDRESS,  /* const char *: "address:port", "[address]:port", "unix:PATH" */
  LLMD__SET_ROUTE,    /* const char *: begins with a slash */
  LLMD__SET_FILE,     /* const char *: relative to the service's folder, but for "" and "-" */
  LLMD__SET_POLICY,   /* policy, policy_file */
  LLMD__SET_ENDPOINTS, /* endpoints, endpoints_file */
  LLMD__SET_DNS        /* dns, n_dns */
};

typedef struct llmd__setting {
  const char *section; /* "" = the top */
  const char *name;
  uint32_t kind;       /* LLMD__SET_* */
  uint32_t offset;     /* in llmd_service; in llmd_service_dns for the section "dns[]" */
  const char *byword;  /* the default as it would stand in the file; NULL = worked out, or nothing */
  int64_t least, most; /* in the field's unit */
  const char *words;   /* of a choice: "a|b|c"; of a text: what the default means, for the page; else NULL */
  const char *text;    /* what it is, for a person */
} llmd__setting;

extern const llmd__setting llmd__settings[];
extern const uint32_t llmd__n_settings;

#endif
