/* file.h: whole files, read once ("-" is standard input), or mapped. */
#ifndef FILE_H
#define FILE_H

#include <stddef.h>

struct file {
  char *text; /* NUL-terminated, may hold NULs inside */
  size_t len;
};

/* 0, or EXIT_REFUSED with a line on standard error: not there, not readable, larger than most bytes. Free text. */
int file_read(const char *path, size_t most, struct file *out);

/* Line and column (from 1, in bytes) of a place in a text. */
void file_place(const struct file *file, size_t offset, unsigned *line, unsigned *column);

/* A file's bytes as they lie on disk; what is written to them does not reach the file. */
struct mapping {
  void *mem; /* NULL = none */
  size_t len;
};
/* 0, or EXIT_REFUSED with a line on standard error. Standard input is refused: it cannot be mapped. */
int file_map(const char *command, const char *path, struct mapping *out);
void file_unmap(struct mapping *m);

#endif
