/* Submit tasks to a pool of workers and collect what they return. */
#include <forkpool.h>
#include <stdio.h>

static int
square(pool_call_t *call) /* runs in a worker */
{
    double x;
    int rc = pool_call_args(call, "d", &x);

    if (rc < 0)
        return rc;
    return pool_call_return(call, "d", x * x);
}

int
main(void)
{
    pool_options_t options = POOL_OPTIONS_INIT; /* zeros are defaults */
    pool_t *pool;
    pool_future_t *futures[5];

    options.workers = 2;
    if (pool_create(&pool, &options) < 0) {
        fprintf(stderr, "%s\n", pool_errmsg());
        return 1;
    }
    for (int i = 0; i < 5; i++)
        if (pool_submit(pool, &futures[i], square, "d", (double)i) < 0)
            return 1;
    for (int i = 0; i < 5; i++) {
        double y;
        if (pool_future_result(futures[i], -1, "d", &y) == 0)
            printf("%d squared is %g\n", i, y);
        pool_future_free(futures[i]);
    }
    pool_destroy(pool);
    return 0;
}
