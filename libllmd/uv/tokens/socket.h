/* The agent's unix socket: made so that only those it is for can speak to it, and found so that nobody else is taken
 * for the agent. */
#ifndef LLMD_UV_TOKENS_SOCKET_H
#define LLMD_UV_TOKENS_SOCKET_H

#include <llmd/error.h>
#include <llmd/types.h>

/* Which file a listener made, to remove no other one. */
typedef struct llmd__local_file {
  uint64_t device, number;
} llmd__local_file;

/* Listens at the path: mode 0600, with group 0660. A socket that is there and that nobody answers is replaced when it
 * is this user's. Returns the descriptor; LLMD_E_BUSY: somebody answers; LLMD_E_DENIED: not a socket, somebody else's,
 * or a folder in which anybody could replace it; LLMD_E_INVALID: the path is empty or too long. */
int llmd__local_listen(const char *path, int group, llmd__local_file *file, llmd_err *err);
/* Removes what llmd__local_listen made, if it is still there. */
void llmd__local_remove(const char *path, const llmd__local_file *file);

/* 1: the process at the other end is this user's or root's, or (group) of this process's group. */
int llmd__local_is_friend(int fd, int group);
/* 0: may be a path of a socket. */
int llmd__local_check(const char *path);

#endif
