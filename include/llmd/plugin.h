/* llmd/plugin.h: the extender's door. A plugin is one constant table (llmd_plugin) at the end of one C file; this
 * header is all it may include besides the C library, and it links nothing. The built-in plugins are written exactly
 * like this.
 *
 *    #include <llmd/plugin.h>
 *    static int score(const void *self, const llmd_batch *b, double *out) { ... out[i] = b->f64[0][i] ... return 0; }
 *    static const llmd_read reads[] = {{LLMD_READ_F64, 0, "RunningRequestsSize", ...}, {0}};
 *    static const llmd_plugin my_scorer = {.size = sizeof my_scorer, .type = "my-scorer", .kind = LLMD_SCORER, ...};
 *    LLMD_MODULE(&my_scorer)
 *
 * What a plugin sees are columns: for each thing it declares to read, an array with one value per candidate. It never
 * sees an endpoint object, and never calls the core while a decision runs. Filters, scorers, pickers, handlers and
 * deciders are pure functions of (self, batch): same input, same output, bit for bit; no clock, no rand(), no libm
 * transcendentals, no allocation, no writable statics. They may run on many threads at once: that is what `const void
 * *self` says. State lives in the region, behind llmd_services, and only producers reach it. */
#ifndef LLMD_PLUGIN_H
#define LLMD_PLUGIN_H

#include <llmd/alloc.h>
#include <llmd/error.h>
#include <llmd/types.h>

LLMD_BEGIN

#define LLMD_PLUGIN_ABI 1u
#define LLMD_NO_INDEX 0xffffffffu

/* ---- what it may be: one object can be several at once ---------------------------------------------------------- */
#define LLMD_FILTER 1u
#define LLMD_SCORER 2u
#define LLMD_PICKER 4u
#define LLMD_PROFILE_HANDLER 8u
#define LLMD_DECIDER 16u  /* answers yes or no about one endpoint, asked by a profile handler */
#define LLMD_PRODUCER 32u /* fills columns, and may keep state */
#define LLMD_DETECTOR 64u /* says how saturated the candidates are */
/* belongs to the host (data source, parser, flow policy): parameters are checked, nothing runs */
#define LLMD_INERT 128u

#define LLMD_STABLE 0u
#define LLMD_BETA 1u
#define LLMD_ALPHA 2u
#define LLMD_DEPRECATED 3u

/* ---- parameters ------------------------------------------------------------------------------------------------- */
/* Types, and what the core stores at `offset` of the plugin's self: */
#define LLMD_PARAM_BOOL 1u     /* uint32_t 0 or 1 */
#define LLMD_PARAM_INT 2u      /* int64_t */
#define LLMD_PARAM_FLOAT 3u    /* double, finite */
/* llmd_str; ptr NULL when absent without default; NUL-terminated; lives as long as self */
#define LLMD_PARAM_STRING 4u
#define LLMD_PARAM_ENUM 5u     /* uint32_t, from `values` */
#define LLMD_PARAM_DURATION 6u /* int64_t nanoseconds; Go's syntax: "1m30s" */
#define LLMD_PARAM_QUANTITY 7u /* int64_t; Kubernetes' syntax: "1G", "500" */
#define LLMD_PARAM_OBJECT 8u   /* a struct at offset; rows of `sub` are relative to it */
#define LLMD_PARAM_LIST 9u     /* llmd_list of structs of sub_size bytes described by `sub` */
#define LLMD_PARAM_STRINGS 10u /* llmd_list of llmd_str */
#define LLMD_PARAM_MAP 11u     /* llmd_list of llmd_pair, in the order written */
#define LLMD_PARAM_PLUGIN 12u  /* uint32_t: index of the named plugin instance, or LLMD_NO_INDEX when absent or "" */
/* uint32_t: index of the named scheduling profile, or LLMD_NO_INDEX when there is none */
#define LLMD_PARAM_PROFILE 13u
#define LLMD_PARAM_ANY 14u     /* anything: accepted and not stored */

#define LLMD_PARAM_REQUIRED 1u   /* absent = error */
#define LLMD_PARAM_IGNORED 2u    /* read and checked, without effect (the reference has it) */
#define LLMD_PARAM_OLD 4u        /* deprecated: accepted with a warning */
#define LLMD_PARAM_NO_RANGE 8u   /* min and max are not checked (validate does) */
#define LLMD_PARAM_ABOVE_MIN 16u /* the minimum itself is refused */

typedef struct llmd_list {
  uint32_t n;
  uint32_t item_size;
  void *items;
} llmd_list;

typedef struct llmd_pair {
  llmd_str key;
  llmd_str value;
} llmd_pair;

/* One spelling of an ENUM. Several rows may share a value (aliases). Ends with name NULL. */
typedef struct llmd_enum {
  const char *name;
  uint32_t value;
} llmd_enum;

/* One parameter. A table ends with name NULL. Numbers are checked against [min, max] unless both are 0. */
typedef struct llmd_param {
  const char *name;
  uint32_t type;
  uint32_t flags;
  uint32_t offset;    /* in self */
  uint32_t given;     /* offset of a uint32_t set to 1 when the file has the parameter; 0 = not wanted */
  const char *preset; /* default, written as in the file ("0.8", "60s", "max"); NULL = zero, or absent */
  double min, max;
  const char *doc;    /* one line for --help and the docs page */
  const llmd_enum *values;
  const struct llmd_param *sub;
  uint32_t sub_size; /* LIST: see there. PLUGIN: kinds (LLMD_FILTER, ...) of which it must be one, 0 = any */
} llmd_param;

/* ---- what it reads ---------------------------------------------------------------------------------------------- */
/* A read is resolved by the core when the configuration is loaded, and filled before the plugin runs.
 *   kind            batch fields                      name
 *   F64             f64[r][i], value[r].num = peer's  attribute: "WaitingQueueSize", ...
 *   ID              id[r][i], value[r].id = peer's    attribute of type string: interned id, 0 = unknown
 *   LABEL           id[r][i], value[r].id = peer's    label key: interned id of its value, 0 = no such label
 *   NAME, ADDRESS   id[r][i]                          interned id of "namespace/name", of the address
 *   DERIVED         f64[r][i]                         whatever `derive` computes from the endpoint's identity and labels
 *   HAS_MODEL       f64[r][i] 0 or 1                  set attribute: does it contain the request's model?
 *   SET_SIZE        f64[r][i]                         set attribute: how many members
 *   FRESH           f64[r][i] 0 or 1                  the snapshot's one freshness verdict on the endpoint's metrics
 *   HEADER          value[r].str                      request header, lower case; ptr NULL = absent
 *   HEADER_IDS      value[r].ids, n_ids               header cut by `split` (or whole): interned ids; unknown strings = 0
 *   PROMPT          value[r].str                      the prompt's text
 * NaN in an F64 column means unknown. When `if_unknown` / `if_unknown_strict` is not NaN, the core puts it in NaN's place
 * (the second one under compat = strict). */
#define LLMD_READ_F64 1u
#define LLMD_READ_ID 2u
#define LLMD_READ_LABEL 3u
#define LLMD_READ_NAME 4u
#define LLMD_READ_ADDRESS 5u
#define LLMD_READ_DERIVED 6u
#define LLMD_READ_HAS_MODEL 7u
#define LLMD_READ_SET_SIZE 8u
#define LLMD_READ_FRESH 9u
#define LLMD_READ_HEADER 10u
#define LLMD_READ_HEADER_IDS 11u
/* value[r].str: the beginning of the prompt's text, at most LLMD_PROMPT_BYTES, whole characters of UTF-8: contents of
 * messages (or prompts) one after another, each on a new line; ptr NULL = it has none. Records of such decisions hold
 * it: nothing reads it that the operator has not allowed to. */
#define LLMD_READ_PROMPT 12u
#define LLMD_PROMPT_BYTES 4096u

#define LLMD_READ_OPTIONAL 1u   /* no producer is created for it */
/* the name is the STRING parameter at name_offset, not `name` (kept when that is absent) */
#define LLMD_READ_NAME_PARAM 2u
#define LLMD_READ_FROM_PARAM 4u /* the producer is the STRING parameter at from_offset (`from` when that is absent) */
#define LLMD_READ_TEXT 8u /* ID, LABEL, NAME, ADDRESS: llmd_host.text is asked for the texts of its ids */

typedef struct llmd_read {
  uint32_t kind; /* 0 ends the table */
  uint32_t flags;
  const char *name;
  const char *from; /* producer instance, "" or NULL = the pool's own metrics ("core-metrics-extractor") */
  uint32_t name_offset;
  uint32_t from_offset;
  double if_unknown;
  double if_unknown_strict;
} llmd_read;

/* What a producer writes: one endpoint x request column per row, identity = name/instance. Ends with name NULL. */
/* this plugin type is created by itself when somebody reads the attribute from its type name */
#define LLMD_WRITE_DEFAULT 1u
#define LLMD_WRITE_CHARGE 2u  /* the ledger charges this value (tokens) to the endpoint that gets the request */
#define LLMD_WRITE_EXACT 4u   /* comes from the pool's exact index: the producer has no prefix index of its own */
#define LLMD_WRITE_NOTE 8u    /* explain shows it even when no plugin has read it */
typedef struct llmd_write {
  const char *name;
  const char *unit;
  uint32_t flags;
} llmd_write;

/* ---- what it is given ------------------------------------------------------------------------------------------- */
typedef struct llmd_read_value {
  double num; /* F64, DERIVED: the value at the peer endpoint; NaN without peer */
  uint32_t id; /* ID, LABEL: the same */
  uint32_t n_ids;
  const uint32_t *ids;
  llmd_str str;
} llmd_read_value;

/* The request as plugins see it. */
#define LLMD_VIEW_MULTIMODAL 1u
#define LLMD_VIEW_NO_BODY 2u
#define LLMD_VIEW_TRUNCATED 4u
#define LLMD_VIEW_STREAM 8u
#define LLMD_VIEW_REAL_TOKENS 16u /* tokens come from a tokenizer, not from the estimate */
typedef struct llmd_request_view {
  uint32_t size;
  uint32_t flags;
  llmd_str model;
  uint32_t model_id; /* interned; 0 = no endpoint has heard of it */
  int32_t priority;
  double tokens;     /* length of the tokenized prompt(s), 0 = unknown */
  double max_tokens; /* NaN = not given */
  double slo_ttft_ms, slo_tpot_ms; /* NaN = not given */
  uint64_t bytes;
  llmd_str tenant;   /* fairness id; len 0 = none */
  llmd_str session;  /* x-session-id; len 0 = none */
} llmd_request_view;

/* Everything is borrowed for the call. Arrays have n entries, in candidate order. */
typedef struct llmd_batch {
  uint32_t size;
  uint32_t n;
  const double *const *f64;     /* [read][n] */
  const uint32_t *const *id;    /* [read][n] */
  const llmd_read_value *value; /* [read] */
  const llmd_endpoint_id *endpoint;
  const llmd_request_view *request;
  void *scratch; /* scratch_fixed + n * scratch_each bytes, uninitialised, aligned to 8 */
  uint64_t seed; /* differs per plugin and decision; the only source of chance */
  uint64_t now;  /* monotonic ns */
  uint32_t strict; /* 1: compat = strict, reproduce the reference where it is odd */
  uint32_t has_peer; /* value[].num / .id hold a peer endpoint's values */
  void *own;         /* the lane's object of a plugin that has `open`; else NULL */
  uint64_t wall;     /* ns since 1970, as the host says: for the time of day, never for durations */
  uint32_t flags;    /* LLMD_BATCH_* bits */
  uint32_t reserved;
} llmd_batch;

/* A record is decided again: verbs that ended well then were given as much time as they wanted, and are so now. A call
 * that failed is not repeated: the record's word counts. */
#define LLMD_BATCH_REPLAY 1u
/* And that by another configuration than the one that made the record (llmd_replay_other): nobody has seen the verb end
 * well. All the time it wants, since clocks differ; what else bounds a decision bounds it, too. */
#define LLMD_BATCH_OTHER 2u

/* Identity of one endpoint, for `derive`. */
typedef struct llmd_identity {
  uint32_t size;
  uint32_t n_labels;
  const llmd_pair *label;
  llmd_str name, space, address; /* space = namespace */
  uint32_t port, rank;
} llmd_identity;

/* ---- profile handlers ------------------------------------------------------------------------------------------- */
#define LLMD_RUN_NOT 0u
#define LLMD_RUN_OK 1u
#define LLMD_RUN_FAILED 2u

typedef struct llmd_run {
  uint32_t state;
  uint32_t n;            /* picks */
  llmd_endpoint_id first;
} llmd_run;

typedef struct llmd_stages {
  uint32_t size;
  uint32_t n;                   /* profiles, in the order of the file */
  const llmd_str *name;         /* [n] */
  const llmd_run *run;          /* [n] */
  const int8_t *answer;         /* [plugin index]: -1 not asked yet, 0 no, 1 yes */
  const llmd_read_value *value; /* [read] of the handler itself */
  const llmd_request_view *request;
  uint32_t strict;
  uint32_t turn;                /* 0 at the first `next` of a decision */
  void *own;                    /* as in llmd_batch, and so are the others */
  uint64_t seed, now, wall;
  uint32_t flags;
  uint32_t reserved;
} llmd_stages;

/* Filled by `next`; preset to "nothing". Either profiles to run now, or a decider to ask first, or neither =
 * finished. */
typedef struct llmd_next {
  uint32_t size;
  uint32_t ask;    /* plugin index of a decider, LLMD_NO_INDEX = none */
  uint32_t ask_at; /* profile whose first pick the decider is asked about */
  uint32_t peer;   /* profile whose first pick is the peer endpoint of the following runs, LLMD_NO_INDEX = unchanged */
  uint64_t run;    /* bit per profile */
} llmd_next;

#define LLMD_HEADER_FIRST 1u /* "address:port" of the profile's first pick */
#define LLMD_HEADER_ALL 2u   /* all its picks, comma-separated */
typedef struct llmd_header_rule {
  const char *name; /* static text */
  uint32_t profile;
  uint32_t what;
} llmd_header_rule;

/* Filled by `finish`; preset: primary LLMD_NO_INDEX, no headers, port 0. */
typedef struct llmd_outcome {
  uint32_t size;
  uint32_t primary;
  uint32_t port; /* not 0: the destination's port is rewritten to it (headers keep the original) */
  uint32_t n_headers;
  llmd_header_rule header[8];
} llmd_outcome;

/* ---- services, for producers only ------------------------------------------------------------------------------- */
/* State belongs to (plugin type, instance name), lives in the region, survives a reload, and is shared by all
 * processes. Mutations are applied at once by the process that is the writer, and posted to it by the others. All
 * functions return 0 / count / negative code and take the ctx of the table. */
/* match: the reference's count; a holder need not hold the blocks before (compat = strict) */
#define LLMD_PREFIX_ANY 1u
#define LLMD_PREFIX_PARTIAL 2u /* chain: the last, partial block of each prompt is hashed too */

/* precise_match: answer although no endpoint's engine tells of its cache */
#define LLMD_PRECISE_ALWAYS 1u
/* precise_match: endpoints whose engine tells nothing count too, by what precise_expect promised of them */
#define LLMD_PRECISE_EXPECTED 2u
/* precise_match: block_tokens stands in the configuration, so that an engine with other blocks is told of */
#define LLMD_PRECISE_CONFIGURED 4u
/* What precise_match writes: an entry per candidate of the batch. Prompts of a request are summed up. */
typedef struct llmd_precise {
  uint32_t size;
  uint32_t flags;
  uint32_t block_tokens; /* of endpoints whose engine's block size is not known */
  uint32_t reserved;
  double *blocks;   /* length of the unbroken prefix it holds, in blocks of its own size, in any tier */
  double *total;    /* whole blocks that the prompts have in that size */
  double *tokens;   /* per block */
  double *lower[3]; /* of blocks, those that lie no better than in CPU memory, on disk, in a remote store */
  double *degraded; /* 1: events of its engine are missing, and not repaired yet; else 0 */
} llmd_precise;

typedef struct llmd_services {
  uint32_t size;
  uint32_t reserved;
  void *ctx;
  /* Keys of the current request's prompts in blocks of block_tokens, at most max_blocks (0 = no limit of yours),
   * computed once and kept until commit. *total = number of keys. LLMD_E_NONE: the request has no prompt. */
  int (*chain)(void *ctx, uint32_t block_tokens, uint32_t max_blocks, uint32_t flags, uint32_t *total);
  /* For each candidate of the batch, how many leading blocks of the chain the index has for it (summed over prompts).
   */
  int (*prefix_match)(void *ctx, uint32_t flags, double *blocks);
  /* The chain is now on this endpoint (called from commit). capacity: blocks kept for the endpoint, 0 = the index's
   * own. */
  int (*prefix_store)(void *ctx, llmd_endpoint_id endpoint, uint32_t capacity);
  int (*prefix_forget)(void *ctx, llmd_endpoint_id endpoint);
  /* Requests and tokens in flight on each candidate of the batch. */
  int (*inflight)(void *ctx, double *requests, double *tokens);
  /* Gives back the tokens (not the request) of the reported ticket's charges. */
  int (*release_tokens)(void *ctx);
  /* A small table: 128-bit key -> u64, least recently written goes first at its cap. get: 1 found, 0 not. ttl 0 = none.
   */
  int (*get)(void *ctx, const llmd_key *key, uint64_t *value);
  int (*put)(void *ctx, const llmd_key *key, uint64_t value, uint64_t ttl_ns);
  int (*del)(void *ctx, const llmd_key *key);
  /* A secret-keyed hash of bytes: the way to make table keys. */
  void (*hash)(void *ctx, const char *ptr, size_t len, llmd_key *out);
  /* What the pool's exact index (prefix.h) knows of the current request. For producers with a column flagged
   * LLMD_WRITE_EXACT. LLMD_E_NONE: the request has no real token ids, or no engine tells of its cache: nothing was
   * written, and somebody else has to guess. */
  int (*precise_match)(void *ctx, const llmd_precise *out);
  /* The request goes to this endpoint (called from commit): it counts as a holder of the whole chain until ttl_ns from
   * now. LLMD_E_NONE: there are no real token ids, or attachments that have no name. LLMD_E_FULL: not posted. */
  int (*precise_expect)(void *ctx, llmd_endpoint_id endpoint, uint32_t block_tokens, uint64_t ttl_ns);
} llmd_services;

/* What happened to a request. `batch` holds the targets: one candidate per profile that ran, with this plugin's
 * reads. */
typedef struct llmd_commit_info {
  uint32_t size;
  uint32_t primary;           /* candidate that is the primary profile's */
  const llmd_batch *batch;
  const llmd_str *profile;    /* [batch->n] names */
  const double *const *wrote; /* [write][n]: what this plugin produced for them */
} llmd_commit_info;

#define LLMD_REPORT_FIRST_TOKEN 1u
#define LLMD_REPORT_TOKENS 2u
#define LLMD_REPORT_DONE 3u
#define LLMD_REPORT_FAILED 4u
#define LLMD_REPORT_CANCELLED 5u
#define LLMD_REPORT_RESPONSE_HEADERS 6u

typedef struct llmd_report_info {
  uint32_t size;
  uint32_t kind;
  llmd_ticket ticket;
  llmd_endpoint_id endpoint; /* the primary's */
  uint64_t now;
  double prompt_tokens, output_tokens, cached_tokens; /* NaN = not said */
  void *own;                 /* as in llmd_batch */
} llmd_report_info;

/* ---- plugins with an object per lane ---------------------------------------------------------------------------- */
/* An interpreter cannot run on several threads at once, and wants room of its own. A plugin with `open` gets an object
 * for each lane, made with the lane and closed with it; verbs find it as `own`. It is scratch: nothing that a decision
 * leaves in it may change a later one, or records would not replay. What lasts stands in the instance's table.
 *
 * What open is given lives as long as the object. All functions: the lane's thread, while a verb runs. */
typedef struct llmd_host {
  uint32_t size;
  uint32_t rows;               /* most candidates that a batch can have */
  const llmd_allocator *alloc; /* for open and close; verbs allocate nothing */
  void *ctx;
  /* Monotonic ns, to stop a verb that takes too long, and for nothing else. NULL: the host has no clock. */
  uint64_t (*clock)(void *ctx);
  /* The text of an id from a read flagged LLMD_READ_TEXT, until the verb returns; "" for 0 and for what nobody knows. */
  int (*text)(void *ctx, uint32_t id, llmd_str *out);
  /* What the instance's table (llmd_plugin.table_entries) holds under that name: 1 found, 0 not. Any verb of a decision
   * may ask: the answer goes into the record, and a replay gets it from there. LLMD_E_LIMIT: more than
   * LLMD_HOST_READS in one decision. */
  int (*get)(void *ctx, const char *name, size_t len, uint64_t *value);
  /* The same table, written: only while commit or report runs (LLMD_E_STATE otherwise). ttl 0 = none. Posted, unless
   * this process writes. del: 0 also when there was nothing. */
  int (*put)(void *ctx, const char *name, size_t len, uint64_t value, uint64_t ttl_ns);
  int (*del)(void *ctx, const char *name, size_t len);
  /* A line for the operator: rarely, never for each decision. NULL: nobody listens. */
  void (*log)(void *ctx, int level, const char *text, size_t len);
} llmd_host;

#define LLMD_HOST_READS 64u

/* ---- the table -------------------------------------------------------------------------------------------------- */
typedef struct llmd_plugin {
  uint32_t size; /* sizeof(llmd_plugin) where it was compiled; the core never looks past it */
  uint32_t abi;  /* LLMD_PLUGIN_ABI */
  const char *type;
  const char *summary; /* one line */
  const char *const *aliases; /* other type names, NULL-terminated; may be NULL */
  uint32_t kind;
  uint32_t stability;
  uint32_t self_size;     /* bytes of self: parameters first, then whatever validate prepares; at least 1 */
  uint32_t scratch_fixed; /* bytes of batch.scratch: fixed part and per candidate */
  uint32_t scratch_each;
  uint32_t table_entries; /* room the plugin wants in its table (0 = none) */
  const llmd_param *params;
  const llmd_read *reads;
  const llmd_write *writes;

  /* After the parameters were stored: check what the table cannot say, normalise, prepare. Fill err->text (and
   * err->path, relative to parameters) on failure and return a code. self is zeroed before the parameters are stored.
   * Once, at load. */
  int (*validate)(void *self, llmd_err *err);
  /* The value of DERIVED read r for an endpoint. Pure; called when endpoints or labels change. NaN = unknown. */
  double (*derive)(const void *self, uint32_t read, const llmd_identity *who);
  /* Cuts a HEADER_IDS header into strings (at most cap, pointing into value or into buf of 1024 bytes). Returns the
   * count. */
  int (*split)(const void *self, uint32_t read, const llmd_str *value, char *buf, llmd_str *out, uint32_t cap);

  /* Clear keep[i] (preset to 1) to drop candidate i. To change their order write a permutation of the kept candidates'
   * positions into order[] and return their number; else return 0. */
  int (*filter)(const void *self, const llmd_batch *b, uint8_t *keep, uint32_t *order);
  /* out[i] = 0..1 (the core clamps); NaN = no opinion, adds nothing. */
  int (*score)(const void *self, const llmd_batch *b, double *out);
  /* Positions of the chosen candidates, best first; returns how many (at most cap). total[i] is finite. */
  int (*pick)(const void *self, const llmd_batch *b, const double *total, uint32_t *out, uint32_t cap);
  /* Which profiles now, given what is known. */
  int (*next)(const void *self, const llmd_stages *s, llmd_next *out);
  /* The end: primary profile, headers. LLMD_E_NONE = no usable result. */
  int (*finish)(const void *self, const llmd_stages *s, llmd_outcome *out);
  /* 0 no, 1 yes. b holds the endpoint asked about (n = 1), or n = 0 when there is none. */
  int (*decide)(const void *self, const llmd_batch *b);
  /* 0 idle .. 1 saturated and above, over the candidates given. */
  int (*saturation)(const void *self, const llmd_batch *b, double *out);

  /* Producers. out[w][i] is preset to NaN. An error makes these columns unknown and is counted; the decision goes on.
   */
  int (*produce)(const void *self, const llmd_services *s, const llmd_batch *b, double *const *out);
  int (*commit)(const void *self, const llmd_services *s, const llmd_commit_info *c);
  int (*report)(const void *self, const llmd_services *s, const llmd_report_info *r);
  /* The endpoint is gone for good. Every lane says so when it sees that, so it comes more than once. */
  int (*forget)(const void *self, const llmd_services *s, llmd_endpoint_id endpoint);

  /* Any kind. Headers for the response to the client, given the endpoint that served. key and value may point into buf
   * (1024 bytes) or live as long as self. Returns how many, at most cap. Pure. */
  int (*respond)(const void *self, const llmd_identity *served, char *buf, llmd_pair *out, uint32_t cap);

  /* Any kind. What decisions of the configuration want of the host: LLMD_NEEDS_* bits. Pure; asked once, at load. */
  uint32_t (*needs)(const void *self);

  /* Any kind: an object per lane (llmd_host). Both or neither. */
  int (*open)(const void *self, const llmd_host *host, void **own);
  void (*close)(const void *self, void *own);
  /* Why the last verb on that object failed, in one line without control characters: at most cap bytes into buf; returns
   * how many. May be NULL. */
  int (*trouble)(const void *self, const void *own, char *buf, size_t cap);
} llmd_plugin;

#define LLMD_NEEDS_TOKENS 1u /* real token ids of prompts that are text (LLMD_NEED_TOKENS) */

/* The one symbol of a loadable module: a NULL-terminated list of its plugins. abi is the core's LLMD_PLUGIN_ABI. */
typedef const llmd_plugin *const *(*llmd_module_fn)(uint32_t abi);

/* Ends a plugin's file. As a module it defines the exported function; built in (LLMD_BUILTIN) it defines nothing,
 * because one explicit list in the library names the built-ins. */
#ifdef LLMD_BUILTIN
#define LLMD_MODULE(...) extern int llmd__no_module
#else
#define LLMD_MODULE(...)                                                              \
  LLMD_API const llmd_plugin *const *llmd_module(uint32_t abi);                       \
  const llmd_plugin *const *llmd_module(uint32_t abi)                                 \
  {                                                                                   \
    static const llmd_plugin *const list[] = {__VA_ARGS__, NULL};                     \
    return abi == LLMD_PLUGIN_ABI ? list : NULL;                                      \
  }                                                                                   \
  extern int llmd__no_module
#endif

/* A seeded stream of 64-bit numbers for pickers and exploring filters: splitmix64 (Steele, Lea, Flood 2014). */
static inline uint64_t llmd_random(uint64_t *state)
{
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/* The same as a double in [0, 1). */
static inline double llmd_random_unit(uint64_t *state)
{
  return (double)(llmd_random(state) >> 11) * (1.0 / 9007199254740992.0);
}

LLMD_END
#endif
