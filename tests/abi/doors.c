/* Gives the extender's door functions to be seen by: abidw follows exported functions to their types, and no function of
 * the library takes a plugin. */
#include <llmd/plugin.h>

LLMD_API void llmd_abi_module(llmd_module_fn module);
LLMD_API void llmd_abi_stored(llmd_list *list, llmd_pair *pair, llmd_str *str, llmd_key *key);

void llmd_abi_module(llmd_module_fn module)
{
  (void)module;
}

void llmd_abi_stored(llmd_list *list, llmd_pair *pair, llmd_str *str, llmd_key *key)
{
  (void)list;
  (void)pair;
  (void)str;
  (void)key;
}
