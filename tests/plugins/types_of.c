/* types_of MODULE: loads a module as the core does and prints the types of its plugins, one per line. */
#include <llmd/plugin.h>

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
  llmd_module_fn module;
  const llmd_plugin *const *list;
  void *lib = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
  void *symbol = lib ? dlsym(lib, "llmd_module") : NULL;
  if (!symbol) {
    fprintf(stderr, "%s\n", argc == 2 ? dlerror() : "usage: types_of MODULE");
    return 1;
  }
  memcpy(&module, &symbol, sizeof module);
  if (module(LLMD_PLUGIN_ABI + 1)) {
    fprintf(stderr, "accepts another ABI version\n");
    return 1;
  }
  for (list = module(LLMD_PLUGIN_ABI); list && *list; list++)
    printf("%s\n", (*list)->type);
  return 0;
}
