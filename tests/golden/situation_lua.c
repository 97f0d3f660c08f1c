/* Situations that policies in Lua decide: apart, because they need the engine. The policies stand in their
 * configurations. */
#include "situation.h"

#define CHAT "/v1/chat/completions"
#define BODY(text)                                                                                                     \
  "{\"model\":\"adapter-a\",\"max_tokens\":64,\"messages\":[{\"role\":\"user\",\"content\":\"" text "\"}]}"
#define TALE                                                                                                           \
  "There was a scheduler that knew a little of every endpoint, and nothing of what would come. It asked the policies, " \
  "and each of them told what it thought; then it added that up, and took the best. There was a scheduler that knew "  \
  "a little of every endpoint, and nothing of what would come. It asked the policies, and each of them told what it "  \
  "thought; then it added that up, and took the best."

const situation lua_situations[] = {
    {.name = "lua",
     .config = "lua",
     .path = CHAT,
     .body = BODY(TALE),
     .seed = 21,
     .warm = 3,
     .header = {"x-zone", "west"}},
    {.name = "lua-stale", .config = "lua", .path = CHAT, .body = BODY(TALE), .seed = 22, .stale = 1},
    {.name = "lua-chance", .config = "lua-chance", .path = CHAT, .body = BODY("Which one?"), .seed = 23},
    {.name = "lua-memory",
     .config = "lua-memory",
     .path = CHAT,
     .body = BODY("Once more."),
     .seed = 24,
     .warm = 2,
     .header = {"x-session-id", "alice", "x-llm-d-inference-fairness-id", "wonderland"}},
    {.name = "lua-failing", .config = "lua-failing", .path = CHAT, .body = BODY("Whoever is left."), .seed = 25},
    {.name = "lua-profiles", .config = "lua-profiles", .path = CHAT, .body = BODY(TALE), .seed = 26, .warm = 1},
};
const unsigned n_lua_situations = sizeof lua_situations / sizeof *lua_situations;
