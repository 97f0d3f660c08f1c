/* Profile handlers and deciders: which profile runs after which, what comes out, and when the answer is no. */
#include "self.h"

#include <math.h>

extern const llmd_plugin llmd__single_profile_handler, llmd__data_parallel_profile_handler,
  llmd__header_profile_handler, llmd__disagg_profile_handler, llmd__prefix_based_pd_decider,
  llmd__always_disagg_pd_decider, llmd__always_disagg_multimodal_decider;

/* A decision in the middle of its stages. Profiles are decode, prefill, encode (0, 1, 2); plugin 0 decides on prefill,
 * plugin 1 on encode. */
enum { DECODE, PREFILL, ENCODE };
enum { ASK_PREFILL, ASK_ENCODE };

typedef struct stage {
  llmd_stages s;
  llmd_str name[3];
  llmd_run run[3];
  int8_t answer[2];
  llmd_read_value value[1];
  llmd_request_view request;
} stage;

static void stage_init(stage *t, uint32_t profiles)
{
  static const llmd_str names[3] = {{"decode", 6}, {"prefill", 7}, {"encode", 6}};
  memset(t, 0, sizeof *t);
  memcpy(t->name, names, sizeof names);
  memset(t->answer, -1, sizeof t->answer);
  t->s.size = sizeof t->s;
  t->s.n = profiles;
  t->s.name = t->name;
  t->s.run = t->run;
  t->s.answer = t->answer;
  t->s.value = t->value;
  t->s.request = &t->request;
}

static void ran(stage *t, uint32_t profile, uint32_t state, uint32_t picks)
{
  t->run[profile].state = state;
  t->run[profile].n = picks;
  t->run[profile].first = picks ? 77 : 0;
}

static llmd_next next_of(const llmd_plugin *p, const test_self *self, const stage *t)
{
  llmd_next out = {sizeof out, LLMD_NO_INDEX, LLMD_NO_INDEX, LLMD_NO_INDEX, 0};
  assert_int_equal(p->next(self->at.bytes, &t->s, &out), 0);
  return out;
}

static void assert_runs(const llmd_plugin *p, const test_self *self, const stage *t, uint32_t profile, uint32_t peer)
{
  llmd_next out = next_of(p, self, t);
  assert_int_equal(out.run, (uint64_t)1 << profile);
  assert_int_equal(out.ask, LLMD_NO_INDEX);
  assert_int_equal(out.peer, peer);
}

static void assert_asks(const llmd_plugin *p, const test_self *self, const stage *t, uint32_t decider, uint32_t at)
{
  llmd_next out = next_of(p, self, t);
  assert_int_equal(out.run, 0);
  assert_int_equal(out.ask, decider);
  assert_int_equal(out.ask_at, at);
}

static void assert_done(const llmd_plugin *p, const test_self *self, const stage *t)
{
  llmd_next out = next_of(p, self, t);
  assert_int_equal(out.run, 0);
  assert_int_equal(out.ask, LLMD_NO_INDEX);
}

static int finish_of(const llmd_plugin *p, const test_self *self, const stage *t, llmd_outcome *out)
{
  memset(out, 0, sizeof *out);
  out->size = sizeof *out;
  out->primary = LLMD_NO_INDEX;
  return p->finish(self->at.bytes, &t->s, out);
}

/* ---- single, data parallel, header ------------------------------------------------------------------------------- */

static void descriptors(void **state)
{
  static const llmd_plugin *const all[] = {
    &llmd__single_profile_handler, &llmd__data_parallel_profile_handler, &llmd__header_profile_handler,
    &llmd__disagg_profile_handler, &llmd__prefix_based_pd_decider, &llmd__always_disagg_pd_decider,
    &llmd__always_disagg_multimodal_decider};
  size_t i;
  (void)state;
  for (i = 0; i < sizeof all / sizeof all[0]; i++)
    check_descriptor(all[i]);
}

static void single_runs_once(void **state)
{
  const llmd_plugin *p = &llmd__single_profile_handler;
  test_self self;
  stage t;
  llmd_outcome out;
  (void)state;
  self_init(&self, p);
  stage_init(&t, 1);
  assert_runs(p, &self, &t, 0, LLMD_NO_INDEX);
  ran(&t, 0, LLMD_RUN_OK, 2);
  assert_done(p, &self, &t);
  assert_int_equal(finish_of(p, &self, &t, &out), 0);
  assert_int_equal(out.primary, 0);
  assert_int_equal(out.n_headers, 0);
  ran(&t, 0, LLMD_RUN_FAILED, 0);
  assert_done(p, &self, &t);
  assert_int_equal(finish_of(p, &self, &t, &out), LLMD_E_NONE);
  stage_init(&t, 2);
  assert_done(p, &self, &t);
  assert_int_equal(finish_of(p, &self, &t, &out), LLMD_E_NONE);
}

static void data_parallel_rewrites_the_port(void **state)
{
  const llmd_plugin *p = &llmd__data_parallel_profile_handler;
  test_self self;
  stage t;
  llmd_outcome out;
  (void)state;
  self_init(&self, p);
  assert_int_equal(self_check(&self, p), 0);
  stage_init(&t, 1);
  assert_runs(p, &self, &t, 0, LLMD_NO_INDEX);
  ran(&t, 0, LLMD_RUN_OK, 1);
  assert_done(p, &self, &t);
  assert_int_equal(finish_of(p, &self, &t, &out), 0);
  assert_int_equal(out.primary, 0);
  assert_int_equal(out.port, 8000);
  assert_int_equal(out.n_headers, 1);
  assert_string_equal(out.header[0].name, "x-data-parallel-host-port");
  assert_int_equal(out.header[0].profile, 0);
  assert_int_equal(out.header[0].what, LLMD_HEADER_FIRST);
  ran(&t, 0, LLMD_RUN_FAILED, 0);
  assert_int_equal(finish_of(p, &self, &t, &out), LLMD_E_NONE);
  assert_int_equal(self_set(&self, p, "primaryPort", "9001"), 0);
  assert_int_equal(self_check(&self, p), 0);
  ran(&t, 0, LLMD_RUN_OK, 1);
  assert_int_equal(finish_of(p, &self, &t, &out), 0);
  assert_int_equal(out.port, 9001);
}

static void data_parallel_ports(void **state)
{
  static const struct {
    const char *port;
    int rc;
  } rows[] = {{"1", 0}, {"65535", 0}, {"0", 0}, {"65536", LLMD_E_RANGE}, {"-1", LLMD_E_RANGE}};
  const llmd_plugin *p = &llmd__data_parallel_profile_handler;
  test_self self;
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    self_init(&self, p);
    assert_int_equal(self_set(&self, p, "primaryPort", rows[i].port), 0);
    assert_int_equal(self_check(&self, p), rows[i].rc);
    assert_string_equal(self.err.path, rows[i].rc ? "primaryPort" : "");
  }
}

static void set_header(stage *t, const char *value)
{
  t->value[0].str.ptr = value;
  t->value[0].str.len = value ? strlen(value) : 0;
}

static void header_names_the_profile(void **state)
{
  const llmd_plugin *p = &llmd__header_profile_handler;
  static const struct {
    const char *value;
    uint32_t profile;
  } rows[] = {{"encode", ENCODE}, {"  prefill\t", PREFILL}, {NULL, DECODE}, {"", DECODE}, {"   ", DECODE}};
  test_self self;
  stage t;
  llmd_outcome out;
  size_t i;
  (void)state;
  self_init(&self, p);
  assert_int_equal(self_check(&self, p), 0);
  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    stage_init(&t, 3);
    set_header(&t, rows[i].value);
    assert_runs(p, &self, &t, rows[i].profile, LLMD_NO_INDEX);
    ran(&t, rows[i].profile, LLMD_RUN_OK, 1);
    assert_done(p, &self, &t);
    assert_int_equal(finish_of(p, &self, &t, &out), 0);
    assert_int_equal(out.primary, rows[i].profile);
    ran(&t, rows[i].profile, LLMD_RUN_FAILED, 0);
    assert_done(p, &self, &t);
    assert_int_equal(finish_of(p, &self, &t, &out), LLMD_E_NONE);
  }
  stage_init(&t, 3);
  set_header(&t, "Decode");
  assert_done(p, &self, &t);
  set_header(&t, "decod");
  assert_done(p, &self, &t);
  assert_int_equal(finish_of(p, &self, &t, &out), LLMD_E_NONE);
  stage_init(&t, 1);
  set_header(&t, "prefill");
  assert_runs(p, &self, &t, DECODE, LLMD_NO_INDEX);
}

static void header_parameters(void **state)
{
  const llmd_plugin *p = &llmd__header_profile_handler;
  static const struct {
    const char *header, *preset, *lower;
    uint32_t runs;
  } rows[] = {{"EPP-Profile", "decode", "epp-profile", DECODE},
              {"  X-Custom-Profile  ", " prefill ", "x-custom-profile", PREFILL},
              {"   ", "   ", "epp-profile", DECODE}};
  char name[200];
  test_self self;
  llmd_str wanted;
  stage t;
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    self_init(&self, p);
    assert_int_equal(self_set(&self, p, "headerName", rows[i].header), 0);
    assert_int_equal(self_set(&self, p, "defaultProfile", rows[i].preset), 0);
    assert_int_equal(self_check(&self, p), 0);
    memcpy(&wanted, self.at.bytes + p->reads[0].name_offset, sizeof wanted); /* what the core resolves the read by */
    assert_string_equal(wanted.ptr, rows[i].lower);
    assert_int_equal(wanted.len, strlen(rows[i].lower));
    stage_init(&t, 3);
    assert_runs(p, &self, &t, rows[i].runs, LLMD_NO_INDEX);
  }
  memset(name, 'x', sizeof name);
  name[sizeof name - 1] = 0;
  assert_int_equal(self_set(&self, p, "headerName", name), 0);
  assert_int_equal(self_check(&self, p), LLMD_E_LIMIT);
}

/* ---- disagg ------------------------------------------------------------------------------------------------------ */

/* The handler over profiles decode, prefill, encode as far as `profiles` says, with the deciders wanted. */
static void disagg(test_self *self, const char *order, uint32_t profiles, int ask_prefill, int ask_encode)
{
  const llmd_plugin *p = &llmd__disagg_profile_handler;
  self_init(self, p);
  assert_int_equal(self_set(self, p, "profiles.decode", "0"), 0);
  assert_int_equal(self_set(self, p, "profiles.prefill", profiles > PREFILL ? "1" : "-"), 0);
  assert_int_equal(self_set(self, p, "profiles.encode", profiles > ENCODE ? "2" : "-"), 0);
  if (order)
    assert_int_equal(self_set(self, p, "stageOrder", order), 0);
  if (ask_prefill)
    assert_int_equal(self_set(self, p, "deciders.prefill", "0"), 0);
  if (ask_encode)
    assert_int_equal(self_set(self, p, "deciders.encode", "1"), 0);
  assert_int_equal(self_check(self, p), 0);
}

static void decode_first(void **state)
{
  const llmd_plugin *p = &llmd__disagg_profile_handler;
  test_self self;
  stage t;
  (void)state;
  disagg(&self, NULL, 3, 1, 1);
  stage_init(&t, 3);
  assert_runs(p, &self, &t, DECODE, LLMD_NO_INDEX);
  ran(&t, DECODE, LLMD_RUN_FAILED, 0);
  assert_done(p, &self, &t);
  ran(&t, DECODE, LLMD_RUN_OK, 0);
  assert_done(p, &self, &t);
  ran(&t, DECODE, LLMD_RUN_OK, 1);
  assert_asks(p, &self, &t, ASK_ENCODE, DECODE);
  t.answer[ASK_ENCODE] = 1;
  assert_runs(p, &self, &t, ENCODE, LLMD_NO_INDEX);
  ran(&t, ENCODE, LLMD_RUN_FAILED, 0); /* goes on */
  assert_asks(p, &self, &t, ASK_PREFILL, DECODE);
  t.answer[ASK_PREFILL] = 1;
  assert_runs(p, &self, &t, PREFILL, DECODE);
  ran(&t, PREFILL, LLMD_RUN_OK, 1);
  assert_done(p, &self, &t);
}

static void decode_first_said_no(void **state)
{
  const llmd_plugin *p = &llmd__disagg_profile_handler;
  test_self self;
  stage t;
  (void)state;
  disagg(&self, "decode-first", 3, 1, 1);
  stage_init(&t, 3);
  ran(&t, DECODE, LLMD_RUN_OK, 1);
  t.answer[ASK_ENCODE] = 0;
  assert_asks(p, &self, &t, ASK_PREFILL, DECODE);
  t.answer[ASK_PREFILL] = 0;
  assert_done(p, &self, &t);
  disagg(&self, NULL, 3, 0, 0); /* no decider, no stage */
  stage_init(&t, 3);
  ran(&t, DECODE, LLMD_RUN_OK, 1);
  assert_done(p, &self, &t);
  disagg(&self, NULL, 1, 1, 1); /* no profile, no stage */
  stage_init(&t, 1);
  ran(&t, DECODE, LLMD_RUN_OK, 1);
  assert_done(p, &self, &t);
}

static void prefill_first(void **state)
{
  const llmd_plugin *p = &llmd__disagg_profile_handler;
  test_self self;
  stage t;
  (void)state;
  disagg(&self, "prefill-first", 3, 0, 1);
  stage_init(&t, 3);
  assert_runs(p, &self, &t, PREFILL, LLMD_NO_INDEX);
  ran(&t, PREFILL, LLMD_RUN_OK, 1);
  assert_asks(p, &self, &t, ASK_ENCODE, LLMD_NO_INDEX);
  t.answer[ASK_ENCODE] = 1;
  assert_runs(p, &self, &t, ENCODE, LLMD_NO_INDEX);
  ran(&t, ENCODE, LLMD_RUN_OK, 1);
  assert_runs(p, &self, &t, DECODE, PREFILL);
  ran(&t, DECODE, LLMD_RUN_OK, 1);
  assert_done(p, &self, &t);

  disagg(&self, "prefill-first", 2, 0, 0);
  stage_init(&t, 2);
  ran(&t, PREFILL, LLMD_RUN_FAILED, 0); /* goes on, without peer */
  assert_runs(p, &self, &t, DECODE, LLMD_NO_INDEX);
  ran(&t, DECODE, LLMD_RUN_FAILED, 0);
  assert_done(p, &self, &t);

  disagg(&self, "prefill-first", 1, 0, 0);
  stage_init(&t, 1);
  assert_runs(p, &self, &t, DECODE, LLMD_NO_INDEX);
}

/* The host can show a prefix only: nobody else could be sent the prompt. */
static void truncated_body(void **state)
{
  static const char *const orders[] = {"decode-first", "prefill-first"};
  const llmd_plugin *p = &llmd__disagg_profile_handler;
  test_self self;
  stage t;
  (void)state;
  for (int i = 0; i < 2; i++) {
    disagg(&self, orders[i], 3, i == 0, 1);
    stage_init(&t, 3);
    t.request.flags = LLMD_VIEW_TRUNCATED;
    assert_runs(p, &self, &t, DECODE, LLMD_NO_INDEX);
    ran(&t, DECODE, LLMD_RUN_OK, 1);
    assert_done(p, &self, &t);
  }
}

static void no_decode_profile(void **state)
{
  static const char *const order[] = {"decode-first", "prefill-first"};
  const llmd_plugin *p = &llmd__disagg_profile_handler;
  test_self self;
  stage t;
  llmd_outcome out;
  size_t i;
  (void)state;
  for (i = 0; i < 2; i++) {
    self_init(&self, p);
    assert_int_equal(self_set(&self, p, "stageOrder", order[i]), 0);
    assert_int_equal(self_check(&self, p), 0);
    stage_init(&t, 1);
    assert_done(p, &self, &t);
    assert_int_equal(finish_of(p, &self, &t, &out), LLMD_E_NONE);
  }
}

static void disagg_outcome(void **state)
{
  const llmd_plugin *p = &llmd__disagg_profile_handler;
  test_self self;
  stage t;
  llmd_outcome out;
  (void)state;
  disagg(&self, NULL, 3, 1, 1);
  stage_init(&t, 3);
  assert_int_equal(finish_of(p, &self, &t, &out), LLMD_E_NONE);
  ran(&t, PREFILL, LLMD_RUN_OK, 2);
  ran(&t, ENCODE, LLMD_RUN_OK, 2);
  ran(&t, DECODE, LLMD_RUN_FAILED, 0);
  assert_int_equal(finish_of(p, &self, &t, &out), LLMD_E_NONE);
  ran(&t, DECODE, LLMD_RUN_OK, 1);
  assert_int_equal(finish_of(p, &self, &t, &out), 0);
  assert_int_equal(out.primary, DECODE);
  assert_int_equal(out.port, 0);
  assert_int_equal(out.n_headers, 2);
  assert_string_equal(out.header[0].name, "x-prefiller-host-port");
  assert_int_equal(out.header[0].profile, PREFILL);
  assert_int_equal(out.header[0].what, LLMD_HEADER_FIRST);
  assert_string_equal(out.header[1].name, "x-encoder-hosts-ports");
  assert_int_equal(out.header[1].profile, ENCODE);
  assert_int_equal(out.header[1].what, LLMD_HEADER_ALL);
  ran(&t, PREFILL, LLMD_RUN_FAILED, 0);
  ran(&t, ENCODE, LLMD_RUN_OK, 0);
  assert_int_equal(finish_of(p, &self, &t, &out), 0);
  assert_int_equal(out.n_headers, 0);
}

/* One profile for both extra stages runs once; the encode stage comes first. */
static void shared_profile(void **state)
{
  const llmd_plugin *p = &llmd__disagg_profile_handler;
  test_self self;
  stage t;
  (void)state;
  disagg(&self, NULL, 3, 1, 1);
  assert_int_equal(self_set(&self, p, "profiles.encode", "1"), 0);
  assert_int_equal(self_check(&self, p), 0);
  stage_init(&t, 3);
  ran(&t, DECODE, LLMD_RUN_OK, 1);
  assert_asks(p, &self, &t, ASK_ENCODE, DECODE);
  t.answer[ASK_ENCODE] = 0;
  assert_done(p, &self, &t);
  t.answer[ASK_ENCODE] = 1;
  assert_runs(p, &self, &t, PREFILL, LLMD_NO_INDEX);
}

static void order_spellings(void **state)
{
  static const struct {
    const char *text;
    int prefill_first; /* -1 = refused */
  } rows[] = {{"decode-first", 0}, {"decodeFirst", 0}, {"DecodeFirst", 0}, {"decode_first", 0}, {"decode", 0}, {"", 0},
              {"prefill-first", 1}, {"PrefillFirst", 1}, {"PREFILL_FIRST", 1}, {"prefill", 1}, {"sideways", -1},
              {"prefill first", -1}, {"prefill-first-and-more-of-it", -1}, {"encode-first", -1}};
  const llmd_plugin *p = &llmd__disagg_profile_handler;
  test_self self;
  stage t;
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    self_init(&self, p);
    assert_int_equal(self_set(&self, p, "profiles.decode", "0"), 0);
    assert_int_equal(self_set(&self, p, "profiles.prefill", "1"), 0);
    assert_int_equal(self_set(&self, p, "stageOrder", rows[i].text), 0);
    assert_int_equal(self_check(&self, p), rows[i].prefill_first < 0 ? LLMD_E_RANGE : 0);
    stage_init(&t, 2);
    if (rows[i].prefill_first >= 0)
      assert_runs(p, &self, &t, rows[i].prefill_first ? PREFILL : DECODE, LLMD_NO_INDEX);
  }
}

static void flat_parameters(void **state)
{
  const llmd_plugin *p = &llmd__disagg_profile_handler;
  test_self self;
  stage t;
  (void)state;
  self_init(&self, p);
  assert_int_equal(self_set(&self, p, "decodeProfile", "2"), 0);
  assert_int_equal(self_set(&self, p, "deciderPluginName", "1"), 0);
  assert_int_equal(self_set(&self, p, "prefillProfile", "0"), 0);
  assert_int_equal(self_check(&self, p), 0);
  stage_init(&t, 3);
  assert_runs(p, &self, &t, 2, LLMD_NO_INDEX);
  ran(&t, 2, LLMD_RUN_OK, 1);
  assert_asks(p, &self, &t, 1, 2);
  self_init(&self, p); /* prefillDeciderPluginName counts more than deciderPluginName */
  assert_int_equal(self_set(&self, p, "decodeProfile", "2"), 0);
  assert_int_equal(self_set(&self, p, "deciderPluginName", "1"), 0);
  assert_int_equal(self_set(&self, p, "prefillDeciderPluginName", "0"), 0);
  assert_int_equal(self_set(&self, p, "prefillProfile", "0"), 0);
  assert_int_equal(self_check(&self, p), 0);
  assert_asks(p, &self, &t, 0, 2);
  self_init(&self, p);
  assert_int_equal(self_set(&self, p, "deciderPluginName", "1"), 0);
  assert_int_equal(self_set(&self, p, "stageOrder", "prefill-first"), 0);
  assert_int_equal(self_check(&self, p), LLMD_E_INVALID);
  self_init(&self, p); /* both ways at once */
  assert_int_equal(self_set(&self, p, "encodeDeciderPluginName", "1"), 0);
  assert_int_equal(self_set(&self, p, "deciders.prefill", "0"), 0);
  assert_int_equal(self_check(&self, p), LLMD_E_INVALID);
  assert_int_equal(self_set(&self, p, "profiles.decoder", "0"), LLMD_E_UNKNOWN_FIELD);
}

static void no_prefill_decider_in_prefill_first(void **state)
{
  const llmd_plugin *p = &llmd__disagg_profile_handler;
  test_self self;
  (void)state;
  self_init(&self, p);
  assert_int_equal(self_set(&self, p, "stageOrder", "prefill-first"), 0);
  assert_int_equal(self_set(&self, p, "deciders.prefill", "0"), 0);
  assert_int_equal(self_check(&self, p), LLMD_E_INVALID);
  assert_string_equal(self.err.path, "deciders.prefill");
}

/* ---- deciders ---------------------------------------------------------------------------------------------------- */

/* n = 0: no endpoint. cached, match, block NAN: unknown. */
static int decide(const llmd_plugin *p, const test_self *self, uint32_t n, double tokens, double cached, double match,
                  double block)
{
  const double *columns[] = {&cached, &match, &block};
  llmd_request_view request;
  llmd_batch b;
  memset(&request, 0, sizeof request);
  request.size = sizeof request;
  request.tokens = tokens;
  memset(&b, 0, sizeof b);
  b.size = sizeof b;
  b.n = n;
  b.f64 = columns;
  b.request = &request;
  return p->decide(self->at.bytes, &b);
}

static void prefix_decider(void **state)
{
  static const struct {
    const char *non_cached, *prompt;
    uint32_t n;
    double tokens, cached, match, block;
    int yes;
  } rows[] = {
    {"0", "0", 1, 10, 5, 5, 1, 0},     {"0", "0", 0, 10, NAN, NAN, NAN, 0}, {"5", "0", 0, 10, NAN, NAN, NAN, 0},
    {"5", "20", 1, 10, 0, 0, 1, 0},    {"20", "0", 1, 10, 0, 0, 1, 0},      {"5", "10", 1, 10, 5, 5, 1, 1},
    {"5", "0", 1, 10, 8, 8, 1, 0},     {"5", "0", 1, 10, 5, 5, 1, 1},       {"3", "0", 1, 10, 2, 2, 1, 1},
    {"1", "0", 1, 10, 10, 10, 1, 0},   {"5", "0", 1, 10, 0, 0, 1, 1},       {"512", "0", 1, 4096, 240, 192, 16, 0},
    {"512", "0", 1, 4096, NAN, 192, 16, 1}, {"5", "0", 1, 100, NAN, NAN, NAN, 0}, {"5", "0", 1, 100, 4, 4, NAN, 0},
    {"1", "0", 1, 0, 0, 0, 64, 0}};
  const llmd_plugin *p = &llmd__prefix_based_pd_decider;
  test_self self;
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    self_init(&self, p);
    assert_int_equal(self_set(&self, p, "nonCachedTokens", rows[i].non_cached), 0);
    assert_int_equal(self_set(&self, p, "promptTokens", rows[i].prompt), 0);
    assert_int_equal(self_check(&self, p), 0);
    if (decide(p, &self, rows[i].n, rows[i].tokens, rows[i].cached, rows[i].match, rows[i].block) != rows[i].yes)
      fail_msg("row %u", (unsigned)i);
  }
  self_init(&self, p);
  assert_int_equal(self_set(&self, p, "nonCachedTokens", "-1"), 0);
  assert_int_equal(self_check(&self, p), LLMD_E_RANGE);
  assert_string_equal(self.err.path, "nonCachedTokens");
  self_init(&self, p);
  assert_int_equal(self_set(&self, p, "promptTokens", "-1"), 0);
  assert_int_equal(self_check(&self, p), LLMD_E_RANGE);
}

/* What is not known must reach the decider as such, not as a number that the core puts in. */
static void prefix_decider_sees_the_unknown(void **state)
{
  const llmd_read *r;
  (void)state;
  for (r = llmd__prefix_based_pd_decider.reads; r->kind; r++) {
    assert_true(isnan(r->if_unknown) && isnan(r->if_unknown_strict));
    assert_string_equal(r->from, "approx-prefix-cache-producer");
  }
}

static void simple_deciders(void **state)
{
  test_self self;
  llmd_request_view request;
  llmd_batch b;
  (void)state;
  self_init(&self, &llmd__always_disagg_pd_decider);
  memset(&request, 0, sizeof request);
  memset(&b, 0, sizeof b);
  b.request = &request;
  assert_int_equal(llmd__always_disagg_pd_decider.decide(self.at.bytes, &b), 1);
  assert_int_equal(llmd__always_disagg_multimodal_decider.decide(self.at.bytes, &b), 0);
  request.flags = LLMD_VIEW_MULTIMODAL;
  assert_int_equal(llmd__always_disagg_multimodal_decider.decide(self.at.bytes, &b), 1);
  request.flags = ~LLMD_VIEW_MULTIMODAL;
  assert_int_equal(llmd__always_disagg_multimodal_decider.decide(self.at.bytes, &b), 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(descriptors),
    cmocka_unit_test(single_runs_once),
    cmocka_unit_test(data_parallel_rewrites_the_port),
    cmocka_unit_test(data_parallel_ports),
    cmocka_unit_test(header_names_the_profile),
    cmocka_unit_test(header_parameters),
    cmocka_unit_test(decode_first),
    cmocka_unit_test(decode_first_said_no),
    cmocka_unit_test(prefill_first),
    cmocka_unit_test(truncated_body),
    cmocka_unit_test(no_decode_profile),
    cmocka_unit_test(disagg_outcome),
    cmocka_unit_test(shared_profile),
    cmocka_unit_test(order_spellings),
    cmocka_unit_test(flat_parameters),
    cmocka_unit_test(no_prefill_decider_in_prefill_first),
    cmocka_unit_test(prefix_decider),
    cmocka_unit_test(prefix_decider_sees_the_unknown),
    cmocka_unit_test(simple_deciders),
  };
  return cmocka_run_group_tests_name("profiles", tests, NULL, NULL);
}
