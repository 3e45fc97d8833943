/* Tasks: the future object, its payload, who waits for it, and the one place
 * that settles it. */
#ifndef POOL_SRC_TASK_H
#define POOL_SRC_TASK_H

#include <pthread.h>
#include <string.h>

#include "list.h"
#include "mem.h"
#include "stats.h"

enum pool__task_state {
    POOL__TASK_PENDING, /* in the queue, or with a worker (proc != NULL) */
    POOL__TASK_VALUE,   /* from here on it has settled */
    POOL__TASK_FAILED,
    POOL__TASK_CANCELLED,
    POOL__TASK_FREED /* debug builds alone keep such */
};

/* Somebody who wants to know when a task settles: told once, inside settle,
 * after which it is in no list of the task's. */
struct pool__watcher {
    struct pool__list node;
    void (*settled)(struct pool__watcher *watcher, struct pool_future *task);
};

/* Something to tell the program at the next safe point. run may do anything
 * and ends the notice's life. */
struct pool__notice {
    struct pool__list node;
    size_t size; /* bytes that are kept until it is told, about */
    void (*run)(struct pool__notice *notice);
};

/* What the futures of a pool share; outlives the pool until the last of them
 * is freed. */
struct pool__core {
    struct pool *pool;    /* NULL: destroyed */
    uint64_t stamp;       /* of the process that owns it */
    const void *thread;   /* that drives it; NULL: it does not run yet */
    const void *alone;    /* the one that may call; NULL where it is threaded */
    bool threaded;        /* any thread may call: under lock */
    bool wake;            /* pool__leave has something to do */
    bool drain_wanted;    /* a submit was refused: tell when there is room */
    bool embedded;        /* somebody sleeps on the loop's descriptor */
    bool sliced;          /* large blocks are freed piece by piece */
    pthread_mutex_t lock; /* of a thread-driven pool; see guard.c */
    struct pool__list waiters; /* threads that wait */
    struct pool__list notices; /* for the program, oldest first */
    uint64_t noticed, told;    /* how many there were, and were told */
    size_t untold;             /* bytes of those that wait */
    struct pool__cells cells;
    size_t unsettled;
    size_t listeners; /* that are to hear of it at once */
    size_t cells_out; /* apart from unsettled: to count both by one instruction
                         would have to wait until the last free is stored */
    struct pool__list *handed_back; /* freed without the lock, the last first */
    struct pool__list *taken_back;  /* of those, still to be made cells */
    uint64_t last_number;           /* of a task: so many were submitted */
    void *trash;                    /* large blocks on their way out */
    void *spare; /* one that is kept for the next of its size */
    size_t spare_size;
    bool warm; /* results come by segments: theirs are kept, with pages */
    struct pool__stats stats;
};

#define POOL__TASK_ROOM 80 /* bytes of payload that need no block */
#define POOL__PRIORITIES (POOL_MAX_PRIORITY - POOL_MIN_PRIORITY + 1)

struct pool__job;
struct pool__group;

/* What few tasks have. The chunks of a scatter share one. */
struct pool__task_extra {
    size_t refs;     /* of tasks, and of who else keeps it */
    int deadline_ms; /* 0: none */
    uint8_t retries; /* how often it may be run again */
    uint8_t retry_on;
    struct pool__group *group;   /* of peers that share it; NULL: of none */
    void (*free_fn)(void *data); /* of an owned payload; NULL: nothing */
    struct pool__job *job;       /* of a chunk of a scatter */
    void (*unused)(struct pool__task_extra *extra); /* NULL: it is freed */
};

/* One reference less. */
void pool__extra_unref(struct pool__task_extra *extra);

/* Three cache lines. Beside the result itself the first is all that is read of
 * a settled one to give it and to free it. */
struct pool_future {
    struct pool__list node; /* in the queue; the first, see pool__queue_fetch */
    struct pool__core *core;
    void *block; /* arguments, later the result; NULL: room */
    struct pool__task_extra *extra; /* NULL: all defaults */
    uint32_t size;                  /* bytes of arguments or result */
    uint32_t estimate_ns;           /* how long it may run */
    uint32_t refs;                  /* of callers; see pool__task_hold */
    union {
        int32_t code;   /* of a settled one */
        uint32_t sends; /* of a pending one: how often it went to a worker */
    };
    uint16_t function;
    uint8_t state;
    uint8_t priority;   /* level of the queue, 0 is the first */
    bool lent : 1;      /* a channel reads its payload */
    bool owned : 1;     /* block was the caller's, see extra->free_fn */
    bool marked : 1;    /* while a wait looks for duplicates */
    uint8_t unused : 5; /* set, so that the byte need not be read */
    uint8_t attempts;
    uint8_t losses; /* workers that died when it was the next to run */
    uint8_t none;   /* so that no byte between is left unset */
    struct pool__list *watchers; /* a ring, the oldest; NULL: none */
    void *proc;                  /* that it was sent to */
    uint64_t ordinal;            /* there */
    uint64_t number;             /* in its pool, from 1 */
    uint64_t tag;
    union {
        pool_failure_t *failure; /* of a failed one; see pool_future_failure */
        uint64_t submitted_ns;   /* of a pending one, if it is sampled */
    };
    _Alignas(16) uint8_t room[POOL__TASK_ROOM];
};

struct pool__core *pool__core_new(void);
/* The pool is gone. */
void pool__core_release(struct pool__core *core);
/* Nobody can use it any more. */
static inline bool
pool__core_unused(const struct pool__core *core)
{
    return core->pool == NULL && core->cells_out == 0;
}
void pool__core_free(struct pool__core *core);
/* Somebody is to hear at once of what settles, or one fewer: then a thread
 * that waits doesn't lead. */
static inline void
pool__core_listen(struct pool__core *core, bool listens)
{
    core->listeners += listens ? 1 : (size_t)-1;
    core->wake |= core->threaded;
}

/* A pending task with room for SIZE bytes, one caller. block: the caller's
 * payload, which is taken over; NULL: make room. NULL: out of memory. */
static inline struct pool_future *pool__task_new(
    struct pool__core *core, size_t size, void *block);
/* It never started: forget it as if it had not been. An owned payload stays
 * the caller's. */
void pool__task_unmake(struct pool_future *task);

/* Arguments of a pending task, result of a settled one. */
static inline void *
pool__task_data(struct pool_future *task)
{
    return task->block != NULL ? task->block : task->room;
}

/* So many callers more, or fewer: how many there are then. It is changed under
 * the lock, but read without it too. */
static inline uint32_t
pool__task_hold(struct pool_future *task, int callers)
{
    uint32_t refs = task->refs + (uint32_t)callers;

    pool__store(&task->refs, refs);
    return refs;
}

/* One caller, or the channel that the payload was lent to, has done with it. */
static inline void pool__task_unref(struct pool_future *task);
void pool__task_returned(struct pool_future *task);

void pool__task_watch(struct pool_future *task, struct pool__watcher *watcher);
/* Harmless where it has been told. */
void pool__task_unwatch(
    struct pool_future *task, struct pool__watcher *watcher);

/* Settle: each may be called once for a pending task that no queue and no
 * channel holds. The task may be gone afterwards.
 * value: bytes are copied; with block, they are its beginning and the task
 *   takes it over. Out of memory settles it as failed. */
static inline void pool__task_value(
    struct pool_future *task, const void *data, size_t size, void *block);
/* failure's texts are copied; its other members are taken as they are. */
void pool__task_failed(struct pool_future *task, const pool_failure_t *failure);
void pool__task_cancelled(struct pool_future *task);

/* Why it failed; NULL: it has not. */
const pool_failure_t *pool__task_failure(const struct pool_future *task);

/* Have the notice run at the next safe point. */
void pool__notice_add(struct pool__core *core, struct pool__notice *notice);

/* Give back a block of SIZE bytes; a large one later, where the drive must not
 * stall. */
void pool__core_drop(struct pool__core *core, void *block, size_t size);
/* The same for one that another of that size will follow; and that, NULL: out
 * of memory. What is kept is the kernel's to take where memory is short. */
void pool__core_keep(struct pool__core *core, void *block, size_t size);
void *pool__core_take(struct pool__core *core, size_t size);
/* Large results come by segments now, or have ceased to. */
void pool__core_warm(struct pool__core *core, bool warm);
/* Free a part of what was dropped. False: nothing is left. */
bool pool__core_sweep_out(struct pool__core *core);

#define POOL__RESULTS_AHEAD 3u

/* Results are asked for in the order of submitting, and new tasks lie one
 * behind the other, most of the time: fetch what is read of one that may be
 * asked for soon, and has settled long ago. Nothing need be there. */
static inline void
pool__task_fetch_ahead(const struct pool_future *task)
{
    uintptr_t next = (uintptr_t)task + POOL__RESULTS_AHEAD * sizeof *task;

    pool__fetch((const void *)next, 2 * (size_t)POOL__CACHE_LINE);
}

/* Free a bare one that has a value, and whose last caller this is, with no
 * lock: its cell is taken back when one is wanted. False: take the lock, as the
 * pool is gone (or in debug builds, which look at it first). */
bool pool__task_hand_back(struct pool_future *task);

static inline bool
pool__task_settled(const struct pool_future *task)
{
    return task->state != POOL__TASK_PENDING;
}

/* The same of a value, with no lock: then the value is there too, whole, and
 * stays as it is until the last caller has done with it. */
static inline bool
pool__task_has_value(const struct pool_future *task)
{
    return pool__load(&task->state) == POOL__TASK_VALUE;
}

/* ---- what most tasks come to, inline ------------------------------------- */

struct pool_future *pool__task_new_with_block(
    struct pool__core *core, size_t size, void *block);
/* A cell where none is free; the pool is there. NULL: out of memory. */
void *pool__task_cell(struct pool__core *core);

_Static_assert(
    POOL__TASK_ROOM <= POOL__SHORT, "what is there is moved in place");
_Static_assert(offsetof(struct pool_future, room) <= 112,
    "a new member is set in pool__task_new_cell");

/* Member by member: a memset of this size becomes `rep stos`, which takes some
 * 15 ns to begin. */
static inline struct pool_future *
pool__task_new_cell(struct pool__core *core, size_t size)
{
    struct pool_future *task = pool__likely(core->cells.free != NULL)
                                   ? pool__cell_alloc(&core->cells)
                                   : pool__task_cell(core);

    if (pool__unlikely(task == NULL))
        return NULL;
    pool__list_init(&task->node);
    task->core = core;
    task->block = NULL;
    task->submitted_ns = 0;
    task->proc = NULL;
    task->ordinal = 0;
    task->number = 0;
    task->tag = 0;
    task->watchers = NULL;
    task->extra = NULL;
    task->size = (uint32_t)size;
    task->estimate_ns = 0;
    task->refs = 1;
    task->sends = 0;
    task->function = 0;
    task->state = POOL__TASK_PENDING;
    task->priority = POOL_MAX_PRIORITY; /* the level of priority 0 */
    task->lent = task->owned = task->marked = false;
    task->unused = 0;
    task->attempts = 0;
    task->losses = task->none = 0;
    core->cells_out++;
    core->unsettled++;
    core->stats.queued_bytes += size;
    return task;
}

static inline struct pool_future *
pool__task_new(struct pool__core *core, size_t size, void *block)
{
    return pool__likely(block == NULL && size <= POOL__TASK_ROOM)
               ? pool__task_new_cell(core, size)
               : pool__task_new_with_block(core, size, block);
}

/* Nobody holds it: free it, if it has settled and no channel reads it. */
void pool__task_free_if_done(struct pool_future *task);
void pool__task_value_slowly(
    struct pool_future *task, const void *data, size_t size, void *block);

/* Nothing hangs on it that is to be given back with it. */
static inline bool
pool__task_is_bare(const struct pool_future *task)
{
    /* Two in one: it is asked twice for each task. */
    return ((uintptr_t)task->block | (uintptr_t)task->extra) == 0 &&
           !task->lent;
}

static inline void
pool__task_free_cell(struct pool__core *core, struct pool_future *task)
{
    task->state = POOL__TASK_FREED;
    core->cells_out--;
    if (pool__unlikely(core->pool == NULL))
        core->wake = true;
#ifndef POOL_DEBUG /* else it stays as it is, to tell who frees it again */
    pool__cell_free(&core->cells, task);
#endif
}

static inline void
pool__task_unref(struct pool_future *task)
{
    if (pool__unlikely(pool__task_hold(task, -1) != 0))
        return;
    if (pool__likely(
            task->state == POOL__TASK_VALUE && pool__task_is_bare(task)))
        pool__task_free_cell(task->core, task);
    else
        pool__task_free_if_done(task);
}

/* Tell whoever is to hear that it has settled, and free it if it is done. */
void pool__task_tell(struct pool_future *task);

/* The one place where a future settles. */
static inline void
pool__task_settle(
    struct pool_future *task, enum pool__task_state state, int code)
{
    struct pool__core *core = task->core;

    task->code = code;
    pool__store(&task->state, (uint8_t)state);
    task->proc = NULL;
    core->unsettled--;
    if (pool__unlikely(
            core->drain_wanted || task->watchers != NULL || task->refs == 0))
        pool__task_tell(task);
}

static inline void
pool__task_value(
    struct pool_future *task, const void *data, size_t size, void *block)
{
    if (pool__unlikely(block != NULL || size > POOL__TASK_ROOM ||
                       !pool__task_is_bare(task))) {
        pool__task_value_slowly(task, data, size, block);
        return;
    }
    pool__stats_completed(&task->core->stats, task->size, size);
    task->size = (uint32_t)size;
    pool__move_short(task->room, data, size);
    pool__task_settle(task, POOL__TASK_VALUE, 0);
}

#endif
