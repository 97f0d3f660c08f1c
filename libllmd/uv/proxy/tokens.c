/* Token ids for a decision that wants them: the agent is asked, the request waits, and is decided again with what came.
 * Nobody waits longer than tokens.wait; nobody waits while there is no agent. */
#include <string.h>

#include "base/alloc.h"
#include "uv/proxy/inner.h"

/* ---- what came --------------------------------------------------------------------------------------------------- */

static size_t size_of(size_t n, const llmd_feature *f, size_t nf)
{
  size_t bytes = nf * sizeof *f + n * sizeof(uint32_t);
  for (size_t i = 0; i < nf; i++)
    bytes += f[i].hash.len;
  return bytes;
}

/* One block: features, ids, names; as long as the work is. */
static int keep(llmd__exchange *x, const uint32_t *ids, size_t n, const llmd_feature *f, size_t nf)
{
  llmd__work *w = x->work;
  size_t bytes = size_of(n, f, nf);
  llmd_feature *feature = llmd__realloc(&x->proxy->alloc, w->tokens, w->tokens_len, bytes);
  uint32_t *id;
  char *name;
  int rc;
  if (!feature)
    return LLMD_E_NOMEM;
  w->tokens = feature;
  w->tokens_len = bytes;
  id = (uint32_t *)(void *)(feature + nf);
  name = (char *)(id + n);
  memcpy(id, ids, n * sizeof *id);
  for (size_t i = 0; i < nf; i++) {
    feature[i] = f[i];
    feature[i].hash.ptr = name;
    if (f[i].hash.len)
      memcpy(name, f[i].hash.ptr, f[i].hash.len);
    name += f[i].hash.len;
  }
  rc = llmd_request_set_tokens(w->request, id, n);
  return rc || !nf ? rc : llmd_request_set_features(w->request, feature, nf);
}

static void on_tokens(void *ud, int rc, const uint32_t *ids, size_t n, const llmd_feature *features, size_t nf)
{
  llmd__exchange *x = ud;
  x->question = 0;
  if (!rc && n)
    rc = keep(x, ids, n, features, nf);
  if (rc || !n)
    (void)llmd_request_no_tokens(x->work->request);
  llmd__counts_tokens(x->proxy, rc);
  llmd__exchange_decide(x);
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

/* The body as an engine is to get it, in one piece of *len bytes. NULL: no memory, or it cannot be sent on. */
static char *join_body(const llmd__exchange *x, size_t *len)
{
  llmd_str piece[LLMD__LEG_PIECES];
  uint32_t n = 0;
  uint64_t bytes = 0;
  char *text, *to;
  if (llmd__route_body(x, piece, &n, &bytes))
    return NULL;
  text = to = llmd__realloc(&x->proxy->alloc, NULL, 0, (size_t)bytes + 1);
  for (uint32_t i = 0; i < n && text; i++) {
    memcpy(to, piece[i].ptr, piece[i].len);
    to += piece[i].len;
  }
  *len = (size_t)bytes;
  return text;
}

int llmd__proxy_ask_tokens(llmd__exchange *x)
{
  llmd_proxy *p = x->proxy;
  llmd_request_info info = {.size = sizeof info};
  uint32_t wait = p->service->tokens.wait_ms;
  size_t len = 0;
  char *body;
  int rc;
  if (!p->tokens || !wait || x->asked_tokens)
    return 0;
  x->asked_tokens = 1;
  body = llmd_request_get(x->work->request, &info) ? NULL : join_body(x, &len);
  rc = body ? llmd_token_client_ask(p->tokens, info.path.ptr, info.path.len, body, len, wait, on_tokens, x, &x->question)
            : LLMD_E_NOMEM;
  if (body)
    llmd__free(&p->alloc, body, len + 1);
  if (rc)
    llmd__counts_tokens(p, rc);
  return !rc;
}

void llmd__proxy_forget_tokens(llmd__exchange *x)
{
  if (x->question)
    llmd_token_client_cancel(x->proxy->tokens, x->question);
  x->question = 0;
}

/* ---- whom to ask ------------------------------------------------------------------------------------------------- */

/* Those who wait for an answer of the former one go on without. */
static void let_go(llmd_proxy *p, llmd_token_client *former)
{
  for (llmd__exchange *x = p->oldest, *next; x; x = next) {
    next = x->next;
    if (!x->question)
      continue;
    x->question = 0;
    (void)llmd_request_no_tokens(x->work->request);
    llmd__exchange_decide(x);
  }
  llmd_token_client_close(former, NULL, NULL);
}

int llmd__proxy_open_tokens(llmd_proxy *p, const llmd_service *s)
{
  llmd_token_client *former = p->tokens;
  int rc = 0;
  if (former && !strcmp(p->service->tokens.socket, s->tokens.socket))
    return 0;
  p->tokens = NULL;
  if (s->tokens.socket[0])
    rc = llmd_token_client_open(p->loop, s->tokens.socket, &p->tokens);
  if (former)
    let_go(p, former);
  return rc;
}
