/* What tasks cost: many no-ops, one at a time, a large one, busy ones, and
 * one in a worker that took a dead one's place; each beside its bare limit. */
#define _GNU_SOURCE
#include <forkpool.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"

pool_t *
bench_pool(int workers)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_t *pool;

    options.workers = options.min_workers = workers;
    bench_check(pool_create(&pool, &options));
    return pool;
}

static int
noop(pool_call_t *call)
{
    const void *data;
    size_t size;

    pool_call_bytes(call, &data, &size);
    return pool_call_return_bytes(call, data, size);
}

/* ---- many no-ops -------------------------------------------------------- */

void
bench_submit_noop(pool_t *pool, pool_future_t **future)
{
    static const uint8_t payload[64] = {1};

    bench_check(
        pool_submit_bytes(pool, future, NULL, noop, payload, sizeof payload));
}

static void
collect_noop(pool_future_t *future)
{
    const void *data;
    size_t size;

    bench_check(pool_future_bytes(future, -1, &data, &size));
    pool_future_free(future);
}

static int
negate(pool_call_t *call)
{
    double x;
    int rc = pool_call_args(call, "d", &x);

    return rc < 0 ? rc : pool_call_return(call, "d", -x);
}

static void
submit_typed(pool_t *pool, pool_future_t **future)
{
    bench_check(pool_submit(pool, future, negate, "d", 1.5));
}

static void
collect_typed(pool_future_t *future)
{
    double y;

    bench_check(pool_future_result(future, -1, "d", &y));
    pool_future_free(future);
}

/* A ring of futures: the oldest is collected where the next one goes. This and
 * library_load become part of who names the two functions: a task is measured,
 * not the calls of a loop that the peers' programs don't make. */
static inline __attribute__((always_inline)) double
run_ring(pool_t *pool, size_t tasks, size_t window,
    void (*submit)(pool_t *, pool_future_t **),
    void (*collect)(pool_future_t *))
{
    pool_future_t **ring = calloc(window, sizeof *ring);
    size_t next = 0;

    if (ring == NULL)
        exit(1);
    double began = bench_now();
    for (size_t i = 0; i < tasks + window; i++) {
        pool_future_t **slot = &ring[next];
        next = next + 1 < window ? next + 1 : 0;
        if (*slot != NULL) {
            collect(*slot);
            *slot = NULL;
        }
        if (i < tasks)
            submit(pool, slot);
    }
    double seconds = bench_now() - began;
    free(ring);
    return (double)tasks / seconds;
}

struct load {
    size_t tasks, window;
    bool cold; /* the pool is new, as its memory is */
};

static inline __attribute__((always_inline)) double
library_load(const struct load *load, int workers,
    void (*submit)(pool_t *, pool_future_t **),
    void (*collect)(pool_future_t *))
{
    pool_t *pool = bench_pool(workers);

    if (!load->cold)
        run_ring(
            pool, BENCH_WARMING + load->window, load->window, submit, collect);
    double rate = run_ring(pool, load->tasks, load->window, submit, collect);
    pool_destroy(pool);
    return rate;
}

double
bench_noop(size_t tasks, size_t window, int workers)
{
    struct load load = {tasks, window, false};

    return library_load(&load, workers, bench_submit_noop, collect_noop);
}

static double
noop_load(const void *load)
{
    return library_load(load, 2, bench_submit_noop, collect_noop);
}

static double
typed_load(const void *load)
{
    return library_load(load, 2, submit_typed, collect_typed);
}

static double
ceiling_load(const void *arg)
{
    const struct load *load = arg;

    return ceiling_noop(load->tasks, load->window);
}

void
bench_throughput(void)
{
    size_t n = bench_quick ? 1000000 : 4000000;
    struct load narrow = {n / 2, 1024, false}, wide = {n, 60000, false};
    struct load cold = {n, 60000, true};

    bench_pairs("throughput_noop64_w1024_vs_ceiling", "tasks/s", 3, noop_load,
        &narrow, "bare frame loop", ceiling_load, &narrow);
    bench_pairs("throughput_noop64_cold_vs_ceiling", "tasks/s", 3, noop_load,
        &cold, "bare frame loop", ceiling_load, &cold);
    bench_pairs("throughput_noop64_vs_ceiling", "tasks/s", 3, noop_load, &wide,
        "bare frame loop", ceiling_load, &wide);
    bench_pairs("throughput_typed_vs_ceiling", "tasks/s", 3, typed_load, &wide,
        "bare frame loop", ceiling_load, &wide);
}

/* ---- one task at a time ------------------------------------------------- */

/* Confines this process to a CPU; -1: to those it had before. */
static void
pin(int cpu)
{
    static cpu_set_t before;
    static bool known;
    cpu_set_t one;

    if (!known)
        sched_getaffinity(0, sizeof before, &before);
    known = true;
    CPU_ZERO(&one);
    CPU_SET((size_t)(cpu < 0 ? 0 : cpu), &one);
    sched_setaffinity(0, sizeof one, cpu < 0 ? &before : &one);
}

/* One way to measure: who is pinned where (-1: not), and whether both sides
 * look for more before they sleep. */
struct roundtrip {
    const char *p50, *p99; /* names; p99 may be NULL */
    const char *peer;
    int host, worker, spin_us;
    bool polling; /* the bare pipe's way: look, never sleep */
};

static int worker_cpu;

static int
pin_worker(pool_call_t *call)
{
    (void)call;
    pin(worker_cpu);
    return 0;
}

/* The host is pinned when the pool is there: with one CPU alone in its mask a
 * pool never spins. */
static void
library_roundtrip(const struct roundtrip *r, double *samples, size_t n)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_future_t *future;
    pool_t *pool;

    worker_cpu = r->worker;
    options.workers = options.min_workers = 1;
    options.initializer = r->worker < 0 ? NULL : pin_worker;
    options.spin_us = r->spin_us;
    bench_check(pool_create(&pool, &options));
    pin(r->host);
    for (size_t i = 0; i < n; i++) {
        double began = bench_now();
        bench_submit_noop(pool, &future);
        bench_check(pool_future_error(future, -1));
        samples[i] = bench_now() - began;
        pool_future_free(future);
    }
    pool_destroy(pool);
    pin(-1);
}

static void
bare_roundtrip(const struct roundtrip *r, double *samples, size_t n)
{
    pin(r->host);
    ceiling_roundtrip(samples, n, r->worker, r->polling);
    pin(-1);
}

/* The medians of five pairs. */
static void
measure_roundtrip(const struct roundtrip *r)
{
    enum { N = 5000, PAIRS = 5 };
    static double mine[N], bare[N];
    double m[2][PAIRS], b[2][PAIRS], ratio[2][PAIRS];
    const char *names[2] = {r->p50, r->p99};
    size_t pairs = bench_quick ? 1 : PAIRS;

    for (size_t i = 0; i < pairs; i++) {
        bare_roundtrip(r, bare, N);
        library_roundtrip(r, mine, N);
        for (int k = 0; k < 2; k++) {
            m[k][i] = 1e6 * bench_quantile(mine, N, k == 0 ? 0.5 : 0.99);
            b[k][i] = 1e6 * bench_quantile(bare, N, k == 0 ? 0.5 : 0.99);
            ratio[k][i] = m[k][i] / b[k][i];
        }
    }
    for (int k = 0; k < 2; k++)
        if (names[k] != NULL)
            bench_add_ratio(names[k], bench_quantile(m[k], pairs, 0.5), "us",
                r->peer, bench_quantile(b[k], pairs, 0.5),
                bench_quantile(ratio[k], pairs, 0.5));
}

void
bench_roundtrip(void)
{
    cpu_set_t set;
    int first = -1, second = -1;

    sched_getaffinity(0, sizeof set, &set);
    for (int cpu = 0; cpu < CPU_SETSIZE && second < 0; cpu++)
        if (CPU_ISSET((size_t)cpu, &set))
            *(first < 0 ? &first : &second) = cpu;
    const struct roundtrip ways[] = {
        {"roundtrip_block_vs_pipe", "roundtrip_block_p99_vs_pipe", "bare pipe",
            first, second, POOL_NONE, false},
        {"roundtrip_spin_vs_pipe", "roundtrip_spin_p99_vs_pipe",
            "bare pipe, polled", first, second, 0, true},
        {"roundtrip_block_same_cpu_vs_pipe", NULL, "bare pipe", first, first,
            POOL_NONE, false},
        {"roundtrip_unpinned_vs_pipe", NULL, "bare pipe", -1, -1, 0, false},
    };
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++)
        if (ways[i].host >= 0 && ways[i].worker < 0)
            bench_missing(ways[i].p50, ways[i].peer, "one CPU alone");
        else
            measure_roundtrip(&ways[i]);
}

/* ---- large payloads there and back -------------------------------------- */

#define LARGE ((size_t)64 << 20)
#define MEDIUM ((size_t)32 << 10)

static uint64_t
sum_words(const void *data, size_t size)
{
    const uint64_t *words = data;
    uint64_t sum = 0;

    for (size_t i = 0; i < size / sizeof *words; i++)
        sum += words[i];
    return sum;
}

static int
answer_large(pool_call_t *call)
{
    const void *data;
    void *block;
    size_t size;

    pool_call_bytes(call, &data, &size);
    uint64_t sum = sum_words(data, size);
    int rc = pool_call_reserve(call, size, &block);
    if (rc == 0)
        memset(block, (int)sum | 1, size);
    return rc;
}

/* Bytes per second, both ways, in the best of so many round trips with warm
 * buffers; 0: in the first one. */
static double
library_large(size_t size, int times)
{
    pool_t *pool = bench_pool(1);
    void *argument = malloc(size);
    pool_future_t *future;
    const void *data;
    volatile uint64_t sum = 0;
    double best = 1e9;

    if (argument == NULL)
        exit(1);
    for (int t = 0; t <= times; t++) {
        double began = bench_now();
        memset(argument, t, size);
        bench_check(pool_submit_owned(
            pool, &future, NULL, answer_large, argument, size, NULL));
        bench_check(pool_future_bytes(future, -1, &data, &size));
        sum += sum_words(data, size);
        double seconds = bench_now() - began;
        pool_future_free(future);
        if ((t > 0 || times == 0) && seconds < best)
            best = seconds;
    }
    pool_destroy(pool);
    free(argument);
    (void)sum;
    return 2.0 * (double)size / best;
}

struct large {
    size_t size;
    int times;
};

static double
mine_large(const void *arg)
{
    const struct large *l = arg;

    return library_large(l->size, l->times) / 1e9;
}

static double
bare_large(const void *arg)
{
    const struct large *l = arg;

    return ceiling_large(l->size, l->times) / 1e9;
}

void
bench_large(void)
{
    static const struct large warm = {LARGE, 12}, cold = {LARGE, 0},
                              medium = {MEDIUM, 1000};

    bench_add("memcpy", ceiling_memcpy(LARGE) / 1e9, "GB/s", "", 0);
    bench_pairs("large_64MiB_vs_pipe", "GB/s", 9, mine_large, &warm,
        "bare pipe, warm", bare_large, &warm);
    bench_pairs("large_64MiB_cold_vs_pipe", "GB/s", 3, mine_large, &cold,
        "bare pipe, cold", bare_large, &cold);
    bench_pairs("payload_32KiB_vs_pipe", "GB/s", 3, mine_large, &medium,
        "bare pipe, warm", bare_large, &medium);
}

/* ---- busy tasks --------------------------------------------------------- */

#define BUSY_WINDOW 1000

struct busy {
    size_t tasks, ahead;
    uint64_t steps;
};

static int
burn(pool_call_t *call)
{
    const void *data;
    uint64_t steps;

    pool_call_bytes(call, &data, NULL);
    memcpy(&steps, data, sizeof steps);
    bench_burn(steps);
    return pool_call_return_bytes(call, data, 64);
}

static uint64_t burn_payload[8];

static void
submit_burn(pool_t *pool, pool_future_t **future)
{
    bench_check(pool_submit_bytes(
        pool, future, NULL, burn, burn_payload, sizeof burn_payload));
}

static double
library_busy(const void *arg)
{
    const struct busy *busy = arg;
    pool_t *pool = bench_pool(2);

    burn_payload[0] = 0;
    run_ring(pool, BENCH_WARMING, BUSY_WINDOW, submit_burn, collect_noop);
    burn_payload[0] = busy->steps;
    run_ring(pool, BENCH_LEARNING, BENCH_LEARNING, submit_burn, collect_noop);
    double rate =
        run_ring(pool, busy->tasks, BUSY_WINDOW, submit_burn, collect_noop);
    pool_destroy(pool);
    return rate;
}

static double
bare_busy(const void *arg)
{
    const struct busy *busy = arg;

    return ceiling_busy(busy->tasks, busy->steps, busy->ahead);
}

/* How many steps this machine does in a second, undisturbed. */
static double
steps_per_second(void)
{
    double best = 1e9;

    for (int i = 0; i < 50; i++) {
        double began = bench_now();
        bench_burn(100000);
        double seconds = bench_now() - began;
        best = seconds < best ? seconds : best;
    }
    return 1e5 / best;
}

void
bench_efficiency(void)
{
    double speed = steps_per_second();
    struct busy slow = {15000, 10, (uint64_t)(100e-6 * speed)};
    struct busy fast = {150000, 100, (uint64_t)(10e-6 * speed)};

    bench_pairs("efficiency_100us", "tasks/s", 5, library_busy, &slow,
        "bare frame loop", bare_busy, &slow);
    bench_pairs("efficiency_10us", "tasks/s", 5, library_busy, &fast,
        "bare frame loop", bare_busy, &fast);
}

/* ---- a worker replaced -------------------------------------------------- */

static int
die(pool_call_t *call)
{
    (void)call;
    raise(SIGKILL);
    return 0;
}

/* From a crash to the first result of the worker that took the place: the
 * median of n. */
double
bench_respawn(pool_t *pool, double *samples, size_t n)
{
    pool_future_t *crash, *next;

    for (size_t i = 0; i < n; i++) {
        bench_check(pool_submit(pool, &crash, die, ""));
        pool_future_error(crash, -1);
        double began = bench_now();
        bench_submit_noop(pool, &next);
        bench_check(pool_future_error(next, -1));
        samples[i] = bench_now() - began;
        pool_future_free(crash);
        pool_future_free(next);
    }
    return bench_quantile(samples, n, 0.5);
}

void
bench_spawn(void)
{
    enum { N = 100 };
    double samples[N];
    pool_t *pool = bench_pool(1);
    double seconds = bench_respawn(pool, samples, N);

    pool_destroy(pool);
    bench_add("spawn_vs_fork", 1e6 * seconds, "us", "fork+exit+wait",
        1e6 * ceiling_fork(N));
}
