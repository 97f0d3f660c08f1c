#include "engine_tokens.h"

#include <stdlib.h>
#include <string.h>

#include <llmd/error.h>

#include "sim_rng.h"

/* Numbers below are marks. */
enum { BEGIN = 1, SYSTEM, USER, ASSISTANT, TOOL, OTHER, TOOLS, END, MEDIA, MARKS = 256 };

#define MEDIA_TOKENS 16 /* of an image or the like */

void engine_ids_free(struct engine_ids *ids)
{
  free(ids->id);
  memset(ids, 0, sizeof *ids);
}

static int make_room(struct engine_ids *ids, size_t n)
{
  size_t room = ids->room ? ids->room : 256;
  uint32_t *more;
  while (room < ids->n + n)
    room *= 2;
  if (room == ids->room)
    return 1;
  more = ids->failed ? NULL : realloc(ids->id, room * sizeof *more);
  if (!more) {
    ids->failed = 1;
    return 0;
  }
  ids->id = more;
  ids->room = room;
  return 1;
}

void engine_ids_add(struct engine_ids *ids, uint32_t id)
{
  if (make_room(ids, 1))
    ids->id[ids->n++] = id;
}

/* The last token of a piece is hashed with its length, so that "a" is not "a\0". */
static uint32_t token_of(const unsigned char *p, size_t n)
{
  uint64_t word = (uint64_t)n << 32;
  for (size_t i = 0; i < n; i++)
    word |= (uint64_t)p[i] << 8 * i;
  return MARKS + (uint32_t)(sim_mix(word) % (ENGINE_VOCABULARY - MARKS));
}

void engine_ids_text(struct engine_ids *ids, const char *text, size_t len)
{
  const unsigned char *p = (const unsigned char *)text;
  if (!make_room(ids, len / ENGINE_TOKEN_BYTES + 1))
    return;
  for (size_t i = 0; i < len; i += ENGINE_TOKEN_BYTES)
    ids->id[ids->n++] = token_of(p + i, len - i < ENGINE_TOKEN_BYTES ? len - i : ENGINE_TOKEN_BYTES);
}

void engine_ids_begin(struct engine_ids *ids)
{
  engine_ids_add(ids, BEGIN);
}

/* ---- chats ---- */

static void add_role(struct engine_ids *ids, const char *role)
{
  static const struct { const char *name; uint32_t mark; } roles[] = {
    {"system", SYSTEM}, {"developer", SYSTEM}, {"user", USER}, {"assistant", ASSISTANT}, {"tool", TOOL},
  };
  for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++)
    if (strcmp(role, roles[i].name) == 0) {
      engine_ids_add(ids, roles[i].mark);
      return;
    }
  engine_ids_add(ids, OTHER);
  engine_ids_text(ids, role, strlen(role));
}

static void add_json(struct engine_ids *ids, const cJSON *json)
{
  char *text = cJSON_PrintUnformatted(json);
  if (!text) {
    ids->failed = 1;
    return;
  }
  engine_ids_add(ids, TOOLS);
  engine_ids_text(ids, text, strlen(text));
  cJSON_free(text);
}

static const char *text_of_part(const cJSON *part)
{
  const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(part, "text"));
  return text ? text : cJSON_GetStringValue(part);
}

void engine_content_text(struct engine_text *out, const cJSON *content)
{
  const cJSON *part;
  const char *text = cJSON_GetStringValue(content);
  if (text)
    engine_text_put(out, text, strlen(text));
  if (!cJSON_IsArray(content))
    return;
  cJSON_ArrayForEach(part, content) {
    text = text_of_part(part);
    if (text)
      engine_text_put(out, text, strlen(text));
  }
}

/* Text parts are one piece each; what is no text is a row of equal tokens. */
static void add_content(struct engine_ids *ids, const cJSON *content)
{
  const cJSON *part;
  const char *text = cJSON_GetStringValue(content);
  if (text)
    engine_ids_text(ids, text, strlen(text));
  if (!cJSON_IsArray(content))
    return;
  cJSON_ArrayForEach(part, content) {
    text = text_of_part(part);
    if (text)
      engine_ids_text(ids, text, strlen(text));
    for (int i = 0; !text && i < MEDIA_TOKENS; i++)
      engine_ids_add(ids, MEDIA);
  }
}

int engine_ids_chat(struct engine_ids *ids, const cJSON *messages, const cJSON *tools, int open)
{
  const cJSON *message;
  engine_ids_begin(ids);
  if (tools) {
    add_json(ids, tools);
    engine_ids_add(ids, END);
  }
  cJSON_ArrayForEach(message, messages) {
    const char *role = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(message, "role"));
    const cJSON *calls = cJSON_GetObjectItemCaseSensitive(message, "tool_calls");
    if (!role)
      return LLMD_E_TYPE;
    add_role(ids, role);
    add_content(ids, cJSON_GetObjectItemCaseSensitive(message, "content"));
    if (cJSON_GetArraySize(calls) > 0)
      add_json(ids, calls);
    engine_ids_add(ids, END);
  }
  if (open)
    engine_ids_add(ids, ASSISTANT);
  return 0;
}

/* ---- answers ---- */

void engine_filler(struct engine_text *out, uint64_t seed, uint32_t n)
{
  static const char words[64][ENGINE_TOKEN_BYTES + 1] = {
    "the ", "sea ", "was ", "red ", "and ", "far ", "sky ", "had ", "its ", "own ", "way ", "out ", "old ", "man ",
    "sat ", "low ", "one ", "day ", "sun ", "set ", "dry ", "air ", "ran ", "off ", "her ", "dog ", "ate ", "all ",
    "pie ", "cat ", "saw ", "new ", "hat ", "big ", "box ", "fox ", "dug ", "pit ", "top ", "hot ", "tea ", "ice ",
    "wet ", "mud ", "car ", "map ", "boy ", "ten ", "six ", "two ", "who ", "you ", "why ", "not ", "but ", "for ",
    "any ", "too ", "now ", "yes ", "job ", "key ", "log ", "run ",
  };
  for (uint32_t i = 0; i < n; i++)
    engine_text_put(out, words[sim_mix(seed + i) % 64], ENGINE_TOKEN_BYTES);
}

size_t engine_token_start(const char *text, size_t len, uint64_t i)
{
  size_t at = i * ENGINE_TOKEN_BYTES < len ? (size_t)i * ENGINE_TOKEN_BYTES : len;
  while (at < len && ((unsigned char)text[at] & 0xc0) == 0x80)
    at++;
  return at;
}
