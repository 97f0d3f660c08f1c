#include "json.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <llmd/error.h>

/* Bytes of the UTF-8 character at p, 0 when there is none. Names of files and headers need not be UTF-8. */
static size_t character(const unsigned char *p, size_t left)
{
  size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
  if (n > left)
    return 0;
  for (size_t i = 1; i < n; i++)
    if ((p[i] & 0xc0) != 0x80)
      return 0;
  if (n > 2 && ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
                (p[0] == 0xf4 && p[1] > 0x8f)))
    return 0;
  return n;
}

/* A JSON string: at most six characters for a byte. What is not UTF-8 becomes U+FFFD. */
static char *quote(llmd_str value)
{
  char *text = malloc(value.len * 6 + 3), *out = text;
  if (!text)
    return NULL;
  *out++ = '"';
  for (size_t i = 0, n; i < value.len; i += n) {
    const unsigned char *p = (const unsigned char *)value.ptr + i;
    n = character(p, value.len - i);
    if (n == 0) {
      out += snprintf(out, 7, "\\ufffd");
      n = 1;
    } else if (*p == '"' || *p == '\\' || *p == '\n')
      out += snprintf(out, 3, "\\%c", *p == '\n' ? 'n' : *p);
    else if (*p < 0x20)
      out += snprintf(out, 7, "\\u%04x", (unsigned)*p);
    else
      for (size_t k = 0; k < n; k++)
        *out++ = (char)p[k];
  }
  *out++ = '"';
  *out = 0;
  return text;
}

int json_add_str(cJSON *object, const char *name, llmd_str value)
{
  char *text;
  int ok;
  if (!value.ptr)
    return 0;
  text = quote(value);
  ok = text && cJSON_AddRawToObject(object, name, text);
  free(text);
  return ok ? 0 : LLMD_E_NOMEM;
}

int json_add_i64(cJSON *object, const char *name, int64_t value)
{
  char text[32];
  (void)snprintf(text, sizeof text, "%" PRId64, value);
  return cJSON_AddRawToObject(object, name, text) ? 0 : LLMD_E_NOMEM;
}

int json_add_u64(cJSON *object, const char *name, uint64_t value)
{
  char text[32];
  (void)snprintf(text, sizeof text, "%" PRIu64, value);
  return cJSON_AddRawToObject(object, name, text) ? 0 : LLMD_E_NOMEM;
}

int json_add_number(cJSON *object, const char *name, double value)
{
  cJSON *item = isfinite(value) ? cJSON_AddNumberToObject(object, name, value) : cJSON_AddNullToObject(object, name);
  return item ? 0 : LLMD_E_NOMEM;
}

int json_print(FILE *out, cJSON *root)
{
  char *text = root ? cJSON_Print(root) : NULL;
  cJSON_Delete(root);
  if (!text)
    return LLMD_E_NOMEM;
  fputs(text, out);
  fputc('\n', out);
  free(text);
  return 0;
}

int json_collect(void *ud, const char *ptr, size_t len)
{
  struct json_text *t = ud;
  if (t->len + len + 1 > t->room) {
    size_t room = (t->len + len + 1) * 2;
    char *text = realloc(t->text, room);
    if (!text)
      return 1;
    t->text = text;
    t->room = room;
  }
  memcpy(t->text + t->len, ptr, len);
  t->len += len;
  t->text[t->len] = 0;
  return 0;
}
