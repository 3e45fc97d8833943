/* Thread drive: a value that is there is read, and the future of a short one
 * freed, with no lock. Who sees it, what is refused, where its memory goes. */
#include <pthread.h>
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

/* ---- with no lock ------------------------------------------------------- */

#ifdef POOL_DEBUG
#define FREES_LOCK 1 /* it looks whether the future was freed before */
#else
#define FREES_LOCK 0
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
    if (!FREES_LOCK)
        pool_future_free(future);
    return right ? future : NULL;
}

/* Held by this thread, the lock would keep the other one for ever. */
static void
while_another_has_the_lock(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 1);
    pool_future_t *future = settled(pool, 21);
    pthread_t reader;
    void *right = NULL;

    ck_assert_int_eq(pool__enter_pool(pool, "a test"), 0);
    ck_assert_int_eq(pthread_create(&reader, NULL, read_and_free, future), 0);
    ck_assert_int_eq(pthread_join(reader, &right), 0);
    pool__leave(pool->core);
    ck_assert_ptr_eq(right, future);
    if (FREES_LOCK)
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

    pool_future_free(freed); /* lies there, where the fork finds it */
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
    pthread_t stranger;
    void *right = NULL;

    ck_assert_int_eq(drive_error(d, future), 0);
    ck_assert_int_eq(
        pthread_create(&stranger, NULL, ask_as_a_stranger, future), 0);
    ck_assert_int_eq(pthread_join(stranger, &right), 0);
    ck_assert_ptr_eq(right, future);
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
        pthread_t reader;
        void *right = NULL;
        ck_assert_int_eq(
            pool_submit_bytes(pool, &reads[i].future, i == 0 ? NULL : &options,
                task_echo, large, reads[i].size),
            0);
        ck_assert_int_eq(drive_error(d, reads[i].future), 0);
        ck_assert_int_eq(pool__enter_pool(pool, "a test"), 0);
        ck_assert_int_eq(
            pthread_create(&reader, NULL, read_bytes, &reads[i]), 0);
        ck_assert_int_eq(pthread_join(reader, &right), 0);
        pool__leave(pool->core);
        ck_assert_ptr_eq(right, &reads[i]);
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

#define FREERS 3
#define EACH 2000

struct freer {
    pthread_t thread;
    pool_future_t **futures;
    int *go;
    int wrong;
};

static void *
free_all(void *data)
{
    struct freer *freer = data;
    double value;

    if (!test_await(freer->go, 1))
        freer->wrong = -1;
    for (int i = 0; i < EACH; i++) {
        freer->wrong +=
            pool_future_result(freer->futures[i], -1, "d", &value) != 0 ||
            value != 2 * i;
        pool_future_free(freer->futures[i]);
    }
    return NULL;
}

/* While others read and free, with or without another reference to each; the
 * pool's end comes among them. */
static void
free_while(const struct drive *d, bool shared, bool destroyed)
{
    pool_t *pool = drive_pool(d, 2);
    pool_future_t **all =
        calloc((size_t)FREERS * EACH, sizeof(pool_future_t *));
    struct freer freers[FREERS];
    int go = 0;

    for (int i = 0; i < FREERS * EACH; i++) {
        ck_assert_int_eq(
            pool_submit(pool, &all[i], task_double, "d", (double)(i % EACH)),
            0);
        if (shared)
            ck_assert_ptr_eq(pool_future_ref(all[i]), all[i]);
    }
    ck_assert_int_eq(drive_wait(d, all, (size_t)FREERS * EACH,
                         POOL_ALL_COMPLETED, PATIENCE_MS, NULL),
        0);
    for (int i = 0; i < FREERS; i++) {
        freers[i] =
            (struct freer){.futures = &all[(ptrdiff_t)i * EACH], .go = &go};
        ck_assert_int_eq(
            pthread_create(&freers[i].thread, NULL, free_all, &freers[i]), 0);
    }
    raise_word(&go, 1);
    for (int i = 0; shared && i < FREERS * EACH; i++)
        pool_future_free(all[i]);
    for (int i = 0; !destroyed && i < EACH; i++)
        pool_future_free(settled(pool, i));
    if (destroyed)
        drive_destroy(d, pool);
    for (int i = 0; i < FREERS; i++) {
        ck_assert_int_eq(pthread_join(freers[i].thread, NULL), 0);
        ck_assert_int_eq(freers[i].wrong, 0);
    }
    if (!destroyed)
        drive_destroy(d, pool);
    free(all);
}

static void
many_free_at_once(const struct drive *d)
{
    free_while(d, false, false);
}

static void
the_last_of_two_frees(const struct drive *d)
{
    free_while(d, true, false);
}

static void
the_pool_ends_meanwhile(const struct drive *d)
{
    free_while(d, false, true);
    free_while(d, true, true);
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
    {"many_free_at_once", many_free_at_once, IN_THREAD},
    {"the_last_of_two_frees", the_last_of_two_frees, IN_THREAD},
    {"the_pool_ends_meanwhile", the_pool_ends_meanwhile, IN_THREAD},
    {"freed_while_it_is_told", freed_while_it_is_told, IN_THREAD},
    {NULL, NULL, 0},
};

int
main(int argc, char **argv)
{
    return drive_main("exec_ready", cases, argc, argv);
}
