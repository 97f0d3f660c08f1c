#include "engine_fault.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <llmd/error.h>

static const char *const names[ENGINE_FAULT_KINDS] = {
  [ENGINE_FAULT_NONE] = "none", [ENGINE_SLOW] = "slow", [ENGINE_HANG] = "hang", [ENGINE_RESET] = "reset",
  [ENGINE_HALF] = "half", [ENGINE_ERROR] = "error", [ENGINE_JUNK] = "junk", [ENGINE_CLOSE] = "close",
  [ENGINE_NAN] = "nan", [ENGINE_LIE] = "lie", [ENGINE_HUGE] = "huge", [ENGINE_BINARY] = "binary",
  [ENGINE_ENDLESS] = "endless", [ENGINE_DRIP] = "drip", [ENGINE_EMPTY] = "empty",
};

static int is_of_pages(enum engine_fault_kind kind)
{
  return kind >= ENGINE_NAN;
}

static int refuse(char *why, size_t room, const char *what, const char *name)
{
  (void)snprintf(why, room, "%s '%s'", what, name);
  return -1;
}

/* A name, or a status of an answer. */
static int set_kind(struct engine_fault *f, const char *name, char *why, size_t room)
{
  const unsigned long status = strtoul(name, NULL, 10);
  memset(f, 0, sizeof *f);
  f->count = UINT64_MAX;
  f->probability = 1;
  if (status >= 400 && status <= 599 && strlen(name) == 3) {
    f->kind = ENGINE_ERROR;
    f->status = (uint32_t)status;
    return 0;
  }
  for (int i = 1; i < ENGINE_FAULT_KINDS; i++)
    if (strcmp(name, names[i]) == 0) {
      f->kind = (enum engine_fault_kind)i;
      f->status = 500;
      f->first_ms = f->kind == ENGINE_SLOW ? 1000 : 0;
      f->token_ms = f->kind == ENGINE_DRIP ? 100 : 0;
      f->bytes = f->kind == ENGINE_HUGE ? 16u << 20 : 0;
      return 0;
    }
  return refuse(why, room, "there is no fault", name);
}

static int set_number(struct engine_fault *f, const char *name, double value, char *why, size_t room)
{
  if (!(value >= 0 && value < 1e15))
    return refuse(why, room, "not a number that can be used:", name);
  if (strcmp(name, "count") == 0)
    f->count = (uint64_t)value;
  else if (strcmp(name, "probability") == 0)
    f->probability = value;
  else if (strcmp(name, "first_ms") == 0)
    f->first_ms = value < 1e9 ? (uint32_t)value : 1000000000u;
  else if (strcmp(name, "token_ms") == 0)
    f->token_ms = value < 1e9 ? (uint32_t)value : 1000000000u;
  else if (strcmp(name, "bytes") == 0)
    f->bytes = (uint64_t)value;
  else
    return refuse(why, room, "a fault has no", name);
  return 0;
}

static int set_path(struct engine_fault *f, const char *path, char *why, size_t room)
{
  if (strlen(path) >= sizeof f->path || *path != '/')
    return refuse(why, room, "no path:", path);
  memcpy(f->path, path, strlen(path) + 1);
  return 0;
}

int engine_fault_parse(const char *text, struct engine_fault *out, char *why, size_t room)
{
  char copy[256], *part = copy, *next, *equal;
  struct engine_fault f;
  if (strlen(text) >= sizeof copy)
    return refuse(why, room, "too long:", text);
  memcpy(copy, text, strlen(text) + 1);
  next = strchr(copy, ':');
  if (next)
    *next++ = 0;
  if (set_kind(&f, copy, why, room))
    return -1;
  while (next && *next) {
    part = next;
    next = strchr(part, ',');
    if (next)
      *next++ = 0;
    equal = strchr(part, '=');
    if (!equal)
      return refuse(why, room, "name=value expected:", part);
    *equal++ = 0;
    if (strcmp(part, "path") == 0 ? set_path(&f, equal, why, room)
                                  : set_number(&f, part, strtod(equal, NULL), why, room))
      return -1;
  }
  *out = f;
  return 0;
}

int engine_fault_read(const cJSON *o, struct engine_fault *out, char *why, size_t room)
{
  const cJSON *kind = cJSON_GetObjectItemCaseSensitive(o, "kind"), *item;
  char number[32] = "";
  struct engine_fault f;
  if (cJSON_IsNumber(kind))
    (void)snprintf(number, sizeof number, "%.0f", kind->valuedouble);
  if (set_kind(&f, cJSON_IsString(kind) ? kind->valuestring : number, why, room))
    return -1;
  cJSON_ArrayForEach(item, o) {
    int code = 0;
    if (item == kind)
      continue;
    if (strcmp(item->string, "path") == 0 && cJSON_IsString(item))
      code = set_path(&f, item->valuestring, why, room);
    else
      code = set_number(&f, item->string, cJSON_IsNumber(item) ? item->valuedouble : -1, why, room);
    if (code)
      return code;
  }
  *out = f;
  return 0;
}

int engine_fault_add(struct engine_faults *faults, const struct engine_fault *fault)
{
  if (faults->n == ENGINE_MOST_FAULTS)
    return LLMD_E_FULL;
  faults->fault[faults->n++] = *fault;
  return 0;
}

void engine_fault_print(const struct engine_faults *faults, struct engine_text *out)
{
  engine_text_add(out, "{\"faults\":[");
  for (uint32_t i = 0; i < faults->n; i++) {
    const struct engine_fault *f = &faults->fault[i];
    engine_text_add(out, "%s{\"kind\":\"%s\",\"status\":%" PRIu32 ",\"path\":\"", i ? "," : "", names[f->kind],
                    f->kind == ENGINE_ERROR ? f->status : 0);
    engine_text_quote(out, f->path, strlen(f->path));
    engine_text_add(out, "\",\"count\":");
    if (f->count == UINT64_MAX)
      engine_text_add(out, "null");
    else
      engine_text_add(out, "%" PRIu64, f->count);
    engine_text_add(out, ",\"probability\":%g,\"first_ms\":%" PRIu32 ",\"token_ms\":%" PRIu32 ",\"bytes\":%" PRIu64
                    "}", f->probability, f->first_ms, f->token_ms, f->bytes);
  }
  engine_text_add(out, "]}");
}

/* ---- striking ---- */

static int begins(const char *path, size_t len, const char *with)
{
  const size_t n = strlen(with);
  return len >= n && memcmp(path, with, n) == 0;
}

static int stands_on(const struct engine_fault *f, const char *path, size_t len)
{
  if (*f->path)
    return begins(path, len, f->path);
  if (is_of_pages(f->kind))
    return begins(path, len, "/metrics");
  return begins(path, len, "/v1/chat/completions") || begins(path, len, "/v1/completions");
}

static void used(struct engine_faults *faults, uint32_t i)
{
  struct engine_fault *f = &faults->fault[i];
  if (f->count != UINT64_MAX && --f->count == 0)
    memmove(f, f + 1, (--faults->n - i) * sizeof *f);
}

struct engine_fault engine_fault_strike(struct engine_faults *faults, const char *path, size_t len, int again)
{
  for (uint32_t i = 0; i < faults->n; i++) {
    const struct engine_fault f = faults->fault[i];
    if (!stands_on(&f, path, len) || (f.kind == ENGINE_CLOSE && !again))
      continue;
    if (f.probability < 1 && sim_rng_unit(&faults->rng) > f.probability)
      continue;
    used(faults, i);
    return f;
  }
  return (struct engine_fault){0};
}
