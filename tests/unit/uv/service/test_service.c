/* What a service's file may say, what it comes to, what is refused and where; the page about it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "uv/service/table.h"

static llmd_service *reads(const char *text)
{
  llmd_service *s = NULL;
  llmd_err err = LLMD_ERR_INIT;
  int rc = llmd_service_read(text, strlen(text), NULL, &s, &err);
  assert_string_equal(err.text, "");
  assert_int_equal(rc, 0);
  return s;
}

static void nothing_said(void **state)
{
  llmd_service *s = reads("");
  char region[64];
  (void)state;
  (void)snprintf(region, sizeof region, "/dev/shm/llmd-%u", (unsigned)geteuid());
  assert_string_equal(s->listen, "127.0.0.1:8080");
  assert_string_equal(s->admin, "127.0.0.1:9090");
  assert_string_equal(s->region, region);
  assert_int_equal(s->region_is_default, 1);
  assert_int_equal(s->workers, 1);
  assert_int_equal(s->policy.len, 0);
  assert_int_equal(s->endpoints.len, 0);
  assert_string_equal(s->endpoints_file, "");
  assert_int_equal(s->n_dns, 0);
  assert_int_equal(s->max_tokens_seen, 131072);
  assert_int_equal(s->metrics.enabled, 1);
  assert_int_equal(s->metrics.period_ms, 50);
  assert_int_equal(s->metrics.max_bytes, 1 << 20);
  assert_string_equal(s->metrics.path, "/metrics");
  assert_int_equal(s->events.enabled, 2);
  assert_int_equal(s->events.port, 5557);
  assert_string_equal(s->events.topic, "kv@");
  assert_string_equal(s->tokens.socket, "");
  assert_int_equal(s->limits.body, 16 << 20);
  assert_int_equal(s->limits.bodies, 1 << 30);
  assert_int_equal(s->limits.total_ms, 0);
  assert_int_equal(s->upstream.idle_ms, 300000);
  assert_int_equal(s->upstream.keep, 256);
  assert_int_equal(s->health.most_percent, 50);
  assert_string_equal(s->log.access, "-");
  assert_int_equal(s->log.level, LLMD_LOG_INFO);
  assert_int_equal(s->caps.size, sizeof s->caps);
  assert_int_equal(s->caps.state_bytes, 160 << 20);
  llmd_service_free(s);
}

static void values(void **state)
{
  llmd_service *s = reads("listen: 0.0.0.0:80\n"
                          "admin: ''\n"
                          "workers: 4\n"
                          "compat: strict\n"
                          "fail_open: true\n"
                          "region: /dev/shm/here\n"
                          "module_dir: /usr/lib/llmd\n"
                          "metrics: {period: 1s, enabled: false, max_bytes: 64Ki}\n"
                          "events: {enabled: true, topic: ''}\n"
                          "limits:\n"
                          "  body: 1GiB\n"
                          "  total: 0\n"
                          "  idle: 1m30s\n"
                          "upstream:\n"
                          "log: {level: debug, access: \"\"}\n"
                          "dns:\n"
                          "- {name: engines.example, port: 8000, refresh: 5s}\n"
                          "- {name: _http._tcp.engines.example, srv: true}\n");
  (void)state;
  assert_string_equal(s->listen, "0.0.0.0:80");
  assert_string_equal(s->admin, "");
  assert_int_equal(s->workers, 4);
  assert_int_equal(s->compat, 1);
  assert_int_equal(s->fail_open, 1);
  assert_string_equal(s->region, "/dev/shm/here");
  assert_int_equal(s->region_is_default, 0);
  assert_int_equal(s->metrics.period_ms, 1000);
  assert_int_equal(s->metrics.enabled, 0);
  assert_int_equal(s->metrics.max_bytes, 65536);
  assert_int_equal(s->events.enabled, 1);
  assert_string_equal(s->events.topic, "");
  assert_int_equal(s->limits.body, 1 << 30);
  assert_int_equal(s->limits.idle_ms, 90000);
  assert_int_equal(s->log.level, LLMD_LOG_DEBUG);
  assert_string_equal(s->log.access, "");
  assert_int_equal(s->n_dns, 2);
  assert_string_equal(s->dns[0].name, "engines.example");
  assert_int_equal(s->dns[0].port, 8000);
  assert_int_equal(s->dns[0].refresh_ms, 5000);
  assert_int_equal(s->dns[1].srv, 1);
  assert_int_equal(s->dns[1].refresh_ms, 30000);
  llmd_service_free(s);
}

static void refused(void **state)
{
  static const struct {
    const char *text;
    int code;
    unsigned line, column;
    const char *path;
  } rows[] = {
    {"wrokers: 2\n", LLMD_E_UNKNOWN_FIELD, 1, 1, "wrokers"},
    {"workers: 2\nmetrics:\n  perod: 1s\n", LLMD_E_UNKNOWN_FIELD, 3, 3, "metrics.perod"},
    {"workers: 0\n", LLMD_E_RANGE, 1, 10, "workers"},
    {"workers: two\n", LLMD_E_TYPE, 1, 10, "workers"},
    {"workers: [1]\n", LLMD_E_TYPE, 1, 10, "workers"},
    {"- workers\n", LLMD_E_TYPE, 1, 1, ""},
    {"metrics: fast\n", LLMD_E_TYPE, 1, 10, "metrics"},
    {"metrics: {period: 50}\n", LLMD_E_TYPE, 1, 19, "metrics.period"},
    {"metrics: {period: 0}\n", LLMD_E_RANGE, 1, 19, "metrics.period"},
    {"metrics: {period: 50us}\n", LLMD_E_RANGE, 1, 19, "metrics.period"},
    {"metrics: {period: -1s}\n", LLMD_E_RANGE, 1, 19, "metrics.period"},
    {"metrics: {path: metrics}\n", LLMD_E_SYNTAX, 1, 17, "metrics.path"},
    {"limits: {body: much}\n", LLMD_E_TYPE, 1, 16, "limits.body"},
    {"limits: {body: 1.5}\n", LLMD_E_TYPE, 1, 16, "limits.body"},
    {"limits: {head: 8GiB}\n", LLMD_E_RANGE, 1, 16, "limits.head"},
    {"fail_open: yes\n", LLMD_E_TYPE, 1, 12, "fail_open"},
    {"compat: loose\n", LLMD_E_RANGE, 1, 9, "compat"},
    {"events: {enabled: 1}\n", LLMD_E_RANGE, 1, 19, "events.enabled"},
    {"listen: localhost\n", LLMD_E_SYNTAX, 1, 9, "listen"},
    {"listen: ''\n", LLMD_E_SYNTAX, 1, 9, "listen"},
    {"listen: 127.0.0.1:65536\n", LLMD_E_SYNTAX, 1, 9, "listen"},
    {"listen: ::1:80\n", LLMD_E_SYNTAX, 1, 9, "listen"},
    {"endpoints: /no/such/pool.yaml\n", LLMD_E_IO, 1, 12, "endpoints"},
    {"policy: /no/such/policy.yaml\n", LLMD_E_IO, 1, 9, "policy"},
    {"policy: [a]\n", LLMD_E_TYPE, 1, 9, "policy"},
    {"endpoints: [\"10.0.0.1\"]\n", LLMD_E_SYNTAX, 1, 13, "endpoints[0]"},
    {"dns: [{port: 1}]\n", LLMD_E_MISSING, 1, 7, "dns[0]"},
    {"dns: [{name: x}]\n", LLMD_E_MISSING, 1, 7, "dns[0]"},
    {"dns: [{name: x, port: 1, ttl: 1}]\n", LLMD_E_UNKNOWN_FIELD, 1, 26, "dns[0].ttl"},
    {"workers: 1\nworkers: 2\n", LLMD_E_DUPLICATE, 2, 1, ""},
    {"metrics: {path: \"/m\\r\\nX: y\"}\n", LLMD_E_SYNTAX, 1, 17, "metrics.path"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    llmd_service *s = NULL;
    llmd_err err = LLMD_ERR_INIT;
    int rc = llmd_service_read(rows[i].text, strlen(rows[i].text), NULL, &s, &err);
    if (rc != rows[i].code || err.code != rc || err.line != rows[i].line || err.column != rows[i].column ||
        strcmp(err.path, rows[i].path) || s)
      fail_msg("%s%d, %u:%u: %s: %s", rows[i].text, rc, err.line, err.column, err.path, err.text);
  }
}

static void write_file(const char *folder, const char *name, const char *text)
{
  char path[256];
  FILE *f;
  (void)snprintf(path, sizeof path, "%s/%s", folder, name);
  f = fopen(path, "w");
  assert_non_null(f);
  assert_true(fputs(text, f) >= 0);
  assert_int_equal(fclose(f), 0);
}

static void files(void **state)
{
  static const char text[] = "policy: policy.yaml\nendpoints: pool.yaml\nlog: {access: access.log}\n";
  char folder[] = "/tmp/llmd-service-XXXXXX", expected[128], name[128];
  llmd_service *s = NULL;
  llmd_err err = LLMD_ERR_INIT;
  (void)state;
  assert_non_null(mkdtemp(folder));
  write_file(folder, "policy.yaml", "plugins:\n- {type: tokenizer, parameters: {modelName: m}}\n");
  write_file(folder, "pool.yaml", "endpoints: []\n");
  assert_int_equal(llmd_service_read(text, strlen(text), folder, &s, &err), 0);
  assert_int_equal(s->policy.len, 57);
  assert_memory_equal(s->policy.ptr, "plugins:\n", 9);
  (void)snprintf(expected, sizeof expected, "%s/policy.yaml", folder);
  assert_string_equal(s->policy_file, expected);
  (void)snprintf(expected, sizeof expected, "%s/pool.yaml", folder);
  assert_string_equal(s->endpoints_file, expected);
  assert_int_equal(s->endpoints.len, 0);
  (void)snprintf(expected, sizeof expected, "%s/access.log", folder);
  assert_string_equal(s->log.access, expected);
  (void)snprintf(expected, sizeof expected, "%s.sock", s->region); /* the policy wants tokens */
  assert_string_equal(s->tokens.socket, expected);
  llmd_service_free(s);
  for (int i = 0; i < 2; i++) {
    (void)snprintf(name, sizeof name, "%s/%s", folder, i ? "policy.yaml" : "pool.yaml");
    assert_int_equal(unlink(name), 0);
  }
  assert_int_equal(rmdir(folder), 0);
}

/* A policy's own file: what it stands for, and the folders that the scheduler is told. */
static void policies(void **state)
{
  char folder[] = "/tmp/llmd-service-XXXXXX", expected[1024], name[512], here[256];
  llmd_service *s = NULL;
  llmd_err err = LLMD_ERR_INIT;
  (void)state;
  assert_non_null(mkdtemp(folder));
  assert_non_null(getcwd(here, sizeof here));
  write_file(folder, "one.lua", "return {}\n");
  write_file(folder, "policy.yaml", "plugins: [{type: lua, parameters: {file: one.lua}}]\n");
  assert_int_equal(llmd_service_read("policy: one.lua\nloader_dir: loaders\n", 35, folder, &s, &err), 0);
  (void)snprintf(name, sizeof name, "%s/one.lua", folder);
  assert_true(llmd_policy_config("lua", name, expected, sizeof expected) > 0);
  assert_string_equal(s->policy.ptr, expected);
  assert_string_equal(s->policy_file, name);
  assert_int_equal(s->policy_is_text, 1);
  assert_string_equal(s->policy_dir, folder);
  (void)snprintf(name, sizeof name, "%s/loaders", folder);
  assert_string_equal(s->loader_dir, name);
  (void)snprintf(name, sizeof name, "%s/policy.yaml", folder);
  assert_int_equal(llmd_service_set(s, "policy", name, &err), 0);
  assert_int_equal(s->policy_is_text, 0);
  assert_string_equal(s->policy_dir, folder);
  assert_int_equal(llmd_service_set(s, "policy", "plugins: [{type: lua, parameters: {file: one.lua}}]", &err), 0);
  assert_string_equal(s->policy_dir, here);
  assert_int_equal(llmd_service_set(s, "policy_dir", "policies", &err), 0);
  (void)snprintf(name, sizeof name, "%s/policies", here);
  assert_string_equal(s->policy_dir, name);
  assert_int_equal(llmd_service_set(s, "fail_open", "true", &err), 0);
  assert_string_equal(s->policy_dir, name);
  llmd_service_free(s);
  for (int i = 0; i < 2; i++) {
    (void)snprintf(name, sizeof name, "%s/%s", folder, i ? "policy.yaml" : "one.lua");
    assert_int_equal(unlink(name), 0);
  }
  assert_int_equal(rmdir(folder), 0);
}

/* What an inline document's own reader says is wrong has the line of the file, and nearly always the column. */
static void inline_parts(void **state)
{
  llmd_service *s = reads("workers: 1\n"
                          "endpoints:\n"
                          "- 10.0.0.1:8000\n"
                          "- '[::1]:8001'\n"
                          "- {name: a, address: 10.0.0.2, port: \"8000\", labels: {llm-d.ai/role: decode}}\n"
                          "policy:\n"
                          "  apiVersion: llm-d.ai/v1alpha1\n"
                          "  kind: EndpointPickerConfig\n"
                          "  plugins:\n"
                          "  - type: queue-scorer\n"
                          "  wrong: 1\n");
  static const char endpoints[] = "{\"endpoints\":[\n\n  {\"address\":\"10.0.0.1\",\"port\":8000},\n"
                                  "  {\"address\":\"::1\",\"port\":8001},\n  {\"name\":";
  const char *wrong;
  size_t lines = 0;
  (void)state;
  assert_int_equal(strlen(s->endpoints.ptr), s->endpoints.len);
  assert_memory_equal(s->endpoints.ptr, endpoints, sizeof endpoints - 1);
  assert_non_null(strstr(s->endpoints.ptr, "\"labels\":{\"llm-d.ai/role\":\"decode\"}}]}"));
  wrong = strstr(s->policy.ptr, "\"wrong\"");
  assert_non_null(wrong);
  for (const char *p = s->policy.ptr; p < wrong; p++)
    lines += *p == '\n';
  assert_int_equal(lines, 10);
  assert_memory_equal(wrong - 3, "\n  ", 3);
  llmd_service_free(s);
}

static void inline_block(void **state)
{
  llmd_service *s = reads("workers: 1\npolicy: |\n  kind: X\n  plugins: []\n");
  (void)state;
  assert_string_equal(s->policy.ptr, "\n\nkind: X\nplugins: []\n");
  llmd_service_free(s);
}

static void options(void **state)
{
  llmd_service *s = reads("workers: 2\n");
  llmd_err err = LLMD_ERR_INIT;
  (void)state;
  assert_int_equal(llmd_service_set(s, "listen", "[::1]:0", &err), 0);
  assert_string_equal(s->listen, "[::1]:0");
  assert_int_equal(llmd_service_set(s, "limits.body", "1MiB", &err), 0);
  assert_int_equal(s->limits.body, 1 << 20);
  assert_int_equal(llmd_service_set(s, "endpoints", "[\"127.0.0.1:1\"]", &err), 0);
  assert_string_equal(s->endpoints.ptr, "{\"endpoints\":[{\"address\":\"127.0.0.1\",\"port\":1}]}");
  assert_int_equal(llmd_service_set(s, "endpoints", "127.0.0.1:1,h:2", &err), 0);
  assert_string_equal(s->endpoints.ptr, "{\"endpoints\":[{\"address\":\"127.0.0.1\",\"port\":1},"
                                        "{\"address\":\"h\",\"port\":2}]}");
  assert_int_equal(llmd_service_set(s, "endpoints", "no-such-file", &err), LLMD_E_IO);
  assert_int_equal(llmd_service_set(s, "region", "/dev/shm/x", &err), 0);
  assert_int_equal(s->region_is_default, 0);
  assert_int_equal(llmd_service_set(s, "policy", "{plugins: [{type: token-producer}]}", &err), 0);
  assert_string_equal(s->tokens.socket, ""); /* estimates */
  assert_int_equal(llmd_service_set(s, "policy", "{plugins: [{type: token-producer, parameters: {modelName: m, "
                                    "udsTokenizerConfig: {socketFile: /s}}}]}", &err), 0);
  assert_string_equal(s->tokens.socket, "");
  assert_int_equal(llmd_service_set(s, "policy", "{plugins: [{type: token-producer, parameters: {modelName: m}}]}",
                                    &err), 0);
  assert_string_equal(s->tokens.socket, "/dev/shm/x.sock");
  assert_int_equal(llmd_service_set(s, "region", "/dev/shm/y", &err), 0);
  assert_string_equal(s->tokens.socket, "/dev/shm/y.sock");
  assert_int_equal(llmd_service_set(s, "tokens.socket", "/tmp/z", &err), 0);
  assert_int_equal(llmd_service_set(s, "region", "", &err), 0);
  assert_string_equal(s->tokens.socket, "/tmp/z");
  assert_int_equal(s->region_is_default, 1);
  assert_int_equal(llmd_service_set(s, "admin", "", &err), 0);
  assert_string_equal(s->admin, "");
  assert_int_equal(llmd_service_set(s, "no.such", "1", &err), LLMD_E_UNKNOWN_FIELD);
  assert_string_equal(err.path, "no.such");
  assert_int_equal(llmd_service_set(s, "workers", "many", &err), LLMD_E_TYPE);
  assert_string_equal(err.path, "workers");
  assert_int_equal(llmd_service_set(s, "workers", "", &err), LLMD_E_MISSING);
  assert_int_equal(s->workers, 2);
  llmd_service_free(s);
}

/* ==== the page ==== */

static const char *page_path;

static size_t put_row(const llmd__setting *s, char *out, size_t n)
{
  const char *byword = s->byword ? s->byword : "";
  char words[128] = "";
  size_t len = 0;
  for (const char *p = s->words; p && *p && len + 8 < sizeof words; p++) {
    if (*p != '|')
      words[len++] = *p;
    else
      len += (size_t)snprintf(words + len, sizeof words - len, "`, `");
    words[len] = 0;
  }
  return (size_t)snprintf(out, n, "| `%s%s%s` | %s%s%s | %s%s%s%s |\n", s->section, s->section[0] ? "." : "", s->name,
                          byword[0] ? "`" : "", byword, byword[0] ? "`" : "", len ? "`" : "", words, len ? "`: " : "",
                          s->text);
}

static char *read_page(void)
{
  FILE *f = fopen(page_path, "r");
  char *text = calloc(1, 65536);
  size_t n = f && text ? fread(text, 1, 65535, f) : 0;
  assert_true(n > 0 && n < 65535);
  assert_int_equal(fclose(f), 0);
  return text;
}

/* Each key has its row, word for word, and no row is left of a key that is gone. `test_service print` prints them. */
static void page_tells_all(void **state)
{
  char *page = read_page(), row[512];
  size_t rows = 0;
  (void)state;
  for (uint32_t i = 0; i < llmd__n_settings; i++) {
    assert_true(put_row(&llmd__settings[i], row, sizeof row) < sizeof row);
    if (!strstr(page, row))
      fail_msg("docs/service.md lacks: %s", row);
  }
  for (const char *p = page; (p = strstr(p, "\n| `")); p++)
    rows++;
  assert_int_equal(rows, llmd__n_settings);
  free(page);
}

static int print_rows(void)
{
  char row[512];
  for (uint32_t i = 0; i < llmd__n_settings; i++) {
    if (i == 0 || strcmp(llmd__settings[i].section, llmd__settings[i - 1].section))
      printf("\n## `%s`\n\n| key | default | |\n|---|---|---|\n", llmd__settings[i].section);
    (void)put_row(&llmd__settings[i], row, sizeof row);
    (void)fputs(row, stdout);
  }
  return 0;
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(nothing_said), cmocka_unit_test(values),        cmocka_unit_test(refused),
    cmocka_unit_test(files),        cmocka_unit_test(inline_parts),  cmocka_unit_test(inline_block),
    cmocka_unit_test(options),      cmocka_unit_test(page_tells_all), cmocka_unit_test(policies),
  };
  page_path = argc > 1 ? argv[1] : "";
  if (strcmp(page_path, "print") == 0)
    return print_rows();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
