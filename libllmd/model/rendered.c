/* What of a body a renderer of prompts sees: its top-level members but for those that say how to sample, whom to bill,
 * what to send. Two bodies that differ in nothing else are the same prompt; so is a body before and after its edits. */
#include <string.h>

#include "model/layout.h"

static const char others[][28] = {
    "model", "stream", "stream_options", "temperature", "top_p", "top_k", "min_p", "typical_p", "n", "best_of", "seed",
    "user", "stop", "stop_token_ids", "include_stop_str_in_output", "ignore_eos", "max_tokens", "max_completion_tokens",
    "min_tokens", "presence_penalty", "frequency_penalty", "repetition_penalty", "length_penalty", "logprobs",
    "top_logprobs", "prompt_logprobs", "logit_bias", "bad_words", "allowed_token_ids", "skip_special_tokens",
    "priority", "cache_salt", "request_id", "metadata", "store", "service_tier", "prediction", "return_token_ids",
    "sampling_params", "vllm_xargs", "extra_args", "extra_body", "kv_transfer_params", "ec_transfer_params",
};

static int is_other(const char *name, size_t len)
{
  if (llmd__edits_forbids(name, len))
    return 1;
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    if (strlen(others[i]) == len && !memcmp(others[i], name, len))
      return 1;
  return 0;
}

/* The member's name, when it is short and has no escapes: others are rendered, whatever they are. */
static int is_rendered(const llmd_request *r, uint64_t at, uint64_t end)
{
  uint64_t len = end - at - 1 < 40 ? end - at - 1 : 40;
  const char *text, *quote;
  char buf[40];
  if (llmd__pieces_bytes(&r->reader.pieces, at + 1, len, buf, sizeof buf, &text))
    return 1;
  quote = memchr(text, '"', (size_t)len);
  return !quote || memchr(text, '\\', (size_t)(quote - text)) || !is_other(text, (size_t)(quote - text));
}

static char byte_at(const llmd_request *r, uint64_t at)
{
  size_t avail;
  return *llmd__pieces_run(&r->reader.pieces, at, &avail);
}

static uint64_t without_blanks(const llmd_request *r, uint64_t at, uint64_t end)
{
  while (end > at && strchr(" \t\r\n", byte_at(r, end - 1)))
    end--;
  return end;
}

/* Where the member's value ends: before the comma that follows it, or the brace of the last one. */
static uint64_t end_of(const llmd_request *r, uint64_t at, uint64_t end)
{
  end = without_blanks(r, at, end);
  return end > at ? without_blanks(r, at, end - 1) : at;
}

static void give(const llmd_request *r, uint64_t at, uint64_t end, llmd__bytes_fn fn, void *ud)
{
  while (at < end) {
    size_t avail;
    const char *run = llmd__pieces_run(&r->reader.pieces, at, &avail);
    size_t n = avail < end - at ? avail : (size_t)(end - at);
    fn(ud, run, n);
    at += n;
  }
}

/* Members beyond those whose place was kept go as one: they are rendered, all of them. */
void llmd__request_rendered(const llmd_request *r, llmd__bytes_fn fn, void *ud)
{
  const llmd__reader *b = &r->reader;
  for (uint32_t i = 0; i < b->members; i++) {
    uint64_t at = b->member[i], end = i + 1 < b->members ? b->member[i + 1] : b->pieces.total;
    if ((i + 1 == b->members && b->more_members) || is_rendered(r, at, end)) {
      give(r, at, end_of(r, at, end), fn, ud);
      fn(ud, ",", 1);
    }
  }
}
