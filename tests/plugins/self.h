/* A plugin's self for tests: presets from its parameter table, then values set by their path ("profiles.decode"), as
 * the core would store them; then validate. Only what the tests here need: no lists, no maps. */
#ifndef LLMD_TESTS_SELF_H
#define LLMD_TESTS_SELF_H

#include <llmd/plugin.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct test_self {
  union {
    max_align_t align;
    char bytes[4096];
  } at;
  llmd_err err;
} test_self;

/* Numbers are written as the file would have them; a PLUGIN or PROFILE as its index, "-" = none. */
static inline void self_store(char *base, const llmd_param *p, const char *text)
{
  int64_t integer = strtoll(text, NULL, 10);
  double number = strtod(text, NULL);
  uint32_t word = (uint32_t)integer;
  llmd_str str = {text, strlen(text)};
  const llmd_enum *e;
  switch (p->type) {
  case LLMD_PARAM_BOOL:
    word = strcmp(text, "true") == 0;
    memcpy(base + p->offset, &word, sizeof word);
    break;
  case LLMD_PARAM_PLUGIN:
  case LLMD_PARAM_PROFILE:
    word = text[0] >= '0' && text[0] <= '9' ? word : LLMD_NO_INDEX;
    memcpy(base + p->offset, &word, sizeof word);
    break;
  case LLMD_PARAM_ENUM:
    for (e = p->values; e->name && strcmp(e->name, text) != 0; e++)
      ;
    assert_non_null(e->name);
    memcpy(base + p->offset, &e->value, sizeof e->value);
    break;
  case LLMD_PARAM_INT:
  case LLMD_PARAM_DURATION:
    memcpy(base + p->offset, &integer, sizeof integer);
    break;
  case LLMD_PARAM_FLOAT:
    memcpy(base + p->offset, &number, sizeof number);
    break;
  case LLMD_PARAM_STRING:
    memcpy(base + p->offset, &str, sizeof str);
    break;
  default:
    fail_msg("%s: a type that the tests do not set", p->name);
  }
}

static inline void self_presets(char *base, const llmd_param *p)
{
  for (; p && p->name; p++) {
    if (p->type == LLMD_PARAM_OBJECT)
      self_presets(base + p->offset, p->sub);
    else if (p->type == LLMD_PARAM_PLUGIN || p->type == LLMD_PARAM_PROFILE)
      self_store(base, p, "-");
    else if (p->preset)
      self_store(base, p, p->preset);
  }
}

static inline void self_init(test_self *s, const llmd_plugin *plugin)
{
  static const llmd_err blank = LLMD_ERR_INIT;
  memset(s, 0, sizeof *s);
  s->err = blank;
  assert_true(plugin->self_size >= 1 && plugin->self_size <= sizeof s->at.bytes);
  self_presets(s->at.bytes, plugin->params);
}

static inline void self_given(char *base, const llmd_param *p)
{
  uint32_t one = 1;
  if (p->given)
    memcpy(base + p->given, &one, sizeof one);
}

/* Sets one parameter. Returns 0, or what the core's own checks would answer: unknown name, out of range. */
static inline int self_set(test_self *s, const llmd_plugin *plugin, const char *path, const char *text)
{
  const llmd_param *p = plugin->params;
  char *base = s->at.bytes;
  for (;;) {
    size_t n = strcspn(path, ".");
    double value = strtod(text, NULL);
    while (p && p->name && !(strlen(p->name) == n && memcmp(p->name, path, n) == 0))
      p++;
    if (!p || !p->name)
      return LLMD_E_UNKNOWN_FIELD;
    self_given(base, p);
    if (path[n] == 0) {
      int ranged = (p->min != 0 || p->max != 0) && !(p->flags & LLMD_PARAM_NO_RANGE);
      if (ranged && (value < p->min || value > p->max || ((p->flags & LLMD_PARAM_ABOVE_MIN) && value == p->min)))
        return LLMD_E_RANGE;
      self_store(base, p, text);
      return 0;
    }
    base += p->offset;
    path += n + 1;
    p = p->sub;
  }
}

static inline int self_check(test_self *s, const llmd_plugin *plugin)
{
  int rc = plugin->validate ? plugin->validate(s->at.bytes, &s->err) : 0;
  if (rc)
    assert_true(s->err.text[0] != 0);
  return rc;
}

/* What every descriptor must have right. */
static inline void check_descriptor(const llmd_plugin *p)
{
  assert_int_equal(p->size, sizeof *p);
  assert_int_equal(p->abi, LLMD_PLUGIN_ABI);
  assert_non_null(p->type);
  assert_true(p->summary && p->summary[0]);
  assert_true(p->self_size >= 1);
  assert_int_equal((p->kind & LLMD_PICKER) != 0, p->pick != NULL);
  assert_int_equal((p->kind & LLMD_DECIDER) != 0, p->decide != NULL);
  assert_int_equal((p->kind & LLMD_PROFILE_HANDLER) != 0, p->next != NULL);
  assert_int_equal((p->kind & LLMD_PROFILE_HANDLER) != 0, p->finish != NULL);
}

#endif
