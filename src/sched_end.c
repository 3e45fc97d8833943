/* How tasks and workers end: deadlines, cancelling, deaths.
 *
 * Invariant: a task that is to be taken from its worker while it runs is only
 * taken when all that the worker has sent was read and the task is still
 * there: so a result that was made in time wins. */
#define _GNU_SOURCE
#include "sched.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "budget.h"
#include "machine.h"
#include "watch.h"

#define LOSSES_MAX 3 /* a task whose arguments kill who reads them */
#define UNBEGUN_NS INT64_C(2000000000) /* to begin a task, at least */
#define TAIL_MAX 2049 /* bytes of what a worker printed, with NUL */

/* ---- taking out ------------------------------------------------------- */

bool
pool__sched_take(struct pool__sched *s, struct pool_future *task)
{
    struct pool__proc *proc = task->proc;

    if (proc == NULL) {
        pool__list_remove(&task->node);
        return true;
    }
    if (!pool__channel_recall(&proc->channel, task->ordinal))
        return false;
    task->proc = NULL;
    proc->sched.given--;
    proc->sched.queued_ns -= task->estimate_ns;
    pool__sched_place(s, proc);
    if (proc->sched.timed) /* another task may be the next one now */
        pool__sched_watch_deadline(s, proc);
    pool__life_look(s, proc);
    pool__sched_run(s); /* another task may have its place */
    return true;
}

/* Whether PROC still has the task with this ordinal when all that it sent has
 * been read. Nothing else is in its hands then. */
static bool
still_has(struct pool__sched *s, struct pool__proc *proc, uint64_t ordinal)
{
    struct pool__channel *ch = &proc->channel;

    pool__sched_take_back(s, proc, ordinal + 1);
    do
        pool__channel_drain(ch);
    while (pool__table_bring(s->table));
    return ch->head == ordinal && ch->held != 0 && pool__proc_serves(proc);
}

/* Kill a worker: SIGTERM, grace, SIGKILL. Another may take its place at once.
 * The task that it has is taken out and returned, NULL: none; claimed: out,
 * whether it had begun that. */
static struct pool_future *
kill_worker(struct pool__sched *s, struct pool__proc *proc, bool *claimed)
{
    struct pool_future *task;

    proc->sched.closed = true;
    pool__sched_displace(s, proc);
    pool__channel_shut(&proc->channel);
    task = pool__channel_abandon(&proc->channel, claimed);
    if (task != NULL)
        task->proc = NULL;
    proc->useful = true; /* it was no failed start */
    pool__proc_ask(proc, POOL__EV_TERM);
    pool__table_leave(s->table, proc);
    return task;
}

bool
pool__sched_take_running(struct pool__sched *s, struct pool_future *task)
{
    struct pool__proc *proc = task->proc;
    uint64_t ordinal = task->ordinal;

    (void)pool__task_hold(task, 1); /* it may settle while we look */
    bool claimed, has = still_has(s, proc, ordinal);
    if (has) { /* asked sooner, it could end while we look */
        pool__channel_ask(&proc->channel, ordinal);
        (void)kill_worker(s, proc, &claimed);
    }
    (void)pool__task_hold(task, -1);
    return has;
}

/* ---- deadlines -------------------------------------------------------- */

/* Since when the oldest task that PROC holds has been in its state, as the
 * supervisor has seen it: what the worker says counts only where it is
 * possible, and once. */
static uint64_t
next_since(struct pool__proc *proc, uint64_t now)
{
    struct pool__channel *ch = &proc->channel;
    bool runs = pool__channel_claimed(ch, ch->head);

    if (proc->sched.next != ch->head || (runs && !proc->sched.next_runs)) {
        uint64_t told = pool__channel_started_ns(ch, ch->head);
        bool possible = runs && told != 0 && told <= now &&
                        told >= proc->sched.next_since_ns;
        proc->sched.next = ch->head;
        proc->sched.next_runs = runs;
        proc->sched.next_since_ns = possible ? told : now;
    }
    return proc->sched.next_since_ns;
}

/* How long the oldest task may still take, or to look at it again, ns; <= 0: it
 * is late; INT64_MAX: it has no limit. */
static int64_t
time_left(struct pool__sched *s, struct pool__proc *proc)
{
    struct pool__channel *ch = &proc->channel;

    pool__channel_skip_recalled(ch);
    if (ch->held == 0)
        return INT64_MAX;
    int limit = pool__sched_limit(s, pool__channel_task(ch, ch->head));
    uint64_t now = pool__now_ns(), since = next_since(proc, now);
    if (limit == 0)
        return INT64_MAX;
    int64_t limit_ns = (int64_t)limit * 1000000;
    int64_t passed = (int64_t)(now - since);
    if (proc->sched.next_runs || limit_ns >= UNBEGUN_NS)
        return limit_ns - passed;
    /* It isn't begun, perhaps for want of a CPU: it has longer, but is looked
     * at when it would be late if it began now. */
    int64_t left = UNBEGUN_NS - passed;
    return left < limit_ns ? left : limit_ns;
}

static void
set_timer(struct pool__sched *s, int64_t left_ns)
{
    uint64_t ms = left_ns > 0 ? (uint64_t)left_ns / 1000000 + 1 : 1;

    if (left_ns == INT64_MAX || /* nothing to watch, or watched */
        (uv_is_active((uv_handle_t *)&s->deadline) &&
            uv_timer_get_due_in(&s->deadline) <= ms))
        return;
    pool__timer_start(&s->deadline, pool__sched_on_deadline, ms, 0);
}

void
pool__sched_watch_deadline(struct pool__sched *s, struct pool__proc *proc)
{
    if (pool__proc_serves(proc))
        set_timer(s, time_left(s, proc));
}

static void
fail_late(struct pool__sched *s, struct pool__proc *proc,
    struct pool_future *task, int limit)
{
    char text[96], tail[TAIL_MAX];
    pool_failure_t failure = {.code = POOL_EDEADLINE,
        .message = text,
        .pid = proc->pid,
        .exit_status = -1,
        .stderr_tail = pool__proc_tail(proc, tail, sizeof tail)};

    snprintf(text, sizeof text,
        "the task ran past its deadline of %d ms in worker %d", limit,
        (int)proc->pid);
    pool__sched_failed(s, task, &failure);
}

/* Back to the queue: the worker that had it did not begin it. */
static void
give_back(struct pool__sched *s, struct pool_future *task)
{
    task->attempts--;
    if (pool__member_of(task) != NULL)
        pool__group_back(s, task);
    else
        pool__queue_prepend(&s->queue, task);
}

/* The oldest task is late: end it, unless it has ended. One that was never
 * begun, by a worker that is stopped, say, or lies, goes elsewhere, if that has
 * not happened too often. */
static void
end_late(struct pool__sched *s, struct pool__proc *proc)
{
    uint64_t ordinal = proc->channel.head;
    int limit =
        pool__sched_limit(s, pool__channel_task(&proc->channel, ordinal));
    bool begun = proc->sched.next_runs, claimed = false;

    if (still_has(s, proc, ordinal)) {
        struct pool_future *task = kill_worker(s, proc, &claimed);
        if (task != NULL && (begun || claimed || ++task->losses == LOSSES_MAX))
            fail_late(s, proc, task, limit);
        else if (task != NULL)
            give_back(s, task);
    }
    pool__sched_run(s);
}

void
pool__sched_on_deadline(uv_timer_t *timer)
{
    struct pool__sched *s = timer->data;
    int64_t least = INT64_MAX;

    pool__table_each(proc, s->table)
    {
        if (!proc->sched.timed || !pool__proc_serves(proc))
            continue;
        int64_t left = time_left(s, proc);
        if (left <= 0 && !pool__budget_over()) {
            end_late(s, proc);
            left = pool__proc_serves(proc) ? time_left(s, proc) : INT64_MAX;
        }
        least = left < least ? left : least;
    }
    set_timer(s, least);
}

/* ---- the end of a worker ---------------------------------------------- */

static void
describe_end(const struct pool__proc *proc, pool_failure_t *failure, char *text,
    size_t size)
{
    const struct pool__ending *ending = &proc->ending;
    int status = ending->wait_status;

    if (ending->violation == pool__channel_no_memory) {
        failure->code = POOL_ENOMEM;
        snprintf(text, size, "was ended: %s", ending->violation);
    } else if (ending->violation != NULL) {
        failure->code = POOL_EPROTO;
        snprintf(text, size, "broke the protocol: %s", ending->violation);
    } else if (ending->known && WIFSIGNALED(status)) {
        const char *name = sigabbrev_np(WTERMSIG(status));
        failure->signal = WTERMSIG(status);
        failure->core_dumped = WCOREDUMP(status);
        bool oom =
            failure->signal == SIGKILL && !proc->asked && pool__oom_kill_seen();
        snprintf(text, size, "was killed by signal %d (SIG%s)%s%s",
            failure->signal, name != NULL ? name : "?",
            failure->core_dumped ? ", core dumped" : "",
            oom ? ", maybe out of memory" : "");
    } else if (ending->known && WIFEXITED(status)) {
        failure->exit_status = WEXITSTATUS(status);
        snprintf(text, size, "exited with status %d while it ran the task",
            failure->exit_status);
    } else {
        snprintf(text, size, "died, its status is unknown");
    }
}

static void
describe(const struct pool__proc *proc, pool_failure_t *failure, char *text,
    size_t size)
{
    int n = snprintf(text, size, "worker %d ", (int)proc->pid);

    failure->pid = proc->pid;
    failure->exit_status = -1;
    describe_end(proc, failure, text + n, size - (size_t)n);
}

/* What it had begun has failed; the rest is left in UNBEGUN, oldest last. */
static void
sort_out(struct pool__sched *s, struct pool__proc *proc,
    const pool_failure_t *failure, struct pool__list *unbegun)
{
    struct pool_future *task;
    bool claimed, nothing_begun = true;

    while ((task = pool__channel_abandon(&proc->channel, &claimed)) != NULL) {
        nothing_begun = nothing_begun && !claimed;
        proc->useful = proc->useful || claimed;
        bool next = nothing_begun && pool__list_empty(unbegun);
        if (s->closing)
            pool__task_cancelled(task);
        else if (claimed || (next && ++task->losses == LOSSES_MAX))
            pool__sched_failed(s, task, failure);
        else
            pool__list_prepend(unbegun, &task->node);
    }
}

void
pool__sched_ended(struct pool__sched *s, struct pool__proc *proc)
{
    char text[160], tail[TAIL_MAX];
    pool_failure_t failure = {.code = POOL_EDIED,
        .message = text,
        .stderr_tail = pool__proc_tail(proc, tail, sizeof tail)};
    struct pool__list unbegun;

    pool__list_init(&unbegun);
    pool__sched_displace(s, proc);
    describe(proc, &failure, text, sizeof text);
    pool__channel_shut(&proc->channel);
    sort_out(s, proc, &failure, &unbegun);
    pool__list_each(node, &unbegun)
    {
        pool__list_remove(node);
        pool__sched_requeue(
            s, pool__list_entry(node, struct pool_future, node));
    }
    if (!proc->asked && proc->was_ready)
        s->core->stats.workers_died++;
    if (s->policy.strict && !proc->asked && proc->was_ready)
        pool__table_break(s->table, text);
    pool__sched_run(s);
}

/* ---- ends of all ------------------------------------------------------- */

static bool
cancel_queued(struct pool__sched *s)
{
    struct pool_future *task;

    for (unsigned i = 1; (task = pool__queue_pop(&s->queue)) != NULL; i++) {
        pool__task_cancelled(task);
        if (i % 64 == 0 && pool__budget_over())
            return false;
    }
    return pool__group_settle(s, NULL);
}

/* Whether there was something to cancel. */
static bool
cancel_sent(struct pool__sched *s, struct pool__proc *proc)
{
    struct pool__channel *ch = &proc->channel;
    size_t held = ch->held;

    for (uint64_t o = ch->head; o < ch->tail; o++) {
        struct pool_future *task = pool__channel_task(ch, o);
        if (task != NULL && pool__channel_recall(ch, o))
            pool__task_cancelled(task);
    }
    pool__sched_place(s, proc);
    return ch->held != held;
}

static void
cancel_begun(struct pool__proc *proc)
{
    struct pool_future *task;
    bool claimed;

    pool__channel_shut(&proc->channel);
    while ((task = pool__channel_abandon(&proc->channel, &claimed)) != NULL)
        pool__task_cancelled(task);
}

bool
pool__sched_cancel_some(struct pool__sched *s, bool running)
{
    s->halted = true;
    s->run.left = 0;
    pool__table_each(proc, s->table)
    {
        bool some = proc->state != POOL__PROC_GONE && cancel_sent(s, proc);
        if (running)
            cancel_begun(proc);
        if (some && pool__budget_over())
            return false;
    }
    if (!cancel_queued(s))
        return false;
    s->halted = false;
    return true;
}

void
pool__sched_forget(struct pool__sched *s)
{
    struct pool_future *task;

    pool__table_each(proc, s->table)
    {
        pool__channel_shut(&proc->channel); /* nobody is sent anything */
    }
    while ((task = pool__queue_pop(&s->queue)) != NULL)
        pool__task_cancelled(task);
    while (!pool__group_settle(s, NULL))
        ;
    pool__table_each(proc, s->table)
    {
        while ((task = pool__channel_abandon(&proc->channel, NULL)) != NULL)
            pool__task_cancelled(task);
        proc->channel.region = NULL; /* it isn't mapped in a child */
    }
}

static void
fail_held(struct pool__proc *proc, const pool_failure_t *failure)
{
    struct pool_future *task;
    bool claimed;

    pool__channel_shut(&proc->channel);
    while ((task = pool__channel_abandon(&proc->channel, &claimed)) != NULL)
        pool__task_failed(task, failure);
}

void
pool__sched_fail_all(
    struct pool__sched *s, bool running, int code, const char *message)
{
    pool_failure_t failure = {
        .code = code, .message = message, .exit_status = -1};
    struct pool_future *task;

    while ((task = pool__queue_pop(&s->queue)) != NULL)
        pool__task_failed(task, &failure);
    while (!pool__group_settle(s, &failure))
        ;
    pool__table_each(proc, s->table)
    {
        if (running)
            fail_held(proc, &failure);
    }
}
