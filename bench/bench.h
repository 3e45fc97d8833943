/* What the benchmarks share. Times are seconds. */
#ifndef FORKPOOL_BENCH_H
#define FORKPOOL_BENCH_H

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

/* The limits, written as a sceptic would: ceiling.c. Each forks its own
 * workers and reaps them. */
double ceiling_noop(size_t tasks, size_t window);  /* tasks per second */
void ceiling_roundtrip(double *samples, size_t n); /* seconds each */
double ceiling_large(size_t size, int times);      /* bytes per second */
double ceiling_memcpy(size_t size);                /* bytes per second */
double ceiling_fork(int times);                    /* seconds each */

/* loop.c: a pool in a loop of the program's. How late a 1 ms timer became,
 * seconds; and tasks per second in caller (0), host (1) and thread (2) drive.
 */
enum { LOOP_IDLE, LOOP_FLOOD, LOOP_LARGE, LOOP_CRASHES };
double loop_stall(int load);
double loop_throughput(int drive);

#endif
