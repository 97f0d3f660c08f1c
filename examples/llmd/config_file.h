/* config_file.h: what a person names where a configuration is wanted: an EndpointPickerConfig, or a policy by itself
 * (FILE.lua), around which a configuration is made. */
#ifndef CONFIG_FILE_H
#define CONFIG_FILE_H

#include <llmd/error.h>

#include "file.h"

#define CONFIG_MAX ((size_t)4 << 20)

struct config_file {
  const char *name;  /* as given */
  struct file text;  /* the configuration's; empty = the reference's default policy */
  int is_policy;     /* name is the policy itself */
  char dir[4096];    /* absolute: where the policies are that it names; "" = not known */
};

/* 1: the name of a policy, not of a configuration. */
int config_is_policy(const char *name);

/* name NULL = the reference's default policy. 0, or EXIT_REFUSED after a line on standard error. Free it either way. */
int config_read(const char *name, struct config_file *out);
void config_free(struct config_file *c);

/* What llmd_scheduler_options.policy_dir wants. */
const char *config_policy_dir(const struct config_file *c);

/* The file that the error is about, as the person would name it: the configuration, or a policy that it names. *err is
 * made to fit. room (size bytes) is where a name may be made. */
const char *config_place(const struct config_file *c, llmd_err *err, char *room, size_t size);
/* The same on standard error, as shell_blame does. Returns EXIT_REFUSED. */
int config_blame(const struct config_file *c, const llmd_err *err);

#endif
