/* What the benchmarks share. Times are seconds. */
#ifndef FORKPOOL_BENCH_H
#define FORKPOOL_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

static inline double
bench_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline int
bench_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The value below which the part P of N samples lies; sorts them. */
static inline double
bench_quantile(double *samples, size_t n, double p)
{
    qsort(samples, n, sizeof samples[0], bench_compare);
    return samples[(size_t)(p * (double)(n - 1))];
}

/* CPU-bound work of so many steps, about a nanosecond each. */
static inline void
bench_burn(uint64_t steps)
{
    for (uint64_t x = 1; steps != 0; steps--) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        __asm__ volatile("" : "+r"(x));
    }
}

/* report.c: the rows of the table. The bars, what each ratio is to reach,
 * stand there beside its name. */

extern bool bench_quick; /* BENCH_QUICK=1: fewer repeats, no costly rows */

/* One row. Names and texts are kept, not copied. A peer of "" has no value,
 * and the ratio is then the value. */
void bench_add(const char *name, double value, const char *unit,
    const char *peer, double peer_value);

/* One row with a ratio of its own: a median of ratios. */
void bench_add_ratio(const char *name, double value, const char *unit,
    const char *peer, double peer_value, double ratio);

/* A row that could not be measured, and why. */
void bench_missing(const char *name, const char *peer, const char *why);

/* Measure mine and the peer's by turns, so that both see the same noise; the
 * row has the medians of both values and of the ratios. A pair in which other
 * machines took more than 3 % of the processors is measured again, as long as
 * those are not more than REPEATS in all; the last count as they are. A peer
 * that returns nothing above 0 is missing. Returns the ratio, 0 where it is
 * missing. */
typedef double (*bench_fn)(const void *arg);
double bench_pairs(const char *name, const char *unit, int repeats,
    bench_fn mine, const void *arg, const char *peer, bench_fn theirs,
    const void *their_arg);

/* Give up where a call of the library failed; to ask costs a task nothing. */
_Noreturn void bench_give_up(void);
static inline void
bench_check(int rc)
{
    if (rc < 0)
        bench_give_up();
}

void bench_print(void);
int bench_write(const char *path);

/* Before tasks are timed, so many others have used what is used again: twice
 * the buffer in which a worker's replies stand. And so many tasks teach the
 * scheduler how long they take. */
#define BENCH_WARMING ((size_t)20000)
#define BENCH_LEARNING ((size_t)100)

/* ceiling.c: the limits, written as a sceptic would. Each forks its own
 * workers and reaps them. */
double ceiling_noop(size_t tasks, size_t window); /* tasks per second */
/* The same with tasks of so many steps (bench_burn), AHEAD of them always
 * queued for a worker besides those that it has taken. */
double ceiling_busy(size_t tasks, uint64_t steps, size_t ahead);
/* Seconds each, the worker pinned to CPU (-1: not). Polling: both sides read
 * until something is there and never sleep. */
void ceiling_roundtrip(double *samples, size_t n, int cpu, bool polling);
/* Bytes per second, both ways, in the best of so many round trips with warm
 * buffers; 0: in the first one. */
double ceiling_large(size_t size, int times);
double ceiling_memcpy(size_t size); /* bytes per second */
double ceiling_fork(int times);     /* seconds each */

/* tasks.c: what more than one group uses. A pool of so many workers, ready; a
 * no-op of 64 bytes each way; tasks per second of them; seconds from a crash to
 * the next result. */
struct pool;
struct pool_future;
void bench_submit_noop(struct pool *pool, struct pool_future **future);
struct pool *bench_pool(int workers);
double bench_noop(size_t tasks, size_t window, int workers);
double bench_respawn(struct pool *pool, double *samples, size_t n);

/* tasks.c, cost.c, peers.c, loop.c: each a group of rows. */
void bench_throughput(void);
void bench_roundtrip(void);
void bench_large(void);
void bench_efficiency(void);
void bench_spawn(void);
void bench_memory(void);
void bench_flatness(void);
void bench_hidden(void);
void bench_spawn_rss(void);
void bench_peers(void);
void bench_codec(void);
void bench_stalls(void);
void bench_drives(void);
void bench_idle(void);
void bench_manager(void); /* manager.c: scatter and gather */

#endif
