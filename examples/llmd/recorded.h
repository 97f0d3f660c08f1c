/* recorded.h: records of decisions (docs/records.md), one after another out of files, each decided again by the
 * session's policy (llmd_replay_other). */
#ifndef RECORDED_H
#define RECORDED_H

#include "json.h"
#include "session.h"

#define RECORDS_MAX ((size_t)1 << 30)

struct recorded {
  const struct session_options *options;
  struct session session;
  int grown; /* the session has room for as many endpoints as there can be */
  /* the file at hand */
  const char *path;
  struct file file;
  size_t at;
  uint32_t number; /* of the record in its file, from 1 */
  /* what came of it */
  llmd_decision was, now;
  uint32_t missing; /* columns that the record does not hold */
  cJSON *why;       /* llmd_explain_json of now */
};

/* 0, or an exit code after a line on standard error. Close it either way. */
int recorded_open(struct recorded *r, const struct session_options *options);
void recorded_close(struct recorded *r);

/* Begins a file. 0, or an exit code after a line on standard error. */
int recorded_file(struct recorded *r, const char *path);
/* The next record of the file, decided again. 1, 0 at the file's end, or minus an exit code after a line on standard
 * error. */
int recorded_next(struct recorded *r);
/* 0 to 1: how much of the file is done. */
double recorded_done(const struct recorded *r);

/* "namespace/name" of an endpoint of the record at hand; "?" when it has none with this id. */
const char *recorded_name(const struct recorded *r, llmd_endpoint_id id);
/* Why a policy failed in the decision at hand (policy_failure). */
int recorded_failure(const struct recorded *r, char *text, size_t size);

#define RECORDED_SAME 0
#define RECORDED_CHANGED 1  /* another endpoint, or another one of a profile beside */
#define RECORDED_REFUSED 2  /* routed then, not now */
#define RECORDED_ROUTED 3   /* not then, but now */
#define RECORDED_FAILED 4   /* a policy failed: what was decided is not its word */
#define RECORDED_OUTCOMES 5
int recorded_outcome(const struct recorded *r);

#endif
