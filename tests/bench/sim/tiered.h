/* tiered.h: llm-d's benchmark of tiered caches, decided by the exact index, beside what was published. */
#ifndef SIM_TIERED_H
#define SIM_TIERED_H

#include <stdint.h>

/* Prints medians of 1 to 16 seeds; lag: of metrics and events, seconds. Ends the program when a run fails. */
void tiered_check(uint32_t seeds, double lag, int json);

#endif
