/* Pools: created with every option, shut down, destroyed. */
#include "support.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* ---- create ----------------------------------------------------------- */

struct refusal {
    const char *word; /* that the message must have */
    pool_options_t options;
};

static void
options_are_checked(int unused)
{
    const size_t size = sizeof(pool_options_t);
    const struct refusal table[] = {
        {"size is 0", {.size = 0}},
        {"size", {.size = size + 1}},
        {"workers is -1", {.size = size, .workers = -1}},
        {"workers is 1025", {.size = size, .workers = 1025}},
        {"min_workers is -2", {.size = size, .min_workers = -2}},
        {"min_workers is 3", {.size = size, .workers = 2, .min_workers = 3}},
        {"backend is 7", {.size = size, .backend = 7}},
        {"kill_grace_ms is -2", {.size = size, .kill_grace_ms = -2}},
        {"max_pending is -5", {.size = size, .max_pending = -5}},
        {"max_argument is -2", {.size = size, .max_argument = -2}},
        {"max_result is 4294967296",
            {.size = size, .max_result = INT64_C(1) << 32}},
    };

    (void)unused;
    test_begin();
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        pool_t *pool = NULL;
        ck_assert_int_eq(pool_create(&pool, &table[i].options), POOL_EINVAL);
        ck_assert_ptr_null(pool);
        ck_assert_msg(strstr(pool_errmsg(), table[i].word) != NULL,
            "\"%s\" does not say \"%s\"", pool_errmsg(), table[i].word);
    }
    ck_assert_int_eq(pool_create(NULL, NULL), POOL_EINVAL);
    test_end();
}

static void
run_one(pool_t *pool)
{
    pool_future_t *future;
    double y = 0;

    ck_assert_int_eq(pool_submit(pool, &future, task_double, "d", 4.0), 0);
    ck_assert_int_eq(pool_future_result(future, PATIENCE_MS, "d", &y), 0);
    ck_assert_double_eq(y, 8.0);
    pool_future_free(future);
}

static void
any_number_of_workers(int unused)
{
    const int counts[] = {0, 1, 2, 200};

    (void)unused;
    test_begin();
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        pool_options_t options = POOL_OPTIONS_INIT;
        pool_t *pool = NULL;
        options.workers = counts[i];
        ck_assert_int_eq(pool_create(&pool, &options), 0);
        if (counts[i] != 0)
            ck_assert_int_eq(pool_worker_count(pool), counts[i]);
        ck_assert_int_ge(pool_worker_count(pool), 1);
        run_one(pool);
        pool_destroy(pool);
    }
    test_end();
}

static void
defaults_by_null(int unused)
{
    pool_t *pool = NULL;

    (void)unused;
    test_begin();
    ck_assert_int_eq(pool_create(&pool, NULL), 0);
    run_one(pool);
    pool_destroy(pool);
    test_end();
}

static void
all_of_two_hundred_work(int unused)
{
    enum { N = 200 };
    pool_future_t *futures[N];
    int distinct = 0, pids[N];
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(N);
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(pool_submit(pool, &futures[i], task_pid, ""), 0);
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(
            pool_future_result(futures[i], PATIENCE_MS, "i", &pids[i]), 0);
        bool seen = false;
        for (int k = 0; k < i; k++)
            seen = seen || pids[k] == pids[i];
        distinct += !seen;
        pool_future_free(futures[i]);
    }
    ck_assert_int_gt(distinct, N / 2);
    pool_destroy(pool);
    for (int i = 0; i < N; i++)
        test_await_gone(pids[i]);
    test_end();
}

/* A serial pool runs in this process. */
static void
serial_runs_here(int unused)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_future_t *future;
    pool_t *pool = NULL;
    int pid = 0;

    (void)unused;
    test_begin();
    options.backend = POOL_SERIAL;
    options.workers = 5;
    ck_assert_int_eq(pool_create(&pool, &options), 0);
    ck_assert_int_eq(pool_worker_count(pool), 1);
    ck_assert_int_eq(pool_submit(pool, &future, task_pid, ""), 0);
    ck_assert(pool_future_done(future));
    ck_assert_int_eq(pool_future_result(future, 0, "i", &pid), 0);
    ck_assert_int_eq(pid, getpid());
    ck_assert_int_eq(pool_future_cancel(future), POOL_EBUSY);
    pool_future_free(future);
    ck_assert_int_eq(pool_shutdown(pool, POOL_SHUTDOWN_WAIT), 0);
    ck_assert_int_eq(pool_submit(pool, &future, task_pid, ""), POOL_ESHUTDOWN);
    pool_destroy(pool);
    test_end();
}

/* ---- shutdown --------------------------------------------------------- */

static void
shutdown_waits_for_all(int unused)
{
    enum { N = 50 };
    pool_future_t *futures[N], *late = NULL;
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(2);
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(
            pool_submit(pool, &futures[i], task_double, "d", (double)i), 0);
    ck_assert_int_eq(pool_shutdown(pool, POOL_SHUTDOWN_WAIT), 0);
    for (int i = 0; i < N; i++) {
        double y = -1;
        ck_assert_int_eq(pool_future_result(futures[i], 0, "d", &y), 0);
        ck_assert_double_eq(y, 2.0 * i);
        pool_future_free(futures[i]);
    }
    ck_assert_int_eq(
        pool_submit(pool, &late, task_double, "d", 1.0), POOL_ESHUTDOWN);
    ck_assert_ptr_null(late);
    ck_assert_int_eq(pool_shutdown(pool, POOL_SHUTDOWN_WAIT), 0);
    ck_assert_int_eq(pool_shutdown(pool, 8), POOL_EINVAL);
    pool_destroy(pool);
    test_end();
}

static void
shutdown_cancels_pending(int unused)
{
    enum { N = 50 };
    pool_future_t *futures[N];
    int cancelled = 0;
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(2);
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(pool_submit(pool, &futures[i], task_hang, ""), 0);
    ck_assert_int_eq(pool_shutdown(pool, POOL_SHUTDOWN_CANCEL_FUTURES), 0);
    for (int i = 0; i < N; i++)
        cancelled += pool_future_cancelled(futures[i]);
    ck_assert_int_ge(cancelled, N - 2);
    pool_destroy(pool); /* SIGTERM ends those that hang */
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(pool_future_error(futures[i], 0), POOL_ECANCELED);
        pool_future_free(futures[i]);
    }
    test_end();
}

static void
shutdown_without_wait_finishes(int unused)
{
    pool_future_t *future;
    pool_t *pool;
    double y = 0;

    (void)unused;
    test_begin();
    pool = test_pool(1);
    ck_assert_int_eq(pool_submit(pool, &future, task_double, "d", 3.0), 0);
    ck_assert_int_eq(pool_shutdown(pool, 0), 0);
    ck_assert_int_eq(pool_future_result(future, PATIENCE_MS, "d", &y), 0);
    ck_assert_double_eq(y, 6.0);
    pool_future_free(future);
    pool_destroy(pool);
    test_end();
}

/* ---- destroy ---------------------------------------------------------- */

static int
task_ignore_term(pool_call_t *call)
{
    int *begun;
    uint64_t address;

    if (pool_call_args(call, "t", &address) < 0)
        return 1;
    begun = (int *)(uintptr_t)address;
    signal(SIGTERM, SIG_IGN);
    __atomic_store_n(begun, 1, __ATOMIC_RELEASE);
    return task_hang(call);
}

static void
destroy_ends_what_ignores_sigterm(int unused)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    int *begun = test_shared(sizeof *begun);
    pool_future_t *future;
    pool_t *pool = NULL;

    (void)unused;
    test_begin();
    options.workers = 1;
    options.kill_grace_ms = 50;
    ck_assert_int_eq(pool_create(&pool, &options), 0);
    ck_assert_int_eq(pool_submit(pool, &future, task_ignore_term, "t",
                         (uint64_t)(uintptr_t)begun),
        0);
    ck_assert(test_await(begun, 1));
    pool_destroy(pool);
    ck_assert_int_eq(pool_future_error(future, -1), POOL_ECANCELED);
    ck_assert(pool_future_cancelled(future));
    ck_assert_ptr_null(pool_future_failure(future));
    pool_future_free(future);
    test_end();
}

static void
futures_outlive_the_pool(int unused)
{
    pool_future_t *future, *failed;
    const char *text = NULL;
    pool_t *pool;
    double y = 0;

    (void)unused;
    test_begin();
    pool = test_pool(1);
    ck_assert_int_eq(pool_submit(pool, &future, task_double, "d", 1.5), 0);
    ck_assert_int_eq(pool_submit(pool, &failed, task_double, "s", "x"), 0);
    ck_assert_int_eq(pool_future_error(future, PATIENCE_MS), 0);
    ck_assert_int_eq(pool_future_error(failed, PATIENCE_MS), POOL_EFORMAT);
    pool_destroy(pool);
    ck_assert_int_eq(pool_future_result(future, 0, "d", &y), 0);
    ck_assert_double_eq(y, 3.0);
    ck_assert_int_eq(pool_future_result(future, 0, "s", &text), POOL_EFORMAT);
    ck_assert(
        strstr(pool_future_failure(failed)->message, "argument 1") != NULL);
    pool_future_free(future);
    pool_future_free(failed);
    test_end();
}

static void
detached_tasks_need_no_future(int unused)
{
    pool_future_t *future;
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(1);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(pool_submit(pool, NULL, task_double, "d", 1.0), 0);
    ck_assert_int_eq(pool_submit(pool, &future, task_double, "d", 1.0), 0);
    pool_future_free(future); /* unsettled: detached */
    ck_assert_int_eq(pool_shutdown(pool, POOL_SHUTDOWN_WAIT), 0);
    pool_destroy(pool);
    pool_destroy(NULL);
    test_end();
}

static void
two_pools_at_once(int unused)
{
    pool_t *a, *b;

    (void)unused;
    test_begin();
    a = test_pool(2);
    b = test_pool(2);
    for (int i = 0; i < 20; i++) {
        run_one(a);
        run_one(b);
    }
    pool_destroy(a);
    run_one(b);
    pool_destroy(b);
    test_end();
}

static void
max_pending_refuses_more(int unused)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_future_t *futures[4] = {NULL};
    pool_t *pool = NULL;

    (void)unused;
    test_begin();
    options.workers = 1;
    options.max_pending = 3;
    ck_assert_int_eq(pool_create(&pool, &options), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pool_submit(pool, &futures[i], task_hang, ""), 0);
    ck_assert_int_eq(
        pool_submit(pool, &futures[3], task_hang, ""), POOL_EAGAIN);
    ck_assert_int_eq(pool_future_cancel(futures[2]), 0);
    ck_assert_int_eq(pool_submit(pool, &futures[3], task_hang, ""), 0);
    pool_destroy(pool);
    for (int i = 0; i < 4; i++)
        pool_future_free(futures[i]);
    test_end();
}

/* ---- prepare and poll ------------------------------------------------- */

static int stage; /* what the workers' snapshot tells */

static int
task_stage(pool_call_t *call)
{
    return pool_call_return(call, "i", stage);
}

static int
ask_stage(pool_t *pool)
{
    pool_future_t *future;
    int value = -1;

    ck_assert_int_eq(pool_submit(pool, &future, task_stage, ""), 0);
    ck_assert_int_eq(pool_future_result(future, PATIENCE_MS, "i", &value), 0);
    pool_future_free(future);
    return value;
}

static void
workers_see_the_snapshot(int unused)
{
    pool_t *early, *late;

    (void)unused;
    test_begin();
    stage = 1;
    ck_assert_int_eq(pool_prepare(), 0);
    stage = 2;
    early = test_pool(1);
    late = test_pool(1);
    stage = 3;
    ck_assert_int_eq(ask_stage(early), 1);
    ck_assert_int_eq(ask_stage(late), 2);
    pool_destroy(early);
    pool_destroy(late);
    test_end();
}

static void
poll_settles(int unused)
{
    pool_future_t *future;
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(1);
    ck_assert_int_eq(pool_poll(pool, -1), 0); /* nothing can happen */
    ck_assert_int_eq(pool_poll(pool, -2), POOL_EINVAL);
    ck_assert_int_eq(pool_submit(pool, &future, task_double, "d", 1.0), 0);
    while (pool_future_error(future, 0) == POOL_ETIMEDOUT)
        ck_assert_int_eq(pool_poll(pool, -1), 0);
    ck_assert(pool_future_done(future));
    pool_future_free(future);
    pool_destroy(pool);
    test_end();
}

/* A task may have a pool of its own; its functions are its own too. */
static int
task_outer(pool_call_t *call)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_future_t *future = NULL;
    pool_t *inner = NULL;
    double x, y = 0;
    int rc = pool_call_args(call, "d", &x);

    options.workers = 2;
    if (rc == 0)
        rc = pool_create(&inner, &options);
    if (rc == 0)
        rc = pool_submit(inner, &future, task_double, "d", x);
    if (rc == 0)
        rc = pool_future_result(future, PATIENCE_MS, "d", &y);
    pool_future_free(future);
    pool_destroy(inner);
    return rc < 0 ? pool_call_fail(call, 1, "%s", pool_errmsg())
                  : pool_call_return(call, "d", y);
}

static void
nested_pools(int unused)
{
    pool_future_t *future[4];
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(2);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(
            pool_submit(pool, &future[i], task_outer, "d", 1.0 + i), 0);
    for (int i = 0; i < 4; i++) {
        double y = 0;
        int rc = pool_future_result(future[i], PATIENCE_MS, "d", &y);
        ck_assert_msg(rc == 0, "%s", pool_errmsg());
        ck_assert_double_eq(y, 2.0 + 2 * i);
        pool_future_free(future[i]);
    }
    pool_destroy(pool);
    test_end();
}

/* More than fit into one message queue at a time. */
static void
six_hundred_workers(int unused)
{
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(600);
    run_one(pool);
    pool_destroy(pool);
    test_end();
}

static void
more_ready_than_there_can_be(int unused)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_t *pool = NULL;

    (void)unused;
    test_begin();
    options.min_workers = 1000; /* of as many as there are CPUs */
    ck_assert_int_eq(pool_create(&pool, &options), POOL_EINVAL);
    ck_assert(strstr(pool_errmsg(), "min_workers is 1000") != NULL);
    test_end();
}

static const struct test tests[] = {
    {"nested_pools", nested_pools},
    {"six_hundred_workers", six_hundred_workers},
    {"more_ready_than_there_can_be", more_ready_than_there_can_be},
    {"options_are_checked", options_are_checked},
    {"any_number_of_workers", any_number_of_workers},
    {"defaults_by_null", defaults_by_null},
    {"all_of_two_hundred_work", all_of_two_hundred_work},
    {"serial_runs_here", serial_runs_here},
    {"shutdown_waits_for_all", shutdown_waits_for_all},
    {"shutdown_cancels_pending", shutdown_cancels_pending},
    {"shutdown_without_wait_finishes", shutdown_without_wait_finishes},
    {"destroy_ends_what_ignores_sigterm", destroy_ends_what_ignores_sigterm},
    {"futures_outlive_the_pool", futures_outlive_the_pool},
    {"detached_tasks_need_no_future", detached_tasks_need_no_future},
    {"two_pools_at_once", two_pools_at_once},
    {"max_pending_refuses_more", max_pending_refuses_more},
    {"workers_see_the_snapshot", workers_see_the_snapshot},
    {"poll_settles", poll_settles},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return test_main("pool", tests, argc, argv);
}
