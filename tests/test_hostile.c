/* Workers that lie: each violation ends the worker and fails its task; the
 * supervisor reads nothing out of bounds, and the other tasks don't notice. */
#define _GNU_SOURCE
#include "support.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "call.h"
#include "frame.h"
#include "proto.h"
#include "region.h"

/* ---- in the worker ---------------------------------------------------- */

/* Its own shared region, mapped a second time. */
static struct pool__region *
own_region(void)
{
    return pool__region_map(test_region_fd());
}

static void
send_flagged(uint32_t size, uint16_t type, uint16_t flags, uint64_t id,
    const void *payload, size_t payload_size)
{
    unsigned char bytes[4096] = {0};
    struct pool__frame frame = {
        .size = size, .type = type, .flags = flags, .id = id};

    pool__frame_put(bytes, &frame);
    if (payload_size != 0)
        memcpy(bytes + POOL__FRAME_HEADER, payload, payload_size);
    size_t n = (POOL__FRAME_HEADER + payload_size + 7) & ~(size_t)7;
    if (write(test_result_pipe(), bytes, n) < 0)
        _exit(1);
}

static void
send_frame(uint32_t size, uint16_t type, uint64_t id, const void *payload,
    size_t payload_size)
{
    send_flagged(size, type, 0, id, payload, payload_size);
}

/* The id of the running task is given: tasks are numbered from 1, the sendings
 * of each from 0. */
enum lie {
    HUGE_LENGTH,
    NO_TYPE,
    BAD_TYPE,
    GARBAGE,
    UNKNOWN_TASK,
    DUPLICATE_REPLY,
    SECOND_HELLO,
    A_CALL,
    A_COLLECTIVE,
    DIRTY_PADDING,
    ERROR_WITHOUT_CODE,
    ERROR_FORBIDDEN_CODE,
    ERROR_DEEP,
    LOG_EMPTY,
    LOG_TOO_LONG,
    LOG_LARGE,
    LOG_WITH_FLAGS,
    LOG_OF_NO_TASK,
    LOG_OF_A_FINISHED_TASK,
    LATE_FAILED_HELLO,
    END_FAR_AWAY,
    END_BEFORE_START,
    SKIPPED_TOO_MUCH,
    RUNNING_AND_CLAIMS,
    BUFFER_OF_GARBAGE,
    LIES
};

static void
tell_in_log(enum lie lie, uint64_t id)
{
    static const char text[POOL__LOG_MAX + 1];

    switch (lie) {
    case LOG_EMPTY:
        send_frame(0, POOL__FRAME_LOG, 0, NULL, 0);
        break;
    case LOG_TOO_LONG:
        send_frame(sizeof text, POOL__FRAME_LOG, 0, text, sizeof text);
        break;
    case LOG_LARGE:
        send_frame(1u << 20, POOL__FRAME_LOG, 0, NULL, 0);
        break;
    case LOG_WITH_FLAGS:
        send_flagged(8, POOL__FRAME_LOG, 1, 0, text, 8);
        break;
    case LOG_OF_NO_TASK:
        send_frame(8, POOL__FRAME_LOG, id + 1000, text, 8);
        break;
    case LOG_OF_A_FINISHED_TASK:
        send_frame(8, POOL__FRAME_LOG, id - pool__frame_id(1, 0), text, 8);
        break;
    case LATE_FAILED_HELLO:
        send_flagged(0, POOL__FRAME_HELLO, POOL__HELLO_FAILED, id, NULL, 0);
        break;
    default:
        break;
    }
}

static void
tell(enum lie lie, uint64_t id)
{
    static const char garbage[40] = "to be or not to be, that is the quest";
    struct pool__error forbidden = {POOL_ESHUTDOWN, 0, "no"};
    unsigned char error[POOL__ERROR_MAX], deep[1000];
    struct pool__region *region = own_region();

    memset(deep, 0x81, sizeof deep);
    switch (lie) {
    case HUGE_LENGTH:
        send_frame(UINT32_MAX, POOL__FRAME_REPLY, id, NULL, 0);
        break;
    case NO_TYPE:
        send_frame(0, 0, id, NULL, 0);
        break;
    case BAD_TYPE:
        send_frame(0, 99, id, NULL, 0);
        break;
    case GARBAGE:
        if (write(test_result_pipe(), garbage, sizeof garbage) < 0)
            _exit(1);
        break;
    case UNKNOWN_TASK:
        send_frame(0, POOL__FRAME_REPLY, id + 1000, NULL, 0);
        break;
    case DUPLICATE_REPLY:
        send_frame(0, POOL__FRAME_REPLY, id - pool__frame_id(1, 0), NULL, 0);
        break;
    case SECOND_HELLO:
        send_frame(0, POOL__FRAME_HELLO, id, NULL, 0);
        break;
    case A_CALL:
        send_frame(0, POOL__FRAME_CALL, id, NULL, 0);
        break;
    case A_COLLECTIVE:
        send_frame(0, POOL__FRAME_COLLECTIVE, id, NULL, 0);
        break;
    case DIRTY_PADDING:
        send_frame(1, POOL__FRAME_REPLY, id, "ab", 2);
        break;
    case ERROR_WITHOUT_CODE:
        send_frame(8, POOL__FRAME_ERROR, id, garbage, 8);
        break;
    case ERROR_FORBIDDEN_CODE: {
        size_t n = pool__error_encode(error, &forbidden);
        send_frame((uint32_t)n, POOL__FRAME_ERROR, id, error, n);
        break;
    }
    case ERROR_DEEP:
        send_frame(sizeof deep, POOL__FRAME_ERROR, id, deep, sizeof deep);
        break;
    case END_FAR_AWAY:
        __atomic_store_n(&region->reply.end, UINT64_MAX / 2, __ATOMIC_SEQ_CST);
        break;
    case END_BEFORE_START:
        __atomic_store_n(&region->reply.start, UINT64_MAX, __ATOMIC_SEQ_CST);
        __atomic_store_n(&region->reply.end, 1, __ATOMIC_SEQ_CST);
        break;
    case SKIPPED_TOO_MUCH:
        __atomic_store_n(&region->reply.skipped, 1 << 20, __ATOMIC_SEQ_CST);
        send_frame(0, POOL__FRAME_REPLY, id, NULL, 0);
        break;
    case RUNNING_AND_CLAIMS:
        memset(region->claims, 0xff, sizeof region->claims);
        region->running = UINT64_MAX;
        region->started_ns = UINT64_MAX;
        break;
    case BUFFER_OF_GARBAGE:
        memset(region->replies, 0xee, sizeof region->replies);
        __atomic_store_n(
            &region->reply.end, region->reply.start + 4096, __ATOMIC_SEQ_CST);
        break;
    default:
        tell_in_log(lie, id);
        break;
    }
}

static int
task_lie(pool_call_t *call)
{
    int32_t lie;
    uint64_t id;
    int rc = pool_call_args(call, "it", &lie, &id);

    if (rc < 0)
        return rc;
    tell((enum lie)lie, id);
    return task_hang(call); /* it must be ended from outside */
}

/* ---- in the host ------------------------------------------------------ */

/* In whose eyes a worker that only scribbles over what the supervisor treats
 * as hints has done nothing: it hangs, and is ended by the test. */
static bool
only_hints(enum lie lie)
{
    return lie == END_BEFORE_START || lie == RUNNING_AND_CLAIMS;
}

static void
every_lie(int unused)
{
    (void)unused;
    test_begin();
    for (int lie = 0; lie < LIES; lie++) {
        pool_future_t *before, *liar, *behind, *after;
        pool_t *pool = test_pool_of_liars(1);
        double y = 0;
        ck_assert_int_eq(pool_submit(pool, &before, task_double, "d", 1.0), 0);
        ck_assert_int_eq(pool_future_error(before, PATIENCE_MS), 0);
        ck_assert_int_eq(
            pool_submit(pool, &liar, task_lie, "it", lie, pool__frame_id(2, 0)),
            0);
        ck_assert_int_eq(pool_submit(pool, &behind, task_double, "d", 5.0), 0);
        if (only_hints((enum lie)lie)) {
            ck_assert_int_eq(pool_future_error(liar, 50), POOL_ETIMEDOUT);
        } else {
            while (!pool_future_done(liar)) /* looks into the region */
                ck_assert_int_eq(pool_poll(pool, 5), 0);
            int rc = pool_future_error(liar, 0);
            ck_assert_msg(rc == POOL_EPROTO, "lie %d: %d", lie, rc);
            ck_assert_msg(
                strstr(pool_future_failure(liar)->message, " ") != NULL,
                "lie %d", lie);
            if (lie >= ERROR_WITHOUT_CODE && lie <= ERROR_DEEP) /* right id */
                ck_assert_ptr_nonnull(strstr(pool_future_failure(liar)->message,
                    "an error that is none"));
            ck_assert_int_eq(
                pool_future_result(behind, PATIENCE_MS, "d", &y), 0);
            ck_assert_double_eq(y, 10);
            ck_assert_int_eq(
                pool_submit(pool, &after, task_double, "d", 4.0), 0);
            ck_assert_int_eq(
                pool_future_result(after, PATIENCE_MS, "d", &y), 0);
            pool_future_free(after);
        }
        pool_destroy(pool);
        pool_future_free(before);
        pool_future_free(liar);
        pool_future_free(behind);
    }
    test_end();
}

/* The neighbour of a liar loses nothing. */
static void
neighbours_of_a_liar(int unused)
{
    enum { N = 500 };
    pool_future_t *f[N], *liar;
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool_of_liars(2);
    for (int round = 0; round < 5; round++) {
        ck_assert_int_eq(pool_submit(pool, &liar, task_lie, "it",
                             (int)UNKNOWN_TASK, UINT64_C(1) << 40),
            0);
        for (int i = 0; i < N; i++)
            ck_assert_int_eq(
                pool_submit(pool, &f[i], task_double, "d", 1.0), 0);
        for (int i = 0; i < N; i++) {
            ck_assert_int_eq(pool_future_error(f[i], PATIENCE_MS), 0);
            pool_future_free(f[i]);
        }
        ck_assert_int_eq(pool_future_error(liar, PATIENCE_MS), POOL_EPROTO);
        pool_future_free(liar);
    }
    pool_destroy(pool);
    test_end();
}

/* Part of a frame, and then nothing: the memory for the rest is not taken,
 * and the pool can still be ended. */
static int
task_promise(pool_call_t *call)
{
    send_frame(200u << 20, POOL__FRAME_REPLY, 1, NULL, 0);
    return task_hang(call);
}

static void
a_promise_that_is_not_kept(int unused)
{
    pool_future_t *f;
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool_of_liars(1);
    ck_assert_int_eq(pool_submit(pool, &f, task_promise, ""), 0);
    ck_assert_int_eq(pool_future_error(f, 50), POOL_ETIMEDOUT);
    pool_destroy(pool);
    ck_assert_int_eq(pool_future_error(f, 0), POOL_ECANCELED);
    pool_future_free(f);
    test_end();
}

/* A worker that closes its pipes and runs on is ended after the grace. */
static int
task_close_all(pool_call_t *call)
{
    for (int fd = 3; fd < 4096; fd++)
        close(fd);
    return task_hang(call);
}

static void
pipes_closed_and_running_on(int unused)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_future_t *f;
    pool_t *pool = NULL;

    (void)unused;
    test_begin();
    options.workers = 1;
    options.kill_grace_ms = 50;
    ck_assert_int_eq(pool_create(&pool, &options), 0);
    ck_assert_int_eq(pool_submit(pool, &f, task_close_all, ""), 0);
    ck_assert_int_eq(pool_future_error(f, PATIENCE_MS), POOL_EDIED);
    pool_future_free(f);
    ck_assert_int_eq(pool_submit(pool, &f, task_double, "d", 1.0), 0);
    ck_assert_int_eq(pool_future_error(f, PATIENCE_MS), 0);
    pool_future_free(f);
    pool_destroy(pool);
    test_end();
}

/* A grandchild that holds the pipes doesn't hide the worker's death, and one
 * in the worker's group dies with it. */
static int
task_grandchild(pool_call_t *call)
{
    uint64_t address;
    int rc = pool_call_args(call, "t", &address);

    if (rc < 0)
        return rc;
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    *(int *)(uintptr_t)address = pid;
    return task_kill_self(call);
}

static void
a_grandchild_holds_the_pipes(int unused)
{
    int *pid = test_shared(sizeof *pid);
    pool_future_t *f;
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool_of_liars(1);
    ck_assert_int_eq(
        pool_submit(pool, &f, task_grandchild, "t", (uint64_t)(uintptr_t)pid),
        0);
    ck_assert_int_eq(pool_future_error(f, PATIENCE_MS), POOL_EDIED);
    ck_assert_int_gt(*pid, 0);
    test_await_gone(*pid);
    pool_future_free(f);
    pool_destroy(pool);
    test_end();
}

/* The size of a region can't be changed under the supervisor's feet. */
static int
task_shrink(pool_call_t *call)
{
    int fd = test_region_fd();

    return fd < 0 ? 1 : pool_call_return(call, "i", ftruncate(fd, 0));
}

static void
a_region_is_sealed(int unused)
{
    pool_future_t *f;
    pool_t *pool;
    int rc = 0;

    (void)unused;
    test_begin();
    pool = test_pool_of_liars(1);
    ck_assert_int_eq(pool_submit(pool, &f, task_shrink, ""), 0);
    ck_assert_int_eq(pool_future_result(f, PATIENCE_MS, "i", &rc), 0);
    ck_assert_int_eq(rc, -1);
    pool_future_free(f);
    pool_destroy(pool);
    test_end();
}

/* "i" -> hangs, after it has scribbled over what it says of its tasks, and over
 * what the host says of them. */
static int
task_scribble(pool_call_t *call)
{
    struct pool__region *region = own_region();
    int32_t how;
    int rc = pool_call_args(call, "i", &how);

    if (rc < 0)
        return rc;
    memset(region->tasks, 0xee, sizeof region->tasks);
    memset(&region->task, how == 2 ? 0xff : 0, sizeof region->task);
    region->reader = how == 0 ? POOL__READER_LOOKS : UINT64_MAX;
    __atomic_store_n(
        &region->task_taken, how == 1 ? UINT64_MAX : 0, __ATOMIC_SEQ_CST);
    return task_hang(call);
}

/* Those behind it, in its pipe, its region, or not sent yet, are run by the
 * next worker, with their arguments. */
static void
scribbled_tasks_are_sent_again(int unused)
{
    enum { N = 3000 };
    static unsigned char large[100000];
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_task_options_t late = POOL_TASK_OPTIONS_INIT;
    pool_future_t *f[N], *liar;

    (void)unused;
    test_begin();
    options.workers = 1;
    options.kill_grace_ms = POOL_NONE;
    late.deadline_ms = 200;
    for (int how = 0; how < 3; how++) {
        pool_t *pool = NULL;
        double y = 0;
        ck_assert_int_eq(pool_create(&pool, &options), 0);
        for (int i = 0; i < 10; i++) { /* they are quick: all are sent ahead */
            ck_assert_int_eq(
                pool_submit(pool, &f[0], task_double, "d", 1.0), 0);
            ck_assert_int_eq(pool_future_error(f[0], PATIENCE_MS), 0);
            pool_future_free(f[0]);
        }
        ck_assert_int_eq(
            pool_submit_opts(pool, &liar, &late, task_scribble, "i", how), 0);
        for (int i = 0; i < N; i++) {
            if (i % 1000 == 500)
                ck_assert_int_eq(pool_submit_bytes(pool, &f[i], NULL, task_echo,
                                     large, sizeof large),
                    0);
            else
                ck_assert_int_eq(
                    pool_submit(pool, &f[i], task_double, "d", (double)i), 0);
            if (i % 300 == 0)
                ck_assert_int_eq(pool_poll(pool, 1), 0);
        }
        ck_assert_int_eq(pool_future_error(liar, PATIENCE_MS), POOL_EDEADLINE);
        pool_future_free(liar);
        for (int i = 0; i < N; i++) {
            ck_assert_int_eq(pool_future_error(f[i], PATIENCE_MS), 0);
            if (i % 1000 != 500) {
                ck_assert_int_eq(pool_future_result(f[i], 0, "d", &y), 0);
                ck_assert_double_eq(y, 2.0 * i);
            }
            pool_future_free(f[i]);
        }
        pool_destroy(pool);
    }
    test_end();
}

/* Takes its claim back again and again, so that it seems not to have begun. */
static int
task_unclaim(pool_call_t *call)
{
    struct pool__region *region = own_region();

    (void)call;
    for (;;) {
        memset(region->claims, 0, sizeof region->claims);
        __atomic_store_n(&region->started_ns, 0, __ATOMIC_SEQ_CST);
        (void)poll(NULL, 0, 1);
    }
    return 0;
}

static void
claims_taken_back_escape_no_deadline(int unused)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_future_t *f, *next;
    pool_t *pool;

    (void)unused;
    test_begin();
    options.workers = 1;
    options.deadline_ms = 100;
    options.kill_grace_ms = POOL_NONE;
    ck_assert_int_eq(pool_create(&pool, &options), 0);
    ck_assert_int_eq(pool_submit(pool, &f, task_unclaim, ""), 0);
    ck_assert_int_eq(pool_future_error(f, PATIENCE_MS), POOL_EDEADLINE);
    ck_assert_int_eq(pool_submit(pool, &next, task_double, "d", 1.0), 0);
    ck_assert_int_eq(pool_future_error(next, PATIENCE_MS), 0);
    pool_future_free(f);
    pool_future_free(next);
    pool_destroy(pool);
    test_end();
}

/* The only worker stands still before it begins: another one is started. */
static void
a_stopped_only_worker(int unused)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_future_t *f;
    pool_t *pool;
    int pid = 0, after = 0;

    (void)unused;
    test_begin();
    options.workers = 1;
    options.deadline_ms = 1000;
    options.kill_grace_ms = POOL_NONE;
    ck_assert_int_eq(pool_create(&pool, &options), 0);
    ck_assert_int_eq(pool_submit(pool, &f, task_pid, ""), 0);
    ck_assert_int_eq(pool_future_result(f, PATIENCE_MS, "i", &pid), 0);
    pool_future_free(f);
    ck_assert_int_eq(kill(pid, SIGSTOP), 0);
    ck_assert_int_eq(pool_submit(pool, &f, task_pid, ""), 0);
    ck_assert_int_eq(pool_future_result(f, PATIENCE_MS, "i", &after), 0);
    ck_assert_int_ne(after, pid);
    pool_future_free(f);
    pool_destroy(pool);
    test_end();
}

/* It has forgotten how much it may return. */
static int
task_too_much(pool_call_t *call)
{
    static const char bytes[40];

    call->max_result = sizeof bytes;
    return pool_call_return_bytes(call, bytes, sizeof bytes);
}

/* Also a limit below what a task has room for is kept. */
static void
a_short_result_above_the_limit(int unused)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_future_t *f;
    pool_t *pool = NULL;

    (void)unused;
    test_begin();
    options.workers = 1;
    options.max_result = 16;
    ck_assert_int_eq(pool_create(&pool, &options), 0);
    ck_assert_int_eq(pool_submit(pool, &f, task_too_much, ""), 0);
    ck_assert_int_eq(pool_future_error(f, PATIENCE_MS), POOL_EPROTO);
    pool_future_free(f);
    pool_destroy(pool);
    test_end();
}

static const struct test tests[] = {
    {"every_lie", every_lie},
    {"neighbours_of_a_liar", neighbours_of_a_liar},
    {"a_promise_that_is_not_kept", a_promise_that_is_not_kept},
    {"pipes_closed_and_running_on", pipes_closed_and_running_on},
    {"a_grandchild_holds_the_pipes", a_grandchild_holds_the_pipes},
    {"a_region_is_sealed", a_region_is_sealed},
    {"scribbled_tasks_are_sent_again", scribbled_tasks_are_sent_again},
    {"claims_taken_back_escape_no_deadline",
        claims_taken_back_escape_no_deadline},
    {"a_stopped_only_worker", a_stopped_only_worker},
    {"a_short_result_above_the_limit", a_short_result_above_the_limit},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return test_main("hostile", tests, argc, argv);
}
