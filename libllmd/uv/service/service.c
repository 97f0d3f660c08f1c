/* What a service is told, out of its file.
 *
 *   defaults (table) ─► file's values ─► files that it names ─► what follows from others (region, socket)
 *
 * Whatever is allocated hangs on the service and goes with it. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/quantity.h"
#include "base/tree.h"
#include "uv/service/inline.h"
#include "uv/service/table.h"

#define FILE_MOST ((size_t)4 << 20)
#define DNS_MOST 64u
#define POLICY_CONFIG 2048u /* the configuration that a policy's file stands for */

typedef struct kept {
  struct kept *next;
  void *p;
} kept;

typedef struct box {
  llmd_service pub; /* first: the public pointer is the box */
  kept *kept;
  const char *folder; /* while reading */
  const char *region; /* as written; NULL = not */
  const char *socket; /* as written: "auto", "", a path */
  const char *policy_dir;    /* as written; NULL = not */
  const char *policy_folder; /* where the policy stands, absolute; NULL = nowhere */
} box;

/* p is the box's from now on; freed when there is no memory to remember it. */
static int keep(box *b, void *p)
{
  kept *k = p ? malloc(sizeof *k) : NULL;
  if (!k) {
    free(p);
    return LLMD_E_NOMEM;
  }
  *k = (kept){b->kept, p};
  b->kept = k;
  return LLMD_OK;
}

static int keep_text(box *b, const char *p, size_t n, const char **out)
{
  char *copy = malloc(n + 1);
  if (copy) {
    memcpy(copy, p, n);
    copy[n] = 0;
  }
  if (keep(b, copy))
    return LLMD_E_NOMEM;
  *out = copy;
  return LLMD_OK;
}

static int no_memory(llmd_err *err)
{
  return llmd__fail(err, LLMD_E_NOMEM, 0, 0, NULL, "out of memory");
}

/* ==== values ==== */

static int read_size(const llmd__node *n, int64_t *out, llmd_err *err)
{
  size_t len = n->text.len;
  if (n->kind == LLMD__STR && len > 1 && n->text.ptr[len - 1] == 'B' && /* 16MiB is 16Mi */
      llmd__parse_quantity(n->text.ptr, len - 1, out) == LLMD_OK)
    return LLMD_OK;
  if (n->kind == LLMD__INT || n->kind == LLMD__STR) {
    int rc = llmd__node_quantity(n, out, NULL);
    if (!rc)
      return rc;
  }
  return llmd__node_fail(n, err, LLMD_E_TYPE, "expected a size such as 65536, 64KiB or 16MiB");
}

static int read_duration(const llmd__node *n, int64_t *out, llmd_err *err)
{
  int64_t ns = 0;
  int rc;
  if (n->kind == LLMD__INT && n->integer == 0) {
    *out = 0;
    return LLMD_OK;
  }
  rc = llmd__node_duration(n, &ns, err);
  if (rc)
    return rc;
  if (ns % 1000000)
    return llmd__node_fail(n, err, LLMD_E_RANGE, "whole milliseconds are counted");
  *out = ns / 1000000;
  return LLMD_OK;
}

static int out_of_range(const llmd__setting *s, const llmd__node *n, llmd_err *err)
{
  char least[LLMD__DURATION_LEN], most[LLMD__DURATION_LEN];
  if (s->kind != LLMD__SET_DURATION)
    return llmd__node_fail(n, err, LLMD_E_RANGE, "must be from %lld to %lld", (long long)s->least, (long long)s->most);
  (void)llmd__format_duration(s->least * 1000000, least);
  (void)llmd__format_duration(s->most * 1000000, most);
  return llmd__node_fail(n, err, LLMD_E_RANGE, "must be from %s to %s", least, most);
}

static int read_number(const llmd__setting *s, const llmd__node *n, int64_t *out, llmd_err *err)
{
  int64_t v = 0;
  uint8_t flag = 0;
  int rc;
  switch (s->kind) {
  case LLMD__SET_FLAG:
    rc = llmd__node_bool(n, &flag, err);
    v = flag;
    break;
  case LLMD__SET_DURATION: rc = read_duration(n, &v, err); break;
  case LLMD__SET_SIZE:
  case LLMD__SET_SIZE64: rc = read_size(n, &v, err); break;
  default: rc = llmd__node_int(n, INT64_MIN, INT64_MAX, &v, err); break;
  }
  if (rc)
    return rc;
  if (v < s->least || v > s->most)
    return out_of_range(s, n, err);
  *out = v;
  return LLMD_OK;
}

static int read_choice(const llmd__setting *s, const llmd__node *n, int64_t *out, llmd_err *err)
{
  int64_t i = 0;
  for (const char *word = s->words; word; i++) {
    const char *end = strchr(word, '|');
    size_t len = end ? (size_t)(end - word) : strlen(word);
    const char *written = n->kind == LLMD__BOOL ? (n->integer ? "true" : "false") : n->text.ptr;
    if (written && (n->kind == LLMD__STR || n->kind == LLMD__BOOL) && strlen(written) == len &&
        memcmp(written, word, len) == 0) {
      *out = i;
      return LLMD_OK;
    }
    word = end ? end + 1 : NULL;
  }
  return llmd__node_fail(n, err, LLMD_E_RANGE, "must be one of %s", s->words);
}

/* ==== texts ==== */

/* A relative name is relative to the service's own folder. */
static int in_folder(box *b, llmd_str name, const char **out)
{
  size_t folder = b->folder ? strlen(b->folder) : 0;
  char *path;
  if (!folder || !name.len || name.ptr[0] == '/' || strcmp(name.ptr, "-") == 0)
    return keep_text(b, name.ptr, name.len, out);
  path = malloc(folder + name.len + 2);
  if (path)
    (void)snprintf(path, folder + name.len + 2, "%s/%s", b->folder, name.ptr);
  if (keep(b, path))
    return LLMD_E_NOMEM;
  *out = path;
  return LLMD_OK;
}

static int is_address(llmd_str text)
{
  llmd_str host;
  uint32_t port;
  if (text.len > 6 && memcmp(text.ptr, "unix:/", 6) == 0)
    return 1;
  return llmd__split_address(text.ptr, text.len, &host, &port) == LLMD_OK;
}

static int has_blank(llmd_str text)
{
  for (size_t i = 0; i < text.len; i++)
    if ((unsigned char)text.ptr[i] <= ' ' || text.ptr[i] == 0x7f)
      return 1;
  return 0;
}

static int read_text(box *b, const llmd__setting *s, const llmd__node *n, const char **out, llmd_err *err)
{
  llmd_str text = {"", 0};
  int rc = llmd__node_str(n, &text, err), file = s->kind == LLMD__SET_FILE;
  if (rc)
    return rc;
  if (!file && has_blank(text))
    return llmd__node_fail(n, err, LLMD_E_SYNTAX, "blanks and control characters have no place here");
  if (s->kind == LLMD__SET_ADDRESS && !is_address(text) && (text.len || strcmp(s->name, "listen") == 0))
    return llmd__node_fail(n, err, LLMD_E_SYNTAX, "expected \"address:port\", \"[address]:port\" or \"unix:/PATH\"");
  if (s->kind == LLMD__SET_ROUTE && (!text.len || text.ptr[0] != '/'))
    return llmd__node_fail(n, err, LLMD_E_SYNTAX, "a path begins with /");
  if (file && strcmp(s->name, "socket") == 0 && llmd__node_is(n, "auto"))
    rc = keep_text(b, text.ptr, text.len, out);
  else
    rc = file ? in_folder(b, text, out) : keep_text(b, text.ptr, text.len, out);
  return rc ? no_memory(err) : LLMD_OK;
}

/* ==== files ==== */

static int read_whole(const char *path, char **out, size_t *len)
{
  FILE *f = fopen(path, "rb");
  char *text = f ? malloc(FILE_MOST + 1) : NULL;
  size_t n = text ? fread(text, 1, FILE_MOST + 1, f) : 0;
  int rc = !f ? -errno : !text ? -ENOMEM : ferror(f) ? -EIO : n > FILE_MOST ? -EFBIG : 0;
  if (f)
    (void)fclose(f);
  if (rc) {
    free(text);
    return rc;
  }
  text[n] = 0;
  *out = text;
  *len = n;
  return 0;
}

/* The file that the node names; text NULL: it only has to be there. */
static int read_named(box *b, const llmd__node *n, const char **path, llmd_str *text, llmd_err *err)
{
  char *whole = NULL;
  size_t len = 0;
  int rc;
  if (in_folder(b, n->text, path))
    return no_memory(err);
  rc = read_whole(*path, &whole, &len);
  if (rc)
    return llmd__node_fail(n, err, LLMD_E_IO, "%s: %s", *path, strerror(-rc));
  if (!text) {
    free(whole);
    return LLMD_OK;
  }
  if (keep(b, whole))
    return no_memory(err);
  *text = (llmd_str){whole, len};
  return LLMD_OK;
}

/* An inline part's text is the box's. */
static int take_inline(box *b, llmd_str text, llmd_err *err)
{
  return keep(b, (void *)(uintptr_t)text.ptr) ? no_memory(err) : LLMD_OK;
}

static int clear_part(llmd_str *text, const char **file)
{
  *text = (llmd_str){"", 0};
  *file = "";
  return LLMD_OK;
}

/* A part that is a file's name, or a document itself. */
static int read_part(box *b, const llmd__node *n, int keeps_text, llmd_str *text, const char **file, llmd_err *err)
{
  llmd_str found = {"", 0};
  const char *path = "";
  int rc;
  if (n->kind == LLMD__MAP)
    rc = llmd__inline_map(n, &found, err);
  else if (n->kind == LLMD__STR && memchr(n->text.ptr, '\n', n->text.len))
    rc = llmd__inline_block(n, &found, err);
  else if (n->kind == LLMD__STR && n->text.len)
    rc = read_named(b, n, &path, keeps_text ? &found : NULL, err);
  else
    return n->kind == LLMD__STR ? clear_part(text, file)
                                : llmd__node_fail(n, err, LLMD_E_TYPE, "expected a file's name, or the text itself");
  if (!rc && !path[0])
    rc = take_inline(b, found, err);
  if (rc)
    return rc;
  *text = found;
  *file = path;
  return LLMD_OK;
}

/* ==== the policy ==== */

/* A folder as a scheduler wants it. */
static int make_absolute(box *b, const char *folder, size_t len, const char **out)
{
  char here[PATH_MAX], *path;
  if (len && folder[0] == '/')
    return keep_text(b, folder, len, out);
  if (!getcwd(here, sizeof here))
    return LLMD_E_NOMEM;
  path = malloc(strlen(here) + len + 2);
  if (path)
    (void)snprintf(path, strlen(here) + len + 2, "%s%s%.*s", here, len ? "/" : "", (int)len, len ? folder : "");
  if (keep(b, path))
    return LLMD_E_NOMEM;
  *out = path;
  return LLMD_OK;
}

/* Relative names of policies are looked for beside the file that the configuration stands in. */
static int find_policy_folder(box *b)
{
  const char *file = b->pub.policy_file, *slash = strrchr(file, '/');
  if (file[0])
    return make_absolute(b, file, !slash ? 0 : slash == file ? 1 : (size_t)(slash - file), &b->policy_folder);
  return make_absolute(b, b->folder, b->folder ? strlen(b->folder) : 0, &b->policy_folder);
}

static int is_lua(const char *file)
{
  size_t n = strlen(file);
  return n > 4 && strcmp(file + n - 4, ".lua") == 0;
}

/* What one policy stands for. Its own text is read by those who compile it. */
static int wrap_policy(box *b, const llmd__node *n, llmd_err *err)
{
  const char *path;
  char *text = malloc(POLICY_CONFIG);
  int len;
  if (keep(b, text) || make_absolute(b, b->pub.policy_file, strlen(b->pub.policy_file), &path))
    return no_memory(err);
  len = llmd_policy_config("lua", path, text, POLICY_CONFIG);
  if (len < 0)
    return llmd__node_fail(n, err, len, "%s: no name for a policy's file", path);
  b->pub.policy = (llmd_str){text, (size_t)len};
  b->pub.policy_is_text = 1;
  return LLMD_OK;
}

static int read_policy(box *b, const llmd__node *n, llmd_err *err)
{
  int rc = read_part(b, n, 1, &b->pub.policy, &b->pub.policy_file, err);
  b->pub.policy_is_text = 0;
  if (!rc && find_policy_folder(b))
    return no_memory(err);
  return rc || !is_lua(b->pub.policy_file) ? rc : wrap_policy(b, n, err);
}

static int read_endpoints(box *b, const llmd__node *n, llmd_err *err)
{
  llmd_str found = {"", 0};
  int rc;
  if (n->kind != LLMD__LIST)
    return read_part(b, n, 0, &b->pub.endpoints, &b->pub.endpoints_file, err);
  rc = llmd__inline_endpoints(n, &found, err);
  if (!rc)
    rc = take_inline(b, found, err);
  if (rc)
    return rc;
  b->pub.endpoints = found;
  b->pub.endpoints_file = "";
  return LLMD_OK;
}

/* ==== sections ==== */

static int read_setting(box *b, void *base, const llmd__setting *s, const llmd__node *n, llmd_err *err);

static int read_section(box *b, void *base, const char *section, const llmd__node *map, llmd_err *err)
{
  for (uint32_t i = 0; i < llmd__n_settings; i++) {
    const llmd__setting *s = &llmd__settings[i];
    const llmd__node *n = NULL;
    int rc = strcmp(s->section, section) == 0 ? llmd__get_any(map, s->name, &n, err) : 0;
    if (rc > 0)
      rc = read_setting(b, base, s, n, err);
    if (rc < 0)
      return rc;
  }
  return LLMD_OK;
}

/* The names of a section's keys; those of the sections, too, at the top. */
static int known_keys(const char *section, const llmd__node *map, llmd_err *err)
{
  const char *names[64];
  size_t n = 0;
  const char *last = "";
  for (uint32_t i = 0; i < llmd__n_settings; i++) {
    const llmd__setting *s = &llmd__settings[i];
    if (strcmp(s->section, section) == 0)
      names[n++] = s->name;
    else if (!section[0] && s->section[0] && strcmp(s->section, "dns[]") && strcmp(s->section, last))
      names[n++] = last = s->section;
  }
  return llmd__reject_unknown(map, names, n, err);
}

static int preset(box *b, void *base, const char *section, llmd_err *err);

static int read_dns(box *b, llmd_service_dns *d, const llmd__node *n, llmd_err *err)
{
  int rc = llmd__node_expect(n, LLMD__MAP, err);
  if (!rc)
    rc = known_keys("dns[]", n, err);
  if (!rc)
    rc = preset(b, d, "dns[]", err);
  if (!rc)
    rc = read_section(b, d, "dns[]", n, err);
  if (rc)
    return rc;
  if (!d->name || !d->name[0])
    return llmd__node_fail(n, err, LLMD_E_MISSING, "name is required");
  if (!d->srv && !d->port)
    return llmd__node_fail(n, err, LLMD_E_MISSING, "port is required (or srv: true)");
  return LLMD_OK;
}

static int read_names(box *b, const llmd__node *list, llmd_err *err)
{
  llmd_service_dns *d;
  uint32_t n = 0;
  int rc = llmd__node_expect(list, LLMD__LIST, err);
  if (rc)
    return rc;
  if (list->count > DNS_MOST)
    return llmd__node_fail(list, err, LLMD_E_LIMIT, "more than %u names", DNS_MOST);
  d = calloc(list->count + 1, sizeof *d);
  if (keep(b, d))
    return no_memory(err);
  for (const llmd__node *c = list->first; c && !rc; c = c->next)
    rc = read_dns(b, &d[n++], c, err);
  if (rc)
    return rc;
  b->pub.dns = d;
  b->pub.n_dns = n;
  return LLMD_OK;
}

static int read_special(box *b, const llmd__setting *s, const llmd__node *n, llmd_err *err)
{
  switch (s->kind) {
  case LLMD__SET_POLICY: return read_policy(b, n, err);
  case LLMD__SET_ENDPOINTS: return read_endpoints(b, n, err);
  default: return read_names(b, n, err);
  }
}

static int read_setting(box *b, void *base, const llmd__setting *s, const llmd__node *n, llmd_err *err)
{
  char *field = (char *)base + s->offset;
  const char *text = NULL;
  int64_t v = 0;
  uint32_t narrow;
  uint64_t wide;
  int rc;
  if (s->kind >= LLMD__SET_POLICY)
    return read_special(b, s, n, err);
  if (s->kind >= LLMD__SET_TEXT) {
    rc = read_text(b, s, n, &text, err);
    if (!rc)
      memcpy(field, &text, sizeof text);
    return rc;
  }
  rc = s->kind == LLMD__SET_CHOICE ? read_choice(s, n, &v, err) : read_number(s, n, &v, err);
  narrow = (uint32_t)v;
  wide = (uint64_t)v;
  if (!rc && s->kind == LLMD__SET_SIZE64)
    memcpy(field, &wide, sizeof wide);
  else if (!rc)
    memcpy(field, &narrow, sizeof narrow);
  return rc;
}

/* ==== the whole ==== */

/* A section's defaults, read as if they stood in the file. section NULL: all but those of list entries. */
static int preset(box *b, void *base, const char *section, llmd_err *err)
{
  int rc = LLMD_OK;
  for (uint32_t i = 0; i < llmd__n_settings && !rc; i++) {
    const llmd__setting *s = &llmd__settings[i];
    llmd__tree *tree = NULL;
    if (!s->byword || (section ? strcmp(s->section, section) : !strcmp(s->section, "dns[]")))
      continue;
    rc = llmd__tree_parse(NULL, s->byword, strlen(s->byword), NULL, &tree, err);
    if (!rc)
      rc = read_setting(b, base, s, llmd__tree_root(tree), err);
    llmd__tree_free(tree);
  }
  return rc;
}

static int read_top(box *b, const llmd__node *root, llmd_err *err)
{
  int rc = known_keys("", root, err);
  const char *last = "";
  if (!rc)
    rc = read_section(b, &b->pub, "", root, err);
  for (uint32_t i = 0; i < llmd__n_settings && rc >= 0; i++) {
    const char *section = llmd__settings[i].section;
    const llmd__node *map = NULL;
    if (!section[0] || !strcmp(section, last) || !strcmp(section, "dns[]"))
      continue;
    last = section;
    rc = llmd__get_map(root, section, &map, err);
    if (rc > 0)
      rc = known_keys(section, map, err);
    if (rc >= 0)
      rc = read_section(b, &b->pub, section, map, err);
  }
  return rc < 0 ? rc : LLMD_OK;
}

/* A token-producer that estimates needs nobody; nor does one whose tokenizer is a service of its own. */
static int has_renderer(const llmd__node *plugin)
{
  const llmd__node *type = plugin->kind == LLMD__MAP ? llmd__map_get(plugin, "type") : NULL;
  const llmd__node *of = plugin->kind == LLMD__MAP ? llmd__map_get(plugin, "parameters") : NULL;
  const llmd__node *model = llmd__map_get(of, "modelName"), *other = llmd__map_get(of, "udsTokenizerConfig");
  return type && (llmd__node_is(type, "token-producer") || llmd__node_is(type, "tokenizer")) && model &&
         model->text.len && !llmd__map_get(other, "socketFile");
}

/* 1: the policy wants prompts rendered. One that cannot be read does not: its own reader will say why. */
static int policy_wants_tokens(const llmd_service *s)
{
  llmd__tree *tree = NULL;
  const llmd__node *plugins = NULL;
  int found = 0;
  if (!s->policy.len || llmd__tree_parse(NULL, s->policy.ptr, s->policy.len, NULL, &tree, NULL))
    return 0;
  if (llmd__get_list(llmd__tree_root(tree), "plugins", &plugins, NULL) > 0)
    for (const llmd__node *c = plugins->first; c && !found; c = c->next)
      found = has_renderer(c);
  llmd__tree_free(tree);
  return found;
}

/* The folders that a scheduler is told. */
static int conclude_folders(box *b)
{
  llmd_service *s = &b->pub;
  int rc = s->loader_dir[0] ? make_absolute(b, s->loader_dir, strlen(s->loader_dir), &s->loader_dir) : 0;
  if (!rc && b->policy_dir && b->policy_dir[0])
    return make_absolute(b, b->policy_dir, strlen(b->policy_dir), &s->policy_dir);
  s->policy_dir = b->policy_folder ? b->policy_folder : "";
  return rc;
}

/* What follows from other values: the region's name, the socket's. */
static int conclude(box *b)
{
  llmd_service *s = &b->pub;
  char text[512];
  int automatic = strcmp(b->socket, "auto") == 0;
  s->region_is_default = !b->region || !b->region[0];
  (void)snprintf(text, sizeof text, "/dev/shm/llmd-%u", (unsigned)geteuid());
  if (!s->region_is_default)
    s->region = b->region;
  else if (keep_text(b, text, strlen(text), &s->region))
    return LLMD_E_NOMEM;
  if (!automatic || !policy_wants_tokens(s)) {
    s->tokens.socket = automatic ? "" : b->socket;
    return LLMD_OK;
  }
  if (snprintf(text, sizeof text, "%s.sock", s->region) >= (int)sizeof text)
    return LLMD_E_LIMIT;
  return keep_text(b, text, strlen(text), &s->tokens.socket);
}

/* was: before it was read, or set. */
static int settle(box *b, const llmd_service *was)
{
  int rc;
  if (b->pub.region != was->region)
    b->region = b->pub.region;
  if (b->pub.tokens.socket != was->tokens.socket)
    b->socket = b->pub.tokens.socket;
  if (b->pub.policy_dir != was->policy_dir)
    b->policy_dir = b->pub.policy_dir;
  rc = conclude_folders(b);
  return rc ? rc : conclude(b);
}

static int read_all(box *b, const char *text, size_t len, llmd_err *err)
{
  const llmd_service was = {0};
  llmd__tree *tree = NULL;
  int rc = preset(b, &b->pub, NULL, err);
  if (!rc)
    rc = llmd__tree_parse(NULL, text, len, NULL, &tree, err);
  if (!rc)
    rc = read_top(b, llmd__tree_root(tree), err);
  if (!rc && settle(b, &was))
    rc = no_memory(err);
  llmd__tree_free(tree);
  return rc;
}

int llmd_service_read(const char *text, size_t len, const char *folder, llmd_service **out, llmd_err *err)
{
  box *b;
  int rc;
  if (!out || (!text && len))
    return LLMD_E_INVALID;
  b = calloc(1, sizeof *b);
  if (!b)
    return no_memory(err);
  b->pub.size = sizeof b->pub;
  b->pub.caps.size = sizeof b->pub.caps;
  b->pub.policy = b->pub.endpoints = (llmd_str){"", 0};
  b->pub.policy_file = b->pub.endpoints_file = "";
  b->folder = folder;
  rc = read_all(b, text ? text : "", len, err);
  b->folder = NULL;
  if (rc) {
    llmd_service_free(&b->pub);
    return rc;
  }
  *out = &b->pub;
  return LLMD_OK;
}

/* The setting "section.name" or "name". */
static const llmd__setting *find_setting(const char *key)
{
  const char *dot = strchr(key, '.');
  size_t section = dot ? (size_t)(dot - key) : 0;
  const char *name = dot ? dot + 1 : key;
  for (uint32_t i = 0; i < llmd__n_settings; i++) {
    const llmd__setting *s = &llmd__settings[i];
    if (strlen(s->section) == section && memcmp(s->section, key, section) == 0 && strcmp(s->name, name) == 0)
      return s;
  }
  return NULL;
}

/* "10.0.0.1:8000,10.0.0.2:8000" as a list; NULL: it is something else, or no memory. */
static char *as_list(const char *value)
{
  size_t first = strcspn(value, ","), n = strlen(value);
  llmd_str host;
  uint32_t port;
  char *list = strpbrk(value, "/[{\n") || llmd__split_address(value, first, &host, &port) ? NULL : malloc(n + 3);
  if (list)
    (void)snprintf(list, n + 3, "[%s]", value);
  return list;
}

static int set_value(box *b, const llmd__setting *s, const char *value, llmd_err *err);

static int set_endpoints(box *b, const llmd__setting *s, const char *value, llmd_err *err)
{
  char *list = as_list(value);
  int rc = set_value(b, s, list ? list : value, err);
  free(list);
  return rc;
}

/* A text is taken as it is, so that "[::1]:80" needs no quotes; what is more than that is read as in a file. */
static int set_value(box *b, const llmd__setting *s, const char *value, llmd_err *err)
{
  llmd__node plain = {.kind = LLMD__STR, .text = {value, strlen(value)}};
  llmd__tree *tree = NULL;
  int rc, document = s->kind >= LLMD__SET_POLICY && (strpbrk(value, "[{\n") || s->kind == LLMD__SET_DNS);
  if (s->kind >= LLMD__SET_TEXT && !document)
    return read_setting(b, &b->pub, s, &plain, err);
  rc = llmd__tree_parse(NULL, value, strlen(value), NULL, &tree, err);
  if (!rc && llmd__tree_root(tree)->kind == LLMD__NULL)
    rc = llmd__fail(err, LLMD_E_MISSING, 0, 0, NULL, "a value is needed");
  if (!rc)
    rc = read_setting(b, &b->pub, s, llmd__tree_root(tree), err);
  llmd__tree_free(tree);
  return rc;
}

int llmd_service_set(llmd_service *service, const char *key, const char *value, llmd_err *err)
{
  box *b = (box *)(void *)service;
  const llmd__setting *s = key ? find_setting(key) : NULL;
  llmd_service was;
  int rc;
  if (!service || !key || !value)
    return LLMD_E_INVALID;
  if (!s || strcmp(s->section, "dns[]") == 0)
    return llmd__fail(err, LLMD_E_UNKNOWN_FIELD, 0, 0, key, "there is no such key");
  was = *service;
  rc = s->kind == LLMD__SET_ENDPOINTS ? set_endpoints(b, s, value, err) : set_value(b, s, value, err);
  if (!rc && settle(b, &was))
    rc = no_memory(err);
  if (rc && err && err->size >= sizeof *err) {
    err->line = err->column = 0;
    (void)snprintf(err->path, sizeof err->path, "%s", key);
  }
  return rc;
}

void llmd_service_free(llmd_service *service)
{
  box *b = (box *)(void *)service;
  while (b && b->kept) {
    kept *k = b->kept;
    b->kept = k->next;
    free(k->p);
    free(k);
  }
  free(b);
}
