/* What tests of the region's file share: a folder of their own, children that attach, decide and wait to be killed. */
#ifndef TEST_UV_SHARE_RIG_H
#define TEST_UV_SHARE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <llmd/llmd.h>
#include <llmd/uv.h>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "uv/share/host.h"

#define WRITER (LLMD_SHARE_WRITER | LLMD_SHARE_CREATE)

static char rig_folder[64], rig_path[80];

static inline int rig_begin(void **state)
{
  (void)state;
  strcpy(rig_folder, "/tmp/llmd-share-XXXXXX");
  if (!mkdtemp(rig_folder))
    return -1;
  (void)snprintf(rig_path, sizeof rig_path, "%s/region", rig_folder);
  return 0;
}

static inline int rig_files(void)
{
  DIR *d = opendir(rig_folder);
  int n = 0;
  for (struct dirent *e = readdir(d); e; e = readdir(d))
    n += e->d_name[0] != '.';
  closedir(d);
  return n;
}

static inline int rig_end(void **state)
{
  char name[400];
  DIR *d = opendir(rig_folder);
  (void)state;
  for (struct dirent *e = readdir(d); e; e = readdir(d)) {
    (void)snprintf(name, sizeof name, "%s/%s", rig_folder, e->d_name);
    if (e->d_name[0] != '.' && unlink(name))
      (void)rmdir(name);
  }
  closedir(d);
  return rmdir(rig_folder);
}

/* Opens with small caps. */
static inline int rig_open(uint32_t flags, llmd_share **out, llmd_err *err)
{
  llmd_region_options caps = {.size = sizeof caps, .max_endpoints = 16, .max_lanes = 16, .max_tickets = 256,
                              .ring_bytes = 4096, .string_bytes = 65536, .state_bytes = 4u << 20,
                              .prefix_bytes = 1u << 20, .index_bytes = 1u << 20};
  llmd_share_options o = {.size = sizeof o, .flags = flags, .path = rig_path, .region = &caps};
  return llmd_share_open(&o, out, err);
}

static inline llmd_share *rig_must(uint32_t flags)
{
  llmd_err err = LLMD_ERR_INIT;
  llmd_share *s = NULL;
  if (rig_open(flags, &s, &err))
    fail_msg("open: %s", err.text);
  return s;
}

static inline llmd__host *rig_host(llmd_share *s)
{
  size_t bytes;
  char *stats = llmd__share_area(s, LLMD__AREA_STATS, &bytes);
  return (llmd__host *)(void *)(stats - (sizeof(llmd__host) + 4095) / 4096 * 4096);
}

/* A child that does `work`, says so through the pipe, and waits to be killed. */
static inline pid_t rig_child(void (*work)(void))
{
  int ends[2];
  char byte = 0;
  pid_t pid;
  assert_int_equal(pipe(ends), 0);
  pid = fork();
  if (!pid) {
    close(ends[0]);
    work();
    if (write(ends[1], "x", 1) != 1)
      _exit(1);
    for (;;)
      pause();
  }
  assert_true(pid > 0);
  close(ends[1]);
  if (read(ends[0], &byte, 1) != 1)
    fail_msg("the child ended before it was ready");
  close(ends[0]);
  return pid;
}

static inline void rig_kill(pid_t pid)
{
  int status;
  assert_int_equal(kill(pid, SIGKILL), 0);
  assert_int_equal(waitpid(pid, &status, 0), pid);
}

static inline llmd_endpoint_id rig_endpoint(llmd_pool *pool)
{
  llmd_endpoint e = {.size = sizeof e, .address = {"10.0.0.1", 8}, .port = 8000};
  llmd_endpoint_id id = 0;
  llmd_now now;
  llmd_clock(&now);
  assert_int_equal(llmd_pool_add(pool, &e, &id), 0);
  assert_int_equal(llmd_pool_publish(pool, &now), 0);
  return id;
}

/* Attaches, makes a scheduler and a lane, decides `n` times and commits: n requests in flight. */
static inline llmd_share *rig_decide(uint32_t n, llmd_lane **lane)
{
  static const char body[] = "{\"model\":\"m\",\"prompt\":\"hello\"}";
  llmd_share *s = NULL;
  llmd_scheduler *scheduler = NULL;
  llmd_request *r = NULL;
  size_t size = llmd_request_size(NULL);
  void *mem = malloc(size);
  llmd_decision d = {.size = sizeof d};
  llmd_now now;
  if (rig_open(0, &s, NULL) || llmd_scheduler_create(NULL, llmd_share_pool(s), "", 0, &scheduler, NULL) ||
      llmd_lane_create(scheduler, 0, lane) || llmd_request_init(mem, size, NULL, &r))
    _exit(1);
  for (uint32_t i = 0; i < n; i++) {
    llmd_clock(&now);
    llmd_request_reset(r);
    if (llmd_request_feed(r, body, sizeof body - 1, LLMD_FEED_FINAL) || llmd_decide(*lane, r, &now, i, &d) ||
        d.status != LLMD_ROUTED || llmd_commit(*lane, r, &d, 0, &now))
      _exit(1);
  }
  return s;
}

static inline uint32_t rig_lanes(llmd_share *s)
{
  size_t len;
  void *mem = llmd_share_memory(s, &len);
  llmd_region_stats g = {.size = sizeof g};
  assert_int_equal(llmd_region_stats_get(mem, len, &g, NULL), 0);
  return g.lanes;
}

#endif
