#include "thread.h"

/* In the thread's own storage there is nothing to allocate, to lock or to free. */
static _Thread_local struct leasehold_met met;

__attribute__((visibility("hidden"))) struct leasehold_met *leasehold_met_here(void) { return &met; }
