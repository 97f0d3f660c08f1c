/* See strikes.h. */
#include <string.h>

#include <llmd/log.h>

#include "strikes.h"

#define STRIKES (sizeof((llmd__lua_own *)0)->strike / sizeof(uint64_t))
#define WITHIN_NS 60000000000u

/* Records that are decided again by another text come in any order: one from before the strikes is not left out. */
int llmd__lua_bypassed(const llmd__lua_own *o, uint64_t now)
{
  return now < o->bypass_until && o->bypass_until - now <= (uint64_t)o->self->bypass;
}

/* "left out for 30 s after failing three times, last: MESSAGE" */
static void tell(const llmd__lua_own *o)
{
  static const char after[] = " s after failing three times, last: ";
  char line[sizeof "left out for " + 24 + sizeof after + LLMD__LUA_TROUBLE], digits[24];
  size_t n = 0, d = sizeof digits;
  uint64_t s = (uint64_t)o->self->bypass / 1000000000;
  if (!o->host.log)
    return;
  memcpy(line, "left out for ", 13);
  n = 13;
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

void llmd__lua_strike(llmd__lua_own *o, uint64_t now)
{
  uint64_t *at = &o->strike[o->strikes % STRIKES];
  uint64_t first = o->strike[(o->strikes + 1) % STRIKES]; /* two strikes ago */
  *at = now;
  if (++o->strikes < STRIKES || now < first || now - first > WITHIN_NS)
    return;
  o->strikes = 0;
  if (o->self->bypass <= 0)
    return;
  o->bypass_until = now + (uint64_t)o->self->bypass;
  tell(o);
}
