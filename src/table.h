/* The worker table of one pool: which workers there are, and that there are
 * as many as wanted. */
#ifndef POOL_SRC_TABLE_H
#define POOL_SRC_TABLE_H

#include "proc.h"
#include "proto.h"
#include "stats.h"

struct pool__table;

struct pool__table_events {
    struct pool__channel_events channel; /* of each proc; owners are procs;
                                            hello is the table's own */
    void (*ready)(struct pool__table *table, struct pool__proc *proc);
    /* What it holds must be abandoned now. */
    void (*ended)(struct pool__table *table, struct pool__proc *proc);
    /* It is broken: no worker lives and none can be started, or a death ends
     * it all. */
    void (*broken)(struct pool__table *table, const char *why);
    /* Something that a maintainer should read. */
    void (*notable)(struct pool__table *table, pid_t pid, const char *text);
};

struct pool__table {
    uv_loop_t *loop;
    const struct pool__table_events *events;
    struct pool__proc_events proc_events;
    pool__worker_fn run;
    struct pool__inbox inbox;
    struct pool__forkserver forkserver;
    uv_poll_t *reports; /* its socket in the loop; NULL: it is gone, or workers
                           have another maker */
    uv_timer_t backoff;
    struct pool__stats *stats;
    struct pool__list procs;             /* all that are not closed */
    struct pool__worker_config template; /* what all workers have alike */
    const uint8_t *setup;                /* the caller's: CBOR "ttay", where
                                            template.has_setup says so */
    size_t setup_size;
    char start_message[POOL__MESSAGE_MAX]; /* of the last initializer that
                                              failed; "" */
    uint64_t spin_ns; /* how long a worker looks for more before it sleeps */
    int grace_ms;
    int start_wait_ms; /* until a worker must be ready; 0: no limit */
    int max_failures;  /* in a row, with no worker alive: broken */
    int workers;       /* how many there may be at most */
    int wanted;        /* how many there should be now */
    int living;        /* asked for and not ended, without those that leave */
    int leaving;       /* that are on their way out */
    int spawning;      /* asked for and not answered */
    int ready;         /* of the living, able to serve */
    int failures;      /* starts that failed, since the last that did not */
    int error;         /* of the last of them */
    bool broken;
    bool ending; /* the forkserver was asked to end */
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
/* Count a worker no more: it is on its way out, and another may be started. */
void pool__table_leave(struct pool__table *table, struct pool__proc *proc);
/* No more workers: tell `broken`, once. */
void pool__table_break(struct pool__table *table, const char *why);
/* Want none: each worker gets the event (RETIRE, TERM or KILL). */
void pool__table_stop(struct pool__table *table, enum pool__proc_event event);
/* No worker uses its segment any more, and none that comes has one. */
void pool__table_withhold(struct pool__table *table);
/* All procs are gone: let the forkserver go. */
void pool__table_end(struct pool__table *table);
/* Its task pipe was written to, and somebody may have to pass that on. */
static inline void
pool__table_pass(struct pool__table *table, const struct pool__proc *proc)
{
    const struct pool__maker *maker = table->forkserver.maker;

    if (maker != NULL && maker->pass != NULL)
        maker->pass(&table->forkserver, proc->config.incarnation);
}
/* Have in the pipes what workers have sent, where it doesn't come by itself.
 * Whether there was some. */
static inline bool
pool__table_bring(struct pool__table *table)
{
    const struct pool__maker *maker = table->forkserver.maker;

    return maker != NULL && maker->look != NULL &&
           maker->look(&table->forkserver);
}
/* Whether a worker more can be had. */
static inline bool
pool__table_has_room(const struct pool__table *table)
{
    int most = table->forkserver.most;

    return most == 0 || table->living + table->leaving < most;
}
/* What workers know a function as: see pool__call_resolve. */
static inline uint64_t
pool__table_refer(const struct pool__table *table, uintptr_t address)
{
    if (!table->forkserver.foreign || address == 0)
        return address;
    return pool__modules_refer(&table->forkserver.modules, address);
}
static inline bool
pool__table_ended(const struct pool__table *table)
{
    return pool__list_empty(&table->procs) && table->reports == NULL;
}
/* It has ended: close what is left in the loop. */
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
