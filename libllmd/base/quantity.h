/* Amounts as people write them: Go durations and Kubernetes quantities. Text in, exact integers out, no locale.
 *
 * Both read the whole text or fail, and leave *out untouched when they fail. */
#ifndef LLMD_BASE_QUANTITY_H
#define LLMD_BASE_QUANTITY_H

#include <stddef.h>
#include <stdint.h>

/* A duration as Go's time.ParseDuration reads it, in nanoseconds: an optional sign, then one or more of number and
 * unit (ns, us, µs, ms, s, m, h) without spaces: "60s", "1m30s", "1.5h", "-2ms"; "0" needs no unit. Fractions of a
 * nanosecond are cut off. LLMD_E_SYNTAX: not a duration (a number without a unit too). LLMD_E_RANGE: beyond int64. */
int llmd__parse_duration(const char *p, size_t n, int64_t *out);

/* Room enough for any duration with its NUL. */
#define LLMD__DURATION_LEN 32

/* The shortest duration text that reads back as ns ("1m30s", "200ms", "0s"). Returns its length. */
size_t llmd__format_duration(int64_t ns, char out[LLMD__DURATION_LEN]);

/* A quantity as Kubernetes' resource.Quantity reads it, rounded away from zero to a whole number: an optional sign,
 * decimal digits with an optional fraction, then nothing, one of n u m k M G T P E (powers of 1000), one of
 * Ki Mi Gi Ti Pi Ei (powers of 1024), or a decimal exponent ("5e3"). "1G" = 1000000000, "1Gi" = 1073741824, "100m" = 1.
 * What is beyond int64 becomes its largest or smallest value, as there. LLMD_E_SYNTAX: not a quantity. */
int llmd__parse_quantity(const char *p, size_t n, int64_t *out);

#endif
