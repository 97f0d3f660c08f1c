/* What tests of policies' files share: a folder of their own, a loop, and what was logged. Include after cmocka.h. */
#ifndef TESTS_UV_POLICY_FOLDER_H
#define TESTS_UV_POLICY_FOLDER_H

#include <stdio.h>
#include <string.h>
#include <uv.h>

static char folder[64], said[65536];
static uv_loop_t loop;

static void on_log(void *ud, int level, const char *component, const char *text, size_t len)
{
  size_t n = strlen(said);
  (void)ud;
  (void)level;
  (void)snprintf(said + n, sizeof said - n, "%s: %.*s\n", component, (int)len, text);
}

static const char *in_folder(const char *name)
{
  static char path[128];
  (void)snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

#endif
