/* Scatter the rows of a matrix over workers, gather what they make of them. */
#include <forkpool.h>
#include <stdio.h>

struct model {
    double base;
};

/* Once in each worker; its arguments are the job's build_arguments. */
static int
build(pool_call_t *call, void **model)
{
    static struct model made;
    int rc = pool_call_args(call, "d", &made.base);

    *model = &made;
    return rc;
}

static int
execute(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    const struct model *m = model;
    double sums[16];

    for (size_t r = 0; r < rows->count; r++) {
        const double *row = rows->values + r * rows->columns;
        sums[r] = m->base + row[0] + row[1];
    }
    return pool_call_return(call, "ad", sums, rows->count);
}

int
main(void)
{
    static const double rows[5][2] = {{1, 2}, {3, 4}, {5, 6}, {7, 8}, {9, 10}};
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_job_t job = POOL_JOB_INIT;
    const pool_local_results_t *ranks;
    pool_results_t *results;
    pool_scatter_t *scatter;
    unsigned char base[16];
    double sums[5];
    size_t count;
    pool_t *pool;

    options.workers = 2;
    job.build = build;
    job.build_arguments = base;
    job.execute = execute;
    job.rows = 5;
    job.columns = 2;
    job.values = rows[0];
    pool_encode(base, sizeof base, &job.build_arguments_size, "d", 100.0);
    if (pool_create(&pool, &options) < 0 ||
        pool_scatter(pool, &scatter, &job) < 0 ||
        pool_gather(scatter, -1, &results) < 0 ||
        pool_local_results(pool, results, &ranks, &count) < 0 ||
        pool_results_matrix(results, 1, sums, NULL) < 0) {
        fprintf(stderr, "%s\n", pool_errmsg());
        return 1;
    }
    for (size_t i = 0; i < count; i++)
        printf("rank %d had rows %zu to %zu\n", ranks[i].process_number,
            ranks[i].parameters.first,
            ranks[i].parameters.first + ranks[i].parameters.count - 1);
    for (int i = 0; i < 5; i++)
        printf("row %d: %g\n", i, sums[i]);
    pool_scatter_free(scatter);
    pool_destroy(pool);
    return 0;
}
