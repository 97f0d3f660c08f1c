/* Parsers: which request bodies the reference can read. The library's own body reader reads all of these; the names are
 * known so that configurations that list them load. */
#include <llmd/plugin.h>

#define PARSER(name_, about)                                                                                 \
  {.size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI, .type = name_, .summary = about, .kind = LLMD_INERT, \
   .stability = LLMD_BETA, .self_size = 1}

const llmd_plugin llmd__openai_parser = PARSER("openai-parser", "chat/completions, completions, embeddings, responses");
const llmd_plugin llmd__anthropic_parser = PARSER("anthropic-parser", "messages");
const llmd_plugin llmd__vllmhttp_parser = PARSER("vllmhttp-parser", "vLLM's generate call with token ids");
const llmd_plugin llmd__sglanghttp_parser = PARSER("sglanghttp-parser", "SGLang's generate call");
const llmd_plugin llmd__vllmgrpc_parser = PARSER("vllmgrpc-parser", "vLLM's gRPC calls");
const llmd_plugin llmd__vertexai_parser = PARSER("vertexai-parser", "Vertex AI's prediction calls");
const llmd_plugin llmd__passthrough_parser = PARSER("passthrough-parser", "anything, unread");

LLMD_MODULE(&llmd__openai_parser, &llmd__anthropic_parser, &llmd__vllmhttp_parser, &llmd__sglanghttp_parser,
            &llmd__vllmgrpc_parser, &llmd__vertexai_parser, &llmd__passthrough_parser);
