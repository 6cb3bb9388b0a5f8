/* thread.h: what the last call of a thread met. */
#ifndef LEASEHOLD_THREAD_H
#define LEASEHOLD_THREAD_H

#include "leasehold.h"

enum { LEASEHOLD_TEXT = 4096 };

struct leasehold_met {
	leasehold_error facts;
	char text[3][LEASEHOLD_TEXT];
	size_t length[3];
};

/* Good as long as the thread is. */
struct leasehold_met *leasehold_met_here(void);

#endif
