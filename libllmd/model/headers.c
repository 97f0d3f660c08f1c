#include "model/headers.h"

#include <math.h>
#include <string.h>

#include <llmd/error.h>

#include "base/number.h"

static const char names[LLMD__HEADER_KNOWN][2][40] = {
    [LLMD__HEADER_REQUEST_ID] = {"x-request-id", ""},
    [LLMD__HEADER_FAIRNESS] = {"x-llm-d-inference-fairness-id", "x-gateway-inference-fairness-id"},
    [LLMD__HEADER_OBJECTIVE] = {"x-llm-d-inference-objective", "x-gateway-inference-objective"},
    [LLMD__HEADER_MODEL_REWRITE] = {"x-llm-d-model-name-rewrite", "x-gateway-model-name-rewrite"},
    [LLMD__HEADER_SESSION] = {"x-session-id", ""},
    [LLMD__HEADER_SESSION_TOKEN] = {"x-session-token", ""},
    [LLMD__HEADER_SLO_TTFT] = {"x-llm-d-slo-ttft-ms", "x-slo-ttft-ms"},
    [LLMD__HEADER_SLO_TPOT] = {"x-llm-d-slo-tpot-ms", "x-slo-tpot-ms"},
    [LLMD__HEADER_VIDEO_SECONDS] = {"x-llm-d-video-duration-seconds", ""},
    [LLMD__HEADER_VIDEO_RESOLUTION] = {"x-llm-d-video-resolution", ""},
};

/* What only the library may say to engines and proxies. From a client it would choose a network target or pass for
 * ours. A name that ends in '*' stands for all that begin so. */
static const char owned[][40] = {
    "x-gateway-destination-endpoint*", "x-prefiller-host-port", "x-prefiller-url", "x-encoder-hosts-ports",
    "x-data-parallel-host-port", "x-kv-cache-source-host-port", "x-went-into-resp-headers",
    "x-llm-d-request-dropped-reason",
};

static char lower(char c)
{
  return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* name in any case against a pattern in lower case. */
static int matches(const char *pattern, const char *name, size_t len)
{
  size_t n = strlen(pattern);
  int prefix = pattern[n - 1] == '*';
  n -= (size_t)prefix;
  if (prefix ? len < n : len != n)
    return 0;
  for (size_t i = 0; i < n; i++)
    if (lower(name[i]) != pattern[i])
      return 0;
  return 1;
}

int llmd__headers_owned(const char *name, size_t len)
{
  for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
    if (matches(owned[i], name, len))
      return 1;
  return 0;
}

static llmd__header *find(const llmd__headers *hs, const llmd__copies *text, const char *name, size_t len)
{
  for (uint32_t i = 0; i < hs->n; i++) {
    const char *have = text->text + hs->at[i].name;
    size_t k = 0;
    if (hs->at[i].name_len != len)
      continue;
    while (k < len && have[k] == lower(name[k]))
      k++;
    if (k == len)
      return &hs->at[i];
  }
  return NULL;
}

void llmd__headers_reset(llmd__headers *hs)
{
  hs->n = 0;
  memset(hs->known, 0, sizeof hs->known);
}

/* Remembers where the headers are that the library reads itself. */
static void note_known(llmd__headers *hs, uint32_t number, const char *name, size_t len)
{
  for (unsigned i = 0; i < LLMD__HEADER_KNOWN * 2; i++) {
    const char *known = names[i / 2][i % 2];
    if (known[0] && matches(known, name, len))
      hs->known[i / 2][i % 2] = number + 1;
  }
}

static int replace(llmd__header *h, llmd__copies *text, const char *value, size_t len)
{
  if (len > h->value_len) {
    int64_t at = llmd__copies_take(text, len);
    if (at < 0)
      return (int)at;
    h->value = (uint32_t)at;
  }
  if (len)
    memcpy(text->text + h->value, value, len);
  h->value_len = (uint32_t)len;
  return 0;
}

int llmd__headers_add(llmd__headers *hs, llmd__copies *text, const char *name, size_t name_len, const char *value,
                      size_t value_len)
{
  if (llmd__headers_owned(name, name_len))
    return 0;
  llmd__header *h = find(hs, text, name, name_len);
  if (h)
    return replace(h, text, value, value_len);
  if (hs->n == hs->max || value_len > text->cap || name_len > text->cap)
    return LLMD_E_LIMIT;
  int64_t at = llmd__copies_take(text, name_len + value_len);
  if (at < 0)
    return (int)at;
  note_known(hs, hs->n, name, name_len);
  h = &hs->at[hs->n++];
  h->name = (uint32_t)at;
  h->name_len = (uint32_t)name_len;
  h->value = (uint32_t)(at + (int64_t)name_len);
  h->value_len = (uint32_t)value_len;
  for (size_t i = 0; i < name_len; i++)
    text->text[h->name + i] = lower(name[i]);
  if (value_len)
    memcpy(text->text + h->value, value, value_len);
  return 0;
}

static llmd_str value_of(const llmd__header *h, const llmd__copies *text)
{
  llmd_str s = {text->text + h->value, h->value_len};
  return s;
}

llmd_str llmd__headers_find(const llmd__headers *hs, const llmd__copies *text, const char *name, size_t len)
{
  llmd_str none = {NULL, 0};
  const llmd__header *h = find(hs, text, name, len);
  return h ? value_of(h, text) : none;
}

llmd_str llmd__headers_known(const llmd__headers *hs, const llmd__copies *text, unsigned which)
{
  llmd_str none = {NULL, 0};
  uint32_t number = hs->known[which][0] ? hs->known[which][0] : hs->known[which][1];
  return number ? value_of(&hs->at[number - 1], text) : none;
}

static int is_blank(char c)
{
  return c == ' ' || c == '\t';
}

double llmd__headers_number(const llmd__headers *hs, const llmd__copies *text, unsigned which)
{
  llmd_str s = llmd__headers_known(hs, text, which);
  double v;
  while (s.len && is_blank(s.ptr[0]))
    s.ptr++, s.len--;
  while (s.len && is_blank(s.ptr[s.len - 1]))
    s.len--;
  return s.ptr && llmd__parse_double(s.ptr, s.len, &v) == 0 ? v : (double)NAN;
}
