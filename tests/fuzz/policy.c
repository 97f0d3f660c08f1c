/* Fuzz target: a whole configuration, from text to a scheduler that decides.
 *
 * Whatever the bytes: a refusal has a code and words and leaves the pool usable; what is accepted decides without a crash,
 * and its effective configuration is accepted again and is then written the same. */
#include <llmd/llmd.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct text {
  char *ptr;
  size_t len;
} text;

static void require(int true_, const char *what)
{
  if (true_)
    return;
  fprintf(stderr, "policy fuzz target: %s\n", what);
  abort();
}

static int append(void *ud, const char *ptr, size_t len)
{
  text *t = ud;
  char *p = realloc(t->ptr, t->len + len + 1);
  require(p != NULL, "no memory");
  memcpy(p + t->len, ptr, len);
  t->ptr = p;
  t->len += len;
  return 0;
}

/* Each input has a pool of its own: state of plugins would fill a shared one. */
static llmd_pool *small_pool(void)
{
  llmd_region_options ro = {.size = sizeof ro, .max_endpoints = 8, .max_attributes = 128, .prefix_bytes = 64 << 10,
                            .state_bytes = 16 << 20, .max_tickets = 16, .max_lanes = 2, .ring_bytes = 4096,
                            .string_bytes = 32 << 10};
  llmd_pool_options po = {.size = sizeof po, .region = &ro};
  llmd_err err = LLMD_ERR_INIT;
  llmd_now now = {1, 1};
  llmd_pool *pool;
  require(llmd_pool_open(&po, &pool, &err) == 0, "no pool");
  for (unsigned i = 0; i < 3; i++) {
    char address[] = "10.0.0.0";
    llmd_endpoint e = {.size = sizeof e, .port = 8000, .address = {address, 8}};
    llmd_endpoint_id id;
    address[7] = (char)('1' + i);
    require(llmd_pool_add(pool, &e, &id) == 0, "no endpoint");
    llmd_pool_set(pool, id, LLMD_ATTR_WAITING, i);
  }
  require(llmd_pool_publish(pool, &now) == 0, "not published");
  return pool;
}

static void decide(llmd_scheduler *s)
{
  static llmd_decision d;
  static char mem[256 << 10];
  llmd_now now = {2, 2};
  llmd_request *r;
  llmd_lane *lane;
  require(llmd_lane_create(s, LLMD_LANE_WRITER, &lane) == 0, "no lane");
  require(llmd_request_init(mem, sizeof mem, NULL, &r) == 0, "no request");
  require(llmd_request_feed(r, "{\"model\":\"m\",\"prompt\":\"abc\"}", 28, LLMD_FEED_FINAL) == 0, "a good body refused");
  d.size = sizeof d;
  require(llmd_decide(lane, r, &now, 7, &d) == 0, "no decision");
  require(d.status == LLMD_ROUTED || d.status == LLMD_REJECTED, "neither routed nor refused");
  if (d.status == LLMD_ROUTED)
    require(llmd_commit(lane, r, &d, 0, &now) == 0, "not committed");
  llmd_lane_free(lane);
}

static void round_trip(llmd_scheduler *s, llmd_pool *pool)
{
  text once = {NULL, 0}, twice = {NULL, 0};
  llmd_err err = LLMD_ERR_INIT;
  llmd_scheduler *again;
  require(llmd_scheduler_write_config(s, append, &once) == 0, "not written");
  if (llmd_scheduler_create(NULL, pool, once.ptr, once.len, &again, &err)) {
    fprintf(stderr, "%u:%u: %s: %s\n%.*s\n", err.line, err.column, err.path, err.text, (int)once.len, once.ptr);
    require(0, "the effective configuration is refused");
  }
  require(llmd_scheduler_write_config(again, append, &twice) == 0, "not written again");
  llmd_scheduler_free(again);
  free(once.ptr);
  free(twice.ptr);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  llmd_err err = LLMD_ERR_INIT;
  llmd_scheduler *s;
  llmd_pool *pool;
  if (!size)
    return 0;
  pool = small_pool();
  if (llmd_scheduler_create(NULL, pool, (const char *)data, size, &s, &err)) {
    require(err.code < 0 && err.text[0], "a refusal without words");
  } else {
    decide(s);
    round_trip(s, pool);
    llmd_scheduler_free(s);
  }
  llmd_pool_close(pool);
  return 0;
}
