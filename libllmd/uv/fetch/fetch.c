/* The one file that touches libcurl: a multi handle driven by the loop.
 *
 *   uv_poll per socket ─┐                        ┌─► a slot's easy handle: body grows in the slot's buffer
 *   one uv_timer ───────┴─► curl_multi_socket ───┴─► finished ones: fn, and the slot is free again
 *
 * A slot is an easy handle with its buffer; options that never change are set once, when it is made. */
#include "uv/fetch/fetch.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include <llmd/error.h>

#include "uv/fetch/rules.h"
#include "uv/watch.h"

#define FIRST_ROOM 4096u
#define KEEP_ROOM (256u * 1024u) /* a slot that waits holds no more */

typedef struct slot slot;
struct slot {
  llmd__fetch *owner;
  CURL *easy;
  slot *next; /* free ones */
  uint32_t at;
  uint32_t busy;
  uint64_t number; /* counter << 32 | at: of the request that is or was under way */
  llmd__fetch_fn fn;
  void *ud;
  struct curl_slist *type; /* of a POST */
  char *post;
  char *body;
  size_t len, room, most;
  uint32_t head;
  int refused; /* what the callbacks found: an LLMD_E code */
};

struct llmd__fetch {
  CURLM *multi;
  uv_timer_t timer;
  llmd__fetch_options o;
  slot **slot;
  uint32_t n_slots, room_slots, busy;
  slot *free;
  uint64_t counter;
  llmd__watches watches;
  uint32_t inside;  /* calls of curl's or of fn's that are under way: the memory stays */
  uint32_t timer_open;
  uint32_t closing;
  void (*done)(void *ud);
  void *done_ud;
};

/* ---- what curl hands over ---------------------------------------------------------------------------------------- */

static int grow(slot *s, size_t need)
{
  size_t room = s->room ? s->room : FIRST_ROOM;
  char *p;
  while (room < need)
    room *= 2;
  p = realloc(s->body, room);
  if (!p)
    return LLMD_E_NOMEM;
  s->body = p;
  s->room = room;
  return 0;
}

/* Anything but `size` returned ends the request. */
static size_t refuse(slot *s, int rc)
{
  s->refused = rc;
  return 0;
}

static size_t on_body(char *p, size_t size, size_t n, void *ud)
{
  slot *s = ud;
  const size_t len = size * n;
  if (!len)
    return 0;
  if (len > s->most - s->len)
    return refuse(s, LLMD_E_LIMIT);
  if (s->room < s->len + len + 1 && grow(s, s->len + len + 1))
    return refuse(s, LLMD_E_NOMEM);
  memcpy(s->body + s->len, p, len);
  s->len += len;
  return len;
}

static size_t on_head(char *p, size_t size, size_t n, void *ud)
{
  slot *s = ud;
  const size_t len = size * n;
  int rc;
  s->head += (uint32_t)(len < UINT32_MAX / 2 ? len : UINT32_MAX / 2);
  if (s->head > s->owner->o.max_head)
    return refuse(s, LLMD_E_LIMIT);
  rc = llmd__fetch_judge(p, len, s->most);
  return rc ? refuse(s, rc) : len;
}

/* ---- sockets and the timer --------------------------------------------------------------------------------------- */

static void drain(llmd__fetch *f);
static void end(llmd__fetch *f);

static void leave(llmd__fetch *f)
{
  if (--f->inside == 0 && f->closing)
    end(f);
}

static void act(llmd__fetch *f, curl_socket_t fd, int events)
{
  int running;
  if (f->closing)
    return;
  f->inside++;
  (void)curl_multi_socket_action(f->multi, fd, events, &running);
  drain(f);
  leave(f);
}

static void on_timer(uv_timer_t *t)
{
  act(t->data, CURL_SOCKET_TIMEOUT, 0);
}

static void on_ready(void *ud, int fd, int readable, int writable)
{
  act(ud, fd, (readable ? CURL_CSELECT_IN : 0) | (writable ? CURL_CSELECT_OUT : 0));
}

static void on_watch_closed(void *ud)
{
  llmd__fetch *f = ud;
  if (f->closing && !f->inside)
    end(f);
}

static int set_timer(CURLM *multi, long ms, void *ud)
{
  llmd__fetch *f = ud;
  (void)multi;
  if (f->closing)
    return 0;
  if (ms < 0)
    (void)uv_timer_stop(&f->timer);
  else
    (void)uv_timer_start(&f->timer, on_timer, (uint64_t)ms, 0);
  return 0;
}

/* libcurl (7.88) closes a socket that never got connected by itself, without close_socket: the watches notice. */
static int set_socket(CURL *easy, curl_socket_t fd, int what, void *ud, void *of_socket)
{
  llmd__fetch *f = ud;
  (void)easy;
  (void)of_socket;
  if (what == CURL_POLL_REMOVE)
    llmd__watches_rest(&f->watches, fd);
  if (what == CURL_POLL_REMOVE || f->closing)
    return 0;
  return llmd__watches_set(&f->watches, fd, what & CURL_POLL_IN, what & CURL_POLL_OUT) ? -1 : 0;
}

static int close_socket(void *ud, curl_socket_t fd)
{
  llmd__fetch *f = ud;
  llmd__watches_drop(&f->watches, fd);
  return close(fd);
}

/* ---- slots ------------------------------------------------------------------------------------------------------- */

static int set_once(slot *s)
{
  CURL *e = s->easy;
  llmd__fetch *f = s->owner;
  CURLcode rc = CURLE_OK;
#define SET(option, value) rc = rc ? rc : curl_easy_setopt(e, option, value)
  SET(CURLOPT_PRIVATE, s);
  SET(CURLOPT_PROTOCOLS_STR, "http");
  SET(CURLOPT_REDIR_PROTOCOLS_STR, "http");
  SET(CURLOPT_FOLLOWLOCATION, 0L);
  SET(CURLOPT_PROXY, "");
  SET(CURLOPT_NOPROXY, "*");
  SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
  SET(CURLOPT_NOSIGNAL, 1L);
  SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
  SET(CURLOPT_HTTP09_ALLOWED, 0L);
  SET(CURLOPT_HTTP_CONTENT_DECODING, 0L);
  SET(CURLOPT_BUFFERSIZE, 65536L);
  SET(CURLOPT_PATH_AS_IS, 1L);
  SET(CURLOPT_WRITEFUNCTION, on_body);
  SET(CURLOPT_WRITEDATA, s);
  SET(CURLOPT_HEADERFUNCTION, on_head);
  SET(CURLOPT_HEADERDATA, s);
  SET(CURLOPT_CLOSESOCKETFUNCTION, close_socket);
  SET(CURLOPT_CLOSESOCKETDATA, f);
#undef SET
  return rc ? LLMD_E_IO : 0;
}

static slot *new_slot(llmd__fetch *f)
{
  slot *s = calloc(1, sizeof *s);
  if (!s)
    return NULL;
  s->owner = f;
  s->at = f->n_slots;
  s->easy = curl_easy_init();
  if (!s->easy || set_once(s)) {
    curl_easy_cleanup(s->easy);
    free(s);
    return NULL;
  }
  return s;
}

static slot *take_slot(llmd__fetch *f)
{
  slot *s = f->free;
  if (s) {
    f->free = s->next;
    return s;
  }
  if (f->n_slots == f->room_slots) {
    const uint32_t room = f->room_slots ? 2 * f->room_slots : 16;
    slot **p = realloc(f->slot, room * sizeof *p);
    if (!p)
      return NULL;
    f->slot = p;
    f->room_slots = room;
  }
  s = new_slot(f);
  if (s)
    f->slot[f->n_slots++] = s;
  return s;
}

static void drop_post(slot *s)
{
  curl_slist_free_all(s->type);
  free(s->post);
  s->type = NULL;
  s->post = NULL;
}

static void give_slot(slot *s)
{
  drop_post(s);
  if (s->room > KEEP_ROOM) {
    free(s->body);
    s->body = NULL;
    s->room = 0;
  }
  s->next = s->owner->free;
  s->owner->free = s;
}

/* ---- a request --------------------------------------------------------------------------------------------------- */

static int set_post(slot *s, const llmd__fetch_request *r)
{
  char line[160];
  struct curl_slist *more;
  s->post = malloc(r->len + 1);
  if (!s->post)
    return LLMD_E_NOMEM;
  if (r->len)
    memcpy(s->post, r->body, r->len);
  (void)snprintf(line, sizeof line, "Content-Type: %.100s", r->type ? r->type : "application/json");
  s->type = curl_slist_append(NULL, line);
  more = s->type ? curl_slist_append(s->type, "Expect:") : NULL;
  if (!more || curl_easy_setopt(s->easy, CURLOPT_POST, 1L) ||
      curl_easy_setopt(s->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->len) ||
      curl_easy_setopt(s->easy, CURLOPT_POSTFIELDS, s->post) || curl_easy_setopt(s->easy, CURLOPT_HTTPHEADER, s->type))
    return LLMD_E_NOMEM;
  return 0;
}

static int set_get(slot *s)
{
  if (curl_easy_setopt(s->easy, CURLOPT_HTTPHEADER, NULL) || curl_easy_setopt(s->easy, CURLOPT_POSTFIELDS, NULL) ||
      curl_easy_setopt(s->easy, CURLOPT_HTTPGET, 1L))
    return LLMD_E_NOMEM;
  return 0;
}

static int prepare(slot *s, const llmd__fetch_request *r, const char *url)
{
  const llmd__fetch_options *o = &s->owner->o;
  s->len = 0;
  s->head = 0;
  s->refused = 0;
  s->most = r->max_bytes ? r->max_bytes : o->max_bytes;
  s->fn = r->fn;
  s->ud = r->ud;
  if (!s->room && grow(s, FIRST_ROOM))
    return LLMD_E_NOMEM;
  if (curl_easy_setopt(s->easy, CURLOPT_URL, url) ||
      curl_easy_setopt(s->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(r->connect_ms ? r->connect_ms : o->connect_ms)) ||
      curl_easy_setopt(s->easy, CURLOPT_TIMEOUT_MS, (long)(r->total_ms ? r->total_ms : o->total_ms)))
    return LLMD_E_NOMEM;
  return r->body ? set_post(s, r) : set_get(s);
}

int llmd__fetch_go(llmd__fetch *f, const llmd__fetch_request *request, uint64_t *number)
{
  char url[LLMD__FETCH_URL];
  slot *s;
  int rc = f->closing ? LLMD_E_STATE : llmd__fetch_url(request, url);
  if (rc)
    return rc;
  s = take_slot(f);
  if (!s)
    return LLMD_E_NOMEM;
  rc = prepare(s, request, url);
  if (!rc && curl_multi_add_handle(f->multi, s->easy))
    rc = LLMD_E_IO;
  if (rc) {
    give_slot(s);
    return rc;
  }
  s->busy = 1;
  s->number = ++f->counter << 32 | s->at;
  f->busy++;
  if (number)
    *number = s->number;
  return 0;
}

static int code_of(const slot *s, CURLcode rc)
{
  if (s->refused)
    return s->refused;
  switch (rc) {
  case CURLE_OK: return 0;
  case CURLE_OPERATION_TIMEDOUT: return LLMD_E_TIMEOUT;
  case CURLE_COULDNT_CONNECT:
  case CURLE_GOT_NOTHING:
  case CURLE_PARTIAL_FILE:
  case CURLE_RECV_ERROR:
  case CURLE_SEND_ERROR:
  case CURLE_SEND_FAIL_REWIND: return LLMD_E_CLOSED;
  case CURLE_FILESIZE_EXCEEDED: return LLMD_E_LIMIT;
  case CURLE_WEIRD_SERVER_REPLY:
  case CURLE_UNSUPPORTED_PROTOCOL:
  case CURLE_BAD_CONTENT_ENCODING: return LLMD_E_SYNTAX;
  case CURLE_OUT_OF_MEMORY: return LLMD_E_NOMEM;
  default: return LLMD_E_IO;
  }
}

static void finish(slot *s, CURLcode result)
{
  llmd__fetch *f = s->owner;
  llmd__fetch_answer a = {0};
  long status = 0;
  a.rc = code_of(s, result);
  (void)curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
  (void)curl_multi_remove_handle(f->multi, s->easy);
  s->busy = 0;
  f->busy--;
  if (a.rc) {
    a.text = llmd__fetch_text(a.rc);
  } else {
    s->body[s->len] = 0;
    a.status = (uint32_t)status;
    a.body = s->body;
    a.len = s->len;
  }
  s->fn(s->ud, &a);
  give_slot(s); /* after fn: it may go, and the body is borrowed until it returns */
}

static void drain(llmd__fetch *f)
{
  CURLMsg *m;
  int left;
  while (!f->closing && (m = curl_multi_info_read(f->multi, &left)) != NULL) {
    char *s = NULL;
    const CURLcode result = m->data.result; /* m is gone with the handle */
    if (m->msg == CURLMSG_DONE && !curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &s))
      finish((slot *)(void *)s, result);
  }
}

void llmd__fetch_cancel(llmd__fetch *f, uint64_t number)
{
  const uint32_t at = (uint32_t)number;
  slot *s = number && at < f->n_slots ? f->slot[at] : NULL;
  if (!s || !s->busy || s->number != number)
    return;
  (void)curl_multi_remove_handle(f->multi, s->easy);
  s->busy = 0;
  f->busy--;
  give_slot(s);
}

uint32_t llmd__fetch_count(const llmd__fetch *f)
{
  return f->busy;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void fill_options(llmd__fetch_options *o)
{
  o->connect_ms = o->connect_ms ? o->connect_ms : 250;
  o->total_ms = o->total_ms ? o->total_ms : 1000;
  o->max_head = o->max_head ? o->max_head : 16u * 1024u;
  o->max_bytes = o->max_bytes ? o->max_bytes : 1u << 20;
  o->max_kept = o->max_kept ? o->max_kept : 4096;
}

static int set_multi(llmd__fetch *f)
{
  CURLMcode rc = CURLM_OK;
#define SET(option, value) rc = rc ? rc : curl_multi_setopt(f->multi, option, value)
  SET(CURLMOPT_SOCKETFUNCTION, set_socket);
  SET(CURLMOPT_SOCKETDATA, f);
  SET(CURLMOPT_TIMERFUNCTION, set_timer);
  SET(CURLMOPT_TIMERDATA, f);
  SET(CURLMOPT_MAXCONNECTS, (long)f->o.max_kept);
  SET(CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
#undef SET
  return rc ? LLMD_E_IO : 0;
}

int llmd__fetch_open(struct uv_loop_s *loop, const llmd__fetch_options *options, llmd__fetch **out)
{
  llmd__fetch *f;
  if (curl_global_init(CURL_GLOBAL_DEFAULT))
    return LLMD_E_IO;
  f = calloc(1, sizeof *f);
  if (!f) {
    curl_global_cleanup();
    return LLMD_E_NOMEM;
  }
  f->watches = (llmd__watches){.loop = loop, .on_ready = on_ready, .on_closed = on_watch_closed, .ud = f};
  if (options)
    f->o = *options;
  fill_options(&f->o);
  f->multi = curl_multi_init();
  if (!f->multi || set_multi(f) || uv_timer_init(loop, &f->timer)) {
    (void)curl_multi_cleanup(f->multi);
    curl_global_cleanup();
    free(f);
    return LLMD_E_NOMEM;
  }
  f->timer.data = f;
  f->timer_open = 1;
  *out = f;
  return 0;
}

static void free_slots(llmd__fetch *f)
{
  for (uint32_t i = 0; i < f->n_slots; i++) {
    slot *s = f->slot[i];
    if (s->busy)
      (void)curl_multi_remove_handle(f->multi, s->easy);
    curl_easy_cleanup(s->easy);
    drop_post(s);
    free(s->body);
    free(s);
  }
  free(f->slot);
  f->slot = NULL;
  f->n_slots = 0;
}

static void on_timer_closed(uv_handle_t *h)
{
  llmd__fetch *f = h->data;
  f->timer_open = 0;
  end(f);
}

/* The watches while their sockets are open, then curl, then the memory when the loop's handles have closed. */
static void end(llmd__fetch *f)
{
  if (f->multi) {
    f->inside++;
    llmd__watches_drop_all(&f->watches);
    free_slots(f);
    (void)curl_multi_cleanup(f->multi);
    f->multi = NULL;
    curl_global_cleanup();
    uv_close((uv_handle_t *)&f->timer, on_timer_closed);
    f->inside--;
  }
  if (f->timer_open || f->watches.open)
    return;
  if (f->done)
    f->done(f->done_ud);
  llmd__watches_free(&f->watches);
  free(f);
}

void llmd__fetch_close(llmd__fetch *f, void (*done)(void *ud), void *ud)
{
  if (!f) {
    if (done)
      done(ud);
    return;
  }
  f->done = done;
  f->done_ud = ud;
  f->closing = 1;
  if (!f->inside)
    end(f);
}
