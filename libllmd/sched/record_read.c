/* Reading a record into a lane. A record may come from anywhere: every number in it is checked against the bytes that
 * are there and the room that the lane has. */
#include "sched/record_read.h"

#include <math.h>
#include <string.h>

/* ---- little-endian, bounded ------------------------------------------------------------------------------------- */

typedef llmd__record_reader reader;

static void fail(reader *r, int rc)
{
  if (!r->rc)
    r->rc = rc;
  r->left = 0;
}

static const unsigned char *take(reader *r, size_t n)
{
  const unsigned char *p = r->p;
  if (n > r->left) {
    fail(r, LLMD_E_SYNTAX);
    return NULL;
  }
  r->p += n;
  r->left -= n;
  return p;
}

static uint32_t get_u32(reader *r)
{
  const unsigned char *p = take(r, 4);
  return p ? (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24 : 0;
}

static uint64_t get_u64(reader *r)
{
  uint64_t low = get_u32(r);
  return low | (uint64_t)get_u32(r) << 32;
}

static double get_f64(reader *r)
{
  uint64_t bits = get_u64(r);
  double v;
  memcpy(&v, &bits, sizeof v);
  return v;
}

/* A number of at most `most`. */
static uint32_t get_below(reader *r, uint32_t most, int otherwise)
{
  uint32_t v = get_u32(r);
  if (!r->rc && v > most)
    fail(r, otherwise);
  return r->rc ? 0 : v;
}

/* A row of the record, or LLMD__NONE where that is allowed. */
static uint32_t get_row(reader *r, uint32_t n, int or_none)
{
  uint32_t v = get_u32(r);
  if (!r->rc && v >= n && !(or_none && v == LLMD__NONE))
    fail(r, LLMD_E_SYNTAX);
  return v;
}

static void must_be(reader *r, uint32_t v)
{
  uint32_t got = get_u32(r);
  if (!r->rc && got != v)
    fail(r, LLMD_E_MISMATCH);
}

static void get_ids(reader *r, uint32_t *out, uint32_t n)
{
  for (uint32_t i = 0; i < n; i++)
    out[i] = get_u32(r);
}

static void get_doubles(reader *r, double *out, uint32_t n)
{
  for (uint32_t i = 0; i < n; i++)
    out[i] = get_f64(r);
}

static llmd_str get_bytes(reader *r)
{
  uint32_t len = get_u32(r);
  llmd_str s = {NULL, 0};
  if (r->rc || len == LLMD__NONE)
    return s;
  s.ptr = (const char *)take(r, len);
  s.len = s.ptr ? len : 0;
  return s;
}

/* The same, copied into the lane. */
static llmd_str get_str(reader *r, llmd_lane *l)
{
  llmd_str s = get_bytes(r);
  if (!s.ptr)
    return s;
  s.ptr = llmd__kept_text(l, s.ptr, s.len);
  if (!s.ptr) {
    fail(r, LLMD_E_LIMIT);
    s.len = 0;
  }
  return s;
}

/* A place for llmd__lane_text: length, then bytes. */
static uint32_t get_text(reader *r, llmd_lane *l)
{
  llmd_str s = get_bytes(r);
  uint32_t len = (uint32_t)s.len, at = (uint32_t)l->kept.text_used + 1;
  if (!s.ptr)
    return 0;
  if (!llmd__kept_text(l, (const char *)&len, sizeof len) || !llmd__kept_text(l, s.ptr, s.len))
    fail(r, LLMD_E_LIMIT);
  return at;
}

/* ---- head ------------------------------------------------------------------------------------------------------- */

int llmd__record_open(reader *r, const void *record, size_t len, uint64_t *bytes)
{
  const size_t magic = sizeof LLMD__RECORD_MAGIC - 1;
  uint64_t sum;
  r->p = record;
  r->left = len;
  r->rc = 0;
  if (memcmp(record, LLMD__RECORD_MAGIC, len < magic ? len : magic))
    return LLMD_E_SYNTAX;
  if (len < LLMD__RECORD_HEAD)
    return LLMD_E_TRUNCATED;
  take(r, magic);
  if (get_u32(r) != LLMD__RECORD_VERSION || get_u32(r))
    return LLMD_E_MISMATCH;
  *bytes = get_u64(r);
  if (*bytes < LLMD__RECORD_HEAD)
    return LLMD_E_SYNTAX;
  if (*bytes > len)
    return LLMD_E_TRUNCATED;
  sum = get_u64(r);
  r->left = (size_t)(*bytes - LLMD__RECORD_HEAD);
  return llmd__fnv(LLMD__FNV_BASIS, r->p, r->left) == sum ? 0 : LLMD_E_SYNTAX;
}

/* ---- facts and request ------------------------------------------------------------------------------------------ */

void llmd__record_prologue(reader *r, llmd__prologue *p)
{
  p->identity = get_u64(r);
  p->compat = get_u32(r);
  p->fail = get_u32(r);
  p->seed = get_u64(r);
  p->now.mono = get_u64(r);
  p->now.wall = get_u64(r);
  p->ladder = get_u32(r);
  p->facts.bad_request = get_below(r, 1, LLMD_E_SYNTAX);
  p->facts.if_available = get_below(r, 1, LLMD_E_SYNTAX);
  p->facts.peer = get_u32(r);
  p->facts.robin = get_u32(r);
  p->facts.scored = get_u32(r);
}

static void get_view(reader *r, llmd_lane *l)
{
  llmd_request_view *v = &l->kept.view;
  memset(v, 0, sizeof *v);
  v->size = sizeof *v;
  v->flags = get_u32(r);
  v->model_id = get_u32(r);
  v->priority = (int32_t)get_u32(r);
  v->tokens = get_f64(r);
  v->max_tokens = get_f64(r);
  v->slo_ttft_ms = get_f64(r);
  v->slo_tpot_ms = get_f64(r);
  v->bytes = get_u64(r);
  v->model = get_str(r, l);
  v->tenant = get_str(r, l);
  v->session = get_str(r, l);
}

static void get_rows(reader *r, llmd_lane *l)
{
  uint32_t n = get_below(r, l->cap, LLMD_E_LIMIT);
  l->kept.n = n;
  for (uint32_t i = 0; i < n && !r->rc; i++) {
    llmd__row *row = &l->kept.row[i];
    memset(row, 0, sizeof *row);
    row->id = get_u64(r);
    row->port = get_u32(r);
    row->rank = get_u32(r);
    row->flags = get_u32(r) & (LLMD__ROW_DRAIN | LLMD__ROW_EJECTED);
    row->name = get_text(r, l);
    row->address = get_text(r, l);
    l->kept.id[i] = row->id;
  }
  if (l->facts.peer >= n && l->facts.peer != LLMD__NONE)
    fail(r, LLMD_E_SYNTAX);
}

static void get_start(reader *r, llmd_lane *l)
{
  llmd__candidates *c = &l->start;
  uint32_t n = get_u32(r);
  c->version = ++l->version;
  c->identity = n == LLMD__NONE;
  c->n = c->identity ? l->kept.n : n;
  if (c->n > l->kept.n) {
    fail(r, LLMD_E_SYNTAX);
    c->n = 0;
  }
  for (uint32_t i = 0; !c->identity && i < c->n && !r->rc; i++) {
    c->row[i] = get_row(r, l->kept.n, 0);
    if (!r->rc)
      c->id[i] = l->kept.id[c->row[i]];
  }
}

/* ---- sources ---------------------------------------------------------------------------------------------------- */

/* A source as the record has it; its cells follow when it was filled. */
typedef struct entry {
  uint32_t kind, flags;
  double fill;
  llmd_str name, producer;
} entry;

static void get_entry(reader *r, entry *e)
{
  e->kind = get_below(r, LLMD_READ_PROMPT, LLMD_E_SYNTAX);
  e->flags = get_below(r, LLMD__SOURCE_FILLED | LLMD__SOURCE_TEXT, LLMD_E_SYNTAX);
  e->fill = get_f64(r);
  e->name = get_bytes(r);
  e->producer = get_bytes(r);
}

static int same_text(llmd_str a, llmd_str b)
{
  return a.ptr && b.ptr && a.len == b.len && !memcmp(a.ptr, b.ptr, a.len);
}

static int is_entry(const llmd_lane *l, uint32_t source, const entry *e)
{
  llmd__source_name name;
  llmd__source_name_of(l->s, source, &name);
  return l->s->source[source].kind == e->kind && same_text(name.name, e->name) &&
         same_text(name.producer, e->producer);
}

/* What nobody knows: numbers as the lane's plugins want them then. */
static void blank_source(const llmd_lane *l, uint32_t source)
{
  llmd__kept_source *k = &l->kept.source[source];
  const llmd__source *src = &l->s->source[source];
  uint32_t cell = llmd__source_cell(src->kind);
  k->n_ids = k->match = 0;
  k->text.ptr = NULL;
  k->text.len = 0;
  for (uint32_t i = 0; cell == 8 && i < l->kept.n; i++)
    ((double *)k->cells)[i] = src->fill;
  if (cell == 4)
    memset(k->cells, 0, l->kept.n * sizeof(uint32_t));
}

static void get_cells(reader *r, llmd_lane *l, uint32_t source)
{
  llmd__kept_source *k = &l->kept.source[source];
  uint32_t kind = l->s->source[source].kind;
  switch (llmd__source_cell(kind)) {
  case 8:
    get_doubles(r, k->cells, l->kept.n);
    break;
  case 4:
    get_ids(r, k->cells, l->kept.n);
    break;
  default:
    k->text = get_str(r, l);
    if (k->text.len > LLMD_PROMPT_BYTES && kind == LLMD_READ_PROMPT)
      fail(r, LLMD_E_SYNTAX);
    k->n_ids = get_below(r, kind == LLMD_READ_HEADER_IDS ? LLMD__HEADER_IDS : 0, LLMD_E_SYNTAX);
    get_ids(r, k->cells, k->n_ids);
    break;
  }
}

static void skip_cells(reader *r, const llmd_lane *l, uint32_t kind)
{
  uint32_t cell = llmd__source_cell(kind);
  if (cell) {
    take(r, (size_t)cell * l->kept.n);
    return;
  }
  get_bytes(r);
  take(r, (size_t)4 * get_below(r, LLMD__HEADER_IDS, LLMD_E_SYNTAX));
}

/* Of the lane's own configuration: the same sources in the same order. What nobody read then, nobody reads now; it is
 * unknown, if a plugin is not the one it was. */
static void get_own_sources(reader *r, llmd_lane *l)
{
  must_be(r, l->s->n_sources);
  for (uint32_t i = 0; i < l->s->n_sources && !r->rc; i++) {
    entry e;
    get_entry(r, &e);
    if (!r->rc && (!is_entry(l, i, &e) || !(e.flags & LLMD__SOURCE_TEXT) != !l->s->source[i].text))
      fail(r, LLMD_E_MISMATCH);
    blank_source(l, i);
    l->kept.source[i].filled = e.flags & LLMD__SOURCE_FILLED;
    if (!r->rc && (e.flags & LLMD__SOURCE_FILLED))
      get_cells(r, l, i);
  }
}

/* How well a source of the record stands in for one of the lane's: unknown values are best as the lane's plugins want
 * them, else as they were, else as somebody else wanted them. 0 = not at all. */
static uint32_t fit_of(const llmd__source *src, const entry *e)
{
  if (!(e->flags & LLMD__SOURCE_FILLED) || (src->text && !(e->flags & LLMD__SOURCE_TEXT)))
    return 0;
  if (!memcmp(&e->fill, &src->fill, sizeof e->fill))
    return 3;
  return e->fill != e->fill ? 2 : 1;
}

static void fill_unknown(const llmd_lane *l, uint32_t source)
{
  double *v = l->kept.source[source].cells, fill = l->s->source[source].fill;
  for (uint32_t i = 0; fill == fill && llmd__source_cell(l->s->source[source].kind) == 8 && i < l->kept.n; i++)
    v[i] = v[i] == v[i] ? v[i] : fill;
}

/* The record's source into each of the lane's that it fits better than those before it. */
static void offer(const reader *at, llmd_lane *l, const entry *e, reader *errors)
{
  for (uint32_t i = 0; i < l->s->n_sources && !errors->rc; i++) {
    llmd__kept_source *k = &l->kept.source[i];
    reader r = *at;
    uint32_t fit = is_entry(l, i, e) ? fit_of(&l->s->source[i], e) : 0;
    if (fit <= k->match)
      continue;
    get_cells(&r, l, i);
    fill_unknown(l, i);
    k->match = fit;
    if (r.rc)
      fail(errors, r.rc);
  }
}

static void get_other_sources(reader *r, llmd_lane *l)
{
  uint32_t n = get_u32(r);
  for (uint32_t i = 0; i < l->s->n_sources; i++)
    blank_source(l, i);
  for (uint32_t k = 0; k < n && !r->rc; k++) {
    reader at;
    entry e;
    get_entry(r, &e);
    at = *r;
    if (e.flags & LLMD__SOURCE_FILLED)
      skip_cells(r, l, e.kind);
    if (!r->rc && (e.flags & LLMD__SOURCE_FILLED))
      offer(&at, l, &e, r);
  }
}

/* ---- columns ---------------------------------------------------------------------------------------------------- */

static llmd_str text_of(const char *s)
{
  llmd_str t = {s ? s : "", s ? strlen(s) : 0};
  return t;
}

static int is_column(const llmd__column *c, llmd_str name, llmd_str producer)
{
  return same_text(text_of(c->name), name) && same_text(text_of(c->producer), producer);
}

static void get_column(reader *r, llmd_lane *l, uint32_t column, uint32_t set)
{
  l->kept.column_set[column] = (uint8_t)set;
  get_doubles(r, l->kept.column[column], l->kept.n);
  memcpy(l->column[column], l->kept.column[column], l->kept.n * sizeof **l->column);
}

static void get_own_columns(reader *r, llmd_lane *l)
{
  must_be(r, l->s->n_columns);
  for (uint32_t i = 0; i < l->s->n_columns && !r->rc; i++) {
    llmd_str name = get_bytes(r), producer = get_bytes(r);
    uint32_t set = get_below(r, 2, LLMD_E_SYNTAX);
    if (!r->rc && !is_column(&l->s->column[i], name, producer))
      fail(r, LLMD_E_MISMATCH);
    l->kept.column_set[i] = 0;
    if (!r->rc && set)
      get_column(r, l, i, set);
  }
}

/* A column that the record's configuration made, and none of its plugins read as the lane's do. */
static void offer_column(const reader *at, llmd_lane *l, llmd_str name, llmd_str producer)
{
  entry e = {LLMD_READ_F64, LLMD__SOURCE_FILLED, (double)NAN, name, producer};
  for (uint32_t i = 0; i < l->s->n_sources; i++) {
    reader r = *at;
    if (l->kept.source[i].match || !is_entry(l, i, &e))
      continue;
    get_cells(&r, l, i);
    fill_unknown(l, i);
    l->kept.source[i].match = 2;
  }
}

static void get_other_columns(reader *r, llmd_lane *l)
{
  uint32_t n = get_u32(r);
  memset(l->kept.column_set, 0, l->s->n_columns);
  for (uint32_t k = 0; k < n && !r->rc; k++) {
    llmd_str name = get_bytes(r), producer = get_bytes(r);
    uint32_t set = get_below(r, 2, LLMD_E_SYNTAX);
    reader at = *r;
    if (set)
      take(r, (size_t)8 * l->kept.n);
    if (r->rc || !set)
      continue;
    offer_column(&at, l, name, producer);
    for (uint32_t i = 0; i < l->s->n_columns; i++) {
      reader again = at;
      if (is_column(&l->s->column[i], name, producer))
        get_column(&again, l, i, set);
    }
  }
}

/* ---- texts, calls, answers -------------------------------------------------------------------------------------- */

/* A record of the lane's configuration has them for the ids of its sources, in their order; of another one's only those
 * count that the lane's sources have. */
static void get_texts(reader *r, llmd_lane *l, int other)
{
  llmd__kept *k = &l->kept;
  uint32_t n = get_u32(r);
  llmd__texts_list(l);
  if (!other && !r->rc && n != k->n_id_texts)
    fail(r, LLMD_E_SYNTAX);
  for (uint32_t i = 0; i < n && !r->rc; i++) {
    uint32_t id = get_u32(r);
    llmd_str text = get_bytes(r);
    llmd__id_text *t = r->rc ? NULL : llmd__texts_find(k, id);
    if (!other && !r->rc && t != &k->id_text[i])
      fail(r, LLMD_E_SYNTAX);
    if (r->rc || !t || t->text.ptr || !text.ptr)
      continue;
    t->text.ptr = llmd__kept_text(l, text.ptr, text.len);
    t->text.len = t->text.ptr ? text.len : 0;
    if (!t->text.ptr)
      fail(r, LLMD_E_LIMIT);
  }
}

static int is_call(const llmd_lane *l, const llmd__failed *f)
{
  uint32_t instance = f->call - LLMD__FAILED_PRODUCE;
  if (f->rc >= 0)
    return 0;
  return f->call < LLMD__FAILED_PRODUCE || instance < l->s->config->n_instances;
}

static void get_failed(reader *r, llmd_lane *l, int other)
{
  llmd__kept *k = &l->kept;
  uint32_t n = get_below(r, LLMD__FAILED, LLMD_E_SYNTAX);
  for (uint32_t i = 0; i < n && !r->rc; i++) {
    llmd__failed f;
    f.call = get_u32(r);
    f.rc = (int32_t)get_u32(r);
    f.trouble = other ? get_bytes(r) : get_str(r, l);
    if (!r->rc && !other && !is_call(l, &f))
      fail(r, LLMD_E_SYNTAX);
    if (!r->rc && !other)
      k->failed[k->n_failed++] = f;
  }
}

static void get_answers(reader *r, llmd_lane *l, int other)
{
  llmd__kept *k = &l->kept;
  uint32_t n = get_below(r, LLMD_HOST_READS, LLMD_E_SYNTAX);
  for (uint32_t i = 0; i < n && !r->rc; i++) {
    llmd__answer a = {0, 0, 0};
    a.found = (int32_t)get_below(r, 1, LLMD_E_SYNTAX);
    a.value = get_u64(r);
    if (!r->rc && !other)
      k->answer[k->n_answers++] = a;
  }
}

int llmd__record_inputs(reader *r, llmd_lane *l, int other)
{
  get_view(r, l);
  get_rows(r, l);
  get_start(r, l);
  if (other) {
    get_other_sources(r, l);
    get_other_columns(r, l);
    for (uint32_t i = 0; i < l->s->n_sources; i++)
      l->kept.source[i].filled = l->kept.source[i].match != 0;
  } else {
    get_own_sources(r, l);
    get_own_columns(r, l);
  }
  if (!r->rc)
    get_texts(r, l, other);
  get_failed(r, l, other);
  get_answers(r, l, other);
  return r->rc;
}

/* ---- what came out ---------------------------------------------------------------------------------------------- */

static void get_profile(reader *r, const llmd_lane *l, llmd__result *out)
{
  out->state = get_below(r, LLMD_RUN_FAILED, LLMD_E_SYNTAX);
  out->n = get_below(r, LLMD_MAX_TARGETS, LLMD_E_SYNTAX);
  for (uint32_t i = 0; i < out->n; i++)
    out->row[i] = get_row(r, l->kept.n, 0);
  get_doubles(r, out->total, out->n);
}

int llmd__record_result(reader *r, const llmd_lane *l, llmd__told *t)
{
  t->status = get_below(r, LLMD_REJECTED, LLMD_E_SYNTAX);
  t->reason = get_below(r, LLMD_REASON_INTERNAL, LLMD_E_SYNTAX);
  t->code = get_u32(r);
  t->primary = get_u32(r);
  t->n = get_below(r, LLMD_MAX_PROFILES, LLMD_E_SYNTAX);
  for (uint32_t p = 0; p < t->n && !r->rc; p++)
    get_profile(r, l, &t->profile[p]);
  t->text = get_u64(r);
  if (!r->rc && t->primary != LLMD__NONE && t->primary >= t->n)
    fail(r, LLMD_E_SYNTAX);
  if (!r->rc && r->left)
    fail(r, LLMD_E_SYNTAX);
  return r->rc;
}
