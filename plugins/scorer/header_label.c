/* header-label-affinity-scorer: 1 for endpoints whose label has the value of a request header, 0 for the others.
 * No such header, or an empty one: 0 for all. Both modes agree. */
#include <llmd/plugin.h>

#include <stdio.h>

typedef struct header_label {
  llmd_str header;
  llmd_str label;
} header_label;

enum { WANTED, LABEL };

static int refuse(llmd_err *err, int code, const char *path, const char *text)
{
  snprintf(err->path, sizeof err->path, "%s", path);
  snprintf(err->text, sizeof err->text, "%s", text);
  return code;
}

static int validate(void *self, llmd_err *err)
{
  const header_label *p = self;
  if (p->header.len == 0)
    return refuse(err, LLMD_E_MISSING, "headerName", "must not be empty");
  if (p->label.len == 0)
    return refuse(err, LLMD_E_MISSING, "labelKey", "must not be empty");
  return 0;
}

/* The whole value is the one string; an empty one asks for nothing, not for an empty label. */
static int split(const void *self, uint32_t read, const llmd_str *value, char *buf, llmd_str *out, uint32_t cap)
{
  (void)self;
  (void)read;
  (void)buf;
  if (value->len == 0 || cap == 0)
    return 0;
  out[0] = *value;
  return 1;
}

static int score(const void *self, const llmd_batch *b, double *out)
{
  const llmd_read_value *header = &b->value[WANTED];
  const uint32_t *label = b->id[LABEL];
  uint32_t wanted = header->n_ids ? header->ids[0] : 0, i;
  (void)self;
  for (i = 0; i < b->n; i++)
    out[i] = wanted && label[i] == wanted ? 1 : 0;
  return 0;
}

static const llmd_param params[] = {
  {.name = "headerName", .type = LLMD_PARAM_STRING, .flags = LLMD_PARAM_REQUIRED,
   .offset = offsetof(header_label, header), .doc = "request header that names the wanted value"},
  {.name = "labelKey", .type = LLMD_PARAM_STRING, .flags = LLMD_PARAM_REQUIRED,
   .offset = offsetof(header_label, label), .doc = "endpoint label that has to have it"},
  {0}};

static const llmd_read reads[] = {
  [WANTED] = {.kind = LLMD_READ_HEADER_IDS, .flags = LLMD_READ_NAME_PARAM, .name = "",
              .name_offset = offsetof(header_label, header)},
  [LABEL] = {.kind = LLMD_READ_LABEL, .flags = LLMD_READ_NAME_PARAM, .name = "",
             .name_offset = offsetof(header_label, label)},
  {0}};

const llmd_plugin llmd__header_label_affinity_scorer = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "header-label-affinity-scorer", .summary = "prefers endpoints whose label equals a request header",
  .kind = LLMD_SCORER, .stability = LLMD_ALPHA, .self_size = sizeof(header_label), .params = params, .reads = reads,
  .validate = validate, .split = split, .score = score};
LLMD_MODULE(&llmd__header_label_affinity_scorer);
