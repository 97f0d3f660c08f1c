/* The fields of events, as engines have written them over the years. Every reader takes one value that is whole (the
 * batch was checked), and refuses what is of no type or range that the field can have. */
#include "prefix/event.h"

#include <string.h>

#include <llmd/error.h>

#include "prefix/scheme.h"

#define TOKEN_MOST 0x7fffffffu

static int next(llmd__event_reader *r, llmd__msgpack_value *v)
{
  r->fault = r->in.at;
  return llmd__msgpack_next(&r->in, v);
}

static int pass_over(llmd__event_reader *r)
{
  const int rc = llmd__msgpack_skip_within(&r->in, r->limit.depth);
  r->fault = r->in.at;
  return rc;
}

static int is_text(const llmd__msgpack_value *v)
{
  return v->kind == LLMD__MSGPACK_STR || v->kind == LLMD__MSGPACK_BIN;
}

/* ---- simple fields: nil is the same as absent -------------------------------------------------------------------- */

static int read_text(llmd__event_reader *r, llmd_str *out)
{
  llmd__msgpack_value v;
  const int rc = next(r, &v);
  if (rc || v.kind == LLMD__MSGPACK_NIL)
    return rc;
  if (!is_text(&v))
    return LLMD_E_TYPE;
  *out = v.text;
  return 0;
}

/* Returns 1 when there is a number, 0 for nil. */
static int read_count(llmd__event_reader *r, uint32_t *out)
{
  llmd__msgpack_value v;
  const int rc = next(r, &v);
  if (rc || v.kind == LLMD__MSGPACK_NIL)
    return rc;
  if (v.kind == LLMD__MSGPACK_INT || (v.kind == LLMD__MSGPACK_UINT && v.u > UINT32_MAX))
    return LLMD_E_RANGE;
  if (v.kind != LLMD__MSGPACK_UINT)
    return LLMD_E_TYPE;
  *out = (uint32_t)v.u;
  return 1;
}

static int read_size(llmd__event_reader *r)
{
  const int rc = read_count(r, &r->event.block_size);
  return rc < 0 ? rc : 0;
}

static int read_group(llmd__event_reader *r)
{
  const int rc = read_count(r, &r->event.group);
  r->event.has_group = rc > 0;
  return rc < 0 ? rc : 0;
}

static int read_window(llmd__event_reader *r)
{
  const int rc = read_count(r, &r->event.window);
  return rc < 0 ? rc : 0;
}

/* A number, or in SGLang's newer trees a name. */
static int read_lora_id(llmd__event_reader *r)
{
  llmd__msgpack_value v;
  const int rc = next(r, &v);
  if (rc || v.kind == LLMD__MSGPACK_NIL)
    return rc;
  if (v.kind == LLMD__MSGPACK_STR) {
    r->event.lora = r->event.lora.len ? r->event.lora : v.text;
    return 0;
  }
  if (v.kind != LLMD__MSGPACK_UINT)
    return v.kind == LLMD__MSGPACK_INT ? LLMD_E_RANGE : LLMD_E_TYPE;
  if (v.u > INT64_MAX)
    return LLMD_E_RANGE;
  r->event.lora_id = (int64_t)v.u;
  return 0;
}

/* One version of SGLang had a list or a map of its own at this place of the positional form. */
static int read_lora(llmd__event_reader *r)
{
  llmd__msgpack ahead = r->in;
  llmd__msgpack_value v;
  const int rc = llmd__msgpack_next(&ahead, &v);
  if (rc == 0 && (v.kind == LLMD__MSGPACK_ARRAY || v.kind == LLMD__MSGPACK_MAP))
    return pass_over(r);
  return read_text(r, &r->event.lora);
}

static int read_medium(llmd__event_reader *r)
{
  return read_text(r, &r->event.medium);
}

static int read_locality(llmd__event_reader *r)
{
  return read_text(r, &r->event.locality);
}

static int read_ownership(llmd__event_reader *r)
{
  return read_text(r, &r->event.ownership);
}

static int read_session(llmd__event_reader *r)
{
  return read_text(r, &r->event.session);
}

static int read_salt(llmd__event_reader *r)
{
  return read_text(r, &r->event.salt);
}

static int read_attention(llmd__event_reader *r)
{
  static const char *const full[] = {"full_attention", "mla_attention", "sink_full_attention"};
  static const char *const sliding[] = {"sliding_window", "sliding_window_mla"};
  llmd_str kind = {NULL, 0};
  const int rc = read_text(r, &kind);
  if (rc || !kind.ptr || llmd__event_is(kind, "unknown"))
    return rc;
  r->event.attention = LLMD_ATTENTION_OTHER;
  for (size_t i = 0; i < sizeof full / sizeof full[0]; i++)
    if (llmd__event_is(kind, full[i]))
      r->event.attention = LLMD_ATTENTION_FULL;
  for (size_t i = 0; i < sizeof sliding / sizeof sliding[0]; i++)
    if (llmd__event_is(kind, sliding[i]))
      r->event.attention = LLMD_ATTENTION_SLIDING;
  return 0;
}

/* ---- hashes ------------------------------------------------------------------------------------------------------ */

/* *form: what the hash is written as, LLMD_NAME_*. */
static int hash_of(const llmd__msgpack_value *v, uint64_t *name, uint32_t *form)
{
  if (v->kind == LLMD__MSGPACK_UINT || v->kind == LLMD__MSGPACK_INT) {
    *name = v->u;
    *form = LLMD_NAME_INT;
    return 0;
  }
  if (!is_text(v))
    return LLMD_E_TYPE;
  if (v->text.len == 0)
    return LLMD_E_RANGE;
  *form = LLMD_NAME_DIGEST;
  *name = v->text.len == 8 ? llmd__number_of((const uint8_t *)v->text.ptr)
                           : llmd__xxh3_64(v->text.ptr, v->text.len, 0);
  return 0;
}

static int read_name(llmd__event_reader *r, uint32_t i)
{
  llmd__msgpack_value v;
  uint32_t form;
  int rc = next(r, &v);
  rc = rc ? rc : hash_of(&v, &r->name[i], &form);
  if (rc)
    return rc;
  if (i == 0)
    r->event.name_form = form;
  if (form == LLMD_NAME_DIGEST)
    r->digest[i] = v.text;
  return form == r->event.name_form ? 0 : LLMD_E_TYPE;
}

static int read_names(llmd__event_reader *r)
{
  llmd__msgpack_value v;
  int rc = next(r, &v);
  if (rc || v.kind != LLMD__MSGPACK_ARRAY)
    return rc ? rc : LLMD_E_TYPE;
  if (v.n > r->limit.names)
    return LLMD_E_LIMIT;
  for (uint32_t i = 0; rc == 0 && i < v.n; i++)
    rc = read_name(r, i);
  r->event.n_names = v.n;
  r->event.digest = r->event.name_form == LLMD_NAME_DIGEST ? r->digest : NULL;
  return rc;
}

static int read_parent(llmd__event_reader *r)
{
  llmd__msgpack_value v;
  uint32_t form;
  int rc = next(r, &v);
  if (rc || v.kind == LLMD__MSGPACK_NIL)
    return rc;
  rc = hash_of(&v, &r->event.parent, &form);
  if (rc)
    return rc;
  r->event.has_parent = 1;
  if (form == LLMD_NAME_DIGEST)
    r->event.parent_digest = v.text;
  return 0;
}

/* ---- token ids --------------------------------------------------------------------------------------------------- */

static int token_of(const llmd__msgpack_value *v, uint32_t *out)
{
  if (v->kind != LLMD__MSGPACK_UINT)
    return v->kind == LLMD__MSGPACK_INT ? LLMD_E_RANGE : LLMD_E_TYPE;
  if (v->u > TOKEN_MOST)
    return LLMD_E_RANGE;
  *out = (uint32_t)v->u;
  return 0;
}

/* What is not a plain short integer: a pair (t, t + 1), or an id in a longer form than it needs. */
static int read_odd_token(llmd__event_reader *r, uint32_t *out)
{
  llmd__msgpack_value v;
  uint32_t second;
  int rc = next(r, &v);
  if (rc || v.kind != LLMD__MSGPACK_ARRAY)
    return rc ? rc : token_of(&v, out);
  if (v.n != 2)
    return LLMD_E_TYPE;
  rc = next(r, &v);
  rc = rc ? rc : token_of(&v, out);
  rc = rc ? rc : next(r, &v);
  return rc ? rc : token_of(&v, &second);
}

/* Runs take all of 32 bits: one look at the end tells whether one was too large, and then which. */
static int check_tokens(llmd__event_reader *r, llmd__msgpack in)
{
  const uint32_t *token = r->event.token, n = r->event.n_tokens;
  uint32_t all = 0;
  for (uint32_t i = 0; i < n; i++)
    all |= token[i];
  if (all <= TOKEN_MOST)
    return 0;
  for (uint32_t i = 0; i < n && token[i] <= TOKEN_MOST; i++)
    (void)llmd__msgpack_skip(&in);
  r->fault = in.at;
  return LLMD_E_RANGE;
}

/* Reads n tokens that were not kept, behind those that were; when there is no room those are read again, too. */
static int read_more_tokens(llmd__event_reader *r, uint32_t n)
{
  uint32_t *token, got = 0;
  int rc = 0;
  if (n > r->token.room - r->token.used)
    r->token.used = r->token.n = 0;
  token = r->token.value + r->token.used;
  while (rc == 0 && got < n) {
    got += llmd__msgpack_run(&r->in, token + got, n - got);
    if (got < n)
      rc = read_odd_token(r, &token[got++]);
  }
  r->event.token = token;
  return rc;
}

static int read_tokens(llmd__event_reader *r)
{
  llmd__msgpack_value v;
  llmd__msgpack first;
  int rc = next(r, &v);
  if (rc || v.kind == LLMD__MSGPACK_NIL)
    return rc;
  if (v.kind != LLMD__MSGPACK_ARRAY)
    return LLMD_E_TYPE;
  if (v.n > r->limit.tokens)
    return LLMD_E_LIMIT;
  first = r->in;
  r->event.token = llmd__msgpack_kept(&r->in, &r->token, v.n);
  if (!r->event.token)
    rc = read_more_tokens(r, v.n);
  r->event.n_tokens = v.n;
  return rc ? rc : check_tokens(r, first);
}

/* ---- extra keys -------------------------------------------------------------------------------------------------- */

static int add_extra(llmd__event_reader *r, uint32_t block, llmd_str text)
{
  if (r->event.n_extra == r->limit.extras)
    return LLMD_E_LIMIT;
  r->extra[r->event.n_extra++] = (llmd_event_extra){block, 0, text};
  return 0;
}

static int is_tag(llmd_str s)
{
  return llmd__event_is(s, "cache_salt") || llmd__event_is(s, "mm") || llmd__event_is(s, "prompt_embeds") ||
         llmd__event_is(s, "legacy");
}

/* [hash, offset]: the texts in it; before them there may be a word that says what they are. */
static int read_extra_list(llmd__event_reader *r, uint32_t block, uint32_t n)
{
  int lora = 0;
  for (uint32_t i = 0; i < n; i++) {
    llmd__msgpack ahead = r->in;
    llmd__msgpack_value v;
    int rc = llmd__msgpack_next(&ahead, &v);
    r->fault = r->in.at;
    if (rc == 0 && is_text(&v)) {
      lora |= i == 0 && n > 1 && llmd__event_is(v.text, "lora");
      rc = lora || (i == 0 && n > 1 && is_tag(v.text)) ? 0 : add_extra(r, block, v.text);
    }
    rc = rc ? rc : pass_over(r);
    if (rc)
      return rc;
  }
  return 0;
}

/* {"type": "mm", "identifier": .., "offset": ..}: its texts. */
static int read_extra_map(llmd__event_reader *r, uint32_t block, uint32_t n)
{
  const uint32_t before = r->event.n_extra;
  int lora = 0;
  for (uint32_t i = 0; i < n; i++) {
    llmd__msgpack ahead = r->in;
    llmd__msgpack_value key, v;
    int rc = pass_over(r);
    rc = rc ? rc : llmd__msgpack_next(&ahead, &key);
    ahead = r->in;
    rc = rc ? rc : llmd__msgpack_next(&ahead, &v);
    rc = rc ? rc : pass_over(r);
    if (rc)
      return rc;
    if (key.kind == LLMD__MSGPACK_STR && llmd__event_is(key.text, "type"))
      lora |= is_text(&v) && llmd__event_is(v.text, "lora");
    else if (is_text(&v))
      rc = add_extra(r, block, v.text);
    if (rc)
      return rc;
  }
  if (lora)
    r->event.n_extra = before;
  return 0;
}

/* A member of a block's tuple. Numbers, nil and the like are no texts: passed over. */
static int read_extra(llmd__event_reader *r, uint32_t block)
{
  llmd__msgpack_value v;
  const int rc = next(r, &v);
  if (rc)
    return rc;
  if (v.kind == LLMD__MSGPACK_ARRAY)
    return read_extra_list(r, block, v.n);
  if (v.kind == LLMD__MSGPACK_MAP)
    return read_extra_map(r, block, v.n);
  return is_text(&v) ? add_extra(r, block, v.text) : 0;
}

static int read_block_extras(llmd__event_reader *r, uint32_t block)
{
  llmd__msgpack_value v;
  int rc = next(r, &v);
  if (rc || v.kind == LLMD__MSGPACK_NIL)
    return rc;
  if (v.kind == LLMD__MSGPACK_MAP)
    return read_extra_map(r, block, v.n);
  if (is_text(&v))
    return add_extra(r, block, v.text);
  if (v.kind != LLMD__MSGPACK_ARRAY)
    return LLMD_E_TYPE;
  for (uint32_t i = 0; rc == 0 && i < v.n; i++)
    rc = read_extra(r, block);
  return rc;
}

/* A list with a member per block. */
static int read_extras(llmd__event_reader *r)
{
  llmd__msgpack_value v;
  int rc = next(r, &v);
  if (rc || v.kind == LLMD__MSGPACK_NIL)
    return rc;
  if (v.kind != LLMD__MSGPACK_ARRAY)
    return LLMD_E_TYPE;
  for (uint32_t i = 0; rc == 0 && i < v.n; i++)
    rc = read_block_extras(r, i);
  return rc;
}

/* The adapter's name stands first among a block's extra keys; it is told apart from them, as `lora`. */
static void drop_adapter(llmd__event_reader *r)
{
  uint32_t kept = 0, last = UINT32_MAX;
  for (uint32_t i = 0; i < r->event.n_extra; i++) {
    const llmd_event_extra x = r->extra[i];
    const int first = x.block != last;
    last = x.block;
    if (first && x.text.len == r->event.lora.len && memcmp(x.text.ptr, r->event.lora.ptr, x.text.len) == 0)
      continue;
    r->extra[kept++] = x;
  }
  r->event.n_extra = kept;
}

/* ---- forms ------------------------------------------------------------------------------------------------------- */

static const llmd__event_field stored[] = {
  {"block_hashes", read_names}, {"parent_block_hash", read_parent}, {"token_ids", read_tokens},
  {"block_size", read_size}, {"lora_id", read_lora_id}, {"medium", read_medium}, {"lora_name", read_lora},
  {"extra_keys", read_extras}, {"group_idx", read_group}, {"kv_cache_spec_kind", read_attention},
  {"kv_cache_spec_sliding_window", read_window}, {"locality", read_locality}, {"ownership", read_ownership},
  {"session_id", read_session}, {"cache_salt", read_salt},
};
static const llmd__event_field removed[] = {
  {"block_hashes", read_names}, {"medium", read_medium}, {"group_idx", read_group}, {"locality", read_locality},
  {"ownership", read_ownership},
};

#define COUNT(a) (uint32_t)(sizeof(a) / sizeof(a)[0])
static const llmd__event_form forms[] = {
  {"BlockStored", LLMD_EVENT_STORED, COUNT(stored), COUNT(stored) - 1, stored},
  {"BlockRemoved", LLMD_EVENT_REMOVED, COUNT(removed), COUNT(removed), removed},
  {"AllBlocksCleared", LLMD_EVENT_CLEARED, 0, 0, NULL},
};

const llmd__event_form *llmd__event_form_of(llmd_str type)
{
  for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
    if (llmd__event_is(type, forms[i].type))
      return &forms[i];
  return NULL;
}

uint32_t llmd__event_field_of(const llmd__event_form *form, llmd_str key, uint32_t hint)
{
  if (!key.ptr)
    return form->n;
  for (uint32_t i = 0; i < form->n; i++) {
    const uint32_t which = (hint + i) % form->n;
    if (llmd__event_is(key, form->field[which].name))
      return which;
  }
  return form->n;
}

/* A medium that nobody knows is the farthest one: it is not credited with more than it may be worth. */
static uint32_t tier_of(llmd_str medium, llmd_str locality)
{
  static const struct { const char *medium; uint32_t tier; } rows[] = {
    {"GPU", LLMD_TIER_GPU}, {"CPU", LLMD_TIER_CPU}, {"CPU_PINNED", LLMD_TIER_CPU}, {"STORAGE", LLMD_TIER_DISK},
    {"DISK", LLMD_TIER_DISK}, {"EXTERNAL", LLMD_TIER_REMOTE},
  };
  if (llmd__event_is(locality, "REMOTE"))
    return LLMD_TIER_REMOTE;
  if (!medium.ptr)
    return LLMD_TIER_GPU;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    if (llmd__event_is(medium, rows[i].medium))
      return rows[i].tier;
  return LLMD_TIER_REMOTE;
}

int llmd__event_finish(llmd__event_reader *r, const llmd__event_form *form, uint32_t fields)
{
  llmd_event *e = &r->event;
  if (form->kind == LLMD_EVENT_CLEARED)
    return 0;
  if (!(fields & 1)) /* block_hashes come first in both */
    return LLMD_E_MISSING;
  if (e->n_tokens && e->block_size == 0)
    return LLMD_E_RANGE;
  if (e->has_parent && e->n_names && (e->parent_digest.ptr != NULL) != (e->digest != NULL))
    return LLMD_E_TYPE;
  e->tier = tier_of(e->medium, e->locality);
  if (e->lora.len)
    drop_adapter(r);
  return 0;
}
