/* From text to policy: what policy.c and its parts share. The text is compiled once in a state of its own, what it
 * returned is looked through here, and the state goes: a lane makes its own (own.c).
 *
 *   policy.c   name, summary, store, examples; kind and descriptor
 *   params.c   params = {...}        ─► rows of the descriptor, defaults
 *   reads.c    reads, writes         ─► rows of the descriptor, fields
 *   args.c     each verb's function  ─► what its parameters are
 *   globals.c  remarks about names that nobody defines
 *
 * All of it runs inside llmd__lua_call, so that running out of memory ends it; what the policy keeps comes from its
 * allocator and hangs on it (llmd__lua_room). Functions return 0 or a code, with err filled. */
#ifndef LLMD_LUA_MODULE_H
#define LLMD_LUA_MODULE_H

#include "policy.h"

#if defined(__GNUC__)
#define LLMD__LUA_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define LLMD__LUA_PRINTF(f, a)
#endif

/* What is being made. */
typedef struct llmd__lua_maker {
  const llmd_program *in;
  llmd__lua_policy *p;
  lua_State *L;
  int module; /* its table, on the stack */
  int rc;
  llmd_err *err;
  llmd_read *reads;    /* LLMD__LUA_READS + 1 rows, plugin.reads in the end */
} llmd__lua_maker;

/* The nearest of the names tried to a misspelt word, when it is near enough to be meant. */
typedef struct llmd__lua_near {
  const char *word;
  const char *best; /* NULL = none */
  uint32_t distance;
} llmd__lua_near;
void llmd__lua_near_try(llmd__lua_near *n, const char *name);
/* ": did you mean NAME?", or "". */
const char *llmd__lua_near_text(const llmd__lua_near *n, char buf[80]);

/* Zeroed memory that hangs on a list, to be freed together; NULL when refused. */
void *llmd__lua_block(const llmd_allocator *a, void **list, size_t bytes);
void llmd__lua_blocks_free(const llmd_allocator *a, void **list);
/* The same, as long as the policy lives. */
void *llmd__lua_room(llmd__lua_policy *p, size_t bytes);
/* A copy with NUL. */
const char *llmd__lua_keep(llmd__lua_policy *p, const char *text, size_t len);

/* Fills err (NULL allowed; control characters become ?) and returns code. */
int llmd__lua_say(llmd_err *err, int code, uint32_t line, const char *path, const char *fmt, ...)
    LLMD__LUA_PRINTF(5, 6);
/* The same about the text being made. */
int llmd__lua_wrong(const llmd__lua_maker *m, int code, uint32_t line, const char *fmt, ...) LLMD__LUA_PRINTF(4, 5);
/* A remark, with the text's name and line before it. */
void llmd__lua_remark(const llmd__lua_maker *m, uint32_t line, const char *fmt, ...) LLMD__LUA_PRINTF(3, 4);
/* The first line where word is given a value (`word =`), or else stands as a string; 1 when there is none. */
uint32_t llmd__lua_line_of(const llmd__lua_policy *p, const char *word);

int llmd__lua_nomem(const llmd__lua_maker *m);
/* "WHAT has no NAME", with what was meant. */
int llmd__lua_unknown(const llmd__lua_maker *m, const char *what, const char *name, llmd__lua_near *near);

/* The raw value of table[key], pushed. */
void llmd__lua_get(lua_State *L, int table, const char *key);
/* The names that a table has, sorted (as long as it has them); how many, or a code. list: 1..list may be there, too. */
int llmd__lua_keys(const llmd__lua_maker *m, int table, const char *what, uint32_t list, const char **out,
                   uint32_t cap);
/* The text of the string at index; 0 when it is no string, or longer than max, or holds a NUL. */
int llmd__lua_text_at(lua_State *L, int index, size_t max, llmd_str *out);
/* What stands at index, for messages: "a number". */
const char *llmd__lua_kind_at(lua_State *L, int index);
/* A word that may stand behind a dot in Lua. */
int llmd__lua_identifier(const char *p, size_t n);

/* names.c: a row of names.def. */
typedef struct llmd__lua_known {
  const char *field;
  uint32_t kind; /* LLMD_READ_F64, ... */
  const char *attribute, *producer, *unit, *doc;
} llmd__lua_known;
const llmd__lua_known *llmd__lua_known_find(const char *field);
/* The i-th; NULL past the last. */
const llmd__lua_known *llmd__lua_known_at(uint32_t i);
void llmd__lua_known_near(llmd__lua_near *n);

/* own.c: loads, freezes, anchors. What a text may take while it is loaded: */
#define LLMD__LUA_LOAD_INSTRUCTIONS 5000000u
/* llmd__lua_own_open, with words. */
int llmd__lua_own_try(const llmd__lua_self *self, const llmd_host *host, llmd__lua_own **out, llmd_err *err);

/* params.c, reads.c, args.c */
int llmd__lua_take_params(llmd__lua_maker *m);
int llmd__lua_take_reads(llmd__lua_maker *m);
int llmd__lua_take_writes(llmd__lua_maker *m);
int llmd__lua_take_verbs(llmd__lua_maker *m);
/* Adds the known read; its index, or a code. */
int llmd__lua_add_known(llmd__lua_maker *m, const llmd__lua_known *k, uint32_t line);
/* Index of the field, LLMD_NO_INDEX when the policy reads no such thing. */
uint32_t llmd__lua_read_find(const llmd__lua_policy *p, const char *field);
/* After all: remarks about what is read for nobody. */
void llmd__lua_lint_reads(const llmd__lua_maker *m);
/* globals.c: remarks about names that nobody defines. */
void llmd__lua_lint_globals(const llmd__lua_maker *m);

#endif
