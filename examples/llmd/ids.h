/* ids.h: token ids from a file: a JSON array, or numbers between blanks. */
#ifndef IDS_H
#define IDS_H

#include <stddef.h>
#include <stdint.h>

/* 0, or EXIT_REFUSED with a line on standard error: no such file, not ids and where. "-" is standard input. Free *out
 * in both cases. */
int ids_read(const char *command, const char *path, uint32_t **out, size_t *n);

#endif
