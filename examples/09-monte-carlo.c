/* The price of an option by Monte Carlo: the ranks of a scatter draw paths of
 * their own and stop together, when what all of them know says that the
 * standard error is small enough.
 *
 * Each rank adds its sums to those of the others by pool_allreduce inside
 * execute. All get the same bits, so all take the same decision, and the
 * result does not depend on which was faster. */
#include <forkpool.h>
#include <math.h>
#include <stdio.h>

#define RANKS 4
#define BATCH 10000 /* paths of each rank between two looks */
#define WANTED 0.02 /* standard error of the price */
#define PI 3.14159265358979323846

/* A call on a share: spot and strike 100, one year, 5 % interest, 20 %
 * volatility. Black and Scholes: 10.4506. */
static double
payoff(double normal)
{
    double end = 100 * exp(0.05 - 0.02 + 0.2 * normal);

    return exp(-0.05) * fmax(end - 100, 0);
}

/* A number in (0, 1): splitmix64. */
static double
uniform(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return ((double)((x ^ x >> 31) >> 11) + 0.5) / 9007199254740992.0;
}

/* BATCH paths: their number, sum and sum of squares are added. */
static void
draw(uint64_t *state, double sums[3])
{
    for (int i = 0; i < BATCH; i++) {
        double radius = sqrt(-2 * log(uniform(state)));
        double x = payoff(radius * cos(2 * PI * uniform(state)));
        sums[0] += 1;
        sums[1] += x;
        sums[2] += x * x;
    }
}

static int
execute(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    pool_comm_t *comm = pool_call_comm(call);
    uint64_t state = pool_call_seed(call); /* of this rank's first row */
    double own[3] = {0}, all[3], price, error;

    (void)model;
    (void)rows;
    do {
        draw(&state, own);
        int rc = pool_allreduce(comm, own, all, 3, POOL_DOUBLE, POOL_SUM);
        if (rc < 0)
            return pool_call_fail(call, rc, "%s", pool_errmsg());
        price = all[1] / all[0];
        error = sqrt((all[2] / all[0] - price * price) / all[0]);
    } while (error > WANTED);
    return pool_call_return(call, "ddd", price, error, all[0]);
}

int
main(void)
{
    static const double rows[RANKS];
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_job_t job = POOL_JOB_INIT;
    const pool_local_results_t *ranks;
    pool_results_t *results;
    pool_scatter_t *scatter;
    size_t count;
    pool_t *pool;

    options.workers = RANKS;
    options.seed = 7;
    job.execute = execute;
    job.rows = RANKS;
    job.columns = 1;
    job.values = rows;
    job.flags = POOL_JOB_PEERS;
    if (pool_create(&pool, &options) < 0 ||
        pool_scatter(pool, &scatter, &job) < 0 ||
        pool_gather(scatter, -1, &results) < 0 ||
        pool_local_results(pool, results, &ranks, &count) < 0) {
        fprintf(stderr, "%s\n", pool_errmsg());
        return 1;
    }
    for (size_t i = 0; i < count; i++) {
        double price, error, paths;
        if (pool_decode(ranks[i].results, ranks[i].results_size, "ddd", &price,
                &error, &paths) == 0)
            printf("rank %zu: %.2f +- %.2f after %.0f paths\n", i, price, error,
                paths);
    }
    pool_scatter_free(scatter);
    pool_destroy(pool);
    return 0;
}
