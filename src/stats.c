/* Histograms and failures by code.
 *
 * A bucket is the upper 8 bits of a packed duration: 5 of its exponent and 3
 * of its mantissa. Invariant: bounds never fall from one bucket to the next;
 * of an exponent above 0 the lower half of the mantissas does not occur, and
 * those buckets are empty: their bound is that of the bucket before. */
#include "stats.h"

#include <string.h>

#define LAST (POOL_HISTOGRAM_BUCKETS - 1)

void
pool__stats_failed(struct pool__stats *stats, int code)
{
    switch (code) {
    case POOL_ETASK:
        stats->failed_task++;
        break;
    case POOL_EDIED:
        stats->failed_died++;
        break;
    case POOL_EDEADLINE:
        stats->failed_deadline++;
        break;
    case POOL_EBROKEN:
        stats->failed_broken++;
        break;
    case POOL_EPROTO:
        stats->failed_proto++;
        break;
    default:
        stats->failed_other++;
    }
}

uint64_t
pool_histogram_bound(unsigned bucket)
{
    unsigned exponent = bucket >> 3, mantissa = bucket & 7;

    if (bucket >= LAST)
        return UINT64_MAX; /* it takes all that is longer */
    if (exponent > 0 && mantissa < 4)
        mantissa = 3;
    return (uint64_t)(mantissa + 1) << (8 + exponent);
}

/* The bound of the bucket of the nth shortest, which may be that of no
 * duration: then the longest one's. */
static uint64_t
nth(const struct pool__durations *d, uint64_t n)
{
    unsigned bucket = 0;
    uint64_t seen = d->buckets[0];

    while (seen < n && bucket < LAST)
        seen += d->buckets[++bucket];
    uint64_t bound = pool_histogram_bound(bucket);
    return bound < d->max_ns ? bound : d->max_ns;
}

void
pool__stats_histogram(const struct pool__durations *from, pool_histogram_t *out)
{
    out->count = from->count;
    out->sum_ns = from->sum_ns;
    out->max_ns = from->max_ns;
    out->p50_ns = nth(from, from->count - from->count / 2);
    out->p99_ns = nth(from, from->count - from->count / 100);
    memcpy(out->buckets, from->buckets, sizeof out->buckets);
}
