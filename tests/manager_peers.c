/* A case for each method of the reference manager, named after it: at the
 * root, which is a group of one, and between the ranks of a scatter whose job
 * asks for peers. A rank tells what it saw as doubles, one row a rank. */
#include "manager.h"

#include <math.h>
#include <string.h>

#define RANKS_MAX 8
#define WIDTH 4

/* ---- helpers ------------------------------------------------------------ */

static const double zeros[RANKS_MAX];

/* Run one row on each rank; out: WIDTH doubles of each. How many ranks. */
static size_t
among_peers(const struct manager *m, int workers, pool_execute_fn execute,
    double (*out)[WIDTH])
{
    pool_t *pool = manager_open(m, workers);
    size_t ranks = manager_ranks(m, workers, RANKS_MAX);
    pool_job_t job = POOL_JOB_INIT;
    pool_results_t *results;
    pool_scatter_t *scatter;

    memset(out, 0, RANKS_MAX * sizeof *out);
    job.execute = execute;
    job.flags = POOL_JOB_PEERS;
    job.rows = ranks;
    job.columns = 1;
    job.values = zeros;
    int rc = pool_scatter(pool, &scatter, &job);
    CLAIM(rc == 0);
    if (rc == 0) {
        CLAIM(pool_gather(scatter, PATIENCE_MS, &results) == 0);
        CLAIM(pool_results_failed(results) == 0);
        CLAIM(pool_results_matrix(results, WIDTH, out[0], NULL) == 0);
        pool_scatter_free(scatter);
    }
    manager_close(m, pool);
    return ranks;
}

static int
tell(pool_call_t *call, double a, double b, double c, double d)
{
    const double row[WIDTH] = {a, b, c, d};

    return pool_call_return(call, "ad", row, (size_t)WIDTH);
}

/* ---- the pool ----------------------------------------------------------- */

static void
constructor(const struct manager *m, int workers)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_t *pool = NULL;

    options.workers = -1;
    CLAIM(pool_create(&pool, &options) == POOL_EINVAL);
    CLAIM(strstr(pool_errmsg(), "workers") != NULL);
    pool = manager_open(m, workers);
    CLAIM(pool != NULL);
    manager_close(m, pool);
}

/* One row a chunk, each doubled; the row 3 is refused. */
static int
execute_doubled(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    double out[RANKS_MAX];

    (void)model;
    for (size_t i = 0; i < rows->count; i++) {
        if (rows->values[i] == 3)
            return pool_call_fail(call, 33, "row 3 is wet");
        out[i] = 2 * rows->values[i];
    }
    return pool_call_return(call, "ad", out, rows->count);
}

static const double some[] = {1, 2, 4, 8, 3, 5};

/* A job over the first ROWS of them. */
static pool_job_t
doubled(size_t rows, int schedule)
{
    pool_job_t job = POOL_JOB_INIT;

    job.execute = execute_doubled;
    job.rows = rows;
    job.columns = 1;
    job.values = some;
    job.schedule = schedule;
    return job;
}

/* The most there may be, until a scatter has had fewer rows. */
static void
number_of_worker_processes(const struct manager *m, int workers)
{
    pool_t *pool = manager_open(m, workers);
    size_t most = manager_ranks(m, workers, POOL_MAX_WORKERS);

    if (m->only == NULL) /* the one pool has had scatters before */
        CLAIM(pool_worker_count(pool) == (int)most);
    for (size_t rows = 1; rows <= 4; rows++) {
        pool_job_t job = doubled(rows, POOL_STATIC);
        pool_scatter_t *scatter;
        pool_results_t *results;
        CLAIM(pool_scatter(pool, &scatter, &job) == 0);
        CLAIM(pool_worker_count(pool) == (int)(most < rows ? most : rows));
        CLAIM(pool_gather(scatter, PATIENCE_MS, &results) == 0);
        pool_scatter_free(scatter);
    }
    manager_close(m, pool);
}

/* ---- who is who --------------------------------------------------------- */

static int
execute_ranks(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    pool_comm_t *comm = pool_call_comm(call);

    (void)model;
    return tell(call, pool_comm_rank(comm), pool_comm_size(comm),
        pool_comm_is_root(comm), (double)rows->first);
}

static void
is_root_process(const struct manager *m, int workers)
{
    double out[RANKS_MAX][WIDTH];
    pool_t *pool = manager_open(m, workers);

    CLAIM(pool_comm_is_root(pool_comm(pool)));
    CLAIM(!pool_comm_is_root(NULL));
    manager_close(m, pool);
    size_t ranks = among_peers(m, workers, execute_ranks, out);
    for (size_t i = 0; i < ranks; i++)
        CLAIM(out[i][2] == (i == 0));
}

static void
get_rank(const struct manager *m, int workers)
{
    double out[RANKS_MAX][WIDTH];
    pool_t *pool = manager_open(m, workers);

    CLAIM(pool_comm_rank(pool_comm(pool)) == 0);
    CLAIM(pool_comm_size(pool_comm(pool)) == 1);
    manager_close(m, pool);
    size_t ranks = among_peers(m, workers, execute_ranks, out);
    for (size_t i = 0; i < ranks; i++) {
        CLAIM(out[i][0] == (double)i && out[i][3] == (double)i);
        CLAIM(out[i][1] == (double)ranks);
    }
}

/* ---- with peers --------------------------------------------------------- */

static int
execute_barrier(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    pool_comm_t *comm = pool_call_comm(call);
    int rc = pool_barrier(comm);

    (void)model, (void)rows;
    if (rc == 0)
        rc = pool_barrier(comm);
    return rc < 0 ? rc : tell(call, 1, 0, 0, 0);
}

static void
sync_with_peers(const struct manager *m, int workers)
{
    double out[RANKS_MAX][WIDTH];
    pool_t *pool = manager_open(m, workers);

    CLAIM(pool_barrier(pool_comm(pool)) == 0);
    manager_close(m, pool);
    size_t ranks = among_peers(m, workers, execute_barrier, out);
    for (size_t i = 0; i < ranks; i++)
        CLAIM(out[i][0] == 1);
}

/* Every rank has an array of its own; rank 0's lands in all. */
static int
execute_bcast(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    pool_comm_t *comm = pool_call_comm(call);
    double data[3] = {(double)rows->first + 7, -0.0, NAN};
    int rc = pool_bcast(comm, data, sizeof data);

    (void)model;
    return rc < 0 ? rc
                  : tell(call, data[0], signbit(data[1]) ? 1 : 0,
                        isnan(data[2]) ? 1 : 0, 0);
}

static void
sync_array_with_peers(const struct manager *m, int workers)
{
    double out[RANKS_MAX][WIDTH], data[3] = {1, 2, 3};
    pool_t *pool = manager_open(m, workers);

    CLAIM(pool_bcast(pool_comm(pool), data, sizeof data) == 0);
    CLAIM(data[0] == 1 && data[1] == 2 && data[2] == 3);
    manager_close(m, pool);
    size_t ranks = among_peers(m, workers, execute_bcast, out);
    for (size_t i = 0; i < ranks; i++)
        CLAIM(out[i][0] == 7 && out[i][1] == 1 && out[i][2] == 1);
}

/* Rank 0's value; what others have is ignored. */
static int
execute_value(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    pool_comm_t *comm = pool_call_comm(call);
    unsigned char value[64];
    const char *text = "";
    const void *out;
    size_t size;
    int number, rc;

    (void)model;
    rc = pool_encode(value, sizeof value, &size, "si",
        rows->first == 0 ? "from the root" : "mine", (int)rows->first + 5);
    if (rc == 0 && rows->first % 2 == 0)
        rc = pool_bcast_value(comm, value, size, &out, &size);
    else if (rc == 0)
        rc = pool_bcast_value(comm, NULL, 0, &out, &size);
    if (rc == 0)
        rc = pool_decode(out, size, "si", &text, &number);
    return rc < 0
               ? rc
               : tell(call, strcmp(text, "from the root") == 0, number, 0, 0);
}

static void
sync_pyobject_with_peers(const struct manager *m, int workers)
{
    double out[RANKS_MAX][WIDTH];
    pool_t *pool = manager_open(m, workers);
    unsigned char value[64];
    const char *text = "";
    const void *back;
    size_t size;

    CLAIM(pool_encode(value, sizeof value, &size, "s", "an object") == 0);
    CLAIM(pool_bcast_value(pool_comm(pool), value, size, &back, &size) == 0);
    CLAIM(pool_decode(back, size, "s", &text) == 0);
    CLAIM(strcmp(text, "an object") == 0);
    manager_close(m, pool);
    size_t ranks = among_peers(m, workers, execute_value, out);
    for (size_t i = 0; i < ranks; i++)
        CLAIM(out[i][0] == 1 && out[i][1] == 5);
}

/* Rank r gives r + 1 bytes of value r: told are how many came, whether each
 * is what it must be, and the group's size. */
static int
execute_allgather(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    pool_comm_t *comm = pool_call_comm(call);
    unsigned char data[RANKS_MAX];
    const pool_part_t *parts;
    bool right = true;
    size_t sum = 0;

    (void)model;
    memset(data, (int)rows->first, sizeof data);
    int rc = pool_allgather(comm, data, rows->first + 1, &parts);
    for (size_t i = 0; rc == 0 && i < (size_t)pool_comm_size(comm); i++) {
        const unsigned char *bytes = parts[i].data;
        right = right && parts[i].size == i + 1;
        for (size_t k = 0; right && k < parts[i].size; k++)
            right = bytes[k] == i;
        sum += parts[i].size;
    }
    return rc < 0 ? rc : tell(call, (double)sum, right, 0, 0);
}

static void
combine_data_with_peers(const struct manager *m, int workers)
{
    double out[RANKS_MAX][WIDTH];
    pool_t *pool = manager_open(m, workers);
    const pool_part_t *parts;

    CLAIM(pool_allgather(pool_comm(pool), "test_data", 9, &parts) == 0);
    CLAIM(parts[0].size == 9 && memcmp(parts[0].data, "test_data", 9) == 0);
    manager_close(m, pool);
    size_t ranks = among_peers(m, workers, execute_allgather, out);
    for (size_t i = 0; i < ranks; i++) {
        CLAIM(out[i][0] == (double)(ranks * (ranks + 1) / 2));
        CLAIM(out[i][1] == 1);
    }
}

/* Numbers whose sum depends on the order: that of the ranks it must be. */
static double
addend(size_t rank)
{
    return rank % 2 == 0 ? 1e16 / (double)(rank + 1) : 0.1 + (double)rank;
}

static int
execute_allreduce(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    pool_comm_t *comm = pool_call_comm(call);
    double send[2] = {addend(rows->first), (double)rows->first}, sum[2], top[2];
    int64_t number = (int64_t)rows->first + 1, product;

    (void)model;
    int rc = pool_allreduce(comm, send, sum, 2, POOL_DOUBLE, POOL_SUM);
    if (rc == 0)
        rc = pool_allreduce(comm, send, top, 2, POOL_DOUBLE, POOL_MAX);
    if (rc == 0)
        rc = pool_allreduce(comm, &number, &product, 1, POOL_INT64, POOL_PROD);
    if (rc == 0)
        rc = pool_allreduce(comm, &number, &number, 1, POOL_INT64, POOL_MIN);
    return rc < 0 ? rc
                  : tell(call, sum[0], top[1], (double)product, (double)number);
}

static void
sum_values_and_sync(const struct manager *m, int workers)
{
    double out[RANKS_MAX][WIDTH], sum = addend(0), product = 1;
    const double send[] = {1, 2, 3};
    double recv[3] = {0};
    pool_t *pool = manager_open(m, workers);

    CLAIM(pool_allreduce(
              pool_comm(pool), send, recv, 3, POOL_DOUBLE, POOL_SUM) == 0);
    CLAIM(memcmp(send, recv, sizeof send) == 0);
    manager_close(m, pool);
    size_t ranks = among_peers(m, workers, execute_allreduce, out);
    for (size_t i = 1; i < ranks; i++)
        sum += addend(i);
    for (size_t i = 0; i < ranks; i++)
        product *= (double)(i + 1);
    for (size_t i = 0; i < ranks; i++) {
        CLAIM(memcmp(&out[i][0], &sum, sizeof sum) == 0);
        CLAIM(out[i][1] == (double)(ranks - 1));
        CLAIM(out[i][2] == product);
        CLAIM(out[i][3] == 1);
    }
}

/* Rank r sends r + 1 doubles of value r. */
static int
execute_gatherv(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    pool_comm_t *comm = pool_call_comm(call);
    size_t n = (size_t)pool_comm_size(comm), sizes[RANKS_MAX], sum = 0;
    double send[RANKS_MAX], recv[RANKS_MAX * RANKS_MAX];
    bool right = true;

    (void)model;
    for (size_t i = 0; i < n; i++)
        sum += sizes[i] = (i + 1) * sizeof send[0];
    for (size_t i = 0; i < RANKS_MAX; i++)
        send[i] = (double)rows->first;
    int rc = pool_gatherv(
        comm, send, (rows->first + 1) * sizeof send[0], recv, sum, sizes);
    if (rows->first == 0)
        for (size_t i = 0, at = 0; i < n; i++)
            for (size_t k = 0; k <= i; k++)
                right = right && rc == 0 && recv[at++] == (double)i;
    return rc < 0 ? rc : tell(call, right, 0, 0, 0);
}

static void
gather_arrays_to_root(const struct manager *m, int workers)
{
    double out[RANKS_MAX][WIDTH];
    const double send[] = {1, 2, 3};
    double recv[3] = {0};
    const size_t size = sizeof send;
    pool_t *pool = manager_open(m, workers);

    CLAIM(pool_gatherv(pool_comm(pool), send, sizeof send, recv, sizeof recv,
              &size) == 0);
    CLAIM(memcmp(send, recv, sizeof send) == 0);
    memset(recv, 0, sizeof recv);
    CLAIM(pool_gatherv(pool_comm(pool), send, sizeof send, recv, sizeof recv[0],
              &size) == POOL_EINVAL);
    CLAIM(recv[0] == 0);
    manager_close(m, pool);
    size_t ranks = among_peers(m, workers, execute_gatherv, out);
    for (size_t i = 0; i < ranks; i++)
        CLAIM(out[i][0] == 1);
}

/* ---- scatter and gather ------------------------------------------------- */

static void
scatter(const struct manager *m, int workers)
{
    pool_t *pool = manager_open(m, workers);
    pool_job_t job = doubled(4, POOL_STATIC);
    pool_scatter_t *one, *two;
    pool_results_t *results;
    double out[RANKS_MAX];

    job.rows = 0;
    CLAIM(pool_scatter(pool, &one, &job) == POOL_EINVAL);
    job = doubled(4, POOL_STATIC);
    job.execute = NULL;
    CLAIM(pool_scatter(pool, &one, &job) == POOL_EINVAL);
    job = doubled(4, POOL_STATIC);
    CLAIM(pool_scatter(pool, &one, &job) == 0); /* two in flight */
    job = doubled(3, POOL_DYNAMIC);
    CLAIM(pool_scatter(pool, &two, &job) == 0);
    CLAIM(pool_gather(two, PATIENCE_MS, &results) == 0);
    CLAIM(pool_results_matrix(results, 1, out, NULL) == 0);
    CLAIM(out[0] == 2 && out[1] == 4 && out[2] == 8);
    CLAIM(pool_gather(one, PATIENCE_MS, &results) == 0);
    CLAIM(pool_results_matrix(results, 1, out, NULL) == 0);
    CLAIM(out[3] == 16);
    CLAIM(pool_future_error(pool_scatter_future(one, 0), 0) == 0);
    pool_scatter_free(one);
    pool_scatter_free(two);
    manager_close(m, pool);
}

/* A failed chunk is beside the others; a second gather is the first. */
static void
gather(const struct manager *m, int workers)
{
    pool_t *pool = manager_open(m, workers);
    pool_job_t job = doubled(6, POOL_DYNAMIC);
    pool_results_t *results = NULL, *again;
    double out[RANKS_MAX];
    bool success[RANKS_MAX];
    pool_scatter_t *s;
    int rc;

    job.chunk = 1;
    CLAIM(pool_scatter(pool, &s, &job) == 0);
    rc = pool_gather(s, 0, &results);
    CLAIM(rc == 0 || rc == POOL_ETIMEDOUT);
    CLAIM(results != NULL);
    CLAIM(pool_gather(s, PATIENCE_MS, &results) == 0);
    CLAIM(pool_gather(s, 0, &again) == 0 && again == results);
    CLAIM(pool_results_failed(results) == 1);
    CLAIM(pool_results_matrix(results, 1, out, success) == 0);
    for (size_t i = 0; i < COUNT(some); i++) {
        CLAIM(success[i] == (some[i] != 3));
        CLAIM(success[i] ? out[i] == 2 * some[i] : isnan(out[i]));
    }
    pool_scatter_free(s);
    manager_close(m, pool);
}

static void
results_from_local_tree(const struct manager *m, int workers)
{
    pool_t *pool = manager_open(m, workers);
    pool_job_t job = doubled(6, POOL_DYNAMIC);
    const pool_local_results_t *local;
    pool_results_t *results;
    pool_scatter_t *s;
    const double *values;
    size_t count, n;

    CLAIM(pool_scatter(pool, &s, &job) == 0);
    CLAIM(pool_gather(s, PATIENCE_MS, &results) == 0);
    CLAIM(pool_local_results(pool, results, &local, &count) == 0);
    CLAIM(count == COUNT(some));
    for (size_t i = 0; i < count; i++) {
        CLAIM(local[i].process_number == (int)i);
        CLAIM(local[i].parameters.first == i);
        CLAIM(local[i].parameters.values[0] == some[i]);
        if (some[i] == 3) {
            CLAIM(local[i].error == POOL_ETASK && local[i].results == NULL);
            CLAIM(local[i].failure->task_code == 33);
            CLAIM(strcmp(local[i].failure->message, "row 3 is wet") == 0);
            continue;
        }
        CLAIM(local[i].error == 0 && local[i].failure == NULL);
        CLAIM(pool_decode(local[i].results, local[i].results_size, "ad",
                  &values, &n) == 0);
        CLAIM(n == 1 && values[0] == 2 * some[i]);
    }
    pool_scatter_free(s);
    manager_close(m, pool);
}

/* ---- the whole ---------------------------------------------------------- */

void
manager_methods(const struct manager *m, int workers)
{
    static const struct {
        const char *name;
        void (*run)(const struct manager *m, int workers);
    } methods[] = {
        {"constructor", constructor},
        {"is_root_process", is_root_process},
        {"get_rank", get_rank},
        {"number_of_worker_processes", number_of_worker_processes},
        {"sync_with_peers", sync_with_peers},
        {"sync_array_with_peers", sync_array_with_peers},
        {"sync_pyobject_with_peers", sync_pyobject_with_peers},
        {"combine_data_with_peers", combine_data_with_peers},
        {"sum_values_and_sync", sum_values_and_sync},
        {"gather_arrays_to_root", gather_arrays_to_root},
        {"scatter", scatter},
        {"gather", gather},
        {"results_from_local_tree", results_from_local_tree},
    };

    for (size_t i = 0; i < COUNT(methods); i++) {
        case_begin("%s, %d workers, %s", m->backend, workers, methods[i].name);
        methods[i].run(m, workers);
        case_end();
    }
}
