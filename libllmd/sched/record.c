/* llmd_record_write: the lane's last decision as bytes (record.h). Two passes over the same code: one counts and sums,
 * one writes, so that nothing is allocated. */
#include "sched/record.h"

#include <string.h>

#include "sched/out.h"

/* ---- little-endian ---------------------------------------------------------------------------------------------- */

static void put_u32(llmd__out *o, uint32_t v)
{
  char b[4];
  for (int i = 0; i < 4; i++)
    b[i] = (char)(v >> 8 * i & 0xff);
  llmd__out_n(o, b, sizeof b);
}

static void put_u64(llmd__out *o, uint64_t v)
{
  char b[8];
  for (int i = 0; i < 8; i++)
    b[i] = (char)(v >> 8 * i & 0xff);
  llmd__out_n(o, b, sizeof b);
}

/* All bits, those of a NaN too. */
static void put_f64(llmd__out *o, double v)
{
  uint64_t bits;
  memcpy(&bits, &v, sizeof bits);
  put_u64(o, bits);
}

static void put_str(llmd__out *o, llmd_str s)
{
  put_u32(o, s.ptr ? (uint32_t)s.len : LLMD__NONE);
  if (s.ptr)
    llmd__out_n(o, s.ptr, s.len);
}

static void put_text(llmd__out *o, const char *text)
{
  llmd_str s = {text ? text : "", text ? strlen(text) : 0};
  put_str(o, s);
}

static void put_ids(llmd__out *o, const uint32_t *v, uint32_t n)
{
  for (uint32_t i = 0; i < n; i++)
    put_u32(o, v[i]);
}

static void put_doubles(llmd__out *o, const double *v, uint32_t n)
{
  for (uint32_t i = 0; i < n; i++)
    put_f64(o, v[i]);
}

/* ---- the parts -------------------------------------------------------------------------------------------------- */

static void put_facts(llmd__out *o, const llmd_lane *l)
{
  const llmd__facts *f = &l->facts;
  put_u64(o, l->s->identity);
  put_u32(o, l->s->options.compat);
  put_u32(o, l->s->options.fail);
  put_u64(o, l->last.seed);
  put_u64(o, l->kept.now.mono);
  put_u64(o, l->kept.now.wall);
  put_u32(o, l->last.ladder);
  put_u32(o, f->bad_request);
  put_u32(o, f->if_available);
  put_u32(o, f->peer);
  put_u32(o, f->robin);
  put_u32(o, f->scored);
}

static void put_view(llmd__out *o, const llmd_request_view *v)
{
  put_u32(o, v->flags);
  put_u32(o, v->model_id);
  put_u32(o, (uint32_t)v->priority);
  put_f64(o, v->tokens);
  put_f64(o, v->max_tokens);
  put_f64(o, v->slo_ttft_ms);
  put_f64(o, v->slo_tpot_ms);
  put_u64(o, v->bytes);
  put_str(o, v->model);
  put_str(o, v->tenant);
  put_str(o, v->session);
}

static void put_rows(llmd__out *o, const llmd_lane *l)
{
  put_u32(o, l->kept.n);
  for (uint32_t i = 0; i < l->kept.n; i++) {
    const llmd__row *r = &l->kept.row[i];
    put_u64(o, r->id);
    put_u32(o, r->port);
    put_u32(o, r->rank);
    put_u32(o, r->flags & (LLMD__ROW_DRAIN | LLMD__ROW_EJECTED));
    put_str(o, llmd__kept_string(l, i, r->name));
    put_str(o, llmd__kept_string(l, i, r->address));
  }
  put_u32(o, l->start.identity ? LLMD__NONE : l->start.n);
  if (!l->start.identity)
    put_ids(o, l->start.row, l->start.n);
}

static void put_sources(llmd__out *o, const llmd_lane *l)
{
  put_u32(o, l->s->n_sources);
  for (uint32_t i = 0; i < l->s->n_sources; i++) {
    const llmd__source *src = &l->s->source[i];
    const llmd__kept_source *k = &l->kept.source[i];
    llmd__source_name name;
    llmd__source_name_of(l->s, i, &name);
    put_u32(o, src->kind);
    put_u32(o, (k->filled ? LLMD__SOURCE_FILLED : 0) | (src->text ? LLMD__SOURCE_TEXT : 0));
    put_f64(o, src->fill);
    put_str(o, name.name);
    put_str(o, name.producer);
    if (!k->filled)
      continue;
    switch (llmd__source_cell(src->kind)) {
    case 0:
      put_str(o, k->text);
      put_u32(o, k->n_ids);
      put_ids(o, k->cells, k->n_ids);
      break;
    case 4:
      put_ids(o, k->cells, l->kept.n);
      break;
    default:
      put_doubles(o, k->cells, l->kept.n);
      break;
    }
  }
}

static void put_columns(llmd__out *o, const llmd_lane *l)
{
  put_u32(o, l->s->n_columns);
  for (uint32_t i = 0; i < l->s->n_columns; i++) {
    put_text(o, l->s->column[i].name);
    put_text(o, l->s->column[i].producer);
    put_u32(o, l->kept.column_set[i]);
    if (l->kept.column_set[i])
      put_doubles(o, l->kept.column[i], l->kept.n);
  }
}

static void put_texts(llmd__out *o, const llmd__kept *k)
{
  put_u32(o, k->n_id_texts);
  for (uint32_t i = 0; i < k->n_id_texts; i++) {
    put_u32(o, k->id_text[i].id);
    put_str(o, k->id_text[i].text);
  }
}

static void put_calls(llmd__out *o, const llmd__kept *k)
{
  put_u32(o, k->n_failed);
  for (uint32_t i = 0; i < k->n_failed; i++) {
    put_u32(o, k->failed[i].call);
    put_u32(o, (uint32_t)k->failed[i].rc);
    put_str(o, k->failed[i].trouble);
  }
  put_u32(o, k->n_answers);
  for (uint32_t i = 0; i < k->n_answers; i++) {
    put_u32(o, (uint32_t)k->answer[i].found);
    put_u64(o, k->answer[i].value);
  }
}

static void put_result(llmd__out *o, const llmd_lane *l)
{
  const llmd_decision *d = &l->last;
  put_u32(o, d->status);
  put_u32(o, d->reason);
  put_u32(o, d->code);
  put_u32(o, d->primary);
  put_u32(o, l->s->config->n_profiles);
  for (uint32_t p = 0; p < l->s->config->n_profiles; p++) {
    const llmd__result *r = &l->result[p];
    put_u32(o, r->state);
    put_u32(o, r->n);
    put_ids(o, r->row, r->n);
    put_doubles(o, r->total, r->n);
  }
  put_u64(o, llmd__fnv(LLMD__FNV_BASIS, d->text, d->text_len));
}

static void put_body(llmd__out *o, const llmd_lane *l)
{
  put_facts(o, l);
  put_view(o, &l->kept.view);
  put_rows(o, l);
  put_sources(o, l);
  put_columns(o, l);
  put_texts(o, &l->kept);
  put_calls(o, &l->kept);
  put_result(o, l);
}

static int add_sum(void *ud, const char *ptr, size_t len)
{
  uint64_t *sum = ud;
  *sum = llmd__fnv(*sum, ptr, len);
  return 0;
}

int llmd_record_write(const llmd_lane *lane, llmd_write_fn fn, void *ud)
{
  uint64_t sum = LLMD__FNV_BASIS;
  llmd__out o;
  if (!lane || !fn)
    return LLMD_E_INVALID;
  if (!lane->last_valid)
    return LLMD_E_NONE;
  if (lane->kept.lost)
    return LLMD_E_LIMIT;
  llmd__out_init(&o, add_sum, &sum);
  put_body(&o, lane);
  llmd__out_finish(&o);
  {
    uint64_t bytes = o.bytes + LLMD__RECORD_HEAD;
    llmd__out_init(&o, fn, ud);
    llmd__out_n(&o, LLMD__RECORD_MAGIC, 8);
    put_u32(&o, LLMD__RECORD_VERSION);
    put_u32(&o, 0);
    put_u64(&o, bytes);
    put_u64(&o, sum);
  }
  put_body(&o, lane);
  return llmd__out_finish(&o);
}
