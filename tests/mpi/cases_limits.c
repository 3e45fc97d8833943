/* What a pool over MPI refuses, and what it costs while nothing happens. */
#include <time.h>

#include "mpi_check.h"

/* ---- refused ------------------------------------------------------------ */

static void
host_loop(pool_options_t *options, int rank)
{
    options->loop = rank == 0 ? (struct uv_loop_s *)options : NULL;
}

static void
thread(pool_options_t *options, int rank)
{
    options->drive = rank == 0 ? POOL_DRIVE_THREAD : 0;
}

static void
start_fork(pool_options_t *options, int rank)
{
    options->start = rank == 0 ? POOL_START_FORK : 0;
}

static void
captured(pool_options_t *options, int rank)
{
    options->worker_stderr = rank == 0 ? POOL_OUTPUT_CAPTURE : 0;
}

static void
captured_out(pool_options_t *options, int rank)
{
    options->worker_stdout = rank == 0 ? POOL_OUTPUT_CAPTURE : 0;
}

static void
memory(pool_options_t *options, int rank)
{
    options->max_worker_memory = rank == 0 ? 1 << 30 : 0;
}

static void
resident(pool_options_t *options, int rank)
{
    options->max_worker_rss = rank == 0 ? 1 << 30 : 0;
}

static void
too_many(pool_options_t *options, int rank)
{
    options->workers = rank == 0 ? 65 : 0;
}

static void
out_of_range(pool_options_t *options, int rank)
{
    options->strict = rank == 0 ? 2 : 0;
}

static void
refusals(pool_t *pool, int workers)
{
    pool_t *second;

    (void)workers;
    CHECK_CODE(POOL_ENOTSUP, pool_fd(pool));
    if (workers > 1) {
        CHECK_CODE(POOL_ENOTSUP, pool_mpi_create(&second, NULL));
        CHECK_SAYS("another");
    }
    CHECK_CODE(POOL_EINVAL, pool_mpi_create(NULL, NULL));
}

/* ---- what it costs ------------------------------------------------------ */

static double
cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int
cpu_used(pool_call_t *call)
{
    return pool_call_return(call, "d", cpu_seconds());
}

static double
cpu_of_rank(pool_t *pool)
{
    pool_future_t *future;
    double seconds;

    CHECK_OK(pool_submit(pool, &future, cpu_used, ""));
    CHECK_OK(pool_future_result(future, PATIENCE_MS, "d", &seconds));
    pool_future_free(future);
    return seconds;
}

static void
one_worker(pool_options_t *options, int rank)
{
    (void)rank;
    options->workers = 1;
}

static int
wait_for_idle(pool_call_t *call)
{
    (void)call;
    mpi_await("idle");
    return 0;
}

/* Nothing to do for two seconds: neither side burns its CPU. */
static void
idle(pool_t *pool, int workers)
{
    pool_future_t *future;

    (void)workers;
    double there = cpu_of_rank(pool), here = cpu_seconds();
    CHECK_OK(pool_poll(pool, 0));
    for (int i = 0; i < 20; i++) /* no task, nothing can happen */
        nanosleep(&(struct timespec){0, 100000000}, NULL);
    double idle_here = cpu_seconds() - here;
    double idle_there = cpu_of_rank(pool) - there;
    here = cpu_seconds();
    CHECK_OK(pool_submit(pool, &future, wait_for_idle, ""));
    CHECK_CODE(POOL_ETIMEDOUT, pool_future_error(future, 2000));
    double waiting = cpu_seconds() - here;
    mpi_touch("idle");
    CHECK_OK(pool_future_error(future, PATIENCE_MS));
    pool_future_free(future);
    printf("cpu in 2 s: rank 0 idle %.3f, a rank idle %.3f, rank 0 waiting "
           "%.3f\n",
        idle_here, idle_there, waiting);
    CHECK(idle_here < 0.4 && idle_there < 0.7 && waiting < 1.0);
}

const struct mpi_case mpi_cases_limits[] = {
    {"host_loop", NULL, host_loop, POOL_ENOTSUP},
    {"thread", NULL, thread, POOL_ENOTSUP},
    {"start_fork", NULL, start_fork, POOL_ENOTSUP},
    {"captured", NULL, captured, POOL_ENOTSUP},
    {"captured_out", NULL, captured_out, POOL_ENOTSUP},
    {"memory", NULL, memory, POOL_ENOTSUP},
    {"resident", NULL, resident, POOL_ENOTSUP},
    {"too_many", NULL, too_many, POOL_EINVAL},
    {"out_of_range", NULL, out_of_range, POOL_EINVAL},
    {"refusals", refusals, NULL, 0},
    {"idle", idle, one_worker, 0},
    {NULL, NULL, NULL, 0},
};
