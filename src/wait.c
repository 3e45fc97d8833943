/* Waiting for several futures.
 *
 * A future that a wait is interested in is marked, and the place that settles
 * it counts: so a wait costs O(n) once, whatever happens meanwhile. Nothing
 * waits inside a wait, so one set of marks suffices. */
#include <poll.h>

#include "error.h"
#include "mem.h"
#include "pool.h"

struct wait {
    struct pool__list pools; /* the distinct ones, through pool->waited */
    size_t pool_count;
    int mode;
    size_t done, failed, open; /* when the wait began */
};

static void
join(struct wait *w, struct pool *pool)
{
    if (pool == NULL || !pool__list_empty(&pool->waited))
        return;
    pool->core->waited_done = pool->core->waited_failed = 0;
    pool__list_append(&w->pools, &pool->waited);
    w->pool_count++;
}

static void
mark(struct wait *w, pool_future_t *const *futures, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct pool_future *f = futures[i];
        if (f->counted)
            continue;
        f->counted = true;
        if (pool__task_settled(f)) {
            w->done++;
            w->failed += f->state == POOL__TASK_FAILED;
        } else {
            w->open++;
            f->waited = true;
            join(w, f->core->pool);
        }
    }
}

/* Undo the marks; how many have settled. */
static size_t
unmark(struct wait *w, pool_future_t *const *futures, size_t n)
{
    size_t done = 0;

    for (size_t i = 0; i < n; i++) {
        done += futures[i]->counted && pool__task_settled(futures[i]);
        futures[i]->counted = futures[i]->waited = false;
    }
    pool__list_each(node, &w->pools)
    {
        pool__list_remove(node);
    }
    return done;
}

static bool
satisfied(void *data)
{
    struct wait *w = data;
    size_t done = 0, failed = w->failed;

    pool__list_each(node, &w->pools)
    {
        struct pool *pool = pool__list_entry(node, struct pool, waited);
        done += pool->core->waited_done;
        failed += pool->core->waited_failed;
    }
    return done == w->open ||
           (w->mode == POOL_FIRST_COMPLETED && w->done + done != 0) ||
           (w->mode == POOL_FIRST_EXCEPTION && failed != 0);
}

/* ---- several pools: their loops share one poll(2) ---------------------- */

/* Drive each once; how long poll may sleep, -1 for ever. */
static int
drive_each(struct wait *w, struct pollfd *set, int most)
{
    nfds_t i = 0;

    pool__list_each(node, &w->pools)
    {
        struct pool *pool = pool__list_entry(node, struct pool, waited);
        pool__drive_once(pool);
        int next = uv_backend_timeout(&pool->loop);
        if (next >= 0 && (most < 0 || next < most))
            most = next;
        set[i++] =
            (struct pollfd){.fd = uv_backend_fd(&pool->loop), .events = POLLIN};
    }
    return most;
}

static int
wait_across(struct wait *w, int timeout_ms)
{
    uint64_t end = pool__now_ns() + (uint64_t)timeout_ms * 1000000;
    struct pollfd *set = pool__malloc(w->pool_count * sizeof *set);

    if (set == NULL)
        return pool__fail(POOL_ENOMEM, "pool_wait: %zu pools", w->pool_count);
    for (;;) {
        uint64_t now = pool__now_ns();
        int left = timeout_ms < 0 ? -1
                   : now < end    ? (int)((end - now + 999999) / 1000000)
                                  : 0;
        int sleep = drive_each(w, set, left);
        if (satisfied(w) || left == 0)
            break;
        (void)poll(set, w->pool_count, sleep);
    }
    pool__free(set);
    return satisfied(w) ? 0
                        : pool__fail(POOL_ETIMEDOUT,
                              "pool_wait: not within %d ms", timeout_ms);
}

static bool
inside_a_loop(const struct wait *w)
{
    bool inside = false;

    pool__list_each(node, &w->pools)
    {
        inside |= pool__list_entry(node, struct pool, waited)->driving;
    }
    return inside;
}

static int
wait_for(struct wait *w, int timeout_ms)
{
    if (satisfied(w))
        return 0;
    if (inside_a_loop(w))
        return pool__fail(POOL_EDEADLK,
            "pool_wait: would wait inside a task or callback of the pool");
    if (w->pool_count > 1)
        return wait_across(w, timeout_ms);
    return pool__drive(pool__list_entry(w->pools.next, struct pool, waited),
        satisfied, w, timeout_ms, "pool_wait");
}

static int
check_wait(pool_future_t *const *futures, size_t n, int mode, int timeout_ms)
{
    if (futures == NULL && n != 0)
        return pool__fail(POOL_EINVAL, "pool_wait: futures is NULL");
    if (mode < POOL_ALL_COMPLETED || mode > POOL_FIRST_EXCEPTION)
        return pool__fail(POOL_EINVAL, "pool_wait: mode is %d", mode);
    int rc = pool__check_timeout(timeout_ms, "pool_wait");
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = futures[i] != NULL
                 ? pool__check_core(futures[i]->core, "pool_wait")
                 : pool__fail(POOL_EINVAL, "pool_wait: future %zu is NULL", i);
    return rc;
}

int
pool_wait(pool_future_t *const *futures, size_t n, int mode, int timeout_ms,
    size_t *ndone)
{
    struct wait w = {.mode = mode};
    int rc = check_wait(futures, n, mode, timeout_ms);

    if (rc < 0)
        return rc;
    pool__list_init(&w.pools);
    mark(&w, futures, n);
    rc = wait_for(&w, timeout_ms);
    size_t done = unmark(&w, futures, n);
    if (ndone != NULL)
        *ndone = done;
    return rc;
}
