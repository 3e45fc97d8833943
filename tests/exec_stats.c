/* What a pool tells of itself, under every drive: counters, gauges, the text
 * of the metrics, the log, and what workers print. */
#include "drives.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- counters ----------------------------------------------------------- */

/* A mixed run: every task is counted once, as what became of it. */
static void
counters_add_up(const struct drive *d)
{
    enum { N = 60 };
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_task_options_t task = POOL_TASK_OPTIONS_INIT;
    pool_future_t *f[N];
    struct gate *gate = gate_new();
    uint64_t cancelled = 0, sum = 0;

    options.workers = options.min_workers = 2;
    options.kill_grace_ms = 50;
    pool_t *pool = drive_open(d, &options);
    pool_future_t *blockers[2];
    for (int i = 0; i < 2; i++)
        blockers[i] = gate_submit(pool, gate);
    drive_until_word(d, &gate->begun, 2);
    ck_assert_uint_eq(test_stats(pool).running, 2);
    for (int i = 0; i < N; i++) {
        static const pool_fn fns[] = {task_nothing, task_pid, task_fail,
            task_kill_self, task_nothing, task_hang};
        task.deadline_ms = i % 6 == 5 ? 20 : POOL_NONE;
        task.retries = i % 6 == 3;
        ck_assert_int_eq(
            pool_submit_opts(pool, &f[i], &task, fns[i % 6], ""), 0);
    }
    ck_assert_uint_eq(test_stats(pool).pending, N);
    for (int i = 4; i < N; i += 6)
        cancelled += pool_future_cancel(f[i]) == 0;
    gate_open(gate);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(drive_end(d, blockers[i]), 0);
    for (int i = 0; i < N; i++)
        (void)drive_end(d, f[i]);
    pool_stats_t s = test_stats(pool);
    ck_assert_uint_eq(s.submitted, N + 2);
    ck_assert_uint_eq(s.completed, 2 * N / 6 + 2);
    ck_assert_uint_eq(s.cancelled, cancelled);
    ck_assert_uint_eq(cancelled, N / 6);
    ck_assert_uint_eq(s.failed_task, N / 6);
    ck_assert_uint_eq(s.failed_died, N / 6);
    ck_assert_uint_eq(s.failed_deadline, N / 6);
    ck_assert_uint_eq(s.failed_broken + s.failed_proto + s.failed_other, 0);
    ck_assert_uint_eq(s.failed, 3 * N / 6);
    ck_assert_uint_eq(s.retried, N / 6);
    ck_assert_uint_eq(s.submitted, s.completed + s.failed + s.cancelled);
    ck_assert_uint_ge(s.workers_died, 2 * N / 6);
    ck_assert_uint_eq(s.pending, 0);
    ck_assert_uint_eq(s.running, 0);
    ck_assert_uint_eq(s.queued_bytes, 0);
    ck_assert_uint_eq(s.forkservers, 1);
    ck_assert_uint_eq(s.rejected, 0);
    for (int i = 0; i < POOL_HISTOGRAM_BUCKETS; i++)
        sum += s.run_time.buckets[i];
    ck_assert_uint_eq(sum, s.run_time.count);
    ck_assert_uint_ge(s.run_time.count, s.completed);
    ck_assert_uint_le(s.run_time.p50_ns, s.run_time.p99_ns);
    ck_assert_uint_ge(s.run_time.sum_ns, s.run_time.max_ns);
    ck_assert_uint_gt(s.queue_time.count, 0);
    drive_destroy(d, pool);
}

static void
bytes_are_counted(const struct drive *d)
{
    enum { SIZE = 100000 };
    static unsigned char bytes[SIZE];
    pool_t *pool = drive_pool(d, 1);
    pool_stats_t before = test_stats(pool);
    pool_future_t *f;

    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(
            pool_submit_bytes(pool, &f, NULL, task_echo, bytes, SIZE), 0);
        ck_assert_int_eq(drive_end(d, f), 0);
    }
    pool_stats_t after = test_stats(pool);
    ck_assert_uint_eq(after.bytes_sent - before.bytes_sent, 5 * SIZE);
    ck_assert_uint_eq(after.bytes_received - before.bytes_received, 5 * SIZE);
    pool_stats_t wrong = {.size = 3};
    ck_assert_int_eq(pool_stats(pool, &wrong), POOL_EINVAL);
    ck_assert_int_eq(pool_stats(pool, NULL), POOL_EINVAL);
    drive_destroy(d, pool);
}

static void
gauges(const struct drive *d)
{
    enum { N = 10 };
    pool_t *pool = drive_pool(d, 3);
    struct gate *gate = gate_new();
    pool_future_t *f[N];

    for (int i = 0; i < N; i++)
        f[i] = gate_submit(pool, gate);
    drive_until_word(d, &gate->begun, 3);
    pool_stats_t s = test_stats(pool);
    ck_assert_uint_eq(s.running, 3);
    ck_assert_uint_eq(s.pending, N - 3);
    ck_assert_uint_eq(s.workers, 3);
    ck_assert_uint_eq(s.idle, 0);
    ck_assert_uint_gt(s.queued_bytes, 0);
    gate_open(gate);
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(drive_end(d, f[i]), 0);
    s = test_stats(pool);
    ck_assert_uint_eq(s.running + s.pending, 0);
    ck_assert_uint_eq(s.idle, 3);
    drive_destroy(d, pool);
}

/* ---- the text ----------------------------------------------------------- */

/* One line of Prometheus' format: a comment, or name{labels} value. */
static bool
is_metric(const char *line)
{
    if (strncmp(line, "# HELP ", 7) == 0 || strncmp(line, "# TYPE ", 7) == 0)
        return true;
    const char *at = line;
    while (isalnum((unsigned char)*at) || *at == '_' || *at == ':')
        at++;
    if (at == line || isdigit((unsigned char)line[0]))
        return false;
    if (*at == '{') {
        at = strchr(at, '}');
        if (at == NULL)
            return false;
        at++;
    }
    if (*at++ != ' ')
        return false;
    char *end;
    (void)strtod(at, &end);
    return end != at && *end == '\0';
}

static void
the_text_parses(const struct drive *d)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    size_t length = 0, again = 0;
    int lines = 0, named = 0;

    options.workers = 1;
    options.name = "kettle-1.a";
    pool_t *pool = drive_open(d, &options);
    drive_works(d, pool);
    ck_assert_int_eq(drive_end(d, submit(pool, task_fail)), POOL_ETASK);
    ck_assert_int_eq(pool_stats_text(pool, NULL, 0, &length), 0);
    ck_assert_uint_gt(length, 200);
    char *text = malloc(length + 200);
    ck_assert_ptr_nonnull(text);
    ck_assert_int_eq(pool_stats_text(pool, text, 10, &again), POOL_ENOSPC);
    ck_assert_int_eq(pool_stats_text(pool, text, length + 200, &again), 0);
    ck_assert_uint_eq(strlen(text), again);
    ck_assert_int_eq(text[again - 1], '\n');
    for (char *line = text, *end; (end = strchr(line, '\n')) != NULL;
         line = end + 1) {
        *end = '\0';
        ck_assert_msg(is_metric(line), "\"%s\"", line);
        lines++;
        named += strstr(line, "\"kettle-1.a\"") != NULL;
    }
    ck_assert_int_gt(lines, 20);
    ck_assert_int_gt(named, 10);
    free(text);
    drive_destroy(d, pool);
}

static void
names_are_checked(const struct drive *d)
{
    static const char *const bad[] = {"", "a b", "a\"b", "a\n",
        "0123456789012345678901234567890123456789012345678901234567890123"};
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_t *pool = NULL;

    for (size_t i = 0; i < COUNT(bad); i++) {
        options.name = bad[i];
        ck_assert_int_eq(drive_try_open(d, &pool, &options), POOL_EINVAL);
        ck_assert(strstr(pool_errmsg(), "name") != NULL);
    }
}

/* ---- the log ------------------------------------------------------------ */

struct line {
    int kind, pid;
    uint64_t task_id;
    size_t length;
    char text[1100];
};

struct log {
    int count, done_after; /* lines that were there when it was done */
    struct line lines[600];
};

static void
keep(const pool_log_t *line, void *data)
{
    struct log *log = data;

    if (line->kind == POOL_LOG_POOL || log->count >= 600)
        return;
    struct line *to = &log->lines[log->count];
    to->kind = line->kind;
    to->pid = (int)line->pid;
    to->task_id = line->task_id;
    to->length = line->length;
    snprintf(to->text, sizeof to->text, "%s", line->text);
    raise_word(&log->count, 1);
}

static void
note_lines(pool_future_t *f, void *data)
{
    struct log *log = data;

    (void)f;
    __atomic_store_n(&log->done_after, log->count, __ATOMIC_RELEASE);
}

static pool_t *
logging(const struct drive *d, struct log *log, int workers)
{
    pool_options_t options = POOL_OPTIONS_INIT;

    options.workers = options.min_workers = workers;
    options.log = keep;
    options.log_data = log;
    options.worker_stdout = POOL_OUTPUT_CAPTURE;
    options.worker_stderr = POOL_OUTPUT_CAPTURE;
    return drive_open(d, &options);
}

/* "i": so many lines. */
static int
task_log(pool_call_t *call)
{
    int32_t lines;
    int rc = pool_call_args(call, "i", &lines);

    for (int i = 0; rc == 0 && i < lines; i++)
        rc = pool_call_log(call, "line %d of %d", i, lines);
    return rc < 0 ? rc : pool_call_return(call, "i", (int)getpid());
}

/* Whole, in order, with pid and task, before the task's callback. */
static void
lines_of_a_task(const struct drive *d)
{
    static struct log log;
    pool_t *pool = logging(d, &log, 1);
    int from = 0, pid;

    for (int lines = 1; lines <= 100; lines *= 10) {
        struct gate *gate = gate_new(); /* the callback is added in time */
        pool_future_t *blocker = gate_submit(pool, gate), *f;
        log.done_after = -1;
        ck_assert_int_eq(pool_submit(pool, &f, task_log, "i", lines), 0);
        ck_assert_int_eq(pool_future_add_done_callback(f, note_lines, &log), 0);
        gate_open(gate);
        ck_assert_int_eq(drive_end(d, blocker), 0);
        ck_assert_int_eq(drive_result(d, f, "i", &pid), 0);
        drive_until_word(d, &log.done_after, from + lines);
        ck_assert_int_eq(log.done_after, from + lines);
        for (int i = 0; i < lines; i++) {
            char expected[50];
            struct line *line = &log.lines[from + i];
            snprintf(expected, sizeof expected, "line %d of %d", i, lines);
            ck_assert_str_eq(line->text, expected);
            ck_assert_uint_eq(line->length, strlen(expected));
            ck_assert_int_eq(line->kind, POOL_LOG_TASK);
            ck_assert_int_eq(line->pid, pid);
            ck_assert_uint_eq(line->task_id, pool_future_id(f));
        }
        from += lines;
        pool_future_free(f);
    }
    drive_destroy(d, pool);
}

/* Long ones are cut, control characters hidden. */
static int
task_log_oddly(pool_call_t *call)
{
    char text[3000];

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    int rc = pool_call_log(call, "%s", text);
    if (rc == 0)
        rc = pool_call_log(call, "a\tb\nc\033[1m");
    return rc;
}

static void
odd_lines(const struct drive *d)
{
    static struct log log;
    pool_t *pool = logging(d, &log, 1);

    ck_assert_int_eq(drive_end(d, submit(pool, task_log_oddly)), 0);
    drive_until_word(d, &log.count, 2);
    ck_assert_uint_eq(log.lines[0].length, 1023);
    ck_assert_str_eq(log.lines[1].text, "a?b?c?[1m");
    drive_destroy(d, pool);
    ck_assert_int_eq(log.count, 2);
}

/* Workers that log at once: no line is torn or mixed. */
static void
lines_of_many(const struct drive *d)
{
    enum { TASKS = 20, LINES = 25 };
    static struct log log;
    pool_t *pool = logging(d, &log, 3);
    pool_future_t *f[TASKS];
    int next[TASKS + 2] = {0};

    for (int i = 0; i < TASKS; i++)
        ck_assert_int_eq(pool_submit(pool, &f[i], task_log, "i", LINES), 0);
    for (int i = 0; i < TASKS; i++)
        ck_assert_int_eq(drive_end(d, f[i]), 0);
    drive_until_word(d, &log.count, TASKS * LINES);
    for (int i = 0; i < TASKS * LINES; i++) {
        char expected[50];
        uint64_t id = log.lines[i].task_id;
        ck_assert(id >= 1 && id <= TASKS);
        snprintf(expected, sizeof expected, "line %d of %d", next[id]++, LINES);
        ck_assert_str_eq(log.lines[i].text, expected);
    }
    drive_destroy(d, pool);
    ck_assert_int_eq(log.count, TASKS * LINES);
}

/* ---- what workers print ------------------------------------------------- */

static int
task_print(pool_call_t *call)
{
    printf("out %d\n", 1);
    fflush(stdout);
    fprintf(stderr, "err %d\nno line feed", 2);
    return pool_call_return(call, "i", (int)getpid());
}

static bool
has_line(const struct log *log, const char *text, int pid)
{
    for (int i = 0; i < read_word(&log->count); i++)
        if (strcmp(log->lines[i].text, text) == 0 &&
            log->lines[i].kind == POOL_LOG_OUTPUT && log->lines[i].pid == pid)
            return true;
    return false;
}

static void
output_is_captured(const struct drive *d)
{
    static struct log log;
    pool_t *pool = logging(d, &log, 1);
    pool_future_t *f = submit(pool, task_print);
    int pid = 0;

    ck_assert_int_eq(drive_result(d, f, "i", &pid), 0);
    pool_future_free(f);
    drive_destroy(d, pool);
    ck_assert(has_line(&log, "out 1", pid));
    ck_assert(has_line(&log, "err 2", pid));
    ck_assert(has_line(&log, "no line feed", pid));
}

/* "i": prints so many lines, then dies. */
static int
task_last_words(pool_call_t *call)
{
    int32_t lines;
    int rc = pool_call_args(call, "i", &lines);

    if (rc < 0)
        return rc;
    for (int i = 1; i <= lines; i++)
        fprintf(stderr, "word %d\n", i);
    abort();
}

/* The failure has the tail of what the worker printed: 2 KiB at most. */
static void
the_tail_is_in_the_failure(const struct drive *d)
{
    static struct log log;
    pool_t *pool = logging(d, &log, 1);
    const pool_failure_t *failure;
    pool_future_t *f;

    for (int lines = 1; lines <= 1000; lines *= 1000) {
        char last[50];
        snprintf(last, sizeof last, "word %d", lines);
        ck_assert_int_eq(pool_submit(pool, &f, task_last_words, "i", lines), 0);
        ck_assert_int_eq(drive_error(d, f), POOL_EDIED);
        failure = pool_future_failure(f);
        ck_assert_int_eq(failure->signal, SIGABRT);
        ck_assert_ptr_nonnull(failure->stderr_tail);
        ck_assert_uint_le(strlen(failure->stderr_tail), 2048);
        ck_assert_msg(strstr(failure->stderr_tail, last) != NULL, "%s",
            failure->stderr_tail);
        if (lines == 1)
            ck_assert(strncmp(failure->stderr_tail, "word 1", 6) == 0);
        else
            ck_assert_uint_gt(strlen(failure->stderr_tail), 1500);
        pool_future_free(f);
    }
    drive_destroy(d, pool);
}

static void
null_output_is_nowhere(const struct drive *d)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    static struct log log;
    pool_future_t *f;

    options.workers = 1;
    options.log = keep;
    options.log_data = &log;
    options.worker_stdout = options.worker_stderr = POOL_OUTPUT_NULL;
    pool_t *pool = drive_open(d, &options);
    ck_assert_int_eq(drive_end(d, submit(pool, task_print)), 0);
    ck_assert_int_eq(pool_submit(pool, &f, task_last_words, "i", 3), 0);
    ck_assert_int_eq(drive_error(d, f), POOL_EDIED);
    ck_assert_ptr_null(pool_future_failure(f)->stderr_tail);
    pool_future_free(f);
    drive_destroy(d, pool);
    ck_assert_int_eq(log.count, 0);
}

/* A log callback may use the pool as any other. */
struct busy {
    pool_t *pool;
    int lines, submitted, refused;
};

static void
submit_in_the_log(const pool_log_t *line, void *data)
{
    struct busy *busy = data;

    if (line->kind != POOL_LOG_TASK)
        return;
    busy->refused += pool_poll(busy->pool, 10) == 0;
    if (pool_submit(busy->pool, NULL, task_nothing, "") == 0)
        busy->submitted++;
    raise_word(&busy->lines, 1);
}

static void
a_log_callback_submits(const struct drive *d)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    struct busy busy = {0};
    pool_future_t *f;

    options.workers = 1;
    options.log = submit_in_the_log;
    options.log_data = &busy;
    pool_t *pool = busy.pool = drive_open(d, &options);
    ck_assert_int_eq(pool_submit(pool, &f, task_log, "i", 20), 0);
    ck_assert_int_eq(drive_end(d, f), 0);
    drive_until_word(d, &busy.lines, 20);
    drive_shutdown(d, pool, 0);
    ck_assert_uint_eq(test_stats(pool).completed, 21);
    drive_destroy(d, pool);
    ck_assert_int_eq(busy.refused, 0);
    ck_assert_int_eq(busy.submitted, 20);
}

static const struct drive_case cases[] = {
    {"counters_add_up", counters_add_up, IN_ALL},
    {"bytes_are_counted", bytes_are_counted, IN_ALL},
    {"gauges", gauges, IN_ALL},
    {"the_text_parses", the_text_parses, IN_ALL},
    {"names_are_checked", names_are_checked, IN_ALL},
    {"lines_of_a_task", lines_of_a_task, IN_ALL},
    {"odd_lines", odd_lines, IN_ALL},
    {"lines_of_many", lines_of_many, IN_ALL},
    {"output_is_captured", output_is_captured, IN_ALL},
    {"the_tail_is_in_the_failure", the_tail_is_in_the_failure, IN_ALL},
    {"null_output_is_nowhere", null_output_is_nowhere, IN_ALL},
    {"a_log_callback_submits", a_log_callback_submits, IN_ALL},
    {NULL, NULL, 0},
};

int
main(int argc, char **argv)
{
    return drive_main("exec_stats", cases, argc, argv);
}
