/* llmd/region.h: the one block of memory that a pool lives in.
 *
 *   ┌ header ┬ attributes ┬ strings ┬ endpoints ┬ column buffers ┬ lanes + rings ┬ ledger ┬ plugin state ┐
 *
 * Everything inside is addressed by offsets, so the same bytes may be mapped at different addresses by different
 * processes: heap memory for one process, any shared mapping for several. The caller maps and unmaps it; the library
 * never opens a file. Every part has a cap fixed here. The region carries the secret of the block keys: keep a file
 * that backs it at mode 0600. */
#ifndef LLMD_REGION_H
#define LLMD_REGION_H

#include <llmd/error.h>
#include <llmd/types.h>

LLMD_BEGIN

#define LLMD_SECRET_BYTES 192u

/* Caps; 0 = the default in brackets. More than the most counts as the most. */
typedef struct llmd_region_options {
  uint32_t size;
  uint32_t max_endpoints;  /* [1024] at most 16384 */
  uint32_t max_attributes; /* [64] at most 4096 */
  uint32_t max_labels;     /* [16] labels of one endpoint, at most 64 */
  uint32_t max_models;     /* [32] members of one set attribute (loaded adapters) of one endpoint, at most 4096 */
  uint32_t max_lanes;      /* [64] deciding threads, all processes together, at most 65536 */
  uint32_t max_tickets;    /* [16384] requests in flight, at most 16777216 */
  uint32_t ring_bytes;     /* [65536] per lane: what it saw and the writer has not applied yet */
  uint64_t string_bytes;   /* [8 MiB] names, labels, models: only ever added, never given back (docs/region.md) */
  uint64_t state_bytes;    /* [160 MiB] all state of plugins together */
  uint64_t prefix_bytes;   /* [64 MiB] of these for each prefix index */
  const uint8_t *secret;   /* LLMD_SECRET_BYTES random bytes, copied; NULL = derived from seed (tests, simulations) */
  uint64_t seed;
  uint64_t index_bytes;    /* [64 MiB] of state_bytes for the exact prefix index (prefix.h), once somebody asks for it */
} llmd_region_options;

/* Bytes a region with these options needs (NULL = defaults). Never fails. */
LLMD_API size_t llmd_region_size(const llmd_region_options *options);

/* Formats mem (aligned to 64 bytes) as an empty region. Whatever was there is lost. */
LLMD_API int llmd_region_format(void *mem, size_t len, const llmd_region_options *options);

/* Is this a region that this library can attach to? LLMD_E_MISMATCH names both versions in err. */
LLMD_API int llmd_region_check(const void *mem, size_t len, llmd_err *err);

LLMD_END
#endif
