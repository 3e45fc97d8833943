/* The scheduler: what is given out, and when. Whose turn it is is in
 * sched_pick.c, how tasks and workers end in sched_end.c.
 *
 * Invariant: a pending task is in the queue or in one channel, never both
 * (task->proc tells). */
#define _GNU_SOURCE
#include "sched.h"

#include <string.h>

#include "budget.h"
#include "proto.h"

/* Small tasks that take less leave a CPU to the supervisor, which needs about
 * as long for each. */
#define TINY_NS 200u
#define RUN_MOST 64 /* quick tasks that one worker is given in a row */
#define SWEEP_MS 10
#define SAMPLED_FIRST 1024u /* tasks whose time in the queue is measured */
/* And of the later ones every so many'th, with which a run of new ones ends:
 * who has it is asked whether it is at one for long. */
#define SAMPLED_EACH 64u

/* ---- giving out ------------------------------------------------------- */

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

static void
note_queue_time(struct pool__sched *s, uint64_t ns)
{
    pool__durations_add(
        &s->core->stats.queue_time, pool__duration_pack(ns), ns);
}

/* It leaves the queue: how long was it there? */
static void
measure_queue_time(struct pool__sched *s, struct pool_future *task)
{
    note_queue_time(s, pool__now_ns() - task->submitted_ns);
    task->submitted_ns = 0; /* once, also where it is sent again */
}

/* Give PROC the task, whatever it is. */
static void
give(struct pool__sched *s, struct pool__proc *proc, struct pool_future *task)
{
    const struct pool__task_extra *extra = task->extra;
    int rc = introduce(s, proc, task->function);

    if (task->estimate_ns >= POOL__QUICK_NS)
        proc->sched.quick = false;
    else if (proc->channel.held == 0)
        proc->sched.quick = true;
    if (rc == 0 && pool__unlikely(extra != NULL && extra->job != NULL))
        rc = pool__job_introduce(proc, extra->job);
    if (rc == 0)
        rc = pool__sched_send(s, proc, task);
    if (rc < 0) {
        fail_without_memory(task);
        return;
    }
    if (pool__unlikely(task->size >= POOL__LARGE)) {
        task->lent = rc == 1;
        if (!task->lent)
            pool__sched_tidy_later(s); /* it is in the segment */
    }
    if (pool__unlikely(task->submitted_ns != 0))
        measure_queue_time(s, task);
    if (pool__unlikely(pool__sched_limit(s, task) != 0 && !proc->sched.timed)) {
        proc->sched.timed = true;
        pool__sched_watch_deadline(s, proc);
    }
}

static uint32_t
estimate(struct pool__sched *s, const struct pool_future *task)
{
    uint32_t mean = *pool__sched_mean(s, task);

    return mean != 0 ? mean : POOL__NEXT_NS;
}

static bool
is_tiny(const struct pool_future *task)
{
    return task->estimate_ns < TINY_NS && task->size <= POOL__TASK_ROOM;
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
        rank->estimate_ns = POOL__NEXT_NS;
        return rank;
    }
    if (task != NULL) {
        task->estimate_ns = estimate(s, task);
        s->tiny = is_tiny(task);
    }
    return task;
}

/* How many quick tasks PROC may be given in a row, the first included, without
 * asking again who else there is: to choose for each task costs more than to
 * send a small one. */
static unsigned
run_length(const struct pool__sched *s, const struct pool__proc *proc)
{
    uint64_t most = s->policy.max_tasks;

    return most == 0 ? RUN_MOST
                     : (unsigned)pool__min(most - proc->sched.given, RUN_MOST);
}

/* Whether TASK may be next in a row that PROC is given, which has MOST_NS of
 * work at most before it: among tiny ones tiny ones alone. */
static inline bool
runs_on(struct pool__sched *s, const struct pool__proc *proc,
    struct pool_future *task, uint32_t most_ns)
{
    task->estimate_ns = estimate(s, task);
    return task->estimate_ns < POOL__QUICK_NS &&
           proc->sched.queued_ns < most_ns && (!s->tiny || is_tiny(task));
}

/* Give PROC the task and, if they are quick, those that follow. */
static void
give_run(
    struct pool__sched *s, struct pool__proc *proc, struct pool_future *task)
{
    bool quick =
        task->estimate_ns < POOL__QUICK_NS && pool__list_empty(&s->groups);
    unsigned left = quick ? run_length(s, proc) : 1;
    uint32_t most_ns = pool__sched_most_quick_ns(s);

    do {
        pool__queue_fetch(task);
        pool__list_remove(&task->node);
        give(s, proc, task);
        task = pool__queue_first(&s->queue);
    } while (--left != 0 && pool__channel_has_room(&proc->channel) &&
             task != NULL && runs_on(s, proc, task, most_ns));
    pool__sched_place(s, proc);
    pool__sched_has_frames(s, proc);
    pool__sched_keep_sweeping(s);
}

/* Give out what goes next while somebody takes it. */
pool__hot pool__apart static struct pool__proc *
give_out(struct pool__sched *s)
{
    struct pool__proc *proc = NULL, *next;
    struct pool_future *task;

    while ((task = next_task(s)) != NULL &&
           (next = pool__sched_pick(s, task->estimate_ns)) != NULL) {
        proc = next;
        give_run(s, proc, task);
    }
    s->sated.first = pool__list_empty(&s->fed) ? task : NULL;
    s->sated.crowded = pool__sched_crowded(s);
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

void
pool__sched_flush_one(struct pool__sched *s, struct pool__proc *proc)
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
    s->run.left = 0; /* who submits one now and then asks whose turn it is */
    pool__list_each(node, &s->dirty)
    {
        pool__sched_flush_one(
            s, pool__list_entry(node, struct pool__proc, sched.dirty));
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

/* Whether TASK is to wait for the first of the queue, which nobody takes. */
static bool
waits_behind(struct pool__sched *s, const struct pool_future *task)
{
    const struct pool_future *first = pool__queue_first(&s->queue);

    return first != NULL && first == s->sated.first &&
           first->priority <= task->priority &&
           s->sated.crowded == pool__sched_crowded(s);
}

/* A new task, or the group that it completes, goes where it belongs. Who was
 * given the last one; NULL: nobody. */
static struct pool__proc *
enqueue(struct pool__sched *s, struct pool_future *task)
{
    s->run.left = 0;
    if (pool__unlikely(pool__member_of(task) != NULL)) {
        pool__group_came(task);
    } else {
        bool behind = waits_behind(s, task);
        pool__queue_append(&s->queue, task);
        if (behind)
            return NULL;
    }
    return dispatch(s);
}

/* ---- runs: new tasks that follow one another to the same worker ---------- */

/* PROC was given TASK, the newest: how many like it may follow with nothing to
 * be asked or seen to in between. None is one of those that are measured, which
 * ask again whose turn it is; the first ones are seen to each. */
static unsigned
stretch(const struct pool__sched *s, const struct pool__proc *proc,
    const struct pool_future *task)
{
    uint64_t most = s->policy.max_tasks;
    uint64_t n = SAMPLED_EACH - 1 - task->number % SAMPLED_EACH;
    int64_t room_ns = pool__sched_most_quick_ns(s) - proc->sched.queued_ns;

    if (task->proc != proc ||
        (s->policy.deadline_ms != 0 && !proc->sched.timed) ||
        task->estimate_ns >= POOL__QUICK_NS ||
        s->run.most_size >= POOL__LARGE || room_ns <= 0 ||
        pool__list_empty(&proc->sched.place) || s->queue.used != 0 ||
        !pool__list_empty(&s->groups) || !pool__list_empty(&s->ranks) ||
        s->table->wanted < s->table->workers)
        return 0;
    if (task->number < SAMPLED_FIRST)
        n = pool__min(n, 1);
    if (most != 0)
        n = pool__min(n, most - proc->sched.given);
    n = pool__min(n, ((uint32_t)room_ns - 1) / task->estimate_ns + 1);
    return (unsigned)pool__min(
        n, pool__channel_stretch(&proc->channel, s->run.most_size));
}

/* See to what is due, then begin a run after TASK, which is PROC's. */
static bool
begin_run(struct pool__sched *s, struct pool__proc *proc,
    const struct pool_future *task)
{
    if (pool__channel_wants_flush(&proc->channel))
        pool__sched_flush_one(s, proc);
    s->run.proc = proc;
    s->run.most_ns = task->estimate_ns;
    s->run.most_size = (uint32_t)pool__max(task->size, POOL__TASK_ROOM);
    s->run.left = stretch(s, proc, task);
    return s->run.left != 0;
}

bool
pool__sched_extra_follows(
    const struct pool__sched *s, const struct pool_future *task)
{
    return task->extra->job == NULL &&
           (pool__sched_limit(s, task) == 0 || s->run.proc->sched.timed);
}

void
pool__sched_run_over(struct pool__sched *s, struct pool_future *task, int rc)
{
    struct pool__proc *proc = s->run.proc;

    if (rc < 0) {
        s->run.left = 0;
        fail_without_memory(task);
        return;
    }
    if (task->number <= SAMPLED_FIRST)
        note_queue_time(s, 0);
    s->tiny = is_tiny(task);
    if (!begin_run(s, proc, task))
        pool__sched_place(s, proc);
}

void
pool__sched_submit_any(struct pool__sched *s, struct pool_future *task)
{
    if (task->number <= SAMPLED_FIRST || task->number % SAMPLED_EACH == 0)
        task->submitted_ns = pool__now_ns();
    struct pool__proc *proc = enqueue(s, task);
    if (pool__unlikely(s->table->wanted < s->table->workers &&
                       s->core->unsettled > (size_t)s->table->wanted))
        grow(s);
    if (proc != NULL)
        (void)begin_run(s, proc, task);
}

void
pool__sched_run(struct pool__sched *s)
{
    if (dispatch(s) != NULL || s->urgent)
        pool__sched_flush(s);
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
    proc->sched.queued_ns = POOL__NEXT_NS; /* nothing more until it is idle */
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
            pool__sched_flush_one(s, proc);
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
