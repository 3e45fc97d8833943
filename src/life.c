/* How long a worker serves: until it has run its number of tasks, is too old
 * or too large, or has had nothing to do for long.
 *
 * Invariant: one that retires is counted no more by the table, which asks for
 * another first; it goes when its own tasks are done and, unless it may do no
 * more of them, the other is ready. */
#include "sched.h"
#include "watch.h"

#define NEVER UINT64_MAX

static bool
has_done_its_tasks(const struct pool__sched *s, const struct pool__proc *proc)
{
    uint64_t most = s->policy.max_tasks;

    return most != 0 && proc->sched.given >= most && proc->channel.held == 0;
}

static bool
has_served(const struct pool__sched *s, const struct pool__proc *proc)
{
    const struct pool__policy *p = &s->policy;

    return has_done_its_tasks(s, proc) ||
           (p->max_rss != 0 &&
               pool__channel_rss(&proc->channel) > p->max_rss) ||
           (p->max_age_ms != 0 &&
               uv_now(s->table->loop) - proc->ready_ms >= p->max_age_ms);
}

/* Whether one that leaves may go now: its successor is ready, or it serves
 * nobody, or there would be too many. */
static bool
may_go(const struct pool__sched *s, const struct pool__proc *proc)
{
    const struct pool__table *t = s->table;

    return proc->leaving && proc->state == POOL__PROC_READY &&
           (t->ready >= t->wanted || t->leaving > t->workers ||
               !pool__table_has_room(t) || has_done_its_tasks(s, proc));
}

static void
let_go(struct pool__sched *s, struct pool__proc *proc)
{
    proc->sched.closed = true;
    pool__sched_place(s, proc);
    if (proc->channel.held != 0)
        return; /* when it has done that */
    s->core->stats.workers_retired++;
    pool__proc_ask(proc, POOL__EV_RETIRE);
}

void
pool__life_release(struct pool__sched *s)
{
    pool__table_each(proc, s->table)
    {
        if (may_go(s, proc))
            let_go(s, proc);
    }
}

/* When the worker must be looked at next, ms of the loop's clock. */
static uint64_t
next_look(const struct pool__sched *s, const struct pool__proc *proc)
{
    const struct pool__policy *p = &s->policy;
    uint64_t next = NEVER;

    if (p->max_age_ms != 0)
        next = proc->ready_ms + p->max_age_ms;
    if (p->idle_timeout_ms != 0 && proc->channel.held == 0 &&
        s->table->wanted > p->min_workers) {
        bool counts = pool__list_empty(&s->groups); /* else it is waited for */
        uint64_t since =
            counts ? proc->sched.idle_since_ms : uv_now(s->table->loop);
        next = pool__min(next, since + (uint64_t)p->idle_timeout_ms);
    }
    return next;
}

static void
set_timer(struct pool__sched *s, uint64_t next)
{
    uv_update_time(s->table->loop);
    uint64_t now = uv_now(s->table->loop);
    uint64_t ms = next > now ? next - now : 1; /* never twice in a turn */

    if (next == NEVER || (uv_is_active((uv_handle_t *)&s->life) &&
                             uv_timer_get_due_in(&s->life) <= ms))
        return;
    pool__timer_start(&s->life, pool__life_on_timer, ms, 0);
}

void
pool__life_look(struct pool__sched *s, struct pool__proc *proc)
{
    if (proc->state != POOL__PROC_READY)
        return;
    if (!proc->leaving && has_served(s, proc))
        pool__table_leave(s->table, proc);
    if (may_go(s, proc))
        let_go(s, proc);
    else if (!proc->leaving)
        set_timer(s, next_look(s, proc));
}

static bool
is_superfluous(const struct pool__sched *s, const struct pool__proc *proc)
{
    int timeout = s->policy.idle_timeout_ms;

    return timeout != 0 && proc->channel.held == 0 &&
           pool__list_empty(&s->groups) &&
           s->table->wanted > s->policy.min_workers &&
           uv_now(s->table->loop) - proc->sched.idle_since_ms >=
               (uint64_t)timeout;
}

void
pool__life_on_timer(uv_timer_t *timer)
{
    struct pool__sched *s = timer->data;

    pool__table_each(proc, s->table)
    {
        if (proc->state != POOL__PROC_READY || proc->leaving)
            continue;
        if (is_superfluous(s, proc)) {
            s->table->wanted--;
            pool__table_leave(s->table, proc);
        }
        pool__life_look(s, proc);
    }
}

/* Idle ones first, then whoever comes. */
static struct pool__proc *
pick_leaver(struct pool__sched *s)
{
    struct pool__proc *any = NULL;

    pool__table_each(proc, s->table)
    {
        if (proc->leaving || proc->asked)
            continue;
        if (proc->state == POOL__PROC_READY && proc->channel.held == 0)
            return proc;
        any = proc;
    }
    return any;
}

void
pool__life_resize(struct pool__sched *s, int workers)
{
    struct pool__table *table = s->table;

    table->workers = workers;
    s->run.left = 0; /* who submits next asks whether there are enough */
    s->policy.min_workers =
        (int)pool__min((size_t)s->policy.min_workers, (size_t)workers);
    while (table->wanted > workers) {
        struct pool__proc *proc =
            table->living >= table->wanted ? pick_leaver(s) : NULL;
        table->wanted--;
        if (proc == NULL)
            continue; /* it was not there yet */
        pool__table_leave(table, proc);
        if (proc->state == POOL__PROC_READY)
            let_go(s, proc);
        else
            pool__proc_ask(proc, POOL__EV_RETIRE);
    }
    table->wanted = (int)pool__max(
        (size_t)table->wanted, pool__min(s->core->unsettled, (size_t)workers));
    pool__table_fill(table);
    pool__group_resized(s);
}
