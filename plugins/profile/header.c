/* header-profile-handler: a request header names the profile that runs; no header, the default one.
 *
 * With one profile there is nothing to choose: it runs whatever the header says. A name that no profile has runs
 * nothing, and so the request is refused: another profile could send a prefill request to a decode server. */
#include <llmd/plugin.h>

#include <stdio.h>
#include <string.h>

#define NAME_MAX 127

typedef struct header_profile {
  llmd_str header;   /* as the request reader has it: lower case, trimmed */
  llmd_str fallback; /* profile when the header is missing or blank */
  char lower[NAME_MAX + 1];
} header_profile;

static int blank(char c)
{
  return c == ' ' || (c >= '\t' && c <= '\r');
}

static llmd_str trim(llmd_str s)
{
  while (s.len > 0 && blank(s.ptr[s.len - 1]))
    s.len--;
  while (s.len > 0 && blank(*s.ptr)) {
    s.ptr++;
    s.len--;
  }
  return s;
}

static llmd_str or_default(llmd_str s, const char *preset)
{
  s = trim(s);
  if (s.len == 0) {
    s.ptr = preset;
    s.len = strlen(preset);
  }
  return s;
}

static int validate(void *self, llmd_err *err)
{
  header_profile *p = self;
  llmd_str name = or_default(p->header, "epp-profile");
  size_t i;
  if (name.len > NAME_MAX) {
    snprintf(err->path, sizeof err->path, "headerName");
    snprintf(err->text, sizeof err->text, "longer than %d bytes", NAME_MAX);
    return LLMD_E_LIMIT;
  }
  for (i = 0; i < name.len; i++)
    p->lower[i] = (char)(name.ptr[i] >= 'A' && name.ptr[i] <= 'Z' ? name.ptr[i] + ('a' - 'A') : name.ptr[i]);
  p->lower[name.len] = 0;
  p->header.ptr = p->lower;
  p->header.len = name.len;
  p->fallback = or_default(p->fallback, "decode");
  return 0;
}

static int next(const void *self, const llmd_stages *s, llmd_next *out)
{
  const header_profile *p = self;
  llmd_str wanted = trim(s->value[0].str);
  uint32_t i;
  if (wanted.len == 0)
    wanted = p->fallback;
  for (i = 0; i < s->n; i++)
    if (s->run[i].state != LLMD_RUN_NOT)
      return 0;
  for (i = 0; i < s->n && !out->run; i++)
    if (s->n == 1 || (s->name[i].len == wanted.len && memcmp(s->name[i].ptr, wanted.ptr, wanted.len) == 0))
      out->run = (uint64_t)1 << i;
  return 0;
}

static int finish(const void *self, const llmd_stages *s, llmd_outcome *out)
{
  uint32_t i;
  (void)self;
  for (i = 0; i < s->n; i++)
    if (s->run[i].state == LLMD_RUN_OK) {
      out->primary = i;
      return 0;
    }
  return LLMD_E_NONE;
}

static const llmd_param params[] = {
  {.name = "headerName", .type = LLMD_PARAM_STRING, .offset = offsetof(header_profile, header), .preset = "EPP-Profile",
   .doc = "request header that names the scheduling profile"},
  {.name = "defaultProfile", .type = LLMD_PARAM_STRING, .offset = offsetof(header_profile, fallback),
   .preset = "decode", .doc = "profile of requests without the header"},
  {0}};

static const llmd_read reads[] = {
  {.kind = LLMD_READ_HEADER, .flags = LLMD_READ_NAME_PARAM, .name = "epp-profile",
   .name_offset = offsetof(header_profile, header)},
  {0}};

const llmd_plugin llmd__header_profile_handler = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "header-profile-handler", .summary = "runs the one scheduling profile that a request header names",
  .kind = LLMD_PROFILE_HANDLER, .stability = LLMD_ALPHA,
  .self_size = sizeof(header_profile), .params = params, .reads = reads,
  .validate = validate, .next = next, .finish = finish};

LLMD_MODULE(&llmd__header_profile_handler);
