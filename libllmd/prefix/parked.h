/* What has to wait: events whose parent block is not known yet, and live messages that came while a replay runs.
 *
 *   ring   │ event │ message │ gone │ event │ ...          oldest first; the oldest is lost when there is no room
 *             │ by parent's name: found when the parent is stored
 *             │ by its blocks' names: found when they are removed again meanwhile
 *
 * An event that waits remembers, for each of its blocks, in which tiers it lies by now: what is removed and stored
 * again in the meantime changes these, so that the block is right when the parent arrives. All memory is taken at once;
 * nothing here knows the index. A reference is a place in the ring + 1, 0 = none. */
#ifndef LLMD_PREFIX_PARKED_H
#define LLMD_PREFIX_PARKED_H

#include <llmd/events.h>

typedef uint32_t llmd__parked_ref;

#define LLMD__PARKED_ANY UINT32_MAX /* all ranks of a source */

typedef struct llmd__parked_owner {
  uint32_t events, messages; /* waiting now */
  uint64_t events_ever, events_lost;
  llmd__parked_ref first, last; /* messages, as they came */
} llmd__parked_owner;

typedef struct llmd__parked {
  llmd_allocator alloc;
  size_t bytes;
  uint64_t *ring; /* [units] */
  uint32_t units, head, used; /* the oldest begins at head */
  uint32_t buckets;           /* a power of two */
  llmd__parked_ref *by_parent, *by_name;
  llmd__parked_owner *owner; /* [owners] */
  uint32_t owners;
  uint64_t order;                /* events parked so far */
  llmd__parked_ref ready, done;  /* events whose parent has come, oldest first; events that were applied */
} llmd__parked;

/* An event that waits, and its parts in the ring. */
typedef struct llmd__parked_event {
  llmd__parked_ref ref;
  uint32_t owner, rank, tier, block_tokens;
  uint32_t n_names, n_tokens, n_extra;
  uint64_t parent, order;
  const uint32_t *token;
} llmd__parked_event;

/* bytes: of all of it but the owners. LLMD_E_NOMEM leaves nothing. */
int llmd__parked_open(llmd__parked *p, const llmd_allocator *alloc, uint64_t bytes, uint32_t owners);
void llmd__parked_close(llmd__parked *p);

/* ---- events ------------------------------------------------------------------------------------------------------ */

/* Copies the event; its parent is event->parent, its texts are extra[n_extra]. 0: no room even when all goes; counted
 * as lost. */
int llmd__parked_add(llmd__parked *p, uint32_t owner, uint32_t rank, const llmd_event *event, uint32_t tier,
                     const llmd_extra *extra, uint32_t n_extra);
/* These blocks were stored (event of this order; UINT64_MAX = now), or are held in one tier more: older events that
 * have them too say so. */
void llmd__parked_held(llmd__parked *p, uint32_t owner, uint32_t rank, uint32_t tier, const uint64_t *names, uint32_t n,
                       uint64_t order);
/* They are in this tier no more (LLMD_TIER_ANY: in none). Returns how many were known here. */
uint32_t llmd__parked_removed(llmd__parked *p, uint32_t owner, uint32_t rank, uint32_t tier, const uint64_t *names,
                              uint32_t n);
/* Events that wait for these blocks become ready. */
void llmd__parked_wake(llmd__parked *p, uint32_t owner, uint32_t rank, const uint64_t *names, uint32_t n);
/* The oldest that is ready; 0 = none. It stays until llmd__parked_done has been called and taken it. */
int llmd__parked_next(llmd__parked *p, llmd__parked_event *out);
void llmd__parked_name(const llmd__parked *p, const llmd__parked_event *e, uint32_t i, uint64_t *name, uint32_t *tiers);
/* Extras of the event, into out[n_extra]. */
void llmd__parked_extras(const llmd__parked *p, const llmd__parked_event *e, llmd_extra *out);
/* It was applied (or could not be): later asked for by llmd__parked_take, when all that is ready has been. */
void llmd__parked_done(llmd__parked *p, const llmd__parked_event *e, int lost);
int llmd__parked_take(llmd__parked *p, llmd__parked_event *out);
void llmd__parked_free(llmd__parked *p, const llmd__parked_event *e);

/* ---- messages ---------------------------------------------------------------------------------------------------- */

typedef struct llmd__parked_message {
  llmd__parked_ref ref;
  uint64_t seq;
  llmd_str payload;
} llmd__parked_message;

/* 0: no room; what makes room is the oldest of all. */
int llmd__parked_wait(llmd__parked *p, uint32_t owner, uint64_t seq, llmd_str payload);
/* The first waiting message whose number is at most `enough`, else the one with the lowest; 0 = none. */
int llmd__parked_lowest(const llmd__parked *p, uint32_t owner, uint64_t enough, llmd__parked_message *out);
/* Holds it where it is, off the list, until it is dropped: parking its events does not push it out. */
void llmd__parked_hold(llmd__parked *p, const llmd__parked_message *m);
void llmd__parked_drop(llmd__parked *p, const llmd__parked_message *m);

/* Everything of a source that waits: events of one rank or all, messages. */
void llmd__parked_forget_events(llmd__parked *p, uint32_t owner, uint32_t rank);
void llmd__parked_forget_messages(llmd__parked *p, uint32_t owner);

#endif
