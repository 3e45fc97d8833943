/* A pool: what its public functions share. */
#ifndef POOL_SRC_POOL_H
#define POOL_SRC_POOL_H

#include "call.h"
#include "sched.h"

struct pool {
    struct pool__core *core;
    struct pool__table table; /* not of a serial pool */
    struct pool__sched sched;
    uv_loop_t loop;
    uv_timer_t wait_timer;
    uv_prepare_t wait_prepare;
    bool (*wait_done)(void *); /* what is waited for */
    void *wait_data;
    bool timed_out; /* wait_timer fired */
    bool driving;   /* inside the loop, or a serial task */
    bool shut;      /* no more submits */
    bool broken;    /* no workers to be had */
    bool destroyed; /* as soon as driving ends */
    bool serial;
    int workers;
    size_t last_ranks;        /* of the last scatter; 0: none yet */
    size_t max_pending;       /* 0: no limit */
    size_t max_argument;      /* bytes */
    uint64_t max_result;      /* bytes */
    struct pool__list models; /* of a serial pool */
    struct pool__list waited; /* among the pools of one pool_wait */
};

/* 0, or why this pool can't be used here. who: the public function. */
int pool__check(const struct pool *pool, const char *who);
/* The same for what outlives a pool. */
int pool__check_core(const struct pool__core *core, const char *who);
/* 0 or POOL_EINVAL for a timeout below -1. */
int pool__check_timeout(int timeout_ms, const char *who);

/* Run the loop until done(data), for at most timeout_ms. 0, POOL_ETIMEDOUT,
 * or POOL_EDEADLK from inside the loop. */
int pool__drive(struct pool *pool, bool (*done)(void *), void *data,
    int timeout_ms, const char *who);
/* Its handles in the loop. */
void pool__drive_init(struct pool *pool);
void pool__drive_close(struct pool *pool);
/* Do once what can be done without waiting. */
void pool__drive_once(struct pool *pool);

/* A new task for fn with SIZE bytes of room; it must be started next. */
int pool__task_prepare(struct pool *pool, const char *who, pool_fn fn,
    size_t size, struct pool_future **task);
/* At the end of a public function that may have run tasks. */
void pool__leave(struct pool *pool);
/* Start it; future: NULL detaches it. */
void pool__task_start(struct pool *pool, struct pool_future *task, pool_fn fn,
    struct pool_future **future);

#endif
