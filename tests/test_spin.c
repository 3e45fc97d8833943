/* Looking before sleeping: only where it fits, only while it pays, and never
 * at the price of a lost wake-up. */
#define _GNU_SOURCE
#include "support.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "budget.h"
#include "machine.h"
#include "pool.h"

static pool_t *
open_pool(int workers, int spin_us)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_t *pool;

    options.workers = options.min_workers = workers;
    options.spin_us = spin_us;
    ck_assert_int_eq(pool_create(&pool, &options), 0);
    return pool;
}

static uint64_t
spin_of(int workers, int spin_us)
{
    pool_t *pool = open_pool(workers, spin_us);
    uint64_t ns = pool->spin_ns;

    ck_assert_uint_eq(pool->table.spin_ns, ns);
    pool__table_each(proc, &pool->table)
    {
        ck_assert_uint_eq(proc->channel.region->spin_ns, ns);
    }
    pool_destroy(pool);
    return ns;
}

static void
only_where_there_are_cpus(int unused)
{
    int cpus = pool__usable_cpus();

    (void)unused;
    test_begin();
    ck_assert_uint_eq(spin_of(cpus, 0), 0);
    ck_assert_uint_eq(spin_of(cpus + 1, 0), 0);
    if (cpus > 1) {
        ck_assert_uint_eq(spin_of(cpus - 1, 0), 50000);
        ck_assert_uint_eq(spin_of(cpus - 1, 7), 7000);
        ck_assert_uint_eq(spin_of(1, POOL_NONE), 0);
        pool_t *pool = open_pool(cpus - 1, 0);
        ck_assert_int_eq(pool_resize(pool, cpus), 0);
        ck_assert_uint_eq(pool->spin_ns, 0);
        ck_assert_int_eq(pool_resize(pool, 1), 0);
        ck_assert_uint_eq(pool->spin_ns, 50000);
        pool_destroy(pool);
    }
    test_end();
}

static void
not_on_one_cpu(int unused)
{
    cpu_set_t old, one;
    size_t first = 0;

    (void)unused;
    ck_assert_int_eq(sched_getaffinity(0, sizeof old, &old), 0);
    while (!CPU_ISSET(first, &old))
        first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
    ck_assert_uint_eq(spin_of(1, 0), 0);
    ck_assert_int_eq(sched_setaffinity(0, sizeof old, &old), 0);
}

static void
gives_up_what_does_not_pay(int unused)
{
    struct pool__spin spin = {0, 0};
    int tries = 0;

    (void)unused;
    for (int i = 0; i < 3200; i++)
        if (pool__spin_pays(&spin)) {
            tries++;
            pool__spin_note(&spin, false);
        }
    ck_assert_int_ge(tries, 50);
    ck_assert_int_le(tries, 110);
    pool__spin_note(&spin, true);
    ck_assert(pool__spin_pays(&spin));
}

/* Clock ticks that a process has burnt; -1: unknown. */
static long
burnt(int pid)
{
    char path[64], line[512];
    long user = -1, system = 0;

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return -1;
    if (fgets(line, sizeof line, file) == NULL ||
        sscanf(strrchr(line, ')') + 2,
            "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &user,
            &system) != 2)
        user = -1;
    fclose(file);
    return user < 0 ? -1 : user + system;
}

#define ANSWERS 3000
#define ANSWER 48 /* bytes; 64 with the frame's header */

static int
task_answer(pool_call_t *call)
{
    static const char answer[ANSWER] = "answer";

    return pool_call_return_bytes(call, answer, sizeof answer);
}

/* The worker has published so many bytes. */
static void
await_end(const struct pool__channel *ch, uint64_t end)
{
    for (int i = 0; i < PATIENCE_MS && pool__load(&ch->region->reply.end) < end;
         i++)
        (void)poll(NULL, 0, 1);
    ck_assert_uint_eq(pool__load(&ch->region->reply.end), end);
}

/* How many of ANSWERS tasks one look settles, where each has been answered: the
 * worker is told that somebody looks, and all replies stand in its buffer.
 * crowded: and so many wait in the queue that one worker can't hold all. */
static size_t
settled_by_a_look(bool crowded)
{
    static pool_future_t *futures[POOL__RING + 1];
    pool_t *pool = open_pool(1, 0);
    pool_future_t *first;
    int n = crowded ? (int)POOL__RING + 1 : ANSWERS;

    ck_assert_int_eq(
        pool_submit_bytes(pool, &first, NULL, task_answer, NULL, 0), 0);
    ck_assert_int_eq(pool_future_error(first, -1), 0);
    pool_future_free(first);
    struct pool__channel *ch = NULL;
    pool__table_each(proc, &pool->table)
    {
        ch = &proc->channel;
    }
    ck_assert_ptr_nonnull(ch);
    pool->spin_ns = 50000; /* on one CPU too */
    pool__channel_look(ch, true);
    for (int i = 0; i < n; i++) {
        pool->sched.functions.list[0].mean_ns = 1; /* all are sent ahead */
        if (i == ANSWERS) {
            pool->sched.halted = true; /* but these */
            pool->sched.run.left = 0;
        }
        ck_assert_int_eq(
            pool_submit_bytes(pool, &futures[i], NULL, task_answer, NULL, 0),
            0);
    }
    pool__sched_flush(&pool->sched);
    await_end(ch, ch->consumed + ANSWERS * (ANSWER + POOL__FRAME_HEADER));
    pool->driving = true;
    ck_assert(pool__look(pool, false));
    pool->driving = false;
    size_t settled = (size_t)n - pool->core->unsettled;
    pool->sched.halted = false;
    for (int i = 0; i < n; i++) {
        ck_assert_int_eq(pool_future_error(futures[i], -1), 0);
        pool_future_free(futures[i]);
    }
    pool_destroy(pool);
    return settled;
}

/* However many replies stand there: the caller has those that it gets while
 * they are in the caches. Where there is more than one worker holds, and so
 * more waits anyway, more is taken. */
static void
a_look_takes_a_step(int unused)
{
    (void)unused;
    ck_assert_uint_eq(settled_by_a_look(false),
        POOL__COLLECT_STEP / (ANSWER + POOL__FRAME_HEADER));
    ck_assert_uint_eq(settled_by_a_look(true), ANSWERS);
}

/* Who was looked at is so when its next task comes, which needs no pipe then;
 * but not while the supervisor sleeps. */
static void
looked_at_between_two_tasks(int unused)
{
    pool_t *pool = open_pool(1, 0);
    pool_future_t *f;

    (void)unused;
    ck_assert_int_eq(
        pool_submit_bytes(pool, &f, NULL, task_answer, NULL, 0), 0);
    ck_assert_int_eq(pool_future_error(f, -1), 0);
    pool_future_free(f);
    pool->driving = true;
    pool__table_each(proc, &pool->table)
    {
        struct pool__channel *ch = &proc->channel;
        ck_assert_uint_eq(ch->held, 0);
        pool__channel_look(ch, true);
        ck_assert(!pool__look(pool, false));
        ck_assert(pool__load(&ch->region->looks));
        ck_assert(!pool__look(pool, true));
        ck_assert(!pool__load(&ch->region->looks));
        pool__channel_look(ch, true);
        pool__budget_begin(0); /* nothing stands there: it may sleep */
        ck_assert(!pool__look_away(pool));
        (void)pool__budget_close();
        ck_assert(!pool__load(&ch->region->looks));
    }
    pool->driving = false;
    pool_destroy(pool);
}

/* Even one that may look for 100 ms at a time sleeps when nothing comes. */
static void
an_idle_pool_sleeps(int unused)
{
    pool_t *pool = open_pool(1, 100000);
    pool_future_t *f;
    int32_t pid;

    (void)unused;
    ck_assert_int_eq(pool_submit(pool, &f, task_pid, ""), 0);
    ck_assert_int_eq(pool_future_result(f, -1, "i", &pid), 0);
    pool_future_free(f);
    (void)poll(NULL, 0, 500);
    long before = burnt(pid), tick = 1000 / sysconf(_SC_CLK_TCK);
    (void)poll(NULL, 0, 1000);
    ck_assert_int_ge(before, 0);
    ck_assert_int_le((burnt(pid) - before) * tick, 200);
    pool_destroy(pool);
}

static void
wait_us(unsigned us)
{
    uint64_t end = pool__now_ns() + us * UINT64_C(1000);

    while (pool__now_ns() < end)
        pool__spin_pause();
}

/* "u": busy for so many microseconds. */
static int
task_busy(pool_call_t *call)
{
    uint32_t us;
    int rc = pool_call_args(call, "u", &us);

    if (rc == 0)
        wait_us(us);
    return rc < 0 ? rc : pool_call_return(call, "u", us);
}

/* Whoever goes to sleep in the instant in which the other acts is woken: both
 * pause for about as long as they look. */
static void
no_wake_up_is_lost(int unused)
{
    int rounds = test_full() ? 20000 : 3000;
    unsigned seed = 11;
    uint32_t got;

    (void)unused;
    test_begin();
    pool_t *pool = open_pool(1, 20);
    for (int i = 0; i < rounds; i++) {
        pool_future_t *f;
        uint32_t us = (uint32_t)rand_r(&seed) % 40;
        ck_assert_int_eq(pool_submit(pool, &f, task_busy, "u", us), 0);
        wait_us((unsigned)rand_r(&seed) % 40);
        ck_assert_int_eq(pool_future_result(f, PATIENCE_MS, "u", &got), 0);
        ck_assert_uint_eq(got, us);
        pool_future_free(f);
        wait_us((unsigned)rand_r(&seed) % 40);
    }
    pool_destroy(pool);
    test_end();
}

/* What is collected from memory comes over the pipe again, in the end. */
static void
collected_and_written(int unused)
{
    enum { N = 2000 };
    unsigned char bytes[500];
    const void *data;
    size_t size;

    (void)unused;
    test_begin();
    pool_t *pool = open_pool(1, 100);
    for (unsigned i = 0; i < N; i++) {
        pool_future_t *f;
        size_t n = i % sizeof bytes;
        memset(bytes, (int)(i % 251), sizeof bytes);
        ck_assert_int_eq(
            pool_submit_bytes(pool, &f, NULL, task_echo, bytes, n), 0);
        ck_assert_int_eq(pool_future_bytes(f, PATIENCE_MS, &data, &size), 0);
        ck_assert_uint_eq(size, n);
        ck_assert(n == 0 || memcmp(data, bytes, n) == 0);
        pool_future_free(f);
    }
    pool_destroy(pool);
    test_end();
}

/* Looking ends with the wait. */
static void
a_timeout_is_kept(int unused)
{
    pool_future_t *f;

    (void)unused;
    test_begin();
    pool_t *pool = open_pool(1, 0);
    pool->spin_ns = UINT64_C(60000000000); /* nobody may ask for so much */
    ck_assert_int_eq(pool_submit(pool, &f, task_hang, ""), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pool_future_error(f, 5), POOL_ETIMEDOUT);
    pool_future_free(f);
    pool_destroy(pool);
    test_end();
}

static void
dies_while_it_is_looked_at(int unused)
{
    (void)unused;
    test_begin();
    pool_t *pool = open_pool(1, 1000);
    for (int i = 0; i < 20; i++) {
        pool_future_t *f;
        ck_assert_int_eq(pool_submit(pool, &f, task_kill_self, ""), 0);
        ck_assert_int_eq(pool_future_error(f, PATIENCE_MS), POOL_EDIED);
        pool_future_free(f);
        ck_assert_int_eq(pool_submit(pool, &f, task_double, "d", 1.0), 0);
        ck_assert_int_eq(pool_future_error(f, PATIENCE_MS), 0);
        pool_future_free(f);
    }
    pool_destroy(pool);
    test_end();
}

/* "u": so many bytes, made where the reply is to stand; every fourth with a
 * line of log in between, so that it will not stand there. */
static int
task_in_place(pool_call_t *call)
{
    void *place = NULL;
    uint32_t n;
    int rc = pool_call_args(call, "u", &n);

    if (rc == 0)
        rc = pool_call_reserve(call, n, &place);
    if (rc == 0)
        memset(place, (int)(n % 251), n / 2);
    if (n % 4 == 0)
        pool_call_log(call, "%u bytes", n);
    if (rc == 0)
        memset((char *)place + n / 2, (int)(n % 251), n - n / 2);
    return rc;
}

static void
check_in_place(pool_future_t *f, uint32_t n)
{
    const unsigned char *bytes;
    const void *data;
    size_t size;

    ck_assert_int_eq(pool_future_bytes(f, PATIENCE_MS, &data, &size), 0);
    ck_assert_uint_eq(size, n);
    bytes = data;
    bool same = true;
    for (size_t i = 0; i < size; i++)
        same = same && bytes[i] == n % 251;
    ck_assert(same);
    pool_future_free(f);
}

/* Many replies, in flight together: the buffer is gone round many times, taken
 * from memory or (spin_us is POOL_NONE) written to the pipe, and the program
 * stays away now and then. */
static void
replies_wrap(int unused)
{
    enum { N = 8000, WINDOW = 900 };
    static pool_future_t *ring[WINDOW];
    static uint32_t sizes[WINDOW];
    unsigned seed = 3;

    (void)unused;
    for (int spin_us = POOL_NONE; spin_us <= 0; spin_us++) {
        test_begin();
        pool_t *pool = open_pool(2, spin_us);
        for (int i = 0; i < N + WINDOW; i++) {
            int slot = i % WINDOW;
            if (i >= WINDOW)
                check_in_place(ring[slot], sizes[slot]);
            if (i >= N)
                continue;
            sizes[slot] = (uint32_t)rand_r(&seed) % (i % 50 == 0 ? 60000 : 900);
            ck_assert_int_eq(
                pool_submit(pool, &ring[slot], task_in_place, "u", sizes[slot]),
                0);
            if (i % 1000 == 0)
                (void)poll(NULL, 0, 5);
        }
        pool_destroy(pool);
        test_end();
    }
}

/* Whoever looks stops before the program sleeps on the pool's descriptor: a
 * reply that stood in memory is found, and what comes later is written. */
static void
looks_away_for_a_descriptor(int unused)
{
    enum { N = 3000 };
    static pool_future_t *f[2 * N];

    (void)unused;
    test_begin();
    pool_t *pool = open_pool(2, 0);
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(pool_submit(pool, &f[i], task_double, "d", 1.0), 0);
        if (i == N / 2) /* so many were quick, if the machine has time */
            ck_assert_int_eq(pool_future_error(f[i], PATIENCE_MS), 0);
    }
    (void)pool_future_error(f[N - 1], 0); /* has a look, does not sleep */
    struct pollfd fd = {.fd = pool_fd(pool), .events = POLLIN};
    ck_assert_int_ge(fd.fd, 0);
    pool__table_each(proc, &pool->table)
    {
        ck_assert(!proc->channel.looks); /* or the sweep would hide it */
    }
    for (int i = N; i < 2 * N; i++)
        ck_assert_int_eq(pool_submit(pool, &f[i], task_double, "d", 1.0), 0);
    for (int i = 0; i < 2 * N; i++) {
        while (!pool_future_done(f[i])) {
            ck_assert_int_eq(poll(&fd, 1, PATIENCE_MS), 1);
            ck_assert_int_eq(pool_poll(pool, 0), 0);
        }
        pool_future_free(f[i]);
    }
    pool_destroy(pool);
    test_end();
}

static void
on_idle(uv_idle_t *handle)
{
    (void)handle;
}

/* A pool of one worker in host drive, which has answered. */
static pool_t *
open_host_pool(uv_loop_t *loop, int spin_us)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_future_t *f;
    pool_t *pool;

    test_begin();
    ck_assert_int_eq(uv_loop_init(loop), 0);
    options.workers = options.min_workers = 1;
    options.loop = loop;
    options.spin_us = spin_us;
    ck_assert_int_eq(pool_create(&pool, &options), 0);
    ck_assert_int_eq(
        pool_submit_bytes(pool, &f, NULL, task_answer, NULL, 0), 0);
    uv_run(loop, UV_RUN_DEFAULT);
    ck_assert(pool_future_done(f));
    pool_future_free(f);
    return pool;
}

static void
close_host_pool(pool_t *pool, uv_loop_t *loop)
{
    pool_destroy(pool);
    uv_run(loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(loop), 0);
    test_end();
}

/* The program's loop doesn't sleep while replies come by memory, nor does a
 * worker write them; when there are none it may, and nobody looks. */
static void
a_host_loop_looks(int unused)
{
    enum { N = 100 };
    pool_future_t *f[N + 1];
    uv_loop_t loop;
    pool_t *pool = open_host_pool(&loop, 0);

    (void)unused;
    uv_handle_t *idle = (uv_handle_t *)pool->host.idle;
    uv_prepare_t *prepare = pool->host.prepare;
    pool__table_each(proc, &pool->table)
    {
        struct pool__channel *ch = &proc->channel;
        uint64_t piped = ch->piped;
        pool__channel_look(ch, true); /* as if it had just found some */
        uv_idle_start(pool->host.idle, on_idle);
        pool->host.goes_on = true;
        for (int i = 0; i <= N; i++) {
            pool->sched.functions.list[0].mean_ns = 1;
            pool->sched.halted = i == N; /* the last one has to wait */
            pool->sched.run.left = i == N ? 0 : pool->sched.run.left;
            ck_assert_int_eq(
                pool_submit_bytes(pool, &f[i], NULL, task_answer, NULL, 0), 0);
        }
        pool__sched_flush(&pool->sched);
        await_end(ch, ch->consumed + N * (ANSWER + POOL__FRAME_HEADER));
        prepare->prepare_cb(prepare); /* one turn, and no other */
        ck_assert_uint_eq(pool->core->unsettled, 1);
        ck_assert_uint_eq(ch->piped, piped);
        ck_assert(uv_is_active(idle));
        ck_assert(ch->looks);
        for (int i = 0; i < PATIENCE_MS && uv_is_active(idle); i++)
            prepare->prepare_cb(prepare);
        ck_assert(!uv_is_active(idle));
        ck_assert(!pool__load(&ch->region->looks));
    }
    pool->sched.halted = false;
    pool->sched.stirred = true; /* gives out again */
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert(pool_future_done(f[N]));
    ck_assert(!pool->host.goes_on); /* there is nothing to come */
    for (int i = 0; i <= N; i++)
        pool_future_free(f[i]);
    ck_assert_int_eq(
        pool_submit_bytes(pool, &f[0], NULL, task_answer, NULL, 0), 0);
    uv_run(&loop, UV_RUN_DEFAULT); /* it is kept going */
    ck_assert(pool_future_done(f[0]));
    pool_future_free(f[0]);
    close_host_pool(pool, &loop);
}

/* A turn before the sleep that settles something: who runs the loop once is to
 * hear of it. */
static void
a_host_loop_does_not_sleep_on_a_result(int unused)
{
    pool_future_t *f;
    uv_loop_t loop;
    pool_t *pool = open_host_pool(&loop, POOL_NONE); /* by the pipe */

    (void)unused;
    ck_assert_int_eq(
        pool_submit_bytes(pool, &f, NULL, task_answer, NULL, 0), 0);
    pool__sched_flush(&pool->sched);
    pool__table_each(proc, &pool->table)
    {
        struct pollfd reply = {
            .fd = proc->channel.result_read, .events = POLLIN};
        ck_assert_int_eq(poll(&reply, 1, PATIENCE_MS), 1);
    }
    pool->sched.stirred = true; /* something is to be done */
    uv_prepare_t *prepare = pool->host.prepare;
    prepare->prepare_cb(prepare);
    ck_assert(pool_future_done(f));
    ck_assert(uv_is_active((uv_handle_t *)pool->host.idle));
    pool_future_free(f);
    close_host_pool(pool, &loop);
}

/* A child that was forked while the loop goes on runs its copy: nothing of the
 * pool's is touched there, and nothing keeps that loop going. */
static void
a_child_runs_its_copy_of_the_loop(int unused)
{
    pool_future_t *f;
    uv_loop_t loop;
    pool_t *pool = open_host_pool(&loop, 0);
    int status = -1;

    (void)unused;
    pool->sched.halted = true; /* it stays unsettled */
    ck_assert_int_eq(
        pool_submit_bytes(pool, &f, NULL, task_answer, NULL, 0), 0);
    uv_idle_start(pool->host.idle, on_idle);
    pid_t pid = fork();
    if (pid == 0) {
        int rc = uv_loop_fork(&loop);
        _exit(rc != 0 || uv_run(&loop, UV_RUN_DEFAULT) != 0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    pool->sched.halted = false;
    pool->sched.stirred = true;
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert(pool_future_done(f));
    pool_future_free(f);
    close_host_pool(pool, &loop);
}

static void
on_closed(void *closed)
{
    *(bool *)closed = true;
}

static void
on_timer(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

/* In the child: 0 where its copy of the loop runs to its end, with a timer of
 * its own, though the pool was destroyed. */
static int
run_without_the_pool(uv_loop_t *loop, pool_t *pool, bool first)
{
    uv_timer_t timer;
    bool fired = false;

    if (first)
        pool_destroy(pool);
    int rc = uv_loop_fork(loop);
    if (!first)
        pool_destroy(pool);
    uv_timer_init(loop, &timer);
    timer.data = &fired;
    uv_timer_start(&timer, on_timer, 10, 0);
    return rc != 0 || uv_run(loop, UV_RUN_DEFAULT) != 0 || !fired;
}

/* Before its loop is its own, and after. */
static void
a_child_destroys_its_copy(int unused)
{
    pool_future_t *f;
    uv_loop_t loop;
    pool_t *pool = open_host_pool(&loop, 0);
    int status = -1;

    (void)unused;
    ck_assert_int_eq(pool_submit(pool, &f, task_double, "d", 1.0), 0);
    for (int first = 0; first <= 1; first++) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(run_without_the_pool(&loop, pool, first));
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_int_eq(status, 0);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert(pool_future_done(f));
    pool_future_free(f);
    close_host_pool(pool, &loop);
}

static void
fork_in_it(pool_future_t *future, void *pid)
{
    (void)future;
    *(pid_t *)pid = fork();
}

/* A child that a callback has forked comes out of the loop, and takes nothing
 * from its parent. */
static void
a_callback_forks_in_the_loop(int unused)
{
    uv_loop_t loop;
    pool_t *pool = open_host_pool(&loop, 0);
    pool_future_t *f[2];
    pid_t pid = -1;
    int status = -1;

    (void)unused;
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pool_submit(pool, &f[i], task_double, "d", 1.0), 0);
    ck_assert_int_eq(pool_future_add_done_callback(f[0], fork_in_it, &pid), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    if (pid == 0)
        _exit(0);
    ck_assert_int_ne(pid, -1);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    for (int i = 0; i < 2; i++) {
        ck_assert(pool_future_done(f[i]));
        pool_future_free(f[i]);
    }
    close_host_pool(pool, &loop);
}

struct forking {
    pool_t *pool;
    bool destroys; /* the child does, at once */
    pid_t pid;     /* -1: not yet */
};

/* The pool's handles are being closed: fork, and go on in both. */
static void
fork_late(uv_check_t *check)
{
    struct forking *f = check->data;

    if (f->pool->host.last == NULL)
        return;
    f->pid = fork();
    if (f->pid == 0 && f->destroys)
        pool_destroy(f->pool);
    uv_close((uv_handle_t *)check, NULL);
}

/* The child's copy of what is being closed is told to nobody there. */
static void
a_child_of_a_pool_that_closes(int unused)
{
    (void)unused;
    for (int destroys = 0; destroys <= 1; destroys++) {
        uv_loop_t loop;
        pool_t *pool = open_host_pool(&loop, 0);
        struct forking f = {pool, destroys, -1};
        uv_check_t check;
        bool closed = false;
        int status = -1;

        uv_check_init(&loop, &check);
        check.data = &f;
        uv_check_start(&check, fork_late);
        ck_assert_int_eq(pool_close(pool, on_closed, &closed), 0);
        uv_run(&loop, UV_RUN_DEFAULT);
        if (f.pid == 0) {
            if (!destroys)
                pool_destroy(pool); /* after its handles have gone */
            _exit(closed);
        }
        ck_assert_int_ne(f.pid, -1);
        ck_assert_int_eq(waitpid(f.pid, &status, 0), f.pid);
        ck_assert_int_eq(status, 0);
        ck_assert(closed);
        ck_assert_int_eq(uv_loop_close(&loop), 0);
        test_end();
    }
}

/* A line of log goes by the pipe, what is returned by memory. */
static int
task_log(pool_call_t *call)
{
    pool_call_log(call, "%s", "a line");
    return pool_call_return(call, "");
}

/* Two tasks are answered, by a worker that was told that somebody looks: at
 * least the second reply stands in memory alone. */
static struct pool__proc *
answer_in_memory(pool_t *pool, pool_fn fn, pool_future_t *f[2])
{
    struct pool__proc *found = NULL;

    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(pool_submit_bytes(pool, &f[i], NULL,
                             i == 0 ? task_log : task_answer, NULL, 0),
            0);
        ck_assert_int_eq(pool_future_error(f[i], PATIENCE_MS), 0);
        pool_future_free(f[i]);
    }
    pool__table_each(proc, &pool->table)
    {
        pool__channel_look(&proc->channel, true);
        for (int i = 0; i < 2; i++) /* both are sent */
            pool->sched.functions.list[i].mean_ns = 1;
        ck_assert_int_eq(pool_submit_bytes(pool, &f[0], NULL, fn, NULL, 0), 0);
        ck_assert_int_eq(
            pool_submit_bytes(pool, &f[1], NULL, task_answer, NULL, 0), 0);
        struct pool__region *region = proc->channel.region;
        pool__sched_flush(&pool->sched);
        ck_assert_ptr_eq(f[1]->proc, proc);
        for (int i = 0; i < PATIENCE_MS &&
                        (pool__load(&region->running) != f[1]->ordinal ||
                            test_state(proc->pid) != 'S');
             i++)
            (void)poll(NULL, 0, 1);
        found = proc;
    }
    uv_timer_stop(&pool->sched.sweep); /* it would find it */
    return found;
}

/* It is taken though the worker has been told to stop. */
static void
a_last_result_is_taken(int unused)
{
    pool_t *pool = open_pool(1, 0);
    pool_future_t *f[2];
    struct pool__proc *proc = answer_in_memory(pool, task_answer, f);
    enum pool__proc_state state = proc->state;

    (void)unused;
    pool->driving = true;
    proc->state = POOL__PROC_STOPPING;
    pool__budget_begin(0); /* it might not be taken in this turn */
    ck_assert(pool__look_away(pool));
    (void)pool__budget_close();
    ck_assert(pool__load(&proc->channel.region->looks));
    ck_assert_uint_eq(pool->core->unsettled, 2);
    ck_assert(pool__look_away(pool));
    ck_assert(!pool__load(&proc->channel.region->looks));
    proc->state = state;
    pool->driving = false;
    ck_assert_uint_eq(pool->core->unsettled, 0);
    pool_future_free(f[0]);
    pool_future_free(f[1]);
    pool_destroy(pool);
}

/* It is taken with what stood before it in the pipe, where nobody looks. */
static void
a_reply_behind_a_line_of_log(int unused)
{
    pool_t *pool = open_pool(1, 0);
    pool_future_t *f[2];
    struct pool__proc *proc = answer_in_memory(pool, task_log, f);
    struct pool__channel *ch = &proc->channel;

    (void)unused;
    ck_assert_uint_lt(pool__load(&ch->region->reply.start),
        pool__load(&ch->region->reply.end));
    pool->driving = true;
    pool__channel_look(ch, false);
    uv_run(&pool->loop, UV_RUN_NOWAIT);
    pool->driving = false;
    ck_assert_uint_eq(pool->core->unsettled, 0);
    pool_future_free(f[0]);
    pool_future_free(f[1]);
    pool_destroy(pool);
}

static const struct test tests[] = {
    {"only_where_there_are_cpus", only_where_there_are_cpus},
    {"not_on_one_cpu", not_on_one_cpu},
    {"gives_up_what_does_not_pay", gives_up_what_does_not_pay},
    {"a_look_takes_a_step", a_look_takes_a_step},
    {"looked_at_between_two_tasks", looked_at_between_two_tasks},
    {"an_idle_pool_sleeps", an_idle_pool_sleeps},
    {"no_wake_up_is_lost", no_wake_up_is_lost},
    {"collected_and_written", collected_and_written},
    {"replies_wrap", replies_wrap},
    {"looks_away_for_a_descriptor", looks_away_for_a_descriptor},
    {"a_timeout_is_kept", a_timeout_is_kept},
    {"dies_while_it_is_looked_at", dies_while_it_is_looked_at},
    {"a_host_loop_looks", a_host_loop_looks},
    {"a_host_loop_does_not_sleep_on_a_result",
        a_host_loop_does_not_sleep_on_a_result},
    {"a_child_runs_its_copy_of_the_loop", a_child_runs_its_copy_of_the_loop},
    {"a_child_destroys_its_copy", a_child_destroys_its_copy},
    {"a_callback_forks_in_the_loop", a_callback_forks_in_the_loop},
    {"a_child_of_a_pool_that_closes", a_child_of_a_pool_that_closes},
    {"a_last_result_is_taken", a_last_result_is_taken},
    {"a_reply_behind_a_line_of_log", a_reply_behind_a_line_of_log},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return test_main("spin", tests, argc, argv);
}
