/* Texts of policies in the region: numbers, limits, and that a reader never sees half of one, whoever dies. */
#include "small_rig.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAME "traffic.lua"
#define NAME_LEN (sizeof NAME - 1)
#define MOST 65536u

static void numbers(void **state)
{
  char buf[64];
  uint64_t number = 77;
  size_t len = 77;
  rig r;
  (void)state;
  rig_open(&r, 1, NULL, NULL, NULL);
  assert_int_equal(llmd_pool_get_policy(r.pool, NAME, NAME_LEN, buf, sizeof buf, &len, &number), LLMD_E_NONE);
  assert_int_equal(len, 77);
  for (uint64_t i = 1; i < 6; i++) {
    char text[32];
    int n = snprintf(text, sizeof text, "return %llu -- text", (unsigned long long)i * i * i * i * i);
    for (int twice = 0; twice < 2; twice++) { /* the same text keeps its number */
      assert_int_equal(llmd_pool_put_policy(r.pool, NAME, NAME_LEN, text, (size_t)n, &number), 0);
      assert_int_equal(number, i);
    }
    number = 0;
    assert_int_equal(llmd_pool_get_policy(r.pool, NAME, NAME_LEN, buf, sizeof buf, &len, &number), 0);
    assert_int_equal(number, i);
    assert_int_equal(len, n);
    assert_memory_equal(buf, text, len);
  }
  assert_int_equal(llmd_pool_get_policy(r.pool, NAME, NAME_LEN, buf, 3, &len, NULL), LLMD_E_LIMIT);
  assert_true(len > 3);
  assert_int_equal(llmd_pool_get_policy(r.pool, "other", 5, buf, sizeof buf, &len, NULL), LLMD_E_NONE);
  assert_int_equal(llmd_pool_put_policy(r.pool, NAME, NAME_LEN, "", 0, &number), 0); /* an empty text is one */
  assert_int_equal(number, 6);
  assert_int_equal(llmd_pool_get_policy(r.pool, NAME, NAME_LEN, buf, sizeof buf, &len, &number), 0);
  assert_int_equal(len, 0);
  rig_close(&r);
}

static void limits(void **state)
{
  static char text[MOST + 1], back[MOST];
  char name[300];
  size_t len;
  rig r;
  (void)state;
  rig_open(&r, 1, NULL, NULL, NULL);
  memset(text, 'x', sizeof text);
  memset(name, 'n', sizeof name);
  assert_int_equal(llmd_pool_put_policy(r.pool, NAME, NAME_LEN, text, MOST + 1, NULL), LLMD_E_LIMIT);
  assert_int_equal(llmd_pool_put_policy(r.pool, name, 256, text, 1, NULL), LLMD_E_LIMIT);
  assert_int_equal(llmd_pool_put_policy(r.pool, name, 0, text, 1, NULL), LLMD_E_INVALID);
  assert_int_equal(llmd_pool_put_policy(r.pool, name, 255, text, MOST, NULL), 0);
  assert_int_equal(llmd_pool_get_policy(r.pool, name, 255, back, sizeof back, &len, NULL), 0);
  assert_int_equal(len, MOST);
  assert_memory_equal(back, text, MOST);
  rig_close(&r);
}

/* Two names whose hashes are one: the second is refused, and never gets the first one's text. */
static void names_of_one_hash(void **state)
{
  static const char one[] = "8yn0iYCKYHlIj4-BwPqk", other[] = "GReLUrM4wMqfg9yzV3KQ";
  const size_t n = sizeof one - 1;
  char buf[16];
  size_t len;
  rig r;
  (void)state;
  rig_open(&r, 1, NULL, NULL, NULL);
  assert_int_equal(llmd_pool_put_policy(r.pool, one, n, "one", 3, NULL), 0);
  assert_int_equal(llmd_pool_get_policy(r.pool, other, n, buf, sizeof buf, &len, NULL), LLMD_E_NONE);
  assert_int_equal(llmd_pool_put_policy(r.pool, other, n, "other", 5, NULL), LLMD_E_DUPLICATE);
  assert_int_equal(llmd_pool_get_policy(r.pool, one, n, buf, sizeof buf, &len, NULL), 0);
  assert_memory_equal(buf, "one", 3);
  rig_close(&r);
}

/* ---- several processes ------------------------------------------------------------------------------------------ */

typedef struct shared {
  void *mem;
  size_t len;
  llmd_pool *writer;
} shared;

static void shared_open(shared *s, uint64_t state_bytes)
{
  llmd_region_options ro = {.size = sizeof ro, .max_endpoints = 4, .max_lanes = 4, .max_tickets = 16, .ring_bytes = 4096,
                            .string_bytes = 16384, .state_bytes = state_bytes, .seed = 5};
  llmd_pool_options po = {.size = sizeof po, .flags = LLMD_POOL_WRITER, .owner = 1};
  s->len = llmd_region_size(&ro);
  s->mem = mmap(NULL, s->len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert_true(s->mem != MAP_FAILED);
  assert_int_equal(llmd_region_format(s->mem, s->len, &ro), 0);
  po.mem = s->mem;
  po.mem_len = s->len;
  assert_int_equal(llmd_pool_open(&po, &s->writer, NULL), 0);
}

static llmd_pool *attach(const shared *s, uint64_t owner, uint32_t flags)
{
  llmd_pool_options po = {.size = sizeof po, .owner = owner, .flags = flags, .mem = s->mem, .mem_len = s->len};
  llmd_pool *p = NULL;
  assert_int_equal(llmd_pool_open(&po, &p, NULL), 0);
  return p;
}

static void shared_close(shared *s)
{
  llmd_pool_close(s->writer);
  munmap(s->mem, s->len);
}

static void only_the_writer(void **state)
{
  char buf[64];
  size_t len;
  llmd_pool *reader;
  shared s;
  (void)state;
  shared_open(&s, 1 << 20);
  reader = attach(&s, 2, 0);
  assert_int_equal(llmd_pool_put_policy(reader, NAME, NAME_LEN, "x", 1, NULL), LLMD_E_DENIED);
  assert_int_equal(llmd_pool_get_policy(reader, NAME, NAME_LEN, buf, sizeof buf, &len, NULL), LLMD_E_NONE);
  assert_int_equal(llmd_pool_put_policy(s.writer, NAME, NAME_LEN, "return 1", 8, NULL), 0);
  assert_int_equal(llmd_pool_get_policy(reader, NAME, NAME_LEN, buf, sizeof buf, &len, NULL), 0);
  assert_memory_equal(buf, "return 1", 8);
  assert_int_equal(llmd_region_inspect(s.mem, s.len, NULL, NULL, NULL), 0);
  llmd_pool_close(reader);
  shared_close(&s);
}

static void no_room(void **state)
{
  shared s;
  (void)state;
  shared_open(&s, 64 << 10);
  assert_int_equal(llmd_pool_put_policy(s.writer, NAME, NAME_LEN, "x", 1, NULL), LLMD_E_FULL);
  shared_close(&s);
}

/* Text number n: all of one letter and as long as n says, so that a torn one is known. */
static size_t make_text(uint64_t n, char *buf)
{
  size_t len = 20000 + (size_t)(n * 7919 % 40000);
  memset(buf, (int)('a' + n % 26), len);
  return len;
}

static void write_on(llmd_pool *pool, uint64_t from, uint64_t to)
{
  static char text[MOST];
  for (uint64_t n = from; n < to; n++)
    if (llmd_pool_put_policy(pool, NAME, NAME_LEN, text, make_text(n, text), NULL))
      _exit(1);
}

/* What there is now is one text, whole. */
static void look(llmd_pool *pool, uint32_t *busy)
{
  static char text[MOST], should[MOST];
  uint64_t number = 0;
  size_t len = 0;
  int rc = llmd_pool_get_policy(pool, NAME, NAME_LEN, text, sizeof text, &len, &number);
  if (rc == LLMD_E_BUSY) {
    ++*busy;
    return;
  }
  assert_int_equal(rc, 0);
  assert_int_equal(len, make_text(number, should));
  assert_memory_equal(text, should, len);
}

/* A writer writes without end; readers in two processes see whole texts. */
static void never_torn(void **state)
{
  llmd_pool *reader;
  uint32_t busy = 0;
  int status;
  shared s;
  pid_t child;
  (void)state;
  shared_open(&s, 1 << 20);
  write_on(s.writer, 1, 2); /* number = the n of its text, from 1 */
  reader = attach(&s, 2, 0);
  child = fork();
  if (!child) {
    write_on(s.writer, 2, 4000);
    _exit(0);
  }
  while (!waitpid(child, &status, WNOHANG))
    look(reader, &busy);
  assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
  busy = 0;
  look(reader, &busy);
  assert_int_equal(busy, 0);
  llmd_pool_close(reader);
  shared_close(&s);
}

/* The writer dies at any moment: the text is the old one or the new one, and the next writer goes on from there. */
static void writers_die(void **state)
{
  shared s;
  uint64_t number = 1;
  uint32_t busy = 0;
  (void)state;
  shared_open(&s, 1 << 20);
  write_on(s.writer, 1, 2);
  llmd_pool_close(s.writer);
  for (unsigned i = 0; i < 60; i++) {
    uint64_t owner = 10 + i;
    int status;
    pid_t child = fork();
    if (!child) {
      llmd_pool *p = attach(&s, owner, LLMD_POOL_WRITER | LLMD_POOL_TAKEOVER);
      for (uint64_t n = number + 1;; n++)
        write_on(p, n, n + 1);
    }
    usleep(500 + i * 137 % 4000);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    s.writer = attach(&s, owner + 1000, LLMD_POOL_WRITER | LLMD_POOL_TAKEOVER);
    look(s.writer, &busy);
    assert_int_equal(busy, 0);
    assert_int_equal(llmd_region_inspect(s.mem, s.len, NULL, NULL, NULL), 0);
    {
      static char text[MOST];
      size_t len;
      assert_int_equal(llmd_pool_get_policy(s.writer, NAME, NAME_LEN, text, sizeof text, &len, &number), 0);
    }
    llmd_pool_close(s.writer);
  }
  s.writer = attach(&s, 1, LLMD_POOL_WRITER | LLMD_POOL_TAKEOVER);
  write_on(s.writer, number + 1, number + 4);
  look(s.writer, &busy);
  assert_int_equal(busy, 0);
  shared_close(&s);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(numbers),           cmocka_unit_test(limits),  cmocka_unit_test(names_of_one_hash),
      cmocka_unit_test(only_the_writer),   cmocka_unit_test(no_room), cmocka_unit_test(never_torn),
      cmocka_unit_test(writers_die),
  };
  return cmocka_run_group_tests_name("pool policy", tests, NULL, NULL);
}
