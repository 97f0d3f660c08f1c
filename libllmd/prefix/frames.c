/* Messages of a KV-event socket, as the frames they came in.
 *
 *                    live      topic  seq  payload
 *   replay, newer    ["" ...]  topic  seq  payload     end: topic "", seq all ones, payload ""
 *   replay, older    ["" ...]         seq  payload     end:           seq all ones, payload ""
 *
 * A replay's answer begins with an empty frame (a DEALER's view), or with the asker's identity and then the empty frame
 * (a ROUTER's). Four frames are either the newer form without identity or the older with one: an identity is never
 * empty. */
#include <llmd/events.h>

#include "prefix/scheme.h"

#define SEQ_BYTES 8u

/* The last two frames: seq, payload. */
static int take_tail(const llmd_str *frame, llmd_frames *out)
{
  if (frame[0].len != SEQ_BYTES)
    return LLMD_E_SYNTAX;
  out->seq = llmd__number_of((const uint8_t *)frame[0].ptr);
  out->end = out->seq == UINT64_MAX;
  out->payload = frame[1];
  return 0;
}

static int read_live(const llmd_str *frame, uint32_t n, llmd_frames *out)
{
  if (n != 3 || take_tail(frame + 1, out) || out->end)
    return LLMD_E_SYNTAX;
  out->has_topic = 1;
  out->topic = frame[0];
  return 0;
}

static int read_replay(const llmd_str *frame, uint32_t n, llmd_frames *out)
{
  if (n > 0 && frame[0].len) { /* who asked */
    frame++;
    n--;
  }
  if (n < 3 || n > 4 || frame[0].len)
    return LLMD_E_SYNTAX;
  if (n == 4) {
    out->has_topic = 1;
    out->topic = frame[1];
  }
  return take_tail(frame + n - 2, out);
}

int llmd_frames_read(uint32_t what, const llmd_str *frame, uint32_t n, llmd_frames *out)
{
  llmd_frames f = {.size = sizeof f};
  int rc;
  if ((!frame && n) || !out || out->size < sizeof *out || (what != LLMD_FRAMES_LIVE && what != LLMD_FRAMES_REPLAY))
    return LLMD_E_INVALID;
  rc = what == LLMD_FRAMES_LIVE ? read_live(frame, n, &f) : read_replay(frame, n, &f);
  if (rc == 0)
    *out = f;
  return rc;
}
