/* The request object: its memory, its life, and what it answers. The body is read by reader.h; what the host sets is
 * host.c. */
#include <string.h>

#include <llmd/error.h>

#include "model/layout.h"

#define DEFAULT_PATH "/v1/completions"

/* ---- memory ---- */

static llmd_request_options resolved(const llmd_request_options *given)
{
  llmd_request_options o;
  memset(&o, 0, sizeof o);
  if (given)
    memcpy(&o, given, given->size < sizeof o ? given->size : sizeof o);
  o.size = sizeof o;
  o.max_headers = o.max_headers ? o.max_headers : 64;
  o.max_body = o.max_body ? o.max_body : UINT64_C(16) << 20;
  o.text_bytes = o.text_bytes ? o.text_bytes : 8192;
  o.max_pieces = o.max_pieces ? o.max_pieces : 64;
  o.max_segments = o.max_segments ? o.max_segments : 1024;
  o.max_keys = o.max_keys ? o.max_keys : 65536;
  o.max_tokens = o.max_tokens ? o.max_tokens : 1048576;
  o.max_edits = o.max_edits ? o.max_edits : 32;
  o.max_blocks = o.max_blocks ? o.max_blocks : 2048;
  o.max_endpoints = o.max_endpoints ? o.max_endpoints : 64;
  return o;
}

/* Where each table begins, from the start of the request. */
typedef struct layout {
  size_t pieces, headers, segments, edits, keys, subset, exclude, value_ids, values, text, copy, end;
} layout;

static size_t place(size_t *at, size_t n, size_t size)
{
  size_t here = (*at + 15) & ~(size_t)15;
  *at = here + n * size;
  return here;
}

static layout laid_out(const llmd_request_options *o)
{
  layout l;
  size_t at = sizeof(llmd_request);
  l.pieces = place(&at, o->max_pieces, sizeof(llmd__piece));
  l.headers = place(&at, o->max_headers, sizeof(llmd__header));
  l.segments = place(&at, o->max_segments, sizeof(llmd__segment));
  l.edits = place(&at, o->max_edits, sizeof(llmd__splice));
  l.keys = place(&at, o->max_blocks, 16);
  l.subset = place(&at, o->max_endpoints, sizeof(llmd_endpoint_id));
  l.exclude = place(&at, o->max_endpoints, sizeof(llmd_endpoint_id));
  l.value_ids = place(&at, o->max_values, sizeof(llmd_endpoint_id));
  l.values = place(&at, o->max_values, sizeof(double));
  l.text = place(&at, o->text_bytes, 1);
  l.copy = place(&at, o->copy_bytes, 1);
  l.end = place(&at, 0, 1);
  return l;
}

size_t llmd_request_size(const llmd_request_options *options)
{
  llmd_request_options o = resolved(options);
  return laid_out(&o).end;
}

static void connect(llmd_request *r)
{
  char *base = (char *)r;
  layout l = laid_out(&r->opt);
  llmd__reader *b = &r->reader;
  b->pieces.at = (llmd__piece *)(void *)(base + l.pieces);
  b->pieces.max = r->opt.max_pieces;
  b->prompt.at = (llmd__segment *)(void *)(base + l.segments);
  b->prompt.max = r->opt.max_segments;
  b->edits.at = (llmd__splice *)(void *)(base + l.edits);
  b->edits.max = r->opt.max_edits;
  b->copies.text = base + l.text;
  b->copies.cap = r->opt.text_bytes;
  b->max_keys = r->opt.max_keys;
  b->max_tokens = r->opt.max_tokens;
  r->headers.at = (llmd__header *)(void *)(base + l.headers);
  r->headers.max = r->opt.max_headers;
  r->keys = base + l.keys;
  r->subset = (llmd_endpoint_id *)(void *)(base + l.subset);
  r->exclude = (llmd_endpoint_id *)(void *)(base + l.exclude);
  r->value_ids = (llmd_endpoint_id *)(void *)(base + l.value_ids);
  r->values = (double *)(void *)(base + l.values);
  r->copy = base + l.copy;
}

int llmd_request_init(void *mem, size_t len, const llmd_request_options *options, llmd_request **out)
{
  llmd_request *r = mem;
  if (!mem || !out || (uintptr_t)mem % 16 || len < llmd_request_size(options))
    return LLMD_E_INVALID;
  memset(r, 0, sizeof *r);
  r->opt = resolved(options);
  connect(r);
  llmd_request_reset(r);
  *out = r;
  return 0;
}

void llmd_request_reset(llmd_request *r)
{
  if (!r)
    return;
  llmd__copies_reset(&r->reader.copies);
  llmd__reader_reset(&r->reader);
  llmd__headers_reset(&r->headers);
  r->reader.dialect = llmd__dialect_of_path(DEFAULT_PATH, sizeof DEFAULT_PATH - 1);
  r->body_bytes = r->copied = 0;
  r->flags = r->started = 0;
  r->path_len = 0;
  r->host_ids = NULL;
  r->n_host_ids = 0;
  r->no_tokens = 0;
  r->features = NULL;
  r->n_features = 0;
  r->priority = 0;
  r->peer = 0;
  r->member_len = 0;
  r->ask_usage = 0;
  r->n_subset = r->n_exclude = r->has_subset = 0;
  r->n_columns = r->n_values = 0;
  memset(&r->totals, 0, sizeof r->totals);
  memset(&r->sched, 0, sizeof r->sched);
}

/* ---- line and headers ---- */

int llmd_request_line(llmd_request *r, const char *method, size_t method_len, const char *path, size_t path_len)
{
  if (!r || (!method && method_len) || !path || path_len == 0)
    return LLMD_E_INVALID;
  if (r->started)
    return LLMD_E_STATE;
  int64_t at = llmd__copies_take(&r->reader.copies, path_len);
  if (at < 0)
    return (int)at;
  memcpy(r->reader.copies.text + at, path, path_len);
  r->path = (uint32_t)at;
  r->path_len = (uint32_t)path_len;
  r->reader.dialect = llmd__dialect_of_path(path, path_len);
  return 0;
}

int llmd_request_header(llmd_request *r, const char *name, size_t name_len, const char *value, size_t value_len)
{
  if (!r || !name || name_len == 0 || (!value && value_len))
    return LLMD_E_INVALID;
  return llmd__headers_add(&r->headers, &r->reader.copies, name, name_len, value, value_len);
}

int llmd_header_owned(const char *name, size_t len)
{
  return name && len && llmd__headers_owned(name, len);
}

int llmd_request_find_header(const llmd_request *r, const char *name, size_t len, llmd_str *out)
{
  if (!r || !name || !out)
    return LLMD_E_INVALID;
  llmd_str s = llmd__headers_find(&r->headers, &r->reader.copies, name, len);
  if (!s.ptr)
    return LLMD_E_NONE;
  *out = s;
  return 0;
}

/* ---- body ---- */

/* Keeps or copies the piece and reads it. Bytes beyond a cap are not read: those before it may hold an earlier
 * error. */
static int read_piece(llmd_request *r, const char *ptr, size_t len, uint32_t flags)
{
  llmd__reader *b = &r->reader;
  uint64_t room = flags & LLMD_FEED_COPY ? r->opt.copy_bytes - r->copied : len;
  size_t n = len < room ? len : (size_t)room;
  if (flags & LLMD_FEED_COPY) {
    memcpy(r->copy + r->copied, ptr, n);
    ptr = r->copy + r->copied;
    r->copied += n;
  }
  if (llmd__pieces_add(&b->pieces, ptr, n))
    return llmd__reader_fail(b, LLMD_E_LIMIT, r->body_bytes);
  int rc = llmd__body_feed(b, ptr, n);
  return rc || n == len ? rc : llmd__reader_fail(b, LLMD_E_LIMIT, r->body_bytes + n);
}

static int end_body(llmd_request *r, uint32_t flags)
{
  llmd__reader *b = &r->reader;
  int parsed = b->dialect != LLMD_DIALECT_PASSTHROUGH && r->body_bytes, rc = 0;
  if (parsed)
    rc = flags & LLMD_FEED_TRUNCATED ? llmd__body_cut(b) : llmd__body_end(b);
  if (rc)
    return rc;
  llmd__prompt_sum(&b->prompt, &r->totals);
  r->flags |= LLMD_REQUEST_FINAL;
  if (flags & LLMD_FEED_TRUNCATED)
    r->flags |= LLMD_REQUEST_TRUNCATED;
  else if (r->body_bytes == 0)
    r->flags |= LLMD_REQUEST_NO_BODY;
  return 0;
}

int llmd_request_feed(llmd_request *r, const char *ptr, size_t len, uint32_t flags)
{
  const uint32_t known = LLMD_FEED_COPY | LLMD_FEED_FINAL | LLMD_FEED_TRUNCATED;
  const uint32_t ends = flags & (LLMD_FEED_FINAL | LLMD_FEED_TRUNCATED);
  if (!r || (!ptr && len) || (flags & ~known) || ends == LLMD_FEED_TRUNCATED)
    return LLMD_E_INVALID;
  if (r->reader.error)
    return r->reader.error;
  if (r->flags & LLMD_REQUEST_FINAL)
    return LLMD_E_STATE;
  uint64_t room = r->opt.max_body - r->body_bytes;
  size_t n = len < room ? len : (size_t)room;
  int rc = 0;
  r->started = 1;
  if (n && r->reader.dialect != LLMD_DIALECT_PASSTHROUGH)
    rc = read_piece(r, ptr, n, flags);
  if (rc == 0) {
    r->body_bytes += n;
    rc = n < len ? llmd__reader_fail(&r->reader, LLMD_E_LIMIT, r->body_bytes) : 0;
  }
  if (rc == 0 && (flags & LLMD_FEED_FINAL))
    rc = end_body(r, flags);
  if (rc)
    r->body_bytes = r->reader.error_offset;
  return rc;
}

/* ---- answers ---- */

static llmd_str path_of(const llmd_request *r)
{
  llmd_str s = {DEFAULT_PATH, sizeof DEFAULT_PATH - 1};
  if (r->path_len) {
    s.ptr = r->reader.copies.text + r->path;
    s.len = r->path_len;
  }
  return s;
}

static void fill_headers(const llmd_request *r, llmd_request_info *i)
{
  const llmd__headers *hs = &r->headers;
  const llmd__copies *text = &r->reader.copies;
  i->request_id = llmd__headers_known(hs, text, LLMD__HEADER_REQUEST_ID);
  i->fairness_id = llmd__headers_known(hs, text, LLMD__HEADER_FAIRNESS);
  i->objective = llmd__headers_known(hs, text, LLMD__HEADER_OBJECTIVE);
  i->model_rewrite = llmd__headers_known(hs, text, LLMD__HEADER_MODEL_REWRITE);
  i->session = llmd__headers_known(hs, text, LLMD__HEADER_SESSION);
  i->session_token = llmd__headers_known(hs, text, LLMD__HEADER_SESSION_TOKEN);
  i->slo_ttft_ms = llmd__headers_number(hs, text, LLMD__HEADER_SLO_TTFT);
  i->slo_tpot_ms = llmd__headers_number(hs, text, LLMD__HEADER_SLO_TPOT);
}

static void fill_body(const llmd_request *r, llmd_request_info *i)
{
  const llmd__reader *b = &r->reader;
  llmd__prompt_totals now, *sum = &now;
  if (r->flags & LLMD_REQUEST_FINAL)
    now = r->totals;
  else
    llmd__prompt_sum(&b->prompt, sum);
  i->flags |= b->stream ? LLMD_REQUEST_STREAM : 0;
  i->flags |= sum->media || b->attached ? LLMD_REQUEST_MULTIMODAL : 0;
  i->flags |= sum->segments && llmd__prompt_at(&b->prompt, 0)->kind == LLMD_SEGMENT_IDS ? LLMD_REQUEST_TOKEN_IDS : 0;
  i->flags |= b->saturated ? LLMD_REQUEST_SATURATED : 0;
  i->model = llmd__copies_body(&b->copies, LLMD__BODY_MODEL);
  i->cache_salt = llmd__copies_body(&b->copies, LLMD__BODY_SALT);
  i->lora = llmd__copies_body(&b->copies, LLMD__BODY_LORA);
  i->max_tokens = b->limit[0] >= 0 ? b->limit[0] : b->limit[1];
  i->priority = b->priority;
  i->prompts = sum->prompts;
  i->segments = sum->segments;
  i->prompt_bytes = sum->bytes;
  i->token_ids = sum->ids;
}

int llmd_request_get(const llmd_request *r, llmd_request_info *out)
{
  llmd_request_info i;
  if (!r || !out || out->size < 2 * sizeof(uint32_t))
    return LLMD_E_INVALID;
  memset(&i, 0, sizeof i);
  i.size = out->size;
  i.dialect = r->reader.dialect;
  i.flags = r->flags;
  i.error = r->reader.error;
  i.error_offset = r->reader.error_offset;
  i.body_bytes = r->body_bytes;
  i.path = path_of(r);
  fill_headers(r, &i);
  fill_body(r, &i);
  memcpy(out, &i, out->size < sizeof i ? out->size : sizeof i);
  return 0;
}

int llmd_request_segment(const llmd_request *r, uint32_t n, llmd_segment *out)
{
  llmd_segment s;
  if (!r || !out || out->size < 2 * sizeof(uint32_t))
    return LLMD_E_INVALID;
  if (n >= llmd__prompt_count(&r->reader.prompt))
    return LLMD_E_NONE;
  const llmd__segment *from = llmd__prompt_at(&r->reader.prompt, n);
  s.size = out->size;
  s.kind = from->kind;
  s.prompt = from->prompt;
  s.escaped = from->escaped;
  s.offset = from->offset;
  s.bytes = from->bytes;
  memcpy(out, &s, out->size < sizeof s ? out->size : sizeof s);
  return 0;
}

int llmd__request_bytes(const llmd_request *r, uint64_t offset, uint64_t len, char *buf, size_t cap, const char **out)
{
  return llmd__pieces_bytes(&r->reader.pieces, offset, len, buf, cap, out);
}

/* ---- edits ---- */

static void put_edit(llmd_edit *out, size_t cap, size_t n, uint64_t offset, uint64_t removed, llmd_str text)
{
  if (n >= cap)
    return;
  out[n].offset = offset;
  out[n].removed = removed;
  out[n].text = text;
}

/* The model has to be written: another name was set than the body's own. */
static int rewrites(const llmd_request *r)
{
  llmd_str body = llmd__copies_body(&r->reader.copies, LLMD__BODY_MODEL);
  return r->member_len && !(body.ptr && body.len == r->model_len &&
                            memcmp(body.ptr, r->reader.copies.text + r->model, body.len) == 0);
}

/* A complete body that has no model, though bodies of its kind do: the member goes in after the brace. */
static int inserts(const llmd_request *r)
{
  const llmd__edits *e = &r->reader.edits;
  if ((r->flags & (LLMD_REQUEST_FINAL | LLMD_REQUEST_TRUNCATED)) != LLMD_REQUEST_FINAL || !e->brace)
    return 0;
  for (uint32_t i = 0; i < e->n; i++)
    if (e->at[i].is_model)
      return 0;
  return llmd__dialect_has_model(r->reader.dialect);
}

int llmd_request_ask_usage(llmd_request *r)
{
  const llmd__usage_asked *u;
  int whole, openai;
  if (!r)
    return LLMD_E_INVALID;
  u = &r->reader.usage;
  whole = (r->flags & (LLMD_REQUEST_FINAL | LLMD_REQUEST_TRUNCATED)) == LLMD_REQUEST_FINAL && !r->reader.error;
  openai = r->reader.dialect == LLMD_DIALECT_OPENAI_CHAT || r->reader.dialect == LLMD_DIALECT_OPENAI_COMPLETIONS;
  r->ask_usage = whole && openai && r->reader.stream && u->kind != LLMD__USAGE_OTHER && !u->stays;
  return (int)r->ask_usage;
}

/* The splice that asks for usage. A body that streams has a member that stays: the comma is right. */
static llmd_edit usage_edit(const llmd_request *r)
{
  static const char member[] = "\"stream_options\":{\"include_usage\":true},", yes[] = "\"include_usage\":true,";
  const llmd__usage_asked *u = &r->reader.usage;
  llmd_edit e = {r->reader.edits.brace, 0, {member, sizeof member - 1}};
  if (u->end) {
    e.offset = u->start;
    e.removed = u->end - u->start;
    e.text.ptr = "true";
    e.text.len = 4;
  } else if (u->kind == LLMD__USAGE_OBJECT) {
    e.offset = u->brace;
    e.text.ptr = yes;
    e.text.len = sizeof yes - 1 - u->empty;
  }
  return e;
}

int llmd_request_edits(const llmd_request *r, llmd_edit *out, size_t cap)
{
  static const char key[] = "\"model\":";
  if (!r || (!out && cap))
    return LLMD_E_INVALID;
  if (r->reader.error)
    return r->reader.error;
  const llmd__edits *e = &r->reader.edits;
  const char *member = r->reader.copies.text + r->member;
  llmd_edit usage = usage_edit(r);
  int rewrite = rewrites(r), ask = r->ask_usage != 0;
  size_t n = 0;
  if (rewrite && inserts(r)) {
    llmd_str text = {member, r->member_len - (e->root_kept ? 0u : 1u)};
    put_edit(out, cap, n++, e->brace, 0, text);
  }
  for (uint32_t i = 0; i < e->n; i++) {
    llmd_str text = {NULL, 0};
    if (ask && usage.offset <= e->at[i].offset) {
      put_edit(out, cap, n++, usage.offset, usage.removed, usage.text);
      ask = 0;
    }
    if (e->at[i].is_model && rewrite) {
      text.ptr = member + sizeof key - 1;
      text.len = r->member_len - sizeof key;
    }
    if (e->at[i].is_model ? rewrite : e->at[i].done)
      put_edit(out, cap, n++, e->at[i].offset, e->at[i].removed, text);
  }
  if (ask)
    put_edit(out, cap, n++, usage.offset, usage.removed, usage.text);
  return (int)n;
}
