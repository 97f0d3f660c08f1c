/* What engines tell, read back by libllmd. */
#include "sim_test.h"

#include <llmd/events.h>

#include "sim_publisher.h"
#include "sim_rng.h"

#define BLOCK 16u

struct told { /* events as text, one after the other */
  char text[4096];
  size_t len;
  uint32_t n_tokens;
  double ts;
};

static void say(struct told *t, const char *word)
{
  t->len += (size_t)snprintf(t->text + t->len, sizeof t->text - t->len, "%s%s", t->len ? " " : "", word);
  assert_true(t->len < sizeof t->text);
}

/* The simulator's id of a block, from its hash: ids in these tests are below 100. */
static void say_name(struct told *t, uint64_t hash)
{
  char word[32];
  for (uint64_t id = 0; id < 100; id++)
    if (sim_mix(id) == hash) {
      (void)snprintf(word, sizeof word, "%u", (unsigned)id);
      say(t, word);
      return;
    }
  fail();
}

static int hear(void *ud, const llmd_batch_head *head, const llmd_event *e)
{
  struct told *t = ud;
  uint32_t want[BLOCK];
  t->ts = head->ts;
  say(t, e->kind == LLMD_EVENT_STORED ? "stored" : e->kind == LLMD_EVENT_REMOVED ? "removed" : "cleared");
  if (e->kind == LLMD_EVENT_CLEARED)
    return 0;
  say(t, e->tier == LLMD_TIER_CPU ? "cpu" : "gpu");
  for (uint32_t i = 0; i < e->n_names; i++)
    say_name(t, e->name[i]);
  if (e->has_parent) {
    say(t, "after");
    say_name(t, e->parent);
  }
  if (e->kind == LLMD_EVENT_REMOVED)
    return 0;
  assert_int_equal(e->block_size, e->tier == LLMD_TIER_CPU ? 0 : BLOCK);
  assert_int_equal(e->n_tokens, e->tier == LLMD_TIER_CPU ? 0 : e->n_names * BLOCK);
  for (uint64_t id = 0; id < 100 && e->n_tokens; id++)
    for (uint32_t i = 0; i < e->n_names; i++)
      if (e->name[i] == sim_mix(id)) {
        sim_spell(id, want, BLOCK);
        assert_memory_equal(want, e->token + i * BLOCK, sizeof want);
      }
  t->n_tokens += e->n_tokens;
  return 0;
}

static void read_batch(struct sim_publisher *p, uint64_t number, struct told *t)
{
  const struct sim_batch *b = sim_publisher_batch(p, number);
  const uint8_t *bytes;
  size_t len;
  void *buffer = malloc(llmd_events_buffer(NULL));
  memset(t, 0, sizeof *t);
  assert_non_null(b);
  assert_non_null(buffer);
  assert_int_equal(sim_publisher_spell(p, b, &bytes, &len), 0);
  assert_int_equal(llmd_events_decode(bytes, len, NULL, buffer, hear, t, NULL), b->events);
  assert_true(t->ts == b->time);
  free(buffer);
}

static void store(struct sim_publisher *p, uint64_t first, uint32_t n)
{
  for (uint64_t i = first; i < first + n; i++) {
    uint64_t parent = i - 1;
    sim_publisher_stored(p, i % 10 ? &parent : NULL, i);
  }
}

static void a_step_is_one_batch_in_order(void **state)
{
  struct sim_publisher *p;
  struct told t;
  (void)state;
  assert_int_equal(sim_publisher_create(&p, BLOCK, 8), 0);
  assert_int_equal(sim_publisher_send(p, 1), 0); /* nothing to tell */
  sim_publisher_removed(p, 7, 0);
  sim_publisher_removed(p, 6, 0);
  store(p, 20, 3);
  store(p, 31, 2);
  sim_publisher_offloaded(p, 22);
  sim_publisher_offloaded(p, 21);
  sim_publisher_removed(p, 5, 1);
  sim_publisher_cleared(p);
  store(p, 40, 1);
  assert_int_equal(sim_publisher_send(p, 12.5), 1);
  read_batch(p, 0, &t);
  assert_string_equal(t.text, "removed gpu 7 removed gpu 6 stored gpu 20 21 22 stored gpu 31 32 after 30 "
                              "stored cpu 22 21 removed cpu 5 cleared stored gpu 40");
  assert_int_equal(t.n_tokens, 6 * BLOCK);
  sim_publisher_destroy(p);
}

static void the_last_batches_are_kept(void **state)
{
  struct sim_publisher *p;
  struct told t;
  (void)state;
  assert_int_equal(sim_publisher_create(&p, BLOCK, 3), 0);
  for (uint32_t i = 0; i < 5; i++) {
    store(p, 10 + i, 1);
    assert_int_equal(sim_publisher_send(p, i), 1);
  }
  assert_null(sim_publisher_batch(p, 1));
  assert_int_equal(sim_publisher_batch(p, 2)->seq, 2);
  read_batch(p, 2, &t);
  assert_string_equal(t.text, "stored gpu 12 after 11");
  assert_null(sim_publisher_batch(p, 5));
  store(p, 50, 1);
  sim_publisher_restart(p); /* what was not sent is gone; numbers begin anew */
  assert_int_equal(sim_publisher_send(p, 6), 0);
  store(p, 60, 1);
  assert_int_equal(sim_publisher_send(p, 7), 1);
  assert_int_equal(sim_publisher_first(p), 5);
  assert_int_equal(sim_publisher_end(p), 6);
  assert_int_equal(sim_publisher_batch(p, 5)->seq, 0);
  read_batch(p, 5, &t);
  assert_string_equal(t.text, "stored gpu 60");
  sim_publisher_destroy(p);
}

static void a_long_chain_is_told_in_pieces(void **state)
{
  struct sim_publisher *p;
  uint64_t parent = 0;
  const uint8_t *bytes;
  size_t len;
  (void)state;
  assert_int_equal(sim_publisher_create(&p, BLOCK, 3), 0);
  for (uint64_t i = 0; i < 2000; i++) {
    sim_publisher_stored(p, i ? &parent : NULL, i * 1000);
    parent = i * 1000;
  }
  assert_int_equal(sim_publisher_send(p, 1), 1);
  assert_int_equal(sim_publisher_batch(p, 0)->events, 4); /* of 512 names at most */
  assert_int_equal(sim_publisher_spell(p, sim_publisher_batch(p, 0), &bytes, &len), 0);
  assert_true(len > 2000 * (9 + BLOCK * 3));
  sim_publisher_destroy(p);
}

/* ---- names that are an engine's own ---- */

#define FIRST (UINT64_MAX - 9) /* and the nine after it, of which the last means nothing */
#define SECOND ((uint64_t)5000)

static uint32_t meant[BLOCK];

static int mean(void *ud, uint64_t name, struct sim_meaning *out)
{
  static char salt[401];
  (void)ud;
  if (name == UINT64_MAX)
    return -1;
  for (uint32_t i = 0; i < BLOCK; i++)
    meant[i] = (uint32_t)name + i;
  memset(salt, 's', sizeof salt - 1);
  *out = (struct sim_meaning){.tokens = meant, .lora = "adapter", .salt = salt};
  return 0;
}

static int hear_own_names(void *ud, const llmd_batch_head *head, const llmd_event *e)
{
  uint32_t *heard = ud;
  (void)head;
  ++*heard;
  if (e->kind != LLMD_EVENT_STORED)
    return 0;
  for (uint32_t i = 0; i < e->n_names; i++) {
    assert_true(e->name[i] == (*heard == 1 ? FIRST : SECOND) + i);
    for (uint32_t k = 0; k < BLOCK; k++)
      assert_int_equal(e->token[i * BLOCK + k], e->name[i] == UINT64_MAX ? 0 : (uint32_t)e->name[i] + k);
  }
  assert_int_equal(e->lora.len, 7);
  assert_int_equal(e->n_extra, *heard == 1 ? 1 : 0); /* the salt, in a prompt's first block; cut off at 256 bytes */
  if (e->n_extra)
    assert_int_equal(e->extra[0].text.len, 256);
  return 0;
}

static void names_may_be_an_engines_own(void **state)
{
  struct sim_publisher *p;
  const uint8_t *bytes;
  size_t len;
  uint32_t heard = 0;
  const uint64_t parent = 3;
  void *buffer = malloc(llmd_events_buffer(NULL));
  (void)state;
  assert_non_null(buffer);
  assert_int_equal(sim_publisher_create(&p, BLOCK, 1), 0);
  sim_publisher_mean(p, mean, NULL);
  sim_publisher_stored(p, NULL, FIRST);
  for (uint64_t before = FIRST; before != UINT64_MAX; before++)
    sim_publisher_stored(p, &before, before + 1);
  sim_publisher_stored(p, &parent, SECOND);
  sim_publisher_removed(p, 7, 0);
  assert_int_equal(sim_publisher_send(p, 1), 1);
  assert_int_equal(sim_publisher_spell(p, sim_publisher_batch(p, 0), &bytes, &len), 0);
  assert_int_equal(llmd_events_decode(bytes, len, NULL, buffer, hear_own_names, &heard, NULL), 3);
  assert_int_equal(heard, 3);
  free(buffer);
  sim_publisher_destroy(p);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_step_is_one_batch_in_order), cmocka_unit_test(the_last_batches_are_kept),
    cmocka_unit_test(a_long_chain_is_told_in_pieces),
    cmocka_unit_test(names_may_be_an_engines_own),
  };
  return cmocka_run_group_tests_name("sim/publisher", tests, NULL, NULL);
}
