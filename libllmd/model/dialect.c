#include "model/dialect.h"

#include <string.h>

#include "model/prompt.h"

#define CHAT (1u << LLMD_DIALECT_OPENAI_CHAT)
#define COMPLETIONS (1u << LLMD_DIALECT_OPENAI_COMPLETIONS)
#define RESPONSES (1u << LLMD_DIALECT_OPENAI_RESPONSES)
#define EMBEDDINGS (1u << LLMD_DIALECT_OPENAI_EMBEDDINGS)
#define ANTHROPIC (1u << LLMD_DIALECT_ANTHROPIC_MESSAGES)
#define VLLM (1u << LLMD_DIALECT_VLLM_GENERATE)
#define SGLANG (1u << LLMD_DIALECT_SGLANG_GENERATE)
#define OTHER (1u << LLMD_DIALECT_OPENAI_OTHER)
#define ALL (CHAT | COMPLETIONS | RESPONSES | EMBEDDINGS | ANTHROPIC | VLLM | SGLANG | OTHER)

static const struct {
  char suffix[28];
  uint32_t dialect;
} claims[] = {
    {"chat/completions", LLMD_DIALECT_OPENAI_CHAT},
    {"completions", LLMD_DIALECT_OPENAI_COMPLETIONS},
    {"responses", LLMD_DIALECT_OPENAI_RESPONSES},
    {"embeddings", LLMD_DIALECT_OPENAI_EMBEDDINGS},
    {"messages", LLMD_DIALECT_ANTHROPIC_MESSAGES},
    {"messages/count_tokens", LLMD_DIALECT_PASSTHROUGH},
    {"inference/v1/generate", LLMD_DIALECT_VLLM_GENERATE},
    {"conversations", LLMD_DIALECT_OPENAI_OTHER},
    {"chat/completions/render", LLMD_DIALECT_OPENAI_OTHER},
    {"completions/render", LLMD_DIALECT_OPENAI_OTHER},
    {"images/generations", LLMD_DIALECT_OPENAI_OTHER},
};

/* The longest suffix wins; it must begin a path segment. SGLang's native path has to stand alone, as in the reference:
 * others (Ollama's /api/generate) end in the same word. */
uint32_t llmd__dialect_of_path(const char *path, size_t len)
{
  const char *query = len ? memchr(path, '?', len) : NULL;
  uint32_t dialect = LLMD_DIALECT_PASSTHROUGH;
  size_t best = 0;
  if (query)
    len = (size_t)(query - path);
  if (len && path[len - 1] == '/')
    len--;
  if ((len == 8 && memcmp(path, "generate", 8) == 0) || (len == 9 && memcmp(path, "/generate", 9) == 0))
    return LLMD_DIALECT_SGLANG_GENERATE;
  for (size_t i = 0; i < sizeof claims / sizeof *claims; i++) {
    size_t n = strlen(claims[i].suffix);
    if (n > best && len >= n && memcmp(path + len - n, claims[i].suffix, n) == 0 &&
        (len == n || path[len - n - 1] == '/')) {
      best = n;
      dialect = claims[i].dialect;
    }
  }
  return dialect;
}

typedef struct key {
  char name[22];
  uint8_t len, meaning, section;
  uint16_t dialects;
} key;

#define KEY(text, meaning, section, dialects) {text, sizeof text - 1, meaning, section, dialects}
#define PLAIN(text, meaning) KEY(text, meaning, LLMD__NO_SECTION, ALL)

static const key root_keys[] = {
    PLAIN("model", MEAN_MODEL),
    PLAIN("stream", MEAN_STREAM),
    PLAIN("priority", MEAN_PRIORITY),
    KEY("messages", MEAN_MESSAGES, LLMD__SECTION_MESSAGES, CHAT | ANTHROPIC | EMBEDDINGS),
    KEY("prompt", MEAN_PROMPT, LLMD__SECTION_TEXT, COMPLETIONS),
    KEY("input", MEAN_MESSAGES, LLMD__SECTION_MESSAGES, RESPONSES),
    KEY("input", MEAN_PROMPT, LLMD__SECTION_TEXT, EMBEDDINGS),
    KEY("text", MEAN_PROMPT, LLMD__SECTION_TEXT, SGLANG),
    KEY("input_ids", MEAN_PROMPT, LLMD__SECTION_IDS, SGLANG),
    KEY("token_ids", MEAN_PROMPT, LLMD__SECTION_IDS, VLLM),
    KEY("tools", MEAN_TOOLS, LLMD__SECTION_TOOLS, CHAT | RESPONSES | ANTHROPIC),
    KEY("system", MEAN_CONTENT, LLMD__SECTION_SYSTEM, ANTHROPIC),
    KEY("instructions", MEAN_CONTENT, LLMD__SECTION_SYSTEM, RESPONSES),
    KEY("max_completion_tokens", MEAN_LIMIT, LLMD__NO_SECTION, CHAT),
    KEY("max_tokens", MEAN_LIMIT_OLD, LLMD__NO_SECTION, CHAT | COMPLETIONS | ANTHROPIC | OTHER),
    KEY("max_output_tokens", MEAN_LIMIT, LLMD__NO_SECTION, RESPONSES),
    KEY("stream_options", MEAN_STREAMING, LLMD__NO_SECTION, CHAT | COMPLETIONS),
    KEY("cache_salt", MEAN_SALT, LLMD__NO_SECTION, ALL & ~SGLANG),
    KEY("extra_key", MEAN_SALT, LLMD__NO_SECTION, SGLANG),
    KEY("lora_path", MEAN_LORA, LLMD__NO_SECTION, SGLANG),
    KEY("image_data", MEAN_ATTACHED, LLMD__NO_SECTION, SGLANG),
    KEY("video_data", MEAN_ATTACHED, LLMD__NO_SECTION, SGLANG),
    KEY("audio_data", MEAN_ATTACHED, LLMD__NO_SECTION, SGLANG),
    KEY("features", MEAN_ATTACHED, LLMD__NO_SECTION, VLLM),
    KEY("sampling_params", MEAN_SAMPLING, LLMD__NO_SECTION, VLLM | SGLANG),
    PLAIN("sampling_params", MEAN_CARRIER),
    PLAIN("vllm_xargs", MEAN_CARRIER),
    PLAIN("extra_args", MEAN_CARRIER),
    PLAIN("extra_body", MEAN_CARRIER),
};

static const key sampling_keys[] = {
    KEY("max_tokens", MEAN_LIMIT, LLMD__NO_SECTION, VLLM),
    KEY("max_new_tokens", MEAN_LIMIT, LLMD__NO_SECTION, SGLANG),
    PLAIN("sampling_params", MEAN_CARRIER),
    PLAIN("vllm_xargs", MEAN_CARRIER),
    PLAIN("extra_args", MEAN_CARRIER),
    PLAIN("extra_body", MEAN_CARRIER),
};

static const key carrier_keys[] = {
    PLAIN("sampling_params", MEAN_CARRIER),
    PLAIN("vllm_xargs", MEAN_CARRIER),
    PLAIN("extra_args", MEAN_CARRIER),
    PLAIN("extra_body", MEAN_CARRIER),
};

/* `arguments` and `output` are what a responses item has in place of content. */
static const key message_keys[] = {
    PLAIN("role", MEAN_ROLE),
    PLAIN("content", MEAN_CONTENT),
    KEY("arguments", MEAN_CONTENT, LLMD__NO_SECTION, RESPONSES),
    KEY("output", MEAN_CONTENT, LLMD__NO_SECTION, RESPONSES),
};

static const key block_keys[] = {
    PLAIN("type", MEAN_TYPE),       PLAIN("text", MEAN_TEXT),         PLAIN("image_url", MEAN_IMAGE),
    PLAIN("source", MEAN_SOURCE),   PLAIN("thinking", MEAN_THINKING), PLAIN("id", MEAN_CALL_ID),
    PLAIN("name", MEAN_CALL_NAME),  PLAIN("input", MEAN_CALL),        PLAIN("content", MEAN_INNER),
    PLAIN("input_audio", MEAN_AUDIO), PLAIN("audio_url", MEAN_AUDIO), PLAIN("video_url", MEAN_VIDEO),
    PLAIN("file", MEAN_FILE),       PLAIN("file_data", MEAN_FILE),    PLAIN("file_id", MEAN_FILE),
    PLAIN("file_url", MEAN_FILE),   PLAIN("image", MEAN_IMAGE),       PLAIN("video", MEAN_VIDEO),
    PLAIN("audio", MEAN_AUDIO),
};

static const key inner_block_keys[] = {
    PLAIN("type", MEAN_TYPE),
    PLAIN("text", MEAN_TEXT),
    PLAIN("image_url", MEAN_IMAGE),
    PLAIN("source", MEAN_SOURCE),
};

static const key media_keys[] = {
    PLAIN("url", MEAN_MEDIA),
    PLAIN("data", MEAN_MEDIA),
    PLAIN("file_data", MEAN_MEDIA),
    PLAIN("file_id", MEAN_MEDIA),
};

static const key streaming_keys[] = {PLAIN("include_usage", MEAN_USAGE)};

#define TABLE(keys) {keys, sizeof keys / sizeof *keys}

static const struct {
  const key *at;
  size_t n;
} tables[MEAN_COUNT] = {
    [MEAN_ROOT] = TABLE(root_keys),         [MEAN_SAMPLING] = TABLE(sampling_keys),
    [MEAN_CARRIER] = TABLE(carrier_keys),   [MEAN_MESSAGE] = TABLE(message_keys),
    [MEAN_BLOCK] = TABLE(block_keys),       [MEAN_INNER_BLOCK] = TABLE(inner_block_keys),
    [MEAN_IMAGE] = TABLE(media_keys),       [MEAN_VIDEO] = TABLE(media_keys),
    [MEAN_AUDIO] = TABLE(media_keys),       [MEAN_FILE] = TABLE(media_keys),
    [MEAN_SOURCE] = TABLE(media_keys),      [MEAN_STREAMING] = TABLE(streaming_keys),
};

uint8_t llmd__dialect_key(uint32_t dialect, uint8_t frame, const char *name, size_t len, uint8_t *section)
{
  const key *k = tables[frame].at;
  for (size_t i = 0; i < tables[frame].n; i++, k++) {
    if (k->len == len && (k->dialects >> dialect & 1) && memcmp(k->name, name, len) == 0) {
      *section = k->section;
      return k->meaning;
    }
  }
  *section = LLMD__NO_SECTION;
  return MEAN_SKIP;
}

const llmd__shape llmd__shapes[MEAN_COUNT] = {
    [MEAN_ROOT] = {1, 0, 0},
    [MEAN_MODEL] = {1, 1, MEAN_SKIP},
    [MEAN_STREAMING] = {1, 0, 0},
    [MEAN_USAGE] = {1, 1, MEAN_SKIP},
    [MEAN_ATTACHED] = {1, 1, MEAN_ATTACHED},
    [MEAN_TOOLS] = {0, 1, MEAN_SKIP},
    [MEAN_MESSAGES] = {0, 1, MEAN_MESSAGE},
    [MEAN_MESSAGE] = {1, 0, 0},
    [MEAN_CONTENT] = {0, 1, MEAN_BLOCK},
    [MEAN_BLOCK] = {1, 0, 0},
    [MEAN_INNER] = {0, 1, MEAN_INNER_BLOCK},
    [MEAN_INNER_BLOCK] = {1, 0, 0},
    [MEAN_CALL] = {1, 1, MEAN_SKIP},
    [MEAN_IMAGE] = {1, 0, 0},
    [MEAN_VIDEO] = {1, 0, 0},
    [MEAN_AUDIO] = {1, 0, 0},
    [MEAN_FILE] = {1, 0, 0},
    [MEAN_SOURCE] = {1, 0, 0},
    [MEAN_PROMPT] = {0, 1, MEAN_PROMPT_ITEM},
    [MEAN_PROMPT_ITEM] = {0, 1, MEAN_TOKEN},
    [MEAN_IDS] = {0, 0, MEAN_TOKEN},
    [MEAN_SAMPLING] = {1, 1, MEAN_CARRIER},
    [MEAN_CARRIER] = {1, 1, MEAN_CARRIER},
    [MEAN_FORBIDDEN] = {1, 1, MEAN_SKIP},
};

int llmd__dialect_has_model(uint32_t dialect)
{
  return (int)((ALL & ~SGLANG) >> dialect & 1);
}
