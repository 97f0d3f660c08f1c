#include "published.h"

#include <stdio.h>

#include <llmd/error.h>

int published_read(struct published *t, const char *path)
{
  char line[512];
  FILE *file = fopen(path, "r");
  int code = 0;
  t->n = 0;
  if (!file)
    return LLMD_E_IO;
  if (!fgets(line, sizeof line, file))
    code = LLMD_E_SYNTAX;
  while (code == 0 && t->n < PUBLISHED_MOST && fgets(line, sizeof line, file)) {
    struct published_row *r = &t->row[t->n++];
    if (sscanf(line, "%lf,%lf,%lf,%lf,%lf", &r->rate, &r->baseline_tok_s, &r->routed_tok_s, &r->baseline_ttft,
               &r->routed_ttft) != 5)
      code = LLMD_E_SYNTAX;
  }
  fclose(file);
  return code;
}

const struct published_row *published_at(const struct published *t, double rate)
{
  for (uint32_t i = 0; i < t->n; i++)
    if (t->row[i].rate == rate)
      return &t->row[i];
  return NULL;
}
