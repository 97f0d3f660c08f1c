/* Policies in the toy language (toy_loader.c), for tests: LLMD_TOYS is the folder of its object. Include after
 * small_rig.h, with _GNU_SOURCE. */
#ifndef LLMD_TESTS_TOY_H
#define LLMD_TESTS_TOY_H

#include <dlfcn.h>
#include <stdatomic.h>

typedef struct toy_counts {
  _Atomic int loaded, unloaded, opened, closed, calls;
} toy_counts;

/* The object's own counters: the core has it open, here it is found again. */
static inline toy_counts *toy_count(void)
{
  static toy_counts *found;
  void *object = found ? NULL : dlopen(LLMD_TOYS "/llmd-toy.so", RTLD_NOW | RTLD_LOCAL);
  if (!found) {
    assert_non_null(object);
    found = dlsym(object, "toy_counts_now");
  }
  assert_non_null(found);
  return found;
}

/* Everything that was loaded has been unloaded, and what was opened closed. */
static inline void toy_balance(void)
{
  assert_int_equal(toy_count()->loaded, toy_count()->unloaded);
  assert_int_equal(toy_count()->opened, toy_count()->closed);
}

/* One policy called toy in one profile; lines are the text. */
static inline const char *toy_config(const char *lines)
{
  static char text[4096];
  size_t n = (size_t)snprintf(text, sizeof text, HEAD "- type: toy\n  parameters:\n    source: |\n");
  while (*lines) {
    size_t len = strcspn(lines, "\n");
    n += (size_t)snprintf(text + n, sizeof text - n, "      %.*s\n", (int)len, lines);
    lines += len + (lines[len] == '\n');
  }
  snprintf(text + n, sizeof text - n, "- type: max-score-picker\nschedulingProfiles:\n- name: default\n  plugins:\n"
                                      "  - pluginRef: toy\n  - pluginRef: max-score-picker\n");
  return text;
}

/* One policy whose text is elsewhere. */
static inline const char *toy_file(const char *file)
{
  static char text[1024];
  assert_true(llmd_policy_config("toy", file, text, sizeof text) > 0);
  return text;
}

/* What a writer is given. */
typedef struct said {
  size_t len;
  char text[65536];
} said;

static inline int said_more(void *ud, const char *ptr, size_t len)
{
  said *s = ud;
  if (len >= sizeof s->text - s->len)
    return 1;
  memcpy(s->text + s->len, ptr, len);
  s->len += len;
  s->text[s->len] = 0;
  return 0;
}

/* What an eval of the policy toy answers. */
static inline const char *toy_eval(llmd_lane *lane, const char *text)
{
  static said s;
  llmd_err err = LLMD_ERR_INIT;
  s.len = 0;
  s.text[0] = 0;
  assert_int_equal(llmd_lane_eval(lane, "toy", text, strlen(text), said_more, &s, &err), 0);
  return s.text;
}

#endif
