/* serve.h: the parts of `llmd serve`.
 *
 *   supervisor ──spawns──► agent     (llmd serve --agent: what `llmd agent` does)
 *    no library   │  └───► worker 0  (llmd serve --worker 0: listening socket as descriptor 3; both say "ready" on 4)
 *    state of     └──────► worker 1  ...
 *    its own
 *
 * Children are this same program. They die with their supervisor; it starts them again when they die. */
#ifndef SERVE_H
#define SERVE_H

#include "service_file.h"

#define SERVE_LISTEN_FD 3
#define SERVE_READY_FD 4

/* What the supervisor and its workers have in common. */
struct serve {
  struct service_file file;
  llmd_service *service;
  uint32_t level; /* of the log */
};

/* "serve: text" on standard error, one line in one write, when the level is wanted (LLMD_LOG_*). */
void serve_say(const struct serve *serve, int level, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* ---- a file that is right (serve_check.c) ------------------------------------------------------------------------ */

/* Reads file and options, also again; the policy must be right, too. 0, or EXIT_REFUSED with a line on standard error. */
int serve_read(const struct serve *serve, llmd_service **out);
/* Says what would run, the pool file read, too. */
int serve_check(const struct serve *serve);

/* ---- where clients come in (serve_socket.c) ---------------------------------------------------------------------- */

struct serve_socket {
  int fd;
  unsigned port;     /* 0 = a path */
  char text[160];    /* "127.0.0.1:8080", for people */
  char path[112];    /* of a unix socket; "" = none */
};
/* 0, or EXIT_REFUSED with a line on standard error. */
int serve_listen(const char *command, const char *address, struct serve_socket *out);
void serve_unlisten(struct serve_socket *s);

/* ---- processes --------------------------------------------------------------------------------------------------- */

int serve_supervise(struct serve *serve); /* exit code */
int serve_work(struct serve *serve, unsigned number);
/* In a child: end with the parent, whose process number this is. 0, or EXIT_REFUSED: it has gone already. SIGINT, which
 * a terminal sends to all at once, is left to the parent. name: as ps and top show it, at most 15 bytes. */
int serve_follow(unsigned long parent, const char *name);

#endif
