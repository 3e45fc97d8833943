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
/* Small tasks that take less leave a CPU to the supervisor, which needs about
 * as long for each. */
#define TINY_NS 200u
/* Quick work at a worker before another one is woken for more: one is often
 * faster than the program submits, and a wake-up costs both sides. */
#define SPREAD_NS 50000u
#define RUN_MOST 64 /* such tasks that one worker is given in a row */
#define LOOKS 4     /* at workers that may take a task */
#define SWEEP_MS 10
#define SAMPLED_FIRST 1024u /* tasks whose time in the queue is measured */
#define SAMPLED_EACH 64u    /* and of the later ones every so many'th */

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

/* How many workers are enough for such quick tasks as are given out now. Where
 * one can't hold all there are, the supervisor gives out and takes so many at a
 * time that the workers are done meanwhile. */
static int
enough(const struct pool__sched *s)
{
    return s->cpus - (s->tiny && s->cpus > 1 && !pool__sched_crowded(s));
}

/* Whether it is busy with quick tasks, and not with many; where more such are
 * busy than are enough, the others shall have nothing more to do. */
static bool
is_easy(const struct pool__sched *s, const struct pool__proc *proc)
{
    uint32_t most_ns = s->quick > enough(s) ? AHEAD_NS : SPREAD_NS;

    return proc->sched.quick && proc->sched.queued_ns < most_ns;
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
    s->run.left = 0;
    pool__list_remove(&proc->sched.place);
    pool__list_remove(&proc->sched.dirty);
    count_quick(s, proc, false);
}

void
pool__sched_place(struct pool__sched *s, struct pool__proc *proc)
{
    bool serves = pool__proc_serves(proc);

    s->run.left = 0;
    pool__list_remove(&proc->sched.place);
    count_quick(s, proc,
        serves && may_have_more(s, proc) && proc->channel.held != 0 &&
            proc->sched.quick);
    if (!serves)
        return;
    if (!pool__channel_has_room(&proc->channel)) {
        pool__sched_keep_sweeping(s); /* it may make room and say nothing */
        return;
    }
    /* Below 0: take_back set it, and then one that had been begun ended. */
    if (proc->channel.held == 0 || proc->sched.queued_ns < 0)
        proc->sched.queued_ns = 0;
    if (proc->channel.held == 0) {
        proc->sched.timed = false;
        proc->sched.idle_since_ms = uv_now(s->table->loop);
    }
    if (!may_have_more(s, proc))
        return;
    if (proc->channel.held == 0 && proc->sched.slow)
        pool__list_append(&s->idle, &proc->sched.place); /* as a last resort */
    else if (proc->channel.held == 0)
        pool__list_prepend(&s->idle, &proc->sched.place);
    else if (is_easy(s, proc))
        pool__list_prepend(&s->fed, &proc->sched.place);
    else if (proc->sched.queued_ns < AHEAD_NS || takes_next(proc))
        pool__list_append(&s->fed, &proc->sched.place);
}

/* Whether somebody who is idle takes a task that may run this long. */
static bool
wakes_idle(const struct pool__sched *s, uint32_t estimate_ns)
{
    return !pool__list_empty(&s->idle) &&
           (estimate_ns >= QUICK_NS || s->quick < enough(s));
}

/* Who takes a task that may run this long; NULL: it must wait. */
static struct pool__proc *
pick(struct pool__sched *s, uint32_t estimate_ns)
{
    struct pool__proc *first =
        pool__list_empty(&s->fed) ? NULL : proc_at(s->fed.next);

    if (estimate_ns < QUICK_NS && first != NULL) {
        bool easy = is_easy(s, first);
        bool asks =
            easy || (first->sched.counted && !pool__list_empty(&s->idle));
        if (asks && pool__channel_stuck(&first->channel, SPREAD_NS)) {
            count_quick(s, first, false); /* until it answers */
            pool__list_remove(&first->sched.place);
            pool__list_append(&s->fed, &first->sched.place);
        } else if (easy) {
            return first;
        }
    }
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
    bool large = task->size >= POOL__LARGE;
    int rc = introduce(s, proc, task->function);

    if (task->estimate_ns >= QUICK_NS)
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
    if (pool__unlikely(large)) {
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

    return mean != 0 ? mean : NEXT_NS;
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
        rank->estimate_ns = NEXT_NS;
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
    return task->estimate_ns < QUICK_NS && proc->sched.queued_ns < most_ns &&
           (!s->tiny || is_tiny(task));
}

/* How much work a worker is given in quick tasks: less where another could be
 * woken for them. */
static uint32_t
most_quick_ns(const struct pool__sched *s)
{
    return wakes_idle(s, 0) ? SPREAD_NS : AHEAD_NS;
}

/* Give PROC the task and, if they are quick, those that follow. */
static void
give_run(
    struct pool__sched *s, struct pool__proc *proc, struct pool_future *task)
{
    bool quick = task->estimate_ns < QUICK_NS && pool__list_empty(&s->groups);
    unsigned left = quick ? run_length(s, proc) : 1;
    uint32_t most_ns = most_quick_ns(s);

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
           (next = pick(s, task->estimate_ns)) != NULL) {
        proc = next;
        give_run(s, proc, task);
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

/* A new task, or the group that it completes, goes where it belongs. Who was
 * given the last one; NULL: nobody. */
static struct pool__proc *
enqueue(struct pool__sched *s, struct pool_future *task)
{
    s->run.left = 0;
    if (pool__unlikely(pool__member_of(task) != NULL))
        pool__group_came(task);
    else
        pool__queue_append(&s->queue, task);
    return dispatch(s);
}

/* ---- runs: new tasks that follow one another to the same worker ---------- */

/* PROC was given TASK, the newest: how many like it may follow with nothing to
 * be asked or seen to in between. None is one of those that are measured, which
 * ask again whose turn it is; the first ones are seen to each. */
static unsigned
run_on(const struct pool__sched *s, const struct pool__proc *proc,
    const struct pool_future *task)
{
    uint64_t most = s->policy.max_tasks;
    uint64_t n = SAMPLED_EACH - 1 - task->number % SAMPLED_EACH;
    int64_t room_ns = most_quick_ns(s) - proc->sched.queued_ns;

    if (task->proc != proc ||
        (s->policy.deadline_ms != 0 && !proc->sched.timed) ||
        task->estimate_ns >= QUICK_NS || s->run.most_size >= POOL__LARGE ||
        room_ns <= 0 || pool__list_empty(&proc->sched.place) ||
        s->queue.used != 0 || !pool__list_empty(&s->groups) ||
        !pool__list_empty(&s->ranks) || s->table->wanted < s->table->workers)
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
    s->run.left = run_on(s, proc, task);
    return s->run.left != 0;
}

bool
pool__sched_extra_follows(
    const struct pool__sched *s, const struct pool_future *task)
{
    return pool__sched_limit(s, task) == 0 || s->run.proc->sched.timed;
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
    proc->sched.queued_ns = NEXT_NS; /* nothing more until it is idle */
    proc->sched.quick = false;
    pool__sched_place(s, proc);
    if (proc->sched.timed)
        pool__sched_watch_deadline(s, proc);
    pool__life_look(s, proc); /* it may have been the last before it goes */
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
