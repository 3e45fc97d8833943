/* Pools: made, shut down, destroyed. */
#define _GNU_SOURCE
#include "pool.h"

#include <string.h>

#include "error.h"
#include "fdio.h"
#include "machine.h"
#include "owner.h"
#include "prepare.h"

#define GRACE_DEFAULT_MS 3000
#define PAYLOAD_DEFAULT (256u << 20)

/* ---- events of the worker table --------------------------------------- */

static struct pool *
pool_of(struct pool__table *table)
{
    return pool__container(table, struct pool, table);
}

static struct pool__sched *
sched_of(void *proc)
{
    struct pool__table *table = ((struct pool__proc *)proc)->owner;

    return &pool_of(table)->sched;
}

static void
on_reply(void *proc, void *task, const struct pool__frame *frame,
    const void *payload, void *block)
{
    pool__sched_reply(sched_of(proc), proc, task, frame, payload, block);
}

static void
on_progress(void *proc)
{
    pool__sched_progress(sched_of(proc), proc);
}

static void
on_payload_sent(void *proc, void *task)
{
    (void)proc;
    pool__task_returned(task);
}

static void
on_closed(void *proc)
{
    pool__proc_event(proc, POOL__EV_CLOSED);
}

static void
on_violation(void *owner, const char *what)
{
    struct pool__proc *proc = owner;

    proc->ending.violation = what;
    pool__proc_event(proc, POOL__EV_KILL);
}

static void
on_ready(struct pool__table *table, struct pool__proc *proc)
{
    pool__sched_ready(&pool_of(table)->sched, proc);
}

static void
on_ended(struct pool__table *table, struct pool__proc *proc)
{
    pool__sched_ended(&pool_of(table)->sched, proc);
}

static void
on_broken(struct pool__table *table)
{
    struct pool *pool = pool_of(table);

    pool->broken = true;
    pool__sched_fail_queued(&pool->sched, POOL_EBROKEN,
        "no worker could be started, and none is left");
}

static const struct pool__table_events table_events = {
    .channel = {.reply = on_reply,
        .progress = on_progress,
        .payload_sent = on_payload_sent,
        .closed = on_closed,
        .violation = on_violation},
    .ready = on_ready,
    .ended = on_ended,
    .broken = on_broken,
};

/* ---- options ---------------------------------------------------------- */

static int
bad(const char *member, long long value)
{
    return pool__fail(
        POOL_EINVAL, "pool_create: options.%s is %lld", member, value);
}

static int
check_options(const pool_options_t *o)
{
    if (o->size != sizeof *o)
        return pool__fail(POOL_EINVAL,
            "pool_create: options.size is %zu, not %zu: use POOL_OPTIONS_INIT",
            o->size, sizeof *o);
    if (o->workers < 0 || o->workers > POOL_MAX_WORKERS)
        return bad("workers", o->workers);
    if (o->min_workers < 0 || (o->workers != 0 && o->min_workers > o->workers))
        return bad("min_workers", o->min_workers);
    if (o->backend != POOL_FORK && o->backend != POOL_SERIAL)
        return bad("backend", o->backend);
    if (o->kill_grace_ms < POOL_NONE)
        return bad("kill_grace_ms", o->kill_grace_ms);
    if (o->max_pending < POOL_NONE)
        return bad("max_pending", o->max_pending);
    if (o->max_argument < POOL_NONE ||
        o->max_argument > (int64_t)POOL__FRAME_MAX_PAYLOAD)
        return bad("max_argument", o->max_argument);
    if (o->max_result < POOL_NONE ||
        o->max_result > (int64_t)POOL__FRAME_MAX_PAYLOAD)
        return bad("max_result", o->max_result);
    return 0;
}

static size_t
payload_limit(int64_t option)
{
    if (option == 0)
        return PAYLOAD_DEFAULT;
    return option == POOL_NONE ? POOL__FRAME_MAX_PAYLOAD : (size_t)option;
}

static void
take_options(struct pool *pool, const pool_options_t *o)
{
    pool->serial = o->backend == POOL_SERIAL;
    pool->workers = o->workers != 0 ? o->workers : pool__usable_cpus();
    if (pool->serial)
        pool->workers = 1;
    pool->max_pending = o->max_pending > 0 ? (size_t)o->max_pending : 0;
    pool->max_argument = payload_limit(o->max_argument);
    pool->max_result = payload_limit(o->max_result);
    pool->table.max_result = pool->max_result;
    pool->table.workers = pool->table.wanted = pool->workers;
    pool->table.grace_ms = o->kill_grace_ms == 0  ? GRACE_DEFAULT_MS
                           : o->kill_grace_ms < 0 ? 0
                                                  : o->kill_grace_ms;
}

/* ---- the loop's handles ----------------------------------------------- */

/* Close what the pool itself has in its loop, and the loop. */
static void
close_loop(struct pool *pool)
{
    pool__table_close(&pool->table);
    pool__sched_close(&pool->sched);
    pool__drive_close(pool);
    while (uv_run(&pool->loop, UV_RUN_DEFAULT) != 0)
        ;
    uv_loop_close(&pool->loop);
    pool__table_fini(&pool->table);
    pool__sched_fini(&pool->sched);
}

static int
open_loop(struct pool *pool)
{
    struct pool__forkserver server;
    int rc = pool__prepared_take(&server);

    if (rc < 0)
        return rc;
    unsigned held = pool__standard_hold();
    rc = uv_loop_init(&pool->loop);
    pool__standard_release(held);
    if (rc < 0) {
        pool__forkserver_stop(&server);
        return pool__fail(rc, "pool_create: event loop: %s", uv_strerror(rc));
    }
    pool__drive_init(pool);
    rc = pool__table_init(
        &pool->table, &pool->loop, &server, pool__worker_main, &table_events);
    pool__sched_init(&pool->sched, pool->core, &pool->table);
    if (rc < 0)
        close_loop(pool);
    return rc;
}

/* ---- create ----------------------------------------------------------- */

struct start {
    struct pool *pool;
    int minimum;
};

/* Enough workers are ready, or so few can come that they never will be. */
static bool
start_decided(void *data)
{
    const struct start *start = data;
    const struct pool__table *table = &start->pool->table;

    return table->ready >= start->minimum || start->pool->broken ||
           (table->error != 0 && table->error != POOL_EBROKEN &&
               pool__table_waits(table) && table->living < start->minimum);
}

static int
start_workers(struct pool *pool, int minimum)
{
    struct start start = {pool, minimum != 0 ? minimum : 1};
    struct pool__table *table = &pool->table;

    pool__table_fill(table);
    (void)pool__drive(pool, start_decided, &start, -1, "pool_create");
    if (table->ready >= start.minimum)
        return 0;
    int error = table->error != 0 ? table->error : POOL_EBROKEN;
    return pool__fail(error,
        "pool_create: %d of %d workers could be started: %s (%s)", table->ready,
        start.minimum, pool_strerror(error), pool_err_name(error));
}

static struct pool *
pool_new(void)
{
    struct pool *pool = pool__zalloc(sizeof *pool);
    struct pool__core *core = pool != NULL ? pool__core_new() : NULL;

    if (core == NULL) {
        pool__free(pool);
        return NULL;
    }
    pool->core = core;
    core->pool = pool;
    core->stamp = pool__owner_stamp();
    core->thread = pool__thread();
    pool__list_init(&pool->models);
    pool__list_init(&pool->waited);
    return pool;
}

int
pool_create(pool_t **out, const pool_options_t *options)
{
    const pool_options_t defaults = POOL_OPTIONS_INIT;
    const pool_options_t *o = options != NULL ? options : &defaults;

    if (out == NULL)
        return pool__fail(POOL_EINVAL, "pool_create: pool is NULL");
    int rc = check_options(o);
    if (rc == 0)
        rc = pool__owner_claim();
    if (rc < 0)
        return rc;
    struct pool *pool = pool_new();
    if (pool == NULL)
        return pool__fail(POOL_ENOMEM, "pool_create: a pool");
    take_options(pool, o);
    if (!pool->serial) {
        if (o->min_workers > pool->workers)
            rc = bad("min_workers", o->min_workers);
        if (rc == 0)
            rc = pool__check_descriptors(pool->workers);
        if (rc == 0)
            rc = open_loop(pool);
        if (rc < 0) {
            pool__core_release(pool->core);
            pool__free(pool);
            return rc;
        }
        rc = start_workers(pool, o->min_workers);
    }
    if (rc < 0)
        pool_destroy(pool);
    else
        *out = pool;
    return rc;
}

/* ---- end -------------------------------------------------------------- */

static bool
no_workers(void *pool)
{
    return pool__list_empty(&((struct pool *)pool)->table.procs);
}

static bool
is_over(void *pool)
{
    return ((struct pool *)pool)->core->unsettled == 0 && no_workers(pool);
}

int
pool_shutdown(pool_t *pool, unsigned flags)
{
    int rc = pool__check(pool, "pool_shutdown");

    if (rc < 0)
        return rc;
    if (flags & ~(unsigned)(POOL_SHUTDOWN_WAIT | POOL_SHUTDOWN_CANCEL_FUTURES))
        return pool__fail(
            POOL_EINVAL, "pool_shutdown: unknown flags 0x%x", flags);
    if ((flags & POOL_SHUTDOWN_WAIT) != 0 && pool->driving)
        return pool__fail(POOL_EDEADLK,
            "pool_shutdown: would wait inside a task or callback");
    pool->shut = true;
    if (pool->serial)
        return 0;
    if ((flags & POOL_SHUTDOWN_CANCEL_FUTURES) != 0)
        pool__sched_cancel_pending(&pool->sched);
    if ((flags & POOL_SHUTDOWN_WAIT) == 0) {
        pool__drive_once(pool);
        return 0;
    }
    return pool__drive(pool, is_over, pool, -1, "pool_shutdown");
}

/* Idle workers are told to go, busy ones are made to. */
static void
stop_workers(struct pool *pool)
{
    uv_update_time(&pool->loop); /* the grace begins now */
    pool->table.wanted = 0;
    pool__table_each(proc, &pool->table)
    {
        if (proc->channel.held != 0 || proc->channel.writing)
            pool__proc_event(proc, POOL__EV_TERM);
    }
    pool__sched_cancel_all(&pool->sched);
    pool__table_stop(&pool->table, POOL__EV_RETIRE);
    (void)pool__drive(pool, no_workers, pool, -1, "pool_destroy");
}

/* In a process that was forked from the owner: its copies alone. */
static void
forget_workers(struct pool *pool)
{
    int rc = uv_loop_fork(&pool->loop);

    pool__sched_forget(&pool->sched);
    pool__table_forget(&pool->table);
    if (rc == 0)
        close_loop(pool); /* else its memory stays: nothing may be touched */
}

void
pool_destroy(pool_t *pool)
{
    if (pool == NULL)
        return;
    int rc = pool__check(pool, "pool_destroy");
    if (rc == POOL_EPERM)
        return;
    if (pool->driving && rc == 0) {
        pool->shut = pool->destroyed = true;
        return;
    }
    pool->destroyed = false;
    pool->shut = true;
    if (pool->serial) {
        pool__model_release(&pool->models, 0, rc == 0);
    } else if (rc == POOL_EFORKED) {
        forget_workers(pool);
    } else {
        stop_workers(pool);
        close_loop(pool);
    }
    pool__core_release(pool->core);
    pool__free(pool);
}

int
pool_worker_count(const pool_t *pool)
{
    if (pool__check(pool, "pool_worker_count") < 0)
        return 0;
    size_t workers = (size_t)pool->workers;
    return (int)(pool->last_ranks != 0 ? pool__min(workers, pool->last_ranks)
                                       : workers);
}
