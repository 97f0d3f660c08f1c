/* Typed values out of a tree, each mistake told with its place and with what would be right. */
#include "base/quantity.h"
#include "base/tree.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ==== messages ==== */

const char *llmd__kind_text(uint32_t kind)
{
  static const char *const names[] = {"null", "a boolean", "a whole number", "a number", "text", "a list", "a map"};
  return kind < sizeof names / sizeof *names ? names[kind] : "something else";
}

static int fail_at(const llmd__node *node, llmd_err *err, int code, int at_key, const char *fmt, va_list ap)
{
  char path[sizeof err->path], text[sizeof err->text];
  uint32_t line = 0, column = 0;
  if (node) {
    line = at_key && node->key.ptr ? node->key_line : node->line;
    column = at_key && node->key.ptr ? node->key_column : node->column;
  }
  llmd__node_path(node, path, sizeof path);
  vsnprintf(text, sizeof text, fmt, ap);
  return llmd__fail(err, code, line, column, path, "%s", text);
}

int llmd__node_fail(const llmd__node *node, llmd_err *err, int code, const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  fail_at(node, err, code, 0, fmt, ap);
  va_end(ap);
  return code;
}

int llmd__key_fail(const llmd__node *node, llmd_err *err, int code, const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  fail_at(node, err, code, 1, fmt, ap);
  va_end(ap);
  return code;
}

static uint32_t kind_of(const llmd__node *node)
{
  return node ? node->kind : LLMD__NULL;
}

static int wrong_kind(const llmd__node *node, llmd_err *err, const char *wanted, const char *hint)
{
  const char *found = llmd__kind_text(kind_of(node));
  return llmd__node_fail(node, err, LLMD_E_TYPE, "expected %s, found %s%s", wanted, found, hint);
}

/* ==== one value ==== */

int llmd__node_is(const llmd__node *node, const char *text)
{
  return kind_of(node) == LLMD__STR && strcmp(node->text.ptr, text) == 0;
}

int llmd__node_expect(const llmd__node *node, uint32_t kind, llmd_err *err)
{
  return kind_of(node) == kind ? LLMD_OK : wrong_kind(node, err, llmd__kind_text(kind), "");
}

int llmd__node_str(const llmd__node *node, llmd_str *out, llmd_err *err)
{
  uint32_t kind = kind_of(node);
  if (kind != LLMD__STR)
    return wrong_kind(node, err, "text", kind > LLMD__NULL && kind < LLMD__STR ? " (put it in quotes)" : "");
  *out = node->text;
  return LLMD_OK;
}

/* What YAML 1.1 and older habits take for a boolean. */
static int old_boolean(const llmd__node *node)
{
  static const char *const words[] = {"y", "n", "yes", "no", "on", "off"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    size_t n = 0;
    if (strlen(words[i]) != node->text.len)
      continue;
    while (n < node->text.len && (node->text.ptr[n] | 0x20) == words[i][n])
      n++;
    if (n == node->text.len)
      return 1;
  }
  return 0;
}

int llmd__node_bool(const llmd__node *node, uint8_t *out, llmd_err *err)
{
  const char *hint = "";
  if (kind_of(node) == LLMD__BOOL) {
    *out = (uint8_t)node->integer;
    return LLMD_OK;
  }
  if (kind_of(node) == LLMD__STR && old_boolean(node))
    hint = "; write true or false (yes, no, on and off are text in YAML 1.2)";
  else if (kind_of(node) == LLMD__STR && (node->flags & LLMD__NODE_QUOTED))
    hint = " in quotes; write true or false without them";
  return wrong_kind(node, err, "a boolean", hint);
}

/* Why a text is no number, where the reason may surprise. */
static const char *number_hint(const llmd__node *node)
{
  if (kind_of(node) != LLMD__STR || node->text.len == 0)
    return "";
  char c = node->text.ptr[0] == '-' || node->text.ptr[0] == '+' ? node->text.ptr[1] : node->text.ptr[0];
  if (c < '0' || c > '9')
    return "";
  if (node->flags & LLMD__NODE_QUOTED)
    return " in quotes; write the number without them";
  return "; write plain digits, without leading zeros, underscores or units";
}

/* 1 and *v when the node is a whole number that is known exactly. */
static int whole(const llmd__node *node, int64_t *v)
{
  static const double exact = 9007199254740992.0; /* 2^53 */
  if (node->kind == LLMD__INT) {
    *v = node->integer;
    return 1;
  }
  if (!(node->real >= -exact && node->real <= exact) || node->real != (double)(int64_t)node->real)
    return 0;
  *v = (int64_t)node->real;
  return 1;
}

int llmd__node_int(const llmd__node *node, int64_t lo, int64_t hi, int64_t *out, llmd_err *err)
{
  int64_t v;
  uint32_t kind = kind_of(node);
  int big = kind == LLMD__FLOAT && (node->flags & LLMD__NODE_BIG);
  if (kind != LLMD__INT && kind != LLMD__FLOAT)
    return wrong_kind(node, err, "a whole number", number_hint(node));
  if (!big && !whole(node, &v))
    return wrong_kind(node, err, "a whole number", "");
  if (big || v < lo || v > hi)
    return llmd__node_fail(node, err, LLMD_E_RANGE, "must be between %lld and %lld", (long long)lo, (long long)hi);
  *out = v;
  return LLMD_OK;
}

int llmd__node_double(const llmd__node *node, double *out, llmd_err *err)
{
  if (kind_of(node) != LLMD__INT && kind_of(node) != LLMD__FLOAT)
    return wrong_kind(node, err, "a number", number_hint(node));
  if (!isfinite(node->real))
    return llmd__node_fail(node, err, LLMD_E_RANGE, "must be a finite number");
  *out = node->real;
  return LLMD_OK;
}

int llmd__node_duration(const llmd__node *node, int64_t *out, llmd_err *err)
{
  static const char example[] = "expected a duration such as 60s, 1m30s or 200ms";
  uint32_t kind = kind_of(node);
  if (kind != LLMD__STR)
    return llmd__node_fail(node, err, LLMD_E_TYPE, "%s, found %s%s", example, llmd__kind_text(kind),
                           kind == LLMD__INT || kind == LLMD__FLOAT ? " without a unit" : "");
  int rc = llmd__parse_duration(node->text.ptr, node->text.len, out);
  if (rc == LLMD_E_RANGE)
    return llmd__node_fail(node, err, rc, "longer than a duration can be (292 years)");
  return rc ? llmd__node_fail(node, err, LLMD_E_TYPE, "%s", example) : LLMD_OK;
}

int llmd__node_quantity(const llmd__node *node, int64_t *out, llmd_err *err)
{
  static const char example[] = "expected a quantity such as 5000, 1G or 512Mi";
  uint32_t kind = kind_of(node);
  if (kind == LLMD__INT) {
    *out = node->integer;
    return LLMD_OK;
  }
  if (kind != LLMD__STR && kind != LLMD__FLOAT)
    return llmd__node_fail(node, err, LLMD_E_TYPE, "%s, found %s", example, llmd__kind_text(kind));
  int rc = llmd__parse_quantity(node->text.ptr, node->text.len, out);
  return rc ? llmd__node_fail(node, err, LLMD_E_TYPE, "%s", example) : LLMD_OK;
}

/* ==== by key ==== */

int llmd__get_any(const llmd__node *map, const char *key, const llmd__node **out, llmd_err *err)
{
  if (kind_of(map) == LLMD__NULL)
    return 0;
  if (map->kind != LLMD__MAP)
    return wrong_kind(map, err, "a map", "");
  const llmd__node *node = llmd__map_get(map, key);
  if (kind_of(node) == LLMD__NULL)
    return 0;
  *out = node;
  return 1;
}

int llmd__get_str(const llmd__node *map, const char *key, llmd_str *out, llmd_err *err)
{
  const llmd__node *node = NULL;
  int rc = llmd__get_any(map, key, &node, err);
  if (rc > 0 && (rc = llmd__node_str(node, out, err)) == LLMD_OK)
    rc = 1;
  return rc;
}

int llmd__get_bool(const llmd__node *map, const char *key, uint8_t *out, llmd_err *err)
{
  const llmd__node *node = NULL;
  int rc = llmd__get_any(map, key, &node, err);
  if (rc > 0 && (rc = llmd__node_bool(node, out, err)) == LLMD_OK)
    rc = 1;
  return rc;
}

int llmd__get_int(const llmd__node *map, const char *key, int64_t lo, int64_t hi, int64_t *out, llmd_err *err)
{
  const llmd__node *node = NULL;
  int rc = llmd__get_any(map, key, &node, err);
  if (rc > 0 && (rc = llmd__node_int(node, lo, hi, out, err)) == LLMD_OK)
    rc = 1;
  return rc;
}

int llmd__get_double(const llmd__node *map, const char *key, double *out, llmd_err *err)
{
  const llmd__node *node = NULL;
  int rc = llmd__get_any(map, key, &node, err);
  if (rc > 0 && (rc = llmd__node_double(node, out, err)) == LLMD_OK)
    rc = 1;
  return rc;
}

int llmd__get_duration(const llmd__node *map, const char *key, int64_t *out, llmd_err *err)
{
  const llmd__node *node = NULL;
  int rc = llmd__get_any(map, key, &node, err);
  if (rc > 0 && (rc = llmd__node_duration(node, out, err)) == LLMD_OK)
    rc = 1;
  return rc;
}

int llmd__get_quantity(const llmd__node *map, const char *key, int64_t *out, llmd_err *err)
{
  const llmd__node *node = NULL;
  int rc = llmd__get_any(map, key, &node, err);
  if (rc > 0 && (rc = llmd__node_quantity(node, out, err)) == LLMD_OK)
    rc = 1;
  return rc;
}

static int get_kind(const llmd__node *map, const char *key, uint32_t kind, const llmd__node **out, llmd_err *err)
{
  const llmd__node *node = NULL;
  int rc = llmd__get_any(map, key, &node, err);
  if (rc <= 0)
    return rc;
  rc = llmd__node_expect(node, kind, err);
  if (rc)
    return rc;
  *out = node;
  return 1;
}

int llmd__get_list(const llmd__node *map, const char *key, const llmd__node **out, llmd_err *err)
{
  return get_kind(map, key, LLMD__LIST, out, err);
}

int llmd__get_map(const llmd__node *map, const char *key, const llmd__node **out, llmd_err *err)
{
  return get_kind(map, key, LLMD__MAP, out, err);
}

/* ==== shape ==== */

int llmd__require(const llmd__node *map, const char *key, llmd_err *err)
{
  const llmd__node *node = NULL;
  int rc = llmd__get_any(map, key, &node, err);
  if (rc == 0)
    return llmd__node_fail(map, err, LLMD_E_MISSING, "\"%s\" is required", key);
  return rc > 0 ? LLMD_OK : rc;
}

static int is_among(llmd_str key, const char *const *names, size_t n)
{
  for (size_t i = 0; i < n; i++)
    if (strlen(names[i]) == key.len && memcmp(names[i], key.ptr, key.len) == 0)
      return 1;
  return 0;
}

int llmd__reject_unknown(const llmd__node *map, const char *const *names, size_t n, llmd_err *err)
{
  if (kind_of(map) == LLMD__NULL)
    return LLMD_OK;
  if (map->kind != LLMD__MAP)
    return wrong_kind(map, err, "a map", "");
  for (const llmd__node *entry = map->first; entry; entry = entry->next)
    if (!is_among(entry->key, names, n))
      return llmd__key_fail(entry, err, LLMD_E_UNKNOWN_FIELD, "unknown field \"%.*s\"",
                            entry->key.len < 64 ? (int)entry->key.len : 64, entry->key.ptr);
  return LLMD_OK;
}
