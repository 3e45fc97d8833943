/* Who may call, and the lock of a thread-driven pool. */
#ifndef POOL_SRC_GUARD_H
#define POOL_SRC_GUARD_H

#include "owner.h"
#include "task.h"
#include "util.h"

/* The two ends of every public function that looks at a pool or a future, but
 * for what pool__may_read allows.
 * enter: 0 with the lock held where there is one, or POOL_EFORKED or POOL_EPERM
 * with nothing held. leave: what the call has brought about is told (callbacks,
 * waiting threads, a deferred end), then the lock is given back; neither the
 * pool nor the core need be there afterwards. */
static inline int pool__enter(struct pool__core *core, const char *who);
static inline void pool__leave(struct pool__core *core);

/* Around code of the program: callbacks run with no lock held. */
void pool__unlock(struct pool__core *core);
void pool__lock(struct pool__core *core);

/* A thread that waits for done(data), which is asked under the lock. */
struct pool__waiter {
    struct pool__list node;
    bool (*done)(void *data);
    void *data;
    bool leads; /* it sleeps on the loop, not on a condition */
    pthread_cond_t changed;
};

/* Wait under the lock of a thread-driven pool, until then at most; UINT64_MAX:
 * for ever. 0 or POOL_ETIMEDOUT. */
int pool__wait_locked(struct pool__core *core, bool (*done)(void *), void *data,
    uint64_t until_ns);
/* Wake those who have what they wait for. */
void pool__wake_waiters(struct pool__core *core);
/* The pool is about to be freed, all waits are over: let the waiters leave. */
void pool__dismiss_waiters(struct pool__core *core);

/* 0 or POOL_EINVAL for a timeout below -1. */
static inline int pool__check_timeout(int timeout_ms, const char *who);

/* ---- what is common of enter and leave, inline -------------------------- */

int pool__enter_slowly(struct pool__core *core, const char *who);
void pool__leave_slowly(struct pool__core *core);
int pool__refuse_timeout(int timeout_ms, const char *who);
/* POOL_EFORKED, and why. */
int pool__refuse_process(const char *who);

/* Whether it is this thread's, and no lock is needed. */
static inline bool
pool__owns(const struct pool__core *core)
{
    return pool__likely(core->stamp == pool__owner_stamp()) &&
           pool__likely(core->alone == pool__thread());
}

/* Whether this thread may read what has a value: it takes no lock. */
static inline bool
pool__may_read(const struct pool__core *core)
{
    return pool__likely(core->stamp == pool__owner_stamp()) &&
           pool__likely(core->alone == pool__thread() || core->threaded);
}

static inline int
pool__enter(struct pool__core *core, const char *who)
{
    if (pool__likely(pool__owns(core)))
        return 0;
    return pool__enter_slowly(core, who);
}

static inline void
pool__leave(struct pool__core *core)
{
    if (pool__unlikely(core->wake || core->threaded))
        pool__leave_slowly(core);
}

static inline int
pool__check_timeout(int timeout_ms, const char *who)
{
    return pool__likely(timeout_ms >= -1)
               ? 0
               : pool__refuse_timeout(timeout_ms, who);
}

#endif
