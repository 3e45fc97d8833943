/* Thread drive: who leads. A thread that waits runs the loop; the pool's thread
 * does it before and after, and tells the program what is due meanwhile. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../src/pool.h"
#include "drives.h"

/* ---- who leads ---------------------------------------------------------- */

struct view {
    pool_t *pool;
    bool (*holds)(const pool_t *pool);
};

static bool
holds(void *data)
{
    struct view *view = data;

    ck_assert_int_eq(pool__enter_pool(view->pool, "holds"), 0);
    bool yes = view->holds(view->pool);
    pool__leave(view->pool->core);
    return yes;
}

static bool
is_now(pool_t *pool, bool (*that)(const pool_t *))
{
    struct view view = {pool, that};

    return holds(&view);
}

static void
until(const struct drive *d, pool_t *pool, bool (*that)(const pool_t *))
{
    struct view view = {pool, that};

    drive_until(d, holds, &view);
}

static bool
is_led(const pool_t *pool)
{
    return pool__thread_led(pool);
}

static bool
one_waits(const pool_t *pool)
{
    return !pool__list_empty(&pool->core->waiters);
}

static bool
two_wait(const pool_t *pool)
{
    const struct pool__list *waiters = &pool->core->waiters;

    return !pool__list_empty(waiters) && waiters->next->next != waiters;
}

/* Its own thread leads again and has no more to do. */
static bool
sleeps_on_the_loop(const pool_t *pool)
{
    return pool->thread.rest == POOL__REST_LOOP;
}

static bool
is_parked(const pool_t *pool)
{
    return pool->thread.rest == POOL__REST_PARKED;
}

/* Where somebody waits, or is to be told at once, the pool's thread does not
 * nap on: it leads, or was called. */
static bool
is_served(const pool_t *pool)
{
    return is_led(pool) || !pool__thread_naps(pool) || pool->thread.called ||
           (pool->core->listeners == 0 && !one_waits(pool));
}

/* Nothing will wake who leads but what others do. */
static bool
has_no_timer(const pool_t *pool)
{
    return uv_backend_timeout(&pool->loop) == -1;
}

/* ---- threads that wait -------------------------------------------------- */

struct waiter {
    pthread_t thread;
    pool_future_t *future;
    int timeout_ms, error, tid, over;
};

static void *
wait_for_it(void *data)
{
    struct waiter *w = data;

    raise_word(&w->tid, (int)gettid());
    w->error = pool_future_error(w->future, w->timeout_ms);
    raise_word(&w->over, 1);
    return NULL;
}

/* Begin to wait for the future, which is the waiter's from now on. */
static void
waiter_start(struct waiter *w, pool_future_t *future, int timeout_ms)
{
    *w = (struct waiter){.future = future, .timeout_ms = timeout_ms};
    ck_assert_int_eq(pthread_create(&w->thread, NULL, wait_for_it, w), 0);
}

static int
waiter_end(struct waiter *w)
{
    ck_assert_int_eq(pthread_join(w->thread, NULL), 0);
    pool_future_free(w->future);
    return w->error;
}

/* Whether it leads; it doesn't where the pool's thread was awake just then. */
static bool
leads(const struct drive *d, pool_t *pool)
{
    until(d, pool, one_waits);
    return is_now(pool, is_led);
}

/* One that waits for a gate, and leads. */
static struct gate *
leader_start(struct waiter *w, const struct drive *d, pool_t *pool)
{
    for (;;) {
        struct gate *gate = gate_new();
        waiter_start(w, gate_submit(pool, gate), PATIENCE_MS);
        if (leads(d, pool))
            return gate;
        gate_open(gate);
        ck_assert_int_eq(waiter_end(w), 0);
    }
}

/* ---- cases -------------------------------------------------------------- */

static void
a_waiting_thread_leads(const struct drive *d)
{
    struct waiter w;
    pool_t *pool = drive_pool(d, 1);

    for (int i = 0; i < 20; i++) {
        gate_open(leader_start(&w, d, pool));
        ck_assert_int_eq(waiter_end(&w), 0);
    }
    until(d, pool, sleeps_on_the_loop);
    drive_works(d, pool);
    drive_destroy(d, pool);
}

static int called_in; /* a thread's id */

static void
note_thread(pool_future_t *future, void *data)
{
    (void)future;
    raise_word(&called_in, (int)gettid());
    if (data != NULL)
        gate_open(data);
}

/* A callback opens the gate that a thread waits for: the thread that waits
 * doesn't run it, and doesn't keep it from running. */
static void
callbacks_stay_in_the_pools_thread(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 2);

    for (int i = 0; i < 40; i++) {
        struct waiter w;
        struct gate *other = gate_new();
        pool_future_t *f = gate_submit(pool, other);
        called_in = 0;
        struct gate *gate = leader_start(&w, d, pool);
        if (i % 2 != 0)
            gate_open(other);
        ck_assert_int_eq(
            pool_future_add_done_callback(f, note_thread, gate), 0);
        gate_open(other);
        ck_assert_int_eq(waiter_end(&w), 0);
        int tid = read_word(&called_in);
        ck_assert_int_ne(tid, 0);
        ck_assert_int_ne(tid, w.tid);
        if (i % 2 == 0)
            ck_assert_int_ne(tid, (int)gettid());
        pool_future_free(f);
    }
    drive_destroy(d, pool);
}

/* "t": a gate, and then a line. */
static int
task_line(pool_call_t *call)
{
    int rc = task_gate(call);

    return rc == 0 ? pool_call_log(call, "through") : rc;
}

static void
note_line(const pool_log_t *line, void *data)
{
    (void)data;
    if (line->kind == POOL_LOG_TASK)
        raise_word(&called_in, (int)gettid());
}

/* Who leads reads the line, and doesn't tell it. */
static void
lines_stay_in_the_pools_thread(const struct drive *d)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    int led = 0;

    options.workers = options.min_workers = 1;
    options.log = note_line;
    pool_t *pool = drive_open(d, &options);
    for (int i = 0; i < 20 || led == 0; i++) {
        struct gate *gate = gate_new();
        struct waiter w;
        pool_future_t *f;
        called_in = 0;
        ck_assert_int_eq(
            pool_submit(pool, &f, task_line, "t", ADDRESS(gate)), 0);
        ck_assert(test_await(&gate->begun, 1));
        waiter_start(&w, f, PATIENCE_MS);
        led += leads(d, pool);
        gate_open(gate);
        ck_assert_int_eq(waiter_end(&w), 0);
        ck_assert(test_await(&called_in, 1));
        ck_assert_int_ne(called_in, w.tid);
    }
    drive_destroy(d, pool);
}

/* Nobody waits any more, and the pool's thread had left that to others. */
static void
callbacks_after_a_wait(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 1);

    for (int i = 0; i < 200; i++) {
        drive_works(d, pool);
        pool_future_t *f = submit(pool, task_nothing);
        called_in = 0;
        ck_assert_int_eq(
            pool_future_add_done_callback(f, note_thread, NULL), 0);
        ck_assert(is_now(pool, is_served));
        pool_future_free(f);
        ck_assert(test_await(&called_in, 1));
    }
    drive_destroy(d, pool);
}

/* The same without anybody who is told: the work goes on. */
static void
work_after_a_wait(const struct drive *d)
{
    enum { TASKS = 64 };
    pool_options_t options = POOL_OPTIONS_INIT;

    options.workers = 1;
    pool_t *pool = drive_open(d, &options);
    for (int i = 0; i < 20; i++) {
        struct gate *gates[TASKS];
        drive_works(d, pool);
        for (int k = 0; k < TASKS; k++) {
            gates[k] = gate_new();
            gate_open(gates[k]);
            pool_future_free(gate_submit(pool, gates[k]));
        }
        ck_assert(test_await(&gates[TASKS - 1]->ended, 1));
    }
    drive_destroy(d, pool);
}

/* Who leads leaves while another waits, or has what that one waits for. */
static void
one_leads_for_another(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 2);

    for (int i = 0; i < 40; i++) {
        struct waiter leader, follower;
        struct gate *gate = leader_start(&leader, d, pool);
        struct gate *other = gate_new();
        waiter_start(&follower, gate_submit(pool, other), PATIENCE_MS);
        until(d, pool, two_wait);
        gate_open(i % 2 == 0 ? gate : other);
        ck_assert(test_await(i % 2 == 0 ? &leader.over : &follower.over, 1));
        ck_assert(is_now(pool, is_served));
        gate_open(i % 2 == 0 ? other : gate);
        ck_assert_int_eq(waiter_end(&leader), 0);
        ck_assert_int_eq(waiter_end(&follower), 0);
    }
    drive_destroy(d, pool);
}

static void
a_leader_is_woken_by_a_cancel(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 1);
    int led = 0;

    for (int i = 0; i < 20 || led == 0; i++) {
        struct gate *gate = gate_new();
        struct waiter w;
        pool_future_t *running = gate_submit(pool, gate);
        waiter_start(&w, gate_submit(pool, gate_new()), PATIENCE_MS);
        led += leads(d, pool);
        if (i >= 10)
            until(d, pool, has_no_timer);
        ck_assert_int_eq(pool_future_cancel(w.future), 0);
        ck_assert_int_eq(waiter_end(&w), POOL_ECANCELED);
        usleep(10000); /* then no other is sent ahead, and nothing is swept */
        gate_open(gate);
        ck_assert_int_eq(drive_end(d, running), 0);
    }
    drive_destroy(d, pool);
}

static void
a_leaders_time_is_over(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 1);
    struct gate *gate = gate_new();
    struct waiter w;
    pool_future_t *f = gate_submit(pool, gate);

    for (int i = 0; i < 10; i++) {
        waiter_start(&w, f, 1 + i % 3);
        pthread_join(w.thread, NULL);
        ck_assert_int_eq(w.error, POOL_ETIMEDOUT);
    }
    until(d, pool, sleeps_on_the_loop);
    gate_open(gate);
    ck_assert_int_eq(drive_end(d, f), 0);
    drive_destroy(d, pool);
}

/* How often a thread of this process went to sleep. */
static long
sleeps_of(int tid)
{
    char path[64], line[256];
    long n = -1;

    snprintf(path, sizeof path, "/proc/self/task/%d/status", tid);
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "voluntary_ctxt_switches: %ld", &n) == 1)
            break;
    fclose(file);
    ck_assert_int_ge(n, 0);
    return n;
}

/* Its pool's thread sleeps as long as the wait lasts, not in naps. */
static void
a_long_wait_wakes_nobody(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 1);
    struct waiter w;
    struct gate *first = gate_new();
    pool_future_t *f = gate_submit(pool, first);

    called_in = 0;
    ck_assert_int_eq(pool_future_add_done_callback(f, note_thread, NULL), 0);
    gate_open(first);
    ck_assert(test_await(&called_in, 1));
    ck_assert_int_eq(drive_end(d, f), 0);
    until(d, pool, sleeps_on_the_loop);
    struct gate *gate = leader_start(&w, d, pool);
    until(d, pool, is_parked);
    long before = sleeps_of(called_in);
    usleep(200000);
    ck_assert_int_le(sleeps_of(called_in) - before, 10);
    ck_assert_int_eq(w.over, 0);
    gate_open(gate);
    ck_assert_int_eq(waiter_end(&w), 0);
    until(d, pool, sleeps_on_the_loop);
    drive_destroy(d, pool);
}

static void
destroyed_while_one_leads(const struct drive *d)
{
    for (int i = 0; i < 10; i++) {
        pool_options_t options = POOL_OPTIONS_INIT;
        struct waiter w;
        options.workers = 2;
        options.kill_grace_ms = POOL_NONE;
        pool_t *pool = drive_open(d, &options);
        struct gate *gate = leader_start(&w, d, pool);
        ck_assert(test_await(&gate->begun, 1));
        if (i % 2 != 0)
            until(d, pool, is_parked);
        drive_destroy(d, pool);
        ck_assert_int_eq(waiter_end(&w), POOL_ECANCELED);
    }
}

static void
destroy(pool_future_t *future, void *pool)
{
    (void)future;
    drive_forget(pool);
    pool_destroy(pool);
}

static void
destroyed_by_a_callback_while_one_leads(const struct drive *d)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    struct gate *other = gate_new();
    struct waiter w;

    options.workers = options.min_workers = 2;
    options.kill_grace_ms = POOL_NONE;
    pool_t *pool = drive_open(d, &options);
    pool_future_t *f = gate_submit(pool, other);
    (void)leader_start(&w, d, pool);
    ck_assert_int_eq(pool_future_add_done_callback(f, destroy, pool), 0);
    gate_open(other);
    ck_assert_int_eq(waiter_end(&w), POOL_ECANCELED);
    pool_future_free(f);
    drive_until_closed(d);
}

static void
a_worker_dies_while_one_leads(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 1);

    for (int i = 0; i < 5; i++) {
        struct waiter w;
        struct gate *gate = leader_start(&w, d, pool);
        ck_assert(test_await(&gate->begun, 1));
        ck_assert_int_eq(kill(gate->pid, SIGKILL), 0);
        ck_assert_int_eq(waiter_end(&w), POOL_EDIED);
        drive_works(d, pool);
    }
    drive_destroy(d, pool);
}

/* Several pools at once, each of which was led a moment ago. */
static void
a_wait_for_several_pools(const struct drive *d)
{
    pool_t *a = drive_pool(d, 1), *b = drive_pool(d, 1);

    for (int i = 0; i < 100; i++) {
        size_t done = 0;
        drive_works(d, a);
        drive_works(d, b);
        pool_future_t *f[] = {submit(a, task_nothing), submit(b, task_nothing)};
        ck_assert_int_eq(
            pool_wait(f, 2, POOL_ALL_COMPLETED, PATIENCE_MS, &done), 0);
        ck_assert_uint_eq(done, 2);
        pool_future_free(f[0]);
        pool_future_free(f[1]);
    }
    ck_assert_uint_eq(a->core->listeners, 0);
    ck_assert_uint_eq(b->core->listeners, 0);
    drive_destroy(d, a);
    drive_destroy(d, b);
}

/* ---- all of it at once --------------------------------------------------- */

enum { ROUNDS = 400, CALLERS = 4, BATCH = 24 };

struct caller {
    pthread_t thread;
    pool_t *pool;
    unsigned seed;
    int called, wrong;
};

static void
count(pool_future_t *future, void *data)
{
    struct caller *c = data;

    raise_word(&c->called, 1);
    pool_future_free(future);
}

static bool
is_expected(int error)
{
    return error == 0 || error == POOL_ECANCELED;
}

/* One round: some are waited for, some called back, some given up. */
static void
one_round(struct caller *c, int *callbacks)
{
    pool_future_t *f[BATCH];
    int n = 1 + rand_r(&c->seed) % BATCH;

    for (int i = 0; i < n; i++)
        f[i] = submit(c->pool, task_nothing);
    if (rand_r(&c->seed) % 4 == 0)
        (void)pool_wait(
            f, (size_t)n, rand_r(&c->seed) % 3, rand_r(&c->seed) % 3 - 1, NULL);
    for (int i = 0; i < n; i++) {
        int what = rand_r(&c->seed) % 8;
        if (what == 0) {
            ++*callbacks;
            c->wrong |= pool_future_add_done_callback(f[i], count, c);
            continue;
        }
        if (what == 1)
            (void)pool_future_cancel(f[i]);
        if (what == 2)
            (void)pool_future_error(f[i], 0);
        if (what >= 3)
            c->wrong |= !is_expected(pool_future_error(f[i], -1));
        pool_future_free(f[i]);
    }
}

static void *
call(void *data)
{
    struct caller *c = data;
    int callbacks = 0;

    for (int i = 0; i < ROUNDS && c->wrong == 0; i++)
        one_round(c, &callbacks);
    if (callbacks != 0 && !test_await(&c->called, callbacks))
        c->wrong = 2;
    return NULL;
}

static void
all_at_once(const struct drive *d)
{
    struct caller callers[CALLERS];
    pool_t *pool = drive_pool(d, 2);

    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){.pool = pool, .seed = (unsigned)i + 1};
        ck_assert_int_eq(
            pthread_create(&callers[i].thread, NULL, call, &callers[i]), 0);
    }
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(callers[i].thread, NULL);
        ck_assert_int_eq(callers[i].wrong, 0);
    }
    until(d, pool, sleeps_on_the_loop);
    ck_assert_uint_eq(pool->core->listeners, 0);
    drive_destroy(d, pool);
}

static const struct drive_case cases[] = {
    {"a_waiting_thread_leads", a_waiting_thread_leads, IN_THREAD},
    {"callbacks_stay_in_the_pools_thread", callbacks_stay_in_the_pools_thread,
        IN_THREAD},
    {"lines_stay_in_the_pools_thread", lines_stay_in_the_pools_thread,
        IN_THREAD},
    {"callbacks_after_a_wait", callbacks_after_a_wait, IN_THREAD},
    {"work_after_a_wait", work_after_a_wait, IN_THREAD},
    {"one_leads_for_another", one_leads_for_another, IN_THREAD},
    {"a_leader_is_woken_by_a_cancel", a_leader_is_woken_by_a_cancel, IN_THREAD},
    {"a_leaders_time_is_over", a_leaders_time_is_over, IN_THREAD},
    {"a_long_wait_wakes_nobody", a_long_wait_wakes_nobody, IN_THREAD},
    {"destroyed_while_one_leads", destroyed_while_one_leads, IN_THREAD},
    {"destroyed_by_a_callback_while_one_leads",
        destroyed_by_a_callback_while_one_leads, IN_THREAD},
    {"a_worker_dies_while_one_leads", a_worker_dies_while_one_leads, IN_THREAD},
    {"a_wait_for_several_pools", a_wait_for_several_pools, IN_THREAD},
    {"all_at_once", all_at_once, IN_THREAD},
    {NULL, NULL, 0},
};

int
main(int argc, char **argv)
{
    return drive_main("exec_thread", cases, argc, argv);
}
