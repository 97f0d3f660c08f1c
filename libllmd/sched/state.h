/* Plugin state in the region: which plugins have a prefix index, and where. */
#ifndef LLMD_SCHED_STATE_H
#define LLMD_SCHED_STATE_H

#include <llmd/prefix.h>

#include "prefix/index.h"
#include "sched/scheduler.h"

#define LLMD__STATE_TABLE LLMD_STATE_TABLE
#define LLMD__STATE_PREFIX LLMD_STATE_PREFIX
#define LLMD__STATE_INDEX LLMD_STATE_INDEX
#define LLMD__STATE_TOKENS LLMD_STATE_TOKENS
#define LLMD__STATE_POLICY LLMD_STATE_POLICY

/* Finds or makes the state of a producer. LLMD_E_FULL: no room in the region. */
int llmd__state_bind(llmd_scheduler *s, uint32_t instance);
/* Calls fn for each prefix index in the region. */
void llmd__state_each_index(llmd__region *g, void (*fn)(const llmd__index *ix, llmd_endpoint_id id),
                            llmd_endpoint_id id);
/* A new writer's first act: what its predecessor was in the middle of changing is put right. Does nothing again. */
void llmd__state_take_over(llmd_pool *p);
/* pool_tokens.c: the cache of tokens, found or made. LLMD_E_FULL: no room in the region. */
int llmd__pool_tokens(llmd_pool *p, uint64_t *off, uint64_t *bytes);
/* tokens.c: is it a prompt that a renderer makes tokens of? */
int llmd__tokens_are_rendered(const llmd_request_info *i);
/* The name of a prompt's tokens; model: after all rewrites. */
void llmd__pool_token_key(const llmd_pool *p, const llmd_request *r, uint32_t dialect, llmd_str model, llmd_key *out);
/* (writer) The exact index, if anybody has asked for it (pool_index.c): nothing is on that endpoint any more; a slice
 * of its housekeeping. */
void llmd__pool_index_forget(llmd_pool *p, llmd_endpoint_id id);
void llmd__pool_index_tick(llmd_pool *p, uint64_t mono);
/* (writer) Warns when more endpoints than last time have metrics that tell another block size (CacheBlockSize) than
 * the index has of them, from events or configured. */
void llmd__pool_index_compare(llmd_pool *p);
/* Is told, CacheBlockSize, another size than the index has? Not when either is unknown. */
int llmd__pool_sizes_differ(double told, const llmd_index_row *known);
/* A view of the instance's prefix index; LLMD_E_NONE when it has none. */
int llmd__state_prefix(const llmd_scheduler *s, uint32_t instance, llmd__index *out);

#endif
