/* json.h: where cJSON comes in. Whatever of the shell and the simulator reads or prints JSON includes this.
 *
 * cJSON's numbers are doubles and its strings end at NUL; what may be neither goes in as text that is JSON already. */
#ifndef JSON_H
#define JSON_H

#include <stdint.h>
#include <stdio.h>

#include <cjson/cJSON.h>

#include <llmd/types.h>

/* Adds name: value. Returns 0, or LLMD_E_NOMEM. Nothing is added for a string with ptr NULL; bytes of it that are not
 * UTF-8 are replaced. */
int json_add_str(cJSON *object, const char *name, llmd_str value);
int json_add_i64(cJSON *object, const char *name, int64_t value);
int json_add_u64(cJSON *object, const char *name, uint64_t value);
int json_add_number(cJSON *object, const char *name, double value); /* null when not finite */

/* Prints root and a newline, and deletes it. NULL (memory ran out while it was built) or a failure: LLMD_E_NOMEM. */
int json_print(FILE *out, cJSON *root);

/* The text that an llmd_write_fn gave, in one piece. Start with zeros; free text. */
struct json_text {
  char *text; /* NUL-terminated; NULL when empty */
  size_t len;
  size_t room;
};
int json_collect(void *json_text, const char *ptr, size_t len); /* an llmd_write_fn */

#endif
