/* A pool's loop, and the three ways to drive it.
 *
 * Each pool has a private loop. In caller drive the calls that wait run it. In
 * the other two somebody sleeps on its descriptor (the host's loop, or the
 * pool's own thread) and runs it without waiting: libuv's way to embed a loop.
 *
 * Invariant: the loop is never entered from inside itself (driving). What the
 * program gets to hear is told after the loop has run, never from inside. */
#include "pool.h"

#include "budget.h"
#include "error.h"
#include "fdio.h"
#include "owner.h"

/* ---- turns -------------------------------------------------------------- */

/* A pool that is shut down lets its workers go when nothing is left to do. */
static bool
is_finished(const struct pool *pool)
{
    return pool->shut && pool->core->unsettled == 0 && pool->table.wanted != 0;
}

bool
pool__has_work(struct pool *pool)
{
    return !pool__list_empty(&pool->sched.dirty) || pool__is_pressed(pool);
}

bool
pool__is_pressed(struct pool *pool)
{
    struct pool__core *core = pool->core;

    return pool->stale || pool->table.inbox.loud_share == 0 ||
           pool->cancelling != POOL__CANCEL_NONE || pool->sched.stirred ||
           !pool__list_empty(&core->notices) || core->trash != NULL ||
           pool__drain_due(pool) || is_finished(pool) ||
           (pool->closing && pool__close_ready(pool));
}

static void
housekeeping(struct pool *pool)
{
    if (pool->cancelling != POOL__CANCEL_NONE &&
        pool__sched_cancel_some(
            &pool->sched, pool->cancelling == POOL__CANCEL_ALL))
        pool->cancelling = POOL__CANCEL_NONE;
    if (is_finished(pool))
        pool__table_stop(&pool->table, POOL__EV_RETIRE);
    if (pool->closing && pool__close_ready(pool))
        pool__table_end(&pool->table);
    while (!pool__budget_over() && pool__core_sweep_out(pool->core))
        ;
}

static void
run(struct pool *pool, uv_run_mode mode)
{
    uv_update_time(&pool->loop); /* the program may have been away */
    housekeeping(pool);
    pool__sched_flush(&pool->sched);
    pool->stale = false;
    pool->found = pool__look(pool, mode == UV_RUN_ONCE);
    if (pool->found)
        mode = UV_RUN_NOWAIT;
    uv_run(&pool->loop, mode);
    pool->alarm.heard = true; /* if open, the kernel knows of it now */
}

void
pool__turn_untold(struct pool *pool, uv_run_mode mode)
{
    pool->driving = true;
    pool__listen(pool);
    run(pool, mode);
    pool->driving = false;
}

void
pool__turn(struct pool *pool, uv_run_mode mode)
{
    if (pool__is_foreign(pool))
        return;
    pool->driving = true;
    pool__listen(pool);
    run(pool, mode);
    pool__tell(pool);
    pool->driving = false;
}

void
pool__turn_over(struct pool *pool)
{
    do {
        pool__turn(pool, UV_RUN_NOWAIT);
        if (pool__is_foreign(pool))
            return;
        if (!pool__list_empty(&pool->core->notices))
            pool__wake_waiters(pool->core); /* before those are told */
    } while (pool__has_work(pool) && !pool__budget_over());
}

/* ---- caller drive -------------------------------------------------------- */

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

    if (pool->timed_out || pool->wait_done(pool->wait_data) ||
        !pool__list_empty(&pool->core->notices))
        uv_stop(&pool->loop);
}

void
pool__drive_once(struct pool *pool)
{
    if (pool->driving || pool->drive != POOL__DRIVE_CALLER)
        return;
    pool__turn(pool, UV_RUN_NOWAIT);
    if (pool__is_foreign(pool))
        return;
    pool->driving = true;
    pool__sched_look(&pool->sched);
    pool__tell(pool);
    pool->driving = false;
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
    uint64_t end = timeout_ms != 0 ? pool__end_ns(timeout_ms) : 0;
    unsigned looks = 0;

    begin_wait(pool, done, data, timeout_ms);
    do {
        bool found = timeout_ms != 0 && pool__spin(pool, end);
        if (found && ++looks % POOL__LOOKS_A_TURN != 0)
            continue;
        bool sleeps =
            timeout_ms != 0 && !found && pool__list_empty(&pool->core->notices);
        pool__turn(pool, sleeps ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    } while (!done(data) && !pool->timed_out && timeout_ms != 0 &&
             !pool__is_foreign(pool));
    end_wait(pool);
    if (pool__is_foreign(pool))
        return POOL_EFORKED;
    if (done(data))
        return 0;
    pool__drive_once(pool); /* what came in the same instant wins */
    return done(data) ? 0 : POOL_ETIMEDOUT;
}

/* Where that takes long the loop has its turns: until what is due now has been
 * told workers are fed; then nothing is read of them, for what they bring would
 * have no end. */
void
pool__tell_all(struct pool *pool)
{
    struct pool__core *core = pool->core;
    uint64_t due = core->noticed;

    if (pool__is_foreign(pool))
        return;
    pool->driving = true;
    pool__tell(pool);
    while (!pool__is_foreign(pool) && !pool__list_empty(&core->notices)) {
        if (core->told < due)
            pool__listen_little(pool, due);
        else
            pool__listen_not(pool);
        if (pool->drive == POOL__DRIVE_CALLER)
            run(pool, UV_RUN_NOWAIT);
        pool__tell(pool);
    }
    pool__listen(pool);
    pool->driving = false;
}

/* ---- waiting --------------------------------------------------------------
 */

bool
pool__must_not_wait(const struct pool *pool)
{
    if (pool->drive == POOL__DRIVE_THREAD)
        return pool->core->thread == pool__thread();
    return pool->driving || pool->drive == POOL__DRIVE_HOST;
}

int
pool__drive(struct pool *pool, bool (*done)(void *), void *data, int timeout_ms,
    const char *who)
{
    int rc = POOL_ETIMEDOUT;

    if (done(data))
        return 0;
    if (timeout_ms != 0 && pool__must_not_wait(pool))
        return pool__fail(POOL_EDEADLK, "%s: would wait %s", who,
            pool->driving ? "inside a task or callback of the pool"
                          : "in the thread of the host's loop");
    if (pool->drive == POOL__DRIVE_CALLER && !pool->driving)
        rc = drive_until(pool, done, data, timeout_ms);
    else if (pool->drive == POOL__DRIVE_THREAD && timeout_ms != 0)
        rc = pool__thread_wait(pool, done, data, timeout_ms);
    if (rc == POOL_ETIMEDOUT)
        pool__fail(rc, "%s: not within %d ms", who, timeout_ms);
    if (rc == POOL_EFORKED)
        pool__refuse_process(who);
    return rc;
}

void
pool__settle_down(struct pool *pool)
{
    if (pool__is_foreign(pool))
        return;
    switch (pool->drive) {
    case POOL__DRIVE_THREAD:
        if (pool->core->thread != pool__thread())
            pool__thread_settle(pool);
        break;
    case POOL__DRIVE_HOST:
        pool__host_keep(pool);
        if (!pool->driving)
            pool__alarm_set(pool);
        break;
    case POOL__DRIVE_CALLER:
    case POOL__DRIVE_SERIAL:
        if (pool->driving)
            break;
        pool__tell_all(pool);
        if (pool->alarm.fd >= 0 && !pool->alarm.heard) {
            pool__turn(pool, UV_RUN_NOWAIT);
            pool__tell_all(pool);
        }
        if (pool__is_foreign(pool))
            break;
        if (pool->closing)
            pool__close_finish(pool);
        else
            pool__alarm_set(pool);
        break;
    }
}

/* ---- polling ---------------------------------------------------------------
 */

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

/* 0, or why a program can't drive this pool itself. */
static int
check_drive(const struct pool *pool, const char *who)
{
    if (pool->drive != POOL__DRIVE_HOST && pool->drive != POOL__DRIVE_THREAD)
        return 0;
    return pool__fail(
        POOL_ENOTSUP, "%s: the pool is driven by its loop or thread", who);
}

static int
poll_once(struct pool *pool, int timeout_ms)
{
    struct poll poll = {pool->core, pool->core->unsettled};

    if (pool->driving)
        return pool__fail(
            POOL_EDEADLK, "pool_poll: inside a task or callback of the pool");
    if (pool->drive == POOL__DRIVE_SERIAL)
        return 0;
    if (timeout_ms < 0 && poll.unsettled == 0)
        timeout_ms = 0;
    begin_wait(pool, has_moved, &poll, timeout_ms);
    pool__turn(pool, timeout_ms == 0 ? UV_RUN_NOWAIT : UV_RUN_ONCE);
    end_wait(pool);
    pool__drive_once(pool);
    /* A sleeper must hear of what is watched now. */
    while (pool->stale && !pool__is_foreign(pool))
        pool__turn(pool, UV_RUN_NOWAIT);
    return pool__is_foreign(pool) ? pool__refuse_process("pool_poll") : 0;
}

int
pool_poll(pool_t *pool, int timeout_ms)
{
    int rc = pool__enter_pool(pool, "pool_poll");

    if (rc < 0)
        return rc;
    struct pool__core *core = pool->core;
    rc = pool__check_timeout(timeout_ms, "pool_poll");
    if (rc == 0)
        rc = check_drive(pool, "pool_poll");
    if (rc == 0)
        rc = poll_once(pool, timeout_ms);
    pool__leave(core);
    return rc;
}

int
pool_fd(pool_t *pool)
{
    int rc = pool__enter_pool(pool, "pool_fd");

    if (rc < 0)
        return rc;
    struct pool__core *core = pool->core;
    rc = check_drive(pool, "pool_fd");
    if (rc == 0 && pool->drive == POOL__DRIVE_SERIAL)
        rc = pool__fail(POOL_ENOTSUP, "pool_fd: a serial pool has no loop");
    if (rc == 0 && pool->table.forkserver.foreign)
        rc = pool__fail(POOL_ENOTSUP, "pool_fd: MPI has no descriptor");
    if (rc == 0 && pool->alarm.fd < 0) {
        pool__table_withhold(&pool->table); /* turns are to be short now */
        rc = pool__alarm_open(pool);
    }
    if (rc == 0)
        rc = uv_backend_fd(&pool->loop);
    pool__leave(core);
    return rc;
}

/* ---- life ------------------------------------------------------------------
 */

int
pool__loop_open(struct pool *pool)
{
    unsigned held = pool__standard_hold();
    int rc = uv_loop_init(&pool->loop);

    pool__standard_release(held);
    if (rc < 0)
        return pool__fail(rc, "pool_create: event loop: %s", uv_strerror(rc));
    uv_timer_init(&pool->loop, &pool->wait_timer);
    uv_prepare_init(&pool->loop, &pool->wait_prepare);
    pool->wait_timer.data = pool->wait_prepare.data = pool;
    return 0;
}

void
pool__loop_close(struct pool *pool)
{
    pool__table_close(&pool->table);
    pool__sched_close(&pool->sched);
    pool__alarm_close(pool);
    pool__close(&pool->thread.bell);
    uv_close((uv_handle_t *)&pool->wait_timer, NULL);
    uv_close((uv_handle_t *)&pool->wait_prepare, NULL);
    while (uv_run(&pool->loop, UV_RUN_DEFAULT) != 0)
        ;
    uv_loop_close(&pool->loop);
    pool__table_fini(&pool->table);
    pool__sched_fini(&pool->sched);
}
