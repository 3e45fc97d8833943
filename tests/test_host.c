/* The host is left as it was: its signals, children, descriptors, buffers;
 * and what a foreign fork child or another thread may not do. */
#define _GNU_SOURCE
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fdio.h"

#define MESSAGE_SIZE 512
#define ROUNDS 5 /* of threads that have pools of their own */

static double
run_double(pool_t *pool, double x)
{
    pool_future_t *future;
    double y = -1;

    ck_assert_int_eq(pool_submit(pool, &future, task_double, "d", x), 0);
    int rc = pool_future_result(future, PATIENCE_MS, "d", &y);
    ck_assert_msg(rc == 0, "%s", pool_errmsg());
    pool_future_free(future);
    return y;
}

/* ---- signals and children --------------------------------------------- */

static volatile sig_atomic_t caught;

static void
on_signal(int signal)
{
    (void)signal;
    caught++;
}

static void
signals_are_untouched(int unused)
{
    struct sigaction own = {.sa_handler = on_signal}, now;
    struct sigaction before[NSIG];
    sigset_t mask, mask_now;
    pool_t *pool;

    (void)unused;
    test_begin();
    sigaction(SIGCHLD, &own, NULL);
    sigaction(SIGPIPE, &own, NULL);
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    for (int s = 1; s < NSIG; s++)
        sigaction(s, NULL, &before[s]);
    pool = test_pool(2);
    run_double(pool, 1);
    pool_destroy(pool);
    for (int s = 1; s < NSIG; s++) {
        if (sigaction(s, NULL, &now) < 0)
            continue; /* libc's own */
        ck_assert_msg(now.sa_handler == before[s].sa_handler, "signal %d", s);
    }
    pthread_sigmask(SIG_SETMASK, NULL, &mask_now);
    for (int s = 1; s < NSIG; s++)
        ck_assert_int_eq(sigismember(&mask, s), sigismember(&mask_now, s));
    test_end();
}

/* No SIGPIPE, whatever dies while it is written to. */
static void
sigpipe_never_arises(int unused)
{
    struct sigaction own = {.sa_handler = on_signal};
    unsigned char *bytes = calloc(1, 4 << 20);
    pool_t *pool;

    (void)unused;
    test_begin();
    caught = 0;
    sigaction(SIGPIPE, &own, NULL);
    pool = test_pool(1);
    for (int i = 0; i < 10; i++) {
        pool_future_t *crash, *large;
        ck_assert_int_eq(pool_submit(pool, &crash, task_kill_self, ""), 0);
        ck_assert_int_eq(pool_submit_bytes(pool, &large, NULL, task_echo, bytes,
                             (size_t)4 << 20),
            0);
        ck_assert_int_eq(pool_future_error(crash, PATIENCE_MS), POOL_EDIED);
        ck_assert_int_eq(pool_future_error(large, PATIENCE_MS), 0);
        pool_future_free(crash);
        pool_future_free(large);
    }
    pool_destroy(pool);
    free(bytes);
    ck_assert_int_eq(caught, 0);
    test_end();
}

/* A host that waits for its children finds none of ours. */
static void
no_child_of_the_host(int unused)
{
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(2);
    ck_assert_int_eq(wait(NULL), -1);
    ck_assert_int_eq(errno, ECHILD);
    pid_t own = fork();
    if (own == 0)
        _exit(3);
    int status = 0;
    ck_assert_int_eq(wait(&status), own);
    ck_assert_int_eq(WEXITSTATUS(status), 3);
    ck_assert_double_eq(run_double(pool, 2), 4);
    pool_destroy(pool);
    test_end();
}

static void
host_ignores_sigchld(int unused)
{
    pool_future_t *future;
    pool_t *pool;

    (void)unused;
    test_begin();
    signal(SIGCHLD, SIG_IGN);
    pool = test_pool(1);
    ck_assert_int_eq(pool_submit(pool, &future, task_kill_self, ""), 0);
    ck_assert_int_eq(pool_future_error(future, PATIENCE_MS), POOL_EDIED);
    ck_assert_int_eq(pool_future_failure(future)->signal, SIGKILL);
    pool_future_free(future);
    ck_assert_double_eq(run_double(pool, 2), 4);
    pool_destroy(pool);
    signal(SIGCHLD, SIG_DFL);
    test_end();
}

/* ---- descriptors ------------------------------------------------------ */

/* Runs first in its process: libuv has nothing open yet. */
static void
descriptors_of_a_worker(int unused)
{
    pool_future_t *future;
    int standard, pipes, memory, others;
    pool_t *pool;

    (void)unused;
    int own = open("/dev/null", O_RDONLY); /* without close-on-exec */
    pool = test_pool(2);
    for (int i = 0; i < 2; i++) { /* and again in one that was replaced */
        ck_assert_int_eq(pool_submit(pool, &future, task_descriptors, ""), 0);
        ck_assert_int_eq(pool_future_result(future, PATIENCE_MS, "iiii",
                             &standard, &pipes, &memory, &others),
            0);
        pool_future_free(future);
        ck_assert_int_eq(standard, 3);
        ck_assert_int_eq(pipes, 3); /* tasks, results, lifeline */
        ck_assert_int_eq(memory, 1);
        ck_assert_int_eq(others, 0);
        ck_assert_int_eq(pool_submit(pool, &future, task_kill_self, ""), 0);
        ck_assert_int_eq(pool_future_error(future, PATIENCE_MS), POOL_EDIED);
        pool_future_free(future);
    }
    pool_destroy(pool);
    close(own);
}

static void
standard_streams_closed(int unused)
{
    pool_t *pool;

    (void)unused;
    test_begin();
    int kept[3];
    for (int fd = 0; fd <= 2; fd++) {
        kept[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 100);
        close(fd);
    }
    pool = test_pool(2);
    double y = run_double(pool, 5);
    int standard_open = fcntl(0, F_GETFD) >= 0 || fcntl(1, F_GETFD) >= 0 ||
                        fcntl(2, F_GETFD) >= 0;
    pool_destroy(pool);
    for (int fd = 0; fd <= 2; fd++) {
        if (kept[fd] < 0)
            continue;
        dup2(kept[fd], fd);
        close(kept[fd]);
    }
    ck_assert_double_eq(y, 10);
    ck_assert_int_eq(standard_open, 0);
    test_end();
}

/* At most 5 descriptors a worker. */
static void
descriptors_of_the_host(int unused)
{
    struct rlimit limit;
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(50);
    ck_assert_int_le(test_entries("/proc/self/fd"), 5 * 50 + 30);
    pool_destroy(pool);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = 200;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    pool_options_t options = POOL_OPTIONS_INIT;
    options.workers = 100;
    ck_assert_int_eq(pool_create(&pool, &options), POOL_EMFILE);
    ck_assert(strstr(pool_errmsg(), "RLIMIT_NOFILE is 200") != NULL);
    ck_assert(strstr(pool_errmsg(), "516 descriptors") != NULL);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_uint_eq(limit.rlim_cur, 200);
    limit.rlim_cur = before;
    setrlimit(RLIMIT_NOFILE, &limit);
    test_end();
}

/* ---- output ----------------------------------------------------------- */

static int
task_print(pool_call_t *call)
{
    printf("task\n");
    return pool_call_return(call, "i", 1);
}

/* What the host had buffered is written once, what a task prints too. */
static void
buffers_are_written_once(int unused)
{
    char text[400] = {0};
    int ends[2], found = 0;

    (void)unused;
    test_begin();
    ck_assert_int_eq(pipe(ends), 0);
    fflush(NULL);
    int saved = dup(1);
    dup2(ends[1], 1);
    setvbuf(stdout, NULL, _IOFBF, 65536);
    printf("host\n");
    pool_t *pool = test_pool(2);
    for (int i = 0; i < 5; i++) {
        pool_future_t *future;
        pool_submit(pool, &future, task_print, "");
        pool_future_error(future, PATIENCE_MS);
        pool_future_free(future);
    }
    pool_destroy(pool);
    fflush(stdout);
    dup2(saved, 1);
    close(saved);
    close(ends[1]);
    ck_assert_int_gt((int)read(ends[0], text, sizeof text - 1), 0);
    close(ends[0]);
    for (const char *at = text; (at = strstr(at, "host\n")) != NULL; at++)
        found += 100;
    for (const char *at = text; (at = strstr(at, "task\n")) != NULL; at++)
        found++;
    ck_assert_msg(found == 105, "%s", text);
    test_end();
}

/* ---- other processes and threads --------------------------------------- */

/* The child of a fork: every call refuses, destroy frees its own copies. */
static int
foreign_child(pool_t *pool, pool_future_t *done, pool_future_t *open_future)
{
    pool_future_t *more = NULL;
    double y;
    int bad = 0;

    bad |= pool_submit(pool, &more, task_double, "d", 1.0) != POOL_EFORKED;
    bad |= more != NULL;
    bad |= pool_poll(pool, 0) != POOL_EFORKED;
    bad |= pool_shutdown(pool, 0) != POOL_EFORKED;
    bad |= pool_future_result(done, 0, "d", &y) != POOL_EFORKED;
    bad |= pool_future_cancel(open_future) != POOL_EFORKED;
    bad |= pool_wait(&done, 1, 0, 0, NULL) != POOL_EFORKED;
    pool_destroy(pool);
    pool_options_t options = POOL_OPTIONS_INIT; /* and one of its own */
    options.workers = 1;
    bad |= pool_create(&pool, &options) != 0;
    bad |= pool_submit(pool, &more, task_double, "d", 2.0) != 0;
    bad |= pool_future_result(more, PATIENCE_MS, "d", &y) != 0 || y != 4.0;
    pool_future_free(more);
    pool_destroy(pool);
    return bad;
}

static void
a_foreign_child_disturbs_nothing(int unused)
{
    pool_future_t *done, *hanging;
    pool_t *pool;
    int status = -1;

    (void)unused;
    test_begin();
    pool = test_pool(2);
    ck_assert_int_eq(pool_submit(pool, &done, task_double, "d", 1.0), 0);
    ck_assert_int_eq(pool_future_error(done, PATIENCE_MS), 0);
    ck_assert_int_eq(pool_submit(pool, &hanging, task_hang, ""), 0);
    pid_t child = fork();
    if (child == 0)
        _exit(foreign_child(pool, done, hanging));
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    for (int i = 0; i < 20; i++)
        ck_assert_double_eq(run_double(pool, i), 2.0 * i);
    ck_assert_int_eq(pool_future_error(hanging, 0), POOL_ETIMEDOUT);
    for (int i = 0; i < 50; i++) { /* sent ahead, and a child lets go of it */
        pool_future_t *f[20];
        for (int k = 0; k < 20; k++)
            ck_assert_int_eq(
                pool_submit(pool, &f[k], task_double, "d", 1.0), 0);
        if (i % 10 == 0) {
            child = fork();
            if (child == 0) {
                pool_destroy(pool);
                _exit(0);
            }
            ck_assert_int_eq(waitpid(child, &status, 0), child);
        }
        for (int k = 0; k < 20; k++) {
            ck_assert_int_eq(pool_future_error(f[k], PATIENCE_MS), 0);
            pool_future_free(f[k]);
        }
    }
    pool_destroy(pool);
    pool_future_free(done);
    pool_future_free(hanging);
    test_end();
}

static void *
in_a_thread(void *data)
{
    pool_t *pool = data;
    pool_future_t *future = NULL;
    intptr_t bad = 0;

    bad |= pool_submit(pool, &future, task_double, "d", 1.0) != POOL_EPERM;
    bad |= pool_poll(pool, 0) != POOL_EPERM;
    bad |= pool_worker_count(pool) != 0;
    pool_destroy(pool); /* refused: the owner's pool works on */
    return (void *)bad;
}

static void
a_foreign_thread_is_refused(int unused)
{
    pthread_t thread;
    void *bad = NULL;
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(1);
    ck_assert_int_eq(pthread_create(&thread, NULL, in_a_thread, pool), 0);
    pthread_join(thread, &bad);
    ck_assert_ptr_null(bad);
    ck_assert_double_eq(run_double(pool, 3), 6);
    pool_destroy(pool);
    test_end();
}

/* Threads with a pool each don't disturb one another. What went wrong, NULL:
 * nothing; the message is the thread's. */
static void *
own_pool_in_a_thread(void *message)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_future_t *f = NULL;
    pool_t *pool = NULL;
    int rc = 0;

    options.workers = 2;
    for (int round = 0; round < ROUNDS && rc == 0; round++) {
        rc = pool_create(&pool, &options);
        for (int i = 0; i < 50 && rc == 0; i++) {
            double y = 0;
            rc = pool_submit(pool, &f, task_double, "d", (double)i);
            if (rc == 0)
                rc = pool_future_result(f, PATIENCE_MS, "d", &y);
            if (rc == 0 && y != 2.0 * i)
                rc = -ERANGE;
            pool_future_free(f);
            f = NULL;
        }
        if (rc != 0)
            snprintf(message, MESSAGE_SIZE, "%s in round %d: %s",
                pool_err_name(rc), round, pool_errmsg());
        pool_destroy(pool);
        pool = NULL;
    }
    return rc != 0 ? message : NULL;
}

static void
threads_with_pools_of_their_own(int unused)
{
    enum { N = 4 };
    pthread_t threads[N];
    static char messages[N][MESSAGE_SIZE];

    (void)unused;
    test_begin();
    /* Clang 14's allocator takes no lock around fork: a process forked by one
     * thread may find it locked by another, for ever. With it the forkservers
     * are made before there are threads. */
    for (int i = 0; TEST_ASAN && i < N * ROUNDS; i++)
        ck_assert_int_eq(pool_prepare(), 0);
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, own_pool_in_a_thread,
                             messages[i]),
            0);
    for (int i = 0; i < N; i++) {
        void *bad = NULL;
        pthread_join(threads[i], &bad);
        ck_assert_msg(bad == NULL, "%s", (const char *)bad);
    }
    test_end();
}

/* ---- the end of the host ---------------------------------------------- */

struct pids {
    int host, workers[3], forkserver, count;
};

static int
task_busy(pool_call_t *call)
{
    uint64_t address;
    struct pids *pids;

    if (pool_call_args(call, "t", &address) < 0)
        return 1;
    pids = (struct pids *)(uintptr_t)address;
    int i = __atomic_fetch_add(&pids->count, 1, __ATOMIC_ACQ_REL);
    pids->forkserver = getppid();
    pids->workers[i] = getpid();
    for (;;)
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* A host that is killed leaves no worker, busy ones included, also where the
 * forkserver went first. */
static void
a_killed_host_leaves_no_worker(int unused)
{
    (void)unused;
    for (int forkserver_first = 0; forkserver_first <= 1; forkserver_first++) {
        struct pids *pids = test_shared(sizeof *pids);
        pid_t host = fork();
        if (host == 0) {
            pool_options_t options = POOL_OPTIONS_INIT;
            pool_t *pool;
            options.workers = options.min_workers = 3;
            if (pool_create(&pool, &options) < 0)
                _exit(1);
            for (int i = 0; i < 2; i++)
                pool_submit(
                    pool, NULL, task_busy, "t", (uint64_t)(uintptr_t)pids);
            for (;;)
                pause();
        }
        ck_assert(test_await(&pids->count, 2));
        ck_assert(test_await(&pids->workers[0], 1));
        ck_assert(test_await(&pids->workers[1], 1));
        if (forkserver_first)
            kill(pids->forkserver, SIGKILL);
        kill(host, SIGKILL);
        waitpid(host, NULL, 0);
        test_await_gone(pids->workers[0]);
        test_await_gone(pids->workers[1]);
        test_await_gone(pids->forkserver);
    }
}

/* A forkserver that is killed is replaced; who runs finishes. */
static int
task_parent(pool_call_t *call)
{
    return pool_call_return(call, "i", (int)getppid());
}

static void
a_killed_forkserver_is_replaced(int unused)
{
    pool_future_t *future;
    int forkserver = 0;
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(2);
    ck_assert_int_eq(pool_submit(pool, &future, task_parent, ""), 0);
    ck_assert_int_eq(
        pool_future_result(future, PATIENCE_MS, "i", &forkserver), 0);
    pool_future_free(future);
    ck_assert_int_eq(kill(forkserver, SIGKILL), 0);
    test_await_gone(forkserver);
    ck_assert_double_eq(run_double(pool, 3), 6); /* an old worker */
    for (int i = 0; i < 4; i++) {                /* and new ones */
        ck_assert_int_eq(pool_submit(pool, &future, task_kill_self, ""), 0);
        ck_assert_int_eq(pool_future_error(future, PATIENCE_MS), POOL_EDIED);
        pool_future_free(future);
        ck_assert_double_eq(run_double(pool, i), 2.0 * i);
    }
    pool_destroy(pool);
    test_end();
}

/* Without pidfds and close_range the promises are the same; a forkserver that
 * dies takes its workers along. */
static void
an_old_kernel(int unused)
{
    pool_future_t *future;
    int forkserver = 0;
    pool_t *pool;

    (void)unused;
    pool__old_kernel = true;
    test_begin();
    pool = test_pool(2);
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(pool_submit(pool, &future, task_kill_self, ""), 0);
        ck_assert_int_eq(pool_future_error(future, PATIENCE_MS), POOL_EDIED);
        ck_assert_int_eq(pool_future_failure(future)->signal, SIGKILL);
        pool_future_free(future);
        ck_assert_double_eq(run_double(pool, i), 2.0 * i);
    }
    ck_assert_int_eq(pool_submit(pool, &future, task_parent, ""), 0);
    ck_assert_int_eq(
        pool_future_result(future, PATIENCE_MS, "i", &forkserver), 0);
    pool_future_free(future);
    ck_assert_int_eq(kill(forkserver, SIGKILL), 0);
    test_await_gone(forkserver);
    ck_assert_int_eq(pool_poll(pool, 0), 0); /* its end is noticed */
    for (int i = 0; i < 5; i++)
        ck_assert_double_eq(run_double(pool, i), 2.0 * i);
    ck_assert_int_eq(pool_submit(pool, &future, task_hang, ""), 0);
    pool_destroy(pool);
    ck_assert_int_eq(pool_future_error(future, 0), POOL_ECANCELED);
    pool_future_free(future);
    test_end();
}

static const struct test tests[] = {
    {"an_old_kernel", an_old_kernel},
    {"descriptors_of_a_worker", descriptors_of_a_worker},
    {"signals_are_untouched", signals_are_untouched},
    {"sigpipe_never_arises", sigpipe_never_arises},
    {"no_child_of_the_host", no_child_of_the_host},
    {"host_ignores_sigchld", host_ignores_sigchld},
    {"standard_streams_closed", standard_streams_closed},
    {"descriptors_of_the_host", descriptors_of_the_host},
    {"buffers_are_written_once", buffers_are_written_once},
    {"a_foreign_child_disturbs_nothing", a_foreign_child_disturbs_nothing},
    {"a_foreign_thread_is_refused", a_foreign_thread_is_refused},
    {"threads_with_pools_of_their_own", threads_with_pools_of_their_own},
    {"a_killed_host_leaves_no_worker", a_killed_host_leaves_no_worker},
    {"a_killed_forkserver_is_replaced", a_killed_forkserver_is_replaced},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return test_main("host", tests, argc, argv);
}
