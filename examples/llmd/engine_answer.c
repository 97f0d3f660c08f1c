/* How vLLM spells answers. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <string.h>

#include "engine.h"

static const char *finish_of(const struct engine_call *call)
{
  static const char *const names[] = {"\"length\"", "\"stop\"", "\"tool_calls\""};
  return names[call->ask.finish];
}

static void put_id(const struct engine_call *call, struct engine_text *out)
{
  const struct engine *e = call->engine;
  const char *name = call->ask.lora == ENGINE_BASE ? e->options.models.name : e->options.models.lora[call->ask.lora];
  engine_text_add(out, "{\"id\":\"%s-%016" PRIx64 "\",\"object\":\"%s%s\",\"created\":%" PRId64 ",\"model\":\"",
                  call->ask.chat ? "chatcmpl" : "cmpl", call->number,
                  call->ask.chat ? "chat.completion" : "text_completion",
                  call->ask.chat && call->ask.stream ? ".chunk" : "", call->created);
  engine_text_quote(out, name, strlen(name));
}

static void put_fingerprint(const struct engine_call *call, struct engine_text *out)
{
  engine_text_add(out, "\"system_fingerprint\":\"llmd-engine-%s\"", call->engine->address);
}

static void put_ids(const uint32_t *id, uint32_t n, struct engine_text *out)
{
  engine_text_add(out, "[");
  for (uint32_t i = 0; i < n; i++)
    engine_text_add(out, i ? ",%" PRIu32 : "%" PRIu32, id[i]);
  engine_text_add(out, "]");
}

/* Blocks of the prompt that were not there before; completions do not say. */
static void put_details(const struct engine_call *call, struct engine_text *out)
{
  const uint32_t size = call->engine->options.block_size;
  const uint32_t whole = call->ask.n_prompt / size * size;
  engine_text_add(out, "\"prompt_tokens_details\":{\"cached_tokens\":%" PRIu32 ",\"created_cache_tokens\":",
                  call->cached);
  if (call->ask.chat)
    engine_text_add(out, "%" PRIu32, whole > call->cached ? whole - call->cached : 0);
  else
    engine_text_add(out, "null");
}

static void put_counts(const struct engine_call *call, uint32_t n, struct engine_text *out)
{
  engine_text_add(out, "\"usage\":{\"prompt_tokens\":%" PRIu32 ",\"total_tokens\":%" PRIu32 ",\"completion_tokens\":%"
                  PRIu32 ",", call->ask.n_prompt, call->ask.n_prompt + n, n);
}

/* ---- in one piece ---- */

static void put_message(const struct engine_call *call, struct engine_text *out)
{
  const struct engine_ask *ask = &call->ask;
  engine_text_add(out, "\"message\":{\"role\":\"assistant\",\"content\":");
  if (ask->tool)
    engine_text_add(out, "null");
  else {
    engine_text_add(out, "\"");
    engine_text_quote(out, ask->answer.ptr, ask->answer.len);
    engine_text_add(out, "\"");
  }
  engine_text_add(out, ",\"refusal\":null,\"annotations\":null,\"audio\":null,\"function_call\":null");
  if (ask->tool) {
    engine_text_add(out, ",\"tool_calls\":[{\"id\":\"chatcmpl-tool-%016" PRIx64 "\",\"type\":\"function\","
                    "\"function\":{\"name\":\"", call->number);
    engine_text_quote(out, ask->tool, strlen(ask->tool));
    engine_text_add(out, "\",\"arguments\":\"");
    engine_text_quote(out, ask->answer.ptr, ask->answer.len);
    engine_text_add(out, "\"}}]");
  }
  engine_text_add(out, ",\"reasoning\":null}");
}

static void put_choice(const struct engine_call *call, struct engine_text *out)
{
  const struct engine_ask *ask = &call->ask;
  engine_text_add(out, "\",\"choices\":[{\"index\":0,");
  if (ask->chat)
    put_message(call, out);
  else {
    engine_text_add(out, "\"text\":\"");
    engine_text_quote(out, ask->answer.ptr, ask->answer.len);
    engine_text_add(out, "\"");
  }
  engine_text_add(out, ",\"logprobs\":null,\"finish_reason\":%s,\"stop_reason\":null,\"token_ids\":", finish_of(call));
  if (ask->return_ids)
    put_ids(ask->ids.id + ask->n_prompt, ask->n_answer, out);
  else
    engine_text_add(out, "null");
}

static void put_prompt_ids(const struct engine_ask *ask, struct engine_text *out)
{
  engine_text_add(out, ",\"prompt_token_ids\":");
  if (ask->return_ids)
    put_ids(ask->ids.id, ask->n_prompt, out);
  else
    engine_text_add(out, "null");
}

void engine_answer_whole(const struct engine_call *call, struct engine_text *out)
{
  const struct engine_ask *ask = &call->ask;
  put_id(call, out);
  put_choice(call, out);
  if (!ask->chat) {
    engine_text_add(out, ",\"prompt_logprobs\":null");
    put_prompt_ids(ask, out);
  }
  engine_text_add(out, ",\"routed_experts\":null}],\"service_tier\":null,");
  put_fingerprint(call, out);
  engine_text_add(out, ",");
  put_counts(call, ask->n_answer, out);
  put_details(call, out);
  engine_text_add(out, ",\"multimodal_tokens\":null},\"completion_tokens_details\":null}");
  if (ask->chat) {
    engine_text_add(out, ",\"prompt_logprobs\":null");
    put_prompt_ids(ask, out);
    engine_text_add(out, ",\"prompt_text\":null");
  }
  engine_text_add(out, ",\"kv_transfer_params\":null,\"ec_transfer_params\":null,\"metrics\":null}");
}

/* ---- in events ---- */

static void open_event(const struct engine_call *call, struct engine_text *out)
{
  engine_text_add(out, "data: ");
  put_id(call, out);
  engine_text_add(out, "\",\"choices\":[");
}

static void close_event(const struct engine_call *call, uint32_t n, int fingerprint, struct engine_text *out)
{
  if (call->ask.continuous) {
    engine_text_add(out, ",");
    put_counts(call, n, out);
    engine_text_add(out, "\"completion_tokens_details\":null}");
  }
  if (fingerprint) {
    engine_text_add(out, ",");
    put_fingerprint(call, out);
  }
}

void engine_answer_role(const struct engine_call *call, struct engine_text *out)
{
  const struct engine_ask *ask = &call->ask;
  open_event(call, out);
  engine_text_add(out, "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":%s},\"logprobs\":null,"
                  "\"finish_reason\":null}]", ask->tool ? "null" : "\"\"");
  close_event(call, 0, 0, out);
  put_prompt_ids(ask, out);
  engine_text_add(out, ",\"prompt_text\":null}\n\n");
}

/* A function's name goes in front of the first piece of its arguments. */
static void put_tool_delta(const struct engine_call *call, const char *piece, size_t len, struct engine_text *out)
{
  engine_text_add(out, "\"tool_calls\":[{\"index\":0,");
  if (call->written == 0) {
    engine_text_add(out, "\"id\":\"chatcmpl-tool-%016" PRIx64 "\",\"type\":\"function\",\"function\":{\"name\":\"",
                    call->number);
    engine_text_quote(out, call->ask.tool, strlen(call->ask.tool));
    engine_text_add(out, "\",\"arguments\":\"");
  } else
    engine_text_add(out, "\"function\":{\"arguments\":\"");
  engine_text_quote(out, piece, len);
  engine_text_add(out, "\"}}]");
}

static void put_delta(const struct engine_call *call, struct engine_text *out)
{
  const struct engine_ask *ask = &call->ask;
  const size_t from = engine_token_start(ask->answer.ptr, ask->answer.len, call->written);
  const size_t to = engine_token_start(ask->answer.ptr, ask->answer.len, call->written + (uint64_t)1);
  if (ask->tool) {
    engine_text_add(out, "\"delta\":{");
    put_tool_delta(call, ask->answer.ptr + from, to - from, out);
    engine_text_add(out, "}");
    return;
  }
  engine_text_add(out, ask->chat ? "\"delta\":{\"content\":\"" : "\"text\":\"");
  engine_text_quote(out, ask->answer.ptr + from, to - from);
  engine_text_add(out, ask->chat ? "\"}" : "\"");
}

void engine_answer_token(const struct engine_call *call, struct engine_text *out)
{
  const struct engine_ask *ask = &call->ask;
  const int last = call->written + 1 == ask->n_answer;
  open_event(call, out);
  engine_text_add(out, "{\"index\":0,");
  put_delta(call, out);
  engine_text_add(out, ",\"logprobs\":null,\"finish_reason\":%s", last ? finish_of(call) : "null");
  if (last || !ask->chat)
    engine_text_add(out, ",\"stop_reason\":null");
  engine_text_add(out, ",\"token_ids\":");
  if (ask->return_ids)
    put_ids(ask->ids.id + ask->n_prompt + call->written, 1, out);
  else
    engine_text_add(out, "null");
  engine_text_add(out, "}]");
  close_event(call, call->written + 1, last && !ask->usage, out);
  engine_text_add(out, "}\n\n");
}

void engine_answer_end(const struct engine_call *call, struct engine_text *out)
{
  if (call->ask.usage) {
    open_event(call, out);
    engine_text_add(out, "],");
    put_counts(call, call->ask.n_answer, out);
    put_details(call, out);
    engine_text_add(out, "}},");
    put_fingerprint(call, out);
    engine_text_add(out, "}\n\n");
  }
  engine_text_add(out, "data: [DONE]\n\n");
}
