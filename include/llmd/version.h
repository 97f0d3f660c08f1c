/* llmd/version.h: which libllmd this is. 0.x may break between minor versions; the soname tells. */
#ifndef LLMD_VERSION_H
#define LLMD_VERSION_H

#include <llmd/types.h>

#define LLMD_VERSION_MAJOR 0
#define LLMD_VERSION_MINOR 1
#define LLMD_VERSION_PATCH 0
#define LLMD_VERSION ((LLMD_VERSION_MAJOR << 16) | (LLMD_VERSION_MINOR << 8) | LLMD_VERSION_PATCH)

LLMD_BEGIN

/* The version of the library that is running (compare with LLMD_VERSION), and the same as text. Any thread. */
LLMD_API uint32_t llmd_version(void);
LLMD_API const char *llmd_version_text(void);

LLMD_END
#endif
