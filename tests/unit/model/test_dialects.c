/* What each path claims and what each key means. */
#include "read_request.h"

static void paths_claim_their_longest_suffix(void **state)
{
  static const struct {
    const char *path;
    uint32_t dialect;
  } cases[] = {
      {"/v1/chat/completions", LLMD_DIALECT_OPENAI_CHAT},
      {"/v1/projects/p/endpoints/openapi/chat/completions", LLMD_DIALECT_OPENAI_CHAT},
      {"/v1/completions?api-version=1", LLMD_DIALECT_OPENAI_COMPLETIONS},
      {"/v1/completions/", LLMD_DIALECT_OPENAI_COMPLETIONS},
      {"completions", LLMD_DIALECT_OPENAI_COMPLETIONS}, {"/v1/responses", LLMD_DIALECT_OPENAI_RESPONSES},
      {"/v1/embeddings", LLMD_DIALECT_OPENAI_EMBEDDINGS}, {"/v1/messages", LLMD_DIALECT_ANTHROPIC_MESSAGES},
      {"/v1/messages/count_tokens", LLMD_DIALECT_PASSTHROUGH}, {"/inference/v1/generate", LLMD_DIALECT_VLLM_GENERATE},
      {"/generate", LLMD_DIALECT_SGLANG_GENERATE}, {"/generate/?x", LLMD_DIALECT_SGLANG_GENERATE},
      {"/api/generate", LLMD_DIALECT_PASSTHROUGH}, {"/v1/conversations", LLMD_DIALECT_OPENAI_OTHER},
      {"/v1/chat/completions/render", LLMD_DIALECT_OPENAI_OTHER}, {"/v1/images/generations", LLMD_DIALECT_OPENAI_OTHER},
      {"/v1/models", LLMD_DIALECT_PASSTHROUGH}, {"/", LLMD_DIALECT_PASSTHROUGH},
      {"/mycompletions", LLMD_DIALECT_PASSTHROUGH},
      {"/v1/chat/completions?next=/v1/messages", LLMD_DIALECT_OPENAI_CHAT},
  };
  llmd_request *r = new_request(NULL);
  (void)state;
  assert_int_equal(info_of(r).dialect, LLMD_DIALECT_OPENAI_COMPLETIONS);
  assert_text(info_of(r).path, LEN("/v1/completions"));
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    llmd_request_reset(r);
    assert_int_equal(llmd_request_line(r, LEN("POST"), cases[i].path, strlen(cases[i].path)), 0);
    if (info_of(r).dialect != cases[i].dialect)
      fail_msg("%s: dialect %u", cases[i].path, info_of(r).dialect);
    assert_text(info_of(r).path, cases[i].path, strlen(cases[i].path));
  }
  free(r);
}

#define RESPONSES "/v1/responses"
#define EMBEDDINGS "/v1/embeddings"
#define MESSAGES "/v1/messages"
#define VLLM "/inference/v1/generate"
#define SGLANG "/generate"

static void prompts_come_in_template_order(void **state)
{
  static const struct {
    const char *path, *body, *found;
  } cases[] = {
      /* chat */
      {CHAT, "{'messages':[{'role':'user','content':'hi'}],'tools':[{'x': 1}]}",
       "tools:[{'x': 1}] role:user text:hi"},
      {CHAT, "{'messages':[{'content':'hi','role':'user'},{'content':null,'role':'assistant'}],'tools':[ ]}",
       "role:user text:hi role:assistant"},
      {CHAT, "{'messages':[{'role':'u','content':[{'type':'text','text':'a'},{'text':'b','type':'text'},'c']}]}",
       "role:u text:a text:b text:c"},
      {CHAT, "{'messages':[{'role':'u','content':[{'type':'image_url','image_url':{'detail':'low','url':'U'}},{'type':"
       "'image_url','image_url':'V'},{'type':'input_audio','input_audio':{'data':'D','format':'wav'}},{'type':"
       "'video_url','video_url':{'url':'W'}},{'type':'file','file':{'file_data':'F'}}]}]}",
       "role:u media:U media:V media:D media:W media:F"},
      {CHAT, "{'messages':[{'content':[{'text':'no type'},{'type':'text','image_url':'U'},{'type':'refusal','text':"
       "'x'},{'image_url':{'url':'U'}},7,[{'type':'text','text':'x'}]]}]}", "text:no type media:U"},
      {CHAT, "{'prompt':'not here','messages':'nor here'}", ""},
      {CHAT, "{'messages':[{'content':{'text':'x'}},'x',[{'content':'x'}]],'tools':{'a':[1]}}", ""},
      /* completions */
      {COMPLETIONS, "{'prompt':'p'}", "text:p"},
      {COMPLETIONS, "{'prompt':['a','','c']}", "text:a | text: | text:c"},
      {COMPLETIONS, "{'prompt':[ 1, 2 ]}", "ids:[ 1, 2 ]"},
      {COMPLETIONS, "{'prompt':[[1],[],[2,3]]}", "ids:[1] | ids:[] | ids:[2,3]"},
      {COMPLETIONS, "{'prompt':[null,{'a':[1]},'x']}", "text:x"},
      {COMPLETIONS, "{'prompt':[]}", ""},
      /* responses */
      {RESPONSES, "{'input':'i','instructions':'s','tools':[1]}", "tools:[1] text:s text:i"},
      {RESPONSES, "{'input':[{'role':'user','content':[{'type':'input_text','text':'t'},{'type':'input_image',"
       "'image_url':'U'}]},{'type':'function_call','name':'f','arguments':'{}'},{'type':'function_call_output',"
       "'output':'o'}]}", "role:user text:t media:U text:{} text:o"},
      /* embeddings */
      {EMBEDDINGS, "{'input':['a','b']}", "text:a | text:b"},
      {EMBEDDINGS, "{'input':[5]}", "ids:[5]"},
      {EMBEDDINGS, "{'messages':[{'role':'user','content':'e'}]}", "role:user text:e"},
      /* Anthropic */
      {MESSAGES, "{'messages':[{'role':'user','content':'u'}],'system':'s','tools':[0]}",
       "tools:[0] text:s role:user text:u"},
      {MESSAGES, "{'system':[{'type':'text','text':'x-anthropic-billing-header: cc'},{'type':'text','text':'s'}]}",
       "text:s"},
      {MESSAGES, "{'messages':[{'role':'assistant','content':[{'type':'thinking','thinking':'h'},{'type':'tool_use',"
       "'input':{'q': 1},'name':'n','id':'i'}]},{'role':'user','content':[{'type':'tool_result','content':[{'type':"
       "'text','text':'r'},{'type':'image','source':{'type':'base64','data':'D'}}]},{'content':'r2','type':"
       "'tool_result'},{'content':[{'type':'text','text':'x'}],'type':'text','text':'t'}]}]}",
       "role:assistant text:h text:i text:n tools:{'q': 1} role:user text:r media:D text:r2 text:t"},
      {MESSAGES, "{'messages':[{'content':[{'type':'text','content':[{'type':'image','source':{'data':'D'}}],'text':"
       "'t'}]}]}",
       "text:t"},
      /* native */
      {VLLM, "{'token_ids':[7,8]}", "ids:[7,8]"},
      {SGLANG, "{'input_ids':[[7],[8]],'text':'not used'}", "ids:[7] | ids:[8]"},
      {SGLANG, "{'text':['a','b']}", "text:a | text:b"},
      {"/v1/conversations", "{'items':[{'role':'user','content':'x'}]}", ""},
      {"/v1/models", "not JSON at all \xff", ""},
  };
  llmd_request *r = new_request(NULL);
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(read_text(r, cases[i].path, cases[i].body), 0);
    assert_spelled(r, cases[i].body, cases[i].found);
  }
  free(r);
}

static void the_last_key_wins(void **state)
{
  static const struct {
    const char *path, *body, *found;
  } cases[] = {
      {CHAT, "{'messages':[{'role':'a','content':'1'}],'tools':[1],'messages':[{'role':'b','content':'2'}]}",
       "tools:[1] role:b text:2"},
      {CHAT, "{'tools':[1],'messages':[{'content':'1'}],'tools':[2]}", "tools:[2] text:1"},
      {CHAT, "{'messages':[{'content':'1'}],'messages':5}", ""},
      {CHAT, "{'messages':[{'role':'a','content':'1','role':'b','content':'2'}]}", "role:b text:2"},
      {CHAT, "{'messages':[{'content':'1','role':'a','content':[{'type':'text','text':'2'}],'role':3}]}", "text:2"},
      {CHAT, "{'messages':[{'content':[{'type':'image_url','text':'1','text':'2','type':'text'}]}]}", "text:2"},
      {CHAT, "{'messages':[{'content':[{'type':'text','text':'1','text':null}]}]}", ""},
      {CHAT, "{'messages':[{'role':'a','role':3,'role':4,'content':'1','content':'2'}]}", "text:2"},
      {COMPLETIONS, "{'prompt':[1,2],'prompt':'p'}", "text:p"},
      {COMPLETIONS, "{'prompt':['a','b'],'prompt':['c']}", "text:c"},
      {MESSAGES, "{'messages':[{'content':[{'type':'tool_result','content':'1','content':[{'type':'text','text':"
       "'2'}]}]}]}", "text:2"},
  };
  llmd_request *r = new_request(NULL);
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(read_text(r, cases[i].path, cases[i].body), 0);
    assert_spelled(r, cases[i].body, cases[i].found);
  }
  assert_int_equal(read_text(r, CHAT, "{'model':'a','stream':true,'max_tokens':5,'cache_salt':'s','model':'bcd',"
      "'stream':0,'max_tokens':null,'cache_salt':7}"), 0);
  assert_text(info_of(r).model, LEN("bcd"));
  assert_null(info_of(r).cache_salt.ptr);
  assert_int_equal(info_of(r).max_tokens, -1);
  assert_int_equal(info_of(r).flags, LLMD_REQUEST_FINAL);
  free(r);
}

/* A section that starts anew leaves a hole, which is used again before the cap is reached. */
static void repeated_sections_need_no_more_room(void **state)
{
  const llmd_request_options o = {.size = sizeof o, .max_segments = 6};
  char body[4096];
  llmd_request *r = new_request(&o);
  size_t n = (size_t)snprintf(body, sizeof body, "{'tools':[0],'messages':[{'role':'u','content':'c'}]");
  (void)state;
  for (int i = 1; i <= 40; i++)
    n += (size_t)snprintf(body + n, sizeof body - n, ",'tools':[%d]", i);
  n += (size_t)snprintf(body + n, sizeof body - n, ",'messages':[{'role':'v','content':'d'}],'tools':[99]}");
  assert_int_equal(read_text(r, CHAT, body), 0);
  assert_spelled(r, body, "tools:[99] role:v text:d");
  n = (size_t)snprintf(body, sizeof body, "{'a':0");
  for (int i = 1; i <= 25; i++)
    n += (size_t)snprintf(body + n, sizeof body - n, ",'tools':[%d],'messages':[{'role':'r%d','content':'c%d'}]", i, i,
        i);
  snprintf(body + n, sizeof body - n, "}");
  assert_int_equal(read_text(r, CHAT, body), 0);
  assert_spelled(r, body, "tools:[25] role:r25 text:c25");
  /* the tools stand last when the table is packed, and the messages then take all the room there is */
  const char *packed = "{'tools':[1],'messages':[{'role':'a','content':'b'}],'tools':[2],'messages':[{'role':'c',"
      "'content':'d'}],"
                       "'tools':[3],'messages':[{'role':'e','content':'f'}],'tools':[4],'messages':[{'role':'g',"
                           "'content':"
                       "['h','i','j','k']}]}";
  assert_int_equal(read_text(r, CHAT, packed), 0);
  assert_spelled(r, packed, "tools:[4] role:g text:h text:i text:j text:k");
  free(r);
}

static void limits_in_all_spellings(void **state)
{
  static const struct {
    const char *path, *body;
    int64_t limit;
    uint32_t saturated;
  } cases[] = {
      {CHAT, "{'max_tokens':5}", 5, 0}, {CHAT, "{'max_completion_tokens':7,'max_tokens':5}", 7, 0},
      {CHAT, "{'max_tokens':5,'max_completion_tokens':null}", 5, 0},
      {CHAT, "{'max_completion_tokens':'7','max_tokens':5}", 5, 0},
      {CHAT, "{'max_completion_tokens':-1,'max_tokens':0}", 0, 0}, {CHAT, "{'max_output_tokens':9}", -1, 0},
      {COMPLETIONS, "{'max_tokens':100.0}", 100, 0}, {COMPLETIONS, "{'max_tokens':1e3}", 1000, 0},
      {COMPLETIONS, "{'max_tokens':1.5}", -1, 0}, {COMPLETIONS, "{'max_completion_tokens':5}", -1, 0},
      {COMPLETIONS, "{'max_tokens':9007199254740993}", INT64_C(9007199254740993), 0},
      {COMPLETIONS, "{'max_tokens':9223372036854775807}", INT64_MAX, 0},
      {COMPLETIONS, "{'max_tokens':9223372036854775808}", INT64_MAX, 1},
      {COMPLETIONS, "{'max_tokens':99999999999999999999999999}", INT64_MAX, 1},
      {COMPLETIONS, "{'max_tokens':1e40}", INT64_MAX, 1},
      {COMPLETIONS, "{'max_tokens':1e40,'max_tokens':3}", 3, 0}, {RESPONSES, "{'max_output_tokens':4}", 4, 0},
      {MESSAGES, "{'max_tokens':6}", 6, 0}, {VLLM, "{'sampling_params':{'max_tokens':8},'max_tokens':1}", 8, 0},
      {SGLANG, "{'sampling_params':{'max_new_tokens':8}}", 8, 0},
      {SGLANG, "{'sampling_params':[{'max_new_tokens':8}]}", -1, 0},
      {EMBEDDINGS, "{'max_tokens':8}", -1, 0},
  };
  llmd_request *r = new_request(NULL);
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(read_text(r, cases[i].path, cases[i].body), 0);
    llmd_request_info info = info_of(r);
    uint32_t flags = LLMD_REQUEST_FINAL | (cases[i].saturated ? LLMD_REQUEST_SATURATED : 0);
    if (info.max_tokens != cases[i].limit || info.flags != flags)
      fail_msg("%s: %lld, flags %u", cases[i].body, (long long)info.max_tokens, info.flags);
  }
  assert_int_equal(read_text(r, CHAT, "{'priority':-9223372036854775808}"), 0);
  assert_true(info_of(r).priority == INT64_MIN && !(info_of(r).flags & LLMD_REQUEST_SATURATED));
  assert_int_equal(read_text(r, CHAT, "{'priority':-9223372036854775809}"), 0);
  assert_true(info_of(r).priority == INT64_MIN && (info_of(r).flags & LLMD_REQUEST_SATURATED));
  free(r);
}

static void names_and_flags(void **state)
{
  llmd_request *r = new_request(NULL);
  (void)state;
  assert_int_equal(read_text(r, CHAT, "{'mod\\u0065l':'a\\u0000b\\ud83d\\ude00\\ud800\\/','Model':'x','model ':'y',"
      "'cache_salt':'\\u0000','extra_key':'k','lora_path':'l','stream':true}"), 0);
  assert_text(info_of(r).model, LEN("a\0b\xf0\x9f\x98\x80\xef\xbf\xbd/"));
  assert_text(info_of(r).cache_salt, LEN("\0"));
  assert_null(info_of(r).lora.ptr);
  assert_int_equal(info_of(r).flags, LLMD_REQUEST_FINAL | LLMD_REQUEST_STREAM);
  assert_int_equal(read_text(r, SGLANG, "{'cache_salt':'x','extra_key':'k','lora_path':'l','input_ids':[1],"
      "'image_data':['u']}"), 0);
  assert_text(info_of(r).cache_salt, LEN("k"));
  assert_text(info_of(r).lora, LEN("l"));
  assert_int_equal(info_of(r).flags, LLMD_REQUEST_FINAL | LLMD_REQUEST_TOKEN_IDS | LLMD_REQUEST_MULTIMODAL);
  assert_int_equal(read_text(r, CHAT, "{'messages':[{'content':[{'type':'image_url','image_url':{'url':'u'}}]}]}"), 0);
  assert_int_equal(info_of(r).flags, LLMD_REQUEST_FINAL | LLMD_REQUEST_MULTIMODAL);
  assert_int_equal(read_text(r, "/v1/models", "{'model':'x'}"), 0);
  assert_null(info_of(r).model.ptr);
  assert_int_equal(info_of(r).body_bytes, 13);
  free(r);
}

static void ids_must_be_ids(void **state)
{
  static const struct {
    const char *path, *body;
    int error;
    unsigned offset;
  } cases[] = {
      {COMPLETIONS, "{'prompt':[1,4294967295]}", 0, 0},
      {COMPLETIONS, "{'prompt':[1,4294967296]}", LLMD_E_RANGE, 13},
      {COMPLETIONS, "{'prompt':[1,-1]}", LLMD_E_RANGE, 13}, {COMPLETIONS, "{'prompt':[-0]}", 0, 0},
      {COMPLETIONS, "{'prompt':[1,2.0]}", LLMD_E_TYPE, 13}, {COMPLETIONS, "{'prompt':[1,'a']}", LLMD_E_TYPE, 13},
      {COMPLETIONS, "{'prompt':[1,[2]]}", LLMD_E_TYPE, 13}, {COMPLETIONS, "{'prompt':[1,null]}", LLMD_E_TYPE, 13},
      {COMPLETIONS, "{'prompt':['a',1]}", LLMD_E_TYPE, 15}, {COMPLETIONS, "{'prompt':[[1],2]}", LLMD_E_TYPE, 15},
      {COMPLETIONS, "{'prompt':[[1],'a']}", LLMD_E_TYPE, 15},
      {COMPLETIONS, "{'prompt':[[1,true]]}", LLMD_E_TYPE, 14},
      {SGLANG, "{'input_ids':['a']}", LLMD_E_TYPE, 14}, {SGLANG, "{'input_ids':'a'}", 0, 0},
      {VLLM, "{'token_ids':[18446744073709551617]}", LLMD_E_RANGE, 14},
      {COMPLETIONS, "{'prompt':[11,22,]                }", LLMD_E_SYNTAX, 17},
      {COMPLETIONS, "{'prompt':[[11,22,]]                }", LLMD_E_SYNTAX, 18},
      {COMPLETIONS, "{'prompt':[11,,22]                }", LLMD_E_SYNTAX, 14},
      {COMPLETIONS, "{'prompt':[011,22]                }", LLMD_E_SYNTAX, 12},
      {COMPLETIONS, "{'prompt':[11 ,22]                }", 0, 0},
  };
  llmd_request *r = new_request(NULL);
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    if (read_text(r, cases[i].path, cases[i].body) != cases[i].error || info_of(r).error_offset != cases[i].offset)
      fail_msg("%s: %s at %llu", cases[i].body, llmd_errname(info_of(r).error),
          (unsigned long long)info_of(r).error_offset);
  free(r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(paths_claim_their_longest_suffix), cmocka_unit_test(prompts_come_in_template_order),
      cmocka_unit_test(the_last_key_wins), cmocka_unit_test(repeated_sections_need_no_more_room),
      cmocka_unit_test(limits_in_all_spellings), cmocka_unit_test(names_and_flags), cmocka_unit_test(ids_must_be_ids),
  };
  return cmocka_run_group_tests_name("dialects", tests, NULL, NULL);
}
