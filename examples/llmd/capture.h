/* capture.h: messages of KV events out of a file: one payload as it is, or captured messages, a line each:
 *
 *     {"frames": ["<topic in hex>", "<sequence number in hex>", "<payload in hex>"], ...}
 *     <payload in hex>
 *
 * A line of JSON without "frames" is passed over (a capture's own notes). */
#ifndef CAPTURE_H
#define CAPTURE_H

#include <llmd/events.h>

#include "file.h"

struct capture {
  struct file file;
  size_t at;
  unsigned line;  /* of the message, from 1 */
  int whole;      /* the file is one payload */
  char *bytes;    /* of the message */
};

struct message {
  unsigned line;
  int framed; /* frames.seq and so on are set */
  int code;   /* 0; LLMD_E_SYNTAX: no message; LLMD_E_NOMEM */
  size_t at;  /* with LLMD_E_SYNTAX: where in the line, from 0 */
  llmd_frames frames; /* without frames only the payload */
};

/* 0, or EXIT_REFUSED with a line on standard error. */
int capture_open(const char *path, struct capture *out);
/* 1 and the next message (its texts live until the next call), or 0. */
int capture_next(struct capture *c, struct message *out);
void capture_close(struct capture *c);

#endif
