/* What renderers answer, read in one pass and believed in nothing:
 *
 *   /v1/chat/completions/render   {"token_ids": [...], "features": {"mm_hashes": {"image": ["..."]},
 *                                  "mm_placeholders": {"image": [{"offset": 5, "length": 576}]}} or null, ...}
 *   /v1/completions/render        a list of one such
 *   /tokenize                     {"tokens": [...], ...} */
#ifndef LLMD_UV_TOKENS_ANSWER_H
#define LLMD_UV_TOKENS_ANSWER_H

#include <llmd/request.h>

#define LLMD__RENDERED_FEATURES 1024u
#define LLMD__RENDERED_NAME 512u /* bytes of a feature's name */

/* Memory that is used again. */
typedef struct llmd__rendered {
  uint32_t *ids;
  size_t n, room;
  llmd_feature *feature; /* in the order of the prompt; names are borrowed from the text */
  size_t n_features, room_features;
} llmd__rendered;

/* most: ids. LLMD_E_SYNTAX: not such an answer, or not JSON as far as it was read; LLMD_E_TYPE, LLMD_E_RANGE: something
 * else than ids among them, or features that cannot be; LLMD_E_LIMIT: more than there may be; LLMD_E_NONE: no ids. */
int llmd__rendered_read(llmd__rendered *r, const char *text, size_t len, size_t most);
void llmd__rendered_free(llmd__rendered *r);

#endif
