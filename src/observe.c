/* Statistics as the program sees them: counters as they are, gauges counted
 * when it asks. */
#include "error.h"
#include "pool.h"

/* What each worker does at this moment. */
static void
count_workers(struct pool *pool, pool_stats_t *out)
{
    if (pool->drive == POOL__DRIVE_SERIAL)
        return;
    pool__table_each(proc, &pool->table)
    {
        struct pool__channel *ch = &proc->channel;
        if (proc->state != POOL__PROC_READY)
            continue;
        out->workers++;
        pool__channel_skip_recalled(ch);
        if (ch->held == 0)
            out->idle++;
        else if (pool__channel_claimed(ch, ch->head))
            out->running++;
    }
}

static void
fill(struct pool *pool, pool_stats_t *out)
{
    const struct pool__stats *s = &pool->core->stats;

    *out = (pool_stats_t){.size = sizeof *out,
        .submitted = pool->core->last_number,
        .completed = s->completed,
        .cancelled = s->cancelled,
        .failed_task = s->failed_task,
        .failed_died = s->failed_died,
        .failed_deadline = s->failed_deadline,
        .failed_broken = s->failed_broken,
        .failed_proto = s->failed_proto,
        .failed_other = s->failed_other,
        .retried = s->retried,
        .rejected = s->rejected,
        .workers_started = s->workers_started,
        .workers_died = s->workers_died,
        .workers_retired = s->workers_retired,
        .start_failures = s->start_failures,
        .forkservers = s->forkservers,
        .forkserver_threads = s->forkserver_threads,
        .bytes_sent = s->bytes_sent,
        .bytes_received = s->bytes_received,
        .queued_bytes = s->queued_bytes,
        .longest_turn_ns = s->longest_turn_ns};
    out->failed = s->failed_task + s->failed_died + s->failed_deadline +
                  s->failed_broken + s->failed_proto + s->failed_other;
    count_workers(pool, out);
    out->pending =
        pool->core->unsettled - pool__min(out->running, pool->core->unsettled);
    pool__stats_histogram(&s->run_time, &out->run_time);
    pool__stats_histogram(&s->queue_time, &out->queue_time);
}

int
pool_stats(pool_t *pool, pool_stats_t *stats)
{
    if (stats == NULL || stats->size != sizeof *stats)
        return pool__fail(POOL_EINVAL, "pool_stats: %s",
            stats == NULL ? "stats is NULL"
                          : "stats.size is unknown: use POOL_STATS_INIT");
    int rc = pool__enter_pool(pool, "pool_stats");
    if (rc < 0)
        return rc;
    fill(pool, stats);
    pool__leave(pool->core);
    return 0;
}

int
pool_stats_text(pool_t *pool, char *buffer, size_t size, size_t *length)
{
    if (buffer == NULL && size != 0)
        return pool__fail(POOL_EINVAL, "pool_stats_text: buffer is NULL");
    int rc = pool__enter_pool(pool, "pool_stats_text");
    if (rc < 0)
        return rc;
    pool_stats_t *stats = pool__malloc(sizeof *stats);
    size_t n = 0;
    if (stats == NULL) {
        rc = pool__fail(POOL_ENOMEM, "pool_stats_text: a copy");
    } else {
        fill(pool, stats);
        n = pool__metrics_write(buffer, size, pool->name, stats);
        pool__free(stats);
        if (n >= size && size != 0)
            rc = pool__fail(POOL_ENOSPC,
                "pool_stats_text: %zu bytes do not fit into %zu", n + 1, size);
    }
    if (rc != POOL_ENOMEM && length != NULL)
        *length = n;
    pool__leave(pool->core);
    return rc;
}
