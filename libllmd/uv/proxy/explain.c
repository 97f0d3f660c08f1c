/* The why of a few decisions a second, for /explain. */
#include "uv/proxy/inner.h"
#include "uv/proxy/text.h"
#include "uv/share/share.h"
#include "uv/stats/explain.h"

static int put(void *ud, const char *ptr, size_t len)
{
  llmd__text *t = ud;
  llmd__text_put(t, ptr, len);
  return t->full;
}

void llmd__proxy_explain(llmd_proxy *p, const llmd__exchange *x, const llmd_now *now)
{
  llmd__text t = {p->text, 0, LLMD__EXPLAIN_MOST, 0};
  llmd_str id = {x->id, x->id_len};
  size_t bytes;
  void *area;
  if (!p->explain_left || !p->share)
    return;
  p->explain_left--;
  area = llmd__share_area(p->share, LLMD__AREA_EXPLAIN, &bytes);
  llmd__text_add(&t, "{\"request_id\":");
  llmd__text_json(&t, id);
  llmd__text_add(&t, ",\"explain\":");
  if (!area || llmd_explain_json(p->lane, put, &t))
    return;
  llmd__text_put(&t, "}", 1);
  if (!t.full)
    (void)llmd__explain_put(area, bytes, now->wall, t.at, t.len);
}
