/* The region's cache of tokens (model/token_cache.h): found or made, filled by the writer; and the names that prompts
 * have in it. */
#include <string.h>

#include "model/token_cache.h"
#include "prefix/block.h"
#include "sched/state.h"

#define NAME "tokens/cache"
#define VERSION 1u

int llmd__pool_tokens(llmd_pool *p, uint64_t *off, uint64_t *bytes)
{
  int rc = llmd__region_state(p->g, p->owner, NAME, LLMD__STATE_TOKENS, p->g->caps.token_bytes, llmd__token_cache_init,
                              NULL, off, bytes);
  return rc == LLMD_E_RANGE ? LLMD_E_FULL : rc; /* room that holds no cache is none */
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static void add(void *ud, const char *ptr, size_t len)
{
  llmd__xxh_add(ud, ptr, len);
}

void llmd__pool_token_key(const llmd_pool *p, const llmd_request *r, uint32_t dialect, llmd_str model, llmd_key *out)
{
  const uint64_t head[3] = {VERSION, dialect, model.len};
  llmd__xxh x;
  llmd__xxh_begin_keyed(&x, p->g->secret);
  llmd__xxh_add(&x, head, sizeof head);
  llmd__xxh_add(&x, model.ptr, model.len);
  llmd__request_rendered(r, add, &x);
  llmd__xxh_end(&x, out);
}

int llmd_pool_token_key(const llmd_pool *pool, const llmd_request *r, llmd_key *out)
{
  llmd_request_info info = {.size = sizeof info};
  llmd_str model = {NULL, 0};
  if (!pool || !r || !out)
    return LLMD_E_INVALID;
  llmd_request_get(r, &info);
  if (!(info.flags & LLMD_REQUEST_FINAL) || (info.flags & LLMD_REQUEST_TRUNCATED) || info.error)
    return LLMD_E_STATE;
  if (!llmd__tokens_are_rendered(&info))
    return LLMD_E_NONE;
  llmd__request_model(r, &model);
  llmd__pool_token_key(pool, r, info.dialect, model, out);
  return 0;
}

/* ---- filing ------------------------------------------------------------------------------------------------------ */

int llmd_pool_tokens_put(llmd_pool *pool, const llmd_key *key, const uint32_t *ids, size_t n,
                         const llmd_feature *features, size_t n_features)
{
  int rc = 0;
  if (!pool || !key || (!ids && n) || !llmd__features_sound(features, n_features))
    return LLMD_E_INVALID;
  if (!pool->writer)
    return LLMD_E_DENIED;
  if (!pool->tokens_off)
    rc = llmd__pool_tokens(pool, &pool->tokens_off, &pool->tokens_bytes);
  if (rc)
    return rc;
  return llmd__token_cache_put(llmd__at(pool->g, pool->tokens_off), (size_t)pool->tokens_bytes, key, ids, n, features,
                               n_features);
}
