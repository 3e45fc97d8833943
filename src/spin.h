/* Looking for a while before sleeping: to be woken takes tens of microseconds,
 * what is looked for may come in one. Whoever looks gives up doing so while it
 * doesn't pay, and tries again now and then. */
#ifndef POOL_SRC_SPIN_H
#define POOL_SRC_SPIN_H

#include <stdbool.h>
#include <stdint.h>

#define POOL__SPIN_MISSES 4  /* in a row, and it doesn't pay */
#define POOL__SPIN_EACH 32   /* then it is tried once in so many sleeps */
#define POOL__SPIN_ROUNDS 16 /* looks between two readings of the clock */
#define POOL__LOOKS_A_TURN 16 /* that find something, and the loop runs too */

struct pool__spin {
    unsigned misses, sleeps;
};

static inline bool
pool__spin_pays(struct pool__spin *s)
{
    return s->misses < POOL__SPIN_MISSES || ++s->sleeps % POOL__SPIN_EACH == 0;
}

static inline void
pool__spin_note(struct pool__spin *s, bool found)
{
    if (found)
        s->misses = 0;
    else if (s->misses < POOL__SPIN_MISSES)
        s->misses++;
}

/* Tell the processor that this is a loop that waits. */
static inline void
pool__spin_pause(void)
{
#if defined __x86_64__ || defined __i386__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("yield");
#endif
}

#endif
