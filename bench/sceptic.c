/* What a sceptic would write first: a pool of two, a million no-op tasks of 64
 * bytes, and tasks per second beside a bare frame loop that does nothing but
 * move the same bytes (ceiling.c).
 *
 *   make bench/sceptic && ./bench/sceptic */
#include <forkpool.h>
#include <stdio.h>

#include "bench.h"

#define TASKS 1000000

static int
noop(pool_call_t *call) /* runs in a worker: returns its argument */
{
    const void *data;
    size_t size;

    pool_call_bytes(call, &data, &size);
    return pool_call_return_bytes(call, data, size);
}

static void
check(int rc)
{
    if (rc < 0) {
        fprintf(stderr, "sceptic: %s\n", pool_errmsg());
        exit(1);
    }
}

int
main(void)
{
    static pool_future_t *futures[TASKS];
    pool_options_t options = POOL_OPTIONS_INIT;
    unsigned char payload[64] = {1};
    const void *data;
    size_t size;
    pool_t *pool;

    options.workers = options.min_workers = 2;
    check(pool_create(&pool, &options));

    double began = bench_now();
    for (int i = 0; i < TASKS; i++)
        check(pool_submit_bytes(
            pool, &futures[i], NULL, noop, payload, sizeof payload));
    for (int i = 0; i < TASKS; i++) {
        check(pool_future_bytes(futures[i], -1, &data, &size));
        if (size != sizeof payload || *(const unsigned char *)data != 1)
            return 1;
        pool_future_free(futures[i]);
    }
    double rate = TASKS / (bench_now() - began);
    pool_destroy(pool);

    double bare = ceiling_noop(TASKS, 60000);
    printf("forkpool         %.2f million tasks/s\n", rate / 1e6);
    printf("bare frame loop  %.2f million frames/s\n", bare / 1e6);
    printf("ratio            %.2f\n", rate / bare);
    return 0;
}
