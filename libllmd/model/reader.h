/* The body reader: a bounded automaton over the bytes (body.c) that tells the fields (fields.c) about keys and values
 * as their last byte goes by. It allocates nothing, recurses nowhere, and stops and goes on between any two bytes.
 *
 *    bytes ──► body.c ── key, string, number, word, open, close, comma ──► fields.c ──► copies, prompt, edits
 *              grammar, UTF-8, depth, caps                                 meaning by dialect.c
 *
 * Rules: RFC 8259 with nothing added (no byte order mark, no NaN, nothing after the document); the document is an
 * object; UTF-8 is checked; containers nest at most LLMD__DEPTH deep. An escaped surrogate without its partner is
 * accepted, as Python does. Keys are compared after unescaping, case counts. Of a key that comes again the last
 * counts. */
#ifndef LLMD_MODEL_READER_H
#define LLMD_MODEL_READER_H

#include "model/block.h"
#include "model/copies.h"
#include "model/edits.h"

#define LLMD__DEPTH 64u
#define LLMD__NOWHERE UINT64_MAX
#define LLMD__MEMBERS 48u /* of the top-level object whose places are kept */

/* Where the automaton stands. A token's parts survive the end of a piece. */
typedef struct llmd__body {
  uint64_t at;       /* offset of the next byte */
  uint64_t start;    /* first byte of the token being read (of a string: after the quote) */
  uint64_t mark;     /* first byte of an unfinished escape or character */
  uint64_t overhead; /* bytes that unescaping the string will save */
  uint64_t high_end; /* end of an escaped high surrogate that waits for its partner */
  uint64_t kinds;    /* bit per open container: 1 = object */
  uint64_t number;   /* digits so far, at most UINT64_MAX */
  uint32_t depth, keys;
  uint16_t hex;
  uint8_t state;
  uint8_t number_state, negative;
  uint8_t escape;                /* 0, 1 after a backslash, 2..5 before a hexadecimal digit */
  uint8_t follow, low, high;     /* bytes that an unfinished character still needs; range of the next */
  uint8_t escaped;               /* the string has escapes */
  uint8_t is_key;
  uint8_t word, word_at;
} llmd__body;

/* What the body's last stream_options says, and where. */
enum { LLMD__USAGE_ABSENT, LLMD__USAGE_OTHER, LLMD__USAGE_OBJECT };
typedef struct llmd__usage_asked {
  uint64_t brace;      /* first byte inside the object */
  uint64_t start, end; /* of the value of its last include_usage; end 0 = it has none */
  uint8_t kind;        /* LLMD__USAGE_* */
  uint8_t empty;       /* the object has no member */
  uint8_t stays;       /* the value is neither false nor null: true, or the engine's to judge */
} llmd__usage_asked;

typedef struct llmd__reader {
  uint32_t dialect;
  uint32_t max_keys, max_tokens;
  int32_t error;
  uint64_t error_offset;
  llmd__pieces pieces;
  llmd__copies copies;
  llmd__prompt prompt;
  llmd__edits edits;
  llmd__body body;

  /* fields.c: the meaning of what is open and of the value that comes next */
  uint8_t next;
  uint8_t frame[LLMD__DEPTH + 1];
  uint8_t media;     /* MEAN_* of the object whose MEAN_MEDIA is meant */
  uint8_t inner;     /* 1 inside a block of a block */
  uint8_t role;      /* the message's first segment is its role (fields.c) */
  uint8_t items;     /* what a list of prompts has held so far */
  uint32_t message;  /* place of the message's first segment */
  uint64_t raw;      /* start of a container that is kept as raw JSON */
  uint64_t list, list_end; /* a list of ids: its bracket, and the end of the last one */
  uint64_t list_ids;
  uint64_t all_ids;
  llmd__block block[2];

  /* what was found */
  int64_t limit[2]; /* LIMIT and LIMIT_OLD; -1 = absent */
  int64_t priority;
  uint8_t stream, attached, saturated;
  llmd__usage_asked usage;
  uint8_t members, more_members;
  uint64_t member[LLMD__MEMBERS]; /* their keys' quotes */
} llmd__reader;

/* Forgets the body. dialect, the caps and the rooms' sizes stay. */
void llmd__reader_reset(llmd__reader *r);

/* Reads n bytes that have been added to r->pieces. Returns 0 or the body's first error. */
int llmd__body_feed(llmd__reader *r, const char *p, size_t n);
/* The body ends here. LLMD_E_TRUNCATED when the document is not complete. */
int llmd__body_end(llmd__reader *r);
/* No more will be shown: what is open counts as far as it goes; cut names, numbers and keys do not count. */
int llmd__body_cut(llmd__reader *r);

/* Notes the error (the first stays) and returns it. */
int llmd__reader_fail(llmd__reader *r, int code, uint64_t offset);

/* The events. Offsets are places in the body; `end` is the first byte after the value. depth counts the container. */
int llmd__field_key(llmd__reader *r, const llmd__span *key);
int llmd__field_string(llmd__reader *r, const llmd__span *value, int cut);
int llmd__field_number(llmd__reader *r, uint64_t start, uint64_t end, int is_integer);
int llmd__field_word(llmd__reader *r, uint64_t start, uint64_t end, char first); /* t(rue) f(alse) n(ull) */
int llmd__field_open(llmd__reader *r, uint64_t offset, int is_object);
int llmd__field_close(llmd__reader *r, uint64_t end, int empty);
/* The innermost container is not closed when the bytes end at `end`. */
int llmd__field_cut(llmd__reader *r, uint64_t end);
void llmd__field_comma(llmd__reader *r, uint64_t offset, int in_object);
/* n more ids, the last of which ends at `end`; all are known to be fine. */
void llmd__field_ids(llmd__reader *r, uint32_t n, uint64_t end);

#endif
