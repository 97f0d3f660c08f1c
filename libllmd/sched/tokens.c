/* Real token ids of a prompt that is text: from the region's cache, or from whoever does I/O for the host.
 *
 *    text ── key ──► cache ── there ──► the lane's room ──► chains, as if they had been in the body
 *                      │
 *                      └─ not there ──► NEED_TOKENS ──► set_tokens, no_tokens ──► decided again
 *                                            └── filed by the writer (llmd_pool_tokens_put), for all */
#include <string.h>

#include "model/token_cache.h"
#include "sched/decision.h"
#include "sched/state.h"

int llmd__tokens_are_rendered(const llmd_request_info *i)
{
  int openai = i->dialect == LLMD_DIALECT_OPENAI_CHAT || i->dialect == LLMD_DIALECT_OPENAI_COMPLETIONS;
  uint32_t wrong = LLMD_REQUEST_TRUNCATED | LLMD_REQUEST_NO_BODY | LLMD_REQUEST_TOKEN_IDS;
  return openai && !i->error && !(i->flags & wrong) && i->segments && i->prompts <= 1;
}

void llmd__tokens_look(llmd_lane *l, llmd_decision *d)
{
  llmd__request_sched *st = llmd__request_sched_state(l->req);
  l->need_tokens = 0;
  if (!l->s->wants_tokens || llmd__request_has_ids(l->req) || !llmd__tokens_are_rendered(&l->info))
    return;
  llmd__pool_token_key(l->pool, l->req, l->info.dialect, l->view.model, &st->token_key);
  st->token_keyed = 1;
  if (llmd__tokens_cached(l)) {
    d->tokens = l->view.tokens;
    llmd__count(l, LLMD__COUNT_TOKENS_CACHED, 1);
  } else {
    l->need_tokens = !llmd__request_gave_up_tokens(l->req);
  }
}

/* A prompt that is longer than the lane's room is cut there, as one in a body is. */
int llmd__tokens_cached(llmd_lane *l)
{
  const llmd__request_sched *st = llmd__request_sched_state(l->req);
  llmd__cached_tokens got = {l->tokens, l->s->options.max_tokens, l->feature, l->feature_text, 0, 0};
  if (!l->s->token_off || !st->token_keyed || llmd__request_has_ids(l->req) ||
      !llmd__token_cache_find(llmd__at(l->pool->g, l->s->token_off), (size_t)l->s->token_bytes, &st->token_key, &got))
    return 0;
  l->tokens_kind = LLMD__TOKENS_REAL;
  l->n_prompts = 1;
  l->prompt_end[0] = (uint32_t)(got.n < got.cap ? got.n : got.cap);
  l->cached = 1;
  l->n_features = got.n_features;
  l->view.tokens = (double)got.n;
  l->view.flags |= LLMD_VIEW_REAL_TOKENS;
  return 1;
}

const llmd_feature *llmd__tokens_features(const llmd_lane *l, size_t *n)
{
  if (!l->cached)
    return llmd__request_features(l->req, n);
  *n = l->n_features;
  return l->feature;
}
