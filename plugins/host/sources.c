/* Data sources: whence the host gets metrics, model lists, events and endpoints. It does that I/O; here the parameters
 * are checked and nothing runs. */
#include <llmd/plugin.h>

#include <stdio.h>

/* Every source that is polled over HTTP. */
typedef struct http_source {
  uint32_t scheme, skip_verify, by_node, has_port;
  llmd_str path, ca, cert, key;
  int64_t port, interval;
} http_source;

static int refuse(llmd_err *err, int code, const char *path, const char *text)
{
  snprintf(err->path, sizeof err->path, "%s", path);
  snprintf(err->text, sizeof err->text, "%s", text);
  return code;
}

static int validate_http(void *self, llmd_err *err)
{
  const http_source *p = self;
  if (p->interval < 0)
    return refuse(err, LLMD_E_RANGE, "interval", "must not be negative");
  if (p->scheme == 1 && (p->cert.len > 0) != (p->key.len > 0))
    return refuse(err, LLMD_E_MISSING, p->cert.len ? "clientKeyPath" : "clientCertPath",
                  "clientCertPath and clientKeyPath are wanted together");
  if (p->by_node && p->port == 0)
    return refuse(err, LLMD_E_MISSING, "port", "is wanted with useNodeAddress");
  return 0;
}

static const llmd_enum schemes[] = {{"http", 0}, {"https", 1}, {0}};

#define SCHEME(preset_text)                                                                                   \
  {.name = "scheme", .type = LLMD_PARAM_ENUM, .offset = offsetof(http_source, scheme), .preset = preset_text, \
   .values = schemes, .doc = "http or https"}
#define PATH(preset_text)                                                                                   \
  {.name = "path", .type = LLMD_PARAM_STRING, .offset = offsetof(http_source, path), .preset = preset_text, \
   .doc = "path of the page"}
#define SKIP_VERIFY(preset_text)                                                                   \
  {.name = "insecureSkipVerify", .type = LLMD_PARAM_BOOL, .offset = offsetof(http_source, skip_verify), \
   .preset = preset_text, .doc = "do not verify the server's certificate"}
#define INTERVAL                                                                                   \
  {.name = "interval", .type = LLMD_PARAM_DURATION, .offset = offsetof(http_source, interval),     \
   .doc = "time between two polls; absent = every refresh"}
#define CERTIFICATES                                                                               \
  {.name = "caCertPath", .type = LLMD_PARAM_STRING, .offset = offsetof(http_source, ca),           \
   .doc = "PEM file of authorities for the server's certificate"},                                 \
  {.name = "clientCertPath", .type = LLMD_PARAM_STRING, .offset = offsetof(http_source, cert),     \
   .doc = "PEM file of our certificate"},                                                          \
  {.name = "clientKeyPath", .type = LLMD_PARAM_STRING, .offset = offsetof(http_source, key),       \
   .doc = "PEM file of its key"}
#define PORT                                                                                       \
  {.name = "port", .type = LLMD_PARAM_INT, .offset = offsetof(http_source, port),                  \
   .given = offsetof(http_source, has_port), .min = 1, .max = 65535,                               \
   .doc = "port of the page; absent = the endpoint's own"}

static const llmd_param metrics_params[] = {
  SCHEME("http"), PATH("/metrics"), PORT, SKIP_VERIFY("true"), CERTIFICATES, INTERVAL, {0}};
static const llmd_param multicluster_params[] = {
  SCHEME("https"), PATH("/metrics"), {.name = "port", .type = LLMD_PARAM_INT, .flags = LLMD_PARAM_IGNORED,
   .offset = offsetof(http_source, port), .doc = "without effect: the peer's own metrics port is used"},
  SKIP_VERIFY("false"), CERTIFICATES, INTERVAL, {0}};
static const llmd_param models_params[] = {
  SCHEME("http"), PATH("/v1/models"), SKIP_VERIFY("true"), CERTIFICATES, INTERVAL, {0}};
static const llmd_param dcgm_params[] = {
  SCHEME("http"), PATH("/metrics"),
  {.name = "port", .type = LLMD_PARAM_INT, .offset = offsetof(http_source, port), .preset = "9400",
   .doc = "port of the page"},
  SKIP_VERIFY("true"),
  {.name = "useNodeAddress", .type = LLMD_PARAM_BOOL, .offset = offsetof(http_source, by_node),
   .doc = "ask the node, not the endpoint"},
  INTERVAL, {0}};

#define HTTP_SOURCE(name_, state, table, about)                                                              \
  {.size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI, .type = name_, .summary = about, .kind = LLMD_INERT, \
   .stability = (state), .self_size = sizeof(http_source), .params = table, .validate = validate_http}

const llmd_plugin llmd__metrics_data_source =
  HTTP_SOURCE("metrics-data-source", LLMD_BETA, metrics_params, "polls the endpoints' metrics pages");
const llmd_plugin llmd__multicluster_metrics_data_source = HTTP_SOURCE(
  "multicluster-metrics-data-source", LLMD_ALPHA, multicluster_params, "polls the metrics pages of other clusters");
const llmd_plugin llmd__models_data_source =
  HTTP_SOURCE("models-data-source", LLMD_BETA, models_params, "polls the endpoints' lists of models");
const llmd_plugin llmd__dcgm_data_source =
  HTTP_SOURCE("dcgm-data-source", LLMD_ALPHA, dcgm_params, "polls the metrics pages of the GPU exporter");

/* ---- events ------------------------------------------------------------------------------------------------------ */
typedef struct watched {
  llmd_str group, version, kind;
} watched;

static int validate_watched(void *self, llmd_err *err)
{
  const watched *p = self;
  if (p->version.len == 0 || p->kind.len == 0)
    return refuse(err, LLMD_E_MISSING, p->version.len ? "kind" : "version", "must not be empty");
  return 0;
}

static const llmd_param watched_params[] = {
  {.name = "group", .type = LLMD_PARAM_STRING, .offset = offsetof(watched, group), .doc = "API group; empty = core"},
  {.name = "version", .type = LLMD_PARAM_STRING, .flags = LLMD_PARAM_REQUIRED, .offset = offsetof(watched, version),
   .doc = "API version"},
  {.name = "kind", .type = LLMD_PARAM_STRING, .flags = LLMD_PARAM_REQUIRED, .offset = offsetof(watched, kind),
   .doc = "kind of resource"},
  {0}};

const llmd_plugin llmd__k8s_notification_source = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "k8s-notification-source", .summary = "watches Kubernetes resources of one kind",
  .kind = LLMD_INERT, .stability = LLMD_BETA, .self_size = sizeof(watched), .params = watched_params,
  .validate = validate_watched};

const llmd_plugin llmd__endpoint_notification_source = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "endpoint-notification-source", .summary = "tells of endpoints that come and go",
  .kind = LLMD_INERT, .stability = LLMD_BETA, .self_size = 1};

/* ---- discovery --------------------------------------------------------------------------------------------------- */
typedef struct endpoints_file {
  llmd_str path;
  uint32_t watch;
} endpoints_file;

static int validate_file(void *self, llmd_err *err)
{
  const endpoints_file *p = self;
  return p->path.len > 0 ? 0 : refuse(err, LLMD_E_MISSING, "path", "must not be empty");
}

static const llmd_param file_params[] = {
  {.name = "path", .type = LLMD_PARAM_STRING, .flags = LLMD_PARAM_REQUIRED, .offset = offsetof(endpoints_file, path),
   .doc = "file that lists the endpoints"},
  {.name = "watchFile", .type = LLMD_PARAM_BOOL, .offset = offsetof(endpoints_file, watch), .preset = "false",
   .doc = "read it again when it changes"},
  {0}};

#define FILE_DISCOVERY(name_, state, about)                                                                  \
  {.size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI, .type = name_, .summary = about, .kind = LLMD_INERT, \
   .stability = (state), .self_size = sizeof(endpoints_file), .params = file_params, .validate = validate_file}

const llmd_plugin llmd__file_discovery = FILE_DISCOVERY("file-discovery", LLMD_BETA, "endpoints from a file");
const llmd_plugin llmd__multicluster_file_discovery =
  FILE_DISCOVERY("multicluster-file-discovery", LLMD_ALPHA, "other clusters as endpoints, from a file");

LLMD_MODULE(&llmd__metrics_data_source, &llmd__multicluster_metrics_data_source, &llmd__models_data_source,
            &llmd__dcgm_data_source, &llmd__k8s_notification_source, &llmd__endpoint_notification_source,
            &llmd__file_discovery, &llmd__multicluster_file_discovery);
