/* Pools in event loops: host drive and what it owes to the loop, and caller
 * drive behind pool_fd under plain epoll and under libevent. */
#define _GNU_SOURCE
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif
#include "drives.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>
#ifdef HAVE_LIBEVENT
#include <event2/event.h>
#endif

static void
raise_it(void *data)
{
    raise_word(data, 1);
}

static void
count_done(pool_future_t *f, void *data)
{
    (void)f;
    raise_word(data, 1);
}

static pool_future_t *
submit_late(pool_t *pool, pool_fn fn, int deadline_ms)
{
    pool_task_options_t options = POOL_TASK_OPTIONS_INIT;
    pool_future_t *f = NULL;

    options.deadline_ms = deadline_ms;
    ck_assert_int_eq(pool_submit_opts(pool, &f, &options, fn, ""), 0);
    return f;
}

/* ---- epoll -------------------------------------------------------------- */

/* A program's own loop: epoll_wait without a timeout, then pool_poll(0).
 * A missed wake-up ends in Check's timeout. */
static void
epoll_until(int epoll, pool_t *pool, const int *word, int value)
{
    struct epoll_event event;

    while (read_word(word) < value) {
        int n = epoll_wait(epoll, &event, 1, -1);
        ck_assert(n == 1 || errno == EINTR);
        ck_assert_int_eq(pool_poll(pool, 0), 0);
    }
}

static int
watch_pool(pool_t *pool)
{
    struct epoll_event event = {.events = EPOLLIN};
    int epoll = epoll_create1(EPOLL_CLOEXEC), fd = pool_fd(pool);

    ck_assert_int_ge(epoll, 0);
    ck_assert_msg(fd >= 0, "%s", pool_errmsg());
    ck_assert_int_eq(pool_fd(pool), fd); /* the same each time */
    ck_assert_int_eq(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), 0);
    return epoll;
}

/* A task that hangs: its deadline makes the descriptor readable. */
static void
a_deadline_under_epoll(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 1);
    int epoll = watch_pool(pool), done = 0;
    pool_future_t *f = submit_late(pool, task_hang, 50);

    ck_assert_int_eq(pool_future_add_done_callback(f, count_done, &done), 0);
    epoll_until(epoll, pool, &done, 1);
    ck_assert_int_eq(pool_future_error(f, 0), POOL_EDEADLINE);
    pool_future_free(f);
    f = submit(pool, task_nothing); /* and the next worker's readiness */
    ck_assert_int_eq(pool_future_add_done_callback(f, count_done, &done), 0);
    epoll_until(epoll, pool, &done, 2);
    ck_assert_int_eq(pool_future_error(f, 0), 0);
    pool_future_free(f);
    close(epoll);
    drive_destroy(d, pool);
}

/* The program only submits; everything else happens in epoll. Deaths,
 * replacements, retries and back-off too. */
static void
submit_then_epoll(const struct drive *d)
{
    enum { N = 100 };
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_task_options_t task = POOL_TASK_OPTIONS_INIT;
    pool_future_t *f[N];
    int done = 0;

    options.workers = 3;
    pool_t *pool = drive_open(d, &options);
    int epoll = watch_pool(pool);
    task.retries = 1;
    for (int i = 0; i < N; i++) {
        pool_fn fn = i % 25 == 0   ? task_kill_self
                     : i % 10 == 1 ? task_fail
                                   : task_pid;
        ck_assert_int_eq(pool_submit_opts(pool, &f[i], &task, fn, ""), 0);
        ck_assert_int_eq(
            pool_future_add_done_callback(f[i], count_done, &done), 0);
    }
    epoll_until(epoll, pool, &done, N);
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(pool_future_error(f[i], 0), i % 25 == 0   ? POOL_EDIED
                                                     : i % 10 == 1 ? POOL_ETASK
                                                                   : 0);
        pool_future_free(f[i]);
    }
    close(epoll);
    drive_destroy(d, pool);
}

/* An idle pool is not readable for ever: the program could not sleep. */
static void
idle_means_quiet(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 2);
    struct pollfd fd = {pool_fd(pool), POLLIN, 0};
    int quiet = 0;

    drive_works(d, pool);
    for (int i = 0; i < 1000 && quiet < 3; i++) {
        int n = poll(&fd, 1, 20);
        quiet = n == 0 ? quiet + 1 : 0;
        ck_assert_int_eq(pool_poll(pool, 0), 0);
    }
    ck_assert_int_eq(quiet, 3);
    drive_destroy(d, pool);
}

/* ---- libevent ----------------------------------------------------------- */

#ifdef HAVE_LIBEVENT
struct in_libevent {
    struct event_base *base;
    pool_t *pool;
    int done;
};

static void
pool_is_readable(evutil_socket_t fd, short what, void *data)
{
    struct in_libevent *e = data;

    (void)fd;
    (void)what;
    ck_assert_int_eq(pool_poll(e->pool, 0), 0);
    if (e->done >= 3)
        event_base_loopbreak(e->base);
}

static void
under_libevent(const struct drive *d)
{
    struct in_libevent e = {event_base_new(), drive_pool(d, 2), 0};
    pool_future_t *f[3] = {submit(e.pool, task_pid),
        submit_late(e.pool, task_hang, 50), submit(e.pool, task_kill_self)};

    ck_assert_ptr_nonnull(e.base);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(
            pool_future_add_done_callback(f[i], count_done, &e.done), 0);
    struct event *event = event_new(
        e.base, pool_fd(e.pool), EV_READ | EV_PERSIST, pool_is_readable, &e);
    ck_assert_int_eq(event_add(event, NULL), 0);
    if (e.done < 3)
        ck_assert_int_eq(event_base_dispatch(e.base), 0);
    ck_assert_int_eq(e.done, 3);
    ck_assert_int_eq(pool_future_error(f[0], 0), 0);
    ck_assert_int_eq(pool_future_error(f[1], 0), POOL_EDEADLINE);
    ck_assert_int_eq(pool_future_error(f[2], 0), POOL_EDIED);
    for (int i = 0; i < 3; i++)
        pool_future_free(f[i]);
    event_free(event);
    event_base_free(e.base);
    drive_destroy(d, e.pool);
    libevent_global_shutdown();
}
#endif

/* ---- libuv -------------------------------------------------------------- */

/* uv_run with UV_RUN_DEFAULT returns when nothing is pending: an idle pool
 * does not keep the loop alive. */
static void
the_loop_ends_when_nothing_is_pending(const struct drive *d)
{
    enum { N = 50 };
    pool_t *pool = drive_pool(d, 2);
    pool_future_t *f[N], *late;

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++)
            f[i] = submit(pool, i == 7 ? task_kill_self : task_nothing);
        late = submit_late(pool, task_hang, 30);
        ck_assert_int_eq(uv_run(drive_loop(), UV_RUN_DEFAULT), 0);
        for (int i = 0; i < N; i++) {
            ck_assert_int_eq(
                pool_future_error(f[i], 0), i == 7 ? POOL_EDIED : 0);
            pool_future_free(f[i]);
        }
        ck_assert_int_eq(pool_future_error(late, 0), POOL_EDEADLINE);
        pool_future_free(late);
    }
    drive_destroy(d, pool);
}

/* Fault 51: the pool is closed first, then the loop. */
static void
the_loop_is_busy_before_the_close(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 1);
    int closed = 0;

    drive_works(d, pool);
    ck_assert_int_eq(uv_loop_close(drive_loop()), UV_EBUSY);
    drive_works(d, pool); /* it has not been hurt */
    drive_forget(pool);
    ck_assert_int_eq(pool_close(pool, raise_it, &closed), 0);
    ck_assert_int_eq(uv_loop_close(drive_loop()), UV_EBUSY);
    ck_assert_int_eq(pool_close(pool, raise_it, &closed), POOL_EBUSY);
    drive_until_word(d, &closed, 1);
    ck_assert_int_eq(closed, 1);
    ck_assert_int_eq(uv_loop_alive(drive_loop()), 0);
}

/* on_closed itself may find the loop free of the pool. */
static void
closed_with_work_under_way(const struct drive *d)
{
    for (int i = 0; i < 10; i++) {
        pool_t *pool = drive_pool(d, 2);
        pool_future_t *f[8];
        int closed = 0;
        for (int k = 0; k < 8; k++)
            f[k] = submit(pool, k % 2 == 0 ? task_hang : task_nothing);
        for (int k = 0; k < i; k++)
            uv_run(drive_loop(), UV_RUN_NOWAIT);
        drive_forget(pool);
        ck_assert_int_eq(pool_close(pool, raise_it, &closed), 0);
        ck_assert_int_eq(uv_run(drive_loop(), UV_RUN_DEFAULT), 0);
        ck_assert_int_eq(closed, 1);
        for (int k = 0; k < 8; k++) {
            int rc = pool_future_error(f[k], 0);
            ck_assert(rc == POOL_ECANCELED || (k % 2 == 1 && rc == 0));
            pool_future_free(f[k]);
        }
    }
}

/* pool_destroy in host drive is pool_close without a callback. */
static void
destroyed_in_the_loop(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 2);
    pool_future_t *f = submit(pool, task_hang);

    drive_forget(pool);
    pool_destroy(pool);
    ck_assert_int_eq(uv_run(drive_loop(), UV_RUN_DEFAULT), 0);
    ck_assert_int_eq(pool_future_error(f, 0), POOL_ECANCELED);
    pool_future_free(f);
    ck_assert_int_eq(uv_loop_alive(drive_loop()), 0);
}

static void
two_pools_in_one_loop(const struct drive *d)
{
    pool_t *a = drive_pool(d, 2), *b = drive_pool(d, 2);
    pool_future_t *f[40];

    for (int i = 0; i < 40; i++)
        f[i] = submit(i % 2 == 0 ? a : b, task_pid);
    ck_assert_int_eq(uv_run(drive_loop(), UV_RUN_DEFAULT), 0);
    for (int i = 0; i < 40; i++)
        ck_assert_int_eq(drive_end(d, f[i]), 0);
    drive_destroy(d, a);
    drive_works(d, b);
    drive_destroy(d, b);
}

/* The loop's own timers and the pool do not starve each other. */
static void
tick(uv_timer_t *timer)
{
    raise_word(timer->data, 1);
}

static void
beside_other_handles(const struct drive *d)
{
    enum { N = 3000 };
    static pool_future_t *f[N];
    pool_t *pool = drive_pool(d, 2);
    uv_timer_t timer;
    int ticks = 0;

    ck_assert_int_eq(uv_timer_init(drive_loop(), &timer), 0);
    timer.data = &ticks;
    uv_timer_start(&timer, tick, 1, 1);
    for (int i = 0; i < N; i++)
        f[i] = submit(pool, task_nothing);
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(drive_end(d, f[i]), 0);
    drive_until_word(d, &ticks, 3);
    uv_close((uv_handle_t *)&timer, NULL);
    drive_destroy(d, pool);
}

/* A function that takes no time, most of the time: 1 is a nap. */
static int
task_quick_or_nap_or_gate(pool_call_t *call)
{
    uint64_t gate;
    int rc = pool_call_args(call, "t", &gate);

    if (rc == 0 && gate == 1)
        rc = usleep(2000);
    else if (rc == 0 && gate != 0 && !test_await((int *)(uintptr_t)gate, 1))
        rc = 2;
    return rc;
}

static pool_future_t *
submit_quick(pool_t *pool, uint64_t gate)
{
    pool_future_t *f = NULL;

    ck_assert_int_eq(
        pool_submit(pool, &f, task_quick_or_nap_or_gate, "t", gate), 0);
    return f;
}

/* A worker is looked at each 10 ms while it holds more than the task that it
 * runs. A nap and a long task follow one that ran alone until the looks had
 * ceased: what the nap gives stands in the worker's buffer while the long task
 * runs, and is seen. */
static void
what_follows_a_lone_task_is_seen(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 1);
    int *gates = test_shared(2 * sizeof *gates), ticks = 0;
    uv_timer_t timer;

    ck_assert_int_eq(uv_timer_init(drive_loop(), &timer), 0);
    timer.data = &ticks;
    for (int round = 1; round <= 5; round++) {
        gates[0] = gates[1] = 0;
        for (int i = 0; i < 300; i++) /* learn that it is quick */
            ck_assert_int_eq(drive_end(d, submit_quick(pool, 0)), 0);
        pool_future_t *first = submit_quick(pool, ADDRESS(&gates[0]));
        uv_timer_start(&timer, tick, 25, 0);
        drive_until_word(d, &ticks, round);
        pool_future_t *nap = submit_quick(pool, 1);
        pool_future_t *last = submit_quick(pool, ADDRESS(&gates[1]));
        raise_word(&gates[0], 1);
        ck_assert_int_eq(drive_end(d, first), 0);
        ck_assert_int_eq(drive_end(d, nap), 0);
        ck_assert(!pool_future_done(last));
        raise_word(&gates[1], 1);
        ck_assert_int_eq(drive_end(d, last), 0);
    }
    uv_close((uv_handle_t *)&timer, NULL);
    drive_destroy(d, pool);
}

/* ---- children and signals of the host -------------------------------------
 */

/* `while (wait(NULL) > 0)` beside a live pool: no child of it is waited for,
 * none is stolen. */
static void
waiting_for_all_children(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 2);
    struct gate *gate = gate_new();
    pool_future_t *f = gate_submit(pool, gate);
    int children = 0, status, sum = 0;

    drive_until_word(d, &gate->begun, 1);
    for (int i = 1; i <= 3; i++)
        if (fork() == 0)
            _exit(i);
    while (wait(&status) > 0) {
        children++;
        sum += WEXITSTATUS(status);
    }
    ck_assert_int_eq(errno, ECHILD);
    ck_assert_int_eq(children, 3);
    ck_assert_int_eq(sum, 6);
    gate_open(gate);
    ck_assert_int_eq(drive_end(d, f), 0);
    ck_assert_int_eq(drive_end(d, submit(pool, task_kill_self)), POOL_EDIED);
    drive_works(d, pool);
    drive_destroy(d, pool);
}

/* Fault 46: Ctrl-C reaches the whole foreground group; workers do not care. */
static void
workers_ignore_ctrl_c(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 1);
    int pid = drive_pid(d, pool);

    ck_assert_int_eq(kill(pid, SIGINT), 0);
    ck_assert_int_eq(kill(pid, SIGTSTP), 0);
    ck_assert_int_eq(drive_pid(d, pool), pid);
    drive_destroy(d, pool);
}

/* Fault 44: the host uses uv_spawn and has its own SIGCHLD handler. */
static void
child_has_ended(uv_process_t *process, int64_t status, int signal)
{
    (void)signal;
    if (status == 3)
        raise_word(process->data, 1);
    uv_close((uv_handle_t *)process, NULL);
}

static void
beside_uv_spawn(const struct drive *d)
{
    char *arguments[] = {
        (char[]){"sh"}, (char[]){"-c"}, (char[]){"exit 3"}, NULL};
    uv_process_options_t options = {
        .exit_cb = child_has_ended, .file = "/bin/sh", .args = arguments};
    pool_t *pool = drive_pool(d, 2);
    uv_process_t processes[5];
    int ended = 0;

    for (int i = 0; i < 5; i++) {
        processes[i].data = &ended;
        ck_assert_int_eq(uv_spawn(drive_loop(), &processes[i], &options), 0);
        ck_assert_int_eq(
            drive_end(d, submit(pool, task_kill_self)), POOL_EDIED);
        drive_works(d, pool);
    }
    drive_until_word(d, &ended, 5);
    drive_destroy(d, pool);
}

/* ---- what the host and the workers keep --------------------------------- */

static void
nothing(int signal)
{
    (void)signal;
}

/* A signal that the host's thread blocks stays pending: no thread of the
 * library takes it. Dispositions and masks stay as they were. */
static void
signals_are_the_hosts(const struct drive *d)
{
    struct sigaction before[32], after;
    sigset_t mask, old, now;

    ck_assert(signal(SIGUSR1, nothing) != SIG_ERR);
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    ck_assert_int_eq(sigprocmask(SIG_BLOCK, &mask, &old), 0);
    ck_assert_int_eq(sigprocmask(SIG_BLOCK, NULL, &mask), 0);
    for (int i = 1; i < 32; i++)
        (void)sigaction(i, NULL, &before[i]);
    pool_t *pool = drive_pool(d, 2);
    ck_assert_int_eq(kill(getpid(), SIGUSR1), 0);
    drive_works(d, pool);
    ck_assert_int_eq(drive_end(d, submit(pool, task_kill_self)), POOL_EDIED);
    drive_works(d, pool);
    for (int i = 1; i < 32; i++) {
        (void)sigaction(i, NULL, &after);
        ck_assert(after.sa_handler == before[i].sa_handler);
        ck_assert_int_eq(after.sa_flags, before[i].sa_flags);
    }
    ck_assert_int_eq(sigprocmask(SIG_BLOCK, NULL, &now), 0);
    for (int i = 1; i < 32; i++)
        ck_assert_int_eq(sigismember(&now, i), sigismember(&mask, i));
    ck_assert_int_eq(sigpending(&now), 0);
    ck_assert_int_eq(sigismember(&now, SIGUSR1), 1);
    drive_destroy(d, pool);
    ck_assert_int_eq(sigprocmask(SIG_SETMASK, &old, NULL), 0);
}

/* 0-2, its two pipes, its lifeline, its region; nothing of the loop. libuv
 * keeps a pipe of its own in every child. */
static void
descriptors_of_a_worker(const struct drive *d)
{
    int standard, pipes, memory, others;
    pool_t *pool = drive_pool(d, 2);

    for (int i = 0; i < 2; i++) {
        pool_future_t *f = submit(pool, task_descriptors);
        ck_assert_int_eq(
            drive_result(d, f, "iiii", &standard, &pipes, &memory, &others), 0);
        pool_future_free(f);
        ck_assert_int_eq(standard, 3);
        ck_assert(pipes == 3 || pipes == 5);
        ck_assert_int_eq(memory, 1);
        ck_assert_int_eq(others, 0);
        ck_assert_int_eq(
            drive_end(d, submit(pool, task_kill_self)), POOL_EDIED);
    }
    drive_destroy(d, pool);
}

static const struct drive_case cases[] = {
    {"a_deadline_under_epoll", a_deadline_under_epoll, IN_CALLER},
    {"submit_then_epoll", submit_then_epoll, IN_CALLER},
    {"idle_means_quiet", idle_means_quiet, IN_CALLER},
#ifdef HAVE_LIBEVENT
    {"under_libevent", under_libevent, IN_CALLER},
#endif
    {"the_loop_ends_when_nothing_is_pending",
        the_loop_ends_when_nothing_is_pending, IN_HOST},
    {"the_loop_is_busy_before_the_close", the_loop_is_busy_before_the_close,
        IN_HOST},
    {"closed_with_work_under_way", closed_with_work_under_way, IN_HOST},
    {"destroyed_in_the_loop", destroyed_in_the_loop, IN_HOST},
    {"two_pools_in_one_loop", two_pools_in_one_loop, IN_HOST},
    {"beside_other_handles", beside_other_handles, IN_HOST},
    {"what_follows_a_lone_task_is_seen", what_follows_a_lone_task_is_seen,
        IN_HOST},
    {"beside_uv_spawn", beside_uv_spawn, IN_HOST},
    {"waiting_for_all_children", waiting_for_all_children, IN_ALL},
    {"signals_are_the_hosts", signals_are_the_hosts, IN_ALL},
    {"descriptors_of_a_worker", descriptors_of_a_worker, IN_ALL},
    {"workers_ignore_ctrl_c", workers_ignore_ctrl_c, IN_ALL},
    {NULL, NULL, 0},
};

int
main(int argc, char **argv)
{
    return drive_main("exec_loops", cases, argc, argv);
}
