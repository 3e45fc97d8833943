/* Crashes: whatever a worker does costs its task alone, and the failure tells
 * how it ended. */
#include "support.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ADDRESS(p) ((uint64_t)(uintptr_t)(p))

/* ---- ways to go, and when --------------------------------------------- */

enum way {
    BY_ERROR,
    BY_EXIT,
    BY_EXIT_NOW,
    BY_QUICK_EXIT,
    BY_ABORT,
    BY_SEGV,
    BY_KILL,
    BY_OVERFLOW,
    WAYS
};
enum when { BEFORE_ARGS, IN_TASK, AFTER_RETURN, WHENS };

static int
overflow(volatile char *above)
{
    volatile char block[65536];

    block[0] = above[0];
    return above[0] == 1 ? 0 : overflow(block) + block[1];
}

static int
go(enum way way)
{
    volatile char start = 0;

    switch (way) {
    case BY_ERROR:
        return 5;
    case BY_EXIT:
        exit(7);
    case BY_EXIT_NOW:
        _exit(42);
    case BY_QUICK_EXIT:
        quick_exit(3);
    case BY_ABORT:
        abort();
    case BY_SEGV:
        raise(SIGSEGV);
        break;
    case BY_KILL:
        raise(SIGKILL);
        break;
    case BY_OVERFLOW:
        return overflow(&start);
    default:
        break;
    }
    return 6;
}

static int
task_go(pool_call_t *call)
{
    int32_t way, when;
    const void *data;
    size_t size;

    (void)pool_call_bytes(call, &data, &size);
    int rc = pool_call_args(call, "ii", &way, &when);
    if (rc < 0)
        return rc;
    if (when == BEFORE_ARGS)
        return go((enum way)way);
    if (when == AFTER_RETURN)
        (void)pool_call_return(call, "i", 1); /* made, but not sent */
    return go((enum way)way);
}

static void
host_atexit(void)
{
    _exit(111); /* a worker that runs this is told by its status */
}

struct end {
    int code, exit_status, signal;
};

static const struct end ends[WAYS] = {
    [BY_ERROR] = {POOL_ETASK, -1, 0},
    [BY_EXIT] = {POOL_EDIED, 7, 0},
    [BY_EXIT_NOW] = {POOL_EDIED, 42, 0},
    [BY_QUICK_EXIT] = {POOL_EDIED, EXIT_FAILURE, 0},
    [BY_ABORT] = {POOL_EDIED, -1, SIGABRT},
    [BY_SEGV] = {POOL_EDIED, -1, SIGSEGV},
    [BY_KILL] = {POOL_EDIED, -1, SIGKILL},
    [BY_OVERFLOW] = {POOL_EDIED, -1, SIGSEGV},
};

static void
check_end(pool_future_t *f, const struct end *end)
{
    char pid[32];

    ck_assert_int_eq(pool_future_error(f, PATIENCE_MS), end->code);
    const pool_failure_t *failure = pool_future_failure(f);
    ck_assert_ptr_nonnull(failure);
    ck_assert_int_eq(failure->exit_status, end->exit_status);
    ck_assert_int_eq(failure->signal, end->signal);
    ck_assert_int_eq(failure->attempts, 1);
    ck_assert_int_gt(failure->pid, 0);
    if (end->code != POOL_EDIED)
        return;
    snprintf(pid, sizeof pid, "worker %d ", (int)failure->pid);
    ck_assert_msg(
        strstr(failure->message, pid) != NULL, "%s", failure->message);
    test_await_gone(failure->pid);
}

static void
matrix(int unused)
{
    pool_t *pool;

    (void)unused;
    test_begin();
    atexit(host_atexit);
    at_quick_exit(host_atexit);
    pool = test_pool(2);
    for (int when = 0; when < WHENS; when++)
        for (int way = 0; way < WAYS; way++) {
            pool_future_t *f, *before, *after;
            double y = 0;
            ck_assert_int_eq(
                pool_submit(pool, &before, task_double, "d", 1.0), 0);
            ck_assert_int_eq(
                pool_submit(pool, &f, task_go, "ii", way, when), 0);
            ck_assert_int_eq(
                pool_submit(pool, &after, task_double, "d", 2.0), 0);
            check_end(f, &ends[way]);
            ck_assert_int_eq(
                pool_future_result(before, PATIENCE_MS, "d", &y), 0);
            ck_assert_double_eq(y, 2.0);
            ck_assert_int_eq(
                pool_future_result(after, PATIENCE_MS, "d", &y), 0);
            ck_assert_double_eq(y, 4.0);
            pool_future_free(before);
            pool_future_free(f);
            pool_future_free(after);
        }
    pool_destroy(pool);
    test_end();
    _exit(0); /* not through host_atexit */
}

/* ---- a worker that is idle -------------------------------------------- */

static void
killed_idle_is_replaced(int unused)
{
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(1);
    for (int i = 0, old = 0; i < 10; i++) {
        pool_future_t *f;
        int pid = 0;
        ck_assert_int_eq(pool_submit(pool, &f, task_pid, ""), 0);
        ck_assert_int_eq(pool_future_result(f, PATIENCE_MS, "i", &pid), 0);
        ck_assert_int_ne(pid, old);
        old = pid;
        pool_future_free(f);
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        test_await_gone(pid);
    }
    pool_destroy(pool);
    test_end();
}

/* ---- in mid-write, and after ------------------------------------------ */

/* Puts the first bytes of a reply of 1,000 bytes into the pipe, and dies. */
static int
task_torn(pool_call_t *call)
{
    unsigned char head[100] = {0xe8, 3, 0, 0, 3, 0, 0, 0};
    const void *data;
    size_t size;

    pool_call_bytes(call, &data, &size);
    if (write(test_result_pipe(), head, size) != (ssize_t)size)
        return 1;
    raise(SIGKILL);
    return 0;
}

static void
torn_replies_are_dropped(int unused)
{
    static const size_t parts[] = {1, 8, 15, 16, 17, 99};
    unsigned char bytes[100] = {0};
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool_of_liars(1);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        pool_future_t *f, *next;
        ck_assert_int_eq(
            pool_submit_bytes(pool, &f, NULL, task_torn, bytes, parts[i]), 0);
        ck_assert_int_eq(pool_submit(pool, &next, task_double, "d", 1.0), 0);
        check_end(f, &ends[BY_KILL]);
        ck_assert_int_eq(pool_future_error(next, PATIENCE_MS), 0);
        pool_future_free(f);
        pool_future_free(next);
    }
    pool_destroy(pool);
    test_end();
}

/* Returns a large value; the host kills it while it is being written. */
static int
task_large(pool_call_t *call)
{
    uint64_t begun;
    void *block;
    size_t size = (size_t)32 << 20;
    int rc = pool_call_args(call, "t", &begun);

    if (rc == 0)
        rc = pool_call_reserve(call, size, &block);
    if (rc < 0)
        return rc;
    memset(block, 1, size);
    __atomic_store_n((int *)(uintptr_t)begun, (int)getpid(), __ATOMIC_RELEASE);
    return 0;
}

static void
killed_while_it_writes(int unused)
{
    int *begun = test_shared(sizeof *begun);
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_t *pool;

    (void)unused;
    test_begin();
    options.workers = 1;
    /* So the result is written, not shared. */
    options.max_worker_rss = INT64_C(1) << 50;
    ck_assert_int_eq(pool_create(&pool, &options), 0);
    for (int i = 0; i < 10; i++) {
        pool_future_t *f;
        *begun = 0;
        ck_assert_int_eq(
            pool_submit(pool, &f, task_large, "t", ADDRESS(begun)), 0);
        while (__atomic_load_n(begun, __ATOMIC_ACQUIRE) == 0)
            ck_assert_int_eq(pool_poll(pool, 5), 0); /* it starts anew */
        ck_assert_int_eq(kill(*begun, SIGKILL), 0);
        check_end(f, &ends[BY_KILL]);
        pool_future_free(f);
    }
    pool_destroy(pool);
    test_end();
}

static int
task_mark(pool_call_t *call)
{
    uint64_t mark;
    int rc = pool_call_args(call, "t", &mark);

    if (rc == 0)
        __atomic_store_n((int *)(uintptr_t)mark, 1, __ATOMIC_RELEASE);
    return rc < 0 ? rc : pool_call_return(call, "i", 6);
}

/* The result is in the pipe, unread, when the worker is killed: it has run
 * the task and sleeps again. */
static void
killed_after_the_result(int unused)
{
    int *mark = test_shared(sizeof *mark);
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(1);
    for (int i = 0; i < 20; i++) {
        pool_future_t *pid_of, *f;
        int pid = 0, six = 0;
        ck_assert_int_eq(pool_submit(pool, &pid_of, task_pid, ""), 0);
        ck_assert_int_eq(pool_future_result(pid_of, PATIENCE_MS, "i", &pid), 0);
        pool_future_free(pid_of);
        *mark = 0;
        ck_assert_int_eq(
            pool_submit(pool, &f, task_mark, "t", ADDRESS(mark)), 0);
        ck_assert(test_await(mark, 1));
        while (test_state(pid) != 'S')
            ;
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        test_await_gone(pid);
        ck_assert_int_eq(pool_future_result(f, PATIENCE_MS, "i", &six), 0);
        ck_assert_int_eq(six, 6);
        pool_future_free(f);
    }
    pool_destroy(pool);
    test_end();
}

/* ---- among many ------------------------------------------------------- */

static int
task_count(pool_call_t *call)
{
    uint64_t counters;
    int32_t number, crash;
    int rc = pool_call_args(call, "tii", &counters, &number, &crash);

    if (rc < 0)
        return rc;
    __atomic_add_fetch(
        (int *)(uintptr_t)counters + number, 1, __ATOMIC_RELAXED);
    if (number == crash)
        raise(SIGKILL);
    return pool_call_return(call, "i", number);
}

/* 1,000 tiny tasks; one crashes: it alone fails, none runs twice. */
static void
one_of_a_thousand(int unused)
{
    enum { N = 1000, CRASH = 700 };
    int *counters = test_shared(N * sizeof *counters);
    pool_future_t *f[N];
    pool_t *pool;

    (void)unused;
    test_begin();
    for (int round = 0; round < (test_full() ? 20 : 3); round++) {
        pool = test_pool(2);
        memset(counters, 0, N * sizeof *counters);
        for (int i = 0; i < N; i++)
            ck_assert_int_eq(pool_submit(pool, &f[i], task_count, "tii",
                                 ADDRESS(counters), i, CRASH),
                0);
        for (int i = 0; i < N; i++) {
            int value = -1;
            int rc = pool_future_result(f[i], PATIENCE_MS, "i", &value);
            ck_assert_int_eq(rc, i == CRASH ? POOL_EDIED : 0);
            ck_assert_int_eq(value, i == CRASH ? -1 : i);
            ck_assert_int_eq(counters[i], 1);
            pool_future_free(f[i]);
        }
        pool_destroy(pool);
    }
    test_end();
}

/* Kill a worker at any instant under load: every future settles, none runs
 * twice, at most one task fails for each kill. */
static void
killed_at_random_instants(int unused)
{
    enum { N = 400 };
    int *counters = test_shared(N * sizeof *counters);
    pool_future_t *f[N], *pid_of;
    int kills = test_full() ? 200 : 20;
    unsigned seed = 12345;
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(2);
    for (int round = 0; round < kills; round++) {
        int pid = 0, died = 0;
        memset(counters, 0, N * sizeof *counters);
        ck_assert_int_eq(pool_submit(pool, &pid_of, task_pid, ""), 0);
        ck_assert_int_eq(pool_future_result(pid_of, PATIENCE_MS, "i", &pid), 0);
        pool_future_free(pid_of);
        int at = rand_r(&seed) % N;
        for (int i = 0; i < N; i++) {
            if (i == at)
                ck_assert_int_eq(kill(pid, SIGKILL), 0);
            ck_assert_int_eq(pool_submit(pool, &f[i], task_count, "tii",
                                 ADDRESS(counters), i, -1),
                0);
        }
        for (int i = 0; i < N; i++) {
            int rc = pool_future_error(f[i], PATIENCE_MS);
            ck_assert(rc == 0 || rc == POOL_EDIED);
            died += rc != 0;
            ck_assert_int_le(counters[i], 1);
            if (rc == 0)
                ck_assert_int_eq(counters[i], 1);
            pool_future_free(f[i]);
        }
        ck_assert_int_le(died, 1);
    }
    pool_destroy(pool);
    test_end();
}

static const struct test tests[] = {
    {"matrix", matrix},
    {"killed_idle_is_replaced", killed_idle_is_replaced},
    {"torn_replies_are_dropped", torn_replies_are_dropped},
    {"killed_while_it_writes", killed_while_it_writes},
    {"killed_after_the_result", killed_after_the_result},
    {"one_of_a_thousand", one_of_a_thousand},
    {"killed_at_random_instants", killed_at_random_instants},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return test_main("crash", tests, argc, argv);
}
