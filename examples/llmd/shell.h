/* shell.h: what every sub-command of `llmd` is made of.
 *
 * A sub-command is one file, cmd_<name>.c, that ends in one table (struct command); main.c lists them. Results go to
 * standard output, everything else to standard error. Exit codes: 0 right, 1 an input was refused, 2 wrong usage. */
#ifndef SHELL_H
#define SHELL_H

#include <stdint.h>
#include <stdio.h>

#include <llmd/error.h>
#include <llmd/types.h>

#define EXIT_RIGHT 0
#define EXIT_REFUSED 1
#define EXIT_USAGE 2

struct command {
  const char *name;
  const char *summary; /* one line, for `llmd --help` */
  const char *help;    /* the whole of `llmd NAME --help` */
  int (*run)(int argc, char **argv); /* argv[0] is "llmd NAME"; returns an exit code */
};

extern const struct command cmd_check, cmd_decide, cmd_body, cmd_events, cmd_hash, cmd_index, cmd_metrics,
  cmd_replay, cmd_plugins, cmd_policy, cmd_region, cmd_simulate;
extern const struct command cmd_engine; /* with libuv */
extern const struct command cmd_agent, cmd_serve; /* with libllmd-uv */

#define SHELL_FORMAT(a, b) __attribute__((format(printf, a, b)))

/* "llmd NAME: text" on standard error, and where to read more. Returns EXIT_USAGE. */
int shell_usage(const char *command, const char *format, ...) SHELL_FORMAT(2, 3);
/* "llmd NAME: text" on standard error. Returns EXIT_REFUSED. */
int shell_refuse(const char *command, const char *format, ...) SHELL_FORMAT(2, 3);
/* "file:line:column: path: text" on standard error, without what is not known. Returns EXIT_REFUSED. */
int shell_blame(const char *file, const llmd_err *err);

/* Prints the command's help and returns EXIT_RIGHT. */
int shell_help(const struct command *command);
/* What getopt_long made of an option nobody knows, or that lacks its value. Returns EXIT_USAGE. */
int shell_option(const char *command, int answer, char **argv);

/* Numbers of options. 0, or EXIT_USAGE with a word on standard error. */
int shell_count(const char *command, const char *option, const char *text, uint64_t least, uint64_t most,
                uint64_t *out);
int shell_number(const char *command, const char *option, const char *text, double least, double most, double *out);

/* As many descriptors as the system lets this process have: each connection is one. */
void shell_raise_limit(void);

/* llmd_write_fn: to the FILE that ud is. */
int shell_write(void *ud, const char *ptr, size_t len);
/* llmd_log_fn: warnings and errors to standard error; ud is the name of the file they are about. */
void shell_log(void *ud, int level, const char *component, const char *text, size_t len);

#endif
