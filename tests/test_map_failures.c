/* Maps whose items, chunks, inputs or memory fail, and results and arguments
 * up to their limits. */
#include "map_check.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "mem.h"

/* ---- failures --------------------------------------------------------- */

/* 0: fine; 1: fails with a message; 2: fails without; 3: does not read its
 * arguments; 4: returns too much; and again. */
static int
task_moody(pool_call_t *call)
{
    static char large[4096];
    const char *text;
    int32_t x;
    int rc = pool_call_args(call, "i", &x);

    if (rc < 0)
        return rc;
    switch (x % 5) {
    case 1:
        return pool_call_fail(call, 3, "item %d", (int)x);
    case 2:
        return -x;
    case 3:
        return pool_call_args(call, "s", &text);
    case 4:
        return pool_call_return_bytes(call, large, sizeof large);
    default:
        return pool_call_return(call, "i", x);
    }
}

static void
expect_moody(pool_map_t *map, int i)
{
    const pool_failure_t *failure;
    char text[32];

    switch (i % 5) {
    case 0:
        expect_number(map, i);
        break;
    case 1:
        failure = expect_failure(map, POOL_ETASK);
        snprintf(text, sizeof text, "item %d", i);
        ck_assert_str_eq(failure->message, text);
        ck_assert_int_eq(failure->task_code, 3);
        ck_assert_int_eq(failure->attempts, 1);
        ck_assert_int_eq(failure->signal, 0);
        ck_assert_int_eq(failure->exit_status, -1);
        break;
    case 2:
        ck_assert_int_eq(expect_failure(map, POOL_ETASK)->task_code, -i);
        break;
    case 3:
        expect_failure(map, POOL_EFORMAT);
        break;
    default:
        expect_failure(map, POOL_ETOOBIG);
    }
}

static void
items_that_fail(const struct drive *drive)
{
    pool_options_t options = POOL_OPTIONS_INIT;

    options.max_result = 2048;
    pool_t *pool = make_with(drive, &options);
    for (int chunk = 1; chunk <= 12; chunk++) {
        struct numbers numbers = {.count = 12};
        pool_map_t *map = begin(pool, task_moody, &numbers, chunk, 0);
        for (int i = 0; i < 12; i++)
            expect_moody(map, i);
        expect_end(map);
        pool_map_free(map);
    }
    end_pool(pool);
}

static void
failing_items(int unused)
{
    (void)unused;
    each_drive(items_that_fail);
}

static int
task_grumpy(pool_call_t *call)
{
    return pool_call_fail(call, 5, "a message that is somewhat longer");
}

/* Ten failures fit into 10 x 32 bytes where their messages give way; in less
 * the chunk as a whole fails. */
static void
results_too_large(const struct drive *drive)
{
    static const int limits[] = {320, 319};
    pool_options_t options = POOL_OPTIONS_INIT;

    for (size_t i = 0; i < COUNT(limits); i++) {
        struct numbers numbers = {.count = 10};
        options.max_result = limits[i];
        pool_t *pool = make_with(drive, &options);
        pool_map_t *map = begin(pool, task_grumpy, &numbers, 10, 0);
        for (int n = 0; n < 10; n++)
            expect_failure(map, i == 0 ? POOL_ETASK : POOL_ETOOBIG);
        expect_end(map);
        pool_map_free(map);
        end_pool(pool);
    }
}

static void
large_results(int unused)
{
    (void)unused;
    each_drive(results_too_large);
}

/* Results of a chunk that outgrow whatever room there is at first. */
static int
task_large(pool_call_t *call)
{
    int32_t x;
    void *buffer;
    int rc = pool_call_args(call, "i", &x);

    if (rc == 0)
        rc = pool_call_reserve(call, (size_t)(x + 1) * 9001, &buffer);
    if (rc == 0)
        memset(buffer, x, (size_t)(x + 1) * 9001);
    return rc;
}

static int
next_large(void *data, pool_enc_t *arguments)
{
    static unsigned char bytes[30000];
    int *i = data;

    if (*i == 12)
        return 0;
    memset(bytes, *i, sizeof bytes);
    pool_enc_bytes(arguments, bytes, *i == 9 ? sizeof bytes : (size_t)*i * 900);
    (*i)++;
    return 1;
}

static int
task_same_bytes(pool_call_t *call)
{
    const void *bytes;
    size_t size;
    int rc = pool_call_args(call, "ay", &bytes, &size);

    return rc < 0 ? rc : pool_call_return_bytes(call, bytes, size);
}

static bool
all_are(const unsigned char *bytes, size_t size, int value)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != value)
            return false;
    return true;
}

static int
task_sum_of(pool_call_t *call)
{
    const unsigned char *bytes;
    size_t size;
    int rc = pool_call_args(call, "ay", (const void **)&bytes, &size);

    if (rc == 0 && !all_are(bytes, size, size != 0 ? bytes[0] : 0))
        return 5;
    return rc < 0 ? rc : pool_call_return(call, "ay", bytes, size);
}

/* Chunks close before their bytes exceed max_argument; one input that does so
 * by itself fails alone. */
static void
arguments_too_large(const struct drive *drive)
{
    pool_options_t options = POOL_OPTIONS_INIT;

    options.max_argument = 10000;
    pool_t *pool = make_with(drive, &options);
    for (int chunk = 1; chunk <= 12; chunk++) {
        pool_map_options_t map_options = POOL_MAP_OPTIONS_INIT;
        pool_map_t *map;
        int input = 0;
        map_options.chunksize = chunk;
        int rc =
            pool_map(pool, &map, &map_options, task_sum_of, next_large, &input);
        ck_assert_msg(rc == 0, "%s", pool_errmsg());
        for (int i = 0; i < 12; i++) {
            const void *bytes;
            size_t size;
            rc = map_next(map, PATIENCE_MS, "ay", &bytes, &size);
            ck_assert_int_eq(rc, i == 9 ? POOL_ETOOBIG : 0);
            ck_assert(rc < 0 || size == (size_t)i * 900);
            ck_assert(rc < 0 || all_are(bytes, size, i));
        }
        expect_end(map);
        pool_map_free(map);
    }
    end_pool(pool);
}

static void
results_of_any_size(const struct drive *drive)
{
    pool_t *pool = make(drive);

    for (int chunk = 1; chunk <= ITEMS; chunk += 13) {
        struct numbers numbers = {.count = ITEMS};
        pool_map_t *map = begin(pool, task_large, &numbers, chunk, 0);
        for (int i = 0; i < ITEMS; i++)
            ck_assert_msg(map_next(map, PATIENCE_MS, "") == 0, "%d: %s", i,
                pool_errmsg());
        expect_end(map);
        pool_map_free(map);
    }
    for (int chunk = 1; chunk <= 12; chunk += 11) {
        pool_map_options_t options = POOL_MAP_OPTIONS_INIT;
        pool_map_t *map;
        int input = 0;
        options.chunksize = chunk;
        ck_assert_int_eq(
            pool_map(pool, &map, &options, task_same_bytes, next_large, &input),
            0);
        /* A payload of zeros is that many integers 0. */
        ck_assert_int_eq(map_next(map, PATIENCE_MS, ""), 0);
        ck_assert_int_eq(map_next(map, PATIENCE_MS, "i", NULL),
            POOL_EFORMAT); /* 900 of them: taken all the same */
        for (int i = 2; i < 12; i++)
            ck_assert_int_eq(map_next(map, PATIENCE_MS, NULL), 0);
        expect_end(map);
        pool_map_free(map);
    }
    end_pool(pool);
}

static void
sizes(int unused)
{
    (void)unused;
    each_drive(arguments_too_large);
    each_drive(results_of_any_size);
}

static int
next_text(void *data, pool_enc_t *arguments)
{
    struct numbers *n = data;

    if (n->taken == n->count)
        return 0;
    if (n->taken++ % 3 == 1)
        pool_enc_simple(arguments, 25); /* there is no such value */
    else
        pool_enc_int(arguments, n->taken - 1);
    return 1;
}

/* What cannot be encoded fails by itself. */
static void
inputs_not_encoded(const struct drive *drive)
{
    pool_t *pool = make(drive);

    for (int chunk = 1; chunk <= 5; chunk++) {
        struct numbers numbers = {.count = 8};
        pool_map_options_t options = POOL_MAP_OPTIONS_INIT;
        pool_map_t *map;
        options.chunksize = chunk;
        ck_assert_int_eq(
            pool_map(pool, &map, &options, task_square, next_text, &numbers),
            0);
        for (int i = 0; i < 8; i++) {
            if (i % 3 == 1)
                expect_failure(map, POOL_EINVAL);
            else
                expect_number(map, i * i);
        }
        expect_end(map);
        pool_map_free(map);
    }
    end_pool(pool);
}

static void
not_encoded(int unused)
{
    (void)unused;
    each_drive(inputs_not_encoded);
}

static int
task_deadly(pool_call_t *call)
{
    int32_t x;
    int rc = pool_call_args(call, "i", &x);

    if (rc == 0 && x == 4)
        raise(SIGKILL);
    return rc < 0 ? rc : pool_call_return(call, "i", x);
}

static void
crash(const struct drive *drive)
{
    if (drive->backend == POOL_SERIAL)
        return;
    pool_t *pool = make(drive);
    for (int chunk = 1; chunk <= 5; chunk++) {
        struct numbers numbers = {.count = 10};
        pool_map_t *map = begin(pool, task_deadly, &numbers, chunk, 0);
        for (int i = 0; i < 10; i++) {
            if (i / chunk != 4 / chunk) {
                expect_number(map, i);
                continue;
            }
            const pool_failure_t *failure = expect_failure(map, POOL_EDIED);
            ck_assert_int_eq(failure->signal, SIGKILL);
            ck_assert_int_ne(failure->pid, 0);
        }
        expect_end(map);
        pool_map_free(map);
    }
    end_pool(pool);
}

static void
crashes(int unused)
{
    (void)unused;
    each_drive(crash);
}

/* ---- out of memory ---------------------------------------------------- */

/* Each allocation fails in turn: nothing is lost or given twice, and what is
 * not given has a code. */
static void
starve(const struct drive *drive)
{
    for (long nth = 0; nth < 60; nth++) {
        struct numbers numbers = {.count = 8};
        pool_map_options_t options = POOL_MAP_OPTIONS_INIT;
        pool_t *pool = make(drive);
        pool_map_t *map = NULL;
        options.chunksize = 3;
        options.buffersize = 5;
        pool__mem_fail_after = nth;
        int rc =
            pool_map(pool, &map, &options, task_square, next_number, &numbers);
        if (drive->backend == POOL_FORK)
            pool__mem_fail_after = -1;
        ck_assert(rc == 0 || rc == POOL_ENOMEM);
        for (int i = 0; rc == 0 && i < 8; i++) {
            int32_t x = -1;
            rc = map_next(map, PATIENCE_MS, "i", &x);
            ck_assert(rc == 0 || rc == POOL_ENOMEM);
            ck_assert(rc < 0 || x == i * i);
            if (rc == POOL_ENOMEM && pool_map_failure(map) != NULL)
                rc = 0; /* of this item alone */
        }
        pool__mem_fail_after = -1;
        pool_map_free(map);
        end_pool(pool);
    }
}

static void
out_of_memory(int unused)
{
    (void)unused;
    each_drive(starve);
}

/* Where there are few addresses, a map makes do with less scratch: chunks
 * close earlier, and what does not fit fails alone. */
static int
next_growing(void *data, pool_enc_t *arguments)
{
    static unsigned char bytes[400000];
    int *i = data;

    if (*i == 24)
        return 0;
    memset(bytes, *i, sizeof bytes);
    pool_enc_bytes(
        arguments, bytes, *i % 12 == 11 ? sizeof bytes : (size_t)*i * 900);
    (*i)++;
    return 1;
}

/* Bytes of address space that this process has. */
static rlim_t
address_space(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long pages = 0;

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%lu", &pages), 1);
    fclose(file);
    return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

static void
few_addresses(const struct drive *drive)
{
    struct rlimit before, less;
    pool_map_options_t options = POOL_MAP_OPTIONS_INIT;
    pool_options_t base = POOL_OPTIONS_INIT;
    base.min_workers = drive->workers; /* none is started meanwhile */
    pool_t *pool = make_with(drive, &base);
    pool_map_t *map = NULL;
    int input = 0, values = 0;

    options.chunksize = 24;
    ck_assert_int_eq(getrlimit(RLIMIT_AS, &before), 0);
    less = before;
    less.rlim_cur = address_space() + (2u << 20);
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &less), 0);
    int rc =
        pool_map(pool, &map, &options, task_same_bytes, next_growing, &input);
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &before), 0);
    ck_assert_int_eq(rc, 0);
    for (int i = 0; i < 24; i++) {
        rc = map_next(map, PATIENCE_MS, "");
        ck_assert_msg(rc == 0 || rc == POOL_ENOMEM, "%s, %d: %s", drive->name,
            i, pool_errmsg());
        values += rc == 0;
    }
    if (drive->drive ==
        POOL_DRIVE_THREAD) /* it may have received while addresses were short */
        values = 11;
    ck_assert_int_ge(values, 11); /* those of the first chunk at least */
    expect_end(map);
    pool_map_free(map);
    end_pool(pool);
}

static void
addresses(int unused)
{
    (void)unused;
#if TEST_ASAN /* its allocator would end the process */
    (void)few_addresses;
#else
    each_drive(few_addresses);
#endif
}

/* ---- replies of a stranger -------------------------------------------- */

/* Item 2 of a chunk writes over the reply for item 1, which lies before its
 * own: with ones or with a failure that cannot be read. */
static int
task_scribble(pool_call_t *call)
{
    void *place;
    int32_t x;
    int rc = pool_call_args(call, "i", &x);

    if (rc == 0)
        rc = pool_call_reserve(call, 8, &place);
    if (rc < 0)
        return rc;
    memset(place, 0, 8);
    if (x == 2)
        memset((char *)place - 40, 0xff, 8); /* the size */
    if (x == 5)
        memset((char *)place - 32, 1, 1); /* that it failed */
    return 0;
}

static void
scribbles(const struct drive *drive)
{
    struct numbers numbers = {.count = 6};
    pool_t *pool = make(drive);
    pool_map_t *map = begin(pool, task_scribble, &numbers, 3, 0);

    for (int i = 0; i < 6; i++) {
        if (i % 3 == 0)
            ck_assert_int_eq(map_next(map, PATIENCE_MS, NULL), 0);
        else
            expect_failure(map, POOL_EPROTO);
    }
    expect_end(map);
    pool_map_free(map);
    end_pool(pool);
}

static void
malformed(int unused)
{
    (void)unused;
    each_drive(scribbles);
}

int
main(int argc, char **argv)
{
    static const struct test tests[] = {
        {"failing_items", failing_items},
        {"large_results", large_results},
        {"sizes", sizes},
        {"not_encoded", not_encoded},
        {"crashes", crashes},
        {"out_of_memory", out_of_memory},
        {"addresses", addresses},
        {"malformed", malformed},
        {NULL, NULL},
    };

    return test_main("map failures", tests, argc, argv);
}
