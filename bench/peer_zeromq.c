/* A peer: 64-byte messages to two forked workers and back through ZeroMQ,
 * push and pull over ipc. Prints messages per second.
 *
 * Up to 10,000 are in flight (more made it no faster) and every high-water
 * mark is above that, so nothing is refused. ZeroMQ batches by itself, by its
 * default of 8 KiB a system call; push deals in turn. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "bench.h"

#define WINDOW 10000
#define WORKERS 2
#define SIZE 64

static void
check(int rc)
{
    if (rc < 0) {
        fprintf(stderr, "peer_zeromq: %s\n", zmq_strerror(zmq_errno()));
        exit(1);
    }
}

/* Abstract socket names: nothing is left in the file system. */
static void *
open_socket(void *context, int type, const char *what, pid_t host, int bind)
{
    void *socket = zmq_socket(context, type);
    int mark = 2 * WINDOW, linger = 0;
    char address[64];

    snprintf(address, sizeof address, "ipc://@forkpool-%d-%s", (int)host, what);
    check(zmq_setsockopt(socket, ZMQ_SNDHWM, &mark, sizeof mark));
    check(zmq_setsockopt(socket, ZMQ_RCVHWM, &mark, sizeof mark));
    check(zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger));
    check(bind ? zmq_bind(socket, address) : zmq_connect(socket, address));
    return socket;
}

static void
work(pid_t host)
{
    void *context = zmq_ctx_new();
    void *in = open_socket(context, ZMQ_PULL, "tasks", host, 0);
    void *out = open_socket(context, ZMQ_PUSH, "results", host, 0);
    char message[SIZE];

    for (;;) {
        check(zmq_recv(in, message, sizeof message, 0));
        check(zmq_send(out, message, sizeof message, 0));
    }
}

/* Send while the window has room, then take what has come. With nothing in
 * flight a send waits: nobody may be connected yet. */
static double
run(void *out, void *in, size_t tasks)
{
    char message[SIZE] = {1};
    size_t sent = 0, done = 0;
    double began = bench_now();

    while (done < tasks) {
        while (sent < tasks && sent - done < WINDOW &&
               zmq_send(out, message, sizeof message,
                   sent == done ? 0 : ZMQ_DONTWAIT) >= 0)
            sent++;
        check(zmq_recv(in, message, sizeof message, 0));
        done++;
        while (zmq_recv(in, message, sizeof message, ZMQ_DONTWAIT) >= 0)
            done++;
    }
    return (double)tasks / (bench_now() - began);
}

int
main(int argc, char **argv)
{
    size_t tasks = argc > 1 ? strtoul(argv[1], NULL, 10) : 300000;
    pid_t host = getpid(), workers[WORKERS];

    for (int i = 0; i < WORKERS; i++) /* before there is a thread */
        if ((workers[i] = fork()) == 0)
            work(host);
    void *context = zmq_ctx_new();
    void *out = open_socket(context, ZMQ_PUSH, "tasks", host, 1);
    void *in = open_socket(context, ZMQ_PULL, "results", host, 1);
    run(out, in, 20000); /* until both are connected and warm */
    printf("%.0f\n", run(out, in, tasks));
    for (int i = 0; i < WORKERS; i++) {
        kill(workers[i], SIGKILL);
        waitpid(workers[i], NULL, 0);
    }
    zmq_close(out);
    zmq_close(in);
    zmq_ctx_term(context);
    return 0;
}
