/* The request's room for copied text. Headers and what the host sets grow from the bottom and stay until reset; the
 * few strings found in the body (model, salt, adapter) live at the top and are packed whenever one is replaced, so
 * that a body full of duplicate keys needs no more room than its last ones.
 *
 *    0                low                  high              cap
 *    | headers ...  ─► |       free        | ◄─  lora salt model |
 * / */
#ifndef LLMD_MODEL_COPIES_H
#define LLMD_MODEL_COPIES_H

#include <stddef.h>
#include <stdint.h>

#include <llmd/types.h>

#define LLMD__BODY_MODEL 0u
#define LLMD__BODY_SALT 1u
#define LLMD__BODY_LORA 2u
#define LLMD__BODY_STRINGS 3u

typedef struct llmd__copies {
  char *text;
  uint32_t cap, low, high;
  struct {
    uint32_t offset, len;
    uint32_t set;
  } body[LLMD__BODY_STRINGS];
} llmd__copies;

void llmd__copies_reset(llmd__copies *c);

/* Room for n bytes at the bottom: its offset, or LLMD_E_LIMIT. */
int64_t llmd__copies_take(llmd__copies *c, size_t n);

/* Forgets body string `which`; the others move up. */
void llmd__copies_drop(llmd__copies *c, unsigned which);
/* Room of n bytes for body string `which` (dropped before): its address, or NULL when there is none. */
char *llmd__copies_place(llmd__copies *c, unsigned which, size_t n);

/* ptr NULL when it is not set. */
llmd_str llmd__copies_body(const llmd__copies *c, unsigned which);

#endif
