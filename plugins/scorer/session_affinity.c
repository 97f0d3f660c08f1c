/* session-affinity-scorer, session-affinity-filter and multicluster-session-affinity-filter: requests of a session go
 * to the endpoint that has served it. The scorer gives it 1 and the others 0; the filters keep it alone, or all when
 * it is not there. Two ways to know it:
 *
 *   encoded_endpoint_header  a header holds base64("namespace/name") of it, which a response has given to the client
 *   session_id               a table: session id (from the first source that has one) -> endpoint. commit binds a
 *                            session to the endpoint picked (by profileName, else the primary profile), renews the
 *                            binding when it is picked again, and moves it only when the bound endpoint is gone
 *
 * "Gone" is asked of all endpoints, because a scorer or filter cannot leave a note: the reference asks those which the
 * filters before it left. Both modes agree. */
#include <llmd/plugin.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ENCODED, SESSION };
enum { SOURCES = 4, NAME_ROOM = 128 };
enum { NAME, TOKEN, BOUND, HEADER, ATTRIBUTE = HEADER + SOURCES }; /* reads */

typedef struct source {
  llmd_str header, attribute, producer;
} source;

typedef struct session_id {
  llmd_list sources;
  double ttl_s, sweep_s;
} session_id;

typedef struct session_affinity {
  llmd_str profile;
  llmd_str token; /* header of the encoded strategy */
  session_id id;
  source from[SOURCES]; /* the sources, where reads can name them */
  char name[SOURCES + 1][NAME_ROOM]; /* what token.ptr and from[].header.ptr point to */
  uint32_t strategy;
  uint32_t n_sources;
} session_affinity;

static int refuse(llmd_err *err, int code, const char *path, const char *text)
{
  snprintf(err->path, sizeof err->path, "%s", path);
  snprintf(err->text, sizeof err->text, "%s", text);
  return code;
}

static int is(const llmd_str *s, const char *text)
{
  size_t len = strlen(text);
  return s->len == len && memcmp(s->ptr, text, len) == 0;
}

static int is_space(char c)
{
  return c == ' ' || (c >= '\t' && c <= '\r');
}

static llmd_str trimmed(llmd_str s)
{
  while (s.len && is_space(s.ptr[0])) {
    s.ptr++;
    s.len--;
  }
  while (s.len && is_space(s.ptr[s.len - 1]))
    s.len--;
  return s;
}

/* Makes a header's name what a read needs: no blanks around it, NUL-terminated, never empty. Too long = an error. */
static int settle_name(llmd_str *header, char *room)
{
  static const llmd_str preset = {"x-session-token", sizeof "x-session-token" - 1};
  llmd_str name = trimmed(*header);
  if (name.len == 0)
    name = preset;
  if (name.len >= NAME_ROOM)
    return LLMD_E_LIMIT;
  memcpy(room, name.ptr, name.len);
  room[name.len] = 0;
  header->ptr = room;
  header->len = name.len;
  return 0;
}

static int refuse_source(llmd_err *err, int code, uint32_t i, const char *text)
{
  snprintf(err->path, sizeof err->path, "sessionIdConfig.sources[%u]", (unsigned)i);
  snprintf(err->text, sizeof err->text, "%s", text);
  return code;
}

static int take_source(session_affinity *p, uint32_t i, const source *given, llmd_err *err)
{
  source *s = &p->from[i];
  *s = *given;
  if ((s->header.len == 0) == (s->attribute.len == 0))
    return refuse_source(err, LLMD_E_INVALID, i, "exactly one of header and attribute must be set");
  if (is(&s->attribute, "SessionIDDataKey")) /* the reference's name of what session-id-producer makes */
    s->attribute = (llmd_str){"SessionID.key", sizeof "SessionID.key" - 1};
  if (s->header.len && settle_name(&s->header, p->name[i]) < 0)
    return refuse_source(err, LLMD_E_LIMIT, i, "header is too long a name");
  return 0;
}

static int take_sources(session_affinity *p, llmd_err *err)
{
  const source *given = p->id.sources.items;
  uint32_t i, n = p->id.sources.n;
  if (n > SOURCES)
    return refuse(err, LLMD_E_LIMIT, "sessionIdConfig.sources", "more than 4 sources");
  for (i = 0; i < n; i++) {
    int rc = take_source(p, i, &given[i], err);
    if (rc < 0)
      return rc;
  }
  if (n == 0)
    p->from[n++].header = (llmd_str){"x-session-id", sizeof "x-session-id" - 1};
  p->n_sources = n;
  return 0;
}

static int validate(void *self, llmd_err *err)
{
  session_affinity *p = self;
  if (settle_name(&p->token, p->name[SOURCES]) < 0)
    return refuse(err, LLMD_E_LIMIT, "encodedEndpointHeaderConfig.header", "too long a name");
  if (p->strategy != SESSION)
    return 0;
  if (p->id.ttl_s == 0)
    p->id.ttl_s = 300;
  if (p->id.sweep_s == 0)
    p->id.sweep_s = 10;
  if (p->id.ttl_s < 0 || p->id.ttl_s > 1e9)
    return refuse(err, LLMD_E_RANGE, "sessionIdConfig.evictionTtlSeconds", "must be greater than 0 and at most 1e9");
  if (p->id.sweep_s < 0)
    return refuse(err, LLMD_E_RANGE, "sessionIdConfig.evictionSweepSeconds", "must be greater than 0");
  return take_sources(p, err);
}

/* ---- the encoded strategy
 * -------------------------------------------------------------------------------------------- */
static int digit(char c)
{
  if (c >= 'A' && c <= 'Z')
    return c - 'A';
  if (c >= 'a' && c <= 'z')
    return c - 'a' + 26;
  if (c >= '0' && c <= '9')
    return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Base64 with padding; line ends are skipped. Returns the length, or 0 when it is malformed or does not fit. */
static size_t decode(const llmd_str *text, char *buf, size_t cap)
{
  uint32_t bits = 0, digits = 0, pads = 0;
  size_t len = 0, i;
  for (i = 0; i < text->len; i++) {
    char c = text->ptr[i];
    int d = digit(c);
    if (c == '\r' || c == '\n')
      continue;
    if (c == '=' && digits % 4 + pads >= 2 && digits % 4 + pads < 4) {
      pads++;
      continue;
    }
    if (d < 0 || pads || len == cap)
      return 0;
    bits = bits << 6 | (uint32_t)d;
    if (digits++ % 4)
      buf[len++] = (char)(bits >> (6 - 2 * ((digits - 1) % 4)) & 0xff);
  }
  return (digits + pads) % 4 ? 0 : len;
}

/* The one string in the token is the endpoint's "namespace/name". */
static int split(const void *self, uint32_t read, const llmd_str *value, char *buf, llmd_str *out, uint32_t cap)
{
  size_t len = decode(value, buf, 1024);
  (void)self;
  (void)read;
  if (len == 0 || cap == 0)
    return 0;
  out[0].ptr = buf;
  out[0].len = len;
  return 1;
}

/* ---- the session_id strategy
 * ----------------------------------------------------------------------------------------- */
/* Key of the request's session. An id out of an attribute is a number already: the one its producer made of the text.
 * */
static int session(const session_affinity *p, const llmd_services *s, const llmd_batch *b, llmd_key *out)
{
  uint32_t i;
  for (i = 0; i < p->n_sources; i++) {
    llmd_str id = trimmed(b->value[HEADER + i].str);
    double number = b->n ? b->f64[ATTRIBUTE + i][0] : NAN;
    if (p->from[i].header.len && id.len) {
      s->hash(s->ctx, id.ptr, id.len, out);
      return 1;
    }
    if (p->from[i].attribute.len && number == number) {
      s->hash(s->ctx, (const char *)&number, sizeof number, out);
      return 1;
    }
  }
  return 0;
}

/* 1 the session's endpoint, 0 another one while that is there, -1 while that is gone, NaN no session or not bound. */
static int produce(const void *self, const llmd_services *s, const llmd_batch *b, double *const *out)
{
  const session_affinity *p = self;
  const uint32_t *name = b->id[NAME];
  llmd_key key;
  uint64_t bound;
  double other = -1;
  uint32_t i;
  int found;
  if (p->strategy != SESSION || !session(p, s, b, &key))
    return 0;
  found = s->get(s->ctx, &key, &bound);
  if (found <= 0)
    return found;
  for (i = 0; i < b->n; i++)
    if (name[i] == bound)
      other = 0;
  for (i = 0; i < b->n; i++)
    out[0][i] = name[i] == bound ? 1 : other;
  return 0;
}

static int same(const llmd_str *a, const llmd_str *b)
{
  return a->len == b->len && memcmp(a->ptr, b->ptr, a->len) == 0;
}

static int commit(const void *self, const llmd_services *s, const llmd_commit_info *c)
{
  const session_affinity *p = self;
  const llmd_batch *b = c->batch;
  uint32_t target = c->primary;
  llmd_key key;
  uint64_t bound, name;
  int found;
  if (p->strategy != SESSION || !session(p, s, b, &key))
    return 0;
  if (p->profile.len)
    for (target = 0; target < b->n && !same(&p->profile, &c->profile[target]); target++)
      continue;
  if (target >= b->n)
    return 0;
  name = b->id[NAME][target];
  found = s->get(s->ctx, &key, &bound);
  if (found < 0)
    return found;
  if (found && bound != name && !(c->wrote[0][target] < 0))
    return 0; /* bound to one that was there, or by another request meanwhile */
  return s->put(s->ctx, &key, name, (uint64_t)(p->id.ttl_s * 1e9));
}

/* ---- both
 * ------------------------------------------------------------------------------------------------------------ */
static int wanted(const session_affinity *p, const llmd_batch *b, uint32_t i)
{
  const llmd_read_value *token = &b->value[TOKEN];
  if (p->strategy == SESSION)
    return b->f64[BOUND][i] > 0;
  return token->n_ids && token->ids[0] && b->id[NAME][i] == token->ids[0];
}

static int score(const void *self, const llmd_batch *b, double *out)
{
  uint32_t i;
  for (i = 0; i < b->n; i++)
    out[i] = wanted(self, b, i) ? 1 : 0;
  return 0;
}

static int filter(const void *self, const llmd_batch *b, uint8_t *keep, uint32_t *order)
{
  uint32_t i, there = 0;
  (void)order;
  for (i = 0; i < b->n && !there; i++)
    there = wanted(self, b, i) != 0;
  for (i = 0; i < b->n && there; i++)
    keep[i] = wanted(self, b, i) != 0;
  return 0;
}

static const llmd_param token_params[] = {
  {.name = "header", .type = LLMD_PARAM_STRING, .offset = 0,
   .doc = "request header with the encoded endpoint (x-session-token)"},
  {0}};

static const llmd_param source_params[] = {
  {.name = "header", .type = LLMD_PARAM_STRING, .offset = offsetof(source, header),
   .doc = "request header with the id"},
  {.name = "attribute", .type = LLMD_PARAM_STRING, .offset = offsetof(source, attribute),
   .doc = "or an attribute that a producer made of it"},
  {.name = "producer", .type = LLMD_PARAM_STRING, .offset = offsetof(source, producer), .doc = "that producer"},
  {0}};

static const llmd_param id_params[] = {
  {.name = "sources", .type = LLMD_PARAM_LIST, .offset = offsetof(session_id, sources), .sub = source_params,
   .sub_size = sizeof(source), .doc = "where the session id is, the first that has one counts (header x-session-id)"},
  {.name = "evictionTtlSeconds", .type = LLMD_PARAM_FLOAT, .offset = offsetof(session_id, ttl_s),
   .doc = "a binding not renewed for this long is dropped (300)"},
  {.name = "evictionSweepSeconds", .type = LLMD_PARAM_FLOAT, .flags = LLMD_PARAM_IGNORED,
   .offset = offsetof(session_id, sweep_s), .doc = "has no effect: bindings end at their time (10)"},
  {0}};

static const llmd_enum strategies[] = {{"encoded_endpoint_header", ENCODED}, {"session_id", SESSION}, {0}};

static const llmd_param params[] = {
  {.name = "strategy", .type = LLMD_PARAM_ENUM, .offset = offsetof(session_affinity, strategy),
   .preset = "encoded_endpoint_header", .values = strategies, .doc = "how the session's endpoint is known"},
  {.name = "encodedEndpointHeaderConfig", .type = LLMD_PARAM_OBJECT, .offset = offsetof(session_affinity, token),
   .sub = token_params, .sub_size = sizeof(llmd_str), .doc = "for encoded_endpoint_header"},
  {.name = "sessionIdConfig", .type = LLMD_PARAM_OBJECT, .offset = offsetof(session_affinity, id), .sub = id_params,
   .sub_size = sizeof(session_id), .doc = "for session_id"},
  {.name = "profileName", .type = LLMD_PARAM_STRING, .offset = offsetof(session_affinity, profile),
   .doc = "profile whose pick the session is bound to (the primary one)"},
  {0}};

/* Source i is a header or an attribute; the other name is empty, and such a read never has a value. */
#define SOURCE_HEADER(i)                                                                                             \
  [HEADER + i] = {.kind = LLMD_READ_HEADER, .flags = LLMD_READ_NAME_PARAM, .name = "",                                \
                  .name_offset = offsetof(session_affinity, from[i].header)}
#define SOURCE_ATTRIBUTE(i)                                                                                          \
  [ATTRIBUTE + i] = {.kind = LLMD_READ_F64, .flags = LLMD_READ_OPTIONAL | LLMD_READ_NAME_PARAM | LLMD_READ_FROM_PARAM, \
                     .name = "", .from = "session-id-producer",                                                       \
                     .name_offset = offsetof(session_affinity, from[i].attribute),                                   \
                     .from_offset = offsetof(session_affinity, from[i].producer), .if_unknown = NAN,                 \
                     .if_unknown_strict = NAN}
static const llmd_read reads[] = {
  [NAME] = {.kind = LLMD_READ_NAME},
  [TOKEN] = {.kind = LLMD_READ_HEADER_IDS, .flags = LLMD_READ_NAME_PARAM, .name = "x-session-token",
             .name_offset = offsetof(session_affinity, token)},
  [BOUND] = {.kind = LLMD_READ_F64, .name = "SessionAffinity.bound", .from = "@self", .if_unknown = NAN,
             .if_unknown_strict = NAN},
  SOURCE_HEADER(0), SOURCE_HEADER(1), SOURCE_HEADER(2), SOURCE_HEADER(3),
  SOURCE_ATTRIBUTE(0), SOURCE_ATTRIBUTE(1), SOURCE_ATTRIBUTE(2), SOURCE_ATTRIBUTE(3),
  {0}};

static const llmd_write writes[] = {{.name = "SessionAffinity.bound", .unit = "bool"}, {0}};

/* base64 (RFC 4648) of n bytes; returns its length, or 0 when it does not fit. */
static size_t encode(const char *p, size_t n, char *out, size_t cap)
{
  static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  size_t len = 0, i;
  if ((n + 2) / 3 * 4 > cap)
    return 0;
  for (i = 0; i < n; i += 3) {
    uint32_t left = (uint32_t)(n - i), w = (uint32_t)(unsigned char)p[i] << 16;
    w |= left > 1 ? (uint32_t)(unsigned char)p[i + 1] << 8 : 0;
    w |= left > 2 ? (unsigned char)p[i + 2] : 0;
    out[len++] = digit[w >> 18];
    out[len++] = digit[w >> 12 & 63];
    out[len++] = left > 1 ? digit[w >> 6 & 63] : '=';
    out[len++] = left > 2 ? digit[w & 63] : '=';
  }
  return len;
}

/* The token that leads the session's next request to the endpoint that has just served it. */
static int respond(const void *self, const llmd_identity *served, char *buf, llmd_pair *out, uint32_t cap)
{
  const session_affinity *p = self;
  size_t n = served->space.len + 1 + served->name.len;
  if (p->strategy != ENCODED || cap < 1 || n > 400)
    return 0;
  memcpy(buf, served->space.ptr, served->space.len);
  buf[served->space.len] = '/';
  memcpy(buf + served->space.len + 1, served->name.ptr, served->name.len);
  out->key = p->token;
  out->value.ptr = buf + n;
  out->value.len = encode(buf, n, buf + n, 1024 - n);
  return out->value.len > 0;
}

#define SESSION_AFFINITY                                                                                             \
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI, .stability = LLMD_ALPHA, .self_size = sizeof(session_affinity), \
  .table_entries = 32768, .params = params, .reads = reads, .writes = writes, .validate = validate, .split = split,  \
  .produce = produce, .commit = commit, .respond = respond

const llmd_plugin llmd__session_affinity_scorer = {
  .type = "session-affinity-scorer", .summary = "prefers the endpoint that has served the session",
  .kind = LLMD_SCORER | LLMD_PRODUCER, .score = score, SESSION_AFFINITY};
const llmd_plugin llmd__session_affinity_filter = {
  .type = "session-affinity-filter", .summary = "keeps the endpoint that has served the session, if it is there",
  .kind = LLMD_FILTER | LLMD_PRODUCER, .filter = filter, SESSION_AFFINITY};
const llmd_plugin llmd__multicluster_session_affinity_filter = {
  .type = "multicluster-session-affinity-filter", .summary = "session-affinity-filter over endpoints that are clusters",
  .kind = LLMD_FILTER | LLMD_PRODUCER, .filter = filter, SESSION_AFFINITY};
LLMD_MODULE(&llmd__session_affinity_scorer, &llmd__session_affinity_filter,
            &llmd__multicluster_session_affinity_filter);
