/* Corners where two features meet: what is right alone must be right
 * together. */
#define _GNU_SOURCE
#include "drives.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>
#include <uv.h>

#include "pool.h"

/* ---- deadlines ---------------------------------------------------------- */

/* The task in front is cancelled after both were sent ahead: the deadline of
 * the next one is kept all the same. */
static int
task_maybe_hang(pool_call_t *call)
{
    int32_t hang = 0;
    int rc = pool_call_args(call, "i", &hang);

    while (rc == 0 && hang != 0)
        pause();
    return rc;
}

static void
a_deadline_behind_a_cancelled_task(const struct drive *d)
{
    pool_task_options_t task = POOL_TASK_OPTIONS_INIT;
    pool_t *pool = drive_pool(d, 1);
    pool_future_t *f, *front, *behind;

    task.deadline_ms = 100;
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 40; i++) { /* known to be short: sent ahead */
            ck_assert_int_eq(pool_submit(pool, &f, task_maybe_hang, "i", 0), 0);
            ck_assert_int_eq(drive_end(d, f), 0);
        }
        ck_assert_int_eq(pool_submit(pool, &front, task_maybe_hang, "i", 0), 0);
        ck_assert_int_eq(
            pool_submit_opts(pool, &behind, &task, task_maybe_hang, "i", 1), 0);
        (void)pool_future_cancel(front);
        ck_assert_int_eq(drive_end(d, behind), POOL_EDEADLINE);
        pool_future_free(front);
    }
    drive_destroy(d, pool);
}

/* The library's own kill is no death that breaks a strict pool. */
static void
strict_and_a_cancelled_run(const struct drive *d)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    struct gate *gate = gate_new(), *other = gate_new();
    pool_stats_t stats = POOL_STATS_INIT;

    options.workers = options.min_workers = 2;
    options.strict = 1;
    pool_t *pool = drive_open(d, &options);
    pool_future_t *f = gate_submit(pool, gate), *g = gate_submit(pool, other);
    drive_until_word(d, &gate->begun, 1);
    drive_until_word(d, &other->begun, 1);
    ck_assert_int_eq(pool_future_cancel_running(f), 0);
    drive_until_gone(d, gate->pid);
    gate_open(other);
    ck_assert_int_eq(drive_end(d, g), 0);
    ck_assert_int_eq(drive_end(d, f), POOL_ECANCELED);
    drive_works(d, pool);
    ck_assert_int_eq(pool_stats(pool, &stats), 0);
    ck_assert_uint_eq(stats.workers_died, 0);
    drive_destroy(d, pool);
}

/* The loop has not run for longer than a fork may take: a worker that is
 * started then has its time all the same, and so has a grace. */
static void
after_a_long_quiet(const struct drive *d)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_stats_t stats = POOL_STATS_INIT;
    pool_future_t *f[4];

    if (!test_full())
        return;
    options.workers = 4;
    pool_t *pool = drive_open(d, &options);
    drive_works(d, pool);
    (void)poll(NULL, 0, 6000);
    for (int i = 0; i < 4; i++)
        f[i] = submit(pool, task_nothing);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(drive_end(d, f[i]), 0);
    ck_assert_int_eq(pool_stats(pool, &stats), 0);
    ck_assert_uint_eq(stats.forkservers, 1);
    ck_assert_uint_eq(stats.start_failures, 0);
    drive_destroy(d, pool);
}

/* ---- the queue ------------------------------------------------------------
 */

static void
raise_on_drain(pool_t *pool, void *data)
{
    (void)pool;
    raise_word(data, 1);
}

/* Room that comes by a cancel is told like any other. */
static void
a_cancel_makes_room(const struct drive *d)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    struct gate *gate = gate_new();
    int drained = 0;
    pool_future_t *second, *third;

    options.workers = 1;
    options.max_pending = 2;
    options.drain = raise_on_drain;
    options.drain_data = &drained;
    pool_t *pool = drive_open(d, &options);
    pool_future_t *f = gate_submit(pool, gate);
    drive_until_word(d, &gate->begun, 1);
    second = submit(pool, task_nothing);
    ck_assert_int_eq(pool_submit(pool, &third, task_nothing, ""), POOL_EAGAIN);
    ck_assert_int_eq(pool_future_cancel(second), 0);
    drive_until_word(d, &drained, 1);
    gate_open(gate);
    ck_assert_int_eq(drive_end(d, f), 0);
    pool_future_free(second);
    drive_destroy(d, pool);
    ck_assert_int_eq(drained, 1);
}

struct submitter {
    pool_t *pool;
    int rc;
};

static void *
submit_and_wait(void *data)
{
    struct submitter *s = data;
    pool_task_options_t task = POOL_TASK_OPTIONS_INIT;

    task.wait_ms = POOL_NONE;
    s->rc = pool_submit_opts(s->pool, NULL, &task, task_nothing, "");
    return NULL;
}

static bool
three_wait(void *data)
{
    struct pool *pool = data;
    int n = 0;

    ck_assert_int_eq(pool__enter_pool(pool, "three_wait"), 0);
    pool__list_each(node, &pool->core->waiters)
    {
        n++;
    }
    pool__leave(pool->core);
    return n == 3;
}

/* A pool is destroyed while other threads wait for room: they are refused. */
static void
destroyed_before_there_was_room(const struct drive *d)
{
    enum { THREADS = 3 };
    pool_options_t options = POOL_OPTIONS_INIT;
    struct gate *gate = gate_new();
    struct submitter s[THREADS];
    pthread_t threads[THREADS];

    options.workers = 1;
    options.max_pending = 1;
    options.kill_grace_ms = POOL_NONE;
    pool_t *pool = drive_open(d, &options);
    pool_future_t *f = gate_submit(pool, gate);
    drive_until_word(d, &gate->begun, 1);
    for (int i = 0; i < THREADS; i++) {
        s[i] = (struct submitter){pool, 0};
        ck_assert_int_eq(
            pthread_create(&threads[i], NULL, submit_and_wait, &s[i]), 0);
    }
    drive_until(d, three_wait, pool);
    drive_destroy(d, pool);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_eq(s[i].rc, POOL_ESHUTDOWN);
    }
    ck_assert_int_eq(pool_future_error(f, 0), POOL_ECANCELED);
    pool_future_free(f);
}

/* ---- several pools ------------------------------------------------------- */

static void
free_other(pool_future_t *future, void *data)
{
    (void)future;
    pool_future_free(data);
}

/* Opens a gate as soon as somebody waits; in caller drive at once. */
struct opener {
    struct gate *gate;
    pool_future_t *future; /* of a pool in thread drive */
    bool (*is_awaited)(const pool_future_t *future);
    pthread_t thread;
};

static bool
is_watched(const pool_future_t *future)
{
    return future->watchers != NULL;
}

static bool
somebody_waits(const pool_future_t *future)
{
    return !pool__list_empty(&future->core->waiters);
}

static void *
open_when_awaited(void *data)
{
    struct opener *o = data;
    bool awaited = false;

    while (!awaited) {
        usleep(1000);
        ck_assert_int_eq(pool__enter(o->future->core, "open_when_awaited"), 0);
        awaited = o->is_awaited(o->future);
        pool__leave(o->future->core);
    }
    gate_open(o->gate);
    return NULL;
}

static void
opener_start(struct opener *o, const struct drive *d)
{
    if (d->bit != IN_THREAD)
        gate_open(o->gate);
    else
        ck_assert_int_eq(
            pthread_create(&o->thread, NULL, open_when_awaited, o), 0);
}

static void
opener_join(struct opener *o, const struct drive *d)
{
    if (d->bit == IN_THREAD)
        pthread_join(o->thread, NULL);
}

/* A callback frees a future that the wait was given, of a pool that is gone.
 * In thread drive it must not come before the wait has begun. */
static void
freed_while_waited_for(const struct drive *d)
{
    pool_t *a = drive_pool(d, 1), *b = drive_pool(d, 1);
    struct gate *gate = gate_new();
    pool_future_t *freed = submit(b, task_nothing);
    size_t done = 0;

    ck_assert_int_eq(drive_error(d, freed), 0);
    drive_destroy(d, b);
    pool_future_t *f[3] = {
        freed, gate_submit(a, gate), submit(a, task_nothing)};
    struct opener opener = {
        .gate = gate, .future = f[2], .is_awaited = is_watched};
    ck_assert_int_eq(pool_future_add_done_callback(f[1], free_other, freed), 0);
    opener_start(&opener, d);
    ck_assert_int_eq(
        pool_wait(f, 3, POOL_ALL_COMPLETED, PATIENCE_MS, &done), 0);
    ck_assert_uint_eq(done, 3);
    opener_join(&opener, d);
    pool_future_free(f[1]);
    pool_future_free(f[2]);
    drive_destroy(d, a);
}

static void
free_it(pool_future_t *future, void *data)
{
    (void)data;
    pool_future_free(future);
}

static int
wait_in_some_way(pool_future_t *future, int way)
{
    int64_t five = 0;

    if (way == 0)
        return pool_future_error(future, PATIENCE_MS);
    if (way == 1)
        return pool_future_bytes(future, PATIENCE_MS, NULL, NULL);
    int rc = pool_future_result(future, PATIENCE_MS, "i", &five);
    return rc != 0 || five == 5 ? rc : -1;
}

/* Its own callback frees what a call waits for: that call still has it. */
static void
freed_by_its_callback(const struct drive *d)
{
    for (int way = 0; way < 3; way++) {
        pool_t *pool = drive_pool(d, 1);
        struct gate *gate = gate_new();
        struct opener opener = {.gate = gate,
            .future = gate_submit(pool, gate),
            .is_awaited = somebody_waits};
        ck_assert_int_eq(
            pool_future_add_done_callback(opener.future, free_it, NULL), 0);
        opener_start(&opener, d);
        ck_assert_int_eq(wait_in_some_way(opener.future, way), 0);
        opener_join(&opener, d);
        drive_destroy(d, pool);
    }
}

static int inner_rc;

/* A callback makes a pool of its own and waits for that one, for longer than
 * a turn of a host's loop may take. */
static void
use_another_pool(pool_future_t *future, void *data)
{
    pool_future_t *f = NULL;
    pool_t *pool = NULL;

    (void)future;
    inner_rc = pool_create(&pool, NULL);
    for (int i = 0; i < 20 && inner_rc == 0; i++) {
        inner_rc = pool_submit(pool, &f, task_double, "d", 1.0);
        if (inner_rc == 0)
            inner_rc = pool_future_error(f, PATIENCE_MS);
        pool_future_free(f);
    }
    pool_destroy(pool);
    raise_word(data, 1);
}

static void
another_pool_in_a_callback(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 1);
    pool_future_t *f = submit(pool, task_nothing);
    int called = 0;

    ck_assert_int_eq(
        pool_future_add_done_callback(f, use_another_pool, &called), 0);
    drive_until_word(d, &called, 1);
    ck_assert_int_eq(inner_rc, 0);
    ck_assert_int_eq(drive_end(d, f), 0);
    drive_works(d, pool);
    drive_destroy(d, pool);
}

/* ---- a host's loop ----------------------------------------------------------
 */

static void
count_open(uv_handle_t *handle, void *data)
{
    *(int *)data += !uv_is_closing(handle);
}

static int open_before, open_after;

static void
count_after(void *data)
{
    open_after = 0;
    uv_walk(drive_loop(), count_open, &open_after);
    *(bool *)data = true;
}

/* When on_closed is called nothing of the pool is in the loop any more. */
static void
nothing_is_left_in_on_closed(const struct drive *d)
{
    bool closed = false;

    open_before = 0;
    uv_walk(drive_loop(), count_open, &open_before);
    pool_t *pool = drive_pool(d, 2);
    drive_works(d, pool);
    drive_forget(pool);
    ck_assert_int_eq(pool_close(pool, count_after, &closed), 0);
    while (!closed)
        uv_run(drive_loop(), UV_RUN_ONCE);
    ck_assert_int_eq(open_after, open_before);
}

static int
task_log_for_ever(pool_call_t *call)
{
    while (!pool_call_cancelled(call))
        (void)pool_call_log(call, "one of very many lines");
    return 0;
}

static void
count_line(const pool_log_t *line, void *data)
{
    (void)line;
    raise_word(data, 1);
}

/* A flood of lines keeps nobody from being served. */
static void
a_flood_of_lines(const struct drive *d)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    int lines = 0;

    options.workers = options.min_workers = 2;
    options.log = count_line;
    options.log_data = &lines;
    pool_t *pool = drive_open(d, &options);
    pool_future_t *f = submit(pool, task_log_for_ever);
    drive_until_word(d, &lines, 1000);
    drive_works(d, pool);
    drive_until_word(d, &lines, 20000);
    ck_assert_int_eq(pool_future_cancel_request(f), 0);
    ck_assert_int_eq(drive_end(d, f), 0);
    drive_destroy(d, pool);
}

static const struct drive_case cases[] = {
    {"a_deadline_behind_a_cancelled_task", a_deadline_behind_a_cancelled_task,
        IN_ALL},
    {"strict_and_a_cancelled_run", strict_and_a_cancelled_run, IN_ALL},
    {"after_a_long_quiet", after_a_long_quiet, IN_ALL},
    {"a_cancel_makes_room", a_cancel_makes_room, IN_ALL},
    {"destroyed_before_there_was_room", destroyed_before_there_was_room,
        IN_THREAD},
    {"freed_while_waited_for", freed_while_waited_for, IN_CALLER | IN_THREAD},
    {"freed_by_its_callback", freed_by_its_callback, IN_CALLER | IN_THREAD},
    {"another_pool_in_a_callback", another_pool_in_a_callback, IN_ALL},
    {"nothing_is_left_in_on_closed", nothing_is_left_in_on_closed, IN_HOST},
    {"a_flood_of_lines", a_flood_of_lines, IN_ALL},
    {NULL, NULL, 0},
};

int
main(int argc, char **argv)
{
    return drive_main("exec_corners", cases, argc, argv);
}
