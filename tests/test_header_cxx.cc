// The headers compile as C++, and the library can be called from it.
#include <forkpool.h>
#include <forkpool_mpi.h>

static int
twice(pool_call_t *call)
{
    double x = 0;
    int rc = pool_call_args(call, "d", &x);

    return rc < 0 ? rc : pool_call_return(call, "d", 2 * x);
}

int
main()
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_job_t job = POOL_JOB_INIT;
    pool_t *pool = nullptr;
    pool_future_t *future = nullptr;
    double y = 0;

    options.workers = 1;
    if (job.size != sizeof job || pool_create(&pool, &options) != 0)
        return 1;
    if (pool_submit(pool, &future, twice, "d", 21.0) != 0 ||
        pool_future_result(future, -1, "d", &y) != 0)
        return 2;
    pool_future_free(future);
    pool_destroy(pool);
    return y == 42.0 ? 0 : 3;
}
