/* The tables that scripts get, kept in Lua from call to call, so that a decision allocates nothing.
 *
 *   batch ──► cols.F[i], eps[i].F, req.F, out, keep, total ──► the script ──► out, keep, what it returned
 *
 * Nothing that a script does to them lasts, because decisions must replay:
 *
 *  - before each call every cell that the function can see is written anew, changed or not, and so is every field of
 *    cols and eps. Writing costs 8 ns a cell where finding out whether the script has meddled costs 9;
 *  - what was not there cannot be added: the tables' metatable refuses new keys. Scripts have no raw access, and cells
 *    that are there are found without a look at the metatable, so that this costs nothing. Nor can names be read that
 *    are not there (absent.c);
 *  - req, of which little changes, is behind a proxy (state.h) that scripts cannot write through, so that only what
 *    changes is written. Its reads cost more, but there are few;
 *  - out is all NaN and keep all true when a function starts: results are put back when they are read, and after a
 *    failure everything is;
 *  - whatever else is handed out (runs, usage) is made for the one call. */
#ifndef LLMD_LUA_KEPT_H
#define LLMD_LUA_KEPT_H

#include "policy.h"

/* Where, in every function below, the table of all kept things lies on the stack. */
#define LLMD__LUA_KEPT 2
/* Its entries. */
enum {
  LLMD__LUA_AT_STATE = 1, /* llmd__lua_kept, a userdata */
  LLMD__LUA_AT_COLS,
  LLMD__LUA_AT_EPS,     /* what scripts see */
  LLMD__LUA_AT_EP_LIST, /* the same tables, out of their reach */
  LLMD__LUA_AT_OUT,
  LLMD__LUA_AT_WROTE, /* out of a producer: out.NAME */
  LLMD__LUA_AT_KEEP,
  LLMD__LUA_AT_TOTAL,
  LLMD__LUA_AT_REQ,          /* the proxy */
  LLMD__LUA_AT_REQ_REAL,
  LLMD__LUA_AT_HEADERS_REAL, /* of req.headers */
  LLMD__LUA_AT_N, /* the text "n" */
  LLMD__LUA_AT_FIELD,                                          /* [read] its name */
  LLMD__LUA_AT_COLUMN = LLMD__LUA_AT_FIELD + LLMD__LUA_READS,  /* [read] */
  LLMD__LUA_AT_NAME = LLMD__LUA_AT_COLUMN + LLMD__LUA_READS,   /* [write] its name */
  LLMD__LUA_AT_CELLS = LLMD__LUA_AT_NAME + LLMD__LUA_WRITES,   /* [write] */
  LLMD__LUA_AT_REQ_FIELD = LLMD__LUA_AT_CELLS + LLMD__LUA_WRITES /* [LLMD__LUA_REQ_FIELDS] names */
};

/* Fields of req, in the order of words.def. */
enum {
#define LLMD__LUA_WORD_REQ(name, type, doc) LLMD__LUA_REQ_##name,
#include "words.def"
  LLMD__LUA_REQ_FIELDS
};
extern const char *const llmd__lua_req_names[LLMD__LUA_REQ_FIELDS];

/* What a verb's function wants, as bits; the first three are those of llmd__lua_read.used. */
#define LLMD__LUA_WANTS_ARGS 1u
#define LLMD__LUA_WANTS_COLS 2u
#define LLMD__LUA_WANTS_EPS 4u
#define LLMD__LUA_WANTS_REQ 8u
#define LLMD__LUA_WANTS_OUT 16u
#define LLMD__LUA_WANTS_KEEP 32u
#define LLMD__LUA_WANTS_TOTAL 64u

/* What req holds. Texts are those of Lua's own strings, which it keeps alive. */
typedef struct llmd__lua_shown {
  llmd_request_view view; /* but not the texts */
  llmd_str model, tenant, session, prompt;
  llmd_str header[LLMD__LUA_READS];
  uint64_t now, wall;
  uint32_t n;
  uint32_t valid; /* 0: nothing yet */
} llmd__lua_shown;

/* How many cells the tables have. Lives in the Lua state. */
typedef struct llmd__lua_kept {
  llmd__lua_shown req;
  uint32_t wants[LLMD__LUA_VERBS];
  uint32_t column[LLMD__LUA_READS];
  uint32_t eps, out, keep, total, wrote;
  uint32_t places;  /* of out and keep in this call */
  uint32_t stained; /* bit per verb: it has not ended well, and its out or keep may hold anything */
  uint8_t mark[];   /* [rows] scratch of results.c */
} llmd__lua_kept;

/* One call of a verb: what it is given, and where its results go. */
typedef struct llmd__lua_work {
  llmd__lua_own *own;
  uint32_t verb;
  uint32_t n;                     /* candidates */
  uint32_t flags;                 /* LLMD_BATCH_* */
  const llmd_batch *batch;        /* NULL: profiles, primary, report */
  const llmd_request_view *request;
  const llmd_read_value *value;
  uint64_t seed, now, wall;
  const double *total;            /* pick */
  const llmd_commit_info *commit;
  const llmd_report_info *report;
  const llmd_stages *stages;
  uint8_t *keep;
  uint32_t *order;
  double *score;
  uint32_t *pick;
  uint32_t cap;
  double *const *wrote;
  llmd_next *next;
  llmd_outcome *outcome;
  int result; /* what the verb returns when nothing fails */
} llmd__lua_work;

/* All that follow run inside llmd__lua_call and may raise. */

/* kept.c: pushes the table of all kept ones. */
void llmd__lua_kept_push(lua_State *L);
/* Takes cells n+1..*shown away from the table at index (not relative to the top); then *shown is n, if it was more. */
void llmd__lua_cut(lua_State *L, int table, uint32_t n, uint32_t *shown);
/* Is the value at index this text? */
int llmd__lua_is_text(lua_State *L, int index, const llmd_str *text);

/* absent.c: from now on the table on top raises an error when a name is read that it cannot have. what: "cols", "ep". */
void llmd__lua_absent_column(lua_State *L, const char *what);
void llmd__lua_absent_field(lua_State *L);  /* req */
void llmd__lua_absent_header(lua_State *L); /* req.headers */
void llmd__lua_absent_param(lua_State *L);  /* p */

/* columns.c: the columns of reads whose `used` has one of these bits: texts, and with WANTS_COLS numbers, too, and cols. */
void llmd__lua_columns(lua_State *L, const llmd__lua_work *w, uint32_t wants);
/* endpoints.c: eps; columns of texts first. */
void llmd__lua_endpoints(lua_State *L, const llmd__lua_work *w);
/* request.c: req. */
void llmd__lua_request(lua_State *L, const llmd__lua_work *w);
/* Pushes an integer when it is one (llmd.store takes no others), nil for NaN: not given. */
void llmd__lua_push_count(lua_State *L, double value);

/* results.c: out and keep as functions must find them. */
void llmd__lua_clear(lua_State *L, const llmd__lua_work *w, uint32_t wants);
/* What a function of one call per decision has left in out and keep, or has returned (on top of the stack). */
void llmd__lua_take(lua_State *L, llmd__lua_work *w);
/* What a function has returned for endpoint i: values from index first on. */
void llmd__lua_take_each(lua_State *L, llmd__lua_work *w, uint32_t i, int first);
/* The text of the verb, for messages. */
const char *llmd__lua_verb_name(const llmd__lua_work *w);

/* profile.c: runs; what profiles and primary have returned (on top). */
void llmd__lua_push_runs(lua_State *L, const llmd__lua_work *w);
void llmd__lua_take_profiles(lua_State *L, llmd__lua_work *w);
void llmd__lua_take_primary(lua_State *L, llmd__lua_work *w);
int llmd__lua_next(const void *self, const llmd_stages *s, llmd_next *out);
int llmd__lua_finish(const void *self, const llmd_stages *s, llmd_outcome *out);

/* verbs.c: one call within its limits, unless the policy is left out for a while. What the verb returns. */
int llmd__lua_run(llmd__lua_work *w);

#endif
