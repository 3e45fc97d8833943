/* Telling the program: done callbacks, lines of log, room in the queue.
 *
 * Invariant: the program's code runs here alone, one call at a time in the
 * order of what happened, with no lock held and the supervisor's state whole.
 */
#include <stdio.h>
#include <string.h>

#include "budget.h"
#include "error.h"
#include "pool.h"

#define TELL_NS 1000000u /* of the program's code, then the loop has a turn */
#define SHORT_NS 200000u /* the same, where a host's loop waits */
#define LOOK_EACH 8      /* callbacks from one look at the clock to the next */
#define UNTOLD_MOST (4096u << 10) /* bytes that wait; then no more is read */
#define SHARE (16u << 10)         /* of each worker in a turn while any do */

/* ---- done callbacks ----------------------------------------------------- */

struct callback {
    struct pool__watcher watcher; /* while the task is pending */
    struct pool__notice notice;   /* from then on */
    struct pool_future *future;   /* held */
    pool_done_fn fn;
    void *data;
};

static void
call_back(struct pool__notice *notice)
{
    struct callback *cb = pool__container(notice, struct callback, notice);
    struct pool_future *future = cb->future;
    struct pool__core *core = future->core;

    pool__unlock(core);
    cb->fn(future, cb->data);
    pool__lock(core);
    pool__free(cb);
    pool__task_unref(future);
}

static void
on_settled(struct pool__watcher *watcher, struct pool_future *future)
{
    struct callback *cb = pool__container(watcher, struct callback, watcher);

    cb->notice.size = sizeof *cb + sizeof *future;
    if (future->block != NULL)
        cb->notice.size += future->size;
    pool__core_listen(future->core, false);
    pool__notice_add(future->core, &cb->notice);
}

static int
watch(struct pool_future *future, pool_done_fn fn, void *data)
{
    struct callback *cb = pool__malloc(sizeof *cb);

    if (cb == NULL)
        return pool__fail(
            POOL_ENOMEM, "pool_future_add_done_callback: a callback");
    *cb = (struct callback){.future = future, .fn = fn, .data = data};
    cb->watcher.settled = on_settled;
    cb->notice.run = call_back;
    (void)pool__task_hold(future, 1);
    pool__task_watch(future, &cb->watcher);
    pool__core_listen(future->core, true);
    return 0;
}

/* It has settled: call back now, in this thread. Where that is the one that
 * drives, it is like every other callback. */
static void
call_now(struct pool_future *future, pool_done_fn callback, void *data)
{
    struct pool__core *core = future->core;
    struct pool *pool = core->threaded ? NULL : core->pool;
    bool was_driving = pool != NULL && pool->driving;

    (void)pool__task_hold(future, 1);
    if (pool != NULL)
        pool->driving = true;
    pool__unlock(core);
    callback(future, data);
    pool__lock(core);
    if (pool != NULL)
        pool->driving = was_driving;
    pool__task_unref(future);
}

int
pool_future_add_done_callback(
    pool_future_t *future, pool_done_fn callback, void *data)
{
    static const char who[] = "pool_future_add_done_callback";

    if (future == NULL || callback == NULL)
        return pool__fail(POOL_EINVAL, "%s: %s is NULL", who,
            future == NULL ? "future" : "callback");
    struct pool__core *core = future->core;
    int rc = pool__enter(core, who);
    if (rc < 0)
        return rc;
    if (pool__task_settled(future))
        call_now(future, callback, data);
    else
        rc = watch(future, callback, data);
    pool__leave(core);
    return rc;
}

/* ---- lines of log ----------------------------------------------------------
 */

struct line {
    struct pool__notice notice;
    struct pool__core *core;
    pool_log_t log;
    char text[];
};

static void
tell_line(struct pool__notice *notice)
{
    struct line *line = pool__container(notice, struct line, notice);
    struct pool *pool = line->core->pool;

    pool__unlock(line->core);
    pool->log(&line->log, pool->log_data);
    pool__lock(line->core);
    pool__free(line);
}

void
pool__log(struct pool *pool, int kind, pid_t pid, uint64_t task_id,
    const char *text, size_t length)
{
    struct line *line =
        pool->log != NULL ? pool__malloc(sizeof *line + length + 1) : NULL;

    if (line == NULL)
        return; /* nobody wants it, or memory is out */
    line->core = pool->core;
    line->notice.run = tell_line;
    line->notice.size = sizeof *line + length;
    memcpy(line->text, text, length);
    line->text[length] = '\0';
    line->log = (pool_log_t){.kind = kind,
        .pid = pid,
        .task_id = task_id,
        .text = line->text,
        .length = length};
    pool__notice_add(pool->core, &line->notice);
}

/* ---- all of it ----------------------------------------------------------- */

bool
pool__drain_due(const struct pool *pool)
{
    return pool->core->drain_wanted && !pool->shut &&
           pool->core->unsettled < pool->max_pending;
}

static void
tell_drain(struct pool *pool)
{
    if (!pool__drain_due(pool))
        return;
    pool->core->drain_wanted = false;
    if (pool->drain == NULL)
        return;
    pool__unlock(pool->core);
    pool->drain(pool, pool->drain_data);
    pool__lock(pool->core);
}

static void
set_shares(struct pool *pool, uint64_t heard, size_t loud, size_t quiet)
{
    pool->table.inbox.heard = heard;
    pool->table.inbox.loud_share = loud;
    pool->table.inbox.quiet_share = quiet;
}

/* Workers may print more, and end more tasks, than the program takes. One that
 * does so shall silence no other: of whom nothing waits is always read. */
void
pool__listen(struct pool *pool)
{
    size_t untold = pool->core->untold;
    size_t share = untold == 0 ? SIZE_MAX : SHARE;

    set_shares(pool, pool->core->told, untold < UNTOLD_MOST ? share : 0, share);
}

void
pool__listen_little(struct pool *pool, uint64_t due)
{
    set_shares(pool, due, 0, SHARE);
}

void
pool__listen_not(struct pool *pool)
{
    set_shares(pool, 0, 0, 0);
}

static void
tell_next(struct pool__core *core)
{
    struct pool__list *node = core->notices.next;
    struct pool__notice *notice =
        pool__list_entry(node, struct pool__notice, node);

    pool__list_remove(node);
    core->told++;
    core->untold -= notice->size;
    notice->run(notice);
}

/* Whether the clock is read after this one. A look costs a tenth of a task with
 * a callback, so where no host's loop waits it isn't read after each of many.
 */
static bool
is_looked_after(unsigned n)
{
    return pool__budget_limited() || n % LOOK_EACH == 0 || (n & (n - 1)) == 0;
}

/* A callback may take long, and there may always be another: in between the
 * loop has its turn, so that workers are fed and held to their deadlines. */
void
pool__tell(struct pool *pool)
{
    struct pool__core *core = pool->core;
    uint64_t most = pool__budget_limited() ? SHORT_NS : TELL_NS;
    uint64_t end = pool__list_empty(&core->notices) ? 0 : pool__now_ns() + most;

    for (unsigned n = 1; !pool__list_empty(&core->notices); n++) {
        tell_next(core);
        if (pool__is_foreign(pool))
            return;
        if (is_looked_after(n) && pool__now_ns() >= end)
            break;
    }
    tell_drain(pool);
}
