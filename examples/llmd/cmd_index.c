/* llmd index: what an exact prefix index holds, who holds a prompt, and the index as a file. */
#define _POSIX_C_SOURCE 200809L
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <llmd/prefix.h>

#include "file.h"
#include "hex.h"
#include "ids.h"
#include "json.h"
#include "shell.h"

static const char help[] =
  "Usage: llmd index stats [--json] FILE\n"
  "       llmd index query [OPTION]... FILE IDS\n"
  "       llmd index query --keys KEY[,KEY]... [--json] FILE\n"
  "       llmd index snapshot -o OUT FILE\n"
  "\n"
  "FILE is a region, an index by itself, or a snapshot of one. It is only read; of a region or an\n"
  "index that is in use take a copy first, since what changes meanwhile may not fit together.\n"
  "stats prints figures. query says who holds leading blocks of a prompt, and in which tier: IDS is a\n"
  "file of token ids (- is standard input), as llmd hash reads it. snapshot writes the index to OUT,\n"
  "mode 0600: it carries the secret of the keys.\n"
  "\n"
  "  --block N       tokens in a block (default: what the engines have, if that is one size, else 16)\n"
  "  --model NAME    of the keys' root; pools of one base model have none\n"
  "  --lora NAME     adapter\n"
  "  --salt TEXT     cache salt\n"
  "  --keys LIST     keys of 32 hex digits in place of ids, first block first\n"
  "  -o FILE         where the snapshot goes\n"
  "  --json          for programs\n"
  "  --help\n"
  "\n"
  "Examples:\n"
  "  llmd index stats /dev/shm/llmd\n"
  "  seq 1 4096 | llmd index query --block 64 snapshot.bin -\n"
  "  llmd index snapshot -o snapshot.bin /dev/shm/llmd\n";

#define FIRST_BYTES ((uint64_t)64 << 20) /* a snapshot is read into an index of this size, or a larger one */
#define MOST_BYTES ((uint64_t)1 << 40)

struct job {
  const char *command, *path, *ids, *keys_text, *out;
  int json;
  uint32_t block;
  llmd_str model, lora, salt;
  struct mapping map;
  void *memory;  /* an index that a snapshot was read into */
  llmd_index *index;
  llmd_key *key;
  uint32_t n_keys;
};

static int refuse(const struct job *j, int rc)
{
  return shell_refuse(j->command, "%s: %s", j->path, llmd_strerror(rc));
}

/* ---- opening ---- */

static int open_in_region(struct job *j)
{
  llmd_region_state s = {.size = sizeof s};
  llmd_err err = LLMD_ERR_INIT;
  int rc;
  for (uint32_t i = 0; (rc = llmd_region_state_at(j->map.mem, j->map.len, i, &s)) != LLMD_E_NONE; i++)
    if (!rc && s.kind == LLMD_STATE_INDEX) {
      rc = llmd_index_open((char *)j->map.mem + s.offset, (size_t)s.bytes, NULL, &j->index, &err);
      return rc ? shell_blame(j->path, &err) : 0;
    }
  return shell_refuse(j->command, "%s: a region without an exact index", j->path);
}

/* Nobody knows beforehand how large an index must be for it. */
static int read_snapshot(struct job *j, llmd_err *err)
{
  int rc = LLMD_E_FULL;
  for (uint64_t bytes = FIRST_BYTES; rc == LLMD_E_FULL && bytes <= MOST_BYTES; bytes *= 2) {
    llmd_index_options o = {.size = sizeof o, .rows = 16384, .bytes = bytes};
    size_t len = llmd_index_size(&o);
    llmd_index_close(j->index);
    j->index = NULL;
    free(j->memory);
    j->memory = aligned_alloc(64, (len + 63) & ~(size_t)63);
    rc = j->memory ? llmd_index_format(j->memory, len, &o) : LLMD_E_NOMEM;
    rc = rc ? rc : llmd_index_open(j->memory, len, NULL, &j->index, err);
    rc = rc ? rc : llmd_index_restore(j->index, j->map.mem, j->map.len, err);
  }
  return rc;
}

/* What is wrong with a file that cannot be read as any of the three: perhaps it is a damaged one. */
static int open_index(struct job *j)
{
  llmd_err region = LLMD_ERR_INIT, index = LLMD_ERR_INIT, snapshot = LLMD_ERR_INIT;
  int code = file_map(j->command, j->path, &j->map), rc;
  if (code)
    return code;
  if (!llmd_region_check(j->map.mem, j->map.len, &region))
    return open_in_region(j);
  if (!llmd_index_open(j->map.mem, j->map.len, NULL, &j->index, &index))
    return 0;
  rc = read_snapshot(j, &snapshot);
  if (rc)
    return shell_refuse(j->command, "%s: %s; %s; %s", j->path, region.text, index.text,
                        snapshot.text[0] ? snapshot.text : llmd_strerror(rc));
  return 0;
}

/* ---- stats ---- */

static int print_stats(const struct job *j)
{
  llmd_index_stats s = {.size = sizeof s};
  uint32_t size[4];
  int rc = llmd_index_stats_get(j->index, &s), sizes = llmd_index_block_sizes(j->index, size);
  const struct { const char *name; uint64_t value; } rows[] = {
    {"bytes", s.bytes}, {"used", s.used}, {"endpoints", s.rows}, {"runs", s.runs}, {"blocks", s.blocks},
    {"held", s.held}, {"names", s.names}, {"sets", s.sets}, {"dead", s.dead}, {"evicted", s.evicted},
    {"dropped", s.dropped}, {"renamed", s.renamed}, {"torn", s.torn}, {"repaired", s.repaired},
  };
  cJSON *root, *list;
  if (rc)
    return refuse(j, rc);
  if (!j->json) {
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
      printf("%-12s %15" PRIu64 "\n", rows[i].name, rows[i].value);
    for (int i = 0; i < sizes; i++)
      printf("%-12s %15" PRIu32 "\n", "block_size", size[i]);
    return 0;
  }
  root = cJSON_CreateObject();
  for (size_t i = 0; root && i < sizeof rows / sizeof rows[0] && !rc; i++)
    rc = json_add_u64(root, rows[i].name, rows[i].value);
  list = rc ? NULL : cJSON_AddArrayToObject(root, "block_sizes");
  for (int i = 0; list && i < sizes && !rc; i++)
    rc = cJSON_AddItemToArray(list, cJSON_CreateNumber(size[i])) ? 0 : LLMD_E_NOMEM;
  if (rc || !list) {
    cJSON_Delete(root);
    root = NULL;
  }
  rc = json_print(stdout, root);
  return rc ? refuse(j, rc) : 0;
}

/* ---- query ---- */

/* As llmd hash prints native keys: the high half first. */
static int read_keys(struct job *j)
{
  const char *p = j->keys_text;
  j->key = malloc((strlen(p) / 32 + 1) * sizeof *j->key);
  if (!j->key)
    return refuse(j, LLMD_E_NOMEM);
  for (;;) {
    uint64_t half[2] = {0, 0};
    for (int i = 0; i < 32; i++, p++) {
      if (hex_digit(*p) < 0)
        return shell_usage(j->command, "--keys: 32 hex digits for each key, commas between");
      half[i / 16] = half[i / 16] << 4 | (uint64_t)hex_digit(*p);
    }
    j->key[j->n_keys].hi = half[0];
    j->key[j->n_keys++].lo = half[1];
    if (!*p)
      return 0;
    if (*p++ != ',')
      return shell_usage(j->command, "--keys: 32 hex digits for each key, commas between");
  }
}

static int choose_block(struct job *j)
{
  uint32_t size[4];
  int n = llmd_index_block_sizes(j->index, size);
  if (!j->block && n > 1)
    return shell_refuse(j->command, "%s: %d block sizes are known, say --block", j->path, n);
  if (!j->block)
    j->block = n == 1 ? size[0] : 16;
  return 0;
}

static int hash_ids(struct job *j)
{
  llmd_chain_root root = {.size = sizeof root, .model = j->model, .lora = j->lora};
  const llmd_extra salt = {.text = j->salt};
  const uint8_t *secret = llmd_index_secret(j->index);
  llmd_chain chain;
  uint32_t *ids = NULL;
  size_t n = 0;
  int rc, code = ids_read(j->command, j->ids, &ids, &n);
  if (code == 0)
    code = choose_block(j);
  if (code) {
    free(ids);
    return code;
  }
  root.block_tokens = j->block;
  j->key = malloc((n / j->block + 1) * sizeof *j->key);
  rc = j->key ? llmd_chain_begin(&chain, secret, &root) : LLMD_E_NOMEM;
  rc = rc ? rc : llmd_chain_extend(&chain, secret, ids, n, &salt, j->salt.len && n >= j->block, j->key,
                                   (uint32_t)(n / j->block));
  free(ids);
  j->n_keys = rc > 0 ? (uint32_t)rc : 0;
  return rc < 0 ? refuse(j, rc) : 0;
}

static int by_blocks(const void *a, const void *b)
{
  const llmd_hit *x = a, *y = b;
  if (x->blocks != y->blocks)
    return x->blocks < y->blocks ? 1 : -1;
  return x->endpoint < y->endpoint ? -1 : x->endpoint > y->endpoint;
}

static uint32_t best_tier(const llmd_hit *h)
{
  return h->blocks - h->lower[0] - h->lower[1] - h->lower[2];
}

static void print_hits(const struct job *j, const llmd_hit *hit, int n, uint32_t shared)
{
  printf("%" PRIu32 " blocks; a shared store has %" PRIu32 " of them, %d endpoints have some\n", j->n_keys, shared, n);
  if (n)
    puts("   slot  generation      blocks         gpu         cpu        disk      remote");
  for (int i = 0; i < n; i++)
    printf("%7" PRIu32 " %11" PRIu32 " %11" PRIu32 " %11" PRIu32 " %11" PRIu32 " %11" PRIu32 " %11" PRIu32 "\n",
           (uint32_t)hit[i].endpoint, (uint32_t)(hit[i].endpoint >> 32), hit[i].blocks, best_tier(&hit[i]),
           hit[i].lower[0], hit[i].lower[1], hit[i].lower[2]);
}

static int add_hit(cJSON *list, const llmd_hit *h)
{
  cJSON *o = cJSON_CreateObject();
  if (!o || !cJSON_AddItemToArray(list, o)) {
    cJSON_Delete(o);
    return LLMD_E_NOMEM;
  }
  return json_add_u64(o, "slot", (uint32_t)h->endpoint) || json_add_u64(o, "generation", h->endpoint >> 32) ||
         json_add_u64(o, "blocks", h->blocks) || json_add_u64(o, "gpu", best_tier(h)) ||
         json_add_u64(o, "cpu", h->lower[0]) || json_add_u64(o, "disk", h->lower[1]) ||
         json_add_u64(o, "remote", h->lower[2]) ? LLMD_E_NOMEM : 0;
}

static int print_hits_json(const struct job *j, const llmd_hit *hit, int n, uint32_t shared)
{
  cJSON *root = cJSON_CreateObject(), *list = NULL;
  int rc = !root || json_add_u64(root, "blocks", j->n_keys) || json_add_u64(root, "shared", shared);
  if (!rc && j->block)
    rc = json_add_u64(root, "block_size", j->block);
  list = rc ? NULL : cJSON_AddArrayToObject(root, "hits");
  rc = !list;
  for (int i = 0; i < n && !rc; i++)
    rc = add_hit(list, &hit[i]);
  if (rc) {
    cJSON_Delete(root);
    root = NULL;
  }
  return json_print(stdout, root);
}

static int query(struct job *j)
{
  llmd_index_stats s = {.size = sizeof s};
  llmd_hit *hit = NULL;
  void *scratch = NULL;
  uint32_t shared = 0, cap;
  int n, code = j->keys_text ? read_keys(j) : hash_ids(j);
  if (code)
    return code;
  (void)llmd_index_stats_get(j->index, &s);
  cap = s.rows + 1;
  hit = malloc(cap * sizeof *hit);
  scratch = calloc(1, llmd_index_scratch(j->index));
  n = hit && scratch ? llmd_index_query(j->index, scratch, j->key, j->n_keys, hit, cap, &shared) : LLMD_E_NOMEM;
  if (n > 0)
    qsort(hit, (size_t)n, sizeof *hit, by_blocks);
  if (n >= 0 && j->json)
    n = print_hits_json(j, hit, n, shared);
  else if (n >= 0)
    print_hits(j, hit, n, shared);
  free(hit);
  free(scratch);
  return n < 0 ? refuse(j, n) : 0;
}

/* ---- snapshot ---- */

/* Under another name, which becomes the file's when all is written: the index may be read from that very file. */
static int write_aside(const struct job *j, char *aside)
{
  int fd = mkstemp(aside), rc; /* mode 0600 */
  FILE *f = fd >= 0 ? fdopen(fd, "wb") : NULL;
  if (!f) {
    perror(j->out);
    if (fd >= 0)
      close(fd);
    return EXIT_REFUSED;
  }
  rc = llmd_index_snapshot(j->index, shell_write, f);
  if (fclose(f) && !rc)
    rc = LLMD_E_STOPPED;
  if (!rc && rename(aside, j->out) == 0)
    return 0;
  unlink(aside);
  return shell_refuse(j->command, "%s: %s", j->out, rc ? llmd_strerror(rc) : "it cannot be replaced");
}

static int write_file(const struct job *j)
{
  struct stat st;
  size_t len = strlen(j->out);
  char *aside = malloc(len + sizeof ".XXXXXX");
  int code;
  if (!aside)
    return refuse(j, LLMD_E_NOMEM);
  if (lstat(j->out, &st) == 0 && !S_ISREG(st.st_mode)) {
    free(aside);
    return shell_refuse(j->command, "%s: not a file", j->out);
  }
  memcpy(aside, j->out, len);
  memcpy(aside + len, ".XXXXXX", sizeof ".XXXXXX");
  code = write_aside(j, aside);
  free(aside);
  return code;
}

/* A copy of an index whose writer was at work is mended first, in memory. */
static int snapshot(struct job *j)
{
  int rc = llmd_index_takeover(j->index);
  return rc < 0 ? refuse(j, rc) : write_file(j);
}

/* ---- options ---- */

static llmd_str text_of(const char *text)
{
  llmd_str s = {text, strlen(text)};
  return s;
}

static int parse(struct job *j, int argc, char **argv)
{
  enum { JSON = 256, BLOCK, MODEL, LORA, SALT, KEYS };
  static const struct option long_options[] = {
    {"json", 0, NULL, JSON}, {"block", 1, NULL, BLOCK}, {"model", 1, NULL, MODEL}, {"lora", 1, NULL, LORA},
    {"salt", 1, NULL, SALT}, {"keys", 1, NULL, KEYS}, {"help", 0, NULL, 'h'}, {0},
  };
  int option, code = 0;
  uint64_t n = 0;
  opterr = 0;
  while (!code && (option = getopt_long(argc, argv, ":ho:", long_options, NULL)) != -1)
    switch (option) {
    case 'h': return -1;
    case 'o': j->out = optarg; break;
    case JSON: j->json = 1; break;
    case BLOCK: code = shell_count(argv[0], "--block", optarg, 1, 8192, &n); j->block = (uint32_t)n; break;
    case MODEL: j->model = text_of(optarg); break;
    case LORA: j->lora = text_of(optarg); break;
    case SALT: j->salt = text_of(optarg); break;
    case KEYS: j->keys_text = optarg; break;
    default: code = shell_option(argv[0], option, argv);
    }
  return code;
}

static int run_verb(struct job *j, const char *verb, char **file, int n)
{
  int asks = strcmp(verb, "query") == 0, copies = strcmp(verb, "snapshot") == 0, code;
  if (!asks && !copies && strcmp(verb, "stats") != 0)
    return shell_usage(j->command, "'%s' is none of stats, query and snapshot", verb);
  if (n != (asks && !j->keys_text ? 2 : 1))
    return shell_usage(j->command, asks && !j->keys_text ? "an index and a file of token ids are needed"
                                                         : "one file is needed");
  if (copies != (j->out != NULL))
    return shell_usage(j->command, copies ? "snapshot needs -o FILE" : "-o belongs to snapshot");
  j->path = file[0];
  j->ids = n == 2 ? file[1] : NULL;
  code = open_index(j);
  if (code)
    return code;
  return asks ? query(j) : copies ? snapshot(j) : print_stats(j);
}

static int run(int argc, char **argv)
{
  struct job j = {.command = argv[0]};
  int code = parse(&j, argc, argv);
  if (code)
    return code < 0 ? shell_help(&cmd_index) : code;
  if (argc == optind)
    return shell_usage(argv[0], "stats, query or snapshot, and a file");
  code = run_verb(&j, argv[optind], argv + optind + 1, argc - optind - 1);
  llmd_index_close(j.index);
  free(j.memory);
  free(j.key);
  file_unmap(&j.map);
  return code;
}

const struct command cmd_index = {
  .name = "index", .summary = "what an exact prefix index holds, and who holds a prompt", .help = help, .run = run};
