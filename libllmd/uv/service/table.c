#include "uv/service/table.h"

#define MS_MOST ((int64_t)86400000) /* a day: a longer time is a slip of the pen */
#define U32_MOST ((int64_t)UINT32_MAX)

#define AT(field) (uint32_t)offsetof(llmd_service, field)
#define COUNT(section, name, field, byword, least, most, text) \
  {section, name, LLMD__SET_COUNT, AT(field), byword, least, most, NULL, text}
#define FLAG(section, name, field, byword, text) {section, name, LLMD__SET_FLAG, AT(field), byword, 0, 1, NULL, text}
#define TIME(section, name, field, byword, least, text) \
  {section, name, LLMD__SET_DURATION, AT(field), byword, least, MS_MOST, NULL, text}
#define SIZE(section, name, field, byword, least, text) \
  {section, name, LLMD__SET_SIZE, AT(field), byword, least, U32_MOST, NULL, text}
#define SIZE64(section, name, field, byword, least, text) \
  {section, name, LLMD__SET_SIZE64, AT(field), byword, least, (int64_t)1 << 46, NULL, text}
#define TEXT(section, name, kind, field, byword, text) \
  {section, name, LLMD__SET_##kind, AT(field), byword, 0, 0, NULL, text}
#define CHOICE(section, name, field, byword, words, text) \
  {section, name, LLMD__SET_CHOICE, AT(field), byword, 0, 0, words, text}
#define DNS(name, kind, field, byword, least, most, text) \
  {"dns[]", name, LLMD__SET_##kind, (uint32_t)offsetof(llmd_service_dns, field), byword, least, most, NULL, text}

/* clang-format off */
const llmd__setting llmd__settings[] = {
  TEXT("", "listen", ADDRESS, listen, "127.0.0.1:8080", "where clients come in; port 0 = any that is free"),
  TEXT("", "admin", ADDRESS, admin, "127.0.0.1:9090",
    "where /metrics, /healthz, /readyz, /explain, /records, /endpoints and /policies are; \"\" = nowhere"),
  COUNT("", "workers", workers, "1", 1, 256, "processes of `llmd serve` that take requests"),
  {"", "endpoints", LLMD__SET_ENDPOINTS, AT(endpoints), NULL, 0, 0, NULL,
    "the engines: the name of a pool file (llm-d's file-discovery format), which is watched; or a list of "
    "\"address:port\" and of that format's entries; or that format itself"},
  {"", "dns", LLMD__SET_DNS, AT(dns), NULL, 0, 0, NULL, "names that the engines are found by, a list"},
  TEXT("", "dns_servers", TEXT, dns_servers, "\"\"",
    "whom to ask, \"address:port,...\"; \"\" = whom the system asks"),
  {"", "policy", LLMD__SET_POLICY, AT(policy), NULL, 0, 0, NULL,
    "an EndpointPickerConfig: the name of its file, or itself; or the name of a policy (.lua), which then decides "
    "alone; none = the reference's default"},
  CHOICE("", "compat", compat, "sensible", "sensible|strict",
    "strict: numbers as the reference computes them, its mistakes among them"),
  FLAG("", "fail_open", fail_open, "false",
    "a policy that leaves nobody is answered by any endpoint instead of an error"),
  COUNT("", "max_tokens_seen", max_tokens_seen, "131072", 1, (int64_t)1 << 24,
    "tokens of a prompt that are looked at"),
  TEXT("", "module_dir", FILE, module_dir, "\"\"", "folder of loadable plugins; \"\" = none"),
  TEXT("", "loader_dir", FILE, loader_dir, "\"\"",
    "folder of the loaders of policies in other languages (llmd-lua.so); \"\" = the library's own"),
  TEXT("", "policy_dir", FILE, policy_dir, NULL,
    "folder of policies that the configuration names by a relative name; none = the folder of the file that it "
    "stands in"),
  TEXT("", "region", FILE, region, NULL,
    "the shared region's file; none = /dev/shm/llmd-UID, and of `llmd serve` one of its own, "
    "/dev/shm/llmd-UID-PORT, that goes with it"),
  FLAG("", "region_group", region_group, "false", "the file's group may attach, too (mode 0660 instead of 0600)"),
  FLAG("", "external_agent", external_agent, "false",
    "`llmd serve` starts no agent: one runs already; `region` says where"),

  COUNT("caps", "max_endpoints", caps.max_endpoints, "1024", 1, 16384, "endpoints"),
  COUNT("caps", "max_attributes", caps.max_attributes, "64", 1, 4096, "attributes"),
  COUNT("caps", "max_labels", caps.max_labels, "16", 1, 64, "labels of one endpoint"),
  COUNT("caps", "max_models", caps.max_models, "32", 1, 4096, "models or adapters of one endpoint"),
  COUNT("caps", "max_lanes", caps.max_lanes, "64", 1, 65536, "deciding threads, all processes together"),
  COUNT("caps", "max_tickets", caps.max_tickets, "16384", 1, 16777216, "requests in flight"),
  SIZE("caps", "ring_bytes", caps.ring_bytes, "1MiB", 4096, "what one lane saw and the agent has not applied yet"),
  SIZE64("caps", "string_bytes", caps.string_bytes, "8MiB", 65536, "names, labels, models"),
  SIZE64("caps", "state_bytes", caps.state_bytes, "160MiB", 65536, "all state of plugins together"),
  SIZE64("caps", "prefix_bytes", caps.prefix_bytes, "64MiB", 65536,
    "of state_bytes, for each approximate prefix index"),
  SIZE64("caps", "index_bytes", caps.index_bytes, "64MiB", 65536, "of state_bytes, for the exact prefix index"),
  SIZE64("caps", "token_bytes", caps.token_bytes, "16MiB", 65536, "of state_bytes, for tokens of prompts"),

  FLAG("metrics", "enabled", metrics.enabled, "true", "engines' metrics are read"),
  TIME("metrics", "period", metrics.period_ms, "50ms", 10, "of reading an endpoint's page"),
  TIME("metrics", "timeout", metrics.timeout_ms, "1s", 10, "of one page"),
  TIME("metrics", "connect", metrics.connect_ms, "250ms", 10, "to connect"),
  SIZE("metrics", "max_bytes", metrics.max_bytes, "1MiB", 1024, "of a page; a larger one is refused"),
  TIME("metrics", "stale", metrics.stale_ms, "2s", 1, "without a page: what the endpoint told counts as stale"),
  TIME("metrics", "unknown", metrics.unknown_ms, "10s", 1, "without a page: what it told is unknown"),
  TIME("metrics", "models", metrics.models_ms, "10s", 0, "between two looks at an endpoint's models; 0 = never"),
  COUNT("metrics", "parallel", metrics.parallel, "64", 1, 4096, "pages under way at a time"),
  TEXT("metrics", "path", ROUTE, metrics.path, "/metrics", "of the page"),
  TEXT("metrics", "models_path", ROUTE, metrics.models_path, "/v1/models", "of the list of models"),

  CHOICE("events", "enabled", events.enabled, "auto", "false|true|auto",
    "engines' KV events are read; auto: when the policy has a precise-prefix-cache-producer"),
  COUNT("events", "port", events.port, "5557", 0, 65535,
    "(+ rank) of engines that have no /kv_event_sources; 0 = only those that have"),
  COUNT("events", "replay_port", events.replay_port, "5558", 0, 65535,
    "(+ rank) where missed events are asked for; 0 = nowhere"),
  TIME("events", "retry", events.retry_ms, "5s", 10, "between two attempts to connect, at most"),
  TEXT("events", "bind", TEXT, events.bind, "\"\"",
    "\"tcp://0.0.0.0:5600\": where engines that connect find us; \"\" = nowhere"),
  TEXT("events", "topic", TEXT, events.topic, "kv@", "prefix of the topics that are asked for"),
  FLAG("events", "counted", events.counted, "false", "a block that was stored twice must be removed twice"),
  TIME("events", "discover", events.discover_ms, "10s", 10,
    "between two looks at /kv_event_sources, until it answers"),

  TEXT("tokens", "socket", FILE, tokens.socket, "auto",
    "the unix socket where deciders ask the agent for tokens; auto: REGION.sock when the policy has a "
    "token-producer with a modelName; \"\" = none"),
  TEXT("tokens", "url", TEXT, tokens.url, "\"\"", "of a renderer; \"\" = the endpoints themselves"),
  TIME("tokens", "timeout", tokens.timeout_ms, "5s", 1, "of one rendering"),
  TIME("tokens", "wait", tokens.wait_ms, "200ms", 0,
    "that a request is held for its tokens; after that it is decided without"),

  SIZE64("limits", "body", limits.body, "16MiB", 1, "of a request: 413"),
  SIZE64("limits", "bodies", limits.bodies, "1GiB", 65536, "bodies held at a time by a worker: 503"),
  SIZE("limits", "head", limits.head, "32KiB", 256, "request line and headers together: 431, 414"),
  COUNT("limits", "headers", limits.headers, "128", 1, 4096, "headers of a request: 431"),
  COUNT("limits", "connections", limits.connections, "20000", 1, 1000000, "clients of a worker at a time: 503"),
  SIZE("limits", "pending", limits.pending, "256KiB", 4096,
    "of an answer waiting for a slow client; reading from the engine pauses"),
  SIZE("limits", "event", limits.event, "1MiB", 1024,
    "one server-sent event that is held to be looked at; a longer one passes unseen"),
  TIME("limits", "head_time", limits.head_ms, "10s", 1, "from a request's first byte to the end of its head: 408"),
  TIME("limits", "body_time", limits.body_ms, "30s", 1, "without a byte of the body: 408"),
  SIZE("limits", "body_rate", limits.body_rate, "1KiB", 1,
    "bytes a second that a body must make after body_time: 408"),
  TIME("limits", "idle", limits.idle_ms, "75s", 1, "between two requests of a connection: hung up"),
  TIME("limits", "write", limits.write_ms, "60s", 1, "without the client taking a byte: reset"),
  TIME("limits", "total", limits.total_ms, "0", 0, "of a request; 0 = no end"),
  TIME("limits", "drain", limits.drain_ms, "30s", 0, "for requests under way after SIGTERM"),

  TIME("upstream", "connect", upstream.connect_ms, "2s", 1, "to connect to an engine"),
  TIME("upstream", "first_byte", upstream.first_byte_ms, "0", 0, "to the first byte of an answer; 0 = no end"),
  TIME("upstream", "idle", upstream.idle_ms, "5m", 1, "without a byte of an answer that has begun"),
  TIME("upstream", "keep", upstream.keep_ms, "4s", 0,
       "an unused connection is kept for the next request; less than engines keep it (vLLM: 5s)"),
  COUNT("upstream", "connections", upstream.keep, "256", 0, 65536, "unused connections kept of an endpoint"),
  COUNT("upstream", "retries", upstream.retries, "2", 0, 16,
    "on the decision's fallbacks, before the first byte of an answer"),
  SIZE("upstream", "max_head", upstream.max_head, "64KiB", 1024, "of an answer"),
  FLAG("upstream", "inject_usage", upstream.inject_usage, "true",
    "streams are asked for their usage, and the chunk with it taken out again"),

  COUNT("health", "failures", health.failures, "3", 0, 1000, "in a row, in `window`, that eject an endpoint; 0 = never"),
  TIME("health", "window", health.window_ms, "10s", 1, "in which they count"),
  TIME("health", "eject", health.eject_ms, "1s", 1, "the first time; doubles"),
  TIME("health", "eject_max", health.eject_max_ms, "30s", 1, "at most"),
  COUNT("health", "most_percent", health.most_percent, "50", 0, 100, "of a pool ejected at a time"),

  TEXT("log", "access", FILE, log.access, "\"-\"",
    "where a line goes for each request, in JSON: \"-\" = standard output, \"\" = nowhere, else a file, opened "
    "again on SIGHUP"),
  SIZE("log", "buffer", log.buffer, "64KiB", 0, "of lines; 0 = a line at a time"),
  TIME("log", "flush", log.flush_ms, "1s", 1, "at the latest"),
  CHOICE("log", "level", log.level, "info", "none|error|warn|info|debug", "what goes to standard error"),
  COUNT("log", "explain", log.explain, "20", 0, 10000,
    "decisions a second, of each worker, that /explain can show; 0 = none"),

  DNS("name", TEXT, name, NULL, 0, 0, "the name; required"),
  DNS("srv", FLAG, srv, "false", 0, 1, "SRV records say hosts and ports; else A and AAAA"),
  DNS("port", COUNT, port, "0", 0, 65535, "of A and AAAA; required there"),
  DNS("refresh", DURATION, refresh_ms, "30s", 100, MS_MOST,
    "asked again at the latest; a shorter time to live counts"),
};
/* clang-format on */

const uint32_t llmd__n_settings = sizeof llmd__settings / sizeof *llmd__settings;
