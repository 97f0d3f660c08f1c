/* Server-sent events as they pass. Whole events go on as they came, in one piece per read where nothing has to be
 * looked at; an event of which the end has not come yet is held (bounded) until it has. Usage is read; the chunk that
 * an engine sent only because we asked for usage is taken out.
 *
 *   read ──► [held + beginning] event event event [cut off] ──► pieces to send
 *                                    └ usage? taken out?  └──► held */
#ifndef LLMD_UV_PROXY_SSE_H
#define LLMD_UV_PROXY_SSE_H

#include <llmd/alloc.h>
#include <llmd/scheduler.h>

typedef struct llmd__sse {
  char *held;
  size_t len, cap;
  size_t max;       /* bytes held at most: a longer event passes unread, and so does all that follows */
  const char *key;  /* LLMD__USAGE_* */
  uint8_t take_out; /* the chunk that has usage and no choices is not for the client */
  uint8_t raw;      /* pass everything on as it is */
  uint8_t emitted;  /* the held bytes are out as a piece: they stay until llmd__sse_sent */
  uint8_t data;     /* an event with data has passed */
  uint8_t removed;  /* a chunk was taken out */
  llmd_usage usage;
} llmd__sse;

#define LLMD__SSE_PIECES 4

void llmd__sse_init(llmd__sse *s, const char *key, size_t max, int take_out);
void llmd__sse_free(llmd__sse *s, const llmd_allocator *alloc);
/* Takes bytes off *in and writes pieces to send to out: of *in, or what was held. Returns how many. With s->emitted,
 * send them and call llmd__sse_sent before the next. Call it until *in is empty. */
int llmd__sse_feed(llmd__sse *s, const llmd_allocator *alloc, llmd_str *in, llmd_str out[LLMD__SSE_PIECES]);
void llmd__sse_sent(llmd__sse *s, const llmd_allocator *alloc);
/* The stream has ended: what is still held. */
llmd_str llmd__sse_rest(const llmd__sse *s);

#endif
