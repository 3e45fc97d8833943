/* Large payloads under every drive: both ways, with crashes, cancels and ends
 * while they are on their way; and bytes that are handed over. */
#define _GNU_SOURCE
#include "drives.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEGABYTE ((size_t)1 << 20)

static unsigned char *
pattern(size_t size)
{
    unsigned char *bytes = malloc(size);

    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < size; i += 4096)
        memset(&bytes[i], (int)(i / 4096 % 251),
            size - i < 4096 ? size - i : 4096);
    return bytes;
}

#define PERIOD ((size_t)251 * 4096)

static bool
is_pattern(const unsigned char *bytes, size_t size)
{
    unsigned char *once = pattern(PERIOD);
    bool same = true;

    for (size_t at = 0; at < size && same; at += PERIOD)
        same = memcmp(&bytes[at], once,
                   size - at < PERIOD ? size - at : PERIOD) == 0;
    free(once);
    return same;
}

/* Put the same pattern at AT, which is mapped and page-aligned: one megabyte of
 * memory, mapped again and again, for new pages are what gigabytes take their
 * time for. */
static void
map_pattern(unsigned char *at, size_t size)
{
    int fd = memfd_create("pattern", 0);
    unsigned char *once = pattern(PERIOD);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, once, PERIOD), (ssize_t)PERIOD);
    for (size_t done = 0; done < size; done += PERIOD) {
        size_t n = size - done < PERIOD ? size - done : PERIOD;
        if (mmap(&at[done], n, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) ==
            MAP_FAILED)
            ck_abort_msg("mmap at %zu: %m", done);
    }
    close(fd);
    free(once);
}

/* Freed by munmap. */
static unsigned char *
pattern_mapped(size_t size)
{
    unsigned char *bytes = mmap(NULL, size, PROT_NONE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    ck_assert_ptr_ne(bytes, MAP_FAILED);
    map_pattern(bytes, size);
    return bytes;
}

static pool_t *
roomy(const struct drive *d, int workers)
{
    pool_options_t options = POOL_OPTIONS_INIT;

    options.workers = options.min_workers = workers;
    options.max_argument = options.max_result = POOL_NONE;
    options.kill_grace_ms = 100;
    return drive_open(d, &options);
}

/* One whose workers' payloads all cross the pipes. */
static pool_t *
piped(const struct drive *d, int workers)
{
    pool_options_t options = POOL_OPTIONS_INIT;

    options.workers = options.min_workers = workers;
    options.max_worker_rss = INT64_C(1) << 50;
    return drive_open(d, &options);
}

/* Gigabytes take their time. */
static void
wait_long(const struct drive *d, pool_future_t *f)
{
    int rc = POOL_ETIMEDOUT;

    for (int i = 0; i < 3 && rc == POOL_ETIMEDOUT; i++)
        rc = drive_error(d, f);
    ck_assert_int_eq(rc, 0);
}

static void
expect_pattern(const struct drive *d, pool_future_t *f, size_t size)
{
    const void *data = NULL;
    size_t got = 0;

    wait_long(d, f);
    ck_assert_int_eq(pool_future_bytes(f, 0, &data, &got), 0);
    ck_assert_uint_eq(got, size);
    ck_assert(is_pattern(data, size));
    pool_future_free(f);
}

static void
a_hundred_megabytes(const struct drive *d)
{
    size_t size = 100 * MEGABYTE;
    unsigned char *bytes = pattern_mapped(size);
    pool_t *pool = roomy(d, 1);
    pool_future_t *f;

    ck_assert_int_eq(
        pool_submit_bytes(pool, &f, NULL, task_echo, bytes, size), 0);
    expect_pattern(d, f, size);
    drive_works(d, pool);
    drive_destroy(d, pool);
    ck_assert_int_eq(munmap(bytes, size), 0);
}

/* Whether so much memory is free. */
static bool
memory_for(size_t bytes)
{
    long pages = sysconf(_SC_AVPHYS_PAGES), page = sysconf(_SC_PAGESIZE);

    return pages > 0 && page > 0 && (size_t)pages > bytes / (size_t)page;
}

#define TWO_GIGABYTES (((size_t)1 << 31) + 12345)

/* Whether the arguments are the pattern. */
static int
task_is_pattern(pool_call_t *call)
{
    const void *data;
    size_t size;
    int rc = pool_call_bytes(call, &data, &size);

    return rc < 0 ? rc : pool_call_return(call, "b", is_pattern(data, size));
}

/* Returns the pattern. */
static int
task_pattern(pool_call_t *call)
{
    void *block;
    int rc = pool_call_reserve(call, TWO_GIGABYTES, &block);

    if (rc < 0)
        return rc;
    if ((uintptr_t)block % 4096 != 0)
        return pool_call_fail(call, 1, "the block is not page-aligned");
    map_pattern(block, TWO_GIGABYTES);
    return 0;
}

/* More than a signed 32-bit length holds, each way. */
static void
two_gigabytes(const struct drive *d)
{
    size_t size = TWO_GIGABYTES;

    if (!test_full())
        return;
    if (!memory_for(3 * size)) {
        fprintf(stderr, "exec_big: no memory for 2 GiB\n");
        return;
    }
    unsigned char *bytes = pattern_mapped(size);
    pool_t *pool = roomy(d, 1);
    pool_future_t *f;
    int same = 0;
    ck_assert_int_eq(
        pool_submit_owned(pool, &f, NULL, task_is_pattern, bytes, size, NULL),
        0);
    wait_long(d, f);
    ck_assert_int_eq(drive_result(d, f, "b", &same), 0);
    ck_assert(same);
    pool_future_free(f);
    ck_assert_int_eq(
        pool_submit_bytes(pool, &f, NULL, task_pattern, NULL, 0), 0);
    expect_pattern(d, f, size);
    drive_destroy(d, pool);
    ck_assert_int_eq(munmap(bytes, size), 0);
}

/* ---- crashes on the way ------------------------------------------------- */

/* "t": writes its pid, then returns 32 MB. */
static int
task_large(pool_call_t *call)
{
    uint64_t address;
    void *block;
    int rc = pool_call_args(call, "t", &address);

    if (rc == 0)
        rc = pool_call_reserve(call, 32 * MEGABYTE, &block);
    if (rc < 0)
        return rc;
    memset(block, 1, 32 * MEGABYTE);
    __atomic_store_n(
        (int *)(uintptr_t)address, (int)getpid(), __ATOMIC_RELEASE);
    return 0;
}

/* More than the pipe holds is being written when the worker is killed. */
static void
killed_while_it_writes(const struct drive *d)
{
    int *pid = test_shared(sizeof *pid);
    pool_t *pool = piped(d, 1);

    for (int i = 0; i < 10; i++) {
        pool_future_t *f;
        __atomic_store_n(pid, 0, __ATOMIC_RELEASE);
        ck_assert_int_eq(
            pool_submit(pool, &f, task_large, "t", ADDRESS(pid)), 0);
        drive_until_word(d, pid, 1);
        ck_assert_int_eq(kill(*pid, SIGKILL), 0);
        int rc = drive_error(d, f);
        ck_assert(rc == 0 || rc == POOL_EDIED); /* 0: it had all arrived */
        if (rc != 0)
            ck_assert_int_eq(pool_future_failure(f)->signal, SIGKILL);
        pool_future_free(f);
        drive_works(d, pool);
    }
    drive_destroy(d, pool);
}

/* A worker is killed while 20 MB are on their way to it: that task was not
 * begun, so it runs elsewhere. */
static void
killed_while_it_reads(const struct drive *d)
{
    size_t size = 20 * MEGABYTE;
    unsigned char *bytes = pattern_mapped(size);
    pool_t *pool = piped(d, 2);

    for (int i = 0; i < 10; i++) {
        int pid = drive_pid(d, pool);
        pool_future_t *f[2];
        for (int k = 0; k < 2; k++)
            ck_assert_int_eq(
                pool_submit_bytes(pool, &f[k], NULL, task_echo, bytes, size),
                0);
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        int died = 0;
        for (int k = 0; k < 2; k++) {
            int rc = drive_error(d, f[k]);
            ck_assert(rc == 0 || rc == POOL_EDIED);
            died += rc != 0;
            if (rc == 0)
                expect_pattern(d, f[k], size);
            else
                pool_future_free(f[k]);
        }
        ck_assert_int_le(died, 1);
    }
    drive_destroy(d, pool);
    ck_assert_int_eq(munmap(bytes, size), 0);
}

/* ---- ends on the way ---------------------------------------------------- */

static void
destroyed_in_the_middle(const struct drive *d)
{
    size_t size = 100 * MEGABYTE;
    unsigned char *bytes = pattern_mapped(size);

    for (int i = 0; i < 3; i++) {
        pool_t *pool = roomy(d, 1);
        pool_future_t *f;
        ck_assert_int_eq(
            pool_submit_owned(pool, &f, NULL, task_echo, bytes, size, NULL), 0);
        for (int k = 0; k < i; k++)
            d->turn();
        drive_destroy(d, pool);
        int rc = pool_future_error(f, 0);
        ck_assert(rc == POOL_ECANCELED || rc == 0);
        pool_future_free(f);
    }
    ck_assert_int_eq(munmap(bytes, size), 0);
}

static void
stopped_in_the_middle(const struct drive *d)
{
    size_t size = 100 * MEGABYTE;
    unsigned char *bytes = pattern_mapped(size);
    pool_t *pool = roomy(d, 1);
    pool_future_t *f[3];

    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(
            pool_submit_owned(pool, &f[i], NULL, task_echo, bytes, size, NULL),
            0);
    drive_shutdown(d, pool, POOL_SHUTDOWN_CANCEL_FUTURES);
    for (int i = 0; i < 3; i++) {
        int rc = pool_future_error(f[i], 0);
        ck_assert(rc == 0 || rc == POOL_ECANCELED);
        pool_future_free(f[i]);
    }
    drive_destroy(d, pool);
    ck_assert_int_eq(munmap(bytes, size), 0);
}

/* Ten tasks of 100 MB behind one that blocks; the bytes are the caller's. */
static void
ten_large_ones_cancelled(const struct drive *d)
{
    enum { N = 10 };
    size_t size = 100 * MEGABYTE;
    unsigned char *bytes = pattern_mapped(size);
    pool_t *pool = roomy(d, 1);
    struct gate *gate = gate_new();
    pool_future_t *blocker = gate_submit(pool, gate), *f[N];
    pool_stats_t stats = POOL_STATS_INIT;

    drive_until_word(d, &gate->begun, 1);
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(
            pool_submit_owned(pool, &f[i], NULL, task_echo, bytes, size, NULL),
            0);
    ck_assert_int_eq(pool_stats(pool, &stats), 0);
    ck_assert_uint_ge(stats.queued_bytes, N * size);
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(pool_future_cancel(f[i]), 0);
        ck_assert_int_eq(pool_future_error(f[i], 0), POOL_ECANCELED);
        pool_future_free(f[i]);
    }
    gate_open(gate);
    ck_assert_int_eq(drive_end(d, blocker), 0);
    drive_works(d, pool);
    ck_assert_int_eq(pool_stats(pool, &stats), 0);
    ck_assert_uint_eq(stats.queued_bytes, 0);
    drive_destroy(d, pool);
    ck_assert_int_eq(munmap(bytes, size), 0);
}

/* ---- bytes that are handed over ----------------------------------------- */

static int freed; /* how often */
static void *freed_what;

static void
free_it(void *data)
{
    freed_what = data;
    raise_word(&freed, 1);
}

/* Adds up one byte in 4,096. */
static int
task_sum(pool_call_t *call)
{
    const unsigned char *bytes;
    const void *data;
    uint64_t sum = 0;
    size_t size;
    int rc = pool_call_bytes(call, &data, &size);

    bytes = data;
    for (size_t i = 0; rc == 0 && i < size; i += 4096)
        sum += bytes[i];
    return rc < 0 ? rc : pool_call_return(call, "t", sum);
}

enum { BY_VALUE, BY_ERROR, BY_CANCEL, BY_DEATH, BY_DESTROY, KINDS };

/* free_fn is called once, whatever becomes of the task, with sizes that fit
 * into a task and such that do not. */
static void
owned_bytes_are_given_back_once(const struct drive *d)
{
    static const size_t sizes[] = {0, 1, 60, 5000, 3 * MEGABYTE};
    static const pool_fn fns[KINDS] = {
        task_sum, task_fail, task_sum, task_kill_self, task_hang};

    for (size_t s = 0; s < COUNT(sizes); s++)
        for (int kind = 0; kind < KINDS; kind++) {
            unsigned char *bytes = pattern(sizes[s] + 1);
            struct gate *gate = gate_new();
            pool_t *pool = drive_pool(d, 1);
            pool_future_t *blocker = gate_submit(pool, gate), *f;
            freed = 0;
            freed_what = NULL;
            drive_until_word(d, &gate->begun, 1);
            ck_assert_int_eq(pool_submit_owned(pool, &f, NULL, fns[kind], bytes,
                                 sizes[s], free_it),
                0);
            if (sizes[s] > 5000)
                ck_assert_int_eq(read_word(&freed), 0);
            if (kind == BY_CANCEL)
                ck_assert_int_eq(pool_future_cancel(f), 0);
            gate_open(gate);
            ck_assert_int_eq(drive_end(d, blocker), 0);
            if (kind != BY_DESTROY)
                (void)drive_error(d, f);
            pool_future_free(f);
            drive_destroy(d, pool);
            ck_assert_int_eq(freed, 1);
            ck_assert_ptr_eq(freed_what, bytes);
            free(bytes);
        }
}

/* They are not copied: the bytes that the task reads are those that stand
 * there when it is sent. */
static void
owned_bytes_are_not_copied(const struct drive *d)
{
    size_t size = 8 * MEGABYTE;
    unsigned char *bytes = pattern(size);
    pool_t *pool = drive_pool(d, 1);
    struct gate *gate = gate_new();
    pool_future_t *blocker = gate_submit(pool, gate), *f;
    uint64_t sum = 0;

    freed = 0;
    drive_until_word(d, &gate->begun, 1);
    ck_assert_int_eq(
        pool_submit_owned(pool, &f, NULL, task_sum, bytes, size, free_it), 0);
    memset(bytes, 0, size); /* what nobody may do; here it shows */
    bytes[4096] = 9;
    gate_open(gate);
    ck_assert_int_eq(drive_end(d, blocker), 0);
    ck_assert_int_eq(drive_result(d, f, "t", &sum), 0);
    ck_assert_uint_eq(sum, 9);
    pool_future_free(f);
    drive_destroy(d, pool);
    ck_assert_int_eq(freed, 1);
    free(bytes);
}

/* What is refused stays the caller's. */
static void
refused_bytes_stay(const struct drive *d)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    unsigned char bytes[200] = {0};
    pool_future_t *f = NULL;

    freed = 0;
    options.workers = 1;
    options.max_argument = 100;
    pool_t *pool = drive_open(d, &options);
    ck_assert_int_eq(
        pool_submit_owned(pool, &f, NULL, task_sum, bytes, 101, free_it),
        POOL_ETOOBIG);
    ck_assert_int_eq(
        pool_submit_owned(pool, &f, NULL, NULL, bytes, 10, free_it),
        POOL_EINVAL);
    ck_assert_int_eq(pool_shutdown(pool, 0), 0);
    ck_assert_int_eq(
        pool_submit_owned(pool, &f, NULL, task_sum, bytes, 10, free_it),
        POOL_ESHUTDOWN);
    ck_assert_ptr_null(f);
    drive_destroy(d, pool);
    ck_assert_int_eq(freed, 0);
}

/* A retry sends them again. */
static int
task_dies_once(pool_call_t *call)
{
    const void *data;
    size_t size;
    int rc = pool_call_bytes(call, &data, &size);
    uint64_t address;

    if (rc < 0)
        return rc;
    memcpy(&address, data, sizeof address);
    if (raise_word((int *)(uintptr_t)address, 1) == 1)
        raise(SIGKILL);
    return task_sum(call);
}

static void
owned_bytes_and_a_retry(const struct drive *d)
{
    pool_task_options_t options = POOL_TASK_OPTIONS_INIT;
    int *runs = test_shared(sizeof *runs);
    size_t size = 2 * MEGABYTE;
    unsigned char *bytes = calloc(1, size);
    uint64_t address = ADDRESS(runs), sum = 0;
    pool_t *pool = drive_pool(d, 1);
    pool_future_t *f;

    freed = 0;
    memcpy(bytes, &address, sizeof address);
    bytes[4096] = 200;
    options.retries = 1;
    ck_assert_int_eq(pool_submit_owned(pool, &f, &options, task_dies_once,
                         bytes, size, free_it),
        0);
    ck_assert_int_eq(drive_result(d, f, "t", &sum), 0);
    ck_assert_uint_eq(sum, 200u + bytes[0]);
    ck_assert_int_eq(*runs, 2);
    pool_future_free(f);
    drive_destroy(d, pool);
    ck_assert_int_eq(freed, 1);
    free(bytes);
}

static const struct drive_case cases[] = {
    {"a_hundred_megabytes", a_hundred_megabytes, IN_ALL},
    {"two_gigabytes", two_gigabytes, IN_ALL},
    {"killed_while_it_writes", killed_while_it_writes, IN_ALL},
    {"killed_while_it_reads", killed_while_it_reads, IN_ALL},
    {"destroyed_in_the_middle", destroyed_in_the_middle, IN_ALL},
    {"stopped_in_the_middle", stopped_in_the_middle, IN_ALL},
    {"ten_large_ones_cancelled", ten_large_ones_cancelled, IN_ALL},
    {"owned_bytes_are_given_back_once", owned_bytes_are_given_back_once,
        IN_ALL},
    {"owned_bytes_are_not_copied", owned_bytes_are_not_copied, IN_ALL},
    {"refused_bytes_stay", refused_bytes_stay, IN_ALL},
    {"owned_bytes_and_a_retry", owned_bytes_and_a_retry, IN_ALL},
    {NULL, NULL, 0},
};

int
main(int argc, char **argv)
{
    return drive_main("exec_big", cases, argc, argv);
}
