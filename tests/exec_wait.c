/* Waits for many futures under every drive: what counts, what comes first, and
 * what a wait that ended early gives. */
#include "drives.h"

#include <stdlib.h>
#include <string.h>

static pool_future_t *
submit_double(pool_t *pool, double x)
{
    pool_future_t *f = NULL;

    require(pool_submit(pool, &f, task_double, "d", x) == 0);
    return f;
}

static void
expect_wait(const struct drive *d, pool_future_t **f, size_t n, int mode,
    int timeout_ms, int rc, size_t expected)
{
    size_t done = 999;

    ck_assert_int_eq(drive_wait(d, f, n, mode, timeout_ms, &done), rc);
    ck_assert_uint_eq(done, expected);
}

/* One runs and is blocked, one is cancelled. */
static void
modes(const struct drive *d)
{
    struct gate *gate = gate_new();
    pool_t *pool = drive_pool(d, 1);
    pool_future_t *blocked = gate_submit(pool, gate);

    drive_until_word(d, &gate->begun, 1);
    pool_future_t *cancelled = gate_submit(pool, gate);
    pool_future_t *f[5] = {blocked, blocked, cancelled, cancelled, blocked};
    expect_wait(d, f, 2, POOL_ALL_COMPLETED, 0, POOL_ETIMEDOUT, 0);
    expect_wait(d, f, 2, POOL_FIRST_COMPLETED, 0, POOL_ETIMEDOUT, 0);
    expect_wait(d, f, 2, POOL_FIRST_EXCEPTION, 20, POOL_ETIMEDOUT, 0);
    ck_assert_int_eq(pool_future_cancel(cancelled), 0);
    expect_wait(d, &f[2], 2, POOL_ALL_COMPLETED, 0, 0, 1); /* counts once */
    expect_wait(d, f, 4, POOL_FIRST_COMPLETED, PATIENCE_MS, 0, 1);
    expect_wait(d, f, 4, POOL_FIRST_EXCEPTION, 20, POOL_ETIMEDOUT, 1);
    expect_wait(d, f, 5, POOL_ALL_COMPLETED, 100, POOL_ETIMEDOUT, 1);
    gate_open(gate);
    expect_wait(d, f, 5, POOL_ALL_COMPLETED, PATIENCE_MS, 0, 2);
    expect_wait(d, f, 5, POOL_FIRST_EXCEPTION, 0, 0, 2);
    expect_wait(d, f, 0, POOL_ALL_COMPLETED, 0, 0, 0);
    drive_destroy(d, pool);
    expect_wait(d, f, 5, POOL_ALL_COMPLETED, 0, 0, 2);
    pool_future_free(blocked);
    pool_future_free(cancelled);
}

static void
first_exception(const struct drive *d)
{
    struct gate *gate = gate_new();
    pool_t *pool = drive_pool(d, 2);
    pool_future_t *f[3];

    f[0] = gate_submit(pool, gate);
    f[1] = submit_double(pool, 1);
    expect_wait(d, f, 2, POOL_FIRST_COMPLETED, PATIENCE_MS, 0, 1);
    expect_wait(d, f, 2, POOL_FIRST_EXCEPTION, 20, POOL_ETIMEDOUT, 1);
    f[2] = submit(pool, task_fail);
    expect_wait(d, f, 3, POOL_FIRST_EXCEPTION, PATIENCE_MS, 0, 2);
    expect_wait(d, f, 3, POOL_FIRST_EXCEPTION, 0, 0, 2);
    pool_future_free(f[2]);
    f[2] = submit(pool, task_kill_self); /* a death is one too */
    expect_wait(d, f, 3, POOL_FIRST_EXCEPTION, PATIENCE_MS, 0, 2);
    gate_open(gate);
    expect_wait(d, f, 3, POOL_ALL_COMPLETED, PATIENCE_MS, 0, 3);
    for (int i = 0; i < 3; i++)
        pool_future_free(f[i]);
    drive_destroy(d, pool);
}

/* A timeout gives what is there: 3 of 4. */
static void
partial_results(const struct drive *d)
{
    struct gate *gate = gate_new();
    pool_t *pool = drive_pool(d, 2);
    pool_future_t *f[4];

    f[0] = gate_submit(pool, gate);
    for (int i = 1; i < 4; i++)
        f[i] = submit_double(pool, i);
    expect_wait(d, &f[1], 3, POOL_ALL_COMPLETED, PATIENCE_MS, 0, 3);
    expect_wait(d, f, 4, POOL_ALL_COMPLETED, 0, POOL_ETIMEDOUT, 3);
    expect_wait(d, f, 4, POOL_ALL_COMPLETED, 100, POOL_ETIMEDOUT, 3);
    gate_open(gate);
    expect_wait(d, f, 4, POOL_ALL_COMPLETED, PATIENCE_MS, 0, 4);
    for (int i = 0; i < 4; i++)
        pool_future_free(f[i]);
    drive_destroy(d, pool);
}

static void
a_hundred_complete_during_a_wait(const struct drive *d)
{
    enum { N = 100 };
    struct gate *gate = gate_new();
    pool_t *pool = drive_pool(d, 3);
    pool_future_t *f[N];

    for (int i = 0; i < N; i++)
        f[i] = i < 3 ? gate_submit(pool, gate) : submit_double(pool, i);
    drive_until_word(d, &gate->begun, 3); /* all workers are held */
    expect_wait(d, f, N, POOL_FIRST_COMPLETED, 0, POOL_ETIMEDOUT, 0);
    gate_open(gate);
    expect_wait(d, f, N, POOL_ALL_COMPLETED, PATIENCE_MS, 0, N);
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(drive_end(d, f[i]), 0);
    drive_destroy(d, pool);
}

/* ---- as completed ------------------------------------------------------- */

static void
done_ones_come_first(const struct drive *d)
{
    struct gate *gate = gate_new();
    pool_t *pool = drive_pool(d, 2);
    pool_future_t *blocked = gate_submit(pool, gate), *f[6], *next = NULL;
    pool_completed_t *completed;
    int seen[6] = {0};

    drive_until_word(d, &gate->begun, 1);
    f[0] = f[3] = blocked;
    f[1] = f[5] = submit_double(pool, 1);
    f[2] = submit(pool, task_fail);
    f[4] = submit_double(pool, 2);
    ck_assert_int_eq(drive_error(d, f[1]), 0);
    ck_assert_int_eq(drive_error(d, f[2]), POOL_ETASK);
    ck_assert_int_eq(drive_error(d, f[4]), 0);
    ck_assert_int_eq(pool_as_completed(&completed, f, 6), 0);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(drive_next(d, completed, 0, &next), 0);
        ck_assert_ptr_ne(next, blocked);
        for (int k = 0; k < 6; k++)
            seen[k] += f[k] == next;
    }
    ck_assert(seen[1] == 1 && seen[2] == 1 && seen[4] == 1 && seen[5] == 1);
    next = NULL;
    ck_assert_int_eq(drive_next(d, completed, 0, &next), POOL_ETIMEDOUT);
    ck_assert_int_eq(drive_next(d, completed, 100, &next), POOL_ETIMEDOUT);
    ck_assert_ptr_null(next);
    gate_open(gate);
    ck_assert_int_eq(drive_next(d, completed, PATIENCE_MS, &next), 0);
    ck_assert_ptr_eq(next, blocked);
    ck_assert_int_eq(drive_next(d, completed, 0, &next), POOL_ENOENT);
    ck_assert_int_eq(drive_next(d, completed, 0, &next), POOL_ENOENT);
    pool_as_completed_free(completed);
    pool_future_free(f[0]);
    pool_future_free(f[1]);
    pool_future_free(f[2]);
    pool_future_free(f[4]);
    drive_destroy(d, pool);
}

/* In the order in which they settle; it holds the futures meanwhile. */
static void
in_the_order_of_their_ends(const struct drive *d)
{
    enum { N = 4 };
    struct gate *gates[N];
    pool_t *pool = drive_pool(d, N);
    pool_future_t *f[N], *next = NULL;
    pool_completed_t *completed;

    for (int i = 0; i < N; i++) {
        gates[i] = gate_new();
        f[i] = gate_submit(pool, gates[i]);
    }
    ck_assert_int_eq(pool_as_completed(&completed, f, N), 0);
    for (int i = 0; i < N; i++)
        pool_future_free(f[i]);
    for (int i = N - 1; i >= 0; i--) {
        gate_open(gates[i]);
        ck_assert_int_eq(drive_next(d, completed, PATIENCE_MS, &next), 0);
        ck_assert_ptr_eq(next, f[i]);
        ck_assert_int_eq(pool_future_error(next, 0), 0);
    }
    ck_assert_int_eq(drive_next(d, completed, 0, &next), POOL_ENOENT);
    pool_as_completed_free(completed);
    drive_destroy(d, pool);
}

static void
each_is_given_once(const struct drive *d)
{
    enum { N = 500 };
    static pool_future_t *f[2 * N];
    static bool given[N];
    pool_t *pool = drive_pool(d, 2);
    pool_completed_t *completed;
    pool_future_t *next;

    for (size_t i = 0; i < N; i++) {
        pool_task_options_t options = POOL_TASK_OPTIONS_INIT;
        options.tag = i;
        ck_assert_int_eq(pool_submit_opts(pool, &f[i], &options, task_double,
                             "d", (double)i),
            0);
        f[2 * N - 1 - i] = f[i];
    }
    ck_assert_int_eq(pool_as_completed(&completed, f, 2 * N), 0);
    for (size_t i = 0; i < N; i++) {
        ck_assert_int_eq(drive_next(d, completed, PATIENCE_MS, &next), 0);
        ck_assert(!given[pool_future_tag(next)]);
        given[pool_future_tag(next)] = true;
    }
    ck_assert_int_eq(drive_next(d, completed, PATIENCE_MS, &next), POOL_ENOENT);
    pool_as_completed_free(completed);
    for (int i = 0; i < N; i++)
        pool_future_free(f[i]);
    drive_destroy(d, pool);
}

static void
as_completed_of_odd_lists(const struct drive *d)
{
    struct gate *gate = gate_new();
    pool_t *pool = drive_pool(d, 1);
    pool_future_t *f[2] = {gate_submit(pool, gate), NULL}, *next = NULL;
    pool_completed_t *completed = NULL;

    ck_assert_int_eq(pool_as_completed(&completed, f, 2), POOL_EINVAL);
    ck_assert_ptr_null(completed);
    ck_assert_int_eq(pool_as_completed(&completed, NULL, 0), 0);
    ck_assert_int_eq(drive_next(d, completed, 0, &next), POOL_ENOENT);
    pool_as_completed_free(completed);
    pool_as_completed_free(NULL);
    ck_assert_int_eq(pool_as_completed(&completed, f, 1), 0);
    drive_destroy(d, pool); /* what is left is cancelled, and given */
    ck_assert_int_eq(drive_next(d, completed, 0, &next), 0);
    ck_assert_int_eq(pool_future_error(next, 0), POOL_ECANCELED);
    pool_as_completed_free(completed);
    pool_future_free(f[0]);
}

/* Given up halfway, with futures that settle later. */
static void
as_completed_given_up(const struct drive *d)
{
    struct gate *gate = gate_new();
    pool_t *pool = drive_pool(d, 1);
    pool_completed_t *completed;
    pool_future_t *f[3], *next;

    for (int i = 0; i < 3; i++)
        f[i] = gate_submit(pool, gate);
    ck_assert_int_eq(pool_as_completed(&completed, f, 3), 0);
    ck_assert_int_eq(drive_next(d, completed, 10, &next), POOL_ETIMEDOUT);
    pool_as_completed_free(completed);
    gate_open(gate);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(drive_end(d, f[i]), 0);
    drive_destroy(d, pool);
}

/* ---- several pools ------------------------------------------------------ */

static void
three_pools_in_one_wait(const struct drive *d)
{
    enum { N = 3 };
    struct gate *gate = gate_new();
    pool_future_t *f[2 * N], *next = NULL;
    pool_completed_t *completed;
    pool_t *pools[N];

    for (int i = 0; i < N; i++) {
        pools[i] = drive_pool(d, 1);
        f[i] = submit_double(pools[i], 1);
        f[N + i] = gate_submit(pools[i], gate);
    }
    expect_wait(d, f, N, POOL_ALL_COMPLETED, PATIENCE_MS, 0, N);
    expect_wait(d, f, 2 * N, POOL_ALL_COMPLETED, 20, POOL_ETIMEDOUT, N);
    expect_wait(d, &f[N], N, POOL_FIRST_COMPLETED, 20, POOL_ETIMEDOUT, 0);
    ck_assert_int_eq(pool_as_completed(&completed, f, 2 * N), 0);
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(drive_next(d, completed, 0, &next), 0);
    gate_open(gate);
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(drive_next(d, completed, PATIENCE_MS, &next), 0);
    pool_as_completed_free(completed);
    expect_wait(d, f, 2 * N, POOL_ALL_COMPLETED, 0, 0, 2 * N);
    for (int i = 0; i < N; i++)
        drive_destroy(d, pools[i]);
    for (int i = 0; i < 2 * N; i++)
        pool_future_free(f[i]);
}

static void
sixteen_pools_at_once(const struct drive *d)
{
    enum { N = 16, EACH = 4 };
    pool_future_t *f[N * EACH];
    pool_t *pools[N];

    for (int i = 0; i < N; i++)
        pools[i] = drive_pool(d, 2);
    for (int i = 0; i < N * EACH; i++)
        f[i] = submit_double(pools[i % N], i);
    expect_wait(d, f, N * EACH, POOL_ALL_COMPLETED, PATIENCE_MS, 0, N * EACH);
    for (int i = 0; i < N; i++)
        drive_destroy(d, pools[i]);
    for (int i = 0; i < N * EACH; i++) {
        double y = 0;
        ck_assert_int_eq(pool_future_result(f[i], 0, "d", &y), 0);
        ck_assert_double_eq(y, 2.0 * i);
        pool_future_free(f[i]);
    }
}

/* A pool in caller drive in the same process does not disturb. */
static void
beside_a_caller_pool(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 1), *own = test_pool(1);

    for (int i = 0; i < 20; i++) {
        pool_future_t *f = submit_double(own, i);
        drive_works(d, pool);
        ck_assert_int_eq(pool_future_error(f, PATIENCE_MS), 0);
        pool_future_free(f);
    }
    pool_destroy(own);
    drive_works(d, pool);
    drive_destroy(d, pool);
}

/* ---- many --------------------------------------------------------------- */

/* All pending ones are cancelled, whether one by one or by the shutdown. */
static void
a_million_cancelled(const struct drive *d)
{
    const size_t n = test_full() ? 1000000 : 100000;
    pool_future_t **f = calloc(n, sizeof *f);
    struct gate *gate = gate_new();
    pool_t *pool = drive_pool(d, 1);
    pool_future_t *blocker = gate_submit(pool, gate);
    pool_stats_t stats = POOL_STATS_INIT;

    ck_assert_ptr_nonnull(f);
    drive_until_word(d, &gate->begun, 1);
    for (size_t i = 0; i < n; i++)
        f[i] = submit_double(pool, 1);
    for (size_t i = 0; i < n; i += 2)
        require(pool_future_cancel(f[i]) == 0);
    ck_assert_int_eq(pool_shutdown(pool, POOL_SHUTDOWN_CANCEL_FUTURES), 0);
    for (size_t i = 0; i < n; i++)
        require(pool_future_cancelled(f[i]));
    ck_assert_int_eq(pool_stats(pool, &stats), 0);
    ck_assert_uint_eq(stats.cancelled, n);
    ck_assert_uint_eq(stats.submitted, n + 1);
    ck_assert_uint_le(stats.pending, 1);
    gate_open(gate);
    ck_assert_int_eq(drive_end(d, blocker), 0);
    for (size_t i = 0; i < n; i++)
        pool_future_free(f[i]);
    drive_destroy(d, pool);
    free(f);
}

static const struct drive_case cases[] = {
    {"modes", modes, IN_ALL},
    {"first_exception", first_exception, IN_ALL},
    {"partial_results", partial_results, IN_ALL},
    {"a_hundred_complete_during_a_wait", a_hundred_complete_during_a_wait,
        IN_ALL},
    {"done_ones_come_first", done_ones_come_first, IN_ALL},
    {"in_the_order_of_their_ends", in_the_order_of_their_ends, IN_ALL},
    {"each_is_given_once", each_is_given_once, IN_ALL},
    {"as_completed_of_odd_lists", as_completed_of_odd_lists, IN_ALL},
    {"as_completed_given_up", as_completed_given_up, IN_ALL},
    {"three_pools_in_one_wait", three_pools_in_one_wait, IN_ALL},
    {"sixteen_pools_at_once", sixteen_pools_at_once, IN_ALL},
    {"beside_a_caller_pool", beside_a_caller_pool, IN_HOST | IN_THREAD},
    {"a_million_cancelled", a_million_cancelled, IN_ALL},
    {NULL, NULL, 0},
};

int
main(int argc, char **argv)
{
    return drive_main("exec_wait", cases, argc, argv);
}
