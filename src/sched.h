/* The scheduler of one pool: the queue of tasks, and which worker gets what. */
#ifndef POOL_SRC_SCHED_H
#define POOL_SRC_SCHED_H

#include "function.h"
#include "table.h"
#include "task.h"

struct pool__sched {
    struct pool__core *core;
    struct pool__table *table;
    struct pool__functions functions;
    struct pool__list queue; /* tasks, next first */
    struct pool__list idle;  /* procs that hold nothing */
    struct pool__list fed;   /* procs that hold something and may hold more */
    struct pool__list dirty; /* procs with buffered frames */
    uv_timer_t sweep;
};

void pool__sched_init(struct pool__sched *sched, struct pool__core *core,
    struct pool__table *table);
void pool__sched_close(struct pool__sched *sched); /* its handle */
void pool__sched_fini(struct pool__sched *sched);

/* Queue a new task, and start it where a worker has room. */
void pool__sched_submit(struct pool__sched *sched, struct pool_future *task);
/* Write what is buffered. */
void pool__sched_flush(struct pool__sched *sched);
/* Take a pending task out. False: it has been claimed. */
bool pool__sched_take(struct pool__sched *sched, struct pool_future *task);
/* Whether a worker runs it. */
bool pool__sched_running(const struct pool_future *task);
/* Look into the pipes and reply buffers of all workers. */
void pool__sched_look(struct pool__sched *sched);

/* Events of procs. */
void pool__sched_ready(struct pool__sched *sched, struct pool__proc *proc);
void pool__sched_ended(struct pool__sched *sched, struct pool__proc *proc);
void pool__sched_reply(struct pool__sched *sched, struct pool__proc *proc,
    struct pool_future *task, const struct pool__frame *frame,
    const void *payload, void *block);
/* The worker may have room again: give out what fits. */
void pool__sched_progress(struct pool__sched *sched, struct pool__proc *proc);

/* Tell every worker that a scatter is over. */
void pool__sched_end_scatter(struct pool__sched *sched, uint64_t scatter);

/* Cancel all that no worker has begun. */
void pool__sched_cancel_pending(struct pool__sched *sched);
/* Cancel what workers have begun too: they are about to be killed. */
void pool__sched_cancel_all(struct pool__sched *sched);
/* In a foreign fork child: cancel this process's copies, tell no worker. */
void pool__sched_forget(struct pool__sched *sched);
/* No worker will come: fail what is queued. */
void pool__sched_fail_queued(
    struct pool__sched *sched, int code, const char *message);

#endif
