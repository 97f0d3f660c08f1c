/* Blocks hashed as asked, a line each: for hash_vectors.py.
 *
 *   scheme=vllm-sha256 block=16 tokens=1,2,3 seed=30 salt=...     texts and digests are hex
 *   part=KIND:OFFSET:LENGTH:NUMBER:ID                             any number of them
 *   step=1                                                        one block of just these tokens, also of none
 *
 * answers the root's digest and name, then digest:name:local of each block; or "error CODE". A root that cannot be
 * known is "-". */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <llmd/prefix.h>

#include "prefix/scheme.h"

#define PARTS 256u
#define TOKENS 65536u

struct line {
  llmd_hash_input in;
  llmd_hash_part part[PARTS];
  uint32_t token[TOKENS];
  llmd_digest out[TOKENS];
  char hex[1u << 20]; /* the texts, decoded */
  size_t used;
  int step;
};

static void fail(const char *what)
{
  fprintf(stderr, "hash_vectors: %s\n", what);
  exit(2);
}

static llmd_str unhex(struct line *l, const char *text)
{
  llmd_str out = {l->hex + l->used, strlen(text) / 2};
  if (out.len > sizeof l->hex - l->used)
    fail("too much text");
  for (size_t i = 0; i < out.len; i++) {
    const char pair[3] = {text[2 * i], text[2 * i + 1], 0};
    l->hex[l->used++] = (char)strtoul(pair, NULL, 16);
  }
  return out;
}

static void read_tokens(struct line *l, char *text)
{
  l->in.tokens = l->token;
  for (char *end = text; *text; text = *end ? end + 1 : end) {
    if (l->in.n_tokens == TOKENS)
      fail("too many tokens");
    l->token[l->in.n_tokens++] = (uint32_t)strtoul(text, &end, 10);
    if (end == text)
      fail("no token");
  }
}

static void read_part(struct line *l, const char *text)
{
  llmd_hash_part *p = &l->part[l->in.n_parts];
  int id = 0;
  if (l->in.n_parts == PARTS ||
      sscanf(text, "%" SCNu32 ":%" SCNd64 ":%" SCNu32 ":%" SCNu64 ":%n", &p->kind, &p->offset, &p->length, &p->number,
             &id) != 4 || !id)
    fail("no part");
  p->id = unhex(l, text + id);
  l->in.parts = l->part;
  l->in.n_parts++;
}

static void read_text(struct line *l, const char *name, const char *value)
{
  llmd_hash_input *in = &l->in;
  const struct { const char *name; llmd_str *text; } rows[] = {
    {"model", &in->model}, {"lora", &in->lora}, {"path", &in->lora_path}, {"salt", &in->salt}, {"seed", &in->seed},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    if (strcmp(name, rows[i].name) == 0) {
      *rows[i].text = unhex(l, value);
      in->has_seed |= strcmp(name, "seed") == 0;
      return;
    }
  fail(name);
}

static void read_field(struct line *l, const char *name, char *value)
{
  if (strcmp(name, "scheme") == 0)
    l->in.scheme = llmd_hash_by_name(value, strlen(value));
  else if (strcmp(name, "block") == 0)
    l->in.block_tokens = (uint32_t)strtoul(value, NULL, 10);
  else if (strcmp(name, "extras") == 0)
    l->in.extras = (uint32_t)strtoul(value, NULL, 10);
  else if (strcmp(name, "step") == 0)
    l->step = 1;
  else if (strcmp(name, "tokens") == 0)
    read_tokens(l, value);
  else if (strcmp(name, "part") == 0)
    read_part(l, value);
  else if (strcmp(name, "parent") == 0) {
    const llmd_str digest = unhex(l, value);
    l->in.parent = (const uint8_t *)digest.ptr;
    l->in.parent_len = (uint32_t)digest.len;
  } else
    read_text(l, name, value);
}

static int hash(struct line *l)
{
  const llmd__foreign_block b = {l->token, (uint32_t)l->in.n_tokens, 0, 0, NULL, 0};
  llmd_digest parent;
  if (!l->step)
    return llmd_hash_blocks(&l->in, l->out, TOKENS);
  memset(&parent, 0, sizeof parent);
  memcpy(parent.bytes, l->in.parent, l->in.parent_len);
  parent.len = l->in.parent_len;
  return llmd__scheme_of(l->in.scheme)->block(&l->in, &b, &parent, l->out) ? -1 : 1;
}

static void print_digest(const llmd_digest *d)
{
  for (uint32_t i = 0; i < d->len; i++)
    printf("%02x", d->bytes[i]);
  printf(":%" PRIu64 ":%" PRIu64, d->name, d->local);
}

static void answer(struct line *l)
{
  llmd_digest root;
  const int known = llmd_hash_root(&l->in, &root), n = hash(l);
  if (n < 0) {
    printf("error %s\n", llmd_errname(n));
    return;
  }
  if (known == 0)
    print_digest(&root);
  else
    putchar('-');
  for (int i = 0; i < n; i++) {
    putchar(' ');
    print_digest(&l->out[i]);
  }
  putchar('\n');
}

int main(void)
{
  struct line *l = calloc(1, sizeof *l);
  char *text = NULL;
  size_t room = 0;
  if (!l)
    fail("out of memory");
  while (getline(&text, &room, stdin) > 0) {
    char *save = NULL;
    memset(&l->in, 0, sizeof l->in);
    l->in.size = sizeof l->in;
    l->used = 0;
    l->step = 0;
    for (char *field = strtok_r(text, " \n", &save); field; field = strtok_r(NULL, " \n", &save)) {
      char *value = strchr(field, '=');
      if (!value)
        fail(field);
      *value = 0;
      read_field(l, field, value + 1);
    }
    answer(l);
  }
  free(text);
  free(l);
  return 0;
}
