/* A host that only decides: it attaches to an agent's region and asks for nothing else. Used by agent.py, and short
 * enough to be read as an example.
 *
 *   decider REGION count N   decides N times, ends each request, prints where they went, as JSON
 *   decider REGION hold N    decides N times and keeps them in flight until standard input ends
 *   decider REGION loop MS   decides every MS milliseconds until standard input ends; a line of JSON each 100 ms */
#include <llmd/llmd.h>
#include <llmd/uv.h>

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST 10000

struct decider {
  llmd_share *share;
  llmd_scheduler *scheduler;
  llmd_lane *lane;
  llmd_request *request;
  void *memory;
  llmd_ticket ticket[MOST];
  uint64_t routed, other;
  uint32_t ladder; /* of the last decision */
  uint32_t ladders; /* of all */
};

static int blame(const char *what, const llmd_err *err)
{
  fprintf(stderr, "decider: %s: %s\n", what, err->text);
  return 1;
}

/* An agent may be making its state in the region at this moment: then once more. */
static int make_scheduler(struct decider *d, llmd_err *err)
{
  int rc = LLMD_E_BUSY;
  for (int i = 0; i < 500 && rc == LLMD_E_BUSY; i++) {
    rc = llmd_scheduler_create(NULL, llmd_share_pool(d->share), "", 0, &d->scheduler, err);
    if (rc == LLMD_E_BUSY)
      (void)poll(NULL, 0, 10);
  }
  return rc;
}

static int attach(struct decider *d, const char *region)
{
  llmd_err err = LLMD_ERR_INIT;
  llmd_share_options o = {.size = sizeof o, .path = region};
  size_t size = llmd_request_size(NULL);
  if (llmd_share_open(&o, &d->share, &err))
    return blame("attach", &err);
  if (make_scheduler(d, &err))
    return blame("scheduler", &err);
  d->memory = malloc(size);
  if (!d->memory || llmd_lane_create(d->scheduler, 0, &d->lane) ||
      llmd_request_init(d->memory, size, NULL, &d->request))
    return blame("lane", &err);
  return 0;
}

/* One request. The ticket goes to *ticket, 0 when it went nowhere. */
static void decide(struct decider *d, llmd_ticket *ticket, char *target, size_t room)
{
  static const char body[] = "{\"model\":\"m\",\"prompt\":\"Which of you is free?\"}";
  llmd_decision decision = {.size = sizeof decision};
  llmd_now now;
  *ticket = 0;
  llmd_clock(&now);
  llmd_request_reset(d->request);
  if (llmd_request_feed(d->request, body, sizeof body - 1, LLMD_FEED_FINAL) ||
      llmd_decide(d->lane, d->request, &now, d->routed + d->other, &decision) || decision.status != LLMD_ROUTED ||
      llmd_commit(d->lane, d->request, &decision, 0, &now)) {
    d->other++;
    return;
  }
  d->routed++;
  d->ladder = decision.ladder;
  d->ladders |= decision.ladder;
  *ticket = decision.ticket;
  (void)snprintf(target, room, "%.*s:%u", (int)decision.target[0].address.len,
                 decision.text + decision.target[0].address.off, decision.target[0].port);
}

static void end(struct decider *d, llmd_ticket ticket)
{
  llmd_now now;
  llmd_clock(&now);
  if (ticket)
    (void)llmd_report(d->lane, ticket, LLMD_REPORT_END, NULL, &now);
}

static void say(const struct decider *d)
{
  printf("{\"routed\":%" PRIu64 ",\"other\":%" PRIu64 ",\"ladder\":%u,\"ladders\":%u,\"writer\":%d}\n", d->routed,
         d->other, d->ladder, d->ladders, llmd_share_has_writer(d->share));
  fflush(stdout);
}

static int is_over(int ms)
{
  struct pollfd in = {STDIN_FILENO, POLLIN, 0};
  char byte;
  return poll(&in, 1, ms) > 0 && read(STDIN_FILENO, &byte, 1) <= 0;
}

static void count(struct decider *d, int n)
{
  char target[128] = "";
  llmd_ticket ticket;
  for (int i = 0; i < n; i++) {
    decide(d, &ticket, target, sizeof target);
    end(d, ticket);
    fprintf(stderr, "%s\n", target);
  }
  say(d);
}

static void hold(struct decider *d, int n)
{
  char target[128];
  for (int i = 0; i < n; i++)
    decide(d, &d->ticket[i], target, sizeof target);
  say(d);
  while (!is_over(1000))
    ;
  for (int i = 0; i < n; i++)
    end(d, d->ticket[i]);
}

static void loop(struct decider *d, int ms)
{
  llmd_now now, last = {0, 0};
  char target[128];
  llmd_ticket ticket;
  while (!is_over(ms)) {
    decide(d, &ticket, target, sizeof target);
    end(d, ticket);
    llmd_clock(&now);
    if (now.mono - last.mono >= 100000000u) {
      say(d);
      last = now;
    }
  }
}

static void leave(struct decider *d)
{
  llmd_lane_free(d->lane);
  llmd_scheduler_free(d->scheduler);
  llmd_share_close(d->share);
  free(d->memory);
}

int main(int argc, char **argv)
{
  static struct decider d;
  int n = argc == 4 ? atoi(argv[3]) : 0, rc;
  if (n < 1 || n > MOST)
    return 2;
  rc = attach(&d, argv[1]);
  if (!rc && !strcmp(argv[2], "count"))
    count(&d, n);
  else if (!rc && !strcmp(argv[2], "hold"))
    hold(&d, n);
  else if (!rc)
    loop(&d, n);
  leave(&d);
  return rc;
}
