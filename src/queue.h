/* The queue of tasks: one list for each priority. */
#ifndef POOL_SRC_QUEUE_H
#define POOL_SRC_QUEUE_H

#include "task.h"

struct pool__queue {
    struct pool__list levels[POOL__PRIORITIES]; /* the most urgent first */
    uint32_t used; /* bit i: level i may hold something */
};

static inline void
pool__queue_init(struct pool__queue *q)
{
    q->used = 0;
    for (int i = 0; i < POOL__PRIORITIES; i++)
        pool__list_init(&q->levels[i]);
}

static inline void
pool__queue_append(struct pool__queue *q, struct pool_future *task)
{
    q->used |= 1u << task->priority;
    pool__list_append(&q->levels[task->priority], &task->node);
}

static inline void
pool__queue_prepend(struct pool__queue *q, struct pool_future *task)
{
    q->used |= 1u << task->priority;
    pool__list_prepend(&q->levels[task->priority], &task->node);
}

/* The next one; NULL: none. */
static inline struct pool_future *
pool__queue_first(struct pool__queue *q)
{
    while (q->used != 0) {
        int level = __builtin_ctz(q->used);
        if (!pool__list_empty(&q->levels[level]))
            return pool__list_entry(
                q->levels[level].next, struct pool_future, node);
        q->used &= q->used - 1;
    }
    return NULL;
}

/* What has waited for long is in no cache any more: fetch the task behind the
 * one that follows TASK, while those two are sent. Behind the last is a level.
 */
static inline void
pool__queue_fetch(const struct pool_future *task)
{
    pool__fetch(task->node.next->next, sizeof *task); /* it begins with node */
}

static inline struct pool_future *
pool__queue_pop(struct pool__queue *q)
{
    struct pool_future *task = pool__queue_first(q);

    if (task != NULL)
        pool__list_remove(&task->node);
    return task;
}

#endif
