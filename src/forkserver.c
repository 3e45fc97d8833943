/* The host's hand on a forkserver: made, asked, listened to, let go.
 *
 * The forkserver is forked twice, so that the host has no lasting child. No
 * disposition and no mask of the host is changed beyond the fork itself. */
#define _GNU_SOURCE
#include "forkserver.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "error.h"
#include "fdio.h"
#include "machine.h"
#include "spawn.h"

#define UP_TIMEOUT_MS 10000
#define STOP_TIMEOUT_MS 1000

/* In the child: fork once more and leave; the status tells the errno. */
static void
fork_again(const struct pool__forkserver_ends *ends, pool__worker_fn run)
{
    pid_t pid = fork();

    if (pid == 0)
        pool__forkserver_main(ends, run);
    _exit(pid > 0 ? 0 : errno & 0xff);
}

/* Fork through a child that is gone when this returns. 0 or -errno. */
static int
fork_orphan(const struct pool__forkserver_ends *ends, pool__worker_fn run)
{
    sigset_t old;
    int status = 0;

    unsigned held = pool__standard_hold(); /* see there */
    pool__signals_block(&old);
    pid_t pid = fork();
    int error = errno;
    if (pid == 0)
        fork_again(ends, run);
    pool__signals_restore(&old);
    pool__standard_release(held);
    if (pid < 0)
        return -error;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return 0; /* stolen or ignored: the report will tell */
    return WIFEXITED(status) ? -WEXITSTATUS(status) : -ECHILD;
}

/* Wait for the first report, which brings the pidfd. */
static int
await_up(struct pool__forkserver *server)
{
    struct pollfd poll_set = {.fd = server->socket, .events = POLLIN};
    struct pool__report report;
    uint64_t end = pool__now_ns() + UP_TIMEOUT_MS * UINT64_C(1000000);

    for (;;) {
        int rc = pool__forkserver_receive(server, &report, &server->pidfd);
        if (rc == 1 && report.kind == POOL__REPORT_UP)
            return report.status != 0 && server->pidfd < 0 ? -EMFILE
                                                           : report.error;
        if (rc != -EAGAIN)
            return rc < 0 ? rc : -ECHILD;
        uint64_t now = pool__now_ns();
        if (now >= end)
            return -ETIMEDOUT;
        (void)poll(&poll_set, 1, (int)((end - now) / 1000000) + 1);
    }
}

static int
open_ends(struct pool__forkserver *server, struct pool__forkserver_ends *ends)
{
    int pair[2] = {-1, -1};

    ends->host = pool__pidfd_open(getpid());
    int rc = ends->host >= 0 || ends->host == -ENOSYS ? pool__packet_pair(pair)
                                                      : ends->host;
    server->socket = pair[0];
    ends->socket = pair[1];
    if (rc == 0 && server->lifeline[0] < 0)
        rc = pool__pipe(server->lifeline);
    ends->lifeline = server->lifeline[0];
    return rc == 0 ? pool__set_nonblocking(server->socket) : rc;
}

void
pool__forkserver_init(struct pool__forkserver *server)
{
    memset(server, 0, sizeof *server);
    pool__list_init(&server->node);
    server->socket = server->pidfd = -1;
    server->lifeline[0] = server->lifeline[1] = -1;
}

int
pool__forkserver_start(struct pool__forkserver *server, pool__worker_fn run)
{
    struct pool__forkserver_ends ends = {-1, -1, -1};

    server->generation++;
    server->threads = pool__thread_count();
    int rc = open_ends(server, &ends);
    if (rc == 0)
        rc = pool__modules_note(&server->modules);
    if (rc == 0)
        rc = fork_orphan(&ends, run);
    pool__close(&ends.socket);
    pool__close(&ends.host);
    if (rc == 0)
        rc = await_up(server);
    if (rc < 0) {
        pool__forkserver_lost(server);
        return pool__fail(
            rc, "forkserver: %s (%s)", pool_strerror(rc), pool_err_name(rc));
    }
    return 0;
}

void
pool__forkserver_lost(struct pool__forkserver *server)
{
    if (server->pidfd >= 0) {
        (void)pool__pidfd_signal(server->pidfd, SIGKILL);
    } else { /* nobody would tell of its workers' deaths: end them now */
        pool__close(&server->lifeline[0]);
        pool__close(&server->lifeline[1]);
    }
    pool__close(&server->socket);
    pool__close(&server->pidfd);
}

void
pool__forkserver_ask_end(struct pool__forkserver *server)
{
    struct pool__request request = {.kind = POOL__REQUEST_STOP};

    (void)pool__send_packet(server->socket, &request, sizeof request, NULL, 0);
}

/* Ask it to end and wait until it has; one that doesn't hear is killed. */
static void
end_process(struct pool__forkserver *server)
{
    struct pollfd poll_set = {.fd = server->pidfd, .events = POLLIN};

    pool__forkserver_ask_end(server);
    if (server->pidfd < 0)
        poll_set = (struct pollfd){.fd = server->socket, .events = POLLRDHUP};
    if (poll(&poll_set, 1, STOP_TIMEOUT_MS) == 1)
        return;
    (void)pool__pidfd_signal(server->pidfd, SIGKILL);
    (void)poll(&poll_set, 1, STOP_TIMEOUT_MS);
}

void
pool__forkserver_stop(struct pool__forkserver *server)
{
    if (server->socket >= 0)
        end_process(server);
    if (server->maker != NULL && server->maker->end != NULL)
        server->maker->end(server);
    server->maker = NULL;
    pool__forkserver_drop(server);
}

void
pool__forkserver_drop(struct pool__forkserver *server)
{
    pool__close(&server->socket);
    pool__close(&server->pidfd);
    pool__close(&server->lifeline[0]);
    pool__close(&server->lifeline[1]);
    pool__modules_fini(&server->modules);
}

int
pool__forkserver_spawn(struct pool__forkserver *server,
    const struct pool__worker_config *config, const int *fds, int nfds)
{
    struct pool__request request = {
        .kind = POOL__REQUEST_SPAWN, .config = *config};

    return pool__send_packet(
        server->socket, &request, sizeof request, fds, nfds);
}

int
pool__forkserver_signal(
    struct pool__forkserver *server, uint64_t incarnation, int signal)
{
    struct pool__request request = {.kind = POOL__REQUEST_SIGNAL,
        .signal = signal,
        .config.incarnation = incarnation};

    return pool__send_packet(server->socket, &request, sizeof request, NULL, 0);
}

int
pool__forkserver_receive(
    struct pool__forkserver *server, struct pool__report *report, int *pidfd)
{
    int fds[POOL__MAX_PASSED], nfds;
    ssize_t got = pool__receive_packet(
        server->socket, report, sizeof *report, fds, &nfds);

    *pidfd = -1;
    if (got == -ECONNRESET)
        return 0;
    if (got == -EMFILE)
        return 1; /* the report is whole, its descriptor is lost */
    if (got <= 0)
        return (int)got;
    if (got == (ssize_t)sizeof *report && nfds <= 1) {
        *pidfd = nfds == 1 ? fds[0] : -1;
        return 1;
    }
    while (nfds > 0)
        pool__close(&fds[--nfds]);
    return -EPROTO;
}
