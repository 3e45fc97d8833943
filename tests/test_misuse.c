/* Misuse: every public function with NULL, with numbers out of range, with
 * formats that lie. Each is told by its code and a message; nothing leaks. */
#include "support.h"

#include <errno.h>
#include <string.h>

static int
execute_nothing(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    (void)model;
    (void)rows;
    return pool_call_return(call, "i", 1);
}

/* The last call failed with CODE and said something about WORD. */
#define REFUSED(call, code, word)                                              \
    do {                                                                       \
        ck_assert_int_eq((call), (code));                                      \
        ck_assert_msg(strstr(pool_errmsg(), (word)) != NULL,                   \
            "\"%s\" does not name \"%s\"", pool_errmsg(), (word));             \
    } while (0)

static void
pools(int unused)
{
    pool_future_t *f = NULL;
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(1);
    REFUSED(pool_create(NULL, NULL), POOL_EINVAL, "pool_create");
    REFUSED(pool_shutdown(NULL, 0), POOL_EINVAL, "pool_shutdown");
    REFUSED(pool_shutdown(pool, 4), POOL_EINVAL, "0x4");
    REFUSED(pool_poll(NULL, 0), POOL_EINVAL, "pool_poll");
    REFUSED(pool_poll(pool, -7), POOL_EINVAL, "-7");
    ck_assert_int_eq(pool_worker_count(NULL), 0);
    pool_destroy(NULL);
    REFUSED(pool_submit(NULL, &f, task_pid, ""), POOL_EINVAL, "pool");
    REFUSED(pool_submit(pool, &f, NULL, ""), POOL_EINVAL, "fn");
    REFUSED(pool_submit_opts(NULL, &f, NULL, task_pid, ""), POOL_EINVAL,
        "pool_submit_opts");
    REFUSED(pool_submit_bytes(NULL, &f, NULL, task_pid, "", 0), POOL_EINVAL,
        "pool_submit_bytes");
    REFUSED(pool_submit_bytes(pool, &f, NULL, task_pid, NULL, 5), POOL_EINVAL,
        "data is NULL");
    REFUSED(pool_submit_bytes(pool, &f, NULL, task_pid, "", SIZE_MAX),
        POOL_ETOOBIG, "limit");
    ck_assert_ptr_null(f);
    pool_destroy(pool);
    test_end();
}

/* Formats that lie are found before a task exists. */
static void
formats(int unused)
{
    static const char *const bad[] = {
        "q", "a", "as", "ab", "av", "aq", "d?", "dd q", "dda"};
    pool_future_t *f = NULL;
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(1);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int rc = pool_submit(pool, &f, task_pid, bad[i], 1.0, 2.0, 3.0, 4.0);
        ck_assert_msg(
            rc == POOL_EINVAL || rc == POOL_EFORMAT, "%s: %d", bad[i], rc);
        ck_assert_ptr_null(f);
        ck_assert_int_gt((int)strlen(pool_errmsg()), 10);
    }
    REFUSED(pool_submit(pool, &f, task_pid, "ayz", "bytes", (size_t)5, 1),
        POOL_EINVAL, "z");
    REFUSED(pool_submit(pool, &f, task_pid, "s", "\xc0\x80"), POOL_EFORMAT,
        "argument 1");
    REFUSED(pool_submit(pool, &f, task_pid, "is", 1, (char *)NULL), POOL_EINVAL,
        "argument 2");
    REFUSED(pool_submit(pool, &f, task_pid, "v", "\x82\x01", (size_t)2),
        POOL_EFORMAT, "argument 1");
    ck_assert_ptr_null(f);
    ck_assert_int_eq(pool_shutdown(pool, POOL_SHUTDOWN_WAIT), 0);
    pool_destroy(pool);
    test_end();
}

static void
futures(int unused)
{
    pool_future_t *none[1] = {NULL};

    (void)unused;
    test_begin();
    REFUSED(pool_future_result(NULL, 0, ""), POOL_EINVAL, "future is NULL");
    REFUSED(pool_future_bytes(NULL, 0, NULL, NULL), POOL_EINVAL, "NULL");
    REFUSED(pool_future_error(NULL, 0), POOL_EINVAL, "pool_future_error");
    REFUSED(pool_future_cancel(NULL), POOL_EINVAL, "pool_future_cancel");
    ck_assert_ptr_null(pool_future_failure(NULL));
    ck_assert_ptr_null(pool_future_ref(NULL));
    ck_assert(!pool_future_done(NULL));
    ck_assert(!pool_future_running(NULL));
    ck_assert(!pool_future_cancelled(NULL));
    ck_assert_uint_eq(pool_future_tag(NULL), 0);
    pool_future_free(NULL);
    REFUSED(pool_wait(NULL, 1, 0, 0, NULL), POOL_EINVAL, "futures is NULL");
    REFUSED(pool_wait(none, 1, 0, 0, NULL), POOL_EINVAL, "future 0");
    REFUSED(pool_wait(none, 0, 9, 0, NULL), POOL_EINVAL, "mode is 9");
    REFUSED(pool_wait(none, 0, 0, -2, NULL), POOL_EINVAL, "-2");
    pool_t *pool = test_pool(1);
    ck_assert_int_eq(pool_submit(pool, &none[0], task_pid, ""), 0);
    REFUSED(pool_future_error(none[0], -2), POOL_EINVAL, "-2");
    ck_assert_int_eq(pool_future_error(none[0], PATIENCE_MS), 0);
    pool_future_free(none[0]);
    pool_destroy(pool);
    test_end();
}

static void
calls(int unused)
{
    void *block;

    (void)unused;
    test_begin();
    REFUSED(pool_call_args(NULL, ""), POOL_EINVAL, "pool_call_args");
    REFUSED(pool_call_bytes(NULL, NULL, NULL), POOL_EINVAL, "call is NULL");
    REFUSED(pool_call_return(NULL, ""), POOL_EINVAL, "call is NULL");
    REFUSED(pool_call_return_bytes(NULL, "", 1), POOL_EINVAL, "call");
    REFUSED(pool_call_reserve(NULL, 1, &block), POOL_EINVAL, "call");
    ck_assert_int_eq(pool_call_fail(NULL, 5, "text"), 5);
    ck_assert_int_eq(pool_call_fail(NULL, 0, "text"), -1);
    ck_assert_int_eq(pool_call_rank(NULL), 0);
    ck_assert_int_eq(pool_call_size(NULL), 0);
    test_end();
}

/* The same inside a task. */
static int
task_misuse(pool_call_t *call)
{
    void *block;
    int bad = 0;

    bad |= pool_call_return_bytes(call, NULL, 3) != POOL_EINVAL;
    bad |= pool_call_reserve(call, 3, NULL) != POOL_EINVAL;
    bad |= pool_call_args(call, "zz") != POOL_EINVAL;
    bad |= pool_call_reserve(call, SIZE_MAX, &block) != POOL_ETOOBIG;
    bad |= pool_call_return(call, "s", "\xff") != POOL_EFORMAT;
    bad |= pool_call_return(call, "i", 1) != 0;
    bad |= pool_call_return(call, "i", 2) != 0; /* replaces the first */
    bad |= pool_call_rank(call) != 0 || pool_call_size(call) != 1;
    return bad;
}

static void
calls_in_a_task(int unused)
{
    pool_future_t *f;
    pool_t *pool;
    int value = 0;

    (void)unused;
    test_begin();
    pool = test_pool(1);
    ck_assert_int_eq(pool_submit(pool, &f, task_misuse, ""), 0);
    ck_assert_int_eq(pool_future_result(f, PATIENCE_MS, "i", &value), 0);
    ck_assert_int_eq(value, 2);
    pool_future_free(f);
    pool_destroy(pool);
    test_end();
}

static void
sweeps(int unused)
{
    pool_job_t job = POOL_JOB_INIT;
    const pool_local_results_t *locals;
    pool_scatter_t *scatter = NULL;
    pool_results_t *results;
    double value = 1, out[1];
    const char *text;
    size_t count;
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(1);
    job.execute = execute_nothing;
    job.rows = job.columns = 1;
    job.values = &value;
    REFUSED(pool_scatter(NULL, &scatter, &job), POOL_EINVAL, "pool");
    REFUSED(pool_scatter(pool, NULL, &job), POOL_EINVAL, "scatter is NULL");
    REFUSED(pool_scatter(pool, &scatter, NULL), POOL_EINVAL, "job is NULL");
    REFUSED(pool_gather(NULL, 0, &results), POOL_EINVAL, "scatter");
    ck_assert_int_eq(pool_scatter(pool, &scatter, &job), 0);
    REFUSED(pool_gather(scatter, 0, NULL), POOL_EINVAL, "results");
    REFUSED(pool_gather(scatter, -3, &results), POOL_EINVAL, "-3");
    ck_assert_int_eq(pool_gather(scatter, PATIENCE_MS, &results), 0);
    REFUSED(pool_local_results(NULL, results, &locals, &count), POOL_EINVAL,
        "pool_local_results");
    REFUSED(pool_local_results(pool, NULL, &locals, &count), POOL_EINVAL,
        "results");
    REFUSED(
        pool_local_results(pool, results, NULL, &count), POOL_EINVAL, "array");
    REFUSED(pool_results_matrix(NULL, 1, out, NULL), POOL_EINVAL, "results");
    REFUSED(pool_results_matrix(results, 1, NULL, NULL), POOL_EINVAL, "matrix");
    ck_assert_uint_eq(pool_results_failed(NULL), 0);
    ck_assert_ptr_null(pool_scatter_future(NULL, 0));
    ck_assert_int_eq(pool_local_results(pool, results, &locals, &count), 0);
    REFUSED(pool_rows_get(NULL, 0, "d", out), POOL_EINVAL, "rows is NULL");
    REFUSED(pool_rows_get(&locals[0].parameters, 0, "d", out), POOL_EINVAL,
        "matrix");
    pool_scatter_free(scatter);
    pool_scatter_free(NULL);
    pool_rows_t list = {.count = 1, .items = "\x01", .items_size = 1};
    REFUSED(pool_rows_get(&list, 1, "d", out), POOL_EINVAL, "row 1 of 1");
    REFUSED(pool_rows_get(&list, 0, NULL), POOL_EINVAL, "format");
    REFUSED(pool_rows_get(&list, 0, "s", &text), POOL_EFORMAT, "argument 1");
    pool_destroy(pool);
    test_end();
}

static void
codes(int unused)
{
    (void)unused;
    ck_assert_str_eq(pool_err_name(0), "POOL_OK");
    ck_assert_str_eq(pool_err_name(POOL_EDIED), "POOL_EDIED");
    ck_assert_str_eq(pool_err_name(-EINVAL), "POOL_EINVAL");
    ck_assert_str_eq(pool_err_name(-EPIPE), "EPIPE");
    ck_assert_str_eq(pool_err_name(-99999), "unknown");
    ck_assert_str_eq(pool_err_name(3), "unknown");
    ck_assert_int_eq(POOL_EINVAL, -EINVAL);
    ck_assert_int_lt(POOL_EFORKED, -4096);
#define HAS_TEXT(name, value, text)                                            \
    ck_assert_str_eq(pool_strerror(value), text);                              \
    ck_assert_str_eq(pool_err_name(value), "POOL_" #name);
    POOL_ERRORS(HAS_TEXT)
#undef HAS_TEXT
    ck_assert_str_eq(pool_strerror(0), "success");
    ck_assert_str_eq(pool_strerror(1), "unknown error");
    ck_assert_str_eq(pool_version(), "0.1.0");
}

static const struct test tests[] = {
    {"pools", pools},
    {"formats", formats},
    {"futures", futures},
    {"calls", calls},
    {"calls_in_a_task", calls_in_a_task},
    {"sweeps", sweeps},
    {"codes", codes},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return test_main("misuse", tests, argc, argv);
}
