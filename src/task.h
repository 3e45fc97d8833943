/* Tasks: the future object, its payload, and the one place that settles it. */
#ifndef POOL_SRC_TASK_H
#define POOL_SRC_TASK_H

#include "forkpool.h"
#include "list.h"
#include "mem.h"
#include "proto.h"

enum pool__task_state {
    POOL__TASK_PENDING, /* in the queue, or with a worker (proc != NULL) */
    POOL__TASK_VALUE,   /* from here on it has settled */
    POOL__TASK_FAILED,
    POOL__TASK_CANCELLED
};

/* What the futures of a pool share; outlives the pool until the last of them
 * is freed. */
struct pool__core {
    struct pool *pool; /* NULL: destroyed */
    uint64_t stamp;    /* of the process that owns it */
    const void *thread;
    struct pool__cells cells;
    size_t cells_out;
    size_t unsettled;
    size_t waited_done, waited_failed; /* of futures marked `waited` */
    uint64_t next_id;
};

#define POOL__TASK_ROOM 80 /* bytes of payload that need no block */

struct pool_future {
    struct pool__list node; /* in the queue */
    struct pool__core *core;
    uint8_t *data;           /* arguments, later the result */
    void *block;             /* what to free for data; NULL: room */
    pool_failure_t *failure; /* of a failed one; see pool_future_failure */
    void *proc;              /* that it was sent to */
    uint64_t ordinal;        /* there */
    uint64_t tag;
    uint32_t size;        /* bytes at data */
    uint32_t estimate_ns; /* how long it may run */
    uint32_t refs;        /* of callers; 0: detached */
    int32_t code;         /* once settled */
    uint16_t function;
    uint8_t state;
    bool lent;    /* a channel reads data */
    bool waited;  /* a pool_wait counts its end */
    bool counted; /* a pool_wait has seen it */
    uint8_t attempts;
    uint8_t losses; /* workers that died when it was the next to run */
    _Alignas(16) uint8_t room[POOL__TASK_ROOM];
};

struct pool__core *pool__core_new(void);
/* The pool is gone. */
void pool__core_release(struct pool__core *core);

/* A pending task with room for SIZE bytes at data, one caller. NULL: out of
 * memory. */
struct pool_future *pool__task_new(struct pool__core *core, size_t size);

/* One caller, or the channel that data was lent to, has done with it. */
void pool__task_unref(struct pool_future *task);
void pool__task_returned(struct pool_future *task);

/* Settle: each may be called once for a pending task that no queue and no
 * channel holds. The task may be gone afterwards.
 * value: bytes are copied; with block, they are its beginning and the task
 *   takes it over. Out of memory settles it as failed. */
void pool__task_value(
    struct pool_future *task, const void *data, size_t size, void *block);
/* failure's message is copied; its other members are taken as they are. */
void pool__task_failed(struct pool_future *task, const pool_failure_t *failure);
void pool__task_cancelled(struct pool_future *task);

static inline bool
pool__task_settled(const struct pool_future *task)
{
    return task->state != POOL__TASK_PENDING;
}

#endif
