/* llmd_replay: a record decided again. The reader is bounded: a record may come from anywhere, every number in it is
 * checked against the bytes that are there and the room that the lane has. */
#include <math.h>
#include <string.h>

#include "sched/record.h"

/* ---- little-endian, bounded ------------------------------------------------------------------------------------- */

/* After the first error everything reads as zero, and rc says what it was. */
typedef struct reader {
  const unsigned char *p;
  size_t left;
  int rc;
} reader;

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

/* Leaves the reader at identity. *bytes = length of the record. */
static int open_record(reader *r, const void *record, size_t len, uint64_t *bytes)
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

/* ---- into the lane ---------------------------------------------------------------------------------------------- */

/* What stands between identity and view. *seed and now are needed before the lane can be touched. */
typedef struct prologue {
  uint64_t seed;
  llmd_now now;
  uint32_t ladder;
  llmd__facts facts;
} prologue;

static void get_prologue(reader *r, const llmd_scheduler *s, prologue *p)
{
  uint64_t identity = get_u64(r);
  uint32_t compat = get_u32(r), open = get_u32(r);
  if (!r->rc && (identity != s->identity || compat != s->options.compat || open != s->options.fail))
    fail(r, LLMD_E_MISMATCH);
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

/* Nobody read it then, so nobody reads it now; unknown, if a plugin is not the one it was. */
static void blank_source(const llmd_lane *l, llmd__kept_source *k, uint32_t cell)
{
  for (uint32_t i = 0; cell == 8 && i < l->kept.n; i++)
    ((double *)k->cells)[i] = (double)NAN;
  if (cell == 4)
    memset(k->cells, 0, l->kept.n * sizeof(uint32_t));
}

static void get_source(reader *r, llmd_lane *l, uint32_t source)
{
  llmd__kept_source *k = &l->kept.source[source];
  uint32_t cell = llmd__record_cell(l->s->source[source].kind);
  must_be(r, l->s->source[source].kind);
  k->filled = get_below(r, 1, LLMD_E_SYNTAX);
  k->n_ids = 0;
  k->text.ptr = NULL;
  k->text.len = 0;
  if (!k->filled) {
    blank_source(l, k, cell);
  } else if (cell == 8) {
    get_doubles(r, k->cells, l->kept.n);
  } else if (cell == 4) {
    get_ids(r, k->cells, l->kept.n);
  } else {
    int ids = l->s->source[source].kind == LLMD_READ_HEADER_IDS;
    k->text = get_str(r, l);
    k->n_ids = get_below(r, ids ? LLMD__HEADER_IDS : 0, LLMD_E_SYNTAX);
    get_ids(r, k->cells, k->n_ids);
  }
}

static void get_columns(reader *r, llmd_lane *l)
{
  must_be(r, l->s->n_columns);
  for (uint32_t i = 0; i < l->s->n_columns && !r->rc; i++) {
    l->kept.column_set[i] = (uint8_t)get_below(r, 2, LLMD_E_SYNTAX);
    if (!l->kept.column_set[i])
      continue;
    get_doubles(r, l->kept.column[i], l->kept.n);
    memcpy(l->column[i], l->kept.column[i], l->kept.n * sizeof **l->column);
  }
}

static void get_inputs(reader *r, llmd_lane *l)
{
  get_view(r, l);
  get_rows(r, l);
  get_start(r, l);
  must_be(r, l->s->n_sources);
  for (uint32_t i = 0; i < l->s->n_sources && !r->rc; i++)
    get_source(r, l, i);
  get_columns(r, l);
}

/* ---- deciding --------------------------------------------------------------------------------------------------- */

/* The sources as the cycle wants them. */
static void arm_sources(llmd_lane *l)
{
  for (uint32_t i = 0; i < l->s->n_sources; i++) {
    llmd__full *f = &l->full[i];
    const llmd__kept_source *k = &l->kept.source[i];
    f->decision = l->decision;
    f->gathered = 0;
    memset(&f->value, 0, sizeof f->value);
    f->value.num = (double)NAN;
    if (llmd__record_cell(l->s->source[i].kind)) {
      f->col = k->cells;
      continue;
    }
    f->value.str = k->text;
    f->value.ids = k->n_ids ? k->cells : NULL;
    f->value.n_ids = k->n_ids;
  }
}

static void run(llmd_lane *l, llmd_decision *d, uint32_t ladder)
{
  llmd_endpoint_id *ids = l->all_id;
  memset(&l->snap, 0, sizeof l->snap);
  l->snap.n = l->kept.n;
  l->snap.view.row = l->kept.row;
  l->view = l->kept.view;
  l->peer_row = l->facts.peer;
  memcpy(l->column_set, l->kept.column_set, l->s->n_columns);
  arm_sources(l);
  l->ladder = ladder & (LLMD_LADDER_PLUGIN | LLMD_LADDER_NO_INDEX | LLMD_LADDER_STALE | LLMD_LADDER_BUDGET |
                        LLMD_LADDER_EJECTED);
  l->replaying = 1;
  l->all_id = l->kept.id;
  d->tokens = l->view.tokens;
  d->flags = l->view.flags & LLMD_VIEW_TRUNCATED ? LLMD_DECISION_TRUNCATED : 0;
  llmd__decision_run(l, d);
  d->ladder = l->ladder;
  llmd__why_keep(l, d);
  l->all_id = ids;
  l->replaying = 0;
}

/* ---- comparing -------------------------------------------------------------------------------------------------- */

static int same_profile(reader *r, const llmd_lane *l, uint32_t profile)
{
  const llmd__result *now = &l->result[profile];
  int same = get_u32(r) == now->state;
  uint32_t n = get_below(r, LLMD_MAX_TARGETS, LLMD_E_SYNTAX);
  same &= n == now->n;
  for (uint32_t i = 0; i < n; i++) {
    uint32_t row = get_u32(r);
    same &= i < now->n && row == now->row[i];
  }
  for (uint32_t i = 0; i < n; i++) {
    double total = get_f64(r);
    same &= i < now->n && !memcmp(&total, &now->total[i], sizeof total);
  }
  return same;
}

static int same_result(reader *r, const llmd_lane *l, uint32_t ladder)
{
  const llmd_decision *d = &l->last;
  int same = d->ladder == ladder;
  same &= get_u32(r) == d->status;
  same &= get_u32(r) == d->reason;
  same &= get_u32(r) == d->code;
  same &= get_u32(r) == d->primary;
  must_be(r, l->s->config->n_profiles);
  for (uint32_t p = 0; p < l->s->config->n_profiles && !r->rc; p++)
    same &= same_profile(r, l, p);
  same &= get_u64(r) == llmd__fnv(LLMD__FNV_BASIS, d->text, d->text_len);
  return same;
}

/* From the prologue on. The decision is made in l->last. */
static int replay(llmd_lane *l, reader *r, const prologue *p, int *same)
{
  llmd_decision *d = &l->last;
  d->size = sizeof *d;
  l->kept.now = p->now;
  llmd__decision_begin(l, d, &l->kept.now, p->seed);
  l->facts = p->facts;
  l->kept.replayed = 1;
  l->decided = 0;
  l->req = NULL;
  get_inputs(r, l);
  if (r->rc)
    return r->rc;
  run(l, d, p->ladder);
  *same = same_result(r, l, p->ladder);
  if (!r->rc && r->left)
    fail(r, LLMD_E_SYNTAX);
  l->last_valid = !r->rc;
  return r->rc;
}

int64_t llmd_replay(llmd_lane *lane, const void *record, size_t len, llmd_decision *out, int *same)
{
  uint64_t bytes;
  reader r;
  prologue p;
  uint32_t size;
  int rc, equal = 0;
  if (!lane || !record || !out || out->size < sizeof *out)
    return LLMD_E_INVALID;
  if (!lane->s->options.explain)
    return LLMD_E_STATE;
  rc = open_record(&r, record, len, &bytes);
  if (rc)
    return rc;
  get_prologue(&r, lane->s, &p);
  rc = r.rc ? r.rc : replay(lane, &r, &p, &equal);
  if (rc)
    return rc;
  size = out->size;
  *out = lane->last;
  out->size = size;
  if (same)
    *same = equal;
  return (int64_t)bytes;
}
