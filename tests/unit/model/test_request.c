/* The object: memory, headers, what the host sets, edits. The body's reading is test_body.c and test_dialects.c. */
#include "read_request.h"

#include <math.h>

static void memory_is_the_callers(void **state)
{
  llmd_request_options o = {.size = sizeof o, .max_segments = 1};
  size_t n = llmd_request_size(&o);
  char *mem = malloc(n + 16);
  llmd_request *r = NULL;
  (void)state;
  assert_non_null(mem);
  assert_true(n < llmd_request_size(NULL));
  memset(mem, 7, n + 16);
  assert_int_equal(llmd_request_init(mem, n - 1, &o, &r), LLMD_E_INVALID);
  assert_int_equal(llmd_request_init(mem + 1, n, &o, &r), LLMD_E_INVALID);
  assert_int_equal(llmd_request_init(NULL, n, &o, &r), LLMD_E_INVALID);
  assert_null(r);
  assert_int_equal(llmd_request_init(mem, n, &o, &r), 0);
  assert_ptr_equal(r, mem);
  read_text(r, COMPLETIONS, "{'model':'m','prompt':'p'}");
  for (size_t i = 0; i < 16; i++)
    assert_int_equal(mem[n + i], 7);
  /* options of an older caller: what it does not know is the default */
  o.size = 8;
  assert_int_equal(llmd_request_size(&o), llmd_request_size(NULL));
  free(mem);
}

static void answers_fit_the_callers_struct(void **state)
{
  llmd_request *r = new_request(NULL);
  llmd_request_info i;
  llmd_segment s;
  (void)state;
  read_text(r, COMPLETIONS, "{'model':'m','prompt':'p'}");
  memset(&i, 7, sizeof i);
  i.size = offsetof(llmd_request_info, error);
  assert_int_equal(llmd_request_get(r, &i), 0);
  assert_int_equal(i.dialect, LLMD_DIALECT_OPENAI_COMPLETIONS);
  assert_int_equal(i.size, offsetof(llmd_request_info, error));
  assert_int_equal(i.error, 0x07070707);
  i.size = 4;
  assert_int_equal(llmd_request_get(r, &i), LLMD_E_INVALID);
  memset(&s, 7, sizeof s);
  s.size = offsetof(llmd_segment, offset);
  assert_int_equal(llmd_request_segment(r, 0, &s), 0);
  assert_int_equal(s.kind, LLMD_SEGMENT_TEXT);
  assert_int_equal(s.offset, UINT64_C(0x0707070707070707));
  assert_int_equal(llmd_request_segment(r, 1, &s), LLMD_E_NONE);
  free(r);
}

static int header(llmd_request *r, const char *name, const char *value)
{
  return llmd_request_header(r, name, strlen(name), value, strlen(value));
}

static void headers_are_found_in_any_case(void **state)
{
  llmd_request *r = new_request(NULL);
  llmd_str s = {NULL, 0};
  (void)state;
  assert_int_equal(header(r, "X-Request-ID", "r1"), 0);
  assert_int_equal(header(r, "EPP-Profile", "prefill"), 0);
  assert_int_equal(header(r, "test-epp-endpoint-selection", "10.0.0.1"), 0);
  assert_int_equal(header(r, "X-REQUEST-ID", "a longer one"), 0);
  assert_int_equal(header(r, "x-request-id", "r3"), 0);
  assert_int_equal(header(r, "empty", ""), 0);
  assert_int_equal(llmd_request_find_header(r, LEN("x-request-id"), &s), 0);
  assert_text(s, LEN("r3"));
  assert_text(info_of(r).request_id, LEN("r3"));
  assert_int_equal(llmd_request_find_header(r, LEN("epp-profile"), &s), 0);
  assert_text(s, LEN("prefill"));
  assert_int_equal(llmd_request_find_header(r, LEN("test-epp-endpoint-selection"), &s), 0);
  assert_int_equal(llmd_request_find_header(r, LEN("empty"), &s), 0);
  assert_int_equal(s.len, 0);
  assert_int_equal(llmd_request_find_header(r, LEN("nothing"), &s), LLMD_E_NONE);
  assert_int_equal(llmd_request_header(r, "", 0, "x", 1), LLMD_E_INVALID);
  llmd_request_reset(r);
  assert_int_equal(llmd_request_find_header(r, LEN("x-request-id"), &s), LLMD_E_NONE);
  assert_null(info_of(r).request_id.ptr);
  free(r);
}

static void headers_have_old_names(void **state)
{
  static const struct {
    const char *name, *old;
    size_t place;
  } cases[] = {
      {"x-llm-d-inference-fairness-id", "x-gateway-inference-fairness-id", offsetof(llmd_request_info, fairness_id)},
      {"x-llm-d-inference-objective", "x-gateway-inference-objective", offsetof(llmd_request_info, objective)},
      {"x-llm-d-model-name-rewrite", "x-gateway-model-name-rewrite", offsetof(llmd_request_info, model_rewrite)},
      {"x-session-id", NULL, offsetof(llmd_request_info, session)},
      {"x-session-token", NULL, offsetof(llmd_request_info, session_token)},
  };
  llmd_request *r = new_request(NULL);
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    llmd_request_reset(r);
    llmd_request_info info;
    if (cases[i].old) {
      header(r, cases[i].old, "old");
      info = info_of(r);
      assert_text(*(llmd_str *)(void *)((char *)&info + cases[i].place), LEN("old"));
    }
    header(r, cases[i].name, "new");
    if (cases[i].old)
      header(r, cases[i].old, "old again");
    info = info_of(r);
    assert_text(*(llmd_str *)(void *)((char *)&info + cases[i].place), LEN("new"));
  }
  llmd_request_reset(r);
  assert_true(isnan(info_of(r).slo_ttft_ms) && isnan(info_of(r).slo_tpot_ms));
  header(r, "x-slo-ttft-ms", " 250.5 ");
  header(r, "X-Slo-Tpot-Ms", "abc");
  assert_true(info_of(r).slo_ttft_ms == 250.5 && isnan(info_of(r).slo_tpot_ms));
  header(r, "x-llm-d-slo-ttft-ms", "1e2");
  header(r, "x-llm-d-slo-tpot-ms", "30");
  assert_true(info_of(r).slo_ttft_ms == 100 && info_of(r).slo_tpot_ms == 30);
  free(r);
}

static void routing_headers_of_clients_are_dropped(void **state)
{
  static const char *const owned[] = {
      "x-gateway-destination-endpoint", "X-Gateway-Destination-Endpoint-Subset",
          "x-gateway-destination-endpoint-served",
      "x-gateway-destination-endpoint-scores", "x-prefiller-host-port", "X-Prefiller-URL", "x-encoder-hosts-ports",
      "x-data-parallel-host-port", "x-kv-cache-source-host-port", "x-went-into-resp-headers",
      "x-llm-d-request-dropped-reason"};
  llmd_request *r = new_request(NULL);
  (void)state;
  for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) {
    char lower[64] = {0};
    llmd_str s;
    for (size_t k = 0; owned[i][k]; k++)
      lower[k] = (char)(owned[i][k] | (owned[i][k] >= 'A' && owned[i][k] <= 'Z' ? 32 : 0));
    assert_int_equal(header(r, owned[i], "10.0.0.1:80"), 0);
    assert_int_equal(llmd_request_find_header(r, lower, strlen(lower), &s), LLMD_E_NONE);
  }
  free(r);
}

static void caps_of_headers_leave_all_as_it_was(void **state)
{
  const llmd_request_options o = {.size = sizeof o, .max_headers = 2, .text_bytes = 20};
  llmd_request *r = new_request(&o);
  llmd_str s;
  (void)state;
  assert_int_equal(header(r, "a", "12345"), 0);
  assert_int_equal(header(r, "b", "12345678901234567890"), LLMD_E_LIMIT);
  assert_int_equal(header(r, "a", "12345678901234567890"), LLMD_E_LIMIT);
  assert_int_equal(llmd_request_find_header(r, "a", 1, &s), 0);
  assert_text(s, LEN("12345"));
  assert_int_equal(llmd_request_find_header(r, "b", 1, &s), LLMD_E_NONE);
  assert_int_equal(header(r, "b", "x"), 0);
  assert_int_equal(header(r, "c", "x"), LLMD_E_LIMIT);
  assert_int_equal(llmd_request_line(r, LEN("POST"), LEN("/v1/chat/completions")), LLMD_E_LIMIT);
  assert_int_equal(info_of(r).dialect, LLMD_DIALECT_OPENAI_COMPLETIONS);
  free(r);
}

/* Body strings share the text room with headers, and a replaced one gives its room back. */
static void replaced_models_need_no_more_room(void **state)
{
  const llmd_request_options o = {.size = sizeof o, .text_bytes = 64};
  char body[2048];
  llmd_request *r = new_request(&o);
  size_t n = (size_t)snprintf(body, sizeof body, "{'cache_salt':'salt'");
  (void)state;
  for (int i = 0; i < 30; i++)
    n += (size_t)snprintf(body + n, sizeof body - n, ",'model':'model number %d','cache_salt':'%0*d'", i,
        1 + i % 12, i);
  snprintf(body + n, sizeof body - n, "}");
  assert_int_equal(read_text(r, "/v1/completions", body), 0);
  assert_text(info_of(r).model, LEN("model number 29"));
  assert_text(info_of(r).cache_salt, LEN("000029"));
  assert_int_equal(read_text(r, COMPLETIONS, "{'model':'abc','cache_salt':'','model':'x','cache_salt':'yz'}"), 0);
  assert_text(info_of(r).model, LEN("x"));
  assert_text(info_of(r).cache_salt, LEN("yz"));
  free(r);
}

static void edits_leave_valid_json(void **state)
{
  static const char *const cases[][2] = {
      /* before, after */
      {"{'a':1}", "{'a':1}"},
      {"{'kv_transfer_params':{'x':[1,2]}}", "{}"},
      {"{ 'kv_transfer_params' : 1 }", "{  }"},
      {"{'kv_transfer_params':1,'a':2}", "{'a':2}"},
      {"{'kv_transfer_params':1 , 'a':2}", "{ 'a':2}"},
      {"{'a':1,'kv_transfer_params':2}", "{'a':1}"},
      {"{'a':1 , 'kv_transfer_params':2 }", "{'a':1  }"},
      {"{'a':1,'kv_transfer_params':2,'b':3}", "{'a':1,'b':3}"},
      {"{'bootstrap_host':'h','bootstrap_port':1,'bootstrap_room':2}", "{}"},
      {"{'bootstrap_host':'h','bootstrap_port':1,'a':3,'mm_hashes':[],'ec_transfer_params':null}",
       "{'a':3}"},
      {"{'a':1,'mm_x':2,'mm_y':3,'b':4,'mm_z':5,'c':6}", "{'a':1,'b':4,'c':6}"},
      {"{'kv\\u005ftransfer_params':1,'a':2}", "{'a':2}"},
      {"{'disaggregated_params':{'ctx_request_id':1},'a':2,'extra_body':{'disaggregated_params':3}}",
       "{'a':2,'extra_body':{}}"},
      {"{'data_parallel_rank':1,'a':2,'routed_dp_rank':3,'disagg_prefill_dp_rank':[4]}", "{'a':2}"},
      {"{'data_parallel_rank_':1,'routed_dp_ran':2,'disagg_prefill':3}",
       "{'data_parallel_rank_':1,'routed_dp_ran':2,'disagg_prefill':3}"},
      {"{'mm_processor_kwargs':{},'mm':1,'kv_transfer_param':2,'x_mm_':3,'KV_TRANSFER_PARAMS':4}",
       "{'mm_processor_kwargs':{},'mm':1,'kv_transfer_param':2,'x_mm_':3,'KV_TRANSFER_PARAMS':4}"},
      {"{'metadata':{'kv_transfer_params':1}}", "{'metadata':{'kv_transfer_params':1}}"},
      {"{'sampling_params':{'extra_args':{'kv_transfer_params':{},'a':1},'mm_x':2},'mm_y':3}",
       "{'sampling_params':{'extra_args':{'a':1}}}"},
      {"{'vllm_xargs':{'bootstrap_a':1},'extra_body':[{'mm_x':1},{'b':2,'mm_x':3}]}",
       "{'vllm_xargs':{},'extra_body':[{},{'b':2}]}"},
      {"{'kv_transfer_params':{'kv_transfer_params':1,'sampling_params':{'mm_a':1}},'a':1}", "{'a':1}"},
      {"{'messages':[{'kv_transfer_params':1}],'kv_transfer_params':'}\\''}",
       "{'messages':[{'kv_transfer_params':1}]}"},
  };
  llmd_request *r = new_request(NULL);
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(read_text(r, CHAT, cases[i][0]), 0);
    assert_string_equal(edited(r, json(cases[i][0])), json(cases[i][1]));
  }
  const char *foreign = "{'kv_transfer_params':1}";
  assert_int_equal(read_text(r, "/v1/models", foreign), 0);
  assert_string_equal(edited(r, json(foreign)), json(foreign));
  free(r);
}

static void edits_of_a_beginning_are_complete(void **state)
{
  static const char *const cases[][2] = {
      {"{'kv_transfer_params':1", "{'kv_transfer_params':1"},   /* more digits may follow */
      {"{'kv_transfer_params':{}", "{'kv_transfer_params':{}"}, /* a comma may follow */
      {"{'kv_transfer_params':{},", "{"},
      {"{'kv_transfer_params':{},'mm_a':1,'mm_", "{'mm_"},
      {"{'a':1,'mm_a':[2", "{'a':1,'mm_a':[2"},
      {"{'a':1,'mm_a':[2]", "{'a':1"},
      {"{'a':1,'mm_a':[2],'mm_b':[3", "{'a':1,'mm_b':[3"},
  };
  llmd_request *r = new_request(NULL);
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(read_whole(r, CHAT, json(cases[i][0]), strlen(cases[i][0]), LLMD_FEED_TRUNCATED), 0);
    assert_string_equal(edited(r, json(cases[i][0])), json(cases[i][1]));
  }
  free(r);
}

static void models_are_rewritten(void **state)
{
  static const char *const cases[][3] = {
      /* path, before, after */
      {CHAT, "{'model':'a','x':1}", "{'model':'n\\'\\\\\\u0001\xc3\xa9','x':1}"},
      {CHAT, "{'mod\\u0065l' : null, 'model':[{}]}", "{'mod\\u0065l' : 'n\\'\\\\\\u0001\xc3\xa9', 'model':"
       "'n\\'\\\\\\u0001\xc3\xa9'}"},
      {CHAT, "{'a':{'model':'a'}}", "{'model':'n\\'\\\\\\u0001\xc3\xa9','a':{'model':'a'}}"},
      {CHAT, " { } ", " {'model':'n\\'\\\\\\u0001\xc3\xa9' } "},
      {CHAT, "{'mm_a':1,'mm_b':2}", "{'model':'n\\'\\\\\\u0001\xc3\xa9'}"},
      {CHAT, "{'mm_a':1,'b':2}", "{'model':'n\\'\\\\\\u0001\xc3\xa9','b':2}"},
      {CHAT, "{'model':'n\\'\\\\\\u0001\\u00e9'}", "{'model':'n\\'\\\\\\u0001\\u00e9'}"},
       /* it is that already */
      {"/generate", "{'text':'x'}", "{'text':'x'}"},
      {"/v1/models", "{'model':'x'}", "{'model':'x'}"},
  };
  llmd_request *r = new_request(NULL);
  llmd_str model;
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(read_text(r, cases[i][0], cases[i][1]), 0);
    assert_int_equal(llmd_request_set_model(r, LEN("n\"\\\x01\xc3\xa9")), 0);
    assert_string_equal(edited(r, json(cases[i][1])), json(cases[i][2]));
    assert_int_equal(llmd__request_model(r, &model), 0);
    assert_text(model, LEN("n\"\\\x01\xc3\xa9"));
  }
  const char *body = "{'model':'a'}";
  assert_int_equal(read_text(r, CHAT, body), 0);
  assert_int_equal(llmd_request_set_model(r, LEN("b")), 0);
  assert_int_equal(llmd_request_set_model(r, LEN("\xff")), LLMD_E_UTF8);
  assert_string_equal(edited(r, json(body)), json("{'model':'b'}"));
  assert_text(info_of(r).model, LEN("a"));
  assert_int_equal(llmd_request_set_model(r, NULL, 0), 0);
  assert_string_equal(edited(r, json(body)), json(body));
  assert_int_equal(llmd__request_model(r, &model), 0);
  assert_text(model, LEN("a"));
  assert_int_equal(llmd_request_edits(r, NULL, 0), 0);
  llmd_request_reset(r);
  assert_int_equal(llmd__request_model(r, &model), LLMD_E_NONE);
  for (int i = 0; i < 10000; i++)
    assert_int_equal(llmd_request_set_model(r, LEN("the same again")), 0);
  free(r);
}

static void edits_are_counted_beyond_cap(void **state)
{
  llmd_request *r = new_request(NULL);
  llmd_edit e[2] = {{7, 7, {NULL, 7}}, {7, 7, {NULL, 7}}};
  (void)state;
  assert_int_equal(read_text(r, CHAT, "{'a':1,'mm_a':2,'b':3,'mm_b':4,'c':5}"), 0);
  assert_int_equal(llmd_request_edits(r, e, 1), 2);
  assert_int_equal(e[0].offset, 6);
  assert_int_equal(e[0].removed, 9);
  assert_int_equal(e[0].text.len, 0);
  assert_int_equal(e[1].offset, 7);
  free(r);
}

/* before, after: what is asked of a body that is whole. The same after and before: it is not to be asked. */
static const char *const usage_cases[][3] = {
    {CHAT, "{'stream':true}", "{'stream_options':{'include_usage':true},'stream':true}"},
    {COMPLETIONS, " { 'stream' : true } ", " {'stream_options':{'include_usage':true}, 'stream' : true } "},
    {CHAT, "{'stream':true,'stream_options':{}}", "{'stream':true,'stream_options':{'include_usage':true}}"},
    {CHAT, "{'stream_options': { } ,'stream':true}", "{'stream_options': {'include_usage':true } ,'stream':true}"},
    {CHAT, "{'stream_options':{'a':1},'stream':true}", "{'stream_options':{'include_usage':true,'a':1},'stream':true}"},
    {CHAT, "{'stream_options':{'include_usage':false,'a':1},'stream':true}",
     "{'stream_options':{'include_usage':true,'a':1},'stream':true}"},
    {CHAT, "{'stream_options':{'include_usage' : null },'stream':true}",
     "{'stream_options':{'include_usage' : true },'stream':true}"},
    /* the last of two counts */
    {CHAT, "{'stream_options':{'include_usage':'yes','include_usage':false},'stream':true}",
     "{'stream_options':{'include_usage':'yes','include_usage':true},'stream':true}"},
    {CHAT, "{'stream_options':{'include_usage':true},'stream_options':{},'stream':true}",
     "{'stream_options':{'include_usage':true},'stream_options':{'include_usage':true},'stream':true}"},
    {CHAT, "{'stream':false,'str\\u0065am':true,'stream_options':{'include\\u005fusage':false}}",
     "{'stream':false,'str\\u0065am':true,'stream_options':{'include\\u005fusage':true}}"},
    {CHAT, "{'stream_options':1,'stream_options':{},'stream':true}",
     "{'stream_options':1,'stream_options':{'include_usage':true},'stream':true}"},
    /* elsewhere it means nothing */
    {CHAT, "{'extra_body':{'stream_options':{'include_usage':true}},'stream':true}",
     "{'stream_options':{'include_usage':true},'extra_body':{'stream_options':{'include_usage':true}},'stream':true}"},
    {CHAT, "{'stream_options':{'a':{'include_usage':true}},'stream':true}",
     "{'stream_options':{'include_usage':true,'a':{'include_usage':true}},'stream':true}"},
    /* with what must go */
    {CHAT, "{'mm_x':1,'stream':true,'mm_y':2,'stream_options':{'include_usage':false},'mm_z':3}",
     "{'stream':true,'stream_options':{'include_usage':true}}"},
    {CHAT, "{'mm_x':1,'stream':true,'kv_transfer_params':{'stream_options':{'include_usage':true}}}",
     "{'stream_options':{'include_usage':true},'stream':true}"},
    /* nothing to ask */
    {CHAT, "{'stream':true,'stream_options':{'include_usage':true}}", NULL},
    {CHAT, "{'stream':true,'stream_options':{'include_usage':false,'include_usage':true}}", NULL},
    {CHAT, "{'stream':true,'stream_options':null}", NULL},
    /* an engine may take these for true, and then the chunk is the client's; or refuse them */
    {CHAT, "{'stream_options':{'include_usage':'yes'},'stream':true}", NULL},
    {CHAT, "{'stream_options':{'include_usage':[1,{'include_usage':false}]},'stream':true}", NULL},
    {CHAT, "{'stream_options':{'include_usage':{}},'stream':true}", NULL},
    {CHAT, "{'stream_options':{'include_usage':1},'stream':true}", NULL},
    {CHAT, "{'stream_options':{'include_usage':-1.5e3},'stream':true}", NULL},
    {CHAT, "{'stream_options':{'include_usage':null,'include_usage':'on'},'stream':true}", NULL},
    {CHAT, "{'stream':true,'stream_options':[{'include_usage':false}]}", NULL},
    {CHAT, "{'stream':true,'stream_options':{},'stream_options':'x'}", NULL},
    {CHAT, "{'stream':false}", NULL},
    {CHAT, "{'stream':true,'stream':null,'stream_options':{}}", NULL},
    {CHAT, "{'stream':'true'}", NULL},
    {CHAT, "{}", NULL},
    {"/v1/responses", "{'stream':true}", NULL},
    {"/v1/messages", "{'stream':true}", NULL},
    {"/v1/models", "{'stream':true}", NULL},
};

static void usage_is_asked_for(void **state)
{
  llmd_request *r = new_request(NULL);
  (void)state;
  for (size_t i = 0; i < sizeof usage_cases / sizeof *usage_cases; i++) {
    const char *const *c = usage_cases[i];
    int asked = c[2] != NULL;
    assert_int_equal(read_text(r, c[0], c[1]), 0);
    for (int again = 0; again < 2; again++) {
      assert_int_equal(llmd_request_ask_usage(r), asked);
      assert_string_equal(edited(r, json(c[1])), json(asked ? c[2] : c[1]));
    }
    if (!asked)
      continue;
    assert_int_equal(read_text(r, c[0], c[2]), 0);
    assert_int_equal(llmd_request_ask_usage(r), 0);
  }
  free(r);
}

static void usage_goes_with_the_other_edits(void **state)
{
  const char *body = "{'mm_a':1,'stream':true,'mm_b':2}", *want = "{'model':'m','stream_options':{'include_usage':true},"
                                                                   "'stream':true}";
  llmd_request *r = new_request(NULL);
  llmd_edit e[4];
  (void)state;
  assert_int_equal(read_text(r, CHAT, body), 0);
  assert_int_equal(llmd_request_set_model(r, LEN("m")), 0);
  assert_int_equal(llmd_request_ask_usage(r), 1);
  assert_string_equal(edited(r, json(body)), json(want));
  assert_int_equal(llmd_request_edits(r, e, 1), 4);
  body = "{'stream_options':{'include_usage':false},'model':'a','stream':true}";
  assert_int_equal(read_text(r, CHAT, body), 0);
  assert_string_equal(edited(r, json(body)), json(body)); /* what was asked of the one before is forgotten */
  assert_int_equal(llmd_request_set_model(r, LEN("m")), 0);
  assert_int_equal(llmd_request_ask_usage(r), 1);
  assert_string_equal(edited(r, json(body)), json("{'stream_options':{'include_usage':true},'model':'m','stream':true}"));
  free(r);
}

static void usage_is_not_asked_of_half_a_body(void **state)
{
  const char *body = json("{'stream':true}");
  llmd_request *r = new_request(NULL);
  (void)state;
  assert_int_equal(llmd_request_ask_usage(NULL), LLMD_E_INVALID);
  assert_int_equal(llmd_request_ask_usage(r), 0);
  assert_int_equal(read_whole(r, CHAT, body, strlen(body) - 1, LLMD_FEED_TRUNCATED), 0);
  assert_int_equal(llmd_request_ask_usage(r), 0);
  assert_int_equal(read_whole(r, CHAT, body, strlen(body) - 1, 0), LLMD_E_TRUNCATED);
  assert_int_equal(llmd_request_ask_usage(r), 0);
  assert_int_equal(read_whole(r, CHAT, "", 0, 0), 0);
  assert_int_equal(llmd_request_ask_usage(r), 0);
  llmd_request_reset(r);
  assert_int_equal(llmd_request_line(r, LEN("POST"), LEN(CHAT)), 0);
  assert_int_equal(llmd_request_feed(r, body, strlen(body), LLMD_FEED_KEEP), 0); /* it may go on */
  assert_int_equal(llmd_request_ask_usage(r), 0);
  assert_int_equal(llmd_request_feed(r, NULL, 0, LLMD_FEED_FINAL), 0);
  assert_int_equal(llmd_request_ask_usage(r), 1);
  free(r);
}

static void owned_headers_are_known_by_name(void **state)
{
  static const char *const owned[] = {"x-gateway-destination-endpoint", "X-Gateway-Destination-Endpoint-Subset",
                                      "x-prefiller-host-port", "X-PREFILLER-URL", "x-encoder-hosts-ports",
                                      "x-data-parallel-host-port", "x-kv-cache-source-host-port",
                                      "x-went-into-resp-headers", "x-llm-d-request-dropped-reason"};
  static const char *const free_ones[] = {"", "x", "host", "x-request-id", "x-gateway-destination-endpoin",
                                          "x-prefiller-host-port2", "x-session-token", "x-llm-d-inference-objective"};
  (void)state;
  for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
    assert_int_equal(llmd_header_owned(owned[i], strlen(owned[i])), 1);
  for (size_t i = 0; i < sizeof free_ones / sizeof *free_ones; i++)
    assert_int_equal(llmd_header_owned(free_ones[i], strlen(free_ones[i])), 0);
  assert_int_equal(llmd_header_owned(NULL, 4), 0);
}

static void the_host_sets_candidates_and_columns(void **state)
{
  const llmd_request_options o = {.size = sizeof o, .max_endpoints = 2, .max_values = 4};
  const llmd_endpoint_id ids[3] = {11, 12, 13};
  const double a[3] = {1, 2, 3}, b[2] = {8, 9};
  llmd_request *r = new_request(&o);
  llmd__host_column c;
  size_t n;
  (void)state;
  assert_null(llmd__request_subset(r, &n));
  assert_int_equal(llmd_request_set_subset(r, ids, 2), 0);
  assert_int_equal(llmd_request_set_subset(r, ids, 3), LLMD_E_LIMIT);
  assert_int_equal(llmd__request_subset(r, &n)[1], 12);
  assert_int_equal(n, 2);
  assert_int_equal(llmd_request_set_subset(r, ids, 0), 0);
  assert_non_null(llmd__request_subset(r, &n));
  assert_int_equal(n, 0);
  assert_int_equal(llmd_request_set_subset(r, NULL, 0), 0);
  assert_null(llmd__request_subset(r, &n));
  assert_int_equal(llmd_request_set_exclude(r, ids + 2, 1), 0);
  assert_int_equal(llmd__request_exclude(r, &n)[0], 13);
  assert_int_equal(n, 1);

  assert_int_equal(llmd_request_set_column(r, 5, ids, a, 3), 0);
  assert_int_equal(llmd_request_set_column(r, 6, ids, b, 2), LLMD_E_LIMIT);
  assert_int_equal(llmd_request_set_column(r, 6, ids + 2, b, 1), 0);
  assert_int_equal(llmd_request_set_column(r, 5, ids + 1, b, 2), 0); /* replaces */
  assert_int_equal(llmd_request_set_column(r, 7, NULL, NULL, 0), 0); /* known to be unknown */
  assert_int_equal(llmd_request_set_column(r, 8, ids, a, 1), 0);
  assert_int_equal(llmd__request_columns(r), 4);
  llmd__request_column(r, 0, &c);
  assert_true(c.attribute == 6 && c.n == 1 && c.ids[0] == 13 && c.values[0] == 8);
  llmd__request_column(r, 1, &c);
  assert_true(c.attribute == 5 && c.n == 2 && c.ids[0] == 12 && c.ids[1] == 13 && c.values[1] == 9);
  llmd__request_column(r, 2, &c);
  assert_true(c.attribute == 7 && c.n == 0);
  assert_int_equal(llmd_request_set_column(r, 8, NULL, NULL, 0), 0);
  for (uint32_t i = 100; i < 112; i++)
    assert_int_equal(llmd_request_set_column(r, i, NULL, NULL, 0), 0);
  assert_int_equal(llmd_request_set_column(r, 200, NULL, NULL, 0), LLMD_E_LIMIT);
  assert_int_equal(llmd_request_set_column(r, 6, ids, b, 2), 0);
  assert_int_equal(llmd_request_set_priority(r, -3), 0);
  assert_int_equal(llmd__request_priority(r), -3);
  llmd_request_reset(r);
  assert_int_equal(llmd__request_columns(r), 0);
  assert_int_equal(llmd__request_priority(r), 0);
  llmd__request_exclude(r, &n);
  assert_int_equal(n, 0);
  free(r);
}

static void the_scheduler_has_its_own_room(void **state)
{
  const llmd_request_options o = {.size = sizeof o, .max_blocks = 5};
  llmd_request *r = new_request(&o);
  uint32_t n = 0;
  (void)state;
  void *keys = llmd__request_keys(r, &n);
  assert_int_equal(n, 5);
  assert_int_equal((uintptr_t)keys % 16, 0);
  memset(keys, 0xee, 80);
  llmd__request_sched_state(r)->ticket = 9;
  assert_int_equal(read_text(r, COMPLETIONS, "{'model':'m'}"), 0); /* resets first */
  assert_int_equal(llmd__request_sched_state(r)->ticket, 0);
  assert_text(info_of(r).model, LEN("m"));
  free(r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(memory_is_the_callers), cmocka_unit_test(answers_fit_the_callers_struct),
      cmocka_unit_test(headers_are_found_in_any_case), cmocka_unit_test(headers_have_old_names),
      cmocka_unit_test(routing_headers_of_clients_are_dropped), cmocka_unit_test(caps_of_headers_leave_all_as_it_was),
      cmocka_unit_test(replaced_models_need_no_more_room), cmocka_unit_test(edits_leave_valid_json),
      cmocka_unit_test(edits_of_a_beginning_are_complete), cmocka_unit_test(models_are_rewritten),
      cmocka_unit_test(usage_is_asked_for), cmocka_unit_test(usage_goes_with_the_other_edits),
      cmocka_unit_test(usage_is_not_asked_of_half_a_body), cmocka_unit_test(owned_headers_are_known_by_name),
      cmocka_unit_test(edits_are_counted_beyond_cap), cmocka_unit_test(the_host_sets_candidates_and_columns),
      cmocka_unit_test(the_scheduler_has_its_own_room),
  };
  return cmocka_run_group_tests_name("request", tests, NULL, NULL);
}
