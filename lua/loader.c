/* The door (llmd/loader.h): one table, one exported symbol. */
#include <string.h>

#include "module.h"

static int load(const llmd_program *in, void **policy, llmd_err *err)
{
  llmd__lua_policy *p = NULL;
  int rc = llmd__lua_policy_make(in, &p, err);
  if (!rc)
    *policy = p;
  return rc;
}

static const llmd_plugin *plugin(const void *policy)
{
  return &((const llmd__lua_policy *)policy)->plugin;
}

static void text(const void *policy, llmd_str *out)
{
  const llmd__lua_policy *p = policy;
  out->ptr = p->text;
  out->len = p->len;
}

static int reads_prompt(const llmd__lua_policy *p)
{
  for (uint32_t i = 0; i < p->n_reads; i++)
    if (p->read[i].shows == LLMD__LUA_SHOWS_PROMPT)
      return 1;
  return 0;
}

/* A state is opened to see whether the policy fits into its memory: better said now than by each lane. */
static int try_it(const llmd__lua_self *self, llmd_err *err)
{
  llmd_host host = {.size = sizeof host, .rows = 1, .alloc = self->policy->alloc};
  llmd__lua_own *o = NULL;
  int rc = llmd__lua_own_try(self, &host, &o, err);
  if (rc == LLMD_E_NOMEM && self->memory)
    return llmd__lua_say(err, rc, 0, self->policy->chunk, "memory: %lld bytes are too few for this policy",
                         (long long)self->memory);
  llmd__lua_own_close(o);
  return rc;
}

static int bind(void *policy, void *self, llmd_err *err)
{
  llmd__lua_policy *p = policy;
  llmd__lua_self *s = self;
  if (reads_prompt(p) && !s->prompt)
    return llmd__lua_say(err, LLMD_E_DENIED, llmd__lua_line_of(p, "prompt"), p->chunk,
                         "the policy reads prompts: the operator must allow it with the parameter prompt: true");
  s->policy = p;
  p->self = s;
  return try_it(s, err);
}

static void unload(void *policy)
{
  llmd__lua_policy_free(policy);
}

static const llmd_loader loader = {
  .size = sizeof loader, .abi = LLMD_LOADER_ABI,
  .type = "lua", .summary = "policies in Lua 5.4",
  .load = load, .plugin = plugin, .text = text, .bind = bind, .unload = unload,
  .examples = llmd__lua_examples, .eval = llmd__lua_eval};

LLMD_API const llmd_loader *llmd_loader_module(uint32_t abi);
const llmd_loader *llmd_loader_module(uint32_t abi)
{
  return abi == LLMD_LOADER_ABI ? &loader : NULL;
}
