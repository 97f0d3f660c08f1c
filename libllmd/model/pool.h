/* The pool from the inside: the handle, pins on snapshots, and what the scheduler needs of both. */
#ifndef LLMD_MODEL_POOL_H
#define LLMD_MODEL_POOL_H

#include <llmd/pool.h>

#include "base/alloc.h"
#include "base/region.h"


struct llmd_pool {
  llmd_allocator alloc;
  llmd_log_fn log;
  void *log_ud;
  llmd__region *g;
  void *block; /* heap block that holds g, or NULL when the caller mapped it */
  size_t block_len;
  uint64_t stale_ns, lease_ns;
  uint32_t writer;
  uint32_t taken_over;  /* the writer has put its predecessor's indexes right */
  uint32_t sweep;       /* tick: next ticket to look at */
  uint64_t recounted;   /* tick: when the totals were last recounted */
  uint64_t writer_tag;
  uint64_t owner;       /* whose the lanes are that this handle takes */
  struct llmd__books *books;   /* writer: of the strings: model/strings.h */
  /* the pool's exact index, opened at first need by the room that knows it, which also says how to close it */
  struct llmd_index *_Atomic index;
  void (*_Atomic index_close)(struct llmd_index *index);
  uint32_t mismatched;  /* tick: endpoints whose metrics told another block size than the index has, last time */
  uint64_t tokens_off, tokens_bytes; /* writer: the cache of tokens in the region, 0 = not looked for yet */
  int64_t health_drift; /* last seen difference between the count of ejected endpoints and them */
  int64_t *drift;       /* [endpoints][2] last seen difference between totals and records */
  struct llmd__tables *tables; /* objectives and rewrites: model/tables.c */
};

/* A pinned, immutable snapshot. Valid until unpin. */
typedef struct llmd__snapshot {
  llmd__buffer_view view;
  uint64_t generation, shape;
  uint32_t n;
} llmd__snapshot;

/* lane = index of the caller's lane slot. 0, or LLMD_E_NONE when nothing was ever published. No lock, no call. */
int llmd__pool_pin(const llmd_pool *p, uint32_t lane, llmd__snapshot *out);
void llmd__pool_unpin(const llmd_pool *p, uint32_t lane);

/* A free lane slot for this process; LLMD_E_FULL when all are taken. */
int llmd__pool_lane_take(const llmd_pool *p, uint32_t *lane);
void llmd__pool_lane_leave(const llmd_pool *p, uint32_t lane);
/* Does this slot belong to a lane of this handle that pins a snapshot? */
int llmd__pool_lane_pins(const llmd_pool *p, uint32_t lane);

/* A pin without a lane of one's own, for tools and metrics: takes a free slot for as long as it lasts. LLMD_E_BUSY: all
 * slots are taken; LLMD_E_NONE as above. */
int llmd__pool_glance(const llmd_pool *p, uint32_t *lane, llmd__snapshot *out);
void llmd__pool_glance_end(const llmd_pool *p, uint32_t lane);
/* Value of an F64 attribute; NaN = unknown, or no such attribute. */
double llmd__snapshot_value(const llmd_pool *p, const llmd__snapshot *s, uint32_t row, uint32_t attribute);

/* Number of the attribute "name/producer" or LLMD_E_NONE. "" and NULL producers are the pool's own. */
int llmd__pool_find_attribute(const llmd_pool *p, const char *name, const char *producer, uint32_t *type,
                              uint32_t *scope);

/* Slots whose endpoint left and whose traces plugins have not dropped yet: the next one from `from` on (1 found, 0
 * none); the slot can be used again after llmd__pool_forgotten. Writer. */
uint32_t llmd__pool_next_forgotten(llmd_pool *p, uint32_t from, uint32_t *slot);
void llmd__pool_forgotten(llmd_pool *p, uint32_t slot);

/* Slot of an endpoint id. */
static inline uint32_t llmd__slot_of(llmd_endpoint_id id)
{
  return (uint32_t)id;
}

/* Priority of an objective; 0 when unknown. Any thread of the writer's process. */
int32_t llmd__tables_priority(const llmd_pool *p, const llmd_str *name);
/* The model that `model` is rewritten to, drawn with chance (0 = unchanged). *out borrowed until the table changes. */
int llmd__tables_rewrite(const llmd_pool *p, const llmd_str *model, uint64_t chance, llmd_str *out);
int llmd__tables_init(llmd_pool *p);
void llmd__tables_free(llmd_pool *p);

void llmd__pool_log(const llmd_pool *p, int level, const char *component, const char *fmt, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 4, 5)))
#endif
    ;

#endif
