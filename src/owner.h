/* Whose a pool is: cheap answers to "which process" and "which thread". */
#ifndef POOL_SRC_OWNER_H
#define POOL_SRC_OWNER_H

#include <stdint.h>

/* A word that a fork wipes, so that a child sees 0; NULL until the first
 * pool__owner_claim of this process or an ancestor. */
extern uint64_t *pool__owner_word __attribute__((visibility("hidden")));

/* Give this process a stamp if it has none; 0 or POOL_ENOMEM. */
int pool__owner_claim(void);

/* The stamp of this process: not that of an ancestor or a child. */
static inline uint64_t
pool__owner_stamp(void)
{
    return __atomic_load_n(pool__owner_word, __ATOMIC_RELAXED);
}

/* Its place is known when the library is loaded: no call to find it. */
extern _Thread_local char pool__thread_mark
    __attribute__((tls_model("initial-exec")));

/* An address that only this thread has. */
static inline const void *
pool__thread(void)
{
    return &pool__thread_mark;
}

#endif
