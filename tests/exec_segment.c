/* Large payloads through a worker's segment: which go there under which drive,
 * that nothing is lost or torn where workers crash, and that lies about it end
 * the liar alone. Those that go over the pipe are in exec_big.c too. */
#define _GNU_SOURCE
#include "drives.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "frame.h"
#include "segment.h"

#define MEGABYTE ((size_t)1 << 20)
#define QUICK 8 /* tasks, and the pool knows that they are */
#define IN_ITS_DRIVES (IN_CALLER | IN_THREAD) /* those that have segments */

static pool_options_t
options_of(int workers)
{
    pool_options_t options = POOL_OPTIONS_INIT;

    options.workers = options.min_workers = workers;
    options.kill_grace_ms = POOL_NONE;
    options.spin_us = POOL_NONE; /* some write to their pipe themselves */
    return options;
}

static pool_t *
open_pool(const struct drive *d, int workers)
{
    pool_options_t options = options_of(workers);

    return drive_open(d, &options);
}

static pool_future_t *
submit_bytes(pool_t *pool, pool_fn fn, const void *bytes, size_t size)
{
    pool_future_t *f;

    ck_assert_int_eq(pool_submit_bytes(pool, &f, NULL, fn, bytes, size), 0);
    return f;
}

/* Its value, which lives as long as the future. */
static const void *
value_of(const struct drive *d, pool_future_t *f, size_t size)
{
    const void *data = NULL;
    size_t got = 0;
    int rc = drive_error(d, f);

    ck_assert_msg(rc == 0, "%d: %s", rc, pool_errmsg());
    ck_assert_int_eq(pool_future_bytes(f, 0, &data, &got), 0);
    ck_assert_uint_eq(got, size);
    return data;
}

static void
expect_bytes(
    const struct drive *d, pool_future_t *f, const void *bytes, size_t size)
{
    ck_assert(memcmp(value_of(d, f, size), bytes, size) == 0);
    pool_future_free(f);
}

static void
stop(int pid)
{
    ck_assert_int_eq(kill(pid, SIGSTOP), 0);
    while (test_state(pid) != 'T')
        ;
}

static void
echo(const struct drive *d, pool_t *pool, size_t size)
{
    unsigned char *bytes = test_pattern(size, (unsigned)size);

    expect_bytes(d, submit_bytes(pool, task_echo, bytes, size), bytes, size);
    free(bytes);
}

/* ---- a kernel that refuses ---------------------------------------------- */

/* Maps of a segment fail in this process (1), or in all others (2). */
static struct {
    int where;
    pid_t program;
} refuse;

#if !TEST_ASAN && !TEST_TSAN
void *
mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (size == 2 * POOL__AREA && refuse.where != 0 &&
        (refuse.where == 1) == (getpid() == refuse.program)) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return (void *)syscall(
        SYS_mmap, at, size, protection, flags, fd, (long)offset);
}
#endif

/* ---- which way ----------------------------------------------------------- */

/* Whether this address is in the segment of this process. */
static bool
in_segment(const void *at)
{
    char line[512];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "r");

    while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        unsigned long begin, end, offset;
        if (strstr(line, "memfd:forkpool") != NULL &&
            sscanf(line, "%lx-%lx %*s %lx", &begin, &end, &offset) == 3 &&
            offset >= POOL__SEGMENT_AT)
            found = found || ((uintptr_t)at >= begin && (uintptr_t)at < end);
    }
    if (maps != NULL)
        fclose(maps);
    return found;
}

/* Bytes -> as many, all 0 but the first: 1, the arguments were in the segment;
 * and 2, so is the result. */
static int
task_where(pool_call_t *call)
{
    const void *data;
    void *block;
    size_t size;

    pool_call_bytes(call, &data, &size);
    int rc = pool_call_reserve(call, size, &block);
    if (rc < 0)
        return rc;
    memset(block, 0, size);
    *(unsigned char *)block =
        (unsigned char)(in_segment(data) | in_segment(block) << 1);
    return 0;
}

static int
where(const struct drive *d, pool_t *pool, size_t size)
{
    unsigned char *bytes = calloc(1, size);

    ck_assert_ptr_nonnull(bytes);
    pool_future_t *f = submit_bytes(pool, task_where, bytes, size);
    const unsigned char *value = value_of(d, f, size);
    int first = value[0];
    ck_assert(memcmp(value + 1, bytes + 1, size - 1) == 0);
    pool_future_free(f);
    free(bytes);
    return first;
}

/* Where with these options all of a megabyte goes. */
static int
where_under(const struct drive *d, const pool_options_t *options)
{
    pool_t *pool = drive_open(d, options);
    int found = where(d, pool, MEGABYTE);

    drive_destroy(d, pool);
    return found;
}

/* A result that fits is made in the reply buffer. */
static void
what_is_large_goes_there(const struct drive *d)
{
    pool_t *pool = open_pool(d, 1);

    ck_assert_int_eq(where(d, pool, POOL__LARGE - 1), 0);
    ck_assert_int_eq(where(d, pool, POOL__LARGE), 1);
    ck_assert_int_eq(where(d, pool, POOL__LARGE + 1), 1);
    ck_assert_int_eq(where(d, pool, POOL__REPLY_BUFFER), 3);
    ck_assert_int_eq(where(d, pool, 3 * MEGABYTE + 5), 3);
    if (d->bit == IN_CALLER) {
        ck_assert_int_eq(where(d, pool, POOL__AREA), 3);
        ck_assert_int_eq(where(d, pool, POOL__AREA + 1), 0);
    }
    ck_assert_int_eq(where(d, pool, MEGABYTE), 3); /* again */
    drive_destroy(d, pool);
}

/* Its turns are short. */
static void
none_in_host_drive(const struct drive *d)
{
    pool_options_t options = options_of(1);

    ck_assert_int_eq(where_under(d, &options), 0);
}

static void
none_where_memory_is_counted(const struct drive *d)
{
    pool_options_t options = options_of(1);

    options.max_worker_rss = INT64_C(1) << 50;
    ck_assert_int_eq(where_under(d, &options), 0);
#if !TEST_ASAN && !TEST_TSAN
    options.max_worker_rss = 0;
    options.max_worker_memory = (int64_t)1 << 30;
    ck_assert_int_eq(where_under(d, &options), 0);
#endif
}

/* Each case is a process of its own, so is the limit. */
static void
none_under_a_limit(const struct drive *d)
{
    /* Sanitizers take more than any limit of address space. */
    enum { N = TEST_ASAN || TEST_TSAN ? 1 : 2 };
    static const __rlimit_resource_t resources[] = {RLIMIT_FSIZE, RLIMIT_AS};
    static const rlim_t limits[] = {(rlim_t)64 << 20, (rlim_t)1 << 40};
    pool_options_t options = options_of(1);

    for (int i = 0; i < N; i++) {
        struct rlimit before, limit;
        ck_assert_int_eq(getrlimit(resources[i], &before), 0);
        limit = before;
        limit.rlim_cur = limits[i];
        ck_assert_int_eq(setrlimit(resources[i], &limit), 0);
        ck_assert_int_eq(where_under(d, &options), 0);
        ck_assert_int_eq(setrlimit(resources[i], &before), 0);
    }
    ck_assert_int_eq(where_under(d, &options), 3);
}

static void
none_where_it_cannot_be_mapped(const struct drive *d)
{
    pool_options_t options = options_of(1);

    refuse.program = getpid();
    for (refuse.where = 1; refuse.where <= 2; refuse.where++)
        ck_assert_int_eq(
            where_under(d, &options), TEST_ASAN || TEST_TSAN ? 3 : 0);
    refuse.where = 0;
}

/* Somebody's own loop, whose turns are to be short. */
static void
none_under_a_descriptor(const struct drive *d)
{
    pool_options_t options = options_of(1);
    pool_t *pool = drive_open(d, &options);

    ck_assert_int_eq(where(d, pool, MEGABYTE), 3);
    ck_assert_int_ge(pool_fd(pool), 0);
    ck_assert_int_eq(where(d, pool, MEGABYTE), 0);
    ck_assert_int_eq(kill(drive_pid(d, pool), SIGKILL), 0);
    ck_assert_int_eq(where(d, pool, MEGABYTE), 0); /* by a new one too */
    drive_destroy(d, pool);
}

static void
forked_by_the_program_too(const struct drive *d)
{
    pool_options_t options = options_of(2);

    options.start = POOL_START_FORK;
    ck_assert_int_eq(where_under(d, &options), 3);
}

/* "": where a worker's own pool puts its payloads. */
static int
task_nest(pool_call_t *call)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_t *pool;
    pool_future_t *f = NULL;
    unsigned char *bytes = calloc(1, MEGABYTE);
    const void *data = "";
    size_t size;

    options.workers = 1;
    int rc = pool_create(&pool, &options);
    if (rc == 0)
        rc = pool_submit_bytes(pool, &f, NULL, task_where, bytes, MEGABYTE);
    if (rc == 0)
        rc = pool_future_bytes(f, PATIENCE_MS, &data, &size);
    if (rc == 0)
        rc = pool_call_return(call, "i", (int)*(const unsigned char *)data);
    pool_destroy(pool);
    pool_future_free(f);
    free(bytes);
    return rc;
}

/* Unless that one's memory is counted. */
static void
in_a_worker_too(const struct drive *d)
{
    for (int counted = 0; counted <= 1; counted++) {
        pool_options_t options = options_of(1);
        options.max_worker_rss = counted ? INT64_C(1) << 50 : 0;
        pool_t *pool = drive_open(d, &options);
        pool_future_t *f = submit(pool, task_nest);
        int found = -1;
        ck_assert_int_eq(drive_result(d, f, "i", &found), 0);
        ck_assert_int_eq(found, counted ? 0 : 3);
        pool_future_free(f);
        drive_destroy(d, pool);
    }
}

static void
around_the_threshold(const struct drive *d)
{
    pool_t *pool = open_pool(d, 1);

    for (size_t size = POOL__LARGE - 9; size <= POOL__LARGE + 9; size++)
        echo(d, pool, size);
    for (size_t size = MEGABYTE; size < 9 * MEGABYTE; size += MEGABYTE + 1)
        echo(d, pool, size);
    drive_destroy(d, pool);
}

/* Bytes -> whether a child of the task's reads the same. */
static int
task_ask_child(pool_call_t *call)
{
    const unsigned char *data;
    size_t size;
    int status = -1;

    pool_call_bytes(call, (const void **)&data, &size);
    unsigned char first = data[0], last = data[size - 1];
    pid_t child = fork();
    if (child == 0)
        _exit(data[0] == first && data[size - 1] == last ? 0 : 1);
    if (child < 0 || waitpid(child, &status, 0) != child)
        return -1;
    return pool_call_return(call, "i", status);
}

static void
read_by_a_child_of_the_task(const struct drive *d)
{
    unsigned char *bytes = test_pattern(MEGABYTE, 2);
    pool_t *pool = open_pool(d, 1);
    pool_future_t *f = submit_bytes(pool, task_ask_child, bytes, MEGABYTE);
    int status = -1;

    ck_assert_int_eq(drive_result(d, f, "i", &status), 0);
    ck_assert_int_eq(status, 0);
    pool_future_free(f);
    drive_destroy(d, pool);
    free(bytes);
}

/* As task_where, and a line of log in the middle. */
static int
task_where_and_log(pool_call_t *call)
{
    void *block;
    size_t size;

    pool_call_bytes(call, NULL, &size);
    int rc = pool_call_reserve(call, size, &block);
    if (rc == 0)
        rc = pool_call_log(call, "half of it");
    return rc == 0 ? task_where(call) : rc;
}

static void
with_a_line_of_log(const struct drive *d)
{
    unsigned char *bytes = calloc(1, MEGABYTE);
    pool_t *pool = open_pool(d, 1);

    ck_assert_ptr_nonnull(bytes);
    for (int i = 0; i < 3; i++) {
        pool_future_t *f =
            submit_bytes(pool, task_where_and_log, bytes, MEGABYTE);
        const unsigned char *value = value_of(d, f, MEGABYTE);
        ck_assert_int_eq(value[0], 3);
        pool_future_free(f);
    }
    drive_destroy(d, pool);
    free(bytes);
}

/* ---- busy areas ---------------------------------------------------------- */

static void
many_in_flight(const struct drive *d)
{
    enum { N = 60 };
    unsigned char *bytes = test_pattern(4 * MEGABYTE, 7);
    pool_future_t *f[N];
    pool_t *pool = open_pool(d, 2);

    for (int i = 0; i < N; i++)
        f[i] = submit_bytes(pool, task_echo, bytes + 999 * i,
            (size_t)(i % 5 + 1) * 200000 + (size_t)i);
    for (int i = 0; i < N; i++)
        expect_bytes(
            d, f[i], bytes + 999 * i, (size_t)(i % 5 + 1) * 200000 + (size_t)i);
    drive_destroy(d, pool);
    free(bytes);
}

/* "t": the word that counts -> a megabyte of whether it is in the segment. */
static int
task_count(pool_call_t *call)
{
    uint64_t address;
    void *block;
    int rc = pool_call_args(call, "t", &address);

    if (rc == 0)
        rc = pool_call_reserve(call, MEGABYTE, &block);
    if (rc < 0)
        return rc;
    memset(block, in_segment(block), MEGABYTE);
    raise_word((int *)(uintptr_t)address, 1);
    return 0;
}

/* The host looks away while two tasks return: the second finds the first one's
 * result in the area and goes over the pipe. */
static void
a_busy_area(const struct drive *d)
{
    enum { N = 12 };
    int *count = test_shared(sizeof *count);
    pool_future_t *f[N];
    pool_t *pool = open_pool(d, 1);

    for (int i = 0; i < 4; i++) { /* they are quick, so they are sent ahead */
        ck_assert_int_eq(
            pool_submit(pool, &f[0], task_count, "t", ADDRESS(count)), 0);
        ck_assert_int_eq(drive_end(d, f[0]), 0);
    }
    *count = 0;
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(
            pool_submit(pool, &f[i], task_count, "t", ADDRESS(count)), 0);
    /* A slow machine sends none ahead: then there is only one. */
    for (int i = 0; i < 200 && read_word(count) < 2; i++)
        (void)poll(NULL, 0, 1);
    bool second = read_word(count) >= 2;
    for (int i = 0; i < N; i++) {
        const unsigned char *at = value_of(d, f[i], MEGABYTE);
        ck_assert(memcmp(at, at + 1, MEGABYTE - 1) == 0);
        if (i == 0 || (i == 1 && second))
            ck_assert_int_eq(at[0], i == 0);
        pool_future_free(f[i]);
    }
    ck_assert_int_eq(read_word(count), N);
    drive_destroy(d, pool);
}

/* What is taken back leaves the area to the next one. */
static void
a_large_task_cancelled_before_it_begins(const struct drive *d)
{
    unsigned char *bytes = test_pattern(2 * MEGABYTE, 1);
    pool_t *pool = open_pool(d, 1);

    for (int i = 0; i < 3; i++) {
        int pid = drive_pid(d, pool);
        stop(pid);
        pool_future_t *f = submit_bytes(pool, task_echo, bytes, MEGABYTE);
        ck_assert_int_eq(pool_future_cancel(f), 0);
        pool_future_free(f);
        f = submit_bytes(pool, task_echo, bytes + MEGABYTE, MEGABYTE);
        ck_assert_int_eq(kill(pid, SIGCONT), 0);
        expect_bytes(d, f, bytes + MEGABYTE, MEGABYTE);
        if (d->bit == IN_HOST)
            continue;
        stop(pid);
        f = submit_bytes(pool, task_echo, bytes, MEGABYTE);
        ck_assert_int_eq(pool_future_cancel(f), 0);
        pool_future_free(f);
        f = submit_bytes(pool, task_where, bytes, MEGABYTE);
        ck_assert_int_eq(kill(pid, SIGCONT), 0);
        const unsigned char *value = value_of(d, f, MEGABYTE);
        ck_assert_int_eq(value[0] & 1, 1);
        pool_future_free(f);
    }
    drive_destroy(d, pool);
    free(bytes);
}

/* "t": a word, waits until it is raised; 0: doesn't. */
static int
task_wait(pool_call_t *call)
{
    uint64_t address;
    int rc = pool_call_args(call, "t", &address);

    if (rc < 0 || address == 0)
        return rc;
    return test_await((int *)(uintptr_t)address, 1) ? 0 : -1;
}

/* Bytes -> "i": whether they are in the segment. */
static int
task_is_placed(pool_call_t *call)
{
    const void *data;

    pool_call_bytes(call, &data, NULL);
    return pool_call_return(call, "i", (int)in_segment(data));
}

/* The same behind a task that runs. */
static void
a_large_task_cancelled_behind_another(const struct drive *d)
{
    int *word = test_shared(sizeof *word), placed = 0;
    size_t size = 2 * POOL__LARGE;
    unsigned char *bytes = test_pattern(size, 23);
    pool_t *pool = open_pool(d, 1);
    pool_future_t *f[3];

    for (int i = 0; i < 2 * QUICK; i++) { /* then both are sent ahead */
        ck_assert_int_eq(
            pool_submit(pool, &f[0], task_wait, "t", UINT64_C(0)), 0);
        ck_assert_int_eq(drive_end(d, f[0]), 0);
        f[0] = submit_bytes(pool, task_is_placed, bytes, size);
        ck_assert_int_eq(drive_end(d, f[0]), 0);
    }
    ck_assert_int_eq(
        pool_submit(pool, &f[0], task_wait, "t", ADDRESS(word)), 0);
    f[1] = submit_bytes(pool, task_is_placed, bytes, size);
    ck_assert_int_eq(pool_future_cancel(f[1]), 0);
    f[2] = submit_bytes(pool, task_is_placed, bytes, size);
    raise_word(word, 1);
    ck_assert_int_eq(drive_result(d, f[2], "i", &placed), 0);
    ck_assert_int_eq(placed, 1);
    for (int i = 0; i < 3; i++)
        pool_future_free(f[i]);
    drive_destroy(d, pool);
    free(bytes);
}

/* ---- crashes and ends ---------------------------------------------------- */

/* Its own region and segment, mapped a second time. */
static struct pool__region *
own_region(void)
{
    void *at = mmap(NULL, POOL__SEGMENT_END, PROT_READ | PROT_WRITE, MAP_SHARED,
        test_region_fd(), 0);

    return at != MAP_FAILED ? at : NULL;
}

static int
task_half(pool_call_t *call)
{
    void *block;

    if (pool_call_reserve(call, 2 * MEGABYTE, &block) == 0)
        memset(block, 1, MEGABYTE);
    return task_kill_self(call);
}

static void
killed_before_it_returns(const struct drive *d)
{
    unsigned char *bytes = test_pattern(MEGABYTE, 3);
    pool_t *pool = open_pool(d, 1);

    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(
            drive_end(d, submit_bytes(pool, task_half, bytes, MEGABYTE)),
            POOL_EDIED);
        echo(d, pool, MEGABYTE);
    }
    drive_destroy(d, pool);
    free(bytes);
}

/* Its arguments lie in the segment of a worker that dies before it begins. */
static void
killed_before_it_begins(const struct drive *d)
{
    unsigned char *bytes = test_pattern(MEGABYTE, 8);
    pool_t *pool = open_pool(d, 1);

    for (int i = 0; i < 3; i++) {
        int pid = drive_pid(d, pool);
        stop(pid);
        pool_future_t *f = submit_bytes(pool, task_echo, bytes, MEGABYTE);
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        expect_bytes(d, f, bytes, MEGABYTE);
    }
    drive_destroy(d, pool);
    free(bytes);
}

/* Kills its worker unless the word that its arguments begin with was raised;
 * writes all over them before. */
static int
task_once(pool_call_t *call)
{
    const void *data;
    uint64_t address;
    size_t size;

    pool_call_bytes(call, &data, &size);
    memcpy(&address, data, sizeof address);
    if (raise_word((int *)(uintptr_t)address, 1) == 1) {
        memset((void *)(uintptr_t)data, 0, size);
        return task_kill_self(call);
    }
    return pool_call_return_bytes(call, data, size);
}

/* What is run again has its arguments again. */
static void
run_again_after_a_crash(const struct drive *d)
{
    unsigned char *bytes = test_pattern(2 * MEGABYTE, 4);
    int *word = test_shared(sizeof *word);
    uint64_t address = ADDRESS(word);
    pool_task_options_t options = POOL_TASK_OPTIONS_INIT;
    pool_future_t *f;

    memcpy(bytes, &address, sizeof address);
    options.retries = 1;
    pool_t *pool = open_pool(d, 1);
    ck_assert_int_eq(
        pool_submit_bytes(pool, &f, &options, task_once, bytes, 2 * MEGABYTE),
        0);
    expect_bytes(d, f, bytes, 2 * MEGABYTE);
    ck_assert_int_eq(read_word(word), 2);
    drive_destroy(d, pool);
    free(bytes);
}

static int *listens;

/* Its child kills it as soon as its reply is published: the result, which the
 * host may be copying, counts. */
static int
task_last_words(pool_call_t *call)
{
    pid_t self = getpid();
    const void *data;
    size_t size;

    pool_call_bytes(call, &data, &size);
    int rc = pool_call_return_bytes(call, data, size);
    if (rc == 0 && fork() == 0) {
        struct pool__region *region = own_region();
        uint64_t end = region != NULL ? pool__load(&region->reply.end) : 0;
        raise_word(listens, 1);
        while (region != NULL && pool__load(&region->reply.end) == end)
            ;
        kill(self, SIGKILL);
        _exit(0);
    }
    return rc == 0 && !test_await(listens, 1) ? -1 : rc;
}

static void
killed_after_it_returned(const struct drive *d)
{
    size_t size = 8 * MEGABYTE;
    unsigned char *bytes = test_pattern(size, 5);

    listens = test_shared(sizeof *listens);
    pool_t *pool = open_pool(d, 1);
    for (int i = 0; i < 3; i++) {
        __atomic_store_n(listens, 0, __ATOMIC_RELEASE);
        int pid = drive_pid(d, pool);
        pool_future_t *f = submit_bytes(pool, task_last_words, bytes, size);
        expect_bytes(d, f, bytes, size);
        drive_until_gone(d, pid); /* its killer may be late */
        drive_works(d, pool);
    }
    drive_destroy(d, pool);
    free(bytes);
}

/* The second is begun when the first is published. */
static void
killed_by_the_next_task(const struct drive *d)
{
    size_t size = 4 * MEGABYTE;
    unsigned char *bytes = test_pattern(size, 9);
    pool_t *pool = open_pool(d, 1);

    for (int i = 0; i < 5; i++) {
        pool_future_t *f = submit_bytes(pool, task_echo, bytes, size);
        pool_future_t *next = submit(pool, task_kill_self);
        expect_bytes(d, f, bytes, size);
        ck_assert_int_eq(drive_end(d, next), POOL_EDIED);
    }
    drive_destroy(d, pool);
    free(bytes);
}

static void
a_deadline(const struct drive *d)
{
    unsigned char *bytes = test_pattern(MEGABYTE, 11);
    pool_options_t options = options_of(1);

    options.deadline_ms = 300;
    pool_t *pool = drive_open(d, &options);
    ck_assert_int_eq(
        drive_end(d, submit_bytes(pool, task_hang, bytes, MEGABYTE)),
        POOL_EDEADLINE);
    drive_works(d, pool);
    drive_destroy(d, pool);
    free(bytes);
}

/* Bytes on their way, both ways, when the pool ends. */
static void
the_pool_ends(const struct drive *d)
{
    size_t size = 8 * MEGABYTE;
    unsigned char *bytes = test_pattern(size, 13);
    pool_future_t *f[4];
    pool_t *pool = open_pool(d, 2);

    for (int i = 0; i < 4; i++)
        f[i] = submit_bytes(pool, task_echo, bytes, size);
    drive_destroy(d, pool);
    for (int i = 0; i < 4; i++) {
        ck_assert(pool_future_done(f[i]));
        pool_future_free(f[i]);
    }
    free(bytes);
}

/* ---- pages --------------------------------------------------------------- */

/* Kilobytes of shared pages of pools that this process has in memory. */
static long
resident(void)
{
    char line[512];
    bool ours = false;
    long kb, sum = 0;
    FILE *maps = fopen("/proc/self/smaps", "r");

    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long begin, end;
        if (sscanf(line, "%lx-%lx", &begin, &end) == 2)
            ours = strstr(line, "memfd:forkpool") != NULL;
        else if (ours && sscanf(line, "Rss: %ld", &kb) == 1)
            sum += kb;
    }
    fclose(maps);
    return sum;
}

static bool
is_small(void *unused)
{
    (void)unused;
    return resident() < 2048;
}

/* "" -> "t": kilobytes of its own region and segment, as the file has them. */
static int
task_pages(pool_call_t *call)
{
    struct stat st;

    return fstat(test_region_fd(), &st) == 0
               ? pool_call_return(call, "t", (uint64_t)st.st_blocks / 2)
               : -1;
}

static uint64_t
pages_of(const struct drive *d, pool_t *pool)
{
    pool_future_t *f = submit(pool, task_pages);
    uint64_t kb = 0;

    ck_assert_int_eq(drive_result(d, f, "t", &kb), 0);
    pool_future_free(f);
    return kb;
}

/* What it reserved is not what it returns. */
static int
task_think_better(pool_call_t *call)
{
    void *block;

    if (pool_call_reserve(call, 3 * MEGABYTE, &block) < 0 || !in_segment(block))
        return -2;
    memset(block, 1, 3 * MEGABYTE);
    return pool_call_return(call, "i", 1);
}

static int
task_fail_late(pool_call_t *call)
{
    int rc = task_think_better(call);

    return rc == 0 ? 17 : rc;
}

/* An item's result is collected elsewhere, so it is made elsewhere. */
static int
task_item(pool_call_t *call)
{
    static const uint8_t bytes[3 * MEGABYTE];
    void *block;

    if (pool_call_reserve(call, sizeof bytes, &block) < 0 || in_segment(block))
        return -2;
    return pool_call_return(call, "ay", bytes, sizeof bytes);
}

static int
next_item(void *left, pool_enc_t *arguments)
{
    (void)arguments;
    return (*(int *)left)-- > 0;
}

/* What lies in the area and was not returned leaves no pages. */
static void
what_is_not_returned_goes_at_once(const struct drive *d)
{
    pool_t *pool = open_pool(d, 1);
    pool_future_t *f = submit(pool, task_think_better);
    pool_map_options_t options = POOL_MAP_OPTIONS_INIT;
    pool_map_t *map;
    int items = 2, value = 0;

    options.chunksize = 2;
    ck_assert_int_eq(drive_result(d, f, "i", &value), 0);
    pool_future_free(f);
    ck_assert_uint_lt(pages_of(d, pool), 1024);
    ck_assert_int_eq(drive_end(d, submit(pool, task_fail_late)), POOL_ETASK);
    ck_assert_uint_lt(pages_of(d, pool), 1024);
    ck_assert_int_eq(
        pool_map(pool, &map, &options, task_item, next_item, &items), 0);
    for (int i = 0; i < 2; i++) {
        const void *data;
        size_t size = 0;
        ck_assert_int_eq(
            pool_map_next(map, PATIENCE_MS, "ay", &data, &size), 0);
        ck_assert_uint_eq(size, 3 * MEGABYTE);
    }
    pool_map_free(map);
    ck_assert_uint_lt(pages_of(d, pool), 1024);
    drive_destroy(d, pool);
}

/* One that is never idle gives back what it has not used for a second. */
static void
a_busy_worker_gives_pages_back(const struct drive *d)
{
    enum { AHEAD = 3 };
    pool_t *pool = open_pool(d, 1);
    pool_future_t *f[AHEAD];

    echo(d, pool, 4 * MEGABYTE);
    ck_assert_uint_gt(pages_of(d, pool), 8 * 1024);
    for (int i = 0; i < AHEAD; i++)
        f[i] = submit(pool, task_pages);
    for (int i = 0, left = AHEAD; left > 0; i = (i + 1) % AHEAD) {
        uint64_t kb = 0;
        ck_assert_int_eq(drive_result(d, f[i], "t", &kb), 0);
        pool_future_free(f[i]);
        if (kb < 1024 || left < AHEAD)
            left--;
        else
            f[i] = submit(pool, task_pages);
        (void)poll(NULL, 0, 1);
    }
    drive_destroy(d, pool);
}

/* Sleeps for longer than pages are kept, then checks its arguments. */
static int
task_sleep_on_it(pool_call_t *call)
{
    const void *data;
    size_t size;

    pool_call_bytes(call, &data, &size);
    uint8_t *copy = malloc(size);
    if (copy == NULL)
        return -1;
    memcpy(copy, data, size);
    (void)poll(NULL, 0, 2500);
    int same = memcmp(copy, data, size) == 0;
    free(copy);
    return pool_call_return(call, "i", same);
}

static void
pages_in_use_stay(const struct drive *d)
{
    unsigned char *bytes = test_pattern(MEGABYTE, 19);
    pool_t *pool = open_pool(d, 1);
    pool_future_t *f = submit_bytes(pool, task_sleep_on_it, bytes, MEGABYTE);
    int same = 0;

    ck_assert_int_eq(drive_result(d, f, "i", &same), 0);
    ck_assert_int_eq(same, 1);
    pool_future_free(f);
    drive_destroy(d, pool);
    free(bytes);
}

/* Nothing comes back of what is taken back. */
static void
what_is_cancelled_leaves_no_pages(const struct drive *d)
{
    unsigned char *bytes = test_pattern(4 * MEGABYTE, 21);
    pool_t *pool = open_pool(d, 1);
    int pid = drive_pid(d, pool);

    stop(pid);
    pool_future_t *f = submit_bytes(pool, task_echo, bytes, 4 * MEGABYTE);
    ck_assert_int_ge(resident(), 4 * 1024);
    ck_assert_int_eq(pool_future_cancel(f), 0);
    pool_future_free(f);
    ck_assert_int_eq(kill(pid, SIGCONT), 0);
    drive_until(d, is_small, NULL);
    drive_destroy(d, pool);
    free(bytes);
}

/* A dump would make all of its pages first. */
static void
it_is_not_in_a_core(const struct drive *d)
{
    char line[512];
    bool segment = false;
    int found = 0;
    pool_t *pool = open_pool(d, 1);
    FILE *maps = fopen("/proc/self/smaps", "r");

    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long begin, end, offset;
        if (sscanf(line, "%lx-%lx %*s %lx", &begin, &end, &offset) == 3)
            segment = strstr(line, "memfd:forkpool") != NULL &&
                      offset == POOL__SEGMENT_AT;
        else if (segment && strncmp(line, "VmFlags:", 8) == 0)
            found += strstr(line, " dd") != NULL;
    }
    fclose(maps);
    ck_assert_int_eq(found, 1);
    drive_destroy(d, pool);
}

/* A second or two after the last large payload. */
static void
an_idle_worker_gives_pages_back(const struct drive *d)
{
    pool_t *pool = open_pool(d, 1);

    echo(d, pool, 4 * MEGABYTE);
    ck_assert_int_ge(resident(), 8 * 1024);
    drive_until(d, is_small, NULL);
    echo(d, pool, 4 * MEGABYTE);
    drive_destroy(d, pool);
}

/* Results after results have the same memory, whose pages are there. */
static void
a_block_is_used_again(const struct drive *d)
{
    unsigned char *bytes = test_pattern(5 * MEGABYTE, 15);
    pool_t *pool = open_pool(d, 1);
    const void *first = NULL;

    for (int i = 0; i < 4; i++) {
        void *owned = malloc(5 * MEGABYTE);
        pool_future_t *f;
        ck_assert_ptr_nonnull(owned);
        memcpy(owned, bytes, 5 * MEGABYTE);
        ck_assert_int_eq(pool_submit_owned(pool, &f, NULL, task_echo, owned,
                             5 * MEGABYTE, free),
            0);
        const void *value = value_of(d, f, 5 * MEGABYTE);
        ck_assert(memcmp(value, bytes, 5 * MEGABYTE) == 0);
        ck_assert(first == NULL || first == value);
        first = value;
        pool_future_free(f);
    }
    drive_destroy(d, pool);
    free(bytes);
}

/* ---- liars --------------------------------------------------------------- */

/* Placed frames, one behind the other, for tasks from this number on: each has
 * a payload of N words of 64 bits. */
static void
say_placed(uint64_t number, uint64_t bytes, uint32_t n, int times)
{
    unsigned char said[2 * (POOL__FRAME_HEADER + 16)] = {0}, *at = said;

    for (int i = 0; i < times; i++) {
        struct pool__frame frame = {.type = POOL__FRAME_PLACED,
            .id = pool__frame_id(number + (uint64_t)i, 0),
            .size = 8 * n};
        pool__frame_put(at, &frame);
        memcpy(at + POOL__FRAME_HEADER, &bytes, sizeof bytes);
        at += POOL__FRAME_HEADER + frame.size;
    }
    if (write(test_result_pipe(), said, (size_t)(at - said)) != at - said)
        _exit(1);
}

static const struct lie {
    const char *name;
    uint64_t bytes;
    uint32_t words;  /* of payload */
    uint64_t number; /* of the task; it is the first that tells the lie */
    bool counted;    /* the pool has no segments */
    const char *found;
} lies[] = {
#define NOT_THERE "not in its segment"
    {"above the area", POOL__AREA + 1, 1, 1, false, NOT_THERE},
    {"above all", UINT64_MAX, 1, 1, false, NOT_THERE},
    {"small", POOL__LARGE - 1, 1, 1, false, NOT_THERE},
    {"nothing", 0, 1, 1, false, NOT_THERE},
    {"above the limit", 9 * MEGABYTE, 1, 1, false, NOT_THERE},
    {"no size", MEGABYTE, 0, 1, false, NOT_THERE},
    {"two sizes", MEGABYTE, 2, 1, false, NOT_THERE},
    {"of another task", MEGABYTE, 1, 2, false, "no task that it runs"},
    {"where there is no segment", MEGABYTE, 1, 1, true, NOT_THERE},
};

/* "t": which lie. */
static int
task_lie(pool_call_t *call)
{
    uint64_t i;
    int rc = pool_call_args(call, "t", &i);

    if (rc < 0)
        return rc;
    say_placed(lies[i].number, lies[i].bytes, lies[i].words, 1);
    return task_hang(call);
}

static void
every_lie(const struct drive *d)
{
    for (uint64_t i = 0; i < COUNT(lies); i++) {
        pool_options_t options = options_of(1);
        pool_future_t *f;
        options.max_result = 8 * (int64_t)MEGABYTE;
        if (lies[i].counted)
            options.max_worker_rss = INT64_C(1) << 50;
        pool_t *pool = drive_open(d, &options);
        ck_assert_int_eq(pool_submit(pool, &f, task_lie, "t", i), 0);
        int rc = drive_error(d, f);
        ck_assert_msg(rc == POOL_EPROTO, "%s: %d", lies[i].name, rc);
        /* Host drive has no segments. */
        const char *message = pool_future_failure(f)->message;
        ck_assert_msg(
            strstr(message, d->bit == IN_HOST ? NOT_THERE : lies[i].found) !=
                NULL,
            "%s: %s", lies[i].name, message);
        pool_future_free(f);
        drive_works(d, pool);
        drive_destroy(d, pool);
    }
}

/* As task_wait; then two results at once, of this task and the next. */
static int
task_lie_twice(pool_call_t *call)
{
    uint64_t address;
    int rc = pool_call_args(call, "t", &address);

    if (rc == 0)
        rc = task_wait(call);
    if (rc < 0 || address == 0)
        return rc;
    say_placed(QUICK + 1, MEGABYTE, 1, 2);
    return task_hang(call);
}

/* One lie must not keep the host busy for as many results as were promised: the
 * second is none, and its task runs elsewhere. */
static void
two_results_at_once(const struct drive *d)
{
    int *sent = test_shared(sizeof *sent);
    pool_future_t *f[2];
    pool_t *pool = open_pool(d, 1);

    for (int i = 0; i < QUICK; i++) { /* then others are sent ahead */
        ck_assert_int_eq(
            pool_submit(pool, &f[0], task_lie_twice, "t", UINT64_C(0)), 0);
        ck_assert_int_eq(drive_end(d, f[0]), 0);
    }
    ck_assert_int_eq(
        pool_submit(pool, &f[0], task_lie_twice, "t", ADDRESS(sent)), 0);
    ck_assert_int_eq(
        pool_submit(pool, &f[1], task_lie_twice, "t", UINT64_C(0)), 0);
    raise_word(sent, 1);
    (void)value_of(d, f[0], MEGABYTE);
    (void)value_of(d, f[1], 0);
    pool_future_free(f[0]);
    pool_future_free(f[1]);
    drive_works(d, pool);
    drive_destroy(d, pool);
}

static int
task_lie_before(pool_call_t *call)
{
    (void)call;
    say_placed(1, MEGABYTE, 1, 1);
    return 0;
}

/* One that has no task yet. */
static void
a_lie_before_the_hello(const struct drive *d)
{
    pool_options_t options = options_of(1);
    pool_t *pool = NULL;

    options.initializer = task_lie_before;
    options.max_start_failures = 1;
    ck_assert_int_eq(drive_try_open(d, &pool, &options), POOL_EBROKEN);
}

static int *scribbles, *shared_results;

/* Writes all over its region but for what the protocol needs, and throws its
 * pages away, for ever. */
static void
scribble(void)
{
    struct pool__region *region = own_region();

    if (region == NULL)
        _exit(1);
    raise_word(scribbles, 1);
    uint8_t *segment = (uint8_t *)region + POOL__SEGMENT_AT;
    for (unsigned i = 0;; i++) {
        size_t at = i * 65599u % (4 * MEGABYTE);
        segment[at] ^= 0xff;
        segment[POOL__AREA + at] ^= 0xff;
        region->fetched = i % 16;
        region->mapped = i;
        if (i % 4096 == 0)
            (void)madvise(segment + POOL__AREA, 4 * MEGABYTE, MADV_REMOVE);
    }
}

static int
task_scribble(pool_call_t *call)
{
    (void)call;
    if (fork() == 0)
        scribble();
    return 0;
}

/* Bytes -> as many; raises the word where they lie in the segment. */
static int
task_as_many(pool_call_t *call)
{
    void *block;
    size_t size;

    pool_call_bytes(call, NULL, &size);
    int rc = pool_call_reserve(call, size, &block);
    if (rc == 0 && in_segment(block))
        raise_word(shared_results, 1);
    return rc;
}

static void
scribbled_while_it_is_read(const struct drive *d)
{
    size_t size = 4 * MEGABYTE;
    unsigned char *bytes = test_pattern(size, 17);

    scribbles = test_shared(sizeof *scribbles);
    shared_results = test_shared(sizeof *shared_results);
    pool_t *pool = open_pool(d, 1), *other = open_pool(d, 1);
    ck_assert_int_eq(drive_end(d, submit(pool, task_scribble)), 0);
    ck_assert(test_await(scribbles, 1));
    for (int i = 0; i < 10 || read_word(shared_results) < 3; i++) {
        ck_assert_int_lt(i, 10000);
        pool_future_t *f = submit_bytes(pool, task_as_many, bytes, size);
        echo(d, other, 300000);
        (void)value_of(d, f, size); /* the bytes are what they are */
        pool_future_free(f);
    }
    drive_destroy(d, pool);
    drive_destroy(d, other);
    free(bytes);
}

static const struct drive_case cases[] = {
    {"what_is_large_goes_there", what_is_large_goes_there, IN_ITS_DRIVES},
    {"none_in_host_drive", none_in_host_drive, IN_HOST},
    {"none_where_memory_is_counted", none_where_memory_is_counted,
        IN_ITS_DRIVES},
    {"none_under_a_limit", none_under_a_limit, IN_CALLER},
    {"none_where_it_cannot_be_mapped", none_where_it_cannot_be_mapped,
        IN_ITS_DRIVES},
    {"none_under_a_descriptor", none_under_a_descriptor, IN_CALLER},
    {"forked_by_the_program_too", forked_by_the_program_too, IN_CALLER},
    {"in_a_worker_too", in_a_worker_too, IN_CALLER},
    {"around_the_threshold", around_the_threshold, IN_ALL},
    {"read_by_a_child_of_the_task", read_by_a_child_of_the_task, IN_ALL},
    {"with_a_line_of_log", with_a_line_of_log, IN_ITS_DRIVES},
    {"many_in_flight", many_in_flight, IN_ALL},
    {"a_busy_area", a_busy_area, IN_CALLER},
    {"a_large_task_cancelled_before_it_begins",
        a_large_task_cancelled_before_it_begins, IN_ALL},
    {"a_large_task_cancelled_behind_another",
        a_large_task_cancelled_behind_another, IN_ITS_DRIVES},
    {"killed_before_it_returns", killed_before_it_returns, IN_ALL},
    {"killed_before_it_begins", killed_before_it_begins, IN_ALL},
    {"run_again_after_a_crash", run_again_after_a_crash, IN_ALL},
    {"killed_after_it_returned", killed_after_it_returned, IN_ITS_DRIVES},
    {"killed_by_the_next_task", killed_by_the_next_task, IN_ALL},
    {"a_deadline", a_deadline, IN_ALL},
    {"the_pool_ends", the_pool_ends, IN_ALL},
    {"an_idle_worker_gives_pages_back", an_idle_worker_gives_pages_back,
        IN_ITS_DRIVES},
    {"what_is_not_returned_goes_at_once", what_is_not_returned_goes_at_once,
        IN_ITS_DRIVES},
    {"a_busy_worker_gives_pages_back", a_busy_worker_gives_pages_back,
        IN_ITS_DRIVES},
    {"pages_in_use_stay", pages_in_use_stay, IN_CALLER},
    {"what_is_cancelled_leaves_no_pages", what_is_cancelled_leaves_no_pages,
        IN_THREAD},
    {"it_is_not_in_a_core", it_is_not_in_a_core, IN_ITS_DRIVES},
    {"a_block_is_used_again", a_block_is_used_again, IN_ITS_DRIVES},
    {"every_lie", every_lie, IN_ALL},
    {"two_results_at_once", two_results_at_once, IN_ITS_DRIVES},
    {"a_lie_before_the_hello", a_lie_before_the_hello, IN_ITS_DRIVES},
    {"scribbled_while_it_is_read", scribbled_while_it_is_read, IN_ITS_DRIVES},
    {NULL, NULL, 0},
};

int
main(int argc, char **argv)
{
    return drive_main("segment", cases, argc, argv);
}
