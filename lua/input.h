/* Values of a policy's table, into C: what sample.c and expected.c read examples with. The last mistake is in rc, which
 * all functions return, and in why of the sample. Inside llmd__lua_call. */
#ifndef LLMD_LUA_INPUT_H
#define LLMD_LUA_INPUT_H

#include "sample.h"

#define LLMD__LUA_IN_TEXT 4096u

typedef struct llmd__lua_in {
  lua_State *L;
  llmd__lua_sample *s;
  const llmd__lua_self *operator;
  uint32_t number;
  int at; /* the example's table, on the stack */
  int rc;
} llmd__lua_in;

int llmd__lua_in_wrong(llmd__lua_in *r, const char *fmt, ...) LLMD__LUA_PRINTF(2, 3);
/* Zeroed, as long as the sample. */
void *llmd__lua_in_room(llmd__lua_in *r, size_t bytes);
/* Pushes table[key]. 1 when it is there. */
int llmd__lua_in_field(llmd__lua_in *r, int table, const char *key);
/* A number, or a boolean as 0 or 1; absent: *out stays. */
int llmd__lua_in_number(llmd__lua_in *r, int table, const char *key, double *out);
/* A copy of the string at the top; of table[key], when there is one. */
int llmd__lua_in_text(llmd__lua_in *r, const char *what, llmd_str *out);
int llmd__lua_in_text_of(llmd__lua_in *r, int table, const char *key, llmd_str *out);
/* Pushes the table table[key] and returns its place; 0, and nothing pushed, when there is none. */
int llmd__lua_in_table(llmd__lua_in *r, int table, const char *key);
/* Every name in the table must be one of words. */
int llmd__lua_in_words(llmd__lua_in *r, int table, const char *what, const char *const *words);

/* expected.c: what must come out. */
int llmd__lua_in_expected(llmd__lua_in *r);

#endif
