/* Prompts become tokens: asked once for all, filed for all; renderers of every kind; agents that go and come back. */
#include "rig.h"

#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- the good case ----------------------------------------------------------------------------------------------- */

static void a_prompt_is_rendered_and_filed(void **state)
{
  static const char chat[] = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
  rig r;
  asked *a;
  (void)state;
  rig_open(&r, 1, render_well);
  assert_int_equal(rig_decides(&r, COMPLETIONS, rig_prompt("one")), LLMD_NEED_TOKENS);
  a = rig_ask(&r, COMPLETIONS, rig_prompt("one"), 30000);
  rig_wait(&r, a);
  assert_int_equal(a->rc, 0);
  assert_int_equal(a->n, strlen(rig_prompt("one")));
  assert_int_equal(a->ids[0], 1);
  assert_int_equal(a->ids[15], 16);
  assert_non_null(strstr(r.e[0].last, "POST /v1/completions/render HTTP/1.1\r\n"));
  assert_non_null(strstr(r.e[0].last, rig_prompt("one")));
  assert_int_equal(rig_decides(&r, COMPLETIONS, rig_prompt("one")), LLMD_ROUTED);
  assert_int_equal(rig_decides(&r, COMPLETIONS, rig_prompt("two")), LLMD_NEED_TOKENS);
  assert_int_equal(rig_get(&r, CHAT, chat), 0);
  assert_non_null(strstr(r.e[0].last, "POST /v1/chat/completions/render HTTP/1.1\r\n"));
  assert_int_equal(rig_decides(&r, CHAT, chat), LLMD_ROUTED);
  rig_close(&r);
}

static int held(void *ud)
{
  return ((rig *)ud)->n_held > 0;
}

static void who_asks_the_same_joins(void **state)
{
  rig r;
  asked *a[5];
  llmd_tokens_stats s;
  uint64_t joined;
  (void)state;
  rig_open(&r, 1, render_later);
  joined = rig_stats(&r).joined;
  for (int i = 0; i < 5; i++) {
    char body[200];
    snprintf(body, sizeof body, "{\"model\":\"m\",\"max_tokens\":%d,\"prompt\":\"same\"}", i); /* sampled differently */
    a[i] = rig_ask(&r, COMPLETIONS, body, 30000);
  }
  engine_until(&r.loop, held, &r, "the renderer is asked");
  while (rig_stats(&r).joined < joined + 4)
    uv_run(&r.loop, UV_RUN_NOWAIT);
  assert_int_equal(rig_requests(&r), 1);
  caller_answer(r.held[0], OK, "{\"tokens\":[7,8]}", 16);
  for (int i = 0; i < 5; i++) {
    rig_wait(&r, a[i]);
    assert_int_equal(a[i]->rc, 0);
    assert_int_equal(a[i]->n, 2);
    assert_int_equal(a[i]->ids[1], 8);
  }
  s = rig_stats(&r);
  assert_int_equal(s.rendered, 1);
  assert_int_equal(s.waiting, 0);
  assert_int_equal(s.under_way, 0);
  rig_close(&r);
}

static void in_turn(void **state)
{
  char text[16];
  rig r;
  (void)state;
  rig_open(&r, 3, render_well);
  for (int i = 0; i < 6; i++) {
    snprintf(text, sizeof text, "p%d", i);
    assert_int_equal(rig_get(&r, COMPLETIONS, rig_prompt(text)), 0);
  }
  for (int i = 0; i < 3; i++)
    assert_int_equal(r.e[i].requests, 2);
  rig_close(&r);
}

static void what_must_not_go_out_does_not(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 1, render_well);
  assert_int_equal(rig_get(&r, COMPLETIONS, "{\"model\":\"m\",\"prompt\":\"x\",\"kv_transfer_params\":{\"remote_host\":"
                                            "\"10.0.0.1\"},\"max_tokens\":4}"), 0);
  assert_null(strstr(r.e[0].last, "kv_transfer"));
  assert_null(strstr(r.e[0].last, "10.0.0.1"));
  assert_non_null(strstr(r.e[0].last, "\"max_tokens\":4}"));
  rig_close(&r);
}

static void no_prompt_of_text(void **state)
{
  static const char *const bodies[] = {"", "{", "{\"model\":\"m\"}", "{\"model\":\"m\",\"prompt\":[1,2]}",
                                       "{\"model\":\"m\",\"prompt\":[\"a\",\"b\"]}", "[]", "\xff"};
  rig r;
  (void)state;
  rig_open(&r, 1, render_well);
  for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
    assert_int_equal(rig_get(&r, COMPLETIONS, bodies[i]), LLMD_E_NONE);
  assert_int_equal(rig_get(&r, "/v1/embeddings", "{\"model\":\"m\",\"input\":\"x\"}"), LLMD_E_NONE);
  assert_int_equal(rig_get(&r, "", rig_prompt("x")), LLMD_E_NONE);
  assert_int_equal(rig_requests(&r), 0);
  rig_close(&r);
}

/* ---- images ------------------------------------------------------------------------------------------------------ */

#define IMAGE                                                                                                         \
  "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":"     \
  "\"data:image/png;base64,AAAA\"}}]}]}"

static void render_image(caller *c, const char *request, size_t len)
{
  static const char named[] = "{\"token_ids\":[1,9,9,2],\"features\":{\"mm_hashes\":{\"image\":[\"abc\"]},"
                              "\"mm_placeholders\":{\"image\":[{\"offset\":1,\"length\":2}]}}}";
  static const char nameless[] = "{\"tokens\":[1,9,2]}";
  (void)len;
  if (strncmp(request, "POST /v1/chat", 13) == 0)
    caller_answer(c, OK, named, sizeof named - 1);
  else
    caller_answer(c, OK, nameless, sizeof nameless - 1);
}

static void forbid_render(caller *c, const char *request, size_t len)
{
  static const char body[] = "{\"error\":{\"message\":\"Scale-out endpoints are disabled.\",\"type\":\"PermissionDenied"
                             "Error\",\"param\":null,\"code\":403}}";
  if (strncmp(request, "POST /tokenize ", 15) == 0)
    render_well(c, request, len);
  else
    caller_answer(c, "HTTP/1.1 403 Forbidden\r\n", body, sizeof body - 1);
}

static void images_have_their_names(void **state)
{
  rig r;
  asked *a;
  (void)state;
  rig_open(&r, 1, render_image);
  a = rig_ask(&r, CHAT, IMAGE, 30000);
  rig_wait(&r, a);
  assert_int_equal(a->rc, 0);
  assert_int_equal(a->nf, 1);
  assert_int_equal(a->feature[0].offset, 1);
  assert_int_equal(a->feature[0].length, 2);
  assert_string_equal(a->name[0], "abc");
  rig_close(&r);
  rig_open(&r, 1, forbid_render); /* /tokenize names no images: better no tokens than wrong ones */
  assert_int_equal(rig_get(&r, CHAT, IMAGE), LLMD_E_NONE);
  assert_int_equal(rig_decides(&r, CHAT, IMAGE), LLMD_NEED_TOKENS);
  rig_close(&r);
}

/* ---- renderers that are something else --------------------------------------------------------------------------- */

static void tokenize_where_there_is_no_render(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 1, forbid_render);
  assert_int_equal(rig_get(&r, COMPLETIONS, rig_prompt("one")), 0);
  assert_int_equal(rig_requests(&r), 2);
  assert_int_equal(rig_get(&r, COMPLETIONS, rig_prompt("two")), 0); /* it is remembered, */
  assert_int_equal(rig_requests(&r), 3);
  assert_int_equal(rig_get(&r, CHAT, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}"), 0);
  assert_int_equal(rig_requests(&r), 5); /* for each of the two */
  rig_close(&r);
}

static void no_such_page(caller *c, const char *request, size_t len)
{
  (void)request;
  (void)len;
  caller_answer(c, "HTTP/1.1 404 Not Found\r\n", "{\"detail\":\"Not Found\"}", 22);
}

static void no_such_model(caller *c, const char *request, size_t len)
{
  static const char body[] = "{\"error\":{\"message\":\"The model `nope` does not exist.\",\"type\":\"NotFound\"}}";
  (void)request;
  (void)len;
  caller_answer(c, "HTTP/1.1 404 Not Found\r\n", body, sizeof body - 1);
}

static void neither_door(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 1, no_such_page);
  assert_int_equal(rig_get(&r, COMPLETIONS, rig_prompt("one")), LLMD_E_NONE);
  assert_int_equal(rig_requests(&r), 2);
  assert_int_equal(rig_get(&r, COMPLETIONS, rig_prompt("two")), LLMD_E_NONE);
  assert_int_equal(rig_requests(&r), 2);
  rig_close(&r);
}

static int asked_again(void *ud)
{
  rig *r = ud;
  assert_int_equal(rig_get(r, COMPLETIONS, rig_prompt("one")), LLMD_E_NONE);
  return rig_requests(r) == 3;
}

static void a_refused_prompt_is_not_asked_about_for_a_second(void **state)
{
  uint64_t began = uv_hrtime();
  rig r;
  (void)state;
  rig_open(&r, 1, no_such_model);
  assert_int_equal(rig_get(&r, COMPLETIONS, rig_prompt("one")), LLMD_E_NONE);
  assert_int_equal(rig_get(&r, COMPLETIONS, rig_prompt("two")), LLMD_E_NONE); /* others are */
  assert_int_equal(rig_requests(&r), 2);
  engine_until(&r.loop, asked_again, &r, "it is asked about again");
  assert_true(uv_hrtime() - began >= UINT64_C(1000000000));
  rig_close(&r);
}

static const char *lie;
static size_t lie_len;

static void render_a_lie(caller *c, const char *request, size_t len)
{
  (void)request;
  (void)len;
  caller_answer(c, OK, lie, lie_len);
}

static void lies_are_no_tokens(void **state)
{
  static const char *const lies[] = {"", "{}", "null", "[]", "{\"tokens\":[1.5]}", "{\"tokens\":[-1]}",
                                     "{\"token_ids\":[4294967296]}", "{\"tokens\":[]}", "<html><body>1</body></html>",
                                     "{\"tokens\":[1,2", "{\"tokens\":{\"1\":2}}"};
  const size_t large = 13u << 20;
  char *text = malloc(large);
  rig r;
  (void)state;
  assert_non_null(text);
  for (size_t i = 0; i <= sizeof lies / sizeof *lies; i++) {
    lie = i < sizeof lies / sizeof *lies ? lies[i] : text;
    lie_len = lie == text ? large : strlen(lie);
    if (lie == text)
      for (size_t k = 0; k < large; k++)
        text[k] = k < 11 ? "{\"tokens\":["[k] : k & 1 ? '1' : ',';
    rig_open(&r, 1, render_a_lie);
    assert_int_equal(rig_get(&r, COMPLETIONS, rig_prompt("x")), LLMD_E_NONE);
    assert_int_equal(rig_decides(&r, COMPLETIONS, rig_prompt("x")), LLMD_NEED_TOKENS);
    rig_close(&r);
  }
  free(text);
}

static void hang_up_on(caller *c, const char *request, size_t len)
{
  (void)request;
  (void)len;
  caller_reset(c);
}

static int works_again(void *ud)
{
  rig *r = ud;
  return rig_get(r, COMPLETIONS, rig_prompt("back")) == 0;
}

static void a_dead_renderer_slows_nobody(void **state)
{
  uint64_t began = uv_hrtime();
  rig r;
  unsigned seen;
  (void)state;
  rig_open(&r, 1, hang_up_on);
  assert_int_equal(rig_get(&r, COMPLETIONS, rig_prompt("one")), LLMD_E_NONE);
  seen = r.e[0].connections;
  for (int i = 0; i < 20; i++)
    assert_int_equal(rig_get(&r, COMPLETIONS, rig_prompt(i & 1 ? "two" : "three")), LLMD_E_NONE);
  assert_true(r.e[0].connections <= seen + 2 * ((uv_hrtime() - began) / 1000000000u)); /* once a second, it may be */
  r.e[0].on_request = render_well;
  engine_until(&r.loop, works_again, &r, "it is asked again");
  rig_close(&r);
}

static void another_one_is_asked(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 3, render_well);
  r.e[0].on_request = hang_up_on;
  r.e[1].on_request = render_a_lie;
  lie = "{}";
  lie_len = 2;
  for (int i = 0; i < 5; i++) {
    char text[16];
    snprintf(text, sizeof text, "p%d", i);
    assert_int_equal(rig_get(&r, COMPLETIONS, rig_prompt(text)), 0);
  }
  assert_true(r.e[2].requests >= 5);
  rig_close(&r);
}

static void one_that_the_service_names(void **state)
{
  static const char *const bad[] = {"https://127.0.0.1:80", "http://example.org:80", "http://127.0.0.1:0",
                                    "http://127.0.0.1:99999", "http://127.0.0.1:80x", "127.0.0.1:80", "http://",
                                    "http://[::1:80"};
  llmd_feeder f;
  llmd_tokens *t;
  rig r;
  (void)state;
  rig_open(&r, 1, render_well);
  rig_stop(&r);
  snprintf(r.url, sizeof r.url, "http://localhost:%u/base/", r.e[0].port);
  r.service.tokens.url = r.url;
  rig_start(&r);
  rig_connect(&r);
  assert_int_equal(rig_get(&r, COMPLETIONS, rig_prompt("one")), 0);
  assert_non_null(strstr(r.e[0].last, "POST /base/v1/completions/render HTTP/1.1\r\n"));
  rig_stop(&r);
  f = (llmd_feeder){.size = sizeof f, .loop = &r.loop, .pool = r.pool, .service = &r.service};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    llmd_err err = LLMD_ERR_INIT;
    r.service.tokens.url = bad[i];
    if (llmd_tokens_start(&f, &t, &err) >= 0)
      fail_msg("%s is taken", bad[i]);
    assert_string_equal(err.path, "tokens.url");
  }
  rig_close(&r);
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

static int is_filed(void *ud)
{
  return rig_decides(ud, COMPLETIONS, rig_prompt("slow")) == LLMD_ROUTED;
}

static int is_refused_at_once(void *ud)
{
  rig *r = ud;
  unsigned n = rig_requests(r);
  asked *a = rig_ask(r, COMPLETIONS, rig_prompt("another"), 100);
  rig_wait(r, a);
  return a->rc == LLMD_E_NONE && rig_requests(r) == n;
}

static void who_waits_too_long_goes_without(void **state)
{
  rig r;
  asked *a;
  (void)state;
  rig_open(&r, 1, render_later);
  a = rig_ask(&r, COMPLETIONS, rig_prompt("slow"), 20);
  rig_wait(&r, a);
  assert_int_equal(a->rc, LLMD_E_TIMEOUT);
  engine_until(&r.loop, held, &r, "the renderer is asked");
  engine_until(&r.loop, is_refused_at_once, &r, "a renderer that says nothing is not asked more"); /* a second */
  for (unsigned i = 0; i < r.n_held; i++)
    caller_answer(r.held[i], OK, "{\"tokens\":[7,8]}", 16);
  engine_until(&r.loop, is_filed, &r, "what comes late is filed");
  rig_close(&r);
}

static void a_render_has_its_time(void **state)
{
  rig r;
  asked *a;
  (void)state;
  rig_open(&r, 1, render_later);
  rig_stop(&r);
  r.service.tokens.timeout_ms = 50;
  rig_start(&r);
  rig_connect(&r);
  a = rig_ask(&r, COMPLETIONS, rig_prompt("slow"), 30000);
  rig_wait(&r, a);
  assert_int_equal(a->rc, LLMD_E_NONE);
  rig_close(&r);
}

static void cancelled_ones_are_not_told(void **state)
{
  rig r;
  asked *a, *b;
  (void)state;
  rig_open(&r, 1, render_later);
  a = rig_ask(&r, COMPLETIONS, rig_prompt("one"), 20);
  b = rig_ask(&r, COMPLETIONS, rig_prompt("one"), 30000);
  llmd_token_client_cancel(r.client, a->number);
  llmd_token_client_cancel(r.client, a->number);
  llmd_token_client_cancel(r.client, 0);
  llmd_token_client_cancel(r.client, UINT64_MAX);
  engine_until(&r.loop, held, &r, "the renderer is asked");
  caller_answer(r.held[0], OK, "{\"tokens\":[7,8]}", 16);
  rig_wait(&r, b);
  assert_int_equal(b->rc, 0);
  assert_int_equal(a->told, 0);
  rig_close(&r);
}

/* ---- agents that go and come back -------------------------------------------------------------------------------- */

static void an_agent_goes_and_comes_back(void **state)
{
  rig r;
  asked *a;
  (void)state;
  rig_open(&r, 1, render_later);
  for (int i = 0; i < 3; i++) {
    r.e[0].on_request = render_later;
    r.n_held = 0;
    a = rig_ask(&r, COMPLETIONS, rig_prompt(i ? "one" : "two"), 30000);
    engine_until(&r.loop, held, &r, "the renderer is asked");
    rig_stop(&r);
    rig_wait(&r, a);
    assert_int_equal(a->rc, LLMD_E_CLOSED);
    assert_int_equal(llmd_token_client_ask(r.client, "/", 1, "", 0, 1000, NULL, NULL, NULL), LLMD_E_INVALID);
    assert_int_equal(access(r.path, F_OK), -1);
    r.e[0].on_request = render_well;
    rig_start(&r);
    rig_connect(&r);
    assert_int_equal(rig_get(&r, COMPLETIONS, rig_prompt("again")), 0);
  }
  rig_close(&r);
}

static void count_told(void *ud, int rc, const uint32_t *ids, size_t n, const llmd_feature *f, size_t nf)
{
  (void)rc;
  (void)ids;
  (void)n;
  (void)f;
  (void)nf;
  ++*(int *)ud;
}

static void on_done(void *ud)
{
  *(int *)ud = 1;
}

static int is_done(void *ud)
{
  return *(int *)ud;
}

static void without_an_agent(void **state)
{
  uv_loop_t loop;
  llmd_token_client *c = NULL;
  int told = 0, done = 0;
  char path[64], longer[200];
  (void)state;
  assert_int_equal(uv_loop_init(&loop), 0);
  snprintf(path, sizeof path, "/tmp/llmd-nobody-%d", (int)getpid());
  memset(longer, 'x', sizeof longer);
  longer[sizeof longer - 1] = 0;
  assert_int_equal(llmd_token_client_open(&loop, longer, &c), LLMD_E_INVALID);
  assert_int_equal(llmd_token_client_open(&loop, "", &c), LLMD_E_INVALID);
  assert_int_equal(llmd_token_client_open(&loop, path, &c), 0);
  for (int i = 0; i < 20; i++) {
    assert_int_equal(llmd_token_client_ask(c, "/", 1, "{}", 2, 1000, count_told, &told, NULL), LLMD_E_CLOSED);
    uv_run(&loop, UV_RUN_NOWAIT);
  }
  llmd_token_client_close(c, on_done, &done);
  engine_until(&loop, is_done, &done, "the client closes");
  assert_int_equal(told, 0);
  llmd_token_client_close(NULL, on_done, &done);
  engine_loop_end(&loop);
}

/* Closed from within an answer. */
typedef struct leaving {
  llmd_token_client *c;
  int told, done;
} leaving;

static void leave(void *ud, int rc, const uint32_t *ids, size_t n, const llmd_feature *f, size_t nf)
{
  leaving *l = ud;
  (void)rc;
  (void)ids;
  (void)n;
  (void)f;
  (void)nf;
  if (!l->told++)
    llmd_token_client_close(l->c, on_done, &l->done);
}

static int asked_to_leave(void *ud)
{
  leaving *l = ud;
  return !llmd_token_client_ask(l->c, "/", 1, "{}", 2, 30000, leave, l, NULL);
}

static void closing_from_within(void **state)
{
  leaving l = {0};
  rig r;
  (void)state;
  rig_open(&r, 1, render_well);
  assert_int_equal(llmd_token_client_open(&r.loop, r.path, &l.c), 0);
  engine_until(&r.loop, asked_to_leave, &l, "the second client connects");
  for (int i = 0; i < 10; i++)
    assert_int_equal(llmd_token_client_ask(l.c, "/", 1, "{}", 2, 30000, leave, &l, NULL), 0);
  engine_until(&r.loop, is_done, &l.done, "the second client closes");
  assert_int_equal(l.told, 1);
  rig_close(&r);
}

/* ---- the socket's file ------------------------------------------------------------------------------------------- */

static void stale(const char *path)
{
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  strcpy(a.sun_path, path);
  assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
  close(fd);
}

static void the_file(void **state)
{
  llmd_feeder f;
  llmd_tokens *t = NULL;
  struct stat s;
  FILE *plain;
  rig r;
  (void)state;
  rig_open(&r, 1, render_well);
  f = (llmd_feeder){.size = sizeof f, .loop = &r.loop, .pool = r.pool, .service = &r.service};
  assert_int_equal(lstat(r.path, &s), 0);
  assert_int_equal(s.st_mode & 07777, 0600);
  assert_int_equal(llmd_tokens_start(&f, &t, NULL), LLMD_E_BUSY); /* somebody answers there */
  assert_int_equal(rig_get(&r, COMPLETIONS, rig_prompt("one")), 0);
  rig_stop(&r);
  stale(r.path);
  r.service.region_group = 1;
  rig_start(&r);
  assert_int_equal(lstat(r.path, &s), 0);
  assert_int_equal(s.st_mode & 07777, 0660);
  rig_connect(&r);
  assert_int_equal(rig_get(&r, COMPLETIONS, rig_prompt("two")), 0);
  rig_stop(&r);
  plain = fopen(r.path, "w");
  assert_non_null(plain);
  fclose(plain);
  assert_int_equal(llmd_tokens_start(&f, &t, NULL), LLMD_E_DENIED);
  assert_int_equal(unlink(r.path), 0);
  assert_int_equal(symlink("/nowhere", r.path), 0);
  assert_int_equal(llmd_tokens_start(&f, &t, NULL), LLMD_E_DENIED);
  assert_int_equal(unlink(r.path), 0);
  assert_int_equal(chmod(r.folder, 0777), 0); /* anybody could put another socket there */
  assert_int_equal(llmd_tokens_start(&f, &t, NULL), LLMD_E_DENIED);
  assert_int_equal(chmod(r.folder, 01777), 0);
  rig_start(&r);
  unlink(r.path);
  stale(r.path); /* somebody else's by now: it stays */
  rig_stop(&r);
  assert_int_equal(unlink(r.path), 0);
  rig_close(&r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_prompt_is_rendered_and_filed),
      cmocka_unit_test(who_asks_the_same_joins),
      cmocka_unit_test(in_turn),
      cmocka_unit_test(what_must_not_go_out_does_not),
      cmocka_unit_test(no_prompt_of_text),
      cmocka_unit_test(images_have_their_names),
      cmocka_unit_test(tokenize_where_there_is_no_render),
      cmocka_unit_test(neither_door),
      cmocka_unit_test(a_refused_prompt_is_not_asked_about_for_a_second),
      cmocka_unit_test(lies_are_no_tokens),
      cmocka_unit_test(a_dead_renderer_slows_nobody),
      cmocka_unit_test(another_one_is_asked),
      cmocka_unit_test(one_that_the_service_names),
      cmocka_unit_test(who_waits_too_long_goes_without),
      cmocka_unit_test(a_render_has_its_time),
      cmocka_unit_test(cancelled_ones_are_not_told),
      cmocka_unit_test(an_agent_goes_and_comes_back),
      cmocka_unit_test(without_an_agent),
      cmocka_unit_test(closing_from_within),
      cmocka_unit_test(the_file),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
