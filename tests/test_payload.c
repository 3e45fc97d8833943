/* Payloads: none, around every threshold, a hundred megabytes, both ways at
 * once; and their limits. */
#define _GNU_SOURCE
#include "support.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../src/mem.h"

#define PAGE ((size_t)4096)

static void
echo(pool_t *pool, size_t size)
{
    unsigned char *bytes = test_pattern(size, (unsigned)size + 1);
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
    unsigned char *bytes = test_pattern(size, (unsigned)size + 1);
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
    unsigned char *bytes = test_pattern(300000, 300001);
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

/* Large tasks that are cancelled while they are being sent leave the worker
 * in good order: what comes after them runs. */
static int
task_wait_shared(pool_call_t *call)
{
    uint64_t address;
    int rc = pool_call_args(call, "t", &address);

    return rc < 0 ? rc : !test_await((int *)(uintptr_t)address, 1);
}

static void
cancelled_while_being_sent(int unused)
{
    enum { N = 10 };
    const size_t size = 20u << 20;
    unsigned char *bytes = test_pattern(size, (unsigned)size + 1);
    int *gate = test_shared(sizeof *gate);
    pool_future_t *gated, *f[N];
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(1);
    for (int i = 0; i < 20; i++) /* learn that an echo is short */
        echo(pool, 10);
    ck_assert_int_eq(pool_submit(pool, &gated, task_wait_shared, "t",
                         (uint64_t)(uintptr_t)gate),
        0);
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(
            pool_submit_bytes(pool, &f[i], NULL, task_echo, bytes, size), 0);
    *gate = 1;
    ck_assert_int_eq(pool_future_error(gated, PATIENCE_MS), 0);
    for (int i = 0; i < N; i++) {
        int rc = pool_future_cancel(f[i]);
        ck_assert(rc == 0 || rc == POOL_EBUSY);
        pool_future_free(f[i]);
    }
    echo(pool, 1000);
    pool_future_free(gated);
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

/* The limit is of results: errors are told however small it is. */
static void
errors_have_room(int unused)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_future_t *f;
    pool_t *pool = NULL;

    (void)unused;
    test_begin();
    options.workers = 1;
    options.max_result = 16;
    ck_assert_int_eq(pool_create(&pool, &options), 0);
    ck_assert_int_eq(pool_submit(pool, &f, task_double, "s", "text"), 0);
    ck_assert_int_eq(pool_future_error(f, PATIENCE_MS), POOL_EFORMAT);
    pool_future_free(f);
    pool_destroy(pool);
    test_end();
}

/* A second return that fails leaves no value, and not half of one. */
static int
task_return_twice(pool_call_t *call)
{
    char *large = calloc(1, 300);

    (void)pool_call_return(call, "s", "first");
    int rc = pool_call_return(call, "sayi", "second", large, (size_t)300, 1);
    free(large);
    (void)rc; /* a careless task */
    return 0;
}

static void
a_failed_return_leaves_nothing(int unused)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    const char *text = "";
    pool_future_t *f;
    pool_t *pool = NULL;
    size_t size = 9;

    (void)unused;
    test_begin();
    options.workers = 1;
    options.max_result = 100;
    ck_assert_int_eq(pool_create(&pool, &options), 0);
    ck_assert_int_eq(pool_submit(pool, &f, task_return_twice, ""), 0);
    ck_assert_int_eq(
        pool_future_result(f, PATIENCE_MS, "s", &text), POOL_EFORMAT);
    ck_assert_int_eq(pool_future_bytes(f, 0, NULL, &size), 0);
    ck_assert_uint_eq(size, 0);
    pool_future_free(f);
    pool_destroy(pool);
    test_end();
}

/* Arguments that kill who reads them fail their task; the others run. */
static void
poisonous_arguments(int unused)
{
    const size_t size = 300u << 20;
    pool_options_t options = POOL_OPTIONS_INIT;
    struct rlimit limit, low;
    pool_future_t *poison, *other;
    unsigned char *bytes = calloc(1, size);
    pool_t *pool = NULL;

    (void)unused;
    test_begin();
    options.workers = 1;
    options.max_argument = POOL_NONE;
    ck_assert_int_eq(getrlimit(RLIMIT_AS, &limit), 0);
    low = limit;
    low.rlim_cur = 600u << 20; /* inherited by the workers */
    if (!TEST_ASAN)
        ck_assert_int_eq(setrlimit(RLIMIT_AS, &low), 0);
    ck_assert_int_eq(pool_create(&pool, &options), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
    ck_assert_int_eq(
        pool_submit_bytes(pool, &poison, NULL, task_echo, bytes, size), 0);
    ck_assert_int_eq(pool_submit(pool, &other, task_double, "d", 1.0), 0);
    int rc = pool_future_error(poison, PATIENCE_MS);
    if (!TEST_ASAN)
        ck_assert_int_eq(rc, POOL_EDIED);
    ck_assert_int_eq(pool_future_error(other, PATIENCE_MS), 0);
    pool_future_free(poison);
    pool_future_free(other);
    pool_destroy(pool);
    free(bytes);
    test_end();
}

/* ---- cells --------------------------------------------------------------- */

static bool
kernel_can_populate(void)
{
#ifdef MADV_POPULATE_WRITE
    void *page = mmap(
        NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    ck_assert_ptr_ne(page, MAP_FAILED);
    bool can = madvise(page, PAGE, MADV_POPULATE_WRITE) == 0;
    munmap(page, PAGE);
    return can;
#else
    return false;
#endif
}

/* Of a page that is wholly in the newest slab: whether it is not there. */
static bool
is_absent(const struct pool__cells *cells, const void *cell)
{
    unsigned char resident = 0;
    uintptr_t page = (uintptr_t)cell / PAGE * PAGE;

    if (page < (uintptr_t)cells->slabs ||
        page + PAGE > (uintptr_t)cells->fresh_end)
        return false;
    ck_assert_int_eq(mincore((void *)page, PAGE, &resident), 0);
    return (resident & 1) == 0;
}

/* None of them is touched; from the second slab on their pages are there. */
static void
cells_come_with_their_pages(int unused)
{
    struct pool__cells cells;
    const void *first = NULL;
    size_t absent = 0;

    (void)unused;
    pool__cells_init(&cells, 1024);
    for (int i = 0; i < 1000; i++) {
        const void *cell = pool__cell_alloc(&cells);
        ck_assert_ptr_nonnull(cell);
        first = i == 0 ? cells.slabs : first;
        absent += cells.slabs != first && is_absent(&cells, cell);
    }
    if (kernel_can_populate())
        ck_assert_uint_eq(absent, 0);
    pool__cells_fini(&cells);
}

static const struct test tests[] = {
    {"cells_come_with_their_pages", cells_come_with_their_pages},
    {"errors_have_room", errors_have_room},
    {"a_failed_return_leaves_nothing", a_failed_return_leaves_nothing},
    {"poisonous_arguments", poisonous_arguments},
    {"every_threshold", every_threshold},
    {"hundred_megabytes", hundred_megabytes},
    {"both_ways_at_once", both_ways_at_once},
    {"sizes_mixed", sizes_mixed},
    {"cancelled_while_being_sent", cancelled_while_being_sent},
    {"limits_hold", limits_hold},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return test_main("payload", tests, argc, argv);
}
