/* An index as bytes, for a restart.
 *
 *   │ head: magic, version, order, rows │ secret │ sizes │ adapters │ rows │ book │ runs, parents first │ end │ sum │
 *   run │ blocks, place, age, flen │ first key of the parent run │ keys │ names │ holders │ entries │ own names │
 *
 * All numbers little-endian as the machine has them; `order` refuses others. The sum is over everything before it, and
 * is looked at before anything else. Holders are numbers of the snapshot; its rows say who they were. Promises and what
 * cleared endpoints held are left out. */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "prefix/block.h"
#include "prefix/sets.h"

#define MAGIC UINT64_C(0x31504e5358444c4c) /* "LLDXSNP1" */
#define VERSION 2u
#define ORDER 0x01020304u
#define RUN 1u
#define END 2u

typedef struct snap_head {
  uint64_t magic;
  uint32_t version, order, rows, n_rows, n_adapters, shared;
  uint32_t sizes[4];
} snap_head;

typedef struct snap_row {
  uint64_t endpoint;
  uint32_t holder, flags, block_tokens, scheme, window[2];
} snap_row;

typedef struct snap_run {
  uint32_t kind;
  uint8_t len, start, age, flen;
  uint32_t n_set, n_entries, n_own, reserved;
  llmd_key parent; /* first key of its run; zero = none */
} snap_run;

static const uint8_t no_secret[LLMD_SECRET_BYTES];

static uint64_t sum_step(uint64_t sum, const void *p, size_t n)
{
  llmd_key k;
  llmd__hash_bytes(no_secret, p, n, &k);
  return (sum ^ k.lo) * UINT64_C(0x9e3779b97f4a7c15) + k.hi;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

typedef struct out {
  llmd_write_fn fn;
  void *ud;
  uint64_t sum;
  int rc;
  uint32_t n;
  char buf[4096];
} out;

static void flush(out *o)
{
  if (o->n == 0 || o->rc < 0)
    return;
  o->sum = sum_step(o->sum, o->buf, o->n);
  if (o->fn(o->ud, o->buf, o->n) != 0)
    o->rc = LLMD_E_STOPPED;
  o->n = 0;
}

static void put(out *o, const void *p, size_t n)
{
  const char *from = p;
  while (n != 0) {
    size_t part = sizeof o->buf - o->n < n ? sizeof o->buf - o->n : n;
    memcpy(o->buf + o->n, from, part);
    o->n += (uint32_t)part;
    from += part;
    n -= part;
    if (o->n == sizeof o->buf)
      flush(o);
  }
}

static int is_live(const llmd_index *x, uint32_t holder)
{
  return LLMD__GET(&x->state[holder]) == LLMD__HOLDER_LIVE;
}

static int keeps(const llmd_index *x, uint64_t e)
{
  return e != 0 && LLMD__E_TIER(e) != LLMD_TIER_SPECULATIVE && is_live(x, LLMD__E_HOLDER(e));
}

/* A cohort is written holder by holder. */
static uint32_t put_cohort(llmd_index *x, uint64_t e, out *o)
{
  uint32_t n = llmd__set_list(x, llmd__set_id(x, LLMD__E_SET(e)), x->list), kept = 0;
  for (uint32_t i = 0; i < n; i++) {
    uint64_t one = llmd__entry(x->list[i], LLMD_TIER_GPU, 0, LLMD__E_MASK(e));
    if (!is_live(x, x->list[i]))
      continue;
    kept++;
    if (o != NULL)
      put(o, &one, sizeof one);
  }
  return kept;
}

static uint32_t put_entry(llmd_index *x, uint64_t e, out *o)
{
  if (e != 0 && LLMD__E_TIER(e) == LLMD__COHORT)
    return put_cohort(x, e, o);
  if (!keeps(x, e))
    return 0;
  if (o != NULL)
    put(o, &e, sizeof e);
  return 1;
}

/* Entries that are kept: counted when o is NULL, else written. */
static uint32_t put_entries(llmd_index *x, const llmd__run *r, out *o)
{
  uint32_t n = put_entry(x, LLMD__GET(&r->odd), o);
  for (uint32_t l = LLMD__GET(&r->more); l != 0; l = LLMD__GET(&llmd__line_at(x, l)->more.next))
    for (uint32_t i = 0; i < 7; i++)
      n += put_entry(x, LLMD__GET(&llmd__line_at(x, l)->more.entry[i]), o);
  return n;
}

static void put_own_names(const llmd_index *x, const llmd__own_names *own, uint32_t len, out *o)
{
  uint32_t holder = LLMD__GET(&own->holder) - 1u;
  put(o, &holder, sizeof holder);
  for (uint32_t i = 0; i < len; i++) {
    uint32_t line = LLMD__GET(&own->line[i / 8]);
    uint64_t name = line ? LLMD__GET(&llmd__line_at(x, line)->w[i % 8]) : 0;
    put(o, &name, sizeof name);
  }
}

static uint32_t put_own(const llmd_index *x, const llmd__run *r, out *o)
{
  uint32_t n = 0;
  for (uint32_t l = LLMD__GET(&llmd__body_of(x, r)->own); l != 0; l = LLMD__GET(&llmd__line_at(x, l)->own.next))
    for (uint32_t i = 0; i < 3; i++) {
      const llmd__own_names *own = &llmd__line_at(x, l)->own.of[i];
      uint32_t holder = LLMD__GET(&own->holder);
      if (holder == 0 || !is_live(x, holder - 1u))
        continue;
      n++;
      if (o != NULL)
        put_own_names(x, own, llmd__run_len(r), o);
    }
  return n;
}

/* The live holders of a set: counted when o is NULL, else written. */
static uint32_t put_set_list(llmd_index *x, uint64_t word, out *o)
{
  uint32_t n = llmd__set_list(x, word, x->list), left = 0;
  for (uint32_t i = 0; i < n; i++)
    if (is_live(x, x->list[i]))
      x->list[left++] = x->list[i];
  if (o != NULL)
    put(o, x->list, left * sizeof *x->list);
  return left;
}

static void put_run(llmd_index *x, uint32_t run, out *o)
{
  const llmd__run *r = llmd__run_at(x, run);
  const llmd__body *b = llmd__body_of(x, r);
  uint64_t word = LLMD__GET(&r->set);
  uint32_t parent = LLMD__GET(&r->parent);
  snap_run s;
  memset(&s, 0, sizeof s);
  s.kind = RUN;
  s.len = (uint8_t)llmd__run_len(r);
  s.start = (uint8_t)llmd__run_start(r);
  s.age = (uint8_t)((uint8_t)LLMD__GET(&x->head->epoch) - LLMD__GET(&x->hit[run - LLMD__X_RINGS]));
  s.flen = (uint8_t)(word ? LLMD__SET_FLEN(word) : 0);
  s.n_set = put_set_list(x, word, NULL);
  s.n_entries = put_entries(x, r, NULL);
  s.n_own = put_own(x, r, NULL);
  if (parent != 0)
    s.parent = llmd__run_key(x, llmd__body_of(x, llmd__run_at(x, parent)), 0);
  put(o, &s, sizeof s);
  for (uint32_t i = 0; i < s.len; i++) {
    llmd_key k = llmd__run_key(x, b, i);
    put(o, &k, sizeof k);
  }
  for (uint32_t i = 0; i < s.len; i++) {
    uint64_t name = llmd__name_of(x, r, i);
    put(o, &name, sizeof name);
  }
  put_set_list(x, word, o);
  put_entries(x, r, o);
  put_own(x, r, o);
}

/* A run and all below it, parents first. */
static void put_tree(llmd_index *x, uint32_t root, out *o)
{
  uint32_t run = root, next;
  for (;;) {
    put_run(x, run, o);
    next = LLMD__GET(&llmd__run_at(x, run)->child);
    while (next == 0) {
      if (run == root)
        return;
      next = LLMD__GET(&llmd__run_at(x, run)->next);
      if (next == 0)
        run = LLMD__GET(&llmd__run_at(x, run)->parent);
    }
    run = next;
  }
}

static void put_head(llmd_index *x, out *o)
{
  snap_head s;
  memset(&s, 0, sizeof s);
  s.magic = MAGIC;
  s.version = VERSION;
  s.order = ORDER;
  s.rows = x->head->rows;
  s.shared = LLMD__GET(&x->head->shared);
  for (uint32_t i = 0; i < s.rows; i++)
    s.n_rows += LLMD__GET(&x->row[i].endpoint) != 0;
  for (uint32_t i = 0; i < x->head->adapters; i++)
    s.n_adapters += x->adapter[i].lo != 0;
  for (uint32_t i = 0; i < 4; i++)
    s.sizes[i] = LLMD__GET(&x->head->sizes[i]);
  put(o, &s, sizeof s);
  put(o, x->head->secret, LLMD_SECRET_BYTES);
  for (uint32_t i = 0; i < x->head->adapters; i++)
    if (x->adapter[i].lo != 0)
      put(o, &x->adapter[i], sizeof x->adapter[i]);
  for (uint32_t i = 0; i < s.rows; i++) {
    snap_row r = {LLMD__GET(&x->row[i].endpoint), LLMD__GET(&x->row[i].holder), LLMD__GET(&x->row[i].flags),
                  LLMD__GET(&x->row[i].block_tokens), LLMD__GET(&x->row[i].scheme),
                  {LLMD__GET(&x->row[i].window[0]), LLMD__GET(&x->row[i].window[1])}};
    if (r.endpoint != 0)
      put(o, &r, sizeof r);
  }
  put(o, x->book, (size_t)s.rows * LLMD__X_BOOK);
}

int llmd_index_snapshot(llmd_index *x, llmd_write_fn write, void *ud)
{
  uint32_t end = END;
  out o;
  o.fn = write;
  o.ud = ud;
  o.sum = 0;
  o.rc = 0;
  o.n = 0;
  put_head(x, &o);
  for (uint32_t line = 0; line < x->heads.lines && o.rc == 0; line++)
    for (uint32_t i = 0; i < LLMD__SLOTS; i++) {
      uint64_t s = LLMD__GET(&x->heads.word[(uint64_t)line * 8 + i]);
      if (s != 0 && LLMD__GET(&llmd__run_at(x, LLMD__HEAD_RUN(s))->parent) == 0)
        put_tree(x, LLMD__HEAD_RUN(s), &o);
    }
  put(&o, &end, sizeof end);
  flush(&o);
  if (o.rc == 0 && write(ud, (const char *)&o.sum, sizeof o.sum) != 0)
    o.rc = LLMD_E_STOPPED;
  return o.rc;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

typedef struct in {
  const char *p;
  size_t left;
} in;

static const char *skip(in *i, size_t n)
{
  const char *p = i->p;
  if (i->left < n)
    return NULL;
  i->p += n;
  i->left -= n;
  return p;
}

static int get(in *i, void *to, size_t n)
{
  const char *p = skip(i, n);
  if (p == NULL)
    return 0;
  memcpy(to, p, n);
  return 1;
}

static uint64_t sum_all(const char *p, size_t n)
{
  uint64_t sum = 0;
  for (size_t at = 0; at < n; at += 4096)
    sum = sum_step(sum, p + at, n - at < 4096 ? n - at : 4096);
  return sum;
}

/* Where the parts of a run's record are. */
typedef struct parts {
  snap_run s;
  const char *keys, *names, *set, *entries, *own;
} parts;

static int get_run(in *i, parts *p)
{
  if (!get(i, &p->s, sizeof p->s) || p->s.len == 0 || p->s.len + p->s.start > LLMD__X_WINDOW || p->s.flen > p->s.len ||
      (p->s.n_set != 0 && p->s.flen == 0))
    return 0;
  p->keys = skip(i, p->s.len * sizeof(llmd_key));
  p->names = p->keys ? skip(i, p->s.len * sizeof(uint64_t)) : NULL;
  p->set = p->names ? skip(i, (size_t)p->s.n_set * sizeof(uint16_t)) : NULL;
  p->entries = p->set ? skip(i, (size_t)p->s.n_entries * sizeof(uint64_t)) : NULL;
  p->own = p->entries ? skip(i, (size_t)p->s.n_own * (sizeof(uint32_t) + p->s.len * sizeof(uint64_t))) : NULL;
  return p->own != NULL;
}

static void sort_list(uint16_t *h, uint32_t n)
{
  for (uint32_t gap = n / 2; gap != 0; gap /= 2)
    for (uint32_t i = gap; i < n; i++) {
      uint16_t v = h[i];
      uint32_t j = i;
      for (; j >= gap && h[j - gap] > v; j -= gap)
        h[j] = h[j - gap];
      h[j] = v;
    }
}

/* map[holder of the snapshot] = ours + 1. */
static int put_set(llmd_index *x, uint32_t run, const parts *p, const uint16_t *map)
{
  llmd__run *r = llmd__run_at(x, run);
  uint32_t n = 0;
  if (p->s.n_set > x->holders) /* x->list has room for no more */
    return 0;
  for (uint32_t i = 0; i < p->s.n_set; i++) {
    uint16_t h;
    memcpy(&h, p->set + i * sizeof h, sizeof h);
    if (h < x->holders && map[h] != 0)
      x->list[n++] = (uint16_t)(map[h] - 1u);
  }
  if (n == 0)
    return 1;
  sort_list(x->list, n);
  for (uint32_t i = 1; i < n; i++)
    if (x->list[i] == x->list[i - 1])
      return 0;
  LLMD__PUT(&r->set, llmd__set_word(llmd__set_of(x, x->list, n), p->s.flen));
  LLMD__ADD(&x->head->n_held, (uint64_t)n * p->s.flen);
  return 1;
}

static int put_blocks(llmd_index *x, const parts *p, uint32_t *run)
{
  llmd_key key;
  uint64_t name;
  uint32_t parent = 0;
  if (p->s.parent.lo != 0 || p->s.parent.hi != 0) {
    parent = llmd__heads_find(x, &p->s.parent, 1);
    if (parent == 0)
      return 0;
  }
  memcpy(&key, p->keys, sizeof key);
  if (llmd__heads_find(x, &key, 1) != 0 || (*run = llmd__run_new(x, parent, p->s.start, &key)) == 0)
    return 0;
  for (uint32_t i = 0; i < p->s.len; i++) {
    memcpy(&key, p->keys + i * sizeof key, sizeof key);
    memcpy(&name, p->names + i * sizeof name, sizeof name);
    if (i != 0)
      llmd__run_grow(x, *run, &key);
    if (name != 0 && llmd__name_set(x, LLMD__HOLDER_NONE, *run, i, name) < 0)
      return 0;
  }
  return 1;
}

static int put_rest(llmd_index *x, uint32_t run, const parts *p, const uint16_t *map)
{
  const char *own = p->own;
  for (uint32_t i = 0; i < p->s.n_entries; i++) {
    uint64_t e;
    uint32_t h;
    memcpy(&e, p->entries + i * sizeof e, sizeof e);
    h = LLMD__E_HOLDER(e);
    if (h >= x->holders || map[h] == 0 || LLMD__E_TIER(e) == LLMD_TIER_SPECULATIVE || LLMD__E_TIER(e) == LLMD__COHORT ||
        (LLMD__E_MASK(e) & ~llmd__low(p->s.len)) != 0 ||
        llmd__reserve(x, llmd__need(x), 0, run) < 0)
      return 0;
    llmd__run_cover(x, run, map[h] - 1u, LLMD__E_TIER(e), LLMD__E_MASK(e), 0);
  }
  for (uint32_t i = 0; i < p->s.n_own; i++) {
    uint32_t h;
    memcpy(&h, own, sizeof h);
    own += sizeof h;
    for (uint32_t k = 0; k < p->s.len; k++, own += sizeof(uint64_t)) {
      uint64_t name;
      memcpy(&name, own, sizeof name);
      if (name == 0)
        continue;
      if (h >= x->holders || map[h] == 0 || llmd__reserve(x, LLMD__X_RUN_MOST, 1, run) < 0 ||
          llmd__name_set(x, map[h] - 1u, run, k, name) < 0)
        return 0;
    }
  }
  return 1;
}

static int put_back(llmd_index *x, const parts *p, const uint16_t *map)
{
  uint32_t run, age;
  _Atomic uint8_t *hit;
  if (llmd__reserve(x, llmd__need(x), LLMD__X_WINDOW, 0) < 0 || LLMD__GET(&x->head->evicted) != 0)
    return LLMD_E_FULL;
  if (!put_blocks(x, p, &run))
    return LLMD_E_SYNTAX;
  if (!put_set(x, run, p, map) || !put_rest(x, run, p, map))
    return LLMD_E_SYNTAX;
  hit = &x->hit[run - LLMD__X_RINGS];
  age = p->s.age < LLMD__X_RINGS ? p->s.age : LLMD__X_RINGS - 1u;
  LLMD__PUT(hit, (uint8_t)((uint8_t)LLMD__GET(&x->head->epoch) - age));
  llmd__recency_remove(x, run);
  llmd__recency_adopt(x, run);
  llmd__trim_stale(x);
  return 0;
}

static int put_rows(llmd_index *x, const snap_head *s, const char *rows, uint16_t *map)
{
  for (uint32_t i = 0; i < s->n_rows; i++) {
    snap_row r;
    uint32_t holder;
    llmd_index_row row = {.size = sizeof row};
    memcpy(&r, rows + (size_t)i * sizeof r, sizeof r);
    row.flags = r.flags;
    row.block_tokens = r.block_tokens;
    row.scheme = r.scheme;
    memcpy(row.window_blocks, r.window, sizeof row.window_blocks);
    if (llmd_index_describe(x, r.endpoint, &row) < 0)
      return LLMD_E_FULL;
    llmd__write_begin(x); /* that was a write of its own; this one goes on */
    if (r.holder == 0)
      continue;
    if (r.holder >= x->holders || map[r.holder] != 0)
      return LLMD_E_SYNTAX;
    if (llmd__holder_get(x, r.endpoint, 1, &holder) < 0)
      return LLMD_E_FULL;
    map[r.holder] = (uint16_t)(holder + 1u);
  }
  return 0;
}

/* Everything gone again, as after a format. */
static void empty_again(llmd_index *x)
{
  for (uint64_t i = 0; i < (uint64_t)x->heads.lines * 8u; i++)
    LLMD__PUT(&x->heads.word[i], 0);
  for (uint32_t i = 0; i < x->head->rows; i++) {
    LLMD__PUT(&x->row[i].holder, 0u);
    LLMD__PUT(&x->row[i].endpoint, 0);
    LLMD__PUT(&x->row[i].window[0], 0u);
    LLMD__PUT(&x->row[i].window[1], 0u);
  }
  LLMD__PUT(&x->head->shared, 0u);
  memset(x->adapter, 0, (size_t)x->head->adapters * sizeof *x->adapter);
  memset(x->book, 0, (size_t)x->head->rows * LLMD__X_BOOK);
  LLMD__PUT(&x->head->writing, 1u);
  llmd_index_takeover(x);
  LLMD__PUT(&x->head->evicted, 0);
}

static int apply_all(llmd_index *x, const snap_head *s, const char *rows, in i, uint16_t *map)
{
  parts p;
  uint32_t kind;
  int rc = put_rows(x, s, rows, map);
  uint32_t shared;
  if (rc == 0 && s->shared != 0) {
    if (s->shared >= x->holders || map[s->shared] != 0 || llmd__holder_get(x, LLMD_INDEX_SHARED, 1, &shared) < 0)
      return LLMD_E_SYNTAX;
    map[s->shared] = (uint16_t)(shared + 1u);
  }
  while (rc == 0) {
    if (i.left < sizeof kind)
      return LLMD_E_SYNTAX;
    memcpy(&kind, i.p, sizeof kind);
    if (kind == END)
      return i.left != sizeof kind ? LLMD_E_SYNTAX : LLMD__GET(&x->head->evicted) != 0 ? LLMD_E_FULL : 0;
    rc = kind == RUN && get_run(&i, &p) ? put_back(x, &p, map) : LLMD_E_SYNTAX;
  }
  return rc;
}

static int check_head(in *i, snap_head *s, llmd_err *err)
{
  uint64_t sum;
  if (!get(i, s, sizeof *s) || s->magic != MAGIC)
    return llmd__fail(err, LLMD_E_SYNTAX, 0, 0, NULL, "not a snapshot of a prefix index");
  if (s->version != VERSION || s->order != ORDER)
    return llmd__fail(err, LLMD_E_MISMATCH, 0, 0, NULL, "snapshot of version %u, this library reads %u", s->version,
                      VERSION);
  if (i->left < sizeof sum)
    return llmd__fail(err, LLMD_E_SYNTAX, 0, 0, NULL, "cut snapshot");
  i->left -= sizeof sum;
  memcpy(&sum, i->p + i->left, sizeof sum);
  if (sum != sum_all(i->p - sizeof *s, i->left + sizeof *s))
    return llmd__fail(err, LLMD_E_SYNTAX, 0, 0, NULL, "damaged snapshot");
  return 0;
}

int llmd_index_restore(llmd_index *x, const void *ptr, size_t len, llmd_err *err)
{
  in i = {ptr, len};
  snap_head s;
  const char *secret, *adapters, *rows, *book;
  uint16_t *map;
  int rc;
  if (LLMD__GET(&x->head->n_runs) != 0)
    return llmd__fail(err, LLMD_E_STATE, 0, 0, NULL, "the index is not empty");
  if ((rc = check_head(&i, &s, err)) < 0)
    return rc;
  secret = skip(&i, LLMD_SECRET_BYTES);
  adapters = secret ? skip(&i, (size_t)s.n_adapters * sizeof(llmd_key)) : NULL;
  rows = adapters ? skip(&i, (size_t)s.n_rows * sizeof(snap_row)) : NULL;
  book = rows ? skip(&i, (size_t)s.rows * LLMD__X_BOOK) : NULL;
  if (book == NULL)
    return llmd__fail(err, LLMD_E_SYNTAX, 0, 0, NULL, "damaged snapshot");
  if (s.n_adapters > x->head->adapters / 2u || s.rows > x->head->rows)
    return llmd__fail(err, LLMD_E_FULL, 0, 0, NULL, "the snapshot's %u rows or %u adapters do not fit", s.rows,
                      s.n_adapters);
  if ((map = llmd__calloc(&x->alloc, x->holders, sizeof *map)) == NULL)
    return llmd__fail(err, LLMD_E_NOMEM, 0, 0, NULL, "out of memory");
  llmd__write_begin(x);
  LLMD__PUT(&x->head->evicted, 0);
  rc = apply_all(x, &s, rows, i, map);
  llmd__free(&x->alloc, map, x->holders * sizeof *map);
  if (rc < 0) {
    empty_again(x);
    return llmd__fail(err, rc, 0, 0, NULL, rc == LLMD_E_FULL ? "the snapshot does not fit" : "damaged snapshot");
  }
  memcpy(x->head->secret, secret, LLMD_SECRET_BYTES);
  for (uint32_t k = 0; k < s.n_adapters; k++) {
    llmd_key key;
    memcpy(&key, adapters + k * sizeof key, sizeof key);
    llmd__adapter_put(x, &key);
  }
  memcpy(x->book, book, (size_t)s.rows * LLMD__X_BOOK);
  for (uint32_t k = 0; k < 4; k++)
    LLMD__PUT(&x->head->sizes[k], s.sizes[k]);
  llmd__write_end(x);
  return 0;
}
