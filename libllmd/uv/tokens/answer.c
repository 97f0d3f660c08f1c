#include "uv/tokens/answer.h"

#include <stdlib.h>
#include <string.h>

#define DEPTH 32u
#define KEY_MOST 64u
#define MODALITIES 16u

typedef struct input {
  const char *p, *end;
} input;

/* ---- JSON, as much of it as is needed ---------------------------------------------------------------------------- */

static void skip_blanks(input *in)
{
  while (in->p < in->end && (*in->p == ' ' || *in->p == '\n' || *in->p == '\t' || *in->p == '\r'))
    in->p++;
}

static int next_is(input *in, char c)
{
  skip_blanks(in);
  if (in->p == in->end || *in->p != c)
    return 0;
  in->p++;
  return 1;
}

/* A string's inside, still escaped; *escaped: it has escapes. */
static int read_string(input *in, llmd_str *out, int *escaped)
{
  const char *from;
  *escaped = 0;
  if (!next_is(in, '"'))
    return LLMD_E_SYNTAX;
  for (from = in->p; in->p < in->end; in->p++) {
    if (*in->p == '"') {
      *out = (llmd_str){from, (size_t)(in->p++ - from)};
      return 0;
    }
    if ((unsigned char)*in->p < ' ')
      return LLMD_E_SYNTAX;
    if (*in->p == '\\') {
      *escaped = 1;
      in->p++;
    }
  }
  return LLMD_E_SYNTAX;
}

static int skip_word(input *in)
{
  const char *from;
  skip_blanks(in);
  from = in->p;
  while (in->p < in->end && (strchr("+-.", *in->p) || (*in->p >= '0' && *in->p <= '9') ||
                             ((*in->p | 0x20) >= 'a' && (*in->p | 0x20) <= 'z')) && *in->p)
    in->p++;
  return in->p > from ? 0 : LLMD_E_SYNTAX;
}

/* One value of any kind. What is inside of it need not be sound, only end where it seems to. */
static int skip_value(input *in)
{
  uint64_t lists = 0; /* bit d: level d is a list */
  uint32_t depth = 0;
  llmd_str s;
  int escaped, rc;
  do {
    skip_blanks(in);
    if (in->p == in->end)
      return LLMD_E_SYNTAX;
    switch (*in->p) {
    case '{': case '[':
      if (++depth > DEPTH)
        return LLMD_E_SYNTAX;
      lists = *in->p == '[' ? lists | UINT64_C(1) << depth : lists & ~(UINT64_C(1) << depth);
      in->p++;
      break;
    case '}': case ']':
      if (!depth || (*in->p == ']') != (lists >> depth & 1))
        return LLMD_E_SYNTAX;
      depth--;
      in->p++;
      break;
    case ',': case ':':
      if (!depth)
        return LLMD_E_SYNTAX;
      in->p++;
      break;
    default:
      rc = *in->p == '"' ? read_string(in, &s, &escaped) : skip_word(in);
      if (rc)
        return rc;
    }
  } while (depth);
  return 0;
}

static int is_null(input *in)
{
  skip_blanks(in);
  if (in->end - in->p < 4 || memcmp(in->p, "null", 4))
    return 0;
  in->p += 4;
  return 1;
}

/* Digits only: no sign, no fraction. */
static int read_count(input *in, uint64_t most, uint64_t *out)
{
  uint64_t v = 0;
  const char *from;
  skip_blanks(in);
  for (from = in->p; in->p < in->end && *in->p >= '0' && *in->p <= '9'; in->p++) {
    v = v * 10 + (uint64_t)(*in->p - '0');
    if (v > most)
      return LLMD_E_RANGE;
  }
  if (in->p == from || in->p == in->end || *in->p == '.' || (*in->p | 0x20) == 'e')
    return LLMD_E_TYPE;
  *out = v;
  return 0;
}

/* Before the first member or element, and after each: 1 there is another one, 0 it ends here. */
static int more(input *in, int first, char end)
{
  if (next_is(in, end))
    return 0;
  return first || next_is(in, ',') ? 1 : LLMD_E_SYNTAX;
}

/* The next member's name; 0 it ends here. Long names and escaped ones are nobody's. */
static int next_key(input *in, int first, llmd_str *key)
{
  int escaped, rc = more(in, first, '}');
  if (rc <= 0)
    return rc;
  rc = read_string(in, key, &escaped);
  if (rc)
    return rc;
  if (escaped || key->len > KEY_MOST)
    *key = (llmd_str){"", 0};
  return next_is(in, ':') ? 1 : LLMD_E_SYNTAX;
}

static int is(llmd_str s, const char *text)
{
  return s.len == strlen(text) && !memcmp(s.ptr, text, s.len);
}

/* ---- ids --------------------------------------------------------------------------------------------------------- */

static int make_room(llmd__rendered *r, size_t most)
{
  size_t room = r->room ? r->room * 2 : 4096;
  uint32_t *p;
  if (r->n >= most)
    return LLMD_E_LIMIT;
  p = realloc(r->ids, room * sizeof *p);
  if (!p)
    return LLMD_E_NOMEM;
  r->ids = p;
  r->room = room;
  return 0;
}

static int read_ids(llmd__rendered *r, input *in, size_t most)
{
  int rc;
  r->n = 0;
  if (!next_is(in, '['))
    return LLMD_E_TYPE;
  while ((rc = more(in, r->n == 0, ']')) > 0) {
    uint64_t v;
    rc = read_count(in, UINT32_MAX, &v);
    if (!rc && (r->n == r->room || r->n == most))
      rc = make_room(r, most);
    if (rc)
      return rc;
    r->ids[r->n++] = (uint32_t)v;
  }
  return rc;
}

/* ---- features ---------------------------------------------------------------------------------------------------- */

/* Names and places of one modality stand apart from each other: both are gathered, then joined. */
typedef struct modality {
  llmd_str name;
  size_t first, n; /* of its elements */
} modality;

typedef struct gathering {
  llmd__rendered *r;
  size_t named, placed;
  llmd_str *hash; /* as they come */
} gathering;

static int feature_room(llmd__rendered *r)
{
  llmd_feature *p;
  if (r->feature)
    return 0;
  p = malloc(LLMD__RENDERED_FEATURES * sizeof *p);
  if (!p)
    return LLMD_E_NOMEM;
  r->feature = p;
  r->room_features = LLMD__RENDERED_FEATURES;
  return 0;
}

static int read_place(input *in, llmd_feature *f)
{
  llmd_str key;
  int rc, seen = 0;
  if (!next_is(in, '{'))
    return LLMD_E_TYPE;
  for (int first = 1; (rc = next_key(in, first, &key)) > 0; first = 0) {
    if (is(key, "offset"))
      rc = read_count(in, UINT32_MAX, &f->offset), seen |= 1;
    else if (is(key, "length"))
      rc = read_count(in, UINT32_MAX, &f->length), seen |= 2;
    else
      rc = skip_value(in);
    if (rc)
      return rc;
  }
  return rc ? rc : seen == 3 ? 0 : LLMD_E_MISSING;
}

static int read_name(input *in, llmd_str *out)
{
  int escaped, rc = read_string(in, out, &escaped);
  if (rc)
    return LLMD_E_TYPE;
  return escaped || !out->len || out->len > LLMD__RENDERED_NAME ? LLMD_E_RANGE : 0;
}

/* {"image": [...], ...}: each element by one of the two above. in_hashes: into the hashes, else into the features. */
static int read_table(gathering *g, input *in, int in_hashes, modality *table, size_t *n_table)
{
  size_t n = 0;
  llmd_str key;
  int rc;
  *n_table = 0;
  if (!next_is(in, '{'))
    return LLMD_E_TYPE;
  for (int first = 1; (rc = next_key(in, first, &key)) > 0; first = 0) {
    modality *m = &table[*n_table];
    if (*n_table == MODALITIES || !next_is(in, '['))
      return *n_table == MODALITIES ? LLMD_E_LIMIT : LLMD_E_TYPE;
    *m = (modality){key, n, 0};
    ++*n_table;
    while ((rc = more(in, n == m->first, ']')) > 0) {
      if (n == LLMD__RENDERED_FEATURES)
        return LLMD_E_LIMIT;
      rc = in_hashes ? read_name(in, &g->hash[n]) : read_place(in, &g->r->feature[n]);
      if (rc)
        return rc;
      n++;
    }
    if (rc)
      return rc;
    m->n = n - m->first;
  }
  *(in_hashes ? &g->named : &g->placed) = n;
  return rc;
}

static const modality *find(const modality *table, size_t n, llmd_str name)
{
  for (size_t i = 0; i < n; i++)
    if (table[i].name.len == name.len && !memcmp(table[i].name.ptr, name.ptr, name.len))
      return &table[i];
  return NULL;
}

/* Every place has its name. */
static int join(gathering *g, const modality *places, size_t n_places, const modality *names, size_t n_names)
{
  if (g->named != g->placed)
    return LLMD_E_RANGE;
  for (size_t i = 0; i < n_places; i++) {
    const modality *m = find(names, n_names, places[i].name);
    if (!places[i].n)
      continue;
    if (!m || m->n != places[i].n)
      return LLMD_E_RANGE;
    for (size_t k = 0; k < m->n; k++)
      g->r->feature[places[i].first + k].hash = g->hash[m->first + k];
  }
  g->r->n_features = g->placed;
  return 0;
}

static int read_both(gathering *g, input *in)
{
  modality places[MODALITIES], names[MODALITIES];
  size_t n_places = 0, n_names = 0;
  llmd_str key;
  int rc;
  if (!next_is(in, '{'))
    return LLMD_E_TYPE;
  for (int first = 1; (rc = next_key(in, first, &key)) > 0; first = 0) {
    if (is(key, "mm_hashes"))
      rc = read_table(g, in, 1, names, &n_names);
    else if (is(key, "mm_placeholders"))
      rc = read_table(g, in, 0, places, &n_places);
    else
      rc = skip_value(in);
    if (rc)
      return rc;
  }
  return rc ? rc : join(g, places, n_places, names, n_names);
}

static int read_features(llmd__rendered *r, input *in)
{
  gathering g = {.r = r};
  int rc;
  r->n_features = 0;
  if (is_null(in))
    return 0;
  rc = feature_room(r);
  g.hash = rc ? NULL : malloc(LLMD__RENDERED_FEATURES * sizeof *g.hash);
  if (!g.hash)
    return LLMD_E_NOMEM;
  rc = read_both(&g, in);
  free(g.hash);
  return rc;
}

static int by_offset(const void *a, const void *b)
{
  const llmd_feature *x = a, *y = b;
  return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* In order, none overlapping, all of them among the ids. */
static int arrange(llmd__rendered *r)
{
  uint64_t end = 0;
  if (r->n_features)
    qsort(r->feature, r->n_features, sizeof *r->feature, by_offset);
  for (size_t i = 0; i < r->n_features; i++) {
    const llmd_feature *f = &r->feature[i];
    if (!f->length || f->offset < end || f->offset + f->length > r->n)
      return LLMD_E_RANGE;
    end = f->offset + f->length;
  }
  return 0;
}

/* ---- an answer --------------------------------------------------------------------------------------------------- */

static int read_object(llmd__rendered *r, input *in, size_t most)
{
  int rc, seen = 0;
  llmd_str key;
  if (!next_is(in, '{'))
    return LLMD_E_SYNTAX;
  for (int first = 1; (rc = next_key(in, first, &key)) > 0; first = 0) {
    if (is(key, "token_ids") || is(key, "tokens"))
      rc = read_ids(r, in, most), seen = 1;
    else if (is(key, "features"))
      rc = read_features(r, in);
    else
      rc = skip_value(in);
    if (rc)
      return rc;
  }
  if (!rc && (!seen || !r->n))
    rc = LLMD_E_NONE;
  return rc ? rc : arrange(r);
}

int llmd__rendered_read(llmd__rendered *r, const char *text, size_t len, size_t most)
{
  input in = {text, text + len};
  int listed = next_is(&in, '['), rc;
  r->n = r->n_features = 0;
  rc = read_object(r, &in, most);
  if (!rc && listed && !next_is(&in, ']'))
    rc = LLMD_E_SYNTAX;
  skip_blanks(&in);
  return rc ? rc : in.p == in.end ? 0 : LLMD_E_SYNTAX;
}

void llmd__rendered_free(llmd__rendered *r)
{
  free(r->ids);
  free(r->feature);
  memset(r, 0, sizeof *r);
}
