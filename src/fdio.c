/* System calls on descriptors, with EINTR retried and -errno returned. */
#define _GNU_SOURCE
#include "fdio.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util.h"

#define PIECE ((size_t)128 << 10) /* bytes that are written at once */
#define PIPE_WANTED (1 << 20)     /* bytes, where the system grants it */

ssize_t
pool__read(int fd, void *to, size_t n)
{
    ssize_t got;

    do
        got = read(fd, to, n);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

ssize_t
pool__write(int fd, const void *from, size_t n)
{
    ssize_t put;

    do
        put = write(fd, from, n);
    while (put < 0 && errno == EINTR);
    return put < 0 ? -errno : put;
}

/* A large write keeps the pipe locked, and its reader spinning, for long. */
static bool
is_large(const struct iovec *parts, int count)
{
    for (int i = 0; i < count; i++)
        if (parts[i].iov_len > PIECE)
            return true;
    return false;
}

int
pool__write_all(int fd, struct iovec *parts, int count)
{
    while (count > 0) {
        ssize_t put =
            is_large(parts, count)
                ? write(fd, parts->iov_base, pool__min(parts->iov_len, PIECE))
                : writev(fd, parts, count);
        if (put < 0 && errno != EINTR)
            return -errno;
        size_t left = put < 0 ? 0 : (size_t)put;
        while (count > 0 && left >= parts->iov_len) {
            left -= parts->iov_len;
            parts++;
            count--;
        }
        if (count > 0) {
            parts->iov_base = (char *)parts->iov_base + left;
            parts->iov_len -= left;
        }
    }
    return 0;
}

void
pool__close(int *fd)
{
    if (*fd >= 0)
        close(*fd); /* EINTR closes too, on Linux */
    *fd = -1;
}

void
pool__fd_occupy(int fd)
{
    int filler = fcntl(fd, F_GETFD) < 0 ? eventfd(0, EFD_CLOEXEC) : fd;

    if (filler == fd || filler < 0)
        return;
    (void)dup3(filler, fd, O_CLOEXEC);
    close(filler);
}

int
pool__fd_move(int *fd, int first)
{
    if (*fd >= first)
        return 0;
    int higher = fcntl(*fd, F_DUPFD_CLOEXEC, first);
    int error = errno;
    close(*fd);
    *fd = higher;
    return higher >= 0 ? 0 : -error;
}

int
pool__fd_above_standard(int fd)
{
    int rc = pool__fd_move(&fd, 3);

    return rc == 0 ? fd : rc;
}

int
pool__fd_gap(int n)
{
    int first = 3;

    for (int fd = first; fd < first + n; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            first = fd + 1;
    return first;
}

static int
raise_both(int ends[2])
{
    ends[0] = pool__fd_above_standard(ends[0]);
    ends[1] = pool__fd_above_standard(ends[1]);
    if (ends[0] >= 0 && ends[1] >= 0)
        return 0;
    int error = ends[0] < 0 ? ends[0] : ends[1];
    pool__close(&ends[0]);
    pool__close(&ends[1]);
    return error;
}

int
pool__pipe(int ends[2])
{
    return pipe2(ends, O_CLOEXEC) == 0 ? raise_both(ends) : -errno;
}

int
pool__packet_pair(int ends[2])
{
    int rc = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);

    return rc == 0 ? raise_both(ends) : -errno;
}

bool pool__old_kernel;

int
pool__pidfd_open(pid_t pid)
{
    if (pool__old_kernel)
        return -ENOSYS;
    int fd = (int)syscall(SYS_pidfd_open, pid, 0u);

    return fd >= 0 ? pool__fd_above_standard(fd) : -errno;
}

int
pool__bell_new(void)
{
    int bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    return bell < 0 ? -errno : pool__fd_above_standard(bell);
}

void
pool__bell_ring(int bell)
{
    uint64_t one = 1;

    (void)pool__write(bell, &one, sizeof one);
}

void
pool__bell_take(int bell)
{
    uint64_t times;

    (void)pool__read(bell, &times, sizeof times);
}

int
pool__pidfd_signal(int pidfd, int signal)
{
    long rc = syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0u);

    return rc == 0 ? 0 : -errno;
}

int
pool__set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    return 0;
}

void
pool__pipe_grow(int fd, bool *grown)
{
    if (!*grown)
        (void)fcntl(fd, F_SETPIPE_SZ, PIPE_WANTED);
    *grown = true;
}

unsigned
pool__standard_hold(void)
{
    unsigned held = 0;
    int fd;

    while ((fd = open("/dev/null", O_RDWR | O_CLOEXEC)) >= 0 && fd <= 2)
        held |= 1u << fd;
    pool__close(&fd);
    return held;
}

void
pool__standard_release(unsigned held)
{
    for (int fd = 0; fd <= 2; fd++)
        if ((held >> fd & 1) != 0)
            close(fd);
}

static int
compare_ints(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;

    return (x > y) - (x < y);
}

/* For kernels without close_range: what /proc lists, else every number. */
static void
close_listed(unsigned first, unsigned last)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned limit = (unsigned)sysconf(_SC_OPEN_MAX);

    if (dir == NULL) {
        for (unsigned fd = first; fd <= last && fd < limit; fd++)
            close((int)fd);
        return;
    }
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        unsigned fd = (unsigned)strtoul(e->d_name, NULL, 10);
        if (fd >= first && fd <= last && (int)fd != dirfd(dir))
            close((int)fd);
    }
    closedir(dir);
}

static void
close_span(unsigned first, unsigned last)
{
    if (first > last)
        return;
    if (pool__old_kernel || syscall(SYS_close_range, first, last, 0u) != 0)
        close_listed(first, last);
}

void
pool__close_others(int first, int *keep, int count)
{
    unsigned from = (unsigned)first;

    qsort(keep, (size_t)count, sizeof keep[0], compare_ints);
    for (int i = 0; i < count; i++) {
        if (keep[i] < first)
            continue;
        close_span(from, (unsigned)keep[i] - 1);
        from = (unsigned)keep[i] + 1;
    }
    close_span(from, ~0u >> 1);
}

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int) * POOL__MAX_PASSED)];
};

int
pool__send_packet(
    int fd, const void *data, size_t size, const int *fds, int nfds)
{
    struct iovec part = {(void *)(size_t)data, size};
    union control control = {0};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    size_t fds_size = sizeof(int) * (size_t)nfds;
    ssize_t put;

    if (nfds > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(fds_size);
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(fds_size);
        memcpy(CMSG_DATA(head), fds, fds_size);
    }
    do
        put = sendmsg(fd, &message, MSG_NOSIGNAL);
    while (put < 0 && errno == EINTR);
    return put < 0 ? -errno : 0;
}

/* Move the descriptors of a message to fds, above the standard three; false
 * if there were more than could be had. */
static bool
take_descriptors(struct msghdr *message, int *fds, int *nfds)
{
    bool whole = (message->msg_flags & MSG_CTRUNC) == 0;

    for (struct cmsghdr *head = CMSG_FIRSTHDR(message); head != NULL;
         head = CMSG_NXTHDR(message, head)) {
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(head) + i * sizeof fd, sizeof fd);
            fd = pool__fd_above_standard(fd);
            whole = whole && fd >= 0 && *nfds < POOL__MAX_PASSED;
            if (fd >= 0 && *nfds < POOL__MAX_PASSED)
                fds[(*nfds)++] = fd;
            else
                pool__close(&fd);
        }
    }
    return whole;
}

ssize_t
pool__receive_packet(
    int fd, void *data, size_t size, int fds[POOL__MAX_PASSED], int *nfds)
{
    struct iovec part = {data, size};
    union control control;
    struct msghdr message = {.msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control};
    ssize_t got;

    *nfds = 0;
    do
        got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    bool whole = take_descriptors(&message, fds, nfds);
    if (whole && (message.msg_flags & MSG_TRUNC) == 0)
        return got;
    while (*nfds > 0)
        pool__close(&fds[--*nfds]);
    return whole ? -EPROTO : -EMFILE;
}
