/* Prompts into tokens: each prompt is rendered once, however many ask for it, and what comes of it is filed in the
 * region's cache for all.
 *
 *   ask ─► its key ─► under way already? ─► joins it
 *                         └ no ─► a place ─► /render, /tokenize ─► read ─► cache, and all who asked
 *                                   └ fails: another place, as long as there is time; then nobody could
 *
 * A prompt that no renderer wants is not asked about again for a second. */
#ifndef LLMD_UV_TOKENS_RENDER_H
#define LLMD_UV_TOKENS_RENDER_H

#include <llmd/uv.h>

typedef struct llmd__renderer llmd__renderer;

/* One who asks. It belongs to the caller, who keeps it until fn was called or it was dropped. */
typedef struct llmd__ask {
  struct llmd__ask *next, **back;
  /* rc 0: ids and features are borrowed for the call; LLMD_E_NONE: nobody could. */
  void (*fn)(struct llmd__ask *ask, int rc, const uint32_t *ids, size_t n, const llmd_feature *features, size_t nf);
} llmd__ask;

typedef struct llmd__render_counts {
  uint32_t under_way;
  uint64_t asked, joined, rendered, failed, bytes; /* prompts, all of them; of the renderers' answers */
} llmd__render_counts;

int llmd__renderer_open(const llmd_feeder *feeder, llmd__renderer **out, llmd_err *err);
/* fn is not called from within; on an error it never is. LLMD_E_NONE: it is no prompt of text, or nobody can render it
 * now; LLMD_E_FULL: too many are under way. Path and body are borrowed for the call. */
int llmd__renderer_ask(llmd__renderer *r, llmd_str path, llmd_str body, llmd__ask *ask);
/* fn will not be called. */
void llmd__ask_drop(llmd__ask *ask);
void llmd__renderer_count(const llmd__renderer *r, llmd__render_counts *out);
/* Asks that are left are dropped. NULL: done at once. */
void llmd__renderer_close(llmd__renderer *r, llmd_done_fn done, void *ud);

#endif
