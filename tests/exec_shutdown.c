/* The end of a pool under every drive: shut down, terminated, killed, closed,
 * and what other threads do meanwhile. */
#define _GNU_SOURCE
#include "drives.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void
refuses(pool_t *pool)
{
    pool_future_t *f = NULL;

    ck_assert_int_eq(pool_submit(pool, &f, task_nothing, ""), POOL_ESHUTDOWN);
    ck_assert_ptr_null(f);
}

/* ---- shutdown ----------------------------------------------------------- */

static void
one_task_more_than_workers(const struct drive *d)
{
    for (int workers = 1; workers <= 3; workers++) {
        pool_t *pool = drive_pool(d, workers);
        pool_future_t *f[4];
        for (int i = 0; i <= workers; i++)
            ck_assert_int_eq(
                pool_submit(pool, &f[i], task_double, "d", (double)i), 0);
        drive_shutdown(d, pool, 0);
        for (int i = 0; i <= workers; i++) {
            double y = -1;
            ck_assert_int_eq(pool_future_result(f[i], 0, "d", &y), 0);
            ck_assert_double_eq(y, 2.0 * i);
            pool_future_free(f[i]);
        }
        ck_assert_uint_eq(test_stats(pool).workers, 0);
        refuses(pool);
        drive_destroy(d, pool);
    }
}

static void
it_is_idempotent(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 2);
    struct gate *gate = gate_new();
    pool_future_t *f = gate_submit(pool, gate);

    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pool_shutdown(pool, 0), 0);
    refuses(pool);
    gate_open(gate);
    ck_assert_int_eq(drive_end(d, f), 0);
    for (int i = 0; i < 3; i++)
        drive_shutdown(d, pool, POOL_SHUTDOWN_CANCEL_FUTURES);
    ck_assert_int_eq(pool_shutdown(pool, 8), POOL_EINVAL);
    ck_assert_int_eq(pool_terminate_workers(pool), 0);
    ck_assert_int_eq(pool_kill_workers(pool), 0);
    refuses(pool);
    drive_destroy(d, pool);
}

/* "i": sleeps so many ms. */
static int
task_short(pool_call_t *call)
{
    int32_t ms;
    int rc = pool_call_args(call, "i", &ms);

    if (rc < 0)
        return rc;
    (void)poll(NULL, 0, ms);
    return 0;
}

static void
fifty_short_ones_cancelled(const struct drive *d)
{
    enum { N = 50 };
    pool_t *pool = drive_pool(d, 2);
    pool_future_t *f[N];
    int cancelled = 0;

    for (int i = 0; i < N; i++)
        ck_assert_int_eq(pool_submit(pool, &f[i], task_short, "i", 100), 0);
    drive_shutdown(d, pool, POOL_SHUTDOWN_CANCEL_FUTURES);
    for (int i = 0; i < N; i++) {
        int rc = pool_future_error(f[i], 0);
        ck_assert(rc == 0 || rc == POOL_ECANCELED);
        cancelled += rc != 0;
        pool_future_free(f[i]);
    }
    ck_assert_int_gt(cancelled, 20);
    ck_assert_uint_eq(test_stats(pool).pending, 0);
    drive_destroy(d, pool);
}

static void
submit_cancel_shutdown(const struct drive *d)
{
    for (int i = 0; i < 20; i++) {
        pool_t *pool = drive_pool(d, 1);
        pool_future_t *f = submit(pool, task_nothing);
        int cancelled = pool_future_cancel(f) == 0;
        drive_shutdown(d, pool, 0);
        int rc = pool_future_error(f, 0);
        ck_assert_int_eq(rc, cancelled ? POOL_ECANCELED : 0);
        pool_future_free(f);
        drive_destroy(d, pool);
    }
}

/* Without WAIT it returns at once; the work still finishes, and a failure is
 * still told; then the workers go. */
static bool
no_worker_is_left(void *data)
{
    return test_stats(data).workers == 0;
}

static void
failing_task_without_wait(const struct drive *d)
{
    for (int workers = 2; workers <= 4; workers += 2) {
        pool_t *pool = drive_pool(d, workers);
        struct gate *gate = gate_new();
        pool_future_t *held = gate_submit(pool, gate);
        pool_future_t *fails = submit(pool, task_fail);
        pool_future_t *dies = submit(pool, task_kill_self);
        pool_future_t *last = submit(pool, task_nothing);
        ck_assert_int_eq(pool_shutdown(pool, 0), 0);
        ck_assert_int_eq(pool_future_error(held, 0), POOL_ETIMEDOUT);
        ck_assert_int_eq(drive_end(d, fails), POOL_ETASK);
        ck_assert_int_eq(drive_end(d, dies), POOL_EDIED);
        gate_open(gate);
        ck_assert_int_eq(drive_end(d, held), 0);
        ck_assert_int_eq(drive_end(d, last), 0);
        drive_until(d, no_worker_is_left, pool);
        drive_destroy(d, pool);
    }
}

static void
a_shutdown_pool_answers(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 1);
    pool_future_t *f = submit(pool, task_fail);

    drive_shutdown(d, pool, 0);
    ck_assert_int_eq(pool_future_error(f, 0), POOL_ETASK);
    ck_assert_str_eq(pool_future_failure(f)->message, "row 3 is wet");
    ck_assert_int_eq(pool_worker_count(pool), 1);
    ck_assert_uint_eq(test_stats(pool).failed_task, 1);
    drive_destroy(d, pool);
    ck_assert_str_eq(pool_future_failure(f)->message, "row 3 is wet");
    pool_future_free(f);
}

/* ---- terminate and kill ------------------------------------------------- */

static void
ending(const struct drive *d, int (*end)(pool_t *pool), int signal)
{
    enum { N = 6 };
    pool_t *pool = drive_pool(d, 2);
    struct gate *gate = gate_new();
    pool_future_t *f[N];
    int died = 0, cancelled = 0;

    for (int i = 0; i < N; i++)
        f[i] = gate_submit(pool, gate);
    drive_until_word(d, &gate->begun, 2);
    ck_assert_int_eq(end(pool), 0);
    refuses(pool);
    for (int i = 0; i < N; i++) {
        int rc = drive_error(d, f[i]);
        if (rc == POOL_EDIED) {
            died++;
            ck_assert_int_eq(pool_future_failure(f[i])->signal, signal);
        }
        cancelled += rc == POOL_ECANCELED;
        pool_future_free(f[i]);
    }
    ck_assert_int_eq(died, 2); /* those that ran */
    ck_assert_int_eq(cancelled, N - 2);
    ck_assert_int_eq(gate->begun, 2);
    ck_assert_int_eq(end(pool), 0); /* none lives */
    drive_shutdown(d, pool, 0);
    ck_assert_uint_eq(test_stats(pool).workers, 0);
    drive_destroy(d, pool);
}

static void
terminate_workers(const struct drive *d)
{
    ending(d, pool_terminate_workers, SIGTERM);
}

static void
kill_workers(const struct drive *d)
{
    ending(d, pool_kill_workers, SIGKILL);
}

/* SIGTERM is ignored: SIGKILL after the grace. */
static void
terminate_the_deaf(const struct drive *d)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    int *pid = test_shared(sizeof *pid);
    pool_future_t *f;

    options.workers = 1;
    options.kill_grace_ms = 50;
    pool_t *pool = drive_open(d, &options);
    ck_assert_int_eq(
        pool_submit(pool, &f, task_deaf_hang, "t", ADDRESS(pid)), 0);
    drive_until_word(d, pid, 1);
    ck_assert_int_eq(pool_terminate_workers(pool), 0);
    ck_assert_int_eq(drive_error(d, f), POOL_EDIED);
    ck_assert_int_eq(pool_future_failure(f)->signal, SIGKILL);
    pool_future_free(f);
    drive_until_gone(d, *pid);
    drive_destroy(d, pool);
}

/* Of a pool whose workers never did anything. */
static void
ending_idle_ones(const struct drive *d)
{
    static int (*const ends[])(pool_t *) = {
        pool_terminate_workers, pool_kill_workers};

    for (size_t i = 0; i < COUNT(ends); i++) {
        pool_t *pool = drive_pool(d, 3);
        ck_assert_int_eq(ends[i](pool), 0);
        refuses(pool);
        drive_shutdown(d, pool, 0);
        drive_destroy(d, pool);
    }
}

/* ---- destroy and close -------------------------------------------------- */

static void
raise_it(void *data)
{
    raise_word(data, 1);
}

static void
destroy_cancels_all(const struct drive *d)
{
    enum { N = 30 };
    pool_options_t options = POOL_OPTIONS_INIT;
    int *pid = test_shared(sizeof *pid);
    pool_future_t *f[N];

    options.workers = 2;
    options.kill_grace_ms = 50;
    pool_t *pool = drive_open(d, &options);
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(
            pool_submit(pool, &f[i], task_deaf_hang, "t", ADDRESS(pid)), 0);
    drive_until_word(d, pid, 1);
    drive_destroy(d, pool);
    test_await_gone(*pid);
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(pool_future_error(f[i], 0), POOL_ECANCELED);
        ck_assert(pool_future_cancelled(f[i]));
        pool_future_free(f[i]);
    }
}

/* pool_close says when: in host drive later, in the others before it
 * returns. */
static void
close_tells_the_end(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 2);
    struct gate *gate = gate_new();
    pool_future_t *f = gate_submit(pool, gate);
    int closed = 0;

    drive_until_word(d, &gate->begun, 1);
    drive_forget(pool);
    ck_assert_int_eq(pool_close(pool, raise_it, &closed), 0);
    if (d->bit == IN_HOST) {
        ck_assert_int_eq(closed, 0);
        ck_assert_int_eq(pool_close(pool, raise_it, &closed), POOL_EBUSY);
        drive_until_word(d, &closed, 1);
    }
    ck_assert_int_eq(read_word(&closed), 1);
    test_await_gone(gate->pid);
    ck_assert_int_eq(pool_future_error(f, 0), POOL_ECANCELED);
    pool_future_free(f);
}

/* Created and ended again and again, at once and after some work. */
static void
short_lives(const struct drive *d)
{
    for (int i = 0; i < 30; i++) {
        pool_t *pool = drive_pool(d, 1 + i % 3);
        if (i % 2 == 0)
            drive_works(d, pool);
        if (i % 3 == 0)
            (void)pool_submit(pool, NULL, task_nothing, "");
        drive_destroy(d, pool);
    }
}

/* ---- the host dies ------------------------------------------------------ */

struct house {
    int ready, pids[4];
};

/* "tii": notes its pid and stays busy. */
static int
task_stay(pool_call_t *call)
{
    uint64_t address;
    int32_t number;
    int rc = pool_call_args(call, "ti", &address, &number);

    if (rc < 0)
        return rc;
    struct house *house = (struct house *)(uintptr_t)address;
    signal(SIGTERM, SIG_IGN);
    house->pids[number] = (int)getpid();
    raise_word(&house->ready, 1);
    for (;;)
        ; /* busy */
}

/* The child plays the host; it dies where it stands. */
static void
play_host(const struct drive *d, struct house *house)
{
    drive_forked(d);
    pool_t *pool = drive_pool(d, 3); /* one stays idle */
    pool_future_t *f;

    house->pids[2] = drive_pid(d, pool);
    for (int i = 0; i < 2; i++)
        (void)pool_submit(pool, &f, task_stay, "ti", ADDRESS(house), i);
    drive_until_word(d, &house->ready, 2);
    raise(SIGKILL);
}

static void
a_killed_host_leaves_no_worker(const struct drive *d)
{
    struct house *house = test_shared(sizeof *house);
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        play_host(d, house);
        _exit(1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_gt(house->pids[i], 0);
        test_await_gone(house->pids[i]);
    }
}

/* ---- other threads ------------------------------------------------------ */

enum { THREADS = 10, EACH = 100 };

struct submitter {
    pool_t *pool;
    int number, wrong;
    int submitted, refused, cancelled;
    bool until_refused;
};

static void *
submit_many(void *data)
{
    struct submitter *s = data;

    for (int i = 0; i < EACH || s->until_refused; i++) {
        pool_future_t *f = NULL;
        double x = s->number * 1000 + i, y = 0;
        int rc = pool_submit(s->pool, &f, task_double, "d", x);
        if (rc == POOL_ESHUTDOWN) {
            s->refused++;
            break;
        }
        s->submitted += rc == 0;
        s->wrong += rc != 0;
        if (rc == 0)
            rc = pool_future_result(f, PATIENCE_MS, "d", &y);
        if (rc == POOL_ECANCELED)
            s->cancelled++;
        else
            s->wrong += rc != 0 || y != 2 * x;
        pool_future_free(f);
    }
    return NULL;
}

static void
ten_threads_submit(const struct drive *d)
{
    struct submitter s[THREADS];
    pthread_t threads[THREADS];
    pool_t *pool = drive_pool(d, 2);

    for (int i = 0; i < THREADS; i++) {
        s[i] = (struct submitter){.pool = pool, .number = i};
        ck_assert_int_eq(
            pthread_create(&threads[i], NULL, submit_many, &s[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_eq(s[i].wrong, 0);
        ck_assert_int_eq(s[i].submitted, EACH);
    }
    ck_assert_uint_eq(test_stats(pool).completed, THREADS * EACH);
    drive_destroy(d, pool);
}

/* Each submit is taken or refused, and what was taken settles. */
static void
submit_races_with_shutdown(const struct drive *d)
{
    static const unsigned flags[] = {0, POOL_SHUTDOWN_CANCEL_FUTURES,
        POOL_SHUTDOWN_WAIT, POOL_SHUTDOWN_WAIT | POOL_SHUTDOWN_CANCEL_FUTURES};

    for (size_t round = 0; round < COUNT(flags); round++) {
        struct submitter s[4];
        pthread_t threads[4];
        pool_t *pool = drive_pool(d, 2);
        for (int i = 0; i < 4; i++) {
            s[i] = (struct submitter){
                .pool = pool, .number = i, .until_refused = true};
            ck_assert_int_eq(
                pthread_create(&threads[i], NULL, submit_many, &s[i]), 0);
        }
        while (test_stats(pool).completed < 50)
            (void)poll(NULL, 0, 1);
        ck_assert_int_eq(pool_shutdown(pool, flags[round]), 0);
        for (int i = 0; i < 4; i++) {
            pthread_join(threads[i], NULL);
            ck_assert_int_eq(s[i].wrong, 0);
            ck_assert_int_eq(s[i].refused, 1);
            if ((flags[round] & POOL_SHUTDOWN_CANCEL_FUTURES) == 0)
                ck_assert_int_eq(s[i].cancelled, 0);
        }
        drive_destroy(d, pool);
    }
}

/* Fault 53: where the pool has an owner, another thread is refused. */
static void *
intrude(void *data)
{
    pool_t *pool = data;
    pool_future_t *f = NULL;
    intptr_t wrong = 0;

    wrong += pool_submit(pool, &f, task_nothing, "") != POOL_EPERM;
    wrong += pool_shutdown(pool, 0) != POOL_EPERM;
    wrong += pool_resize(pool, 3) != POOL_EPERM;
    wrong += pool_kill_workers(pool) != POOL_EPERM;
    wrong += pool_terminate_workers(pool) != POOL_EPERM;
    wrong += pool_close(pool, NULL, NULL) != POOL_EPERM;
    return (void *)wrong;
}

static void
a_foreign_thread_is_refused(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 1);
    pthread_t thread;
    void *wrong = NULL;

    ck_assert_int_eq(pthread_create(&thread, NULL, intrude, pool), 0);
    pthread_join(thread, &wrong);
    ck_assert_ptr_null(wrong);
    drive_works(d, pool);
    drive_destroy(d, pool);
}

/* Faults 47 and 48: in a foreign fork child every call refuses, destroy frees
 * the child's copies, and the parent's pool works on. */
static int
foreign_child(const struct drive *d, pool_t *pool, pool_future_t *done)
{
    pool_stats_t stats = POOL_STATS_INIT;
    pool_future_t *f = NULL;
    int wrong = 0;

    (void)d;
    wrong += pool_submit(pool, &f, task_nothing, "") != POOL_EFORKED;
    wrong += pool_shutdown(pool, 0) != POOL_EFORKED;
    wrong += pool_resize(pool, 2) != POOL_EFORKED;
    wrong += pool_stats(pool, &stats) != POOL_EFORKED;
    wrong += pool_kill_workers(pool) != POOL_EFORKED;
    wrong += pool_future_error(done, 0) != POOL_EFORKED;
    wrong += pool_future_cancel_running(done) != POOL_EFORKED;
    wrong += pool_future_add_done_callback(done, NULL, NULL) == 0;
    pool_destroy(pool);
    return wrong;
}

static void
a_foreign_child_disturbs_nothing(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 2);
    pool_future_t *done = submit(pool, task_nothing);
    int status = -1;

    ck_assert_int_eq(drive_error(d, done), 0);
    for (int i = 0; i < 5; i++) {
        pool_future_t *f[20];
        for (int k = 0; k < 20; k++)
            f[k] = submit(pool, task_nothing);
        pid_t child = fork();
        if (child == 0)
            _exit(foreign_child(d, pool, done));
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert(WIFEXITED(status));
        ck_assert_int_eq(WEXITSTATUS(status), 0);
        for (int k = 0; k < 20; k++)
            ck_assert_int_eq(drive_end(d, f[k]), 0);
    }
    pool_future_free(done);
    drive_destroy(d, pool);
}

static const struct drive_case cases[] = {
    {"one_task_more_than_workers", one_task_more_than_workers, IN_ALL},
    {"it_is_idempotent", it_is_idempotent, IN_ALL},
    {"fifty_short_ones_cancelled", fifty_short_ones_cancelled, IN_ALL},
    {"submit_cancel_shutdown", submit_cancel_shutdown, IN_ALL},
    {"failing_task_without_wait", failing_task_without_wait, IN_ALL},
    {"a_shutdown_pool_answers", a_shutdown_pool_answers, IN_ALL},
    {"terminate_workers", terminate_workers, IN_ALL},
    {"kill_workers", kill_workers, IN_ALL},
    {"terminate_the_deaf", terminate_the_deaf, IN_ALL},
    {"ending_idle_ones", ending_idle_ones, IN_ALL},
    {"destroy_cancels_all", destroy_cancels_all, IN_ALL},
    {"close_tells_the_end", close_tells_the_end, IN_ALL},
    {"short_lives", short_lives, IN_ALL},
    {"a_killed_host_leaves_no_worker", a_killed_host_leaves_no_worker, IN_ALL},
    {"ten_threads_submit", ten_threads_submit, IN_THREAD},
    {"submit_races_with_shutdown", submit_races_with_shutdown, IN_THREAD},
    {"a_foreign_thread_is_refused", a_foreign_thread_is_refused,
        IN_CALLER | IN_HOST},
    {"a_foreign_child_disturbs_nothing", a_foreign_child_disturbs_nothing,
        IN_ALL},
    {NULL, NULL, 0},
};

int
main(int argc, char **argv)
{
    return drive_main("exec_shutdown", cases, argc, argv);
}
