/* The supervisor looks into its workers' reply buffers, in caller and host
 * drive, and so does a thread that leads: in each turn into those of workers
 * with quick tasks, whose replies come in masses, and while the sides that may
 * look fit the CPUs of the process into all; then in caller drive for a while
 * too before it sleeps in the loop.
 *
 * Invariants: a worker that is looked at (region->looks) need not write its
 * replies to the pipe, though it sleeps. Before the supervisor sleeps, or looks
 * no more, it takes `looks` back and looks once more; a worker publishes its
 * reply and then reads `looks`. So one of the two sees the other. While the
 * program is away nobody looks: then nobody sleeps on the pipe either, and what
 * stands in the buffers is found when it comes back, or when a pool's thread
 * has napped. */
#include "spin.h"

#include "budget.h"
#include "pool.h"

#define TAKEN_MOST (256u << 10) /* bytes of one worker's replies */

void
pool__spin_fit(struct pool *pool, int cpus)
{
    uint64_t ns = pool->workers < cpus ? pool->spin_most_ns : 0;

    if (pool->table.forkserver.foreign)
        ns = 0; /* its workers' replies are not where it would look */

    pool->spin_ns = ns;
    pool->table.spin_ns = ns;
    pool__table_each(proc, &pool->table)
    {
        pool__channel_spin(&proc->channel, ns);
    }
}

static bool
holds(const struct pool__proc *proc)
{
    return pool__proc_serves(proc) && proc->channel.held != 0;
}

/* Look, or no more, and take what stands there: no more at once than stays in
 * the caches until the program has read it, and soon the worker has more to do
 * again; but much where there is so much that it waits anyway. */
static bool
look_into(struct pool *pool, struct pool__proc *proc, bool looks)
{
    size_t most = pool__channel_share(&proc->channel,
        pool__sched_crowded(&pool->sched) ? TAKEN_MOST : POOL__COLLECT_STEP);

    pool__channel_look(&proc->channel, looks);
    if (!looks) {
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if ((most == 0 || pool__budget_over()) &&
            pool__channel_replied(&proc->channel)) {
            pool__channel_look(&proc->channel, true);
            return true; /* it might not be taken: another turn follows */
        }
    }
    return proc->channel.open && pool__channel_collect(&proc->channel, most);
}

static bool
may_look(const struct pool *pool)
{
    bool awake = pool->drive == POOL__DRIVE_HOST || pool__thread_led(pool) ||
                 (pool->drive == POOL__DRIVE_CALLER && pool->alarm.fd < 0);

    return awake && pool->spin_most_ns != 0 && !pool->table.forkserver.foreign;
}

bool
pool__look_away(struct pool *pool)
{
    bool found = false;

    pool__table_each(proc, &pool->table)
    {
        if (proc->channel.looks)
            found = look_into(pool, proc, false) || found;
    }
    return found;
}

bool
pool__look(struct pool *pool, bool sleeps)
{
    bool found = false;

    if (!may_look(pool))
        return false;
    pool__table_each(proc, &pool->table)
    {
        if (pool__proc_serves(proc) && proc->channel.held == 0)
            continue; /* nothing comes; who was looked at is so at once again */
        bool looks = holds(proc) && (proc->sched.quick || pool->spin_ns != 0);
        if (looks || proc->channel.looks)
            found = look_into(pool, proc, looks) || found;
    }
    return found || (sleeps && pool__look_away(pool));
}

static bool
is_there(struct pool *pool)
{
    pool__table_each(proc, &pool->table)
    {
        if (holds(proc) && pool__channel_replied(&proc->channel))
            return true;
    }
    return false;
}

static bool
search(struct pool *pool, uint64_t until_ns)
{
    uint64_t end = pool__min(pool__now_ns() + pool->spin_ns, until_ns);
    bool found = false;

    do
        for (int i = 0; i < POOL__SPIN_ROUNDS && !found; i++) {
            pool__spin_pause();
            found = is_there(pool);
        }
    while (!found && pool__now_ns() < end);
    return found;
}

bool
pool__spin(struct pool *pool, uint64_t until_ns)
{
    if (pool->spin_ns == 0 || !may_look(pool) || pool__is_pressed(pool) ||
        !pool__spin_pays(&pool->spin))
        return false;
    pool->driving = true;
    pool__sched_flush(&pool->sched);
    bool found = pool__look(pool, false), some = false;
    pool__table_each(proc, &pool->table)
    {
        some = some || holds(proc);
    }
    if (!found && some) {
        found = search(pool, until_ns) && pool__look(pool, false);
        pool__spin_note(&pool->spin, found);
    }
    if (found)
        pool__tell(pool);
    pool->driving = false;
    return found;
}
