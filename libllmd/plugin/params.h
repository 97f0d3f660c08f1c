/* From a `parameters:` tree to a plugin's self, by its table. */
#ifndef LLMD_PLUGIN_PARAMS_H
#define LLMD_PLUGIN_PARAMS_H

#include <llmd/plugin.h>

#include "base/alloc.h"
#include "base/tree.h"

/* What the table of parameters alone cannot say. */
typedef struct llmd__names {
  /* Names that occur inside parameters; LLMD_NO_INDEX for an unknown one. */
  uint32_t (*plugin)(void *ud, const char *name, size_t len);
  uint32_t (*profile)(void *ud, const char *name, size_t len);
  uint32_t (*kind)(void *ud, uint32_t plugin); /* LLMD_FILTER, ... of that plugin */
  void (*old)(void *ud, const llmd__node *at); /* a deprecated parameter is used; may be NULL */
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
 * LLMD_E_UNKNOWN_REF, one that names a plugin of another kind than its row wants LLMD_E_TYPE. An empty name is as good
 * as none. */
int llmd__params_load(const llmd_allocator *a, const llmd_plugin *plugin, const llmd__node *node, const char *base,
                      const llmd__names *names, llmd__self *out, llmd_err *err);
void llmd__params_free(const llmd_allocator *a, llmd__self *s);

#endif
