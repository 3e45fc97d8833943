/* Settled chunks: counting them, and the calls of settled and progress.
 *
 * Invariants: every task of a scatter is watched from before it starts, and is
 * noted once, in the order of settling. The program is told in that order by
 * one notice, which tells of one chunk and queues itself again: so its calls
 * mix with other callbacks in the order of what happened, and the program may
 * do in them what it likes. When the last chunk is noted the workers give their
 * models back. */
#include <math.h>

#include "scatter_host.h"

/* ---- noting ------------------------------------------------------------ */

static void
on_settled(struct pool__watcher *watcher, struct pool_future *task)
{
    struct pool_scatter *s = pool__scatter_of(task);

    pool__scatter_note(s, (size_t)(watcher - s->watchers));
    if (pool__scatter_untold(s) || pool__scatter_settled(s))
        pool__scatter_tell(s);
}

void
pool__scatter_watch(struct pool_scatter *s, size_t rank)
{
    s->watchers[rank].settled = on_settled;
    pool__task_watch(s->futures[rank], &s->watchers[rank]);
}

void
pool__scatter_note(struct pool_scatter *s, size_t rank)
{
    s->order[s->settled++] = (uint32_t)rank;
}

void
pool__scatter_fill(
    const struct pool_scatter *s, size_t rank, pool_local_results_t *local)
{
    struct pool_future *future = s->futures[rank];

    local->error = future->code;
    local->failure = pool__task_failure(future);
    if (future->code != 0)
        return;
    local->results = pool__task_data(future);
    local->results_size = future->size;
}

/* From the newest on: else those in the queue would take the places of those
 * that were sent. */
void
pool__scatter_cancel(struct pool_scatter *s)
{
    struct pool *pool = s->core->pool;

    for (size_t i = s->results.count; i-- != 0;) {
        struct pool_future *f = s->futures[i];
        if (pool__task_settled(f))
            continue;
        if (pool->drive == POOL__DRIVE_SERIAL
                ? i >= s->started
                : pool__sched_take(&pool->sched, f))
            pool__task_cancelled(f);
    }
}

/* Every process that built for it is to release. */
static void
end_models(struct pool_scatter *s)
{
    struct pool *pool = s->core->pool;

    s->ended = true;
    if (pool == NULL)
        return;
    if (pool->drive == POOL__DRIVE_SERIAL)
        pool__model_release(&pool->models, s->job.number, true);
    else
        pool__sched_end_scatter(&pool->sched, s->job.number, s->builds);
}

/* ---- telling ------------------------------------------------------------ */

static void
call_progress(struct pool_scatter *s)
{
    pool_progress_t *p = &s->progress;
    uint64_t now = pool__now_ns();
    double seconds = (double)(now - s->began_ns) / 1e9;

    if (s->on_progress == NULL || s->freed ||
        (p->done != p->rows && s->called_ns != 0 &&
            now - s->called_ns < s->pause_ns))
        return;
    s->called_ns = now;
    p->rows_per_second =
        s->ran != 0 && seconds > 0 ? (double)s->ran / seconds : 0;
    p->remaining_s = p->rows_per_second > 0
                         ? (double)(p->rows - p->done) / p->rows_per_second
                         : NAN;
    pool_progress_t copy = *p;
    pool__unlock(s->core);
    s->on_progress(&copy, s->data);
    pool__lock(s->core);
}

static void
call_settled(struct pool_scatter *s, const pool_local_results_t *local)
{
    if (s->on_settled == NULL || s->stop != 0)
        return;
    pool__unlock(s->core);
    int rc = s->on_settled(local, s->data);
    pool__lock(s->core);
    if (rc >= 0)
        return;
    s->stop = rc;
    if (!s->freed)
        pool__scatter_cancel(s);
}

static void
tell_chunk(struct pool_scatter *s)
{
    size_t rank = s->order[s->told++];
    struct pool_future *future = s->futures[rank];
    pool_local_results_t local = s->results.ranks[rank];
    size_t rows = local.parameters.count;

    pool__scatter_fill(s, rank, &local);
    s->progress.done += rows;
    s->progress.failed += local.error != 0 ? rows : 0;
    s->ran += local.error != POOL_ECANCELED ? rows : 0;
    /* What local points to stays, also where it is freed. */
    (void)pool__task_hold(future, 1);
    call_settled(s, &local);
    call_progress(s);
    pool__task_unref(future);
}

bool
pool__scatter_untold(const struct pool_scatter *s)
{
    return !s->freed && (s->on_settled != NULL || s->on_progress != NULL) &&
           (s->resumed || s->told != s->settled);
}

static void
tell(struct pool__notice *notice)
{
    struct pool_scatter *s =
        pool__container(notice, struct pool_scatter, notice);

    s->noticed = false;
    if (pool__scatter_settled(s) && !s->ended)
        end_models(s);
    s->in_hook = true;
    if (s->resumed && !s->freed) {
        s->resumed = false;
        call_progress(s);
    } else if (pool__scatter_untold(s)) {
        tell_chunk(s);
    }
    s->in_hook = false;
    if (pool__scatter_untold(s))
        pool__scatter_tell(s);
    pool__extra_unref(&s->job.extra);
}

void
pool__scatter_tell(struct pool_scatter *s)
{
    if (s->noticed)
        return;
    s->noticed = true;
    s->job.extra.refs++;
    s->notice.run = tell;
    pool__notice_add(s->core, &s->notice);
}
