#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "rig.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BODY_MAX 262144u

static char folder[256];

/* ---- policies and engine, in a folder of our own ---------------------------------------------------------------- */

static void copy(const char *from, const char *name)
{
  char to[700], buf[65536];
  FILE *in = fopen(from, "rb"), *out;
  size_t n;
  snprintf(to, sizeof to, "%s/%s", folder, name);
  out = fopen(to, "wb");
  if (!in || !out)
    fail_msg("%s cannot be copied", from);
  while ((n = fread(buf, 1, sizeof buf, in)) > 0)
    assert_int_equal(fwrite(buf, 1, n, out), n);
  fclose(in);
  assert_int_equal(fclose(out), 0);
  assert_int_equal(chmod(to, 0700), 0);
}

static int is_policy(const char *name)
{
  size_t n = strlen(name);
  return n > 4 && !strcmp(name + n - 4, ".lua");
}

void rig_start(int argc, char **argv)
{
  const char *tmp = getenv("TMPDIR");
  char path[700];
  DIR *d;
  assert_true(argc >= 3);
  snprintf(folder, sizeof folder, "%s/llmd-policies-XXXXXX", tmp ? tmp : "/tmp");
  assert_non_null(mkdtemp(folder));
  d = opendir(argv[1]);
  assert_non_null(d);
  for (const struct dirent *e = readdir(d); e; e = readdir(d)) {
    snprintf(path, sizeof path, "%s/%s", argv[1], e->d_name);
    if (is_policy(e->d_name))
      copy(path, e->d_name);
  }
  closedir(d);
  copy(argv[2], "llmd-lua.so");
}

void rig_end(void)
{
  char path[700];
  DIR *d = opendir(folder);
  assert_non_null(d);
  for (const struct dirent *e = readdir(d); e; e = readdir(d)) {
    snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
    if (e->d_name[0] != '.')
      assert_int_equal(remove(path), 0);
  }
  closedir(d);
  assert_int_equal(rmdir(folder), 0);
}

const char *rig_folder(void)
{
  return folder;
}

/* ---- the pool --------------------------------------------------------------------------------------------------- */

static llmd_str str(const char *text)
{
  llmd_str s = {text, strlen(text)};
  return s;
}

void rig_open(rig *r, uint32_t n)
{
  llmd_region_options ro = {.size = sizeof ro, .max_endpoints = RIG_ENDPOINTS, .max_tickets = 1024, .max_lanes = 8,
                            .prefix_bytes = 2 << 20, .state_bytes = 16 << 20, .index_bytes = 1 << 20, .seed = 7};
  llmd_pool_options po = {.size = sizeof po, .region = &ro};
  char name[24], address[24];
  memset(r, 0, sizeof *r);
  r->n = n;
  r->seed = 1;
  r->tokens = 100;
  r->model = "base";
  r->decision.size = sizeof r->decision;
  r->now.mono = 60000000000u;
  r->now.wall = 1750000000000000000u;
  assert_int_equal(llmd_pool_open(&po, &r->pool, NULL), 0);
  for (uint32_t i = 0; i < n; i++) {
    llmd_endpoint e = {.size = sizeof e, .port = 8000};
    snprintf(name, sizeof name, "pod-%u", i + 1);
    snprintf(address, sizeof address, "10.0.0.%u", i + 1);
    e.name = str(name);
    e.address = str(address);
    assert_int_equal(llmd_pool_add(r->pool, &e, &r->id[i]), 0);
    rig_set(r, i, LLMD_ATTR_WAITING, 0);
    rig_set(r, i, LLMD_ATTR_RUNNING, 0);
    rig_set(r, i, LLMD_ATTR_KV_USAGE, 0);
  }
  r->memory = malloc(llmd_request_size(NULL));
  assert_non_null(r->memory);
  assert_int_equal(llmd_request_init(r->memory, llmd_request_size(NULL), NULL, &r->request), 0);
  rig_publish(r);
}

static void close_scheduler(rig *r)
{
  for (uint32_t i = 0; i < RIG_LANES; i++) {
    llmd_lane_free(r->lane[i]);
    r->lane[i] = NULL;
  }
  llmd_scheduler_free(r->scheduler);
  r->scheduler = NULL;
}

void rig_close(rig *r)
{
  close_scheduler(r);
  llmd_pool_close(r->pool);
  free(r->memory);
}

void rig_label(rig *r, uint32_t i, const char *key, const char *value)
{
  llmd_label label = {str(key), str(value)};
  assert_int_equal(llmd_pool_set_labels(r->pool, r->id[i], &label, 1), 0);
}

void rig_set(rig *r, uint32_t i, uint32_t attribute, double value)
{
  assert_int_equal(llmd_pool_set(r->pool, r->id[i], attribute, value), 0);
}

void rig_adapters(rig *r, uint32_t i, const char *const *names, uint32_t n)
{
  llmd_str list[8];
  assert_true(n <= 8);
  for (uint32_t k = 0; k < n; k++)
    list[k] = str(names[k]);
  assert_int_equal(llmd_pool_set_models(r->pool, r->id[i], LLMD_ATTR_ACTIVE_MODELS, list, n), 0);
}

void rig_publish(rig *r)
{
  for (uint32_t i = 0; i < r->n; i++)
    llmd_pool_touch(r->pool, r->id[i], r->now.mono); /* one that was removed is not there to be touched */
  assert_int_equal(llmd_pool_publish(r->pool, &r->now), 0);
}

/* ---- the scheduler ---------------------------------------------------------------------------------------------- */

void rig_options(llmd_scheduler_options *out)
{
  memset(out, 0, sizeof *out);
  out->size = sizeof *out;
  out->explain = 1;
  out->loader_dir = folder;
  out->policy_dir = folder;
}

int rig_try(rig *r, const char *config, llmd_err *err)
{
  llmd_scheduler_options so;
  llmd_err mine = LLMD_ERR_INIT;
  int rc;
  rig_options(&so);
  close_scheduler(r);
  rc = llmd_scheduler_create(&so, r->pool, config, strlen(config), &r->scheduler, err ? err : &mine);
  for (uint32_t i = 0; i < RIG_LANES && !rc; i++)
    rc = llmd_lane_create(r->scheduler, i ? 0 : LLMD_LANE_WRITER, &r->lane[i]);
  return rc;
}

void rig_configure(rig *r, const char *config)
{
  llmd_err err = LLMD_ERR_INIT;
  int rc = rig_try(r, config, &err);
  if (rc)
    fail_msg("%s:%u:%u: %s (%s)", err.path, err.line, err.column, err.text, llmd_strerror(rc));
}

void rig_policy(rig *r, const char *file, const char *parameters)
{
  char config[1024];
  snprintf(config, sizeof config,
           "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n"
           "- {type: lua, name: policy, parameters: {file: %s, params: {%s}}}\n- type: max-score-picker\n"
           "schedulingProfiles:\n- {name: default, plugins: [{pluginRef: policy}, {pluginRef: max-score-picker}]}\n",
           file, parameters);
  rig_configure(r, config);
}

/* ---- requests --------------------------------------------------------------------------------------------------- */

void rig_header(rig *r, const char *name, const char *value)
{
  uint32_t i = 0;
  while (r->header[i] && strcmp(r->header[i], name))
    i += 2;
  assert_true(i + 3 < sizeof r->header / sizeof *r->header);
  r->header[i] = name;
  r->header[i + 1] = value;
}

/* A prompt of so many estimated tokens, four bytes each. */
static size_t make_body(const rig *r, char *body)
{
  size_t text = (size_t)r->tokens * 4;
  int n;
  if (r->prompt)
    return (size_t)snprintf(body, BODY_MAX, "{\"model\":\"%s\",\"prompt\":\"%s\"}", r->model, r->prompt);
  assert_true(text + 256 < BODY_MAX);
  n = snprintf(body, 256, "{\"model\":\"%s\",\"prompt\":\"", r->model);
  memset(body + n, 'x', text);
  return (size_t)n + text + (size_t)snprintf(body + (size_t)n + text, 8, "\"}");
}

void rig_request(rig *r)
{
  static char body[BODY_MAX];
  const char *path = "/v1/completions";
  llmd_request_reset(r->request);
  assert_int_equal(llmd_request_line(r->request, "POST", 4, path, strlen(path)), 0);
  for (uint32_t i = 0; r->header[i]; i += 2)
    if (r->header[i + 1])
      assert_int_equal(llmd_request_header(r->request, r->header[i], strlen(r->header[i]), r->header[i + 1],
                                           strlen(r->header[i + 1])), 0);
  assert_int_equal(llmd_request_feed(r->request, body, make_body(r, body), LLMD_FEED_FINAL), 0);
}

uint32_t rig_number(const rig *r, llmd_endpoint_id id)
{
  for (uint32_t i = 0; i < r->n; i++)
    if (r->id[i] == id)
      return i;
  return RIG_NOBODY;
}

uint32_t rig_decide_on(rig *r, uint32_t lane)
{
  rig_request(r);
  assert_int_equal(llmd_decide(r->lane[lane], r->request, &r->now, r->seed++, &r->decision), 0);
  assert_int_equal(r->decision.ladder & (LLMD_LADDER_PLUGIN | LLMD_LADDER_BUDGET), 0);
  return r->decision.status == LLMD_ROUTED ? rig_number(r, r->decision.target[0].id) : RIG_NOBODY;
}

uint32_t rig_decide(rig *r)
{
  return rig_decide_on(r, 0);
}

void rig_commit(rig *r)
{
  assert_int_equal(llmd_commit(r->lane[0], r->request, &r->decision, 0, &r->now), 0);
}
