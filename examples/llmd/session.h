/* session.h: a pool, a scheduler on it and a lane, out of the files that a person names. */
#ifndef SESSION_H
#define SESSION_H

#include <llmd/llmd.h>

#include "config_file.h"
#include "file.h"
#include "loader_dir.h"

#define POOL_MAX ((size_t)4 << 20)
#define BODY_MAX ((size_t)256 << 20)

struct session_options {
  const char *command;
  const char *config; /* file, or a policy (FILE.lua); NULL = the reference's default policy */
  const char *text;   /* the configuration itself, when config is NULL; NULL = none */
  const char *pool;   /* file in llm-d's file-discovery format; NULL = no endpoints */
  const char *modules; /* directory of loadable plugins, or NULL */
  const char *loaders; /* directory of what loads policies, or NULL */
  uint32_t max_endpoints; /* that a record may have; 0 = the library's default */
  int strict, fail_open, refuse_alpha;
  llmd_log_fn log; /* NULL = warnings to standard error */
  void *log_ud;
};

struct session {
  llmd_pool *pool;
  llmd_scheduler *scheduler;
  llmd_lane *lane;
  struct config_file config;
  char loaders[LOADER_DIR_ROOM];
  llmd_now now; /* the session's clock: it stands still, so that the same files give the same decisions */
};

/* 0, or an exit code after a line on standard error; err (may be NULL) has the configuration's error, too. The
 * endpoints are published. Close it either way. */
int session_open(struct session *s, const struct session_options *options, llmd_err *err);
void session_close(struct session *s); /* a zeroed one may be closed */

/* A scheduler of the session's configuration, read again, on its pool; err as above. */
int session_scheduler(struct session *s, const struct session_options *options, llmd_scheduler **out, llmd_err *err);

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
