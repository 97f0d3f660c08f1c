/* JSON as it comes: strict where it is JSON, and the same tree as YAML where both can read it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/tree.h"

#include "../tree_json.h"

#include <stdio.h>

/* The JSON reader by itself, so that YAML cannot help out. */
static int json_only(const char *doc, size_t len, char *got, size_t cap)
{
  llmd__tree *whole = NULL;
  char padded[256];
  /* A U+0085 inside a string is plain text for JSON and a line break for YAML: it tells who read the document. */
  int n = snprintf(padded, sizeof padded, "[\"\xc2\x85\", %.*s]", (int)len, doc);
  int rc = llmd__tree_parse(NULL, padded, (size_t)n, NULL, &whole, NULL);
  if (rc)
    return rc;
  const llmd__node *list = llmd__tree_root(whole);
  if (!llmd__node_is(list->first, "\xc2\x85"))
    rc = LLMD_E_SYNTAX; /* YAML took it */
  else
    assert_true(tree_json(list->last, got, cap) > 0);
  llmd__tree_free(whole);
  return rc;
}

static void what_is_json(void **state)
{
  static const struct {
    const char *doc, *json;
  } rows[] = {
      {"{}", "{}"},
      {"[ ]", "[]"},
      {" \t\r\n{\"a\"\n:\t[1,2]\r}", "{\"a\":[1,2]}"},
      {"\"\\ud83d\\ude00 \\uD834\\uDD1E\"", "\"\xf0\x9f\x98\x80 \xf0\x9d\x84\x9e\""},
      {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20ac\\uffff\"",
       "\"\\\"\\\\/\\b\\f\\n\\r\\tA\xc3\xa9\xe2\x82\xac\xef\xbf\xbf\""},
      {"\"\x7f\xef\xbb\xbf\xc2\x85\"", "\"\x7f\xef\xbb\xbf\xc2\x85\""}, /* none of which YAML takes as it is */
      {"\"true\"", "\"true\""},
      {"[true,false,null]", "[true,false,null]"},
      {"[0,-0,10,-1.5,1e3,1E+2,2e-1,0.5]", "[0,0,10,-1.5,1000,100,0.2,0.5]"},
      {"9223372036854775807", "9223372036854775807"},
      {"1e999", "1e999"},
      {"{\"\":1,\"<<\":2,\"~\":3}", "{\"\":1,\"<<\":2,\"~\":3}"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char got[256];
    assert_int_equal(json_only(rows[i].doc, strlen(rows[i].doc), got, sizeof got), LLMD_OK);
    assert_string_equal(got, rows[i].json);
  }
}

static void what_is_not_json(void **state)
{
  static const char *const bad[] = {
      "", "{", "[1,]", "{\"a\":1,}", "{a:1}", "{'a':1}", "[1 2]", "{\"a\" 1}", "{\"a\":}", "[,1]", "[1]]", "{1:2}",
      "{\"a\":1 \"b\":2}", "1 // no", "# no\n1",
      "01", "-", "+1", ".5", "5.", "1e", "1e+", "0x10", "NaN", "Infinity", "True", "nul", "truex",
      "\"a", "\"\\", "\"\\x41\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\U0001f600\"", "\"\t\"", "\"\n\"",
      "\"\\ud800\"", "\"\\ude00\"", "\"\\ud83dx\"", "\"\\ud83d\\n1234\"", "\"\\ud83d\\u0041\""};
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    char got[256];
    assert_true(json_only(bad[i], strlen(bad[i]), got, sizeof got) < 0);
  }
}

static void mistakes_have_their_place(void **state)
{
  static const struct {
    const char *doc;
    int code;
    uint32_t line, column;
    const char *path;
  } rows[] = {
      {"{\"a\": 1,\n \"b\": {\"c\": 1,\n  \"c\": 2}}", LLMD_E_DUPLICATE, 3, 3, "b"},
      {"{\"\\u0061\": 1, \"a\": 2}", LLMD_E_DUPLICATE, 1, 15, ""}, /* the same key, spelt differently */
      {"{\"a\": [\"\xc3\xa9\", \"\\u0000\"]}", LLMD_E_INVALID, 1, 14, "a"},
      {"[[[[[[[[[[[[[[[[[\"\\ud83d\\ude00\"]]]]]]]]]]]]]]]]]", LLMD_E_DEPTH, 1, 17,
       "[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]"},
      {"{\"a\": 1,\n\"b\": [1, 2}\n", LLMD_E_SYNTAX, 2, 11, "b"}, /* told by the YAML reader */
      {"{\"a\": \"\\ud83d\"}", LLMD_E_SYNTAX, 1, 10, ""},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    llmd__tree *t = NULL;
    llmd_err err = LLMD_ERR_INIT;
    assert_int_equal(llmd__tree_parse(NULL, rows[i].doc, strlen(rows[i].doc), NULL, &t, &err), rows[i].code);
    assert_string_equal(err.path, rows[i].path);
    assert_int_equal(err.line, rows[i].line);
    assert_int_equal(err.column, rows[i].column);
    assert_null(t);
  }
}

/* A document read twice: as it is, and with a comment behind it, which makes it YAML. */
static void json_and_yaml_agree(void **state)
{
  static const char doc[] = "{\n  \"apiVersion\": \"llm-d.ai/v1alpha1\",\n"
                            "  \"plugins\": [{\"type\": \"queue-scorer\"},\n"
                            "    {\"type\": \"\\u00e9\\t\\\"\", \"parameters\":\n"
                            "      {\"x\": [1, -2.5e-3, true, null, {}, []], \"\xe2\x82\xac\": \"1\"}}]\n}";
  char commented[sizeof doc + 8];
  llmd__tree *json = NULL, *yaml = NULL;
  (void)state;
  snprintf(commented, sizeof commented, "%s # y", doc);
  assert_int_equal(llmd__tree_parse(NULL, doc, strlen(doc), NULL, &json, NULL), LLMD_OK);
  assert_int_equal(llmd__tree_parse(NULL, commented, strlen(commented), NULL, &yaml, NULL), LLMD_OK);
  const llmd__node *a = llmd__tree_root(json), *b = llmd__tree_root(yaml);
  size_t nodes = 0;
  while (a && b) {
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->flags, b->flags);
    assert_int_equal(a->line, b->line);
    assert_int_equal(a->column, b->column);
    assert_int_equal(a->key_line, b->key_line);
    assert_int_equal(a->key_column, b->key_column);
    assert_string_equal(a->text.ptr ? a->text.ptr : "", b->text.ptr ? b->text.ptr : "");
    assert_string_equal(a->key.ptr ? a->key.ptr : "", b->key.ptr ? b->key.ptr : "");
    assert_true(a->integer == b->integer && a->real == b->real);
    nodes++;
    if (a->first || b->first) {
      a = a->first;
      b = b->first;
      continue;
    }
    while (a && b && !a->next && !b->next) {
      a = a->parent;
      b = b->parent;
    }
    a = a ? a->next : NULL;
    b = b ? b->next : NULL;
  }
  assert_true(!a && !b);
  assert_int_equal(nodes, 16);
  llmd__tree_free(json);
  llmd__tree_free(yaml);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_json),
      cmocka_unit_test(what_is_not_json),
      cmocka_unit_test(mistakes_have_their_place),
      cmocka_unit_test(json_and_yaml_agree),
  };
  return cmocka_run_group_tests_name("json_read", tests, NULL, NULL);
}
