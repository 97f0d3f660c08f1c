/* What processes count together, what stays when they die, and that a real reader of Prometheus text takes it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "uv/admin/page.h"
#include "uv/stats/area.h"

/* Who lives, as the share would say: a process is gone when its number was struck out. */
struct fixture {
  void *area;
  size_t bytes;
  int *gone; /* [16], shared */
  char *text;
  size_t len;
};

static int is_attached(const void *ud, uint64_t owner)
{
  const struct fixture *f = ud;
  return owner < 16 && !f->gone[owner];
}

static void *shared(size_t bytes)
{
  void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert_true(p != MAP_FAILED);
  return p;
}

static int set_up(void **state)
{
  struct fixture *f = calloc(1, sizeof *f);
  f->bytes = llmd__stats_bytes();
  f->area = shared(f->bytes);
  f->gone = shared(16 * sizeof *f->gone);
  *state = f;
  return 0;
}

static int tear_down(void **state)
{
  struct fixture *f = *state;
  munmap(f->area, f->bytes);
  munmap(f->gone, 16 * sizeof *f->gone);
  free(f->text);
  free(f);
  return 0;
}

static llmd__stats *open_as(struct fixture *f, uint64_t owner)
{
  llmd__stats *st = NULL;
  assert_int_equal(llmd__stats_open_on(f->area, f->bytes, owner, is_attached, f, &st), 0);
  return st;
}

static int collect(void *ud, const char *p, size_t n)
{
  struct fixture *f = ud;
  char *larger = realloc(f->text, f->len + n + 1);
  assert_non_null(larger);
  f->text = larger;
  memcpy(f->text + f->len, p, n);
  f->len += n;
  f->text[f->len] = 0;
  return 0;
}

static const char *text_of(struct fixture *f, llmd__stats *st)
{
  f->len = 0;
  assert_int_equal(llmd__stats_write(st, collect, f), 0);
  return f->text;
}

static void has(struct fixture *f, const char *line)
{
  const char *found = f->text;
  size_t n = strlen(line);
  while ((found = strstr(found, line)))
    if ((found == f->text || found[-1] == '\n') && found[n] == '\n')
      return;
    else
      found++;
  fail_msg("no line: %s", line);
}

#define STR(s) {s, sizeof(s) - 1}
#define LABELS "model_name=\"m\",target_model_name=\"t\",fairness_id=\"f\",priority=\"-1\""
static const llmd__stats_key key = {STR("m"), STR("t"), STR("f"), -1};

static void a_request(void **state)
{
  struct fixture *f = *state;
  llmd__stats *st = open_as(f, 1);
  uint32_t series = llmd__stats_series(st, &key);
  llmd__stats_end end = {.duration = 3000000000u, .ttft = 1000000000, .request_bytes = 100, .response_bytes = 70000,
                         .input_tokens = 1000, .output_tokens = 101, .cached_tokens = 512, .streaming = 1};
  assert_true(series > 0);
  llmd__stats_begin(st, series);
  llmd__stats_between_tokens(st, series, 20000000);
  text_of(f, st);
  has(f, "llm_d_epp_request_total{" LABELS "} 1");
  has(f, "llm_d_epp_request_running{" LABELS "} 1");
  has(f, "# TYPE llm_d_epp_request_running gauge");
  llmd__stats_end_request(st, series, &end);
  text_of(f, st);
  has(f, "llm_d_epp_request_running{" LABELS "} 0");
  has(f, "llm_d_epp_request_duration_seconds_bucket{" LABELS ",le=\"2\"} 0");
  has(f, "llm_d_epp_request_duration_seconds_bucket{" LABELS ",le=\"3\"} 1");
  has(f, "llm_d_epp_request_duration_seconds_bucket{" LABELS ",le=\"+Inf\"} 1");
  has(f, "llm_d_epp_request_duration_seconds_sum{" LABELS "} 3");
  has(f, "llm_d_epp_request_duration_seconds_count{" LABELS "} 1");
  has(f, "llm_d_epp_request_ttft_seconds_bucket{" LABELS ",streaming=\"true\",le=\"1\"} 1");
  has(f, "llm_d_epp_request_streaming_tpot_seconds_bucket{" LABELS ",le=\"0.02\"} 1");
  has(f, "llm_d_epp_request_streaming_itl_seconds_bucket{" LABELS ",le=\"0.01\"} 0");
  has(f, "llm_d_epp_request_streaming_itl_seconds_bucket{" LABELS ",le=\"0.02\"} 1");
  has(f, "llm_d_epp_request_ntpot_seconds_count{" LABELS "} 1");
  has(f, "llm_d_epp_request_size_bytes_bucket{" LABELS ",le=\"128\"} 1");
  has(f, "llm_d_epp_response_size_bytes_bucket{" LABELS ",le=\"65536\"} 0");
  has(f, "llm_d_epp_response_size_bytes_sum{" LABELS "} 70000");
  has(f, "llm_d_epp_request_input_tokens_sum{" LABELS "} 1000");
  has(f, "llm_d_epp_request_output_tokens_sum{" LABELS "} 101");
  has(f, "llm_d_epp_request_cached_tokens_bucket{" LABELS ",le=\"512\"} 1");
  llmd__stats_close(st);
}

static void errors(void **state)
{
  struct fixture *f = *state;
  llmd__stats *st = open_as(f, 1);
  uint32_t series = llmd__stats_series(st, &key);
  llmd__stats_end end = {.duration = 5, .error = llmd__stats_error_of(503, 1)};
  llmd__stats_begin(st, series);
  llmd__stats_end_request(st, series, &end);
  llmd__stats_refused(st, 431);
  llmd__stats_refused(st, 0);
  llmd__stats_refused(st, 599);
  llmd__stats_answered(st, 200);
  llmd__stats_answered(st, 503);
  llmd__stats_count(st, LLMD__STAT_RETRIES, 7);
  text_of(f, st);
  has(f, "llm_d_epp_request_error_total{" LABELS ",error_code=\"ServiceUnavailable\"} 1");
  has(f, "llmd_proxy_refused_total{status=\"431\"} 1");
  has(f, "llmd_proxy_refused_total{status=\"none\"} 1");
  has(f, "llmd_proxy_refused_total{status=\"other\"} 1");
  has(f, "llmd_proxy_responses_total{code=\"2xx\"} 1");
  has(f, "llmd_proxy_responses_total{code=\"5xx\"} 1");
  has(f, "llmd_proxy_retries_total 7");
  assert_null(strstr(f->text, "duration_seconds")); /* what went wrong took no time worth counting */
  assert_int_equal(llmd__stats_error_of(200, 0), LLMD__ERROR_NONE);
  assert_int_equal(llmd__stats_error_of(500, 0), LLMD__ERROR_MODEL_SERVER_ERROR);
  assert_int_equal(llmd__stats_error_of(500, 1), LLMD__ERROR_INTERNAL);
  assert_int_equal(llmd__stats_error_of(429, 0), LLMD__ERROR_RESOURCE_EXHAUSTED);
  assert_int_equal(llmd__stats_error_of(413, 1), LLMD__ERROR_BAD_REQUEST);
  llmd__stats_close(st);
}

/* Names are given by strangers: whatever they hold, and however many there are. */
static void names(void **state)
{
  struct fixture *f = *state;
  llmd__stats *st = open_as(f, 1), *other = open_as(f, 2);
  char name[400];
  llmd__stats_key odd = {{"a\"b\\c\nd\xff\xe2\x82", 10}, STR("\xe2\x82\xac"), {NULL, 0}, 0};
  llmd__stats_key long_one = {{name, sizeof name}, {NULL, 0}, {NULL, 0}, 0};
  uint32_t series = llmd__stats_series(st, &odd);
  assert_int_equal(llmd__stats_series(other, &odd), series);
  llmd__stats_begin(st, series);
  memset(name, 'x', sizeof name);
  memcpy(name + LLMD__STATS_LABEL - 1, "\xe2\x82\xac", 3); /* would be cut in two */
  llmd__stats_begin(st, llmd__stats_series(st, &long_one));
  text_of(f, st);
  has(f, "llm_d_epp_request_total{model_name=\"a\\\"b\\\\c?d???\",target_model_name=\"\xe2\x82\xac\",fairness_id=\"\","
         "priority=\"0\"} 1");
  name[LLMD__STATS_LABEL - 1] = 0;
  assert_non_null(strstr(f->text, name));
  llmd__stats_close(st);
  llmd__stats_close(other);
}

static void capped(void **state)
{
  struct fixture *f = *state;
  llmd__stats *st = open_as(f, 1);
  char text[16];
  uint32_t last = 0, distinct = 0;
  for (int i = 0; i < 3000; i++) {
    llmd__stats_key k = {STR("m"), STR("m"), {text, 0}, 0};
    uint32_t series;
    k.fairness.len = (size_t)snprintf(text, sizeof text, "user-%d", i);
    series = llmd__stats_series(st, &k);
    distinct += series != last;
    last = series;
    llmd__stats_begin(st, series);
  }
  assert_int_equal(distinct, LLMD__STATS_SERIES / 4 + 1); /* then one for all others */
  for (int i = 0; i < 3000; i++) {
    llmd__stats_key k = {{text, 0}, STR("m"), STR(""), 0};
    k.model.len = (size_t)snprintf(text, sizeof text, "model-%d", i);
    last = llmd__stats_series(st, &k);
    llmd__stats_begin(st, last);
  }
  assert_int_equal(last, 0);
  text_of(f, st);
  has(f, "llm_d_epp_request_total{model_name=\"m\",target_model_name=\"m\",fairness_id=\"user-0\",priority=\"0\"} 1");
  has(f, "llm_d_epp_request_total{model_name=\"m\",target_model_name=\"m\",fairness_id=\"other\",priority=\"0\"} 2744");
  has(f, "llm_d_epp_request_total{model_name=\"other\",target_model_name=\"other\",fairness_id=\"other\","
         "priority=\"other\"} 2234");
  llmd__stats_close(st);
}

static int count_bytes(void *ud, const char *p, size_t n)
{
  (void)p;
  *(size_t *)ud += n;
  return 0;
}

/* What clients make up as they please: the page stays one that is written whole (admin/page.c). */
static void hostile_names(void **state)
{
  struct fixture *f = *state;
  llmd__stats *st = open_as(f, 1);
  llmd__stats_end end = {.duration = 3000000000u, .ttft = 1000000000, .request_bytes = 100, .response_bytes = 70000,
                         .input_tokens = 1000, .output_tokens = 101, .cached_tokens = 512};
  char text[LLMD__STATS_LABEL];
  const llmd_str name = {text, sizeof text};
  size_t bytes = 0;
  memset(text, '"', sizeof text);
  for (uint32_t i = 0; i < 4 * LLMD__STATS_SERIES; i++) {
    llmd__stats_key k = {name, name, name, INT32_MIN};
    uint32_t series;
    (void)snprintf(text, sizeof text, "%u", i);
    if (i % 2) /* a model that no engine has */
      k.fairness = (llmd_str)STR("f");
    else
      k.model = k.target = (llmd_str){text + 16, sizeof text - 16};
    series = llmd__stats_series(st, &k);
    llmd__stats_begin(st, series);
    end.error = i % 2 ? LLMD__ERROR_NOT_FOUND : 0;
    for (end.streaming = 0; end.streaming < 2; end.streaming++)
      llmd__stats_end_request(st, series, &end);
    if (!end.error)
      llmd__stats_between_tokens(st, series, 1000);
  }
  assert_int_equal(llmd__stats_write(st, count_bytes, &bytes), 0);
  assert_in_range(bytes, 20 << 20, LLMD__PAGE_MOST / 2);
  llmd__stats_close(st);
}

static void gauges(void **state)
{
  struct fixture *f = *state;
  llmd__stats *a = open_as(f, 1), *b = open_as(f, 2), *reader = open_as(f, 3);
  uint32_t series = llmd__stats_series(a, &key);
  llmd__stats_gauge(a, LLMD__GAUGE_CONNECTIONS, 5);
  llmd__stats_gauge(b, LLMD__GAUGE_CONNECTIONS, 7);
  llmd__stats_begin(a, series);
  llmd__stats_begin(b, series);
  text_of(f, reader);
  has(f, "llmd_proxy_connections 12");
  has(f, "llm_d_epp_request_running{" LABELS "} 2");
  f->gone[2] = 1;
  text_of(f, reader);
  has(f, "llmd_proxy_connections 5");
  has(f, "llm_d_epp_request_running{" LABELS "} 1");
  has(f, "llm_d_epp_request_total{" LABELS "} 2");
  llmd__stats_close(a);
  text_of(f, reader);
  has(f, "llmd_proxy_connections 0");
  free(b); /* it died: no close */
  llmd__stats_close(reader);
}

/* A seat of the dead is taken over, and nothing of theirs is left in it. */
static void seats(void **state)
{
  struct fixture *f = *state;
  llmd__stats_area *area = f->area;
  llmd__stats *st = open_as(f, 3);
  for (uint32_t i = 0; i < LLMD__STATS_SEATS; i++) {
    atomic_store(&area->seat[i].owner, i % 2 ? 4 : 5 | LLMD__STATS_CLEARING);
    atomic_store(&area->seat[i].gauge[0], 1);
    atomic_store(&area->seat[i].running[9], 1);
  }
  f->gone[5] = 1;
  llmd__stats_gauge(st, LLMD__GAUGE_UPSTREAM, 2);
  text_of(f, st);
  has(f, "llmd_proxy_connections 128"); /* of owner 4 only */
  has(f, "llmd_proxy_upstream_connections 2");
  f->gone[4] = 1;
  text_of(f, st);
  has(f, "llmd_proxy_connections 0");
  llmd__stats_close(st);
}

/* Processes that intern the same names at once and are killed at any moment: one series a name, and all that they say
 * they counted is there. */
enum { WORKERS = 4, NAMES = 40 };

static void count_away(struct fixture *f, uint64_t owner, _Atomic uint64_t *said)
{
  llmd__stats *st = NULL;
  if (llmd__stats_open_on(f->area, f->bytes, owner, is_attached, f, &st))
    _exit(1);
  for (uint64_t i = 0;; i++) {
    char text[16];
    llmd__stats_key k = {{text, 0}, STR("t"), STR("f"), 0};
    llmd__stats_end end = {.duration = 1000000 * (i % 1000 + 1), .output_tokens = 3};
    uint32_t series;
    k.model.len = (size_t)snprintf(text, sizeof text, "model-%u", (unsigned)(i % NAMES));
    series = llmd__stats_series(st, &k);
    llmd__stats_begin(st, series);
    llmd__stats_end_request(st, series, &end);
    atomic_fetch_add(said, 1);
  }
}

static uint64_t sum_of(const char *text, const char *start)
{
  uint64_t sum = 0;
  size_t n = strlen(start);
  for (const char *p = text; p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
    if (strncmp(p, start, n) == 0 && p[n] == '{')
      sum += strtoull(strstr(p, "} ") + 2, NULL, 10);
  return sum;
}

static void killed(void **state)
{
  struct fixture *f = *state;
  _Atomic uint64_t *said = shared(sizeof *said);
  llmd__stats *reader;
  size_t lines = 0;
  uint64_t total, count;
  for (uint64_t round = 0; round < 3; round++) {
    pid_t pid[WORKERS];
    uint64_t before = atomic_load(said);
    for (uint64_t i = 0; i < WORKERS; i++) {
      pid[i] = fork();
      assert_true(pid[i] >= 0);
      if (pid[i] == 0)
        count_away(f, 1 + i + WORKERS * round, said);
    }
    while (atomic_load(said) < before + 20000) {
      assert_int_equal(waitpid(-1, NULL, WNOHANG), 0); /* all of them are at it */
      usleep(1000);
    }
    for (uint64_t i = 0; i < WORKERS; i++) {
      assert_int_equal(kill(pid[i], SIGKILL), 0);
      assert_int_equal(waitpid(pid[i], NULL, 0), pid[i]);
      f->gone[1 + i + WORKERS * round] = 1;
    }
  }
  reader = open_as(f, 15);
  text_of(f, reader);
  for (const char *p = f->text; (p = strstr(p, "\nllm_d_epp_request_total{")); p++)
    lines++;
  assert_int_equal(lines, NAMES); /* the first stands behind its TYPE line */
  total = sum_of(f->text, "llm_d_epp_request_total");
  count = sum_of(f->text, "llm_d_epp_request_duration_seconds_count");
  assert_in_range(total, atomic_load(said), atomic_load(said) + 3 * WORKERS);
  assert_in_range(count, atomic_load(said), total);
  assert_int_equal(sum_of(f->text, "llm_d_epp_request_running"), 0);
  llmd__stats_close(reader);
  munmap((void *)(uintptr_t)said, sizeof *said);
}

static void another_layout(void **state)
{
  struct fixture *f = *state;
  llmd__stats *st = NULL;
  atomic_store(&((llmd__stats_area *)f->area)->layout, LLMD__STATS_LAYOUT + 1);
  assert_int_equal(llmd__stats_open_on(f->area, f->bytes, 1, is_attached, f, &st), LLMD_E_MISMATCH);
  assert_null(st);
  assert_int_equal(llmd__stats_open_on(f->area, f->bytes - 1, 1, is_attached, f, &st), LLMD_E_INVALID);
}

/* Prometheus' own checker, where there is one. */
static void promtool(void **state)
{
  struct fixture *f = *state;
  llmd__stats *st = open_as(f, 1);
  llmd__stats_end end = {.duration = 3000000000u, .ttft = 1000000000, .request_bytes = 100, .response_bytes = 70000,
                         .input_tokens = 1000, .output_tokens = 101, .cached_tokens = 512, .streaming = 1};
  llmd__stats_key odd = {{"a\"b\\c\nd\xff", 8}, STR("\xe2\x82\xac"), {NULL, 0}, 0};
  FILE *pipe;
  if (system("command -v promtool >/dev/null 2>&1")) {
    print_message("skipped: needs promtool\n");
    llmd__stats_close(st);
    skip();
  }
  for (int i = 0; i < 3; i++) {
    uint32_t series = llmd__stats_series(st, i ? &key : &odd);
    llmd__stats_begin(st, series);
    llmd__stats_between_tokens(st, series, 20000000);
    end.streaming = i < 2;
    llmd__stats_end_request(st, series, &end);
    llmd__stats_begin(st, series);
    llmd__stats_end_request(st, series, &(llmd__stats_end){.error = LLMD__ERROR_INTERNAL});
  }
  llmd__stats_decided(st, 50000);
  text_of(f, st);
  llmd__stats_close(st);
  /* The one thing it dislikes is the reference's own prefix: it takes the d for a unit. */
  pipe = popen("! promtool check metrics 2>&1 | grep -v '^llm_d_epp_.* abbreviated units$' >&2", "w");
  assert_non_null(pipe);
  assert_int_equal(fwrite(f->text, 1, f->len, pipe), f->len);
  assert_int_equal(pclose(pipe), 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(a_request, set_up, tear_down),
    cmocka_unit_test_setup_teardown(errors, set_up, tear_down),
    cmocka_unit_test_setup_teardown(names, set_up, tear_down),
    cmocka_unit_test_setup_teardown(capped, set_up, tear_down),
    cmocka_unit_test_setup_teardown(hostile_names, set_up, tear_down),
    cmocka_unit_test_setup_teardown(gauges, set_up, tear_down),
    cmocka_unit_test_setup_teardown(seats, set_up, tear_down),
    cmocka_unit_test_setup_teardown(killed, set_up, tear_down),
    cmocka_unit_test_setup_teardown(another_layout, set_up, tear_down),
    cmocka_unit_test_setup_teardown(promtool, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
