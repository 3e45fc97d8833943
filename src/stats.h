/* What a pool counts. Plain numbers, written where things happen. */
#ifndef POOL_SRC_STATS_H
#define POOL_SRC_STATS_H

#include "forkpool.h"
#include "util.h"

struct pool__durations {
    uint64_t count, sum_ns, max_ns;
    uint64_t buckets[POOL_HISTOGRAM_BUCKETS];
};

struct pool__stats {
    uint64_t completed, cancelled, retried, rejected;
    uint64_t failed_task, failed_died, failed_deadline, failed_broken,
        failed_proto, failed_other;
    uint64_t workers_started, workers_died, workers_retired, start_failures;
    uint64_t forkservers, forkserver_threads;
    uint64_t bytes_sent, bytes_received;
    uint64_t longest_turn_ns;
    struct pool__durations run_time, queue_time;
    uint64_t queued_bytes; /* apart from bytes_received: one number is added
                              where the other is taken off */
};

/* Count a duration packed as the flags of a reply (pool__duration_pack): its
 * upper 8 bits are the number of the bucket. */
static inline void
pool__durations_add(struct pool__durations *d, uint16_t packed, uint64_t ns)
{
    d->count++;
    d->sum_ns += ns;
    d->max_ns = pool__max(d->max_ns, ns);
    d->buckets[packed >> 8]++;
}

/* Count a task with so many bytes of arguments that has a value. */
static inline void
pool__stats_completed(
    struct pool__stats *stats, size_t arguments_size, size_t result_size)
{
    stats->queued_bytes -= arguments_size;
    stats->bytes_received += result_size;
    stats->completed++;
}

/* Count a failure by its code. */
void pool__stats_failed(struct pool__stats *stats, int code);

void pool__stats_histogram(
    const struct pool__durations *from, pool_histogram_t *out);

/* The statistics of the pool NAME as Prometheus' text, like snprintf: returns
 * the length of the whole text without the NUL, writes what fits. */
size_t pool__metrics_write(
    char *buffer, size_t size, const char *name, const pool_stats_t *stats);

#endif
