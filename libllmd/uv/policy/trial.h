/* Is a scheduler with a policy's new text fit to decide? Its examples must come out right, and no policy may fail on
 * decisions that workers recorded, unless it fails there as it is now. */
#ifndef LLMD_UV_POLICY_TRIAL_H
#define LLMD_UV_POLICY_TRIAL_H

#include <llmd/uv.h>

typedef struct llmd__trial {
  uint32_t examples, records; /* how many were tried */
} llmd__trial;

/* Both were made with explain = 1 on the share's pool, which writes; was NULL: examples alone. LLMD_E_PLUGIN: it is not,
 * and err says why; with line and path where it is known. */
int llmd__trial_run(llmd_share *share, llmd_scheduler *was, llmd_scheduler *now, llmd__trial *out, llmd_err *err);

#endif
