/* The pages without the server: what stands on them, also with names that would break them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "uv/admin/admin.h"
#include "uv/share/share.h"
#include "uv/stats/explain.h"
#include "uv/stats/records.h"

static char path[64];
static llmd__admin_view view;
static llmd_scheduler *scheduler;

static int begin(void **state)
{
  llmd_region_options caps = {.size = sizeof caps, .max_endpoints = 8, .state_bytes = 4u << 20,
                              .prefix_bytes = 1u << 20};
  llmd_share_options o = {.size = sizeof o, .flags = LLMD_SHARE_WRITER | LLMD_SHARE_CREATE, .region = &caps};
  (void)state;
  (void)snprintf(path, sizeof path, "/tmp/llmd-pages-%ld", (long)getpid());
  o.path = path;
  memset(&view, 0, sizeof view);
  if (llmd_share_open(&o, &view.share, NULL) || llmd__stats_open(view.share, &view.stats) ||
      llmd_scheduler_create(NULL, llmd_share_pool(view.share), "", 0, &scheduler, NULL))
    return -1;
  view.scheduler = scheduler;
  return 0;
}

static int end(void **state)
{
  (void)state;
  llmd_scheduler_free(scheduler);
  llmd__stats_close(view.stats);
  llmd_share_close(view.share);
  return unlink(path);
}

static llmd_endpoint_id add(const char *name, const char *label)
{
  llmd_label l = {{label, strlen(label)}, {label, strlen(label)}};
  llmd_endpoint e = {.size = sizeof e, .name = {name, strlen(name)}, .address = {"10.0.0.1", 8}, .port = 8000,
                     .n_labels = 1, .labels = &l};
  llmd_endpoint_id id = 0;
  llmd_now now;
  llmd_clock(&now);
  assert_int_equal(llmd_pool_add(llmd_share_pool(view.share), &e, &id), 0);
  assert_int_equal(llmd_pool_set(llmd_share_pool(view.share), id, LLMD_ATTR_RUNNING, 3), 0);
  assert_int_equal(llmd_pool_publish(llmd_share_pool(view.share), &now), 0);
  return id;
}

static cJSON *parse(llmd__page *page)
{
  cJSON *root = cJSON_ParseWithLength(page->text, page->len);
  assert_int_equal(page->rc, 0);
  if (!root)
    fail_msg("not JSON: %.*s", (int)page->len, page->text);
  llmd__page_free(page);
  return root;
}

static void says_when_it_is_ready(void **state)
{
  llmd__page page = {0};
  cJSON *root;
  (void)state;
  assert_int_equal(llmd__admin_ready(&view, &page), 503);
  root = parse(&page);
  assert_true(cJSON_IsFalse(cJSON_GetObjectItem(root, "ready")));
  assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(root, "why")), "no endpoint is published");
  cJSON_Delete(root);
  add("a", "b");
  assert_int_equal(llmd__admin_ready(&view, &page), 200);
  root = parse(&page);
  assert_true(cJSON_IsTrue(cJSON_GetObjectItem(root, "ready")));
  assert_null(cJSON_GetObjectItem(root, "why"));
  assert_int_equal(cJSON_GetNumberValue(cJSON_GetObjectItem(root, "endpoints")), 1);
  cJSON_Delete(root);
}

static void names_cannot_break_it(void **state)
{
  static const char odd[] = "a\"b\\c\n\xff{}";
  llmd__page page = {0};
  cJSON *root, *list, *one;
  (void)state;
  add("plain", odd);
  llmd__admin_endpoints(&view, &page);
  root = parse(&page);
  list = cJSON_GetObjectItem(root, "endpoints");
  assert_int_equal(cJSON_GetArraySize(list), 1);
  one = cJSON_GetArrayItem(list, 0);
  assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(one, "name")), "plain");
  assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(one, "health")), "well");
  assert_int_equal(cJSON_GetNumberValue(cJSON_GetObjectItem(cJSON_GetObjectItem(one, "metrics"), "running")), 3);
  assert_true(cJSON_IsNull(cJSON_GetObjectItem(cJSON_GetObjectItem(one, "metrics"), "waiting")));
  assert_int_equal(cJSON_GetNumberValue(cJSON_GetObjectItem(cJSON_GetObjectItem(one, "in_flight"), "requests")), 0);
  assert_string_equal(cJSON_GetObjectItem(one, "labels")->child->string, "a\"b\\c\n\xef\xbf\xbd{}");
  cJSON_Delete(root);
}

static void shows_decisions(void **state)
{
  size_t bytes;
  void *area = llmd__share_area(view.share, LLMD__AREA_EXPLAIN, &bytes);
  llmd__page page = {0};
  cJSON *root, *list, *newest;
  (void)state;
  assert_int_equal(llmd__explain_put(area, bytes, 5, "{\"x\":1}", 7), 0);
  assert_int_equal(llmd__explain_put(area, bytes, 5, "", 0), 0); /* not shown */
  assert_int_equal(llmd__explain_put(area, bytes, 6, "{\"x\":2}", 7), 0);
  llmd__admin_explain(&view, &page);
  root = parse(&page);
  list = cJSON_GetObjectItem(root, "decisions");
  assert_int_equal(cJSON_GetArraySize(list), 2);
  newest = cJSON_GetArrayItem(list, 0);
  assert_int_equal(cJSON_GetNumberValue(cJSON_GetObjectItem(newest, "wall_ns")), 6);
  assert_int_equal(cJSON_GetNumberValue(cJSON_GetObjectItem(newest, "x")), 2);
  cJSON_Delete(root);
}

/* Bytes as they are, the oldest first, and no more than the ring holds. */
static void gives_records(void **state)
{
  static char longest[LLMD__RING_MOST(LLMD__RECORD_SLOT_BYTES)];
  const llmd__ring ring = llmd__records_of(view.share);
  llmd__page page = {0};
  (void)state;
  llmd__admin_records(&view, &page);
  assert_int_equal(page.rc, 0);
  assert_int_equal(page.len, 0);
  assert_int_equal(llmd__ring_put(&ring, 5, "one\0", 4), 0);
  assert_int_equal(llmd__ring_put(&ring, 6, "", 0), 0);
  assert_int_equal(llmd__ring_put(&ring, 7, "second", 6), 0);
  llmd__admin_records(&view, &page);
  assert_int_equal(page.rc, 0);
  assert_int_equal(page.len, 10);
  assert_memory_equal(page.text, "one\0second", 10);
  llmd__page_free(&page);
  for (unsigned i = 0; i <= LLMD__RECORD_SLOTS; i++) {
    memset(longest, (int)('a' + i), sizeof longest);
    assert_int_equal(llmd__ring_put(&ring, 8, longest, sizeof longest), 0);
  }
  llmd__admin_records(&view, &page);
  assert_int_equal(page.rc, 0);
  assert_int_equal(page.len, LLMD__RECORD_SLOTS * sizeof longest);
  assert_int_equal(page.text[0], 'b');
  assert_int_equal(page.text[page.len - 1], 'a' + (int)LLMD__RECORD_SLOTS);
  llmd__page_free(&page);
}

/* No family in two places, one head each. */
static void families_stand_together(void **state)
{
  llmd_http_stats http = {.size = sizeof http, .requests = 4};
  llmd__page page = {0};
  char *seen[512], *line, *rest;
  int n = 0;
  (void)state;
  add("a", "b");
  llmd__admin_metrics(&view, &http, &page);
  assert_int_equal(llmd__page_write(&page, "", 1), 0);
  assert_non_null(strstr(page.text, "\nllmd_agent_admin_requests_total 4\n"));
  for (line = strtok_r(page.text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
    char name[256];
    if (strncmp(line, "# TYPE ", 7) || sscanf(line + 7, "%255s", name) != 1)
      continue;
    for (int i = 0; i < n; i++)
      if (!strcmp(seen[i], name))
        fail_msg("%s has two heads", name);
    assert_true(n < 512);
    seen[n++] = strdup(name);
  }
  assert_true(n > 40);
  while (n)
    free(seen[--n]);
  llmd__page_free(&page);
}

static void pages_grow_to_their_end(void **state)
{
  static char piece[1 << 20];
  llmd__page page = {0};
  (void)state;
  memset(piece, 'x', sizeof piece);
  for (size_t i = 0; i < LLMD__PAGE_MOST / sizeof piece; i++)
    assert_int_equal(llmd__page_write(&page, piece, sizeof piece), 0);
  assert_int_equal(llmd__page_write(&page, piece, 1), LLMD_E_LIMIT);
  assert_int_equal(page.len, LLMD__PAGE_MOST);
  llmd__page_print(&page, "%d", 1);
  assert_int_equal(page.rc, LLMD_E_LIMIT);
  llmd__page_free(&page);
  llmd__page_print(&page, "%d-%s", 12, "x");
  assert_memory_equal(page.text, "12-x", 4);
  llmd__page_free(&page);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(says_when_it_is_ready, begin, end),
    cmocka_unit_test_setup_teardown(names_cannot_break_it, begin, end),
    cmocka_unit_test_setup_teardown(shows_decisions, begin, end),
    cmocka_unit_test_setup_teardown(gives_records, begin, end),
    cmocka_unit_test_setup_teardown(families_stand_together, begin, end),
    cmocka_unit_test(pages_grow_to_their_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
