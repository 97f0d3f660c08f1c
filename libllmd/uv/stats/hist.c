/* The histograms: the reference's names and bounds, so that its dashboards fit. */
#include "uv/stats/area.h"

#define MS UINT64_C(1000000)
#define US UINT64_C(1000)
#define S UINT64_C(1000000000)

/* clang-format off */
static const uint64_t latency[] = {
  5 * MS, 25 * MS, 50 * MS, 100 * MS, 200 * MS, 400 * MS, 600 * MS, 800 * MS, S, 1250 * MS, 1500 * MS, 2 * S, 3 * S,
  4 * S, 5 * S, 6 * S, 8 * S, 10 * S, 15 * S, 20 * S, 30 * S, 45 * S, 60 * S, 120 * S, 180 * S, 240 * S, 300 * S,
  360 * S, 480 * S, 600 * S, 900 * S, 1200 * S, 1800 * S, 2700 * S, 3600 * S};
static const uint64_t request_bytes[] = {
  64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 262144, 524288, 1048576, 2097152, 4194304,
  8388608, 16777216, 33554432, 67108864, 134217728, 268435456, 536870912, 1073741824};
/* 32778 is the reference's own. */
static const uint64_t tokens[] = {
  1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32778, 65536, 131072, 262144, 524288, 1048576};
static const uint64_t per_token[] = {
  1 * MS, 2 * MS, 5 * MS, 10 * MS, 20 * MS, 50 * MS, 100 * MS, 200 * MS, 500 * MS, S, 2 * S, 5 * S, 10 * S};
static const uint64_t tpot[] = {
  500 * US, 2050 * US, 5 * MS, 10 * MS, 20 * MS, 40 * MS, 60 * MS, 80 * MS, 100 * MS, 125 * MS, 150 * MS, 200 * MS,
  300 * MS, 400 * MS, 500 * MS, 600 * MS, 800 * MS, S, 2 * S};
static const uint64_t itl[] = {
  1 * MS, 5 * MS, 10 * MS, 20 * MS, 40 * MS, 60 * MS, 80 * MS, 100 * MS, 150 * MS, 200 * MS, 300 * MS, 500 * MS,
  750 * MS, S, 2 * S};
/* The reference begins at 100 us, where nearly all of ours would be below; its bounds are all here. */
static const uint64_t decided[] = {
  10 * US, 100 * US, 200 * US, 500 * US, 1 * MS, 2 * MS, 5 * MS, 10 * MS, 20 * MS, 50 * MS, 100 * MS};
/* clang-format on */

#define N(bounds) (uint32_t)(sizeof(bounds) / sizeof *(bounds))
#define RESPONSE_BOUNDS 15u /* to 65536 */
#define OUTPUT_BOUNDS 12u   /* to 8192 */

const llmd__hist llmd__hists[LLMD__HISTS] = {
  [LLMD__HIST_DURATION] = {"llm_d_epp_request_duration_seconds", "From a request's first byte to its answer's last.",
                           NULL, latency, N(latency), S},
  [LLMD__HIST_REQUEST_BYTES] = {"llm_d_epp_request_size_bytes", "Bodies of requests.", NULL, request_bytes,
                                N(request_bytes), 1},
  [LLMD__HIST_RESPONSE_BYTES] = {"llm_d_epp_response_size_bytes", "Bodies of answers.", NULL, tokens, RESPONSE_BOUNDS,
                                 1},
  [LLMD__HIST_INPUT] = {"llm_d_epp_request_input_tokens", "Tokens of prompts, as engines counted them.", NULL, tokens,
                        N(tokens), 1},
  [LLMD__HIST_OUTPUT] = {"llm_d_epp_request_output_tokens", "Tokens of answers, as engines counted them.", NULL, tokens,
                         OUTPUT_BOUNDS, 1},
  [LLMD__HIST_CACHED] = {"llm_d_epp_request_cached_tokens", "Tokens of prompts that engines had in their caches.", NULL,
                         tokens, N(tokens), 1},
  [LLMD__HIST_NTPOT] = {"llm_d_epp_request_ntpot_seconds", "Duration over tokens of the answer.", NULL, per_token,
                        N(per_token), S},
  [LLMD__HIST_TTFT_WHOLE] = {"llm_d_epp_request_ttft_seconds", "From a request's first byte to its first token.",
                             "streaming=\"false\"", latency, N(latency), S},
  [LLMD__HIST_TTFT_STREAM] = {"llm_d_epp_request_ttft_seconds", NULL, "streaming=\"true\"", latency, N(latency), S},
  [LLMD__HIST_TPOT] = {"llm_d_epp_request_streaming_tpot_seconds",
                       "Of streams: time after the first token over the tokens after it.", NULL, tpot, N(tpot), S},
  [LLMD__HIST_ITL] = {"llm_d_epp_request_streaming_itl_seconds", "Of streams: time between two events.", NULL, itl,
                      N(itl), S},
};

const llmd__hist llmd__hist_decided = {"llm_d_epp_scheduler_e2e_duration_seconds", "Time that decisions took.", NULL,
                                       decided, N(decided), S};

void llmd__hist_observe(const llmd__hist *h, _Atomic uint64_t *cell, uint64_t v)
{
  uint32_t lo = 0, hi = h->n;
  while (lo < hi) {
    uint32_t mid = (lo + hi) / 2;
    if (h->bound[mid] < v)
      lo = mid + 1;
    else
      hi = mid;
  }
  atomic_fetch_add_explicit(&cell[lo], 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&cell[h->n + 1], v, memory_order_relaxed);
}
