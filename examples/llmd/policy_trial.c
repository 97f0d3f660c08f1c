/* Policies on requests that are made up: a mistake in a function's body shows when the body runs, not before. Three
 * requests, one after another, on one endpoint, two, three, and one of which nothing is known. Who is right decides all
 * of them; what they come to is nobody's concern here. */
#include "policy_trial.h"

#include <stdlib.h>
#include <string.h>

#define BEFORE "fails on made-up requests: "
/* Three failures within a minute, and a policy is left out: fewer than that fit in between. */
#define STEP_NS 31000000000u
#define LONG_SESSION 300 /* bytes: no key of llmd.store is that long */
#define LONG_PROMPT 6000

/* ---- what failed ---- */

static int is_digit(char c)
{
  return c >= '0' && c <= '9';
}

/* But for numbers that stand as words: of instructions, bytes, endpoints. A line's number follows a colon. */
static int is_same(const char *a, const char *b)
{
  for (; *a && *a == *b; a++, b++)
    if (*a == ' ' && is_digit(a[1]) && is_digit(b[1])) {
      while (is_digit(a[1]))
        a++;
      while (is_digit(b[1]))
        b++;
    }
  return *a == *b;
}

static int add_once(cJSON *remarks, const char *text, size_t len)
{
  char line[800];
  const cJSON *item;
  cJSON *added;
  (void)snprintf(line, sizeof line, BEFORE "%.*s", (int)len, text);
  cJSON_ArrayForEach(item, remarks)
    if (is_same(item->valuestring, line))
      return 0;
  added = cJSON_CreateString(line);
  return added && cJSON_AddItemToArray(remarks, added) ? 0 : LLMD_E_NOMEM;
}

void policy_trial_hear(cJSON *remarks, int level, const char *text, size_t len)
{
  if (level == LLMD_LOG_DEBUG)
    (void)add_once(remarks, text, len);
}

static int add_failures(const struct session *s, cJSON *remarks)
{
  struct json_text text = {0};
  cJSON *why = NULL, *failures = cJSON_CreateArray();
  const cJSON *item;
  int rc = failures ? llmd_explain_json(s->lane, json_collect, &text) : LLMD_E_NOMEM;
  if (rc == 0 && !(why = cJSON_ParseWithLength(text.text, text.len)))
    rc = LLMD_E_NOMEM;
  if (rc == 0)
    rc = policy_failures(why, failures);
  cJSON_ArrayForEach(item, failures)
    rc = rc ? rc : add_once(remarks, item->valuestring, strlen(item->valuestring));
  cJSON_Delete(failures);
  cJSON_Delete(why);
  free(text.text);
  return rc;
}

/* ---- endpoints ---- */

/* What can be set is set: a read that this program cannot set stays unknown, and so it is with values that are odd. */
static void set(struct stage *s, uint32_t i, const char *word, const char *value)
{
  llmd_err err = LLMD_ERR_INIT;
  (void)stage_set(s, i, word, value, &err);
}

static void make_busy(struct stage *s, uint32_t i)
{
  set(s, i, "waiting", "40");
  set(s, i, "running", "60");
  set(s, i, "kv_usage", "0.97");
  set(s, i, "loras_active", "adapter,another");
}

static void make_unknown(struct stage *s, uint32_t i)
{
  static const char *const words[] = {"waiting", "running", "kv_usage", "block_size", "num_blocks", "max_loras"};
  for (size_t k = 0; k < sizeof words / sizeof *words; k++)
    set(s, i, words[k], "unknown");
}

/* What the policy reads besides the engine's own metrics. */
static void set_read(struct stage *s, uint32_t i, const cJSON *read)
{
  const char *kind = policy_text(read, "kind"), *name = policy_text(read, "name"), *from = policy_text(read, "from");
  char word[300];
  if (strcmp(kind, "label") == 0)
    (void)snprintf(word, sizeof word, "label:%s", name);
  else if (strcmp(kind, "f64") == 0 && from[0])
    (void)snprintf(word, sizeof word, "attr:%s/%s", name, from);
  else
    return;
  set(s, i, word, "1");
}

static void set_reads(struct stage *s, uint32_t i, const cJSON *policies)
{
  const cJSON *policy, *read;
  cJSON_ArrayForEach(policy, policies)
    cJSON_ArrayForEach(read, policy_list(policy, "reads"))
      set_read(s, i, read);
}

/* One that is idle, then a busy one of which all is known, then one of which nothing is; in the end that one alone. */
static int set_scene(struct stage *s, uint32_t scene, const cJSON *policies, llmd_err *err)
{
  int rc = stage_endpoints(s, scene < 3 ? scene + 1 : 1, err);
  if (rc == 0 && scene == 1) {
    make_busy(s, 1);
    set_reads(s, 1, policies);
  }
  if (rc == 0 && scene >= 2)
    make_unknown(s, s->n - 1);
  return rc;
}

/* ---- requests ---- */

static int set_headers(struct stage *s, const cJSON *policies, const char *value, llmd_err *err)
{
  const cJSON *policy, *read;
  int rc = 0;
  cJSON_ArrayForEach(policy, policies)
    cJSON_ArrayForEach(read, policy_list(policy, "reads")) {
      char word[300];
      (void)snprintf(word, sizeof word, "header:%s", policy_text(read, "name"));
      if (rc == 0 && strncmp(policy_text(read, "kind"), "header", 6) == 0)
        rc = stage_request(s, word, value, err);
    }
  return rc == LLMD_E_FULL ? 0 : rc;
}

/* One that says nothing of itself; one that says all; one that is odd, and long. */
static int set_request(struct stage *s, uint32_t which, const cJSON *policies, llmd_err *err)
{
  static const struct { const char *word, *value[3]; } fields[] = {
    {"model", {"", "model", "adapter"}}, {"prompt", {"", "Hello there", NULL}}, {"session", {"", "s-1", NULL}},
    {"tenant", {"", "acme", "another tenant"}}, {"priority", {"0", "5", "-1"}}, {"tokens", {"0", "40", "0"}},
    {"max_tokens", {"0", "64", "0"}}, {"stream", {"false", "true", "false"}}, {"slo_ttft_ms", {"", "500", ""}},
    {"slo_tpot_ms", {"", "50", ""}},
  };
  static const char *const header[] = {"", "1", "no number"};
  char text[LONG_PROMPT + 1];
  int rc = 0;
  for (size_t i = 0; rc == 0 && i < sizeof fields / sizeof *fields; i++) {
    const char *value = fields[i].value[which];
    size_t len = strcmp(fields[i].word, "session") ? LONG_PROMPT : LONG_SESSION;
    memset(text, 'x', len);
    text[len] = 0;
    rc = stage_request(s, fields[i].word, value ? value : text, err);
  }
  return rc ? rc : set_headers(s, policies, header[which], err);
}

/* ---- one request's life ---- */

static void wait_a_while(struct session *s)
{
  uint64_t next;
  s->now.mono += STEP_NS;
  s->now.wall += STEP_NS;
  (void)llmd_pool_tick(s->pool, &s->now, &next);
}

/* Its ticket may be over by now: then there is nothing to be told. */
static void report(struct stage *s, uint32_t kind)
{
  const llmd_usage usage = {.size = sizeof usage, .prompt_tokens = 40, .output_tokens = 64, .cached_tokens = 16};
  wait_a_while(s->session);
  (void)llmd_report(s->session->lane, s->decision.ticket, kind, kind == LLMD_REPORT_END ? &usage : NULL,
                    &s->session->now);
}

static int live(struct stage *s, uint32_t which, cJSON *remarks, llmd_err *err)
{
  static const uint32_t ends[] = {LLMD_REPORT_END, LLMD_REPORT_CANCEL, LLMD_REPORT_ERROR};
  struct session *session = s->session;
  llmd_response response = {.size = sizeof response};
  int rc;
  wait_a_while(session);
  rc = stage_decide(s, err);
  if (rc == 0)
    rc = add_failures(session, remarks);
  if (rc || s->decision.status != LLMD_ROUTED)
    return rc;
  wait_a_while(session);
  if (llmd_commit(session->lane, s->request, &s->decision, 0, &session->now))
    return 0;
  wait_a_while(session);
  (void)llmd_respond(session->lane, s->decision.ticket, 0, &session->now, &response);
  report(s, LLMD_REPORT_FIRST);
  report(s, LLMD_REPORT_PROGRESS);
  report(s, ends[which]);
  return 0;
}

int policy_trial(struct session *session, const struct session_options *options, const cJSON *policies, cJSON *remarks)
{
  llmd_err err = LLMD_ERR_INIT;
  struct stage *s = calloc(1, sizeof *s);
  int rc = s ? stage_open(s, session, options, 1, &err) : LLMD_E_NOMEM;
  for (uint32_t scene = 0; rc == 0 && scene < 4; scene++) {
    rc = set_scene(s, scene, policies, &err);
    for (uint32_t which = 0; rc == 0 && which < 3; which++) {
      rc = set_request(s, which, policies, &err);
      if (rc == 0)
        rc = live(s, which, remarks, &err);
    }
  }
  if (s)
    stage_close(s);
  free(s);
  return rc ? shell_refuse(options->config, "made-up requests: %s", err.text[0] ? err.text : llmd_strerror(rc)) : 0;
}
