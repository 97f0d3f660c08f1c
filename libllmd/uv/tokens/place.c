#include "uv/tokens/place.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define LOOK_MS 100u
#define BAD_MS 1000u
#define SILENT_MS 1000u
#define WAY_MS 60000u
#define MOST_BUSY 64u /* of one place */

/* ---- the renderer that the service names ------------------------------------------------------------------------- */

static int is_numeric(const char *text)
{
  unsigned char raw[16];
  return inet_pton(AF_INET, text, raw) == 1 || inet_pton(AF_INET6, text, raw) == 1;
}

static uint32_t port_of(const char *text, const char **end)
{
  uint32_t v = 0;
  for (; *text >= '0' && *text <= '9' && v <= 65535; text++)
    v = v * 10 + (uint32_t)(*text - '0');
  *end = text;
  return v <= 65535 ? v : 0;
}

static int copy_host(llmd__place *place, const char *from, const char *to)
{
  size_t n = (size_t)(to - from);
  if (n == 9 && !memcmp(from, "localhost", 9)) {
    memcpy(place->address, "127.0.0.1", 10);
    return 0;
  }
  if (n >= sizeof place->address)
    return LLMD_E_INVALID;
  memcpy(place->address, from, n);
  place->address[n] = 0;
  return is_numeric(place->address) ? 0 : LLMD_E_INVALID;
}

static int read_url(llmd__places *p, llmd__place *place, const char *url)
{
  const char *host, *end;
  size_t base;
  if (strncmp(url, "http://", 7))
    return LLMD_E_UNSUPPORTED;
  host = url + 7;
  end = host + strcspn(host, "/");
  if (*host == '[') {
    const char *close = memchr(host, ']', (size_t)(end - host));
    if (!close || copy_host(place, host + 1, close))
      return LLMD_E_INVALID;
    host = close + 1;
  } else {
    size_t n = strcspn(host, ":/");
    if (copy_host(place, host, host + n))
      return LLMD_E_INVALID;
    host += n;
  }
  place->port = *host == ':' ? port_of(host + 1, &host) : 80;
  base = strlen(end);
  while (base && end[base - 1] == '/')
    base--;
  if (host != end || !place->port || base >= sizeof p->base)
    return LLMD_E_INVALID;
  memcpy(p->base, end, base);
  p->base[base] = 0;
  return 0;
}

/* ---- the list ---------------------------------------------------------------------------------------------------- */

static llmd__place *add(llmd__places *p)
{
  llmd__place *place;
  if (p->n == p->room) {
    uint32_t room = p->room ? 2 * p->room : 16;
    llmd__place **at = realloc(p->at, room * sizeof *at);
    if (!at)
      return NULL;
    p->at = at;
    p->room = room;
  }
  place = calloc(1, sizeof *place);
  if (place)
    p->at[p->n++] = place;
  return place;
}

int llmd__places_open(llmd__places *p, const llmd_pool *pool, const char *url, llmd_err *err)
{
  llmd__place *place;
  int rc;
  memset(p, 0, sizeof *p);
  p->pool = pool;
  if (!url[0])
    return 0;
  p->named = 1;
  place = add(p);
  rc = place ? read_url(p, place, url) : LLMD_E_NOMEM;
  if (!rc)
    return 0;
  llmd__places_close(p);
  return llmd__fail(err, rc, 0, 0, "tokens.url", "%s: not http://ADDRESS:PORT[/PATH] with a numeric address", url);
}

static void leave(llmd__place *place)
{
  if (place->busy)
    place->gone = 1;
  else
    free(place);
}

void llmd__places_close(llmd__places *p)
{
  for (uint32_t i = 0; i < p->n; i++)
    leave(p->at[i]);
  free(p->at);
  memset(p, 0, sizeof *p);
}

static llmd__place *find(llmd__places *p, llmd_endpoint_id id)
{
  for (uint32_t i = 0; i < p->n; i++)
    if (p->at[i]->id == id)
      return p->at[i];
  return NULL;
}

/* Rows keep their places from one look to the next, so that finding is cheap while nothing changes. */
typedef struct looking {
  llmd__places *places;
  uint32_t row;
} looking;

static int see(void *ud, llmd_endpoint_id id, const llmd_endpoint *e)
{
  looking *l = ud;
  llmd__places *p = l->places;
  llmd__place *place = l->row < p->n && p->at[l->row]->id == id ? p->at[l->row] : find(p, id);
  l->row++;
  if (!place) {
    place = add(p);
    if (!place)
      return 0; /* next time */
    place->id = id;
    place->port = e->port;
    if (e->address.len < sizeof place->address)
      memcpy(place->address, e->address.ptr, e->address.len);
    if (!is_numeric(place->address))
      place->address[0] = 0;
  }
  place->round = p->round;
  return 0;
}

static void look(llmd__places *p, uint64_t now)
{
  looking l = {p, 0};
  uint32_t n = 0;
  if (p->named || (p->looked && now - p->looked < LOOK_MS))
    return;
  p->looked = now ? now : 1;
  p->round++;
  if (llmd_pool_each(p->pool, see, &l) < 0)
    return; /* nobody was seen, which says nothing */
  for (uint32_t i = 0; i < p->n; i++)
    if (p->at[i]->round == p->round)
      p->at[n++] = p->at[i];
    else
      leave(p->at[i]);
  p->n = n;
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static int is_well(const llmd__places *p, const llmd__place *place)
{
  uint32_t state;
  uint64_t until;
  return !place->id || llmd_pool_health(p->pool, place->id, &state, &until) || state == LLMD_HEALTH_WELL;
}

static int can_be_asked(const llmd__places *p, llmd__place *place, uint32_t door, uint64_t now)
{
  if (place->door[door].way && now >= place->door[door].until)
    place->door[door].way = LLMD__WAY_RENDER;
  return place->address[0] && now >= place->bad_until && place->busy < MOST_BUSY &&
         !(place->busy && now - place->since > SILENT_MS) && place->door[door].way != LLMD__WAY_NONE &&
         is_well(p, place);
}

llmd__place *llmd__places_pick(llmd__places *p, uint32_t door, uint64_t now)
{
  look(p, now);
  for (uint32_t i = 0; i < p->n; i++) {
    llmd__place *place = p->at[(p->turn + i) % p->n];
    if (can_be_asked(p, place, door, now)) {
      p->turn = (p->turn + i + 1) % p->n;
      return place;
    }
  }
  return NULL;
}

void llmd__place_begin(llmd__place *place, uint64_t now)
{
  if (!place->busy++)
    place->since = now;
}

void llmd__place_end(llmd__place *place, uint64_t now)
{
  place->since = now;
  if (!--place->busy && place->gone)
    free(place);
}

void llmd__place_blame(llmd__place *place, uint64_t now)
{
  place->bad_until = now + BAD_MS;
}

void llmd__place_divert(llmd__place *place, uint32_t door, uint32_t way, uint64_t now)
{
  if (place->door[door].way != way)
    return; /* somebody else has found it out */
  place->door[door].way = way + 1;
  place->door[door].until = now + WAY_MS;
}
