#include "model/engine.h"

#include <string.h>

#include <llmd/error.h>

/* ==== the engines known by name (facts of the reference's table) ==== */

#define TEXT(s) {s, sizeof(s) - 1}
#define SERIES(n) {.name = TEXT(n)}
#define SERIES_WHERE(n, label, value) {.name = TEXT(n), .n_labels = 1, .labels = {{TEXT(label), TEXT(value), 0}}}

static const llmd__engine_spec engines[] = {
    {.name = TEXT("vllm"),
     .waiting = SERIES("vllm:num_requests_waiting"),
     .running = SERIES("vllm:num_requests_running"),
     .kv_usage = SERIES("vllm:kv_cache_usage_perc"),
     .lora = SERIES("vllm:lora_requests_info"),
     .cache_info = SERIES("vllm:cache_config_info"),
     .hash_algo_label = TEXT("prefix_caching_hash_algo")},
    {.name = TEXT("sglang"),
     .waiting = SERIES("sglang:num_queue_reqs"),
     .running = SERIES("sglang:num_running_reqs"),
     .kv_usage = SERIES("sglang:token_usage"),
     .cache_info = SERIES("sglang:cache_config_info"),
     .block_size_label = TEXT("page_size"),
     .num_blocks_label = TEXT("num_pages")},
    {.name = TEXT("trtllm-serve"),
     .waiting = SERIES("trtllm_num_requests_waiting"),
     .running = SERIES("trtllm_num_requests_running"),
     .kv_usage = SERIES("trtllm_kv_cache_utilization"),
     .block_size = SERIES("trtllm_kv_cache_tokens_per_block"),
     .num_blocks = SERIES("trtllm_kv_cache_max_blocks")},
    {.name = TEXT("triton-tensorrt-llm"),
     .waiting = SERIES_WHERE("nv_trt_llm_request_metrics", "request_type", "waiting"),
     .running = SERIES_WHERE("nv_trt_llm_request_metrics", "request_type", "scheduled"),
     .kv_usage = SERIES_WHERE("nv_trt_llm_kv_cache_block_metrics", "kv_cache_block_type", "fraction"),
     .block_size = SERIES_WHERE("nv_trt_llm_kv_cache_block_metrics", "kv_cache_block_type", "tokens_per"),
     .num_blocks = SERIES_WHERE("nv_trt_llm_kv_cache_block_metrics", "kv_cache_block_type", "max")},
    {.name = TEXT("triton"),
     .waiting = SERIES("nv_inference_pending_request_count"),
     .running = SERIES("nv_inference_exec_count")},
};

#undef TEXT
#undef SERIES
#undef SERIES_WHERE

const llmd__engine_spec *llmd__engine_at(uint32_t i)
{
  return i < sizeof engines / sizeof *engines ? &engines[i] : NULL;
}

const llmd__engine_spec *llmd__engine_find(const char *name, size_t len)
{
  const llmd__engine_spec *e;
  for (uint32_t i = 0; (e = llmd__engine_at(i)) != NULL; i++)
    if (e->name.len == len && memcmp(e->name.ptr, name, len) == 0)
      return e;
  return NULL;
}

/* ==== specifications ==== */

struct cursor {
  const char *p, *end;
};

static int is_space(char c)
{
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_space(struct cursor *c)
{
  while (c->p < c->end && is_space(*c->p))
    c->p++;
}

static size_t left(const struct cursor *c)
{
  return (size_t)(c->end - c->p);
}

static int at(const struct cursor *c, char wanted)
{
  return c->p < c->end && *c->p == wanted;
}

static int read_value(struct cursor *c, llmd__label *out)
{
  if (at(c, '"')) {
    const size_t quoted = llmd__quoted_len(c->p, left(c), out);
    c->p += quoted;
    return quoted ? 0 : LLMD_E_SYNTAX;
  }
  out->raw.ptr = c->p;
  out->escaped = 0;
  while (c->p < c->end && !is_space(*c->p) && !strchr("\",}", *c->p)) {
    if (*c->p == '\\')
      return LLMD_E_SYNTAX;
    c->p++;
  }
  out->raw.len = (size_t)(c->p - out->raw.ptr);
  return out->raw.len ? 0 : LLMD_E_SYNTAX;
}

static int read_label(struct cursor *c, llmd__label *out)
{
  out->name.ptr = c->p;
  out->name.len = llmd__label_name_len(c->p, left(c));
  if (out->name.len == 0)
    return LLMD_E_SYNTAX;
  c->p += out->name.len;
  skip_space(c);
  if (at(c, '!'))
    return LLMD_E_UNSUPPORTED;
  if (!at(c, '='))
    return LLMD_E_SYNTAX;
  c->p++;
  if (at(c, '~'))
    return LLMD_E_UNSUPPORTED;
  skip_space(c);
  return read_value(c, out);
}

static int add_label(llmd__metric_spec *spec, const llmd__label *label)
{
  uint32_t i = 0;
  if (label->name.len >= 2 && memcmp(label->name.ptr, "__", 2) == 0)
    return 0;
  while (i < spec->n_labels && (spec->labels[i].name.len != label->name.len ||
                                memcmp(spec->labels[i].name.ptr, label->name.ptr, label->name.len) != 0))
    i++;
  if (i == LLMD__SPEC_LABELS_MAX)
    return LLMD_E_LIMIT;
  spec->labels[i] = *label;
  spec->n_labels += i == spec->n_labels;
  return 0;
}

/* Behind the opening brace, up to and with the closing one. A comma may follow the last label, as in a page. */
static int read_labels(struct cursor *c, llmd__metric_spec *spec)
{
  llmd__label label;
  int rc;
  for (;;) {
    skip_space(c);
    if (at(c, '}'))
      break;
    rc = read_label(c, &label);
    if (rc == 0)
      rc = add_label(spec, &label);
    if (rc < 0)
      return rc;
    skip_space(c);
    if (at(c, '}'))
      break;
    if (!at(c, ','))
      return LLMD_E_SYNTAX;
    c->p++;
  }
  c->p++;
  return 0;
}

int llmd__metric_spec_parse(const char *text, size_t len, llmd__metric_spec *out)
{
  struct cursor c = {text, text + len};
  llmd__metric_spec spec;
  memset(&spec, 0, sizeof spec);
  if (len) {
    skip_space(&c);
    spec.name.ptr = c.p;
    spec.name.len = llmd__metric_name_len(c.p, left(&c));
    if (spec.name.len == 0)
      return LLMD_E_SYNTAX;
    c.p += spec.name.len;
    skip_space(&c);
    if (at(&c, '{')) {
      int rc;
      c.p++;
      rc = read_labels(&c, &spec);
      if (rc < 0)
        return rc;
    }
    skip_space(&c);
    if (c.p < c.end)
      return LLMD_E_SYNTAX;
  }
  *out = spec;
  return 0;
}

int llmd__metric_spec_match(const llmd__metric_spec *spec, const llmd__sample *s)
{
  llmd__label label;
  if (spec->name.len == 0 || spec->name.len != s->name.len ||
      memcmp(spec->name.ptr, s->name.ptr, s->name.len) != 0)
    return 0;
  for (uint32_t i = 0; i < spec->n_labels; i++) {
    const llmd__label *wanted = &spec->labels[i];
    if (!llmd__label_find(s->labels, wanted->name.ptr, wanted->name.len, &label) || !llmd__label_same(wanted, &label))
      return 0;
  }
  return 1;
}
