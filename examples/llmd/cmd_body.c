/* llmd body: what the body reader found in a request, or where it stopped. */
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "session.h"
#include "shell.h"

static const char help[] =
  "Usage: llmd body [OPTION]... FILE\n"
  "\n"
  "Reads the body of a request as libllmd does and prints what it found as JSON: dialect, model,\n"
  "limits, the prompt's segments in the order in which the engine sees them, and the edits to make\n"
  "before it is sent on. When the body is refused: the error, and the byte where it is.\n"
  "\n"
  "  --path PATH      the request's path, which says what kind of body this is (default\n"
  "                   /v1/chat/completions)\n"
  "  --headers FILE   request headers, a line each: Name: value\n"
  "  -H HEADER        one more header\n"
  "  --text           each segment with its text, as it stands in the body\n"
  "  --truncated      the file is only the beginning of the body\n"
  "  --json           what is printed anyway\n"
  "  --help\n"
  "\n"
  "Examples:\n"
  "  llmd body chat.json\n"
  "  llmd body --path /v1/messages claude.json | jq .segments\n"
  "  head -c 4096 big.json | llmd body --truncated -\n";

struct body {
  const char *command;
  const char *path;
  struct headers headers;
  int text, truncated;
};

static const char *dialect_name(uint32_t dialect)
{
  static const char *const names[] = {
    "", "openai-chat", "openai-completions", "openai-responses", "openai-embeddings", "anthropic-messages",
    "vllm-generate", "sglang-generate", "openai-other", "passthrough",
  };
  return dialect < sizeof names / sizeof names[0] ? names[dialect] : "";
}

static const char *kind_name(uint32_t kind)
{
  static const char *const names[] = {"", "text", "role", "tools", "ids", "media"};
  return kind < sizeof names / sizeof names[0] ? names[kind] : "";
}

/* ---- pieces. 0, or LLMD_E_NOMEM ---- */

static int add_text(cJSON *o, const char *name, const char *text)
{
  return cJSON_AddStringToObject(o, name, text) ? 0 : LLMD_E_NOMEM;
}

static int add_flags(cJSON *root, uint32_t flags)
{
  static const char *const names[] = {"final",     "truncated", "stream",   "multimodal",
                                      "token-ids", "no-body",   "saturated"};
  cJSON *list = cJSON_AddArrayToObject(root, "flags");
  for (uint32_t i = 0; list && i < sizeof names / sizeof names[0]; i++)
    if (flags >> i & 1 && !cJSON_AddItemToArray(list, cJSON_CreateString(names[i])))
      return LLMD_E_NOMEM;
  return list ? 0 : LLMD_E_NOMEM;
}

static int add_strings(cJSON *root, const llmd_request_info *i)
{
  const struct { const char *name; llmd_str value; } rows[] = {
    {"path", i->path}, {"model", i->model}, {"cache_salt", i->cache_salt}, {"lora", i->lora},
    {"request_id", i->request_id}, {"fairness_id", i->fairness_id}, {"objective", i->objective},
    {"model_rewrite", i->model_rewrite}, {"session", i->session}, {"session_token", i->session_token},
  };
  int rc = 0;
  for (size_t k = 0; rc == 0 && k < sizeof rows / sizeof rows[0]; k++)
    rc = json_add_str(root, rows[k].name, rows[k].value);
  return rc;
}

static int add_numbers(cJSON *root, const llmd_request_info *i)
{
  int rc = 0;
  if (i->max_tokens >= 0)
    rc = json_add_i64(root, "max_tokens", i->max_tokens);
  if (rc == 0 && i->priority)
    rc = json_add_i64(root, "priority", i->priority);
  if (rc == 0 && !isnan(i->slo_ttft_ms))
    rc = json_add_number(root, "slo_ttft_ms", i->slo_ttft_ms);
  if (rc == 0 && !isnan(i->slo_tpot_ms))
    rc = json_add_number(root, "slo_tpot_ms", i->slo_tpot_ms);
  if (rc == 0)
    rc = json_add_u64(root, "prompts", i->prompts);
  if (rc == 0)
    rc = json_add_u64(root, "prompt_bytes", i->prompt_bytes);
  if (rc == 0 && i->flags & LLMD_REQUEST_TOKEN_IDS)
    rc = json_add_u64(root, "token_ids", i->token_ids);
  return rc;
}

/* Raw JSON is whole unless a truncated body broke off inside it. */
static int is_whole(const char *at, size_t bytes)
{
  cJSON *read = cJSON_ParseWithLength(at, bytes);
  cJSON_Delete(read);
  return read != NULL;
}

/* A segment's bytes are the inside of a JSON string (whole characters, even where a truncated body breaks off), or JSON
 * themselves: where that breaks off it is quoted. */
static int add_segment_text(cJSON *o, const llmd_segment *g, const struct file *body)
{
  int string = g->kind == LLMD_SEGMENT_TEXT || g->kind == LLMD_SEGMENT_ROLE;
  const char *at = body->text + g->offset;
  char *raw;
  cJSON *item;
  if (g->kind == LLMD_SEGMENT_MEDIA || g->offset + g->bytes > body->len)
    return 0;
  if (!string && !is_whole(at, g->bytes))
    return json_add_str(o, "text", (llmd_str){at, g->bytes});
  raw = malloc(g->bytes + 3);
  if (!raw)
    return LLMD_E_NOMEM;
  (void)snprintf(raw, g->bytes + 3, string ? "\"%.*s\"" : "%.*s", (int)g->bytes, at);
  item = cJSON_AddRawToObject(o, "text", raw);
  free(raw);
  return item ? 0 : LLMD_E_NOMEM;
}

static int add_segment(cJSON *list, const struct body *b, const llmd_segment *g, const struct file *body)
{
  cJSON *o = cJSON_CreateObject();
  int rc = 0;
  if (!o || !cJSON_AddItemToArray(list, o)) {
    cJSON_Delete(o);
    return LLMD_E_NOMEM;
  }
  rc = add_text(o, "kind", kind_name(g->kind));
  if (rc == 0)
    rc = json_add_u64(o, "prompt", g->prompt);
  if (rc == 0)
    rc = json_add_u64(o, "offset", g->offset);
  if (rc == 0)
    rc = json_add_u64(o, "bytes", g->bytes);
  if (rc == 0 && g->escaped)
    rc = cJSON_AddTrueToObject(o, "escaped") ? 0 : LLMD_E_NOMEM;
  return rc || !b->text ? rc : add_segment_text(o, g, body);
}

static int add_segments(cJSON *root, const struct body *b, const llmd_request *r, const struct file *body)
{
  cJSON *list = cJSON_AddArrayToObject(root, "segments");
  llmd_segment g = {.size = sizeof g};
  int rc = list ? 0 : LLMD_E_NOMEM;
  for (uint32_t i = 0; rc == 0 && llmd_request_segment(r, i, &g) == 0; i++)
    rc = add_segment(list, b, &g, body);
  return rc;
}

static int add_edits(cJSON *root, const llmd_request *r)
{
  llmd_edit edit[64];
  int n = llmd_request_edits(r, edit, sizeof edit / sizeof edit[0]), rc;
  cJSON *list = cJSON_AddArrayToObject(root, "edits");
  rc = list ? 0 : LLMD_E_NOMEM;
  for (int i = 0; rc == 0 && i < n && i < (int)(sizeof edit / sizeof edit[0]); i++) {
    cJSON *o = cJSON_CreateObject();
    if (!o || !cJSON_AddItemToArray(list, o)) {
      cJSON_Delete(o);
      return LLMD_E_NOMEM;
    }
    rc = json_add_u64(o, "offset", edit[i].offset);
    if (rc == 0)
      rc = json_add_u64(o, "removed", edit[i].removed);
    if (rc == 0)
      rc = json_add_str(o, "text", (llmd_str){edit[i].text.ptr ? edit[i].text.ptr : "", edit[i].text.len});
  }
  return rc;
}

static int add_error(cJSON *root, const llmd_request_info *i, const struct file *body)
{
  unsigned line, column;
  cJSON *o = cJSON_AddObjectToObject(root, "error");
  file_place(body, i->error_offset, &line, &column);
  if (!o || add_text(o, "code", llmd_errname(i->error)) || add_text(o, "text", llmd_strerror(i->error)) ||
      json_add_u64(o, "offset", i->error_offset) || json_add_u64(o, "line", line) || json_add_u64(o, "column", column))
    return LLMD_E_NOMEM;
  return 0;
}

/* ---- the whole ---- */

static int fill(cJSON *root, const struct body *b, const llmd_request *r, const llmd_request_info *i,
                const struct file *body)
{
  int rc = add_text(root, "dialect", dialect_name(i->dialect));
  if (rc == 0)
    rc = json_add_u64(root, "body_bytes", i->body_bytes);
  if (rc == 0)
    rc = add_flags(root, i->flags);
  if (rc == 0)
    rc = add_strings(root, i);
  if (rc == 0 && i->error)
    return add_error(root, i, body);
  if (rc == 0)
    rc = add_numbers(root, i);
  if (rc == 0)
    rc = add_segments(root, b, r, body);
  return rc ? rc : add_edits(root, r);
}

static int print_found(const struct body *b, const llmd_request *r, const struct file *body)
{
  llmd_request_info info = {.size = sizeof info};
  cJSON *root = cJSON_CreateObject();
  int rc = root ? llmd_request_get(r, &info) : LLMD_E_NOMEM;
  if (rc == 0)
    rc = fill(root, b, r, &info, body);
  if (rc)
    cJSON_Delete(root);
  else
    rc = json_print(stdout, root);
  return rc ? shell_refuse(b->command, "%s", llmd_strerror(rc)) : 0;
}

static int read_body(const struct body *b, const char *path)
{
  struct file body;
  llmd_request *r;
  int code = file_read(path, BODY_MAX, &body), refused;
  if (code)
    return code;
  code = request_make(b->command, b->path, &b->headers, &body,
                      LLMD_FEED_KEEP | LLMD_FEED_FINAL | (b->truncated ? LLMD_FEED_TRUNCATED : 0), &r);
  if (code == 0) {
    refused = request_blame(r, path, &body);
    code = print_found(b, r, &body);
    code = code ? code : refused;
    request_free(r);
  }
  free(body.text);
  return code;
}

static int run(int argc, char **argv)
{
  enum { PATH = 256, HEADERS, TEXT, TRUNCATED, JSON };
  static const struct option long_options[] = {
    {"path", 1, NULL, PATH}, {"headers", 1, NULL, HEADERS}, {"text", 0, NULL, TEXT},
    {"truncated", 0, NULL, TRUNCATED}, {"json", 0, NULL, JSON}, {"help", 0, NULL, 'h'}, {0},
  };
  struct body b = {.command = argv[0], .path = "/v1/chat/completions"};
  int option;
  opterr = 0;
  while ((option = getopt_long(argc, argv, ":hH:", long_options, NULL)) != -1)
    switch (option) {
    case 'h': return shell_help(&cmd_body);
    case 'H':
      if (b.headers.n_lines == sizeof b.headers.line / sizeof b.headers.line[0])
        return shell_usage(argv[0], "-H: too many; use --headers FILE");
      b.headers.line[b.headers.n_lines++] = optarg;
      break;
    case PATH: b.path = optarg; break;
    case HEADERS: b.headers.file = optarg; break;
    case TEXT: b.text = 1; break;
    case TRUNCATED: b.truncated = 1; break;
    case JSON: break;
    default: return shell_option(argv[0], option, argv);
    }
  if (argc - optind != 1)
    return shell_usage(argv[0], optind < argc ? "one body at a time" : "which body?");
  return read_body(&b, argv[optind]);
}

const struct command cmd_body = {
  .name = "body", .summary = "what the reader finds in a request's body", .help = help, .run = run};
