/* What the chunks of a scatter have in common, as the scheduler sees it. */
#ifndef POOL_SRC_JOB_H
#define POOL_SRC_JOB_H

#include "table.h"
#include "task.h"

struct pool__job {
    struct pool__task_extra extra; /* of each chunk: extra.job is this */
    uint64_t number;               /* of the scatter in this process */
    uint8_t *record;    /* what a worker must know of it; see call.h */
    size_t record_size; /* bytes */
    uint32_t mean_ns;   /* run time of its chunks; 0: not measured */
};

/* That of a task; NULL: it is no chunk. */
static inline struct pool__job *
pool__job_of(const struct pool_future *task)
{
    return pool__unlikely(task->extra != NULL) ? task->extra->job : NULL;
}

/* The worker must know the job before it runs a chunk: send the record, once.
 * 0 or POOL_ENOMEM. */
int pool__job_introduce(struct pool__proc *proc, const struct pool__job *job);
/* It is over. False: the worker was never told of it. */
bool pool__job_forget(struct pool__proc *proc, uint64_t number);

#endif
