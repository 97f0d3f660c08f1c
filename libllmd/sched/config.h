/* An EndpointPickerConfig after defaulting: plugin instances, profiles, and which of them plays which part. Immutable.
 */
#ifndef LLMD_SCHED_CONFIG_H
#define LLMD_SCHED_CONFIG_H

#include <llmd/log.h>
#include <llmd/plugin.h>
#include <llmd/types.h>

#include "base/alloc.h"
#include "plugin/params.h"
#include "plugin/registry.h"

typedef struct llmd__policy llmd__policy;
struct llmd__policy_source;

#define LLMD__INSTANCE_IMPLICIT 1u /* not in the file: added by defaulting */
typedef struct llmd__instance {
  const llmd_plugin *plugin;
  llmd__policy *policy; /* what a loader made of a text (policy.h); NULL = a C plugin */
  const char *name; /* unique */
  llmd__self self;
  uint32_t flags;
  uint32_t line; /* in the file; 0 for implicit ones */
} llmd__instance;

typedef struct llmd__use {
  uint32_t instance;
  uint32_t reserved;
  double weight; /* scorers */
} llmd__use;

typedef struct llmd__profile {
  const char *name;
  uint32_t n_filters, n_scorers;
  llmd__use *filter; /* in the order of the file */
  llmd__use *scorer;
  uint32_t picker; /* instance */
} llmd__profile;

typedef struct llmd__config {
  llmd_allocator alloc;
  uint32_t n_instances, n_profiles, n_producers;
  llmd__instance *instance;
  llmd__profile *profile;
  uint32_t *producer; /* instances with kind PRODUCER, each after those it reads from */
  uint32_t handler;   /* instance */
  uint32_t detector;  /* instance of the saturation detector */
  uint32_t flow;      /* gate flowControl */
  uint32_t implicit_profile; /* no schedulingProfiles in the file */
  void *blocks;       /* owned by config.c */
} llmd__config;

typedef struct llmd__config_options {
  uint32_t refuse_alpha;
  llmd_log_fn log; /* warnings: deprecated names, ignored sections */
  void *log_ud;
  const struct llmd__policy_source *policies; /* NULL = no loaders */
} llmd__config_options;

/* Reads text (len 0 = the reference's default policy). err has line, column and path. */
int llmd__config_load(const llmd_allocator *a, const llmd__registry *registry, const char *text, size_t len,
                      const llmd__config_options *options, llmd__config **out, llmd_err *err);
void llmd__config_free(llmd__config *c);
/* The effective configuration as YAML; inert and implicit instances are marked by comments. */
int llmd__config_write(const llmd__config *c, llmd_write_fn fn, void *ud);
/* A hash of the same without the comments: equal for a file and for what is written of it. */
uint64_t llmd__config_identity(const llmd__config *c);
/* Producer instance that a read means: the name in its FROM parameter, "@self", or `from`; "" = the pool's own metrics.
 */
const char *llmd__read_producer(const llmd__instance *in, const llmd_read *r);
const char *llmd__read_name(const llmd__instance *in, const llmd_read *r);

#endif
