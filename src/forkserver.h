/* The forkserver: a process of one thread from which workers are forked, and
 * the host's hand on it. */
#ifndef POOL_SRC_FORKSERVER_H
#define POOL_SRC_FORKSERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "forkpool.h"
#include "list.h"
#include "modules.h"

struct pool__worker_config;
struct pool__worker_fds;
struct pool__forkserver;
struct uv_loop_s;

/* What a forked worker does; given by the layer above. */
typedef void (*pool__worker_fn)(const struct pool__worker_config *config,
    const struct pool__worker_fds *fds);

/* Which worker: what its maker made it with and gave. */
struct pool__made {
    uint64_t incarnation;
    pid_t pid;
    int pidfd; /* becomes readable when it has ended; its user closes it */
};

/* Another way to have workers than a forkserver. */
struct pool__maker {
    /* A new worker, with the descriptors of its config; sets pid and pidfd of
     * *made. 0 or -errno. */
    int (*spawn)(struct pool__forkserver *server,
        const struct pool__worker_config *config, const int *fds, int nfds,
        struct pool__made *made);
    /* SIGTERM or SIGKILL, the latter again where it doesn't help. */
    void (*signal)(struct pool__forkserver *server,
        const struct pool__made *made, int signal);
    /* Where it has ended: 0, and *status is as of waitpid(2); -ECHILD: ended,
     * nobody knows how; -EAGAIN: it lives. */
    int (*reap)(struct pool__forkserver *server, const struct pool__made *made,
        int *status);
    /* Something was written for that worker. May be NULL. */
    void (*pass)(struct pool__forkserver *server, uint64_t incarnation);
    /* Bring into the pipes what workers have sent. Whether there was some. May
     * be NULL. */
    bool (*look)(struct pool__forkserver *server);
    /* Have handles in the pool's loop, and close them; both may be NULL. */
    int (*open)(struct pool__forkserver *server, struct uv_loop_s *loop);
    void (*close)(struct pool__forkserver *server);
    /* The loop is closed, the pool ends; may be NULL. */
    void (*end)(struct pool__forkserver *server);
};

/* What the host keeps of one. */
struct pool__forkserver {
    struct pool__list node; /* among the prepared ones */
    int socket;             /* SOCK_SEQPACKET to it, non-blocking */
    int pidfd;              /* of it; -1: the kernel has none */
    int lifeline[2];        /* its write end's closing kills every worker */
    unsigned generation;    /* raised by each start */
    int threads;            /* of the host when it was made */
    struct pool__modules modules; /* loaded when it was made */
    /* Not NULL: there is no such process, workers come from this. */
    const struct pool__maker *maker;
    void *maker_data;
    pool__worker_fn run; /* what workers of direct.h run */
    int most;            /* workers at once that it can make; 0: any number */
    bool foreign; /* workers are no copies of this process: functions have
                     references, see pool__refer */
    bool closing; /* the pool ends */
};

/* How a worker is to be; descriptors travel beside it in this order: read
 * end of the task pipe, write end of the result pipe, region and, where its
 * output is captured, the write end of that pipe. */
struct pool__worker_config {
    uint64_t incarnation;
    uint64_t max_result; /* bytes */
    uint64_t max_memory; /* bytes of address space to come; 0: no limit */
    uint64_t seed;       /* of pool_call_seed */
    int32_t number;      /* of the worker in its pool, from 0 */
    int32_t workers;     /* how many there may be */
    int32_t depth;       /* of pools in workers; 1 in a program's own pool */
    uint8_t track_rss;   /* whether region->rss is kept */
    uint8_t has_setup;   /* whether its first frame is the setup */
    uint8_t has_segment; /* whether there is one behind its region */
    uint8_t stdout_to;   /* enum pool_output */
    uint8_t stderr_to;   /* enum pool_output */
};

/* Whether a fourth descriptor is needed. */
static inline bool
pool__worker_captures(const struct pool__worker_config *config)
{
    return config->stdout_to == POOL_OUTPUT_CAPTURE ||
           config->stderr_to == POOL_OUTPUT_CAPTURE;
}

struct pool__worker_fds {
    int tasks;   /* read end, blocking */
    int results; /* write end, blocking */
    int region;
    int lifeline;
};

/* A new worker, in its process. */
struct pool__birth {
    const struct pool__worker_config *config;
    pool__worker_fn run;
    struct pool__worker_fds fds; /* its lifeline is not armed yet */
    int output;                  /* what captures; -1: nothing does */
    int first;                   /* descriptors below are left open, */
    int others[2];               /* and these; -1: none */
};

/* Become it: signals are blocked, standard input is set. Runs it, leaves by
 * _exit. */
_Noreturn void pool__worker_become(const struct pool__birth *birth);

enum pool__report_kind {
    POOL__REPORT_UP = 1,  /* the forkserver itself; its pidfd comes along */
    POOL__REPORT_SPAWNED, /* pid; the worker's pidfd comes along */
    POOL__REPORT_REFUSED, /* error: no such worker */
    POOL__REPORT_EXITED   /* pid, status as of waitpid(2); reaped */
};

struct pool__report {
    uint32_t kind;
    int32_t error; /* -errno */
    uint64_t incarnation;
    int32_t pid;
    int32_t status; /* of EXITED; of UP, whether a pidfd was sent */
};

/* A hand on none. */
POOL__SHARED void pool__forkserver_init(struct pool__forkserver *server);

/* Fork one and wait until it is up; its workers will run RUN, which does not
 * return. After pool__forkserver_lost, a new one for the workers to come. 0,
 * or -errno with nothing new left behind. */
int pool__forkserver_start(
    struct pool__forkserver *server, pool__worker_fn run);

/* It is gone, or must go. Its workers live on where the kernel has pidfds,
 * which tell of their deaths; else they are killed. */
void pool__forkserver_lost(struct pool__forkserver *server);

/* Ask it to kill what workers it still has, and to end. */
void pool__forkserver_ask_end(struct pool__forkserver *server);

/* Let go of one: ask it to end, wait until it has. */
void pool__forkserver_stop(struct pool__forkserver *server);

/* In a foreign fork child: close the copies, say nothing. */
void pool__forkserver_drop(struct pool__forkserver *server);

/* Ask for a worker, with the descriptors of its config; a report with this
 * incarnation answers. 0 or -errno. */
int pool__forkserver_spawn(struct pool__forkserver *server,
    const struct pool__worker_config *config, const int *fds, int nfds);

/* Signal the process group of a worker that is not reaped. 0 or -errno. */
int pool__forkserver_signal(
    struct pool__forkserver *server, uint64_t incarnation, int signal);

/* What travels to a forkserver: a request to spawn, to signal, or to end. */
enum pool__request_kind {
    POOL__REQUEST_SPAWN = 1,
    POOL__REQUEST_SIGNAL,
    POOL__REQUEST_STOP
};

struct pool__request {
    uint32_t kind;
    int32_t signal;
    struct pool__worker_config config;
};

/* The process itself: its end of the socket, the host's pidfd, the lifeline's
 * read end. */
struct pool__forkserver_ends {
    int socket, host, lifeline;
};

_Noreturn void pool__forkserver_main(
    const struct pool__forkserver_ends *ends, pool__worker_fn run);

/* The next report. 1: there is one, *pidfd is -1 or the caller's to close.
 * 0: the forkserver is gone. -EAGAIN: nothing now. Else -errno; -EPROTO for
 * what is no report. */
int pool__forkserver_receive(
    struct pool__forkserver *server, struct pool__report *report, int *pidfd);

#endif
