/* A writer of a region that may die at any instruction. A child works on a small region, one instruction at a time.
 * Whenever the region has changed, the parent takes a copy, as if the child had died there, and lets a new writer take
 * it over. Then
 *  - the region is sound (llmd_region_inspect), and stays it;
 *  - endpoints, labels, columns and sets are those from before or from after the step that was on, in the staging copy
 *    and in what is published;
 *  - publishing, adding, finding, removing go on; no endpoint's number comes again;
 *  - what lanes posted is applied by the next tick, once it was whole, and then says the same;
 *  - all room for plugin state is known: in the directory, or free;
 *  - all that was charged comes back, and every ticket is there to be taken.
 *
 *   region_kill [K]    every K-th change is looked at (default 1) */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <llmd/pool.h>

#include "model/columns.h"
#include "model/ledger.h"
#include "model/strings.h"
#include "model/health.h"
#include "model/table.h"
#include "model/token_cache.h"
#include "sched/state.h"
#include "step.h"

#define WRITER 1u /* owner of the writer that dies */
#define SLOTS 6u
#define TEXT 4096u
#define TICKETS 8u
#define LEASE 1000u
#define PROMPTS 12u

typedef struct work {
  llmd_pool *p;
  llmd_endpoint_id a, b, c;
  llmd_ticket t;
  uint32_t note;
  llmd__charger who;
} work;

typedef struct stage {
  const char *name;
  void (*fn)(work *w);
} stage;

static size_t len;
static char *mem, *copy;
static volatile uint32_t *at; /* the stage that is on */
static char (*staged)[TEXT], (*published)[TEXT]; /* [stages + 1]: before stage i */
static uint64_t every, looked, failures, seen;
static uint32_t most_generation[SLOTS];

/* ---- the work --------------------------------------------------------------------------------------------------- */

static const llmd_now now = {100, 1};

static void must(int ok)
{
  if (!ok)
    abort();
}

static llmd_str str(const char *s)
{
  llmd_str out = {s, strlen(s)};
  return out;
}

static llmd_endpoint_id add(llmd_pool *p, const char *address, const char *zone)
{
  llmd_label label[2] = {{str("zone"), str(zone)}, {str("role"), str("decode")}};
  llmd_endpoint e = {.size = sizeof e, .port = 80, .n_labels = 2, .labels = label, .address = str(address)};
  llmd_endpoint_id id;
  must(!llmd_pool_add(p, &e, &id));
  return id;
}

static void publish(work *w) { must(!llmd_pool_publish(w->p, &now)); }
static void add_one(work *w) { w->c = add(w->p, "10.0.0.3", "gamma"); }
static void drain(work *w) { must(!llmd_pool_drain(w->p, w->b, 1)); }
static void remove_one(work *w) { must(!llmd_pool_remove(w->p, w->a)); }
static void add_again(work *w) { w->a = add(w->p, "10.0.0.4", "delta"); }
static void sweep(work *w) { llmd__strings_make_room(w->p); }

static void relabel(work *w)
{
  llmd_label label[2] = {{str("zone"), str("epsilon")}, {str("tier"), str("gold")}};
  must(!llmd_pool_set_labels(w->p, w->b, label, 2));
}

static void set_text(work *w) { must(!llmd_pool_set_text(w->p, w->b, w->note, "quite another note", 18)); }
static void set_value(work *w) { must(!llmd_pool_set(w->p, w->b, LLMD_ATTR_WAITING, 7)); }

static void set_models(work *w)
{
  llmd_str name[2] = {str("adapter-x"), str("adapter-y")};
  must(!llmd_pool_set_models(w->p, w->b, LLMD_ATTR_ACTIVE_MODELS, name, 2));
}

static void new_attribute(work *w)
{
  must(llmd_pool_attribute(w->p, "Fresh", "tests", LLMD_TYPE_F64, LLMD_SCOPE_ENDPOINT) >= 0);
}

static void forget(work *w)
{
  uint32_t slot;
  while (llmd__pool_next_forgotten(w->p, 0, &slot))
    llmd__pool_forgotten(w->p, slot);
}

static int refuse(void *room, size_t bytes, void *ud)
{
  (void)ud;
  memset(room, 0xee, bytes < 64 ? bytes : 64);
  return LLMD_E_FULL;
}

static void make_state(work *w)
{
  uint64_t off, bytes;
  must(!llmd__region_state(w->p->g, WRITER, "x/one/table", 1, 600, llmd__table_init, NULL, &off, &bytes));
}

/* Its maker thinks better of it. */
static void leave_state(work *w)
{
  uint64_t off, bytes;
  must(llmd__region_state(w->p->g, WRITER, "x/two/table", 1, 500, refuse, w, &off, &bytes) == LLMD_E_FULL);
}

/* ---- posts: to a table and to an approximate prefix index ---- */

static const llmd_key chain[3] = {{1, 2}, {3, 4}, {5, 6}};
static uint64_t table_off, prefix_off, prefix_bytes;

static int format_prefix(void *room, size_t bytes, void *ud)
{
  return llmd__index_format(room, bytes, ud);
}

static void make_learned(work *w)
{
  llmd__index_options o = {.bytes = w->p->g->caps.prefix_bytes, .rows = SLOTS};
  uint64_t bytes;
  must(!llmd__region_state(w->p->g, WRITER, "x/posts/table", LLMD__STATE_TABLE, 600, llmd__table_init, NULL, &table_off,
                           &bytes));
  must(!llmd__region_state(w->p->g, WRITER, "x/posts/prefix", LLMD__STATE_PREFIX, llmd__index_size(&o), format_prefix,
                           &o, &prefix_off, &prefix_bytes));
}

static void post_one(const work *w, uint32_t op, uint64_t key, uint64_t value)
{
  static llmd_lane lane; /* only what posting looks at */
  llmd__post_put head = {{key, 9}, value, 0};
  llmd__post_store store = {w->b, 0, 3, prefix_bytes};
  lane.pool = w->p;
  lane.now = &now;
  if (op == LLMD__POST_STORE)
    must(!llmd__post(&lane, op, prefix_off, &store, sizeof store, chain, sizeof chain));
  else
    must(!llmd__post(&lane, op, table_off, &head, sizeof head, NULL, 0));
}

static void post(work *w)
{
  post_one(w, LLMD__POST_PUT, 1, 11);
  post_one(w, LLMD__POST_PUT, 2, 22);
  post_one(w, LLMD__POST_DEL, 1, 0);
  post_one(w, LLMD__POST_STORE, 0, 0);
  post_one(w, LLMD__POST_PUT, 1, 33);
}

static void apply(work *w) { must(!llmd_pool_tick(w->p, &now, NULL)); }

static void charge(work *w)
{
  llmd__charge_in in[8];
  for (uint32_t i = 0; i < 8; i++)
    in[i] = (llmd__charge_in){i % 2 ? w->b : w->c, 10 + i, i > 5};
  w->who.owner = WRITER;
  w->t = llmd__ledger_reserve(w->p->g, &w->who, in, 8, LEASE);
  must(w->t != 0);
}

static llmd_key prompt_key(uint32_t k)
{
  llmd_key key = {k * UINT64_C(0x9e3779b97f4a7c15), k};
  return key;
}

/* Some prompts, the last of which push out the first. Prompt k has k + 1 tokens, all k. */
static void file_tokens(work *w)
{
  for (uint32_t k = 0; k < PROMPTS; k++) {
    llmd_key key = prompt_key(k);
    uint32_t ids[PROMPTS];
    for (uint32_t i = 0; i <= k; i++)
      ids[i] = k;
    must(!llmd_pool_tokens_put(w->p, &key, ids, k + 1, NULL, 0));
  }
}

/* Of three endpoints one may be out: b is, tried, out again, well, out. */
static void ejected(work *w)
{
  for (uint32_t i = 0; i < 3; i++)
    llmd__health_failed(w->p->g, w->b, 3, 1000000000);
}

static void tried(work *w)
{
  must(llmd__health_try(w->p->g, w->b, UINT64_C(9000000000)));
  llmd__health_tried(w->p->g, w->b, 7);
}

static void not_tried(work *w) { llmd__health_untry(w->p->g, w->b, 7, UINT64_C(9000000000)); }
static void works(work *w) { llmd__health_worked(w->p->g, w->b, UINT64_C(9000000000)); }

static void move(work *w) { must(!llmd__ledger_move(w->p->g, w->t, w->b)); }
static void first_token(work *w) { must(!llmd__ledger_first(w->p->g, w->t)); }
static void release(work *w) { must(!llmd__ledger_release(w->p->g, w->t)); }

static void expire(work *w)
{
  uint32_t cursor = 0;
  llmd__ledger_sweep(w->p->g, &cursor, TICKETS, LEASE + 1);
}

static void recount(work *w)
{
  size_t n = (size_t)SLOTS * 2;
  llmd__ledger_recount(w->p->g, w->p->drift, w->p->drift + n);
}

static const stage stages[] = {
    {"add", add_one}, {"publish", publish}, {"relabel", relabel}, {"publish", publish}, {"set text", set_text},
    {"set models", set_models}, {"set", set_value}, {"drain", drain}, {"publish", publish},
    {"attribute", new_attribute}, {"ejected", ejected}, {"tried", tried}, {"not tried", not_tried}, {"tried", tried},
    {"works", works}, {"ejected", ejected}, {"tokens", file_tokens},
    {"charge", charge}, {"move", move}, {"first token", first_token}, {"release", release}, {"charge", charge},
    {"expire", expire}, {"recount", recount}, {"remove", remove_one}, {"publish", publish}, {"forget", forget},
    {"publish", publish}, {"publish", publish}, {"publish", publish}, {"sweep", sweep}, {"add again", add_again},
    {"publish", publish}, {"state", make_state}, {"state given up", leave_state}, {"state again", make_state},
    {"learned state", make_learned}, {"post", post}, {"apply", apply}, {"tick", apply},
};
#define N_STAGES (sizeof stages / sizeof *stages)

static llmd_region_options options(void)
{
  llmd_region_options o = {.size = sizeof o, .max_endpoints = SLOTS, .max_attributes = 16, .max_labels = 2,
                           .max_models = 2, .max_lanes = 1, .max_tickets = TICKETS, .ring_bytes = 512,
                           .string_bytes = 1024, .state_bytes = 28 << 10, .prefix_bytes = 12 << 10, .token_bytes = 1600,
                           .seed = 5};
  return o;
}

static void begin(work *w, void *region, uint64_t owner, uint32_t flags)
{
  llmd_pool_options po = {.size = sizeof po, .mem = region, .mem_len = len, .owner = owner,
                          .flags = LLMD_POOL_WRITER | flags};
  memset(w, 0, sizeof *w);
  must(!llmd_pool_open(&po, &w->p, NULL));
}

static void prepare(work *w)
{
  llmd_region_options o = options();
  must(!llmd_region_format(mem, len, &o));
  begin(w, mem, WRITER, 0);
  w->note = (uint32_t)llmd_pool_attribute(w->p, "Note", "tests", LLMD_TYPE_ID, LLMD_SCOPE_ENDPOINT);
  w->a = add(w->p, "10.0.0.1", "alpha");
  w->b = add(w->p, "10.0.0.2", "beta");
  must(!llmd_pool_set_text(w->p, w->b, w->note, "a note", 6));
  publish(w);
}

/* ---- what a region says ----------------------------------------------------------------------------------------- */

static void put(char *out, const char *text, size_t n)
{
  size_t used = strlen(out);
  must(used + n + 2 < TEXT);
  memcpy(out + used, text, n);
  out[used + n] = ' ';
  out[used + n + 1] = 0;
}

static void put_string(char *out, const llmd__region *g, uint32_t id)
{
  llmd_str s = llmd__string_text(g, id);
  put(out, s.len ? s.ptr : "-", s.len ? s.len : 1);
}

/* Sets last, after '|': a set may also be empty where its writer died. */
static void put_row(char *out, llmd__region *g, const llmd__buffer_view *v, uint32_t i)
{
  const llmd__row *r = &v->row[i];
  const uint32_t *pair = v->label + (size_t)i * g->caps.labels * 2, *set = llmd__column_set(v, g, 0, i);
  char number[64];
  snprintf(number, sizeof number, "\n%llx %g %u", (unsigned long long)r->id,
           llmd__column_f64(v, g, LLMD_ATTR_WAITING)[i], r->flags & LLMD__ROW_DRAIN);
  put(out, number, strlen(number));
  put_string(out, g, r->name);
  put_string(out, g, r->address);
  for (uint32_t k = 0; k < 2 * r->n_labels; k++)
    put_string(out, g, pair[k]);
  put_string(out, g, llmd__column_id(v, g, LLMD_ATTR_WAITING_MODELS + 1)[i]);
  put(out, "|", 1);
  for (uint32_t k = 1; k <= set[0]; k++)
    put_string(out, g, set[k]);
}

static void describe(llmd__region *g, uint32_t buffer, char *out)
{
  llmd__buffer_view v;
  *out = 0;
  llmd__region_view(g, buffer, &v);
  for (uint32_t i = 0; i < v.head->n; i++)
    if (v.row[i].id)
      put_row(out, g, &v, i);
}

static void describe_both(llmd__region *g, char *in_staging, char *in_buffer)
{
  uint32_t current = atomic_load(&g->current);
  describe(g, LLMD__BUFFERS, in_staging);
  *in_buffer = 0;
  if (current)
    describe(g, current - 1, in_buffer);
}

static void cut_sets(char *text)
{
  char *to = text;
  int skip = 0;
  for (; *text; text++) {
    skip = *text == '|' ? 1 : *text == '\n' ? 0 : skip;
    if (!skip)
      *to++ = *text;
  }
  *to = 0;
}

/* ---- after a death ---------------------------------------------------------------------------------------------- */

static void fail(const char *what, const char *text)
{
  printf("# stage %u (%s), change %llu: %s\n", *at, *at < N_STAGES ? stages[*at].name : "end", (unsigned long long)seen,
         what);
  if (text)
    printf("# %s\n", text);
  if (++failures >= 10) {
    printf("Bail out! too many failures\n");
    fflush(stdout);
    _exit(1);
  }
}

static int tell(void *ud, uint64_t offset, const char *part, const char *text)
{
  char line[400];
  snprintf(line, sizeof line, "%s: byte %llu: %s: %s", (const char *)ud, (unsigned long long)offset, part, text);
  fail("unsound", line);
  return 0;
}

static void same_as_either(const char *what, char *got, const char *before, const char *after, int sets)
{
  char one[TEXT], two[TEXT];
  snprintf(one, sizeof one, "%s", before);
  snprintf(two, sizeof two, "%s", after);
  if (sets) {
    cut_sets(one);
    cut_sets(two);
    cut_sets(got);
  }
  if (strcmp(got, one) && strcmp(got, two))
    fail(what, got);
}

static void content_is_right(llmd__region *g)
{
  static char s[TEXT], b[TEXT];
  uint32_t i = *at, next = i < N_STAGES ? i + 1 : i;
  int sets = i < N_STAGES && stages[i].fn == set_models;
  describe_both(g, s, b);
  same_as_either("endpoints are neither those before nor those after", s, staged[i], staged[next], sets);
  same_as_either("what is published is neither from before nor from after", b, published[i], published[next], 0);
}

static void publishing_goes_on(work *w)
{
  static char s[TEXT], b[TEXT];
  for (uint32_t i = 0; i < LLMD__BUFFERS + 1; i++)
    must(!llmd_pool_publish(w->p, &now));
  describe_both(w->p->g, s, b);
  if (strcmp(s, b))
    fail("what is published is not what is staged", b);
}

static void endpoints_come_and_go(work *w)
{
  llmd_endpoint_id id;
  forget(w);
  id = add(w->p, "10.9.9.9", "omega");
  if ((uint32_t)(id >> 32) <= most_generation[(uint32_t)id])
    fail("an endpoint has a number that another had", NULL);
  if (llmd_pool_find(w->p, "10.9.9.9:80", 11) != id)
    fail("a new endpoint is not found", NULL);
  must(!llmd_pool_remove(w->p, id));
  forget(w);
  llmd__strings_make_room(w->p);
}

static void nothing_is_in_flight(const llmd__region *g)
{
  for (uint32_t i = 0; i < SLOTS; i++)
    if (atomic_load(&llmd__region_totals(g)[i].requests) || atomic_load(&llmd__region_totals(g)[i].tokens))
      fail("totals that no request stands for", NULL);
}

/* Every second time as soon as it is known who is dead, else when leases end. */
static void charges_come_back(work *w)
{
  llmd__region *g = w->p->g;
  llmd__charge_in in = {w->b, 1, 0};
  uint32_t cursor = 0, n = 0;
  if (seen % 2) {
    llmd__ledger_reclaim(g, WRITER);
    recount(w);
    recount(w);
    nothing_is_in_flight(g);
  }
  for (uint32_t i = 0; i < 3; i++) /* leases end, what was halfway is doubted, and given back */
    llmd__ledger_sweep(g, &cursor, TICKETS, LEASE + 1 + (uint64_t)i * 61000000000u);
  recount(w);
  recount(w);
  nothing_is_in_flight(g);
  while (llmd__ledger_reserve(g, &w->who, &in, 1, LEASE))
    n++;
  if (n != TICKETS)
    fail("tickets are lost", NULL);
}

/* The count is that of the words, and as many may be out as before. */
static void health_is_counted(work *w)
{
  llmd__region *g = w->p->g;
  int64_t drift = 0;
  for (uint32_t i = 0; i < 3; i++)
    llmd__health_recount(g, &drift);
  for (uint32_t i = 0; i < 3; i++)
    llmd__health_failed(g, w->b, 3, UINT64_C(100000000000));
  if (!llmd__health_unwell(g, w->b) || llmd__health_any(g) != 1)
    fail("the count of the ejected is not theirs", NULL);
  must(llmd__health_try(g, w->b, UINT64_MAX));
  llmd__health_worked(g, w->b, UINT64_MAX);
  if (llmd__health_any(g))
    fail("an ejected endpoint is not counted back", NULL);
}

/* Looks for prompt k: is what is there what was filed? */
static int tokens_of(work *w, uint32_t k)
{
  static llmd_feature feature[LLMD__TOKENS_FEATURES];
  static char text[LLMD__TOKENS_TEXT];
  uint32_t ids[16];
  llmd__cached_tokens got = {ids, 16, feature, text, 0, 0};
  llmd_key key = prompt_key(k);
  uint64_t off = 0, bytes = 0;
  must(!llmd__pool_tokens(w->p, &off, &bytes));
  if (!llmd__token_cache_find(llmd__at(w->p->g, off), (size_t)bytes, &key, &got))
    return 0;
  if (got.n != k + 1 || got.n_features || ids[0] != k || ids[k] != k)
    fail("tokens that nobody filed", NULL);
  return 1;
}

/* What is there is whole, and more can be filed. */
static void tokens_are_whole(work *w)
{
  for (uint32_t k = 0; k < PROMPTS; k++)
    tokens_of(w, k);
  file_tokens(w);
  for (uint32_t k = PROMPTS - 3; k < PROMPTS; k++)
    if (!tokens_of(w, k))
      fail("tokens that were filed are not found", NULL);
}

static void room_is_known(work *w)
{
  llmd__region *g = w->p->g;
  const llmd__claim *c = llmd__region_claims(g);
  const llmd__state *s;
  uint64_t known = 0;
  for (uint32_t i = 0; (s = llmd__region_state_at(g, i)) != NULL; i++)
    known += s->bytes + llmd__region_state_head();
  for (uint32_t i = 0; i < LLMD__CLAIMS; i++) {
    if (atomic_load(&c[i].owner))
      fail("a dead maker still holds room", NULL);
    known += atomic_load(&c[i].off) ? atomic_load(&c[i].bytes) : 0;
  }
  if (known != atomic_load(&g->state_used))
    fail("room for plugin state is lost", NULL);
}

/* How many blocks of the chain the index knows b to hold; 3 of one that the takeover emptied because its writer died in
 * it: it is a hint, and may forget. */
static uint32_t blocks_of(work *w)
{
  static uint64_t scratch[4096];
  llmd_endpoint_id id[SLOTS];
  uint32_t blocks[SLOTS], n, found = 0;
  llmd__index_stats stats;
  llmd__index ix;
  must(!llmd__index_attach(&ix, llmd__at(w->p->g, prefix_off), (size_t)prefix_bytes));
  must(llmd__index_scratch_size(&ix) <= sizeof scratch);
  memset(scratch, 0, sizeof scratch);
  llmd__index_stats_get(&ix, &stats);
  if (stats.resets)
    return 3;
  n = llmd__index_match(&ix, scratch, chain, 3, 0, id, blocks, SLOTS);
  for (uint32_t i = 0; i < n; i++)
    found = id[i] == w->b ? blocks[i] : found;
  return found;
}

/* A prefix of the posts is applied; from the stage of applying on, all of them. */
static void posts_are_applied(work *w)
{
  static const uint64_t may[6][3] = {{0, 0, 0}, {11, 0, 0}, {11, 22, 0}, {0, 22, 0}, {0, 22, 3}, {33, 22, 3}};
  uint32_t first = stages[*at].fn == post ? 0 : 5, last = *at < N_STAGES - 3 ? 0 : 5, i;
  uint64_t one = 0, two = 0, blocks;
  if (*at < N_STAGES - 3 || !prefix_off)
    return;
  llmd__table_get(llmd__at(w->p->g, table_off), 1, 9, 1, &one);
  llmd__table_get(llmd__at(w->p->g, table_off), 2, 9, 1, &two);
  blocks = blocks_of(w);
  for (i = first; i <= last; i++)
    if (one == may[i][0] && two == may[i][1] && blocks == may[i][2])
      return;
  printf("# %llu %llu %llu\n", (unsigned long long)one, (unsigned long long)two, (unsigned long long)blocks);
  fail("posts are not applied in their order, or not all", NULL);
}

static void look(void *ud)
{
  char before[] = "taken over", later[] = "at work again";
  work w;
  (void)ud;
  if (*at >= N_STAGES || seen++ % every)
    return;
  memcpy(copy, mem, len);
  alarm(20);
  begin(&w, copy, 2, LLMD_POOL_TAKEOVER);
  w.b = llmd_pool_find(w.p, "10.0.0.2:80", 11);
  llmd_region_inspect(copy, len, NULL, tell, before);
  content_is_right(w.p->g);
  room_is_known(&w);
  must(!llmd_pool_tick(w.p, &now, NULL));
  posts_are_applied(&w);
  publishing_goes_on(&w);
  endpoints_come_and_go(&w);
  charges_come_back(&w);
  health_is_counted(&w);
  tokens_are_whole(&w);
  llmd_region_inspect(copy, len, NULL, tell, later);
  llmd_pool_close(w.p);
  alarm(0);
  looked++;
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

/* The places of posts' state are known from here on. */
static void rehearse(void)
{
  work w;
  prepare(&w);
  for (uint32_t i = 0; i <= N_STAGES; i++) {
    describe_both(w.p->g, staged[i], published[i]);
    if (i < N_STAGES)
      stages[i].fn(&w);
  }
  llmd_pool_close(w.p);
}

static void live(void *ud)
{
  work *w = ud;
  raise(SIGSTOP);
  for (*at = 0; *at < N_STAGES; ++*at)
    stages[*at].fn(w);
  raise(SIGSTOP);
}

/* The first endpoints are there when the walk begins: none of their numbers may come again. */
static void know_generations(const work *w)
{
  most_generation[(uint32_t)w->a] = (uint32_t)(w->a >> 32);
  most_generation[(uint32_t)w->b] = (uint32_t)(w->b >> 32);
}

static void stuck(int number)
{
  (void)number;
  fail("a call that does not end, or a crash", NULL);
  fflush(stdout);
  _exit(1);
}

int main(int argc, char **argv)
{
  llmd_region_options o = options();
  step_watch watch = {.live = live, .changed = look};
  const char *why;
  work w;
  every = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;
  every = every ? every : 1;
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  printf("1..0 # SKIP skipped: needs a build without sanitizers\n");
  return 0;
#endif
  setvbuf(stdout, NULL, _IOLBF, 0);
  len = llmd_region_size(&o);
  mem = step_map(len);
  copy = step_map(len);
  at = step_map(64);
  staged = calloc(N_STAGES + 1, sizeof *staged);
  published = calloc(N_STAGES + 1, sizeof *published);
  must(staged && published);
  rehearse();
  prepare(&w);
  know_generations(&w);
  signal(SIGALRM, stuck);
  signal(SIGSEGV, stuck);
  watch.mem = mem;
  watch.len = len;
  watch.ud = &w;
  printf("1..1\n");
  why = step_run(&watch);
  if (why && !strcmp(why, "ptrace")) {
    printf("ok 1 - a writer that dies at any instruction # SKIP skipped: needs ptrace\n");
    return 0;
  }
  if (why)
    fail(why, NULL);
  printf("# %llu instructions, %llu changes, %llu deaths of a region of %zu bytes\n",
         (unsigned long long)watch.instructions, (unsigned long long)watch.changes, (unsigned long long)looked, len);
  printf("%sok 1 - a writer that dies at any instruction\n", failures || looked < 100 ? "not " : "");
  return failures || looked < 100;
}
