/* Ways in which a client may try to choose where its request goes, or to reach the fields by which engines hand KV
 * caches to each other: in headers, paths and bodies. Through the whole proxy, to an engine that keeps what it reads:
 * nothing of it may arrive. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* No word below may reach an engine, in any case, '_' as '-'; but what the proxy itself says. */
static const char evil[] = "6.6.6.6";

static const char chat[] = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";

/* ---- headers: the value is evil ---- */

static const char *const names[] = {
  "x-gateway-destination-endpoint", "X-Gateway-Destination-Endpoint", "X-GATEWAY-DESTINATION-ENDPOINT",
  "x-gateway-destination-endpoint-served", "x-gateway-destination-endpoint-subset", "x-gateway-destination-endpoint-scores",
  "x-gateway-destination-endpointx", "x_gateway_destination_endpoint", "x-gateway_destination-endpoint",
  "X_Gateway_Destination_Endpoint_Subset",
  "x-prefiller-host-port", "X-Prefiller-Host-Port", "x_prefiller_host_port", "x-prefiller_host_port", "x-prefiller-url",
  "X-PREFILLER-URL", "x_prefiller_url",
  "x-encoder-hosts-ports", "X-Encoder-Hosts-Ports", "x_encoder_hosts_ports",
  "x-data-parallel-host-port", "X-Data-Parallel-Host-Port", "x_data_parallel_host_port",
  "x-data-parallel-rank", "X-Data-Parallel-Rank", "X_DATA_PARALLEL_RANK",
  "x-kv-cache-source-host-port", "X-KV-Cache-Source-Host-Port", "x_kv_cache_source_host_port",
  "x-went-into-resp-headers", "x-llm-d-request-dropped-reason",
  "proxy-authorization", "proxy-connection", "keep-alive", "te", "http2-settings",
};

/* Whole header lines. */
static const char *const lines[] = {
  "x-request-id: cmpl-___prefill_addr_6.6.6.6:1___decode_addr_6.6.6.6:2_0\r\n",
  "X-Request-Id: ___DECODE_ADDR_6.6.6.6\r\n",
  "x-request-id: 6.6.6.6:80\r\n",
  "x-request-id: http://6.6.6.6/\r\n",
  "x-request-id: a b6.6.6.6\r\n",
  "Connection: x-request-id, host, content-length, x-gateway-destination-endpoint\r\nx-prefiller-host-port: 6.6.6.6:1\r\n",
  "Connection: x-hop\r\nx-hop: 6.6.6.6\r\n",
  "Connection: keep-alive , X-HOP\r\nX-Hop: 6.6.6.6\r\n",
  "Connection: close\r\nConnection: x-hop\r\nx-hop: 6.6.6.6\r\n",
  "Connection: x_hop\r\nx-hop: 6.6.6.6\r\n",
  "x-prefiller-host-port: a\r\nx-prefiller-host-port: 6.6.6.6:1\r\n",
  "x-prefiller-host-port:6.6.6.6:1\r\n",
  "x-prefiller-host-port:\t6.6.6.6:1 \t\r\n",
};

/* ---- bodies ---- */

typedef struct attack {
  const char *path, *body;
} attack;

#define CHAT "/v1/chat/completions"
#define PLAIN "/v1/completions"

static const attack bodies[] = {
  {CHAT, "{\"model\":\"m\",\"messages\":[],\"kv_transfer_params\":{\"remote_host\":\"6.6.6.6\"}}"},
  {CHAT, "{\"kv_transfer_params\":{\"remote_host\":\"6.6.6.6\"},\"messages\":[]}"},
  {CHAT, "{\"kv_transfer_params\":{\"remote_host\":\"6.6.6.6\"}}"},
  {CHAT, "{\"kv_transfer_params\":null,\"messages\":[],\"kv_transfer_params\":{\"remote_host\":\"6.6.6.6\"}}"},
  {CHAT, "{\"messages\":[],\"kv_transfer_params\":{\"remote_host\":\"6.6.6.6\"},\"kv_transfer_params\":1}"},
  {CHAT, "{\"messages\":[],\"kv_transfer_param\\u0073\":{\"remote_host\":\"6.6.6.6\"}}"},
  {CHAT, "{\"messages\":[],\"\\u006bv_transfer_params\":\"6.6.6.6\"}"},
  {CHAT, "{\"messages\":[],\"\\u006b\\u0076\\u005f\\u0074ransfer_params\":\"6.6.6.6\"}"},
  {CHAT, "{\"messages\":[] , \"kv_transfer_params\" : [\"6.6.6.6\"] }"},
  {CHAT, "{\"messages\":[],\n\"kv_transfer_params\"\n:\n\"6.6.6.6\"\n}"},
  {CHAT, "{\"messages\":[],\"ec_transfer_params\":{\"a\":\"6.6.6.6\"}}"},
  {CHAT, "{\"messages\":[],\"\\u0065c_transfer_params\":{\"a\":\"6.6.6.6\"}}"},
  {CHAT, "{\"messages\":[],\"bootstrap_host\":\"6.6.6.6\",\"bootstrap_port\":1,\"bootstrap_room\":2}"},
  {CHAT, "{\"bootstrap_host\":[\"6.6.6.6\"],\"messages\":[]}"},
  {CHAT, "{\"messages\":[],\"bootstrap_anything\":\"6.6.6.6\"}"},
  {CHAT, "{\"messages\":[],\"bootstrap\\u005fhost\":\"6.6.6.6\"}"},
  {CHAT, "{\"messages\":[],\"mm_hashes\":[\"6.6.6.6\"]}"},
  {CHAT, "{\"messages\":[],\"mm_placeholders\":{\"a\":\"6.6.6.6\"}}"},
  {CHAT, "{\"messages\":[],\"\\u006dm_hashes\":[\"6.6.6.6\"]}"},
  {CHAT, "{\"messages\":[],\"vllm_xargs\":{\"kv_transfer_params\":{\"a\":\"6.6.6.6\"}}}"},
  {CHAT, "{\"messages\":[],\"extra_args\":{\"kv_transfer_params\":{\"a\":\"6.6.6.6\"}}}"},
  {CHAT, "{\"messages\":[],\"extra_body\":{\"kv_transfer_params\":{\"a\":\"6.6.6.6\"}}}"},
  {CHAT, "{\"messages\":[],\"sampling_params\":{\"extra_args\":{\"kv_transfer_params\":{\"a\":\"6.6.6.6\"}}}}"},
  {CHAT, "{\"messages\":[],\"sampling_params\":[{\"kv_transfer_params\":\"6.6.6.6\"}]}"},
  {CHAT, "{\"messages\":[],\"extra_body\":{\"x\":1,\"bootstrap_host\":\"6.6.6.6\",\"y\":2}}"},
  {CHAT, "{\"messages\":[],\"vllm\\u005fxargs\":{\"kv_transfer_params\":{\"a\":\"6.6.6.6\"}}}"},
  {PLAIN, "{\"prompt\":\"p\",\"kv_transfer_params\":{\"remote_host\":\"6.6.6.6\"}}"},
  {PLAIN, "{\"prompt\":\"p\",\"sampling_params\":{\"kv_transfer_params\":{\"remote_host\":\"6.6.6.6\"}}}"},
  {"/v1/responses", "{\"input\":\"p\",\"kv_transfer_params\":{\"remote_host\":\"6.6.6.6\"}}"},
  {"/v1/embeddings", "{\"input\":\"p\",\"kv_transfer_params\":{\"remote_host\":\"6.6.6.6\"}}"},
  {"/v1/messages", "{\"messages\":[],\"kv_transfer_params\":{\"remote_host\":\"6.6.6.6\"}}"},
  {"/inference/v1/generate", "{\"token_ids\":[1],\"kv_transfer_params\":{\"remote_host\":\"6.6.6.6\"}}"},
  {"/inference/v1/generate", "{\"token_ids\":[1],\"sampling_params\":{\"extra_args\":{\"kv_transfer_params\":\"6.6.6.6\"}}}"},
  {"/generate", "{\"text\":\"p\",\"bootstrap_host\":\"6.6.6.6\"}"},
  {"/generate", "{\"text\":\"p\",\"bootstrap_host\":[\"6.6.6.6\"],\"bootstrap_room\":[1]}"},
  {"/v1/chat/completions/render", "{\"messages\":[],\"kv_transfer_params\":\"6.6.6.6\"}"},
  /* a part of an engine: the rank is said in words that the rest of the table does not have */
  {CHAT, "{\"messages\":[],\"data_parallel_rank\":\"6.6.6.6\"}"},
  {CHAT, "{\"data_parallel_rank\":[\"6.6.6.6\"],\"messages\":[],\"routed_dp_rank\":\"6.6.6.6\"}"},
  {CHAT, "{\"messages\":[],\"data\\u005fparallel_rank\":\"6.6.6.6\"}"},
  {CHAT, "{\"messages\":[],\"extra_body\":{\"routed_dp_rank\":\"6.6.6.6\"}}"},
  {PLAIN, "{\"prompt\":\"p\",\"disagg_prefill_dp_rank\":\"6.6.6.6\"}"},
  {"/generate", "{\"text\":\"p\",\"routed_dp_rank\":\"6.6.6.6\",\"disagg_prefill_dp_rank\":\"6.6.6.6\"}"},
  {"/generate", "{\"text\":\"p\",\"sampling_params\":{\"data_parallel_rank\":\"6.6.6.6\"}}"},
  {"/invocations", "{\"messages\":[],\"data_parallel_rank\":\"6.6.6.6\"}"},
  {"/invocations", "{\"messages\":[],\"disaggregated_params\":\"6.6.6.6\"}"},
  {"/invocations", "{\"messages\":[],\"routed_dp_rank\":\"6.6.6.6\"}"},
  {"/invocations", "{\"messages\":[],\"disagg_prefill_dp_rank\":\"6.6.6.6\"}"},
  /* doors that the core does not know, and other spellings of those it does */
  {"/invocations", "{\"messages\":[],\"kv_transfer_params\":\"6.6.6.6\"}"},
  {"/invocations", "{\"messages\":[],\"kv_transfer_param\\u0073\":\"6.6.6.6\"}"},
  {"/invocations", "\xef\xbb\xbf{\"messages\":[],\"kv_transfer_params\":\"6.6.6.6\"}"},
  {"/invocations", " \r\n\t{\"messages\":[],\"bootstrap_host\":\"6.6.6.6\"}"},
  {"/invocations", "[{\"messages\":[],\"bootstrap_host\":\"6.6.6.6\"}]"},
  {"/v1/chat/completion%73", "{\"messages\":[],\"kv_transfer_params\":\"6.6.6.6\"}"},
  {"/v1/chat%2fcompletions", "{\"messages\":[],\"kv_transfer_params\":\"6.6.6.6\"}"},
  {"/v1/chat/completions/", "{\"messages\":[],\"kv_transfer_params\":\"6.6.6.6\"}"},
  {"//v1//chat//completions", "{\"messages\":[],\"kv_transfer_params\":\"6.6.6.6\"}"},
  {"/v1/./chat/completions", "{\"messages\":[],\"kv_transfer_params\":\"6.6.6.6\"}"},
  {"/x/../v1/chat/completions/.", "{\"messages\":[],\"kv_transfer_params\":\"6.6.6.6\"}"},
  {"/v1/chat/completions?path=/metrics", "{\"messages\":[],\"kv_transfer_params\":\"6.6.6.6\"}"},
  {"/v1/CHAT/completions", "{\"messages\":[],\"kv_transfer_params\":\"6.6.6.6\"}"},
  {"/metrics", "{\"kv_transfer_params\":\"6.6.6.6\"}"},
};

/* ---- what arrived ---- */

static void engines_are_clean(rig *r, const char *what)
{
  for (uint32_t i = 0; i < r->n_engines; i++)
    if (memmem(r->engine[i].seen, r->engine[i].seen_len, evil, sizeof evil - 1))
      fail_msg("%s got through: %s", what, r->engine[i].seen);
}

static uint32_t requests(const rig *r)
{
  return r->engine[0].requests + r->engine[1].requests;
}

static void test_headers(void **state)
{
  static rig r;
  char line[256];
  (void)state;
  rig_start(&r, 2, "");
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    uint32_t before = requests(&r);
    snprintf(line, sizeof line, "%s: %s:80\r\n", names[i], evil);
    free(rig_post(&r, CHAT, line, chat, sizeof chat - 1));
    engines_are_clean(&r, names[i]);
    assert_int_equal(requests(&r), before + 1); /* passed on without it */
  }
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
    free(rig_post(&r, CHAT, lines[i], chat, sizeof chat - 1));
    engines_are_clean(&r, lines[i]);
  }
  rig_stop(&r);
}

static void test_bodies(void **state)
{
  static rig r;
  uint32_t before;
  (void)state;
  rig_start(&r, 2, "");
  before = requests(&r);
  for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
    free(rig_post(&r, bodies[i].path, "Content-Type: text/plain\r\n", bodies[i].body, strlen(bodies[i].body)));
    engines_are_clean(&r, bodies[i].body);
  }
  assert_true(requests(&r) - before > sizeof bodies / sizeof *bodies - 5); /* nearly all pass, without the field */
  rig_stop(&r);
}

/* Python reads JSON in UTF-16 and UTF-32, too. */
static void test_wide(void **state)
{
  static const char json[] = "{\"messages\":[],\"kv_transfer_params\":\"6.6.6.6\"}";
  static const char *const marks[] = {"", "\xff\xfe", "\xfe\xff"};
  static rig r;
  (void)state;
  rig_start(&r, 1, "");
  for (unsigned width = 2; width <= 4; width += 2)
    for (unsigned big = 0; big < 2; big++)
      for (unsigned blank = 0; blank < 2; blank++) {
        char body[4 * sizeof json + 8];
        size_t n = 0;
        const char *mark = width == 2 ? marks[blank ? 0 : big + 1] : "";
        memcpy(body, mark, strlen(mark));
        n += strlen(mark);
        for (size_t i = 0; i < sizeof json - 1 + blank; i++) {
          memset(body + n, 0, width);
          body[n + (big ? width - 1 : 0)] = blank && !i ? ' ' : json[i - blank];
          n += width;
        }
        free(rig_post(&r, "/invocations", "", body, n));
        free(rig_post(&r, CHAT, "", body, n));
      }
  assert_int_equal(r.engine[0].requests, 0);
  rig_stop(&r);
}

/* The proxy connects to rows of its table and to nobody else, whatever a request calls its target. */
static void test_targets(void **state)
{
  static const char *const asked[] = {
    "GET http://6.6.6.6/ HTTP/1.1\r\nHost: 6.6.6.6\r\nConnection: close\r\n\r\n",
    "GET http://6.6.6.6:1/v1/x HTTP/1.1\r\nHost: 6.6.6.6:1\r\nConnection: close\r\n\r\n",
    "GET http://user@6.6.6.6/ HTTP/1.1\r\nHost: 6.6.6.6\r\nConnection: close\r\n\r\n",
    "GET //6.6.6.6/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: 6.6.6.6\r\nConnection: close\r\n\r\n",
    "CONNECT 6.6.6.6:1 HTTP/1.1\r\nHost: 6.6.6.6:1\r\nConnection: close\r\n\r\n",
  };
  static rig r;
  (void)state;
  rig_start(&r, 2, "");
  for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
    char *answer = rig_ask(&r, asked[i], strlen(asked[i]));
    assert_memory_equal(answer, "HTTP/1.1 ", 9);
    if (i != 3) /* a path like any other */
      engines_are_clean(&r, asked[i]);
    for (int k = 0; k < 2; k++)
      r.engine[k].seen_len = 0;
    free(answer);
  }
  rig_stop(&r);
}

/* What no client may set is taken out, what it may stays. */
static void test_rest_stays(void **state)
{
  static const char body[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"kv_transfer_params bootstrap_host\"}],"
                             "\"kv_transfer_params\":1,\"mm_processor_kwargs\":{\"a\":2},\"n\":1}";
  static const char kept[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"kv_transfer_params bootstrap_host\"}],"
                             "\"mm_processor_kwargs\":{\"a\":2},\"n\":1}";
  static rig r;
  (void)state;
  rig_start(&r, 1, "");
  free(rig_post(&r, CHAT, "", body, sizeof body - 1));
  assert_non_null(strstr(r.engine[0].seen, kept));
  free(rig_post(&r, "/invocations", "", body, sizeof body - 1));
  assert_non_null(strstr(r.engine[0].seen, kept));
  rig_stop(&r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_headers), cmocka_unit_test(test_bodies),     cmocka_unit_test(test_wide),
    cmocka_unit_test(test_targets), cmocka_unit_test(test_rest_stays),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
