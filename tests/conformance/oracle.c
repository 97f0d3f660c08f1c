/* oracle CASES: decides situations and prints the decisions, one JSON object a line, in the shape of the reference's own
 * results (README.md). CASES is a file of one situation a line (.gz read through gzip), or - for stdin.
 *
 *    case ──► situation.c, endpoints.c, asking.c ──► llmd_decide, llmd_explain_json ──► answer.c ──► stdout
 *
 * Exit code: 0; 1 when a situation could not be built; 2 usage. */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"

/* "decisions": N more with other seeds, to count picks: how often each endpoint came first, and was among the picks. */
static int count_picks(const situation *s, uint32_t n, cJSON *out)
{
  static llmd_decision d;
  uint32_t first[SITUATION_ENDPOINTS] = {0}, any[SITUATION_ENDPOINTS] = {0};
  int a[SITUATION_ENDPOINTS];
  for (uint32_t seed = 1; seed <= n; seed++) {
    d.size = sizeof d;
    if (llmd_decide(s->lane, s->request, &s->now, seed, &d) || d.status != LLMD_ROUTED)
      return LLMD_E_STATE;
    for (uint32_t i = 0; i < d.profile[d.primary].n; i++) {
      int at = situation_index(s, d.target[d.profile[d.primary].first + i].id);
      first[at] += i == 0;
      any[at]++;
    }
  }
  for (uint32_t i = 0; i < s->n; i++)
    a[i] = (int)first[i];
  cJSON_AddItemToObject(out, "first", cJSON_CreateIntArray(a, (int)s->n));
  for (uint32_t i = 0; i < s->n; i++)
    a[i] = (int)any[i];
  cJSON_AddItemToObject(out, "any", cJSON_CreateIntArray(a, (int)s->n));
  return 0;
}

static cJSON *decide(const situation *s, uint64_t seed, const char **what)
{
  static llmd_decision d;
  const cJSON *more = cJSON_GetObjectItemCaseSensitive(s->json, "decisions");
  cJSON *out;
  int rc;
  d.size = sizeof d;
  rc = llmd_decide(s->lane, s->request, &s->now, seed, &d);
  *what = rc ? llmd_strerror(rc) : "llmd_explain_json";
  out = rc ? NULL : answer_decided(s, &d);
  if (out && cJSON_IsNumber(more) && count_picks(s, (uint32_t)more->valuedouble, out)) {
    *what = "decisions";
    cJSON_Delete(out);
    out = NULL;
  }
  return out;
}

static cJSON *run(const cJSON *json, const char **what)
{
  static situation s;
  llmd_err err = LLMD_ERR_INIT;
  const cJSON *id = cJSON_GetObjectItemCaseSensitive(json, "id");
  cJSON *out = NULL;
  int rc = situation_open(&s, json, &err, what);
  if (rc == 1)
    out = answer_refused(&err);
  else if (!rc)
    out = decide(&s, cJSON_IsNumber(id) ? (uint64_t)id->valuedouble + 1 : 1, what);
  else
    fprintf(stderr, "oracle: %s: %s\n", llmd_strerror(rc), err.text);
  situation_close(&s);
  if (out)
    cJSON_AddItemToObject(out, "id", cJSON_Duplicate(id, 1));
  return out;
}

static int run_line(const char *line, unsigned long number)
{
  cJSON *json = cJSON_Parse(line), *out = NULL;
  const char *what = "not JSON";
  char *text = NULL;
  if (json)
    out = run(json, &what);
  if (out)
    text = cJSON_PrintUnformatted(out);
  if (text)
    puts(text);
  else
    fprintf(stderr, "oracle: line %lu: %s\n", number, what);
  cJSON_free(text);
  cJSON_Delete(out);
  cJSON_Delete(json);
  return text ? 0 : 1;
}

static int run_all(FILE *in)
{
  char *line = NULL;
  size_t cap = 0;
  unsigned long number = 0;
  int bad = 0;
  while (getline(&line, &cap, in) > 0)
    bad |= run_line(line, ++number);
  free(line);
  return bad;
}

static int is_gzip(const char *path)
{
  size_t len = strlen(path);
  return len > 3 && !strcmp(path + len - 3, ".gz");
}

/* The name reaches gzip by the environment, so that no shell reads it. */
static FILE *open_gzip(const char *path)
{
  return setenv("LLMD_ORACLE_CASES", path, 1) ? NULL : popen("exec gzip -dc -- \"$LLMD_ORACLE_CASES\"", "r");
}

int main(int argc, char **argv)
{
  FILE *in;
  int gzip, bad;
  if (argc != 2 || !strcmp(argv[1], "--help")) {
    fprintf(argc == 2 ? stdout : stderr, "usage: oracle CASES.jsonl | CASES.jsonl.gz | -\n");
    return argc == 2 ? 0 : 2;
  }
  gzip = is_gzip(argv[1]);
  in = gzip ? open_gzip(argv[1]) : strcmp(argv[1], "-") ? fopen(argv[1], "r") : stdin;
  if (!in) {
    perror(argv[1]);
    return 1;
  }
  bad = run_all(in);
  if (gzip)
    bad |= pclose(in) != 0;
  return bad;
}
