/* See strikes.h. */
#include <string.h>

#include <llmd/log.h>

#include "strikes.h"

#define STRIKES (sizeof((llmd__lua_strikes *)0)->at / sizeof(uint64_t))
#define WITHIN_NS 60000000000u

static uint32_t which(uint32_t verb)
{
  return verb == LLMD__LUA_COMMIT || verb == LLMD__LUA_REPORT;
}

/* Records that are decided again by another text come in any order: one from before the strikes is not left out. */
int llmd__lua_bypassed(const llmd__lua_own *o, uint32_t verb, uint64_t now)
{
  const llmd__lua_strikes *s = &o->strikes[which(verb)];
  return now < s->until && s->until - now <= (uint64_t)o->self->bypass;
}

/* "left out for 30 s after failing three times, last: MESSAGE" */
static void tell(const llmd__lua_own *o, uint32_t verb)
{
  static const char *const heads[] = {"left out for ", "commit and report left out for "};
  static const char after[] = " s after failing three times, last: ";
  char line[32 + 24 + sizeof after + LLMD__LUA_TROUBLE], digits[24];
  size_t n = strlen(heads[which(verb)]), d = sizeof digits;
  uint64_t s = (uint64_t)o->self->bypass / 1000000000;
  if (!o->host.log)
    return;
  memcpy(line, heads[which(verb)], n);
  do
    digits[--d] = (char)('0' + s % 10);
  while (s /= 10);
  memcpy(line + n, digits + d, sizeof digits - d);
  n += sizeof digits - d;
  memcpy(line + n, after, sizeof after - 1);
  n += sizeof after - 1;
  memcpy(line + n, o->lua.trouble, o->lua.trouble_len);
  o->host.log(o->host.ctx, LLMD_LOG_WARN, line, n + o->lua.trouble_len);
}

/* "commit failed: MESSAGE" */
void llmd__lua_unseen(const llmd__lua_own *o, uint32_t verb)
{
  static const char after[] = " failed: ";
  char line[32 + sizeof after + LLMD__LUA_TROUBLE];
  const char *name = llmd__lua_verb_names[verb];
  size_t n = strlen(name);
  if (!o->host.log || n > 32)
    return;
  memcpy(line, name, n);
  memcpy(line + n, after, sizeof after - 1);
  n += sizeof after - 1;
  memcpy(line + n, o->lua.trouble, o->lua.trouble_len);
  o->host.log(o->host.ctx, LLMD_LOG_DEBUG, line, n + o->lua.trouble_len);
}

void llmd__lua_strike(llmd__lua_own *o, uint32_t verb, uint64_t now)
{
  llmd__lua_strikes *s = &o->strikes[which(verb)];
  uint64_t first = s->at[(s->n + 1) % STRIKES]; /* two strikes ago */
  s->at[s->n % STRIKES] = now;
  if (++s->n < STRIKES || now < first || now - first > WITHIN_NS)
    return;
  s->n = 0;
  if (o->self->bypass <= 0)
    return;
  s->until = now + (uint64_t)o->self->bypass;
  tell(o, verb);
}
