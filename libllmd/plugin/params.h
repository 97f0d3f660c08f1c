/* From a `parameters:` tree to a plugin's self, by its table. */
#ifndef LLMD_PLUGIN_PARAMS_H
#define LLMD_PLUGIN_PARAMS_H

#include <llmd/plugin.h>

#include "base/alloc.h"
#include "base/tree.h"

/* Resolves names that occur inside parameters. Return LLMD_NO_INDEX for an unknown one. */
typedef struct llmd__names {
  uint32_t (*plugin)(void *ud, const char *name, size_t len);
  uint32_t (*profile)(void *ud, const char *name, size_t len);
  void *ud;
} llmd__names;

/* Memory of one self: the struct, and the blocks that hold its strings and lists. */
typedef struct llmd__self {
  void *self;
  uint32_t bytes;
  void *blocks; /* list, freed together */
} llmd__self;

/* Makes self: zeroed, defaults, parameters of node (NULL or a null node = none), then plugin->validate. Unknown and
 * duplicate names, wrong types and values out of range are errors with line, column and path
 * ("plugins[2].parameters.x"); base = the path of the node. A PLUGIN parameter that names nothing is
 * LLMD_E_UNKNOWN_REF. */
int llmd__params_load(const llmd_allocator *a, const llmd_plugin *plugin, const llmd__node *node, const char *base,
                      const llmd__names *names, llmd__self *out, llmd_err *err);
void llmd__params_free(const llmd_allocator *a, llmd__self *s);

#endif
