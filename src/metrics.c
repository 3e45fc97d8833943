/* Statistics as text: Prometheus' exposition format 0.0.4.
 *
 * Invariant: nothing here depends on the locale; seconds are written from
 * whole nanoseconds. */
#include "stats.h"

#include <stdarg.h>
#include <stdio.h>

#define SECOND UINT64_C(1000000000)
#define COUNT(a) (sizeof(a) / sizeof(a)[0])
#define SHORTEST 10u /* bounds of the text are 2^10, 2^12, ... 2^40 ns */
#define LONGEST 40u
#define HOUR 254u /* and that of this bucket, 64 minutes */

struct text {
    char *buffer;
    size_t size, length; /* length may exceed size */
    const char *pool;
};

static void put(struct text *t, const char *format, ...) POOL_PRINTF(2, 3);

static void
put(struct text *t, const char *format, ...)
{
    size_t at = pool__min(t->length, t->size);
    va_list args;

    va_start(args, format);
    int n = vsnprintf(
        at < t->size ? t->buffer + at : NULL, t->size - at, format, args);
    va_end(args);
    if (n > 0)
        t->length += (size_t)n;
}

/* {pool="name" */
static void
put_pool(struct text *t)
{
    put(t, "{pool=\"");
    for (const char *c = t->pool; *c != '\0'; c++) {
        if (*c == '\n')
            put(t, "\\n");
        else
            put(t, "%s%c", *c == '"' || *c == '\\' ? "\\" : "", *c);
    }
    put(t, "\"");
}

static void
put_seconds(struct text *t, uint64_t ns)
{
    put(t, "%llu.%09llu", (unsigned long long)(ns / SECOND),
        (unsigned long long)(ns % SECOND));
}

static void
put_head(struct text *t, const char *name, const char *type, const char *help)
{
    put(t, "# HELP forkpool_%s %s\n# TYPE forkpool_%s %s\n", name, help, name,
        type);
}

struct metric {
    const char *name, *help;
    size_t offset; /* of its uint64_t in pool_stats_t */
};

static uint64_t
value_of(const pool_stats_t *stats, size_t offset)
{
    return *(const uint64_t *)(const void *)((const char *)stats + offset);
}

#define AT(member) offsetof(pool_stats_t, member)

static const struct metric counters[] = {
    {"tasks_submitted_total", "Tasks submitted.", AT(submitted)},
    {"tasks_completed_total", "Tasks that returned a value.", AT(completed)},
    {"tasks_cancelled_total", "Tasks cancelled.", AT(cancelled)},
    {"tasks_retried_total", "Runs of tasks again.", AT(retried)},
    {"tasks_rejected_total", "Submits refused by a full queue.", AT(rejected)},
    {"workers_started_total", "Workers that became ready.",
        AT(workers_started)},
    {"workers_died_total", "Workers that died unasked.", AT(workers_died)},
    {"workers_retired_total",
        "Workers retired by a limit, a resize or "
        "idleness.",
        AT(workers_retired)},
    {"worker_start_failures_total", "Workers that failed to start.",
        AT(start_failures)},
    {"forkservers_total", "Forkservers made.", AT(forkservers)},
    {"sent_bytes_total", "Bytes of arguments sent to workers.", AT(bytes_sent)},
    {"received_bytes_total", "Bytes of results received from workers.",
        AT(bytes_received)},
};

static const struct metric gauges[] = {
    {"tasks_pending", "Unsettled tasks not known to run.", AT(pending)},
    {"tasks_running", "Tasks that run.", AT(running)},
    {"workers", "Live workers.", AT(workers)},
    {"workers_idle", "Live workers that hold no task.", AT(idle)},
    {"queued_bytes", "Bytes of arguments of unsettled tasks.",
        AT(queued_bytes)},
    {"forkserver_threads",
        "Threads that ran when the last forkserver was "
        "made.",
        AT(forkserver_threads)},
};

/* Failures by code, as a label. */
static const struct metric failures[] = {
    {"POOL_ETASK", NULL, AT(failed_task)},
    {"POOL_EDIED", NULL, AT(failed_died)},
    {"POOL_EDEADLINE", NULL, AT(failed_deadline)},
    {"POOL_EBROKEN", NULL, AT(failed_broken)},
    {"POOL_EPROTO", NULL, AT(failed_proto)},
    {"other", NULL, AT(failed_other)},
};

static void
put_plain(struct text *t, const struct metric *list, size_t count,
    const char *type, const pool_stats_t *stats)
{
    for (size_t i = 0; i < count; i++) {
        put_head(t, list[i].name, type, list[i].help);
        put(t, "forkpool_%s", list[i].name);
        put_pool(t);
        put(t, "} %llu\n", (unsigned long long)value_of(stats, list[i].offset));
    }
}

static void
put_failures(struct text *t, const pool_stats_t *stats)
{
    put_head(t, "tasks_failed_total", "counter", "Tasks failed, by code.");
    for (size_t i = 0; i < COUNT(failures); i++) {
        put(t, "forkpool_tasks_failed_total");
        put_pool(t);
        put(t, ",code=\"%s\"} %llu\n", failures[i].name,
            (unsigned long long)value_of(stats, failures[i].offset));
    }
}

/* Those of less than BOUND. The bounds of the text are bounds of buckets. */
static void
put_bucket(struct text *t, const char *name, const pool_histogram_t *h,
    uint64_t bound, unsigned *bucket, uint64_t *seen)
{
    while (pool_histogram_bound(*bucket) <= bound)
        *seen += h->buckets[(*bucket)++];
    put(t, "forkpool_%s_bucket", name);
    put_pool(t);
    put(t, ",le=\"");
    put_seconds(t, bound);
    put(t, "\"} %llu\n", (unsigned long long)*seen);
}

static void
put_histogram(struct text *t, const char *name, const char *help,
    const pool_histogram_t *h)
{
    unsigned bucket = 0;
    uint64_t seen = 0;

    put_head(t, name, "histogram", help);
    for (unsigned power = SHORTEST; power <= LONGEST; power += 2)
        put_bucket(t, name, h, UINT64_C(1) << power, &bucket, &seen);
    put_bucket(t, name, h, pool_histogram_bound(HOUR), &bucket, &seen);
    put(t, "forkpool_%s_bucket", name);
    put_pool(t);
    put(t, ",le=\"+Inf\"} %llu\nforkpool_%s_sum", (unsigned long long)h->count,
        name);
    put_pool(t);
    put(t, "} ");
    put_seconds(t, h->sum_ns);
    put(t, "\nforkpool_%s_count", name);
    put_pool(t);
    put(t, "} %llu\n", (unsigned long long)h->count);
}

size_t
pool__metrics_write(
    char *buffer, size_t size, const char *name, const pool_stats_t *stats)
{
    struct text t = {.buffer = buffer, .size = size, .pool = name};

    if (size > 0)
        buffer[0] = '\0';
    put_plain(&t, counters, COUNT(counters), "counter", stats);
    put_failures(&t, stats);
    put_plain(&t, gauges, COUNT(gauges), "gauge", stats);
    put_histogram(&t, "task_run_seconds", "How long tasks ran in workers.",
        &stats->run_time);
    put_histogram(&t, "task_queue_seconds",
        "How long tasks waited to be sent to a worker; beyond 1,024 tasks of "
        "every 64th one.",
        &stats->queue_time);
    return t.length;
}
