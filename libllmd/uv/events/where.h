/* Where an engine speaks: what it says itself (GET /kv_event_sources), or what the service says of engines that do not.
 *
 *   {"0": {"endpoint": "tcp://[::]:5557", "replay_endpoint": "tcp://[::]:5558", "topic": "kv@10.0.0.7@m", ...}, ...}
 *
 * Nothing in an answer names a host: of its addresses only the ports count, and whether the engine waits to be connected
 * to ("*", "::") or connects out itself (anything else). */
#ifndef LLMD_UV_EVENTS_WHERE_H
#define LLMD_UV_EVENTS_WHERE_H

#include <llmd/types.h>

#define LLMD__WHERE_ASK 0u     /* not known yet */
#define LLMD__WHERE_SILENT 1u  /* it says that it tells nothing, or nothing that can be heard */
#define LLMD__WHERE_LISTENS 2u /* we connect to it */
#define LLMD__WHERE_SPEAKS 3u  /* it connects to us, and its topic says who it is */

#define LLMD__TOPIC_ROOM 256u

typedef struct llmd__where {
  uint32_t kind;        /* LLMD__WHERE_* */
  uint32_t told;        /* 1: by the engine; 0: guessed */
  uint32_t port;        /* LISTENS */
  uint32_t replay_port; /* 0 = none */
  uint32_t topic_len;
  char topic[LLMD__TOPIC_ROOM]; /* told: what its topic is, "" = any */
} llmd__where;

/* Reads an answer for the engine of that rank. LLMD_E_NONE: it is an answer, but has no such rank. Else an error: not
 * an answer to this question. */
int llmd__where_read(const char *json, size_t len, uint32_t rank, llmd__where *out);

/* tcp:// address of a numeric host (IPv6 without brackets). LLMD_E_INVALID: not numeric. */
#define LLMD__ADDRESS_ROOM 80u
int llmd__where_spell(const char *host, uint32_t port, char out[LLMD__ADDRESS_ROOM]);

#endif
