/* The scheduler: whose turn it is.
 *
 * Invariant: a proc that serves is idle, fed, or in neither list: it has enough
 * until it answers, or is left alone until it holds nothing. One that is closed
 * gets no more. */
#define _GNU_SOURCE
#include "cpu.h"
#include "sched.h"

/* Work queued at a worker; twice as much of what is not quick, while there is
 * much to do: it answers when it has done all, so half is there on average. */
#define AHEAD_NS 1000000u
#define PLENTY 4u /* tasks a worker: fewer are kept for whoever is idle */
/* Quick work at a worker before another one is woken for more: one is often
 * faster than the program submits, and a wake-up costs both sides. */
#define SPREAD_NS 50000u
#define LOOKS 4 /* at workers that may take a task */
/* Unsettled tasks from which on they are not waited for one by one: with fewer
 * it is better to be woken on the supervisor's CPU, when that is about to
 * sleep. */
#define MASS 64u

static struct pool__proc *
proc_at(struct pool__list *node)
{
    return pool__list_entry(node, struct pool__proc, sched.place);
}

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
    return proc->channel.held == 1 && proc->sched.queued_ns < POOL__NEXT_NS;
}

/* Whether there is twice what all workers may hold, if all tasks run as long as
 * this one. */
static bool
is_much(const struct pool__sched *s, uint32_t estimate_ns)
{
    return (uint64_t)s->core->unsettled * estimate_ns >
           (uint64_t)s->table->ready * 4 * AHEAD_NS;
}

/* Whether a task that may run so long is sent behind what PROC has. */
static bool
takes_one_of(const struct pool__sched *s, const struct pool__proc *proc,
    uint32_t estimate_ns)
{
    int64_t queued_ns = proc->sched.queued_ns;

    if (estimate_ns >= AHEAD_NS)
        return false;
    if (queued_ns < AHEAD_NS)
        return true;
    return estimate_ns >= POOL__QUICK_NS &&
           queued_ns + estimate_ns <= 2 * AHEAD_NS && is_much(s, estimate_ns);
}

/* Whether some task may be. */
static bool
takes_any(const struct pool__proc *proc)
{
    unsigned most_ns = proc->sched.quick ? AHEAD_NS : 2 * AHEAD_NS;

    return proc->sched.queued_ns < most_ns || takes_next(proc);
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

/* What was found out about who takes a task is so no longer. */
static void
leave_place(struct pool__sched *s, struct pool__proc *proc)
{
    s->run.left = 0;
    s->sated.first = NULL;
    pool__list_remove(&proc->sched.place);
}

void
pool__sched_displace(struct pool__sched *s, struct pool__proc *proc)
{
    leave_place(s, proc);
    pool__list_remove(&proc->sched.dirty);
    count_quick(s, proc, false);
}

void
pool__sched_place(struct pool__sched *s, struct pool__proc *proc)
{
    bool serves = pool__proc_serves(proc);

    leave_place(s, proc);
    count_quick(s, proc,
        serves && may_have_more(s, proc) && proc->channel.held != 0 &&
            proc->sched.quick && !proc->sched.aside);
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
        proc->sched.aside = false;
        proc->sched.idle_since_ms = uv_now(s->table->loop);
    }
    if (!may_have_more(s, proc) || proc->sched.aside)
        return;
    if (proc->channel.held == 0 && proc->sched.slow)
        pool__list_append(&s->idle, &proc->sched.place); /* as a last resort */
    else if (proc->channel.held == 0)
        pool__list_prepend(&s->idle, &proc->sched.place);
    else if (is_easy(s, proc))
        pool__list_prepend(&s->fed, &proc->sched.place);
    else if (takes_any(proc))
        pool__list_append(&s->fed, &proc->sched.place);
}

/* Whether somebody who is idle takes a task that may run this long. */
static bool
wakes_idle(const struct pool__sched *s, uint32_t estimate_ns)
{
    return !pool__list_empty(&s->idle) &&
           (estimate_ns >= POOL__QUICK_NS || s->quick < enough(s));
}

/* The supervisor's CPU, if such tasks had better be elsewhere; 0: any will do.
 */
static uint64_t
cpu_to_avoid(const struct pool__sched *s, uint32_t estimate_ns)
{
    return s->tiny && estimate_ns < POOL__QUICK_NS && s->cpus > 1 &&
                   s->core->unsettled > MASS
               ? pool__cpu()
               : 0;
}

static bool
is_on(const struct pool__proc *proc, uint64_t cpu)
{
    return pool__load(&proc->channel.region->cpu) == cpu;
}

/* The idle one that is woken next: one that is not there, if there is one that
 * answers. */
static struct pool__proc *
next_idle(const struct pool__sched *s, uint64_t cpu)
{
    int looks = 0;

    pool__list_each(node, &s->idle)
    {
        struct pool__proc *proc = proc_at(node);
        if (cpu == 0 || (!is_on(proc, cpu) && !proc->sched.slow))
            return proc;
        if (++looks == LOOKS)
            break;
    }
    return pool__list_empty(&s->idle) ? NULL : proc_at(s->idle.next);
}

/* Whether it is there, and IDLE is not: then it is left alone. */
static bool
steps_aside(
    struct pool__proc *proc, const struct pool__proc *idle, uint64_t cpu)
{
    proc->sched.aside = cpu != 0 && is_on(proc, cpu) && idle != NULL &&
                        !is_on(idle, cpu) && !idle->sched.slow;
    return proc->sched.aside;
}

struct pool__proc *
pool__sched_pick(struct pool__sched *s, uint32_t estimate_ns)
{
    struct pool__proc *first =
        pool__list_empty(&s->fed) ? NULL : proc_at(s->fed.next);
    uint64_t cpu = cpu_to_avoid(s, estimate_ns);
    struct pool__proc *idle = next_idle(s, cpu);

    if (estimate_ns < POOL__QUICK_NS && first != NULL) {
        bool easy = is_easy(s, first);
        bool asks = easy || (first->sched.counted && idle != NULL);
        if (asks && steps_aside(first, idle, cpu)) {
            count_quick(s, first, false);
            pool__list_remove(&first->sched.place);
        } else if (asks && pool__channel_stuck(&first->channel, SPREAD_NS)) {
            count_quick(s, first, false); /* until it answers */
            pool__list_remove(&first->sched.place);
            pool__list_append(&s->fed, &first->sched.place);
        } else if (easy) {
            return first;
        }
    }
    if (wakes_idle(s, estimate_ns))
        return idle;
    if (estimate_ns >= POOL__NEXT_NS)
        return NULL;
    bool plenty = s->core->unsettled > PLENTY * (size_t)(s->table->ready + 1);
    int looks = 0;
    pool__list_each(node, &s->fed)
    {
        struct pool__proc *proc = proc_at(node);
        if (takes_one_of(s, proc, estimate_ns) || (plenty && takes_next(proc)))
            return proc;
        if (proc->sched.queued_ns >= AHEAD_NS && !takes_next(proc))
            pool__list_remove(&proc->sched.place); /* until it answers */
        else if (++looks == LOOKS)
            break;
    }
    return NULL;
}

uint32_t
pool__sched_most_quick_ns(const struct pool__sched *s)
{
    return wakes_idle(s, 0) ? SPREAD_NS : AHEAD_NS;
}
