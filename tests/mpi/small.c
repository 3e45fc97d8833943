/* Small programs under mpirun, where the library initialises MPI: `small
 * WHAT`. Each rank says how it ended. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "forkpool_mpi.h"

#define RANKS_MAX 8 /* that talk */

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

/* What is said of it goes to the FIFO of MPI_TEST_FIFO, if there is one, where
 * each write is read alone (pipe(7), O_DIRECT). */
static int
crash(pool_call_t *call)
{
    const char *path = getenv("MPI_TEST_FIFO");
    int fd = path != NULL ? open(path, O_WRONLY) : -1;

    (void)call;
    if (path != NULL && (fd < 0 || fcntl(fd, F_SETFL, O_DIRECT) < 0 ||
                            dup2(fd, STDERR_FILENO) < 0))
        return POOL_EINVAL;
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

enum { BARRIER, BCAST, BCAST_VALUE, ALLGATHER, ALLREDUCE, GATHERV };

static int
meet(pool_comm_t *comm, int kind)
{
    const size_t sizes[RANKS_MAX] = {8, 8, 8, 8, 8, 8, 8, 8};
    unsigned char value[] = {1};
    int64_t numbers[3] = {1, 2, 3}, to[RANKS_MAX];
    const pool_part_t *parts;
    const void *out;
    size_t size;

    switch (kind) {
    case BCAST:
        return pool_bcast(comm, numbers, sizeof numbers);
    case BCAST_VALUE:
        return pool_bcast_value(comm, value, sizeof value, &out, &size);
    case ALLGATHER:
        return pool_allgather(comm, numbers, sizeof numbers, &parts);
    case ALLREDUCE:
        return pool_allreduce(comm, numbers, to, 3, POOL_INT64, POOL_SUM);
    case GATHERV:
        return pool_gatherv(
            comm, numbers, 8, to, 8 * (size_t)pool_comm_size(comm), sizes);
    default:
        return pool_barrier(comm);
    }
}

/* One of the ranks is killed while the others wait for it in the
 * collective that the rows name, which has been made once. */
static int
be_killed(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    pool_comm_t *comm = pool_call_comm(call);
    int kind = (int)rows->values[0], rc = meet(comm, kind);

    (void)model;
    if (rc == 0 && pool_comm_rank(comm) == (int)rows->values[1])
        raise(SIGKILL);
    return rc == 0 ? meet(comm, kind) : rc;
}

static void
kill_a_peer(pool_t *pool, int kind, int victim)
{
    double values[2 * RANKS_MAX];
    pool_job_t job = POOL_JOB_INIT;
    pool_scatter_t *scatter;
    pool_results_t *results;

    job.execute = be_killed;
    job.rows = (size_t)pool_worker_count(pool);
    job.columns = 2;
    for (size_t i = 0; i < job.rows && i < RANKS_MAX; i++) {
        values[2 * i] = kind;
        values[2 * i + 1] = victim;
    }
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
        kill_a_peer(pool, argc > 3 ? atoi(argv[3]) : BARRIER,
            argc > 4 ? atoi(argv[4]) : 0);
    else if (pool != NULL)
        rc = ask(pool, fn);
    pool_destroy(pool);
    if (strcmp(what, "twice") == 0)
        say("the second", pool_mpi_create(&pool, &options));
    return rc == 0 ? 0 : 1;
}
