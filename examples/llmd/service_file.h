/* service_file.h: what `llmd agent` and `llmd serve` are told: a file, and options over it. */
#ifndef SERVICE_FILE_H
#define SERVICE_FILE_H

#include <stdint.h>

#include <llmd/uv.h>

#define SERVICE_SETTINGS 64

struct service_file {
  const char *command; /* argv[0], for messages */
  const char *path;    /* NULL = no file, options alone */
  uint32_t n;
  struct {
    const char *key, *value;
  } set[SERVICE_SETTINGS];
};

/* Remembers an option; key and value are borrowed. 0, or EXIT_USAGE with a word on standard error. */
int service_set(struct service_file *f, const char *key, const char *value);
/* The same of "KEY=VALUE" as --set has it; the text is cut at its '='. */
int service_set_pair(struct service_file *f, char *pair);
/* The FILE of the command line: the service's file, or a policy by itself (FILE.lua), which is as if --policy had named it.
 * 0, or EXIT_USAGE. */
int service_take_file(struct service_file *f, const char *path);
/* Reads file and options, also again. 0, or EXIT_REFUSED with a line on standard error. */
int service_read(const struct service_file *f, llmd_service **out);
/* What is wrong with the service's policy, with the file that the place is about, as shell_blame does. */
int service_blame_policy(const struct service_file *f, const llmd_service *s, const llmd_err *err);

/* llmd_log_fn: "component: text" to standard error, a line at a time also when several processes write; ud points to
 * the level (uint32_t) up to which lines are wanted. */
void service_log(void *ud, int level, const char *component, const char *text, size_t len);

#endif
