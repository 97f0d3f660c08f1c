/* A writer's day as a list of steps, so that it can be played again and again: alone, with the model, instruction by
 * instruction. */
#ifndef LLMD_TESTS_SCRIPT_H
#define LLMD_TESTS_SCRIPT_H

#include "../unit/prefix/documents.h"
#include "../unit/prefix/model_index.h"

#define SCRIPT_ROWS 24u
#define SCRIPT_DOCUMENTS 40u
#define SCRIPT_SHARED SCRIPT_ROWS /* as a slot: the store of all */
#define SCRIPT_LONGEST 96u

#define STEP_STORE 0u    /* blocks from..from+n of the document, after block from - 1, found by name */
#define STEP_NAMELESS 1u
#define STEP_RENAME 2u   /* stores them under the names of the document `as` */
#define STEP_HOLD 3u
#define STEP_DROP 4u
#define STEP_DROP_BACK 5u /* from the last one on */
#define STEP_EXPECT 6u   /* until `as` */
#define STEP_CLEAR 7u
#define STEP_TICK 8u     /* at `as`, budget n */
#define STEP_RESTART 9u  /* a new generation begins with a store */
#define STEP_KINDS 10u

typedef struct step {
  uint32_t kind, slot, tier, document, from, n, as;
  uint32_t fast; /* not looked at instruction by instruction */
} step;

typedef struct script {
  uint32_t n, room;
  step *step;
  document *document; /* [SCRIPT_DOCUMENTS] */
  uint64_t (*name)[SCRIPT_DOCUMENTS][SCRIPT_LONGEST]; /* [SCRIPT_ROWS + 1]: what each slot's engine calls them */
} script;

/* The day that visits every kind of step, and what a window, a set of holders and the cap add to it. */
void script_make(script *s);
/* Steps drawn by chance, the first `fast` of them only to fill the index. */
void script_random(script *s, uint64_t seed, uint32_t fast, uint32_t slow);
void script_free(script *s);

/* Who speaks, generations counted by `generation`. */
llmd_endpoint_id script_endpoint(const uint32_t *generation, uint32_t slot);
/* Does one step to the index, and to the model when there is one. Returns what the index returned. */
int script_play(const script *s, const step *a, uint32_t *generation, llmd_index *index, model *m);
const char *step_name(uint32_t kind);

#endif
