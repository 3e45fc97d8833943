/* The scheduler of one pool: the queue of tasks, which worker gets what, how
 * long a task may run, and how long a worker serves. */
#ifndef POOL_SRC_SCHED_H
#define POOL_SRC_SCHED_H

#include "function.h"
#include "group.h"
#include "job.h"
#include "queue.h"
#include "table.h"

/* What the program asked for; 0: no limit. */
struct pool__policy {
    int deadline_ms;       /* of a task that has none of its own */
    int min_workers;       /* that stay when idle */
    int idle_timeout_ms;   /* of the others */
    uint64_t max_tasks;    /* of one worker */
    uint64_t max_age_ms;   /* of one worker */
    uint64_t max_rss;      /* bytes of one worker */
    uint64_t max_argument; /* bytes that go to a worker at once */
    uint32_t max_in_task;  /* bytes of a result that a task has room for */
    bool strict;           /* a death breaks the pool */
};

struct pool__sched {
    struct pool__core *core;
    struct pool__table *table;
    struct pool__policy policy;
    struct pool__functions functions;
    struct pool__queue queue;
    struct pool__list groups; /* of peers that wait to start together */
    struct pool__list ranks;  /* tasks of those that started and that no
                                 worker has: the next ones, whatever waits */
    bool urgent;              /* what is buffered is waited for */
    bool stirred;             /* a rank has settled: who waits may start now */
    bool halted;  /* nothing is given out: what is queued is cancelled */
    bool closing; /* what runs is cancelled too */
    bool tiny;    /* the last one that was chosen takes next to nothing */
    int cpus;     /* that the process may use */
    int quick;    /* procs that hold tasks, and quick ones alone, and may have
                     more; not those that were passed over */
    struct pool__list idle;  /* procs that hold nothing, last used first */
    struct pool__list fed;   /* procs that hold something and may hold more */
    struct pool__list dirty; /* procs with buffered frames */
    struct {                 /* new tasks that one worker is given in a row */
        struct pool__proc *proc;
        unsigned left;      /* that may follow; 0 once any worker is placed */
        uint32_t most_ns;   /* that one of them may take */
        uint32_t most_size; /* bytes of its arguments */
    } run;
    struct { /* nobody was fed, and nobody idle was woken for the first of the
                queue: who comes behind it need not ask */
        const struct pool_future *first; /* NULL: not known, or placed since */
        bool crowded;                    /* it was then */
    } sated;
    uv_timer_t sweep;
    uv_timer_t deadline; /* when a task may be late */
    uv_timer_t life;     /* when a worker may have served long enough */
    uv_timer_t tidy;     /* when large payloads may have ceased */
};

void pool__sched_init(struct pool__sched *sched, struct pool__core *core,
    struct pool__table *table);
void pool__sched_close(struct pool__sched *sched); /* its handles */
void pool__sched_fini(struct pool__sched *sched);

/* Queue a new task, and start it where a worker has room. */
static inline void pool__sched_submit(
    struct pool__sched *sched, struct pool_future *task);
/* See to it that what is buffered, for all or for one, is taken. */
void pool__sched_flush(struct pool__sched *sched);
void pool__sched_flush_one(struct pool__sched *sched, struct pool__proc *proc);
/* Whether a worker runs it. */
bool pool__sched_running(const struct pool_future *task);
/* Look into the pipes and reply buffers of all workers: sweep.c. */
void pool__sched_look(struct pool__sched *sched);

/* Events of procs. */
void pool__sched_ready(struct pool__sched *sched, struct pool__proc *proc);
void pool__sched_reply(void *proc, void *task, const struct pool__frame *frame,
    const void *payload, void *block);
/* The worker may have room again: give out what fits. */
void pool__sched_progress(struct pool__sched *sched, struct pool__proc *proc);

/* Tell the workers that know of it that a scatter is over. soon: they have
 * something to give back; else the next task takes the word along. */
void pool__sched_end_scatter(
    struct pool__sched *sched, uint64_t scatter, bool soon);

/* Whether there is more than one worker may hold. */
static inline bool
pool__sched_crowded(const struct pool__sched *sched)
{
    return sched->core->unsettled > POOL__RING;
}

/* ---- within the scheduler ---------------------------------------------- */

/* Tasks that take less don't sleep: more workers than CPUs would only take
 * turns at them. */
#define POOL__QUICK_NS 5000u
/* The longest task that may wait behind one that runs: to wake a worker for it
 * costs some per cent of that. */
#define POOL__NEXT_NS 5000000u

/* sched_pick.c: whose turn it is */

/* Put a proc where its state says. */
void pool__sched_place(struct pool__sched *sched, struct pool__proc *proc);
/* It gets no more: it is in no list. */
void pool__sched_displace(struct pool__sched *sched, struct pool__proc *proc);
/* Who takes a task that may run this long; NULL: it must wait. */
struct pool__proc *pool__sched_pick(
    struct pool__sched *sched, uint32_t estimate_ns);
/* How much work a worker is given in quick tasks: less where another could be
 * woken for them. */
uint32_t pool__sched_most_quick_ns(const struct pool__sched *sched);

/* sched.c: what is given out */

void pool__sched_run(struct pool__sched *sched);
/* Take back what PROC has not begun, from ordinal FIRST on. */
void pool__sched_take_back(
    struct pool__sched *sched, struct pool__proc *proc, uint64_t first);
/* Not begun: back to the head of its queue; called from the newest on. */
void pool__sched_requeue(struct pool__sched *sched, struct pool_future *task);
/* A run of the task has failed: settle it, or run it again. */
void pool__sched_failed(struct pool__sched *sched, struct pool_future *task,
    const pool_failure_t *failure);

/* sweep.c: what no event tells */

/* It runs, till nobody needs it. */
void pool__sched_keep_sweeping(struct pool__sched *sched);
void pool__sched_on_sweep(uv_timer_t *timer);
/* Large payloads come and go: give their pages back when they have ceased. */
void pool__sched_tidy_later(struct pool__sched *sched);

/* sched_end.c: the end of tasks and workers */

/* Take a pending task out. False: it has been claimed. */
bool pool__sched_take(struct pool__sched *sched, struct pool_future *task);
/* Take a running task out and kill its worker. False: it has settled. */
bool pool__sched_take_running(
    struct pool__sched *sched, struct pool_future *task);
void pool__sched_ended(struct pool__sched *sched, struct pool__proc *proc);
/* PROC holds tasks with deadlines: see to it that they are kept. */
void pool__sched_watch_deadline(
    struct pool__sched *sched, struct pool__proc *proc);
void pool__sched_on_deadline(uv_timer_t *timer);
/* Cancel what no worker has begun; with RUNNING the rest too: their workers
 * are about to be killed. False: the budget ended it, call again. */
bool pool__sched_cancel_some(struct pool__sched *sched, bool running);
/* In a foreign fork child: cancel this process's copies, tell no worker. */
void pool__sched_forget(struct pool__sched *sched);
/* No worker will come: fail what is queued, with RUNNING all there is. */
void pool__sched_fail_all(
    struct pool__sched *sched, bool running, int code, const char *message);

/* life.c: how long a worker serves */

/* PROC has settled what came at once: has it served enough? */
void pool__life_look(struct pool__sched *sched, struct pool__proc *proc);
/* Retire those for whom others have come. */
void pool__life_release(struct pool__sched *sched);
void pool__life_on_timer(uv_timer_t *timer);
/* There may be WORKERS at most from now on. */
void pool__life_resize(struct pool__sched *sched, int workers);

/* Where the run time of such tasks is kept. */
static inline uint32_t *
pool__sched_mean(struct pool__sched *s, const struct pool_future *task)
{
    struct pool__job *job = pool__job_of(task);

    return pool__likely(job == NULL)
               ? &s->functions.list[task->function].mean_ns
               : &job->mean_ns;
}

/* How long the task may run, ms; 0: for ever. */
static inline int
pool__sched_limit(const struct pool__sched *s, const struct pool_future *task)
{
    return pool__likely(task->extra == NULL) ? s->policy.deadline_ms
                                             : task->extra->deadline_ms;
}

/* ---- what most tasks come to, inline ------------------------------------- */

/* A task that may be any: by the queue, though it may leave that at once. */
void pool__sched_submit_any(
    struct pool__sched *sched, struct pool_future *task);
/* Whether what few tasks have lets this one follow: it is no chunk, whose
 * record may have to go first, and a limit that it has is watched. */
bool pool__sched_extra_follows(
    const struct pool__sched *sched, const struct pool_future *task);
/* The run ends with TASK, whose sending returned RC: see to what is due;
 * another may begin. */
void pool__sched_run_over(
    struct pool__sched *sched, struct pool_future *task, int rc);

/* Put the frame of a task into PROC's buffer; its worker knows the function. As
 * pool__channel_send. */
static inline int
pool__sched_send(
    struct pool__sched *s, struct pool__proc *proc, struct pool_future *task)
{
    struct pool__frame frame = {.type = POOL__FRAME_CALL,
        .size = task->size,
        .flags = task->function,
        .id = pool__frame_id(task->number, task->sends++)};
    int rc = pool__channel_send(
        &proc->channel, task, frame, pool__task_data(task), &task->ordinal);

    if (pool__unlikely(rc < 0))
        return rc;
    task->proc = proc;
    task->attempts++;
    proc->sched.given++;
    proc->sched.queued_ns += task->estimate_ns;
    s->core->stats.bytes_sent += task->size;
    return rc;
}

/* Something is buffered for it. */
static inline void
pool__sched_has_frames(struct pool__sched *s, struct pool__proc *proc)
{
    if (pool__list_empty(&proc->sched.dirty))
        pool__list_append(&s->dirty, &proc->sched.dirty);
}

/* Whether a new task is like those of the run, if there is one. */
static inline bool
pool__sched_follows(const struct pool__sched *s, struct pool_future *task)
{
    if (s->run.left == 0 || s->queue.used != 0 ||
        task->function >= s->run.proc->sched.functions ||
        (pool__unlikely(task->extra != NULL) &&
            !pool__sched_extra_follows(s, task)))
        return false;
    task->estimate_ns = s->functions.list[task->function].mean_ns;
    return task->estimate_ns - 1 < s->run.most_ns && /* 0: not known */
           task->size <= s->run.most_size;
}

static inline void
pool__sched_submit(struct pool__sched *s, struct pool_future *task)
{
    struct pool__proc *proc = s->run.proc;

    if (pool__unlikely(!pool__sched_follows(s, task))) {
        pool__sched_submit_any(s, task);
        return;
    }
    int rc = pool__sched_send(s, proc, task);
    pool__sched_has_frames(s, proc);
    if (pool__unlikely(--s->run.left == 0 || rc < 0))
        pool__sched_run_over(s, task, rc);
}

#endif
