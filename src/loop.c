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
        return pool__fail(
            POOL_EFORKED, "%s: in a process that did not create the pool", who);
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

/* Timers run before the loop sleeps and may have brought what is waited for:
 * then it must not sleep. */
static void
before_sleep(uv_prepare_t *handle)
{
    struct pool *pool = handle->data;

    if (pool->timed_out || pool->wait_done(pool->wait_data))
        uv_stop(&pool->loop);
}

void
pool__drive_init(struct pool *pool)
{
    uv_timer_init(&pool->loop, &pool->wait_timer);
    uv_prepare_init(&pool->loop, &pool->wait_prepare);
    pool->wait_timer.data = pool->wait_prepare.data = pool;
}

void
pool__drive_close(struct pool *pool)
{
    uv_close((uv_handle_t *)&pool->wait_timer, NULL);
    uv_close((uv_handle_t *)&pool->wait_prepare, NULL);
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
    uv_update_time(&pool->loop); /* the program may have been away */
    retire_if_finished(pool);
    pool__sched_flush(&pool->sched);
    uv_run(&pool->loop, mode);
    pool->driving = false;
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
    pool__leave(pool);
}

static void
begin_wait(struct pool *pool, bool (*done)(void *), void *data, int timeout_ms)
{
    pool->timed_out = false;
    pool->wait_done = done;
    pool->wait_data = data;
    uv_prepare_start(&pool->wait_prepare, before_sleep);
    if (timeout_ms <= 0)
        return;
    uv_update_time(&pool->loop);
    uv_timer_start(&pool->wait_timer, on_timeout, (uint64_t)timeout_ms, 0);
}

static void
end_wait(struct pool *pool)
{
    uv_timer_stop(&pool->wait_timer);
    uv_prepare_stop(&pool->wait_prepare);
}

static int
drive_until(struct pool *pool, bool (*done)(void *), void *data, int timeout_ms)
{
    begin_wait(pool, done, data, timeout_ms);
    do
        turn(pool, timeout_ms == 0 ? UV_RUN_NOWAIT : UV_RUN_ONCE);
    while (!done(data) && !pool->timed_out && timeout_ms != 0);
    end_wait(pool);
    if (done(data))
        return 0;
    pool__drive_once(pool); /* what came in the same instant wins */
    return done(data) ? 0 : POOL_ETIMEDOUT;
}

int
pool__drive(struct pool *pool, bool (*done)(void *), void *data, int timeout_ms,
    const char *who)
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

struct poll {
    struct pool__core *core;
    size_t unsettled; /* when it began */
};

static bool
has_moved(void *data)
{
    const struct poll *poll = data;

    return poll->core->unsettled != poll->unsettled;
}

int
pool_poll(pool_t *pool, int timeout_ms)
{
    int rc = pool__check(pool, "pool_poll");

    if (rc == 0)
        rc = pool__check_timeout(timeout_ms, "pool_poll");
    if (rc < 0)
        return rc;
    if (pool->driving)
        return pool__fail(
            POOL_EDEADLK, "pool_poll: inside a task or callback of the pool");
    if (pool->serial)
        return 0;
    struct poll poll = {pool->core, pool->core->unsettled};
    if (timeout_ms < 0 && poll.unsettled == 0)
        timeout_ms = 0;
    begin_wait(pool, has_moved, &poll, timeout_ms);
    turn(pool, timeout_ms == 0 ? UV_RUN_NOWAIT : UV_RUN_ONCE);
    end_wait(pool);
    pool__drive_once(pool);
    return 0;
}
