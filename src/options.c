/* Options of a pool: checked, and turned into what the pool goes by. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "error.h"
#include "machine.h"
#include "pool.h"
#include "worker.h"

#define GRACE_DEFAULT_MS 3000
#define READY_DEFAULT_MS 30000
#define FAILURES_DEFAULT 8
#define SPIN_DEFAULT_US 50
#define SPIN_MOST_US 100000
#define PAYLOAD_DEFAULT (256u << 20)

/* ---- checking ------------------------------------------------------------ */

/* Members that are a number between two others. */
static const struct range {
    const char *name;
    size_t offset;
    bool wide; /* int64_t, else int */
    int64_t least, most;
} ranges[] = {
#define RANGE(member, least, most)                                             \
    {                                                                          \
#member, offsetof(pool_options_t, member),                             \
            sizeof((pool_options_t *)0)->member == sizeof(int64_t), least,     \
            most                                                               \
    }
    RANGE(workers, 0, POOL_MAX_WORKERS),
    RANGE(min_workers, 0, POOL_MAX_WORKERS),
    RANGE(backend, POOL_FORK, POOL_SERIAL),
    RANGE(start, POOL_START_FORKSERVER, POOL_START_FORK),
    RANGE(drive, POOL_DRIVE_CALLER, POOL_DRIVE_THREAD),
    RANGE(strict, 0, 1),
    RANGE(kill_grace_ms, POOL_NONE, INT32_MAX),
    RANGE(deadline_ms, POOL_NONE, INT32_MAX),
    RANGE(ready_deadline_ms, POOL_NONE, INT32_MAX),
    RANGE(idle_timeout_ms, POOL_NONE, INT32_MAX),
    RANGE(max_start_failures, 0, INT32_MAX),
    RANGE(spin_us, POOL_NONE, SPIN_MOST_US),
    RANGE(max_pending, POOL_NONE, INT64_MAX),
    RANGE(max_argument, POOL_NONE, POOL__FRAME_MAX_PAYLOAD),
    RANGE(max_result, POOL_NONE, POOL__FRAME_MAX_PAYLOAD),
    RANGE(max_tasks_per_worker, POOL_NONE, INT64_MAX),
    RANGE(max_worker_age_ms, POOL_NONE, INT64_MAX),
    RANGE(max_worker_rss, POOL_NONE, INT64_MAX),
    RANGE(max_worker_memory, POOL_NONE, INT64_MAX),
    RANGE(worker_stdout, POOL_OUTPUT_INHERIT, POOL_OUTPUT_CAPTURE),
    RANGE(worker_stderr, POOL_OUTPUT_INHERIT, POOL_OUTPUT_CAPTURE),
#undef RANGE
};

static int
bad(const char *member, int64_t value)
{
    return pool__fail(POOL_EINVAL, "pool_create: options.%s is %lld", member,
        (long long)value);
}

static int
check_ranges(const pool_options_t *o)
{
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        const struct range *r = &ranges[i];
        const char *at = (const char *)o + r->offset;
        int64_t value;
        if (r->wide) {
            memcpy(&value, at, sizeof value);
        } else {
            int narrow;
            memcpy(&narrow, at, sizeof narrow);
            value = narrow;
        }
        if (value < r->least || value > r->most)
            return bad(r->name, value);
    }
    return 0;
}

static int
check_name(const char *name)
{
    size_t n = name != NULL ? strlen(name) : 1;

    if (n == 0 || n > 63)
        return pool__fail(POOL_EINVAL,
            "pool_create: options.name has %zu bytes, not 1 to 63", n);
    for (; name != NULL && *name != '\0'; name++)
        if (!isalnum((unsigned char)*name) && strchr("_-.", *name) == NULL)
            return pool__fail(
                POOL_EINVAL, "pool_create: options.name has a '%c'", *name);
    return 0;
}

static int
check_initializer(const pool_options_t *o)
{
    size_t offset;

    if (o->initializer_arguments == NULL && o->initializer_arguments_size != 0)
        return pool__fail(POOL_EINVAL,
            "pool_create: options.initializer_arguments is NULL with a size");
    if (o->initializer_arguments_size > PAYLOAD_DEFAULT)
        return pool__fail(POOL_ETOOBIG,
            "pool_create: options.initializer_arguments has %zu bytes",
            o->initializer_arguments_size);
    if (pool_check(o->initializer_arguments, o->initializer_arguments_size,
            POOL_DEPTH_DEFAULT, &offset) < 0)
        return pool__fail(POOL_EFORMAT,
            "pool_create: options.initializer_arguments: byte %zu is not "
            "well-formed",
            offset);
    return 0;
}

/* What is right alone and wrong together. */
static int
check_together(const pool_options_t *o)
{
    if (o->workers != 0 && o->min_workers > o->workers)
        return bad("min_workers", o->min_workers);
    if (o->loop != NULL && o->drive == POOL_DRIVE_THREAD)
        return pool__fail(
            POOL_EINVAL, "pool_create: options.loop with POOL_DRIVE_THREAD");
    if (o->start == POOL_START_FORK && o->drive == POOL_DRIVE_THREAD)
        return pool__fail(POOL_EINVAL,
            "pool_create: POOL_START_FORK with POOL_DRIVE_THREAD: a child "
            "forked beside threads may find their locks taken");
    return 0;
}

int
pool__options_check(const pool_options_t *o)
{
    if (o->size != sizeof *o)
        return pool__fail(POOL_EINVAL,
            "pool_create: options.size is %zu, not %zu: use POOL_OPTIONS_INIT",
            o->size, sizeof *o);
    int rc = check_ranges(o);
    if (rc == 0)
        rc = check_name(o->name);
    if (rc == 0)
        rc = check_together(o);
    return rc == 0 ? check_initializer(o) : rc;
}

/* ---- taking -----------------------------------------------------------------
 */

static size_t
payload_limit(int64_t option)
{
    if (option == 0)
        return PAYLOAD_DEFAULT;
    return option == POOL_NONE ? POOL__FRAME_MAX_PAYLOAD : (size_t)option;
}

/* 0 is the default, POOL_NONE is 0. */
static int
limit_or(int option, int standard)
{
    if (option == 0)
        return standard;
    return option == POOL_NONE ? 0 : option;
}

static uint64_t
limit(int64_t option)
{
    return option > 0 ? (uint64_t)option : 0;
}

static void
take_policy(struct pool__policy *p, const pool_options_t *o, int workers)
{
    p->deadline_ms = limit_or(o->deadline_ms, 0);
    p->min_workers = o->min_workers != 0 ? o->min_workers : 1;
    p->min_workers = (int)pool__min((size_t)p->min_workers, (size_t)workers);
    p->idle_timeout_ms = limit_or(o->idle_timeout_ms, 0);
    p->max_tasks = limit(o->max_tasks_per_worker);
    p->max_age_ms = limit(o->max_worker_age_ms);
    p->max_rss = limit(o->max_worker_rss);
    p->max_argument = payload_limit(o->max_argument);
    p->max_in_task =
        (uint32_t)pool__min(payload_limit(o->max_result), POOL__TASK_ROOM);
    p->strict = o->strict != 0;
}

int
pool__options_setup(struct pool *pool, const pool_options_t *o)
{
    uintptr_t initializer = (uintptr_t)o->initializer;
    uintptr_t finalizer = (uintptr_t)o->finalizer;
    size_t size = 32 + o->initializer_arguments_size;

    if (o->initializer == NULL && o->finalizer == NULL)
        return 0;
    pool->setup = pool__malloc(size);
    if (pool->setup == NULL)
        return pool__fail(POOL_ENOMEM,
            "pool_create: %zu bytes for the "
            "initializer",
            size);
    pool->table.setup = pool->setup;
    pool->table.template.has_setup = true;
    return pool_encode(pool->setup, size, &pool->table.setup_size, "ttay",
        pool__refer(pool, initializer), pool__refer(pool, finalizer),
        o->initializer_arguments, o->initializer_arguments_size);
}

static void
take_worker(struct pool *pool, const pool_options_t *o)
{
    struct pool__worker_config *w = &pool->table.template;

    w->max_result = pool->max_result;
    w->seed = o->seed;
    w->max_memory = limit(o->max_worker_memory);
    w->depth = pool__depth + 1;
    w->track_rss = o->max_worker_rss > 0;
    /* Not where turns are short or memory is counted. */
    w->has_segment = o->loop == NULL && w->max_memory == 0 &&
                     w->track_rss == 0 && !pool__counted;
    w->stdout_to = (uint8_t)o->worker_stdout;
    w->stderr_to = (uint8_t)o->worker_stderr;
}

static void
take_table(struct pool *pool, const pool_options_t *o)
{
    struct pool__table *t = &pool->table;

    t->stats = &pool->core->stats;
    t->workers = pool->workers;
    t->wanted = pool->sched.policy.min_workers;
    t->grace_ms = limit_or(o->kill_grace_ms, GRACE_DEFAULT_MS);
    t->start_wait_ms = limit_or(o->ready_deadline_ms, READY_DEFAULT_MS);
    t->max_failures = limit_or(o->max_start_failures, FAILURES_DEFAULT);
}

/* Those of which min_workers may be as many. A serial pool has one, whatever
 * the program asks for. */
static int
most_workers(const struct pool *pool, const pool_options_t *o)
{
    if (o->backend != POOL_SERIAL)
        return pool->workers;
    return o->workers != 0 ? o->workers : POOL_MAX_WORKERS;
}

int
pool__options_take(struct pool *pool, const pool_options_t *o)
{
    bool serial = o->backend == POOL_SERIAL;

    pool->drive = serial ? POOL__DRIVE_SERIAL : POOL__DRIVE_CALLER;
    pool->workers = o->workers != 0 ? o->workers : pool__usable_cpus();
    if (serial)
        pool->workers = 1;
    snprintf(pool->name, sizeof pool->name, "%s",
        o->name != NULL ? o->name : "pool");
    uint64_t most = limit(o->max_pending);
    pool->max_pending = most != 0 && most < SIZE_MAX ? (size_t)most : SIZE_MAX;
    pool->max_argument = payload_limit(o->max_argument);
    pool->max_result = payload_limit(o->max_result);
    pool->seed = o->seed;
    pool->log = o->log;
    pool->log_data = o->log_data;
    pool->drain = o->drain;
    pool->drain_data = o->drain_data;
    pool->finalizer = o->finalizer;
    take_policy(&pool->sched.policy, o, pool->workers);
    take_table(pool, o);
    take_worker(pool, o);
    pool->spin_most_ns = (uint64_t)limit_or(o->spin_us, SPIN_DEFAULT_US) * 1000;
    if (o->min_workers > most_workers(pool, o))
        return bad("min_workers", o->min_workers);
    return 0;
}
