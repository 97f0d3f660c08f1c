/* The reader against messages good and bad; however they are cut, the outcome is the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../failing_alloc.h"
#include "base/alloc.h"
#include "messages.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static llmd__http_limits limits = { .max_head = 600, .max_headers = 8, .max_body = 100000 };

/* What a message came to. */
struct outcome {
  char head[1024];
  char body[2048];
  size_t body_len, used;
  int rc;
  uint32_t status, framing, keep;
  const char *text;
};

static void note_head(struct outcome *o, const llmd__http_head *h)
{
  int n = h->method.len != 0 ? snprintf(o->head, sizeof o->head, "%.*s %.*s %u", (int)h->method.len, h->method.ptr,
                                        (int)h->target.len, h->target.ptr, h->minor)
                             : snprintf(o->head, sizeof o->head, "%u %.*s %u", h->status, (int)h->reason.len,
                                        h->reason.len != 0 ? h->reason.ptr : "", h->minor);
  for (uint32_t i = 0; i < h->n_headers; i++)
    n += snprintf(o->head + n, sizeof o->head - (size_t)n, "|%.*s=%.*s", (int)h->header[i].name.len,
                  h->header[i].name.ptr, (int)h->header[i].value.len, h->header[i].value.ptr);
  o->framing = h->framing;
  o->keep = h->keep;
}

/* Feeds one piece, in a block of exactly its size. Returns what feed said last. */
static int feed_piece(llmd__http_reader *r, const char *text, size_t len, struct outcome *o)
{
  char *copy = malloc(len != 0 ? len : 1);
  size_t at = 0;
  int rc;
  if (len != 0)
    memcpy(copy, text, len);
  do {
    size_t used = 0;
    llmd_str piece = { NULL, 0 };
    rc = llmd__http_feed(r, copy + at, len - at, &used, &piece);
    at += used;
    if (rc == LLMD__HTTP_HEAD)
      note_head(o, &r->head);
    if (rc == LLMD__HTTP_BODY) {
      assert_true(piece.len > 0 && piece.ptr >= copy && piece.ptr + piece.len <= copy + at);
      assert_true(o->body_len + piece.len <= sizeof o->body);
      memcpy(o->body + o->body_len, piece.ptr, piece.len);
      o->body_len += piece.len;
    }
  } while (rc == LLMD__HTTP_HEAD || rc == LLMD__HTTP_BODY);
  assert_true(rc != LLMD__HTTP_MORE || at == len);
  if (rc >= 0)
    o->used += at;
  free(copy);
  return rc;
}

static uint32_t noise = 1;

static uint32_t dice(uint32_t below)
{
  noise = noise * 1664525u + 1013904223u;
  return (noise >> 8) % below;
}

/* piece: length of each; 0 = random ones. The connection ends behind the text. */
static void read_message(int kind, const char *text, size_t len, size_t piece, struct outcome *o)
{
  llmd__http_reader r;
  memset(o, 0, sizeof *o);
  llmd__http_reader_init(&r, kind, &limits);
  for (size_t at = 0; at < len && o->rc == LLMD__HTTP_MORE;) {
    size_t n = piece != 0 ? piece : 1 + dice(40);
    n = n < len - at ? n : len - at;
    o->rc = feed_piece(&r, text + at, n, o);
    at += n;
  }
  if (o->rc == LLMD__HTTP_MORE)
    o->rc = llmd__http_finish(&r);
  if (o->rc < 0) {
    size_t used;
    llmd_str none;
    o->status = r.status;
    o->text = r.text;
    assert_int_equal(llmd__http_feed(&r, "x", 1, &used, &none), LLMD_E_STATE); /* errors are final */
  }
  llmd__http_reader_free(&r);
}

static void must_be_same(const char *message, const struct outcome *a, const struct outcome *b)
{
  if (a->rc != b->rc || a->status != b->status || a->framing != b->framing || a->keep != b->keep ||
      strcmp(a->head, b->head) != 0 || (a->rc >= 0 && a->used != b->used) || a->body_len != b->body_len ||
      memcmp(a->body, b->body, a->body_len) != 0 || (a->rc < 0 && strcmp(a->text, b->text) != 0))
    fail_msg("cut differently: %d %u %s, %d %u %s: %s", a->rc, a->status, a->rc < 0 ? a->text : "", b->rc, b->status,
             b->rc < 0 ? b->text : "", message);
}

static void read_all_ways(int kind, const char *text, size_t len, struct outcome *o)
{
  struct outcome other;
  read_message(kind, text, len, len, o);
  read_message(kind, text, len, 1, &other);
  must_be_same(text, o, &other);
  for (int i = 0; i < 20; i++) {
    read_message(kind, text, len, 0, &other);
    must_be_same(text, o, &other);
  }
}

static void must_refuse(int kind, const struct bad_message *m, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    struct outcome o;
    read_all_ways(kind, m[i].text, m[i].len, &o);
    if (o.rc >= 0 || o.status != m[i].status || strncmp(o.text, m[i].why, strlen(m[i].why)) != 0)
      fail_msg("%zu: %d %u \"%s\", not %u \"%s\": %s", i, o.rc, o.status, o.rc < 0 ? o.text : o.head, m[i].status,
               m[i].why, m[i].text);
  }
}

static void must_take(int kind, const struct good_message *m, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    struct outcome o;
    read_all_ways(kind, m[i].text, m[i].len, &o);
    size_t bar = strcspn(o.head, "|");
    if (o.rc != LLMD__HTTP_END || bar != strlen(m[i].head) || strncmp(o.head, m[i].head, bar) != 0 ||
        o.framing != m[i].framing || o.keep != m[i].keep || o.body_len != strlen(m[i].body) ||
        memcmp(o.body, m[i].body, o.body_len) != 0 || o.used != m[i].len - m[i].rest)
      fail_msg("%zu: %d %s %s, framing %u keep %u body %zu used %zu of %zu", i, o.rc, o.rc < 0 ? o.text : "", o.head,
               o.framing, o.keep, o.body_len, o.used, m[i].len);
  }
}

static void test_bad_requests(void **state)
{
  (void)state;
  must_refuse(LLMD__HTTP_REQUEST, bad_requests, COUNT(bad_requests));
}

static void test_bad_answers(void **state)
{
  (void)state;
  must_refuse(LLMD__HTTP_ANSWER, bad_answers, COUNT(bad_answers));
}

static void test_good_requests(void **state)
{
  (void)state;
  must_take(LLMD__HTTP_REQUEST, good_requests, COUNT(good_requests));
}

static void test_good_answers(void **state)
{
  (void)state;
  must_take(LLMD__HTTP_ANSWER, good_answers, COUNT(good_answers));
}

/* Every proper beginning of a good message is neither whole nor refused, and is one cut off. */
static void test_beginnings(void **state)
{
  (void)state;
  for (size_t i = 0; i < COUNT(good_requests); i++)
    for (size_t len = 3; len < good_requests[i].len - good_requests[i].rest; len++) {
      struct outcome o;
      read_message(LLMD__HTTP_REQUEST, good_requests[i].text, len, len, &o);
      assert_int_equal(o.rc, LLMD_E_TRUNCATED);
    }
  for (size_t i = 0; i < COUNT(good_answers); i++)
    for (size_t len = 1; len < good_answers[i].len - good_answers[i].rest; len++) {
      struct outcome o;
      read_message(LLMD__HTTP_ANSWER, good_answers[i].text, len, len, &o);
      assert_int_equal(o.rc, good_answers[i].framing == LLMD__HTTP_CLOSE && o.head[0] != 0 ? LLMD__HTTP_END
                                                                                         : LLMD_E_TRUNCATED);
    }
}

static void test_headers_are_as_they_came(void **state)
{
  struct outcome o;
  static const char text[] = GET "hOst:engine\r\nX-a: \t b  c\t \r\nEmpty:\r\nX-a: 2\r\n\r\n";
  (void)state;
  read_all_ways(LLMD__HTTP_REQUEST, text, sizeof text - 1, &o);
  assert_string_equal(o.head, "GET / 1|hOst=engine|X-a=b  c|Empty=|X-a=2");
}

/* Heads that end just at the limit pass, a byte more does not; a long first line has a status of its own. */
static void test_head_limit(void **state)
{
  struct outcome o;
  char text[2048];
  (void)state;
  for (uint32_t over = 0; over <= 1; over++) {
    int n = snprintf(text, sizeof text, GET HOST "X: ");
    memset(text + n, 'x', sizeof text - (size_t)n);
    memcpy(text + limits.max_head + over - 4, "\r\n\r\n", 4);
    read_all_ways(LLMD__HTTP_REQUEST, text, limits.max_head + over, &o);
    assert_int_equal(o.rc, over != 0 ? LLMD_E_LIMIT : LLMD__HTTP_END);
    assert_int_equal(o.status, over != 0 ? 431 : 0);
  }
  memset(text, 'x', sizeof text);
  memcpy(text, "GET /", 5);
  read_all_ways(LLMD__HTTP_REQUEST, text, sizeof text, &o);
  assert_int_equal(o.status, 414);
  int n = snprintf(text, sizeof text, POST HOST TE "\r\n0\r\nX: ");
  memset(text + n, 'x', sizeof text - (size_t)n);
  read_all_ways(LLMD__HTTP_REQUEST, text, sizeof text, &o);
  assert_int_equal(o.status, 431);
  assert_string_equal(o.text, "trailers are too large");
}

static void test_many_interim_answers(void **state)
{
  struct outcome o;
  static const char interim[] = "HTTP/1.1 102 Wait\r\n\r\n";
  char text[2048];
  size_t n = 0;
  (void)state;
  for (int i = 0; i < 20; i++, n += sizeof interim - 1)
    memcpy(text + n, interim, sizeof interim);
  read_all_ways(LLMD__HTTP_ANSWER, text, n, &o);
  assert_int_equal(o.rc, LLMD_E_LIMIT);
  assert_string_equal(o.text, "too many interim answers");
}

static void must_feed(llmd__http_reader *r, const char *text, size_t len, int said, size_t taken)
{
  size_t used;
  llmd_str piece;
  assert_int_equal(llmd__http_feed(r, text, len, &used, &piece), said);
  assert_int_equal(used, taken);
}

/* An answer to HEAD has no body whatever it says; the next one has. */
static void test_answer_to_head(void **state)
{
  llmd__http_reader r;
  static const char text[] = OK200 "Content-Length: 3\r\n\r\n";
  (void)state;
  llmd__http_reader_init(&r, LLMD__HTTP_ANSWER, &limits);
  llmd__http_answers_head(&r);
  must_feed(&r, text, sizeof text - 1, LLMD__HTTP_HEAD, sizeof text - 1);
  assert_int_equal(r.head.framing, LLMD__HTTP_NONE);
  must_feed(&r, "HTTP", 4, LLMD__HTTP_END, 0);
  llmd__http_next(&r);
  must_feed(&r, text, sizeof text - 1, LLMD__HTTP_HEAD, sizeof text - 1);
  assert_int_equal(r.head.length, 3);
  llmd__http_reader_free(&r);
}

/* A body that is read elsewhere, memory given back meanwhile, pipelined messages. */
static void test_skip_and_release(void **state)
{
  llmd__http_reader r;
  static const char head[] = POST HOST "Content-Length: 10\r\n\r\n";
  (void)state;
  llmd__http_reader_init(&r, LLMD__HTTP_REQUEST, &limits);
  for (int i = 0; i < 3; i++) {
    assert_false(llmd__http_midway(&r));
    must_feed(&r, head, sizeof head - 1, LLMD__HTTP_HEAD, sizeof head - 1);
    assert_int_equal(llmd__http_body_left(&r), 10);
    must_feed(&r, "abc", 3, LLMD__HTTP_BODY, 3);
    assert_int_equal(llmd__http_body_left(&r), 7);
    llmd__http_body_skip(&r, 5);
    llmd__http_release(&r);
    assert_null(r.block);
    assert_int_equal(r.head.n_headers, 0);
    assert_int_equal(r.head.length, 10);
    must_feed(&r, "defg", 4, LLMD__HTTP_BODY, 2);
    assert_true(llmd__http_midway(&r));
    assert_int_equal(llmd__http_body_left(&r), 0);
    must_feed(&r, "fg", 2, LLMD__HTTP_END, 0);
    must_feed(&r, "fg", 2, LLMD__HTTP_END, 0); /* until next is called */
    assert_int_equal(llmd__http_finish(&r), LLMD__HTTP_NONE);
    llmd__http_next(&r);
  }
  llmd__http_reader_free(&r);
}

/* A large head's memory does not stay. */
static void test_block_shrinks(void **state)
{
  llmd__http_reader r;
  char text[8192];
  llmd__http_limits large = limits;
  (void)state;
  large.max_head = sizeof text;
  memset(text, 'x', sizeof text);
  int n = snprintf(text, sizeof text, GET HOST "X: ");
  text[n] = 'x';
  memcpy(text + sizeof text - 4, "\r\n\r\n", 4);
  llmd__http_reader_init(&r, LLMD__HTTP_REQUEST, &large);
  must_feed(&r, text, sizeof text, LLMD__HTTP_HEAD, sizeof text);
  must_feed(&r, "", 0, LLMD__HTTP_END, 0);
  llmd__http_next(&r);
  assert_int_equal(r.block_cap, 0);
  must_feed(&r, GET HOST END, strlen(GET HOST END), LLMD__HTTP_HEAD, strlen(GET HOST END));
  must_feed(&r, "", 0, LLMD__HTTP_END, 0);
  llmd__http_next(&r);
  assert_true(r.block_cap > 0 && r.block_cap <= 4096);
  llmd__http_reader_free(&r);
}

static int read_with(const llmd_allocator *a, void *ctx)
{
  static const char text[] = GET "A: " "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"
    "Host: a\r\nB: \r\nC: \r\nD: \r\nE: \r\nF: \r\nG: \r\nH: \r\nI: \r\nJ: \r\nK: \r\nL: \r\nM: \r\nN: \r\nO: \r\n"
    "P: \r\nQ: \r\nR: \r\nS: \r\nT: \r\nU: \r\nV: \r\nW: \r\nX: \r\nY: \r\nZ: \r\n0: \r\n1: \r\n2: \r\n\r\n";
  llmd__http_limits failing = { .max_head = 4096, .max_headers = 100, .max_body = 1, .alloc = *a };
  llmd__http_reader r;
  size_t used;
  llmd_str piece;
  (void)ctx;
  llmd__http_reader_init(&r, LLMD__HTTP_REQUEST, &failing);
  int rc = llmd__http_feed(&r, text, sizeof text - 1, &used, &piece);
  assert_true(rc == LLMD__HTTP_HEAD || (rc < 0 && r.status == 500));
  llmd__http_reader_free(&r);
  return rc < 0 ? rc : 0;
}

/* The block grows twice: for the head, and for its headers. */
static void test_memory_fails(void **state)
{
  (void)state;
  fail_each_allocation(read_with, NULL);
}

static void test_lists(void **state)
{
  (void)state;
  assert_true(llmd__http_lists((llmd_str){ "a, Close ,b", 11 }, "close"));
  assert_true(llmd__http_lists((llmd_str){ "close", 5 }, "close"));
  assert_false(llmd__http_lists((llmd_str){ "closed", 6 }, "close"));
  assert_false(llmd__http_lists((llmd_str){ "", 0 }, "close"));
  assert_false(llmd__http_lists((llmd_str){ ",,", 2 }, "close"));
}

/* A limit that is lowered while a head comes in holds for it, too. */
static void test_lowered_limit(void **state)
{
  llmd__http_limits l = limits;
  llmd__http_reader r;
  llmd_str piece;
  size_t used;
  static const char head[] = "HTTP/1.1 200 OK\r\nA: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n";
  (void)state;
  l.max_head = 100;
  llmd__http_reader_init(&r, LLMD__HTTP_ANSWER, &l);
  assert_int_equal(llmd__http_feed(&r, head, sizeof head - 1, &used, &piece), LLMD__HTTP_MORE);
  l.max_head = 20;
  assert_int_equal(llmd__http_feed(&r, "B: c\r\n", 6, &used, &piece), LLMD_E_LIMIT);
  llmd__http_reader_free(&r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_bad_requests), cmocka_unit_test(test_bad_answers), cmocka_unit_test(test_good_requests),
    cmocka_unit_test(test_good_answers), cmocka_unit_test(test_beginnings),
    cmocka_unit_test(test_headers_are_as_they_came), cmocka_unit_test(test_head_limit),
    cmocka_unit_test(test_many_interim_answers), cmocka_unit_test(test_answer_to_head),
    cmocka_unit_test(test_skip_and_release), cmocka_unit_test(test_block_shrinks), cmocka_unit_test(test_memory_fails),
    cmocka_unit_test(test_lists), cmocka_unit_test(test_lowered_limit) };
  llmd__alloc_init(&limits.alloc, NULL);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
