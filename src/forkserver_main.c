/* The forkserver's process: forks workers, signals their groups, reaps them
 * and reports, until the host goes or says so. Then it kills what is left.
 *
 * Invariant: a worker is in the table from its fork until it is reaped, so a
 * pid found there is pinned and may be signalled. The process is subreaper:
 * orphans of workers are reaped here too.
 *
 * Every descriptor of the forkserver has a number that nothing had when it
 * was forked. For fork(2) runs the atfork handlers of the host's libraries in
 * each worker, and those close by number what they knew in the host: libuv
 * does so with a pipe of its own, and makes a new one, which is left to it. */
#define _GNU_SOURCE
#include "forkserver.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fdio.h"
#include "mem.h"
#include "spawn.h"

#define NUMBERS 32 /* more than it ever has open */

struct child {
    pid_t pid;
    uint64_t incarnation;
};

struct forkserver {
    struct pool__forkserver_ends ends;
    pool__worker_fn run;
    int first;   /* of the numbers for descriptors */
    int signals; /* a signalfd of SIGCHLD */
    struct child *children;
    size_t count, capacity;
};

static void
report(struct forkserver *fs, const struct pool__report *what, int pidfd)
{
    (void)pool__send_packet(fs->ends.socket, what, sizeof *what, &pidfd,
        pidfd >= 0 ? 1 : 0); /* a host that is gone needs no report */
}

static int
make_room(struct forkserver *fs)
{
    if (fs->count < fs->capacity)
        return 0;
    size_t capacity = 2 * fs->capacity + 16;
    struct child *children =
        pool__realloc(fs->children, capacity * sizeof *children);
    if (children == NULL)
        return -ENOMEM;
    fs->children = children;
    fs->capacity = capacity;
    return 0;
}

void
pool__worker_become(const struct pool__birth *birth)
{
    static const int ignored[] = {SIGINT, SIGTTIN, SIGTTOU, SIGTSTP, 0};
    const struct pool__worker_config *config = birth->config;
    struct pool__worker_fds fds = birth->fds;
    sigset_t none;

    setpgid(0, 0);
    pool__signals_reset(ignored);
    fds.lifeline = pool__lifeline_arm(birth->fds.lifeline);
    if (fds.lifeline < 0 || pool__fd_move(&fds.lifeline, birth->first) < 0)
        _exit(EXIT_FAILURE);
    if (pool__stdio_redirect(1, config->stdout_to, birth->output) < 0 ||
        pool__stdio_redirect(2, config->stderr_to, birth->output) < 0)
        _exit(EXIT_FAILURE);
    int keep[] = {fds.tasks, fds.results, fds.region, fds.lifeline,
        birth->others[0], birth->others[1]};
    pool__close_others(birth->first, keep, 6);
    sigemptyset(&none);
    pool__signals_restore(&none);
    pool__exit_hook_install();
    birth->run(config, &fds);
    _exit(EXIT_FAILURE);
}

/* In the new worker. */
_Noreturn static void
become_worker(struct forkserver *fs, const struct pool__worker_config *config,
    const int *fds, int output)
{
    struct pool__birth birth = {.config = config,
        .run = fs->run,
        .fds = {fds[0], fds[1], fds[2], fs->ends.lifeline},
        .output = output,
        .first = fs->first,
        .others = {-1, -1}};

    pool__worker_become(&birth);
}

static void
refuse(struct forkserver *fs, uint64_t incarnation, int error)
{
    struct pool__report refused = {.kind = POOL__REPORT_REFUSED,
        .incarnation = incarnation,
        .error = error};

    report(fs, &refused, -1);
}

static void
spawn(struct forkserver *fs, const struct pool__worker_config *config, int *fds,
    int nfds)
{
    int wanted = pool__worker_captures(config) ? 4 : 3;
    int rc = nfds == wanted ? make_room(fs) : -EBADF;
    for (int i = 0; i < nfds && rc == 0; i++)
        rc = pool__fd_move(&fds[i], fs->first);
    pid_t pid = rc == 0 ? fork() : -1;

    if (pid == 0)
        become_worker(fs, config, fds, nfds == 4 ? fds[3] : -1);
    if (pid < 0) {
        refuse(fs, config->incarnation, rc == 0 ? -errno : rc);
        return;
    }
    setpgid(pid, pid);
    fs->children[fs->count++] = (struct child){pid, config->incarnation};
    /* Closed before the next fork; without one the report of its end must do.
     */
    int pidfd = pool__pidfd_open(pid);
    struct pool__report spawned = {.kind = POOL__REPORT_SPAWNED,
        .incarnation = config->incarnation,
        .pid = pid};
    report(fs, &spawned, pidfd);
    pool__close(&pidfd);
}

static void
signal_group(struct forkserver *fs, uint64_t incarnation, int signal)
{
    for (size_t i = 0; i < fs->count; i++)
        if (fs->children[i].incarnation == incarnation)
            kill(-fs->children[i].pid, signal);
}

/* A dead child that is still a zombie: end its group, reap it, report it. */
static void
bury(struct forkserver *fs, pid_t pid)
{
    size_t i = 0;
    int status = 0;

    while (i < fs->count && fs->children[i].pid != pid)
        i++;
    if (i < fs->count)
        kill(-pid, SIGKILL);
    waitpid(pid, &status, 0);
    if (i == fs->count)
        return; /* an orphan that came to the subreaper */
    struct pool__report exited = {.kind = POOL__REPORT_EXITED,
        .pid = pid,
        .incarnation = fs->children[i].incarnation,
        .status = status};
    fs->children[i] = fs->children[--fs->count];
    report(fs, &exited, -1);
}

static void
bury_dead(struct forkserver *fs)
{
    siginfo_t info;

    for (;;) {
        info.si_pid = 0;
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 ||
            info.si_pid == 0)
            return;
        bury(fs, info.si_pid);
    }
}

_Noreturn static void
end_all(struct forkserver *fs)
{
    for (size_t i = 0; i < fs->count; i++)
        kill(-fs->children[i].pid, SIGKILL);
    while (fs->count > 0)
        bury(fs, fs->children[0].pid);
    _exit(EXIT_SUCCESS);
}

static void
serve_request(struct forkserver *fs)
{
    struct pool__request request;
    int fds[POOL__MAX_PASSED], nfds;
    ssize_t got = pool__receive_packet(
        fs->ends.socket, &request, sizeof request, fds, &nfds);

    if (got != (ssize_t)sizeof request && got != -EMFILE)
        end_all(fs); /* end of file, or a host that is not ours */
    if (got == -EMFILE)
        refuse(fs, request.config.incarnation, -EMFILE);
    else if (request.kind == POOL__REQUEST_SPAWN)
        spawn(fs, &request.config, fds, nfds);
    else if (request.kind == POOL__REQUEST_SIGNAL)
        signal_group(fs, request.config.incarnation, request.signal);
    else
        end_all(fs);
    while (nfds > 0)
        pool__close(&fds[--nfds]);
}

/* Move what is kept to numbers of its own; close all else. */
static int
settle_descriptors(struct forkserver *fs)
{
    int *kept[] = {
        &fs->ends.socket, &fs->ends.host, &fs->ends.lifeline, &fs->signals};
    int keep[4], rc = 0;

    for (int i = 0; i < 4; i++) {
        int moved = *kept[i] >= 0 ? pool__fd_move(kept[i], fs->first) : 0;
        rc = rc == 0 ? moved : rc;
        keep[i] = *kept[i];
    }
    pool__close_others(3, keep, 4);
    return rc;
}

/* The one-time steps of a fresh forkserver. 0 or -errno. */
static int
settle_in(struct forkserver *fs)
{
    static const int ignored[] = {SIGINT, SIGTTIN, SIGTTOU, SIGTSTP, SIGTERM,
        SIGHUP, SIGQUIT, SIGPIPE, 0};
    sigset_t chld;

    pool__stdio_forget();
    setpgid(0, 0);
    pool__signals_reset(ignored);
    int rc = pool__stdin_null();
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    fs->signals = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
    if (rc == 0 && fs->signals < 0)
        rc = -errno;
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    return rc == 0 ? settle_descriptors(fs) : rc;
}

static void
report_up(struct forkserver *fs, int error)
{
    int self = pool__pidfd_open(getpid());
    struct pool__report up = {.kind = POOL__REPORT_UP,
        .pid = getpid(),
        .error = error,
        .status = self >= 0};

    report(fs, &up, self);
    pool__close(&self);
    if (up.error < 0)
        _exit(EXIT_FAILURE);
}

void
pool__forkserver_main(
    const struct pool__forkserver_ends *ends, pool__worker_fn run)
{
    struct forkserver fs = {.ends = *ends,
        .run = run,
        .signals = -1,
        .first = pool__fd_gap(NUMBERS)};

    report_up(&fs, settle_in(&fs));
    struct pollfd set[] = {{.fd = fs.ends.socket, .events = POLLIN},
        {.fd = fs.ends.host, .events = POLLIN},
        {.fd = fs.signals, .events = POLLIN}};
    for (;;) {
        struct signalfd_siginfo info;
        if (poll(set, 3, -1) < 0)
            continue;
        if (set[1].revents != 0)
            end_all(&fs);
        if (set[2].revents != 0) {
            (void)pool__read(fs.signals, &info, sizeof info);
            bury_dead(&fs);
        }
        if (set[0].revents != 0)
            serve_request(&fs);
    }
}
