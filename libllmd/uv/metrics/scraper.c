/* Asks every endpoint for its metrics page, over and over.
 *
 *   tick ─► who is due, and has nothing under way ─► llmd__fetch_go ─► llmd_pool_scrape ─► changed
 *     │                                                    └─ no answer, no page: asked less and less often, to 1 s
 *     └───► who has not answered for unknown_ms: the columns become unknown, until it answers
 *
 * An endpoint that does not answer turns stale by itself: the core knows when its metrics were touched. A page that is
 * no good is treated as no answer. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include <llmd/uv.h>

#include "uv/fetch/fetch.h"
#include "uv/log.h"
#include "uv/metrics/models.h"
#include "uv/metrics/target.h"

#define MS 1000000ull
#define REFRESH_NS (100 * MS)
#define BACK_OFF_MAX (1000 * MS)

struct llmd_scraper {
  llmd_feeder feed;
  struct llmd_service_metrics o;
  llmd__fetch *fetch;
  uv_timer_t timer;
  llmd__targets targets;
  uint64_t refresh_due;
  uint64_t dice;
  uint32_t models; /* the attribute */
  uint32_t cursor; /* whom a tick begins with: nobody starves when `parallel` is short */
  uint32_t closed; /* of the two handles, fetch and timer */
  uint64_t pages, bytes, failed, refused;
  llmd_done_fn done;
  void *done_ud;
};

/* ---- time -------------------------------------------------------------------------------------------------------- */

/* 0..1, xorshift: spreads requests over the period, no more. */
static double roll(llmd_scraper *s)
{
  s->dice ^= s->dice << 13;
  s->dice ^= s->dice >> 7;
  s->dice ^= s->dice << 17;
  return (double)(s->dice >> 11) / 9007199254740992.0;
}

static uint64_t jittered(llmd_scraper *s, uint64_t ns)
{
  return (uint64_t)((double)ns * (0.9 + 0.2 * roll(s)));
}

/* The period, doubled for each failure, to a second. */
static uint64_t page_wait(const llmd_scraper *s, uint32_t failures)
{
  uint64_t ns = s->o.period_ms * MS;
  for (uint32_t i = 0; i < failures && ns < BACK_OFF_MAX; i++)
    ns = 2 * ns < BACK_OFF_MAX ? 2 * ns : BACK_OFF_MAX;
  return ns;
}

static uint64_t models_wait(const llmd_scraper *s, uint32_t failures)
{
  const uint64_t most = s->o.models_ms * MS;
  uint64_t ns = failures ? 500 * MS : most;
  for (uint32_t i = 1; i < failures && ns < most; i++)
    ns *= 2;
  return ns < most ? ns : most;
}

/* From when it was due, so that the period is kept on average; a tick that came late makes up for nothing. */
static void plan_page(llmd_scraper *s, llmd__target *t, uint64_t now)
{
  const uint64_t wait = jittered(s, page_wait(s, t->failures));
  t->due = (t->due + wait > now ? t->due : now) + wait;
}

/* ---- what became of a target ------------------------------------------------------------------------------------- */

static void note(const llmd_scraper *s, int level, const llmd__target *t, const char *what, const char *why)
{
  llmd__log(s->feed.log, s->feed.log_ud, level, "metrics", "%s%s%s:%u: %s%s%s", strchr(t->address, ':') ? "[" : "",
            t->address, strchr(t->address, ':') ? "]" : "", (unsigned)t->port, what, why ? ": " : "", why ? why : "");
}

static void changed(const llmd_scraper *s)
{
  if (s->feed.changed)
    s->feed.changed(s->feed.changed_ud);
}

static void forget_values(llmd_scraper *s, llmd__target *t)
{
  static const uint32_t numbers[] = {LLMD_ATTR_WAITING,    LLMD_ATTR_RUNNING,    LLMD_ATTR_KV_USAGE,
                                     LLMD_ATTR_MAX_MODELS, LLMD_ATTR_BLOCK_SIZE, LLMD_ATTR_NUM_BLOCKS};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    (void)llmd_pool_set(s->feed.pool, t->id, numbers[i], (double)NAN);
  (void)llmd_pool_set_models(s->feed.pool, t->id, LLMD_ATTR_ACTIVE_MODELS, NULL, 0);
  (void)llmd_pool_set_models(s->feed.pool, t->id, LLMD_ATTR_WAITING_MODELS, NULL, 0);
  changed(s);
}

static void age(llmd_scraper *s, llmd__target *t, uint64_t now)
{
  const uint64_t silent = now > t->answered ? now - t->answered : 0; /* it may have come after the round's look at the clock */
  if (t->state != LLMD__TARGET_UNKNOWN && silent >= s->o.unknown_ms * MS) {
    t->state = LLMD__TARGET_UNKNOWN;
    note(s, LLMD_LOG_WARN, t, "still no metrics: its load is unknown", NULL);
    forget_values(s, t);
  } else if (t->state < LLMD__TARGET_STALE && silent >= s->o.stale_ms * MS) {
    t->state = LLMD__TARGET_STALE;
    note(s, LLMD_LOG_WARN, t, "no metrics: stale", NULL);
  }
}

static void answered(llmd_scraper *s, llmd__target *t, uint64_t now)
{
  if (t->failures) /* asked seldom until now */
    t->due = now + jittered(s, s->o.period_ms * MS);
  if (t->state == LLMD__TARGET_STALE || t->state == LLMD__TARGET_UNKNOWN)
    note(s, LLMD_LOG_INFO, t, "metrics again", NULL);
  t->failures = 0;
  t->answered = now;
  t->state = LLMD__TARGET_FRESH;
  changed(s);
}

static void no_answer(llmd_scraper *s, llmd__target *t, uint64_t now, const char *why)
{
  if (t->failures++ == 0)
    note(s, LLMD_LOG_DEBUG, t, "no metrics", why);
  t->due = now + jittered(s, page_wait(s, t->failures));
}

/* What is wrong with an answer; NULL = nothing. */
static const char *wrong(llmd_scraper *s, const llmd__fetch_answer *a)
{
  if (a->rc == LLMD_E_LIMIT || a->rc == LLMD_E_UNSUPPORTED || a->rc == LLMD_E_SYNTAX) {
    s->refused++;
    return a->text;
  }
  if (a->rc) {
    s->failed++;
    return a->text;
  }
  if (a->status == 200)
    return NULL;
  s->refused++;
  return "its status is not 200";
}

static void on_page(void *ud, const llmd__fetch_answer *a)
{
  llmd__target *t = ud;
  llmd_scraper *s = t->owner;
  const char *why = wrong(s, a);
  llmd_now now;
  int n;
  t->request = 0;
  llmd_clock(&now);
  if (why) {
    no_answer(s, t, now.mono, why);
    return;
  }
  n = llmd_pool_scrape(s->feed.pool, t->id, a->body, a->len, now.mono);
  if (n == LLMD_E_STALE)
    return; /* it is about to leave the table */
  if (n <= 0) {
    s->refused++;
    no_answer(s, t, now.mono, "nothing in its page is known");
    return;
  }
  s->pages++;
  s->bytes += a->len;
  answered(s, t, now.mono);
}

static void on_models(void *ud, const llmd__fetch_answer *a)
{
  llmd__target *t = ud;
  llmd_scraper *s = t->owner;
  llmd_now now;
  t->request = 0;
  llmd_clock(&now);
  if (a->rc == 0 && a->status == 200 && llmd__models_take(s->feed.pool, t->id, s->models, a->body, a->len) >= 0) {
    t->model_failures = 0;
    changed(s);
  } else if (t->model_failures < 32) {
    t->model_failures++;
  }
  t->models_due = now.mono + jittered(s, models_wait(s, t->model_failures));
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static void ask(llmd_scraper *s, llmd__target *t, uint64_t now)
{
  const int models = now >= t->models_due;
  const llmd__fetch_request r = {
      .address = models ? t->api : t->address,
      .port = models ? t->api_port : t->port,
      .path = models ? s->o.models_path : s->o.path,
      .max_bytes = models ? LLMD__MODELS_BYTES : 0,
      .fn = models ? on_models : on_page,
      .ud = t,
  };
  const int rc = llmd__fetch_go(s->fetch, &r, &t->request);
  if (models)
    t->models_due = now + models_wait(s, 1);
  else
    plan_page(s, t, now);
  if (rc && !models) {
    s->failed++;
    no_answer(s, t, now, rc == LLMD_E_INVALID ? "its address cannot be asked" : llmd_strerror(rc));
  }
}

static void look_at(llmd_scraper *s, llmd__target *t, uint64_t now)
{
  /* Those that are dead may be many and take long: they have half of the room. */
  const uint32_t room = t->failures > 2 ? (s->o.parallel + 1) / 2 : s->o.parallel;
  age(s, t, now);
  if (!t->request && (now >= t->due || now >= t->models_due) && llmd__fetch_count(s->fetch) < room)
    ask(s, t, now);
}

static void on_tick(uv_timer_t *timer)
{
  llmd_scraper *s = timer->data;
  llmd_now now;
  uint32_t n;
  llmd_clock(&now);
  if (now.mono >= s->refresh_due) {
    s->refresh_due = now.mono + REFRESH_NS;
    if (llmd__targets_refresh(&s->targets, s->feed.pool) == LLMD_E_NOMEM)
      llmd__log(s->feed.log, s->feed.log_ud, LLMD_LOG_ERROR, "metrics", "out of memory: an endpoint is not asked");
  }
  n = s->targets.n;
  s->cursor = n ? (s->cursor + 1) % n : 0;
  for (uint32_t i = 0; i < n; i++)
    look_at(s, s->targets.at[(s->cursor + i) % n], now.mono);
}

static void on_added(void *ud, llmd__target *t)
{
  llmd_scraper *s = ud;
  llmd_now now;
  llmd_clock(&now);
  t->answered = now.mono;
  t->due = now.mono + (uint64_t)(roll(s) * (double)(s->o.period_ms * MS));
  t->models_due = s->o.models_ms ? now.mono + (uint64_t)(roll(s) * (double)(500 * MS)) : UINT64_MAX;
}

static void on_gone(void *ud, llmd__target *t)
{
  llmd_scraper *s = ud;
  llmd__fetch_cancel(s->fetch, t->request);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static int open_parts(llmd_scraper *s, llmd_err *err)
{
  const llmd__fetch_options o = {.connect_ms = s->o.connect_ms, .total_ms = s->o.timeout_ms, .max_bytes = s->o.max_bytes};
  int rc = llmd_pool_attribute(s->feed.pool, "Models", "llmd", LLMD_TYPE_SET, LLMD_SCOPE_ENDPOINT);
  if (rc < 0)
    return llmd__fail(err, rc, 0, 0, "metrics", "no room for the attribute Models: %s", llmd_strerror(rc));
  s->models = (uint32_t)rc;
  rc = llmd__fetch_open(s->feed.loop, &o, &s->fetch);
  if (rc)
    return llmd__fail(err, rc, 0, 0, "metrics", "the HTTP client does not start: %s", llmd_strerror(rc));
  if (uv_timer_init(s->feed.loop, &s->timer)) {
    llmd__fetch_close(s->fetch, NULL, NULL);
    return llmd__fail(err, LLMD_E_IO, 0, 0, "metrics", "no timer");
  }
  return 0;
}

int llmd_scraper_start(const llmd_feeder *feeder, llmd_scraper **out, llmd_err *err)
{
  llmd_scraper *s = calloc(1, sizeof *s);
  uint32_t tick;
  int rc;
  if (!s)
    return llmd__fail(err, LLMD_E_NOMEM, 0, 0, "metrics", "out of memory");
  s->feed = *feeder;
  s->o = feeder->service->metrics;
  s->targets.ud = s;
  s->targets.added = on_added;
  s->targets.gone = on_gone;
  s->dice = uv_hrtime() | 1;
  rc = open_parts(s, err);
  if (rc) {
    free(s);
    return rc;
  }
  s->timer.data = s;
  tick = s->o.period_ms / 10;
  tick = tick < 1 ? 1 : tick > 10 ? 10 : tick;
  (void)uv_timer_start(&s->timer, on_tick, 0, tick);
  *out = s;
  return 0;
}

int llmd_scraper_stats_get(const llmd_scraper *s, llmd_scraper_stats *out)
{
  if (!s || !out || out->size < sizeof *out)
    return LLMD_E_INVALID;
  out->endpoints = s->targets.n;
  out->fresh = out->unknown = 0;
  for (uint32_t i = 0; i < s->targets.n; i++) {
    out->fresh += s->targets.at[i]->state == LLMD__TARGET_FRESH;
    out->unknown += s->targets.at[i]->state == LLMD__TARGET_UNKNOWN;
  }
  out->pages = s->pages;
  out->bytes = s->bytes;
  out->failed = s->failed;
  out->refused = s->refused;
  return 0;
}

static void part_closed(llmd_scraper *s)
{
  if (++s->closed < 2)
    return;
  if (s->done)
    s->done(s->done_ud);
  free(s);
}

static void on_fetch_closed(void *ud)
{
  part_closed(ud);
}

static void on_timer_closed(uv_handle_t *h)
{
  part_closed(h->data);
}

void llmd_scraper_stop(llmd_scraper *s, llmd_done_fn done, void *ud)
{
  if (!s) {
    if (done)
      done(ud);
    return;
  }
  s->done = done;
  s->done_ud = ud;
  llmd__targets_clear(&s->targets);
  uv_close((uv_handle_t *)&s->timer, on_timer_closed);
  llmd__fetch_close(s->fetch, on_fetch_closed, s);
}
