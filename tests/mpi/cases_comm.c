/* Collectives between ranks over MPI. */
#include <stdlib.h>
#include <unistd.h>

#include "mpi_check.h"

#define BIG ((size_t)3 << 20) /* bytes; more than one message */

/* What a rank returns: 0, or the line that failed. */
#define EXPECT(condition)                                                      \
    do {                                                                       \
        if (!(condition))                                                      \
            return pool_call_fail(                                             \
                call, __LINE__, "%s (%s)", #condition, pool_errmsg());         \
    } while (0)

/* One scatter of as many peers as there are workers; each runs EXECUTE on its
 * row, which is its rank. */
static pool_scatter_t *
start_peers(pool_t *pool, int workers, pool_execute_fn execute, int deadline_ms)
{
    static double values[64];
    pool_job_t job = POOL_JOB_INIT;
    pool_scatter_t *scatter;

    for (int i = 0; i < 64; i++)
        values[i] = i;
    job.execute = execute;
    job.rows = (size_t)workers;
    job.columns = 1;
    job.values = values;
    job.flags = POOL_JOB_PEERS;
    job.deadline_ms = deadline_ms;
    CHECK_OK(pool_scatter(pool, &scatter, &job));
    return scatter;
}

/* How each rank ended. */
static const pool_local_results_t *
end_peers(pool_t *pool, pool_scatter_t *scatter, int workers)
{
    const pool_local_results_t *array;
    pool_results_t *results;
    size_t count;

    CHECK_OK(pool_gather(scatter, PATIENCE_MS, &results));
    CHECK_OK(pool_local_results(pool, results, &array, &count));
    CHECK(count == (size_t)workers);
    return array;
}

static void
all_succeed(pool_t *pool, int workers, pool_execute_fn execute)
{
    pool_scatter_t *scatter = start_peers(pool, workers, execute, 0);
    const pool_local_results_t *array = end_peers(pool, scatter, workers);

    for (int i = 0; i < workers; i++)
        if (array[i].error != 0) {
            fprintf(stderr, "rank %d: %s: %s\n", i,
                pool_err_name(array[i].error), array[i].failure->message);
            CHECK(array[i].error == 0);
        }
    pool_scatter_free(scatter);
}

static int
small_ones(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    pool_comm_t *comm = pool_call_comm(call);
    int rank = pool_comm_rank(comm), size = pool_comm_size(comm);
    int64_t number = rank + 1, total, sizes = 0;
    double x[2] = {0.1 * rank, -rank}, y[2];
    const pool_part_t *parts;
    char text[8] = "";
    size_t each[64];
    uint8_t all[64];

    (void)model;
    EXPECT(rows->values[0] == rank && size == pool_call_size(call));
    EXPECT(pool_barrier(comm) == 0);
    if (rank == 0)
        strcpy(text, "root");
    EXPECT(pool_bcast(comm, text, sizeof text) == 0);
    EXPECT(strcmp(text, "root") == 0);
    EXPECT(pool_allreduce(comm, &number, &total, 1, POOL_INT64, POOL_SUM) == 0);
    EXPECT(total == size * (size + 1) / 2);
    EXPECT(pool_allreduce(comm, x, y, 2, POOL_DOUBLE, POOL_MIN) == 0);
    EXPECT(y[0] == 0 && y[1] == -(size - 1));
    EXPECT(pool_allgather(comm, "abcdefgh", (size_t)rank % 8, &parts) == 0);
    for (int i = 0; i < size; i++) {
        EXPECT(parts[i].size == (size_t)i % 8);
        sizes += (int64_t)parts[i].size;
        each[i] = 1;
    }
    uint8_t mine = (uint8_t)(10 + rank);
    EXPECT(pool_gatherv(comm, &mine, 1, all, (size_t)size, each) == 0);
    for (int i = 0; i < size && rank == 0; i++)
        EXPECT(all[i] == 10 + i);
    return pool_call_return(call, "x", sizes);
}

static void
comm_small(pool_t *pool, int workers)
{
    for (int i = 0; i < 20; i++)
        all_succeed(pool, workers, small_ones);
}

static void
fill(uint8_t *bytes, size_t n, int seed)
{
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)((i + (size_t)seed) * 2654435761u >> 11);
}

static int
large_ones(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    pool_comm_t *comm = pool_call_comm(call);
    int rank = pool_comm_rank(comm), size = pool_comm_size(comm);
    uint8_t *mine = malloc(BIG), *other = malloc(BIG);
    const pool_part_t *parts;

    (void)model;
    (void)rows;
    fill(mine, BIG, rank);
    EXPECT(pool_allgather(comm, mine, BIG - (size_t)rank, &parts) == 0);
    for (int i = 0; i < size; i++) {
        fill(other, BIG, i);
        EXPECT(parts[i].size == BIG - (size_t)i);
        EXPECT(memcmp(parts[i].data, other, parts[i].size) == 0);
    }
    EXPECT(pool_bcast(comm, mine, BIG) == 0);
    fill(other, BIG, 0);
    EXPECT(memcmp(mine, other, BIG) == 0);
    free(mine);
    free(other);
    return 0;
}

static void
comm_large(pool_t *pool, int workers)
{
    all_succeed(pool, workers, large_ones);
}

/* ---- what fails ---------------------------------------------------------- */

static int
mismatched(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    pool_comm_t *comm = pool_call_comm(call);
    char byte = 0;

    (void)model;
    (void)rows;
    int rc = pool_comm_rank(comm) == 0 ? pool_barrier(comm)
                                       : pool_bcast(comm, &byte, 1);
    EXPECT(rc == (pool_comm_size(comm) > 1 ? POOL_EINVAL : 0));
    EXPECT(pool_barrier(comm) == 0); /* the group can go on */
    return 0;
}

static void
comm_mismatch(pool_t *pool, int workers)
{
    all_succeed(pool, workers, mismatched);
}

static int
last_fails(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    pool_comm_t *comm = pool_call_comm(call);

    (void)model;
    (void)rows;
    EXPECT(pool_barrier(comm) == 0);
    if (pool_comm_rank(comm) == pool_comm_size(comm) - 1)
        return pool_call_fail(call, 77, "the last one");
    EXPECT(pool_barrier(comm) == POOL_EDIED);
    return 0;
}

static void
comm_failure(pool_t *pool, int workers)
{
    pool_scatter_t *scatter = start_peers(pool, workers, last_fails, 0);
    const pool_local_results_t *array = end_peers(pool, scatter, workers);

    for (int i = 0; i < workers - 1; i++)
        CHECK(array[i].error == 0);
    CHECK(array[workers - 1].failure->task_code == 77);
    pool_scatter_free(scatter);
    comm_small(pool, workers);
}

/* Rank 0 doesn't come; the others wait in a barrier until their deadline, and
 * leave it when their sessions are to end. */
static int
first_stays_away(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    pool_comm_t *comm = pool_call_comm(call);

    (void)model;
    (void)rows;
    if (pool_comm_rank(comm) == 0)
        while (!pool_call_cancelled(call))
            usleep(1000);
    else
        EXPECT(pool_barrier(comm) == POOL_EDIED);
    mpi_touch("left");
    return 0;
}

static void
comm_deadline(pool_t *pool, int workers)
{
    pool_scatter_t *scatter = start_peers(pool, workers, first_stays_away, 50);
    const pool_local_results_t *array = end_peers(pool, scatter, workers);

    CHECK(array[0].error == POOL_EDEADLINE);
    pool_scatter_free(scatter);
    for (int i = 0; i < PATIENCE_MS && mpi_size("left") < workers; i++)
        CHECK_OK(pool_poll(pool, 1));
    CHECK(mpi_size("left") == workers);
    comm_small(pool, workers);
}

static void
comm_cancel(pool_t *pool, int workers)
{
    long before = mpi_size("left");
    pool_scatter_t *scatter = start_peers(pool, workers, first_stays_away, 0);
    pool_future_t *first = pool_scatter_future(scatter, 0);

    while (!pool_future_running(first))
        CHECK_OK(pool_poll(pool, 1));
    CHECK_OK(pool_future_cancel_running(first));
    const pool_local_results_t *array = end_peers(pool, scatter, workers);
    CHECK(array[0].error == POOL_ECANCELED);
    for (int i = 1; i < workers; i++)
        CHECK(array[i].error == 0);
    pool_scatter_free(scatter);
    for (int i = 0; i < PATIENCE_MS && mpi_size("left") < before + workers; i++)
        CHECK_OK(pool_poll(pool, 1));
    CHECK(mpi_size("left") == before + workers);
    comm_small(pool, workers);
}

/* The owner is a group of one. */
static void
comm_root(pool_t *pool, int workers)
{
    double x = 3, y = 0;

    (void)workers;
    CHECK(pool_comm_size(pool_comm(pool)) == 1);
    CHECK_OK(pool_allreduce(pool_comm(pool), &x, &y, 1, POOL_DOUBLE, POOL_SUM));
    CHECK(y == 3);
}

const struct mpi_case mpi_cases_comm[] = {
    {"comm_root", comm_root, NULL, 0},
    {"comm_small", comm_small, NULL, 0},
    {"comm_large", comm_large, NULL, 0},
    {"comm_mismatch", comm_mismatch, NULL, 0},
    {"comm_failure", comm_failure, NULL, 0},
    {"comm_deadline", comm_deadline, NULL, 0},
    {"comm_cancel", comm_cancel, NULL, 0},
    {NULL, NULL, NULL, 0},
};
