/* llmd hash: what engines and indexes call the blocks of a prompt. Token ids in, a name per block out. */
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <llmd/prefix.h>

#include "file.h"
#include "hex.h"
#include "ids.h"
#include "json.h"
#include "shell.h"

#define PARTS_MAX 1024u

static const char help[] =
  "Usage: llmd hash [OPTION]... FILE\n"
  "\n"
  "Reads token ids (a JSON array, or numbers between blanks) and prints what each block of them is\n"
  "called: the digest, and the number that events carry.\n"
  "\n"
  "  --scheme NAME     vllm-sha256 (default), vllm-sha256-cbor, vllm-xxhash, vllm-xxhash-cbor, sglang,\n"
  "                    dynamo, llmd-cbor-fnv, llmd-xxh64, llmd-approx, native; vLLM's own names, too\n"
  "  --block N         tokens in a block (default 16)\n"
  "  --model NAME      llm-d's schemes, native\n"
  "  --lora NAME       adapter\n"
  "  --lora-path PATH  its path, which vLLM hashes since 0.32\n"
  "  --salt TEXT       cache salt; Dynamo's cache namespace\n"
  "  --seed TEXT       vLLM's PYTHONHASHSEED, llm-d's hashSeed\n"
  "  --media ID@OFFSET+LENGTH\n"
  "                    an image or the like: its identifier (Dynamo: its number), first token, tokens;\n"
  "                    again for each, in their order\n"
  "  --embeds HEX@OFFSET+LENGTH\n"
  "                    the 32 bytes that vLLM makes of a block's prompt embeddings\n"
  "  --extras FORM     how vLLM spells adapter, salt and media: tagged (0.32, default), offsets, bare\n"
  "  --parent HEX      digest of the block before: the tokens go on from there\n"
  "  --tenant TEXT     native\n"
  "  --secret FILE     native: its 192 bytes. Without, zeros, which are no secret\n"
  "  --json            for programs\n"
  "  --help\n"
  "\n"
  "Exit code 1 also when the names cannot be known, as of xxhash without a seed.\n"
  "\n"
  "Examples:\n"
  "  seq 1 48 | llmd hash --scheme sha256_cbor --seed 0 -\n"
  "  llmd hash --scheme dynamo --block 64 --json ids.json | jq .blocks[].name\n";

struct job {
  const char *command, *path, *secret_path;
  int json;
  llmd_hash_input in;
  llmd_str tenant;
  llmd_hash_part part[PARTS_MAX];
  uint8_t parent[32];
  uint8_t embeds[PARTS_MAX][32];
  uint32_t *tokens;
  llmd_digest root, *out;
  int has_root, n;
};

/* ---- options ---- */

static llmd_str str(const char *text)
{
  llmd_str s = {text, strlen(text)};
  return s;
}

/* Bytes of a hexadecimal text of at most `most` bytes; -1 = it is none. */
static int unhex(const char *text, size_t len, uint8_t *out, size_t most)
{
  if (len % 2 || len / 2 > most)
    return -1;
  for (size_t i = 0; i < len; i++) {
    const int digit = hex_digit(text[i]);
    if (digit < 0)
      return -1;
    out[i / 2] = (uint8_t)(i % 2 ? out[i / 2] << 4 | digit : digit);
  }
  return (int)(len / 2);
}

static int set_scheme(struct job *j, const char *name)
{
  j->in.scheme = llmd_hash_by_name(name, strlen(name));
  return j->in.scheme ? 0 : shell_usage(j->command, "--scheme: there is no scheme '%s'", name);
}

static int set_extras(struct job *j, const char *form)
{
  static const char *const forms[] = {"tagged", "offsets", "bare"};
  for (uint32_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
    if (strcmp(form, forms[i]) == 0) {
      j->in.extras = i;
      return 0;
    }
  return shell_usage(j->command, "--extras: '%s' is none of tagged, offsets, bare", form);
}

static int set_parent(struct job *j, const char *hex)
{
  const int len = unhex(hex, strlen(hex), j->parent, sizeof j->parent);
  if (len <= 0)
    return shell_usage(j->command, "--parent: '%s' is no digest", hex);
  j->in.parent = j->parent;
  j->in.parent_len = (uint32_t)len;
  return 0;
}

/* ID@OFFSET+LENGTH; the identifier may hold anything. */
static int add_part(struct job *j, const char *option, const char *text, uint32_t kind)
{
  llmd_hash_part *p = &j->part[j->in.n_parts];
  const char *at = strrchr(text, '@'), *plus = at ? strchr(at, '+') : NULL;
  char *end = NULL;
  if (j->in.n_parts == PARTS_MAX)
    return shell_usage(j->command, "%s: at most %u of them", option, PARTS_MAX);
  if (!plus)
    return shell_usage(j->command, "%s: '%s' is not ID@OFFSET+LENGTH", option, text);
  p->id.ptr = text;
  p->id.len = (size_t)(at - text);
  p->kind = kind;
  p->number = strtoull(text, NULL, 10);
  p->offset = strtoll(at + 1, &end, 10);
  if (end != plus || end == at + 1)
    return shell_usage(j->command, "%s: '%s' is not ID@OFFSET+LENGTH", option, text);
  p->length = (uint32_t)strtoul(plus + 1, &end, 10);
  if (*end || end == plus + 1)
    return shell_usage(j->command, "%s: '%s' is not ID@OFFSET+LENGTH", option, text);
  if (kind == LLMD_PART_EMBEDS) {
    if (unhex(text, p->id.len, j->embeds[j->in.n_parts], 32) != 32)
      return shell_usage(j->command, "%s: '%s' has no digest of 32 bytes", option, text);
    p->id.ptr = (const char *)j->embeds[j->in.n_parts];
    p->id.len = 32;
  }
  j->in.n_parts++;
  return 0;
}

/* ---- token ids ---- */

/* ---- hashing ---- */

static int read_secret(struct job *j, uint8_t secret[LLMD_SECRET_BYTES])
{
  struct file file;
  int code;
  memset(secret, 0, LLMD_SECRET_BYTES);
  if (!j->secret_path)
    return 0;
  code = file_read(j->secret_path, LLMD_SECRET_BYTES, &file);
  if (code)
    return code;
  if (file.len == LLMD_SECRET_BYTES)
    memcpy(secret, file.text, LLMD_SECRET_BYTES);
  else
    code = shell_refuse(j->command, "%s: %u bytes are needed", j->secret_path, LLMD_SECRET_BYTES);
  free(file.text);
  return code;
}

static void digest_of(llmd_key key, llmd_digest *out)
{
  memset(out, 0, sizeof *out);
  for (int i = 0; i < 8; i++) {
    out->bytes[i] = (uint8_t)(key.hi >> (56 - 8 * i));
    out->bytes[8 + i] = (uint8_t)(key.lo >> (56 - 8 * i));
  }
  out->len = 16;
  out->name = key.lo;
}

static llmd_key key_of(const uint8_t digest[16])
{
  llmd_key k = {0, 0};
  for (int i = 0; i < 8; i++) {
    k.hi = k.hi << 8 | digest[i];
    k.lo = k.lo << 8 | digest[8 + i];
  }
  return k;
}

/* One block; the media that touch it are its extras. */
static int extend(const struct job *j, const uint8_t *secret, llmd_chain *chain, uint32_t i, llmd_digest *out)
{
  const int64_t size = j->in.block_tokens, start = i * size;
  llmd_extra extra[64];
  llmd_key key;
  size_t n = 0;
  int rc;
  for (size_t k = 0; k < j->in.n_parts; k++) {
    const llmd_hash_part *p = &j->part[k];
    if (p->offset >= start + size || p->offset + p->length <= start)
      continue;
    if (n == sizeof extra / sizeof extra[0])
      return LLMD_E_LIMIT;
    extra[n].block = 0;
    extra[n].reserved = 0;
    extra[n++].text = p->id;
  }
  rc = llmd_chain_extend(chain, secret, j->tokens + start, (size_t)size, extra, n, &key, 1);
  digest_of(key, out);
  return rc;
}

static int hash_native(struct job *j)
{
  const llmd_chain_root root = {sizeof root, j->in.block_tokens, j->in.model, j->in.lora, j->in.salt, j->tenant, {0}};
  uint8_t secret[LLMD_SECRET_BYTES];
  llmd_chain chain;
  int rc, code = read_secret(j, secret);
  if (code)
    return code;
  rc = llmd_chain_begin(&chain, secret, &root);
  if (j->in.parent_len && j->in.parent_len != 16)
    rc = LLMD_E_INVALID;
  if (rc)
    return shell_refuse(j->command, "%s", llmd_strerror(rc));
  digest_of(chain.parent, &j->root);
  j->has_root = 1;
  if (j->in.parent_len)
    chain.parent = key_of(j->parent);
  for (uint32_t i = 0; i < j->in.n_tokens / j->in.block_tokens; i++, j->n++) {
    rc = extend(j, secret, &chain, i, &j->out[i]);
    if (rc < 0)
      return shell_refuse(j->command, "block %u: %s", i, llmd_strerror(rc));
  }
  return 0;
}

static int refuse(const struct job *j, int rc)
{
  const char *name = llmd_hash_name(j->in.scheme);
  if (rc == LLMD_E_UNSUPPORTED && !j->has_root && j->in.scheme <= LLMD_HASH_VLLM_XXHASH_CBOR)
    return shell_refuse(j->command, "%s without --seed: the engine draws one at random", name);
  if (rc == LLMD_E_UNSUPPORTED)
    return shell_refuse(j->command, "%s: it is not known where adapter, salt or parts go", name);
  if (rc == LLMD_E_INVALID && j->in.parent_len)
    return shell_refuse(j->command, "%s: a digest of %u bytes is none of its own", name, j->in.parent_len);
  if (rc == LLMD_E_RANGE)
    return shell_refuse(j->command, "parts must come in the order of their offsets");
  return shell_refuse(j->command, "%s: %s", name, llmd_strerror(rc));
}

static int hash(struct job *j)
{
  int rc;
  j->out = malloc((j->in.n_tokens / j->in.block_tokens + 1) * sizeof *j->out);
  if (!j->out)
    return shell_refuse(j->command, "%s", llmd_strerror(LLMD_E_NOMEM));
  if (j->in.scheme == LLMD_HASH_NATIVE)
    return hash_native(j);
  j->in.parts = j->part;
  j->has_root = llmd_hash_root(&j->in, &j->root) == 0 && j->root.len > 0;
  rc = llmd_hash_blocks(&j->in, j->out, (uint32_t)(j->in.n_tokens / j->in.block_tokens + 1));
  if (rc < 0)
    return refuse(j, rc);
  j->n = rc;
  return 0;
}

/* ---- results ---- */

static const char *hex(const llmd_digest *d, char text[65])
{
  for (uint32_t i = 0; i < d->len; i++)
    (void)snprintf(text + 2 * i, 3, "%02x", d->bytes[i]);
  return text;
}

/* As the engine's events have it: SGLang's numbers are signed. */
static const char *name_of(const struct job *j, const llmd_digest *d, char text[24])
{
  if (j->in.scheme == LLMD_HASH_SGLANG)
    (void)snprintf(text, 24, "%" PRId64, (int64_t)d->name);
  else
    (void)snprintf(text, 24, "%" PRIu64, d->name);
  return text;
}

static void print_row(const struct job *j, const char *block, const llmd_digest *d)
{
  char digest[65], name[24];
  printf("%7s  %20s  %s\n", block, name_of(j, d, name), hex(d, digest));
}

static void print_table(const struct job *j)
{
  char block[16];
  printf("%s, %u tokens a block: %d blocks of %zu tokens\n\n", llmd_hash_name(j->in.scheme), j->in.block_tokens, j->n,
         j->in.n_tokens);
  printf("%7s  %20s  %s\n", "block", "name", "digest");
  if (j->has_root)
    print_row(j, "root", &j->root);
  for (int i = 0; i < j->n; i++) {
    (void)snprintf(block, sizeof block, "%d", i);
    print_row(j, block, &j->out[i]);
  }
}

/* {"digest": ..., "name": ...}; NULL when memory runs out. */
static cJSON *block_json(const struct job *j, const llmd_digest *d)
{
  char digest[65], name[24];
  cJSON *o = cJSON_CreateObject();
  if (o && cJSON_AddStringToObject(o, "digest", hex(d, digest)) &&
      cJSON_AddRawToObject(o, "name", name_of(j, d, name)) &&
      (j->in.scheme != LLMD_HASH_DYNAMO || json_add_u64(o, "local", d->local) == 0))
    return o;
  cJSON_Delete(o);
  return NULL;
}

static int print_json(const struct job *j)
{
  cJSON *root = cJSON_CreateObject(), *list = NULL;
  int ok = root && cJSON_AddStringToObject(root, "scheme", llmd_hash_name(j->in.scheme)) &&
           cJSON_AddNumberToObject(root, "block_tokens", j->in.block_tokens) &&
           json_add_u64(root, "tokens", j->in.n_tokens) == 0;
  if (ok)
    ok = cJSON_AddItemToObject(root, "root", j->has_root ? block_json(j, &j->root) : cJSON_CreateNull());
  if (ok)
    list = cJSON_AddArrayToObject(root, "blocks");
  for (int i = 0; list && i < j->n; i++)
    if (!cJSON_AddItemToArray(list, block_json(j, &j->out[i])))
      list = NULL;
  if (list && json_print(stdout, root) == 0)
    return 0;
  if (!list)
    cJSON_Delete(root);
  return shell_refuse(j->command, "%s", llmd_strerror(LLMD_E_NOMEM));
}

/* ---- the command ---- */

enum { SCHEME = 256, BLOCK, MODEL, LORA, LORA_PATH, SALT, SEED, MEDIA, EMBEDS, EXTRAS, PARENT, TENANT, SECRET, JSON };

static int set_block(struct job *j, const char *text)
{
  uint64_t n = 0;
  const int code = shell_count(j->command, "--block", text, 1, 8192, &n);
  j->in.block_tokens = (uint32_t)n;
  return code;
}

static int set(struct job *j, int option, const char *value)
{
  switch (option) {
  case SCHEME: return set_scheme(j, value);
  case BLOCK: return set_block(j, value);
  case MEDIA: return add_part(j, "--media", value, LLMD_PART_MEDIA);
  case EMBEDS: return add_part(j, "--embeds", value, LLMD_PART_EMBEDS);
  case EXTRAS: return set_extras(j, value);
  case PARENT: return set_parent(j, value);
  case MODEL: j->in.model = str(value); break;
  case LORA: j->in.lora = str(value); break;
  case LORA_PATH: j->in.lora_path = str(value); break;
  case SALT: j->in.salt = str(value); break;
  case SEED: j->in.seed = str(value); j->in.has_seed = 1; break;
  case TENANT: j->tenant = str(value); break;
  case SECRET: j->secret_path = value; break;
  default: j->json = 1;
  }
  return 0;
}

static int parse(struct job *j, int argc, char **argv)
{
  static const struct option long_options[] = {
    {"scheme", 1, NULL, SCHEME}, {"block", 1, NULL, BLOCK}, {"model", 1, NULL, MODEL}, {"lora", 1, NULL, LORA},
    {"lora-path", 1, NULL, LORA_PATH}, {"salt", 1, NULL, SALT}, {"seed", 1, NULL, SEED}, {"media", 1, NULL, MEDIA},
    {"embeds", 1, NULL, EMBEDS}, {"extras", 1, NULL, EXTRAS}, {"parent", 1, NULL, PARENT},
    {"tenant", 1, NULL, TENANT}, {"secret", 1, NULL, SECRET}, {"json", 0, NULL, JSON}, {"help", 0, NULL, 'h'}, {0},
  };
  int option, code = 0;
  opterr = 0;
  while (code == 0 && (option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
    if (option == 'h')
      return -1;
    code = option >= SCHEME ? set(j, option, optarg) : shell_option(j->command, option, argv);
  }
  if (code == 0 && argc - optind != 1)
    return shell_usage(j->command, optind < argc ? "one list at a time" : "which tokens?");
  j->path = argv[optind];
  return code;
}

static int run(int argc, char **argv)
{
  struct job *j = calloc(1, sizeof *j);
  int code;
  if (!j)
    return shell_refuse(argv[0], "%s", llmd_strerror(LLMD_E_NOMEM));
  j->command = argv[0];
  j->in.size = sizeof j->in;
  j->in.scheme = LLMD_HASH_VLLM_SHA256;
  j->in.block_tokens = 16;
  code = parse(j, argc, argv);
  if (code == 0)
    code = ids_read(j->command, j->path, &j->tokens, &j->in.n_tokens);
  j->in.tokens = j->tokens;
  if (code == 0)
    code = hash(j);
  if (code == 0 && j->json)
    code = print_json(j);
  else if (code == 0)
    print_table(j);
  free(j->tokens);
  free(j->out);
  free(j);
  return code < 0 ? shell_help(&cmd_hash) : code;
}

const struct command cmd_hash = {
  .name = "hash", .summary = "what engines and indexes call the blocks of a prompt", .help = help, .run = run};
