/* Attributes and the staging copy of their values. */
#ifndef LLMD_MODEL_COLUMNS_H
#define LLMD_MODEL_COLUMNS_H

#include "model/pool.h"

/* Registers the pool's own attributes in a fresh region. */
int llmd__attributes_init(llmd_pool *p);
/* The staging row of a live endpoint, or NULL. */
llmd__row *llmd__staging_row(const llmd_pool *p, llmd_endpoint_id id, llmd__buffer_view *view);
/* Everything about an endpoint that may fail, before anything of the staging copy changes: its strings become ids in
 * *row (without id and slot) and in labels (room for 2 x 64). LLMD_E_INVALID, LLMD_E_LIMIT, LLMD_E_FULL. */
int llmd__endpoint_intern(llmd_pool *p, const llmd_endpoint *e, llmd__row *row, uint32_t *labels);
/* A new writer's: what its predecessor was in the middle of is finished, or undone. */
void llmd__staging_repair(llmd_pool *p);
/* All values of a slot unknown again. */
void llmd__columns_clear(llmd_pool *p, uint32_t slot);

static inline double *llmd__column_f64(const llmd__buffer_view *v, const llmd__region *g, uint32_t attribute)
{
  return (double *)(void *)(v->column + (size_t)attribute * g->caps.endpoints);
}

static inline uint32_t *llmd__column_id(const llmd__buffer_view *v, const llmd__region *g, uint32_t attribute)
{
  return (uint32_t *)(void *)(v->column + (size_t)attribute * g->caps.endpoints);
}

/* [0] = number of members, then their ids. */
static inline uint32_t *llmd__column_set(const llmd__buffer_view *v, const llmd__region *g, uint32_t set, uint32_t row)
{
  return v->set + ((size_t)set * g->caps.endpoints + row) * (1 + g->caps.models);
}

#endif
