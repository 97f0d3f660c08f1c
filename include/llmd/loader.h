/* llmd/loader.h: the third door, for another language. A loader turns the text of a policy into what C plugins are: a
 * descriptor (llmd_plugin) and its self. From there on the core knows no difference: a policy stands in a profile beside
 * C plugins, is weighed, timed out, counted, explained and replayed as they are.
 *
 *    plugins:
 *    - type: lua                      ─► no plugin is called so: the core opens llmd-lua.so of loader_dir
 *      name: sticky
 *      parameters: {file: sticky.lua} ─► load(text) ─► descriptor ─► parameters stored in self ─► bind
 *
 * The object is named llmd-TYPE.so (TYPE of a-z and 0-9) and opened RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND, so that its
 * interpreter is its own also in a process that carries another version of it (without DEEPBIND under the sanitizers,
 * which refuse it). It exports one symbol, llmd_loader_module, and links nothing of the library.
 *
 * Every policy has the parameters `file` or `source` (exactly one), which the core reads before it calls load; they stand
 * in the descriptor's table as well, as STRING, so that they are described like the others. */
#ifndef LLMD_LOADER_H
#define LLMD_LOADER_H

#include <llmd/alloc.h>
#include <llmd/error.h>
#include <llmd/log.h>
#include <llmd/plugin.h>
#include <llmd/types.h>

LLMD_BEGIN

#define LLMD_LOADER_ABI 1u
#define LLMD_POLICY_BYTES 65536u /* the longest text of a policy */

/* What is to be loaded. Everything is borrowed for the call, but alloc. */
typedef struct llmd_program {
  uint32_t size;
  uint32_t flags;
  const llmd_allocator *alloc; /* lives as long as the policy */
  llmd_str name;   /* of the instance */
  llmd_str file;   /* as the configuration has it; ptr NULL: the text came as `source` */
  llmd_str path;   /* file to read when text.ptr is NULL; NUL-terminated */
  llmd_str text;   /* what to compile; ptr NULL: the loader reads the file at path. That must be regular, no link, of
                      root or the caller, writable by nobody else but the caller's effective group, and no longer than
                      LLMD_POLICY_BYTES */
  llmd_log_fn log; /* remarks about the text that are no errors; NULL = silent. Not after load */
  void *log_ud;
} llmd_program;

typedef struct llmd_loader {
  uint32_t size; /* sizeof(llmd_loader) where it was compiled */
  uint32_t abi;  /* LLMD_LOADER_ABI */
  const char *type; /* "lua" */
  const char *summary;
  /* Compiles. *policy belongs to the caller until unload. err: line and column of the text, path = its file. */
  int (*load)(const llmd_program *in, void **policy, llmd_err *err);
  /* The descriptor: type is the loader's, kind what the text has verbs for, aliases what the policy calls itself (may be
   * NULL). Lives as long as the policy. */
  const llmd_plugin *(*plugin)(const void *policy);
  /* The text that was compiled. Lives as long as the policy. */
  void (*text)(const void *policy, llmd_str *out);
  /* After the descriptor's parameters were stored in self and validated: self belongs to this policy now. Both live until
   * unload; self does not move. Once per policy. */
  int (*bind)(void *policy, void *self, llmd_err *err);
  void (*unload)(void *policy);
  /* Runs the examples that the text holds, on an object of its own; writes a line about each. Returns how many there
   * were, or LLMD_E_PLUGIN when one came out differently. May be NULL. */
  int (*examples)(const void *self, llmd_write_fn fn, void *ud, llmd_err *err);
  /* Runs text as if it stood in the policy's file, on a lane's object, under its limits; writes the values it returns.
   * For tools. May be NULL. */
  int (*eval)(const void *self, void *own, const char *text, size_t len, llmd_write_fn fn, void *ud, llmd_err *err);
} llmd_loader;

/* The one symbol of a loader's object. abi is the core's LLMD_LOADER_ABI. NULL = another version. */
typedef const llmd_loader *(*llmd_loader_fn)(uint32_t abi);

LLMD_END
#endif
