/* Reading /kv_event_sources. */
#include "uv/events/where.h"

#include <stdio.h>
#include <string.h>

#include <uv.h>

#include "base/tree.h"

#define MOST_BYTES (256u << 10)
#define MOST_NODES 65536u

static int contains(llmd_str text, const char *what)
{
  const size_t n = strlen(what);
  for (size_t i = 0; i + n <= text.len; i++)
    if (!memcmp(text.ptr + i, what, n))
      return 1;
  return 0;
}

static int begins(llmd_str text, const char *what)
{
  return text.len >= strlen(what) && !memcmp(text.ptr, what, strlen(what));
}

/* Of "tcp://host:port"; 0 = none. */
static uint32_t port_of(llmd_str address)
{
  uint32_t port = 0;
  size_t at = address.len;
  if (!begins(address, "tcp://"))
    return 0;
  while (at && address.ptr[at - 1] != ':')
    at--;
  if (at < strlen("tcp://") || at == address.len)
    return 0;
  for (; at < address.len; at++) {
    if (address.ptr[at] < '0' || address.ptr[at] > '9' || port > 65535)
      return 0;
    port = port * 10 + (uint32_t)(address.ptr[at] - '0');
  }
  return port <= 65535 ? port : 0;
}

/* The publisher's own rule: these it binds to, everything else it connects to. */
static int is_bound(llmd_str address)
{
  return contains(address, "*") || contains(address, "::");
}

static int read_entry(const llmd__node *entry, llmd__where *w)
{
  llmd_str live = {"", 0}, replay = {"", 0}, topic = {"", 0}, publisher = {"zmq", 3};
  uint8_t enabled = 1;
  if (entry->kind != LLMD__MAP || llmd__get_str(entry, "endpoint", &live, NULL) < 0 ||
      llmd__get_str(entry, "replay_endpoint", &replay, NULL) < 0 || llmd__get_str(entry, "topic", &topic, NULL) < 0 ||
      llmd__get_str(entry, "publisher", &publisher, NULL) < 0 ||
      llmd__get_bool(entry, "enable_kv_cache_events", &enabled, NULL) < 0 || topic.len >= sizeof w->topic)
    return LLMD_E_TYPE;
  memset(w, 0, sizeof *w);
  w->told = 1;
  w->port = port_of(live);
  w->replay_port = port_of(replay);
  w->topic_len = (uint32_t)topic.len;
  if (topic.len)
    memcpy(w->topic, topic.ptr, topic.len);
  if (!enabled || !w->port || publisher.len != 3 || memcmp(publisher.ptr, "zmq", 3))
    w->kind = LLMD__WHERE_SILENT;
  else
    w->kind = is_bound(live) ? LLMD__WHERE_LISTENS : LLMD__WHERE_SPEAKS;
  return 0;
}

/* Each rank has an entry. One that is alone in its table is the only one there, whatever number it has elsewhere. */
static const llmd__node *find_rank(const llmd__node *root, uint32_t rank)
{
  char key[16];
  const llmd__node *found;
  snprintf(key, sizeof key, "%u", rank);
  found = llmd__map_get(root, key);
  return found || root->count != 1 ? found : root->first;
}

/* Engines add the rank to a configured port. An answer that has not done so yet has rank 0's port for all. */
static void add_rank(const llmd__node *root, uint32_t rank, llmd__where *w)
{
  const llmd__node *zero = rank ? llmd__map_get(root, "0") : NULL;
  llmd__where first;
  if (!zero || root->count < 2 || read_entry(zero, &first) || w->kind != LLMD__WHERE_LISTENS || first.port != w->port)
    return;
  w->port += rank;
  if (w->replay_port && w->replay_port == first.replay_port)
    w->replay_port += rank;
}

static int read_root(const llmd__node *root, uint32_t rank, llmd__where *out)
{
  const llmd__node *entry;
  llmd__where w;
  int rc;
  if (root->kind != LLMD__MAP)
    return LLMD_E_TYPE;
  entry = find_rank(root, rank);
  if (!entry)
    return LLMD_E_NONE;
  rc = read_entry(entry, &w);
  if (rc)
    return rc;
  add_rank(root, rank, &w);
  if (w.port > 65535 || w.replay_port > 65535)
    return LLMD_E_RANGE;
  *out = w;
  return 0;
}

int llmd__where_read(const char *json, size_t len, uint32_t rank, llmd__where *out)
{
  const llmd__tree_limits limits = {MOST_BYTES, MOST_NODES, 8};
  llmd__tree *tree;
  int rc = llmd__tree_parse(NULL, json, len, &limits, &tree, NULL);
  if (rc)
    return rc;
  rc = read_root(llmd__tree_root(tree), rank, out);
  llmd__tree_free(tree);
  return rc;
}

int llmd__where_spell(const char *host, uint32_t port, char out[LLMD__ADDRESS_ROOM])
{
  unsigned char bytes[16];
  if (strlen(host) > 45 || !port || port > 65535)
    return LLMD_E_INVALID;
  if (!uv_inet_pton(AF_INET, host, bytes))
    snprintf(out, LLMD__ADDRESS_ROOM, "tcp://%s:%u", host, port);
  else if (!uv_inet_pton(AF_INET6, host, bytes))
    snprintf(out, LLMD__ADDRESS_ROOM, "tcp://[%s]:%u", host, port);
  else
    return LLMD_E_INVALID;
  return 0;
}
