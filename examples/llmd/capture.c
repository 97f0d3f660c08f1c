#include "capture.h"

#include <stdlib.h>
#include <string.h>

#include "hex.h"
#include "json.h"

#define CAPTURE_MAX ((size_t)1 << 30)
#define FRAMES_MAX 8

int capture_open(const char *path, struct capture *out)
{
  const int code = file_read(path, CAPTURE_MAX, &out->file);
  const unsigned char first = out->file.len ? (unsigned char)out->file.text[0] : 0;
  if (code)
    return code;
  out->whole = first >= 0x80; /* an array or a map; text begins with ASCII */
  return 0;
}

void capture_close(struct capture *c)
{
  free(c->bytes);
  free(c->file.text);
}

/* Turns hex text into bytes at out (half as many). *at (may be NULL): where it is none, or where half a byte ends. */
static int unhex(const char *text, size_t len, char *out, size_t *at)
{
  size_t i = 0;
  while (i < len && hex_digit(text[i]) >= 0)
    i++;
  if (at)
    *at = i;
  if (i < len || len % 2)
    return LLMD_E_SYNTAX;
  for (i = 0; i < len; i += 2)
    out[i / 2] = (char)(hex_digit(text[i]) << 4 | hex_digit(text[i + 1]));
  return 0;
}

static int read_payload(struct capture *c, const char *line, size_t len, struct message *m)
{
  m->frames.payload = (llmd_str){c->bytes, len / 2};
  return unhex(line, len, c->bytes, &m->at);
}

/* Live messages and answers to replays have different shapes but for the older answer, which reads the same. */
static int sort_frames(const llmd_str *frame, uint32_t n, struct message *m)
{
  m->framed = 1;
  if (llmd_frames_read(LLMD_FRAMES_LIVE, frame, n, &m->frames) == 0)
    return 0;
  return llmd_frames_read(LLMD_FRAMES_REPLAY, frame, n, &m->frames);
}

static int read_frames(struct capture *c, const cJSON *list, struct message *m)
{
  llmd_str frame[FRAMES_MAX];
  uint32_t n = 0;
  char *to = c->bytes;
  const cJSON *item;
  cJSON_ArrayForEach(item, list) {
    const char *text = cJSON_GetStringValue(item);
    const size_t len = text ? strlen(text) : 0;
    if (!text || n == FRAMES_MAX || unhex(text, len, to, NULL))
      return LLMD_E_SYNTAX;
    frame[n++] = (llmd_str){to, len / 2};
    to += len / 2;
  }
  return sort_frames(frame, n, m);
}

/* 1: a message, or something that is none; 0: a line to pass over. */
static int read_line(struct capture *c, const char *line, size_t len, struct message *m)
{
  cJSON *json;
  const cJSON *list;
  const char *end = line;
  if (*line != '{') {
    m->code = read_payload(c, line, len, m);
    return 1;
  }
  json = cJSON_ParseWithLengthOpts(line, len, &end, 0);
  m->at = json ? 0 : (size_t)(end - line);
  list = cJSON_GetObjectItemCaseSensitive(json, "frames");
  m->code = json && (!list || cJSON_IsArray(list)) ? 0 : LLMD_E_SYNTAX;
  if (list && m->code == 0)
    m->code = read_frames(c, list, m);
  cJSON_Delete(json);
  return list || m->code;
}

static int next_line(struct capture *c, struct message *out)
{
  while (c->at < c->file.len) {
    const char *line = c->file.text + c->at, *end = memchr(line, '\n', c->file.len - c->at);
    size_t len = end ? (size_t)(end - line) : c->file.len - c->at;
    c->at += len + 1;
    c->line++;
    while (len && (line[len - 1] == '\r' || line[len - 1] == ' '))
      len--;
    if (len == 0)
      continue;
    out->line = c->line;
    free(c->bytes);
    c->bytes = malloc(len); /* two digits make a byte: more than enough */
    out->code = LLMD_E_NOMEM;
    if (!c->bytes || read_line(c, line, len, out))
      return 1;
  }
  return 0;
}

int capture_next(struct capture *c, struct message *out)
{
  *out = (struct message){.frames = {.size = sizeof out->frames}};
  if (!c->whole)
    return next_line(c, out);
  if (c->at)
    return 0;
  c->at = c->file.len;
  out->line = 1;
  out->frames.payload = (llmd_str){c->file.text, c->file.len};
  return 1;
}
