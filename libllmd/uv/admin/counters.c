/* /metrics: what the library says of itself by a scheduler, what workers counted, then the agent's own families. Each
 * family stands once, with its head, and its samples follow each other. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <llmd/metrics.h>

#include "uv/admin/admin.h"

/* Rows of the same name follow each other; label NULL = none. */
typedef struct row {
  const char *name, *label, *help;
  uint64_t value;
} row;

static int is_counter(const char *name)
{
  size_t n = strlen(name);
  return n > 6 && !strcmp(name + n - 6, "_total");
}

static void put_head(llmd__page *page, const char *name, const char *help)
{
  llmd__page_print(page, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, is_counter(name) ? "counter" : "gauge");
}

static void put_rows(llmd__page *page, const row *r, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    if (!i || strcmp(r[i].name, r[i - 1].name))
      put_head(page, r[i].name, r[i].help);
    if (r[i].label)
      llmd__page_print(page, "%s{%s} %" PRIu64 "\n", r[i].name, r[i].label, r[i].value);
    else
      llmd__page_print(page, "%s %" PRIu64 "\n", r[i].name, r[i].value);
  }
}
#define PUT(page, rows) put_rows(page, rows, sizeof(rows) / sizeof(rows)[0])

/* ---- the agent --------------------------------------------------------------------------------------------------- */

static void put_agent(const llmd__admin_view *v, const llmd_http_stats *http, llmd__page *page)
{
  static const char reloads[] = "llmd_agent_reloads_total", again[] = "Times the service's file was read again.";
  static const char texts[] = "llmd_policy_reloads_total", changed[] = "Policies' files that changed, by what came of it.";
  llmd_now now;
  llmd_clock(&now);
  const row rows[] = {
    {"llmd_agent_uptime_seconds", NULL, "Since the agent began.", (now.mono - v->begun) / 1000000000u},
    {"llmd_agent_ticks_total", NULL, "Turns of the writer's work.", v->ticks},
    {"llmd_agent_published_total", NULL, "Snapshots published.", v->published},
    {"llmd_agent_publish_held_up_total", NULL, "Publishing put off: every spare buffer was being read.", v->held_up},
    {"llmd_agent_reaped_total", NULL, "Processes that died and whose share was given back.", v->reaped},
    {reloads, "result=\"done\"", again, v->reloads},
    {reloads, "result=\"refused\"", again, v->reloads_failed},
    {texts, "result=\"ok\"", changed, v->policies_taken},
    {texts, "result=\"refused\"", changed, v->policies_refused},
    {"llmd_agent_admin_requests_total", NULL, "Requests for these pages.", http->requests},
    {"llmd_agent_admin_refused_total", NULL, "Malformed, too large or too slow requests for these pages.",
     http->refused},
  };
  PUT(page, rows);
}

static void put_scraper(const llmd__admin_view *v, llmd__page *page)
{
  static const char pages[] = "llmd_agent_pages_total", how[] = "Engines' metrics pages asked for, by how it ended.";
  static const char endpoints[] = "llmd_agent_endpoints", state[] = "Endpoints asked for metrics, by what is known.";
  llmd_scraper_stats s = {.size = sizeof s};
  if (!v->scraper || llmd_scraper_stats_get(v->scraper, &s))
    return;
  const row rows[] = {
    {endpoints, "state=\"fresh\"", state, s.fresh},
    {endpoints, "state=\"unknown\"", state, s.unknown},
    {endpoints, "state=\"stale\"", state, s.endpoints - s.fresh - s.unknown},
    {pages, "result=\"read\"", how, s.pages},
    {pages, "result=\"failed\"", how, s.failed},
    {pages, "result=\"refused\"", how, s.refused},
    {"llmd_agent_page_bytes_total", NULL, "Bytes of engines' metrics pages.", s.bytes},
  };
  PUT(page, rows);
}

static void put_subscriber(const llmd__admin_view *v, llmd__page *page)
{
  static const char sources[] = "llmd_agent_event_sources", state[] = "Sources of KV events, by state.";
  llmd_subscriber_stats s = {.size = sizeof s};
  if (!v->subscriber || llmd_subscriber_stats_get(v->subscriber, &s))
    return;
  const row rows[] = {
    {sources, "state=\"known\"", state, s.sources},
    {sources, "state=\"connected\"", state, s.connected},
    {sources, "state=\"degraded\"", state, s.degraded},
    {"llmd_agent_event_messages_total", NULL, "Messages of KV events.", s.messages},
    {"llmd_agent_event_bytes_total", NULL, "Bytes of these.", s.bytes},
    {"llmd_agent_events_total", NULL, "KV events.", s.events},
    {"llmd_agent_event_blocks_total", NULL, "Blocks that KV events named.", s.blocks},
    {"llmd_agent_event_gaps_total", NULL, "Times that messages were missed.", s.gaps},
    {"llmd_agent_event_replays_total", NULL, "Times that missed messages were asked for.", s.replays},
    {"llmd_agent_event_restarts_total", NULL, "Times that an engine began anew.", s.restarts},
    {"llmd_agent_event_bad_total", NULL, "Messages that could not be read.", s.bad},
  };
  PUT(page, rows);
}

static void put_tokens(const llmd__admin_view *v, llmd__page *page)
{
  llmd_tokens_stats s = {.size = sizeof s};
  if (!v->tokens || llmd_tokens_stats_get(v->tokens, &s))
    return;
  const row rows[] = {
    {"llmd_agent_token_deciders", NULL, "Processes that may ask for tokens.", s.connections},
    {"llmd_agent_token_waiting", NULL, "Questions for tokens that wait.", s.waiting},
    {"llmd_agent_token_questions_total", NULL, "Questions for tokens.", s.questions},
    {"llmd_agent_token_joined_total", NULL, "Questions about a prompt that was being rendered.", s.joined},
    {"llmd_agent_token_rendered_total", NULL, "Prompts that were rendered.", s.rendered},
    {"llmd_agent_token_failed_total", NULL, "Prompts that nobody could render.", s.failed},
    {"llmd_agent_token_refused_total", NULL, "Questions beyond what may wait at a time.", s.refused},
    {"llmd_agent_token_strangers_total", NULL, "Connections that said what is no question.", s.strangers},
    {"llmd_agent_token_bytes_total", NULL, "Bytes of renderers' answers.", s.bytes},
  };
  PUT(page, rows);
}

/* ---- the process ------------------------------------------------------------------------------------------------- */

static uint64_t resident(void)
{
  unsigned long all = 0, here = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  if (f && fscanf(f, "%lu %lu", &all, &here) != 2)
    here = 0;
  if (f)
    (void)fclose(f);
  return (uint64_t)here * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void put_process(llmd__page *page)
{
  static const char cpu[] = "process_cpu_seconds_total";
  const row rows[] = {{"process_resident_memory_bytes", NULL, "Resident memory of the agent.", resident()}};
  struct rusage u;
  long us;
  PUT(page, rows);
  if (getrusage(RUSAGE_SELF, &u))
    return;
  us = u.ru_utime.tv_usec + u.ru_stime.tv_usec;
  put_head(page, cpu, "CPU time of the agent.");
  llmd__page_print(page, "%s %ld.%06ld\n", cpu, u.ru_utime.tv_sec + u.ru_stime.tv_sec + us / 1000000, us % 1000000);
}

void llmd__admin_metrics(const llmd__admin_view *view, const llmd_http_stats *http, llmd__page *page)
{
  int rc = llmd_metrics_write(view->scheduler, llmd__page_write, page);
  if (rc && !page->rc)
    page->rc = rc;
  rc = llmd__stats_write(view->stats, llmd__page_write, page);
  if (rc && !page->rc)
    page->rc = rc;
  put_agent(view, http, page);
  put_scraper(view, page);
  put_subscriber(view, page);
  put_tokens(view, page);
  put_process(page);
}
