/* Small programs under mpirun, where the library initialises MPI: `small
 * WHAT`. Each rank says how it ended. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "forkpool_mpi.h"

#ifndef OTHER_BUILD
#define OTHER_BUILD 0
#endif

static int
add(pool_call_t *call)
{
    int a, b;
    int rc = pool_call_args(call, "ii", &a, &b);

    return rc < 0 ? rc : pool_call_return(call, "i", a + b + OTHER_BUILD);
}

static int
call_exit(pool_call_t *call)
{
    (void)call;
    exit(3);
}

static int
crash(pool_call_t *call)
{
    (void)call;
    raise(SIGSEGV);
    return 0;
}

static int
hang(pool_call_t *call)
{
    (void)call;
    while (pause() < 0)
        ;
    return 0;
}

static int
exit_at_start(pool_call_t *call)
{
    return call_exit(call);
}

/* The last rank is killed while the others wait for it in a collective. */
static int
be_killed(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    pool_comm_t *comm = pool_call_comm(call);
    int rc = pool_barrier(comm);

    (void)model;
    (void)rows;
    if (rc == 0 && pool_comm_rank(comm) == pool_comm_size(comm) - 1)
        raise(SIGKILL);
    return rc == 0 ? pool_barrier(comm) : rc;
}

static void
kill_a_peer(pool_t *pool)
{
    static const double values[64];
    pool_job_t job = POOL_JOB_INIT;
    pool_scatter_t *scatter;
    pool_results_t *results;

    job.execute = be_killed;
    job.rows = (size_t)pool_worker_count(pool);
    job.columns = 1;
    job.values = values;
    job.flags = POOL_JOB_PEERS;
    if (pool_scatter(pool, &scatter, &job) == 0 &&
        pool_gather(scatter, 20000, &results) == 0)
        printf("the job lives on\n");
}

static int
ask(pool_t *pool, pool_fn fn)
{
    pool_future_t *future;
    int sum = 0;
    int rc = pool_submit(pool, &future, fn, "ii", 2, 3);

    if (rc == 0)
        rc = pool_future_result(future, 20000, "i", &sum);
    printf("rank 0: %d workers, 2 + 3 = %d\n", pool_worker_count(pool), sum);
    pool_future_free(future);
    return rc;
}

static void
start_hanging(pool_t *pool)
{
    pool_future_t *future;

    if (pool_submit(pool, &future, hang, "ii", 2, 3) < 0)
        return;
    while (!pool_future_running(future))
        pool_poll(pool, 1);
    pool_future_free(future);
}

static void
say(const char *what, int rc)
{
    printf("%s: %s%s%s\n", what, pool_err_name(rc), rc < 0 ? ": " : "",
        rc < 0 ? pool_errmsg() : "");
    fflush(stdout);
}

int
main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "add";
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_fn fn = strcmp(what, "exit") == 0    ? call_exit
                 : strcmp(what, "crash") == 0 ? crash
                                              : add;
    pool_t *pool = NULL;

    options.kill_grace_ms = 200;
    if (strcmp(what, "start") == 0)
        options.initializer = exit_at_start;
    if (argc > 2)
        options.workers = atoi(argv[2]);
    int rc = strcmp(what, "auto") == 0 ? pool_create_auto(&pool, &options)
                                       : pool_mpi_create(&pool, &options);
    say(pool != NULL ? "has a pool" : "has none", rc);
    if (pool != NULL && strcmp(what, "hang") == 0)
        start_hanging(pool);
    else if (pool != NULL && strcmp(what, "peer") == 0)
        kill_a_peer(pool);
    else if (pool != NULL)
        rc = ask(pool, fn);
    pool_destroy(pool);
    if (strcmp(what, "twice") == 0)
        say("the second", pool_mpi_create(&pool, &options));
    return rc == 0 ? 0 : 1;
}
