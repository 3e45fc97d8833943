/* Thread drive: a thread of the pool's sleeps on the loop's descriptor and
 * runs the loop under the pool's lock; every public function works under the
 * same lock, in its own thread.
 *
 * A thread of the program's that waits, and is the only one, leads meanwhile:
 * it sleeps on the descriptor and runs the loop itself, so that a reply wakes
 * one thread, not two. It never tells the program anything: where that is due,
 * and when it leaves others waiting, it calls the pool's thread.
 *
 * Invariants: one thread leads, or none for at most two naps; who leads runs
 * the loop, nobody else. The pool's thread leads whenever it is awake with the
 * lock, so nobody begins to while a callback runs. A thread that leads is in
 * core->waiters: the pool is there until it has left.
 *
 * The pool's thread has all signals blocked: handlers of the host's run
 * elsewhere. */
#define _GNU_SOURCE
#include <poll.h>
#include <sched.h>
#include <time.h>

#include "error.h"
#include "fdio.h"
#include "owner.h"
#include "pool.h"
#include "spawn.h"

#define PAUSE_NS 20000 /* between two looks at a lock that is taken */
#define PAUSES 20
/* A nap of the pool's thread, while others lead now and then: so long, and more
 * for each result that the last of them found, which the program takes before
 * it waits again; at most so long. */
#define NAP_NS 100000
#define EACH_NS 500
#define NAP_MOST_NS 1000000

/* The thread was not joined: it frees the pool itself. */
static void
free_pool(struct pool *pool)
{
    struct pool__core *core = pool->core;
    void (*on_closed)(void *) = pool->on_closed;
    void *data = pool->closed_data;

    pool__dismiss_waiters(core);
    pool__close_free(pool);
    pool__leave(core);
    if (on_closed != NULL)
        on_closed(data);
}

/* Whoever uses the pool goes on with it for a while: to queue for the lock
 * would cost him a system call, and us two turns of the CPU, for each call. */
static void
lock_politely(struct pool__core *core)
{
    const struct timespec pause = {.tv_nsec = PAUSE_NS};

    for (int i = 0; i < PAUSES; i++) {
        if (pthread_mutex_trylock(&core->lock) == 0)
            return;
        (void)nanosleep(&pause, NULL);
    }
    pthread_mutex_lock(&core->lock);
}

/* Sleep until one of them, or -1, can be read, and take the ringing of the
 * bell, or until then; UINT64_MAX: for ever. No lock is held. */
static void
sleep_on_either(int fd, int bell, uint64_t end_ns)
{
    uint64_t now = end_ns != UINT64_MAX ? pool__now_ns() : 0;
    uint64_t left = end_ns > now ? end_ns - now : 0;
    struct timespec most = {
        (time_t)(left / 1000000000), (long)(left % 1000000000)};
    struct pollfd set[] = {
        {.fd = fd, .events = POLLIN}, {.fd = bell, .events = POLLIN}};

    (void)ppoll(set, 2, end_ns != UINT64_MAX ? &most : NULL, NULL);
    if (set[1].revents != 0)
        pool__bell_take(bell);
}

/* ---- a thread that waits leads ------------------------------------------ */

void
pool__thread_call(struct pool *pool)
{
    pool__store(&pool->thread.called, true);
    pool__bell_ring(pool->thread.bell);
    if (pool__thread_led(pool))
        pool__alarm_ring(pool);
}

/* Whether the pool's thread must lead: the program is to hear something. */
static bool
is_called_for(struct pool *pool)
{
    return pool->closing || pool->core->listeners != 0 ||
           !pool__list_empty(&pool->core->notices) || pool__drain_due(pool);
}

static bool
may_lead(struct pool *pool)
{
    return pool->thread.rest != POOL__REST_NONE && !pool->thread.called &&
           pool__list_empty(&pool->core->waiters) && !is_called_for(pool);
}

void
pool__thread_settle(struct pool *pool)
{
    if (!pool__thread_naps(pool))
        pool__alarm_set(pool);
    else if (!pool->thread.called &&
             (is_called_for(pool) || pool__is_pressed(pool) ||
                 !pool__list_empty(&pool->core->waiters)))
        pool__thread_call(pool); /* all else can wait for the nap's end */
}

/* The pool's thread need not wake for what this one does: it sleeps, or looks
 * in vain for as long as that pays. */
static void
begin_lead(struct pool *pool, struct pool__waiter *w)
{
    pool__list_append(&pool->core->waiters, &w->node);
    pool__store(&pool->thread.leads, pool->thread.leads + 1);
    pool->core->wake = true;
    if (pool->thread.rest == POOL__REST_LOOP) {
        pool->thread.rest = POOL__REST_NAP;
        pool__bell_ring(pool->thread.bell);
    }
}

/* found: results. */
static void
end_lead(struct pool *pool, struct pool__waiter *w, size_t found)
{
    pool__list_remove(&w->node);
    pool__store(
        &pool->thread.nap_ns, pool__min(NAP_NS + found * EACH_NS, NAP_MOST_NS));
    pool__store(&pool->thread.leads, pool->thread.leads + 1);
    if (pool->thread.rest == POOL__REST_PARKED) {
        pool->thread.rest = POOL__REST_NAP;
        pool__bell_ring(pool->thread.bell);
    }
}

/* A turn, or less while memory has replies: then true. looks: of this wait,
 * that found some. */
static bool
lead_once(struct pool *pool, struct pool__waiter *w, unsigned *looks)
{
    pool->driving = true;
    pool__sched_flush(&pool->sched);
    bool found = pool__look(pool, false);
    pool->driving = false;
    if (found && (w->done(w->data) || ++*looks % POOL__LOOKS_A_TURN != 0))
        return true;
    do
        pool__turn_untold(pool, UV_RUN_NOWAIT);
    while (pool__has_work(pool) && !is_called_for(pool));
    return found;
}

/* Let others have the lock; sleep meanwhile, if there is nothing to do. */
static void
let_go(struct pool *pool, bool sleep, uint64_t end_ns)
{
    if (sleep)
        pool__alarm_set(pool);
    pthread_mutex_unlock(&pool->core->lock);
    if (sleep)
        sleep_on_either(uv_backend_fd(&pool->loop), -1, end_ns);
    else
        sched_yield();
    lock_politely(pool->core);
}

/* True: done, or it is time. False: the pool's thread leads again. */
static bool
lead(struct pool *pool, bool (*done)(void *), void *data, uint64_t end_ns)
{
    struct pool__waiter w = {.done = done, .data = data, .leads = true};
    size_t before = pool->core->unsettled;
    unsigned looks = 0;
    bool over = false;

    begin_lead(pool, &w);
    while (!over && !is_called_for(pool)) {
        bool found = lead_once(pool, &w, &looks);
        over = done(data) || (end_ns != UINT64_MAX && pool__now_ns() >= end_ns);
        if (over || is_called_for(pool))
            continue;
        pool__wake_waiters(pool->core);
        let_go(pool, !found && !pool__look_away(pool), end_ns);
    }
    end_lead(pool, &w, before - pool__min(before, pool->core->unsettled));
    return over;
}

int
pool__thread_wait(
    struct pool *pool, bool (*done)(void *), void *data, int timeout_ms)
{
    uint64_t end = pool__end_ns(timeout_ms);

    if (may_lead(pool) && lead(pool, done, data, end))
        return done(data) ? 0 : POOL_ETIMEDOUT;
    pool__sched_flush(&pool->sched); /* what this thread has submitted */
    pool__thread_settle(pool);
    return pool__wait_locked(pool->core, done, data, end);
}

/* ---- the pool's thread --------------------------------------------------- */

/* Sleep until the bell rings, if it is still the same lead as when SEEN was
 * read and nobody has called: then true. */
static bool
park(struct pool *pool, uint64_t seen)
{
    struct pool__core *core = pool->core;

    lock_politely(core);
    bool same = pool->thread.leads == seen && !pool->thread.called;
    if (same)
        pool->thread.rest = POOL__REST_PARKED;
    pthread_mutex_unlock(&core->lock);
    if (same)
        sleep_on_either(-1, pool->thread.bell, UINT64_MAX);
    return same;
}

/* Others lead, or did a moment ago and do so again soon: then to be woken for
 * each reply, or to take the lock, would cost more than they do. */
static void
stand_by(struct pool *pool, uint64_t seen)
{
    for (;;) {
        uint64_t now = pool__load(&pool->thread.leads);
        bool led = now % 2 != 0;
        if (!led && (now == seen || pool__load(&pool->thread.called)))
            return;
        if (!led || now != seen || !park(pool, seen))
            sleep_on_either(-1, pool->thread.bell,
                pool__now_ns() + pool__load(&pool->thread.nap_ns));
        seen = now;
    }
}

/* Sleep until there is something to do, or this thread shall do it again. The
 * lock is held, before and after. */
static void
rest(struct pool *pool)
{
    struct pool__core *core = pool->core;
    uint64_t seen = pool->thread.leads;

    pool->thread.rest = POOL__REST_LOOP;
    pthread_mutex_unlock(&core->lock);
    sleep_on_either(uv_backend_fd(&pool->loop), pool->thread.bell, UINT64_MAX);
    for (;;) {
        stand_by(pool, seen);
        lock_politely(core);
        if (!pool__thread_led(pool))
            break;
        seen = pool->thread.leads - 1;
        pthread_mutex_unlock(&core->lock);
    }
    pool->thread.rest = POOL__REST_NONE;
    pool->thread.called = false;
    core->wake = true;
    pool__listen(pool);
    (void)pool__look_away(pool);
}

static void *
supervise(void *arg)
{
    struct pool *pool = arg;
    struct pool__core *core = pool->core;

    pthread_mutex_lock(&core->lock);
    core->thread = pool__thread();
    while (!pool->closing || !pool__close_done(pool)) {
        pool__turn_over(pool);
        if (pool__is_foreign(pool))
            return NULL; /* a callback has forked, and came back */
        if (pool->closing && pool__close_done(pool))
            break;
        pool__wake_waiters(core);
        pool__alarm_set(pool);
        rest(pool);
    }
    if (pool->thread.detached) {
        free_pool(pool);
        return NULL;
    }
    pool__wake_waiters(core);
    pthread_mutex_unlock(&core->lock);
    return NULL;
}

/* Any thread may call, or this one alone. */
static void
share(struct pool__core *core, bool shared)
{
    core->threaded = shared;
    core->thread = core->alone = shared ? NULL : pool__thread();
}

int
pool__thread_start(struct pool *pool)
{
    sigset_t old;
    int rc = pool__alarm_open(pool);

    if (rc < 0)
        return rc;
    int bell = pool__bell_new();
    if (bell < 0)
        return pool__fail(
            bell, "pool_create: a thread's bell: %s", pool_strerror(bell));
    pool->thread.bell = bell;
    pool->thread.nap_ns = NAP_NS;
    share(pool->core, true);
    pool__signals_block(&old);
    rc = -pthread_create(&pool->thread.id, NULL, supervise, pool);
    pool__signals_restore(&old);
    if (rc == 0)
        return 0;
    share(pool->core, false);
    return pool__fail(rc, "pool_create: a thread: %s", pool_strerror(rc));
}
