/* The budget of a turn, and in debug builds its measure: the CPU time that
 * this thread spends in the library, without what callbacks of the program
 * take. */
#include "budget.h"

_Thread_local uint64_t pool__budget_end = UINT64_MAX;

#ifdef POOL_DEBUG
static _Thread_local uint64_t cpu_begin; /* 0: no turn is measured */
static _Thread_local uint64_t cpu_program, cpu_paused;
static _Thread_local int pauses; /* one in the other */

static uint64_t
cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
#endif

void
pool__budget_begin(uint64_t ns)
{
    pool__budget_end = pool__now_ns() + ns;
#ifdef POOL_DEBUG
    cpu_program = 0;
    pauses = 0;
    cpu_begin = cpu_ns();
#endif
}

uint64_t
pool__budget_close(void)
{
    pool__budget_end = UINT64_MAX;
#ifdef POOL_DEBUG
    uint64_t used = cpu_ns() - cpu_begin - cpu_program;
    cpu_begin = 0;
    return used;
#else
    return 0;
#endif
}

void
pool__budget_pause(bool pause)
{
#ifdef POOL_DEBUG
    if (cpu_begin == 0)
        return;
    if (pause && pauses++ == 0)
        cpu_paused = cpu_ns();
    else if (!pause && --pauses == 0)
        cpu_program += cpu_ns() - cpu_paused;
#else
    (void)pause;
#endif
}
