#include "prefix/apply_group.h"

#define NO_LANE 2u

/* ---- sliding windows --------------------------------------------------------------------------------------------- */

/* Which of the two the group is in. */
static uint32_t lane_of(const llmd__source *s, uint32_t group)
{
  for (uint32_t i = 0; i < 2; i++)
    if (llmd__record_get32(&s->record->lane[i]) >> group & 1u)
      return i;
  return NO_LANE;
}

/* One of its own, or else with others of the same window: their blocks come together, and the first that goes takes the
 * block from all. */
static uint32_t lane_for(const llmd__source *s, uint32_t window)
{
  for (uint32_t i = 0; i < 2; i++)
    if (llmd__record_get32(&s->record->lane[i]) == 0)
      return i;
  for (uint32_t i = 0; i < 2; i++)
    if (llmd__record_get32(&s->record->window[i]) == window)
      return i;
  return NO_LANE;
}

static uint32_t join_lane(llmd_events *e, llmd__source *s, uint32_t group, uint32_t window)
{
  const uint32_t lane = lane_for(s, window);
  if (lane == NO_LANE)
    return NO_LANE;
  llmd__record_set32(&s->record->window[lane], window);
  llmd__record_set32(&s->record->lane[lane], llmd__record_get32(&s->record->lane[lane]) | 1u << group);
  llmd__source_describe(e, s);
  return lane;
}

static void leave_lane(llmd_events *e, llmd__source *s, uint32_t group)
{
  const uint32_t lane = lane_of(s, group);
  if (lane == NO_LANE)
    return;
  llmd__record_set32(&s->record->lane[lane], llmd__record_get32(&s->record->lane[lane]) & ~(1u << group));
  llmd__source_describe(e, s);
}

/* A store says what its window is. Blocks of another size than those that count are not parts of these. */
static uint32_t learn_lane(llmd_events *e, llmd__source *s, const llmd_event *v)
{
  const uint32_t size = llmd__record_get32(&s->record->block_tokens);
  const uint32_t lane = lane_of(s, v->group);
  if (v->block_size && size && v->block_size != size) {
    leave_lane(e, s, v->group);
    return NO_LANE;
  }
  if (v->window == 0 || (lane != NO_LANE && llmd__record_get32(&s->record->window[lane]) == v->window))
    return lane;
  leave_lane(e, s, v->group);
  return join_lane(e, s, v->group, v->window);
}

/* Only what lies in the engine's own memory: there is one tier for it all, and what goes from elsewhere must not take
 * what is here. */
static int slides(llmd_events *e, llmd__source *s, const llmd_event *v, uint32_t *tier)
{
  uint32_t lane;
  if (v->tier != LLMD_TIER_GPU || s->flags & LLMD_SOURCE_SHARED)
    return 0;
  lane = v->attention == LLMD_ATTENTION_SLIDING ? learn_lane(e, s, v) : lane_of(s, v->group);
  *tier = LLMD_TIER_WINDOW + lane;
  return lane != NO_LANE;
}

/* ---- all groups -------------------------------------------------------------------------------------------------- */

static void learn_kind(llmd_events *e, llmd__source *s, const llmd_event *v)
{
  const uint32_t bit = 1u << v->group;
  const uint32_t dense = llmd__record_get32(&s->record->dense);
  const int full = v->attention == LLMD_ATTENTION_FULL;
  if (v->attention == LLMD_ATTENTION_UNKNOWN || full == (int)(dense >> v->group & 1u))
    return;
  llmd__record_set32(&s->record->dense, full ? dense | bit : dense & ~bit);
  if (full)
    leave_lane(e, s, v->group);
}

int llmd__apply_group(llmd_events *e, llmd__source *s, const llmd_event *v, uint32_t *tier)
{
  *tier = s->flags & LLMD_SOURCE_SHARED ? LLMD_TIER_REMOTE : v->tier;
  if (!v->has_group)
    return v->attention == LLMD_ATTENTION_UNKNOWN || v->attention == LLMD_ATTENTION_FULL;
  if (v->group >= 32)
    return 0;
  learn_kind(e, s, v);
  if (v->attention == LLMD_ATTENTION_OTHER)
    return 0;
  return llmd__record_get32(&s->record->dense) >> v->group & 1u ? 1 : slides(e, s, v, tier);
}
