/* Interned strings of a region: name, label, model -> id. Append-only and capped; only the writer adds, anybody looks
 * up. id 0 = none. An id is the string's place, so text of an id costs one addition. */
#ifndef LLMD_MODEL_STRINGS_H
#define LLMD_MODEL_STRINGS_H

#include "base/region.h"

/* The id of a string that is there, or 0. No lock; any process. */
uint32_t llmd__string_find(const llmd__region *g, const char *ptr, size_t len);
/* The same, added when new (writer). 0 when the cap is reached (counted) or len > 4096. */
uint32_t llmd__string_add(llmd__region *g, const char *ptr, size_t len);
/* Text of an id; empty for 0 or a foreign id. Borrowed as long as the region is mapped. Followed by a NUL. */
llmd_str llmd__string_text(const llmd__region *g, uint32_t id);

#endif
