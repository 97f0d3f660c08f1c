/* A name server for tests, on the test's loop: one UDP port of 127.0.0.1 and the same one for TCP, answering from a
 * zone that the test may change at any time. */
#ifndef LLMD_TESTS_UV_SERVER_H
#define LLMD_TESTS_UV_SERVER_H

#include <stdint.h>
#include <uv.h>

enum { TYPE_A = 1, TYPE_CNAME = 5, TYPE_AAAA = 28, TYPE_SRV = 33 };

typedef struct record {
  const char *name;
  unsigned type, ttl;
  const char *data; /* an address; a name; "host:port" */
} record;

/* How it behaves. */
enum {
  HONEST,
  NO_SUCH_NAME,   /* NXDOMAIN for everything */
  FAILING,        /* SERVFAIL for everything */
  SILENT,
  TRUNCATED,      /* over UDP: empty and cut; over TCP honest */
  CUT_FOR_GOOD,   /* over UDP: cut; over TCP it hangs up */
  OTHER_ID,       /* lies: answers to a question with another number */
  OTHER_QUESTION, /* lies: answers something that was not asked */
  GARBAGE,        /* the head of an answer, then noise */
};

typedef struct name_server {
  uv_udp_t udp;
  uv_tcp_t tcp;
  unsigned port, behaviour;
  const record *zone;
  unsigned n;
  unsigned questions, over_tcp;
  unsigned silent_type; /* questions of this type get SERVFAIL; 0 = none */
  unsigned handles;
  char room[65536];
} name_server;

void server_start(name_server *s, uv_loop_t *loop);
void server_stop(name_server *s);

#endif
