/* Workers without a forkserver: forked, signalled and reaped by the host.
 *
 * Invariants: nothing of the host's is waited for but the very child that a
 * pidfd stands for. A number is signalled only while the pidfd says that its
 * child is not reaped. No disposition and no mask is changed beyond the fork.
 *
 * fork(2) runs libuv's atfork handler, which replaces a pipe of libuv's by a
 * new one under numbers of its own and will close those by number at the next
 * fork: so that pipe must stay open in a worker, and is found by what differs
 * from the host there. */
#define _GNU_SOURCE
#include "direct.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "budget.h"
#include "error.h"
#include "fdio.h"
#include "mem.h"
#include "spawn.h"

#define WAIT_PIDFD 3       /* P_PIDFD, since Linux 5.4 */
#define TO_PROCESS_GROUP 4 /* of pidfd_send_signal, since Linux 6.9 */

/* ---- what libuv's handler opens ----------------------------------------- */

struct identity {
    unsigned major, minor;
    uint64_t inode; /* 0: there is no such descriptor */
    bool pipe;
};

/* The host's descriptors from 3 to the second number that is free: a pipe that
 * is made in the child has no others. */
struct numbers {
    struct identity *list;
    int count, capacity;
};

/* Asks no server of a network file system, which might not answer. */
static struct identity
identify(int fd)
{
    struct statx s;

    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &s) < 0)
        return (struct identity){0};
    return (struct identity){
        s.stx_dev_major, s.stx_dev_minor, s.stx_ino, S_ISFIFO(s.stx_mode)};
}

static bool
is_same(const struct identity *a, const struct identity *b)
{
    return a->inode == b->inode && a->major == b->major && a->minor == b->minor;
}

static int
note_numbers(struct numbers *n)
{
    for (int fd = 3, holes = 0; holes < 2; fd++) {
        if (n->count == n->capacity) {
            int capacity = 2 * n->capacity + 64;
            struct identity *list =
                pool__realloc(n->list, (size_t)capacity * sizeof *list);
            if (list == NULL)
                return -ENOMEM;
            n->list = list;
            n->capacity = capacity;
        }
        n->list[n->count] = identify(fd);
        holes += n->list[n->count++].inode == 0;
    }
    return 0;
}

/* In the child, before it opens anything: the pipe that is new. */
static void
find_new_pipe(const struct numbers *n, int ends[2])
{
    int found = 0;

    ends[0] = ends[1] = -1;
    for (int i = 0; i < n->count && found < 2; i++) {
        struct identity now = identify(i + 3);
        if (now.pipe && !is_same(&now, &n->list[i]))
            ends[found++] = i + 3;
    }
}

/* ---- fork --------------------------------------------------------------- */

_Noreturn static void
become_worker(const struct numbers *numbers, struct pool__birth *birth)
{
    (void)pool__budget_close(); /* of the host's turn */
    pool__stdio_forget();
    find_new_pipe(numbers, birth->others);
    if (pool__stdin_null() < 0)
        _exit(EXIT_FAILURE);
    pool__worker_become(birth);
}

/* The child is there, unless somebody has reaped it already. */
static int
open_pidfd(pid_t pid, int *pidfd)
{
    *pidfd = pool__pidfd_open(pid);
    if (*pidfd >= 0)
        return 0;
    int error = *pidfd;
    *pidfd = -1;
    if (error != -ESRCH)
        kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return error;
}

static int
fork_worker(const struct numbers *numbers, struct pool__birth *birth,
    pid_t *pid, int *pidfd)
{
    unsigned held = pool__standard_hold(); /* see there */
    sigset_t old;

    pool__budget_pause(true); /* a program's size is its own choice */
    pool__signals_block(&old);
    *pid = fork();
    int error = errno;
    if (*pid == 0)
        become_worker(numbers, birth);
    pool__budget_pause(false);
    pool__close(pidfd); /* its place */
    int rc = *pid < 0 ? -error : open_pidfd(*pid, pidfd);
    if (rc == 0)
        setpgid(*pid, *pid);
    pool__signals_restore(&old);
    pool__standard_release(held);
    return rc;
}

static int
spawn(struct pool__forkserver *server, const struct pool__worker_config *config,
    const int *fds, int nfds, struct pool__made *made)
{
    struct pool__birth birth = {.config = config,
        .run = server->run,
        .fds = {fds[0], fds[1], fds[2], server->lifeline[0]},
        .output = nfds == 4 ? fds[3] : -1,
        .first = 3};
    struct numbers numbers = {NULL, 0, 0};

    /* A place for the pidfd is kept ahead: no fork in vain. */
    made->pidfd = fcntl(fds[0], F_DUPFD_CLOEXEC, 3);
    int rc = made->pidfd >= 0 ? note_numbers(&numbers) : -errno;
    if (rc == 0)
        rc = fork_worker(&numbers, &birth, &made->pid, &made->pidfd);
    else
        pool__close(&made->pidfd);
    pool__free(numbers.list);
    return rc;
}

/* ---- signals, death ------------------------------------------------------ */

/* Its process group, or it alone where its number may be another's. */
static void
signal_group(
    struct pool__forkserver *server, const struct pool__made *made, int signal)
{
    (void)server;
    if (syscall(SYS_pidfd_send_signal, made->pidfd, signal, NULL,
            TO_PROCESS_GROUP) == 0)
        return;
    if (pool__pidfd_signal(made->pidfd, 0) < 0 || kill(-made->pid, signal) < 0)
        (void)pool__pidfd_signal(made->pidfd, signal);
}

static int
wait_status(const siginfo_t *info)
{
    if (info->si_code == CLD_EXITED)
        return (info->si_status & 0xff) << 8;
    return info->si_status | (info->si_code == CLD_DUMPED ? 0x80 : 0);
}

/* Is it dead? 0, -ECHILD, -EAGAIN. Reaped only without WNOWAIT. */
static int
ask(pid_t pid, int pidfd, int options, siginfo_t *info)
{
    int rc;

    options |= WEXITED | WNOHANG;
    info->si_pid = 0;
    do
        rc = waitid(WAIT_PIDFD, (id_t)pidfd, info, options);
    while (rc < 0 && errno == EINTR);
    if (rc < 0 && errno == EINVAL && pool__pidfd_signal(pidfd, 0) == 0)
        rc = waitid(P_PID, (id_t)pid, info, options); /* Linux 5.3 */
    if (rc < 0)
        return -ECHILD;
    return info->si_pid != 0 ? 0 : -EAGAIN;
}

/* End what is left of its group, too. -EAGAIN also where a debugger hasn't let
 * go of it. */
static int
reap(
    struct pool__forkserver *server, const struct pool__made *made, int *status)
{
    siginfo_t info;
    int rc = ask(made->pid, made->pidfd, WNOWAIT, &info);

    if (rc == -EAGAIN)
        return rc;
    signal_group(server, made, SIGKILL);
    rc = ask(made->pid, made->pidfd, 0, &info);
    if (rc == 0)
        *status = wait_status(&info);
    return rc;
}

/* ---- life ---------------------------------------------------------------- */

static const struct pool__maker direct = {
    .spawn = spawn, .signal = signal_group, .reap = reap};

int
pool__direct_open(struct pool__forkserver *server, pool__worker_fn run)
{
    int self = pool__pidfd_open(getpid());

    pool__forkserver_init(server);
    if (self == -ENOSYS)
        return pool__fail(POOL_ENOTSUP,
            "pool_create: POOL_START_FORK needs pidfds: Linux 5.3");
    int rc = self >= 0 ? pool__pipe(server->lifeline) : self;
    pool__close(&self);
    if (rc == 0)
        rc = pool__modules_note(&server->modules);
    if (rc == 0) {
        server->maker = &direct;
        server->run = run;
        return 0;
    }
    pool__forkserver_drop(server);
    return pool__fail(rc, "pool_create: the lifeline of workers: %s (%s)",
        pool_strerror(rc), pool_err_name(rc));
}
