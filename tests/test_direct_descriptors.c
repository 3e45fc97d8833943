/* Workers that the host forks itself: what they take of it. Which descriptors
 * they have, whatever it has; where forks fail or take long; where their output
 * goes. */
#define _GNU_SOURCE
#include "direct_check.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

/* ---- descriptors -------------------------------------------------------- */

static void
check_descriptors(pool_t *pool)
{
    int standard, pipes, memory, others;
    pool_future_t *f;

    ck_assert_int_eq(pool_submit(pool, &f, task_descriptors, ""), 0);
    ck_assert_int_eq(pool_future_result(f, PATIENCE_MS, "iiii", &standard,
                         &pipes, &memory, &others),
        0);
    ck_assert_int_eq(standard, 3);
    ck_assert_int_eq(pipes, 5); /* tasks, results, lifeline; libuv's own two */
    ck_assert_int_eq(memory, 1);
    ck_assert_int_eq(others, 0);
    pool_future_free(f);
}

/* Whatever the host has, and wherever libuv's pipe is among it. */
static void
descriptors_of_a_worker(int holes)
{
    enum { MANY = 300 };
    int own[MANY];

    for (int i = 0; i < MANY; i++) /* without close-on-exec, ahead of libuv */
        ck_assert_int_ge(own[i] = open("/dev/null", O_RDONLY), 0);
    for (int i = 0; i < holes; i++)
        close(own[i]);
    pool_t *pool = direct(2);
    pool_t *other = test_pool(1);
    for (int i = 0; i < 3; i++) {
        check_descriptors(pool);
        crash(pool, task_kill_self);
    }
    for (int i = holes; i < MANY; i++)
        close(own[i]);
    crash(pool, task_kill_self);
    check_descriptors(pool);
    pool_destroy(other);
    pool_destroy(pool);
}

static void
descriptors_above_many(int unused)
{
    (void)unused;
    descriptors_of_a_worker(0);
}

static void
descriptors_among_holes(int unused)
{
    (void)unused;
    for (int holes = 1; holes < 8; holes++)
        descriptors_of_a_worker(holes);
}

static void
on_caught(uv_signal_t *handle, int signal)
{
    (void)signal;
    uv_close((uv_handle_t *)handle, NULL);
}

/* libuv's own pipe is whole in a worker: its signals work there. */
static int
task_libuv(pool_call_t *call)
{
    uv_signal_t handle;
    uv_loop_t loop;

    if (uv_loop_init(&loop) != 0 || uv_signal_init(&loop, &handle) != 0 ||
        uv_signal_start(&handle, on_caught, SIGUSR1) != 0)
        return 1;
    raise(SIGUSR1);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop) != 0 ? 2 : pool_call_return(call, "i", 1);
}

static void
libuv_in_a_worker(int unused)
{
    (void)unused;
    test_begin();
    pool_t *pool = direct(1);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(ask(pool, task_libuv), 1);
        crash(pool, task_kill_self);
    }
    pool_destroy(pool);
    test_end();
}

static void
standard_streams_closed(int unused)
{
    int kept[3];
    double y = 0;
    pool_future_t *f;

    (void)unused;
    test_begin();
    for (int fd = 0; fd <= 2; fd++) {
        kept[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 100);
        close(fd);
    }
    pool_t *pool = direct(2);
    int rc = pool_submit(pool, &f, task_double, "d", 5.0);
    rc = rc == 0 ? pool_future_result(f, PATIENCE_MS, "d", &y) : rc;
    pool_future_free(f);
    int standard_open = fcntl(0, F_GETFD) >= 0 || fcntl(1, F_GETFD) >= 0 ||
                        fcntl(2, F_GETFD) >= 0;
    pool_destroy(pool);
    for (int fd = 0; fd <= 2; fd++) {
        if (kept[fd] < 0)
            continue;
        dup2(kept[fd], fd);
        close(kept[fd]);
    }
    ck_assert_int_eq(rc, 0);
    ck_assert_double_eq(y, 10);
    ck_assert_int_eq(standard_open, 0);
    test_end();
}

/* No descriptor is to be had when a worker shall be replaced: later, then. */
static void
too_few_descriptors_for_a_while(int unused)
{
    struct rlimit before, few;
    pool_stats_t stats = POOL_STATS_INIT;
    pool_future_t *f;

    (void)unused;
    test_begin();
    pool_t *pool = direct(1);
    int pid = ask(pool, task_pid);
    ck_assert_int_eq(pool_submit(pool, &f, task_pid, ""), 0);
    ck_assert_int_eq(pool_future_error(f, PATIENCE_MS), 0);
    pool_future_free(f);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    for (rlim_t n = 1; n < 12; n++) { /* each step of a start fails once */
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        test_await_gone(pid);
        int lowest = open("/dev/null", O_RDONLY);
        close(lowest);
        few.rlim_cur = (rlim_t)lowest + n;
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
        for (int i = 0; i < 5; i++)
            ck_assert_int_eq(pool_poll(pool, 0), 0);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
        pid = ask(pool, task_pid);
    }
    ck_assert_int_eq(pool_stats(pool, &stats), 0);
    ck_assert_uint_gt(stats.start_failures, 0);
    pool_destroy(pool);
    test_end();
}

/* ---- forks --------------------------------------------------------------- */

static int forks_to_fail;

/* In the place of libc's. */
pid_t
fork(void)
{
    pid_t (*real)(void) = (pid_t(*)(void))dlsym(RTLD_NEXT, "fork");

    if (forks_to_fail > 0) {
        forks_to_fail--;
        errno = EAGAIN;
        return -1;
    }
    return real();
}

static void
forks_that_fail(int unused)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_stats_t stats = POOL_STATS_INIT;
    pool_t *pool = NULL;

    (void)unused;
    test_begin();
    options.start = POOL_START_FORK;
    options.workers = 2;
    forks_to_fail = 1;
    ck_assert_int_eq(pool_create(&pool, &options), -EAGAIN);
    ck_assert_ptr_null(pool);
    ck_assert_int_eq(forks_to_fail, 0);
    pool = direct(1);
    forks_to_fail = 3; /* waits longer each time */
    crash(pool, task_kill_self);
    works(pool);
    ck_assert_int_eq(forks_to_fail, 0);
    ck_assert_int_eq(pool_stats(pool, &stats), 0);
    ck_assert_uint_eq(stats.start_failures, 3);
    forks_to_fail = 1000; /* for ever */
    pool_future_t *f;
    ck_assert_int_eq(pool_submit(pool, &f, task_kill_self, ""), 0);
    ck_assert_int_eq(pool_future_error(f, PATIENCE_MS), POOL_EDIED);
    pool_future_free(f);
    if (pool_submit(pool, &f, task_pid, "") == 0) {
        ck_assert_int_eq(pool_future_error(f, PATIENCE_MS), POOL_EBROKEN);
        pool_future_free(f);
    }
    forks_to_fail = 0;
    pool_destroy(pool);
    test_end();
}

static void
on_idle(uv_idle_t *idle)
{
    (void)idle; /* keeps the loop going */
}

/* A turn of the host's loop makes few of them; the rest come later. */
static void
many_in_a_hosts_loop(int unused)
{
    enum { N = 12 };
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_stats_t stats = POOL_STATS_INIT;
    size_t size = (size_t)64 << 20;
    char *load = malloc(size);
    pool_t *pool = NULL;
    uv_idle_t idle;
    uv_loop_t loop;

    (void)unused;
    test_begin();
    memset(load, 1, size); /* a fork takes a while */
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    uv_idle_init(&loop, &idle);
    uv_idle_start(&idle, on_idle);
    options.start = POOL_START_FORK;
    options.loop = &loop;
    options.workers = options.min_workers = N;
    forks_to_fail = 1; /* so that none starts in pool_create */
    ck_assert_int_eq(pool_create(&pool, &options), 0);
    while (stats.idle < N) {
        uv_run(&loop, UV_RUN_NOWAIT);
        ck_assert_int_eq(pool_stats(pool, &stats), 0);
    }
    ck_assert_uint_eq(stats.start_failures, 1);
    pool_destroy(pool);
    uv_close((uv_handle_t *)&idle, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    free(load);
    test_end();
}

/* ---- output -------------------------------------------------------------- */

static int
task_print(pool_call_t *call)
{
    printf("task\n");
    return pool_call_return(call, "i", 1);
}

static void
on_line(const pool_log_t *line, void *data)
{
    *(int *)data +=
        line->kind == POOL_LOG_OUTPUT && strcmp(line->text, "task") == 0;
}

/* What the host had buffered stays its own. */
static void
output_is_captured(int unused)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    int lines = 0;

    (void)unused;
    test_begin();
    options.worker_stdout = POOL_OUTPUT_CAPTURE;
    options.log = on_line;
    options.log_data = &lines;
    printf("of the host, ");
    pool_t *pool = direct_opts(&options, 1);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(ask(pool, task_print), 1);
        crash(pool, task_kill_self);
    }
    pool_destroy(pool);
    ck_assert_int_eq(lines, 3);
    printf("once\n");
    test_end();
}

static const struct test tests[] = {
    {"descriptors_above_many", descriptors_above_many},
    {"descriptors_among_holes", descriptors_among_holes},
    {"libuv_in_a_worker", libuv_in_a_worker},
    {"standard_streams_closed", standard_streams_closed},
    {"too_few_descriptors_for_a_while", too_few_descriptors_for_a_while},
    {"forks_that_fail", forks_that_fail},
    {"many_in_a_hosts_loop", many_in_a_hosts_loop},
    {"output_is_captured", output_is_captured},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return test_main("direct_descriptors", tests, argc, argv);
}
