#include "uv/tokens/render.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "uv/fetch/fetch.h"
#include "uv/log.h"
#include "uv/tokens/answer.h"
#include "uv/tokens/place.h"
#include "uv/tokens/wire.h"

#define MOST_JOBS 128u
#define MOST_BODIES ((size_t)128 << 20) /* held for jobs under way */
#define MOST_TRIES 3u
#define MOST_EDITS 64u
#define TEXT_ANSWER (12u << 20)  /* bytes: a million ids */
#define MEDIA_ANSWER (48u << 20) /* with what the renderer made of images */
#define SHORTEST_MS 1u
#define REFUSED 256u /* prompts that are remembered, a power of two */
#define REFUSED_MS 1000u
#define JOIN_MS 1000u /* what takes longer is nothing to wait for */

#define SAY(r, level, ...) llmd__log((r)->log, (r)->log_ud, level, "tokens", __VA_ARGS__)

typedef struct job {
  struct job *next, **back;
  llmd__renderer *r;
  llmd__ask *asks;
  llmd_key key;
  uint32_t door;
  uint32_t multimodal;
  uint32_t tries;
  uint32_t way; /* that it went */
  uint64_t until; /* ms */
  llmd__place *place;
  size_t len;
  char body[];
} job;

struct llmd__renderer {
  uv_loop_t *loop;
  llmd_pool *pool;
  llmd_log_fn log;
  void *log_ud;
  uint32_t timeout_ms, connect_ms;
  llmd__fetch *fetch;
  llmd__places places;
  llmd_request *request; /* that bodies are read with */
  job *jobs;
  uint32_t n_jobs;
  uint32_t told; /* that the cache has no room */
  size_t held;
  llmd__rendered rendered;
  llmd__render_counts counts;
  struct {
    llmd_key key;
    uint64_t until;
  } refused[REFUSED];
  llmd_done_fn done;
  void *done_ud;
};

/* ---- prompts that no renderer wants ------------------------------------------------------------------------------ */

static int same_key(const llmd_key *a, const llmd_key *b)
{
  return a->lo == b->lo && a->hi == b->hi;
}

static void remember_refusal(llmd__renderer *r, const llmd_key *key)
{
  uint32_t i = (uint32_t)key->lo & (REFUSED - 1);
  r->refused[i].key = *key;
  r->refused[i].until = uv_now(r->loop) + REFUSED_MS;
}

static int was_refused(const llmd__renderer *r, const llmd_key *key)
{
  uint32_t i = (uint32_t)key->lo & (REFUSED - 1);
  return same_key(&r->refused[i].key, key) && uv_now(r->loop) < r->refused[i].until;
}

/* ---- those who asked --------------------------------------------------------------------------------------------- */

static void link_ask(job *j, llmd__ask *ask)
{
  ask->next = j->asks;
  ask->back = &j->asks;
  if (ask->next)
    ask->next->back = &ask->next;
  j->asks = ask;
}

void llmd__ask_drop(llmd__ask *ask)
{
  if (!ask->back)
    return;
  *ask->back = ask->next;
  if (ask->next)
    ask->next->back = ask->back;
  ask->next = NULL;
  ask->back = NULL;
}

static void free_job(job *j)
{
  llmd__renderer *r = j->r;
  while (j->asks)
    llmd__ask_drop(j->asks);
  *j->back = j->next;
  if (j->next)
    j->next->back = j->back;
  r->n_jobs--;
  r->held -= j->len;
  free(j);
}

/* The job is no more; who is told may ask again. */
static void end_job(job *j, int rc)
{
  llmd__renderer *r = j->r;
  const llmd__rendered *got = &r->rendered;
  llmd__ask *asks = j->asks;
  j->asks = NULL;
  if (asks)
    asks->back = &asks;
  rc ? r->counts.failed++ : r->counts.rendered++;
  free_job(j);
  while (asks) {
    llmd__ask *ask = asks;
    llmd__ask_drop(ask);
    if (rc)
      ask->fn(ask, LLMD_E_NONE, NULL, 0, NULL, 0);
    else
      ask->fn(ask, 0, got->ids, got->n, got->feature, got->n_features);
  }
}

/* ---- asking a place ---------------------------------------------------------------------------------------------- */

static void on_answer(void *ud, const llmd__fetch_answer *a);

static int go(job *j, uint64_t now)
{
  static const char *const render[] = {
    [LLMD__DOOR_CHAT] = "/v1/chat/completions/render", [LLMD__DOOR_COMPLETIONS] = "/v1/completions/render"};
  llmd__renderer *r = j->r;
  char path[LLMD__PLACE_BASE + 64];
  llmd__fetch_request q = {.address = j->place->address, .port = j->place->port, .path = path, .body = j->body,
                           .len = j->len, .connect_ms = r->connect_ms, .fn = on_answer, .ud = j};
  uint64_t left = j->until > now ? j->until - now : SHORTEST_MS;
  int rc;
  j->way = j->place->door[j->door].way;
  q.total_ms = (uint32_t)left;
  q.max_bytes = j->multimodal ? MEDIA_ANSWER : TEXT_ANSWER;
  (void)snprintf(path, sizeof path, "%s%s", r->places.base,
                 j->way == LLMD__WAY_RENDER ? render[j->door] : "/tokenize");
  rc = llmd__fetch_go(r->fetch, &q, NULL);
  if (!rc)
    llmd__place_begin(j->place, now);
  return rc;
}

/* To the next place in turn. Returns 0, or LLMD_E_NONE. */
static int send_on(job *j)
{
  llmd__renderer *r = j->r;
  uint64_t now = uv_now(r->loop);
  while (j->tries < MOST_TRIES && now < j->until) {
    j->place = llmd__places_pick(&r->places, j->door, now);
    if (!j->place)
      return LLMD_E_NONE;
    j->tries++;
    if (!go(j, now))
      return 0;
    llmd__place_blame(j->place, now);
  }
  return LLMD_E_NONE;
}

enum { GOOD, BAD_PLACE, BAD_PROMPT, NO_DOOR };

/* A page that is not there and a model that is not there have the same status; the engine's own errors have a form. */
static int is_engines_error(const llmd__fetch_answer *a)
{
  return memmem(a->body, a->len, "\"error\"", 7) && memmem(a->body, a->len, "\"message\"", 9);
}

static int judge_status(const llmd__fetch_answer *a)
{
  switch (a->status) {
  case 200: return GOOD;
  case 401: case 403: case 405: case 501: return NO_DOOR;
  case 404: return is_engines_error(a) ? BAD_PROMPT : NO_DOOR;
  case 408: case 429: return BAD_PLACE;
  default: return a->status >= 400 && a->status < 500 ? BAD_PROMPT : BAD_PLACE;
  }
}

/* Without the names of its images a prompt's tokens say nothing of them: then it is better not to have any. */
static int read_answer(job *j, const llmd__fetch_answer *a)
{
  llmd__rendered *got = &j->r->rendered;
  int rc = llmd__rendered_read(got, a->body, a->len, LLMD__WIRE_IDS_MOST);
  if (rc == LLMD_E_LIMIT || rc == LLMD_E_NOMEM)
    return BAD_PROMPT;
  if (rc)
    return BAD_PLACE;
  if (j->multimodal && !got->n_features)
    return BAD_PROMPT;
  return llmd__wire_answer_size(got->n, got->feature, got->n_features) ? GOOD : BAD_PROMPT;
}

static int judge(job *j, const llmd__fetch_answer *a)
{
  int verdict;
  if (a->rc)
    return a->rc == LLMD_E_LIMIT ? BAD_PROMPT : BAD_PLACE;
  j->r->counts.bytes += a->len;
  verdict = judge_status(a);
  return verdict == GOOD ? read_answer(j, a) : verdict;
}

static void file(job *j)
{
  llmd__renderer *r = j->r;
  const llmd__rendered *got = &r->rendered;
  int rc = llmd_pool_tokens_put(r->pool, &j->key, got->ids, got->n, got->feature, got->n_features);
  if (rc && rc != LLMD_E_LIMIT && !r->told) {
    r->told = 1;
    SAY(r, LLMD_LOG_WARN, "nothing is kept: the region's cache of tokens: %s", llmd_strerror(rc));
  }
}

static void tell_fault(const job *j, const llmd__fetch_answer *a)
{
  const char *what = a->rc ? a->text : a->status == 200 ? "its answer is no tokens" : "it cannot now";
  SAY(j->r, LLMD_LOG_DEBUG, "%s port %u renders nothing: %s", j->place->address, (unsigned)j->place->port, what);
}

/* That door is not there: the same place by the other one. */
static int go_round(job *j, uint64_t now)
{
  llmd__place *place = j->place;
  llmd__place_divert(place, j->door, j->way, now);
  if (place->gone || place->door[j->door].way != LLMD__WAY_TOKENIZE || j->way == LLMD__WAY_TOKENIZE)
    return 0;
  return !go(j, now);
}

static void on_answer(void *ud, const llmd__fetch_answer *a)
{
  job *j = ud;
  llmd__renderer *r = j->r;
  llmd__place *place = j->place;
  uint64_t now = uv_now(r->loop);
  int verdict = judge(j, a), goes_on = verdict == NO_DOOR && go_round(j, now);
  if (verdict == BAD_PLACE) {
    tell_fault(j, a);
    llmd__place_blame(place, now);
  }
  llmd__place_end(place, now);
  if (verdict == GOOD)
    file(j);
  if (verdict == BAD_PROMPT)
    remember_refusal(r, &j->key);
  if (!goes_on && (verdict == GOOD || verdict == BAD_PROMPT || send_on(j)))
    end_job(j, verdict == GOOD ? 0 : LLMD_E_NONE);
}

/* ---- questions --------------------------------------------------------------------------------------------------- */

static size_t edited_len(const llmd_edit *e, int n, size_t len)
{
  for (int i = 0; i < n; i++)
    len = len - (size_t)e[i].removed + e[i].text.len;
  return len;
}

static void put_edited(char *out, llmd_str body, const llmd_edit *e, int n)
{
  size_t at = 0;
  for (int i = 0; i <= n; i++) {
    size_t to = i < n ? (size_t)e[i].offset : body.len;
    memcpy(out, body.ptr + at, to - at);
    out += to - at;
    if (i == n)
      return;
    if (e[i].text.len)
      memcpy(out, e[i].text.ptr, e[i].text.len);
    out += e[i].text.len;
    at = to + (size_t)e[i].removed;
  }
}

/* The client's body without what must not go out. */
static int make_job(llmd__renderer *r, llmd_str body, job **out)
{
  llmd_edit edit[MOST_EDITS];
  int n = llmd_request_edits(r->request, edit, MOST_EDITS);
  size_t len;
  job *j;
  if (n < 0 || (uint32_t)n > MOST_EDITS)
    return LLMD_E_NONE;
  len = edited_len(edit, n, body.len);
  if (r->n_jobs >= MOST_JOBS || r->held + len > MOST_BODIES)
    return LLMD_E_FULL;
  j = calloc(1, sizeof *j + len + 1);
  if (!j)
    return LLMD_E_FULL;
  put_edited(j->body, body, edit, n);
  j->r = r;
  j->len = len;
  j->until = uv_now(r->loop) + r->timeout_ms;
  j->next = r->jobs;
  j->back = &r->jobs;
  if (j->next)
    j->next->back = &j->next;
  r->jobs = j;
  r->n_jobs++;
  r->held += len;
  *out = j;
  return 0;
}

static job *find_job(llmd__renderer *r, const llmd_key *key)
{
  for (job *j = r->jobs; j; j = j->next)
    if (same_key(&j->key, key))
      return j;
  return NULL;
}

static int read_prompt(llmd__renderer *r, llmd_str path, llmd_str body, llmd_request_info *info, llmd_key *key)
{
  int rc;
  llmd_request_reset(r->request);
  rc = llmd_request_line(r->request, "POST", 4, path.ptr, path.len);
  if (!rc)
    rc = llmd_request_feed(r->request, body.ptr, body.len, LLMD_FEED_KEEP | LLMD_FEED_FINAL);
  if (!rc)
    rc = llmd_request_get(r->request, info);
  if (!rc)
    rc = llmd_pool_token_key(r->pool, r->request, key);
  return rc ? LLMD_E_NONE : 0;
}

static int begin(llmd__renderer *r, llmd_str path, llmd_str body, llmd__ask *ask)
{
  llmd_request_info info = {.size = sizeof info};
  llmd_key key;
  job *j;
  int rc = read_prompt(r, path, body, &info, &key);
  if (rc || was_refused(r, &key))
    return LLMD_E_NONE;
  j = find_job(r, &key);
  if (j && uv_now(r->loop) + r->timeout_ms > j->until + JOIN_MS)
    return LLMD_E_NONE;
  if (j) {
    r->counts.joined++;
    link_ask(j, ask);
    return 0;
  }
  rc = make_job(r, body, &j);
  if (rc)
    return rc;
  j->key = key;
  j->door = info.dialect == LLMD_DIALECT_OPENAI_CHAT ? LLMD__DOOR_CHAT : LLMD__DOOR_COMPLETIONS;
  j->multimodal = info.flags & LLMD_REQUEST_MULTIMODAL;
  rc = send_on(j);
  if (rc)
    free_job(j);
  else
    link_ask(j, ask);
  return rc;
}

int llmd__renderer_ask(llmd__renderer *r, llmd_str path, llmd_str body, llmd__ask *ask)
{
  int rc;
  ask->next = NULL;
  ask->back = NULL;
  r->counts.asked++;
  rc = begin(r, path, body, ask);
  llmd_request_reset(r->request); /* the body is the caller's */
  if (rc)
    r->counts.failed++;
  return rc;
}

void llmd__renderer_count(const llmd__renderer *r, llmd__render_counts *out)
{
  *out = r->counts;
  out->under_way = r->n_jobs;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static int make_request(llmd_request **out)
{
  const llmd_request_options o = {.size = sizeof o, .max_body = LLMD__WIRE_BODY_MOST};
  size_t len = llmd_request_size(&o);
  void *mem = malloc(len);
  int rc = mem ? llmd_request_init(mem, len, &o, out) : LLMD_E_NOMEM;
  if (rc)
    free(mem);
  return rc;
}

static void free_renderer(llmd__renderer *r)
{
  free(r->request);
  llmd__places_close(&r->places);
  llmd__rendered_free(&r->rendered);
  free(r);
}

int llmd__renderer_open(const llmd_feeder *feeder, llmd__renderer **out, llmd_err *err)
{
  const llmd_service *s = feeder->service;
  llmd__renderer *r = calloc(1, sizeof *r);
  int rc = r ? make_request(&r->request) : LLMD_E_NOMEM;
  if (rc) {
    free(r);
    return llmd__fail(err, rc, 0, 0, "tokens", "%s", llmd_strerror(rc));
  }
  r->loop = feeder->loop;
  r->pool = feeder->pool;
  r->log = feeder->log;
  r->log_ud = feeder->log_ud;
  r->timeout_ms = s->tokens.timeout_ms;
  r->connect_ms = s->metrics.connect_ms;
  rc = llmd__places_open(&r->places, r->pool, s->tokens.url, err);
  if (!rc && (rc = llmd__fetch_open(r->loop, NULL, &r->fetch)))
    (void)llmd__fail(err, rc, 0, 0, "tokens", "the HTTP client does not start: %s", llmd_strerror(rc));
  if (rc) {
    free_renderer(r);
    return rc;
  }
  *out = r;
  return 0;
}

static void on_fetch_closed(void *ud)
{
  llmd__renderer *r = ud;
  llmd_done_fn done = r->done;
  void *done_ud = r->done_ud;
  free_renderer(r);
  if (done)
    done(done_ud);
}

void llmd__renderer_close(llmd__renderer *r, llmd_done_fn done, void *ud)
{
  if (!r) {
    if (done)
      done(ud);
    return;
  }
  r->done = done;
  r->done_ud = ud;
  while (r->jobs) {
    llmd__place_end(r->jobs->place, 0);
    free_job(r->jobs);
  }
  llmd__fetch_close(r->fetch, on_fetch_closed, r); /* what is under way is not told of any more */
}
