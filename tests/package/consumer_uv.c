/* A stranger's program that does I/O: a region in a file, attached to by its path. */
#include <llmd/uv.h>

#include <stdio.h>
#include <unistd.h>

int main(void)
{
  char path[64];
  llmd_share_options options = {.size = sizeof options, .flags = LLMD_SHARE_WRITER | LLMD_SHARE_CREATE, .path = path};
  llmd_region_options caps = {.size = sizeof caps, .max_endpoints = 8, .state_bytes = 1u << 20};
  llmd_share *writer = NULL, *reader = NULL;
  llmd_err err = LLMD_ERR_INIT;
  int wrong;
  (void)snprintf(path, sizeof path, "/tmp/llmd-package-%ld", (long)getpid());
  options.region = &caps;
  wrong = llmd_share_open(&options, &writer, &err);
  options.flags = 0;
  wrong = wrong ? wrong : llmd_share_open(&options, &reader, &err);
  if (wrong)
    fprintf(stderr, "%s: %s\n", llmd_errname(wrong), err.text);
  else
    wrong = !llmd_share_has_writer(reader) || llmd_pool_count(llmd_share_pool(reader)) != 0;
  llmd_share_close(reader);
  llmd_share_close(writer);
  (void)unlink(path);
  return wrong != 0;
}
