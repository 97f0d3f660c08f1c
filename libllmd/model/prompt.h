/* The prompt as runs of body bytes (segments), in the order in which an engine's template sees them, whatever the
 * order of the keys in the body. Each top-level key fills one section; when the key comes again its section starts
 * anew. */
#ifndef LLMD_MODEL_PROMPT_H
#define LLMD_MODEL_PROMPT_H

#include "model/text.h"

/* Sections in template order. A body that has both kinds of prompt counts as ids, then as text, then as messages. */
#define LLMD__SECTION_TOOLS 0u
#define LLMD__SECTION_SYSTEM 1u
#define LLMD__SECTION_MESSAGES 2u
#define LLMD__SECTION_TEXT 3u
#define LLMD__SECTION_IDS 4u
#define LLMD__SECTIONS 5u

/* What a LLMD_SEGMENT_MEDIA is. */
#define LLMD__MEDIA_NONE 0u
#define LLMD__MEDIA_IMAGE 1u
#define LLMD__MEDIA_VIDEO 2u
#define LLMD__MEDIA_AUDIO 3u
#define LLMD__MEDIA_FILE 4u

typedef struct llmd__segment {
  uint64_t offset, bytes;
  uint64_t decoded; /* bytes once unescaped; of LLMD_SEGMENT_IDS: the number of ids */
  uint32_t prompt;
  uint8_t kind;  /* LLMD_SEGMENT_* */
  uint8_t media; /* LLMD__MEDIA_* */
  uint8_t escaped;
} llmd__segment;

typedef struct llmd__prompt {
  llmd__segment *at;
  uint32_t n, max;
  uint32_t current; /* the section being filled: always the last run of `at` */
  uint32_t prompts; /* complete prompts in it (sections TEXT and IDS) */
  struct {
    uint32_t first, n;
  } section[LLMD__SECTIONS];
} llmd__prompt;

void llmd__prompt_reset(llmd__prompt *p);

/* From here on segments belong to `section`; what it had is forgotten. */
void llmd__prompt_begin(llmd__prompt *p, uint32_t section);

/* Segments that the current section has. Places below count from its start. */
uint32_t llmd__prompt_here(const llmd__prompt *p);
/* Puts a segment before place `at` (append: llmd__prompt_here). LLMD_E_LIMIT when the table is full. */
int llmd__prompt_insert(llmd__prompt *p, uint32_t at, const llmd__segment *s);
int llmd__prompt_append(llmd__prompt *p, uint8_t kind, uint8_t media, const llmd__span *span);
void llmd__prompt_replace(llmd__prompt *p, uint32_t at, const llmd__segment *s);
void llmd__prompt_remove(llmd__prompt *p, uint32_t at);
/* Forgets the segments from place `at` on. */
void llmd__prompt_cut(llmd__prompt *p, uint32_t at);

/* The segments that count, in template order. */
uint32_t llmd__prompt_count(const llmd__prompt *p);
const llmd__segment *llmd__prompt_at(const llmd__prompt *p, uint32_t i);

typedef struct llmd__prompt_totals {
  uint32_t prompts, segments, media;
  uint64_t bytes; /* of text, roles and tools, still escaped */
  uint64_t ids;
} llmd__prompt_totals;

void llmd__prompt_sum(const llmd__prompt *p, llmd__prompt_totals *out);

llmd__span llmd__segment_span(const llmd__segment *s);

#endif
