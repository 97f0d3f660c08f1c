#include "shell.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <llmd/log.h>

int shell_usage(const char *command, const char *format, ...)
{
  va_list args;
  fprintf(stderr, "%s: ", command);
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fprintf(stderr, "\nTry '%s --help'.\n", command);
  return EXIT_USAGE;
}

int shell_refuse(const char *command, const char *format, ...)
{
  va_list args;
  fprintf(stderr, "%s: ", command);
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fputc('\n', stderr);
  return EXIT_REFUSED;
}

int shell_blame(const char *file, const llmd_err *err)
{
  fputs(file, stderr);
  if (err->line)
    fprintf(stderr, ":%u", err->line);
  if (err->line && err->column)
    fprintf(stderr, ":%u", err->column);
  if (err->path[0])
    fprintf(stderr, ": %s", err->path);
  fprintf(stderr, ": %s\n", err->text[0] ? err->text : llmd_strerror(err->code));
  return EXIT_REFUSED;
}

int shell_help(const struct command *command)
{
  fputs(command->help, stdout);
  return EXIT_RIGHT;
}

int shell_option(const char *command, int answer, char **argv)
{
  const char *what = argv[optind - 1];
  if (answer == ':')
    return shell_usage(command, "option '%s' needs a value", what);
  if (optopt == 0)
    return shell_usage(command, "unknown option '%s'", what);
  if (strncmp(what, "--", 2) == 0)
    return shell_usage(command, "option '%s' takes no value", what);
  return shell_usage(command, "unknown option '-%c'", optopt);
}

/* strtod and strtoull take blanks and signs in front; options do not. */
static int starts_plainly(const char *text)
{
  return *text && strchr("0123456789.", *text) != NULL;
}

int shell_count(const char *command, const char *option, const char *text, uint64_t least, uint64_t most,
                uint64_t *out)
{
  char *end = NULL;
  unsigned long long value;
  errno = 0;
  value = strtoull(text, &end, 10);
  if (!starts_plainly(text) || *end)
    return shell_usage(command, "%s: '%s' is not a whole number", option, text);
  if (errno || value < least || value > most)
    return shell_usage(command, "%s: %s is not between %llu and %llu", option, text, (unsigned long long)least,
                       (unsigned long long)most);
  *out = value;
  return 0;
}

int shell_number(const char *command, const char *option, const char *text, double least, double most, double *out)
{
  char *end = NULL;
  double value = strtod(text, &end);
  if (!starts_plainly(text) || *end)
    return shell_usage(command, "%s: '%s' is not a number", option, text);
  if (!(value >= least && value <= most))
    return shell_usage(command, "%s: %s is not between %g and %g", option, text, least, most);
  *out = value;
  return 0;
}

void shell_raise_limit(void)
{
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit))
    return;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
}

int shell_write(void *ud, const char *ptr, size_t len)
{
  return fwrite(ptr, 1, len, ud) != len;
}

void shell_log(void *ud, int level, const char *component, const char *text, size_t len)
{
  const char *file = ud;
  if (level > LLMD_LOG_WARN)
    return;
  fprintf(stderr, "%s: %s: %.*s\n", file ? file : component, level == LLMD_LOG_ERROR ? "error" : "warning", (int)len,
          text);
}
