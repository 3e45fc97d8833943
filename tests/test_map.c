/* Maps: results in the order of the inputs, exact windows, early ends, full
 * pools and misuse, on every drive. */
#include "map_check.h"

#include <limits.h>

/* ---- as a loop would -------------------------------------------------- */

static void
chunks_of_forty(const struct drive *drive)
{
    static const int sizes[] = {0, 1, 3, 6, 40, 50};
    pool_t *pool = make(drive);

    for (size_t s = 0; s < COUNT(sizes); s++) {
        struct numbers numbers = {.count = ITEMS};
        pool_map_t *map = begin(pool, task_square, &numbers, sizes[s], 0);
        ck_assert_int_eq(numbers.taken, ITEMS);
        ck_assert_int_eq(numbers.ends, 1);
        for (int i = 0; i < ITEMS; i++)
            expect_number(map, i * i);
        expect_end(map);
        ck_assert_int_eq(numbers.ends, 1);
        pool_map_free(map);
    }
    end_pool(pool);
}

static void
as_a_loop(int unused)
{
    (void)unused;
    each_drive(chunks_of_forty);
}

static int
next_mixed(void *data, pool_enc_t *arguments)
{
    int *i = data;
    double numbers[3] = {*i, 0.5 * *i, -1};

    if (*i == 7)
        return 0;
    pool_enc_text(arguments, "abcdefg", (size_t)*i);
    pool_enc_numbers(arguments, POOL_F64, numbers, 3);
    (*i)++;
    return 1;
}

/* The array is read in place on both sides: so it is aligned. */
static int
task_mixed(pool_call_t *call)
{
    const double *numbers = NULL;
    const void *data;
    const char *text;
    pool_dec_t dec;
    size_t size, length = 0, count = 0;

    pool_call_bytes(call, &data, &size);
    pool_dec_init(&dec, data, size);
    pool_dec_text(&dec, &text, &length);
    pool_dec_numbers(&dec, POOL_F64, (const void **)&numbers, &count);
    int rc = pool_dec_finish(&dec);
    if (rc < 0)
        return pool_call_fail(call, 7, "%s", pool_errmsg());
    return pool_call_return(call, "iad", (int)length, numbers, (size_t)count);
}

static void
arrays_in_place(const struct drive *drive)
{
    pool_t *pool = make(drive);

    for (int chunk = 1; chunk <= 4; chunk++) {
        pool_map_options_t options = POOL_MAP_OPTIONS_INIT;
        pool_map_t *map;
        int input = 0;
        options.chunksize = chunk;
        ck_assert_int_eq(
            pool_map(pool, &map, &options, task_mixed, next_mixed, &input), 0);
        for (int i = 0; i < 7; i++) {
            const double *numbers;
            size_t count;
            int32_t length;
            int rc =
                map_next(map, PATIENCE_MS, "iad", &length, &numbers, &count);
            ck_assert_msg(rc == 0, "%d: %s", i, pool_errmsg());
            ck_assert_int_eq(length, i);
            ck_assert_uint_eq(count, 3);
            ck_assert_uint_eq((uintptr_t)numbers % 8, 0);
            ck_assert_double_eq(numbers[1], 0.5 * i);
        }
        expect_end(map);
        pool_map_free(map);
    }
    end_pool(pool);
}

static void
aligned(int unused)
{
    (void)unused;
    each_drive(arrays_in_place);
}

/* ---- windows ---------------------------------------------------------- */

static int
smaller(int a, int b)
{
    return a < b ? a : b;
}

static void
window(pool_t *pool, int buffer, int chunk, int count)
{
    struct numbers numbers = {.count = count};
    pool_map_t *map = begin(pool, task_square, &numbers, chunk, buffer);
    int most = count < 0 ? INT_MAX : count;

    ck_assert_int_eq(numbers.taken, smaller(buffer, most));
    for (int i = 0; i < ITEMS && i < most; i++) {
        expect_number(map, i * i);
        ck_assert_int_eq(numbers.taken, smaller(buffer + i + 1, most));
    }
    if (count >= 0)
        expect_end(map);
    ck_assert_int_eq(numbers.ends, count >= 0);
    pool_map_free(map);
}

static void
windows_of(const struct drive *drive)
{
    static const int sizes[] = {1, 2, 9, 10, 11};
    pool_t *pool = make(drive);

    for (size_t b = 0; b < COUNT(sizes); b++)
        for (size_t c = 0; c < COUNT(sizes); c++) {
            window(pool, sizes[b], sizes[c], 10);
            window(pool, sizes[b], sizes[c], -1); /* endless */
        }
    end_pool(pool);
}

static void
windows(int unused)
{
    (void)unused;
    each_drive(windows_of);
}

static void
nothing(const struct drive *drive)
{
    pool_t *pool = make(drive);

    for (int buffer = 0; buffer < 2; buffer++) {
        struct numbers numbers = {.count = 0};
        pool_map_t *map = begin(pool, task_square, &numbers, 3, buffer);
        expect_end(map);
        ck_assert_int_eq(numbers.ends, 1);
        pool_map_free(map);
    }
    end_pool(pool);
}

static void
empty(int unused)
{
    (void)unused;
    each_drive(nothing);
}

static void
failing_input(pool_t *pool, int at, int chunk, int buffer)
{
    struct numbers numbers = {.count = 10, .fail_at = at, .code = -77};
    pool_map_t *map = begin(pool, task_square, &numbers, chunk, buffer);

    for (int i = 0; i < at; i++)
        expect_number(map, i * i);
    ck_assert_int_eq(map_next(map, PATIENCE_MS, NULL), -77);
    ck_assert_ptr_null(pool_map_failure(map));
    expect_end(map);
    ck_assert_int_eq(numbers.ends, 1);
    pool_map_free(map);
}

static void
inputs_that_fail(const struct drive *drive)
{
    pool_t *pool = make(drive);

    for (int chunk = 1; chunk < 10; chunk += 2)
        for (int buffer = 0; buffer < 10; buffer += 3) {
            failing_input(pool, 0, chunk, buffer);
            failing_input(pool, 3, chunk, buffer);
            failing_input(pool, 7, chunk, buffer);
        }
    end_pool(pool);
}

static void
input_fails(int unused)
{
    (void)unused;
    each_drive(inputs_that_fail);
}

/* ---- waiting, and going early ----------------------------------------- */

static int *gate; /* shared: item 2 waits until it is 1 */

static int
task_gated(pool_call_t *call)
{
    int32_t x;
    int rc = pool_call_args(call, "i", &x);

    if (rc == 0 && x == 2 && !test_await(gate, 1))
        return 9;
    return rc < 0 ? rc : pool_call_return(call, "i", x);
}

static void
slow_item(const struct drive *drive)
{
    int32_t x = -1;

    if (drive->backend == POOL_SERIAL)
        return; /* it would wait for itself */
    pool_t *pool = make(drive);
    for (int chunk = 1; chunk <= 3; chunk++) {
        struct numbers numbers = {.count = 5};
        __atomic_store_n(gate, 0, __ATOMIC_RELEASE);
        pool_map_t *map = begin(pool, task_gated, &numbers, chunk, 5);
        int before = chunk == 3 ? 0 : 2; /* items of chunks before its own */
        for (int i = 0; i < before; i++)
            expect_number(map, i);
        int taken = numbers.taken;
        for (int i = 0; i < 2; i++) {
            ck_assert_int_eq(map_next(map, i, "i", &x), POOL_ETIMEDOUT);
            ck_assert_ptr_null(pool_map_failure(map));
        }
        ck_assert_int_eq(numbers.taken, taken);
        __atomic_store_n(gate, 1, __ATOMIC_RELEASE);
        for (int i = before; i < 5; i++)
            expect_number(map, i);
        expect_end(map);
        pool_map_free(map);
    }
    end_pool(pool);
}

static void
timeouts(int unused)
{
    (void)unused;
    gate = test_shared(sizeof *gate);
    each_drive(slow_item);
}

static int *runs; /* shared: how many items ran, or how often each */

static int
task_counted(pool_call_t *call)
{
    int32_t x;
    int rc = pool_call_args(call, "i", &x);

    __atomic_add_fetch(runs, 1, __ATOMIC_ACQ_REL);
    if (rc == 0 && x == 1 && !test_await(gate, 1))
        return 9;
    return rc < 0 ? rc : pool_call_return(call, "i", x);
}

/* A map that is freed while item 1 runs: none of the others is run, also of
 * those that the worker was sent ahead. */
static void
early_close(const struct drive *drive)
{
    enum { MANY = 20000 };
    struct numbers numbers = {.count = MANY};
    pool_future_t *future;

    if (drive->backend == POOL_SERIAL || drive->workers > 1)
        return;
    pool_t *pool = make(drive);
    __atomic_store_n(gate, 0, __ATOMIC_RELEASE);
    __atomic_store_n(runs, 0, __ATOMIC_RELEASE);
    pool_map_t *map = begin(pool, task_counted, &numbers, 1, 0);
    expect_number(map, 0);
    ck_assert(test_await(runs, 2));
    pool_map_free(map);
    __atomic_store_n(gate, 1, __ATOMIC_RELEASE);
    ck_assert_int_eq(pool_submit(pool, &future, task_pid, ""), 0);
    ck_assert_int_eq(pool_future_result(future, PATIENCE_MS, NULL), 0);
    pool_future_free(future);
    ck_assert_int_eq(*runs, 2);
    end_pool(pool);
}

static void
close_early(int unused)
{
    (void)unused;
    gate = test_shared(sizeof *gate);
    runs = test_shared(sizeof *runs);
    each_drive(early_close);
}

/* Freed at any point, with anything taken; and after its pool. */
static void
ends_anywhere(const struct drive *drive)
{
    for (int taken = 0; taken <= 10; taken += 5)
        for (int chunk = 1; chunk <= 10; chunk += 3) {
            struct numbers numbers = {.count = 10};
            pool_t *pool = make(drive);
            pool_map_t *map = begin(pool, task_square, &numbers, chunk, 6);
            for (int i = 0; i < taken; i++)
                expect_number(map, i * i);
            end_pool(pool);
            int rc = 0;
            for (int i = 0; i < 12 && rc != POOL_ENOENT; i++)
                rc = map_next(map, PATIENCE_MS, NULL);
            ck_assert_int_eq(rc, POOL_ENOENT);
            pool_map_free(map);
        }
    pool_map_free(NULL);
}

static void
pool_goes_first(int unused)
{
    (void)unused;
    each_drive(ends_anywhere);
}

/* ---- a full pool ------------------------------------------------------ */

static void
full(const struct drive *drive)
{
    static const int limits[] = {1, 2, 5};
    pool_options_t options = POOL_OPTIONS_INIT;

    for (size_t n = 0; n < COUNT(limits); n++) {
        options.max_pending = limits[n];
        pool_t *pool = make_with(drive, &options);
        for (int chunk = 1; chunk <= 7; chunk += 3)
            for (int buffer = 0; buffer <= 9; buffer += 3) {
                struct numbers numbers = {.count = 20};
                pool_map_t *map =
                    begin(pool, task_square, &numbers, chunk, buffer);
                ck_assert_int_eq(numbers.taken, buffer != 0 ? buffer : 20);
                for (int i = 0; i < 20; i++)
                    expect_number(map, i * i);
                expect_end(map);
                pool_map_free(map);
            }
        end_pool(pool);
    }
}

/* Tasks of others fill it: that is no end of the map. */
static void
full_of_others(const struct drive *drive)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    struct numbers numbers = {.count = 3};
    pool_future_t *future;

    if (drive->backend == POOL_SERIAL)
        return;
    options.max_pending = 1;
    pool_t *pool = make_with(drive, &options);
    __atomic_store_n(gate, 0, __ATOMIC_RELEASE);
    ck_assert_int_eq(pool_submit(pool, &future, task_gated, "i", 2), 0);
    pool_map_t *map = begin(pool, task_square, &numbers, 2, 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(map_next(map, 0, NULL), POOL_ETIMEDOUT);
    __atomic_store_n(gate, 1, __ATOMIC_RELEASE);
    while (in_host && pool_future_error(future, 0) == POOL_ETIMEDOUT)
        host_turn();
    ck_assert_int_eq(pool_future_error(future, in_host ? 0 : PATIENCE_MS), 0);
    pool_future_free(future);
    for (int i = 0; i < 3; i++)
        expect_number(map, i * i);
    expect_end(map);
    pool_map_free(map);
    end_pool(pool);
}

static void
bounded(int unused)
{
    (void)unused;
    gate = test_shared(sizeof *gate);
    each_drive(full);
    each_drive(full_of_others);
}

/* After a shutdown the results that are there come, then its code, once. */
static void
shut(const struct drive *drive)
{
    struct numbers numbers = {.count = -1}, other = {.count = 3};
    pool_map_t *map, *none = NULL;
    pool_t *pool = make(drive);

    map = begin(pool, task_square, &numbers, 1, 3);
    expect_number(map, 0);
    ck_assert_int_eq(pool_shutdown(pool, 0), 0);
    for (int i = 1; i < 4; i++)
        expect_number(map, i * i);
    ck_assert_int_eq(map_next(map, PATIENCE_MS, NULL), POOL_ESHUTDOWN);
    expect_end(map);
    ck_assert_int_eq(
        pool_map(pool, &none, NULL, task_square, next_number, &other),
        POOL_ESHUTDOWN);
    ck_assert_ptr_null(none);
    ck_assert_int_le(other.taken, 1);
    pool_map_free(map);
    end_pool(pool);
}

static void
shutdown_of(int unused)
{
    (void)unused;
    each_drive(shut);
}

/* ---- retries, seeds --------------------------------------------------- */

static int
task_third_time(pool_call_t *call)
{
    int32_t x;
    int rc = pool_call_args(call, "i", &x);

    if (rc < 0)
        return rc;
    if (__atomic_add_fetch(&runs[x], 1, __ATOMIC_ACQ_REL) < 3)
        return pool_call_fail(call, 4, "not yet");
    return pool_call_return(call, "i", x);
}

/* An item of a chunk is run again alone. */
static void
items_again(const struct drive *drive)
{
    pool_t *pool = make(drive);

    /* A serial pool runs a task once; items of a chunk all the same. */
    for (int chunk = 1 + (drive->backend == POOL_SERIAL); chunk <= 4; chunk++)
        for (int retries = 1; retries <= 2; retries++) {
            struct numbers numbers = {.count = 8};
            pool_map_options_t options = POOL_MAP_OPTIONS_INIT;
            pool_map_t *map;
            options.chunksize = chunk;
            options.retries = retries;
            options.retry_on = POOL_RETRY_TASK;
            memset(runs, 0, 8 * sizeof *runs);
            ck_assert_int_eq(pool_map(pool, &map, &options, task_third_time,
                                 next_number, &numbers),
                0);
            for (int i = 0; i < 8; i++) {
                if (retries == 2)
                    expect_number(map, i);
                else
                    ck_assert_int_eq(
                        expect_failure(map, POOL_ETASK)->attempts, 2);
                ck_assert_int_eq(runs[i], retries + 1);
            }
            pool_map_free(map);
        }
    end_pool(pool);
}

static void
retries(int unused)
{
    (void)unused;
    runs = test_shared(8 * sizeof *runs);
    each_drive(items_again);
}

static int
task_seed(pool_call_t *call)
{
    return pool_call_return(call, "t", pool_call_seed(call));
}

/* Each item has random bits of its own, the same wherever it runs. */
static void
seeds_of(const struct drive *drive)
{
    static uint64_t first[4][ITEMS];
    pool_options_t base = POOL_OPTIONS_INIT;
    uint64_t seeds[ITEMS];

    base.seed = 4711;
    for (int chunk = 0; chunk < 4; chunk++) {
        struct numbers numbers = {.count = ITEMS};
        pool_t *pool = make_with(drive, &base);
        pool_map_t *map = begin(pool, task_seed, &numbers, 3 * chunk + 1, 0);
        for (int i = 0; i < ITEMS; i++) {
            int rc = map_next(map, PATIENCE_MS, "t", &seeds[i]);
            ck_assert_msg(rc == 0, "%s", pool_errmsg());
            for (int other = 0; other < i; other++)
                ck_assert(seeds[other] != seeds[i]);
        }
        if (drive == &drives[0])
            memcpy(first[chunk], seeds, sizeof seeds);
        ck_assert(memcmp(first[chunk], seeds, sizeof seeds) == 0);
        pool_map_free(map);
        end_pool(pool);
    }
}

static void
seeds(int unused)
{
    (void)unused;
    each_drive(seeds_of);
}

/* ---- misuse ----------------------------------------------------------- */

static void
refuses(const struct drive *drive)
{
    struct numbers numbers = {.count = 3};
    pool_t *pool = make(drive);
    pool_map_t *map = NULL;
    static const int64_t wrong[] = {-1, INT64_MIN};

    ck_assert_int_eq(
        pool_map(NULL, &map, NULL, task_square, next_number, &numbers),
        POOL_EINVAL);
    ck_assert_int_eq(
        pool_map(pool, NULL, NULL, task_square, next_number, &numbers),
        POOL_EINVAL);
    ck_assert_int_eq(
        pool_map(pool, &map, NULL, NULL, next_number, &numbers), POOL_EINVAL);
    ck_assert_int_eq(
        pool_map(pool, &map, NULL, task_square, NULL, &numbers), POOL_EINVAL);
    for (size_t i = 0; i < 5; i++) {
        pool_map_options_t options = POOL_MAP_OPTIONS_INIT;
        if (i < 2)
            options.chunksize = wrong[i];
        else if (i < 4)
            options.buffersize = wrong[i - 2];
        else
            options.size--;
        ck_assert_int_eq(
            pool_map(pool, &map, &options, task_square, next_number, &numbers),
            POOL_EINVAL);
    }
    ck_assert_int_eq(numbers.taken, 0);
    ck_assert_ptr_null(map);
    ck_assert_int_eq(map_next(NULL, 0, NULL), POOL_EINVAL);
    ck_assert_ptr_null(pool_map_failure(NULL));
    map = begin(pool, task_square, &numbers, 1, 0);
    ck_assert_int_eq(map_next(map, -2, NULL), POOL_EINVAL);
    expect_number(map, 0);
    ck_assert_int_eq(map_next(map, PATIENCE_MS, "s", NULL), POOL_EFORMAT);
    expect_number(map, 4); /* it counted as taken */
    pool_map_free(map);
    end_pool(pool);
}

static void
misuse(int unused)
{
    (void)unused;
    each_drive(refuses);
}

int
main(int argc, char **argv)
{
    static const struct test tests[] = {
        {"as_a_loop", as_a_loop},
        {"aligned", aligned},
        {"windows", windows},
        {"empty", empty},
        {"input_fails", input_fails},
        {"timeouts", timeouts},
        {"close_early", close_early},
        {"pool_goes_first", pool_goes_first},
        {"bounded", bounded},
        {"shutdown", shutdown_of},
        {"retries", retries},
        {"seeds", seeds},
        {"misuse", misuse},
        {NULL, NULL},
    };

    return test_main("map", tests, argc, argv);
}
