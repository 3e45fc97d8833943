/* Rank 0's side: the other ranks as workers of a pool. */
#ifndef POOL_SRC_MPI_PROXY_H
#define POOL_SRC_MPI_PROXY_H

#include <uv.h>

#include "frame.h"
#include "mpi/mpi_offer.h"
#include "region.h"

/* A frame that goes by in pieces. */
struct pool__passing {
    uint8_t head[POOL__FRAME_HEADER];
    size_t have;   /* bytes of the header */
    uint64_t left; /* bytes of the rest, once the header is whole */
    struct pool__frame frame;
};

struct pool__mpi;

/* One life of a rank as a worker. */
struct pool__session {
    struct pool__mpi *mpi;
    int rank;
    uint64_t number;           /* the incarnation */
    int tasks, results, ended; /* the worker's ends of the pipes, an eventfd */
    struct pool__region *region;
    uv_poll_t readable, writable; /* of tasks, of results */
    int handles;                  /* open in the loop */

    /* to the rank */
    uint8_t *in; /* read from the task pipe, not yet passed: [at, in_have) */
    size_t at, in_have;
    struct pool__passing down;
    bool decided;              /* what becomes of the frame that passes */
    bool skipped;              /* it was taken back */
    struct pool__message *out; /* being filled, or NULL */
    enum pool__tag out_tag;
    uint64_t ordinal; /* of the last call frame, as the scheduler counts */
    uint64_t calls;   /* as the rank counts */
    uint64_t task;    /* the number of the last one that was passed */

    /* from the rank */
    uint8_t *back; /* came and is not in the result pipe: [written, size) */
    size_t written, size, capacity;
    struct pool__passing up;

    bool greeted;   /* its hello came */
    bool busy;      /* a call was passed, the reply is not in the pipe */
    bool answered;  /* but it has come */
    bool asked;     /* the rank knows that it shall stop */
    bool retiring;  /* it was told to end */
    int killed;     /* the signal that it was to be ended by, or 0 */
    bool watching;  /* the task pipe */
    bool held;      /* a call waits for the reply of the one before */
    bool congested; /* too much is on its way, or memory is out */
};

/* What is there for each rank as long as the pool. */
struct pool__slot {
    struct pool__session *session; /* NULL: it is free */
    struct pool__sending outbox;
    uint64_t last; /* session that ended */
    int status;    /* how, as of waitpid(2) */
};

struct pool__mpi {
    MPI_Comm comm;
    int ranks;
    pid_t pid; /* of the process whose ranks they are */
    int grace_ms;
    void (*over)(struct pool__mpi *mpi); /* the pool has ended */
    bool open;                           /* its handles are in the loop */
    uv_idle_t idle;                      /* turns while something moves */
    uv_timer_t timer;                    /* and while something may */
    uint64_t moved_ns;
    uint64_t closing_ns; /* since when the pool is being ended; 0: it isn't */
    struct pool__peer *peers;
    struct pool__slot *slots; /* [0] is not used */
};

/* ---- mpi_proxy.c -------------------------------------------------------- */

extern const struct pool__maker pool__mpi_maker;

/* Something moves: look often. */
void pool__mpi_wake(struct pool__mpi *mpi);

/* ---- mpi_stream.c: what passes between pipes and messages ---------------- */

int pool__session_open(struct pool__session *session, uv_loop_t *loop);
/* Pass on what can be of the task pipe. */
void pool__session_forward(struct pool__session *session);
/* Take what has come from the rank. Whether something has; the session may be
 * over then (its slot's is NULL). */
bool pool__session_receive(struct pool__session *session);
/* Pass on that the running task shall stop, where that is new. */
void pool__session_ask(struct pool__session *session);
/* Whether something may come from the rank. */
bool pool__session_expects(const struct pool__session *session);
/* Let go of the pipes; freed when the loop has let go of its handles. */
void pool__session_close(struct pool__session *session);

#endif
