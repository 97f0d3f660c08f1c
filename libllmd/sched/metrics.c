/* Counters and gauges out. What the reference has keeps its name (llm_d_epp_...), the rest is llmd_.... Counters are
 * those of the region: of every lane of every process that decides on it, since it was formatted. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <llmd/version.h>

#include "model/strings.h"
#include "model/token_cache.h"
#include "sched/names.h"
#include "sched/out.h"
#include "sched/state.h"

#define UNKNOWN ((double)NAN)
#define NAME_ROOM 1100u

/* One walk: where samples go, and what they are read from. */
typedef struct walk {
  const llmd_scheduler *s;
  llmd_metric_fn fn;
  void *ud;
  int rc;
  uint64_t count[LLMD__COUNT_LAST];
  uint32_t lanes; /* taken */
} walk;

static void give(walk *w, const char *name, uint32_t type, const char *help, const char *const *labels, uint32_t n,
                 double v)
{
  if (!w->rc)
    w->rc = w->fn(w->ud, name, type, help, labels, n, v);
}

static void counter(walk *w, const char *name, const char *help, uint64_t v)
{
  give(w, name, LLMD_METRIC_COUNTER, help, NULL, 0, (double)v);
}

static void gauge(walk *w, const char *name, const char *help, double v)
{
  give(w, name, LLMD_METRIC_GAUGE, help, NULL, 0, v);
}

static void labelled(walk *w, const char *name, const char *help, const char *key, const char *label, uint64_t v)
{
  const char *const labels[] = {key, label};
  give(w, name, LLMD_METRIC_COUNTER, help, labels, 1, (double)v);
}

/* ---- counters --------------------------------------------------------------------------------------------------- */

static void sum_lanes(walk *w)
{
  const llmd__region *g = w->s->pool->g;
  const llmd__lane_slot *slot = llmd__region_lanes(g);
  for (uint32_t i = 0; i < g->caps.lanes; i++) {
    w->lanes += i < g->caps.lanes - LLMD__SPARE_LANES && atomic_load_explicit(&slot[i].owner, memory_order_relaxed);
    for (uint32_t k = 0; k < LLMD__COUNT_LAST; k++)
      w->count[k] += atomic_load_explicit(&slot[i].count[k], memory_order_relaxed);
  }
}

static void give_attempts(walk *w)
{
  static const char name[] = "llm_d_epp_scheduler_attempts_total", help[] = "Scheduling attempts by how they ended.";
  uint64_t failed = 0;
  for (uint32_t r = 0; r < LLMD__REASONS; r++)
    failed += w->count[LLMD__COUNT_REJECTED + r];
  labelled(w, name, help, "status", "success", w->count[LLMD__COUNT_ROUTED]);
  labelled(w, name, help, "status", "failure", failed);
}

static void give_disagg(walk *w)
{
  static const char *const types[] = {"decode-only", "prefill-decode", "encode-decode", "encode-prefill-decode"};
  const llmd__config *c = w->s->config;
  const llmd__instance *handler = &c->instance[c->handler];
  if (c->n_profiles < 2)
    return;
  for (uint32_t i = 0; i < 4; i++) {
    const char *const labels[] = {"plugin_name",         handler->name,   "plugin_type",
                                  handler->plugin->type, "decision_type", types[i]};
    give(w, "llm_d_epp_disagg_decision_total", LLMD_METRIC_COUNTER,
         "Decisions of several profiles, by the stages they named.", labels, 3,
         (double)w->count[LLMD__COUNT_DISAGG + i]);
  }
}

static void give_decisions(walk *w)
{
  const uint64_t *n = w->count;
  counter(w, "llmd_decisions_total", "Decisions made.", n[LLMD__COUNT_DECISIONS]);
  counter(w, "llmd_decisions_incomplete_total", "Calls that asked for more of the request first.", n[LLMD__COUNT_NEED]);
  for (uint32_t r = 1; r < LLMD__REASONS; r++)
    labelled(w, "llmd_rejected_total", "Requests rejected, by reason.", "reason", llmd__reason_name(r),
             n[LLMD__COUNT_REJECTED + r]);
  for (uint32_t bit = 0; bit < LLMD__LADDER_BITS; bit++)
    labelled(w, "llmd_ladder_total", "Decisions that took this step of the ladder.", "step", llmd__ladder_name(bit),
             n[LLMD__COUNT_LADDER + bit]);
  labelled(w, "llmd_plugin_errors_total", "Calls of plugins that failed.", "kind", "cycle",
           n[LLMD__COUNT_PLUGIN_ERRORS]);
  labelled(w, "llmd_plugin_errors_total", "Calls of plugins that failed.", "kind", "producer",
           n[LLMD__COUNT_PRODUCER_ERRORS]);
  for (uint32_t i = 0; i < LLMD__POLICY_FAILURES; i++)
    labelled(w, "llmd_policy_failures_total", "Calls of policies that failed, by reason.", "reason",
             llmd__failure_name(i), n[LLMD__COUNT_POLICY + i]);
}

static void give_outcomes(walk *w)
{
  static const char *const report[] = {"first-token", "end", "error", "cancel"};
  static const char *const token[] = {"prompt", "output", "cached"};
  const uint64_t *n = w->count;
  counter(w, "llmd_commits_total", "Decisions that were carried out.", n[LLMD__COUNT_COMMITS]);
  for (uint32_t i = 0; i < 4; i++)
    labelled(w, "llmd_reports_total", "Reports on requests in flight.", "kind", report[i], n[LLMD__COUNT_FIRST + i]);
  for (uint32_t i = 0; i < 3; i++)
    labelled(w, "llmd_tokens_total", "Tokens that responses named.", "kind", token[i],
             n[LLMD__COUNT_PROMPT_TOKENS + i]);
  counter(w, "llmd_tokens_asked_total", "Decisions that asked the host for the prompt's tokens.",
          n[LLMD__COUNT_TOKENS_ASKED]);
  counter(w, "llmd_tokens_cached_total", "Prompts whose tokens were in the region's cache.",
          n[LLMD__COUNT_TOKENS_CACHED]);
  counter(w, "llmd_prefix_blocks_total", "Blocks of routed prompts.", n[LLMD__COUNT_PREFIX_BLOCKS]);
  counter(w, "llmd_prefix_hit_blocks_total", "Of these, blocks that the index knew at the destination.",
          n[LLMD__COUNT_PREFIX_HITS]);
}

static uint64_t load(const _Atomic uint64_t *v)
{
  return atomic_load_explicit(v, memory_order_relaxed);
}

static void give_region(walk *w)
{
  const llmd__region *g = w->s->pool->g;
  counter(w, "llmd_posts_dropped_total", "Changes of plugin state lost because a lane's ring was full.",
          load(&g->posts_dropped));
  counter(w, "llmd_tickets_full_total", "Requests not counted in flight because the ledger was full.",
          load(&g->tickets_full));
  counter(w, "llmd_tickets_expired_total", "Requests in flight given up because nobody reported on them.",
          load(&g->tickets_expired));
  counter(w, "llmd_tickets_reclaimed_total", "Requests in flight of processes that died.",
          load(&g->tickets_reclaimed));
  counter(w, "llmd_ejections_total", "Times that an endpoint was ejected because requests failed on it.",
          load(&g->ejections));
  counter(w, "llmd_samples_refused_total", "Metric samples that were absurd.", load(&g->samples_refused));
  counter(w, "llmd_strings_refused_total", "Names not kept because the string pool was full.",
          load(&g->strings_refused));
  gauge(w, "llmd_snapshot_generation", "Snapshots published so far.", (double)load(&g->generation));
  gauge(w, "llmd_lanes", "Lanes in use.", w->lanes);
}

/* ---- the prefix index ------------------------------------------------------------------------------------------- */

static void give_index(walk *w)
{
  for (uint32_t i = 0; i < w->s->config->n_instances; i++) {
    const llmd__instance *in = &w->s->config->instance[i];
    const char *const labels[] = {"plugin_name", in->name, "plugin_type", in->plugin->type};
    llmd__index ix;
    llmd__index_stats st;
    if (llmd__state_prefix(w->s, i, &ix))
      continue;
    llmd__index_stats_get(&ix, &st);
    give(w, "llm_d_epp_prefix_indexer_size", LLMD_METRIC_GAUGE, "Blocks in the prefix index.", labels, 2,
         (double)st.blocks);
  }
}

/* The pool's exact index. */
static void give_exact(walk *w)
{
  llmd_index_stats st = {.size = sizeof st};
  if (!w->s->index || llmd_index_stats_get(w->s->index, &st))
    return;
  counter(w, "llm_d_epp_kv_cache_index_lookup_requests_total", "Prompts looked up in the exact prefix index.",
          w->count[LLMD__COUNT_LOOKUPS]);
  counter(w, "llm_d_epp_kv_cache_index_lookup_hits_total", "Blocks that the best endpoint held, over these.",
          w->count[LLMD__COUNT_LOOKUP_HITS]);
  counter(w, "llm_d_epp_kv_cache_index_evictions_total", "Blocks gone from the exact prefix index at its cap.",
          st.evicted);
  gauge(w, "llmd_index_blocks", "Distinct blocks in the exact prefix index.", (double)st.blocks);
  gauge(w, "llmd_index_held_blocks", "Blocks by endpoint and tier in the exact prefix index.", (double)st.held);
  gauge(w, "llmd_index_names", "Blocks' names that the exact prefix index knows.", (double)st.names);
  gauge(w, "llmd_index_bytes", "Cap of the exact prefix index.", (double)st.bytes);
  gauge(w, "llmd_index_used_bytes", "Of these, bytes in use.", (double)st.used);
  counter(w, "llmd_index_dropped_total", "Blocks not stored because nothing could be evicted.", st.dropped);
  counter(w, "llmd_index_renamed_total", "Names that came to mean another block.", st.renamed);
  counter(w, "llmd_index_torn_total", "Lookups cut short because the index kept changing.", st.torn);
  counter(w, "llmd_index_repaired_total", "Times a new writer found its predecessor dead at work.", st.repaired);
}

static void give_tokens(walk *w)
{
  llmd__token_cache_stats st;
  if (!w->s->token_off)
    return;
  llmd__token_cache_stats_get(llmd__at(w->s->pool->g, w->s->token_off), (size_t)w->s->token_bytes, &st);
  gauge(w, "llmd_token_cache_entries", "Prompts in the region's cache of tokens.", (double)st.entries);
  gauge(w, "llmd_token_cache_bytes", "Its cap.", (double)st.bytes);
  gauge(w, "llmd_token_cache_used_bytes", "Of these, bytes in use.", (double)st.used);
}

static void give_hit_ratio(walk *w)
{
  uint64_t blocks = w->count[LLMD__COUNT_PREFIX_BLOCKS];
  if (w->s->match_column == LLMD__NONE)
    return;
  gauge(w, "llm_d_epp_prefix_indexer_hit_ratio", "Share of routed prompts' blocks that were found, since the start.",
        blocks ? (double)w->count[LLMD__COUNT_PREFIX_HITS] / (double)blocks : UNKNOWN);
}

/* ---- endpoints -------------------------------------------------------------------------------------------------- */

/* Mean and deviation of what is known of a column; NaN when nothing is. */
static void moments(const llmd_scheduler *s, const llmd__snapshot *snap, uint32_t attribute, double *mean,
                    double *deviation)
{
  double sum = 0, square = 0;
  uint32_t n = 0;
  for (uint32_t i = 0; i < snap->n; i++) {
    double v = llmd__snapshot_value(s->pool, snap, i, attribute);
    if (v != v)
      continue;
    sum += v;
    square += v * v;
    n++;
  }
  *mean = n ? sum / n : UNKNOWN;
  square = n ? square / n - *mean * *mean : UNKNOWN;
  *deviation = square < 0 ? 0 : sqrt(square);
}

static void give_averages(walk *w, const llmd__snapshot *snap)
{
  static const struct {
    uint32_t attribute;
    const char *average, *deviation, *help;
  } rows[] = {
      {LLMD_ATTR_KV_USAGE, "llm_d_epp_average_kv_cache_utilization", "llm_d_epp_std_dev_kv_cache_utilization",
       "KV cache in use, over the endpoints that say."},
      {LLMD_ATTR_WAITING, "llm_d_epp_average_queue_size", "llm_d_epp_std_dev_queue_size",
       "Requests waiting, over the endpoints that say."},
      {LLMD_ATTR_RUNNING, "llm_d_epp_average_running_requests", "llm_d_epp_std_dev_running_requests",
       "Requests running, over the endpoints that say."},
  };
  for (uint32_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    double mean, deviation;
    moments(w->s, snap, rows[i].attribute, &mean, &deviation);
    gauge(w, rows[i].average, rows[i].help, mean);
    gauge(w, rows[i].deviation, rows[i].help, deviation);
  }
}

static double in_flight(const llmd_scheduler *s, const llmd__row *r, int tokens)
{
  const llmd__total *t = &llmd__region_totals(s->pool->g)[r->slot];
  int64_t v = atomic_load_explicit(tokens ? &t->tokens : &t->requests, memory_order_relaxed);
  return v > 0 ? (double)v : 0;
}

/* What is said about each endpoint: kind 0 requests in flight, 1 tokens in flight, 2 waiting requests, 3 ejected. */
static void give_endpoints(walk *w, const llmd__snapshot *snap, const char *name, const char *help, uint32_t kind)
{
  for (uint32_t i = 0; i < snap->n; i++) {
    const llmd__row *r = &snap->view.row[i];
    llmd_str full = llmd__string_text(w->s->pool->g, r->name);
    const char *slash = full.len ? memchr(full.ptr, '/', full.len) : NULL;
    size_t space = slash ? (size_t)(slash - full.ptr) : 0;
    char buf[NAME_ROOM], port[16];
    const char *const labels[] = {"endpoint_name", slash ? slash + 1 : full.ptr, "namespace", buf, "port", port};
    double v = kind < 2    ? in_flight(w->s, r, kind == 1)
               : kind == 2 ? llmd__snapshot_value(w->s->pool, snap, i, LLMD_ATTR_WAITING)
                           : (double)llmd__health_unwell(w->s->pool->g, r->id);
    space = space < sizeof buf ? space : sizeof buf - 1;
    memcpy(buf, full.ptr, space);
    buf[space] = 0;
    snprintf(port, sizeof port, "%u", r->port);
    give(w, name, LLMD_METRIC_GAUGE, help, labels, 3, v);
  }
}

/* Endpoints whose engine tells of its cache, and those of them of which something was missed. */
static void give_fed(walk *w, const llmd__snapshot *snap)
{
  uint32_t fed = 0, degraded = 0, mismatched = 0, configured = atomic_load(&w->s->block_tokens);
  for (uint32_t i = 0; i < snap->n && w->s->index; i++) {
    llmd_index_row r = {.size = sizeof r};
    if (llmd_index_row_of(w->s->index, snap->view.row[i].id, &r))
      continue;
    fed += (r.flags & LLMD_INDEX_FED) != 0;
    degraded += (r.flags & LLMD_INDEX_DEGRADED) != 0;
    mismatched += llmd__pool_sizes_differ(llmd__snapshot_value(w->s->pool, snap, i, LLMD_ATTR_BLOCK_SIZE), &r) ||
                  (configured && llmd__pool_sizes_differ(configured, &r));
  }
  if (!w->s->index)
    return;
  gauge(w, "llmd_index_fed_endpoints", "Endpoints whose events reach the exact prefix index.", fed);
  gauge(w, "llmd_index_degraded_endpoints", "Endpoints of which events were missed and not repaired yet.", degraded);
  gauge(w, "llmd_index_mismatched_endpoints",
        "Endpoints whose block size is another one by their events than by their metrics or as configured.",
        mismatched);
}

static void give_pool(walk *w)
{
  llmd__snapshot snap;
  uint32_t lane, ready = 0;
  if (llmd__pool_glance(w->s->pool, &lane, &snap))
    return;
  for (uint32_t i = 0; i < snap.n; i++)
    ready += !(snap.view.row[i].flags & LLMD__ROW_DRAIN);
  gauge(w, "llm_d_epp_ready_endpoints", "Endpoints that new requests may go to.", ready);
  give_fed(w, &snap);
  give_averages(w, &snap);
  give_endpoints(w, &snap, "llm_d_epp_per_endpoint_queue_size", "Requests waiting at the endpoint.", 2);
  give_endpoints(w, &snap, "llm_d_epp_inflight_requests", "Requests in flight at the endpoint.", 0);
  give_endpoints(w, &snap, "llm_d_epp_inflight_tokens", "Tokens of requests in flight at the endpoint.", 1);
  give_endpoints(w, &snap, "llmd_endpoint_ejected", "1 while the endpoint is out because requests failed on it.", 3);
  llmd__pool_glance_end(w->s->pool, lane);
}

static void give_info(walk *w)
{
  const char *const labels[] = {"version", llmd_version_text()};
  give(w, "llm_d_epp_info", LLMD_METRIC_GAUGE, "Which library decides.", labels, 1, 1);
}

int llmd_metrics_visit(const llmd_scheduler *s, llmd_metric_fn fn, void *ud)
{
  walk w;
  if (!s || !fn)
    return LLMD_E_INVALID;
  memset(&w, 0, sizeof w);
  w.s = s;
  w.fn = fn;
  w.ud = ud;
  sum_lanes(&w);
  give_info(&w);
  give_attempts(&w);
  give_disagg(&w);
  give_pool(&w);
  give_index(&w);
  give_exact(&w);
  give_tokens(&w);
  give_hit_ratio(&w);
  give_decisions(&w);
  give_outcomes(&w);
  give_region(&w);
  return w.rc ? LLMD_E_STOPPED : 0;
}

/* ---- Prometheus text -------------------------------------------------------------------------------------------- */

typedef struct page {
  llmd__out out;
  const char *last; /* name of the metric before */
} page;

static void put_value(llmd__out *o, const char *p)
{
  for (; *p; p++)
    if (*p == '\\' || *p == '"' || *p == '\n') {
      llmd__out_text(o, "\\");
      llmd__out_text(o, *p == '\n' ? "n" : *p == '"' ? "\"" : "\\");
    } else {
      llmd__out_n(o, p, 1);
    }
}

static void put_head(llmd__out *o, const char *name, uint32_t type, const char *help)
{
  llmd__out_text(o, "# HELP ");
  llmd__out_text(o, name);
  llmd__out_text(o, " ");
  llmd__out_text(o, help);
  llmd__out_text(o, "\n# TYPE ");
  llmd__out_text(o, name);
  llmd__out_text(o, type == LLMD_METRIC_COUNTER ? " counter\n" : " gauge\n");
}

static int put_sample(void *ud, const char *name, uint32_t type, const char *help, const char *const *labels,
                      uint32_t n, double value)
{
  page *p = ud;
  llmd__out *o = &p->out;
  if (!p->last || strcmp(p->last, name))
    put_head(o, name, type, help);
  p->last = name;
  llmd__out_text(o, name);
  for (uint32_t i = 0; i < n; i++) {
    llmd__out_text(o, i ? "," : "{");
    llmd__out_text(o, labels[2 * i]);
    llmd__out_text(o, "=\"");
    put_value(o, labels[2 * i + 1]);
    llmd__out_text(o, "\"");
  }
  llmd__out_text(o, n ? "} " : " ");
  llmd__out_double(o, value);
  llmd__out_text(o, "\n");
  return o->rc;
}

int llmd_metrics_write(const llmd_scheduler *s, llmd_write_fn fn, void *ud)
{
  page p;
  int rc;
  if (!s || !fn)
    return LLMD_E_INVALID;
  llmd__out_init(&p.out, fn, ud);
  p.last = NULL;
  rc = llmd_metrics_visit(s, put_sample, &p);
  return rc ? rc : llmd__out_finish(&p.out);
}
