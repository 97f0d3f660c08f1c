/* The steps of loading a configuration, shared by config.c, config_load.c and config_default.c. */
#ifndef LLMD_SCHED_CONFIG_LOAD_H
#define LLMD_SCHED_CONFIG_LOAD_H

#include "base/tree.h"
#include "sched/config.h"

typedef struct llmd__loader {
  llmd__config *c;
  const llmd__node *root;
  const llmd__registry *registry;
  const llmd__config_options *options;
  llmd_err *err;
  int rc;                    /* why llmd__config_add failed */
  uint32_t cap;              /* instances that fit */
  uint32_t n_file;           /* instances of the file: those before are the file's, those after were added */
  const llmd__node *profiles; /* schedulingProfiles, or NULL */
  const llmd__node **node;   /* [cap] where an instance of the file stands */
  const llmd__node **params; /* [cap] parameters node of an instance, or NULL */
  const llmd__node **uses;   /* [profiles] its plugins list */
  llmd_str detector;         /* reference to the saturation detector */
  const llmd__node *detector_at;
} llmd__loader;

void *llmd__config_room(llmd__loader *l, size_t bytes);
const char *llmd__config_text(llmd__loader *l, const char *ptr, size_t len);
void llmd__config_warn(const llmd__loader *l, const llmd__node *at, const char *fmt, ...) LLMD__PRINTF(3, 4);

/* config_load.c: what the file says */
int llmd__config_list_plugins(llmd__loader *l);
int llmd__config_check_sections(llmd__loader *l);
int llmd__config_list_profiles(llmd__loader *l);
int llmd__config_load_selves(llmd__loader *l);
int llmd__config_build_profiles(llmd__loader *l);
uint32_t llmd__config_find(const llmd__loader *l, const char *name, size_t len);
/* config_default.c: what the reference adds */
int llmd__config_add_defaults(llmd__loader *l);
int llmd__config_order_producers(llmd__loader *l);
/* An instance that the file does not have; LLMD_NO_INDEX on failure (err and rc are filled). */
uint32_t llmd__config_add(llmd__loader *l, const char *type);
int llmd__config_load_self(llmd__loader *l, uint32_t instance);

#endif
