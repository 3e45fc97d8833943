/* Driving a pool's loop from the calls that wait, and who may call.
 *
 * Invariant: the loop is never entered from inside itself (driving). */
#include "pool.h"

#include "error.h"
#include "owner.h"

/* ---- who may call ----------------------------------------------------- */

int
pool__check_core(const struct pool__core *core, const char *who)
{
    if (pool__unlikely(core->stamp != pool__owner_stamp()))
        return pool__fail(POOL_EFORKED,
            "%s: in a process that did not create the pool", who);
    if (pool__unlikely(core->thread != pool__thread()))
        return pool__fail(
            POOL_EPERM, "%s: in a thread that does not own the pool", who);
    return 0;
}

int
pool__check(const struct pool *pool, const char *who)
{
    if (pool__unlikely(pool == NULL))
        return pool__fail(POOL_EINVAL, "%s: pool is NULL", who);
    return pool__check_core(pool->core, who);
}

int
pool__check_timeout(int timeout_ms, const char *who)
{
    if (pool__likely(timeout_ms >= -1))
        return 0;
    return pool__fail(
        POOL_EINVAL, "%s: timeout_ms is %d, below -1", who, timeout_ms);
}

/* ---- driving ---------------------------------------------------------- */

static void
on_timeout(uv_timer_t *timer)
{
    struct pool *pool = timer->data;

    pool->timed_out = true;
}

/* A pool that is shut down lets its workers go when nothing is left to do. */
static void
retire_if_finished(struct pool *pool)
{
    if (pool->shut && pool->core->unsettled == 0 && pool->table.wanted != 0)
        pool__table_stop(&pool->table, POOL__EV_RETIRE);
}

static void
turn(struct pool *pool, uv_run_mode mode)
{
    pool->driving = true;
    pool__sched_flush(&pool->sched);
    uv_run(&pool->loop, mode);
    pool->driving = false;
    retire_if_finished(pool);
}

static void
destroy_if_asked(struct pool *pool)
{
    if (pool->destroyed)
        pool_destroy(pool);
}

void
pool__drive_once(struct pool *pool)
{
    if (pool->driving || pool->serial)
        return;
    turn(pool, UV_RUN_NOWAIT);
    pool->driving = true;
    pool__sched_look(&pool->sched);
    pool->driving = false;
    destroy_if_asked(pool);
}

static int
drive_until(
    struct pool *pool, bool (*done)(void *), void *data, int timeout_ms)
{
    pool->timed_out = false;
    if (timeout_ms > 0) {
        uv_update_time(&pool->loop);
        uv_timer_start(
            &pool->wait_timer, on_timeout, (uint64_t)timeout_ms, 0);
    }
    do
        turn(pool, timeout_ms == 0 ? UV_RUN_NOWAIT : UV_RUN_ONCE);
    while (!done(data) && !pool->timed_out && timeout_ms != 0);
    uv_timer_stop(&pool->wait_timer);
    if (done(data))
        return 0;
    pool__drive_once(pool); /* what came in the same instant wins */
    return done(data) ? 0 : POOL_ETIMEDOUT;
}

int
pool__drive(struct pool *pool, bool (*done)(void *), void *data,
    int timeout_ms, const char *who)
{
    if (done(data))
        return 0;
    if (pool->driving && timeout_ms != 0)
        return pool__fail(POOL_EDEADLK,
            "%s: would wait inside a task or callback of the pool", who);
    int rc = POOL_ETIMEDOUT;
    if (!pool->driving && !pool->serial)
        rc = drive_until(pool, done, data, timeout_ms);
    if (rc == POOL_ETIMEDOUT)
        pool__fail(rc, "%s: not within %d ms", who, timeout_ms);
    return rc;
}

static bool
once(void *turns)
{
    return (*(int *)turns)++ > 0;
}

int
pool_poll(pool_t *pool, int timeout_ms)
{
    int turns = 0, rc = pool__check(pool, "pool_poll");

    if (rc == 0)
        rc = pool__check_timeout(timeout_ms, "pool_poll");
    if (rc < 0)
        return rc;
    if (timeout_ms < 0 && pool->core->unsettled == 0)
        timeout_ms = 0;
    rc = pool__drive(pool, once, &turns, timeout_ms, "pool_poll");
    return rc == POOL_ETIMEDOUT ? 0 : rc;
}
