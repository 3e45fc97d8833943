/* Waiting for several futures, of one pool or of several.
 *
 * Each unsettled future gets a watcher that counts, so a wait costs O(n) once,
 * whatever happens meanwhile. A wait holds its futures. Pools that threads
 * drive settle theirs in those threads: counts are atomic, and an eventfd wakes
 * who sleeps on several pools at once. */
#define _GNU_SOURCE
#include <poll.h>
#include <unistd.h>

#include "error.h"
#include "fdio.h"
#include "pool.h"

/* ---- gates: the pools that a wait is about ------------------------------- */

static int
check_future(const pool_future_t *future, size_t i, const char *who)
{
    if (future == NULL)
        return pool__fail(POOL_EINVAL, "%s: future %zu is NULL", who, i);
    int rc = pool__enter(future->core, who);
    if (rc == 0)
        pool__leave(future->core);
    return rc;
}

static bool
has_core(const struct pool__gate *gate, const struct pool__core *core)
{
    for (size_t i = 0; i < gate->count; i++)
        if (gate->cores[i] == core)
            return true;
    return false;
}

/* A gate holds its cores: callbacks may free the futures meanwhile. */
static int
add_core(struct pool__gate *gate, struct pool__core *core, const char *who)
{
    size_t size = (gate->count + 1) * sizeof gate->cores[0];
    struct pool__core **cores = pool__realloc(gate->cores, size);

    if (cores == NULL)
        return pool__fail(POOL_ENOMEM, "%s: a list of pools", who);
    gate->cores = cores;
    int rc = pool__enter(core, who);
    if (rc < 0)
        return rc;
    core->cells_out++;
    pool__leave(core);
    gate->cores[gate->count++] = core;
    return 0;
}

static void
let_core_go(struct pool__core *core)
{
    if (pool__enter(core, "the end of a wait") < 0)
        return; /* in a child that was forked meanwhile */
    core->cells_out--;
    pool__leave(core);
}

int
pool__gate_open(struct pool__gate *gate, pool_future_t *const *futures,
    size_t n, const char *who)
{
    const struct pool__core *last = NULL;
    int rc = 0;

    *gate = (struct pool__gate){.event = -1};
    for (size_t i = 0; i < n && rc == 0; i++) {
        if (futures[i] != NULL && futures[i]->core == last)
            continue;
        rc = check_future(futures[i], i, who);
        if (rc == 0 && !has_core(gate, futures[i]->core))
            rc = add_core(gate, futures[i]->core, who);
        if (rc == 0)
            last = futures[i]->core;
    }
    if (rc == 0 && gate->count > 1) {
        gate->event = pool__bell_new();
        if (gate->event < 0)
            rc = pool__fail(
                gate->event, "%s: %s", who, pool_strerror(gate->event));
    }
    if (rc < 0)
        pool__gate_close(gate);
    return rc;
}

void
pool__gate_close(struct pool__gate *gate)
{
    if (gate->event >= 0)
        close(gate->event);
    gate->event = -1;
    for (size_t i = 0; i < gate->count; i++)
        let_core_go(gate->cores[i]);
    gate->count = 0;
    pool__free(gate->cores);
    gate->cores = NULL;
}

void
pool__gate_signal(struct pool__gate *gate)
{
    if (gate->event >= 0)
        pool__bell_ring(gate->event);
}

void
pool__gate_wake(struct pool__gate *gate, const char *who)
{
    for (size_t i = 0; i < gate->count; i++) {
        if (pool__enter(gate->cores[i], who) < 0)
            continue;
        gate->cores[i]->wake = true; /* who waits there is asked */
        pool__leave(gate->cores[i]);
    }
    pool__gate_signal(gate);
}

/* ---- several pools at once --------------------------------------------------
 */

/* Let caller-driven pools work; how long poll may sleep, -1 for ever. */
static int
drive_each(struct pool__gate *gate, struct pollfd *set, int most)
{
    for (size_t i = 0; i < gate->count; i++) {
        struct pool__core *core = gate->cores[i];
        struct pool *pool = core->threaded ? NULL : core->pool;
        set[i] = (struct pollfd){.fd = -1};
        if (pool == NULL || pool->drive != POOL__DRIVE_CALLER)
            continue;
        pool__drive_once(pool);
        if (pool__is_foreign(pool))
            return 0; /* a callback has forked: it is the child's copy */
        bool more = !pool->driving && pool__look_away(pool);
        int next = more || pool__is_pressed(pool)
                       ? 0
                       : uv_backend_timeout(&pool->loop);
        if (next >= 0 && (most < 0 || next < most))
            most = next;
        set[i] =
            (struct pollfd){.fd = uv_backend_fd(&pool->loop), .events = POLLIN};
    }
    return most;
}

/* Sleep until one of the pools moves. */
static void
sleep_on(struct pool__gate *gate, struct pollfd *set, int timeout_ms)
{
    set[gate->count] = (struct pollfd){.fd = gate->event, .events = POLLIN};
    (void)poll(set, gate->count + 1, timeout_ms);
    pool__bell_take(gate->event);
}

/* What is due is told before the wait is over. */
static void
tell_each(struct pool__gate *gate, const char *who)
{
    for (size_t i = 0; i < gate->count; i++) {
        struct pool__core *core = gate->cores[i];
        if (!core->threaded && pool__enter(core, who) == 0)
            pool__leave(core);
    }
}

static int
wait_across(struct pool__gate *gate, bool (*done)(void *), void *data,
    int timeout_ms, const char *who)
{
    uint64_t end = pool__end_ns(timeout_ms);
    struct pollfd *set = pool__malloc((gate->count + 1) * sizeof *set);

    if (set == NULL)
        return pool__fail(POOL_ENOMEM, "%s: %zu pools", who, gate->count);
    for (;;) {
        uint64_t now = pool__now_ns();
        int left = timeout_ms < 0 ? -1
                   : now < end    ? (int)((end - now + 999999) / 1000000)
                                  : 0;
        int sleep = drive_each(gate, set, left);
        bool over = done(data) || left == 0;
        if (over)
            tell_each(gate, who);
        if (gate->cores[0]->stamp != pool__owner_stamp()) {
            pool__free(set);
            return pool__refuse_process(who);
        }
        if (over)
            break;
        sleep_on(gate, set, sleep);
    }
    pool__free(set);
    return done(data) ? 0
                      : pool__fail(POOL_ETIMEDOUT, "%s: not within %d ms", who,
                            timeout_ms);
}

/* The threads of thread-driven pools are to tell at once what settles, or need
 * do so no more. */
static void
attend(struct pool__gate *gate, bool listens)
{
    for (size_t i = 0; i < gate->count; i++) {
        struct pool__core *core = gate->cores[i];
        if (!core->threaded ||
            pool__enter(core, "a wait for several pools") < 0)
            continue; /* it was checked */
        pool__core_listen(core, listens);
        pool__leave(core);
    }
}

static bool
waits_for_itself(const struct pool__gate *gate, const char *who)
{
    bool itself = false;

    for (size_t i = 0; i < gate->count; i++) {
        struct pool__core *core = gate->cores[i];
        if (pool__enter(core, who) < 0)
            continue; /* it was checked */
        itself |= core->pool != NULL && pool__must_not_wait(core->pool);
        pool__leave(core);
    }
    return itself;
}

int
pool__gate_wait(struct pool__gate *gate, bool (*done)(void *), void *data,
    int timeout_ms, const char *who)
{
    struct pool__core *core = gate->count == 1 ? gate->cores[0] : NULL;

    if (core == NULL) {
        if (done(data))
            return 0;
        if (timeout_ms != 0 && waits_for_itself(gate, who))
            return pool__fail(POOL_EDEADLK,
                "%s: would wait inside a task, a callback or the host's loop",
                who);
        attend(gate, true);
        int rc = wait_across(gate, done, data, timeout_ms, who);
        attend(gate, false);
        return rc;
    }
    int rc = pool__enter(core, who);
    if (rc < 0)
        return rc;
    if (!done(data))
        rc = core->pool != NULL
                 ? pool__drive(core->pool, done, data, timeout_ms, who)
                 : pool__fail(POOL_ETIMEDOUT, "%s: the pool is gone", who);
    pool__leave(core);
    return rc;
}

/* ---- pool_wait ----------------------------------------------------------- */

struct wait;

struct link {
    struct pool__watcher watcher;
    struct wait *wait;
    struct pool_future *future;
};

struct wait {
    struct pool__gate gate;
    int mode;
    struct link *links;
    size_t open;         /* unsettled when the wait began: so many links */
    size_t done, failed; /* settled then and since */
    size_t since;        /* of them, since */
};

static void
on_settled(struct pool__watcher *watcher, struct pool_future *future)
{
    struct wait *w = pool__container(watcher, struct link, watcher)->wait;

    if (future->state == POOL__TASK_FAILED)
        __atomic_add_fetch(&w->failed, 1, __ATOMIC_RELEASE);
    __atomic_add_fetch(&w->done, 1, __ATOMIC_RELEASE);
    __atomic_add_fetch(&w->since, 1, __ATOMIC_RELEASE);
    pool__gate_signal(&w->gate);
}

static bool
satisfied(void *data)
{
    struct wait *w = data;

    return pool__load(&w->since) == w->open ||
           (w->mode == POOL_FIRST_COMPLETED && pool__load(&w->done) != 0) ||
           (w->mode == POOL_FIRST_EXCEPTION && pool__load(&w->failed) != 0);
}

static void
add(struct wait *w, struct pool_future *f)
{
    if (pool__task_settled(f)) {
        __atomic_add_fetch(&w->done, 1, __ATOMIC_RELEASE);
        if (f->state == POOL__TASK_FAILED)
            __atomic_add_fetch(&w->failed, 1, __ATOMIC_RELEASE);
        return;
    }
    struct link *link = &w->links[w->open++];
    *link =
        (struct link){.watcher.settled = on_settled, .wait = w, .future = f};
    (void)pool__task_hold(f, 1);
    pool__task_watch(f, &link->watcher);
}

/* Those of one core, each once: marks tell duplicates, under its lock. */
static void
add_of_core(struct wait *w, struct pool__core *core,
    pool_future_t *const *futures, size_t n, const char *who)
{
    if (pool__enter(core, who) < 0)
        return; /* it was checked */
    for (size_t i = 0; i < n; i++)
        if (futures[i]->core == core && !futures[i]->marked) {
            futures[i]->marked = true;
            add(w, futures[i]);
        }
    for (size_t i = 0; i < n; i++)
        if (futures[i]->core == core)
            futures[i]->marked = false;
    pool__leave(core);
}

static void
unlink_all(struct wait *w, const char *who)
{
    for (size_t i = 0; i < w->open; i++) {
        struct pool_future *f = w->links[i].future;
        struct pool__core *core = f->core;
        bool entered = pool__enter(core, who) == 0;
        /* Not so where a callback has forked: then all this is the child's,
         * unless another thread was at it (see forget() in close.c). */
        if (!entered && core->threaded)
            continue;
        if (!pool__task_settled(f))
            pool__task_unwatch(f, &w->links[i].watcher);
        if (!entered)
            continue;
        pool__task_unref(f);
        pool__leave(core);
    }
}

static int
check_wait(pool_future_t *const *futures, size_t n, int mode, int timeout_ms)
{
    if (futures == NULL && n != 0)
        return pool__fail(POOL_EINVAL, "pool_wait: futures is NULL");
    if (mode < POOL_ALL_COMPLETED || mode > POOL_FIRST_EXCEPTION)
        return pool__fail(POOL_EINVAL, "pool_wait: mode is %d", mode);
    return pool__check_timeout(timeout_ms, "pool_wait");
}

int
pool_wait(pool_future_t *const *futures, size_t n, int mode, int timeout_ms,
    size_t *ndone)
{
    static const char who[] = "pool_wait";
    struct wait w = {.mode = mode};
    int rc = check_wait(futures, n, mode, timeout_ms);

    if (rc == 0)
        rc = pool__gate_open(&w.gate, futures, n, who);
    if (rc < 0)
        return rc;
    w.links = pool__malloc(n * sizeof *w.links);
    if (w.links == NULL) {
        pool__gate_close(&w.gate);
        return pool__fail(POOL_ENOMEM, "%s: %zu futures", who, n);
    }
    for (size_t i = 0; i < w.gate.count; i++)
        add_of_core(&w, w.gate.cores[i], futures, n, who);
    rc = n != 0 ? pool__gate_wait(&w.gate, satisfied, &w, timeout_ms, who) : 0;
    unlink_all(&w, who);
    if (ndone != NULL)
        *ndone = pool__load(&w.done);
    pool__free(w.links);
    pool__gate_close(&w.gate);
    return rc;
}
