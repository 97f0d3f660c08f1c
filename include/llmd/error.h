/* llmd/error.h: one table of codes; a caller-owned place for what a person should read. */
#ifndef LLMD_ERROR_H
#define LLMD_ERROR_H

#include <llmd/types.h>

LLMD_BEGIN

/* The table: name, value, text. Values are part of the ABI and are never reused. */
#define LLMD_ERROR_MAP(X)                                                       \
  X(NOMEM, -1, "out of memory")                                                 \
  X(INVALID, -2, "invalid argument")                                            \
  X(LIMIT, -3, "a limit was reached")                                           \
  X(SYNTAX, -4, "malformed input")                                              \
  X(UTF8, -5, "invalid UTF-8")                                                  \
  X(DEPTH, -6, "nested too deeply")                                             \
  X(TYPE, -7, "wrong type of value")                                            \
  X(RANGE, -8, "value out of range")                                            \
  X(UNKNOWN_FIELD, -9, "unknown field")                                         \
  X(DUPLICATE, -10, "duplicate name")                                           \
  X(MISSING, -11, "required value is missing")                                  \
  X(UNKNOWN_TYPE, -12, "unknown plugin type")                                   \
  X(UNKNOWN_REF, -13, "reference to something that is not there")               \
  X(UNSUPPORTED, -14, "known but not implemented")                              \
  X(MISMATCH, -15, "versions or layouts do not match")                          \
  X(FULL, -16, "table is full")                                                 \
  X(STALE, -17, "refers to something that no longer exists")                    \
  X(BUSY, -18, "in use, try again")                                             \
  X(STATE, -19, "call out of order")                                            \
  X(TRUNCATED, -20, "input ends too early")                                     \
  X(STOPPED, -21, "stopped by the caller")                                      \
  X(DENIED, -22, "not permitted")                                               \
  X(IO, -23, "input or output failed")                                          \
  X(PLUGIN, -24, "a plugin failed")                                             \
  X(NONE, -25, "nothing found")                                                 \
  X(TIMEOUT, -26, "took too long")                                              \
  X(CLOSED, -27, "the other side has closed")                                   \
  X(BYPASSED, -28, "left out for a while after failing too often")

#define LLMD_ERROR_ROW(name, value, text) LLMD_E_##name = value,
enum { LLMD_OK = 0, LLMD_ERROR_MAP(LLMD_ERROR_ROW) LLMD_E_LAST = -1000 };
#undef LLMD_ERROR_ROW

/* What went wrong in something a person wrote (configuration, pool file, policy). The caller owns it; set `size`
 * before the call. Written only when the call fails. All text is NUL-terminated and cut to fit.
 * line and column count from 1; 0 = not known. column counts bytes. */
typedef struct llmd_err {
  uint32_t size;
  int32_t code;
  uint32_t line;
  uint32_t column;
  char path[128]; /* where in the document: "schedulingProfiles[0].plugins[2].weight" */
  char text[256];
} llmd_err;

#define LLMD_ERR_INIT { sizeof(llmd_err), 0, 0, 0, {0}, {0} }

/* Text and name ("LLMD_E_LIMIT") of a code; never NULL, static, for any int. Any thread. */
LLMD_API const char *llmd_strerror(int code);
LLMD_API const char *llmd_errname(int code);

LLMD_END
#endif
