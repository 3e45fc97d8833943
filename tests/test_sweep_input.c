/* What a sweep survives: builds that fail or crash, wrong results, a million
 * rows, large arguments, no memory, a scatter that is freed while it runs. */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../src/mem.h"

#define ADDRESS(p) ((uint64_t)(uintptr_t)(p))
#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static int
execute_double(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    double out[64];

    (void)model;
    for (size_t i = 0; i < rows->count; i++)
        out[i] = 2 * rows->values[i];
    return pool_call_return(call, "ad", out, rows->count);
}

static pool_job_t
job_of(pool_execute_fn execute, const double *values, size_t rows)
{
    pool_job_t job = POOL_JOB_INIT;

    job.execute = execute;
    job.values = values;
    job.rows = rows;
    job.columns = 1;
    job.schedule = POOL_DYNAMIC;
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

/* ---- builds ---------------------------------------------------------------
 */

struct counts {
    int called, built, released, executed;
    int way; /* what the first build does */
};

enum { FAIL = 1, CRASH, BAD_ARGUMENTS };

static struct counts *counts; /* shared with the workers */

static int
build_unsteady(pool_call_t *call, void **model)
{
    bool first = __atomic_fetch_add(&counts->called, 1, __ATOMIC_ACQ_REL) == 0;
    const char *text;
    size_t size;

    if (first && counts->way == FAIL)
        return pool_call_fail(call, 12, "no licence for %s", "it");
    if (first && counts->way == CRASH)
        return task_kill_self(call);
    int rc = first && counts->way == BAD_ARGUMENTS
                 ? pool_call_args(call, "s", &text)
                 : pool_call_args(call, "ay", &text, &size);
    if (rc < 0)
        return rc;
    __atomic_add_fetch(&counts->built, 1, __ATOMIC_ACQ_REL);
    *model = counts;
    return 0;
}

static int
execute_counted(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    struct counts *c = model;

    __atomic_add_fetch(&c->executed, 1, __ATOMIC_ACQ_REL);
    return execute_double(call, model, rows);
}

static void
release_counted(void *model)
{
    struct counts *c = model;

    __atomic_add_fetch(&c->released, 1, __ATOMIC_ACQ_REL);
}

/* One build that fails costs the chunk that asked for it; the next chunk there
 * builds. */
static void
a_build_that_fails_once(int unused)
{
    static const struct {
        int way, error;
        const char *word;
    } table[] = {{FAIL, POOL_ETASK, "no licence for it"},
        {CRASH, POOL_EDIED, "signal 9"},
        {BAD_ARGUMENTS, POOL_EFORMAT, "expected"}};
    const double values[20] = {0};
    unsigned char bytes[16];

    (void)unused;
    counts = test_shared(sizeof *counts);
    test_begin();
    for (size_t t = 0; t < COUNT(table); t++) {
        pool_t *pool = test_pool_on(POOL_FORK, 2);
        pool_job_t job = job_of(execute_counted, values, 20);
        pool_scatter_t *scatter;
        const pool_local_results_t *l;
        size_t count;
        memset(counts, 0, sizeof *counts);
        counts->way = table[t].way;
        pool_encode(bytes, sizeof bytes, &job.build_arguments_size, "ay",
            "12345", (size_t)5);
        job.build_arguments = bytes;
        job.build = build_unsteady;
        job.release = release_counted;
        pool_results_t *results = run(pool, &scatter, &job);
        ck_assert_uint_eq(pool_results_failed(results), 1);
        pool_local_results(pool, results, &l, &count);
        for (size_t r = 0; r < count; r++) {
            if (l[r].error == 0)
                continue;
            ck_assert_int_eq(l[r].error, table[t].error);
            ck_assert_msg(strstr(l[r].failure->message, table[t].word) != NULL,
                "%s", l[r].failure->message);
        }
        ck_assert_int_eq(counts->executed, 19);
        ck_assert_int_le(counts->built, 2);
        ck_assert_int_eq(counts->called, counts->built + 1);
        ck_assert(test_await(&counts->released, counts->built));
        pool_scatter_free(scatter);
        pool_destroy(pool);
        ck_assert_int_eq(counts->released, counts->built);
    }
    test_end();
}

/* Built once in each worker however many chunks it runs, for each scatter. */
static void
one_build_a_worker(int unused)
{
    const double values[200] = {0};
    unsigned char *bytes = malloc(1 << 20), *many = malloc(1 << 20);

    (void)unused;
    counts = test_shared(sizeof *counts);
    memset(many, 7, 1 << 20);
    test_begin();
    for (int workers = 1; workers <= 3; workers++) {
        pool_t *pool = test_pool_on(POOL_FORK, workers);
        for (int i = 0; i < 3; i++) {
            pool_job_t job = job_of(execute_counted, values, 200);
            pool_scatter_t *scatter;
            unsigned char head[8];
            memset(counts, 0, sizeof *counts);
            /* as large as may be: more than a buffer or a pipe holds */
            pool_encode(bytes, 1 << 20, &job.build_arguments_size, "ay", many,
                (size_t)(i == 0 ? 10 : (1 << 20) - sizeof head));
            job.build_arguments = bytes;
            job.build = build_unsteady;
            job.release = release_counted;
            pool_results_t *results = run(pool, &scatter, &job);
            ck_assert_uint_eq(pool_results_failed(results), 0);
            ck_assert_int_eq(counts->executed, 200);
            ck_assert_int_le(counts->built, workers);
            ck_assert(test_await(&counts->released, counts->built));
            pool_scatter_free(scatter);
        }
        pool_destroy(pool);
    }
    test_end();
    free(bytes);
    free(many);
}

/* ---- results ----------------------------------------------------------------
 */

static int
execute_odd(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    double out[4] = {1, 1, 1, 1};

    (void)model;
    if (rows->first == 4)
        return pool_call_return(call, "ad", out, (size_t)1); /* too few */
    if (rows->first == 6)
        return pool_call_return(call, "ad", out, (size_t)3); /* too many */
    if (rows->first == 8)
        return pool_call_return(call, "s", "none");
    return rows->first == 10 ? 0 : pool_call_return(call, "ad", out, 2ul);
}

/* Too many, of a kind that is none, nothing: what the first rank returned. */
static int
execute_one_odd(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    static const double out[3] = {1, 1, 1};

    (void)model;
    if (rows->values[0] == 0)
        return pool_call_return(call, "ad", out, (size_t)3);
    return rows->values[0] == 1 ? pool_call_return(call, "s", "none") : 0;
}

static void
what_did_not_fit_is_told(int unused)
{
    static const char none[] =
        "rank 0: 2 doubles expected, no array of them (pool_decode: argument 1";
    static const char *const words[] = {
        "rank 0: 2 doubles expected, 3 came", none, none};

    (void)unused;
    test_begin();
    pool_t *pool = test_pool_on(POOL_FORK, 1);
    for (int w = 0; w < 3; w++) {
        const double values[2] = {w, w};
        pool_job_t job = job_of(execute_one_odd, values, 2);
        job.chunk = 2;
        pool_scatter_t *scatter;
        double out[2];
        pool_results_t *results = run(pool, &scatter, &job);
        ck_assert_int_eq(
            pool_results_matrix(results, 1, out, NULL), POOL_EFORMAT);
        ck_assert_msg(
            strstr(pool_errmsg(), words[w]) != NULL, "%s", pool_errmsg());
        pool_scatter_free(scatter);
    }
    pool_destroy(pool);
    test_end();
}

/* The message names the first rank and counts; the others are written. */
static void
results_that_do_not_fit(int unused)
{
    static const char *const words[] = {"rank 2: 2 doubles expected, 1 came",
        "; 2 of 4 ranks", "; 3 of 5 ranks", "; 4 of 6 ranks"};
    const double values[12] = {0};

    (void)unused;
    test_begin();
    for (size_t w = 0; w < COUNT(words); w++) {
        pool_t *pool = test_pool_on(POOL_FORK, 2);
        size_t rows = 6 + 2 * w;
        pool_job_t job = job_of(execute_odd, values, rows);
        pool_scatter_t *scatter;
        double out[12];
        bool ok[12];
        job.chunk = 2;
        pool_results_t *results = run(pool, &scatter, &job);
        ck_assert_int_eq(
            pool_results_matrix(results, 1, out, ok), POOL_EFORMAT);
        ck_assert_msg(
            strstr(pool_errmsg(), words[w]) != NULL, "%s", pool_errmsg());
        for (size_t i = 0; i < rows; i++) {
            ck_assert_int_eq(ok[i], i < 4);
            ck_assert(i < 4 ? out[i] == 1 : isnan(out[i]));
        }
        pool_scatter_free(scatter);
        pool_destroy(pool);
    }
    test_end();
}

/* ---- many rows ----------------------------------------------------------- */

static int
execute_some(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    double out[10];

    (void)model;
    if (pool_call_rank(call) % 100 == 99)
        return pool_call_fail(call, 9, "rank %d", pool_call_rank(call));
    for (size_t i = 0; i < rows->count; i++)
        out[i] = (rows->first + i) % 100 == 50 ? NAN : -rows->values[i];
    return pool_call_return(call, "ad", out, rows->count);
}

static int settled_count;

static int
count_settled(const pool_local_results_t *local, void *data)
{
    (void)local;
    (void)data;
    settled_count++;
    return 0;
}

static void
a_million_rows(int unused)
{
    const size_t n = 1000000, chunk = test_full() ? 1 : 10;
    double *values = malloc(n * sizeof *values);
    double *out = malloc(n * sizeof *out);
    bool *ok = malloc(n);
    pool_scatter_t *scatter;
    pool_results_t *results;
    pool_failure_t failure;
    size_t wrong = 0;

    (void)unused;
    for (size_t i = 0; i < n; i++)
        values[i] = (double)i;
    test_begin();
    pool_t *pool = test_pool_on(POOL_FORK, 2);
    pool_job_t job = job_of(execute_some, values, n);
    job.chunk = chunk;
    run(pool, &scatter, &job); /* its memory is the next one's */
    pool_scatter_free(scatter);
    job.settled = count_settled;
    settled_count = 0;
    ck_assert_int_eq(pool_scatter(pool, &scatter, &job), 0);
    ck_assert_int_eq(pool_gather(scatter, 3 * PATIENCE_MS, &results), 0);
    ck_assert_uint_eq(pool_results_failed(results), n / chunk / 100);
    ck_assert_uint_eq((size_t)settled_count, n / chunk);
    ck_assert_int_eq(pool_results_matrix(results, 1, out, ok), 0);
    for (size_t i = 0; i < n; i++) {
        bool good = i / chunk % 100 != 99 && i % 100 != 50;
        wrong +=
            ok[i] != good || (good ? out[i] != -values[i] : !isnan(out[i]));
    }
    ck_assert_uint_eq(wrong, 0);
    failure = *pool_future_failure(pool_scatter_future(scatter, 199));
    ck_assert_int_eq(failure.task_code, 9);
    ck_assert_str_eq(failure.message, "rank 199");
    pool_scatter_free(scatter);
    pool_destroy(pool);
    test_end();
    free(values);
    free(out);
    free(ok);
}

/* ---- jobs that are refused ----------------------------------------------- */

static void
progress_never(const pool_progress_t *progress, void *data)
{
    (void)progress;
    (void)data;
}

#define JOB(...)                                                               \
    {                                                                          \
        .size = sizeof(pool_job_t), .execute = execute_double, .rows = 4,      \
        .columns = 1, .values = four, __VA_ARGS__                              \
    }

static void
bad_jobs(int unused)
{
    static const double four[4] = {0};
    static const struct {
        int code;
        const char *word;
        pool_job_t job;
    } table[] = {
        {POOL_EINVAL, "job.chunk is 3 with a static", JOB(.chunk = 3)},
        {POOL_EINVAL, "job.schedule is 3", JOB(.schedule = 3)},
        {POOL_EINVAL, "job.schedule is -1", JOB(.schedule = -1)},
        {POOL_EINVAL, "job.flags is 0x2", JOB(.flags = 2)},
        {POOL_EINVAL, "PEERS",
            JOB(.flags = POOL_JOB_PEERS, .schedule = POOL_GUIDED)},
        {POOL_EINVAL, "PEERS", JOB(.flags = POOL_JOB_PEERS, .retries = 1)},
        {POOL_EINVAL, "job.deadline_ms is -2", JOB(.deadline_ms = -2)},
        {POOL_EINVAL, "job.retries is -1", JOB(.retries = -1)},
        {POOL_EINVAL, "job.retries is 101", JOB(.retries = 101)},
        {POOL_EINVAL, "job.retry_on is 8", JOB(.retry_on = 8)},
        {POOL_EINVAL, "job.priority is 8", JOB(.priority = 8)},
        {POOL_EINVAL, "job.priority is -9", JOB(.priority = -9)},
        {POOL_EINVAL, "job.progress_ms is -1",
            JOB(.progress_ms = -1, .progress = progress_never)},
    };

    (void)unused;
    test_begin();
    for (int backend = POOL_FORK; backend <= POOL_SERIAL; backend++) {
        pool_t *pool = test_pool_on(backend, 1);
        for (size_t i = 0; i < COUNT(table); i++) {
            pool_scatter_t *scatter = NULL;
            ck_assert_int_eq(
                pool_scatter(pool, &scatter, &table[i].job), table[i].code);
            ck_assert_ptr_null(scatter);
            ck_assert_msg(strstr(pool_errmsg(), table[i].word) != NULL,
                "%zu: %s", i, pool_errmsg());
        }
        ck_assert_int_eq(pool_scatter(pool, NULL, &table[0].job), POOL_EINVAL);
        pool_destroy(pool);
    }
    test_end();
}

/* Too large: a chunk, the arguments of build, the number of chunks. */
static void
too_large(int unused)
{
    static const double values[400];
    static unsigned char bytes[2000], many[1992];
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_scatter_t *scatter = NULL;
    pool_t *pool = NULL;

    (void)unused;
    test_begin();
    options.workers = 1;
    options.max_argument = 1000;
    ck_assert_int_eq(pool_create(&pool, &options), 0);
    pool_job_t job = job_of(execute_double, values, 400);
    job.chunk = 200;
    ck_assert_int_eq(pool_scatter(pool, &scatter, &job), POOL_ETOOBIG);
    ck_assert(strstr(pool_errmsg(), "the limit is 1000") != NULL);
    job.chunk = 10;
    pool_encode(bytes, sizeof bytes, &job.build_arguments_size, "ay", many,
        sizeof many);
    job.build_arguments = bytes;
    ck_assert_int_eq(pool_scatter(pool, &scatter, &job), POOL_ETOOBIG);
    ck_assert(strstr(pool_errmsg(), "build_arguments") != NULL);
    job.build_arguments = NULL;
    job.build_arguments_size = 0;
    job.rows = SIZE_MAX / 16;
    job.chunk = 1;
    ck_assert_int_eq(pool_scatter(pool, &scatter, &job), POOL_EINVAL);
    ck_assert(strstr(pool_errmsg(), "chunks") != NULL);
    ck_assert_ptr_null(scatter);
    pool_destroy(pool);
    test_end();
}

/* Each allocation of pool_scatter fails once; nothing is left, and the next
 * scatter runs. */
static int
restore_one(int rank, const pool_rows_t *rows, const void **results,
    size_t *size, void *data)
{
    static unsigned char bytes[256];
    static const double many[20];

    (void)rows;
    (void)data;
    *results = bytes;
    return rank == 1 &&
           pool_encode(bytes, sizeof bytes, size, "ad", many, (size_t)20) == 0;
}

static void
no_memory(int unused)
{
    static const double values[6];
    static const char *const names[] = {"x"};

    (void)unused;
    test_begin();
    for (int backend = POOL_FORK; backend <= POOL_SERIAL; backend++) {
        pool_t *pool = test_pool_on(backend, 2);
        pool_job_t job = job_of(execute_double, values, 6);
        pool_scatter_t *scatter = NULL;
        pool_results_t *results;
        long failures = 0;
        int rc = POOL_ENOMEM;
        job.names = names;
        job.restore = restore_one;
        for (long n = 0; rc == POOL_ENOMEM && n < 100; n++) {
            pool__mem_fail_after = n;
            rc = pool_scatter(pool, &scatter, &job);
            pool__mem_fail_after = -1;
            failures += rc == POOL_ENOMEM;
            ck_assert(rc == 0 || scatter == NULL);
        }
        ck_assert_int_eq(rc, 0);
        ck_assert_int_gt(failures, 5);
        ck_assert_int_eq(pool_gather(scatter, PATIENCE_MS, &results), 0);
        pool_scatter_free(scatter);
        run(pool, &scatter, &job);
        pool_scatter_free(scatter);
        pool_destroy(pool);
    }
    test_end();
}

/* ---- freed while it runs ------------------------------------------------- */

static int *words; /* begun, leave */

static int
execute_and_die_once(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    int run = __atomic_add_fetch(&words[0], 1, __ATOMIC_ACQ_REL);

    if (!test_await(&words[1], 1))
        return 1;
    if (run == 1)
        return task_kill_self(call);
    return execute_counted(call, model, rows);
}

/* The chunk that ran is detached: it is run again, and its model goes back. */
static void
freed_while_it_runs(int unused)
{
    static const double values[6];
    unsigned char bytes[16];
    pool_scatter_t *scatter;

    (void)unused;
    counts = test_shared(sizeof *counts);
    words = test_shared(2 * sizeof *words);
    test_begin();
    pool_t *pool = test_pool_on(POOL_FORK, 1);
    pool_job_t job = job_of(execute_and_die_once, values, 6);
    pool_encode(bytes, sizeof bytes, &job.build_arguments_size, "ay", "12345",
        (size_t)5);
    job.build_arguments = bytes;
    job.build = build_unsteady;
    job.release = release_counted;
    job.retries = 1;
    ck_assert_int_eq(pool_scatter(pool, &scatter, &job), 0);
    ck_assert(test_await(&words[0], 1));
    pool_future_t *future = pool_future_ref(pool_scatter_future(scatter, 0));
    pool_scatter_free(scatter);
    words[1] = 1;
    ck_assert_int_eq(pool_future_error(future, PATIENCE_MS), 0);
    ck_assert_int_eq(counts->executed, 1);
    ck_assert_int_eq(counts->built, 2);
    pool_future_free(future);
    ck_assert_int_eq(pool_poll(pool, 0), 0);
    ck_assert(test_await(&counts->released, 1));
    pool_destroy(pool);
    test_end();
}

static const struct test tests[] = {
    {"a_build_that_fails_once", a_build_that_fails_once},
    {"one_build_a_worker", one_build_a_worker},
    {"what_did_not_fit_is_told", what_did_not_fit_is_told},
    {"results_that_do_not_fit", results_that_do_not_fit},
    {"a_million_rows", a_million_rows},
    {"bad_jobs", bad_jobs},
    {"too_large", too_large},
    {"no_memory", no_memory},
    {"freed_while_it_runs", freed_while_it_runs},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return test_main("sweep_input", tests, argc, argv);
}
