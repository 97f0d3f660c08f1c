/* For tests of policies: a text, made into a policy by the loader's own door, and what was said about it. Include after
 * cmocka.h and failing_alloc.h. */
#ifndef LLMD_TESTS_POLICY_RIG_H
#define LLMD_TESTS_POLICY_RIG_H

#include <stdio.h>
#include <string.h>

#include "policy.h"

extern const llmd_loader *llmd_loader_module(uint32_t abi);

typedef struct made {
  failing_alloc memory;
  llmd__lua_policy *p; /* NULL: it was refused */
  llmd_err err;
  int rc;
  uint32_t n_remarks;
  char remark[8][256];
} made;

static inline void made_remark(void *ud, int level, const char *component, const char *text, size_t len)
{
  made *m = ud;
  assert_int_equal(level, LLMD_LOG_WARN);
  assert_string_equal(component, "policy");
  assert_true(m->n_remarks < 8);
  snprintf(m->remark[m->n_remarks++], sizeof m->remark[0], "%.*s", (int)len, text);
}

static inline void make_of(made *m, const char *text, size_t len)
{
  llmd_program in = {.size = sizeof in, .alloc = &m->memory.a, .name = {"mine", 4}, .file = {"mine.lua", 8},
                     .text = {text, len}, .log = made_remark, .log_ud = m};
  void *policy = NULL;
  memset(m, 0, sizeof *m);
  failing_alloc_init(&m->memory, 0);
  m->err.size = sizeof m->err;
  m->rc = llmd_loader_module(LLMD_LOADER_ABI)->load(&in, &policy, &m->err);
  m->p = policy;
  assert_int_equal(!m->rc, m->p != NULL);
}

static inline void make(made *m, const char *text)
{
  make_of(m, text, strlen(text));
}

static inline void made_drop(made *m)
{
  if (m->p)
    llmd_loader_module(LLMD_LOADER_ABI)->unload(m->p);
  assert_int_equal(m->memory.blocks, 0);
}

/* The text is refused with that code, at that line, and words that are all in the message. */
static inline void refused(const char *text, int code, uint32_t line, const char *words)
{
  made m;
  make(&m, text);
  if (m.rc != code || m.err.line != line || !strstr(m.err.text, words))
    fail_msg("%s\ngave %d, line %u: %s\nexpected %d, line %u: %s", text, m.rc, m.err.line, m.err.text, code, line, words);
  assert_string_equal(m.err.path, "mine.lua");
  made_drop(&m);
}

/* It is taken, without a remark. */
static inline void taken(made *m, const char *text)
{
  make(m, text);
  if (m->rc)
    fail_msg("%s\ngave %d, line %u: %s", text, m->rc, m->err.line, m->err.text);
  if (m->n_remarks)
    fail_msg("%s", m->remark[0]);
}

#endif
