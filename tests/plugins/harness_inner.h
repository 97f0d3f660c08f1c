/* What the files of the harness share. */
#ifndef TESTS_PLUGINS_HARNESS_INNER_H
#define TESTS_PLUGINS_HARNESS_INNER_H

#include "harness.h"

void bench_die(const char *format, ...);
/* The row of a parameter table, NULL = none. */
const llmd_param *bench_row(const llmd_param *table, const char *name, size_t len);
/* Stores the defaults of a table at base. */
void bench_presets(bench *b, const llmd_param *table, char *base);

#endif
