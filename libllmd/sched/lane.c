/* A lane: one block of memory, carved once. Deciding allocates nothing. */
#include <stddef.h>
#include <string.h>

#include "model/token_cache.h"
#include "sched/state.h"

#define ROUND(n) (((n) + 63u) & ~(size_t)63u)

/* Carves pieces out of a block; with base NULL it only counts. */
typedef struct carver {
  char *base;
  size_t used;
} carver;

static void *carve(carver *c, size_t n, size_t size)
{
  void *p = c->base ? c->base + c->used : NULL;
  c->used += ROUND(n * size);
  return p;
}

static uint32_t max_writes(const llmd_scheduler *s)
{
  uint32_t most = 1;
  for (uint32_t i = 0; i < s->config->n_instances; i++)
    most = s->binding[i].n_writes > most ? s->binding[i].n_writes : most;
  return most;
}

static uint32_t max_reads(const llmd_scheduler *s)
{
  uint32_t most = 1;
  for (uint32_t i = 0; i < s->config->n_instances; i++)
    most = s->binding[i].n_reads > most ? s->binding[i].n_reads : most;
  return most;
}

/* Entries that one decision can leave, and the bytes that their rows and values need. */
static void size_why(const llmd_scheduler *s, uint32_t cap, uint32_t *entries, size_t *bytes)
{
  uint32_t n = 8 + s->config->n_producers + 2 * s->config->n_instances;
  size_t row = ROUND((size_t)cap * 4), both = row + ROUND((size_t)cap * 8);
  *bytes = 0;
  for (uint32_t i = 0; i < s->config->n_profiles; i++) {
    const llmd__profile *p = &s->config->profile[i];
    n += p->n_filters + p->n_scorers + 1;
    *bytes += p->n_filters * row + (p->n_scorers + 1) * both;
  }
  *entries = n;
}

static void carve_sources(llmd_lane *l, carver *c)
{
  const llmd_scheduler *s = l->s;
  l->full = carve(c, s->n_sources + 1, sizeof *l->full);
  l->attribute = carve(c, s->n_sources + 1, sizeof *l->attribute);
  for (uint32_t i = 0; i < s->n_sources; i++) {
    uint32_t kind = s->source[i].kind, cell = llmd__source_cell(kind);
    void *own, *gather;
    if (kind == LLMD_READ_HEADER)
      continue;
    own = carve(c, cell ? l->cap : kind == LLMD_READ_PROMPT ? LLMD_PROMPT_BYTES / 8 : LLMD__HEADER_IDS, 8);
    gather = cell ? carve(c, l->cap, 8) : NULL;
    if (c->base) {
      l->full[i].own = own;
      l->full[i].gather = gather;
    }
  }
}

static void carve_columns(llmd_lane *l, carver *c)
{
  uint32_t n = l->s->n_columns;
  l->column = carve(c, n + 1, sizeof *l->column);
  l->column_attribute = carve(c, n + 1, sizeof *l->column_attribute);
  l->column_set = carve(c, n + 1, 1);
  for (uint32_t i = 0; i < n; i++) {
    double *room = carve(c, l->cap, sizeof *room);
    if (c->base)
      l->column[i] = room;
  }
  l->out = carve(c, max_writes(l->s), sizeof *l->out);
  l->temp = carve(c, (size_t)max_writes(l->s) * l->cap, sizeof *l->temp);
}

static void carve_chain(llmd_lane *l, carver *c)
{
  size_t scratch = 0;
  for (uint32_t i = 0; i < l->s->config->n_instances; i++) {
    llmd__index ix;
    size_t n;
    if (llmd__state_prefix(l->s, i, &ix))
      continue;
    n = llmd__index_scratch_size(&ix);
    scratch = n > scratch ? n : scratch;
  }
  if (l->s->wants_tokens) {
    l->feature = carve(c, LLMD__TOKENS_FEATURES, sizeof *l->feature);
    l->feature_text = carve(c, LLMD__TOKENS_TEXT, 1);
  }
  if (scratch || l->s->index || l->s->wants_tokens)
    l->tokens = carve(c, l->s->options.max_tokens, 4);
  if (!scratch)
    return;
  l->match_scratch = carve(c, 1, scratch);
  l->match_id = carve(c, l->cap, 8);
  l->match_blocks = carve(c, l->cap, 4);
}

/* Keys: room for four chains of 16-token blocks of the longest prompt. Smaller blocks make do with less of the prompt. */
static void carve_exact(llmd_lane *l, carver *c)
{
  llmd__exact *x = &l->exact;
  if (!l->s->index)
    return;
  x->room = l->s->options.max_tokens / 4;
  x->scratch = carve(c, 1, llmd_index_scratch(l->s->index));
  x->hit = carve(c, l->cap, sizeof *x->hit);
  x->keys = carve(c, x->room, sizeof *x->keys);
  x->block = carve(c, l->cap, sizeof *x->block);
  x->degraded = carve(c, l->cap, sizeof *x->degraded);
  x->place = carve(c, l->cap, sizeof *x->place);
}

/* Room for text: names of a replayed record's rows, of the ids of sources that are read as text, the prompt. */
static size_t text_room(const llmd_scheduler *s, uint32_t cap)
{
  size_t each = LLMD__KEPT_TEXT_EACH, fixed = LLMD__KEPT_TEXT_FIXED;
  for (uint32_t i = 0; i < s->n_sources; i++) {
    each += s->source[i].text ? LLMD__KEPT_TEXT_EACH / 2 : 0;
    fixed += s->source[i].kind == LLMD_READ_PROMPT ? LLMD_PROMPT_BYTES : 0;
  }
  return fixed + cap * each;
}

static void carve_texts(llmd_lane *l, carver *c)
{
  llmd__kept *k = &l->kept;
  size_t entries, places;
  llmd__texts_room(l->s, l->cap, &entries, &places);
  k->n_places = (uint32_t)places;
  k->id_text = carve(c, entries, sizeof *k->id_text);
  k->id_place = carve(c, places, sizeof *k->id_place);
  k->text_len = text_room(l->s, l->cap);
  k->text = carve(c, k->text_len, 1);
}

static void carve_kept(llmd_lane *l, carver *c)
{
  const llmd_scheduler *s = l->s;
  llmd__kept *k = &l->kept;
  k->row = carve(c, l->cap, sizeof *k->row);
  k->ejected = carve(c, l->cap, sizeof *k->ejected);
  k->id = carve(c, l->cap, sizeof *k->id);
  k->source = carve(c, s->n_sources + 1, sizeof *k->source);
  k->column = carve(c, s->n_columns + 1, sizeof *k->column);
  k->column_set = carve(c, s->n_columns + 1, 1);
  for (uint32_t i = 0; i < s->n_sources; i++) {
    uint32_t kind = s->source[i].kind;
    int cells = llmd__source_cell(kind) != 0;
    void *room = cells || kind == LLMD_READ_HEADER_IDS ? carve(c, cells ? l->cap : LLMD__HEADER_IDS, 8) : NULL;
    if (c->base)
      k->source[i].cells = room;
  }
  for (uint32_t i = 0; i < s->n_columns; i++) {
    double *room = carve(c, l->cap, sizeof *room);
    if (c->base)
      k->column[i] = room;
  }
  carve_texts(l, c);
}

static void carve_all(llmd_lane *l, carver *c)
{
  const llmd_scheduler *s = l->s;
  uint32_t cap = l->cap, entries;
  size_t bytes;
  carve_sources(l, c);
  carve_columns(l, c);
  l->start.row = carve(c, cap, 4);
  l->start.id = carve(c, cap, 8);
  l->cand.row = carve(c, cap, 4);
  l->cand.id = carve(c, cap, 8);
  l->all_id = carve(c, cap, 8);
  l->all_row = carve(c, cap, 4);
  l->keep = carve(c, cap, 1);
  l->order = carve(c, cap, 4);
  l->score = carve(c, cap, 8);
  l->total = carve(c, cap, 8);
  l->max_reads = max_reads(s);
  l->pointers = carve(c, (size_t)l->max_reads * 2, sizeof *l->pointers);
  l->values = carve(c, l->max_reads, sizeof *l->values);
  l->scratch = carve(c, s->scratch_fixed + (size_t)cap * s->scratch_each, 1);
  l->answer = carve(c, s->config->n_instances, 1);
  l->own = carve(c, s->config->n_instances, sizeof *l->own);
  carve_chain(l, c);
  carve_exact(l, c);
  if (!s->options.explain)
    return;
  size_why(s, cap, &entries, &bytes);
  l->why = carve(c, entries, sizeof *l->why);
  l->max_why = entries;
  carve_kept(l, c);
  l->arena = carve(c, bytes, 1);
  l->arena_len = bytes;
}

/* ---- spares: all that a lane needs for a scheduler -------------------------------------------------------------- */

#define SPARE_FROM offsetof(llmd_lane, s)
#define SPARE_BYTES (offsetof(llmd_lane, run) - SPARE_FROM)

static int carve_block(llmd_lane *l)
{
  llmd_scheduler *s = l->s;
  carver c = {NULL, 0};
  carve_all(l, &c);
  l->block_len = c.used;
  l->block = llmd__calloc(&s->alloc, 1, l->block_len + 64);
  if (!l->block)
    return LLMD_E_NOMEM;
  c.base = (char *)(((uintptr_t)l->block + 63) & ~(uintptr_t)63);
  c.used = 0;
  carve_all(l, &c);
  for (uint32_t i = 0; i < l->cap; i++)
    l->all_row[i] = i;
  for (uint32_t i = 0; i < s->config->n_profiles; i++) {
    l->profile_name[i].ptr = s->config->profile[i].name;
    l->profile_name[i].len = strlen(s->config->profile[i].name);
  }
  return 0;
}

static int make_spare(const llmd_allocator *a, llmd_scheduler *s, llmd_spare **out)
{
  llmd_spare *spare = llmd__calloc(a, 1, sizeof *spare);
  llmd_lane *l;
  int rc;
  if (!spare)
    return LLMD_E_NOMEM;
  l = &spare->lane;
  l->s = s;
  l->pool = s->pool;
  l->alloc = *a;
  l->cap = s->pool->g->caps.endpoints;
  rc = carve_block(l);
  if (!rc)
    rc = llmd__own_open(l);
  if (rc) {
    if (l->block)
      llmd__free(a, l->block, l->block_len + 64);
    llmd__free(a, spare, sizeof *spare);
    return rc;
  }
  llmd__scheduler_hold(s);
  *out = spare;
  return 0;
}

void llmd_spare_free(llmd_spare *spare)
{
  llmd_allocator alloc;
  llmd_lane *l;
  if (!spare)
    return;
  l = &spare->lane;
  alloc = l->alloc;
  if (l->s) {
    llmd__own_close(l);
    llmd__free(&alloc, l->block, l->block_len + 64);
    llmd_scheduler_free(l->s);
  }
  llmd__free(&alloc, spare, sizeof *spare);
}

void llmd_lane_take(llmd_lane *lane, llmd_spare *spare)
{
  char room[SPARE_BYTES], *mine, *its;
  if (!lane || !spare)
    return;
  mine = (char *)lane + SPARE_FROM;
  its = (char *)&spare->lane + SPARE_FROM;
  memcpy(room, mine, sizeof room);
  memcpy(mine, its, sizeof room);
  memcpy(its, room, sizeof room);
  lane->last_valid = spare->lane.last_valid = 0;
  lane->req = spare->lane.req = NULL; /* what either knows of a request may not be the last word any more */
  lane->decided = spare->lane.decided = 0;
  llmd__own_moved(lane);
  llmd__own_moved(&spare->lane);
}

static int fits(const llmd_lane *lane, const llmd_scheduler *s)
{
  return s->pool == lane->pool && s->alloc.fn == lane->alloc.fn && s->alloc.ud == lane->alloc.ud;
}

int llmd_lane_prepare(const llmd_lane *lane, llmd_scheduler *s, llmd_spare **out)
{
  if (!lane || !s || !out || !fits(lane, s))
    return LLMD_E_INVALID;
  return make_spare(&lane->alloc, s, out);
}

/* ---- lanes ------------------------------------------------------------------------------------------------------ */

/* The lane decides by s from now on; it had nothing, or what it had goes. */
static int bind(llmd_lane *l, llmd_scheduler *s)
{
  llmd_spare *spare;
  int rc = make_spare(&l->alloc, s, &spare);
  if (rc)
    return rc;
  llmd_lane_take(l, spare);
  llmd_spare_free(spare);
  return 0;
}

int llmd_lane_create(llmd_scheduler *s, uint32_t flags, llmd_lane **out)
{
  llmd_lane *l;
  uint32_t slot;
  int rc;
  if (!s || !out || (flags & ~LLMD_LANE_WRITER))
    return LLMD_E_INVALID;
  if (flags && !s->pool->writer)
    return LLMD_E_DENIED;
  l = llmd__calloc(&s->alloc, 1, sizeof *l);
  if (!l)
    return LLMD_E_NOMEM;
  rc = llmd__pool_lane_take(s->pool, &slot);
  if (rc) {
    llmd__free(&s->alloc, l, sizeof *l);
    return rc;
  }
  l->pool = s->pool;
  l->alloc = s->alloc;
  l->slot = slot;
  l->flags = flags;
  l->charger.owner = s->pool->owner;
  l->charger.lane = slot;
  l->charger.hint = (uint32_t)((uint64_t)slot * s->pool->g->caps.tickets / s->pool->g->caps.lanes);
  rc = bind(l, s);
  if (rc) {
    llmd__pool_lane_leave(s->pool, slot);
    llmd__free(&s->alloc, l, sizeof *l);
    return rc;
  }
  *out = l;
  return 0;
}

int llmd_lane_switch(llmd_lane *lane, llmd_scheduler *s)
{
  if (!lane || !s || !fits(lane, s))
    return LLMD_E_INVALID;
  return bind(lane, s);
}

void llmd_lane_free(llmd_lane *lane)
{
  llmd_allocator alloc;
  llmd_scheduler *s;
  if (!lane)
    return;
  alloc = lane->alloc;
  s = lane->s;
  llmd__pool_lane_leave(lane->pool, lane->slot);
  llmd__own_close(lane);
  llmd__free(&alloc, lane->block, lane->block_len + 64);
  llmd__free(&alloc, lane, sizeof *lane);
  llmd_scheduler_free(s);
}
