#include "uv/proxy/refusal.h"

#include <llmd/scheduler.h>

#include "uv/proxy/text.h"

#define LONGEST_MESSAGE 128u /* each byte may become six */

const char *llmd__refusal_type(uint32_t status)
{
  switch (status) {
  case 401:
    return "authentication_error";
  case 403:
    return "permission_error";
  case 404:
    return "not_found_error";
  case 429:
    return "rate_limit_error";
  default:
    return status < 500 ? "invalid_request_error" : "server_error";
  }
}

static llmd_str cut(const char *text)
{
  llmd_str s = {text, strlen(text)};
  if (s.len > LONGEST_MESSAGE)
    s.len = LONGEST_MESSAGE;
  return s;
}

size_t llmd__refusal_body(uint32_t status, const char *code, const char *message, int anthropic,
                          char out[LLMD__REFUSAL_ROOM])
{
  llmd__text t = {out, 0, LLMD__REFUSAL_ROOM, 0};
  llmd__text_add(&t, anthropic ? "{\"type\":\"error\",\"error\":{\"message\":" : "{\"error\":{\"message\":");
  llmd__text_json(&t, cut(message));
  llmd__text_add(&t, ",\"type\":\"");
  llmd__text_add(&t, llmd__refusal_type(status));
  llmd__text_add(&t, "\",\"param\":null,\"code\":\"");
  llmd__text_add(&t, code);
  llmd__text_add(&t, "\"}}");
  return t.len;
}

const char *llmd__refusal_code(uint32_t reason)
{
  static const char *const codes[] = {
    [LLMD_REASON_NO_ENDPOINTS] = "no_endpoints", [LLMD_REASON_SATURATED] = "saturated",
    [LLMD_REASON_SHEDDABLE] = "shed",            [LLMD_REASON_NO_TARGET] = "no_target",
    [LLMD_REASON_BAD_REQUEST] = "bad_request",   [LLMD_REASON_PRECONDITION] = "not_cached",
    [LLMD_REASON_INTERNAL] = "internal_error",
  };
  return reason < sizeof codes / sizeof *codes && codes[reason] ? codes[reason] : "internal_error";
}

const char *llmd__refusal_message(uint32_t reason)
{
  static const char *const texts[] = {
    [LLMD_REASON_NO_ENDPOINTS] = "no engine is there to serve this request",
    [LLMD_REASON_SATURATED] = "all engines are saturated",
    [LLMD_REASON_SHEDDABLE] = "all engines are saturated, and this request's priority allows it to be dropped",
    [LLMD_REASON_NO_TARGET] = "no engine suits this request",
    [LLMD_REASON_BAD_REQUEST] = "the request's body cannot be used",
    [LLMD_REASON_PRECONDITION] = "nothing of this prompt is cached",
    [LLMD_REASON_INTERNAL] = "the request could not be scheduled",
  };
  return reason < sizeof texts / sizeof *texts && texts[reason] ? texts[reason] : "the request could not be scheduled";
}
