/* The budget of a turn, and in debug builds its measure: the CPU time that
 * this thread spends in the library, without what the program's code takes.
 *
 * While that runs the budget is put aside: it may use other pools, and wait. */
#include "budget.h"

#define PAUSES_MAX 16 /* one in the other; deeper ones change nothing */

_Thread_local uint64_t pool__budget_end = UINT64_MAX;

static _Thread_local struct {
    uint64_t end, used_ns;
} paused[PAUSES_MAX];
static _Thread_local unsigned pauses;
static _Thread_local uint64_t used_ns; /* before the last pause */

#ifdef POOL_DEBUG
static _Thread_local uint64_t cpu_begin; /* of what is measured */

static uint64_t
cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void
measure_begin(void)
{
    cpu_begin = cpu_ns();
}

static void
measure_end(void)
{
    used_ns += cpu_ns() - cpu_begin;
}
#else
static void
measure_begin(void)
{
}

static void
measure_end(void)
{
}
#endif

void
pool__budget_begin(uint64_t ns)
{
    pool__budget_end = pool__now_ns() + ns;
    used_ns = 0;
    measure_begin();
}

uint64_t
pool__budget_close(void)
{
    measure_end();
    pool__budget_end = UINT64_MAX;
    return used_ns;
}

void
pool__budget_pause(bool pause)
{
    if (pause && pauses < PAUSES_MAX) {
        if (pool__budget_limited())
            measure_end();
        paused[pauses].end = pool__budget_end;
        paused[pauses].used_ns = used_ns;
        pool__budget_end = UINT64_MAX;
    } else if (!pause && pauses <= PAUSES_MAX) {
        pool__budget_end = paused[pauses - 1].end;
        used_ns = paused[pauses - 1].used_ns;
        if (pool__budget_limited())
            measure_begin();
    }
    pauses += pause ? 1u : -1u;
}
