/* What an answer says about its tokens, read from the bytes as they pass: OpenAI's and Anthropic's "usage", SGLang's
 * "meta_info". No tree is built: the object is found by its name (a quote that stands within a string has a backslash
 * before it, so a bare "usage" is a key or the whole of a string) and its numbers are picked out. */
#ifndef LLMD_UV_PROXY_USAGE_H
#define LLMD_UV_PROXY_USAGE_H

#include <llmd/alloc.h>
#include <llmd/scheduler.h>
#include <llmd/types.h>

#define LLMD__USAGE_KEY "\"usage\""
#define LLMD__USAGE_META "\"meta_info\""

/* Nothing known. */
void llmd__usage_init(llmd_usage *u);
/* Takes what the last object under `key` (LLMD__USAGE_*) says; what it does not say stays. 1: there was one. */
int llmd__usage_read(llmd_str text, const char *key, llmd_usage *u);
/* 1: an OpenAI chunk that has "choices": []. */
int llmd__usage_no_choices(llmd_str text);

/* The end of a body that comes in pieces: at least the last LLMD__TAIL bytes. */
#define LLMD__TAIL 65536u
typedef struct llmd__tail {
  char *at;
  size_t len, cap;
} llmd__tail;
/* LLMD_E_NOMEM: the tail has lost its beginning. */
int llmd__tail_add(llmd__tail *t, const llmd_allocator *alloc, llmd_str piece);
void llmd__tail_free(llmd__tail *t, const llmd_allocator *alloc);

#endif
