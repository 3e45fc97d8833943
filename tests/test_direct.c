/* Workers that the host forks itself (POOL_START_FORK): they see its memory as
 * it is, they are its children, and what goes for others goes for them. */
#define _GNU_SOURCE
#include "direct_check.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fdio.h"

/* ---- memory ------------------------------------------------------------- */

static int stage;

static int
task_stage(pool_call_t *call)
{
    return pool_call_return(call, "i", stage);
}

static int
task_parent(pool_call_t *call)
{
    return pool_call_return(call, "i", (int)getppid());
}

static void
memory_of_each_start(int unused)
{
    (void)unused;
    test_begin();
    stage = 1;
    pool_t *pool = direct(1);
    ck_assert_int_eq(ask(pool, task_parent), (int)getpid());
    stage = 2;
    ck_assert_int_eq(ask(pool, task_stage), 1); /* it is there already */
    for (stage = 3; stage < 6; stage++) {
        crash(pool, task_kill_self);
        ck_assert_int_eq(ask(pool, task_stage), stage);
    }
    ck_assert_int_eq(pool_resize(pool, 2), 0);
    pool_stats_t stats = POOL_STATS_INIT;
    ck_assert_int_eq(pool_stats(pool, &stats), 0);
    ck_assert_uint_eq(stats.forkservers, 0);
    pool_destroy(pool);
    test_end();
}

static int
init_stage(pool_call_t *call)
{
    int32_t by;
    int rc = pool_call_args(call, "i", &by);

    stage += by;
    return rc;
}

static void
an_initializer_and_demand(int unused)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    unsigned char arguments[16];
    size_t size = 0;
    pool_t *pool = NULL;
    pool_future_t *f[8];

    (void)unused;
    test_begin();
    stage = 10;
    pool_encode(arguments, sizeof arguments, &size, "i", 5);
    options.start = POOL_START_FORK;
    options.workers = 4;
    options.initializer = init_stage;
    options.initializer_arguments = arguments;
    options.initializer_arguments_size = size;
    ck_assert_int_eq(pool_create(&pool, &options), 0);
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(pool_submit(pool, &f[i], task_stage, ""), 0);
    for (int i = 0; i < 8; i++) {
        int seen = 0;
        ck_assert_int_eq(pool_future_result(f[i], PATIENCE_MS, "i", &seen), 0);
        ck_assert_int_eq(seen, 15);
        pool_future_free(f[i]);
    }
    pool_destroy(pool);
    test_end();
}

/* ---- death -------------------------------------------------------------- */

static int
task_exit_7(pool_call_t *call)
{
    (void)call;
    exit(7);
}

static int
task_segv(pool_call_t *call)
{
    struct rlimit none = {0, 0};

    (void)call;
    setrlimit(RLIMIT_CORE, &none);
    raise(SIGSEGV);
    return 0;
}

static void
host_atexit(void)
{
    _exit(111);
}

static void
a_crash_is_told(int unused)
{
    (void)unused;
    test_begin();
    atexit(host_atexit);
    pool_t *pool = direct(2);
    for (int i = 0; i < 3; i++) {
        pool_failure_t how = crash(pool, task_kill_self);
        ck_assert_int_eq(how.signal, SIGKILL);
        ck_assert_int_eq(how.exit_status, -1);
        ck_assert_int_eq(test_state(how.pid), 0); /* reaped */
        how = crash(pool, task_segv);
        ck_assert_int_eq(how.signal, SIGSEGV);
        ck_assert(!how.core_dumped);
        how = crash(pool, task_exit_7);
        ck_assert_int_eq(how.exit_status, 7);
        ck_assert_int_eq(how.signal, 0);
        works(pool);
    }
    pool_destroy(pool);
    test_end();
    _exit(0); /* not through host_atexit */
}

static void
killed_idle_is_replaced(int unused)
{
    (void)unused;
    test_begin();
    pool_t *pool = direct(1);
    for (int i = 0; i < 5; i++) {
        int pid = ask(pool, task_pid);
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        test_await_gone(pid);
        ck_assert_int_ne(ask(pool, task_pid), pid);
    }
    pool_destroy(pool);
    test_end();
}

/* "t": a child in the worker's group, whose pid goes there. */
static int
task_with_child(pool_call_t *call)
{
    uint64_t address;
    int rc = pool_call_args(call, "t", &address);

    if (rc < 0)
        return rc;
    signal(SIGTERM, SIG_IGN);
    int child = (int)fork();
    if (child != 0)
        __atomic_store_n((int *)(uintptr_t)address, child, __ATOMIC_RELEASE);
    for (;;)
        pause();
}

static void
a_deadline_ends_the_group(int unused)
{
    pool_task_options_t task = POOL_TASK_OPTIONS_INIT;
    pool_options_t options = POOL_OPTIONS_INIT;
    int *child = test_shared(sizeof *child);
    pool_future_t *f;

    (void)unused;
    test_begin();
    child = test_shared(sizeof *child);
    options.kill_grace_ms = 50;
    pool_t *pool = direct_opts(&options, 1);
    task.deadline_ms = 300;
    ck_assert_int_eq(
        pool_submit_opts(pool, &f, &task, task_with_child, "t", ADDRESS(child)),
        0);
    ck_assert(test_await(child, 1));
    ck_assert_int_eq(pool_future_error(f, PATIENCE_MS), POOL_EDEADLINE);
    works(pool);
    while (test_state(*child) != 0 && test_state(*child) != 'Z')
        ck_assert_int_eq(pool_poll(pool, 5), 0);
    pool_future_free(f);
    pool_destroy(pool);
    test_end();
}

/* The leader dies of itself: what it leaves in its group goes with it. */
static int
task_orphan(pool_call_t *call)
{
    uint64_t address;
    int rc = pool_call_args(call, "t", &address);
    int child = rc == 0 ? (int)fork() : -1;

    if (child == 0)
        for (;;)
            pause();
    __atomic_store_n((int *)(uintptr_t)address, child, __ATOMIC_RELEASE);
    raise(SIGKILL);
    return 0;
}

static void
an_orphan_in_the_group_ends(int unused)
{
    pool_future_t *f;

    (void)unused;
    test_begin();
    int *child = test_shared(sizeof *child);
    pool_t *pool = direct(1);
    ck_assert_int_eq(
        pool_submit(pool, &f, task_orphan, "t", ADDRESS(child)), 0);
    ck_assert_int_eq(pool_future_error(f, PATIENCE_MS), POOL_EDIED);
    ck_assert_int_gt(*child, 0);
    test_await_gone(*child);
    pool_future_free(f);
    pool_destroy(pool);
    test_end();
}

/* ---- a host with children of its own ------------------------------------- */

static void
own_children_are_the_hosts(int unused)
{
    int status = 0;

    (void)unused;
    test_begin();
    pool_t *pool = direct(2);
    for (int i = 0; i < 3; i++) {
        pid_t own = fork();
        if (own == 0)
            _exit(3);
        test_await_gone(own); /* a zombie when the pool looks about */
        ck_assert_int_eq(crash(pool, task_kill_self).signal, SIGKILL);
        ck_assert_int_eq(waitpid(own, &status, 0), own);
        ck_assert_int_eq(WEXITSTATUS(status), 3);
    }
    works(pool);
    pool_destroy(pool);
    test_end();
}

/* It takes the status away: that is unknown then, and nothing else. */
static void
a_stolen_status(int unused)
{
    pool_future_t *f;

    (void)unused;
    test_begin();
    int *begun = test_shared(sizeof *begun);
    pool_t *pool = direct(1);
    for (int i = 0; i < 3; i++) {
        *begun = 0;
        int pid = ask(pool, task_pid), status = 0;
        ck_assert_int_eq(
            pool_submit(pool, &f, task_with_child, "t", ADDRESS(begun)), 0);
        ck_assert_int_eq(pool_poll(pool, 0), 0);
        ck_assert(test_await(begun, 1));
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        ck_assert_int_eq(waitpid(-1, &status, 0), pid);
        ck_assert_int_eq(pool_future_error(f, PATIENCE_MS), POOL_EDIED);
        const pool_failure_t *failure = pool_future_failure(f);
        ck_assert_int_eq(failure->signal, 0);
        ck_assert_int_eq(failure->exit_status, -1);
        ck_assert(strstr(failure->message, "unknown") != NULL);
        pool_future_free(f);
        works(pool);
        if (kill(*begun, 0) == 0) /* older kernels don't reach it any more */
            kill(*begun, SIGKILL);
    }
    pool_destroy(pool);
    test_end();
}

static void
sigchld_ignored(int unused)
{
    (void)unused;
    test_begin();
    signal(SIGCHLD, SIG_IGN);
    pool_t *pool = direct(2);
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(crash(pool, task_kill_self).signal, 0);
        works(pool);
    }
    pool_destroy(pool);
    signal(SIGCHLD, SIG_DFL);
    test_end();
}

static volatile sig_atomic_t caught;

static void
on_signal(int signal)
{
    (void)signal;
    caught++;
}

static int
task_signals(pool_call_t *call)
{
    struct sigaction now;
    sigset_t mask;

    sigaction(SIGUSR1, NULL, &now);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    return pool_call_return(call, "i",
        now.sa_handler == SIG_DFL && !sigismember(&mask, SIGUSR2) &&
            getpgrp() == getpid());
}

static void
signals_are_untouched(int unused)
{
    struct sigaction own = {.sa_handler = on_signal}, now, before[NSIG];
    sigset_t mask, mask_now;

    (void)unused;
    test_begin();
    sigaction(SIGCHLD, &own, NULL);
    sigaction(SIGPIPE, &own, NULL);
    sigaction(SIGUSR1, &own, NULL);
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    for (int s = 1; s < NSIG; s++)
        sigaction(s, NULL, &before[s]);
    pool_t *pool = direct(2);
    ck_assert_int_eq(ask(pool, task_signals), 1);
    crash(pool, task_kill_self);
    pool_destroy(pool);
    for (int s = 1; s < NSIG; s++)
        if (sigaction(s, NULL, &now) == 0)
            ck_assert(now.sa_handler == before[s].sa_handler);
    pthread_sigmask(SIG_SETMASK, NULL, &mask_now);
    for (int s = 1; s < NSIG; s++)
        ck_assert_int_eq(sigismember(&mask, s), sigismember(&mask_now, s));
    test_end();
}

/* ---- where pools meet -----------------------------------------------------
 */

static pool_t *outer;

/* "i": a pool in a worker, started so. The outer one may be touched, but is
 * not to be had. */
static int
task_nested(pool_call_t *call)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_future_t *f = NULL;
    pool_t *pool = NULL;
    double y = 0;
    int32_t start;
    int rc = pool_call_args(call, "i", &start);

    if (rc == 0 &&
        pool_submit(outer, &f, task_double, "d", 1.0) != POOL_EFORKED)
        rc = 1;
    pool_destroy(outer);
    options.start = start;
    options.workers = 2;
    if (rc == 0)
        rc = pool_create(&pool, &options);
    for (int i = 0; i < 3 && rc == 0; i++) {
        rc = pool_submit(
            pool, &f, i < 2 ? task_kill_self : task_double, "d", 3.0);
        if (rc == 0)
            rc = pool_future_result(f, PATIENCE_MS, "d", &y);
        pool_future_free(f);
        rc = rc == POOL_EDIED && i < 2 ? 0 : rc;
    }
    pool_destroy(pool);
    if (rc != 0)
        return pool_call_fail(call, rc, "%s", pool_errmsg());
    return pool_call_return(call, "i", (int)y);
}

static void
nested(int unused)
{
    (void)unused;
    ck_assert_int_eq(pool_prepare(), 0); /* whose copies are in every worker */
    test_begin();                        /* takes it */
    ck_assert_int_eq(pool_prepare(), 0);
    outer = direct(1);
    crash(outer, task_kill_self); /* the next one knows of it */
    for (int i = 0; i < 4; i++) {
        pool_future_t *f;
        int six = 0;
        ck_assert_int_eq(pool_submit(outer, &f, task_nested, "i", i % 2), 0);
        int rc = pool_future_result(f, PATIENCE_MS, "i", &six);
        ck_assert_msg(rc == 0, "%s", pool_errmsg());
        ck_assert_int_eq(six, 6);
        pool_future_free(f);
    }
    pool_destroy(outer);
    pool_t *prepared = test_pool(1); /* it was left alone */
    works(prepared);
    pool_destroy(prepared);
    test_end();
}

static void
a_foreign_child_disturbs_nothing(int unused)
{
    int status = -1;

    (void)unused;
    test_begin();
    pool_t *pool = direct(2);
    works(pool);
    pid_t child = fork();
    if (child == 0) {
        pool_destroy(pool);
        pool = direct(1); /* and one of its own */
        works(pool);
        pool_destroy(pool);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    works(pool);
    ck_assert_int_eq(crash(pool, task_kill_self).signal, SIGKILL);
    works(pool);
    pool_destroy(pool);
    test_end();
}

static void
refused_where_it_can_not_be(int unused)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_t *pool = NULL;

    (void)unused;
    test_begin();
    options.start = POOL_START_FORK;
    options.drive = POOL_DRIVE_THREAD;
    ck_assert_int_eq(pool_create(&pool, &options), POOL_EINVAL);
    options.drive = POOL_DRIVE_CALLER;
    pool__old_kernel = true;
    ck_assert_int_eq(pool_create(&pool, &options), POOL_ENOTSUP);
    ck_assert(strstr(pool_errmsg(), "pidfd") != NULL);
    pool__old_kernel = false;
    ck_assert_ptr_null(pool);
    test_end();
}

/* ---- ends -----------------------------------------------------------------
 */

static int
task_deaf(pool_call_t *call)
{
    uint64_t address;
    int rc = pool_call_args(call, "t", &address);

    signal(SIGTERM, SIG_IGN);
    __atomic_store_n(
        (int *)(uintptr_t)address, (int)getpid(), __ATOMIC_RELEASE);
    for (;;)
        rc++;
    return rc;
}

static void
ends_of_all_sorts(int unused)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_future_t *f;

    (void)unused;
    test_begin();
    int *pid = test_shared(sizeof *pid);
    options.kill_grace_ms = 50;
    for (int i = 0; i < 4; i++) {
        *pid = 0;
        pool_t *pool = direct_opts(&options, 2);
        ck_assert_int_eq(
            pool_submit(pool, &f, task_deaf, "t", ADDRESS(pid)), 0);
        ck_assert_int_eq(pool_poll(pool, 0), 0);
        if (i != 0)
            ck_assert(test_await(pid, 1));
        if (i == 2)
            ck_assert_int_eq(pool_kill_workers(pool), 0);
        if (i == 3)
            ck_assert_int_eq(pool_terminate_workers(pool), 0);
        pool_destroy(pool);
        ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
        ck_assert_int_eq(errno, ECHILD);
        pool_future_free(f);
    }
    test_end();
}

static int
task_say_and_spin(pool_call_t *call)
{
    return task_deaf(call);
}

/* A host that is killed leaves no worker, not even a busy one. */
static void
a_killed_host_leaves_no_worker(int unused)
{
    int status;

    (void)unused;
    test_begin();
    int *pids = test_shared(64 * 3);
    pid_t host = fork();
    if (host == 0) {
        pool_options_t options = POOL_OPTIONS_INIT;
        pool_future_t *f;
        pool_t *pool = NULL;
        options.start = POOL_START_FORK;
        options.workers = options.min_workers = 3;
        if (pool_create(&pool, &options) != 0)
            _exit(1);
        for (int i = 0; i < 3; i++)
            (void)pool_submit(
                pool, &f, task_say_and_spin, "t", ADDRESS(&pids[16 * i]));
        (void)pool_future_error(f, -1);
        _exit(2);
    }
    for (int i = 0; i < 3; i++)
        ck_assert(test_await(&pids[16 * i], 1));
    ck_assert_int_eq(kill(host, SIGKILL), 0);
    ck_assert_int_eq(waitpid(host, &status, 0), host);
    ck_assert(WIFSIGNALED(status));
    for (int i = 0; i < 3; i++)
        test_await_gone(pids[16 * i]);
    test_end();
}

static const struct test tests[] = {
    {"memory_of_each_start", memory_of_each_start},
    {"an_initializer_and_demand", an_initializer_and_demand},
    {"a_crash_is_told", a_crash_is_told},
    {"killed_idle_is_replaced", killed_idle_is_replaced},
    {"a_deadline_ends_the_group", a_deadline_ends_the_group},
    {"an_orphan_in_the_group_ends", an_orphan_in_the_group_ends},
    {"own_children_are_the_hosts", own_children_are_the_hosts},
    {"a_stolen_status", a_stolen_status},
    {"sigchld_ignored", sigchld_ignored},
    {"signals_are_untouched", signals_are_untouched},
    {"nested", nested},
    {"a_foreign_child_disturbs_nothing", a_foreign_child_disturbs_nothing},
    {"refused_where_it_can_not_be", refused_where_it_can_not_be},
    {"ends_of_all_sorts", ends_of_all_sorts},
    {"a_killed_host_leaves_no_worker", a_killed_host_leaves_no_worker},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return test_main("direct", tests, argc, argv);
}
