#include <llmd/version.h>

#define TEXT2(x) #x
#define TEXT(x) TEXT2(x)

uint32_t llmd_version(void)
{
  return LLMD_VERSION;
}

const char *llmd_version_text(void)
{
  return TEXT(LLMD_VERSION_MAJOR) "." TEXT(LLMD_VERSION_MINOR) "." TEXT(LLMD_VERSION_PATCH);
}
