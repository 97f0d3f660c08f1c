#define _POSIX_C_SOURCE 200809L
#include "engine_tool.h"

#include <string.h>

#define MOST_DEPTH 4

static const cJSON *get(const cJSON *o, const char *name)
{
  return cJSON_GetObjectItemCaseSensitive(o, name);
}

static const char *name_of(const cJSON *tool)
{
  return cJSON_GetStringValue(get(get(tool, "function"), "name"));
}

/* The last message is a user's and has the name in it. */
static int asks_for(const cJSON *body, const char *name)
{
  const cJSON *messages = get(body, "messages");
  const cJSON *last = cJSON_GetArrayItem(messages, cJSON_GetArraySize(messages) - 1);
  const char *role = cJSON_GetStringValue(get(last, "role"));
  struct engine_text text = {0};
  int found;
  if (!role || strcmp(role, "user"))
    return 0;
  engine_content_text(&text, get(last, "content"));
  found = text.ptr && strstr(text.ptr, name);
  engine_text_free(&text);
  return found;
}

/* "none", "auto", "required", or {"type": "function", "function": {"name": ...}}. */
static const cJSON *choose(const cJSON *body, const cJSON *tools, int *named)
{
  const cJSON *choice = get(body, "tool_choice"), *tool;
  const char *word = cJSON_GetStringValue(choice), *name = name_of(choice);
  *named = name != NULL;
  if (word && strcmp(word, "none") == 0)
    return NULL;
  if (word && strcmp(word, "required") == 0)
    return tools->child;
  cJSON_ArrayForEach(tool, tools) {
    const char *own = name_of(tool);
    if (own && (name ? strcmp(own, name) == 0 : asks_for(body, own)))
      return tool;
  }
  return NULL;
}

/* ---- arguments ---- */

static void put_value(struct engine_text *out, const cJSON *schema, int depth);

static void put_object(struct engine_text *out, const cJSON *schema, int depth)
{
  const cJSON *property;
  const char *comma = "";
  engine_text_add(out, "{");
  cJSON_ArrayForEach(property, get(schema, "properties")) {
    engine_text_add(out, "%s\"", comma);
    engine_text_quote(out, property->string, strlen(property->string));
    engine_text_add(out, "\": ");
    put_value(out, property, depth + 1);
    comma = ", ";
  }
  engine_text_add(out, "}");
}

static void put_printed(struct engine_text *out, const cJSON *value)
{
  char *text = cJSON_PrintUnformatted(value);
  if (text)
    engine_text_put(out, text, strlen(text));
  else
    out->failed = 1;
  cJSON_free(text);
}

static void put_value(struct engine_text *out, const cJSON *schema, int depth)
{
  const cJSON *first = get(schema, "enum");
  const char *type = cJSON_GetStringValue(get(schema, "type"));
  if (first && first->child) {
    put_printed(out, first->child);
    return;
  }
  if (!type || depth > MOST_DEPTH)
    engine_text_add(out, "null");
  else if (strcmp(type, "object") == 0)
    put_object(out, schema, depth);
  else if (strcmp(type, "array") == 0)
    engine_text_add(out, "[]");
  else if (strcmp(type, "string") == 0)
    engine_text_add(out, "\"filler\"");
  else if (strcmp(type, "boolean") == 0)
    engine_text_add(out, "true");
  else
    engine_text_add(out, strcmp(type, "null") == 0 ? "null" : "1");
}

int engine_tool_call(const cJSON *body, char **out, struct engine_text *arguments, struct engine_refusal *refusal)
{
  const cJSON *tools = get(body, "tools"), *tool;
  int named = 0;
  if (cJSON_GetArraySize(tools) == 0)
    return cJSON_IsObject(get(body, "tool_choice"))
             ? engine_refuse(refusal, 400, "Bad Request", "tool_choice", "When using `tool_choice`, `tools` must be "
                             "set.") : 0;
  tool = choose(body, tools, &named);
  if (!tool && named)
    return engine_refuse(refusal, 400, "Bad Request", "tool_choice", "The tool specified in `tool_choice` does not "
                         "match any of the specified `tools`");
  if (!tool)
    return 0;
  if (!name_of(tool))
    return engine_refuse(refusal, 400, "Bad Request", "tools", "A function needs a name.");
  *out = strdup(name_of(tool));
  put_object(arguments, get(get(tool, "function"), "parameters"), 0);
  return *out ? 0 : engine_refuse(refusal, 500, "InternalServerError", NULL, "out of memory");
}
