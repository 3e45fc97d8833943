/* How many workers there are, under every drive: they start on demand, never
 * too many, they run at once, and they go when they have nothing to do. */
#include "drives.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static pool_t *
on_demand(const struct drive *d, int workers)
{
    pool_options_t options = POOL_OPTIONS_INIT;

    options.workers = workers;
    return drive_open(d, &options);
}

/* How many numbers of an array differ. */
static int
distinct(const int *numbers, int n)
{
    int count = 0;

    for (int i = 0; i < n; i++) {
        bool seen = false;
        for (int k = 0; k < i; k++)
            seen = seen || numbers[k] == numbers[i];
        count += !seen;
    }
    return count;
}

/* ---- on demand ---------------------------------------------------------- */

static void
sequential_tasks_use_one_process(const struct drive *d)
{
    pool_t *pool = on_demand(d, 3);
    int pids[3];

    for (int i = 0; i < 3; i++)
        pids[i] = drive_pid(d, pool);
    ck_assert_int_eq(distinct(pids, 3), 1);
    ck_assert_uint_eq(test_stats(pool).workers_started, 1);
    ck_assert_int_eq(pool_worker_count(pool), 3); /* there may be */
    drive_destroy(d, pool);
}

static void
six_mixed_use_at_most_three(const struct drive *d)
{
    enum { N = 6 };
    struct gate *gate = gate_new();
    pool_t *pool = on_demand(d, 3);
    pool_future_t *f[N];
    int pids[N], count = 0;

    for (int i = 0; i < N; i++)
        f[i] = i % 2 == 0 ? gate_submit(pool, gate) : submit(pool, task_pid);
    gate_open(gate);
    for (int i = 0; i < N; i++) {
        int value;
        ck_assert_int_eq(drive_result(d, f[i], "i", &value), 0);
        if (i % 2 == 1)
            pids[count++] = value;
        pool_future_free(f[i]);
    }
    ck_assert_int_le(distinct(pids, count), 3);
    ck_assert_uint_le(test_stats(pool).workers_started, 3);
    drive_destroy(d, pool);
}

/* Many tasks that block: as many workers as there may be, no more. */
static void
blocked_tasks_start_all_and_no_more(const struct drive *d)
{
    enum { N = 4, TASKS = 15 * N };
    struct gate *gate = gate_new();
    pool_t *pool = on_demand(d, N);
    pool_future_t *f[TASKS];

    for (int i = 0; i < TASKS; i++)
        f[i] = gate_submit(pool, gate);
    drive_until_word(d, &gate->begun, N);
    pool_stats_t stats = test_stats(pool);
    ck_assert_uint_eq(stats.workers, N);
    ck_assert_uint_eq(stats.workers_started, N);
    ck_assert_uint_eq(stats.idle, 0);
    ck_assert_int_eq(read_word(&gate->begun), N);
    gate_open(gate);
    for (int i = 0; i < TASKS; i++)
        ck_assert_int_eq(drive_end(d, f[i]), 0);
    ck_assert_uint_eq(test_stats(pool).workers_started, N);
    ck_assert_int_eq(gate->begun, TASKS);
    drive_destroy(d, pool);
}

/* "ti": n of these wait for one another. */
static int
task_meet(pool_call_t *call)
{
    uint64_t address;
    int32_t n;
    int rc = pool_call_args(call, "ti", &address, &n);

    if (rc < 0)
        return rc;
    raise_word((int *)(uintptr_t)address, 1);
    return test_await((int *)(uintptr_t)address, n) ? 0 : 1;
}

/* A barrier of 2n+2 on n CPUs: workers beyond the CPUs run, not only exist. */
static void
more_than_the_cpus_run_at_once(const struct drive *d)
{
    int *met = test_shared(sizeof *met);
    pool_t *pool = on_demand(d, 0);
    int n = 2 * pool_worker_count(pool) + 2;

    drive_destroy(d, pool);
    n = n > 64 ? 64 : n;
    pool = on_demand(d, n);
    for (int round = 1; round <= 3; round++) {
        pool_future_t *f[64];
        for (int i = 0; i < n; i++)
            ck_assert_int_eq(pool_submit(pool, &f[i], task_meet, "ti",
                                 ADDRESS(met), round * n),
                0);
        for (int i = 0; i < n; i++)
            ck_assert_int_eq(drive_end(d, f[i]), 0);
    }
    drive_destroy(d, pool);
}

/* min_workers are there before a task is. In host drive they come in the
 * loop. */
struct count {
    pool_t *pool;
    uint64_t workers;
};

static bool
has_workers(void *data)
{
    const struct count *count = data;
    pool_stats_t stats = test_stats(count->pool);

    return stats.workers == count->workers && stats.idle == count->workers;
}

static void
until_workers(const struct drive *d, pool_t *pool, uint64_t workers)
{
    struct count count = {pool, workers};

    drive_until(d, has_workers, &count);
}

static void
the_least_are_there_at_once(const struct drive *d)
{
    pool_options_t options = POOL_OPTIONS_INIT;

    options.workers = 5;
    options.min_workers = 3;
    pool_t *pool = drive_open(d, &options);
    if (d->bit != IN_HOST)
        ck_assert_uint_eq(test_stats(pool).workers, 3);
    until_workers(d, pool, 3);
    ck_assert_uint_eq(test_stats(pool).workers_started, 3);
    drive_works(d, pool);
    ck_assert_uint_eq(test_stats(pool).workers_started, 3);
    drive_destroy(d, pool);
}

static void
a_worker_killed_idle_is_replaced(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 1);

    for (int i = 0; i < 5; i++) {
        int pid = drive_pid(d, pool);
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        test_await_gone(pid);
        ck_assert_int_ne(drive_pid(d, pool), pid);
    }
    ck_assert_uint_eq(test_stats(pool).failed, 0);
    ck_assert_uint_eq(test_stats(pool).workers_died, 5);
    drive_destroy(d, pool);
}

/* ---- fewer again -------------------------------------------------------- */

static void
fill(const struct drive *d, pool_t *pool, int n)
{
    struct gate *gate = gate_new();
    pool_future_t *f[16];

    for (int i = 0; i < n; i++)
        f[i] = gate_submit(pool, gate);
    drive_until_word(d, &gate->begun, n); /* n at once */
    gate_open(gate);
    for (int i = 0; i < n; i++)
        ck_assert_int_eq(drive_end(d, f[i]), 0);
}

static void
idle_ones_go_down_to_the_least(const struct drive *d)
{
    pool_options_t options = POOL_OPTIONS_INIT;

    options.workers = 5;
    options.min_workers = 2;
    options.idle_timeout_ms = 30;
    pool_t *pool = drive_open(d, &options);
    for (int round = 0; round < 2; round++) {
        fill(d, pool, 5);
        until_workers(d, pool, 2);
    }
    pool_stats_t stats = test_stats(pool);
    ck_assert_uint_ge(stats.workers_retired, 6);
    ck_assert_uint_eq(stats.workers_died, 0);
    ck_assert_uint_eq(stats.failed, 0);
    drive_works(d, pool);
    drive_destroy(d, pool);
}

static void
resize_up_and_down(const struct drive *d)
{
    pool_t *pool = on_demand(d, 1);

    fill(d, pool, 1);
    ck_assert_int_eq(pool_resize(pool, 6), 0);
    ck_assert_int_eq(pool_worker_count(pool), 6);
    fill(d, pool, 6);
    ck_assert_uint_eq(test_stats(pool).workers, 6);
    ck_assert_int_eq(pool_resize(pool, 2), 0);
    ck_assert_int_eq(pool_worker_count(pool), 2);
    until_workers(d, pool, 2);
    fill(d, pool, 2);
    ck_assert_int_eq(pool_resize(pool, 0), POOL_EINVAL);
    ck_assert_int_eq(pool_resize(pool, -1), POOL_EINVAL);
    ck_assert_int_eq(pool_resize(pool, POOL_MAX_WORKERS + 1), POOL_EINVAL);
    ck_assert_int_eq(pool_worker_count(pool), 2);
    ck_assert_uint_eq(test_stats(pool).failed, 0);
    ck_assert_int_eq(pool_shutdown(pool, 0), 0);
    ck_assert_int_eq(pool_resize(pool, 3), POOL_ESHUTDOWN);
    drive_destroy(d, pool);
}

/* Of too many, a busy one goes when it has done what it holds. */
static void
resize_waits_for_the_busy(const struct drive *d)
{
    struct gate *gate = gate_new();
    pool_t *pool = on_demand(d, 4);
    pool_future_t *f[8];

    for (int i = 0; i < 4; i++)
        f[i] = gate_submit(pool, gate);
    drive_until_word(d, &gate->begun, 4);
    ck_assert_int_eq(pool_resize(pool, 1), 0);
    for (int i = 4; i < 8; i++)
        f[i] = gate_submit(pool, gate);
    gate_open(gate);
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(drive_end(d, f[i]), 0);
    until_workers(d, pool, 1);
    ck_assert_uint_eq(test_stats(pool).workers_died, 0);
    drive_works(d, pool);
    drive_destroy(d, pool);
}

/* More than the limit of descriptors allows. */
static void
resize_beyond_the_descriptors(const struct drive *d)
{
    pool_t *pool = on_demand(d, 1);
    struct rlimit before, few;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = 200;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    ck_assert_int_eq(pool_resize(pool, 100), POOL_EMFILE);
    ck_assert(strstr(pool_errmsg(), "200") != NULL);
    ck_assert_int_eq(pool_worker_count(pool), 1);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    drive_works(d, pool);
    drive_destroy(d, pool);
}

/* ---- other starts ------------------------------------------------------- */

static int stage;

static int
task_stage(pool_call_t *call)
{
    return pool_call_return(call, "i", stage);
}

/* Plain forks see the memory as it is when each worker starts. */
static void
forked_from_this_process(const struct drive *d)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_t *pool = NULL;

    options.start = POOL_START_FORK;
    options.workers = 1;
    if (d->bit == IN_THREAD) {
        ck_assert_int_eq(drive_try_open(d, &pool, &options), POOL_EINVAL);
        return;
    }
    stage = 1;
    pool = drive_open(d, &options);
    drive_works(d, pool);
    for (stage = 2; stage < 5; stage++) {
        pool_future_t *f = submit(pool, task_kill_self);
        int seen = 0;
        ck_assert_int_eq(drive_end(d, f), POOL_EDIED);
        f = submit(pool, task_stage);
        ck_assert_int_eq(drive_result(d, f, "i", &seen), 0);
        ck_assert_int_eq(seen, stage);
        pool_future_free(f);
    }
    drive_destroy(d, pool);
}

/* The serial backend answers at once under every drive. */
static void
serial_under_every_drive(const struct drive *d)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    double y = 0;

    options.backend = POOL_SERIAL;
    pool_t *pool = drive_open(d, &options);
    pool_future_t *f;
    ck_assert_int_eq(pool_submit(pool, &f, task_double, "d", 4.0), 0);
    ck_assert_int_eq(drive_result(d, f, "d", &y), 0);
    ck_assert_double_eq(y, 8.0);
    pool_future_free(f);
    drive_destroy(d, pool);
}

/* ---- random streams ----------------------------------------------------- */

static int
task_seed(pool_call_t *call)
{
    return pool_call_return(call, "t", pool_call_seed(call));
}

/* The same whatever worker and backend run it; another for each task. */
static void
seeds_depend_on_the_number(const struct drive *d)
{
    enum { N = 20, POOLS = 4 };
    static const int workers[POOLS] = {1, 3, 1, 2};
    uint64_t seeds[POOLS][N];

    for (int p = 0; p < POOLS; p++) {
        pool_options_t options = POOL_OPTIONS_INIT;
        pool_future_t *f[N];
        options.workers = workers[p];
        options.backend = p == 2 ? POOL_SERIAL : POOL_FORK;
        options.seed = p == 3 ? 8 : 7;
        pool_t *pool = drive_open(d, &options);
        for (int i = 0; i < N; i++)
            f[i] = submit(pool, task_seed);
        for (int i = 0; i < N; i++) {
            ck_assert_int_eq(drive_result(d, f[i], "t", &seeds[p][i]), 0);
            pool_future_free(f[i]);
        }
        drive_destroy(d, pool);
    }
    ck_assert(memcmp(seeds[0], seeds[1], sizeof seeds[0]) == 0);
    ck_assert(memcmp(seeds[0], seeds[2], sizeof seeds[0]) == 0);
    for (int i = 0; i < N; i++) {
        ck_assert_uint_ne(seeds[0][i], seeds[3][i]);
        for (int k = 0; k < i; k++)
            ck_assert_uint_ne(seeds[0][i], seeds[0][k]);
    }
}

/* ---- nested pools ------------------------------------------------------- */

/* "it": a pool in a worker, in as many levels; its workers say their pid. */
static int
task_nested(pool_call_t *call)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_future_t *f = NULL;
    pool_t *pool = NULL;
    int32_t levels, depth = 0;
    int rc = pool_call_args(call, "i", &levels);

    if (rc < 0)
        return rc;
    if (levels == 0)
        return pool_call_return(call, "i", 1);
    options.workers = 1;
    rc = pool_create(&pool, &options);
    if (rc == 0)
        rc = pool_submit(pool, &f, task_nested, "i", (int)levels - 1);
    if (rc == 0)
        rc = pool_future_result(f, PATIENCE_MS, "i", &depth);
    if (rc != 0)
        (void)pool_call_fail(call, rc, "%s", pool_errmsg());
    pool_future_free(f);
    pool_destroy(pool);
    return rc != 0 ? rc : pool_call_return(call, "i", (int)depth + 1);
}

static void
nested_pools(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 2);
    pool_future_t *f;
    int depth = 0;

    ck_assert_int_eq(pool_submit(pool, &f, task_nested, "i", 3), 0);
    ck_assert_int_eq(drive_result(d, f, "i", &depth), 0);
    ck_assert_int_eq(depth, 4);
    pool_future_free(f);
    ck_assert_int_eq(
        pool_submit(pool, &f, task_nested, "i", POOL_MAX_DEPTH + 1), 0);
    ck_assert_int_eq(drive_error(d, f), POOL_ETASK); /* too deep */
    pool_future_free(f);
    drive_works(d, pool);
    drive_destroy(d, pool);
}

/* "tt": the inner worker's pid, and hang. */
static int
task_inner_hangs(pool_call_t *call)
{
    uint64_t address;
    int rc = pool_call_args(call, "t", &address);
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_future_t *f = NULL;
    pool_t *pool = NULL;

    options.workers = 1;
    if (rc == 0)
        rc = pool_create(&pool, &options);
    if (rc == 0)
        rc = pool_submit(pool, &f, task_deaf_hang, "t", address);
    if (rc == 0)
        rc = pool_future_error(f, -1);
    return rc == 0 ? 1 : rc;
}

/* When the outer worker dies, the inner ones go. */
static void
inner_workers_go_with_the_outer(const struct drive *d)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_task_options_t task = POOL_TASK_OPTIONS_INIT;
    int *inner = test_shared(sizeof *inner);

    options.workers = 1;
    options.kill_grace_ms = 50;
    pool_t *pool = drive_open(d, &options);
    for (int i = 0; i < 2; i++) {
        pool_future_t *f;
        __atomic_store_n(inner, 0, __ATOMIC_RELEASE);
        ck_assert_int_eq(pool_submit_opts(pool, &f, &task, task_inner_hangs,
                             "t", ADDRESS(inner)),
            0);
        drive_until_word(d, inner, 1);
        ck_assert_int_eq(pool_future_cancel_running(f), 0);
        ck_assert_int_eq(drive_end(d, f), POOL_ECANCELED);
        drive_until_gone(d, *inner);
    }
    drive_destroy(d, pool);
}

static const struct drive_case cases[] = {
    {"sequential_tasks_use_one_process", sequential_tasks_use_one_process,
        IN_ALL},
    {"six_mixed_use_at_most_three", six_mixed_use_at_most_three, IN_ALL},
    {"blocked_tasks_start_all_and_no_more", blocked_tasks_start_all_and_no_more,
        IN_ALL},
    {"more_than_the_cpus_run_at_once", more_than_the_cpus_run_at_once, IN_ALL},
    {"the_least_are_there_at_once", the_least_are_there_at_once, IN_ALL},
    {"a_worker_killed_idle_is_replaced", a_worker_killed_idle_is_replaced,
        IN_ALL},
    {"idle_ones_go_down_to_the_least", idle_ones_go_down_to_the_least, IN_ALL},
    {"resize_up_and_down", resize_up_and_down, IN_ALL},
    {"resize_waits_for_the_busy", resize_waits_for_the_busy, IN_ALL},
    {"resize_beyond_the_descriptors", resize_beyond_the_descriptors, IN_ALL},
    {"seeds_depend_on_the_number", seeds_depend_on_the_number, IN_ALL},
    {"forked_from_this_process", forked_from_this_process, IN_ALL},
    {"serial_under_every_drive", serial_under_every_drive, IN_ALL},
    {"nested_pools", nested_pools, IN_ALL},
    {"inner_workers_go_with_the_outer", inner_workers_go_with_the_outer,
        IN_ALL},
    {NULL, NULL, 0},
};

int
main(int argc, char **argv)
{
    return drive_main("exec_start", cases, argc, argv);
}
