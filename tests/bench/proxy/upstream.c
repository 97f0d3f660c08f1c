/* Engines that answer at once: what the proxy's bench puts behind it.
 *
 *   upstream COUNT      listens on COUNT ports of 127.0.0.1, prints them on one line, serves until killed
 *
 * An answer is a chat completion of a few hundred bytes. Of the target's query: events=N makes it a stream of N
 * server-sent events of one token each (its own write each), gap=MICROSECONDS lets so much time pass between them, hold=1
 * sends the first of them and leaves it at that. */
#include <llmd/http.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <uv.h>

#define MAX_SERVERS 64

static const char whole[] =
  "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"bench\",\"choices\":[{\"index\":0,"
  "\"message\":{\"role\":\"assistant\",\"content\":\"All of this was said before, and will be said again.\"},"
  "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":100,\"total_tokens\":116,\"completion_tokens\":16}}";
static const char event[] =
  "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"bench\",\"choices\":"
  "[{\"index\":0,\"delta\":{\"content\":\" word\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n";
static const char last[] = "data: [DONE]\n\n";
static const char page[] =
  "# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting 0\n# TYPE vllm:num_requests_running gauge\n"
  "vllm:num_requests_running 0\n# TYPE vllm:kv_cache_usage_perc gauge\nvllm:kv_cache_usage_perc 0.1\n";

static unsigned long number_of(const char *target, size_t len, const char *name)
{
  char text[256], *found;
  const size_t n = len < sizeof text - 1 ? len : sizeof text - 1;
  memcpy(text, target, n);
  text[n] = 0;
  found = strstr(text, name);
  return found ? strtoul(found + strlen(name), NULL, 10) : 0;
}

/* ---- streams that take their time ---- */

/* Streams with a gap, in a ring; one clock for all of them. */
typedef struct slow {
  struct slow *prev, *next;
  llmd_http_call *call;
  uint64_t due, gap; /* ns */
  unsigned long left;
} slow;

static slow all = {&all, &all, NULL, 0, 0, 0};
static int clock_fd = -1;

static void set_clock(void)
{
  struct itimerspec when = {{0, 0}, {0, 0}};
  uint64_t first = UINT64_MAX;
  for (const slow *s = all.next; s != &all; s = s->next)
    first = s->due < first ? s->due : first;
  if (first != UINT64_MAX) {
    when.it_value.tv_sec = (time_t)(first / 1000000000u);
    when.it_value.tv_nsec = (long)(first % 1000000000u);
  }
  (void)timerfd_settime(clock_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void drop(slow *s)
{
  s->prev->next = s->next;
  s->next->prev = s->prev;
  llmd_http_set_data(s->call, NULL);
  free(s);
}

static void step(slow *s, uint64_t now)
{
  const llmd_str one = {event, sizeof event - 1}, end = {last, sizeof last - 1};
  llmd_http_call *call = s->call;
  s->due = now + s->gap;
  if (s->left-- > 0) {
    (void)llmd_http_write(call, &one, 1);
    return;
  }
  drop(s);
  (void)llmd_http_end(call, &end, 1);
}

static void on_clock(uv_poll_t *poll, int status, int events)
{
  const uint64_t now = uv_hrtime();
  uint64_t times;
  slow *next;
  (void)poll;
  (void)status;
  (void)events;
  (void)!read(clock_fd, &times, sizeof times);
  for (slow *s = all.next; s != &all; s = next) {
    next = s->next;
    if (s->due <= now)
      step(s, now);
  }
  set_clock();
}

static void add_slow(llmd_http_call *call, unsigned long events, unsigned long gap_us)
{
  slow *s = malloc(sizeof *s);
  if (!s) {
    llmd_http_abort(call);
    return;
  }
  *s = (slow){all.prev, &all, call, uv_hrtime(), gap_us * 1000u, events};
  all.prev->next = s;
  all.prev = s;
  llmd_http_set_data(call, s);
  set_clock();
}

static void on_gone(void *ud, llmd_http_call *call)
{
  (void)ud;
  if (llmd_http_data(call))
    drop(llmd_http_data(call));
}

/* ---- answers ---- */

static void stream(llmd_http_call *call, unsigned long events, unsigned long gap_us, int hold)
{
  const llmd_http_header type = {{"Content-Type", 12}, {"text/event-stream; charset=utf-8", 32}};
  const llmd_str one = {event, sizeof event - 1}, end = {last, sizeof last - 1};
  (void)llmd_http_begin(call, 200, &type, 1, -1);
  if (gap_us) {
    add_slow(call, events, gap_us);
    return;
  }
  for (unsigned long i = 0; i < (hold ? 1 : events); i++)
    (void)llmd_http_write(call, &one, 1);
  if (!hold)
    (void)llmd_http_end(call, &end, 1);
}

static void on_request(void *ud, llmd_http_call *call)
{
  const llmd_http_request *r = llmd_http_request_of(call);
  const unsigned long events = number_of(r->target.ptr, r->target.len, "events=");
  (void)ud;
  if (r->target.len >= 8 && memcmp(r->target.ptr, "/metrics", 8) == 0)
    (void)llmd_http_reply(call, 200, "text/plain; version=0.0.4", NULL, 0, page, sizeof page - 1);
  else if (events)
    stream(call, events, number_of(r->target.ptr, r->target.len, "gap="),
           number_of(r->target.ptr, r->target.len, "hold=") == 1);
  else
    (void)llmd_http_reply(call, 200, "application/json", NULL, 0, whole, sizeof whole - 1);
}

int main(int argc, char **argv)
{
  const unsigned long count = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
  const llmd_http_handler handler = {.size = sizeof handler, .on_request = on_request, .on_gone = on_gone};
  const llmd_http_options options = {.size = sizeof options, .max_body = 64u << 20, .idle_ms = 3600000, .write_ms = 3600000};
  llmd_err err = LLMD_ERR_INIT;
  uv_loop_t loop;
  uv_poll_t clock;
  if (count == 0 || count > MAX_SERVERS || uv_loop_init(&loop)) {
    fprintf(stderr, "usage: upstream COUNT (1 to %d)\n", MAX_SERVERS);
    return 2;
  }
  clock_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  if (clock_fd < 0 || uv_poll_init(&loop, &clock, clock_fd) || uv_poll_start(&clock, UV_READABLE, on_clock)) {
    fprintf(stderr, "upstream: no clock\n");
    return 1;
  }
  for (unsigned long i = 0; i < count; i++) {
    llmd_http_server *server;
    if (llmd_http_listen(&loop, "127.0.0.1:0", -1, &handler, &options, &server, &err)) {
      fprintf(stderr, "upstream: %s\n", err.text);
      return 1;
    }
    printf("%u%c", llmd_http_port(server), i + 1 < count ? ' ' : '\n');
  }
  fflush(stdout);
  return uv_run(&loop, UV_RUN_DEFAULT);
}
