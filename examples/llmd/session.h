/* session.h: a pool, a scheduler on it and a lane, out of the files that a person names. */
#ifndef SESSION_H
#define SESSION_H

#include <llmd/llmd.h>

#include "file.h"

#define CONFIG_MAX ((size_t)4 << 20)
#define POOL_MAX ((size_t)4 << 20)
#define BODY_MAX ((size_t)256 << 20)

struct session_options {
  const char *command;
  const char *config; /* file; NULL = the reference's default policy */
  const char *pool;   /* file in llm-d's file-discovery format; NULL = no endpoints */
  const char *modules; /* directory of loadable plugins, or NULL */
  int strict, fail_open, refuse_alpha;
  llmd_log_fn log; /* NULL = warnings to standard error */
  void *log_ud;
};

struct session {
  llmd_pool *pool;
  llmd_scheduler *scheduler;
  llmd_lane *lane;
  llmd_now now; /* the session's clock: it stands still, so that the same files give the same decisions */
};

/* 0, or an exit code after a line on standard error; err (may be NULL) has the configuration's error, too. The
 * endpoints are published. Close it either way. */
int session_open(struct session *s, const struct session_options *options, llmd_err *err);
void session_close(struct session *s); /* a zeroed one may be closed */

/* What a client sent, besides the body. */
struct headers {
  const char *file;   /* lines of "Name: value", or NULL */
  const char *line[32]; /* the same, given one by one */
  unsigned n_lines;
};

/* A request of body bytes at `path`, fed; headers before it. The body must stay until request_free.
 * Returns 0 and *out, or an exit code after a line on standard error. A body that the reader refuses is no failure
 * here: llmd_request_get tells (request_blame says it to a person). */
int request_make(const char *command, const char *path, const struct headers *headers, const struct file *body,
                 unsigned feed_flags, llmd_request **out);
void request_free(llmd_request *r);

/* "file:line:column: text" when the body was refused. Returns EXIT_REFUSED then, else 0. */
int request_blame(const llmd_request *r, const char *file, const struct file *body);

#endif
