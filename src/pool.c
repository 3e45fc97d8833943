/* Pools: made and resized. Their end is in close.c. */
#define _GNU_SOURCE
#include "pool.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "direct.h"
#include "error.h"
#include "machine.h"
#include "owner.h"
#include "prepare.h"

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

static void *
on_block(void *proc, size_t size)
{
    struct pool__sched *s = sched_of(proc);

    pool__sched_keep_sweeping(s); /* one result is fetched at a time */
    pool__sched_tidy_later(s);
    return pool__core_take(s->core, size);
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
on_collective(void *proc, void *task, const struct pool__frame *frame,
    const void *payload, void *block)
{
    pool__peers_give(proc, task, frame, payload, block);
}

static void
on_lent_sent(void *proc, void *lent)
{
    (void)proc;
    pool__peers_sent(lent);
}

static void
on_feed(void *proc)
{
    pool__peers_feed(proc);
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
on_broken(struct pool__table *table, const char *why)
{
    struct pool *pool = pool_of(table);
    bool strict = pool->sched.policy.strict;
    char text[POOL__MESSAGE_MAX + 160];

    snprintf(text, sizeof text, "%s%s%s", why,
        table->start_message[0] != '\0' ? ": " : "", table->start_message);
    pool->broken = true;
    pool__log(pool, POOL_LOG_POOL, 0, 0, text, strlen(text));
    pool__sched_fail_all(&pool->sched, strict, POOL_EBROKEN, text);
    if (strict)
        pool__table_stop(table, POOL__EV_TERM);
}

static void
on_notable(struct pool__table *table, pid_t pid, const char *text)
{
    pool__log(pool_of(table), POOL_LOG_POOL, pid, 0, text, strlen(text));
}

static void
on_log(void *owner, void *task, const char *text, size_t length)
{
    struct pool__proc *proc = owner;
    struct pool_future *future = task;

    pool__log(pool_of(proc->owner), POOL_LOG_TASK, proc->pid,
        future != NULL ? future->number : 0, text, length);
}

static void
on_output(void *owner, const char *line, size_t length)
{
    struct pool__proc *proc = owner;

    pool__log(
        pool_of(proc->owner), POOL_LOG_OUTPUT, proc->pid, 0, line, length);
}

static const struct pool__table_events table_events = {
    .channel = {.reply = pool__sched_reply,
        .progress = on_progress,
        .block = on_block,
        .payload_sent = on_payload_sent,
        .collective = on_collective,
        .lent_sent = on_lent_sent,
        .feed = on_feed,
        .closed = on_closed,
        .violation = on_violation,
        .log = on_log,
        .output = on_output},
    .ready = on_ready,
    .ended = on_ended,
    .broken = on_broken,
    .notable = on_notable,
};

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
await_workers(struct pool *pool)
{
    struct start start = {pool, pool->sched.policy.min_workers};
    struct pool__table *table = &pool->table;

    (void)pool__drive(pool, start_decided, &start, -1, "pool_create");
    if (table->ready >= start.minimum)
        return 0;
    int error = table->error != 0 ? table->error : POOL_EBROKEN;
    return pool__fail(error,
        "pool_create: %d of %d workers could be started: %s (%s)%s%s",
        table->ready, start.minimum, pool_strerror(error), pool_err_name(error),
        table->start_message[0] != '\0' ? ": " : "", table->start_message);
}

/* The loop and the table of workers, which come from SERVER. */
static int
open_table(struct pool *pool, struct pool__forkserver *server)
{
    int rc = pool__loop_open(pool);

    if (rc < 0) {
        pool__forkserver_stop(server);
        return rc;
    }
    rc = pool__table_init(
        &pool->table, &pool->loop, server, pool__worker_main, &table_events);
    pool->table.inbox.noticed = &pool->core->noticed;
    pool__sched_init(&pool->sched, pool->core, &pool->table);
    if (rc < 0)
        pool__loop_close(pool);
    return rc;
}

/* A forkserver that was made beside threads may have found their locks taken:
 * worth a word. */
static void
note_threads(struct pool *pool)
{
    char text[128];
    int threads = pool->table.forkserver.threads;

    if (threads <= 1)
        return;
    int n = snprintf(text, sizeof text,
        "the forkserver was made while %d threads ran; pool_prepare before "
        "they start avoids that",
        threads);
    pool__log(pool, POOL_LOG_POOL, 0, 0, text, (size_t)n);
}

/* Start the workers, and give the pool to who drives it. */
static int
start_drive(struct pool *pool, const pool_options_t *o)
{
    int rc = 0;

    pool__table_fill(&pool->table);
    if (o->loop != NULL) {
        pool->drive = POOL__DRIVE_HOST;
        rc = pool__host_open(pool, o->loop);
        if (rc < 0)
            pool->drive = POOL__DRIVE_CALLER;
        return rc;
    }
    rc = await_workers(pool);
    if (rc < 0 || o->drive != POOL_DRIVE_THREAD)
        return rc;
    pool->drive = POOL__DRIVE_THREAD;
    rc = pool__thread_start(pool);
    if (rc < 0)
        pool->drive = POOL__DRIVE_CALLER;
    return rc;
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
    pool->alarm.fd = pool->thread.bell = -1;
    core->pool = pool;
    core->stamp = pool__owner_stamp();
    core->thread = core->alone = pool__thread();
    pool__list_init(&pool->models);
    return pool;
}

/* What never had a worker is gone at once. */
static void
pool_delete(struct pool *pool)
{
    struct pool__core *core = pool->core;

    pool__comm_clear(&pool->comm);
    pool__free(pool->setup);
    pool__core_release(core);
    pool__free(pool);
    pool__core_free(core);
}

/* Copies of this process know its functions, others may not. */
static int
check_functions(struct pool *pool, const pool_options_t *o)
{
    if (!pool->table.forkserver.foreign)
        return 0;
    int rc = pool__check_known(
        pool, o->initializer, "pool_create: options.initializer");
    if (rc < 0)
        return rc;
    return pool__check_known(pool, (pool_fn)(uintptr_t)o->finalizer,
        "pool_create: options.finalizer");
}

/* What depends on how many CPUs there are for the workers; those of a foreign
 * maker have their own. */
static void
fit_cpus(struct pool *pool)
{
    int cpus = pool__usable_cpus();

    pool->sched.cpus = pool->table.forkserver.foreign ? INT_MAX : cpus;
    pool__spin_fit(pool, cpus);
}

static int
create_from(
    struct pool *pool, const pool_options_t *o, struct pool__forkserver *server)
{
    int rc = open_table(pool, server);

    if (rc < 0) {
        pool_delete(pool);
        return rc;
    }
    (void)pool__oom_kill_seen(); /* what was before is no news */
    fit_cpus(pool);
    note_threads(pool);
    rc = check_functions(pool, o);
    if (rc == 0)
        rc = pool__options_setup(pool, o);
    if (rc == 0)
        rc = start_drive(pool, o);
    if (rc < 0)
        pool_destroy(pool);
    return rc;
}

/* Its workers are copies of this process, from a forkserver or without one. */
static int
create_forked(struct pool *pool, const pool_options_t *o)
{
    struct pool__forkserver server;
    int rc = pool__check_descriptors(pool->workers);

    if (rc == 0)
        rc = o->start == POOL_START_FORK
                 ? pool__direct_open(&server, pool__worker_main)
                 : pool__prepared_take(&server);
    if (rc == 0)
        return create_from(pool, o, &server);
    pool_delete(pool);
    return rc;
}

/* The pool is a serial one: its process is the worker. */
static int
create_serial(struct pool *pool, const pool_options_t *o)
{
    struct pool_call call;

    if (o->initializer == NULL)
        return 0;
    pool__serial_call(pool, &call, 0);
    pool__call_begin(
        &call, o->initializer_arguments, o->initializer_arguments_size);
    pool->driving = true;
    int rc = pool__call_run(&call, o->initializer);
    pool->driving = false;
    pool__call_fini(&call);
    if (rc == 0)
        return 0;
    rc = pool__fail(POOL_EBROKEN, "pool_create: the initializer failed: %s",
        call.error.message);
    pool_delete(pool);
    return rc;
}

static int
check_depth(void)
{
    if (pool__depth < POOL_MAX_DEPTH)
        return 0;
    return pool__fail(POOL_ENOTSUP,
        "pool_create: pools are nested %d deep here, the limit", pool__depth);
}

/* A pool that goes by its options and has no workers yet. */
static int
prepare(struct pool **out, const pool_options_t *o)
{
    int rc = pool__options_check(o);

    if (rc == 0)
        rc = check_depth();
    if (rc == 0)
        rc = pool__owner_claim();
    if (rc < 0)
        return rc;
    struct pool *pool = pool_new();
    if (pool == NULL)
        return pool__fail(POOL_ENOMEM, "pool_create: a pool");
    rc = pool__options_take(pool, o);
    if (rc < 0)
        pool_delete(pool);
    else
        *out = pool;
    return rc;
}

int
pool_create(pool_t **out, const pool_options_t *options)
{
    const pool_options_t defaults = POOL_OPTIONS_INIT;
    const pool_options_t *o = options != NULL ? options : &defaults;
    struct pool *pool;

    if (out == NULL)
        return pool__fail(POOL_EINVAL, "pool_create: pool is NULL");
    int rc = prepare(&pool, o);
    if (rc == 0)
        rc = o->backend == POOL_SERIAL ? create_serial(pool, o)
                                       : create_forked(pool, o);
    if (rc == 0)
        *out = pool;
    return rc;
}

int
pool__create_made(
    struct pool **out, const pool_options_t *o, struct pool__forkserver *server)
{
    struct pool *pool;
    int rc = prepare(&pool, o);

    if (rc < 0) {
        pool__forkserver_stop(server);
        return rc;
    }
    rc = create_from(pool, o, server);
    if (rc == 0)
        *out = pool;
    return rc;
}

/* ---- while it lives ---------------------------------------------------- */

static int
check_comm(const struct pool_comm *comm, const char *who)
{
    struct pool *pool = pool__container(comm, struct pool, comm);
    int rc = pool__enter(pool->core, who);

    if (rc == 0)
        pool__leave(pool->core);
    return rc;
}

pool_comm_t *
pool_comm(pool_t *pool)
{
    if (pool__enter_pool(pool, "pool_comm") < 0)
        return NULL;
    pool->comm.size = 1;
    pool->comm.peers = true;
    pool->comm.check = check_comm;
    pool->comm.max_size =
        pool__min((size_t)pool->max_result, pool->max_argument);
    pool__leave(pool->core);
    return &pool->comm;
}

static int
resize(struct pool *pool, int workers)
{
    if (workers < 1 || workers > POOL_MAX_WORKERS)
        return pool__fail(POOL_EINVAL, "pool_resize: workers is %d", workers);
    if (pool->drive == POOL__DRIVE_SERIAL)
        return pool__fail(POOL_ENOTSUP, "pool_resize: of a serial pool");
    if (pool->shut)
        return pool__fail(POOL_ESHUTDOWN, "pool_resize: it is shut down");
    int most = pool->table.forkserver.most;
    if (most != 0 && workers > most)
        return pool__fail(POOL_EINVAL,
            "pool_resize: workers is %d, there are %d ranks", workers, most);
    int rc = workers > pool->workers
                 ? pool__check_descriptors(workers - pool->workers)
                 : 0;
    if (rc < 0)
        return rc;
    pool->workers = workers;
    fit_cpus(pool);
    pool__life_resize(&pool->sched, workers);
    return 0;
}

int
pool_resize(pool_t *pool, int workers)
{
    int rc = pool__enter_pool(pool, "pool_resize");

    if (rc < 0)
        return rc;
    rc = resize(pool, workers);
    pool__leave(pool->core);
    return rc;
}

int
pool_worker_count(pool_t *pool)
{
    if (pool__enter_pool(pool, "pool_worker_count") < 0)
        return 0;
    size_t workers = (size_t)pool->workers;
    if (pool->last_ranks != 0)
        workers = pool__min(workers, pool->last_ranks);
    pool__leave(pool->core);
    return (int)workers;
}
