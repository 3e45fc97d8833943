/* Scatter and gather over MPI. */
#include <math.h>
#include <stdlib.h>

#include "mpi_check.h"

enum { ROWS = 120 };

static int
build(pool_call_t *call, void **model)
{
    double *factor = malloc(sizeof *factor);
    int rc = pool_call_args(call, "d", factor);

    mpi_touch("built");
    *model = factor;
    return rc;
}

static int
execute(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    double out[ROWS];

    for (size_t i = 0; i < rows->count; i++)
        out[i] = *(double *)model *
                 (rows->values[2 * i] + 1 / rows->values[2 * i + 1]);
    return pool_call_return(call, "ad", out, rows->count);
}

static void
give_back(void *model)
{
    mpi_touch("released");
    free(model);
}

static void
sweep(pool_t *pool, int schedule)
{
    pool_job_t job = POOL_JOB_INIT;
    pool_scatter_t *scatter;
    pool_results_t *results;
    double values[2 * ROWS], out[ROWS];
    bool success[ROWS];
    uint8_t arguments[16];

    for (int i = 0; i < 2 * ROWS; i++)
        values[i] = 0.1 * i + 1;
    pool_encode(
        arguments, sizeof arguments, &job.build_arguments_size, "d", 3.0);
    job.build = build;
    job.build_arguments = arguments;
    job.execute = execute;
    job.release = give_back;
    job.rows = ROWS;
    job.columns = 2;
    job.values = values;
    job.schedule = schedule;
    CHECK_OK(pool_scatter(pool, &scatter, &job));
    CHECK_OK(pool_gather(scatter, PATIENCE_MS, &results));
    CHECK(pool_results_failed(results) == 0);
    CHECK_OK(pool_results_matrix(results, 1, out, success));
    for (int i = 0; i < ROWS; i++)
        CHECK(success[i] &&
              out[i] == 3.0 * (values[2 * i] + 1 / values[2 * i + 1]));
    pool_scatter_free(scatter);
}

static void
scatter_static(pool_t *pool, int workers)
{
    long built = mpi_size("built");

    sweep(pool, POOL_STATIC);
    CHECK(
        mpi_size("built") - built >= 1 && mpi_size("built") - built <= workers);
}

static void
scatter_dynamic(pool_t *pool, int workers)
{
    long built = mpi_size("built");

    sweep(pool, POOL_DYNAMIC);
    sweep(pool, POOL_GUIDED);
    CHECK(mpi_size("built") - built <= 2 * workers);
}

/* Chunks that fail:
 * the others are there. */
static int
execute_slowly(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    (void)model;
    if (rows->values[0] < 0)
        return pool_call_fail(call, 9, "row %zu is below 0", rows->first);
    return pool_call_return(call, "ad", rows->values, rows->count);
}

static void
scatter_failing(pool_t *pool, int workers)
{
    pool_job_t job = POOL_JOB_INIT;
    pool_scatter_t *scatter;
    pool_results_t *results;
    const pool_local_results_t *array;
    double values[40];
    size_t count;

    (void)workers;
    for (int i = 0; i < 40; i++)
        values[i] = i % 10 == 9 ? -i : i;
    job.execute = execute_slowly;
    job.rows = 40;
    job.columns = 1;
    job.values = values;
    job.schedule = POOL_DYNAMIC;
    CHECK_OK(pool_scatter(pool, &scatter, &job));
    CHECK_OK(pool_gather(scatter, PATIENCE_MS, &results));
    CHECK(pool_results_failed(results) == 4);
    CHECK_OK(pool_local_results(pool, results, &array, &count));
    CHECK(count == 40 && array[9].error == POOL_ETASK && array[8].error == 0 &&
          strcmp(array[9].failure->message, "row 9 is below 0") == 0);
    pool_scatter_free(scatter);
}

/* Every model was given back, at the latest with the pool. */
static void
scatter_released(pool_t *pool, int workers)
{
    (void)pool;
    (void)workers;
    CHECK(mpi_size("built") > 0 && mpi_size("released") == mpi_size("built"));
}

const struct mpi_case mpi_cases_sweep[] = {
    {"scatter_static", scatter_static, NULL, 0},
    {"scatter_dynamic", scatter_dynamic, NULL, 0},
    {"scatter_failing", scatter_failing, NULL, 0},
    {"scatter_released", scatter_released, NULL, 0},
    {NULL, NULL, NULL, 0},
};
