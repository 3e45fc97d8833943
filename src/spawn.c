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
#include <unistd.h>

#include "fdio.h"

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
