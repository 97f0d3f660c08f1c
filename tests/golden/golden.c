/* Recorded decisions, decided again.
 *
 *     golden FOLDER            replays FOLDER/NAME.rec of every situation, and makes every situation anew; prints TAP
 *     golden --write FOLDER    makes the records (after a change of format, of a configuration or of a policy)
 *     golden --show NAME FOLDER   the explanation of one situation
 *     golden --lua ENGINES ...    the same with the situations of policies in Lua; ENGINES: the folder of llmd-lua.so
 *
 * Each build of the tests runs this program: other compilers and other levels must agree on every bit. */
#include "situation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_MAX 262144u

/* The situations that are asked for. */
static const situation *list = situations;
static unsigned n_list;

typedef struct bytes {
  size_t len;
  char data[RECORD_MAX];
} bytes;

static int to_bytes(void *ud, const char *ptr, size_t len)
{
  bytes *b = ud;
  if (len > sizeof b->data - b->len)
    return 1;
  memcpy(b->data + b->len, ptr, len);
  b->len += len;
  return 0;
}

static int to_stdout(void *ud, const char *ptr, size_t len)
{
  (void)ud;
  return fwrite(ptr, 1, len, stdout) != len;
}

static FILE *open_record(const char *folder, const situation *s, const char *mode)
{
  char path[4096];
  snprintf(path, sizeof path, "%s/%s.rec", folder, s->name);
  return fopen(path, mode);
}

static const char *read_record(const char *folder, const situation *s, bytes *out)
{
  FILE *f = open_record(folder, s, "rb");
  if (!f)
    return "there is no record";
  out->len = fread(out->data, 1, sizeof out->data, f);
  fclose(f);
  return out->len ? NULL : "the record is empty";
}

static int write_record(const char *folder, const situation *s, const bytes *b)
{
  FILE *f = open_record(folder, s, "wb");
  int rc = f && fwrite(b->data, 1, b->len, f) == b->len;
  if (f)
    rc &= !fclose(f);
  return rc ? 0 : 1;
}

/* ---- comparing -------------------------------------------------------------------------------------------------- */

static int same_targets(const llmd_decision *a, const llmd_decision *b)
{
  if (a->n_targets != b->n_targets || a->n_profiles != b->n_profiles || a->n_headers != b->n_headers)
    return 0;
  for (uint32_t i = 0; i < a->n_targets; i++) {
    const llmd_target *x = &a->target[i], *y = &b->target[i];
    if (x->id != y->id || x->profile != y->profile || x->port != y->port ||
        memcmp(&x->score, &y->score, sizeof x->score))
      return 0;
  }
  return 1;
}

static int same_decision(const llmd_decision *a, const llmd_decision *b)
{
  return a->status == b->status && a->reason == b->reason && a->code == b->code && a->ladder == b->ladder &&
         a->primary == b->primary && same_targets(a, b) && a->text_len == b->text_len &&
         !memcmp(a->text, b->text, a->text_len);
}

/* NULL = as it should be. */
static const char *check(rig *r, const situation *s, const char *folder)
{
  static bytes record, again;
  static llmd_decision live, replayed;
  const char *problem = read_record(folder, s, &record);
  int64_t rc;
  int same = 0;
  if (problem)
    return problem;
  if (rig_open(r, s, folder) || rig_decide(r, s))
    return "the situation cannot be made";
  live = r->decision;
  replayed.size = sizeof replayed;
  rc = llmd_replay(r->lane, record.data, record.len, &replayed, &same);
  if (rc < 0)
    return llmd_strerror((int)rc);
  if ((size_t)rc != record.len)
    return "the record has another length than its bytes";
  if (!same)
    return "the replay differs from the record";
  if (!same_decision(&live, &replayed))
    return "deciding anew differs from the record";
  again.len = 0;
  if (llmd_record_write(r->lane, to_bytes, &again) || again.len != record.len ||
      memcmp(again.data, record.data, again.len))
    return "the replayed decision records as other bytes";
  return NULL;
}

/* ---- modes ------------------------------------------------------------------------------------------------------ */

static int replay_all(const char *folder)
{
  int failed = 0;
  printf("1..%u\n", n_list);
  for (unsigned i = 0; i < n_list; i++) {
    rig r;
    const char *problem;
    memset(&r, 0, sizeof r);
    problem = check(&r, &list[i], folder);
    rig_close(&r);
    printf("%s %u - %s\n", problem ? "not ok" : "ok", i + 1, list[i].name);
    if (problem)
      printf("# %s\n", problem);
    failed |= problem != NULL;
  }
  return failed;
}

static int write_all(const char *folder)
{
  static bytes b;
  int failed = 0;
  for (unsigned i = 0; i < n_list; i++) {
    rig r;
    b.len = 0;
    memset(&r, 0, sizeof r);
    if (rig_open(&r, &list[i], folder) || rig_decide(&r, &list[i]) ||
        llmd_record_write(r.lane, to_bytes, &b) || write_record(folder, &list[i], &b)) {
      fprintf(stderr, "golden: %s cannot be recorded\n", list[i].name);
      failed = 1;
    }
    rig_close(&r);
  }
  return failed;
}

static int show(const char *name, const char *folder)
{
  for (unsigned i = 0; i < n_list; i++) {
    rig r;
    int rc;
    if (strcmp(list[i].name, name))
      continue;
    rc = rig_open(&r, &list[i], folder);
    if (!rc)
      rc = rig_decide(&r, &list[i]);
    if (!rc)
      rc = llmd_explain_table(r.lane, to_stdout, NULL);
    rig_close(&r);
    return rc != 0;
  }
  fprintf(stderr, "golden: no situation %s\n", name);
  return 2;
}

int main(int argc, char **argv)
{
  n_list = n_situations;
  if (argc > 2 && !strcmp(argv[1], "--lua")) {
    list = lua_situations;
    n_list = n_lua_situations;
    situation_loaders = argv[2];
    argc -= 2;
    argv += 2;
  }
  if (argc == 2)
    return replay_all(argv[1]);
  if (argc == 3 && !strcmp(argv[1], "--write"))
    return write_all(argv[2]);
  if (argc == 4 && !strcmp(argv[1], "--show"))
    return show(argv[2], argv[3]);
  fprintf(stderr, "usage: golden [--lua ENGINES] [--write | --show NAME] FOLDER\n");
  return 2;
}
