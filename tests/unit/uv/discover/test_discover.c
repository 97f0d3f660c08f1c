/* Discovery on a real file system and with a real name server: files written in every way there is, names that fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <llmd/uv.h>

#include "engine.h"
#include "server.h"

typedef struct rig {
  uv_loop_t loop;
  uv_timer_t publish;
  name_server names;
  llmd_service service;
  llmd_service_dns dns;
  llmd_pool *pool;
  llmd_discovery *d;
  char folder[64], path[128], servers[32], log[16384];
  unsigned logs;
  const char *want; /* endpoints that are to be there, "a:1 b:2"; text in the log */
  unsigned questions;
  int changed, stopped;
} rig;

static void on_publish(uv_timer_t *t)
{
  rig *r = t->data;
  llmd_now now;
  uint64_t next;
  llmd_clock(&now);
  (void)llmd_pool_tick(r->pool, &now, &next);
  (void)llmd_pool_publish(r->pool, &now);
}

static void on_log(void *ud, int level, const char *component, const char *text, size_t len)
{
  rig *r = ud;
  const size_t at = strlen(r->log);
  assert_string_equal(component, "discovery");
  if (level <= LLMD_LOG_WARN)
    r->logs++;
  snprintf(r->log + at, sizeof r->log - at, "%.*s\n", (int)len, text);
}

static void on_changed(void *ud)
{
  ((rig *)ud)->changed = 1;
}

static void open_rig(rig *r)
{
  const llmd_region_options region = {.size = sizeof region, .max_endpoints = 32, .max_lanes = 2, .state_bytes = 1 << 20};
  const llmd_pool_options o = {.size = sizeof o, .flags = LLMD_POOL_WRITER, .region = &region};
  memset(r, 0, sizeof *r);
  strcpy(r->folder, "/tmp/llmd-discover-XXXXXX");
  assert_non_null(mkdtemp(r->folder));
  snprintf(r->path, sizeof r->path, "%s/pool.yaml", r->folder);
  assert_int_equal(uv_loop_init(&r->loop), 0);
  assert_int_equal(llmd_pool_open(&o, &r->pool, NULL), 0);
  server_start(&r->names, &r->loop);
  snprintf(r->servers, sizeof r->servers, "127.0.0.1:%u", r->names.port);
  r->service = (llmd_service){.size = sizeof r->service, .endpoints_file = "", .dns_servers = r->servers};
  uv_timer_init(&r->loop, &r->publish);
  r->publish.data = r;
  uv_timer_start(&r->publish, on_publish, 0, 5);
}

static int begin(rig *r, llmd_err *err)
{
  const llmd_feeder f = {.size = sizeof f, .loop = &r->loop, .pool = r->pool, .service = &r->service, .log = on_log,
                         .log_ud = r, .changed = on_changed, .changed_ud = r};
  return llmd_discovery_start(&f, &r->d, err);
}

static void start(rig *r)
{
  llmd_err err = LLMD_ERR_INIT;
  if (begin(r, &err))
    fail_msg("%s", err.text);
}

static void on_stopped(void *ud)
{
  ((rig *)ud)->stopped = 1;
}

static int is_stopped(void *ud)
{
  return ((rig *)ud)->stopped;
}

static void stop(rig *r)
{
  r->stopped = 0;
  llmd_discovery_stop(r->d, on_stopped, r);
  engine_until(&r->loop, is_stopped, r, "discovery stops");
  r->d = NULL;
}

static void close_rig(rig *r)
{
  char command[200];
  if (r->d)
    stop(r);
  server_stop(&r->names);
  uv_close((uv_handle_t *)&r->publish, NULL);
  engine_loop_end(&r->loop);
  llmd_pool_close(r->pool);
  snprintf(command, sizeof command, "rm -rf '%s'", r->folder);
  assert_int_equal(system(command), 0);
}

/* ---- what is waited for ------------------------------------------------------------------------------------------ */

typedef struct tally {
  const char *want;
  unsigned n, found;
} tally;

static int count(void *ud, llmd_endpoint_id id, const llmd_endpoint *e)
{
  tally *t = ud;
  char text[300];
  const char *at;
  (void)id;
  snprintf(text, sizeof text, "%.*s:%u", (int)e->address.len, e->address.ptr, (unsigned)e->port);
  at = strstr(t->want, text);
  t->n++;
  t->found += at && (at[strlen(text)] == ' ' || !at[strlen(text)]) && (at == t->want || at[-1] == ' ');
  return 0;
}

static int they_are_there(void *ud)
{
  const rig *r = ud;
  tally t = {r->want, 0, 0};
  unsigned wanted = *r->want != 0;
  for (const char *p = r->want; *p; p++)
    wanted += *p == ' ';
  (void)llmd_pool_each(r->pool, count, &t);
  return t.n == wanted && t.found == wanted;
}

static void expect(rig *r, const char *endpoints)
{
  r->want = endpoints;
  engine_until(&r->loop, they_are_there, r, endpoints);
}

static int it_is_logged(void *ud)
{
  const rig *r = ud;
  return strstr(r->log, r->want) != NULL;
}

static void expect_log(rig *r, const char *text)
{
  r->want = text;
  engine_until(&r->loop, it_is_logged, r, text);
}

static llmd_endpoint_id find(const rig *r, const char *text)
{
  return llmd_pool_find(r->pool, text, strlen(text));
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static void write_file(const char *path, const char *text)
{
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  assert_true(fputs(text, f) >= 0);
  assert_int_equal(fclose(f), 0);
}

static void replace_file(const rig *r, const char *text)
{
  char other[160];
  snprintf(other, sizeof other, "%s/.new", r->folder);
  write_file(other, text);
  assert_int_equal(rename(other, r->path), 0);
}

#define ONE "endpoints:\n- {name: a, address: 10.0.0.1, port: \"80\"}\n"
#define TWO ONE "- {name: b, address: 10.0.0.2, port: \"80\", labels: {llm-d.ai/role: decode}}\n"
#define OTHER "endpoints:\n- {name: b, address: 10.0.0.2, port: \"80\"}\n- {name: c, address: 'fd00::3', port: \"81\"}\n"

static void a_file_is_followed(void **state)
{
  rig r;
  llmd_endpoint_id a, b;
  (void)state;
  open_rig(&r);
  write_file(r.path, ONE);
  r.service.endpoints_file = r.path;
  start(&r);
  assert_int_equal(r.changed, 1); /* from the start on */
  expect(&r, "10.0.0.1:80");
  a = find(&r, "default/a");
  replace_file(&r, TWO);
  expect(&r, "10.0.0.1:80 10.0.0.2:80");
  assert_int_equal(find(&r, "default/a"), a);
  b = find(&r, "default/b");
  write_file(r.path, OTHER); /* in place */
  expect(&r, "10.0.0.2:80 fd00::3:81");
  assert_int_equal(find(&r, "default/b"), b);
  replace_file(&r, "endpoints: []\n");
  expect(&r, "");
  assert_int_equal(r.logs, 0);
  close_rig(&r);
}

static int a_while_is_over(void *ud)
{
  const uint64_t *until = ud;
  llmd_now now;
  llmd_clock(&now);
  return now.mono >= *until;
}

/* A log beside it, for one: what is said of the file is another line of that. */
static void a_busy_folder_is_not_the_file(void **state)
{
  rig r;
  char beside[160];
  (void)state;
  open_rig(&r);
  write_file(r.path, ONE);
  r.service.endpoints_file = r.path;
  start(&r);
  expect(&r, "10.0.0.1:80");
  r.log[0] = 0;
  snprintf(beside, sizeof beside, "%s/serve.log", r.folder);
  for (int i = 0; i < 5; i++) {
    llmd_now now;
    uint64_t until;
    llmd_clock(&now);
    until = now.mono + 150000000;
    write_file(beside, "a line\n");
    engine_until(&r.loop, a_while_is_over, &until, "a while");
  }
  assert_string_equal(r.log, "");
  replace_file(&r, TWO);
  expect(&r, "10.0.0.1:80 10.0.0.2:80");
  unlink(beside);
  close_rig(&r);
}

/* As Kubernetes does with maps: pool.yaml -> ..data/pool.yaml, ..data -> ..v1, and then ..data is replaced. */
static void links_are_followed(void **state)
{
  rig r;
  char path[200], target[200];
  (void)state;
  open_rig(&r);
  for (int v = 1; v <= 3; v++) {
    snprintf(path, sizeof path, "%s/..v%d", r.folder, v);
    assert_int_equal(mkdir(path, 0755), 0);
    snprintf(path, sizeof path, "%s/..v%d/pool.yaml", r.folder, v);
    write_file(path, v == 1 ? ONE : v == 2 ? TWO : OTHER);
  }
  snprintf(path, sizeof path, "%s/..data", r.folder);
  assert_int_equal(symlink("..v1", path), 0);
  assert_int_equal(symlink("..data/pool.yaml", r.path), 0);
  r.service.endpoints_file = r.path;
  start(&r);
  expect(&r, "10.0.0.1:80");
  for (int v = 2; v <= 3; v++) {
    snprintf(target, sizeof target, "..v%d", v);
    snprintf(path, sizeof path, "%s/..tmp", r.folder);
    assert_int_equal(symlink(target, path), 0);
    snprintf(target, sizeof target, "%s/..data", r.folder);
    assert_int_equal(rename(path, target), 0);
    expect(&r, v == 2 ? "10.0.0.1:80 10.0.0.2:80" : "10.0.0.2:80 fd00::3:81");
  }
  assert_int_equal(r.logs, 0);
  close_rig(&r);
}

/* A link to a file in a folder of its own: its changes give no event in ours. */
static void far_away_files_are_looked_at(void **state)
{
  rig r;
  char folder[128], path[200];
  (void)state;
  open_rig(&r);
  snprintf(folder, sizeof folder, "%s/far", r.folder);
  assert_int_equal(mkdir(folder, 0755), 0);
  snprintf(path, sizeof path, "%s/pool.yaml", folder);
  write_file(path, ONE);
  assert_int_equal(symlink("far/pool.yaml", r.path), 0);
  r.service.endpoints_file = r.path;
  start(&r);
  expect(&r, "10.0.0.1:80");
  write_file(path, TWO);
  expect(&r, "10.0.0.1:80 10.0.0.2:80");
  close_rig(&r);
}

static void a_bad_file_changes_nothing(void **state)
{
  static const struct {
    const char *text, *log;
  } bad[] = {
      {"endpoints:\n- {name: a, address: 10.0.0.1, port: \"80\"}\n- {name: b, port: 99}\n", "pool.yaml:3:3: endpoints[1]"},
      {"endpoints: [\n", "pool.yaml:2:"},
      {"endpoints:\n- {address: 10.0.0.1, port: 70000}\n", "pool.yaml:2:"},
      {"pods: []\n", "pool.yaml:1:1: pods"},
      {" \n\n", "empty"},
      {"", "empty"},
  };
  rig r;
  (void)state;
  open_rig(&r);
  write_file(r.path, TWO);
  r.service.endpoints_file = r.path;
  start(&r);
  expect(&r, "10.0.0.1:80 10.0.0.2:80");
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    r.log[0] = 0;
    replace_file(&r, bad[i].text);
    expect_log(&r, bad[i].log);
    expect(&r, "10.0.0.1:80 10.0.0.2:80");
  }
  r.log[0] = 0;
  assert_int_equal(unlink(r.path), 0);
  expect_log(&r, "not there");
  expect(&r, "10.0.0.1:80 10.0.0.2:80");
  replace_file(&r, OTHER);
  expect(&r, "10.0.0.2:80 fd00::3:81");
  close_rig(&r);
}

static void a_file_may_come_later(void **state)
{
  rig r;
  char folder[128], path[160];
  (void)state;
  open_rig(&r);
  snprintf(folder, sizeof folder, "%s/later", r.folder);
  snprintf(path, sizeof path, "%s/pool.yaml", folder);
  r.service.endpoints_file = path;
  start(&r);
  assert_int_equal(r.logs, 1);
  assert_int_equal(mkdir(folder, 0755), 0);
  write_file(path, ONE);
  expect(&r, "10.0.0.1:80");
  close_rig(&r);
}

static void a_successor_keeps_the_ids(void **state)
{
  rig r;
  llmd_endpoint_id a, b;
  (void)state;
  open_rig(&r);
  write_file(r.path, TWO);
  r.service.endpoints_file = r.path;
  start(&r);
  expect(&r, "10.0.0.1:80 10.0.0.2:80");
  a = find(&r, "default/a");
  b = find(&r, "default/b");
  stop(&r);
  start(&r);
  expect(&r, "10.0.0.1:80 10.0.0.2:80");
  assert_int_equal(find(&r, "default/a"), a);
  assert_int_equal(find(&r, "default/b"), b);
  close_rig(&r);
}

static void text_of_the_service(void **state)
{
  llmd_err err = LLMD_ERR_INIT;
  rig r;
  (void)state;
  open_rig(&r);
  r.service.endpoints = (llmd_str){"endpoints: [{name: a}]", 22};
  assert_true(begin(&r, &err) < 0);
  assert_int_equal(err.line, 1);
  assert_string_equal(err.path, "endpoints[0]");
  r.service.endpoints = (llmd_str){TWO, sizeof TWO - 1};
  start(&r);
  expect(&r, "10.0.0.1:80 10.0.0.2:80");
  close_rig(&r);
}

static void without_sources_nothing_is_touched(void **state)
{
  const llmd_endpoint e = {.size = sizeof e, .address = {"10.0.0.7", 8}, .port = 7};
  llmd_endpoint_id id;
  rig r;
  (void)state;
  open_rig(&r);
  assert_int_equal(llmd_pool_add(r.pool, &e, &id), 0);
  start(&r);
  engine_pass(&r.loop, 250);
  assert_int_equal(r.changed, 0);
  assert_int_equal(find(&r, "10.0.0.7:7"), id);
  close_rig(&r);
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static const llmd_label role = {{"llm-d.ai/role", 13}, {"decode", 6}};

static void open_named(rig *r, const char *name, int srv)
{
  open_rig(r);
  r->dns = (llmd_service_dns){.name = name, .srv = srv != 0, .port = srv ? 0 : 8000, .refresh_ms = 1000, .n_labels = 1,
                              .labels = &role};
  r->service.dns = &r->dns;
  r->service.n_dns = 1;
}

static void zone(rig *r, const record *records, unsigned n)
{
  r->names.zone = records;
  r->names.n = n;
}

static int more_was_asked(void *ud)
{
  const rig *r = ud;
  return r->names.questions >= r->questions;
}

static void expect_questions(rig *r, unsigned more)
{
  r->questions = r->names.questions + more;
  engine_until(&r->loop, more_was_asked, r, "it is asked again");
}

static int has_role(void *ud, llmd_endpoint_id id, const llmd_endpoint *e)
{
  (void)id;
  *(int *)ud = e->n_labels == 1 && e->labels[0].value.len == 6;
  return 0;
}

static const record both[] = {{"pool.test", TYPE_A, 1, "10.1.0.1"},   {"pool.test", TYPE_A, 1, "10.1.0.2"},
                              {"pool.test", TYPE_AAAA, 1, "fd00::1"}, {"other.test", TYPE_A, 1, "10.1.0.9"}};

static void addresses_of_a_name(void **state)
{
  static const record more[] = {{"pool.test", TYPE_A, 1, "10.1.0.1"}, {"pool.test", TYPE_A, 1, "10.1.0.2"},
                                {"pool.test", TYPE_A, 1, "10.1.0.3"}, {"pool.test", TYPE_AAAA, 1, "fd00::1"}};
  rig r;
  int labelled = 0;
  llmd_endpoint_id id;
  (void)state;
  open_named(&r, "pool.test", 0);
  zone(&r, both, 4);
  start(&r);
  expect(&r, "10.1.0.1:8000 10.1.0.2:8000 fd00::1:8000");
  id = find(&r, "10.1.0.2:8000");
  (void)llmd_pool_each(r.pool, has_role, &labelled);
  assert_int_equal(labelled, 1);
  zone(&r, more, 4);
  expect(&r, "10.1.0.1:8000 10.1.0.2:8000 10.1.0.3:8000 fd00::1:8000");
  assert_int_equal(find(&r, "10.1.0.2:8000"), id);
  zone(&r, both, 4); /* one is gone from the answer: it is drained, and still there */
  expect_log(&r, "(10.1.0.3 port 8000): no longer named: drained");
  expect(&r, "10.1.0.1:8000 10.1.0.2:8000 10.1.0.3:8000 fd00::1:8000");
  close_rig(&r);
}

static void failing_names_keep_what_they_had(void **state)
{
  static const unsigned failures[] = {NO_SUCH_NAME, FAILING, GARBAGE, OTHER_ID, OTHER_QUESTION, CUT_FOR_GOOD};
  const size_t n = getenv("LLMD_LONG") ? 6 : 4; /* lies are found out by waiting */
  (void)state;
  for (size_t i = 0; i < n; i++) {
    rig r;
    llmd_endpoint_id id;
    open_named(&r, "pool.test", 0);
    zone(&r, both, 4);
    start(&r);
    expect(&r, "10.1.0.1:8000 10.1.0.2:8000 fd00::1:8000");
    id = find(&r, "fd00::1:8000");
    r.names.behaviour = failures[i];
    expect_questions(&r, 2);
    expect_log(&r, "what it had stays");
    expect(&r, "10.1.0.1:8000 10.1.0.2:8000 fd00::1:8000");
    assert_int_equal(find(&r, "fd00::1:8000"), id);
    assert_null(strstr(r.log, "drained"));
    close_rig(&r);
  }
}

/* One kind of address fails, the other does not: what fails keeps what it had. */
static void half_a_failure(void **state)
{
  static const record less[] = {{"pool.test", TYPE_A, 1, "10.1.0.1"}};
  rig r;
  (void)state;
  open_named(&r, "pool.test", 0);
  zone(&r, both, 4);
  start(&r);
  expect(&r, "10.1.0.1:8000 10.1.0.2:8000 fd00::1:8000");
  zone(&r, less, 1);
  r.names.silent_type = TYPE_AAAA;
  expect_log(&r, "(10.1.0.2 port 8000): no longer named");
  assert_null(strstr(r.log, "(fd00::1 port 8000): no longer named"));
  close_rig(&r);
}

static void truncated_answers_come_by_tcp(void **state)
{
  rig r;
  (void)state;
  open_named(&r, "pool.test", 0);
  zone(&r, both, 4);
  r.names.behaviour = TRUNCATED;
  start(&r);
  expect(&r, "10.1.0.1:8000 10.1.0.2:8000 fd00::1:8000");
  assert_true(r.names.over_tcp >= 2);
  close_rig(&r);
}

static void nobodys_addresses_are_left_out(void **state)
{
  static const record odd[] = {{"pool.test", TYPE_A, 60, "0.0.0.0"},     {"pool.test", TYPE_A, 60, "255.255.255.255"},
                               {"pool.test", TYPE_A, 60, "224.0.0.1"},   {"pool.test", TYPE_A, 60, "10.1.0.1"},
                               {"pool.test", TYPE_A, 60, "10.1.0.1"},    {"pool.test", TYPE_AAAA, 60, "::"},
                               {"pool.test", TYPE_AAAA, 60, "ff02::1"}};
  rig r;
  (void)state;
  open_named(&r, "pool.test", 0);
  zone(&r, odd, 7);
  start(&r);
  expect(&r, "10.1.0.1:8000");
  close_rig(&r);
}

static void a_name_that_comes_later(void **state)
{
  rig r;
  (void)state;
  open_named(&r, "pool.test", 0);
  start(&r);
  expect_log(&r, "no places yet");
  zone(&r, both, 4);
  expect(&r, "10.1.0.1:8000 10.1.0.2:8000 fd00::1:8000");
  close_rig(&r);
}

static void srv_says_host_and_port(void **state)
{
  static const record first[] = {
    {"_http._tcp.test", TYPE_SRV, 1, "e1.test:8001"}, {"_http._tcp.test", TYPE_SRV, 1, "e2.test:8002"},
                                 {"_http._tcp.test", TYPE_SRV, 1, "e1.test:8009"}, {"e1.test", TYPE_A, 1, "10.2.0.1"},
                                 {"e2.test", TYPE_CNAME, 1, "real.test"},          {"real.test", TYPE_AAAA, 1, "fd00::2"}};
  static const record then[] = {
    {"_http._tcp.test", TYPE_SRV, 1, "e1.test:8001"}, {"_http._tcp.test", TYPE_SRV, 1, "e3.test:8003"},
                                {"_http._tcp.test", TYPE_SRV, 1, "nobody.test:8004"}, {"e1.test", TYPE_A, 1, "10.2.0.1"},
                                {"e3.test", TYPE_A, 1, "10.2.0.3"}};
  rig r;
  (void)state;
  open_named(&r, "_http._tcp.test", 1);
  zone(&r, first, 6);
  start(&r);
  expect(&r, "10.2.0.1:8001 10.2.0.1:8009 fd00::2:8002");
  zone(&r, then, 5);
  expect(&r, "10.2.0.1:8001 10.2.0.1:8009 fd00::2:8002 10.2.0.3:8003");
  r.log[0] = 0;
  r.names.behaviour = FAILING;
  expect_log(&r, "what it had stays");
  expect(&r, "10.2.0.1:8001 10.2.0.1:8009 fd00::2:8002 10.2.0.3:8003");
  close_rig(&r);
}

/* A host name in a pool file stands for one endpoint, at one address. */
static void hosts_in_a_file(void **state)
{
  static const record moved[] = {{"pool.test", TYPE_A, 1, "10.1.0.2"}, {"pool.test", TYPE_A, 1, "10.1.0.0"}};
  static const record gone[] = {{"pool.test", TYPE_A, 1, "10.1.0.7"}};
  rig r;
  llmd_endpoint_id id;
  (void)state;
  open_rig(&r);
  zone(&r, both + 1, 2);
  write_file(r.path, "endpoints:\n- {name: a, address: pool.test, port: 80}\n- {name: n, address: none.test, port: 80}\n"
                     "- {name: c, address: 10.0.0.3, port: 80}\n");
  r.service.endpoints_file = r.path;
  start(&r);
  expect(&r, "10.1.0.2:80 10.0.0.3:80");
  id = find(&r, "default/a");
  zone(&r, moved, 2); /* others came, but its own is still among them */
  llmd_discovery_refresh(r.d);
  expect_questions(&r, 4);
  engine_pass(&r.loop, 150);
  expect(&r, "10.1.0.2:80 10.0.0.3:80");
  assert_int_equal(find(&r, "default/a"), id);
  zone(&r, gone, 1);
  llmd_discovery_refresh(r.d);
  expect(&r, "10.1.0.7:80 10.0.0.3:80");
  assert_int_equal(find(&r, "default/a"), find(&r, "10.1.0.7:80"));
  replace_file(&r, ONE);
  expect(&r, "10.0.0.1:80");
  close_rig(&r);
}

static void it_may_stop_while_asking(void **state)
{
  rig r;
  (void)state;
  open_named(&r, "pool.test", 0);
  r.names.behaviour = SILENT;
  start(&r);
  expect_questions(&r, 1);
  close_rig(&r);
}

static void bad_servers_are_refused(void **state)
{
  llmd_err err = LLMD_ERR_INIT;
  rig r;
  (void)state;
  open_rig(&r);
  r.service.dns_servers = "not a server";
  assert_true(begin(&r, &err) < 0);
  assert_true(err.text[0] != 0);
  close_rig(&r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_file_is_followed),
      cmocka_unit_test(a_busy_folder_is_not_the_file),
      cmocka_unit_test(links_are_followed),
      cmocka_unit_test(far_away_files_are_looked_at),
      cmocka_unit_test(a_bad_file_changes_nothing),
      cmocka_unit_test(a_file_may_come_later),
      cmocka_unit_test(a_successor_keeps_the_ids),
      cmocka_unit_test(text_of_the_service),
      cmocka_unit_test(without_sources_nothing_is_touched),
      cmocka_unit_test(addresses_of_a_name),
      cmocka_unit_test(failing_names_keep_what_they_had),
      cmocka_unit_test(half_a_failure),
      cmocka_unit_test(truncated_answers_come_by_tcp),
      cmocka_unit_test(nobodys_addresses_are_left_out),
      cmocka_unit_test(a_name_that_comes_later),
      cmocka_unit_test(srv_says_host_and_port),
      cmocka_unit_test(hosts_in_a_file),
      cmocka_unit_test(it_may_stop_while_asking),
      cmocka_unit_test(bad_servers_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
