/* A stranger's program: what it needs comes from the installed library alone. */
#include <llmd/llmd.h>

#include <stdio.h>
#include <string.h>

int main(void)
{
  if (llmd_version() != LLMD_VERSION || !llmd_strerror(LLMD_E_LIMIT)) {
    fprintf(stderr, "header and library differ\n");
    return 1;
  }
  printf("%s %s\n", llmd_version_text(), llmd_errname(LLMD_E_LIMIT));
  return strcmp(llmd_errname(LLMD_E_LIMIT), "LLMD_E_LIMIT") != 0;
}
