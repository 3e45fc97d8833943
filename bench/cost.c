/* What the size of things costs: memory of a pending task, a task's time as
 * the queue or the number of workers grows, tiny tasks beside a long one, and a
 * worker's replacement beside a large host. */
#define _GNU_SOURCE
#include <forkpool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

/* ---- many pending tasks ------------------------------------------------- */

/* While it is shut the workers sit in a task each, so that what is submitted
 * stays pending. Shared with the workers. */
static volatile int *gate;

static int
wait_at_gate(pool_call_t *call)
{
    struct timespec ms = {.tv_nsec = 1000000};

    (void)call;
    while (*gate == 0)
        nanosleep(&ms, NULL);
    return 0;
}

struct flood {
    pool_t *pool;
    pool_future_t **futures; /* a ring of all that are pending */
    size_t pending;
};

/* So many tasks pending behind a shut gate. The room for the futures is
 * touched before. */
static void
flood_open(struct flood *f, size_t pending)
{
    if (gate == NULL)
        gate = mmap(NULL, sizeof *gate, PROT_READ | PROT_WRITE,
            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    *gate = 0;
    f->pending = pending;
    f->futures = malloc(pending * sizeof(void *));
    if (f->futures == NULL)
        exit(1);
    memset(f->futures, 1, pending * sizeof(void *));
    f->pool = bench_pool(2);
    for (int i = 0; i < 2; i++)
        bench_check(pool_submit(f->pool, NULL, wait_at_gate, ""));
}

static void
flood_fill(struct flood *f)
{
    for (size_t i = 0; i < f->pending; i++)
        bench_submit_noop(f->pool, &f->futures[i]);
}

static void
flood_close(struct flood *f)
{
    *gate = 1;
    for (size_t i = 0; i < f->pending; i++)
        pool_future_free(f->futures[i]);
    pool_destroy(f->pool);
    free(f->futures);
}

static double
resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long pages = 0;

    if (file == NULL || fscanf(file, "%*d %ld", &pages) != 1)
        exit(1);
    fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

void
bench_memory(void)
{
    size_t n = bench_quick ? 100000 : 1000000;
    struct flood f;

    flood_open(&f, n);
    double before = resident_bytes();
    flood_fill(&f);
    double grown = resident_bytes() - before;
    flood_close(&f);
    bench_add("bytes_per_pending_task", grown / (double)n, "B", "", 0);
}

/* ---- flatness ----------------------------------------------------------- */

struct pending {
    size_t tasks;
    bool warm; /* the pool has had as many before */
};

static void
submit_then_collect(pool_t *pool, pool_future_t **futures, size_t n)
{
    for (size_t i = 0; i < n; i++)
        bench_submit_noop(pool, &futures[i]);
    for (size_t i = 0; i < n; i++) {
        bench_check(pool_future_error(futures[i], -1));
        pool_future_free(futures[i]);
    }
}

/* Have as much memory as N tasks take given to this machine, where it is a
 * virtual one: what its host asks for that is not the library's. The pages are
 * new to the process all the same. */
static void
claim_memory(size_t n)
{
    size_t size = n * 224;
    volatile char *block = malloc(size);

    if (block == NULL)
        exit(1);
    for (size_t at = 0; at < size; at += 4096)
        block[at] = 1;
    free((void *)block);
}

/* Nanoseconds per task, from its submission to the end of its future, where
 * so many are submitted before the first is collected. */
static double
cost_with_pending(const void *arg)
{
    const struct pending *p = arg;
    size_t pending = p->tasks, least = 1000000;
    size_t rounds = pending < least ? least / pending : 1;
    pool_future_t **futures = malloc(pending * sizeof *futures);
    pool_t *pool = bench_pool(2);

    if (futures == NULL)
        exit(1);
    memset(futures, 1, pending * sizeof *futures);
    if (p->warm)
        submit_then_collect(pool, futures, pending);
    else
        claim_memory(pending);
    double began = bench_now();
    for (size_t r = 0; r < rounds; r++)
        submit_then_collect(pool, futures, pending);
    double seconds = bench_now() - began;
    pool_destroy(pool);
    free(futures);
    return 1e9 * seconds / (double)(rounds * pending);
}

static double
cost_with_workers(const void *arg)
{
    return 1e9 /
           bench_noop(bench_quick ? 300000 : 2000000, 60000, *(const int *)arg);
}

void
bench_flatness(void)
{
    static const struct pending few = {1000, true}, many = {1000000, false},
                                again = {1000000, true},
                                most = {10000000, false};
    static const int two = 2, crowd = 128;

    bench_pairs("flatness_pending_1e6_vs_1e3", "ns", 3, cost_with_pending,
        &again, "10^3 pending", cost_with_pending, &few);
    bench_pairs("flatness_pending_1e6_cold_vs_1e3", "ns", 3, cost_with_pending,
        &many, "10^3 pending", cost_with_pending, &few);
    if (bench_quick) /* they need 2 GiB of memory */
        bench_missing("flatness_pending", "10^6 pending", "not in a quick run");
    else
        bench_pairs("flatness_pending", "ns", 5, cost_with_pending, &most,
            "10^6 pending", cost_with_pending, &many);
    bench_pairs("flatness_workers", "ns", 5, cost_with_workers, &crowd,
        "2 workers", cost_with_workers, &two);
}

/* ---- a long task among tiny ones ---------------------------------------- */

static int
rest(pool_call_t *call)
{
    (void)call;
    sleep(2);
    return 0;
}

/* How long until all but the long one have settled. */
static double
seconds_beside_long(size_t place)
{
    enum { N = 10000 };
    static pool_future_t *futures[N];
    pool_t *pool = bench_pool(2);
    double began = bench_now();

    for (size_t i = 0; i < N; i++)
        if (i == place)
            bench_check(pool_submit(pool, &futures[i], rest, ""));
        else
            bench_submit_noop(pool, &futures[i]);
    for (size_t i = 0; i < N; i++)
        if (i != place)
            bench_check(pool_future_error(futures[i], -1));
    double seconds = bench_now() - began;
    for (size_t i = 0; i < N; i++)
        pool_future_free(futures[i]);
    pool_destroy(pool);
    return seconds;
}

void
bench_hidden(void)
{
    double ms[5];

    for (size_t i = 0; i < 5; i++)
        ms[i] = 1e3 * seconds_beside_long(700 + 2000 * i);
    bench_add("hidden_long_task", bench_quantile(ms, 5, 0.5), "ms", "", 0);
}

/* ---- a large host ------------------------------------------------------- */

#define HOST_MEMORY ((size_t)4 << 30)

enum when { NEVER, BEFORE, AFTER };

static void *
touch_memory(void)
{
    void *block = mmap(NULL, HOST_MEMORY, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (block == MAP_FAILED)
        return NULL;
    /* Small pages: what a fork copies is their tables. */
    madvise(block, HOST_MEMORY, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < HOST_MEMORY; i += 4096)
        ((volatile char *)block)[i] = 1;
    return block;
}

/* Microseconds to replace a worker of a host that touched HOST_MEMORY before
 * or after pool_create, or never; 0: there is no such memory. The first few
 * workers use the pages that later ones use again. */
static double
respawn_beside(const void *arg)
{
    enum { N = 100, FIRST = 10, SLOW = 5 };
    enum when when = *(const enum when *)arg;
    size_t n = when == BEFORE ? SLOW : N; /* those take a tenth of a second */
    void *block = when == BEFORE ? touch_memory() : NULL;
    double samples[N], seconds = 0;
    pool_t *pool = bench_pool(1);

    if (when == AFTER)
        block = touch_memory();
    if (when == NEVER || block != NULL) {
        bench_respawn(pool, samples, when == BEFORE ? SLOW : FIRST);
        seconds = bench_respawn(pool, samples, n);
    }
    pool_destroy(pool);
    if (block != NULL)
        munmap(block, HOST_MEMORY);
    return 1e6 * seconds;
}

void
bench_spawn_rss(void)
{
    static const enum when never = NEVER, before = BEFORE, after = AFTER;

    if (bench_quick) {
        bench_missing("spawn_vs_rss", "no memory", "not in a quick run");
        return;
    }
    bench_pairs("spawn_vs_rss", "us", 7, respawn_beside, &after, "no memory",
        respawn_beside, &never);
    bench_pairs("spawn_vs_rss_touched_before", "us", 1, respawn_beside, &before,
        "no memory", respawn_beside, &never);
}
