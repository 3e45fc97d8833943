/* When workers retire, under every drive: after so many tasks, at an age, at a
 * size; nothing is lost, and nobody waits for one that does not come. */
#define _GNU_SOURCE
#include "drives.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static pool_t *
limited(const struct drive *d, int workers, int64_t tasks)
{
    pool_options_t options = POOL_OPTIONS_INIT;

    options.workers = workers;
    options.max_tasks_per_worker = tasks;
    return drive_open(d, &options);
}

struct retired {
    pool_t *pool;
    uint64_t count;
};

static bool
have_retired(void *data)
{
    const struct retired *retired = data;

    return test_stats(retired->pool).workers_retired >= retired->count;
}

static void
until_retired(const struct drive *d, pool_t *pool, uint64_t count)
{
    struct retired retired = {pool, count};

    drive_until(d, have_retired, &retired);
    ck_assert_uint_eq(test_stats(pool).workers_retired, count);
    ck_assert_uint_eq(test_stats(pool).workers_died, 0);
}

/* ---- after so many tasks ------------------------------------------------ */

static void
three_tasks_each(const struct drive *d)
{
    pool_t *pool = limited(d, 1, 3);
    int pids[8];

    for (int i = 0; i < 8; i++)
        pids[i] = drive_pid(d, pool);
    for (int i = 1; i < 8; i++)
        ck_assert_int_eq(pids[i] == pids[i - 1], i % 3 != 0);
    drive_until_gone(d, pids[0]);
    drive_until_gone(d, pids[3]);
    until_retired(d, pool, 2);
    drive_destroy(d, pool);
}

struct backlog {
    int workers, limit, tasks;
};

/* More is submitted at once than the workers may do. */
static void
a_backlog_beyond_the_limit(const struct drive *d)
{
    static const struct backlog table[] = {
        {1, 2, 6}, {2, 2, 8}, {1, 1, 10}, {2, 1, 40}, {2, 7, 200}};

    for (size_t i = 0; i < COUNT(table); i++) {
        const struct backlog *b = &table[i];
        pool_t *pool = limited(d, b->workers, b->limit);
        pool_future_t *f[200];
        int pids[200], ran;
        for (int k = 0; k < b->tasks; k++)
            f[k] = submit(pool, task_pid);
        for (int k = 0; k < b->tasks; k++) {
            ck_assert_int_eq(drive_result(d, f[k], "i", &pids[k]), 0);
            pool_future_free(f[k]);
        }
        for (int k = 0; k < b->tasks; k++) {
            ran = 0;
            for (int j = 0; j < b->tasks; j++)
                ran += pids[j] == pids[k];
            ck_assert_int_le(ran, b->limit);
        }
        ck_assert_uint_eq(test_stats(pool).workers_died, 0);
        drive_destroy(d, pool);
    }
}

static void
limit_one_then_shutdown(const struct drive *d)
{
    enum { N = 6 };
    pool_t *pool = limited(d, 3, 1);
    pool_future_t *f[N];

    for (int i = 0; i < N; i++)
        f[i] = submit(pool, task_nothing);
    drive_shutdown(d, pool, 0);
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(pool_future_error(f[i], 0), 0);
        pool_future_free(f[i]);
    }
    drive_destroy(d, pool);
}

/* The limit is reached while the pool is shut down without waiting: the rest
 * runs in replacements. */
static void
limit_reached_during_shutdown(const struct drive *d)
{
    enum { N = 9 };
    for (int workers = 1; workers <= 3; workers++) {
        struct gate *gate = gate_new();
        pool_t *pool = limited(d, workers, 2);
        pool_future_t *f[N];
        for (int i = 0; i < N; i++)
            f[i] = gate_submit(pool, gate);
        drive_until_word(d, &gate->begun, 1);
        ck_assert_int_eq(pool_shutdown(pool, 0), 0);
        gate_open(gate);
        for (int i = 0; i < N; i++)
            ck_assert_int_eq(drive_end(d, f[i]), 0);
        drive_shutdown(d, pool, 0);
        drive_destroy(d, pool);
    }
}

/* What was cancelled or given back doesn't count. */
static void
only_what_ran_counts(const struct drive *d)
{
    struct gate *gate = gate_new();
    pool_t *pool = limited(d, 1, 2);
    pool_future_t *runs = gate_submit(pool, gate), *f[10];
    int first = 0, second = 0;

    drive_until_word(d, &gate->begun, 1);
    for (int i = 0; i < 10; i++)
        f[i] = submit(pool, task_pid);
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(pool_future_cancel(f[i]), 0);
        pool_future_free(f[i]);
    }
    gate_open(gate);
    ck_assert_int_eq(drive_end(d, runs), 0);
    first = drive_pid(d, pool);
    second = drive_pid(d, pool);
    ck_assert_int_eq(first, gate->pid);
    ck_assert_int_ne(second, first);
    drive_destroy(d, pool);
}

/* ---- a replacement that can't be made ----------------------------------- */

static int
open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int highest = 0;

    ck_assert_ptr_nonnull(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        highest = atoi(e->d_name) > highest ? atoi(e->d_name) : highest;
    closedir(dir);
    return highest + 1;
}

static bool
start_has_failed(void *data)
{
    return test_stats(data).start_failures > 0;
}

/* The worker retires and the host has no descriptor for the next: the pool
 * tries again when there are some. */
static void
no_descriptor_for_the_replacement(const struct drive *d)
{
    struct rlimit before, none;
    pool_t *pool = limited(d, 1, 1);
    pool_future_t *f;
    int taken[64], count = 0;

    drive_works(d, pool);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)open_descriptors();
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    while (count < 64 && (taken[count] = dup(0)) >= 0)
        count++; /* the gaps too */
    f = submit(pool, task_pid);
    if (count < 64)
        for (int i = 0; i < 20; i++) {
            d->turn();
            if (start_has_failed(pool) || pool_future_done(f))
                break;
        }
    while (count > 0)
        close(taken[--count]);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_int_eq(drive_end(d, f), 0);
    drive_works(d, pool);
    drive_works(d, pool);
    drive_destroy(d, pool);
}

static int
task_parent(pool_call_t *call)
{
    return pool_call_return(call, "i", (int)getppid());
}

/* Fault 58: the forkserver is stopped when the replacement is due; it is
 * replaced itself, and the task is run. */
static void
a_stopped_forkserver(const struct drive *d)
{
    pool_t *pool = limited(d, 1, 2);
    pool_future_t *f = submit(pool, task_parent);
    int forkserver = 0;

    ck_assert_int_eq(drive_result(d, f, "i", &forkserver), 0);
    pool_future_free(f);
    ck_assert_int_gt(forkserver, 1);
    ck_assert_int_eq(kill(forkserver, SIGSTOP), 0);
    for (int i = 0; i < 4; i++)
        drive_works(d, pool);
    drive_destroy(d, pool);
    (void)kill(forkserver, SIGCONT);
    test_await_gone(forkserver);
}

static void
a_killed_forkserver(const struct drive *d)
{
    pool_t *pool = limited(d, 2, 2);
    pool_future_t *f = submit(pool, task_parent);
    int forkserver = 0;

    ck_assert_int_eq(drive_result(d, f, "i", &forkserver), 0);
    pool_future_free(f);
    ck_assert_int_eq(kill(forkserver, SIGKILL), 0);
    test_await_gone(forkserver);
    for (int i = 0; i < 6; i++)
        drive_works(d, pool);
    ck_assert_uint_eq(test_stats(pool).forkservers, 2);
    ck_assert_uint_eq(test_stats(pool).failed, 0);
    drive_destroy(d, pool);
}

/* ---- age and size ------------------------------------------------------- */

struct another {
    const struct drive *d;
    pool_t *pool;
    int pid;
};

static bool
another_serves(void *data)
{
    struct another *a = data;

    return drive_pid(a->d, a->pool) != a->pid;
}

static void
the_old_go(const struct drive *d)
{
    pool_options_t options = POOL_OPTIONS_INIT;

    options.workers = 1;
    options.max_worker_age_ms = 50;
    pool_t *pool = drive_open(d, &options);
    for (int i = 0; i < 2; i++) {
        struct another a = {d, pool, drive_pid(d, pool)};
        drive_until(d, another_serves, &a);
        drive_until_gone(d, a.pid);
    }
    ck_assert_uint_eq(test_stats(pool).workers_died, 0);
    ck_assert_uint_ge(test_stats(pool).workers_retired, 2);
    ck_assert_uint_eq(test_stats(pool).failed, 0);
    drive_destroy(d, pool);
}

/* "t": takes so many bytes and keeps them. */
static int
task_grow(pool_call_t *call)
{
    uint64_t bytes;
    int rc = pool_call_args(call, "t", &bytes);

    if (rc < 0)
        return rc;
    void *block = malloc(bytes);
    if (block == NULL)
        return 1;
    memset(block, 1, bytes);
    *pool_call_state(call) = block;
    return pool_call_return(call, "i", (int)getpid());
}

static void
the_fat_go(const struct drive *d)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_future_t *f;
    int thin, fat;

    options.workers = 1;
    options.max_worker_rss = 64 << 20;
    pool_t *pool = drive_open(d, &options);
    for (int i = 0; i < 2; i++) {
        thin = drive_pid(d, pool);
        ck_assert_int_eq(drive_pid(d, pool), thin);
        ck_assert_int_eq(
            pool_submit(pool, &f, task_grow, "t", UINT64_C(100) << 20), 0);
        ck_assert_int_eq(drive_result(d, f, "i", &fat), 0);
        ck_assert_int_eq(fat, thin);
        pool_future_free(f);
        struct another a = {d, pool, fat}; /* it serves until that is there */
        drive_until(d, another_serves, &a);
        drive_until_gone(d, fat);
    }
    until_retired(d, pool, 2);
    drive_destroy(d, pool);
}

/* One that is to go when it has done what it holds is stopped: what it holds
 * goes to its successor, and it goes all the same. */
static void
stopped_before_it_goes(const struct drive *d)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_future_t *f;
    int fat, other;

    options.workers = 1;
    options.max_worker_rss = 64 << 20;
    pool_t *pool = drive_open(d, &options);
    ck_assert_int_eq(
        pool_submit(pool, &f, task_grow, "t", UINT64_C(100) << 20), 0);
    ck_assert_int_eq(drive_result(d, f, "i", &fat), 0);
    pool_future_free(f);
    ck_assert_int_eq(kill(fat, SIGSTOP), 0);
    other = drive_pid(d, pool);
    ck_assert_int_ne(other, fat);
    ck_assert_int_eq(kill(fat, SIGCONT), 0);
    drive_until_gone(d, fat);
    ck_assert_int_eq(drive_pid(d, pool), other);
    drive_destroy(d, pool);
}

/* An address-space limit makes malloc fail in the worker, nowhere else. */
static void
memory_is_limited(const struct drive *d)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_future_t *f;

    if (TEST_ASAN) /* its allocator ends the process */
        return;
    options.workers = 1;
    options.max_worker_memory = 64 << 20;
    pool_t *pool = drive_open(d, &options);
    ck_assert_int_eq(
        pool_submit(pool, &f, task_grow, "t", UINT64_C(100) << 20), 0);
    ck_assert_int_eq(drive_end(d, f), POOL_ETASK);
    ck_assert_int_eq(
        pool_submit(pool, &f, task_grow, "t", UINT64_C(4) << 20), 0);
    ck_assert_int_eq(drive_end(d, f), 0);
    drive_destroy(d, pool);
}

static const struct drive_case cases[] = {
    {"three_tasks_each", three_tasks_each, IN_ALL},
    {"a_backlog_beyond_the_limit", a_backlog_beyond_the_limit, IN_ALL},
    {"limit_one_then_shutdown", limit_one_then_shutdown, IN_ALL},
    {"limit_reached_during_shutdown", limit_reached_during_shutdown, IN_ALL},
    {"only_what_ran_counts", only_what_ran_counts, IN_ALL},
    {"no_descriptor_for_the_replacement", no_descriptor_for_the_replacement,
        IN_ALL},
    {"a_stopped_forkserver", a_stopped_forkserver, IN_ALL},
    {"a_killed_forkserver", a_killed_forkserver, IN_ALL},
    {"the_old_go", the_old_go, IN_ALL},
    {"the_fat_go", the_fat_go, IN_ALL},
    {"stopped_before_it_goes", stopped_before_it_goes, IN_ALL},
    {"memory_is_limited", memory_is_limited, IN_ALL},
    {NULL, NULL, 0},
};

int
main(int argc, char **argv)
{
    return drive_main("exec_life", cases, argc, argv);
}
