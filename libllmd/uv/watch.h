/* Sockets that another library opens and closes, watched on the loop: one poll handle for each descriptor.
 *
 *   set ─► on_ready ... ─► rest (it stays open, nobody waits for it) ─► set ... ─► drop (before it is closed)
 *
 * A handle lives as long as its socket, not as long as an interest in it: making one costs system calls. A socket that
 * was closed without a word, whose number is another socket's by now, is noticed. */
#ifndef LLMD_UV_WATCH_H
#define LLMD_UV_WATCH_H

#include <llmd/types.h>

struct uv_loop_s;

typedef struct llmd__watch llmd__watch;

typedef struct llmd__watches {
  struct uv_loop_s *loop;
  /* Both 1: also when something is wrong with it, which trying will tell. */
  void (*on_ready)(void *ud, int fd, int readable, int writable);
  void (*on_closed)(void *ud); /* `open` is one less */
  void *ud;
  /* From here on read only. */
  llmd__watch **at; /* by descriptor */
  size_t n;
  uint32_t open;    /* handles that the loop has */
} llmd__watches;

/* From now on it is waited for these. LLMD_E_NOMEM, LLMD_E_IO: it is not. */
int llmd__watches_set(llmd__watches *w, int fd, int readable, int writable);
void llmd__watches_rest(llmd__watches *w, int fd);
void llmd__watches_drop(llmd__watches *w, int fd);
void llmd__watches_drop_all(llmd__watches *w);
/* When open is 0. */
void llmd__watches_free(llmd__watches *w);

#endif
