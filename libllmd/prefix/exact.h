/* The exact prefix index, as it lies in memory. prefix.h says what it does; docs/index.md draws it.
 *
 *   head │ rows │ who │ state │ live │ own │ book │ adapters │ promises │ buckets
 *        │ marks │ hits │ heads │ names │ lines
 *
 * Chains are cut into windows of 32 blocks. A run is up to 32 consecutive blocks of one window, of one chain:
 *
 *   keys of a prompt   [0 .. 31] [32 .. 63] [64 .. 95] ...         a prompt that turns off in the middle of a window
 *   heads table  ──►     run   ──  run   ──   run                  begins a run of its own there:  [.. 41]─┐
 *                                                                                                    [42 .. 63]
 * A run is found by the key of its first block (slots.h). Keys are chained, so equal last keys mean equal runs: a reader
 * compares one key per run. Everything is made of lines of 64 bytes, all the same, so memory never fragments:
 *
 *   run   │ set │ odd │ last key │ more │ inc │ shape │ body │ parent │ child │ next │ depth │
 *   body  │ key lines[8] │ name lines[4] │ older │ newer │ own │ prev │
 *   key line: 4 keys     name line: 8 engine names     more line: 7 entries, next
 *
 * Who holds a run: `set` names the holders that have its first `flen` blocks in GPU memory (sets.h); an entry holds
 * (holder, tier, mask of 32 bits) for everything else: holes, shorter holders, lower tiers. Where eight or more have the
 * same first blocks, and these are not the set's, one entry names a set of them: a cohort. (A system prompt of 8 blocks
 * on a thousand endpoints shares its run with whoever went on from there first.)
 *
 * One writer, any number of readers who leave no trace but a hit mark. All a reader sees changes by single atomic
 * stores, in an order in which every step in between is true enough; before memory is used again, one of the three
 * things that readers look at again when they are done has changed: the slot they came by, the run's incarnation
 * `inc`, its set word. Writer's stores are releases, readers' loads acquires.
 *
 * What only writers need (free lines, names, recency, reference counts, the tree) may be in any state when a writer
 * dies; exact_mend.c makes it again from what readers see. */
#ifndef LLMD_PREFIX_EXACT_H
#define LLMD_PREFIX_EXACT_H

#include <llmd/prefix.h>

#include <stdatomic.h>

#include "prefix/slots.h"

#define LLMD__X_MAGIC 0x3158455844504c4cu /* "LLPDXEX1" */
#define LLMD__X_LAYOUT 1u
#define LLMD__X_WINDOW 32u
#define LLMD__X_RINGS 64u      /* recency: lists of runs by epoch; numbers below are lists, from here on lines */
#define LLMD__X_MAX_LINES (1u << 28)
#define LLMD__X_BOOK 64u       /* bytes per row that belong to whoever applies events */
#define LLMD__X_ROW 6u         /* lines in a row that can be asked for */
#define LLMD__X_STALE 48u
#define LLMD__X_RUN_MOST 64u   /* lines that one step on a run may take, sets apart */
#define LLMD__X_TIERS 7u       /* that entries have: LLMD_TIERS, then two for groups of layers with sliding windows */

#define LLMD__GET(p) atomic_load_explicit((p), memory_order_acquire)
#define LLMD__PUT(p, v) atomic_store_explicit((p), (v), memory_order_release)
#define LLMD__ADD(p, v) atomic_store_explicit((p), atomic_load_explicit((p), memory_order_relaxed) + (v), memory_order_relaxed)

#define LLMD__MANY (1u << 16) /* in a run's shape: more than one run hangs on it */

typedef struct llmd__run {
  _Atomic uint64_t set;         /* set word (sets.h); 0 = nobody */
  _Atomic uint64_t odd;         /* one entry; 0 = none */
  _Atomic uint64_t last[2];     /* key of the last block: lo, hi */
  _Atomic uint32_t more;        /* first line of further entries */
  _Atomic uint32_t inc;         /* changes before anything that a reader of this run may be looking at is used again */
  _Atomic uint32_t shape;       /* blocks | place of the first one in its window << 8 | LLMD__MANY */
  _Atomic uint32_t body;
  _Atomic uint32_t parent;      /* run that the first block's parent is in; 0 = first of a prompt */
  _Atomic uint32_t child, next; /* tree: writer only */
  _Atomic uint32_t depth;       /* blocks before the first one */
} llmd__run;

typedef struct llmd__body {
  _Atomic uint32_t key[8];
  _Atomic uint32_t name[4];
  _Atomic uint32_t older, newer; /* recency */
  _Atomic uint32_t own;          /* lines of names that are not everybody's */
  _Atomic uint32_t prev;         /* tree: the sibling before, 0 = first child */
} llmd__body;

typedef struct llmd__more {
  _Atomic uint64_t entry[7];
  _Atomic uint32_t next, reserved;
} llmd__more;

typedef struct llmd__own_names {
  _Atomic uint32_t holder; /* + 1; 0 = free */
  _Atomic uint32_t line[4];
} llmd__own_names;

typedef struct llmd__own {
  _Atomic uint32_t next;
  llmd__own_names of[3];
} llmd__own;

typedef union llmd__line64 {
  _Atomic uint64_t w[8];
  llmd__run run;
  llmd__body body;
  llmd__more more;
  llmd__own own;
} llmd__line64;

_Static_assert(sizeof(llmd__line64) == 64, "a line is a cache line");

/* Entry: mask │ holder << 32 │ number of the promise << 47 │ tier << 61. Or, with LLMD__COHORT for a tier, a whole set of
 * holders who have just these first blocks in GPU memory: mask │ the set's line << 32. */
#define LLMD__COHORT 7u
#define LLMD__COHORTS 3u    /* of a run */
#define LLMD__COHORT_MIN 8u /* holders with the same first blocks that become one */
#define LLMD__E_MASK(e) ((uint32_t)(e))
#define LLMD__E_HOLDER(e) ((uint32_t)((e) >> 32) & 0x7fffu)
#define LLMD__E_PROMISE(e) ((uint32_t)((e) >> 47) & 0x3fffu)
#define LLMD__E_TIER(e) ((uint32_t)((e) >> 61))
#define LLMD__E_SET(e) ((uint32_t)((e) >> 32) & (LLMD__X_MAX_LINES - 1u))

static inline uint64_t llmd__entry(uint32_t holder, uint32_t tier, uint32_t promise, uint32_t mask)
{
  return mask | (uint64_t)holder << 32 | (uint64_t)(promise & 0x3fffu) << 47 | (uint64_t)tier << 61;
}

static inline uint64_t llmd__cohort(uint32_t set_line, uint32_t mask)
{
  return mask | (uint64_t)set_line << 32 | (uint64_t)LLMD__COHORT << 61;
}

/* The first n of 32 blocks. */
static inline uint32_t llmd__low(uint32_t n)
{
  return n >= 32 ? 0xffffffffu : (1u << n) - 1u;
}

typedef struct llmd__x_row {
  _Atomic uint64_t endpoint;
  _Atomic uint32_t holder; /* 0 = none */
  _Atomic uint32_t flags, block_tokens, scheme;
  _Atomic uint32_t window[2]; /* blocks of a sliding window; 0 = none */
} llmd__x_row;

#define LLMD__HOLDER_FREE 0u
#define LLMD__HOLDER_LIVE 1u
#define LLMD__HOLDER_DEAD 2u     /* cleared, the next sweep takes it */
#define LLMD__HOLDER_SWEPT 3u    /* cleared, the sweep that runs takes it */
#define LLMD__HOLDER_NONE 0u

typedef struct llmd__promise {
  uint64_t until;
  llmd_key key; /* of the run's first block */
  uint32_t holder, number;
} llmd__promise;

typedef struct llmd__x_head {
  uint64_t magic;
  uint32_t layout, endian;
  uint64_t bytes;
  uint32_t rows, holders, lines, head_lines, name_lines, buckets, promises, adapters;
  uint64_t row_off, who_off, state_off, live_off, owned_off, book_off, adapter_off, promise_off;
  uint64_t bucket_off, mark_off, hit_off, head_off, name_off, line_off;
  uint64_t sum; /* of all from `bytes` to here */
  uint8_t secret[LLMD_SECRET_BYTES];
  uint64_t name_salt;

  /* readers too: a line of their own, which changes seldom */
  _Alignas(64) _Atomic uint32_t epoch; /* of recency */
  _Atomic uint32_t freed;   /* holders' numbers that came back: one more sweep done */
  _Atomic uint32_t shared;  /* holder that stands for LLMD_INDEX_SHARED; 0 = none yet */
  _Atomic uint32_t mending; /* a takeover is going on: runs may seem to have no children */
  _Atomic uint32_t sizes[4];
  _Atomic uint32_t windows; /* rows with sliding windows */

  /* the writer's */
  _Alignas(64) _Atomic uint32_t writing; /* a write is going on, or its writer died in it */
  uint32_t fresh, free, n_free; /* lines never used; list of used ones; how many can be had of all below fresh */
  uint32_t free_runs;           /* list of lines that were a run's first */
  uint32_t page, page_end;      /* lines kept for runs */
  uint32_t free_rows[LLMD__X_ROW + 1];
  uint32_t inc, stamp;
  uint32_t epoch_left;
  struct {
    uint32_t older, newer;
  } ring[LLMD__X_RINGS];
  uint32_t sweep_line, sweeping, n_dead, n_swept, fresh_holder;
  uint32_t promise_first, n_promises, promise_number;
  uint32_t n_names;
  struct {
    uint64_t from, to;
    uint32_t holder, how;
  } step[64]; /* sets: steps taken lately */
  _Atomic uint64_t n_runs, n_blocks, n_held, n_sets;
  _Atomic uint64_t n_used, n_named, n_cleared; /* as of the last write's end */
  _Atomic uint64_t evicted, dropped, renamed, torn, repaired;
} llmd__x_head;

/* A process's view; first what queries look at. */
struct llmd_index {
  llmd__x_head *head;
  llmd__line64 *line;          /* line number i is line[i - LLMD__X_RINGS] */
  uint32_t lines, holders;
  llmd__slots heads;
  _Atomic uint64_t *who;       /* [holders] endpoint of a live holder */
  _Atomic uint64_t *live;      /* [holders / 64] bits */
  _Atomic uint8_t *hit;        /* [lines] epoch of the last hit of the run that begins there; never anything else */
  llmd__slots names;
  llmd__x_row *row;
  _Atomic uint8_t *state;      /* [holders] */
  uint32_t *owned;             /* [holders] names of its own that it has */
  uint8_t *book;
  llmd_key *adapter;           /* [adapters] */
  llmd__promise *promise;
  uint32_t *bucket;            /* [buckets] sets by hash */
  uint64_t *mark;              /* [lines / 64] for mending */
  uint64_t name_salt;
  uint16_t *list, *have;       /* [holders + 1] the writer's scratch */
  llmd_key stale[LLMD__X_STALE]; /* first keys of runs to trim when the write at hand is done */
  uint32_t n_stale;
  uint32_t keep;               /* run that the write at hand stands on: not to be trimmed */
  uint32_t storing, lost;      /* run being stored into, and its blocks that lost their name again */
  uint32_t set_most;           /* lines of the largest set there can be */
  uint16_t few[8];             /* the holders being swept, when they are few */
  uint32_t n_few;              /* 0 = many, or not known here */
  struct {
    uint64_t name;
    uint32_t holder, run, offset, inc;
  } lately[64];                /* blocks that stores ended with: where the next begins */
  llmd_allocator alloc;
};

/* Bytes of the index's memory that whoever applies events keeps its books in: rows * LLMD__X_BOOK, zero at first. */
void *llmd__exact_book(llmd_index *x, size_t *bytes);

/* ---- lines ------------------------------------------------------------------------------------------------------- */

static inline int llmd__line_ok(const llmd_index *x, uint32_t n)
{
  return n - LLMD__X_RINGS < x->lines;
}

static inline llmd__line64 *llmd__line_at(const llmd_index *x, uint32_t n)
{
  return &x->line[n - LLMD__X_RINGS];
}

static inline llmd__run *llmd__run_at(const llmd_index *x, uint32_t n)
{
  return &llmd__line_at(x, n)->run;
}

static inline llmd__body *llmd__body_of(const llmd_index *x, const llmd__run *r)
{
  return &llmd__line_at(x, LLMD__GET(&r->body))->body;
}

static inline uint32_t llmd__run_len(const llmd__run *r)
{
  return LLMD__GET(&r->shape) & 0xffu;
}

static inline uint32_t llmd__run_start(const llmd__run *r)
{
  return LLMD__GET(&r->shape) >> 8 & 0xffu;
}

/* Key i of a run, as any thread may read it: bounds are checked, the content is the caller's to judge. */
static inline llmd_key llmd__run_key(const llmd_index *x, const llmd__body *b, uint32_t i)
{
  llmd_key k = {0, 0};
  uint32_t n = LLMD__GET(&b->key[i / 4]);
  if (llmd__line_ok(x, n)) {
    const llmd__line64 *l = llmd__line_at(x, n);
    k.lo = LLMD__GET(&l->w[i % 4 * 2]);
    k.hi = LLMD__GET(&l->w[i % 4 * 2 + 1]);
  }
  return k;
}

static inline int llmd__key_equal(llmd_key a, llmd_key b)
{
  return a.lo == b.lo && a.hi == b.hi;
}

/* What any one step on one run may take: six sets, and lines. */
static inline uint32_t llmd__need(const llmd_index *x)
{
  return LLMD__X_RUN_MOST + 6u * x->set_most;
}

/* exact_line.c. take never fails after a reserve for as many. All words of the line are zero. */
uint32_t llmd__line_take(llmd_index *x);
void llmd__line_give(llmd_index *x, uint32_t n);
/* The same for the first lines of runs: they lie together, a page of them at a time, as long as there is room to be
 * choosy. */
uint32_t llmd__line_take_run(llmd_index *x);
void llmd__line_give_run(llmd_index *x, uint32_t n);
/* n lines in a row (at most LLMD__X_ROW), 0 = there are none: take them one by one. */
uint32_t llmd__row_take(llmd_index *x, uint32_t n);
void llmd__row_give(llmd_index *x, uint32_t first, uint32_t n);
/* So many lines and names can be had: evicts until they can, but neither `keep` nor its ancestors. LLMD_E_FULL: nothing
 * left that may go. */
int llmd__reserve(llmd_index *x, uint32_t lines, uint32_t names, uint32_t keep);
void llmd__recency_add(llmd_index *x, uint32_t run);
void llmd__recency_remove(llmd_index *x, uint32_t run);
/* For mending: into the list of its hit mark. */
void llmd__recency_adopt(llmd_index *x, uint32_t run);
/* Stored or hit now. */
static inline void llmd__touch(const llmd_index *x, uint32_t run)
{
  uint8_t e = (uint8_t)LLMD__GET(&x->head->epoch);
  _Atomic uint8_t *hit = &x->hit[run - LLMD__X_RINGS];
  if (LLMD__GET(hit) != e)
    LLMD__PUT(hit, e);
}

static inline int llmd__marked(const llmd_index *x, uint32_t n)
{
  return (int)(x->mark[(n - LLMD__X_RINGS) / 64] >> ((n - LLMD__X_RINGS) % 64) & 1u);
}

static inline void llmd__mark(llmd_index *x, uint32_t n)
{
  x->mark[(n - LLMD__X_RINGS) / 64] |= UINT64_C(1) << (n - LLMD__X_RINGS) % 64;
}

/* ---- heads: key of a run's first block -> run -------------------------------------------------------------------- */

#define LLMD__HEAD_RUN(slot) ((uint32_t)(slot) & (LLMD__X_MAX_LINES - 1u))

static inline uint64_t llmd__head_tag(const llmd_key *k)
{
  return k->hi >> 28; /* 36 bits; the home is chosen by lo */
}

static inline uint32_t llmd__head_home(const llmd_index *x, const llmd_key *k)
{
  return llmd__slots_home(&x->heads, k->lo);
}

/* Writer: the run that begins with keys[0], 0 = none. n >= 1 keys that follow each other spare a look at the run's own. */
uint32_t llmd__heads_find(const llmd_index *x, const llmd_key *keys, uint32_t n);

/* ---- runs: exact_run.c ------------------------------------------------------------------------------------------- */

/* A new run of one block after `parent` (0 = none), held by nobody yet; 0 = no slot. name 0 = none. */
uint32_t llmd__run_new(llmd_index *x, uint32_t parent, uint32_t place, const llmd_key *key);
/* One block more. */
void llmd__run_grow(llmd_index *x, uint32_t run, const llmd_key *key);
/* For mending: a run that readers see enters the tree, the lists and the counts; its names enter the table. */
void llmd__run_adopt(llmd_index *x, uint32_t run);
void llmd__names_adopt(llmd_index *x, uint32_t run);
/* Gives back what nobody holds at its end, and so on with its parents, as far as no other run hangs there. */
void llmd__run_trim(llmd_index *x, uint32_t run);
/* Gone, with its names. It has no children. */
void llmd__run_free(llmd_index *x, uint32_t run);

/* The run may have less to hold now, but is in use by the write at hand: trim it later. */
void llmd__run_stale(llmd_index *x, uint32_t run);
void llmd__trim_stale(llmd_index *x);

/* Which of the run's blocks the holder has in the tier. */
uint32_t llmd__run_mask(const llmd_index *x, const llmd__run *r, uint32_t holder, uint32_t tier);
/* In any tier but speculative, those of sliding windows among them: as long as there is one, it has a name. */
uint32_t llmd__run_mask_any(const llmd_index *x, const llmd__run *r, uint32_t holder);
/* It has these (no more). promise: number of the promise, for speculative ones. */
void llmd__run_cover(llmd_index *x, uint32_t run, uint32_t holder, uint32_t tier, uint32_t bits, uint32_t promise);
uint32_t llmd__run_uncover(llmd_index *x, uint32_t run, uint32_t holder, uint32_t tier, uint32_t bits);
/* Nobody holds it any more. */
void llmd__run_forget(llmd_index *x, uint32_t run);
/* For mending: counts its holders, takes their sets and lines. */
void llmd__holders_adopt(llmd_index *x, uint32_t run);
/* For mending, when there are lines again: a writer that died while a holder went from one set to another left it in
 * both. It stays in the one that says more. */
void llmd__holders_part(llmd_index *x, uint32_t run);
/* Ends the holder's speculative entry if it still is of that promise. Returns 1 when it was. */
int llmd__run_unpromise(llmd_index *x, uint32_t run, uint32_t holder, uint32_t promise);
/* Blocks that an entry says more than the set does. */
uint32_t llmd__entry_held(const llmd_index *x, const llmd__run *r, uint64_t entry);
/* Forgets everything of holders that are swept. poor: no lines to be had. Returns 1 when something changed. */
int llmd__run_sweep(llmd_index *x, uint32_t run, int poor);

/* ---- names: exact_name.c ----------------------------------------------------------------------------------------- */

typedef struct llmd__place {
  uint32_t run, offset;
  uint32_t taken; /* 1: everybody may call some block so */
} llmd__place;

/* What a name is to a holder: nothing (0), somebody else's for a block that the holder calls otherwise, everybody's, or
 * its own. */
#define LLMD__NAME_OTHERS 1
#define LLMD__NAME_SHARED 2
#define LLMD__NAME_OWN 3

static inline uint64_t llmd__name_fix(uint64_t name)
{
  return name ? name : UINT64_C(0x9e3779b97f4a7c15); /* 0 means none here */
}

/* Any shared name of block i; 0 = none. */
uint64_t llmd__name_of(const llmd_index *x, const llmd__run *r, uint32_t i);
void llmd__name_prefetch(const llmd_index *x, uint64_t name);
int llmd__name_find(const llmd_index *x, uint32_t holder, uint64_t name, llmd__place *out);
/* The holder calls this block so from now on; what it called so before is no longer its. LLMD_E_FULL: no room. */
int llmd__name_set(llmd_index *x, uint32_t holder, uint32_t run, uint32_t offset, uint64_t name);
/* Names of block i that everybody has; of one holder for the blocks in mask. */
void llmd__name_drop(llmd_index *x, uint32_t run, uint32_t i);
void llmd__own_drop(llmd_index *x, uint32_t run, uint32_t holder, uint32_t mask);
/* All holders' own names from block i on; what sweeping takes. */
void llmd__own_cut(llmd_index *x, uint32_t run, uint32_t from);
void llmd__own_sweep(llmd_index *x, uint32_t run);

/* Lines of a set of n holders at most (sets.h has the rest). */
uint32_t llmd__set_need(const llmd_index *x, uint32_t n);

/* The key of an adapter's name becomes known. */
int llmd__adapter_put(llmd_index *x, const llmd_key *key);

/* ---- begin and end of every write -------------------------------------------------------------------------------- */

static inline void llmd__write_begin(llmd_index *x)
{
  LLMD__PUT(&x->head->writing, 1);
}

static inline void llmd__write_end(llmd_index *x)
{
  llmd__x_head *h = x->head;
  LLMD__PUT(&h->n_used, (uint64_t)(h->fresh - h->n_free));
  LLMD__PUT(&h->n_named, (uint64_t)h->n_names);
  LLMD__PUT(&h->n_cleared, (uint64_t)h->n_dead + h->n_swept);
  LLMD__PUT(&h->writing, 0);
}

/* The live holder of an endpoint, made when need be. */
int llmd__holder_get(llmd_index *x, llmd_endpoint_id endpoint, int make, uint32_t *out);
/* The row's holder dies; the row is this endpoint's from now on. */
void llmd__row_reset(llmd_index *x, llmd__x_row *row, llmd_endpoint_id endpoint);
/* As llmd_index_store, of the last n of before + n blocks: those before are there from now on too, held by nobody new. */
int llmd__index_store_tail(llmd_index *x, llmd_endpoint_id endpoint, uint32_t tier, const llmd_block *parent,
                           const llmd_key *keys, uint32_t before, const uint64_t *names, uint32_t n, llmd_block *last);
/* The row's sliding windows are these from now on. */
void llmd__row_windows(llmd_index *x, llmd__x_row *row, const uint32_t blocks[2]);
/* Looks at up to `budget` runs; 1 = more to do. */
int llmd__sweep(llmd_index *x, uint32_t budget);

#endif
