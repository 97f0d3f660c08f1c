/* llmd plugins: what can stand in a configuration, out of the plugins' own tables. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include <llmd/scheduler.h>

#include "json.h"
#include "shell.h"

static const char help[] =
  "Usage: llmd plugins [OPTION]... [NAME]\n"
  "\n"
  "Lists the plugin types that are built in; with a NAME, that type's parameters, their defaults and\n"
  "what they do, and what it reads and writes. Types marked inert belong to the host: their parameters\n"
  "are checked, nothing of them runs.\n"
  "\n"
  "  --json   the same as JSON, with every detail\n"
  "  --help\n"
  "\n"
  "Examples:\n"
  "  llmd plugins\n"
  "  llmd plugins prefix-cache-scorer\n"
  "  llmd plugins --json | jq -r '.[] | select(.kinds | index(\"scorer\")) | .type'\n";

/* ---- reading what the library wrote ---- */

static const char *text_of(const cJSON *o, const char *name)
{
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, name);
  return cJSON_IsString(item) ? item->valuestring : "";
}

static const cJSON *list_of(const cJSON *o, const char *name)
{
  return cJSON_GetObjectItemCaseSensitive(o, name);
}

static int is_true(const cJSON *o, const char *name)
{
  return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, name));
}

/* "filter, scorer" */
static const char *joined(const cJSON *list, char *text, size_t size)
{
  const cJSON *item;
  size_t n = 0;
  text[0] = 0;
  cJSON_ArrayForEach(item, list) {
    int more = snprintf(text + n, size - n, "%s%s", n ? ", " : "", item->valuestring);
    n = more > 0 && n + (size_t)more < size ? n + (size_t)more : n;
  }
  return text;
}

/* ---- one type ---- */

static void print_range(const cJSON *p)
{
  const cJSON *above = list_of(p, "above"), *min = list_of(p, "min"), *max = list_of(p, "max");
  if (strcmp(text_of(p, "type"), "duration") == 0)
    return; /* in nanoseconds: no help */
  if (above && max)
    printf(" (above %g, at most %g)", above->valuedouble, max->valuedouble);
  else if (min && max)
    printf(" (%g to %g)", min->valuedouble, max->valuedouble);
}

static void print_parameters(const cJSON *list, int depth)
{
  const cJSON *p;
  cJSON_ArrayForEach(p, list) {
    char values[512];
    const cJSON *preset = list_of(p, "default");
    printf("%*s%s: %s", depth, "", text_of(p, "name"), text_of(p, "type"));
    if (cJSON_GetArraySize(list_of(p, "values")))
      printf(" (%s)", joined(list_of(p, "values"), values, sizeof values));
    print_range(p);
    if (cJSON_IsString(preset))
      printf(", default %s", preset->valuestring[0] ? preset->valuestring : "\"\"");
    printf("%s%s%s\n", is_true(p, "required") ? ", required" : "", is_true(p, "ignored") ? ", without effect" : "",
           is_true(p, "deprecated") ? ", deprecated" : "");
    if (text_of(p, "doc")[0])
      printf("%*s%s\n", depth + 4, "", text_of(p, "doc"));
    print_parameters(list_of(p, "fields"), depth + 4);
  }
}

static void print_reads(const cJSON *list)
{
  const cJSON *r;
  cJSON_ArrayForEach(r, list) {
    printf("  %s", text_of(r, "name")[0] ? text_of(r, "name") : text_of(r, "kind"));
    if (text_of(r, "name_parameter")[0])
      printf(" (parameter %s)", text_of(r, "name_parameter"));
    if (text_of(r, "from")[0])
      printf(" of %s", text_of(r, "from"));
    if (text_of(r, "from_parameter")[0])
      printf(" (parameter %s)", text_of(r, "from_parameter"));
    printf("%s\n", is_true(r, "optional") ? ", if it is there" : "");
  }
}

static void print_one(const cJSON *p)
{
  char text[512];
  const cJSON *item;
  printf("%s - %s\n", text_of(p, "type"), text_of(p, "summary"));
  printf("%s, %s\n", joined(list_of(p, "kinds"), text, sizeof text), text_of(p, "stability"));
  if (cJSON_GetArraySize(list_of(p, "aliases")))
    printf("also: %s\n", joined(list_of(p, "aliases"), text, sizeof text));
  if (is_true(p, "inert"))
    puts("Belongs to the host: its parameters are checked, nothing of it runs here.");
  if (cJSON_GetArraySize(list_of(p, "parameters")))
    puts("\nParameters:");
  print_parameters(list_of(p, "parameters"), 2);
  if (cJSON_GetArraySize(list_of(p, "reads")))
    puts("\nReads:");
  print_reads(list_of(p, "reads"));
  if (cJSON_GetArraySize(list_of(p, "writes")))
    puts("\nWrites:");
  cJSON_ArrayForEach(item, list_of(p, "writes"))
    printf("  %s (%s)\n", text_of(item, "name"), text_of(item, "unit"));
}

static void print_list(const cJSON *list)
{
  const cJSON *p;
  char kinds[128];
  printf("%-42s %-20s %-10s %s\n", "TYPE", "KIND", "STABILITY", "SUMMARY");
  cJSON_ArrayForEach(p, list)
    printf("%-42s %-20s %-10s %s\n", text_of(p, "type"), joined(list_of(p, "kinds"), kinds, sizeof kinds),
           text_of(p, "stability"), text_of(p, "summary"));
}

/* ---- the command ---- */

static int show(const char *command, const char *name, int json)
{
  struct json_text text = {0};
  int rc = llmd_plugins_write(name, json_collect, &text);
  cJSON *root = rc ? NULL : cJSON_ParseWithLength(text.text, text.len);
  if (rc == LLMD_E_UNKNOWN_TYPE)
    rc = shell_refuse(command, "there is no plugin type '%s'; 'llmd plugins' lists them", name);
  else if (rc || !root)
    rc = shell_refuse(command, "%s", llmd_strerror(rc ? rc : LLMD_E_NOMEM));
  else if (json)
    puts(text.text);
  else if (name)
    print_one(root);
  else
    print_list(root);
  cJSON_Delete(root);
  free(text.text);
  return rc;
}

static int run(int argc, char **argv)
{
  static const struct option long_options[] = {{"json", 0, NULL, 'j'}, {"help", 0, NULL, 'h'}, {0}};
  int option, json = 0;
  opterr = 0;
  while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1)
    switch (option) {
    case 'h': return shell_help(&cmd_plugins);
    case 'j': json = 1; break;
    default: return shell_option(argv[0], option, argv);
    }
  if (argc - optind > 1)
    return shell_usage(argv[0], "one name at a time");
  return show(argv[0], optind < argc ? argv[optind] : NULL, json);
}

const struct command cmd_plugins = {
  .name = "plugins", .summary = "what can stand in a configuration", .help = help, .run = run};
