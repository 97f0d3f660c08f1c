#include "rig.h"

#include <unistd.h>

#define DEADLINE 60000u

static void must(int rc)
{
  if (rc < 0)
    fail_msg("%s", llmd_errname(rc));
}

static void on_log(void *ud, int level, const char *component, const char *text, size_t len)
{
  rig *r = ud;
  size_t at = strlen(r->said);
  (void)component;
  if (level <= LLMD_LOG_WARN)
    snprintf(r->said + at, sizeof r->said - at, "%.*s\n", (int)len, text);
}

/* ---- renderers --------------------------------------------------------------------------------------------------- */

void render_well(caller *c, const char *request, size_t len)
{
  const char *body = strstr(request, "\r\n\r\n") + 4;
  size_t n = len - (size_t)(body - request), at;
  char *text = malloc(64 + n * 8);
  assert_non_null(text);
  at = (size_t)sprintf(text, "{\"token_ids\":[1");
  for (size_t i = 2; i <= n; i++)
    at += (size_t)sprintf(text + at, ",%zu", i);
  at += (size_t)sprintf(text + at, "],\"features\":null}");
  caller_answer(c, OK, text, at);
  free(text);
}

void render_later(caller *c, const char *request, size_t len)
{
  rig *r = caller_engine(c)->ud;
  (void)request;
  (void)len;
  assert_true(r->n_held < ASKED);
  r->held[r->n_held++] = c;
}

/* ---- deciding ---------------------------------------------------------------------------------------------------- */

static void open_lane(rig *r)
{
  static const char policy[] =
      "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n"
      "- type: token-producer\n  parameters: {modelName: m, vllm: {url: \"http://localhost:8000\"}}\n"
      "- type: precise-prefix-cache-producer\n- type: prefix-cache-scorer\n"
      "  parameters: {prefixMatchInfoProducerName: precise-prefix-cache-producer}\n- type: max-score-picker\n";
  llmd_request_options o = {.size = sizeof o};
  llmd_err err = LLMD_ERR_INIT;
  void *mem = malloc(llmd_request_size(&o));
  assert_non_null(mem);
  must(llmd_request_init(mem, llmd_request_size(&o), &o, &r->request));
  if (llmd_scheduler_create(NULL, r->pool, policy, sizeof policy - 1, &r->scheduler, &err))
    fail_msg("%s", err.text);
  must(llmd_lane_create(r->scheduler, 0, &r->lane));
}

uint32_t rig_decides(rig *r, const char *path, const char *body)
{
  llmd_decision d = {.size = sizeof d};
  llmd_now now;
  llmd_clock(&now);
  llmd_request_reset(r->request);
  must(llmd_request_line(r->request, "POST", 4, path, strlen(path)));
  must(llmd_request_feed(r->request, body, strlen(body), LLMD_FEED_FINAL));
  must(llmd_decide(r->lane, r->request, &now, 1, &d));
  if (d.status == LLMD_ROUTED)
    must(llmd_report(r->lane, d.ticket, LLMD_REPORT_CANCEL, NULL, &now));
  return d.status;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void add(rig *r, unsigned i)
{
  const llmd_endpoint e = {.size = sizeof e, .address = {"127.0.0.1", 9}, .port = r->e[i].port};
  must(llmd_pool_add(r->pool, &e, &r->id[i]));
}

static void open_pool(rig *r)
{
  const llmd_region_options region = {.size = sizeof region, .max_endpoints = 16, .max_lanes = 2,
                                      .state_bytes = 24 << 20, .prefix_bytes = 1 << 20, .index_bytes = 1 << 20,
                                      .token_bytes = 8 << 20};
  const llmd_pool_options o = {.size = sizeof o, .flags = LLMD_POOL_WRITER, .region = &region};
  must(llmd_pool_open(&o, &r->pool, NULL));
}

void rig_open(rig *r, unsigned n, engine_fn fn)
{
  llmd_now now;
  memset(r, 0, sizeof *r);
  strcpy(r->folder, "/tmp/llmd-tokens-XXXXXX");
  assert_non_null(mkdtemp(r->folder));
  snprintf(r->path, sizeof r->path, "%s/socket", r->folder);
  r->service = (llmd_service){.size = sizeof r->service, .metrics = {.connect_ms = 20000},
                              .tokens = {.socket = r->path, .url = "", .timeout_ms = DEADLINE, .wait_ms = DEADLINE}};
  must(uv_loop_init(&r->loop));
  open_pool(r);
  r->n = n;
  for (unsigned i = 0; i < n; i++) {
    engine_start(&r->e[i], &r->loop, fn, r);
    add(r, i);
  }
  llmd_clock(&now);
  must(llmd_pool_publish(r->pool, &now));
  open_lane(r);
  rig_start(r);
  must(llmd_token_client_open(&r->loop, r->path, &r->client));
  rig_connect(r);
}

void rig_start(rig *r)
{
  const llmd_feeder f = {.size = sizeof f, .loop = &r->loop, .pool = r->pool, .service = &r->service, .log = on_log,
                         .log_ud = r};
  llmd_err err = LLMD_ERR_INIT;
  if (llmd_tokens_start(&f, &r->tokens, &err))
    fail_msg("%s", err.text);
}

static void set_flag(void *ud)
{
  *(int *)ud = 1;
}

static int is_set(void *ud)
{
  return *(int *)ud;
}

void rig_stop(rig *r)
{
  r->stopped = 0;
  llmd_tokens_stop(r->tokens, set_flag, &r->stopped);
  engine_until(&r->loop, is_set, &r->stopped, "the agent's side stops");
  r->tokens = NULL;
}

void rig_close(rig *r)
{
  llmd_token_client_close(r->client, set_flag, &r->closed);
  engine_until(&r->loop, is_set, &r->closed, "the client closes");
  if (r->tokens)
    rig_stop(r);
  for (unsigned i = 0; i < r->n; i++)
    engine_stop(&r->e[i]);
  engine_loop_end(&r->loop);
  llmd_lane_free(r->lane);
  llmd_scheduler_free(r->scheduler);
  llmd_pool_close(r->pool);
  free(r->request);
  assert_int_equal(rmdir(r->folder), 0); /* the socket has gone, too */
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static void on_told(void *ud, int rc, const uint32_t *ids, size_t n, const llmd_feature *features, size_t nf)
{
  asked *a = ud;
  a->told++;
  a->rc = rc;
  a->n = n;
  a->nf = nf;
  if (n)
    memcpy(a->ids, ids, (n < 16 ? n : 16) * sizeof *ids);
  for (size_t i = 0; i < nf && i < 4; i++) {
    a->feature[i] = features[i];
    snprintf(a->name[i], sizeof a->name[i], "%.*s", (int)features[i].hash.len, features[i].hash.ptr);
  }
}

static asked *next(rig *r)
{
  asked *a = &r->a[r->n_asked++ % ASKED];
  memset(a, 0, sizeof *a);
  return a;
}

static int is_taken(void *ud)
{
  rig *r = ud;
  asked *a = next(r);
  return !llmd_token_client_ask(r->client, "/", 1, "", 0, DEADLINE, on_told, a, &a->number);
}

static int was_told(void *ud)
{
  return ((asked *)ud)->told;
}

void rig_connect(rig *r)
{
  engine_until(&r->loop, is_taken, r, "the client connects");
  rig_wait(r, &r->a[(r->n_asked - 1) % ASKED]);
}

asked *rig_ask(rig *r, const char *path, const char *body, uint32_t timeout_ms)
{
  asked *a = next(r);
  must(llmd_token_client_ask(r->client, path, strlen(path), body, strlen(body), timeout_ms, on_told, a, &a->number));
  assert_int_equal(a->told, 0); /* never from within */
  return a;
}

void rig_wait(rig *r, asked *a)
{
  engine_until(&r->loop, was_told, a, "a question is answered");
  assert_int_equal(a->told, 1);
}

int rig_get(rig *r, const char *path, const char *body)
{
  asked *a = rig_ask(r, path, body, DEADLINE);
  rig_wait(r, a);
  return a->rc;
}

const char *rig_prompt(const char *text)
{
  static char ring[8][512];
  static unsigned at;
  char *out = ring[at++ % 8];
  snprintf(out, sizeof *ring, "{\"model\":\"m\",\"prompt\":\"%s\"}", text);
  return out;
}

llmd_tokens_stats rig_stats(const rig *r)
{
  llmd_tokens_stats s = {.size = sizeof s};
  must(llmd_tokens_stats_get(r->tokens, &s));
  return s;
}

unsigned rig_requests(const rig *r)
{
  unsigned n = 0;
  for (unsigned i = 0; i < r->n; i++)
    n += r->e[i].requests;
  return n;
}
