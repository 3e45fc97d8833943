/* Thread drive: a thread of the pool's sleeps on the loop's descriptor and
 * runs the loop under the pool's lock; every public function works under the
 * same lock, in its own thread.
 *
 * The thread has all signals blocked: handlers of the host's run elsewhere. */
#define _GNU_SOURCE
#include <poll.h>
#include <time.h>

#include "error.h"
#include "owner.h"
#include "pool.h"
#include "spawn.h"

#define PAUSE_NS 20000 /* between two looks at a lock that is taken */
#define PAUSES 20

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

static void *
supervise(void *arg)
{
    struct pool *pool = arg;
    struct pool__core *core = pool->core;

    pthread_mutex_lock(&core->lock);
    core->thread = pool__thread();
    while (!pool->closing || !pool__close_done(pool)) {
        pool__turn_over(pool);
        if (pool->closing && pool__close_done(pool))
            break;
        pool__wake_waiters(core);
        pool__alarm_set(pool);
        struct pollfd set = {
            .fd = uv_backend_fd(&pool->loop), .events = POLLIN};
        pthread_mutex_unlock(&core->lock);
        (void)poll(&set, 1, -1);
        lock_politely(core);
    }
    if (pool->thread.detached) {
        free_pool(pool);
        return NULL;
    }
    pool__wake_waiters(core);
    pthread_mutex_unlock(&core->lock);
    return NULL;
}

int
pool__thread_start(struct pool *pool)
{
    sigset_t old;
    int rc = pool__alarm_open(pool);

    if (rc < 0)
        return rc;
    pool->core->threaded = true;
    pool->core->thread = NULL; /* until it runs */
    pool__signals_block(&old);
    rc = -pthread_create(&pool->thread.id, NULL, supervise, pool);
    pool__signals_restore(&old);
    if (rc == 0)
        return 0;
    pool->core->threaded = false;
    pool->core->thread = pool__thread();
    return pool__fail(rc, "pool_create: a thread: %s", pool_strerror(rc));
}
