/* The ring of explained decisions: order, room, slots that were torn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "uv/share/share.h"
#include "uv/stats/explain.h"

#define BYTES ((size_t)LLMD__EXPLAIN_SLOTS * LLMD__EXPLAIN_SLOT_BYTES)

static int set_up(void **state)
{
  *state = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return *state == MAP_FAILED;
}

static int tear_down(void **state)
{
  return munmap(*state, BYTES);
}

struct seen {
  uint64_t last;
  int n, stop;
  char first[64];
};

static int see(void *ud, uint64_t number, uint64_t wall, const char *text, size_t len)
{
  struct seen *s = ud;
  assert_true(!s->n || number < s->last);
  assert_int_equal(wall, number * 10);
  if (!s->n++)
    (void)snprintf(s->first, sizeof s->first, "%.*s", (int)(len < 60 ? len : 60), text);
  s->last = number;
  return s->n == s->stop;
}

static void order(void **state)
{
  struct seen s = {0};
  char text[32];
  assert_int_equal(llmd__explain_visit(*state, BYTES, see, &s), 0);
  for (uint64_t i = 1; i <= 200; i++) {
    int n = snprintf(text, sizeof text, "{\"number\":%d}", (int)i);
    assert_int_equal(llmd__explain_put(*state, BYTES, i * 10, text, (size_t)n), 0);
  }
  assert_int_equal(llmd__explain_visit(*state, BYTES, see, &s), LLMD__EXPLAIN_SLOTS);
  assert_string_equal(s.first, "{\"number\":200}");
  assert_int_equal(s.last, 200 - LLMD__EXPLAIN_SLOTS + 1);
  s = (struct seen){.stop = 3};
  assert_int_equal(llmd__explain_visit(*state, BYTES, see, &s), 3);
}

static void room(void **state)
{
  char text[LLMD__EXPLAIN_MOST + 1];
  struct seen s = {0};
  memset(text, 'x', sizeof text);
  assert_int_equal(llmd__explain_put(*state, BYTES, 10, text, sizeof text), LLMD_E_LIMIT);
  assert_int_equal(llmd__explain_put(*state, BYTES, 10, text, LLMD__EXPLAIN_MOST), 0);
  assert_int_equal(llmd__explain_put(*state, BYTES, 20, text, 0), 0);
  assert_int_equal(llmd__explain_visit(*state, BYTES, see, &s), 2);
}

/* A byte of a slot that is not what its writer wrote. */
static void torn(void **state)
{
  struct seen s = {0};
  char *at;
  for (uint64_t i = 1; i <= 3; i++)
    assert_int_equal(llmd__explain_put(*state, BYTES, i * 10, "second", 6), 0);
  at = (char *)*state + LLMD__EXPLAIN_SLOT_BYTES;
  at = memchr(at, 's', LLMD__EXPLAIN_SLOT_BYTES);
  assert_non_null(at);
  *at = 'S';
  assert_int_equal(llmd__explain_visit(*state, BYTES, see, &s), 2);
}

static int check_text(void *ud, uint64_t number, uint64_t wall, const char *text, size_t len)
{
  (void)ud;
  (void)number;
  assert_int_equal(len, wall % 8000);
  for (size_t i = 0; i < len; i++)
    if (text[i] != (char)('a' + wall % 26))
      fail_msg("a slot that was torn was shown");
  return 0;
}

static int show(void *ud, uint64_t number, uint64_t wall, const char *text, size_t len)
{
  (void)ud;
  (void)number;
  (void)text;
  assert_int_equal(wall, 5);
  assert_int_equal(len, 0);
  return 0;
}

static void write_away(void *area, uint64_t seed)
{
  char text[8000];
  for (uint64_t i = seed;; i += 7) {
    memset(text, (int)('a' + i % 26), sizeof text);
    (void)llmd__explain_put(area, BYTES, i, text, i % 8000);
  }
}

static void killed(void **state)
{
  for (uint64_t round = 0; round < 5; round++) {
    pid_t pid[3];
    int shown = 0;
    for (uint64_t i = 0; i < 3; i++) {
      pid[i] = fork();
      assert_true(pid[i] >= 0);
      if (pid[i] == 0)
        write_away(*state, 1000 * round + i);
    }
    for (int i = 0; i < 50 || shown < 1000; i++)
      shown += llmd__explain_visit(*state, BYTES, check_text, NULL);
    for (int i = 0; i < 3; i++) {
      assert_int_equal(kill(pid[i], SIGKILL), 0);
      assert_int_equal(waitpid(pid[i], NULL, 0), pid[i]);
    }
  }
  /* slots of the dead come back in their turn */
  for (uint64_t i = 0; i < 2 * LLMD__EXPLAIN_SLOTS; i++)
    assert_int_equal(llmd__explain_put(*state, BYTES, 5, "", 0), 0);
  assert_int_equal(llmd__explain_visit(*state, BYTES, show, NULL), LLMD__EXPLAIN_SLOTS);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(order, set_up, tear_down),
    cmocka_unit_test_setup_teardown(room, set_up, tear_down),
    cmocka_unit_test_setup_teardown(torn, set_up, tear_down),
    cmocka_unit_test_setup_teardown(killed, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
