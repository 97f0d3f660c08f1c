/* A metrics page becomes an endpoint's columns. */
#include "model/columns.h"
#include "model/engine.h"
#include "model/scrape.h"
#include "model/strings.h"

static const llmd__engine_spec *engine_of(const llmd_pool *p, const llmd__row *row, const llmd__buffer_view *v)
{
  static const char *const keys[] = {LLMD_LABEL_ENGINE, "inference.networking.k8s.io/engine-type"};
  const uint32_t *pair = v->label + (size_t)row->slot * p->g->caps.labels * 2;
  const llmd__engine_spec *e = NULL;
  for (uint32_t k = 0; k < 2 && !e; k++) {
    uint32_t key = llmd__string_find(p->g, keys[k], k ? 39 : sizeof LLMD_LABEL_ENGINE - 1);
    for (uint32_t i = 0; key && i < row->n_labels; i++)
      if (pair[2 * i] == key) {
        llmd_str name = llmd__string_text(p->g, pair[2 * i + 1]);
        e = llmd__engine_find(name.ptr, name.len);
      }
  }
  return e ? e : llmd__engine_find("vllm", 4);
}

static int set_if_known(llmd_pool *p, llmd_endpoint_id id, uint32_t attribute, double v)
{
  return v == v && !llmd_pool_set(p, id, attribute, v);
}

static int set_names(llmd_pool *p, llmd_endpoint_id id, uint32_t attribute, const llmd__lora_names *names)
{
  uint32_t n = names->n < p->g->caps.models ? names->n : p->g->caps.models;
  return !llmd_pool_set_models(p, id, attribute, names->name, n);
}

int llmd_pool_scrape(llmd_pool *pool, llmd_endpoint_id id, const char *page, size_t len, uint64_t mono)
{
  llmd__buffer_view v;
  llmd__row *row = llmd__staging_row(pool, id, &v);
  llmd__scrape_result r;
  int n = 0;
  if (!pool->writer)
    return LLMD_E_DENIED;
  if (!row)
    return LLMD_E_STALE;
  if (llmd__scrape(engine_of(pool, row, &v), page, len, &r) <= 0 && !r.bad_sample)
    return 0;
  n += set_if_known(pool, id, LLMD_ATTR_WAITING, r.waiting);
  n += set_if_known(pool, id, LLMD_ATTR_RUNNING, r.running);
  n += set_if_known(pool, id, LLMD_ATTR_KV_USAGE, r.kv_usage);
  n += set_if_known(pool, id, LLMD_ATTR_BLOCK_SIZE, r.block_size);
  n += set_if_known(pool, id, LLMD_ATTR_NUM_BLOCKS, r.num_blocks);
  n += r.hash_algo.len && !llmd_pool_set_text(pool, id, LLMD_ATTR_HASH_ALGO, r.hash_algo.ptr, r.hash_algo.len);
  if (r.lora_found) {
    n += set_if_known(pool, id, LLMD_ATTR_MAX_MODELS, r.max_lora);
    n += set_names(pool, id, LLMD_ATTR_ACTIVE_MODELS, &r.running_lora);
    n += set_names(pool, id, LLMD_ATTR_WAITING_MODELS, &r.waiting_lora);
  }
  if (r.bad_sample) /* values that cannot be: the page is not trusted to be fresh either */
    atomic_fetch_add_explicit(&pool->g->samples_refused, r.values_refused, memory_order_relaxed);
  else if (n)
    llmd_pool_touch(pool, id, mono);
  return n;
}
