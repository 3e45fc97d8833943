/* A crash costs one task: of six, two end their worker, one fails politely. */
#include <forkpool.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static int
risky(pool_call_t *call)
{
    int n, rc = pool_call_args(call, "i", &n);

    if (rc < 0)
        return rc;
    if (n == 2)
        raise(SIGSEGV);
    if (n == 3)
        exit(7);
    if (n == 4)
        return pool_call_fail(call, 40, "%d is not a number we like", n);
    return pool_call_return(call, "i", n * n);
}

int
main(void)
{
    enum { N = 6 };
    pool_future_t *futures[N];
    pool_t *pool;

    if (pool_create(&pool, NULL) < 0) {
        fprintf(stderr, "%s\n", pool_errmsg());
        return 1;
    }
    for (int i = 0; i < N; i++)
        if (pool_submit(pool, &futures[i], risky, "i", i) < 0)
            return 1;
    for (int i = 0; i < N; i++) {
        int value, rc = pool_future_result(futures[i], -1, "i", &value);
        if (rc == 0)
            printf("task %d: %d\n", i, value);
        else
            printf("task %d: %s: %s\n", i, pool_err_name(rc),
                pool_future_failure(futures[i])->message);
        pool_future_free(futures[i]);
    }
    pool_destroy(pool);
    return 0;
}
