/* A policy: what a text says it is, and what one lane has of it.
 *
 *   text ─► policy (one per instance, never changed) ─► descriptor: kind, params, reads, writes, verbs
 *                     │ bind: parameters' values (self)
 *                     └─► own (one per lane): a state with the text loaded, its functions, kept tables
 *
 * The names of a function's parameters say what it wants. Those of one call per decision:
 *
 *   req    the request                 cols   columns: cols.waiting[i], cols.n
 *   p      the policy's parameters     eps    endpoints: eps[i].waiting, #eps
 *   out    score: out[i] = number      keep   filter: keep[i] = false     total  pick: total[i]
 *   n      number of candidates        runs, turn, target, ...: see the table in args.c
 *
 * A function with none of cols, eps, out, keep, total is called once per endpoint: every other name is a column
 * (`kv_usage`), `ep` is the endpoint's table, and it returns the value. */
#ifndef LLMD_LUA_POLICY_H
#define LLMD_LUA_POLICY_H

#include <llmd/loader.h>

#include "state.h"

#define LLMD__LUA_ARGS 16u
#define LLMD__LUA_READS 64u
#define LLMD__LUA_WRITES 16u
#define LLMD__LUA_PARAMS 64u

/* The verbs, in the order of llmd__lua_verb_names. */
enum {
  LLMD__LUA_FILTER,
  LLMD__LUA_SCORE,
  LLMD__LUA_PICK,
  LLMD__LUA_DECIDE,
  LLMD__LUA_PRODUCE,
  LLMD__LUA_COMMIT,
  LLMD__LUA_REPORT,
  LLMD__LUA_PROFILES, /* llmd_plugin.next: which profiles run now */
  LLMD__LUA_PRIMARY,  /* llmd_plugin.finish */
  LLMD__LUA_VERBS
};
extern const char *const llmd__lua_verb_names[LLMD__LUA_VERBS];

/* What a parameter of a verb's function is. */
enum {
  LLMD__LUA_ARG_READ, /* a column's value at the endpoint: llmd__lua_arg.read */
  LLMD__LUA_ARG_P,
  LLMD__LUA_ARG_REQ,
  LLMD__LUA_ARG_COLS,
  LLMD__LUA_ARG_EPS,
  LLMD__LUA_ARG_EP,
  LLMD__LUA_ARG_N,
  LLMD__LUA_ARG_OUT,
  LLMD__LUA_ARG_KEEP,
  LLMD__LUA_ARG_TOTAL,
  LLMD__LUA_ARG_RUNS,
  LLMD__LUA_ARG_TURN,
  LLMD__LUA_ARG_TARGET, /* commit, report: the endpoint's id, an integer */
  LLMD__LUA_ARG_KIND,   /* report: "first", "done", "failed", "cancelled", ... */
  LLMD__LUA_ARG_USAGE   /* report: {prompt_tokens, output_tokens, cached_tokens} */
};

typedef struct llmd__lua_arg {
  uint32_t what;
  uint32_t read; /* LLMD__LUA_ARG_READ */
} llmd__lua_arg;

typedef struct llmd__lua_verb {
  uint32_t present;
  uint32_t each; /* 1: called once per endpoint */
  uint32_t n_args;
  llmd__lua_arg arg[LLMD__LUA_ARGS];
} llmd__lua_verb;

/* How a read shows in Lua. */
#define LLMD__LUA_SHOWS_NUMBER 1u /* cols.F[i], ep.F: NaN = unknown */
#define LLMD__LUA_SHOWS_TEXT 2u   /* the same, a string; "" = unknown */
#define LLMD__LUA_SHOWS_HEADER 3u /* req.headers[F]; nil = absent */
#define LLMD__LUA_SHOWS_PROMPT 4u /* req.prompt */
#define LLMD__LUA_SHOWS_ENDPOINT 5u /* cols.F[i], ep.F: the endpoint's id, an integer: target of commit, report */
static inline int llmd__lua_is_column(uint32_t shows)
{
  return shows == LLMD__LUA_SHOWS_NUMBER || shows == LLMD__LUA_SHOWS_TEXT || shows == LLMD__LUA_SHOWS_ENDPOINT;
}
typedef struct llmd__lua_read {
  const char *field;
  uint32_t shows; /* LLMD__LUA_SHOWS_NUMBER, ... */
  uint32_t used;  /* bits: 1 as an argument, 2 in cols, 4 in eps: what need not be kept is not */
} llmd__lua_read;

/* A parameter of the policy (params = {...}): a row of the descriptor's table. */
typedef struct llmd__lua_param {
  const char *name;
  uint32_t type;   /* LLMD_PARAM_BOOL, INT, FLOAT, STRING, ENUM */
  uint32_t offset; /* in self */
  const llmd_enum *values;
  /* its default */
  double number; /* BOOL: 0 or 1, ENUM: the value */
  llmd_str text; /* STRING */
} llmd__lua_param;

typedef struct llmd__lua_policy llmd__lua_policy;

/* What the core stores parameters in: the operator's, then those of the policy. */
typedef struct llmd__lua_self {
  const llmd__lua_policy *policy; /* bind */
  llmd_str file, source;
  int64_t memory;       /* bytes; 0 = 256 KiB + 1 KiB per endpoint */
  int64_t instructions; /* 0 = 100,000 + 300 per endpoint */
  int64_t time;         /* ns */
  uint32_t prompt;      /* 1: the policy may see the beginning of prompts */
  uint32_t reserved;
  int64_t bypass;       /* ns that a policy is left out after three failures in a minute */
  /* the policy's parameters follow */
} llmd__lua_self;

struct llmd__lua_policy {
  const llmd_allocator *alloc;
  char *text;        /* as loaded */
  size_t len;
  const char *chunk; /* how messages call it: the file's name, or the instance's */
  const char *name, *summary;
  const char *calls_itself[2]; /* plugin.aliases: name, if the text has one */
  llmd_plugin plugin;
  uint32_t n_reads, n_writes, n_params;
  llmd__lua_read read[LLMD__LUA_READS];   /* beside plugin.reads */
  llmd__lua_param param[LLMD__LUA_PARAMS];
  llmd__lua_verb verb[LLMD__LUA_VERBS];
  uint32_t n_examples;
  const llmd__lua_self *self; /* bound */
  void *blocks;  /* what it owns, freed together */
};

/* How often a policy has failed lately (strikes.h). */
typedef struct llmd__lua_strikes {
  uint64_t at[3]; /* mono of the last failures */
  uint64_t until; /* left out until then */
  uint32_t n;
} llmd__lua_strikes;

/* What a lane has. */
typedef struct llmd__lua_own {
  llmd__lua lua; /* first: llmd__lua_state(L)->user is the own */
  const llmd__lua_self *self;
  const llmd__lua_policy *policy;
  llmd_host host; /* a copy; ctx as given */
  llmd__lua_strikes strikes[2]; /* of the verbs that decide, of commit and report */
  uint32_t rebuild;   /* memory ran out: the state is made anew before the next call */
  int verb_ref[LLMD__LUA_VERBS], params_ref, eval_ref; /* places in the registry */
  void *kept;         /* verbs: tables kept in Lua and what they hold (columns.h) */
} llmd__lua_own;

/* policy.c: text -> policy. Everything that can be wrong with a text is said here. */
int llmd__lua_policy_make(const llmd_program *in, llmd__lua_policy **out, llmd_err *err);
void llmd__lua_policy_free(llmd__lua_policy *p);
/* source.c: why the text cannot be a policy's (too long, a NUL, compiled code); NULL = it can. */
const char *llmd__lua_text_refuse(const char *text, size_t len);
/* The file's text, on the conditions of loader.h. Caller frees *text (len + 1 bytes). */
int llmd__lua_read_file(const llmd_allocator *a, const char *path, char **text, size_t *len, llmd_err *err);

/* own.c: llmd_plugin.open and close. */
int llmd__lua_open_verb(const void *self, const llmd_host *host, void **own);
void llmd__lua_close_verb(const void *self, void *own);
/* A state with the policy loaded and frozen, its functions in the registry (llmd__lua_push_verb), its parameters
 * as the read-only table p. host may stand on the caller's stack: it is copied. rows = host->rows. */
int llmd__lua_own_open(const llmd__lua_self *self, const llmd_host *host, llmd__lua_own **out);
void llmd__lua_own_close(llmd__lua_own *o);
/* Makes the state anew after it ran out of memory, within that time (0: it does not count), which the next call shares:
 * lua.until is to be put back to 0 after it. */
int llmd__lua_own_rebuild(llmd__lua_own *o, uint64_t time_ns);
void llmd__lua_push_verb(const llmd__lua_own *o, uint32_t verb);
void llmd__lua_push_params(const llmd__lua_own *o);

/* verbs.c: puts the verbs that the policy has, and trouble, into its descriptor. */
void llmd__lua_verbs_install(llmd__lua_policy *p);
/* kept.c: what verbs keep per lane; made by own.c after the state, before the first call; freed before it. */
int llmd__lua_kept_open(llmd__lua_own *o);
void llmd__lua_kept_close(llmd__lua_own *o);

/* examples.c, eval.c: see llmd_loader. */
int llmd__lua_examples(const void *self, llmd_write_fn fn, void *ud, llmd_err *err);
int llmd__lua_eval(const void *self, void *own, const char *text, size_t len, llmd_write_fn fn, void *ud,
                   llmd_err *err);

#endif
