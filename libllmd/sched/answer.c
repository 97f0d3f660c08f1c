/* What a decision says: targets, peers, headers, or the refusal and its reason. Everything is copied into it. */
#include <string.h>

#include "sched/decision.h"

/* ---- results ---------------------------------------------------------------------------------------------------- */

/* Of a decision's text: kept free of names and addresses, for headers; and of these, for the destination's. */
#define HEADER_ROOM 1536u
#define DESTINATION_ROOM 320u

static size_t text_left(const llmd_decision *d, size_t keep)
{
  size_t left = sizeof d->text - d->text_len;
  return left > keep ? left - keep : 0;
}

static llmd_span put_text(llmd_decision *d, const char *ptr, size_t len)
{
  llmd_span s = {d->text_len, (uint32_t)len};
  if (len > sizeof d->text - d->text_len)
    s.len = 0;
  memcpy(d->text + d->text_len, ptr, s.len);
  d->text_len += s.len;
  return s;
}

/* A refusal tells its reason in the reference's header. */
static void put_reason(llmd_decision *d)
{
  const char *text = llmd_reason_text(d->reason);
  if (!*text)
    return;
  d->header[0].name = put_text(d, "x-llm-d-request-dropped-reason", 30);
  d->header[0].value = put_text(d, text, strlen(text));
  d->n_headers = 1;
}

void llmd__answer_reject(llmd_decision *d, uint32_t reason)
{
  static const uint16_t code[] = {200, 503, 429, 429, 429, 400, 412, 500};
  d->status = LLMD_REJECTED;
  d->reason = reason;
  d->code = code[reason];
  d->primary = LLMD_NO_INDEX;
  d->n_targets = 0;
  d->n_headers = 0;
  put_reason(d);
}

static void put_target(llmd_lane *l, llmd_decision *d, uint32_t profile, uint32_t row, double score)
{
  const llmd__row *r = &l->snap.view.row[row];
  llmd_str address = llmd__lane_text(l, r->address);
  llmd_target *t = &d->target[d->n_targets];
  if (d->n_targets == LLMD_MAX_TARGETS || address.len > text_left(d, HEADER_ROOM))
    return;
  memset(t, 0, sizeof *t);
  t->id = r->id;
  t->profile = profile;
  t->port = r->port;
  t->rank = r->rank;
  t->score = score;
  t->address = put_text(d, address.ptr, address.len);
  d->n_targets++;
}

static void put_profile(llmd_lane *l, llmd_decision *d, uint32_t p)
{
  const llmd__result *r = &l->result[p];
  d->profile[p].first = d->n_targets;
  for (uint32_t i = 0; i < r->n; i++)
    put_target(l, d, p, r->row[i], r->total[i]);
  d->profile[p].n = d->n_targets - d->profile[p].first;
}

void llmd__answer_profiles(llmd_lane *l, llmd_decision *d, uint32_t primary)
{
  d->n_profiles = l->s->config->n_profiles;
  for (uint32_t p = 0; p < d->n_profiles; p++) {
    memset(&d->profile[p], 0, sizeof d->profile[p]);
    d->profile[p].name = put_text(d, l->profile_name[p].ptr, l->profile_name[p].len);
    d->profile[p].state = l->result[p].state;
  }
  if (primary < d->n_profiles)
    put_profile(l, d, primary);
  for (uint32_t p = 0; p < d->n_profiles; p++)
    if (p != primary)
      put_profile(l, d, p);
}

/* "address:port", brackets around IPv6. Returns its length; 0 when it does not fit. */
static size_t host_port(const llmd_decision *d, const llmd_target *t, char *buf, size_t cap)
{
  const char *address = d->text + t->address.off;
  int six = memchr(address, ':', t->address.len) != NULL;
  char digits[10];
  uint32_t port = t->port;
  size_t n = 0, k = sizeof digits;
  do
    digits[--k] = (char)('0' + port % 10);
  while (port /= 10);
  if (t->address.len + (sizeof digits - k) + 3 > cap)
    return 0;
  if (six)
    buf[n++] = '[';
  memcpy(buf + n, address, t->address.len);
  n += t->address.len;
  if (six)
    buf[n++] = ']';
  buf[n++] = ':';
  memcpy(buf + n, digits + k, sizeof digits - k);
  return n + sizeof digits - k;
}

/* The picks as a list, of which the end is cut when it does not fit. */
static size_t list_picks(const llmd_decision *d, const llmd_header_rule *rule, char *buf, size_t cap)
{
  const llmd_profile_pick *p = &d->profile[rule->profile];
  uint32_t n = rule->what == LLMD_HEADER_ALL ? p->n : p->n ? 1 : 0;
  size_t len = 0;
  for (uint32_t i = 0; i < n; i++) {
    size_t at = len + (i > 0), more = at < cap ? host_port(d, &d->target[p->first + i], buf + at, cap - at) : 0;
    if (!more)
      break;
    if (i)
      buf[len] = ',';
    len = at + more;
  }
  return len;
}

static void put_header(llmd_decision *d, const llmd_header_rule *rule, size_t keep)
{
  char buf[1024];
  size_t name = strlen(rule->name), room = text_left(d, keep + name), len;
  llmd_header *h = &d->header[d->n_headers];
  len = list_picks(d, rule, buf, room < sizeof buf ? room : sizeof buf);
  if (!len || d->n_headers == LLMD_MAX_HEADERS)
    return;
  h->name = put_text(d, rule->name, name);
  h->value = put_text(d, buf, len);
  d->n_headers++;
}

/* The header every reference deployment routes by: destination, then fallbacks. */
static void put_destination(llmd_decision *d)
{
  llmd_header_rule rule = {"x-gateway-destination-endpoint", d->primary, LLMD_HEADER_ALL};
  put_header(d, &rule, 0);
}

static int has_header(const llmd_outcome *o, const char *name)
{
  for (uint32_t i = 0; i < o->n_headers && i < 8; i++)
    if (!strcmp(o->header[i].name, name))
      return 1;
  return 0;
}

/* 0 decode only, 1 prefill and decode, 2 encode and decode, 3 all three: by the headers that tell the engines. */
static uint32_t disagg_type(const llmd_outcome *o)
{
  return (has_header(o, "x-prefiller-host-port") ? 1u : 0u) + (has_header(o, "x-encoder-hosts-ports") ? 2u : 0u);
}

void llmd__answer_routed(llmd_lane *l, llmd_decision *d, const llmd_outcome *o)
{
  d->status = LLMD_ROUTED;
  d->code = 200;
  d->primary = o->primary;
  llmd__answer_profiles(l, d, o->primary);
  for (uint32_t i = 0; i < o->n_headers && i < 8; i++)
    if (o->header[i].profile < d->n_profiles)
      put_header(d, &o->header[i], DESTINATION_ROOM);
  for (uint32_t i = 0; o->port && i < d->profile[o->primary].n; i++)
    d->target[d->profile[o->primary].first + i].port = o->port;
  put_destination(d);
  if (d->n_profiles > 1)
    llmd__count(l, LLMD__COUNT_DISAGG + disagg_type(o), 1);
}
