/* A loader of a toy language, as a stranger would write one: nothing but <llmd/loader.h>, nothing linked. A policy is
 * lines; the first word says what they are.
 *
 *    read KIND NAME           a read: f64, label, name, header, prompt (NAME may be missing)
 *    score f64 R              1 / (1 + column R)            score text R WORD   1 where the id's text is WORD
 *    score prompt R WORD      1 for the first candidate when the prompt begins with WORD, else for the last
 *    score store NAME         1 for the candidate of the number that the table holds, 0 when it has none
 *    keep NAME                a filter: candidate of that number in the table is dropped
 *    nobody                   a filter that drops all
 *    put NAME NUMBER          commit writes the table
 *    try NAME                 score writes the table, which is refused: 1 for all when it was
 *    produce NUMBER           the column Toy is that number; `get NAME` before it: plus what the table holds
 *    decide                   yes
 *    profiles                 runs all once; the first is the primary
 *    fail VERB CODE TEXT      the verb fails (score, filter, produce, commit, next, finish, open, bind, load)
 *    ask NAME                 every verb asks the table first, also one that fails then
 *    late VERB                the verb takes ten looks at the clock, and fails when it runs past 1 ms
 *    example ok | example wrong
 *    error TEXT               refused, with the line */
#include <llmd/loader.h>

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 8u

/* What the tests look at: symbol toy_counts. */
typedef struct toy_counts {
  _Atomic int loaded, unloaded, opened, closed, calls;
} toy_counts;
LLMD_API extern toy_counts toy_counts_now;
toy_counts toy_counts_now;

enum { SCORE, FILTER, PRODUCE, COMMIT, NEXT, FINISH, OPEN, BIND, LOAD, DECIDE, VERBS };
static const char *const verb_names[VERBS] = {"score", "filter", "produce", "commit", "next",
                                              "finish", "open",  "bind",    "load",   "decide"};

typedef struct rule {
  char what[8];
  uint32_t read;
  char word[64];
} rule;

typedef struct toy {
  const llmd_allocator *alloc;
  char *text, name[MOST][64], keep[64], put[64], get[64], ask[64], trouble[VERBS][80];
  size_t len;
  uint32_t n_reads, n_rules, n_examples, n_wrong, nobody, late[VERBS];
  llmd_read read[MOST + 1];
  rule rule[MOST];
  int fail[VERBS];
  uint64_t number;
  double made;
  llmd_plugin plugin;
} toy;

typedef struct toy_self {
  llmd_str file, source;
  double scale;
  const toy *toy;
} toy_self;

typedef struct toy_own {
  const toy_self *self;
  llmd_host host;
  uint32_t rows;
  char trouble[80];
} toy_own;

static const llmd_param params[] = {
  {.name = "file", .type = LLMD_PARAM_STRING, .offset = offsetof(toy_self, file), .doc = "file"},
  {.name = "source", .type = LLMD_PARAM_STRING, .offset = offsetof(toy_self, source), .doc = "text"},
  {.name = "scale", .type = LLMD_PARAM_FLOAT, .offset = offsetof(toy_self, scale), .preset = "1", .max = 10,
   .doc = "of scores"},
  {0}};
static const llmd_write writes[] = {{.name = "Toy", .unit = "1"}, {0}};

static const toy *toy_of(const void *self)
{
  return ((const toy_self *)self)->toy;
}

/* ---- verbs ------------------------------------------------------------------------------------------------------ */

/* 0 = go on. A decision that is replayed has all the time it wants. */
static int stumble(const void *self, void *mine, uint32_t verb, uint32_t flags)
{
  const toy *t = toy_of(self);
  toy_own *own = mine;
  uint64_t until = own->host.clock ? own->host.clock(own->host.ctx) + 1000000 : 0, v;
  atomic_fetch_add(&toy_counts_now.calls, 1);
  if (*t->ask)
    own->host.get(own->host.ctx, t->ask, strlen(t->ask), &v);
  own->trouble[0] = 0;
  for (uint32_t i = 0; i < 10 && t->late[verb] && until && !(flags & LLMD_BATCH_REPLAY); i++)
    if (own->host.clock(own->host.ctx) > until) {
      snprintf(own->trouble, sizeof own->trouble, "took too long");
      return LLMD_E_TIMEOUT;
    }
  if (t->fail[verb])
    snprintf(own->trouble, sizeof own->trouble, "%s", t->trouble[verb]);
  return t->fail[verb];
}

static int is_text(toy_own *own, uint32_t id, const char *word)
{
  llmd_str s;
  return !own->host.text(own->host.ctx, id, &s) && s.len == strlen(word) && !memcmp(s.ptr, word, s.len);
}

static double apply(toy_own *own, const rule *r, const llmd_batch *b, uint32_t i)
{
  uint64_t v = UINT64_MAX;
  if (!strcmp(r->what, "f64"))
    return 1 / (1 + b->f64[r->read][i]);
  if (!strcmp(r->what, "text"))
    return is_text(own, b->id[r->read][i], r->word);
  if (!strcmp(r->what, "try"))
    return own->host.put(own->host.ctx, r->word, strlen(r->word), 1, 0) == LLMD_E_STATE;
  if (!strcmp(r->what, "prompt")) {
    const llmd_str *s = &b->value[r->read].str;
    int begins = s->ptr && s->len >= strlen(r->word) && !memcmp(s->ptr, r->word, strlen(r->word));
    return begins ? i == 0 : i + 1 == b->n;
  }
  own->host.get(own->host.ctx, r->word, strlen(r->word), &v);
  return v == i;
}

static int score(const void *self, const llmd_batch *b, double *out)
{
  const toy *t = toy_of(self);
  int rc = stumble(self, b->own, SCORE, b->flags);
  for (uint32_t i = 0; i < b->n && !rc; i++) {
    out[i] = 0;
    for (uint32_t k = 0; k < t->n_rules; k++)
      out[i] += ((const toy_self *)self)->scale * apply(b->own, &t->rule[k], b, i);
  }
  return rc;
}

static int filter(const void *self, const llmd_batch *b, uint8_t *keep, uint32_t *order)
{
  const toy *t = toy_of(self);
  toy_own *own = b->own;
  uint64_t v = UINT64_MAX;
  int rc = stumble(self, b->own, FILTER, b->flags);
  (void)order;
  if (!rc)
    own->host.get(own->host.ctx, t->keep, strlen(t->keep), &v);
  if (v < b->n)
    keep[v] = 0;
  if (t->nobody)
    memset(keep, 0, b->n);
  return rc;
}

static int decide(const void *self, const llmd_batch *b)
{
  int rc = stumble(self, b->own, DECIDE, b->flags);
  return rc ? rc : 1;
}

static int next(const void *self, const llmd_stages *s, llmd_next *out)
{
  int rc = stumble(self, s->own, NEXT, s->flags);
  out->run = s->turn ? 0 : (UINT64_C(1) << s->n) - 1;
  return rc;
}

static int finish(const void *self, const llmd_stages *s, llmd_outcome *out)
{
  int rc = stumble(self, s->own, FINISH, s->flags);
  out->primary = 0;
  return rc;
}

static int produce(const void *self, const llmd_services *sv, const llmd_batch *b, double *const *out)
{
  const toy *t = toy_of(self);
  toy_own *own = b->own;
  uint64_t v = 0;
  int rc = stumble(self, b->own, PRODUCE, b->flags);
  (void)sv;
  if (!rc && *t->get)
    own->host.get(own->host.ctx, t->get, strlen(t->get), &v);
  for (uint32_t i = 0; i < b->n; i++)
    out[0][i] = t->made + (double)v;
  return rc;
}

static int commit(const void *self, const llmd_services *sv, const llmd_commit_info *c)
{
  const toy *t = toy_of(self);
  toy_own *own = c->batch->own;
  int rc = stumble(self, own, COMMIT, c->batch->flags);
  (void)sv;
  return rc || !*t->put ? rc : own->host.put(own->host.ctx, t->put, strlen(t->put), t->number, 0);
}

static int open_own(const void *self, const llmd_host *host, void **own)
{
  const toy *t = toy_of(self);
  toy_own *o;
  if (t->fail[OPEN])
    return t->fail[OPEN];
  o = host->alloc->fn(host->alloc->ud, NULL, 0, sizeof *o);
  if (!o)
    return LLMD_E_NOMEM;
  memset(o, 0, sizeof *o);
  o->self = self;
  o->host = *host;
  o->rows = host->rows;
  *own = o;
  atomic_fetch_add(&toy_counts_now.opened, 1);
  return 0;
}

static void close_own(const void *self, void *own)
{
  toy_own *o = own;
  const llmd_allocator *a = o->host.alloc;
  if (o->self != self)
    abort();
  a->fn(a->ud, o, sizeof *o, 0);
  atomic_fetch_add(&toy_counts_now.closed, 1);
}

static int trouble(const void *self, const void *own, char *buf, size_t cap)
{
  const toy_own *o = own;
  size_t n = strlen(o->trouble);
  (void)self;
  n = n < cap ? n : cap;
  memcpy(buf, o->trouble, n);
  return (int)n;
}

/* ---- the language ----------------------------------------------------------------------------------------------- */

static int say(llmd_err *err, const llmd_program *in, int code, uint32_t line, const char *text)
{
  err->code = code;
  err->line = line;
  err->column = 1;
  snprintf(err->path, sizeof err->path, "%s", in->file.ptr ? in->path.ptr ? in->path.ptr : in->file.ptr : "source");
  snprintf(err->text, sizeof err->text, "%s", text);
  return code;
}

static int add_read(toy *t, const char *kind, const char *name)
{
  static const struct {
    const char *name;
    uint32_t kind, flags;
  } kinds[] = {{"f64", LLMD_READ_F64, 0},
               {"label", LLMD_READ_LABEL, LLMD_READ_TEXT},
               {"name", LLMD_READ_NAME, LLMD_READ_TEXT},
               {"header", LLMD_READ_HEADER, 0},
               {"prompt", LLMD_READ_PROMPT, 0}};
  for (uint32_t k = 0; k < sizeof kinds / sizeof *kinds && t->n_reads < MOST; k++) {
    llmd_read *r = &t->read[t->n_reads];
    if (strcmp(kinds[k].name, kind))
      continue;
    snprintf(t->name[t->n_reads], sizeof t->name[0], "%s", name);
    r->kind = kinds[k].kind;
    r->flags = kinds[k].flags;
    r->name = t->name[t->n_reads++];
    r->from = strcmp(name, "Toy") ? NULL : "maker";
    r->if_unknown = r->if_unknown_strict = (double)NAN;
    return 0;
  }
  return LLMD_E_SYNTAX;
}

static int add_rule(toy *t, const char *what, const char *a, const char *b)
{
  rule *r = &t->rule[t->n_rules];
  int reads = !strcmp(what, "f64") || !strcmp(what, "text") || !strcmp(what, "prompt");
  if (t->n_rules == MOST || (reads && (uint32_t)atoi(a) >= t->n_reads))
    return LLMD_E_SYNTAX;
  snprintf(r->what, sizeof r->what, "%s", what);
  r->read = reads ? (uint32_t)atoi(a) : 0;
  snprintf(r->word, sizeof r->word, "%s", reads ? b : a);
  t->n_rules++;
  return 0;
}

static int add_failure(toy *t, const char *verb, const char *code, const char *text)
{
  for (uint32_t v = 0; v < VERBS; v++) {
    if (strcmp(verb_names[v], verb))
      continue;
    t->fail[v] = atoi(code);
    t->late[v] = !*code;
    snprintf(t->trouble[v], sizeof t->trouble[v], "%s", text);
    return 0;
  }
  return LLMD_E_SYNTAX;
}

static int read_line(toy *t, char *line)
{
  char w[4][64] = {"", "", "", ""};
  int n = sscanf(line, "%63s %63s %63s %63[^\n]", w[0], w[1], w[2], w[3]);
  if (n <= 0)
    return 0;
  if (!strcmp(w[0], "read"))
    return add_read(t, w[1], w[2]);
  if (!strcmp(w[0], "score"))
    return add_rule(t, w[1], w[2], w[3]);
  if (!strcmp(w[0], "try"))
    return add_rule(t, "try", w[1], "");
  if (!strcmp(w[0], "keep"))
    snprintf(t->keep, sizeof t->keep, "%s", w[1]);
  else if (!strcmp(w[0], "nobody"))
    t->nobody = 1;
  else if (!strcmp(w[0], "get"))
    snprintf(t->get, sizeof t->get, "%s", w[1]);
  else if (!strcmp(w[0], "ask"))
    snprintf(t->ask, sizeof t->ask, "%s", w[1]);
  else if (!strcmp(w[0], "put")) {
    snprintf(t->put, sizeof t->put, "%s", w[1]);
    t->number = (uint64_t)atoi(w[2]);
  } else if (!strcmp(w[0], "produce")) {
    t->made = atof(w[1]);
    t->plugin.produce = produce;
  } else if (!strcmp(w[0], "decide"))
    t->plugin.decide = decide;
  else if (!strcmp(w[0], "profiles"))
    t->plugin.next = next;
  else if (!strcmp(w[0], "example")) {
    t->n_examples++;
    t->n_wrong += !strcmp(w[1], "wrong");
  } else if (!strcmp(w[0], "fail"))
    return add_failure(t, w[1], w[2], w[3]);
  else if (!strcmp(w[0], "late"))
    return add_failure(t, w[1], "", "");
  else
    return LLMD_E_SYNTAX;
  return 0;
}

static void describe(toy *t)
{
  llmd_plugin *p = &t->plugin;
  p->size = sizeof *p;
  p->abi = LLMD_PLUGIN_ABI;
  p->type = "toy";
  p->summary = "a policy in the toy language";
  p->self_size = sizeof(toy_self);
  p->table_entries = 64;
  p->params = params;
  p->reads = t->read;
  p->open = open_own;
  p->close = close_own;
  p->trouble = trouble;
  p->score = t->n_rules || t->fail[SCORE] || t->late[SCORE] ? score : NULL;
  p->filter = *t->keep || t->nobody || t->fail[FILTER] ? filter : NULL;
  p->finish = p->next ? finish : NULL;
  p->commit = *t->put || t->fail[COMMIT] ? commit : NULL;
  p->writes = p->produce ? writes : NULL;
  p->kind |= p->score ? LLMD_SCORER : 0;
  p->kind |= p->filter ? LLMD_FILTER : 0;
  p->kind |= p->decide ? LLMD_DECIDER : 0;
  p->kind |= p->next ? LLMD_PROFILE_HANDLER : 0;
  p->kind |= p->produce || p->commit ? LLMD_PRODUCER : 0;
}

static int compile(toy *t, const llmd_program *in, llmd_err *err)
{
  uint32_t line = 1;
  for (char *at = t->text; at < t->text + t->len; line++) {
    char *end = memchr(at, '\n', (size_t)(t->text + t->len - at));
    char copy[256];
    snprintf(copy, sizeof copy, "%.*s", (int)(end ? end - at : t->text + t->len - at), at);
    if (!strncmp(copy, "error ", 6))
      return say(err, in, LLMD_E_PLUGIN, line, copy + 6);
    if (read_line(t, copy))
      return say(err, in, LLMD_E_SYNTAX, line, "not a line of a toy");
    at = end ? end + 1 : t->text + t->len;
  }
  describe(t);
  return 0;
}

static void unload(void *policy)
{
  toy *t = policy;
  const llmd_allocator *a = t->alloc;
  if (t->text)
    a->fn(a->ud, t->text, t->len + 1, 0);
  a->fn(a->ud, t, sizeof *t, 0);
  atomic_fetch_add(&toy_counts_now.unloaded, 1);
}

/* Of a file: as much as a test needs. A real loader looks at whose it is. */
static int read_file(const char *path, char *buf, size_t cap, size_t *len)
{
  FILE *f = fopen(path, "rb");
  if (!f)
    return LLMD_E_IO;
  *len = fread(buf, 1, cap, f);
  fclose(f);
  return 0;
}

static int load(const llmd_program *in, void **policy, llmd_err *err)
{
  char buf[4096];
  llmd_str text = in->text;
  toy *t;
  int rc;
  if (!text.ptr) {
    if (read_file(in->path.ptr, buf, sizeof buf, &text.len))
      return say(err, in, LLMD_E_IO, 0, "cannot be read");
    text.ptr = buf;
  }
  t = in->alloc->fn(in->alloc->ud, NULL, 0, sizeof *t);
  if (!t)
    return LLMD_E_NOMEM;
  memset(t, 0, sizeof *t);
  atomic_fetch_add(&toy_counts_now.loaded, 1);
  t->alloc = in->alloc;
  t->len = text.len;
  t->text = in->alloc->fn(in->alloc->ud, NULL, 0, text.len + 1);
  rc = t->text ? 0 : LLMD_E_NOMEM;
  if (!rc) {
    memcpy(t->text, text.ptr, text.len);
    t->text[text.len] = 0;
    rc = compile(t, in, err);
  }
  if (!rc && t->fail[LOAD])
    rc = t->fail[LOAD]; /* without a word */
  if (rc) {
    unload(t);
    return rc;
  }
  *policy = t;
  return 0;
}

static const llmd_plugin *plugin(const void *policy)
{
  return &((const toy *)policy)->plugin;
}

static void text_of(const void *policy, llmd_str *out)
{
  out->ptr = ((const toy *)policy)->text;
  out->len = ((const toy *)policy)->len;
}

static int bind(void *policy, void *self, llmd_err *err)
{
  toy *t = policy;
  (void)err;
  ((toy_self *)self)->toy = t;
  return t->fail[BIND];
}

static int examples(const void *self, llmd_write_fn fn, void *ud, llmd_err *err)
{
  const toy *t = toy_of(self);
  for (uint32_t i = 0; i < t->n_examples; i++)
    if (fn(ud, "an example\n", 11))
      return LLMD_E_STOPPED;
  if (t->n_wrong && err) {
    err->code = LLMD_E_PLUGIN;
    snprintf(err->text, sizeof err->text, "an example came out differently");
  }
  return t->n_wrong ? LLMD_E_PLUGIN : (int)t->n_examples;
}

/* "text ID", "get NAME", "put NAME": what the host says. */
static int eval(const void *self, void *mine, const char *text, size_t len, llmd_write_fn fn, void *ud, llmd_err *err)
{
  toy_own *own = mine;
  char line[128], word[64] = "", what[16] = "", out[160];
  uint64_t v = 0;
  llmd_str s;
  int n = 0, rc;
  (void)self;
  (void)err;
  snprintf(line, sizeof line, "%.*s", (int)len, text);
  if (sscanf(line, "%15s %63s", what, word) != 2)
    return LLMD_E_SYNTAX;
  if (!strcmp(what, "text")) {
    own->host.text(own->host.ctx, (uint32_t)atoi(word), &s);
    n = snprintf(out, sizeof out, "%.*s", (int)s.len, s.ptr);
  } else if (!strcmp(what, "get")) {
    rc = own->host.get(own->host.ctx, word, strlen(word), &v);
    n = snprintf(out, sizeof out, "%d %llu", rc, (unsigned long long)v);
  } else {
    n = snprintf(out, sizeof out, "%d", own->host.put(own->host.ctx, word, strlen(word), 1, 0));
  }
  return fn(ud, out, (size_t)n) ? LLMD_E_STOPPED : 0;
}

LLMD_API const llmd_loader *llmd_loader_module(uint32_t abi);
const llmd_loader *llmd_loader_module(uint32_t abi)
{
  static const llmd_loader loader = {.size = sizeof loader,
                                     .abi = LLMD_LOADER_ABI,
                                     .type = "toy",
                                     .summary = "for tests",
                                     .load = load,
                                     .plugin = plugin,
                                     .text = text_of,
                                     .bind = bind,
                                     .unload = unload,
                                     .examples = examples,
                                     .eval = eval};
  return abi == LLMD_LOADER_ABI ? &loader : NULL;
}
