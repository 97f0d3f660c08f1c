#include "sim_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "sim_text.h"

#define FILE_MAX ((size_t)16 << 20)

void sim_model_default(struct sim_model *model)
{
  static const struct sim_model qwen3 = {
    .name = SIM_MODEL_DEFAULT,
    .tw = 0.0118, .tc = 4.692e-5, .tkv = 5.909e-8, .ta = 2.129e-9, .tb = 1.063e-5,
    .beta = 0.2, .t_in = 0.020, .t_out = 0.020,
    .t_load = 2.6e-6, /* 256 KiB, half on each of two GPUs, at the 50 GB/s of their PCIe 5 links */
    .kv_tokens = 307328, .max_batched_tokens = 8192, .max_seqs = 1024,
  };
  *model = qwen3;
}

double sim_model_step(const struct sim_model *m, const struct sim_load *load)
{
  return m->tw + m->tc * load->new_tokens + m->tkv * load->kv_read + m->ta * load->attention + m->tb * load->rows;
}

double sim_model_prefill(const struct sim_model *m, uint32_t cached, uint32_t total)
{
  double time = 0;
  while (cached < total) {
    uint32_t n = total - cached < m->max_batched_tokens ? total - cached : m->max_batched_tokens;
    struct sim_load load = {.new_tokens = n, .rows = 1, .attention = n * (cached + n / 2.0)};
    time += sim_model_step(m, &load);
    cached += n;
  }
  return time;
}

int sim_model_check(const struct sim_model *m, llmd_err *err)
{
  const struct { const char *name; double value; double most; } rows[] = {
    {"tw", m->tw, 10}, {"tc", m->tc, 1}, {"tkv", m->tkv, 1}, {"ta", m->ta, 1}, {"tb", m->tb, 1},
    {"beta", m->beta, 1}, {"t_in", m->t_in, 60}, {"t_out", m->t_out, 60},
    {"t_load", m->t_load, 1},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    if (!(rows[i].value >= 0 && rows[i].value <= rows[i].most))
      return sim_fail(err, LLMD_E_RANGE, m->name, 0, "%s must be between 0 and %g", rows[i].name, rows[i].most);
  if (!(m->tw > 0))
    return sim_fail(err, LLMD_E_RANGE, m->name, 0, "tw must be above 0");
  if (m->kv_tokens == 0 || m->max_batched_tokens == 0 || m->max_seqs == 0)
    return sim_fail(err, LLMD_E_RANGE, m->name, 0, "kv_tokens, mbt and max_num_seqs must be above 0");
  if (m->max_seqs > m->max_batched_tokens) /* else a decoding row could starve, which vLLM rules out too */
    return sim_fail(err, LLMD_E_RANGE, m->name, 0, "max_num_seqs must not exceed mbt");
  return 0;
}

struct number {
  const char *name;
  double *value;
  int required;
};

static int read_numbers(const cJSON *set, const struct number *rows, size_t n, const char *path, llmd_err *err)
{
  for (size_t i = 0; i < n; i++) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(set, rows[i].name);
    if (!item && rows[i].required)
      return sim_fail(err, LLMD_E_MISSING, path, 0, "set \"%s\": %s is missing", set->string, rows[i].name);
    if (!item)
      continue;
    if (!cJSON_IsNumber(item))
      return sim_fail(err, LLMD_E_TYPE, path, 0, "set \"%s\": %s must be a number", set->string, rows[i].name);
    *rows[i].value = item->valuedouble;
  }
  return 0;
}

/* A count in a double, as JSON gives it. */
static int to_count(double value, uint32_t *out)
{
  if (!(value >= 1 && value <= UINT32_MAX) || value != floor(value))
    return LLMD_E_RANGE;
  *out = (uint32_t)value;
  return 0;
}

static int read_set(struct sim_model *model, const cJSON *set, const char *path, llmd_err *err)
{
  struct sim_model m;
  double kv_tokens, mbt, max_seqs;
  int code;
  sim_model_default(&m);
  m.beta = 1;
  kv_tokens = m.kv_tokens;
  mbt = m.max_batched_tokens;
  max_seqs = m.max_seqs;
  const struct number rows[] = {
    {"tw", &m.tw, 1}, {"tc", &m.tc, 1}, {"tkv", &m.tkv, 1}, {"ta", &m.ta, 1}, {"tb", &m.tb, 1},
    {"beta", &m.beta, 0}, {"tin_each_way", &m.t_in, 0}, {"t_load", &m.t_load, 0},
    {"kv_tokens", &kv_tokens, 0}, {"mbt", &mbt, 0}, {"max_num_seqs", &max_seqs, 0},
  };
  code = read_numbers(set, rows, sizeof rows / sizeof rows[0], path, err);
  if (code)
    return code;
  m.t_out = m.t_in;
  if (to_count(kv_tokens, &m.kv_tokens) || to_count(mbt, &m.max_batched_tokens) || to_count(max_seqs, &m.max_seqs))
    return sim_fail(err, LLMD_E_RANGE, path, 0, "set \"%s\": kv_tokens, mbt and max_num_seqs are whole numbers above 0",
                    set->string);
  if (strlen(set->string) >= sizeof m.name)
    return sim_fail(err, LLMD_E_LIMIT, path, 0, "the name of a set has at most %zu bytes", sizeof m.name - 1);
  memset(m.name, 0, sizeof m.name);
  memcpy(m.name, set->string, strlen(set->string));
  code = sim_model_check(&m, err);
  if (code == 0)
    *model = m;
  return code;
}

static uint32_t line_of(const char *text, const char *at)
{
  uint32_t line = 1;
  for (const char *p = text; at && p < at; p++)
    line += *p == '\n';
  return line;
}

int sim_model_load(struct sim_model *model, const char *path, const char *name, llmd_err *err)
{
  char *text;
  size_t len;
  const char *end = NULL;
  const cJSON *set;
  cJSON *root;
  int code = sim_text_read(path, FILE_MAX, &text, &len, err);
  if (code)
    return code;
  root = cJSON_ParseWithLengthOpts(text, len + 1, &end, 1);
  set = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(root, "sets"), name);
  if (!root)
    code = sim_fail(err, LLMD_E_SYNTAX, path, line_of(text, end), "not JSON");
  else if (!cJSON_IsObject(set))
    code = sim_fail(err, LLMD_E_UNKNOWN_REF, path, 0, "no set \"%s\"", name);
  else
    code = read_set(model, set, path, err);
  cJSON_Delete(root);
  free(text);
  return code;
}
