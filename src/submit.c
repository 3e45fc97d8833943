/* Submitting: from arguments to a task in the queue.
 *
 * Invariant: a call that fails has made no task. */
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "pool.h"

/* ---- tasks ------------------------------------------------------------ */

static bool
is_full(const struct pool *pool)
{
    return pool->core->unsettled >= pool->max_pending;
}

static bool
has_room(void *data)
{
    struct pool *pool = data;

    return !is_full(pool) || pool->shut || pool->broken;
}

static int
refuse(struct pool *pool, const char *who)
{
    pool->core->stats.rejected++;
    pool->core->drain_wanted = pool->core->wake = true;
    return pool__fail(POOL_EAGAIN, "%s: %zu tasks are unsettled, the limit",
        who, pool->core->unsettled);
}

/* The queue is full: wait as the task's options say, at most until END. */
static int
await_room(struct pool *pool, const char *who, int wait_ms, uint64_t end)
{
    if (wait_ms == 0)
        return refuse(pool, who);
    if (wait_ms > 0) {
        uint64_t now = pool__now_ns();
        wait_ms = now < end ? (int)((end - now + 999999) / 1000000) : 0;
    }
    return pool__drive(pool, has_room, pool, wait_ms, who);
}

int
pool__submit_check(struct pool *pool, const char *who, size_t size)
{
    if (pool->shut)
        return pool__fail(POOL_ESHUTDOWN, "%s: the pool is shut down", who);
    if (pool->broken)
        return pool__fail(POOL_EBROKEN, "%s: the pool has no workers", who);
    if (size > pool->max_argument)
        return pool__fail(POOL_ETOOBIG,
            "%s: %zu bytes of arguments, the limit is %zu", who, size,
            pool->max_argument);
    return 0;
}

/* More than the defaults; or a payload that is taken over, then O may be
 * NULL. */
static pool__apart int
take_options(struct pool *pool, struct pool_future *task,
    const pool_task_options_t *o, const void *block)
{
    if (o != NULL) {
        task->tag = o->tag;
        task->priority = (uint8_t)(POOL_MAX_PRIORITY - o->priority);
    }
    if (block == NULL && o->deadline_ms == 0 && o->retries == 0)
        return 0;
    struct pool__task_extra *extra = pool__zalloc(sizeof *extra);
    if (extra == NULL)
        return POOL_ENOMEM;
    extra->refs = 1;
    extra->deadline_ms = pool->sched.policy.deadline_ms;
    if (o != NULL && o->deadline_ms != 0)
        extra->deadline_ms = o->deadline_ms > 0 ? o->deadline_ms : 0;
    extra->retries = (uint8_t)(o != NULL ? o->retries : 0);
    extra->retry_on = (uint8_t)(o != NULL ? o->retry_on : 0);
    task->extra = extra;
    return 0;
}

/* A task that can't come at once: why, or when it can. */
static pool__apart int
admit(struct pool *pool, const char *who, pool_fn fn, size_t size, int wait_ms)
{
    uint64_t end =
        wait_ms > 0 ? pool__now_ns() + (uint64_t)wait_ms * 1000000 : 0;
    int rc = fn != NULL ? pool__submit_check(pool, who, size)
                        : pool__fail(POOL_EINVAL, "%s: fn is NULL", who);

    while (rc == 0 && is_full(pool)) {
        rc = await_room(pool, who, wait_ms, end);
        if (rc == 0)
            rc = pool__submit_check(pool, who, size);
    }
    return rc;
}

/* Whether a task can come at once. */
static bool
comes_at_once(const struct pool *pool, pool_fn fn, size_t size)
{
    return pool__likely(fn != NULL) &&
           pool__likely(!(pool->shut || pool->broken)) &&
           pool__likely(size <= pool->max_argument) &&
           pool__likely(!is_full(pool));
}

/* A task without options, where there is room for one. */
static int
make_task(struct pool *pool, const char *who, pool_fn fn, size_t size,
    void *block, int wait_ms, struct pool_future **task)
{
    int rc =
        comes_at_once(pool, fn, size) ? 0 : admit(pool, who, fn, size, wait_ms);

    if (rc == 0 && pool__likely(pool->drive != POOL__DRIVE_SERIAL))
        rc = pool__function_number(
            &pool->sched.functions, &pool->table.forkserver.modules, fn);
    if (rc < 0)
        return rc;
    *task = pool__task_new(pool->core, size, block);
    if (*task == NULL)
        return pool__fail(POOL_ENOMEM, "%s: a task of %zu bytes", who, size);
    (*task)->function = (uint16_t)rc;
    return 0;
}

int
pool__task_prepare(struct pool *pool, const char *who, pool_fn fn, size_t size,
    void *block, const pool_task_options_t *options, struct pool_future **task)
{
    int rc = make_task(pool, who, fn, size, block,
        options != NULL ? options->wait_ms : 0, task);

    if (pool__likely(options == NULL && block == NULL) || rc < 0 ||
        take_options(pool, *task, options, block) == 0)
        return rc;
    pool__task_unmake(*task);
    return pool__fail(POOL_ENOMEM, "%s: a task's options", who);
}

int
pool__chunk_prepare(struct pool *pool, const char *who, pool_fn fn, void *block,
    size_t size, struct pool__task_extra *extra, struct pool_future **task)
{
    int rc = make_task(pool, who, fn, size, block, 0, task);

    if (rc < 0)
        return rc;
    (*task)->extra = extra;
    extra->refs++;
    return 0;
}

int
pool__check_known(struct pool *pool, pool_fn fn, const char *what)
{
    if (fn == NULL || pool->drive == POOL__DRIVE_SERIAL)
        return 0;
    int number = pool__function_number(
        &pool->sched.functions, &pool->table.forkserver.modules, fn);
    if (number < 0)
        return number;
    if (!pool__function_known(&pool->sched.functions, number))
        return pool__fail(
            POOL_ENOFUNC, "%s is a function that workers cannot know", what);
    return 0;
}

static void
log_here(void *data, const char *text, size_t size)
{
    struct pool *pool = data;

    pool__log(pool, POOL_LOG_TASK, getpid(), pool->serial_task, text, size);
}

void
pool__serial_call(struct pool *pool, struct pool_call *call, uint64_t number)
{
    *call = (struct pool_call){.size = 1,
        .models = &pool->models,
        .max_result = pool->max_result,
        .seed = pool->seed,
        .number = number,
        .state = &pool->state,
        .log = log_here,
        .log_data = pool};
    pool->serial_task = number;
}

/* After POOL_ETASK, the one failure that another run may mend here. */
static bool
may_try_again(const struct pool_future *task)
{
    const struct pool__task_extra *extra = task->extra;

    return extra != NULL && (extra->retry_on & POOL_RETRY_TASK) &&
           task->attempts <= extra->retries;
}

/* In a serial pool a task runs where it is submitted. */
static pool__apart void
run_here(struct pool *pool, struct pool_future *task, pool_fn fn)
{
    struct pool_call call;
    bool was_driving = pool->driving;
    uint64_t outer_task = pool->serial_task;
    int rc;

    pool__serial_call(pool, &call, task->number);
    pool->driving = true;
    do {
        task->attempts++;
        pool__call_begin(&call, pool__task_data(task), task->size);
        rc = pool__call_run(&call, fn);
    } while (rc == POOL_ETASK && may_try_again(task));
    if (rc == 0) {
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
    pool->serial_task = outer_task;
    pool->core->wake = true;
}

static pool__apart void
fail_unknown(const struct pool *pool, struct pool_future *task)
{
    pool_failure_t failure = {.code = POOL_ENOFUNC,
        .message = "the function's module was not loaded when the forkserver "
                   "(or, without one, the pool) was made",
        .exit_status = -1};

    if (pool->table.forkserver.foreign)
        failure.message = "the function's module was not loaded in every rank "
                          "when the pool was made";

    pool__task_failed(task, &failure);
}

void
pool__task_start(struct pool *pool, struct pool_future *task, pool_fn fn,
    struct pool_future **future)
{
    task->number = ++pool->core->last_number;
    if (future != NULL)
        *future = task;
    if (pool__unlikely(pool->drive == POOL__DRIVE_SERIAL))
        run_here(pool, task, fn);
    else if (pool__unlikely(
                 !pool__function_known(&pool->sched.functions, task->function)))
        fail_unknown(pool, task);
    else
        pool__sched_submit(&pool->sched, task);
    if (future == NULL)
        pool__task_unref(task);
}

/* ---- public ----------------------------------------------------------- */

static int
bad_option(const char *who, const char *member, long value)
{
    return pool__fail(POOL_EINVAL, "%s: options.%s is %ld", who, member, value);
}

pool__apart int
pool__task_options_check(const pool_task_options_t *o, const char *who)
{
    if (o->size != sizeof *o)
        return pool__fail(POOL_EINVAL,
            "%s: options.size is %zu, not %zu: use POOL_TASK_OPTIONS_INIT", who,
            o->size, sizeof *o);
    if (o->deadline_ms < POOL_NONE)
        return bad_option(who, "deadline_ms", o->deadline_ms);
    if (o->retries < 0 || o->retries > POOL_MAX_RETRIES)
        return bad_option(who, "retries", o->retries);
    if ((o->retry_on & ~(unsigned)(POOL_RETRY_DEADLINE | POOL_RETRY_TASK)) != 0)
        return bad_option(who, "retry_on", (long)o->retry_on);
    if (o->priority < POOL_MIN_PRIORITY || o->priority > POOL_MAX_PRIORITY)
        return bad_option(who, "priority", o->priority);
    if (o->wait_ms < POOL_NONE)
        return bad_option(who, "wait_ms", o->wait_ms);
    return 0;
}

/* Enter the pool for a submit. */
static int
enter(pool_t *pool, const pool_task_options_t *options, const char *who)
{
    int rc = pool__enter_pool(pool, who);

    if (rc == 0 && pool__unlikely(options != NULL) &&
        (rc = pool__task_options_check(options, who)) < 0)
        pool__leave(pool->core);
    return rc;
}

/* Make a task of what FORMAT says. */
pool__hot static int
prepare_encoded(struct pool *pool, const char *who, pool_fn fn,
    const pool_task_options_t *options, const char *format, va_list args,
    struct pool_future **task)
{
    uint8_t small[POOL__TASK_ROOM];
    pool_enc_t enc;
    va_list again;
    size_t size = 0;

    va_copy(again, args);
    pool_enc_init(&enc, small, sizeof small);
    int rc = pool_vencode(&enc, format, args);
    if (rc == 0 || rc == POOL_ENOSPC)
        rc = pool_enc_finish(&enc, &size);
    if (rc == 0 || rc == POOL_ENOSPC) {
        bool fits = rc == 0;
        rc = pool__task_prepare(pool, who, fn, size, NULL, options, task);
        if (rc == 0 && fits) {
            pool__move_short((*task)->room, small, size);
        } else if (rc == 0) {
            pool_enc_init(&enc, pool__task_data(*task), size);
            (void)pool_vencode(&enc, format, again); /* as it did before */
        }
    }
    va_end(again);
    return rc;
}

pool__hot static int
submit_encoded(struct pool *pool, struct pool_future **future,
    const pool_task_options_t *options, pool_fn fn, const char *format,
    va_list args, const char *who)
{
    struct pool_future *task;
    int rc = enter(pool, options, who);

    if (rc < 0)
        return rc;
    struct pool__core *core = pool->core;
    rc = prepare_encoded(
        pool, who, fn, options, format != NULL ? format : "", args, &task);
    if (rc == 0)
        pool__task_start(pool, task, fn, future);
    pool__leave(core);
    return rc;
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

pool__hot int
pool_submit_bytes(pool_t *pool, pool_future_t **future,
    const pool_task_options_t *options, pool_fn fn, const void *data,
    size_t size)
{
    static const char who[] = "pool_submit_bytes";
    struct pool_future *task = NULL;
    int rc = enter(pool, options, who);

    if (rc < 0)
        return rc;
    struct pool__core *core = pool->core;
    if (data == NULL && size != 0)
        rc = pool__fail(POOL_EINVAL, "%s: data is NULL, size %zu", who, size);
    if (rc == 0)
        rc = pool__task_prepare(pool, who, fn, size, NULL, options, &task);
    if (rc == 0) {
        pool__move(pool__task_data(task), data, size);
        pool__task_start(pool, task, fn, future);
    }
    pool__leave(core);
    return rc;
}

int
pool_submit_owned(pool_t *pool, pool_future_t **future,
    const pool_task_options_t *options, pool_fn fn, void *data, size_t size,
    void (*free_fn)(void *data))
{
    static const char who[] = "pool_submit_owned";
    struct pool_future *task = NULL;
    int rc = enter(pool, options, who);

    if (rc < 0)
        return rc;
    struct pool__core *core = pool->core;
    if (data == NULL)
        rc = pool__fail(POOL_EINVAL, "%s: data is NULL", who);
    if (rc == 0)
        rc = pool__task_prepare(pool, who, fn, size, data, options, &task);
    if (rc == 0) {
        task->extra->free_fn = free_fn;
        pool__task_start(pool, task, fn, future);
    }
    pool__leave(core);
    return rc;
}
