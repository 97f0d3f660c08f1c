/* What the files behind situation.h share. */
#ifndef LLMD_CONFORMANCE_SITUATION_INNER_H
#define LLMD_CONFORMANCE_SITUATION_INNER_H

#include "situation.h"

#include <math.h>
#include <string.h>

#define SITUATION_HOUR_NS UINT64_C(3600000000000)

#define TRY(call, text) \
  do {                  \
    int rc_ = (call);   \
    if (rc_ < 0) {      \
      *what = (text);   \
      return rc_;       \
    }                   \
  } while (0)

static inline const cJSON *item(const cJSON *o, const char *key)
{
  return cJSON_GetObjectItemCaseSensitive(o, key);
}

static inline const char *text_of(const cJSON *o, const char *key, const char *preset)
{
  const char *s = cJSON_GetStringValue(item(o, key));
  return s ? s : preset;
}

/* NaN = not there: unknown. */
static inline double number_of(const cJSON *o, const char *key)
{
  const cJSON *v = item(o, key);
  return cJSON_IsNumber(v) ? v->valuedouble : (double)NAN;
}

static inline int is_true(const cJSON *o, const char *key)
{
  return cJSON_IsTrue(item(o, key));
}

static inline llmd_str str(const char *s)
{
  llmd_str out = {s, strlen(s)};
  return out;
}

/* endpoints.c: the pool's endpoints with everything known of them, published. */
int situation_fill_pool(situation *s, const char **what);

/* holding.c: what the endpoints hold of the request's ids, into the pool's exact index. */
int situation_tell_index(const situation *s);

/* asking.c: memory for the request; then one request as json says (the case's own, or one of its history). */
int situation_open_request(situation *s);
#define ASK_COLD 1u /* no endpoint has anything of it: columns are set, all of them unknown */
int situation_ask(situation *s, const cJSON *json, uint32_t flags, const char **what);

#endif
