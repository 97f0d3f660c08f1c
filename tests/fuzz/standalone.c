/* Runs a fuzz target without libFuzzer, so that the normal test run has it too and every compiler can build it.
 *
 *     TARGET [-n MUTATIONS] [-s SECONDS] FILE|FOLDER...
 *     TARGET -at NUMBER FILE|FOLDER...          one mutation again, after a failure named its number
 *
 * First every input as it is, then N mutations of them. Mutation k depends on k and the inputs alone, so a failure
 * comes back with -at k. SECONDS (20) is a bound for slow machines, not a goal. Each input lies in a block of exactly
 * its size: under a sanitizer or valgrind, one byte read past the end is seen. Prints TAP. */
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX 65536
#define INPUTS_MAX 512

struct input {
  char *name;
  uint8_t *data;
  size_t size;
};

static struct input inputs[INPUTS_MAX];
static size_t n_inputs;
static volatile sig_atomic_t current_mutation;

static void die(const char *what, const char *name)
{
  fprintf(stderr, "standalone: %s: %s\n", what, name);
  exit(2);
}

/* ==== inputs ==== */

static void load_file(const char *path)
{
  static uint8_t buf[INPUT_MAX];
  struct input *in = &inputs[n_inputs];
  FILE *f = fopen(path, "rb");
  if (!f || n_inputs == INPUTS_MAX)
    die(f ? "too many inputs" : "cannot read", path);
  in->size = fread(buf, 1, sizeof buf, f);
  fclose(f);
  in->name = strdup(path);
  in->data = malloc(in->size ? in->size : 1);
  if (!in->data || !in->name)
    die("out of memory", path);
  memcpy(in->data, buf, in->size);
  n_inputs++;
}

static int by_name(const void *a, const void *b)
{
  return strcmp(((const struct input *)a)->name, ((const struct input *)b)->name);
}

/* Sorted, because the order of a folder must not decide what a mutation is. */
static void load(const char *path)
{
  const size_t first = n_inputs;
  struct stat st;
  struct dirent *entry;
  DIR *folder;
  if (stat(path, &st) != 0)
    die("cannot read", path);
  if (!S_ISDIR(st.st_mode)) {
    load_file(path);
    return;
  }
  folder = opendir(path);
  if (!folder)
    die("cannot read", path);
  while ((entry = readdir(folder)) != NULL) {
    char name[4096];
    if (entry->d_name[0] == '.')
      continue;
    snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
    load_file(name);
  }
  closedir(folder);
  qsort(inputs + first, n_inputs - first, sizeof *inputs, by_name);
}

/* ==== mutations ==== */

static uint64_t random_state;

static uint64_t next_random(void)
{
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

static size_t below(size_t n)
{
  return n ? (size_t)(next_random() % n) : 0;
}

/* Replaces cut bytes at `at` by n bytes of text, as far as there is room. */
static size_t splice(uint8_t *buf, size_t size, size_t at, size_t cut, const void *text, size_t n)
{
  if (cut > size - at)
    cut = size - at;
  if (n > INPUT_MAX - (size - cut))
    n = INPUT_MAX - (size - cut);
  memmove(buf + at + n, buf + at + cut, size - at - cut);
  memcpy(buf + at, text, n);
  return size - cut + n;
}

static size_t mutate_once(uint8_t *buf, size_t size)
{
  static const char *const odd[] = {
      "\"", "\\", "{",  "}",  "[",  "]",  ",",   ":",   "=",     "\n",     "\r\n",         " ",
      "\t", "#",  "-",  "+",  "0",  "1e", ".",   "'",   "&a",    "*a",     "!t",           "|",
      "\0", "\\u", "<<", "---", "NaN", "+Inf", "\xff", "null", "true",  "1e999", "\xed\xa0\x80", "\\ud800",
      "18446744073709551616", "0.1e-330"};
  const size_t at = below(size + 1);
  uint8_t piece[64];
  const struct input *other;
  size_t from;
  switch (below(8)) {
  case 0: /* a bit */
    if (at < size)
      buf[at] ^= (uint8_t)(1u << below(8));
    return size;
  case 1: /* a byte */
    if (at < size)
      buf[at] = (uint8_t)next_random();
    return size;
  case 2: /* cut out */
    return splice(buf, size, at, 1 + below(below(8) ? 8 : size + 1), "", 0);
  case 3: /* cut off */
    return below(4) ? size : at;
  case 4: /* say again */
    from = below(sizeof piece) + 1;
    if (from > size - at)
      from = size - at;
    memcpy(piece, buf + at, from);
    return splice(buf, size, below(size + 1), 0, piece, from);
  case 5: /* a piece of another input */
    other = &inputs[below(n_inputs)];
    from = below(other->size);
    return splice(buf, size, at, below(16), other->data + from, below(other->size - from + 1));
  default: /* something a parser may stumble over */
    from = below(sizeof odd / sizeof *odd);
    return splice(buf, size, at, below(3), odd[from], strlen(odd[from]) + (*odd[from] == 0));
  }
}

static size_t mutate(uint8_t *buf, unsigned long number)
{
  const struct input *in;
  size_t size;
  random_state = (number + 1) * 0x9e3779b97f4a7c15u;
  next_random();
  in = &inputs[below(n_inputs)];
  size = in->size;
  memcpy(buf, in->data, size);
  for (size_t n = 1 + below(6); n; n--)
    size = mutate_once(buf, size);
  return size;
}

/* ==== running ==== */

static void run_copy(const uint8_t *data, size_t size)
{
  uint8_t *exact = malloc(size ? size : 1);
  if (!exact)
    die("out of memory", "input");
  memcpy(exact, data, size);
  LLVMFuzzerTestOneInput(exact, size);
  free(exact);
}

static void run_mutation(unsigned long number)
{
  static uint8_t buf[INPUT_MAX];
  const size_t size = mutate(buf, number);
  current_mutation = (sig_atomic_t)number;
  run_copy(buf, size);
}

/* Only calls that a handler may make. */
static void on_crash(int sig)
{
  char text[] = "not ok 2 - mutation           0\n";
  unsigned long n = (unsigned long)current_mutation;
  for (size_t i = sizeof text - 3; n; n /= 10)
    text[i--] = (char)('0' + n % 10);
  if (write(1, text, sizeof text - 1) < 0)
    _exit(3);
  signal(sig, SIG_DFL);
  raise(sig);
}

static unsigned long run_mutations(unsigned long count, double seconds)
{
  struct timespec start, now;
  unsigned long i = 0;
  clock_gettime(CLOCK_MONOTONIC, &start);
  for (; i < count; i++) {
    clock_gettime(CLOCK_MONOTONIC, &now);
    if ((double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) / 1e9 > seconds)
      break;
    run_mutation(i);
  }
  return i;
}

int main(int argc, char **argv)
{
  unsigned long count = 20000, at = 0, ran;
  double seconds = 20;
  int once = 0;
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "-n") == 0 && i + 1 < argc)
      count = strtoul(argv[++i], NULL, 10);
    else if (strcmp(argv[i], "-s") == 0 && i + 1 < argc)
      seconds = strtod(argv[++i], NULL);
    else if (strcmp(argv[i], "-at") == 0 && i + 1 < argc && (once = 1))
      at = strtoul(argv[++i], NULL, 10);
    else
      load(argv[i]);
  }
  if (n_inputs == 0)
    die("no inputs", "give files or folders");
  if (once) {
    run_mutation(at);
    return 0;
  }
  printf("1..2\n");
  for (size_t i = 0; i < n_inputs; i++) {
    printf("# %s\n", inputs[i].name);
    fflush(stdout);
    run_copy(inputs[i].data, inputs[i].size);
  }
  printf("ok 1 - %zu inputs\n", n_inputs);
  fflush(stdout);
  signal(SIGABRT, on_crash);
  signal(SIGSEGV, on_crash);
  ran = run_mutations(count, seconds);
  printf("ok 2 - %lu mutations\n", ran);
  return 0;
}
