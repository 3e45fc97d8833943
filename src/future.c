/* Futures: the caller's questions about one task. */
#include "pool.h"

#include "error.h"
#include "owner.h"

static int
check(const struct pool_future *future, int timeout_ms, const char *who)
{
    if (pool__unlikely(future == NULL))
        return pool__fail(POOL_EINVAL, "%s: future is NULL", who);
    int rc = pool__check_core(future->core, who);
    return rc == 0 ? pool__check_timeout(timeout_ms, who) : rc;
}

static bool
has_settled(void *future)
{
    return pool__task_settled(future);
}

/* Wait; 0 where it has a value. */
static int
await(struct pool_future *future, int timeout_ms, const char *who)
{
    int rc = check(future, timeout_ms, who);

    if (rc == 0 && !pool__task_settled(future))
        rc = pool__drive(
            future->core->pool, has_settled, future, timeout_ms, who);
    if (rc < 0)
        return rc;
    if (pool__likely(future->code == 0))
        return 0;
    return pool__fail(future->code, "%s: %s", who,
        future->failure != NULL ? future->failure->message
                                : pool_strerror(future->code));
}

int
pool_future_result(
    pool_future_t *future, int timeout_ms, const char *format, ...)
{
    pool_dec_t dec;
    va_list args;
    int rc = await(future, timeout_ms, "pool_future_result");

    if (rc < 0 || format == NULL || *format == '\0')
        return rc;
    pool_dec_init(&dec, future->data, future->size);
    va_start(args, format);
    rc = pool_vdecode(&dec, format, args);
    va_end(args);
    return rc == 0 ? pool_dec_finish(&dec) : rc;
}

int
pool_future_bytes(
    pool_future_t *future, int timeout_ms, const void **data, size_t *size)
{
    int rc = await(future, timeout_ms, "pool_future_bytes");

    if (rc < 0)
        return rc;
    if (data != NULL)
        *data = future->data;
    if (size != NULL)
        *size = future->size;
    return 0;
}

int
pool_future_error(pool_future_t *future, int timeout_ms)
{
    return await(future, timeout_ms, "pool_future_error");
}

const pool_failure_t *
pool_future_failure(const pool_future_t *future)
{
    static const pool_failure_t lost = {.code = POOL_ENOMEM,
        .message = "the task failed; no memory to say how",
        .exit_status = -1};

    if (check(future, 0, "pool_future_failure") < 0 ||
        future->state != POOL__TASK_FAILED)
        return NULL;
    return future->failure != NULL ? future->failure : &lost;
}

/* Look once at what has come, if that can change the answer. */
static bool
look(struct pool_future *future, const char *who)
{
    if (check(future, 0, who) < 0)
        return false;
    if (!pool__task_settled(future))
        pool__drive_once(future->core->pool);
    return true;
}

bool
pool_future_done(pool_future_t *future)
{
    return look(future, "pool_future_done") && pool__task_settled(future);
}

bool
pool_future_running(pool_future_t *future)
{
    return look(future, "pool_future_running") && !pool__task_settled(future) &&
           pool__sched_running(future);
}

bool
pool_future_cancelled(pool_future_t *future)
{
    return look(future, "pool_future_cancelled") &&
           future->state == POOL__TASK_CANCELLED;
}

int
pool_future_cancel(pool_future_t *future)
{
    int rc = check(future, 0, "pool_future_cancel");

    if (rc < 0 || future->state == POOL__TASK_CANCELLED)
        return rc;
    if (pool__task_settled(future) || future->core->pool->serial ||
        !pool__sched_take(&future->core->pool->sched, future))
        return pool__fail(
            POOL_EBUSY, "pool_future_cancel: the task is running or finished");
    pool__task_cancelled(future);
    return 0;
}

uint64_t
pool_future_tag(const pool_future_t *future)
{
    return future != NULL ? future->tag : 0;
}

pool_future_t *
pool_future_ref(pool_future_t *future)
{
    if (check(future, 0, "pool_future_ref") == 0)
        future->refs++;
    return future;
}

void
pool_future_free(pool_future_t *future)
{
    if (future != NULL &&
        pool__check_core(future->core, "pool_future_free") == 0)
        pool__task_unref(future);
}
