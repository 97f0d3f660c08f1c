/* The layout of the region: every byte of it, by offset. Nothing here is a pointer; all fields that more than one
 * process touches while live are atomics. One process writes (staging, strings, attributes, buffers); lanes write their
 * own slot, the ledger and its totals.
 *
 *   head │ attributes │ string table │ string bytes │ staging │ buffer 0..N-1 │ totals │ health │ tickets │ lanes │
 *   rings │ state
 */
#ifndef LLMD_BASE_REGION_H
#define LLMD_BASE_REGION_H

#include <llmd/region.h>

#include <stdatomic.h>

#define LLMD__MAGIC 0x31474552444d4c4cu /* "LLMDREG1" */
#define LLMD__LAYOUT 4u
#define LLMD__ENDIAN 0x01020304u
#define LLMD__BUFFERS 4u
#define LLMD__SETS 3u /* set attributes with storage: active and waiting models, and one that a host registers */
#define LLMD__CHARGES 6u
#define LLMD__STATES 64u
#define LLMD__CLAIMS 16u /* pieces of plugin state that may be in the making at a time, or lie free */
#define LLMD__COUNTERS 44u
#define LLMD__SPARE_LANES 2u /* slots beyond max_lanes, for whoever reads the published state without a lane */

typedef struct llmd__caps {
  uint32_t endpoints, attributes, labels, models, lanes, tickets;
  uint32_t ring_bytes, string_slots;
  uint64_t string_bytes, state_bytes, prefix_bytes, index_bytes, token_bytes;
} llmd__caps;

typedef struct llmd__region {
  uint64_t magic;
  uint32_t layout, endian;
  uint64_t bytes;
  llmd__caps caps;
  uint64_t attr_off, table_off, string_off, staging_off, buffer_off, buffer_bytes;
  uint64_t total_off, health_off, ticket_off, lane_off, ring_off, state_off;
  uint64_t sum; /* of all from `bytes` to here */
  uint8_t secret[LLMD_SECRET_BYTES];

  _Atomic uint64_t writer;       /* 0 = nobody writes */
  _Atomic uint64_t writer_owner; /* who that process is (llmd_pool_options.owner); stays when it leaves */
  _Atomic uint32_t current;      /* published buffer + 1; 0 = none yet */
  _Atomic uint32_t n_attributes;
  _Atomic uint32_t unwell;       /* endpoints that are ejected (model/health.h) */
  _Atomic uint32_t health_failures, health_window_ms, health_first_ms, health_longest_ms, health_percent;
  _Atomic uint64_t string_used;  /* bytes of strings that are there */
  _Atomic uint64_t strings_freed; /* strings that nobody named any more */
  _Atomic uint64_t state_used;   /* of the state room: everything from here on was never taken */
  _Atomic uint32_t string_count;
  _Atomic uint32_t relabelled;   /* staging slot + 1 whose labels are half old, half new; 0 = none */
  _Atomic uint32_t robin;        /* the ladder's round robin */
  uint64_t shape;                /* writer: number of the staging copy's endpoints-and-labels state */
  _Atomic uint64_t generation;   /* of the published buffer */
  _Atomic uint64_t state_touched; /* of the state room: from here on it is zero, as it was when the region was made */
  _Atomic uint64_t strings_refused, posts_dropped, tickets_full, tickets_expired, samples_refused, tickets_reclaimed, ejections;
} llmd__region;

/* One attribute. Ready when state is 2; name is "attribute/producer". */
typedef struct llmd__attribute {
  _Atomic uint32_t state;
  uint32_t type, scope;
  uint32_t set; /* which set storage, for type SET */
  char name[112];
} llmd__attribute;

/* One endpoint, as staging (indexed by slot) and buffers (indexed by row) hold it. id 0 = free slot. */
#define LLMD__ROW_DRAIN 1u
#define LLMD__ROW_EJECTED 2u /* only in what a lane keeps of a decision: it was left out for that */
typedef struct llmd__row {
  uint64_t id;
  uint32_t name;    /* interned "space/name" */
  uint32_t address; /* interned */
  uint32_t port, rank;
  uint32_t flags;
  uint32_t n_labels;
  uint32_t slot;
  uint64_t updated; /* mono ns of its metrics; 0 = never */
} llmd__row;

/* Head of the staging copy and of each buffer; the arrays follow at the offsets of llmd__buffer_view. */
typedef struct llmd__buffer {
  uint64_t generation, shape, published, oldest; /* oldest: smallest row.updated */
  uint32_t n, n_attributes;
  uint32_t drained; /* rows with LLMD__ROW_DRAIN */
  uint32_t reserved;
} llmd__buffer;

/* Pointers into one buffer, made on the fly. */
typedef struct llmd__buffer_view {
  llmd__buffer *head;
  llmd__row *row;       /* [endpoints] */
  uint32_t *row_of;     /* [endpoints] slot -> row, LLMD_NO_ROW */
  uint32_t *label;      /* [endpoints][labels][2] */
  uint64_t *column;     /* [attributes][endpoints]; F64 as double, ID as uint32_t in the first 4 bytes' array */
  uint32_t *set;        /* [LLMD__SETS][endpoints][1 + models] */
} llmd__buffer_view;
#define LLMD__NO_ROW 0xffffffffu

typedef struct llmd__total {
  _Atomic int64_t requests, tokens;
  _Atomic uint32_t generation; /* of the endpoint in this slot */
  uint32_t reserved[11];       /* a cache line each: lanes of several threads meet here */
} llmd__total;

/* How well an endpoint does (model/health.h says what the words mean). A cache line each. */
#define LLMD__FAILURES 8u
#define LLMD__HEALTH_FAILURES 3u
#define LLMD__HEALTH_WINDOW_MS 10000u
#define LLMD__HEALTH_FIRST_MS 1000u
#define LLMD__HEALTH_LONGEST_MS 30000u
#define LLMD__HEALTH_PERCENT 50u
typedef struct llmd__health {
  _Atomic uint64_t life;
  _Atomic uint64_t trial;  /* ticket of the request that tries it */
  _Atomic uint32_t failed; /* how often, ever: at[] is a ring */
  _Atomic uint32_t at[LLMD__FAILURES];
  uint32_t reserved[3];
} llmd__health;

typedef struct llmd__charge {
  _Atomic uint64_t endpoint;
  _Atomic int64_t tokens;
  _Atomic uint32_t requests;
  _Atomic uint32_t early; /* given back at the first token (prefill, encode) */
} llmd__charge;

/* One request in flight. state: generation << 8 | LLMD__TICKET_*. */
#define LLMD__TICKET_FREE 0u
#define LLMD__TICKET_CLAIMED 1u
#define LLMD__TICKET_LIVE 2u
#define LLMD__TICKET_LEAVING 3u
typedef struct llmd__ticket {
  _Atomic uint64_t state;
  _Atomic uint64_t lease;   /* mono ns */
  _Atomic uint64_t doubted; /* state that the writer found it in halfway, when it first did */
  _Atomic uint64_t next;    /* ticket of the charges that did not fit here; 0 = all fitted */
  _Atomic uint64_t owner;   /* the process that charged it, or reported on it last; true while it is live */
  _Atomic uint32_t lane, n;
  llmd__charge charge[LLMD__CHARGES]; /* three cache lines in all */
} llmd__ticket;

/* One deciding thread. pin: buffer + 1 that it reads, 0 = none. head/tail: its ring, bytes ever written / applied. */
typedef struct llmd__lane_slot {
  _Atomic uint64_t owner; /* 0 = free */
  _Atomic uint32_t pin;
  uint32_t reserved;
  _Atomic uint64_t head, tail;
  _Atomic uint64_t count[LLMD__COUNTERS]; /* only this lane adds; everybody may read. Survives the lane */
} llmd__lane_slot;

/* One piece of plugin state: this head, then its bytes. The state room begins with a directory of LLMD__STATES offsets
 * of heads, 0 = none; an offset is put there when everything behind it is ready. name: "type/instance/kind". After the
 * directory come the claims: room that somebody makes state in, or that came back. */
typedef struct llmd__state {
  uint32_t kind;
  uint32_t zero; /* it was when its making began */
  uint64_t off, bytes; /* of what follows the head */
  char name[168];
} llmd__state;

typedef struct llmd__claim {
  _Atomic uint64_t owner; /* who makes state there now; 0 = nobody: free for the taking */
  _Atomic uint64_t off, bytes; /* off 0 = no room yet */
  uint64_t reserved;
} llmd__claim;

void llmd__region_view(llmd__region *g, uint32_t buffer, llmd__buffer_view *out); /* buffer LLMD__BUFFERS = staging */

static inline void *llmd__at(const llmd__region *g, uint64_t off)
{
  return (char *)(uintptr_t)g + off;
}

static inline llmd__attribute *llmd__region_attributes(const llmd__region *g)
{
  return (llmd__attribute *)llmd__at(g, g->attr_off);
}

static inline llmd__total *llmd__region_totals(const llmd__region *g)
{
  return (llmd__total *)llmd__at(g, g->total_off);
}

static inline llmd__health *llmd__region_healths(const llmd__region *g)
{
  return (llmd__health *)llmd__at(g, g->health_off);
}

static inline llmd__ticket *llmd__region_tickets(const llmd__region *g)
{
  return (llmd__ticket *)llmd__at(g, g->ticket_off);
}

static inline llmd__lane_slot *llmd__region_lanes(const llmd__region *g)
{
  return (llmd__lane_slot *)llmd__at(g, g->lane_off);
}

/* Entry i of the directory of plugin state; NULL = none there (nor after it). */
const llmd__state *llmd__region_state_at(const llmd__region *g, uint32_t i);
llmd__claim *llmd__region_claims(const llmd__region *g);
/* Where the room for state begins: after directory and claims. */
uint64_t llmd__region_state_room(const llmd__region *g);
/* Bytes that a head takes before its state. */
uint64_t llmd__region_state_head(void);
/* For those who trust nothing: the offset in entry i, and a copy of the head there if it can be one (1; else 0). */
uint64_t llmd__region_state_offset(const llmd__region *g, uint32_t i);
int llmd__region_state_sound(const llmd__region *g, uint64_t at, llmd__state *copy);
/* Finds plugin state by name, or makes it: init(mem, bytes, ud) on memory that may hold anything, before anybody
 * else sees it. owner: who makes it, so that its room comes back should it die.
 * kind tells what it is. *off = its place. LLMD_E_FULL: no room. LLMD_E_BUSY: no room, and
 * somebody is making state meanwhile, or died in it. Any process, several at a time: all get the same. */
int llmd__region_state(llmd__region *g, uint64_t owner, const char *name, uint32_t kind, uint64_t bytes,
                       int (*init)(void *mem, size_t bytes, void *ud), void *ud, uint64_t *off, uint64_t *got);
/* For an init: 1: its mem is zero. Reading memory of a file to find that out would give it pages. */
int llmd__region_state_is_zero(const void *mem);
/* (writer) The process `dead` is: what it was making is free room again. */
void llmd__region_state_reclaim(llmd__region *g, uint64_t dead, uint64_t self);

#endif
