/* Whole numbers in any of JSON's spellings. */
#ifndef LLMD_MODEL_INTEGRAL_H
#define LLMD_MODEL_INTEGRAL_H

#include <stddef.h>
#include <stdint.h>

/* text is a JSON number. 1 and *out when its value is a whole number (1e3, 100.0, -5); what int64 cannot hold becomes
 * its nearest limit and sets *saturated. 0 when it has a fraction. Exact: nothing goes through a double. */
int llmd__integral(const char *text, size_t len, int64_t *out, int *saturated);

#endif
