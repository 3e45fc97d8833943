/* What is ended in a callback, in a finalizer, by another thread or in a forked
 * child lives as long as somebody uses it. */
#define _GNU_SOURCE
#include "support.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int
task_seven(pool_call_t *call)
{
    return pool_call_return(call, "i", 7);
}

static pool_t *
open_pool(int backend, int drive, void (*finalizer)(void *))
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_t *pool = NULL;

    options.workers = options.min_workers = 2;
    options.backend = backend;
    options.drive = drive;
    options.finalizer = finalizer;
    ck_assert_int_eq(pool_create(&pool, &options), 0);
    return pool;
}

/* ---- on_closed ---------------------------------------------------------- */

struct last {
    pool_future_t *future;
    int value, rc;
};

static void
use_the_last(void *data)
{
    struct last *last = data;

    last->rc = pool_future_result(last->future, 0, "i", &last->value);
    pool_future_free(last->future);
}

/* The last thing that holds what futures share goes while the pool does. */
static void
the_last_future_in_on_closed(int unused)
{
    static const struct {
        int backend, drive;
    } pools[] = {{POOL_FORK, POOL_DRIVE_CALLER}, {POOL_FORK, POOL_DRIVE_THREAD},
        {POOL_SERIAL, POOL_DRIVE_CALLER}};

    (void)unused;
    test_begin();
    for (size_t i = 0; i < sizeof pools / sizeof pools[0]; i++) {
        struct last last = {.rc = 1};
        pool_t *pool = open_pool(pools[i].backend, pools[i].drive, NULL);
        ck_assert_int_eq(pool_submit(pool, &last.future, task_seven, ""), 0);
        ck_assert_int_eq(pool_future_error(last.future, PATIENCE_MS), 0);
        ck_assert_int_eq(pool_close(pool, use_the_last, &last), 0);
        ck_assert_int_eq(last.rc, 0);
        ck_assert_int_eq(last.value, 7);
    }
    test_end();
}

/* ---- a serial pool ------------------------------------------------------ */

static pool_t *finalized;
static int finalizations;

static void
call_the_library(void *state)
{
    (void)state;
    finalizations++;
    (void)test_stats(finalized);
}

static void
a_finalizer_calls_the_library(int unused)
{
    (void)unused;
    test_begin();
    finalized = open_pool(POOL_SERIAL, POOL_DRIVE_CALLER, call_the_library);
    pool_destroy(finalized);
    ck_assert_int_eq(finalizations, 1);
    test_end();
}

/* It has one worker, but takes what other pools take. */
static void
a_serial_pool_takes_min_workers(int unused)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_t *pool = NULL;

    (void)unused;
    options.backend = POOL_SERIAL;
    options.min_workers = 3;
    ck_assert_int_eq(pool_create(&pool, &options), 0);
    pool_destroy(pool);
    options.workers = 2;
    ck_assert_int_eq(pool_create(&pool, &options), POOL_EINVAL);
}

/* ---- as_completed ------------------------------------------------------- */

static pool_completed_t *completed;
static int inner;

static void
take_one(pool_future_t *future, void *data)
{
    pool_future_t *next;

    (void)future;
    (void)data;
    inner = pool_as_completed_next(completed, 0, &next);
}

static void
end_it(pool_future_t *future, void *data)
{
    (void)future;
    (void)data;
    pool_as_completed_free(completed);
}

/* Wait for the next of one future, whose callback does that meanwhile. */
static int
wait_beside(pool_done_fn callback)
{
    pool_t *pool = test_pool(1);
    pool_future_t *f, *next = NULL;

    ck_assert_int_eq(pool_submit(pool, &f, task_seven, ""), 0);
    ck_assert_int_eq(pool_as_completed(&completed, &f, 1), 0);
    ck_assert_int_eq(pool_future_add_done_callback(f, callback, NULL), 0);
    int rc = pool_as_completed_next(completed, PATIENCE_MS, &next);
    ck_assert_ptr_null(next);
    ck_assert_int_eq(pool_future_error(f, PATIENCE_MS), 0);
    if (rc != POOL_ECANCELED)
        pool_as_completed_free(completed);
    pool_future_free(f);
    pool_destroy(pool);
    return rc;
}

/* "t": waits until the word at that address is set. */
static int
task_await(pool_call_t *call)
{
    uint64_t address;
    int rc = pool_call_args(call, "t", &address);

    return rc < 0 ? rc : !test_await((const int *)(uintptr_t)address, 1);
}

static int *waiting; /* shared with workers */

/* The main thread sleeps in its wait. */
static void
end_it_meanwhile(pool_future_t *future, void *data)
{
    while (!__atomic_load_n(waiting, __ATOMIC_ACQUIRE) ||
           test_state(getpid()) != 'S')
        (void)poll(NULL, 0, 1);
    end_it(future, data);
}

/* Another pool's thread ends it: who waits on this pool alone is woken. */
static void
another_thread_ends_what_waits(int unused)
{
    pool_future_t *hangs, *f, *next;

    (void)unused;
    test_begin();
    waiting = test_shared(sizeof *waiting);
    pool_t *pool = open_pool(POOL_FORK, POOL_DRIVE_THREAD, NULL);
    pool_t *other = open_pool(POOL_FORK, POOL_DRIVE_THREAD, NULL);
    ck_assert_int_eq(pool_submit(pool, &hangs, task_hang, ""), 0);
    ck_assert_int_eq(pool_as_completed(&completed, &hangs, 1), 0);
    ck_assert_int_eq(
        pool_submit(other, &f, task_await, "t", (uint64_t)(uintptr_t)waiting),
        0);
    ck_assert_int_eq(
        pool_future_add_done_callback(f, end_it_meanwhile, NULL), 0);
    __atomic_store_n(waiting, 1, __ATOMIC_RELEASE);
    ck_assert_int_eq(
        pool_as_completed_next(completed, -1, &next), POOL_ECANCELED);
    pool_future_free(f);
    pool_future_free(hangs);
    pool_destroy(other);
    pool_destroy(pool);
    test_end();
}

static void
a_callback_takes_what_is_waited_for(int unused)
{
    (void)unused;
    test_begin();
    ck_assert_int_eq(wait_beside(take_one), POOL_ENOENT);
    ck_assert_int_eq(inner, 0);
    ck_assert_int_eq(wait_beside(end_it), POOL_ECANCELED);
    test_end();
}

/* ---- forked children ---------------------------------------------------- */

static int
end_all(pool_t *pool, pool_future_t *f)
{
    pool_as_completed_free(completed);
    pool_future_free(f);
    pool_destroy(pool);
    return 0;
}

/* In another process the iterator stays, and what it has hung on futures. */
static void
a_child_ends_what_waits(int unused)
{
    pool_future_t *f;
    int status = -1;

    (void)unused;
    test_begin();
    for (int drive = POOL_DRIVE_CALLER; drive <= POOL_DRIVE_THREAD; drive++) {
        pool_t *pool = open_pool(POOL_FORK, drive, NULL);
        ck_assert_int_eq(pool_submit(pool, &f, task_hang, ""), 0);
        ck_assert_int_eq(pool_as_completed(&completed, &f, 1), 0);
        pid_t pid = fork();
        if (pid == 0)
            _exit(end_all(pool, f));
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_int_eq(status, 0);
        pool_as_completed_free(completed);
        pool_future_free(f);
        pool_destroy(pool);
    }
    test_end();
}

struct fork_in {
    pool_t *destroyed; /* by the child at once; NULL: none */
    pid_t pid;
};

static void
fork_here(pool_future_t *future, void *data)
{
    struct fork_in *f = data;
    pid_t pid = fork();

    (void)future;
    if (pid == 0)
        pool_destroy(f->destroyed);
    __atomic_store_n(&f->pid, pid, __ATOMIC_RELEASE);
}

enum way { ALL, FIRST_DESTROYED, POLL, TWO_POOLS, WAYS };

/* Wait for f[0], which does not settle before f[1] has. */
static int
wait_in(enum way way, pool_t *pool, pool_future_t **f, const struct fork_in *in)
{
    int rc = 0;

    switch (way) {
    case ALL:
        return pool_wait(f, 2, POOL_ALL_COMPLETED, PATIENCE_MS, NULL);
    case FIRST_DESTROYED:
        return pool_wait(f, 2, POOL_FIRST_COMPLETED, PATIENCE_MS, NULL);
    case POLL:
        while (rc == 0 && in->pid == -1)
            rc = pool_poll(pool, PATIENCE_MS);
        return rc;
    default: /* f[2] is another pool's */
        return pool_wait(f, 3, POOL_ALL_COMPLETED, PATIENCE_MS, NULL);
    }
}

static void
fork_in_a_wait(enum way way)
{
    pool_t *pool = test_pool(2), *other = test_pool(1);
    int *word = test_shared(sizeof *word), status = -1;
    struct fork_in in = {way == FIRST_DESTROYED ? pool : NULL, -1};
    pool_future_t *f[3];

    for (int i = 0; i < 100; i++) { /* its workers are known to be quick */
        ck_assert_int_eq(pool_submit(pool, &f[0], task_seven, ""), 0);
        ck_assert_int_eq(pool_future_error(f[0], PATIENCE_MS), 0);
        pool_future_free(f[0]);
    }
    for (int i = 0; i <= 2; i += 2)
        ck_assert_int_eq(pool_submit(i == 0 ? pool : other, &f[i], task_await,
                             "t", (uint64_t)(uintptr_t)word),
            0);
    ck_assert_int_eq(pool_submit(pool, &f[1], task_seven, ""), 0);
    ck_assert_int_eq(pool_future_add_done_callback(f[1], fork_here, &in), 0);
    int rc = wait_in(way, pool, f, &in);
    if (in.pid == 0) {
        if (in.destroyed == NULL)
            pool_destroy(pool);
        __atomic_store_n(word, 1, __ATOMIC_RELEASE); /* now f[0] ends */
        _exit(rc != POOL_EFORKED);
    }
    ck_assert_int_eq(rc, 0);
    ck_assert_int_ne(in.pid, -1);
    ck_assert_int_eq(waitpid(in.pid, &status, 0), in.pid);
    ck_assert_int_eq(status, 0);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(pool_future_error(f[i], PATIENCE_MS), 0);
        pool_future_free(f[i]);
    }
    pool_destroy(pool);
    pool_destroy(other);
}

/* A child that a callback has forked comes out of the wait, with an error, and
 * takes nothing from its parent. */
static void
a_child_comes_out_of_a_wait(int unused)
{
    (void)unused;
    test_begin();
    for (enum way way = ALL; way < WAYS; way++)
        fork_in_a_wait(way);
    test_end();
}

/* The child of the pool's thread is that thread alone, and ends with it. */
static void
a_child_of_the_pools_thread_ends(int unused)
{
    struct fork_in in = {NULL, -1};
    pool_future_t *f;
    pid_t pid = -1;
    int status = -1;

    (void)unused;
    test_begin();
    int *word = test_shared(sizeof *word);
    pool_t *pool = open_pool(POOL_FORK, POOL_DRIVE_THREAD, NULL);
    ck_assert_int_eq(
        pool_submit(pool, &f, task_await, "t", (uint64_t)(uintptr_t)word), 0);
    ck_assert_int_eq(pool_future_add_done_callback(f, fork_here, &in), 0);
    __atomic_store_n(word, 1, __ATOMIC_RELEASE);
    ck_assert_int_eq(pool_future_error(f, PATIENCE_MS), 0);
    while ((pid = __atomic_load_n(&in.pid, __ATOMIC_ACQUIRE)) == -1)
        (void)poll(NULL, 0, 1);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status)); /* a leak checker has its own status */
    pool_future_free(f);
    pool_destroy(pool);
    test_end();
}

/* ---- maps --------------------------------------------------------------- */

static pool_map_t *map;

/* An endless input; the items are all the same. */
static int
more(void *data, pool_enc_t *arguments)
{
    (void)data;
    return test_encode(arguments, "d", 1.0) < 0 ? -1 : 1;
}

static int
none(void *data, pool_enc_t *arguments)
{
    (void)data;
    (void)arguments;
    return 0;
}

static void
next_inside(pool_future_t *future, void *data)
{
    double x;

    (void)future;
    (void)data;
    inner = pool_map_next(map, 0, "d", &x);
}

static void
free_inside(pool_future_t *future, void *data)
{
    (void)future;
    (void)data;
    pool_map_free(map);
}

/* The map waits behind another task, whose callback does that. */
static int
map_beside(pool_fn fn, pool_done_fn callback)
{
    pool_map_options_t options = POOL_MAP_OPTIONS_INIT;
    pool_t *pool = test_pool(1);
    pool_future_t *f;
    double y;

    options.buffersize = 2;
    ck_assert_int_eq(pool_submit(pool, &f, task_seven, ""), 0);
    ck_assert_int_eq(pool_future_add_done_callback(f, callback, NULL), 0);
    ck_assert_int_eq(pool_map(pool, &map, &options, fn, more, NULL), 0);
    int rc = pool_map_next(map, PATIENCE_MS, "d", &y);
    ck_assert_int_eq(pool_future_error(f, PATIENCE_MS), 0);
    if (rc != POOL_ECANCELED)
        pool_map_free(map);
    pool_future_free(f);
    pool_destroy(pool);
    return rc;
}

static void
a_callback_uses_the_map_that_waits(int unused)
{
    (void)unused;
    test_begin();
    ck_assert_int_eq(map_beside(task_double, next_inside), 0);
    ck_assert_int_eq(inner, POOL_EBUSY);
    ck_assert_int_eq(map_beside(task_hang, free_inside), POOL_ECANCELED);
    test_end();
}

static void *
take_all(void *data)
{
    double y;
    int rc;

    (void)data;
    do
        rc = pool_map_next(map, -1, "d", &y);
    while (rc == 0);
    return (void *)(intptr_t)rc;
}

/* The pool goes while another thread takes results and gives inputs. */
static void
a_pool_goes_under_a_map(int unused)
{
    pool_map_options_t options = POOL_MAP_OPTIONS_INIT;

    (void)unused;
    test_begin();
    options.buffersize = 4;
    for (int i = 0; i < (test_full() ? 100 : 20); i++) {
        pool_t *pool = open_pool(POOL_FORK, POOL_DRIVE_THREAD, NULL);
        pthread_t taker;
        void *rc;
        ck_assert_int_eq(
            pool_map(pool, &map, &options, task_double, more, NULL), 0);
        ck_assert_int_eq(pthread_create(&taker, NULL, take_all, NULL), 0);
        (void)poll(NULL, 0, i % 8);
        pool_destroy(pool);
        ck_assert_int_eq(pthread_join(taker, &rc), 0);
        ck_assert(
            (intptr_t)rc == POOL_ECANCELED || (intptr_t)rc == POOL_ESHUTDOWN);
        pool_map_free(map);
    }
    test_end();
}

static void
a_map_of_nothing_is_checked(int unused)
{
    pool_map_options_t options = POOL_MAP_OPTIONS_INIT;

    (void)unused;
    test_begin();
    pool_t *pool = test_pool(1);
    options.deadline_ms = -5;
    ck_assert_int_eq(
        pool_map(pool, &map, &options, task_double, none, NULL), POOL_EINVAL);
    ck_assert_int_eq(pool_shutdown(pool, 0), 0);
    ck_assert_int_eq(
        pool_map(pool, &map, NULL, task_double, none, NULL), POOL_ESHUTDOWN);
    pool_destroy(pool);
    test_end();
}

static const struct test tests[] = {
    {"the_last_future_in_on_closed", the_last_future_in_on_closed},
    {"a_finalizer_calls_the_library", a_finalizer_calls_the_library},
    {"a_serial_pool_takes_min_workers", a_serial_pool_takes_min_workers},
    {"a_callback_takes_what_is_waited_for",
        a_callback_takes_what_is_waited_for},
    {"another_thread_ends_what_waits", another_thread_ends_what_waits},
    {"a_child_ends_what_waits", a_child_ends_what_waits},
    {"a_child_comes_out_of_a_wait", a_child_comes_out_of_a_wait},
    {"a_child_of_the_pools_thread_ends", a_child_of_the_pools_thread_ends},
    {"a_callback_uses_the_map_that_waits", a_callback_uses_the_map_that_waits},
    {"a_pool_goes_under_a_map", a_pool_goes_under_a_map},
    {"a_map_of_nothing_is_checked", a_map_of_nothing_is_checked},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return test_main("ends", tests, argc, argv);
}
