/* The scheduler: what workers answer. */
#include "sched.h"

#include "proto.h"

/* The mean of the last eight or so, to some ns; at least 1, and no more than
 * fits. */
static void
measure(uint32_t *mean_ns, uint64_t ns)
{
    uint32_t mean = *mean_ns;
    uint32_t last = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;

    if (pool__unlikely(mean == 0))
        mean = last != 0 ? last : 1;
    *mean_ns = mean - mean / 8 + last / 8;
}

/* A worker said what it may not say about a task; the channel is not asked
 * any more. */
static void
broke_protocol(
    struct pool__proc *proc, struct pool_future *task, const char *what)
{
    pool_failure_t failure = {.code = POOL_EPROTO,
        .message = what,
        .pid = proc->pid,
        .exit_status = -1};

    pool__task_failed(task, &failure);
    pool__channel_violate(&proc->channel, what);
}

static bool
is_retried(
    const struct pool__sched *s, const struct pool_future *task, int code)
{
    const struct pool__task_extra *extra = task->extra;

    if (extra == NULL || task->attempts > extra->retries ||
        s->table->wanted == 0)
        return false; /* none left, or nobody to run it */
    return code == POOL_EDIED ||
           (code == POOL_EDEADLINE &&
               (extra->retry_on & POOL_RETRY_DEADLINE)) ||
           (code == POOL_ETASK && (extra->retry_on & POOL_RETRY_TASK));
}

void
pool__sched_failed(struct pool__sched *s, struct pool_future *task,
    const pool_failure_t *failure)
{
    if (!is_retried(s, task, failure->code)) {
        pool__task_failed(task, failure);
        return;
    }
    task->proc = NULL;
    s->core->stats.retried++;
    pool__queue_append(&s->queue, task);
}

static void
fail_as_told(struct pool__sched *s, struct pool__proc *proc,
    struct pool_future *task, const struct pool__frame *frame,
    const void *payload)
{
    struct pool__error error;

    if (!pool__error_decode(payload, frame->size, &error)) {
        broke_protocol(proc, task, "an error that is none");
        return;
    }
    pool_failure_t failure = {.code = error.code,
        .task_code = error.task_code,
        .message = error.message,
        .pid = proc->pid,
        .exit_status = -1};
    pool__sched_failed(s, task, &failure);
}

/* It ran: for how long, as its worker says. */
static inline void
note_run(struct pool__sched *s, struct pool__proc *proc,
    const struct pool_future *task, uint32_t *mean_ns, uint16_t packed)
{
    uint64_t ns = pool__duration_unpack(packed);

    proc->useful = true;
    proc->sched.slow = false;
    measure(mean_ns, ns);
    pool__durations_add(&s->core->stats.run_time, packed, ns);
    proc->sched.queued_ns -= task->estimate_ns;
}

static pool__apart void
reply_of_any(struct pool__sched *s, struct pool__proc *proc,
    struct pool_future *task, const struct pool__frame *frame,
    const void *payload, void *block)
{
    if (pool__peers_inside(pool__member_of(task))) {
        proc->useful = true;
        pool__free(block);
        broke_protocol(proc, task, "a result from inside a collective");
        return;
    }
    note_run(s, proc, task, pool__sched_mean(s, task), frame->flags);
    if (frame->type == POOL__FRAME_REPLY &&
        frame->size <= s->table->template.max_result) {
        pool__task_value(task, payload, frame->size, block);
        return;
    }
    if (frame->type == POOL__FRAME_REPLY)
        broke_protocol(proc, task, "a result above the limit");
    else
        fail_as_told(s, proc, task, frame, payload);
    pool__free(block);
}

pool__hot void
pool__sched_reply(void *from, void *answered, const struct pool__frame *frame,
    const void *payload, void *block)
{
    struct pool__proc *proc = from;
    struct pool_future *task = answered;
    struct pool__sched *s = proc->sched.of;

    pool__channel_fetch(&proc->channel, sizeof *task);
    if (pool__unlikely(task->extra != NULL || block != NULL ||
                       frame->type != POOL__FRAME_REPLY ||
                       frame->size > s->policy.max_in_task)) {
        reply_of_any(s, proc, task, frame, payload, block);
        return;
    }
    note_run(s, proc, task, &s->functions.list[task->function].mean_ns,
        frame->flags);
    pool__task_value(task, payload, frame->size, NULL);
}

void
pool__sched_progress(struct pool__sched *s, struct pool__proc *proc)
{
    pool__sched_place(s, proc);
    if (pool__unlikely(proc->sched.timed))
        pool__sched_watch_deadline(s, proc);
    pool__life_look(s, proc);
    pool__sched_run(s);
}

void
pool__sched_ready(struct pool__sched *s, struct pool__proc *proc)
{
    s->core->stats.workers_started++;
    proc->sched.of = s;
    pool__sched_place(s, proc);
    pool__sched_run(s);
    pool__life_look(s, proc);
    pool__life_release(s);
}
