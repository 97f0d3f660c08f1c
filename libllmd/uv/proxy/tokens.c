/* Token ids for a decision that wants them. */
#include "uv/proxy/inner.h"

int llmd__proxy_ask_tokens(llmd__exchange *x)
{
  (void)x;
  return 0;
}

void llmd__proxy_forget_tokens(llmd__exchange *x)
{
  (void)x;
}
