/* The request's own struct. Only the files that make up the request include it. */
#ifndef LLMD_MODEL_LAYOUT_H
#define LLMD_MODEL_LAYOUT_H

#include "model/headers.h"
#include "model/reader.h"
#include "model/request.h"

#define LLMD__HOST_COLUMNS 16u

struct llmd_request {
  llmd_request_options opt; /* with the defaults filled in */
  llmd__reader reader;
  llmd__headers headers;
  llmd__prompt_totals totals; /* of the complete body */
  uint64_t body_bytes;
  uint32_t flags; /* LLMD_REQUEST_FINAL, _TRUNCATED, _NO_BODY */
  uint32_t started;
  uint32_t path, path_len; /* in reader.copies; len 0 = the default path */
  char *copy;              /* pieces fed with COPY */
  uint64_t copied;

  /* what the host set */
  const uint32_t *host_ids;
  size_t n_host_ids;
  uint32_t no_tokens; /* the host cannot get ids */
  const llmd_feature *features;
  size_t n_features;
  int32_t priority;
  llmd_endpoint_id peer; /* 0 = none */
  uint32_t member, member_len; /* in reader.copies: "model":"name", with the comma; len 0 = no rewrite */
  uint32_t model, model_len;   /* the name as it was given */
  uint32_t ask_usage;          /* the edits make stream_options.include_usage true */
  llmd_endpoint_id *subset, *exclude;
  uint32_t n_subset, n_exclude, has_subset;
  uint32_t n_columns, n_values;
  llmd__host_column column[LLMD__HOST_COLUMNS];
  llmd_endpoint_id *value_ids;
  double *values;

  void *keys;
  llmd__request_sched sched;
};

#endif
