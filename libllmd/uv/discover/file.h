/* One file that is read whenever it has changed, however that was done: written in place, replaced by a rename, reached
 * by a link that now leads elsewhere (Kubernetes' mounted maps), or written on another machine.
 *
 *   events of its folder (at once, where the system has them) ─┐
 *   stat, once a second ────────────────────────────────────────┴─► quiet for a moment ─► read ─► on_text */
#ifndef LLMD_UV_DISCOVER_FILE_H
#define LLMD_UV_DISCOVER_FILE_H

#include <llmd/types.h>

struct uv_loop_s;

typedef struct llmd__file llmd__file;

/* What is executed: no link, of root or this user, writable by nobody else but this user's effective group. Another one
 * is trouble. */
#define LLMD__FILE_TRUSTED 1u

typedef struct llmd__file_options {
  const char *path; /* copied */
  size_t most;      /* bytes; a longer file is handed over as on_trouble */
  uint32_t flags;   /* LLMD__FILE_* */
  void (*on_text)(void *ud, const char *text, size_t len); /* borrowed for the call */
  /* It is gone, not readable, too long. Once for each change for the worse. */
  void (*on_trouble)(void *ud, const char *what);
  void *ud;
} llmd__file_options;

/* Reads it at once: on_text or on_trouble comes from within. */
int llmd__file_open(struct uv_loop_s *loop, const llmd__file_options *options, llmd__file **out);
/* Ten times a second. */
void llmd__file_tick(llmd__file *f, uint64_t now);
/* Reads it now, changed or not. */
void llmd__file_read(llmd__file *f);
/* done(ud) from the loop. */
void llmd__file_close(llmd__file *f, void (*done)(void *ud), void *ud);

/* Reads a file once: its text, malloc'ed; or NULL, and what is wrong with it. */
char *llmd__file_load(const char *path, size_t most, uint32_t flags, size_t *len, const char **why);

#endif
