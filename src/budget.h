/* How long the library may go on before it returns to a host's loop. */
#ifndef POOL_SRC_BUDGET_H
#define POOL_SRC_BUDGET_H

#include <stdbool.h>

#include "util.h"

/* Until when this thread's work for a pool must end, monotonic; UINT64_MAX:
 * no limit, so that no clock is read. Set by the drive around each turn. */
extern _Thread_local uint64_t pool__budget_end;

/* A turn of at most NS ns begins, and ends: how much CPU time it took, 0 but
 * in debug builds. */
void pool__budget_begin(uint64_t ns);
uint64_t pool__budget_close(void);
/* Code of the program begins (true) or ends: its time is its own. */
void pool__budget_pause(bool pause);

static inline bool
pool__budget_limited(void)
{
    return pool__budget_end != UINT64_MAX;
}

/* What is left must wait for the next turn: a readable descriptor is told
 * again, a timer is started anew. */
static inline bool
pool__budget_over(void)
{
    return pool__budget_limited() && pool__now_ns() >= pool__budget_end;
}

#endif
