/* Which models an engine serves: the ids of its /v1/models. */
#ifndef LLMD_UV_METRICS_MODELS_H
#define LLMD_UV_METRICS_MODELS_H

#include <llmd/pool.h>

#define LLMD__MODELS_MAX 1024u /* ids that are looked at; the rest of a longer list is left out */
#define LLMD__MODELS_BYTES (256u * 1024u)
#define LLMD__MODEL_BYTES 512u /* a longer id is left out */

/* {"data": [{"id": "..."}, ...]} into the set `attribute` of the endpoint; as many as it holds. Returns how many there
 * are now; LLMD_E_SYNTAX, _TYPE, ...: the text is no such list, and the set stays. */
int llmd__models_take(llmd_pool *pool, llmd_endpoint_id id, uint32_t attribute, const char *text, size_t len);

#endif
