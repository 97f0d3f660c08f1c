/* Reading a request's body: from its bytes to what a decision needs, and from there to (pseudo) tokens. */
#define _POSIX_C_SOURCE 199309L

#include <llmd/request.h>

#include "bench.h"
#include "model/request.h"

#define ROOM (1u << 20)
#define TOKENS (1u << 18)

typedef struct job {
  llmd_request *request;
  const char *path;
  char *body;
  size_t len;
  uint32_t *tokens;
} job;

static void put(job *j, const char *text)
{
  size_t n = strlen(text);
  memcpy(j->body + j->len, text, n);
  j->len += n;
}

/* Messages of about 5,000 bytes each, cycled from `sample`, until the body has `bytes`. */
static void chat(job *j, size_t bytes, const char *sample)
{
  j->len = 0;
  put(j, "{\"model\": \"Qwen/Qwen3-32B\", \"stream\": true, \"max_tokens\": 1000, \"messages\": [");
  for (unsigned m = 0; j->len < bytes; m++) {
    size_t stop = j->len + 5000;
    put(j, m ? ", " : "");
    put(j, m % 2 ? "{\"role\": \"assistant\", \"content\": \"" : "{\"role\": \"user\", \"content\": \"");
    while (j->len < stop)
      put(j, sample);
    put(j, "\"}");
  }
  put(j, "]}");
}

/* An agent's body: many short messages and thirty tools. */
static void agent(job *j)
{
  char part[512];
  j->len = 0;
  put(j, "{\"model\": \"m\", \"tools\": [");
  for (int i = 0; i < 30; i++) {
    snprintf(part, sizeof part, "%s{\"type\": \"function\", \"function\": {\"name\": \"tool_%d\", \"description\":"
        " \"Reads a file.\", "
             "\"parameters\": {\"type\": \"object\", \"properties\": {\"path\": {\"type\": \"string\"}, \"limit\": "
             "{\"type\": \"integer\", \"minimum\": %d}}, \"required\": [\"path\"]}}}", i ? ", " : "", i, i);
    put(j, part);
  }
  put(j, "], \"messages\": [{\"role\": \"system\", \"content\": \"You are a careful engineer.\"}");
  for (int i = 0; i < 200; i++) {
    snprintf(part, sizeof part, ", {\"role\": \"assistant\", \"content\": \"Looking at step %d of the plan,"
        " I read the file and find "
             "that the function does what its comment says.\\nNext I run the tests.\"}, {\"role\": \"user\","
                 " \"content\": "
             "[{\"type\": \"text\", \"text\": \"Result %d:\\n\\tok 1\\n\\tok 2\\nAll passed; go on with the \\\"next\\"
                 "\" one.\"}]}",
             i, i);
    put(j, part);
  }
  put(j, "]}");
}

static void ids(job *j, int n)
{
  char part[16];
  unsigned long long x = 1;
  j->len = 0;
  put(j, "{\"model\": \"m\", \"prompt\": [");
  for (int i = 0; i < n; i++) {
    x = x * 6364136223846793005ULL + 1442695040888963407ULL;
    snprintf(part, sizeof part, "%s%llu", i ? ", " : "", (x >> 40) % 151000);
    put(j, part);
  }
  put(j, "]}");
}

static void read_body(void *ud)
{
  job *j = ud;
  llmd_request_info info = {.size = sizeof info};
  llmd_request_reset(j->request);
  llmd_request_line(j->request, "POST", 4, j->path, strlen(j->path));
  if (llmd_request_feed(j->request, j->body, j->len, LLMD_FEED_FINAL) || llmd_request_get(j->request, &info))
    abort();
}

static void to_tokens(void *ud)
{
  job *j = ud;
  uint32_t end[4], prompts;
  int cut = 0;
  if (llmd__request_tokens(j->request, j->tokens, TOKENS, end, 4, &prompts, &cut) < 0 || cut)
    abort();
}

static void rows(job *j, const char *path, const char *what)
{
  char name[96];
  j->path = path;
  snprintf(name, sizeof name, "read %s", what);
  bench_row(name, bench_time(read_body, j, 50) / 1e3, "us");
  snprintf(name, sizeof name, "tokens of %s", what);
  bench_row(name, bench_time(to_tokens, j, 50) / 1e3, "us");
}

int main(int argc, char **argv)
{
  static const char english[] = "The quick brown fox jumps over the lazy dog while the router decides where it goes; \\"
      "n";
  static const char chinese[] = "路由器决定每个请求去哪里,因为缓存的前缀已经在那台机器上。";
  static const char escaped[] = "\\u8def\\u7531\\u5668\\u51b3\\u5b9a\\u6bcf\\u4e2a\\u8bf7\\u6c42\\u53bb\\u54ea\\u91cc"
      "\\uff0c";
  static const char code[] = "if (name == \\\"x\\\") {\\n\\treturn \\\"\\\\\\\\n\\\";\\n}\\n";
  static const char mixed[] = "Größe naïve café – “quoted” text with a few wide characters in between. ";
  size_t size = llmd_request_size(NULL);
  job j = {NULL, NULL, malloc(ROOM), 0, malloc(TOKENS * sizeof(uint32_t))};
  void *mem = malloc(size);
  if (!mem || !j.body || !j.tokens || llmd_request_init(mem, size, NULL, &j.request))
    return 1;
  bench_start(argc, argv);
  const char *chat_path = "/v1/chat/completions";
  chat(&j, 100000, english);
  rows(&j, chat_path, "100 KB chat body (ASCII)");
  chat(&j, 100000, chinese);
  rows(&j, chat_path, "100 KB chat body (CJK)");
  chat(&j, 100000, escaped);
  rows(&j, chat_path, "100 KB chat body (heavy escapes)");
  chat(&j, 100000, code);
  rows(&j, chat_path, "100 KB chat body (escaped code)");
  chat(&j, 100000, mixed);
  rows(&j, chat_path, "100 KB chat body (Latin)");
  chat(&j, 220000, english);
  rows(&j, chat_path, "220 KB chat body (ASCII)");
  agent(&j);
  rows(&j, chat_path, "agent body, 401 messages and 30 tools");
  ids(&j, 14500);
  rows(&j, "/v1/completions", "14.5k token ids");
  free(mem);
  free(j.body);
  free(j.tokens);
  return 0;
}
