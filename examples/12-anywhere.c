/* One source for one machine and for many: started as it is, it forks workers;
 * started by mpirun it uses the ranks of the job. How many primes are there
 * below two million?
 *
 *     ./12-anywhere
 *     mpirun -n 5 ./12-anywhere */
#include <forkpool.h>
#include <stdio.h>

#define ROWS 200
#define STEP 10000

/* Each row is the beginning of STEP numbers. */
static int
execute(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    double counts[ROWS];

    (void)model;
    for (size_t r = 0; r < rows->count; r++) {
        long first = (long)rows->values[r];
        counts[r] = 0;
        for (long n = first > 2 ? first : 2; n < first + STEP; n++) {
            long d = 2;
            while (d * d <= n && n % d != 0)
                d++;
            counts[r] += d * d > n;
        }
    }
    return pool_call_return(call, "ad", counts, rows->count);
}

int
main(void)
{
    double firsts[ROWS], counts[ROWS], primes = 0;
    bool success[ROWS];
    pool_job_t job = POOL_JOB_INIT;
    pool_results_t *results;
    pool_scatter_t *scatter;
    pool_t *pool;

    if (pool_create_auto(&pool, NULL) < 0) {
        fprintf(stderr, "%s\n", pool_errmsg());
        return 1;
    }
    if (pool == NULL)
        return 0; /* a rank that has served, until the pool was destroyed */
    for (int i = 0; i < ROWS; i++)
        firsts[i] = (double)i * STEP;
    job.execute = execute;
    job.rows = ROWS;
    job.columns = 1;
    job.values = firsts;
    job.schedule = POOL_DYNAMIC; /* large numbers take longer */
    if (pool_scatter(pool, &scatter, &job) < 0 ||
        pool_gather(scatter, -1, &results) < 0 ||
        pool_results_matrix(results, 1, counts, success) < 0) {
        fprintf(stderr, "%s\n", pool_errmsg());
        return 1;
    }
    for (int i = 0; i < ROWS; i++)
        if (success[i])
            primes += counts[i];
        else
            printf("no answer for the numbers from %.0f on\n", firsts[i]);
    printf("%.0f primes below %d\n", primes, ROWS * STEP);
    pool_scatter_free(scatter);
    pool_destroy(pool);
    return 0;
}
