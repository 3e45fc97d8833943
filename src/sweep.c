/* The sweep: each 10 ms a look at what no event tells.
 *
 * Invariant: it runs while some worker holds a task that it hasn't begun, or
 * two: then a reply may stand in its buffer behind a task that takes long, and
 * tasks may wait behind it or for a worker that doesn't move. It runs too while
 * groups of peers wait, or some worker has room for no more, which it may make
 * without an answer: of tasks that were taken back.
 *
 * And each second, where large payloads come and go, whether they still do. */
#include "sched.h"
#include "watch.h"

#define TIDY_MS 1000
#define TIDY_NEXT_MS 5

void
pool__sched_keep_sweeping(struct pool__sched *s)
{
    if (!uv_is_active((uv_handle_t *)&s->sweep))
        uv_timer_again(&s->sweep);
}

/* At most so many bytes. */
static void
sweep_one(struct pool__sched *s, struct pool__proc *proc, size_t most)
{
    struct pool__channel *ch = &proc->channel;

    pool__channel_read(ch, pool__min(most, POOL__INBOX_MIN));
    pool__channel_collect(ch, pool__min(most, POOL__REPLY_BUFFER));
    if (ch->held == 0 || most == 0)
        return;
    bool claimed = pool__channel_claimed(ch, ch->head);
    if (ch->head == proc->sched.watched && claimed) {
        pool__sched_take_back(s, proc, ch->head + 1); /* it takes long */
    } else if (ch->head == proc->sched.unclaimed &&
               !pool__list_empty(&s->idle)) {
        proc->sched.slow = true;
        pool__sched_take_back(s, proc, ch->head); /* it doesn't begin */
    }
    proc->sched.watched = claimed ? ch->head : 0;
    proc->sched.unclaimed = claimed ? 0 : ch->head;
}

/* Whether a reply may stand in its buffer, a task wait in its pipe, or room
 * come. */
static bool
wants_sweep(struct pool__channel *ch)
{
    return ch->held >= 2 || !pool__channel_has_room(ch) ||
           (ch->held == 1 && (!pool__channel_claimed(ch, ch->head) ||
                                 pool__channel_replied(ch)));
}

/* asked: somebody has asked for what is there. */
static void
look(struct pool__sched *s, bool asked)
{
    pool__table_each(proc, s->table)
    {
        size_t most = SIZE_MAX;
        if (!asked)
            most = pool__channel_share(&proc->channel, most);
        if (pool__proc_serves(proc) && proc->channel.held != 0)
            sweep_one(s, proc, most);
        if (pool__proc_serves(proc) && !pool__channel_has_room(&proc->channel))
            pool__sched_flush_one(s, proc);
    }
    pool__sched_run(s);
}

void
pool__sched_look(struct pool__sched *s)
{
    look(s, true);
}

void
pool__sched_on_sweep(uv_timer_t *timer)
{
    struct pool__sched *s = timer->data;

    look(s, false);
    bool needed = !pool__list_empty(&s->groups); /* whose turns change */
    pool__table_each(proc, s->table)
    {
        needed =
            needed || (pool__proc_serves(proc) && wants_sweep(&proc->channel));
    }
    if (needed)
        return;
    uv_timer_stop(timer);
    s->run.left = 0; /* who is given the next one starts it again */
}

/* One worker's pages at a time: they take milliseconds. */
static void
on_tidy(uv_timer_t *timer)
{
    struct pool__sched *s = timer->data;
    uint64_t since = pool__now_ns() - TIDY_MS * UINT64_C(1000000);
    bool left = false;

    pool__table_each(proc, s->table)
    {
        if (!proc->channel.open)
            continue;
        if (pool__channel_tidy(&proc->channel, since)) {
            pool__timer_start(timer, on_tidy, TIDY_NEXT_MS, TIDY_MS);
            return;
        }
        left = left || pool__channel_untidy(&proc->channel);
    }
    if (left)
        return;
    uv_timer_stop(timer);
    pool__core_warm(s->core, false);
}

void
pool__sched_tidy_later(struct pool__sched *s)
{
    if (uv_is_active((uv_handle_t *)&s->tidy))
        return;
    pool__timer_start(&s->tidy, on_tidy, TIDY_MS, TIDY_MS);
    pool__core_warm(s->core, true);
}
