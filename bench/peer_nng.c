/* A peer: 64-byte messages to two forked workers and back through nng, push
 * and pull over ipc. Prints messages per second.
 *
 * Up to 1,000 are in flight (more made it no faster); each socket has a
 * buffer for as many as nng allows, 8,192. Messages are passed on without a
 * copy. */
#include <nng/nng.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define WINDOW 1000
#define WORKERS 2
#define SIZE 64

static void
check(int rc)
{
    if (rc != 0) {
        fprintf(stderr, "peer_nng: %s\n", nng_strerror(rc));
        exit(1);
    }
}

static const char *
address(const char *what, pid_t host)
{
    static char text[64];

    snprintf(text, sizeof text, "abstract://forkpool-%d-%s", (int)host, what);
    return text;
}

static void
work(pid_t host)
{
    nng_socket in, out;
    nng_msg *message;

    check(nng_pull0_open(&in));
    check(nng_push0_open(&out));
    nng_socket_set_int(in, NNG_OPT_RECVBUF, 8192);
    nng_socket_set_int(out, NNG_OPT_SENDBUF, 8192);
    nng_dial(in, address("tasks", host), NULL, NNG_FLAG_NONBLOCK);
    nng_dial(out, address("results", host), NULL, NNG_FLAG_NONBLOCK);
    for (;;) {
        check(nng_recvmsg(in, &message, 0));
        check(nng_sendmsg(out, message, 0));
    }
}

/* Send while the window has room, then take one. */
static double
run(nng_socket out, nng_socket in, size_t tasks)
{
    size_t sent = 0, done = 0;
    nng_msg *message;
    double began = bench_now();

    while (done < tasks) {
        while (sent < tasks && sent - done < WINDOW) {
            check(nng_msg_alloc(&message, SIZE));
            memset(nng_msg_body(message), 1, SIZE);
            check(nng_sendmsg(out, message, 0));
            sent++;
        }
        check(nng_recvmsg(in, &message, 0));
        nng_msg_free(message);
        done++;
    }
    return (double)tasks / (bench_now() - began);
}

int
main(int argc, char **argv)
{
    size_t tasks = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
    pid_t host = getpid(), workers[WORKERS];
    nng_socket out, in;

    for (int i = 0; i < WORKERS; i++) /* before there is a thread */
        if ((workers[i] = fork()) == 0)
            work(host);
    check(nng_push0_open(&out));
    check(nng_pull0_open(&in));
    nng_socket_set_int(out, NNG_OPT_SENDBUF, 8192);
    nng_socket_set_int(in, NNG_OPT_RECVBUF, 8192);
    check(nng_listen(out, address("tasks", host), NULL, 0));
    check(nng_listen(in, address("results", host), NULL, 0));
    run(out, in, 5000); /* until both are connected and warm */
    printf("%.0f\n", run(out, in, tasks));
    fflush(stdout);
    for (int i = 0; i < WORKERS; i++) {
        kill(workers[i], SIGKILL);
        waitpid(workers[i], NULL, 0);
    }
    _exit(0); /* what nng's threads still do is of no interest */
}
