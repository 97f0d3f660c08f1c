#include "uv/metrics/target.h"

#include <stdlib.h>
#include <string.h>

typedef struct refresh {
  llmd__targets *list;
  uint32_t row; /* where the next endpoint belongs */
} refresh;

static int text_is(const llmd_str *s, const char *text)
{
  return s->len == strlen(text) && memcmp(s->ptr, text, s->len) == 0;
}

static const llmd_str *label(const llmd_endpoint *e, const char *key)
{
  for (uint32_t i = 0; i < e->n_labels; i++)
    if (text_is(&e->labels[i].key, key))
      return &e->labels[i].value;
  return NULL;
}

/* 0 when it is no port. */
static uint32_t port_of(const llmd_str *text)
{
  uint32_t v = 0;
  for (size_t i = 0; i < text->len; i++) {
    if (text->ptr[i] < '0' || text->ptr[i] > '9' || v > 65535)
      return 0;
    v = v * 10 + (uint32_t)(text->ptr[i] - '0');
  }
  return v <= 65535 ? v : 0;
}

/* FNV-1a: a change is seen, nothing else hangs on it. */
static uint32_t mix(uint32_t h, const char *p, size_t n)
{
  for (size_t i = 0; i < n; i++)
    h = (h ^ (unsigned char)p[i]) * 16777619u;
  return h;
}

typedef struct place {
  llmd_str address;
  uint32_t port, hash;
} place;

static void place_of(const llmd_endpoint *e, place *out)
{
  const llmd_str *address = e->n_labels ? label(e, LLMD__LABEL_METRICS_ADDRESS) : NULL;
  const llmd_str *port = e->n_labels ? label(e, LLMD__LABEL_METRICS_PORT) : NULL;
  out->address = address && address->len ? *address : e->address;
  out->port = port ? port_of(port) : e->port;
  out->hash = mix(2166136261u, out->address.ptr, out->address.len) ^ (out->port * 2654435761u);
}

static void copy(char out[LLMD__TARGET_ADDRESS], const llmd_str *text)
{
  const size_t n = text->len < LLMD__TARGET_ADDRESS ? text->len : 0; /* what does not fit is no address */
  if (n)
    memcpy(out, text->ptr, n);
  out[n] = 0;
}

/* An endpoint's own address never changes while it has its id; where its metrics are may. */
static void move_to(llmd__target *t, const llmd_endpoint *e, const place *p)
{
  copy(t->address, &p->address);
  t->port = p->port;
  t->place = p->hash;
  copy(t->api, &e->address);
  t->api_port = e->port;
}

/* Brings the target to its row, where the next refresh finds it at once. Rows before it are settled. */
static llmd__target *find(llmd__targets *l, llmd_endpoint_id id, uint32_t row)
{
  for (uint32_t i = row; i < l->n; i++) {
    llmd__target *t = l->at[i];
    if (t->id != id)
      continue;
    l->at[i] = l->at[row];
    return l->at[row] = t;
  }
  return NULL;
}

static llmd__target *add(llmd__targets *l, llmd_endpoint_id id, uint32_t row)
{
  llmd__target *t;
  if (l->n == l->room) {
    const uint32_t room = l->room ? 2 * l->room : 64;
    llmd__target **p = realloc(l->at, room * sizeof *p);
    if (!p)
      return NULL;
    l->at = p;
    l->room = room;
  }
  t = calloc(1, sizeof *t);
  if (!t)
    return NULL;
  t->id = id;
  t->owner = l->ud;
  l->at[l->n++] = t;
  return find(l, id, row);
}

static int see(void *ud, llmd_endpoint_id id, const llmd_endpoint *e)
{
  refresh *r = ud;
  llmd__targets *l = r->list;
  llmd__target *t = find(l, id, r->row);
  place p;
  const int is_new = !t;
  place_of(e, &p);
  if (is_new)
    t = add(l, id, r->row);
  if (!t) {
    l->short_of_memory = 1;
    return 0;
  }
  r->row++;
  t->round = l->round;
  if (is_new || t->place != p.hash)
    move_to(t, e, &p);
  if (is_new)
    l->added(l->ud, t);
  return 0;
}

static void drop_unseen(llmd__targets *l)
{
  uint32_t n = 0;
  for (uint32_t i = 0; i < l->n; i++) {
    llmd__target *t = l->at[i];
    if (t->round == l->round) {
      l->at[n++] = t;
      continue;
    }
    l->gone(l->ud, t);
    free(t);
  }
  l->n = n;
}

int llmd__targets_refresh(llmd__targets *l, const llmd_pool *pool)
{
  refresh r = {l, 0};
  int rc;
  l->round++;
  l->short_of_memory = 0;
  rc = llmd_pool_each(pool, see, &r);
  if (rc < 0)
    return rc; /* nobody was seen, which says nothing */
  drop_unseen(l);
  return l->short_of_memory ? LLMD_E_NOMEM : 0;
}

void llmd__targets_clear(llmd__targets *l)
{
  l->round++;
  drop_unseen(l);
  free(l->at);
  l->at = NULL;
  l->room = 0;
}
