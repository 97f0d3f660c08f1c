/* disagg-profile-handler: up to three servers for one request: encode (images), prefill (prompt), decode (answer).
 *
 *    decode-first      decode ──► encode? ──► prefill?     each "?" asks its decider about the decode pick;
 *                         └──────── peer ───────► prefill  prefill candidates can be compared with the decode pick
 *    prefill-first     prefill ──► encode? ──► decode      prefill always runs, the encode decider sees no endpoint;
 *                         └──────── peer ───────► decode   decode candidates can be compared with the prefill pick
 *
 * A stage without profile is left out, so is one without decider (prefill-first needs none for prefill). Of a request
 * whose body the host cannot show whole only decode runs: another server could not be sent its prompt. Decode must
 * succeed, or the request fails. A failed encode or prefill is left out: the decode server does that work itself. */
#include <llmd/plugin.h>

#include <stdio.h>
#include <string.h>

/* The old, flat way of writing the parameters; all of it or nothing of it. */
typedef struct flat {
  uint32_t decode, prefill, encode;                /* profiles */
  uint32_t ask_prefill, ask_prefill_2, ask_encode; /* deciders */
  uint32_t given[6];
} flat;

typedef struct profiles {
  uint32_t decode, prefill, encode;
} profiles;

typedef struct deciders {
  uint32_t prefill, encode;
} deciders;

typedef struct disagg {
  profiles profile;
  deciders decider;
  flat old;
  uint32_t given[2]; /* nested objects that the file has */
  llmd_str order;
  uint32_t prefill_first;
} disagg;

static int fail(llmd_err *err, int code, const char *path, const char *text)
{
  snprintf(err->path, sizeof err->path, "%s", path);
  snprintf(err->text, sizeof err->text, "%s", text);
  return code;
}

/* The reference ignores case, hyphens and underscores, and takes the first word alone. */
static int parse_order(disagg *h, llmd_err *err)
{
  char word[16];
  size_t n = 0, i;
  for (i = 0; i < h->order.len; i++) {
    char c = h->order.ptr[i];
    if (c == '-' || c == '_')
      continue;
    if (n + 1 == sizeof word)
      break;
    word[n++] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  }
  word[n] = 0;
  h->prefill_first = strcmp(word, "prefillfirst") == 0 || strcmp(word, "prefill") == 0;
  if (h->prefill_first || n == 0 || strcmp(word, "decodefirst") == 0 || strcmp(word, "decode") == 0)
    return 0;
  return fail(err, LLMD_E_RANGE, "stageOrder", "must be decode-first or prefill-first");
}

static uint32_t or_else(uint32_t index, uint32_t other)
{
  return index != LLMD_NO_INDEX ? index : other;
}

/* The flat names become the nested ones, as if these had been given. */
static void unfold(disagg *h)
{
  static const flat none = {.decode = LLMD_NO_INDEX, .prefill = LLMD_NO_INDEX, .encode = LLMD_NO_INDEX,
                            .ask_prefill = LLMD_NO_INDEX, .ask_prefill_2 = LLMD_NO_INDEX, .ask_encode = LLMD_NO_INDEX};
  const flat *old = &h->old;
  if (old->given[0])
    h->profile.decode = old->decode;
  if (old->given[1])
    h->profile.prefill = old->prefill;
  if (old->given[2])
    h->profile.encode = old->encode;
  h->decider.prefill = or_else(old->ask_prefill, old->ask_prefill_2);
  h->decider.encode = old->ask_encode;
  h->old = none;
  h->given[0] = h->given[1] = 1;
}

static int validate(void *self, llmd_err *err)
{
  disagg *h = self;
  const flat *old = &h->old;
  uint32_t i, flat_used = 0;
  int rc;
  for (i = 0; i < 6; i++)
    flat_used |= old->given[i];
  if (flat_used && (h->given[0] || h->given[1]))
    return fail(err, LLMD_E_INVALID, "", "either profiles and deciders, or the old flat names; not both");
  if (flat_used)
    unfold(h);
  rc = parse_order(h, err);
  if (rc)
    return rc;
  if (h->prefill_first && h->decider.prefill != LLMD_NO_INDEX)
    return fail(err, LLMD_E_INVALID, "deciders.prefill", "no prefill decider in prefill-first order");
  return 0;
}

static int is_whole(const llmd_stages *s)
{
  return !(s->request->flags & LLMD_VIEW_TRUNCATED);
}

static int has_run(const llmd_stages *s, uint32_t profile)
{
  return s->run[profile].state != LLMD_RUN_NOT;
}

static int has_picked(const llmd_stages *s, uint32_t profile)
{
  return profile != LLMD_NO_INDEX && s->run[profile].state == LLMD_RUN_OK && s->run[profile].n > 0;
}

static int run(llmd_next *out, uint32_t profile)
{
  out->run = (uint64_t)1 << profile;
  return 1;
}

/* Is the stage's turn now? 1: asks its decider, or runs it. 0: it is done, or left out. */
static int optional_stage(const llmd_stages *s, llmd_next *out, uint32_t profile, uint32_t decider, uint32_t ask_at)
{
  if (profile == LLMD_NO_INDEX || decider == LLMD_NO_INDEX || has_run(s, profile))
    return 0;
  if (s->answer[decider] > 0)
    return run(out, profile);
  if (s->answer[decider] == 0)
    return 0;
  out->ask = decider;
  out->ask_at = ask_at;
  return 1;
}

static void next_decode_first(const disagg *h, const llmd_stages *s, llmd_next *out)
{
  const profiles *p = &h->profile;
  if (p->decode == LLMD_NO_INDEX)
    return;
  if (!has_run(s, p->decode)) {
    run(out, p->decode);
    return;
  }
  if (!is_whole(s) || !has_picked(s, p->decode) || optional_stage(s, out, p->encode, h->decider.encode, p->decode))
    return;
  if (p->prefill != p->encode && optional_stage(s, out, p->prefill, h->decider.prefill, p->decode) && out->run)
    out->peer = p->decode;
}

static void next_prefill_first(const disagg *h, const llmd_stages *s, llmd_next *out)
{
  const profiles *p = &h->profile;
  if (p->decode != LLMD_NO_INDEX && has_run(s, p->decode))
    return;
  if (is_whole(s) && p->prefill != LLMD_NO_INDEX && !has_run(s, p->prefill)) {
    run(out, p->prefill);
    return;
  }
  if ((is_whole(s) && optional_stage(s, out, p->encode, h->decider.encode, LLMD_NO_INDEX)) || p->decode == LLMD_NO_INDEX)
    return;
  run(out, p->decode);
  if (has_picked(s, p->prefill))
    out->peer = p->prefill;
}

static int next(const void *self, const llmd_stages *s, llmd_next *out)
{
  const disagg *h = self;
  if (h->prefill_first)
    next_prefill_first(h, s, out);
  else
    next_decode_first(h, s, out);
  return 0;
}

static void add_header(llmd_outcome *out, const char *name, uint32_t profile, uint32_t what)
{
  llmd_header_rule *rule = &out->header[out->n_headers++];
  rule->name = name;
  rule->profile = profile;
  rule->what = what;
}

static int finish(const void *self, const llmd_stages *s, llmd_outcome *out)
{
  const profiles *p = &((const disagg *)self)->profile;
  if (!has_picked(s, p->decode))
    return LLMD_E_NONE;
  out->primary = p->decode;
  if (has_picked(s, p->prefill))
    add_header(out, "x-prefiller-host-port", p->prefill, LLMD_HEADER_FIRST);
  if (has_picked(s, p->encode))
    add_header(out, "x-encoder-hosts-ports", p->encode, LLMD_HEADER_ALL);
  return 0;
}

static const llmd_param profile_params[] = {
  {.name = "decode", .type = LLMD_PARAM_PROFILE, .offset = offsetof(profiles, decode), .preset = "decode",
   .doc = "profile of the decode stage"},
  {.name = "prefill", .type = LLMD_PARAM_PROFILE, .offset = offsetof(profiles, prefill), .preset = "prefill",
   .doc = "profile of the prefill stage"},
  {.name = "encode", .type = LLMD_PARAM_PROFILE, .offset = offsetof(profiles, encode), .preset = "encode",
   .doc = "profile of the encode stage"},
  {0}};

static const llmd_param decider_params[] = {
  {.name = "prefill", .type = LLMD_PARAM_PLUGIN, .offset = offsetof(deciders, prefill),
   .sub_size = LLMD_DECIDER,
   .doc = "decider asked for a prefill stage; none = no such stage (decode-first)"},
  {.name = "encode", .type = LLMD_PARAM_PLUGIN, .offset = offsetof(deciders, encode),
   .sub_size = LLMD_DECIDER,
   .doc = "decider asked for an encode stage; none = no such stage"},
  {0}};

#define OLD(field) (offsetof(disagg, old) + offsetof(flat, field))
#define OLD_PROFILE(called, field, i)                                                                 \
  {.name = called, .type = LLMD_PARAM_PROFILE, .flags = LLMD_PARAM_OLD, .offset = OLD(field),         \
   .given = OLD(given) + (i) * sizeof(uint32_t), .doc = "old name of profiles." #field}
#define OLD_DECIDER(called, field, i, now)                                                            \
  {.name = called, .type = LLMD_PARAM_PLUGIN, .flags = LLMD_PARAM_OLD, .offset = OLD(field),          \
   .given = OLD(given) + (i) * sizeof(uint32_t), .sub_size = LLMD_DECIDER, .doc = "old name of " now}

static const llmd_param params[] = {
  {.name = "stageOrder", .type = LLMD_PARAM_STRING, .offset = offsetof(disagg, order), .preset = "decode-first",
   .doc = "decode-first or prefill-first"},
  {.name = "profiles", .type = LLMD_PARAM_OBJECT, .offset = offsetof(disagg, profile),
   .given = offsetof(disagg, given), .sub = profile_params, .sub_size = sizeof(profiles),
   .doc = "names of the profiles"},
  {.name = "deciders", .type = LLMD_PARAM_OBJECT, .offset = offsetof(disagg, decider),
   .given = offsetof(disagg, given) + sizeof(uint32_t), .sub = decider_params, .sub_size = sizeof(deciders),
   .doc = "plugins that say whether a stage is worth it"},
  OLD_PROFILE("decodeProfile", decode, 0),
  OLD_PROFILE("prefillProfile", prefill, 1),
  OLD_PROFILE("encodeProfile", encode, 2),
  OLD_DECIDER("prefillDeciderPluginName", ask_prefill, 3, "deciders.prefill"),
  OLD_DECIDER("deciderPluginName", ask_prefill_2, 4, "deciders.prefill"),
  OLD_DECIDER("encodeDeciderPluginName", ask_encode, 5, "deciders.encode"),
  {0}};

const llmd_plugin llmd__disagg_profile_handler = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "disagg-profile-handler", .summary = "runs decode, prefill and encode stages and names the peers in headers",
  .kind = LLMD_PROFILE_HANDLER, .stability = LLMD_BETA,
  .self_size = sizeof(disagg), .params = params, .validate = validate, .next = next, .finish = finish};

LLMD_MODULE(&llmd__disagg_profile_handler);
