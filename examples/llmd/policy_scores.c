/* What a decision came to, endpoint by endpoint, out of what llmd_explain_json says. */
#include <string.h>

#include "policy_tool.h"

#define ACROSS 4 /* scorers beside each other */

static void print_cell(const cJSON *value)
{
  if (cJSON_IsNumber(value))
    printf(" %12.3f", value->valuedouble);
  else
    printf(" %12s", "-");
}

/* 1, 2, ... of those picked; 0 = not picked. */
static int place_of(const cJSON *picked, const char *name)
{
  const cJSON *item;
  int place = 0;
  cJSON_ArrayForEach(item, picked) {
    place++;
    if (cJSON_IsString(item) && strcmp(item->valuestring, name) == 0)
      return place;
  }
  return 0;
}

static const char *who_dropped(const cJSON *profile, const char *name)
{
  const cJSON *filter;
  cJSON_ArrayForEach(filter, policy_list(profile, "filters"))
    if (place_of(policy_list(filter, "dropped"), name))
      return policy_text(filter, "name");
  return NULL;
}

static void print_row(const cJSON *profile, const char *name)
{
  const char *dropped = who_dropped(profile, name);
  const cJSON *scorer;
  int place = place_of(policy_list(profile, "picked"), name), n = 0;
  if (place)
    printf("%2d> %-24s", place, name);
  else
    printf("    %-24s", name);
  cJSON_ArrayForEach(scorer, policy_list(profile, "scorers"))
    if (n++ < ACROSS)
      print_cell(policy_list(policy_list(scorer, "scores"), name));
  print_cell(policy_list(policy_list(profile, "totals"), name));
  if (dropped)
    printf("  dropped by %s", dropped);
  putchar('\n');
}

static void print_profile(const cJSON *why, const cJSON *profile)
{
  const cJSON *endpoint, *scorer;
  int n = 0;
  if (cJSON_GetArraySize(policy_list(why, "profiles")) > 1)
    printf("profile %s: %s\n", policy_text(profile, "name"), policy_text(profile, "state"));
  printf("    %-24s", "endpoint");
  cJSON_ArrayForEach(scorer, policy_list(profile, "scorers"))
    if (n++ < ACROSS)
      printf(" %12.12s", policy_text(scorer, "name"));
  printf(" %12s\n", "total");
  cJSON_ArrayForEach(endpoint, policy_list(why, "endpoints"))
    print_row(profile, policy_text(endpoint, "name"));
}

void policy_print_scores(const cJSON *why)
{
  const cJSON *profile;
  cJSON_ArrayForEach(profile, policy_list(why, "profiles"))
    print_profile(why, profile);
}
