/* Metrics pages from a hostile engine. The input is the page; its first line also serves as a metric specification. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "model/scrape.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds)
{
  if (!holds)
    abort();
}

static void must_lie_in(llmd_str s, const char *from, size_t len)
{
  must(s.len == 0 || (s.ptr >= from && s.ptr + s.len <= from + len));
}

/* What is written reads back as the same number. */
static void must_round_trip(double v)
{
  char text[LLMD__NUMBER_ROOM];
  double back;
  if (isfinite(v)) {
    must(llmd__parse_double(text, llmd__format_double(v, text), &back) == 0);
    must(memcmp(&v, &back, sizeof v) == 0);
  }
}

static void check_labels(llmd_str labels, const char *page, size_t len)
{
  char buf[LLMD__EXPOSITION_LINE_MAX];
  llmd__label label, again;
  int n = 0;
  for (llmd_str rest = labels; llmd__label_next(&rest, &label); n++) {
    llmd_str value;
    must_lie_in(label.name, page, len);
    must_lie_in(label.raw, page, len);
    must(llmd__label_value(&label, buf, label.raw.len, &value) == 0);
    must(value.len <= label.raw.len && llmd__label_same(&label, &label));
    must(llmd__label_find(labels, label.name.ptr, label.name.len, &again));
  }
  must(n <= LLMD__EXPOSITION_LABELS_MAX);
}

static void read_all(const char *page, size_t len)
{
  llmd__exposition x;
  llmd__sample s;
  size_t last = 0;
  llmd__exposition_init(&x, page, len, NULL, 0);
  while (llmd__exposition_next(&x, &s)) {
    must(s.name.len > 0 && s.offset >= last && x.at > s.offset && x.at <= len);
    last = s.offset;
    must_lie_in(s.name, page, len);
    check_labels(s.labels, page, len);
    must_round_trip(s.value);
  }
  must(x.refused == 0 || x.first_refused < len);
}

static void must_be_sane(double v, double high)
{
  must(isnan(v) || (v >= 0 && v <= high && !signbit(v)));
}

static void must_own(const llmd__lora_names *names, const llmd__scrape_result *r, const char *page, size_t len)
{
  must(names->n <= LLMD__LORA_MAX);
  for (uint32_t i = 0; i < names->n; i++) {
    const llmd_str name = names->name[i];
    if (name.ptr >= r->lora_text && name.ptr < r->lora_text + sizeof r->lora_text)
      must_lie_in(name, r->lora_text, sizeof r->lora_text);
    else
      must_lie_in(name, page, len);
  }
}

static void scrape_as(const llmd__engine_spec *e, const char *page, size_t len)
{
  static llmd__scrape_result r;
  must(llmd__scrape(e, page, len, &r) >= 0);
  must_be_sane(r.waiting, INT32_MAX);
  must_be_sane(r.running, INT32_MAX);
  must_be_sane(r.kv_usage, 1);
  must_be_sane(r.max_lora, INT32_MAX);
  must_be_sane(r.block_size, 1 << 20);
  must_be_sane(r.num_blocks, INT32_MAX);
  must_be_sane(r.custom[0], 1e18);
  must((r.values_refused > 0) == r.bad_sample);
  must_own(&r.running_lora, &r, page, len);
  must_own(&r.waiting_lora, &r, page, len);
}

/* An engine whose every wish is the specification in the first line. */
static void scrape_own(const char *page, size_t len)
{
  const char *end = len ? memchr(page, '\n', len) : NULL;
  llmd__metric_spec spec;
  llmd__engine_spec e;
  if (llmd__metric_spec_parse(page, end ? (size_t)(end - page) : len, &spec) < 0)
    return;
  memset(&e, 0, sizeof e);
  e.waiting = e.kv_usage = e.lora = e.cache_info = e.num_blocks = spec;
  e.custom = &spec;
  e.n_custom = 1;
  scrape_as(&e, page, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  const char *page = (const char *)data;
  const llmd__engine_spec *e;
  read_all(page, size);
  for (uint32_t i = 0; (e = llmd__engine_at(i)) != NULL; i++)
    scrape_as(e, page, size);
  scrape_own(page, size);
  return 0;
}
