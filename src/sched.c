/* The scheduler: who gets what. How tasks and workers end is in sched_end.c.
 *
 * Invariants: a pending task is in the queue or in one channel, never both
 * (task->proc tells). A proc that serves is idle, fed, or full and in neither
 * list; one that is closed gets no more. */
#define _GNU_SOURCE
#include "sched.h"

#include <string.h>

#include "budget.h"
#include "proto.h"

#define AHEAD_NS 1000000u /* work queued at a worker */
/* The longest task that may wait behind one that runs: to wake a worker for it
 * costs some per cent of that. */
#define NEXT_NS 5000000u
#define PLENTY 4u /* tasks a worker: fewer are kept for whoever is idle */
/* Tasks that take less don't sleep: more workers than CPUs would only take
 * turns at them. */
#define QUICK_NS 5000u
#define RUN_MOST 64 /* such tasks that one worker is given in a row */
#define LOOKS 4     /* at workers that may take a task */
#define SWEEP_MS 10
#define SAMPLED_FIRST 1024u /* tasks whose time in the queue is measured */
#define SAMPLED_EACH 16u    /* and of the later ones every so many'th */

static struct pool__proc *
proc_at(struct pool__list *node)
{
    return pool__list_entry(node, struct pool__proc, sched.place);
}

/* ---- giving out ------------------------------------------------------- */

/* Whether it may be given another task before it retires. */
static bool
may_have_more(const struct pool__sched *s, const struct pool__proc *proc)
{
    uint64_t most = s->policy.max_tasks;

    return !proc->sched.closed && (most == 0 || proc->sched.given < most);
}

/* Whether one more may wait behind the one that runs there. */
static bool
takes_next(const struct pool__proc *proc)
{
    return proc->channel.held == 1 && proc->sched.queued_ns < NEXT_NS;
}

/* Whether it counts among those that are busy with quick tasks. */
static void
count_quick(struct pool__sched *s, struct pool__proc *proc, bool quick)
{
    s->quick += quick - proc->sched.counted;
    proc->sched.counted = quick;
}

void
pool__sched_displace(struct pool__sched *s, struct pool__proc *proc)
{
    pool__list_remove(&proc->sched.place);
    pool__list_remove(&proc->sched.dirty);
    count_quick(s, proc, false);
}

void
pool__sched_place(struct pool__sched *s, struct pool__proc *proc)
{
    bool serves = pool__proc_serves(proc);

    pool__list_remove(&proc->sched.place);
    count_quick(
        s, proc, serves && proc->channel.held != 0 && proc->sched.quick);
    if (!serves || !pool__channel_has_room(&proc->channel))
        return;
    if (proc->channel.held == 0) {
        proc->sched.queued_ns = 0;
        proc->sched.timed = false;
        proc->sched.idle_since_ms = uv_now(s->table->loop);
    }
    if (!may_have_more(s, proc))
        return;
    if (proc->channel.held == 0 && proc->sched.slow)
        pool__list_append(&s->idle, &proc->sched.place); /* as a last resort */
    else if (proc->channel.held == 0)
        pool__list_prepend(&s->idle, &proc->sched.place);
    else if (proc->sched.queued_ns < AHEAD_NS || takes_next(proc))
        pool__list_append(&s->fed, &proc->sched.place);
}

/* Whether somebody who is idle takes a task that may run this long. */
static bool
wakes_idle(const struct pool__sched *s, uint32_t estimate_ns)
{
    return !pool__list_empty(&s->idle) &&
           (estimate_ns >= QUICK_NS || s->quick < s->cpus);
}

/* Who takes a task that may run this long; NULL: it must wait. */
static struct pool__proc *
pick(struct pool__sched *s, uint32_t estimate_ns)
{
    if (wakes_idle(s, estimate_ns))
        return proc_at(s->idle.next);
    if (estimate_ns >= NEXT_NS)
        return NULL;
    bool plenty = s->core->unsettled > PLENTY * (size_t)(s->table->ready + 1);
    int looks = 0;
    pool__list_each(node, &s->fed)
    {
        struct pool__proc *proc = proc_at(node);
        if ((estimate_ns < AHEAD_NS && proc->sched.queued_ns < AHEAD_NS) ||
            (plenty && takes_next(proc)))
            return proc;
        if (++looks == LOOKS)
            break;
    }
    return NULL;
}

/* The worker must know a function before it is called. */
static int
introduce(struct pool__sched *s, struct pool__proc *proc, uint16_t number)
{
    uint8_t payload[16];
    size_t size;

    while (proc->sched.functions <= number) {
        uint64_t address = pool__table_refer(
            s->table, (uintptr_t)s->functions.list[proc->sched.functions].fn);
        pool_encode(payload, sizeof payload, &size, "t", address);
        struct pool__frame hello = {
            .type = POOL__FRAME_HELLO, .size = (uint32_t)size};
        if (pool__channel_control(&proc->channel, &hello, payload) < 0)
            return POOL_ENOMEM;
        proc->sched.functions++;
    }
    return 0;
}

static void
fail_without_memory(struct pool_future *task)
{
    static const pool_failure_t failure = {.code = POOL_ENOMEM,
        .message = "no memory to send the task",
        .exit_status = -1};

    pool__task_failed(task, &failure);
}

/* It leaves the queue: how long was it there? */
static void
measure_queue_time(struct pool__sched *s, struct pool_future *task)
{
    uint64_t ns = pool__now_ns() - task->submitted_ns;

    task->submitted_ns = 0; /* once, also where it is sent again */
    pool__durations_add(
        &s->core->stats.queue_time, pool__duration_pack(ns), ns);
}

static void
account(
    struct pool__sched *s, struct pool__proc *proc, struct pool_future *task)
{
    task->proc = proc;
    task->attempts++;
    proc->sched.given++;
    proc->sched.queued_ns += task->estimate_ns;
    s->core->stats.bytes_sent += task->size;
    if (pool__unlikely(task->submitted_ns != 0))
        measure_queue_time(s, task);
    if (pool__unlikely(pool__sched_limit(s, task) != 0)) {
        proc->sched.timed = true;
        pool__sched_watch_deadline(s, proc);
    }
}

/* Send the task. */
static void
give(struct pool__sched *s, struct pool__proc *proc, struct pool_future *task)
{
    struct pool__frame frame = {.type = POOL__FRAME_CALL,
        .size = task->size,
        .flags = task->function,
        .id = pool__frame_id(task->number, task->sends++)};
    struct pool__job *job = pool__job_of(task);
    bool quick = task->estimate_ns < QUICK_NS;
    int rc = introduce(s, proc, task->function);

    pool__list_remove(&task->node);
    proc->sched.quick = quick && (proc->sched.quick || proc->channel.held == 0);
    if (rc == 0 && pool__unlikely(job != NULL))
        rc = pool__job_introduce(proc, job);
    if (rc == 0)
        rc = pool__channel_send(
            &proc->channel, task, frame, pool__task_data(task), &task->ordinal);
    if (rc < 0) {
        fail_without_memory(task);
        return;
    }
    task->lent = rc == 1;
    if (pool__unlikely(frame.size >= POOL__LARGE) && rc == 0)
        pool__sched_tidy_later(s); /* it is in the segment */
    account(s, proc, task);
}

/* Where the run time of such tasks is kept. */
static uint32_t *
mean_of(struct pool__sched *s, const struct pool_future *task)
{
    struct pool__job *job = pool__job_of(task);

    return job != NULL ? &job->mean_ns
                       : &s->functions.list[task->function].mean_ns;
}

static uint32_t
estimate(struct pool__sched *s, const struct pool_future *task)
{
    uint32_t mean = *mean_of(s, task);

    return mean != 0 ? mean : NEXT_NS;
}

static struct pool_future *
first_rank(struct pool__sched *s)
{
    return pool__list_empty(&s->ranks)
               ? NULL
               : pool__list_entry(s->ranks.next, struct pool_future, node);
}

/* Which task goes next: a rank whose peers run, one of a group that can start,
 * else the head of the queue. A rank has its worker for itself: it may wait
 * for the others for long. */
static struct pool_future *
next_task(struct pool__sched *s)
{
    struct pool_future *rank = first_rank(s);
    struct pool_future *task = pool__queue_first(&s->queue);

    if (pool__unlikely(rank == NULL && !pool__list_empty(&s->groups))) {
        enum pool__turn_of turn = pool__group_turn(s, task);
        if (turn == POOL__TURN_NOBODY)
            return NULL;
        rank = first_rank(s);
    }
    if (pool__unlikely(rank != NULL)) {
        rank->estimate_ns = NEXT_NS;
        return rank;
    }
    if (task != NULL)
        task->estimate_ns = estimate(s, task);
    return task;
}

/* Whether it is PROC's turn again without asking who else there is: to choose
 * for each task costs more than to send a small one. */
static bool
goes_on(const struct pool__sched *s, const struct pool__proc *proc,
    const struct pool_future *task)
{
    return task != NULL && task->estimate_ns < QUICK_NS &&
           proc->sched.queued_ns < AHEAD_NS &&
           !wakes_idle(s, task->estimate_ns) && may_have_more(s, proc) &&
           pool__channel_has_room(&proc->channel);
}

/* Give PROC the task and, if they are quick, those that follow. The next. */
static struct pool_future *
give_run(
    struct pool__sched *s, struct pool__proc *proc, struct pool_future *task)
{
    for (int n = 1;; n++) {
        pool__queue_fetch(task);
        give(s, proc, task);
        task = next_task(s);
        if (n == RUN_MOST || !goes_on(s, proc, task))
            break;
    }
    pool__sched_place(s, proc);
    if (pool__list_empty(&proc->sched.dirty))
        pool__list_append(&s->dirty, &proc->sched.dirty);
    pool__sched_keep_sweeping(s);
    return task;
}

/* Give out what goes next while somebody takes it. */
pool__hot static struct pool__proc *
give_out(struct pool__sched *s)
{
    struct pool__proc *proc = NULL, *next;
    struct pool_future *task = next_task(s);

    while (task != NULL && (next = pick(s, task->estimate_ns)) != NULL) {
        proc = next;
        task = give_run(s, proc, task);
    }
    return proc;
}

/* Most tasks come while all have enough: that is seen at once. */
static inline struct pool__proc *
dispatch(struct pool__sched *s)
{
    if (s->halted || (pool__list_empty(&s->idle) && pool__list_empty(&s->fed)))
        return NULL;
    return give_out(s);
}

static void
flush_one(struct pool__sched *s, struct pool__proc *proc)
{
    bool full = !pool__channel_has_room(&proc->channel);

    pool__list_remove(&proc->sched.dirty);
    pool__channel_flush(&proc->channel);
    pool__table_pass(s->table, proc);
    if (full)
        pool__sched_place(s, proc);
}

void
pool__sched_flush(struct pool__sched *s)
{
    if (pool__unlikely(s->stirred)) {
        s->stirred = false;
        (void)dispatch(s);
    }
    s->urgent = false;
    pool__list_each(node, &s->dirty)
    {
        flush_one(s, pool__list_entry(node, struct pool__proc, sched.dirty));
        if (pool__budget_over())
            break;
    }
}

/* There may be as many workers as there are tasks. */
static void
grow(struct pool__sched *s)
{
    struct pool__table *table = s->table;

    table->wanted = (int)pool__min(s->core->unsettled, (size_t)table->workers);
    pool__table_fill(table);
}

void
pool__sched_submit(struct pool__sched *s, struct pool_future *task)
{
    if (task->number <= SAMPLED_FIRST || task->number % SAMPLED_EACH == 0)
        task->submitted_ns = pool__now_ns();
    if (pool__unlikely(pool__member_of(task) != NULL))
        pool__group_came(task);
    else
        pool__queue_append(&s->queue, task);
    struct pool__proc *proc = dispatch(s);
    if (proc != NULL && pool__channel_wants_flush(&proc->channel))
        flush_one(s, proc);
    if (pool__unlikely(s->core->unsettled > (size_t)s->table->wanted &&
                       s->table->wanted < s->table->workers))
        grow(s);
}

void
pool__sched_run(struct pool__sched *s)
{
    if (dispatch(s) != NULL || s->urgent)
        pool__sched_flush(s);
}

/* ---- replies ---------------------------------------------------------- */

static void
measure(uint32_t *mean_ns, uint64_t ns)
{
    int64_t mean = *mean_ns;

    mean = mean == 0 ? (int64_t)ns : mean + ((int64_t)ns - mean) / 8;
    if (mean > INT32_MAX)
        mean = INT32_MAX;
    *mean_ns = mean > 0 ? (uint32_t)mean : 1;
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

pool__hot void
pool__sched_reply(struct pool__sched *s, struct pool__proc *proc,
    struct pool_future *task, const struct pool__frame *frame,
    const void *payload, void *block)
{
    uint64_t *queued = &proc->sched.queued_ns;
    uint64_t ns = pool__duration_unpack(frame->flags);

    pool__channel_fetch(&proc->channel, sizeof *task);
    proc->useful = true;
    proc->sched.slow = false;
    if (pool__unlikely(pool__peers_inside(pool__member_of(task)))) {
        pool__free(block);
        broke_protocol(proc, task, "a result from inside a collective");
        return;
    }
    measure(mean_of(s, task), ns);
    pool__durations_add(&s->core->stats.run_time, frame->flags, ns);
    *queued -= pool__min(*queued, task->estimate_ns);
    if (pool__likely(frame->type == POOL__FRAME_REPLY &&
                     frame->size <= s->table->template.max_result)) {
        pool__task_value(task, payload, frame->size, block);
        return;
    }
    if (frame->type == POOL__FRAME_REPLY)
        broke_protocol(proc, task, "a result above the limit");
    else
        fail_as_told(s, proc, task, frame, payload);
    pool__free(block);
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
    pool__sched_place(s, proc);
    pool__sched_run(s);
    pool__life_look(s, proc);
    pool__life_release(s);
}

/* ---- taking back ------------------------------------------------------- */

void
pool__sched_requeue(struct pool__sched *s, struct pool_future *task)
{
    struct pool__proc *proc = task->proc;

    proc->sched.given--;
    task->proc = NULL;
    task->attempts--;
    if (pool__unlikely(pool__member_of(task) != NULL))
        pool__group_back(s, task);
    else
        pool__queue_prepend(&s->queue, task);
}

void
pool__sched_take_back(
    struct pool__sched *s, struct pool__proc *proc, uint64_t first)
{
    struct pool__channel *ch = &proc->channel;

    for (uint64_t o = ch->tail - 1; o >= first; o--) {
        struct pool_future *task = pool__channel_task(ch, o);
        if (task != NULL && !task->lent && pool__channel_recall(ch, o))
            pool__sched_requeue(s, task);
    }
    proc->sched.queued_ns = NEXT_NS; /* nothing more until it is idle */
    proc->sched.quick = false;
    pool__sched_place(s, proc);
    if (proc->sched.timed)
        pool__sched_watch_deadline(s, proc);
    pool__life_look(s, proc); /* it may have been the last before it goes */
}

/* ---- scatters ---------------------------------------------------------- */

bool
pool__sched_running(const struct pool_future *task)
{
    struct pool__proc *proc = task->proc;

    return proc != NULL && pool__channel_claimed(&proc->channel, task->ordinal);
}

void
pool__sched_end_scatter(struct pool__sched *s, uint64_t scatter, bool soon)
{
    struct pool__frame stop = {.type = POOL__FRAME_STOP, .id = scatter};

    pool__table_each(proc, s->table)
    {
        if (pool__job_forget(proc, scatter) &&
            proc->state == POOL__PROC_READY &&
            pool__channel_control(&proc->channel, &stop, NULL) == 0 && soon)
            flush_one(s, proc);
    }
}

/* ---- life ------------------------------------------------------------- */

void
pool__sched_init(
    struct pool__sched *s, struct pool__core *core, struct pool__table *table)
{
    s->core = core;
    s->table = table;
    pool__queue_init(&s->queue);
    pool__list_init(&s->groups);
    pool__list_init(&s->ranks);
    pool__list_init(&s->idle);
    pool__list_init(&s->fed);
    pool__list_init(&s->dirty);
    uv_timer_init(table->loop, &s->sweep);
    uv_timer_init(table->loop, &s->deadline);
    uv_timer_init(table->loop, &s->life);
    uv_timer_init(table->loop, &s->tidy);
    s->sweep.data = s->deadline.data = s->life.data = s->tidy.data = s;
    uv_timer_start(&s->sweep, pool__sched_on_sweep, SWEEP_MS, SWEEP_MS);
    uv_timer_stop(&s->sweep);
}

void
pool__sched_close(struct pool__sched *s)
{
    uv_close((uv_handle_t *)&s->sweep, NULL);
    uv_close((uv_handle_t *)&s->deadline, NULL);
    uv_close((uv_handle_t *)&s->life, NULL);
    uv_close((uv_handle_t *)&s->tidy, NULL);
}

void
pool__sched_fini(struct pool__sched *s)
{
    pool__functions_fini(&s->functions);
}
