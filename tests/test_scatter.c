/* Scatter and gather: the expected values of the parallel manager, on the
 * serial and the fork backend with one to eight workers. */
#include "support.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#define ADDRESS(p) ((uint64_t)(uintptr_t)(p))
#define COUNT(a) (sizeof(a) / sizeof(a)[0])

struct setting {
    int backend, workers;
};

static const struct setting settings[] = {
    {POOL_SERIAL, 1},
    {POOL_FORK, 1},
    {POOL_FORK, 2},
    {POOL_FORK, 3},
    {POOL_FORK, 4},
    {POOL_FORK, 8},
};

/* ---- (base + p) * mult ------------------------------------------------ */

struct linear {
    double base, mult;
};

static int
build_linear(pool_call_t *call, void **model)
{
    static struct linear linear;
    int rc = pool_call_args(call, "d", &linear.base);

    linear.mult = -1;
    *model = &linear;
    return rc;
}

static int
execute_linear(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    const struct linear *linear = model;
    double out[64];

    for (size_t i = 0; i < rows->count; i++)
        out[i] = (linear->base + rows->values[i]) * linear->mult;
    return pool_call_return(call, "ad", out, rows->count);
}

static void
encode_base(pool_job_t *job, double base, unsigned char *buffer)
{
    ck_assert_int_eq(
        pool_encode(buffer, 16, &job->build_arguments_size, "d", base), 0);
    job->build_arguments = buffer;
}

/* Ranks, rows dealt as array_split does, values, and a second gather. */
static void
check_linear(const struct setting *setting, double base, size_t n)
{
    const double rows[] = {1, 2, 3, 4, 5};
    unsigned char buffer[16];
    pool_job_t job = POOL_JOB_INIT;
    pool_scatter_t *scatter;
    pool_results_t *results, *again;
    const pool_local_results_t *locals;
    pool_t *pool = test_pool_on(setting->backend, setting->workers);
    size_t count, row = 0;
    size_t k = (size_t)setting->workers < n ? (size_t)setting->workers : n;

    encode_base(&job, base, buffer);
    job.build = build_linear;
    job.execute = execute_linear;
    job.rows = n;
    job.columns = 1;
    job.values = rows;
    ck_assert_int_eq(pool_worker_count(pool), setting->workers);
    ck_assert_int_eq(pool_scatter(pool, &scatter, &job), 0);
    ck_assert_int_eq(pool_gather(scatter, PATIENCE_MS, &results), 0);
    ck_assert_int_eq(pool_gather(scatter, 0, &again), 0);
    ck_assert_ptr_eq(results, again);
    ck_assert_uint_eq(pool_results_failed(results), 0);
    ck_assert_int_eq(pool_local_results(pool, results, &locals, &count), 0);
    ck_assert_uint_eq(count, k);
    ck_assert_int_eq(pool_worker_count(pool), (int)k);
    for (size_t r = 0; r < count; r++) {
        const double *values;
        size_t got;
        ck_assert_int_eq(locals[r].process_number, (int)r);
        ck_assert_int_eq(locals[r].error, 0);
        ck_assert_ptr_null(locals[r].failure);
        ck_assert_uint_eq(locals[r].parameters.count, n / k + (r < n % k));
        ck_assert_uint_eq(locals[r].parameters.first, row);
        ck_assert_int_eq(pool_decode(locals[r].results, locals[r].results_size,
                             "ad", &values, &got),
            0);
        ck_assert_uint_eq(got, locals[r].parameters.count);
        for (size_t i = 0; i < got; i++, row++) {
            ck_assert_double_eq(
                locals[r].parameters.values[i], (double)(row + 1));
            ck_assert_double_eq(values[i], -(base + (double)(row + 1)));
        }
    }
    ck_assert_uint_eq(row, n);
    pool_scatter_free(scatter);
    pool_destroy(pool);
}

static void
upstream_values(int unused)
{
    (void)unused;
    test_begin();
    for (size_t i = 0; i < COUNT(settings); i++) {
        check_linear(&settings[i], 10, 4);
        check_linear(&settings[i], 100, 4);
        check_linear(&settings[i], 100, 5);
    }
    test_end();
}

/* ---- array_split ------------------------------------------------------ */

static int
execute_sum(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    double sums[256];

    (void)model;
    for (size_t r = 0; r < rows->count; r++) {
        sums[r] = 0;
        for (size_t c = 0; c < rows->columns; c++)
            sums[r] += rows->values[r * rows->columns + c];
    }
    return pool_call_return(call, "ad", sums, rows->count);
}

static void
array_split(int unused)
{
    static const struct {
        size_t rows;
        int workers;
        size_t split[8];
    } table[] = {
        {5, 4, {2, 1, 1, 1}},
        {9, 2, {5, 4}},
        {10, 3, {4, 3, 3}},
        {120, 7, {18, 17, 17, 17, 17, 17, 17}},
        {2, 8, {1, 1}},
    };
    double values[120] = {0};

    (void)unused;
    test_begin();
    for (size_t t = 0; t < COUNT(table); t++) {
        struct setting setting = {POOL_FORK, table[t].workers};
        pool_t *pool = test_pool_on(setting.backend, setting.workers);
        pool_job_t job = POOL_JOB_INIT;
        pool_scatter_t *scatter;
        pool_results_t *results;
        const pool_local_results_t *locals;
        size_t count;
        job.execute = execute_sum;
        job.rows = table[t].rows;
        job.columns = 1;
        job.values = values;
        ck_assert_int_eq(pool_scatter(pool, &scatter, &job), 0);
        ck_assert_int_eq(pool_gather(scatter, PATIENCE_MS, &results), 0);
        ck_assert_int_eq(pool_local_results(pool, results, &locals, &count), 0);
        for (size_t i = 0; i < count; i++)
            ck_assert_uint_eq(locals[i].parameters.count, table[t].split[i]);
        ck_assert(count == 8 || table[t].split[count] == 0);
        pool_scatter_free(scatter);
        pool_destroy(pool);
    }
    test_end();
}

/* A 4 x 5 x 6 grid: each rank has its part, in order, bounds at the ends. */
static void
grid(int unused)
{
    static double values[120][3];
    const char *const names[] = {"a", "b", "c"};

    (void)unused;
    test_begin();
    for (int i = 0; i < 120; i++) {
        values[i][0] = i / 30;
        values[i][1] = i / 6 % 5;
        values[i][2] = i % 6;
    }
    for (size_t s = 0; s < COUNT(settings); s++) {
        pool_t *pool = test_pool_on(settings[s].backend, settings[s].workers);
        pool_job_t job = POOL_JOB_INIT;
        pool_scatter_t *scatter;
        pool_results_t *results;
        const pool_local_results_t *locals;
        double sums[120];
        bool ok[120];
        size_t count;
        job.execute = execute_sum;
        job.rows = 120;
        job.columns = 3;
        job.values = values[0];
        job.names = names;
        ck_assert_int_eq(pool_scatter(pool, &scatter, &job), 0);
        ck_assert_int_eq(pool_gather(scatter, PATIENCE_MS, &results), 0);
        ck_assert_int_eq(pool_local_results(pool, results, &locals, &count), 0);
        for (size_t r = 0; r < count; r++) {
            const pool_rows_t *rows = &locals[r].parameters;
            ck_assert_int_eq(memcmp(rows->values, values[rows->first],
                                 rows->count * sizeof values[0]),
                0);
            ck_assert_str_eq(rows->names[2], "c");
        }
        ck_assert_int_eq(pool_results_matrix(results, 1, sums, ok), 0);
        for (int i = 0; i < 120; i++) {
            ck_assert(ok[i]);
            ck_assert_double_eq(
                sums[i], values[i][0] + values[i][1] + values[i][2]);
        }
        ck_assert_double_eq(sums[0], 0);
        ck_assert_double_eq(sums[119], 3 + 4 + 5);
        pool_scatter_free(scatter);
        pool_destroy(pool);
    }
    test_end();
}

/* ---- the sweep with infeasible rows ----------------------------------- */

static int
execute_sweep(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    double out[9][3];

    (void)model;
    for (size_t r = 0; r < rows->count; r++) {
        double c = 2 * rows->values[2 * r], d = 3 * rows->values[2 * r + 1];
        bool feasible = c <= 1 && d <= 1;
        out[r][0] = feasible ? c : NAN;
        out[r][1] = feasible ? d : NAN;
        out[r][2] = feasible ? c + d : NAN;
    }
    return pool_call_return(call, "ad", out[0], 3 * rows->count);
}

static void
sweep_with_infeasible_rows(int unused)
{
    const double a[] = {.1, .5, .9}, b[] = {0, .25, .5};
    const double N = NAN;
    const double performance[] = {.2, .95, N, 1, 1.75, N, N, N, N};
    const bool success[] = {1, 1, 0, 1, 1, 0, 0, 0, 0};
    double values[9][2];

    (void)unused;
    test_begin();
    for (int i = 0; i < 9; i++) {
        values[i][0] = a[i / 3];
        values[i][1] = b[i % 3];
    }
    for (size_t s = 0; s < COUNT(settings); s++) {
        pool_t *pool = test_pool_on(settings[s].backend, settings[s].workers);
        pool_job_t job = POOL_JOB_INIT;
        pool_scatter_t *scatter;
        pool_results_t *results;
        double out[9][3];
        bool ok[9];
        job.execute = execute_sweep;
        job.rows = 9;
        job.columns = 2;
        job.values = values[0];
        ck_assert_int_eq(pool_scatter(pool, &scatter, &job), 0);
        ck_assert_int_eq(pool_gather(scatter, PATIENCE_MS, &results), 0);
        ck_assert_int_eq(pool_results_matrix(results, 3, out[0], ok), 0);
        for (int i = 0; i < 9; i++) {
            ck_assert_int_eq(ok[i], success[i]);
            if (success[i]) {
                ck_assert_double_eq_tol(out[i][0], 2 * values[i][0], 1e-15);
                ck_assert_double_eq_tol(out[i][1], 3 * values[i][1], 1e-15);
                ck_assert_double_eq_tol(out[i][2], performance[i], 1e-15);
            } else {
                ck_assert(isnan(out[i][0]) && isnan(out[i][2]));
            }
        }
        pool_scatter_free(scatter);
        pool_destroy(pool);
    }
    test_end();
}

/* ---- lists ------------------------------------------------------------ */

static int
execute_list(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    double lengths[8];

    (void)model;
    for (size_t r = 0; r < rows->count; r++) {
        const char *text;
        const double *array;
        double x = 0;
        size_t n;
        if (pool_rows_get(rows, r, "s", &text) == 0)
            lengths[r] = (double)strlen(text);
        else if (pool_rows_get(rows, r, "ad", &array, &n) == 0)
            lengths[r] = 100 + array[n - 1];
        else if (pool_rows_get(rows, r, "sd", &text, &x) == 0)
            lengths[r] = (double)strlen(text) + x;
        else
            return pool_call_fail(call, 1, "row %zu: %s", r, pool_errmsg());
    }
    return pool_call_return(call, "ad", lengths, rows->count);
}

/* Strings, arrays and mixed rows; arrays are read in place at every rank. */
static void
mixed_lists(int unused)
{
    const double three[] = {1, 2, 3};
    const double expected[] = {5, 103, 2.5, 0, 3.5, 103};
    unsigned char bytes[256];
    pool_enc_t enc;
    size_t size;

    (void)unused;
    test_begin();
    pool_enc_init(&enc, bytes, sizeof bytes);
    test_encode(&enc, "sad", "hello", three, (size_t)3);
    pool_enc_array(&enc, 2);
    test_encode(&enc, "sds", "ab", 0.5, "");
    pool_enc_array(&enc, 2);
    test_encode(&enc, "sdad", "x", 2.5, three, (size_t)3);
    ck_assert_int_eq(pool_enc_finish(&enc, &size), 0);
    for (size_t s = 0; s < COUNT(settings); s++) {
        pool_t *pool = test_pool_on(settings[s].backend, settings[s].workers);
        pool_job_t job = POOL_JOB_INIT;
        pool_scatter_t *scatter;
        pool_results_t *results;
        double out[6];
        job.execute = execute_list;
        job.rows = 6;
        job.items = bytes;
        job.items_size = size;
        ck_assert_msg(
            pool_scatter(pool, &scatter, &job) == 0, "%s", pool_errmsg());
        ck_assert_int_eq(pool_gather(scatter, PATIENCE_MS, &results), 0);
        ck_assert_int_eq(pool_results_matrix(results, 1, out, NULL), 0);
        for (int i = 0; i < 6; i++)
            ck_assert_double_eq(out[i], expected[i]);
        pool_scatter_free(scatter);
        pool_destroy(pool);
    }
    test_end();
}

/* ---- models ----------------------------------------------------------- */

struct counts {
    int built, released, executed;
};

static int
build_counted(pool_call_t *call, void **model)
{
    uint64_t address;
    int rc = pool_call_args(call, "t", &address);

    if (rc < 0)
        return rc;
    *model = (struct counts *)(uintptr_t)address;
    __atomic_add_fetch(&((struct counts *)*model)->built, 1, __ATOMIC_ACQ_REL);
    return 0;
}

static int
execute_counted(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    double pid = (double)getpid();

    (void)rows;
    __atomic_add_fetch(
        &((struct counts *)model)->executed, 1, __ATOMIC_ACQ_REL);
    return pool_call_return(call, "ad", &pid, (size_t)1);
}

static void
release_counted(void *model)
{
    __atomic_add_fetch(
        &((struct counts *)model)->released, 1, __ATOMIC_ACQ_REL);
}

/* One build for each worker that took part, and a release for each. */
static void
built_once_released_once(int unused)
{
    struct counts *counts = test_shared(2 * sizeof *counts);
    const double values[4] = {0};

    (void)unused;
    test_begin();
    for (size_t s = 0; s < COUNT(settings); s++) {
        pool_t *pool = test_pool_on(settings[s].backend, settings[s].workers);
        pool_scatter_t *scatters[2];
        pool_results_t *results;
        memset(counts, 0, 2 * sizeof *counts);
        for (int i = 0; i < 2; i++) { /* two in flight */
            unsigned char buffer[16];
            pool_job_t job = POOL_JOB_INIT;
            pool_encode(buffer, sizeof buffer, &job.build_arguments_size, "t",
                ADDRESS(&counts[i]));
            job.build_arguments = buffer;
            job.build = build_counted;
            job.execute = execute_counted;
            job.release = release_counted;
            job.rows = 4;
            job.columns = 1;
            job.values = values;
            ck_assert_int_eq(pool_scatter(pool, &scatters[i], &job), 0);
        }
        for (int i = 0; i < 2; i++) {
            int ranks = settings[s].workers < 4 ? settings[s].workers : 4;
            ck_assert_int_eq(
                pool_gather(scatters[i], PATIENCE_MS, &results), 0);
            ck_assert_int_eq(counts[i].executed, ranks);
            ck_assert_int_ge(counts[i].built, 1);
            ck_assert_int_le(counts[i].built, ranks);
            ck_assert(test_await(&counts[i].released, counts[i].built));
        }
        pool_scatter_free(scatters[0]);
        pool_scatter_free(scatters[1]);
        pool_destroy(pool);
        for (int i = 0; i < 2; i++)
            ck_assert_int_eq(counts[i].released, counts[i].built);
    }
    test_end();
}

static int
task_gate(pool_call_t *call)
{
    uint64_t begun, gate;
    int rc = pool_call_args(call, "tt", &begun, &gate);

    if (rc < 0)
        return rc;
    __atomic_store_n((int *)(uintptr_t)begun, 1, __ATOMIC_RELEASE);
    return test_await((int *)(uintptr_t)gate, 1) ? 0 : 1;
}

/* While one worker is busy the other runs both ranks, with one model. */
static void
a_model_serves_two_ranks(int unused)
{
    struct counts *counts = test_shared(sizeof *counts);
    int *words = test_shared(2 * sizeof *words);
    const double values[2] = {0};
    struct setting setting = {POOL_FORK, 2};
    unsigned char buffer[16];
    pool_job_t job = POOL_JOB_INIT;
    pool_scatter_t *scatter;
    pool_results_t *results;
    pool_future_t *busy;
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool_on(setting.backend, setting.workers);
    ck_assert_int_eq(pool_submit(pool, &busy, task_gate, "tt",
                         ADDRESS(&words[0]), ADDRESS(&words[1])),
        0);
    ck_assert(test_await(&words[0], 1));
    pool_encode(
        buffer, sizeof buffer, &job.build_arguments_size, "t", ADDRESS(counts));
    job.build_arguments = buffer;
    job.build = build_counted;
    job.execute = execute_counted;
    job.release = release_counted;
    job.rows = 2;
    job.columns = 1;
    job.values = values;
    ck_assert_int_eq(pool_scatter(pool, &scatter, &job), 0);
    ck_assert_int_eq(pool_gather(scatter, PATIENCE_MS, &results), 0);
    ck_assert_int_eq(counts->executed, 2);
    ck_assert_int_eq(counts->built, 1);
    ck_assert(test_await(&counts->released, 1));
    words[1] = 1;
    ck_assert_int_eq(pool_future_error(busy, PATIENCE_MS), 0);
    pool_future_free(busy);
    pool_scatter_free(scatter);
    pool_destroy(pool);
    ck_assert_int_eq(counts->released, 1);
    test_end();
}

/* ---- failures --------------------------------------------------------- */

static int
build_fails(pool_call_t *call, void **model)
{
    (void)model;
    return pool_call_fail(call, 4, "no such membrane");
}

static int
execute_or_die(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    double out[8];

    (void)model;
    for (size_t i = 0; i < rows->count; i++) {
        if (rows->values[i] == 3)
            task_kill_self(call);
        if (rows->values[i] == 6)
            return pool_call_fail(call, 66, "row %zu", rows->first + i);
        out[i] = rows->values[i];
    }
    return pool_call_return(call, "ad", out, rows->count);
}

/* One failed chunk never costs another's results. */
static void
failed_ranks(int unused)
{
    const double values[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    struct setting setting = {POOL_FORK, 4};
    pool_job_t job = POOL_JOB_INIT;
    pool_scatter_t *scatter;
    pool_results_t *results;
    const pool_local_results_t *locals;
    double out[8];
    bool ok[8];
    size_t count;
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool_on(setting.backend, setting.workers);
    job.execute = execute_or_die;
    job.rows = 8;
    job.columns = 1;
    job.values = values;
    ck_assert_int_eq(pool_scatter(pool, &scatter, &job), 0);
    ck_assert_int_eq(pool_gather(scatter, PATIENCE_MS, &results), 0);
    ck_assert_uint_eq(pool_results_failed(results), 2);
    ck_assert_int_eq(pool_local_results(pool, results, &locals, &count), 0);
    ck_assert_uint_eq(count, 4);
    ck_assert_int_eq(locals[0].error, 0);
    ck_assert_int_eq(locals[1].error, POOL_EDIED);
    ck_assert_ptr_null(locals[1].results);
    ck_assert_int_eq(locals[1].failure->signal, 9);
    ck_assert_int_eq(locals[2].error, 0);
    ck_assert_int_eq(locals[3].error, POOL_ETASK);
    ck_assert_int_eq(locals[3].failure->task_code, 66);
    ck_assert_str_eq(locals[3].failure->message, "row 6");
    ck_assert_uint_eq(locals[3].parameters.count, 2);
    ck_assert_int_eq(pool_results_matrix(results, 1, out, ok), 0);
    for (int i = 0; i < 8; i++) {
        bool good = i / 2 != 1 && i / 2 != 3;
        ck_assert_int_eq(ok[i], good);
        if (good)
            ck_assert_double_eq(out[i], i);
        else
            ck_assert(isnan(out[i]));
    }
    ck_assert_int_eq(
        pool_future_error(pool_scatter_future(scatter, 1), 0), POOL_EDIED);
    ck_assert_ptr_null(pool_scatter_future(scatter, 4));
    ck_assert_ptr_null(pool_scatter_future(scatter, -1));
    pool_scatter_free(scatter);
    job.build = build_fails;
    ck_assert_int_eq(pool_scatter(pool, &scatter, &job), 0);
    ck_assert_int_eq(pool_gather(scatter, PATIENCE_MS, &results), 0);
    ck_assert_uint_eq(pool_results_failed(results), 4);
    ck_assert_int_eq(pool_local_results(pool, results, &locals, &count), 0);
    ck_assert_str_eq(locals[2].failure->message, "no such membrane");
    pool_scatter_free(scatter);
    pool_destroy(pool);
    test_end();
}

static int
execute_gate(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    int *gate = (int *)(uintptr_t)rows->values[0];
    double out = 1;

    (void)model;
    if (rows->first != 0 && !test_await(gate, 1))
        return 1;
    return pool_call_return(call, "ad", &out, (size_t)1);
}

/* At its timeout gather gives the part that is there. */
static void
partial_gather(int unused)
{
    int *gate = test_shared(sizeof *gate);
    const double values[2] = {(double)ADDRESS(gate), (double)ADDRESS(gate)};
    struct setting setting = {POOL_FORK, 2};
    pool_job_t job = POOL_JOB_INIT;
    pool_scatter_t *scatter;
    pool_results_t *results = NULL;
    const pool_local_results_t *locals;
    double out[2];
    bool ok[2];
    size_t count;
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool_on(setting.backend, setting.workers);
    job.execute = execute_gate;
    job.rows = 2;
    job.columns = 1;
    job.values = values;
    ck_assert_int_eq(pool_scatter(pool, &scatter, &job), 0);
    ck_assert_int_eq(
        pool_future_error(pool_scatter_future(scatter, 0), PATIENCE_MS), 0);
    ck_assert_int_eq(pool_gather(scatter, 10, &results), POOL_ETIMEDOUT);
    ck_assert_int_eq(pool_local_results(pool, results, &locals, &count), 0);
    ck_assert_int_eq(locals[0].error, 0);
    ck_assert_int_eq(locals[1].error, POOL_EAGAIN);
    ck_assert_uint_eq(pool_results_failed(results), 0);
    ck_assert_int_eq(pool_results_matrix(results, 1, out, ok), 0);
    ck_assert(ok[0] && !ok[1]);
    *gate = 1;
    ck_assert_int_eq(pool_gather(scatter, PATIENCE_MS, &results), 0);
    ck_assert_int_eq(locals[1].error, 0);
    pool_scatter_free(scatter);
    ck_assert_int_eq(pool_scatter(pool, &scatter, &job), 0);
    pool_scatter_free(scatter); /* never gathered */
    pool_destroy(pool);
    test_end();
}

static int
execute_too_few(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    double out[8] = {0};

    (void)model;
    return pool_call_return(
        call, "ad", out, rows->first == 0 ? rows->count : rows->count + 1);
}

static void
wrong_number_of_results(int unused)
{
    const double values[4] = {0};
    struct setting setting = {POOL_FORK, 2};
    pool_job_t job = POOL_JOB_INIT;
    pool_scatter_t *scatter;
    pool_results_t *results;
    double out[4];
    bool ok[4];
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool_on(setting.backend, setting.workers);
    job.execute = execute_too_few;
    job.rows = 4;
    job.columns = 1;
    job.values = values;
    ck_assert_int_eq(pool_scatter(pool, &scatter, &job), 0);
    ck_assert_int_eq(pool_gather(scatter, PATIENCE_MS, &results), 0);
    ck_assert_int_eq(pool_results_matrix(results, 1, out, ok), POOL_EFORMAT);
    ck_assert(strstr(pool_errmsg(), "rank 1") != NULL);
    ck_assert(ok[0] && ok[1] && !ok[2] && !ok[3]);
    ck_assert(out[1] == 0 && isnan(out[2]));
    ck_assert_int_eq(pool_results_matrix(results, 0, out, ok), POOL_EINVAL);
    pool_scatter_free(scatter);
    pool_destroy(pool);
    test_end();
}

/* ---- jobs that are refused -------------------------------------------- */

static void
bad_jobs(int unused)
{
    static const double values[4] = {0};
    static const char *const no_name[] = {NULL};
    static const char *const no_text[] = {"\xff"};
    static const unsigned char items[] = {1, 2, 3}, broken[] = {0x82, 1};
    const size_t size = sizeof(pool_job_t);
    const struct {
        int code;
        const char *word;
        pool_job_t job;
    } table[] = {
        {POOL_EINVAL, "size is 0", {.size = 0}},
        {POOL_EINVAL, "execute", {.size = size, .rows = 1}},
        {POOL_EINVAL, "rows is 0",
            {.size = size,
                .execute = execute_sum,
                .columns = 1,
                .values = values}},
        {POOL_EINVAL, "one of",
            {.size = size, .execute = execute_sum, .rows = 1}},
        {POOL_EINVAL, "one of",
            {.size = size,
                .execute = execute_sum,
                .rows = 1,
                .columns = 1,
                .values = values,
                .items = items,
                .items_size = 3}},
        {POOL_EINVAL, "columns",
            {.size = size,
                .execute = execute_sum,
                .rows = 1,
                .values = values}},
        {POOL_EINVAL, "schedule is 9",
            {.size = size,
                .execute = execute_sum,
                .rows = 1,
                .columns = 1,
                .values = values,
                .schedule = 9}},
        {POOL_ETOOBIG, "doubles",
            {.size = size,
                .execute = execute_sum,
                .rows = SIZE_MAX / 16,
                .columns = 4,
                .values = values}},
        {POOL_EINVAL, "3 values",
            {.size = size,
                .execute = execute_sum,
                .rows = 4,
                .items = items,
                .items_size = 3}},
        {POOL_EFORMAT, "byte",
            {.size = size,
                .execute = execute_sum,
                .rows = 1,
                .items = broken,
                .items_size = 2}},
        {POOL_EFORMAT, "build_arguments",
            {.size = size,
                .execute = execute_sum,
                .rows = 1,
                .columns = 1,
                .values = values,
                .build_arguments = broken,
                .build_arguments_size = 2}},
        {POOL_EINVAL, "build_arguments",
            {.size = size,
                .execute = execute_sum,
                .rows = 1,
                .columns = 1,
                .values = values,
                .build_arguments_size = 2}},
        {POOL_EINVAL, "column 0",
            {.size = size,
                .execute = execute_sum,
                .rows = 1,
                .columns = 1,
                .values = values,
                .names = no_name}},
        {POOL_EFORMAT, "column 0",
            {.size = size,
                .execute = execute_sum,
                .rows = 1,
                .columns = 1,
                .values = values,
                .names = no_text}},
    };
    struct setting setting = {POOL_FORK, 1};
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool_on(setting.backend, setting.workers);
    for (size_t i = 0; i < COUNT(table); i++) {
        pool_scatter_t *scatter = NULL;
        ck_assert_int_eq(
            pool_scatter(pool, &scatter, &table[i].job), table[i].code);
        ck_assert_ptr_null(scatter);
        ck_assert_msg(strstr(pool_errmsg(), table[i].word) != NULL, "%zu: %s",
            i, pool_errmsg());
    }
    pool_destroy(pool);
    test_end();
}

/* A scatter that is refused has started nothing. */
static void
a_refused_scatter_runs_nothing(int unused)
{
    struct counts *counts = test_shared(sizeof *counts);
    const double values[4] = {0};
    pool_options_t options = POOL_OPTIONS_INIT;
    unsigned char buffer[16];
    pool_job_t job = POOL_JOB_INIT;
    pool_scatter_t *scatter = NULL;
    pool_t *pool = NULL;

    (void)unused;
    test_begin();
    options.workers = options.min_workers = 4;
    options.max_pending = 3;
    ck_assert_int_eq(pool_create(&pool, &options), 0);
    pool_encode(
        buffer, sizeof buffer, &job.build_arguments_size, "t", ADDRESS(counts));
    job.build_arguments = buffer;
    job.build = build_counted;
    job.execute = execute_counted;
    job.rows = 4;
    job.columns = 1;
    job.values = values;
    ck_assert_int_eq(pool_scatter(pool, &scatter, &job), POOL_EINVAL);
    ck_assert(strstr(pool_errmsg(), "4 chunks") != NULL); /* for ever */
    ck_assert_ptr_null(scatter);
    job.rows = 3;
    pool_future_t *f;
    ck_assert_int_eq(pool_submit(pool, &f, task_double, "d", 1.0), 0);
    ck_assert_int_eq(pool_scatter(pool, &scatter, &job), POOL_EAGAIN);
    ck_assert_ptr_null(scatter);
    ck_assert_int_eq(pool_future_error(f, PATIENCE_MS), 0);
    pool_future_free(f);
    ck_assert_int_eq(pool_scatter(pool, &scatter, &job), 0);
    pool_results_t *results;
    ck_assert_int_eq(pool_gather(scatter, PATIENCE_MS, &results), 0);
    ck_assert_int_eq(counts->executed, 3);
    pool_scatter_free(scatter);
    pool_destroy(pool);
    test_end();
}

static const struct test tests[] = {
    {"a_refused_scatter_runs_nothing", a_refused_scatter_runs_nothing},
    {"upstream_values", upstream_values},
    {"array_split", array_split},
    {"grid", grid},
    {"sweep_with_infeasible_rows", sweep_with_infeasible_rows},
    {"mixed_lists", mixed_lists},
    {"built_once_released_once", built_once_released_once},
    {"a_model_serves_two_ranks", a_model_serves_two_ranks},
    {"failed_ranks", failed_ranks},
    {"partial_gather", partial_gather},
    {"wrong_number_of_results", wrong_number_of_results},
    {"bad_jobs", bad_jobs},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return test_main("scatter", tests, argc, argv);
}
