#include "uv/fetch/rules.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include <llmd/error.h>

int llmd__fetch_url(const llmd__fetch_request *r, char out[LLMD__FETCH_URL])
{
  unsigned char raw[16];
  char address[INET6_ADDRSTRLEN];
  int family = AF_INET;
  if (!r->address || !r->path || r->path[0] != '/' || r->port < 1 || r->port > 65535 || !r->fn)
    return LLMD_E_INVALID;
  if (inet_pton(AF_INET, r->address, raw) != 1) {
    family = AF_INET6;
    if (inet_pton(AF_INET6, r->address, raw) != 1)
      return LLMD_E_INVALID;
  }
  for (const char *p = r->path; *p; p++)
    if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f || *p == '#')
      return LLMD_E_INVALID;
  if (strlen(r->path) > LLMD__FETCH_PATH_MOST || !inet_ntop(family, raw, address, sizeof address))
    return LLMD_E_INVALID;
  (void)snprintf(out, LLMD__FETCH_URL, family == AF_INET ? "http://%s:%u%s" : "http://[%s]:%u%s", address, (unsigned)r->port,
                 r->path);
  return 0;
}

/* Of ASCII letters only, in every locale. */
static int same_text(const char *p, const char *lower, size_t n)
{
  for (size_t i = 0; i < n; i++)
    if ((p[i] >= 'A' && p[i] <= 'Z' ? p[i] | 0x20 : p[i]) != lower[i])
      return 0;
  return 1;
}

static int is(const llmd_str *v, const char *lower)
{
  return v->len == strlen(lower) && same_text(v->ptr, lower, v->len);
}

/* The value of the header when it has this name. */
static int value_of(const char *line, size_t len, const char *name, llmd_str *out)
{
  const size_t n = strlen(name);
  size_t from = n + 1;
  if (len <= n || line[n] != ':' || !same_text(line, name, n))
    return 0;
  while (from < len && (line[from] == ' ' || line[from] == '\t'))
    from++;
  while (len > from && (unsigned char)line[len - 1] <= ' ')
    len--;
  out->ptr = line + from;
  out->len = len - from;
  return 1;
}

int llmd__fetch_judge(const char *line, size_t len, size_t most)
{
  llmd_str v;
  uint64_t bytes = 0;
  if (!len || ((line[0] | 0x20) != 'c' && (line[0] | 0x20) != 't'))
    return 0;
  if (value_of(line, len, "content-encoding", &v))
    return v.len && !is(&v, "identity") ? LLMD_E_UNSUPPORTED : 0;
  if (value_of(line, len, "transfer-encoding", &v))
    return is(&v, "chunked") ? 0 : LLMD_E_UNSUPPORTED;
  if (!value_of(line, len, "content-length", &v))
    return 0;
  for (size_t i = 0; i < v.len && bytes <= most; i++) {
    if (v.ptr[i] < '0' || v.ptr[i] > '9')
      return LLMD_E_SYNTAX;
    bytes = bytes * 10 + (uint64_t)(v.ptr[i] - '0');
  }
  return bytes > most ? LLMD_E_LIMIT : 0;
}

const char *llmd__fetch_text(int rc)
{
  switch (rc) {
  case LLMD_E_TIMEOUT: return "no answer in time";
  case LLMD_E_CLOSED: return "no connection, or it broke off";
  case LLMD_E_LIMIT: return "larger than the limit";
  case LLMD_E_UNSUPPORTED: return "compressed, which nobody asked for";
  case LLMD_E_SYNTAX: return "not HTTP";
  case LLMD_E_NOMEM: return "out of memory";
  default: return "failed";
  }
}
