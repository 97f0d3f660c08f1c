/* session-id-producer: which session a request belongs to, from a header or a cookie.
 *
 * Columns hold numbers, so SessionID.key is 52 bits of the secret-keyed hash of the session's name: the same name gives
 * the same number, in every process on the region; two names share one in 1 of 2^52 pairs. No session = unknown. */
#include <llmd/plugin.h>

#include <stdio.h>
#include <string.h>

#define HEADER_MAX 127

typedef struct session_id {
  llmd_str header, cookie;
  llmd_str source; /* the header that is read, in lower case: `header`, or "cookie" */
  char lower[HEADER_MAX + 1];
} session_id;

static int blank(char c)
{
  return c == ' ' || (c >= '\t' && c <= '\r');
}

static llmd_str trim(llmd_str s)
{
  while (s.len > 0 && blank(s.ptr[s.len - 1]))
    s.len--;
  while (s.len > 0 && blank(*s.ptr)) {
    s.ptr++;
    s.len--;
  }
  return s;
}

static int refuse(llmd_err *err, int code, const char *path, const char *text)
{
  snprintf(err->path, sizeof err->path, "%s", path);
  snprintf(err->text, sizeof err->text, "%s", text);
  return code;
}

static int validate(void *self, llmd_err *err)
{
  session_id *p = self;
  size_t i;
  p->header = trim(p->header);
  p->cookie = trim(p->cookie);
  if ((p->header.len > 0) == (p->cookie.len > 0))
    return refuse(err, p->header.len ? LLMD_E_INVALID : LLMD_E_MISSING, "headerName",
                  "exactly one of headerName and cookieName is wanted");
  if (p->header.len > HEADER_MAX)
    return refuse(err, LLMD_E_LIMIT, "headerName", "too long");
  p->source = p->cookie.len > 0 ? (llmd_str){"cookie", 6} : p->header;
  for (i = 0; i < p->source.len; i++) {
    char c = p->source.ptr[i];
    p->lower[i] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  }
  p->source.ptr = p->lower;
  return 0;
}

/* The value of the cookie `name` in "a=1; b=2"; empty when it is not there. */
static llmd_str cookie_value(llmd_str jar, const llmd_str *name)
{
  llmd_str none = {NULL, 0};
  while (jar.len > 0) {
    const char *end = memchr(jar.ptr, ';', jar.len);
    size_t used = end ? (size_t)(end - jar.ptr) : jar.len;
    llmd_str pair = {jar.ptr, used};
    pair = trim(pair);
    if (pair.len > name->len && pair.ptr[name->len] == '=' && memcmp(pair.ptr, name->ptr, name->len) == 0) {
      pair.ptr += name->len + 1;
      pair.len -= name->len + 1;
      return trim(pair);
    }
    used += end != NULL;
    jar.ptr += used;
    jar.len -= used;
  }
  return none;
}

static int produce(const void *self, const llmd_services *s, const llmd_batch *b, double *const *out)
{
  const session_id *p = self;
  llmd_str id = trim(b->value[0].str);
  llmd_key key;
  uint32_t i;
  if (p->cookie.len > 0)
    id = cookie_value(id, &p->cookie);
  if (id.len == 0)
    return 0;
  s->hash(s->ctx, id.ptr, id.len, &key);
  for (i = 0; i < b->n; i++)
    out[0][i] = (double)(key.lo >> 12);
  return 0;
}

static const llmd_param params[] = {
  {.name = "headerName", .type = LLMD_PARAM_STRING, .offset = offsetof(session_id, header),
   .doc = "request header that holds the session's name"},
  {.name = "cookieName", .type = LLMD_PARAM_STRING, .offset = offsetof(session_id, cookie),
   .doc = "cookie that holds the session's name"},
  {0}};

static const llmd_read reads[] = {
  {.kind = LLMD_READ_HEADER, .flags = LLMD_READ_NAME_PARAM, .name = "cookie",
   .name_offset = offsetof(session_id, source)},
  {0}};

static const llmd_write writes[] = {{"SessionID.key", "key", LLMD_WRITE_DEFAULT}, {0}};

const llmd_plugin llmd__session_id_producer = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "session-id-producer", .summary = "the session a request belongs to, from a header or a cookie",
  .kind = LLMD_PRODUCER, .stability = LLMD_BETA,
  .self_size = sizeof(session_id), .params = params, .reads = reads, .writes = writes,
  .validate = validate, .produce = produce};

LLMD_MODULE(&llmd__session_id_producer);
