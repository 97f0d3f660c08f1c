/* Sockets by their text: "address:port", "[address]:port", "unix:PATH". */
#ifndef LLMD_UV_HTTP_SOCKET_H
#define LLMD_UV_HTTP_SOCKET_H

#include <llmd/error.h>
#include <sys/socket.h>

#define LLMD__SOCKET_TEXT 64 /* room for the longest address with its port, and NUL */

/* Binds and listens; the descriptor or LLMD_E_*, err filled. A unix path that nobody listens on is taken over. */
int llmd__socket_listen(const char *address, llmd_err *err);
/* The port that it is bound to, 0 = none. */
uint32_t llmd__socket_port(int fd);
/* Writes text with NUL, returns its length. */
size_t llmd__socket_text(const struct sockaddr *address, char text[LLMD__SOCKET_TEXT]);

#endif
