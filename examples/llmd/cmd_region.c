/* llmd region: what a region holds, and whether it is sound. */
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <llmd/prefix.h>
#include <llmd/region.h>

#include "file.h"
#include "json.h"
#include "shell.h"

static const char help[] =
  "Usage: llmd region stat [--json] FILE\n"
  "       llmd region check [--json] [--all] FILE\n"
  "\n"
  "stat prints what a region holds: who writes it, endpoints, lanes, requests in flight, names, state\n"
  "of plugins, and what each part takes. It may be asked of a region that is in use.\n"
  "check looks at everything that can be checked, trusts nothing, and tells what is wrong and where.\n"
  "Check a copy, or a region that nobody uses: what changes meanwhile may look like a fault.\n"
  "The file is only read.\n"
  "\n"
  "  --json   as JSON\n"
  "  --all    every fault, not only the first 20\n"
  "  --help\n"
  "\n"
  "Examples:\n"
  "  llmd region stat /dev/shm/llmd\n"
  "  cp /dev/shm/llmd copy && llmd region check copy\n";

#define FAULTS_SHOWN 20

struct region {
  const char *command;
  const char *path;
  struct mapping map;
  int json, all;
};

/* ---- stat -------------------------------------------------------------------------------------------------------- */

/* The rows of the table, and of the JSON object: name, value, cap (0 = none). */
#define CAP_ONLY UINT64_MAX
struct figure {
  const char *name;
  uint64_t value, cap;
};

static size_t figures(const llmd_region_stats *s, struct figure *out)
{
  const struct figure all[] = {
    {"bytes", s->bytes, 0}, {"layout", s->layout, 0}, {"writer", s->writer != 0, 0},
    {"writer_owner", s->writer_owner, 0}, {"generation", s->generation, 0}, {"published_mono_ns", s->published, 0},
    {"endpoints", s->endpoints, s->max_endpoints}, {"endpoints_staged", s->staged, s->max_endpoints},
    {"attributes", s->attributes, s->max_attributes}, {"labels_each", CAP_ONLY, s->max_labels},
    {"models_each", CAP_ONLY, s->max_models}, {"lanes", s->lanes, s->max_lanes}, {"lanes_pinning", s->pinned, 0},
    {"tickets", s->tickets, s->max_tickets}, {"tickets_halfway", s->halfway, 0}, {"strings", s->strings, 0},
    {"string_bytes", s->string_used, s->string_bytes}, {"ring_bytes_all", s->posts, 0},
    {"ring_bytes_fullest", s->ring_most, s->ring_bytes}, {"states", s->states, s->max_states},
    {"states_in_the_making", s->making, 0}, {"state_bytes", s->state_used, s->state_bytes},
    {"state_bytes_free_again", s->state_free, 0}, {"prefix_bytes_each", CAP_ONLY, s->prefix_bytes},
    {"index_bytes", CAP_ONLY, s->index_bytes}, {"token_bytes", CAP_ONLY, s->token_bytes},
    {"strings_refused", s->strings_refused, 0}, {"strings_freed", s->strings_freed, 0}, {"posts_dropped", s->posts_dropped, 0},
    {"tickets_refused", s->tickets_full, 0}, {"tickets_expired", s->tickets_expired, 0},
    {"tickets_reclaimed", s->tickets_reclaimed, 0}, {"ejected", s->ejected, 0}, {"ejections", s->ejections, 0},
    {"samples_refused", s->samples_refused, 0},
  };
  memcpy(out, all, sizeof all);
  return sizeof all / sizeof all[0];
}

static void print_rows(const struct figure *f, size_t n)
{
  for (size_t i = 0; i < n; i++)
    if (f[i].cap && f[i].value != CAP_ONLY)
      printf("%-24s %15" PRIu64 " of %" PRIu64 " (%.1f %%)\n", f[i].name, f[i].value, f[i].cap,
             100.0 * (double)f[i].value / (double)f[i].cap);
    else if (f[i].cap)
      printf("%-24s %15s of %" PRIu64 "\n", f[i].name, "", f[i].cap);
    else
      printf("%-24s %15" PRIu64 "\n", f[i].name, f[i].value);
}

static void print_figures(const llmd_region_stats *s)
{
  struct figure f[48];
  print_rows(f, figures(s, f));
}

static void print_parts(const struct region *r)
{
  llmd_region_part p = {.size = sizeof p};
  printf("\n%-24s %15s %15s\n", "part", "offset", "bytes");
  for (uint32_t i = 0; llmd_region_part_at(r->map.mem, r->map.len, i, &p) == 0; i++)
    printf("%-24s %15" PRIu64 " %15" PRIu64 "\n", p.name, p.offset, p.bytes);
}

static void print_lanes(const struct region *r)
{
  llmd_region_lane l = {.size = sizeof l};
  const char *title = "\nlane                  owner          reads   bytes posted, not applied\n";
  for (uint32_t i = 0; llmd_region_lane_at(r->map.mem, r->map.len, i, &l) == 0; i++) {
    if (!l.owner && l.posted == l.applied)
      continue;
    printf("%s%4u %22" PRIu64 " %14s%.0u %27" PRIu64 "\n", title, i, l.owner, l.pin ? "buffer " : "-", l.pin,
           l.posted - l.applied);
    title = "";
  }
}

static const char *kind_name(uint32_t kind)
{
  static const char *const names[] = {"?", "table", "prefix", "index", "tokens", "policy"};
  return names[kind <= LLMD_STATE_POLICY ? kind : 0];
}

static void print_states(const struct region *r)
{
  llmd_region_state s = {.size = sizeof s};
  const char *title = "\nstate           offset           bytes  name\n";
  int rc;
  for (uint32_t i = 0; (rc = llmd_region_state_at(r->map.mem, r->map.len, i, &s)) != LLMD_E_NONE; i++) {
    if (rc)
      printf("%sentry %u is damaged\n", title, i);
    else
      printf("%s%-7s %14" PRIu64 " %15" PRIu64 "  %s\n", title, kind_name(s.kind), s.offset, s.bytes, s.name);
    title = "";
  }
}

/* Of the exact index, when there is one. 1 = it is there. */
static int index_stats(const struct region *r, llmd_index_stats *out)
{
  llmd_region_state s = {.size = sizeof s};
  llmd_index *x;
  int rc;
  for (uint32_t i = 0; (rc = llmd_region_state_at(r->map.mem, r->map.len, i, &s)) != LLMD_E_NONE; i++)
    if (!rc && s.kind == LLMD_STATE_INDEX && !llmd_index_open((char *)r->map.mem + s.offset, s.bytes, NULL, &x, NULL)) {
      llmd_index_stats_get(x, out);
      llmd_index_close(x);
      return 1;
    }
  return 0;
}

static size_t index_figures(const llmd_index_stats *s, struct figure *out)
{
  const struct figure all[] = {
    {"rows", s->rows, 0}, {"bytes", s->used, s->bytes}, {"runs", s->runs, 0}, {"blocks", s->blocks, 0},
    {"held", s->held, 0}, {"names", s->names, 0}, {"sets", s->sets, 0}, {"dead", s->dead, 0},
    {"evicted", s->evicted, 0}, {"dropped", s->dropped, 0}, {"renamed", s->renamed, 0}, {"torn", s->torn, 0},
    {"repaired", s->repaired, 0},
  };
  memcpy(out, all, sizeof all);
  return sizeof all / sizeof all[0];
}

static void print_index(const struct region *r)
{
  llmd_index_stats s = {.size = sizeof s};
  struct figure f[16];
  if (!index_stats(r, &s))
    return;
  puts("\nexact index");
  print_rows(f, index_figures(&s, f));
}

/* ---- stat as JSON. 0, or LLMD_E_NOMEM ---- */

static cJSON *add_object(cJSON *list)
{
  cJSON *o = cJSON_CreateObject();
  if (o && !cJSON_AddItemToArray(list, o)) {
    cJSON_Delete(o);
    return NULL;
  }
  return o;
}

static int add_rows(cJSON *root, const struct figure *f, size_t n)
{
  int rc = 0;
  for (size_t i = 0; i < n && rc == 0; i++) {
    char cap[64];
    (void)snprintf(cap, sizeof cap, "%s_cap", f[i].name);
    if (f[i].value != CAP_ONLY)
      rc = json_add_u64(root, f[i].name, f[i].value);
    if (rc == 0 && f[i].cap)
      rc = json_add_u64(root, cap, f[i].cap);
  }
  return rc;
}

static int add_figures(cJSON *root, const llmd_region_stats *s)
{
  struct figure f[48];
  return add_rows(root, f, figures(s, f));
}

static int add_index(cJSON *root, const struct region *r)
{
  llmd_index_stats s = {.size = sizeof s};
  struct figure f[16];
  cJSON *o;
  if (!index_stats(r, &s))
    return 0;
  o = cJSON_AddObjectToObject(root, "index");
  return o ? add_rows(o, f, index_figures(&s, f)) : LLMD_E_NOMEM;
}

static int add_parts(cJSON *root, const struct region *r)
{
  cJSON *list = cJSON_AddArrayToObject(root, "parts"), *o;
  llmd_region_part p = {.size = sizeof p};
  int rc = list ? 0 : LLMD_E_NOMEM;
  for (uint32_t i = 0; rc == 0 && llmd_region_part_at(r->map.mem, r->map.len, i, &p) == 0; i++)
    if (!(o = add_object(list)) || !cJSON_AddStringToObject(o, "name", p.name) || json_add_u64(o, "offset", p.offset) ||
        json_add_u64(o, "bytes", p.bytes))
      rc = LLMD_E_NOMEM;
  return rc;
}

static int add_lanes(cJSON *root, const struct region *r)
{
  cJSON *list = cJSON_AddArrayToObject(root, "lane_slots"), *o;
  llmd_region_lane l = {.size = sizeof l};
  int rc = list ? 0 : LLMD_E_NOMEM;
  for (uint32_t i = 0; rc == 0 && llmd_region_lane_at(r->map.mem, r->map.len, i, &l) == 0; i++)
    if ((l.owner || l.posted != l.applied) &&
        (!(o = add_object(list)) || json_add_u64(o, "lane", i) || json_add_u64(o, "owner", l.owner) ||
         json_add_u64(o, "buffer", l.pin) || json_add_u64(o, "posted", l.posted) ||
         json_add_u64(o, "applied", l.applied)))
      rc = LLMD_E_NOMEM;
  return rc;
}

static int add_states(cJSON *root, const struct region *r)
{
  cJSON *list = cJSON_AddArrayToObject(root, "state"), *o;
  llmd_region_state s = {.size = sizeof s};
  int rc = list ? 0 : LLMD_E_NOMEM, found;
  for (uint32_t i = 0; rc == 0 && (found = llmd_region_state_at(r->map.mem, r->map.len, i, &s)) != LLMD_E_NONE; i++)
    if (!found && (!(o = add_object(list)) || json_add_str(o, "name", (llmd_str){s.name, strlen(s.name)}) ||
                   !cJSON_AddStringToObject(o, "kind", kind_name(s.kind)) || json_add_u64(o, "offset", s.offset) ||
                   json_add_u64(o, "bytes", s.bytes)))
      rc = LLMD_E_NOMEM;
  return rc;
}

static int print_json(const struct region *r, const llmd_region_stats *s)
{
  cJSON *root = cJSON_CreateObject();
  int rc = root ? add_figures(root, s) : LLMD_E_NOMEM;
  if (rc == 0)
    rc = add_parts(root, r);
  if (rc == 0)
    rc = add_lanes(root, r);
  if (rc == 0)
    rc = add_states(root, r);
  if (rc == 0)
    rc = add_index(root, r);
  if (rc)
    cJSON_Delete(root);
  else
    rc = json_print(stdout, root);
  return rc ? shell_refuse(r->command, "%s", llmd_strerror(rc)) : EXIT_RIGHT;
}

static int do_stat(struct region *r)
{
  llmd_region_stats s = {.size = sizeof s};
  llmd_err err = LLMD_ERR_INIT;
  if (llmd_region_stats_get(r->map.mem, r->map.len, &s, &err))
    return shell_blame(r->path, &err);
  if (r->json)
    return print_json(r, &s);
  print_figures(&s);
  print_lanes(r);
  print_states(r);
  print_index(r);
  print_parts(r);
  return EXIT_RIGHT;
}

/* ---- check ------------------------------------------------------------------------------------------------------- */

struct report {
  const struct region *region;
  cJSON *list; /* NULL = text */
  int shown, failed;
};

static int tell(void *ud, uint64_t offset, const char *part, const char *text)
{
  struct report *r = ud;
  cJSON *o;
  if (!r->region->all && r->shown++ == FAULTS_SHOWN) {
    if (!r->list)
      puts("... (--all shows every fault)");
    return 1;
  }
  if (!r->list) {
    printf("%s: byte %" PRIu64 ": %s: %s\n", r->region->path, offset, part, text);
    return 0;
  }
  o = add_object(r->list);
  r->failed |= !o || json_add_u64(o, "offset", offset) || !cJSON_AddStringToObject(o, "part", part) ||
               json_add_str(o, "text", (llmd_str){text, strlen(text)});
  return r->failed;
}

static int do_check(struct region *r)
{
  cJSON *root = r->json ? cJSON_CreateObject() : NULL;
  struct report report = {.region = r, .list = root ? cJSON_AddArrayToObject(root, "faults") : NULL};
  int n = r->json && !report.list ? LLMD_E_NOMEM : llmd_region_inspect(r->map.mem, r->map.len, NULL, tell, &report);
  int rc = n < 0 ? n : report.failed ? LLMD_E_NOMEM : 0;
  if (rc)
    cJSON_Delete(root);
  else if (r->json)
    rc = json_print(stdout, root);
  else if (!n)
    printf("%s: sound\n", r->path);
  return rc ? shell_refuse(r->command, "%s", llmd_strerror(rc)) : n ? EXIT_REFUSED : EXIT_RIGHT;
}

static int run(int argc, char **argv)
{
  enum { JSON = 256, ALL };
  static const struct option long_options[] = {
    {"json", 0, NULL, JSON}, {"all", 0, NULL, ALL}, {"help", 0, NULL, 'h'}, {0},
  };
  struct region r = {.command = argv[0]};
  int option, check, code;
  opterr = 0;
  while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1)
    switch (option) {
    case 'h': return shell_help(&cmd_region);
    case JSON: r.json = 1; break;
    case ALL: r.all = 1; break;
    default: return shell_option(argv[0], option, argv);
    }
  if (argc - optind != 2)
    return shell_usage(argv[0], "stat or check, and one file");
  check = strcmp(argv[optind], "check") == 0;
  if (!check && strcmp(argv[optind], "stat") != 0)
    return shell_usage(argv[0], "'%s' is neither stat nor check", argv[optind]);
  r.path = argv[optind + 1];
  code = file_map(r.command, r.path, &r.map);
  if (code)
    return code;
  code = check ? do_check(&r) : do_stat(&r);
  file_unmap(&r.map);
  return code;
}

const struct command cmd_region = {
  .name = "region", .summary = "what a region holds, and whether it is sound", .help = help, .run = run};
