/* Submitting: from arguments to a task in the queue.
 *
 * Invariant: a call that fails has made no task. */
#include <string.h>

#include "error.h"
#include "pool.h"

/* ---- tasks ------------------------------------------------------------ */

static int
check_submit(struct pool *pool, const char *who, pool_fn fn, size_t size)
{
    if (fn == NULL)
        return pool__fail(POOL_EINVAL, "%s: fn is NULL", who);
    if (pool->shut)
        return pool__fail(POOL_ESHUTDOWN, "%s: the pool is shut down", who);
    if (pool->broken)
        return pool__fail(POOL_EBROKEN, "%s: the pool has no workers", who);
    if (pool->max_pending != 0 && pool->core->unsettled >= pool->max_pending)
        return pool__fail(POOL_EAGAIN, "%s: %zu tasks are unsettled, the limit",
            who, pool->core->unsettled);
    if (size > pool->max_argument)
        return pool__fail(POOL_ETOOBIG,
            "%s: %zu bytes of arguments, the limit is %zu", who, size,
            pool->max_argument);
    return 0;
}

int
pool__task_prepare(struct pool *pool, const char *who, pool_fn fn, size_t size,
    struct pool_future **task)
{
    uint16_t number = 0;
    int rc = check_submit(pool, who, fn, size);

    if (rc == 0 && !pool->serial)
        rc = pool__function_number(&pool->sched.functions,
            &pool->table.forkserver.modules, fn, &number);
    if (rc < 0)
        return rc;
    *task = pool__task_new(pool->core, size);
    if (*task == NULL)
        return pool__fail(POOL_ENOMEM, "%s: a task of %zu bytes", who, size);
    (*task)->function = number;
    return 0;
}

/* In a serial pool a task runs where it is submitted. */
static void
run_here(struct pool *pool, struct pool_future *task, pool_fn fn)
{
    struct pool_call call = {
        .size = 1, .models = &pool->models, .max_result = pool->max_result};
    bool was_driving = pool->driving;

    pool->driving = true;
    task->attempts = 1;
    pool__call_begin(&call, task->data, task->size);
    if (pool__call_run(&call, fn) == 0) {
        pool__task_value(task, call.result, call.result_size, NULL);
    } else {
        pool_failure_t failure = {.code = call.error.code,
            .task_code = call.error.task_code,
            .message = call.error.message,
            .exit_status = -1};
        pool__task_failed(task, &failure);
    }
    pool__call_fini(&call);
    pool->driving = was_driving;
}

static void
fail_unknown(struct pool_future *task)
{
    static const pool_failure_t failure = {.code = POOL_ENOFUNC,
        .message = "the function's module was not loaded when the forkserver "
                   "was made",
        .exit_status = -1};

    pool__task_failed(task, &failure);
}

void
pool__task_start(struct pool *pool, struct pool_future *task, pool_fn fn,
    struct pool_future **future)
{
    if (future != NULL)
        *future = task;
    if (pool->serial)
        run_here(pool, task, fn);
    else if (!pool->sched.functions.list[task->function].known)
        fail_unknown(task);
    else
        pool__sched_submit(&pool->sched, task);
    if (future == NULL)
        pool__task_unref(task);
}

/* A task of a serial pool may have asked for the pool's end. */
void
pool__leave(struct pool *pool)
{
    if (pool->destroyed && !pool->driving)
        pool_destroy(pool);
}

/* ---- public ----------------------------------------------------------- */

static int
check_options(const pool_task_options_t *options, const char *who)
{
    if (options == NULL || options->size == sizeof *options)
        return 0;
    return pool__fail(POOL_EINVAL,
        "%s: options.size is %zu, not %zu: use POOL_TASK_OPTIONS_INIT", who,
        options->size, sizeof *options);
}

static int
submit_encoded(struct pool *pool, struct pool_future **future,
    const pool_task_options_t *options, pool_fn fn, const char *format,
    va_list args, const char *who)
{
    uint8_t small[POOL__TASK_ROOM];
    struct pool_future *task;
    pool_enc_t enc;
    va_list again;
    size_t size;

    int rc = pool__check(pool, who);
    if (rc == 0)
        rc = check_options(options, who);
    if (rc < 0)
        return rc;
    if (format == NULL)
        format = "";
    va_copy(again, args);
    pool_enc_init(&enc, small, sizeof small);
    rc = pool_vencode(&enc, format, args);
    if (rc == 0 || rc == POOL_ENOSPC)
        rc = pool_enc_finish(&enc, &size);
    if (rc == 0 || rc == POOL_ENOSPC) {
        bool fits = rc == 0;
        rc = pool__task_prepare(pool, who, fn, size, &task);
        if (rc == 0 && fits) {
            memcpy(task->data, small, size);
        } else if (rc == 0) {
            pool_enc_init(&enc, task->data, size);
            (void)pool_vencode(&enc, format, again); /* as it did before */
        }
    }
    va_end(again);
    if (rc < 0)
        return rc;
    task->tag = options != NULL ? options->tag : 0;
    pool__task_start(pool, task, fn, future);
    pool__leave(pool);
    return 0;
}

int
pool_submit(
    pool_t *pool, pool_future_t **future, pool_fn fn, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int rc =
        submit_encoded(pool, future, NULL, fn, format, args, "pool_submit");
    va_end(args);
    return rc;
}

int
pool_submit_opts(pool_t *pool, pool_future_t **future,
    const pool_task_options_t *options, pool_fn fn, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int rc = submit_encoded(
        pool, future, options, fn, format, args, "pool_submit_opts");
    va_end(args);
    return rc;
}

int
pool_submit_bytes(pool_t *pool, pool_future_t **future,
    const pool_task_options_t *options, pool_fn fn, const void *data,
    size_t size)
{
    static const char who[] = "pool_submit_bytes";
    struct pool_future *task = NULL;
    int rc = pool__check(pool, who);

    if (rc == 0)
        rc = check_options(options, who);
    if (rc == 0 && data == NULL && size != 0)
        rc = pool__fail(POOL_EINVAL, "%s: data is NULL, size %zu", who, size);
    if (rc == 0)
        rc = pool__task_prepare(pool, who, fn, size, &task);
    if (rc < 0)
        return rc;
    if (size != 0)
        memcpy(task->data, data, size);
    task->tag = options != NULL ? options->tag : 0;
    pool__task_start(pool, task, fn, future);
    pool__leave(pool);
    return 0;
}
