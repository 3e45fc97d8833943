/* Deadlines and cancelling what runs, under every drive. */
#include "drives.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int64_t
now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static pool_t *
open_with(const struct drive *d, int workers, int deadline_ms, int grace_ms)
{
    pool_options_t options = POOL_OPTIONS_INIT;

    options.workers = options.min_workers = workers;
    options.deadline_ms = deadline_ms;
    options.kill_grace_ms = grace_ms;
    return drive_open(d, &options);
}

static pool_future_t *
submit_with(pool_t *pool, const pool_task_options_t *options, pool_fn fn,
    const void *address)
{
    pool_future_t *f = NULL;
    int rc = pool_submit_opts(pool, &f, options, fn, "t", ADDRESS(address));

    ck_assert_msg(rc == 0, "%s", pool_errmsg());
    return f;
}

/* ---- deadlines ---------------------------------------------------------- */

static void
of_a_task_and_of_the_pool(const struct drive *d)
{
    pool_task_options_t task = POOL_TASK_OPTIONS_INIT;
    pool_t *pool = open_with(d, 2, 30, 0);
    struct gate *gate = gate_new();
    pool_future_t *by_pool, *by_task, *never;

    by_pool = submit(pool, task_hang);
    ck_assert_int_eq(drive_error(d, by_pool), POOL_EDEADLINE);
    const pool_failure_t *failure = pool_future_failure(by_pool);
    ck_assert_int_eq(failure->code, POOL_EDEADLINE);
    ck_assert_int_eq(failure->attempts, 1);
    ck_assert_int_gt(failure->pid, 0);
    ck_assert_msg(strlen(failure->message) > 10, "%s", failure->message);
    drive_until_gone(d, failure->pid);
    task.deadline_ms = 1;
    by_task = submit_with(pool, &task, task_hang, NULL);
    ck_assert_int_eq(drive_end(d, by_task), POOL_EDEADLINE);
    task.deadline_ms = POOL_NONE;
    never = submit_with(pool, &task, task_gate, gate);
    drive_until_word(d, &gate->begun, 1);
    for (int i = 0; i < 3; i++) /* others reach theirs meanwhile */
        ck_assert_int_eq(drive_end(d, submit(pool, task_hang)), POOL_EDEADLINE);
    ck_assert(pool_future_running(never));
    gate_open(gate);
    ck_assert_int_eq(drive_end(d, never), 0);
    ck_assert_int_eq(
        drive_end(d, submit_with(pool, &task, task_nothing, NULL)), 0);
    pool_stats_t stats = test_stats(pool);
    ck_assert_uint_eq(stats.failed_deadline, 5);
    ck_assert_uint_eq(stats.failed, 5);
    ck_assert_uint_eq(stats.completed, 2);
    pool_future_free(by_pool);
    drive_destroy(d, pool);
}

/* From here on this worker ignores SIGTERM. */
static int
task_deafen(pool_call_t *call)
{
    signal(SIGTERM, SIG_IGN);
    return pool_call_return(call, "i", (int)getpid());
}

static int
deafen(const struct drive *d, pool_t *pool)
{
    pool_future_t *f = submit(pool, task_deafen);
    int pid = 0;

    ck_assert_int_eq(drive_result(d, f, "i", &pid), 0);
    pool_future_free(f);
    return pid;
}

/* The future settles at the deadline; the worker that ignores SIGTERM goes
 * after the grace. */
static void
deaf_to_sigterm(const struct drive *d)
{
    pool_task_options_t task = POOL_TASK_OPTIONS_INIT;
    pool_t *pool = open_with(d, 1, 0, 100);

    task.deadline_ms = 30;
    for (int i = 0; i < 2; i++) {
        int pid = deafen(d, pool);
        pool_future_t *f = submit_with(pool, &task, task_hang, NULL);
        ck_assert_int_eq(drive_error(d, f), POOL_EDEADLINE);
        ck_assert_int_eq(pool_future_failure(f)->pid, pid);
        pool_future_free(f);
        drive_works(d, pool); /* without waiting for that one */
        drive_until_gone(d, pid);
    }
    drive_destroy(d, pool);
}

/* With a long grace the future is there while the worker still lives. */
static void
settled_before_the_grace(const struct drive *d)
{
    pool_task_options_t task = POOL_TASK_OPTIONS_INIT;
    pool_t *pool = open_with(d, 1, 0, 2 * PATIENCE_MS);
    int pid = deafen(d, pool);

    task.deadline_ms = 30;
    pool_future_t *f = submit_with(pool, &task, task_hang, NULL);
    ck_assert_int_eq(drive_end(d, f), POOL_EDEADLINE);
    drive_works(d, pool); /* by another */
    char state = test_state(pid);
    ck_assert(state != 0 && state != 'Z');
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    drive_until_gone(d, pid);
    drive_works(d, pool);
    drive_destroy(d, pool);
}

/* A deadline counts from the start: what waits doesn't reach it. */
static void
pending_tasks_do_not_count(const struct drive *d)
{
    enum { N = 4 };
    pool_task_options_t task = POOL_TASK_OPTIONS_INIT;
    pool_t *pool = open_with(d, 1, 0, 0);
    struct gate *gate = gate_new();
    pool_future_t *blocker = gate_submit(pool, gate), *f[N];
    size_t done = 0;

    drive_until_word(d, &gate->begun, 1);
    task.deadline_ms = 10;
    for (int i = 0; i < N; i++)
        f[i] = submit_with(pool, &task, task_nothing, NULL);
    ck_assert_int_eq(
        drive_wait(d, f, N, POOL_FIRST_COMPLETED, 100, &done), POOL_ETIMEDOUT);
    ck_assert_uint_eq(done, 0);
    gate_open(gate);
    ck_assert_int_eq(drive_end(d, blocker), 0);
    ck_assert_int_eq(
        drive_wait(d, f, N, POOL_ALL_COMPLETED, PATIENCE_MS, &done), 0);
    for (int i = 0; i < N; i++) {
        int rc = drive_end(d, f[i]); /* 10 ms are much, but a machine is busy */
        ck_assert(rc == 0 || rc == POOL_EDEADLINE);
    }
    drive_destroy(d, pool);
}

/* Many sent ahead behind one that hangs: it alone fails. */
static void
the_ones_behind_run(const struct drive *d)
{
    enum { N = 50 };
    pool_task_options_t task = POOL_TASK_OPTIONS_INIT;
    pool_t *pool = open_with(d, 1, 0, 0);
    pool_future_t *hangs, *f[N];

    for (int i = 0; i < N; i++) /* they are short: known from here on */
        ck_assert_int_eq(drive_end(d, submit(pool, task_nothing)), 0);
    task.deadline_ms = 50;
    hangs = submit_with(pool, &task, task_hang, NULL);
    for (int i = 0; i < N; i++)
        f[i] = submit(pool, task_nothing);
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(drive_end(d, f[i]), 0);
    ck_assert_int_eq(drive_end(d, hangs), POOL_EDEADLINE);
    drive_destroy(d, pool);
}

/* Fault 13. */
static void
a_stopped_worker_at_its_deadline(const struct drive *d)
{
    pool_task_options_t task = POOL_TASK_OPTIONS_INIT;
    pool_t *pool = open_with(d, 1, 0, 50);

    task.deadline_ms = 50;
    for (int i = 0; i < 2; i++) {
        pool_future_t *f = submit_with(pool, &task, task_stop_self, NULL);
        ck_assert_int_eq(drive_error(d, f), POOL_EDEADLINE);
        drive_until_gone(d, pool_future_failure(f)->pid);
        pool_future_free(f);
        drive_works(d, pool);
    }
    drive_destroy(d, pool);
}

/* Faults 17 and 18: the host stays away past the deadline, and the result is
 * in the pipe when it comes back: it wins. */
static void
a_finished_result_wins(const struct drive *d)
{
    pool_task_options_t task = POOL_TASK_OPTIONS_INIT;
    pool_t *pool = open_with(d, 1, 0, 0);

    task.deadline_ms = 500;
    for (int i = 0; i < 2; i++) {
        struct gate *gate = gate_new();
        pool_future_t *f = submit_with(pool, &task, task_gate, gate);
        int five = 0;
        drive_until_word(d, &gate->begun, 1);
        gate_open(gate);
        ck_assert(test_await(&gate->ended, 1)); /* without the pool */
        while (test_state(gate->pid) != 'S')    /* the result is written */
            ;
        for (int64_t end = now_ms() + 700; now_ms() < end;)
            (void)poll(NULL, 0, 10);
        ck_assert_int_eq(drive_result(d, f, "i", &five), 0);
        ck_assert_int_eq(five, 5);
        pool_future_free(f);
    }
    drive_destroy(d, pool);
}

/* ---- cancelling what runs ----------------------------------------------- */

static void
cancel_running(const struct drive *d)
{
    pool_t *pool = open_with(d, 1, 0, 50);
    int *pid = test_shared(sizeof *pid);
    struct gate *gate = gate_new();
    pool_future_t *f = gate_submit(pool, gate), *behind;

    behind = submit(pool, task_pid);
    drive_until_word(d, &gate->begun, 1);
    ck_assert_int_eq(pool_future_cancel(f), POOL_EBUSY);
    ck_assert_int_eq(pool_future_cancel_running(f), 0);
    ck_assert(pool_future_cancelled(f)); /* at once */
    ck_assert_int_eq(pool_future_error(f, 0), POOL_ECANCELED);
    ck_assert_int_eq(pool_future_cancel_running(f), 0);
    ck_assert_ptr_null(pool_future_failure(f));
    pool_future_free(f);
    int other = 0; /* what stood behind it runs in the next worker */
    ck_assert_int_eq(drive_result(d, behind, "i", &other), 0);
    ck_assert_int_ne(other, gate->pid);
    pool_future_free(behind);
    drive_until_gone(d, gate->pid);
    f = submit_with(pool, NULL, task_deaf_hang, pid);
    drive_until_word(d, pid, 1);
    ck_assert_int_eq(pool_future_cancel_running(f), 0);
    ck_assert_int_eq(drive_end(d, f), POOL_ECANCELED);
    drive_until_gone(d, read_word(pid));
    drive_works(d, pool);
    ck_assert_uint_eq(test_stats(pool).cancelled, 2);
    ck_assert_uint_eq(test_stats(pool).failed, 0);
    drive_destroy(d, pool);
}

/* Runs until it is asked to stop. "t": raised when it begins. */
static int
task_obeys(pool_call_t *call)
{
    uint64_t address;
    int rc = pool_call_args(call, "t", &address);

    if (rc < 0)
        return rc;
    raise_word((int *)(uintptr_t)address, 1);
    for (int i = 0; i < PATIENCE_MS; i++) {
        if (pool_call_cancelled(call))
            return pool_call_return(call, "i", 7);
        (void)poll(NULL, 0, 1);
    }
    return 98;
}

static void
cancel_request(const struct drive *d)
{
    pool_t *pool = open_with(d, 1, 0, 0);
    int *begun = test_shared(sizeof *begun), pid = drive_pid(d, pool);

    for (int i = 1; i <= 3; i++) {
        pool_future_t *f = submit_with(pool, NULL, task_obeys, begun);
        pool_future_t *pending = submit_with(pool, NULL, task_obeys, begun);
        int seven = 0;
        drive_until_word(d, begun, i);
        ck_assert(pool_future_running(f));
        ck_assert_int_eq(pool_future_cancel_request(pending), 0);
        ck_assert_int_eq(pool_future_error(pending, 0), POOL_ECANCELED);
        ck_assert_int_eq(pool_future_cancel_request(f), 0);
        ck_assert_int_eq(pool_future_cancel_request(f), 0);
        ck_assert_int_eq(drive_result(d, f, "i", &seven), 0);
        ck_assert_int_eq(seven, 7);
        ck_assert(!pool_future_cancelled(f));
        pool_future_free(f);
        pool_future_free(pending);
    }
    ck_assert_int_eq(*begun, 3);
    ck_assert_int_eq(drive_pid(d, pool), pid); /* nobody was killed */
    drive_destroy(d, pool);
}

static const struct drive_case cases[] = {
    {"of_a_task_and_of_the_pool", of_a_task_and_of_the_pool, IN_ALL},
    {"deaf_to_sigterm", deaf_to_sigterm, IN_ALL},
    {"settled_before_the_grace", settled_before_the_grace, IN_ALL},
    {"pending_tasks_do_not_count", pending_tasks_do_not_count, IN_ALL},
    {"the_ones_behind_run", the_ones_behind_run, IN_ALL},
    {"a_stopped_worker_at_its_deadline", a_stopped_worker_at_its_deadline,
        IN_ALL},
    {"a_finished_result_wins", a_finished_result_wins, IN_CALLER | IN_HOST},
    {"cancel_running", cancel_running, IN_ALL},
    {"cancel_request", cancel_request, IN_ALL},
    {NULL, NULL, 0},
};

int
main(int argc, char **argv)
{
    return drive_main("exec_deadline", cases, argc, argv);
}
