/* The supervisor looks into its workers' reply buffers for a while before it
 * sleeps in the loop: in caller drive, while the sides that may look fit the
 * CPUs of the process.
 *
 * Invariants: a worker that is looked at (region->looks) need not write its
 * replies to the pipe. Before the supervisor sleeps it takes `looks` back and
 * looks once more; a worker publishes its reply and then reads `looks`. So one
 * of the two sees the other. */
#include "spin.h"

#include "pool.h"

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

/* Set or take back `looks` where something is to come. Whether there is. */
static bool
look_at(struct pool *pool, bool looks)
{
    bool some = false;

    pool__table_each(proc, &pool->table)
    {
        bool holds = pool__proc_serves(proc) && proc->channel.held != 0;
        if (!looks || holds)
            pool__channel_look(&proc->channel, looks);
        some = some || holds;
    }
    return some;
}

static bool
is_there(struct pool *pool)
{
    pool__table_each(proc, &pool->table)
    {
        if (proc->channel.held != 0 && pool__proc_serves(proc) &&
            pool__channel_replied(&proc->channel))
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

static void
collect(struct pool *pool)
{
    pool__table_each(proc, &pool->table)
    {
        if (pool__proc_serves(proc) && proc->channel.held != 0)
            pool__channel_collect(&proc->channel);
    }
}

bool
pool__spin(struct pool *pool, uint64_t until_ns)
{
    if (pool->spin_ns == 0 || pool->alarm.fd >= 0 || pool__is_pressed(pool) ||
        !pool__spin_pays(&pool->spin))
        return false;
    pool->driving = true;
    pool__sched_flush(&pool->sched);
    bool some = look_at(pool, true);
    bool found = some && search(pool, until_ns);
    (void)look_at(pool, false);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    found = found || is_there(pool);
    if (found) {
        collect(pool);
        pool__tell(pool);
    }
    pool->driving = false;
    if (some)
        pool__spin_note(&pool->spin, found);
    return found;
}
