/* Expressions in a frozen sandbox, for the tests of what scripts may call: what they give, as text, and how they are
 * refused. `frozen` and `names` are read-only lists of the module, `kinds` an empty read-only table. Include after
 * cmocka.h. */
#ifndef LLMD_TESTS_API_RIG_H
#define LLMD_TESTS_API_RIG_H

#include "state_rig.h"

#define API_PRELUDE                                                                               \
  "local frozen, names, kinds = {3, 1, 2}, {'pod-a', 'pod-b', 'pod-c'}, {} "                      \
  "local nan, inf = 0/0, 1/0 "                                                                    \
  "local function show(...) local s = '' for i = 1, select('#', ...) do local v = select(i, ...) " \
  "if type(v) == 'table' then local t = '' for k = 1, #v do t = t .. (k > 1 and ' ' or '') .. tostring(v[k]) end " \
  "v = '{' .. t .. '}' end s = s .. (i > 1 and ' ' or '') .. tostring(v) end return s end "       \
  "local function keep() return frozen, names, kinds, nan, inf, show end return {keep = keep, f = function()\n"

/* Calls a function of that body. The rig stays open. */
static inline int api_run(rig *r, const char *body)
{
  char text[4096];
  int n = snprintf(text, sizeof text, "%s%s\nend}", API_PRELUDE, body);
  assert_true(n > 0 && (size_t)n < sizeof text);
  rig_start(r, text);
  r->lua.random = 42;
  return rig_call(r, "f");
}

static inline void api_gives_body(const char *body, const char *wanted)
{
  rig r;
  int rc = api_run(&r, body);
  if (rc || strcmp(r.text, wanted))
    print_message("# %s: %d, %s%s, not %s\n", body, rc, r.text, r.lua.trouble, wanted);
  assert_int_equal(rc, 0);
  assert_string_equal(r.text, wanted);
  rig_close(&r);
}

static inline void api_gives(const char *expression, const char *wanted)
{
  char body[2048];
  snprintf(body, sizeof body, "return show(%s)", expression);
  api_gives_body(body, wanted);
}

/* The script's own fault: the message has its file and line, and says what is wrong. */
static inline void api_refuses(const char *expression, const char *trouble)
{
  char body[2048];
  rig r;
  snprintf(body, sizeof body, "return show(%s)", expression);
  int rc = api_run(&r, body);
  if (rc != LLMD_E_PLUGIN || !strstr(r.lua.trouble, trouble))
    print_message("# %s: %d, %s%s, not %s\n", expression, rc, r.text, r.lua.trouble, trouble);
  assert_int_equal(rc, LLMD_E_PLUGIN);
  assert_non_null(strstr(r.lua.trouble, trouble));
  assert_non_null(strstr(r.lua.trouble, "test.lua:2:"));
  rig_close(&r);
}

/* The loop itself would fit into the budget ten times: what is called in it must cost something. */
static inline void api_costs(const char *before, const char *statement)
{
  char body[2048];
  rig r;
  snprintf(body, sizeof body, "%s local v for round = 1, 800 do %s end", before, statement);
  int rc = api_run(&r, body);
  if (rc != LLMD_E_LIMIT)
    print_message("# %s: %d, %s\n", statement, rc, r.lua.trouble);
  assert_int_equal(rc, LLMD_E_LIMIT);
  rig_close(&r);
}

#endif
