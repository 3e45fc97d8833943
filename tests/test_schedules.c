/* How rows are dealt, and what a chunk may ask for as a task: every schedule,
 * on the serial and the fork backend, with 1, 2, 3 and 8 workers. */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ADDRESS(p) ((uint64_t)(uintptr_t)(p))
#define COUNT(a) (sizeof(a) / sizeof(a)[0])

struct setting {
    int backend, workers;
};

static const struct setting settings[] = {{POOL_SERIAL, 1}, {POOL_FORK, 1},
    {POOL_FORK, 2}, {POOL_FORK, 3}, {POOL_FORK, 8}};

static const struct plan {
    int schedule;
    size_t chunk;
} plans[] = {{POOL_STATIC, 0}, {POOL_DYNAMIC, 0}, {POOL_DYNAMIC, 1},
    {POOL_DYNAMIC, 4}, {POOL_DYNAMIC, 1000000}, {POOL_GUIDED, 0},
    {POOL_GUIDED, 1}, {POOL_GUIDED, 5}, {POOL_GUIDED, 1000000}};

static pool_job_t
job_of(pool_execute_fn execute, const double *values, size_t rows,
    size_t columns, const struct plan *plan)
{
    pool_job_t job = POOL_JOB_INIT;

    job.execute = execute;
    job.values = values;
    job.rows = rows;
    job.columns = columns;
    job.schedule = plan->schedule;
    job.chunk = plan->chunk;
    return job;
}

static pool_results_t *
run(pool_t *pool, pool_scatter_t **scatter, const pool_job_t *job)
{
    pool_results_t *results = NULL;

    ck_assert_msg(pool_scatter(pool, scatter, job) == 0, "%s", pool_errmsg());
    ck_assert_int_eq(pool_gather(*scatter, PATIENCE_MS, &results), 0);
    return results;
}

/* ---- sizes ----------------------------------------------------------------
 */

/* What the header promises of the chunk after FIRST rows, number NUMBER. */
static size_t
promised(const struct plan *plan, size_t rows, size_t workers, size_t first,
    size_t number)
{
    size_t ranks = workers < rows ? workers : rows, left = rows - first;
    size_t least = plan->chunk, n;

    if (plan->schedule == POOL_STATIC)
        return rows / ranks + (number < rows % ranks);
    if (least == 0)
        least = plan->schedule == POOL_DYNAMIC
                    ? 1
                    : (rows + 64 * workers - 1) / (64 * workers);
    n = least;
    if (plan->schedule == POOL_GUIDED &&
        (left + 2 * workers - 1) / (2 * workers) > n)
        n = (left + 2 * workers - 1) / (2 * workers);
    return n < left ? n : left;
}

/* Each row: rank, ranks, and the row itself. */
static int
execute_where(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    void *place;
    int rc = pool_call_reserve(call, rows->count * 3 * sizeof(double), &place);
    double *out = place;

    (void)model;
    for (size_t i = 0; rc == 0 && i < rows->count; i++) {
        out[3 * i] = pool_call_rank(call);
        out[3 * i + 1] = pool_call_size(call);
        out[3 * i + 2] = rows->values[i];
    }
    return rc;
}

static void
check_chunks(pool_t *pool, const struct plan *plan, size_t rows, size_t workers)
{
    static double values[1000];
    pool_scatter_t *scatter;
    const pool_local_results_t *l;
    size_t count, first = 0;

    for (size_t i = 0; i < rows; i++)
        values[i] = (double)i;
    pool_job_t job = job_of(execute_where, values, rows, 1, plan);
    pool_results_t *results = run(pool, &scatter, &job);
    ck_assert_uint_eq(pool_results_failed(results), 0);
    ck_assert_int_eq(pool_local_results(pool, results, &l, &count), 0);
    for (size_t r = 0; r < count; r++) {
        size_t n = promised(plan, rows, workers, first, r);
        const double *out = l[r].results;
        ck_assert_int_eq(l[r].process_number, (int)r);
        ck_assert_uint_eq(l[r].parameters.first, first);
        ck_assert_uint_eq(l[r].parameters.count, n);
        ck_assert_uint_eq(l[r].results_size, n * 3 * sizeof(double));
        for (size_t i = 0; i < n; i++, first++) {
            ck_assert(out[3 * i] == (double)r);
            ck_assert(out[3 * i + 1] == (double)count);
            ck_assert(out[3 * i + 2] == (double)first);
            ck_assert(l[r].parameters.values[i] == (double)first);
        }
    }
    ck_assert_uint_eq(first, rows);
    ck_assert_int_eq(
        pool_worker_count(pool), (int)(workers < rows ? workers : rows));
    pool_scatter_free(scatter);
}

static void
chunks_are_as_promised(int unused)
{
    const size_t rows[] = {1, 2, 7, 64, 120, 999};

    (void)unused;
    test_begin();
    for (size_t s = 0; s < COUNT(settings); s++) {
        pool_t *pool = test_pool_on(settings[s].backend, settings[s].workers);
        for (size_t p = 0; p < COUNT(plans); p++)
            for (size_t n = 0; n < COUNT(rows); n++)
                check_chunks(
                    pool, &plans[p], rows[n], (size_t)settings[s].workers);
        pool_destroy(pool);
    }
    test_end();
}

/* (base + p) * mult of the reference: chunk 1 makes as many parts as rows. */
static int
execute_linear(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    double out[8];

    (void)model;
    for (size_t i = 0; i < rows->count; i++)
        out[i] = -(100 + rows->values[i]);
    return pool_call_return(call, "ad", out, rows->count);
}

static void
upstream_values(int unused)
{
    const double values[] = {1, 2, 3, 4, 5};
    const struct plan plan = {POOL_DYNAMIC, 1};

    (void)unused;
    test_begin();
    for (size_t s = 0; s < COUNT(settings); s++) {
        pool_t *pool = test_pool_on(settings[s].backend, settings[s].workers);
        pool_job_t job = job_of(execute_linear, values, 5, 1, &plan);
        pool_scatter_t *scatter;
        const pool_local_results_t *locals;
        double out[5];
        size_t count;
        pool_results_t *results = run(pool, &scatter, &job);
        pool_local_results(pool, results, &locals, &count);
        ck_assert_uint_eq(count, 5);
        ck_assert_int_eq(pool_results_matrix(results, 1, out, NULL), 0);
        for (int i = 0; i < 5; i++)
            ck_assert(out[i] == -101 - i);
        pool_scatter_free(scatter);
        pool_destroy(pool);
    }
    test_end();
}

/* ---- the same rows whatever the schedule ------------------------------------
 */

static int
execute_noise(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    double *out = malloc(rows->count * sizeof *out);
    int rc = out != NULL ? 0 : 1;

    (void)model;
    for (size_t i = 0; rc == 0 && i < rows->count; i++)
        out[i] = sin(rows->values[2 * i]) / rows->values[2 * i + 1];
    if (rc == 0)
        rc = pool_call_return(call, "ad", out, rows->count);
    free(out);
    return rc;
}

static void
same_rows_everywhere(int unused)
{
    static double values[500][2], expected[500], out[500];
    bool have = false;

    (void)unused;
    test_begin();
    for (int i = 0; i < 500; i++) {
        values[i][0] = 0.37 * i;
        values[i][1] = i + 0.1;
    }
    for (size_t s = 0; s < COUNT(settings); s++) {
        pool_t *pool = test_pool_on(settings[s].backend, settings[s].workers);
        for (size_t p = 0; p < COUNT(plans); p++) {
            pool_job_t job =
                job_of(execute_noise, values[0], 500, 2, &plans[p]);
            pool_scatter_t *scatter;
            pool_results_t *results = run(pool, &scatter, &job);
            ck_assert_int_eq(pool_results_matrix(results, 1, out, NULL), 0);
            if (!have)
                memcpy(expected, out, sizeof out);
            have = true;
            ck_assert_int_eq(memcmp(expected, out, sizeof out), 0);
            pool_scatter_free(scatter);
        }
        pool_destroy(pool);
    }
    test_end();
}

/* NaN payloads, infinities and the sign of zero come and go bit for bit. */
static int
execute_identity(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    (void)model;
    return pool_call_return_bytes(
        call, rows->values, rows->count * rows->columns * sizeof(double));
}

static void
bits_are_kept(int unused)
{
    uint64_t bits[] = {UINT64_C(0x7ff8dead00beef01),
        UINT64_C(0x7ff0000000000001), UINT64_C(0xfff8000000000000),
        UINT64_C(0x7ff0000000000000), UINT64_C(0xfff0000000000000),
        UINT64_C(0x8000000000000000), 1, UINT64_C(0x3ff0000000000000)};
    double values[COUNT(bits)];

    (void)unused;
    test_begin();
    memcpy(values, bits, sizeof bits);
    for (size_t s = 0; s < COUNT(settings); s++) {
        pool_t *pool = test_pool_on(settings[s].backend, settings[s].workers);
        for (size_t p = 0; p < COUNT(plans); p++) {
            pool_job_t job =
                job_of(execute_identity, values, COUNT(bits), 1, &plans[p]);
            pool_scatter_t *scatter;
            const pool_local_results_t *l;
            size_t count;
            pool_results_t *results = run(pool, &scatter, &job);
            pool_local_results(pool, results, &l, &count);
            for (size_t r = 0; r < count; r++) {
                const uint64_t *in = &bits[l[r].parameters.first];
                size_t n = l[r].parameters.count * sizeof *in;
                ck_assert_int_eq(memcmp(l[r].parameters.values, in, n), 0);
                ck_assert_uint_eq(l[r].results_size, n);
                ck_assert_int_eq(memcmp(l[r].results, in, n), 0);
            }
            pool_scatter_free(scatter);
        }
        pool_destroy(pool);
    }
    test_end();
}

/* Lists of strings, arrays and mixed rows; arrays in them stay aligned. */
static int
execute_ragged(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    double out[8];

    (void)model;
    for (size_t r = 0; r < rows->count; r++) {
        const char *text;
        const double *array;
        size_t n;
        if (pool_rows_get(rows, r, "s", &text) == 0)
            out[r] = (double)strlen(text);
        else if (pool_rows_get(rows, r, "ad", &array, &n) == 0)
            out[r] = ADDRESS(array) % 8 == 0 ? 100 + array[n - 1] : -1;
        else if (pool_rows_get(rows, r, "sad", &text, &array, &n) == 0)
            out[r] = (double)n + array[0];
        else
            return pool_call_fail(call, 1, "row %zu: %s", r, pool_errmsg());
    }
    return pool_call_return(call, "ad", out, rows->count);
}

static void
ragged_lists(int unused)
{
    const double three[] = {1, 2, 3};
    const double expected[] = {5, 103, 1, 101, 0, 4, 103, 2};
    _Alignas(8) unsigned char bytes[512];
    pool_enc_t enc;
    size_t size;

    (void)unused;
    test_begin();
    pool_enc_init(&enc, bytes, sizeof bytes);
    test_encode(
        &enc, "sadsads", "hello", three, (size_t)3, "x", three, (size_t)1, "");
    pool_enc_array(&enc, 2);
    test_encode(&enc, "sad", "abc", three, (size_t)3);
    test_encode(&enc, "ads", three, (size_t)3, "zz");
    ck_assert_int_eq(pool_enc_finish(&enc, &size), 0);
    for (size_t s = 0; s < COUNT(settings); s++) {
        pool_t *pool = test_pool_on(settings[s].backend, settings[s].workers);
        for (size_t p = 0; p < COUNT(plans); p++) {
            pool_job_t job = job_of(execute_ragged, NULL, 8, 0, &plans[p]);
            pool_scatter_t *scatter;
            double out[8];
            job.items = bytes;
            job.items_size = size;
            pool_results_t *results = run(pool, &scatter, &job);
            ck_assert_msg(pool_results_matrix(results, 1, out, NULL) == 0, "%s",
                pool_errmsg());
            for (int i = 0; i < 8; i++)
                ck_assert_double_eq(out[i], expected[i]);
            pool_scatter_free(scatter);
        }
        pool_destroy(pool);
    }
    test_end();
}

/* The random bits of a chunk are those of its first row, on every backend. */
static int
execute_seed(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    uint64_t seed = pool_call_seed(call);

    (void)model;
    (void)rows;
    return pool_call_return_bytes(call, &seed, sizeof seed);
}

static void
seeds_are_of_the_first_row(int unused)
{
    const double values[20] = {0};
    const struct plan plan = {POOL_DYNAMIC, 3}, one = {POOL_DYNAMIC, 1};
    uint64_t seeds[20];

    (void)unused;
    test_begin();
    for (size_t s = 0; s < COUNT(settings); s++) {
        pool_t *pool = test_pool_on(settings[s].backend, settings[s].workers);
        for (int i = 0; i < 2; i++) {
            pool_job_t job =
                job_of(execute_seed, values, 20, 1, i == 0 ? &one : &plan);
            pool_scatter_t *scatter;
            const pool_local_results_t *l;
            size_t count;
            pool_results_t *results = run(pool, &scatter, &job);
            pool_local_results(pool, results, &l, &count);
            for (size_t r = 0; r < count; r++) {
                uint64_t *seed = &seeds[l[r].parameters.first];
                if (s == 0 && i == 0)
                    memcpy(seed, l[r].results, sizeof *seed);
                ck_assert_int_eq(memcmp(seed, l[r].results, sizeof *seed), 0);
            }
            pool_scatter_free(scatter);
        }
        pool_destroy(pool);
    }
    ck_assert(seeds[0] != seeds[1]);
    test_end();
}

/* ---- a chunk as a task --------------------------------------------------- */

/* values: what to do; the address of a word that counts how often. */
enum { DIE = 1, FAIL, HANG };

static int
execute_once_bad(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    int *word = (int *)(uintptr_t)rows->values[1];
    bool first = __atomic_fetch_add(word, 1, __ATOMIC_ACQ_REL) == 0;

    (void)model;
    if (first && rows->values[0] == DIE)
        task_kill_self(call);
    if (first && rows->values[0] == HANG)
        task_hang(call);
    if (first && rows->values[0] == FAIL)
        return pool_call_fail(call, 7, "the first time");
    return pool_call_return(call, "ad", rows->values, (size_t)1);
}

/* What kills its worker, fails or hangs once is run again. */
static void
retries(int unused)
{
    int *words = test_shared(6 * sizeof *words);

    (void)unused;
    test_begin();
    for (size_t p = 0; p < COUNT(plans); p++) {
        const struct plan *plan = &plans[p];
        double values[6][2], out[6];
        pool_scatter_t *scatter;
        const pool_local_results_t *l;
        size_t count, failed = 0;
        if (plan->chunk != 0)
            continue;
        memset(words, 0, 6 * sizeof *words);
        for (int i = 0; i < 6; i++) {
            values[i][0] = i % 4;
            values[i][1] = (double)ADDRESS(&words[i]);
        }
        pool_t *pool = test_pool_on(POOL_FORK, 8);
        pool_job_t job = job_of(execute_once_bad, values[0], 6, 2, plan);
        job.chunk = plan->schedule != POOL_STATIC ? 1 : 0;
        job.deadline_ms = 1000;
        job.retries = 2;
        job.retry_on = POOL_RETRY_DEADLINE | POOL_RETRY_TASK;
        pool_results_t *results = run(pool, &scatter, &job);
        ck_assert_uint_eq(pool_results_failed(results), 0);
        ck_assert_int_eq(pool_results_matrix(results, 1, out, NULL), 0);
        for (int i = 0; i < 6; i++) {
            ck_assert(out[i] == i % 4);
            ck_assert_int_ge(words[i], i % 4 == 0 ? 1 : 2);
        }
        pool_scatter_free(scatter);
        memset(words, 0, 6 * sizeof *words);
        job.retries = 0;
        results = run(pool, &scatter, &job);
        pool_local_results(pool, results, &l, &count);
        for (size_t r = 0; r < count; r++) {
            static const int codes[] = {
                0, POOL_EDIED, POOL_ETASK, POOL_EDEADLINE};
            ck_assert_int_eq(l[r].error, codes[r % 4]);
            failed += l[r].error != 0;
        }
        ck_assert_uint_eq(pool_results_failed(results), failed);
        ck_assert_str_eq(l[2].failure->message, "the first time");
        pool_scatter_free(scatter);
        pool_destroy(pool);
    }
    test_end();
}

/* A serial pool runs again what failed, too. */
static void
retries_of_a_serial_pool(int unused)
{
    int *word = test_shared(sizeof *word);
    const double values[2] = {FAIL, (double)ADDRESS(word)};
    const struct plan plan = {POOL_STATIC, 0};

    (void)unused;
    test_begin();
    pool_t *pool = test_pool_on(POOL_SERIAL, 1);
    pool_job_t job = job_of(execute_once_bad, values, 1, 2, &plan);
    pool_scatter_t *scatter;
    job.retries = 1;
    pool_results_t *results = run(pool, &scatter, &job);
    ck_assert_uint_eq(pool_results_failed(results), 1);
    pool_scatter_free(scatter);
    *word = 0;
    job.retry_on = POOL_RETRY_TASK;
    results = run(pool, &scatter, &job);
    ck_assert_uint_eq(pool_results_failed(results), 0);
    ck_assert_int_eq(*word, 2);
    pool_scatter_free(scatter);
    pool_destroy(pool);
    test_end();
}

static int
execute_gate(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    int *words = (int *)(uintptr_t)rows->values[0];

    (void)model;
    __atomic_add_fetch(&words[0], 1, __ATOMIC_ACQ_REL);
    if (!test_await(&words[1], 1))
        return 1;
    double order = __atomic_add_fetch(&words[2], 1, __ATOMIC_ACQ_REL);
    return pool_call_return(call, "ad", &order, (size_t)1);
}

/* The future of a chunk that has not begun can be cancelled: it never runs. */
static void
a_chunk_is_cancelled(int unused)
{
    int *words = test_shared(3 * sizeof *words);
    const struct plan plan = {POOL_DYNAMIC, 1};
    double values[4], out[4];
    bool ok[4];
    pool_scatter_t *scatter;
    pool_results_t *results;

    (void)unused;
    test_begin();
    for (int i = 0; i < 4; i++)
        values[i] = (double)ADDRESS(words);
    pool_t *pool = test_pool_on(POOL_FORK, 1);
    pool_job_t job = job_of(execute_gate, values, 4, 1, &plan);
    ck_assert_int_eq(pool_scatter(pool, &scatter, &job), 0);
    ck_assert(test_await(&words[0], 1));
    ck_assert_int_eq(pool_future_cancel(pool_scatter_future(scatter, 2)), 0);
    ck_assert_int_eq(
        pool_future_cancel(pool_scatter_future(scatter, 0)), POOL_EBUSY);
    ck_assert_int_eq(pool_gather(scatter, 0, &results), POOL_ETIMEDOUT);
    ck_assert_uint_eq(pool_results_failed(results), 1);
    words[1] = 1;
    ck_assert_int_eq(pool_gather(scatter, PATIENCE_MS, &results), 0);
    ck_assert_uint_eq(pool_results_failed(results), 1);
    ck_assert_int_eq(pool_results_matrix(results, 1, out, ok), 0);
    ck_assert(ok[0] && ok[1] && !ok[2] && ok[3]);
    ck_assert_int_eq(words[0], 3);
    pool_scatter_free(scatter);
    pool_destroy(pool);
    test_end();
}

/* Chunks of the greater priority first. */
static void
priorities(int unused)
{
    int *words = test_shared(3 * sizeof *words);
    const struct plan plan = {POOL_DYNAMIC, 1};
    double values[2], low[2], high[2];
    pool_scatter_t *scatters[3];
    pool_results_t *results;

    (void)unused;
    test_begin();
    for (int i = 0; i < 2; i++)
        values[i] = (double)ADDRESS(words);
    pool_t *pool = test_pool_on(POOL_FORK, 1);
    pool_job_t job = job_of(execute_gate, values, 1, 1, &plan);
    ck_assert_int_eq(pool_scatter(pool, &scatters[0], &job), 0);
    ck_assert(test_await(&words[0], 1));
    job.rows = 2;
    job.priority = -1;
    ck_assert_int_eq(pool_scatter(pool, &scatters[1], &job), 0);
    job.priority = 1;
    ck_assert_int_eq(pool_scatter(pool, &scatters[2], &job), 0);
    words[1] = 1;
    ck_assert_int_eq(pool_gather(scatters[1], PATIENCE_MS, &results), 0);
    ck_assert_int_eq(pool_results_matrix(results, 1, low, NULL), 0);
    ck_assert_int_eq(pool_gather(scatters[2], PATIENCE_MS, &results), 0);
    ck_assert_int_eq(pool_results_matrix(results, 1, high, NULL), 0);
    ck_assert(high[0] == 2 && high[1] == 3 && low[0] == 4 && low[1] == 5);
    for (int i = 0; i < 3; i++)
        pool_scatter_free(scatters[i]);
    pool_destroy(pool);
    test_end();
}

static const struct test tests[] = {
    {"chunks_are_as_promised", chunks_are_as_promised},
    {"upstream_values", upstream_values},
    {"same_rows_everywhere", same_rows_everywhere},
    {"bits_are_kept", bits_are_kept},
    {"ragged_lists", ragged_lists},
    {"seeds_are_of_the_first_row", seeds_are_of_the_first_row},
    {"retries", retries},
    {"retries_of_a_serial_pool", retries_of_a_serial_pool},
    {"a_chunk_is_cancelled", a_chunk_is_cancelled},
    {"priorities", priorities},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return test_main("schedules", tests, argc, argv);
}
