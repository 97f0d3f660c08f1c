/* Images, audio and video in a prompt: how many tokens they stand for, and a name for their bytes. */
#ifndef LLMD_MODEL_MEDIA_H
#define LLMD_MODEL_MEDIA_H

#include "model/prompt.h"

/* What headers say of a video; 0 = not said. */
typedef struct llmd__video {
  double seconds;
  uint32_t width, height;
} llmd__video;

/* "1280x720" into v; left alone when it is not that. */
void llmd__media_resolution(const char *text, size_t len, llmd__video *v);

/* Placeholder tokens by the reference's estimate, 1 .. LLMD__MEDIA_MOST: image width x height / 1024 (of PNG, GIF,
 * JPEG in base64, else 640 x 360); video twice that a second, 10 seconds; audio and files a token for each four
 * bytes. */
#define LLMD__MEDIA_MOST 1048576u
uint32_t llmd__media_tokens(const llmd__pieces *ps, const llmd__segment *s, const llmd__video *v);

/* A 128-bit name of the bytes as they stand in the body. Not secret and not proof against somebody who wants two
 * images to have one name: he would gain a wrong routing of his own request. The keys made from it are secret. */
void llmd__media_name(const llmd__pieces *ps, const llmd__segment *s, uint32_t name[4]);

#endif
