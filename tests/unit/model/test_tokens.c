/* Prompts as tokens: real ids, and the reference's estimate. */
#include "read_request.h"

#define CAP 4096
static uint32_t tokens[CAP], ends[64];
static uint32_t prompts;
static int cut;

static int take(const llmd_request *r, size_t cap, uint32_t max_prompts)
{
  prompts = 0;
  cut = 0;
  return llmd__request_tokens(r, tokens, cap, ends, max_prompts, &prompts, &cut);
}

/* The estimate of these prompts: their bytes, padded with zeros to whole tokens. NULL ends the list. */
static void assert_estimate(const llmd_request *r, ...)
{
  va_list ap;
  char want[CAP];
  size_t n = 0;
  uint32_t count = 0;
  assert_int_equal(take(r, CAP, 64), LLMD__TOKENS_PSEUDO);
  va_start(ap, r);
  for (const char *text; (text = va_arg(ap, const char *)) != NULL; count++) {
    text = json(text);
    memset(want + n, 0, strlen(text) + 4);
    memcpy(want + n, text, strlen(text));
    n += (strlen(text) + 3) / 4 * 4;
    assert_int_equal(ends[count], n / 4);
  }
  va_end(ap);
  assert_int_equal(prompts, count);
  assert_int_equal(cut, 0);
  for (size_t i = 0; i < n / 4; i++) {
    const unsigned char *b = (const unsigned char *)want + 4 * i;
    assert_int_equal(tokens[i], (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24);
  }
  assert_int_equal(llmd__request_token_count(r), n / 4);
}

static void text_is_taken_four_bytes_at_a_time(void **state)
{
  llmd_request *r = new_request(NULL);
  (void)state;
  read_text(r, COMPLETIONS, "{'prompt':'abcdefg'}");
  assert_estimate(r, "abcdefg", NULL);
  assert_int_equal(tokens[0], 0x64636261);
  read_text(r, COMPLETIONS, "{'prompt':['abcd','','x']}");
  assert_estimate(r, "abcd", "", "x", NULL);
  read_text(r, CHAT, "{'messages':[{'content':'hi','role':'user'},{'role':'assistant','content':[{'type':'text','text':"
      "'yo'}]}],'tools':[{'a' : 1}]}");
  assert_estimate(r, "[{'a' : 1}]userhiassistantyo", NULL);
  read_text(r, "/v1/messages", "{'messages':[{'role':'user','content':'u'}],'system':'s'}");
  assert_estimate(r, "suseru", NULL);
  free(r);
}

static void escapes_are_resolved(void **state)
{
  llmd_request *r = new_request(NULL);
  (void)state;
  read_text(r, COMPLETIONS, "{'prompt':'a\\n\\'\\\\\\/\\b\\f\\r\\t\\u0041\\u00e9\\u4e2d\\ud83d\\ude00z'}");
  assert_estimate(r, "a\n'\\/\b\f\r\tA\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80z", NULL);
  /* lone surrogates, and one before a pair */
  read_text(r, COMPLETIONS, "{'prompt':'\\ud83d\\ud83d\\ude00\\udc00x\\ud83dy\\ud83d\\n\\ud83d\\u0041\\ud83d'}");
  assert_estimate(r, "\xef\xbf\xbd\xf0\x9f\x98\x80\xef\xbf\xbdx\xef\xbf\xbdy\xef\xbf\xbd\n\xef\xbf\xbd" "A"
      "\xef\xbf\xbd", NULL);
  read_text(r, COMPLETIONS, "{'prompt':'\\ud83dx\\ude00yz'}");
  assert_estimate(r, "\xef\xbf\xbdx\xef\xbf\xbdyz", NULL);
  free(r);
}

/* Long text with escapes at every distance, whole and in pieces that do not adjoin: the fast paths end where they
 * must. */
static void long_text_in_pieces(void **state)
{
  const llmd_request_options o = {.size = sizeof o, .copy_bytes = 4096, .max_pieces = 1024};
  static const char *const escapes[][2] = {
      {"\\n", "\n"}, {"\\u4e2d", "\xe4\xb8\xad"}, {"\\ud83d\\ude00", "\xf0\x9f\x98\x80"}, {"\\\\", "\\"}};
  llmd_request *r = new_request(&o);
  (void)state;
  for (size_t e = 0; e < 4; e++) {
    for (int gap = 0; gap < 40; gap++) {
      char body[2048], text[2048];
      size_t n = (size_t)snprintf(body, sizeof body, "{\"prompt\":\""), t = 0;
      while (n < 700) {
        n += (size_t)snprintf(body + n, sizeof body - n, "%.*s%s", gap,
            "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJ", escapes[e][0]);
        t += (size_t)snprintf(text + t, sizeof text - t, "%.*s%s", gap,
            "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJ", escapes[e][1]);
      }
      n += (size_t)snprintf(body + n, sizeof body - n, "\"}");
      read_text(r, COMPLETIONS, body);
      assert_estimate(r, text, NULL);
      for (size_t piece = 3; piece < 30; piece += 4) {
        llmd_request_reset(r);
        for (size_t at = 0; at < n; at += piece)
          llmd_request_feed(r, body + at, n - at < piece ? n - at : piece, at % 2 ? LLMD_FEED_COPY : LLMD_FEED_KEEP);
        assert_int_equal(llmd_request_feed(r, NULL, 0, LLMD_FEED_FINAL), 0);
        assert_estimate(r, text, NULL);
      }
    }
  }
  free(r);
}

static void ids_are_taken_as_they_are(void **state)
{
  const llmd_request_options o = {.size = sizeof o, .max_pieces = 1024};
  static const uint32_t want[] = {0, 7, 42, 100000, 9999999, 12345678, 4294967295u, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  llmd_request *r = new_request(&o);
  const char *body = json("{'prompt':[0, 7,42 ,\n100000,9999999,12345678,4294967295,1,2,3,4,5,6,7 , 8,9]}");
  (void)state;
  read_text(r, COMPLETIONS, body);
  assert_int_equal(take(r, CAP, 1), LLMD__TOKENS_REAL);
  assert_int_equal(ends[0], 16);
  assert_memory_equal(tokens, want, sizeof want);
  assert_int_equal(llmd__request_token_count(r), 16);
  llmd_request_reset(r);
  char far[256];
  for (size_t i = 0; body[i]; i++) {
    far[2 * i] = body[i];
    llmd_request_feed(r, &far[2 * i], 1, 0);
  }
  llmd_request_feed(r, NULL, 0, LLMD_FEED_FINAL);
  assert_int_equal(take(r, CAP, 1), LLMD__TOKENS_REAL);
  assert_memory_equal(tokens, want, sizeof want);
  read_text(r, COMPLETIONS, "{'prompt':[[1,2],[],[3]]}");
  assert_int_equal(take(r, CAP, 8), LLMD__TOKENS_REAL);
  assert_int_equal(prompts, 3);
  assert_true(ends[0] == 2 && ends[1] == 2 && ends[2] == 3 && tokens[2] == 3);
  read_whole(r, COMPLETIONS, json("{'prompt':[11,22,33"), 19, LLMD_FEED_TRUNCATED);
  assert_int_equal(take(r, CAP, 1), LLMD__TOKENS_REAL);
  assert_true(ends[0] == 2 && tokens[1] == 22);
  assert_int_equal(llmd__request_token_count(r), 2);
  free(r);
}

static void the_hosts_ids_come_first(void **state)
{
  static const uint32_t mine[] = {5, 6, 7};
  llmd_request *r = new_request(NULL);
  (void)state;
  read_text(r, COMPLETIONS, "{'prompt':'text'}");
  assert_int_equal(llmd_request_set_tokens(r, mine, 3), 0);
  assert_int_equal(take(r, CAP, 1), LLMD__TOKENS_REAL);
  assert_true(prompts == 1 && ends[0] == 3 && tokens[2] == 7);
  assert_int_equal(llmd__request_token_count(r), 3);
  assert_int_equal(take(r, 2, 1), LLMD__TOKENS_REAL);
  assert_true(cut == 1 && ends[0] == 2);
  assert_int_equal(llmd_request_set_tokens(r, NULL, 0), 0);
  assert_int_equal(take(r, CAP, 1), LLMD__TOKENS_PSEUDO);
  assert_int_equal(llmd_request_set_tokens(r, NULL, 1), LLMD_E_INVALID);
  free(r);
}

static void room_runs_out_quietly(void **state)
{
  llmd_request *r = new_request(NULL);
  (void)state;
  read_text(r, COMPLETIONS, "{'prompt':['abcdefgh','ijkl','mn']}");
  assert_int_equal(take(r, 3, 64), LLMD__TOKENS_PSEUDO);
  assert_true(cut == 1 && prompts == 3 && ends[1] == 3 && ends[2] == 3);
  assert_int_equal(take(r, 1, 64), LLMD__TOKENS_PSEUDO);
  assert_true(cut == 1 && prompts == 1 && ends[0] == 1);
  assert_int_equal(take(r, CAP, 2), LLMD__TOKENS_PSEUDO);
  assert_true(cut == 1 && prompts == 2 && ends[1] == 3);
  assert_int_equal(take(r, 4, 3), LLMD__TOKENS_PSEUDO);
  assert_true(cut == 0 && prompts == 3 && ends[2] == 4);
  read_text(r, COMPLETIONS, "{'prompt':[1,2,3]}");
  assert_int_equal(take(r, 2, 1), LLMD__TOKENS_REAL);
  assert_true(cut == 1 && prompts == 1 && ends[0] == 2 && tokens[1] == 2);
  assert_int_equal(take(r, 0, 0), LLMD__TOKENS_REAL);
  assert_true(cut == 1 && prompts == 0);
  read_text(r, COMPLETIONS, "{'model':'m'}");
  assert_int_equal(take(r, CAP, 1), LLMD_E_NONE);
  assert_int_equal(llmd__request_token_count(r), 0);
  free(r);
}

/* A PNG, a GIF and a JPEG (after a skipped APP1 of 260 bytes) of 1280 x 720, as far as their sizes go. */
#define PNG "iVBORw0KGgoAAAANSUhEUgAABQAAAALQCAIAAAA="
#define GIF "R0lGODlhAAXQAvAAAA=="

static const char *jpeg(void)
{
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  static char out[512];
  unsigned char b[285] = {0xff, 0xd8, 0xff, 0xe1, 0x01, 0x04, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  const unsigned char frame[] = {0xff, 0xff, 0xc2, 0, 17, 8, 0x02, 0xd0, 0x05, 0x00, 3, 0, 0, 0, 0, 0, 0, 0, 0};
  size_t n = 0;
  memcpy(b + 264, frame, sizeof frame);
  for (size_t i = 0; i < sizeof b; i += 3) {
    unsigned v = (unsigned)b[i] << 16 | (unsigned)b[i + 1] << 8 | b[i + 2];
    out[n++] = digits[v >> 18];
    out[n++] = digits[v >> 12 & 63];
    out[n++] = digits[v >> 6 & 63];
    out[n++] = digits[v & 63];
  }
  return out;
}

static uint64_t image_tokens(llmd_request *r, const char *url)
{
  char body[2048];
  snprintf(body, sizeof body, "{'messages':[{'content':[{'type':'image_url','image_url':{'url':'%s'}}]}]}", url);
  assert_int_equal(read_text(r, CHAT, body), 0);
  assert_int_equal(take(r, CAP, 1), LLMD__TOKENS_PSEUDO);
  assert_int_equal(ends[0], llmd__request_token_count(r));
  return ends[0];
}

static void images_count_by_their_size(void **state)
{
  llmd_request *r = new_request(NULL);
  char url[1024];
  (void)state;
  assert_int_equal(image_tokens(r, "https://example.com/a.png"), 640 * 360 / 1024);
  assert_int_equal(image_tokens(r, "data:image/png;base64," PNG), 1280 * 720 / 1024);
  assert_int_equal(image_tokens(r, "data:image/gif;base64," GIF), 1280 * 720 / 1024);
  assert_int_equal(image_tokens(r, PNG), 1280 * 720 / 1024);
  snprintf(url, sizeof url, "data:image/jpeg;base64,%s", jpeg());
  assert_int_equal(image_tokens(r, url), 1280 * 720 / 1024);
  size_t n = (size_t)snprintf(url, sizeof url, "data:image/jpeg;base64,");
  for (const char *p = jpeg(); *p; p++) /* as PHP writes it */
    n += (size_t)snprintf(url + n, sizeof url - n, *p == '/' ? "\\/" : "%c", *p);
  assert_non_null(strstr(url, "\\/\\/\\/"));
  assert_int_equal(image_tokens(r, url), 1280 * 720 / 1024);
  snprintf(url, sizeof url, "data:image/jpeg;base64,%.40s", jpeg());
  assert_int_equal(image_tokens(r, url), 640 * 360 / 1024);
  assert_int_equal(image_tokens(r, "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAAA="), 1);
  assert_int_equal(image_tokens(r, "data:image/png;base64,!!!!"), 640 * 360 / 1024);
  free(r);
}

static void media_take_whole_tokens_named_by_their_bytes(void **state)
{
  llmd_request *r = new_request(NULL);
  uint32_t first[4];
  (void)state;
  image_tokens(r, "https://example.com/a.png");
  memcpy(first, tokens, sizeof first);
  assert_memory_equal(tokens + 4, first, sizeof first);
  image_tokens(r, "https://example.com/a.png");
  assert_memory_equal(tokens, first, sizeof first);
  image_tokens(r, "https://example.com/b.png");
  for (size_t i = 0; i < 4; i++)
    assert_int_not_equal(tokens[i], first[i]);
  /* "user" + "ab" + padding | 225 | "cd" + padding | audio of 5 bytes: 2 */
  read_text(r, CHAT, "{'messages':[{'role':'user','content':['ab',{'type':'image_url','image_url':'https:"
      "//example.com/a.png'},'cd',{'type':'input_audio','input_audio':{'data':'AAAAA'}}]}]}");
  assert_int_equal(take(r, CAP, 1), LLMD__TOKENS_PSEUDO);
  assert_int_equal(ends[0], 2 + 225 + 1 + 2);
  assert_int_equal(llmd__request_token_count(r), ends[0]);
  assert_int_equal(tokens[1], 0x6261);
  assert_memory_equal(tokens + 2, first, sizeof first);
  assert_int_equal(tokens[227], 0x6463);
  free(r);
}

static void videos_count_by_headers(void **state)
{
  const char *body = "{'messages':[{'content':[{'type':'video_url','video_url':{'url':'v'}}]}]}";
  static const struct {
    const char *seconds, *resolution;
    uint64_t tokens;
  } cases[] = {
      {NULL, NULL, 20 * 225}, {"2.6", NULL, 5 * 225}, {NULL, "1280x720", 20 * 900}, {"1", "1280X720", 2 * 900},
      {"0", "x720", 20 * 225}, {"abc", "12", 20 * 225}, {"1e30", "99999x99999", 1048576}, {"0.1", "10x10", 1},
  };
  llmd_request *r = new_request(NULL);
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(read_text(r, CHAT, body), 0);
    if (cases[i].seconds)
      llmd_request_header(r, LEN("x-llm-d-video-duration-seconds"), cases[i].seconds, strlen(cases[i].seconds));
    if (cases[i].resolution)
      llmd_request_header(r, LEN("x-llm-d-video-resolution"), cases[i].resolution, strlen(cases[i].resolution));
    assert_int_equal(llmd__request_token_count(r), cases[i].tokens);
  }
  free(r);
}

static void bytes_of_the_body_in_one_run(void **state)
{
  const char *parts[] = {"{\"a\":", "\"bcd", "ef\"}"};
  char buf[16];
  const char *out = NULL;
  llmd_request *r = new_request(NULL);
  (void)state;
  for (size_t i = 0; i < 3; i++)
    llmd_request_feed(r, parts[i], strlen(parts[i]), 0);
  assert_int_equal(llmd__request_bytes(r, 6, 3, buf, 0, &out), 0);
  assert_ptr_equal(out, parts[1] + 1);
  assert_int_equal(llmd__request_bytes(r, 3, 8, buf, sizeof buf, &out), 0);
  assert_memory_equal(out, "\":\"bcdef", 8);
  assert_int_equal(llmd__request_bytes(r, 3, 8, buf, 7, &out), LLMD_E_LIMIT);
  assert_int_equal(llmd__request_bytes(r, 3, 11, buf, sizeof buf, &out), LLMD_E_RANGE);
  assert_int_equal(llmd__request_bytes(r, 14, 0, buf, 0, &out), LLMD_E_RANGE);
  assert_int_equal(llmd__request_bytes(r, 13, 0, buf, 0, &out), 0);
  free(r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(text_is_taken_four_bytes_at_a_time), cmocka_unit_test(escapes_are_resolved),
      cmocka_unit_test(long_text_in_pieces), cmocka_unit_test(ids_are_taken_as_they_are),
      cmocka_unit_test(the_hosts_ids_come_first), cmocka_unit_test(room_runs_out_quietly),
      cmocka_unit_test(images_count_by_their_size), cmocka_unit_test(media_take_whole_tokens_named_by_their_bytes),
      cmocka_unit_test(videos_count_by_headers), cmocka_unit_test(bytes_of_the_body_in_one_run),
  };
  return cmocka_run_group_tests_name("tokens", tests, NULL, NULL);
}
