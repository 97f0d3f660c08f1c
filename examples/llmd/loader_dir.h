/* loader_dir.h: where the objects are that turn policies in another language into plugins (llmd/loader.h). */
#ifndef LOADER_DIR_H
#define LOADER_DIR_H

#include <stddef.h>

#define LOADER_DIR_ROOM 4096u

/* The absolute folder of llmd-TYPE.so, into path (LOADER_DIR_ROOM bytes): `asked` when it is not NULL; else, when this
 * program runs in the tree that it was built in, that tree's plugins/; else "", and the library looks where it was
 * installed to (llmd_scheduler_options.loader_dir = NULL). Returns 0, or EXIT_REFUSED after a line on standard error.
 */
int loader_dir_find(const char *command, const char *asked, char *path);

/* NULL when path is "": what llmd_scheduler_options wants. */
const char *loader_dir_option(const char *path);

#endif
