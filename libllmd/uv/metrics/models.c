#include "uv/metrics/models.h"

#include <stdlib.h>

#include "base/tree.h"

/* Nothing that a person could not have named a model: it goes into logs and answers. */
static int plain(const llmd_str *id)
{
  if (!id->len || id->len > LLMD__MODEL_BYTES)
    return 0;
  for (size_t i = 0; i < id->len; i++)
    if ((unsigned char)id->ptr[i] < ' ' || id->ptr[i] == 0x7f)
      return 0;
  return 1;
}

static uint32_t gather(const llmd__node *list, llmd_str *out)
{
  uint32_t n = 0;
  for (const llmd__node *c = list->first; c && n < LLMD__MODELS_MAX; c = c->next) {
    const llmd__node *id = c->kind == LLMD__MAP ? llmd__map_get(c, "id") : NULL;
    if (id && id->kind == LLMD__STR && plain(&id->text))
      out[n++] = id->text;
  }
  return n;
}

/* A set has room for fewer than some engines have: the first ones are kept. */
static int set(llmd_pool *pool, llmd_endpoint_id id, uint32_t attribute, const llmd_str *names, uint32_t n)
{
  int rc = llmd_pool_set_models(pool, id, attribute, names, n);
  while (rc == LLMD_E_LIMIT && n > 1) {
    n = n > 64 ? n / 2 : n - 1;
    rc = llmd_pool_set_models(pool, id, attribute, names, n);
  }
  return rc < 0 && rc != LLMD_E_FULL ? rc : (int)n;
}

int llmd__models_take(llmd_pool *pool, llmd_endpoint_id id, uint32_t attribute, const char *text, size_t len)
{
  const llmd__tree_limits limits = {LLMD__MODELS_BYTES, 20000, 24};
  const llmd__node *list = NULL;
  llmd__tree *tree = NULL;
  llmd_str *names;
  int rc = llmd__tree_parse(NULL, text, len, &limits, &tree, NULL);
  if (rc)
    return rc;
  names = malloc(LLMD__MODELS_MAX * sizeof *names);
  rc = names ? llmd__get_list(llmd__tree_root(tree), "data", &list, NULL) : LLMD_E_NOMEM;
  if (rc == 0)
    rc = LLMD_E_MISSING;
  if (rc > 0)
    rc = set(pool, id, attribute, names, gather(list, names));
  free(names);
  llmd__tree_free(tree);
  return rc;
}
