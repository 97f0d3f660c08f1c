/* Tokens of prompts that are text: who is asked for them, when, under which name they are filed, and what a decision
 * does with what it finds, or does not. */
#include "small_rig.h"

#include "sched/scheduler.h"

#define TOKENS(type) "- type: " type "\n  parameters: {modelName: m, vllm: {url: \"http://localhost:8000\"}}\n"
#define REST                                                                                                           \
  "- type: precise-prefix-cache-producer\n  parameters: {speculativeIndexing: true}\n- type: prefix-cache-scorer\n"    \
  "  parameters: {prefixMatchInfoProducerName: precise-prefix-cache-producer}\n- type: max-score-picker\n"
#define WANTS HEAD TOKENS("token-producer") REST
#define CHAT "/v1/chat/completions"
#define COMPLETIONS "/v1/completions"
#define TEXT "{\"model\":\"m\",\"prompt\":\"some text\"}"

static void open_wanting(rig *r, const char *config)
{
  llmd_scheduler_options so = {.size = sizeof so, .explain = 1};
  rig_open(r, 4, config, &so, NULL);
}

static void feed(rig *r, const char *path, const char *body, uint32_t flags)
{
  llmd_request_reset(r->request);
  assert_int_equal(llmd_request_line(r->request, "POST", 4, path, strlen(path)), 0);
  llmd_request_feed(r->request, body, strlen(body), LLMD_FEED_FINAL | flags);
}

static uint32_t status(rig *r, const char *path, const char *body, uint32_t flags)
{
  feed(r, path, body, flags);
  return rig_decide(r, 1);
}

static const uint32_t *ids(void)
{
  static uint32_t all[2000];
  for (uint32_t i = 0; i < 2000; i++)
    all[i] = 100 + i;
  return all;
}

static llmd_key key_of(const rig *r)
{
  llmd_key key;
  assert_int_equal(llmd_request_token_key(r->request, &key), 0);
  return key;
}

/* Files n ids for the request that was just asked about. */
static void file(rig *r, size_t n)
{
  llmd_key key = key_of(r);
  assert_int_equal(llmd_pool_tokens_put(r->pool, &key, ids(), n, NULL, 0), 0);
}

/* Endpoint i has the first n of ids(), in blocks of 16. */
static void tell(rig *r, uint32_t i, uint32_t n, const llmd_extra *extra, size_t n_extra)
{
  llmd_index *ix = NULL;
  llmd_chain_root root = {.size = sizeof root, .block_tokens = 16};
  llmd_index_row row = {.size = sizeof row, .flags = LLMD_INDEX_FED, .block_tokens = 16};
  llmd_key keys[200];
  llmd_chain c;
  int made;
  assert_int_equal(llmd_pool_index(r->pool, &ix), 0);
  assert_int_equal(llmd_chain_begin(&c, llmd_index_secret(ix), &root), 0);
  made = llmd_chain_extend(&c, llmd_index_secret(ix), ids(), n, extra, n_extra, keys, 200);
  assert_int_equal(llmd_index_store(ix, r->id[i], LLMD_TIER_GPU, NULL, keys, NULL, (uint32_t)made, NULL), made);
  assert_int_equal(llmd_index_describe(ix, r->id[i], &row), 0);
  r->now.mono += SECOND / 10;
}

/* ud: text of 65536 bytes */
static int append_text(void *ud, const char *ptr, size_t len)
{
  char *text = ud;
  size_t at = strlen(text);
  assert_true(at + len < 65536);
  memcpy(text + at, ptr, len);
  text[at + len] = 0;
  return 0;
}

static const char *explained(rig *r)
{
  static char text[65536];
  text[0] = 0;
  assert_int_equal(llmd_explain_json(r->lane, append_text, text), 0);
  return text;
}

static void text_is_asked_about(void **state)
{
  static const struct {
    const char *path, *body;
    uint32_t flags, status;
  } cases[] = {
      {COMPLETIONS, TEXT, 0, LLMD_NEED_TOKENS},
      {COMPLETIONS, "{\"model\":\"m\",\"prompt\":[\"one\"]}", 0, LLMD_NEED_TOKENS},
      {CHAT, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}", 0, LLMD_NEED_TOKENS},
      {CHAT, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":"
             "{\"url\":\"data:,x\"}}]}]}", 0, LLMD_NEED_TOKENS},
      {COMPLETIONS, "{\"model\":\"m\",\"prompt\":[1,2,3]}", 0, LLMD_ROUTED},
      {COMPLETIONS, "{\"model\":\"m\",\"prompt\":[\"one\",\"two\"]}", 0, LLMD_ROUTED},
      {COMPLETIONS, "{\"model\":\"m\"}", 0, LLMD_ROUTED},
      {COMPLETIONS, "", 0, LLMD_ROUTED},
      {COMPLETIONS, "{\"model\":\"m\",\"prompt\":\"so", LLMD_FEED_TRUNCATED, LLMD_ROUTED},
      {COMPLETIONS, "{\"model\":\"m\",\"prompt\":\"so", 0, LLMD_REJECTED},
      {"/v1/messages", "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}", 0, LLMD_ROUTED},
      {"/v1/responses", "{\"model\":\"m\",\"input\":\"hi\"}", 0, LLMD_ROUTED},
      {"/v1/embeddings", "{\"model\":\"m\",\"input\":\"hi\"}", 0, LLMD_ROUTED},
      {"/v1/models", "x", 0, LLMD_ROUTED},
  };
  rig r;
  (void)state;
  open_wanting(&r, WANTS);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    llmd_key key;
    if (status(&r, cases[i].path, cases[i].body, cases[i].flags) != cases[i].status)
      fail_msg("%s %s: %u", cases[i].path, cases[i].body, r.d.status);
    assert_int_equal(llmd_request_token_key(r.request, &key), r.d.status == LLMD_NEED_TOKENS ? 0 : LLMD_E_NONE);
    llmd_report(r.lane, r.d.ticket, LLMD_REPORT_END, NULL, &r.now);
  }
  rig_close(&r);
}

static void only_a_configuration_that_wants_them_asks(void **state)
{
  static const struct {
    const char *config;
    uint32_t status;
  } cases[] = {
      {NULL, LLMD_ROUTED},
      {HEAD REST, LLMD_ROUTED},
      {HEAD "- type: token-producer\n" REST, LLMD_ROUTED},
      {HEAD "- type: token-producer\n  parameters: {estimate: {}}\n" REST, LLMD_ROUTED},
      {HEAD "- type: token-producer\n  parameters: {modelName: m, udsTokenizerConfig: {socketFile: /s}}\n" REST,
       LLMD_ROUTED},
      {HEAD "- type: token-producer\n  parameters: {modelName: m}\n" REST, LLMD_NEED_TOKENS},
      {HEAD TOKENS("tokenizer") REST, LLMD_NEED_TOKENS},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    rig r;
    open_wanting(&r, cases[i].config);
    assert_int_equal(status(&r, COMPLETIONS, TEXT, 0), cases[i].status);
    rig_close(&r);
  }
}

static void asking_changes_nothing(void **state)
{
  rig r;
  char text[8] = "";
  (void)state;
  open_wanting(&r, WANTS);
  for (int i = 0; i < 3; i++)
    assert_int_equal(status(&r, COMPLETIONS, TEXT, 0), LLMD_NEED_TOKENS);
  for (uint32_t i = 0; i < 4; i++)
    assert_int_equal(rig_inflight(&r, i), 0);
  assert_int_equal(r.d.ticket, 0);
  assert_int_equal(llmd_explain_json(r.lane, append_text, text), LLMD_E_NONE);
  assert_int_equal(llmd_commit(r.lane, r.request, &r.d, 0, &r.now), LLMD_E_INVALID);
  rig_close(&r);
}

static void with_ids_it_goes_where_they_are(void **state)
{
  rig r;
  (void)state;
  open_wanting(&r, WANTS);
  tell(&r, 2, 160, NULL, 0);
  assert_int_equal(status(&r, COMPLETIONS, TEXT, 0), LLMD_NEED_TOKENS);
  assert_int_equal(llmd_request_set_tokens(r.request, ids(), 170), 0);
  assert_int_equal(rig_goes_to(&r, 1), 2);
  assert_true(r.d.tokens == 170);
  assert_int_equal(r.d.ladder, 0);
  assert_non_null(strstr(explained(&r), "\"tokens_from\":\"ids\""));
  rig_close(&r);
}

static void without_it_is_decided_by_the_approximate_index(void **state)
{
  rig r;
  (void)state;
  open_wanting(&r, WANTS);
  tell(&r, 2, 160, NULL, 0);
  assert_int_equal(status(&r, COMPLETIONS, TEXT, 0), LLMD_NEED_TOKENS);
  assert_int_equal(llmd_request_no_tokens(r.request), 0);
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  assert_int_equal(r.d.ladder, LLMD_LADDER_NO_INDEX);
  assert_non_null(strstr(explained(&r), "\"tokens_from\":\"estimate\""));
  assert_non_null(strstr(explained(&r), "no-index"));
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED); /* again, say after a failure */
  assert_int_equal(status(&r, COMPLETIONS, TEXT, 0), LLMD_NEED_TOKENS); /* the next request is asked about */
  assert_int_equal(llmd_request_no_tokens(NULL), LLMD_E_INVALID);
  rig_close(&r);
}

static void what_is_filed_is_found(void **state)
{
  llmd_decision other = {.size = sizeof other};
  llmd_lane *lane;
  rig r;
  (void)state;
  open_wanting(&r, WANTS);
  tell(&r, 2, 160, NULL, 0);
  assert_int_equal(status(&r, COMPLETIONS, TEXT, 0), LLMD_NEED_TOKENS);
  file(&r, 170);
  assert_int_equal(rig_goes_to(&r, 1), 2); /* decided again, without being told */
  assert_true(r.d.tokens == 170);
  assert_non_null(strstr(explained(&r), "\"tokens_from\":\"ids\""));
  feed(&r, COMPLETIONS, "{\"prompt\":\"some text\" ,\"temperature\":0.5,\"stream\":true, \"model\":\"m\" }\n", 0);
  assert_int_equal(llmd_lane_create(r.scheduler, 0, &lane), 0);
  assert_int_equal(llmd_decide(lane, r.request, &r.now, 1, &other), 0);
  assert_int_equal(other.status, LLMD_ROUTED);
  assert_true(other.target[0].id == r.id[2] && other.tokens == 170);
  assert_int_equal(status(&r, COMPLETIONS, "{\"model\":\"m\",\"prompt\":\"other text\"}", 0), LLMD_NEED_TOKENS);
  llmd_lane_free(lane);
  rig_close(&r);
}

/* Longer than a lane's room: counted whole. */
static void long_prompts_are_cut(void **state)
{
  llmd_scheduler_options so = {.size = sizeof so, .max_tokens = 64};
  rig r;
  (void)state;
  rig_open(&r, 4, WANTS, &so, NULL);
  tell(&r, 1, 160, NULL, 0);
  assert_int_equal(status(&r, COMPLETIONS, TEXT, 0), LLMD_NEED_TOKENS);
  file(&r, 170);
  assert_int_equal(rig_goes_to(&r, 1), 1);
  assert_true(r.d.tokens == 170);
  assert_true(r.d.target[0].score == 1); /* 4 of 4 blocks */
  rig_close(&r);
}

/* Two images at one place are told apart by what the renderer called them. */
static void features_are_found_too(void **state)
{
  static const char body[] = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\","
                             "\"image_url\":{\"url\":\"data:,%d\"}}]}]}";
  const llmd_feature one = {20, 30, {"one", 3}}, two = {20, 30, {"two", 3}};
  llmd_extra extra[3];
  char text[256];
  llmd_key key;
  rig r;
  (void)state;
  memset(extra, 0, sizeof extra);
  for (uint32_t i = 0; i < 3; i++) {
    extra[i].block = 1 + i;
    extra[i].text = str("two");
  }
  open_wanting(&r, WANTS);
  tell(&r, 3, 160, extra, 3);
  for (int i = 0; i < 2; i++) {
    snprintf(text, sizeof text, body, i);
    assert_int_equal(status(&r, CHAT, text, 0), LLMD_NEED_TOKENS);
    key = key_of(&r);
    assert_int_equal(llmd_pool_tokens_put(r.pool, &key, ids(), 160, i ? &two : &one, 1), 0);
    rig_decide(&r, 1);
    assert_int_equal(r.d.status, LLMD_ROUTED);
    if (i)
      assert_true(r.d.target[0].id == r.id[3] && r.d.target[0].score == 1);
    else
      assert_true(r.d.target[0].score < 0.2);
  }
  rig_close(&r);
}

/* The commit comes when the lane has long been at others: what was found is found again, and promised. */
static void a_late_commit_promises_what_was_found(void **state)
{
  llmd_request *other;
  llmd_decision d = {.size = sizeof d};
  void *room = malloc(llmd_request_size(NULL));
  rig r;
  (void)state;
  open_wanting(&r, WANTS);
  tell(&r, 0, 16, NULL, 0);
  assert_int_equal(status(&r, COMPLETIONS, TEXT, 0), LLMD_NEED_TOKENS);
  file(&r, 160);
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  assert_int_equal(llmd_request_init(room, llmd_request_size(NULL), NULL, &other), 0);
  assert_int_equal(llmd_request_feed(other, "{\"model\":\"m\",\"prompt\":[5,6]}", 28, LLMD_FEED_FINAL), 0);
  assert_int_equal(llmd_decide(r.lane, other, &r.now, 1, &d), 0);
  assert_int_equal(llmd_commit(r.lane, r.request, &r.d, r.id[1], &r.now), 0);
  assert_int_equal(status(&r, COMPLETIONS, TEXT, 0), LLMD_ROUTED);
  tell(&r, 1, 0, NULL, 0);
  assert_int_equal(rig_goes_to(&r, 1), 1);
  free(room);
  rig_close(&r);
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static llmd_key named(rig *r, const char *path, const char *body)
{
  llmd_key key;
  feed(r, path, body, 0);
  assert_int_equal(llmd_pool_token_key(r->pool, r->request, &key), 0);
  return key;
}

static int same(llmd_key a, llmd_key b)
{
  return a.lo == b.lo && a.hi == b.hi;
}

#define M "\"messages\":[{\"role\":\"user\",\"content\":\"a, b\"}]"

static void names_are_of_what_a_renderer_sees(void **state)
{
  static const char *const alike[] = {
      "{\"model\":\"m\"," M "}",
      "{\"model\":\"m\" , " M " } \n",
      "{" M ",\"model\":\"m\"}",
      "{\"stream\":true,\"temperature\":[{\"x\":\"}\"}]," M ",\"max_tokens\":5,\"model\":\"m\",\"user\":\"\\\"\"}",
      "{\"kv_transfer_params\":{\"a\":1},\"model\":\"m\"," M ",\"bootstrap_host\":\"h\",\"mm_x\":1}",
      "{\"model\":\"m\",\"extra_body\":{\"kv_transfer_params\":1},\"stream_options\":null," M "}",
  };
  static const char *const unlike[] = {
      "{\"model\":\"n\"," M "}",
      "{" M "}",
      "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a,b\"}]}",
      "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"name\":\"x\",\"content\":\"a, b\"}]}",
      "{\"model\":\"m\"," M ",\"tools\":[{\"type\":\"function\"}]}",
      "{\"model\":\"m\"," M ",\"chat_template_kwargs\":{\"enable_thinking\":false}}",
      "{\"model\":\"m\"," M ",\"add_generation_prompt\":false}",
      "{\"model\":\"m\"," M ",\"mm_processor_kwargs\":{}}",
      "{\"model\":\"m\"," M "," M "}",
  };
  llmd_key want, got[16];
  rig r;
  (void)state;
  open_wanting(&r, WANTS);
  want = named(&r, CHAT, alike[0]);
  assert_int_equal(status(&r, CHAT, alike[0], 0), LLMD_NEED_TOKENS);
  assert_true(same(key_of(&r), want));
  for (size_t i = 0; i < sizeof alike / sizeof *alike; i++)
    if (!same(named(&r, CHAT, alike[i]), want))
      fail_msg("another name: %s", alike[i]);
  for (size_t i = 0; i < sizeof unlike / sizeof *unlike; i++) {
    got[i] = named(&r, CHAT, unlike[i]);
    for (size_t k = 0; k < i; k++)
      assert_false(same(got[i], got[k]));
    if (same(got[i], want))
      fail_msg("the same name: %s", unlike[i]);
  }
  assert_false(same(named(&r, COMPLETIONS, "{\"prompt\":\"x\"}"), named(&r, CHAT, "{\"prompt\":\"x\"," M "}")));
  rig_close(&r);
}

static void names_do_not_depend_on_pieces_or_edits(void **state)
{
  static const char body[] = "{\"mm_a\":1, \"model\":\"m\" ,\"stream\":true," M ",\"top_p\":1,\"tools\":[ 1 ],"
                             "\"documents\":[{\"a\":\"\\u00e9\"}] , \"kv_transfer_params\":{}}";
  llmd_request_options ro = {.size = sizeof ro, .max_pieces = 512};
  llmd_rewrite_target to = {{"new", 3}, 1, 0};
  llmd_edit e[8];
  llmd_key want, key;
  char edited[512];
  size_t at = 0, n = 0;
  int count;
  rig r;
  (void)state;
  rig_open(&r, 4, WANTS, NULL, &ro);
  assert_int_equal(llmd_pool_rewrite(r.pool, "m", 1, &to, 1), 0);
  assert_int_equal(status(&r, CHAT, body, 0), LLMD_NEED_TOKENS);
  want = key_of(&r);
  assert_int_equal(llmd_request_ask_usage(r.request), 1);
  count = llmd_request_edits(r.request, e, 8);
  assert_int_equal(count, 4);
  for (int i = 0; i < count; i++) {
    n += (size_t)snprintf(edited + n, sizeof edited - n, "%.*s%.*s", (int)(e[i].offset - at), body + at,
                          (int)e[i].text.len, e[i].text.ptr ? e[i].text.ptr : "");
    at = (size_t)(e[i].offset + e[i].removed);
  }
  snprintf(edited + n, sizeof edited - n, "%s", body + at);
  assert_true(same(named(&r, CHAT, edited), want)); /* as whoever renders it gets it */
  llmd_request_reset(r.request);
  assert_int_equal(llmd_request_line(r.request, "POST", 4, CHAT, sizeof CHAT - 1), 0);
  for (size_t i = 0; i < sizeof body - 1; i++) {
    static char apart[sizeof body * 2];
    apart[2 * i] = body[i];
    assert_int_equal(llmd_request_feed(r.request, &apart[2 * i], 1, i + 2 == sizeof body ? LLMD_FEED_FINAL : 0), 0);
  }
  assert_int_equal(rig_decide(&r, 1), LLMD_NEED_TOKENS);
  assert_true(same(key_of(&r), want));
  llmd_request_reset(r.request);
  assert_int_equal(llmd_request_token_key(r.request, &key), LLMD_E_NONE);
  assert_int_equal(llmd_pool_token_key(r.pool, r.request, &key), LLMD_E_STATE);
  feed(&r, COMPLETIONS, "{\"prompt\":[1]}", 0);
  assert_int_equal(llmd_pool_token_key(r.pool, r.request, &key), LLMD_E_NONE);
  rig_close(&r);
}

/* More members than have a place of their own: nothing of them is left out. */
static void many_members_are_all_seen(void **state)
{
  char body[4096];
  llmd_key seen[4];
  rig r;
  (void)state;
  open_wanting(&r, WANTS);
  for (int k = 0; k < 4; k++) {
    size_t n = (size_t)snprintf(body, sizeof body, "{\"prompt\":\"x\"");
    for (int i = 0; i < 60; i++)
      n += (size_t)snprintf(body + n, sizeof body - n, ",\"seed\":%d", i);
    snprintf(body + n, sizeof body - n, ",\"echo\":%d,\"prompt\":\"y%d\"}", k % 2, k / 2);
    seen[k] = named(&r, COMPLETIONS, body);
    for (int i = 0; i < k; i++)
      assert_false(same(seen[i], seen[k]));
  }
  rig_close(&r);
}

/* ---- the cache --------------------------------------------------------------------------------------------------- */

static void asked_for_each_time(uint64_t token_bytes)
{
  llmd_region_options ro = {.size = sizeof ro, .max_endpoints = 8, .max_lanes = 2, .prefix_bytes = 256 << 10,
                            .index_bytes = 512 << 10, .state_bytes = 2 << 20, .token_bytes = token_bytes};
  llmd_pool_options po = {.size = sizeof po, .region = &ro};
  llmd_key key;
  rig r;
  memset(&r, 0, sizeof r);
  r.d.size = sizeof r.d;
  r.now.mono = SECOND;
  assert_int_equal(llmd_pool_open(&po, &r.pool, NULL), 0);
  r.id[0] = rig_add(&r, "10.0.0.1", 1);
  rig_publish(&r);
  r.scheduler = rig_schedule(&r, WANTS, NULL);
  assert_non_null(strstr(r.said, "no room for a cache of tokens"));
  assert_int_equal(llmd_lane_create(r.scheduler, LLMD_LANE_WRITER, &r.lane), 0);
  r.memory = malloc(llmd_request_size(NULL));
  assert_int_equal(llmd_request_init(r.memory, llmd_request_size(NULL), NULL, &r.request), 0);
  assert_int_equal(status(&r, COMPLETIONS, TEXT, 0), LLMD_NEED_TOKENS);
  key = key_of(&r);
  assert_int_equal(llmd_pool_tokens_put(r.pool, &key, ids(), 10, NULL, 0), LLMD_E_FULL);
  assert_int_equal(rig_decide(&r, 1), LLMD_NEED_TOKENS);
  assert_int_equal(llmd_request_set_tokens(r.request, ids(), 10), 0);
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  rig_close(&r);
}

/* The preset, which is more than there is; one that holds nothing; one that no region has. */
static void without_room_they_are_asked_for_each_time(void **state)
{
  static const uint64_t bytes[] = {0, 1, 1024, UINT64_MAX};
  (void)state;
  for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++)
    asked_for_each_time(bytes[i]);
}

static void filing_is_checked(void **state)
{
  llmd_feature f = {0, 1, {"x", 1}}, odd[2] = {{5, 2, {"x", 1}}, {6, 2, {"y", 1}}};
  llmd_key key = {1, 2};
  rig r;
  (void)state;
  open_wanting(&r, WANTS);
  assert_int_equal(llmd_pool_tokens_put(NULL, &key, ids(), 1, NULL, 0), LLMD_E_INVALID);
  assert_int_equal(llmd_pool_tokens_put(r.pool, NULL, ids(), 1, NULL, 0), LLMD_E_INVALID);
  assert_int_equal(llmd_pool_tokens_put(r.pool, &key, NULL, 1, NULL, 0), LLMD_E_INVALID);
  assert_int_equal(llmd_pool_tokens_put(r.pool, &key, ids(), 1, NULL, 1), LLMD_E_INVALID);
  assert_int_equal(llmd_pool_tokens_put(r.pool, &key, ids(), 1, odd, 2), LLMD_E_INVALID);
  odd[1].offset = 7;
  assert_int_equal(llmd_pool_tokens_put(r.pool, &key, ids(), 1, odd, 2), 0);
  odd[1].offset = UINT64_C(1) << 32;
  assert_int_equal(llmd_pool_tokens_put(r.pool, &key, ids(), 1, odd, 2), LLMD_E_INVALID);
  assert_int_equal(llmd_pool_tokens_put(r.pool, &key, ids(), 1, &f, 1), 0);
  assert_int_equal(llmd_pool_tokens_put(r.pool, &key, ids(), 0, NULL, 0), 0);
  assert_int_equal(llmd_pool_forked(r.pool, 77, 0), 0);
  assert_int_equal(llmd_pool_tokens_put(r.pool, &key, ids(), 1, NULL, 0), LLMD_E_DENIED);
  rig_close(&r);
}

static void metrics_count(void **state)
{
  static char page[65536];
  rig r;
  (void)state;
  open_wanting(&r, WANTS);
  status(&r, COMPLETIONS, TEXT, 0);
  file(&r, 100);
  rig_decide(&r, 1);
  rig_decide(&r, 1);
  page[0] = 0;
  assert_int_equal(llmd_metrics_write(r.scheduler, append_text, page), 0);
  assert_non_null(strstr(page, "llmd_tokens_asked_total 1\n"));
  assert_non_null(strstr(page, "llmd_tokens_cached_total 2\n"));
  assert_non_null(strstr(page, "llmd_token_cache_entries 1\n"));
  assert_non_null(strstr(page, "llmd_token_cache_used_bytes 464\n"));
  rig_close(&r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(text_is_asked_about),
      cmocka_unit_test(only_a_configuration_that_wants_them_asks),
      cmocka_unit_test(asking_changes_nothing),
      cmocka_unit_test(with_ids_it_goes_where_they_are),
      cmocka_unit_test(without_it_is_decided_by_the_approximate_index),
      cmocka_unit_test(what_is_filed_is_found),
      cmocka_unit_test(long_prompts_are_cut),
      cmocka_unit_test(features_are_found_too),
      cmocka_unit_test(a_late_commit_promises_what_was_found),
      cmocka_unit_test(names_are_of_what_a_renderer_sees),
      cmocka_unit_test(names_do_not_depend_on_pieces_or_edits),
      cmocka_unit_test(many_members_are_all_seen),
      cmocka_unit_test(without_room_they_are_asked_for_each_time),
      cmocka_unit_test(filing_is_checked),
      cmocka_unit_test(metrics_count),
  };
  cmocka_set_message_output(CM_OUTPUT_TAP);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
