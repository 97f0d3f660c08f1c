#include "sched/names.h"

#include <llmd/error.h>

static const char *name_at(const char *const *names, uint32_t n, uint32_t i)
{
  return i < n ? names[i] : "unknown";
}

const char *llmd__status_name(uint32_t status)
{
  static const char *const names[] = {"none", "routed", "need-body", "need-tokens", "queued", "rejected"};
  return name_at(names, sizeof names / sizeof *names, status);
}

const char *llmd__reason_name(uint32_t reason)
{
  static const char *const names[LLMD__REASONS] = {"none",      "no-endpoints", "saturated",    "sheddable",
                                                   "no-target", "bad-request",  "precondition", "internal"};
  return name_at(names, LLMD__REASONS, reason);
}

const char *llmd__ladder_name(uint32_t bit)
{
  static const char *const names[LLMD__LADDER_BITS] = {"plugin", "no-index", "stale", "robin",
                                                       "budget", "open",     "ejected"};
  return name_at(names, LLMD__LADDER_BITS, bit);
}

uint32_t llmd__failure_of(int rc)
{
  switch (rc) {
  case LLMD_E_TYPE:
    return 1;
  case LLMD_E_LIMIT:
    return 2;
  case LLMD_E_TIMEOUT:
    return 3;
  case LLMD_E_NOMEM:
    return 4;
  case LLMD_E_BYPASSED:
    return 5;
  default:
    return 0;
  }
}

const char *llmd__failure_name(uint32_t failure)
{
  static const char *const names[LLMD__POLICY_FAILURES] = {"error", "type", "instructions", "time", "memory", "bypassed"};
  return name_at(names, LLMD__POLICY_FAILURES, failure);
}

const char *llmd__run_name(uint32_t state)
{
  static const char *const names[] = {"not-run", "ran", "failed"};
  return name_at(names, sizeof names / sizeof *names, state);
}
