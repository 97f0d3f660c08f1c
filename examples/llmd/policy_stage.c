#include "policy_stage.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static int wrong(llmd_err *err, int code, const char *format, ...) SHELL_FORMAT(3, 4);
static int wrong(llmd_err *err, int code, const char *format, ...)
{
  va_list args;
  err->code = code;
  err->line = err->column = 0;
  err->path[0] = 0;
  va_start(args, format);
  (void)vsnprintf(err->text, sizeof err->text, format, args);
  va_end(args);
  return code;
}

static int told(llmd_err *err, int code)
{
  return code < 0 ? wrong(err, code, "%s", llmd_strerror(code)) : 0;
}

static char *copy_of(const char *text)
{
  size_t n = strlen(text) + 1;
  char *copy = malloc(n);
  if (copy)
    memcpy(copy, text, n);
  return copy;
}

/* *to becomes a copy of the text, NULL for "". */
static int replace(char **to, const char *text, llmd_err *err)
{
  char *copy = *text ? copy_of(text) : NULL;
  if (*text && !copy)
    return told(err, LLMD_E_NOMEM);
  free(*to);
  *to = copy;
  return 0;
}

static int take_number(const char *word, const char *text, double *out, llmd_err *err)
{
  char *end = NULL;
  *out = *text ? strtod(text, &end) : (double)NAN;
  if (*text && (end == text || *end))
    return wrong(err, LLMD_E_SYNTAX, "%s: '%s' is not a number", word, text);
  return 0;
}

static int take_integer(const char *word, const char *text, int64_t least, int64_t most, int64_t *out, llmd_err *err)
{
  char *end = NULL;
  long long v = 0;
  errno = 0;
  if (*text)
    v = strtoll(text, &end, 10);
  if (*text && (end == text || *end))
    return wrong(err, LLMD_E_SYNTAX, "%s: '%s' is not a whole number", word, text);
  if (errno || v < least || v > most)
    return wrong(err, LLMD_E_RANGE, "%s: %s is not between %lld and %lld", word, text, (long long)least,
                 (long long)most);
  *out = v;
  return 0;
}

/* ---- endpoints ---- */

/* An engine that has nothing to do: unknown values would make no scores. */
static int make_idle(const struct stage *s, llmd_endpoint_id id)
{
  static const struct { uint32_t attribute; double value; } idle[] = {
    {LLMD_ATTR_WAITING, 0}, {LLMD_ATTR_RUNNING, 0}, {LLMD_ATTR_KV_USAGE, 0}, {LLMD_ATTR_MAX_MODELS, 4},
    {LLMD_ATTR_BLOCK_SIZE, 16}, {LLMD_ATTR_NUM_BLOCKS, 8192},
  };
  int rc = 0;
  for (size_t i = 0; rc == 0 && i < sizeof idle / sizeof *idle; i++)
    rc = llmd_pool_set(s->session->pool, id, idle[i].attribute, idle[i].value);
  return rc;
}

static int add_endpoint(struct stage *s, llmd_err *err)
{
  struct stage_endpoint *e = &s->endpoint[s->n];
  char name[32], address[32];
  int n = snprintf(name, sizeof name, "pod-%u", s->n + 1);
  int a = snprintf(address, sizeof address, "10.0.%u.%u", (s->n + 1) >> 8, (s->n + 1) & 255);
  llmd_endpoint endpoint = {.size = sizeof endpoint, .name = {name, (size_t)n}, .address = {address, (size_t)a},
                            .port = 8000};
  int rc = llmd_pool_add(s->session->pool, &endpoint, &e->id);
  if (rc)
    return told(err, rc);
  s->n++;
  return told(err, make_idle(s, e->id));
}

static void free_labels(struct stage_endpoint *e)
{
  for (uint32_t i = 0; i < e->n_labels; i++) {
    free(e->label[i][0]);
    free(e->label[i][1]);
  }
  e->n_labels = 0;
}

static int drop_endpoint(struct stage *s, llmd_err *err)
{
  struct stage_endpoint *e = &s->endpoint[s->n - 1];
  int rc = llmd_pool_remove(s->session->pool, e->id);
  if (rc)
    return told(err, rc);
  for (uint32_t c = 0; c < s->n_columns; c++)
    s->column[c].value[s->n - 1] = (double)NAN;
  free_labels(e);
  s->n--;
  return 0;
}

int stage_endpoints(struct stage *s, uint32_t n, llmd_err *err)
{
  int rc = 0;
  while (rc == 0 && s->n < n)
    rc = add_endpoint(s, err);
  while (rc == 0 && s->n > n)
    rc = drop_endpoint(s, err);
  return rc ? rc : told(err, llmd_pool_publish(s->session->pool, &s->session->now));
}

/* ---- what policies read ---- */

/* The word as a Lua string. */
static int quote(const char *word, char *out, size_t size)
{
  size_t n = 0;
  for (; *word; word++) {
    if (n + 3 > size || (unsigned char)*word < 0x20)
      return LLMD_E_LIMIT;
    if (*word == '"' || *word == '\\')
      out[n++] = '\\';
    out[n++] = *word;
  }
  out[n] = 0;
  return 0;
}

/* What the loader makes of the word, asked by a policy that reads it and nothing else. */
static const cJSON *find_read(struct stage *s, const char *word, llmd_err *err)
{
  char quoted[300], text[400];
  cJSON *said, *read;
  for (uint32_t i = 0; i < s->n_words; i++)
    if (strcmp(s->word[i].name, word) == 0)
      return s->word[i].read;
  if (s->n_words == STAGE_WORDS || quote(word, quoted, sizeof quoted)) {
    wrong(err, LLMD_E_LIMIT, "%s: too many different words, or too long a one", word);
    return NULL;
  }
  (void)snprintf(text, sizeof text, "return {reads = {it = \"%s\"}, score = function(cols, out) end}", quoted);
  said = policy_describe_text(s->session, s->options, text, err);
  read = cJSON_DetachItemFromArray(cJSON_GetObjectItem(said, "reads"), 0);
  cJSON_Delete(said);
  if (!read)
    return NULL;
  s->word[s->n_words].name = copy_of(word);
  s->word[s->n_words].read = read;
  if (!s->word[s->n_words].name) {
    cJSON_Delete(read);
    told(err, LLMD_E_NOMEM);
    return NULL;
  }
  return s->word[s->n_words++].read;
}

static int set_label(struct stage *s, struct stage_endpoint *e, const char *key, const char *value, llmd_err *err)
{
  llmd_label label[STAGE_LABELS];
  uint32_t i = 0;
  int rc;
  while (i < e->n_labels && strcmp(e->label[i][0], key))
    i++;
  if (i == STAGE_LABELS)
    return wrong(err, LLMD_E_FULL, "more than %u labels", STAGE_LABELS);
  if (i == e->n_labels) {
    if (!(e->label[i][0] = copy_of(key)))
      return told(err, LLMD_E_NOMEM);
    e->label[i][1] = NULL;
    e->n_labels++;
  }
  rc = replace(&e->label[i][1], value, err);
  if (rc == 0 && !e->label[i][1]) {
    free(e->label[i][0]);
    memcpy(e->label[i], e->label[--e->n_labels], sizeof e->label[i]);
  }
  for (i = 0; i < e->n_labels; i++)
    label[i] = (llmd_label){{e->label[i][0], strlen(e->label[i][0])},
                            {e->label[i][1] ? e->label[i][1] : "", e->label[i][1] ? strlen(e->label[i][1]) : 0}};
  return rc ? rc : told(err, llmd_pool_set_labels(s->session->pool, e->id, label, e->n_labels));
}

/* "a,b,c" */
static int set_members(struct stage *s, const struct stage_endpoint *e, int attribute, const char *value, llmd_err *err)
{
  llmd_str name[64];
  uint32_t n = 0;
  for (const char *p = value; *p;) {
    size_t len = strcspn(p, ",");
    if (n == sizeof name / sizeof name[0])
      return wrong(err, LLMD_E_LIMIT, "more than %u names", n);
    if (len)
      name[n++] = (llmd_str){p, len};
    p += len + (p[len] == ',');
  }
  return told(err, llmd_pool_set_models(s->session->pool, e->id, (uint32_t)attribute, name, n));
}

static int set_column(struct stage *s, uint32_t i, int attribute, double value, llmd_err *err)
{
  uint32_t c = 0;
  while (c < s->n_columns && s->column[c].attribute != (uint32_t)attribute)
    c++;
  if (c == STAGE_COLUMNS)
    return wrong(err, LLMD_E_FULL, "more than %u columns of the request", STAGE_COLUMNS);
  if (c == s->n_columns) {
    if (!(s->column[c].value = malloc(STAGE_ENDPOINTS * sizeof *s->column[c].value)))
      return told(err, LLMD_E_NOMEM);
    for (uint32_t k = 0; k < STAGE_ENDPOINTS; k++)
      s->column[c].value[k] = (double)NAN;
    s->column[c].attribute = (uint32_t)attribute;
    s->n_columns++;
  }
  s->column[c].value[i] = value;
  return 0;
}

static int set_number(struct stage *s, uint32_t i, const cJSON *read, const char *value, llmd_err *err)
{
  const char *name = policy_text(read, "name"), *from = policy_text(read, "from");
  double number;
  int attribute, rc = take_number(name, strcmp(value, "unknown") ? value : "", &number, err);
  if (rc)
    return rc;
  attribute = llmd_pool_attribute(s->session->pool, name, from[0] ? from : NULL, LLMD_TYPE_F64, LLMD_SCOPE_ENDPOINT);
  if (attribute >= 0)
    rc = llmd_pool_set(s->session->pool, s->endpoint[i].id, (uint32_t)attribute, number);
  if (attribute >= 0)
    return rc == LLMD_E_RANGE ? wrong(err, rc, "%s cannot be %s", name, value) : told(err, rc);
  attribute = llmd_pool_attribute(s->session->pool, name, from[0] ? from : NULL, LLMD_TYPE_F64,
                                  LLMD_SCOPE_ENDPOINT_REQUEST);
  return attribute < 0 ? told(err, attribute) : set_column(s, i, attribute, number, err);
}

static int set_text(struct stage *s, const struct stage_endpoint *e, const cJSON *read, const char *value,
                    llmd_err *err)
{
  const char *from = policy_text(read, "from");
  int attribute = llmd_pool_attribute(s->session->pool, policy_text(read, "name"), from[0] ? from : NULL, LLMD_TYPE_ID,
                                      LLMD_SCOPE_ENDPOINT);
  if (attribute < 0)
    return told(err, attribute);
  return told(err, llmd_pool_set_text(s->session->pool, e->id, (uint32_t)attribute, value, strlen(value)));
}

int stage_set(struct stage *s, uint32_t i, const char *word, const char *value, llmd_err *err)
{
  const cJSON *read = find_read(s, word, err);
  const char *kind = read ? policy_text(read, "kind") : "", *name = read ? policy_text(read, "name") : "";
  struct stage_endpoint *e = &s->endpoint[i];
  if (!read)
    return err->code ? err->code : told(err, LLMD_E_NOMEM);
  if (strcmp(kind, "f64") == 0)
    return set_number(s, i, read, value, err);
  if (strcmp(kind, "label") == 0)
    return set_label(s, e, name, value, err);
  if (strcmp(kind, "id") == 0)
    return set_text(s, e, read, value, err);
  if (strcmp(kind, "has-model") == 0 || strcmp(kind, "set-size") == 0)
    return set_members(s, e, llmd_pool_attribute(s->session->pool, name, NULL, LLMD_TYPE_SET, LLMD_SCOPE_ENDPOINT),
                       value, err);
  return wrong(err, LLMD_E_INVALID, "%s: nothing that can be set of an endpoint (%s)", word, kind);
}

/* ---- the request ---- */

static int set_header(struct stage *s, const char *name, const char *value, llmd_err *err)
{
  uint32_t i = 0;
  int rc;
  while (i < s->n_headers && strcmp(s->header[i][0], name))
    i++;
  if (i == STAGE_HEADERS)
    return wrong(err, LLMD_E_FULL, "more than %u headers", STAGE_HEADERS);
  if (i == s->n_headers) {
    if (!(s->header[i][0] = copy_of(name)))
      return told(err, LLMD_E_NOMEM);
    s->header[i][1] = NULL;
    s->n_headers++;
  }
  rc = replace(&s->header[i][1], value, err);
  if (rc == 0 && !s->header[i][1]) {
    free(s->header[i][0]);
    memcpy(s->header[i], s->header[--s->n_headers], sizeof s->header[i]);
  }
  return rc;
}

/* Words that stand for a header. */
static const char *header_of(const char *word)
{
  static const char *const words[][2] = {
    {"tenant", "x-llm-d-inference-fairness-id"}, {"session", "x-session-id"}, {"slo_ttft_ms", "x-llm-d-slo-ttft-ms"},
    {"slo_tpot_ms", "x-llm-d-slo-tpot-ms"},
  };
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (strcmp(word, words[i][0]) == 0)
      return words[i][1];
  return strncmp(word, "header:", 7) == 0 && word[7] ? word + 7 : NULL;
}

int stage_request(struct stage *s, const char *word, const char *value, llmd_err *err)
{
  int64_t n = 0;
  int rc;
  if (header_of(word))
    return set_header(s, header_of(word), value, err);
  if (strcmp(word, "model") == 0)
    return replace(&s->model, value, err);
  if (strcmp(word, "prompt") == 0)
    return replace(&s->prompt, value, err);
  if (strcmp(word, "priority") == 0)
    return take_integer(word, value, INT32_MIN, INT32_MAX, &s->priority, err);
  if (strcmp(word, "stream") == 0) {
    s->stream = strcmp(value, "true") == 0;
    return *value && !s->stream && strcmp(value, "false") ? wrong(err, LLMD_E_SYNTAX, "stream is true or false") : 0;
  }
  if (strcmp(word, "tokens") && strcmp(word, "max_tokens"))
    return wrong(err, LLMD_E_UNKNOWN_FIELD, "a request has no '%s'", word);
  rc = take_integer(word, value, 0, STAGE_TOKENS, &n, err);
  if (rc == 0)
    *(strcmp(word, "tokens") ? &s->max_tokens : &s->tokens) = (uint64_t)n;
  return rc;
}

/* ---- deciding ---- */

/* The request's memory stays: what it was charged, if it was not sent, is given back by its next decision. */
static void forget_request(struct stage *s)
{
  if (s->request)
    llmd_request_reset(s->request);
  free(s->body);
  free(s->ids);
  s->body = NULL;
  s->ids = NULL;
  s->decided = 0;
}

static char *make_body(const struct stage *s)
{
  cJSON *o = cJSON_CreateObject();
  char *text = NULL;
  if (o && cJSON_AddStringToObject(o, "model", s->model ? s->model : "model") &&
      cJSON_AddStringToObject(o, "prompt", s->prompt ? s->prompt : "") &&
      (!s->max_tokens || cJSON_AddNumberToObject(o, "max_tokens", (double)s->max_tokens)) &&
      cJSON_AddBoolToObject(o, "stream", s->stream))
    text = cJSON_PrintUnformatted(o);
  cJSON_Delete(o);
  return text;
}

static int add_headers(const struct stage *s)
{
  int rc = 0;
  for (uint32_t i = 0; rc == 0 && i < s->n_headers; i++)
    rc = llmd_request_header(s->request, s->header[i][0], strlen(s->header[i][0]), s->header[i][1],
                             strlen(s->header[i][1]));
  return rc;
}

static int add_tokens(struct stage *s)
{
  if (!s->tokens)
    return 0;
  s->ids = malloc((size_t)s->tokens * sizeof *s->ids);
  if (!s->ids)
    return LLMD_E_NOMEM;
  for (uint64_t i = 0; i < s->tokens; i++)
    s->ids[i] = (uint32_t)i + 1;
  return llmd_request_set_tokens(s->request, s->ids, (size_t)s->tokens);
}

static int add_columns(const struct stage *s)
{
  llmd_endpoint_id id[STAGE_ENDPOINTS];
  int rc = 0;
  for (uint32_t i = 0; i < s->n; i++)
    id[i] = s->endpoint[i].id;
  for (uint32_t c = 0; rc == 0 && c < s->n_columns; c++)
    rc = llmd_request_set_column(s->request, s->column[c].attribute, id, s->column[c].value, s->n);
  return rc;
}

static int make_room(struct stage *s)
{
  llmd_request_options options = {.size = sizeof options, .text_bytes = 1u << 18,
                                  .max_values = STAGE_COLUMNS * STAGE_ENDPOINTS};
  size_t bytes = llmd_request_size(&options);
  void *mem = malloc(bytes);
  int rc = mem ? llmd_request_init(mem, bytes, &options, &s->request) : LLMD_E_NOMEM;
  if (rc)
    free(mem);
  return rc;
}

static int make_request(struct stage *s)
{
  static const char path[] = "/v1/completions";
  int rc = s->request ? 0 : make_room(s);
  forget_request(s);
  if (rc)
    return rc;
  s->body = make_body(s);
  if (!s->body)
    return LLMD_E_NOMEM;
  rc = llmd_request_line(s->request, "POST", 4, path, sizeof path - 1);
  if (rc == 0)
    rc = add_headers(s);
  if (rc == 0)
    rc = llmd_request_feed(s->request, s->body, strlen(s->body), LLMD_FEED_KEEP | LLMD_FEED_FINAL);
  if (rc == 0)
    rc = add_tokens(s);
  if (rc == 0)
    rc = llmd_request_set_priority(s->request, (int32_t)s->priority);
  return rc ? rc : add_columns(s);
}

/* All metrics are as of now, and seen. */
static int publish(const struct stage *s)
{
  int rc = 0;
  for (uint32_t i = 0; rc == 0 && i < s->n; i++)
    rc = llmd_pool_touch(s->session->pool, s->endpoint[i].id, s->session->now.mono);
  return rc ? rc : llmd_pool_publish(s->session->pool, &s->session->now);
}

int stage_decide(struct stage *s, llmd_err *err)
{
  llmd_lane *lane = s->session->lane;
  int rc = publish(s);
  s->decided = 0;
  s->decision.size = sizeof s->decision;
  if (rc == 0)
    rc = make_request(s);
  if (rc == 0)
    rc = llmd_decide(lane, s->request, &s->session->now, s->seed, &s->decision);
  if (rc == 0 && s->decision.status == LLMD_NEED_TOKENS && !llmd_request_no_tokens(s->request))
    rc = llmd_decide(lane, s->request, &s->session->now, s->seed, &s->decision);
  s->decided = rc == 0;
  return told(err, rc);
}

/* ---- life ---- */

int stage_open(struct stage *s, struct session *session, const struct session_options *options, uint32_t n,
               llmd_err *err)
{
  memset(s, 0, sizeof *s);
  s->session = session;
  s->options = options;
  s->seed = 1;
  return stage_endpoints(s, n, err);
}

void stage_close(struct stage *s)
{
  forget_request(s);
  request_free(s->request);
  for (uint32_t i = 0; i < s->n; i++)
    free_labels(&s->endpoint[i]);
  for (uint32_t i = 0; i < s->n_columns; i++)
    free(s->column[i].value);
  for (uint32_t i = 0; i < s->n_words; i++) {
    free(s->word[i].name);
    cJSON_Delete(s->word[i].read);
  }
  for (uint32_t i = 0; i < s->n_headers; i++) {
    free(s->header[i][0]);
    free(s->header[i][1]);
  }
  free(s->model);
  free(s->prompt);
}
