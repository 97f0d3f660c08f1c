/* What the host knows better than the body: tokens, priority, model, candidates, columns. */
#include <string.h>

#include <llmd/error.h>

#include "model/layout.h"

int llmd_request_set_tokens(llmd_request *r, const uint32_t *ids, size_t n)
{
  if (!r || (!ids && n))
    return LLMD_E_INVALID;
  r->host_ids = ids;
  r->n_host_ids = n;
  return 0;
}

int llmd_request_no_tokens(llmd_request *r)
{
  if (!r)
    return LLMD_E_INVALID;
  r->no_tokens = 1;
  return 0;
}

int llmd__request_gave_up_tokens(const llmd_request *r)
{
  return r->no_tokens != 0;
}

int llmd__request_has_ids(const llmd_request *r)
{
  const llmd__prompt *p = &r->reader.prompt;
  return r->host_ids || (llmd__prompt_count(p) && llmd__prompt_at(p, 0)->kind == LLMD_SEGMENT_IDS);
}

int llmd_request_token_key(const llmd_request *r, llmd_key *out)
{
  if (!r || !out)
    return LLMD_E_INVALID;
  if (!r->sched.token_keyed)
    return LLMD_E_NONE;
  *out = r->sched.token_key;
  return 0;
}

int llmd__features_sound(const llmd_feature *features, size_t n)
{
  if (!features && n)
    return 0;
  for (size_t i = 0; i < n; i++) {
    uint64_t before = i ? features[i - 1].offset + features[i - 1].length : 0;
    if (features[i].offset < before || features[i].length > UINT32_MAX || features[i].offset > UINT32_MAX)
      return 0;
  }
  return 1;
}

int llmd_request_set_features(llmd_request *r, const llmd_feature *features, size_t n)
{
  if (!r || !llmd__features_sound(features, n))
    return LLMD_E_INVALID;
  r->features = features;
  r->n_features = n;
  return 0;
}

const llmd_feature *llmd__request_features(const llmd_request *r, size_t *n)
{
  *n = r->n_features;
  return r->features;
}

int llmd_request_set_priority(llmd_request *r, int32_t priority)
{
  if (!r)
    return LLMD_E_INVALID;
  r->priority = priority;
  return 0;
}

/* The name twice: as it is, and as the member that a splice writes. */
static int write_model(llmd_request *r, const char *ptr, size_t len)
{
  static const char key[] = "\"model\":";
  llmd__copies *c = &r->reader.copies;
  int64_t at = llmd__copies_take(c, len);
  if (at < 0)
    return (int)at;
  size_t room = c->high - c->low;
  char *member = c->text + c->low;
  memcpy(c->text + at, ptr, len);
  if (room < sizeof key)
    return LLMD_E_LIMIT;
  int64_t quoted = llmd__text_quote(ptr, len, member + sizeof key - 1, room - sizeof key);
  if (quoted < 0)
    return (int)quoted;
  memcpy(member, key, sizeof key - 1);
  member[sizeof key - 1 + (size_t)quoted] = ',';
  r->model = (uint32_t)at;
  r->model_len = (uint32_t)len;
  r->member = c->low;
  r->member_len = (uint32_t)(sizeof key + (size_t)quoted);
  c->low += r->member_len;
  return 0;
}

int llmd_request_set_model(llmd_request *r, const char *ptr, size_t len)
{
  if (!r || (!ptr && len))
    return LLMD_E_INVALID;
  if (len == 0) {
    r->member_len = 0;
    return 0;
  }
  if (r->member_len && r->model_len == len && memcmp(r->reader.copies.text + r->model, ptr, len) == 0)
    return 0;
  uint32_t low = r->reader.copies.low;
  int rc = write_model(r, ptr, len);
  if (rc)
    r->reader.copies.low = low;
  return rc;
}

static int set_ids(llmd_request *r, llmd_endpoint_id *to, uint32_t *count, const llmd_endpoint_id *ids, size_t n)
{
  if (n > r->opt.max_endpoints)
    return LLMD_E_LIMIT;
  if (n)
    memcpy(to, ids, n * sizeof *ids);
  *count = (uint32_t)n;
  return 0;
}

int llmd_request_set_subset(llmd_request *r, const llmd_endpoint_id *ids, size_t n)
{
  if (!r || (!ids && n))
    return LLMD_E_INVALID;
  int rc = set_ids(r, r->subset, &r->n_subset, ids, n);
  if (rc == 0)
    r->has_subset = ids != NULL;
  return rc;
}

int llmd_request_set_exclude(llmd_request *r, const llmd_endpoint_id *ids, size_t n)
{
  if (!r || (!ids && n))
    return LLMD_E_INVALID;
  return set_ids(r, r->exclude, &r->n_exclude, ids, n);
}

/* Forgets column i: the values behind it move down. */
static void drop_column(llmd_request *r, uint32_t i)
{
  uint32_t n = r->column[i].n, at = (uint32_t)(r->column[i].values - r->values);
  memmove(&r->values[at], &r->values[at + n], (r->n_values - at - n) * sizeof *r->values);
  memmove(&r->value_ids[at], &r->value_ids[at + n], (r->n_values - at - n) * sizeof *r->value_ids);
  memmove(&r->column[i], &r->column[i + 1], (r->n_columns - i - 1) * sizeof *r->column);
  r->n_values -= n;
  r->n_columns--;
  for (; i < r->n_columns; i++) {
    r->column[i].values -= n;
    r->column[i].ids -= n;
  }
}

int llmd_request_set_peer(llmd_request *r, llmd_endpoint_id id)
{
  if (!r)
    return LLMD_E_INVALID;
  r->peer = id;
  return 0;
}

int llmd_request_set_column(llmd_request *r, uint32_t attribute, const llmd_endpoint_id *ids, const double *values,
                            size_t n)
{
  uint32_t old = 0;
  if (!r || ((!ids || !values) && n))
    return LLMD_E_INVALID;
  while (old < r->n_columns && r->column[old].attribute != attribute)
    old++;
  uint32_t freed = old < r->n_columns ? r->column[old].n : 0;
  if (n > r->opt.max_values - r->n_values + freed || (old == LLMD__HOST_COLUMNS))
    return LLMD_E_LIMIT;
  if (old < r->n_columns)
    drop_column(r, old);
  llmd__host_column *c = &r->column[r->n_columns++];
  c->attribute = attribute;
  c->n = (uint32_t)n;
  c->ids = r->value_ids + r->n_values;
  c->values = r->values + r->n_values;
  if (n) {
    memcpy(r->value_ids + r->n_values, ids, n * sizeof *ids);
    memcpy(r->values + r->n_values, values, n * sizeof *values);
  }
  r->n_values += (uint32_t)n;
  return 0;
}

int llmd__request_priority(const llmd_request *r)
{
  return r->priority;
}

llmd_endpoint_id llmd__request_peer(const llmd_request *r)
{
  return r->peer;
}

int llmd__request_model(const llmd_request *r, llmd_str *out)
{
  llmd_str s = llmd__copies_body(&r->reader.copies, LLMD__BODY_MODEL);
  if (r->member_len) {
    s.ptr = r->reader.copies.text + r->model;
    s.len = r->model_len;
  }
  if (!s.ptr)
    return LLMD_E_NONE;
  *out = s;
  return 0;
}

const llmd_endpoint_id *llmd__request_subset(const llmd_request *r, size_t *n)
{
  *n = r->n_subset;
  return r->has_subset ? r->subset : NULL;
}

const llmd_endpoint_id *llmd__request_exclude(const llmd_request *r, size_t *n)
{
  *n = r->n_exclude;
  return r->exclude;
}

uint32_t llmd__request_columns(const llmd_request *r)
{
  return r->n_columns;
}

void llmd__request_column(const llmd_request *r, uint32_t i, llmd__host_column *out)
{
  *out = r->column[i];
}

void *llmd__request_keys(llmd_request *r, uint32_t *max_blocks)
{
  *max_blocks = r->opt.max_blocks;
  return r->keys;
}

llmd__request_sched *llmd__request_sched_state(llmd_request *r)
{
  return &r->sched;
}
