/* A strict, bounded reader of HTTP/1.1 messages: one object a connection and direction, requests or answers.
 *
 *   caller's bytes ──► feed ──► HEAD ─► BODY · BODY · ... ─► END ──► next, HEAD ...
 *                        │       │        └ a piece of the caller's bytes, nothing is copied
 *                        │       └ copied into the reader's block: spans into it stay until next or release
 *                        └ never takes a byte beyond END: those of the next message stay the caller's
 *
 * Two readers must agree on a head: lines and bytes are checked here, then llhttp reads the same head; what they see
 * differently is refused. Refused are: CR or LF alone, NUL and control bytes, folded lines, blanks around a name, any
 * transfer coding but one `chunked`, one together with a Content-Length or in HTTP/1.0, a Content-Length that is repeated
 * (even if equal), signed, a list or too large, chunk extensions, any protocol version but HTTP/1.0 and HTTP/1.1; and of
 * requests no Host or two, CONNECT and Upgrade (501), a target with a fragment or bytes that RFC 3986 does not have.
 * A target in absolute form must be http:// with the authority that Host names and is reduced to its path. Trailers are
 * checked, bounded and dropped. An answer's 1xx heads are passed over (101 is refused). */
#ifndef LLMD_UV_HTTP_READER_H
#define LLMD_UV_HTTP_READER_H

#include <llmd/alloc.h>
#include <llmd/http.h>

/* Kept by the caller, shared by all its readers. Every field is set. */
typedef struct llmd__http_limits {
  uint32_t max_head;    /* bytes of the head; also of the trailers */
  uint32_t max_headers;
  uint64_t max_body;    /* UINT64_MAX = none */
  llmd_allocator alloc; /* llmd__alloc_init */
} llmd__http_limits;

enum { LLMD__HTTP_REQUEST = 1, LLMD__HTTP_ANSWER = 2 };

/* How long the body is. */
enum {
  LLMD__HTTP_NONE = 0, /* there is none */
  LLMD__HTTP_LENGTH,   /* head.length bytes, may be 0 */
  LLMD__HTTP_CHUNKED,
  LLMD__HTTP_CLOSE     /* (answers) until the connection ends */
};

typedef struct llmd__http_head {
  llmd_str method, target;        /* requests. target begins with '/' or is "*" */
  llmd_str reason;                /* answers; may be empty */
  uint32_t status;                /* answers */
  uint32_t minor;                 /* HTTP/1.minor */
  uint32_t framing;
  uint32_t keep;                  /* 1: another message may follow on this connection */
  uint32_t expect;                /* 1: Expect: 100-continue */
  uint32_t n_headers;
  const llmd_http_header *header; /* all of them, in the order of arrival */
  llmd_str host;                  /* requests; empty if HTTP/1.0 has none */
  uint64_t length;                /* framing LENGTH */
} llmd__http_head;

typedef struct llmd__http_reader {
  const llmd__http_limits *limits;
  /* After a failure: why (static, NUL-terminated) and the status that fits: 400, 413, 414, 417, 431, 500 (memory), 501,
   * 505; 502 for answers. */
  const char *text;
  uint32_t status;
  /* The rest is the reader's own. */
  uint8_t kind, state, head_request, digits;
  llmd__http_head head;
  char *block; /* the head's bytes, behind them its header array */
  uint32_t block_cap, head_len;
  uint32_t line_begin, lines; /* of the head; of the trailers */
  uint32_t blank_lines, passed_over;
  uint32_t trailer_len;
  uint64_t left;     /* of the body, of the chunk */
  uint64_t body_len; /* so far */
} llmd__http_reader;

/* What feed has seen. */
enum {
  LLMD__HTTP_MORE = 0, /* all bytes are taken, more are needed */
  LLMD__HTTP_HEAD = 1, /* reader->head is complete */
  LLMD__HTTP_BODY = 2, /* *piece is the next of the body, not empty */
  LLMD__HTTP_END = 3   /* the message is whole. Call next before feeding again. */
};

/* limits must outlive the reader. Allocates nothing. */
void llmd__http_reader_init(llmd__http_reader *r, int kind, const llmd__http_limits *limits);
/* Frees the block. The reader may be initialised again. */
void llmd__http_reader_free(llmd__http_reader *r);

/* Reads on: *used of the len bytes are taken. Call it with the rest until it says MORE; a call with no bytes is fine and
 * tells HEAD from END of a message without a body. Errors are final: LLMD_E_SYNTAX, LLMD_E_LIMIT, LLMD_E_UNSUPPORTED,
 * LLMD_E_NOMEM, see r->text and r->status. *piece is written with BODY only. */
int llmd__http_feed(llmd__http_reader *r, const char *data, size_t len, size_t *used, llmd_str *piece);
/* The connection has ended. END: that is how this body ends. NONE: between two messages. Else LLMD_E_TRUNCATED. */
int llmd__http_finish(llmd__http_reader *r);
/* After END: the next message. The block stays if it is small; spans of the old head are gone. */
void llmd__http_next(llmd__http_reader *r);
/* (answers) Before an answer: it belongs to a HEAD request and has no body whatever its headers say. */
void llmd__http_answers_head(llmd__http_reader *r);
/* The head is not needed any more, its memory goes; reader->head's numbers stay, its spans are empty. */
void llmd__http_release(llmd__http_reader *r);
/* 1: bytes of a message have come, and it is not whole yet. */
int llmd__http_midway(const llmd__http_reader *r);

/* A body of known length need not pass through feed: after HEAD, what is left of it (0 unless framing is LENGTH), and n
 * bytes of it that the caller has read elsewhere (n <= left). feed says END when none is left. */
uint64_t llmd__http_body_left(const llmd__http_reader *r);
void llmd__http_body_skip(llmd__http_reader *r, uint64_t n);

/* ---- for all who handle headers -------------------------------------------------------------------------------- */
/* Equal but for the case of letters; name in lower case. */
int llmd__http_is(llmd_str s, const char *name);
/* value is a comma-separated list of tokens and has this one (lower case). */
int llmd__http_lists(llmd_str value, const char *token);
/* The first header of a name (lower case), or NULL. */
const llmd_http_header *llmd__http_find(const llmd__http_head *head, const char *name);

#endif
