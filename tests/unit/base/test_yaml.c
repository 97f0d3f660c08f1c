/* What is read from YAML, what is refused, and where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/tree.h"

#include "../tree_json.h"

#include <stdio.h>

static void reads_as(const char *doc, size_t len, const char *json)
{
  char got[1024];
  llmd__tree *t = NULL;
  llmd_err err = LLMD_ERR_INIT;
  int rc = llmd__tree_parse(NULL, doc, len, NULL, &t, &err);
  assert_string_equal(err.text, "");
  assert_int_equal(rc, LLMD_OK);
  assert_true(tree_json(llmd__tree_root(t), got, sizeof got) > 0);
  llmd__tree_free(t);
  assert_string_equal(got, json);
}

static void what_is_read(void **state)
{
  static const struct {
    const char *doc, *json;
  } rows[] = {
      {"", "null"},
      {"# only a comment\n", "null"},
      {"---\n...\n", "null"},
      {"---\na: 1\n...\n", "{\"a\":1}"},
      {"word", "\"word\""},
      {"- a\n- - b\n  - c\n", "[\"a\",[\"b\",\"c\"]]"},
      {"a:\nb: ~\nc: ''\n", "{\"a\":null,\"b\":null,\"c\":\"\"}"},
      {"{type: queue-scorer, parameters: {a: [1, 2.50, 0x10, 1e3]}}",
       "{\"type\":\"queue-scorer\",\"parameters\":{\"a\":[1,2.5,16,1000]}}"},
      {"[yes, no, on, off, y, true, TRUE, 'true', \"1\", 010]",
       "[\"yes\",\"no\",\"on\",\"off\",\"y\",true,true,\"true\",\"1\",\"010\"]"},
      {"[.inf, -.inf, .nan, 99999999999999999999]", "[1e999,-1e999,null,100000000000000000000]"},
      {"1: a\ntrue: b\n~: c\n", "{\"1\":\"a\",\"true\":\"b\",\"~\":\"c\"}"},
      {"'<<': 1\n\"\": 2\n", "{\"<<\":1,\"\":2}"},
      {"? a\n: b\n", "{\"a\":\"b\"}"},
      {"a: |\n  x\n  y\nb: >-\n  x\n  y\n", "{\"a\":\"x\\ny\\n\",\"b\":\"x y\"}"},
      {"a: '5'\nb: |-\n  5\n", "{\"a\":\"5\",\"b\":\"5\"}"}, /* a block is text, whatever it looks like */
      {"a: \"\\x41\\u00e9\\U0001f600\\/\\t\"", "{\"a\":\"A\xc3\xa9\xf0\x9f\x98\x80/\\t\"}"},
      {"a: 1\r\nb: 2\r\n", "{\"a\":1,\"b\":2}"},
      {"\xef\xbb\xbf" "a: 1", "{\"a\":1}"},
      {"url: http://x:80/y#z\n", "{\"url\":\"http://x:80/y#z\"}"},
      {"a: b # c\n", "{\"a\":\"b\"}"},
      {"{\"a\":1,}", "{\"a\":1}"},             /* nearly JSON */
      {"{\"a\":1 # why\n}", "{\"a\":1}"},
      {"{a: 1}", "{\"a\":1}"},
      {"2001-01-01", "\"2001-01-01\""},
      {" \"\\ud83d\\ude00\"\n", "\"\xf0\x9f\x98\x80\""}, /* JSON, though no list or map */
      {"12:30:45", "\"12:30:45\""},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    reads_as(rows[i].doc, strlen(rows[i].doc), rows[i].json);
}

static void what_is_refused_and_where(void **state)
{
  static const char anchors[] = "anchors (&) and aliases (*) are not accepted: write the value out";
  static const char tags[] = "tags (!) are not accepted";
  static const struct {
    const char *doc;
    int code;
    uint32_t line, column;
    const char *path, *message;
  } rows[] = {
      {"a: 1\nb:\n- &x 1\n", LLMD_E_UNSUPPORTED, 3, 3, "b", anchors},
      {"a: 1\nb:\n- c: *x\n", LLMD_E_UNSUPPORTED, 3, 6, "b[0].c", anchors},
      {"a: &x {b: 1}\n", LLMD_E_UNSUPPORTED, 1, 4, "a", anchors},
      {"a: &x [b]\n", LLMD_E_UNSUPPORTED, 1, 4, "a", anchors},
      {"&k a: 1\n", LLMD_E_UNSUPPORTED, 1, 1, "", anchors},
      {"a: &x\nb: 1\n", LLMD_E_UNSUPPORTED, 1, 4, "a", anchors},
      {"a: !!str 1\n", LLMD_E_UNSUPPORTED, 1, 4, "a", tags},
      {"a: ! 1\n", LLMD_E_UNSUPPORTED, 1, 4, "a", tags},
      {"a: ! '1'\n", LLMD_E_UNSUPPORTED, 1, 4, "a", tags},
      {"a: ! |\n  x\n", LLMD_E_UNSUPPORTED, 1, 4, "a", tags},
      {"a: ! [1]\n", LLMD_E_UNSUPPORTED, 1, 4, "a", tags},
      {"a: !t {b: 1}\n", LLMD_E_UNSUPPORTED, 1, 4, "a", tags},
      {"a: !t\n", LLMD_E_UNSUPPORTED, 1, 4, "a", tags},
      {"!!str a: 1\n", LLMD_E_UNSUPPORTED, 1, 1, "", tags},
      {"--- !!map\na: 1\n", LLMD_E_UNSUPPORTED, 1, 5, "", tags},
      {"a: 1\n---\nb: 2\n", LLMD_E_UNSUPPORTED, 2, 1, "", "a second document: there must be only one"},
      {"a: 1\n---\n", LLMD_E_UNSUPPORTED, 2, 1, "", "a second document: there must be only one"},
      {"%YAML 1.1\n---\na: yes\n", LLMD_E_UNSUPPORTED, 1, 1, "", "directives (%) are not accepted"},
      {"%TAG ! !x\n---\na: 1\n", LLMD_E_UNSUPPORTED, 1, 1, "", "directives (%) are not accepted"},
      {"a: 1\n<<: {b: 2}\n", LLMD_E_UNSUPPORTED, 2, 1, "", "merge keys (<<) are not accepted: write the fields out"},
      {"p:\n- a: 1\n  b: 2\n  a: 3\n", LLMD_E_DUPLICATE, 4, 3, "p[0]",
       "key \"a\" appears twice; the first is at line 2, column 3"},
      {"{a: 1, 'a': 2}", LLMD_E_DUPLICATE, 1, 8, "", "key \"a\" appears twice; the first is at line 1, column 2"},
      {"a: {[b]: 1}\n", LLMD_E_TYPE, 1, 5, "a", "a key must be text, not a list"},
      {"? {b: 1}\n: 2\n", LLMD_E_TYPE, 1, 3, "", "a key must be text, not a map"},
      {": 1\n", LLMD_E_SYNTAX, 1, 1, "",
       "did not find expected key, while parsing a block mapping that began at line 1, column 1"},
      {"a: 1\n? \n: 2\n", LLMD_E_SYNTAX, 2, 2, "", "a key is missing"},
      {"a: \"x\\0y\"\n", LLMD_E_INVALID, 1, 4, "a", "text contains the character U+0000"},
      {"\"\\0\": 1\n", LLMD_E_INVALID, 1, 1, "", "text contains the character U+0000"},
      {"a: b\n\xc3\xa9: \xff\n", LLMD_E_UTF8, 2, 5, "", "byte 0xff is not UTF-8 here"},
      {"\xff\xfe" "a", LLMD_E_UTF8, 1, 1, "", "byte 0xff is not UTF-8 here"},
      {"a: b\nc: \xc3\xa9\x01\n", LLMD_E_SYNTAX, 2, 6, "", "control characters are not allowed (character 0x01)"},
      {"a: [1, 2\nb: 3\n", LLMD_E_SYNTAX, 2, 2, "a",
       "did not find expected ',' or ']', while parsing a flow sequence that began at line 1, column 4"},
      {"a: 1\n b: 2\n", LLMD_E_SYNTAX, 2, 3, "", "mapping values are not allowed in this context"},
      {"a:\n\t- b\n", LLMD_E_SYNTAX, 2, 1, "a",
       "found character that cannot start any token, while scanning for the next token that began at line 2, column 1"},
      {"a: \"\\ud83d\\ude00\"", LLMD_E_SYNTAX, 1, 7, "a",
       "found invalid Unicode character escape code, while parsing a quoted scalar that began at line 1, column 4"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    llmd__tree *t = NULL;
    llmd_err err = LLMD_ERR_INIT;
    int rc = llmd__tree_parse(NULL, rows[i].doc, strlen(rows[i].doc), NULL, &t, &err);
    assert_string_equal(err.text, rows[i].message);
    assert_string_equal(err.path, rows[i].path);
    assert_int_equal(rc, rows[i].code);
    assert_int_equal(err.code, rc);
    assert_int_equal(err.line, rows[i].line);
    assert_int_equal(err.column, rows[i].column);
    assert_null(t);
    assert_int_equal(llmd__tree_parse(NULL, rows[i].doc, strlen(rows[i].doc), NULL, &t, NULL),
                     rc); /* err is optional */
  }
}

/* Columns count bytes and lines end at "\n", also after characters of several bytes, CR LF and U+2028. */
static void places(void **state)
{
  static const char doc[] = "\xef\xbb\xbf\xc3\xa9: \xf0\x9f\x98\x80\r\n"
                            "list:\r\n"
                            "  - '\xc3\xa9'\r\n"
                            "  - {\xe2\x82\xac: [1, x]}\r\n"
                            "text: \"a\xe2\x80\xa8 b\"\r\n"
                            "last: |\r\n"
                            "  z\r\n";
  static const struct {
    const char *path;
    uint32_t key_line, key_column, line, column;
  } rows[] = {
      {"", 0, 0, 1, 1},
      {"[\"\xc3\xa9\"]", 1, 1, 1, 5},
      {"list", 2, 1, 3, 3},
      {"list[0]", 0, 0, 3, 5},
      {"list[1]", 0, 0, 4, 5},
      {"list[1][\"\xe2\x82\xac\"]", 4, 6, 4, 11},
      {"list[1][\"\xe2\x82\xac\"][0]", 0, 0, 4, 12},
      {"list[1][\"\xe2\x82\xac\"][1]", 0, 0, 4, 15},
      {"text", 5, 1, 5, 7},
      {"last", 6, 1, 6, 7},
  };
  llmd__tree *t = NULL;
  (void)state;
  assert_int_equal(llmd__tree_parse(NULL, doc, sizeof doc - 1, NULL, &t, NULL), LLMD_OK);
  const llmd__node *node = llmd__tree_root(t);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char path[64];
    assert_non_null(node);
    llmd__node_path(node, path, sizeof path);
    assert_string_equal(path, rows[i].path);
    assert_int_equal(node->key_line, rows[i].key_line);
    assert_int_equal(node->key_column, rows[i].key_column);
    assert_int_equal(node->line, rows[i].line);
    assert_int_equal(node->column, rows[i].column);
    if (node->first) { /* next in the order written */
      node = node->first;
      continue;
    }
    while (node && !node->next)
      node = node->parent;
    node = node ? node->next : NULL;
  }
  assert_null(node);
  llmd__tree_free(t);
}

/* ==== limits ==== */

static int parse_limited(const char *doc, const llmd__tree_limits *limits, llmd_err *err)
{
  llmd__tree *t = NULL;
  int rc = llmd__tree_parse(NULL, doc, strlen(doc), limits, &t, err);
  if (rc == LLMD_OK)
    llmd__tree_free(t);
  return rc;
}

static void depth_is_limited(void **state)
{
  char flow[2][200], block[400] = "";
  llmd_err err = LLMD_ERR_INIT;
  (void)state;
  for (size_t i = 0; i < 2; i++) {
    memset(flow[i], '[', 16 + i);
    memset(flow[i] + 16 + i, ']', 16 + i);
    flow[i][32 + 2 * i] = 0;
  }
  assert_int_equal(parse_limited(flow[0], NULL, &err), LLMD_OK);
  assert_int_equal(parse_limited(flow[1], NULL, &err), LLMD_E_DEPTH);
  assert_string_equal(err.text, "nested deeper than 16");
  assert_int_equal(err.column, 17);
  flow[1][0] = ' '; /* no longer JSON, and one level less */
  flow[1][33] = ' ';
  assert_int_equal(parse_limited(flow[1], NULL, &err), LLMD_OK);
  for (int i = 0; i < 17; i++)
    strcat(block, "- ");
  assert_int_equal(parse_limited(block, NULL, &err), LLMD_E_DEPTH);
  assert_int_equal(err.column, 33);
  assert_int_equal(parse_limited(block, &(llmd__tree_limits){.depth = 17}, &err), LLMD_OK);
  for (int i = 17; i < 65; i++)
    strcat(block, "- ");
  assert_int_equal(parse_limited(block, &(llmd__tree_limits){.depth = 1000}, &err), LLMD_E_DEPTH);
  assert_string_equal(err.text, "nested deeper than 64");
  assert_int_equal(parse_limited(block + 2, &(llmd__tree_limits){.depth = 1000}, &err), LLMD_OK);
}

static void nodes_and_bytes_are_limited(void **state)
{
  llmd_err err = LLMD_ERR_INIT;
  (void)state;
  assert_int_equal(parse_limited("[1, {a: 2}]", &(llmd__tree_limits){.nodes = 4}, &err), LLMD_OK);
  assert_int_equal(parse_limited("[1, {a: 2}]", &(llmd__tree_limits){.nodes = 3}, &err), LLMD_E_LIMIT);
  assert_string_equal(err.text, "more than 3 values");
  assert_string_equal(err.path, "[1]");
  assert_int_equal(parse_limited("[1, {\"a\": 2}]", &(llmd__tree_limits){.nodes = 3}, &err), LLMD_E_LIMIT);
  assert_int_equal(parse_limited("a: 12", &(llmd__tree_limits){.bytes = 5}, &err), LLMD_OK);
  assert_int_equal(parse_limited("a: 123", &(llmd__tree_limits){.bytes = 5}, &err), LLMD_E_LIMIT);
  assert_string_equal(err.text, "longer than 5 bytes");
}

/* The defaults: 1 MiB and 100,000 nodes, and an honest document of that size is read. */
static void default_limits(void **state)
{
  static char big[(1 << 20) + 2];
  llmd__tree *t = NULL;
  llmd_err err = LLMD_ERR_INIT;
  (void)state;
  memset(big, '#', sizeof big);
  assert_int_equal(llmd__tree_parse(NULL, big, 1 << 20, NULL, &t, &err), LLMD_OK);
  llmd__tree_free(t);
  assert_int_equal(llmd__tree_parse(NULL, big, (1 << 20) + 1, NULL, &t, &err), LLMD_E_LIMIT);
  for (size_t i = 0; i + 2 < sizeof big; i += 2)
    memcpy(big + i, "a,", 2);
  big[0] = '[';
  big[1] = ' ';
  big[200000] = ']'; /* 99,999 elements, then 100,000 */
  assert_int_equal(llmd__tree_parse(NULL, big, 200001, NULL, &t, &err), LLMD_OK);
  assert_int_equal(llmd__tree_root(t)->count, 99999);
  llmd__tree_free(t);
  big[200000] = 'a';
  big[200002] = ']';
  assert_int_equal(llmd__tree_parse(NULL, big, 200003, NULL, &t, &err), LLMD_E_LIMIT);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_read),
      cmocka_unit_test(what_is_refused_and_where),
      cmocka_unit_test(places),
      cmocka_unit_test(depth_is_limited),
      cmocka_unit_test(nodes_and_bytes_are_limited),
      cmocka_unit_test(default_limits),
  };
  return cmocka_run_group_tests_name("yaml", tests, NULL, NULL);
}
