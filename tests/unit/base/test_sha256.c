#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/sha256.h"

static void assert_hash(const llmd__sha256 *state, const char *hex)
{
  llmd__sha256 s = *state;
  uint8_t got[LLMD__SHA256_BYTES];
  char text[2 * sizeof got + 1];
  llmd__sha256_end(&s, got);
  for (size_t i = 0; i < sizeof got; i++) {
    text[2 * i] = "0123456789abcdef"[got[i] >> 4];
    text[2 * i + 1] = "0123456789abcdef"[got[i] & 15];
  }
  text[2 * sizeof got] = 0;
  assert_string_equal(text, hex);
}

/* NIST's examples for FIPS 180-4. */
static void examples_of_the_standard(void **state)
{
  static const struct { const char *text, *hash; } rows[] = {
    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
     "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    llmd__sha256 s;
    llmd__sha256_begin(&s);
    llmd__sha256_add(&s, rows[i].text, strlen(rows[i].text));
    assert_hash(&s, rows[i].hash);
  }
}

static void a_million_letters_in_uneven_pieces(void **state)
{
  char letters[997];
  llmd__sha256 s;
  (void)state;
  memset(letters, 'a', sizeof letters);
  llmd__sha256_begin(&s);
  for (size_t left = 1000000, piece = 1; left; left -= piece, piece = piece * 7 % sizeof letters) {
    piece = piece < left ? piece : left;
    llmd__sha256_add(&s, letters, piece);
  }
  assert_hash(&s, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* Every length around the padding's edges, in two pieces cut anywhere, is the hash of the whole. */
static void pieces_do_not_matter(void **state)
{
  uint8_t bytes[200];
  (void)state;
  for (size_t i = 0; i < sizeof bytes; i++)
    bytes[i] = (uint8_t)(i * 37 + 11);
  for (size_t len = 0; len <= sizeof bytes; len++) {
    llmd__sha256 whole;
    uint8_t expected[LLMD__SHA256_BYTES];
    llmd__sha256_begin(&whole);
    llmd__sha256_add(&whole, bytes, len);
    llmd__sha256_end(&whole, expected);
    for (size_t cut = 0; cut <= len; cut++) {
      llmd__sha256 s;
      uint8_t got[LLMD__SHA256_BYTES];
      llmd__sha256_begin(&s);
      llmd__sha256_add(&s, bytes, cut);
      llmd__sha256_add(&s, bytes + cut, len - cut);
      llmd__sha256_end(&s, got);
      assert_memory_equal(got, expected, sizeof got);
    }
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(examples_of_the_standard),
    cmocka_unit_test(a_million_letters_in_uneven_pieces),
    cmocka_unit_test(pieces_do_not_matter),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
