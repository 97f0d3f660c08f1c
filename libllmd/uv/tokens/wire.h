/* What deciders and the agent say to each other about tokens, over a unix stream socket (docs/agent.md).
 *
 *   frame     magic "LTK" and the version '1' · u32 kind · u64 id · u32 length · u32 0 ── then `length` bytes
 *   question  u32 bytes of the path · u32 0 · path · body
 *   answer    u32 status · u32 ids · u32 features · u32 0 · u32 id... · {u64 offset, u64 length, u32 bytes of the name,
 *             u32 0}... · names, one behind the other
 *
 * All numbers are little-endian. An answer has its question's id; answers come in any order. */
#ifndef LLMD_UV_TOKENS_WIRE_H
#define LLMD_UV_TOKENS_WIRE_H

#include <llmd/request.h>

#define LLMD__WIRE_VERSION '1'
#define LLMD__WIRE_HEAD 24u
#define LLMD__WIRE_QUESTION 8u /* before the path */
#define LLMD__WIRE_ANSWER 16u  /* before the ids */
#define LLMD__WIRE_FEATURE 24u

#define LLMD__WIRE_PATH_MOST 2048u
#define LLMD__WIRE_BODY_MOST (16u << 20)
#define LLMD__WIRE_IDS_MOST (1u << 20)
#define LLMD__WIRE_FEATURES_MOST 1024u
#define LLMD__WIRE_NAMES_MOST 65536u
#define LLMD__WIRE_QUESTION_MOST (LLMD__WIRE_QUESTION + LLMD__WIRE_PATH_MOST + LLMD__WIRE_BODY_MOST)
#define LLMD__WIRE_ANSWER_MOST                                                                                         \
  (LLMD__WIRE_ANSWER + 4 * LLMD__WIRE_IDS_MOST + LLMD__WIRE_FEATURE * LLMD__WIRE_FEATURES_MOST + LLMD__WIRE_NAMES_MOST)

enum { LLMD__WIRE_ASK = 1, LLMD__WIRE_TELL = 2 }; /* kinds */

/* Of an answer. */
enum {
  LLMD__WIRE_OK = 0,
  LLMD__WIRE_NONE = 1, /* nobody could, or it is no prompt of text */
  LLMD__WIRE_FULL = 2, /* too many questions at a time */
  LLMD__WIRE_BAD = 3   /* not a question */
};

typedef struct llmd__wire_head {
  uint32_t kind, len;
  uint64_t id;
} llmd__wire_head;

/* at: LLMD__WIRE_HEAD bytes. 0; LLMD_E_MISMATCH: another version of this, which *version says; LLMD_E_SYNTAX: something
 * else. */
int llmd__wire_read_head(const char *at, llmd__wire_head *out, char *version);
void llmd__wire_put_head(char *at, const llmd__wire_head *head);

/* What stands behind a question's head. Borrowed. LLMD_E_SYNTAX: lengths that do not fit. */
int llmd__wire_read_question(const char *at, size_t len, llmd_str *path, llmd_str *body);
void llmd__wire_put_question(char *at, llmd_str path);

typedef struct llmd__wire_answer {
  uint32_t status;
  uint32_t *ids; /* in the frame itself */
  size_t n, n_features;
} llmd__wire_answer;

/* What stands behind an answer's head; at is aligned for ids, which are turned into this machine's order in place.
 * feature: LLMD__WIRE_FEATURES_MOST of them; names are borrowed. LLMD_E_SYNTAX: lengths that do not fit. */
int llmd__wire_read_answer(char *at, size_t len, llmd__wire_answer *out, llmd_feature *feature);
/* Of a whole frame with such an answer. 0: it would be larger than the limits. */
size_t llmd__wire_answer_size(size_t n, const llmd_feature *feature, size_t n_features);
void llmd__wire_put_answer(char *at, size_t size, uint64_t id, uint32_t status, const uint32_t *ids, size_t n,
                           const llmd_feature *feature, size_t n_features);

#endif
