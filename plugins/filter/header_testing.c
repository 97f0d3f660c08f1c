/* header-based-testing-filter: for tests, the request itself says where it may go. The header
 * test-epp-endpoint-selection lists "address" or "address:port", separated by commas ("[::1]:8000" for IPv6); kept are
 * these endpoints, in the order of the header, at most one for each address. Where several endpoints share an address,
 * the last one stands for it when no port is named. No header, an empty one, or nothing that fits: nothing is kept.
 * Both modes agree. */
#include <llmd/plugin.h>

#include <math.h>
#include <string.h>

enum { LISTED, TEXT, ADDRESS, PORT };

/* One item of the list. port 0 = none named, -1 = named but no port number. */
typedef struct item {
  llmd_str host;
  int32_t port;
} item;

static int is_space(char c)
{
  return c == ' ' || (c >= '\t' && c <= '\r');
}

static llmd_str trimmed(llmd_str s)
{
  while (s.len && is_space(s.ptr[0])) {
    s.ptr++;
    s.len--;
  }
  while (s.len && is_space(s.ptr[s.len - 1]))
    s.len--;
  return s;
}

static llmd_str without_brackets(llmd_str s)
{
  while (s.len && (s.ptr[0] == '[' || s.ptr[0] == ']')) {
    s.ptr++;
    s.len--;
  }
  while (s.len && (s.ptr[s.len - 1] == '[' || s.ptr[s.len - 1] == ']'))
    s.len--;
  return s;
}

static int32_t port_number(const char *p, size_t len)
{
  int32_t port = 0;
  size_t i;
  if (len == 0)
    return 0;
  if (len > 5 || p[0] == '0')
    return -1;
  for (i = 0; i < len; i++) {
    if (p[i] < '0' || p[i] > '9')
      return -1;
    port = port * 10 + (p[i] - '0');
  }
  return port;
}

/* A port is named when the text ends in ":..." and is either "[...]:..." or has no other colon. */
static item parse(llmd_str text)
{
  const char *colon = NULL;
  item it;
  size_t i, colons = 0;
  for (i = 0; i < text.len; i++)
    if (text.ptr[i] == ':') {
      colon = text.ptr + i;
      colons++;
    }
  it.host = text;
  it.port = 0;
  if (colon && (colons == 1 || (text.ptr[0] == '[' && colon[-1] == ']'))) {
    it.host.len = (size_t)(colon - text.ptr);
    it.port = port_number(colon + 1, text.len - it.host.len - 1);
  }
  it.host = without_brackets(it.host);
  return it;
}

/* Takes the next item that is not empty off the list. 0 = no more. */
static int next(llmd_str *list, item *out)
{
  while (list->len) {
    const char *comma = memchr(list->ptr, ',', list->len);
    llmd_str text = *list;
    text.len = comma ? (size_t)(comma - list->ptr) : list->len;
    list->ptr += text.len + (comma != NULL);
    list->len -= text.len + (comma != NULL);
    text = trimmed(text);
    if (text.len) {
      *out = parse(text);
      return 1;
    }
  }
  return 0;
}

static int split(const void *self, uint32_t read, const llmd_str *value, char *buf, llmd_str *out, uint32_t cap)
{
  llmd_str list = *value;
  uint32_t n = 0;
  item it;
  (void)self;
  (void)read;
  (void)buf;
  while (n < cap && next(&list, &it))
    out[n++] = it.host;
  return (int)n;
}

static double derive(const void *self, uint32_t read, const llmd_identity *who)
{
  (void)self;
  (void)read;
  return who->port;
}

/* The endpoint that the item means, b->n = none. */
static uint32_t find(const llmd_batch *b, uint32_t address, int32_t port)
{
  uint32_t i;
  for (i = b->n; address && i-- > 0;)
    if (b->id[ADDRESS][i] == address && (port == 0 || b->f64[PORT][i] == port))
      return i;
  return b->n;
}

static int has_address(const llmd_batch *b, const uint32_t *order, uint32_t n, uint32_t address)
{
  uint32_t i;
  for (i = 0; i < n; i++)
    if (b->id[ADDRESS][order[i]] == address)
      return 1;
  return 0;
}

static int filter(const void *self, const llmd_batch *b, uint8_t *keep, uint32_t *order)
{
  const llmd_read_value *listed = &b->value[LISTED];
  llmd_str list = b->value[TEXT].str;
  uint32_t k, kept = 0;
  item it;
  (void)self;
  memset(keep, 0, b->n);
  for (k = 0; k < listed->n_ids && next(&list, &it); k++) {
    uint32_t at = find(b, listed->ids[k], it.port);
    if (at == b->n || has_address(b, order, kept, listed->ids[k]))
      continue;
    keep[at] = 1;
    order[kept++] = at;
  }
  return (int)kept;
}

static const llmd_read reads[] = {
  [LISTED] = {.kind = LLMD_READ_HEADER_IDS, .name = "test-epp-endpoint-selection"},
  [TEXT] = {.kind = LLMD_READ_HEADER, .name = "test-epp-endpoint-selection"},
  [ADDRESS] = {.kind = LLMD_READ_ADDRESS},
  [PORT] = {.kind = LLMD_READ_DERIVED, .name = "port", .if_unknown = NAN, .if_unknown_strict = NAN},
  {0}};

const llmd_plugin llmd__header_based_testing_filter = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "header-based-testing-filter", .summary = "keeps the endpoints that a request header lists, for tests",
  .kind = LLMD_FILTER, .stability = LLMD_BETA, .self_size = 1, .reads = reads,
  .derive = derive, .split = split, .filter = filter};
LLMD_MODULE(&llmd__header_based_testing_filter);
