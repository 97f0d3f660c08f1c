/* What policies can read by a short name, and what somebody meant who misspelt one. */
#include <string.h>

#include "module.h"

static const llmd__lua_known known[] = {
#define X(field, kind, attribute, producer, unit, doc) {#field, LLMD_READ_##kind, attribute, producer, unit, doc},
#include "names.def"
#undef X
  {0}};

const llmd__lua_known *llmd__lua_known_at(uint32_t i)
{
  return i < sizeof known / sizeof *known - 1 ? &known[i] : NULL;
}

const llmd__lua_known *llmd__lua_known_find(const char *field)
{
  for (const llmd__lua_known *k = known; k->field; k++)
    if (!strcmp(k->field, field))
      return k;
  return NULL;
}

void llmd__lua_known_near(llmd__lua_near *n)
{
  for (const llmd__lua_known *k = known; k->field; k++)
    llmd__lua_near_try(n, k->field);
}

/* ---- the nearest name ------------------------------------------------------------------------------------------- */

#define LONGEST 32u

static uint32_t least(uint32_t a, uint32_t b, uint32_t c)
{
  uint32_t m = a < b ? a : b;
  return m < c ? m : c;
}

/* Letters to insert, drop or replace (Levenshtein). Long words are far from everything. */
static uint32_t distance(const char *a, const char *b)
{
  uint32_t row[LONGEST + 1];
  size_t n = strlen(a), m = strlen(b);
  if (n > LONGEST || m > LONGEST)
    return LONGEST;
  for (uint32_t j = 0; j <= m; j++)
    row[j] = j;
  for (uint32_t i = 1; i <= n; i++) {
    uint32_t diagonal = row[0];
    row[0] = i;
    for (uint32_t j = 1; j <= m; j++) {
      uint32_t above = row[j];
      row[j] = least(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
      diagonal = above;
    }
  }
  return row[m];
}

/* Letters that both begin with. */
static size_t begins(const char *a, const char *b)
{
  size_t n = 0;
  while (a[n] && a[n] == b[n])
    n++;
  return n;
}

/* Some half of a word may be wrong, and no more than three letters. Of those equally far, the one that begins alike. */
void llmd__lua_near_try(llmd__lua_near *n, const char *name)
{
  size_t len = strlen(n->word);
  uint32_t d = distance(n->word, name), most = (uint32_t)(len > 2 ? len + 1 : len) / 2;
  if (most > 3)
    most = 3;
  if (d > most || (n->best && d > n->distance))
    return;
  if (n->best && d == n->distance && begins(n->word, name) <= begins(n->word, n->best))
    return;
  n->best = name;
  n->distance = d;
}

const char *llmd__lua_near_text(const llmd__lua_near *n, char buf[80])
{
  static const char before[] = ": did you mean ";
  size_t len;
  buf[0] = 0;
  len = n->best ? strlen(n->best) : 0;
  if (!len || len + sizeof before + 1 > 80)
    return buf;
  memcpy(buf, before, sizeof before - 1);
  memcpy(buf + sizeof before - 1, n->best, len);
  memcpy(buf + sizeof before - 1 + len, "?", 2);
  return buf;
}
