/* context-length-aware: endpoints may say by a label which prompt lengths they are meant for, "min-max" in tokens.
 *
 *   no label                    0.5
 *   not of the form min-max     0
 *   in range                    0.3 + 0.7 * (0.7 / (1 + width / 10000) + 0.3 * (max - c) / width);  width 0: 1
 *   outside                     0.3 / (1 + distance / 1000)
 *
 * with c = tokens of the prompt, 0 when unknown. So narrow ranges win over wide ones, and any that fits over any that
 * does not. With enableFiltering it also drops endpoints whose range does not fit or cannot be read; those without the
 * label stay. Both modes agree. */
#include <llmd/plugin.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct context_length {
  llmd_str label;
  uint32_t filtering;
} context_length;

/* The two ends of the range. No label: both NaN. Not readable: min 1, max 0, which no readable range can be. */
enum { MIN, MAX };

static int refuse(llmd_err *err, int code, const char *path, const char *text)
{
  snprintf(err->path, sizeof err->path, "%s", path);
  snprintf(err->text, sizeof err->text, "%s", text);
  return code;
}

static int validate(void *self, llmd_err *err)
{
  const context_length *p = self;
  if (p->label.len == 0)
    return refuse(err, LLMD_E_MISSING, "label", "must not be empty");
  return 0;
}

static int is_space(char c)
{
  return c == ' ' || (c >= '\t' && c <= '\r');
}

/* A decimal number with an optional plus sign and spaces around it. Returns 1 and writes it, or 0. */
static int number(const char *p, const char *end, int64_t *out)
{
  int64_t value = 0;
  while (p < end && is_space(*p))
    p++;
  while (p < end && is_space(end[-1]))
    end--;
  if (p < end && *p == '+')
    p++;
  if (p == end)
    return 0;
  for (; p < end; p++) {
    int digit = *p - '0';
    if (digit < 0 || digit > 9 || value > (INT64_MAX - digit) / 10)
      return 0;
    value = value * 10 + digit;
  }
  *out = value;
  return 1;
}

static int range(const llmd_str *text, int64_t *min, int64_t *max)
{
  const char *end = text->ptr + text->len, *dash = text->ptr;
  while (dash < end && *dash != '-')
    dash++;
  return dash < end && number(text->ptr, dash, min) && number(dash + 1, end, max) && *min <= *max;
}

static int same(const llmd_str *a, const llmd_str *b)
{
  return a->len == b->len && memcmp(a->ptr, b->ptr, a->len) == 0;
}

static double derive(const void *self, uint32_t read, const llmd_identity *who)
{
  const context_length *p = self;
  uint32_t i;
  for (i = 0; i < who->n_labels; i++)
    if (same(&who->label[i].key, &p->label)) {
      int64_t min, max;
      if (!range(&who->label[i].value, &min, &max))
        return read == MIN ? 1 : 0;
      return (double)(read == MIN ? min : max);
    }
  return NAN;
}

static double fit(double tokens, double min, double max)
{
  const double worst = 0.3; /* of those in range, best of those outside */
  double width, narrow, room, distance;
  if (tokens >= min && tokens <= max) {
    width = max - min;
    if (width == 0)
      return 1;
    narrow = 1 / (1 + width / 10000);
    room = (max - tokens) / width;
    return worst + (0.7 * narrow + 0.3 * room) * (1 - worst);
  }
  distance = tokens > max ? tokens - max : min - tokens;
  return worst / (1 + distance / 1000);
}

static int score(const void *self, const llmd_batch *b, double *out)
{
  const double *min = b->f64[MIN], *max = b->f64[MAX];
  uint32_t i;
  (void)self;
  for (i = 0; i < b->n; i++)
    out[i] = min[i] != min[i] ? 0.5 : min[i] > max[i] ? 0 : fit(b->request->tokens, min[i], max[i]);
  return 0;
}

static int filter(const void *self, const llmd_batch *b, uint8_t *keep, uint32_t *order)
{
  const context_length *p = self;
  const double *min = b->f64[MIN], *max = b->f64[MAX];
  uint32_t i;
  (void)order;
  if (!p->filtering)
    return 0;
  for (i = 0; i < b->n; i++)
    keep[i] = min[i] != min[i] || (b->request->tokens >= min[i] && b->request->tokens <= max[i]);
  return 0;
}

static const llmd_param params[] = {
  {.name = "label", .type = LLMD_PARAM_STRING, .offset = offsetof(context_length, label),
   .preset = "llm-d.ai/context-length-range", .doc = "label that holds the range, \"min-max\" in tokens"},
  {.name = "enableFiltering", .type = LLMD_PARAM_BOOL, .offset = offsetof(context_length, filtering),
   .preset = "false", .doc = "also drop endpoints whose range does not fit"},
  {0}};

static const llmd_read reads[] = {
  [MIN] = {.kind = LLMD_READ_DERIVED, .name = "min", .if_unknown = NAN, .if_unknown_strict = NAN},
  [MAX] = {.kind = LLMD_READ_DERIVED, .name = "max", .if_unknown = NAN, .if_unknown_strict = NAN},
  {0}};

const llmd_plugin llmd__context_length_aware = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "context-length-aware", .summary = "sends prompts to endpoints meant for their length",
  .kind = LLMD_FILTER | LLMD_SCORER, .stability = LLMD_BETA, .self_size = sizeof(context_length),
  .params = params, .reads = reads,
  .validate = validate, .derive = derive, .filter = filter, .score = score};
LLMD_MODULE(&llmd__context_length_aware);
