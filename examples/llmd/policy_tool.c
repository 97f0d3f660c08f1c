#include "policy_tool.h"

#include <stdlib.h>
#include <string.h>

#define SOURCE_MAX ((size_t)4096)

static cJSON *parse(struct json_text *text, int rc)
{
  cJSON *o = rc ? NULL : cJSON_ParseWithLength(text->text, text->len);
  free(text->text);
  return o;
}

cJSON *policy_describe(const llmd_scheduler *s, uint32_t i)
{
  struct json_text text = {0};
  int rc = llmd_scheduler_policy_write(s, i, json_collect, &text);
  return parse(&text, rc);
}

/* JSON is YAML, and any text can stand in it. */
char *policy_wrap(const char *text)
{
  cJSON *root = cJSON_Parse("{\"apiVersion\": \"llm-d.ai/v1alpha1\", \"kind\": \"EndpointPickerConfig\", \"plugins\": "
                            "[{\"type\": \"lua\", \"name\": \"policy\", \"parameters\": {}}], \"schedulingProfiles\": "
                            "[{\"name\": \"default\", \"plugins\": [{\"pluginRef\": \"policy\"}]}]}");
  cJSON *plugin = cJSON_GetArrayItem(cJSON_GetObjectItem(root, "plugins"), 0);
  cJSON *source = cJSON_AddStringToObject(cJSON_GetObjectItem(plugin, "parameters"), "source", text);
  char *out = source ? cJSON_PrintUnformatted(root) : NULL;
  cJSON_Delete(root);
  return out;
}

cJSON *policy_describe_text(const struct session *s, const struct session_options *o, const char *text, llmd_err *err)
{
  llmd_scheduler_options options = {.size = sizeof options, .module_dir = o->modules,
                                    .loader_dir = loader_dir_option(s->loaders)};
  llmd_scheduler *scheduler = NULL;
  char *config = strlen(text) < SOURCE_MAX ? policy_wrap(text) : NULL;
  cJSON *said = NULL;
  err->code = config ? 0 : LLMD_E_NOMEM;
  if (config && llmd_scheduler_create(&options, s->pool, config, strlen(config), &scheduler, err) == 0) {
    said = policy_describe(scheduler, 0);
    err->code = said ? 0 : LLMD_E_NOMEM;
  }
  llmd_scheduler_free(scheduler);
  free(config);
  return said;
}

const char *policy_text(const cJSON *o, const char *name)
{
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, name);
  return cJSON_IsString(item) ? item->valuestring : "";
}

const cJSON *policy_list(const cJSON *o, const char *name)
{
  return cJSON_GetObjectItemCaseSensitive(o, name);
}

static int is_policy(const cJSON *why, const char *name)
{
  const cJSON *p;
  cJSON_ArrayForEach(p, policy_list(why, "policies"))
    if (strcmp(policy_text(p, "name"), name) == 0)
      return 1;
  return 0;
}

static int tell_failure(const cJSON *why, const cJSON *plugin, char *text, size_t size)
{
  const char *error = policy_text(plugin, "error"), *trouble = policy_text(plugin, "trouble");
  const char *name = policy_text(plugin, "name");
  if (!error[0] || !is_policy(why, name))
    return 0;
  (void)snprintf(text, size, "%s: %s%s%s", name, error, trouble[0] ? ": " : "", trouble);
  return 1;
}

/* Wherever a plugin stands in it. */
static int find_failure(const cJSON *why, const cJSON *at, char *text, size_t size)
{
  const cJSON *item;
  if (cJSON_IsObject(at) && tell_failure(why, at, text, size))
    return 1;
  cJSON_ArrayForEach(item, at)
    if ((cJSON_IsObject(item) || cJSON_IsArray(item)) && find_failure(why, item, text, size))
      return 1;
  return 0;
}

int policy_failure(const cJSON *why, char *text, size_t size)
{
  return find_failure(why, why, text, size);
}

static int add_failures(const cJSON *why, const cJSON *at, cJSON *texts)
{
  const char *trouble = policy_text(at, "trouble");
  char text[600];
  const cJSON *item;
  int rc = 0;
  if (cJSON_IsObject(at) && tell_failure(why, at, text, sizeof text)) {
    cJSON *said = cJSON_CreateString(strchr(trouble, ':') ? trouble : text);
    rc = said && cJSON_AddItemToArray(texts, said) ? 0 : LLMD_E_NOMEM;
  }
  cJSON_ArrayForEach(item, at)
    if (rc == 0 && (cJSON_IsObject(item) || cJSON_IsArray(item)))
      rc = add_failures(why, item, texts);
  return rc;
}

int policy_failures(const cJSON *why, cJSON *texts)
{
  return add_failures(why, why, texts);
}

/* What stands before the name, by the read's kind. */
static const char *prefix_of(const char *kind)
{
  static const char *const words[][2] = {
    {"label", "label "}, {"header", "header "}, {"header-ids", "header "}, {"has-model", "is the model in "},
    {"set-size", "size of "},
  };
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (strcmp(kind, words[i][0]) == 0)
      return words[i][1];
  return "";
}

const char *policy_read_name(const cJSON *read, char *text, size_t size)
{
  const char *kind = policy_text(read, "kind"), *name = policy_text(read, "name"), *from = policy_text(read, "from");
  (void)snprintf(text, size, "%s%s%s%s", prefix_of(kind), name[0] ? name : kind, from[0] ? " of " : "", from);
  return text;
}
