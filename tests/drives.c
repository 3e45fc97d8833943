/* One copy of a test for every drive. */
#define _GNU_SOURCE
#include "drives.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#define TICK_MS 5 /* how often what raises no event is looked at */
#define MOST_POOLS 64

static pool_t *pools[MOST_POOLS]; /* open ones: pool_poll in caller drive */
static size_t pool_count;
static uv_loop_t loop; /* host drive */
static uv_timer_t guard;

/* ---- the drives --------------------------------------------------------- */

static void
fire(uv_timer_t *timer)
{
    (void)timer; /* the loop has been woken */
}

/* Run the loop until something has happened, at most so long. */
static void
run_loop(int64_t ms)
{
    if (ms > TICK_MS)
        ms = TICK_MS; /* what comes before the loop sleeps wakes nobody */
    uv_update_time(&loop);
    uv_timer_start(&guard, fire, (uint64_t)ms, 0);
    uv_run(&loop, UV_RUN_ONCE);
    uv_timer_stop(&guard);
}

static int64_t
now_ms(void)
{
    return (int64_t)(uv_hrtime() / 1000000);
}

static void
caller_options(pool_options_t *options)
{
    options->drive = POOL_DRIVE_CALLER;
}

static int
own_patience(pool_future_t *future)
{
    (void)future;
    return PATIENCE_MS;
}

static void
caller_turn(void)
{
    for (size_t i = 0; i < pool_count; i++)
        ck_assert_int_eq(pool_poll(pools[i], pool_count == 1 ? TICK_MS : 0), 0);
    if (pool_count != 1)
        (void)poll(NULL, 0, TICK_MS);
}

static void
host_options(pool_options_t *options)
{
    options->loop = &loop;
}

static int
host_patience(pool_future_t *future)
{
    int64_t end = now_ms() + PATIENCE_MS;

    while (pool_future_error(future, 0) == POOL_ETIMEDOUT && now_ms() < end)
        run_loop(end - now_ms());
    return 0;
}

static void
host_turn(void)
{
    run_loop(TICK_MS);
}

static void
on_closed(void *data)
{
    *(bool *)data = true;
}

static void
host_close(pool_t *pool)
{
    int64_t end = now_ms() + PATIENCE_MS;
    bool closed = false;

    ck_assert_int_eq(pool_close(pool, on_closed, &closed), 0);
    while (!closed && now_ms() < end)
        run_loop(end - now_ms());
    ck_assert_msg(closed, "the pool was never closed");
}

static void
thread_options(pool_options_t *options)
{
    options->drive = POOL_DRIVE_THREAD;
}

static void
thread_turn(void)
{
    (void)poll(NULL, 0, 1);
}

static const struct drive drives[] = {
    {"caller", IN_CALLER, caller_options, own_patience, caller_turn,
        pool_destroy},
    {"thread", IN_THREAD, thread_options, own_patience, thread_turn,
        pool_destroy},
    {"host", IN_HOST, host_options, host_patience, host_turn, host_close},
};

/* ---- pools -------------------------------------------------------------- */

int
drive_try_open(
    const struct drive *d, pool_t **pool, const pool_options_t *options)
{
    pool_options_t changed = *options;

    d->options(&changed);
    int rc = pool_create(pool, &changed);
    if (rc == 0) {
        ck_assert_uint_lt(pool_count, MOST_POOLS);
        pools[pool_count++] = *pool;
    }
    return rc;
}

pool_t *
drive_open(const struct drive *d, const pool_options_t *options)
{
    pool_t *pool = NULL;
    int rc = drive_try_open(d, &pool, options);

    ck_assert_msg(rc == 0, "%s", pool_errmsg());
    return pool;
}

pool_t *
drive_pool(const struct drive *d, int workers)
{
    pool_options_t options = POOL_OPTIONS_INIT;

    options.workers = options.min_workers = workers;
    return drive_open(d, &options);
}

void
drive_forget(pool_t *pool)
{
    for (size_t i = 0; i < pool_count; i++)
        if (pools[i] == pool)
            pools[i--] = pools[--pool_count];
}

void
drive_destroy(const struct drive *d, pool_t *pool)
{
    drive_forget(pool);
    d->close(pool);
}

static int threads_before;

static void *
end_at_once(void *unused)
{
    return unused;
}

/* A sanitizer has a thread of its own, from the first that is made on. */
static void
note_threads(void)
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, end_at_once, NULL), 0);
    pthread_join(thread, NULL);
    for (int n = 0, same = 0; same < 5; (void)poll(NULL, 0, 1)) {
        threads_before =
            test_entries("/proc/self/task"); /* until it is quite gone */
        same = threads_before == n ? same + 1 : 0;
        n = threads_before;
    }
}

static bool
its_thread_has_ended(void *unused)
{
    (void)unused;
    return test_entries("/proc/self/task") <= threads_before;
}

static bool
loop_is_empty(void *unused)
{
    (void)unused;
    return uv_loop_alive(&loop) == 0;
}

void
drive_until_closed(const struct drive *d)
{
    if (d->bit == IN_HOST)
        drive_until(d, loop_is_empty, NULL);
    else if (d->bit == IN_THREAD)
        drive_until(d, its_thread_has_ended, NULL);
}

void
drive_shutdown(const struct drive *d, pool_t *pool, unsigned flags)
{
    int64_t end = now_ms() + PATIENCE_MS;
    int rc = pool_shutdown(pool, flags); /* what is refused does nothing */

    ck_assert_int_eq(rc, 0);
    rc = pool_shutdown(pool, flags | POOL_SHUTDOWN_WAIT);
    if (d->bit == IN_HOST)
        while (rc == POOL_EDEADLK && now_ms() < end) {
            run_loop(TICK_MS);
            rc = pool_shutdown(pool, flags | POOL_SHUTDOWN_WAIT);
        }
    ck_assert_msg(rc == 0, "%s", pool_errmsg());
}

void
drive_forked(const struct drive *d)
{
    if (d->bit == IN_HOST)
        ck_assert_int_eq(uv_loop_fork(&loop), 0);
}

struct uv_loop_s *
drive_loop(void)
{
    return &loop;
}

/* ---- waits -------------------------------------------------------------- */

int
drive_error(const struct drive *d, pool_future_t *future)
{
    return pool_future_error(future, d->patience(future));
}

int
drive_end(const struct drive *d, pool_future_t *future)
{
    int rc = drive_error(d, future);

    pool_future_free(future);
    return rc;
}

int
drive_wait(const struct drive *d, pool_future_t *const *futures, size_t n,
    int mode, int timeout_ms, size_t *ndone)
{
    int64_t end = now_ms() + timeout_ms;

    if (d->bit != IN_HOST)
        return pool_wait(futures, n, mode, timeout_ms, ndone);
    int rc = pool_wait(futures, n, mode, 0, ndone);
    while (rc == POOL_ETIMEDOUT && now_ms() < end) {
        run_loop(end - now_ms());
        rc = pool_wait(futures, n, mode, 0, ndone);
    }
    return rc;
}

int
drive_next(const struct drive *d, pool_completed_t *completed, int timeout_ms,
    pool_future_t **future)
{
    int64_t end = now_ms() + timeout_ms;

    if (d->bit != IN_HOST)
        return pool_as_completed_next(completed, timeout_ms, future);
    int rc = pool_as_completed_next(completed, 0, future);
    while (rc == POOL_ETIMEDOUT && now_ms() < end) {
        run_loop(end - now_ms());
        rc = pool_as_completed_next(completed, 0, future);
    }
    return rc;
}

void
drive_until(const struct drive *d, bool (*holds)(void *data), void *data)
{
    int64_t end = now_ms() + PATIENCE_MS;

    while (!holds(data)) {
        ck_assert_msg(now_ms() < end, "it never came");
        d->turn();
    }
}

struct word {
    const int *word;
    int value;
};

static bool
word_is_there(void *data)
{
    const struct word *word = data;

    return read_word(word->word) >= word->value;
}

void
drive_until_word(const struct drive *d, const int *word, int value)
{
    struct word data = {word, value};

    drive_until(d, word_is_there, &data);
}

static bool
process_is_gone(void *data)
{
    char state = test_state(*(int *)data);

    return state == 0 || state == 'Z';
}

void
drive_until_gone(const struct drive *d, int pid)
{
    drive_until(d, process_is_gone, &pid);
}

/* ---- tasks -------------------------------------------------------------- */

int
raise_word(int *word, int by)
{
    return __atomic_add_fetch(word, by, __ATOMIC_ACQ_REL);
}

int
read_word(const int *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

struct gate *
gate_new(void)
{
    return test_shared(sizeof(struct gate));
}

int
task_gate(pool_call_t *call)
{
    uint64_t address;
    int rc = pool_call_args(call, "t", &address);

    if (rc < 0)
        return rc;
    struct gate *gate = (struct gate *)(uintptr_t)address;
    __atomic_store_n(&gate->pid, (int)getpid(), __ATOMIC_RELEASE);
    raise_word(&gate->begun, 1);
    if (!test_await(&gate->leave, 1))
        return 99;
    raise_word(&gate->ended, 1);
    return pool_call_return(call, "i", 5);
}

pool_future_t *
gate_submit(pool_t *pool, struct gate *gate)
{
    pool_future_t *future = NULL;

    ck_assert_int_eq(
        pool_submit(pool, &future, task_gate, "t", ADDRESS(gate)), 0);
    return future;
}

void
gate_open(struct gate *gate)
{
    __atomic_store_n(&gate->leave, 1, __ATOMIC_RELEASE);
}

int
task_fail(pool_call_t *call)
{
    return pool_call_fail(call, 17, "row %d is wet", 3);
}

int
task_nothing(pool_call_t *call)
{
    (void)call;
    return 0;
}

int
task_stop_self(pool_call_t *call)
{
    (void)call;
    raise(SIGSTOP);
    return 0;
}

int
task_deaf_hang(pool_call_t *call)
{
    uint64_t address;
    int rc = pool_call_args(call, "t", &address);

    if (rc < 0)
        return rc;
    signal(SIGTERM, SIG_IGN);
    __atomic_store_n(
        (int *)(uintptr_t)address, (int)getpid(), __ATOMIC_RELEASE);
    return task_hang(call);
}

int
task_exit_early(pool_call_t *call)
{
    (void)call;
    _exit(42);
}

pool_future_t *
submit(pool_t *pool, pool_fn fn)
{
    pool_future_t *future = NULL;
    int rc = pool_submit(pool, &future, fn, "");

    ck_assert_msg(rc == 0, "%s", pool_errmsg());
    return future;
}

int
drive_pid(const struct drive *d, pool_t *pool)
{
    pool_future_t *future = submit(pool, task_pid);
    int pid = 0;

    ck_assert_int_eq(drive_result(d, future, "i", &pid), 0);
    pool_future_free(future);
    return pid;
}

void
drive_works(const struct drive *d, pool_t *pool)
{
    pool_future_t *future;
    double y = 0;

    ck_assert_int_eq(pool_submit(pool, &future, task_double, "d", 21.0), 0);
    ck_assert_int_eq(drive_result(d, future, "d", &y), 0);
    ck_assert_double_eq(y, 42.0);
    pool_future_free(future);
}

/* ---- the program -------------------------------------------------------- */

static const struct drive_case *all_cases;

static void
run_case(int number)
{
    const struct drive *d = &drives[(size_t)number % COUNT(drives)];

    test_begin();
    note_threads();
    if (d->bit == IN_HOST) {
        ck_assert_int_eq(uv_loop_init(&loop), 0);
        ck_assert_int_eq(uv_timer_init(&loop, &guard), 0);
    }
    all_cases[(size_t)number / COUNT(drives)].run(d);
    ck_assert_uint_eq(pool_count, 0);
    if (d->bit == IN_HOST) {
        uv_close((uv_handle_t *)&guard, NULL);
        uv_run(&loop, UV_RUN_NOWAIT);
        ck_assert_int_eq(uv_loop_close(&loop), 0);
    }
    test_end();
}

int
drive_main(const char *suite_name, const struct drive_case *cases, int argc,
    char **argv)
{
    static TTest tests[200]; /* Check keeps pointers to them and their names */
    static char names[200][100];
    Suite *suite = suite_create(suite_name);
    const char *only = argc > 1 ? argv[1] : "";
    size_t length = strcspn(only, "/");

    all_cases = cases;
    for (size_t i = 0; cases[i / COUNT(drives)].name != NULL; i++) {
        const struct drive_case *c = &cases[i / COUNT(drives)];
        const struct drive *d = &drives[i % COUNT(drives)];
        snprintf(names[i], sizeof names[i], "%s/%s", c->name, d->name);
        if ((c->drives & d->bit) == 0 ||
            (only[0] != '\0' && strcmp(only, names[i]) != 0 &&
                (only[length] != '\0' || strcmp(only, c->name) != 0)))
            continue;
        TCase *tcase = tcase_create(names[i]);
        tests[i] = (TTest){names[i], run_case, __FILE__, __LINE__};
        tcase_set_timeout(tcase, 4 * PATIENCE_MS / 1000.0);
        tcase_add_loop_test(tcase, &tests[i], (int)i, (int)i + 1);
        suite_add_tcase(suite, tcase);
    }
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    int ran = srunner_ntests_run(runner);
    srunner_free(runner);
    return failed == 0 && ran > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
