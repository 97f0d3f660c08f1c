/* Texts of ids. An id means something in the region of then; a record takes along what the ids say that a policy may
 * have looked at (LLMD_READ_TEXT), each once.
 *
 *   ids of the kept sources ──► id_text[]: id, text, in the order in which they came
 *                                  ▲
 *                    id_place[hash of id] */
#include <string.h>

#include "sched/scheduler.h"

void llmd__texts_room(const llmd_scheduler *s, uint32_t cap, size_t *entries, size_t *places)
{
  uint32_t sources = 0;
  for (uint32_t i = 0; i < s->n_sources; i++)
    sources += s->source[i].text;
  *entries = (size_t)sources * cap;
  *places = *entries ? 16 : 0;
  while (*places < 2 * *entries)
    *places *= 2;
}

/* Where the id is, or would go: places are a power of two, and never more than half taken. */
static uint32_t *place_of(const llmd__kept *k, uint32_t id)
{
  uint32_t mask = k->n_places - 1, at = (id * 0x9e3779b1u) >> 7 & mask;
  while (k->id_place[at] && k->id_text[k->id_place[at] - 1].id != id)
    at = (at + 1) & mask;
  return &k->id_place[at];
}

static void add(llmd__kept *k, uint32_t id)
{
  uint32_t *place = id ? place_of(k, id) : NULL;
  if (!place || *place)
    return;
  memset(&k->id_text[k->n_id_texts], 0, sizeof *k->id_text);
  k->id_text[k->n_id_texts].id = id;
  *place = ++k->n_id_texts;
}

void llmd__texts_list(llmd_lane *l)
{
  llmd__kept *k = &l->kept;
  k->n_id_texts = 0;
  if (!k->n_places)
    return;
  memset(k->id_place, 0, k->n_places * sizeof *k->id_place);
  for (uint32_t i = 0; i < l->s->n_sources; i++)
    for (uint32_t row = 0; row < k->n && l->s->source[i].text && k->source[i].filled; row++)
      add(k, ((const uint32_t *)k->source[i].cells)[row]);
}

llmd__id_text *llmd__texts_find(const llmd__kept *k, uint32_t id)
{
  uint32_t place = id && k->n_places ? *place_of(k, id) : 0;
  return place ? &k->id_text[place - 1] : NULL;
}
