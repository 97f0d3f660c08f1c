/* A program that carries another Lua - LuaJIT, or Lua 5.3 - in its global scope, as nginx, OpenResty and HAProxy do, and
 * decides by a Lua 5.4 policy. The policy computes what only 5.4 can: integer division, shifts of 64 bits, constants.
 *
 *   hosted LIBRARY LOADER_DIR      LIBRARY: libluajit-5.1.so.2, liblua5.3.so.0
 *
 * Built as a shared object, too (hosted_run), for a process that is somebody else's: nginx with its Lua module. */
#include <llmd/llmd.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char config[] =
  "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- type: lua\n  name: only54\n  parameters:\n"
  "    source: |\n"
  "      local eight <const> = 8\n"
  "      local huge = (1 << 62) // 3 & 0xff\n"
  "      assert(math.type(7 // 2) == 'integer' and 7 // 2 == 3 and huge == 0x55)\n"
  "      return { score = function(name)\n"
  "        local even = #name - 1\n"
  "        return name == 'default/e2' and (7 // 2 | 4) / eight or (1 << 40 >> 40) / eight\n"
  "      end }\n";

LLMD_API int hosted_run(const char *loader_dir, char *out, size_t cap);

static int add(llmd_pool *pool, const char *name, const char *address)
{
  llmd_endpoint e = {.size = sizeof e, .port = 8000};
  llmd_endpoint_id id;
  e.name.ptr = name;
  e.name.len = strlen(name);
  e.address.ptr = address;
  e.address.len = strlen(address);
  return llmd_pool_add(pool, &e, &id);
}

static int decide(llmd_scheduler *s, llmd_decision *d)
{
  static const char body[] = "{\"model\":\"m\",\"prompt\":\"hello\"}";
  llmd_now now = {1000000000, 0};
  void *memory = malloc(llmd_request_size(NULL));
  llmd_request *r = NULL;
  llmd_lane *lane = NULL;
  int rc = memory ? llmd_request_init(memory, llmd_request_size(NULL), NULL, &r) : LLMD_E_NOMEM;
  if (!rc)
    rc = llmd_request_feed(r, body, sizeof body - 1, LLMD_FEED_KEEP | LLMD_FEED_FINAL);
  if (rc >= 0)
    rc = llmd_lane_create(s, LLMD_LANE_WRITER, &lane);
  if (rc >= 0)
    rc = llmd_decide(lane, r, &now, 1, d);
  llmd_lane_free(lane);
  free(memory);
  return rc;
}

/* 0: the policy ran and said what it should; *out tells, in any case. */
int hosted_run(const char *loader_dir, char *out, size_t cap)
{
  llmd_scheduler_options o = {.size = sizeof o, .loader_dir = loader_dir};
  llmd_decision *d = calloc(1, sizeof *d);
  llmd_now now = {1, 1};
  llmd_err err = LLMD_ERR_INIT;
  llmd_pool *pool = NULL;
  llmd_scheduler *s = NULL;
  int rc = d ? llmd_pool_open(NULL, &pool, &err) : LLMD_E_NOMEM;
  if (rc >= 0)
    rc = add(pool, "e1", "10.0.0.1") || add(pool, "e2", "10.0.0.2") ? LLMD_E_FULL : llmd_pool_publish(pool, &now);
  if (rc >= 0)
    rc = llmd_scheduler_create(&o, pool, config, sizeof config - 1, &s, &err);
  if (rc >= 0) {
    d->size = sizeof *d;
    rc = decide(s, d);
  }
  if (rc < 0)
    snprintf(out, cap, "failed: %s %s", llmd_strerror(rc), err.text);
  else
    snprintf(out, cap, "%.*s scores %.3f, ladder %u", (int)d->target[0].address.len,
             d->text + d->target[0].address.off, d->target[0].score, d->ladder);
  rc = rc < 0 || strcmp(out, "10.0.0.2 scores 0.875, ladder 0") != 0;
  llmd_scheduler_free(s);
  llmd_pool_close(pool);
  free(d);
  return rc;
}

#ifndef HOSTED_SHARED
/* What the host itself runs on its Lua: the functions that all Luas have under the same names. */
typedef void state;

static void *must_find(void *lib, const char *name)
{
  void *p = dlsym(lib, name);
  if (p)
    return p;
  printf("Bail out! %s is not in the library\n", name);
  exit(1);
}

static int own_lua(void *lib, state *L, const char *code)
{
  int (*loads)(state *, const char *);
  int (*pcallk)(state *, int, int, int, long, void *) = NULL;
  int (*pcall)(state *, int, int, int) = NULL;
  void *p = must_find(lib, "luaL_loadstring");
  memcpy(&loads, &p, sizeof p);
  p = dlsym(lib, "lua_pcallk");
  memcpy(&pcallk, &p, sizeof p);
  p = p ? p : must_find(lib, "lua_pcall");
  memcpy(&pcall, &p, sizeof p);
  if (loads(L, code))
    return 1;
  return pcallk ? pcallk(L, 0, 0, 0, 0, NULL) : pcall(L, 0, 0, 0);
}

static int check(const char *what, int ok)
{
  static int n;
  printf("%s %d - %s\n", ok ? "ok" : "not ok", ++n, what);
  return !ok;
}

int main(int argc, char **argv)
{
  state *(*new_state)(void);
  void (*open_libs)(state *);
  char said[256];
  void *lib, *p;
  state *L;
  int bad = 0;
  if (argc != 3)
    return 2;
  lib = dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL);
  if (!lib) {
    printf("1..0 # SKIP skipped: needs %s\n", argv[1]);
    return 0;
  }
  printf("1..4\n");
  p = must_find(lib, "luaL_newstate");
  memcpy(&new_state, &p, sizeof p);
  p = must_find(lib, "luaL_openlibs");
  memcpy(&open_libs, &p, sizeof p);
  L = new_state();
  open_libs(L);
  bad += check("the host's Lua runs, and is not 5.4", !own_lua(lib, L, "assert(_VERSION ~= 'Lua 5.4')"));
  bad += check("a policy in Lua 5.4 decides beside it", !hosted_run(argv[2], said, sizeof said));
  printf("# %s\n", said);
  bad += check("so it does again", !hosted_run(argv[2], said, sizeof said));
  bad += check("the host's Lua still runs",
               !own_lua(lib, L, "local t = {} for i = 1, 1e5 do t[i] = {i} end assert(#t == 1e5)"));
  return bad != 0;
}
#endif
