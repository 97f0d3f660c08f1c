#include "model/scrape.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/number.h"

/* What counts as absurd. A count of requests has no such limit: too many only makes an endpoint look worse. */
#define COUNT_MAX 2147483647.0
#define USAGE_MAX 1.5
#define BLOCK_SIZE_MAX 1048576.0
#define CUSTOM_VALUE_MAX 1e18
#define LORA_TIME_MAX 1e15

/* ==== choosing the series ==== */

enum { WAITING, RUNNING, KV_USAGE, LORA, CACHE_INFO, BLOCK_SIZE, NUM_BLOCKS, CUSTOM };
#define SERIES_MAX (CUSTOM + LLMD__CUSTOM_MAX)

/* The best sample so far for one specification. Newest wins, and only a later one replaces an earlier line. A time
 * before 1970 never wins, in the reference as here. */
struct series {
  const llmd__metric_spec *spec;
  int found;
  double when;
  llmd__sample sample;
};

static void wanted(struct series *all, const llmd__engine_spec *e)
{
  const llmd__metric_spec *fixed[CUSTOM] = {
      [WAITING] = &e->waiting,       [RUNNING] = &e->running,       [KV_USAGE] = &e->kv_usage,    [LORA] = &e->lora,
      [CACHE_INFO] = &e->cache_info, [BLOCK_SIZE] = &e->block_size, [NUM_BLOCKS] = &e->num_blocks};
  for (uint32_t i = 0; i < SERIES_MAX; i++) {
    all[i].spec = i < CUSTOM ? fixed[i] : i - CUSTOM < e->n_custom ? &e->custom[i - CUSTOM] : NULL;
    all[i].found = 0;
    all[i].when = -1;
    if (all[i].spec && all[i].spec->name.len == 0)
      all[i].spec = NULL;
  }
}

static uint32_t names_of(const struct series *all, llmd_str *names)
{
  uint32_t n = 0;
  for (uint32_t i = 0; i < SERIES_MAX; i++)
    if (all[i].spec)
      names[n++] = all[i].spec->name;
  return n;
}

static void refuse(llmd__scrape_result *out)
{
  out->values_refused++;
  out->bad_sample = 1;
}

static void consider(struct series *all, const llmd__sample *sample, llmd__scrape_result *out)
{
  for (uint32_t i = 0; i < SERIES_MAX; i++) {
    struct series *s = &all[i];
    double when;
    if (!s->spec || !llmd__metric_spec_match(s->spec, sample))
      continue;
    when = i == LORA ? sample->value : (double)sample->timestamp;
    if (i == LORA && !(when >= 0 && when <= LORA_TIME_MAX)) {
      refuse(out);
    } else if (when > s->when) {
      s->found = 1;
      s->when = when;
      s->sample = *sample;
    }
  }
}

static void read_page(struct series *all, const char *page, size_t len, llmd__scrape_result *out)
{
  llmd_str names[SERIES_MAX];
  llmd__exposition x;
  llmd__sample sample;
  const uint32_t n = names_of(all, names);
  llmd__exposition_init(&x, page, n ? len : 0, names, n);
  while (llmd__exposition_next(&x, &sample) > 0)
    consider(all, &sample, out);
  out->samples = x.samples;
  out->lines_refused = x.refused;
  out->first_refused = x.first_refused;
}

/* ==== judging values ==== */

static double judge(double v, double low, double high, llmd__scrape_result *out)
{
  if (v >= low && v <= high)
    return v + 0.0; /* -0 becomes 0 */
  refuse(out);
  return (double)NAN;
}

static double value_of(const struct series *s, double low, double high, llmd__scrape_result *out)
{
  return s->found ? judge(s->sample.value, low, high, out) : (double)NAN;
}

/* NaN passes through both. */
static double at_most(double v, double high)
{
  return v > high ? high : v;
}

static double whole(double v)
{
  return v >= 0 ? (double)(int32_t)v : v;
}

/* Python's way to say "not known" is None. */
static int is_said(const llmd__label *l)
{
  return l->raw.len && !(l->raw.len == 4 && memcmp(l->raw.ptr, "None", 4) == 0);
}

/* A number that stands in a label. */
static double label_number(const llmd__sample *s, llmd_str name, double low, double high, llmd__scrape_result *out)
{
  llmd__label label;
  int64_t v;
  if (!llmd__label_find(s->labels, name.ptr, name.len, &label) || !is_said(&label))
    return (double)NAN;
  if (llmd__parse_i64(label.raw.ptr, label.raw.len, &v) < 0) {
    refuse(out);
    return (double)NAN;
  }
  return judge((double)v, low, high, out);
}

static llmd_str label_name(llmd_str own, const char *usual)
{
  const llmd_str name = {usual, strlen(usual)};
  return own.len ? own : name;
}

/* A word in a label. One that is too long is no word that anybody knows. */
static void fill_hash_algo(const llmd__sample *s, llmd_str name, llmd__scrape_result *out)
{
  llmd__label label;
  if (!name.len || !llmd__label_find(s->labels, name.ptr, name.len, &label) || !is_said(&label))
    return;
  if (label.raw.len > LLMD__HASH_ALGO_MAX ||
      llmd__label_value(&label, out->hash_algo_text, LLMD__HASH_ALGO_MAX, &out->hash_algo) < 0)
    refuse(out);
}

static void fill_cache(const struct series *all, const llmd__engine_spec *e, llmd__scrape_result *out)
{
  if (all[CACHE_INFO].found) {
    const llmd__sample *s = &all[CACHE_INFO].sample;
    out->block_size = label_number(s, label_name(e->block_size_label, "block_size"), 1, BLOCK_SIZE_MAX, out);
    out->num_blocks = label_number(s, label_name(e->num_blocks_label, "num_gpu_blocks"), 0, COUNT_MAX, out);
    fill_hash_algo(s, e->hash_algo_label, out);
  }
  if (all[BLOCK_SIZE].found)
    out->block_size = whole(value_of(&all[BLOCK_SIZE], 1, BLOCK_SIZE_MAX, out));
  if (all[NUM_BLOCKS].found)
    out->num_blocks = whole(value_of(&all[NUM_BLOCKS], 0, COUNT_MAX, out));
}

/* ==== adapters ==== */

static int is_blank(char c)
{
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void add_name(llmd__lora_names *names, const char *p, size_t len)
{
  while (len && is_blank(p[len - 1]))
    len--;
  for (; len && is_blank(*p); p++)
    len--;
  if (len == 0)
    return;
  for (uint32_t i = 0; i < names->n; i++)
    if (names->name[i].len == len && memcmp(names->name[i].ptr, p, len) == 0)
      return;
  if (names->n == LLMD__LORA_MAX) {
    names->dropped++;
    return;
  }
  names->name[names->n].ptr = p;
  names->name[names->n].len = len;
  names->n++;
}

static void split_names(llmd__lora_names *names, llmd_str list)
{
  while (list.len) {
    const char *comma = memchr(list.ptr, ',', list.len);
    const size_t len = comma ? (size_t)(comma - list.ptr) : list.len, used = len + (comma != NULL);
    add_name(names, list.ptr, len);
    list.ptr += used;
    list.len -= used;
  }
}

/* *used counts the bytes of lora_text that are taken. A list that does not fit there is refused as a value. */
static void fill_names(const llmd__sample *s, const char *name, llmd__lora_names *names, size_t *used,
                       llmd__scrape_result *out)
{
  llmd__label label;
  llmd_str list;
  names->n = 0;
  names->dropped = 0;
  if (!llmd__label_find(s->labels, name, strlen(name), &label))
    return;
  if (llmd__label_value(&label, out->lora_text + *used, LLMD__LORA_TEXT_MAX - *used, &list) < 0) {
    refuse(out);
    return;
  }
  *used += label.escaped ? list.len : 0;
  split_names(names, list);
}

static void fill_lora(const struct series *s, llmd__scrape_result *out)
{
  const llmd_str max_lora = {"max_lora", 8};
  size_t used = 0;
  if (!s->found)
    return;
  out->lora_found = 1;
  fill_names(&s->sample, "running_lora_adapters", &out->running_lora, &used, out);
  fill_names(&s->sample, "waiting_lora_adapters", &out->waiting_lora, &used, out);
  out->max_lora = label_number(&s->sample, max_lora, 0, COUNT_MAX, out);
}

/* ==== the page ==== */

/* Everything unknown. The names are not cleared: their counts say how many there are. */
static void blank(llmd__scrape_result *out)
{
  out->waiting = out->running = out->kv_usage = out->max_lora = out->block_size = out->num_blocks = (double)NAN;
  for (uint32_t i = 0; i < LLMD__CUSTOM_MAX; i++)
    out->custom[i] = (double)NAN;
  out->running_lora.n = out->running_lora.dropped = out->waiting_lora.n = out->waiting_lora.dropped = 0;
  out->lora_found = out->bad_sample = 0;
  out->hash_algo.ptr = NULL;
  out->hash_algo.len = 0;
  out->values_refused = 0;
}

static int count_found(const llmd__scrape_result *r)
{
  const double fixed[] = {r->waiting, r->running, r->kv_usage, r->max_lora, r->block_size, r->num_blocks};
  int n = r->lora_found + (r->hash_algo.len != 0);
  for (uint32_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
    n += !isnan(fixed[i]);
  for (uint32_t i = 0; i < LLMD__CUSTOM_MAX; i++)
    n += !isnan(r->custom[i]);
  return n;
}

int llmd__scrape(const llmd__engine_spec *e, const char *page, size_t len, llmd__scrape_result *out)
{
  struct series all[SERIES_MAX];
  wanted(all, e);
  blank(out);
  read_page(all, page, len, out);
  out->waiting = whole(at_most(value_of(&all[WAITING], 0, DBL_MAX, out), COUNT_MAX));
  out->running = whole(at_most(value_of(&all[RUNNING], 0, DBL_MAX, out), COUNT_MAX));
  out->kv_usage = at_most(value_of(&all[KV_USAGE], 0, USAGE_MAX, out), 1);
  for (uint32_t i = 0; i < LLMD__CUSTOM_MAX; i++)
    out->custom[i] = value_of(&all[CUSTOM + i], 0, CUSTOM_VALUE_MAX, out);
  fill_cache(all, e, out);
  fill_lora(&all[LORA], out);
  return count_found(out);
}
