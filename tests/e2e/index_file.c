/* index_file KIND PATH: an exact index as a file. KIND: index (by itself), region (a pool's), empty (a region without).
 * Endpoint 1 has the first 3 blocks (of 16 ids) of 1, 2, 3, ... 80, the last of them on CPU; endpoint 2 has the first.
 */
#include <llmd/llmd.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *what, int rc)
{
  fprintf(stderr, "%s: %s\n", what, llmd_strerror(rc));
  return 1;
}

static int tell(llmd_index *index, llmd_endpoint_id first, llmd_endpoint_id second)
{
  llmd_chain_root root = {.size = sizeof root, .block_tokens = 16};
  llmd_index_row row = {.size = sizeof row, .flags = LLMD_INDEX_FED, .block_tokens = 16};
  uint64_t name[3] = {11, 12, 13};
  uint32_t id[48];
  llmd_key key[3];
  llmd_chain chain;
  llmd_block last;
  int rc;
  for (uint32_t i = 0; i < 48; i++)
    id[i] = i + 1;
  rc = llmd_chain_begin(&chain, llmd_index_secret(index), &root);
  rc = rc ? rc : llmd_chain_extend(&chain, llmd_index_secret(index), id, 48, NULL, 0, key, 3);
  rc = rc < 0 ? rc : llmd_index_store(index, first, LLMD_TIER_GPU, NULL, key, name, 2, &last);
  rc = rc < 0 ? rc : llmd_index_store(index, first, LLMD_TIER_CPU, &last, key + 2, name + 2, 1, NULL);
  rc = rc < 0 ? rc : llmd_index_store(index, second, LLMD_TIER_GPU, NULL, key, name, 1, NULL);
  rc = rc < 0 ? rc : llmd_index_describe(index, first, &row);
  return rc < 0 ? rc : llmd_index_describe(index, second, &row);
}

static int save(const char *path, const void *mem, size_t len)
{
  FILE *f = fopen(path, "wb");
  int ok = f && fwrite(mem, 1, len, f) == len;
  if (f && fclose(f))
    ok = 0;
  return ok ? 0 : LLMD_E_STOPPED;
}

static int make_index(const char *path)
{
  llmd_index_options o = {.size = sizeof o, .rows = 8, .bytes = 1 << 20, .seed = 5};
  size_t len = llmd_index_size(&o);
  void *mem = aligned_alloc(64, (len + 63) & ~(size_t)63);
  llmd_index *index = NULL;
  int rc = mem ? llmd_index_format(mem, len, &o) : LLMD_E_NOMEM;
  rc = rc ? rc : llmd_index_open(mem, len, NULL, &index, NULL);
  rc = rc ? rc : tell(index, UINT64_C(7) << 32 | 1, UINT64_C(7) << 32 | 2);
  llmd_index_close(index);
  rc = rc ? rc : save(path, mem, len);
  free(mem);
  return rc;
}

static int make_region(const char *path, int empty)
{
  llmd_region_options o = {.size = sizeof o, .max_endpoints = 8, .max_lanes = 4, .max_tickets = 16,
                           .string_bytes = 65536, .state_bytes = 2 << 20, .index_bytes = 1 << 20, .seed = 5};
  llmd_pool_options po = {.size = sizeof po, .flags = LLMD_POOL_WRITER};
  size_t len = llmd_region_size(&o);
  llmd_endpoint_id id[3];
  llmd_index *index;
  llmd_pool *pool = NULL;
  int rc;
  po.mem = aligned_alloc(64, (len + 63) & ~(size_t)63);
  po.mem_len = len;
  rc = po.mem ? llmd_region_format(po.mem, len, &o) : LLMD_E_NOMEM;
  rc = rc ? rc : llmd_pool_open(&po, &pool, NULL);
  for (uint32_t i = 0; i < 3 && !rc; i++) {
    llmd_endpoint e = {.size = sizeof e, .address = {"10.0.0.1", 8}, .port = 8000 + i};
    rc = llmd_pool_add(pool, &e, &id[i]);
  }
  rc = rc || empty ? rc : llmd_pool_index(pool, &index);
  rc = rc || empty ? rc : tell(index, id[1], id[2]);
  llmd_pool_close(pool);
  rc = rc ? rc : save(path, po.mem, len);
  free(po.mem);
  return rc;
}

int main(int argc, char **argv)
{
  int rc;
  if (argc != 3)
    return fail("index_file KIND PATH", LLMD_E_INVALID);
  rc = strcmp(argv[1], "index") ? make_region(argv[2], !strcmp(argv[1], "empty")) : make_index(argv[2]);
  return rc < 0 ? fail(argv[2], rc) : 0;
}
