/* Groups: how ranks that are peers start.
 *
 * A group waits until all its ranks were submitted and as many workers are
 * idle; then all go at once into sched->ranks, which go out before anything
 * else, each to an idle worker. So a group holds either all its workers or
 * none, and two of them never wait for one another. Who came first and finds
 * too few is overtaken by whoever finds enough; lest it be so for ever, after a
 * second it has one in which idle workers are kept for it, then the others
 * have one again: a worker that is busy for long, with something that waits for
 * those others, say, holds up nobody for longer.
 *
 * Invariants: groups wait in the order of priority, then of submission. A
 * group lives while one of its ranks has not settled. */
#include "group.h"

#include <stdio.h>

#include "budget.h"
#include "error.h"
#include "sched.h"

#define TURN_NS UINT64_C(1000000000) /* who came later may overtake; or not */

/* ---- making ----------------------------------------------------------- */

static void
free_if_done(struct pool__group *g)
{
    if (g->living != 0 || g->held)
        return;
    pool__list_remove(&g->node);
    pool__free(g);
}

/* It waits. */
static void
line_up(struct pool__group *g)
{
    struct pool__list *at = &g->sched->groups;

    pool__list_each(node, &g->sched->groups)
    {
        struct pool__group *other =
            pool__list_entry(node, struct pool__group, node);
        if (other->priority > g->priority) {
            at = node;
            break;
        }
    }
    g->since_ns = pool__now_ns();
    pool__list_append(at, &g->node); /* before it */
    pool__sched_keep_sweeping(g->sched);
}

/* With the last one the group begins to wait. */
static void
came(struct pool__member *m)
{
    if (m->came)
        return;
    m->came = true;
    if (--m->group->expected == 0 && m->group->living != 0)
        line_up(m->group);
}

static void
on_settled(struct pool__watcher *watcher, struct pool_future *task)
{
    struct pool__member *m =
        pool__container(watcher, struct pool__member, watcher);
    struct pool__group *g = m->group;

    m->task = NULL;
    if (--g->living == 0)
        task->extra->group = NULL;
    pool__peers_lost(m, task);
    came(m);
    g->sched->stirred = true; /* it, or who waits behind it, may start now */
    task->core->wake = true;
    free_if_done(g);
}

int
pool__group_make(
    struct pool__sched *s, struct pool_future *const *tasks, size_t n)
{
    struct pool__group *g =
        pool__zalloc(sizeof *g + n * sizeof(struct pool__member));

    if (g == NULL)
        return pool__fail(POOL_ENOMEM, "a group of %zu peers", n);
    pool__list_init(&g->node);
    g->sched = s;
    g->size = (int)n;
    for (size_t i = 0; i < n; i++) {
        struct pool__member *m = &g->members[i];
        m->group = g;
        m->rank = (int)i;
        m->task = tasks[i];
        m->watcher.settled = on_settled;
        m->came = m->task == NULL;
        if (m->came) {
            pool__peers_lost(m, NULL);
            continue;
        }
        m->task->extra->group = g;
        pool__task_watch(m->task, &m->watcher);
        g->priority = m->task->priority;
        g->living++;
    }
    g->expected = g->living;
    if (g->living == 0)
        free_if_done(g);
    return 0;
}

void
pool__group_came(struct pool_future *task)
{
    struct pool__member *m = pool__member_of(task);

    if (m->group->number == 0)
        m->group->number = task->number;
    came(m);
}

/* ---- starting --------------------------------------------------------- */

static bool
enough_idle(struct pool__sched *s, int n)
{
    pool__list_each(node, &s->idle)
    {
        if (--n == 0)
            return true;
    }
    return n <= 0;
}

static void
start(struct pool__sched *s, struct pool__group *g)
{
    pool__list_remove(&g->node);
    for (int i = 0; i < g->size; i++)
        if (g->members[i].task != NULL)
            pool__list_append(&s->ranks, &g->members[i].task->node);
}

/* Idle workers are kept for it now, where it has as many workers at all. */
static bool
is_its_turn(const struct pool__sched *s, const struct pool__group *g)
{
    return s->table->ready >= g->living &&
           (pool__now_ns() - g->since_ns) / TURN_NS % 2 == 1;
}

/* Whether the task goes before the group. */
static bool
goes_first(const struct pool_future *task, const struct pool__group *g)
{
    return task != NULL &&
           (task->priority < g->priority ||
               (task->priority == g->priority && task->number < g->number));
}

enum pool__turn_of
pool__group_turn(struct pool__sched *s, const struct pool_future *task)
{
    pool__list_each(node, &s->groups)
    {
        struct pool__group *g =
            pool__list_entry(node, struct pool__group, node);
        if (goes_first(task, g))
            return POOL__TURN_TASK;
        if (enough_idle(s, g->living)) {
            start(s, g);
            return POOL__TURN_GROUP;
        }
        if (is_its_turn(s, g))
            return POOL__TURN_NOBODY;
    }
    return POOL__TURN_TASK;
}

/* ---- ends ------------------------------------------------------------- */

static pool_failure_t
too_few(const struct pool__sched *s, const struct pool__group *g, char *text,
    size_t size)
{
    snprintf(text, size,
        "the pool was resized to %d workers, too few for a group of %d ranks",
        s->table->workers, g->living);
    return (pool_failure_t){
        .code = POOL_EBROKEN, .message = text, .exit_status = -1};
}

void
pool__group_back(struct pool__sched *s, struct pool_future *task)
{
    struct pool__group *g = pool__member_of(task)->group;
    char text[128];

    if (g->living <= s->table->workers) {
        pool__list_prepend(&s->ranks, &task->node);
        return;
    }
    pool_failure_t failure = too_few(s, g, text, sizeof text);
    pool__task_failed(task, &failure);
}

static void
settle(struct pool_future *task, const pool_failure_t *failure)
{
    pool__list_remove(&task->node);
    if (failure != NULL)
        pool__task_failed(task, failure);
    else
        pool__task_cancelled(task);
}

/* Of a group that waits. */
static void
settle_all(struct pool__group *g, const pool_failure_t *failure)
{
    g->held = true;
    for (int i = 0; i < g->size; i++)
        if (g->members[i].task != NULL)
            settle(g->members[i].task, failure);
    g->held = false;
    free_if_done(g);
}

void
pool__group_resized(struct pool__sched *s)
{
    char text[128];

    pool__list_each(node, &s->groups)
    {
        struct pool__group *g =
            pool__list_entry(node, struct pool__group, node);
        if (g->living > s->table->workers) {
            pool_failure_t failure = too_few(s, g, text, sizeof text);
            settle_all(g, &failure);
        }
    }
    pool__list_each(node, &s->ranks)
    {
        struct pool_future *task =
            pool__list_entry(node, struct pool_future, node);
        struct pool__group *g = pool__member_of(task)->group;
        if (g->living > s->table->workers) {
            pool_failure_t failure = too_few(s, g, text, sizeof text);
            settle(task, &failure);
        }
    }
}

bool
pool__group_settle(struct pool__sched *s, const pool_failure_t *failure)
{
    while (!pool__list_empty(&s->ranks)) {
        settle(
            pool__list_entry(s->ranks.next, struct pool_future, node), failure);
        if (pool__budget_over())
            return false;
    }
    while (!pool__list_empty(&s->groups)) {
        settle_all(pool__list_entry(s->groups.next, struct pool__group, node),
            failure);
        if (pool__budget_over())
            return false;
    }
    return true;
}
