/* A region from a stranger, or after a memory fault: a small one with something in every part is damaged, then looked
 * over as the shell does. The input is a list of damages of six bytes: an offset (three bytes), how
 * many bytes (one), and what they are xored with (two). With the first byte odd the head's sum is made right again. */
#include "../unit/sched/busy_region.h"

#include "base/region.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void *sound, *hurt;
static size_t len;

static void damage(const uint8_t *d)
{
  size_t at = ((size_t)d[0] | (size_t)d[1] << 8 | (size_t)d[2] << 16) % len, n = d[3] % 16 + 1;
  for (size_t i = 0; i < n && at + i < len; i++)
    ((uint8_t *)hurt)[at + i] ^= d[4 + i % 2];
}

/* As llmd_region_format makes it. */
static void sum_again(void)
{
  llmd__region *g = hurt;
  const unsigned char *p = hurt;
  uint64_t h = 0xcbf29ce484222325u;
  for (size_t i = offsetof(llmd__region, bytes); i < offsetof(llmd__region, sum); i++)
    h = (h ^ p[i]) * 0x100000001b3u;
  g->sum = h;
}

static int count(void *ud, uint64_t offset, const char *part, const char *text)
{
  if (offset > len || !*part || !*text)
    abort();
  return ++*(int *)ud >= 1000;
}

static void look(void)
{
  llmd_region_stats s = {.size = sizeof s};
  llmd_region_part p = {.size = sizeof p};
  llmd_region_lane l = {.size = sizeof l};
  llmd_region_state st = {.size = sizeof st};
  int told = 0, n = llmd_region_inspect(hurt, len, NULL, count, &told);
  if (n != told)
    abort();
  llmd_region_stats_get(hurt, len, &s, NULL);
  for (uint32_t i = 0; !llmd_region_part_at(hurt, len, i, &p); i++)
    if (p.offset + p.bytes > len)
      abort();
  for (uint32_t i = 0; !llmd_region_lane_at(hurt, len, i, &l); i++)
    ;
  for (uint32_t i = 0; i < 100; i++)
    llmd_region_state_at(hurt, len, i, &st);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  if (!sound) {
    sound = busy_region(&len);
    hurt = aligned_alloc(64, (len + 63) & ~(size_t)63);
    busy_must(hurt != NULL);
  }
  memcpy(hurt, sound, len);
  for (size_t i = 1; i + 6 <= size; i += 6)
    damage(data + i);
  if (size && data[0] & 1)
    sum_again();
  look();
  return 0;
}
