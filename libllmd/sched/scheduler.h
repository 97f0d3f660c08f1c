/* The scheduler and its lanes from the inside.
 *
 * Everything that any plugin of the configuration reads becomes one *source* (the same read twice is one source). A
 * decision fills a source at most once as a full column over all rows of the snapshot, and hands plugins dense columns
 * over their candidates: the full column itself while nothing was filtered out, else a gathered copy.
 *
 *    snapshot columns ─┐
 *    host's columns   ─┼─► source[k].full [rows] ──gather──► batch.f64[read][candidates] ──► plugin
 *    producers        ─┤
 *    labels, headers  ─┘
 */
#ifndef LLMD_SCHED_SCHEDULER_H
#define LLMD_SCHED_SCHEDULER_H

#include <llmd/metrics.h>
#include <llmd/plugin.h>
#include <llmd/prefix.h>
#include <llmd/scheduler.h>

#include <stdatomic.h>

#include "base/region.h"
#include "model/health.h"
#include "model/ledger.h"
#include "model/pool.h"
#include "model/request.h"
#include "sched/config.h"
#include "sched/kept.h"

#define LLMD__NONE 0xffffffffu
#define LLMD__HEADER_IDS 16u /* most strings a header is cut into */
#define LLMD__HOST_COLUMNS 64u
#define LLMD__PROMPTS 64u /* prompts of one request that are looked at */
#define LLMD__CHAINS 4u   /* ways of cutting them into blocks that one decision takes */
#define LLMD__TRIALS 8u   /* ejected endpoints that one decision offers to try */
#define LLMD__EXACT_SIZES 5u /* block sizes for the exact index: four of engines, one of the configuration */

/* ---- compiled configuration ------------------------------------------------------------------------------------- */
typedef struct llmd__source {
  uint32_t kind; /* LLMD_READ_* */
  uint32_t instance, read; /* one of its readers: the one whose derive or split is called */
  const char *name, *producer;
  double fill; /* in the place of NaN; NaN = leave it */
  int32_t attribute; /* pool attribute of endpoint scope, -1 = not registered then: lanes look again */
  uint32_t column;   /* endpoint x request column, LLMD__NONE = none */
  uint32_t load;     /* 1: a metric that staleness makes unknown; 2: and that requests in flight can stand in for */
  uint32_t text;     /* a reader asks for the texts of its ids (LLMD_READ_TEXT) */
} llmd__source;

/* Bytes of one cell of a source of that kind; 0 = it has none, but a text of the request (a header, the prompt). */
static inline uint32_t llmd__source_cell(uint32_t kind)
{
  switch (kind) {
  case LLMD_READ_HEADER:
  case LLMD_READ_HEADER_IDS:
  case LLMD_READ_PROMPT:
    return 0;
  case LLMD_READ_ID:
  case LLMD_READ_LABEL:
  case LLMD_READ_NAME:
  case LLMD_READ_ADDRESS:
    return 4;
  default:
    return 8;
  }
}

/* One endpoint x request column. */
typedef struct llmd__column {
  const char *name, *producer;
  int32_t attribute; /* the pool's number for it, -1 = not registered then: lanes look again */
  uint32_t instance; /* who writes it; LLMD__NONE = the host alone */
  uint32_t write;
  uint32_t charge;   /* LLMD_WRITE_CHARGE */
} llmd__column;

/* An instance, bound. */
typedef struct llmd__binding {
  uint32_t n_reads, n_writes;
  uint32_t *source; /* [n_reads] */
  uint32_t *column; /* [n_writes] */
  uint64_t table_off; /* state in the region, 0 = none */
  uint64_t prefix_off, prefix_bytes;
} llmd__binding;

struct llmd_scheduler {
  llmd_allocator alloc;
  llmd_scheduler_options options;
  llmd_pool *pool;
  llmd__registry *registry;
  llmd__config *config;
  _Atomic uint32_t refs; /* owner + lanes */
  uint64_t identity;     /* hash of the effective configuration and compat: what a record must match */
  uint32_t n_sources, n_columns, column_room;
  llmd__source *source;
  llmd__column *column;
  llmd__binding *binding; /* [n_instances] */
  uint32_t *index_room;   /* storage of all binding arrays */
  uint32_t n_index_room;
  uint32_t scratch_fixed, scratch_each; /* the largest that any plugin wants */
  /* matches of a producer that reads the exact index (not under compat = strict), else of the default prefix producer,
   * else of the first: for Prefer: if-available and the hit ratio. total_column: of such a producer, or LLMD__NONE. */
  uint32_t match_column, total_column;
  llmd_index *index;      /* the pool's exact index, when a plugin wants it */
  /* block size that the configuration gives, 0 = none; an engine with another one was told of */
  _Atomic uint32_t block_tokens, told;
  uint32_t wants_tokens;  /* a plugin does: llmd_decide asks for them */
  uint64_t token_off, token_bytes; /* the region's cache of them, 0 = none */
  uint32_t charge_column; /* column charged to the ledger, LLMD__NONE = the prompt's tokens */
};

/* ---- counters: index in llmd__lane_slot.count ------------------------------------------------------------------- */
enum {
  LLMD__COUNT_DECISIONS,
  LLMD__COUNT_ROUTED,
  LLMD__COUNT_NEED,
  LLMD__COUNT_REJECTED,      /* + reason: 8 of them */
  LLMD__COUNT_LADDER = LLMD__COUNT_REJECTED + 8, /* + bit number: 7 */
  LLMD__COUNT_PLUGIN_ERRORS = LLMD__COUNT_LADDER + 7,
  LLMD__COUNT_PRODUCER_ERRORS,
  LLMD__COUNT_COMMITS,
  LLMD__COUNT_FIRST,
  LLMD__COUNT_DONE,
  LLMD__COUNT_FAILED,
  LLMD__COUNT_CANCELLED,
  LLMD__COUNT_PROMPT_TOKENS,
  LLMD__COUNT_OUTPUT_TOKENS,
  LLMD__COUNT_CACHED_TOKENS,
  LLMD__COUNT_PREFIX_BLOCKS, /* blocks of all prompts, and those found on the destination */
  LLMD__COUNT_PREFIX_HITS,
  LLMD__COUNT_DISAGG,        /* + type of a decision with several profiles: 4 of them */
  LLMD__COUNT_LOOKUPS = LLMD__COUNT_DISAGG + 4, /* of the exact index, and blocks that the best candidate held */
  LLMD__COUNT_LOOKUP_HITS,
  LLMD__COUNT_TOKENS_ASKED,  /* prompts whose tokens the cache had not, and had */
  LLMD__COUNT_TOKENS_CACHED,
  LLMD__COUNT_POLICY,        /* + why a policy's verb failed: 6 of them (llmd__failure_name) */
  LLMD__COUNT_LAST = LLMD__COUNT_POLICY + 6
};
_Static_assert(LLMD__COUNT_LAST <= LLMD__COUNTERS, "the region has room for every counter");

/* ---- a lane ----------------------------------------------------------------------------------------------------- */
/* A source's full column in this decision. */
typedef struct llmd__full {
  const void *col; /* double or uint32_t [rows]; NULL until filled */
  void *own;       /* the lane's room for it */
  uint64_t decision; /* decision number in which col was filled */
  uint64_t key;      /* the generation or shape that `own` was filled for */
  uint32_t borrowed; /* that filling changed nothing: col is the snapshot's own column */
  llmd_read_value value; /* header sources; peer */
  void *gather;      /* room for the gathered column */
  uint64_t gathered; /* candidate version it was gathered for */
} llmd__full;

/* 0 = the decision is live. */
#define LLMD__REPLAY_SAME 1u  /* by the configuration that made the record: it tells which calls failed, and what tables
                                 answered */
#define LLMD__REPLAY_OTHER 2u /* by another one */

/* The candidates of one run. */
typedef struct llmd__candidates {
  uint32_t n;
  uint32_t identity; /* row[i] == i for all rows of the snapshot */
  uint64_t version;  /* changes with every change of the list */
  uint32_t *row;
  llmd_endpoint_id *id;
} llmd__candidates;

/* The prompts cut into blocks in one way; its keys are in the request's room. */
typedef struct llmd__chain_kept {
  uint32_t block, max_blocks, flags;
  uint32_t first, n;
  uint32_t end[LLMD__PROMPTS]; /* keys up to and including that prompt, from first */
} llmd__chain_kept;

/* The prompts cut into blocks of one size, for the exact index; its keys are in the lane's room. */
typedef struct llmd__exact_chain {
  uint32_t block, first, n;
  uint32_t end[LLMD__PROMPTS];
} llmd__exact_chain;

/* What the lane needs of the exact index. */
typedef struct llmd__exact {
  void *scratch;
  llmd_hit *hit;     /* [rows] */
  llmd_key *keys;    /* [room]; `used` are taken */
  uint32_t room, used;
  uint32_t n_chains; /* made for the lane's current request */
  llmd__exact_chain chain[LLMD__EXACT_SIZES];
  /* what the index said of the rows when the lane last looked */
  uint32_t *block;   /* [rows] tokens, 0 = not known */
  uint8_t *degraded; /* [rows] */
  uint32_t *place;   /* [rows] row -> candidate, of the call at work */
  uint32_t fed;      /* rows whose events arrive */
  uint32_t n_sizes;
  uint32_t size[LLMD__EXACT_SIZES]; /* of them */
  uint64_t shape, looked;
} llmd__exact;

/* What a decision depends on besides columns, candidates, view, time and seed. */
typedef struct llmd__facts {
  uint32_t bad_request;
  uint32_t if_available; /* Prefer: if-available */
  uint32_t peer;         /* row of the peer that the request came with, LLMD__NONE = none */
  uint32_t robin;        /* the round robin's number, when it came to that */
  uint32_t scored;       /* scorers that had run when the budget ran out */
} llmd__facts;

/* What a profile run gave. */
typedef struct llmd__result {
  uint32_t state; /* LLMD_RUN_* */
  uint32_t n;
  uint32_t row[LLMD_MAX_TARGETS];
  double total[LLMD_MAX_TARGETS];
} llmd__result;

/* The why, kept when options.explain: one entry per plugin that ran, in order (explain.c reads it). */
#define LLMD__WHY_FILTER 1u
#define LLMD__WHY_SCORER 2u
#define LLMD__WHY_PICKER 3u
#define LLMD__WHY_DECIDER 4u
#define LLMD__WHY_PRODUCER 5u /* a producer that failed */
#define LLMD__WHY_HANDLER 6u  /* a profile handler that failed */
typedef struct llmd__why {
  uint32_t kind, profile, instance;
  int32_t rc;
  double weight;
  uint32_t n_before, n; /* candidates before and after (FILTER); entries of row / value */
  llmd_str trouble;     /* what the plugin says of a failure; len 0 = nothing */
  uint32_t *row;        /* rows: kept in order (FILTER), scored (SCORER, PICKER: all candidates) */
  double *value;        /* SCORER: raw scores; PICKER: totals */
} llmd__why;

/* The lane's object of an instance whose plugin has `open`. */
typedef struct llmd__own {
  void *own; /* NULL = it has none */
  llmd_lane *lane;
  const llmd_services *sv; /* while commit or report runs */
  uint32_t instance;
  llmd_host host;
} llmd__own;

struct llmd_lane {
  /* the lane itself: the same whatever it decides by */
  llmd_pool *pool;
  llmd_allocator alloc;
  uint32_t slot, flags;
  llmd__charger charger; /* the lane, to the ledger */

  /* from here on: for this scheduler (a spare has the same) */
  llmd_scheduler *s;
  void *block; /* everything below lives in it */
  size_t block_len;
  uint32_t cap; /* rows */
  llmd__own *own; /* [instances] */
  uint64_t decision; /* number of the current use of the sources */
  uint64_t decided;  /* that number when columns and chain are the last decision's, for rows of shape decided_shape */
  uint64_t decided_shape;
  uint64_t produced; /* number of the last decision for which producers ran */
  uint64_t version;  /* last candidate version given out */

  /* current decision */
  llmd__snapshot snap;
  const llmd_now *now;
  uint64_t seed;
  llmd_request *req;
  llmd_request_view view;
  llmd_request_info info;
  uint32_t ladder, fresh; /* fresh: every row's metrics are fresh */
  uint32_t n_trials;  /* ejected endpoints that only this decision may try */
  llmd_endpoint_id trial[LLMD__TRIALS];
  uint32_t n_out;     /* candidates but for their being ejected; kept.ejected marks them */
  uint32_t deciding;  /* tokens and chains are the current request's */
  uint32_t replaying; /* columns, candidates and facts come from a record: LLMD__REPLAY_* */
  uint32_t cycling;   /* admission or the cycle runs: failed calls and answers of tables belong into the record */
  llmd__facts facts;
  uint32_t peer_row; /* LLMD__NONE = no peer */
  uint32_t scored;   /* scorers that have run */
  uint64_t deadline;

  llmd__full *full;      /* [sources] */
  uint32_t n_attributes; /* registered when the next two were looked up */
  int32_t *attribute;    /* [sources], -1 = none, or not yet */
  int32_t *column_attribute; /* [columns] */
  double **column;       /* [columns] full over rows */
  uint8_t *column_set;   /* [columns] 1 = the host set it, 2 = produced */
  llmd__candidates start, cand;
  uint64_t ids_shape;    /* all_id is for this shape */
  uint32_t n_ids;
  llmd_endpoint_id *all_id;
  uint32_t *all_row;     /* identity */
  uint8_t *keep;
  uint32_t *order;
  double *score, *total;
  const void **pointers; /* room for batch.f64 and batch.id */
  llmd_read_value *values; /* room for batch.value */
  uint32_t max_reads;
  void *scratch;
  double **out;          /* room for produce's out */
  double *temp;          /* [max writes][cap] when candidates are narrowed */
  uint32_t calls;        /* of plugins in this decision's cycle */
  uint32_t reads;        /* of tables in it */
  uint32_t reads_before;  /* of these before the call that runs */
  int8_t *answer;        /* [instances] */
  llmd_str profile_name[LLMD_MAX_PROFILES];

  /* the prompts as tokens, and as chains of block keys */
  uint32_t *tokens;
  uint32_t tokens_kind;
  uint32_t n_prompts;
  uint32_t cached;       /* tokens and features are from the region's cache */
  uint32_t need_tokens;  /* it had none, and the host may */
  uint32_t n_features;
  llmd_feature *feature; /* [LLMD__TOKENS_FEATURES] when the configuration wants tokens; names in feature_text */
  char *feature_text;
  uint32_t n_chains;
  llmd_key *keys;        /* the request's room */
  void *match_scratch;
  llmd_endpoint_id *match_id;
  uint32_t *match_blocks;

  llmd__exact exact;

  /* the why */
  llmd__why *why;
  uint32_t n_why, max_why;
  llmd__kept kept;
  char *arena;           /* rows and values of the entries */
  size_t arena_len, arena_used;
  uint32_t last_valid;

  /* no part of a spare: means nothing when last_valid, decided and the counts above are 0, and between two calls */
  llmd_run run[LLMD_MAX_PROFILES];
  llmd__result result[LLMD_MAX_PROFILES];
  uint32_t prompt_end[LLMD__PROMPTS]; /* tokens */
  llmd__chain_kept chain[LLMD__CHAINS];
  llmd_decision last;    /* copy of the last result, for explain and record */
  char header_buf[1024];
};

/* What a lane needs to decide by a scheduler; the lane's own fields in it are not used. */
struct llmd_spare {
  llmd_lane lane;
};

/* What the functions of llmd_services work on. */
typedef struct llmd__service_ctx {
  llmd_lane *lane;
  uint32_t instance;
  const llmd__candidates *cand;
  llmd_ticket ticket; /* of a report */
} llmd__service_ctx;

/* sources.c: what a plugin call needs, over the candidates c. Valid until the next batch of the lane. */
void llmd__batch_build(llmd_lane *l, uint32_t instance, const llmd__candidates *c, llmd_batch *out);

/* Looks up what was registered since the last time. */
void llmd__lane_attributes(llmd_lane *l);
/* Makes the source's full column present. */
void llmd__source_fill(llmd_lane *l, uint32_t source);
/* The cells of one read for the candidates c (dense). */
const void *llmd__source_cells(llmd_lane *l, uint32_t source, const llmd__candidates *c);

/* scheduler.c */
void llmd__scheduler_hold(llmd_scheduler *s);

/* sources.c: who a row of the pinned snapshot is. labels: room for 64. */
void llmd__identity(const llmd_lane *l, uint32_t row, llmd_pair *labels, llmd_identity *who);
/* report.c: tells every producer. */
void llmd__report_plugins(llmd_lane *l, llmd_ticket t, uint32_t kind, const llmd_usage *u);

/* produce.c */
void llmd__produce_all(llmd_lane *l);
/* services.c: keys of the chain that the instance asked for in this decision */
uint32_t llmd__chain_keys(const llmd_lane *l, uint32_t instance);
void llmd__services_init(llmd_services *sv, llmd__service_ctx *ctx);
/* services.c: the current request's prompts as tokens, in l->tokens. Made once. */
int llmd__lane_tokens(llmd_lane *l);
/* tokens.c: asks the region's cache for the current request's tokens; sets l->need_tokens when somebody is to make
 * them. */
void llmd__tokens_look(llmd_lane *l, llmd_decision *d);
/* The cache's tokens for the current request, into the lane: 1 = there they are. */
int llmd__tokens_cached(llmd_lane *l);
/* What stands at placeholders among the current request's tokens. */
const llmd_feature *llmd__tokens_features(const llmd_lane *l, size_t *n);
/* exact.c: llmd_services.precise_match and precise_expect */
int llmd__exact_match(void *ctx, const llmd_precise *out);
int llmd__exact_expect(void *ctx, llmd_endpoint_id endpoint, uint32_t block_tokens, uint64_t ttl_ns);
/* exact.c: forgets the chains made for a request */
void llmd__exact_begin(llmd_lane *l);

/* texts.c: texts of ids for records. Lists the ids that the kept sources with a text hold; each once. */
void llmd__texts_list(llmd_lane *l);
/* The entry of an id; NULL = it is not listed. */
llmd__id_text *llmd__texts_find(const llmd__kept *k, uint32_t id);
/* Entries that a lane needs room for, and places of the table that finds them. */
void llmd__texts_room(const llmd_scheduler *s, uint32_t cap, size_t *entries, size_t *places);

/* calls.c. Before a plugin is called in the cycle: 1 = a record says that the call failed, with *rc and *trouble, so it
 * is not made. After it: what came out; a failure is remembered for the record, *trouble is the plugin's word. */
int llmd__call_told(llmd_lane *l, int *rc, llmd_str *trouble);
void llmd__call_ended(llmd_lane *l, uint32_t instance, int rc, llmd_str *trouble);
/* A producer's verb failed: produce (that one is explained, and told by the record), commit or report. */
void llmd__produce_ended(llmd_lane *l, uint32_t instance, int rc);
void llmd__learn_ended(const llmd_lane *l, uint32_t instance, int rc);

/* own.c: the objects of the lane's plugins; close also what was opened when open fails. */
int llmd__own_open(llmd_lane *l);
void llmd__own_close(llmd_lane *l);
/* The lane has other memory now than when they were opened. */
void llmd__own_moved(llmd_lane *l);

/* cycle.c: runs profile p over l->start; fills l->result[p]. */
void llmd__profile_run(llmd_lane *l, uint32_t p);
/* cycle.c: the handler's loop; *outcome is its end. Returns 0 or the handler's refusal. */
int llmd__cycle(llmd_lane *l, llmd_outcome *outcome);

/* post.c: a change of plugin state: applied at once by the writer's lane, else put into the lane's ring. */
#define LLMD__POST_STORE 1u
#define LLMD__POST_PUT 2u
#define LLMD__POST_DEL 3u
#define LLMD__POST_FORGET 4u
#define LLMD__POST_EXPECT 5u /* to the pool's exact index: it has no state_off */
typedef struct llmd__post_store {
  llmd_endpoint_id endpoint;
  uint32_t capacity, n;
  uint64_t bytes; /* of the index */
} llmd__post_store;
typedef struct llmd__post_expect {
  llmd_endpoint_id endpoint;
  uint64_t until; /* mono ns */
  uint64_t n;
} llmd__post_expect;
typedef struct llmd__post_put {
  llmd_key key;
  uint64_t value, ttl;
} llmd__post_put;
/* head is one of these; tail the keys of a store or expect. */
int llmd__post(llmd_lane *l, uint32_t op, uint64_t state_off, const void *head, size_t head_len, const void *tail,
               size_t tail_len);
/* Calls fn for each of the lane's own posts to that state which the writer has not applied yet, oldest first: a lane sees
 * what it has just learnt without waiting for the writer. tail: the keys of a store. */
typedef void (*llmd__post_fn)(void *ud, uint32_t op, const void *head, const llmd_key *tail);
void llmd__post_pending(const llmd_lane *l, uint64_t state_off, llmd__post_fn fn, void *ud);
/* Offset of a frame in a lane's ring that cannot be; 0 = all can. */
uint64_t llmd__post_fault(const llmd__region *g, uint32_t lane);
/* Applies everything in all rings (writer). Returns how many posts. */
uint32_t llmd__post_apply_all(llmd_pool *p, uint64_t now);

/* why.c: an entry with room for n rows (and values, but for FILTER); NULL unless options.explain. */
llmd__why *llmd__why_add(llmd_lane *l, uint32_t kind, uint32_t profile, uint32_t instance, uint32_t n);
/* An entry for a plugin that belongs to no profile, and failed. */
void llmd__why_failed(llmd_lane *l, uint32_t kind, uint32_t instance, int rc, llmd_str trouble);

static inline void llmd__count(const llmd_lane *l, uint32_t which, uint64_t n)
{
  _Atomic uint64_t *c = &llmd__region_lanes(l->pool->g)[l->slot].count[which];
  if (l->replaying)
    return;
  atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

#endif
