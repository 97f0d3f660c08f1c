/* What it costs to keep the exact index of a pool fresh: the subscriber alone, engines in a process of their own.
 *
 *     bench_agent_events [--json] [--engines N] [--blocks N]
 *
 * Engines publish batches of vLLM's shape as fast as they can, over TCP on loopback. CPU time is that of this process,
 * libzmq's thread and the kernel's side of its sockets included, for a million blocks stored; "by hand" is the same
 * batches handed to llmd_events_feed without sockets. */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <llmd/events.h>
#include <llmd/uv.h>

#include "../unit/msgpack_pack.h"
#include "bench.h"
#include "event_socket.h"

#define MOST_ENGINES 256u
#define BLOCK_TOKENS 16u
#define A_TURN 32u /* batches that an engine publishes in one turn of its loop */

typedef struct shape {
  const char *name;
  uint32_t blocks; /* of a batch */
  uint32_t depth;  /* batches of one prompt, each after the other */
} shape;

typedef struct maker { /* of one engine's batches */
  uint64_t seed, seq, parent;
} maker;

static void die(const char *what)
{
  fprintf(stderr, "agent_events: %s\n", what);
  exit(1);
}

/* ---- batches ----------------------------------------------------------------------------------------------------- */

static uint64_t roll(maker *m)
{
  m->seed = m->seed * 6364136223846793005u + 1442695040888963407u;
  return m->seed ^ m->seed >> 29;
}

static void put_text(struct packed *p, const char *text)
{
  const size_t n = strlen(text);
  p->bytes[p->len++] = (uint8_t)(0xa0 | n);
  memcpy(p->bytes + p->len, text, n);
  p->len += n;
}

static void put_array(struct packed *p, uint32_t n)
{
  pack_head(p, 0xdc, n, 2);
}

static void put_nil(struct packed *p)
{
  p->bytes[p->len++] = 0xc0;
}

static void make_batch(maker *m, const shape *s, struct packed *p)
{
  p->len = 0;
  p->bytes[p->len++] = 0x93;
  put_nil(p);
  pack_head(p, 0x91, 0, 0);
  pack_head(p, 0x88, 0, 0);
  put_text(p, "type");
  put_text(p, "BlockStored");
  put_text(p, "block_hashes");
  put_array(p, s->blocks);
  const uint64_t parent = m->parent;
  for (uint32_t i = 0; i < s->blocks; i++)
    pack_uint(p, m->parent = roll(m));
  put_text(p, "parent_block_hash");
  if (m->seq++ % s->depth)
    pack_uint(p, parent);
  else
    put_nil(p);
  put_text(p, "token_ids");
  put_array(p, s->blocks * BLOCK_TOKENS);
  for (uint32_t i = 0; i < s->blocks * BLOCK_TOKENS; i++)
    pack_uint(p, (roll(m) >> 20) % 150000);
  put_text(p, "block_size");
  pack_uint(p, BLOCK_TOKENS);
  put_text(p, "lora_id");
  put_nil(p);
  put_text(p, "medium");
  put_text(p, "GPU");
  put_text(p, "lora_name");
  put_nil(p);
  put_nil(p);
}

/* ---- the engines' process ---------------------------------------------------------------------------------------- */

typedef struct engine {
  uv_tcp_t http;
  struct event_socket *socket;
  maker maker;
  uint64_t left;
} engine;

static struct engines {
  uv_loop_t loop;
  engine engine[MOST_ENGINES];
  uint32_t n;
  const shape *shape;
  uv_idle_t idle;
  uv_poll_t go;
  char line[256];
} engines;

static void on_closed(uv_handle_t *handle)
{
  free(handle);
}

static void on_written(uv_write_t *write, int status)
{
  (void)status;
  uv_close((uv_handle_t *)write->handle, on_closed);
  free(write);
}

static void give_room(uv_handle_t *handle, size_t hint, uv_buf_t *buf)
{
  static char room[4096];
  (void)handle;
  (void)hint;
  *buf = uv_buf_init(room, sizeof room);
}

/* Whatever is asked, where the events are. */
static void on_asked(uv_stream_t *stream, ssize_t n, const uv_buf_t *in)
{
  static char out[512];
  char body[256];
  const engine *e = stream->data;
  uv_write_t *write = malloc(sizeof *write);
  uv_buf_t buf;
  (void)in;
  if (!write || n <= 0)
    return;
  uv_read_stop(stream);
  snprintf(body, sizeof body, "{\"0\":{\"endpoint\":\"tcp://*:%u\",\"topic\":\"kv@e\"}}", event_socket_port(e->socket));
  snprintf(out, sizeof out, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
  buf = uv_buf_init(out, (unsigned)strlen(out));
  if (uv_write(write, stream, &buf, 1, on_written))
    free(write);
}

static void on_visitor(uv_stream_t *server, int status)
{
  uv_tcp_t *tcp = malloc(sizeof *tcp);
  if (status || !tcp)
    die("a visitor");
  uv_tcp_init(server->loop, tcp);
  tcp->data = server->data;
  if (uv_accept(server, (uv_stream_t *)tcp) || uv_read_start((uv_stream_t *)tcp, give_room, on_asked))
    die("a visitor");
}

static void on_idle(uv_idle_t *idle)
{
  static struct packed p;
  uint32_t busy = 0;
  for (uint32_t i = 0; i < engines.n; i++) {
    engine *e = &engines.engine[i];
    for (uint32_t k = 0; k < A_TURN && e->left; k++, e->left--) {
      const uint64_t seq = e->maker.seq;
      make_batch(&e->maker, engines.shape, &p);
      event_socket_publish(e->socket, "kv@e", 4, seq, p.bytes, p.len);
    }
    busy += e->left > 0;
  }
  if (!busy)
    uv_idle_stop(idle);
}

static void on_go(uv_poll_t *poll, int status, int events)
{
  (void)status;
  (void)events;
  uv_poll_stop(poll);
  uv_idle_start(&engines.idle, on_idle);
}

static uint16_t open_engine(engine *e)
{
  struct sockaddr_in at;
  int len = sizeof at;
  uv_ip4_addr("127.0.0.1", 0, &at);
  uv_tcp_init(&engines.loop, &e->http);
  e->http.data = e;
  if (uv_tcp_bind(&e->http, (const struct sockaddr *)&at, 0) || uv_listen((uv_stream_t *)&e->http, 16, on_visitor) ||
      uv_tcp_getsockname(&e->http, (struct sockaddr *)&at, &len) ||
      event_socket_open(&engines.loop, "tcp://127.0.0.1:0", NULL, NULL, NULL, &e->socket))
    die("an engine's sockets");
  return ntohs(at.sin_port);
}

/* Never returns: it is killed. */
static void be_engines(const shape *s, uint32_t n, uint64_t batches, int tell, int hear)
{
  uint16_t port[MOST_ENGINES];
  uv_loop_init(&engines.loop);
  engines.n = n;
  engines.shape = s;
  for (uint32_t i = 0; i < n; i++) {
    port[i] = open_engine(&engines.engine[i]);
    engines.engine[i].maker.seed = i + 1;
    engines.engine[i].left = batches;
  }
  uv_idle_init(&engines.loop, &engines.idle);
  uv_poll_init(&engines.loop, &engines.go, hear);
  uv_poll_start(&engines.go, UV_READABLE, on_go);
  if (write(tell, port, n * sizeof *port) < 0)
    die("a pipe");
  uv_run(&engines.loop, UV_RUN_DEFAULT);
  for (;;)
    pause();
}

/* ---- this process ------------------------------------------------------------------------------------------------ */

static double cpu_now(void)
{
  struct rusage r;
  getrusage(RUSAGE_SELF, &r);
  return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) + 1e-6 * (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec);
}

static void read_ports(int fd, uint16_t *port, uint32_t n)
{
  size_t have = 0;
  while (have < n * sizeof *port) {
    ssize_t got = read(fd, (char *)port + have, n * sizeof *port - have);
    if (got <= 0)
      die("the engines' ports");
    have += (size_t)got;
  }
}

static llmd_pool *open_pool(uint32_t n)
{
  const llmd_region_options region = {.size = sizeof region, .max_endpoints = n < 64 ? 64 : n, .seed = 1,
                                      .state_bytes = UINT64_C(600) << 20, .index_bytes = UINT64_C(512) << 20};
  const llmd_pool_options o = {.size = sizeof o, .flags = LLMD_POOL_WRITER, .region = &region};
  llmd_pool *pool;
  if (llmd_pool_open(&o, &pool, NULL))
    die("a pool");
  return pool;
}

static void fill_pool(llmd_pool *pool, const uint16_t *port, uint32_t n)
{
  llmd_now now;
  for (uint32_t i = 0; i < n; i++) {
    const llmd_endpoint e = {.size = sizeof e, .address = {"127.0.0.1", 9}, .port = port[i]};
    llmd_endpoint_id id;
    if (llmd_pool_add(pool, &e, &id))
      die("an endpoint");
  }
  llmd_clock(&now);
  if (llmd_pool_publish(pool, &now))
    die("publishing");
}

static llmd_subscriber_stats stats_of(llmd_subscriber *s)
{
  llmd_subscriber_stats stats = {.size = sizeof stats};
  llmd_subscriber_stats_get(s, &stats);
  return stats;
}

static void on_pulse(uv_timer_t *timer)
{
  (void)timer;
}

static void run_until_connected(uv_loop_t *loop, llmd_subscriber *s, uint32_t n)
{
  const double began = bench_now();
  double since = -1;
  while (since < 0 || bench_now() - since < 3e8) { /* and settled */
    uv_run(loop, UV_RUN_ONCE);
    if (since < 0 && stats_of(s).connected == n)
      since = bench_now();
    if (bench_now() - began > 6e10)
      die("the engines were not reached");
  }
}

static void print_rows(const shape *s, double cpu, double seconds, uint64_t events, const llmd_subscriber_stats *stats)
{
  char name[160];
  snprintf(name, sizeof name, "events, %s: CPU of a million blocks", s->name);
  bench_row(name, cpu / (double)(events * s->blocks) * 1e6, "s");
  snprintf(name, sizeof name, "events, %s: messages a second", s->name);
  bench_row(name, (double)events / seconds, "/s");
  snprintf(name, sizeof name, "events, %s: gaps", s->name);
  bench_row(name, (double)stats->gaps, "");
}

static void bench_sockets(const shape *s, uint32_t n, uint64_t blocks)
{
  const uint64_t batches = blocks / s->blocks / n;
  uint16_t port[MOST_ENGINES];
  int tell[2], hear[2];
  llmd_service service = {.size = sizeof service};
  llmd_subscriber *sub;
  llmd_subscriber_stats stats;
  uv_loop_t loop;
  uv_timer_t pulse;
  double cpu, began;
  pid_t child;
  if (pipe(tell) || pipe(hear))
    die("a pipe");
  child = fork();
  if (child < 0)
    die("a process");
  if (child == 0)
    be_engines(s, n, batches, tell[1], hear[0]);
  read_ports(tell[0], port, n);
  llmd_pool *pool = open_pool(n);
  fill_pool(pool, port, n);
  uv_loop_init(&loop);
  uv_timer_init(&loop, &pulse);
  uv_timer_start(&pulse, on_pulse, 0, 20);
  service.events.enabled = 1;
  service.events.retry_ms = 1000;
  service.events.discover_ms = 1000;
  service.events.topic = "";
  service.events.bind = "";
  const llmd_feeder feeder = {.size = sizeof feeder, .loop = &loop, .pool = pool, .service = &service};
  if (llmd_subscriber_start(&feeder, &sub, NULL))
    die("a subscriber");
  run_until_connected(&loop, sub, n);
  cpu = cpu_now();
  began = bench_now();
  if (write(hear[1], "g", 1) != 1)
    die("a pipe");
  while (stats = stats_of(sub), stats.events < batches * n && bench_now() - began < 1.2e11)
    uv_run(&loop, UV_RUN_ONCE);
  print_rows(s, cpu_now() - cpu, (bench_now() - began) * 1e-9, stats.events, &stats);
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  llmd_subscriber_stop(sub, NULL, NULL);
  uv_close((uv_handle_t *)&pulse, NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
  uv_loop_close(&loop);
  llmd_pool_close(pool);
  for (int i = 0; i < 2; i++) {
    close(tell[i]);
    close(hear[i]);
  }
}

/* The time to make the batches is measured before, and taken off. */
static void bench_by_hand(const shape *s, uint32_t n, uint64_t blocks)
{
  static struct packed p;
  static engine e[MOST_ENGINES];
  const uint64_t batches = blocks / s->blocks / n;
  llmd_source_id id[MOST_ENGINES];
  llmd_events_options o = {.size = sizeof o};
  llmd_pool *pool = open_pool(n);
  llmd_events *events;
  double cpu, making;
  char name[160];
  if (llmd_pool_index(pool, &o.index) || llmd_events_open(&o, &events, NULL))
    die("an index");
  for (uint32_t i = 0; i < n; i++) {
    const llmd_source source = {.size = sizeof source, .endpoint = UINT64_C(1) << 32 | i,
                                .flags = LLMD_SOURCE_NO_REPLAY};
    e[i].maker = (maker){i + 1, 0, 0};
    if (llmd_events_source(events, &source, &id[i]))
      die("a source");
  }
  cpu = cpu_now();
  for (uint64_t k = 0; k < batches; k++)
    for (uint32_t i = 0; i < n; i++)
      make_batch(&e[i].maker, s, &p);
  making = cpu_now() - cpu;
  cpu = cpu_now();
  for (uint64_t k = 0; k < batches; k++)
    for (uint32_t i = 0; i < n; i++) {
      llmd_now now = {1000000000, 0};
      llmd_ask ask = {.size = sizeof ask};
      char seq[8];
      for (int b = 0; b < 8; b++)
        seq[b] = (char)(k >> 8 * (7 - b));
      make_batch(&e[i].maker, s, &p);
      const llmd_str frame[3] = {{"kv@e", 4}, {seq, 8}, {(const char *)p.bytes, p.len}};
      llmd_events_feed(events, id[i], LLMD_FRAMES_LIVE, frame, 3, &now, &ask);
    }
  snprintf(name, sizeof name, "events, %s: by hand, CPU of a million blocks", s->name);
  bench_row(name, (cpu_now() - cpu - making) / (double)(batches * n * s->blocks) * 1e6, "s");
  llmd_events_close(events);
  llmd_pool_close(pool);
}

int main(int argc, char **argv)
{
  static const shape shapes[] = {{"32 blocks a batch", 32, 4}, {"1 block a batch", 1, 64}};
  uint32_t n = 8;
  uint64_t blocks = 1000000;
  bench_start(argc, argv);
  for (int i = 1; i + 1 < argc; i++) {
    if (!strcmp(argv[i], "--engines"))
      n = (uint32_t)strtoul(argv[i + 1], NULL, 10);
    if (!strcmp(argv[i], "--blocks"))
      blocks = strtoull(argv[i + 1], NULL, 10);
  }
  if (n < 1 || n > MOST_ENGINES)
    die("1 to 256 engines");
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    const uint64_t most = shapes[i].blocks == 1 ? blocks / 4 : blocks; /* as many as fit into the engines' queues */
    bench_by_hand(&shapes[i], n, most);
    bench_sockets(&shapes[i], n, most);
  }
  return 0;
}
