/* policy_stage.h: endpoints and a request that are made up, for llmd policy repl. What can be set is what policies
 * read, in the words in which they read it: "waiting", "label:zone", "attr:NAME/PRODUCER", ...; the loader knows them.
 */
#ifndef POLICY_STAGE_H
#define POLICY_STAGE_H

#include "policy_tool.h"

#define STAGE_ENDPOINTS 1000u
#define STAGE_LABELS 16u
#define STAGE_COLUMNS 32u
#define STAGE_HEADERS 16u
#define STAGE_WORDS 64u
#define STAGE_TOKENS 1000000u

struct stage_endpoint {
  llmd_endpoint_id id;
  char *label[STAGE_LABELS][2]; /* key, value */
  uint32_t n_labels;
};

/* A column that belongs to a request, set by hand. */
struct stage_column {
  uint32_t attribute;
  double *value; /* [STAGE_ENDPOINTS] */
};

struct stage {
  struct session *session;
  const struct session_options *options;
  struct stage_endpoint endpoint[STAGE_ENDPOINTS];
  uint32_t n;
  struct stage_column column[STAGE_COLUMNS];
  uint32_t n_columns;
  struct { char *name; cJSON *read; } word[STAGE_WORDS]; /* what the loader said of them */
  uint32_t n_words;
  char *header[STAGE_HEADERS][2];
  uint32_t n_headers;
  char *model, *prompt;
  uint64_t tokens, max_tokens; /* 0 = not given */
  int64_t priority;
  int stream;
  uint64_t seed;
  /* the last decision */
  llmd_request *request;
  char *body;
  uint32_t *ids;
  llmd_decision decision;
  int decided;
};

/* 0, or a code, err says why. Close it either way; a zeroed one may be closed. */
int stage_open(struct stage *s, struct session *session, const struct session_options *options, uint32_t n,
               llmd_err *err);
void stage_close(struct stage *s);

/* As many endpoints, pod-1 and so on, with engines that are idle: empty queue and cache, nothing else known. What was set
 * of those that stay, stays. */
int stage_endpoints(struct stage *s, uint32_t n, llmd_err *err);
/* Of endpoint i (from 0); value "", of numbers also "unknown" = unknown. */
int stage_set(struct stage *s, uint32_t i, const char *word, const char *value, llmd_err *err);
/* model, prompt, tokens, max_tokens, priority, tenant, session, slo_ttft_ms, slo_tpot_ms, stream, header:NAME;
 * value "" = not given. */
int stage_request(struct stage *s, const char *word, const char *value, llmd_err *err);
/* Decides; s->decision then says how. */
int stage_decide(struct stage *s, llmd_err *err);

#endif
