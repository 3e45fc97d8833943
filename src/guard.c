/* Who may call, and the lock of a thread-driven pool.
 *
 * This file holds a lock: core->lock, of thread-driven pools alone. Whoever
 * holds it is, for that time, the one thread that touches the supervisor's
 * state. It is held by the public functions from enter to leave and by the
 * supervisor's thread while it works; never while the program's code runs,
 * never while anybody sleeps. One thing is done without it: a value that is
 * there is read, and its future handed back (see future.c). A child that was
 * forked meanwhile is turned away before it looks at the lock. */
#define _GNU_SOURCE
#include "guard.h"

#include <errno.h>
#include <sched.h>

#include "budget.h"
#include "error.h"
#include "owner.h"
#include "pool.h"

int
pool__refuse_timeout(int timeout_ms, const char *who)
{
    return pool__fail(
        POOL_EINVAL, "%s: timeout_ms is %d, below -1", who, timeout_ms);
}

int
pool__refuse_process(const char *who)
{
    return pool__fail(
        POOL_EFORKED, "%s: in a process that did not create the pool", who);
}

int
pool__enter_slowly(struct pool__core *core, const char *who)
{
    if (core->stamp != pool__owner_stamp())
        return pool__refuse_process(who);
    if (core->threaded)
        pthread_mutex_lock(&core->lock);
    else if (core->thread != pool__thread())
        return pool__fail(
            POOL_EPERM, "%s: in a thread that does not own the pool", who);
    return 0;
}

void
pool__leave_slowly(struct pool__core *core)
{
    bool threaded = core->threaded;

    if (core->stamp != pool__owner_stamp())
        return; /* a callback has forked: it is the child's copy */
    if (!core->wake) {
        pthread_mutex_unlock(&core->lock);
        return;
    }
    if (core->pool != NULL)
        pool__settle_down(core->pool);
    core->wake = core->pool == NULL || core->pool->closing ||
                 !pool__list_empty(&core->notices) ||
                 (core->embedded && !pool__thread_naps(core->pool) &&
                     !core->pool->host.goes_on);
    pool__wake_waiters(core);
    bool unused = pool__core_unused(core);
    if (threaded)
        pthread_mutex_unlock(&core->lock);
    if (unused)
        pool__core_free(core);
}

void
pool__unlock(struct pool__core *core)
{
    pool__budget_pause(true);
    if (core->threaded)
        pthread_mutex_unlock(&core->lock);
}

void
pool__lock(struct pool__core *core)
{
    if (core->threaded && core->stamp == pool__owner_stamp())
        pthread_mutex_lock(&core->lock);
    pool__budget_pause(false);
}

/* ---- waiting threads --------------------------------------------------- */

void
pool__wake_waiters(struct pool__core *core)
{
    pool__list_each(node, &core->waiters)
    {
        struct pool__waiter *w =
            pool__list_entry(node, struct pool__waiter, node);
        if (!w->done(w->data))
            continue;
        if (w->leads)
            pool__alarm_ring(core->pool);
        else
            pthread_cond_signal(&w->changed);
    }
}

void
pool__dismiss_waiters(struct pool__core *core)
{
    while (!pool__list_empty(&core->waiters)) {
        pool__wake_waiters(core);
        pool__unlock(core);
        sched_yield();
        pool__lock(core);
    }
}

static void
waiter_init(struct pool__waiter *w)
{
    pthread_condattr_t monotonic;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

int
pool__wait_locked(struct pool__core *core, bool (*done)(void *), void *data,
    uint64_t until_ns)
{
    struct pool__waiter w = {.done = done, .data = data};
    struct timespec until = {
        (time_t)(until_ns / 1000000000), (long)(until_ns % 1000000000)};
    int rc = 0;

    waiter_init(&w);
    pool__list_append(&core->waiters, &w.node);
    while (!done(data) && rc != ETIMEDOUT)
        rc = until_ns == UINT64_MAX
                 ? pthread_cond_wait(&w.changed, &core->lock)
                 : pthread_cond_timedwait(&w.changed, &core->lock, &until);
    pool__list_remove(&w.node);
    pthread_cond_destroy(&w.changed);
    return done(data) ? 0 : POOL_ETIMEDOUT;
}
