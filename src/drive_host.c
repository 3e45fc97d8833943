/* Host drive: a uv_loop_t of the program's watches the pool's own.
 *
 * Three handles are in the host's loop: a poll of our loop's descriptor; a
 * prepare, which writes what was submitted before the host's loop sleeps; and
 * an idle, which keeps it from sleeping while replies come by memory. The
 * prepare is referenced while there is something to come, the others never. A
 * turn ends by its budget; what is left makes the descriptor readable again.
 *
 * Invariant: between two turns workers are looked at (see spin.c) only while
 * the idle is active. Where tasks are unsettled too (goes_on) another turn
 * follows, and no call of the program need see to it. */
#include <stdio.h>
#include <stdlib.h>

#include "budget.h"
#include "error.h"
#include "owner.h"
#include "pool.h"

#define BUDGET_NS 200000 /* of a turn, and then the step that is begun */
#define LIMIT_NS 1000000 /* that a debug build asserts ... */
#define MOST_NS 20000000 /* but for what a loaded machine adds: */
#define SLIPS_ONE_IN 10  /* turns, by no more than this, */
#define SLIPS_FEW 20     /* and so many of a pool that has had few */
/* Bytes read or written at once: four pages, each of which may be new and take
 * tens of microseconds. Those of the receive buffer are not. */
#define PIECE ((size_t)16 << 10)
#define INBOX_USED (4 * PIECE)

/* What the library took of the host's thread. The kernel's part of it (a pipe
 * that is locked, a page that must be found) is now and then longer on a
 * loaded machine; work that was not cut into pieces is far longer, or comes
 * again and again. */
static void
measure(struct pool *pool, uint64_t used_ns)
{
    uint64_t *longest = &pool->core->stats.longest_turn_ns;

    pool->host.turns++;
    *longest = pool__max(*longest, used_ns);
    if (used_ns <= LIMIT_NS)
        return;
    uint64_t slips = ++pool->host.slips;
    if (used_ns <= MOST_NS &&
        (slips <= SLIPS_FEW || slips * SLIPS_ONE_IN <= pool->host.turns))
        return;
    fprintf(stderr,
        "forkpool: %s: %llu us of the host's loop in one turn (%llu of %llu "
        "turns took more than %d)\n",
        pool->name, (unsigned long long)used_ns / 1000,
        (unsigned long long)slips, (unsigned long long)pool->host.turns,
        LIMIT_NS / 1000);
    abort();
}

void
pool__host_keep(struct pool *pool)
{
    bool busy =
        pool->core->unsettled != 0 || pool->closing || pool__has_work(pool);

    if (busy == pool->host.busy || pool->host.prepare == NULL)
        return;
    pool->host.busy = busy;
    if (busy)
        uv_ref((uv_handle_t *)pool->host.prepare);
    else
        uv_unref((uv_handle_t *)pool->host.prepare);
}

static void
on_idle(uv_idle_t *handle)
{
    (void)handle; /* that it is active is enough */
}

/* Replies that stood in memory will be followed by others, which then need not
 * be written to the pipe. Where there were none the host's loop may sleep. */
static void
look_on(struct pool *pool)
{
    bool found = pool->found && !pool->closing;

    if (!found) {
        pool->driving = true;
        found = pool__look_away(pool);
        if (found)
            pool__tell(pool);
        pool->driving = false;
    }
    if (found)
        uv_idle_start(pool->host.idle, on_idle);
    else
        uv_idle_stop(pool->host.idle);
    pool->host.goes_on = found && pool->core->unsettled != 0;
    pool->core->wake |= !pool->host.goes_on;
}

static void
host_turn(struct pool *pool)
{
    pool__budget_begin(BUDGET_NS);
    pool__turn_over(pool);
    if (!pool__is_foreign(pool))
        look_on(pool);
    uint64_t used = pool__budget_close();
    if (pool__is_foreign(pool))
        return;
    pool__alarm_set(pool);
    measure(pool, used);
    if (pool->closing && pool__close_done(pool))
        pool__host_close(pool);
    else
        pool__host_keep(pool);
}

/* The poll stays: to stop it would be felt in the parent, where the child has
 * not called uv_loop_fork. */
int
pool__host_forget(struct pool *pool)
{
    uv_os_fd_t watched = -1;

    if (pool->host.last != NULL)
        pool->host.last->data = NULL;
    if (pool->host.prepare == NULL)
        return watched;
    uv_prepare_stop(pool->host.prepare);
    uv_idle_stop(pool->host.idle);
    pool->host.poll->data = NULL;
    (void)uv_fileno((uv_handle_t *)pool->host.poll, &watched);
    return watched;
}

static void
on_readable(uv_poll_t *handle, int status, int events)
{
    struct pool *pool = handle->data;

    (void)status;
    (void)events;
    if (pool != NULL && !pool__is_foreign(pool))
        host_turn(pool);
}

static uint64_t
settled(const struct pool *pool)
{
    return pool->core->last_number - pool->core->unsettled;
}

/* The host's loop is about to sleep; not so if something was settled now: who
 * runs it once waits for that, perhaps. */
static void
on_prepare(uv_prepare_t *handle)
{
    struct pool *pool = handle->data;

    if (pool__is_foreign(pool)) {
        (void)pool__host_forget(pool);
        return;
    }
    if (!pool__has_work(pool) && !pool->closing &&
        !uv_is_active((uv_handle_t *)pool->host.idle)) {
        pool__alarm_set(pool);
        return;
    }
    uint64_t before = settled(pool);
    host_turn(pool);
    if (!pool__is_foreign(pool) && settled(pool) != before &&
        pool->host.prepare != NULL)
        uv_idle_start(pool->host.idle, on_idle);
}

int
pool__host_open(struct pool *pool, uv_loop_t *loop)
{
    int rc = pool__alarm_open(pool);

    if (rc < 0)
        return rc;
    pool->host.poll = pool__malloc(sizeof *pool->host.poll);
    pool->host.prepare = pool__malloc(sizeof *pool->host.prepare);
    pool->host.idle = pool__malloc(sizeof *pool->host.idle);
    if (pool->host.poll == NULL || pool->host.prepare == NULL ||
        pool->host.idle == NULL)
        rc = pool__fail(POOL_ENOMEM, "pool_create: handles");
    if (rc == 0)
        rc = uv_poll_init(loop, pool->host.poll, uv_backend_fd(&pool->loop));
    if (rc < 0) {
        pool__free(pool->host.poll);
        pool__free(pool->host.prepare);
        pool__free(pool->host.idle);
        pool->host.poll = NULL;
        pool->host.prepare = NULL;
        pool->host.idle = NULL;
        return rc;
    }
    uv_prepare_init(loop, pool->host.prepare);
    uv_idle_init(loop, pool->host.idle);
    pool->host.poll->data = pool->host.prepare->data = pool;
    uv_poll_start(pool->host.poll, UV_READABLE, on_readable);
    uv_prepare_start(pool->host.prepare, on_prepare);
    uv_unref((uv_handle_t *)pool->host.poll);
    uv_unref((uv_handle_t *)pool->host.prepare);
    uv_unref((uv_handle_t *)pool->host.idle);
    pool->core->sliced = true;
    pool->table.inbox.piece = PIECE;
    pool__populate(pool->table.inbox.bytes, INBOX_USED);
    return 0;
}

static void
on_handle_closed(uv_handle_t *handle)
{
    pool__free(handle);
}

static void
on_last_closed(uv_handle_t *handle)
{
    struct pool *pool = handle->data;

    pool__free(handle);
    if (pool == NULL)
        return; /* in a forked child that has destroyed its copy */
    pool->host.last = NULL;
    if (pool__is_foreign(pool))
        return;
    struct pool__core *core = pool->core;
    void (*on_closed)(void *) = pool->on_closed;
    void *data = pool->closed_data;
    pool__close_free(pool);
    if (pool__core_unused(core))
        pool__core_free(core);
    if (on_closed != NULL)
        on_closed(data);
}

void
pool__host_close(struct pool *pool)
{
    if (pool->host.prepare == NULL)
        return; /* under way */
    /* libuv calls back for the handle that was closed last first. */
    uv_close((uv_handle_t *)pool->host.prepare, on_last_closed);
    uv_close((uv_handle_t *)pool->host.poll, on_handle_closed);
    uv_close((uv_handle_t *)pool->host.idle, on_handle_closed);
    pool->host.last = pool->host.prepare;
    pool->host.prepare = NULL;
}
