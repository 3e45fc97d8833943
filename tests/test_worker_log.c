/* What a worker says: lines of log, and what it prints. */
#define _GNU_SOURCE
#include "lines.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
    int started;
} * shared;

/* ---- log -------------------------------------------------------------- */

static int
task_log_kinds(pool_call_t *call)
{
    char *text = malloc(3001);

    if (text == NULL)
        return 1;
    memset(text, 'x', 3000);
    text[3000] = '\0';
    pool_call_log(call, "plain %d", 7);
    pool_call_log(call, "a\nb\tc\x1b[0m");
    pool_call_log(call, "gr\xc3\xbc \xff");
    pool_call_log(call, "%s", text);
    pool_call_log(call, "%s", "");
    free(text);
    return pool_call_log(NULL, "x") == POOL_EINVAL &&
                   pool_call_log(call, NULL) == POOL_EINVAL
               ? 0
               : 2;
}

static void
lines_of_log(int unused)
{
    pool_future_t *f;
    const pool_log_t *line;
    int pid = 0;

    (void)unused;
    test_begin();
    for (int backend = POOL_FORK; backend <= POOL_SERIAL; backend++) {
        pool_options_t options = with_log(1);
        options.backend = backend;
        pool_t *pool = make(&options);
        ck_assert_int_eq(pool_submit(pool, &f, task_pid, ""), 0);
        ck_assert_int_eq(pool_future_result(f, PATIENCE_MS, "i", &pid), 0);
        pool_future_free(f);
        run(pool, task_log_kinds, 0);
        line = find_line(&lines, "plain 7");
        ck_assert_ptr_nonnull(line); /* before the task had settled */
        ck_assert_int_eq(line->kind, POOL_LOG_TASK);
        ck_assert_uint_eq(line->task_id, 2);
        if (backend == POOL_FORK)
            ck_assert_int_eq(line->pid, pid);
        ck_assert_ptr_nonnull(find_line(&lines, "a?b?c?[0m"));
        ck_assert_ptr_nonnull(find_line(&lines, "gr\xc3\xbc ?"));
        ck_assert_uint_eq(lines.line[3].length, 1023);
        ck_assert_int_eq(lines.count, 4); /* nothing is no line */
        pool_destroy(pool);
    }
    test_end();
}

static int
task_log_and_wait(pool_call_t *call)
{
    pool_call_log(call, "I am here");
    return test_await(&shared->started, 1) ? 0 : 1;
}

static void
a_line_is_seen_while_the_task_runs(int unused)
{
    pool_future_t *before[50], *f;

    (void)unused;
    test_begin();
    pool_options_t options = with_log(1);
    shared = test_shared(sizeof *shared);
    pool_t *pool = make(&options);
    for (int i = 0; i < 50; i++) /* their replies may stand in the buffer */
        ck_assert_int_eq(
            pool_submit(pool, &before[i], task_double, "d", (double)i), 0);
    ck_assert_int_eq(pool_submit(pool, &f, task_log_and_wait, ""), 0);
    ck_assert_uint_eq(await_line(pool, &lines, "I am here")->task_id, 51);
    for (int i = 0; i < 50; i++) { /* it came behind them */
        ck_assert_int_eq(pool_future_error(before[i], 0), 0);
        pool_future_free(before[i]);
    }
    ck_assert(!pool_future_done(f));
    __atomic_store_n(&shared->started, 1, __ATOMIC_SEQ_CST);
    ck_assert_int_eq(pool_future_error(f, PATIENCE_MS), 0);
    pool_future_free(f);
    pool_destroy(pool);
    test_end();
}

/* "ii": a result of so many bytes, and how it is made; lines of log before,
 * between and after, so that the result has to move. */
static int
task_log_around_result(pool_call_t *call)
{
    int32_t size, how;
    void *place = NULL;
    int rc = pool_call_args(call, "ii", &size, &how);
    unsigned char *bytes = malloc((size_t)size + 1);

    size_t half = (size_t)size / 2;
    if (rc < 0 || bytes == NULL)
        return 1;
    for (int i = 0; i < size; i++)
        bytes[i] = (unsigned char)(i * 7 + how);
    if (how != 0)
        pool_call_log(call, "before %d", size);
    if (how == 2) {
        rc = pool_call_reserve(call, (size_t)size, &place);
        if (rc == 0)
            memcpy(place, bytes, half);
        pool_call_log(call, "between %d", size);
        if (rc == 0)
            memcpy((char *)place + half, bytes + half, (size_t)size - half);
    } else {
        rc = pool_call_return_bytes(call, bytes, (size_t)size);
    }
    pool_call_log(call, "after %d", size);
    free(bytes);
    return rc;
}

static void
results_are_whole_around_log(int unused)
{
    static const int sizes[] = {
        0, 1, 7, 8, 100, 5000, 60000, 65536, 131000, 131056, 131072, 1000000};
    enum { N = 12 };
    pool_future_t *f[N], *small[N];

    (void)unused;
    test_begin();
    for (int how = 0; how < 3; how++) {
        pool_options_t options = with_log(1);
        pool_t *pool = make(&options);
        for (int i = 0; i < N; i++) {
            ck_assert_int_eq(
                pool_submit(pool, &small[i], task_double, "d", 1.0), 0);
            ck_assert_int_eq(pool_submit(pool, &f[i], task_log_around_result,
                                 "ii", sizes[i], how),
                0);
        }
        for (int i = 0; i < N; i++) {
            const unsigned char *bytes;
            const void *data;
            size_t size;
            ck_assert_int_eq(pool_future_error(small[i], PATIENCE_MS), 0);
            ck_assert_int_eq(
                pool_future_bytes(f[i], PATIENCE_MS, &data, &size), 0);
            ck_assert_int_eq((int)size, sizes[i]);
            bytes = data;
            for (size_t k = 0; k < size; k++)
                require(bytes[k] == (unsigned char)((int)k * 7 + how));
            pool_future_free(f[i]);
            pool_future_free(small[i]);
        }
        ck_assert_int_eq(lines.count, N * (how == 0 ? 1 : how + 1));
        pool_destroy(pool);
    }
    test_end();
}

static int
task_log_many(pool_call_t *call)
{
    for (int i = 0; i < 3000; i++)
        pool_call_log(call, "line %d", i);
    return 0;
}

static void
lines_come_in_order(int unused)
{
    char text[30];

    (void)unused;
    test_begin();
    pool_options_t options = with_log(1);
    pool_t *pool = make(&options);
    run(pool, task_log_many, 0);
    ck_assert_int_eq(lines.count, 3000);
    for (int i = 0; i < 3000; i++) {
        snprintf(text, sizeof text, "line %d", i);
        ck_assert_str_eq(lines.text[i], text);
    }
    pool_destroy(pool);
    test_end();
}

/* ---- output ----------------------------------------------------------- */

static int
task_print(pool_call_t *call)
{
    (void)call;
    printf("to stdout\n");
    fprintf(stderr, "to stderr\n");
    return 0;
}

static int
task_print_and_die(pool_call_t *call)
{
    (void)call;
    if (fork() == 0) /* a grandchild holds the pipe */
        for (;;)
            pause();
    printf("last words\n");
    fprintf(stderr, "no feed");
    raise(SIGKILL);
    return 0;
}

static void
captured_output(int unused)
{
    pool_future_t *f;
    int pid = 0;

    (void)unused;
    test_begin();
    pool_options_t options = with_log(1);
    options.worker_stdout = options.worker_stderr = POOL_OUTPUT_CAPTURE;
    pool_t *pool = make(&options);
    ck_assert_int_eq(pool_submit(pool, &f, task_pid, ""), 0);
    ck_assert_int_eq(pool_future_result(f, PATIENCE_MS, "i", &pid), 0);
    pool_future_free(f);
    run(pool, task_print, 0);
    const pool_log_t *line = await_line(pool, &lines, "to stdout");
    ck_assert_int_eq(line->kind, POOL_LOG_OUTPUT);
    ck_assert_int_eq(line->pid, pid);
    (void)await_line(pool, &lines, "to stderr");
    ck_assert_int_eq(pool_submit(pool, &f, task_print_and_die, ""), 0);
    ck_assert_int_eq(pool_future_error(f, PATIENCE_MS), POOL_EDIED);
    ck_assert_ptr_nonnull(find_line(&lines, "last words"));
    ck_assert_ptr_nonnull(find_line(&lines, "no feed"));
    ck_assert_str_eq(pool_future_failure(f)->stderr_tail,
        "to stdout\nto stderr\nlast words\nno feed");
    pool_future_free(f);
    run(pool, task_print, 0); /* and in the one that replaced it */
    pool_destroy(pool);
    test_end();
}

/* What a worker's 1 and 2 are, as "bbbb": /dev/null each, and a pipe each. */
static int
task_standard(pool_call_t *call)
{
    bool null[3], piped[3];
    char path[300], target[300];

    for (int fd = 1; fd <= 2; fd++) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(path, target, sizeof target - 1);
        target[n > 0 ? n : 0] = '\0';
        null[fd] = strcmp(target, "/dev/null") == 0;
        piped[fd] = strncmp(target, "pipe:", 5) == 0;
    }
    return pool_call_return(call, "bbbb", null[1], null[2], piped[1], piped[2]);
}

static void
check_descriptors(pool_t *pool, int to_out, int to_err)
{
    bool null[3], piped[3];
    int standard, pipes, memory, others;
    pool_future_t *f;

    ck_assert_int_eq(pool_submit(pool, &f, task_standard, ""), 0);
    ck_assert_int_eq(pool_future_result(f, PATIENCE_MS, "bbbb", &null[1],
                         &null[2], &piped[1], &piped[2]),
        0);
    pool_future_free(f);
    ck_assert_int_eq(pool_submit(pool, &f, task_descriptors, ""), 0);
    ck_assert_int_eq(pool_future_result(f, PATIENCE_MS, "iiii", &standard,
                         &pipes, &memory, &others),
        0);
    pool_future_free(f);
    ck_assert_int_eq(standard, 3);
    ck_assert_int_eq(pipes, 3); /* tasks, results, lifeline */
    ck_assert_int_eq(memory, 1);
    ck_assert_int_eq(others, 0);
    if (to_out != POOL_OUTPUT_INHERIT) {
        ck_assert_int_eq(null[1], to_out == POOL_OUTPUT_NULL);
        ck_assert_int_eq(piped[1], to_out == POOL_OUTPUT_CAPTURE);
    }
    if (to_err != POOL_OUTPUT_INHERIT) {
        ck_assert_int_eq(null[2], to_err == POOL_OUTPUT_NULL);
        ck_assert_int_eq(piped[2], to_err == POOL_OUTPUT_CAPTURE);
    }
}

/* Runs first in its process: libuv has nothing open yet. */
static void
descriptors_under_each_policy(int unused)
{
    (void)unused;
    for (int to_out = 0; to_out <= POOL_OUTPUT_CAPTURE; to_out++)
        for (int to_err = 0; to_err <= POOL_OUTPUT_CAPTURE; to_err++) {
            pool_options_t options = with_log(2);
            options.worker_stdout = to_out;
            options.worker_stderr = to_err;
            options.max_worker_rss = INT64_C(1) << 40; /* reads /proc */
            pid_t pid = fork();                        /* for the same reason */
            if (pid == 0) {
                pool_t *pool = make(&options);
                check_descriptors(pool, to_out, to_err);
                run(pool, task_kill_self, POOL_EDIED);
                check_descriptors(pool, to_out, to_err);
                pool_destroy(pool);
                _exit(0);
            }
            int status = -1;
            ck_assert_int_eq(waitpid(pid, &status, 0), pid);
            ck_assert_int_eq(status, 0);
        }
}

static const struct test tests[] = {
    {"lines_of_log", lines_of_log},
    {"a_line_is_seen_while_the_task_runs", a_line_is_seen_while_the_task_runs},
    {"results_are_whole_around_log", results_are_whole_around_log},
    {"lines_come_in_order", lines_come_in_order},
    {"captured_output", captured_output},
    {"descriptors_under_each_policy", descriptors_under_each_policy},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return test_main("worker_log", tests, argc, argv);
}
