/* Crashes under every drive: each way to go at each moment of a task, plainly
 * and submitted by a callback. It costs that task alone, and the failure names
 * the signal or the exit status, and the pid. */
#define _GNU_SOURCE
#include "drives.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum moment { DECODING, RUNNING, ENCODING, MID_WRITE, AFTER_WRITE, MOMENTS };
enum way { FAIL, EXIT_0, EXIT_42, ABORT, SEGV, KILL, HANG, STOP, WAYS };

struct end {
    int code, exit_status, signal;
};

static const struct end ends[WAYS] = {
    [FAIL] = {POOL_ETASK, -1, 0},
    [EXIT_0] = {POOL_EDIED, 0, 0},
    [EXIT_42] = {POOL_EDIED, 42, 0},
    [ABORT] = {POOL_EDIED, -1, SIGABRT},
    [SEGV] = {POOL_EDIED, -1, SIGSEGV},
    [KILL] = {POOL_EDIED, -1, SIGKILL},
    [HANG] = {POOL_EDEADLINE, 0, 0},
    [STOP] = {POOL_EDEADLINE, 0, 0},
};

/* What the host and the task share. */
struct crash {
    int moment, way;
    int pid, written, go, went;
};

static struct crash *crash; /* set before the workers are made */

static int
go(int way)
{
    switch (way) {
    case FAIL:
        return 5;
    case EXIT_0:
        exit(0);
    case EXIT_42:
        _exit(42);
    case ABORT:
        abort();
    case HANG:
        for (;;)
            pause();
    default:
        raise(way == SEGV ? SIGSEGV : way == KILL ? SIGKILL : SIGSTOP);
        return 6;
    }
}

static void *
go_later(void *unused)
{
    (void)unused;
    (void)test_await(&crash->go, 1);
    int way = crash->way;
    raise_word(&crash->went, 1);
    (void)go(way);
    return NULL;
}

static int
task_crash(pool_call_t *call)
{
    static const unsigned char torn[12] = {0xe8, 3, 0, 0, 3};
    int32_t number;
    pthread_t thread;
    void *block;

    __atomic_store_n(&crash->pid, (int)getpid(), __ATOMIC_RELEASE);
    if (crash->moment == DECODING)
        return go(crash->way);
    int rc = pool_call_args(call, "i", &number);
    if (rc == 0 && crash->moment == RUNNING)
        return go(crash->way);
    if (rc == 0 && crash->moment == ENCODING)
        rc = pool_call_reserve(call, 1 << 20, &block);
    if (rc == 0 && crash->moment == ENCODING)
        return go(crash->way);
    if (rc == 0 && crash->moment == MID_WRITE)
        return write(test_result_pipe(), torn, sizeof torn) < 0
                   ? 8
                   : go(crash->way);
    if (rc == 0 && crash->way != FAIL) {
        if (pthread_create(&thread, NULL, go_later, NULL) != 0)
            return 9;
        pthread_detach(thread);
    }
    raise_word(&crash->written, 1);
    return rc < 0 ? rc : pool_call_return(call, "i", number + 1);
}

/* ---- the matrix --------------------------------------------------------- */

static pool_future_t *
submit_crash(pool_t *pool)
{
    pool_task_options_t options = POOL_TASK_OPTIONS_INIT;
    pool_future_t *f = NULL;
    bool stays = crash->way == HANG || crash->way == STOP ||
                 (crash->way == FAIL && crash->moment == MID_WRITE);

    if (stays && crash->moment != AFTER_WRITE)
        options.deadline_ms = 80;
    (void)pool_submit_opts(pool, &f, &options, task_crash, "i", 41);
    return f;
}

struct submission {
    pool_t *pool;
    pool_future_t *future;
    int made;
};

static void
submit_inside(pool_future_t *f, void *data)
{
    struct submission *s = data;

    (void)f;
    s->future = submit_crash(s->pool);
    raise_word(&s->made, 1);
}

/* The result is out: when the worker sleeps, it goes; the value stays. */
static void
check_after_write(const struct drive *d, pool_future_t *f)
{
    int value = 0, pid;

    drive_until_word(d, &crash->written, 1);
    pid = read_word(&crash->pid);
    while (test_state(pid) != 'S')
        (void)poll(NULL, 0, 1);
    raise_word(&crash->go, 1);
    if (crash->way != FAIL)
        ck_assert(test_await(&crash->went, 1));
    if (ends[crash->way].code == POOL_EDIED)
        test_await_gone(pid);
    while (crash->way == STOP && test_state(pid) != 'T')
        (void)poll(NULL, 0, 1);
    ck_assert_int_eq(drive_result(d, f, "i", &value), 0);
    ck_assert_int_eq(value, 42);
}

static void
check_end(const struct drive *d, pool_future_t *f)
{
    const struct end *end = &ends[crash->way];
    int code = drive_error(d, f);
    char pid[32];

    if (crash->moment == MID_WRITE && crash->way == FAIL) {
        ck_assert(code == POOL_EPROTO || code == POOL_EDEADLINE);
        return; /* the second half of the torn frame is nonsense */
    }
    ck_assert_int_eq(code, end->code);
    const pool_failure_t *failure = pool_future_failure(f);
    ck_assert_int_eq(failure->code, code);
    ck_assert_int_eq(failure->attempts, 1);
    ck_assert_int_gt(failure->pid, 0);
    if (code != POOL_EDEADLINE) {
        ck_assert_int_eq(failure->pid, read_word(&crash->pid));
        ck_assert_int_eq(failure->exit_status, end->exit_status);
        ck_assert_int_eq(failure->signal, end->signal);
    }
    snprintf(pid, sizeof pid, "worker %d ", (int)failure->pid);
    if (code == POOL_EDIED)
        ck_assert_msg(
            strstr(failure->message, pid) != NULL, "%s", failure->message);
    if (code != POOL_ETASK)
        drive_until_gone(d, failure->pid);
}

static void
one_crash(const struct drive *d, pool_t *pool, bool inside)
{
    struct submission s = {pool, NULL, 0};
    pool_future_t *before, *after;

    ck_assert_int_eq(pool_submit(pool, &before, task_double, "d", 1.0), 0);
    /* Its reply is not in what is torn, and it is not what runs when a worker
     * goes that has done its task. */
    if (crash->moment >= MID_WRITE)
        ck_assert_int_eq(drive_error(d, before), 0);
    if (inside) {
        pool_future_t *trigger = submit(pool, task_nothing);
        ck_assert_int_eq(
            pool_future_add_done_callback(trigger, submit_inside, &s), 0);
        drive_until_word(d, &s.made, 1);
        pool_future_free(trigger);
    } else {
        s.future = submit_crash(pool);
    }
    ck_assert_ptr_nonnull(s.future);
    if (crash->moment == AFTER_WRITE)
        check_after_write(d, s.future);
    /* A worker that goes on after a torn frame takes with it what it claims
     * next: then nothing may follow before it has gone. */
    bool goes_on = crash->moment == MID_WRITE && crash->way == FAIL;
    if (goes_on)
        check_end(d, s.future);
    ck_assert_int_eq(pool_submit(pool, &after, task_double, "d", 1.0), 0);
    if (crash->moment != AFTER_WRITE && !goes_on)
        check_end(d, s.future);
    ck_assert_int_eq(drive_end(d, before), 0);
    ck_assert_int_eq(drive_end(d, after), 0);
    pool_future_free(s.future);
    if (crash->moment == AFTER_WRITE && crash->way == STOP)
        ck_assert_int_eq(kill(read_word(&crash->pid), SIGKILL), 0);
}

static void
matrix(const struct drive *d, bool inside)
{
    pool_options_t options = POOL_OPTIONS_INIT;

    options.workers = options.min_workers = 2;
    options.kill_grace_ms = 20;
    options.spin_us = POOL_NONE; /* what is torn is torn in the pipe */
    crash = test_shared(sizeof *crash);
    pool_t *pool = drive_open(d, &options);
    for (int moment = 0; moment < MOMENTS; moment++)
        for (int way = 0; way < WAYS; way++) {
            *crash = (struct crash){.moment = moment, .way = way};
            one_crash(d, pool, inside);
        }
    drive_works(d, pool);
    drive_destroy(d, pool);
}

static void
plain_matrix(const struct drive *d)
{
    matrix(d, false);
}

static void
matrix_inside_a_callback(const struct drive *d)
{
    matrix(d, true);
}

/* ---- among many --------------------------------------------------------- */

/* "tii": counts itself, and one number dies. */
static int
task_count(pool_call_t *call)
{
    uint64_t counters;
    int32_t number, dies;
    int rc = pool_call_args(call, "tii", &counters, &number, &dies);

    if (rc < 0)
        return rc;
    raise_word((int *)(uintptr_t)counters + number, 1);
    if (number == dies)
        raise(SIGKILL);
    return pool_call_return(call, "i", number);
}

static void
one_of_a_thousand(const struct drive *d)
{
    enum { N = 1000, DIES = 700 };
    int *counters = test_shared(N * sizeof *counters);
    pool_t *pool = drive_pool(d, 2);
    pool_future_t *f[N];

    for (int i = 0; i < N; i++)
        ck_assert_int_eq(pool_submit(pool, &f[i], task_count, "tii",
                             ADDRESS(counters), i, DIES),
            0);
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(drive_end(d, f[i]), i == DIES ? POOL_EDIED : 0);
        ck_assert_int_eq(counters[i], 1);
    }
    drive_destroy(d, pool);
}

static void
killed_at_random_instants(const struct drive *d)
{
    enum { N = 300 };
    int *counters = test_shared(N * sizeof *counters);
    int kills = test_full() ? 100 : 6;
    pool_t *pool = drive_pool(d, 2);
    pool_future_t *f[N];
    unsigned seed = 4711;

    for (int round = 0; round < kills; round++) {
        int pid = drive_pid(d, pool), died = 0, at = rand_r(&seed) % N;
        memset(counters, 0, N * sizeof *counters);
        for (int i = 0; i < N; i++) {
            if (i == at)
                ck_assert_int_eq(kill(pid, SIGKILL), 0);
            ck_assert_int_eq(pool_submit(pool, &f[i], task_count, "tii",
                                 ADDRESS(counters), i, -1),
                0);
        }
        for (int i = 0; i < N; i++) {
            int rc = drive_end(d, f[i]);
            ck_assert(rc == 0 || rc == POOL_EDIED);
            ck_assert_int_le(counters[i], 1);
            ck_assert(rc != 0 || counters[i] == 1);
            died += rc != 0;
        }
        ck_assert_int_le(died, 1);
    }
    drive_destroy(d, pool);
}

/* "ti": kills the other workers, then says so. */
static int
task_kill_all(pool_call_t *call)
{
    uint64_t address;
    int32_t count;
    int rc = pool_call_args(call, "ti", &address, &count);

    for (int i = 0; rc == 0 && i < count; i++) {
        int pid = ((int *)(uintptr_t)address)[i];
        if (pid != 0 && pid != getpid())
            (void)kill(pid, SIGKILL);
    }
    return rc;
}

static void
neighbours_kill_each_other(const struct drive *d)
{
    static const int counts[] = {1, 2, 5, 13};
    int *pids = test_shared(13 * sizeof *pids);

    for (size_t c = 0; c < COUNT(counts); c++) {
        int n = counts[c];
        pool_t *pool = drive_pool(d, n);
        struct gate *gates[13];
        pool_future_t *f[13];
        for (int i = 0; i < n; i++) {
            gates[i] = gate_new();
            f[i] = gate_submit(pool, gates[i]);
        }
        for (int i = 0; i < n; i++) { /* each holds one worker */
            drive_until_word(d, &gates[i]->begun, 1);
            pids[i] = gates[i]->pid;
            gate_open(gates[i]);
        }
        for (int i = 0; i < n; i++)
            ck_assert_int_eq(drive_end(d, f[i]), 0);
        for (int i = 0; i < n; i++)
            ck_assert_int_eq(
                pool_submit(pool, &f[i], task_kill_all, "ti", ADDRESS(pids), n),
                0);
        for (int i = 0; i < n; i++) {
            int rc = drive_end(d, f[i]);
            ck_assert(rc == 0 || rc == POOL_EDIED);
        }
        drive_works(d, pool);
        drive_destroy(d, pool);
    }
}

/* ---- strict ------------------------------------------------------------- */

/* As in concurrent.futures: one death breaks the pool. */
static void
strict_breaks_all(const struct drive *d)
{
    enum { N = 10 };
    pool_options_t options = POOL_OPTIONS_INIT;
    struct gate *gate = gate_new();
    pool_future_t *good, *bad, *f[N], *late = NULL;

    options.workers = options.min_workers = 2;
    options.strict = 1;
    pool_t *pool = drive_open(d, &options);
    good = submit(pool, task_nothing);
    ck_assert_int_eq(drive_error(d, good), 0);
    for (int i = 0; i < N; i++)
        f[i] = gate_submit(pool, gate); /* one runs */
    drive_until_word(d, &gate->begun, 2);
    ck_assert_int_eq(kill(gate->pid, SIGKILL), 0);
    for (int i = 0; i < N; i++) {
        int rc = drive_end(d, f[i]);
        ck_assert(rc == POOL_EBROKEN || rc == POOL_EDIED);
        if (i >= 2)
            ck_assert_int_eq(rc, POOL_EBROKEN);
    }
    ck_assert_int_eq(pool_submit(pool, &late, task_nothing, ""), POOL_EBROKEN);
    ck_assert_ptr_null(late);
    ck_assert_int_eq(pool_future_error(good, 0), 0); /* what is done stays */
    pool_future_free(good);
    ck_assert_int_eq(gate->begun, 2);
    drive_destroy(d, pool);
    options.strict = 0; /* and otherwise not */
    pool = drive_open(d, &options);
    bad = submit(pool, task_kill_self);
    ck_assert_int_eq(drive_end(d, bad), POOL_EDIED);
    drive_works(d, pool);
    drive_destroy(d, pool);
}

static const struct drive_case cases[] = {
    {"plain_matrix", plain_matrix, IN_ALL},
    {"matrix_inside_a_callback", matrix_inside_a_callback, IN_ALL},
    {"one_of_a_thousand", one_of_a_thousand, IN_ALL},
    {"killed_at_random_instants", killed_at_random_instants, IN_ALL},
    {"neighbours_kill_each_other", neighbours_kill_each_other, IN_ALL},
    {"strict_breaks_all", strict_breaks_all, IN_ALL},
    {NULL, NULL, 0},
};

int
main(int argc, char **argv)
{
    return drive_main("exec_crash", cases, argc, argv);
}
