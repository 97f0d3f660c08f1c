#include "json.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <llmd/error.h>

/* A JSON string of any bytes that are UTF-8: at most six characters for one. */
static char *quote(llmd_str value)
{
  char *text = malloc(value.len * 6 + 3), *out = text;
  if (!text)
    return NULL;
  *out++ = '"';
  for (size_t i = 0; i < value.len; i++) {
    unsigned char c = (unsigned char)value.ptr[i];
    if (c < 0x20 || c == '"' || c == '\\')
      out += snprintf(out, 7, "\\u%04x", (unsigned)c);
    else
      *out++ = (char)c;
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
