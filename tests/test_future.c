/* Futures: the truth table of their questions over all states, cancelling,
 * waiting for one and for many. */
#include "support.h"

#include <string.h>

#define ADDRESS(p) ((uint64_t)(uintptr_t)(p))

/* Says that it runs, then waits for leave. "tt": two shared words. */
static int
task_gate(pool_call_t *call)
{
    uint64_t begun, leave;
    int rc = pool_call_args(call, "tt", &begun, &leave);

    if (rc < 0)
        return rc;
    __atomic_add_fetch((int *)(uintptr_t)begun, 1, __ATOMIC_ACQ_REL);
    if (!test_await((int *)(uintptr_t)leave, 1))
        return 99;
    return pool_call_return(call, "i", 5);
}

static int
task_fail(pool_call_t *call)
{
    return pool_call_fail(call, 17, "row %d is wet", 3);
}

static int
task_fail_plain(pool_call_t *call)
{
    (void)call;
    return -3;
}

static int
task_fail_zero(pool_call_t *call)
{
    return pool_call_fail(call, 0, "zero is no failure");
}

static int
task_looks_like_library(pool_call_t *call)
{
    (void)call;
    return POOL_EDIED; /* a task can't claim that */
}

struct gate {
    int begun, leave;
};

static pool_future_t *
submit_gate(pool_t *pool, struct gate *gate)
{
    pool_future_t *future = NULL;

    ck_assert_int_eq(pool_submit(pool, &future, task_gate, "tt",
                         ADDRESS(&gate->begun), ADDRESS(&gate->leave)),
        0);
    return future;
}

static void
open_gate(struct gate *gate)
{
    __atomic_store_n(&gate->leave, 1, __ATOMIC_RELEASE);
}

/* ---- the truth table -------------------------------------------------- */

static void
expect(pool_future_t *f, bool done, bool running, bool cancelled, int error,
    int cancel)
{
    ck_assert_int_eq(pool_future_running(f), running);
    ck_assert_int_eq(pool_future_done(f), done);
    ck_assert_int_eq(pool_future_cancelled(f), cancelled);
    ck_assert_int_eq(pool_future_error(f, 0), error);
    ck_assert_int_eq(pool_future_result(f, 0, NULL), error);
    ck_assert_int_eq(pool_future_bytes(f, 0, NULL, NULL), error);
    ck_assert_int_eq(pool_future_failure(f) != NULL,
        error != 0 && error != POOL_ETIMEDOUT && error != POOL_ECANCELED);
    ck_assert_int_eq(pool_future_cancel(f), cancel);
}

static void
truth_table(int unused)
{
    struct gate *gate = test_shared(sizeof *gate);
    pool_future_t *running, *ahead, *queued, *failed;
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(1);
    running = submit_gate(pool, gate);
    ck_assert(test_await(&gate->begun, 1));
    ahead = submit_gate(pool, gate);
    queued = submit_gate(pool, gate);
    expect(running, false, true, false, POOL_ETIMEDOUT, POOL_EBUSY);
    expect(queued, false, false, false, POOL_ETIMEDOUT, 0);
    expect(queued, true, false, true, POOL_ECANCELED, 0);
    expect(ahead, false, false, false, POOL_ETIMEDOUT, 0);
    expect(ahead, true, false, true, POOL_ECANCELED, 0);
    open_gate(gate);
    ck_assert_int_eq(pool_future_error(running, PATIENCE_MS), 0);
    expect(running, true, false, false, 0, POOL_EBUSY);
    ck_assert_int_eq(pool_submit(pool, &failed, task_fail, ""), 0);
    ck_assert_int_eq(pool_future_error(failed, PATIENCE_MS), POOL_ETASK);
    expect(failed, true, false, false, POOL_ETASK, POOL_EBUSY);
    pool_destroy(pool);
    ck_assert_int_eq(gate->begun, 1); /* what was cancelled never ran */
    pool_future_free(running);
    pool_future_free(ahead);
    pool_future_free(queued);
    pool_future_free(failed);
    test_end();
}

/* ---- what a task returns ---------------------------------------------- */

struct outcome {
    pool_fn fn;
    int code, task_code;
    const char *message;
};

static void
outcomes(int unused)
{
    const struct outcome table[] = {
        {task_fail, POOL_ETASK, 17, "row 3 is wet"},
        {task_fail_plain, POOL_ETASK, -3, "the task returned -3"},
        {task_fail_zero, POOL_ETASK, -1, "zero is no failure"},
        {task_looks_like_library, POOL_ETASK, POOL_EDIED, "returned"},
        {task_double, POOL_EFORMAT, POOL_EFORMAT, "argument 1"},
    };

    (void)unused;
    test_begin();
    for (int backend = POOL_FORK; backend <= POOL_SERIAL; backend++) {
        pool_options_t options = POOL_OPTIONS_INIT;
        pool_t *pool = NULL;
        options.workers = 1;
        options.backend = backend;
        ck_assert_int_eq(pool_create(&pool, &options), 0);
        for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
            pool_future_t *f;
            ck_assert_int_eq(
                pool_submit(pool, &f, table[i].fn, "s", "text"), 0);
            ck_assert_int_eq(pool_future_error(f, PATIENCE_MS), table[i].code);
            const pool_failure_t *failure = pool_future_failure(f);
            ck_assert_int_eq(failure->code, table[i].code);
            ck_assert_int_eq(failure->task_code, table[i].task_code);
            ck_assert_int_eq(failure->attempts, 1);
            ck_assert_int_eq(failure->exit_status, -1);
            ck_assert_int_eq(failure->signal, 0);
            ck_assert_int_eq(failure->pid != 0, backend == POOL_FORK);
            ck_assert_msg(strstr(failure->message, table[i].message) != NULL,
                "%s", failure->message);
            pool_future_free(f);
        }
        pool_destroy(pool);
    }
    test_end();
}

static void
a_wrong_result_format_keeps_the_value(int unused)
{
    pool_future_t *f;
    const char *text;
    double y = 0;
    pool_t *pool;
    int i;

    (void)unused;
    test_begin();
    pool = test_pool(1);
    ck_assert_int_eq(pool_submit(pool, &f, task_double, "d", 2.5), 0);
    ck_assert_int_eq(
        pool_future_result(f, PATIENCE_MS, "s", &text), POOL_EFORMAT);
    ck_assert(strstr(pool_errmsg(), "argument 1") != NULL);
    ck_assert_int_eq(pool_future_result(f, 0, "i", &i), POOL_EFORMAT);
    ck_assert_int_eq(pool_future_result(f, 0, "dd", &y, &y), POOL_EFORMAT);
    ck_assert_int_eq(pool_future_result(f, 0, "?", &y), POOL_EINVAL);
    ck_assert_int_eq(pool_future_error(f, 0), 0);
    ck_assert_int_eq(pool_future_result(f, 0, "d", &y), 0);
    ck_assert_double_eq(y, 5.0);
    pool_future_free(f);
    pool_destroy(pool);
    test_end();
}

static void
tags_and_references(int unused)
{
    pool_task_options_t options = POOL_TASK_OPTIONS_INIT;
    pool_future_t *f;
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(1);
    options.tag = 77;
    ck_assert_int_eq(
        pool_submit_opts(pool, &f, &options, task_double, "d", 1.0), 0);
    ck_assert_uint_eq(pool_future_tag(f), 77);
    ck_assert_ptr_eq(pool_future_ref(f), f);
    pool_future_free(f);
    ck_assert_int_eq(pool_future_error(f, PATIENCE_MS), 0);
    pool_future_free(f);
    options.size++;
    f = NULL;
    ck_assert_int_eq(
        pool_submit_opts(pool, &f, &options, task_double, "d", 1.0),
        POOL_EINVAL);
    ck_assert_ptr_null(f);
    pool_destroy(pool);
    test_end();
}

/* ---- wait ------------------------------------------------------------- */

static void
wait_modes(int unused)
{
    struct gate *gate = test_shared(sizeof *gate);
    pool_future_t *f[5];
    size_t done = 99;
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(2);
    f[0] = submit_gate(pool, gate);
    ck_assert(test_await(&gate->begun, 1));
    f[1] = f[0]; /* counts once */
    ck_assert_int_eq(
        pool_wait(f, 2, POOL_ALL_COMPLETED, 0, &done), POOL_ETIMEDOUT);
    ck_assert_uint_eq(done, 0);
    ck_assert_int_eq(
        pool_wait(f, 2, POOL_FIRST_COMPLETED, 20, &done), POOL_ETIMEDOUT);
    ck_assert_int_eq(pool_submit(pool, &f[2], task_double, "d", 1.0), 0);
    ck_assert_int_eq(
        pool_wait(f, 3, POOL_FIRST_COMPLETED, PATIENCE_MS, &done), 0);
    ck_assert_uint_eq(done, 1);
    ck_assert_int_eq(
        pool_wait(f, 3, POOL_FIRST_EXCEPTION, 20, &done), POOL_ETIMEDOUT);
    ck_assert_uint_eq(done, 1);
    ck_assert_int_eq(pool_submit(pool, &f[3], task_fail, ""), 0);
    ck_assert_int_eq(
        pool_wait(f, 4, POOL_FIRST_EXCEPTION, PATIENCE_MS, &done), 0);
    ck_assert_uint_eq(done, 2);
    open_gate(gate);
    ck_assert_int_eq(
        pool_wait(f, 4, POOL_ALL_COMPLETED, PATIENCE_MS, &done), 0);
    ck_assert_uint_eq(done, 3);
    ck_assert_int_eq(pool_wait(NULL, 0, POOL_ALL_COMPLETED, -1, &done), 0);
    ck_assert_uint_eq(done, 0);
    ck_assert_int_eq(pool_wait(f, 4, 3, -1, NULL), POOL_EINVAL);
    f[4] = NULL;
    ck_assert_int_eq(
        pool_wait(f, 5, POOL_ALL_COMPLETED, -1, NULL), POOL_EINVAL);
    pool_destroy(pool);
    ck_assert_int_eq(pool_wait(f, 4, POOL_ALL_COMPLETED, -1, &done), 0);
    ck_assert_uint_eq(done, 3);
    pool_future_free(f[0]);
    pool_future_free(f[2]);
    pool_future_free(f[3]);
    test_end();
}

/* A cancelled future is done and is no exception. */
static void
wait_and_cancelled(int unused)
{
    struct gate *gate = test_shared(sizeof *gate);
    pool_future_t *f[2];
    size_t done = 0;
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(1);
    f[0] = submit_gate(pool, gate);
    f[1] = submit_gate(pool, gate);
    ck_assert_int_eq(pool_future_cancel(f[1]), 0);
    ck_assert_int_eq(
        pool_wait(f, 2, POOL_FIRST_EXCEPTION, 10, &done), POOL_ETIMEDOUT);
    ck_assert_uint_eq(done, 1);
    ck_assert_int_eq(pool_wait(f, 2, POOL_FIRST_COMPLETED, -1, &done), 0);
    open_gate(gate);
    ck_assert_int_eq(
        pool_wait(f, 2, POOL_FIRST_EXCEPTION, PATIENCE_MS, &done), 0);
    ck_assert_uint_eq(done, 2);
    pool_future_free(f[0]);
    pool_future_free(f[1]);
    pool_destroy(pool);
    test_end();
}

static void
wait_across_pools(int unused)
{
    enum { N = 3 };
    struct gate *gate = test_shared(sizeof *gate);
    pool_future_t *f[2 * N];
    pool_t *pools[N];
    size_t done = 0;

    (void)unused;
    test_begin();
    for (int i = 0; i < N; i++) {
        pools[i] = test_pool(1);
        ck_assert_int_eq(
            pool_submit(pools[i], &f[i], task_double, "d", 1.0), 0);
        f[N + i] = submit_gate(pools[i], gate);
    }
    ck_assert_int_eq(
        pool_wait(f, N, POOL_ALL_COMPLETED, PATIENCE_MS, &done), 0);
    ck_assert_uint_eq(done, N);
    ck_assert_int_eq(
        pool_wait(f, 2 * N, POOL_ALL_COMPLETED, 30, &done), POOL_ETIMEDOUT);
    ck_assert_uint_eq(done, N);
    open_gate(gate);
    ck_assert_int_eq(
        pool_wait(f, 2 * N, POOL_ALL_COMPLETED, PATIENCE_MS, &done), 0);
    ck_assert_uint_eq(done, 2 * N);
    for (int i = 0; i < N; i++)
        pool_destroy(pools[i]);
    for (int i = 0; i < 2 * N; i++)
        pool_future_free(f[i]);
    test_end();
}

static void
hundred_complete_during_wait(int unused)
{
    enum { N = 100 };
    pool_future_t *f[N];
    size_t done = 0;
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(3);
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(
            pool_submit(pool, &f[i], task_double, "d", (double)i), 0);
    ck_assert_int_eq(
        pool_wait(f, N, POOL_ALL_COMPLETED, PATIENCE_MS, &done), 0);
    ck_assert_uint_eq(done, N);
    for (int i = 0; i < N; i++)
        pool_future_free(f[i]);
    pool_destroy(pool);
    test_end();
}

/* Waiting inside a task of a serial pool could never end. */
static pool_t *own_pool;

static int
task_waits_on_itself(pool_call_t *call)
{
    pool_future_t *inner = NULL;
    int rc = pool_submit(own_pool, &inner, task_double, "d", 4.0);

    if (rc == 0)
        rc = pool_future_error(inner, -1); /* it ran at once: fine */
    pool_future_free(inner);
    if (rc == 0 && pool_poll(own_pool, -1) != POOL_EDEADLK)
        rc = 8;
    if (rc == 0 && pool_shutdown(own_pool, POOL_SHUTDOWN_WAIT) != POOL_EDEADLK)
        rc = 9;
    return rc == 0 ? pool_call_return(call, "i", 1) : rc;
}

static void
serial_tasks_may_not_block(int unused)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_future_t *f;
    int one = 0;

    (void)unused;
    test_begin();
    options.backend = POOL_SERIAL;
    ck_assert_int_eq(pool_create(&own_pool, &options), 0);
    ck_assert_int_eq(pool_submit(own_pool, &f, task_waits_on_itself, ""), 0);
    ck_assert_int_eq(pool_future_result(f, 0, "i", &one), 0);
    pool_future_free(f);
    pool_destroy(own_pool);
    test_end();
}

static int
task_destroys(pool_call_t *call)
{
    pool_destroy(own_pool); /* when the task has ended */
    return pool_call_return(call, "i", 3);
}

static void
a_serial_task_destroys_the_pool(int unused)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_future_t *f;
    int three = 0;

    (void)unused;
    test_begin();
    options.backend = POOL_SERIAL;
    ck_assert_int_eq(pool_create(&own_pool, &options), 0);
    ck_assert_int_eq(pool_submit(own_pool, &f, task_destroys, ""), 0);
    ck_assert_int_eq(pool_future_result(f, 0, "i", &three), 0);
    ck_assert_int_eq(three, 3);
    pool_future_free(f);
    test_end();
}

static const struct test tests[] = {
    {"a_serial_task_destroys_the_pool", a_serial_task_destroys_the_pool},
    {"truth_table", truth_table},
    {"outcomes", outcomes},
    {"a_wrong_result_format_keeps_the_value",
        a_wrong_result_format_keeps_the_value},
    {"tags_and_references", tags_and_references},
    {"wait_modes", wait_modes},
    {"wait_and_cancelled", wait_and_cancelled},
    {"wait_across_pools", wait_across_pools},
    {"hundred_complete_during_wait", hundred_complete_during_wait},
    {"serial_tasks_may_not_block", serial_tasks_may_not_block},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return test_main("future", tests, argc, argv);
}
