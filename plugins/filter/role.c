/* decode-filter, prefill-filter, encode-filter: keep the endpoints whose label llm-d.ai/role says that they do this
 * stage.
 *
 *   role                     decode  prefill  encode
 *   decode                     x
 *   prefill                             x
 *   encode                                       x
 *   prefill-decode, both       x        x
 *   encode-prefill                      x        x
 *   encode-prefill-decode      x        x        x
 *   (no label)                 x
 *   anything else
 *
 * The role is looked at when labels change; a decision reads one number per endpoint. Both modes agree. */
#include <llmd/plugin.h>

#include <string.h>

enum { DECODE = 1, PREFILL = 2, ENCODE = 4 };

static int is(const llmd_str *s, const char *text)
{
  size_t len = strlen(text);
  return s->len == len && memcmp(s->ptr, text, len) == 0;
}

static int stages(const llmd_identity *who)
{
  static const struct {
    const char *name;
    int stages;
  } roles[] = {
    {"decode", DECODE}, {"prefill", PREFILL}, {"encode", ENCODE}, {"prefill-decode", PREFILL | DECODE},
    {"both", PREFILL | DECODE}, {"encode-prefill", ENCODE | PREFILL},
    {"encode-prefill-decode", ENCODE | PREFILL | DECODE}};
  uint32_t i;
  size_t r;
  for (i = 0; i < who->n_labels; i++) {
    if (!is(&who->label[i].key, "llm-d.ai/role"))
      continue;
    for (r = 0; r < sizeof roles / sizeof roles[0]; r++)
      if (is(&who->label[i].value, roles[r].name))
        return roles[r].stages;
    return 0;
  }
  return DECODE;
}

static double derive_decode(const void *self, uint32_t read, const llmd_identity *who)
{
  (void)self;
  (void)read;
  return (stages(who) & DECODE) != 0;
}

static double derive_prefill(const void *self, uint32_t read, const llmd_identity *who)
{
  (void)self;
  (void)read;
  return (stages(who) & PREFILL) != 0;
}

static double derive_encode(const void *self, uint32_t read, const llmd_identity *who)
{
  (void)self;
  (void)read;
  return (stages(who) & ENCODE) != 0;
}

static int filter(const void *self, const llmd_batch *b, uint8_t *keep, uint32_t *order)
{
  const double *does = b->f64[0];
  uint32_t i;
  (void)self;
  (void)order;
  for (i = 0; i < b->n; i++)
    keep[i] = does[i] > 0;
  return 0;
}

static const llmd_read reads[] = {{.kind = LLMD_READ_DERIVED, .name = "role"}, {0}};

#define ROLE_FILTER                                                                                        \
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI, .kind = LLMD_FILTER, .stability = LLMD_BETA,         \
  .self_size = 1, .reads = reads, .filter = filter

const llmd_plugin llmd__decode_filter = {
  .type = "decode-filter", .summary = "keeps endpoints that decode, and those without a role",
  .derive = derive_decode, ROLE_FILTER};
const llmd_plugin llmd__prefill_filter = {
  .type = "prefill-filter", .summary = "keeps endpoints that prefill", .derive = derive_prefill, ROLE_FILTER};
const llmd_plugin llmd__encode_filter = {
  .type = "encode-filter", .summary = "keeps endpoints that encode images, audio and video",
  .derive = derive_encode, ROLE_FILTER};
LLMD_MODULE(&llmd__decode_filter, &llmd__prefill_filter, &llmd__encode_filter);
