/* Scatter and gather beside the parallel manager written in Python
 * (reference.py, a process of its own for each sample), and how well dynamic
 * schedules balance rows of widely different cost.
 *
 * Both sides deal the same rows to 2 workers, build a model, add up each row,
 * and put the sums of all ranks into one array. */
#define _GNU_SOURCE
#include <forkpool.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"

#define WORKERS 2
#define REPEATS 3
#define TIMES_MAX 11
#define COSTS 2000

static const char *python; /* with numpy; NULL: there is none */

/* ---- the reference ---------------------------------------------------- */

/* Seconds of one case by reference.py; NaN where it can't be run. */
static double
reference(const char *interpreter, const char *name)
{
    char command[1024];
    double seconds = NAN;
    FILE *pipe;

    snprintf(command, sizeof command,
        "'%s' '" BENCH_SRCDIR "/reference.py' %s 2>/dev/null", interpreter,
        name);
    pipe = popen(command, "r");
    if (pipe == NULL)
        return NAN;
    if (fscanf(pipe, "%lf", &seconds) != 1)
        seconds = NAN;
    return pclose(pipe) == 0 ? seconds : NAN;
}

/* $PYTHON, the first python3 of the path, or the system's; NULL: none. */
static const char *
find_python(void)
{
    const char *const names[] = {
        getenv("PYTHON"), "python3", "/usr/bin/python3"};

    for (size_t i = 0; i < 3; i++)
        if (names[i] != NULL && !isnan(reference(names[i], "check")))
            return names[i];
    return NULL;
}

/* ---- the library ------------------------------------------------------ */

static int
build(pool_call_t *call, void **model)
{
    static double base;

    *model = &base;
    return pool_call_args(call, "d", &base);
}

static int
execute(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    const double *base = model, *row = rows->values;
    double few[64], *sums = few;
    int rc;

    if (rows->count > sizeof few / sizeof few[0])
        sums = malloc(rows->count * sizeof *sums);
    if (sums == NULL)
        return pool_call_fail(call, 1, "no memory for the sums");
    for (size_t r = 0; r < rows->count; r++, row += rows->columns) {
        double sum = 0;
        for (size_t c = 0; c < rows->columns; c++)
            sum += row[c];
        sums[r] = sum + *base;
    }
    rc = pool_call_return(call, "ad", sums, rows->count);
    if (sums != few)
        free(sums);
    return rc;
}

/* Scatter, gather, one array of all rows. */
static void
run(pool_t *pool, const pool_job_t *job, size_t columns, double *out)
{
    pool_scatter_t *scatter;
    pool_results_t *results;

    bench_check(pool_scatter(pool, &scatter, job));
    bench_check(pool_gather(scatter, -1, &results));
    if (pool_results_failed(results) > 0) {
        fprintf(stderr, "bench: a rank failed\n");
        exit(1);
    }
    bench_check(pool_results_matrix(results, columns, out, NULL));
    pool_scatter_free(scatter);
}

/* One comparison. */
struct sweep {
    const char *name; /* of the reference's case */
    size_t rows, columns;
    int schedule;
    size_t times; /* in a sample, whose middle one counts */
    pool_t *pool; /* NULL: made and ended for each */
};

static pool_job_t
job_of(const struct sweep *sweep, unsigned char *base, const double *values)
{
    pool_job_t job = POOL_JOB_INIT;

    bench_check(pool_encode(base, 16, &job.build_arguments_size, "d", 0.5));
    job.build_arguments = base;
    job.build = build;
    job.execute = execute;
    job.rows = sweep->rows;
    job.columns = sweep->columns;
    job.values = values;
    job.schedule = sweep->schedule;
    job.chunk = sweep->schedule == POOL_STATIC ? 0 : 1;
    return job;
}

/* Seconds from the rows to the array of all sums. */
static double
once(const struct sweep *sweep, const pool_job_t *job, double *sums)
{
    double began = bench_now();
    pool_t *pool = sweep->pool != NULL ? sweep->pool : bench_pool(WORKERS);

    run(pool, job, 1, sums);
    if (sweep->pool == NULL)
        pool_destroy(pool);
    return bench_now() - began;
}

/* Such sweeps a second. */
static double
mine(const void *arg)
{
    const struct sweep *sweep = arg;
    size_t rows = sweep->rows, columns = sweep->columns;
    double *values = malloc(rows * columns * sizeof *values);
    double *sums = malloc(rows * sizeof *sums);
    double samples[TIMES_MAX], last = 0.5;
    unsigned char base[16];

    if (values == NULL || sums == NULL)
        exit(1);
    for (size_t i = 0; i < rows * columns; i++)
        values[i] = (double)i;
    for (size_t i = (rows - 1) * columns; i < rows * columns; i++)
        last += values[i];
    pool_job_t job = job_of(sweep, base, values);
    for (size_t i = 0; i < sweep->times; i++) {
        samples[i] = once(sweep, &job, sums);
        if (sums[rows - 1] != last) {
            fprintf(stderr, "bench: a wrong sum\n");
            exit(1);
        }
    }
    free(values);
    free(sums);
    return 1 / bench_quantile(samples, sweep->times, 0.5);
}

static double
theirs(const void *arg)
{
    const struct sweep *sweep = arg;

    return python == NULL ? 0 : 1 / reference(python, sweep->name);
}

static void
compare(const char *name, const struct sweep *sweep)
{
    if (python == NULL)
        bench_missing(name, "Python", "no python3 with numpy");
    else
        bench_pairs(
            name, "sweeps/s", REPEATS, mine, sweep, "Python", theirs, sweep);
}

/* ---- balance ---------------------------------------------------------- */

static double
cpu_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Burn what a row costs; how long that really took, other work included. */
static int
spin(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    double out[COSTS];

    (void)model;
    for (size_t r = 0; r < rows->count; r++) {
        double began = bench_now(), end = cpu_now() + rows->values[r];
        while (cpu_now() < end)
            continue;
        out[r] = bench_now() - began;
    }
    return pool_call_return(call, "ad", out, rows->count);
}

/* Seconds of CPU a row: lognormal, sigma 1.5, 1 ms in the mean. The same ones
 * in each run: normal deviates by Box and Muller from a fixed sequence. */
static void
lognormal(double *costs, size_t n)
{
    uint64_t state = 1;
    double u[2];

    for (size_t i = 0; i < n; i++) {
        for (int k = 0; k < 2; k++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            u[k] = ((double)(state >> 11) + 0.5) / 9007199254740992.0;
        }
        double z = sqrt(-2 * log(u[0])) * cos(2 * M_PI * u[1]);
        costs[i] = 1e-3 * exp(1.5 * z - 1.5 * 1.5 / 2);
    }
}

/* How long it takes, beside what no schedule can beat with rows that take as
 * long as they did: half of all, or the longest. So that a machine with other
 * work does not count against a schedule. */
static void
makespan(const char *name, pool_t *pool, int schedule)
{
    static double costs[COSTS], took[COSTS];
    double seconds[REPEATS], ideal[REPEATS], ratio[REPEATS];
    size_t repeats = bench_quick ? 1 : REPEATS;
    pool_job_t job = POOL_JOB_INIT;

    lognormal(costs, COSTS);
    job.execute = spin;
    job.rows = COSTS;
    job.columns = 1;
    job.values = costs;
    job.schedule = schedule;
    for (size_t i = 0; i < repeats; i++) {
        double total = 0, longest = 0, began = bench_now();
        run(pool, &job, 1, took);
        seconds[i] = bench_now() - began;
        for (size_t r = 0; r < COSTS; r++) {
            total += took[r];
            longest = fmax(longest, took[r]);
        }
        ideal[i] = fmax(total / WORKERS, longest);
        ratio[i] = seconds[i] / ideal[i];
    }
    bench_add_ratio(name, 1e3 * bench_quantile(seconds, repeats, 0.5), "ms",
        "perfect balance", 1e3 * bench_quantile(ideal, repeats, 0.5),
        bench_quantile(ratio, repeats, 0.5));
}

void
bench_manager(void)
{
    pool_t *pool = bench_pool(WORKERS);
    /* The reference makes its workers for each scatter; here the pool is there
     * before, as it is in a program that scatters more than once. "cold" makes
     * and ends one each time. In the dynamic case both are warm. */
    const struct sweep large = {"large", 1000000, 8, POOL_STATIC, 9, pool};
    const struct sweep cold = {"large", 1000000, 8, POOL_STATIC, 3, NULL};
    const struct sweep tiny = {"tiny", 10, 3, POOL_STATIC, 11, pool};
    const struct sweep dynamic = {"dynamic", 5000, 3, POOL_DYNAMIC, 3, pool};

    python = find_python();
    compare("scatter_1e6x8_vs_python", &large);
    compare("scatter_1e6x8_cold_vs_python", &cold);
    compare("scatter_tiny_vs_python", &tiny);
    compare("scatter_dynamic_vs_python", &dynamic);
    makespan("makespan_dynamic", pool, POOL_DYNAMIC);
    makespan("makespan_guided", pool, POOL_GUIDED);
    pool_destroy(pool);
}
