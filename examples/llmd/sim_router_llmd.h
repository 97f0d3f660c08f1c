/* sim_router_llmd.h: the router whose every decision is libllmd's, through the public headers, fed with what a real
 * proxy would see.
 *
 *   scrape  ──► llmd_pool_set (waiting, running, KV usage), touch, publish, tick
 *   arrival ──► llmd_request_feed (a completions body) + set_tokens ──► llmd_decide ──► llmd_commit
 *   tokens  ──► llmd_report (first, end with usage)
 *   events  ──► llmd_events_feed (sim_listener.h), when the policy has a precise producer
 *
 * With exact = 1 the engines' real caches stand in the columns of PrefixCacheMatchInfo, as if an index of KV events
 * were behind them; else libllmd's approximate index has to guess from its own decisions. */
#ifndef SIM_ROUTER_LLMD_H
#define SIM_ROUTER_LLMD_H

#include <stddef.h>
#include <stdint.h>

#include <llmd/error.h>
#include <llmd/log.h>

#include "sim_model.h"
#include "sim_router.h"
#include "sim_workload.h"

struct sim_llmd_options {
  const char *name;   /* in reports; borrowed for the router's life */
  const char *config; /* an EndpointPickerConfig; len 0: the reference's default policy. Borrowed for the call */
  size_t config_len;
  const struct sim_workload *workload; /* borrowed for the router's life */
  const struct sim_model *model;
  uint32_t n_engines;
  uint64_t seed;
  int exact;
  int strict; /* LLMD_COMPAT_STRICT */
  const char *modules; /* directory of loadable plugins, or NULL */
  const char *loaders, *policies; /* loader_dir and policy_dir of llmd_scheduler_options */
  llmd_write_fn record; /* gets records of decisions; NULL = nobody wants them. Decisions take longer then */
  void *record_ud;
  uint32_t n_records; /* at most, evenly spread over the workload's requests */
  llmd_log_fn log; /* warnings about the configuration; may be NULL */
  void *log_ud;
};

/* Codes of libllmd, or LLMD_E_NOMEM. Free with router->destroy(router->self). */
int sim_router_llmd(struct sim_router *router, const struct sim_llmd_options *options, llmd_err *err);

#endif
