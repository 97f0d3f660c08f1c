/* llmd: libllmd's own shell, on its public headers alone. Finds the sub-command and hands over. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <llmd/version.h>

#include "shell.h"

static const struct command *const commands[] = {
  &cmd_check, &cmd_decide, &cmd_body, &cmd_events, &cmd_hash, &cmd_index, &cmd_metrics, &cmd_replay, &cmd_plugins,
  &cmd_policy, &cmd_region, &cmd_simulate,
#ifdef SHELL_HAS_UV
  &cmd_agent, &cmd_engine, &cmd_serve,
#endif
};
#define N_COMMANDS (sizeof commands / sizeof commands[0])

static const char intro[] =
  "llmd - libllmd's shell: which replica should serve this request, and why?\n"
  "\n"
  "Usage: llmd COMMAND [OPTION]... [FILE]...\n"
  "\n"
  "Commands:\n";

static const char outro[] =
  "\n"
  "  llmd COMMAND --help   what a command takes, with examples\n"
  "  llmd --version        version of the program and of the library it runs on\n"
  "\n"
  "A FILE of - is standard input, but for region and index, which map theirs. Results go to standard\n"
  "output, errors to standard error.\n"
  "Exit codes: 0 right, 1 an input was refused, 2 wrong usage.\n";

static int print_help(FILE *out)
{
  fputs(intro, out);
  for (size_t i = 0; i < N_COMMANDS; i++)
    fprintf(out, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
  fputs(outro, out);
  return EXIT_RIGHT;
}

static int print_version(void)
{
  printf("llmd %d.%d.%d, libllmd %s\n", LLMD_VERSION_MAJOR, LLMD_VERSION_MINOR, LLMD_VERSION_PATCH,
         llmd_version_text());
  return EXIT_RIGHT;
}

static const struct command *find(const char *name)
{
  for (size_t i = 0; i < N_COMMANDS; i++)
    if (strcmp(commands[i]->name, name) == 0)
      return commands[i];
  return NULL;
}

static int run_command(const struct command *command, int argc, char **argv)
{
  char title[64];
  (void)snprintf(title, sizeof title, "llmd %s", command->name);
  argv[0] = title;
  return command->run(argc, argv);
}

static int dispatch(int argc, char **argv)
{
  const struct command *command;
  if (argc < 2) {
    print_help(stderr);
    return EXIT_USAGE;
  }
  if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
    return print_help(stdout);
  if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
    return print_version();
  if (strcmp(argv[1], "help") == 0 && argc == 2)
    return print_help(stdout);
  command = find(strcmp(argv[1], "help") == 0 ? argv[2] : argv[1]);
  if (!command)
    return shell_usage("llmd", "there is no command '%s'", strcmp(argv[1], "help") == 0 ? argv[2] : argv[1]);
  if (strcmp(argv[1], "help") == 0)
    return shell_help(command);
  return run_command(command, argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
  int code = dispatch(argc, argv);
  if (fflush(stdout) || ferror(stdout)) {
    perror("llmd: standard output");
    return code ? code : EXIT_REFUSED;
  }
  return code;
}
