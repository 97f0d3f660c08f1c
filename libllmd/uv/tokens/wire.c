#include "uv/tokens/wire.h"

#include <string.h>

static const char magic[3] = {'L', 'T', 'K'};

static uint32_t get32(const char *at)
{
  unsigned char b[4];
  memcpy(b, at, 4);
  return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static uint64_t get64(const char *at)
{
  return get32(at) | (uint64_t)get32(at + 4) << 32;
}

static void put32(char *at, uint32_t v)
{
  unsigned char b[4] = {(unsigned char)v, (unsigned char)(v >> 8), (unsigned char)(v >> 16), (unsigned char)(v >> 24)};
  memcpy(at, b, 4);
}

static void put64(char *at, uint64_t v)
{
  put32(at, (uint32_t)v);
  put32(at + 4, (uint32_t)(v >> 32));
}

int llmd__wire_read_head(const char *at, llmd__wire_head *out, char *version)
{
  if (memcmp(at, magic, sizeof magic))
    return LLMD_E_SYNTAX;
  if (at[3] != LLMD__WIRE_VERSION) {
    *version = at[3];
    return LLMD_E_MISMATCH;
  }
  out->kind = get32(at + 4);
  out->id = get64(at + 8);
  out->len = get32(at + 16);
  return get32(at + 20) ? LLMD_E_SYNTAX : 0;
}

void llmd__wire_put_head(char *at, const llmd__wire_head *head)
{
  memcpy(at, magic, sizeof magic);
  at[3] = LLMD__WIRE_VERSION;
  put32(at + 4, head->kind);
  put64(at + 8, head->id);
  put32(at + 16, head->len);
  put32(at + 20, 0);
}

/* ---- questions --------------------------------------------------------------------------------------------------- */

int llmd__wire_read_question(const char *at, size_t len, llmd_str *path, llmd_str *body)
{
  uint32_t n = len >= LLMD__WIRE_QUESTION ? get32(at) : UINT32_MAX;
  if (n > LLMD__WIRE_PATH_MOST || len - LLMD__WIRE_QUESTION < n || get32(at + 4))
    return LLMD_E_SYNTAX;
  *path = (llmd_str){at + LLMD__WIRE_QUESTION, n};
  *body = (llmd_str){at + LLMD__WIRE_QUESTION + n, len - LLMD__WIRE_QUESTION - n};
  return body->len > LLMD__WIRE_BODY_MOST ? LLMD_E_SYNTAX : 0;
}

void llmd__wire_put_question(char *at, llmd_str path)
{
  put32(at, (uint32_t)path.len);
  put32(at + 4, 0);
  if (path.len)
    memcpy(at + LLMD__WIRE_QUESTION, path.ptr, path.len);
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static int read_features(const char *at, const char *end, size_t n, llmd_feature *out)
{
  const char *name = at + n * LLMD__WIRE_FEATURE;
  for (size_t i = 0; i < n; i++, at += LLMD__WIRE_FEATURE) {
    uint32_t len = get32(at + 16);
    if ((size_t)(end - name) < len)
      return LLMD_E_SYNTAX;
    out[i] = (llmd_feature){.offset = get64(at), .length = get64(at + 8), .hash = {name, len}};
    name += len;
  }
  return name == end ? 0 : LLMD_E_SYNTAX;
}

int llmd__wire_read_answer(char *at, size_t len, llmd__wire_answer *out, llmd_feature *feature)
{
  llmd__wire_answer a = {.status = LLMD__WIRE_BAD};
  size_t fixed;
  int rc;
  if (len < LLMD__WIRE_ANSWER)
    return LLMD_E_SYNTAX;
  a.status = get32(at);
  a.n = get32(at + 4);
  a.n_features = get32(at + 8);
  a.ids = (uint32_t *)(void *)(at + LLMD__WIRE_ANSWER);
  if (a.n > LLMD__WIRE_IDS_MOST || a.n_features > LLMD__WIRE_FEATURES_MOST || get32(at + 12))
    return LLMD_E_SYNTAX;
  fixed = LLMD__WIRE_ANSWER + 4 * a.n + LLMD__WIRE_FEATURE * a.n_features;
  if (len < fixed)
    return LLMD_E_SYNTAX;
  rc = read_features(at + LLMD__WIRE_ANSWER + 4 * a.n, at + len, a.n_features, feature);
  for (size_t i = 0; i < a.n && !rc; i++)
    a.ids[i] = get32(at + LLMD__WIRE_ANSWER + 4 * i);
  if (!rc)
    *out = a;
  return rc;
}

size_t llmd__wire_answer_size(size_t n, const llmd_feature *feature, size_t n_features)
{
  size_t names = 0;
  if (n > LLMD__WIRE_IDS_MOST || n_features > LLMD__WIRE_FEATURES_MOST)
    return 0;
  for (size_t i = 0; i < n_features; i++) {
    if (feature[i].hash.len > LLMD__WIRE_NAMES_MOST - names)
      return 0;
    names += feature[i].hash.len;
  }
  return LLMD__WIRE_HEAD + LLMD__WIRE_ANSWER + 4 * n + LLMD__WIRE_FEATURE * n_features + names;
}

void llmd__wire_put_answer(char *at, size_t size, uint64_t id, uint32_t status, const uint32_t *ids, size_t n,
                           const llmd_feature *feature, size_t n_features)
{
  llmd__wire_head head = {LLMD__WIRE_TELL, (uint32_t)(size - LLMD__WIRE_HEAD), id};
  char *name;
  llmd__wire_put_head(at, &head);
  at += LLMD__WIRE_HEAD;
  put32(at, status);
  put32(at + 4, (uint32_t)n);
  put32(at + 8, (uint32_t)n_features);
  put32(at + 12, 0);
  at += LLMD__WIRE_ANSWER;
  for (size_t i = 0; i < n; i++, at += 4)
    put32(at, ids[i]);
  name = at + n_features * LLMD__WIRE_FEATURE;
  for (size_t i = 0; i < n_features; i++, at += LLMD__WIRE_FEATURE) {
    size_t len = feature[i].hash.len;
    put64(at, feature[i].offset);
    put64(at + 8, feature[i].length);
    put32(at + 16, (uint32_t)len);
    put32(at + 20, 0);
    if (len)
      memcpy(name, feature[i].hash.ptr, len);
    name += len;
  }
}
