/* Loadable modules: the one file that opens shared objects. */
#ifndef LLMD_PLUGIN_MODULE_H
#define LLMD_PLUGIN_MODULE_H

#include <llmd/loader.h>
#include <llmd/plugin.h>

#include "base/alloc.h"

/* Opens every regular file NAME.so of dir in name order and calls fn for each plugin in it. dir must be absolute; it
 * and the files must belong to root or to the caller, and be writable by nobody else; links are refused. Modules stay
 * open. */
int llmd__modules_open(const llmd_allocator *a, const char *dir,
                       int (*fn)(void *ud, const llmd_plugin *p, const char *file, llmd_err *err), void *ud,
                       llmd_err *err);

/* The loader of dir/llmd-TYPE.so, under the same conditions; *out is a full-size copy. LLMD_E_NONE: there is no such
 * file (err is not touched). The object stays open. */
int llmd__loader_open(const char *dir, const char *type, llmd_loader *out, llmd_err *err);

/* Could that be the name of a loader's type? [a-z0-9], no dash as those of plugins have. */
int llmd__loader_is_name(const char *type);

#endif
