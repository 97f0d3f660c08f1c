/* Bodies on paths that the core does not parse. Engines have more doors to the same rooms (vLLM's /invocations takes
 * what chat/completions takes), and read JSON whatever its Content-Type says, in any Unicode encoding: a body that
 * could carry a field that no client may set is searched like any other, and one that cannot be searched is refused. */
#include <string.h>

#include "uv/proxy/inner.h"

static llmd_str without_blanks(llmd_str s)
{
  if (s.len >= 3 && !memcmp(s.ptr, "\xef\xbb\xbf", 3)) {
    s.ptr += 3;
    s.len -= 3;
  }
  while (s.len && (*s.ptr == ' ' || *s.ptr == '\t' || *s.ptr == '\n' || *s.ptr == '\r')) {
    s.ptr++;
    s.len--;
  }
  return s;
}

static int opens(char c)
{
  return c == '{' || c == '[' || c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* UTF-16 or UTF-32, with a mark or without: what JSON begins with is ASCII, so there are NULs beside it. */
static int is_wide(llmd_str s)
{
  static const char nul[3] = {0};
  if (s.len < 2)
    return 0;
  if (!memcmp(s.ptr, "\xff\xfe", 2) || !memcmp(s.ptr, "\xfe\xff", 2))
    return 1;
  if ((!s.ptr[0] && opens(s.ptr[1])) || (opens(s.ptr[0]) && !s.ptr[1]))
    return 1;
  return s.len >= 8 && !memcmp(s.ptr, nul, 2) &&
         (!memcmp(s.ptr + 2, "\xfe\xff", 2) || (!s.ptr[2] && opens(s.ptr[3]) && !memcmp(s.ptr + 4, nul, 3)));
}

static int has(llmd_str s, const char *text)
{
  return memmem(s.ptr, s.len, text, strlen(text)) != NULL;
}

int llmd__guard_looks(llmd_str body)
{
  llmd_str s = without_blanks(body);
  if (is_wide(body))
    return -1;
  if (!s.len || (*s.ptr != '{' && *s.ptr != '['))
    return 0;
  return has(s, "_transfer_params") || has(s, "bootstrap_") || has(s, "\"mm_") || has(s, "_dp_rank") ||
         has(s, "data_parallel_rank") || has(s, "disaggregated_") || has(s, "\\u");
}
