#define _POSIX_C_SOURCE 200809L
#include "engine_ask.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_skim.h"
#include "engine_tool.h"
#include "sim_rng.h"

/* ---- refusals ---- */

int engine_refuse(struct engine_refusal *r, uint32_t status, const char *type, const char *param, const char *format,
                  ...)
{
  va_list args;
  r->status = status;
  r->type = type;
  r->param = param;
  va_start(args, format);
  (void)vsnprintf(r->message, sizeof r->message, format, args);
  va_end(args);
  return -1;
}

void engine_refusal_text(const struct engine_refusal *r, struct engine_text *out)
{
  engine_text_add(out, "{\"error\":{\"message\":\"");
  engine_text_quote(out, r->message, strlen(r->message));
  engine_text_add(out, "\",\"type\":\"%s\",\"param\":", r->type);
  if (r->param)
    engine_text_add(out, "\"%s\"", r->param);
  else
    engine_text_add(out, "null");
  engine_text_add(out, ",\"code\":%" PRIu32 "}}", r->status);
}

static int refuse_memory(struct engine_refusal *r)
{
  return engine_refuse(r, 500, "InternalServerError", NULL, "out of memory");
}

static int refuse_json(struct engine_refusal *r)
{
  return engine_refuse(r, 400, "Bad Request", NULL, "1 validation error:\n  {'type': 'json_invalid', 'loc': "
                       "('body', 0), 'msg': 'JSON decode error', 'input': {}}");
}

static int refuse_missing(struct engine_refusal *r, const char *what, const char *param)
{
  return engine_refuse(r, 400, "Bad Request", param, "1 validation error:\n  {'type': 'missing', 'loc': 'body.%s', "
                       "'msg': 'Field required'}", what);
}

static int refuse_type(struct engine_refusal *r, const char *param)
{
  return engine_refuse(r, 400, "Bad Request", param, "1 validation error:\n  {'type': 'type', 'loc': '%s', "
                       "'msg': 'Input has another type'}", param);
}

/* ---- members ---- */

static const cJSON *member(const cJSON *o, const char *name)
{
  const cJSON *m = cJSON_GetObjectItemCaseSensitive(o, name);
  return cJSON_IsNull(m) ? NULL : m;
}

static int model_of(const struct engine_models *models, const char *name, size_t len, struct engine_ask *ask,
                    struct engine_refusal *r)
{
  ask->lora = ENGINE_BASE;
  if (len == strlen(models->name) && memcmp(name, models->name, len) == 0)
    return 0;
  for (uint32_t i = 0; i < models->n_lora; i++)
    if (len == strlen(models->lora[i]) && memcmp(name, models->lora[i], len) == 0) {
      ask->lora = (int)i;
      return 0;
    }
  return engine_refuse(r, 404, "NotFoundError", "model", "The model `%.*s` does not exist. Valid aliases: %s.",
                       len < 200 ? (int)len : 200, name, models->name);
}

/* A whole number of at least `least`. *out stays as it is when there is none. */
static int count_of(const cJSON *body, const char *name, double least, double *out, struct engine_refusal *r)
{
  const cJSON *m = member(body, name);
  if (!m)
    return 0;
  if (!cJSON_IsNumber(m))
    return refuse_type(r, name);
  if (!(m->valuedouble >= least))
    return engine_refuse(r, 400, "BadRequestError", name, "%s must be at least %.0f, got %g.", name, least,
                         m->valuedouble);
  *out = m->valuedouble;
  return 0;
}

/* Tokens of prompt and answer, given that so many are asked for (0 = nobody said). */
static int lengths(const struct engine_models *m, double wanted, uint32_t natural, struct engine_ask *ask,
                   struct engine_refusal *r)
{
  const uint32_t left = m->most_tokens > ask->n_prompt ? m->most_tokens - ask->n_prompt : 0;
  if (left == 0)
    return engine_refuse(r, 400, "BadRequestError", "input_tokens", "This model's maximum context length is %" PRIu32
                         " tokens. However, your prompt contains %" PRIu32 " input tokens, which exceeds this limit "
                         "even without any output tokens. Please reduce the length of the input prompt. "
                         "(parameter=input_tokens, value=%" PRIu32 ")", m->most_tokens, ask->n_prompt, ask->n_prompt);
  if (wanted > left)
    return engine_refuse(r, 400, "BadRequestError", "input_tokens", "This model's maximum context length is %" PRIu32
                         " tokens. However, you requested %.0f output tokens and your prompt contains %" PRIu32
                         " input tokens, for a total of %.0f tokens. Please reduce the length of the input prompt or "
                         "the number of requested output tokens. (parameter=input_tokens, value=%" PRIu32 ")",
                         m->most_tokens, wanted, ask->n_prompt, wanted + ask->n_prompt, ask->n_prompt);
  ask->finish = ENGINE_STOP;
  ask->n_answer = natural < left ? natural : left;
  if (natural > left || (wanted > 0 && wanted <= natural))
    ask->finish = ENGINE_LENGTH;
  if (wanted > 0 && wanted < ask->n_answer)
    ask->n_answer = (uint32_t)wanted;
  return 0;
}

/* ---- the prompt ---- */

static int ids_of(const cJSON *list, struct engine_ids *ids, struct engine_refusal *r)
{
  const cJSON *item;
  cJSON_ArrayForEach(item, list) {
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble < UINT32_MAX))
      return refuse_type(r, "body.prompt");
    engine_ids_add(ids, (uint32_t)item->valuedouble);
  }
  return 0;
}

/* Text, a list of ids, or a list with one of these in it. */
static int read_prompt(const cJSON *prompt, struct engine_ids *ids, struct engine_refusal *r)
{
  const cJSON *first = prompt && cJSON_IsArray(prompt) ? prompt->child : NULL;
  if (first && !cJSON_IsNumber(first)) {
    if (first->next)
      return engine_refuse(r, 400, "BadRequestError", "prompt", "This engine takes one prompt at a time.");
    prompt = first;
  }
  if (cJSON_IsString(prompt)) {
    engine_ids_begin(ids);
    engine_ids_text(ids, prompt->valuestring, strlen(prompt->valuestring));
    return 0;
  }
  return cJSON_IsArray(prompt) ? ids_of(prompt, ids, r) : refuse_type(r, "body.prompt");
}

static int read_chat(const cJSON *body, struct engine_ids *ids, struct engine_refusal *r)
{
  const cJSON *messages = member(body, "messages"), *open = member(body, "add_generation_prompt");
  const cJSON *tools = member(body, "tools");
  if (!messages)
    return refuse_missing(r, "messages", "body.messages");
  if (!cJSON_IsArray(messages) || (tools && !cJSON_IsArray(tools)))
    return refuse_type(r, tools && !cJSON_IsArray(tools) ? "body.tools" : "body.messages");
  if (engine_ids_chat(ids, messages, cJSON_GetArraySize(tools) > 0 ? tools : NULL, !cJSON_IsFalse(open)))
    return refuse_type(r, "body.messages");
  return 0;
}

static int read_tokens(const cJSON *body, int chat, struct engine_ask *ask, struct engine_refusal *r)
{
  const cJSON *prompt = member(body, "prompt");
  const int code = chat ? read_chat(body, &ask->ids, r)
                        : prompt ? read_prompt(prompt, &ask->ids, r) : refuse_missing(r, "prompt", "body.prompt");
  if (code)
    return code;
  if (ask->ids.failed)
    return refuse_memory(r);
  if (ask->ids.n == 0 || ask->ids.n > UINT32_MAX / 2)
    return engine_refuse(r, 400, "BadRequestError", "prompt", "The decoder prompt cannot be empty");
  ask->n_prompt = (uint32_t)ask->ids.n;
  return 0;
}

/* ---- the answer ---- */

/* The same prompt has the same answer, on every engine. */
static uint64_t seed_of(const struct engine_ids *ids)
{
  uint64_t seed = ids->n;
  for (size_t i = 0; i < ids->n; i++)
    seed = seed * 0x9e3779b97f4a7c15u + ids->id[i];
  return sim_mix(seed);
}

static uint32_t tokens_in(size_t bytes)
{
  return (uint32_t)((bytes + ENGINE_TOKEN_BYTES - 1) / ENGINE_TOKEN_BYTES);
}

/* Text of the answer, and its tokens behind the prompt's. */
static int make_answer(const struct engine_models *models, const cJSON *body, double wanted, struct engine_ask *ask,
                       struct engine_refusal *r)
{
  const int ignores_end = cJSON_IsTrue(member(body, "ignore_eos"));
  uint32_t natural = ignores_end && wanted > 0 ? (uint32_t)(wanted < 1e9 ? wanted : 1e9) : models->answer_tokens;
  int code;
  if (ask->tool)
    natural = tokens_in(ask->answer.len);
  code = lengths(models, wanted, natural, ask, r);
  if (code)
    return code;
  if (!ask->tool)
    engine_filler(&ask->answer, seed_of(&ask->ids), ask->n_answer);
  else if (ask->finish == ENGINE_STOP)
    ask->finish = ENGINE_TOOL;
  ask->answer.len = engine_token_start(ask->answer.ptr, ask->answer.len, ask->n_answer);
  engine_ids_text(&ask->ids, ask->answer.ptr, ask->answer.len);
  ask->ids.n = ask->n_prompt + (size_t)ask->n_answer; /* a cut character may have made one more */
  return ask->ids.failed || ask->answer.failed ? refuse_memory(r) : 0;
}

static int read_answer(const struct engine_models *models, const cJSON *body, struct engine_ask *ask,
                       struct engine_refusal *r)
{
  const cJSON *options = member(body, "stream_options"), *salt = member(body, "cache_salt");
  double wanted = 0, n = 1;
  if (count_of(body, "n", 1, &n, r) || count_of(body, "max_tokens", 1, &wanted, r) ||
      count_of(body, "max_completion_tokens", 1, &wanted, r))
    return -1;
  if (n > 1)
    return engine_refuse(r, 400, "BadRequestError", "n", "This engine gives one answer: n must be 1.");
  if (salt && (!cJSON_IsString(salt) || !*salt->valuestring))
    return engine_refuse(r, 400, "BadRequestError", "cache_salt", "Parameter 'cache_salt' must be a non-empty string "
                         "if provided.");
  ask->stream = cJSON_IsTrue(member(body, "stream"));
  if (options && !ask->stream)
    return engine_refuse(r, 400, "Bad Request", "stream_options", "Stream options can only be defined when "
                         "`stream=True`.");
  ask->usage = cJSON_IsTrue(member(options, "include_usage"));
  ask->continuous = ask->usage && cJSON_IsTrue(member(options, "continuous_usage_stats"));
  ask->return_ids = cJSON_IsTrue(member(body, "return_token_ids"));
  if (salt && !(ask->salt = strdup(salt->valuestring)))
    return refuse_memory(r);
  if (ask->chat && engine_tool_call(body, &ask->tool, &ask->answer, r))
    return -1;
  return make_answer(models, body, wanted, ask, r);
}

/* ---- all of it ---- */

/* Nothing but blanks may stand behind. */
static cJSON *parse(llmd_str body)
{
  const char *end = NULL;
  cJSON *root = cJSON_ParseWithLengthOpts(body.ptr ? body.ptr : "", body.len, &end, 0);
  while (root && end < body.ptr + body.len)
    if (!strchr(" \t\r\n", *end++) || !end[-1]) {
      cJSON_Delete(root);
      return NULL;
    }
  return root;
}

static int read_all(const struct engine_models *models, enum engine_purpose purpose, const cJSON *body,
                    struct engine_ask *ask, struct engine_refusal *r)
{
  const cJSON *model = member(body, "model");
  if (!cJSON_IsObject(body))
    return refuse_type(r, "body");
  if (model && !cJSON_IsString(model))
    return refuse_type(r, "body.model");
  ask->lora = ENGINE_BASE;
  if (model && model_of(models, model->valuestring, strlen(model->valuestring), ask, r))
    return -1;
  if (purpose == ENGINE_TOKENIZE)
    ask->chat = member(body, "messages") != NULL;
  if (read_tokens(body, ask->chat, ask, r))
    return -1;
  return purpose == ENGINE_TOKENIZE ? 0 : read_answer(models, body, ask, r);
}

int engine_ask_read(const struct engine_models *models, int chat, enum engine_purpose purpose, llmd_str body,
                    struct engine_ask *out, struct engine_refusal *r)
{
  struct engine_ask ask = {.chat = chat};
  cJSON *root = parse(body);
  int code = root ? read_all(models, purpose, root, &ask, r) : refuse_json(r);
  cJSON_Delete(root);
  if (code)
    engine_ask_free(&ask);
  else
    *out = ask;
  return code;
}

int engine_ask_skim(const struct engine_models *models, int chat, llmd_str body, struct engine_ask *out,
                    struct engine_refusal *r)
{
  struct engine_ask ask = {.chat = chat, .lora = ENGINE_BASE};
  struct engine_skim s;
  if (engine_skim(body, &s))
    return refuse_json(r);
  if (s.model.ptr && model_of(models, s.model.ptr, s.model.len, &ask, r))
    return -1;
  ask.n_prompt = tokens_in(body.len);
  ask.stream = s.stream;
  ask.usage = s.stream && s.include_usage;
  if (lengths(models, s.max_tokens, models->answer_tokens, &ask, r))
    return -1;
  engine_filler(&ask.answer, ask.n_prompt, ask.n_answer);
  if (ask.answer.failed) {
    engine_ask_free(&ask);
    return refuse_memory(r);
  }
  *out = ask;
  return 0;
}

void engine_ask_free(struct engine_ask *ask)
{
  free(ask->salt);
  free(ask->tool);
  engine_text_free(&ask->answer);
  engine_ids_free(&ask->ids);
  memset(ask, 0, sizeof *ask);
}
