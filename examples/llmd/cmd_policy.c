/* llmd policy: tools for those who write policies. Finds the tool and hands over. */
#include <getopt.h>
#include <string.h>

#include "policy_tool.h"

static const char help[] =
  "Usage: llmd policy check [OPTION]... FILE...\n"
  "       llmd policy replay [OPTION]... FILE RECORDS...\n"
  "       llmd policy explain [OPTION]... FILE RECORD\n"
  "       llmd policy repl [OPTION]... [FILE]\n"
  "\n"
  "For those who write policies. FILE is a policy, FILE.lua, or an EndpointPickerConfig.\n"
  "\n"
  "  check     compiles it, says what it is and what stands out, and runs its examples\n"
  "  replay    recorded decisions, made again by it: what would have changed?\n"
  "  explain   one of them, and why\n"
  "  repl      Lua line by line, on endpoints that are made up\n"
  "\n"
  "Records come from llmd decide --record and llmd simulate --record. All but repl take --json. What\n"
  "it would do to hit rate and first token, llmd simulate --policy FILE.lua says; llmd serve --policy\n"
  "FILE.lua tries it on real traffic.\n"
  "\n"
  "  llmd policy check --help   and so on: what a tool takes, with examples\n"
  "\n"
  "Examples:\n"
  "  llmd policy check sticky.lua\n"
  "  llmd simulate --quick --policy default --record quick.rec\n"
  "  llmd policy replay --list 5 sticky.lua quick.rec\n";

static const struct command *const tools[] = {&policy_check, &policy_replay, &policy_explain, &policy_repl};

static const struct command *find(const char *name)
{
  for (size_t i = 0; i < sizeof tools / sizeof *tools; i++)
    if (strcmp(tools[i]->name, name) == 0)
      return tools[i];
  return NULL;
}

/* Without a tool: help, or what is wrong. */
static int run_bare(int argc, char **argv)
{
  static const struct option long_options[] = {{"json", 0, NULL, 'j'}, {"help", 0, NULL, 'h'}, {0}};
  int option;
  opterr = 0;
  while ((option = getopt_long(argc, argv, "+:h", long_options, NULL)) != -1) {
    if (option == 'h')
      return shell_help(&cmd_policy);
    if (option != 'j')
      return shell_option(argv[0], option, argv);
  }
  if (optind == argc)
    return shell_usage(argv[0], "check, replay, explain or repl?");
  return shell_usage(argv[0], find(argv[optind]) ? "the tool's name comes first: '%s'" : "there is no tool '%s'",
                     argv[optind]);
}

static int run(int argc, char **argv)
{
  const struct command *tool = argc > 1 ? find(argv[1]) : NULL;
  char title[64];
  if (!tool)
    return run_bare(argc, argv);
  (void)snprintf(title, sizeof title, "%s %s", argv[0], tool->name);
  argv[1] = title;
  return tool->run(argc - 1, argv + 1);
}

const struct command cmd_policy = {
  .name = "policy", .summary = "tools for those who write policies", .help = help, .run = run};
