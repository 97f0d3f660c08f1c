/* What the client's response gets: headers that plugins give for the endpoint that served. */
#include <string.h>

#include "model/ledger.h"
#include "sched/decision.h"

#define PER_PLUGIN 4u

static llmd_span put(llmd_response *r, const llmd_str *s)
{
  llmd_span span = {r->text_len, (uint32_t)s->len};
  memcpy(r->text + r->text_len, s->ptr, s->len);
  r->text_len += (uint32_t)s->len;
  return span;
}

static void add(llmd_response *r, const llmd_pair *h)
{
  if (r->n_headers == LLMD_MAX_HEADERS || !h->key.len || h->key.len > sizeof r->text ||
      h->value.len > sizeof r->text || h->key.len + h->value.len > sizeof r->text - r->text_len)
    return;
  r->header[r->n_headers].name = put(r, &h->key);
  r->header[r->n_headers++].value = put(r, &h->value);
}

static void ask_plugins(const llmd_lane *l, const llmd_identity *who, llmd_response *r)
{
  char buf[1024];
  llmd_pair h[PER_PLUGIN];
  for (uint32_t i = 0; i < l->s->config->n_instances; i++) {
    const llmd__instance *in = &l->s->config->instance[i];
    int n = in->plugin->respond ? in->plugin->respond(in->self.self, who, buf, h, PER_PLUGIN) : 0;
    for (int k = 0; k < n && k < (int)PER_PLUGIN; k++)
      add(r, &h[k]);
  }
}

static int answer(llmd_lane *l, llmd_endpoint_id served, llmd_response *r)
{
  uint32_t slot = llmd__slot_of(served), row;
  llmd_pair labels[64];
  llmd_identity who;
  row = slot < l->cap ? l->snap.view.row_of[slot] : LLMD__NO_ROW;
  if (row >= l->snap.n || l->snap.view.row[row].id != served)
    return LLMD_E_STALE;
  llmd__identity(l, row, labels, &who);
  ask_plugins(l, &who, r);
  return 0;
}

int llmd_respond(llmd_lane *lane, llmd_ticket ticket, llmd_endpoint_id served, const llmd_now *now, llmd_response *out)
{
  int rc;
  if (!lane || !now || !out || out->size < sizeof *out)
    return LLMD_E_INVALID;
  out->n_headers = out->text_len = 0;
  lane->now = now;
  if (!served)
    served = llmd__ledger_endpoint(lane->pool->g, ticket);
  if (!served)
    return LLMD_E_STALE;
  if (!llmd__ledger_renew(lane->pool->g, ticket, lane->charger.owner, now->mono + lane->pool->lease_ns))
    llmd__report_plugins(lane, ticket, LLMD_REPORT_RESPONSE_HEADERS, NULL);
  if (llmd__pool_pin(lane->pool, lane->slot, &lane->snap))
    return LLMD_E_STALE;
  lane->decision++; /* the snapshot changed: nothing kept from the last decision is to be read with it */
  rc = answer(lane, served, out);
  llmd__pool_unpin(lane->pool, lane->slot);
  return rc;
}
