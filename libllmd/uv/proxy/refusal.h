/* What a client reads when its request is not served: OpenAI's shape of an error, which its client libraries show.
 *
 *   {"error":{"message":"...","type":"...","param":null,"code":"..."}}
 *
 * On Anthropic's path "type":"error" stands before it. */
#ifndef LLMD_UV_PROXY_REFUSAL_H
#define LLMD_UV_PROXY_REFUSAL_H

#include <llmd/types.h>

#define LLMD__REFUSAL_ROOM 1024u

/* "invalid_request_error", "rate_limit_error", "server_error", ... for a status. Static. */
const char *llmd__refusal_type(uint32_t status);
/* The body; code is a word for programs ("no_endpoints"), message NUL-terminated and cut to fit. Returns its length, at
 * most LLMD__REFUSAL_ROOM. */
size_t llmd__refusal_body(uint32_t status, const char *code, const char *message, int anthropic,
                          char out[LLMD__REFUSAL_ROOM]);
/* The word and the sentence for a LLMD_REASON_*. Static. */
const char *llmd__refusal_code(uint32_t reason);
const char *llmd__refusal_message(uint32_t reason);

#endif
