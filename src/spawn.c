/* What a forked child does before it is a worker.
 *
 * Everything here runs in a process of one thread, with signals blocked until
 * the dispositions are those of a fresh process. */
#define _GNU_SOURCE
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fdio.h"
#include "forkpool.h"

void
pool__signals_block(sigset_t *old)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, old);
}

void
pool__signals_restore(const sigset_t *old)
{
    pthread_sigmask(SIG_SETMASK, old, NULL);
}

static bool
is_listed(int signal, const int *list)
{
    while (*list != 0 && *list != signal)
        list++;
    return *list == signal;
}

void
pool__signals_reset(const int *ignored)
{
    struct sigaction action = {0};

    sigemptyset(&action.sa_mask);
    for (int signal = 1; signal <= SIGRTMAX; signal++) {
        action.sa_handler = is_listed(signal, ignored) ? SIG_IGN : SIG_DFL;
        (void)sigaction(signal, &action, NULL); /* some can't be changed */
    }
}

void
pool__stdio_forget(void)
{
    __fpurge(stdout);
    __fpurge(stderr);
}

void
pool__stdio_flush(void)
{
    if (__fpending(stdout) != 0)
        fflush(stdout);
    if (__fpending(stderr) != 0)
        fflush(stderr);
}

/* What a crash leaves in a buffer is lost. A buffer of its own, because glibc
 * goes on to fill the one that is in use. */
static void
flush_each_line(void)
{
    static char buffer[BUFSIZ];

    (void)setvbuf(stdout, buffer, _IOLBF, sizeof buffer);
}

int
pool__stdio_redirect(int fd, int policy, int output)
{
    int target = output;

    if (policy == POOL_OUTPUT_INHERIT)
        return 0;
    if (policy == POOL_OUTPUT_NULL)
        target = open("/dev/null", O_WRONLY | O_CLOEXEC);
    int rc = dup2(target, fd) >= 0 ? 0 : -errno;
    if (policy == POOL_OUTPUT_NULL)
        pool__close(&target);
    else if (fd == 1 && rc == 0)
        flush_each_line();
    return rc;
}

int
pool__lifeline_arm(int lifeline)
{
    char path[40];

    snprintf(path, sizeof path, "/proc/self/fd/%d", lifeline);
    int own = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (own < 0)
        return -errno;
    if (fcntl(own, F_SETOWN, getpid()) == 0 &&
        fcntl(own, F_SETSIG, SIGKILL) == 0 &&
        fcntl(own, F_SETFL, O_NONBLOCK | O_ASYNC) == 0) {
        char byte;
        /* Armed too late to hear of an end that has come already? */
        if (pool__read(own, &byte, 1) == -EAGAIN)
            return own;
        errno = ESRCH;
    }
    int error = errno;
    close(own);
    return -error;
}

/* The first two numbers of /proc/self/statm, in bytes. 0 or -errno. */
static int
read_statm(uint64_t *mapped, uint64_t *resident)
{
    char text[128], *end;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    ssize_t n = pool__read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return n < 0 ? (int)n : -EIO;
    text[n] = '\0';
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    *mapped = page * strtoull(text, &end, 10);
    *resident = page * strtoull(end, NULL, 10);
    return *mapped != 0 ? 0 : -EIO;
}

int
pool__memory_limit(uint64_t more)
{
    struct rlimit limit;
    uint64_t mapped, resident;
    int rc = read_statm(&mapped, &resident);

    if (rc < 0)
        return rc;
    if (getrlimit(RLIMIT_AS, &limit) < 0)
        return -errno;
    rlim_t most = RLIM_INFINITY - mapped > more ? mapped + more : RLIM_INFINITY;
    if (most < limit.rlim_max)
        limit.rlim_max = most;
    if (most < limit.rlim_cur)
        limit.rlim_cur = most;
    return setrlimit(RLIMIT_AS, &limit) == 0 ? 0 : -errno;
}

uint64_t
pool__memory_resident(void)
{
    uint64_t mapped, resident;

    return read_statm(&mapped, &resident) == 0 ? resident : 0;
}

static void
leave_by_exit(int status, void *unused)
{
    (void)unused;
    pool__stdio_flush();
    _exit(status);
}

static void
leave_by_quick_exit(void)
{
    leave_by_exit(EXIT_FAILURE, NULL); /* its status can't be known here */
}

void
pool__exit_hook_install(void)
{
    on_exit(leave_by_exit, NULL);
    at_quick_exit(leave_by_quick_exit);
}

int
pool__stdin_null(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null < 0)
        return -errno;
    int rc = dup2(null, 0) < 0 ? -errno : 0;
    for (int fd = 1; fd <= 2 && rc == 0; fd++)
        if (fcntl(fd, F_GETFD) < 0 && dup2(null, fd) < 0)
            rc = -errno;
    if (null > 2)
        close(null);
    return rc;
}
