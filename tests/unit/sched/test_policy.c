/* Policies that a loader makes: where text and engine come from, what is refused, and that everything is given back. */
#include "small_rig.h"

#include <sys/stat.h>
#include <unistd.h>

#include "../failing_alloc.h"
#include "toy.h"

static llmd_scheduler_options with_toys(void)
{
  llmd_scheduler_options so = {.size = sizeof so, .explain = 1, .loader_dir = LLMD_TOYS};
  return so;
}

/* What creating a scheduler says; 0 = it was made. */
static int try_config(const char *config, const llmd_scheduler_options *so, llmd_pool *pool, llmd_err *err)
{
  llmd_err fresh = LLMD_ERR_INIT;
  llmd_scheduler *s = NULL;
  int rc;
  *err = fresh;
  rc = llmd_scheduler_create(so, pool, config, strlen(config), &s, err);
  assert_int_equal(rc, err->code);
  assert_int_equal(rc == 0, s != NULL);
  llmd_scheduler_free(s);
  return rc;
}

/* A folder of its own for files of policies. */
typedef struct folder {
  char path[64], file[128];
} folder;

static void folder_open(folder *f)
{
  snprintf(f->path, sizeof f->path, "/tmp/llmd-policy-XXXXXX");
  assert_non_null(mkdtemp(f->path));
  snprintf(f->file, sizeof f->file, "%s/a.toy", f->path);
}

static void folder_write(const folder *f, const char *text)
{
  FILE *o = fopen(f->file, "wb");
  assert_non_null(o);
  assert_int_equal(fputs(text, o) >= 0, 1);
  fclose(o);
}

static void folder_close(const folder *f)
{
  unlink(f->file);
  rmdir(f->path);
}

/* A policy decides, is weighed beside C plugins, and gets its parameters through the table. */
static void is_a_plugin(void **state)
{
  llmd_scheduler_options so = with_toys();
  said config;
  rig r;
  (void)state;
  rig_open(&r, 3, toy_config("read f64 WaitingQueueSize\nscore f64 0"), &so, NULL);
  rig_body(&r, "{\"model\":\"m\",\"prompt\":\"hi\"}");
  assert_int_equal(rig_goes_to(&r, 1), 0);
  assert_true(r.d.target[0].score == 1);
  config.len = 0;
  assert_int_equal(llmd_scheduler_write_config(r.scheduler, said_more, &config), 0);
  assert_non_null(strstr(config.text, "type: toy"));
  assert_int_equal(llmd_report(r.lane, r.d.ticket, LLMD_REPORT_END, NULL, &r.now), 0);
  rig_close(&r);
  rig_open(&r, 3, HEAD "- type: toy\n  parameters: {scale: 0.5, source: \"read f64 WaitingQueueSize\\nscore f64 0\"}\n"
                       "- type: queue-scorer\n- type: max-score-picker\nschedulingProfiles:\n- name: default\n  plugins:\n"
                       "  - {pluginRef: toy, weight: 4}\n  - {pluginRef: queue-scorer, weight: 2}\n"
                       "  - {pluginRef: max-score-picker}\n", &so, NULL);
  rig_body(&r, "{\"model\":\"m\",\"prompt\":\"hi\"}");
  assert_int_equal(rig_goes_to(&r, 1), 0);
  assert_true(r.d.target[0].score == 4 * 0.5 + 2 * 1);
  rig_close(&r);
  toy_balance();
}

static void parameters_are_checked(void **state)
{
  static const struct {
    const char *params, *text;
    int rc;
  } rows[] = {
      {"{scale: 11, source: \"decide\"}", "scale", LLMD_E_RANGE},
      {"{scale: 1}", "either a file or a source", LLMD_E_MISSING},
      {"{file: a.toy, source: \"decide\"}", "either a file or a source", LLMD_E_DUPLICATE},
      {"{file: a.toy}", "no folder of policies", LLMD_E_INVALID},
      {"{file: \"\"}", "either a file or a source", LLMD_E_MISSING},
      {"{file: [a]}", "", LLMD_E_TYPE},
      {"{file: \"a\\0b\"}", "", LLMD_E_INVALID},
      {"{unknown: 1, source: \"decide\"}", "unknown", LLMD_E_UNKNOWN_FIELD},
      {"7", "", LLMD_E_TYPE},
      {"{source: \"decide\\nerror here it is\"}", "here it is", LLMD_E_PLUGIN},
      {"{source: \"nonsense\"}", "not a line of a toy", LLMD_E_SYNTAX},
      {"{source: \"fail load -24 x\"}", "cannot be loaded", LLMD_E_PLUGIN},
      {"{source: \"fail bind -14 x\\nscore try x\"}", "cannot be used", LLMD_E_UNSUPPORTED},
      {"{source: \"read f64 a\"}", "cannot be used", LLMD_E_PLUGIN}, /* it has no verb */
  };
  llmd_scheduler_options so = with_toys();
  llmd_pool *pool = rig_pool();
  llmd_err err;
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char config[512];
    snprintf(config, sizeof config, HEAD "- type: toy\n  parameters: %s\n", rows[i].params);
    if (try_config(config, &so, pool, &err) != rows[i].rc || !strstr(err.text, rows[i].text))
      fail_msg("%s: %d, %s", rows[i].params, err.code, err.text);
    assert_true(err.text[0]);
    toy_balance();
  }
  llmd_pool_close(pool);
}

/* The place in the text, not in the configuration. */
static void errors_have_their_place(void **state)
{
  llmd_scheduler_options so = with_toys();
  llmd_pool *pool = rig_pool();
  llmd_err err;
  folder f;
  (void)state;
  folder_open(&f);
  so.policy_dir = f.path;
  folder_write(&f, "decide\n\nerror no such thing\n");
  assert_int_equal(try_config(toy_file("a.toy"), &so, pool, &err), LLMD_E_PLUGIN);
  assert_int_equal(err.line, 3);
  assert_string_equal(err.path, f.file);
  assert_string_equal(err.text, "no such thing");
  assert_int_equal(try_config(toy_file("b.toy"), &so, pool, &err), LLMD_E_IO);
  assert_non_null(strstr(err.path, "b.toy"));
  /* a text that stands in the configuration: where it stands, and which line of it */
  assert_int_equal(try_config(HEAD "- type: toy\n  name: mine\n  parameters:\n    source: |\n      decide\n\n"
                                   "      error no such thing\n", &so, pool, &err), LLMD_E_PLUGIN);
  assert_string_equal(err.text, "line 3 of the text: no such thing");
  assert_non_null(strstr(err.path, "plugins[0].parameters.source"));
  assert_int_equal(err.line, 7);
  assert_int_equal(err.column, 13);
  assert_int_equal(try_config(HEAD "- type: toy\n  name: mine\n  parameters: {source: \"decide\\nerror oh\"}\n", &so, pool,
                              &err), LLMD_E_PLUGIN);
  assert_int_equal(err.line, 6);
  assert_string_equal(err.text, "line 2 of the text: oh");
  so.policy_dir = "here";
  assert_int_equal(try_config(toy_file("a.toy"), &so, pool, &err), LLMD_E_INVALID);
  assert_non_null(strstr(err.text, "absolute"));
  folder_close(&f);
  llmd_pool_close(pool);
  toy_balance();
}

/* What is missing, and where it was looked for. */
static void no_engine(void **state)
{
  llmd_scheduler_options so = {.size = sizeof so, .loader_dir = "/nowhere/at/all"};
  llmd_pool *pool = rig_pool();
  llmd_err err;
  (void)state;
  assert_int_equal(try_config(HEAD "- type: toy\n  parameters: {file: x}\n", &so, pool, &err), LLMD_E_UNKNOWN_TYPE);
  assert_non_null(strstr(err.text, "llmd-toy.so is not in /nowhere/at/all"));
  assert_int_equal(err.line, 4);
  so.loader_dir = NULL;
  so.module_dir = NULL;
  assert_int_equal(try_config(HEAD "- type: toy\n", &so, pool, &err), LLMD_E_UNKNOWN_TYPE);
  assert_non_null(strstr(err.text, "llmd-toy.so is not in /"));
  assert_int_equal(try_config(HEAD "- type: queue-scorrer\n", &so, pool, &err), LLMD_E_UNKNOWN_TYPE);
  assert_null(strstr(err.text, ".so"));
  llmd_pool_close(pool);
}

/* Nobody else may be able to put an engine there. */
static void engines_of_strangers(void **state)
{
  llmd_scheduler_options so = {.size = sizeof so};
  llmd_pool *pool = rig_pool();
  char path[128];
  llmd_err err;
  folder f;
  (void)state;
  folder_open(&f);
  snprintf(path, sizeof path, "%s/llmd-toy.so", f.path);
  so.loader_dir = f.path;
  assert_int_equal(symlink(LLMD_TOYS "/llmd-toy.so", path), 0);
  assert_int_equal(try_config(toy_config("decide"), &so, pool, &err), LLMD_E_DENIED);
  unlink(path);
  snprintf(f.file, sizeof f.file, "%s", path);
  folder_write(&f, "no object at all");
  assert_int_equal(try_config(toy_config("decide"), &so, pool, &err), LLMD_E_PLUGIN);
  assert_int_equal(chmod(path, 0666), 0);
  assert_int_equal(try_config(toy_config("decide"), &so, pool, &err), LLMD_E_DENIED);
  assert_int_equal(chmod(path, 0644), 0);
  assert_int_equal(chmod(f.path, 0777), 0);
  assert_int_equal(try_config(toy_config("decide"), &so, pool, &err), LLMD_E_DENIED);
  folder_close(&f);
  llmd_pool_close(pool);
}

static int hand_over(void *ud, const llmd_str *file, llmd_str *text)
{
  const char *const *pair = ud; /* file, text */
  if (strlen(pair[0]) != file->len || memcmp(pair[0], file->ptr, file->len))
    return 0;
  *text = str(pair[1]);
  return 1;
}

static const char *text_of(const llmd_scheduler *s, uint64_t *number)
{
  static char text[256];
  llmd_policy_info info = {.size = sizeof info};
  assert_int_equal(llmd_scheduler_policy(s, 0, &info), 0);
  assert_int_equal(llmd_scheduler_policy(s, 1, &info), LLMD_E_NONE);
  snprintf(text, sizeof text, "%.*s", (int)info.text.len, info.text.ptr);
  assert_string_equal(info.type.ptr, "toy");
  assert_string_equal(info.instance.ptr, "policy");
  assert_string_equal(info.file.ptr, "a.toy");
  *number = info.number;
  return text;
}

/* The host's text, else the region's, else the file. */
static void texts_take_turns(void **state)
{
  static const char *pair[] = {"a.toy", "decide\nscore try host\n"};
  llmd_scheduler_options so = with_toys();
  llmd_scheduler *s[3];
  uint64_t number;
  folder f;
  rig r;
  (void)state;
  rig_open(&r, 1, NULL, NULL, NULL);
  folder_open(&f);
  so.policy_dir = f.path;
  folder_write(&f, "decide\nscore try file\n");
  s[0] = rig_schedule(&r, toy_file("a.toy"), &so);
  assert_string_equal(text_of(s[0], &number), "decide\nscore try file\n");
  assert_int_equal(number, 0);
  assert_int_equal(llmd_scheduler_outdated(s[0]), 0);
  assert_int_equal(llmd_pool_put_policy(r.pool, "a.toy", 5, "decide\nscore try region\n", 24, &number), 0);
  assert_int_equal(number, 1);
  assert_int_equal(llmd_scheduler_outdated(s[0]), 1);
  so.policy_dir = NULL; /* nobody needs the file */
  s[1] = rig_schedule(&r, toy_file("a.toy"), &so);
  assert_string_equal(text_of(s[1], &number), "decide\nscore try region\n");
  assert_int_equal(number, 1);
  assert_int_equal(llmd_scheduler_outdated(s[1]), 0);
  so.policy = hand_over;
  so.policy_ud = pair;
  s[2] = rig_schedule(&r, toy_file("a.toy"), &so);
  assert_string_equal(text_of(s[2], &number), "decide\nscore try host\n");
  assert_int_equal(number, 0);
  assert_int_equal(llmd_pool_put_policy(r.pool, "a.toy", 5, "decide\n", 7, NULL), 0);
  assert_int_equal(llmd_scheduler_outdated(s[1]), 1);
  for (int i = 0; i < 3; i++)
    llmd_scheduler_free(s[i]);
  folder_close(&f);
  rig_close(&r);
  toy_balance();
}

static int break_down(void *ud, const llmd_str *file, llmd_str *text)
{
  (void)file;
  *text = (llmd_str){NULL, 0};
  return *(int *)ud;
}

/* A host that cannot give its text is not answered with another one; an empty one is a text. */
static void hosts_fail(void **state)
{
  llmd_scheduler_options so = with_toys();
  int says = LLMD_E_NOMEM;
  llmd_err err;
  folder f;
  rig r;
  (void)state;
  rig_open(&r, 1, NULL, NULL, NULL);
  folder_open(&f);
  folder_write(&f, "decide\n");
  so.policy_dir = f.path;
  so.policy = break_down;
  so.policy_ud = &says;
  assert_int_equal(try_config(toy_file("a.toy"), &so, r.pool, &err), LLMD_E_NOMEM);
  assert_string_equal(err.path, "a.toy");
  says = 1;
  assert_int_equal(try_config(toy_file("a.toy"), &so, r.pool, &err), LLMD_E_PLUGIN); /* it has no verb */
  folder_close(&f);
  rig_close(&r);
  toy_balance();
}

/* A record is of one text: another one makes another configuration of it. */
static void texts_are_part_of_the_identity(void **state)
{
  llmd_scheduler_options so = with_toys();
  static said record;
  llmd_decision d = {.size = sizeof d};
  rig a, b;
  (void)state;
  rig_open(&a, 2, toy_file("/x/a.toy"), &(llmd_scheduler_options){.size = sizeof so, .explain = 1, .loader_dir = LLMD_TOYS,
           .policy = hand_over, .policy_ud = (const char *[]){"/x/a.toy", "score try a\n"}}, NULL);
  rig_open(&b, 2, toy_file("/x/a.toy"), &(llmd_scheduler_options){.size = sizeof so, .explain = 1, .loader_dir = LLMD_TOYS,
           .policy = hand_over, .policy_ud = (const char *[]){"/x/a.toy", "score try b\n"}}, NULL);
  rig_body(&a, "{\"model\":\"m\",\"prompt\":\"hi\"}");
  assert_int_equal(rig_decide(&a, 1), LLMD_ROUTED);
  record.len = 0;
  assert_int_equal(llmd_record_write(a.lane, said_more, &record), 0);
  assert_true(llmd_replay(a.lane, record.text, record.len, &d, NULL) > 0);
  assert_int_equal(llmd_replay(b.lane, record.text, record.len, &d, NULL), LLMD_E_MISMATCH);
  rig_close(&a);
  rig_close(&b);
}

/* One object per lane, closed with it, whatever happens. */
static void objects_of_lanes(void **state)
{
  llmd_scheduler_options so = with_toys();
  llmd_lane *more[2], *none = NULL;
  int opened = toy_count()->opened;
  llmd_scheduler *bad;
  rig r;
  (void)state;
  rig_open(&r, 2, toy_config("score try x"), &so, NULL);
  assert_int_equal(toy_count()->opened, opened + 1);
  for (int i = 0; i < 2; i++)
    assert_int_equal(llmd_lane_create(r.scheduler, 0, &more[i]), 0);
  assert_int_equal(toy_count()->opened, opened + 3);
  /* the first opens, the second fails: the first is closed again */
  bad = rig_schedule(&r, HEAD "- type: toy\n  name: one\n  parameters: {source: \"score try x\"}\n"
                              "- type: toy\n  name: two\n  parameters: {source: \"fail open -1 x\\nscore try x\"}\n", &so);
  assert_int_equal(llmd_lane_create(bad, 0, &none), -1);
  assert_null(none);
  assert_int_equal(llmd_lane_switch(more[0], bad), -1);
  assert_int_equal(toy_count()->opened - toy_count()->closed, 3);
  llmd_scheduler_free(bad);
  for (int i = 0; i < 2; i++)
    llmd_lane_free(more[i]);
  rig_close(&r);
  toy_balance();
}

static void examples_and_eval(void **state)
{
  llmd_scheduler_options so = with_toys();
  llmd_err err = LLMD_ERR_INIT;
  static said s;
  llmd_scheduler *wrong;
  rig r;
  (void)state;
  rig_open(&r, 2, toy_config("score try x\nexample ok\nexample ok"), &so, NULL);
  s.len = 0;
  assert_int_equal(llmd_scheduler_examples(r.scheduler, said_more, &s, &err), 2);
  assert_string_equal(s.text, "an example\nan example\n");
  wrong = rig_schedule(&r, toy_config("score try x\nexample ok\nexample wrong"), &so);
  assert_int_equal(llmd_scheduler_examples(wrong, said_more, &s, &err), LLMD_E_PLUGIN);
  assert_string_equal(err.text, "an example came out differently");
  assert_int_equal(err.line, 4); /* of the configuration: there is no other file */
  assert_string_equal(err.path, "toy");
  llmd_scheduler_free(wrong);
  assert_string_equal(toy_eval(r.lane, "get nothing"), "0 0"); /* also before any decision */
  assert_string_equal(toy_eval(r.lane, "put nothing"), "-19"); /* LLMD_E_STATE: only commit and report write */
  assert_string_equal(toy_eval(r.lane, "text 0"), "");
  assert_int_equal(llmd_lane_eval(r.lane, "nobody", "text 0", 6, said_more, &s, &err), LLMD_E_NONE);
  assert_int_equal(llmd_lane_eval(r.lane, "max-score-picker", "text 0", 6, said_more, &s, &err), LLMD_E_NONE);
  assert_int_equal(llmd_lane_eval(r.lane, "toy", "nonsense", 8, said_more, &s, &err), LLMD_E_SYNTAX);
  rig_close(&r);
  toy_balance();
}

/* Every allocation of a scheduler with policies, and of a lane on it, is refused once. */
static int make_all(const llmd_allocator *a, void *ctx)
{
  static const char config[] = HEAD "- type: toy\n  name: one\n  parameters: {source: \"read label zone\\nscore text 0 eu\"}\n"
                                    "- type: toy\n  name: two\n  parameters: {file: a.toy}\n";
  llmd_scheduler_options so = with_toys();
  llmd_scheduler *s = NULL;
  llmd_lane *lane = NULL;
  llmd_spare *spare = NULL;
  int rc;
  so.alloc = a;
  rc = llmd_scheduler_create(&so, ctx, config, sizeof config - 1, &s, NULL);
  if (!rc)
    rc = llmd_lane_create(s, 0, &lane);
  if (!rc)
    rc = llmd_lane_prepare(lane, s, &spare);
  if (!rc)
    llmd_lane_take(lane, spare);
  llmd_spare_free(spare);
  if (!rc)
    rc = llmd_lane_switch(lane, s);
  llmd_lane_free(lane);
  llmd_scheduler_free(s);
  return rc;
}

static void memory_runs_out(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 2, NULL, NULL, NULL);
  assert_int_equal(llmd_pool_put_policy(r.pool, "a.toy", 5, "score try x\n", 12, NULL), 0);
  fail_each_allocation(make_all, r.pool);
  rig_close(&r);
  toy_balance();
}

static void configurations_of_one_file(void **state)
{
  char buf[1024], small[64], long_name[600];
  int n;
  (void)state;
  n = llmd_policy_config("lua", "a \"b\\c.lua", buf, sizeof buf);
  assert_int_equal(n, strlen(buf));
  assert_non_null(strstr(buf, "file: \"a \\\"b\\\\c.lua\""));
  assert_int_equal(llmd_policy_config("lua", "a.lua", small, sizeof small), LLMD_E_LIMIT);
  assert_int_equal(llmd_policy_config("lua", "a\nb", buf, sizeof buf), LLMD_E_INVALID);
  memset(long_name, 'a', sizeof long_name - 1);
  long_name[sizeof long_name - 1] = 0;
  assert_int_equal(llmd_policy_config("lua", long_name, buf, sizeof buf), LLMD_E_LIMIT);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(is_a_plugin),
      cmocka_unit_test(parameters_are_checked),
      cmocka_unit_test(errors_have_their_place),
      cmocka_unit_test(no_engine),
      cmocka_unit_test(engines_of_strangers),
      cmocka_unit_test(texts_take_turns),
      cmocka_unit_test(hosts_fail),
      cmocka_unit_test(texts_are_part_of_the_identity),
      cmocka_unit_test(objects_of_lanes),
      cmocka_unit_test(examples_and_eval),
      cmocka_unit_test(memory_runs_out),
      cmocka_unit_test(configurations_of_one_file),
  };
  return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
