/* One endpoint: asking where it speaks, its live line, its replays. */
#include "uv/events/speaker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "uv/log.h"

#define MS UINT64_C(1000000)
#define MOST_QUESTIONS 64u /* under way, of all speakers */
#define MOST_REPLAYS 16u   /* likewise */
#define QUIET_NS (15000 * MS)  /* without a word of a replay; engines answer within a tenth of a second */
#define REPLAY_NS (300000 * MS) /* of a whole one; libllmd is told the same */
#define MOST_REFUSED 3u    /* tries to connect for a replay, within half a second */
#define STRIKES_GUESSED 1u /* replays of which nothing came: then it is taken to answer none */
#define STRIKES_TOLD 3u    /* ... unless it said that it does */
#define SETTLE_NS (100 * MS) /* after which a new connection's subscription has surely arrived; what a replay ends with
                              * would else be followed by messages that nobody gets, or knows of */
#define MOST_BLOCK 8192 /* tokens */
#define LEAST_PATIENCE (1000 * MS)
#define SELDOM 6u          /* times discover_ms, where nothing is wrong */

static void begin_replay(llmd__speaker *s);

static void say(llmd__speaker *s, int level, const char *what)
{
  llmd__log(s->sub->feeder.log, s->sub->feeder.log_ud, level, "events", "%s:%u/%u: %s", s->address, s->port, s->rank,
            what);
}

static uint64_t ms_to_ns(uint32_t ms)
{
  return ms * MS;
}

/* ---- what libllmd knows of it ------------------------------------------------------------------------------------ */

static int has_replay(const llmd__speaker *s)
{
  return !s->mute && (s->where.kind == LLMD__WHERE_ASK || s->where.replay_port);
}

/* Makes or changes the source. */
static int tell(llmd__speaker *s)
{
  llmd_source c;
  int rc;
  memset(&c, 0, sizeof c);
  c.size = sizeof c;
  c.engine = s->engine;
  c.flags = s->sub->config->counted ? LLMD_SOURCE_COUNTED : 0;
  c.flags |= has_replay(s) ? 0 : LLMD_SOURCE_NO_REPLAY;
  c.endpoint = s->id;
  c.topic = (llmd_str){s->where.topic, s->where.told ? s->where.topic_len : 0};
  c.block_tokens = s->block_tokens;
  c.scheme = s->scheme;
  rc = llmd_events_source(s->sub->events, &c, &s->source);
  if (rc == 0) {
    s->known = 1;
    s->sub->by_source[s->source] = s;
  } else if (!s->warned++) {
    say(s, LLMD_LOG_ERROR, llmd_strerror(rc));
  }
  return rc;
}

static void close_replay(llmd__speaker *s)
{
  if (s->replay)
    s->sub->replays--;
  llmd__line_close(s->replay);
  s->replay = NULL;
}

/* Nothing came of it. Who never answers is not asked any more until he connects anew. */
static void replay_failed(llmd__speaker *s)
{
  llmd_now now;
  llmd_clock(&now);
  close_replay(s);
  s->wanted = 0;
  s->strikes += !s->replay_got;
  if (!s->mute && s->strikes >= (s->where.told ? STRIKES_TOLD : STRIKES_GUESSED)) {
    s->mute = 1;
    (void)tell(s);
  }
  (void)llmd_events_replay_failed(s->sub->events, s->source, &now);
}

/* Its connection is new: who was silent may answer now, and what was missed is asked for. */
static void is_new(llmd__speaker *s)
{
  llmd_now now;
  llmd_clock(&now);
  s->strikes = 0;
  if (s->mute) {
    s->mute = 0;
    (void)tell(s);
  }
  if (!s->known)
    return;
  if (s->wanted)
    begin_replay(s);
  else if (!s->replay)
    (void)llmd_events_replay_failed(s->sub->events, s->source, &now);
  llmd__subscriber_pump(s->sub, &now);
}

/* ---- the live line ----------------------------------------------------------------------------------------------- */

void llmd__speaker_hear(llmd__speaker *s, const llmd_str *frame, uint32_t n)
{
  llmd_ask ask = {.size = sizeof ask};
  llmd_now now;
  llmd_clock(&now);
  (void)llmd_events_feed(s->sub->events, s->source, LLMD_FRAMES_LIVE, frame, n, &now, &ask);
  if (ask.what == LLMD_ASK_REPLAY)
    llmd__speaker_ask(s, ask.from);
}

static void on_live(void *ud, const llmd_str *frame, uint32_t n)
{
  llmd__speaker_hear(ud, frame, n);
}

/* libzmq has tried a few times by then, if it tries at all. */
static uint64_t patience(const llmd__speaker *s)
{
  const uint64_t twice = 2 * ms_to_ns(s->sub->config->retry_ms);
  return twice > LEAST_PATIENCE ? twice : LEAST_PATIENCE;
}

static void on_live_state(void *ud, int what)
{
  llmd__speaker *s = ud;
  llmd_now now;
  llmd_clock(&now);
  if (what == LLMD__LINE_UP) {
    s->up = 1;
    s->settles_at = now.mono + SETTLE_NS;
  } else if (s->up) {
    s->up = 0;
    s->reopen_at = now.mono + patience(s);
    s->ask_at = now.mono + ms_to_ns(s->sub->config->discover_ms); /* it may come back elsewhere */
  }
}

static const llmd__line_calls live_calls = {on_live, on_live_state};

static void disconnect(llmd__speaker *s)
{
  llmd__line_close(s->live);
  s->live = NULL;
  s->up = 0;
}

static void connect_live(llmd__speaker *s)
{
  char address[LLMD__ADDRESS_ROOM];
  llmd_str topic = {s->where.topic, s->where.topic_len};
  llmd__line_options o = {address, 0, s->sub->config->retry_ms, &live_calls, s};
  llmd_now now;
  int rc;
  llmd_clock(&now);
  s->reopen_at = now.mono + patience(s);
  if (!s->where.told)
    topic = (llmd_str){s->sub->config->topic, strlen(s->sub->config->topic)};
  rc = llmd__where_spell(s->address, s->where.port, address);
  if (rc == 0)
    rc = llmd__line_subscribe(s->sub->hub, &o, topic, &s->live);
  if (rc && !s->warned++)
    say(s, LLMD_LOG_ERROR, llmd_strerror(rc));
}

/* ---- replays ----------------------------------------------------------------------------------------------------- */

/* After the end mark the line has done its work, and libllmd may want another at once. */
static void on_replay(void *ud, const llmd_str *frame, uint32_t n)
{
  llmd__speaker *s = ud;
  llmd_frames f = {.size = sizeof f};
  llmd_ask ask = {.size = sizeof ask};
  llmd_now now;
  llmd_clock(&now);
  if (llmd_frames_read(LLMD_FRAMES_REPLAY, frame, n, &f) == 0) {
    s->replay_got = 1;
    s->replay_seen = now.mono;
    s->strikes = 0;
    if (f.end)
      close_replay(s);
  }
  (void)llmd_events_feed(s->sub->events, s->source, LLMD_FRAMES_REPLAY, frame, n, &now, &ask);
  if (ask.what == LLMD_ASK_REPLAY)
    llmd__speaker_ask(s, ask.from);
}

static void on_replay_state(void *ud, int what)
{
  llmd__speaker *s = ud;
  if (what == LLMD__LINE_DOWN || (what == LLMD__LINE_FAILED && ++s->replay_refused >= MOST_REFUSED))
    replay_failed(s);
}

static const llmd__line_calls replay_calls = {on_replay, on_replay_state};

static int can_be_asked(const llmd__speaker *s)
{
  return s->where.kind == LLMD__WHERE_SPEAKS || (s->up && !s->settles_at);
}

/* When it is there to be asked, and not too many others are. */
static void begin_replay(llmd__speaker *s)
{
  char address[LLMD__ADDRESS_ROOM];
  llmd__line_options o = {address, 0, 0, &replay_calls, s};
  llmd_now now;
  int rc;
  if (!s->wanted || s->sub->replays >= MOST_REPLAYS || !can_be_asked(s))
    return;
  llmd_clock(&now);
  s->wanted = s->replay_got = s->replay_refused = 0;
  s->replay_seen = s->replay_begun = now.mono;
  rc = has_replay(s) ? llmd__where_spell(s->address, s->where.replay_port, address) : LLMD_E_NONE;
  if (rc == 0)
    rc = llmd__line_ask(s->sub->hub, &o, s->from, &s->replay);
  if (rc == 0)
    s->sub->replays++;
  else
    replay_failed(s);
}

void llmd__speaker_ask(llmd__speaker *s, uint64_t from)
{
  close_replay(s);
  s->wanted = 1;
  s->from = from;
  begin_replay(s);
}

/* ---- where it speaks --------------------------------------------------------------------------------------------- */

static void guess(const llmd__speaker *s, llmd__where *w)
{
  const struct llmd_service_events *c = s->sub->config;
  memset(w, 0, sizeof *w);
  w->kind = c->port ? LLMD__WHERE_LISTENS : s->sub->bound ? LLMD__WHERE_SPEAKS : LLMD__WHERE_SILENT;
  w->port = c->port ? c->port + s->rank : 0;
  w->replay_port = c->replay_port ? c->replay_port + s->rank : 0;
}

static void apply_where(llmd__speaker *s, const llmd__where *w)
{
  const int same = !memcmp(&s->where, w, sizeof *w);
  const int moved = s->where.replay_port != w->replay_port;
  s->where = *w;
  if (!same || !s->known) {
    s->mute = s->strikes = 0;
    disconnect(s);
    if (tell(s))
      return;
    if ((s->wanted && !has_replay(s)) || (s->replay && moved))
      replay_failed(s);
    if (w->kind == LLMD__WHERE_SPEAKS)
      is_new(s);
  }
  if (w->kind == LLMD__WHERE_LISTENS && !s->live)
    connect_live(s);
}

void llmd__speaker_speaks(llmd__speaker *s)
{
  llmd__where w = s->where;
  if (w.kind == LLMD__WHERE_SPEAKS)
    return;
  w.kind = LLMD__WHERE_SPEAKS;
  apply_where(s, &w);
}

/* It is not sure that an address of its own means this: some listen there. */
static void nowhere_to_find_us(llmd__speaker *s, llmd__where *w)
{
  w->kind = LLMD__WHERE_LISTENS;
  if (!s->warned++)
    say(s, LLMD_LOG_WARN, "its engine seems to connect to whom it tells its events, and no address is set for that "
                          "(events.bind): trying to connect to it");
}

/* An answer that makes no sense, and any refusal, means: it does not know this question. No answer at all, or one of
 * its failures, means that it is not up yet. */
static void on_where(void *ud, const llmd__fetch_answer *a)
{
  llmd__speaker *s = ud;
  llmd__where w;
  llmd_now now;
  int rc = LLMD_E_NONE;
  llmd_clock(&now);
  s->question = 0;
  s->ask_at = now.mono + ms_to_ns(s->sub->config->discover_ms);
  if (a->rc < 0 || a->status >= 500) {
    if (!s->known)
      (void)tell(s);
    return;
  }
  memset(&w, 0, sizeof w);
  if (a->status == 200)
    rc = llmd__where_read(a->body, a->len, s->rank, &w);
  if (rc && s->where.kind == LLMD__WHERE_SPEAKS && !s->where.told)
    return; /* it was heard where we listen */
  if (rc)
    guess(s, &w);
  if (w.kind == LLMD__WHERE_SPEAKS && !s->sub->bound)
    nowhere_to_find_us(s, &w);
  apply_where(s, &w);
}

static void ask_where(llmd__speaker *s, const llmd_now *now)
{
  llmd__fetch_request q;
  memset(&q, 0, sizeof q);
  q.address = s->address;
  q.port = s->port;
  q.path = "/kv_event_sources";
  q.fn = on_where;
  q.ud = s;
  if (llmd__fetch_count(s->sub->fetch) >= MOST_QUESTIONS)
    return;
  if (llmd__fetch_go(s->sub->fetch, &q, &s->question))
    s->ask_at = now->mono + ms_to_ns(s->sub->config->discover_ms);
}

static int is_time_to_ask(const llmd__speaker *s, const llmd_now *now)
{
  const int listens = s->where.kind == LLMD__WHERE_LISTENS || s->where.kind == LLMD__WHERE_ASK;
  const uint64_t later = listens ? 0 : ms_to_ns(s->sub->config->discover_ms) * (SELDOM - 1);
  return !s->question && !s->up && now->mono >= s->ask_at + later;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

void llmd__speaker_tick(llmd__speaker *s, const llmd_now *now)
{
  if (is_time_to_ask(s, now))
    ask_where(s, now);
  if (s->replay && (now->mono - s->replay_seen > QUIET_NS || now->mono - s->replay_begun > REPLAY_NS))
    replay_failed(s);
  if (s->where.kind == LLMD__WHERE_LISTENS && s->known && !s->up && now->mono >= s->reopen_at) {
    disconnect(s);
    connect_live(s);
  }
  if (s->up && s->settles_at && now->mono >= s->settles_at) {
    s->settles_at = 0;
    is_new(s);
  }
  begin_replay(s);
}

static uint32_t engine_of(const llmd_endpoint *e)
{
  for (uint32_t i = 0; i < e->n_labels; i++) {
    const llmd_label *l = &e->labels[i];
    if (l->key.len == strlen(LLMD_LABEL_ENGINE) && !memcmp(l->key.ptr, LLMD_LABEL_ENGINE, l->key.len))
      return l->value.len == 6 && !memcmp(l->value.ptr, "sglang", 6) ? LLMD_SOURCE_SGLANG : LLMD_SOURCE_VLLM;
  }
  return LLMD_SOURCE_VLLM;
}

void llmd__speaker_learn(llmd__speaker *s, const llmd_endpoint *e)
{
  const llmd_pool *pool = s->sub->feeder.pool;
  const double size = llmd_pool_value(pool, s->id, LLMD_ATTR_BLOCK_SIZE);
  const uint32_t engine = engine_of(e);
  const uint32_t tokens = size >= 1 && size <= MOST_BLOCK ? (uint32_t)size : s->block_tokens;
  uint32_t scheme = s->scheme;
  llmd_str name;
  if (llmd_pool_text(pool, s->id, LLMD_ATTR_HASH_ALGO, &name) == 0)
    scheme = llmd_hash_by_name(name.ptr, name.len);
  if (engine == s->engine && tokens == s->block_tokens && scheme == s->scheme)
    return;
  s->engine = engine;
  s->block_tokens = tokens;
  s->scheme = scheme;
  if (s->known)
    (void)tell(s);
}

int llmd__speaker_open(llmd_subscriber *sub, llmd_endpoint_id id, const llmd_endpoint *e, llmd__speaker **out)
{
  char address[LLMD__ADDRESS_ROOM];
  llmd__speaker *s = calloc(1, sizeof *s);
  if (!s)
    return LLMD_E_NOMEM;
  s->sub = sub;
  s->id = id;
  s->port = e->port;
  s->rank = e->rank;
  snprintf(s->address, sizeof s->address, "%.*s", e->address.len < sizeof s->address ? (int)e->address.len : 0,
           e->address.ptr ? e->address.ptr : "");
  s->engine = LLMD_SOURCE_VLLM;
  llmd__speaker_learn(s, e);
  *out = s;
  if (llmd__where_spell(s->address, s->port, address) == 0)
    return 0;
  say(s, LLMD_LOG_WARN, "no numeric address: its events cannot be had");
  s->ask_at = UINT64_MAX / 2;
  return 0;
}

void llmd__speaker_close(llmd__speaker *s)
{
  if (s->question)
    llmd__fetch_cancel(s->sub->fetch, s->question);
  disconnect(s);
  close_replay(s);
  free(s);
}
