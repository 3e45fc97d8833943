/* Scatter: from a job to tasks, one for each chunk, and their end.
 *
 * Invariant: a scatter that is refused has started nothing and leaves nothing;
 * from the start of its first task on it succeeds. */
#include "scatter_host.h"

#include <limits.h>
#include <string.h>

#include "error.h"
#include "mem.h"
#include "owner.h"

static int
check_functions(struct pool *pool, const pool_job_t *job)
{
    int rc = pool__check_known(
        pool, (pool_fn)(void (*)(void))job->build, "pool_scatter: job.build");

    if (rc == 0)
        rc = pool__check_known(pool, (pool_fn)(void (*)(void))job->execute,
            "pool_scatter: job.execute");
    if (rc == 0)
        rc = pool__check_known(pool, (pool_fn)(void (*)(void))job->release,
            "pool_scatter: job.release");
    return rc;
}

/* ---- life --------------------------------------------------------------- */

static void
drop_restored(struct pool_scatter *s)
{
    for (size_t i = 0; s->restored != NULL && i < s->results.count; i++)
        pool__free(s->restored[i].data);
    pool__free(s->restored);
    s->restored = NULL;
}

/* Nobody refers to it any more. */
static void
scatter_delete(struct pool__task_extra *extra)
{
    struct pool_scatter *s =
        pool__container(extra, struct pool_scatter, job.extra);

    drop_restored(s);
    pool__core_keep(s->core, s->block, s->block_size);
    pool__free(s->job.record);
    pool__free(s->results.ranks);
    pool__free(s->futures);
    pool__free(s->watchers);
    pool__free(s->order);
    pool__free(s->names);
    pool__free(s);
}

static void
take_options(
    struct pool_scatter *s, const struct pool *pool, const pool_job_t *job)
{
    struct pool__task_extra *extra = &s->job.extra;

    extra->refs = 1; /* the program's */
    extra->deadline_ms = job->deadline_ms != 0 ? job->deadline_ms
                                               : pool->sched.policy.deadline_ms;
    if (extra->deadline_ms < 0)
        extra->deadline_ms = 0; /* POOL_NONE */
    extra->retries = (uint8_t)job->retries;
    extra->retry_on = (uint8_t)job->retry_on;
    extra->job = &s->job;
    extra->unused = scatter_delete;
    s->builds = job->build != NULL;
    s->on_settled = job->settled;
    s->on_progress = job->progress;
    s->data = job->data;
    s->pause_ns = (uint64_t)job->progress_ms * 1000000;
    s->progress.rows = job->rows;
}

static struct pool_scatter *
scatter_new(struct pool *pool, const pool_job_t *job, size_t ranks)
{
    static uint64_t last;
    struct pool_scatter *s = pool__zalloc(sizeof *s);

    if (s == NULL)
        return NULL;
    s->core = pool->core;
    s->job.number = __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
    take_options(s, pool, job);
    s->results.count = ranks;
    s->results.ranks = pool__zalloc(ranks * sizeof s->results.ranks[0]);
    s->futures = pool__zalloc(ranks * sizeof s->futures[0]);
    s->watchers = pool__malloc(ranks * sizeof s->watchers[0]);
    s->order = pool__malloc(ranks * sizeof s->order[0]);
    if (job->restore != NULL)
        s->restored = pool__zalloc(ranks * sizeof s->restored[0]);
    if (s->results.ranks == NULL || s->futures == NULL || s->watchers == NULL ||
        s->order == NULL || (job->restore != NULL && s->restored == NULL)) {
        scatter_delete(&s->job.extra);
        return NULL;
    }
    return s;
}

/* ---- what is known already ---------------------------------------------- */

static int
restore_one(struct pool_scatter *s, const pool_job_t *job, size_t rank)
{
    struct pool__restored *to = &s->restored[rank];
    const void *results = NULL;
    size_t size = 0;
    int rc = job->restore((int)rank, &s->results.ranks[rank].parameters,
        &results, &size, job->data);

    if (rc == 0)
        return 0;
    if (rc < 0)
        return pool__fail(
            rc, "pool_scatter: job.restore returned %d for rank %zu", rc, rank);
    if (rc != 1 || (results == NULL && size != 0) || size > UINT32_MAX)
        return pool__fail(POOL_EINVAL,
            "pool_scatter: job.restore gave %d and %zu bytes at %p for rank "
            "%zu",
            rc, size, results, rank);
    to->here = true;
    to->size = size;
    to->data = size != 0 ? pool__malloc(size) : NULL;
    if (size != 0 && to->data == NULL)
        return pool__fail(
            POOL_ENOMEM, "pool_scatter: the results of rank %zu", rank);
    if (size != 0)
        memcpy(to->data, results, size);
    return 0;
}

/* A peer that does not run would fail the others: all run, or none. */
static void
keep_all_or_none(struct pool_scatter *s)
{
    size_t here = 0;

    for (size_t i = 0; i < s->results.count; i++)
        here += s->restored[i].here;
    if (here == s->results.count)
        return;
    for (size_t i = 0; i < s->results.count; i++) {
        pool__free(s->restored[i].data);
        s->restored[i] = (struct pool__restored){.here = false};
    }
}

/* Code of the program runs: the pool may go meanwhile, the core does not. */
static int
restore_all(struct pool_scatter *s, const pool_job_t *job)
{
    struct pool__core *core = s->core;
    int rc = 0;

    if (job->restore == NULL)
        return 0;
    core->cells_out++;
    pool__unlock(core);
    for (size_t i = 0; i < s->results.count && rc == 0; i++)
        rc = restore_one(s, job, i);
    pool__lock(core);
    core->cells_out--;
    if (rc == 0 && core->pool == NULL)
        rc = pool__fail(POOL_ESHUTDOWN, "pool_scatter: the pool has ended");
    if (rc == 0 && (job->flags & POOL_JOB_PEERS) != 0)
        keep_all_or_none(s);
    return rc;
}

/* ---- tasks -------------------------------------------------------------- */

/* Not all could be made: none is to run. */
static void
drop_tasks(struct pool_scatter *s)
{
    for (size_t i = 0; i < s->results.count && s->futures[i] != NULL; i++)
        pool__task_unmake(s->futures[i]);
}

/* While restore ran, another thread may have resized the pool. */
static int
make_group(struct pool *pool, struct pool_scatter *s)
{
    size_t ranks = s->results.count;

    if (ranks > (size_t)pool->workers)
        return pool__fail(POOL_EINVAL,
            "pool_scatter: %zu peers, the pool has %d workers", ranks,
            pool->workers);
    return pool__group_make(&pool->sched, s->futures, ranks);
}

static int
make_tasks(struct pool *pool, struct pool_scatter *s, const pool_job_t *job)
{
    uint8_t level = (uint8_t)(POOL_MAX_PRIORITY - job->priority);
    int rc = 0;

    for (size_t i = 0; i < s->results.count && rc == 0; i++) {
        size_t size;
        void *payload = pool__scatter_payload(s, i, &size);
        rc = pool__chunk_prepare(pool, "pool_scatter", pool__scatter_run,
            payload, size, &s->job.extra, &s->futures[i]);
        if (rc < 0)
            break;
        s->futures[i]->priority = level;
        s->futures[i]->tag = i;
    }
    if (rc == 0 && (job->flags & POOL_JOB_PEERS) != 0 &&
        pool->drive != POOL__DRIVE_SERIAL)
        rc = make_group(pool, s);
    if (rc < 0)
        drop_tasks(s);
    return rc;
}

/* A chunk that was restored settles as if it had run. */
static void
settle_restored(struct pool *pool, struct pool_scatter *s)
{
    for (size_t i = 0; s->restored != NULL && i < s->results.count; i++) {
        struct pool__restored *r = &s->restored[i];
        struct pool_future *f = s->futures[i];
        if (!r->here)
            continue;
        f->number = ++pool->core->last_number;
        bool large = r->size > POOL__TASK_ROOM;
        pool__task_value(f, r->data, r->size, large ? r->data : NULL);
        if (large)
            r->data = NULL; /* the task's */
        pool__scatter_note(s, i);
        s->progress.done += s->results.ranks[i].parameters.count;
    }
    drop_restored(s);
    s->told = s->settled;
    s->resumed = s->settled != 0;
}

/* Callbacks between two tasks of a serial pool, where they may run. */
static void
tell_here(struct pool *pool)
{
    if (pool->drive == POOL__DRIVE_SERIAL && !pool->driving)
        pool__tell_all(pool);
}

/* In a serial pool hooks run here, and may free the scatter or end the pool;
 * elsewhere nothing happens before the pool is left. */
static void
start_tasks(struct pool *pool, struct pool_scatter *s)
{
    s->job.extra.refs++;
    s->began_ns = pool__now_ns();
    for (size_t i = 0; i < s->results.count; i++)
        if (!pool__task_settled(s->futures[i]))
            pool__scatter_watch(s, i);
    if (s->resumed)
        pool__scatter_tell(s);
    tell_here(pool);
    for (size_t i = 0; i < s->results.count && !s->freed; i++) {
        if (pool->closing || pool->cancelling != POOL__CANCEL_NONE)
            pool__scatter_cancel(s);
        if (pool__task_settled(s->futures[i]))
            continue;
        s->started = i + 1;
        pool__task_start(
            pool, s->futures[i], pool__scatter_run, &s->futures[i]);
        tell_here(pool);
    }
    pool__extra_unref(&s->job.extra);
}

static int
learn_here(struct pool *pool, const struct pool_scatter *s)
{
    if (pool->drive != POOL__DRIVE_SERIAL)
        return 0;
    const struct pool_call call = {.models = &pool->models};
    return pool__model_learn(
        &call, s->job.number, s->job.record, s->job.record_size);
}

static int
prepare(struct pool *pool, struct pool_scatter *s, const pool_job_t *job)
{
    int rc = pool__scatter_deal(s, pool, job);

    if (rc == 0)
        rc = restore_all(s, job);
    if (rc == 0)
        rc = learn_here(pool, s);
    if (rc == 0 && (rc = make_tasks(pool, s, job)) < 0)
        pool__model_release(&pool->models, s->job.number, false);
    return rc;
}

static int
scatter(struct pool *pool, pool_scatter_t **out, const pool_job_t *job)
{
    int rc = pool__job_check(job);

    if (rc == 0)
        rc = check_functions(pool, job);
    if (rc < 0)
        return rc;
    size_t ranks = pool__scatter_chunks(pool, job);
    if (ranks > INT_MAX)
        return pool__fail(
            POOL_EINVAL, "pool_scatter: job.chunk makes %zu chunks", ranks);
    if (ranks > pool->max_pending)
        return pool__fail(POOL_EINVAL,
            "pool_scatter: %zu chunks, options.max_pending is %zu", ranks,
            pool->max_pending);
    struct pool_scatter *s = scatter_new(pool, job, ranks);
    if (s == NULL)
        return pool__fail(POOL_ENOMEM, "pool_scatter: %zu rows", job->rows);
    rc = prepare(pool, s, job);
    if (rc < 0) {
        scatter_delete(&s->job.extra);
        return rc;
    }
    pool->last_ranks = job->rows;
    settle_restored(pool, s);
    *out = s;
    start_tasks(pool, s);
    return 0;
}

int
pool_scatter(pool_t *pool, pool_scatter_t **out, const pool_job_t *job)
{
    if (out == NULL)
        return pool__fail(POOL_EINVAL, "pool_scatter: scatter is NULL");
    int rc = pool__enter_pool(pool, "pool_scatter");
    if (rc < 0)
        return rc;
    struct pool__core *core = pool->core;
    rc = scatter(pool, out, job);
    pool__leave(core);
    return rc;
}

/* ---- the end ------------------------------------------------------------- */

static bool
no_hook(void *scatter)
{
    return !((struct pool_scatter *)scatter)->in_hook;
}

void
pool_scatter_free(pool_scatter_t *s)
{
    if (s == NULL || pool__enter(s->core, "pool_scatter_free") < 0)
        return;
    struct pool__core *core = s->core;
    s->freed = true;
    if (core->pool != NULL)
        pool__scatter_cancel(s);
    if (core->threaded && core->thread != pool__thread())
        (void)pool__wait_locked(core, no_hook, s, UINT64_MAX);
    for (size_t i = 0; i < s->results.count; i++)
        pool__task_unref(s->futures[i]);
    pool__extra_unref(&s->job.extra);
    pool__leave(core);
}

pool_future_t *
pool_scatter_future(pool_scatter_t *s, int rank)
{
    if (s == NULL || rank < 0 || (size_t)rank >= s->results.count)
        return NULL;
    return s->futures[rank];
}
