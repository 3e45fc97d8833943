/* The scheduler's promises: what was sent ahead is safe, nothing waits behind
 * a long task, replies behind one are seen. Order is asserted, not time. */
#define _GNU_SOURCE
#include "support.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool.h"
#include "quick.h"

#define ADDRESS(p) ((uint64_t)(uintptr_t)(p))

static int
task_wait_for(pool_call_t *call)
{
    uint64_t gate;
    int rc = pool_call_args(call, "t", &gate);

    if (rc < 0)
        return rc;
    return test_await((int *)(uintptr_t)gate, 1)
               ? pool_call_return(call, "i", 1)
               : 2;
}

/* One function, so that the scheduler takes the long call for a short one. */
static int
task_tiny_or_gate(pool_call_t *call)
{
    uint64_t gate;
    int rc = pool_call_args(call, "t", &gate);

    if (rc == 0 && gate != 0 && !test_await((int *)(uintptr_t)gate, 1))
        return 2;
    return rc < 0 ? rc : pool_call_return(call, "i", 1);
}

/* 10,000 tiny tasks, a long one among them at a random place: all others
 * settle while it runs. It ends when they have: by their word, not a clock. */
static void
nothing_waits_behind_a_long_task(int unused)
{
    enum { N = 10000 };
    static pool_future_t *f[N];
    int *gate = test_shared(sizeof *gate);
    unsigned seed = 99;
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(2);
    for (int round = 0; round < (test_full() ? 20 : 4); round++) {
        size_t done = 0;
        int at = round == 0 ? 0 : rand_r(&seed) % N;
        __atomic_store_n(gate, 0, __ATOMIC_RELEASE);
        for (int i = 0; i < N; i++)
            ck_assert_int_eq(pool_submit(pool, &f[i], task_tiny_or_gate, "t",
                                 i == at ? ADDRESS(gate) : UINT64_C(0)),
                0);
        for (int i = 0; i < N; i++)
            if (i != at)
                ck_assert_int_eq(pool_future_error(f[i], PATIENCE_MS), 0);
        ck_assert_int_eq(
            pool_wait(f, N, POOL_ALL_COMPLETED, 0, &done), POOL_ETIMEDOUT);
        ck_assert_uint_eq(done, N - 1);
        ck_assert(pool_future_running(f[at]));
        __atomic_store_n(gate, 1, __ATOMIC_RELEASE);
        ck_assert_int_eq(pool_future_error(f[at], PATIENCE_MS), 0);
        for (int i = 0; i < N; i++)
            pool_future_free(f[i]);
    }
    pool_destroy(pool);
    test_end();
}

/* One worker: a reply that stands in the buffer behind a long task is seen. */
static void
a_reply_behind_a_long_task_is_seen(int unused)
{
    enum { N = 100 };
    pool_future_t *f[N], *long_one;
    int *gate = test_shared(sizeof *gate);
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(1);
    for (int i = 0; i < 50; i++) { /* learn that it is short */
        ck_assert_int_eq(
            pool_submit(pool, &long_one, task_tiny_or_gate, "t", UINT64_C(0)),
            0);
        ck_assert_int_eq(pool_future_error(long_one, PATIENCE_MS), 0);
        pool_future_free(long_one);
    }
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(
            pool_submit(pool, &f[i], task_tiny_or_gate, "t", UINT64_C(0)), 0);
    ck_assert_int_eq(
        pool_submit(pool, &long_one, task_tiny_or_gate, "t", ADDRESS(gate)), 0);
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(pool_future_error(f[i], PATIENCE_MS), 0);
        pool_future_free(f[i]);
    }
    while (!pool_future_running(long_one))
        ck_assert_int_eq(pool_poll(pool, 5), 0);
    __atomic_store_n(gate, 1, __ATOMIC_RELEASE);
    ck_assert_int_eq(pool_future_error(long_one, PATIENCE_MS), 0);
    pool_future_free(long_one);
    pool_destroy(pool);
    test_end();
}

/* Workers beyond the CPUs do run at once: n tasks that wait for each other. */
static int
task_meet(pool_call_t *call)
{
    uint64_t address;
    int32_t n;
    int rc = pool_call_args(call, "ti", &address, &n);

    if (rc < 0)
        return rc;
    __atomic_add_fetch((int *)(uintptr_t)address, 1, __ATOMIC_ACQ_REL);
    return test_await((int *)(uintptr_t)address, n) ? 0 : 1;
}

static void
all_workers_run_at_once(int unused)
{
    enum { N = 10 };
    int *count = test_shared(sizeof *count);
    pool_future_t *f[N];
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(N);
    for (int round = 1; round <= 5; round++) {
        for (int i = 0; i < N; i++)
            ck_assert_int_eq(pool_submit(pool, &f[i], task_meet, "ti",
                                 ADDRESS(count), round * N),
                0);
        for (int i = 0; i < N; i++) {
            ck_assert_int_eq(pool_future_error(f[i], PATIENCE_MS), 0);
            pool_future_free(f[i]);
        }
    }
    pool_destroy(pool);
    test_end();
}

/* A worker from which everything was taken back answers nothing when it has
 * made room. */
static void
room_comes_without_an_answer(int unused)
{
    enum { N = 4, SIZE = 60000 };
    static unsigned char payload[SIZE];
    pool_future_t *f[N], *after;
    pool_t *pool = quick_begin(1, task_gate_or_nothing);

    (void)unused;
    quick_stop(pool);
    for (int i = 0; i < N; i++)
        f[i] = quick_submit(pool, task_gate_or_nothing, payload, SIZE);
    pool__table_each(proc, &pool->table)
    {
        ck_assert(!pool__channel_has_room(&proc->channel));
    }
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(pool_future_cancel(f[i]), 0);
        pool_future_free(f[i]);
    }
    after = quick_submit(pool, task_nothing, NULL, 0);
    quick_go_on(pool);
    quick_expect(after);
    quick_end(pool);
}

static int
rank_meets(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    (void)model;
    (void)rows;
    return pool_barrier(pool_call_comm(call));
}

/* Ranks that are peers, one row each. */
static pool_scatter_t *
start_ranks(pool_t *pool, pool_execute_fn execute, size_t ranks)
{
    static const double values[8];
    pool_job_t job = POOL_JOB_INIT;
    pool_scatter_t *scatter = NULL;

    ck_assert_uint_le(ranks, 8);
    job.execute = execute;
    job.values = values;
    job.rows = ranks;
    job.columns = 1;
    job.flags = POOL_JOB_PEERS;
    ck_assert_int_eq(pool_scatter(pool, &scatter, &job), 0);
    return scatter;
}

static void
expect_ranks(pool_scatter_t *scatter, int ranks)
{
    for (int i = 0; i < ranks; i++)
        ck_assert_int_eq(
            pool_future_error(pool_scatter_future(scatter, i), PATIENCE_MS), 0);
    pool_scatter_free(scatter);
}

/* Quick tasks that follow a group which waits ask whose turn it is. */
static void
a_group_ends_a_row_of_quick_tasks(int unused)
{
    enum { RANKS = 2 };
    int *gate = test_shared(sizeof *gate);
    pool_scatter_t *scatter;
    pool_future_t *busy, *quick;
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(RANKS);
    quick_learn(pool, task_nothing);
    ck_assert_int_eq(
        pool_submit(pool, &busy, task_wait_for, "t", ADDRESS(gate)), 0);
    while (!pool_future_running(busy))
        ck_assert_int_eq(pool_poll(pool, 5), 0);
    quick = quick_submit(pool, task_nothing, NULL, 0);
    ck_assert_uint_ne(pool->sched.run.left, 0);
    scatter = start_ranks(pool, rank_meets, RANKS);
    ck_assert_uint_eq(pool->sched.run.left, 0);
    __atomic_store_n(gate, 1, __ATOMIC_RELEASE);
    quick_expect(busy);
    quick_expect(quick);
    expect_ranks(scatter, RANKS);
    pool_destroy(pool);
    test_end();
}

static int *rank_gate; /* of rank 0: the others wait for it */

static int
rank_meets_late(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    pool_comm_t *comm = pool_call_comm(call);

    (void)model;
    (void)rows;
    if (pool_comm_rank(comm) == 0 && !test_await(rank_gate, 1))
        return 1;
    return pool_barrier(comm);
}

static int
ranks_that_wait(pool_scatter_t *scatter, int ranks)
{
    int waiting = 0;

    for (int i = 0; i < ranks; i++)
        waiting += pool__member_of(pool_scatter_future(scatter, i))->waits;
    return waiting;
}

/* A child of the program may end its copy of the pool in the middle of a
 * collective: nobody is sent an error then. */
static void
a_child_forgets_a_collective(int unused)
{
    enum { RANKS = 3 };
    pool_scatter_t *scatter;
    pool_t *pool;
    int status = -1;

    (void)unused;
    test_begin();
    rank_gate = test_shared(sizeof *rank_gate);
    pool = test_pool(RANKS);
    scatter = start_ranks(pool, rank_meets_late, RANKS);
    while (ranks_that_wait(scatter, RANKS) != RANKS - 1)
        ck_assert_int_eq(pool_poll(pool, 5), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        pool_destroy(pool);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    __atomic_store_n(rank_gate, 1, __ATOMIC_RELEASE);
    expect_ranks(scatter, RANKS);
    pool_destroy(pool);
    test_end();
}

/* What a dead worker had not begun runs elsewhere, in order, once. */
static int
task_log_order(pool_call_t *call)
{
    uint64_t address;
    int32_t number, kill_at;
    int rc = pool_call_args(call, "tii", &address, &number, &kill_at);
    int *log = (int *)(uintptr_t)address;

    if (rc < 0)
        return rc;
    int at = __atomic_fetch_add(&log[0], 1, __ATOMIC_ACQ_REL);
    log[1 + at] = number;
    if (number == kill_at)
        task_kill_self(call);
    return 0;
}

static void
unbegun_tasks_keep_their_order(int unused)
{
    enum { N = 300, KILL = 120 };
    int *log = test_shared((N + 1) * sizeof *log);
    pool_future_t *f[N];
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(1);
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(pool_submit(pool, &f[i], task_log_order, "tii",
                             ADDRESS(log), i, KILL),
            0);
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(
            pool_future_error(f[i], PATIENCE_MS), i == KILL ? POOL_EDIED : 0);
        pool_future_free(f[i]);
    }
    ck_assert_int_eq(log[0], N);
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(log[1 + i], i);
    pool_destroy(pool);
    test_end();
}

/* Many pending tasks are cancelled at once, and those that are left run. */
static void
a_million_cancelled(int unused)
{
    const int n = test_full() ? 1000000 : 100000;
    pool_future_t **f = calloc((size_t)n, sizeof *f), *blocker;
    int *gate = test_shared(sizeof *gate);
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(1);
    ck_assert_int_eq(
        pool_submit(pool, &blocker, task_wait_for, "t", ADDRESS(gate)), 0);
    for (int i = 0; i < n; i++)
        require(pool_submit(pool, &f[i], task_double, "d", 1.0) == 0);
    for (int i = 0; i < n; i++)
        require(pool_future_cancel(f[i]) == 0);
    *gate = 1;
    ck_assert_int_eq(pool_future_error(blocker, PATIENCE_MS), 0);
    for (int i = 0; i < n; i++)
        pool_future_free(f[i]);
    pool_future_free(blocker);
    pool_destroy(pool);
    free(f);
    test_end();
}

/* Cancelling what the one worker holds gives its place to the next, which
 * was not sent ahead: nothing is known of its function yet. */
static void
cancelling_makes_room(int unused)
{
    pool_future_t *a, *b;
    pool_t *pool;

    (void)unused;
    test_begin();
    for (int i = 0; i < 20; i++) {
        pool = test_pool(1);
        ck_assert_int_eq(pool_submit(pool, &a, task_double, "d", 1.0), 0);
        ck_assert_int_eq(pool_submit(pool, &b, task_double, "d", 2.0), 0);
        (void)pool_future_cancel(a); /* if it was not claimed that fast */
        ck_assert_int_eq(pool_future_error(b, PATIENCE_MS), 0);
        pool_future_free(a);
        pool_future_free(b);
        pool_destroy(pool);
    }
    test_end();
}

/* "tt": counts itself in a shared word, and waits for another if it is given.
 * One function, so that what stands behind the gate is sent ahead. */
static int
task_count_or_gate(pool_call_t *call)
{
    uint64_t counter, gate;
    int rc = pool_call_args(call, "tt", &counter, &gate);

    if (rc < 0)
        return rc;
    __atomic_add_fetch((int *)(uintptr_t)counter, 1, __ATOMIC_ACQ_REL);
    if (gate != 0 && !test_await((int *)(uintptr_t)gate, 1))
        return 2;
    return pool_call_return(call, "i", 1);
}

/* What was sent ahead can be cancelled although its bytes are in the worker's
 * pipe: it never runs, and those around it do, by the same worker. */
static void
what_was_sent_ahead_can_be_cancelled(int unused)
{
    enum { N = 200 };
    int *counts = test_shared((N + 2) * sizeof *counts), *gate = counts + N;
    pool_future_t *f[N], *first;
    int before = 0, after = 0;
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(1);
    for (int i = 0; i < 50; i++) { /* so short that many are sent ahead */
        ck_assert_int_eq(pool_submit(pool, &first, task_count_or_gate, "tt",
                             ADDRESS(&counts[N + 1]), UINT64_C(0)),
            0);
        ck_assert_int_eq(pool_future_error(first, PATIENCE_MS), 0);
        pool_future_free(first);
    }
    ck_assert_int_eq(pool_submit(pool, &first, task_pid, ""), 0);
    ck_assert_int_eq(pool_future_result(first, PATIENCE_MS, "i", &before), 0);
    pool_future_free(first);
    ck_assert_int_eq(pool_submit(pool, &first, task_count_or_gate, "tt",
                         ADDRESS(&counts[N + 1]), ADDRESS(gate)),
        0);
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(pool_submit(pool, &f[i], task_count_or_gate, "tt",
                             ADDRESS(&counts[i]), UINT64_C(0)),
            0);
    ck_assert(test_await(&counts[N + 1], 51));
    for (int i = 0; i < N; i += 2)
        ck_assert_int_eq(pool_future_cancel(f[i]), 0);
    __atomic_store_n(gate, 1, __ATOMIC_RELEASE);
    ck_assert_int_eq(pool_future_error(first, PATIENCE_MS), 0);
    pool_future_free(first);
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(pool_future_error(f[i], PATIENCE_MS),
            i % 2 == 0 ? POOL_ECANCELED : 0);
        pool_future_free(f[i]);
    }
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(counts[i], i % 2);
    ck_assert_int_eq(pool_submit(pool, &first, task_pid, ""), 0);
    ck_assert_int_eq(pool_future_result(first, PATIENCE_MS, "i", &after), 0);
    pool_future_free(first);
    ck_assert_int_eq(after, before);
    pool_destroy(pool);
    test_end();
}

/* A worker that stands still before it has begun loses its task to another. */
static int
task_stop_self(pool_call_t *call)
{
    (void)call;
    raise(SIGSTOP);
    return 0;
}

static void
a_stopped_worker_keeps_nothing(int unused)
{
    enum { N = 100 };
    pool_future_t *f[N], *pid_of;
    pool_t *pool;
    int pid = 0;

    (void)unused;
    test_begin();
    pool = test_pool(2);
    ck_assert_int_eq(pool_submit(pool, &pid_of, task_pid, ""), 0);
    ck_assert_int_eq(pool_future_result(pid_of, PATIENCE_MS, "i", &pid), 0);
    pool_future_free(pid_of);
    ck_assert_int_eq(kill(pid, SIGSTOP), 0);
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(pool_submit(pool, &f[i], task_double, "d", 1.0), 0);
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(pool_future_error(f[i], PATIENCE_MS), 0);
        pool_future_free(f[i]);
    }
    ck_assert_int_eq(pool_submit(pool, &f[0], task_stop_self, ""), 0);
    pool_destroy(pool); /* SIGKILL ends what is stopped */
    ck_assert_int_eq(pool_future_error(f[0], 0), POOL_ECANCELED);
    pool_future_free(f[0]);
    test_end();
}

static const struct test tests[] = {
    {"cancelling_makes_room", cancelling_makes_room},
    {"what_was_sent_ahead_can_be_cancelled",
        what_was_sent_ahead_can_be_cancelled},
    {"a_stopped_worker_keeps_nothing", a_stopped_worker_keeps_nothing},
    {"nothing_waits_behind_a_long_task", nothing_waits_behind_a_long_task},
    {"a_reply_behind_a_long_task_is_seen", a_reply_behind_a_long_task_is_seen},
    {"room_comes_without_an_answer", room_comes_without_an_answer},
    {"a_child_forgets_a_collective", a_child_forgets_a_collective},
    {"a_group_ends_a_row_of_quick_tasks", a_group_ends_a_row_of_quick_tasks},
    {"all_workers_run_at_once", all_workers_run_at_once},
    {"unbegun_tasks_keep_their_order", unbegun_tasks_keep_their_order},
    {"a_million_cancelled", a_million_cancelled},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return test_main("sched", tests, argc, argv);
}
