/* The server behind the pages: which path is which page. */
#include "uv/admin/admin.h"

#include <stdlib.h>
#include <string.h>

struct llmd__admin {
  llmd_http_server *server;
  const llmd__admin_view *view;
  llmd_done_fn done;
  void *done_ud;
};

static const char text_type[] = "text/plain; charset=utf-8", json_type[] = "application/json",
                  bytes_type[] = "application/octet-stream",
                  metrics_type[] = "text/plain; version=0.0.4; charset=utf-8";

static void answer(llmd_http_call *call, uint32_t status, const char *type, llmd__page *page)
{
  static const char failed[] = "the page could not be made\n";
  if (page->rc)
    (void)llmd_http_reply(call, 500, text_type, NULL, 0, failed, sizeof failed - 1);
  else
    (void)llmd_http_reply(call, status, type, NULL, 0, page->text, page->len);
  llmd__page_free(page);
}

static void give_metrics(const llmd__admin *a, llmd_http_call *call, llmd__page *page)
{
  llmd_http_stats http = {.size = sizeof http};
  (void)llmd_http_stats_get(a->server, &http);
  llmd__admin_metrics(a->view, &http, page);
  answer(call, 200, metrics_type, page);
}

static void give_health(const llmd__admin *a, llmd_http_call *call, llmd__page *page)
{
  (void)a;
  llmd__page_print(page, "ok\n");
  answer(call, 200, text_type, page);
}

static void give_ready(const llmd__admin *a, llmd_http_call *call, llmd__page *page)
{
  uint32_t status = llmd__admin_ready(a->view, page);
  answer(call, status, json_type, page);
}

static void give_endpoints(const llmd__admin *a, llmd_http_call *call, llmd__page *page)
{
  llmd__admin_endpoints(a->view, page);
  answer(call, 200, json_type, page);
}

static void give_policies(const llmd__admin *a, llmd_http_call *call, llmd__page *page)
{
  llmd__admin_policies(a->view, page);
  answer(call, 200, json_type, page);
}

static void give_explain(const llmd__admin *a, llmd_http_call *call, llmd__page *page)
{
  llmd__admin_explain(a->view, page);
  answer(call, 200, json_type, page);
}

static void give_records(const llmd__admin *a, llmd_http_call *call, llmd__page *page)
{
  llmd__admin_records(a->view, page);
  answer(call, 200, bytes_type, page);
}

static const struct {
  const char *path;
  void (*give)(const llmd__admin *a, llmd_http_call *call, llmd__page *page);
} pages[] = {
  {"/metrics", give_metrics}, {"/healthz", give_health},  {"/readyz", give_ready},
  {"/endpoints", give_endpoints}, {"/policies", give_policies},
  {"/explain", give_explain}, {"/records", give_records},
};
#define N_PAGES (sizeof pages / sizeof pages[0])

static int is_page(llmd_str target, const char *path)
{
  const char *query = target.len ? memchr(target.ptr, '?', target.len) : NULL;
  size_t len = query ? (size_t)(query - target.ptr) : target.len;
  return strlen(path) == len && !memcmp(path, target.ptr, len);
}

static void no_page(llmd_http_call *call, llmd__page *page)
{
  llmd__page_print(page, "There is no such page. These are:\n");
  for (size_t i = 0; i < N_PAGES; i++)
    llmd__page_print(page, "  %s\n", pages[i].path);
  answer(call, 404, text_type, page);
}

static void on_request(void *ud, llmd_http_call *call)
{
  static const llmd_http_header allow = {{"Allow", 5}, {"GET", 3}};
  const llmd_http_request *r = llmd_http_request_of(call);
  llmd__page page = {0};
  if (r->method.len != 3 || memcmp(r->method.ptr, "GET", 3)) {
    (void)llmd_http_reply(call, 405, text_type, &allow, 1, "only GET\n", 9);
    return;
  }
  for (size_t i = 0; i < N_PAGES; i++)
    if (is_page(r->target, pages[i].path)) {
      pages[i].give(ud, call, &page);
      return;
    }
  no_page(call, &page);
}

int llmd__admin_start(struct uv_loop_s *loop, const char *address, const llmd__admin_view *view, llmd__admin **out,
                      llmd_err *err)
{
  llmd_http_options o = {.size = sizeof o, .max_connections = 256, .max_body = 65536, .max_bodies = 1u << 20};
  llmd__admin *a = calloc(1, sizeof *a);
  llmd_http_handler h = {.size = sizeof h, .ud = a, .on_request = on_request};
  int rc;
  if (!a)
    return llmd__fail(err, LLMD_E_NOMEM, 0, 0, NULL, "out of memory");
  a->view = view;
  rc = llmd_http_listen(loop, address, -1, &h, &o, &a->server, err);
  if (rc) {
    free(a);
    return rc;
  }
  *out = a;
  return 0;
}

uint32_t llmd__admin_port(const llmd__admin *admin)
{
  return llmd_http_port(admin->server);
}

static void on_closed(void *ud)
{
  llmd__admin *a = ud;
  llmd_done_fn done = a->done;
  void *done_ud = a->done_ud;
  free(a);
  done(done_ud);
}

void llmd__admin_stop(llmd__admin *admin, llmd_done_fn done, void *ud)
{
  admin->done = done;
  admin->done_ud = ud;
  llmd_http_close(admin->server, on_closed, admin);
}
