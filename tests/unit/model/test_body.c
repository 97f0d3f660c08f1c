/* The reader's grammar: what is refused and where, caps, pieces of any size, bodies that are cut off. */
#include "read_request.h"

static void errors_have_a_place(void **state)
{
  static const struct {
    const char *body;
    int error;
    unsigned offset;
  } cases[] = {
      /* structure */
      {"{", LLMD_E_TRUNCATED, 1}, {" \n", LLMD_E_TRUNCATED, 2}, {"{}x", LLMD_E_SYNTAX, 2}, {"{} {}", LLMD_E_SYNTAX, 3},
      {"{,}", LLMD_E_SYNTAX, 1}, {"{\"a\" 1}", LLMD_E_SYNTAX, 5}, {"{\"a\":}", LLMD_E_SYNTAX, 5},
      {"{\"a\":1,}", LLMD_E_SYNTAX, 7}, {"{\"a\":[1,]}", LLMD_E_SYNTAX, 8}, {"{\"a\":[}", LLMD_E_SYNTAX, 6},
      {"{\"a\":1]", LLMD_E_SYNTAX, 6}, {"{\"a\":[1}", LLMD_E_SYNTAX, 7}, {"{a:1}", LLMD_E_SYNTAX, 1},
      {"{`a`:1}", LLMD_E_SYNTAX, 1}, {"{\"a\":1 \"b\":2}", LLMD_E_SYNTAX, 7}, {"{\"a\":1/**/}", LLMD_E_SYNTAX, 6},
      {"\xef\xbb\xbf{}", LLMD_E_SYNTAX, 0}, {"{\"a\":\v1}", LLMD_E_SYNTAX, 5}, {"x", LLMD_E_SYNTAX, 0},
      /* the document must be an object */
      {"[]", LLMD_E_TYPE, 0}, {" \"x\"", LLMD_E_TYPE, 1}, {"1", LLMD_E_TYPE, 0}, {"null", LLMD_E_TYPE, 0},
      /* numbers */
      {"{\"a\":01}", LLMD_E_SYNTAX, 6}, {"{\"a\":-}", LLMD_E_SYNTAX, 6}, {"{\"a\":1.}", LLMD_E_SYNTAX, 7},
      {"{\"a\":.5}", LLMD_E_SYNTAX, 5}, {"{\"a\":1e}", LLMD_E_SYNTAX, 7}, {"{\"a\":1e+}", LLMD_E_SYNTAX, 8},
      {"{\"a\":+1}", LLMD_E_SYNTAX, 5}, {"{\"a\":0x1}", LLMD_E_SYNTAX, 6}, {"{\"a\":1.2.3}", LLMD_E_SYNTAX, 8},
      {"{\"a\":NaN}", LLMD_E_SYNTAX, 5}, {"{\"a\":-Infinity}", LLMD_E_SYNTAX, 6}, {"{\"a\":1e5e}", LLMD_E_SYNTAX, 8},
      /* words */
      {"{\"a\":tru}", LLMD_E_SYNTAX, 8}, {"{\"a\":nulll}", LLMD_E_SYNTAX, 9}, {"{\"a\":True}", LLMD_E_SYNTAX, 5},
      /* strings */
      {"{\"a\":\"\t\"}", LLMD_E_SYNTAX, 6}, {"{\"a\":\"\\x\"}", LLMD_E_SYNTAX, 7},
      {"{\"a\":\"\\u12g4\"}", LLMD_E_SYNTAX, 10},
      {"{\"a\":\"\\u123\"}", LLMD_E_SYNTAX, 11}, {"{\"a\nb\":1}", LLMD_E_SYNTAX, 3},
      {"{\"a\":\"x", LLMD_E_TRUNCATED, 7},
      {"{\"a\":\"\\", LLMD_E_TRUNCATED, 7}, {"{\"a\":\"\xe4\xb8", LLMD_E_TRUNCATED, 8},
      /* UTF-8, at the byte that breaks it */
      {"{\"a\":\"\x80\"}", LLMD_E_UTF8, 6}, {"{\"a\":\"\xc0\xaf\"}", LLMD_E_UTF8, 6},
      {"{\"a\":\"\xe0\x9f\xbf\"}", LLMD_E_UTF8, 7},
      {"{\"a\":\"\xed\xa0\x80\"}", LLMD_E_UTF8, 7}, {"{\"a\":\"\xf4\x90\x80\x80\"}", LLMD_E_UTF8, 7},
      {"{\"a\":\"\xe4\xb8\"}", LLMD_E_UTF8, 8}, {"{\"\xff\":1}", LLMD_E_UTF8, 2},
      {"{\"a\":\"\xf8\x88\x80\x80\x80\"}", LLMD_E_UTF8, 6},
      {"{\"a\":\"\xf0\x9f\x98x\"}", LLMD_E_UTF8, 9},
  };
  llmd_request *r = new_request(NULL);
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    size_t n = strlen(cases[i].body);
    if (read_text(r, CHAT, cases[i].body) != cases[i].error || info_of(r).error_offset != cases[i].offset)
      fail_msg("%s: %s at %llu", cases[i].body, llmd_errname(info_of(r).error),
          (unsigned long long)info_of(r).error_offset);
    llmd_request_reset(r);
    for (size_t k = 0; k < n; k++)
      llmd_request_feed(r, cases[i].body + k, 1, 0);
    assert_int_equal(llmd_request_feed(r, NULL, 0, LLMD_FEED_FINAL), cases[i].error);
    assert_int_equal(info_of(r).error_offset, cases[i].offset);
    assert_int_equal(llmd_request_feed(r, " ", 1, 0), cases[i].error); /* it stays */
    llmd_edit e;
    assert_int_equal(llmd_request_edits(r, &e, 1), cases[i].error);
  }
  free(r);
}

static void valid_bodies_are_accepted(void **state)
{
  static const char *const bodies[] = {
      "{}", " {\t}\r\n", "{\"a\":[],\"b\":{},\"c\":[{}]}", "{\"a\":-0.0e-0,\"b\":0,\"c\":1E400,\"d\":"
          "123456789012345678901234567890}",
      "{\"a\":true,\"b\":false,\"c\":null}", "{\"\":\"\"}",
          "{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uD83D\\uDE00\\ud800\"}",
      "{\"a\":\"\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\""
          "}",
      "{\"a\":1,\"a\":2}",
  };
  llmd_request *r = new_request(NULL);
  (void)state;
  for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
    assert_int_equal(read_text(r, CHAT, bodies[i]), 0);
  free(r);
}

static void depth_is_64(void **state)
{
  char body[512];
  llmd_request *r = new_request(NULL);
  (void)state;
  for (int n = 62; n <= 64; n++) {
    size_t k = (size_t)snprintf(body, sizeof body, "{\"a\":");
    memset(body + k, '[', (size_t)n);
    memset(body + k + n, ']', (size_t)n);
    snprintf(body + k + 2 * n, sizeof body - k - 2 * (size_t)n, "}");
    assert_int_equal(read_text(r, CHAT, body), n < 64 ? 0 : LLMD_E_DEPTH);
  }
  assert_int_equal(info_of(r).error_offset, 5 + 63);
  free(r);
}

static void caps_are_exact(void **state)
{
  const llmd_request_options o = {.size = sizeof o, .max_body = 60, .max_keys = 3, .max_tokens = 4, .max_segments = 3,
                                  .max_edits = 2, .text_bytes = 32, .max_pieces = 2};
  static const struct {
    const char *path, *fits, *breaks;
    unsigned offset;
  } cases[] = {
      {CHAT, "{\"a\":1,\"b\":2,\"c\":3}", "{\"a\":1,\"b\":2,\"c\":3,\"d\":4}", 19},
      {COMPLETIONS, "{\"prompt\":[1,2,3,4]}", "{\"prompt\":[1,2,3,4,5]}", 19},
      {COMPLETIONS, "{\"prompt\":[[1,2],[3,4]]}", "{\"prompt\":[[1,2],[3,4,5]]}", 22},
      {COMPLETIONS, "{\"prompt\":[\"a\",\"b\",\"c\"]}", "{\"prompt\":[\"a\",\"b\",\"c\",\"d\"]}", 24},
      {CHAT, "{\"mm_a\":1,\"x\":1,\"mm_b\":1}", "{\"model\":1,\"model\":2,\"model\":3}", 29},
      {CHAT, "{\"model\":\"123456789 12\"}", "{\"model\":\"123456789 123456789 123456789 1\"}", 10},
      {CHAT, "{\"a\":\"0123456789 0123456789 0123456789 0123456789 01234567\"}",
       "{\"a\":\"0123456789 0123456789 0123456789 0123456789 012345678\"}", 60},
  };
  llmd_request *r = new_request(&o);
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    if (read_text(r, cases[i].path, cases[i].fits))
      fail_msg("%s: refused at %llu", cases[i].fits, (unsigned long long)info_of(r).error_offset);
    if (read_text(r, cases[i].path, cases[i].breaks) != LLMD_E_LIMIT || info_of(r).error_offset != cases[i].offset)
      fail_msg("%s: at %llu", cases[i].breaks, (unsigned long long)info_of(r).error_offset);
  }
  /* the cap on bytes holds for all pieces together */
  char blanks[62];
  memset(blanks, ' ', sizeof blanks);
  llmd_request_reset(r);
  for (int i = 0; i < 62; i++)
    assert_int_equal(llmd_request_feed(r, &blanks[i], 1, LLMD_FEED_KEEP), i < 60 ? 0 : LLMD_E_LIMIT);
  assert_int_equal(info_of(r).error_offset, 60);
  /* pieces that adjoin are one; others count */
  static const char apart[3][4] = {"{", " ", "}"};
  llmd_request_reset(r);
  assert_int_equal(llmd_request_feed(r, apart[0], 1, 0), 0);
  assert_int_equal(llmd_request_feed(r, apart[1], 1, 0), 0);
  assert_int_equal(llmd_request_feed(r, apart[2], 1, 0), LLMD_E_LIMIT);
  assert_int_equal(info_of(r).error_offset, 2);
  free(r);
}

static void an_earlier_error_comes_before_a_cap(void **state)
{
  const llmd_request_options o = {.size = sizeof o, .max_body = 10, .copy_bytes = 6};
  llmd_request *r = new_request(&o);
  (void)state;
  assert_int_equal(llmd_request_feed(r, LEN("{} x            "), 0), LLMD_E_SYNTAX);
  llmd_request_reset(r);
  assert_int_equal(llmd_request_feed(r, LEN("{}              "), 0), LLMD_E_LIMIT);
  assert_int_equal(info_of(r).error_offset, 10);
  llmd_request_reset(r);
  assert_int_equal(llmd_request_feed(r, LEN("{}      "), LLMD_FEED_COPY), LLMD_E_LIMIT);
  assert_int_equal(info_of(r).error_offset, 6);
  free(r);
}

static const char *const samples[][2] = {
    {CHAT, "{ \"messages\": [{\"content\": \"h\\u00e9 \xe4\xb8\xad\\n\\ud83d\\ude00\", \"role\": \"us\\u0065r\"},"
     " {\"role\":\"a\",\"content\":"
           "[{\"text\":\"x\",\"type\":\"text\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"http://i\"}}]}],"
               " \"mod\\u0065l\" : "
           "\"m\\u0000\\uD800x\", \"tools\":[{\"a\":[1.5e3]}], \"kv_transfer_params\" : {\"a\":1} , \"stream\" : true,"
               " \"max_tokens\":1e1}"},
    {COMPLETIONS, "{\"bootstrap_host\":\"h\",\"prompt\":[10, 2,4294967295 , 0],\"cache_salt\":\"s\\\"\",\"priority\":"
     "-12,\"model\":\"a\"}"},
    {COMPLETIONS, "{\"prompt\":[[1,22],[],[ 333 ]],\"model\":\"\"}"},
    {"/v1/messages", "{\"system\":[{\"type\":\"text\",\"text\":\"s\"}],\"messages\":[{\"role\":\"u\",\"content\":"
     "[{\"type\":\"tool_result\","
                     "\"content\":[{\"type\":\"text\",\"text\":\"r\"}]},{\"type\":\"tool_use\",\"id\":\"i\",\"name\":"
                         "\"n\",\"input\":{\"q\":[]}}]}]}"},
    {CHAT, "{\"model\":\"x\",\"a\":tru}"},
    {COMPLETIONS, "{\"prompt\":[1,2,-3]}"},
};

static void assert_same(const llmd_request *a, const llmd_request *b)
{
  llmd_request_info x = info_of(a), y = info_of(b);
  static char spelled[8192];
  assert_int_equal(x.error, y.error);
  assert_int_equal(x.error_offset, y.error_offset);
  assert_int_equal(x.body_bytes, y.body_bytes);
  assert_int_equal(x.flags, y.flags);
  assert_int_equal(x.max_tokens, y.max_tokens);
  assert_int_equal(x.priority, y.priority);
  assert_int_equal(x.prompts, y.prompts);
  assert_int_equal(x.prompt_bytes, y.prompt_bytes);
  assert_int_equal(x.token_ids, y.token_ids);
  assert_int_equal(x.model.len, y.model.len);
  assert_true(!x.model.ptr == !y.model.ptr);
  if (x.model.len)
    assert_memory_equal(x.model.ptr, y.model.ptr, x.model.len);
  assert_int_equal(x.cache_salt.len, y.cache_salt.len);
  strcpy(spelled, spell(a));
  assert_string_equal(spelled, spell(b));
  assert_int_equal(llmd__request_token_count(a), llmd__request_token_count(b));
}

/* The first part, a copy elsewhere in memory of the second, the end. */
static void split_at_every_byte(void **state)
{
  llmd_request *whole = new_request(NULL), *split = new_request(NULL);
  char elsewhere[1024];
  (void)state;
  for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
    const char *body = samples[i][1];
    size_t n = strlen(body);
    read_text(whole, samples[i][0], body);
    for (size_t at = 0; at <= n; at++) {
      memcpy(elsewhere, body + at, n - at);
      llmd_request_reset(split);
      llmd_request_line(split, LEN("POST"), samples[i][0], strlen(samples[i][0]));
      llmd_request_feed(split, body, at, 0);
      llmd_request_feed(split, elsewhere, n - at, LLMD_FEED_FINAL);
      assert_same(whole, split);
    }
  }
  free(whole);
  free(split);
}

static void byte_by_byte_kept_or_copied(void **state)
{
  const llmd_request_options o = {.size = sizeof o, .copy_bytes = 1024, .max_pieces = 1024};
  llmd_request *whole = new_request(NULL), *bytes = new_request(&o);
  (void)state;
  for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
    const char *body = samples[i][1];
    size_t n = strlen(body);
    char far[2048];
    read_text(whole, samples[i][0], body);
    for (int copy = 0; copy < 2; copy++) {
      llmd_request_reset(bytes);
      llmd_request_line(bytes, LEN("POST"), samples[i][0], strlen(samples[i][0]));
      for (size_t k = 0; k < n; k++) {
        char *at = copy ? far : &far[2 * k];
        *at = body[k];
        llmd_request_feed(bytes, at, 1, copy ? LLMD_FEED_COPY : LLMD_FEED_KEEP);
      }
      llmd_request_feed(bytes, NULL, 0, LLMD_FEED_FINAL);
      assert_same(whole, bytes);
    }
  }
  free(whole);
  free(bytes);
}

/* A host that shows only the beginning: always decided, and what is found never shrinks by more than the last value. */
static void every_prefix_is_read(void **state)
{
  llmd_request *a = new_request(NULL), *b = new_request(NULL);
  (void)state;
  for (size_t i = 0; i < 4; i++) {
    for (size_t n = 0; n <= strlen(samples[i][1]); n++) {
      assert_int_equal(read_whole(a, samples[i][0], samples[i][1], n, LLMD_FEED_TRUNCATED), 0);
      assert_int_equal(info_of(a).flags & 3, LLMD_REQUEST_FINAL | LLMD_REQUEST_TRUNCATED);
      llmd_request_reset(b);
      llmd_request_line(b, LEN("POST"), samples[i][0], strlen(samples[i][0]));
      for (size_t k = 0; k < n; k++)
        llmd_request_feed(b, samples[i][1] + k, 1, 0);
      llmd_request_feed(b, NULL, 0, LLMD_FEED_FINAL | LLMD_FEED_TRUNCATED);
      assert_same(a, b);
    }
  }
  free(a);
  free(b);
}

static void a_cut_text_counts_a_cut_name_does_not(void **state)
{
  static const struct {
    const char *path, *body, *found;
  } cases[] = {
      {CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"hal", "role:user text:hal"},
      {CHAT, "{\"messages\":[{\"role\":\"us", ""},
      {CHAT, "{\"messages\":[{\"content\":\"a\\u12", "text:a"},
      {CHAT, "{\"messages\":[{\"content\":\"a\\", "text:a"},
      {CHAT, "{\"messages\":[{\"content\":\"a\xf0\x9f\x98", "text:a"},
      {CHAT, "{\"messages\":[{\"content\":\"a\\ud83d", "text:a"},
      {CHAT, "{\"messages\":[{\"content\":\"a\\ud83d\\ude", "text:a"},
      {CHAT, "{\"messages\":[{\"content\":[{\"type\":\"text\",\"text\":\"ab", "text:ab"},
      {CHAT, "{\"messages\":[{\"content\":[{\"text\":\"late type", "text:late type"},
      {CHAT, "{\"messages\":[{\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"te", "text:a"},
      {CHAT, "{\"tools\":[{\"a\":1},{\"b", "tools:[{\"a\":1},{\"b"},
      {COMPLETIONS, "{\"prompt\":[1,22,33", "ids:[1,22"},
      {COMPLETIONS, "{\"prompt\":[1,22,33,", "ids:[1,22,33"},
      {COMPLETIONS, "{\"prompt\":[[1],[22,3", "ids:[1] | ids:[22"},
      {COMPLETIONS, "{\"prompt\":[\"a\",\"b", "text:a | text:b"},
      {COMPLETIONS, "{\"prompt\":[[1],\"b", "ids:[1]"},
      {"/v1/messages", "{\"messages\":[{\"role\":\"u\",\"content\":[{\"type\":\"tool_result\",\"content\":[{\"type\":"
       "\"text\",\"text\":\"r",
       "role:u text:r"},
  };
  llmd_request *r = new_request(NULL);
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(read_whole(r, cases[i].path, cases[i].body, strlen(cases[i].body), LLMD_FEED_TRUNCATED), 0);
    assert_string_equal(spell(r), cases[i].found);
    assert_null(info_of(r).model.ptr);
  }
  read_whole(r, CHAT, LEN("{\"model\":\"abc"), LLMD_FEED_TRUNCATED);
  assert_null(info_of(r).model.ptr);
  read_whole(r, CHAT, LEN("{\"max_tokens\":12"), LLMD_FEED_TRUNCATED);
  assert_int_equal(info_of(r).max_tokens, -1);
  read_whole(r, COMPLETIONS, LEN("{\"prompt\":[1,22,33"), LLMD_FEED_TRUNCATED);
  assert_int_equal(info_of(r).token_ids, 2);
  free(r);
}

static void feeding_out_of_order(void **state)
{
  llmd_request *r = new_request(NULL);
  (void)state;
  assert_int_equal(llmd_request_feed(NULL, "{}", 2, 0), LLMD_E_INVALID);
  assert_int_equal(llmd_request_feed(r, NULL, 2, 0), LLMD_E_INVALID);
  assert_int_equal(llmd_request_feed(r, "{}", 2, 8), LLMD_E_INVALID);
  assert_int_equal(llmd_request_feed(r, "{}", 2, LLMD_FEED_TRUNCATED), LLMD_E_INVALID);
  assert_int_equal(llmd_request_feed(r, NULL, 0, 0), 0);
  assert_int_equal(llmd_request_feed(r, "{}", 2, LLMD_FEED_FINAL), 0);
  assert_int_equal(llmd_request_feed(r, " ", 1, 0), LLMD_E_STATE);
  assert_int_equal(llmd_request_line(r, LEN("POST"), LEN(CHAT)), LLMD_E_STATE);
  llmd_request_reset(r);
  assert_int_equal(llmd_request_feed(r, NULL, 0, LLMD_FEED_FINAL), 0);
  assert_int_equal(info_of(r).flags, LLMD_REQUEST_FINAL | LLMD_REQUEST_NO_BODY);
  free(r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(errors_have_a_place), cmocka_unit_test(valid_bodies_are_accepted), cmocka_unit_test(depth_is_64),
      cmocka_unit_test(caps_are_exact), cmocka_unit_test(an_earlier_error_comes_before_a_cap),
      cmocka_unit_test(split_at_every_byte), cmocka_unit_test(byte_by_byte_kept_or_copied),
      cmocka_unit_test(every_prefix_is_read), cmocka_unit_test(a_cut_text_counts_a_cut_name_does_not),
      cmocka_unit_test(feeding_out_of_order),
  };
  return cmocka_run_group_tests_name("body", tests, NULL, NULL);
}
