/* Futures under every drive: what they answer in every state, and what other
 * threads see while they change. */
#define _GNU_SOURCE
#include "drives.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- the truth table ---------------------------------------------------- */

struct answers {
    bool done, running, cancelled;
    int error;  /* of result, bytes and error with timeout 0 */
    int cancel; /* what cancel returns */
};

static const struct answers pending = {false, false, false, POOL_ETIMEDOUT, 0};
static const struct answers cancelled = {true, false, true, POOL_ECANCELED, 0};
static const struct answers running = {
    false, true, false, POOL_ETIMEDOUT, POOL_EBUSY};
static const struct answers value = {true, false, false, 0, POOL_EBUSY};
static const struct answers failed = {
    true, false, false, POOL_ETASK, POOL_EBUSY};
static const struct answers died = {true, false, false, POOL_EDIED, POOL_EBUSY};
static const struct answers late = {
    true, false, false, POOL_EDEADLINE, POOL_EBUSY};

static void
expect(pool_future_t *f, const struct answers *a)
{
    bool has_failed = a->error == POOL_ETASK || a->error == POOL_EDIED ||
                      a->error == POOL_EDEADLINE;

    ck_assert_int_eq(pool_future_done(f), a->done);
    ck_assert_int_eq(pool_future_running(f), a->running);
    ck_assert_int_eq(pool_future_cancelled(f), a->cancelled);
    ck_assert_int_eq(pool_future_error(f, 0), a->error);
    ck_assert_int_eq(pool_future_result(f, 0, NULL), a->error);
    ck_assert_int_eq(pool_future_bytes(f, 0, NULL, NULL), a->error);
    ck_assert_int_eq(pool_future_failure(f) != NULL, has_failed);
    ck_assert_int_eq(pool_future_cancel(f), a->cancel);
}

static void
truth_table(const struct drive *d)
{
    pool_task_options_t options = POOL_TASK_OPTIONS_INIT;
    struct gate *gate = gate_new();
    pool_t *pool = drive_pool(d, 1);
    pool_future_t *runs = gate_submit(pool, gate), *waits[2], *f;

    drive_until_word(d, &gate->begun, 1);
    for (int i = 0; i < 2; i++)
        waits[i] = gate_submit(pool, gate);
    expect(runs, &running);
    for (int i = 0; i < 2; i++) {
        expect(waits[i], &pending); /* which cancels it */
        expect(waits[i], &cancelled);
        ck_assert_int_eq(pool_future_cancel_running(waits[i]), 0);
        ck_assert_int_eq(pool_future_cancel_request(waits[i]), 0);
        pool_future_free(waits[i]);
    }
    gate_open(gate);
    ck_assert_int_eq(drive_error(d, runs), 0);
    expect(runs, &value);
    ck_assert_int_eq(pool_future_cancel_running(runs), POOL_EBUSY);
    ck_assert_int_eq(pool_future_cancel_request(runs), POOL_EBUSY);
    pool_future_free(runs);
    f = submit(pool, task_fail);
    ck_assert_int_eq(drive_error(d, f), POOL_ETASK);
    expect(f, &failed);
    pool_future_free(f);
    f = submit(pool, task_kill_self);
    ck_assert_int_eq(drive_error(d, f), POOL_EDIED);
    expect(f, &died);
    pool_future_free(f);
    options.deadline_ms = 20;
    ck_assert_int_eq(pool_submit_opts(pool, &f, &options, task_hang, ""), 0);
    ck_assert_int_eq(drive_error(d, f), POOL_EDEADLINE);
    expect(f, &late);
    drive_destroy(d, pool);
    ck_assert_int_eq(gate->begun, 1); /* what was cancelled never ran */
    expect(f, &late);                 /* and after the pool */
    pool_future_free(f);
}

/* A wait that ended first has changed nothing. */
static void
timeouts_change_nothing(const struct drive *d)
{
    struct gate *gate = gate_new();
    pool_t *pool = drive_pool(d, 1);
    pool_future_t *f = gate_submit(pool, gate);
    size_t done = 9;
    int five = 0;

    drive_until_word(d, &gate->begun, 1);
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(pool_future_result(f, 0, "i", &five), POOL_ETIMEDOUT);
        ck_assert_int_eq(
            drive_wait(d, &f, 1, POOL_ALL_COMPLETED, 2, &done), POOL_ETIMEDOUT);
        ck_assert_uint_eq(done, 0);
        ck_assert(pool_future_running(f));
    }
    gate_open(gate);
    ck_assert_int_eq(drive_result(d, f, "i", &five), 0);
    ck_assert_int_eq(five, 5);
    pool_future_free(f);
    drive_destroy(d, pool);
}

/* The failure names what happened. */
static void
failures_tell(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 1);
    int pid = drive_pid(d, pool);
    pool_future_t *f = submit(pool, task_fail);

    ck_assert_int_eq(drive_error(d, f), POOL_ETASK);
    const pool_failure_t *failure = pool_future_failure(f);
    ck_assert_int_eq(failure->code, POOL_ETASK);
    ck_assert_int_eq(failure->task_code, 17);
    ck_assert_str_eq(failure->message, "row 3 is wet");
    ck_assert_int_eq(failure->pid, pid);
    ck_assert_int_eq(failure->attempts, 1);
    ck_assert_int_eq(failure->exit_status, -1);
    ck_assert_ptr_null(failure->stderr_tail);
    pool_future_free(f);
    f = submit(pool, task_exit_early);
    ck_assert_int_eq(drive_error(d, f), POOL_EDIED);
    failure = pool_future_failure(f);
    ck_assert_int_eq(failure->code, POOL_EDIED);
    ck_assert_int_eq(failure->exit_status, 42);
    ck_assert_int_eq(failure->signal, 0);
    ck_assert_int_eq(failure->pid, pid);
    drive_destroy(d, pool);
    ck_assert_int_eq(pool_future_failure(f)->exit_status, 42);
    pool_future_free(f);
}

/* Ids count the submissions of a pool; references keep a future. */
static void
ids_tags_and_references(const struct drive *d)
{
    pool_task_options_t options = POOL_TASK_OPTIONS_INIT;
    pool_t *pool = drive_pool(d, 2);

    for (uint64_t i = 1; i <= 20; i++) {
        pool_future_t *f;
        options.tag = 1000 + i;
        ck_assert_int_eq(
            pool_submit_opts(pool, &f, &options, task_nothing, ""), 0);
        ck_assert_uint_eq(pool_future_id(f), i);
        ck_assert_uint_eq(pool_future_tag(f), 1000 + i);
        ck_assert_ptr_eq(pool_future_ref(f), f);
        pool_future_free(f);
        ck_assert_int_eq(drive_end(d, f), 0);
    }
    ck_assert_uint_eq(pool_future_id(NULL), 0);
    drive_destroy(d, pool);
}

/* ---- waits of host drive ------------------------------------------------ */

static void
waits_would_block(const struct drive *d)
{
    struct gate *gate = gate_new();
    pool_t *pool = drive_pool(d, 1);
    pool_future_t *f = gate_submit(pool, gate), *next = NULL;
    pool_completed_t *completed;

    ck_assert_int_eq(pool_future_error(f, 1), POOL_EDEADLK);
    ck_assert_int_eq(pool_future_error(f, -1), POOL_EDEADLK);
    ck_assert_int_eq(pool_future_result(f, 1000, NULL), POOL_EDEADLK);
    ck_assert_int_eq(pool_future_bytes(f, 1000, NULL, NULL), POOL_EDEADLK);
    ck_assert_int_eq(
        pool_wait(&f, 1, POOL_ALL_COMPLETED, -1, NULL), POOL_EDEADLK);
    ck_assert_int_eq(pool_as_completed(&completed, &f, 1), 0);
    ck_assert_int_eq(
        pool_as_completed_next(completed, 10, &next), POOL_EDEADLK);
    ck_assert_ptr_null(next);
    ck_assert_int_eq(
        pool_as_completed_next(completed, 0, &next), POOL_ETIMEDOUT);
    pool_as_completed_free(completed);
    ck_assert_int_eq(pool_shutdown(pool, POOL_SHUTDOWN_WAIT), POOL_EDEADLK);
    ck_assert_int_eq(pool_poll(pool, 0), POOL_ENOTSUP);
    ck_assert_int_eq(pool_fd(pool), POOL_ENOTSUP);
    gate_open(gate);
    ck_assert_int_eq(drive_error(d, f), 0);
    ck_assert_int_eq(pool_future_error(f, -1), 0); /* nothing to wait for */
    pool_future_free(f);
    drive_destroy(d, pool);
}

static void
a_thread_drives_itself(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 1);

    ck_assert_int_eq(pool_poll(pool, 0), POOL_ENOTSUP);
    ck_assert_int_eq(pool_fd(pool), POOL_ENOTSUP);
    drive_works(d, pool);
    drive_destroy(d, pool);
}

/* ---- other threads ------------------------------------------------------ */

struct waiter {
    pool_future_t *future;
    int waits; /* its thread id when it is about to wait */
    int error, value;
};

static void *
wait_for_it(void *data)
{
    struct waiter *w = data;

    raise_word(&w->waits, (int)gettid());
    w->error = pool_future_result(w->future, PATIENCE_MS, "i", &w->value);
    return NULL;
}

/* Until a thread of this process sleeps; there is no other sign of a wait. */
static void
await_sleep(const int *tid)
{
    char path[64], line[512];

    ck_assert(test_await(tid, 1));
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", read_word(tid));
    for (int i = 0; i < PATIENCE_MS; i++) {
        FILE *file = fopen(path, "r");
        ck_assert_ptr_nonnull(file);
        char *end =
            fgets(line, sizeof line, file) != NULL ? strrchr(line, ')') : NULL;
        fclose(file);
        if (end != NULL && end[2] == 'S')
            return;
        (void)poll(NULL, 0, 1);
    }
    ck_abort_msg("the thread never waited");
}

enum { BY_VALUE, BY_CANCEL, BY_CANCEL_RUNNING, BY_DESTROY, ENDS };

/* A wait that blocks is woken by whatever settles its future. */
static void
a_blocked_wait_is_woken(const struct drive *d)
{
    for (int end = 0; end < ENDS; end++) {
        struct gate *gate = gate_new();
        pool_t *pool = drive_pool(d, 1);
        pool_future_t *runs = gate_submit(pool, gate);
        pool_future_t *second = gate_submit(pool, gate);
        struct waiter w = {end == BY_CANCEL ? second : runs, 0, 1, 0};
        pthread_t thread;

        drive_until_word(d, &gate->begun, 1);
        ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_it, &w), 0);
        await_sleep(&w.waits);
        if (end == BY_VALUE)
            gate_open(gate);
        else if (end == BY_CANCEL)
            ck_assert_int_eq(pool_future_cancel(second), 0);
        else if (end == BY_CANCEL_RUNNING)
            ck_assert_int_eq(pool_future_cancel_running(runs), 0);
        else
            drive_destroy(d, pool);
        pthread_join(thread, NULL);
        ck_assert_int_eq(w.error, end == BY_VALUE ? 0 : POOL_ECANCELED);
        ck_assert_int_eq(w.value, end == BY_VALUE ? 5 : 0);
        if (end != BY_DESTROY)
            drive_destroy(d, pool);
        pool_future_free(runs);
        pool_future_free(second);
    }
}

enum { SNAPSHOTS = 1000, FUTURES = 8 };

struct watcher {
    pool_future_t **futures;
    int *looks;
    int wrong; /* which rule was broken */
};

/* One look: what is seen later is never earlier in life. */
static int
look(pool_future_t *f)
{
    bool was_running = pool_future_running(f);
    bool was_done = pool_future_done(f);
    bool was_cancelled = pool_future_cancelled(f);
    int error = pool_future_error(f, 0);

    if (was_done && error == POOL_ETIMEDOUT)
        return 1;
    if (was_cancelled && error != POOL_ECANCELED)
        return 2;
    if (was_done && pool_future_running(f))
        return 3;
    if (was_running && error == POOL_ECANCELED)
        return 4; /* none of these is cancelled while it runs */
    if (error != POOL_ETIMEDOUT &&
        (!pool_future_done(f) || pool_future_error(f, 0) != error))
        return 5;
    return error == POOL_ECANCELED && !pool_future_cancelled(f) ? 6 : 0;
}

static void *
watch(void *data)
{
    struct watcher *w = data;

    for (int i = 0; i < SNAPSHOTS && w->wrong == 0; i++) {
        for (int k = 0; k < FUTURES && w->wrong == 0; k++)
            w->wrong = look(w->futures[k]);
        raise_word(w->looks, 1);
    }
    return NULL;
}

/* Four threads look while the futures run, end and are cancelled. */
static void
snapshots_are_consistent(const struct drive *d)
{
    enum { THREADS = 4 };
    pool_future_t *f[FUTURES];
    struct gate *gates[FUTURES];
    struct watcher w[THREADS];
    pthread_t threads[THREADS];
    pool_t *pool = drive_pool(d, 2);
    int looks = 0;

    for (int i = 0; i < FUTURES; i++) {
        gates[i] = gate_new();
        f[i] = gate_submit(pool, gates[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        w[i] = (struct watcher){f, &looks, 0};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, watch, &w[i]), 0);
    }
    for (int i = 0; i < FUTURES; i++) {
        (void)test_await(&looks, (i + 1) * 2 * THREADS);
        if (i % 2 == 0)
            (void)pool_future_cancel(f[i]);
        gate_open(gates[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_eq(w[i].wrong, 0);
    }
    ck_assert_int_eq(looks, THREADS * SNAPSHOTS);
    for (int i = 0; i < FUTURES; i++) {
        int rc = drive_end(d, f[i]);
        ck_assert(rc == 0 || rc == POOL_ECANCELED);
    }
    drive_destroy(d, pool);
}

static const struct drive_case cases[] = {
    {"truth_table", truth_table, IN_ALL},
    {"timeouts_change_nothing", timeouts_change_nothing, IN_ALL},
    {"failures_tell", failures_tell, IN_ALL},
    {"ids_tags_and_references", ids_tags_and_references, IN_ALL},
    {"waits_would_block", waits_would_block, IN_HOST},
    {"a_thread_drives_itself", a_thread_drives_itself, IN_THREAD},
    {"a_blocked_wait_is_woken", a_blocked_wait_is_woken, IN_THREAD},
    {"snapshots_are_consistent", snapshots_are_consistent, IN_THREAD},
    {NULL, NULL, 0},
};

int
main(int argc, char **argv)
{
    return drive_main("exec_future", cases, argc, argv);
}
