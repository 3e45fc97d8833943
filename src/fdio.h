/* System calls on descriptors, with EINTR retried and -errno returned. */
#ifndef POOL_SRC_FDIO_H
#define POOL_SRC_FDIO_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "util.h"

/* Bytes moved, 0 at end of file, or -errno (-EAGAIN where it would block). */
POOL__SHARED ssize_t pool__read(int fd, void *to, size_t n);
POOL__SHARED ssize_t pool__write(int fd, const void *from, size_t n);

/* All parts to a blocking descriptor; 0 or -errno. Uses up the array. */
int pool__write_all(int fd, struct iovec *parts, int count);

/* New descriptors: close-on-exec and above 2, so that a program that closed
 * its standard streams doesn't find them there. 0 (or the descriptor), or
 * -errno with nothing left open. */
int pool__pipe(int ends[2]);
int pool__packet_pair(int ends[2]);
int pool__pidfd_open(pid_t pid);
/* Kernels without pidfd_open and close_range, as tests pretend. */
extern bool pool__old_kernel;
/* FD or, where that is one of the standard three, its equal above them. */
int pool__fd_above_standard(int fd);

/* A descriptor that can be read once it was rung, until that is taken: an
 * eventfd. It, or -errno. */
int pool__bell_new(void);
void pool__bell_ring(int bell);
void pool__bell_take(int bell);

int pool__pidfd_signal(int pidfd, int signal);
POOL__SHARED int pool__set_nonblocking(int fd);

/* A pipe was full: ask for a larger one, once; a refusal is no matter. */
void pool__pipe_grow(int fd, bool *grown);

/* Open what is closed of the standard three, and close those again: libuv
 * and its atfork handler abort where they were given one of these numbers.
 * What is held is told as a set of bits. */
unsigned pool__standard_hold(void);
void pool__standard_release(unsigned held);

/* Where nothing is open at that number, have something there that is never
 * readable: a loop that watches the number aborts where nothing is. */
void pool__fd_occupy(int fd);

/* Close *fd, unless it is -1, and make it -1. */
POOL__SHARED void pool__close(int *fd);

/* Close every descriptor from FIRST on but those in keep, which is sorted. */
void pool__close_others(int first, int *keep, int count);

/* The first of N consecutive numbers above 2 that no descriptor has. */
int pool__fd_gap(int n);
/* Move *fd to a number from FIRST on. 0 or -errno, and *fd is closed. */
int pool__fd_move(int *fd, int first);

#define POOL__MAX_PASSED 4

/* One packet with its descriptors over a SOCK_SEQPACKET. Never raises
 * SIGPIPE. 0 or -errno. */
int pool__send_packet(
    int fd, const void *data, size_t size, const int *fds, int nfds);

/* Bytes received, 0 at end of file, or -errno. Descriptors come close-on-exec
 * and above 2; there are *nfds of them, at most POOL__MAX_PASSED. A packet cut
 * short: -EPROTO. Descriptors that could not all be had: -EMFILE; none is
 * kept, the data is there. */
ssize_t pool__receive_packet(
    int fd, void *data, size_t size, int fds[POOL__MAX_PASSED], int *nfds);

#endif
