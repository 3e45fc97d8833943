/* Large payloads through a worker's segment: which go there under which drive,
 * that nothing is lost or torn where workers crash, and that lies about it end
 * the liar alone. Those that go over the pipe are in exec_big.c too. */
#define _GNU_SOURCE
#include "drives.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "frame.h"
#include "segment.h"

#define MEGABYTE ((size_t)1 << 20)
#define IN_ITS_DRIVES (IN_CALLER | IN_THREAD) /* those that have segments */

static unsigned char *
pattern(size_t size, unsigned x)
{
    unsigned char *bytes = malloc(size);

    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < size; i++) {
        x = x * 1664525u + 1013904223u;
        bytes[i] = (unsigned char)(x >> 24);
    }
    return bytes;
}

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
echo(const struct drive *d, pool_t *pool, size_t size)
{
    unsigned char *bytes = pattern(size, (unsigned)size);

    expect_bytes(d, submit_bytes(pool, task_echo, bytes, size), bytes, size);
    free(bytes);
}

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
    if (d->bit == IN_CALLER || test_full()) {
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
    static const int resources[] = {RLIMIT_FSIZE, RLIMIT_AS};
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
    pool_future_t *f;
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

static void
in_a_worker_too(const struct drive *d)
{
    pool_t *pool = open_pool(d, 1);
    pool_future_t *f = submit(pool, task_nest);
    int found = 0;

    ck_assert_int_eq(drive_result(d, f, "i", &found), 0);
    ck_assert_int_eq(found, 3);
    pool_future_free(f);
    drive_destroy(d, pool);
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
    unsigned char *bytes = pattern(MEGABYTE, 2);
    pool_t *pool = open_pool(d, 1);
    pool_future_t *f = submit_bytes(pool, task_ask_child, bytes, MEGABYTE);
    int status = -1;

    ck_assert_int_eq(drive_result(d, f, "i", &status), 0);
    ck_assert_int_eq(status, 0);
    pool_future_free(f);
    drive_destroy(d, pool);
    free(bytes);
}

/* ---- busy areas ---------------------------------------------------------- */

static void
many_in_flight(const struct drive *d)
{
    enum { N = 60 };
    unsigned char *bytes = pattern(4 * MEGABYTE, 7);
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
    unsigned char *bytes = pattern(2 * MEGABYTE, 1);
    pool_t *pool = open_pool(d, 1);

    for (int i = 0; i < 3; i++) {
        int pid = drive_pid(d, pool);
        ck_assert_int_eq(kill(pid, SIGSTOP), 0);
        while (test_state(pid) != 'T')
            ;
        pool_future_t *f = submit_bytes(pool, task_echo, bytes, MEGABYTE);
        ck_assert_int_eq(pool_future_cancel(f), 0);
        pool_future_free(f);
        f = submit_bytes(pool, task_echo, bytes + MEGABYTE, MEGABYTE);
        ck_assert_int_eq(kill(pid, SIGCONT), 0);
        expect_bytes(d, f, bytes + MEGABYTE, MEGABYTE);
    }
    drive_destroy(d, pool);
    free(bytes);
}

/* ---- crashes and ends ---------------------------------------------------- */

/* Its own region and segment, mapped a second time. */
static struct pool__region *
own_region(void)
{
    char path[64], target[100];

    for (int fd = 3; fd < 4096; fd++) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(path, target, sizeof target - 1);
        if (n > 0 && strncmp(target, "/memfd:forkpool", 15) == 0) {
            void *at = mmap(NULL, POOL__SEGMENT_END, PROT_READ | PROT_WRITE,
                MAP_SHARED, fd, 0);
            return at != MAP_FAILED ? at : NULL;
        }
    }
    return NULL;
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
    unsigned char *bytes = pattern(MEGABYTE, 3);
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
    unsigned char *bytes = pattern(2 * MEGABYTE, 4);
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
        uint64_t end = region != NULL ? pool__load(&region->end) : 0;
        while (region != NULL && pool__load(&region->end) == end)
            ;
        kill(self, SIGKILL);
        _exit(0);
    }
    return rc;
}

static void
killed_after_it_returned(const struct drive *d)
{
    size_t size = 8 * MEGABYTE;
    unsigned char *bytes = pattern(size, 5);
    pool_t *pool = open_pool(d, 1);

    for (int i = 0; i < 3; i++) {
        pool_future_t *f = submit_bytes(pool, task_last_words, bytes, size);
        expect_bytes(d, f, bytes, size);
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
    unsigned char *bytes = pattern(size, 9);
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
    unsigned char *bytes = pattern(MEGABYTE, 11);
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
    unsigned char *bytes = pattern(size, 13);
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
    unsigned char *bytes = pattern(5 * MEGABYTE, 15);
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

/* A placed frame: its payload is N words of 64 bits. */
static void
say_placed(uint64_t id, uint64_t bytes, uint32_t n)
{
    unsigned char frame_bytes[POOL__FRAME_HEADER + 16] = {0};
    struct pool__frame frame = {
        .type = POOL__FRAME_PLACED, .id = id, .size = 8 * n};

    pool__frame_put(frame_bytes, &frame);
    memcpy(frame_bytes + POOL__FRAME_HEADER, &bytes, sizeof bytes);
    size_t size = POOL__FRAME_HEADER + frame.size;
    if (write(test_result_pipe(), frame_bytes, size) != (ssize_t)size)
        _exit(1);
}

static const struct lie {
    const char *name;
    uint64_t bytes;
    uint32_t words;  /* of payload */
    uint64_t number; /* of the task; it is the first that tells the lie */
    bool counted;    /* the pool has no segments */
} lies[] = {
    {"above the area", POOL__AREA + 1, 1, 1, false},
    {"above all", UINT64_MAX, 1, 1, false},
    {"small", POOL__LARGE - 1, 1, 1, false},
    {"nothing", 0, 1, 1, false},
    {"above the limit", 9 * MEGABYTE, 1, 1, false},
    {"no size", MEGABYTE, 0, 1, false},
    {"two sizes", MEGABYTE, 2, 1, false},
    {"of another task", MEGABYTE, 1, 2, false},
    {"where there is no segment", MEGABYTE, 1, 1, true},
};

/* "t": which lie. */
static int
task_lie(pool_call_t *call)
{
    uint64_t i;
    int rc = pool_call_args(call, "t", &i);

    if (rc < 0)
        return rc;
    say_placed(pool__frame_id(lies[i].number, 0), lies[i].bytes, lies[i].words);
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
        int rc = drive_end(d, f);
        ck_assert_msg(rc == POOL_EPROTO, "%s: %d", lies[i].name, rc);
        drive_works(d, pool);
        drive_destroy(d, pool);
    }
}

static int
task_lie_before(pool_call_t *call)
{
    (void)call;
    say_placed(pool__frame_id(1, 0), MEGABYTE, 1);
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

/* Writes all over its region but for what the protocol needs, and throws its
 * pages away, for ever. */
static void
scribble(void)
{
    struct pool__region *region = own_region();

    if (region == NULL)
        _exit(1);
    uint8_t *segment = (uint8_t *)region + POOL__SEGMENT_AT;
    for (unsigned i = 0;; i++) {
        size_t at = i * 65599u % (4 * MEGABYTE);
        segment[at] ^= 0xff;
        segment[POOL__AREA + at] ^= 0xff;
        region->fetched = ~UINT64_C(0) << i % 64;
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

static void
scribbled_while_it_is_read(const struct drive *d)
{
    size_t size = 4 * MEGABYTE;
    unsigned char *bytes = pattern(size, 17);
    pool_t *pool = open_pool(d, 1), *other = open_pool(d, 1);

    ck_assert_int_eq(drive_end(d, submit(pool, task_scribble)), 0);
    for (int i = 0; i < 10; i++) {
        pool_future_t *f = submit_bytes(pool, task_echo, bytes, size);
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
    {"forked_by_the_program_too", forked_by_the_program_too, IN_CALLER},
    {"in_a_worker_too", in_a_worker_too, IN_CALLER},
    {"around_the_threshold", around_the_threshold, IN_ALL},
    {"read_by_a_child_of_the_task", read_by_a_child_of_the_task, IN_ALL},
    {"many_in_flight", many_in_flight, IN_ALL},
    {"a_busy_area", a_busy_area, IN_CALLER},
    {"a_large_task_cancelled_before_it_begins",
        a_large_task_cancelled_before_it_begins, IN_ALL},
    {"killed_before_it_returns", killed_before_it_returns, IN_ALL},
    {"run_again_after_a_crash", run_again_after_a_crash, IN_ALL},
    {"killed_after_it_returned", killed_after_it_returned, IN_ITS_DRIVES},
    {"killed_by_the_next_task", killed_by_the_next_task, IN_ALL},
    {"a_deadline", a_deadline, IN_ALL},
    {"the_pool_ends", the_pool_ends, IN_ALL},
    {"an_idle_worker_gives_pages_back", an_idle_worker_gives_pages_back,
        IN_ITS_DRIVES},
    {"a_block_is_used_again", a_block_is_used_again, IN_ITS_DRIVES},
    {"every_lie", every_lie, IN_ALL},
    {"a_lie_before_the_hello", a_lie_before_the_hello, IN_ITS_DRIVES},
    {"scribbled_while_it_is_read", scribbled_while_it_is_read, IN_ITS_DRIVES},
    {NULL, NULL, 0},
};

int
main(int argc, char **argv)
{
    return drive_main("segment", cases, argc, argv);
}
