/* Callbacks: each task tells when it is done, and how. They run inside the
 * calls that drive the pool, here pool_poll and pool_wait. */
#include <forkpool.h>
#include <stdio.h>

enum { N = 6 };

struct tally {
    int done, failed, cancelled;
    int called[N];
};

static int
halve(pool_call_t *call)
{
    int n, rc = pool_call_args(call, "i", &n);

    if (rc < 0)
        return rc;
    if (n % 2 != 0)
        return pool_call_fail(call, 1, "%d is odd", n);
    return pool_call_return(call, "i", n / 2);
}

static void
on_done(pool_future_t *future, void *data)
{
    struct tally *tally = data;
    int half;

    tally->called[pool_future_tag(future)]++;
    if (pool_future_cancelled(future))
        tally->cancelled++;
    else if (pool_future_result(future, 0, "i", &half) == 0)
        tally->done++;
    else
        tally->failed++;
}

int
main(void)
{
    pool_task_options_t task = POOL_TASK_OPTIONS_INIT;
    struct tally tally = {0};
    pool_future_t *futures[N];
    pool_t *pool;
    size_t settled;

    if (pool_create(&pool, NULL) < 0) {
        fprintf(stderr, "%s\n", pool_errmsg());
        return 1;
    }
    for (int i = 0; i < N; i++) {
        task.tag = (uint64_t)i;
        if (pool_submit_opts(pool, &futures[i], &task, halve, "i", i) < 0 ||
            pool_future_add_done_callback(futures[i], on_done, &tally) < 0)
            return 1;
    }

    /* Let the pool work until the first callback has run ... */
    while (tally.done + tally.failed == 0)
        if (pool_poll(pool, -1) < 0)
            return 1;
    /* ... then wait for all the others. */
    if (pool_wait(futures, N, POOL_ALL_COMPLETED, -1, &settled) < 0)
        return 1;
    printf("%zu settled: %d done, %d failed, %d cancelled\n", settled,
        tally.done, tally.failed, tally.cancelled);
    for (int i = 0; i < N; i++)
        printf("task %d: %d callback\n", i, tally.called[i]);

    /* On a future that has settled, it is called at once. */
    pool_future_add_done_callback(futures[0], on_done, &tally);
    printf("task 0: %d callbacks\n", tally.called[0]);
    for (int i = 0; i < N; i++)
        pool_future_free(futures[i]);
    pool_destroy(pool);
    return 0;
}
