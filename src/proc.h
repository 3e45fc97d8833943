/* A proc: one incarnation of a worker as the supervisor sees it, from the
 * request to the forkserver until its last handle is closed. */
#ifndef POOL_SRC_PROC_H
#define POOL_SRC_PROC_H

#include "channel.h"
#include "forkserver.h"
#include "list.h"
#include "output.h"

enum pool__proc_state {
    POOL__PROC_SPAWNING, /* asked of the forkserver */
    POOL__PROC_STARTING, /* has a pid; its hello is awaited */
    POOL__PROC_READY,
    POOL__PROC_STOPPING, /* told to end; the grace runs */
    POOL__PROC_KILLED,   /* SIGKILL sent */
    POOL__PROC_DEAD,     /* the pidfd said so; the status is awaited */
    POOL__PROC_GONE,     /* its handles are closing */
    POOL__PROC_STATES
};

enum pool__proc_event {
    POOL__EV_SPAWNED, /* the forkserver made it: pid and pidfd are set */
    POOL__EV_REFUSED, /* or could not, or is itself gone */
    POOL__EV_HELLO,   /* its first frame */
    POOL__EV_CLOSED,  /* it closed its end of the result pipe */
    POOL__EV_RETIRE,  /* it shall end when it has done what it holds */
    POOL__EV_TERM,    /* it shall end now: SIGTERM, grace, SIGKILL */
    POOL__EV_KILL,    /* it shall be killed */
    POOL__EV_TIMER,   /* of the grace or of the status */
    POOL__EV_DEATH,   /* its pidfd became readable */
    POOL__EV_STATUS,  /* the forkserver reaped it: ending is set */
    POOL__PROC_EVENTS
};

/* How a worker ended, as far as it is known. */
struct pool__ending {
    bool known;            /* wait_status holds */
    int wait_status;       /* of waitpid(2) */
    const char *violation; /* what it did against the protocol, or NULL */
};

struct pool__member;
struct pool__proc;

struct pool__proc_events {
    struct pool__channel_events channel; /* owners are procs */
    void (*ready)(struct pool__proc *proc);
    /* A time is over: read what it or the forkserver may have said. */
    void (*look)(struct pool__proc *proc);
    /* It is dead and how is decided: what it holds must be abandoned now. */
    void (*ended)(struct pool__proc *proc, bool was_ready);
    /* Its last handle is closed; may be freed. */
    void (*gone)(struct pool__proc *proc);
};

struct pool__proc {
    struct pool__list node;      /* in the table */
    struct {                     /* the scheduler's */
        struct pool__sched *of;  /* once it is ready */
        struct pool__list place; /* among the idle or the fed */
        struct pool__list dirty; /* among those with buffered frames */
        int64_t queued_ns;       /* work sent ahead, as estimated */
        uint64_t watched;        /* ordinal that ran at the last sweep */
        uint64_t unclaimed;      /* or the one that was next, not begun */
        size_t functions;        /* introduced to the worker so far */
        uint64_t *jobs;          /* and the scatters: see job.c */
        size_t job_count, job_room;
        uint64_t given;         /* tasks that it began or will begin */
        uint64_t next;          /* ordinal that was the next one to end ... */
        bool next_runs;         /* and whether it had been begun, */
        uint64_t next_since_ns; /* since when */
        uint64_t idle_since_ms; /* by the loop's clock */
        struct pool__member *member; /* a rank that a collective's parts are
                                        sent to; NULL: none */
        bool timed;                  /* it may hold tasks with deadlines */
        bool aside;                  /* left alone until it holds nothing */
        bool slow;                   /* it didn't begin what it was sent */
        bool quick;                  /* what it holds takes no time */
        bool counted;                /* among those of which that is true */
        bool closed;                 /* no more tasks: it retires */
    } sched;
    void *owner;
    const struct pool__proc_events *events;
    struct pool__forkserver *forkserver;
    struct pool__worker_config config;
    const uint8_t *setup; /* its owner's: the payload of the first frame */
    size_t setup_size;
    enum pool__proc_state state;
    pid_t pid;
    int pidfd;
    int grace_ms;
    int start_wait_ms; /* from the pid to the hello; 0: no limit */
    bool was_ready;
    bool start_failed;   /* it said that its initializer failed */
    bool useful;         /* it began a task */
    uint64_t ready_ms;   /* when it became ready, by the loop's clock */
    unsigned generation; /* of the forkserver that made it */
    bool unwanted;       /* asked to end before it had a pid */
    bool asked;          /* to end, in whatever way */
    bool leaving;        /* the table counts it no more: another may come */
    uv_poll_t death;
    uv_timer_t timer;
    int handles; /* open in the loop */
    struct pool__channel channel;
    struct pool__output output;
    struct pool__ending ending;
};

/* A new incarnation; it is asked for at once, or made: then its pid is set,
 * and the caller tells SPAWNED. 0 or a negative code, nothing left behind.
 * grace_ms: between SIGTERM and SIGKILL. */
int pool__proc_start(struct pool__proc *proc, uv_loop_t *loop,
    struct pool__inbox *inbox, struct pool__forkserver *forkserver,
    const struct pool__worker_config *config, int grace_ms,
    const struct pool__proc_events *events, void *owner);

/* The one way in for everything that happens to it. */
void pool__proc_event(struct pool__proc *proc, enum pool__proc_event event);

/* Ask it to end: RETIRE, TERM or KILL. */
static inline void
pool__proc_ask(struct pool__proc *proc, enum pool__proc_event event)
{
    proc->asked = true;
    pool__proc_event(proc, event);
}

/* The last that it printed, where that is captured: TO, or NULL. */
const char *pool__proc_tail(
    const struct pool__proc *proc, char *to, size_t size);

/* In a foreign fork child: close this process's copies, tell only `gone`. */
void pool__proc_forget(struct pool__proc *proc);

/* Whether tasks may be sent to it. */
static inline bool
pool__proc_serves(const struct pool__proc *proc)
{
    return proc->state == POOL__PROC_READY && !proc->channel.broken;
}

#endif
