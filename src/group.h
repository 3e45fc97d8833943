/* Groups: the ranks of one scatter that are peers start together. */
#ifndef POOL_SRC_GROUP_H
#define POOL_SRC_GROUP_H

#include "task.h"

struct pool__sched;

/* One rank. */
struct pool__member {
    struct pool__watcher watcher; /* of its task */
    struct pool__group *group;
    struct pool_future *task; /* NULL: it has settled, or never was */
    bool came;                /* it was submitted, or never will be */
};

struct pool__group {
    struct pool__list node; /* among those that wait; in no list before and
                               after */
    struct pool__sched *sched;
    uint64_t number;   /* of its oldest task */
    uint64_t since_ns; /* when it began to wait */
    uint8_t priority;  /* of its tasks */
    bool held;         /* in use: not freed */
    int size;          /* ranks */
    int living;        /* of them not settled */
    int expected;      /* that did not come yet */
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

#endif
