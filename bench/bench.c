/* make bench: what the library does beside the bare limits, in one run. */
#define _GNU_SOURCE
#include <forkpool.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"

#define ROWS_MAX 32
#define REPEATS 3

struct row {
    const char *name, *unit, *peer;
    double value, peer_value, ratio;
};

static struct row rows[ROWS_MAX];
static size_t row_count;

static void
add(const char *name, double value, const char *unit, const char *peer,
    double peer_value)
{
    rows[row_count++] = (struct row){name, unit, peer, value, peer_value,
        peer_value != 0 ? value / peer_value : 0};
}

static void
check(int rc)
{
    if (rc < 0) {
        fprintf(stderr, "bench: %s\n", pool_errmsg());
        exit(1);
    }
}

static pool_t *
make_pool(int workers)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_t *pool;

    options.workers = options.min_workers = workers;
    check(pool_create(&pool, &options));
    return pool;
}

/* ---- no-op tasks of 64 bytes ------------------------------------------ */

static int
noop(pool_call_t *call)
{
    const void *data;
    size_t size;

    pool_call_bytes(call, &data, &size);
    return pool_call_return_bytes(call, data, size);
}

/* A ring of futures: the oldest is collected where the next one goes. */
static double
library_noop(size_t tasks, size_t window)
{
    pool_t *pool = make_pool(2);
    pool_future_t **ring = calloc(window, sizeof *ring);
    uint8_t payload[64] = {1};
    const void *data;
    size_t size;

    if (ring == NULL)
        exit(1);
    double began = bench_now();
    for (size_t i = 0; i < tasks + window; i++) {
        pool_future_t **slot = &ring[i % window];
        if (*slot != NULL) {
            check(pool_future_bytes(*slot, -1, &data, &size));
            pool_future_free(*slot);
            *slot = NULL;
        }
        if (i < tasks)
            check(pool_submit_bytes(
                pool, slot, NULL, noop, payload, sizeof payload));
    }
    double seconds = bench_now() - began;
    free(ring);
    pool_destroy(pool);
    return (double)tasks / seconds;
}

/* The median of interleaved pairs: the machine is noisy. */
static void
bench_noop(const char *name, size_t tasks, size_t window)
{
    double mine[REPEATS], limit[REPEATS], ratio[REPEATS];

    for (int i = 0; i < REPEATS; i++) {
        limit[i] = ceiling_noop(tasks, window);
        mine[i] = library_noop(tasks, window);
        ratio[i] = mine[i] / limit[i];
    }
    add(name, bench_quantile(mine, REPEATS, 0.5), "tasks/s", "bare frame loop",
        bench_quantile(limit, REPEATS, 0.5));
    rows[row_count - 1].ratio = bench_quantile(ratio, REPEATS, 0.5);
}

/* ---- one task at a time ----------------------------------------------- */

static void
bench_roundtrip(void)
{
    enum { N = 20000 };
    static double mine[N], bare[N];
    uint8_t payload[64] = {1};
    pool_t *pool = make_pool(1);
    pool_future_t *future;

    for (size_t i = 0; i < N; i++) {
        double began = bench_now();
        check(pool_submit_bytes(
            pool, &future, NULL, noop, payload, sizeof payload));
        check(pool_future_error(future, -1));
        mine[i] = bench_now() - began;
        pool_future_free(future);
    }
    pool_destroy(pool);
    ceiling_roundtrip(bare, N);
    add("roundtrip_p50_vs_pipe", 1e6 * bench_quantile(mine, N, 0.5), "us",
        "bare pipe", 1e6 * bench_quantile(bare, N, 0.5));
    add("roundtrip_p99_vs_pipe", 1e6 * bench_quantile(mine, N, 0.99), "us",
        "bare pipe", 1e6 * bench_quantile(bare, N, 0.99));
}

/* ---- a result of 64 MiB ----------------------------------------------- */

#define LARGE ((size_t)64 << 20)

static int
fill_large(pool_call_t *call)
{
    void *block;
    int rc = pool_call_reserve(call, LARGE, &block);

    if (rc == 0)
        memset(block, 7, LARGE);
    return rc;
}

static void
bench_large(void)
{
    pool_t *pool = make_pool(1);
    pool_future_t *future;
    const void *data;
    size_t size;
    volatile uint64_t sum = 0;
    double best = 1e9;

    for (int t = 0; t <= 5; t++) {
        double began = bench_now();
        check(pool_submit(pool, &future, fill_large, ""));
        check(pool_future_bytes(future, -1, &data, &size));
        for (size_t i = 0; i < size; i += 8)
            sum += ((const uint8_t *)data)[i];
        double seconds = bench_now() - began;
        pool_future_free(future);
        if (t > 0 && seconds < best)
            best = seconds;
    }
    pool_destroy(pool);
    add("large_64MiB_vs_pipe", (double)LARGE / best / 1e9, "GB/s",
        "bare pipe, warm", ceiling_large(LARGE, 5) / 1e9);
}

/* ---- a worker replaced ------------------------------------------------ */

static int
die(pool_call_t *call)
{
    (void)call;
    raise(SIGKILL);
    return 0;
}

/* From a crash to the first result of the worker that took the place. */
static void
bench_spawn(void)
{
    enum { N = 100 };
    static double samples[N];
    pool_t *pool = make_pool(1);
    pool_future_t *crash, *next;
    uint8_t payload[8] = {0};

    for (size_t i = 0; i < N; i++) {
        check(pool_submit(pool, &crash, die, ""));
        pool_future_error(crash, -1);
        double began = bench_now();
        check(pool_submit_bytes(
            pool, &next, NULL, noop, payload, sizeof payload));
        check(pool_future_error(next, -1));
        samples[i] = bench_now() - began;
        pool_future_free(crash);
        pool_future_free(next);
    }
    pool_destroy(pool);
    add("spawn_vs_fork", 1e6 * bench_quantile(samples, N, 0.5), "us",
        "fork+exit+wait", 1e6 * ceiling_fork(N));
}

/* ---- in a loop ---------------------------------------------------------- */

/* The longest time between two ticks of the host's 1 ms timer. */
static void
bench_stalls(void)
{
    double idle = 1e3 * loop_stall(LOOP_IDLE);

    add("loop_stall_flood", 1e3 * loop_stall(LOOP_FLOOD), "ms", "idle pool",
        idle);
    add("loop_stall_100MiB", 1e3 * loop_stall(LOOP_LARGE), "ms", "idle pool",
        idle);
    add("loop_stall_crashes", 1e3 * loop_stall(LOOP_CRASHES), "ms", "idle pool",
        idle);
}

static void
bench_drives(void)
{
    double caller = loop_throughput(0);

    add("throughput_host_vs_caller", loop_throughput(1), "tasks/s",
        "caller drive", caller);
    add("throughput_thread_vs_caller", loop_throughput(2), "tasks/s",
        "caller drive", caller);
}

/* ---- report ----------------------------------------------------------- */

static void
print_table(void)
{
    printf("%-36s %14s  %-8s %-16s %14s %8s\n", "name", "value", "unit", "peer",
        "peer's value", "ratio");
    for (size_t i = 0; i < row_count; i++)
        printf("%-36s %14.5g  %-8s %-16s %14.5g %8.3f\n", rows[i].name,
            rows[i].value, rows[i].unit, rows[i].peer, rows[i].peer_value,
            rows[i].ratio);
}

static int
write_json(const char *path)
{
    FILE *file = fopen(path, "w");

    if (file == NULL)
        return -1;
    for (size_t i = 0; i < row_count; i++)
        fprintf(file,
            "%s{\"name\": \"%s\", \"value\": %.6g, \"unit\": \"%s\", "
            "\"peer\": \"%s\", \"peer_value\": %.6g, \"ratio\": %.4g}",
            i == 0 ? "[\n " : ",\n ", rows[i].name, rows[i].value, rows[i].unit,
            rows[i].peer, rows[i].peer_value, rows[i].ratio);
    fprintf(file, "\n]\n");
    return fclose(file);
}

int
main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "bench/results.json";

    add("memcpy", ceiling_memcpy(LARGE) / 1e9, "GB/s", "", 0);
    bench_noop("throughput_noop64_w1024_vs_ceiling", 3000000, 1024);
    bench_noop("throughput_noop64_vs_ceiling", 6000000, 60000);
    bench_roundtrip();
    bench_large();
    bench_spawn();
    bench_stalls();
    bench_drives();
    print_table();
    if (write_json(path) != 0) {
        perror(path);
        return 1;
    }
    printf("written to %s\n", path);
    return 0;
}
