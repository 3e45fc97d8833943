/* Groups: the ranks of one scatter that are peers start together, and what
 * they give in collectives is passed on between them. */
#ifndef POOL_SRC_GROUP_H
#define POOL_SRC_GROUP_H

#include "task.h"

struct pool__frame;
struct pool__proc;
struct pool__round;
struct pool__sched;

/* One rank. */
struct pool__member {
    struct pool__watcher watcher; /* of its task */
    struct pool__group *group;
    struct pool_future *task; /* NULL: it has settled, or never was */
    int rank;
    bool came;                 /* it was submitted, or never will be */
    bool waits;                /* in a collective: it gave its part */
    struct pool__proc *proc;   /* from where it gave */
    struct pool__round *round; /* that it is being sent; NULL: none */
    int next;                  /* part of it */
};

struct pool__group {
    struct pool__list node; /* among those that wait; in no list before and
                               after */
    struct pool__sched *sched;
    uint64_t number;           /* of its oldest task */
    uint64_t since_ns;         /* when it began to wait */
    uint8_t priority;          /* of its tasks */
    bool held;                 /* in use: not freed */
    int size;                  /* ranks */
    int living;                /* of them not settled */
    int expected;              /* that did not come yet */
    struct pool__round *round; /* that is gathered; NULL: none */
    int given;                 /* parts of it */
    char lost[200];            /* who is gone and how; "": nobody */
    struct pool__member members[];
};

/* Make prepared tasks the ranks 0 to n - 1 of a group: it starts when all have
 * been submitted and so many workers are idle. They share one extra, and each
 * has its rank for a tag. A NULL among the tasks is a rank that will not run.
 * 0, or POOL_ENOMEM: then they can be unmade. */
int pool__group_make(
    struct pool__sched *sched, struct pool_future *const *tasks, size_t n);

static inline struct pool__member *
pool__member_of(const struct pool_future *task)
{
    return task->extra != NULL && task->extra->group != NULL
               ? &task->extra->group->members[task->tag]
               : NULL;
}

/* A rank was submitted. */
void pool__group_came(struct pool_future *task);

/* Groups wait, and TASK, NULL: none, is the next one of the queue. Start the
 * group that is next where it can: its ranks are moved to sched->ranks. Else:
 * whether TASK may be given out. */
enum pool__turn_of {
    POOL__TURN_NOBODY, /* workers are to become idle for a group */
    POOL__TURN_TASK,   /* TASK, or nobody else */
    POOL__TURN_GROUP   /* one was started */
};
enum pool__turn_of pool__group_turn(
    struct pool__sched *sched, const struct pool_future *task);
/* A rank of a group that started was not begun by its worker. */
void pool__group_back(struct pool__sched *sched, struct pool_future *task);

/* There are fewer workers than there were: fail who can't start any more. */
void pool__group_resized(struct pool__sched *sched);
/* Settle all ranks that no worker has; NULL: they are cancelled. False: the
 * budget ended it, call again. */
bool pool__group_settle(
    struct pool__sched *sched, const pool_failure_t *failure);

/* peers.c: collectives */

/* A rank gives its part. block: where not NULL, the payload is its beginning
 * and it is taken over. */
void pool__peers_give(struct pool__proc *proc, struct pool_future *task,
    const struct pool__frame *frame, const void *payload, void *block);
/* The rank is in a collective: it can't have a result now. */
static inline bool
pool__peers_inside(const struct pool__member *m)
{
    return m != NULL && (m->waits || m->round != NULL);
}
/* A hungry channel takes more. */
void pool__peers_feed(struct pool__proc *proc);
/* A part that was lent to a channel is no longer read. */
void pool__peers_sent(void *round);
/* The rank has settled; task: NULL, it was none. */
void pool__peers_lost(
    struct pool__member *member, const struct pool_future *task);

#endif
