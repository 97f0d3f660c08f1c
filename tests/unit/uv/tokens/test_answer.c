/* What renderers answer, true and false; and frames as they go over the socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "uv/tokens/answer.h"
#include "uv/tokens/wire.h"

/* From memory of exactly this size, so that reading beyond it is seen. */
static int read_text(llmd__rendered *r, const char *text, size_t len)
{
  char *copy = malloc(len ? len : 1);
  int rc;
  assert_non_null(copy);
  memcpy(copy, text, len);
  rc = llmd__rendered_read(r, copy, len, 1000);
  free(copy);
  return rc;
}

static void ids_are_read(void **state)
{
  static const char *const texts[] = {
      "{\"count\":3,\"max_model_len\":2048,\"tokens\":[3,369,4294967295],\"token_strs\":null}",
      ("{\"request_id\":\"x\",\"token_ids\":[3,369,4294967295],\"token_offsets\":null,\"features\":null,"
       "\"sampling_params\":{\"stop\":[],\"a\":{\"b\":[1,2.5e3,{}]}},\"model\":\"a\\\"}]b\",\"stream\":false}"),
      " [ {\"token_ids\" : [ 3 , 369 ,4294967295 ] } ] \n",
      "{\"kwargs_data\":{\"image\":[\"AAAA\"]},\"token_ids\":[3,369,4294967295],\"n\":-1.5}",
  };
  llmd__rendered r = {0};
  (void)state;
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    assert_int_equal(read_text(&r, texts[i], strlen(texts[i])), 0);
    assert_int_equal(r.n, 3);
    assert_int_equal(r.ids[1], 369);
    assert_int_equal(r.ids[2], UINT32_MAX);
    assert_int_equal(r.n_features, 0);
    for (size_t k = 0; k < strlen(texts[i]) - 2; k++)
      assert_true(read_text(&r, texts[i], k) < 0);
  }
  llmd__rendered_free(&r);
}

static void lies_are_refused(void **state)
{
  static const struct {
    const char *text;
    int rc;
  } cases[] = {
      {"", LLMD_E_SYNTAX},
      {"null", LLMD_E_SYNTAX},
      {"<html><body>{\"tokens\":[1]}</body></html>", LLMD_E_SYNTAX},
      {"{}", LLMD_E_NONE},
      {"{\"tokens\":[]}", LLMD_E_NONE},
      {"{\"tokens\":null}", LLMD_E_TYPE},
      {"{\"tokens\":\"1,2\"}", LLMD_E_TYPE},
      {"{\"tokens\":[1.5]}", LLMD_E_TYPE},
      {"{\"tokens\":[1e3]}", LLMD_E_TYPE},
      {"{\"tokens\":[-1]}", LLMD_E_TYPE},
      {"{\"tokens\":[\"1\"]}", LLMD_E_TYPE},
      {"{\"tokens\":[[1]]}", LLMD_E_TYPE},
      {"{\"tokens\":[4294967296]}", LLMD_E_RANGE},
      {"{\"tokens\":[99999999999999999999999999]}", LLMD_E_RANGE},
      {"{\"tokens\":[1,]}", LLMD_E_TYPE},
      {"{\"tokens\":[1 2]}", LLMD_E_SYNTAX},
      {"{\"tokens\":[1]]", LLMD_E_SYNTAX},
      {"{\"tokens\":[1]} x", LLMD_E_SYNTAX},
      {"[{\"tokens\":[1]},{\"tokens\":[2]}]", LLMD_E_SYNTAX},
      {"{\"a\":[}],\"tokens\":[1]}", LLMD_E_SYNTAX},
      {"{\"a\":{]},\"tokens\":[1]}", LLMD_E_SYNTAX},
      {"{\"a\":\"\n\",\"tokens\":[1]}", LLMD_E_SYNTAX},
      {"{\"token_ids\":[1],\"features\":3}", LLMD_E_TYPE},
      {"{\"token_ids\":[1],\"features\":{\"mm_hashes\":{\"i\":[\"a\"]}}}", LLMD_E_RANGE},
      {"{\"token_ids\":[1],\"features\":{\"mm_hashes\":{\"i\":[\"a\"]},\"mm_placeholders\":{\"i\":[{\"offset\":0}]}}}",
       LLMD_E_MISSING},
      {"{\"token_ids\":[1],\"features\":{\"mm_hashes\":{\"i\":[null]},\"mm_placeholders\":{\"i\":[{\"offset\":0,"
       "\"length\":1}]}}}", LLMD_E_TYPE},
      {"{\"token_ids\":[1],\"features\":{\"mm_hashes\":{\"i\":[\"a\"]},\"mm_placeholders\":{\"i\":[{\"offset\":0,"
       "\"length\":2}]}}}", LLMD_E_RANGE},
      {"{\"token_ids\":[1],\"features\":{\"mm_hashes\":{\"j\":[\"a\"]},\"mm_placeholders\":{\"i\":[{\"offset\":0,"
       "\"length\":1}]}}}", LLMD_E_RANGE},
      {"{\"token_ids\":[1,2],\"features\":{\"mm_hashes\":{\"i\":[\"a\",\"b\"]},\"mm_placeholders\":{\"i\":["
       "{\"offset\":0,\"length\":2},{\"offset\":1,\"length\":1}]}}}", LLMD_E_RANGE},
      {"{\"token_ids\":[1],\"features\":{\"mm_hashes\":{\"i\":[\"a\"]},\"mm_placeholders\":{\"i\":[{\"offset\":-1,"
       "\"length\":1}]}}}", LLMD_E_TYPE},
  };
  llmd__rendered r = {0};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int rc = read_text(&r, cases[i].text, strlen(cases[i].text));
    if (rc != cases[i].rc)
      fail_msg("%s: %d, expected %d", cases[i].text, rc, cases[i].rc);
  }
  llmd__rendered_free(&r);
}

static void more_than_there_may_be(void **state)
{
  static char text[200000];
  llmd__rendered r = {0};
  size_t at;
  (void)state;
  for (int n = 999; n <= 1001; n++) {
    at = (size_t)sprintf(text, "{\"tokens\":[7");
    for (int i = 1; i < n; i++)
      at += (size_t)sprintf(text + at, ",%d", i);
    at += (size_t)sprintf(text + at, "]}");
    assert_int_equal(read_text(&r, text, at), n > 1000 ? LLMD_E_LIMIT : 0);
  }
  memset(text, '[', sizeof text);
  memcpy(text, "{\"a\":", 5);
  assert_int_equal(read_text(&r, text, sizeof text), LLMD_E_SYNTAX);
  llmd__rendered_free(&r);
}

static void features_are_joined(void **state)
{
  static const char text[] =
      "{\"features\":{\"mm_placeholders\":{\"video\":[{\"offset\":1,\"length\":2,\"is_embed\":[true,false]}],"
      "\"image\":[{\"offset\":7,\"length\":1},{\"offset\":3,\"length\":4}]},\"mm_hashes\":{\"image\":[\"late\","
      "\"early\"],\"video\":[\"film\"]},\"kwargs_data\":null},\"token_ids\":[1,2,2,3,3,3,3,4]}";
  static const char *const names[] = {"film", "early", "late"};
  llmd__rendered r = {0};
  (void)state;
  assert_int_equal(llmd__rendered_read(&r, text, sizeof text - 1, 1000), 0);
  assert_int_equal(r.n, 8);
  assert_int_equal(r.n_features, 3);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(r.feature[i].hash.len, strlen(names[i]));
    assert_memory_equal(r.feature[i].hash.ptr, names[i], strlen(names[i]));
  }
  assert_int_equal(r.feature[1].offset, 3);
  assert_int_equal(r.feature[1].length, 4);
  llmd__rendered_free(&r);
}

/* ---- frames ------------------------------------------------------------------------------------------------------ */

static void answers_go_over(void **state)
{
  static const uint32_t ids[] = {1, 0x01020304, UINT32_MAX};
  static const llmd_feature f[] = {{.offset = 1, .length = 2, .hash = {"abc", 3}},
                                   {.offset = 1u << 31, .hash = {"", 0}}};
  llmd_feature got[LLMD__WIRE_FEATURES_MOST];
  llmd__wire_answer a;
  llmd__wire_head head;
  char version, *frame;
  size_t size = llmd__wire_answer_size(3, f, 2), payload = size - LLMD__WIRE_HEAD;
  (void)state;
  frame = malloc(size);
  assert_non_null(frame);
  llmd__wire_put_answer(frame, size, UINT64_C(0x1122334455667788), LLMD__WIRE_OK, ids, 3, f, 2);
  assert_memory_equal(frame, "LTK1\2\0\0\0\x88\x77\x66\x55\x44\x33\x22\x11", 16); /* as docs/agent.md has it */
  assert_int_equal(llmd__wire_read_head(frame, &head, &version), 0);
  assert_int_equal(head.len, payload);
  for (size_t len = 0; len < payload; len++) {
    char *cut = malloc(len + 1);
    assert_non_null(cut);
    memcpy(cut, frame + LLMD__WIRE_HEAD, len);
    assert_int_equal(llmd__wire_read_answer(cut, len, &a, got), LLMD_E_SYNTAX);
    free(cut);
  }
  assert_int_equal(llmd__wire_read_answer(frame + LLMD__WIRE_HEAD, payload, &a, got), 0);
  assert_int_equal(a.n, 3);
  assert_memory_equal(a.ids, ids, sizeof ids);
  assert_int_equal(a.n_features, 2);
  assert_memory_equal(got[0].hash.ptr, "abc", 3);
  assert_int_equal(got[1].offset, 1u << 31);
  frame[LLMD__WIRE_HEAD + 4] = 4; /* more ids than there are */
  assert_int_equal(llmd__wire_read_answer(frame + LLMD__WIRE_HEAD, payload, &a, got), LLMD_E_SYNTAX);
  memset(frame + LLMD__WIRE_HEAD + 4, 0xff, 8);
  assert_int_equal(llmd__wire_read_answer(frame + LLMD__WIRE_HEAD, payload, &a, got), LLMD_E_SYNTAX);
  free(frame);
}

static void sizes_have_limits(void **state)
{
  static llmd_feature f[LLMD__WIRE_FEATURES_MOST];
  (void)state;
  assert_int_equal(llmd__wire_answer_size(LLMD__WIRE_IDS_MOST + 1, NULL, 0), 0);
  assert_int_equal(llmd__wire_answer_size(1, f, LLMD__WIRE_FEATURES_MOST + 1), 0);
  assert_true(llmd__wire_answer_size(LLMD__WIRE_IDS_MOST, f, LLMD__WIRE_FEATURES_MOST) > 4u << 20);
  f[0].hash.len = LLMD__WIRE_NAMES_MOST;
  assert_true(llmd__wire_answer_size(1, f, 2) > 0);
  f[1].hash.len = 1;
  assert_int_equal(llmd__wire_answer_size(1, f, 2), 0);
}

static void questions_go_over(void **state)
{
  char at[64];
  llmd_str path, body;
  llmd__wire_head head = {LLMD__WIRE_ASK, 12, 7};
  char version = 0;
  (void)state;
  llmd__wire_put_question(at, (llmd_str){"/p", 2});
  memcpy(at + LLMD__WIRE_QUESTION + 2, "{}", 2);
  assert_int_equal(llmd__wire_read_question(at, 12, &path, &body), 0);
  assert_int_equal(path.len, 2);
  assert_memory_equal(body.ptr, "{}", 2);
  assert_int_equal(llmd__wire_read_question(at, 9, &path, &body), LLMD_E_SYNTAX); /* the path is longer */
  assert_int_equal(llmd__wire_read_question(at, 7, &path, &body), LLMD_E_SYNTAX);
  memset(at, 0xff, 4);
  assert_int_equal(llmd__wire_read_question(at, 12, &path, &body), LLMD_E_SYNTAX);
  llmd__wire_put_head(at, &head);
  at[3] = '2';
  assert_int_equal(llmd__wire_read_head(at, &head, &version), LLMD_E_MISMATCH);
  assert_int_equal(version, '2');
  at[0] = 'G';
  assert_int_equal(llmd__wire_read_head(at, &head, &version), LLMD_E_SYNTAX);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ids_are_read),           cmocka_unit_test(lies_are_refused),
      cmocka_unit_test(more_than_there_may_be), cmocka_unit_test(features_are_joined),
      cmocka_unit_test(answers_go_over),        cmocka_unit_test(sizes_have_limits),
      cmocka_unit_test(questions_go_over),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
