/* A load on an exact index that keeps readers honest: who may ever hold what is fixed, so that any other hit is false.
 *
 *  - endpoints and prompts are in classes; prompts of different classes share nothing; an endpoint stores prompts of
 *    its class alone;
 *  - of each prompt only `stored` blocks are ever stored, the rest of its keys never;
 *  - endpoints with an odd slot never hold block `gap`: what they hold begins again behind it;
 *  - prompt 0 is kept by endpoint 0: stored again and again, never removed. */
#ifndef LLMD_TESTS_LOAD_H
#define LLMD_TESTS_LOAD_H

#include "../unit/prefix/documents.h"

#include <llmd/prefix.h>

#define LOAD_ROWS 40u
#define LOAD_DOCUMENTS 72u
#define LOAD_LONGEST 100u
#define LOAD_GAP 20u
#define LOAD_TAIL 5u /* blocks at the end of each prompt that are never stored */

typedef struct load {
  document *d; /* [LOAD_DOCUMENTS] */
} load;

int load_make(load *l);
void load_free(load *l);
/* One write by chance. `turn` counts them; it is the time, too. */
void load_write(const load *l, llmd_index *ix, uint64_t *seed, uint64_t turn);
/* One query by chance, checked. Returns the number of hits, or -1: something false, told in what. */
int load_read(const load *l, const llmd_index *ix, void *scratch, uint64_t *seed, char what[160]);
/* Blocks of the kept prompt that endpoint 0 is said to have: LOAD_KEPT when all is well. */
#define LOAD_KEPT 70u
uint32_t load_kept(const load *l, const llmd_index *ix, void *scratch);
/* Clears everybody and sweeps to the end. Returns the bytes in use. */
uint64_t load_clear(llmd_index *ix);

#endif
