/* A cheap clock: the processor's time stamp counter, measured against the
 * monotonic clock as it is used. Where there is none that can be trusted, it
 * is the monotonic clock.
 *
 * Invariant: each reading lies within a millisecond or so of a point that was
 * measured, so it is off by less than a microsecond. It may be a little
 * behind a reading before that point: a difference can come out below zero. */
#ifndef POOL_SRC_TICKS_H
#define POOL_SRC_TICKS_H

#include <stdbool.h>

#include "util.h"

#ifdef __x86_64__
#include <cpuid.h>
#endif

#define POOL__TICKS_LEAST_NS 2000000u /* between two points */
#define POOL__TICKS_SHIFT 24

struct pool__ticks {
    uint64_t first_ns, first; /* where measuring began */
    uint64_t last_ns, last;   /* the newest point */
    uint64_t scale; /* nanoseconds of a tick << POOL__TICKS_SHIFT; 0: not yet */
    bool usable;
};

#ifdef __x86_64__
static inline uint64_t
pool__ticks_read(void)
{
    return __builtin_ia32_rdtsc();
}

/* Whether the counter runs evenly, whatever the processor does. */
static inline bool
pool__ticks_even(void)
{
    unsigned a, b, c, d = 0;

    return __get_cpuid(0x80000007, &a, &b, &c, &d) != 0 && (d & 1u << 8) != 0;
}
#else
static inline uint64_t
pool__ticks_read(void)
{
    return 0;
}

static inline bool
pool__ticks_even(void)
{
    return false;
}
#endif

/* Measure: the time by the monotonic clock. */
static inline uint64_t
pool__ticks_measure(struct pool__ticks *t)
{
    t->last_ns = pool__now_ns();
    if (!t->usable)
        return t->last_ns;
    t->last = pool__ticks_read();
    uint64_t ns = t->last_ns - t->first_ns, ticks = t->last - t->first;
    if (ns >= POOL__TICKS_LEAST_NS && ticks != 0 && ns >> 40 == 0)
        t->scale = (ns << POOL__TICKS_SHIFT) / ticks;
    return t->last_ns;
}

static inline void
pool__ticks_init(struct pool__ticks *t)
{
    *t = (struct pool__ticks){.usable = pool__ticks_even()};
    t->first_ns = pool__ticks_measure(t);
    t->first = t->last;
}

/* The time, monotonic, ns. */
static inline uint64_t
pool__ticks_now(struct pool__ticks *t)
{
    uint64_t passed = pool__ticks_read() - t->last;

    /* Far from the last point (a millisecond or so, where a reading costs
     * nothing), or before it: measure anew. */
    if (pool__unlikely(t->scale == 0 || passed >> 22 != 0))
        return pool__ticks_measure(t);
    return t->last_ns + (passed * t->scale >> POOL__TICKS_SHIFT);
}

#endif
