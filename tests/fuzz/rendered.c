/* What renderers answer, and what stands in frames of the tokens' socket. The first byte says what the rest is.
 * Whatever it is: nothing beyond it is read, and what is found is in order and lies in it. */
#include <stdlib.h>
#include <string.h>

#include "uv/tokens/answer.h"
#include "uv/tokens/wire.h"

#define MOST 1000u

static void must(int holds)
{
  if (!holds)
    abort();
}

static void check_name(llmd_str name, const char *text, size_t len)
{
  must(name.ptr >= text && name.len <= len && name.ptr + name.len <= text + len);
}

static void try_answer(const char *text, size_t len)
{
  llmd__rendered r = {0};
  uint64_t end = 0;
  int rc = llmd__rendered_read(&r, text, len, MOST);
  if (!rc) {
    must(r.n > 0 && r.n <= MOST);
    for (size_t i = 0; i < r.n_features; i++) {
      must(r.feature[i].offset >= end && r.feature[i].length > 0);
      end = r.feature[i].offset + r.feature[i].length;
      must(end <= r.n);
      check_name(r.feature[i].hash, text, len);
    }
  }
  llmd__rendered_free(&r);
}

static void try_frame(char *text, size_t len)
{
  static llmd_feature feature[LLMD__WIRE_FEATURES_MOST];
  llmd__wire_answer a;
  llmd_str path, body;
  if (!llmd__wire_read_question(text, len, &path, &body)) {
    check_name(path, text, len);
    check_name(body, text, len);
  }
  if (llmd__wire_read_answer(text, len, &a, feature))
    return;
  must(len == llmd__wire_answer_size(a.n, feature, a.n_features) - LLMD__WIRE_HEAD);
  for (size_t i = 0; i < a.n_features; i++)
    check_name(feature[i].hash, text, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  char *copy = size ? malloc(size) : NULL; /* exactly: reading beyond it is seen */
  if (!copy)
    return 0;
  memcpy(copy, data + 1, size - 1);
  if (data[0] & 1)
    try_answer(copy, size - 1);
  else
    try_frame(copy, size - 1);
  free(copy);
  return 0;
}
