/* The reader, on payloads in blocks of exactly their size: a sanitizer sees one byte read past the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <llmd/error.h>

#include "base/msgpack.h"

typedef struct input {
  uint8_t *bytes;
  llmd__msgpack r;
} input;

static input exactly(const void *bytes, size_t len)
{
  input in;
  in.bytes = malloc(len ? len : 1);
  assert_non_null(in.bytes);
  memcpy(in.bytes, bytes, len);
  llmd__msgpack_init(&in.r, in.bytes, len);
  return in;
}

static llmd__msgpack_value only(const char *bytes, size_t len)
{
  input in = exactly(bytes, len);
  llmd__msgpack_value v = {0};
  assert_int_equal(llmd__msgpack_next(&in.r, &v), 0);
  assert_ptr_equal(in.r.at, in.r.end);
  if (v.text.ptr) /* the same place of what was given, which stays */
    v.text.ptr = bytes + (v.text.ptr - (const char *)in.bytes);
  free(in.bytes);
  return v;
}
#define ONLY(literal) only(literal, sizeof(literal) - 1)

static void integers_are_exact(void **state)
{
  static const struct { const char *bytes; size_t len; uint32_t kind; uint64_t u; } rows[] = {
    {"\x00", 1, LLMD__MSGPACK_UINT, 0}, {"\x7f", 1, LLMD__MSGPACK_UINT, 127},
    {"\xcc\x80", 2, LLMD__MSGPACK_UINT, 128}, {"\xcd\x01\x02", 3, LLMD__MSGPACK_UINT, 258},
    {"\xce\x80\x00\x00\x01", 5, LLMD__MSGPACK_UINT, 0x80000001u},
    {"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 9, LLMD__MSGPACK_UINT, UINT64_MAX},
    {"\xff", 1, LLMD__MSGPACK_INT, UINT64_MAX}, {"\xe0", 1, LLMD__MSGPACK_INT, (uint64_t)-32},
    {"\xd0\x80", 2, LLMD__MSGPACK_INT, (uint64_t)-128}, {"\xd1\xff\x7f", 3, LLMD__MSGPACK_INT, (uint64_t)-129},
    {"\xd2\x80\x00\x00\x00", 5, LLMD__MSGPACK_INT, (uint64_t)INT32_MIN},
    {"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", 9, LLMD__MSGPACK_INT, (uint64_t)INT64_MIN},
    {"\xd3\x7f\xff\xff\xff\xff\xff\xff\xff", 9, LLMD__MSGPACK_UINT, INT64_MAX}, {"\xd0\x05", 2, LLMD__MSGPACK_UINT, 5},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    const llmd__msgpack_value v = only(rows[i].bytes, rows[i].len);
    if (v.kind != rows[i].kind || v.u != rows[i].u)
      fail_msg("row %zu: kind %u, %llx", i, v.kind, (unsigned long long)v.u);
  }
}

static void other_values(void **state)
{
  llmd__msgpack_value v;
  (void)state;
  assert_int_equal(ONLY("\xc0").kind, LLMD__MSGPACK_NIL);
  v = ONLY("\xc3");
  assert_true(v.kind == LLMD__MSGPACK_BOOL && v.u == 1);
  v = ONLY("\xc2");
  assert_true(v.kind == LLMD__MSGPACK_BOOL && v.u == 0);
  v = ONLY("\xca\x3f\x80\x00\x00");
  assert_true(v.kind == LLMD__MSGPACK_FLOAT && v.f == 1.0);
  v = ONLY("\xcb\x41\xda\x30\x54\x98\x10\x00\x00");
  assert_true(v.kind == LLMD__MSGPACK_FLOAT && v.f == 1757500000.25);
  assert_true(isnan(ONLY("\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00").f));
  v = ONLY("\xd4\x07" "a");
  assert_true(v.kind == LLMD__MSGPACK_EXT && v.u == 7 && v.text.len == 1 && *v.text.ptr == 'a');
  v = ONLY("\xd8\xff" "0123456789abcdef");
  assert_true(v.kind == LLMD__MSGPACK_EXT && v.u == 255 && v.text.len == 16);
  v = ONLY("\xc7\x03\x01" "abc");
  assert_true(v.kind == LLMD__MSGPACK_EXT && v.u == 1 && memcmp(v.text.ptr, "abc", 3) == 0);
  v = ONLY("\xdd\x00\x00\x00\x00");
  assert_true(v.kind == LLMD__MSGPACK_ARRAY && v.n == 0);
  v = ONLY("\xde\x00\x00");
  assert_true(v.kind == LLMD__MSGPACK_MAP && v.n == 0);
}

static void text_points_into_the_payload(void **state)
{
  static const struct { const char *bytes; size_t len, head; uint32_t kind; } rows[] = {
    {"\xa3xyz", 4, 1, LLMD__MSGPACK_STR}, {"\xd9\x03xyz", 5, 2, LLMD__MSGPACK_STR},
    {"\xda\x00\x03xyz", 6, 3, LLMD__MSGPACK_STR}, {"\xdb\x00\x00\x00\x03xyz", 8, 5, LLMD__MSGPACK_STR},
    {"\xc4\x03xyz", 5, 2, LLMD__MSGPACK_BIN}, {"\xc5\x00\x03xyz", 6, 3, LLMD__MSGPACK_BIN},
    {"\xc6\x00\x00\x00\x03xyz", 8, 5, LLMD__MSGPACK_BIN},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    input in = exactly(rows[i].bytes, rows[i].len);
    llmd__msgpack_value v;
    assert_int_equal(llmd__msgpack_next(&in.r, &v), 0);
    assert_int_equal(v.kind, rows[i].kind);
    assert_ptr_equal(v.text.ptr, in.bytes + rows[i].head);
    assert_int_equal(v.text.len, 3);
    free(in.bytes);
  }
}

/* Every head with every number of bytes behind it: read, or refused with the reader where it was. */
static void nothing_is_read_past_the_end(void **state)
{
  (void)state;
  for (unsigned head = 0; head < 256; head++)
    for (unsigned fill = 0; fill < 256; fill += 51)
      for (size_t len = 1; len < 24; len++) {
        uint8_t bytes[24];
        input in;
        llmd__msgpack_value v;
        int rc;
        memset(bytes, (int)fill, sizeof bytes);
        bytes[0] = (uint8_t)head;
        in = exactly(bytes, len);
        rc = llmd__msgpack_next(&in.r, &v);
        assert_true(rc == 0 || rc == LLMD_E_TRUNCATED || rc == LLMD_E_SYNTAX);
        assert_int_equal(rc == LLMD_E_SYNTAX, head == 0xc1);
        assert_true(rc ? in.r.at == in.r.begin : in.r.at > in.r.begin && in.r.at <= in.r.end);
        if (rc == 0 && (v.kind == LLMD__MSGPACK_ARRAY || v.kind == LLMD__MSGPACK_MAP))
          assert_true(v.n <= len);
        in.r.at = in.r.begin;
        (void)llmd__msgpack_skip(&in.r);
        assert_true(in.r.at <= in.r.end);
        in.r.at = in.r.begin;
        (void)llmd__msgpack_skip_within(&in.r, 3);
        assert_true(in.r.at <= in.r.end);
        free(in.bytes);
      }
}

static int pass_over(const char *bytes, size_t len, uint32_t depth, size_t *at)
{
  input in = exactly(bytes, len);
  const int rc = depth == UINT32_MAX ? llmd__msgpack_skip(&in.r) : llmd__msgpack_skip_within(&in.r, depth);
  *at = llmd__msgpack_offset(&in.r);
  free(in.bytes);
  return rc;
}

static void whole_values_are_passed_over(void **state)
{
  static const char nested[] = "\x82\xa1" "a\x93\x01\xc4\x02xy\x81\xc0\xc0\xa1" "b\x90\x55";
  size_t at;
  (void)state;
  assert_int_equal(pass_over(nested, sizeof nested - 1, UINT32_MAX, &at), 0);
  assert_int_equal(at, sizeof nested - 2);
  assert_int_equal(pass_over(nested, sizeof nested - 1, 3, &at), 0);
  assert_int_equal(at, sizeof nested - 2);
  assert_int_equal(pass_over(nested, sizeof nested - 1, 2, &at), LLMD_E_DEPTH);
  assert_int_equal(at, 9); /* the inner map */
  assert_int_equal(pass_over("\x90", 1, 0, &at), LLMD_E_DEPTH);
  assert_int_equal(pass_over("\x05", 1, 0, &at), 0);
  assert_int_equal(pass_over(nested, 7, UINT32_MAX, &at), LLMD_E_TRUNCATED);
  assert_int_equal(pass_over("\x92\x01\xc1", 3, UINT32_MAX, &at), LLMD_E_SYNTAX);
  assert_int_equal(at, 2);
}

static void announced_counts_are_not_believed(void **state)
{
  size_t at;
  (void)state;
  assert_int_equal(pass_over("\xdd\xff\xff\xff\xff\x01", 6, UINT32_MAX, &at), LLMD_E_TRUNCATED);
  assert_int_equal(at, 0);
  assert_int_equal(pass_over("\xdf\xff\xff\xff\xff\x01", 6, UINT32_MAX, &at), LLMD_E_TRUNCATED);
  assert_int_equal(pass_over("\xdb\xff\xff\xff\xff\x01", 6, UINT32_MAX, &at), LLMD_E_TRUNCATED);
  assert_int_equal(pass_over("\xc9\xff\xff\xff\xff\x01", 6, UINT32_MAX, &at), LLMD_E_TRUNCATED);
  assert_int_equal(pass_over("\x81\x01", 2, UINT32_MAX, &at), LLMD_E_TRUNCATED);
}

/* A million arrays in each other need neither stack nor patience. */
static void depth_costs_no_memory(void **state)
{
  enum { DEEP = 1000000 };
  char *bytes = malloc(DEEP + 1);
  size_t at;
  (void)state;
  assert_non_null(bytes);
  memset(bytes, 0x91, DEEP);
  bytes[DEEP] = 0x01;
  assert_int_equal(pass_over(bytes, DEEP + 1, UINT32_MAX, &at), 0);
  assert_int_equal(at, DEEP + 1);
  assert_int_equal(pass_over(bytes, DEEP, UINT32_MAX, &at), LLMD_E_TRUNCATED);
  assert_int_equal(pass_over(bytes, DEEP + 1, 8, &at), LLMD_E_DEPTH);
  assert_int_equal(at, 8);
  assert_int_equal(pass_over(bytes, DEEP + 1, 1000, &at), LLMD_E_DEPTH);
  assert_int_equal(at, LLMD__MSGPACK_DEPTH_MAX);
  free(bytes);
}

/* ---- runs of integers ---- */

static uint64_t seed = 7;
static uint32_t roll(uint32_t below)
{
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(seed >> 33) % below;
}

static size_t write_int(uint8_t *out, uint32_t v, uint32_t bytes)
{
  static const uint8_t head[] = {0, 0xcc, 0xcd, 0, 0xce};
  if (bytes == 0) {
    *out = (uint8_t)v;
    return 1;
  }
  out[0] = head[bytes];
  for (uint32_t i = 0; i < bytes; i++)
    out[1 + i] = (uint8_t)(v >> 8 * (bytes - 1 - i));
  return 1 + bytes;
}

/* n integers in forms of all widths, longer than need be among them; value bytes look like heads often. */
static size_t write_run(uint8_t *out, uint32_t *values, uint32_t n)
{
  static const uint32_t widths[] = {0, 1, 2, 4};
  size_t len = 0;
  for (uint32_t i = 0; i < n; i++) {
    const uint32_t bytes = widths[roll(4)];
    uint32_t v = 0;
    for (uint32_t k = 0; k < bytes; k++)
      v = v << 8 | (roll(2) ? 0xcc + roll(3) : roll(256));
    values[i] = bytes ? v : roll(128);
    len += write_int(out + len, values[i], bytes);
  }
  return len;
}

static void runs_read_as_single_values_do(void **state)
{
  static uint8_t bytes[400 * 5 + 8];
  static uint32_t values[400], got[400];
  (void)state;
  for (uint32_t round = 0; round < 2000; round++) {
    const uint32_t n = roll(400), ask = roll(3) ? n : roll(n + 1);
    size_t len = write_run(bytes, values, n), run_end;
    const uint32_t more = roll(3);
    input in;
    if (more) /* something else behind, or the last value is cut off */
      bytes[len++] = more == 1 ? 0xc0 : 0xce;
    in = exactly(bytes, len);
    assert_int_equal(llmd__msgpack_run(&in.r, got, ask), ask);
    assert_memory_equal(got, values, ask * sizeof *got);
    run_end = llmd__msgpack_offset(&in.r);
    in.r.at = in.r.begin;
    assert_int_equal(llmd__msgpack_run(&in.r, NULL, ask), ask);
    assert_int_equal(llmd__msgpack_offset(&in.r), run_end);
    in.r.at = in.r.begin;
    assert_int_equal(llmd__msgpack_run(&in.r, NULL, UINT32_MAX), n);
    assert_int_equal(llmd__msgpack_offset(&in.r), len - (more != 0));
    free(in.bytes);
  }
}

static void a_run_ends_before_anything_else(void **state)
{
  static const uint8_t others[] = {0x80, 0x92, 0xa1, 0xc0, 0xc1, 0xc2, 0xcb, 0xcf, 0xd0, 0xd3, 0xdc, 0xe0, 0xff};
  uint8_t bytes[256];
  (void)state;
  for (size_t i = 0; i < sizeof others; i++)
    for (uint32_t where = 0; where < 80; where++) {
      input in;
      memset(bytes, 5, sizeof bytes);
      bytes[where] = others[i];
      in = exactly(bytes, sizeof bytes);
      assert_int_equal(llmd__msgpack_run(&in.r, NULL, UINT32_MAX), where);
      assert_int_equal(llmd__msgpack_offset(&in.r), where);
      free(in.bytes);
    }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(integers_are_exact), cmocka_unit_test(other_values),
    cmocka_unit_test(text_points_into_the_payload), cmocka_unit_test(nothing_is_read_past_the_end),
    cmocka_unit_test(whole_values_are_passed_over), cmocka_unit_test(announced_counts_are_not_believed),
    cmocka_unit_test(depth_costs_no_memory), cmocka_unit_test(runs_read_as_single_values_do),
    cmocka_unit_test(a_run_ends_before_anything_else)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
