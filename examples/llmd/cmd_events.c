/* llmd events: what an engine's KV events say, or where a message is not what it should be. */
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <llmd/events.h>

#include "capture.h"
#include "json.h"
#include "shell.h"

static const char help[] =
  "Usage: llmd events [OPTION]... FILE\n"
  "\n"
  "Reads KV events as engines publish them (vLLM, SGLang; msgpack). FILE is one payload as it is, or\n"
  "captured messages, a line each: {\"frames\": [\"<hex>\", ...]}, or a payload in hex. Prints a summary,\n"
  "and a line for everything that is wrong, with the byte of the payload (or of a line that is none).\n"
  "\n"
  "  --json          one object: counts, and every message with its events\n"
  "  --help\n"
  "\n"
  "Exit code 1 when a message or an event is malformed.\n"
  "\n"
  "Examples:\n"
  "  llmd events frames.jsonl\n"
  "  llmd events --json payload.bin | jq '.messages[].events[].names'\n";

#define KINDS 6u /* LLMD_EVENT_* and one more */
static const char *const kinds[KINDS] = {"", "stored", "removed", "cleared", "unknown", "bad"};
static const char *const tiers[] = {"gpu", "cpu", "disk", "remote"};
#define TIERS (sizeof tiers / sizeof tiers[0])

struct events {
  const char *command, *path;
  cJSON *messages; /* with --json */
  cJSON *list;     /* of the message that is being read */
  const struct message *message;
  void *buffer;
  uint64_t n, refused, ends;
  uint64_t events[KINDS], blocks[KINDS], tier[TIERS];
  uint64_t tokens, named_by_digest;
  uint32_t block_size, block_sizes; /* one of them, and how many different in a row */
  uint64_t first_seq, last_seq, gaps;
  int has_seq;
};

/* ---- an event as JSON. 0, or LLMD_E_NOMEM ---- */

static int add_text(cJSON *o, const char *name, const char *text)
{
  return cJSON_AddStringToObject(o, name, text) ? 0 : LLMD_E_NOMEM;
}

static int add_hex(cJSON *o, const char *name, llmd_str bytes)
{
  char *text = malloc(2 * bytes.len + 1);
  int rc;
  if (!text)
    return LLMD_E_NOMEM;
  text[0] = 0;
  for (size_t i = 0; i < bytes.len; i++)
    (void)snprintf(text + 2 * i, 3, "%02x", (unsigned)(unsigned char)bytes.ptr[i]);
  rc = cJSON_AddStringToObject(o, name, text) ? 0 : LLMD_E_NOMEM;
  free(text);
  return rc;
}

/* Numbers of 64 bits are more than cJSON's, and there may be many: text. */
static int add_numbers(cJSON *o, const char *name, const uint64_t *wide, const uint32_t *narrow, uint32_t n)
{
  struct json_text list = {0};
  char text[32];
  int rc = json_collect(&list, "[", 1);
  for (uint32_t i = 0; rc == 0 && i < n; i++) {
    const int len = snprintf(text, sizeof text, "%s%" PRIu64, i ? "," : "", wide ? wide[i] : narrow[i]);
    rc = json_collect(&list, text, (size_t)len);
  }
  rc = rc || json_collect(&list, "]", 1) || !cJSON_AddRawToObject(o, name, list.text) ? LLMD_E_NOMEM : 0;
  free(list.text);
  return rc;
}

static int add_digests(cJSON *o, const llmd_event *e)
{
  cJSON *list = e->digest ? cJSON_AddArrayToObject(o, "digests") : NULL;
  int rc = e->digest && !list ? LLMD_E_NOMEM : 0;
  for (uint32_t i = 0; list && rc == 0 && i < e->n_names; i++) {
    cJSON *box = cJSON_CreateObject(), *item;
    rc = box ? add_hex(box, "x", e->digest[i]) : LLMD_E_NOMEM;
    item = rc ? NULL : cJSON_DetachItemFromObject(box, "x");
    if (rc == 0 && !cJSON_AddItemToArray(list, item)) {
      cJSON_Delete(item);
      rc = LLMD_E_NOMEM;
    }
    cJSON_Delete(box);
  }
  return rc;
}

static int add_extras(cJSON *o, const llmd_event *e)
{
  cJSON *list = e->n_extra ? cJSON_AddArrayToObject(o, "extra") : NULL;
  int rc = e->n_extra && !list ? LLMD_E_NOMEM : 0;
  for (uint32_t i = 0; rc == 0 && i < e->n_extra; i++) {
    cJSON *x = cJSON_CreateObject();
    if (!x || !cJSON_AddItemToArray(list, x)) {
      cJSON_Delete(x);
      return LLMD_E_NOMEM;
    }
    rc = json_add_u64(x, "block", e->extra[i].block);
    rc = rc ? rc : json_add_str(x, "text", e->extra[i].text);
  }
  return rc;
}

static int add_names(cJSON *o, const llmd_event *e)
{
  int rc = add_numbers(o, "names", e->name, NULL, e->n_names);
  rc = rc ? rc : add_digests(o, e);
  if (rc == 0 && e->has_parent)
    rc = json_add_u64(o, "parent", e->parent);
  if (rc == 0 && e->parent_digest.ptr)
    rc = add_hex(o, "parent_digest", e->parent_digest);
  return rc;
}

static int add_place(cJSON *o, const llmd_event *e)
{
  static const char *const attentions[] = {NULL, "full", "sliding", "other"};
  int rc = add_text(o, "tier", tiers[e->tier]);
  if (rc == 0 && e->has_group)
    rc = json_add_u64(o, "group", e->group);
  if (rc == 0 && e->attention)
    rc = add_text(o, "attention", attentions[e->attention]);
  if (rc == 0 && e->window)
    rc = json_add_u64(o, "window", e->window);
  return rc;
}

static int add_strings(cJSON *o, const llmd_event *e)
{
  const struct { const char *name; llmd_str value; } rows[] = {
    {"lora", e->lora}, {"medium", e->medium}, {"locality", e->locality}, {"ownership", e->ownership},
    {"session", e->session}, {"salt", e->salt},
  };
  int rc = 0;
  for (size_t i = 0; rc == 0 && i < sizeof rows / sizeof rows[0]; i++)
    rc = json_add_str(o, rows[i].name, rows[i].value);
  return rc;
}

static int add_stored(cJSON *o, const llmd_event *e)
{
  int rc = add_numbers(o, "tokens", NULL, e->token, e->n_tokens);
  rc = rc ? rc : json_add_u64(o, "block_size", e->block_size);
  if (rc == 0 && e->lora_id >= 0)
    rc = json_add_i64(o, "lora_id", e->lora_id);
  return rc ? rc : add_extras(o, e);
}

static int add_error(cJSON *o, int code, int64_t offset)
{
  if (add_text(o, "code", llmd_errname(code)) || add_text(o, "text", llmd_strerror(code)))
    return LLMD_E_NOMEM;
  return offset < 0 ? 0 : json_add_i64(o, "offset", offset);
}

static int fill_event(cJSON *o, const llmd_event *e)
{
  int rc = add_text(o, "kind", kinds[e->kind]);
  rc = rc ? rc : json_add_str(o, "type", e->type);
  if (rc == 0 && e->kind == LLMD_EVENT_BAD)
    return add_error(o, e->code, e->offset);
  rc = rc ? rc : json_add_u64(o, "offset", e->offset);
  if (rc || (e->kind != LLMD_EVENT_STORED && e->kind != LLMD_EVENT_REMOVED))
    return rc;
  rc = add_names(o, e);
  if (rc == 0 && e->kind == LLMD_EVENT_STORED)
    rc = add_stored(o, e);
  rc = rc ? rc : add_place(o, e);
  return rc ? rc : add_strings(o, e);
}

/* ---- counting ---- */

static void count_event(struct events *v, const llmd_event *e)
{
  v->events[e->kind]++;
  if (e->kind != LLMD_EVENT_STORED && e->kind != LLMD_EVENT_REMOVED)
    return;
  v->blocks[e->kind] += e->n_names;
  v->tokens += e->n_tokens;
  v->tier[e->tier] += e->kind == LLMD_EVENT_STORED ? e->n_names : 0;
  v->named_by_digest += e->name_form == LLMD_NAME_DIGEST;
  if (e->block_size && e->block_size != v->block_size) {
    v->block_size = e->block_size;
    v->block_sizes++;
  }
}

static void count_seq(struct events *v, uint64_t seq)
{
  if (!v->has_seq)
    v->first_seq = seq;
  else
    v->gaps += seq != v->last_seq + 1;
  v->last_seq = seq;
  v->has_seq = 1;
}

static void place(const struct events *v, char *text, size_t size)
{
  int n = snprintf(text, size, "%s:%u", v->path, v->message->line);
  if (v->message->framed && v->message->code == 0 && n > 0 && (size_t)n < size)
    (void)snprintf(text + n, size - (size_t)n, " (seq %" PRIu64 ")", v->message->frames.seq);
}

static int take_event(void *ud, const llmd_batch_head *head, const llmd_event *e)
{
  struct events *v = ud;
  char where[300];
  cJSON *o;
  (void)head;
  count_event(v, e);
  place(v, where, sizeof where);
  if (e->kind == LLMD_EVENT_BAD)
    fprintf(stderr, "%s: bad event at byte %" PRIu32 ": %s\n", where, e->offset, llmd_strerror(e->code));
  if (!v->list)
    return 0;
  o = cJSON_CreateObject();
  if (!o || !cJSON_AddItemToArray(v->list, o)) {
    cJSON_Delete(o);
    return 1;
  }
  return fill_event(o, e);
}

/* ---- a message ---- */

static int add_frames(cJSON *o, const struct message *m)
{
  int rc = json_add_u64(o, "line", m->line);
  if (rc || !m->framed || m->code)
    return rc;
  if (m->frames.end)
    return cJSON_AddTrueToObject(o, "end") ? 0 : LLMD_E_NOMEM;
  if (m->frames.has_topic)
    rc = json_add_str(o, "topic", m->frames.topic);
  return rc ? rc : json_add_u64(o, "seq", m->frames.seq);
}

static int refuse_message(struct events *v, cJSON *o, int code, int64_t offset)
{
  char where[300], at[40] = "";
  cJSON *error;
  v->refused++;
  place(v, where, sizeof where);
  if (offset >= 0)
    (void)snprintf(at, sizeof at, " (byte %" PRId64 ")", offset);
  fprintf(stderr, "%s: no batch of events: %s%s\n", where, llmd_strerror(code), at);
  if (!o)
    return 0;
  error = cJSON_AddObjectToObject(o, "error");
  return error ? add_error(error, code, offset) : LLMD_E_NOMEM;
}

struct decoding {
  struct events *events;
  cJSON *object;
};

/* The batch's head is known with its first event. */
static int take_first(void *ud, const llmd_batch_head *head, const llmd_event *e)
{
  const struct decoding *d = ud;
  cJSON *o = d->object;
  if (o && !cJSON_HasObjectItem(o, "ts")) {
    if (json_add_number(o, "ts", head->ts) ||
        (head->rank < 0 ? !cJSON_AddNullToObject(o, "rank") : json_add_i64(o, "rank", head->rank) != 0))
      return 1;
  }
  return take_event(d->events, head, e);
}

static int read_message(struct events *v, const struct message *m, cJSON *o)
{
  struct decoding d = {v, o};
  uint32_t offset = 0;
  int rc;
  if (m->code)
    return m->code == LLMD_E_NOMEM ? m->code : refuse_message(v, o, m->code, (int64_t)m->at);
  if (m->frames.end) {
    v->ends++;
    return 0;
  }
  if (m->framed)
    count_seq(v, m->frames.seq);
  v->list = o ? cJSON_CreateArray() : NULL;
  if (o && !v->list)
    return LLMD_E_NOMEM;
  rc = llmd_events_decode(m->frames.payload.ptr, m->frames.payload.len, NULL, v->buffer, take_first, &d, &offset);
  if (o && (rc < 0 || !cJSON_AddItemToObject(o, "events", v->list)))
    cJSON_Delete(v->list);
  v->list = NULL;
  if (rc == LLMD_E_STOPPED)
    return LLMD_E_NOMEM;
  return rc < 0 ? refuse_message(v, o, rc, offset) : 0;
}

static int take_message(struct events *v, const struct message *m)
{
  cJSON *o = NULL;
  v->n++;
  v->message = m;
  if (v->messages) {
    o = cJSON_CreateObject();
    if (!o || !cJSON_AddItemToArray(v->messages, o)) {
      cJSON_Delete(o);
      return LLMD_E_NOMEM;
    }
    if (add_frames(o, m))
      return LLMD_E_NOMEM;
  }
  return read_message(v, m, o);
}

/* ---- the whole ---- */

static int print_json(struct events *v)
{
  cJSON *root = cJSON_CreateObject(), *counts = cJSON_CreateObject();
  int rc = root && counts ? 0 : LLMD_E_NOMEM;
  for (uint32_t kind = 1; rc == 0 && kind < KINDS; kind++)
    rc = json_add_u64(counts, kinds[kind], v->events[kind]);
  rc = rc ? rc : json_add_u64(root, "n_messages", v->n);
  rc = rc ? rc : json_add_u64(root, "refused", v->refused);
  if (rc || !cJSON_AddItemToObject(root, "events", counts)) {
    cJSON_Delete(root);
    cJSON_Delete(counts);
    return LLMD_E_NOMEM;
  }
  if (!cJSON_AddItemToObject(root, "messages", v->messages)) {
    cJSON_Delete(root);
    return LLMD_E_NOMEM;
  }
  v->messages = NULL;
  return json_print(stdout, root);
}

static void print_kind(const struct events *v, uint32_t kind)
{
  printf("%-10s %10" PRIu64 " events", kinds[kind], v->events[kind]);
  if (kind <= LLMD_EVENT_REMOVED)
    printf(" %10" PRIu64 " blocks", v->blocks[kind]);
  if (kind == LLMD_EVENT_STORED)
    printf(" %10" PRIu64 " tokens", v->tokens);
  putchar('\n');
}

static void print_table(const struct events *v)
{
  printf("%-10s %10" PRIu64 "%s", "messages", v->n, v->refused || v->ends ? "" : "\n");
  if (v->ends)
    printf(" %10" PRIu64 " of them ends of replays%s", v->ends, v->refused ? "" : "\n");
  if (v->refused)
    printf(" %10" PRIu64 " of them refused\n", v->refused);
  if (v->has_seq)
    printf("%-10s %10" PRIu64 " to %" PRIu64 ", %" PRIu64 " gaps\n", "seq", v->first_seq, v->last_seq, v->gaps);
  for (uint32_t kind = 1; kind < KINDS; kind++)
    print_kind(v, kind);
  for (size_t tier = 0; tier < TIERS; tier++)
    if (v->tier[tier])
      printf("%-10s %10" PRIu64 " blocks stored\n", tiers[tier], v->tier[tier]);
  if (v->block_sizes)
    printf("%-10s %10" PRIu32 " tokens%s\n", "block", v->block_size, v->block_sizes > 1 ? ", and others" : "");
  printf("%-10s %10s\n", "names", v->named_by_digest ? "digests" : "integers");
}

static int read_all(struct events *v)
{
  struct capture c = {0};
  struct message m;
  int code = capture_open(v->path, &c), rc = 0;
  if (code)
    return code;
  while (rc == 0 && capture_next(&c, &m))
    rc = take_message(v, &m);
  capture_close(&c);
  if (rc == 0 && v->n == 0)
    return shell_refuse(v->command, "%s: no message in it", v->path);
  if (rc == 0 && v->messages)
    rc = print_json(v);
  else if (rc == 0)
    print_table(v);
  if (rc)
    return shell_refuse(v->command, "%s", llmd_strerror(rc));
  return v->refused || v->events[LLMD_EVENT_BAD] ? EXIT_REFUSED : EXIT_RIGHT;
}

static int run(int argc, char **argv)
{
  enum { JSON = 256 };
  static const struct option long_options[] = {{"json", 0, NULL, JSON}, {"help", 0, NULL, 'h'}, {0}};
  struct events v = {.command = argv[0]};
  int option, code, json = 0;
  opterr = 0;
  while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1)
    switch (option) {
    case 'h': return shell_help(&cmd_events);
    case JSON: json = 1; break;
    default: return shell_option(argv[0], option, argv);
    }
  if (argc - optind != 1)
    return shell_usage(argv[0], optind < argc ? "one file at a time" : "which events?");
  v.path = argv[optind];
  v.buffer = malloc(llmd_events_buffer(NULL));
  v.messages = json ? cJSON_CreateArray() : NULL;
  code = v.buffer && (!json || v.messages) ? read_all(&v) : shell_refuse(argv[0], "out of memory");
  cJSON_Delete(v.messages);
  free(v.buffer);
  return code;
}

const struct command cmd_events = {
  .name = "events", .summary = "what an engine's KV events say", .help = help, .run = run};
