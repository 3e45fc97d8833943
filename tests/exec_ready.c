/* Thread drive: a value that is there is read, and the future of a short one
 * freed, with no lock. Who sees it, what is refused, where its memory goes. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../src/pool.h"
#include "drives.h"

/* A short value that is there. */
static pool_future_t *
settled(pool_t *pool, double x)
{
    pool_future_t *future = NULL;
    double value = 0;

    ck_assert_int_eq(pool_submit(pool, &future, task_double, "d", x), 0);
    ck_assert_int_eq(pool_future_result(future, PATIENCE_MS, "d", &value), 0);
    ck_assert(value == 2 * x);
    return future;
}

/* Run it in another thread, which must return what it was given. */
static void
in_another_thread(void *(*run)(void *), void *data)
{
    pthread_t thread;
    void *right = NULL;

    ck_assert_int_eq(pthread_create(&thread, NULL, run, data), 0);
    ck_assert_int_eq(pthread_join(thread, &right), 0);
    ck_assert_ptr_eq(right, data);
}

/* The same while this thread has the lock: it would keep the other one for
 * ever. */
static void
while_locked(pool_t *pool, void *(*run)(void *), void *data)
{
    ck_assert_int_eq(pool__enter_pool(pool, "while_locked"), 0);
    in_another_thread(run, data);
    pool__leave(pool->core);
}

/* ---- with no lock ------------------------------------------------------- */

#ifdef POOL_DEBUG
#define IS_DEBUG 1 /* each free takes the lock, and cells are kept */
#else
#define IS_DEBUG 0
#endif

static void *
read_and_free(void *future)
{
    const void *bytes = NULL;
    double value = 0;
    size_t size = 0;

    bool right = pool_future_result(future, -1, "d", &value) == 0 &&
                 value == 42 && pool_future_error(future, 0) == 0 &&
                 pool_future_bytes(future, 0, &bytes, &size) == 0 &&
                 bytes != NULL && size != 0 &&
                 pool_future_bytes(future, 0, NULL, NULL) == 0;
    if (!IS_DEBUG)
        pool_future_free(future);
    return right ? future : NULL;
}

static void
while_another_has_the_lock(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 1);
    pool_future_t *future = settled(pool, 21);

    while_locked(pool, read_and_free, future);
    if (IS_DEBUG)
        pool_future_free(future);
    drive_destroy(d, pool);
}

/* ---- what is refused ---------------------------------------------------- */

static void
what_is_wrong_is_refused(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 1);
    pool_future_t *future = settled(pool, 1);
    int64_t other;
    double value, second;

    ck_assert_int_eq(pool_future_error(future, -2), POOL_EINVAL);
    ck_assert_int_eq(pool_future_bytes(future, -2, NULL, NULL), POOL_EINVAL);
    ck_assert_int_eq(pool_future_result(future, -2, "d", &value), POOL_EINVAL);
    ck_assert_ptr_ne(strstr(pool_errmsg(), "timeout_ms is -2"), NULL);
    ck_assert_int_eq(pool_future_result(future, 0, "i", &other), POOL_EFORMAT);
    ck_assert_int_lt(pool_future_result(future, 0, "dd", &value, &second), 0);
    ck_assert_int_eq(pool_future_result(future, 0, ""), 0);
    ck_assert_int_eq(pool_future_result(future, 0, NULL), 0);
    pool_future_free(future);
    drive_destroy(d, pool);
}

/* How many of three calls are refused so. The future is not freed either. */
static int
refusals(pool_future_t *future, int code)
{
    double value;
    int n = (pool_future_error(future, 0) == code) +
            (pool_future_bytes(future, 0, NULL, NULL) == code) +
            (pool_future_result(future, 0, "d", &value) == code);

    pool_future_free(future);
    return n;
}

static void
a_child_is_refused(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 1);
    pool_future_t *future = settled(pool, 1), *freed = settled(pool, 2);
    int status = 0;

    pool_future_free(freed);
    pid_t child = fork();
    if (child == 0) {
        int n = refusals(future, POOL_EFORKED);
        pool_destroy(pool);
        _exit(n);
    }
    ck_assert_int_gt(child, 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 3);
    ck_assert_int_eq(pool_future_error(future, 0), 0);
    pool_future_free(future);
    drive_destroy(d, pool);
}

static void *
ask_as_a_stranger(void *future)
{
    return refusals(future, POOL_EPERM) == 3 ? future : NULL;
}

/* Where there is no lock, the thread that owns the pool reads alone. */
static void
a_stranger_is_refused(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 1);
    pool_future_t *future = submit(pool, task_nothing);

    ck_assert_int_eq(drive_error(d, future), 0);
    in_another_thread(ask_as_a_stranger, future);
    ck_assert_int_eq(pool_future_error(future, 0), 0);
    pool_future_free(future);
    drive_destroy(d, pool);
}

/* ---- what is not freed so ----------------------------------------------- */

static const uint8_t large[5000] = {7};

struct long_read {
    pool_future_t *future;
    size_t size;
};

static void *
read_bytes(void *data)
{
    const struct long_read *r = data;
    const void *bytes = NULL;
    size_t size = 0;

    return pool_future_bytes(r->future, -1, &bytes, &size) == 0 &&
                   size == r->size && memcmp(bytes, large, size) == 0
               ? data
               : NULL;
}

/* Read with no lock too; but a block or a deadline is to be given back. */
static void
long_ones_and_those_with_options(const struct drive *d)
{
    pool_task_options_t options = POOL_TASK_OPTIONS_INIT;
    pool_t *pool = drive_pool(d, 1);
    struct long_read reads[2] = {{NULL, sizeof large}, {NULL, 10}};

    options.deadline_ms = PATIENCE_MS;
    for (size_t i = 0; i < COUNT(reads); i++) {
        ck_assert_int_eq(
            pool_submit_bytes(pool, &reads[i].future, i == 0 ? NULL : &options,
                task_echo, large, reads[i].size),
            0);
        ck_assert_int_eq(drive_error(d, reads[i].future), 0);
        while_locked(pool, read_bytes, &reads[i]);
        pool_future_free(reads[i].future);
    }
    drive_destroy(d, pool);
}

/* A failure is told under the lock. */
static void
failed_ones(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 1);
    pool_future_t *failed = submit(pool, task_fail);

    ck_assert_int_eq(drive_error(d, failed), POOL_ETASK);
    ck_assert_int_eq(pool_future_bytes(failed, 0, NULL, NULL), POOL_ETASK);
    ck_assert_ptr_ne(strstr(pool_errmsg(), "row 3 is wet"), NULL);
    ck_assert_ptr_nonnull(pool_future_failure(failed));
    pool_future_free(failed);
    drive_destroy(d, pool);
}

/* ---- memory ------------------------------------------------------------- */

static long
blocks(void)
{
    return __atomic_load_n(&pool__mem_live, __ATOMIC_ACQUIRE);
}

/* One after the other, all live in the cells of the first few. */
static void
cells_are_used_again(const struct drive *d)
{
    enum { AT_ONCE = 100, ROUNDS = 200 };
    pool_t *pool = drive_pool(d, 1);
    pool_future_t *f[AT_ONCE];
    long before = 0;

    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < AT_ONCE; i++)
            f[i] = submit(pool, task_nothing);
        for (int i = 0; i < AT_ONCE; i++)
            ck_assert_int_eq(drive_end(d, f[i]), 0);
        if (round == 1)
            before = blocks();
    }
    if (!IS_DEBUG)
        ck_assert_int_le((int)(blocks() - before), 2);
    drive_destroy(d, pool);
}

/* What was freed last is still on its way when the pool ends. */
static void
freed_before_the_pool(const struct drive *d)
{
    enum { N = 1000 };
    pool_t *pool = drive_pool(d, 1);
    pool_future_t *f[N];

    for (int i = 0; i < N; i++)
        f[i] = submit(pool, task_nothing);
    ck_assert_int_eq(
        drive_wait(d, f, N, POOL_ALL_COMPLETED, PATIENCE_MS, NULL), 0);
    for (int i = 0; i < N; i++)
        pool_future_free(f[i]);
    f[0] = submit(pool, task_nothing); /* takes a part of them back */
    ck_assert_int_eq(drive_end(d, f[0]), 0);
    drive_destroy(d, pool);
}

static void
freed_after_the_pool(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 1);
    pool_future_t *one = settled(pool, 1), *two = settled(pool, 2);
    double value;

    drive_destroy(d, pool);
    ck_assert_int_eq(pool_future_result(one, 0, "d", &value), 0);
    ck_assert(value == 2);
    pool_future_free(one);
    ck_assert_int_eq(pool_future_error(two, -1), 0);
    pool_future_free(two);
}

/* ---- threads ------------------------------------------------------------ */

#define THREADS 3
#define EACH 3000

struct user {
    pthread_t thread;
    pool_t *pool;
    pool_future_t **mine, **next; /* where one is put for another thread */
    int wrong;
};

/* NULL where it is refused, but for a lack of room. */
static pool_future_t *
submit_some_time(pool_t *pool, double x)
{
    pool_future_t *future = NULL;
    int rc;

    while (
        (rc = pool_submit(pool, &future, task_double, "d", x)) == POOL_EAGAIN)
        sched_yield();
    return future;
}

static int
take_and_free(pool_future_t **slot, pool_future_t *put)
{
    pool_future_t *future = __atomic_exchange_n(slot, put, __ATOMIC_ACQ_REL);
    double value = 0;

    if (future == NULL)
        return 0;
    int rc = pool_future_result(future, -1, "d", &value);
    pool_future_free(future);
    return rc != 0 || value < 2;
}

static void *
submit_and_free(void *data)
{
    struct user *u = data;

    for (int i = 1; i <= EACH; i++) {
        pool_future_t *future = submit_some_time(u->pool, i);
        u->wrong += future == NULL || take_and_free(u->next, future) ||
                    take_and_free(u->mine, NULL);
    }
    return NULL;
}

/* Each frees what another has submitted, while all submit; and where the queue
 * is often full, so that those who settle tell the program of room. */
static void
all_submit_and_free(const struct drive *d)
{
    static const int64_t most[] = {0, 2};

    for (size_t n = 0; n < COUNT(most); n++) {
        pool_options_t options = POOL_OPTIONS_INIT;
        options.workers = options.min_workers = 2;
        options.max_pending = most[n];
        pool_t *pool = drive_open(d, &options);
        struct user users[THREADS];
        pool_future_t *slots[THREADS] = {NULL};
        for (int i = 0; i < THREADS; i++) {
            users[i] = (struct user){.pool = pool,
                .mine = &slots[i],
                .next = &slots[(i + 1) % THREADS]};
            ck_assert_int_eq(pthread_create(&users[i].thread, NULL,
                                 submit_and_free, &users[i]),
                0);
        }
        for (int i = 0; i < THREADS; i++) {
            ck_assert_int_eq(pthread_join(users[i].thread, NULL), 0);
            ck_assert_int_eq(users[i].wrong, 0);
        }
        for (int i = 0; i < THREADS; i++)
            ck_assert_int_eq(take_and_free(&slots[i], NULL), 0);
        drive_destroy(d, pool);
    }
}

struct freer {
    pthread_t thread;
    pool_future_t **futures;
    int *half, *ends; /* raised by each; by who ends the pool */
    int wrong;
};

/* Half of them before the pool begins to end, the others slowly. */
static void *
free_all(void *data)
{
    struct freer *freer = data;
    double value;

    for (int i = 0; i < EACH; i++) {
        if (i == EACH / 2) {
            raise_word(freer->half, 1);
            freer->wrong += !test_await(freer->ends, 1);
        }
        if (i >= EACH / 2 && i % 16 == 0)
            usleep(1);
        freer->wrong +=
            pool_future_result(freer->futures[i], -1, "d", &value) != 0 ||
            value != 2 * i;
        pool_future_free(freer->futures[i]);
    }
    return NULL;
}

/* Threads read and free, and have the only reference, or one of two; the pool
 * ends among them. */
static void
free_to_the_end(const struct drive *d, bool shared)
{
    pool_t *pool = drive_pool(d, 2);
    size_t n = (size_t)THREADS * EACH;
    pool_future_t **all = calloc(n, sizeof(pool_future_t *));
    struct freer freers[THREADS];
    int half = 0, ends = 0;

    for (size_t i = 0; i < n; i++) {
        ck_assert_int_eq(
            pool_submit(pool, &all[i], task_double, "d", (double)(i % EACH)),
            0);
        if (shared)
            ck_assert_ptr_eq(pool_future_ref(all[i]), all[i]);
    }
    ck_assert_int_eq(
        drive_wait(d, all, n, POOL_ALL_COMPLETED, PATIENCE_MS, NULL), 0);
    for (size_t i = 0; i < THREADS; i++) {
        freers[i] = (struct freer){
            .futures = &all[i * EACH], .half = &half, .ends = &ends};
        ck_assert_int_eq(
            pthread_create(&freers[i].thread, NULL, free_all, &freers[i]), 0);
    }
    for (size_t i = 0; shared && i < n; i++)
        pool_future_free(all[i]);
    drive_until_word(d, &half, THREADS);
    raise_word(&ends, 1);
    drive_destroy(d, pool);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(freers[i].thread, NULL), 0);
        ck_assert_int_eq(freers[i].wrong, 0);
    }
    free(all);
}

static void
the_pool_ends_meanwhile(const struct drive *d)
{
    free_to_the_end(d, false);
}

static void
the_last_of_two_frees(const struct drive *d)
{
    free_to_the_end(d, true);
}

static void
count(pool_future_t *future, void *word)
{
    (void)future;
    raise_word(word, 1);
}

/* A callback has a reference of its own until it has returned. */
static void
freed_while_it_is_told(const struct drive *d)
{
    enum { N = 2000 };
    pool_t *pool = drive_pool(d, 2);
    int told = 0;

    for (int i = 0; i < N; i++) {
        pool_future_t *f = submit(pool, task_nothing);
        ck_assert_int_eq(pool_future_add_done_callback(f, count, &told), 0);
        ck_assert_int_eq(drive_end(d, f), 0);
    }
    drive_until_word(d, &told, N);
    drive_destroy(d, pool);
    ck_assert_int_eq(told, N);
}

static const struct drive_case cases[] = {
    {"while_another_has_the_lock", while_another_has_the_lock, IN_THREAD},
    {"what_is_wrong_is_refused", what_is_wrong_is_refused,
        IN_CALLER | IN_THREAD},
    {"a_child_is_refused", a_child_is_refused, IN_CALLER | IN_THREAD},
    {"a_stranger_is_refused", a_stranger_is_refused, IN_CALLER | IN_HOST},
    {"long_ones_and_those_with_options", long_ones_and_those_with_options,
        IN_THREAD},
    {"failed_ones", failed_ones, IN_THREAD},
    {"cells_are_used_again", cells_are_used_again, IN_ALL},
    {"freed_before_the_pool", freed_before_the_pool, IN_ALL},
    {"freed_after_the_pool", freed_after_the_pool, IN_CALLER | IN_THREAD},
    {"all_submit_and_free", all_submit_and_free, IN_THREAD},
    {"the_pool_ends_meanwhile", the_pool_ends_meanwhile, IN_THREAD},
    {"the_last_of_two_frees", the_last_of_two_frees, IN_THREAD},
    {"freed_while_it_is_told", freed_while_it_is_told, IN_THREAD},
    {NULL, NULL, 0},
};

int
main(int argc, char **argv)
{
    return drive_main("exec_ready", cases, argc, argv);
}
