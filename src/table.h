/* The worker table of one pool: which workers there are, and that there are
 * as many as wanted. */
#ifndef POOL_SRC_TABLE_H
#define POOL_SRC_TABLE_H

#include "forkpool.h"
#include "proc.h"

struct pool__table;

struct pool__table_events {
    struct pool__channel_events channel; /* of each proc; owners are procs;
                                            hello is the table's own */
    void (*ready)(struct pool__table *table, struct pool__proc *proc);
    /* What it holds must be abandoned now. */
    void (*ended)(struct pool__table *table, struct pool__proc *proc);
    /* No worker lives and none can be started. */
    void (*broken)(struct pool__table *table);
};

struct pool__table {
    uv_loop_t *loop;
    const struct pool__table_events *events;
    struct pool__proc_events proc_events;
    pool__worker_fn run;
    struct pool__inbox inbox;
    struct pool__forkserver forkserver;
    uv_poll_t *reports; /* its socket in the loop; NULL: it is gone */
    uv_timer_t backoff;
    struct pool__list procs; /* all that are not closed */
    uint64_t max_result;
    int grace_ms;
    int workers;  /* how many there may be at most */
    int wanted;   /* how many there should be now */
    int living;   /* asked for and not ended */
    int spawning; /* of them, asked for and not answered */
    int ready;    /* of them, able to serve */
    int failures; /* starts that failed, since the last one that did not */
    int error;    /* of the last of them */
    bool broken;
    uint8_t numbers[(POOL_MAX_WORKERS + 7) / 8]; /* in use */
};

/* Take a forkserver over and start `workers` workers. */
int pool__table_init(struct pool__table *table, uv_loop_t *loop,
    struct pool__forkserver *forkserver, pool__worker_fn run,
    const struct pool__table_events *events);
/* Whether starting failed and is tried again later. */
bool pool__table_waits(const struct pool__table *table);
/* Start what is missing to the number wanted. */
void pool__table_fill(struct pool__table *table);
/* Want none: each worker gets the event (RETIRE, TERM or KILL). */
void pool__table_stop(struct pool__table *table, enum pool__proc_event event);
/* All procs are gone: close what is left in the loop. */
void pool__table_close(struct pool__table *table);
/* The loop has run its closing callbacks: give the rest back. */
void pool__table_fini(struct pool__table *table);
/* In a foreign fork child, whose copy of the loop is its own already: close
 * the copies of the handles, and tell nobody. */
void pool__table_forget(struct pool__table *table);

#define pool__table_each(proc, table)                                          \
    pool__list_each(                                                           \
        proc##_node, &(table)->procs) for (struct pool__proc *proc =           \
                                               pool__list_entry(proc##_node,   \
                                                   struct pool__proc, node);   \
                                           proc != NULL; proc = NULL)

#endif
