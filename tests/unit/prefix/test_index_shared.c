/* The index in memory that several mappings and processes share, and writers that die at work. */
#define _DEFAULT_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "prefix/index.h"

#define ROWS 32u
#define LENGTH 60u
#define CHAINS 40u

static const llmd__index_options options = {300 << 10, ROWS, 400, 0};
static llmd_key chain[CHAINS][LENGTH];

static void make_chains(void)
{
  uint64_t seed = 3;
  for (uint32_t c = 0; c < CHAINS; c++)
    for (uint32_t i = 0; i < LENGTH; i++) {
      chain[c][i].lo = llmd_random(&seed);
      chain[c][i].hi = llmd_random(&seed);
    }
  for (uint32_t c = 1; c < CHAINS; c++)
    memcpy(chain[c], chain[0], sizeof **chain * (c % 4 * 10));
}

/* The same file, mapped `times` times. */
static size_t map(void **mem, int times)
{
  size_t size = llmd__index_size(&options);
  FILE *file = tmpfile();
  assert_non_null(file);
  assert_int_equal(ftruncate(fileno(file), (off_t)size), 0);
  for (int i = 0; i < times; i++) {
    mem[i] = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(file), 0);
    assert_true(mem[i] != MAP_FAILED);
  }
  fclose(file);
  return size;
}

/* What a view answers to all chains in both modes, as one hash; every answer is checked for its form. */
static uint64_t answers(const llmd__index *ix)
{
  static uint32_t scratch[ROWS * 3];
  llmd_endpoint_id who[ROWS];
  uint32_t blocks[ROWS];
  uint64_t sum = 0;
  for (uint32_t c = 0; c < 2 * CHAINS; c++) {
    uint32_t flags = c < CHAINS ? 0 : LLMD_PREFIX_ANY;
    uint32_t n = llmd__index_match(ix, scratch, chain[c % CHAINS], LENGTH, flags, who, blocks, ROWS);
    assert_true(n <= ROWS);
    for (uint32_t i = 0; i < n; i++) {
      uint64_t state = who[i] ^ (uint64_t)blocks[i] << 20 ^ (uint64_t)c << 40;
      assert_true((uint32_t)who[i] < ROWS);
      assert_true(blocks[i] > 0 && blocks[i] <= LENGTH);
      sum += llmd_random(&state);
    }
  }
  return sum;
}

static void store_some(const llmd__index *ix, uint64_t *seed, uint32_t operations)
{
  while (operations--) {
    uint64_t dice = llmd_random(seed);
    llmd_endpoint_id id = (uint64_t)1 << 32 | dice % ROWS;
    if (dice >> 40 & 63)
      llmd__index_store(ix, id, chain[(dice >> 16) % CHAINS], 1 + (uint32_t)((dice >> 24) % LENGTH));
    else
      llmd__index_forget(ix, id);
  }
}

static void two_mappings_answer_alike(void **state)
{
  void *mem[2];
  size_t size = map(mem, 2);
  llmd__index a, b;
  uint64_t seed = 1;
  (void)state;
  assert_int_equal(llmd__index_format(mem[0], size, &options), 0);
  assert_int_equal(llmd__index_attach(&a, mem[0], size), 0);
  assert_int_equal(llmd__index_attach(&b, mem[1], size), 0);
  for (int round = 0; round < 50; round++) {
    store_some(round % 2 ? &a : &b, &seed, 20); /* writing through either is the same, too */
    assert_true(answers(&a) == answers(&b));
  }
  assert_true(answers(&a) != 0);
  munmap(mem[0], size);
  munmap(mem[1], size);
}

static void another_process_answers_alike(void **state)
{
  void *mem[2];
  size_t size = map(mem, 2);
  llmd__index ix;
  uint64_t seed = 2, here, there = 0;
  int end[2], status;
  (void)state;
  assert_int_equal(pipe(end), 0);
  assert_int_equal(llmd__index_format(mem[0], size, &options), 0);
  assert_int_equal(llmd__index_attach(&ix, mem[0], size), 0);
  store_some(&ix, &seed, 300);
  here = answers(&ix);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    munmap(mem[0], size);
    if (llmd__index_attach(&ix, mem[1], size) == 0)
      there = answers(&ix);
    _exit(write(end[1], &there, sizeof there) != sizeof there);
  }
  assert_int_equal(read(end[0], &there, sizeof there), sizeof there);
  assert_true(waitpid(child, &status, 0) == child && status == 0);
  assert_true(here == there && here != 0);
  close(end[0]);
  close(end[1]);
  munmap(mem[0], size);
  munmap(mem[1], size);
}

/* All that a successor does must work on what it finds; when everybody is forgotten nothing is left over. */
static void work_to_the_end(const llmd__index *ix, uint64_t *seed)
{
  llmd__index_stats s;
  store_some(ix, seed, 50);
  answers(ix);
  for (uint32_t i = 0; i < ROWS; i++)
    assert_int_equal(llmd__index_forget(ix, (uint64_t)1 << 32 | i), 0);
  assert_int_equal(llmd__index_tick(ix, 1u << 30), 0);
  llmd__index_stats_get(ix, &s);
  assert_int_equal(s.blocks, 0);
  assert_int_equal(s.holders, 0);
  assert_int_equal(s.sets, 0);
}

static void a_writer_may_die_at_work(void **state)
{
  enum { deaths = 60 };
  void *mem[1];
  size_t size = map(mem, 1);
  llmd__index ix;
  llmd__index_stats s;
  uint64_t seed = 4;
  int emptied = 0;
  (void)state;
  assert_int_equal(llmd__index_format(mem[0], size, &options), 0);
  assert_int_equal(llmd__index_attach(&ix, mem[0], size), 0);
  for (int i = 0; i < deaths; i++) {
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    seed += 17;
    if (child == 0)
      for (;;)
        store_some(&ix, &seed, 1000);
    usleep(500 + (useconds_t)(llmd_random(&seed) % 3000));
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    answers(&ix); /* readers need no takeover */
    assert_int_equal(llmd__index_attach(&ix, mem[0], size), 0);
    status = llmd__index_takeover(&ix);
    assert_true(status == 0 || (status == 1 && answers(&ix) == 0));
    emptied += status;
    work_to_the_end(&ix, &seed);
  }
  llmd__index_stats_get(&ix, &s);
  assert_int_equal(s.resets, emptied);
  assert_true(emptied > 0);
  assert_int_equal(llmd__index_takeover(&ix), 0);
  munmap(mem[0], size);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(two_mappings_answer_alike),
    cmocka_unit_test(another_process_answers_alike),
    cmocka_unit_test(a_writer_may_die_at_work),
  };
  make_chains();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
