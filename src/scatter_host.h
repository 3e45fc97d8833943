/* A scatter in the host: what its files share. */
#ifndef POOL_SRC_SCATTER_HOST_H
#define POOL_SRC_SCATTER_HOST_H

#include "pool.h"
#include "scatter.h"

struct pool_results {
    pool_local_results_t *ranks;
    size_t count, failed;
};

/* What restore has brought of one chunk. */
struct pool__restored {
    bool here;
    void *data;
    size_t size;
};

/* It lives until the program has freed it, each of its tasks is gone, and it
 * is on its way to be told nowhere: job.extra.refs counts them. */
struct pool_scatter {
    struct pool__job job; /* first: see scatter_of */
    struct pool__core *core;
    struct pool_results results;
    struct pool_future **futures;
    void *block; /* the arguments of all tasks, one after the other */
    size_t block_size;
    const char **names;              /* of columns, in job.record; or NULL */
    struct pool__restored *restored; /* while it is being made */

    /* settling */
    struct pool__watcher *watchers; /* one for each task */
    uint32_t *order;                /* ranks, as they settled */
    size_t settled;                 /* so many have; those restored first */
    size_t gathered;                /* of them, are in results */
    size_t started;                 /* in a serial pool: ranks below */
    bool builds;                    /* there are models */
    bool ended;                     /* and they were given back */
    bool freed;                     /* by the program */

    /* telling the program */
    struct pool__notice notice;
    bool noticed; /* it waits to be run */
    pool_settled_fn on_settled;
    pool_progress_fn on_progress;
    void *data;
    size_t told;        /* of the settled, were told */
    bool resumed;       /* that chunks were restored is to be told */
    bool in_hook;       /* one of the two runs */
    int stop;           /* what on_settled has returned, below 0; or 0 */
    size_t ran;         /* rows that were run, of those told */
    uint64_t began_ns;  /* when it was started */
    uint64_t pause_ns;  /* least time between two calls of on_progress */
    uint64_t called_ns; /* when it was called last; 0: never */
    pool_progress_t progress;
};

static inline struct pool_scatter *
pool__scatter_of(const struct pool_future *task)
{
    return (struct pool_scatter *)(void *)task->extra->job;
}

static inline bool
pool__scatter_settled(const struct pool_scatter *s)
{
    return s->settled == s->results.count;
}

/* ---- scatter_check.c ---------------------------------------------------- */

/* 0, or why the job is refused, with a message that names the member. */
int pool__job_check(const pool_job_t *job);

/* ---- scatter_deal.c: rows to chunks -------------------------------------- */

/* Make the chunks and the record; ranks and results are made. 0, POOL_ETOOBIG
 * or POOL_ENOMEM: what was made is the scatter's. */
int pool__scatter_deal(
    struct pool_scatter *s, const struct pool *pool, const pool_job_t *job);
/* How many chunks there will be. */
size_t pool__scatter_chunks(const struct pool *pool, const pool_job_t *job);
/* The arguments of a rank's task. */
void *pool__scatter_payload(
    const struct pool_scatter *s, size_t rank, size_t *size);

/* ---- scatter_tell.c: settled chunks ---------------------------------------
 */

/* A rank's task is about to be started: see to what follows. */
void pool__scatter_watch(struct pool_scatter *s, size_t rank);
/* That rank has settled. */
void pool__scatter_note(struct pool_scatter *s, size_t rank);
/* Whether there is something to tell the program. */
bool pool__scatter_untold(const struct pool_scatter *s);
/* Have it told. */
void pool__scatter_tell(struct pool_scatter *s);
/* Cancel what has not begun. */
void pool__scatter_cancel(struct pool_scatter *s);
/* What a rank returned, or why it did not. */
void pool__scatter_fill(
    const struct pool_scatter *s, size_t rank, pool_local_results_t *local);

#endif
