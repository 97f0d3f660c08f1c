/* The pool's exact index in a decision: what its engines tell becomes columns; who answers when it cannot; promises. */
#include "small_rig.h"

#include "../msgpack_pack.h"
#include "sched/scheduler.h"

#define PRODUCER "- type: precise-prefix-cache-producer\n"
#define SCORER \
  "- type: prefix-cache-scorer\n  parameters: {prefixMatchInfoProducerName: precise-prefix-cache-producer}\n" \
  "- type: max-score-picker\n"
#define PRECISE HEAD PRODUCER SCORER
#define EXPECTING HEAD PRODUCER "  parameters: {speculativeIndexing: true}\n" SCORER
#define MOST 600u

/* ---- helpers ---------------------------------------------------------------------------------------------------- */

static const llmd_request_options roomy = {.size = sizeof roomy, .copy_bytes = 16384, .max_values = 64};

static void open_precise(rig *r, const char *config, uint32_t compat)
{
  llmd_request_options ro = roomy;
  llmd_scheduler_options so = {.size = sizeof so, .compat = compat, .explain = 1};
  rig_open(r, 4, config, &so, &ro);
}

/* The tokens of prompt number `which`. */
static const uint32_t *prompt(unsigned which)
{
  static uint32_t ids[MOST];
  for (uint32_t i = 0; i < MOST; i++)
    ids[i] = which * 1000 + i;
  return ids;
}

static llmd_index *index_of(rig *r)
{
  llmd_index *ix = NULL;
  assert_int_equal(llmd_pool_index(r->pool, &ix), 0);
  return ix;
}

/* Chain of the whole blocks of n tokens. Returns how many. */
static uint32_t chain(rig *r, unsigned which, uint32_t n, uint32_t block, const char *lora, const llmd_extra *extra,
                      size_t n_extra, llmd_key *keys)
{
  const uint8_t *secret = llmd_index_secret(index_of(r));
  llmd_chain_root root = {.size = sizeof root, .block_tokens = block};
  llmd_chain c;
  int made;
  if (lora)
    root.lora = str(lora);
  assert_int_equal(llmd_chain_begin(&c, secret, &root), 0);
  made = llmd_chain_extend(&c, secret, prompt(which), n, extra, n_extra, keys, MOST);
  assert_true(made >= 0);
  return (uint32_t)made;
}

static void describe(rig *r, uint32_t i, uint32_t block, uint32_t flags)
{
  llmd_index_row row = {.size = sizeof row, .flags = flags | LLMD_INDEX_FED, .block_tokens = block};
  assert_int_equal(llmd_index_describe(index_of(r), r->id[i], &row), 0);
  r->now.mono += SECOND / 10; /* lanes look again after a hundredth of a second */
}

/* Endpoint i tells that it has the first n tokens of the prompt; the blocks from `from` on in that tier. */
static void tell(rig *r, uint32_t i, unsigned which, uint32_t n, uint32_t block, uint32_t from, uint32_t tier)
{
  llmd_key keys[MOST];
  uint32_t k = chain(r, which, n, block, NULL, NULL, 0, keys);
  llmd_block last;
  from = from < k ? from : k;
  if (from)
    assert_int_equal(llmd_index_store(index_of(r), r->id[i], LLMD_TIER_GPU, NULL, keys, NULL, from, &last),
                     (int)from);
  if (k > from)
    assert_int_equal(llmd_index_store(index_of(r), r->id[i], tier, from ? &last : NULL, keys + from, NULL, k - from,
                                      NULL), (int)(k - from));
  describe(r, i, block, 0);
}

static void ask(rig *r, unsigned which, uint32_t n)
{
  rig_body(r, "{\"model\":\"m\",\"prompt\":\"text\"}");
  assert_int_equal(llmd_request_set_tokens(r->request, prompt(which), n), 0);
}

static void decide(rig *r)
{
  assert_int_equal(rig_decide(r, 1), LLMD_ROUTED);
  llmd_report(r->lane, r->d.ticket, LLMD_REPORT_CANCEL, NULL, &r->now);
}

/* A cell of the producer's column in the lane's last decision. */
static double cell(const rig *r, const char *name, uint32_t i)
{
  const llmd_scheduler *s = r->lane->s;
  char full[64];
  snprintf(full, sizeof full, "PrefixCacheMatchInfo.%s", name);
  for (uint32_t c = 0; c < s->n_columns; c++)
    if (!strcmp(s->column[c].name, full) && !strncmp(s->column[c].producer, "precise", 7))
      return r->lane->column[c][i];
  fail_msg("no column %s", full);
  return 0;
}

static void cells(const rig *r, const char *name, double a, double b, double c, double d)
{
  const double want[4] = {a, b, c, d};
  for (uint32_t i = 0; i < 4; i++) {
    double got = cell(r, name, i);
    if (got != want[i] && !(got != got && want[i] != want[i]))
      fail_msg("%s of endpoint %u is %g, not %g", name, i, got, want[i]);
  }
}

/* ---- what engines tell ------------------------------------------------------------------------------------------ */

static void the_index_decides(void **state)
{
  rig r;
  (void)state;
  open_precise(&r, PRECISE, 0);
  tell(&r, 1, 1, 64, 16, 4, 0);
  tell(&r, 2, 1, 112, 16, 7, 0);
  tell(&r, 3, 2, 160, 16, 10, 0);
  describe(&r, 0, 16, 0);
  ask(&r, 1, 170);
  decide(&r);
  cells(&r, "match", 0, 4, 7, 0);
  cells(&r, "cached", 0, 4, 7, 0);
  cells(&r, "total", 10, 10, 10, 10);
  cells(&r, "block", 16, 16, 16, 16);
  cells(&r, "exact", 1, 1, 1, 1);
  assert_true(r.d.target[0].id == r.id[2] && r.d.target[0].score == 0.7);
  assert_int_equal(r.d.ladder, 0);
  ask(&r, 1, 15); /* not one whole block */
  decide(&r);
  cells(&r, "total", 0, 0, 0, 0);
  assert_true(r.d.target[0].score == 0);
  rig_close(&r);
}

/* Prompts given as ids in the body are as good, and several are summed up. */
static void ids_in_the_body(void **state)
{
  char body[4096];
  int n = snprintf(body, sizeof body, "{\"model\":\"m\",\"prompt\":[[");
  rig r;
  (void)state;
  open_precise(&r, PRECISE, 0);
  tell(&r, 1, 1, 64, 16, 4, 0);
  tell(&r, 1, 2, 32, 16, 2, 0);
  for (unsigned which = 1; which < 3; which++) {
    for (uint32_t i = 0; i < 80; i++)
      n += snprintf(body + n, sizeof body - (size_t)n, i ? ",%u" : "%u", prompt(which)[i]);
    n += snprintf(body + n, sizeof body - (size_t)n, which == 1 ? "],[" : "]]}");
  }
  rig_body(&r, body);
  decide(&r);
  cells(&r, "match", 0, 6, 0, 0);
  cells(&r, "total", 10, 10, 10, 10);
  rig_close(&r);
}

static void candidates_may_be_few(void **state)
{
  rig r;
  (void)state;
  open_precise(&r, PRECISE, 0);
  tell(&r, 1, 1, 64, 16, 4, 0);
  tell(&r, 3, 1, 32, 16, 2, 0);
  ask(&r, 1, 64);
  assert_int_equal(llmd_request_set_subset(r.request, &r.id[2], 2), 0);
  decide(&r);
  assert_true(r.d.target[0].id == r.id[3] && r.d.target[0].score == 0.5);
  rig_close(&r);
}

/* 7 blocks: 2 GPU, 5 lower. */
static void tiers_have_weights(void **state)
{
  static const struct {
    const char *backends;
    uint32_t compat, tier;
    double weighted;
  } rows[] = {{"", 0, LLMD_TIER_CPU, 6},
              {"", 0, LLMD_TIER_DISK, 6},   /* not named: as CPU */
              {"", 1, LLMD_TIER_DISK, 7},   /* the reference: 1 */
              {"", 0, LLMD_TIER_REMOTE, 6},
              {"[{name: cpu, weight: 0.5}]", 0, LLMD_TIER_CPU, 4.5},
              {"[{name: gpu, weight: 0.9}, {name: storage, weight: 0.25}]", 0, LLMD_TIER_DISK, 3.05},
              {"[{name: gpu, weight: 0.9}, {name: storage, weight: 0.25}]", 0, LLMD_TIER_REMOTE, 3.05},
              {"[{name: gpu, weight: 0.9}, {name: external, weight: 0.1}]", 0, LLMD_TIER_REMOTE, 2.3},
              {"[{name: external, weight: 0.1}, {name: floppy, weight: 3}]", 0, LLMD_TIER_CPU, 7},
              {"[]", 0, LLMD_TIER_CPU, 7}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char config[1024];
    rig r;
    (void)state;
    snprintf(config, sizeof config, HEAD PRODUCER "%s%s%s" SCORER,
             *rows[i].backends ? "  parameters: {indexerConfig: {kvCacheBackendConfigs: " : "", rows[i].backends,
             *rows[i].backends ? "}}\n" : "");
    open_precise(&r, config, rows[i].compat);
    tell(&r, 1, 1, 112, 16, 2, rows[i].tier);
    ask(&r, 1, 112);
    decide(&r);
    if (fabs(cell(&r, "weighted", 1) - rows[i].weighted) > 1e-9)
      fail_msg("row %u: %g", (unsigned)i, cell(&r, "weighted", 1));
    assert_true(cell(&r, "match", 1) == floor(rows[i].weighted + 1e-9));
    cells(&r, "cached", 0, 7, 0, 0);
    cells(&r, "gpu", 0, 2, 0, 0);
    cells(&r, rows[i].tier == LLMD_TIER_CPU ? "cpu" : rows[i].tier == LLMD_TIER_DISK ? "disk" : "remote", 0, 5, 0, 0);
    rig_close(&r);
  }
}

static void engines_differ_in_block_size(void **state)
{
  rig r;
  (void)state;
  open_precise(&r, PRECISE, 0);
  tell(&r, 0, 1, 128, 16, 8, 0);
  tell(&r, 1, 1, 128, 64, 2, 0);
  tell(&r, 2, 1, 128, 32, 1, LLMD_TIER_CPU);
  ask(&r, 1, 200);
  decide(&r);
  cells(&r, "block", 16, 64, 32, 16); /* the last is not known: as configured */
  cells(&r, "total", 12, 3, 6, 12);
  cells(&r, "cached", 8, 2, 4, 0);
  cells(&r, "cpu", 0, 0, 3, 0);
  rig_close(&r);
}

/* An endpoint that goes takes its blocks along; another in its slot begins with none. */
static void the_gone_hold_nothing(void **state)
{
  rig r;
  (void)state;
  open_precise(&r, PRECISE, 0);
  tell(&r, 1, 1, 64, 16, 4, 0);
  tell(&r, 2, 1, 32, 16, 2, 0);
  assert_int_equal(llmd_pool_remove(r.pool, r.id[1]), 0);
  r.now.mono += SECOND;
  rig_publish(&r);
  ask(&r, 1, 64);
  decide(&r);
  assert_true(r.d.target[0].id == r.id[2] && r.d.target[0].score == 0.5);
  assert_int_equal(llmd_pool_tick(r.pool, &r.now, NULL), 0);
  r.id[1] = rig_add(&r, "10.0.0.9", 8000);
  r.now.mono += SECOND;
  rig_publish(&r);
  ask(&r, 1, 64);
  decide(&r);
  assert_true(r.d.target[0].id == r.id[2]);
  rig_close(&r);
}

/* ---- what tells prompts apart ----------------------------------------------------------------------------------- */

static void adapters_have_blocks_of_their_own(void **state)
{
  static const char beside[] = "{\"text\":\"x\",\"lora_path\":\"tuned\"}";
  llmd_key keys[MOST];
  uint32_t n;
  rig r;
  (void)state;
  open_precise(&r, PRECISE, 0);
  tell(&r, 1, 1, 64, 16, 4, 0);
  n = chain(&r, 1, 32, 16, "tuned", NULL, 0, keys);
  assert_int_equal(llmd_index_store(index_of(&r), r.id[2], 0, NULL, keys, NULL, n, NULL), 2);
  assert_int_equal(llmd_index_learn_adapter(index_of(&r), "tuned", 5), 0);
  describe(&r, 2, 16, 0);
  ask(&r, 1, 64);
  decide(&r);
  cells(&r, "match", 0, 4, 0, 0);
  rig_body(&r, "{\"model\":\"tuned\",\"prompt\":\"text\"}");
  llmd_request_set_tokens(r.request, prompt(1), 64);
  decide(&r);
  cells(&r, "match", 0, 0, 2, 0);
  llmd_request_reset(r.request);
  assert_int_equal(llmd_request_line(r.request, "POST", 4, "/generate", 9), 0);
  assert_int_equal(llmd_request_feed(r.request, beside, sizeof beside - 1, LLMD_FEED_FINAL), 0);
  llmd_request_set_tokens(r.request, prompt(1), 64);
  decide(&r);
  cells(&r, "match", 0, 0, 2, 0);
  rig_close(&r);
}

static void salts_and_images(void **state)
{
  const llmd_feature image[] = {{20, 0, str("nothing")}, {20, 20, str("cat")}, {100, 4, str("dog")}};
  const llmd_extra extra[] = {{0, 0, str("salt")}, {1, 0, str("cat")}, {2, 0, str("cat")}, {6, 0, str("dog")}};
  const llmd_feature wrong[] = {{20, 20, str("cat")}, {39, 4, str("dog")}};
  llmd_key keys[MOST];
  rig r;
  (void)state;
  open_precise(&r, PRECISE, 0);
  tell(&r, 1, 1, 128, 16, 8, 0);
  assert_int_equal(chain(&r, 1, 128, 16, NULL, extra, 4, keys), 8);
  assert_int_equal(llmd_index_store(index_of(&r), r.id[2], 0, NULL, keys, NULL, 8, NULL), 8);
  assert_int_equal(chain(&r, 1, 128, 16, NULL, extra + 1, 2, keys), 8);
  assert_int_equal(llmd_index_store(index_of(&r), r.id[3], 0, NULL, keys, NULL, 8, NULL), 8);
  describe(&r, 2, 16, 0);
  describe(&r, 3, 16, 0);
  ask(&r, 1, 128);
  decide(&r);
  cells(&r, "match", 0, 8, 0, 1); /* without a name the image is not known */
  ask(&r, 1, 128);
  assert_int_equal(llmd_request_set_features(r.request, image, 3), 0);
  decide(&r);
  cells(&r, "match", 0, 1, 0, 6);
  rig_body(&r, "{\"model\":\"m\",\"prompt\":\"text\",\"cache_salt\":\"salt\"}");
  llmd_request_set_tokens(r.request, prompt(1), 128);
  assert_int_equal(llmd_request_set_features(r.request, image, 3), 0);
  decide(&r);
  cells(&r, "match", 0, 0, 8, 0);
  assert_int_equal(llmd_request_set_features(r.request, wrong, 2), LLMD_E_INVALID);
  assert_int_equal(llmd_request_set_features(r.request, NULL, 2), LLMD_E_INVALID);
  rig_close(&r);
}

/* ---- from an engine's bytes to a decision ------------------------------------------------------------------------ */

/* Endpoint i's engine stored the first two blocks of prompt 1. */
static void stored(rig *r, llmd_events *events, uint32_t i, const char *lora, const char *extra_keys)
{
  static struct packed p;
  static const char zero[8];
  llmd_source source = {.size = sizeof source, .endpoint = r->id[i]};
  llmd_ask asked = {.size = sizeof asked};
  llmd_str frame[3] = {str("kv@pod@model"), {zero, 8}, {NULL, 0}};
  llmd_source_id id;
  char text[2048], ids[512] = "";
  for (uint32_t k = 0; k < 32; k++)
    snprintf(ids + strlen(ids), sizeof ids - strlen(ids), k ? ", %u" : "%u", prompt(1)[k]);
  snprintf(text, sizeof text,
           "[1.5, [{type: BlockStored, block_hashes: [%u, %u], parent_block_hash: null, token_ids: [%s], "
           "block_size: 16, lora_id: null, medium: GPU, lora_name: %s, extra_keys: %s}], null]",
           100 * i + 1, 100 * i + 2, ids, lora, extra_keys);
  memset(&p, 0, sizeof p);
  pack(&p, text);
  frame[2].ptr = (const char *)p.bytes;
  frame[2].len = p.len;
  assert_int_equal(llmd_events_source(events, &source, &id), 0);
  assert_int_equal(llmd_events_feed(events, id, LLMD_FRAMES_LIVE, frame, 3, &r->now, &asked), 1);
  assert_int_equal(asked.what, LLMD_ASK_NOTHING);
}

/* Both sides build the same keys: adapters, salts, images. */
static void events_become_decisions(void **state)
{
  const llmd_feature image = {20, 8, str("cat")};
  llmd_events_options o = {.size = sizeof o};
  llmd_events *events;
  llmd_err err = LLMD_ERR_INIT;
  rig r;
  (void)state;
  open_precise(&r, PRECISE, 0);
  o.index = index_of(&r);
  assert_int_equal(llmd_events_open(&o, &events, &err), 0);
  stored(&r, events, 0, "null", "[null, [[cat, 4]]]");
  stored(&r, events, 1, "null", "null");
  stored(&r, events, 2, "tuned", "[[tuned], [tuned]]");
  stored(&r, events, 3, "null", "[[salt], null]");
  r.now.mono += SECOND;
  ask(&r, 1, 40);
  decide(&r);
  cells(&r, "block", 16, 16, 16, 16);
  cells(&r, "match", 1, 2, 0, 0);
  ask(&r, 1, 40);
  assert_int_equal(llmd_request_set_features(r.request, &image, 1), 0);
  decide(&r);
  cells(&r, "match", 2, 1, 0, 0);
  rig_body(&r, "{\"model\":\"tuned\",\"prompt\":\"text\"}");
  llmd_request_set_tokens(r.request, prompt(1), 40);
  decide(&r);
  cells(&r, "match", 0, 0, 2, 0);
  rig_body(&r, "{\"model\":\"m\",\"prompt\":\"text\",\"cache_salt\":\"salt\"}");
  llmd_request_set_tokens(r.request, prompt(1), 40);
  decide(&r);
  cells(&r, "match", 0, 0, 0, 2);
  cells(&r, "degraded", 0, 0, 0, 0);
  llmd_events_close(events);
  rig_close(&r);
}

/* ---- who answers when it cannot --------------------------------------------------------------------------------- */

#define LONG_TEXT \
  "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789" \
  "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789" \
  "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
static const char text_body[] = "{\"model\":\"m\",\"prompt\":\"" LONG_TEXT "\"}";

static void text_is_guessed(void **state)
{
  rig r;
  (void)state;
  open_precise(&r, PRECISE, 0);
  tell(&r, 1, 1, 64, 16, 4, 0);
  rig_body(&r, text_body);
  decide(&r);
  assert_int_equal(llmd_commit(r.lane, r.request, &r.d, r.id[2], &r.now), 0);
  rig_body(&r, text_body);
  decide(&r);
  cells(&r, "match", 0, 0, 2, 0);
  cells(&r, "total", 2, 2, 2, 2);
  cells(&r, "block", 64, 64, 64, 64);
  cells(&r, "exact", 0, 0, 0, 0);
  cells(&r, "cpu", NAN, NAN, NAN, NAN);
  assert_true(r.d.target[0].id == r.id[2] && r.d.target[0].score == 1);
  assert_int_equal(r.d.ladder, LLMD_LADDER_NO_INDEX);
  rig_close(&r);
  open_precise(&r, PRECISE, LLMD_COMPAT_STRICT);
  tell(&r, 1, 1, 64, 16, 4, 0);
  rig_body(&r, text_body);
  decide(&r);
  cells(&r, "match", NAN, NAN, NAN, NAN);
  assert_true(r.d.target[0].score == 0);
  rig_close(&r);
}

/* No engine tells of its cache: an index that nobody feeds is none. */
static void unfed(void **state)
{
  llmd_index_row row = {.size = sizeof row, .block_tokens = 32};
  rig r;
  (void)state;
  open_precise(&r, EXPECTING, 0);
  ask(&r, 1, 128);
  decide(&r);
  assert_int_equal(llmd_commit(r.lane, r.request, &r.d, r.id[2], &r.now), 0);
  ask(&r, 1, 128);
  decide(&r);
  cells(&r, "exact", 0, 0, 0, 0);
  cells(&r, "match", 0, 0, 2, 0);
  assert_int_equal(r.d.ladder, LLMD_LADDER_NO_INDEX);
  assert_int_equal(llmd_index_describe(index_of(&r), r.id[0], &row), 0); /* configured, but still silent */
  r.now.mono += SECOND;
  ask(&r, 1, 128);
  decide(&r);
  cells(&r, "exact", 0, 0, 0, 0);
  row.flags = LLMD_INDEX_FED; /* it says that it has nothing: that is something */
  row.block_tokens = 0;
  assert_int_equal(llmd_index_describe(index_of(&r), r.id[0], &row), 0);
  r.now.mono += SECOND;
  ask(&r, 1, 128);
  decide(&r);
  cells(&r, "exact", 1, 1, 1, 1);
  cells(&r, "block", 16, 16, 16, 16);
  rig_close(&r);
  open_precise(&r, EXPECTING, LLMD_COMPAT_STRICT);
  ask(&r, 1, 128);
  decide(&r);
  assert_int_equal(llmd_commit(r.lane, r.request, &r.d, r.id[2], &r.now), 0);
  ask(&r, 1, 128);
  decide(&r);
  cells(&r, "exact", 1, 1, 1, 1);
  cells(&r, "match", 0, 0, 8, 0);
  rig_close(&r);
}

static void no_prompt_is_no_step(void **state)
{
  rig r;
  (void)state;
  open_precise(&r, PRECISE, 0);
  tell(&r, 1, 1, 64, 16, 4, 0);
  rig_body(&r, "{\"model\":\"m\"}");
  decide(&r);
  assert_int_equal(r.d.ladder, 0);
  cells(&r, "exact", 0, 0, 0, 0);
  rig_close(&r);
}

static void if_available_asks_the_exact_one(void **state)
{
  rig r;
  (void)state;
  open_precise(&r, PRECISE, 0);
  tell(&r, 1, 1, 64, 16, 4, 0);
  ask(&r, 1, 64);
  rig_header(&r, "prefer", "if-available");
  decide(&r);
  ask(&r, 2, 64);
  rig_header(&r, "prefer", "if-available");
  assert_int_equal(rig_decide(&r, 1), LLMD_REJECTED);
  assert_int_equal(r.d.reason, LLMD_REASON_PRECONDITION);
  rig_close(&r);
}

/* ---- promises --------------------------------------------------------------------------------------------------- */

static void commit_to(rig *r, uint32_t i)
{
  assert_int_equal(rig_decide(r, 1), LLMD_ROUTED);
  assert_int_equal(llmd_commit(r->lane, r->request, &r->d, r->id[i], &r->now), 0);
  llmd_report(r->lane, r->d.ticket, LLMD_REPORT_END, NULL, &r->now);
}

static void later(rig *r, uint64_t ns)
{
  r->now.mono += ns;
  assert_int_equal(llmd_pool_tick(r->pool, &r->now, NULL), 0);
}

static void a_destination_is_expected_to_hold(void **state)
{
  rig r;
  (void)state;
  open_precise(&r, EXPECTING, 0);
  tell(&r, 1, 1, 32, 16, 2, 0);
  ask(&r, 1, 128);
  commit_to(&r, 3); /* of which nothing is known: blocks as configured */
  ask(&r, 1, 64);
  commit_to(&r, 1);
  ask(&r, 1, 128);
  decide(&r);
  cells(&r, "match", 0, 4, 0, 8);
  cells(&r, "gpu", 0, 4, 0, 8);
  later(&r, SECOND);
  ask(&r, 1, 128);
  decide(&r);
  cells(&r, "match", 0, 4, 0, 8);
  later(&r, SECOND);
  ask(&r, 1, 128);
  decide(&r);
  cells(&r, "match", 0, 2, 0, 0);
  rig_close(&r);
}

/* The lane is at other requests when the commit comes. */
static void a_commit_may_come_late(void **state)
{
  llmd_request_options ro = roomy;
  llmd_request *second;
  void *memory = malloc(llmd_request_size(&ro));
  llmd_decision d = {.size = sizeof d};
  rig r;
  (void)state;
  open_precise(&r, EXPECTING, 0);
  assert_int_equal(llmd_request_init(memory, llmd_request_size(&ro), &ro, &second), 0);
  for (uint32_t i = 0; i < 4; i++)
    describe(&r, i, 32, 0);
  ask(&r, 1, 128);
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  assert_int_equal(llmd_request_feed(second, "{\"model\":\"m\",\"prompt\":[5,6]}", 28, LLMD_FEED_FINAL), 0);
  assert_int_equal(llmd_decide(r.lane, second, &r.now, 9, &d), 0);
  prompt(1);
  assert_int_equal(llmd_commit(r.lane, r.request, &r.d, r.id[0], &r.now), 0);
  assert_int_equal(llmd_commit(r.lane, second, &d, r.id[1], &r.now), 0);
  ask(&r, 1, 128);
  decide(&r);
  cells(&r, "match", 4, 0, 0, 0);
  free(memory);
  rig_close(&r);
}

static void images_without_names_are_not_expected(void **state)
{
  static const char body[] = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\","
                             "\"image_url\":{\"url\":\"data:x\"}}]}]}";
  const llmd_feature image = {20, 20, str("cat")};
  rig r;
  (void)state;
  open_precise(&r, EXPECTING, 0);
  for (uint32_t i = 0; i < 4; i++)
    describe(&r, i, 16, 0);
  for (int named = 0; named < 2; named++) {
    for (int turn = 0; turn < 2; turn++) {
      llmd_request_reset(r.request);
      assert_int_equal(llmd_request_line(r.request, "POST", 4, "/v1/chat/completions", 20), 0);
      assert_int_equal(llmd_request_feed(r.request, body, sizeof body - 1, LLMD_FEED_FINAL), 0);
      llmd_request_set_tokens(r.request, prompt(1), 64);
      if (named)
        llmd_request_set_features(r.request, &image, 1);
      commit_to(&r, 2);
    }
    cells(&r, "match", 0, 0, named ? 4 : 0, 0);
  }
  rig_close(&r);
}

/* A lane that does not write: its own promises it sees at once, the others' after the writer's tick. */
static void promises_are_posted(void **state)
{
  llmd_lane *writer, *other;
  rig r;
  (void)state;
  open_precise(&r, EXPECTING, 0);
  for (uint32_t i = 0; i < 4; i++)
    describe(&r, i, 16, 0);
  writer = r.lane;
  assert_int_equal(llmd_lane_create(r.scheduler, 0, &other), 0);
  r.lane = other;
  ask(&r, 1, 128);
  commit_to(&r, 2);
  ask(&r, 1, 80);
  decide(&r);
  cells(&r, "match", 0, 0, 5, 0);
  r.lane = writer;
  ask(&r, 1, 80);
  decide(&r);
  cells(&r, "match", 0, 0, 0, 0);
  later(&r, SECOND / 10);
  ask(&r, 1, 80);
  decide(&r);
  cells(&r, "match", 0, 0, 5, 0);
  r.lane = other;
  ask(&r, 1, MOST); /* 37 blocks; the ring's quarter holds them */
  commit_to(&r, 3);
  later(&r, 3 * SECOND); /* too late for the promise: it is not made any more */
  ask(&r, 1, MOST);
  decide(&r);
  cells(&r, "match", 0, 0, 0, 0);
  llmd_lane_free(writer);
  rig_close(&r);
}

/* An agent writes and has no scheduler; workers only decide. Whoever comes first makes the index. */
static void an_agent_and_its_workers(void **state)
{
  llmd_region_options ro = {.size = sizeof ro, .max_endpoints = 8, .max_lanes = 4, .max_tickets = 16, .seed = 3,
                            .string_bytes = 65536, .state_bytes = 2 << 20, .prefix_bytes = 256 << 10,
                            .index_bytes = 512 << 10};
  size_t len = llmd_region_size(&ro);
  llmd_pool_options po = {.size = sizeof po, .mem = aligned_alloc(64, (len + 63) & ~(size_t)63), .mem_len = len};
  llmd_request_options qo = roomy;
  llmd_pool *worker;
  llmd_lane *other;
  rig r;
  (void)state;
  memset(&r, 0, sizeof r);
  r.d.size = sizeof r.d;
  r.now.mono = 100 * SECOND;
  assert_int_equal(llmd_region_format(po.mem, len, &ro), 0);
  po.flags = LLMD_POOL_WRITER;
  po.owner = 1;
  assert_int_equal(llmd_pool_open(&po, &r.pool, NULL), 0);
  for (uint32_t i = 0; i < 4; i++)
    r.id[i] = rig_add(&r, "10.0.0.1", 8000 + i);
  rig_publish(&r);
  po.flags = 0;
  po.owner = 2;
  assert_int_equal(llmd_pool_open(&po, &worker, NULL), 0);
  assert_int_equal(llmd_scheduler_create(NULL, worker, EXPECTING, sizeof EXPECTING - 1, &r.scheduler, NULL), 0);
  assert_int_equal(llmd_lane_create(r.scheduler, 0, &r.lane), 0);
  assert_int_equal(llmd_lane_create(r.scheduler, 0, &other), 0);
  r.memory = malloc(llmd_request_size(&qo));
  assert_int_equal(llmd_request_init(r.memory, llmd_request_size(&qo), &qo, &r.request), 0);
  tell(&r, 1, 1, 64, 16, 4, 0);
  tell(&r, 2, 2, 32, 16, 2, 0);
  ask(&r, 1, 96);
  decide(&r);
  cells(&r, "match", 0, 4, 0, 0);
  ask(&r, 1, 96);
  commit_to(&r, 2);
  later(&r, SECOND / 10);
  llmd_lane_free(r.lane);
  r.lane = other;
  ask(&r, 1, 96);
  decide(&r);
  cells(&r, "match", 0, 4, 6, 0);
  later(&r, 2 * SECOND);
  ask(&r, 1, 96);
  decide(&r);
  cells(&r, "match", 0, 4, 0, 0);
  llmd_lane_free(r.lane);
  llmd_scheduler_free(r.scheduler);
  llmd_pool_close(worker);
  llmd_pool_close(r.pool);
  free(r.memory);
  free(po.mem);
}

/* ---- degraded, metrics, explain ---------------------------------------------------------------------------------- */

typedef struct found {
  const char *name;
  double value;
  int times;
} found;

static int look(void *ud, const char *name, uint32_t type, const char *help, const char *const *labels, uint32_t n,
                double value)
{
  found *f = ud;
  (void)type;
  (void)help;
  (void)labels;
  (void)n;
  if (!strcmp(name, f->name)) {
    f->value = value;
    f->times++;
  }
  return 0;
}

static double metric(const rig *r, const char *name)
{
  found f = {name, 0, 0};
  assert_int_equal(llmd_metrics_visit(r->scheduler, look, &f), 0);
  if (f.times != 1)
    fail_msg("%s is there %d times", name, f.times);
  return f.value;
}

static int append(void *ud, const char *ptr, size_t len)
{
  char *text = ud;
  size_t at = strlen(text);
  assert_true(at + len < 65536);
  memcpy(text + at, ptr, len);
  text[at + len] = 0;
  return 0;
}

static void degraded_is_said_and_counts_all_the_same(void **state)
{
  static char text[65536];
  rig r;
  (void)state;
  open_precise(&r, PRECISE, 0);
  tell(&r, 1, 1, 64, 16, 4, 0);
  tell(&r, 2, 1, 48, 16, 3, 0);
  describe(&r, 1, 16, LLMD_INDEX_DEGRADED);
  ask(&r, 1, 64);
  decide(&r);
  cells(&r, "match", 0, 4, 3, 0);
  cells(&r, "degraded", 0, 1, 0, 0);
  assert_true(r.d.target[0].id == r.id[1]);
  text[0] = 0;
  assert_int_equal(llmd_explain_table(r.lane, append, text), 0);
  assert_non_null(strstr(text, "PrefixCacheMatchInfo.exact of precise-prefix-cache-producer: 4 of 4\n"));
  assert_non_null(strstr(text, "PrefixCacheMatchInfo.degraded of precise-prefix-cache-producer: 1 of 4\n"));
  text[0] = 0;
  assert_int_equal(llmd_explain_json(r.lane, append, text), 0);
  assert_non_null(strstr(text, "\"PrefixCacheMatchInfo.degraded\""));
  assert_true(metric(&r, "llmd_index_degraded_endpoints") == 1);
  assert_true(metric(&r, "llmd_index_fed_endpoints") == 2);
  assert_true(metric(&r, "llmd_index_blocks") >= 4);
  assert_true(metric(&r, "llm_d_epp_kv_cache_index_lookup_requests_total") == 1);
  assert_true(metric(&r, "llm_d_epp_kv_cache_index_lookup_hits_total") == 4);
  assert_true(metric(&r, "llm_d_epp_prefix_indexer_hit_ratio") == 1);
  describe(&r, 1, 16, 0);
  ask(&r, 1, 64);
  decide(&r);
  cells(&r, "degraded", 0, 0, 0, 0);
  rig_close(&r);
}

/* A size that is configured is told of once, and counted, when engines have others; their own counts. */
static void other_blocks_than_configured(void **state)
{
  rig r;
  (void)state;
  open_precise(&r, HEAD PRODUCER "  parameters: {tokenProcessorConfig: {blockSizeTokens: 64}}\n" SCORER, 0);
  tell(&r, 0, 1, 64, 64, 4, 0);
  ask(&r, 1, 64);
  decide(&r);
  assert_string_equal(r.said, "");
  assert_true(metric(&r, "llmd_index_mismatched_endpoints") == 0);
  tell(&r, 1, 1, 64, 16, 4, 0);
  for (int i = 0; i < 3; i++) {
    ask(&r, 1, 64);
    decide(&r);
    cells(&r, "cached", 1, 4, 0, 0);
  }
  assert_string_equal(r.said, "blockSizeTokens is 64, but the blocks of default/10.0.0.2:8000 are of 16 tokens, "
                              "which counts\n");
  assert_true(metric(&r, "llmd_index_mismatched_endpoints") == 1);
  rig_close(&r);
  open_precise(&r, PRECISE, 0); /* the preset is nobody's word */
  tell(&r, 1, 1, 64, 32, 2, 0);
  ask(&r, 1, 64);
  decide(&r);
  assert_string_equal(r.said, "");
  assert_true(metric(&r, "llmd_index_mismatched_endpoints") == 0);
  rig_close(&r);
}

/* ---- the older spelling, refusals -------------------------------------------------------------------------------- */

static void the_scorer_that_is_both(void **state)
{
  rig r;
  (void)state;
  open_precise(&r, HEAD "- type: precise-prefix-cache-scorer\n  parameters:\n    indexerConfig:\n"
                        "      tokenizersPoolConfig: {modelName: x}\n- type: max-score-picker\n", 0);
  tell(&r, 1, 1, 64, 16, 4, 0);
  tell(&r, 2, 1, 112, 16, 7, 0);
  ask(&r, 1, 112);
  decide(&r);
  assert_true(r.d.target[0].id == r.id[2] && r.d.target[0].score == 1);
  cells(&r, "match", 0, 4, 7, 0);
  rig_close(&r);
}

static void refused(const char *type, const char *parameters, int rc, const char *path, const char *text)
{
  char config[1024];
  llmd_pool *pool = rig_pool();
  llmd_scheduler_options so = {.size = sizeof so};
  llmd_scheduler *s;
  llmd_err err = LLMD_ERR_INIT;
  snprintf(config, sizeof config, HEAD "- type: %s\n  parameters: %s\n", type, parameters);
  assert_int_equal(llmd_scheduler_create(&so, pool, config, strlen(config), &s, &err), rc);
  assert_string_equal(err.path, path);
  if (!strstr(err.text, text))
    fail_msg("\"%s\" does not say \"%s\"", err.text, text);
  llmd_pool_close(pool);
}

static void parameters_are_strict(void **state)
{
  static const char *const types[] = {"precise-prefix-cache-producer", "precise-prefix-cache-scorer"};
  (void)state;
  for (int i = 0; i < 2; i++) {
    refused(types[i], "{tokenProcessorConfig: {blockSizeTokens: -4}}", LLMD_E_RANGE,
            "plugins[0].parameters.tokenProcessorConfig.blockSizeTokens", "got -4");
    refused(types[i], "{tokenProcessorConfig: {blockSize: -4}}", LLMD_E_RANGE,
            "plugins[0].parameters.tokenProcessorConfig.blockSize", "got -4");
    refused(types[i], "{tokenProcessorConfig: {hashAlgorithm: md5}}", LLMD_E_RANGE,
            "plugins[0].parameters.tokenProcessorConfig.hashAlgorithm", "md5");
    refused(types[i], "{tokenProcessorConfig: {blocks: 4}}", LLMD_E_UNKNOWN_FIELD,
            "plugins[0].parameters.tokenProcessorConfig.blocks", "unknown field");
    refused(types[i], "{kvEventsConfig: {engineType: trtllm}}", LLMD_E_RANGE,
            "plugins[0].parameters.kvEventsConfig.engineType", "trtllm");
    refused(types[i], "{kvEventsConfig: {concurrency: 0}}", LLMD_E_RANGE,
            "plugins[0].parameters.kvEventsConfig.concurrency", "at least 1");
    refused(types[i], "{kvEventsConfig: {podDiscoveryConfig: {port: 1}}}", LLMD_E_UNKNOWN_FIELD,
            "plugins[0].parameters.kvEventsConfig.podDiscoveryConfig.port", "unknown field");
    refused(types[i], "{indexerConfig: {kvBlockIndexConfig: {inMemoryConfig: {size: 0}}}}", LLMD_E_RANGE,
            "plugins[0].parameters.indexerConfig.kvBlockIndexConfig.inMemoryConfig.size", "above 0");
    refused(types[i], "{indexerConfig: {kvBlockIndexConfig: {costAwareMemoryConfig: {size: 2 parsecs}}}}",
            LLMD_E_SYNTAX, "plugins[0].parameters.indexerConfig.kvBlockIndexConfig.costAwareMemoryConfig.size",
            "2GiB");
    refused(types[i], "{speculativeTTL: soon}", LLMD_E_TYPE, "plugins[0].parameters.speculativeTTL", "");
  }
  refused(types[0], "{indexerConfig: {tokenizersPoolConfig: {}}}", LLMD_E_INVALID,
          "plugins[0].parameters.indexerConfig.tokenizersPoolConfig", "token-producer");
}

/* What is written of a configuration reads back as the same. */
static void written_and_read_again(void **state)
{
  static char text[65536];
  rig r;
  llmd_scheduler *again;
  (void)state;
  open_precise(&r, HEAD PRODUCER "  parameters:\n    tokenProcessorConfig: {blockSize: 64, hashSeed: \"42\"}\n"
                                 "    indexerConfig: {kvBlockIndexConfig: {enableMetrics: true}, "
                                 "kvCacheBackendConfigs: []}\n    speculativeIndexing: true\n    speculativeTTL: 5s\n"
                                 "    kvEventsConfig: {zmqEndpoint: 'tcp://*:5557', "
                                 "podDiscoveryConfig: {socketPort: 1}}\n" SCORER, 0);
  text[0] = 0;
  assert_int_equal(llmd_scheduler_write_config(r.scheduler, append, text), 0);
  again = rig_schedule(&r, text, NULL);
  assert_true(again->identity == r.scheduler->identity);
  assert_non_null(strstr(text, "blockSizeTokens: 64"));
  assert_non_null(strstr(text, "weight: 1"));
  llmd_scheduler_free(again);
  rig_close(&r);
}

/* What a shared store has everybody has, from there at worst. */
static void a_store_that_all_can_read(void **state)
{
  llmd_key keys[MOST];
  rig r;
  (void)state;
  open_precise(&r, PRECISE, 0);
  assert_int_equal(chain(&r, 1, 80, 16, NULL, NULL, 0, keys), 5);
  assert_int_equal(llmd_index_store(index_of(&r), LLMD_INDEX_SHARED, LLMD_TIER_REMOTE, NULL, keys, NULL, 5, NULL), 5);
  tell(&r, 0, 1, 32, 16, 2, 0);
  tell(&r, 1, 1, 128, 16, 6, LLMD_TIER_CPU);
  describe(&r, 2, 16, 0);
  ask(&r, 1, 160);
  decide(&r);
  cells(&r, "cached", 5, 8, 5, 5);
  cells(&r, "gpu", 2, 6, 0, 0);
  cells(&r, "cpu", 0, 2, 0, 0);
  cells(&r, "remote", 3, 0, 5, 5);
  cells(&r, "match", 4, 7, 4, 4); /* 2 + 3 * 0.8, 6 + 2 * 0.8, 5 * 0.8 */
  rig_close(&r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_index_decides),
      cmocka_unit_test(ids_in_the_body),
      cmocka_unit_test(candidates_may_be_few),
      cmocka_unit_test(tiers_have_weights),
      cmocka_unit_test(engines_differ_in_block_size),
      cmocka_unit_test(the_gone_hold_nothing),
      cmocka_unit_test(adapters_have_blocks_of_their_own),
      cmocka_unit_test(salts_and_images),
      cmocka_unit_test(events_become_decisions),
      cmocka_unit_test(text_is_guessed),
      cmocka_unit_test(unfed),
      cmocka_unit_test(no_prompt_is_no_step),
      cmocka_unit_test(if_available_asks_the_exact_one),
      cmocka_unit_test(a_destination_is_expected_to_hold),
      cmocka_unit_test(a_commit_may_come_late),
      cmocka_unit_test(images_without_names_are_not_expected),
      cmocka_unit_test(promises_are_posted),
      cmocka_unit_test(an_agent_and_its_workers),
      cmocka_unit_test(degraded_is_said_and_counts_all_the_same),
      cmocka_unit_test(other_blocks_than_configured),
      cmocka_unit_test(the_scorer_that_is_both),
      cmocka_unit_test(parameters_are_strict),
      cmocka_unit_test(a_store_that_all_can_read),
      cmocka_unit_test(written_and_read_again),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
