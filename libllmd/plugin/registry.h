/* The plugin types that a process knows: the built-in ones and those of loaded modules. Immutable once made. */
#ifndef LLMD_PLUGIN_REGISTRY_H
#define LLMD_PLUGIN_REGISTRY_H

#include <llmd/log.h>
#include <llmd/plugin.h>

#include "base/alloc.h"

typedef struct llmd__registry llmd__registry;

/* module_dir NULL = built-ins only. A module that cannot be loaded is an error naming the file. */
int llmd__registry_create(const llmd_allocator *a, const char *module_dir, llmd_log_fn log, void *log_ud,
                          llmd__registry **out, llmd_err *err);
void llmd__registry_free(llmd__registry *r);
/* By type name or alias; NULL = unknown. *old = 1 when the name is an alias. The tables are full-size copies: a shorter
 * descriptor of an older module is filled up with zeros. */
const llmd_plugin *llmd__registry_find(const llmd__registry *r, const char *type, int *old);
uint32_t llmd__registry_count(const llmd__registry *r);
const llmd_plugin *llmd__registry_at(const llmd__registry *r, uint32_t i);

/* Why a full-size descriptor cannot be used; NULL = it can. */
const char *llmd__plugin_refuse(const llmd_plugin *p);

/* describe.c: what the table says, as llmd_plugins_write puts it. */
int llmd__plugin_describe(const llmd_plugin *p, llmd_write_fn fn, void *ud);

/* The built-in list (builtin.c): NULL-terminated. */
const llmd_plugin *const *llmd__builtins(void);

#endif
