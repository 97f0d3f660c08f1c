/* What the endpoints' engines hold of the request's prompt, told to the pool's exact index as their events would. */
#include "situation_inner.h"

#define BLOCK 16u
#define MOST 64u

/* Blocks of the prompt that anybody has, known to engine i as `name`. */
typedef struct telling {
  const situation *s;
  llmd_index *index;
  llmd_key key[MOST];
  uint32_t n;
} telling;

static int tier_of(const char *name)
{
  static const char *const names[] = {"gpu", "cpu", "disk", "remote"};
  for (int i = 0; i < 4; i++)
    if (!strcmp(names[i], name))
      return i;
  return LLMD_E_RANGE;
}

static int read_ids(const cJSON *list, uint32_t *ids)
{
  const cJSON *v;
  int n = 0;
  cJSON_ArrayForEach(v, list) {
    if (n == BLOCK * MOST)
      return LLMD_E_LIMIT;
    ids[n++] = (uint32_t)v->valuedouble;
  }
  return n;
}

static int make_keys(telling *t, const cJSON *list)
{
  const uint8_t *secret = llmd_index_secret(t->index);
  llmd_chain_root root = {.size = sizeof root, .block_tokens = BLOCK};
  uint32_t ids[BLOCK * MOST];
  llmd_chain chain;
  int n = read_ids(list, ids), rc = llmd_chain_begin(&chain, secret, &root);
  if (n < 0 || rc)
    return n < 0 ? n : rc;
  rc = llmd_chain_extend(&chain, secret, ids, (size_t)n, NULL, 0, t->key, MOST);
  t->n = rc > 0 ? (uint32_t)rc : 0;
  return rc;
}

/* The block before block k, wherever it is. */
static int find_parent(const telling *t, uint32_t k, llmd_block *out)
{
  for (uint32_t i = 0; i < t->s->n; i++)
    if (!llmd_index_find(t->index, t->s->id[i], k, out))
      return 0;
  return LLMD_E_NONE;
}

/* Names are places in the prompt, from 1. */
static int tell_block(const telling *t, uint32_t i, uint32_t k, const cJSON *tiers)
{
  const cJSON *v;
  cJSON_ArrayForEach(v, tiers) {
    llmd_block parent;
    uint64_t name = k + 1;
    int tier = tier_of(v->valuestring), rc = k ? find_parent(t, k, &parent) : 0;
    if (!rc && tier >= 0)
      rc = llmd_index_store(t->index, t->s->id[i], (uint32_t)tier, k ? &parent : NULL, &t->key[k], &name, 1, NULL);
    if (rc < 0 || tier < 0)
      return rc < 0 ? rc : tier;
  }
  return 0;
}

/* Block by block, so that whoever lacks the blocks before one finds them at somebody else. */
static int tell_all(const telling *t, const cJSON *endpoints)
{
  for (uint32_t k = 0; k < t->n; k++) {
    uint32_t i = 0;
    const cJSON *e;
    cJSON_ArrayForEach(e, endpoints) {
      int rc = tell_block(t, i++, k, cJSON_GetArrayItem(item(e, "holds"), (int)k));
      if (rc)
        return rc;
    }
  }
  return 0;
}

int situation_tell_index(const situation *s)
{
  const cJSON *endpoints = item(s->json, "endpoints"), *ids = item(item(s->json, "request"), "ids");
  telling t = {.s = s};
  int rc;
  if (!ids)
    return 0;
  rc = llmd_pool_index(s->pool, &t.index);
  if (!rc)
    rc = make_keys(&t, ids);
  for (uint32_t i = 0; i < s->n && rc >= 0; i++) {
    llmd_index_row row = {.size = sizeof row, .flags = LLMD_INDEX_FED, .block_tokens = BLOCK};
    rc = llmd_index_describe(t.index, s->id[i], &row);
  }
  return rc < 0 ? rc : tell_all(&t, endpoints);
}
