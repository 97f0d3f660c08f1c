/* From a parameters tree to a plugin's self: every type, defaults, ranges, references, and errors with their place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../failing_alloc.h"
#include "plugin/params.h"

typedef struct inner {
  int64_t depth;
  llmd_str label;
} inner;

typedef struct item {
  llmd_str name;
  double weight;
  llmd_list tags;
} item;

typedef struct self {
  uint32_t flag, mode, friend_, decider, profile, stage, has_ratio, has_inner, has_friend;
  int64_t count, limited, wait, room, old_count;
  double ratio, share;
  llmd_str text, absent;
  inner in;
  llmd_list items, words, pairs;
  char padding[8]; /* written by validate */
} self;

static const llmd_enum modes[] = {{"fast", 1}, {"quick", 1}, {"slow", 2}, {0}};
static const llmd_param inner_rows[] = {
    {.name = "depth", .type = LLMD_PARAM_INT, .offset = offsetof(inner, depth), .preset = "3", .min = 1, .max = 9,
     .doc = "d"},
    {.name = "label", .type = LLMD_PARAM_STRING, .flags = LLMD_PARAM_REQUIRED, .offset = offsetof(inner, label),
     .doc = "l"},
    {0}};
static const llmd_param item_rows[] = {
    {.name = "name", .type = LLMD_PARAM_STRING, .flags = LLMD_PARAM_REQUIRED, .offset = offsetof(item, name),
     .doc = "n"},
    {.name = "weight", .type = LLMD_PARAM_FLOAT, .offset = offsetof(item, weight), .preset = "1.5", .doc = "w"},
    {.name = "tags", .type = LLMD_PARAM_STRINGS, .offset = offsetof(item, tags), .doc = "t"},
    {0}};
static const llmd_param rows[] = {
    {.name = "flag", .type = LLMD_PARAM_BOOL, .offset = offsetof(self, flag), .preset = "true", .doc = "f"},
    {.name = "count", .type = LLMD_PARAM_INT, .offset = offsetof(self, count), .preset = "-7", .doc = "c"},
    {.name = "limited", .type = LLMD_PARAM_INT, .offset = offsetof(self, limited), .preset = "5", .min = 1, .max = 10,
     .doc = "l"},
    {.name = "ratio", .type = LLMD_PARAM_FLOAT, .offset = offsetof(self, ratio), .given = offsetof(self, has_ratio),
     .preset = "0.25", .min = 0, .max = 1, .doc = "r"},
    {.name = "share", .type = LLMD_PARAM_FLOAT, .flags = LLMD_PARAM_ABOVE_MIN, .offset = offsetof(self, share),
     .preset = "1", .doc = "s"},
    {.name = "text", .type = LLMD_PARAM_STRING, .offset = offsetof(self, text), .preset = "hello", .doc = "t"},
    {.name = "absent", .type = LLMD_PARAM_STRING, .offset = offsetof(self, absent), .doc = "a"},
    {.name = "mode", .type = LLMD_PARAM_ENUM, .offset = offsetof(self, mode), .preset = "slow", .values = modes,
     .doc = "m"},
    {.name = "wait", .type = LLMD_PARAM_DURATION, .offset = offsetof(self, wait), .preset = "1m30s", .max = 1e15,
     .doc = "w"},
    {.name = "room", .type = LLMD_PARAM_QUANTITY, .offset = offsetof(self, room), .preset = "1G", .doc = "r"},
    {.name = "inner", .type = LLMD_PARAM_OBJECT, .offset = offsetof(self, in), .given = offsetof(self, has_inner),
     .sub = inner_rows, .sub_size = sizeof(inner), .doc = "i"},
    {.name = "items", .type = LLMD_PARAM_LIST, .offset = offsetof(self, items), .sub = item_rows,
     .sub_size = sizeof(item), .doc = "i"},
    {.name = "words", .type = LLMD_PARAM_STRINGS, .offset = offsetof(self, words), .doc = "w"},
    {.name = "pairs", .type = LLMD_PARAM_MAP, .offset = offsetof(self, pairs), .doc = "p"},
    {.name = "friend", .type = LLMD_PARAM_PLUGIN, .offset = offsetof(self, friend_),
     .given = offsetof(self, has_friend), .preset = "queue", .doc = "f"},
    {.name = "decider", .type = LLMD_PARAM_PLUGIN, .offset = offsetof(self, decider), .sub_size = LLMD_DECIDER,
     .doc = "d"},
    {.name = "profile", .type = LLMD_PARAM_PROFILE, .offset = offsetof(self, profile), .preset = "decode", .doc = "p"},
    {.name = "stage", .type = LLMD_PARAM_PROFILE, .offset = offsetof(self, stage), .doc = "s"},
    {.name = "anything", .type = LLMD_PARAM_ANY, .doc = "a"},
    {.name = "oldCount", .type = LLMD_PARAM_INT, .flags = LLMD_PARAM_OLD, .offset = offsetof(self, old_count),
     .doc = "o"},
    {0}};

static int validate(void *p, llmd_err *err)
{
  self *s = p;
  if (s->count == 13) {
    snprintf(err->path, sizeof err->path, "count");
    snprintf(err->text, sizeof err->text, "thirteen is not allowed");
    return LLMD_E_RANGE;
  }
  if (s->count == 14)
    return LLMD_E_INVALID; /* without a word */
  memcpy(s->padding, "checked", 8);
  return 0;
}

static const llmd_plugin plugin = {.size = sizeof plugin, .abi = LLMD_PLUGIN_ABI, .type = "test", .summary = "s",
                                   .self_size = sizeof(self), .params = rows, .validate = validate};

/* ---- what is named ---------------------------------------------------------------------------------------------- */

static uint32_t olds;

static uint32_t find(const char *const *names, uint32_t n, const char *name, size_t len)
{
  for (uint32_t i = 0; i < n; i++)
    if (strlen(names[i]) == len && !memcmp(names[i], name, len))
      return i;
  return LLMD_NO_INDEX;
}

static uint32_t find_plugin(void *ud, const char *name, size_t len)
{
  static const char *const names[] = {"picker", "queue", "pd"};
  (void)ud;
  return find(names, 3, name, len);
}

static uint32_t find_profile(void *ud, const char *name, size_t len)
{
  static const char *const names[] = {"prefill", "decode"};
  (void)ud;
  return find(names, 2, name, len);
}

static uint32_t kind_of(void *ud, uint32_t i)
{
  static const uint32_t kinds[] = {LLMD_PICKER, LLMD_SCORER, LLMD_DECIDER | LLMD_FILTER};
  (void)ud;
  return kinds[i];
}

static void note_old(void *ud, const llmd__node *at)
{
  (void)ud;
  assert_string_equal(at->key.ptr, "oldCount");
  olds++;
}

static const llmd__names names = {find_plugin, find_profile, kind_of, note_old, NULL};

static int load(const llmd_allocator *a, const char *text, llmd__self *out, llmd_err *err)
{
  llmd__tree *tree = NULL;
  const llmd__node *node = NULL;
  int rc = 0;
  olds = 0;
  if (text)
    rc = llmd__tree_parse(a, text, strlen(text), NULL, &tree, err);
  if (rc)
    return rc;
  if (tree)
    node = llmd__map_get(llmd__tree_root(tree), "parameters");
  rc = llmd__params_load(a, &plugin, node, "plugins[2].parameters", &names, out, err);
  llmd__tree_free(tree); /* self holds copies */
  return rc;
}

static llmd_allocator heap(void)
{
  llmd_allocator a;
  llmd__alloc_init(&a, NULL);
  return a;
}

static const self *load_ok(const char *text, llmd__self *out)
{
  llmd_allocator a = heap();
  llmd_err err = LLMD_ERR_INIT;
  if (load(&a, text, out, &err))
    fail_msg("%s: %u:%u %s: %s", text, err.line, err.column, err.path, err.text);
  return out->self;
}

static void drop(llmd__self *s)
{
  llmd_allocator a = heap();
  llmd__params_free(&a, s);
  assert_null(s->self);
}

static void assert_str(const llmd_str *s, const char *want)
{
  assert_int_equal(s->len, strlen(want));
  assert_memory_equal(s->ptr, want, s->len + 1);
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

static void check_defaults(const char *text)
{
  llmd__self out;
  const self *s = load_ok(text, &out);
  assert_true(s->flag == 1 && s->count == -7 && s->limited == 5 && s->ratio == 0.25 && s->share == 1);
  assert_str(&s->text, "hello");
  assert_null(s->absent.ptr);
  assert_int_equal(s->mode, 2);
  assert_true(s->wait == 90000000000 && s->room == 1000000000);
  assert_int_equal(s->in.depth, 3);
  assert_null(s->in.label.ptr);
  assert_true(!s->items.n && !s->words.n && !s->pairs.n);
  assert_int_equal(s->friend_, 1);
  assert_int_equal(s->decider, LLMD_NO_INDEX);
  assert_int_equal(s->profile, 1);
  assert_int_equal(s->stage, LLMD_NO_INDEX);
  assert_true(!s->has_ratio && !s->has_inner && !s->has_friend);
  assert_string_equal(s->padding, "checked");
  drop(&out);
}

static void defaults(void **state)
{
  (void)state;
  check_defaults(NULL);
  check_defaults("{}");
  check_defaults("parameters:\n");
  check_defaults("parameters: {}\n");
  check_defaults("parameters: {flag: null, ratio: ~, inner: null, items: null, friend: null}\n");
}

static void every_type_is_read(void **state)
{
  llmd__self out;
  const self *s = load_ok("parameters:\n  flag: false\n  count: -9223372036854775808\n  limited: 10\n  ratio: 1\n"
                          "  share: 1e-300\n  text: \"a\\u00e9\"\n  absent: ''\n  mode: quick\n  wait: 250ms\n"
                          "  room: 2Ki\n  friend: picker\n  decider: pd\n  profile: prefill\n  stage: nowhere\n"
                          "  anything: [1, {x: y}]\n  oldCount: 4\n",
                          &out);
  (void)state;
  assert_true(s->flag == 0 && s->count == INT64_MIN && s->limited == 10 && s->ratio == 1 && s->share == 1e-300);
  assert_str(&s->text, "a\xc3\xa9");
  assert_non_null(s->absent.ptr);
  assert_int_equal(s->absent.len, 0);
  assert_true(s->mode == 1 && s->wait == 250000000 && s->room == 2048);
  assert_true(s->friend_ == 0 && s->decider == 2 && s->profile == 0);
  assert_int_equal(s->stage, LLMD_NO_INDEX); /* a profile that is not there is none */
  assert_true(s->has_ratio == 1 && s->has_friend == 1 && s->old_count == 4);
  assert_int_equal(olds, 1);
  drop(&out);
}

static void lists_and_objects(void **state)
{
  llmd__self out;
  const self *s = load_ok("parameters:\n  inner: {label: x}\n  words: [b, a, '']\n  pairs: {k: v, a: '1'}\n"
                          "  items:\n  - {name: one, tags: [p, q]}\n  - name: two\n    weight: -2\n",
                          &out);
  const item *i = s->items.items;
  const llmd_str *w = s->words.items;
  const llmd_pair *p = s->pairs.items;
  (void)state;
  assert_int_equal(s->has_inner, 1);
  assert_int_equal(s->in.depth, 3);
  assert_str(&s->in.label, "x");
  assert_true(s->words.n == 3 && s->words.item_size == sizeof *w);
  assert_str(&w[0], "b");
  assert_str(&w[1], "a");
  assert_str(&w[2], "");
  assert_true(s->pairs.n == 2 && s->pairs.item_size == sizeof *p);
  assert_str(&p[0].key, "k");
  assert_str(&p[1].value, "1");
  assert_true(s->items.n == 2 && s->items.item_size == sizeof *i);
  assert_str(&i[0].name, "one");
  assert_true(i[0].weight == 1.5 && i[1].weight == -2 && i[0].tags.n == 2 && i[1].tags.n == 0);
  assert_str(&((const llmd_str *)i[0].tags.items)[1], "q");
  drop(&out);
}

/* As if the file had not said anything: the default holds, and nothing was given. */
static void an_empty_name_is_none(void **state)
{
  llmd__self out;
  const self *s = load_ok("parameters: {friend: '', decider: '', profile: '', stage: ''}\n", &out);
  (void)state;
  assert_true(s->friend_ == 1 && s->has_friend == 0 && s->profile == 1);
  assert_true(s->decider == LLMD_NO_INDEX && s->stage == LLMD_NO_INDEX);
  drop(&out);
}

/* ---- errors ----------------------------------------------------------------------------------------------------- */

#define P "plugins[2].parameters"

static void errors_have_a_place(void **state)
{
  static const struct {
    const char *text; /* on line 2, behind two blanks */
    int code;
    uint32_t column;
    const char *path, *says;
  } bad[] = {
      {"flagg: true", LLMD_E_UNKNOWN_FIELD, 3, "flagg", "flagg"},
      {"flag: yes", LLMD_E_TYPE, 9, "flag", "yes"},
      {"flag: 1", LLMD_E_TYPE, 9, "flag", ""},
      {"count: x", LLMD_E_TYPE, 10, "count", ""},
      {"count: 1.5", LLMD_E_TYPE, 10, "count", ""},
      {"count: 9223372036854775808", LLMD_E_RANGE, 10, "count", ""},
      {"limited: 0", LLMD_E_RANGE, 12, "limited", "at least 1"},
      {"limited: 11", LLMD_E_RANGE, 12, "limited", "at most 10"},
      {"ratio: 1.01", LLMD_E_RANGE, 10, "ratio", ""},
      {"ratio: .nan", LLMD_E_RANGE, 10, "ratio", ""},
      {"share: 0", LLMD_E_RANGE, 10, "share", "above 0"},
      {"share: -1", LLMD_E_RANGE, 10, "share", "above 0"},
      {"text: 5", LLMD_E_TYPE, 9, "text", ""},
      {"text: [a]", LLMD_E_TYPE, 9, "text", ""},
      {"mode: Fast", LLMD_E_RANGE, 9, "mode", "Fast"},
      {"mode: [fast]", LLMD_E_TYPE, 9, "mode", ""},
      {"wait: 5", LLMD_E_TYPE, 9, "wait", ""},
      {"wait: 5 parsecs", LLMD_E_TYPE, 9, "wait", ""},
      {"room: 1Zi", LLMD_E_TYPE, 9, "room", ""},
      {"inner: {}", LLMD_E_MISSING, 10, "inner", "label"},
      {"inner: {label: x, depth: 10}", LLMD_E_RANGE, 28, "inner.depth", ""},
      {"inner: {label: x, dept: 10}", LLMD_E_UNKNOWN_FIELD, 21, "inner.dept", "dept"},
      {"inner: [x]", LLMD_E_TYPE, 10, "inner", ""},
      {"items: {}", LLMD_E_TYPE, 10, "items", ""},
      {"items: [{name: a}, {weight: 1}]", LLMD_E_MISSING, 22, "items[1]", "name"},
      {"items: [{name: a, weight: x}]", LLMD_E_TYPE, 29, "items[0].weight", ""},
      {"items: [a]", LLMD_E_TYPE, 11, "items[0]", ""},
      {"words: a", LLMD_E_TYPE, 10, "words", ""},
      {"words: [a, 2]", LLMD_E_TYPE, 14, "words[1]", ""},
      {"pairs: [a]", LLMD_E_TYPE, 10, "pairs", ""},
      {"pairs: {a: 2}", LLMD_E_TYPE, 14, "pairs.a", ""},
      {"friend: nobody", LLMD_E_UNKNOWN_REF, 11, "friend", "nobody"},
      {"friend: 3", LLMD_E_TYPE, 11, "friend", ""},
      {"decider: queue", LLMD_E_TYPE, 12, "decider", "\"queue\", which is not a decider"},
      {"profile: [a]", LLMD_E_TYPE, 12, "profile", ""},
  };
  llmd_allocator a = heap();
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    char text[128], path[64];
    llmd__self out = {NULL, 0, NULL};
    llmd_err err = LLMD_ERR_INIT;
    int rc;
    snprintf(text, sizeof text, "parameters:\n  %s\n", bad[i].text);
    snprintf(path, sizeof path, "parameters.%s", bad[i].path); /* of this document */
    rc = load(&a, text, &out, &err);
    if (rc != bad[i].code || err.line != 2 || err.column != bad[i].column || strcmp(err.path, path) ||
        !strstr(err.text, bad[i].says))
      fail_msg("%s: %s %u:%u %s: %s", bad[i].text, llmd_errname(rc), err.line, err.column, err.path, err.text);
    assert_null(out.self);
  }
}

static void a_list_of_parameters_is_none(void **state)
{
  llmd_allocator a = heap();
  llmd__self out = {NULL, 0, NULL};
  llmd_err err = LLMD_ERR_INIT;
  (void)state;
  assert_int_equal(load(&a, "parameters: [flag]\n", &out, &err), LLMD_E_TYPE);
  assert_int_equal(load(&a, "parameters: 3\n", &out, &err), LLMD_E_TYPE);
  assert_null(out.self);
}

/* validate knows no lines, but its path goes behind the plugin's. */
static void what_validate_says_is_passed_on(void **state)
{
  llmd_allocator a = heap();
  llmd__self out = {NULL, 0, NULL};
  llmd_err err = LLMD_ERR_INIT;
  (void)state;
  assert_int_equal(load(&a, "\nparameters: {count: 13}\n", &out, &err), LLMD_E_RANGE);
  assert_string_equal(err.path, P ".count");
  assert_string_equal(err.text, "thirteen is not allowed");
  assert_true(err.line == 2 && err.column == 13);
  assert_int_equal(load(&a, "parameters: {count: 14}\n", &out, &err), LLMD_E_INVALID);
  assert_string_equal(err.path, P);
  assert_string_equal(err.text, llmd_strerror(LLMD_E_INVALID));
  assert_null(out.self);
}

static void required_without_any_parameters(void **state)
{
  static const llmd_param needs[] = {
      {.name = "key", .type = LLMD_PARAM_STRING, .flags = LLMD_PARAM_REQUIRED, .doc = "k"}, {0}};
  static const llmd_plugin needy = {.size = sizeof needy, .abi = LLMD_PLUGIN_ABI, .type = "needy", .summary = "s",
                                    .self_size = sizeof(llmd_str), .params = needs};
  llmd_allocator a = heap();
  llmd__self out = {NULL, 0, NULL};
  llmd_err err = LLMD_ERR_INIT;
  (void)state;
  assert_int_equal(llmd__params_load(&a, &needy, NULL, P, &names, &out, &err), LLMD_E_MISSING);
  assert_string_equal(err.path, P);
  assert_non_null(strstr(err.text, "key"));
  assert_null(out.self);
}

static int load_and_free(const llmd_allocator *a, void *ctx)
{
  llmd__self out;
  llmd_err err = LLMD_ERR_INIT;
  int rc = load(a, ctx, &out, &err);
  if (!rc)
    llmd__params_free(a, &out);
  return rc;
}

static void every_allocation_fails_once(void **state)
{
  char text[] = "parameters:\n  inner: {label: x}\n  words: [b, a]\n  pairs: {k: v}\n"
                "  items: [{name: one, tags: [p]}]\n";
  (void)state;
  assert_true(fail_each_allocation(load_and_free, text) > 12);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(defaults),
      cmocka_unit_test(every_type_is_read),
      cmocka_unit_test(lists_and_objects),
      cmocka_unit_test(an_empty_name_is_none),
      cmocka_unit_test(errors_have_a_place),
      cmocka_unit_test(a_list_of_parameters_is_none),
      cmocka_unit_test(what_validate_says_is_passed_on),
      cmocka_unit_test(required_without_any_parameters),
      cmocka_unit_test(every_allocation_fails_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
