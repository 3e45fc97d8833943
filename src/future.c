/* Futures: the caller's questions about one task.
 *
 * In thread drive they ask under the pool's lock, but for a value that is
 * there: what is read of it was written before its state (pool__task_settle),
 * and stays as it is until the last caller has given it up, for which no lock
 * is needed either (pool__task_hand_back). */
#include "pool.h"

#include <stdio.h>
#include <stdlib.h>

#include "error.h"

/* Enter the core of a future. */
static inline int
enter(const struct pool_future *future, const char *who)
{
    if (pool__unlikely(future == NULL))
        return pool__fail(POOL_EINVAL, "%s: future is NULL", who);
    return pool__enter(future->core, who);
}

/* The same, and keep the future until leave: it may be freed meanwhile. */
static int
enter_and_keep(struct pool_future *future, const char *who)
{
    int rc = enter(future, who);

    if (rc == 0)
        (void)pool__task_hold(future, 1);
    return rc;
}

static void
leave(struct pool_future *future)
{
    struct pool__core *core = future->core;

    pool__task_unref(future);
    pool__leave(core);
}

static bool
has_settled(void *future)
{
    return pool__task_settled(future);
}

/* Wait; 0 where it has a value. The future is kept. */
static int
await(struct pool_future *future, int timeout_ms, const char *who)
{
    int rc = pool__check_timeout(timeout_ms, who);

    if (rc == 0 && !pool__task_settled(future))
        rc = pool__drive(
            future->core->pool, has_settled, future, timeout_ms, who);
    if (rc < 0)
        return rc;
    if (pool__likely(future->code == 0))
        return 0;
    return pool__fail(future->code, "%s: %s", who,
        future->state == POOL__TASK_FAILED && future->failure != NULL
            ? future->failure->message
            : pool_strerror(future->code));
}

/* Whether it has a value that may be read as it is: no lock is needed. */
static inline bool
is_at_hand(const struct pool_future *future, int timeout_ms)
{
    return future != NULL && timeout_ms >= -1 && pool__may_read(future->core) &&
           pool__task_has_value(future);
}

static int
decode(struct pool_future *future, const char *format, va_list args)
{
    pool_dec_t dec;

    if (format == NULL || *format == '\0')
        return 0;
    pool_dec_init(&dec, pool__task_data(future), future->size);
    int rc = pool_vdecode(&dec, format, args);
    return rc == 0 ? pool_dec_finish(&dec) : rc;
}

/* pool_future_result of one that may have to be waited for. */
static int
await_value(struct pool_future *future, int timeout_ms, const char *format,
    va_list args)
{
    static const char who[] = "pool_future_result";
    int rc = enter_and_keep(future, who);

    if (rc < 0)
        return rc;
    rc = await(future, timeout_ms, who);
    if (rc == 0)
        rc = decode(future, format, args);
    leave(future);
    return rc;
}

pool__hot int
pool_future_result(
    pool_future_t *future, int timeout_ms, const char *format, ...)
{
    va_list args;

    pool__task_fetch_ahead(future);
    va_start(args, format);
    int rc = is_at_hand(future, timeout_ms)
                 ? decode(future, format, args)
                 : await_value(future, timeout_ms, format, args);
    va_end(args);
    return rc;
}

static inline void
hand_out(struct pool_future *future, const void **data, size_t *size)
{
    if (data != NULL)
        *data = pool__task_data(future);
    if (size != NULL)
        *size = future->size;
}

static pool__apart int
await_bytes(
    pool_future_t *future, int timeout_ms, const void **data, size_t *size)
{
    int rc = enter_and_keep(future, "pool_future_bytes");

    if (rc < 0)
        return rc;
    rc = await(future, timeout_ms, "pool_future_bytes");
    if (rc == 0)
        hand_out(future, data, size);
    leave(future);
    return rc;
}

int
pool_future_bytes(
    pool_future_t *future, int timeout_ms, const void **data, size_t *size)
{
    if (pool__unlikely(!is_at_hand(future, timeout_ms)))
        return await_bytes(future, timeout_ms, data, size);
    hand_out(future, data, size);
    return 0;
}

pool__hot int
pool_future_error(pool_future_t *future, int timeout_ms)
{
    if (is_at_hand(future, timeout_ms))
        return 0;
    int rc = enter_and_keep(future, "pool_future_error");
    if (rc < 0)
        return rc;
    rc = await(future, timeout_ms, "pool_future_error");
    leave(future);
    return rc;
}

const pool_failure_t *
pool_future_failure(const pool_future_t *future)
{
    if (enter(future, "pool_future_failure") < 0)
        return NULL;
    struct pool__core *core = future->core;
    const pool_failure_t *failure = pool__task_failure(future);
    pool__leave(core);
    return failure;
}

/* ---- states -------------------------------------------------------------- */

static bool
is_settled(struct pool_future *future)
{
    return pool__task_settled(future);
}

static bool
is_running(struct pool_future *future)
{
    return !pool__task_settled(future) && pool__sched_running(future);
}

static bool
is_cancelled(struct pool_future *future)
{
    return future->state == POOL__TASK_CANCELLED;
}

/* Ask after having looked once at what has come, where that can change the
 * answer. What is to be cancelled with many others is cancelled now. */
static bool
ask(struct pool_future *future, bool (*question)(struct pool_future *),
    const char *who)
{
    if (enter_and_keep(future, who) < 0)
        return false;
    struct pool__core *core = future->core;
    if (!pool__task_settled(future))
        pool__drive_once(core->pool);
    if (!pool__task_settled(future) &&
        core->pool->cancelling != POOL__CANCEL_NONE &&
        pool__sched_take(&core->pool->sched, future))
        pool__task_cancelled(future);
    bool answer = question(future);
    leave(future);
    return answer;
}

bool
pool_future_done(pool_future_t *future)
{
    return ask(future, is_settled, "pool_future_done");
}

bool
pool_future_running(pool_future_t *future)
{
    return ask(future, is_running, "pool_future_running");
}

bool
pool_future_cancelled(pool_future_t *future)
{
    return ask(future, is_cancelled, "pool_future_cancelled");
}

/* ---- cancelling -----------------------------------------------------------
 */

static int
busy(const char *who)
{
    return pool__fail(POOL_EBUSY, "%s: the task is running or finished", who);
}

/* 0: it was pending; POOL_EBUSY: it runs or has ended. */
static int
cancel_pending(struct pool_future *future, const char *who)
{
    struct pool *pool = future->core->pool;

    if (future->state == POOL__TASK_CANCELLED)
        return 0;
    if (pool__task_settled(future) || pool->drive == POOL__DRIVE_SERIAL ||
        !pool__sched_take(&pool->sched, future))
        return busy(who);
    pool__task_cancelled(future);
    return 0;
}

int
pool_future_cancel(pool_future_t *future)
{
    int rc = enter(future, "pool_future_cancel");

    if (rc < 0)
        return rc;
    struct pool__core *core = future->core;
    rc = cancel_pending(future, "pool_future_cancel");
    pool__leave(core);
    return rc;
}

/* Of a task that may run. KILL: end its worker, else ask it alone. */
static int
cancel_running(struct pool_future *future, bool kill, const char *who)
{
    struct pool *pool = future->core->pool;
    int rc = cancel_pending(future, who);

    if (rc == 0 || pool__task_settled(future))
        return rc;
    if (pool->drive == POOL__DRIVE_SERIAL)
        return pool__fail(POOL_ENOTSUP, "%s: in a serial pool", who);
    if (!kill) {
        struct pool__proc *proc = future->proc;
        pool__channel_ask(&proc->channel, future->ordinal);
        return 0;
    }
    if (!pool__sched_take_running(&pool->sched, future))
        return future->state == POOL__TASK_CANCELLED ? 0 : busy(who);
    pool__task_cancelled(future);
    pool__sched_run(&pool->sched);
    return 0;
}

static int
cancel_begun(pool_future_t *future, bool kill, const char *who)
{
    int rc = enter_and_keep(future, who);

    if (rc < 0)
        return rc;
    rc = cancel_running(future, kill, who);
    leave(future);
    return rc;
}

int
pool_future_cancel_running(pool_future_t *future)
{
    return cancel_begun(future, true, "pool_future_cancel_running");
}

int
pool_future_cancel_request(pool_future_t *future)
{
    return cancel_begun(future, false, "pool_future_cancel_request");
}

/* ---- the handle ------------------------------------------------------------
 */

uint64_t
pool_future_tag(const pool_future_t *future)
{
    return future != NULL ? future->tag : 0;
}

uint64_t
pool_future_id(const pool_future_t *future)
{
    return future != NULL ? future->number : 0;
}

pool_future_t *
pool_future_ref(pool_future_t *future)
{
    if (enter(future, "pool_future_ref") < 0)
        return future;
    (void)pool__task_hold(future, 1);
    pool__leave(future->core);
    return future;
}

/* Debug builds keep what was freed, so that this can be seen. */
static void
check_not_freed(const struct pool_future *future)
{
#ifdef POOL_DEBUG
    if (future->state != POOL__TASK_FREED && future->refs != 0)
        return;
    fprintf(stderr,
        "forkpool: pool_future_free: future %p (task %llu) was "
        "freed before\n",
        (const void *)future, (unsigned long long)future->number);
    abort();
#else
    (void)future;
#endif
}

static pool__apart void
free_slowly(pool_future_t *future)
{
    if (future == NULL || enter(future, "pool_future_free") < 0)
        return;
    check_not_freed(future);
    struct pool__core *core = future->core;
    pool__task_unref(future);
    pool__leave(core);
}

/* Whether this call ends it, and nothing but its cell is to be given back. */
static inline bool
is_last_of_bare(const struct pool_future *future)
{
    return pool__load(&future->refs) == 1 && pool__task_is_bare(future);
}

void
pool_future_free(pool_future_t *future)
{
    if (pool__unlikely(!is_at_hand(future, 0) || !is_last_of_bare(future))) {
        free_slowly(future);
        return;
    }
    struct pool__core *core = future->core;
    if (core->threaded) {
        if (!pool__task_hand_back(future))
            free_slowly(future);
        return;
    }
    pool__task_free_cell(core, future);
    pool__leave(core);
}
