#include "prefix/sets.h"

#include <string.h>

static uint32_t mix(uint32_t h)
{
  uint64_t z = (h + 1u) * UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 29)) * UINT64_C(0xbf58476d1ce4e5b9);
  return (uint32_t)(z >> 32);
}

/* ---- reading, by the writer -------------------------------------------------------------------------------------- */

uint32_t llmd__set_count(const llmd_index *x, uint64_t word)
{
  uint32_t kind = LLMD__SET_KIND(word);
  return kind == LLMD__SET_INTERNED ? LLMD__GET(&llmd__set_at(x, word)->n) : kind;
}

static uint32_t small_at(const llmd__set *s, uint32_t i)
{
  return LLMD__GET(&s->ref[i / 2]) >> (i % 2 * 16) & 0xffffu;
}

static uint32_t list_bits(uint32_t base, uint64_t bits, uint16_t *out)
{
  uint32_t n = 0;
  for (; bits != 0; bits &= bits - 1u)
    out[n++] = (uint16_t)(base + (uint32_t)__builtin_ctzll(bits));
  return n;
}

uint32_t llmd__set_list(const llmd_index *x, uint64_t word, uint16_t *out)
{
  const llmd__set *s;
  const llmd__line64 *g;
  llmd__set_walk walk;
  uint32_t kind = LLMD__SET_KIND(word), n = 0;
  if (kind < LLMD__SET_INTERNED) {
    for (; n < kind; n++)
      out[n] = (uint16_t)llmd__set_inline(word, n);
    return n;
  }
  s = llmd__set_at(x, word);
  if (LLMD__GET(&s->groups) == 0) {
    for (; n < LLMD__GET(&s->n); n++)
      out[n] = (uint16_t)small_at(s, n);
    return n;
  }
  llmd__set_walk_begin(&walk, x, s);
  while ((g = llmd__set_walk_next(&walk, x)) != NULL)
    for (uint32_t i = 0; i < 7; i++)
      n += list_bits((uint32_t)LLMD__GET(&g->w[0]) * LLMD__GROUP + i * 64u, LLMD__GET(&g->w[i + 1]), out + n);
  return n;
}

static int group_has(const llmd_index *x, const llmd__set *s, uint32_t holder)
{
  const llmd__line64 *g;
  llmd__set_walk walk;
  uint32_t in = holder % LLMD__GROUP;
  llmd__set_walk_begin(&walk, x, s);
  while ((g = llmd__set_walk_next(&walk, x)) != NULL)
    if (LLMD__GET(&g->w[0]) == holder / LLMD__GROUP)
      return (int)(LLMD__GET(&g->w[1 + in / 64]) >> (in % 64) & 1u);
  return 0;
}

int llmd__set_has(const llmd_index *x, uint64_t word, uint32_t holder)
{
  const llmd__set *s;
  uint32_t kind = LLMD__SET_KIND(word);
  if (kind < LLMD__SET_INTERNED) {
    for (uint32_t i = 0; i < kind; i++)
      if (llmd__set_inline(word, i) == holder)
        return 1;
    return 0;
  }
  s = llmd__set_at(x, word);
  if (LLMD__GET(&s->groups) != 0)
    return group_has(x, s, holder);
  for (uint32_t i = 0; i < LLMD__GET(&s->n); i++)
    if (small_at(s, i) == holder)
      return 1;
  return 0;
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

uint32_t llmd__set_need(const llmd_index *x, uint32_t n)
{
  uint32_t groups = x->holders / LLMD__GROUP + 1u;
  if (n <= LLMD__SET_SMALL)
    return 1;
  if (groups > n)
    groups = n;
  return 1u + groups + (groups > LLMD__SET_REFS ? (groups - LLMD__SET_REFS + 14u) / 15u : 0u);
}

static llmd__set *set_line(const llmd_index *x, uint32_t line)
{
  return (llmd__set *)(void *)llmd__line_at(x, line);
}

static uint32_t count_groups(const uint16_t *h, uint32_t n)
{
  uint32_t groups = n > LLMD__SET_SMALL;
  for (uint32_t i = 1; n > LLMD__SET_SMALL && i < n; i++)
    groups += h[i] / LLMD__GROUP != h[i - 1] / LLMD__GROUP;
  return groups;
}

static void group_line(llmd_index *x, uint32_t line, uint32_t g, const uint16_t *h, uint32_t n)
{
  uint64_t w[7] = {0};
  llmd__line64 *l = llmd__line_at(x, line);
  for (uint32_t i = 0; i < n; i++)
    w[h[i] % LLMD__GROUP / 64] |= UINT64_C(1) << (h[i] % LLMD__GROUP % 64);
  LLMD__PUT(&l->w[0], g);
  for (uint32_t i = 0; i < 7; i++)
    LLMD__PUT(&l->w[i + 1], w[i]);
}

/* Puts the reference to group line i where walking finds it. */
static void put_ref(llmd_index *x, llmd__set *s, llmd__line64 **refs, uint32_t i, uint32_t line)
{
  uint32_t at = i < LLMD__SET_REFS ? i : (i - LLMD__SET_REFS) % 15;
  uint64_t old;
  if (i < LLMD__SET_REFS) {
    LLMD__PUT(&s->ref[i], line);
    return;
  }
  if (at == 0) {
    uint32_t next = llmd__line_take(x);
    if (*refs == NULL)
      LLMD__PUT(&s->more, next);
    else
      LLMD__PUT(&(*refs)->w[7], LLMD__GET(&(*refs)->w[7]) | (uint64_t)next << 32);
    *refs = llmd__line_at(x, next);
  }
  old = LLMD__GET(&(*refs)->w[at / 2]);
  LLMD__PUT(&(*refs)->w[at / 2], old | (uint64_t)line << (at % 2 * 32));
}

/* row: lines of groups follow the set's own. */
static void fill(llmd_index *x, uint32_t own, int row, const uint16_t *h, uint32_t n)
{
  llmd__set *s = set_line(x, own);
  llmd__line64 *refs = NULL;
  uint32_t groups = 0;
  LLMD__PUT(&s->n, n);
  if (n <= LLMD__SET_SMALL) {
    for (uint32_t i = 0; i < n; i += 2)
      LLMD__PUT(&s->ref[i / 2], h[i] | (i + 1 < n ? (uint32_t)h[i + 1] << 16 : 0u));
    return;
  }
  LLMD__PUT(&s->ref[8], LLMD__SET_BUT_NONE);
  for (uint32_t i = 0, end; i < n; i = end) {
    uint32_t line = row ? own + 1u + groups : llmd__line_take(x), g = h[i] / LLMD__GROUP;
    for (end = i; end < n && h[end] / LLMD__GROUP == g;)
      end++;
    group_line(x, line, g, h + i, end - i);
    put_ref(x, s, &refs, groups++, line);
  }
  LLMD__PUT(&s->groups, groups);
}

static int same(const llmd_index *x, uint64_t word, const uint16_t *h, uint32_t n)
{
  const llmd__set *s = llmd__set_at(x, word);
  uint16_t *have = x->have;
  if (LLMD__GET(&s->n) != n)
    return 0;
  llmd__set_list(x, word, have);
  return memcmp(have, h, n * sizeof *h) == 0;
}

static uint64_t id_of(uint32_t line, uint32_t stamp)
{
  return (uint64_t)LLMD__SET_INTERNED << 60 | (uint64_t)(stamp & 0x7ffffffu) << 28 | line;
}

static void enter(llmd_index *x, uint32_t line, uint32_t hash)
{
  llmd__set *s = set_line(x, line);
  uint32_t *b = &x->bucket[hash % x->head->buckets];
  LLMD__PUT(&s->hash, hash);
  LLMD__PUT(&s->refs, 1u);
  LLMD__PUT(&s->chain, *b);
  *b = line;
  LLMD__ADD(&x->head->n_sets, 1u);
}

static uint32_t hash_of(const uint16_t *h, uint32_t n)
{
  uint32_t hash = n;
  for (uint32_t i = 0; i < n; i++)
    hash ^= mix(h[i]);
  return hash;
}

uint64_t llmd__set_of(llmd_index *x, const uint16_t *h, uint32_t n)
{
  uint64_t id = (uint64_t)n << 60;
  uint32_t hash, line, row;
  if (n < LLMD__SET_INTERNED) {
    for (uint32_t i = 0; i < n; i++)
      id |= (uint64_t)h[i] << (15u * i);
    return id;
  }
  hash = hash_of(h, n);
  for (line = x->bucket[hash % x->head->buckets]; line != 0; line = LLMD__GET(&set_line(x, line)->chain)) {
    llmd__set *s = set_line(x, line);
    id = id_of(line, LLMD__GET(&s->stamp));
    if (LLMD__GET(&s->hash) == hash && same(x, id, h, n)) {
      LLMD__ADD(&s->refs, 1u);
      return id;
    }
  }
  row = count_groups(h, n);
  row = row != 0 && row <= LLMD__SET_REFS ? llmd__row_take(x, 1u + row) : 0;
  line = row ? row : llmd__line_take(x);
  LLMD__PUT(&set_line(x, line)->stamp, ++x->head->stamp & 0x7ffffffu);
  fill(x, line, row != 0, h, n);
  enter(x, line, hash);
  return id_of(line, x->head->stamp);
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

#define STEPS (sizeof ((llmd__x_head *)0)->step / sizeof ((llmd__x_head *)0)->step[0])

/* A chain's runs take the same step one after the other: remember where it led. */
static uint64_t step(llmd_index *x, uint64_t word, uint32_t holder, uint32_t how)
{
  uint64_t from = LLMD__SET_ID(word), to;
  uint32_t at = (uint32_t)((from ^ from >> 29 ^ holder * 7u ^ how) % STEPS), n, i;
  if (LLMD__SET_KIND(from) == LLMD__SET_INTERNED && x->head->step[at].from == from &&
      x->head->step[at].holder == holder && x->head->step[at].how == how) {
    to = x->head->step[at].to;
    if (LLMD__SET_KIND(to) == LLMD__SET_INTERNED)
      LLMD__ADD(&set_line(x, LLMD__SET_LINE(to))->refs, 1u);
    return to;
  }
  n = llmd__set_list(x, from, x->list);
  for (i = 0; i < n && x->list[i] < holder;)
    i++;
  if (how == 1) {
    memmove(x->list + i + 1, x->list + i, (n - i) * sizeof *x->list);
    x->list[i] = (uint16_t)holder;
    n++;
  } else {
    memmove(x->list + i, x->list + i + 1, (n - i - 1) * sizeof *x->list);
    n--;
  }
  to = llmd__set_of(x, x->list, n);
  x->head->step[at].from = from;
  x->head->step[at].to = to;
  x->head->step[at].holder = holder;
  x->head->step[at].how = how;
  return to;
}

uint64_t llmd__set_add(llmd_index *x, uint64_t word, uint32_t holder)
{
  return step(x, word, holder, 1);
}

uint64_t llmd__set_remove(llmd_index *x, uint64_t word, uint32_t holder)
{
  return step(x, word, holder, 2);
}

/* Which of the m holders of `of` are not among the n of the other set, which may be four at most. 0 = more, or not so. */
static int missing(const uint16_t *list, uint32_t n, const uint16_t *of, uint32_t m, uint16_t but[4])
{
  uint32_t i = 0, k = 0;
  for (uint32_t j = 0; j < m; j++) {
    if (i < n && list[i] == of[j])
      i++;
    else if (k < 4)
      but[k++] = of[j];
    else
      return 0;
  }
  return i == n;
}

void llmd__set_relate(llmd_index *x, uint64_t word, uint64_t of)
{
  uint32_t n = llmd__set_count(x, word), m;
  llmd__set *s = set_line(x, LLMD__SET_LINE(word));
  uint16_t but[4] = {0xffffu, 0xffffu, 0xffffu, 0xffffu};
  if (LLMD__SET_KIND(word) != LLMD__SET_INTERNED || LLMD__SET_KIND(of) != LLMD__SET_INTERNED || n <= LLMD__SET_SMALL)
    return;
  m = llmd__set_count(x, of);
  if (m <= n || m > n + 4u ||
      (LLMD__GET(&s->ref[6]) == LLMD__SET_LINE(of) && LLMD__GET(&s->ref[7]) == LLMD__SET_STAMP(of)))
    return;
  llmd__set_list(x, word, x->list);
  llmd__set_list(x, of, x->have);
  if (!missing(x->list, n, x->have, m, but))
    return;
  if (LLMD__GET(&s->ref[8]) == (but[0] | (uint32_t)but[1] << 16) && but[1] != 0xffffu) { /* the others may differ */
    uint16_t first = but[0];
    but[0] = but[1];
    but[1] = first;
  }
  LLMD__PUT(&s->ref[8], LLMD__SET_BUT_NONE); /* readers look at it before and after the others */
  LLMD__PUT(&s->ref[5], but[2] | (uint32_t)but[3] << 16);
  LLMD__PUT(&s->ref[6], LLMD__SET_LINE(of));
  LLMD__PUT(&s->ref[7], LLMD__SET_STAMP(of));
  LLMD__PUT(&s->ref[8], but[0] | (uint32_t)but[1] << 16);
}

static void forget_steps(llmd_index *x, uint64_t id)
{
  for (size_t i = 0; i < STEPS; i++)
    if (x->head->step[i].to == id || x->head->step[i].from == id)
      x->head->step[i].from = 0;
}

static void leave(llmd_index *x, uint32_t line)
{
  uint32_t *b = &x->bucket[LLMD__GET(&set_line(x, line)->hash) % x->head->buckets], at = *b;
  if (at == line) {
    *b = LLMD__GET(&set_line(x, line)->chain);
    return;
  }
  while (LLMD__GET(&set_line(x, at)->chain) != line)
    at = LLMD__GET(&set_line(x, at)->chain);
  LLMD__PUT(&set_line(x, at)->chain, LLMD__GET(&set_line(x, line)->chain));
}

static void give_lines(llmd_index *x, uint32_t line)
{
  llmd__set *s = set_line(x, line);
  uint32_t groups = LLMD__GET(&s->groups), refs = LLMD__GET(&s->more), next, row = 0;
  while (row < groups && row < LLMD__SET_REFS && LLMD__GET(&s->ref[row]) == line + 1u + row)
    row++;
  if (groups != 0 && row == groups) {
    llmd__row_give(x, line, 1u + groups);
    return;
  }
  for (uint32_t i = 0; i < groups && i < LLMD__SET_REFS; i++)
    llmd__line_give(x, LLMD__GET(&s->ref[i]));
  for (uint32_t left = groups > LLMD__SET_REFS ? groups - LLMD__SET_REFS : 0; left != 0; refs = next) {
    llmd__line64 *l = llmd__line_at(x, refs);
    for (uint32_t i = 0; i < 15 && left != 0; i++, left--)
      llmd__line_give(x, (uint32_t)(LLMD__GET(&l->w[i / 2]) >> (i % 2 * 32)));
    next = (uint32_t)(LLMD__GET(&l->w[7]) >> 32);
    llmd__line_give(x, refs);
  }
  llmd__line_give(x, line);
}

void llmd__set_release(llmd_index *x, uint64_t word)
{
  uint32_t line = LLMD__SET_LINE(word);
  llmd__set *s;
  if (LLMD__SET_KIND(word) != LLMD__SET_INTERNED)
    return;
  s = set_line(x, line);
  LLMD__ADD(&s->refs, (uint32_t)-1);
  if (LLMD__GET(&s->refs) != 0)
    return;
  forget_steps(x, LLMD__SET_ID(word));
  leave(x, line);
  LLMD__ADD(&x->head->n_sets, (uint64_t)-1);
  give_lines(x, line);
}

/* The lines of a set's groups and references. */
static void mark_lines(llmd_index *x, const llmd__set *s)
{
  uint32_t groups = LLMD__GET(&s->groups), refs = LLMD__GET(&s->more), left;
  for (uint32_t i = 0; i < groups && i < LLMD__SET_REFS; i++)
    llmd__mark(x, LLMD__GET(&s->ref[i]));
  for (left = groups > LLMD__SET_REFS ? groups - LLMD__SET_REFS : 0; left != 0;) {
    const llmd__line64 *l = llmd__line_at(x, refs);
    llmd__mark(x, refs);
    for (uint32_t i = 0; i < 15 && left != 0; i++, left--)
      llmd__mark(x, (uint32_t)(LLMD__GET(&l->w[i / 2]) >> (i % 2 * 32)));
    refs = (uint32_t)(LLMD__GET(&l->w[7]) >> 32);
  }
}

void llmd__set_adopt(llmd_index *x, uint64_t word)
{
  uint32_t line = LLMD__SET_LINE(word), n;
  if (LLMD__SET_KIND(word) != LLMD__SET_INTERNED)
    return;
  if (llmd__marked(x, line)) {
    LLMD__ADD(&set_line(x, line)->refs, 1u);
    return;
  }
  llmd__mark(x, line);
  mark_lines(x, set_line(x, line));
  n = llmd__set_list(x, word, x->list);
  enter(x, line, hash_of(x->list, n));
}
