/* How a pool ends: shutdown, terminate, kill, close, destroy.
 *
 * An end has begun (closing), cancels what there is, lets workers go or kills
 * them, then the forkserver; then nothing is left but memory. Each drive makes
 * the steps in its own turns; only caller drive waits for them here. */
#include "pool.h"

#include "budget.h"
#include "error.h"
#include "fdio.h"
#include "owner.h"
#include "worker.h"

#define CANCEL_NS 200000 /* of a host's thread; the rest in later turns */

/* ---- steps ----------------------------------------------------------------
 */

/* Cancel as much as may be done at once. */
static void
cancel(struct pool *pool, enum pool__cancelling what)
{
    bool host = pool->drive == POOL__DRIVE_HOST && !pool->driving;

    if (what > pool->cancelling)
        pool->cancelling = what;
    if (pool->drive == POOL__DRIVE_SERIAL)
        return; /* a scatter that runs looks at it before each chunk */
    if (host)
        pool__budget_begin(CANCEL_NS);
    if (pool__sched_cancel_some(
            &pool->sched, pool->cancelling == POOL__CANCEL_ALL))
        pool->cancelling = POOL__CANCEL_NONE;
    if (host)
        (void)pool__budget_close();
}

void
pool__close_begin(struct pool *pool)
{
    pool->shut = pool->closing = pool->core->wake = true;
    if (pool->drive == POOL__DRIVE_SERIAL)
        return;
    uv_update_time(&pool->loop); /* the grace begins now */
    pool->table.wanted = 0;
    pool->sched.closing = pool->table.forkserver.closing = true;
    pool__table_each(proc, &pool->table)
    {
        if (proc->channel.held != 0 || proc->channel.writing)
            pool__proc_ask(proc, POOL__EV_TERM);
    }
    cancel(pool, POOL__CANCEL_ALL);
    pool__table_stop(&pool->table, POOL__EV_RETIRE);
}

bool
pool__close_ready(const struct pool *pool)
{
    return pool__list_empty(&pool->table.procs) && !pool->table.ending &&
           pool->table.reports != NULL;
}

bool
pool__close_done(struct pool *pool)
{
    return pool->cancelling == POOL__CANCEL_NONE &&
           pool__table_ended(&pool->table) &&
           pool__list_empty(&pool->core->notices) && pool->core->trash == NULL;
}

static bool
is_closed(void *pool)
{
    return pool__close_done(pool);
}

void
pool__close_free(struct pool *pool)
{
    if (pool->drive != POOL__DRIVE_SERIAL)
        pool__loop_close(pool);
    pool__core_release(pool->core);
    pool__comm_clear(&pool->comm);
    pool__free(pool->setup);
    pool__free(pool);
}

/* The same, and tell the program: it may free the last future then, but the
 * call that ends the pool has still to leave the core. */
static void
free_pool(struct pool *pool)
{
    struct pool__core *core = pool->core;
    void (*on_closed)(void *) = pool->on_closed;
    void *data = pool->closed_data;

    core->cells_out++;
    pool__close_free(pool);
    if (on_closed != NULL) {
        pool__unlock(core);
        on_closed(data);
        pool__lock(core);
    }
    core->cells_out--;
}

/* The process was the worker; no task of it runs now. */
static void
retire_here(struct pool *pool)
{
    pool->driving = true; /* a call in there doesn't come here again */
    pool__model_release(&pool->models, 0, true);
    if (pool->finalizer != NULL)
        pool->finalizer(pool->state);
    pool->driving = false;
}

void
pool__close_finish(struct pool *pool)
{
    if (pool->drive == POOL__DRIVE_SERIAL)
        retire_here(pool);
    else if (pool__drive(pool, is_closed, pool, -1, "pool_destroy") ==
             POOL_EFORKED)
        return;
    free_pool(pool);
}

/* The lock is held, and another thread is the supervisor's. */
static void
join_thread(struct pool *pool)
{
    pool__thread_call(pool);
    pool__unlock(pool->core);
    pthread_join(pool->thread.id, NULL);
    pool__lock(pool->core);
    pool__dismiss_waiters(pool->core);
    free_pool(pool);
}

static void
close_pool(struct pool *pool)
{
    struct pool__core *core = pool->core;
    bool inside = core->thread == pool__thread();

    pool__close_begin(pool);
    if (pool->drive == POOL__DRIVE_THREAD && inside) {
        pool->thread.detached = true;
        pthread_detach(pool->thread.id);
    } else if (pool->drive == POOL__DRIVE_THREAD) {
        join_thread(pool);
    }
    pool__leave(core); /* where caller drive finishes, unless in a callback */
}

/* ---- public -----------------------------------------------------------------
 */

/* Whether the descriptors under its numbers are copies of the owner's: in a
 * worker they were closed at birth, and the numbers are another's. */
static bool
is_copy(const struct pool *pool)
{
    return pool->table.template.depth == pool__depth + 1;
}

/* In a process that was forked from the owner: its copies alone. */
static void
forget(struct pool *pool)
{
    struct pool__core *core = pool->core;

    if (pool->driving)
        return; /* a callback has forked: who called it looks at the copy */
    if (core->threaded && pthread_mutex_trylock(&core->lock) != 0)
        return; /* the fork came while its state was being changed */
    if (pool->drive != POOL__DRIVE_SERIAL) {
        int rc = uv_loop_fork(&pool->loop);
        int watched = pool__host_forget(pool);
        pool__sched_forget(&pool->sched);
        pool__table_forget(&pool->table);
        if (rc == 0)
            pool__loop_close(pool); /* else it must not be touched */
        if (watched >= 0)
            pool__fd_occupy(watched);
    }
    pool__model_release(&pool->models, 0, false);
    pool__core_release(core);
    pool__comm_clear(&pool->comm);
    pool__free(pool->setup);
    pool__free(pool);
    if (pool__core_unused(core))
        pool__core_free(core);
}

int
pool_close(pool_t *pool, void (*on_closed)(void *data), void *data)
{
    int rc = pool__enter_pool(pool, "pool_close");

    if (rc < 0)
        return rc;
    if (pool->closing) {
        rc = pool__fail(POOL_EBUSY, "pool_close: it is being closed");
        pool__leave(pool->core);
        return rc;
    }
    pool->on_closed = on_closed;
    pool->closed_data = data;
    close_pool(pool);
    return 0;
}

void
pool_destroy(pool_t *pool)
{
    int rc = pool != NULL ? pool__enter(pool->core, "pool_destroy") : -1;

    if (rc == POOL_EFORKED && is_copy(pool))
        forget(pool);
    if (rc < 0)
        return;
    if (pool->closing)
        pool__leave(pool->core);
    else
        close_pool(pool);
}

static bool
is_over(void *pool)
{
    struct pool *p = pool;

    return p->core->unsettled == 0 && p->cancelling == POOL__CANCEL_NONE &&
           pool__list_empty(&p->table.procs);
}

static int
shut_down(struct pool *pool, unsigned flags)
{
    const char *who = "pool_shutdown";

    if (flags & ~(unsigned)(POOL_SHUTDOWN_WAIT | POOL_SHUTDOWN_CANCEL_FUTURES))
        return pool__fail(POOL_EINVAL, "%s: unknown flags 0x%x", who, flags);
    bool waits = (flags & POOL_SHUTDOWN_WAIT) != 0;
    if (waits && pool__must_not_wait(pool) &&
        (pool->drive == POOL__DRIVE_SERIAL || !is_over(pool)))
        return pool__fail(POOL_EDEADLK, "%s: would wait %s", who,
            pool->driving ? "inside a task or callback"
                          : "in the thread of the host's loop");
    pool->shut = pool->core->wake = true;
    if ((flags & POOL_SHUTDOWN_CANCEL_FUTURES) != 0)
        cancel(pool, POOL__CANCEL_PENDING);
    if (pool->drive == POOL__DRIVE_SERIAL)
        return 0;
    if (waits)
        return pool__drive(pool, is_over, pool, -1, who);
    if (pool->core->unsettled == 0 && pool->table.wanted != 0)
        pool__table_stop(&pool->table, POOL__EV_RETIRE);
    pool__drive_once(pool);
    return 0;
}

int
pool_shutdown(pool_t *pool, unsigned flags)
{
    int rc = pool__enter_pool(pool, "pool_shutdown");

    if (rc < 0)
        return rc;
    struct pool__core *core = pool->core;
    rc = shut_down(pool, flags);
    pool__leave(core);
    return rc;
}

static int
end_workers(pool_t *pool, enum pool__proc_event event, const char *who)
{
    int rc = pool__enter_pool(pool, who);

    if (rc < 0)
        return rc;
    pool->shut = pool->core->wake = true;
    if (pool->drive != POOL__DRIVE_SERIAL)
        uv_update_time(&pool->loop);
    cancel(pool, POOL__CANCEL_PENDING);
    if (pool->drive != POOL__DRIVE_SERIAL)
        pool__table_stop(&pool->table, event);
    pool__leave(pool->core);
    return 0;
}

int
pool_terminate_workers(pool_t *pool)
{
    return end_workers(pool, POOL__EV_TERM, "pool_terminate_workers");
}

int
pool_kill_workers(pool_t *pool)
{
    return end_workers(pool, POOL__EV_KILL, "pool_kill_workers");
}
