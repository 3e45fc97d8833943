/* Payloads: none, around every threshold, a hundred megabytes, both ways at
 * once; and their limits. */
#include "support.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned char *
pattern(size_t size)
{
    unsigned char *bytes = malloc(size + 1);
    unsigned x = (unsigned)size + 1;

    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < size; i++) {
        x = x * 1664525u + 1013904223u;
        bytes[i] = (unsigned char)(x >> 24);
    }
    return bytes;
}

static void
echo(pool_t *pool, size_t size)
{
    unsigned char *bytes = pattern(size);
    pool_future_t *future;
    const void *data = NULL;
    size_t got = 99;

    ck_assert_int_eq(
        pool_submit_bytes(pool, &future, NULL, task_echo, bytes, size), 0);
    int rc = pool_future_bytes(future, PATIENCE_MS, &data, &got);
    ck_assert_msg(rc == 0, "%s", pool_errmsg());
    ck_assert_uint_eq(got, size);
    ck_assert_int_eq(memcmp(data, bytes, size), 0);
    ck_assert_uint_eq((uintptr_t)data % 8, 0);
    pool_future_free(future);
    free(bytes);
}

static void
every_threshold(int unused)
{
    static const size_t around[] = {0, 8, 80, 4096, 65536 - 16, 65536,
        131072 - 16, 131072, 262144, 1 << 20, 4 << 20};

    (void)unused;
    test_begin();
    for (int backend = POOL_FORK; backend <= POOL_SERIAL; backend++) {
        pool_options_t options = POOL_OPTIONS_INIT;
        pool_t *pool = NULL;
        options.workers = 1;
        options.backend = backend;
        ck_assert_int_eq(pool_create(&pool, &options), 0);
        for (size_t i = 0; i < sizeof around / sizeof around[0]; i++)
            for (size_t d = 0; d < 3; d++)
                if (around[i] + d >= 1)
                    echo(pool, around[i] + d - 1);
        echo(pool, 0);
        pool_destroy(pool);
    }
    test_end();
}

static void
hundred_megabytes(int unused)
{
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(1);
    echo(pool, 100u << 20);
    echo(pool, 5);
    pool_destroy(pool);
    test_end();
}

/* Every worker is sent much while it sends much. */
static void
both_ways_at_once(int unused)
{
    enum { N = 8 };
    const size_t size = 8u << 20;
    unsigned char *bytes = pattern(size);
    pool_future_t *futures[N];
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(2);
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(
            pool_submit_bytes(pool, &futures[i], NULL, task_echo, bytes, size),
            0);
    for (int i = 0; i < N; i++) {
        const void *data;
        size_t got;
        ck_assert_int_eq(
            pool_future_bytes(futures[i], PATIENCE_MS, &data, &got), 0);
        ck_assert_uint_eq(got, size);
        ck_assert_int_eq(memcmp(data, bytes, size), 0);
        pool_future_free(futures[i]);
    }
    pool_destroy(pool);
    free(bytes);
    test_end();
}

/* Small and large ones mixed keep their own answers. */
static void
sizes_mixed(int unused)
{
    enum { N = 400 };
    pool_future_t *futures[N];
    unsigned char *bytes = pattern(300000);
    unsigned seed = 7;
    size_t sizes[N];
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(2);
    for (int i = 0; i < N; i++) {
        sizes[i] = (size_t)rand_r(&seed) % (i % 10 == 0 ? 300000 : 300);
        ck_assert_int_eq(pool_submit_bytes(pool, &futures[i], NULL, task_echo,
                             bytes + i, sizes[i] / 2),
            0);
    }
    for (int i = 0; i < N; i++) {
        const void *data;
        size_t got;
        ck_assert_int_eq(
            pool_future_bytes(futures[i], PATIENCE_MS, &data, &got), 0);
        ck_assert_uint_eq(got, sizes[i] / 2);
        ck_assert_int_eq(memcmp(data, bytes + i, got), 0);
        pool_future_free(futures[i]);
    }
    pool_destroy(pool);
    free(bytes);
    test_end();
}

/* ---- limits ----------------------------------------------------------- */

static int
task_return_sized(pool_call_t *call)
{
    int32_t size, how;
    void *block;
    int rc = pool_call_args(call, "ii", &size, &how);

    if (rc < 0)
        return rc;
    char *bytes = calloc(1, (size_t)size + 1);
    if (bytes == NULL)
        return 1;
    if (how == 0)
        rc = pool_call_return_bytes(call, bytes, (size_t)size);
    else if (how == 1)
        rc = pool_call_return(call, "ay", bytes, (size_t)size);
    else
        rc = pool_call_reserve(call, (size_t)size, &block);
    free(bytes);
    return rc;
}

static void
limits_hold(int unused)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    unsigned char bytes[200] = {0};
    pool_future_t *future = NULL;
    pool_t *pool = NULL;

    (void)unused;
    test_begin();
    options.workers = 1;
    options.max_argument = 100;
    options.max_result = 1000;
    ck_assert_int_eq(pool_create(&pool, &options), 0);
    ck_assert_int_eq(
        pool_submit_bytes(pool, &future, NULL, task_echo, bytes, 101),
        POOL_ETOOBIG);
    ck_assert_ptr_null(future);
    ck_assert(strstr(pool_errmsg(), "101 bytes") != NULL);
    echo(pool, 100);
    for (int how = 0; how < 3; how++) {
        ck_assert_int_eq(
            pool_submit(pool, &future, task_return_sized, "ii", 1001, how), 0);
        ck_assert_int_eq(pool_future_error(future, PATIENCE_MS), POOL_ETOOBIG);
        ck_assert(strstr(pool_future_failure(future)->message,
                      "the limit is 1000") != NULL);
        pool_future_free(future);
    }
    ck_assert_int_eq(
        pool_submit(pool, &future, task_return_sized, "ii", 1000, 0), 0);
    ck_assert_int_eq(pool_future_error(future, PATIENCE_MS), 0);
    pool_future_free(future);
    pool_destroy(pool);
    test_end();
}

static const struct test tests[] = {
    {"every_threshold", every_threshold},
    {"hundred_megabytes", hundred_megabytes},
    {"both_ways_at_once", both_ways_at_once},
    {"sizes_mixed", sizes_mixed},
    {"limits_hold", limits_hold},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return test_main("payload", tests, argc, argv);
}
